//! The platform behind the broker: who may come in, what it answers, and what it writes down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::behaviour::Behaviour;
use super::envelope::{self, Message};
use super::upgrades::{UPGRADE_FAILED, Upgrades};
use super::{APPLICATION, DEVICE, MODEL, SECRET, TYPE};
use crate::broker::Broker;
use crate::broker::hooks::Hooks;
use crate::broker::packet::{Connect, Publish};
use crate::clouds::ledger::Ledger;

/// Shared by the broker's hooks and the simulator's face.
pub(super) struct Platform {
    pub ledger: Ledger,
    /// Ticks with every message of the device.
    pub changes: watch::Sender<u64>,
    counter: String,
    broker: OnceLock<Weak<Broker>>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub behaviour: Behaviour,
    /// Well-formed messages of the device, by action.
    pub heard: BTreeMap<i64, Vec<Message>>,
    /// Orders of firmware, and what became of them.
    pub upgrades: Upgrades,
    /// Sent requests of the 2xx and 3xx kind: what the answer must say.
    pub asked: BTreeMap<String, Asked>,
    /// Message ids of answered 1xx requests: an id is never used for something else.
    used: BTreeMap<String, i64>,
    last_mid: u64,
}

/// A request of the platform or of an application.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub from: String,
    pub action: i64,
    pub cmd: Option<String>,
}

impl Platform {
    pub fn new(counter: &str) -> Arc<Self> {
        Arc::new(Self {
            ledger: Ledger::default(),
            changes: watch::channel(0).0,
            counter: counter.to_owned(),
            broker: OnceLock::new(),
            state: Mutex::default(),
        })
    }

    pub fn attach(&self, broker: &Arc<Broker>) {
        // Set once, right after both were made.
        let _ = self.broker.set(Arc::downgrade(broker));
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request to the private topic of the device; its message id, `None` if the device cannot be reached.
    pub fn ask(&self, from: &str, action: i64, data: &Json) -> Option<String> {
        let mid = self.next_mid();
        let asked = Asked { from: from.to_owned(), action, cmd: data["cmd"].as_str().map(str::to_owned) };
        if action == 301 {
            self.ledger.command_sent(&mid);
        }
        {
            let mut state = self.lock();
            if state.asked.len() >= MAX_MESSAGES {
                state.asked.pop_first();
            }
            state.asked.insert(mid.clone(), asked);
        }
        self.deliver(&envelope::write(&mid, from, DEVICE, now(), action, data)).then_some(mid)
    }

    /// Sends a message to everyone who subscribed to a broadcast topic.
    pub fn broadcast(&self, topic: &str, action: i64, data: &Json) {
        let message = envelope::write(&self.next_mid(), "system", "", now(), action, data);
        if let Some(broker) = self.broker.get().and_then(Weak::upgrade) {
            broker.publish(topic, &message, 1);
        }
    }

    /// Sends bytes, right or wrong, to the private topic, whose name is the device id.
    pub fn deliver(&self, payload: &[u8]) -> bool {
        self.broker.get().and_then(Weak::upgrade).is_some_and(|broker| broker.deliver(DEVICE, DEVICE, payload, 1))
    }

    fn next_mid(&self) -> String {
        let mut state = self.lock();
        state.last_mid += 1;
        format!("{}{:04}", now(), state.last_mid)
    }

    fn take(&self, message: Message) -> Result<(), String> {
        let mut state = self.lock();
        let heard = state.heard.entry(message.action).or_default();
        if heard.len() < MAX_MESSAGES {
            heard.push(message.clone());
        }
        match message.action {
            100..=105 => self.request(state, &message),
            200 | 201 => answer(&state, &message),
            300 => {
                drop(state);
                self.business(&message)
            }
            other => Err(format!("action {other}, which no device sends")),
        }
    }

    fn request(&self, mut state: MutexGuard<'_, State>, message: &Message) -> Result<(), String> {
        let action = message.action;
        if !matches!(message.to.as_str(), "" | "system") {
            return Err(format!("{action} to {:?}, the platform is \"system\"", message.to));
        }
        content(message)?;
        let before = state.used.insert(message.mid.clone(), action);
        if before.is_some_and(|before| before != action) {
            return Err(format!("mid {} was used for another action before", message.mid));
        }
        if state.used.len() > MAX_MESSAGES {
            state.used.pop_first();
        }
        // What is sent again under its mid was judged before.
        let is_silent = state.behaviour.silent_requests > 0;
        let fits = if before.is_none() { state.judge(message, !is_silent) } else { Ok(()) };
        if is_silent {
            state.behaviour.silent_requests -= 1;
            return fits;
        }
        let code = state.behaviour.codes.get(&action).copied().unwrap_or(0);
        let mut data = json!({"code": code, "msg": ""});
        if code == 0 {
            state.behaviour.answer(action, &mut data);
            if let (103, Some(firmware)) = (action, state.behaviour.firmware.clone()) {
                state.upgrades.ordered(&firmware);
            }
        }
        let answered_as = if action == 105 && state.behaviour.answer_105_as_104 { 104 } else { action };
        let reply = envelope::write(&message.mid, "system", DEVICE, now(), answered_as, &data);
        let delay = state.behaviour.delay;
        drop(state);
        let broker = self.broker.get().cloned();
        if delay.is_zero() {
            self.deliver(&reply);
        } else {
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                if let Some(broker) = broker.and_then(|broker| broker.upgrade()) {
                    broker.deliver(DEVICE, DEVICE, &reply, 1);
                }
            });
        }
        fits
    }

    /// A 300: a report, or the application's answer to a 301.
    fn business(&self, message: &Message) -> Result<(), String> {
        let cmd = message.data.get("cmd").and_then(Json::as_str).ok_or("300 without a cmd")?;
        let payload = message.data.get("payload").and_then(Json::as_object);
        let asked = self.lock().asked.get(&message.mid).cloned();
        let Some(asked) = asked else {
            if !message.to.is_empty() && message.to != APPLICATION {
                return Err(format!("300 to {:?}, which is not bound", message.to));
            }
            if let Some(counter) = payload.filter(|_| cmd == "report").and_then(|payload| payload.get(&self.counter)) {
                let counter = counter.as_u64().and_then(|counter| u32::try_from(counter).ok());
                self.ledger
                    .arrived(counter.ok_or_else(|| format!("{} is no 32-bit number: {message:?}", self.counter))?);
            }
            return Ok(());
        };
        if asked.action != 301 || message.to != asked.from || asked.cmd.as_deref() != Some(cmd) {
            return Err(format!("answer {message:?} does not fit {asked:?}"));
        }
        let payload = payload.ok_or("answer to a 301 without a payload")?;
        let code = payload.get("code").and_then(Json::as_i64).ok_or("answer to a 301 without a code")?;
        let result =
            if code == 0 { Ok(()) } else { Err(format!("code {code}: {}", payload.get("msg").unwrap_or(&Json::Null))) };
        // The transport repeats a message whose acknowledgement got lost, so the same answer may come again.
        let before =
            self.ledger.with(|entries| entries.commands.get(&message.mid).and_then(|sent| sent.answer.clone()));
        if before.is_none_or(|(before, _)| before != result) {
            self.ledger.command_answered(&message.mid, result);
        }
        Ok(())
    }
}

