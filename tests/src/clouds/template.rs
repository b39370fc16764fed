//! The cloud of the template plugin: JSON reports, commands and results on three topics of an ordinary broker.
//!
//! Written from the plugin's README, with its tolerance left out: unknown members and wrong types are violations.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value as Json, json};

use super::SimCloud;
use super::ledger::Ledger;
use crate::broker::Broker;
use crate::broker::hooks::Hooks;
use crate::broker::packet::{Connect, Publish};

/// A running broker that knows one device.
pub struct Template {
    shared: Arc<Shared>,
    broker: Broker,
    last_id: AtomicU64,
}

struct Shared {
    ledger: Ledger,
    counter: String,
}

impl Template {
    /// Starts it on a free port; reports are told apart by the datapoint `counter`. Needs a running tokio runtime.
    pub fn start(counter: &str) -> io::Result<Self> {
        let shared = Arc::new(Shared { ledger: Ledger::default(), counter: counter.to_owned() });
        let broker = Broker::start(shared.clone(), None)?;
        Ok(Self { shared, broker, last_id: AtomicU64::new(0) })
    }

    /// Its broker, for faults.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }
}

impl SimCloud for Template {
    fn product_section(&self) -> String {
        let addr = self.broker.addr();
        format!(
            "[cloud.template]\nplugin = \"template\"\nplain_text = true\n\n[cloud.template.settings]\nhost = \"{}\"\n\
             port = {}\ntls = false\nclient_id = \"{CLIENT}\"\nusername = \"{USER}\"\npassword = \"{PASSWORD}\"\n",
            addr.ip(),
            addr.port()
        )
    }

    fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    fn send_command(&self, property: &str, value: &Json) -> Result<(), String> {
        let id = (self.last_id.fetch_add(1, Ordering::Relaxed) + 1).to_string();
        let command = json!({"id": id, "set": {property: value}}).to_string();
        if self.broker.subscriptions(CLIENT).is_empty() {
            return Err("the device has not subscribed to its commands".to_owned());
        }
        self.shared.ledger.command_sent(&id);
        self.broker.publish(COMMAND, command.as_bytes(), 1);
        Ok(())
    }

    fn go_away(&self) {
        self.broker.go_away();
    }

    fn come_back(&self) -> io::Result<()> {
        self.broker.come_back()
    }
}

impl Shared {
    fn report(&self, payload: &[u8]) -> Result<(), String> {
        let mut report = object(payload)?;
        if report.remove("time").is_some_and(|time| !time.is_i64()) {
            return Err("time is no integer".to_owned());
        }
        let properties = report.remove("properties");
        if let Some(unknown) = report.keys().find(|key| properties.is_some() || !EVENT_MEMBERS.contains(&key.as_str()))
        {
            return Err(format!("unknown member {unknown:?}"));
        }
        let Some(properties) = properties else { return Ok(()) };
        let properties = properties.as_object().ok_or("properties are no object")?;
        if let Some(counter) = properties.get(&self.counter) {
            let counter = counter.as_u64().and_then(|counter| u32::try_from(counter).ok());
            self.ledger.arrived(counter.ok_or_else(|| format!("{} is no 32-bit number", self.counter))?);
        }
        Ok(())
    }

    fn result(&self, payload: &[u8]) -> Result<(), String> {
        let result = object(payload)?;
        let (Some(id), Some(ok)) = (result.get("id").and_then(Json::as_str), result.get("ok").and_then(Json::as_bool))
        else {
            return Err("a result has an id and an ok".to_owned());
        };
        let error = result.get("error").and_then(Json::as_str);
        if ok == error.is_some() {
            return Err("either ok or an error is expected".to_owned());
        }
        let result = error.map_or(Ok(()), |error| Err(error.to_owned()));
        // The transport repeats a message whose acknowledgement got lost, so the same result may come again.
        let before = self.ledger.with(|entries| entries.commands.get(id).and_then(|sent| sent.answer.clone()));
        if before.is_none_or(|(before, _)| before != result) {
            self.ledger.command_answered(id, result);
        }
        Ok(())
    }
}

impl Hooks for Shared {
    fn connect(&self, connect: &Connect) -> u8 {
        let known = connect.client_id == CLIENT
            && connect.username.as_deref() == Some(USER)
            && connect.password.as_deref() == Some(PASSWORD.as_bytes());
        if known { 0 } else { BAD_CREDENTIALS }
    }

    fn subscribe(&self, _client: &str, filter: &str, qos: u8) -> Option<u8> {
        if filter != COMMAND {
            self.ledger.violation(format!("subscribed to {filter:?}"));
        } else {
            // Without its subscription the device is connected but cannot be commanded.
            self.ledger.presence(true);
        }
        (filter == COMMAND).then_some(qos)
    }

    fn message(&self, _client: &str, message: &Publish) -> Result<(), String> {
        let taken = match message.topic.as_str() {
            _ if message.retain || message.qos != 1 => Err("published with retain or without QoS 1".to_owned()),
            REPORT => self.report(&message.payload),
            RESULT => self.result(&message.payload),
            other => return Err(format!("published on {other:?}")),
        };
        if let Err(breach) = taken {
            self.ledger.violation(format!("{breach}: {}", String::from_utf8_lossy(&message.payload)));
        }
        Ok(())
    }

    fn violation(&self, text: &str) {
        self.ledger.violation(text);
    }

    fn presence(&self, _client: &str, online: bool) {
        if !online {
            self.ledger.presence(false);
        }
    }

    fn routes(&self) -> bool {
        false
    }
}

fn object(payload: &[u8]) -> Result<Map<String, Json>, String> {
    match serde_json::from_slice(payload) {
        Ok(Json::Object(members)) => Ok(members),
        Ok(_) => Err("not an object".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

const CLIENT: &str = "demo-lamp";
const USER: &str = "lamp";
const PASSWORD: &str = "a-password-of-the-simulator";
/// `<prefix>/<client_id>/<kind>` (README of the template plugin).
const REPORT: &str = "polylink/demo-lamp/report";
const COMMAND: &str = "polylink/demo-lamp/command";
const RESULT: &str = "polylink/demo-lamp/result";
/// Members of reports that are no properties (README of the template plugin).
const EVENT_MEMBERS: &[&str] = &["event", "params", "raw"];
/// CONNACK code (MQTT 3.1.1, 3.2.2.3).
const BAD_CREDENTIALS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_and_results_of_the_wrong_form_are_refused_with_their_fault() {
        let shared = Shared { ledger: Ledger::default(), counter: "counter".to_owned() };
        for (text, fault) in [
            (r#"{"time":"now","properties":{}}"#, "time"),
            (r#"{"properties":[]}"#, "no object"),
            (r#"{"properties":{},"extra":1}"#, "extra"),
            (r#"{"properties":{"counter":"5"}}"#, "32-bit"),
            ("[]", "not an object"),
        ] {
            let error = shared.report(text.as_bytes()).unwrap_err();
            assert!(error.contains(fault), "{error:?} should name {fault:?}");
        }
        assert!(shared.result(br#"{"id":"1","ok":true,"error":"x"}"#).unwrap_err().contains("either"));
    }
}
