//! `polylink.udp/1`: datagrams. Sending happens in the call itself, on a socket that never blocks; receiving runs as a
//! task whose datagrams are dropped, and counted, while the inbox is full.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use if_addrs::IfAddr;
use polylink_plugin_api::abi_stable::std_types::{RSlice, RStr};
use polylink_plugin_api::services::Udp;
use polylink_plugin_api::services::udp::{BOUND, CLOSED, RECEIVED, UdpBind};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};

use super::OwnedEvent;
use super::registry::{Instance, Port, Refusal, with_instance, with_token};
use super::resolve::numeric;

/// The table.
pub(super) static TABLE: Udp = Udp { bind, send_to, broadcast, close };

/// A bound socket that never blocks.
pub(super) struct Socket(UdpSocket);

extern "C" fn bind(id: InstanceId, wish: UdpBind<'_>) -> u64 {
    with_token(id, |instance, token| {
        if let Err(refusal) = open(instance, token, &wish) {
            instance.refuse(Udp::ID, CLOSED, token, refusal);
        }
    })
}

extern "C" fn send_to(id: InstanceId, handle: u64, to: RStr<'_>, datagram: RSlice<'_, u8>) -> bool {
    with_instance(id, false, |instance| match (instance.port(handle), to.parse::<SocketAddr>()) {
        (Some(Port::Udp(socket)), Ok(address)) => socket.0.send_to(&datagram, address).is_ok(),
        _ => false,
    })
}

extern "C" fn broadcast(id: InstanceId, handle: u64, port: u16, datagram: RSlice<'_, u8>) -> u32 {
    with_instance(id, 0, |instance| match instance.port(handle) {
        Some(Port::Udp(socket)) => {
            let sent = |address: &Ipv4Addr| socket.0.send_to(&datagram, SocketAddr::from((*address, port))).is_ok();
            u32::try_from(broadcast_addresses().iter().filter(|address| sent(address)).count()).unwrap_or(u32::MAX)
        }
        _ => 0,
    })
}

extern "C" fn close(id: InstanceId, handle: u64) {
    with_instance(id, (), |instance| {
        if matches!(instance.port(handle), Some(Port::Udp(_))) && instance.abort(handle) {
            instance.complete(Udp::ID, CLOSED, handle, HostRefusal::CLOSED, "closed on request");
        }
    });
}

fn open(instance: &Arc<Instance>, token: u64, wish: &UdpBind<'_>) -> Result<(), Refusal> {
    // Broadcasts are a matter of IPv4, so "all" means all IPv4 addresses.
    let address = match wish.address.as_str() {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        text => numeric(text).ok_or_else(|| Refusal::invalid(format!("`{}` is no address", text.escape_debug())))?,
    };
    let refused = |error: io::Error| {
        Refusal::new(HostRefusal::OTHER, format!("no UDP socket at {address} port {}: {error}", wish.port))
    };
    let socket = UdpSocket::bind((address, wish.port)).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    socket.set_broadcast(wish.broadcast).map_err(refused)?;
    let port = socket.local_addr().map_err(refused)?.port();
    let receiver = {
        let _runtime = instance.runtime.enter();
        socket.try_clone().and_then(tokio::net::UdpSocket::from_std).map_err(refused)?
    };
    // Before the task can deliver a datagram.
    let (bound, is_bound) = tokio::sync::oneshot::channel();
    let task = {
        let instance = Arc::clone(instance);
        async move {
            if is_bound.await.is_ok() {
                receive(&instance, token, &receiver).await;
            }
        }
    };
    instance.admit(token, Port::Udp(Arc::new(Socket(socket))), task)?;
    instance.complete(Udp::ID, BOUND, token, port.into(), "");
    let _ = bound.send(());
    Ok(())
}

async fn receive(instance: &Instance, token: u64, socket: &tokio::net::UdpSocket) {
    let mut datagram = vec![0; DATAGRAM_MAX];
    let mut errors = 0;
    loop {
        match socket.recv_from(&mut datagram).await {
            Ok((length, from)) => {
                errors = 0;
                let body = datagram[..length].to_vec();
                let text = from.to_string();
                instance.sink.offer(OwnedEvent { source: Udp::ID, kind: RECEIVED, token, text, body, code: 0 });
            }
            // An answer to an earlier datagram, such as "port unreachable", says nothing of the socket.
            Err(_) if errors < ERRORS_MAX => errors += 1,
            Err(error) => {
                if instance.release(token) {
                    instance.complete(Udp::ID, CLOSED, token, HostRefusal::CONNECTION_LOST, error.to_string());
                }
                return;
            }
        }
    }
}

/// Broadcast addresses of the IPv4 interfaces, each once.
fn broadcast_addresses() -> Vec<Ipv4Addr> {
    let mut addresses = Vec::new();
    for interface in if_addrs::get_if_addrs().unwrap_or_default() {
        match &interface.addr {
            IfAddr::V4(v4) if !interface.is_loopback() => addresses.extend(v4.broadcast),
            _ => {}
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Longest UDP payload over IPv4.
const DATAGRAM_MAX: usize = 65_507;

/// Errors in a row after which a socket is given up. Chosen by us.
const ERRORS_MAX: usize = 16;
