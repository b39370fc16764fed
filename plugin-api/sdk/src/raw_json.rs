//! JSON that keeps its text: values of a cloud are read where they are needed, and numbers never pass through floats.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Makes JSON out of anything that always becomes JSON: structures, texts, numbers, checked JSON.
#[must_use]
pub fn raw(content: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    serde_json::value::to_raw_value(content).expect("structures with text keys always become JSON")
}

/// A structure with optional members; `None` if this is no object or does not fit.
#[must_use]
pub fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    // Serde would also take an array for a structure.
    raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// A whole number, or its digits in a text.
#[must_use]
pub fn integer<T: FromStr>(raw: &RawValue) -> Option<T> {
    match text(raw) {
        Some(text) if text.bytes().all(|digit| digit.is_ascii_digit()) => text.parse().ok(),
        Some(_) => None,
        None => raw.get().parse().ok(),
    }
}

/// A text; `None` for any other JSON.
#[must_use]
pub fn text(raw: &RawValue) -> Option<String> {
    raw.get().starts_with('"').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, number: Option<u64>, said: Option<&str>) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        assert_eq!((integer(raw), text(raw).as_deref()), (number, said), "{json}");
        assert_eq!(object::<serde::de::IgnoredAny>(raw).is_some(), json.starts_with('{'), "{json}");
    }

    #[test]
    fn numbers_keep_all_their_digits_and_texts_of_digits_are_numbers() {
        check("9007199254740993", Some(9_007_199_254_740_993), None);
        check("\"17\"", Some(17), Some("17"));
        for json in ["\" 17\"", "\"+17\"", "\"\""] {
            check(json, None, Some(json.trim_matches('"')));
        }
        for json in ["1.5", "1e3", "-1", "null", "[1]", "{}"] {
            check(json, None, None);
        }
    }
}
