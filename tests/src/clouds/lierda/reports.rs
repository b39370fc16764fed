//! What the device says on its working connection: how it is judged, booked and acknowledged (Lierda protocol, 4 to 6).

use serde_json::{Value as Json, json};

use super::behaviour::Decision;
use super::commands::{PROPERTIES, QUERY, UPLINK, VERSIONS};
use super::envelope::{self, id_text};
use super::payload;
use super::platform::{Frame, Platform, keep};
use super::product::{FullHex, Properties};
use super::session::Content;
use super::topics::Topic;
use crate::broker::packet::Publish;

/// What the ledger is told of a report, once it is taken.
#[derive(Default)]
struct Booking {
    /// Numbers of the reports in it, with the times they are said to be of.
    counters: Vec<(u32, Option<i64>)>,
    /// Module and version.
    version: Option<(String, String)>,
    /// `Data` of the acknowledgement.
    data: Option<Json>,
}

impl Platform {
    /// Takes a message on one of the device's topics; an error is a breach in words.
    pub fn take(&self, name: &str, topic: &Topic, message: &Publish) -> Result<(), String> {
        if topic.kind().is_some_and(|kind| kind != self.product.kind) {
            return Err(format!("no topic of a {:?} product", self.product.kind));
        }
        if *topic == Topic::FullHex {
            return self.take_full_hex(name, &message.payload);
        }
        let envelope = envelope::parse(&message.payload)?;
        if !topic.codes().contains(&envelope.code) {
            return Err(format!("HeaderCtrl {}, {:?} expected", envelope.code, topic.codes()));
        }
        let all = self.product.choices.everything_encrypted && !CLEAR.contains(&envelope.code);
        let payload = if self.product.encrypted && (all || ENCRYPTED.contains(&envelope.code)) {
            self.lock().keys.open(&envelope.payload, self.answer_content(topic, envelope.code))?
        } else {
            envelope.payload
        };
        let frame = Frame { topic: name.to_owned(), id: envelope.id, code: envelope.code, payload };
        self.lock().note(&frame);
        self.changed();
        match topic {
            Topic::PropertyReport if self.is_answer(&frame, QUERY) => {
                self.answered(&frame, message.dup)?;
                // An answer repeats what was reported before, so nothing arrives with it.
                self.decide_and_acknowledge(topic, &frame, &Booking::default());
                Ok(())
            }
            Topic::FirmwareReport if self.is_answer(&frame, VERSIONS) => {
                self.answered(&frame, message.dup)?;
                let booking = self.read(topic, &frame)?;
                self.decide_and_acknowledge(topic, &frame, &booking);
                Ok(())
            }
            Topic::ConfigReport if !self.lock().asked.contains_key(&id_text(&frame.id)) => {
                payload::settings(&frame.payload)?;
                self.own(&frame).map(drop)
            }
            Topic::OtaNotifyAck
            | Topic::ConfigReport
            | Topic::DownlinkAck
            | Topic::PropertySetAck
            | Topic::ServiceAck(_)
            | Topic::HexDownlinkAck => self.answered(&frame, message.dup),
            _ => {
                let booking = self.read(topic, &frame)?;
                let new = self.own(&frame)?;
                if frame.code == HEX_RESULT && new {
                    let mut state = self.lock();
                    state.open_calls = state.open_calls.checked_sub(1).ok_or("the result of no service call")?;
                }
                self.decide_and_acknowledge(topic, &frame, &booking);
                Ok(())
            }
        }
    }

    /// What the payload of a frame of the device is, before it is encrypted.
    fn answer_content(&self, topic: &Topic, code: i64) -> Content {
        // The acknowledgement of a HEX command has its code, but is an object.
        if *topic == Topic::HexDownlinkAck { Content::Object } else { self.content(code) }
    }

