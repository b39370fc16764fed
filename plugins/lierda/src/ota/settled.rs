//! [`Settled`]: orders that were carried out or failed lately, so that none of them is carried out for ever.

use serde::{Deserialize, Serialize};

use super::module_of;

/// Updates that are over, as they are stored. A device whose version does not become the one that was promised, or whose
/// firmware cannot be loaded, is ordered the same again by each version that it tells; it rests for [`REST_S`] then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled(Vec<One>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct One {
    id: String,
    /// Unix seconds; `None`: the clock was not set.
    at: Option<i64>,
}

impl Settled {
    /// True if this update is known to be over.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|one| one.id == id)
    }

    /// Notes that an update is over. The oldest is forgotten if there are too many.
    pub fn note(&mut self, id: &str, unix_s: Option<i64>) {
        self.0.retain(|one| one.id != id);
        self.0.push(One { id: id.to_owned(), at: unix_s });
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }

    /// True if this one is not to be tried again yet. Where no time is known it is not.
    #[must_use]
    pub fn rests(&self, id: &str, unix_s: Option<i64>) -> bool {
        // A clock that was set back must not hold an order for years.
        let recent = |(at, now): (i64, i64)| now.abs_diff(at) < REST_S;
        self.0.iter().any(|one| one.id == id && one.at.zip(unix_s).is_none_or(recent))
    }

    /// Another order for this module: what was over before may be wanted again. True if that changed something.
    pub fn forget_others(&mut self, module: &str, but: impl Fn(&str) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|one| module_of(&one.id) != Some(module) || but(&one.id));
        self.0.len() != before
    }

    /// Gives what was noted without a clock the time that it is now. True if that changed something.
    pub fn date(&mut self, unix_s: Option<i64>) -> bool {
        let mut undated = self.0.iter_mut().filter(|one| one.at.is_none() && unix_s.is_some()).peekable();
        let any = undated.peek().is_some();
        undated.for_each(|one| one.at = unix_s);
        any
    }
}

/// Seconds before the same order is carried out again (not documented; chosen by us: versions are told daily).
pub const REST_S: u64 = 86_400;
/// How many are known: as many as a host has of one instance (not documented; chosen by us).
const KEPT: usize = polylink_plugin_sdk::services::ota::UPDATES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(at: Option<i64>, now: Option<i64>, rests: bool) {
        let mut settled = Settled::default();
        settled.note("default/1", at);
        assert_eq!(settled.rests("default/1", now), rests);
        assert!(!settled.rests("default/2", now));
    }

    #[test]
    fn an_order_that_is_over_rests_for_a_day() {
        check(Some(0), Some(86_399), true);
        check(Some(0), Some(86_400), false);
        check(Some(86_400), Some(0), false);
        check(None, Some(86_400), true);
        check(Some(0), None, true);
    }

    #[test]
    fn another_order_for_the_same_module_ends_the_rest() {
        let mut settled = Settled::default();
        for id in ["default/1", "default/2", "wifi/1"] {
            settled.note(id, None);
        }
        assert!(settled.forget_others("default", |id| id == "default/2"));
        assert!(!settled.forget_others("default", |id| id == "default/2"));
        assert_eq!(["default/1", "default/2", "wifi/1"].map(|id| settled.contains(id)), [false, true, true]);
    }

    #[test]
    fn what_was_noted_without_a_clock_is_dated_later_and_once() {
        let mut settled = Settled::default();
        settled.note("default/1", None);
        assert!(!settled.date(None));
        assert!(settled.date(Some(5)) && !settled.date(Some(6)));
        assert!(settled.rests("default/1", Some(86_404)) && !settled.rests("default/1", Some(86_405)));
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut settled = Settled::default();
        (0..=KEPT).for_each(|n| settled.note(&format!("default/{n}"), Some(0)));
        settled.note("default/1", Some(1));
        assert!(!settled.contains("default/0") && settled.contains("default/1"));
        assert_eq!(settled.0.len(), KEPT);
    }
}
