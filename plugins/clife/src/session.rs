//! The Clife session: one device at the Clife cloud, as a pure state machine.
//!
//! Invariants: what only exists while connected lives in the phase that says so; a report is settled when the broker has
//! acknowledged it; an answer carries the id of its request. Submodules by idea: `registration` becoming one of the
//! platform's devices · `connection` from the broker to being online · `incoming` hands messages to who knows them ·
//! `reports` what goes up · `commands` what comes down · `operations` files, with `upgrade`, `profile`,
//! `log_upload`, `asking` and `events`, for the parts in `subdevices` too · `storage` what survives a restart · `status` what operators see.

mod asking;
mod commands;
mod connection;
mod events;
mod incoming;
mod log_upload;
mod operations;
mod profile;
mod registration;
mod reports;
mod status;
mod storage;
mod subdevices;
mod upgrade;

use std::collections::BTreeMap;

use polylink_plugin_sdk::answers::Answers;
use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::cloud_clock::CloudClock;
use polylink_plugin_sdk::numbering::Numbers;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::services::subdevices::{Event as SubdevicesEvent, Subdevice};
use polylink_plugin_sdk::services::{module, mqtt, network, ota};
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::status::Told;
use polylink_plugin_sdk::thing_model::ThingModel;
use polylink_plugin_sdk::timers::Timers;
use polylink_plugin_sdk::{
    ClockQuality, Context, DatapointId, Fault, Input, Now, Output, RequestId, Session, Timestamp, Value,
};
use serde_json::value::RawValue;

use crate::cipher;
use crate::config::Settings;
use crate::datapoints::Datapoints;
use crate::frame::{self, MsgId};

use commands::Open;
use connection::{Access, Phase};
use operations::Files;
use reports::Uplink;
use status::Counters;

/// One device at the Clife cloud.
pub struct ClifeSession {
    settings: Settings,
    datapoints: Datapoints,
    /// Properties that the platform cannot know.
    nameless: Vec<String>,
    facts: module::Facts,
    /// The devices behind the MCU.
    subdevices: Vec<Subdevice>,
    has_network: Option<bool>,

    phase: Phase,
    /// What the platform has given the device, and what that means with the settings.
    access: Option<Access>,
    /// Failures on the way to the broker.
    backoff: Backoff,
    /// Failures at the registration.
    registration_backoff: Backoff,
    /// Times in a row that the broker did not take the login.
    refusals: u32,
    /// The registration was repeated since, in vain.
    registered_again: bool,
    timers: Timers<Timer>,
    random: Random,
    last_id: u64,
    numbers: Numbers,
    clock: CloudClock,
    /// When the platform last told the time.
    clock_set: Option<Timestamp>,

    uplink: Uplink,
    /// What the device has said last.
    known: BTreeMap<DatapointId, Value>,
    /// The same as far as it was handed over to go up: older than `known` while the cloud is behind.
    handed: BTreeMap<DatapointId, Value>,
    open: BTreeMap<RequestId, Open>,
    answers: Answers,
    files: Files,

    told: Told<Counters>,
    /// What an operator should know about the last failure.
    note: String,
    /// Something that is shown has changed.
    shows: bool,
    settled: Vec<u64>,
    outputs: Vec<Output>,
}

/// What the session waits for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    /// The next step towards being online.
    Retry,
    /// The broker does not answer the subscription.
    Subscription,
    /// The platform does not answer the greeting.
    Greeting,
    /// A publish failed; the next one waits so long.
    Pause,
    /// An upload that was ordered for later.
    Begin,
    /// The transfer of a file operation must be complete.
    Deadline,
    /// The host does not show an update that it was offered.
    Offer,
    /// The platform may be asked for an upgrade again.
    Ask,
    /// A profile is asked for again.
    Profile,
}

