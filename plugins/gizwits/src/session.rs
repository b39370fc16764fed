//! The Gizwits session: one device at the Gizwits cloud and on its local network, as a pure state machine.
//!
//! Invariants: there is one step towards the cloud at a time, and what belongs to it lives in [`cloud::Phase`]; the device
//! counts as online only after its third subscription; the local network is served whatever the cloud does; an answer goes
//! to who asked, a changed state to all. Submodules by idea: `cloud` from nothing to a connection · `m2m` the connection ·
//! `forwarding` reports, requests and their answers · `local` the local network and the module · `upgrade` firmware ·
//! `status` what operators see · `storage` what survives a restart.

mod cloud;
mod forwarding;
mod local;
mod m2m;
mod status;
mod storage;
mod upgrade;

use std::collections::BTreeMap;

use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::{module, network};
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::status::Told;
use polylink_plugin_sdk::thing_model::ThingModel;
use polylink_plugin_sdk::timers::Timers;
use polylink_plugin_sdk::{Context, Fault, Input, Now, Output, RequestId, Session, Timestamp};

use crate::api::Api;
use crate::auth::Passcode;
use crate::config::Settings;
use crate::datapoints::Datapoints;
use crate::identity::Identity;
use crate::lan::Lan;
use crate::ota::Upgrades;
use crate::reconnect::Reconnect;

use cloud::{Addresses, Phase};
use forwarding::{Requester, Uplink};
use status::Counters;
use upgrade::Updates;

/// One device at the Gizwits cloud and on its local network.
pub struct GizwitsSession {
    settings: Settings,
    model: ThingModel,
    facts: module::Facts,
    interfaces: Vec<network::Interface>,
    /// Makes passcodes, with a counter.
    passcode_key: Secret<[u8; 16]>,
    n_passcodes: u64,
    identity: Identity,
    /// As it was last stored, so that a start that changes nothing writes nothing.
    saved_identity: Option<Identity>,
    api: Api,

    phase: Phase,
    /// Failures on the way to the M2M server.
    reconnect: Reconnect,
    /// Failures at the HTTP interface in a row.
    api_failures: u32,
    /// Times in a row that the DID was not believed.
    disbelieved: u32,
    addresses: Addresses,
    upgrades: Upgrades,
    updates: Updates,
    /// Firmware was asked for since the start.
    checked: bool,
    /// The check for firmware that the cloud asked for, beside the connection.
    pushed_check: Option<RequestId>,
    timers: Timers<Timer>,
    last_id: u64,

    uplink: Uplink,
    /// What the cloud was told last, from the numbered reports.
    cloud_view: Datapoints,
    /// The present, as far as it is known.
    local_view: Datapoints,
    /// The newest moment of which the local network was told out of turn; see [`polylink_plugin_sdk::Cause::Live`].
    live_until: Option<i64>,
    requesters: BTreeMap<RequestId, Requester>,

    lan: Lan,
    /// Applications that the cloud has counted.
    cloud_applications: u32,
    /// Applications that are logged in on the local network.
    n_logged_in: usize,
    told_applications: Option<u32>,

    told: Told<Counters>,
    /// What an operator should know about the last failure.
    note: String,
    settled: Vec<u64>,
    outputs: Vec<Output>,
}

/// What the session waits for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    /// The next step towards the cloud.
    Retry,
    /// The module is to be restarted, since the M2M server was not reached for too long.
    Restart,
    /// A subscription was not answered.
    Suback,
    /// The name of the M2M server is looked up again.
    Lookup,
}

impl Session for GizwitsSession {
    fn new(context: Context) -> Result<Self, Fault> {
        let settings = Settings::parse(&context.settings)?;
        let model = ThingModel::parse(&context.product).map_err(|error| Fault::product(error.to_string()))?;
        let layout = settings.datapoints.as_deref().or(model.p0_layout.as_deref()).ok_or_else(|| {
            Fault::product(
                "the Gizwits cloud needs the product's datapoint file: `gizwits_datapoints` in [product], or \
                 `datapoints` in the settings",
            )
        })?;
        let datapoints = Datapoints::new(&model, layout).map_err(|error| Fault::product(error.to_string()))?;
        let (stored, problem) = storage::restore(&context.stored);
        let passcode_key = passcode_key(&context.seed);
        let updates = Updates::of(&context);
        let first = || Identity::new(&model.product_key, Passcode::generate(&passcode_key, 0));
        let saved_identity = stored.identity.clone();
        let identity = stored.identity.unwrap_or_else(first);
        let lan = Lan::new(settings.lan.clone(), LISTENER, SOCKET, jitter(&context.seed));
        let mut session = Self {
            api: Api { base_url: settings.api_url.clone(), tls: settings.tls() },
            settings,
            cloud_view: datapoints.clone(),
            local_view: datapoints,
            model,
            facts: context.facts,
            interfaces: context.interfaces,
            passcode_key,
            n_passcodes: 1,
            identity,
            saved_identity,
            phase: Phase::Idle,
            reconnect: Reconnect::new(),
            api_failures: 0,
            disbelieved: 0,
            addresses: Addresses::default(),
            upgrades: stored.upgrades,
            updates,
            checked: false,
            pushed_check: None,
            timers: Timers::new(),
            last_id: FIRST_ID,
            uplink: Uplink::default(),
            live_until: None,
            requesters: BTreeMap::new(),
            lan,
            cloud_applications: 0,
            n_logged_in: 0,
            told_applications: None,
            told: Told::default(),
            note: String::new(),
            settled: Vec::new(),
            outputs: Vec::new(),
        };
        if let Some(problem) = problem {
            session.warn(problem);
        }
        Ok(session)
    }

