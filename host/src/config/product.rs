//! The thing model of a product file: `[product]`, `[[property]]`, `[[event]]`, `[[action]]`.

use std::collections::BTreeMap;

use super::decimal::mantissa;
use super::error::Errors;
use super::gizwits;
use super::read::{Expected, Section, boolean, choice, one_of, size, text, texts, whole};
use super::tree::{Node, Shape, quote};
use crate::product::gizwits_import::Imported;
use crate::product::{Action, Class, Event, Field, History, Kind, Product, Property};

/// How payloads are laid out, for a product that is taken over from a Gizwits datapoint file.
pub(super) struct Layout {
    /// As the link wants it.
    pub schema: polylink_p0::Schema,
    /// As the file says it, for plugins.
    pub text: String,
}

/// Reads the thing model for the product of this key, and the layout of its payloads if there is one.
pub(super) fn read(root: &Node, key: &str, errors: &Errors) -> (Product, Option<Layout>) {
    let mut product = Product {
        key: key.to_owned(),
        name: key.to_owned(),
        properties: Vec::new(),
        events: Vec::new(),
        actions: Vec::new(),
        raw: false,
    };
    let mut root = Section::new("", root, errors);
    let imported = match root.section("product") {
        Some(section) => read_head(section, &mut product),
        None => {
            root.wrong("product", "missing, expected a [product] section with `key` and `name`");
            None
        }
    };
    let properties = root.sections("property");
    let layout = match imported {
        Some(Some(imported)) => {
            product.properties = imported.product.properties;
            properties.into_iter().for_each(|section| gizwits::describe(section, &mut product.properties));
            Some(Layout { schema: imported.layout, text: imported.text })
        }
        // What the entries say makes no sense without the file.
        Some(None) => return (product, None),
        None => {
            product.properties = all(properties, property);
            None
        }
    };
    product.events = all(root.sections("event"), event);
    product.actions = all(root.sections("action"), action);
    if product.properties.is_empty() && product.events.is_empty() && product.actions.is_empty() && !product.raw {
        root.wrong("property", "missing, expected at least one [[property]], [[event]] or [[action]], or raw = true");
    }
    (product, layout)
}

/// Some if there is to be an import, and what came of it.
fn read_head(mut section: Section<'_>, product: &mut Product) -> Option<Option<Imported>> {
    if let Some(written) = section.required("key", "this product's key", text)
        && written != product.key
    {
        let key = &product.key;
        section.wrong("key", format!("found {}, expected {key:?} as in the file's name", quote(&written)));
    }
    section.read("name", &mut product.name, short_text);
    section.read("raw", &mut product.raw, boolean);
    let imported = gizwits::import(&mut section, &product.key);
    section.finish();
    imported
}

fn property(mut section: Section<'_>) -> Option<(String, Property)> {
    let field = field(&mut section);
    let mut writable = false;
    let mut history = History::default();
    let mut class = Class::default();
    section.read("writable", &mut writable, boolean);
    section.read("history", &mut history, choice(&HISTORIES));
    section.read("class", &mut class, choice(&CLASSES));
    section.finish();
    let field = field?;
    Some((field.name.clone(), Property { field, writable, history, class }))
}

fn event(mut section: Section<'_>) -> Option<(String, Event)> {
    let (name, title) = name_and_title(&mut section);
    let params = all(section.sections("param"), param);
    section.finish();
    let name = name?;
    Some((name.clone(), Event { name, title, params }))
}

fn action(mut section: Section<'_>) -> Option<(String, Action)> {
    let (name, title) = name_and_title(&mut section);
    let mut idempotent = false;
    section.read("idempotent", &mut idempotent, boolean);
    let params = all(section.sections("param"), param);
    let returns = all(section.sections("returns"), param);
    section.finish();
    let name = name?;
    Some((name.clone(), Action { name, title, idempotent, params, returns }))
}

fn param(mut section: Section<'_>) -> Option<(String, Field)> {
    let field = field(&mut section);
    section.finish();
    let field = field?;
    Some((field.name.clone(), field))
}

/// Reads each, and refuses names that come twice.
fn all<'a, T>(sections: Vec<Section<'a>>, read: impl Fn(Section<'a>) -> Option<(String, T)>) -> Vec<T> {
    let mut first_places = BTreeMap::new();
    let mut items = Vec::new();
    for section in sections.into_iter() {
        if items.len() == MAX_ITEMS {
            section.wrong("name", format!("is one too many; a list holds at most {MAX_ITEMS}"));
            break;
        }
        let twin = section.twin();
        if let Some((name, item)) = read(section) {
            match first_places.get(&name) {
                Some(first) => twin.wrong("name", format!("`{name}` stands at {first} already; names must differ")),
                None => {
                    first_places.insert(name, twin.place().clone());
                    items.push(item);
                }
            }
        }
    }
    items
}

fn name_and_title(section: &mut Section<'_>) -> (Option<String>, String) {
    let name = section.required("name", NAME, name);
    let mut title = String::new();
    section.read("title", &mut title, short_text);
    (name, title)
}

fn field(section: &mut Section<'_>) -> Option<Field> {
    let (name, title) = name_and_title(section);
    let mut unit = String::new();
    section.read("unit", &mut unit, short_text);
    let kind = kind(section);
    Some(Field { name: name?, title, unit, kind: kind? })
}

