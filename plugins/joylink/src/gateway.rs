//! [`Gateway`]: the sub-devices of a gateway: who is bound, who waits to be, and what apps, the cloud and the host may
//! change about it.
//!
//! The host says which sub-devices there are ([`Gateway::seen`]), and carries out the requests that come back: it lets
//! join, accepts and removes. A sub-device is found in the host's list by product type and address.
//!
//! Invariants: only one that asked to join, or was announced, is ever bound. No two records have the same identity, nor the
//! same product type and address. Only a sub-device that this gateway had bound is ever removed: one that the host
//! accepted without a record here may belong to another cloud, so it counts as waiting.
//!
//! Left to the session: that the gateway itself is bound, that an identity is not the gateway's own, and the storage.
//!
//! Module map: `record` one sub-device · `stored` what survives a restart.

mod record;
mod stored;

use polylink_plugin_sdk::Timestamp;
use polylink_plugin_sdk::services::subdevices::{Request, Subdevice};

use crate::wire::discovery::{Protocol, TransferType};
use crate::wire::{AddSubDevice, Authorization, Code, SubAnswer, SubBeat, SubDevice, SubState, Unbind, biz};
use record::Name;

pub use record::Record;
pub use stored::Damage;

/// The sub-devices of a gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    max: usize,
    records: Vec<Record>,
    /// In the host's last list, and not bound. At most [`WAITING_MAX`]: announced ones, then the first ones of the list;
    /// what is beyond is not shown and cannot be bound before the list changes.
    waiting: Vec<(Name, Subdevice)>,
    announced: Vec<Announced>,
    leaving: Vec<Leaving>,
    changed: bool,
}

/// Announced by an app; it may be bound before it shows up, as those that only transmit never ask to join.
#[derive(Clone, Debug)]
struct Announced {
    name: Name,
    protocol: Protocol,
    until: Timestamp,
}

/// No longer bound, and the host was not yet seen to have let it go.
#[derive(Clone, Debug)]
struct Leaving {
    name: Name,
    asked: Asked,
}

/// Whether the host was asked to let a sub-device go. It is not asked again at once: its list may be older than the
/// request, and when the request is carried out the index may become another's.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// Not since the start.
    No,
    /// Yes, since its last list.
    Now,
    /// Yes, at this time or a little before.
    At(Timestamp),
}

impl Gateway {
    /// No sub-devices, and room for so many, but no more than [`SUBDEVICES_MAX`].
    #[must_use]
    pub fn new(max_subdevices: usize) -> Self {
        Self {
            max: max_subdevices.min(SUBDEVICES_MAX),
            records: Vec::new(),
            waiting: Vec::new(),
            announced: Vec::new(),
            leaving: Vec::new(),
            changed: false,
        }
    }

    /// Whether what is to be stored differs from the last time that this was asked.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// All that are bound, in the order in which they were.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// The one with this identity, or else the first with this address: some apps put that in its place (103).
    #[must_use]
    pub fn by_feedid(&self, text: &str) -> Option<&Record> {
        let by_mac = || self.records.iter().find(|record| record.name.mac.eq_ignore_ascii_case(text));
        self.records.iter().find(|record| record.feedid.as_str() == text).or_else(by_mac)
    }

    /// The one that the host calls so.
    #[must_use]
    pub fn by_device(&self, index: u32) -> Option<&Record> {
        self.records.iter().find(|record| record.device() == Some(index))
    }

    /// How many could be bound at once: they are in the host's list, and nobody has bound them.
    #[must_use]
    pub const fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The one with this product type and address.
    #[must_use]
    pub fn by_name(&self, productuuid: &str, mac: &str) -> Option<&Record> {
        let name = Name::new(productuuid, mac)?;
        self.records.iter().find(|record| record.name == name)
    }

    /// All that are bound, as heartbeats show them (110): also those that are away.
    #[must_use]
    pub fn beats(&self) -> Vec<SubBeat> {
        self.records.iter().map(Record::beat).collect()
    }

    /// All that are bound, then all that wait, as discovery shows them. Which of them an app looks for, its request
    /// tells: [`crate::wire::DiscoveryRequest::wants`].
    #[must_use]
    pub fn discovery(&self, trantype: TransferType) -> Vec<SubDevice> {
        let bound = self.records.iter().map(|record| record.shown(trantype));
        let waiting = self.waiting.iter().map(|(name, sub)| record::shown_waiting(name, trantype, sub));
        bound.chain(waiting).collect()
    }

