//! Drives a plugin through the real types of the ABI: the inputs of a test become the calls and records that a host makes.

use polylink_plugin_api::abi_stable::sabi_trait::TD_Opaque;
use polylink_plugin_api::abi_stable::std_types::RSlice;
use polylink_plugin_api::event::WAKE;
use polylink_plugin_api::services::{
    FAILED, http, logs, module, mqtt, network, ota, script, store, subdevices, tcp, udp,
};
use polylink_plugin_api::{self as api, Event, Fault, HostBox, Now, Origin, PluginBox, PluginConfig, Timestamp};

use super::tables::Registered;
use super::{Subject, record};
use crate::services::ota::Event as OtaEvent;
use crate::services::script::Event as ScriptEvent;
use crate::services::subdevices::Event as SubdevicesEvent;
use crate::services::{Failure, id, module::Event as ModuleEvent, mqtt::Event as MqttEvent};
use crate::services::{network::Event as NetworkEvent, tcp::Event as TcpEvent, udp::Event as UdpEvent};
use crate::value::Report;
use crate::{Context, Input, Output, RequestId};

/// A plugin and the host it sees.
pub struct ThroughAbi {
    plugin: PluginBox,
    host: Registered,
}

impl ThroughAbi {
    pub fn new(
        context: Context,
        create: &dyn Fn(HostBox, PluginConfig) -> Result<PluginBox, Fault>,
    ) -> Result<Self, Fault> {
        let host = Registered::new(&context);
        let config = PluginConfig {
            instance: host.instance,
            name: context.name.into(),
            settings: context.settings.into(),
            product: context.product.into(),
            seed: context.seed,
        };
        let plugin = create(HostBox::from_value(host.clone(), TD_Opaque), config).inspect_err(|_| host.close())?;
        Ok(Self { plugin, host })
    }

    fn event(&mut self, now: Now, record: &Record) -> Result<(), Fault> {
        let event = Event {
            source: record.source.into(),
            kind: record.kind,
            token: record.token,
            code: record.code,
            text: record.text.as_str().into(),
            body: RSlice::from_slice(&record.body),
        };
        self.plugin.event(now, event).into()
    }

    fn call(&mut self, now: Now, input: Input) -> Result<(), Fault> {
        let record = match input {
            Input::Start => return self.plugin.start(now).into(),
            Input::Timeout => return self.plugin.timeout(now).into(),
            Input::Stop => return self.plugin.stop(now).into(),
            Input::Reports(reports) => {
                let reports: Vec<_> = reports.into_iter().map(|report| self.report(report)).collect();
                return self.plugin.reports(now, RSlice::from_slice(&reports)).into();
            }
            Input::Outcome(id, outcome) => {
                let outcome = record::abi_outcome(id.0, outcome);
                return self.plugin.outcomes(now, RSlice::from_slice(&[outcome])).into();
            }
            Input::Mqtt(event) => mqtt_record(event),
            Input::Tcp(event) => tcp_record(event),
            Input::Udp(event) => udp_record(event),
            Input::Script(event) => script_record(event),
            Input::Http(id, Ok(response)) => {
                let lines: Vec<_> = response.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                Record { text: lines.join("\n"), body: response.body, ..Record::new(id::HTTP, http::RESPONSE, id) }
                    .code(i64::from(response.status))
            }
            Input::Http(id, Err(failure)) => Record::new(id::HTTP, FAILED, id).failure(failure),
            Input::Stored(id, Ok(())) => Record::new(id::STORE, store::STORED, id),
            Input::Stored(id, Err(failure)) => Record::new(id::STORE, FAILED, id).failure(failure),
            Input::Network(NetworkEvent::Changed(interfaces)) => {
                self.host.world().interfaces = interfaces;
                Record::new(id::NETWORK, network::CHANGED, NONE)
            }
            Input::Network(NetworkEvent::Resolved(id, Ok(addresses))) => {
                Record { text: addresses.join(" "), ..Record::new(id::NETWORK, network::RESOLVED, id) }
            }
            Input::Network(NetworkEvent::Resolved(id, Err(failure))) => {
                Record::new(id::NETWORK, FAILED, id).failure(failure)
            }
            Input::Module(ModuleEvent::Changed(facts)) => {
                self.host.world().facts = facts;
                Record::new(id::MODULE, module::CHANGED, NONE)
            }
            Input::Subdevices(SubdevicesEvent::Changed(list)) => {
                self.host.world().subdevices = list;
                Record::new(id::SUBDEVICES, subdevices::CHANGED, NONE)
            }
            Input::Ota(OtaEvent::Changed(list)) => {
                self.host.world().updates = list;
                Record::new(id::OTA, ota::CHANGED, NONE)
            }
            Input::LogsSent(id, Ok(bytes)) => {
                Record::new(id::LOGS, logs::SENT, id).code(i64::try_from(bytes).unwrap_or(i64::MAX))
            }
            Input::LogsSent(id, Err(failure)) => Record::new(id::LOGS, FAILED, id).failure(failure),
            Input::Module(ModuleEvent::Reset) => Record::new(id::MODULE, module::RESET, NONE),
            Input::Module(ModuleEvent::NetworkJoined) => Record::new(id::MODULE, module::NETWORK_JOINED, NONE),
            Input::Module(ModuleEvent::Unbind) => Record::new(id::MODULE, module::UNBIND, NONE),
            Input::Module(ModuleEvent::BindWindow(seconds)) => {
                Record::new(id::MODULE, module::BIND_WINDOW, NONE).code(i64::from(seconds))
            }
        };
        self.event(now, &record)
    }

