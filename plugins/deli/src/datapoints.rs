//! Reports and commands of the device as business messages of the Deli cloud, both ways.
//!
//! The protocol says only that `data` has a `cmd` and a `payload`; the mapping is ours and is described in the README.
//! Names, labels and scales are those of this cloud instance; range and step are left to the host.

use std::collections::BTreeMap;

use polylink_plugin_sdk::thing_model::{Action, Field, ThingModel};
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{CommandBody, DatapointId, Outcome, OutcomeResult, Report, ReportBody, hex};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::commands::{DONE, FAILED, Instruction};
use crate::config::Settings;
use crate::message::raw;

/// Content of the 300 that carries this report; `None` if there are no words for it: it comes from a subdevice, or
/// speaks of what the product document does not know.
#[must_use]
pub fn report(model: &ThingModel, settings: &Settings, report: &Report) -> Option<Box<RawValue>> {
    if report.device != 0 {
        return None;
    }
    match &report.body {
        ReportBody::Properties(values) => {
            let values = named(values, |id| model.property(id).map(|property| &property.field));
            (!values.is_empty()).then(|| content(&settings.report_cmd, &object(&values)))
        }
        ReportBody::Event { id, params } => {
            let event = model.event(*id)?;
            let values = named(params, |id| event.param(id));
            Some(content(&event.cloud_name, &object(&values)))
        }
        ReportBody::Raw(bytes) => {
            let payload = raw(&serde_json::json!({ "raw": hex::lower(bytes) }));
            Some(content(RAW_CMD, &payload))
        }
    }
}

/// What an application or the platform wants of the device.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Set properties.
    Set(Values),
    /// Read properties; none: all.
    Get(Vec<DatapointId>),
    /// Run an action.
    Invoke(DatapointId, Values),
    /// Bytes for the MCU.
    Raw(Vec<u8>),
}

/// What kind of command runs, as far as its outcome needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// Its values are properties.
    Properties,
    /// Its values are what this action returns.
    Action(DatapointId),
    /// It has none.
    Raw,
}

impl Wanted {
    /// The command for the host.
    #[must_use]
    pub fn into_body(self) -> CommandBody {
        match self {
            Self::Set(values) => CommandBody::Set(values),
            Self::Get(ids) => CommandBody::Get(ids),
            Self::Invoke(action, params) => CommandBody::Invoke { action, params },
            Self::Raw(bytes) => CommandBody::Raw(bytes),
        }
    }

    /// What kind of command it is.
    #[must_use]
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::Set(_) | Self::Get(_) => CommandKind::Properties,
            Self::Invoke(action, _) => CommandKind::Action(*action),
            Self::Raw(_) => CommandKind::Raw,
        }
    }
}

/// Why a command cannot be passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// The content is no object of names and values.
    #[error("bad parameter: the payload is not an object of names and values")]
    NoObject,
    /// An object that names nothing.
    #[error("bad parameter: nothing to set")]
    Nothing,
    /// A name that the product does not have.
    #[error("bad parameter: `{0}` is not known")]
    Unknown(String),
    /// A value that does not fit.
    #[error("bad parameter: {0}")]
    Value(String),
    /// Names of what to read that are no list of texts.
    #[error("bad parameter: `names` is not a list of names")]
    Names,
}

/// What an application's command (301) wants; `None` if nothing here is called so.
pub fn wanted(
    model: &ThingModel,
    settings: &Settings,
    instruction: &Instruction,
) -> Option<Result<Wanted, BadCommand>> {
    let Instruction { cmd, payload } = instruction;
    if *cmd == settings.set_cmd {
        return Some(set(model, payload));
    }
    if *cmd == settings.get_cmd {
        return Some(get(model, payload));
    }
    if let Some(wanted) = action(model, instruction) {
        return Some(wanted);
    }
    // Who speaks raw understands every command by itself, so it gets the whole of it.
    model.raw.then(|| Ok(Wanted::Raw(content(cmd, payload).get().as_bytes().to_vec())))
}

/// The action called so, with its parameters; `None` if there is none.
pub fn action(model: &ThingModel, instruction: &Instruction) -> Option<Result<Wanted, BadCommand>> {
    let action = model.action_of_cloud(&instruction.cmd)?;
    let params = members(&instruction.payload).and_then(|members| values(&members, |name| action.param_of_cloud(name)));
    Some(params.map(|params| Wanted::Invoke(action.id, params)))
}

fn set(model: &ThingModel, payload: &RawValue) -> Result<Wanted, BadCommand> {
    let members = members(payload)?;
    let values = values(&members, |name| model.property_of_cloud(name).map(|property| &property.field))?;
    if values.is_empty() { Err(BadCommand::Nothing) } else { Ok(Wanted::Set(values)) }
}

