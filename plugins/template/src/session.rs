//! The state machine: connects, publishes reports and settles them on PUBACK, carries commands to the device and their
//! outcomes back, and connects again with backoff when the connection breaks.
//!
//! Reports are kept until the broker has acknowledged them; those that were under way when a connection broke go out
//! again first. What is not settled comes again from the host after a restart.

use std::collections::{BTreeMap, VecDeque};

use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::services::{Failure, Reason, mqtt};
use polylink_plugin_sdk::session::{Level, Phase as Standing, Status};
use polylink_plugin_sdk::thing_model::ThingModel;
use polylink_plugin_sdk::{
    Cause, Command, Context, Fault, Input, Now, Outcome, Output, Report, RequestId, Session, Timestamp,
};

use crate::config::Config;
use crate::datapoints::{self, Asked};

/// One connection to one broker.
pub struct TemplateSession {
    config: Config,
    model: ThingModel,
    phase: Phase,
    /// Reports that wait for a connection or for room, oldest first. At most [`UNSENT_MAX`], and what was in flight.
    unsent: VecDeque<Report>,
    n_lost: u64,
    /// Commands without an outcome yet. At most [`ASKED_MAX`].
    asked: BTreeMap<RequestId, Asked>,
    backoff: Backoff,
    random: Random,
    n_requests: u64,
}

/// Where the session stands.
enum Phase {
    /// Waits for the next attempt.
    Resting { until: Timestamp },
    /// Asked for a connection.
    Connecting { connection: RequestId },
    /// Connected. `in_flight`: reports without PUBACK, in order; at most [`IN_FLIGHT_MAX`].
    Online { connection: RequestId, in_flight: BTreeMap<RequestId, Report> },
    /// Said good-bye.
    Stopped,
}

impl Session for TemplateSession {
    fn new(context: Context) -> Result<Self, Fault> {
        Ok(Self {
            config: Config::parse(&context.name, &context.settings)?,
            model: ThingModel::parse(&context.product)?,
            phase: Phase::Stopped,
            unsent: VecDeque::new(),
            n_lost: 0,
            asked: BTreeMap::new(),
            backoff: Backoff::exponential(BACKOFF_FIRST_MS, BACKOFF_MAX_MS),
            random: Random::new(context.seed),
            n_requests: 0,
        })
    }

    fn handle_input(&mut self, now: Now, input: Input) -> Result<Vec<Output>, Fault> {
        Ok(match input {
            Input::Start => self.connect(),
            Input::Timeout => match self.phase {
                Phase::Resting { until } if until <= now.monotonic => self.connect(),
                _ => Vec::new(),
            },
            Input::Reports(reports) => self.take(reports),
            Input::Outcome(id, outcome) => self.answer(id, &outcome),
            Input::Mqtt(event) => self.handle_mqtt(now, event),
            Input::Stop => self.stop(),
            _ => Vec::new(),
        })
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Resting { until } => Some(until),
            _ => None,
        }
    }
}

impl TemplateSession {
    fn handle_mqtt(&mut self, now: Now, event: mqtt::Event) -> Vec<Output> {
        match (&mut self.phase, event) {
            (Phase::Connecting { connection }, mqtt::Event::Connected { connection: id, .. }) if *connection == id => {
                self.go_online(now, id)
            }
            (Phase::Connecting { connection }, mqtt::Event::Refused(id, code)) if *connection == id => {
                self.rest(now, Standing::Attention, refusal(code))
            }
            (Phase::Connecting { connection } | Phase::Online { connection, .. }, mqtt::Event::Closed(id, failure))
                if *connection == id =>
            {
                self.rest(now, Standing::Offline, failure.text)
            }
            (Phase::Online { .. }, mqtt::Event::Published(id, answer)) => self.published(id, answer),
            (Phase::Online { connection, .. }, mqtt::Event::Subscribed(_, answer)) => match answer {
                Ok(granted) if granted <= QOS => Vec::new(),
                _ => {
                    let connection = *connection;
                    let text = format!("the broker does not let us subscribe to {}", self.config.topics.command);
                    vec![
                        Output::Mqtt(mqtt::Request::Disconnect(connection)),
                        status(Standing::Attention, text.clone()),
                        Output::Log(Level::Warn, text),
                    ]
                }
            },
            (Phase::Online { .. }, mqtt::Event::Message { topic, payload, .. })
                if topic == self.config.topics.command =>
            {
                self.obey(&payload)
            }
            _ => Vec::new(),
        }
    }

