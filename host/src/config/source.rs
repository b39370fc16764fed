//! One TOML file: its text, its values for the merge, and the line of every key in it.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Tag, Value};
use toml_edit::{ImDocument, Item, Table, TableLike};

use super::error::{ConfigError, Place, Problem};

/// A parsed file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    document: ImDocument<String>,
    /// Offset of each line, so that a place costs no walk through the file.
    line_starts: Vec<usize>,
}

/// One step on the way to a value: a key of a table, or an index of an array.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Into a table.
    Key(&'a str),
    /// Into an array.
    Index(usize),
}

impl SourceFile {
    /// Reads and parses it.
    ///
    /// # Errors
    /// What the system said, or where the syntax is wrong.
    pub fn read(path: &Path) -> Result<Self, Box<ConfigError>> {
        let text = read_text(path, MAX_FILE_BYTES).map_err(|problem| {
            Box::new(ConfigError {
                place: Place::file(path),
                key: String::new(),
                problem: Problem::Unreadable(problem),
            })
        })?;
        Self::parse(path, text)
    }

    /// Parses a text as if it stood in this file.
    ///
    /// # Errors
    /// Where the syntax is wrong.
    pub fn parse(path: &Path, text: String) -> Result<Self, Box<ConfigError>> {
        // The parser's own display quotes the line, which may hold a secret; its message does not.
        match ImDocument::parse(text.clone()) {
            Ok(document) => {
                let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
                let line_starts = std::iter::once(0).chain(newlines.map(|(offset, _)| offset + 1)).collect();
                Ok(Self { path: path.to_owned(), document, line_starts })
            }
            Err(error) => {
                let (line, column) = line_and_column(&text, error.span().map_or(0, |span| span.start));
                Err(Box::new(ConfigError {
                    place: Place::File { path: path.to_owned(), line, column: Some(column) },
                    key: String::new(),
                    problem: Problem::Syntax(error.message().trim().replace('\n', ", ")),
                }))
            }
        }
    }

    /// Its values, for the merge. Dates become texts.
    #[must_use]
    pub fn values(&self) -> Dict {
        dict(self.document.as_table())
    }

    /// Where this value stands; the file as a whole if it is not here.
    #[must_use]
    pub fn place(&self, steps: &[Step<'_>]) -> Place {
        let line =
            self.find(steps).map_or(0, |(span, _)| self.line_starts.partition_point(|start| *start <= span.start));
        Place::File { path: self.path.clone(), line, column: None }
    }

    /// A scalar exactly as it is written here.
    #[must_use]
    pub fn text_of(&self, steps: &[Step<'_>]) -> Option<&str> {
        self.find(steps)?.1.and_then(|span| self.document.raw().get(span))
    }

    /// The span to point at, and the span of the value.
    fn find(&self, steps: &[Step<'_>]) -> Option<(Range<usize>, Option<Range<usize>>)> {
        let mut here = Found::Item(self.document.as_item());
        let mut key_span = None;
        for step in steps {
            (here, key_span) = match (*step, here) {
                (Step::Key(name), Found::Item(item)) => keyed(item.as_table_like()?, name)?,
                (Step::Key(name), Found::Table(table)) => keyed(table, name)?,
                (Step::Key(name), Found::Value(value)) => keyed(value.as_inline_table()?, name)?,
                (Step::Index(index), Found::Item(Item::ArrayOfTables(tables))) => {
                    (Found::Table(tables.get(index)?), None)
                }
                (Step::Index(index), Found::Item(Item::Value(value)) | Found::Value(value)) => {
                    (Found::Value(value.as_array()?.get(index)?), None)
                }
                (Step::Index(_), _) => return None,
            };
        }
        let value_span = match here {
            Found::Item(item) => item.span(),
            Found::Table(table) => table.span(),
            Found::Value(value) => value.span(),
        };
        Some((key_span.or_else(|| value_span.clone())?, value_span))
    }
}

/// A regular file as text.
///
/// # Errors
/// What is wrong with it, for people.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String, String> {
    // Asked before opening: opening a pipe could wait for ever.
    let facts = std::fs::metadata(path).map_err(|error| reason(&error))?;
    if !facts.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| reason(&error))?;
    file.take(max_bytes + 1).read_to_end(&mut text).map_err(|error| reason(&error))?;
    if text.len() as u64 > max_bytes {
        return Err(format!("it is larger than {max_bytes} bytes"));
    }
    String::from_utf8(text).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// What an I/O error means to people.
#[must_use]
pub fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Values of a table for the merge.
fn dict(table: &Table) -> Dict {
    table.iter().filter_map(|(key, item)| Some((key.to_owned(), item_value(item)?))).collect()
}

fn item_value(item: &Item) -> Option<Value> {
    match item {
        Item::None => None,
        Item::Value(value) => Some(scalar(value)),
        Item::Table(table) => Some(Value::Dict(Tag::Default, dict(table))),
        Item::ArrayOfTables(tables) => Some(Value::Array(
            Tag::Default,
            tables.iter().map(|table| Value::Dict(Tag::Default, dict(table))).collect(),
        )),
    }
}

/// A value for the merge.
pub fn scalar(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(flag) => Value::from(*flag.value()),
        toml_edit::Value::Datetime(date) => Value::from(date.value().to_string()),
        toml_edit::Value::Array(array) => Value::Array(Tag::Default, array.iter().map(scalar).collect()),
        toml_edit::Value::InlineTable(table) => {
            Value::Dict(Tag::Default, table.iter().map(|(key, value)| (key.to_owned(), scalar(value))).collect())
        }
    }
}

enum Found<'a> {
    Item(&'a Item),
    Table(&'a Table),
    Value(&'a toml_edit::Value),
}

fn keyed<'a>(table: &'a dyn TableLike, name: &str) -> Option<(Found<'a>, Option<Range<usize>>)> {
    let (key, item) = table.get_key_value(name)?;
    // A `[header]` names its last key only; its span begins at the bracket.
    let span = match item {
        Item::Table(table) if !table.is_dotted() => table.span().or_else(|| key.span()),
        _ => key.span(),
    };
    Some((Found::Item(item), span))
}

/// Line and column (in characters), both from 1.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Not documented; chosen by us: a product file with a thousand properties is 200 KiB.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
