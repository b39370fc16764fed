//! Whatever comes, in whatever order: the session never panics, never loops and asks for a bounded number of things; in the
//! end every report is settled, once; no command was carried out twice; nothing was said where its account may not, nor in
//! clear that is to be encrypted.

mod steps;

use std::collections::BTreeSet;

use polylink_plugin_sdk::services::{Reason, mqtt, script};
use polylink_plugin_sdk::testing::witness::{Happening, Witness, pick};
use polylink_plugin_sdk::{Cause, ClockQuality, DatapointId, Output, ReportBody, RequestId, Value as Datum};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use steps::{CODES, Payload, SESSIONS, Step, TOPICS, any_setup, any_step, update};

use crate::scenarios::stage::{BASE, Cloud, DEVICE_SECRET, below, encrypt, product, session_key, setup_of};

/// A frame that the device has sent.
#[derive(Clone, Debug)]
struct Frame {
    connection: RequestId,
    /// Below the device's own; `auth` for a request to authenticate.
    topic: String,
    name: Value,
    code: i64,
}

/// A conversation, and what was asked for in it lately.
struct Talk {
    cloud: Cloud,
    witness: Witness,
    encrypted: bool,
    /// The connection is for the authentication.
    authenticates: bool,
    frames: Vec<Frame>,
    calls: Vec<RequestId>,
    /// Names of commands that were carried out; `None`: so much time passes that they may come again.
    carried_out: Option<BTreeSet<String>>,
    last_client_id: String,
    /// How far the wall clock was ahead of the monotonic one at most.
    ahead_ms: i64,
}

impl Talk {
    fn new((raw, settings): (bool, Value), once: bool) -> Self {
        let mut talk = Self {
            encrypted: settings["encrypted"] == true,
            cloud: Cloud::started_alone(setup_of(product(raw), settings)),
            witness: Witness::default(),
            authenticates: false,
            frames: Vec::new(),
            calls: Vec::new(),
            carried_out: once.then(BTreeSet::new),
            last_client_id: String::new(),
            ahead_ms: i64::MIN,
        };
        talk.listen();
        talk
    }

    /// Notes what the device asked for; true if it asked for anything.
    fn listen(&mut self) -> bool {
        let outputs = self.witness.listen(&mut self.cloud.host);
        let any = !outputs.is_empty();
        let now = self.cloud.host.now();
        self.ahead_ms = self.ahead_ms.max(now.wall.unix_ms.saturating_sub_unsigned(now.monotonic.0));
        for output in outputs {
            match output {
                Output::Mqtt(mqtt::Request::Connect(_, connect)) => {
                    self.cloud.check_credentials(&connect);
                    let is_checked = connect.client_id.contains("_1_");
                    assert!(!is_checked || connect.client_id != self.last_client_id, "the same time twice");
                    self.authenticates = connect.client_id.starts_with("AA30C505-");
                    self.last_client_id = connect.client_id;
                }
                Output::Mqtt(mqtt::Request::Subscribe { filter, .. }) => {
                    assert!(!self.authenticates || filter == below("downlink"), "{filter}");
                }
                Output::Mqtt(mqtt::Request::Publish { connection, message, .. }) => {
                    self.note_message(connection, &message);
                }
                Output::Script(script::Request::Load { script, .. }) => self.cloud.script = Some(script),
                Output::Script(script::Request::Call { id, .. }) => self.calls.push(id),
                Output::Submit(_, command) => {
                    // A moment may follow.
                    let name = command.message_id.split('@').next().unwrap_or_default().to_owned();
                    let carried_out = self.carried_out.as_mut().filter(|_| !name.is_empty());
                    assert!(carried_out.is_none_or(|names| names.insert(name.clone())), "{name} is carried out twice");
                }
                _ => {}
            }
        }
        any
    }

    fn note_message(&mut self, connection: RequestId, message: &mqtt::Message) {
        assert!(message.payload.len() <= 256 * 1024);
        let topic = message.topic.strip_prefix(BASE).and_then(|below| below.strip_prefix('/'));
        assert!(topic.is_some() != (message.topic == "/sys/device/auth"), "{}", message.topic);
        if self.witness.connection() == Some(connection) {
            assert_eq!(topic.is_none(), self.authenticates, "{}", message.topic);
        }
        let topic = topic.unwrap_or("auth").to_owned();
        if topic == "model/hex" {
            return self.frames.push(Frame { connection, topic, name: json!("?"), code: 28 });
        }
        let sent: Value = serde_json::from_slice(&message.payload).expect("what is sent is JSON");
        let code = sent["HeaderCtrl"].as_i64().expect("a code");
        // An acknowledgement of a 4 that came down is one as well.
        let is_sealed = self.encrypted && SEALED.contains(&code) && !topic.ends_with("link_ack");
        assert!(!is_sealed || sent["Payload"].is_string(), "in clear: {sent}");
        self.frames.push(Frame { connection, topic, name: sent["MessageId"].clone(), code });
    }

    /// The platform answers this frame with this code.
    fn answer(&mut self, frame: &Frame, code: Value, sealed: bool) {
        let data = json!({"timestamp": 1_704_067_200_000_i64, "timezone": "Asia/Shanghai"});
        let mut payload = json!({"Code": code, "Msg": "?", "Data": data});
        if sealed && self.encrypted {
            payload = self.cloud.seal(payload.to_string());
        }
        self.cloud.connection = frame.connection;
        self.cloud.say_as(&format!("{}_ack", frame.topic), &frame.name, frame.code, payload);
    }

