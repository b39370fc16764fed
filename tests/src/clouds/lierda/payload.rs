//! What the payloads of the device must look like, command by command (Lierda protocol, 3.1, 5, 6 and 8).

use serde_json::{Map, Value as Json};

use super::cipher::unhex;

/// Values of a history batch: identifier, value, and Unix milliseconds of its time.
pub(super) type TimedValues = Vec<(String, Json, i64)>;

/// An acknowledgement: `Ok` is Code 200 with its `Data`, `Err` the refusal in words. The outer error is a wrong form.
pub(super) fn ack(payload: &Json) -> Result<Result<Option<Map<String, Json>>, String>, String> {
    let members = members(payload, &["Code", "Msg"], &["Data"])?;
    let (code, msg) = (text(members, "Code")?, text(members, "Msg")?);
    let data = match members.get("Data") {
        None => None,
        Some(Json::Object(data)) if !data.is_empty() => Some(data.clone()),
        Some(other) => return Err(format!("Data is {other}; an object with members, or left out, is expected")),
    };
    match (code, msg) {
        ("200", "SUCCESS") => Ok(Ok(data)),
        ("4001", "Failed") => Ok(Err(format!("Code {code}"))),
        _ => Err(format!("Code {code:?} with Msg {msg:?}; \"200\" SUCCESS or \"4001\" Failed is expected")),
    }
}

/// The acknowledgement of an upgrade order: its download id.
pub(super) fn order_ack(payload: &Json) -> Result<&str, String> {
    text(members(payload, &["DownID"], &[])?, "DownID")
}

/// An authentication request: OpenID, ProductID, NodeEui, Type.
pub(super) fn authentication(payload: &Json) -> Result<(&str, &str, &str, i64), String> {
    let members = members(payload, &["OpenID", "ProductID", "NodeEui", "Type"], &[])?;
    let kind = members["Type"].as_i64().ok_or_else(|| format!("Type must be an integer: {payload}"))?;
    Ok((text(members, "OpenID")?, text(members, "ProductID")?, text(members, "NodeEui")?, kind))
}

/// A version report: module and version.
pub(super) fn firmware(payload: &Json) -> Result<(&str, &str), String> {
    let members = members(payload, &["HardVer", "SoftVer", "Type"], &["Module"])?;
    text(members, "HardVer")?;
    if members["Type"] != HTTP {
        return Err(format!("Type is {}, {HTTP} is the only way to upgrade", members["Type"]));
    }
    let module = if members.contains_key("Module") { text(members, "Module")? } else { MAIN_MODULE };
    if module.is_empty() {
        return Err("Module is empty".to_owned());
    }
    Ok((module, text(members, "SoftVer")?))
}

/// A report of settings.
pub(super) fn settings(payload: &Json) -> Result<&Map<String, Json>, String> {
    object(&members(payload, &["Settings"], &[])?["Settings"])
}

/// A property report: a flat map.
pub(super) fn properties(payload: &Json) -> Result<&Map<String, Json>, String> {
    let properties = object(payload)?;
    match properties.iter().find(|(name, value)| name.is_empty() || value.is_null() || value.is_object()) {
        Some((name, value)) => Err(format!("property {name:?} is {value}, in a flat map")),
        None => Ok(properties),
    }
}

/// A history batch: its properties in order, and how many events it has.
pub(super) fn history(payload: &Json) -> Result<(TimedValues, usize), String> {
    let params = members(payload, &["params"], &[])?["params"].as_array();
    let params = params.ok_or_else(|| format!("params is no array: {payload}"))?;
    let (mut values, mut n_objects, mut n_events) = (Vec::new(), 0, 0);
    for entry in params {
        let entry = members(entry, &[], &["properties", "events"])?;
        for (member, list) in entry {
            let list = list.as_array().ok_or_else(|| format!("{member} is no array: {list}"))?;
            n_objects += list.len();
            for (identifier, timed) in list.iter().map(object).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
                let timed = members(timed, &["value", "time"], &[])?;
                let time = timed["time"].as_i64().filter(|&time| time > EARLIEST_MS);
                let time = time.ok_or_else(|| format!("time of {identifier} is {}, no milliseconds", timed["time"]))?;
                if member == "events" {
                    object(&timed["value"])?;
                    n_events += 1;
                } else {
                    values.push((identifier.clone(), timed["value"].clone(), time));
                }
            }
        }
    }
    if n_objects == 0 || n_objects > MAX_HISTORY {
        return Err(format!("history of {n_objects} objects, 1 to {MAX_HISTORY} expected"));
    }
    Ok((values, n_events))
}

/// A hexadecimal payload.
pub(super) fn hexadecimal(payload: &Json) -> Result<(), String> {
    let text = payload.as_str().ok_or_else(|| format!("{payload} is no hexadecimal text"))?;
    if text.is_empty() { Err("an empty hexadecimal text".to_owned()) } else { unhex(text).map(drop) }
}

/// The object that a payload must be.
pub(super) fn object(payload: &Json) -> Result<&Map<String, Json>, String> {
    payload.as_object().ok_or_else(|| format!("{payload} is no object"))
}

