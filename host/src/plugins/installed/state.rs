//! Which file counts for which plugin, pure: what is written, and what follows from what.
//!
//! Invariant: what is *good* worked and was confirmed, or is the built-in file. A trial changes nothing of it, and whatever
//! happens to a trial leads back to it.

use std::collections::BTreeMap;

use crate::disk::{sealed, unsealed};
use crate::update::manifest::{Facts, Version, hex, unhex};

/// A plugin file in the managed directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Size and content; the content names the file.
    pub facts: Facts,
    /// The plugin's own word.
    pub version: Version,
    /// By the manifest; none: it had no manifest.
    pub counter: Option<u64>,
}

/// What can be loaded for a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The file in `plugins.directories`, or nothing, if there is none.
    #[default]
    BuiltIn,
    /// One that was installed.
    Installed(Release),
}

/// A file that is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Which.
    pub release: Release,
    /// Starts of the host that it still has.
    pub tries: u8,
    /// Its clouds have to come online; else it is enough that they work.
    pub must_be_online: bool,
}

/// All that is remembered of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// SHA-256 of the built-in file that the installed ones stand in for; none: there was none.
    pub built_in: Option<[u8; 32]>,
    /// What is loaded when nothing is tried.
    pub good: Source,
    /// What was good before.
    pub former: Option<Source>,
    /// What is tried.
    pub trial: Option<Trial>,
    /// The last trial came to nothing.
    pub failed: bool,
    /// The greatest counter that was confirmed.
    pub floor: u64,
}

/// The plugins of which something is remembered, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(pub BTreeMap<PluginName, Entry>);

/// A plugin's name for itself: 1 to 64 visible ASCII characters.
pub type PluginName = String;

impl Source {
    /// The installed file; none: the built-in one.
    #[must_use]
    pub const fn release(&self) -> Option<&Release> {
        match self {
            Self::BuiltIn => None,
            Self::Installed(release) => Some(release),
        }
    }
}

impl Entry {
    /// A file is tried from now on, in the place of this built-in one. What stood in for another one is forgotten: it was
    /// made to go with that.
    pub fn try_out(&mut self, built_in: Option<[u8; 32]>, trial: Trial) {
        if self.built_in != built_in {
            *self = Self { built_in, floor: self.floor, ..Self::default() };
        }
        self.trial = Some(trial);
        self.failed = false;
    }

    /// What is tried is good. False: nothing is.
    pub fn confirm(&mut self) -> bool {
        let Some(trial) = self.trial.take() else { return false };
        self.floor = self.floor.max(trial.release.counter.unwrap_or(0));
        let good = Source::Installed(trial.release);
        if good != self.good {
            self.former = Some(std::mem::replace(&mut self.good, good));
        }
        true
    }

    /// What is tried is not good. False: nothing is tried.
    pub fn step_back(&mut self) -> bool {
        let ended = self.trial.take().is_some();
        self.failed |= ended;
        ended
    }

    /// What was good before is good again, and the other way round. False: nothing was.
    pub fn go_back(&mut self) -> bool {
        let Some(former) = self.former.take() else { return false };
        self.former = Some(std::mem::replace(&mut self.good, former));
        self.failed = false;
        true
    }

    /// Every file that is spoken of.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        let sources = [Some(&self.good), self.former.as_ref()].into_iter().flatten();
        sources.filter_map(Source::release).chain(self.trial.as_ref().map(|trial| &trial.release))
    }
}

impl State {
    /// The text of it.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = FIRST.to_owned();
        for (name, entry) in &self.0 {
            let Entry { built_in, good, former, trial, failed, floor } = entry;
            let built_in = built_in.map_or(NONE.to_owned(), |sha256| hex(&sha256));
            text += &format!("plugin {name} {built_in} {floor} {}\n", u8::from(*failed));
            if let Source::Installed(release) = good {
                text += &format!("good {}\n", words(release));
            }
            match former {
                None => {}
                Some(Source::BuiltIn) => text += "former built-in\n",
                Some(Source::Installed(release)) => text += &format!("former {}\n", words(release)),
            }
            if let Some(Trial { release, tries, must_be_online }) = trial {
                text += &format!("trial {tries} {} {}\n", u8::from(*must_be_online), words(release));
            }
        }
        sealed(&text)
    }

    /// None: it is damaged.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut state = Self::default();
        let mut last: Option<(PluginName, Entry)> = None;
        for line in unsealed(text)?.strip_prefix(FIRST)?.split_terminator('\n') {
            let (word, rest) = line.split_once(' ')?;
            if word == "plugin" {
                state.0.extend(last.take());
                last = Some(entry(rest)?);
                continue;
            }
            let (_, entry) = last.as_mut()?;
            match word {
                "good" => entry.good = Source::Installed(release(rest)?),
                "former" if rest == "built-in" => entry.former = Some(Source::BuiltIn),
                "former" => entry.former = Some(Source::Installed(release(rest)?)),
                "trial" => {
                    let (tries, rest) = rest.split_once(' ')?;
                    let (online, rest) = rest.split_once(' ')?;
                    let (tries, release) = (tries.parse().ok()?, release(rest)?);
                    entry.trial = Some(Trial { release, tries, must_be_online: bit(online)? });
                }
                _ => return None,
            }
        }
        state.0.extend(last);
        Some(state)
    }
}

