//! The Deli session: one device at the Deli cloud, as a pure state machine.
//!
//! Invariants: what only exists while connected lives in the phase that says so; business messages leave only while
//! nothing holds them; every request of the platform that wants an answer gets one. Submodules by idea: `connection`
//! finds and opens a connection · `incoming` hands messages to who knows them · `answers` the platform's answers to 1xx ·
//! `bond` organisation, wipe and unbinding · `business` 300 and 301 · `control` 200 · `log_upload` 201 · `upgrade` firmware ·
//! `storage` what survives a restart · `status` what operators see · `uplink` messages on their way up ·
//! `clock` time in seconds.

mod answers;
mod bond;
mod business;
mod clock;
mod connection;
mod control;
mod incoming;
mod log_upload;
mod status;
mod storage;
mod upgrade;
mod uplink;

use std::collections::BTreeMap;

use polylink_plugin_sdk::answers::Answers;
use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::cloud_clock::CloudClock;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::services::{id, module, mqtt, network, ota};
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::status::Told;
use polylink_plugin_sdk::thing_model::ThingModel;
use polylink_plugin_sdk::timers::Timers;
use polylink_plugin_sdk::{Context, Fault, Input, Now, Output, RequestId, Session, Timestamp};
use serde_json::value::RawValue;

use crate::auth::{Credentials, Identity};
use crate::commands;
use crate::config::Settings;
use crate::message::{Mid, Mids, Outgoing};
use crate::requests::{Due, Request, Requests};
use crate::topics;

use bond::Bond;
use connection::{Endpoints, Online, Phase};
use control::Running;
use log_upload::LogUpload;
use status::Counters;
use upgrade::Upgrade;
use uplink::Uplink;

/// One device at the Deli cloud.
pub struct DeliSession {
    settings: Settings,
    identity: Identity,
    credentials: Credentials,
    model: ThingModel,
    facts: module::Facts,
    has_network: Option<bool>,

    phase: Phase,
    endpoints: Endpoints,
    backoff: Backoff,
    /// Times in a row that the broker did not believe who we are.
    refusals: u32,
    /// When the platform last did not believe it (code 101).
    signature_refused: Option<Timestamp>,
    timers: Timers<Timer>,
    random: Random,
    last_id: u64,
    mids: Mids,
    clock: CloudClock,

    requests: Requests,
    uplink: Uplink,
    bond: Bond,
    upgrade: Upgrade,
    /// True if the host sends logs.
    can_send_logs: bool,
    log_upload: Option<LogUpload>,
    answers: Answers,
    running: BTreeMap<RequestId, Running>,
    /// True if the store holds messages of our own.
    queue_stored: bool,
    /// Business messages wait until then, because the platform has blocked the device (code 105).
    blocked_until: Option<Timestamp>,

    told: Told<Counters>,
    /// What an operator should know about the last failure.
    note: String,
    settled: Vec<u64>,
    outputs: Vec<Output>,
}

/// What the session waits for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    /// The next attempt to connect.
    Reconnect,
    /// Business messages wait for the answer to 102 no longer.
    StartUp,
    /// Action 100 again.
    Time,
    /// Action 102 again.
    Query,
    /// The block of code 105 ends.
    Unblock,
    /// The wipe action again.
    Wipe,
    /// The alarm "upgrade failed" may be raised again.
    Alarm,
    /// Firmware does not wait for the MCU any longer.
    Mcu,
    /// A log upload takes too long.
    Logs,
    /// The queue of our own messages is written to the store.
    SaveQueue,
}

