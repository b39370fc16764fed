//! Whatever comes, in whatever order: the session never panics, never loops and asks for a bounded number of things; in the
//! end every report is settled, once; no command was carried out twice; nothing was said in clear that is to be encrypted.

mod steps;

use std::collections::BTreeSet;

use polylink_plugin_sdk::services::subdevices::Subdevice;
use polylink_plugin_sdk::services::{Failure, Reason, mqtt, ota};
use polylink_plugin_sdk::testing::witness::{Happening, Witness, pick};
use polylink_plugin_sdk::{Cause, ClockQuality, DatapointId, Output, ReportBody, RequestId, Value as Datum};
use proptest::prelude::*;
use serde_json::{Value, json};

use steps::{Data, Registered, Step, any_settings, any_step};

use crate::scenarios::stage::{Cloud, DEV_KEY, DEVICE_SECRET, DOWNWARD, UPWARD, merged, seal, setup, unseal};

/// A conversation, and what was asked for in it lately.
struct Talk {
    cloud: Cloud,
    witness: Witness,
    encrypts: bool,
    /// The request to register, and its number.
    application: Option<(RequestId, Value)>,
    /// Greetings, and their connections.
    greetings: Vec<(RequestId, Value)>,
    /// Commands that were carried out; `None`: so much time passes that they may come again.
    carried_out: Option<BTreeSet<String>>,
    /// The updates that the host has.
    updates: Vec<ota::Update>,
    logs: Option<RequestId>,
    /// Something may not have been stored, so that a restart may forget what was offered.
    forgets: bool,
    /// How far the wall clock was ahead of the monotonic one at most.
    ahead_ms: i64,
}

impl Talk {
    fn new(settings: Value, once: bool) -> Self {
        let mut talk = Self {
            encrypts: settings["mqtt_encrypt_data"] == true,
            cloud: Cloud::started(setup(settings)),
            witness: Witness::default(),
            application: None,
            greetings: Vec::new(),
            carried_out: once.then(BTreeSet::new),
            updates: Vec::new(),
            logs: None,
            forgets: false,
            ahead_ms: i64::MIN,
        };
        talk.listen();
        talk
    }

    /// Notes what the device asked for, and does with updates what a host does; true if it asked for anything.
    fn listen(&mut self) -> bool {
        let outputs = self.witness.listen(&mut self.cloud.host);
        let (any, updates) = (!outputs.is_empty(), self.updates.clone());
        let now = self.cloud.host.now();
        self.ahead_ms = self.ahead_ms.max(now.wall.unix_ms.saturating_sub_unsigned(now.monotonic.0));
        for output in outputs {
            match output {
                Output::Http(id, request) => {
                    assert!(self.application.is_none() && self.witness.connection().is_none(), "two things at once");
                    let frame = checked(&request.body, true);
                    assert_eq!(frame["cmd"], 2000);
                    self.application = Some((id, frame["msgId"].clone()));
                }
                Output::CancelHttp(id) => drop(self.application.take_if(|(http, _)| *http == id)),
                Output::Mqtt(mqtt::Request::Connect(_, connect)) => {
                    assert!(self.application.is_none(), "two things at once");
                    self.cloud.check_credentials(&connect);
                    if let Some(will) = &connect.will {
                        assert_eq!(checked(&will.payload, self.encrypts)["cmd"], 2014);
                    }
                }
                Output::Mqtt(mqtt::Request::Subscribe { filter, .. }) => assert_eq!(filter, DOWNWARD),
                Output::Mqtt(mqtt::Request::Publish { connection, message, .. }) => {
                    assert_eq!(message.topic, UPWARD);
                    let frame = checked(&message.payload, self.encrypts);
                    assert!([2004, 2006, 2012, 2018].contains(&frame["cmd"].as_i64().unwrap()), "{frame}");
                    if frame["cmd"] == 2004 {
                        self.greetings.push((connection, frame["msgId"].clone()));
                    }
                }
                Output::Submit(_, command) => {
                    // Command and number; a moment may follow.
                    let name = command.message_id.split('/').take(2).collect::<Vec<_>>().join("/");
                    let is_new = self.carried_out.as_mut().is_none_or(|names| names.insert(name.clone()));
                    assert!(is_new, "{name} is carried out twice");
                }
                Output::Ota(request) => self.update(request),
                Output::SendLogs(id, _) => assert!(self.logs.replace(id).is_none(), "two logs at once"),
                _ => {}
            }
        }
        if self.updates != updates {
            self.cloud.host.updates_changed(self.updates.clone());
            self.listen();
        }
        any
    }

