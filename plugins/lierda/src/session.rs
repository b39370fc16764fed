//! The Lierda session: one device at the Lierda cloud, as a pure state machine.
//!
//! Invariants: what only exists while connected lives in the phase that says so; a report is settled when the platform
//! has acknowledged it; a command is carried out once and acknowledged on each topic it came on. Submodules by idea:
//! `connection` from nothing to being online · `authentication` the connection before that · `incoming` hands messages to
//! who knows them · `reports` what goes up · `uplink` its queue · `commands` what comes down · `converter` the product's script · `keys` session keys · `firmware` versions that are told, `upgrade` orders of
//! other ones · `clock`, `device_settings` more of the management of the platform · `stamps` times that the platform checks · `storage` what survives a restart · `status` what
//! operators see.

mod authentication;
mod clock;
mod commands;
mod connection;
mod converter;
mod device_settings;
mod firmware;
mod incoming;
mod keys;
mod reports;
mod stamps;
mod status;
mod storage;
mod upgrade;
pub mod uplink;

use std::collections::BTreeMap;

use polylink_plugin_sdk::answers::Answers;
use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::numbering::Numbers;
use polylink_plugin_sdk::product_script::ProductScript;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::services::{module, mqtt, network, ota};
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::status::Told;
use polylink_plugin_sdk::thing_model::ThingModel;
use polylink_plugin_sdk::timers::Timers;
use polylink_plugin_sdk::{Context, Fault, Input, Now, Output, RequestId, Session, Timestamp};
use serde_json::value::RawValue;

use crate::config::{Content, Settings};
use crate::frame::{self, MessageId};
use crate::topics::Topics;

use clock::CloudClock;
use commands::Open;
use connection::{Moved, Phase};
use converter::Purpose;
use firmware::Firmware;
use keys::Enrolment;
use stamps::Stamps;
use status::Counters;
use upgrade::Upgrades;
use uplink::Uplink;

/// One device at the Lierda cloud.
pub struct LierdaSession {
    settings: Settings,
    topics: Topics,
    model: ThingModel,
    facts: module::Facts,
    has_network: Option<bool>,

    phase: Phase,
    enrolment: Enrolment,
    /// Where the platform has moved the device.
    moved: Option<Moved>,
    backoff: Backoff,
    /// Times in a row that the broker did not take the device's password.
    refusals: u32,
    /// The authentication was repeated since, in vain.
    authenticated_again: bool,
    stamps: Stamps,
    timers: Timers<Timer>,
    random: Random,
    last_id: u64,
    ids: Numbers,

    uplink: Uplink,
    script: ProductScript<Purpose>,
    open: BTreeMap<RequestId, Open>,
    answers: Answers,
    firmware: Firmware,
    upgrades: Upgrades,
    clock: CloudClock,

    told: Told<Counters>,
    /// What an operator should know about the last failure.
    note: String,
    fault: Option<Fault>,
    /// Something that is shown has changed.
    shows: bool,
    settled: Vec<u64>,
    outputs: Vec<Output>,
}

/// What the session waits for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    /// The next attempt to connect.
    Reconnect,
    /// The platform does not answer the authentication.
    Authentication,
    /// The broker does not answer the subscriptions.
    Subscriptions,
    /// The time is asked for again.
    Time,
    /// The firmware is told again.
    Firmware,
    /// The firmware is told in answer to an order.
    Answer,
    /// What failed is told.
    Failed,
    /// What was installed does not say its version.
    Installed,
}

impl Session for LierdaSession {
    fn new(context: Context) -> Result<Self, Fault> {
        let model = ThingModel::parse(&context.product).map_err(|error| Fault::product(error.to_string()))?;
        let settings = Settings::parse(&context.settings, &context.facts.serial, &model)?;
        if settings.script.is_some() && !context.services.contains(&polylink_plugin_sdk::services::id::SCRIPT) {
            return Err(Fault::settings("settings.script: this host was built without scripts"));
        }
        let script = ProductScript::new("lierda", settings.script.clone());
        let upgrades = Upgrades::of(&context);
        let mut session = Self {
            topics: Topics::new(&settings.identity),
            enrolment: Enrolment::new(&settings),
            ids: Numbers::new(None),
            uplink: Uplink::new(settings.history_after_ms),
            has_network: (!context.interfaces.is_empty()).then_some(true),
            settings,
            model,
            facts: context.facts,
            phase: Phase::Idle,
            moved: None,
            backoff: connection::backoff(),
            refusals: 0,
            authenticated_again: false,
            stamps: Stamps::default(),
            timers: Timers::new(),
            random: Random::new(context.seed),
            last_id: 0,
            script,
            open: BTreeMap::new(),
            answers: Answers::new(commands::KEPT_MS),
            firmware: Firmware::default(),
            upgrades,
            clock: CloudClock::default(),
            told: Told::default(),
            note: String::new(),
            fault: None,
            shows: false,
            settled: Vec::new(),
            outputs: Vec::new(),
        };
        session.restore(&context.stored);
        Ok(session)
    }

