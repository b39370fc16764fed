//! [`VirtualHost`]: a host for tests, with virtual time and scripted services.
//!
//! A test is a conversation: it lets something happen (`start`, `advance`, `mqtt_connected`, `report`, …) and says what it
//! expects to be asked in turn (`expect_mqtt_connect`, `expect_publish`, …). Whatever is expected must have been asked, in
//! any order; [`VirtualHost::expect_silence`] says that nothing else was. Log lines and statuses are kept apart. When a
//! test fails, the whole conversation is printed.
//!
//! [`VirtualHost::new`] drives the session alone; [`VirtualHost::through_abi`] drives it behind the driver and the real
//! types of the ABI, where the ids that a test sees are the host's tokens and not the session's own. The same test works
//! with both if it takes the ids from what it expected.
//!
//! ```text
//! let mut host = VirtualHost::new::<MySession>(Setup::new(settings, product));
//! host.start();
//! let (connection, connect) = host.expect_mqtt_connect();
//! host.mqtt_connected(connection);
//! let seq = host.report([(DatapointId(0), Value::Bool(true))]);
//! let publish = host.expect_publish();
//! host.published(publish.id);
//! assert_eq!(host.expect_settle(), [seq]);
//! ```

mod abi;
mod answer;
mod expect;
mod limits;
pub(crate) mod record;
pub mod schema;
pub(crate) mod tables;
mod transcript;
pub mod witness;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use polylink_plugin_api::{ClockQuality, Fault, FaultCode, HostBox, Now, PluginBox, PluginConfig, Timestamp, WallTime};

use crate::services::{Failure, Reason, id, module, mqtt, network, ota, script, store, subdevices, tcp};
use crate::session::{Level, Status};
use crate::{Context, Input, Output, RequestId, Session};
pub use expect::{Publish, ScriptCall, Subscribe};
use transcript::Transcript;

/// What a session finds when it starts.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Name of the cloud instance.
    pub name: String,
    /// Settings as JSON text.
    pub settings: String,
    /// Product document as JSON text.
    pub product: String,
    /// The seed of its random numbers.
    pub seed: [u8; 32],
    /// What was stored before.
    pub stored: BTreeMap<String, Vec<u8>>,
    /// The module and the MCU.
    pub facts: module::Facts,
    /// The network.
    pub interfaces: Vec<network::Interface>,
    /// The subdevices.
    pub subdevices: Vec<subdevices::Subdevice>,
    /// Updates of the instance.
    pub updates: Vec<ota::Update>,
    /// The services that the host offers.
    pub services: Vec<&'static str>,
    /// Wall clock at the start.
    pub wall: WallTime,
    /// Seconds that local time is ahead of UTC.
    pub utc_offset_s: i32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            name: "virtual".to_owned(),
            settings: "{}".to_owned(),
            product: r#"{"product_key":"virtual","name":"","raw":false,"properties":[],"events":[],"actions":[]}"#
                .to_owned(),
            seed: [7; 32],
            stored: BTreeMap::new(),
            facts: module::Facts { mcu_online: true, ..Default::default() },
            interfaces: Vec::new(),
            subdevices: Vec::new(),
            updates: Vec::new(),
            services: ALL_SERVICES.to_vec(),
            wall: WallTime { unix_ms: START_UNIX_MS, quality: ClockQuality::SYNCED },
            utc_offset_s: 0,
        }
    }
}

impl Setup {
    /// These settings and this product document (texts, or `serde_json::Value`s), and the defaults.
    pub fn new(settings: impl ToString, product: impl ToString) -> Self {
        Self { settings: settings.to_string(), product: product.to_string(), ..Self::default() }
    }
}

/// A host for tests; see the module.
pub struct VirtualHost {
    make: Make,
    subject: Option<Box<dyn Subject>>,
    setup: Setup,
    now: Now,
    store_fails: bool,
    connections: BTreeSet<RequestId>,
    scripts: BTreeSet<RequestId>,
    full: BTreeSet<RequestId>,
    outputs: VecDeque<Output>,
    status: Status,
    logs: Vec<(Level, String)>,
    next_seq: u64,
    next_stream: u64,
    transcript: Transcript,
}

/// What the host drives.
trait Subject {
    /// What was asked, also before a fault.
    fn handle(&mut self, now: Now, input: Input) -> (Vec<Output>, Result<(), Fault>);
    fn next_timeout(&self) -> Option<Timestamp>;
    /// Whether it answers for full streams by itself from now on.
    fn set_full(&mut self, stream: RequestId, full: bool) -> bool;
    /// What ids of accepted streams start from.
    fn first_stream(&self) -> u64;
}

