//! `polylink.network/1`: interfaces, addresses and Wi-Fi signal; and the watch that tells when they change.
//!
//! Changes are heard from the kernel over a netlink socket, whose messages are not read but only taken as a hint to look
//! again; where there is no such socket the interfaces are looked at every half minute.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use if_addrs::{IfAddr, IfOperStatus};
use polylink_plugin_api::abi_stable::std_types::{RStr, RVec};
use polylink_plugin_api::services::Network;
use polylink_plugin_api::services::network::{CHANGED, Interface, RESOLVED};
use polylink_plugin_api::{Extension, InstanceId};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::UdpSocket;
use tracing::{debug, info};

use super::OwnedEvent;
use super::registry::{Instance, Port, with_instance, with_token};

/// The table.
pub(super) static TABLE: Network = Network { interfaces: told_interfaces, resolve };

extern "C" fn told_interfaces(id: InstanceId) -> RVec<Interface> {
    with_instance(id, RVec::new(), |_| interfaces().into())
}

extern "C" fn resolve(id: InstanceId, host: RStr<'_>) -> u64 {
    with_token(id, |instance, token| {
        let task = look_up(Arc::clone(instance), token, host.to_string());
        if let Err(refusal) = instance.admit(token, Port::Resolve, task) {
            instance.fail(Network::ID, token, refusal);
        }
    })
}

/// The news that the network changed.
pub(super) fn changed() -> OwnedEvent {
    OwnedEvent { source: Network::ID, kind: CHANGED, ..OwnedEvent::default() }
}

/// Calls `announce` after each change, until that says false.
pub(super) async fn watch(announce: impl Fn() -> bool + Send) {
    let mut hints = listen().inspect_err(|error| debug!(%error, "no netlink socket; interfaces are polled")).ok();
    // Only the first look is taken on the I/O thread, before anything runs there.
    let mut known = facts();
    loop {
        hints = next_hint(hints).await;
        // The system's tables are read through drivers, and one may wait for its firmware.
        let Ok(now) = tokio::task::spawn_blocking(facts).await else { continue };
        if now != known {
            known = now;
            info!("the network changed");
            if !announce() {
                return;
            }
        }
    }
}

/// Waits until it is worth while to look again; a socket that breaks is given up.
async fn next_hint(hints: Option<UdpSocket>) -> Option<UdpSocket> {
    let Some(hints) = hints else {
        tokio::time::sleep(POLL).await;
        return None;
    };
    hints.readable().await.ok()?;
    // An interface that comes up says so many times in a row.
    tokio::time::sleep(SETTLE).await;
    let mut message = [0; 4096];
    for _ in 0..HINTS_MAX {
        match hints.try_recv(&mut message) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // Also when the kernel says that hints were lost: what counts is the look that follows.
            Ok(_) | Err(_) => {}
        }
    }
    Some(hints)
}

/// A netlink socket, held as what it is to the runtime: a socket of datagrams.
fn listen() -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol is protocol 0, which is NETLINK_ROUTE.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, RTMGRP))?;
    UdpSocket::from_std(socket.into())
}

/// The interfaces, without what changes all the time.
fn facts() -> Vec<Interface> {
    let mut interfaces = interfaces();
    for interface in &mut interfaces {
        interface.signal_dbm = 0;
    }
    interfaces
}

/// The interfaces that are up and have an address, without loopback, in the system's order. Empty where the system does
/// not tell.
#[must_use]
pub fn interfaces() -> Vec<Interface> {
    let wireless = fs::read_to_string("/proc/net/wireless").unwrap_or_default();
    let mut found: Vec<Interface> = Vec::new();
    for address in if_addrs::get_if_addrs().unwrap_or_default() {
        let is_down = matches!(address.oper_status, IfOperStatus::Down | IfOperStatus::NotPresent);
        if address.is_loopback() || is_down {
            continue;
        }
        let at = found.iter().position(|interface| interface.name.as_str() == address.name).unwrap_or_else(|| {
            found.push(describe(&address.name, &wireless));
            found.len() - 1
        });
        let interface = &mut found[at];
        match address.addr {
            // Only the first IPv4 address has a place; further ones are aliases.
            IfAddr::V4(v4) if interface.ipv4.is_empty() => {
                interface.ipv4 = v4.ip.to_string().into();
                interface.broadcast = v4.broadcast.map(|ip| ip.to_string()).unwrap_or_default().into();
            }
            IfAddr::V4(_) => {}
            IfAddr::V6(v6) => interface.ipv6.push(v6.ip.to_string().into()),
        }
    }
    found
}

