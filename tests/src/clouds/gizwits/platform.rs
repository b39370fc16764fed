//! What the cloud knows: registrations, the connected device, who asked it what, and what it has seen.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use serde_json::Value as Json;
use tokio::sync::watch;

use super::behaviour::Behaviour;
use crate::broker::Broker;
use crate::clouds::ledger::Ledger;
use crate::lan::frame::{self, Frame, PLAIN_REQUEST, REQUEST, VERSION};
use crate::mcu::p0::Schema;

/// Shared by the broker's hooks, the API and the simulator's face.
pub(super) struct Platform {
    pub ledger: Ledger,
    pub schema: Schema,
    pub counter: String,
    /// Ticks with every change of [`Seen`].
    pub changes: watch::Sender<u64>,
    broker: OnceLock<Weak<Broker>>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub behaviour: Behaviour,
    pub seen: Seen,
    /// All DIDs ever given, the last ones.
    pub given: VecDeque<String>,
    pub n_given: u64,
    /// The device that connected last and is still there.
    pub session: Option<Session>,
    /// Requests with a sequence number, by client and number.
    pub asked: HashMap<(String, u32), Asked>,
    /// Requests without one, oldest first: client and what was asked.
    pub plain: VecDeque<(String, Kind)>,
    last_sn: u32,
}

/// A connection of the device.
#[derive(Debug)]
pub(super) struct Session {
    pub did: String,
    pub product_key: String,
    /// Right subscriptions so far.
    pub n_subscribed: usize,
    /// A subscription was kept waiting, so there should be no next one.
    pub unacknowledged: bool,
}

#[derive(Debug)]
pub(super) struct Asked {
    pub kind: Kind,
    /// Whether the ledger has it as a command.
    pub booked: bool,
    pub answered: bool,
}

/// What a P0 asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Control,
    Read,
}

/// What the cloud has seen; a copy, taken at one moment.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// API requests, oldest first, refused ones included.
    pub requests: Vec<ApiRequest>,
    /// Devices that are registered now, by DID.
    pub registrations: BTreeMap<String, Registration>,
    /// Right answers of the device, by client id.
    pub answers: BTreeMap<String, Vec<ClientAnswer>>,
    /// How often the device asked for the number of apps.
    pub count_requests: u64,
    /// Entries of any list that found no room.
    pub left_out: u64,
}

impl Seen {
    /// The requests of one kind.
    pub fn calls(&self, call: ApiCall) -> impl Iterator<Item = &ApiRequest> {
        self.requests.iter().filter(move |request| request.call == call)
    }

    /// The answers to one client.
    pub fn answers_to(&self, client: &str) -> &[ClientAnswer] {
        self.answers.get(client).map(Vec::as_slice).unwrap_or_default()
    }
}

/// What a device can ask of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiCall {
    /// `POST /dev/devices`.
    Register,
    /// `DELETE /dev/devices`.
    Deregister,
    /// `GET /dev/devices/<did>`.
    Provision,
    /// `POST /dev/ota/v4.1/update_and_check/<did>`.
    Check,
    /// `GET /dev/ota/target_fid`.
    TargetFid,
    /// `GET /dev/jd/product/<product key>`.
    ThirdPartyProduct,
    /// `POST /dev/jd/<did>`.
    ThirdParty,
}

/// A request to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRequest {
    /// What was asked.
    pub call: ApiCall,
    /// The DID or product key at the end of the path, if the path has one.
    pub subject: String,
    /// The form in body or query; empty if it could not be read.
    pub fields: BTreeMap<String, String>,
    /// Status of the answer.
    pub status: u16,
}

/// A registered device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Product type.
    pub product_key: String,
    /// Interface address, 12 upper-case hex digits.
    pub mac: String,
    /// The shared secret.
    pub passcode: String,
}

/// What the device answered a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAnswer {
    /// Number of the request; none if the request had none.
    pub sn: Option<u32>,
    /// Nothing for a control, the status for a read.
    pub p0: Vec<u8>,
}

