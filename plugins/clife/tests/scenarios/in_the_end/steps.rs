//! What may happen in a conversation.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::{ClockQuality, DatapointId, OutcomeResult, ReportBody, Value as Datum};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub enum Step {
    /// A message of the platform: command, number, body, and how that comes.
    Say(i64, Value, Value, Form),
    Bytes(Vec<u8>),
    /// The platform answers a greeting with this code.
    Greet(Index, Value, Form),
    /// The platform answers a registration with this code; `None`: with this HTTP status.
    Register(Index, Option<i64>, u16),
    RegistrationFails(Index),
    Published(Index, Result<(), Reason>),
    Subscribed(Index, u8),
    Outcome(Index, OutcomeResult),
    /// A report from so many milliseconds ago; `None`: its time is not known.
    Report(ReportBody, Option<i64>),
    Advance(u64),
    /// The host's clock is set.
    Wall(i64, bool),
    /// How far the platform's clock is ahead.
    Ahead(i64),
    Cut,
    Accept,
    Refuse(u8),
    Module(u8),
    Network(bool),
}

#[derive(Clone, Copy, Debug)]
pub enum Form {
    Sealed,
    SealedOtherwise,
    Plain,
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..300_i64).prop_map(Value::from),
        "[a-z0-9._-]{0,12}".prop_map(Value::from),
        select(vec!["1", "2", "99", "DOWN", "UP", "QUERY", "FIRM", "LOG", "http://h/x"]).prop_map(Value::from),
    ];
    let known = select(vec![
        "params",
        "1",
        "2",
        "3",
        "4",
        "99",
        "fileMode",
        "fileInfo",
        "fileType",
        "url",
        "md5",
        "checkSum",
        "productVer",
        "startTime",
        "respCode",
        "respCont",
    ]);
    let key = prop_oneof![known.prop_map(str::to_owned), "[a-z ]{0,6}"];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Value> {
    let sensible = select(vec![
        json!({"params": [{"1": true}, {"2": 5}]}),
        json!({"params": [{"2": 6}]}),
        json!({"params": [{"99": 6}]}),
        json!({"params": ["1", "2"]}),
        json!({}),
        json!({"fileMode": "QUERY"}),
        json!({"fileMode": "UP", "fileInfo": [{"fileType": "LOG", "url": "http://h/x"}]}),
        json!({"respCode": 0}),
        json!({"respCont": "maintenance"}),
    ]);
    prop_oneof![3 => sensible, 1 => any_json()]
}

fn any_form() -> impl Strategy<Value = Form> {
    prop_oneof![4 => Just(Form::Sealed), 1 => Just(Form::SealedOtherwise), 1 => Just(Form::Plain)]
}

fn any_message() -> impl Strategy<Value = Step> {
    let cmd = prop_oneof![
        12 => select(vec![2009_i64, 2011, 2011, 2013, 2019]),
        1 => Just(2017),
        1 => 1_998..2_022_i64,
    ];
    // A few numbers, so that they come again.
    let id = prop_oneof![6 => (0..6_i64).prop_map(Value::from), 1 => any_json()];
    (cmd, id, any_body(), any_form()).prop_map(|(cmd, id, body, form)| Step::Say(cmd, id, body, form))
}

fn any_report() -> impl Strategy<Value = Step> {
    let body = prop_oneof![
        6 => (0..6_u32, -5..5_i64)
            .prop_map(|(id, n)| ReportBody::Properties(vec![(DatapointId(id), Datum::Int(n))])),
        1 => Just(ReportBody::Properties(vec![(DatapointId(4), Datum::Text("x".repeat(200_000)))])),
        1 => Just(ReportBody::Event { id: DatapointId(0), params: vec![] }),
        1 => prop::collection::vec(any::<u8>(), 0..5).prop_map(ReportBody::Raw),
    ];
    let age = prop_oneof![2 => 0..100_i64, 1 => 50_000..100_000_i64];
    (body, prop::option::weighted(0.8, age)).prop_map(|(body, age)| Step::Report(body, age))
}

/// One thing, that takes less than this time.
pub fn any_step(longest_ms: u64) -> impl Strategy<Value = Step> {
    let reason = select(vec![Reason::Quota, Reason::Invalid, Reason::Timeout, Reason::ConnectionLost]);
    let result = select(vec![
        OutcomeResult::Done,
        OutcomeResult::Refused("out of range".to_owned()),
        OutcomeResult::Unreachable,
        OutcomeResult::TimedOut,
        OutcomeResult::Superseded,
    ]);
    let code = prop_oneof![6 => Just(json!(0)), 1 => Just(json!(2)), 1 => Just(json!(7)), 1 => any_json()];
    let registered = prop_oneof![4 => Just(Some(0)), 1 => (0..7_i64).prop_map(Some), 1 => Just(None)];
    let published = prop_oneof![4 => Just(Ok(())), 1 => reason.prop_map(Err)];
    let day = 86_400_000_i64;
    prop_oneof![
        12 => any_message(),
        1 => any::<Vec<u8>>().prop_map(Step::Bytes),
        5 => (any::<Index>(), code, any_form()).prop_map(|(which, code, form)| Step::Greet(which, code, form)),
        4 => (any::<Index>(), registered, select(vec![200, 404, 429, 503]))
            .prop_map(|(which, code, status)| Step::Register(which, code, status)),
        1 => any::<Index>().prop_map(Step::RegistrationFails),
        5 => (any::<Index>(), published).prop_map(|(which, result)| Step::Published(which, result)),
        5 => (any::<Index>(), select(vec![0_u8, 1, 1, 1, 1, 0x80]))
            .prop_map(|(which, qos)| Step::Subscribed(which, qos)),
        5 => (any::<Index>(), result).prop_map(|(which, result)| Step::Outcome(which, result)),
        6 => any_report(),
        4 => prop_oneof![0..100_u64, 0..longest_ms].prop_map(Step::Advance),
        1 => (-day..day, any::<bool>()).prop_map(|(by, is_set)| Step::Wall(by, is_set)),
        1 => (-day..day).prop_map(Step::Ahead),
        1 => Just(Step::Cut),
        4 => Just(Step::Accept),
        1 => (0..7_u8).prop_map(Step::Refuse),
        1 => any::<u8>().prop_map(Step::Module),
        1 => any::<bool>().prop_map(Step::Network),
    ]
}

/// What a clock is worth that is set or not.
pub const fn quality(is_set: bool) -> ClockQuality {
    if is_set { ClockQuality::SYNCED } else { ClockQuality::UNSET }
}

/// Settings under which a session behaves in another way.
pub fn any_settings() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"mqtt_encrypt_data": false}),
        json!({"strict_encryption": true}),
        json!({"unbind_clears_registration": true}),
        json!({"require_connect_ack": true, "force_offline_hold_s": 1}),
        json!({"report_on_connect": false, "qos": 0}),
    ])
}
