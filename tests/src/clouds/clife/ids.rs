//! msgIds that the device chooses: in their range, and never used for two things (Clife protocol, 3).

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value as Json;

/// The ids so far.
#[derive(Debug, Default)]
pub(super) struct OwnIds {
    /// What each was used for.
    used: HashMap<i64, u64>,
    order: VecDeque<i64>,
}

impl OwnIds {
    /// Takes the id of a frame. The same frame may come again: it was lost, or its acknowledgement was.
    pub fn take(&mut self, id: i64, cmd: i64, body: &Json) -> Result<(), String> {
        if !(1..=MAX_ID).contains(&id) {
            return Err(format!("msgId {id}, which no request had; a device chooses 1 to {MAX_ID}"));
        }
        let mut hasher = DefaultHasher::new();
        (cmd, body.to_string()).hash(&mut hasher);
        let purpose = hasher.finish();
        match self.used.get(&id) {
            Some(&before) if before == purpose => Ok(()),
            Some(_) => Err(format!("msgId {id} was used for something else before")),
            None => {
                if self.order.len() >= MAX_REMEMBERED {
                    self.order.pop_front().and_then(|oldest| self.used.remove(&oldest));
                }
                self.order.push_back(id);
                self.used.insert(id, purpose);
                Ok(())
            }
        }
    }
}

/// Greatest id a device chooses (Clife protocol, 3).
pub(super) const MAX_ID: i64 = i32::MAX as i64;
/// Ids remembered; the oldest is forgotten. Chosen by us.
const MAX_REMEMBERED: usize = 100_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_may_come_again_with_the_same_content_only() {
        let mut ids = OwnIds::default();
        assert_eq!(ids.take(7, 2006, &json!({"a": 1})), Ok(()));
        assert_eq!(ids.take(7, 2006, &json!({"a": 1})), Ok(()));
        for (id, cmd, body, fault) in [
            (7, 2006, json!({"a": 2}), "something else"),
            (7, 2004, json!({"a": 1}), "something else"),
            (0, 2006, json!({}), "no request had"),
            (2_147_483_648, 2006, json!({}), "no request had"),
        ] {
            let error = ids.take(id, cmd, &body).unwrap_err();
            assert!(error.contains(fault), "{error:?} should name {fault:?}");
        }
    }
}
