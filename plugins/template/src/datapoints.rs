//! Reports, commands and results as JSON, by the product's thing model under this cloud's names.
//!
//! ```text
//! report   {"time":1704067200000,"properties":{"switch":true,"target":21.5}}
//!          {"time":1704067200000,"event":"leak","params":{"rate":3}}          {"raw":"0a0b"}
//! command  {"id":"7","set":{"switch":true}}  {"id":"8","get":["switch"]}  {"id":"9","action":"reset","params":{}}
//! result   {"id":"7","ok":true}  {"id":"8","ok":true,"values":{"switch":true}}  {"id":"9","ok":false,"error":"…"}
//! ```

use std::collections::BTreeMap;

use polylink_plugin_sdk::thing_model::{Field, ThingModel, ValueError};
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{
    ClockQuality, CommandBody, DatapointId, Outcome, OutcomeResult, Report, ReportBody, WallTime, hex,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A command as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The asker's name for it; empty: none was given.
    pub id: String,
    /// What is wanted.
    pub body: CommandBody,
}

/// A command that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUnderstood {
    /// The asker's name for it, as far as it could be read.
    pub id: String,
    /// Why.
    pub why: String,
}

/// A report as a message.
///
/// # Errors
/// A value does not have its field's type.
pub fn encode_report(model: &ThingModel, report: &Report) -> Result<Vec<u8>, ValueError> {
    let mut message = ReportMessage { time: time(report.at), ..ReportMessage::default() };
    match &report.body {
        ReportBody::Properties(values) => {
            message.properties = Some(encode(values, |id| model.property(id).map(|property| &property.field))?);
        }
        ReportBody::Event { id, params } => {
            let event = model.event(*id);
            message.event = event.map(|event| event.cloud_name.as_str());
            message.params = Some(encode(params, |id| event.and_then(|event| event.param(id)))?);
        }
        ReportBody::Raw(bytes) => message.raw = Some(hex::lower(bytes)),
    }
    Ok(to_vec(&message))
}

/// What a message on the command topic wants.
///
/// # Errors
/// It is not JSON of the right shape, or names something that the product does not have.
pub fn decode_command(model: &ThingModel, payload: &[u8]) -> Result<Asked, NotUnderstood> {
    let message: CommandMessage = serde_json::from_slice(payload)
        .map_err(|error| NotUnderstood { id: String::new(), why: format!("not a command: {error}") })?;
    let id = message.id.unwrap_or_default();
    let body = match (message.set, message.get, message.action) {
        (Some(set), None, None) => properties(model, &set),
        (None, Some(names), None) => ids(model, &names),
        (None, None, Some(action)) => invocation(model, &action, &message.params),
        _ => Err("a command has one of `set`, `get` and `action`".to_owned()),
    };
    match body {
        Ok(body) => Ok(Asked { id, body }),
        Err(why) => Err(NotUnderstood { id, why }),
    }
}

/// What became of a command, as a message.
#[must_use]
pub fn encode_result(model: &ThingModel, id: &str, asked: &CommandBody, outcome: &Outcome) -> Vec<u8> {
    let error = match &outcome.result {
        OutcomeResult::Done => None,
        OutcomeResult::Refused(why) => Some(why.as_str()),
        OutcomeResult::Unreachable => Some("the device cannot be reached"),
        OutcomeResult::TimedOut => Some("the device did not answer in time"),
        OutcomeResult::Superseded => Some("a later command took its place"),
    };
    let field = |id| match asked {
        CommandBody::Invoke { action, .. } => model.action(*action).and_then(|action| action.returned(id)),
        _ => model.property(id).map(|property| &property.field),
    };
    let values = (!outcome.values.is_empty()).then(|| encode(&outcome.values, field));
    match values.transpose() {
        Ok(values) => to_vec(&ResultMessage { id, ok: error.is_none(), error, values }),
        Err(mismatch) => encode_refusal(id, &mismatch.to_string()),
    }
}

/// That a command was not carried out, as a message.
#[must_use]
pub fn encode_refusal(id: &str, why: &str) -> Vec<u8> {
    to_vec(&ResultMessage { id, ok: false, error: Some(why), values: None })
}

type Members = BTreeMap<String, Box<RawValue>>;

#[derive(Default, Serialize)]
struct ReportMessage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Members>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<Members>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

#[derive(Deserialize)]
struct CommandMessage {
    id: Option<String>,
    set: Option<Members>,
    get: Option<Vec<String>>,
    action: Option<String>,
    #[serde(default)]
    params: Members,
}

