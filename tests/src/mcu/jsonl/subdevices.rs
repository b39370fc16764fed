//! The devices behind the simulated microcontroller (JSON lines, "Subdevices").

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{JsonLog, JsonMcu, note};

/// A device behind the MCU.
#[derive(Debug, Clone, Default)]
struct Subdevice {
    /// What was said of it.
    said: Map<String, Json>,
    /// Its values.
    values: Map<String, Json>,
}

/// All of them, by their number.
#[derive(Debug, Clone, Default)]
pub(super) struct Subdevices(BTreeMap<u64, Subdevice>);

impl JsonMcu {
    /// There is a subdevice, or something of it is different: members as the document has them. The id of the news.
    pub fn subdevice(&self, index: u64, said: &Json) -> u64 {
        let line = self.shared.lock().subdevices.say(index, said);
        self.tell(line)
    }

    /// A subdevice is no longer there; the id of the news.
    pub fn subdevice_gone(&self, index: u64) -> u64 {
        self.shared.lock().subdevices.0.remove(&index);
        self.tell(gone(index))
    }

    /// A subdevice reports values; the id of the news.
    pub fn report_of(&self, index: u64, values: &Json) -> u64 {
        if let Some(subdevice) = self.shared.lock().subdevices.0.get_mut(&index) {
            subdevice.values.extend(values.as_object().cloned().unwrap_or_default());
        }
        self.tell(json!({"report": values, "device": index}))
    }
}

impl Subdevices {
    /// What is said after `hello`.
    pub(super) fn all(&self) -> Vec<Json> {
        self.0.iter().map(|(index, subdevice)| line(*index, &subdevice.said)).collect()
    }

    /// The values of the device that a command is for: `own` without a number.
    pub(super) fn values<'a>(
        &'a mut self,
        own: &'a mut Map<String, Json>,
        device: Option<&Json>,
    ) -> Result<&'a mut Map<String, Json>, String> {
        let Some(device) = device else { return Ok(own) };
        let index = device.as_u64().filter(|index| *index > 0).ok_or("device is left out for the MCU's own")?;
        let known = self.0.get_mut(&index).ok_or("a command for a subdevice that was not told of")?;
        Ok(&mut known.values)
    }

    /// Takes `admit`, `accept` or `remove`; what there is to answer.
    pub(super) fn wish(
        &mut self,
        (kind, id): (&str, u64),
        message: &Map<String, Json>,
        log: &mut JsonLog,
    ) -> Result<Vec<Json>, String> {
        if kind == "admit" {
            let text = |member: &str| message["admit"][member].as_str().map(str::len).ok_or("admit lacks a text");
            let seconds = message.get("seconds").and_then(Json::as_u64).unwrap_or(0);
            if !(1..=64).contains(&text("product")?) || text("address")? > 64 || !(1..=600).contains(&seconds) {
                return Err("admit is beyond its bounds".to_owned());
            }
            note(&mut log.admitted, Json::Object(message.clone()));
            return Ok(vec![json!({"done": id})]);
        }
        let index =
            message[kind].as_u64().filter(|index| (1..=64).contains(index)).ok_or("no number of a subdevice")?;
        if !self.0.contains_key(&index) {
            return Ok(vec![json!({"refused": id, "reason": "no such subdevice"})]);
        }
        if kind == "accept" {
            note(&mut log.accepted, index);
            return Ok(vec![json!({"done": id}), self.say(index, &json!({"accepted": true}))]);
        }
        note(&mut log.removed, index);
        self.0.remove(&index);
        Ok(vec![json!({"done": id}), gone(index)])
    }

    /// Notes something of a subdevice; the line that says it.
    pub(super) fn say(&mut self, index: u64, said: &Json) -> Json {
        let said = said.as_object().cloned().unwrap_or_default();
        self.0.entry(index).or_default().said.extend(said.clone());
        line(index, &said)
    }
}

fn line(index: u64, said: &Map<String, Json>) -> Json {
    let mut line = said.clone();
    line.insert("subdevice".to_owned(), json!(index));
    Json::Object(line)
}

fn gone(index: u64) -> Json {
    json!({"subdevice": index, "gone": true})
}
