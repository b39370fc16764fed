//! From the session to the host: carries an [`Output`] out. What cannot be asked of the host is answered by the driver
//! itself, in the words the service would have used.

use polylink_plugin_api::abi_stable::std_types::{RSlice, Tuple2};
use polylink_plugin_api::services::http::HttpRequest;
use polylink_plugin_api::services::mqtt::{MqttConnect, MqttPublish};
use polylink_plugin_api::services::script::values;
use polylink_plugin_api::services::tcp::{self as abi_tcp, TcpListen, TcpOpen};
use polylink_plugin_api::services::udp::UdpBind;
use polylink_plugin_api::{Fault, FaultCode, LogLevel};

use super::handles::{self, Kind};
use super::{ANSWERS_WAITING_MAX, Port, convert};
use crate::services::{Failure, Reason, http, logs, module, mqtt, network, ota, script, store, subdevices, tcp, udp};
use crate::value::{Command, Outcome, OutcomeResult};
use crate::{Input, Output, RequestId};

impl Port {
    /// Carries one output out.
    ///
    /// # Errors
    /// The host lacks the service.
    pub fn carry_out(&mut self, output: Output) -> Result<(), Fault> {
        match output {
            Output::Log(level, text) => self.host.log(convert::abi_level(level), text.as_str().into()),
            Output::Status(status) => self.host.status(convert::abi_status(status)),
            Output::Settle(seqs) => self.host.settle(RSlice::from_slice(&seqs)),
            Output::Submit(id, command) => return self.submit(id, command),
            Output::Mqtt(request) => return self.mqtt(request),
            Output::Tcp(request) => return self.tcp(request),
            Output::Udp(request) => return self.udp(request),
            Output::Http(id, request) => return self.http(id, &request),
            Output::CancelHttp(id) => {
                if let Some(token) = self.handles.token(Kind::Http, id) {
                    self.handles.take(Kind::Http, token);
                    (self.tables.http.clone()?.cancel)(self.instance, token);
                }
            }
            Output::Store(id, request) => return self.store(id, &request),
            Output::Script(request) => return self.script(&request),
            Output::Subdevices(request) => return self.subdevices(&request),
            Output::Ota(request) => return self.ota(request),
            Output::SendLogs(id, upload) => return self.send_logs(id, &upload),
            Output::Resolve(id, host) => {
                let table = self.tables.network.clone()?;
                if !self.handles.has_room(Kind::Resolve) {
                    return self.answer(Input::Network(network::Event::Resolved(id, Err(quota()))));
                }
                let token = (table.resolve)(self.instance, host.as_str().into());
                self.handles.insert(Kind::Resolve, id, token);
            }
            Output::Module(request) => {
                let table = self.tables.module.clone()?;
                match request {
                    module::Request::OfferTime(unix_ms) => (table.offer_time)(self.instance, unix_ms),
                    module::Request::Applications(count) => (table.applications)(self.instance, count),
                    module::Request::Restart(reason) => {
                        if !(table.request_restart)(self.instance, reason.as_str().into()) {
                            self.refused("restart the module when a plugin asks for it");
                        }
                    }
                    module::Request::JoinNetwork { ssid, password } => {
                        let password = password.expose().as_str();
                        if !(table.join_network)(self.instance, ssid.as_str().into(), password.into()) {
                            self.refused("join a network now");
                        }
                    }
                    module::Request::EndProductionTest => {
                        if !(table.end_production_test)(self.instance) {
                            self.refused("end a production test now");
                        }
                    }
                    module::Request::ThirdPartyCloud { name, parameters } => {
                        (table.third_party_cloud)(self.instance, name.as_str().into(), parameters.as_str().into());
                    }
                }
            }
        }
        Ok(())
    }

    fn refused(&self, what: &str) {
        self.host.log(LogLevel::WARN, format!("this host does not {what}").as_str().into());
    }

    /// Gives the session an answer in the next call.
    fn answer(&mut self, input: Input) -> Result<(), Fault> {
        if self.answers.len() >= ANSWERS_WAITING_MAX {
            let text = format!("asked for more than {ANSWERS_WAITING_MAX} things at once that cannot be done");
            return Err(Fault::new(FaultCode::OTHER, text));
        }
        self.answers.push_back(input);
        Ok(())
    }