#[derive(Serialize)]
struct ResultMessage<'a> {
    id: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Members>,
}

/// The values that have a field here; the others are of a newer product than the model.
fn encode<'a>(values: &Values, field: impl Fn(DatapointId) -> Option<&'a Field>) -> Result<Members, ValueError> {
    let known = values.iter().filter_map(|(id, value)| Some((field(*id)?, value)));
    known.map(|(field, value)| Ok((field.cloud_name.clone(), field.to_json(value)?))).collect()
}

fn properties(model: &ThingModel, members: &Members) -> Result<CommandBody, String> {
    let value = |name: &str, json: &RawValue| {
        let property = model.property_of_cloud(name).ok_or_else(|| unknown("property", name))?;
        let value = property.field.from_json(json).map_err(|error| error.to_string())?;
        Ok((property.field.id, value))
    };
    members.iter().map(|(name, json)| value(name, json)).collect::<Result<_, _>>().map(CommandBody::Set)
}

fn ids(model: &ThingModel, names: &[String]) -> Result<CommandBody, String> {
    let id = |name: &String| {
        let property = model.property_of_cloud(name).ok_or_else(|| unknown("property", name))?;
        Ok(property.field.id)
    };
    names.iter().map(id).collect::<Result<_, _>>().map(CommandBody::Get)
}

fn invocation(model: &ThingModel, name: &str, members: &Members) -> Result<CommandBody, String> {
    let action = model.action_of_cloud(name).ok_or_else(|| unknown("action", name))?;
    let value = |name: &str, json: &RawValue| {
        let field = action.param_of_cloud(name).ok_or_else(|| unknown("parameter", name))?;
        Ok((field.id, field.from_json(json).map_err(|error| error.to_string())?))
    };
    let params = members.iter().map(|(name, json)| value(name, json)).collect::<Result<_, String>>()?;
    Ok(CommandBody::Invoke { action: action.id, params })
}

fn unknown(kind: &str, name: &str) -> String {
    let shown: String = name.chars().take(NAME_SHOWN_MAX).collect();
    format!("this product has no {kind} `{shown}`")
}

/// A time that was never set is worse than none.
fn time(at: WallTime) -> Option<i64> {
    (at.quality > ClockQuality::UNSET).then_some(at.unix_ms)
}

fn to_vec(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("the messages have text keys only, so they can be written")
}

/// Characters of an unknown name that an answer repeats. Not documented; chosen by us.
const NAME_SHOWN_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use polylink_plugin_sdk::{Cause, Value};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_read_is_in_the_result_under_the_clouds_names() {
        let outcome = Outcome {
            result: OutcomeResult::Done,
            values: vec![(DatapointId(0), Value::Bool(true)), (DatapointId(9), Value::Bool(true))],
            document: None,
        };
        let result = encode_result(&model(), "m1", &CommandBody::Get(Vec::new()), &outcome);
        assert_eq!(result, br#"{"id":"m1","ok":true,"values":{"switch":true}}"#);
    }

    #[test]
    fn raw_bytes_are_reported_as_hex() {
        let body = ReportBody::Raw(vec![0x0A, 0xFF]);
        let at = WallTime { unix_ms: 5, quality: ClockQuality::SYNCED };
        let report = Report { seq: 1, at, device: 0, cause: Cause::Change, caused_by: None, body };
        assert_eq!(encode_report(&model(), &report), Ok(br#"{"time":5,"raw":"0aff"}"#.to_vec()));
    }

    proptest! {
        #[test]
        fn no_bytes_can_panic_the_decoder(bytes: Vec<u8>, json in r#"[\[\]{}":,a-z0-9]*"#) {
            let _ = (decode_command(&model(), &bytes), decode_command(&model(), json.as_bytes()));
        }

        #[test]
        fn every_value_of_a_known_property_is_understood_or_refused_with_its_name(text: String) {
            let json = serde_json::json!({"id": "m1", "set": {"switch": text}}).to_string();
            if let Err(refused) = decode_command(&model(), json.as_bytes()) {
                prop_assert_eq!(refused.id, "m1");
                prop_assert!(refused.why.contains("`switch`"), "{}", refused.why);
            }
        }
    }

    fn model() -> ThingModel {
        let product = r#"{"product_key":"pk","properties":[
            {"id":0,"name":"power","cloud_name":"switch","type":"bool","writable":true}]}"#;
        ThingModel::parse(product).expect("the test's document is right")
    }
}