    fn authenticate(&mut self, request: &Frame, code: i64, secret: bool, session: Option<usize>) {
        let mut reply = json!({"Code": code, "DeviceSecret": if secret { DEVICE_SECRET } else { "short" }});
        if let Some(session) = session {
            let (id, nonce) = SESSIONS[session];
            reply["SessionID"] = json!(id);
            reply["Nonce"] = json!(nonce);
        }
        self.cloud.connection = request.connection;
        self.cloud.answer_authentication(&request.name, reply);
    }

    fn say(&mut self, topic: usize, code: Option<i64>, name: Value, payload: Payload) {
        let payload = match payload {
            Payload::Clear(content) => content,
            Payload::Sealed(session, text) => {
                let (id, nonce) = SESSIONS[session];
                encrypt(&session_key(id, nonce), text.as_bytes()).into()
            }
        };
        let usual = CODES.get(topic).and_then(|codes| codes.get(payload.to_string().len() % codes.len()));
        self.cloud.say_as(TOPICS[topic], &name, code.or(usual.copied()).unwrap_or(7), payload);
    }

    fn take(&mut self, step: Step) {
        if let Some(connection) = self.witness.connection() {
            self.cloud.connection = connection;
        }
        match step {
            Step::Happens(happening) => self.happen(happening),
            Step::Bytes(topic, bytes) => self.cloud.say_bytes(TOPICS[topic], bytes),
            Step::Say { topic, code, name, payload } => self.say(topic, code, name, payload),
            Step::Answer(which, code, sealed) => {
                if let Some(frame) = pick(&self.frames, which) {
                    self.answer(&frame, code, sealed);
                }
            }
            Step::Authentication { which, code, secret, session } => {
                let requests: Vec<Frame> = self.frames.iter().filter(|frame| frame.topic == "auth").cloned().collect();
                if let Some(request) = pick(&requests, which) {
                    self.authenticate(&request, code, secret, session);
                }
            }
            Step::Returned(which, result) => self.return_call(which, result),
            Step::Loaded(fits) => match self.cloud.script {
                Some(script) if fits => self.cloud.host.script_loaded(script),
                Some(script) => self.cloud.host.script_load_failed(script, Reason::Quota),
                None => {}
            },
            Step::Updates(list) => self.cloud.host.updates_changed(list.into_iter().map(update).collect()),
        }
    }

    fn happen(&mut self, happening: Happening) {
        if matches!(happening, Happening::Restart) {
            (self.cloud.script, self.frames, self.calls) = (None, Vec::new(), Vec::new());
            // The one thing about connections that is not stored.
            self.last_client_id.clear();
        }
        self.witness.happen(&mut self.cloud.host, happening);
    }

    fn return_call(&mut self, which: Index, result: Result<Option<Vec<u8>>, Reason>) {
        let Some(id) = pick(&self.calls, which) else { return };
        self.calls.retain(|call| *call != id);
        match result {
            Ok(bytes) => {
                let value = bytes.map_or(script::Value::Nil, script::Value::Bytes);
                self.cloud.host.script_returned(id, [value]);
            }
            Err(reason) => self.cloud.host.script_failed(id, reason),
        }
    }

    /// From now on everything works and everybody answers: every report is settled after a while.
    fn end_well(&mut self) {
        // Never back: a device whose connections have ever later times would wait.
        let unix_ms = self.ahead_ms.saturating_add_unsigned(self.cloud.host.now().monotonic.0);
        self.cloud.host.set_wall(unix_ms, ClockQuality::SYNCED);
        for _ in 0..PATIENCE {
            if self.witness.unsettled().is_empty() {
                return;
            }
            self.witness.serve(&mut self.cloud.host);
            for id in std::mem::take(&mut self.calls) {
                self.cloud.host.script_returned(id, [script::Value::Bytes(vec![1])]);
            }
            if let Some(script) = self.cloud.script {
                self.cloud.host.script_loaded(script);
            }
            for frame in std::mem::take(&mut self.frames) {
                match frame.topic.as_str() {
                    "auth" => self.authenticate(&frame, 0, true, Some(0)),
                    _ => self.answer(&frame, json!(200), false),
                }
            }
            if !self.listen() && !self.witness.unsettled().is_empty() {
                self.cloud.host.advance_to_next_timeout();
                self.listen();
            }
        }
        panic!("not settled: {:?}", self.witness.unsettled());
    }
}

/// `is_online`: the conversation begins when the device is.
fn run(setup: (bool, Value), is_online: bool, steps: Vec<Step>, once: bool) {
    let mut talk = Talk::new(setup, once);
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
    talk.cloud.host.advance(3_600_000);
    talk.cloud.host.stop();
}

/// Codes of what an encrypted product never says in clear.
const SEALED: [i64; 7] = [4, 16, 17, 18, 19, 26, 27];
/// So many rounds of answers at most until everything is settled.
const PATIENCE: usize = 1_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_can_break_the_session(
        setup in any_setup(),
        is_online: bool,
        steps in prop::collection::vec(prop_oneof![40 => any_step(4_000_000), 1 => Just(Step::Happens(Happening::Restart))], 0..80),
    ) {
        run(setup, is_online, steps, false);
    }

    // Less than five minutes in all, so that no command is new when it comes again.
    #[test]
    fn no_command_is_carried_out_twice(
        setup in any_setup(),
        steps in prop::collection::vec(any_step(3_000), 0..80),
    ) {
        run(setup, true, steps, true);
    }
}