fn kind(section: &mut Section<'_>) -> Option<Kind> {
    let quoted: Vec<String> = TYPES.iter().map(|(word, _)| format!("{word:?}")).collect();
    let word = section.required("type", &one_of(&quoted), choice(&TYPES));
    let Some(word) = word else {
        // What else is here cannot be judged without the type.
        for key in ["min", "max", "step", "scale", "labels", "max_bytes"] {
            section.node(key);
        }
        return None;
    };
    match word {
        Type::Bool => Some(Kind::Bool),
        Type::Int => {
            let (min, max, step) = limits(section, 0)?;
            Some(Kind::Int { min, max, step })
        }
        Type::Decimal => {
            let scale = section.required("scale", SCALE, whole("digits after the point", 0..=18));
            let Some(scale) = scale.and_then(|scale| u8::try_from(scale).ok()) else {
                for key in ["min", "max", "step"] {
                    section.node(key);
                }
                return None;
            };
            let (min, max, step) = limits(section, scale)?;
            Some(Kind::Decimal { scale, min, max, step })
        }
        Type::Enum => section.required("labels", LABELS, labels).map(|labels| Kind::Enum { labels }),
        Type::Text => Some(Kind::Text { max_bytes: max_bytes(section) }),
        Type::Bytes => Some(Kind::Bytes { max_bytes: max_bytes(section) }),
        Type::Json => Some(Kind::Json { max_bytes: max_bytes(section) }),
    }
}

/// `min`, `max` and `step` as mantissas.
fn limits(section: &mut Section<'_>, scale: u8) -> Option<(i64, i64, i64)> {
    let (mut min, mut max, mut step) = (i64::MIN, i64::MAX, 1);
    section.read("min", &mut min, number(scale));
    section.read("max", &mut max, number(scale));
    section.read("step", &mut step, number(scale));
    let shown = |mantissa| polylink_plugin_api::Value::Decimal { mantissa, scale }.to_string();
    if min > max {
        section.wrong("min", format!("is {}, which is more than max, {}", shown(min), shown(max)));
        return None;
    }
    if step < 1 {
        section.wrong("step", format!("is {}, but must be more than 0", shown(step)));
        return None;
    }
    Some((min, max, step))
}

/// A number with at most so many digits after the point, from its digits as they are written.
fn number(scale: u8) -> impl Fn(&Node) -> Result<i64, Expected> {
    move |node| {
        let digits = match &node.shape {
            Shape::Int(number) => number.to_string(),
            Shape::Float(text) | Shape::Text(text) | Shape::Untyped(text) => text.clone(),
            _ => String::new(),
        };
        mantissa(digits.trim(), scale).ok_or_else(|| {
            Expected(match scale {
                0 => "a whole number".to_owned(),
                1 => "a number with at most 1 digit after the point".to_owned(),
                scale => format!("a number with at most {scale} digits after the point"),
            })
        })
    }
}

fn labels(node: &Node) -> Result<Vec<String>, Expected> {
    let labels = texts(node).map_err(|_| Expected::from(LABELS))?;
    let unique: std::collections::BTreeSet<&String> = labels.iter().collect();
    let fits = (1..=MAX_LABELS).contains(&labels.len())
        && unique.len() == labels.len()
        && labels.iter().all(|label| (1..=MAX_TEXT).contains(&label.len()));
    if fits { Ok(labels) } else { Err(LABELS.into()) }
}

fn max_bytes(section: &mut Section<'_>) -> usize {
    let mut max_bytes = DEFAULT_MAX_BYTES;
    section.read("max_bytes", &mut max_bytes, size("bytes", 1..=65_536));
    max_bytes
}

pub(super) fn name(node: &Node) -> Result<String, Expected> {
    text(node).ok().filter(|name| is_name(name)).ok_or(NAME.into())
}

/// Whether a datapoint may be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(super) fn short_text(node: &Node) -> Result<String, Expected> {
    text(node).ok().filter(|text| text.len() <= MAX_TEXT).ok_or("a text of at most 256 bytes".into())
}

#[derive(Clone, Copy)]
enum Type {
    Bool,
    Int,
    Decimal,
    Enum,
    Text,
    Bytes,
    Json,
}

const TYPES: [(&str, Type); 7] = [
    ("bool", Type::Bool),
    ("int", Type::Int),
    ("decimal", Type::Decimal),
    ("enum", Type::Enum),
    ("text", Type::Text),
    ("bytes", Type::Bytes),
    ("json", Type::Json),
];
pub(super) const HISTORIES: [(&str, History); 2] = [("latest", History::Latest), ("all", History::All)];
pub(super) const CLASSES: [(&str, Class); 3] =
    [("value", Class::Value), ("alarm", Class::Alarm), ("fault", Class::Fault)];
pub(super) const NAME: &str = "a name of 1 to 64 characters a-z, A-Z, 0-9 and _";
const LABELS: &str = "a list of 1 to 1024 different texts";
const SCALE: &str = "a whole number of digits after the point from 0 to 18";

/// Not documented; chosen by us: room for a sentence or a short URL.
const DEFAULT_MAX_BYTES: usize = 1024;
const MAX_LABELS: usize = 1024;
const MAX_TEXT: usize = 256;

/// Properties, events, actions or parameters in one list. Not documented; chosen by us: ids of all clouds fit, and a
/// report of all of them stays below 64 KiB.
const MAX_ITEMS: usize = 2048;
