//! The product document: the thing model as a plugin gets it, with one cloud's own names applied.

use std::collections::{BTreeMap, BTreeSet};

use polylink_plugin_api::Value;
use serde_json::{Map, Value as Json, json};

use crate::product::{Class, Field, History, Kind, Product};

/// What one cloud calls a datapoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Its identifier.
    pub name: Option<String>,
    /// Its labels, in the product's order.
    pub labels: Option<Vec<String>>,
    /// Its number is the value × 10^shift.
    pub shift: Option<i64>,
}

/// Mappings by datapoint; a parameter stands under `event.parameter`.
pub type Mappings = BTreeMap<String, Mapping>;

/// Writes the document; `p0_layout` is the text of the Gizwits datapoint file that the product is taken over from.
#[must_use]
pub fn write(product: &Product, mappings: &Mappings, p0_layout: Option<&str>) -> String {
    let fields = |parent: &str, fields: &[Field]| -> Vec<Json> {
        (0..).zip(fields).map(|(id, field)| Json::Object(field_members(id, parent, field, mappings))).collect()
    };
    let properties = (0..).zip(&product.properties).map(|(id, property)| {
        let mut members = field_members(id, "", &property.field, mappings);
        members.insert("writable".to_owned(), property.writable.into());
        members.insert("history".to_owned(), history(property.history).into());
        members.insert("class".to_owned(), class(property.class).into());
        Json::Object(members)
    });
    let events = (0u32..).zip(&product.events).map(|(id, event)| {
        json!({
            "id": id, "name": event.name, "cloud_name": cloud_name("", &event.name, mappings), "title": event.title,
            "params": fields(&event.name, &event.params),
        })
    });
    let actions = (0u32..).zip(&product.actions).map(|(id, action)| {
        json!({
            "id": id, "name": action.name, "cloud_name": cloud_name("", &action.name, mappings), "title": action.title,
            "idempotent": action.idempotent,
            "params": fields(&action.name, &action.params), "returns": fields(&action.name, &action.returns),
        })
    });
    let mut document = json!({
        "product_key": product.key, "name": product.name, "raw": product.raw,
        "properties": properties.collect::<Vec<_>>(),
        "events": events.collect::<Vec<_>>(),
        "actions": actions.collect::<Vec<_>>(),
    });
    if let Some(layout) = p0_layout {
        document["p0_layout"] = layout.into();
    }
    document.to_string()
}

/// Every name that a mapping may stand under, with the type that is there, if it has one.
#[must_use]
pub fn mappable(product: &Product) -> BTreeMap<String, Option<&Kind>> {
    let mut names = BTreeMap::new();
    let parents = product.events.iter().map(|event| (&event.name, event.params.iter().chain(&[])));
    let parents =
        parents.chain(product.actions.iter().map(|action| (&action.name, action.params.iter().chain(&action.returns))));
    for (parent, fields) in parents {
        names.insert(parent.clone(), None);
        names.extend(fields.map(|field| (format!("{parent}.{}", field.name), Some(&field.kind))));
    }
    names.extend(product.properties.iter().map(|property| (property.field.name.clone(), Some(&property.field.kind))));
    names
}

/// Siblings that this cloud could not tell apart, as sentences.
#[must_use]
pub fn collisions(product: &Product, mappings: &Mappings) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |parent: &str, names: Vec<&String>| {
        let mut taken = BTreeSet::new();
        for name in names {
            let cloud = cloud_name(parent, name, mappings);
            if !taken.insert(cloud.to_owned()) {
                found.push(format!("two datapoints are both called `{cloud}` here; the second is `{name}`"));
            }
        }
    };
    let names = |fields: &'_ [Field]| -> Vec<String> { fields.iter().map(|field| field.name.clone()).collect() };
    check("", product.properties.iter().map(|property| &property.field.name).collect());
    check("", product.events.iter().map(|event| &event.name).collect());
    check("", product.actions.iter().map(|action| &action.name).collect());
    for event in &product.events {
        check(&event.name, names(&event.params).iter().collect());
    }
    for action in &product.actions {
        check(&action.name, names(&action.params).iter().collect());
        check(&action.name, names(&action.returns).iter().collect());
    }
    found
}

fn field_members(id: u32, parent: &str, field: &Field, mappings: &Mappings) -> Map<String, Json> {
    let mapping = mappings.get(&full_name(parent, &field.name));
    let mut members = Map::new();
    let mut put = |key: &str, value: Json| members.insert(key.to_owned(), value);
    put("id", id.into());
    put("name", field.name.as_str().into());
    put("cloud_name", cloud_name(parent, &field.name, mappings).into());
    put("title", field.title.as_str().into());
    put("unit", field.unit.as_str().into());
    put("type", field.kind.name().into());
    match &field.kind {
        Kind::Bool => {
            if let Some(labels) = mapping.and_then(|mapping| mapping.labels.as_ref()) {
                put("cloud_labels", labels.as_slice().into());
            }
        }
        Kind::Int { min, max, step } => {
            put("min", min.to_string().into());
            put("max", max.to_string().into());
            put("step", step.to_string().into());
        }
        Kind::Decimal { scale, min, max, step } => {
            let decimal = |mantissa: i64| Json::from(Value::Decimal { mantissa, scale: *scale }.to_string());
            put("scale", (*scale).into());
            put("min", decimal(*min));
            put("max", decimal(*max));
            put("step", decimal(*step));
        }
        Kind::Enum { labels } => {
            put("labels", labels.as_slice().into());
            put(
                "cloud_labels",
                mapping.and_then(|mapping| mapping.labels.as_ref()).unwrap_or(labels).as_slice().into(),
            );
        }
        Kind::Text { max_bytes } | Kind::Bytes { max_bytes } | Kind::Json { max_bytes } => {
            put("max_bytes", (*max_bytes).into());
        }
    }
    if let Some(shift) = mapping.and_then(|mapping| mapping.shift) {
        put("cloud_shift", shift.into());
    }
    members
}

fn cloud_name<'a>(parent: &str, name: &'a str, mappings: &'a Mappings) -> &'a str {
    mappings.get(&full_name(parent, name)).and_then(|mapping| mapping.name.as_deref()).unwrap_or(name)
}

fn full_name(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

const fn history(history: History) -> &'static str {
    match history {
        History::Latest => "latest",
        History::All => "all",
    }
}

const fn class(class: Class) -> &'static str {
    match class {
        Class::Value => "value",
        Class::Alarm => "alarm",
        Class::Fault => "fault",
    }
}
