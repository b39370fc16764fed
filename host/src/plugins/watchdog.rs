//! Notices calls into plugins that do not return. A stuck thread cannot be killed; what can be done is to take it off
//! everything, which its [`Ward`] does, and to say so.
//!
//! Costs nothing while no plugin is called: the watchdog's thread sleeps until a call begins.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::Duration;

use polylink_plugin_api::Timestamp;

/// The entries of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    /// `PluginRoot::create`.
    Create,
    /// `Plugin::start`.
    Start,
    /// `Plugin::reports`.
    Reports,
    /// `Plugin::outcomes`.
    Outcomes,
    /// `Plugin::event`.
    Event,
    /// `Plugin::timeout`.
    Timeout,
    /// `Plugin::next_timeout`.
    NextTimeout,
    /// `Plugin::stop`.
    Stop,
    /// The plugin's drop.
    Drop,
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallBudget {
    /// After so long, a line in the log.
    pub warn_ms: u64,
    /// After so long, quarantine.
    pub quarantine_ms: u64,
}

/// What the watchdog thinks of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within its budget, or no call.
    Fine,
    /// Told once for each call.
    Slow(Call, u64),
    /// Told once; from now on [`Gauge::leave`] says so, too.
    Stuck(Call, u64),
}

/// Whether one instance is inside a call, and since when.
#[derive(Debug, Default)]
pub struct Gauge {
    /// 0: outside. Else when it entered, which call, and the flags below.
    inside: AtomicU64,
}

/// Whom the watchdog watches.
pub trait Ward: Send + Sync {
    /// Its gauge.
    fn gauge(&self) -> &Gauge;
    /// A call takes long.
    fn slow(&self, call: Call, ms: u64);
    /// A call does not return. Called on the watchdog's thread; must not wait for the stuck one.
    fn stuck(&self, call: Call, ms: u64);
}

/// See the module.
pub struct Watchdog {
    budget: CallBudget,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    wards: Mutex<Vec<Weak<dyn Ward>>>,
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl Gauge {
    /// A call begins.
    pub fn enter(&self, call: Call, now: Timestamp) {
        self.inside.store(((now.0 + 1) << TIME_SHIFT) | (u64::from(call as u8) << CALL_SHIFT), Ordering::SeqCst);
    }

    /// The call is over; true if it was given up as stuck meanwhile.
    pub fn leave(&self) -> bool {
        self.inside.swap(0, Ordering::SeqCst) & STUCK != 0
    }

    /// Looks at the call, if there is one, and remembers what was said of it.
    pub fn judge(&self, now: Timestamp, budget: CallBudget) -> Verdict {
        let seen = self.inside.load(Ordering::SeqCst);
        if seen == 0 || seen & STUCK != 0 {
            return Verdict::Fine;
        }
        let ms = now.since(Timestamp((seen >> TIME_SHIFT) - 1));
        let call = CALLS[((seen >> CALL_SHIFT) & 0xF) as usize];
        let (flag, verdict) = if ms >= budget.quarantine_ms {
            (STUCK, Verdict::Stuck(call, ms))
        } else if ms >= budget.warn_ms && seen & WARNED == 0 {
            (WARNED, Verdict::Slow(call, ms))
        } else {
            return Verdict::Fine;
        };
        // If the call returned in between, nothing is said of it.
        let noted = self.inside.compare_exchange(seen, seen | flag, Ordering::SeqCst, Ordering::SeqCst);
        noted.map_or(Verdict::Fine, |_| verdict)
    }

    fn is_inside(&self) -> bool {
        let seen = self.inside.load(Ordering::SeqCst);
        seen != 0 && seen & STUCK == 0
    }
}

impl Watchdog {
    /// Starts the watchdog's thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        budget: CallBudget,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> std::io::Result<Arc<Self>> {
        let dog = Arc::new(Self {
            budget,
            now: Box::new(now),
            wards: Mutex::default(),
            thread: OnceLock::new(),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let runs = Arc::clone(&dog);
        let thread = std::thread::Builder::new().name("pl-watchdog".to_owned()).stack_size(STACK_BYTES);
        let handle = thread.spawn(move || runs.run())?;
        // Set once, here.
        let _ = dog.thread.set(handle.thread().clone());
        Ok(dog)
    }

    /// Watches this one from now on, until it is dropped.
    pub fn watch(&self, ward: Weak<dyn Ward>) {
        let mut wards = self.wards.lock().unwrap_or_else(PoisonError::into_inner);
        wards.retain(|known| known.strong_count() > 0);
        wards.push(ward);
    }

    /// A call begins somewhere. Cheap while the watchdog is awake.
    pub fn call_begins(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.thread.get().inspect(|thread| thread.unpark());
        }
    }