type Make = Box<dyn Fn(Context) -> Result<Box<dyn Subject>, Fault>>;

impl VirtualHost {
    /// A host that drives sessions of this type.
    #[must_use]
    pub fn new<S: Session>(setup: Setup) -> Self {
        Self::with(setup, Box::new(|context| Ok(Box::new(Alone(S::new(context)?)))))
    }

    /// A host that drives sessions of this type through the driver and the ABI.
    #[must_use]
    pub fn through_abi<S: Session>(setup: Setup) -> Self {
        Self::plugin(setup, |host, config| crate::driver::create::<S>(host, config, &[]))
    }

    /// A host that drives a plugin by its `create`, which may come from a library.
    #[must_use]
    pub fn plugin(setup: Setup, create: impl Fn(HostBox, PluginConfig) -> Result<PluginBox, Fault> + 'static) -> Self {
        Self::with(setup, Box::new(move |context| Ok(Box::new(abi::ThroughAbi::new(context, &create)?))))
    }

    fn with(setup: Setup, make: Make) -> Self {
        let now = Now { monotonic: START, wall: setup.wall, utc_offset_s: setup.utc_offset_s };
        Self {
            make,
            subject: None,
            setup,
            now,
            store_fails: false,
            connections: BTreeSet::new(),
            scripts: BTreeSet::new(),
            full: BTreeSet::new(),
            outputs: VecDeque::new(),
            status: Status::default(),
            logs: Vec::new(),
            next_seq: 1,
            next_stream: 0,
            transcript: Transcript::default(),
        }
    }

    /// Makes a session and starts it.
    #[track_caller]
    pub fn start(&mut self) {
        if let Err(fault) = self.try_start() {
            panic!("the session does not start: {}", fault.message);
        }
    }

    /// Makes a session and starts it.
    ///
    /// # Errors
    /// The session's fault.
    pub fn try_start(&mut self) -> Result<(), Fault> {
        let context = Context {
            name: self.setup.name.clone(),
            settings: self.setup.settings.clone(),
            product: self.setup.product.clone(),
            seed: self.setup.seed,
            stored: self.setup.stored.clone(),
            facts: self.setup.facts.clone(),
            interfaces: self.setup.interfaces.clone(),
            subdevices: self.setup.subdevices.clone(),
            updates: self.setup.updates.clone(),
            services: self.setup.services.clone(),
        };
        self.connections.clear();
        self.scripts.clear();
        self.full.clear();
        let subject = (self.make)(context).inspect_err(|fault| self.transcript.fault(self.now, fault))?;
        self.subject = Some(subject);
        self.try_deliver(Input::Start)
    }

    /// Ends the session without a word, as a crash or a fault does, and starts a new one. What was stored stays;
    /// outputs of the old one that nobody expected are forgotten.
    #[track_caller]
    pub fn restart(&mut self) {
        self.subject = None;
        self.outputs.clear();
        self.start();
    }

    /// Ends the session in good order.
    #[track_caller]
    pub fn stop(&mut self) {
        self.deliver(Input::Stop);
        self.subject = None;
    }