    /// What a host does with such a request.
    fn update(&mut self, request: ota::Request) {
        match request {
            ota::Request::Offer(offer) => {
                // To a host an offer with an id that it has is the same once more.
                if self.updates.iter().any(|update| update.id == offer.id) {
                    return assert!(self.forgets, "offered twice");
                }
                assert!(self.updates.iter().all(|update| update.phase.is_over()), "two updates at once");
                let ota::Offer { id, target, version, .. } = *offer;
                self.updates.push(ota::Update { id, target, version, ..ota::Update::default() });
            }
            ota::Request::Cancel(id) => {
                let can_end = |update: &&mut ota::Update| {
                    update.id == id && matches!(update.phase, ota::Phase::Waiting | ota::Phase::Downloading)
                };
                if let Some(update) = self.updates.iter_mut().find(can_end) {
                    update.phase = ota::Phase::Failed(ota::Failure::Cancelled);
                }
            }
            ota::Request::Acknowledge(id) => self.updates.retain(|update| update.id != id || !update.phase.is_over()),
        }
    }

    fn say(&mut self, cmd: i64, id: &Value, dir: &str, timestamp: Value, data: Data) {
        let data = match data {
            Data::Clear(content) => content,
            Data::Sealed(content) => seal(DEVICE_SECRET, content.to_string()).into(),
            Data::SealedOtherwise(content) => seal(DEV_KEY, content.to_string()).into(),
            Data::SealedText(text) => seal(DEVICE_SECRET, text).into(),
        };
        let mut frame = merged(self.cloud.frame(cmd, id, data), json!({ "dir": dir }));
        if !timestamp.is_null() {
            frame["timestamp"] = timestamp;
        }
        self.cloud.say_bytes(frame.to_string());
    }

    fn greet(&mut self, (connection, id): &(RequestId, Value), data: Data) {
        self.cloud.connection = *connection;
        self.say(2005, id, "30", json!(null), data);
    }

    fn answer_application(&mut self, answer: Registered) {
        let Some((http, id)) = self.application.take() else { return };
        let login = self.cloud.login.clone();
        let sealed = |cloud: &Cloud, id: &Value, body: Value| {
            cloud.frame(2001, id, seal(DEV_KEY, body.to_string()).into()).to_string()
        };
        let (status, body) = match answer {
            Registered::Done => (200, sealed(&self.cloud, &id, login)),
            Registered::WithoutSecret => (200, sealed(&self.cloud, &id, merged(login, json!({"deviceSecret": null})))),
            Registered::Without(member) => (200, sealed(&self.cloud, &id, merged(login, json!({ member: null })))),
            Registered::Code(code) => (200, sealed(&self.cloud, &id, merged(login, json!({ "respCode": code })))),
            Registered::Status(status) => (status, sealed(&self.cloud, &id, login)),
            Registered::OtherId => (200, sealed(&self.cloud, &json!(0), login)),
            Registered::Bytes(bytes) => return self.cloud.host.http_answer(http, 200, bytes),
            Registered::Failed => return self.cloud.host.http_failed(http, Reason::Timeout),
        };
        self.cloud.host.http_answer(http, status, body);
    }

