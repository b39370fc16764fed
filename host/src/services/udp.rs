//! `polylink.udp/1`: datagrams for plugins. One task per socket reads; sending is done by the caller, without waiting.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use polylink_plugin_api::abi_stable::std_types::{RSlice, RStr};
use polylink_plugin_api::services::Udp;
use polylink_plugin_api::services::udp::{BOUND, CLOSED, RECEIVED, UdpBind};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::dial::Refusal;
use super::registry::{self, AbortOnDrop, Handle, Instance};
use super::{OwnedEvent, network};

/// The table.
pub static TABLE: Udp = Udp { bind, send_to, broadcast, close };

/// An open socket, or one on its way.
pub struct Socket {
    shared: Arc<Shared>,
    _task: AbortOnDrop,
}

#[derive(Default)]
struct Shared {
    /// `None` until it is bound.
    socket: Mutex<Option<Arc<UdpSocket>>>,
    closing: Notify,
}

impl Socket {
    /// Closes.
    pub fn close(&self) {
        self.shared.closing.notify_one();
    }
}

extern "C" fn bind(id: InstanceId, options: UdpBind<'_>) -> u64 {
    let token = registry::token();
    let Some(instance) = registry::find(id) else { return token };
    let address = if options.address.is_empty() { "0.0.0.0" } else { options.address.as_str() }.to_owned();
    let (port, may_broadcast) = (options.port, options.broadcast);
    instance.insert(Udp::ID, CLOSED, token, || {
        let shared = Arc::new(Shared::default());
        let (task_instance, task_shared) = (Arc::clone(&instance), Arc::clone(&shared));
        let task = instance.runtime.spawn(async move {
            let ended = tokio::select! {
                refusal = serve(&task_instance, token, &address, port, may_broadcast, &task_shared) => refusal,
                () = task_shared.closing.notified() => Refusal::new(HostRefusal::CLOSED, "closed"),
            };
            task_instance.remove(token);
            task_instance.end(Udp::ID, CLOSED, token, ended.code, ended.text);
        });
        Handle::Udp(Socket { shared, _task: AbortOnDrop(task.abort_handle()) })
    });
    token
}

extern "C" fn send_to(id: InstanceId, handle: u64, to: RStr<'_>, bytes: RSlice<'_, u8>) -> bool {
    let Some(socket) = find(id, handle) else { return false };
    let Ok(to) = to.as_str().parse::<SocketAddr>() else { return false };
    socket.try_send_to(bytes.as_slice(), to).is_ok()
}

extern "C" fn broadcast(id: InstanceId, handle: u64, port: u16, bytes: RSlice<'_, u8>) -> u32 {
    let Some(socket) = find(id, handle) else { return 0 };
    let sent = network::broadcast_addresses()
        .filter(|address: &Ipv4Addr| socket.try_send_to(bytes.as_slice(), (*address, port).into()).is_ok());
    u32::try_from(sent.count()).unwrap_or(u32::MAX)
}

extern "C" fn close(id: InstanceId, handle: u64) {
    let Some(instance) = registry::find(id) else { return };
    instance.with(handle, |handle| match handle {
        Handle::Udp(socket) => Some(socket.close()),
        _ => None,
    });
}

fn find(id: InstanceId, handle: u64) -> Option<Arc<UdpSocket>> {
    registry::find(id)?.with(handle, |handle| match handle {
        Handle::Udp(socket) => socket.shared.socket.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        _ => None,
    })
}

async fn serve(
    instance: &Instance,
    token: u64,
    address: &str,
    port: u16,
    may_broadcast: bool,
    shared: &Shared,
) -> Refusal {
    let bound = async {
        let socket = UdpSocket::bind((address, port)).await?;
        socket.set_broadcast(may_broadcast)?;
        let port = socket.local_addr()?.port();
        Ok::<_, std::io::Error>((Arc::new(socket), port))
    };
    let (socket, port) = match bound.await {
        Ok(bound) => bound,
        Err(error) => {
            return Refusal::new(HostRefusal::INVALID, format!("cannot bind UDP {address}:{port}: {error}"));
        }
    };
    *shared.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&socket));
    instance.sink.complete(OwnedEvent { code: port.into(), ..event(BOUND, token) });
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        match socket.recv_from(&mut datagram).await {
            Ok((n_bytes, from)) => {
                let body = datagram[..n_bytes].to_vec();
                instance.sink.offer(OwnedEvent { text: from.to_string(), body, ..event(RECEIVED, token) });
            }
            // An ICMP answer to something sent before; the socket is well.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Refusal::new(HostRefusal::CONNECTION_LOST, format!("UDP port {port}: {error}")),
        }
        // A flood of datagrams must not keep the other sockets waiting.
        tokio::task::yield_now().await;
    }
}

fn event(kind: u32, token: u64) -> OwnedEvent {
    OwnedEvent { source: Udp::ID, kind, token, ..OwnedEvent::default() }
}

/// The largest IPv4 datagram.
const DATAGRAM_MAX: usize = 65_536;
