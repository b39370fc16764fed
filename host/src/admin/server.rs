//! The host's end of the control socket.
//!
//! Bounded: so many clients, so long a request; a client that does not read is dropped.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, warn};

use super::protocol::{Answer, MAX_REQUEST, Request};
use super::{Control, PluginChange};

/// A bound control socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: StdListener,
    path: PathBuf,
    owner: u32,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers there.
    #[error("another polylink is running: it answers at {}", .0.display())]
    Taken(PathBuf),
    /// Something that is no socket is in the way.
    #[error("{} is in the way: it is no socket", .0.display())]
    InTheWay(PathBuf),
    /// The system said no.
    #[error("cannot open the control socket {}: {source}", .path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl ControlSocket {
    /// Binds the socket, mode 0600, in a directory that is made with mode 0700 if it is missing. A socket that a dead
    /// process left behind is replaced.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let system = |source| BindError::System { path: path.to_owned(), source };
        if let Some(dir) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(system)?;
        }
        if let Ok(facts) = std::fs::symlink_metadata(path) {
            if !facts.file_type().is_socket() {
                return Err(BindError::InTheWay(path.to_owned()));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(BindError::Taken(path.to_owned()));
            }
            std::fs::remove_file(path).map_err(system)?;
        }
        let listener = StdListener::bind(path).map_err(system)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(system)?;
        listener.set_nonblocking(true).map_err(system)?;
        // We made the file, so its owner is who we are.
        let owner = std::fs::metadata(path).map_err(system)?.uid();
        Ok(Self { listener, path: path.to_owned(), owner })
    }

    /// Answers clients until it is dropped. To be called within the I/O runtime.
    ///
    /// # Errors
    /// The runtime does not take the socket.
    pub async fn serve(self, control: Arc<dyn Control>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let seats = Arc::new(Semaphore::new(MAX_CLIENTS));
        // Clients end with this function.
        let mut clients = tokio::task::JoinSet::new();
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, as a rule: give others time to close some.
                    warn!(%error, "control socket cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            while clients.try_join_next().is_some() {}
            let allowed = stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0);
            let refusal = match (allowed, Arc::clone(&seats).try_acquire_owned()) {
                (true, Ok(seat)) => {
                    let control = Arc::clone(&control);
                    clients.spawn(async move {
                        if let Err(error) = client(stream, &*control).await {
                            debug!(%error, "control client ended");
                        }
                        drop(seat);
                    });
                    continue;
                }
                (true, Err(_)) => format!("too many clients: {MAX_CLIENTS} are connected already"),
                (false, _) => "only root and the user that runs polylink may use this socket".to_owned(),
            };
            // Never waits: if the line does not fit into a fresh socket, nobody misses it.
            let _ = stream.try_write(&line(&Answer::Error(refusal)));
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn client(stream: UnixStream, control: &dyn Control) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let request = match tokio::time::timeout(IDLE, request_line(&mut read)).await {
            Err(_) | Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(Some(Err(TooLong)))) => {
                let sentence = format!("a request has at most {MAX_REQUEST} bytes");
                return send(&mut write, &Answer::Error(sentence)).await;
            }
            Ok(Ok(Some(Ok(line)))) => serde_json::from_slice::<Request>(&line),
        };
        let answer = match request {
            Ok(Request::Status) => Answer::Status(Box::new(control.status())),
            Ok(Request::Get { names }) => control.get(&names).map_or_else(Answer::Error, Answer::Values),
            Ok(Request::Set { values }) => Answer::Outcomes(control.set(values).await),
            Ok(Request::Plugins) => Answer::Plugins(control.plugins()),
            Ok(Request::PluginInstall { file }) => {
                change_plugin(&mut write, control, PluginChange::Install { file }).await?
            }
            Ok(Request::PluginRollback { plugin }) => {
                change_plugin(&mut write, control, PluginChange::RollBack { plugin }).await?
            }
            Ok(Request::Log) => Answer::Log(control.log()),
            Ok(Request::Watch) => return watch(read, write, control).await,
            Err(error) => Answer::Error(format!("the request is not understood: {error}")),
        };
        send(&mut write, &answer).await?;
    }
}

async fn watch(mut read: BufReader<OwnedReadHalf>, mut write: OwnedWriteHalf, control: &dyn Control) -> io::Result<()> {
    let mut events = control.watch();
    send(&mut write, &Answer::Watching).await?;
    loop {
        let answer = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => Answer::Event(event),
                Err(RecvError::Lagged(lost)) => Answer::Lost(lost),
                Err(RecvError::Closed) => return Ok(()),
            },
            // Nothing is expected of a watcher; that it has gone shows here.
            bytes = read.fill_buf() => match bytes?.len() {
                0 => return Ok(()),
                count => { read.consume(count); continue; }
            },
        };
        send(&mut write, &answer).await?;
    }
}

/// Tells the steps; returns the last word.
async fn change_plugin(write: &mut OwnedWriteHalf, control: &dyn Control, change: PluginChange) -> io::Result<Answer> {
    let (steps, mut told) = mpsc::channel(STEPS_MAX);
    let mut done = control.change_plugin(change, steps);
    let outcome = loop {
        tokio::select! {
            biased;
            Some(step) = told.recv() => send(write, &Answer::Step(step)).await?,
            outcome = &mut done => break outcome,
        }
    };
    while let Ok(step) = told.try_recv() {
        send(write, &Answer::Step(step)).await?;
    }
    Ok(outcome.map_or_else(Answer::Error, Answer::Done))
}

struct TooLong;

/// One line without its end; none at the end of the stream.
async fn request_line(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Result<Vec<u8>, TooLong>>> {
    let mut line = Vec::new();
    loop {
        let available = read.fill_buf().await?;
        if available.is_empty() {
            return Ok(None);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(available.len());
        if line.len() + taken > MAX_REQUEST {
            return Ok(Some(Err(TooLong)));
        }
        line.extend_from_slice(&available[..taken]);
        read.consume(taken + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(Some(Ok(line)));
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    match tokio::time::timeout(SLOW_CLIENT, write.write_all(&line(answer))).await {
        Ok(written) => written,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")),
    }
}

fn line(answer: &Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer).unwrap_or_else(|_| br#"{"error":"cannot be written as JSON"}"#.to_vec());
    line.push(b'\n');
    line
}

/// Clients at one time. A further one is told so and closed.
const MAX_CLIENTS: usize = 8;

/// A client that takes longer to read a line is closed. Not documented; chosen by us: a person's terminal that is
/// paused may keep its `watch` this long.
const SLOW_CLIENT: Duration = Duration::from_secs(30);

/// Steps that wait for a client; there are fewer of them. Chosen by us.
const STEPS_MAX: usize = 16;

/// A client that says nothing for so long gives its seat to others.
const IDLE: Duration = Duration::from_secs(60);

const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
pub(crate) mod tests;
