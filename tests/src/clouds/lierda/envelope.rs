//! The frame of the Lierda cloud as the platform checks it, without the tolerance that devices must have.

use serde_json::{Value as Json, json};

/// A frame of the device whose form was right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Envelope {
    /// An integer or a text.
    pub id: Json,
    /// Command code.
    pub code: i64,
    /// Content, still encrypted if it was.
    pub payload: Json,
}

/// Reads a frame, or says what is wrong with it (Lierda protocol, 5).
pub(super) fn parse(bytes: &[u8]) -> Result<Envelope, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    let json: Json = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}: {text}"))?;
    let Json::Object(mut members) = json else { return Err(format!("not an object: {text}")) };
    let mut take = |name: &str| members.remove(name).ok_or_else(|| format!("{name} is missing: {text}"));
    let (id, code, payload, version) = (take("MessageId")?, take("HeaderCtrl")?, take("Payload")?, take("Version")?);
    if !(id.is_string() || id.is_i64()) {
        return Err(format!("MessageId must be an integer or a text: {text}"));
    }
    let code = code.as_i64().ok_or_else(|| format!("HeaderCtrl must be an integer: {text}"))?;
    if version != VERSION {
        return Err(format!("Version must be {VERSION:?}: {text}"));
    }
    if let Some(unknown) = members.keys().next() {
        return Err(format!("unknown member {unknown:?}: {text}"));
    }
    Ok(Envelope { id, code, payload })
}

/// The platform's side of the format.
pub(super) fn write(id: &Json, code: i64, payload: &Json) -> Vec<u8> {
    json!({"MessageId": id, "HeaderCtrl": code, "Payload": payload, "Version": VERSION}).to_string().into_bytes()
}

/// The form in which ids are compared and booked: `1231` and `"1231"` are the same.
pub(super) fn id_text(id: &Json) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// Version of the protocol in each frame (Lierda protocol, 5).
const VERSION: &str = "2.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_the_wrong_form_is_refused_with_its_fault() {
        for (text, fault) in [
            ("[]", "not an object"),
            ("{", "not JSON"),
            ("\u{feff}{}", "not JSON"),
            (r#"{"HeaderCtrl":4,"Payload":{},"Version":"2.0"}"#, "MessageId is missing"),
            (r#"{"MessageId":1.5,"HeaderCtrl":4,"Payload":{},"Version":"2.0"}"#, "MessageId must be"),
            (r#"{"MessageId":1,"HeaderCtrl":"4","Payload":{},"Version":"2.0"}"#, "HeaderCtrl must be"),
            (r#"{"MessageId":1,"HeaderCtrl":4,"Version":"2.0"}"#, "Payload is missing"),
            (r#"{"MessageId":1,"HeaderCtrl":4,"Payload":{}}"#, "Version is missing"),
            (r#"{"MessageId":1,"HeaderCtrl":4,"Payload":{},"Version":2.0}"#, "Version must be"),
            (r#"{"MessageId":1,"HeaderCtrl":4,"Payload":{},"Version":"2.0","Time":1}"#, "unknown member"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(fault), "{error:?} should name {fault:?}");
        }
    }

    #[test]
    fn what_the_platform_writes_it_would_take() {
        for id in [json!(7), json!("a-17")] {
            let found = parse(&write(&id, 20, &json!({"params": []}))).unwrap();
            assert_eq!(found, Envelope { id, code: 20, payload: json!({"params": []}) });
        }
    }
}
