//! Reading JSON objects whose member names may stand between blanks, as one of the protocol's samples has it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object by their names without the blanks around them; `None` if this is no object. Of several with
/// the same name the last one counts.
#[must_use]
pub fn members(raw: &RawValue) -> Option<BTreeMap<String, Box<RawValue>>> {
    let members: Members = raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok()).flatten()?;
    Some(members.0)
}

/// The members of a list of objects as if they were one object, which is how the protocol writes values of properties;
/// `None` if this is no such list. Of several with the same name the last one counts.
#[must_use]
pub fn merged(raw: &RawValue) -> Option<BTreeMap<String, Box<RawValue>>> {
    list(raw)?.into_iter().try_fold(BTreeMap::new(), |mut all, part| {
        all.append(&mut members(&part)?);
        Some(all)
    })
}

/// The elements of a list; `None` for any other JSON.
#[must_use]
pub fn list(raw: &RawValue) -> Option<Vec<Box<RawValue>>> {
    serde_json::from_str(raw.get()).ok()
}

struct Members(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            // By hand, because two names may become equal only when their blanks are gone, and the order decides then.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.insert(name.trim().to_owned(), value);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{integer, text};

    fn shown(members: Option<BTreeMap<String, Box<RawValue>>>) -> Option<String> {
        members.map(|members| serde_json::to_string(&members).unwrap())
    }

    #[track_caller]
    fn check(json: &str, expected: Option<&str>) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        assert_eq!(shown(members(raw)).as_deref(), expected, "{json}");
    }

    #[track_caller]
    fn check_merged(json: &str, expected: Option<&str>) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        assert_eq!(shown(merged(raw)).as_deref(), expected, "{json}");
    }

    #[test]
    fn names_lose_their_blanks_and_values_keep_their_bytes() {
        check(r#"{" devNum":1.0,"b":9007199254740993}"#, Some(r#"{"b":9007199254740993,"devNum":1.0}"#));
        check(r#"{" a":1,"a":2,"a ":3}"#, Some(r#"{"a":3}"#));
        check(r#"{"a ":{" b":1}}"#, Some(r#"{"a":{" b":1}}"#));
        check("{}", Some("{}"));
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for json in ["[]", "[[\"a\",1]]", "\"{}\"", "null", "7", r#"{"\ud800":1}"#] {
            check(json, None);
        }
    }

    #[test]
    fn a_list_of_objects_becomes_one() {
        check_merged(r#"[{"1":true},{" 2 ":25,"1":false},{}]"#, Some(r#"{"1":false,"2":25}"#));
        check_merged("[]", Some("{}"));
        for json in ["{}", "null", "[7]", "[{},null]", "\"[]\""] {
            check_merged(json, None);
        }
    }

    #[test]
    fn an_integer_is_written_as_a_number_or_as_digits() {
        for (json, expected) in [("7", Some(7)), ("-7", Some(-7)), ("\"7\"", Some(7)), ("7.0", None), ("\"-7\"", None)]
        {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(integer::<i64>(raw), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn no_text_can_panic_the_readers(json in "[\\[\\]{}\",:0-9a \\\\u-]{0,40}") {
            if let Ok(raw) = RawValue::from_string(json) {
                let _ = (members(&raw), merged(&raw), list(&raw), integer::<u8>(&raw), text(&raw));
            }
        }
    }
}
