//! The message format of the Deli cloud as the platform checks it, and the tolerance it does not have.

use serde_json::{Map, Value as Json};

/// A message of the device whose form was right.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Message id.
    pub mid: String,
    /// Addressee, empty = all bound applications (300) or the platform (1xx).
    pub to: String,
    /// Unix seconds.
    pub time: i64,
    /// What it is about.
    pub action: i64,
    /// Content.
    pub data: Map<String, Json>,
}

impl Message {
    /// Reads a message of the device with this id, or says what is wrong with it (Deli access document, message format).
    pub fn parse(payload: &[u8], device: &str) -> Result<Self, String> {
        let text = std::str::from_utf8(payload).map_err(|error| format!("not UTF-8: {error}"))?;
        let json: Json = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}: {text}"))?;
        let Json::Object(mut members) = json else { return Err(format!("not an object: {text}")) };
        let wrong = |what: &str| format!("{what}: {text}");
        let mut take = |name: &str| members.remove(name);
        let (mid, from, to) = (take("mid"), take("from"), take("to"));
        let (time, action, data) = (take("time"), take("action"), take("data"));
        let (Some(Json::String(mid)), Some(Json::String(from)), Some(Json::String(to))) = (mid, from, to) else {
            return Err(wrong("mid, from and to must be texts"));
        };
        let (Some(time), Some(action)) =
            (time.and_then(|time| time.as_i64()), action.and_then(|action| action.as_i64()))
        else {
            return Err(wrong("time and action must be integers"));
        };
        let data = match data {
            None => Map::new(),
            Some(Json::Object(data)) => data,
            Some(_) => return Err(wrong("data must be an object")),
        };
        if let Some(unknown) = members.keys().next() {
            return Err(wrong(&format!("unknown member {unknown:?}")));
        }
        if mid.is_empty() || mid.chars().count() > MID_CHARS {
            return Err(wrong("mid must have 1 to 32 characters"));
        }
        if from != device {
            return Err(wrong(&format!("from must be {device:?}")));
        }
        if time < 0 || (time == 0 && action != 100) {
            return Err(wrong("time 0 is for action 100 alone"));
        }
        // What applications put inside these members is their own affair.
        if data.values().any(Json::is_null) {
            return Err(wrong("null is never sent"));
        }
        Ok(Self { mid, to, time, action, data })
    }
}

/// The platform's side of the format; members without a value are left out.
pub fn write(mid: &str, from: &str, to: &str, time: i64, action: i64, data: &Json) -> Vec<u8> {
    let mut message = serde_json::json!({"mid": mid, "from": from, "to": to, "time": time, "action": action});
    if !data.is_null() {
        message["data"] = data.clone();
    }
    message.to_string().into_bytes()
}

/// Longest message id (Deli, public action page).
const MID_CHARS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_wrong_form_is_refused_with_its_fault() {
        for (text, fault) in [
            ("[]", "not an object"),
            ("{", "not JSON"),
            (r#"{"mid":1,"from":"d","to":"","time":1,"action":101}"#, "must be texts"),
            (r#"{"mid":"1","from":"d","to":"","time":"1","action":101}"#, "must be integers"),
            (r#"{"mid":"1","from":"x","to":"","time":1,"action":101}"#, "from must be"),
            (r#"{"mid":"1","from":"d","to":"","time":0,"action":101}"#, "time 0"),
            (r#"{"mid":"1","from":"d","to":"","time":1,"action":101,"pv":"1"}"#, "unknown member"),
            (r#"{"mid":"1","from":"d","to":"","time":1,"action":101,"data":{"name":null}}"#, "null"),
        ] {
            let error = Message::parse(text.as_bytes(), "d").unwrap_err();
            assert!(error.contains(fault), "{error:?} should name {fault:?}");
        }
    }
}
