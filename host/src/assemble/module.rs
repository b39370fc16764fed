//! The module as plugins and the MCU see it: who the MCU is, how the network stands, who watches, and what is under way
//! with the network (the rest of [`ModuleSide`] in [`super::network`]).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use polylink_plugin_api::Timestamp;
use polylink_plugin_api::services::module::Facts;
use polylink_plugin_api::services::network::Interface;
use tokio::sync::Notify;

use crate::config::HostConfig;
use crate::log::Redacted;
use crate::mcu::{Identity, ModuleState};
use crate::module::binding::{Bindable, BindingWindow};
use crate::module::hook::{HookQueue, HookSettings};
use crate::module::join_marker::JoinMarker;
use crate::module::modes::Modes;
use crate::module::restart;
use crate::module::third_party::{Hint, Named};
use crate::services::ModuleHooks;
use crate::services::clock::Clock;

/// Shared by the port, the plugins and the control socket.
pub struct ModuleSide {
    pub(super) clock: Clock,
    started: Timestamp,
    /// The configuration names the product; what the MCU says does not count then.
    product_is_set: bool,
    restart_is_allowed: bool,
    pub(super) hook: Option<HookSettings>,
    pub(super) calls: HookQueue,
    pub(super) marker: JoinMarker,
    state: Mutex<State>,
    /// There is news, or the MCU should be told how the module stands.
    pub changed: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub facts: Facts,
    identity: Option<Identity>,
    applications: BTreeMap<String, u32>,
    counters: BTreeMap<&'static str, u64>,
    pub binding: BindingWindow,
    pub modes: Modes,
    /// What the program is being told to join.
    pub joining: Option<Redacted<String>>,
    named: Named,
    /// Clouds that are online.
    online: Vec<String>,
    pub news: News,
}

/// What the host's loop is to announce or do. News of one kind that came since it looked last are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Facts changed.
    pub changed: bool,
    /// The user opened the binding window, for so many seconds; 0: without limit.
    pub bind_window: Option<u32>,
    /// The network was joined for the first time.
    pub joined: bool,
    /// Another cloud was named.
    pub named: bool,
    /// A cloud asked for a restart, and gets it.
    pub restart: bool,
}

/// How the module stands, for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What it does.
    pub mode: &'static str,
    /// A new owner may bind the device.
    pub bindable: bool,
    /// Milliseconds until the binding window closes by itself.
    pub bindable_ms: Option<u64>,
    /// Clouds that another cloud named.
    pub named: Vec<(String, Hint)>,
}

