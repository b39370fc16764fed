//! The frame as the platform checks it, without the tolerance that devices must have (Clife protocol, 3).

use serde_json::{Map, Value as Json, json};

/// A frame of the device whose form was right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Upward {
    pub cmd: i64,
    pub id: i64,
    /// Unix milliseconds.
    pub timestamp: i64,
    /// Still encrypted if it was.
    pub data: Json,
}

/// How the platform writes its frames, where it differs from the ordinary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub dir: Option<String>,
    pub timestamp_as_text: bool,
    pub blanks: bool,
}

/// Reads a frame of the device, or says what is wrong with it.
pub(super) fn parse(bytes: &[u8], timestamp_as_text: bool) -> Result<Upward, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    let json: Json = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}: {text}"))?;
    let Json::Object(mut members) = json else { return Err(format!("not an object: {text}")) };
    let mut take = |name: &str| members.remove(name).ok_or_else(|| format!("{name} is missing: {text}"));
    let (cmd, version, dir) = (take("cmd")?, take("ver")?, take("dir")?);
    let (id, timestamp, data) = (take("msgId")?, take("timestamp")?, take("data")?);
    let cmd = cmd.as_i64().ok_or_else(|| format!("cmd must be an integer: {text}"))?;
    if version != VERSION {
        return Err(format!("ver must be {VERSION:?}: {text}"));
    }
    if dir != UPWARD {
        return Err(format!("dir must be {UPWARD:?}: {text}"));
    }
    let id = id.as_i64().ok_or_else(|| format!("msgId must be an integer: {text}"))?;
    let moment = if timestamp_as_text {
        let digits = timestamp.as_str().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok())
    } else {
        timestamp.as_i64()
    };
    let kind = if timestamp_as_text { "digits in a text" } else { "a number" };
    let moment = moment.filter(|&moment| moment > 0);
    let timestamp = moment.ok_or_else(|| format!("timestamp must be {kind}, in Unix milliseconds: {text}"))?;
    if members.remove("prio").is_some_and(|priority| priority.as_u64().is_none()) {
        return Err(format!("prio must be 0 or more: {text}"));
    }
    if let Some(unknown) = members.keys().next() {
        return Err(format!("unknown member {unknown:?}: {text}"));
    }
    if !is_compact(text) {
        return Err(format!("JSON with blanks between its parts: {text}"));
    }
    Ok(Upward { cmd, id, timestamp, data })
}

/// The platform's side of the format.
pub(super) fn write(form: &Form, cmd: i64, id: i64, timestamp: i64, data: &Json) -> Vec<u8> {
    let timestamp = if form.timestamp_as_text { json!(timestamp.to_string()) } else { json!(timestamp) };
    let dir = form.dir.as_deref().unwrap_or(DOWNWARD);
    let frame =
        json!({"cmd": cmd, "ver": VERSION, "dir": dir, "msgId": id, "timestamp": timestamp, "data": data.clone()});
    if form.blanks { blank(&frame) } else { frame }.to_string().into_bytes()
}

/// The same with a blank around each member name, as the vendor's text has it around one.
pub(super) fn blank(json: &Json) -> Json {
    match json {
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| (format!(" {name} "), blank(value)));
            Json::Object(members.collect())
        }
        Json::Array(items) => items.iter().map(blank).collect(),
        other => other.clone(),
    }
}

/// Whether there are no blanks outside texts.
pub(super) fn is_compact(text: &str) -> bool {
    let (mut in_text, mut escaped) = (false, false);
    for byte in text.bytes() {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b' ' | b'\t' | b'\r' | b'\n') => return false,
            _ => {}
        }
    }
    true
}

/// Checks a body against the members it must and may have.
pub(super) fn members<'a>(body: &'a Json, must: &[&str], may: &[&str]) -> Result<&'a Map<String, Json>, String> {
    let members = body.as_object().ok_or_else(|| format!("data is no object: {body}"))?;
    if let Some(missing) = must.iter().find(|name| !members.contains_key(**name)) {
        return Err(format!("{missing} is missing in {body}"));
    }
    match members.keys().find(|name| !must.contains(&name.as_str()) && !may.contains(&name.as_str())) {
        Some(unknown) => Err(format!("unknown member {unknown:?} in {body}")),
        None => Ok(members),
    }
}