    fn submit(&mut self, id: RequestId, command: Command) -> Result<(), Fault> {
        if !self.tickets.has_room() {
            let result = OutcomeResult::Refused("too many commands without an outcome yet".to_owned());
            return self.answer(Input::Outcome(id, Outcome { result, values: Vec::new(), document: None }));
        }
        let ticket = self.host.submit(RSlice::from_slice(&[convert::abi_command(command)]));
        self.tickets.submitted(ticket, id);
        Ok(())
    }

    fn mqtt(&mut self, request: mqtt::Request) -> Result<(), Fault> {
        let table = self.tables.mqtt.clone()?;
        match request {
            mqtt::Request::Connect(id, connect) => {
                if !self.handles.has_room(Kind::MqttConnection) {
                    return self.answer(Input::Mqtt(mqtt::Event::Closed(id, quota())));
                }
                let token = (table.connect)(self.instance, abi_connect(&connect));
                if let Some(replaced) = self.handles.insert(Kind::MqttConnection, id, token) {
                    (table.disconnect)(self.instance, replaced);
                }
            }
            mqtt::Request::Publish { connection, id, message } => {
                let refused = |failure| Input::Mqtt(mqtt::Event::Published(id, Err(failure)));
                let Some(handle) = self.handles.token(Kind::MqttConnection, connection) else {
                    return self.answer(refused(unknown_handle(connection)));
                };
                if !self.handles.has_room(Kind::MqttPublish) {
                    return self.answer(refused(quota()));
                }
                let token = (table.publish)(self.instance, handle, abi_publish(&message));
                self.handles.insert(Kind::MqttPublish, id, token);
            }
            mqtt::Request::Subscribe { connection, id, filter, qos } => {
                let refused = |failure| Input::Mqtt(mqtt::Event::Subscribed(id, Err(failure)));
                let Some(handle) = self.handles.token(Kind::MqttConnection, connection) else {
                    return self.answer(refused(unknown_handle(connection)));
                };
                if !self.handles.has_room(Kind::MqttSubscribe) {
                    return self.answer(refused(quota()));
                }
                let token = (table.subscribe)(self.instance, handle, filter.as_str().into(), qos);
                self.handles.insert(Kind::MqttSubscribe, id, token);
            }
            mqtt::Request::Unsubscribe { connection, filter } => {
                if let Some(handle) = self.handles.token(Kind::MqttConnection, connection) {
                    (table.unsubscribe)(self.instance, handle, filter.as_str().into());
                }
            }
            mqtt::Request::Disconnect(connection) => {
                if let Some(handle) = self.handles.token(Kind::MqttConnection, connection) {
                    (table.disconnect)(self.instance, handle);
                }
            }
        }
        Ok(())
    }

    fn tcp(&mut self, request: tcp::Request) -> Result<(), Fault> {
        let table = self.tables.tcp.clone()?;
        match request {
            tcp::Request::Open { id, .. } | tcp::Request::Listen { id, .. } if handles::is_reserved(id) => {
                let text = "ids from 2^63 on belong to streams that come in".to_owned();
                return self.answer(Input::Tcp(tcp::Event::Closed(id, Failure { reason: Reason::Invalid, text })));
            }
            tcp::Request::Open { id, .. } | tcp::Request::Listen { id, .. } if !self.handles.has_room(Kind::Tcp) => {
                return self.answer(Input::Tcp(tcp::Event::Closed(id, quota())));
            }
            tcp::Request::Open { id, host, port, tls, timeout_ms } => {
                let tls = convert::tls_options(tls.as_ref());
                let open = TcpOpen { host: host.as_str().into(), port, tls, timeout_ms };
                let token = (table.open)(self.instance, open);
                if let Some(replaced) = self.handles.insert(Kind::Tcp, id, token) {
                    (table.close)(self.instance, replaced);
                }
            }
            tcp::Request::Listen { id, address, port, max_streams } => {
                let listen = TcpListen { address: address.as_str().into(), port, max_streams };
                let token = (table.listen)(self.instance, listen);
                if let Some(replaced) = self.handles.insert(Kind::Tcp, id, token) {
                    (table.close)(self.instance, replaced);
                }
            }
            tcp::Request::Send(id, bytes) => {
                // A stream that is gone has said so with `Closed`, or will; its bytes have nowhere to go.
                if let Some(handle) = self.handles.token(Kind::Tcp, id)
                    && (table.send)(self.instance, handle, RSlice::from_slice(&bytes)) == abi_tcp::FULL
                {
                    return self.answer(Input::Tcp(tcp::Event::Overflow(id, bytes)));
                }
            }
            tcp::Request::Close(id) => {
                if let Some(handle) = self.handles.token(Kind::Tcp, id) {
                    (table.close)(self.instance, handle);
                }
            }
        }
        Ok(())
    }

