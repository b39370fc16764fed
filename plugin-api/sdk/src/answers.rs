//! [`Answers`]: what was answered, so that a command that comes twice is answered twice and carried out once.

use std::collections::VecDeque;

use serde_json::value::RawValue;

use crate::Timestamp;

/// The last answers, by the key of their command: whatever tells it from all others.
///
/// At most 64 answers and 512 KiB, keys included, are kept. When there is no room, the oldest are forgotten; an answer
/// that is larger than all that is not kept, and displaces none. A command whose answer is gone counts as new, were it to
/// come again.
#[derive(Debug)]
pub struct Answers {
    kept_ms: u64,
    /// The oldest first.
    kept: VecDeque<Answer>,
}

#[derive(Debug)]
struct Answer {
    until: Timestamp,
    key: String,
    payload: Box<RawValue>,
}

impl Answers {
    /// Keeps each answer for so many milliseconds.
    #[must_use]
    pub const fn new(kept_ms: u64) -> Self {
        Self { kept_ms, kept: VecDeque::new() }
    }

    /// What was answered to the command with this key.
    #[must_use]
    pub fn find(&self, now: Timestamp, key: &str) -> Option<&RawValue> {
        let answer = self.kept.iter().find(|answer| answer.key == key && answer.until > now)?;
        Some(&answer.payload)
    }

    /// Keeps an answer. It replaces the one with the same key, even if it is too large to be kept itself.
    pub fn keep(&mut self, now: Timestamp, key: String, payload: Box<RawValue>) {
        self.kept.retain(|answer| answer.until > now && answer.key != key);
        let answer = Answer { until: now.after(self.kept_ms), key, payload };
        if answer.size() > MAX_BYTES {
            return;
        }
        self.kept.push_back(answer);
        while self.kept.len() > MOST || self.size() > MAX_BYTES {
            self.kept.pop_front();
        }
    }

    fn size(&self) -> usize {
        self.kept.iter().map(Answer::size).sum()
    }
}

impl Answer {
    fn size(&self) -> usize {
        self.key.len() + self.payload.get().len()
    }
}

/// Answers kept (not documented; chosen by us): more than a cloud has under way at once.
const MOST: usize = 64;
/// Bytes of answers kept (not documented; chosen by us): as much as the largest messages of the clouds we know, twice.
const MAX_BYTES: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Five minutes.
    const KEPT_MS: u64 = 300_000;

    fn answer(bytes: usize) -> Box<RawValue> {
        serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap()
    }

    /// Keeps these answers, at one moment, and tells the keys whose answers are known afterwards.
    #[track_caller]
    fn check(answers: &[(&str, usize)], known: &[&str]) {
        let mut kept = Answers::new(KEPT_MS);
        for (key, bytes) in answers {
            kept.keep(Timestamp(0), (*key).to_owned(), answer(*bytes));
        }
        let keys: Vec<_> = answers.iter().map(|(key, _)| *key).collect();
        let found: Vec<_> = keys.iter().copied().filter(|key| kept.find(Timestamp(0), key).is_some()).collect();
        assert_eq!(found, known);
    }

    #[test]
    fn an_answer_is_kept_for_five_minutes_and_the_oldest_goes_first() {
        let mut answers = Answers::new(KEPT_MS);
        for n in 0..=MOST {
            answers.keep(Timestamp(0), n.to_string(), answer(1));
        }
        assert!(answers.find(Timestamp(0), "0").is_none());
        assert!(answers.find(Timestamp(KEPT_MS - 1), "1").is_some());
        assert!(answers.find(Timestamp(KEPT_MS), "1").is_none());
    }

    #[test]
    fn answers_end_after_their_time_and_never_pile_up() {
        let mut answers = Answers::new(KEPT_MS);
        answers.keep(Timestamp(0), "a".to_owned(), answer(1));
        assert!(answers.find(Timestamp(KEPT_MS - 1), "a").is_some());
        assert!(answers.find(Timestamp(KEPT_MS), "a").is_none());
        for n in 0..200 {
            answers.keep(Timestamp(KEPT_MS), n.to_string(), answer(100_000));
            assert!(answers.kept.len() <= MOST && answers.size() <= MAX_BYTES);
            assert!(answers.find(Timestamp(KEPT_MS), &n.to_string()).is_some());
        }
        assert_eq!(answers.kept.len(), 5);
    }

    #[test]
    fn large_answers_displace_the_oldest_and_one_that_is_too_large_displaces_none() {
        check(&[("a", 200_000), ("b", 200_000), ("c", 200_000)], &["b", "c"]);
        check(&[("a", 200_000), ("b", MAX_BYTES), ("c", 200_000)], &["a", "c"]);
    }

    #[test]
    fn a_key_that_is_kept_again_has_the_new_answer_and_counts_once() {
        let mut answers = Answers::new(KEPT_MS);
        answers.keep(Timestamp(0), "a".to_owned(), answer(1));
        answers.keep(Timestamp(KEPT_MS - 1), "a".to_owned(), answer(2));
        assert_eq!(answers.kept.len(), 1);
        assert_eq!(answers.find(Timestamp(KEPT_MS), "a").map(RawValue::get), Some("\"xx\""));
        answers.keep(Timestamp(KEPT_MS), "a".to_owned(), answer(MAX_BYTES));
        assert!(answers.find(Timestamp(KEPT_MS), "a").is_none());
    }
}
