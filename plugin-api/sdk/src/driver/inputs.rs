//! From the host to the session: what the records of the ABI mean. Kinds, sources and tokens that are not known here are
//! ignored, as the ABI demands.

use polylink_plugin_api as api;
use polylink_plugin_api::services::{
    FAILED, http, logs, module, mqtt, network, ota, script, store, subdevices, tcp, udp,
};
use polylink_plugin_api::services::{Http, Logs, Module, Mqtt, Network, Ota, Script, Store, Subdevices, Tcp, Udp};
use polylink_plugin_api::{Event, Extension};

use super::handles::Kind;
use super::{Port, convert};
use crate::services::http::Response;
use crate::services::module::Event as ModuleEvent;
use crate::services::mqtt::Event as MqttEvent;
use crate::services::network::Event as NetworkEvent;
use crate::services::ota::Event as OtaEvent;
use crate::services::script::Event as ScriptEvent;
use crate::services::subdevices::Event as SubdevicesEvent;
use crate::services::tcp::Event as TcpEvent;
use crate::services::udp::Event as UdpEvent;
use crate::services::{Failure, Reason};
use crate::{Input, Report};

impl Port {
    pub fn reports(&self, batch: &[api::Report]) -> Input {
        let report = |report: &api::Report| Report {
            seq: report.seq,
            at: report.at,
            device: report.device,
            cause: convert::cause(report.cause),
            caused_by: match report.origin.instance == self.instance {
                true => self.tickets.find(report.origin.ticket),
                false => None,
            },
            body: convert::report_body(&report.body),
        };
        Input::Reports(batch.iter().map(report).collect())
    }

    pub fn outcomes(&mut self, batch: &[api::CommandOutcome]) -> Vec<Input> {
        let mut input = |outcome: &api::CommandOutcome| {
            let id = self.tickets.outcome(outcome.ticket)?;
            Some(Input::Outcome(id, convert::outcome(outcome)))
        };
        batch.iter().filter_map(&mut input).collect()
    }

    pub fn event(&mut self, event: &Event<'_>) -> Option<Input> {
        match event.source.as_str() {
            Mqtt::ID => self.mqtt_event(event).map(Input::Mqtt),
            Tcp::ID => self.tcp_event(event).map(Input::Tcp),
            Udp::ID => self.udp_event(event).map(Input::Udp),
            Http::ID => self.http_event(event),
            Store::ID => self.store_event(event),
            Network::ID => self.network_event(event).map(Input::Network),
            Module::ID => self.module_event(event).map(Input::Module),
            Script::ID => self.script_event(event).map(Input::Script),
            Subdevices::ID => self.subdevices_event(event).map(Input::Subdevices),
            Ota::ID => self.ota_event(event).map(Input::Ota),
            Logs::ID => self.logs_event(event),
            // `polylink.wake` brings nothing but the call itself.
            _ => None,
        }
    }

    fn mqtt_event(&mut self, event: &Event<'_>) -> Option<MqttEvent> {
        let failure = || convert::failure(event.code, event.text.as_str());
        let connection = self.handles.id(Kind::MqttConnection, event.token);
        match event.kind {
            mqtt::CONNECTED => Some(MqttEvent::Connected { connection: connection?, session_present: event.code == 1 }),
            mqtt::REFUSED => {
                let code = u8::try_from(event.code).unwrap_or(u8::MAX);
                Some(MqttEvent::Refused(self.handles.take(Kind::MqttConnection, event.token)?, code))
            }
            mqtt::CLOSED => Some(MqttEvent::Closed(self.handles.take(Kind::MqttConnection, event.token)?, failure())),
            mqtt::PUBLISHED => Some(MqttEvent::Published(self.handles.take(Kind::MqttPublish, event.token)?, Ok(()))),
            mqtt::SUBSCRIBED => {
                let granted = u8::try_from(event.code).unwrap_or(SUBSCRIPTION_REFUSED);
                Some(MqttEvent::Subscribed(self.handles.take(Kind::MqttSubscribe, event.token)?, Ok(granted)))
            }
            mqtt::MESSAGE => Some(MqttEvent::Message {
                connection: connection?,
                topic: event.text.to_string(),
                payload: event.body.to_vec(),
                qos: ((event.code >> 1) & 0b11) as u8,
                retain: event.code & 0b0001 != 0,
                duplicate: event.code & 0b1000 != 0,
            }),
            FAILED => {
                let (kind, id) = self.handles.find(event.token)?;
                let failed = match kind {
                    Kind::MqttConnection => MqttEvent::Closed(id, failure()),
                    Kind::MqttPublish => MqttEvent::Published(id, Err(failure())),
                    Kind::MqttSubscribe => MqttEvent::Subscribed(id, Err(failure())),
                    _ => return None,
                };
                self.handles.take(kind, event.token);
                Some(failed)
            }
            _ => None,
        }
    }

    fn tcp_event(&mut self, event: &Event<'_>) -> Option<TcpEvent> {
        let id = self.handles.id(Kind::Tcp, event.token)?;
        match event.kind {
            tcp::OPENED => Some(TcpEvent::Opened(id)),
            tcp::LISTENING => Some(TcpEvent::Listening(id, u16::try_from(event.code).ok()?)),
            tcp::ACCEPTED => {
                let token = u64::try_from(event.code).ok().filter(|token| *token != 0)?;
                if !self.handles.has_room(Kind::Tcp) {
                    if let Ok(tcp) = &self.tables.tcp {
                        (tcp.close)(self.instance, token);
                    }
                    return None;
                }
                let stream = self.handles.accept(token);
                Some(TcpEvent::Accepted { listener: id, stream, peer: event.text.to_string() })
            }
            tcp::RECEIVED => Some(TcpEvent::Received(id, event.body.to_vec())),
            tcp::DRAINED => Some(TcpEvent::Drained(id)),
            tcp::CLOSED | FAILED => {
                self.handles.take(Kind::Tcp, event.token);
                Some(TcpEvent::Closed(id, convert::failure(event.code, event.text.as_str())))
            }
            _ => None,
        }
    }

