//! Reports and commands of the device in the words of the Lierda cloud, both ways, as pure functions.
//!
//! The JSON model is the platform's (Lierda access protocol 4.3.1). What a passthrough payload says is left to the
//! product there; the mapping here is ours and is described in the README. Names, labels and scales are those of this
//! cloud instance; range, step and access are checked by the host.

use std::collections::BTreeMap;

use polylink_plugin_sdk::thing_model::{Action, Field, ThingModel};
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{CommandBody, DatapointId, Outcome, hex};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::PassthroughData;
use crate::frame::raw;

/// Names and values of this cloud.
pub type NamedValues = Vec<(String, Box<RawValue>)>;

/// Why a command cannot be passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// The payload has another form.
    #[error("the payload has not the form of this command")]
    Form,
    /// A command that names nothing.
    #[error("nothing to set")]
    Nothing,
    /// A name that the product does not have.
    #[error("`{0}` is not known")]
    Unknown(String),
    /// Topic and payload name different services.
    #[error("topic and payload name different services")]
    OtherService,
    /// A value that does not fit.
    #[error("{0}")]
    Value(String),
}

/// Values of properties under this cloud's names. What the product document does not know is left out.
#[must_use]
pub fn properties(model: &ThingModel, values: &Values) -> NamedValues {
    named(values, |id| model.property(id).map(|property| &property.field))
}

/// Name and parameters of an event; `None` if the product document does not know it.
#[must_use]
pub fn event(model: &ThingModel, id: DatapointId, params: &Values) -> Option<(String, NamedValues)> {
    let event = model.event(id)?;
    Some((event.cloud_name.clone(), named(params, |id| event.param(id))))
}

/// What an action returned, under this cloud's names.
#[must_use]
pub fn outputs(model: &ThingModel, action: DatapointId, outcome: &Outcome) -> NamedValues {
    let action = model.action(action);
    named(&outcome.values, |id| action.and_then(|action: &Action| action.returned(id)))
}

/// An object of these members.
#[must_use]
pub fn object(values: &[(String, Box<RawValue>)]) -> Box<RawValue> {
    raw(&values.iter().map(|(name, value)| (name.as_str(), value)).collect::<BTreeMap<_, _>>())
}

/// Values to set, and how the acknowledgement repeats them.
#[derive(Debug)]
pub struct Set {
    /// For the device.
    pub values: Values,
    /// As they came, by name.
    pub received: NamedValues,
}

/// A command 20: a list of identifiers and values (Lierda access protocol 4.3.1.5).
///
/// # Errors
/// One of them is not known or does not fit; then none is to be set (not documented; chosen by us).
pub fn set(model: &ThingModel, payload: &RawValue) -> Result<Set, BadCommand> {
    #[derive(Deserialize)]
    struct Payload {
        params: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Param {
        identify: String,
        value: Box<RawValue>,
    }
    let Payload { params } = parse(payload)?;
    // A name that comes twice means what it says last.
    let mut last: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
    for param in params {
        let Param { identify, value } = parse(&param)?;
        last.insert(identify, value);
    }
    set_members(model, last)
}

/// Values to set, as an object of names and values.
///
/// # Errors
/// As [`set`].
pub fn set_object(model: &ThingModel, payload: &RawValue) -> Result<Set, BadCommand> {
    set_members(model, parse(payload)?)
}

/// As [`set_object`].
///
/// # Errors
/// As [`set`].
pub fn set_members(model: &ThingModel, members: BTreeMap<String, Box<RawValue>>) -> Result<Set, BadCommand> {
    if members.is_empty() {
        return Err(BadCommand::Nothing);
    }
    let values = values(&members, |name| model.property_of_cloud(name).map(|property| &property.field))?;
    Ok(Set { values, received: members.into_iter().collect() })
}

/// A command 23: the properties to read; none: all. Names that are not known are left out, so that the answer may be
/// empty: `None` (not documented; chosen by us).
///
/// # Errors
/// The payload is no object with a list of names.
pub fn ask(model: &ThingModel, payload: &RawValue) -> Result<Option<Vec<DatapointId>>, BadCommand> {
    #[derive(Deserialize)]
    struct Payload {
        #[serde(default)]
        params: Option<Vec<String>>,
    }
    // An empty text stands for an empty object on this platform.
    let names = if is_empty(payload) { None } else { parse::<Payload>(payload)?.params };
    Ok(asked(model, &names.unwrap_or_default()))
}

/// As [`ask`], for names that stand in a bare list.
///
/// # Errors
/// The text is no list of names.
pub fn ask_list(model: &ThingModel, names: &RawValue) -> Result<Option<Vec<DatapointId>>, BadCommand> {
    let names: Vec<String> = serde_json::from_str(names.get()).map_err(|_| BadCommand::Form)?;
    Ok(asked(model, &names))
}

fn asked(model: &ThingModel, names: &[String]) -> Option<Vec<DatapointId>> {
    let mut ids: Vec<DatapointId> =
        names.iter().filter_map(|name| Some(model.property_of_cloud(name)?.field.id)).collect();
    ids.sort_unstable();
    ids.dedup();
    (names.is_empty() || !ids.is_empty()).then_some(ids)
}

/// A command 21: the action and its parameters. `named` is the service in the topic, which decides.
///
/// # Errors
/// The service is not known, the payload names another one, or a parameter does not fit.
pub fn service(model: &ThingModel, named: &str, payload: &RawValue) -> Result<(DatapointId, Values), BadCommand> {
    #[derive(Deserialize)]
    struct Payload {
        // The first spelling is the platform's own (Lierda access protocol 4.3.1.3).
        #[serde(rename = "servicIdentify", alias = "serviceIdentify", alias = "serviceIdentifier", default)]
        service: Option<String>,
        #[serde(default)]
        params: Option<Box<RawValue>>,
    }
    let Payload { service, params } = parse(payload)?;
    if service.is_some_and(|service| service != named) {
        return Err(BadCommand::OtherService);
    }
    invoke(model, named, params.as_deref())
}

/// The action of this name with these parameters.
///
/// # Errors
/// It is not known, or a parameter does not fit.
pub fn invoke(model: &ThingModel, name: &str, params: Option<&RawValue>) -> Result<(DatapointId, Values), BadCommand> {
    let action = model.action_of_cloud(name).ok_or_else(|| BadCommand::Unknown(shown(name)))?;
    let members = match params {
        Some(params) if !is_empty(params) => parse(params)?,
        _ => BTreeMap::new(),
    };
    let params = values(&members, |name| action.param_of_cloud(name))?;
    Ok((action.id, params))
}

/// A service call that the product's script has decoded: `{"service": …, "params": {…}}`. The action, its name and its
/// parameters.
///
/// # Errors
/// As [`service`].
pub fn decoded_service(model: &ThingModel, decoded: &RawValue) -> Result<(DatapointId, String, Values), BadCommand> {
    #[derive(Deserialize)]
    struct Decoded {
        service: String,
        #[serde(default)]
        params: Option<Box<RawValue>>,
    }
    let Decoded { service, params } = parse(decoded)?;
    let (action, params) = invoke(model, &service, params.as_deref())?;
    Ok((action, service, params))
}

/// What the product's script encodes as the result of a service: `{"service": …, "data": {…}}`.
#[must_use]
pub fn service_result(name: &str, outputs: &[(String, Box<RawValue>)]) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Result<'a> {
        service: &'a str,
        data: Box<RawValue>,
    }
    raw(&Result { service: name, data: object(outputs) })
}

