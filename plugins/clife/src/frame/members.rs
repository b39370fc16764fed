//! Reading JSON objects whose member names may stand between blanks, as one of the protocol's samples has it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

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
