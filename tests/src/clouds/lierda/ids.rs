//! MessageIds that the device makes: of one type, and never used for two things.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value as Json;

use super::envelope::id_text;

/// The ids so far.
#[derive(Debug, Default)]
pub(super) struct OwnIds {
    /// Whether the first one was a text.
    texts: Option<bool>,
    /// What each was used for.
    used: HashMap<String, u64>,
    order: VecDeque<String>,
}

impl OwnIds {
    /// Takes the id of a frame; whether it is new, or the breach.
    pub fn take(&mut self, id: &Json, topic: &str, code: i64, payload: &Json) -> Result<bool, String> {
        let right = match id {
            Json::String(text) => !text.is_empty(),
            number => number.as_i64().is_some_and(|number| (1..=MAX_ID).contains(&number)),
        };
        if !right {
            return Err(format!("MessageId {id}; 1 to {MAX_ID} or a text is expected"));
        }
        if *self.texts.get_or_insert(id.is_string()) != id.is_string() {
            return Err(format!("MessageId {id} is of another type than before"));
        }
        let mut hasher = DefaultHasher::new();
        (topic, code, payload.to_string()).hash(&mut hasher);
        let (text, purpose) = (id_text(id), hasher.finish());
        match self.used.get(&text) {
            Some(&before) if before == purpose => Ok(false),
            Some(_) => Err(format!("MessageId {id} was used for something else before")),
            None => {
                if self.order.len() >= MAX_REMEMBERED {
                    self.order.pop_front().and_then(|oldest| self.used.remove(&oldest));
                }
                self.order.push_back(text.clone());
                self.used.insert(text, purpose);
                Ok(true)
            }
        }
    }
}

/// Greatest id a device makes (Lierda protocol, 5; the vendor's document names none).
const MAX_ID: i64 = i32::MAX as i64;
/// Ids remembered; the oldest is forgotten. Chosen by us.
const MAX_REMEMBERED: usize = 100_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_may_come_again_with_the_same_content_only() {
        let mut ids = OwnIds::default();
        assert_eq!(ids.take(&json!(7), "uplink", 4, &json!({"a": 1})), Ok(true));
        assert_eq!(ids.take(&json!(7), "uplink", 4, &json!({"a": 1})), Ok(false));
        for (id, payload, fault) in [
            (json!(7), json!({"a": 2}), "something else"),
            (json!("8"), json!({}), "another type"),
            (json!(0), json!({}), "1 to"),
            (json!(2_147_483_648_i64), json!({}), "1 to"),
            (json!(""), json!({}), "1 to"),
        ] {
            let error = ids.take(&id, "uplink", 4, &payload).unwrap_err();
            assert!(error.contains(fault), "{error:?} should name {fault:?}");
        }
    }
}
