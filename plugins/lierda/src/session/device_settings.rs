//! What the platform sees as the device's settings (14): the broker, and properties that the configuration names (Lierda
//! access protocol 4.5).

use std::collections::BTreeMap;

use polylink_plugin_sdk::url::Endpoint;
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{CommandBody, DatapointId, Now};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::LierdaSession;
use super::commands::{MAX_OPEN, Request, Step};
use super::connection::Moved;
use crate::config::Content;
use crate::datapoints;
use crate::frame::{self, MessageId, raw};

impl LierdaSession {
    /// The platform asks for the settings.
    pub(super) fn read_device_settings(&mut self, id: MessageId) {
        let request = self.settings_request(id);
        self.read_settings(request);
    }

    /// The platform writes settings. The report of all settings is the answer: what was refused keeps its old value.
    pub(super) fn write_device_settings(&mut self, now: Now, id: MessageId, payload: &RawValue) {
        #[derive(Deserialize)]
        struct Payload {
            #[serde(rename = "Settings")]
            settings: BTreeMap<String, Box<RawValue>>,
        }
        let Some(Payload { mut settings }) = frame::object(payload) else {
            return self.drop_input("settings without an object `Settings`");
        };
        let (host, port) = (settings.remove(HOST), settings.remove(PORT));
        let moves = (host.is_some() || port.is_some()) && self.move_to(host.as_deref(), port.as_deref());
        settings.retain(|name, _| {
            let known = self.settings.config_properties.contains(name);
            self.told.counters.settings_refused += u64::from(!known);
            known
        });
        let request = self.settings_request(id);
        let set = datapoints::set_members(&self.model, settings);
        match set {
            Ok(set) if self.open.len() < MAX_OPEN => {
                self.submit(request, Step::WriteSettings { moves }, CommandBody::Set(set.values));
            }
            Err(datapoints::BadCommand::Nothing) => self.device_settings_written(now, request, moves),
            _ => {
                self.told.counters.settings_refused += 1;
                self.device_settings_written(now, request, moves);
            }
        }
    }

    /// Whatever was written is written.
    pub(super) fn device_settings_written(&mut self, now: Now, request: Request, moves: bool) {
        if !moves {
            return self.read_settings(request);
        }
        // Said from what is known already, since the connection ends now.
        self.report_device_settings(&request, &Values::new());
        self.store_move();
        self.info(format!("the platform moves the device to {}", self.broker()));
        self.disconnect();
        self.end_connection(now);
        self.begin(now);
    }

    fn settings_request(&self, id: MessageId) -> Request {
        Request { header_ctrl: SETTINGS, id, topics: vec![self.topics.config_report()], key: String::new() }
    }

    fn read_settings(&mut self, request: Request) {
        let names = &self.settings.config_properties;
        let ids: Vec<DatapointId> =
            names.iter().filter_map(|name| Some(self.model.property_of_cloud(name)?.field.id)).collect();
        if ids.is_empty() || self.open.len() >= MAX_OPEN {
            return self.report_device_settings(&request, &Values::new());
        }
        self.submit(request, Step::ReadSettings, CommandBody::Get(ids));
    }

    /// The answer to both.
    pub(super) fn report_device_settings(&mut self, request: &Request, values: &Values) {
        #[derive(Serialize)]
        struct Payload<'a> {
            #[serde(rename = "Settings")]
            settings: BTreeMap<&'a str, &'a RawValue>,
        }
        let broker = self.broker();
        let (host, port) = (raw(&broker.host), raw(&broker.port));
        let values = datapoints::properties(&self.model, values);
        let mut settings: BTreeMap<&str, &RawValue> = BTreeMap::from([(HOST, &*host), (PORT, &*port)]);
        settings.extend(values.iter().map(|(name, value)| (name.as_str(), &**value)));
        let payload = raw(&Payload { settings });
        for topic in &request.topics {
            self.send(topic.clone(), &request.id, request.header_ctrl, &payload, Content::Management);
        }
    }

    /// Takes another broker, if that is allowed and it is one. True if the device has to connect anew.
    fn move_to(&mut self, host: Option<&RawValue>, port: Option<&RawValue>) -> bool {
        let current = self.broker();
        let new_host = host.map_or_else(|| Some(current.host.clone()), frame::text);
        let new_port = port.map_or(Some(current.port), frame::integer);
        let scheme = if current.tls { "ssl" } else { "tcp" };
        let broker =
            new_host.zip(new_port).and_then(|(host, port)| Endpoint::parse(&format!("{scheme}://{host}:{port}")).ok());
        match broker {
            Some(broker) if broker == *current => false,
            Some(broker) if self.settings.allow_broker_change => {
                self.moved = Some(Moved { broker, proven: false, failures: 0 });
                true
            }
            _ => {
                self.told.counters.settings_refused += 1;
                self.warn(
                    "the platform wants to move the device to another broker, which is not allowed or is none"
                        .to_owned(),
                );
                false
            }
        }
    }

    /// Online at the other broker.
    pub(super) fn prove_move(&mut self) {
        if let Some(moved) = &mut self.moved {
            moved.proven = true;
            moved.failures = 0;
            self.store_move();
        }
    }

    /// An attempt failed. A broker where the device never was online is given up after a few.
    pub(super) fn move_failed(&mut self) {
        let Some(moved) = self.moved.as_mut().filter(|moved| !moved.proven) else { return };
        moved.failures += 1;
        if moved.failures >= FAILURES {
            let broker = moved.broker.to_string();
            self.warn(format!("the device cannot be online at {broker}; it goes back to where it was configured"));
            self.forget_move();
        }
    }

    pub(super) fn forget_move(&mut self) {
        if self.moved.take().is_some() {
            self.store_move();
        }
    }
}

/// Settings (Lierda access protocol, table 2.2).
const SETTINGS: i64 = 14;
/// Names of the sample (Lierda access protocol 4.5.2).
const HOST: &str = "Host";
const PORT: &str = "Port";
/// Attempts at a broker where the device never was online (not documented; chosen by us).
const FAILURES: u32 = 3;
