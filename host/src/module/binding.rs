//! The binding window: whether a new owner may bind the device now.

use polylink_plugin_api::Timestamp;

/// Opens for the bindable time that the MCU tells, or stays open if that is 0 (Gizwits serial protocol, device
/// information).
#[derive(Debug, Default)]
pub struct BindingWindow {
    /// What the MCU told; none: nothing yet.
    bindable: Option<Bindable>,
    /// Opens as soon as the MCU told its bindable time.
    opens_at_start: bool,
    state: State,
}

/// How long the window stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bindable {
    /// It never closes by itself.
    Always,
    /// So many seconds.
    For(u32),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// As the bindable time says: open if that is "always".
    #[default]
    Resting,
    /// Open until then; none: without limit.
    Open(Option<Timestamp>),
    /// Open while the production test lasts.
    Held,
    /// Closed until somebody opens it, whatever the bindable time says.
    Shut,
}

impl BindingWindow {
    /// A window of which the MCU has told nothing. With `opens_at_start` it opens when the MCU first does: clients of
    /// the LAN that only know how to ask for the passcode need that, and the vendor's module does the same.
    #[must_use]
    pub fn new(opens_at_start: bool) -> Self {
        Self { opens_at_start, ..Self::default() }
    }

    /// The MCU told its bindable time. The first time counts as power-on: nothing could be bound before it. A window that
    /// somebody opened before has its limit from now on.
    pub fn learn(&mut self, now: Timestamp, bindable: Bindable) {
        let is_first = self.bindable.replace(bindable).is_none();
        match self.state {
            State::Resting if is_first && self.opens_at_start => _ = self.open(now),
            State::Open(None) if is_first => _ = self.open(now),
            _ => {}
        }
    }

    /// Opens it, or begins its time anew. Returns the seconds it stays open; 0: without limit, which is also so while
    /// the MCU has told nothing.
    pub fn open(&mut self, now: Timestamp) -> u32 {
        let (seconds, until) = match self.bindable {
            Some(Bindable::For(seconds)) => (seconds, Some(now.after(u64::from(seconds) * 1000))),
            Some(Bindable::Always) | None => (0, None),
        };
        self.state = State::Open(until);
        seconds
    }

    /// The module begins anew, after a factory reset: as at power-on.
    pub fn start_again(&mut self, now: Timestamp) {
        self.state = State::Resting;
        if self.opens_at_start && self.bindable.is_some() {
            self.open(now);
        }
    }

    /// Opens it until [`BindingWindow::shut`], for a production test.
    pub fn hold_open(&mut self) {
        self.state = State::Held;
    }

    /// Closes it until it is opened again.
    pub fn shut(&mut self) {
        self.state = State::Shut;
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        match self.state {
            State::Resting => self.bindable == Some(Bindable::Always),
            State::Open(until) => until.is_none_or(|until| now < until),
            State::Held => true,
            State::Shut => false,
        }
    }

    /// Lets the time pass; true: it has closed.
    pub fn timeout(&mut self, now: Timestamp) -> bool {
        let has_closed = matches!(self.state, State::Open(Some(until)) if until <= now);
        if has_closed {
            self.state = State::Resting;
        }
        has_closed
    }

    /// When [`BindingWindow::timeout`] is wanted.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        if let State::Open(until) = self.state { until } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(10_000);

    fn told(bindable: Bindable, opens_at_start: bool) -> BindingWindow {
        let mut window = BindingWindow::new(opens_at_start);
        window.learn(START, bindable);
        window
    }

    /// Whether it is open so many milliseconds after the start.
    #[track_caller]
    fn check(window: &mut BindingWindow, moments: &[(u64, bool)]) {
        for (ms, open) in moments {
            window.timeout(START.after(*ms));
            assert_eq!(window.is_open(START.after(*ms)), *open, "after {ms} ms: {window:?}");
        }
    }

    #[test]
    fn it_opens_at_power_on_for_the_bindable_time() {
        check(&mut told(Bindable::For(60), true), &[(0, true), (59_999, true), (60_000, false)]);
        check(&mut told(Bindable::For(60), false), &[(0, false)]);
    }

    #[test]
    fn a_bindable_time_of_zero_is_always() {
        check(&mut told(Bindable::Always, true), &[(0, true), (u64::MAX / 2, true)]);
        check(&mut told(Bindable::Always, false), &[(0, true)]);
    }

    #[test]
    fn nothing_can_be_bound_before_the_mcu_has_spoken_unless_somebody_asks() {
        let mut window = BindingWindow::new(true);
        check(&mut window, &[(0, false)]);
        assert_eq!(window.open(START), 0);
        check(&mut window, &[(u64::MAX / 2, true)]);
        window.learn(START, Bindable::For(60));
        check(&mut window, &[(59_999, true), (60_000, false)]);
    }

    #[test]
    fn power_on_is_the_first_word_of_the_mcu_not_each_of_its_restarts() {
        let mut window = told(Bindable::For(60), true);
        check(&mut window, &[(60_000, false)]);
        window.learn(START.after(70_000), Bindable::For(60));
        check(&mut window, &[(70_000, false)]);
    }

    #[test]
    fn a_user_who_asks_again_gets_the_whole_time_again() {
        let mut window = told(Bindable::For(60), false);
        assert_eq!(window.open(START), 60);
        assert_eq!(window.open(START.after(50_000)), 60);
        check(&mut window, &[(109_999, true), (110_000, false)]);
        assert_eq!(window.next_timeout(), None);
    }

    #[test]
    fn its_closing_is_told_once() {
        let mut window = told(Bindable::For(60), true);
        let due = window.next_timeout().unwrap();
        assert!(!window.timeout(Timestamp(due.0 - 1)));
        assert!(window.timeout(due));
        assert!(!window.timeout(due));
    }

    #[test]
    fn a_production_test_holds_it_open_and_shuts_it_in_the_end() {
        let mut window = told(Bindable::Always, true);
        window.hold_open();
        check(&mut window, &[(3_600_000, true)]);
        window.shut();
        check(&mut window, &[(3_600_001, false)]);
        window.open(START.after(3_600_002));
        check(&mut window, &[(3_600_003, true)]);
    }

    #[test]
    fn after_a_factory_reset_it_is_as_after_power_on() {
        let mut window = told(Bindable::For(60), true);
        window.shut();
        window.start_again(START.after(90_000));
        check(&mut window, &[(149_999, true), (150_000, false)]);
        let mut window = told(Bindable::For(60), false);
        window.start_again(START);
        check(&mut window, &[(0, false)]);
    }
}