    fn handle_input(&mut self, now: Now, input: Input) -> Result<Vec<Output>, Fault> {
        let routine = matches!(
            input,
            Input::Reports(_)
                | Input::Outcome(..)
                | Input::Mqtt(_)
                | Input::Script(_)
                | Input::Stored(..)
                | Input::Timeout
        );
        let phase = self.phase.name();
        match input {
            Input::Start => self.start(now),
            Input::Timeout => {}
            Input::Reports(reports) => self.take_reports(reports),
            Input::Outcome(id, outcome) => self.take_outcome(now, id, &outcome),
            Input::Mqtt(event) => self.take_mqtt(now, event),
            Input::Script(event) => self.take_script(now, event),
            Input::Stored(_, Err(failure)) => self.warn(format!("a value could not be stored: {}", failure.text)),
            Input::Network(network::Event::Changed(interfaces)) => self.take_network(now, !interfaces.is_empty()),
            Input::Module(event) => self.take_module(now, event),
            Input::Ota(ota::Event::Changed(list)) => self.take_updates(now, list),
            Input::Stop => self.stop(),
            Input::Stored(_, Ok(()))
            | Input::Network(_)
            | Input::Tcp(_)
            | Input::Udp(_)
            | Input::Http(..)
            | Input::Subdevices(_)
            | Input::LogsSent(..) => {}
        }
        let something_was_due = self.run_timers(now);
        self.work(now);
        let shows = std::mem::take(&mut self.shows);
        self.tell_status(now, !routine || something_was_due || shows || phase != self.phase.name());
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(std::mem::take(&mut self.outputs)),
        }
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        if matches!(self.phase, Phase::Idle) {
            return None;
        }
        let is_online = matches!(self.phase, Phase::Online { .. });
        let online = [self.uplink.next_due(), self.firmware.next_due()].into_iter().flatten().min();
        [self.timers.earliest(), self.told.due(), self.script.next_timeout(), online.filter(|_| is_online)]
            .into_iter()
            .flatten()
            .min()
    }
}

impl LierdaSession {
    fn start(&mut self, now: Now) {
        self.load_script();
        self.forget_reached_order();
        self.begin(now);
        self.offer_left_order(now);
        self.settle_updates(now);
    }

    fn stop(&mut self) {
        self.disconnect();
        self.phase = Phase::Idle;
        self.timers.clear_all();
        self.told.stop();
        self.open.clear();
        self.unload_script();
    }

    /// True if one was due.
    fn run_timers(&mut self, now: Now) -> bool {
        if matches!(self.phase, Phase::Idle) {
            return false;
        }
        let due = self.timers.due(now.monotonic);
        let mut any_due = !due.is_empty();
        for timer in due {
            match timer {
                Timer::Reconnect => self.begin(now),
                Timer::Authentication => self.authentication_unanswered(now),
                Timer::Subscriptions => self.hang_up(now, "the broker does not answer the subscriptions"),
                Timer::Time => self.ask_time(now),
                Timer::Firmware => self.tell_firmware(now),
                Timer::Answer => self.answer_by_versions(now),
                Timer::Failed => self.settle_updates(now),
                Timer::Installed => self.waited_for_version(now),
            }
        }
        any_due |= self.told.timeout(now.monotonic);
        any_due
    }

    /// Carries out what has become possible, after every input.
    fn work(&mut self, now: Now) {
        self.convert_waiting(now);
        self.send_reports(now);
        self.repeat_firmware(now);
        if !self.settled.is_empty() {
            let settled = std::mem::take(&mut self.settled);
            self.outputs.push(Output::Settle(settled));
        }
    }

    fn take_module(&mut self, now: Now, event: module::Event) {
        match event {
            module::Event::Changed(facts) => {
                let before = std::mem::replace(&mut self.facts, facts);
                self.notice_versions(now, &before);
            }
            module::Event::Reset => self.forget_move(),
            module::Event::BindWindow(_) | module::Event::Unbind => {
                self.info("this cloud knows no bond with an owner; it is made in its console".to_owned());
            }
            module::Event::NetworkJoined => {}
        }
    }

    /// Publishes a message that nobody waits for by its publish id. Encrypts its payload if that is due.
    fn send(&mut self, topic: String, id: &MessageId, header_ctrl: i64, payload: &RawValue, content: Content) {
        let payload = self.sealed(payload, content);
        let message = frame::encode(id, header_ctrl, &payload);
        let publish = self.next_id();
        self.publish(publish, topic, message);
    }

    fn publish(&mut self, id: RequestId, topic: String, payload: Vec<u8>) {
        // Commands may come before the last subscription is answered.
        let (Phase::Online { connection } | Phase::Subscribing { connection, .. }) = self.phase else { return };
        let message = mqtt::Message { topic, payload, qos: self.settings.qos, retain: false };
        self.outputs.push(Output::Mqtt(mqtt::Request::Publish { connection, id, message }));
    }

    fn next_id(&mut self) -> RequestId {
        self.last_id += 1;
        RequestId(self.last_id)
    }

    fn log(&mut self, level: Level, text: String) {
        self.outputs.push(Output::Log(level, text));
    }

    fn info(&mut self, text: String) {
        self.log(Level::Info, text);
    }

    fn warn(&mut self, text: String) {
        self.log(Level::Warn, text);
    }
}
