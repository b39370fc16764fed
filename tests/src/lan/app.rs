//! An app on a TCP connection to the module: bind, login, heartbeat, queries, P0 (4.2, 4.5 to 4.7).
//!
//! Invariant: no wait ends by itself, so the caller puts a limit around each, and giving one up loses no byte. What the
//! module sends between question and answer is kept if the document allows it there, and is a breach otherwise.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::LanError;
use super::frame::{self, ANSWER, Frame, PLAIN, PLAIN_REQUEST, REQUEST};
use super::messages::{self, Information, LogLine};

/// A connected app.
#[derive(Debug)]
pub struct LanApp {
    stream: TcpStream,
    buffer: Vec<u8>,
    reports: VecDeque<Vec<u8>>,
    logs: VecDeque<LogLine>,
    logged_in: bool,
    log_wanted: bool,
}

impl LanApp {
    /// Connects and says nothing yet.
    pub async fn connect(module: SocketAddr) -> Result<Self, LanError> {
        let stream = TcpStream::connect(module).await?;
        // Tests measure how fast the module is, not how patient the kernel.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream,
            buffer: Vec::new(),
            reports: VecDeque::new(),
            logs: VecDeque::new(),
            logged_in: false,
            log_wanted: false,
        })
    }

    /// Connects, asks for the passcode and logs in.
    pub async fn enter(module: SocketAddr) -> Result<Self, LanError> {
        let mut app = Self::connect(module).await?;
        let passcode = app.bind().await?;
        if app.login(&passcode).await? {
            Ok(app)
        } else {
            Err(LanError::Breach("the passcode it gave away was refused".to_owned()))
        }
    }

    /// Sends bytes, right or wrong, whole frames or halves.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), LanError> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Frame) -> Result<(), LanError> {
        self.send_raw(&frame.encode()).await
    }

    /// Asks for the passcode: empty if the binding window is closed.
    pub async fn bind(&mut self) -> Result<String, LanError> {
        let payload = self.ask(&Frame::new(0x06, []), 0x07).await?;
        messages::passcode(&payload).map_err(LanError::Breach)
    }

    /// Logs in; whether the module agreed.
    pub async fn login(&mut self, passcode: &str) -> Result<bool, LanError> {
        let payload = self.ask(&Frame::new(0x08, messages::string(passcode.as_bytes())), 0x09).await?;
        match payload[..] {
            [0] => self.logged_in = true,
            [1] => {}
            _ => return Err(LanError::Breach(format!("0x09 with {payload:02x?}, 00 or 01 expected"))),
        }
        Ok(payload == [0])
    }

    /// Shows that it is there.
    pub async fn heartbeat(&mut self) -> Result<(), LanError> {
        let payload = self.ask(&Frame::new(0x15, []), 0x16).await?;
        empty(0x16, &payload)
    }

    /// Asks what the module and its MCU are.
    pub async fn information(&mut self) -> Result<Information, LanError> {
        let payload = self.ask(&Frame::new(0x13, []), 0x14).await?;
        Information::parse(&payload).map_err(|fault| LanError::Breach(format!("0x14: {fault}")))
    }

    /// Asks which networks the module sees.
    pub async fn hotspots(&mut self) -> Result<Vec<(String, u8)>, LanError> {
        let payload = self.ask(&Frame::new(0x0C, []), 0x0D).await?;
        messages::hotspots(&payload).map_err(|fault| LanError::Breach(format!("0x0d: {fault}")))
    }

    /// Switches the module's log on or off for this connection.
    pub async fn log_switch(&mut self, on: bool) -> Result<(), LanError> {
        // Lines may come before the acknowledgement, and after it what was under way when it was switched off.
        self.log_wanted = true;
        let payload = self.ask(&Frame::new(0x10, u16::from(on).to_be_bytes()), 0x11).await?;
        empty(0x11, &payload)
    }

    /// Leaves the production test.
    pub async fn leave_test(&mut self) -> Result<(), LanError> {
        let payload = self.ask(&Frame::new(0x17, []), 0x18).await?;
        empty(0x18, &payload)
    }

    /// Sends P0 with a sequence number and waits for its answer: no P0 for a control, the status for a read.
    pub async fn request(&mut self, sn: u32, p0: &[u8]) -> Result<Vec<u8>, LanError> {
        let payload = self.ask(&frame::numbered(REQUEST, sn, p0), ANSWER).await?;
        let frame = Frame::new(ANSWER, payload);
        let (answered, answer) = frame.answer().map_err(LanError::Breach)?;
        if answered != sn {
            return Err(LanError::Breach(format!("0x94 for sn {answered}, {sn} was asked")));
        }
        fits(p0, answer)
    }

    /// The same without a sequence number (0x90, answered by 0x91).
    pub async fn request_plain(&mut self, p0: &[u8]) -> Result<Vec<u8>, LanError> {
        let answer = self.ask(&Frame::new(PLAIN_REQUEST, p0), PLAIN).await?;
        fits(p0, &answer)
    }

    /// The next report of the MCU: its P0.
    pub async fn next_report(&mut self) -> Result<Vec<u8>, LanError> {
        while self.reports.is_empty() {
            self.take_aside().await?;
        }
        Ok(self.reports.pop_front().unwrap_or_default())
    }

    /// Reports that came while something else was waited for.
    pub fn reports_so_far(&mut self) -> Vec<Vec<u8>> {
        self.reports.drain(..).collect()
    }

    /// The next line of the module's log.
    pub async fn next_log(&mut self) -> Result<LogLine, LanError> {
        loop {
            if let Some(line) = self.logs.pop_front() {
                return Ok(line);
            }
            self.take_aside().await?;
        }
    }

    /// Waits until the module has closed. Reports and log lines may come before; anything else is a breach.
    pub async fn closed(&mut self) -> Result<(), LanError> {
        loop {
            match self.take_aside().await {
                Ok(()) => {}
                Err(LanError::Closed) => return Ok(()),
                Err(other) => return Err(other),
            }
        }
    }

    /// The next frame, whatever it is: for tests that look at bytes themselves.
    pub async fn next(&mut self) -> Result<Frame, LanError> {
        loop {
            if let Some((frame, n)) = Frame::parse(&self.buffer).map_err(LanError::Breach)? {
                self.buffer.drain(..n);
                return Ok(frame);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                let left = self.buffer.len();
                return Err(if left == 0 {
                    LanError::Closed
                } else {
                    LanError::Breach(format!("closed within a frame, after {left} bytes"))
                });
            }
        }
    }

    async fn ask(&mut self, question: &Frame, answer: u16) -> Result<Vec<u8>, LanError> {
        self.send(question).await?;
        loop {
            let frame = self.next().await?;
            // A 0x91 is a report or an answer, and only its P0 says which.
            if frame.cmd == answer && !is_report(&frame) {
                return Ok(frame.payload);
            }
            self.keep(frame)?;
        }
    }

    async fn take_aside(&mut self) -> Result<(), LanError> {
        let frame = self.next().await?;
        self.keep(frame)
    }

    fn keep(&mut self, frame: Frame) -> Result<(), LanError> {
        if is_report(&frame) && self.logged_in {
            room(&self.reports)?;
            self.reports.push_back(frame.payload);
        } else if frame.cmd == LOG_LINE && self.logged_in && self.log_wanted {
            room(&self.logs)?;
            self.logs.push_back(LogLine::parse(&frame.payload).map_err(LanError::Breach)?);
        } else {
            return Err(LanError::Breach(format!("{frame:?} was not asked for")));
        }
        Ok(())
    }
}

