//! The JoyLink session: one device or gateway at the JoyLink cloud and on its local network, as a pure state machine.
//!
//! Invariants: the local network and the schedules are served whatever the cloud does; a report is settled when the cloud has
//! answered the upload it led to; a bond counts when it is on the disk. Submodules by idea: `identity` who the device is ·
//! `local` apps · `remote` the cloud's connection · `jobs` requests that the MCU carries out · `converter` the product's
//! script · `reports` what goes up · `schedules` timers · `gateway` subdevices · `showing` what the
//! cloud is shown of them · `services` recipes, information, video ·
//! `upgrade` firmware · `storage` what survives a restart · `status` what operators see.

mod converter;
mod gateway;
mod identity;
mod jobs;
mod local;
mod remote;
mod reports;
mod schedules;
mod services;
mod showing;
mod status;
mod storage;
mod upgrade;

use std::collections::{BTreeMap, VecDeque};

use polylink_plugin_sdk::cloud_clock::CloudClock;
use polylink_plugin_sdk::product_script::ProductScript;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::services::subdevices::Subdevice;
use polylink_plugin_sdk::services::{id, module, network, subdevices};
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::status::Told;
use polylink_plugin_sdk::thing_model::ThingModel;
use polylink_plugin_sdk::timers::Timers;
use polylink_plugin_sdk::{Context, Fault, FaultCode, Input, Now, Output, RequestId, Session, Timestamp};

use crate::cloud::{Cloud, CloudSettings};
use crate::config::Settings;
use crate::crypto::KeyPair;
use crate::gateway::Gateway;
use crate::information::Fetch;
use crate::lan::{Lan, LanSettings};
use crate::ota::Upgrades;
use crate::recipe::Runs;
use crate::timers::results::Uplink as ScheduleUplink;
use crate::timers::table::Table;
use crate::uploads::Uploads;
use crate::views::Views;
use crate::wire::AsyncResult;

use converter::Purpose;
use identity::Bond;
use jobs::Job;
use schedules::Executions;
use showing::Showing;
use status::Counters;
use storage::Storing;
use upgrade::Updates;

/// One device or gateway at the JoyLink cloud.
pub struct JoylinkSession {
    settings: Settings,
    model: ThingModel,
    interfaces: Vec<network::Interface>,
    key_pair: KeyPair,
    /// The key pair was made just now.
    is_new_key: bool,
    bond: Bond,
    told_product_uuid: Option<String>,
    /// Unix milliseconds of the last change from one owner to another since the start.
    owner_since: Option<i64>,
    /// An app may bind the device though it is bound.
    bind_window: Option<Timestamp>,
    /// Between start and stop.
    is_running: bool,

    lan: Lan,
    cloud: Cloud,
    clock: CloudClock,
    /// The cloud was shown the device since it let it in.
    snapshot_sent: bool,
    /// The MCU is asked what the device looks like, to show it to the cloud.
    is_finding_out: bool,
    uploads: Uploads,
    /// What happened without a command of an app, until there is a connection.
    results: VecDeque<AsyncResult>,
    /// What the devices look like.
    present: Views,
    /// What the cloud was told of that.
    uploaded: Views,

    jobs: BTreeMap<RequestId, Job>,
    script: ProductScript<Purpose>,
    /// Commands that the script reads at present.
    n_decoding: usize,
    schedules: Table,
    schedule_uplink: ScheduleUplink,
    executions: Executions,
    /// The host's last list.
    subdevices: Vec<Subdevice>,
    gateway: Gateway,
    showing: Showing,
    upgrades: Upgrades,
    updates: Updates,
    /// Number of the firmware that an upgrade of this device brought, not below the one in the settings.
    installed: Option<u16>,
    recipes: Runs,
    /// A step of a recipe is being carried out.
    is_cooking: bool,
    information: Fetch,
    storing: BTreeMap<RequestId, Storing>,

    timers: Timers<Timer>,
    /// When the next thing is due, as of the last input.
    due: Option<Timestamp>,
    last_id: u64,
    last_serial: u32,
    told: Told<Counters>,
    /// What the connection and the local network had dropped, as of the last input.
    n_dropped: u64,
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
    /// The MCU is asked for the product type again.
    ProductUuid,
    /// The host has not shown what it was offered.
    Offer,
    /// The MCU had its time to say its version.
    Mcu,
}

