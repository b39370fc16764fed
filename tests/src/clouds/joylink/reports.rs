//! What the device says by itself beside uploads: asynchronous results, fetched information, recipe progress
//! (JoyLink, 7.6 to 7.8).

use serde_json::{Value as Json, json};

use super::platform::{Platform, State, clock};
use super::seen::{AsyncResult, Seen, keep};
use super::server::Conversation;
use super::session::{FETCH, PROGRESS};
use crate::joylink_wire::fields::{Reader, Writer};
use crate::joylink_wire::timers::FEEDID;

impl Platform {
    pub fn result(&self, state: &mut State, mut fields: Reader) -> Result<(), String> {
        let (biz_code, serial, feedid) = (fields.word()?, fields.word()?, fields.text(FEEDID)?);
        let (control_type, happened, id) = (fields.byte()?, fields.word()?, fields.text(FEEDID)?);
        if feedid != self.product.device.feedid {
            self.product.sub(&feedid)?;
        }
        if control_type > 1 || id.is_empty() || !id.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(format!("control type {control_type} with id {id:?}"));
        }
        let json = self.product.conversion.read(super::session::SNAPSHOT_ANSWER, fields.rest())?;
        let result = AsyncResult { biz_code, serial, feedid, control_type, happened, id, json };
        let Seen { results, left_out, .. } = &mut state.seen;
        keep(results, left_out, result);
        Ok(())
    }

    pub fn fetch(&self, state: &mut State, from: &Conversation, mut fields: Reader) -> Result<(), String> {
        let (serial, length) = (fields.word()?, fields.word()?);
        let info = fields.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
        fields.end()?;
        let json: Json = serde_json::from_slice(info).map_err(|error| format!("information: {error}"))?;
        let wanted = json["type"].as_array().filter(|list| !list.is_empty());
        let wanted = wanted.ok_or_else(|| format!("asks for {json}"))?;
        let results = wanted.iter().map(information).collect::<Result<Vec<_>, _>>()?;
        let text = json!({"result": results}).to_string();
        let Seen { fetches, left_out, .. } = &mut state.seen;
        keep(fetches, left_out, json.clone());
        let answer = Writer::at(clock(from.ahead_s)).word(serial).count(text.len()).bytes(text.as_bytes());
        self.reply(state, from, FETCH, &answer.done());
        Ok(())
    }

    pub fn progress(&self, state: &mut State, from: &Conversation, mut fields: Reader) -> Result<(), String> {
        let serial = fields.word()?;
        let json: Json = serde_json::from_slice(fields.rest()).map_err(|error| format!("progress: {error}"))?;
        let steps = json["subTask"].as_array().filter(|_| json["task_id"].is_string());
        let steps = steps.ok_or_else(|| format!("progress of {json}"))?;
        let members = ["id", "index", "result", "startTime", "endTime"];
        let right = |step: &Json| {
            members.iter().all(|member| step[member].is_string())
                && matches!(step["result"].as_str(), Some("0" | "1" | "-1"))
        };
        if let Some(wrong) = steps.iter().find(|step| !right(step)) {
            return Err(format!("a step of {wrong}"));
        }
        let Seen { progress, left_out, .. } = &mut state.seen;
        keep(progress, left_out, json.clone());
        let code = state.behaviour.code(PROGRESS);
        self.reply(state, from, PROGRESS, &Writer::at(clock(from.ahead_s)).word(serial).word(code).done());
        Ok(())
    }
}

/// Invented weather and air, in the document's shape: all values are texts.
fn information(name: &Json) -> Result<Json, String> {
    let published = "2026-01-02T08:00:00+0800";
    let value = match name.as_str() {
        Some("weather") => json!({
            "city_name": "Beijing", "district": "Daxing", "proven": "Beijing", "city_code": "101010100",
            "publish_time": published,
            "forecast": [{
                "day": "0", "low": "-7", "high": "3", "d_phenomena": "sunny", "n_phenomena": "cloudy", "d_force": "3",
                "n_force": "1", "d_direction": "N", "n_direction": "N", "sunrise_sunset": "07:36|17:00",
            }],
        }),
        Some("air") => json!({"pm25": "35", "aqi": "50", "publish_time": published}),
        _ => return Err(format!("asks for {name}")),
    };
    Ok(json!({"type": name, "value": value}))
}