/// The object that a payload must be, with these members and no others.
fn members<'a>(payload: &'a Json, needed: &[&str], optional: &[&str]) -> Result<&'a Map<String, Json>, String> {
    let members = object(payload)?;
    if let Some(missing) = needed.iter().find(|name| !members.contains_key(**name)) {
        return Err(format!("{missing} is missing in {payload}"));
    }
    match members.keys().find(|name| !needed.contains(&name.as_str()) && !optional.contains(&name.as_str())) {
        Some(unknown) => Err(format!("unknown member {unknown:?} in {payload}")),
        None => Ok(members),
    }
}

fn text<'a>(members: &'a Map<String, Json>, name: &str) -> Result<&'a str, String> {
    members.get(name).and_then(Json::as_str).ok_or_else(|| format!("{name} must be a text"))
}

/// The module that is meant where none is named (Lierda protocol, 8.1).
pub(super) const MAIN_MODULE: &str = "default";
/// The only kind of upgrade (Lierda protocol, 8.1).
pub(super) const HTTP: i64 = 2;
/// The year 2001 in milliseconds: a time in seconds would lie before it. Chosen by us.
const EARLIEST_MS: i64 = 1_000_000_000_000;
/// Objects in one batch (Lierda protocol, 6.3; the vendor's document names no limit).
const MAX_HISTORY: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refuses<'a, T: std::fmt::Debug>(read: impl Fn(&'a Json) -> Result<T, String>, payload: &'a Json, fault: &str) {
        let error = read(payload).unwrap_err();
        assert!(error.contains(fault), "{error:?} should name {fault:?}");
    }

    #[test]
    fn an_acknowledgement_has_a_code_as_text_and_the_word_that_goes_with_it() {
        assert_eq!(ack(&json!({"Code": "200", "Msg": "SUCCESS"})), Ok(Ok(None)));
        assert_eq!(ack(&json!({"Code": "4001", "Msg": "Failed"})), Ok(Err("Code 4001".to_owned())));
        for (payload, fault) in [
            (json!({"Code": 200, "Msg": "SUCCESS"}), "Code must be a text"),
            (json!({"Code": "200"}), "Msg is missing"),
            (json!({"Code": "200", "Msg": "OK"}), "SUCCESS"),
            (json!({"Code": "0", "Msg": "SUCCESS"}), "Code \"0\""),
            (json!({"Code": "200", "Msg": "SUCCESS", "Data": {}}), "left out"),
            (json!({"Code": "200", "Msg": "SUCCESS", "data": {"a": 1}}), "unknown member"),
            (json!("200"), "no object"),
        ] {
            refuses(ack, &payload, fault);
        }
    }

    #[test]
    fn reports_of_the_wrong_shape_are_refused_with_their_fault() {
        refuses(properties, &json!("00"), "no object");
        refuses(properties, &json!({"temp": {"value": 1}}), "flat map");
        refuses(properties, &json!({"temp": null}), "flat map");
        refuses(firmware, &json!({"HardVer": "1", "SoftVer": 2, "Type": 2}), "SoftVer must be");
        refuses(firmware, &json!({"HardVer": "1", "SoftVer": "2", "Type": "2"}), "Type is");
        refuses(firmware, &json!({"HardVer": "1", "SoftVer": "2", "Type": 2, "Module": ""}), "empty");
        refuses(settings, &json!({"Code": "200", "Msg": "SUCCESS"}), "Settings is missing");
        refuses(order_ack, &json!({"DownID": "1", "Code": "200"}), "unknown member");
        refuses(authentication, &json!({"OpenID": "", "ProductID": "", "NodeEui": "", "Type": "0"}), "Type must be");
        refuses(authentication, &json!({"OpenID": "", "ProductID": "", "NodeEui": ""}), "Type is missing");
        refuses(hexadecimal, &json!("0"), "even length");
        refuses(hexadecimal, &json!({}), "no hexadecimal text");
    }

    #[test]
    fn a_history_batch_gives_its_values_with_their_times() {
        // After the sample in the vendor's document, chapter 4.3.1.4.
        let time = 1_524_448_722_000_i64;
        let power = json!({"Power": {"value": "on", "time": time}, "WF": {"value": "3", "time": time}});
        let alarm = json!({"alarmEvent": {"value": {"Power": "on"}, "time": time}});
        let (values, n_events) = history(&json!({"params": [{"properties": [power], "events": [alarm]}]})).unwrap();
        assert_eq!(values, [("Power".to_owned(), json!("on"), time), ("WF".to_owned(), json!("3"), time)]);
        assert_eq!(n_events, 1);
        let one = |timed: Json| json!({"params": [{"properties": [{"a": timed}]}]});
        refuses(history, &one(json!({"value": 1, "time": 1_524_448_722})), "no milliseconds");
        refuses(history, &one(json!({"value": 1})), "time is missing");
        refuses(history, &json!({"params": []}), "0 objects");
        refuses(history, &json!({"params": [{"properties": vec![json!({}); 101]}]}), "101 objects");
        refuses(history, &json!({"params": {}}), "no array");
    }
}