impl Session for JoylinkSession {
    fn new(context: Context) -> Result<Self, Fault> {
        let model = ThingModel::parse(&context.product).map_err(|error| Fault::product(error.to_string()))?;
        let settings = Settings::parse(&context.settings, &model)?;
        if settings.script.is_some() && !context.services.contains(&id::SCRIPT) {
            return Err(Fault::settings("settings.script: this host was built without scripts"));
        }
        let stored_key = storage::private_key(&context.stored).and_then(|key| KeyPair::new(key).ok());
        let is_new_key = stored_key.is_none();
        let key_pair = match stored_key {
            Some(pair) => pair,
            None => KeyPair::new(std::array::from_fn(|at| context.seed[at]))
                .map_err(|_| Fault::new(FaultCode::OTHER, NO_ENTROPY))?,
        };
        let mut random = jitter(&context.seed);
        let bond = Bond { stored: storage::bond(&context.stored), configured: settings.authorization.clone() };
        let product_uuid = storage::product_uuid(&context.stored);
        let (kinds, every_s) = settings
            .information
            .as_ref()
            .map_or((Vec::new(), 0), |wanted| (wanted.kinds.clone(), (wanted.every_ms / 1_000) as u32));
        let mut session = Self {
            lan: Lan::new(lan_settings(&settings), LAN_SOCKETS, Random::new(random.bytes())),
            cloud: Cloud::new(cloud_settings(&settings), CLOUD_STREAMS, Random::new(random.bytes())),
            script: ProductScript::new("joylink", settings.script.clone()),
            schedules: Table::new(identity::schedule_settings(&settings, bond.bond())),
            schedule_uplink: ScheduleUplink::new(settings.snapshot_delay_ms, random.below(1 << 31) as u32),
            gateway: Gateway::new(settings.max_subdevs),
            showing: Showing::default(),
            upgrades: Upgrades::new((settings.ota_report_ms / 1_000) as u32),
            updates: Updates::of(&context),
            installed: storage::installed(&context.stored),
            recipes: Runs::new(settings.timezone_offset_s, random.below(1 << 31) as u32),
            information: Fetch::new(kinds, every_s, random.below(1 << 31) as u32),
            settings,
            model,
            interfaces: context.interfaces,
            key_pair,
            is_new_key,
            bond,
            told_product_uuid: product_uuid,
            owner_since: None,
            bind_window: None,
            is_running: false,
            clock: CloudClock::default(),
            snapshot_sent: false,
            is_finding_out: false,
            uploads: Uploads::default(),
            results: VecDeque::new(),
            present: Views::default(),
            uploaded: Views::default(),
            jobs: BTreeMap::new(),
            n_decoding: 0,
            subdevices: context.subdevices,
            executions: Executions::default(),
            is_cooking: false,
            storing: BTreeMap::new(),
            timers: Timers::new(),
            due: None,
            last_id: FIRST_ID,
            last_serial: random.below(1 << 31) as u32,
            told: Told::default(),
            n_dropped: 0,
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
                | Input::Tcp(_)
                | Input::Udp(_)
                | Input::Script(_)
                | Input::Stored(..)
                | Input::Timeout
        );
        match input {
            Input::Start => self.start(now),
            Input::Timeout => {}
            Input::Reports(reports) => self.take_reports(now, reports),
            Input::Outcome(id, outcome) => self.take_outcome(now, id, &outcome),
            Input::Tcp(event) => self.cloud.tcp(now, event),
            Input::Udp(event) => self.take_udp(now, event),
            Input::Script(event) => self.take_script(now, event),
            Input::Stored(id, result) => self.take_stored(now, id, result.map_err(|failure| failure.text)),
            Input::Network(network::Event::Changed(interfaces)) => self.take_interfaces(now, interfaces),
            Input::Module(event) => self.take_module(now, &event),
            Input::Subdevices(event) => self.take_subdevices(now, event),
            Input::Ota(event) => self.take_updates(now, event),
            Input::Stop => self.stop(),
            Input::Network(_) | Input::Mqtt(_) | Input::Http(..) | Input::LogsSent(..) => {}
        }
        let something_was_due = self.run_timers(now);
        self.work(now);
        let shows = std::mem::take(&mut self.shows);
        self.tell_status(now, !routine || something_was_due || shows);
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(std::mem::take(&mut self.outputs)),
        }
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        // What depends on the clock is worked out after each input, when the time is known.
        if self.is_running { [self.due, self.told.due()].into_iter().flatten().min() } else { None }
    }
}

impl JoylinkSession {
    fn start(&mut self, now: Now) {
        self.is_running = true;
        if self.is_new_key {
            self.store_private_key();
        }
        let subdevices = self.subdevices.clone();
        self.take_subdevices(now, subdevices::Event::Changed(subdevices));
        self.wait_for_mcu(now);
        self.resume_upgrade(now);
        self.load_script();
        self.lan.start();
        self.open_cloud(now);
        self.ask_product_uuid(now);
    }

    fn stop(&mut self) {
        self.cloud.close();
        self.lan.stop();
        self.outputs.extend(self.script.unload().map(Output::Script));
        self.timers.clear_all();
        self.told.stop();
        self.jobs.clear();
        self.is_running = false;
    }

