//! [`Keep`]: the layer of the subscriber that puts lines into a [`KeptLog`].

use std::fmt::{self, Debug, Write};

use polylink_plugin_api::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::censor::censored;
use super::kept::KeptLog;

/// Keeps every line that its filter lets through.
pub struct Keep {
    pub kept: KeptLog,
    /// Tells the monotonic time.
    pub clock: fn() -> Timestamp,
}

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Words::default();
        event.record(&mut line);
        let text = line.message.0 + &line.fields.0;
        let facts = event.metadata();
        self.kept.push((self.clock)(), facts.level().as_str(), facts.target(), &censored(&text));
    }
}

/// The message of an event, and its fields in the way of the lines on standard error.
#[derive(Default)]
struct Words {
    message: Bounded,
    fields: Bounded,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Only what is too long fails, and of that the beginning is there.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => drop(self.message.write_str(value)),
            _ => self.record_debug(field, &value),
        }
    }
}

/// The beginning of what is written; the rest is not even formatted.
#[derive(Default)]
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = RAW_MAX - self.0.len();
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        Err(fmt::Error)
    }
}

/// Bytes of a message, and of its fields, before they are censored and clipped. Chosen by us: so much more than a line that
/// is kept, that the end of a secret is not cut off from its beginning.
const RAW_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use polylink_plugin_api::{ClockQuality, Now, WallTime};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What is kept of what is logged.
    fn kept(log: impl FnOnce()) -> String {
        let kept = KeptLog::new(64 * 1024);
        let layer = Keep { kept: kept.clone(), clock: || Timestamp(0) }.with_filter(crate::log::kept_levels());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let wall = WallTime { unix_ms: 0, quality: ClockQuality::UNSET };
        kept.text(Now { monotonic: Timestamp(0), wall, utc_offset_s: 0 }, i64::MIN, i64::MAX)
    }

    #[test]
    fn a_line_has_its_message_and_fields() {
        let text = kept(|| tracing::warn!(target: "plugin", cloud = "a", ms = 5, "slow {}", 1));
        assert_eq!(text, "1970-01-01T00:00:00.000Z WARN  plugin: slow 1 cloud=\"a\" ms=5\n");
    }

    #[test]
    fn secrets_are_blanked_before_a_line_is_cut() {
        let long = "x".repeat(1000);
        let text = kept(|| tracing::info!(target: "plugin", password = %long, "{long} token={long}"));
        assert!(text.contains(&long[..900]) && !text.contains("=x"), "{text}");
    }

    #[test]
    fn a_flood_in_one_line_is_cut_before_it_is_written() {
        struct Endless;
        impl Debug for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("é")?;
                }
            }
        }
        let text = kept(|| tracing::info!(target: "plugin", "a{:?}", Endless));
        assert!(text.contains(" plugin: aéé") && text.len() < 1200, "{}", text.len());
    }

    #[test]
    fn payloads_and_the_chat_of_libraries_are_not_kept() {
        let text = kept(|| {
            tracing::debug!(target: "plugin", "payload");
            tracing::trace!(target: "polylink::mcu", "bytes");
            tracing::info!(target: "reqwest", "chat");
            tracing::error!(target: "reqwest", "trouble");
        });
        assert!(text.ends_with("ERROR reqwest: trouble\n") && text.lines().count() == 1, "{text}");
    }
}
