//! The port: opens the line to the MCU, opens it again when it is lost, and drives a [`Link`] over it.
//!
//! A line is a tty (8 data bits, no parity, 1 stop bit), a unix socket or a TCP connection; the link cannot tell. All
//! buffers are bounded, no call waits on another, and bytes that are there are handled before timers, so a late wake-up
//! does not count as a silent MCU. What to do with what the link says is left to the [`McuHandler`].

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use polylink_p0::Schema;
use polylink_plugin_api::{CommandBody, Now, Timestamp};
use serial2_tokio::SerialPort;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use super::subdevices::SubdeviceRequest;
use super::transfer::{FirmwareInput, Image};
use super::{Link, LinkInput, LinkOutput, ModuleState};
use crate::product::Product;

/// Which line, and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// Where.
    pub address: PortAddress,
    /// Bits per second of a tty.
    pub baud: u32,
}

/// Where the MCU is. Its text is what the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortAddress {
    /// A tty or pseudo-terminal: `/dev/ttyS1`.
    Tty(PathBuf),
    /// A unix stream socket to connect to: `unix:/run/mcu.sock`.
    Unix(PathBuf),
    /// A TCP server to connect to: `tcp:192.168.1.9:4001`.
    Tcp(String),
}

/// A text is no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no port; accepted: a path such as /dev/ttyS1, unix:/path, tcp:host:port")]
pub struct PortAddressError(String);

/// What the host tells the link. Owned counterparts of [`LinkInput`].
#[derive(Clone, Debug)]
pub enum PortMessage {
    /// The product is known.
    Product {
        /// Its thing model.
        product: Arc<Product>,
        /// How its payloads are laid out, for a link that speaks P0.
        layout: Option<Arc<Schema>>,
    },
    /// A checked command.
    Command {
        /// Names it.
        ticket: u64,
        /// 0: the device itself.
        device: u32,
        /// What is wanted.
        body: CommandBody,
        /// May be sent again without harm.
        idempotent: bool,
        /// Give up at this time.
        deadline: Timestamp,
    },
    /// How the module stands.
    Module(ModuleState),
    /// Something for the gateway of the subdevices.
    Subdevice(SubdeviceRequest),
    /// Restart the MCU.
    RestartMcu,
    /// Send this image to the MCU.
    BeginFirmware(Image),
    /// Bytes of the image that were wanted.
    FirmwareBytes {
        /// Where they stand in the image.
        offset: u32,
        /// As many as were wanted.
        bytes: Vec<u8>,
    },
    /// Give the transfer up.
    CancelFirmware,
}

/// Takes what the link says, on the thread that runs the port; returns at once.
pub trait McuHandler: Send + Sync {
    /// Everything but [`LinkOutput::Write`], in order. Faults of the port itself come this way too: `port_open`,
    /// `port_lost`, `port_full`.
    fn output(&self, now: Now, output: LinkOutput);
}