impl Session for DeliSession {
    fn new(context: Context) -> Result<Self, Fault> {
        let settings = Settings::parse(&context.settings, &context.facts.serial)
            .map_err(|error| Fault::settings(error.to_string()))?;
        let model = ThingModel::parse(&context.product).map_err(|error| Fault::product(error.to_string()))?;
        let identity = Identity::new(&settings.product_type, &settings.product_model, &settings.serial);
        if let Some(oddity) = identity.oddity().filter(|_| settings.strict_ids) {
            return Err(Fault::settings(format!("settings.{oddity}; strict_ids is on")));
        }
        if let Some(action) = settings.wipe_action.as_deref()
            && model.action_of_cloud(action).is_none()
        {
            return Err(Fault::settings(format!("settings.wipe_action: the product has no action `{action}`")));
        }
        let mut random = Random::new(context.seed);
        let upgrade = Upgrade::of(&context);
        let mut session = Self {
            credentials: Credentials::of(&settings, &identity),
            endpoints: Endpoints::of(&settings),
            mids: Mids::new(random.below(1 << 32)),
            backoff: connection::backoff(),
            has_network: (!context.interfaces.is_empty()).then_some(true),
            facts: context.facts,
            settings,
            identity,
            model,
            phase: Phase::Idle,
            refusals: 0,
            signature_refused: None,
            timers: Timers::new(),
            random,
            last_id: 0,
            clock: CloudClock::default(),
            requests: Requests::default(),
            uplink: Uplink::default(),
            bond: Bond::default(),
            upgrade,
            can_send_logs: context.services.contains(&id::LOGS),
            log_upload: None,
            answers: Answers::new(commands::KEPT_MS),
            running: BTreeMap::new(),
            queue_stored: false,
            blocked_until: None,
            told: Told::default(),
            note: String::new(),
            settled: Vec::new(),
            outputs: Vec::new(),
        };
        session.restore(&context.stored);
        Ok(session)
    }

    fn handle_input(&mut self, now: Now, input: Input) -> Result<Vec<Output>, Fault> {
        let mut something_happened =
            !matches!(input, Input::Reports(_) | Input::Mqtt(mqtt::Event::Published(_, Ok(()))) | Input::Timeout);
        match input {
            Input::Start => self.start(now),
            Input::Timeout => {}
            Input::Reports(reports) => self.take_reports(reports),
            Input::Outcome(id, outcome) => self.take_outcome(now, id, &outcome),
            Input::Mqtt(event) => self.take_mqtt(now, event),
            Input::Http(id, result) => self.take_discovery(now, id, result),
            Input::Stored(_, Err(failure)) => self.warn(format!("a value could not be stored: {}", failure.text)),
            Input::Network(network::Event::Changed(interfaces)) => self.take_network(now, !interfaces.is_empty()),
            Input::Module(event) => self.take_module(now, event),
            Input::Ota(ota::Event::Changed(list)) => self.take_updates(now, list),
            Input::LogsSent(id, result) => self.take_logs_sent(now, id, result),
            Input::Stop => self.stop(),
            Input::Stored(_, Ok(()))
            | Input::Network(_)
            | Input::Tcp(_)
            | Input::Udp(_)
            | Input::Script(_)
            | Input::Subdevices(_) => {}
        }
        something_happened |= self.run_timers(now);
        self.work(now);
        self.tell_status(now, something_happened);
        Ok(std::mem::take(&mut self.outputs))
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        let commands = self.running.values().filter_map(|running| running.due).min();
        let online = matches!(self.phase, Phase::Online(_));
        let requests = self.requests.next_due().filter(|_| online);
        let messages = self.uplink.next_due().filter(|_| online);
        [self.timers.earliest(), self.told.due(), commands, requests, messages].into_iter().flatten().min()
    }
}

impl DeliSession {
    /// True if one was due.
    fn run_timers(&mut self, now: Now) -> bool {
        if matches!(self.phase, Phase::Idle) {
            return false;
        }
        let due = self.timers.due(now.monotonic);
        let any_due = self.told.timeout(now.monotonic) || !due.is_empty();
        for timer in due {
            match timer {
                Timer::Reconnect => self.connect_or_discover(now),
                Timer::StartUp => self.open_business(),
                Timer::Time => self.ask_time(now),
                Timer::Query => self.ask_query(now),
                Timer::Unblock => self.unblock(now),
                Timer::Wipe => self.run_wipe_action(),
                Timer::Alarm => self.settle_updates(now),
                Timer::Mcu => self.offer_held(now),
                Timer::Logs => self.end_late_upload(now),
                Timer::SaveQueue => self.save_queue(),
            }
        }
        self.end_late_commands(now);
        any_due
    }

