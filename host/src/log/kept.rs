//! The last lines of the log, kept in RAM for clouds and people that ask for them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polylink_plugin_api::{ClockQuality, Now, Timestamp};
use tz::UtcDateTime;

/// The last lines. Clones share them.
#[derive(Clone)]
pub struct KeptLog {
    ring: Arc<Mutex<Ring>>,
}

/// Lines up to a number of bytes. A new line that does not fit pushes out the oldest; they are gone, and nothing else is lost
/// with them. A line that is larger than everything is not kept.
#[derive(Debug)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    max_bytes: usize,
    /// What the wall clock was last found ahead of the monotonic one, in milliseconds.
    ahead_ms: i64,
}

#[derive(Debug)]
struct Line {
    at: Timestamp,
    level: &'static str,
    target: &'static str,
    text: Box<str>,
}

impl KeptLog {
    /// Keeps lines up to so many bytes, what they cost in RAM and in [`KeptLog::text`] included; 0: none.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { ring: Arc::new(Mutex::new(Ring { lines: VecDeque::new(), bytes: 0, max_bytes, ahead_ms: 0 })) }
    }

    /// Is there room for any line at all?
    #[must_use]
    pub fn keeps_any(&self) -> bool {
        self.lock().max_bytes > LINE_COST
    }

    /// Keeps a line that was logged at this moment of the monotonic clock. The beginning of a long one is kept. Control
    /// characters are escaped, so that it stays one line and no terminal obeys it.
    pub fn push(&self, at: Timestamp, level: &'static str, target: &'static str, text: &str) {
        let line = Line { at, level, target, text: printable(text) };
        self.lock().push(line);
    }

    /// The lines between two moments in Unix milliseconds, the first included, the second not, each with its time in UTC.
    ///
    /// Times are those of the clock as it is set now, also of lines that were logged before it was. While it was never
    /// set, nobody can tell when a line was logged, and all are taken.
    #[must_use]
    pub fn text(&self, now: Now, from_ms: i64, to_ms: i64) -> String {
        let any_time = now.wall.quality == ClockQuality::UNSET;
        let mut ring = self.lock();
        let ahead_ms = ring.ahead(now);
        let mut text = String::new();
        for line in &ring.lines {
            let ms = ahead_ms.saturating_add_unsigned(line.at.0);
            if any_time || (from_ms..to_ms).contains(&ms) {
                text += &format!("{} {:5} {}: {}\n", stamp(ms), line.level, line.target, line.text);
            }
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for KeptLog {
    /// Keeps nothing.
    fn default() -> Self {
        Self::new(0)
    }
}

impl fmt::Debug for KeptLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.lock();
        f.debug_struct("KeptLog").field("lines", &ring.lines.len()).field("bytes", &ring.bytes).finish_non_exhaustive()
    }
}

impl Ring {
    /// How far the wall clock is ahead of the monotonic one. The two are read one after the other and in whole milliseconds,
    /// so a small difference is none: a line has the same time whenever it is asked for.
    fn ahead(&mut self, now: Now) -> i64 {
        let ahead_ms = now.wall.unix_ms.saturating_sub_unsigned(now.monotonic.0);
        if ahead_ms.abs_diff(self.ahead_ms) > JITTER_MS {
            self.ahead_ms = ahead_ms;
        }
        self.ahead_ms
    }

    fn push(&mut self, line: Line) {
        let cost = line.cost();
        if cost > self.max_bytes {
            return;
        }
        self.bytes += cost;
        self.lines.push_back(line);
        while self.bytes > self.max_bytes
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.cost();
        }
    }
}

impl Line {
    fn cost(&self) -> usize {
        LINE_COST + self.target.len() + self.text.len()
    }
}

/// RFC 3339 in UTC with milliseconds; a moment that has no such name is shown as its number.
fn stamp(unix_ms: i64) -> String {
    let (seconds, ms) = (unix_ms.div_euclid(1000), unix_ms.rem_euclid(1000));
    match UtcDateTime::from_timespec(seconds, 0) {
        Ok(time) if (0..=9999).contains(&time.year()) => format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{ms:03}Z",
            time.year(),
            time.month(),
            time.month_day(),
            time.hour(),
            time.minute(),
            time.second()
        ),
        _ => format!("{unix_ms} ms"),
    }
}

/// One line for people, no longer than [`LINE_MAX`].
fn printable(text: &str) -> Box<str> {
    let mut line = String::new();
    for c in text.trim_end().chars() {
        let before = line.len();
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        if line.len() > LINE_MAX - CLIPPED.len_utf8() {
            line.truncate(before);
            line.push(CLIPPED);
            break;
        }
    }
    line.into()
}

/// Bytes of one line at most; of a longer one the beginning is kept. Not documented; chosen by us: the log's own lines are
/// far shorter, and no plugin can push out all others with a few.
const LINE_MAX: usize = 1024;

/// Stands where a line was cut.
const CLIPPED: char = '…';

/// Chosen by us: a thread may be put off between the readings of two clocks.
const JITTER_MS: u64 = 20;

/// What a line costs beside its target and text: its entry, and 16 bytes more on the heap. Its time and level have at most 37
/// bytes in the text that is sent, so that is never longer than what the lines cost.
const LINE_COST: usize = size_of::<Line>() + 16;

