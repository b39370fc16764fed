//! An app that stays: logged in, keeping the connection alive, with a ledger of its own, so that what reaches the LAN is
//! judged like what reaches a cloud.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::LanError;
use super::app::LanApp;
use super::frame::{self, ANSWER, Frame, PLAIN, REQUEST};
use crate::clouds::SimCloud;
use crate::clouds::ledger::Ledger;
use crate::mcu::p0::Schema;

/// A logged-in app; dropping it ends its connection.
#[derive(Debug)]
pub struct Companion {
    ledger: Arc<Ledger>,
    schema: Schema,
    orders: mpsc::Sender<Frame>,
    last_sn: AtomicU32,
    task: JoinHandle<()>,
}

impl Companion {
    /// Connects, asks for the passcode, logs in and stays; reports are told apart by the datapoint `counter`.
    pub async fn enter(module: SocketAddr, schema: Schema, counter: &str) -> Result<Self, LanError> {
        Ok(Self::stay(LanApp::enter(module).await?, schema, counter, BEAT))
    }

    /// The same for an app that knows the passcode from before, such as from the cloud.
    pub async fn log_in(module: SocketAddr, passcode: &str, schema: Schema, counter: &str) -> Result<Self, LanError> {
        let mut app = LanApp::connect(module).await?;
        if !app.login(passcode).await? {
            return Err(LanError::Breach("the passcode was refused".to_owned()));
        }
        Ok(Self::stay(app, schema, counter, BEAT))
    }

    /// The same from a login on, with a heartbeat after so long without a word.
    pub(super) fn stay(app: LanApp, schema: Schema, counter: &str, beat: Duration) -> Self {
        let ledger = Arc::new(Ledger::default());
        ledger.presence(true);
        let (orders, inbox) = mpsc::channel(ORDERS);
        let session =
            Session { app, schema: schema.clone(), counter: counter.to_owned(), ledger: ledger.clone(), beat };
        let task = tokio::spawn(session.run(inbox));
        Self { ledger, schema, orders, last_sn: AtomicU32::new(0), task }
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SimCloud for Companion {
    /// The LAN is part of the Gizwits section.
    fn product_section(&self) -> String {
        String::new()
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn send_command(&self, property: &str, value: &Json) -> Result<(), String> {
        let attribute = self.schema.attribute(property).ok_or_else(|| format!("there is no attribute {property}"))?;
        let p0 = self.schema.write_control(property, &attribute.raw(value)?)?;
        let sn = self.last_sn.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.ledger.command_sent(&sn.to_string());
        let sent = self.orders.try_send(frame::numbered(REQUEST, sn, &p0));
        sent.map_err(|_| "the app is not connected, or too busy".to_owned())
    }

    /// There is no server between app and module that could go.
    fn go_away(&self) {}

    fn come_back(&self) -> io::Result<()> {
        Ok(())
    }

    fn has_servers(&self) -> bool {
        false
    }
}

struct Session {
    app: LanApp,
    schema: Schema,
    counter: String,
    ledger: Arc<Ledger>,
    beat: Duration,
}

impl Session {
    async fn run(mut self, mut inbox: mpsc::Receiver<Frame>) {
        let mut heard = Instant::now();
        let mut beat = heard + self.beat;
        let end = loop {
            let done = tokio::select! {
                // What has come counts before the time that has gone by.
                biased;
                frame = self.app.next() => {
                    heard = Instant::now();
                    beat = heard + self.beat;
                    frame.map(|frame| self.take(&frame))
                }
                order = inbox.recv() => match order {
                    Some(order) => self.app.send(&order).await,
                    None => return,
                },
                () = tokio::time::sleep_until(heard + SILENCE) => {
                    Err(LanError::Breach(format!("no word for {} s", SILENCE.as_secs())))
                }
                () = tokio::time::sleep_until(beat) => {
                    beat += self.beat;
                    self.app.send(&Frame::new(HEARTBEAT, [])).await
                }
            };
            if let Err(error) = done {
                break error;
            }
        };
        self.ledger.presence(false);
        if !matches!(end, LanError::Closed) {
            self.ledger.violation(end.to_string());
        }
    }

    fn take(&self, frame: &Frame) {
        let taken = match frame.cmd {
            PLAIN => self.schema.read_status(P0_REPORT, &frame.payload).and_then(|values| {
                let counter = self.schema.number(&self.counter, &values).and_then(|n| u32::try_from(n).ok());
                counter.map(|counter| self.ledger.arrived(counter)).ok_or_else(|| format!("no {}", self.counter))
            }),
            ANSWER => match frame.answer() {
                Ok((sn, [])) => {
                    self.ledger.command_answered(&sn.to_string(), Ok(()));
                    Ok(())
                }
                Ok((sn, p0)) => Err(format!("control {sn} was answered with {p0:02x?}")),
                Err(fault) => Err(fault),
            },
            HEARTBEAT_ANSWER if frame.payload.is_empty() => Ok(()),
            _ => Err(format!("{frame:?} was not asked for")),
        };
        if let Err(fault) = taken {
            self.ledger.violation(fault);
        }
    }
}

/// Commands (Gizwits LAN protocol, 4.2).
const HEARTBEAT: u16 = 0x15;
const HEARTBEAT_ANSWER: u16 = 0x16;
/// First P0 byte of a report (Gizwits P0, 3.1).
const P0_REPORT: u8 = 0x04;
/// An app shows that it is there after 4 s without a word of the module (4.5) ...
const BEAT: Duration = Duration::from_secs(4);
/// ... and gives up after 12 s.
const SILENCE: Duration = Duration::from_secs(12);
/// Commands that wait to be written; one more is refused. Chosen by us: somebody presses a button every second.
const ORDERS: usize = 16;
