//! The merged configuration as one tree, in which every value knows where it was written.
//!
//! Layers are merged by figment, later ones over earlier ones; this module makes the layers and gives each value of the
//! result its [`Place`].

use std::collections::BTreeMap;
use std::fmt;

use figment::value::{Dict, Map, Num, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::error::{Errors, Place, Problem};
use super::source::{self, SourceFile, Step};

/// A value and where it was written.
#[derive(Clone)]
pub struct Node {
    /// The value.
    pub shape: Shape,
    /// Where it was written; of a table, the last layer that says something of it.
    pub place: Place,
}

/// A value.
#[derive(Clone)]
pub enum Shape {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a point, exactly as it is written, so that no digit is lost.
    Float(String),
    /// A text.
    Text(String),
    /// A text of the environment or the command line, whose type depends on who reads it.
    Untyped(String),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Node>),
}

/// One layer of configuration.
pub enum Layer {
    /// The built-in defaults.
    Defaults(Dict),
    /// A file.
    File(SourceFile),
    /// A single key from outside the files.
    Single {
        /// Where it comes from.
        place: Place,
        /// The way to it.
        keys: Vec<String>,
        /// Its text.
        text: String,
    },
}

/// Merges layers, the last one strongest.
#[must_use]
pub fn merge(layers: &[Layer], errors: &Errors) -> Node {
    let figment = layers
        .iter()
        .enumerate()
        .fold(Figment::new(), |figment, (number, layer)| figment.merge(Numbered { number, layer }));
    match figment.find_value("") {
        Ok(value) => Merged { figment: &figment, layers }.node(&value, &mut Vec::new()),
        Err(error) => {
            errors.add(&Place::Default, "", Problem::Other(format!("cannot be merged: {:?}", error.kind)));
            Node::empty()
        }
    }
}

impl Node {
    /// A table with nothing in it.
    #[must_use]
    pub const fn empty() -> Self {
        Self { shape: Shape::Table(BTreeMap::new()), place: Place::Default }
    }

    /// Its members, if it is a table.
    #[must_use]
    pub const fn table(&self) -> Option<&BTreeMap<String, Self>> {
        match &self.shape {
            Shape::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Its member of this name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.table()?.get(key)
    }

    /// The same with an untyped text read as a TOML value, or as a text if it is none.
    #[must_use]
    pub fn typed(&self) -> Self {
        let Shape::Untyped(text) = &self.shape else { return self.clone() };
        let document = toml_edit::ImDocument::parse(format!("value = {text}"));
        let value = document.as_ref().ok().filter(|document| document.len() == 1).and_then(|document| {
            // The number's own digits, as for numbers in files.
            match document.get("value")?.as_value()? {
                toml_edit::Value::Float(_) => Some(Shape::Float(text.trim().to_owned())),
                value => Some(
                    Merged { figment: &Figment::new(), layers: &[] }.shape(&source::scalar(value), &mut Vec::new()),
                ),
            }
        });
        let mut node = Self { shape: value.unwrap_or_else(|| Shape::Text(text.clone())), place: self.place.clone() };
        node.settle(&self.place);
        node
    }

    /// What it is, for the "found" of a message. Long texts are cut.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.shape {
            Shape::Bool(flag) => flag.to_string(),
            Shape::Int(number) => number.to_string(),
            Shape::Float(text) => text.clone(),
            Shape::Text(text) | Shape::Untyped(text) => quote(text),
            Shape::List(_) => "a list".to_owned(),
            Shape::Table(_) => "a table".to_owned(),
        }
    }

    /// Its type, for messages that must not show the value.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match &self.shape {
            Shape::Bool(_) => "a boolean",
            Shape::Int(_) => "a whole number",
            Shape::Float(_) => "a decimal number",
            Shape::Text(_) | Shape::Untyped(_) => "a text",
            Shape::List(_) => "a list",
            Shape::Table(_) => "a table",
        }
    }

    fn settle(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.shape {
            Shape::List(items) => items.iter_mut().for_each(|item| item.settle(place)),
            Shape::Table(table) => table.values_mut().for_each(|item| item.settle(place)),
            _ => {}
        }
    }
}

