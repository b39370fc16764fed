//! The module as plugins and the MCU see it: who the MCU is, how the network stands, who watches.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use polylink_plugin_api::services::module::Facts;
use polylink_plugin_api::services::network::Interface;
use tokio::sync::Notify;

use crate::config::HostConfig;
use crate::mcu::{Identity, ModuleState};
use crate::services::ModuleHooks;
use crate::services::clock::Clock;

/// Shared by the port, the plugins and the control socket.
pub struct ModuleSide {
    clock: Clock,
    /// The configuration names the product; what the MCU says does not count then.
    product_is_set: bool,
    state: Mutex<State>,
    /// The MCU should be told how the module stands.
    pub changed: Notify,
}

#[derive(Default)]
struct State {
    facts: Facts,
    identity: Option<Identity>,
    applications: BTreeMap<String, u32>,
    counters: BTreeMap<&'static str, u64>,
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
        let state = State { facts, ..State::default() };
        Self { clock, product_is_set: set_key.is_some(), state: Mutex::new(state), changed: Notify::new() }
    }

    /// The MCU said who it is.
    pub fn identified(&self, identity: Identity) {
        let mut state = self.lock();
        if !self.product_is_set {
            state.facts.product_key = identity.product_key.as_str().into();
        }
        state.facts.serial = identity.serial.as_str().into();
        state.facts.mcu_hardware = identity.hardware.as_str().into();
        state.facts.mcu_software = identity.software.as_str().into();
        state.facts.mcu_payload_version = identity.payload_version.as_str().into();
        state.facts.device_attributes = identity.device_attributes;
        state.identity = Some(identity);
    }

    /// The MCU answers, or has fallen silent. True: that is news.
    pub fn mcu_online(&self, online: bool) -> bool {
        let mut state = self.lock();
        std::mem::replace(&mut state.facts.mcu_online, online) != online
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

    /// How the module stands, for the MCU.
    pub fn state(&self, cloud: bool, interfaces: &[Interface]) -> ModuleState {
        let first = interfaces.iter().find(|interface| !interface.ipv4.is_empty());
        let mac = first.map(|interface| interface.mac.iter().map(|byte| format!("{byte:02X}")).collect());
        let signal = first.filter(|interface| interface.wireless).map(|interface| percent(interface.signal_dbm));
        let state = self.lock();
        ModuleState {
            network: first.is_some(),
            cloud,
            applications: state.applications.values().any(|count| *count > 0),
            // A cable has no signal to lose.
            signal_percent: signal.unwrap_or(if first.is_some() { 100 } else { 0 }),
            bindable: state.identity.as_ref().is_some_and(|identity| identity.bind_window_s.is_none()),
            onboarding: false,
            access_point: false,
            station: first.is_some(),
            mac: mac.unwrap_or_default(),
            ip: first.map(|interface| interface.ipv4.to_string()).unwrap_or_default(),
            hardware: state.facts.module_hardware.to_string(),
            software: state.facts.module_software.to_string(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModuleHooks for ModuleSide {
    fn facts(&self) -> Facts {
        self.lock().facts.clone()
    }

    fn request_restart(&self, instance: &str, reason: &str) -> bool {
        tracing::warn!(cloud = instance, reason, "a plugin asks for a restart of the module, which is not offered");
        false
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

    fn join_network(&self, instance: &str, _ssid: &str, _password: &str) -> bool {
        tracing::warn!(cloud = instance, "a plugin was told a Wi-Fi network, but this host joins none");
        false
    }

    fn end_production_test(&self, instance: &str) -> bool {
        tracing::warn!(cloud = instance, "a plugin was asked to end a production test, but this host knows none");
        false
    }

    fn third_party_cloud(&self, instance: &str, name: &str, parameters: &str) {
        tracing::info!(cloud = instance, name, parameters, "the product belongs to another cloud too");
    }
}

/// -100 dBm and less is nothing, -50 dBm and more is all there is (Gizwits specification 7.3 uses the same scale).
fn percent(dbm: i16) -> u8 {
    if dbm == 0 {
        return 0;
    }
    u8::try_from((i32::from(dbm) + 100).saturating_mul(2).clamp(0, 100)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn the_signal_in_percent_is_linear_between_its_ends() {
        for (dbm, expected) in [(0, 0), (-120, 0), (-100, 0), (-75, 50), (-50, 100), (-20, 100)] {
            assert_eq!(percent(dbm), expected, "{dbm} dBm");
        }
    }
}