impl Platform {
    pub fn new(counter: &str, schema: Schema) -> Arc<Self> {
        Arc::new(Self {
            ledger: Ledger::default(),
            schema,
            counter: counter.to_owned(),
            changes: watch::channel(0).0,
            broker: OnceLock::new(),
            state: Mutex::new(State { last_sn: FIRST_SN, ..State::default() }),
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

    /// A control P0 for a value in the product's words.
    pub fn control(&self, property: &str, value: &Json) -> Result<Vec<u8>, String> {
        let attribute = self.schema.attribute(property).ok_or_else(|| format!("there is no attribute {property}"))?;
        self.schema.write_control(property, &attribute.raw(value)?)
    }

    /// Sends P0 with a sequence number, the next one if none is given.
    pub fn request(&self, client: &str, sn: Option<u32>, p0: &[u8], booked: bool) -> Result<u32, String> {
        let sn = {
            let mut state = self.lock();
            state.online()?;
            let sn = sn.unwrap_or_else(|| {
                state.last_sn = state.last_sn.wrapping_add(1);
                state.last_sn
            });
            if state.asked.len() >= MAX_ASKED {
                return Err(format!("more than {MAX_ASKED} requests"));
            }
            state.asked.insert((client.to_owned(), sn), Asked { kind: Kind::of(p0), booked, answered: false });
            sn
        };
        if booked {
            self.ledger.command_sent(&sn.to_string());
        }
        self.to_device(client, &frame::numbered(REQUEST, sn, p0).encode())?;
        Ok(sn)
    }

    /// Sends P0 without a sequence number.
    pub fn request_plain(&self, client: &str, p0: &[u8]) -> Result<(), String> {
        {
            let mut state = self.lock();
            state.online()?;
            if state.plain.len() >= MAX_ASKED {
                return Err(format!("more than {MAX_ASKED} requests"));
            }
            state.plain.push_back((client.to_owned(), Kind::of(p0)));
        }
        self.to_device(client, &Frame::new(PLAIN_REQUEST, p0).encode())
    }

    /// Sends bytes on the topic of a client.
    pub fn to_device(&self, client: &str, payload: &[u8]) -> Result<(), String> {
        let did = self.lock().online()?;
        self.publish(&format!("app2dev/{did}/{client}"), payload);
        Ok(())
    }

    /// A command of the server: version, command, data, without the length and flag of a LAN frame (6.3).
    pub fn push(&self, cmd: u16, data: &[u8]) -> Result<(), String> {
        let did = self.lock().online()?;
        self.publish(&format!("ser2cli_res/{did}"), &[&VERSION, &cmd.to_be_bytes()[..], data].concat());
        Ok(())
    }

    pub fn push_to_product(&self, cmd: u16, data: &[u8]) {
        let topic = format!("ser2cli_noti/{}", self.schema.product_key);
        self.publish(&topic, &[&VERSION, &cmd.to_be_bytes()[..], data].concat());
    }

    fn publish(&self, topic: &str, payload: &[u8]) {
        if let Some(broker) = self.broker() {
            broker.publish(topic, payload, 0);
        }
    }
}

impl State {
    /// DID of the device if it can be reached.
    fn online(&self) -> Result<String, String> {
        let session = self.session.as_ref().filter(|session| session.n_subscribed == TOPICS);
        session.map(|session| session.did.clone()).ok_or_else(|| "the device is not connected".to_owned())
    }

    pub fn device(&self) -> Option<(String, Registration)> {
        let did = self.online().ok()?;
        let registration = self.seen.registrations.get(&did)?.clone();
        Some((did, registration))
    }

    /// Puts a device on the list; its DID.
    pub fn register(&mut self, registration: Registration) -> String {
        let same =
            |known: &Registration| (&known.mac, &known.product_key) == (&registration.mac, &registration.product_key);
        let before = self.seen.registrations.iter().find(|(_, known)| same(known)).map(|(did, _)| did.clone());
        let did = match before {
            Some(did) if self.behaviour.same_did => did,
            before => {
                // A module that clings to the old DID is to be seen.
                before.and_then(|did| self.seen.registrations.remove(&did));
                self.n_given += 1;
                format!("GizwitsSim{:012}", self.n_given)
            }
        };
        self.adopt(&did, registration);
        did
    }

    pub fn adopt(&mut self, did: &str, registration: Registration) {
        if self.given.len() >= MAX_GIVEN {
            self.given.pop_front();
        }
        self.given.push_back(did.to_owned());
        self.seen.registrations.insert(did.to_owned(), registration);
    }
}

impl Seen {
    pub(super) fn note_request(&mut self, request: ApiRequest) {
        if self.requests.len() < MAX_SEEN {
            self.requests.push(request);
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn note_answer(&mut self, client: &str, answer: ClientAnswer) {
        let answers = self.answers.entry(client.to_owned()).or_default();
        if answers.len() < MAX_SEEN {
            answers.push(answer);
        } else {
            self.left_out += 1;
        }
    }
}

impl Kind {
    fn of(p0: &[u8]) -> Self {
        if p0.first() == Some(&READ) { Self::Read } else { Self::Control }
    }
}

/// First P0 bytes (Gizwits P0, 3.1).
pub(super) const READ: u8 = 0x02;
pub(super) const READ_ANSWER: u8 = 0x03;
pub(super) const REPORT: u8 = 0x04;
/// Subscriptions of a device (6.2).
pub(super) const TOPICS: usize = 3;
/// Chosen by us: four different bytes, so that none can be lost or swapped unseen.
const FIRST_SN: u32 = 0x01A2_C300;
/// Requests remembered, answered ones included; more are refused to the test. Chosen by us.
const MAX_ASKED: usize = 1_000_000;
/// DIDs remembered; the oldest is forgotten. Chosen by us.
const MAX_GIVEN: usize = 1000;
/// Entries of each list of [`Seen`]; later ones are counted. Chosen by us.
const MAX_SEEN: usize = 100_000;
