//! Reports go to everybody, requests to the MCU, and an answer to who asked (GAgent product specification 7.4).

use std::collections::BTreeMap;

use polylink_plugin_sdk::services::mqtt;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{Cause, Command, CommandBody, Outcome, OutcomeResult, Output, Report, ReportBody, RequestId};

use super::GizwitsSession;
use super::cloud::Phase;
use super::m2m::QOS;
use crate::datapoints::{Asked, Datapoints, DeviceCommand};
use crate::lan::Client;
use crate::packet::{self, P0Request};
use crate::topics;

/// Who asked the device for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// An application on the local network.
    Lan(Client),
    /// An application at the cloud; without a name that can be answered: nobody hears what becomes of it.
    Cloud(Option<String>),
}

/// Whose picture of the device.
#[derive(Clone, Copy)]
enum View {
    /// From the numbered reports.
    Cloud,
    /// The present.
    Local,
}

/// One request under way.
#[derive(Clone, Debug)]
pub struct Requester {
    pub asker: Asker,
    /// The application's number of the request; none: it gave none.
    sn: Option<u32>,
    /// What it asked for; none: it set something.
    asked: Option<Asked>,
}

/// Reports on their way to the cloud, by their numbers. The host hands over at most 256 that are not settled, so there
/// are never more here.
#[derive(Debug, Default)]
pub struct Uplink {
    waiting: BTreeMap<u64, Vec<u8>>,
    in_flight: BTreeMap<RequestId, (u64, Vec<u8>)>,
}

impl Uplink {
    fn wait(&mut self, seq: u64, payload: Vec<u8>) {
        self.waiting.insert(seq, payload);
    }

    fn send(&mut self, id: RequestId) -> Option<Vec<u8>> {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let (seq, payload) = self.waiting.pop_first()?;
        self.in_flight.insert(id, (seq, payload.clone()));
        Some(payload)
    }

    /// A report was handed to the socket; its number.
    pub fn sent(&mut self, id: RequestId) -> Option<u64> {
        self.in_flight.remove(&id).map(|(seq, _)| seq)
    }

    /// A report was not sent and waits again, unless it never can be: then its number.
    pub fn failed(&mut self, id: RequestId, for_ever: bool) -> Option<u64> {
        let (seq, payload) = self.in_flight.remove(&id)?;
        if for_ever {
            return Some(seq);
        }
        self.waiting.insert(seq, payload);
        None
    }

    /// What was under way waits again.
    pub fn disconnected(&mut self) {
        self.waiting.extend(std::mem::take(&mut self.in_flight).into_values());
    }
}

impl GizwitsSession {
    pub(super) fn take_reports(&mut self, reports: Vec<Report>) {
        for report in reports {
            match report.cause {
                Cause::Snapshot => self.take_snapshot(&report.body),
                Cause::Live => self.take_live(&report),
                // The outcome of the request carries the values; nobody else is told (GAgent product specification 7.4).
                Cause::Answer => self.settle(report.seq),
                Cause::Change | Cause::Periodic => self.take_report(report),
            }
        }
    }

    fn take_snapshot(&mut self, body: &ReportBody) {
        if let ReportBody::Properties(values) = body {
            // Remembered beside later values, and told to nobody.
            self.report_of(View::Cloud, values);
            self.report_of(View::Local, values);
        }
    }

    /// The present, while numbered reports wait for the cloud.
    fn take_live(&mut self, report: &Report) {
        let ReportBody::Properties(values) = &report.body else { return };
        self.live_until = self.live_until.max(Some(report.at.unix_ms));
        if let Some(payload) = self.report_of(View::Local, values) {
            self.lan.report(&payload);
        }
    }

    fn take_report(&mut self, report: Report) {
        if report.device != 0 {
            // This cloud's devices have no subdevices here.
            self.told.counters.reports_unsaid += 1;
            return self.settle(report.seq);
        }
        let payload = match &report.body {
            ReportBody::Properties(values) => {
                // The local network may have been told of newer values already.
                if self.live_until.is_none_or(|until| until < report.at.unix_ms) {
                    self.live_until = None;
                    if let Some(payload) = self.report_of(View::Local, values) {
                        self.lan.report(&payload);
                    }
                }
                self.report_of(View::Cloud, values)
            }
            ReportBody::Raw(bytes) => {
                let payload = Datapoints::transparent(bytes);
                self.lan.report(&payload);
                Some(payload)
            }
            ReportBody::Event { .. } => None,
        };
        match payload {
            Some(payload) => self.uplink.wait(report.seq, payload),
            // The values are remembered, and the first complete report carries them.
            None => {
                self.told.counters.reports_unsaid += 1;
                self.settle(report.seq);
            }
        }
    }