    fn connect(&mut self) -> Vec<Output> {
        let connection = self.fresh_id();
        self.phase = Phase::Connecting { connection };
        let connect = Box::new(self.config.connect.clone());
        vec![
            status(Standing::Connecting, format!("connecting to {}", connect.host)),
            Output::Mqtt(mqtt::Request::Connect(connection, connect)),
        ]
    }

    fn go_online(&mut self, now: Now, connection: RequestId) -> Vec<Output> {
        self.backoff.connected(now.monotonic);
        self.phase = Phase::Online { connection, in_flight: BTreeMap::new() };
        let (id, filter) = (self.fresh_id(), self.config.topics.command.clone());
        let mut outputs = vec![
            status(Standing::Online, format!("connected to {}", self.config.connect.host)),
            Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, qos: QOS }),
        ];
        outputs.extend(self.send());
        outputs
    }

    /// Takes back what was under way, and waits for the next attempt.
    fn rest(&mut self, now: Now, standing: Standing, why: String) -> Vec<Output> {
        let delay = self.backoff.failed(now.monotonic, &mut self.random);
        let resting = Phase::Resting { until: now.monotonic.after(delay) };
        if let Phase::Online { in_flight, .. } = std::mem::replace(&mut self.phase, resting) {
            in_flight.into_values().rev().for_each(|report| self.unsent.push_front(report));
        }
        let text = format!("{why}; next attempt in {delay} ms");
        vec![Output::Log(Level::Info, text.clone()), status(standing, text)]
    }

    fn take(&mut self, reports: Vec<Report>) -> Vec<Output> {
        let mut outputs = Vec::new();
        for report in reports {
            // An answer is in the outcome of the command that asked.
            if report.cause == Cause::Answer {
                outputs.extend(settle(&report));
                continue;
            }
            // Comes again with a number; only what shows the present needs it now.
            if report.cause == Cause::Live {
                continue;
            }
            if self.unsent.len() >= UNSENT_MAX {
                self.unsent.pop_front();
                self.n_lost += 1;
                if self.n_lost.is_power_of_two() {
                    let text = format!("{} reports were dropped: more than {UNSENT_MAX} wait", self.n_lost);
                    outputs.push(Output::Log(Level::Warn, text));
                }
            }
            self.unsent.push_back(report);
        }
        outputs.extend(self.send());
        outputs
    }

    /// Publishes what waits, as far as there is a connection and room.
    fn send(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Phase::Online { connection, in_flight } = &mut self.phase
            && in_flight.len() < IN_FLIGHT_MAX
            && let Some(report) = self.unsent.pop_front()
        {
            match datapoints::encode_report(&self.model, &report) {
                Ok(payload) => {
                    self.n_requests += 1;
                    let id = RequestId(self.n_requests);
                    let topic = self.config.topics.report.clone();
                    let message = mqtt::Message { topic, payload, qos: QOS, retain: false };
                    outputs.push(Output::Mqtt(mqtt::Request::Publish { connection: *connection, id, message }));
                    in_flight.insert(id, report);
                }
                // It will not become better by waiting.
                Err(mismatch) => {
                    outputs.push(Output::Log(Level::Warn, format!("a report is not sent: {mismatch}")));
                    outputs.extend(settle(&report));
                }
            }
        }
        outputs
    }

    /// A report that failed stays in flight: when the connection closes, all of them go back in their order.
    fn published(&mut self, id: RequestId, answer: Result<(), Failure>) -> Vec<Output> {
        let Phase::Online { connection, in_flight } = &mut self.phase else { return Vec::new() };
        let failure = match answer {
            Ok(()) => {
                let settled = in_flight.remove(&id).and_then(|report| settle(&report));
                return settled.into_iter().chain(self.send()).collect();
            }
            Err(failure) => failure,
        };
        match failure.reason {
            Reason::ConnectionLost | Reason::UnknownHandle | Reason::Closed => Vec::new(),
            // It would be refused again.
            Reason::Invalid => {
                let settled = in_flight.remove(&id).and_then(|report| settle(&report));
                let text = format!("a report is not sent: {}", failure.text);
                std::iter::once(Output::Log(Level::Warn, text)).chain(settled).chain(self.send()).collect()
            }
            _ => vec![
                Output::Log(Level::Warn, format!("a publish failed, connecting again: {}", failure.text)),
                Output::Mqtt(mqtt::Request::Disconnect(*connection)),
            ],
        }
    }

    fn obey(&mut self, payload: &[u8]) -> Vec<Output> {
        match datapoints::decode_command(&self.model, payload) {
            Ok(asked) if self.asked.len() < ASKED_MAX => {
                let id = self.fresh_id();
                let command = Command { message_id: asked.id.clone(), ..Command::new(asked.body.clone()) };
                self.asked.insert(id, asked);
                vec![Output::Submit(id, command)]
            }
            Ok(asked) => self.result(datapoints::encode_refusal(&asked.id, "too many commands at once")),
            Err(refused) => {
                let mut outputs = vec![Output::Log(Level::Warn, format!("command refused: {}", refused.why))];
                outputs.extend(self.result(datapoints::encode_refusal(&refused.id, &refused.why)));
                outputs
            }
        }
    }

    fn answer(&mut self, id: RequestId, outcome: &Outcome) -> Vec<Output> {
        let Some(Asked { id, body }) = self.asked.remove(&id) else { return Vec::new() };
        let payload = datapoints::encode_result(&self.model, &id, &body, outcome);
        self.result(payload)
    }

    /// Publishes the answer to a command. Without a connection there is nobody to hear it.
    fn result(&mut self, payload: Vec<u8>) -> Vec<Output> {
        let id = self.fresh_id();
        let Phase::Online { connection, .. } = self.phase else { return Vec::new() };
        let message = mqtt::Message { topic: self.config.topics.result.clone(), payload, qos: QOS, retain: false };
        vec![Output::Mqtt(mqtt::Request::Publish { connection, id, message })]
    }

    fn stop(&mut self) -> Vec<Output> {
        match std::mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Connecting { connection } | Phase::Online { connection, .. } => {
                vec![
                    Output::Mqtt(mqtt::Request::Disconnect(connection)),
                    status(Standing::Offline, "stopped".to_owned()),
                ]
            }
            Phase::Resting { .. } | Phase::Stopped => vec![status(Standing::Offline, "stopped".to_owned())],
        }
    }

    fn fresh_id(&mut self) -> RequestId {
        self.n_requests += 1;
        RequestId(self.n_requests)
    }
}