/// The payload of bytes of the device in a passthrough message.
#[must_use]
pub fn passthrough_bytes(bytes: &[u8], data: PassthroughData) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Payload<'a> {
        data: &'a str,
    }
    let text = match data {
        PassthroughData::Text => {
            std::str::from_utf8(bytes).map(ToOwned::to_owned).unwrap_or_else(|_| hex::lower(bytes))
        }
        PassthroughData::Hex => hex::lower(bytes),
    };
    raw(&Payload { data: &text })
}

/// The payload of an event in a passthrough message.
#[must_use]
pub fn passthrough_event(name: &str, params: &[(String, Box<RawValue>)]) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Payload<'a> {
        event: &'a str,
        params: Box<RawValue>,
    }
    raw(&Payload { event: name, params: object(params) })
}

/// What a passthrough downlink wants of the device. To a device that speaks raw it is bytes: those of `data` if that is
/// all there is, else the whole payload as text. To another one it is an object of properties to set, or of the one
/// action to run with its parameters.
///
/// # Errors
/// It wants nothing that the product has.
pub fn passthrough(model: &ThingModel, data: PassthroughData, payload: &RawValue) -> Result<CommandBody, BadCommand> {
    let members: BTreeMap<String, Box<RawValue>> = parse(payload)?;
    if model.raw {
        let text = match (members.len(), members.get("data")) {
            (1, Some(text)) => serde_json::from_str::<String>(text.get()).ok(),
            _ => None,
        };
        return Ok(CommandBody::Raw(match (text, data) {
            (None, _) => payload.get().as_bytes().to_vec(),
            (Some(text), PassthroughData::Text) => text.into_bytes(),
            (Some(text), PassthroughData::Hex) => hex::decode(&text)
                .ok_or_else(|| BadCommand::Value("`data` is not an even number of hexadecimal digits".to_owned()))?,
        }));
    }
    if let (1, Some((name, params))) = (members.len(), members.iter().next())
        && model.property_of_cloud(name).is_none()
        && model.action_of_cloud(name).is_some()
    {
        let (action, params) = invoke(model, name, Some(params))?;
        return Ok(CommandBody::Invoke { action, params });
    }
    Ok(CommandBody::Set(set_members(model, members)?.values))
}

/// True for `""`, `{}` and null, which say nothing.
#[must_use]
pub fn is_empty(payload: &RawValue) -> bool {
    match payload.get().trim() {
        "\"\"" | "null" => true,
        text => {
            text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).is_some_and(|text| text.trim().is_empty())
        }
    }
}

fn parse<T: for<'a> Deserialize<'a>>(payload: &RawValue) -> Result<T, BadCommand> {
    // Serde would also take an array for a struct.
    if !payload.get().trim_start().starts_with('{') {
        return Err(BadCommand::Form);
    }
    serde_json::from_str(payload.get()).map_err(|_| BadCommand::Form)
}

fn values<'a>(
    members: &BTreeMap<String, Box<RawValue>>,
    field: impl Fn(&str) -> Option<&'a Field>,
) -> Result<Values, BadCommand> {
    let mut values = Values::with_capacity(members.len());
    for (name, value) in members {
        let field = field(name).ok_or_else(|| BadCommand::Unknown(shown(name)))?;
        let value = field.from_json(value).map_err(|error| BadCommand::Value(error.to_string()))?;
        values.push((field.id, value));
    }
    Ok(values)
}

/// Values without a field, or that have no form at this cloud, are left out.
fn named<'a>(values: &Values, field: impl Fn(DatapointId) -> Option<&'a Field>) -> NamedValues {
    let one = |(id, value): &(DatapointId, _)| {
        let field = field(*id)?;
        Some((field.cloud_name.clone(), field.to_json(value).ok()?))
    };
    values.iter().filter_map(one).collect()
}

fn shown(name: &str) -> String {
    name.chars().take(SHOWN_MAX).collect()
}

/// Characters of a wrong name that an error repeats (not documented; chosen by us).
const SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests;
