//! Settings of a plugin: JSON in, the plugin's own type out, and an error that names the key and not the value, which
//! may be a secret.

use serde::de::DeserializeOwned;

use crate::Fault;

/// Reads [`crate::Context::settings`].
///
/// # Errors
/// A fault of the kind `SETTINGS` that says which key is wrong and what it takes. Texts of the type's own `Deserialize`
/// (`serde::de::Error::custom`) are shown as they are and must not repeat the value.
pub fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|error| Fault::settings(describe(json, &error)))
}

fn describe(json: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let key = key_at(json, error.line(), error.column());
    if text.starts_with("missing field") || text.starts_with("unknown field") || text.starts_with("duplicate field") {
        let within = if key.contains('.') { format!(" in or beside `{key}`") } else { String::new() };
        return format!("settings: {text}{within}");
    }
    // serde's other sentences read `invalid type: string "…", expected u16`.
    let hides_value = ["invalid type", "invalid value", "invalid length", "unknown variant"];
    let text = match text.split_once(", expected ") {
        Some((what, expected)) if hides_value.iter().any(|start| what.starts_with(start)) => {
            format!("takes {expected}")
        }
        _ => text.to_owned(),
    };
    if key.is_empty() { format!("settings: {text}") } else { format!("settings: `{key}` {text}") }
}

/// The path of keys that leads to a place in a JSON text, as far as the text before it tells.
fn key_at(json: &str, line: usize, column: usize) -> String {
    let before: usize = json.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let end = json.len().min(before + column);
    let mut path: Vec<String> = Vec::new();
    let mut text = None;
    let mut bytes = json.as_bytes()[..end].iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let mut escaped = false;
                let close = bytes.by_ref().find(|(_, byte)| {
                    let closes = **byte == b'"' && !escaped;
                    escaped = **byte == b'\\' && !escaped;
                    closes
                });
                text = close.and_then(|(close, _)| json.get(at + 1..close));
            }
            b':' => {
                if let (Some(last), Some(key)) = (path.last_mut(), text.take()) {
                    key.clone_into(last);
                }
            }
            b'{' | b'[' => path.push(String::new()),
            // The error is reported behind the value; a bracket there still belongs to it.
            b'}' | b']' if at + 1 < end => drop(path.pop()),
            _ => {}
        }
    }
    path.retain(|key| !key.is_empty());
    path.join(".")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::FaultCode;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[allow(dead_code)]
        host: String,
        #[allow(dead_code)]
        port: u16,
        #[allow(dead_code)]
        #[serde(default)]
        account: Account,
        #[allow(dead_code)]
        #[serde(default)]
        mode: Mode,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Account {
        #[allow(dead_code)]
        key: u32,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Plain,
        Signed,
    }

    #[track_caller]
    fn check(json: &str, says: &str) {
        let fault = parse::<Settings>(json).expect_err("the settings are wrong");
        assert_eq!((fault.code, fault.message.as_str()), (FaultCode::SETTINGS, says));
    }

    #[test]
    fn an_error_names_the_key_and_what_it_takes_and_not_the_value() {
        check(r#"{"host":"a","port":"hunter2"}"#, "settings: `port` takes u16");
        check(r#"{"host":"a","port":70000}"#, "settings: `port` takes u16");
        check(r#"{"host":["hunter2"],"port":1}"#, "settings: `host` takes a string");
        check(r#"{"host":"a","port":1,"account":{"key":"hunter2"}}"#, "settings: `account.key` takes u32");
        check(r#"{"host":"a","port":1,"mode":"hunter2"}"#, "settings: `mode` takes `plain` or `signed`");
    }

    #[test]
    fn a_missing_or_unknown_key_is_named() {
        check(r#"{"host":"a"}"#, "settings: missing field `port`");
        check(
            r#"{"host":"a","hots":"b"}"#,
            "settings: unknown field `hots`, expected one of `host`, `port`, `account`, `mode`",
        );
    }

    #[test]
    fn keys_before_the_wrong_one_are_not_blamed() {
        check(r#"{"account":{"key":1},"host":"tricky \" : {","port":true}"#, "settings: `port` takes u16");
        check("{\"host\":\"a\",\n \"port\":\n  null}", "settings: `port` takes u16");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_the_parser(json in "\\PC*", noise in r#"[\[\]{}":,\\\n a1]*"#) {
            let _ = (parse::<Settings>(&json), parse::<Settings>(&noise));
        }
    }
}
