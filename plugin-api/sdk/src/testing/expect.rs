//! What a test expects to have been asked. Each `expect_…` finds the first output of its kind, takes it away, and fails
//! the test if there is none.

use super::VirtualHost;
use crate::services::{http, logs, module, mqtt, ota, script, subdevices, tcp, udp};
use crate::value::{CommandBody, Values};
use crate::{Command, Output, RequestId};

/// A publish that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The connection.
    pub connection: RequestId,
    /// The publish.
    pub id: RequestId,
    /// What is published.
    pub message: mqtt::Message,
}

impl Publish {
    /// The payload as text.
    ///
    /// # Panics
    /// It is not UTF-8.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.message.payload).expect("the payload is UTF-8")
    }

    /// The payload as JSON.
    ///
    /// # Panics
    /// It is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.message.payload).expect("the payload is JSON")
    }
}

/// A subscription that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The connection.
    pub connection: RequestId,
    /// The subscription.
    pub id: RequestId,
    /// Topic filter.
    pub filter: String,
    /// Highest QoS wanted.
    pub qos: u8,
}

/// A call of a script's function that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptCall {
    /// The script.
    pub script: RequestId,
    /// The call.
    pub id: RequestId,
    /// The function's name.
    pub function: String,
    /// Its arguments.
    pub args: Vec<script::Value>,
}

impl VirtualHost {
    /// Takes the first output that `pick` knows.
    ///
    /// # Panics
    /// There is none; `what` says what was expected.
    #[track_caller]
    pub fn expect_output<T>(&mut self, what: &str, mut pick: impl FnMut(&Output) -> Option<T>) -> T {
        let found = self.outputs.iter().enumerate().find_map(|(index, output)| Some((index, pick(output)?)));
        let Some((index, picked)) = found else {
            panic!("expected {what}; what was asked and not yet expected: {:?}", self.outputs);
        };
        self.outputs.remove(index);
        picked
    }

    /// Nothing was asked that was not expected.
    ///
    /// # Panics
    /// Something was.
    #[track_caller]
    pub fn expect_silence(&self) {
        assert!(self.outputs.is_empty(), "expected nothing more, but it was asked: {:?}", self.outputs);
    }

    /// An MQTT connection.
    #[track_caller]
    pub fn expect_mqtt_connect(&mut self) -> (RequestId, mqtt::Connect) {
        self.expect_output("an MQTT connection", |output| match output {
            Output::Mqtt(mqtt::Request::Connect(id, connect)) => Some((*id, (**connect).clone())),
            _ => None,
        })
    }

    /// A publish.
    #[track_caller]
    pub fn expect_publish(&mut self) -> Publish {
        self.expect_output("a publish", publish)
    }

    /// A publish on this topic.
    #[track_caller]
    pub fn expect_publish_on(&mut self, topic: &str) -> Publish {
        let what = format!("a publish on `{topic}`");
        self.expect_output(&what, |output| publish(output).filter(|publish| publish.message.topic == topic))
    }