    fn report(&self, report: Report) -> api::Report {
        let origin = match report.caused_by {
            Some(command) => Origin { instance: self.host.instance, ticket: command.0 },
            None => Origin::default(),
        };
        api::Report {
            seq: report.seq,
            at: report.at,
            device: report.device,
            cause: record::abi_cause(report.cause),
            origin,
            body: record::abi_report_body(report.body),
        }
    }
}

impl Subject for ThroughAbi {
    fn handle(&mut self, now: Now, input: Input) -> (Vec<Output>, Result<(), Fault>) {
        let mut called = self.call(now, input);
        for _ in 0..WAKES_MAX {
            let token = self.host.world().wakes.pop_first();
            let (Some(token), Ok(())) = (token, &called) else { break };
            called = self.event(now, &Record::new(WAKE, 0, RequestId(token)));
        }
        (std::mem::take(&mut self.host.world().outputs), called)
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        self.plugin.next_timeout().into()
    }

    fn set_full(&mut self, stream: RequestId, full: bool) -> bool {
        let mut world = self.host.world();
        if full {
            world.full.insert(stream.0)
        } else {
            world.full.remove(&stream.0)
        };
        true
    }

    /// Handles travel in `Event::code`, which has a sign.
    fn first_stream(&self) -> u64 {
        1 << 62
    }
}

impl Drop for ThroughAbi {
    fn drop(&mut self) {
        self.host.close();
    }
}

/// An event that owns its parts.
struct Record {
    source: &'static str,
    kind: u32,
    token: u64,
    code: i64,
    text: String,
    body: Vec<u8>,
}

impl Record {
    fn new(source: &'static str, kind: u32, token: RequestId) -> Self {
        Self { source, kind, token: token.0, code: 0, text: String::new(), body: Vec::new() }
    }

    fn code(self, code: i64) -> Self {
        Self { code, ..self }
    }

    fn failure(self, failure: Failure) -> Self {
        Self { code: record::abi_reason(failure.reason), text: failure.text, ..self }
    }
}

fn mqtt_record(event: MqttEvent) -> Record {
    let record = |kind, token| Record::new(id::MQTT, kind, token);
    match event {
        MqttEvent::Connected { connection, session_present } => {
            record(mqtt::CONNECTED, connection).code(i64::from(session_present))
        }
        MqttEvent::Refused(connection, code) => record(mqtt::REFUSED, connection).code(i64::from(code)),
        MqttEvent::Closed(connection, failure) => record(mqtt::CLOSED, connection).failure(failure),
        MqttEvent::Published(id, Ok(())) => record(mqtt::PUBLISHED, id),
        MqttEvent::Subscribed(id, Ok(granted)) => record(mqtt::SUBSCRIBED, id).code(i64::from(granted)),
        MqttEvent::Published(id, Err(failure)) | MqttEvent::Subscribed(id, Err(failure)) => {
            record(FAILED, id).failure(failure)
        }
        MqttEvent::Message { connection, topic, payload, qos, retain, duplicate } => {
            let flags = i64::from(retain) | i64::from(qos) << 1 | i64::from(duplicate) << 3;
            Record { text: topic, body: payload, ..record(mqtt::MESSAGE, connection).code(flags) }
        }
    }
}

fn tcp_record(event: TcpEvent) -> Record {
    let record = |kind, token| Record::new(id::TCP, kind, token);
    match event {
        TcpEvent::Opened(id) => record(tcp::OPENED, id),
        TcpEvent::Listening(id, port) => record(tcp::LISTENING, id).code(i64::from(port)),
        TcpEvent::Accepted { listener, stream, peer } => {
            let handle = i64::try_from(stream.0).unwrap_or_default();
            Record { text: peer, ..record(tcp::ACCEPTED, listener).code(handle) }
        }
        TcpEvent::Received(id, bytes) => Record { body: bytes, ..record(tcp::RECEIVED, id) },
        // The driver makes overflows itself, of what `send` answers.
        TcpEvent::Overflow(..) => record(0xFFFF, NONE),
        TcpEvent::Drained(id) => record(tcp::DRAINED, id),
        TcpEvent::Closed(id, failure) => record(tcp::CLOSED, id).failure(failure),
    }
}

fn udp_record(event: UdpEvent) -> Record {
    let record = |kind, token| Record::new(id::UDP, kind, token);
    match event {
        UdpEvent::Bound(id, port) => record(udp::BOUND, id).code(i64::from(port)),
        UdpEvent::Received(id, from, bytes) => Record { text: from, body: bytes, ..record(udp::RECEIVED, id) },
        UdpEvent::Closed(id, failure) => record(udp::CLOSED, id).failure(failure),
    }
}

fn script_record(event: ScriptEvent) -> Record {
    let record = |kind, token| Record::new(id::SCRIPT, kind, token);
    match event {
        ScriptEvent::Loaded(script) => record(script::LOADED, script),
        ScriptEvent::Returned(id, Ok(results)) => {
            let body = script::values::encode(&results).expect("what a test lets a script return can cross");
            Record { body, ..record(script::RETURNED, id) }
        }
        ScriptEvent::LoadFailed(id, failure) | ScriptEvent::Returned(id, Err(failure)) => {
            record(FAILED, id).failure(failure)
        }
    }
}

/// The token of news that answer no call.
const NONE: RequestId = RequestId(0);

/// A plugin that wants to be woken more often after one call is in a loop.
const WAKES_MAX: usize = 1000;