    /// The host's list is now this. Of two with the same product type and address the first counts; those whose product
    /// type or address is empty or too long for a record are left out.
    ///
    /// The host is asked to accept what was bound before it showed up, and to remove what was unbound and is still
    /// accepted.
    pub fn seen(&mut self, now: Timestamp, list: &[Subdevice]) -> Vec<Request> {
        self.forget_announced(now);
        self.waiting.clear();
        self.records.iter_mut().for_each(|record| record.listed = None);
        let mut requests = Vec::new();
        let mut still_here = Vec::new();
        for sub in list {
            let Some(name) = Name::of(sub) else { continue };
            let leaving = self.leaving.iter_mut().find(|leaving| leaving.name == name);
            if let Some(record) = self.records.iter_mut().find(|record| record.name == name) {
                if record.listed.is_none() {
                    requests.extend((!sub.accepted).then_some(Request::Accept(sub.index)));
                    let protocol = record::protocol(sub.radio).unwrap_or(record.protocol);
                    self.changed |= record.protocol != protocol;
                    record.protocol = protocol;
                    record.listed = Some(sub.clone());
                }
            } else if let Some(leaving) = leaving.filter(|_| sub.accepted) {
                match leaving.asked {
                    Asked::At(asked) if now.since(asked) < REMOVE_AGAIN_MS => {}
                    Asked::Now => leaving.asked = Asked::At(now),
                    Asked::No | Asked::At(_) => {
                        requests.push(Request::Remove(sub.index));
                        leaving.asked = Asked::At(now);
                    }
                }
                still_here.push(name);
            } else if !self.waiting.iter().any(|(waiting, _)| *waiting == name) {
                self.waiting.push((name, sub.clone()));
            }
        }
        let n_leaving = self.leaving.len();
        self.leaving.retain(|leaving| still_here.contains(&leaving.name));
        self.changed |= self.leaving.len() != n_leaving;
        let announced = &self.announced;
        self.waiting.sort_by_key(|(name, _)| !announced.iter().any(|announced| announced.name == *name));
        self.waiting.truncate(WAITING_MAX);
        requests
    }

    /// An app announces a sub-device (105): it may join from now on, and be bound for [`ANNOUNCED_MS`].
    ///
    /// Code 9 if product type or address is unusable, 17 if there would be no room for it anyway.
    pub fn add(&mut self, now: Timestamp, order: &AddSubDevice) -> (SubAnswer, Vec<Request>) {
        let answer = |code| sub_answer(code, &order.productuuid, &order.mac);
        self.forget_announced(now);
        let Some(name) = Name::new(&order.productuuid, &order.mac) else {
            return (answer(Code::SUB_DEVICE_FAILED), Vec::new());
        };
        match self.records.iter().find(|record| record.name == name) {
            // Nothing to wait for.
            Some(record) if record.listed.as_ref().is_some_and(|sub| sub.accepted) => {
                return (answer(Code::SUCCESS), Vec::new());
            }
            None if self.is_full() => return (answer(Code::LIMIT_REACHED), Vec::new()),
            _ => {}
        }
        let requests = vec![name.admit()];
        self.announced.retain(|announced| announced.name != name);
        if self.announced.len() >= ANNOUNCED_MAX {
            self.announced.remove(0);
        }
        self.announced.push(Announced { name, protocol: order.protocol, until: now.after(ANNOUNCED_MS) });
        (answer(Code::SUCCESS), requests)
    }

    /// An app binds a sub-device (102): one that asks to join, was announced, or is bound already, which replaces its
    /// identity and keys. Without `lancon` it may be controlled on the local network; the app gave it a key for that.
    ///
    /// Code 5 if the order is unusable, 16 if another sub-device has this identity, 19 if nobody knows this one, 17 if
    /// there is no room.
    pub fn authorize(&mut self, now: Timestamp, order: Authorization) -> (SubAnswer, Vec<Request>) {
        let (productuuid, mac) = (order.productuuid.clone().unwrap_or_default(), order.mac.clone().unwrap_or_default());
        let (code, requests) = match self.bind(now, order, &productuuid, &mac) {
            Ok(request) => (Code::SUCCESS, request.into_iter().collect()),
            Err(code) => (code, Vec::new()),
        };
        (sub_answer(code, &productuuid, &mac), requests)
    }

    /// The authorization of this one could not be stored: it is bound as it was before, or waits again.
    pub fn take_back(&mut self, productuuid: &str, mac: &str, before: Option<Record>) {
        let Some(name) = Name::new(productuuid, mac) else { return };
        let Some(at) = self.records.iter().position(|record| record.name == name) else { return };
        self.changed = true;
        let listed = self.records[at].listed.take();
        if let Some(before) = before {
            self.records[at] = Record { listed, ..before };
        } else {
            let Record { name, .. } = self.records.remove(at);
            if let Some(sub) = listed.filter(|_| self.waiting.len() < WAITING_MAX) {
                self.waiting.push((name, sub));
            }
        }
    }

    /// The cloud unbinds sub-devices (113). Only for orders with [`biz::UNBIND`].
    ///
    /// Whom nobody knows is answered with state 3, also if it was unbound a while ago.
    pub fn unbind(&mut self, order: &Unbind) -> (Unbind, Vec<Request>) {
        let mut requests = Vec::new();
        let mut removed = Vec::new();
        let mut subs = order.subs.clone();
        for sub in &mut subs {
            if let Some(at) = self.records.iter().position(|record| record.feedid == sub.feedid) {
                requests.extend(self.remove(at));
                removed.push(sub.feedid);
            }
            let is_removed = removed.contains(&sub.feedid);
            sub.state = if is_removed { SubState::UNBOUND } else { SubState::UNKNOWN };
        }
        (Unbind { biz_code: biz::UNBOUND, serial: order.serial, subs }, requests)
    }

