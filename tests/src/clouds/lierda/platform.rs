//! What the platform knows: the device and its keys, what was asked and answered, and what it has seen.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::behaviour::Behaviour;
use super::cipher::{self, Key};
use super::commands::Asked;
use super::envelope;
use super::firmware::Upgrade;
use super::ids::OwnIds;
use super::product::{Choices, Product};
use super::session::{Content, Keys};
use super::{NODE_EUI, OPEN_ID, PRODUCT_ID, PRODUCT_KEY};
use crate::broker::{Broker, matches};
use crate::clouds::ledger::Ledger;

/// Shared by the broker's hooks, the firmware server and the simulator's face.
pub(super) struct Platform {
    pub ledger: Ledger,
    pub product: Product,
    pub counter: String,
    /// Ticks with every change of [`Seen`].
    pub changes: watch::Sender<u64>,
    broker: OnceLock<Weak<Broker>>,
    state: Mutex<State>,
}

pub(super) struct State {
    pub behaviour: Behaviour,
    pub seen: Seen,
    /// DeviceSecret, 32 hexadecimal digits; none before the device is known.
    pub secret: Option<String>,
    pub n_secrets: u32,
    pub keys: Keys,
    pub n_sessions: u32,
    /// The working connection that came last and is still there.
    pub working: Option<Working>,
    pub n_connections: u64,
    /// When it went, in Unix seconds of the platform's clock; 0 if it never did.
    pub last_offline: i64,
    /// Timestamps of checked connections that were let in.
    pub timestamps: VecDeque<i64>,
    /// The authentication account has subscribed to its topic.
    pub auth_subscribed: bool,
    /// The last successful reply: MessageId and payload.
    pub auth_reply: Option<(Json, Json)>,
    pub own_ids: OwnIds,
    /// What was sent to the device, by the text form of its MessageId.
    pub asked: HashMap<String, Asked>,
    /// HEX service calls accepted and results to them not seen yet.
    pub open_calls: u64,
    pub last_id: i64,
    /// Orders that versions of the device let go out, by their download ids.
    pub plans: BTreeMap<String, Json>,
}

/// A working connection.
#[derive(Debug)]
pub(super) struct Working {
    pub client: String,
    /// Everything that its commands need is subscribed to.
    pub reachable: bool,
    /// Whether it was checked that the authentication connection is gone.
    pub farewell_checked: bool,
}

/// What the platform has seen; a copy, taken at one moment. Of each list the last entries are kept.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Authentication requests whose form was right, oldest first.
    pub authentications: VecDeque<Authentication>,
    /// Frames of the working account whose form was right, acknowledgements included, oldest first.
    pub frames: VecDeque<Frame>,
    /// The device's answer to each command that has one, by the text form of its MessageId; the first one counts.
    pub answers: BTreeMap<String, Frame>,
    /// Counters in history batches, with the times they are said to be of, in Unix milliseconds.
    pub history: VecDeque<(u32, i64)>,
    /// Upgrade orders, oldest first.
    pub upgrades: VecDeque<Upgrade>,
    /// What the device says it runs, by module.
    pub versions: BTreeMap<String, String>,
}

/// An authentication request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// MessageId as it came.
    pub id: Json,
    /// Scheme of provisioning that the device believes in.
    pub kind: i64,
    /// Code of the reply, if there was one.
    pub code: Option<i64>,
}

/// A frame of the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Topic, without the device's own beginning.
    pub topic: String,
    /// MessageId as it came; empty text for full HEX.
    pub id: Json,
    /// HeaderCtrl; 28 for full HEX.
    pub code: i64,
    /// Payload, decrypted.
    pub payload: Json,
}

