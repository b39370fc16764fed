//! Settings of a plugin: tables become JSON, and secret references become what they refer to.
//!
//! `{ file = "…" }` and `{ env = "…" }` anywhere in the settings are references. Their values go to the plugin and
//! nowhere else: [`Settings`] remembers which they are, and shows none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value};

use super::error::{Errors, Place, Problem};
use super::overrides::Overrides;
use super::read::dotted;
use super::source;
use super::tree::{Node, Shape};
use crate::log::Redacted;

/// The settings of one cloud instance. `Debug` shows no value.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As JSON, secrets resolved.
    pub json: Redacted<Value>,
    /// Where each dotted key is written.
    pub places: BTreeMap<String, Place>,
    /// The dotted keys that were secret references.
    pub secrets: BTreeSet<String>,
}

/// A reference to a secret, or to a text that is kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The content of a file, without its last line end.
    File {
        /// Which; relative to the directory of the file that says so.
        path: String,
        /// It is no secret, such as a certificate, so others may read it.
        public: bool,
    },
    /// An environment variable.
    Variable(String),
}

impl Settings {
    /// Reads a settings table.
    pub fn read(key: &str, node: &Node, dir: &Path, overrides: &Overrides, errors: &Errors) -> Self {
        let mut reader = Reader { dir, overrides, errors, places: BTreeMap::new(), secrets: BTreeSet::new() };
        let json = if node.table().is_some() {
            reader.value(key, "", node)
        } else {
            let problem = Problem::Unacceptable { found: node.kind().to_owned(), expected: "a table".to_owned() };
            errors.add(&node.place, key, problem);
            Value::Object(Map::new())
        };
        Self { json: Redacted(json), places: reader.places, secrets: reader.secrets }
    }

    /// The nearest place that is known for a dotted key.
    #[must_use]
    pub fn place(&self, key: &str) -> Place {
        let mut key = key;
        loop {
            match self.places.get(key) {
                Some(place) => return place.clone(),
                None => key = key.rsplit_once('.').map_or("", |(parent, _)| parent),
            }
            if key.is_empty() {
                return self.places.get("").cloned().unwrap_or(Place::Default);
            }
        }
    }
}

impl Reference {
    /// The reference that this table is, if it is one.
    #[must_use]
    pub fn of(node: &Node) -> Option<Self> {
        let table = node.table()?;
        let text = |key: &str| match &table.get(key)?.shape {
            Shape::Text(text) | Shape::Untyped(text) => Some(text.clone()),
            _ => None,
        };
        match table.len() {
            1 if table.contains_key("file") => Some(Self::File { path: text("file")?, public: false }),
            1 if table.contains_key("env") => Some(Self::Variable(text("env")?)),
            2 => match table.get("public")?.typed().shape {
                Shape::Bool(public) => Some(Self::File { path: text("file")?, public }),
                _ => None,
            },
            _ => None,
        }
    }
}

struct Reader<'a> {
    dir: &'a Path,
    overrides: &'a Overrides,
    errors: &'a Errors,
    places: BTreeMap<String, Place>,
    secrets: BTreeSet<String>,
}

impl Reader<'_> {
    /// `full` is the key in the configuration, `own` the key within the settings.
    fn value(&mut self, full: &str, own: &str, node: &Node) -> Value {
        self.places.insert(own.to_owned(), node.place.clone());
        if let Some(reference) = Reference::of(node) {
            if !matches!(reference, Reference::File { public: true, .. }) {
                self.secrets.insert(own.to_owned());
            }
            return match self.resolve(&reference, &node.place) {
                Ok(text) => Value::String(text),
                Err(sentence) => {
                    self.errors.add(&node.place, full, Problem::Other(sentence));
                    Value::Null
                }
            };
        }
        match node.typed().shape {
            Shape::Bool(flag) => Value::Bool(flag),
            Shape::Int(number) => Value::from(number),
            Shape::Text(text) | Shape::Untyped(text) => Value::String(text),
            Shape::Float(text) => self.float(full, node, &text),
            Shape::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.value(&format!("{full}[{index}]"), &join(own, &index.to_string()), item))
                .collect(),
            Shape::Table(table) => {
                let members = table
                    .iter()
                    .map(|(key, item)| (key.clone(), self.value(&dotted(full, key), &join(own, key), item)));
                Value::Object(members.collect())
            }
        }
    }

    fn float(&self, full: &str, node: &Node, text: &str) -> Value {
        let number = text.replace('_', "").parse().ok().and_then(Number::from_f64);
        number.map_or_else(
            || {
                let problem = Problem::Unacceptable { found: text.to_owned(), expected: "a finite number".to_owned() };
                self.errors.add(&node.place, full, problem);
                Value::Null
            },
            Value::Number,
        )
    }

    fn resolve(&self, reference: &Reference, place: &Place) -> Result<String, String> {
        match reference {
            Reference::Variable(name) => self
                .overrides
                .variable(name)
                .map(str::to_owned)
                .ok_or_else(|| format!("refers to the environment variable {name}, which is not set")),
            Reference::File { path, public } => {
                let path = match place {
                    Place::File { path: file, .. } => file.parent().unwrap_or(self.dir).join(path),
                    _ => self.dir.join(path),
                };
                read_secret(&path, *public).map_err(|reason| format!("refers to {}: {reason}", path.display()))
            }
        }
    }
}

fn read_secret(path: &PathBuf, public: bool) -> Result<String, String> {
    let most = if public { MAX_PUBLIC_BYTES } else { MAX_SECRET_BYTES };
    let mut text = source::read_text(path, most)?;
    let mode = std::fs::metadata(path).map_err(|error| source::reason(&error))?.mode();
    if !public && mode & 0o006 != 0 {
        return Err(format!(
            "every user of this machine can read or write it (mode {:04o}); a secret needs `chmod 600`, and what is no \
             secret needs `public = true` beside `file`",
            mode & 0o7777
        ));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// Not documented; chosen by us: a chain of certificates with its key is some 10 KiB.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// Not documented; chosen by us: the longest conversion script that `polylink.script/1` takes.
const MAX_PUBLIC_BYTES: u64 = 256 * 1024;