fn get(model: &ThingModel, payload: &RawValue) -> Result<Wanted, BadCommand> {
    let names: Vec<String> = match members(payload)?.get("names") {
        None => Vec::new(),
        Some(names) => serde_json::from_str(names.get()).map_err(|_| BadCommand::Names)?,
    };
    let id = |name: &String| {
        let property = model.property_of_cloud(name);
        property.map(|property| property.field.id).ok_or_else(|| BadCommand::Unknown(shown(name)))
    };
    let mut ids: Vec<DatapointId> = names.iter().map(id).collect::<Result<_, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(Wanted::Get(ids))
}

/// Code and reason for what became of a command.
#[must_use]
pub fn result(result: &OutcomeResult) -> (i64, String) {
    match result {
        OutcomeResult::Done => (DONE, String::new()),
        OutcomeResult::Refused(why) => (FAILED, why.clone()),
        OutcomeResult::Unreachable => (FAILED, "the device does not answer its module".to_owned()),
        OutcomeResult::TimedOut => (FAILED, "timeout".to_owned()),
        OutcomeResult::Superseded => (FAILED, "a later command took its place".to_owned()),
    }
}

/// What a command read or returned, under this cloud's names.
#[must_use]
pub fn outcome_values(model: &ThingModel, kind: CommandKind, outcome: &Outcome) -> NamedValues {
    let mut values = match kind {
        CommandKind::Properties => named(&outcome.values, |id| model.property(id).map(|property| &property.field)),
        CommandKind::Action(action) => {
            let action = model.action(action);
            named(&outcome.values, |id| action.and_then(|action: &Action| action.returned(id)))
        }
        CommandKind::Raw => Vec::new(),
    };
    if let Some(document) = &outcome.document {
        // A document of the MCU is passed on as it is, or as hex if it is no JSON.
        let json = std::str::from_utf8(document).ok().and_then(|text| RawValue::from_string(text.to_owned()).ok());
        values.push((DOCUMENT.to_owned(), json.unwrap_or_else(|| raw(&hex::lower(document)))));
    }
    values
}

/// Content of the 300 that answers an application's command.
#[must_use]
pub fn answer(cmd: &str, code: i64, msg: &str, values: &[(String, Box<RawValue>)]) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Payload<'a> {
        code: i64,
        msg: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        values: Option<BTreeMap<&'a str, &'a RawValue>>,
    }
    let values = (!values.is_empty()).then(|| values.iter().map(|(name, value)| (name.as_str(), &**value)).collect());
    content(cmd, &raw(&Payload { code, msg, values }))
}

/// Names and values of this cloud.
pub type NamedValues = Vec<(String, Box<RawValue>)>;

/// An object of these members.
#[must_use]
pub fn object(values: &[(String, Box<RawValue>)]) -> Box<RawValue> {
    raw(&values.iter().map(|(name, value)| (name.as_str(), value)).collect::<BTreeMap<_, _>>())
}

fn content(cmd: &str, payload: &RawValue) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Content<'a> {
        cmd: &'a str,
        payload: &'a RawValue,
    }
    raw(&Content { cmd, payload })
}

/// Values without a field, or that have no form at this cloud, are left out.
fn named<'a>(values: &Values, field: impl Fn(DatapointId) -> Option<&'a Field>) -> NamedValues {
    let one = |(id, value): &(DatapointId, _)| {
        let field = field(*id)?;
        Some((field.cloud_name.clone(), field.to_json(value).ok()?))
    };
    values.iter().filter_map(one).collect()
}

fn values<'a>(
    members: &BTreeMap<String, &RawValue>,
    field: impl Fn(&str) -> Option<&'a Field>,
) -> Result<Values, BadCommand> {
    let one = |(name, json): (&String, &&RawValue)| {
        let field = field(name).ok_or_else(|| BadCommand::Unknown(shown(name)))?;
        let value = field.from_json(json).map_err(|error| BadCommand::Value(error.to_string()))?;
        Ok((field.id, value))
    };
    let mut values: Values = members.iter().map(one).collect::<Result<_, _>>()?;
    values.sort_by_key(|(id, _)| *id);
    Ok(values)
}

fn members(payload: &RawValue) -> Result<BTreeMap<String, &RawValue>, BadCommand> {
    serde_json::from_str(payload.get()).map_err(|_| BadCommand::NoObject)
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// `cmd` of uninterpreted bytes (not documented; chosen by us).
const RAW_CMD: &str = "raw";
/// Name under which a document of the MCU is passed on (not documented; chosen by us).
const DOCUMENT: &str = "document";

#[cfg(test)]
mod tests;
