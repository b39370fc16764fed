//! Stores one file on an FTP server: carries out what the state machine ([`session`]) wants.
//!
//! Passive and binary, in plain text. The data connection goes to the address of the control connection, whatever the server
//! names. Each step but the transfer has a limit of its own; the caller limits the whole.

mod reply;
mod session;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use polylink_plugin_api::HostRefusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::reply::{Replies, Reply};
use self::session::{Session, Step};
use super::Trouble;
use crate::services::dial::{self, Dialer, Target, Wire};
use crate::services::registry::Refusal;

pub use self::session::Job;

/// Logs in, stores the file, and says good-bye.
pub async fn store(dialer: &Dialer, server: &Target, job: &Job, file: &[u8]) -> Result<(), Trouble> {
    let dialled = timeout(STEP_TIME, dialer.dial(server)).await;
    let (wire, peer) = dialled.map_err(|_| silent("the connection"))?.map_err(Trouble::Failed)?;
    let mut control = Control { wire, replies: Replies::default() };
    let mut session = Session::new(job);
    // Open until the server has said what became of the file.
    let mut data = None;
    let mut step = Step::Listen;
    loop {
        step = match step {
            Step::Listen => session.handle_reply(&control.reply().await?)?,
            Step::Say(line) => {
                control.say(line.expose()).await?;
                Step::Listen
            }
            Step::Connect(port) => {
                let mut address = peer;
                address.set_port(port);
                data = Some(connect(address).await?);
                session.connected()
            }
            Step::Send => {
                let Some(data) = &mut data else { return Err(Trouble::protocol("there is no data connection")) };
                tokio::select! {
                    sent = send(data, file) => after_sending(&mut session, &mut control, sent).await?,
                    // Whoever has heard enough says so, and may read no further.
                    reply = control.late_reply() => match session.handle_reply(&reply?)? {
                        Step::Done => return Err(Trouble::protocol("the FTP server was content before it had the whole file")),
                        step => step,
                    },
                }
            }
            Step::Done => break,
        };
    }
    // The file is there; what the server thinks of the good-bye is its own affair.
    let _ = timeout(GOOD_BYE_TIME, async { control.say("QUIT").await.is_ok() && control.reply().await.is_ok() }).await;
    Ok(())
}

/// The server's word on the file; if it has none, why the sending broke.
async fn after_sending(
    session: &mut Session<'_>,
    control: &mut Control,
    sent: Result<(), Trouble>,
) -> Result<Step, Trouble> {
    let reply = if sent.is_ok() { control.late_reply().await } else { control.reply().await };
    let judged = reply.and_then(|reply| session.handle_reply(&reply));
    match (sent, judged) {
        (Ok(()), judged) => judged,
        // It says better than a broken stream what is wrong.
        (Err(_), Err(trouble @ (Trouble::Refused(_) | Trouble::Busy(_)))) => Err(trouble),
        (Err(trouble), _) => Err(trouble),
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Trouble> {
    let target = Target { host: address.ip().to_string(), port: address.port(), tls: None };
    let connected = timeout(STEP_TIME, TcpStream::connect(address)).await.map_err(|_| silent("the data connection"))?;
    connected.map_err(|error| Trouble::Failed(dial::refusal(&error, &target)))
}

/// Sends all of it and its end. A server that takes nothing for a while is given up.
async fn send(data: &mut TcpStream, file: &[u8]) -> Result<(), Trouble> {
    let lost = |error: io::Error| broken(format!("the data connection broke: {error}"));
    for piece in file.chunks(PIECE) {
        timeout(STEP_TIME, data.write_all(piece))
            .await
            .map_err(|_| silent("the reading of the file"))?
            .map_err(lost)?;
    }
    data.shutdown().await.map_err(lost)
}

/// The control connection.
struct Control {
    wire: Wire,
    replies: Replies,
}

impl Control {
    async fn say(&mut self, line: &str) -> Result<(), Trouble> {
        let written = timeout(STEP_TIME, async {
            self.wire.write_all(format!("{line}\r\n").as_bytes()).await?;
            self.wire.flush().await
        });
        written.await.map_err(|_| silent("the reading of a command"))?.map_err(lost)
    }

    /// The answer to what was said last.
    async fn reply(&mut self) -> Result<Reply, Trouble> {
        timeout(STEP_TIME, self.late_reply()).await.map_err(|_| silent("the answer"))?
    }

    /// The next reply, whenever it comes: the server's word on a file is due when the last byte has arrived, and nobody here
    /// knows when that is, since the system buffers more than a slow line carries in one step's time. May be dropped at any
    /// time without losing a byte.
    async fn late_reply(&mut self) -> Result<Reply, Trouble> {
        let mut buffer = [0; 512];
        loop {
            if let Some(reply) =
                self.replies.next().map_err(|bad| Trouble::protocol(format!("the FTP server sent {bad}")))?
            {
                return Ok(reply);
            }
            match self.wire.read(&mut buffer).await.map_err(lost)? {
                0 => return Err(broken("the FTP server closed the connection")),
                n => self.replies.take_in(&buffer[..n]),
            }
        }
    }
}

fn lost(error: io::Error) -> Trouble {
    broken(format!("the control connection broke: {error}"))
}

fn broken(text: impl Into<String>) -> Trouble {
    Trouble::Failed(Refusal::new(HostRefusal::CONNECTION_LOST, text))
}

fn silent(what: &str) -> Trouble {
    let text = format!("the FTP server is silent: {what} did not come within {} s", STEP_TIME.as_secs());
    Trouble::Failed(Refusal::new(HostRefusal::TIMEOUT, text))
}

/// How long a server may take for one step. Not documented; chosen by us: three times what a slow login takes.
const STEP_TIME: Duration = Duration::from_secs(30);

/// How long it may take for its good-bye. Not documented; chosen by us.
const GOOD_BYE_TIME: Duration = Duration::from_secs(2);

/// Bytes that have to go within one step's time: 64 KiB in 30 s is slower than any line that Wi-Fi has. Chosen by us.
const PIECE: usize = 64 * 1024;
