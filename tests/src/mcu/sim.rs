//! The simulated MCU: answers the module, reports by itself, obeys controls, and writes down every breach of protocol.
//! This is how it is set up and watched; `program` is what it does.

mod program;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, watch};

use self::program::Program;
use super::faults::Faults;
use super::firmware::FirmwareManners;
use super::frame::{OPEN_BINDING, RESET};
use super::log::McuLog;
use super::p0::{Raw, Schema};
use super::pty::Pty;
use crate::changes;

/// How the MCU behaves.
#[derive(Debug, Clone)]
pub struct McuOptions {
    /// Its datapoints.
    pub schema: Schema,
    /// Attribute that counts the reports, different in each.
    pub counter: String,
    /// Reports a second by itself; 0 = only after a change.
    pub rate: u32,
    /// Paces every byte as a UART of this speed would; `None` = as fast as the line takes it.
    pub baud: Option<u32>,
    /// Seed of the faults.
    pub seed: u64,
}

/// A running MCU; dropping it ends it.
#[derive(Debug)]
pub struct McuSim {
    path: PathBuf,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    /// Turns of the program so far.
    turns: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    log: McuLog,
    values: Vec<Raw>,
    faults: Faults,
    rate: u32,
    report_wanted: bool,
    /// Commands of buttons that were pressed and not sent yet.
    presses: VecDeque<u8>,
    /// A report or a button waits for its acknowledgement.
    under_way: bool,
    /// Bindable time in seconds; 0: always.
    bindable_s: u16,
    /// How it takes firmware.
    firmware: FirmwareManners,
    /// Software version that it runs.
    software: String,
}

impl McuSim {
    /// Opens the line and begins to listen; needs a running tokio runtime.
    pub fn start(options: McuOptions) -> io::Result<Self> {
        let pty = Pty::open()?;
        let path = pty.path().to_owned();
        let values = options.schema.zeroes();
        let counter = options.schema.attributes.iter().position(|attribute| attribute.name == options.counter);
        let counter = counter.ok_or_else(|| io::Error::other(format!("no attribute {}", options.counter)))?;
        let state = State {
            log: McuLog::default(),
            values,
            faults: Faults::default(),
            rate: options.rate,
            report_wanted: false,
            presses: VecDeque::new(),
            under_way: false,
            bindable_s: 0,
            firmware: FirmwareManners::default(),
            software: FIRST_SOFTWARE.to_owned(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), turns: watch::channel(0).0 });
        let program = Program::new(options, counter, Arc::clone(&shared));
        Ok(Self { path, shared, task: tokio::spawn(program.run(pty)) })
    }

    /// The terminal the host opens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What happened so far.
    pub fn log(&self) -> McuLog {
        self.shared.lock().log.clone()
    }

    /// Looks at what happened so far without copying it.
    pub fn with_log<T>(&self, look: impl FnOnce(&McuLog) -> T) -> T {
        look(&self.shared.lock().log)
    }

    /// The values it would report now, in the order of the attributes.
    pub fn values(&self) -> Vec<Raw> {
        self.shared.lock().values.clone()
    }

    /// Reports a second from now on; 0 stops them.
    pub fn set_rate(&self, rate: u32) {
        self.shared.lock().rate = rate;
        self.shared.changed.notify_one();
    }

    /// Somebody holds the button that makes the module forget who it is.
    pub fn reset(&self) {
        self.press(RESET);
    }

    /// Somebody presses the button that lets new owners bind the device.
    pub fn open_binding(&self) {
        self.press(OPEN_BINDING);
    }

    /// From the next handshake on, new owners may bind the device for so many seconds; 0: always.
    pub fn set_bindable(&self, seconds: u16) {
        self.shared.lock().bindable_s = seconds;
    }

    fn press(&self, command: u8) {
        self.shared.lock().presses.push_back(command);
        self.shared.changed.notify_one();
    }

    /// Waits until no report or button is under way or wanted; with a rate above zero that may be never.
    pub async fn at_rest(&self) {
        let rests =
            |state: &State| state.rate == 0 && !state.report_wanted && state.presses.is_empty() && !state.under_way;
        self.until_state(rests).await;
    }

    /// Waits until the log fulfils a condition.
    pub async fn until(&self, condition: impl Fn(&McuLog) -> bool) {
        self.until_state(|state| condition(&state.log)).await;
    }

    async fn until_state(&self, condition: impl Fn(&State) -> bool) {
        changes::until(&self.shared.turns, || condition(&self.shared.lock())).await;
    }

    /// What goes wrong on the line from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.lock().faults = faults;
        self.shared.changed.notify_one();
    }

    /// Changes how it takes firmware; what it kept waiting because of a trouble that is gone goes on.
    pub fn change_firmware(&self, change: impl FnOnce(&mut FirmwareManners)) {
        change(&mut self.shared.lock().firmware);
        self.shared.changed.notify_one();
    }

    /// The software version that it runs; the module knows it after the next handshake.
    pub fn software(&self) -> String {
        self.shared.lock().software.clone()
    }

    /// Changes a value that the next report will carry, as a slow sensor would.
    pub fn drift(&self, name: &str, value: Raw, schema: &Schema) {
        if let Some(at) = schema.attributes.iter().position(|attribute| attribute.name == name) {
            self.shared.lock().values[at] = value;
        }
    }

    /// Changes a value by itself, as a button would, and reports.
    pub fn set(&self, name: &str, value: Raw, schema: &Schema) {
        let mut state = self.shared.lock();
        if let Some(at) = schema.attributes.iter().position(|attribute| attribute.name == name) {
            state.values[at] = value;
            state.report_wanted = true;
        }
        drop(state);
        self.shared.changed.notify_one();
    }
}

impl Drop for McuSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Software version that the MCU is made with.
pub const FIRST_SOFTWARE: &str = "POLYSW01";

#[cfg(test)]
mod tests;