    fn udp(&mut self, request: udp::Request) -> Result<(), Fault> {
        let table = self.tables.udp.clone()?;
        match request {
            udp::Request::Bind { id, address, port, broadcast } => {
                if !self.handles.has_room(Kind::Udp) {
                    return self.answer(Input::Udp(udp::Event::Closed(id, quota())));
                }
                let token = (table.bind)(self.instance, UdpBind { address: address.as_str().into(), port, broadcast });
                if let Some(replaced) = self.handles.insert(Kind::Udp, id, token) {
                    (table.close)(self.instance, replaced);
                }
            }
            udp::Request::SendTo(id, to, bytes) => {
                if let Some(handle) = self.handles.token(Kind::Udp, id) {
                    (table.send_to)(self.instance, handle, to.as_str().into(), RSlice::from_slice(&bytes));
                }
            }
            udp::Request::Broadcast(id, port, bytes) => {
                if let Some(handle) = self.handles.token(Kind::Udp, id) {
                    (table.broadcast)(self.instance, handle, port, RSlice::from_slice(&bytes));
                }
            }
            udp::Request::Close(id) => {
                if let Some(handle) = self.handles.token(Kind::Udp, id) {
                    (table.close)(self.instance, handle);
                }
            }
        }
        Ok(())
    }

