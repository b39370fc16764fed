//! The order in which the platform is told of a file operation.

use polylink_plugin_sdk::Timestamp;
use serde::{Deserialize, Serialize};

use super::Event;

/// What an operation consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Load, verify, install.
    Upgrade,
    /// Load, verify as far as possible, hand over.
    Download,
    /// Upload.
    Upload,
}

/// What happens to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The other side has agreed to the first transfer.
    FirstByte,
    /// So much of the whole is done, of the transfer or of the installation, whichever is going on. In bytes, or in files
    /// if there are files of unknown size.
    Progress {
        /// So much.
        done: u64,
        /// Of so much.
        total: u64,
    },
    /// The last byte of the last file is through.
    Transferred,
    /// The transfer is given up.
    TransferFailed,
    /// The other side does not know the address, or does not let the device use it.
    UrlRefused,
    /// All files were compared with what was announced, and are that or not.
    Verified(bool),
    /// The first file is about to be installed.
    InstallBegins,
    /// The installation is given up.
    InstallFailed,
    /// All files are installed and run.
    Installed,
    /// The device gives up for a reason of its own.
    GivenUp(String),
}

/// One file operation of any number of files.
///
/// Told what happens, it says what to tell the platform. Whatever it is told: each required event comes once and in its
/// order, even if what leads to it was not told; nothing is installed that was not verified; after the end nothing comes.
/// Every failure ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    kind: Kind,
    stage: Stage,
    /// Last percentage of the stage, and when something was last told.
    percent: u8,
    told: Timestamp,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Nothing has begun.
    #[default]
    Waiting,
    /// The transfer has begun.
    Transferring,
    /// Everything is through.
    Transferred,
    /// It is what was announced.
    Verified,
    /// The installation has begun.
    Installing,
    /// Nothing more will come of it.
    Over,
}

impl Stage {
    /// Where an operation is that has told this; `None` for additional progress, and for an event that ends it.
    #[must_use]
    pub fn told_by(event: &Event) -> Option<Self> {
        match (event.resp_code, event.resp_cont.as_str()) {
            (1, "1") => Some(Self::Transferring),
            (1, "100") => Some(Self::Transferred),
            (0, "1") => Some(Self::Installing),
            _ => None,
        }
    }
}

impl Operation {
    /// One that has not begun.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self { kind, stage: Stage::Waiting, percent: 0, told: Timestamp(0) }
    }

    /// One that had told so much before the device was restarted. It tells no additional progress of that stage, since
    /// nobody knows how much of it was told.
    #[must_use]
    pub const fn resumed(kind: Kind, stage: Stage) -> Self {
        Self { kind, stage, percent: 100, told: Timestamp(0) }
    }

    /// How far it is.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// True when nothing more will come of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// What to tell the platform, in this order.
    pub fn tell(&mut self, now: Timestamp, happening: Happening) -> Vec<Event> {
        if self.is_over() {
            return Vec::new();
        }
        let mut events = Vec::new();
        match happening {
            Happening::FirstByte => self.reach(Stage::Transferring, &mut events),
            Happening::Progress { done, total } => {
                self.reach(Stage::Transferring, &mut events);
                events.extend(self.progress(now, done, total));
            }
            Happening::Transferred => {
                self.reach(Stage::Transferred, &mut events);
                if self.kind == Kind::Upload {
                    self.stage = Stage::Over;
                }
            }
            Happening::UrlRefused if self.stage == Stage::Waiting => self.end(Event::bad_url(), &mut events),
            Happening::UrlRefused | Happening::TransferFailed | Happening::InstallFailed => {
                self.end(Event::interrupted(), &mut events);
            }
            Happening::GivenUp(text) => self.end(Event::failure(text), &mut events),
            Happening::Verified(_) if self.kind == Kind::Upload || self.stage > Stage::Transferred => {}
            Happening::Verified(matches) => {
                self.reach(Stage::Transferred, &mut events);
                match (matches, self.kind) {
                    (false, _) => self.end(Event::verification_failed(), &mut events),
                    (true, Kind::Upgrade) => self.stage = Stage::Verified,
                    (true, _) => self.stage = Stage::Over,
                }
            }
            Happening::InstallBegins | Happening::Installed if self.stage < Stage::Verified => {}
            Happening::InstallBegins => self.reach(Stage::Installing, &mut events),
            Happening::Installed => {
                self.reach(Stage::Installing, &mut events);
                self.end(Event::installation(100), &mut events);
            }
        }
        if !events.is_empty() {
            self.told = now;
        }
        events
    }

    /// Goes on to a stage with all events on the way; nothing if it is past it.
    fn reach(&mut self, stage: Stage, events: &mut Vec<Event>) {
        for (next, event) in [
            (Stage::Transferring, Event::transfer(1)),
            (Stage::Transferred, Event::transfer(100)),
            (Stage::Installing, Event::installation(1)),
        ] {
            if self.stage < next && next <= stage {
                self.stage = next;
                self.percent = 1;
                events.push(event);
            }
        }
    }

    fn end(&mut self, event: Event, events: &mut Vec<Event>) {
        self.stage = Stage::Over;
        events.push(event);
    }

    /// Additional progress, never the first and the last percent, which are required and come once.
    fn progress(&mut self, now: Timestamp, done: u64, total: u64) -> Option<Event> {
        let event = match self.stage {
            Stage::Transferring => Event::transfer,
            Stage::Installing => Event::installation,
            _ => return None,
        };
        let percent = u128::from(done) * 100 / u128::from(total.max(1));
        let percent = u8::try_from(percent).unwrap_or(100).min(99);
        // A transfer that began anew goes back; the platform is not told.
        if percent < self.percent.saturating_add(PROGRESS_STEP) || now.since(self.told) < PROGRESS_EVERY_MS {
            return None;
        }
        self.percent = percent;
        Some(event(percent))
    }
}