impl Hooks for Platform {
    fn connect(&self, connect: &Connect) -> u8 {
        let live = self
            .broker
            .get()
            .and_then(Weak::upgrade)
            .is_some_and(|broker| broker.online().iter().any(|id| id == DEVICE));
        if connect.level != 4 {
            self.ledger.violation(format!("MQTT level {}, 3.1.1 expected", connect.level));
            UNACCEPTABLE_VERSION
        } else if connect.client_id != DEVICE || (live && !self.lock().behaviour.takeover) {
            IDENTIFIER_REJECTED
        } else if connect.username.as_deref() != Some(MODEL) || !right_password(connect.password.as_deref()) {
            BAD_CREDENTIALS
        } else {
            0
        }
    }

    fn subscribe(&self, _client: &str, filter: &str, qos: u8) -> Option<u8> {
        let allowed = filter == TYPE || filter == format!("{TYPE}/{MODEL}");
        if !allowed {
            self.ledger.violation(format!("subscribed to {filter:?}"));
        }
        allowed.then_some(qos)
    }

    fn message(&self, _client: &str, message: &Publish) -> Result<(), String> {
        let taken = if message.topic != "device" {
            Err(format!("published on {:?}, only \"device\" is allowed", message.topic))
        } else if message.retain {
            Err("published with retain".to_owned())
        } else {
            Message::parse(&message.payload, DEVICE).and_then(|message| self.take(message))
        };
        let verdict = match taken {
            // The gateway drops what it does not understand; only a foreign topic ends the connection.
            Err(breach) if message.topic == "device" => {
                self.ledger.violation(breach);
                Ok(())
            }
            other => other,
        };
        self.changes.send_modify(|n| *n += 1);
        verdict
    }

    fn violation(&self, text: &str) {
        self.ledger.violation(text);
    }

    fn routes(&self) -> bool {
        false
    }

    fn presence(&self, _client: &str, online: bool) {
        self.ledger.presence(online);
    }
}

