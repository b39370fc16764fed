//! The host's service tables as this instance found them.

use polylink_plugin_api::abi_stable::std_types::ROption;
use polylink_plugin_api::services::{Http, Logs, Module, Mqtt, Network, Ota, Script, Store, Subdevices, Tcp, Udp};
use polylink_plugin_api::{Extension, Fault, FaultCode, HostBox};

/// One table, or why there is none.
pub type Found<E> = Result<&'static E, Fault>;

/// All of them. Those that a host lacks matter only to a session that uses them.
pub struct Tables {
    pub mqtt: Found<Mqtt>,
    pub tcp: Found<Tcp>,
    pub udp: Found<Udp>,
    pub http: Found<Http>,
    pub store: Found<Store>,
    pub network: Found<Network>,
    pub module: Found<Module>,
    pub script: Found<Script>,
    pub subdevices: Found<Subdevices>,
    pub ota: Found<Ota>,
    pub logs: Found<Logs>,
}

impl Tables {
    /// Asks the host for each.
    pub fn find(host: &HostBox) -> Self {
        Self {
            mqtt: find(host),
            tcp: find(host),
            udp: find(host),
            http: find(host),
            store: find(host),
            network: find(host),
            module: find(host),
            script: find(host),
            subdevices: find(host),
            ota: find(host),
            logs: find(host),
        }
    }

    /// The fault for the first table in `required` that cannot be used. An id that this SDK does not know needs only to
    /// be offered; its user checks the layout when casting.
    pub fn require(&self, host: &HostBox, required: &[&str]) -> Result<(), Fault> {
        for &id in required {
            match id {
                Mqtt::ID => drop(self.mqtt.clone()?),
                Tcp::ID => drop(self.tcp.clone()?),
                Udp::ID => drop(self.udp.clone()?),
                Http::ID => drop(self.http.clone()?),
                Store::ID => drop(self.store.clone()?),
                Network::ID => drop(self.network.clone()?),
                Module::ID => drop(self.module.clone()?),
                Script::ID => drop(self.script.clone()?),
                Subdevices::ID => drop(self.subdevices.clone()?),
                Ota::ID => drop(self.ota.clone()?),
                Logs::ID => drop(self.logs.clone()?),
                other if host.extension(other.into()).is_none() => return Err(missing(other)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The ids of those that can be used.
    pub fn usable(&self) -> Vec<&'static str> {
        let all = [
            (Mqtt::ID, self.mqtt.is_ok()),
            (Tcp::ID, self.tcp.is_ok()),
            (Udp::ID, self.udp.is_ok()),
            (Http::ID, self.http.is_ok()),
            (Store::ID, self.store.is_ok()),
            (Network::ID, self.network.is_ok()),
            (Module::ID, self.module.is_ok()),
            (Script::ID, self.script.is_ok()),
            (Subdevices::ID, self.subdevices.is_ok()),
            (Ota::ID, self.ota.is_ok()),
            (Logs::ID, self.logs.is_ok()),
        ];
        all.into_iter().filter_map(|(id, usable)| usable.then_some(id)).collect()
    }
}

fn find<E: Extension>(host: &HostBox) -> Found<E> {
    let ROption::RSome(table) = host.extension(E::ID.into()) else { return Err(missing(E::ID)) };
    match table.cast::<E>() {
        Some(cast) => cast.map_err(|mismatch| Fault::new(FaultCode::MISSING_SERVICE, mismatch.to_string())),
        None => Err(missing(E::ID)),
    }
}

fn missing(id: &str) -> Fault {
    let message = format!("this plugin needs the service `{id}`, which this host does not offer");
    Fault::new(FaultCode::MISSING_SERVICE, message)
}
