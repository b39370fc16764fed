//! Whatever comes, in whatever order: in the end every report is settled, once, no command was carried out twice, and nothing
//! was said in clear that is to be encrypted.

mod steps;

use std::collections::BTreeSet;

use polylink_plugin_sdk::services::{Reason, module, mqtt, network};
use polylink_plugin_sdk::{
    Cause, ClockQuality, DatapointId, Input, Outcome, Output, Report, ReportBody, RequestId, Value as Datum, WallTime,
};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, DEV_KEY, UPWARD, merged, seal, setup};
use steps::{Form, Step, any_settings, any_step, quality};

/// A message that the device has sent.
#[derive(Clone, Debug)]
struct Message {
    connection: RequestId,
    publish: RequestId,
    cmd: i64,
    id: Value,
}

/// A conversation, and what was asked for in it lately.
struct Talk {
    cloud: Cloud,
    encrypted: bool,
    /// HTTP requests, and the numbers of their messages.
    applications: Vec<(RequestId, Value)>,
    connections: Vec<RequestId>,
    subscriptions: Vec<RequestId>,
    messages: Vec<Message>,
    commands: Vec<RequestId>,
    /// Commands that were carried out; `None`: so much time passes that they may come again.
    carried_out: Option<BTreeSet<String>>,
    reported: u64,
    settled: BTreeSet<u64>,
}

impl Talk {
    fn new(settings: Value, once: bool) -> Self {
        let encrypted = settings["mqtt_encrypt_data"] != false;
        let mut talk = Self {
            cloud: Cloud::started(setup(settings)),
            encrypted,
            applications: Vec::new(),
            connections: Vec::new(),
            subscriptions: Vec::new(),
            messages: Vec::new(),
            commands: Vec::new(),
            carried_out: once.then(BTreeSet::new),
            reported: 0,
            settled: BTreeSet::new(),
        };
        talk.listen();
        talk
    }

    /// Notes what the device asked for; true if it asked for anything.
    fn listen(&mut self) -> bool {
        let outputs = self.cloud.host.take_outputs();
        assert!(outputs.len() < 10_000, "{} things asked at once", outputs.len());
        let any = !outputs.is_empty();
        for output in outputs {
            match output {
                Output::Http(id, request) => {
                    let frame: Value = serde_json::from_slice(&request.body).expect("what is sent is JSON");
                    self.applications.push((id, frame["msgId"].clone()));
                }
                Output::Mqtt(mqtt::Request::Connect(id, _)) => self.connections.push(id),
                Output::Mqtt(mqtt::Request::Subscribe { id, .. }) => self.subscriptions.push(id),
                Output::Mqtt(mqtt::Request::Publish { connection, id, message }) => {
                    self.note_message(connection, id, &message);
                }
                Output::Submit(id, command) => {
                    // Command and number; a moment may follow.
                    let name = command.message_id.split('/').take(2).collect::<Vec<_>>().join("/");
                    let is_new = self.carried_out.as_mut().is_none_or(|names| names.insert(name.clone()));
                    assert!(is_new, "{name} is carried out twice");
                    self.commands.push(id);
                }
                Output::Settle(seqs) => {
                    for seq in seqs {
                        let is_open = (1..=self.reported).contains(&seq) && self.settled.insert(seq);
                        assert!(is_open, "{seq} is settled again");
                    }
                }
                _ => {}
            }
        }
        any
    }

    fn note_message(&mut self, connection: RequestId, publish: RequestId, message: &mqtt::Message) {
        assert_eq!(message.topic, UPWARD);
        assert!(message.payload.len() <= 256 * 1024);
        let sent: Value = serde_json::from_slice(&message.payload).expect("what is sent is JSON");
        assert_eq!(sent["data"].is_string(), self.encrypted, "{sent}");
        let cmd = sent["cmd"].as_i64().expect("a command");
        assert!(cmd % 2 == 0, "the platform's own command: {sent}");
        self.messages.push(Message { connection, publish, cmd, id: sent["msgId"].clone() });
    }

    fn report(&mut self, body: ReportBody, age_ms: Option<i64>) {
        self.reported += 1;
        let at = match age_ms {
            Some(age) => WallTime { unix_ms: self.cloud.host.now().wall.unix_ms - age, quality: ClockQuality::SYNCED },
            None => WallTime::default(),
        };
        let report = Report { seq: self.reported, at, device: 0, cause: Cause::Change, caused_by: None, body };
        self.cloud.host.deliver(Input::Reports(vec![report]));
    }

    fn say(&mut self, cmd: i64, id: &Value, body: Value, form: Form) {
        let data = match form {
            Form::Sealed => seal(&self.cloud.key, body.to_string()).into(),
            Form::SealedOtherwise => seal(DEV_KEY, body.to_string()).into(),
            Form::Plain => body,
        };
        self.cloud.say_data(cmd, id, data);
    }

    fn greet(&mut self, greeting: &Message, body: Value, form: Form) {
        self.cloud.connection = greeting.connection;
        self.say(2005, &greeting.id, body, form);
    }

    fn answer_application(&mut self, (http, id): &(RequestId, Value), code: i64) {
        let body = merged(self.cloud.login.clone(), json!({ "respCode": code }));
        let frame = self.cloud.frame(2001, id, seal(DEV_KEY, body.to_string()).into());
        self.cloud.host.http_answer(*http, 200, frame.to_string());
    }