impl Seen {
    /// Frames on one topic below the device's own.
    pub fn on<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Frame> {
        self.frames.iter().filter(move |frame| frame.topic == topic)
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
    pub fn new(counter: &str, product: Product) -> Arc<Self> {
        let secret = (product.auth_type != 0).then(|| device_secret(0));
        Arc::new(Self {
            ledger: Ledger::default(),
            product,
            counter: counter.to_owned(),
            changes: watch::channel(0).0,
            broker: OnceLock::new(),
            state: Mutex::new(State {
                behaviour: Behaviour::default(),
                seen: Seen::default(),
                secret,
                n_secrets: 0,
                keys: Keys::default(),
                n_sessions: 0,
                working: None,
                n_connections: 0,
                last_offline: 0,
                timestamps: VecDeque::new(),
                auth_subscribed: false,
                auth_reply: None,
                own_ids: OwnIds::default(),
                asked: HashMap::new(),
                open_calls: 0,
                last_id: FIRST_ID,
                plans: BTreeMap::new(),
            }),
        })
    }

    pub fn attach(&self, broker: &Arc<Broker>) {
        // Set once, right after both were made.
        let _ = self.broker.set(Arc::downgrade(broker));
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

    /// What the payload of a command or report with this code is, before it is encrypted.
    pub fn content(&self, code: i64) -> Content {
        match code {
            18 | 19 | 22 | 24..=26 if self.product.choices.hex_as_bytes => Content::HexBytes,
            18 | 19 | 22 | 24..=26 => Content::HexText,
            _ => Content::Object,
        }
    }

    /// Sends a frame to whoever has subscribed to a topic below the device's own.
    pub fn publish(&self, topic: &str, id: &Json, code: i64, payload: &Json) {
        self.publish_raw(topic, &envelope::write(id, code, payload));
    }

    pub fn publish_raw(&self, topic: &str, bytes: &[u8]) {
        if let Some(broker) = self.broker() {
            broker.publish(&format!("{}{topic}", base()), bytes, 1);
        }
    }

    /// The working client, if it has subscribed to all of these topics.
    pub fn reaches(&self, topics: &[&str]) -> Result<(), String> {
        let client = self.lock().working.as_ref().map(|working| working.client.clone());
        let client = client.ok_or("the device is not connected")?;
        let filters = self.broker().map(|broker| broker.subscriptions(&client)).unwrap_or_default();
        let covered = |topic: &&&str| filters.iter().any(|filter| matches(filter, &format!("{}{topic}", base())));
        match topics.iter().find(|topic| !covered(topic)) {
            Some(missing) => Err(format!("the device has not subscribed to {missing}")),
            None => Ok(()),
        }
    }
}

impl State {
    /// A MessageId of the platform.
    pub fn next_id(&mut self) -> Json {
        self.last_id += 1;
        if self.behaviour.string_ids { json!(format!("x-{}", self.last_id)) } else { json!(self.last_id) }
    }

    /// The key of a session of the device.
    pub fn session_key(&self, choices: Choices, session_id: &str, nonce: u32) -> Result<Key, String> {
        let by_device = choices.session_by_device_secret.then_some(self.secret.as_deref()).flatten();
        let key = cipher::key(by_device.unwrap_or(PRODUCT_KEY))?;
        cipher::session_key(&key, session_id, nonce, choices.session_of_bytes)
    }

    /// The platform's clock in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(self.behaviour.clock_ahead_ms)
    }
}

/// Beginning of all topics of the device.
pub(super) fn base() -> String {
    format!("/sys/{OPEN_ID}/{PRODUCT_ID}/{NODE_EUI}/")
}

/// The n-th secret that the platform gives to the device.
pub(super) fn device_secret(n: u32) -> String {
    format!("{:032X}", FIRST_SECRET + u128::from(n))
}

/// Chosen by us: far from the ids that a device counts up from 1, so that neither can pass for the other.
const FIRST_ID: i64 = 1_921_551_830;
/// Chosen by us; a secret of the simulator only.
const FIRST_SECRET: u128 = 0x0051_A051_7051_A051_7051_A051_7000_0001;
/// Entries of each list in [`Seen`]; the oldest is forgotten. Chosen by us.
const MAX_SEEN: usize = 10_000;