    fn udp_event(&mut self, event: &Event<'_>) -> Option<UdpEvent> {
        let id = self.handles.id(Kind::Udp, event.token)?;
        match event.kind {
            udp::BOUND => Some(UdpEvent::Bound(id, u16::try_from(event.code).ok()?)),
            udp::RECEIVED => Some(UdpEvent::Received(id, event.text.to_string(), event.body.to_vec())),
            udp::CLOSED | FAILED => {
                self.handles.take(Kind::Udp, event.token);
                Some(UdpEvent::Closed(id, convert::failure(event.code, event.text.as_str())))
            }
            _ => None,
        }
    }

    fn http_event(&mut self, event: &Event<'_>) -> Option<Input> {
        let answer = match event.kind {
            http::RESPONSE => Ok(Response {
                status: u16::try_from(event.code).unwrap_or_default(),
                headers: event.text.lines().filter_map(header).collect(),
                body: event.body.to_vec(),
            }),
            FAILED => Err(convert::failure(event.code, event.text.as_str())),
            _ => return None,
        };
        Some(Input::Http(self.handles.take(Kind::Http, event.token)?, answer))
    }

    fn store_event(&mut self, event: &Event<'_>) -> Option<Input> {
        let answer = match event.kind {
            store::STORED => Ok(()),
            FAILED => Err(convert::failure(event.code, event.text.as_str())),
            _ => return None,
        };
        Some(Input::Stored(self.handles.take(Kind::Store, event.token)?, answer))
    }

    fn network_event(&mut self, event: &Event<'_>) -> Option<NetworkEvent> {
        let answer = match event.kind {
            network::CHANGED => {
                let table = self.tables.network.as_ref().ok()?;
                return Some(NetworkEvent::Changed(convert::interfaces((table.interfaces)(self.instance))));
            }
            network::RESOLVED => Ok(event.text.split_whitespace().map(str::to_owned).collect()),
            FAILED => Err(convert::failure(event.code, event.text.as_str())),
            _ => return None,
        };
        Some(NetworkEvent::Resolved(self.handles.take(Kind::Resolve, event.token)?, answer))
    }

    fn module_event(&self, event: &Event<'_>) -> Option<ModuleEvent> {
        match event.kind {
            module::CHANGED => {
                let table = self.tables.module.as_ref().ok()?;
                Some(ModuleEvent::Changed(convert::facts((table.facts)(self.instance))))
            }
            module::RESET => Some(ModuleEvent::Reset),
            module::BIND_WINDOW => Some(ModuleEvent::BindWindow(u32::try_from(event.code).unwrap_or_default())),
            module::UNBIND => Some(ModuleEvent::Unbind),
            module::NETWORK_JOINED => Some(ModuleEvent::NetworkJoined),
            _ => None,
        }
    }

    fn subdevices_event(&self, event: &Event<'_>) -> Option<SubdevicesEvent> {
        let table = self.tables.subdevices.as_ref().ok()?;
        let changed = || SubdevicesEvent::Changed(convert::subdevices((table.list)(self.instance)));
        (event.kind == subdevices::CHANGED).then(changed)
    }

    fn ota_event(&self, event: &Event<'_>) -> Option<OtaEvent> {
        let table = self.tables.ota.as_ref().ok()?;
        let changed = || OtaEvent::Changed(convert::updates((table.list)(self.instance)));
        (event.kind == ota::CHANGED).then(changed)
    }

    fn logs_event(&mut self, event: &Event<'_>) -> Option<Input> {
        let answer = match event.kind {
            logs::SENT => Ok(u64::try_from(event.code).unwrap_or_default()),
            FAILED => Err(convert::failure(event.code, event.text.as_str())),
            _ => return None,
        };
        Some(Input::LogsSent(self.handles.take(Kind::Logs, event.token)?, answer))
    }

    fn script_event(&mut self, event: &Event<'_>) -> Option<ScriptEvent> {
        let failure = || convert::failure(event.code, event.text.as_str());
        match event.kind {
            script::LOADED => Some(ScriptEvent::Loaded(self.handles.id(Kind::Script, event.token)?)),
            script::RETURNED => {
                let results = script::values::decode(&event.body).map_err(|error| Failure {
                    reason: Reason::Protocol,
                    text: format!("the host's results cannot be read: {error}"),
                });
                Some(ScriptEvent::Returned(self.handles.take(Kind::ScriptCall, event.token)?, results))
            }
            FAILED => {
                let (kind, id) = self.handles.find(event.token)?;
                let failed = match kind {
                    Kind::Script => ScriptEvent::LoadFailed(id, failure()),
                    Kind::ScriptCall => ScriptEvent::Returned(id, Err(failure())),
                    _ => return None,
                };
                self.handles.take(kind, event.token);
                Some(failed)
            }
            _ => None,
        }
    }
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

/// The SUBACK code that says no (MQTT 3.1.1, 3.9.3).
const SUBSCRIPTION_REFUSED: u8 = 0x80;