    /// A subscription.
    #[track_caller]
    pub fn expect_subscribe(&mut self) -> Subscribe {
        self.expect_output("a subscription", |output| match output {
            Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, qos }) => {
                Some(Subscribe { connection: *connection, id: *id, filter: filter.clone(), qos: *qos })
            }
            _ => None,
        })
    }

    /// The end of an MQTT connection.
    #[track_caller]
    pub fn expect_mqtt_disconnect(&mut self) -> RequestId {
        self.expect_output("an MQTT disconnect", |output| match output {
            Output::Mqtt(mqtt::Request::Disconnect(id)) => Some(*id),
            _ => None,
        })
    }

    /// A stream: its id, host and port.
    #[track_caller]
    pub fn expect_tcp_open(&mut self) -> (RequestId, String, u16) {
        self.expect_output("a TCP stream", |output| match output {
            Output::Tcp(tcp::Request::Open { id, host, port, .. }) => Some((*id, host.clone(), *port)),
            _ => None,
        })
    }

    /// A listener: its id and port.
    #[track_caller]
    pub fn expect_tcp_listen(&mut self) -> (RequestId, u16) {
        self.expect_output("a TCP listener", |output| match output {
            Output::Tcp(tcp::Request::Listen { id, port, .. }) => Some((*id, *port)),
            _ => None,
        })
    }

    /// Bytes on a stream.
    #[track_caller]
    pub fn expect_tcp_send(&mut self) -> (RequestId, Vec<u8>) {
        self.expect_output("bytes on a TCP stream", |output| match output {
            Output::Tcp(tcp::Request::Send(id, bytes)) => Some((*id, bytes.clone())),
            _ => None,
        })
    }

    /// The end of a stream or listener.
    #[track_caller]
    pub fn expect_tcp_close(&mut self) -> RequestId {
        self.expect_output("the end of a TCP stream or listener", |output| match output {
            Output::Tcp(tcp::Request::Close(id)) => Some(*id),
            _ => None,
        })
    }

    /// A datagram socket: its id and port.
    #[track_caller]
    pub fn expect_udp_bind(&mut self) -> (RequestId, u16) {
        self.expect_output("a UDP socket", |output| match output {
            Output::Udp(udp::Request::Bind { id, port, .. }) => Some((*id, *port)),
            _ => None,
        })
    }

    /// A datagram: its socket, where to, and the bytes.
    #[track_caller]
    pub fn expect_udp_send(&mut self) -> (RequestId, String, Vec<u8>) {
        self.expect_output("a datagram", |output| match output {
            Output::Udp(udp::Request::SendTo(id, to, bytes)) => Some((*id, to.clone(), bytes.clone())),
            _ => None,
        })
    }

    /// A broadcast: its socket, port, and the bytes.
    #[track_caller]
    pub fn expect_udp_broadcast(&mut self) -> (RequestId, u16, Vec<u8>) {
        self.expect_output("a broadcast", |output| match output {
            Output::Udp(udp::Request::Broadcast(id, port, bytes)) => Some((*id, *port, bytes.clone())),
            _ => None,
        })
    }

    /// An HTTP request.
    #[track_caller]
    pub fn expect_http(&mut self) -> (RequestId, http::Request) {
        self.expect_output("an HTTP request", |output| match output {
            Output::Http(id, request) => Some((*id, request.clone())),
            _ => None,
        })
    }

    /// A script to load: its id, name and text.
    #[track_caller]
    pub fn expect_script_load(&mut self) -> (RequestId, String, String) {
        self.expect_output("a script to load", |output| match output {
            Output::Script(script::Request::Load { script, name, source }) => {
                Some((*script, name.clone(), source.clone()))
            }
            _ => None,
        })
    }

    /// A call of a script's function.
    #[track_caller]
    pub fn expect_script_call(&mut self) -> ScriptCall {
        self.expect_output("a call of a script", |output| match output {
            Output::Script(script::Request::Call { script, id, function, args }) => {
                Some(ScriptCall { script: *script, id: *id, function: function.clone(), args: args.clone() })
            }
            _ => None,
        })
    }

    /// The end of a script.
    #[track_caller]
    pub fn expect_script_unload(&mut self) -> RequestId {
        self.expect_output("the end of a script", |output| match output {
            Output::Script(script::Request::Unload(script)) => Some(*script),
            _ => None,
        })
    }

    /// A look-up of a host name.
    #[track_caller]
    pub fn expect_resolve(&mut self) -> (RequestId, String) {
        self.expect_output("a look-up", |output| match output {
            Output::Resolve(id, host) => Some((*id, host.clone())),
            _ => None,
        })
    }

    /// A command for the device.
    #[track_caller]
    pub fn expect_submit(&mut self) -> (RequestId, Command) {
        self.expect_output("a command", |output| match output {
            Output::Submit(id, command) => Some((*id, command.clone())),
            _ => None,
        })
    }

    /// A command that sets properties.
    #[track_caller]
    pub fn expect_set(&mut self) -> (RequestId, Values) {
        self.expect_output("a command that sets properties", |output| match output {
            Output::Submit(id, Command { body: CommandBody::Set(values), .. }) => Some((*id, values.clone())),
            _ => None,
        })
    }

    /// Reports that the cloud has acknowledged.
    #[track_caller]
    pub fn expect_settle(&mut self) -> Vec<u64> {
        self.expect_output("settled reports", |output| match output {
            Output::Settle(seqs) => Some(seqs.clone()),
            _ => None,
        })
    }

    /// Something for the module.
    #[track_caller]
    pub fn expect_module(&mut self) -> module::Request {
        self.expect_output("something for the module", |output| match output {
            Output::Module(request) => Some(request.clone()),
            _ => None,
        })
    }

    /// Something about updates.
    #[track_caller]
    pub fn expect_ota(&mut self) -> ota::Request {
        self.expect_output("something about updates", |output| match output {
            Output::Ota(request) => Some(request.clone()),
            _ => None,
        })
    }

    /// A part of the log is sent.
    #[track_caller]
    pub fn expect_logs(&mut self) -> (RequestId, logs::Upload) {
        self.expect_output("a part of the log", |output| match output {
            Output::SendLogs(id, upload) => Some((*id, (**upload).clone())),
            _ => None,
        })
    }

    /// Something for the gateway of the subdevices.
    #[track_caller]
    pub fn expect_subdevices(&mut self) -> subdevices::Request {
        self.expect_output("something for the gateway of the subdevices", |output| match output {
            Output::Subdevices(request) => Some(request.clone()),
            _ => None,
        })
    }
}

fn publish(output: &Output) -> Option<Publish> {
    match output {
        Output::Mqtt(mqtt::Request::Publish { connection, id, message }) => {
            Some(Publish { connection: *connection, id: *id, message: message.clone() })
        }
        _ => None,
    }
}