/// The place only: a tree may hold secrets.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind(), self.place)
    }
}

/// A text in quotes, cut to a length that fits a message.
#[must_use]
pub fn quote(text: &str) -> String {
    let cut: String = text.chars().take(MAX_QUOTED).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{text:?}") }
}

struct Numbered<'a> {
    number: usize,
    layer: &'a Layer,
}

impl Provider for Numbered<'_> {
    /// The name is the layer's number: figment keeps it with each value.
    fn metadata(&self) -> Metadata {
        Metadata::named(self.number.to_string())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        let dict = match self.layer {
            Layer::Defaults(dict) => dict.clone(),
            Layer::File(file) => file.values(),
            Layer::Single { keys, text, .. } => nest(keys, text),
        };
        Ok(Profile::Default.collect(dict))
    }
}

fn nest(keys: &[String], text: &str) -> Dict {
    let Some((last, tables)) = keys.split_last() else { return Dict::new() };
    let leaf = Dict::from([(last.clone(), Value::from(text))]);
    tables.iter().rev().fold(leaf, |inner, key| Dict::from([(key.clone(), Value::Dict(Tag::Default, inner))]))
}

struct Merged<'a> {
    figment: &'a Figment,
    layers: &'a [Layer],
}

impl Merged<'_> {
    fn layer(&self, value: &Value) -> Option<&Layer> {
        self.layers.get(self.figment.get_metadata(value.tag())?.name.parse::<usize>().ok()?)
    }

    fn node<'v>(&self, value: &'v Value, steps: &mut Vec<Step<'v>>) -> Node {
        let place = match self.layer(value) {
            None | Some(Layer::Defaults(_)) => Place::Default,
            Some(Layer::File(file)) => file.place(steps),
            Some(Layer::Single { place, .. }) => place.clone(),
        };
        Node { shape: self.shape(value, steps), place }
    }

    fn shape<'v>(&self, value: &'v Value, steps: &mut Vec<Step<'v>>) -> Shape {
        let layer = self.layer(value);
        match value {
            Value::String(_, text) if matches!(layer, Some(Layer::Single { .. })) => Shape::Untyped(text.clone()),
            Value::String(_, text) => Shape::Text(text.clone()),
            Value::Char(_, character) => Shape::Text(character.to_string()),
            Value::Bool(_, flag) => Shape::Bool(*flag),
            Value::Num(_, Num::F64(number)) => {
                let written = match layer {
                    Some(Layer::File(file)) => file.text_of(steps).map(str::to_owned),
                    _ => None,
                };
                Shape::Float(written.unwrap_or_else(|| number.to_string()))
            }
            Value::Num(_, number) => {
                let whole =
                    number.to_i128().or_else(|| number.to_u128().and_then(|number| i128::try_from(number).ok()));
                match whole.and_then(|number| i64::try_from(number).ok()) {
                    Some(number) => Shape::Int(number),
                    None => Shape::Float(format!("{number:?}")),
                }
            }
            Value::Empty(..) => Shape::Text(String::new()),
            Value::Array(_, items) => Shape::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        steps.push(Step::Index(index));
                        let node = self.node(item, steps);
                        steps.pop();
                        node
                    })
                    .collect(),
            ),
            Value::Dict(_, dict) => Shape::Table(
                dict.iter()
                    .map(|(key, item)| {
                        steps.push(Step::Key(key));
                        let node = self.node(item, steps);
                        steps.pop();
                        (key.clone(), node)
                    })
                    .collect(),
            ),
        }
    }
}

/// Characters of a value that a message shows.
const MAX_QUOTED: usize = 60;
