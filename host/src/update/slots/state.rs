//! Which slot runs, pure: what is written, and what follows from what.
//!
//! Invariant: what is *good* ran and was confirmed, or is what the device was made with. Nothing is ever installed over
//! it, and whatever happens to a trial leads back to it.

use crate::disk::{sealed, unsealed};
use crate::update::manifest::{Verified, Version, hex, unhex};

/// One of the two places for a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// What the device was made with; no update touches it.
    Factory,
    /// A release.
    Slot(Slot),
}

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its version, by the manifest; none: it had no manifest.
    pub version: Option<Version>,
    /// Its counter, by the manifest.
    pub counter: Option<u64>,
    /// SHA-256 of the image.
    pub sha256: [u8; 32],
}

/// A release that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Where it is.
    pub slot: Slot,
    /// Starts that it still has.
    pub tries: u8,
    /// The operation that installed it.
    pub operation: u64,
}

/// All that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// What runs when nothing is tried.
    pub good: Boot,
    /// What was good before it, as long as it is there.
    pub previous: Option<Boot>,
    /// What is tried.
    pub trial: Option<Trial>,
    /// The operation whose trial came to nothing last.
    pub failed: Option<u64>,
    /// In slot A and B.
    pub releases: [Option<Release>; 2],
}

impl Default for SlotState {
    fn default() -> Self {
        Self { good: Boot::Factory, previous: None, trial: None, failed: None, releases: [None, None] }
    }
}

impl SlotState {
    /// Where the next release goes, unless one is tried.
    #[must_use]
    pub fn free_slot(&self) -> Option<Slot> {
        match (&self.trial, self.good) {
            (Some(_), _) => None,
            (None, Boot::Slot(Slot::A)) => Some(Slot::B),
            (None, _) => Some(Slot::A),
        }
    }

    /// The slot is about to be written, so nothing in it counts any more.
    pub fn clear(&mut self, slot: Slot) {
        self.releases[slot.index()] = None;
        if self.previous == Some(Boot::Slot(slot)) {
            self.previous = None;
        }
    }

    /// The slot has all of what was verified, and is tried at the next starts.
    pub fn installed(&mut self, slot: Slot, proof: &Verified, operation: u64, tries: u8) {
        let version = proof.manifest().map(|manifest| manifest.version.clone());
        let counter = proof.manifest().map(|manifest| manifest.counter);
        self.releases[slot.index()] = Some(Release { version, counter, sha256: proof.facts().sha256 });
        self.trial = Some(Trial { slot, tries, operation });
        self.failed = None;
    }

    /// What is to be started now; true: the state has changed, and counts only when it is written.
    pub fn start(&mut self) -> (Boot, bool) {
        match &mut self.trial {
            None => (self.good, false),
            Some(trial) if trial.tries > 0 => {
                trial.tries -= 1;
                (Boot::Slot(trial.slot), true)
            }
            Some(_) => {
                self.step_back();
                (self.good, true)
            }
        }
    }

    /// What is tried is good. False: nothing is.
    pub fn confirm(&mut self) -> bool {
        let Some(trial) = self.trial.take() else { return false };
        self.previous = Some(std::mem::replace(&mut self.good, Boot::Slot(trial.slot)));
        true
    }

    /// What is tried is not good. False: nothing is tried.
    pub fn step_back(&mut self) -> bool {
        let Some(trial) = self.trial.take() else { return false };
        self.failed = Some(trial.operation);
        self.releases[trial.slot.index()] = None;
        true
    }

    /// Back to what was good before. False: it is not there any more, or something is tried.
    pub fn go_back(&mut self) -> bool {
        if self.trial.is_some() {
            return false;
        }
        let Some(previous) = self.previous.take() else { return false };
        self.good = previous;
        true
    }

    /// What is in a slot.
    #[must_use]
    pub const fn release(&self, slot: Slot) -> Option<&Release> {
        self.releases[slot.index()].as_ref()
    }

    /// The counter of what is good: nothing with a smaller one is to be installed.
    #[must_use]
    pub fn floor(&self) -> u64 {
        let Boot::Slot(slot) = self.good else { return 0 };
        self.release(slot).and_then(|release| release.counter).unwrap_or(0)
    }

