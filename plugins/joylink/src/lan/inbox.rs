//! [`Inbox`]: what becomes of a datagram. Its checks are in the order of the document; the first one that fails drops it
//! silently, and its name is counted.
//!
//! What the device would ignore anyway in its present state is dropped before it takes memory or a key: there is none for
//! a device that is not bound.

use core::net::{IpAddr, SocketAddr};

use polylink_plugin_sdk::bucket::Bucket;
use polylink_plugin_sdk::{Now, RequestId, Timestamp};

use super::{About, Access, Asker, Counters, LanRequest, LanSettings, clock, discovery, requests};
use crate::packet::{Kind, Packet, Reassembly, Refused, ReplayGuard, Route};
use crate::wire::DiscoveryAnswer;

/// What was received and has to be remembered.
#[derive(Debug)]
pub struct Inbox {
    /// By socket and sender. Bounded and lossy as it says.
    reassembly: Reassembly<(RequestId, SocketAddr)>,
    n_told_lost: u64,
    /// What was sealed with the local key.
    sealed: ReplayGuard,
    /// Authorizations, apart from the rest: anybody can make one and forge its sender, and could otherwise lock an app
    /// out with a time far ahead, or have the times of others forgotten.
    exchanged: ReplayGuard,
    discoveries: Bucket,
    exchanges: Bucket,
}

/// What a datagram leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Taken {
    /// This answer.
    Discovery(DiscoveryAnswer),
    /// This request, for the caller.
    Request(Asker, LanRequest),
    /// Nothing before more fragments come.
    Fragment,
}

impl Inbox {
    /// Nothing received so far.
    #[must_use]
    pub const fn new(settings: &LanSettings) -> Self {
        Self {
            reassembly: Reassembly::new(),
            n_told_lost: 0,
            sealed: ReplayGuard::new(settings.replay, settings.window_s),
            exchanged: ReplayGuard::new(settings.replay, settings.window_s),
            discoveries: Bucket::new(DISCOVERIES_PER_SECOND, DISCOVERIES_PER_SECOND),
            exchanges: Bucket::new(EXCHANGES_PER_SECOND, EXCHANGES_PER_SECOND),
        }
    }

    /// When messages in fragments are to be given up.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.reassembly.next_timeout()
    }

    pub(super) fn timeout(&mut self, now: Timestamp, counters: &mut Counters) {
        self.reassembly.expire(now);
        self.count_lost(counters);
    }

    #[expect(clippy::too_many_arguments, reason = "a datagram, and what it is judged by")]
    pub(super) fn take(
        &mut self,
        now: Now,
        socket: RequestId,
        peer: &str,
        bytes: &[u8],
        about: &About,
        access: &Access<'_>,
        counters: &mut Counters,
    ) -> Result<Taken, &'static str> {
        let peer = answerable(peer).ok_or("peer")?;
        let packet = Packet::decode_datagram(Route::AppToDevice, bytes).map_err(Refused::name)?;
        is_for(packet.kind, about, access)?;
        let whole = self.reassembly.take(now.monotonic, (socket, peer), packet);
        self.count_lost(counters);
        let Some(packet) = whole.map_err(Refused::name)? else { return Ok(Taken::Fragment) };
        if packet.kind == Kind::Discovery {
            return self.discovery(now, &packet, about, access).map(Taken::Discovery);
        }
        let (timestamp, request) = self.request(now, peer.ip(), &packet, access)?;
        Ok(Taken::Request(Asker { socket, peer, kind: packet.kind, timestamp }, request))
    }

    fn discovery(
        &mut self,
        now: Now,
        packet: &Packet,
        about: &About,
        access: &Access<'_>,
    ) -> Result<DiscoveryAnswer, &'static str> {
        let answer = discovery::answer(&packet.payload, about, access.pair.public())?;
        if self.discoveries.take(now.monotonic) { Ok(answer) } else { Err("rate") }
    }

    fn request(
        &mut self,
        now: Now,
        source: IpAddr,
        packet: &Packet,
        access: &Access<'_>,
    ) -> Result<(u32, LanRequest), &'static str> {
        let is_exchanged = matches!(packet.kind, Kind::Authorization | Kind::SubAuthorization);
        let opened = if is_exchanged {
            if !self.exchanges.take(now.monotonic) {
                return Err("exchange_rate");
            }
            packet.open_exchanged(access.pair)
        } else {
            packet.open(&access.localkey.ok_or("unbound")?.cipher_key())
        };
        let opened = opened.map_err(Refused::name)?;
        let request = requests::read(packet.kind, &opened).map_err(Refused::name)?;
        let guard = if is_exchanged { &mut self.exchanged } else { &mut self.sealed };
        guard.accept(source.to_canonical(), opened.timestamp, clock(now)).map_err(Refused::name)?;
        if request.is_known() { Ok((opened.timestamp, request)) } else { Err("biz_code") }
    }

    fn count_lost(&mut self, counters: &mut Counters) {
        let n_lost = self.reassembly.n_lost();
        counters.count_all("incomplete", n_lost - self.n_told_lost);
        self.n_told_lost = n_lost;
    }
}

/// The sender, if it can be one: a datagram that pretends to come from a whole network would make us send to all of it.
fn answerable(peer: &str) -> Option<SocketAddr> {
    let peer: SocketAddr = peer.parse().ok()?;
    let is_many = match peer.ip().to_canonical() {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    };
    (!is_many && !peer.ip().is_unspecified() && peer.port() != 0).then_some(peer)
}

/// Whether the device takes packets of this type in its present state.
fn is_for(kind: Kind, about: &About, access: &Access<'_>) -> Result<(), &'static str> {
    let is_for_gateways = matches!(kind, Kind::SubAuthorization | Kind::SubJson | Kind::SubScript | Kind::AddSubDevice);
    let is_control = matches!(kind, Kind::Json | Kind::Script | Kind::SubJson | Kind::SubScript | Kind::Timers);
    let is_bound = about.is_bound() && access.localkey.is_some();
    if !is_bound && !matches!(kind, Kind::Discovery | Kind::Authorization) {
        return Err("unbound");
    }
    if is_for_gateways && !about.is_gateway() {
        return Err("not_gateway");
    }
    if is_control && !about.lancon { Err("lancon") } else { Ok(()) }
}

/// Discoveries that are answered at once, and in a second in the long run (JoyLink V1.79 has no limit; ours). What is
/// above it is dropped: apps ask again.
const DISCOVERIES_PER_SECOND: u32 = 20;

/// Key exchanges in a second. Not documented; chosen by us: it is by far the slowest thing that a packet can ask
/// for, and anybody can ask. What is above it is dropped: an app that binds asks again.
const EXCHANGES_PER_SECOND: u32 = 20;
