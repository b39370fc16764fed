//! What the cloud knows, and how it says something: the session, what was asked, serials, and faults on the way out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;

use super::behaviour::{Behaviour, Fate};
use super::product::Product;
use super::seen::{Answer, MAX_SEEN, Seen, SubState, keep};
use super::server::{Conversation, Line, Outgoing};
use super::timers::Operation;
use crate::clouds::ledger::Ledger;
use crate::file_server::FileServer;
use crate::joylink_wire::cipher::Secret;
use crate::joylink_wire::packet::{CLOUD, Packet};
use crate::joylink_wire::timers::Task;

/// Shared by connections and the simulator's face.
pub(super) struct Platform {
    pub ledger: Ledger,
    pub product: Product,
    pub counter: String,
    /// Ticks with every change of [`Seen`].
    pub changes: watch::Sender<u64>,
    /// Where firmware is.
    pub files: FileServer,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub behaviour: Behaviour,
    pub seen: Seen,
    /// The connection that authenticated last and is still there.
    pub session: Option<Session>,
    /// What waits for an answer, by serial: more than one where serials repeat.
    pub asked: BTreeMap<u32, VecDeque<Asked>>,
    /// The timers that the device should have, by id.
    pub timers: BTreeMap<i32, Task>,
    pub last_timer: i32,
    /// Sub-devices that were unbound.
    pub unbound: BTreeSet<String>,
    /// Firmware by path.
    pub images: BTreeMap<String, Vec<u8>>,
    /// When the upgrade that is under way was last heard of.
    pub upgrade_heard: Option<Instant>,
    /// Counter of the last upload that had one.
    pub last_counter: Option<u32>,
    n_connections: u64,
    last_serial: u32,
}

/// An authenticated connection.
#[derive(Debug)]
pub(super) struct Session {
    pub connection: u64,
    pub line: Line,
    pub secret: Secret,
    pub ahead_s: i64,
    /// The device has uploaded a snapshot.
    pub snapshot: bool,
    /// It was late with it, which was recorded.
    pub complained: bool,
}

/// Something that waits for an answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub id: String,
    pub kind: u8,
    pub biz_code: u32,
    /// Whether the ledger has it as a command.
    pub booked: bool,
    pub about: About,
}

/// What the answer is held against.
#[derive(Debug, Clone)]
pub(super) enum About {
    /// Streams of the device, or nothing but a code.
    Device,
    /// The same of a sub-device.
    Sub(String),
    Unbind(Vec<SubState>),
    Upgrade,
    /// `attribute` that comes back unchanged.
    Video(Json),
    Timers(Operation),
}