    /// As it is stored.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{FIRST}good {}\n", self.good.as_str());
        if let Some(previous) = self.previous {
            text += &format!("previous {}\n", previous.as_str());
        }
        if let Some(Trial { slot, tries, operation }) = self.trial {
            text += &format!("trial {} {tries} {operation}\n", slot.as_str());
        }
        if let Some(failed) = self.failed {
            text += &format!("failed {failed}\n");
        }
        for slot in [Slot::A, Slot::B] {
            if let Some(Release { version, counter, sha256 }) = self.release(slot) {
                let version = version.as_ref().map_or("", Version::as_str);
                let counter = counter.map_or_else(|| NONE.to_owned(), |counter| counter.to_string());
                text += &format!("{} {} {counter} {version}\n", slot.as_str(), hex(sha256));
            }
        }
        sealed(&text)
    }

    /// None: it is damaged.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut state = Self::default();
        for line in unsealed(text)?.strip_prefix(FIRST)?.split_terminator('\n') {
            let (name, rest) = line.split_once(' ')?;
            match (name, Slot::parse(name)) {
                ("good", _) => state.good = Boot::parse(rest)?,
                ("previous", _) => state.previous = Some(Boot::parse(rest)?),
                ("failed", _) => state.failed = Some(rest.parse().ok()?),
                ("trial", _) => {
                    let (slot, rest) = rest.split_once(' ')?;
                    let (tries, operation) = rest.split_once(' ')?;
                    let (tries, operation) = (tries.parse().ok()?, operation.parse().ok()?);
                    state.trial = Some(Trial { slot: Slot::parse(slot)?, tries, operation });
                }
                (_, Some(slot)) => {
                    let (sha256, rest) = rest.split_once(' ')?;
                    let (counter, version) = rest.split_once(' ')?;
                    let counter = if counter == NONE { None } else { Some(counter.parse().ok()?) };
                    let version = if version.is_empty() { None } else { Some(Version::parse(version)?) };
                    state.releases[slot.index()] = Some(Release { version, counter, sha256: unhex(sha256)? });
                }
                _ => return None,
            }
        }
        Some(state)
    }
}

impl Slot {
    /// Its name, which is also that of its directory.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::A, Self::B].into_iter().find(|slot| slot.as_str() == word)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl Boot {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Factory => "factory",
            Self::Slot(slot) => slot.as_str(),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        if word == "factory" { Some(Self::Factory) } else { Slot::parse(word).map(Self::Slot) }
    }
}

/// Stands for no counter.
const NONE: &str = "-";

/// First line; the digit is the version of the format. It is read by the launcher, which no update replaces, so it stays.
const FIRST: &str = "polylink-slots 1\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_boot() -> impl Strategy<Value = Boot> {
        prop_oneof![Just(Boot::Factory), Just(Boot::Slot(Slot::A)), Just(Boot::Slot(Slot::B))]
    }

    fn any_release() -> impl Strategy<Value = Option<Release>> {
        let version = proptest::option::of("[!-~]{1,64}".prop_map(|text| Version::parse(&text).expect("a version")));
        let parts = (version, any::<Option<u64>>(), any::<[u8; 32]>());
        proptest::option::of(parts.prop_map(|(version, counter, sha256)| Release { version, counter, sha256 }))
    }

    proptest! {
        #[test]
        fn a_state_survives_the_disk(
            good in any_boot(), previous in proptest::option::of(any_boot()), failed: Option<u64>,
            trial in proptest::option::of((any::<bool>(), any::<u8>(), any::<u64>())), a in any_release(), b in any_release(),
        ) {
            let slot = |first| if first { Slot::A } else { Slot::B };
            let trial = trial.map(|(first, tries, operation)| Trial { slot: slot(first), tries, operation });
            let state = SlotState { good, previous, trial, failed, releases: [a, b] };
            let text = state.encode();
            prop_assert_eq!(SlotState::decode(&text), Some(state));
            for end in 0..text.len() {
                prop_assert_eq!(SlotState::decode(&text[..end]), None);
            }
        }

        #[test]
        fn no_text_can_panic_the_parser(text in "\\PC{0,100}") {
            let _ = SlotState::decode(&text);
            let body = format!("{FIRST}{text}\n");
            let _ = SlotState::decode(&sealed(&body));
        }
    }
}
