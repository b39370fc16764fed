//! Which mode the module is in: at work, open to be told a network, or in the production test.
//!
//! What is to be done with the radio are [`Phase`]s for the product's program; a mode is entered when the program has
//! accepted its phase. Sources: GAgent product specification, chapters 5 and 6.

use polylink_plugin_api::Timestamp;

/// What the product's program is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The host begins; leave what an earlier life left behind. It may say that no network is stored.
    Start,
    /// Be an access point, so that an application can tell the network.
    ConfigureSoftAp,
    /// Listen for the network by the radio vendor's own means.
    ConfigureAirLink,
    /// Nobody told a network in time: back to what was before.
    ConfigureEnd,
    /// Join the network on standard input.
    Join,
    /// Look once for a test network, and join it.
    ProductionTest,
    /// Leave the test network and be an access point.
    ProductionTestEnd,
    /// Forget all networks.
    Reset,
}

/// What the program said to a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done, or begun.
    Accepted,
    /// Not done, or not in time.
    Refused,
    /// No network is stored; an answer to [`Phase::Start`] only.
    NoNetwork,
}

/// Why a configuration mode is not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// AirLink while a network is connected.
    #[error("AirLink is refused while the module is connected to a network")]
    Connected,
    /// WPS, NFC, WAC and what else there may be.
    #[error("configuration mode {0} is not known; known are 1 (SoftAP), 2 (AirLink) and 4 (a network right here)")]
    Unknown(u8),
}

/// What else follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Call the program.
    Run(Phase),
    /// The binding window stays open while the test lasts.
    HoldBinding,
    /// The binding window closes.
    ShutBinding,
    /// What was handed over is not waited for any more.
    ForgetJoin,
}

/// The bits of the module status that follow from the mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeBits {
    /// The module is an access point.
    pub access_point: bool,
    /// Whether the module is a station; none: it is if it is connected.
    pub station: Option<bool>,
    /// The module waits to be told a network.
    pub onboarding: bool,
    /// Production test.
    pub production_test: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Modes {
    mode: Mode,
    search: Option<Search>,
    /// [`Phase::Join`] is under way; the time of a configuration mode waits for its end.
    is_joining: bool,
    /// A network was handed over and not seen since.
    join_pending: bool,
    connected: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Work,
    SoftAp {
        until: Timestamp,
        /// There was no network since it was entered; one that comes was told by the product's own means.
        was_away: bool,
    },
    AirLink {
        until: Timestamp,
        /// The time of the SoftAP mode that it interrupted.
        before: Option<Timestamp>,
    },
    Test,
    /// After the test: an access point that takes no network.
    TestEnded,
}

/// Looking for a test network. The mode before goes on meanwhile.
#[derive(Clone, Copy, Debug)]
struct Search {
    until: Timestamp,
    /// When to look again; none: the program looks just now.
    next: Option<Timestamp>,
}

impl Modes {
    /// At work. `join_pending`: a network was handed over in an earlier life and not seen since.
    #[must_use]
    pub fn new(join_pending: bool) -> Self {
        Self { join_pending, ..Self::default() }
    }

    /// The user wants a configuration mode.
    ///
    /// # Errors
    /// Why not.
    pub fn configure(&self, mode: u8) -> Result<Phase, ModeError> {
        match mode {
            SOFT_AP => Ok(Phase::ConfigureSoftAp),
            AIR_LINK if self.connected => Err(ModeError::Connected),
            AIR_LINK => Ok(Phase::ConfigureAirLink),
            other => Err(ModeError::Unknown(other)),
        }
    }

    /// The user wants the production test. None: it is on, or being looked for.
    pub fn test(&mut self, now: Timestamp) -> Option<Phase> {
        if self.search.is_some() || self.mode == Mode::Test {
            return None;
        }
        self.search = Some(Search { until: now.after(SEARCH_MS), next: None });
        Some(Phase::ProductionTest)
    }

    /// A tester wants the test to end. None: there is none.
    #[must_use]
    pub fn end_test(&self) -> Option<Phase> {
        (self.mode == Mode::Test).then_some(Phase::ProductionTestEnd)
    }

    /// Whether the module waits to be told a network.
    #[must_use]
    pub fn is_onboarding(&self) -> bool {
        matches!(self.mode, Mode::SoftAp { .. } | Mode::AirLink { .. })
    }

    /// [`Phase::Join`] begins.
    pub fn joins(&mut self) {
        self.is_joining = true;
    }