    /// Whether there is a session that neither stopped nor faulted.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.subject.is_some()
    }

    /// Lets something happen.
    #[track_caller]
    pub fn deliver(&mut self, input: Input) {
        if let Err(fault) = self.try_deliver(input) {
            panic!("the session faults: {}", fault.message);
        }
    }

    /// Lets something happen.
    ///
    /// # Errors
    /// The session's fault; the session is gone.
    #[track_caller]
    pub fn try_deliver(&mut self, input: Input) -> Result<(), Fault> {
        let mut inputs = VecDeque::from([input]);
        for _ in 0..ANSWERS_MAX {
            let Some(input) = inputs.pop_front() else { return Ok(()) };
            self.transcript.input(self.now, &input);
            self.note_closed(&input);
            let subject = self.subject.as_mut().expect("the session was started and has not ended");
            let (outputs, handled) = subject.handle(self.now, input);
            let taken = outputs.into_iter().try_for_each(|output| self.take(output, &mut inputs));
            if let Err(fault) = handled.and(taken) {
                self.transcript.fault(self.now, &fault);
                self.subject = None;
                return Err(fault);
            }
        }
        panic!("the session asked {ANSWERS_MAX} times in a row for something that is answered at once");
    }

    /// Lets this much time pass, with every timeout in it at its time.
    #[track_caller]
    pub fn advance(&mut self, ms: u64) {
        let end = self.now.monotonic.after(ms);
        let mut n_now = 0;
        while let Some(due) = self.next_timeout().filter(|due| *due <= end) {
            n_now = if due > self.now.monotonic { 0 } else { n_now + 1 };
            assert!(n_now < TIMEOUTS_AT_ONCE_MAX, "the session wants a timeout again and again without time passing");
            self.set_time(due);
            self.deliver(Input::Timeout);
        }
        self.set_time(end);
    }

    /// Lets time pass up to the next timeout and gives it; the milliseconds that passed.
    #[track_caller]
    pub fn advance_to_next_timeout(&mut self) -> u64 {
        let due = self.next_timeout().expect("the session wants a timeout");
        let passed = due.since(self.now.monotonic);
        self.set_time(due);
        self.deliver(Input::Timeout);
        passed
    }

    /// When the session wants its next timeout.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.subject.as_ref()?.next_timeout()
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Sets the wall clock; the monotonic one goes on.
    pub const fn set_wall(&mut self, unix_ms: i64, quality: ClockQuality) {
        self.now.wall = WallTime { unix_ms, quality };
    }

    /// What the next session will find; for changes before [`Self::restart`].
    pub const fn setup(&mut self) -> &mut Setup {
        &mut self.setup
    }

    /// A stored value.
    #[must_use]
    pub fn stored(&self, key: &str) -> Option<&[u8]> {
        self.setup.stored.get(key).map(Vec::as_slice)
    }

    /// From now on (or no longer) every write to the store fails, and is lost at the next restart.
    pub const fn fail_store(&mut self, fails: bool) {
        self.store_fails = fails;
    }

    /// Every output that nobody expected yet, but for log lines, statuses and writes to the store.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        self.outputs.drain(..).collect()
    }

    /// The last status.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// All log lines.
    #[must_use]
    pub fn logs(&self) -> &[(Level, String)] {
        &self.logs
    }

    /// The whole conversation, a line each.
    #[must_use]
    pub fn transcript(&self) -> String {
        self.transcript.to_string()
    }

    fn set_time(&mut self, to: Timestamp) {
        let passed = to.since(self.now.monotonic);
        self.now.monotonic = self.now.monotonic.max(to);
        self.now.wall.unix_ms += i64::try_from(passed).unwrap_or(i64::MAX);
    }

    fn note_closed(&mut self, input: &Input) {
        if let Input::Mqtt(mqtt::Event::Closed(id, _) | mqtt::Event::Refused(id, _)) = input {
            self.connections.remove(id);
        }
        if let Input::Script(script::Event::LoadFailed(id, _)) = input {
            self.scripts.remove(id);
        }
    }

    /// Keeps an output for who expects it, or answers it at once.
    fn take(&mut self, output: Output, answers: &mut VecDeque<Input>) -> Result<(), Fault> {
        self.transcript.output(self.now, &output);
        if let Some(service) = service_of(&output).filter(|service| !self.setup.services.contains(service)) {
            let message = format!("this plugin needs the service `{service}`, which this host does not offer");
            return Err(Fault::new(FaultCode::MISSING_SERVICE, message));
        }
        match output {
            Output::Log(level, text) => self.logs.push((level, text)),
            Output::Status(status) => self.status = status,
            Output::Store(id, request) => answers.push_back(Input::Stored(id, self.write(request))),
            Output::Mqtt(request) => {
                let lost = |connection: &RequestId| Failure {
                    reason: Reason::UnknownHandle,
                    text: format!("there is no connection {}", connection.0),
                };
                let refused = match &request {
                    mqtt::Request::Connect(id, _) => {
                        self.connections.insert(*id);
                        None
                    }
                    mqtt::Request::Publish { connection, id, message } => {
                        let known = self.connections.contains(connection);
                        let checked = if known { limits::publish(message) } else { Err(lost(connection)) };
                        checked.err().map(|failure| mqtt::Event::Published(*id, Err(failure)))
                    }
                    mqtt::Request::Subscribe { connection, id, .. } if !self.connections.contains(connection) => {
                        Some(mqtt::Event::Subscribed(*id, Err(lost(connection))))
                    }
                    _ => None,
                };
                if let Some(refused) = refused {
                    answers.push_back(Input::Mqtt(refused));
                    return Ok(());
                }
                self.outputs.push_back(Output::Mqtt(request));
            }
            Output::Tcp(tcp::Request::Send(id, bytes)) if self.full.contains(&id) => {
                answers.push_back(Input::Tcp(tcp::Event::Overflow(id, bytes)));
            }
            Output::Script(request) => match self.check_script(&request) {
                Ok(()) => self.outputs.push_back(Output::Script(request)),
                Err(refused) => answers.push_back(Input::Script(refused)),
            },
            output => self.outputs.push_back(output),
        }
        Ok(())
    }

    /// What the service itself would say to a request that it cannot take.
    fn check_script(&mut self, request: &script::Request) -> Result<(), script::Event> {
        match request {
            script::Request::Load { script, name, source } => {
                let n_scripts = self.scripts.len() - usize::from(self.scripts.contains(script));
                limits::load(name, source, n_scripts).map_err(|failure| script::Event::LoadFailed(*script, failure))?;
                self.scripts.insert(*script);
            }
            script::Request::Call { script, id, .. } if !self.scripts.contains(script) => {
                let text = format!("there is no script {}", script.0);
                return Err(script::Event::Returned(*id, Err(Failure { reason: Reason::UnknownHandle, text })));
            }
            script::Request::Call { id, function, args, .. } => {
                limits::call(function, args).map_err(|failure| script::Event::Returned(*id, Err(failure)))?;
            }
            script::Request::Unload(script) => {
                self.scripts.remove(script);
            }
        }
        Ok(())
    }

    fn write(&mut self, request: store::Request) -> Result<(), Failure> {
        if self.store_fails {
            return Err(Failure { reason: Reason::Storage, text: "the virtual store was told to fail".to_owned() });
        }
        limits::store(&request)?;
        match request {
            store::Request::Put(key, value) => self.setup.stored.insert(key, value),
            store::Request::Remove(key) => self.setup.stored.remove(&key),
        };
        Ok(())
    }
}

