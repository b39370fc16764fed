//! Telling the service manager how we are (sd_notify(3): datagrams to the socket named by `NOTIFY_SOCKET`).
//!
//! Without a service manager that listens, every call does nothing.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        let address = env::var_os("NOTIFY_SOCKET").and_then(|name| address(name.as_bytes()));
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        if let Some((socket, _)) = &socket {
            // A manager that is busy must not stop us.
            let _ = socket.set_nonblocking(true);
        }
        let text = |name: &str| env::var(name).ok();
        let watchdog = watchdog(text("WATCHDOG_USEC"), text("WATCHDOG_PID"), std::process::id());
        Self { watchdog: watchdog.filter(|_| socket.is_some()), socket }
    }

    /// The host serves.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// One line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// Real progress has been made. To be called every [`Notifier::watchdog_interval`].
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    /// The host is about to end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// How often [`Notifier::alive`] is wanted: half the manager's patience. None: not at all.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 2)
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket {
            // Nobody could be told of a failure but the manager itself.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// A path, or `@` and a name in the abstract namespace.
fn address(name: &[u8]) -> Option<SocketAddr> {
    match name {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)).ok(),
        _ => None,
    }
}

/// `WATCHDOG_PID`, where it is set, must be ours: the variables are inherited.
fn watchdog(micros: Option<String>, pid: Option<String>, own: u32) -> Option<Duration> {
    let micros = micros?.parse().ok().filter(|micros| *micros > 0)?;
    let for_us = pid.is_none_or(|pid| pid.parse() == Ok(own));
    for_us.then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_that_we_are_ready_alive_and_stopping() {
        let name = format!("polylink-notify-{}", std::process::id());
        let address = address(format!("@{name}").as_bytes()).expect("a good name");
        let manager = UnixDatagram::bind_addr(&address).expect("the name is free");
        let socket = Some((UnixDatagram::unbound().expect("a socket"), address));
        let notifier = Notifier { socket, watchdog: Some(Duration::from_secs(30)) };
        notifier.ready();
        notifier.status("two\nlines");
        notifier.alive();
        notifier.stopping();
        for expected in ["READY=1", "STATUS=two lines", "WATCHDOG=1", "STOPPING=1"] {
            let mut buffer = [0; 64];
            let length = manager.recv(&mut buffer).expect("sent before");
            assert_eq!(std::str::from_utf8(&buffer[..length]), Ok(expected));
        }
        assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(15)));
    }

    #[test]
    fn a_watchdog_for_another_process_is_not_ours() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(watchdog(text("30000000"), None, 7), Some(Duration::from_secs(30)));
        assert_eq!(watchdog(text("30000000"), text("7"), 7), Some(Duration::from_secs(30)));
        assert_eq!(watchdog(text("30000000"), text("8"), 7), None);
        assert_eq!(watchdog(text("soon"), None, 7), None);
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let notifier = Notifier::default();
        notifier.ready();
        notifier.alive();
        assert_eq!(notifier.watchdog_interval(), None);
        assert!(address(b"relative").is_none() && address(b"").is_none());
    }
}
