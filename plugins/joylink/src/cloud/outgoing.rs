//! [`Outgoing`]: packets that the host could not take yet.
//!
//! The host's queue is as long as the one here, so what waits fits when the host says that there is room. Between the
//! packet that the host gave back and the moment we hear of it, it may have taken a shorter one: only then does a packet
//! overtake another.

use std::collections::VecDeque;

use polylink_plugin_sdk::RequestId;
use polylink_plugin_sdk::services::tcp;

/// The packets of one stream on their way to the host.
///
/// Bounded: [`MAX_PACKETS`] and [`MAX_BYTES`] wait, and no more is taken. What the host gives back beyond that is lost.
#[derive(Debug)]
pub struct Outgoing {
    stream: RequestId,
    /// The host had no room, and has not said since that it has.
    is_blocked: bool,
    waiting: VecDeque<Vec<u8>>,
    /// Packets at the front of `waiting` that the host gave back: they are older than those behind them.
    n_given_back: usize,
    n_bytes: usize,
}

impl Outgoing {
    /// Nothing waits.
    #[must_use]
    pub const fn new(stream: RequestId) -> Self {
        Self { stream, is_blocked: false, waiting: VecDeque::new(), n_given_back: 0, n_bytes: 0 }
    }

    /// Whether a packet is taken that is not extraordinarily long.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.is_blocked || self.fits(TYPICAL)
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// Takes a packet, to wait or to be sent at once; `false`: there is no room.
    pub fn send(&mut self, bytes: Vec<u8>, send: impl FnOnce(tcp::Request)) -> bool {
        if !self.is_blocked {
            send(tcp::Request::Send(self.stream, bytes));
            return true;
        }
        let fits = self.fits(bytes.len());
        if fits {
            self.n_bytes += bytes.len();
            self.waiting.push_back(bytes);
        }
        fits
    }

    /// The host had no room for this packet; `false`: neither have we, and it is lost.
    pub fn given_back(&mut self, bytes: Vec<u8>) -> bool {
        self.is_blocked = true;
        let fits = self.fits(bytes.len());
        if fits {
            self.n_bytes += bytes.len();
            self.waiting.insert(self.n_given_back, bytes);
            self.n_given_back += 1;
        }
        fits
    }

    /// The host has room again.
    pub fn drained(&mut self, mut send: impl FnMut(tcp::Request)) {
        self.is_blocked = false;
        (self.n_given_back, self.n_bytes) = (0, 0);
        for bytes in self.waiting.drain(..) {
            send(tcp::Request::Send(self.stream, bytes));
        }
    }

    fn fits(&self, n_bytes: usize) -> bool {
        self.waiting.len() < MAX_PACKETS && self.n_bytes + n_bytes <= MAX_BYTES
    }
}

/// Packets that wait. Not documented; chosen by us: more than a device has to say while a connection hangs that is about
/// to be given up.
pub const MAX_PACKETS: usize = 64;

/// Bytes that wait: as many as the host takes at once (`polylink.tcp/1`).
pub const MAX_BYTES: usize = 256 * 1024;

/// What a device usually sends is shorter. Not documented; chosen by us.
const TYPICAL: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: RequestId = RequestId(7);

    /// Bytes of what is sent.
    fn sent(outgoing: &mut Outgoing) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        outgoing.drained(|request| match request {
            tcp::Request::Send(STREAM, bytes) => sent.push(bytes),
            other => panic!("{other:?}"),
        });
        sent
    }

    fn never(request: tcp::Request) {
        panic!("{request:?}");
    }

    #[test]
    fn what_came_back_goes_before_what_was_said_later() {
        let mut outgoing = Outgoing::new(STREAM);
        assert!(outgoing.given_back(vec![1]));
        assert!(outgoing.send(vec![3], never));
        assert!(outgoing.given_back(vec![2]));
        assert!(outgoing.send(vec![4], never));
        assert_eq!(sent(&mut outgoing), [[1], [2], [3], [4]]);
        assert!(outgoing.given_back(vec![3]) && outgoing.given_back(vec![4]), "the host had no room for half of it");
        assert_eq!(sent(&mut outgoing), [[3], [4]]);
        assert_eq!(sent(&mut outgoing), [[0_u8; 0]; 0]);
        assert_eq!(outgoing.n_bytes(), 0);
    }

    #[test]
    fn there_is_room_for_64_packets_and_256_kib() {
        let mut outgoing = Outgoing::new(STREAM);
        assert!(outgoing.given_back(vec![0]));
        assert!((1..MAX_PACKETS).all(|_| outgoing.has_room() && outgoing.send(vec![0], never)));
        assert!(!outgoing.has_room() && !outgoing.send(vec![0], never) && !outgoing.given_back(vec![0]));
        assert_eq!(sent(&mut outgoing).len(), MAX_PACKETS);
        assert!(outgoing.has_room());

        assert!(outgoing.given_back(vec![0; MAX_BYTES - TYPICAL]));
        assert!(outgoing.has_room());
        assert!(outgoing.send(vec![0; 1], never));
        assert!(!outgoing.has_room() && !outgoing.send(vec![0; TYPICAL], never));
        assert!(outgoing.send(vec![0; TYPICAL - 1], never), "a shorter one still fits");
        assert_eq!(outgoing.n_bytes(), MAX_BYTES);
    }

    proptest! {
        #[test]
        fn nothing_that_was_taken_is_lost_and_what_waits_is_bounded(
            steps in proptest::collection::vec((0_u8..3, 0_usize..70_000), 0..200),
        ) {
            let mut outgoing = Outgoing::new(STREAM);
            let (mut n_taken, mut n_sent) = (0, 0);
            for (step, length) in steps {
                match step {
                    0 => n_taken += usize::from(outgoing.send(vec![0; length], |_| n_sent += 1)),
                    1 => n_taken += usize::from(outgoing.given_back(vec![0; length])),
                    _ => outgoing.drained(|_| n_sent += 1),
                }
                prop_assert!(outgoing.n_bytes() <= MAX_BYTES && outgoing.waiting.len() <= MAX_PACKETS);
                prop_assert_eq!(outgoing.n_bytes(), outgoing.waiting.iter().map(Vec::len).sum::<usize>());
            }
            outgoing.drained(|_| n_sent += 1);
            prop_assert_eq!(n_sent, n_taken);
        }
    }
}
