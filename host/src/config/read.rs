//! Reading typed values from the tree, collecting every error on the way.
//!
//! A [`Section`] is asked for each key it may have; [`Section::finish`] reports the keys that nobody asked for.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::error::{Errors, Place, Problem, nearest};
use super::tree::{Node, Shape};

/// A table that is being read.
pub struct Section<'a> {
    path: String,
    node: &'a Node,
    asked: Vec<&'static str>,
    errors: &'a Errors,
}

/// What would be accepted instead, as the end of "found …, expected …".
pub struct Expected(pub String);

impl From<&str> for Expected {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'a> Section<'a> {
    /// Begins to read a table; anything else counts as an error and as an empty table.
    pub fn new(path: impl Into<String>, node: &'a Node, errors: &'a Errors) -> Self {
        let path = path.into();
        if node.table().is_none() {
            // The type only: what stands in the place of a cloud's section may be a secret.
            let problem = Problem::Unacceptable { found: node.kind().to_owned(), expected: "a table".to_owned() };
            errors.add(&node.place, path.clone(), problem);
        }
        Self { path, node, asked: Vec::new(), errors }
    }

    /// The member itself.
    pub fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        self.node.get(key)
    }

    /// A member that is a table, to be read as a section.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let node = self.node(key)?;
        Some(Section::new(self.key(key), node, self.errors))
    }

    /// The members of a list, each to be read as a section.
    pub fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        match &node.shape {
            Shape::List(items) => (0..)
                .zip(items)
                .map(|(index, item): (usize, _)| Section::new(format!("{}[{index}]", self.key(key)), item, self.errors))
                .collect(),
            _ => {
                self.unacceptable(key, node, format!("a list of tables: [[{}]]", self.key(key)));
                Vec::new()
            }
        }
    }

    /// An optional member.
    pub fn optional<T>(&mut self, key: &'static str, parse: impl FnOnce(&Node) -> Result<T, Expected>) -> Option<T> {
        let node = self.node(key)?;
        parse(node).map_err(|Expected(expected)| self.unacceptable(key, node, expected)).ok()
    }

    /// A member with a default that `target` already holds, and keeps when the member is wrong.
    pub fn read<T>(&mut self, key: &'static str, target: &mut T, parse: impl FnOnce(&Node) -> Result<T, Expected>) {
        if let Some(value) = self.optional(key, parse) {
            *target = value;
        }
    }

    /// A member that must be there.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&Node) -> Result<T, Expected>,
    ) -> Option<T> {
        if self.node.get(key).is_none() {
            self.asked.push(key);
            // Where not even a table is, that has been said already.
            if self.node.table().is_some() {
                self.errors.add(&self.node.place, self.key(key), Problem::Missing { expected: expected.to_owned() });
            }
            return None;
        }
        self.optional(key, parse)
    }

    /// An error about one member, at its place.
    pub fn wrong(&self, key: &str, sentence: impl Into<String>) {
        let place = self.node.get(key).map_or(&self.node.place, |node| &node.place);
        self.errors.add(place, self.key(key), Problem::Other(sentence.into()));
    }

    /// The same table again, for errors that show only after it has been read.
    #[must_use]
    pub fn twin(&self) -> Self {
        Self { path: self.path.clone(), node: self.node, asked: Vec::new(), errors: self.errors }
    }

    /// Where this table is written.
    #[must_use]
    pub const fn place(&self) -> &'a Place {
        &self.node.place
    }

    /// Reports every member that was not asked for.
    pub fn finish(self) {
        let Some(table) = self.node.table() else { return };
        for (key, node) in table.iter().filter(|(key, _)| !self.asked.contains(&key.as_str())) {
            self.errors.add(&node.place, self.key(key), unknown_key(key, &self.asked));
        }
    }

    fn unacceptable(&self, key: &str, node: &Node, expected: String) {
        let problem = Problem::Unacceptable { found: node.describe(), expected };
        self.errors.add(&node.place, self.key(key), problem);
    }

    fn key(&self, key: &str) -> String {
        dotted(&self.path, key)
    }
}

/// A key below another one, quoted where TOML would quote it. Hostile ones are cut.
#[must_use]
pub fn dotted(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let shown = if plain && key.len() <= 64 { key.to_owned() } else { super::tree::quote(key) };
    if parent.is_empty() { shown } else { format!("{parent}.{shown}") }
}

/// The problem of a key that nobody reads.
#[must_use]
pub fn unknown_key(key: &str, known: &[&str]) -> Problem {
    Problem::UnknownKey {
        suggestion: nearest(key, known.iter().copied()),
        known: known.iter().map(|key| (*key).to_owned()).collect(),
    }
}

/// A text. Untyped texts are taken as they are, or without their TOML quotes.
pub fn text(node: &Node) -> Result<String, Expected> {
    match (&node.shape, node.typed().shape) {
        (Shape::Untyped(raw), Shape::Text(text)) if raw.trim_start().starts_with(['"', '\'']) => Ok(text),
        (Shape::Untyped(text), _) | (Shape::Text(text), _) => Ok(text.clone()),
        _ => Err("a text in quotes".into()),
    }
}

/// A boolean.
pub fn boolean(node: &Node) -> Result<bool, Expected> {
    match node.typed().shape {
        Shape::Bool(flag) => Ok(flag),
        _ => Err("true or false".into()),
    }
}

/// A whole number of these units.
pub fn whole(units: &'static str, range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<i64, Expected> {
    move |node| match node.typed().shape {
        Shape::Int(number) if range.contains(&number) => Ok(number),
        _ => Err(Expected(format!("a whole number of {units} from {} to {}", range.start(), range.end()))),
    }
}

/// A size or count of these units.
pub fn size(units: &'static str, range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<usize, Expected> {
    move |node| whole(units, range.clone())(node).map(|number| usize::try_from(number).unwrap_or_default())
}

/// A duration in milliseconds.
pub fn millis(range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<Duration, Expected> {
    move |node| whole("milliseconds", range.clone())(node).map(|ms| Duration::from_millis(ms.unsigned_abs()))
}

/// A duration in seconds.
pub fn seconds(range: RangeInclusive<i64>) -> impl Fn(&Node) -> Result<Duration, Expected> {
    move |node| whole("seconds", range.clone())(node).map(|s| Duration::from_secs(s.unsigned_abs()))
}

/// An absolute path.
pub fn absolute_path(node: &Node) -> Result<PathBuf, Expected> {
    text(node)
        .ok()
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0))
        .ok_or("an absolute path".into())
}

/// A list of absolute paths.
pub fn absolute_paths(node: &Node) -> Result<Vec<PathBuf>, Expected> {
    match node.typed().shape {
        Shape::List(items) => items.iter().map(absolute_path).collect::<Result<_, _>>(),
        _ => Err("".into()),
    }
    .map_err(|_: Expected| "a list of absolute paths".into())
}

/// A list of texts.
pub fn texts(node: &Node) -> Result<Vec<String>, Expected> {
    match node.typed().shape {
        Shape::List(items) => items.iter().map(text).collect::<Result<_, _>>(),
        _ => Err("".into()),
    }
    .map_err(|_: Expected| "a list of texts".into())
}

/// One of these words.
pub fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Node) -> Result<T, Expected> {
    move |node| {
        let found = text(node).unwrap_or_default();
        words.iter().find(|(word, _)| *word == found).map(|(_, value)| *value).ok_or_else(|| {
            let quoted: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            Expected(one_of(&quoted))
        })
    }
}

/// `a`, `a or b`, `a, b or c`.
#[must_use]
pub fn one_of(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