/// Whether a plugin may be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    // Of the same shape as a version, so that both stand in one line.
    Version::parse(name).is_some()
}

fn words(Release { facts, version, counter }: &Release) -> String {
    let counter = counter.map_or(NONE.to_owned(), |counter| counter.to_string());
    format!("{} {} {counter} {version}", hex(&facts.sha256), facts.size)
}

fn release(text: &str) -> Option<Release> {
    let mut words = text.split(' ');
    let sha256 = unhex(words.next()?)?;
    let size = words.next()?.parse().ok()?;
    let counter = match words.next()? {
        NONE => None,
        counter => Some(counter.parse().ok()?),
    };
    let version = Version::parse(words.next()?)?;
    words.next().is_none().then_some(Release { facts: Facts { size, sha256 }, version, counter })
}

fn entry(text: &str) -> Option<(PluginName, Entry)> {
    let mut words = text.split(' ');
    let name = words.next().filter(|name| is_name(name))?.to_owned();
    let built_in = match words.next()? {
        NONE => None,
        sha256 => Some(unhex(sha256)?),
    };
    let (floor, failed) = (words.next()?.parse().ok()?, bit(words.next()?)?);
    words.next().is_none().then_some((name, Entry { built_in, floor, failed, ..Entry::default() }))
}

fn bit(word: &str) -> Option<bool> {
    match word {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// First line; the digit is the version of the format. Chosen by us.
const FIRST: &str = "polylink-plugins 1\n";

/// No counter, no built-in file. Chosen by us.
const NONE: &str = "-";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_release() -> impl Strategy<Value = Release> {
        (any::<u64>(), any::<[u8; 32]>(), "[!-~]{1,64}", any::<Option<u64>>()).prop_map(
            |(size, sha256, version, counter)| Release {
                facts: Facts { size, sha256 },
                version: Version::parse(&version).expect("visible"),
                counter,
            },
        )
    }

    fn any_source() -> impl Strategy<Value = Source> {
        prop_oneof![Just(Source::BuiltIn), any_release().prop_map(Source::Installed)]
    }

    prop_compose! {
        fn any_entry()(
            built_in: Option<[u8; 32]>,
            good in any_source(),
            former in proptest::option::of(any_source()),
            trial in proptest::option::of((any_release(), any::<u8>(), any::<bool>())),
            failed: bool,
            floor: u64,
        ) -> Entry {
            let trial = trial.map(|(release, tries, must_be_online)| Trial { release, tries, must_be_online });
            Entry { built_in, good, former, trial, failed, floor }
        }
    }

    proptest! {
        #[test]
        fn every_state_survives_the_disk(entries in proptest::collection::btree_map("[!-~]{1,64}", any_entry(), 0..4)) {
            let state = State(entries);
            prop_assert_eq!(State::decode(&state.encode()), Some(state));
        }

        #[test]
        fn no_text_can_panic_the_reader(text in "\\PC{0,200}") {
            let _ = State::decode(&text);
            let body = format!("{FIRST}{text}\n");
            let _ = State::decode(&sealed(&body));
        }
    }

    #[test]
    fn a_record_with_one_digit_changed_is_damaged() {
        let state = State(BTreeMap::from([("deli".to_owned(), Entry { floor: 17, ..Entry::default() })]));
        let text = state.encode();
        assert_eq!(State::decode(&text.replace("17", "16")), None);
        assert_eq!(State::decode(&text[..text.len() - 1]), None);
    }
}