impl Session for ClifeSession {
    fn new(context: Context) -> Result<Self, Fault> {
        let model = ThingModel::parse(&context.product).map_err(|error| Fault::product(error.to_string()))?;
        let settings = Settings::parse(&context.settings, &context.interfaces)?;
        let (datapoints, nameless) = Datapoints::new(model);
        let files = Files::of(&context);
        let mut session = Self {
            settings,
            datapoints,
            nameless,
            facts: context.facts,
            subdevices: context.subdevices,
            has_network: (!context.interfaces.is_empty()).then_some(true),
            phase: Phase::Idle,
            access: None,
            backoff: connection::backoff(),
            registration_backoff: registration::backoff(),
            refusals: 0,
            registered_again: false,
            timers: Timers::new(),
            random: Random::new(context.seed),
            last_id: 0,
            numbers: Numbers::new(None),
            clock: CloudClock::default(),
            clock_set: None,
            uplink: Uplink::default(),
            known: BTreeMap::new(),
            handed: BTreeMap::new(),
            open: BTreeMap::new(),
            answers: Answers::new(ANSWERS_KEPT_MS),
            files,
            told: Told::default(),
            note: String::new(),
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
            Input::Reports(_) | Input::Outcome(..) | Input::Mqtt(_) | Input::Stored(..) | Input::Timeout
        );
        let phase = self.phase.name();
        match input {
            Input::Start => self.start(now),
            Input::Timeout => {}
            Input::Reports(reports) => self.take_reports(now, reports),
            Input::Outcome(id, outcome) if !self.take_handed_over(now, id, &outcome) => {
                self.take_outcome(now, id, &outcome);
            }
            Input::Mqtt(event) => self.take_mqtt(now, event),
            Input::Http(id, result) if !self.take_profile(now, id, &result) => self.take_registration(now, id, result),
            Input::Stored(_, Err(failure)) => self.warn(format!("a value could not be stored: {}", failure.text)),
            Input::Network(network::Event::Changed(interfaces)) => self.take_network(now, !interfaces.is_empty()),
            Input::Module(event) => self.take_module(event),
            Input::Ota(ota::Event::Changed(list)) => self.take_updates(now, list),
            Input::Subdevices(SubdevicesEvent::Changed(list)) => self.take_subdevices(list),
            Input::LogsSent(id, result) => self.take_logs_sent(now, id, result),
            Input::Stop => self.stop(),
            Input::Stored(_, Ok(()))
            | Input::Outcome(..)
            | Input::Http(..)
            | Input::Network(_)
            | Input::Tcp(_)
            | Input::Udp(_)
            | Input::Script(_) => {}
        }
        let something_was_due = self.run_timers(now);
        self.work(now);
        let shows = std::mem::take(&mut self.shows);
        self.tell_status(now, !routine || something_was_due || shows || phase != self.phase.name());
        Ok(std::mem::take(&mut self.outputs))
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        if matches!(self.phase, Phase::Idle) {
            return None;
        }
        [self.timers.earliest(), self.told.due()].into_iter().flatten().min()
    }
}

impl ClifeSession {
    fn start(&mut self, now: Now) {
        if !self.nameless.is_empty() {
            let names = self.nameless.join(", ");
            self.warn(format!(
                "the platform knows datapoints by numbers; these have none and are not told: {names} (give them \
                 [cloud.<name>.map.<datapoint>] name = \"1\")"
            ));
        }
        if let Some(name) = self.settings.profile_property.as_deref().filter(|_| self.profile_property().is_none()) {
            self.warn(format!(
                "profile_property: the product has no property `{name}` that can be set to text, bytes or JSON"
            ));
        }
        self.resume_files(now);
        self.begin(now);
    }