/// A member that must be a text if it is there.
pub(super) fn text<'a>(body: &'a Json, name: &str) -> Result<Option<&'a str>, String> {
    match &body[name] {
        Json::Null if body.get(name).is_none() => Ok(None),
        Json::String(text) => Ok(Some(text)),
        _ => Err(format!("{name} must be a text: {body}")),
    }
}

/// Protocol version in each frame (Clife protocol, 3).
const VERSION: &str = "1.0";
/// Device to platform, and back (Clife protocol, 3).
const UPWARD: &str = "03";
const DOWNWARD: &str = "30";

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = r#"{"cmd":2006,"ver":"1.0","dir":"03","msgId":17,"timestamp":1617787651542,"data":"x"}"#;

    #[test]
    fn a_frame_with_all_members_is_taken_and_one_of_the_wrong_form_refused_with_its_fault() {
        let right = Upward { cmd: 2006, id: 17, timestamp: 1_617_787_651_542, data: json!("x") };
        assert_eq!(parse(RIGHT.as_bytes(), false), Ok(right.clone()));
        assert_eq!(parse(RIGHT.replace(r#""ver""#, r#""prio":2,"ver""#).as_bytes(), false), Ok(right.clone()));
        let as_text = RIGHT.replace("1617787651542", r#""1617787651542""#);
        assert_eq!(parse(as_text.as_bytes(), true), Ok(right));
        for (from, to, fault) in [
            (RIGHT, "[]", "not an object"),
            (RIGHT, "{", "not JSON"),
            (r#""cmd":2006,"#, "", "cmd is missing"),
            (r#""ver":"1.0","#, "", "ver is missing"),
            (r#""dir":"03","#, "", "dir is missing"),
            (r#""msgId":17,"#, "", "msgId is missing"),
            (r#""timestamp":1617787651542,"#, "", "timestamp is missing"),
            (r#","data":"x""#, "", "data is missing"),
            ("2006", r#""2006""#, "cmd must be"),
            (r#""1.0""#, "1.0", "ver must be"),
            ("1.0", "2.0", "ver must be"),
            ("03", "30", "dir must be"),
            ("17,", r#""17","#, "msgId must be"),
            ("17,", "1.5,", "msgId must be"),
            ("1617787651542", r#""1617787651542""#, "timestamp must be a number"),
            ("1617787651542", "0", "timestamp must be a number"),
            (r#""ver""#, r#""prio":"1","ver""#, "prio must be"),
            (r#""ver""#, r#""sn":1,"ver""#, "unknown member"),
            (":17", ": 17", "blanks"),
        ] {
            let error = parse(RIGHT.replace(from, to).as_bytes(), false).unwrap_err();
            assert!(error.contains(fault), "{error:?} should name {fault:?}");
        }
        let error = parse(RIGHT.as_bytes(), true).unwrap_err();
        assert!(error.contains("timestamp must be digits in a text"), "{error}");
    }

    #[test]
    fn the_platform_writes_what_the_document_shows_or_what_a_test_wants() {
        let write =
            |form: Form| String::from_utf8(write(&form, 2011, 9, 5, &json!({"params": [{"1": true}]}))).unwrap();
        assert_eq!(
            serde_json::from_str::<Json>(&write(Form::default())).unwrap(),
            json!({"cmd": 2011, "ver": "1.0", "dir": "30", "msgId": 9, "timestamp": 5, "data": {"params": [{"1": true}]}})
        );
        let odd = Form { dir: Some("32".to_owned()), timestamp_as_text: true, blanks: true };
        let written = write(odd);
        for part in [r#"" dir ":"32""#, r#"" timestamp ":"5""#, r#"" params ":[{" 1 ":true}]"#] {
            assert!(written.contains(part), "{part} should be in {written}");
        }
    }

    #[test]
    fn blanks_inside_texts_are_no_fault() {
        assert!(is_compact(r#"{"a":"b c\" d","e":[1,2]}"#));
        assert!(!is_compact(r#"{"a":"b" }"#));
    }
}
