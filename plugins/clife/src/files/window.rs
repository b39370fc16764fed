//! When a file operation may begin and until when its transfer must be complete.

/// When a transfer is due. All seconds are relative to the receipt of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How long to wait before it begins; 0: at once.
    pub begin_in_s: u64,
    /// When it must be complete; `None`: no limit. An installation may go on after it.
    pub deadline_in_s: Option<u64>,
    /// What part of the log is wanted; `None`: all of it.
    pub log_period: Option<LogPeriod>,
}

/// A part of a log, in seconds relative to the receipt of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPeriod {
    /// Where it begins.
    pub from_s: i64,
    /// Where it ends, not before the beginning.
    pub to_s: i64,
}

/// Why a request has no window. The texts are what the platform is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// It ends before it begins.
    #[error("bad time window")]
    Order,
    /// It has ended.
    #[error("time window expired")]
    Expired,
}

/// The window that `startTime` and `stopTime` mean for a transfer (Clife access document, our reading: time window).
///
/// # Errors
/// See [`WindowError`].
pub fn window(start: Option<i64>, stop: Option<i64>) -> Result<Window, WindowError> {
    in_order(start, stop)?;
    let deadline_in_s = match stop {
        None | Some(0) => None,
        Some(stop) => Some(u64::try_from(stop).map_err(|_| WindowError::Expired)?),
    };
    let begin_in_s = start.map_or(0, |start| u64::try_from(start).unwrap_or(0));
    Ok(Window { begin_in_s, deadline_in_s, log_period: None })
}

/// The window for the upload of a log: a start in the past selects a part of the log, up to now if there is no end, and
/// the upload begins at once. Otherwise it is as for any other file.
///
/// # Errors
/// See [`WindowError`].
pub fn log_window(start: Option<i64>, stop: Option<i64>) -> Result<Window, WindowError> {
    let Some(from_s) = start.filter(|&start| start < 0) else { return window(start, stop) };
    in_order(start, stop)?;
    let log_period = Some(LogPeriod { from_s, to_s: stop.unwrap_or(0) });
    Ok(Window { begin_in_s: 0, deadline_in_s: None, log_period })
}

impl Window {
    /// When it begins, in seconds of any clock.
    #[must_use]
    pub const fn begin_at(&self, received_s: i64) -> i64 {
        received_s.saturating_add_unsigned(self.begin_in_s)
    }

    /// When it must be complete, in seconds of the same clock.
    #[must_use]
    pub fn deadline_at(&self, received_s: i64) -> Option<i64> {
        self.deadline_in_s.map(|deadline| received_s.saturating_add_unsigned(deadline))
    }
}

impl LogPeriod {
    /// Beginning and end, in seconds of any clock.
    #[must_use]
    pub const fn at(&self, received_s: i64) -> (i64, i64) {
        (received_s.saturating_add(self.from_s), received_s.saturating_add(self.to_s))
    }
}

fn in_order(start: Option<i64>, stop: Option<i64>) -> Result<(), WindowError> {
    match (start, stop) {
        (Some(start), Some(stop)) if stop < start => Err(WindowError::Order),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(start: Option<i64>, stop: Option<i64>, expected: Result<(u64, Option<u64>), WindowError>) {
        let seen = window(start, stop).map(|window| (window.begin_in_s, window.deadline_in_s));
        assert_eq!(seen, expected, "{start:?} {stop:?}");
    }

    #[test]
    fn a_missing_end_is_no_limit_and_a_missing_start_is_now() {
        check(None, None, Ok((0, None)));
        check(Some(7), None, Ok((7, None)));
        check(None, Some(7), Ok((0, Some(7))));
        check(None, Some(-1), Err(WindowError::Expired));
        check(Some(-7), Some(0), Ok((0, None)));
    }

    #[test]
    fn an_end_before_the_start_is_judged_before_one_in_the_past() {
        check(Some(1), Some(0), Err(WindowError::Order));
        check(Some(-1), Some(-2), Err(WindowError::Order));
        check(Some(-2), Some(-1), Err(WindowError::Expired));
    }

    #[test]
    fn a_start_in_the_past_selects_a_part_of_the_log() {
        let period =
            |start, stop| log_window(start, stop).map(|window| window.log_period.map(|period| period.at(1000)));
        assert_eq!(period(Some(-600), Some(-10)), Ok(Some((400, 990))));
        assert_eq!(period(Some(-600), None), Ok(Some((400, 1000))));
        assert_eq!(period(Some(-10), Some(-600)), Err(WindowError::Order));
        assert_eq!(
            log_window(Some(-600), Some(5)).map(|window| (window.begin_in_s, window.deadline_in_s)),
            Ok((0, None))
        );
        assert_eq!(log_window(Some(5), Some(9)), window(Some(5), Some(9)));
        assert_eq!(log_window(None, None), window(None, None));
    }

    proptest! {
        #[test]
        fn no_time_overflows(start: Option<i64>, stop: Option<i64>, received: i64) {
            for window in [window(start, stop), log_window(start, stop)].into_iter().flatten() {
                let begin = window.begin_at(received);
                prop_assert!(begin >= received);
                prop_assert!(window.deadline_at(received).is_none_or(|deadline| deadline >= begin));
                let period = window.log_period.map(|period| period.at(received));
                prop_assert!(period.is_none_or(|(from, to)| from <= to));
            }
        }
    }
}