    fn handle_input(&mut self, now: Now, input: Input) -> Result<Vec<Output>, Fault> {
        let routine = matches!(
            input,
            Input::Reports(_) | Input::Outcome(..) | Input::Mqtt(_) | Input::Tcp(_) | Input::Udp(_) | Input::Timeout
        );
        let phase = self.phase.name();
        match input {
            Input::Start => self.start(now),
            Input::Timeout => {}
            Input::Reports(reports) => self.take_reports(reports),
            Input::Outcome(id, outcome) => self.take_outcome(id, &outcome),
            Input::Mqtt(event) => self.take_mqtt(now, event),
            Input::Http(id, result) => self.take_http(now, id, result),
            Input::Tcp(event) => self.take_tcp(now, event),
            Input::Udp(event) => self.take_udp(now, event),
            Input::Stored(_, Err(failure)) => self.warn(format!("a value could not be stored: {}", failure.text)),
            Input::Stored(_, Ok(())) | Input::Script(_) | Input::Subdevices(_) | Input::LogsSent(..) => {}
            Input::Ota(event) => self.take_updates(now, event),
            Input::Network(network::Event::Changed(interfaces)) => self.take_interfaces(now, interfaces),
            Input::Network(network::Event::Resolved(id, result)) => self.take_addresses(now, id, result),
            Input::Module(event) => self.take_module(now, event),
            Input::Stop => self.stop(),
        }
        let something_was_due = self.run_timers(now);
        self.work(now);
        self.tell_status(now, !routine || something_was_due || phase != self.phase.name());
        Ok(std::mem::take(&mut self.outputs))
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        if matches!(self.phase, Phase::Idle) {
            return None;
        }
        [self.timers.earliest(), self.told.due(), self.lan.next_timeout()].into_iter().flatten().min()
    }
}

impl GizwitsSession {
    fn start(&mut self, now: Now) {
        for note in self.local_view.notes().to_vec() {
            self.warn(note);
        }
        // Of the product that the device was; the cloud hears of what runs when it is asked for firmware.
        self.settle_updates(now);
        if self.identity.product_key != self.model.product_key {
            self.change_product_key();
        }
        if let Some(mac) = self.settings.mac {
            self.identity.mac = Some(mac);
        }
        self.adopt_mac();
        // Also what was just made up must be the same after a power cut.
        self.save_identity();
        self.withdraw_what_runs();
        self.lan.start();
        if self.has_network() {
            self.lan.network_up(now.monotonic);
        }
        self.begin(now);
    }

    fn stop(&mut self) {
        if let Some(connection) = self.phase.connection() {
            self.outputs.push(Output::Mqtt(polylink_plugin_sdk::services::mqtt::Request::Disconnect(connection)));
        }
        if let Some(request) = self.phase.http_request() {
            self.outputs.push(Output::CancelHttp(request));
        }
        self.lan.stop();
        self.phase = Phase::Idle;
        self.timers.clear_all();
        self.told.stop();
        self.requesters.clear();
        self.pushed_check = None;
    }

    /// True if one was due.
    fn run_timers(&mut self, now: Now) -> bool {
        if matches!(self.phase, Phase::Idle) {
            return false;
        }
        let due = self.timers.due(now.monotonic);
        let any_due = self.told.timeout(now.monotonic) || !due.is_empty();
        for timer in due {
            match timer {
                Timer::Retry => self.retry(now),
                Timer::Restart => self.ask_for_restart(now),
                Timer::Suback => self.subscription_failed(now, "the M2M server does not answer a subscription"),
                Timer::Lookup => self.look_up_again(now),
            }
        }
        // What the device says of itself is put together only where somebody may hear it.
        if self.lan.next_timeout().is_some_and(|due| due <= now.monotonic) {
            let about = self.about();
            self.lan.timeout(now.monotonic, &about);
        }
        any_due
    }

    /// Carries out what has become possible, after every input.
    fn work(&mut self, now: Now) {
        self.publish_waiting();
        self.serve_lan(now);
        self.count_applications();
        if !self.settled.is_empty() {
            let settled = std::mem::take(&mut self.settled);
            self.outputs.push(Output::Settle(settled));
        }
    }

    fn next_passcode(&mut self) -> Passcode {
        self.n_passcodes += 1;
        Passcode::generate(&self.passcode_key, self.n_passcodes)
    }

    fn next_id(&mut self) -> RequestId {
        self.last_id += 1;
        RequestId(self.last_id)
    }

    fn log(&mut self, level: Level, text: String) {
        self.lan.log_line(level, "gizwits", "session", &text);
        self.outputs.push(Output::Log(level, text));
    }

    fn info(&mut self, text: String) {
        self.log(Level::Info, text);
    }

    fn warn(&mut self, text: String) {
        self.log(Level::Warn, text);
    }
}

/// The half of the seed that nothing else is made of: passcodes must not be computable from what others see.
fn passcode_key(seed: &[u8; 32]) -> Secret<[u8; 16]> {
    Secret::new(std::array::from_fn(|at| seed[at]))
}

/// The other half is for delays, which others see.
fn jitter(seed: &[u8; 32]) -> Random {
    Random::new(std::array::from_fn(|at| seed[16 + at % 16]))
}

/// Ids of what is open as long as the session lives.
const LISTENER: RequestId = RequestId(1);
const SOCKET: RequestId = RequestId(2);
/// Other ids follow.
const FIRST_ID: u64 = 2;