/// Drives the link until all senders of the mailbox are gone.
pub async fn run(
    settings: PortSettings,
    link: Box<dyn Link>,
    clock: impl Fn() -> Now + Send,
    mailbox: mpsc::Receiver<PortMessage>,
    handler: Arc<dyn McuHandler>,
) {
    let faults = FaultLog { address: settings.address.to_string(), counters: HashMap::new() };
    let mut port = Port { link, clock, mailbox, handler, faults, outgoing: Vec::new(), was_read: false };
    let mut pause = FIRST_PAUSE;
    loop {
        let opened = tokio::select! {
            biased;
            () = port.serve_without_line() => return,
            opened = tokio::time::timeout(OPEN_TIMEOUT, open(&settings)) => {
                opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        };
        match opened {
            Err(error) => port.fault("port_open", format!("the line to the MCU does not open: {error}")),
            Ok(line) => {
                tracing::info!(port = %settings.address, "the line to the MCU is open");
                port.input(LinkInput::Opened);
                let end = port.converse(line).await;
                port.input(LinkInput::Closed);
                port.outgoing.clear();
                match end {
                    Ok(()) => return,
                    Err(error) => port.fault("port_lost", format!("the line to the MCU is lost: {error}")),
                }
            }
        }
        if std::mem::take(&mut port.was_read) {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            biased;
            () = port.serve_without_line() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Port<C> {
    link: Box<dyn Link>,
    clock: C,
    mailbox: mpsc::Receiver<PortMessage>,
    handler: Arc<dyn McuHandler>,
    faults: FaultLog,
    /// Bytes not yet written, see [`OUTGOING_BYTES`].
    outgoing: Vec<u8>,
    /// Something was read since the line was opened.
    was_read: bool,
}

impl<C: Fn() -> Now> Port<C> {
    /// Drives the link until the line is lost (an error) or the mailbox is.
    async fn converse(&mut self, line: Box<dyn Line>) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(line);
        let mut buffer = vec![0; READ_BYTES];
        let mut reads = 0;
        loop {
            let now = (self.clock)().monotonic;
            let wait = self.link.next_timeout().map(|due| Duration::from_millis(due.since(now)));
            let timer = tokio::time::sleep(wait.unwrap_or(IDLE));
            tokio::select! {
                biased;
                written = writer.write(&self.outgoing), if !self.outgoing.is_empty() => match written? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    written => {
                        tracing::trace!(port = %self.faults.address, "written: {}", self.outgoing[..written].escape_ascii());
                        self.outgoing.drain(..written);
                    }
                },
                read = reader.read(&mut buffer) => {
                    match read? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        read => {
                            tracing::trace!(port = %self.faults.address, "read: {}", buffer[..read].escape_ascii());
                            self.input(LinkInput::Bytes(&buffer[..read]));
                        }
                    }
                    self.was_read = true;
                    reads += 1;
                    // A line that never pauses must not keep commands and timers waiting.
                    if reads >= READS_IN_A_ROW {
                        reads = 0;
                        if let Ok(message) = self.mailbox.try_recv() {
                            self.message(message);
                        }
                        self.input(LinkInput::Timeout);
                    }
                    continue;
                }
                message = self.mailbox.recv() => match message {
                    Some(message) => self.message(message),
                    None => return Ok(()),
                },
                () = timer => self.input(LinkInput::Timeout),
            }
            reads = 0;
        }
    }

    /// Answers the mailbox while there is no line; returns when it is gone.
    async fn serve_without_line(&mut self) {
        while let Some(message) = self.mailbox.recv().await {
            self.message(message);
        }
    }

    fn message(&mut self, message: PortMessage) {
        self.input(match message {
            PortMessage::Product { product, layout } => LinkInput::Product { product, layout },
            PortMessage::Command { ticket, device, body, idempotent, deadline } => {
                LinkInput::Command { ticket, device, body, idempotent, deadline }
            }
            PortMessage::Module(module) => LinkInput::Module(module),
            PortMessage::Subdevice(request) => LinkInput::Subdevice(request),
            PortMessage::RestartMcu => LinkInput::RestartMcu,
            PortMessage::BeginFirmware(image) => LinkInput::Firmware(FirmwareInput::Begin(image)),
            PortMessage::FirmwareBytes { offset, ref bytes } => {
                LinkInput::Firmware(FirmwareInput::Bytes { offset, bytes })
            }
            PortMessage::CancelFirmware => LinkInput::Firmware(FirmwareInput::Cancel),
        });
    }

    fn input(&mut self, input: LinkInput<'_>) {
        let now = (self.clock)();
        self.link.handle(now, input);
        while let Some(output) = self.link.poll() {
            match output {
                LinkOutput::Write(bytes) if self.outgoing.len() + bytes.len() > OUTGOING_BYTES => {
                    self.fault("port_full", format!("{} bytes dropped, the line takes none", bytes.len()));
                }
                LinkOutput::Write(bytes) => self.outgoing.extend(bytes),
                LinkOutput::Fault { counter, detail } => self.fault(counter, detail),
                output => self.handler.output(now, output),
            }
        }
    }

    fn fault(&mut self, counter: &'static str, detail: String) {
        let now = (self.clock)();
        self.faults.log(now.monotonic, counter, &detail);
        self.handler.output(now, LinkOutput::Fault { counter, detail });
    }
}

/// Logs each kind of fault at most once in [`LOG_EVERY_MS`], and how many were left out.
struct FaultLog {
    address: String,
    /// When the kind was last logged, and how many came since. Kinds are fixed names, so there are few.
    counters: HashMap<&'static str, (Timestamp, u64)>,
}

impl FaultLog {
    fn log(&mut self, now: Timestamp, counter: &'static str, detail: &str) {
        let (logged, left_out) = match self.counters.get_mut(counter) {
            Some((logged, left_out)) if now.since(*logged) < LOG_EVERY_MS => {
                *left_out += 1;
                return;
            }
            Some(entry) => entry,
            None => self.counters.entry(counter).or_insert((now, 0)),
        };
        tracing::warn!(port = %self.address, fault = counter, left_out = *left_out, "{detail}");
        (*logged, *left_out) = (now, 0);
    }
}

trait Line: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

async fn open(settings: &PortSettings) -> io::Result<Box<dyn Line>> {
    Ok(match &settings.address {
        PortAddress::Tty(path) => Box::new(SerialPort::open(path, settings.baud)?),
        PortAddress::Unix(path) => Box::new(UnixStream::connect(path).await?),
        PortAddress::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
    })
}

impl FromStr for PortAddress {
    type Err = PortAddressError;

    fn from_str(text: &str) -> Result<Self, PortAddressError> {
        let address = if let Some(path) = text.strip_prefix("unix:") {
            Self::Unix(path.into())
        } else if let Some(address) = text.strip_prefix("tcp:") {
            match address.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Self::Tcp(address.into()),
                _ => return Err(PortAddressError(text.into())),
            }
        } else {
            Self::Tty(text.into())
        };
        match &address {
            Self::Tty(path) | Self::Unix(path) if !path.is_absolute() => Err(PortAddressError(text.into())),
            _ => Ok(address),
        }
    }
}

impl fmt::Display for PortAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tty(path) => path.display().fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Pauses before the line is opened again, doubling; the first again after a line that gave bytes. Not documented;
/// chosen by us: an adapter that is plugged in again is found soon, one that is absent costs nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Longest wait for a connection. Not documented; chosen by us.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Wait while the link wants no timeout; any long time does.
const IDLE: Duration = Duration::from_secs(3600);

/// Bytes taken from the line at once.
const READ_BYTES: usize = 4096;

/// Reads before mailbox and timers get their turn whatever the line does.
const READS_IN_A_ROW: u32 = 16;

/// Bytes waiting to be written. What does not fit is dropped as a whole and counted as `port_full`: the link repeats
/// what the MCU does not acknowledge.
const OUTGOING_BYTES: usize = 256 * 1024;

/// A kind of fault is logged at most so often.
const LOG_EVERY_MS: u64 = 10_000;

#[cfg(test)]
mod tests;