/// The MAC address of the module, also while it has no network: that of the first wireless interface, else of the first
/// one that has any, in order of name. None where the system does not tell.
#[must_use]
pub fn hardware_address() -> Option<[u8; 6]> {
    let mut found: Vec<Interface> = names().iter().map(|name| describe(name, "")).collect();
    found.retain(|interface| interface.mac != [0; 6]);
    found.iter().find(|interface| interface.wireless).or(found.first()).map(|interface| interface.mac)
}

/// Whether the module has a wireless interface, up or not.
#[must_use]
pub fn has_radio() -> bool {
    names().iter().any(|name| is_wireless(&Path::new(SYSTEM).join(name)))
}

/// The names of all interfaces, in order. Empty where the system does not tell.
fn names() -> Vec<String> {
    let entries = fs::read_dir(SYSTEM).into_iter().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn is_wireless(system: &Path) -> bool {
    system.join("wireless").exists() || system.join("phy80211").exists()
}

fn describe(name: &str, wireless: &str) -> Interface {
    let system = Path::new(SYSTEM).join(name);
    let mac = fs::read_to_string(system.join("address")).ok().and_then(|text| parse_mac(&text)).unwrap_or_default();
    let is_wireless = is_wireless(&system);
    Interface {
        name: name.into(),
        mac,
        ipv4: "".into(),
        broadcast: "".into(),
        ipv6: RVec::new(),
        wireless: is_wireless,
        signal_dbm: if is_wireless { signal_dbm(wireless, name) } else { 0 },
    }
}

/// Where Linux shows its interfaces (sysfs).
const SYSTEM: &str = "/sys/class/net";

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.trim().split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// The signal level of an interface in the table of `/proc/net/wireless`: `wlan0: 0000   70.  -40.  -256 …`.
fn signal_dbm(table: &str, name: &str) -> i16 {
    let row = table.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'));
    let level = row.and_then(|row| row.split_whitespace().nth(2));
    let level = level.and_then(|text| text.trim_end_matches('.').parse::<i16>().ok()).unwrap_or(0);
    // Some drivers give the byte without its sign.
    if level > 63 { level - 256 } else { level }
}

async fn look_up(instance: Arc<Instance>, token: u64, host: String) {
    let limit = tokio::time::timeout(RESOLVE_TIMEOUT, instance.dialer.resolver.resolve(&host)).await;
    if !instance.release(token) {
        return;
    }
    match limit {
        Ok(Ok(addresses)) => {
            let text: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            instance.complete(Network::ID, RESOLVED, token, 0, text.join(" "));
        }
        Ok(Err(refusal)) => instance.fail(Network::ID, token, refusal),
        Err(_) => {
            let text = format!("no answer for `{host}` within {RESOLVE_TIMEOUT:?}");
            instance.fail(
                Network::ID,
                token,
                super::registry::Refusal::new(polylink_plugin_api::HostRefusal::TIMEOUT, text),
            );
        }
    }
}

/// Links, IPv4 and IPv6 addresses (`RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`, rtnetlink(7)).
const RTMGRP: u32 = 0x1 | 0x10 | 0x100;

/// Not documented; chosen by us: an interface has its address within a second of coming up, mostly.
const SETTLE: Duration = Duration::from_millis(500);

/// Not documented; chosen by us: rare enough to let the module sleep.
const POLL: Duration = Duration::from_secs(30);

/// Messages thrown away before the interfaces are looked at; more wait for the next round. Chosen by us.
const HINTS_MAX: usize = 64;

/// Not documented; chosen by us, as for connections.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const WIRELESS: &str = "\
Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
 wlan0: 0000   70.  -40.  -256        0      0      0      0      0        0
wlan1: 0000   50   216   0        0      0      0      0      0        0
";

    #[test]
    fn the_signal_is_found_in_the_systems_table() {
        for (name, dbm) in [("wlan0", -40), ("wlan1", -40), ("wlan", 0), ("eth0", 0)] {
            assert_eq!(signal_dbm(WIRELESS, name), dbm, "{name}");
        }
        assert_eq!(signal_dbm("wlan0:", "wlan0"), 0);
        assert_eq!(signal_dbm("wlan0: a b c", "wlan0"), 0);
    }

    #[test]
    fn hardware_addresses_are_six_bytes() {
        assert_eq!(parse_mac("00:1a:2b:3c:4d:ff\n"), Some([0, 0x1a, 0x2b, 0x3c, 0x4d, 0xff]));
        for text in ["", "00:1a:2b:3c:4d", "00:1a:2b:3c:4d:ff:00", "zz:1a:2b:3c:4d:ff"] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }

    #[test]
    fn loopback_is_not_told() {
        assert!(interfaces().iter().all(|interface| interface.name.as_str() != "lo"));
    }

    #[tokio::test]
    async fn the_kernel_lets_us_listen_for_changes() {
        listen().unwrap();
    }
}
