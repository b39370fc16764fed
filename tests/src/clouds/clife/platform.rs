//! What the platform knows: the device and its credentials, what was asked and answered, and what it has seen.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::behaviour::Behaviour;
use super::cipher::Key;
use super::commands::Asked;
use super::files::Upload;
use super::ids::OwnIds;
use super::operations::{Operation, Versions};
use super::product::Product;
use super::{DEV_ID, PRODUCT_CODE, frame};
use crate::broker::{Broker, matches};
use crate::clouds::ledger::Ledger;
use crate::file_server::FileServer;

/// Shared by the broker's hooks, the HTTP servers and the simulator's face.
pub(super) struct Platform {
    pub ledger: Ledger,
    pub product: Product,
    /// Id of the data point that tells reports apart; none if the model has no such point.
    pub counter: Option<String>,
    /// Ticks with every change of [`Seen`].
    pub changes: watch::Sender<u64>,
    /// Has the files that the device is to fetch.
    pub files: FileServer,
    pub uploads_at: OnceLock<SocketAddr>,
    broker: OnceLock<Weak<Broker>>,
    state: Mutex<State>,
}

pub(super) struct State {
    pub behaviour: Behaviour,
    pub seen: Seen,
    /// What the device was given with its last registration; none before, and after it was forgotten.
    pub credentials: Option<Credentials>,
    pub n_registrations: u32,
    /// The connection that came last and is still there.
    pub session: Option<Session>,
    pub n_connections: u64,
    pub own_ids: OwnIds,
    /// What was sent to the device, by msgId.
    pub asked: HashMap<i64, Asked>,
    /// Files that were put on the server.
    pub n_files: u64,
    /// productVer of the last upgrade that was told to its end.
    pub product_ver: Option<i64>,
    n_ids: i64,
}

/// What a registration gives.
#[derive(Clone)]
pub(super) struct Credentials {
    pub client: String,
    pub user: String,
    pub password: String,
    /// Key of `data` on MQTT.
    pub key: Key,
}

/// A connection of the device.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The connection request (2004) has come.
    pub greeted: bool,
    /// It was told to go.
    pub refused: bool,
}

/// What the platform has seen; a copy, taken at one moment. Of each list the last entries are kept.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Registrations whose form was right, oldest first.
    pub registrations: VecDeque<Registration>,
    /// Frames on the upward topic whose form was right, oldest first.
    pub frames: VecDeque<Frame>,
    /// The device's first answer to each query, control and unbinding that has one, by msgId.
    pub answers: BTreeMap<i64, Frame>,
    /// File operations with an event, by msgId.
    pub operations: BTreeMap<i64, Operation>,
    /// Upgrades that the device asked for: `ALL`, `FIRM` or `SUBFIRM`.
    pub upgrade_requests: VecDeque<String>,
    /// What the device said it is made of, asked or not, oldest first.
    pub versions: VecDeque<Versions>,
    /// Wills, one for each CONNECT that had one.
    pub wills: VecDeque<Frame>,
    /// Those that were published because the device went without a farewell.
    pub delivered_wills: VecDeque<Frame>,
    /// Uploads, oldest first, refused ones included.
    pub uploads: VecDeque<Upload>,
}

/// A registration request.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// msgId.
    pub id: i64,
    /// `data`, decrypted.
    pub body: Json,
    /// respCode of the answer, if it had one.
    pub code: Option<i64>,
}

/// A frame of the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Command code.
    pub cmd: i64,
    /// msgId.
    pub id: i64,
    /// Unix milliseconds.
    pub timestamp: i64,
    /// `data`, decrypted.
    pub body: Json,
}

impl Seen {
    /// Frames with this command code.
    pub fn of(&self, cmd: i64) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(move |frame| frame.cmd == cmd)
    }
}

/// Appends, and forgets the oldest if there are too many.
pub(super) fn keep<T>(list: &mut VecDeque<T>, entry: T) {
    if list.len() >= MAX_SEEN {
        list.pop_front();
    }
    list.push_back(entry);
}

impl Platform {
    pub fn new(counter: &str, product: Product, files: FileServer) -> Arc<Self> {
        Arc::new(Self {
            ledger: Ledger::default(),
            counter: product.point(counter).map(|id| id.to_string()),
            product,
            changes: watch::channel(0).0,
            files,
            uploads_at: OnceLock::new(),
            broker: OnceLock::new(),
            state: Mutex::new(State {
                behaviour: Behaviour::default(),
                seen: Seen::default(),
                credentials: None,
                n_registrations: 0,
                session: None,
                n_connections: 0,
                own_ids: OwnIds::default(),
                asked: HashMap::new(),
                n_files: 0,
                product_ver: None,
                n_ids: 0,
            }),
        })
    }