    fn stop(&mut self) {
        self.disconnect();
        if let Phase::Registering { request, .. } = self.phase {
            self.outputs.push(Output::CancelHttp(request));
        }
        self.stop_loading_profile();
        self.phase = Phase::Idle;
        self.timers.clear_all();
        self.told.stop();
        self.open.clear();
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
                Timer::Retry => self.begin(now),
                Timer::Subscription => self.hang_up(now, "the broker does not answer the subscription"),
                Timer::Greeting => self.greeting_unanswered(now),
                // What waits goes on by itself.
                Timer::Pause => {}
                Timer::Begin => self.begin_waiting(now),
                Timer::Deadline => self.end_transfer(now),
                Timer::Offer => self.offer_lost(now),
                Timer::Ask => self.consider_asking(now),
                Timer::Profile => self.load_profile(),
            }
        }
        any_due |= self.told.timeout(now.monotonic);
        any_due
    }

    /// Carries out what has become possible, after every input.
    fn work(&mut self, now: Now) {
        self.end_operation(now);
        self.send_events(now);
        self.send_reports();
        if !self.settled.is_empty() {
            let settled = std::mem::take(&mut self.settled);
            self.outputs.push(Output::Settle(settled));
        }
    }

    fn take_module(&mut self, event: module::Event) {
        match event {
            module::Event::Changed(facts) => {
                self.facts = facts;
                self.correct_versions();
            }
            module::Event::Unbind | module::Event::BindWindow(_) => {
                self.info("binding and unbinding is done in the app of this cloud".to_owned());
            }
            module::Event::Reset | module::Event::NetworkJoined => {}
        }
    }

    /// Unix milliseconds as messages show them: the platform's where it has told them, else the host's (Clife access
    /// document 4.3.1.1: before the registration the device's own clock counts, right or wrong).
    fn unix_ms(&self, now: Now) -> i64 {
        self.clock.unix_ms(now).unwrap_or(now.wall.unix_ms)
    }

    /// Publishes a message of the device; its completion is wanted only for reports.
    fn send(&mut self, now: Now, cmd: i64, id: &MsgId, body: &RawValue) {
        let timestamp = self.unix_ms(now);
        let publish = self.next_id();
        self.publish(publish, cmd, id, timestamp, body);
    }

    fn publish(&mut self, publish: RequestId, cmd: i64, id: &MsgId, timestamp: i64, body: &RawValue) {
        let Some(connection) = self.phase.open_connection() else { return };
        let Some(topic) = self.access.as_ref().map(|access| access.topics.upward.clone()) else { return };
        let payload = self.message(cmd, id, timestamp, body);
        let message = mqtt::Message { topic, payload, qos: self.settings.qos, retain: false };
        self.outputs.push(Output::Mqtt(mqtt::Request::Publish { connection, id: publish, message }));
    }

    /// A message of the device.
    fn message(&self, cmd: i64, id: &MsgId, timestamp: i64, body: &RawValue) -> Vec<u8> {
        let settings = &self.settings;
        let sealed;
        let data = if settings.encrypt {
            sealed = frame::raw(&cipher::encrypt(self.mqtt_key(), &settings.iv, body.get().as_bytes()));
            &*sealed
        } else {
            body
        };
        frame::encode(cmd, &settings.dir_up, id, None, timestamp, settings.timestamp_type, data)
    }

    /// A number for a message of the device.
    fn new_id(&mut self) -> MsgId {
        let (number, mark) = self.numbers.next();
        if let Some(mark) = mark {
            self.put(storage::MESSAGE_ID_MARK, &mark);
        }
        MsgId::from(number)
    }

    /// Takes the time of a message of the platform.
    fn take_time(&mut self, now: Now, timestamp: Option<i64>) {
        let Some(unix_ms) = timestamp.filter(|unix_ms| *unix_ms > 0) else { return };
        self.clock_set = Some(now.monotonic);
        if let Some(unix_ms) = self.clock.correct(now, unix_ms) {
            self.outputs.push(Output::Module(module::Request::OfferTime(unix_ms)));
        }
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

/// What a wall clock says that was set.
fn known_ms(wall: polylink_plugin_sdk::WallTime) -> Option<i64> {
    (wall.quality > ClockQuality::UNSET).then_some(wall.unix_ms)
}

/// Answers to commands are kept so long (not documented; chosen by us).
const ANSWERS_KEPT_MS: u64 = 300_000;