/// Smallest step of additional progress in percent (Clife access document, our reading: answer body).
const PROGRESS_STEP: u8 = 10;
/// Additional progress is told at most once in this time (Clife access document, our reading: answer body).
const PROGRESS_EVERY_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is told to an operation, each a second after the one before, and what it says of it.
    #[track_caller]
    fn check(mut operation: Operation, happenings: &[Happening], expected: &[(i64, &str)], is_over: bool) {
        let seen: Vec<Event> = happenings
            .iter()
            .enumerate()
            .flat_map(|(at, happening)| operation.tell(Timestamp(1000 * at as u64), happening.clone()))
            .collect();
        let seen: Vec<_> = seen.iter().map(|event| (event.resp_code, event.resp_cont.as_str())).collect();
        assert_eq!((seen.as_slice(), operation.is_over()), (expected, is_over), "{happenings:?}");
    }

    use Happening::{
        FirstByte, GivenUp, InstallBegins, InstallFailed, Installed, Progress, TransferFailed, Transferred, UrlRefused,
        Verified,
    };

    #[test]
    fn what_leads_to_a_required_event_need_not_be_told() {
        let all = [(1, "1"), (1, "100"), (0, "1"), (0, "100")];
        check(Operation::new(Kind::Upgrade), &[Verified(true), Installed], &all, true);
        check(Operation::new(Kind::Upgrade), &[FirstByte, FirstByte, Transferred, FirstByte], &all[..2], false);
        check(Operation::new(Kind::Upgrade), &[Verified(false)], &[(1, "1"), (1, "100"), (-1, "2")], true);
    }

    #[test]
    fn nothing_is_installed_that_was_not_verified() {
        check(Operation::new(Kind::Upgrade), &[Transferred, InstallBegins, Installed], &[(1, "1"), (1, "100")], false);
        check(Operation::new(Kind::Download), &[Verified(true), Installed], &[(1, "1"), (1, "100")], true);
    }

    #[test]
    fn a_refused_address_is_one_only_before_the_first_byte() {
        check(Operation::new(Kind::Upgrade), &[UrlRefused, Installed], &[(-1, "0")], true);
        check(Operation::new(Kind::Upgrade), &[FirstByte, UrlRefused], &[(1, "1"), (-1, "1")], true);
        check(Operation::new(Kind::Upgrade), &[TransferFailed, FirstByte], &[(-1, "1")], true);
    }

    #[test]
    fn an_upload_ends_with_its_transfer_and_another_download_with_its_verification() {
        check(Operation::new(Kind::Upload), &[FirstByte, Transferred], &[(1, "1"), (1, "100")], true);
        check(Operation::new(Kind::Upload), &[Verified(false), GivenUp("no file".into())], &[(-1, "no file")], true);
        check(Operation::new(Kind::Download), &[Transferred, Verified(true)], &[(1, "1"), (1, "100")], true);
        check(Operation::new(Kind::Download), &[Verified(false)], &[(1, "1"), (1, "100"), (-1, "2")], true);
    }

    #[test]
    fn an_installation_goes_on_after_a_restart() {
        let installing = || Operation::resumed(Kind::Upgrade, Stage::Installing);
        check(installing(), &[Installed, Installed], &[(0, "100")], true);
        check(installing(), &[Verified(false), InstallFailed], &[(-1, "1")], true);
        let transferring = Operation::resumed(Kind::Upgrade, Stage::Transferring);
        let progress = Progress { done: 1, total: 2 };
        check(transferring, &[FirstByte, progress, Verified(true)], &[(1, "100")], false);
    }

    #[test]
    fn additional_progress_comes_in_steps_and_never_names_the_last_percent() {
        let done = |done| Progress { done, total: 200 };
        let told = [(1, "1"), (1, "11"), (1, "99")];
        check(
            Operation::new(Kind::Upgrade),
            &[FirstByte, done(20), done(22), done(40), done(200), done(200)],
            &told,
            false,
        );
        check(
            Operation::new(Kind::Upgrade),
            &[done(100), done(100), done(10), done(120)],
            &[(1, "1"), (1, "50"), (1, "60")],
            false,
        );
        let installs = [(1, "1"), (1, "100"), (0, "1"), (0, "12")];
        check(Operation::new(Kind::Upgrade), &[Verified(true), InstallBegins, done(0), done(24)], &installs, false);
        let endless = Progress { done: u64::MAX, total: 0 };
        check(Operation::new(Kind::Upload), &[endless.clone(), endless], &[(1, "1"), (1, "99")], false);
    }

    #[test]
    fn additional_progress_comes_at_most_once_a_second() {
        let mut operation = Operation::new(Kind::Upgrade);
        let mut tell = |at, done| operation.tell(Timestamp(at), Progress { done, total: 100 }).len();
        assert_eq!([tell(0, 1), tell(999, 50), tell(1000, 50), tell(1999, 70), tell(2000, 70)], [1, 0, 1, 0, 1]);
    }

    fn any_happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            Just(FirstByte),
            (0..300_u64, 0..300_u64).prop_map(|(done, total)| Progress { done, total }),
            Just(Transferred),
            Just(TransferFailed),
            Just(UrlRefused),
            any::<bool>().prop_map(Verified),
            Just(InstallBegins),
            Just(InstallFailed),
            Just(Installed),
            Just(GivenUp("x".to_owned())),
        ]
    }

    /// Where an event belongs in the whole of an operation; additional progress is between the required ones.
    fn rank(event: &Event) -> (u8, u8) {
        match (event.resp_code, event.resp_cont.parse()) {
            (1, Ok(percent)) => (1, percent),
            (0, Ok(percent)) => (2, percent),
            _ => (3, 0),
        }
    }

    proptest! {
        #[test]
        fn every_operation_tells_each_event_once_in_order_and_ends(
            kind in prop_oneof![Just(Kind::Upgrade), Just(Kind::Download), Just(Kind::Upload)],
            happenings in proptest::collection::vec((any_happening(), 0..3_000_u64), 0..40),
        ) {
            let mut operation = Operation::new(kind);
            let (mut now, mut told, mut over) = (Timestamp(0), Vec::new(), false);
            for (happening, wait) in happenings.into_iter().chain([(InstallFailed, 0)]) {
                now = now.after(wait);
                let events = operation.tell(now, happening);
                prop_assert!(!over || events.is_empty());
                over = operation.is_over();
                told.extend(events);
            }
            prop_assert!(over);
            let ranks: Vec<_> = told.iter().map(rank).collect();
            prop_assert!(ranks.is_sorted_by(|a, b| a < b), "{:?}", ranks);
            prop_assert!(!ranks.contains(&(2, 1)) || ranks.contains(&(1, 100)));
            prop_assert!(!ranks.contains(&(1, 100)) || ranks.contains(&(1, 1)));
            prop_assert!(kind == Kind::Upgrade || told.iter().all(|event| event.resp_code != 0));
        }
    }
}