    pub fn attach(&self, broker: &Arc<Broker>, uploads_at: SocketAddr) {
        // Set once, right after all were made.
        let _ = self.broker.set(Arc::downgrade(broker));
        let _ = self.uploads_at.set(uploads_at);
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    pub fn broker(&self) -> Option<Arc<Broker>> {
        self.broker.get().and_then(Weak::upgrade)
    }

    /// Reads `data` of the device on MQTT.
    pub fn open(&self, data: &Json) -> Result<Json, String> {
        if !self.product.encrypted {
            return if data.is_object() { Ok(data.clone()) } else { Err(format!("data {data}, an object expected")) };
        }
        let text = data.as_str().ok_or_else(|| format!("data {data}, an encrypted text expected"))?;
        let key = self.lock().credentials.as_ref().map(|credentials| credentials.key.clone());
        let key = key.ok_or("the device is not registered")?;
        let plain = key.open(text).map_err(|fault| format!("data is not encrypted with the device secret: {fault}"))?;
        body(&plain)
    }

    /// Bytes of a frame of the platform on MQTT.
    pub fn downward(&self, state: &State, cmd: i64, id: i64, body: &Json) -> Result<Vec<u8>, String> {
        let form = state.behaviour.form();
        let credentials = state.credentials.as_ref().ok_or("the device is not registered")?;
        let data = if !self.product.encrypted || state.behaviour.plain_data {
            body.clone()
        } else {
            let other = Key::new(&[0x5A; 16], self.product.iv)?;
            let key = if state.behaviour.wrong_key { &other } else { &credentials.key };
            let plain = if form.blanks { frame::blank(body) } else { body.clone() };
            json!(key.seal(plain.to_string().as_bytes()))
        };
        Ok(frame::write(&form, cmd, id, state.now_ms(), &data))
    }

    /// Sends bytes on the downward topic.
    pub fn publish(&self, bytes: &[u8]) {
        if let Some(broker) = self.broker() {
            broker.publish(&downward_topic(), bytes, 1);
        }
    }

    /// Whether the device has subscribed to the downward topic.
    pub fn subscribed(&self) -> bool {
        let client = self.lock().credentials.as_ref().map(|credentials| credentials.client.clone());
        let filters = client.zip(self.broker()).map(|(client, broker)| broker.subscriptions(&client));
        filters.unwrap_or_default().iter().any(|filter| matches(filter, &downward_topic()))
    }

    /// Whether commands reach the device.
    pub fn reaches(&self) -> Result<(), String> {
        match &self.lock().session {
            None => return Err("the device is not connected".to_owned()),
            Some(session) if !session.greeted => {
                return Err("the device has not sent its connection request".to_owned());
            }
            Some(_) => {}
        }
        if self.subscribed() { Ok(()) } else { Err("the device has not subscribed".to_owned()) }
    }
}

impl State {
    /// A msgId of the platform.
    pub fn next_id(&mut self) -> i64 {
        self.n_ids += 1;
        self.n_ids + if self.behaviour.big_ids { BEYOND_DOUBLE } else { FIRST_ID }
    }

    /// The platform's clock in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(self.behaviour.clock_ahead_ms)
    }
}

/// A decrypted body: compact JSON of an object.
pub(super) fn body(plain: &[u8]) -> Result<Json, String> {
    let text = std::str::from_utf8(plain).map_err(|_| "the content of data is no text".to_owned())?;
    let body = serde_json::from_str(text).ok().filter(Json::is_object);
    let body = body.ok_or_else(|| format!("the content of data is no JSON object: {text:?}"))?;
    if frame::is_compact(text) { Ok(body) } else { Err(format!("data with blanks between its parts: {text}")) }
}

/// Where the device publishes (Clife protocol, 2).
pub(super) fn upward_topic() -> String {
    format!("/device/{PRODUCT_CODE}/{DEV_ID}/upward")
}

/// Where the platform publishes (Clife protocol, 2).
pub(super) fn downward_topic() -> String {
    format!("/device/{PRODUCT_CODE}/{DEV_ID}/downward")
}

/// Chosen by us: beyond the ids that a device chooses, so that neither can pass for the other.
const FIRST_ID: i64 = 3_000_000_000;
/// 2^53; a double holds whole numbers up to here.
const BEYOND_DOUBLE: i64 = 1 << 53;
/// Entries of each list in [`Seen`]; the oldest is forgotten. Chosen by us.
const MAX_SEEN: usize = 10_000;
