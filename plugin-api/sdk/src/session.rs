//! [`Session`]: the pure core of a plugin, and its vocabulary.

use std::collections::BTreeMap;

use polylink_plugin_api::{Fault, Now, Timestamp};

use crate::services::{http, logs, module, mqtt, network, ota, script, store, subdevices, tcp, udp};
use crate::value::{Command, Outcome, Report};

/// A number by which a session recognises the answer to something it asked for. The session chooses it; it should not
/// use one again while the first is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a session is made of.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Name of the cloud instance.
    pub name: String,
    /// The settings as a JSON object.
    pub settings: String,
    /// The product document as a JSON object; see [`crate::thing_model::ThingModel::parse`].
    pub product: String,
    /// Fresh random bytes; see [`crate::random::Random`].
    pub seed: [u8; 32],
    /// What was stored before, key by key.
    pub stored: BTreeMap<String, Vec<u8>>,
    /// What is known of the module and the MCU at the start.
    pub facts: module::Facts,
    /// The network interfaces at the start.
    pub interfaces: Vec<network::Interface>,
    /// The subdevices that are known at the start.
    pub subdevices: Vec<subdevices::Subdevice>,
    /// Updates of this instance that are under way, or over and not acknowledged.
    pub updates: Vec<ota::Update>,
    /// The ids of the services that the host offers; see [`crate::services::id`]. Using another one is a fault.
    pub services: Vec<&'static str>,
}

/// One cloud protocol, as a state machine without I/O, clock or threads.
///
/// The driver calls [`Session::handle_input`] with [`Input::Start`] first and [`Input::Stop`] last. After every call it
/// asks [`Session::next_timeout`], and gives [`Input::Timeout`] at or soon after that time.
pub trait Session: Send + Sized + 'static {
    /// Makes a session that has not begun to work.
    ///
    /// # Errors
    /// The settings or the product do not fit; the fault's text names the key.
    fn new(context: Context) -> Result<Self, Fault>;

    /// Takes one input and answers with what is to be done, in order.
    ///
    /// # Errors
    /// The session cannot go on; the host makes a new one, as the fault advises.
    fn handle_input(&mut self, now: Now, input: Input) -> Result<Vec<Output>, Fault>;

    /// When [`Input::Timeout`] is wanted next.
    fn next_timeout(&self) -> Option<Timestamp>;
}

/// What happens to a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Begin to work.
    Start,
    /// The time given by `next_timeout` has come.
    Timeout,
    /// What the device said, oldest first. While 256 reports are not settled no more come: they wait in the host's journal.
    Reports(Vec<Report>),
    /// What became of a command.
    Outcome(RequestId, Outcome),
    /// News of an MQTT connection.
    Mqtt(mqtt::Event),
    /// News of a stream or listener.
    Tcp(tcp::Event),
    /// News of a datagram socket.
    Udp(udp::Event),
    /// The answer to an HTTP request.
    Http(RequestId, Result<http::Response, crate::services::Failure>),
    /// A value is on the disk, or is not.
    Stored(RequestId, Result<(), crate::services::Failure>),
    /// News of the network.
    Network(network::Event),
    /// News of the module or the MCU.
    Module(module::Event),
    /// News of a script.
    Script(script::Event),
    /// News of the subdevices.
    Subdevices(subdevices::Event),
    /// News of the updates.
    Ota(ota::Event),
    /// What became of a part of the log: bytes that were sent; 0: there was nothing to send.
    LogsSent(RequestId, Result<u64, crate::services::Failure>),
    /// Say good-bye; nothing follows.
    Stop,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write a line to the log. Never a secret; payloads at `Trace` only.
    Log(Level, String),
    /// Tell operators where this session stands.
    Status(Status),
    /// Ask the device for something; [`Input::Outcome`] follows with this id.
    Submit(RequestId, Command),
    /// These reports are acknowledged by the cloud.
    Settle(Vec<u64>),
    /// Something for an MQTT connection.
    Mqtt(mqtt::Request),
    /// Something for a stream or listener.
    Tcp(tcp::Request),
    /// Something for a datagram socket.
    Udp(udp::Request),
    /// Send an HTTP request; [`Input::Http`] follows with this id.
    Http(RequestId, http::Request),
    /// Give up an HTTP request; no answer follows.
    CancelHttp(RequestId),
    /// Store or remove a value; [`Input::Stored`] follows with this id.
    Store(RequestId, store::Request),
    /// Look up a host name; [`network::Event::Resolved`] follows with this id.
    Resolve(RequestId, String),
    /// Something for the module.
    Module(module::Request),
    /// Something for a script.
    Script(script::Request),
    /// Something for the gateway of the subdevices.
    Subdevices(subdevices::Request),
    /// Something about updates.
    Ota(ota::Request),
    /// Send a part of the module's log; [`Input::LogsSent`] follows with this id.
    SendLogs(RequestId, Box<logs::Upload>),
}

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// An operator should look at it.
    Error,
    /// Odd, but handled.
    Warn,
    /// A change of state.
    Info,
    /// For who debugs the plugin.
    Debug,
    /// Every packet.
    Trace,
}

/// Where a session stands with its cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not connected, and not trying at present.
    #[default]
    Offline,
    /// On the way.
    Connecting,
    /// The cloud knows the device and can reach it.
    Online,
    /// Works no further until a person changes something.
    Attention,
}

/// What an operator is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub phase: Phase,
    /// One line for people; never a secret.
    pub text: String,
    /// Named facts; never a secret.
    pub facts: Vec<(String, String)>,
}
