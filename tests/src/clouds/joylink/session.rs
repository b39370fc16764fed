//! What comes in from the device: authentication, then everything by type (JoyLink, 7).

use md5::{Digest, Md5};
use serde_json::Value as Json;
use tokio::time::Instant;

use super::behaviour::counts_down;
use super::platform::{Platform, Session, State, clock, random};
use super::product::streams;
use super::seen::{Authentication, Heartbeat, Seen, SubState, Upload, keep};
use super::server::{Conversation, Fault, Outgoing};
use crate::joylink_wire::cipher::Secret;
use crate::joylink_wire::fields::{Reader, Writer};
use crate::joylink_wire::packet::{CLOUD, Packet};
use crate::joylink_wire::timers::FEEDID;

impl Platform {
    /// Takes a packet of the device.
    pub fn take(&self, from: &mut Conversation, packet: Packet) -> Result<(), Fault> {
        let kind = packet.kind;
        let taken = self.handle(from, packet);
        self.changed();
        taken.map_err(|fault| match fault {
            Fault::Breach(text) => Fault::Breach(format!("type {kind}: {text}")),
            Fault::Close(text) => Fault::Close(format!("type {kind}: {text}")),
            Fault::Refuse(text) => Fault::Refuse(text),
        })
    }

    fn handle(&self, from: &mut Conversation, packet: Packet) -> Result<(), Fault> {
        if (packet.total, packet.index, packet.reserved) != (0, 0, 0) {
            return Err(Fault::Breach("a fragment, or a reserved byte that is not zero".to_owned()));
        }
        if packet.kind == AUTHENTICATION {
            return self.authenticate(from, &packet);
        }
        let Some(secret) = &from.secret else { return Err(Fault::Close("before authentication".to_owned())) };
        if !packet.opt.is_empty() || !matches!(packet.enctype, 3 | 4) {
            return Err(Fault::Breach(format!("{} bytes of opt and enctype {}", packet.opt.len(), packet.enctype)));
        }
        let plain = secret.decrypt(&packet.payload)?;
        let mut fields = Reader::new(&plain);
        let told = fields.word()?;
        let now = clock(from.ahead_s);
        if told.abs_diff(now) > CLOCK_TOLERANCE_S {
            self.ledger.violation(format!("type {}: its clock says {told}, the cloud told it {now}", packet.kind));
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        let session = state.session_of(from.id)?;
        if !session.snapshot && packet.kind != UPLOAD && !session.complained {
            session.complained = true;
            self.ledger.violation(format!("type {} before a snapshot", packet.kind));
        }
        match packet.kind {
            HEARTBEAT | SUB_HEARTBEAT => self.beat(state, from, &packet, fields),
            UPLOAD => self.upload(state, from, fields),
            SUB_UPLOAD => self.sub_upload(state, from, fields),
            COMMAND => self.device_answer(state, fields),
            SUB_COMMAND => self.sub_answer(state, fields),
            UNBIND => self.unbind_answer(state, fields),
            UPGRADE => self.upgrade_answer(state, fields),
            UPGRADE_STATUS => self.upgrade_status(state, from, fields),
            TIMERS => self.timers(state, from, fields),
            RESULT => self.result(state, fields),
            FETCH => self.fetch(state, from, fields),
            PROGRESS => self.progress(state, from, fields),
            VIDEO_ANSWER => self.video_answer(state, fields),
            _ => Err("nobody sends this to a cloud".to_owned()),
        }
        .map_err(Fault::Breach)
    }

    fn authenticate(&self, from: &mut Conversation, packet: &Packet) -> Result<(), Fault> {
        let close = Fault::Close;
        let Some((name, random_in_opt)) = packet.opt.split_last_chunk::<4>() else {
            return Err(close(format!("an opt of {} bytes", packet.opt.len())));
        };
        let end = name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let feedid = String::from_utf8_lossy(&name[..end]);
        if name.len() > FEEDID || feedid != self.product.device.feedid.as_str() {
            return Err(close(format!("feedid {feedid:?} is unknown")));
        }
        if packet.enctype != 3 {
            return Err(close(format!("enctype {}", packet.enctype)));
        }
        let access = self.product.device.access()?;
        let plain = access.decrypt(&packet.payload).map_err(Fault::Close)?;
        let mut fields = Reader::new(&plain);
        let (_, random_in_payload) = (fields.word().map_err(close)?, fields.word().map_err(close)?);
        fields.end().map_err(close)?;
        let random_of_device = u32::from_le_bytes(*random_in_opt);
        if random_of_device != random_in_payload {
            return Err(close(format!("randoms {random_of_device} in opt and {random_in_payload} in its payload")));
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        if counts_down(&mut state.behaviour.refuse_auths) {
            return Err(Fault::Refuse("refused".to_owned()));
        }
        let key = session_key(state.behaviour.nul_session_key);
        let ahead_s = state.behaviour.clock_ahead_s;
        let random = random() as u32;
        let in_opt = if counts_down(&mut state.behaviour.wrong_randoms) { random ^ 1 } else { random };
        let answer = Writer::at(clock(ahead_s)).word(random).bytes(&key).done();
        let head = Packet::new(CLOUD, AUTHENTICATION, 3, &in_opt.to_le_bytes(), &[]);
        self.dispatch(state, &from.line, &head, &access, &answer);
        let secret = Secret::of_bytes(&key);
        from.secret = Some(secret.clone());
        from.ahead_s = ahead_s;
        from.last_beat = Instant::now();
        let (connection, line) = (from.id, from.line.clone());
        let session = Session { connection, line, secret, ahead_s, snapshot: false, complained: false };
        if let Some(old) = state.session.replace(session).filter(|old| old.connection != from.id) {
            let _ = old.line.try_send(Outgoing::Close);
        }
        // Only the snapshot makes it count.
        self.ledger.presence(false);
        let Seen { authentications, left_out, .. } = &mut state.seen;
        keep(authentications, left_out, Authentication { random: random_of_device, connection });
        Ok(())
    }

    fn beat(
        &self,
        state: &mut State,
        from: &mut Conversation,
        packet: &Packet,
        mut fields: Reader,
    ) -> Result<(), String> {
        let (version, rssi) = (fields.short()?, fields.short()?);
        let subs = if packet.kind == SUB_HEARTBEAT { Some(self.sub_states(state, &mut fields)?) } else { None };
        fields.end()?;
        if rssi > 100 {
            return Err(format!("a signal of {rssi} per cent"));
        }
        from.last_beat = Instant::now();
        self.judge_upgrade(state, version, subs.as_deref().unwrap_or_default());
        let heartbeat = Heartbeat { version, rssi, enctype: packet.enctype, subs };
        let Seen { heartbeats, left_out, .. } = &mut state.seen;
        keep(heartbeats, left_out, heartbeat);
        self.reply_code(state, from, packet.kind);
        Ok(())
    }

    fn upload(&self, state: &mut State, from: &Conversation, mut fields: Reader) -> Result<(), String> {
        let json = self.product.conversion.read(SNAPSHOT_ANSWER, fields.rest())?;
        let code = self.uploaded(state, None, &json)?;
        let session = state.session_of(from.id)?;
        if code == 0 && !session.snapshot {
            session.snapshot = true;
            self.ledger.presence(true);
        }
        self.reply(state, from, UPLOAD, &Writer::at(clock(from.ahead_s)).word(code).done());
        Ok(())
    }

    /// Judges and books an upload; the code of its answer.
    pub fn uploaded(&self, state: &mut State, sub: Option<&str>, json: &Json) -> Result<u32, String> {
        if json["code"] != 0 {
            return Err(format!("an upload with code {}", json["code"]));
        }
        let wanted = if sub.is_none() { &self.product.streams[..] } else { &[] };
        let upload = Upload { sub: sub.map(str::to_owned), streams: streams(json, wanted)? };
        let code = state.behaviour.code(if sub.is_none() { UPLOAD } else { SUB_UPLOAD });
        let number = |value: &Json| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        if let (Some(value), 0) = (upload.value(&self.counter), code) {
            let counter = number(value).and_then(|value| u32::try_from(value).ok());
            let counter = counter.ok_or_else(|| format!("a counter of {value}"))?;
            // An upload has all streams, so one without a new counter is about something else.
            if state.last_counter.replace(counter) != Some(counter) {
                self.ledger.arrived(counter);
            }
        }
        let Seen { uploads, left_out, .. } = &mut state.seen;
        keep(uploads, left_out, upload);
        Ok(code)
    }

    /// Answers with a time and a code.
    pub fn reply_code(&self, state: &mut State, to: &Conversation, kind: u8) {
        let code = state.behaviour.code(kind);
        self.reply(state, to, kind, &Writer::at(clock(to.ahead_s)).word(code).done());
    }

    /// A list of sub-devices, all of them of this gateway.
    pub fn sub_states(&self, state: &State, fields: &mut Reader) -> Result<Vec<SubState>, String> {
        let n = fields.short()?;
        let mut subs: Vec<SubState> = Vec::new();
        for _ in 0..n {
            let (version, rssi) = (fields.short()?, fields.short()?);
            let sub = SubState { version, rssi, feedid: fields.text(FEEDID)?, state: fields.byte()? };
            self.product.sub(&sub.feedid)?;
            if sub.state > 3 || (sub.rssi > 100 && sub.rssi != NO_SIGNAL) {
                return Err(format!("{sub:?}"));
            }
            if subs.iter().any(|known| known.feedid == sub.feedid) {
                return Err(format!("sub-device {} comes twice", sub.feedid));
            }
            if state.unbound.contains(&sub.feedid) && sub.state < 2 {
                return Err(format!("sub-device {} was unbound and has state {}", sub.feedid, sub.state));
            }
            subs.push(sub);
        }
        Ok(subs)
    }
}

/// A new key: printable, or with a zero where SDKs in C trip over it.
fn session_key(with_nul: bool) -> [u8; 32] {
    let mut key = [0; 32];
    let digest = Md5::digest(random().to_le_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    key.copy_from_slice(digits.as_bytes());
    if with_nul {
        key[5] = 0;
        key[20] = 0;
    }
    key
}

/// Types (JoyLink, 3.2).
pub(super) const UPGRADE: u8 = 7;
pub(super) const UPGRADE_STATUS: u8 = 8;
pub(super) const AUTHENTICATION: u8 = 9;
pub(super) const HEARTBEAT: u8 = 10;
pub(super) const COMMAND: u8 = 11;
pub(super) const UPLOAD: u8 = 12;
pub(super) const TIMERS: u8 = 13;
pub(super) const RESULT: u8 = 14;
pub(super) const FETCH: u8 = 15;
pub(super) const PROGRESS: u8 = 16;
pub(super) const SUB_HEARTBEAT: u8 = 110;
pub(super) const SUB_COMMAND: u8 = 111;
pub(super) const SUB_UPLOAD: u8 = 112;
pub(super) const UNBIND: u8 = 113;
pub(super) const VIDEO: u8 = 200;
pub(super) const VIDEO_ANSWER: u8 = 201;
/// Business code of a snapshot, which an upload is too (JoyLink, 12).
pub(super) const SNAPSHOT_ANSWER: u32 = 104;
/// A signal that says nothing (JoyLink, 8.1).
const NO_SIGNAL: u16 = 0xFFFF;
/// How far the device's clock may be from what the cloud told it. Chosen by us: a slow machine, not a forgotten clock.
const CLOCK_TOLERANCE_S: u32 = 30;
