//! A strict FTP server on loopback that takes uploads (RFC 959, RFC 1123 4.1, RFC 2428): logs its users in, has some
//! directories, and keeps what is stored in memory. It misbehaves on request.
//!
//! Invariant: a client that breaks a rule, or does more than an upload needs, is written down as a violation. Files are kept up
//! to `FILES_KEPT`; later ones are refused.

mod connection;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::changes;

/// What the server does differently from a well-behaved one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// EPSV is answered 502, as by servers that are older than it.
    pub without_epsv: bool,
    /// The answer to PASV names another address. Who connects there is a violation.
    pub pasv_elsewhere: bool,
    /// STOR is answered so, instead of being carried out.
    pub refuse_file: Option<u16>,
    /// This many next uploads are reset, both connections, after the given number of bytes.
    pub cut: Option<(u32, usize)>,
}

/// A file that was stored whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Who stored it.
    pub user: String,
    /// Where, from the root.
    pub path: String,
    /// The file.
    pub body: Vec<u8>,
}

/// What it has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Connections.
    pub connections: usize,
    /// Commands by their names, oldest first.
    pub commands: Vec<String>,
    /// Files that were stored whole, oldest first.
    pub files: Vec<Stored>,
    /// What clients did that is forbidden.
    pub violations: Vec<String>,
}

/// The server; dropping it closes its port and its connections.
pub struct FtpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FtpServer {
    /// A server on a free loopback port with these users and their passwords, and these directories below the root. It runs
    /// on the current runtime.
    pub async fn start(users: &[(&str, &str)], directories: &[&str]) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            users: users.iter().map(|(user, password)| ((*user).to_owned(), (*password).to_owned())).collect(),
            directories: directories.iter().map(|directory| (*directory).to_owned()).collect(),
            state: Mutex::default(),
            changes: watch::channel(0).0,
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.lock().behaviour);
    }

    /// What it has seen.
    pub fn seen(&self) -> Seen {
        self.shared.lock().seen.clone()
    }

    /// Waits until what it has seen fulfils a condition.
    pub async fn until(&self, condition: impl Fn(&Seen) -> bool) {
        changes::until(&self.shared.changes, || condition(&self.shared.lock().seen)).await;
    }
}

impl Drop for FtpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    users: BTreeMap<String, String>,
    directories: Vec<String>,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    seen: Seen,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, see: impl FnOnce(&mut Seen)) {
        see(&mut self.lock().seen);
        self.changes.send_modify(|n| *n += 1);
    }

    fn violation(&self, text: impl Into<String>) {
        self.see(|seen| {
            if seen.violations.len() < VIOLATIONS_KEPT {
                seen.violations.push(text.into());
            }
        });
    }

    fn command(&self, name: &str) {
        self.see(|seen| {
            if seen.commands.len() < COMMANDS_KEPT {
                seen.commands.push(name.to_owned());
            }
        });
    }

    fn behaviour(&self) -> Behaviour {
        self.lock().behaviour.clone()
    }

    /// Bytes after which this upload is to be cut.
    fn take_cut(&self) -> Option<usize> {
        let mut state = self.lock();
        let (n, bytes) = state.behaviour.cut.as_mut().filter(|(n, _)| *n > 0)?;
        *n -= 1;
        Some(*bytes)
    }

    /// False: there is no room.
    fn store(&self, file: Stored) -> bool {
        let has_room = self.lock().seen.files.len() < FILES_KEPT;
        if has_room {
            self.see(|seen| seen.files.push(file));
        }
        has_room
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the server.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, peer)) = accepted else { return };
                shared.see(|seen| seen.connections += 1);
                connections.spawn(connection::serve(stream, peer, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Violations remembered; later ones add nothing.
const VIOLATIONS_KEPT: usize = 64;
/// Commands remembered; later ones are not.
const COMMANDS_KEPT: usize = 1024;
/// Files kept; more are refused (452).
const FILES_KEPT: usize = 64;

#[cfg(test)]
mod tests;