    fn http(&mut self, id: RequestId, request: &http::Request) -> Result<(), Fault> {
        let table = self.tables.http.clone()?;
        if !self.handles.has_room(Kind::Http) {
            return self.answer(Input::Http(id, Err(quota())));
        }
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| Tuple2(name.as_str().into(), value.as_str().into())).collect();
        let method = if request.method.is_empty() { "GET" } else { request.method.as_str() };
        let sent = HttpRequest {
            method: method.into(),
            url: request.url.as_str().into(),
            headers: RSlice::from_slice(&headers),
            body: RSlice::from_slice(&request.body),
            tls: convert::tls_options(Some(&request.tls)),
            timeout_ms: request.timeout_ms,
            max_body: request.max_body,
            redirects: request.redirects,
        };
        let token = (table.request)(self.instance, sent);
        if let Some(replaced) = self.handles.insert(Kind::Http, id, token) {
            (table.cancel)(self.instance, replaced);
        }
        Ok(())
    }

    fn store(&mut self, id: RequestId, request: &store::Request) -> Result<(), Fault> {
        let table = self.tables.store.clone()?;
        if !self.handles.has_room(Kind::Store) {
            return self.answer(Input::Stored(id, Err(quota())));
        }
        let token = match request {
            store::Request::Put(key, value) => {
                (table.put)(self.instance, key.as_str().into(), RSlice::from_slice(value))
            }
            store::Request::Remove(key) => (table.remove)(self.instance, key.as_str().into()),
        };
        self.handles.insert(Kind::Store, id, token);
        Ok(())
    }

    fn subdevices(&self, request: &subdevices::Request) -> Result<(), Fault> {
        let table = self.tables.subdevices.clone()?;
        match request {
            subdevices::Request::Admit { product, address, seconds } => {
                if !(table.admit)(self.instance, product.as_str().into(), address.as_str().into(), *seconds) {
                    self.refused("let a subdevice join now");
                }
            }
            subdevices::Request::Accept(index) => {
                if !(table.accept)(self.instance, *index) {
                    self.refused(&format!("accept subdevice {index} now"));
                }
            }
            subdevices::Request::Remove(index) => {
                if !(table.remove)(self.instance, *index) {
                    self.refused(&format!("remove subdevice {index} now"));
                }
            }
        }
        Ok(())
    }

    fn ota(&self, request: ota::Request) -> Result<(), Fault> {
        let table = self.tables.ota.clone()?;
        match request {
            ota::Request::Offer(offer) => {
                let id = offer.id.clone();
                if !(table.offer)(self.instance, convert::abi_offer(*offer)) {
                    self.refused(&format!("take the update `{}`", id.escape_debug()));
                }
            }
            // Both cross with what happens to the update meanwhile, which its list tells.
            ota::Request::Cancel(id) => drop((table.cancel)(self.instance, id.as_str().into())),
            ota::Request::Acknowledge(id) => drop((table.acknowledge)(self.instance, id.as_str().into())),
        }
        Ok(())
    }

    fn send_logs(&mut self, id: RequestId, upload: &logs::Upload) -> Result<(), Fault> {
        let table = self.tables.logs.clone()?;
        if !self.handles.has_room(Kind::Logs) {
            return self.answer(Input::LogsSent(id, Err(quota())));
        }
        let token = (table.send)(self.instance, convert::abi_log_upload(upload));
        self.handles.insert(Kind::Logs, id, token);
        Ok(())
    }

    fn script(&mut self, request: &script::Request) -> Result<(), Fault> {
        let table = self.tables.script.clone()?;
        match request {
            script::Request::Load { script, name, source } => {
                if !self.handles.has_room(Kind::Script) {
                    return self.answer(Input::Script(script::Event::LoadFailed(*script, quota())));
                }
                let token = (table.load)(self.instance, name.as_str().into(), source.as_str().into());
                if let Some(replaced) = self.handles.insert(Kind::Script, *script, token) {
                    (table.unload)(self.instance, replaced);
                }
            }
            script::Request::Call { script, id, function, args } => {
                let refused = |failure| Input::Script(script::Event::Returned(*id, Err(failure)));
                let Some(handle) = self.handles.token(Kind::Script, *script) else {
                    let text = format!("there is no script {}", script.0);
                    return self.answer(refused(Failure { reason: Reason::UnknownHandle, text }));
                };
                if !self.handles.has_room(Kind::ScriptCall) {
                    return self.answer(refused(quota()));
                }
                let arguments = match values::encode(args) {
                    Ok(arguments) => arguments,
                    Err(error) => {
                        let text = format!("the arguments of `{function}`: {error}");
                        return self.answer(refused(Failure { reason: Reason::Invalid, text }));
                    }
                };
                let function = function.as_str().into();
                let token = (table.call)(self.instance, handle, function, RSlice::from_slice(&arguments));
                self.handles.insert(Kind::ScriptCall, *id, token);
            }
            script::Request::Unload(script) => {
                if let Some(handle) = self.handles.token(Kind::Script, *script) {
                    self.handles.take(Kind::Script, handle);
                    (table.unload)(self.instance, handle);
                }
            }
        }
        Ok(())
    }
}

fn abi_connect(connect: &mqtt::Connect) -> MqttConnect<'_> {
    MqttConnect {
        host: connect.host.as_str().into(),
        port: connect.port,
        tls: convert::tls_options(connect.tls.as_ref()),
        protocol_level: connect.protocol_level,
        client_id: connect.client_id.as_str().into(),
        has_username: connect.username.is_some(),
        username: connect.username.as_deref().unwrap_or_default().into(),
        has_password: connect.password.is_some(),
        password: connect.password.as_ref().map_or(RSlice::EMPTY, |secret| RSlice::from_slice(secret.expose())),
        clean_session: connect.clean_session,
        keepalive_s: connect.keepalive_s,
        ping_after_s: connect.ping_after_s,
        dead_after_s: connect.dead_after_s,
        timeout_ms: connect.timeout_ms,
        has_will: connect.will.is_some(),
        will: connect
            .will
            .as_ref()
            .map_or(MqttPublish { topic: "".into(), payload: RSlice::EMPTY, qos: 0, retain: false }, abi_publish),
    }
}

fn abi_publish(message: &mqtt::Message) -> MqttPublish<'_> {
    MqttPublish {
        topic: message.topic.as_str().into(),
        payload: RSlice::from_slice(&message.payload),
        qos: message.qos,
        retain: message.retain,
    }
}

fn quota() -> Failure {
    Failure { reason: Reason::Quota, text: "too many requests of this session are under way".to_owned() }
}

fn unknown_handle(id: RequestId) -> Failure {
    Failure { reason: Reason::UnknownHandle, text: format!("there is no connection {}", id.0) }
}