fn settle(report: &Report) -> Option<Output> {
    (report.seq != 0).then(|| Output::Settle(vec![report.seq]))
}

fn status(phase: Standing, text: String) -> Output {
    Output::Status(Status { phase, text, facts: Vec::new() })
}

/// What a CONNACK code means (MQTT 3.1.1, table 3.1).
fn refusal(code: u8) -> String {
    let meaning = match code {
        1 => "it does not speak MQTT 3.1.1",
        2 => "it does not like the client identifier",
        3 => "it is not available",
        4 => "wrong user name or password",
        5 => "not authorised",
        _ => return format!("the broker refused the connection with code {code}"),
    };
    format!("the broker refused the connection: {meaning}")
}

/// At least once; results and subscriptions too.
const QOS: u8 = 1;

/// Reports that wait. When full, the oldest is dropped and counted; it comes again after a restart if the host still has
/// it. Not documented; chosen by us: the host hands over at most 256 unsettled ones, so only last known values, which
/// need no settling, can fill the rest.
const UNSENT_MAX: usize = 512;

/// Publishes without PUBACK. Further reports wait in `unsent`. Not documented; chosen by us: half of what
/// `polylink.mqtt/1` takes, so that results always find room.
const IN_FLIGHT_MAX: usize = 32;

/// Commands without an outcome. Further ones are refused with a result that says so. Not documented; chosen by us.
const ASKED_MAX: usize = 64;

/// Not documented; chosen by us.
const BACKOFF_FIRST_MS: u64 = 1_000;

/// Not documented; chosen by us: a person waits no longer after the broker has come back.
const BACKOFF_MAX_MS: u64 = 60_000;
