//! What was answered to commands, so that one that comes again is answered alike and not carried out again.

use std::collections::VecDeque;

use polylink_plugin_sdk::Timestamp;
use serde_json::value::RawValue;

/// The last answers, by the key of their command. When full, the oldest is forgotten.
#[derive(Debug, Default)]
pub struct Answers {
    kept: VecDeque<Answer>,
}

#[derive(Debug)]
struct Answer {
    until: Timestamp,
    key: String,
    payload: Box<RawValue>,
}

impl Answers {
    /// What was answered to this command.
    pub fn find(&self, now: Timestamp, key: &str) -> Option<&RawValue> {
        let answer = self.kept.iter().rev().find(|answer| answer.key == key && answer.until > now)?;
        Some(&answer.payload)
    }

    /// Keeps an answer. A very large one is not kept: its command would be carried out again, were it to come again.
    pub fn keep(&mut self, now: Timestamp, key: String, payload: Box<RawValue>) {
        self.kept.retain(|answer| answer.until > now && answer.key != key);
        if payload.get().len() > LARGEST {
            return;
        }
        if self.kept.len() >= MOST {
            self.kept.pop_front();
        }
        self.kept.push_back(Answer { until: now.after(KEPT_MS), key, payload });
    }
}

/// Not documented; chosen by us.
const MOST: usize = 64;
/// Not documented; chosen by us.
pub const KEPT_MS: u64 = 300_000;
/// Not documented; chosen by us: 64 of them are 1 MiB.
const LARGEST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

    #[test]
    fn an_answer_is_kept_for_five_minutes_and_the_oldest_goes_first() {
        let mut answers = Answers::default();
        for n in 0..=MOST {
            answers.keep(Timestamp(0), n.to_string(), frame::ack(true, None));
        }
        assert!(answers.find(Timestamp(0), "0").is_none());
        assert!(answers.find(Timestamp(KEPT_MS - 1), "1").is_some());
        assert!(answers.find(Timestamp(KEPT_MS), "1").is_none());
    }
}