#[cfg(test)]
mod tests {
    use polylink_plugin_api::WallTime;
    use proptest::prelude::*;

    use super::*;

    /// 2026-01-02T03:04:05.678Z.
    const SOME_DAY: i64 = 1_767_323_045_678;

    fn now(monotonic_ms: u64, unix_ms: i64, quality: ClockQuality) -> Now {
        Now { monotonic: Timestamp(monotonic_ms), wall: WallTime { unix_ms, quality }, utc_offset_s: 0 }
    }

    /// Lines "1", "2" and so on, a second from each other.
    fn lines(n: u64, max_bytes: usize) -> KeptLog {
        let kept = KeptLog::new(max_bytes);
        for i in 1..=n {
            kept.push(Timestamp(i * 1000), "INFO", "polylink", &i.to_string());
        }
        kept
    }

    /// Which of the lines are sent between these moments, relative to the tenth second, which is [`SOME_DAY`].
    #[track_caller]
    fn check(kept: &KeptLog, quality: ClockQuality, from_s: Option<i64>, to_s: Option<i64>, expected: &str) {
        let ms = |s: i64| SOME_DAY + s * 1000;
        let (from, to) = (from_s.map_or(i64::MIN, ms), to_s.map_or(i64::MAX, ms));
        let text = kept.text(now(10_000, SOME_DAY, quality), from, to);
        let found: Vec<_> = text.lines().map(|line| line.rsplit(' ').next().unwrap_or_default()).collect();
        assert_eq!(found.join(" "), expected);
    }

    #[test]
    fn a_line_says_when_how_urgent_and_who() {
        let kept = lines(1, 1000);
        let expected = "2026-01-02T03:03:56.678Z INFO  polylink: 1\n";
        assert_eq!(kept.text(now(10_000, SOME_DAY, ClockQuality::SYNCED), i64::MIN, i64::MAX), expected);
    }

    #[test]
    fn the_oldest_lines_go_first() {
        let room_for_three = 3 * (LINE_COST + "polylink".len() + 1);
        check(&lines(5, room_for_three), ClockQuality::SYNCED, None, None, "3 4 5");
        check(&lines(5, room_for_three - 1), ClockQuality::SYNCED, None, None, "4 5");
        check(&lines(5, 0), ClockQuality::SYNCED, None, None, "");
        assert!(lines(0, 4096).keeps_any() && !lines(0, 0).keeps_any());
    }

    #[test]
    fn a_range_has_its_beginning_and_not_its_end() {
        let kept = lines(9, 4096);
        check(&kept, ClockQuality::SECONDS, Some(-8), Some(-5), "2 3 4");
        check(&kept, ClockQuality::ROUGH, Some(-2), None, "8 9");
        check(&kept, ClockQuality::SYNCED, Some(0), Some(9), "");
        check(&kept, ClockQuality::SYNCED, Some(-2), Some(-5), "");
    }

    #[test]
    fn lines_from_before_the_clock_was_set_have_their_true_time() {
        let kept = lines(1, 4096);
        let unset = kept.text(now(2000, 2000, ClockQuality::UNSET), i64::MIN, i64::MAX);
        assert!(unset.starts_with("1970-01-01T00:00:01.000Z "), "{unset}");
        let set = kept.text(now(3000, SOME_DAY, ClockQuality::SECONDS), SOME_DAY - 2000, SOME_DAY);
        assert!(set.starts_with("2026-01-02T03:04:03.678Z "), "{set}");
    }

    #[test]
    fn a_line_keeps_its_time_while_the_clocks_only_tremble() {
        let kept = lines(1, 4096);
        let at = |unix_ms| kept.text(now(10_000, unix_ms, ClockQuality::SYNCED), i64::MIN, i64::MAX);
        let first = at(SOME_DAY);
        assert_eq!(at(SOME_DAY + 1), first);
        assert_eq!(at(SOME_DAY - 20), first);
        assert!(at(SOME_DAY + 1000).starts_with("2026-01-02T03:03:57.678Z "));
    }

    #[test]
    fn without_a_clock_every_line_may_be_meant() {
        check(&lines(3, 4096), ClockQuality::UNSET, Some(100), Some(200), "1 2 3");
    }

    #[test]
    fn a_line_stays_one_line_and_is_cut() {
        assert_eq!(&*printable("a\nb\x1b[2Jc\n"), "a\\nb\\u{1b}[2Jc");
        let long = printable(&"é".repeat(2000));
        assert!(long.len() <= LINE_MAX && long.ends_with("é…"), "{}", long.len());
    }

    #[test]
    fn moments_without_a_name_are_numbers() {
        assert_eq!(stamp(i64::MAX), format!("{} ms", i64::MAX));
        assert_eq!(stamp(-1), "1969-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn what_is_sent_is_never_longer_than_what_may_be_kept(texts: Vec<String>, max in 0_usize..3000, unix_ms: i64) {
            let kept = KeptLog::new(max);
            for (at, text) in texts.iter().enumerate() {
                kept.push(Timestamp(at as u64), "ERROR", "polylink", text);
            }
            let sent = kept.text(now(u64::MAX, unix_ms, ClockQuality::UNSET), i64::MIN, i64::MAX);
            prop_assert!(sent.len() <= max && kept.lock().bytes <= max);
        }
    }
}