impl ModuleSide {
    /// What is known before the MCU has said anything.
    pub fn new(config: &HostConfig, clock: Clock) -> Self {
        let software = match config.module.software.as_str() {
            "" => env!("CARGO_PKG_VERSION"),
            software => software,
        };
        let set_key = config.mcu.product_key.as_ref().map(|key| key.as_str());
        let facts = Facts {
            product_key: set_key.unwrap_or_default().into(),
            module_hardware: config.module.hardware.as_str().into(),
            module_software: software.into(),
            ..Facts::default()
        };
        let marker = JoinMarker::new(&config.host.state_dir);
        let binding = BindingWindow::new(config.module.bindable_at_start);
        let state = State { facts, binding, modes: Modes::new(marker.is_set()), ..State::default() };
        Self {
            started: clock.now().monotonic,
            clock,
            product_is_set: set_key.is_some(),
            restart_is_allowed: config.module.restart_on_request,
            hook: config.network.hook(),
            calls: HookQueue::default(),
            marker,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// The MCU said who it is.
    pub fn identified(&self, identity: Identity) {
        let now = self.now();
        let mut state = self.lock();
        if !self.product_is_set {
            state.facts.product_key = identity.product_key.as_str().into();
        }
        state.facts.serial = identity.serial.as_str().into();
        state.facts.mcu_hardware = identity.hardware.as_str().into();
        state.facts.mcu_software = identity.software.as_str().into();
        state.facts.mcu_payload_version = identity.payload_version.as_str().into();
        state.facts.device_attributes = identity.device_attributes;
        state.binding.learn(now, identity.bind_window_s.map_or(Bindable::Always, Bindable::For));
        state.identity = Some(identity);
    }

    /// The MCU answers, or has fallen silent. True: that is news.
    pub fn mcu_online(&self, online: bool) -> bool {
        let mut state = self.lock();
        std::mem::replace(&mut state.facts.mcu_online, online) != online
    }

    /// Whether the MCU answers.
    pub fn is_mcu_online(&self) -> bool {
        self.lock().facts.mcu_online
    }

    /// Something on the line was wrong.
    pub fn count(&self, counter: &'static str) {
        *self.lock().counters.entry(counter).or_default() += 1;
    }

    /// What the MCU said of itself.
    pub fn identity(&self) -> Option<Identity> {
        self.lock().identity.clone()
    }

    /// What was wrong on the line, and how often.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.lock().counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    /// These clouds are online.
    pub fn online(&self, clouds: Vec<String>) {
        self.lock().online = clouds;
    }

    /// Whether a cloud named this one.
    pub fn is_named(&self, cloud: &str) -> bool {
        self.lock().named.has(cloud)
    }

    /// The product is another one, or a factory reset was asked for: what clouds named belongs to the past.
    pub fn forget_named(&self) {
        self.lock().named.forget();
    }

    /// What is to be announced or done, since this was asked last.
    pub fn take_news(&self) -> News {
        std::mem::take(&mut self.lock().news)
    }

    /// How the module stands, for the MCU.
    pub fn state(&self, cloud: bool, interfaces: &[Interface]) -> ModuleState {
        let first = interfaces.iter().find(|interface| is_network(interface));
        let mac = first.map(|interface| hex(interface.mac));
        let signal = first.filter(|interface| interface.wireless).map(|interface| percent(interface.signal_dbm));
        let now = self.now();
        let state = self.lock();
        let bits = state.modes.bits();
        ModuleState {
            network: first.is_some(),
            cloud,
            applications: state.applications.values().any(|count| *count > 0),
            // A cable has no signal to lose.
            signal_percent: signal.unwrap_or(if first.is_some() { 100 } else { 0 }),
            bindable: state.binding.is_open(now),
            onboarding: bits.onboarding,
            access_point: bits.access_point,
            station: bits.station.unwrap_or(first.is_some()),
            production_test: bits.production_test,
            mac: mac.unwrap_or_default(),
            ip: first.map(|interface| interface.ipv4.to_string()).unwrap_or_default(),
            hardware: state.facts.module_hardware.to_string(),
            software: state.facts.module_software.to_string(),
        }
    }

    /// How the module stands, for operators.
    pub fn standing(&self) -> Standing {
        let now = self.now();
        let state = self.lock();
        Standing {
            mode: state.modes.name(),
            bindable: state.binding.is_open(now),
            bindable_ms: state.binding.next_timeout().map(|until| until.since(now)),
            named: state.named.iter().map(|(name, hint)| (name.to_owned(), hint.clone())).collect(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now().monotonic
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModuleHooks for ModuleSide {
    fn facts(&self) -> Facts {
        let now = self.now();
        let state = self.lock();
        let (bindable, onboarding) = (state.binding.is_open(now), state.modes.is_onboarding());
        Facts { bindable, onboarding, ..state.facts.clone() }
    }

    fn request_restart(&self, instance: &str, reason: &str) -> bool {
        let uptime_ms = self.now().since(self.started);
        let mut state = self.lock();
        let others: Vec<&str> = state.online.iter().map(String::as_str).filter(|name| *name != instance).collect();
        let decided = restart::decide(self.restart_is_allowed, uptime_ms, &others);
        match &decided {
            Ok(()) => {
                state.news.restart = true;
                self.changed.notify_one();
                tracing::warn!(cloud = instance, reason, "a cloud asks for a restart of the module, and gets it");
            }
            Err(refusal) => {
                tracing::warn!(cloud = instance, reason, refusal, "a cloud asks for a restart of the module in vain");
            }
        }
        decided.is_ok()
    }

    fn offer_time(&self, instance: &str, unix_ms: i64) {
        if self.clock.offer(unix_ms) {
            tracing::info!(cloud = instance, unix_ms, "the clock was never set; the cloud's time is used");
        }
    }

    fn applications(&self, instance: &str, count: u32) {
        let before = self.lock().applications.insert(instance.to_owned(), count);
        if before.unwrap_or(0) != count {
            self.changed.notify_one();
        }
    }

    fn join_network(&self, instance: &str, ssid: &str, password: &str) -> bool {
        let onboarding = self.lock().modes.is_onboarding();
        if !onboarding {
            tracing::warn!(cloud = instance, "a plugin was told a Wi-Fi network, but onboarding is not open");
        }
        onboarding && self.join(instance, ssid, password)
    }

    fn end_production_test(&self, instance: &str) -> bool {
        self.end_test(instance)
    }

    fn third_party_cloud(&self, instance: &str, name: &str, parameters: &str) {
        let mut state = self.lock();
        match state.named.add(instance, name, parameters) {
            Ok(false) => {}
            Ok(true) => {
                // Not the parameters: they are for that cloud's plugin, and the log may go to a third one.
                tracing::info!(cloud = instance, name, "the product belongs to another cloud too");
                state.news.named = true;
                self.changed.notify_one();
            }
            Err(why) => tracing::warn!(cloud = instance, "another cloud is named and not remembered: {why}"),
        }
    }
}

/// An address at which the module is a guest; at its own access point it is the host.
pub(super) fn is_network(interface: &Interface) -> bool {
    !interface.ipv4.is_empty() && interface.ipv4.as_str() != ACCESS_POINT
}

/// A MAC address as the MCU and the product's program get it: 12 upper-case hex digits.
pub(super) fn hex(mac: [u8; 6]) -> String {
    mac.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// -100 dBm and less is nothing, -50 dBm and more is all there is (Gizwits specification 7.3 uses the same scale).
fn percent(dbm: i16) -> u8 {
    if dbm == 0 {
        return 0;
    }
    u8::try_from((i32::from(dbm) + 100).saturating_mul(2).clamp(0, 100)).unwrap_or(0)
}

/// The module's address at its own access point (GAgent product specification 6.2).
const ACCESS_POINT: &str = "10.10.100.254";

#[cfg(test)]
mod tests;
