//! Values, commands and events of the device in the words of the JoyLink cloud, both ways, as pure functions.
//!
//! The cloud knows nothing but streams: a name, and a text or a number. So here (not documented; chosen by us):
//!
//! - A bool is 1 or 0, or its label if the product has labels for this cloud; a number is a number; an enum is its label;
//!   bytes are hexadecimal digits; a json property is a text that holds JSON, as the document does it in `push_stream`.
//! - Of what comes, also numbers in texts, `true` and `false`, and JSON that is no text are understood. A name that comes
//!   twice means what it says last.
//! - An event is a stream of its name in an upload, beside all values. Its value is a text that holds an object of the
//!   parameters: `{"stream_id":"alarm","current_value":"{\"level\":3}"}`.
//! - An action is run by a stream of its name that comes alone. Its value is an object of the parameters or a text that
//!   holds one; `1`, `""` and null stand for no parameters. What it returned is told as an event is.
//! - Names are those of this cloud instance; range, step and access are checked by the host.
//!
//! The settings refuse a product in which one name would mean two things in one message.

use std::collections::BTreeMap;

use polylink_plugin_sdk::thing_model::{Action, Field, Kind, ThingModel};
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{CommandBody, DatapointId, Outcome, OutcomeResult, Value};

use crate::wire::standard::Said;
use crate::wire::video::VideoRequest;
use crate::wire::{Code, Json, Stream};

/// Why a command cannot be passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// A command that names nothing.
    #[error("nothing to set")]
    Nothing,
    /// A name that the product does not have.
    #[error("`{0}` is not known")]
    Unknown(String),
    /// An action beside something else.
    #[error("`{0}` is an action, which has to come alone")]
    NotAlone(String),
    /// A value that does not fit.
    #[error("{0}")]
    Value(String),
}

impl BadCommand {
    /// The code in the answer.
    #[must_use]
    pub const fn code(&self) -> Code {
        Code::PROPERTY_FAILED
    }
}

/// Values of properties. What the product document does not know is left out.
#[must_use]
pub fn streams<'a>(model: &ThingModel, values: impl IntoIterator<Item = (&'a DatapointId, &'a Value)>) -> Vec<Stream> {
    let one = |(id, value): (&DatapointId, &Value)| {
        let field = &model.property(*id)?.field;
        Some(Stream { stream_id: field.cloud_name.clone(), current_value: json_of(field, value)? })
    };
    values.into_iter().filter_map(one).collect()
}

/// An event; `None` if the product document does not know it.
#[must_use]
pub fn event(model: &ThingModel, id: DatapointId, params: &Values) -> Option<Stream> {
    let event = model.event(id)?;
    Some(Stream { stream_id: event.cloud_name.clone(), current_value: object_in_text(params, |id| event.param(id)) })
}

/// What an action returned; `None` if it returns nothing.
#[must_use]
pub fn returned(model: &ThingModel, action: DatapointId, outcome: &Outcome) -> Option<Stream> {
    let action = model.action(action).filter(|action| !action.returns.is_empty())?;
    let current_value = object_in_text(&outcome.values, |id| action.returned(id));
    Some(Stream { stream_id: action.cloud_name.clone(), current_value })
}

/// What streams want of the device: all of them, or nothing.
///
/// # Errors
/// One of them is not known or does not fit.
pub fn control(model: &ThingModel, streams: &[Stream]) -> Result<CommandBody, BadCommand> {
    let action = |name: &str| match model.property_of_cloud(name) {
        Some(_) => None,
        None => model.action_of_cloud(name),
    };
    if let [Stream { stream_id, current_value }] = streams
        && let Some(action) = action(stream_id)
    {
        return Ok(CommandBody::Invoke { action: action.id, params: params(action, current_value)? });
    }
    let last: BTreeMap<&str, &Json> =
        streams.iter().map(|stream| (stream.stream_id.as_str(), &stream.current_value)).collect();
    if last.is_empty() {
        return Err(BadCommand::Nothing);
    }
    let mut values = Values::with_capacity(last.len());
    for (name, value) in last {
        if action(name).is_some() {
            return Err(BadCommand::NotAlone(shown(name)));
        }
        let property = model.property_of_cloud(name).ok_or_else(|| BadCommand::Unknown(shown(name)))?;
        values.push((property.field.id, value_of(&property.field, value)?));
    }
    Ok(CommandBody::Set(values))
}

