//! What the platform sees as the device's settings (14): the broker, and properties that the configuration names (Lierda
//! access protocol 4.5).

use std::collections::BTreeMap;

use polylink_plugin_sdk::url::Endpoint;
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{CommandBody, DatapointId, Now, Value};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::LierdaSession;
use super::commands::{MAX_OPEN, Request, Step};
use super::connection::Moved;
use crate::config::{Content, HOST, PORT};
use crate::datapoints;
use crate::frame::{self, MessageId, raw};

impl LierdaSession {
    /// The platform asks for the settings.
    pub(super) fn read_device_settings(&mut self, now: Now, id: MessageId) {
        let request = self.settings_request(id);
        self.read_settings(now, request, None);
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
        let is_move = host.is_some() || port.is_some();
        let other = if is_move { self.other_broker(host.as_deref(), port.as_deref()) } else { None };
        let mut values = Values::new();
        for (name, value) in settings {
            match self.settable(&name, &value) {
                Some(value) => values.push(value),
                None => self.told.counters.settings_refused += 1,
            }
        }
        let request = self.settings_request(id);
        if values.is_empty() {
            return self.read_settings(now, request, other);
        }
        if self.open.len() >= MAX_OPEN {
            self.told.counters.settings_refused += 1;
            return self.device_settings_read(now, &request, other, &Values::new());
        }
        self.submit(request, Step::WriteSettings(other), CommandBody::Set(values));
    }

    /// One setting, for the device; `None`: it has none of this name, nobody may write it, or the value does not fit.
    fn settable(&self, name: &str, value: &RawValue) -> Option<(DatapointId, Value)> {
        let property = self.model.property_of_cloud(name)?;
        let is_setting = self.settings.config_properties.iter().any(|setting| setting == name);
        let value = property.field.from_json(value).ok()?;
        (is_setting && property.writable).then_some((property.field.id, value))
    }

    fn settings_request(&self, id: MessageId) -> Request {
        Request {
            header_ctrl: SETTINGS,
            id,
            topics: vec![self.topics.config_report()],
            key: String::new(),
            command: String::new(),
        }
    }

    pub(super) fn read_settings(&mut self, now: Now, request: Request, other: Option<Endpoint>) {
        let names = &self.settings.config_properties;
        let ids: Vec<DatapointId> =
            names.iter().filter_map(|name| Some(self.model.property_of_cloud(name)?.field.id)).collect();
        if ids.is_empty() || self.open.len() >= MAX_OPEN {
            return self.device_settings_read(now, &request, other, &Values::new());
        }
        self.submit(request, Step::ReadSettings(other), CommandBody::Get(ids));
    }

    /// The answer to both, and then the move to another broker.
    pub(super) fn device_settings_read(
        &mut self,
        now: Now,
        request: &Request,
        other: Option<Endpoint>,
        values: &Values,
    ) {
        self.report_device_settings(request, other.as_ref().unwrap_or_else(|| self.broker()).clone(), values);
        let Some(broker) = other.filter(|other| other != self.broker()) else { return };
        self.info(format!("the platform moves the device to {broker}"));
        self.moved = Some(Moved { broker, proven: false, failures: 0 });
        self.store_move();
        if self.phase.connection().is_some() {
            self.disconnect();
            self.end_connection(now);
            self.begin(now);
        }
    }

    fn report_device_settings(&mut self, request: &Request, broker: Endpoint, values: &Values) {
        #[derive(Serialize)]
        struct Payload<'a> {
            #[serde(rename = "Settings")]
            settings: BTreeMap<&'a str, &'a RawValue>,
        }
        let (host, port) = (raw(&broker.host), raw(&broker.port));
        let values = datapoints::properties(&self.model, values);
        let mut settings: BTreeMap<&str, &RawValue> = BTreeMap::from([(HOST, &*host), (PORT, &*port)]);
        settings.extend(values.iter().map(|(name, value)| (name.as_str(), &**value)));
        let payload = raw(&Payload { settings });
        for topic in &request.topics {
            self.send(topic.clone(), &request.id, request.header_ctrl, &payload, Content::Management);
        }
    }

    /// The broker that the platform moves the device to, if that is allowed and it is one; `None` also if it is the
    /// present one.
    fn other_broker(&mut self, host: Option<&RawValue>, port: Option<&RawValue>) -> Option<Endpoint> {
        let current = self.broker();
        let new_host = host.map_or_else(|| Some(current.host.clone()), frame::text);
        let new_port = port.map_or(Some(current.port), frame::integer);
        let tls = current.tls;
        let broker = new_host.zip(new_port).map(|(host, port)| Endpoint { host, port, tls });
        // Also a host with a colon in it has to be readable again.
        let broker = broker.filter(|broker| Endpoint::parse(&broker.to_string()).as_ref() == Ok(broker));
        match broker {
            Some(broker) if broker == *current => None,
            Some(broker) if self.settings.allow_broker_change => Some(broker),
            _ => {
                self.told.counters.settings_refused += 1;
                self.warn(
                    "the platform wants to move the device to another broker, which is not allowed or is none"
                        .to_owned(),
                );
                None
            }
        }
    }

    /// Moved to where it has not been online yet.
    pub(super) fn is_moved_in_doubt(&self) -> bool {
        self.moved.as_ref().is_some_and(|moved| !moved.proven)
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
/// Attempts at a broker where the device never was online (not documented; chosen by us).
const FAILURES: u32 = 3;
