//! Messages that are too long for one datagram (JoyLink, 3.1).

use std::collections::BTreeMap;

use super::packet::{HEADER, Packet};

/// The datagrams of a message: one, or fragments under this id.
pub fn cut(message: &Packet, id: u8) -> Vec<Packet> {
    if message.payload.len() <= CHUNK {
        return vec![message.clone()];
    }
    let chunks: Vec<&[u8]> = message.payload.chunks(CHUNK).collect();
    let total = u8::try_from(chunks.len()).unwrap_or(u8::MAX);
    let fragment =
        |(index, chunk): (u8, &[u8])| Packet { total, index, reserved: id, payload: chunk.to_vec(), ..message.clone() };
    (1..=total).zip(chunks).map(fragment).collect()
}

/// Fragments of one sender that wait for the rest. Strict: what a sender may not do is an error.
#[derive(Debug, Default)]
pub struct Assembly {
    groups: BTreeMap<(u8, u8), Group>,
}

#[derive(Debug)]
struct Group {
    total: u8,
    opt: Vec<u8>,
    chunks: BTreeMap<u8, Vec<u8>>,
}

impl Assembly {
    /// Takes a packet; gives the message once it is whole.
    pub fn take(&mut self, packet: Packet) -> Result<Option<Packet>, String> {
        if packet.is_whole() {
            // Only discovery is known to be cut; other answers may fill the datagram that 3 allows.
            let limit = if packet.kind == DISCOVERY { CHUNK } else { DATAGRAM - HEADER - packet.opt.len().min(CHUNK) };
            let n = packet.payload.len();
            let fits = n <= limit;
            return if fits {
                Ok(Some(packet))
            } else {
                Err(format!("{n} bytes of payload in one datagram, {limit} allowed"))
            };
        }
        let key = (packet.kind, packet.reserved);
        if packet.index == 0 || packet.index > packet.total {
            return Err(format!("fragment {} of {}", packet.index, packet.total));
        }
        let last = packet.index == packet.total;
        if packet.payload.is_empty() || packet.payload.len() > CHUNK || (!last && packet.payload.len() != CHUNK) {
            return Err(format!("fragment {} of {} has {} bytes", packet.index, packet.total, packet.payload.len()));
        }
        if !self.groups.contains_key(&key) && self.groups.len() >= GROUPS {
            return Err(format!("more than {GROUPS} messages in fragments at once"));
        }
        let group = self.groups.entry(key).or_insert_with(|| Group {
            total: packet.total,
            opt: packet.opt.clone(),
            chunks: BTreeMap::new(),
        });
        if group.total != packet.total || group.opt != packet.opt {
            self.groups.remove(&key);
            return Err("fragments of one message that differ in their number or their opt".to_owned());
        }
        group.chunks.entry(packet.index).or_insert_with(|| packet.payload.clone());
        if group.chunks.len() < usize::from(group.total) {
            return Ok(None);
        }
        let payload = self.groups.remove(&key).map(|group| group.chunks.into_values().flatten().collect());
        Ok(Some(Packet { total: 0, index: 0, reserved: 0, payload: payload.unwrap_or_default(), ..packet }))
    }
}

/// Longest payload of a fragment.
pub const CHUNK: usize = 1000;
/// Longest datagram (3).
const DATAGRAM: usize = 1400;
/// Type of a discovery.
const DISCOVERY: u8 = 1;
/// Messages in fragments at once; one more is an error (3.1 allows a receiver eight).
const GROUPS: usize = 8;
