//! Messages that are too long for one datagram.
//!
//! The protocol only names the fields; the rules are those of the one sender that was published (JD device SDK 2.0,
//! `joylink_packets.c`), and ours where its receiver is silent.

use std::collections::VecDeque;

use polylink_plugin_sdk::Timestamp;

use super::{Kind, Packet, Refused, TooLong};

/// Cuts a packet whose payload is above [`CHUNK`] into fragments, each a complete packet with a copy of `opt`. A shorter
/// one stays whole. `message_id` should be random.
///
/// # Errors
/// It would take more fragments than can be counted.
pub fn fragments(packet: Packet, message_id: u8) -> Result<Vec<Packet>, TooLong> {
    if packet.payload.len() <= CHUNK {
        return Ok(vec![packet]);
    }
    let chunks = packet.payload.chunks(CHUNK);
    let total = u8::try_from(chunks.len()).map_err(|_| TooLong(packet.payload.len()))?;
    let Packet { kind, enctype, ref opt, .. } = packet;
    let fragment = |(index, chunk): (u8, &[u8])| {
        let (opt, payload) = (opt.clone(), chunk.to_vec());
        Packet { kind, total, index, enctype, reserved: message_id, opt, payload }
    };
    Ok((1..=total).zip(chunks).map(fragment).collect())
}

/// Puts fragments together again. `A` is the sender: its address and port.
///
/// Bounded: [`MAX_GROUPS`] messages of [`MAX_MESSAGE`] bytes for [`MAX_AGE_MS`]. When one more begins, the one that began
/// first is dropped, and counted like one that grew too old.
#[derive(Debug)]
pub struct Reassembly<A> {
    /// In the order in which they began.
    groups: VecDeque<Group<A>>,
    n_lost: u64,
}

#[derive(Debug)]
struct Group<A> {
    source: A,
    kind: Kind,
    message_id: u8,
    enctype: u8,
    opt: Vec<u8>,
    since: Timestamp,
    /// By index, from 1 on.
    chunks: Vec<Option<Vec<u8>>>,
    n_bytes: usize,
}

impl<A: PartialEq> Reassembly<A> {
    /// Nothing received so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { groups: VecDeque::new(), n_lost: 0 }
    }

    /// Takes a packet. Gives it back if it is whole, and the message if it is the last fragment that was missing; `None`:
    /// more fragments are needed, or it came a second time.
    ///
    /// # Errors
    /// The fragment contradicts those before it, or makes the message too long; all of the message is dropped.
    pub fn take(&mut self, now: Timestamp, source: A, packet: Packet) -> Result<Option<Packet>, Refused> {
        self.expire(now);
        if packet.total <= 1 {
            return Ok(Some(packet));
        }
        let is_of = |group: &Group<A>| {
            group.source == source && group.kind == packet.kind && group.message_id == packet.reserved
        };
        let at = match self.groups.iter().position(is_of) {
            Some(at) => at,
            None => self.begin(now, source, &packet),
        };
        match self.groups[at].add(packet) {
            Ok(false) => Ok(None),
            Ok(true) => Ok(self.groups.remove(at).map(Group::join)),
            Err(refused) => {
                self.groups.remove(at);
                Err(refused)
            }
        }
    }

    /// How many messages were dropped because fragments were missing for too long, or too many others began.
    #[must_use]
    pub const fn n_lost(&self) -> u64 {
        self.n_lost
    }

    /// Drops what is too old. [`Self::take`] does so too; calling it now and then frees the memory earlier.
    pub fn expire(&mut self, now: Timestamp) {
        while self.groups.front().is_some_and(|group| now.since(group.since) >= MAX_AGE_MS) {
            self.drop_oldest();
        }
    }

    /// When [`Self::expire`] frees something, if nothing more comes.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.groups.front().map(|group| group.since.after(MAX_AGE_MS))
    }

    fn begin(&mut self, now: Timestamp, source: A, packet: &Packet) -> usize {
        if self.groups.len() >= MAX_GROUPS {
            self.drop_oldest();
        }
        self.groups.push_back(Group {
            source,
            kind: packet.kind,
            message_id: packet.reserved,
            enctype: packet.enctype,
            opt: packet.opt.clone(),
            since: now,
            chunks: vec![None; usize::from(packet.total)],
            n_bytes: packet.opt.len(),
        });
        self.groups.len() - 1
    }

    fn drop_oldest(&mut self) {
        self.groups.pop_front();
        self.n_lost += 1;
    }
}

impl<A: PartialEq> Default for Reassembly<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> Group<A> {
    /// Takes a fragment; true: it was the last one.
    fn add(&mut self, fragment: Packet) -> Result<bool, Refused> {
        let same = usize::from(fragment.total) == self.chunks.len()
            && fragment.enctype == self.enctype
            && fragment.opt == self.opt;
        let place = usize::from(fragment.index).checked_sub(1).and_then(|at| self.chunks.get_mut(at));
        let (true, Some(place)) = (same, place) else { return Err(Refused::Fragment) };
        if place.is_none() {
            self.n_bytes += fragment.payload.len();
            if self.n_bytes > MAX_MESSAGE {
                return Err(Refused::Fragment);
            }
            *place = Some(fragment.payload);
        }
        Ok(self.chunks.iter().all(Option::is_some))
    }

    fn join(self) -> Packet {
        let Self { kind, enctype, opt, chunks, .. } = self;
        let payload = chunks.into_iter().flatten().collect::<Vec<_>>().concat();
        Packet { kind, total: 0, index: 0, enctype, reserved: 0, opt, payload }
    }
}

/// A payload above so many bytes is cut into pieces of so many (JD device SDK 2.0).
pub const CHUNK: usize = 1000;

/// Messages that are put together at a time. Not documented; chosen by us: an app sends one at a time.
pub const MAX_GROUPS: usize = 8;

/// Longest message in fragments, with its `opt`. Not documented; chosen by us: an answer to a discovery with 50
/// sub-devices, the most there can be, has about as much.
pub const MAX_MESSAGE: usize = 20_480;

/// How long fragments may be missing. Not documented; chosen by us: an app that got no answer asks again by then.
pub const MAX_AGE_MS: u64 = 5000;

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