    /// True if one was due.
    fn run_timers(&mut self, now: Now) -> bool {
        if !self.is_running {
            return false;
        }
        let due = self.timers.due(now.monotonic);
        let any_due = !due.is_empty();
        for timer in due {
            match timer {
                Timer::ProductUuid => self.ask_product_uuid(now),
                Timer::Offer => self.offer_was_lost(now),
                // Firmware does not wait for it any longer, and goes on by itself.
                Timer::Mcu => {}
            }
        }
        if self.lan.next_timeout().is_some_and(|due| due <= now.monotonic) {
            self.lan.timeout(now);
        }
        if self.cloud.next_timeout().is_some_and(|due| due <= now.monotonic) {
            self.cloud.timeout(now);
        }
        self.end_silent_jobs(now);
        self.told.timeout(now.monotonic) || any_due
    }

    /// Carries out what has become possible, after every input.
    fn work(&mut self, now: Now) {
        self.serve_lan(now);
        self.serve_cloud(now);
        if self.is_running {
            self.watch_uploads(now);
            // What the device looks like goes before all that it has to tell, and what is done now shows after that.
            self.send_uploads(now);
            self.work_schedules(now);
            self.offer_firmware(now);
            self.work_services(now);
            self.acknowledge_updates();
            self.show_subdevices(now);
            self.send_uploads(now);
            self.send_results(now);
            self.convert_waiting(now);
            self.store_what_changed();
            // What was just sent may have closed or filled something.
            self.serve_cloud(now);
            self.serve_lan(now);
            self.due = self.next_due(now);
        }
        if !self.settled.is_empty() {
            let settled = std::mem::take(&mut self.settled);
            self.outputs.push(Output::Settle(settled));
        }
    }

    fn next_due(&self, now: Now) -> Option<Timestamp> {
        let uploads = self.uploads.next_due(self.settings.upload_timeout_ms).filter(|_| self.cloud.is_working());
        [
            self.timers.earliest(),
            self.lan.next_timeout(),
            self.cloud.next_timeout(),
            self.script.next_timeout(),
            self.silent_jobs_due(),
            self.schedules_due(now),
            self.services_due(),
            uploads,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn take_module(&mut self, now: Now, event: &module::Event) {
        match event {
            module::Event::Changed(facts) => {
                self.updates.facts_changed(facts);
                // An MCU that was away may know its product type now.
                if facts.mcu_online && self.timers.clear(&Timer::ProductUuid) {
                    self.ask_product_uuid(now);
                }
                if facts.mcu_online {
                    self.mcu_is_there(now);
                }
            }
            module::Event::Reset | module::Event::Unbind => self.reset(now),
            module::Event::BindWindow(seconds) => {
                let seconds = if *seconds == 0 { LONGEST_WINDOW_S } else { u64::from(*seconds).min(LONGEST_WINDOW_S) };
                self.bind_window = Some(now.monotonic.after(1_000 * seconds));
            }
            module::Event::NetworkJoined => {}
        }
    }

    fn take_interfaces(&mut self, now: Now, interfaces: Vec<network::Interface>) {
        let returned = self.interfaces.is_empty() && !interfaces.is_empty();
        self.interfaces = interfaces;
        if returned {
            self.cloud.network_up(now);
        }
    }

    fn next_id(&mut self) -> RequestId {
        self.last_id += 1;
        RequestId(self.last_id)
    }

    fn next_serial(&mut self) -> u32 {
        self.last_serial = self.last_serial.wrapping_add(1);
        self.last_serial
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

fn lan_settings(settings: &Settings) -> LanSettings {
    LanSettings {
        enabled: settings.lan_enabled,
        address: settings.lan_address.map(|address| address.to_string()).unwrap_or_default(),
        ports: settings.lan_ports.clone(),
        replay: settings.lan_replay,
        window_s: settings.lan_time_window_s,
    }
}

const fn cloud_settings(settings: &Settings) -> CloudSettings {
    CloudSettings {
        session_enctype: settings.wan_session_enctype,
        check_random: settings.check_auth_random,
        heartbeat_ms: settings.heartbeat_ms,
        lost_replies: settings.lost_replies,
        auth_timeout_ms: settings.auth_timeout_ms,
        reconnect_min_ms: settings.reconnect_min_ms,
        reconnect_max_ms: settings.reconnect_max_ms,
    }
}

/// The host makes seeds of zeros only if it is broken.
const NO_ENTROPY: &str = "no random numbers for a key pair";

/// The last part of the seed is for what others may see; the private key is made of the first part, once.
fn jitter(seed: &[u8; 32]) -> Random {
    Random::new(std::array::from_fn(|at| seed[20 + at % 12] ^ (at as u8)))
}

/// Sockets of the local network; there are at most four.
const LAN_SOCKETS: RequestId = RequestId(1);
/// Other ids follow.
const FIRST_ID: u64 = 16;
/// Streams to the cloud, each with a new number: far above what other ids ever reach.
const CLOUD_STREAMS: RequestId = RequestId(1 << 40);
/// A window to bind the device in ends by itself (not documented; chosen by us).
const LONGEST_WINDOW_S: u64 = 3_600;