impl Drop for VirtualHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the conversation:\n{}", self.transcript);
        }
    }
}

/// A session without driver and ABI.
struct Alone<S>(S);

impl<S: Session> Subject for Alone<S> {
    fn handle(&mut self, now: Now, input: Input) -> (Vec<Output>, Result<(), Fault>) {
        match self.0.handle_input(now, input) {
            Ok(outputs) => (outputs, Ok(())),
            Err(fault) => (Vec::new(), Err(fault)),
        }
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        self.0.next_timeout()
    }

    fn set_full(&mut self, _stream: RequestId, _full: bool) -> bool {
        false
    }

    fn first_stream(&self) -> u64 {
        1 << 63
    }
}

const fn service_of(output: &Output) -> Option<&'static str> {
    match output {
        Output::Log(..) | Output::Status(_) | Output::Submit(..) | Output::Settle(_) => None,
        Output::Mqtt(_) => Some(id::MQTT),
        Output::Tcp(_) => Some(id::TCP),
        Output::Udp(_) => Some(id::UDP),
        Output::Http(..) | Output::CancelHttp(_) => Some(id::HTTP),
        Output::Store(..) => Some(id::STORE),
        Output::Resolve(..) => Some(id::NETWORK),
        Output::Module(_) => Some(id::MODULE),
        Output::Script(_) => Some(id::SCRIPT),
        Output::Subdevices(_) => Some(id::SUBDEVICES),
        Output::Ota(_) => Some(id::OTA),
        Output::SendLogs(..) => Some(id::LOGS),
    }
}

/// What a whole host offers.
pub(crate) const ALL_SERVICES: [&str; 11] = [
    id::MQTT,
    id::TCP,
    id::UDP,
    id::HTTP,
    id::STORE,
    id::NETWORK,
    id::MODULE,
    id::SCRIPT,
    id::SUBDEVICES,
    id::OTA,
    id::LOGS,
];

/// Not 0, so that a session that forgets to add `now` shows it.
const START: Timestamp = Timestamp(1_000_000);

/// 2024-01-01 00:00 UTC.
const START_UNIX_MS: i64 = 1_704_067_200_000;

/// A session that asks more often in a row for what is answered at once is in a loop.
const ANSWERS_MAX: usize = 10_000;

/// A session that wants more timeouts at one moment is in a loop.
const TIMEOUTS_AT_ONCE_MAX: usize = 100;