    /// The whole publication is hexadecimal text, and in no envelope.
    fn take_full_hex(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(bytes);
        let payload = match self.product.full_hex {
            None => return Err("the product reports no full HEX".to_owned()),
            Some(FullHex::JsonString) => {
                serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}: {text}"))?
            }
            Some(FullHex::BareText) => json!(text),
            Some(FullHex::Binary) => json!(super::cipher::hex(bytes)),
        };
        payload::hexadecimal(&payload)?;
        let frame = Frame { topic: name.to_owned(), id: json!(""), code: FULL_HEX, payload };
        let booking = self.read(&Topic::FullHex, &frame)?;
        {
            let mut state = self.lock();
            state.note(&frame);
        }
        self.changed();
        self.decide_and_acknowledge(&Topic::FullHex, &frame, &booking);
        Ok(())
    }

    /// Judges a MessageId that the device made; whether it is new.
    fn own(&self, frame: &Frame) -> Result<bool, String> {
        let mut state = self.lock();
        if state.asked.contains_key(&id_text(&frame.id)) {
            return Err(format!("MessageId {} belongs to a command, a new one is expected", frame.id));
        }
        state.own_ids.take(&frame.id, &frame.topic, frame.code, &frame.payload)
    }

    /// Checks the shape of a report, and says what is to be booked.
    fn read(&self, topic: &Topic, frame: &Frame) -> Result<Booking, String> {
        let mut booking = Booking::default();
        match topic {
            Topic::FirmwareReport => {
                let (module, version) = payload::firmware(&frame.payload)?;
                booking.version = Some((module.to_owned(), version.to_owned()));
            }
            Topic::UpdateTime => {
                if frame.payload != "" {
                    return Err(format!("Payload {}, an empty text expected", frame.payload));
                }
                let state = self.lock();
                booking.data = Some(json!({"timestamp": state.now_ms(), "timezone": state.behaviour.timezone}));
            }
            Topic::PropertyReport => {
                let properties = payload::properties(&frame.payload)?;
                if properties.is_empty() {
                    return Err("a report of no properties".to_owned());
                }
                booking.counters.extend(self.counter(properties)?);
            }
            Topic::EventReport(event) => {
                payload::object(&frame.payload)?;
                if !self.product.events.is_empty() && !self.product.events.contains(event) {
                    return Err(format!("event {event:?}, which the model does not have"));
                }
            }
            Topic::History => {
                for (identifier, value, time) in payload::history(&frame.payload)?.0 {
                    if identifier == self.counter {
                        booking.counters.push((self.number(&value)?, Some(time)));
                    }
                }
            }
            Topic::HexReport if frame.code != PROPERTY_HEX => payload::hexadecimal(&frame.payload)?,
            Topic::HexReport | Topic::FullHex => {
                payload::hexadecimal(&frame.payload)?;
                booking.counters.extend(self.counter(&(self.product.codec.decode)(&frame.payload)?)?);
            }
            Topic::Uplink => {
                payload::object(&frame.payload)?;
                booking.counters.extend(self.counter(&(self.product.codec.decode)(&frame.payload)?)?);
            }
            _ => {}
        }
        Ok(booking)
    }

    fn counter(&self, properties: &Properties) -> Result<Option<(u32, Option<i64>)>, String> {
        properties.get(&self.counter).map(|value| Ok((self.number(value)?, None))).transpose()
    }

    fn number(&self, value: &Json) -> Result<u32, String> {
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| format!("{} is {value}, no 32-bit number", self.counter))
    }

    /// Takes a report or refuses it, as the test wants, says so, and orders what becomes due by it.
    fn decide_and_acknowledge(&self, topic: &Topic, frame: &Frame, booking: &Booking) {
        let Some(report) = topic.report() else { return };
        let decision = self.lock().behaviour.decide(report);
        if decision.taken {
            self.book(booking);
        }
        if !decision.silent {
            self.acknowledge(frame, decision, booking);
        }
        if let Some((module, _)) = booking.version.as_ref().filter(|_| decision.taken) {
            self.order_what_is_planned(module);
        }
    }

    fn acknowledge(&self, frame: &Frame, decision: Decision, booking: &Booking) {
        // The device put no MessageId into a full-HEX report, so the platform makes one up.
        let id = if frame.code == FULL_HEX { self.lock().next_id() } else { frame.id.clone() };
        let id = if decision.ack.string_id { Json::String(id_text(&id)) } else { id };
        let payload = acknowledgement(decision, booking);
        let topic = format!("{}_ack", frame.topic);
        if decision.ack.delay.is_zero() {
            self.publish(&topic, &id, frame.code, &payload);
            return;
        }
        let Some(broker) = self.broker() else { return };
        let topic = format!("{}{topic}", super::platform::base());
        let bytes = envelope::write(&id, frame.code, &payload);
        tokio::spawn(async move {
            tokio::time::sleep(decision.ack.delay).await;
            broker.publish(&topic, &bytes, 1);
        });
    }

    fn book(&self, booking: &Booking) {
        for &(counter, time) in &booking.counters {
            if let Some(time) = time {
                keep(&mut self.lock().seen.history, (counter, time));
            }
            self.ledger.arrived(counter);
        }
        if let Some((module, version)) = &booking.version {
            self.lock().judge_version(module, version);
        }
        self.changed();
    }
}

fn acknowledgement(decision: Decision, booking: &Booking) -> Json {
    let (code, word) = if decision.taken { (200, "SUCCESS") } else { (4001, "Failed") };
    let mut payload = json!({"Code": code.to_string(), "Msg": word});
    if decision.ack.integer_code {
        payload["Code"] = json!(code);
    }
    if let Some(data) = booking.data.as_ref().filter(|_| decision.taken) {
        payload["Data"] = data.clone();
    }
    payload
}

/// Command codes (Lierda protocol, 6.1).
const PROPERTY_HEX: i64 = 18;
const HEX_RESULT: i64 = 26;
const FULL_HEX: i64 = 28;
const TIME: i64 = 29;
/// Reports whose payload an encrypted product encrypts (Lierda protocol, 7.3).
const ENCRYPTED: &[i64] = &[UPLINK, PROPERTIES, 17, PROPERTY_HEX, 19, HEX_RESULT, 27];
/// What is clear even where everything else is encrypted (Lierda protocol, 7.3); full HEX has no envelope.
const CLEAR: &[i64] = &[TIME];