impl State {
    /// What a request of the device says of the firmware that was ordered.
    fn judge(&mut self, message: &Message, is_answered: bool) -> Result<(), String> {
        let text = |name: &str| message.data.get(name).and_then(Json::as_str).unwrap_or_default();
        match message.action {
            101 => self.upgrades.runs(text("product_version")),
            105 if message.data.get("code").and_then(Json::as_i64) == Some(UPGRADE_FAILED) => {
                self.upgrades.failed(text("msg"), is_answered)
            }
            _ => Ok(()),
        }
    }
}

impl Behaviour {
    /// Adds what the answer to a good request says, and remembers what it changes.
    fn answer(&mut self, action: i64, data: &mut Json) {
        match action {
            102 => {
                data["status"] = json!(self.status);
                data["last_access"] = json!(0);
                data["name"] = json!(self.name);
                data["product_version"] = json!(self.firmware.as_ref().map_or("", |firmware| &firmware.version));
                match (&self.organisation, self.v1_1) {
                    (Some(id), true) => data["organization"] = json!({"org_id": self.id(id), "name": "Demo Org"}),
                    (None, true) => {}
                    (Some(id), false) => data["group_id"] = self.id(id),
                    (None, false) => data["group_id"] = json!(""),
                }
            }
            103 => {
                if let Some(firmware) = &self.firmware {
                    data["version"] = json!(firmware.version);
                    data["upgrade_type"] = json!(firmware.upgrade_type);
                    data["file_path"] = json!(firmware.file_path);
                    data["checksum"] = json!(firmware.checksum);
                }
            }
            104 => self.organisation = None,
            _ => {}
        }
    }

    /// An id as text or as a number, whichever the test wants to see survive.
    pub(super) fn id(&self, id: &str) -> Json {
        match id.parse::<u64>() {
            Ok(number) if self.numeric_ids => json!(number),
            _ => json!(id),
        }
    }
}

/// What a request of the device must say (Deli access document, device to platform).
fn content(message: &Message) -> Result<(), String> {
    let text = |name: &str| message.data.get(name).is_some_and(Json::is_string);
    let fault = match message.action {
        101 if !text("product_version") => "product_version must be a text",
        101 if message.data.get("name").is_some_and(|name| !name.is_string()) => "name must be a text",
        101 if message.data.get("properties").is_some_and(|properties| !properties.is_object()) => {
            "properties: no object"
        }
        105 if !message.data.get("code").is_some_and(Json::is_i64) => "code must be an integer",
        105 if !text("msg") => "msg must be a text",
        100 | 102 | 103 | 104 if !message.data.is_empty() => "no data is expected",
        _ => return Ok(()),
    };
    Err(format!("{}: {fault}: {message:?}", message.action))
}

/// The device's answer to a 200 or 201.
fn answer(state: &State, message: &Message) -> Result<(), String> {
    let asked = state.asked.get(&message.mid).ok_or_else(|| format!("answer to nothing asked: {message:?}"))?;
    let to = if asked.from.is_empty() { "system" } else { &asked.from };
    let action = if asked.action == 207 { 201 } else { asked.action };
    let code = message.data.get("code").is_some_and(Json::is_i64);
    let msg = message.data.get("msg").is_none_or(Json::is_string);
    if message.action != action || message.to != to || !code || !msg {
        return Err(format!("answer {message:?} does not fit {asked:?}"));
    }
    if action == 201 { log_answer(message) } else { Ok(()) }
}

/// The answer to a request for logs: done, or why not (Deli access document, 201 and the device's error codes).
fn log_answer(message: &Message) -> Result<(), String> {
    let code = message.data.get("code").and_then(Json::as_i64);
    let reason = message.data.get("msg").and_then(Json::as_str).unwrap_or_default();
    let fits = match code {
        Some(0) => true,
        Some(-1 | 100 | 106 | 201) => !reason.is_empty(),
        _ => false,
    };
    let only = message.data.keys().all(|name| matches!(name.as_str(), "code" | "msg"));
    if fits && only { Ok(()) } else { Err(format!("no answer to a request for logs: {message:?}")) }
}

/// MD5 of client id, model and secret with hyphens between, in hex of either case (Deli access document, access).
fn right_password(password: Option<&[u8]>) -> bool {
    let digest = Md5::digest(format!("{DEVICE}-{MODEL}-{SECRET}"));
    let expected: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    password.is_some_and(|password| password.eq_ignore_ascii_case(expected.as_bytes()))
}

pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// CONNACK codes (MQTT 3.1.1, 3.2.2.3).
const UNACCEPTABLE_VERSION: u8 = 1;
const IDENTIFIER_REJECTED: u8 = 2;
const BAD_CREDENTIALS: u8 = 4;
/// Not documented; chosen by us: messages kept of each action, and requests remembered. Later ones are not kept, older
/// requests forgotten.
const MAX_MESSAGES: usize = 100_000;