    /// A factory reset: nobody is bound or announced any more. That they are to be removed is still stored.
    pub fn forget_all(&mut self) -> Vec<Request> {
        self.announced.clear();
        let mut requests = Vec::new();
        while !self.records.is_empty() {
            requests.extend(self.remove(0));
        }
        requests
    }

    fn bind(
        &mut self,
        now: Timestamp,
        order: Authorization,
        productuuid: &str,
        mac: &str,
    ) -> Result<Option<Request>, Code> {
        self.forget_announced(now);
        let Authorization { feedid, accesskey, localkey, lancon, opt, .. } = order;
        let opt_is_usable = opt.as_ref().is_none_or(|opt| opt.is_object() && opt.get().len() <= OPT_MAX);
        let name = Name::new(productuuid, mac).filter(|_| opt_is_usable && !feedid.is_empty());
        let name = name.ok_or(Code::AUTHORIZATION_FAILED)?;
        if self.records.iter().any(|record| record.feedid == feedid && record.name != name) {
            return Err(Code::ALREADY_BOUND);
        }
        let lancon = lancon.is_none_or(|flag| flag.0);
        let at = match self.records.iter().position(|record| record.name == name) {
            Some(at) => {
                let old = &self.records[at];
                self.records[at] = Record { feedid, accesskey, localkey, lancon, opt, ..old.clone() };
                at
            }
            None => {
                let waiting = self.waiting.iter().position(|(waiting, _)| *waiting == name);
                let announced = self.announced.iter().find(|announced| announced.name == name);
                if waiting.is_none() && announced.is_none() {
                    return Err(Code::NO_SUCH_SUB_DEVICE);
                }
                if self.is_full() {
                    return Err(Code::LIMIT_REACHED);
                }
                let protocol = announced.map_or(record::DEFAULT_PROTOCOL, |announced| announced.protocol);
                let listed = waiting.map(|at| self.waiting.remove(at).1);
                let protocol = listed.as_ref().and_then(|sub| record::protocol(sub.radio)).unwrap_or(protocol);
                self.records.push(Record { name, protocol, feedid, accesskey, localkey, lancon, opt, listed });
                self.records.len() - 1
            }
        };
        let record = &self.records[at];
        self.announced.retain(|announced| announced.name != record.name);
        self.leaving.retain(|leaving| leaving.name != record.name);
        self.changed = true;
        Ok(match &record.listed {
            Some(sub) => (!sub.accepted).then_some(Request::Accept(sub.index)),
            // It has not shown up yet, or is away: this is how it gets (back) in.
            None => Some(record.name.admit()),
        })
    }

    /// The request is repeated with later lists until the host has done it.
    fn remove(&mut self, at: usize) -> Option<Request> {
        let Record { name, listed, .. } = self.records.remove(at);
        self.changed = true;
        if self.leaving.len() >= LEAVING_MAX {
            self.leaving.remove(0);
        }
        let asked = if listed.is_some() { Asked::Now } else { Asked::No };
        self.leaving.push(Leaving { name, asked });
        listed.map(|sub| Request::Remove(sub.index))
    }

    fn forget_announced(&mut self, now: Timestamp) {
        self.announced.retain(|announced| announced.until > now);
    }

    const fn is_full(&self) -> bool {
        self.records.len() >= self.max
    }
}

fn sub_answer(code: Code, productuuid: &str, mac: &str) -> SubAnswer {
    SubAnswer { code, msg: code.text().to_owned(), productuuid: productuuid.to_owned(), mac: mac.to_owned() }
}

/// The most sub-devices that a gateway can be made for (not documented; chosen by us: what is stored stays below the
/// 64 KiB of a stored value, whatever is in it). JoyLink's own gateways have up to 50.
pub const SUBDEVICES_MAX: usize = 64;

/// Sub-devices that wait to be bound (not documented; chosen by us: more than anybody binds at once).
pub const WAITING_MAX: usize = 64;

/// How long an announced sub-device may be bound (not documented; chosen by us: the longest time that a host listens for
/// joins; apps need seconds, people minutes).
pub const ANNOUNCED_MS: u64 = 600_000;

/// Announced sub-devices (not documented; chosen by us). Beyond, the oldest is forgotten, and has to be announced again.
const ANNOUNCED_MAX: usize = 16;

/// Unbound sub-devices that the host has not let go (not documented; chosen by us: as many as were bound). Beyond, the
/// oldest is forgotten: if the host still accepts it, it counts as waiting.
const LEAVING_MAX: usize = SUBDEVICES_MAX;

/// Not documented; chosen by us: longer than a host takes to remove a sub-device and say so.
const REMOVE_AGAIN_MS: u64 = 10_000;

/// Bytes of `opt` (not documented; chosen by us: several times what apps put there). A longer one is refused.
const OPT_MAX: usize = 512;

#[cfg(test)]
mod tests;