/// An MCU report: status in either form, or transparent bytes (3.1).
fn is_report(frame: &Frame) -> bool {
    frame.cmd == PLAIN && matches!(frame.payload.first(), Some(0x04 | 0x14 | 0x06))
}

/// Whether an answer is what the request asks for (4.5): nothing for a control, 03 or 13 with the status for a read.
fn fits(p0: &[u8], answer: &[u8]) -> Result<Vec<u8>, LanError> {
    let fits = match p0.first() {
        Some(0x02) => answer.len() > 1 && answer[0] == 0x03,
        Some(0x12) => answer.len() > 1 && answer[0] == 0x13,
        _ => answer.is_empty(),
    };
    if fits {
        Ok(answer.to_vec())
    } else {
        Err(LanError::Breach(format!("P0 {p0:02x?} was answered with {answer:02x?}")))
    }
}

fn empty(cmd: u16, payload: &[u8]) -> Result<(), LanError> {
    if payload.is_empty() { Ok(()) } else { Err(LanError::Breach(format!("{cmd:#04x} with {payload:02x?}"))) }
}

fn room<T>(list: &VecDeque<T>) -> Result<(), LanError> {
    if list.len() < KEPT { Ok(()) } else { Err(LanError::Io(std::io::Error::other("a test that reads too little"))) }
}

/// A line of the module's log (4.2).
const LOG_LINE: u16 = 0x12;
/// Reports and log lines that wait for the test; one more is an error, so that none is lost unseen. Chosen by us.
const KEPT: usize = 100_000;
