//! Reports and commands of the device as lists of `{"id": value}`, both ways (Clife: the public virtual device).
//!
//! The platform knows a datapoint by a decimal number, which is its name at this cloud. A value is a boolean, a number or
//! a text; a label that is a number travels as one. Range, step and access are checked by the host.

use std::collections::BTreeMap;

use polylink_plugin_sdk::thing_model::{Field, Property, ThingModel};
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{DatapointId, Value};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::frame::{list, members, raw, text};

/// The product as this cloud knows it.
#[derive(Debug)]
pub struct Datapoints {
    model: ThingModel,
    by_id: BTreeMap<u32, DatapointId>,
}

/// Why a command cannot be passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// The body has another form.
    #[error("params is not a list of objects")]
    Form,
    /// A command that names nothing.
    #[error("nothing to set")]
    Nothing,
    /// A number that no datapoint has.
    #[error("there is no datapoint {0}")]
    Unknown(String),
    /// A value that does not fit.
    #[error("datapoint {0}: {1}")]
    Value(String, String),
}

impl Datapoints {
    /// Of this product. Also the names of properties that the platform cannot know, because their name at this cloud is no
    /// decimal number or another one's.
    #[must_use]
    pub fn new(model: ThingModel) -> (Self, Vec<String>) {
        let mut by_id = BTreeMap::new();
        let mut nameless = Vec::new();
        for property in &model.properties {
            let field = &property.field;
            match number(&field.cloud_name).filter(|id| !by_id.contains_key(id)) {
                Some(id) => drop(by_id.insert(id, field.id)),
                None => nameless.push(field.name.clone()),
            }
        }
        (Self { model, by_id }, nameless)
    }

    /// A property by its name in the product.
    #[must_use]
    pub fn property_named(&self, name: &str) -> Option<&Property> {
        self.model.property_named(name)
    }

    /// `{"params": [{"1": true}, …]}`; `None` if none of the values has a number at this cloud.
    #[must_use]
    pub fn body(&self, values: &Values) -> Option<Box<RawValue>> {
        let params = self.params(values);
        (!params.is_empty()).then(|| raw(&Body { params, resp_code: None, resp_cont: None }))
    }

    /// The answer to a query or control: these values, also if there are none.
    #[must_use]
    pub fn answer(&self, values: &Values) -> Box<RawValue> {
        raw(&Body { params: self.params(values), resp_code: None, resp_cont: None })
    }

    /// The refusal of a control, with the values as they are.
    #[must_use]
    pub fn refusal(&self, values: &Values, why: &str) -> Box<RawValue> {
        raw(&Body { params: self.params(values), resp_code: Some(-1), resp_cont: Some(why) })
    }

    fn params(&self, values: &Values) -> Vec<BTreeMap<u32, Box<RawValue>>> {
        let one = |(id, value): &(DatapointId, Value)| {
            let field = &self.model.property(*id)?.field;
            let number = number(&field.cloud_name).filter(|number| self.by_id.get(number) == Some(id))?;
            Some(BTreeMap::from([(number, json(field, value)?)]))
        };
        values.iter().filter_map(one).collect()
    }

    /// What a control sets.
    ///
    /// # Errors
    /// One of the datapoints is not known or does not fit; then none is to be set (not documented; chosen by us).
    pub fn control(&self, body: &RawValue) -> Result<Values, BadCommand> {
        let params = members(body).and_then(|mut body| body.remove("params")).ok_or(BadCommand::Form)?;
        let params = list(&params).ok_or(BadCommand::Form)?;
        let mut values: BTreeMap<DatapointId, Value> = BTreeMap::new();
        for param in params {
            for (name, value) in members(&param).ok_or(BadCommand::Form)? {
                let field = self.field(&name).ok_or_else(|| BadCommand::Unknown(shown(&name)))?;
                let value =
                    field.from_json(&value).map_err(|error| BadCommand::Value(shown(&name), error.to_string()))?;
                // A datapoint that comes twice means what it says last.
                values.insert(field.id, value);
            }
        }
        if values.is_empty() { Err(BadCommand::Nothing) } else { Ok(values.into_iter().collect()) }
    }

    /// The datapoints that a control names, also if it is to be refused; what it names besides is left out.
    #[must_use]
    pub fn named(&self, body: &RawValue) -> Vec<DatapointId> {
        let params = members(body).and_then(|mut body| body.remove("params"));
        let params = params.and_then(|params| list(&params)).unwrap_or_default();
        let names = params.iter().filter_map(|param| members(param)).flat_map(BTreeMap::into_keys);
        let mut ids: Vec<DatapointId> = names.filter_map(|name| Some(self.field(&name)?.id)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// What a query asks for; none: everything. Datapoints that are not known are left out, so that nothing may be left:
    /// `None` (not documented; chosen by us).
    ///
    /// # Errors
    /// `params` is no list of numbers.
    pub fn query(&self, body: &RawValue) -> Result<Option<Vec<DatapointId>>, BadCommand> {
        let params = members(body).ok_or(BadCommand::Form)?.remove("params");
        let names: Vec<Box<RawValue>> = match params.as_deref() {
            None => Vec::new(),
            Some(params) if params.get() == "null" => Vec::new(),
            Some(params) => list(params).ok_or(BadCommand::Form)?,
        };
        let mut ids = Vec::new();
        for name in &names {
            if name.get().starts_with(['{', '[']) {
                return Err(BadCommand::Form);
            }
            let name = text(name).unwrap_or_else(|| name.get().to_owned());
            ids.extend(self.field(&name).map(|field| field.id));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok((names.is_empty() || !ids.is_empty()).then_some(ids))
    }

    fn field(&self, name: &str) -> Option<&Field> {
        let id = self.by_id.get(&number(name)?)?;
        Some(&self.model.property(*id)?.field)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    params: Vec<BTreeMap<u32, Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resp_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resp_cont: Option<&'a str>,
}

/// The value as JSON, where labels that are numbers are numbers.
fn json(field: &Field, value: &Value) -> Option<Box<RawValue>> {
    let json = field.to_json(value).ok()?;
    if !matches!(value, Value::Bool(_) | Value::Enum(_)) {
        return Some(json);
    }
    let label = json.get().trim_matches('"');
    let is_number = label.parse::<i64>().is_ok_and(|number| number.to_string() == label);
    if is_number { RawValue::from_string(label.to_owned()).ok() } else { Some(json) }
}

/// A datapoint's number: decimal digits without a sign or leading zeros.
fn number(name: &str) -> Option<u32> {
    let number: u32 = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}

fn shown(name: &str) -> String {
    name.chars().take(SHOWN_MAX).collect()
}

/// Characters of a wrong number that an error repeats (not documented; chosen by us).
const SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests;