    fn greetings(&self) -> Vec<Message> {
        self.messages.iter().filter(|message| message.cmd == 2004).cloned().collect()
    }

    fn take(&mut self, step: Step) {
        let latest = self.connections.last().copied();
        match step {
            Step::Say(cmd, id, body, form) => self.say(cmd, &id, body, form),
            Step::Bytes(bytes) => self.cloud.say_bytes(bytes),
            Step::Greet(which, code, form) => {
                if let Some(greeting) = some(&self.greetings(), which) {
                    self.greet(&greeting, json!({ "respCode": code }), form);
                }
            }
            Step::Register(which, code, status) => match (some(&self.applications, which), code) {
                (Some(application), Some(code)) => self.answer_application(&application, code),
                (Some((http, _)), None) => self.cloud.host.http_answer(http, status, "{}"),
                (None, _) => {}
            },
            Step::RegistrationFails(which) => {
                if let Some((http, _)) = some(&self.applications, which) {
                    self.cloud.host.http_failed(http, Reason::Timeout);
                }
            }
            Step::Published(which, result) => match (some(&self.messages, which), result) {
                (Some(message), Ok(())) => self.cloud.host.published(message.publish),
                (Some(message), Err(reason)) => self.cloud.host.publish_failed(message.publish, reason),
                (None, _) => {}
            },
            Step::Subscribed(which, qos) => {
                some(&self.subscriptions, which).into_iter().for_each(|id| self.cloud.host.subscribed(id, qos));
            }
            Step::Outcome(which, result) => {
                let outcome = Outcome { result, values: vec![(DatapointId(1), Datum::Int(1))], document: None };
                some(&self.commands, which)
                    .into_iter()
                    .for_each(|id| self.cloud.host.deliver(Input::Outcome(id, outcome.clone())));
            }
            Step::Report(body, age_ms) => self.report(body, age_ms),
            Step::Advance(ms) => self.cloud.host.advance(ms),
            Step::Wall(by_ms, is_set) => {
                let unix_ms = self.cloud.host.now().wall.unix_ms + by_ms;
                self.cloud.host.set_wall(unix_ms, quality(is_set));
            }
            Step::Ahead(ms) => self.cloud.ahead_ms = ms,
            Step::Cut => self.cloud.cut(),
            Step::Accept => {
                if let Some(id) = latest {
                    self.cloud.connection = id;
                    self.cloud.host.mqtt_connected(id);
                }
            }
            Step::Refuse(code) => latest.into_iter().for_each(|id| self.cloud.host.mqtt_refused(id, code)),
            Step::Module(which) => self.cloud.host.module_event(match which % 3 {
                0 => module::Event::Reset,
                1 => module::Event::Unbind,
                _ => module::Event::Changed(module::Facts { mcu_software: which.to_string(), ..Default::default() }),
            }),
            Step::Network(up) => {
                self.cloud.host.interfaces_changed(if up { vec![network::Interface::default()] } else { Vec::new() });
            }
        }
    }

    /// From now on everything works and everybody answers: every report is settled after a while.
    fn end_well(&mut self) {
        for _ in 0..PATIENCE {
            if self.settled.len() as u64 == self.reported {
                return;
            }
            for application in std::mem::take(&mut self.applications) {
                self.answer_application(&application, 0);
            }
            for id in std::mem::take(&mut self.connections) {
                self.cloud.host.mqtt_connected(id);
            }
            for id in std::mem::take(&mut self.subscriptions) {
                self.cloud.host.subscribed(id, 1);
            }
            for message in std::mem::take(&mut self.messages) {
                self.cloud.host.published(message.publish);
                if message.cmd == 2004 {
                    self.greet(&message, json!({"respCode": 0}), Form::Sealed);
                }
            }
            if !self.listen() && self.settled.len() as u64 != self.reported {
                self.cloud.host.advance_to_next_timeout();
                self.listen();
            }
        }
        panic!("not settled: {:?}", (1..=self.reported).filter(|seq| !self.settled.contains(seq)).collect::<Vec<_>>());
    }
}

fn some<T: Clone>(list: &[T], which: Index) -> Option<T> {
    // The latest are the interesting ones.
    let list = &list[list.len().saturating_sub(16)..];
    (!list.is_empty()).then(|| which.get(list).clone())
}

/// `is_online`: the conversation begins when the device is.
fn run(settings: Value, is_online: bool, steps: Vec<Step>, once: bool) {
    let mut talk = Talk::new(settings, once);
    if is_online {
        // A report that waits takes everything to its settling.
        talk.report(ReportBody::Properties(vec![(DatapointId(1), Datum::Int(1))]), None);
        talk.end_well();
    }
    for step in steps {
        talk.take(step);
        talk.listen();
    }
    talk.end_well();
    talk.cloud.host.stop();
}

/// So many rounds of answers at most until everything is settled.
const PATIENCE: usize = 1_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_can_break_the_session(
        settings in any_settings(),
        is_online: bool,
        steps in prop::collection::vec(any_step(4_000_000), 0..80),
    ) {
        run(settings, is_online, steps, false);
    }

    // Less than five minutes in all, so that no command is new when it comes again.
    #[test]
    fn no_command_is_carried_out_twice(
        settings in any_settings(),
        steps in prop::collection::vec(any_step(3_000), 0..80),
    ) {
        run(settings, true, steps, true);
    }
}