    /// Ends the watchdog's thread.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.get().inspect(|thread| thread.unpark());
    }

    fn run(&self) {
        while !self.ended.load(Ordering::SeqCst) {
            self.asleep.store(true, Ordering::SeqCst);
            let wards = self.wards();
            if wards.iter().any(|ward| ward.gauge().is_inside()) {
                self.asleep.store(false, Ordering::SeqCst);
            }
            drop(wards);
            if self.asleep.load(Ordering::SeqCst) {
                std::thread::park();
                continue;
            }
            // Calls that begin while it waits here do not wake it: at most a few rounds a second under load.
            std::thread::park_timeout(Duration::from_millis((self.budget.warn_ms / 2).max(ROUND_MIN_MS)));
            for ward in self.wards() {
                match ward.gauge().judge((self.now)(), self.budget) {
                    Verdict::Fine => {}
                    Verdict::Slow(call, ms) => ward.slow(call, ms),
                    Verdict::Stuck(call, ms) => ward.stuck(call, ms),
                }
            }
        }
    }

    fn wards(&self) -> Vec<Arc<dyn Ward>> {
        self.wards.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }
}

impl Call {
    /// The entry's name in the interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Reports => "reports",
            Self::Outcomes => "outcomes",
            Self::Event => "event",
            Self::Timeout => "timeout",
            Self::NextTimeout => "next_timeout",
            Self::Stop => "stop",
            Self::Drop => "drop",
        }
    }
}

/// In the order of the discriminants.
const CALLS: [Call; 16] = [
    Call::Create,
    Call::Start,
    Call::Reports,
    Call::Outcomes,
    Call::Event,
    Call::Timeout,
    Call::NextTimeout,
    Call::Stop,
    Call::Drop,
    Call::Drop,
    Call::Drop,
    Call::Drop,
    Call::Drop,
    Call::Drop,
    Call::Drop,
    Call::Drop,
];

/// Flag of [`Gauge::inside`]: the log was told.
const WARNED: u64 = 1;
/// Flag of [`Gauge::inside`]: given up.
const STUCK: u64 = 2;
/// Place of the call in [`Gauge::inside`].
const CALL_SHIFT: u32 = 4;
/// Place of the time in [`Gauge::inside`].
const TIME_SHIFT: u32 = 8;

/// Shortest wait between two rounds. Not documented; chosen by us.
const ROUND_MIN_MS: u64 = 5;

/// Stack of the watchdog's thread. Not documented; chosen by us: it calls little more than the log.
const STACK_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: CallBudget = CallBudget { warn_ms: 200, quarantine_ms: 2000 };

    /// A call that began at 0 is looked at at these moments.
    #[track_caller]
    fn check(looks: &[(u64, Verdict)], leaves_stuck: bool) {
        let gauge = Gauge::default();
        gauge.enter(Call::Event, Timestamp(0));
        for &(at, verdict) in looks {
            assert_eq!(gauge.judge(Timestamp(at), BUDGET), verdict, "at {at}");
        }
        assert_eq!(gauge.leave(), leaves_stuck);
        assert_eq!(gauge.judge(Timestamp(100_000), BUDGET), Verdict::Fine);
    }

    #[test]
    fn a_slow_call_is_told_once() {
        let slow = Verdict::Slow(Call::Event, 250);
        check(&[(199, Verdict::Fine), (250, slow), (500, Verdict::Fine), (1999, Verdict::Fine)], false);
    }

    #[test]
    fn a_stuck_call_is_told_once_and_learns_it_when_it_returns() {
        let stuck = Verdict::Stuck(Call::Event, 2000);
        check(&[(300, Verdict::Slow(Call::Event, 300)), (2000, stuck), (9000, Verdict::Fine)], true);
        check(&[(5000, Verdict::Stuck(Call::Event, 5000))], true);
    }

    #[test]
    fn every_call_keeps_its_name_in_the_gauge() {
        for call in &CALLS[..=Call::Drop as usize] {
            let gauge = Gauge::default();
            gauge.enter(*call, Timestamp(7));
            assert_eq!(gauge.judge(Timestamp(3007), BUDGET), Verdict::Stuck(*call, 3000));
        }
    }
}
