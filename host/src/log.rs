//! Logging: one subscriber for the process, writing lines to standard error, where systemd and procd pick them up, and
//! keeping the last ones ([`KeptLog`]) for clouds and people that ask for them.
//!
//! Secrets do not reach it, because they are [`Redacted`] by type. What is kept is looked through once more ([`censor`]),
//! because it may leave the device.

pub mod censor;
mod kept;
mod layer;

use std::fmt;
use std::io::IsTerminal;

use polylink_plugin_api::Timestamp;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

pub use self::kept::KeptLog;
use self::layer::Keep;
use crate::config::{LogFormat, LogLevel};

/// A value that no log and no error shows: `Debug` prints `<secret>`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Redacted<T>(pub T);

impl<T> Redacted<T> {
    /// Shows it to who needs it, and only there.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Starts logging, and keeping lines by the time of this monotonic clock. To be called once, before anything is logged.
///
/// # Errors
/// Logging has been started already.
pub fn start(level: LogLevel, format: LogFormat, kept: &KeptLog, clock: fn() -> Timestamp) -> Result<(), TryInitError> {
    let stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Json => Box::new(stderr.json().flatten_event(true).with_current_span(false).with_span_list(false)),
        // systemd stamps each line with its own time.
        LogFormat::Pretty if std::env::var_os("JOURNAL_STREAM").is_some() => {
            Box::new(stderr.with_ansi(false).without_time())
        }
        LogFormat::Pretty => Box::new(stderr.with_ansi(std::io::stderr().is_terminal())),
    };
    let keep = Keep { kept: kept.clone(), clock };
    let kept_levels = if kept.keeps_any() { kept_levels() } else { Targets::new() };
    let (layer, keep) = (layer.with_filter(levels(filter(level))), keep.with_filter(kept_levels));
    tracing_subscriber::registry().with(layer).with(keep).try_init()
}

/// What is kept, whatever standard error shows: what tells the story. Not `debug` and `trace`, where payloads and what the
/// product's programs write may be shown; those are the owner's, and no cloud's.
fn kept_levels() -> Targets {
    levels(LevelFilter::INFO)
}

fn levels(level: LevelFilter) -> Targets {
    Targets::new().with_default(LevelFilter::WARN.min(level)).with_targets([
        ("polylink", level),
        // Lines of plugins, under the name of their instance.
        ("plugin", level),
    ])
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Keeps a warning that could come with every packet to one line in a while.
#[derive(Clone, Debug)]
pub struct Seldom {
    pause_ms: u64,
    last: Option<Timestamp>,
    held_back: u64,
}

impl Seldom {
    /// At most one line in so many milliseconds.
    #[must_use]
    pub const fn every(pause_ms: u64) -> Self {
        Self { pause_ms, last: None, held_back: 0 }
    }

    /// Some if a line is due: how many were held back since the last one.
    pub fn admit(&mut self, now: Timestamp) -> Option<u64> {
        if self.last.is_some_and(|last| now.since(last) < self.pause_ms) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_warning_is_counted_while_it_is_held_back() {
        let mut seldom = Seldom::every(1000);
        let admitted = [0, 1, 999, 1000, 1500, 5000].map(|ms| seldom.admit(Timestamp(ms)));
        assert_eq!(admitted, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn a_redacted_value_does_not_show_itself() {
        assert_eq!(format!("{:?}", Redacted("hunter2")), "<secret>");
    }
}
