//! Host names to addresses, by the system's resolver, with a small memory.
//!
//! Numeric addresses need no look-up. A name that was found is remembered for a minute; when a later look-up fails, the
//! old answer is used, so that a sick name server does not take a healthy cloud away.
//!
//! The system's resolver blocks, for half a minute when no server answers, and cannot be interrupted. So at most
//! [`LOOK_UPS_MAX`] threads are in it; who asks beyond that waits outside, and leaves when its own time is up.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polylink_plugin_api::HostRefusal;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::registry::{Refusal, locked};

/// Looks up names; shared by all instances.
pub(super) struct Resolver {
    known: Mutex<HashMap<String, Answer>>,
    /// Threads that may enter the system's resolver.
    threads: Arc<Semaphore>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { known: Mutex::default(), threads: Arc::new(Semaphore::new(LOOK_UPS_MAX)) }
    }
}

struct Answer {
    found: Instant,
    addresses: Vec<IpAddr>,
}

impl Resolver {
    /// The addresses of a host, best first, never none.
    ///
    /// # Errors
    /// [`HostRefusal::INVALID`] for what is no host name, [`HostRefusal::RESOLVE`] for one that is not found.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Refusal> {
        if let Some(address) = numeric(host) {
            return Ok(vec![address]);
        }
        if host.is_empty() || host.len() > NAME_MAX || host.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(Refusal::invalid(format!("`{}` is not a host name", host.escape_debug())));
        }
        if let Some(addresses) = self.remembered(host, Some(FRESH)) {
            return Ok(addresses);
        }
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        // Who waited may find that somebody else has asked the same meanwhile.
        if let Some(addresses) = self.remembered(host, Some(FRESH)) {
            return Ok(addresses);
        }
        let found = look_up(host.to_owned(), thread).await.map(|found| dedupe(found.into_iter()));
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                self.remember(host, &addresses);
                Ok(addresses)
            }
            other => self.remembered(host, None).ok_or_else(|| {
                let why = other.err().map(|error| format!(": {error}")).unwrap_or_default();
                Refusal::new(HostRefusal::RESOLVE, format!("no address for `{host}`{why}"))
            }),
        }
    }

    fn remembered(&self, host: &str, younger_than: Option<Duration>) -> Option<Vec<IpAddr>> {
        let known = locked(&self.known);
        let answer = known.get(host)?;
        let is_young = younger_than.is_none_or(|age| answer.found.elapsed() < age);
        is_young.then(|| answer.addresses.clone())
    }

    fn remember(&self, host: &str, addresses: &[IpAddr]) {
        let mut known = locked(&self.known);
        if known.len() >= NAMES_MAX && !known.contains_key(host) {
            let oldest = known.iter().min_by_key(|(_, answer)| answer.found).map(|(name, _)| name.clone());
            oldest.and_then(|name| known.remove(&name));
        }
        known.insert(host.to_owned(), Answer { found: Instant::now(), addresses: addresses.to_vec() });
    }
}

/// Asks the system on a blocking thread, which gives its place back when it is done, not when nobody waits any more.
async fn look_up(host: String, thread: Result<OwnedSemaphorePermit, AcquireError>) -> io::Result<Vec<IpAddr>> {
    let asked = tokio::task::spawn_blocking(move || {
        let _thread = thread;
        (host.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect())
    });
    asked.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// An address written in numbers, also `[::1]`.
pub(super) fn numeric(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).parse().ok()
}

fn dedupe(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut unique = Vec::new();
    for address in addresses {
        if !unique.contains(&address) && unique.len() < ADDRESSES_MAX {
            unique.push(address);
        }
    }
    unique
}

/// An answer younger than this is used without asking again. Not documented; chosen by us: the system's resolver does
/// not tell the lifetime of its answers.
const FRESH: Duration = Duration::from_secs(60);

/// Look-ups in the system's resolver at once, for all instances. Not documented; chosen by us: a name server that is
/// silent must leave threads for the stores.
pub const LOOK_UPS_MAX: usize = 2;

/// Names remembered; beyond, the oldest is forgotten and looked up again when needed. Chosen by us.
const NAMES_MAX: usize = 64;

/// Addresses kept of one name; further ones are ignored. Chosen by us.
const ADDRESSES_MAX: usize = 8;

/// Longest name that DNS can carry (RFC 1035 2.3.4).
const NAME_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test]
    async fn numbers_are_not_looked_up_and_nonsense_is_refused() {
        let resolver = Resolver::default();
        assert_eq!(resolver.resolve("192.0.2.7").await.unwrap(), [address(7)]);
        assert_eq!(resolver.resolve("[::1]").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
        for nonsense in ["", "a b", "a\0b", &"x".repeat(256)] {
            assert_eq!(resolver.resolve(nonsense).await.unwrap_err().code, HostRefusal::INVALID, "{nonsense:?}");
        }
    }

    #[tokio::test]
    async fn an_old_answer_serves_when_the_name_server_does_not() {
        let resolver = Resolver::default();
        let name = "no-such-host.invalid";
        assert_eq!(resolver.resolve(name).await.unwrap_err().code, HostRefusal::RESOLVE);
        resolver.remember(name, &[address(1)]);
        locked(&resolver.known).get_mut(name).unwrap().found -= 2 * FRESH;
        assert_eq!(resolver.remembered(name, Some(FRESH)), None);
        assert_eq!(resolver.resolve(name).await.unwrap(), [address(1)]);
    }

    #[tokio::test]
    async fn look_ups_beyond_the_limit_wait_outside_and_may_leave() {
        let resolver = Resolver::default();
        let inside = Arc::clone(&resolver.threads).acquire_many_owned(LOOK_UPS_MAX as u32).await.unwrap();
        let mut asked = Box::pin(resolver.resolve("no-such-host.invalid"));
        let mut given_up = Box::pin(resolver.resolve("no-such-host.invalid"));
        for waiting in [&mut asked, &mut given_up] {
            assert!(std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
        }
        drop(given_up);
        drop(inside);
        assert_eq!(asked.await.unwrap_err().code, HostRefusal::RESOLVE);
        assert_eq!(resolver.threads.available_permits(), LOOK_UPS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded_and_forgets_the_oldest() {
        let resolver = Resolver::default();
        for number in 0..=NAMES_MAX {
            tokio::time::advance(Duration::from_millis(1)).await;
            resolver.remember(&format!("host-{number}"), &[address(1)]);
        }
        assert_eq!(locked(&resolver.known).len(), NAMES_MAX);
        assert_eq!(resolver.remembered("host-0", None), None);
        assert!(resolver.remembered(&format!("host-{NAMES_MAX}"), None).is_some());
    }

    #[test]
    fn addresses_come_once_each_and_not_too_many() {
        assert_eq!(dedupe([address(1), address(1), address(2)].into_iter()), [address(1), address(2)]);
        assert_eq!(dedupe((0..=255).map(address)).len(), ADDRESSES_MAX);
    }
}