    /// The program said this to a phase.
    pub fn answered(&mut self, now: Timestamp, phase: Phase, answer: Answer) -> Vec<Wish> {
        match (phase, answer) {
            (Phase::Start, Answer::NoNetwork) => vec![Wish::Run(Phase::ConfigureSoftAp)],
            (Phase::ConfigureSoftAp, Answer::Accepted) => {
                self.mode = Mode::SoftAp { until: now.after(SOFT_AP_MS), was_away: !self.connected };
                self.forget_join()
            }
            (Phase::ConfigureAirLink, Answer::Accepted) => {
                let before = match self.mode {
                    Mode::SoftAp { until, .. } => Some(until),
                    Mode::AirLink { before, .. } => before,
                    _ => None,
                };
                self.mode = Mode::AirLink { until: now.after(AIR_LINK_MS), before };
                self.forget_join()
            }
            (Phase::Join, answer) => {
                self.is_joining = false;
                if answer == Answer::Accepted {
                    self.mode = Mode::Work;
                    self.join_pending = true;
                }
                Vec::new()
            }
            (Phase::ProductionTest, Answer::Accepted) => {
                // Who was interrupted by a reset in between does not begin the test.
                if self.search.take().is_none() {
                    return Vec::new();
                }
                self.mode = Mode::Test;
                vec![Wish::HoldBinding]
            }
            (Phase::ProductionTest, _) => {
                if let Some(search) = &mut self.search {
                    search.next = Some(now.after(SEARCH_EVERY_MS));
                    if search.until <= now.after(SEARCH_EVERY_MS) {
                        self.search = None;
                    }
                }
                Vec::new()
            }
            (Phase::ProductionTestEnd, Answer::Accepted) => {
                self.mode = Mode::TestEnded;
                vec![Wish::ShutBinding]
            }
            // As after a start without a network (GAgent product specification 6.2).
            (Phase::Reset, Answer::Accepted) => {
                self.mode = Mode::Work;
                self.search = None;
                let mut wishes = self.forget_join();
                wishes.push(Wish::Run(Phase::ConfigureSoftAp));
                wishes
            }
            _ => Vec::new(),
        }
    }

    /// Whether a network is connected now. True: it is one that was handed over, seen for the first time. It is told
    /// only when somebody is `ready` to hear it.
    pub fn network(&mut self, connected: bool, is_ready: bool) -> bool {
        self.connected = connected;
        if self.is_joining {
            return false;
        }
        match &mut self.mode {
            Mode::SoftAp { was_away, .. } if !connected => *was_away = true,
            Mode::SoftAp { was_away: true, .. } | Mode::AirLink { .. } if connected => {
                self.mode = Mode::Work;
                self.join_pending = true;
            }
            _ => {}
        }
        let has_joined = self.join_pending && connected && is_ready && self.mode == Mode::Work;
        self.join_pending &= !has_joined;
        has_joined
    }

    /// Lets the time pass. Phases to be run follow.
    pub fn timeout(&mut self, now: Timestamp) -> Vec<Phase> {
        let mut phases = Vec::new();
        match self.mode {
            _ if self.is_joining => {}
            Mode::SoftAp { until, .. } if until <= now => {
                self.mode = Mode::Work;
                phases.push(Phase::ConfigureEnd);
            }
            Mode::AirLink { until, before } if until <= now => {
                self.mode = match before.filter(|before| now < *before) {
                    Some(until) => Mode::SoftAp { until, was_away: !self.connected },
                    None => Mode::Work,
                };
                phases.push(Phase::ConfigureEnd);
                phases.extend(self.is_onboarding().then_some(Phase::ConfigureSoftAp));
            }
            _ => {}
        }
        if let Some(search) = &mut self.search
            && search.next.is_some_and(|next| next <= now)
        {
            search.next = None;
            phases.push(Phase::ProductionTest);
        }
        phases
    }

    /// When [`Modes::timeout`] is wanted.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let mode = match self.mode {
            Mode::SoftAp { until, .. } | Mode::AirLink { until, .. } if !self.is_joining => Some(until),
            _ => None,
        };
        [mode, self.search.and_then(|search| search.next)].into_iter().flatten().min()
    }

    /// For the module status.
    #[must_use]
    pub fn bits(&self) -> ModeBits {
        match self.mode {
            Mode::Work => ModeBits { station: self.join_pending.then_some(true), ..ModeBits::default() },
            Mode::SoftAp { .. } => ModeBits { access_point: true, onboarding: true, ..ModeBits::default() },
            Mode::AirLink { .. } => ModeBits { onboarding: true, ..ModeBits::default() },
            Mode::Test => ModeBits { station: Some(true), production_test: true, ..ModeBits::default() },
            Mode::TestEnded => ModeBits { access_point: true, station: Some(false), ..ModeBits::default() },
        }
    }

    /// For operators.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.mode {
            _ if self.is_joining => "told a network",
            Mode::Work if self.join_pending => "joining a network",
            Mode::Work if self.search.is_some() => "looking for a test network",
            Mode::Work => "work",
            Mode::SoftAp { .. } => "onboarding by SoftAP",
            Mode::AirLink { .. } => "onboarding by AirLink",
            Mode::Test => "production test",
            Mode::TestEnded => "production test ended",
        }
    }

    fn forget_join(&mut self) -> Vec<Wish> {
        self.join_pending = false;
        vec![Wish::ForgetJoin]
    }
}

impl Phase {
    /// The argument that the program is called with.
    #[must_use]
    pub const fn argument(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::ConfigureSoftAp => "configure-softap",
            Self::ConfigureAirLink => "configure-airlink",
            Self::ConfigureEnd => "configure-end",
            Self::Join => "join",
            Self::ProductionTest => "production-test",
            Self::ProductionTestEnd => "production-test-end",
            Self::Reset => "reset",
        }
    }
}

/// Configuration modes of command 0x09 (Gizwits serial protocol).
const SOFT_AP: u8 = 1;
const AIR_LINK: u8 = 2;

/// Without a network being told, the modes end after these times (GAgent product specification 6.2 and 6.4).
const SOFT_AP_MS: u64 = 600_000;
const AIR_LINK_MS: u64 = 60_000;

/// The test networks are looked for so often and so long (GAgent product specification 5).
const SEARCH_EVERY_MS: u64 = 10_000;
const SEARCH_MS: u64 = 180_000;

#[cfg(test)]
mod tests;
