//! `polylink.network/1`: interfaces, addresses, signal, look-ups.
//!
//! Changes are found by looking every [`LOOK_EVERY`]: cheap (two system calls), and no plugin needs to know sooner, since
//! a broken connection tells it before.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use if_addrs::{IfAddr, get_if_addrs};
use polylink_plugin_api::abi_stable::std_types::{RStr, RVec};
use polylink_plugin_api::services::Network;
use polylink_plugin_api::services::network::{CHANGED, Interface, RESOLVED};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};

use super::OwnedEvent;
use super::registry::{self, CallKind, Handle};

/// The table.
pub static TABLE: Network = Network { interfaces: table_interfaces, resolve };

/// The interfaces that are up, without loopback, in the system's order. Empty where the system does not tell.
#[must_use]
pub fn interfaces() -> Vec<Interface> {
    let mut found: Vec<Interface> = Vec::new();
    for address in get_if_addrs().unwrap_or_default() {
        if address.is_loopback() {
            continue;
        }
        let at = match found.iter().position(|known| known.name == address.name) {
            Some(at) => at,
            None => {
                found.push(described(&address.name));
                found.len() - 1
            }
        };
        let interface = &mut found[at];
        match address.addr {
            IfAddr::V4(v4) if interface.ipv4.is_empty() => {
                interface.ipv4 = v4.ip.to_string().into();
                interface.broadcast = v4.broadcast.map(|address| address.to_string()).unwrap_or_default().into();
            }
            IfAddr::V4(_) => {}
            IfAddr::V6(v6) => interface.ipv6.push(v6.ip.to_string().into()),
        }
    }
    found
}

/// Broadcast addresses of all interfaces that are up.
pub fn broadcast_addresses() -> impl Iterator<Item = Ipv4Addr> {
    get_if_addrs().unwrap_or_default().into_iter().filter_map(|address| match address.addr {
        IfAddr::V4(v4) if !v4.ip.is_loopback() => v4.broadcast,
        _ => None,
    })
}

/// Looks for changes and announces them, until the runtime ends.
pub async fn watch() {
    let mut known = interfaces();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = interfaces();
        let moved = |interface: &Interface| Interface { signal_dbm: 0, ..interface.clone() };
        if !known.iter().map(moved).eq(now.iter().map(moved)) {
            tracing::info!(n_interfaces = now.len(), "the network changed");
            registry::announce(&OwnedEvent { source: Network::ID, kind: CHANGED, ..OwnedEvent::default() });
        }
        known = now;
    }
}

extern "C" fn table_interfaces(id: InstanceId) -> RVec<Interface> {
    if registry::find(id).is_none() {
        return RVec::new();
    }
    interfaces().into()
}

extern "C" fn resolve(id: InstanceId, host: RStr<'_>) -> u64 {
    let token = registry::token();
    let Some(instance) = registry::find(id) else { return token };
    let host = host.as_str().to_owned();
    if host.is_empty() || host.len() > NAME_MAX || instance.n_calls(CallKind::Resolve) >= LOOK_UPS_MAX {
        instance.fail(Network::ID, token, HostRefusal::INVALID, format!("cannot look up `{host}`"));
        return token;
    }
    instance.insert(Network::ID, polylink_plugin_api::services::FAILED, token, || {
        let task_instance = Arc::clone(&instance);
        let task = instance.runtime.spawn(async move {
            let found = task_instance.dialer.resolve(&host).await;
            task_instance.remove(token);
            match found {
                Ok(addresses) => {
                    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                    task_instance.end(Network::ID, RESOLVED, token, 0, texts.join(" "));
                }
                Err(refusal) => task_instance.fail(Network::ID, token, refusal.code, refusal.text),
            }
        });
        Handle::Call(CallKind::Resolve, task.abort_handle())
    });
    token
}

/// What the system tells of an interface beside its addresses.
fn described(name: &str) -> Interface {
    let directory = format!("/sys/class/net/{name}");
    let mac = std::fs::read_to_string(format!("{directory}/address")).ok().and_then(|text| mac(text.trim()));
    Interface {
        name: name.into(),
        mac: mac.unwrap_or_default(),
        ipv4: "".into(),
        broadcast: "".into(),
        ipv6: RVec::new(),
        wireless: std::path::Path::new(&directory).join("wireless").exists(),
        signal_dbm: std::fs::read_to_string("/proc/net/wireless").ok().and_then(|t| signal(&t, name)).unwrap_or(0),
    }
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// The fourth column of `/proc/net/wireless`, such as `-47.`.
fn signal(wireless: &str, name: &str) -> Option<i16> {
    let line = wireless.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().nth(2)?.trim_end_matches('.').parse().ok()
}

/// How often the interfaces are looked at. Chosen by us: far below the goal of two wake-ups a second in all.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// RFC 1035: a name has 253 characters at most.
const NAME_MAX: usize = 253;

/// Look-ups of one instance at once. Chosen by us.
const LOOK_UPS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_is_read_from_the_kernels_table() {
        let table = "Inter-| sta-|   Quality        |\n face | tus | link level noise |\n wlan0: 0000   63.  -47.  -256        0\n";
        assert_eq!(signal(table, "wlan0"), Some(-47));
        assert_eq!(signal(table, "wlan"), None);
        assert_eq!(signal("wlan0:", "wlan0"), None);
    }

    #[test]
    fn a_hardware_address_has_six_bytes() {
        assert_eq!(mac("02:00:5e:10:20:30"), Some([2, 0, 0x5E, 0x10, 0x20, 0x30]));
        assert_eq!(mac("02:00:5e:10:20"), None);
        assert_eq!(mac("02:00:5e:10:20:30:40"), None);
    }
}
