//! The host as one plugin instance sees it: [`Face`] behind the ABI's `Host`.
//!
//! Every method may be called from any thread of the plugin, at any rate, also after the instance has ended. None of
//! them lets a panic out (it would end the process), blocks, or keeps more than its limit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use polylink_plugin_api::abi_stable::std_types::{ROption, RSlice, RStr};
use polylink_plugin_api::{Command, ExtensionRef, Host, InstanceId, LogLevel, Status};
use tracing::{debug, error, info, trace, warn};

use super::ServiceHost;
use super::inbox::Inbox;
use crate::bus::rate::Rate;
use crate::hub::Hub;

/// What one instance may ask of the host. Clones share everything.
#[derive(Clone)]
pub(super) struct Face {
    pub instance: InstanceId,
    pub name: Arc<str>,
    pub hub: Arc<Hub>,
    pub services: Arc<dyn ServiceHost>,
    pub inbox: Arc<Inbox>,
    pub desk: Arc<Desk>,
}

/// What an instance said last, and how much it may say.
pub(super) struct Desk {
    said: Mutex<Said>,
    on_phase: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug)]
struct Said {
    rate: Rate,
    suppressed: u64,
    suppressed_ever: u64,
    status: Status,
}

impl Desk {
    /// `on_phase` is told of each change of phase, on the thread that made it.
    pub fn new(on_phase: impl Fn() + Send + Sync + 'static) -> Self {
        let rate = Rate::new(LINES_PER_SECOND, LINES_BURST);
        let said = Said { rate, suppressed: 0, suppressed_ever: 0, status: Status::default() };
        Self { said: Mutex::new(said), on_phase: Box::new(on_phase) }
    }

    /// The last status, and how many log lines were left out so far.
    pub fn status(&self) -> (Status, u64) {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        (said.status.clone(), said.suppressed_ever)
    }

    /// Forgets what the incarnation before said of itself.
    pub fn clear_status(&self) {
        self.say(Status::default());
    }

    fn say(&self, status: Status) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = said.status.phase != status.phase;
        said.status = status;
        drop(said);
        if is_news {
            (self.on_phase)();
        }
        is_news
    }
}

impl Face {
    fn guarded<R>(&self, what: &str, fallback: R, body: impl FnOnce() -> R) -> R {
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
            error!(target: "plugin", cloud = &*self.name, "the host panicked in `{what}`, which this plugin called");
            fallback
        })
    }
}

impl Host for Face {
    fn log(&self, level: LogLevel, message: RStr<'_>) {
        self.guarded("log", (), || {
            let (allowed, suppressed) = {
                let now = self.hub.now().monotonic;
                let mut said = self.desk.said.lock().unwrap_or_else(PoisonError::into_inner);
                let allowed = said.rate.allow(now);
                if allowed {
                    (true, std::mem::take(&mut said.suppressed))
                } else {
                    said.suppressed += 1;
                    said.suppressed_ever += 1;
                    (false, 0)
                }
            };
            if suppressed > 0 {
                warn!(target: "plugin", cloud = &*self.name, lines = suppressed, "log lines were left out");
            }
            if allowed {
                let message = printable(&message, LINE_MAX);
                match level {
                    LogLevel::ERROR => error!(target: "plugin", cloud = &*self.name, "{message}"),
                    LogLevel::WARN => warn!(target: "plugin", cloud = &*self.name, "{message}"),
                    LogLevel::DEBUG => debug!(target: "plugin", cloud = &*self.name, "{message}"),
                    LogLevel::TRACE => trace!(target: "plugin", cloud = &*self.name, "{message}"),
                    _ => info!(target: "plugin", cloud = &*self.name, "{message}"),
                }
            }
        });
    }

    fn submit(&self, commands: RSlice<'_, Command>) -> u64 {
        self.guarded("submit", 0, || self.hub.submit(self.instance, commands.as_slice()))
    }

    fn settle(&self, seqs: RSlice<'_, u64>) {
        self.guarded("settle", (), || self.hub.settle(self.instance, seqs.as_slice()));
    }

    fn status(&self, status: Status) {
        self.guarded("status", (), || {
            let text = printable(&status.text, STATUS_TEXT_MAX).into();
            let facts = status.facts.iter().take(FACTS_MAX);
            let facts = facts
                .map(|fact| (printable(&fact.0, FACT_NAME_MAX).into(), printable(&fact.1, FACT_MAX).into()).into());
            let status = Status { phase: status.phase, text, facts: facts.collect() };
            let phase = status.phase.0;
            if self.desk.say(status) {
                debug!(target: "plugin", cloud = &*self.name, phase, "cloud changed phase");
            }
        });
    }

    fn wake(&self, token: u64) {
        self.guarded("wake", (), || self.inbox.wake_with(token));
    }

    fn extension(&self, id: RStr<'_>) -> ROption<ExtensionRef> {
        self.guarded("extension", ROption::RNone, || self.services.table(id.as_str()).into())
    }
}

/// At most `max` bytes of the text, on one line: control characters are shown as their escapes.
fn printable(text: &str, max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(max));
    for character in text.chars() {
        if shown.len() + character.len_utf8() > max {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Log lines of one instance a second on average, and at once; more are left out and counted. Not documented; chosen by
/// us.
const LINES_PER_SECOND: u32 = 50;
/// See [`LINES_PER_SECOND`].
const LINES_BURST: u32 = 500;
/// Bytes of one log line; the rest is cut off. Not documented; chosen by us.
const LINE_MAX: usize = 2048;
/// Bytes of a status line. Not documented; chosen by us.
const STATUS_TEXT_MAX: usize = 512;
/// Facts in a status. Not documented; chosen by us.
const FACTS_MAX: usize = 32;
/// Bytes of a fact's name. Not documented; chosen by us.
const FACT_NAME_MAX: usize = 64;
/// Bytes of a fact. Not documented; chosen by us: the text of a QR code.
const FACT_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, max: usize, shown: &str) {
        assert_eq!(printable(text, max), shown);
    }

    #[test]
    fn a_line_of_a_plugin_stays_one_line() {
        check("two\nlines\x1b[31m", 100, "two\\nlines\\u{1b}[31m");
        check("格力空调", 100, "格力空调");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        check("格力空调", 7, "格力…");
        check("abc", 3, "abc");
    }
}
