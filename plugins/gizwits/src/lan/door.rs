//! [`Door`]: a port that is opened again after a while if it cannot be opened, or breaks.

use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{RequestId, Timestamp};

use super::Outbox;

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

    pub(super) fn opened(&mut self, now: Timestamp, port: u16, outbox: &mut Outbox) {
        if matches!(self.state, State::Opening) {
            self.state = State::Open(port);
            self.backoff.connected(now);
            outbox.log(Level::Info, format!("open for applications on the LAN: {} port {port}", self.transport));
            outbox.touch_status();
        }
    }

    pub(super) fn closed(&mut self, now: Timestamp, why: &str, random: &mut Random, outbox: &mut Outbox) {
        if matches!(self.state, State::Opening | State::Open(_)) {
            let delay = self.backoff.failed(now, random);
            self.state = State::OpensAt(now.after(delay));
            let seconds = delay.div_ceil(1000);
            let transport = self.transport;
            outbox.log(
                Level::Warn,
                format!("applications on the LAN cannot use {transport}: {why}; trying again in {seconds} s"),
            );
            outbox.touch_status();
        }
    }
}

/// Not documented; chosen by us: a port in use is mostly a predecessor that is about to leave.
const FIRST_RETRY_MS: u64 = 10_000;

/// Not documented; chosen by us: rare enough not to fill a log, and soon enough for a person who has freed the port.
const MAX_RETRY_MS: u64 = 300_000;