    /// The payload of a report of these values, beside those that were told before.
    fn report_of(&mut self, view: View, values: &Values) -> Option<Vec<u8>> {
        let mut problems = Vec::new();
        let view = match view {
            View::Cloud => &mut self.cloud_view,
            View::Local => &mut self.local_view,
        };
        let payload = view.report(values, |problem| problems.push(problem));
        for problem in problems {
            self.told.counters.values_unsaid += 1;
            self.outputs.push(Output::Log(Level::Debug, problem));
        }
        payload
    }

    fn settle(&mut self, seq: u64) {
        if seq != 0 {
            self.settled.push(seq);
        }
    }

    /// Publishes what waits, as far as there is room.
    pub(super) fn publish_waiting(&mut self) {
        let Phase::Online { connection, .. } = self.phase else { return };
        let Some(topic) = self.identity.did.as_ref().map(topics::dev2app) else { return };
        loop {
            let id = RequestId(self.last_id + 1);
            let Some(p0) = self.uplink.send(id) else { return };
            self.last_id += 1;
            let message = mqtt::Message {
                topic: topic.clone(),
                payload: packet::p0_report(&p0).encode(),
                qos: QOS,
                retain: false,
            };
            self.outputs.push(Output::Mqtt(mqtt::Request::Publish { connection, id, message }));
        }
    }

    /// An application wants something of the device.
    pub(super) fn take_request(&mut self, asker: Asker, request: P0Request) {
        let P0Request { sn, p0 } = request;
        let (body, asked) = match self.local_view.command(&p0) {
            Ok(DeviceCommand::Set(values)) => (CommandBody::Set(values), None),
            Ok(DeviceCommand::Get { properties, asked }) => (CommandBody::Get(properties), Some(asked)),
            Ok(DeviceCommand::Raw(bytes)) => (CommandBody::Raw(bytes), None),
            Ok(DeviceCommand::Nothing { answer }) => return self.answer(&asker, sn, &answer.unwrap_or_default()),
            Err(error) => {
                self.answered_nothing(&asker);
                return self.drop_input(&error.to_string());
            }
        };
        if self.requesters.len() >= REQUESTS_MAX {
            self.told.counters.requests_dropped += 1;
            return self.answered_nothing(&asker);
        }
        let id = self.next_id();
        self.requesters.insert(id, Requester { asker, sn, asked });
        // The protocol has no message id that would last: the number of a request starts again with the application, and
        // everything is subscribed to with QoS 0 in a clean session, so no broker delivers a request twice.
        self.outputs.push(Output::Submit(id, Command::new(body)));
    }

    pub(super) fn take_outcome(&mut self, id: RequestId, outcome: &Outcome) {
        let Some(requester) = self.requesters.remove(&id) else { return };
        let answer = match (&outcome.result, &requester.asked) {
            (OutcomeResult::Done, None) => Ok(Vec::new()),
            (OutcomeResult::Done, Some(asked)) => {
                let answer = self.local_view.read_answer(asked, &outcome.values, |_| ());
                answer.ok_or_else(|| "the MCU has not told every value yet".to_owned())
            }
            (OutcomeResult::Refused(why), _) => Err(format!("refused: {why}")),
            (OutcomeResult::Unreachable, _) => Err("the MCU cannot be reached".to_owned()),
            (OutcomeResult::TimedOut, _) => Err("the MCU did not answer".to_owned()),
            (OutcomeResult::Superseded, _) => Err("a later one took its place".to_owned()),
        };
        match answer {
            Ok(p0) => self.answer(&requester.asker, requester.sn, &p0),
            // The protocol knows no refusal: without an acknowledgement of the MCU nobody is answered.
            Err(why) => {
                self.told.counters.requests_failed += 1;
                self.answered_nothing(&requester.asker);
                self.info(format!("a request of an application was not carried out: {why}"));
            }
        }
    }

    fn answer(&mut self, asker: &Asker, sn: Option<u32>, p0: &[u8]) {
        match asker {
            Asker::Lan(client) => self.lan.answer(*client, sn, p0),
            Asker::Cloud(Some(client)) => {
                let Phase::Online { connection, .. } = self.phase else { return };
                let Some(did) = &self.identity.did else { return };
                let topic = topics::dev2app_client(did, client);
                let message =
                    mqtt::Message { topic, payload: packet::p0_answer(sn, p0).encode(), qos: QOS, retain: false };
                self.publish(connection, message);
            }
            Asker::Cloud(None) => {}
        }
    }

    /// A request has ended, and its application will hear nothing.
    fn answered_nothing(&mut self, asker: &Asker) {
        if let Asker::Lan(client) = asker {
            self.lan.forget(*client);
        }
    }
}

/// Publishes that the host has not handed to the socket yet. Further reports wait here. Not documented; chosen by us: few,
/// so that answers need not queue behind a backlog.
const IN_FLIGHT_MAX: usize = 32;

/// Requests of applications under way. Further ones are dropped and counted, as the protocol has no word for that. Not
/// documented; chosen by us: the arbiter of the host takes 32 at once from all clouds.
const REQUESTS_MAX: usize = 64;