    fn take(&mut self, step: Step) {
        if let Some(connection) = self.witness.connection() {
            self.cloud.connection = connection;
        }
        match step {
            Step::Happens(happening) => self.happen(happening),
            Step::Bytes(bytes) => self.cloud.say_bytes(bytes),
            Step::Say { cmd, id, dir, timestamp, data } => self.say(cmd, &id, dir, timestamp, data),
            Step::Greet(which, code) => {
                if let Some(greeting) = pick(&self.greetings, which) {
                    self.greet(&greeting, Data::Sealed(json!({ "respCode": code })));
                }
            }
            Step::Register(answer) => self.answer_application(answer),
            Step::Ahead(ms) => self.cloud.ahead_ms = ms,
            Step::StoreFails(fails) => {
                self.forgets |= fails;
                self.cloud.host.fail_store(fails);
            }
            Step::Update(phase, percent) => {
                if let Some(update) = self.updates.iter_mut().find(|update| !update.phase.is_over()) {
                    (update.phase, update.percent) = (phase, percent);
                    self.cloud.host.updates_changed(self.updates.clone());
                }
            }
            Step::Subdevices(list) => {
                let subdevice = |(index, (accepted, online, version))| Subdevice {
                    index,
                    accepted,
                    online,
                    version,
                    ..Subdevice::default()
                };
                self.cloud.host.subdevices_changed((1..).zip(list).map(subdevice).collect());
            }
            Step::LogsSent(sent) => {
                if let Some(id) = self.logs.take() {
                    let failure = Failure { reason: Reason::Timeout, text: "no route".to_owned() };
                    self.cloud.host.logs_sent(id, sent.ok_or(failure));
                }
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        if matches!(happening, Happening::Restart) {
            (self.application, self.logs, self.greetings) = (None, None, Vec::new());
            self.cloud.host.setup().updates.clone_from(&self.updates);
        }
        self.witness.happen(&mut self.cloud.host, happening);
    }

    /// From now on everything works and everybody answers: every report is settled after a while.
    fn end_well(&mut self) {
        self.cloud.host.fail_store(false);
        let unix_ms = self.ahead_ms.saturating_add_unsigned(self.cloud.host.now().monotonic.0);
        self.cloud.host.set_wall(unix_ms, ClockQuality::SYNCED);
        for _ in 0..PATIENCE {
            if self.witness.unsettled().is_empty() {
                return;
            }
            self.answer_application(Registered::Done);
            self.witness.serve(&mut self.cloud.host);
            for greeting in std::mem::take(&mut self.greetings) {
                // By whichever of its keys the device was registered.
                self.greet(&greeting, Data::Sealed(json!({"respCode": 0})));
                self.greet(&greeting, Data::SealedOtherwise(json!({"respCode": 0})));
            }
            if !self.listen() && !self.witness.unsettled().is_empty() {
                self.cloud.host.advance_to_next_timeout();
                self.listen();
            }
        }
        panic!("not settled: {:?}", self.witness.unsettled());
    }
}

/// A message of the device, in the right form.
fn checked(message: &[u8], encrypts: bool) -> Value {
    assert!(message.len() <= 256 * 1024);
    let frame: Value = serde_json::from_slice(message).expect("what is sent is JSON");
    let (data, members) = (&frame["data"], frame.as_object().unwrap());
    assert!(members.len() == 6 && frame["dir"] == "03" && frame["ver"] == "1.0", "{frame}");
    let plain = match data.as_str() {
        Some(sealed) if encrypts => {
            let plain = [DEVICE_SECRET, DEV_KEY].iter().find_map(|key| unseal(key, sealed));
            serde_json::from_str(&plain.expect("encrypted by a key of the device")).expect("a body is JSON")
        }
        _ => data.clone(),
    };
    assert!(plain.is_object() && data.is_string() == encrypts, "{frame}");
    frame
}

/// `is_online`: the conversation begins when the device is.
fn run(settings: Value, is_online: bool, steps: Vec<Step>, once: bool) {
    let mut talk = Talk::new(settings, once);
    if is_online {
        // A report that waits takes everything to its settling.
        let body = ReportBody::Properties(vec![(DatapointId(1), Datum::Int(1))]);
        talk.happen(Happening::Reports { n: 1, device: 0, cause: Cause::Change, body, age_ms: None });
        talk.end_well();
    }
    for step in steps {
        talk.take(step);
        talk.listen();
    }
    talk.end_well();
    // Nothing is due again and again once nobody says anything any more.
    talk.cloud.host.advance(7_300_000);
    talk.listen();
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
        steps in prop::collection::vec(prop_oneof![40 => any_step(4_000_000), 1 => Just(Step::Happens(Happening::Restart))], 0..80),
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