impl Platform {
    pub fn new(counter: &str, product: Product) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            ledger: Ledger::default(),
            product,
            counter: counter.to_owned(),
            changes: watch::channel(0).0,
            files: FileServer::start()?,
            state: Mutex::new(State { last_serial: FIRST_SERIAL, last_timer: FIRST_TIMER, ..State::default() }),
        }))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    pub fn next_connection(&self) -> u64 {
        let mut state = self.lock();
        state.n_connections += 1;
        state.n_connections
    }

    /// A connection has ended.
    pub fn left(&self, connection: u64) {
        let mut state = self.lock();
        state.seen.ended += 1;
        if state.session.as_ref().is_some_and(|session| session.connection == connection) {
            state.session = None;
            self.ledger.presence(false);
        }
        drop(state);
        self.changed();
    }

    /// All connections are gone.
    pub fn nobody_left(&self) {
        self.lock().session = None;
        self.ledger.presence(false);
        self.changed();
    }

    /// The cloud ends a connection, because of the device or because a test wants it; how that is done: in order.
    pub fn closes(&self, why: String, to_blame: bool) -> bool {
        let mut state = self.lock();
        let Seen { closed, left_out, .. } = &mut state.seen;
        keep(closed, left_out, why.clone());
        drop(state);
        if to_blame {
            self.ledger.violation(why);
        }
        self.changed();
        true
    }

    /// Asks the device something that it is to answer, once there is a snapshot of it; the id of the question. `build`
    /// makes the payload of a time and a serial.
    pub fn ask(
        &self,
        state: &mut State,
        (kind, biz_code): (u8, u32),
        about: About,
        booked: bool,
        build: impl FnOnce(u32, u32) -> Vec<u8>,
    ) -> Result<String, String> {
        let session = state.session.as_ref().ok_or("the device is not connected")?;
        if !session.snapshot {
            return Err("the device has uploaded no snapshot".to_owned());
        }
        let now = clock(session.ahead_s);
        if state.asked.len() + state.seen.answers.len() >= MAX_SEEN {
            return Err(format!("more than {MAX_SEEN} questions"));
        }
        if !state.behaviour.repeat_serials || state.last_serial == FIRST_SERIAL {
            state.last_serial = state.last_serial.wrapping_add(1);
        }
        let serial = state.last_serial;
        let waiting = state.asked.entry(serial).or_default();
        let plain = serial.to_string();
        let known = |id: &String| state.seen.answers.contains_key(id) || waiting.iter().any(|asked| asked.id == *id);
        let id = (0..).map(|n| if n == 0 { plain.clone() } else { format!("{plain}#{n}") }).find(|id| !known(id));
        let id = id.unwrap_or(plain);
        waiting.push_back(Asked { id: id.clone(), kind, biz_code, booked, about });
        if booked {
            self.ledger.command_sent(&id);
        }
        self.send(state, kind, &build(now, serial))?;
        Ok(id)
    }

    /// What this is the answer to; it is no longer waited for.
    pub fn answered(&self, state: &mut State, kind: u8, biz_code: u32, serial: u32) -> Result<Asked, String> {
        let waiting = state.asked.get_mut(&serial).ok_or(format!("answers serial {serial}, which nothing had"))?;
        let fits = |asked: &Asked| asked.kind == kind && answer_code(asked.biz_code) == biz_code;
        let at = waiting.iter().position(fits);
        let asked = at.and_then(|at| waiting.remove(at));
        let asked = asked.ok_or(format!("answers serial {serial} with business code {biz_code}"))?;
        if waiting.is_empty() {
            state.asked.remove(&serial);
        }
        Ok(asked)
    }

    /// Books an answer, right or wrong.
    pub fn book(&self, state: &mut State, asked: Asked, answer: Result<Answer, String>) -> Result<(), String> {
        let Asked { id, booked, .. } = asked;
        if booked {
            let result = match &answer {
                Ok(Answer { code: 0, .. }) => Ok(()),
                Ok(Answer { code, json }) => Err(format!("code {code}: {}", json["msg"])),
                Err(fault) => Err(fault.clone()),
            };
            self.ledger.command_answered(&id, result);
        }
        state.seen.answers.insert(id, answer.clone().unwrap_or_else(|fault| Answer { code: -1, json: json!(fault) }));
        answer.map(drop)
    }

    /// Sends a payload under the key of the session.
    pub fn send(&self, state: &mut State, kind: u8, plain: &[u8]) -> Result<(), String> {
        let session = state.session.as_ref().ok_or("the device is not connected")?;
        let (line, secret) = (session.line.clone(), session.secret.clone());
        let enctype = state.behaviour.enctype;
        self.dispatch(state, &line, &Packet::new(CLOUD, kind, enctype, &[], &[]), &secret, plain);
        Ok(())
    }

    /// Answers on a connection.
    pub fn reply(&self, state: &mut State, to: &Conversation, kind: u8, plain: &[u8]) {
        if let Some(secret) = &to.secret {
            let enctype = state.behaviour.enctype;
            self.dispatch(state, &to.line, &Packet::new(CLOUD, kind, enctype, &[], &[]), secret, plain);
        }
    }

    /// Sends a payload in this packet, unless the test wants something else to happen to it.
    pub fn dispatch(&self, state: &mut State, line: &Line, packet: &Packet, secret: &Secret, plain: &[u8]) {
        let (wrong_crc, wrong_key, delay) = match state.behaviour.fate(packet.kind) {
            Fate::Reset => {
                let _ = line.try_send(Outgoing::Reset);
                return;
            }
            Fate::Lost => return,
            Fate::Sent { wrong_crc, wrong_key, delay } => (wrong_crc, wrong_key, delay),
        };
        let secret = if wrong_key { &Secret::of_bytes(&NOBODYS_KEY) } else { secret };
        let mut bytes = Packet { payload: secret.encrypt(plain), ..packet.clone() }.encode();
        if wrong_crc {
            bytes[14] ^= 0xFF;
        }
        if delay.is_zero() {
            if let Err(TrySendError::Full(_)) = line.try_send(Outgoing::Bytes(bytes)) {
                self.ledger.violation("does not read what it is sent");
            }
            return;
        }
        let line = line.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // The connection may have gone meanwhile.
            let _ = line.send(Outgoing::Bytes(bytes)).await;
        });
    }
}

impl State {
    /// Whether this connection is the one that counts, and what is known of it.
    pub fn session_of(&mut self, connection: u64) -> Result<&mut Session, String> {
        let session = self.session.as_mut().filter(|session| session.connection == connection);
        session.ok_or_else(|| "said something on a connection after it had begun another one".to_owned())
    }
}

/// The business code that answers one (JoyLink, 6.2 and 11.3).
pub(super) fn answer_code(request: u32) -> u32 {
    match request {
        1000.. => request - if request >= 10_000 { 9000 } else { 900 },
        other => other,
    }
}

/// Unix seconds of a cloud whose clock is ahead.
pub(super) fn clock(ahead_s: i64) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(i64::try_from(now).unwrap_or_default() + ahead_s).unwrap_or_default()
}

/// A number that nobody can know beforehand.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Chosen by us: four different bytes, so that none can be lost or swapped unseen.
const FIRST_SERIAL: u32 = 0x01A2_C300;
/// Chosen by us, for the same reason.
const FIRST_TIMER: i32 = 0x0001_2300;
/// For packets that nobody can decrypt.
const NOBODYS_KEY: [u8; 32] = [0xA5; 32];
