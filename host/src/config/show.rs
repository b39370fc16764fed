//! What holds, key by key, and where it was written. Secrets are not shown, and neither is anything that could be one.

use std::collections::BTreeSet;
use std::path::Path;

use super::cloud::{PluginChoice, plugin};
use super::error::{Errors, Place};
use super::overrides::Overrides;
use super::read::dotted;
use super::schema;
use super::secrets::{Reference, Settings};
use super::tree::{Node, Shape};

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Dotted.
    pub key: String,
    /// As TOML would write it, or `<secret>`, or `<hidden>` where nobody can tell whether it is one.
    pub value: String,
    /// Where it was written.
    pub place: Place,
}

/// Every value of a tree, in order of key.
pub(super) fn show(
    root: &Node,
    dir: &Path,
    overrides: &Overrides,
    schema_of: &dyn Fn(&PluginChoice) -> Option<String>,
) -> Vec<Shown> {
    let mut shown = Vec::new();
    for (key, node) in root.table().into_iter().flatten() {
        match (key.as_str(), node.table()) {
            ("cloud", Some(clouds)) => {
                for (name, cloud) in clouds {
                    show_cloud(&dotted("cloud", name), cloud, dir, overrides, schema_of, &mut shown);
                }
            }
            ("cloud", None) => hide(key, node, &mut shown),
            _ => show_node(&dotted("", key), node, &mut shown),
        }
    }
    shown
}

fn show_cloud(
    key: &str,
    cloud: &Node,
    dir: &Path,
    overrides: &Overrides,
    schema_of: &dyn Fn(&PluginChoice) -> Option<String>,
    shown: &mut Vec<Shown>,
) {
    let Some(table) = cloud.table() else { return hide(key, cloud, shown) };
    for (name, node) in table {
        let full = dotted(key, name);
        match name.as_str() {
            "plugin" | "enabled" | "plain_text" | "priority" | "map" => show_node(&full, node, shown),
            "settings" => {
                // What is wrong with them is the business of `check`.
                let settings = Settings::read(&full, node, dir, overrides, &Errors::default());
                let choice = cloud.get("plugin").and_then(|node| plugin(node).ok());
                let schema = choice.and_then(|choice| schema_of(&choice));
                let secret =
                    schema.map(|schema| schema::secret_keys(settings.json.expose(), &schema).into_iter().collect());
                show_settings(&full, "", node, secret.as_ref(), shown);
            }
            // A secret on the wrong level, perhaps.
            _ => hide(&full, node, shown),
        }
    }
}

/// `secret`: the keys that the plugin's schema calls so; none: nobody knows the schema.
fn show_settings(full: &str, own: &str, node: &Node, secret: Option<&BTreeSet<String>>, shown: &mut Vec<Shown>) {
    let mut put = |value: &str| {
        shown.push(Shown { key: full.to_owned(), value: value.to_owned(), place: node.place.clone() });
    };
    if secret.is_some_and(|keys| keys.contains(own)) {
        return put("<secret>");
    }
    match Reference::of(node) {
        Some(Reference::File { path, public: true }) => return put(&format!("{{ file = {path:?}, public = true }}")),
        Some(_) => return put("<secret>"),
        None => {}
    }
    let inner = |key: &str| if own.is_empty() { key.to_owned() } else { format!("{own}.{key}") };
    match (&node.shape, secret) {
        (Shape::Table(table), _) => {
            for (key, node) in table {
                show_settings(&dotted(full, key), &inner(key), node, secret, shown);
            }
        }
        (Shape::List(items), _) => {
            for (index, node) in items.iter().enumerate() {
                show_settings(&format!("{full}[{index}]"), &inner(&index.to_string()), node, secret, shown);
            }
        }
        (Shape::Text(_) | Shape::Untyped(_), None) => put("<hidden>"),
        _ => show_node(full, node, shown),
    }
}

fn show_node(key: &str, node: &Node, shown: &mut Vec<Shown>) {
    let value = match &node.shape {
        Shape::Table(table) => {
            return table.iter().for_each(|(name, node)| show_node(&dotted(key, name), node, shown));
        }
        Shape::List(items) if items.iter().any(|item| item.table().is_some()) => {
            return (0..)
                .zip(items)
                .for_each(|(index, node): (usize, _)| show_node(&format!("{key}[{index}]"), node, shown));
        }
        _ => literal(node),
    };
    shown.push(Shown { key: key.to_owned(), value, place: node.place.clone() });
}

fn hide(key: &str, node: &Node, shown: &mut Vec<Shown>) {
    shown.push(Shown { key: key.to_owned(), value: "<hidden>".to_owned(), place: node.place.clone() });
}

fn literal(node: &Node) -> String {
    match &node.shape {
        Shape::Bool(flag) => flag.to_string(),
        Shape::Int(number) => number.to_string(),
        Shape::Float(text) => text.clone(),
        Shape::Text(text) | Shape::Untyped(text) => format!("{text:?}"),
        Shape::List(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Shape::Table(_) => "{ … }".to_owned(),
    }
}