/// What a request for video wants of the device: it is a control whose stream `push_stream` is a property of text or json,
/// and the MCU reads the JSON in it.
///
/// # Errors
/// As [`control`].
pub fn push_stream(model: &ThingModel, request: &VideoRequest) -> Result<CommandBody, BadCommand> {
    control(model, &request.control)
}

/// `result` in the answer to a request for video (JoyLink V1.79, type 201; which code is which is ours).
#[must_use]
pub const fn video_result(code: Code) -> i32 {
    match code {
        Code::SUCCESS => 0,
        Code::MCU_LOST => -3,
        Code::PROPERTY_FAILED => -4,
        _ => -5,
    }
}

/// The code that tells what became of a command (JoyLink V1.79, table of codes). A command in whose place another was
/// carried out counts as refused; chosen by us.
#[must_use]
pub const fn code(result: &OutcomeResult) -> Code {
    match result {
        OutcomeResult::Done => Code::SUCCESS,
        OutcomeResult::Refused(_) | OutcomeResult::Superseded => Code::REFUSED,
        OutcomeResult::Unreachable => Code::MCU_LOST,
        OutcomeResult::TimedOut => Code::MCU_TIMEOUT,
    }
}

/// The answer to a control as standard JSON. Without a message the code's own text is told; without values none are.
#[must_use]
pub fn answer(code: Code, msg: Option<&str>, streams: Option<Vec<Stream>>) -> Vec<u8> {
    Said { code, streams, msg: Some(msg.unwrap_or(code.text()).to_owned()) }.encode()
}

/// All values as standard JSON: an upload, or the answer to who asks for them.
#[must_use]
pub fn snapshot(streams: Vec<Stream>) -> Vec<u8> {
    Said { code: Code::SUCCESS, streams: Some(streams), msg: None }.encode()
}

/// The product type that the MCU tells, as text or as the bytes of one; `None`: it tells none yet.
#[must_use]
pub fn uuid(value: &Value) -> Option<String> {
    let text = match value {
        Value::Text(text) => text,
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?,
        _ => return None,
    };
    // A field of fixed width is filled up.
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    uuid_ok(text).then(|| text.to_owned())
}

/// Whether this is a product type: 6 letters or digits (JoyLink V1.79, terms).
#[must_use]
pub fn uuid_ok(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A text or a number; `None` if the value has no form here.
fn json_of(field: &Field, value: &Value) -> Option<Json> {
    let json = field.to_json(value).ok()?;
    Some(match value {
        Value::Bool(on) if field.cloud_labels.is_empty() => Json::of(&u8::from(*on)),
        Value::Json(_) => Json::of(&json.get()),
        _ => Json::of(&json),
    })
}

fn value_of(field: &Field, json: &Json) -> Result<Value, BadCommand> {
    let text = if matches!(field.kind, Kind::Json { .. }) { json.parse::<String>() } else { None };
    let value = match text {
        Some(text) => field.from_text(&text),
        None => field.from_json(json.raw()),
    };
    value.map_err(|error| BadCommand::Value(error.to_string()))
}

/// Values without a field, or that have no form here, are left out.
fn object_in_text<'a>(values: &Values, field: impl Fn(DatapointId) -> Option<&'a Field>) -> Json {
    let one = |(id, value): &(DatapointId, Value)| {
        let field = field(*id)?;
        Some((field.cloud_name.as_str(), json_of(field, value)?))
    };
    let members: BTreeMap<&str, Json> = values.iter().filter_map(one).collect();
    Json::of(&Json::of(&members).get())
}

fn params(action: &Action, value: &Json) -> Result<Values, BadCommand> {
    let text = value.parse::<String>();
    let text = text.as_deref().unwrap_or(value.get()).trim();
    if ["", "1", "null"].contains(&text) {
        return Ok(Values::new());
    }
    let members: BTreeMap<String, Json> = serde_json::from_str(text)
        .map_err(|_| BadCommand::Value(format!("`{}` takes an object of its parameters", action.cloud_name)))?;
    let mut values = Values::with_capacity(members.len());
    for (name, value) in &members {
        let field = action.param_of_cloud(name);
        let field = field.ok_or_else(|| BadCommand::Unknown(format!("{}.{}", action.cloud_name, shown(name))))?;
        values.push((field.id, value_of(field, value)?));
    }
    Ok(values)
}

fn shown(name: &str) -> String {
    name.chars().take(SHOWN_MAX).collect()
}

/// Characters of a wrong name that an error repeats (not documented; chosen by us).
const SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests;