    /// Carries out what has become possible, after every input.
    fn work(&mut self, now: Now) {
        self.send_requests(now);
        self.send_messages(now);
        self.acknowledge_failures();
        if self.uplink.take_own_changed()
            && self.timers.at(&Timer::SaveQueue).is_none()
            && !matches!(self.phase, Phase::Idle)
        {
            self.timers.set(Timer::SaveQueue, now.monotonic.after(SAVE_QUEUE_MS));
        }
        if !self.settled.is_empty() {
            let settled = std::mem::take(&mut self.settled);
            self.outputs.push(Output::Settle(settled));
        }
    }

    fn send_requests(&mut self, now: Now) {
        let Phase::Online(_) = self.phase else { return };
        let unix_ms = self.clock.unix_ms(now);
        let mids = &mut self.mids;
        for due in self.requests.due(now.monotonic, || mids.next(unix_ms, now.monotonic.0)) {
            match due {
                Due::Send(mid, request) => self.send(now, &mid, "system", request.action, request.data.as_deref()),
                Due::GivenUp(request) => {
                    self.told.counters.requests_given_up += 1;
                    self.warn(format!("the platform does not answer action {}, given up", request.action));
                }
            }
        }
    }

    /// Asks the platform for something, if the product uses that action and nothing else is to be done first.
    fn ask(&mut self, request: Request) {
        if self.settings.supports(request.action) && !self.bond.unbinding {
            self.requests.want(request);
        }
    }

    /// Publishes a message that nobody waits for by its publish id.
    fn send(&mut self, now: Now, mid: &Mid, to: &str, action: i64, data: Option<&RawValue>) {
        let Phase::Online(Online { connection, .. }) = self.phase else { return };
        let time = clock::stamp(&self.clock, now);
        let payload = Outgoing { mid, from: &self.identity.device_id, to, time, action, data }.encode();
        let id = self.next_id();
        self.outputs.push(publish(connection, id, self.settings.qos, payload));
    }

    /// Answers a request of the platform. Without a `mid` there is nothing to answer to.
    fn reply(&mut self, now: Now, mid: Option<&Mid>, to: &str, action: i64, data: &RawValue) {
        let Some(mid) = mid else {
            self.warn(format!("action {action} came without a mid and cannot be answered"));
            return;
        };
        let to = if to.is_empty() { "system" } else { to };
        self.send(now, mid, to, action, Some(data));
    }

    fn next_id(&mut self) -> RequestId {
        self.last_id += 1;
        RequestId(self.last_id)
    }

    fn stop(&mut self) {
        // What the broker has not acknowledged yet is sent again after the restart, rather than lost.
        self.uplink.disconnected();
        self.save_queue();
        if let Some(connection) = self.phase.connection() {
            self.outputs.push(Output::Mqtt(mqtt::Request::Disconnect(connection)));
        }
        if let Phase::Discovering { request } = self.phase {
            self.outputs.push(Output::CancelHttp(request));
        }
        self.phase = Phase::Idle;
        self.timers.clear_all();
        self.told.stop();
        self.running.clear();
    }

    fn take_module(&mut self, now: Now, event: module::Event) {
        match event {
            module::Event::Changed(facts) => {
                let version = self.version().to_owned();
                self.facts = facts;
                if self.version() != version {
                    self.withdraw_what_runs();
                    self.offer_held(now);
                    self.ask_info();
                }
            }
            module::Event::Reset => self.reset(now),
            module::Event::NetworkJoined => {}
            module::Event::Unbind => self.begin_unbinding(),
            module::Event::BindWindow(_) => {
                self.info("binding is done in the Deli app; the device shows its code for it".to_owned());
            }
        }
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

fn publish(connection: RequestId, id: RequestId, qos: u8, payload: Vec<u8>) -> Output {
    let message = mqtt::Message { topic: topics::PUBLISH.to_owned(), payload, qos, retain: false };
    Output::Mqtt(mqtt::Request::Publish { connection, id, message })
}

/// Delay before a changed queue of our own messages is written, so that many changes are one write (not documented;
/// chosen by us).
const SAVE_QUEUE_MS: u64 = 5_000;
