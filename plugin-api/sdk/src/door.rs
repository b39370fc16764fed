//! [`Door`]: a port on the LAN that is opened again after a while if it cannot be opened, or breaks. It only keeps count:
//! who has it asks the host.

use crate::backoff::Backoff;
use crate::random::Random;
use crate::session::Level;
use crate::{RequestId, Timestamp};

/// A listener or a socket.
#[derive(Debug)]
pub struct Door {
    id: RequestId,
    transport: &'static str,
    state: State,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Opening,
    Open(u16),
    OpensAt(Timestamp),
}

impl Door {
    /// A closed one; the transport is for the log.
    #[must_use]
    pub const fn new(id: RequestId, transport: &'static str) -> Self {
        Self { id, transport, state: State::Closed, backoff: Backoff::exponential(FIRST_RETRY_MS, MAX_RETRY_MS) }
    }

    /// How the host knows it.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// The port, while it is open.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        if let State::Open(port) = self.state { Some(port) } else { None }
    }

    /// When to try again, if it failed.
    #[must_use]
    pub const fn opens_at(&self) -> Option<Timestamp> {
        if let State::OpensAt(at) = self.state { Some(at) } else { None }
    }

    /// Whether it is time to try again.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.opens_at().is_some_and(|at| at <= now)
    }

    /// The host was asked to open it.
    pub const fn opening(&mut self) {
        self.state = State::Opening;
    }

    /// Closes it for good; whether the host knows it.
    pub const fn close(&mut self) -> bool {
        let known = matches!(self.state, State::Opening | State::Open(_));
        self.state = State::Closed;
        known
    }

    /// The host has opened it. Gives a line for the log; `None`: nobody waited for that, and nothing has changed.
    pub fn opened(&mut self, now: Timestamp, port: u16) -> Option<(Level, String)> {
        if !matches!(self.state, State::Opening) {
            return None;
        }
        self.state = State::Open(port);
        self.backoff.connected(now);
        Some((Level::Info, format!("open for applications on the LAN: {} port {port}", self.transport)))
    }

    /// The host has closed it, or could not open it. Gives a line for the log; `None`: that was known, and nothing has
    /// changed.
    pub fn closed(&mut self, now: Timestamp, why: &str, random: &mut Random) -> Option<(Level, String)> {
        if !matches!(self.state, State::Opening | State::Open(_)) {
            return None;
        }
        let delay = self.backoff.failed(now, random);
        self.state = State::OpensAt(now.after(delay));
        let seconds = delay.div_ceil(1000);
        let transport = self.transport;
        let text = format!("applications on the LAN cannot use {transport}: {why}; trying again in {seconds} s");
        Some((Level::Warn, text))
    }
}

/// Not documented; chosen by us: a port in use is mostly a predecessor that is about to leave.
const FIRST_RETRY_MS: u64 = 10_000;

/// Not documented; chosen by us: rare enough not to fill a log, and soon enough for a person who has freed the port.
const MAX_RETRY_MS: u64 = 300_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_that_fails_is_due_after_the_delay_and_says_so() {
        let mut random = Random::new([1; 32]);
        let mut door = Door::new(RequestId(1), "UDP");
        assert_eq!((door.port(), door.opens_at()), (None, None));
        door.opening();
        let (level, text) = door.closed(Timestamp(0), "in use", &mut random).unwrap();
        assert!(level == Level::Warn && text.contains("UDP: in use"), "{level:?} {text}");
        let at = door.opens_at().unwrap();
        assert!((8000..=12_000).contains(&at.0), "{at:?}");
        assert!(!door.is_due(Timestamp(at.0 - 1)) && door.is_due(at));
        door.opening();
        assert_eq!(door.opened(at, 80).unwrap().0, Level::Info);
        assert_eq!((door.port(), door.opens_at()), (Some(80), None));
    }

    #[test]
    fn news_that_nobody_waits_for_change_nothing() {
        let mut random = Random::new([1; 32]);
        let mut door = Door::new(RequestId(1), "UDP");
        assert_eq!(door.opened(Timestamp(0), 80), None);
        assert_eq!(door.closed(Timestamp(0), "gone", &mut random), None);
        assert!(!door.close());
        door.opening();
        assert!(door.close());
        assert_eq!(door.opened(Timestamp(0), 80), None);
        assert_eq!(door.closed(Timestamp(0), "gone", &mut random), None);
        assert_eq!((door.port(), door.opens_at()), (None, None));
    }
}
