//! What may come: a grammar of steps, most of which make some sense.

use polylink_plugin_sdk::services::ota::{Failure, Phase};
use polylink_plugin_sdk::testing::witness::{Happening, any_happening};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::scenarios::stage::level;

#[derive(Clone, Debug)]
pub enum Step {
    Happens(Happening),
    Bytes(Vec<u8>),
    /// A message of the platform; no timestamp: a right one.
    Say {
        cmd: i64,
        id: Value,
        dir: &'static str,
        timestamp: Value,
        data: Data,
    },
    /// The platform answers a greeting with this code.
    Greet(Index, Value),
    /// The platform answers the request to register.
    Register(Registered),
    /// How far the platform's clock is ahead.
    Ahead(i64),
    StoreFails(bool),
    /// The host goes on with an update.
    Update(Phase, u8),
    /// The devices behind the MCU: whether each belongs to it and is reached, and its version.
    Subdevices(Vec<(bool, bool, String)>),
    /// The host has sent so much of its log, or could not.
    LogsSent(Option<u64>),
}

#[derive(Clone, Debug)]
pub enum Data {
    Clear(Value),
    Sealed(Value),
    /// By another key than the device's.
    SealedOtherwise(Value),
    SealedText(String),
}

#[derive(Clone, Debug)]
pub enum Registered {
    Done,
    WithoutSecret,
    Without(&'static str),
    Code(i64),
    Status(u16),
    OtherId,
    Bytes(Vec<u8>),
    Failed,
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9._/+#-]{0,12}".prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = select(vec![
        "params",
        "respCode",
        "respCont",
        "fileMode",
        "fileInfo",
        "fileType",
        "url",
        "md5",
        "checkSum",
        "startTime",
        "stopTime",
        "productVer",
        "devNum",
        "software",
        "hardware",
        "1",
        "2",
        "3",
        " 4",
        "5",
        "9",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[a-z]{0,6}"]
}

/// What the platform might say, more or less.
fn any_content() -> impl Strategy<Value = Value> {
    let value = prop_oneof![(-2..1_000_001_i64).prop_map(Value::from), any::<bool>().prop_map(Value::from), any_json()];
    let name = select(vec!["1", "2", "3", "4", "5", "9", "01", "x"]);
    let mode = select(vec!["DOWN", "UP", "QUERY", "down", ""]);
    let kind = select(vec!["FIRM", "SUBFIRM", "PROFILE", "LOG", "PHOTO", "OTHER"]);
    (0..10_usize, name, mode, kind, 1..4_u32, value, any_json()).prop_map(|(form, name, mode, kind, number, value, any)| match form {
        0 | 1 => json!({"params": [{name: value}]}),
        2 => json!({"params": [name, value]}),
        3 => json!({"params": [{name: value, "1": true}, {"2": any}]}),
        4 => json!({"respCode": value, "respCont": any}),
        5 => json!({"fileMode": mode, "productVer": 2, "startTime": value, "stopTime": any,
            "fileInfo": [{"fileType": kind, "devNum": number, "software": "1.1.0.0", "hardware": "1.0", "url": "http://h/f",
              "md5": "0cc175b9c0f1b6a831c399e269772661", "checkSum": 97}]}),
        6 => json!({"fileMode": mode, "fileInfo": any}),
        7 => json!({"fileMode": "DOWN", "productVer": 2, "stopTime": 5, "fileInfo": [
            {"fileType": "SUBFIRM", "devNum": number, "software": "1.1.0.0", "hardware": "2.1", "url": "http://h/f",
              "md5": "0cc175b9c0f1b6a831c399e269772661", "checkSum": 97},
            {"fileType": "FIRM", "software": "3.1", "hardware": "1", "url": "http://h/g",
              "md5": "0cc175b9c0f1b6a831c399e269772661", "checkSum": 97}]}),
        8 => json!({"fileMode": "UP", "startTime": value, "fileInfo": [{"fileType": "LOG", "url": "http://h/u"}]}),
        _ => any,
    })
}

fn any_data() -> impl Strategy<Value = Data> {
    prop_oneof![
        6 => any_content().prop_map(Data::Sealed),
        2 => any_content().prop_map(Data::Clear),
        1 => any_content().prop_map(Data::SealedOtherwise),
        1 => "(\\{\\}|\\[\\]|\\PC{0,8})".prop_map(Data::SealedText),
    ]
}

fn any_registered() -> impl Strategy<Value = Registered> {
    let members = vec!["devId", "mqttUrl", "mqttClientId", "mqttUser", "mqttPassword"];
    prop_oneof![
        5 => Just(Registered::Done),
        1 => Just(Registered::WithoutSecret),
        1 => select(members).prop_map(Registered::Without),
        1 => (-1..8_i64).prop_map(Registered::Code),
        1 => select(vec![200_u16, 204, 302, 400, 404, 429, 500]).prop_map(Registered::Status),
        1 => Just(Registered::OtherId),
        1 => any::<Vec<u8>>().prop_map(Registered::Bytes),
        1 => Just(Registered::Failed),
    ]
}

fn any_phase() -> impl Strategy<Value = Phase> {
    let failure = select(vec![Failure::Download, Failure::Digest, Failure::Install, Failure::Policy]);
    prop_oneof![
        3 => select(vec![Phase::Downloading, Phase::Installing, Phase::Finished]),
        1 => failure.prop_map(Phase::Failed),
    ]
}

/// One thing, that takes less than this time.
pub fn any_step(longest_ms: u64) -> impl Strategy<Value = Step> {
    let cmd = prop_oneof![
        10 => select(vec![2009_i64, 2009, 2011, 2011, 2011, 2013, 2019, 2019]),
        1 => Just(2017),
        1 => select(vec![0_i64, 1100, 2000, 2001, 2004, 2005, 2006, 2007, 2012, 2014, 2015, 2018, 2021]),
        1 => any::<i64>(),
    ];
    // A few numbers, so that they come again.
    let id = prop_oneof![6 => (0..6_i64).prop_map(Value::from), 1 => any_json()];
    let dir = prop_oneof![8 => Just("30"), 1 => select(vec!["03", "", "12", "x"])];
    let timestamp = prop_oneof![
        6 => Just(json!(null)),
        1 => (1_600_000_000_000..1_800_000_000_000_i64).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any_json(),
    ];
    let code = prop_oneof![6 => Just(json!(0)), 1 => Just(json!(2)), 1 => Just(json!(7)), 1 => any_json()];
    let day = 86_400_000_i64;
    prop_oneof![
        30 => any_happening(longest_ms).prop_map(Step::Happens),
        12 => (cmd, id, dir, timestamp, any_data())
            .prop_map(|(cmd, id, dir, timestamp, data)| Step::Say { cmd, id, dir, timestamp, data }),
        1 => any::<Vec<u8>>().prop_map(Step::Bytes),
        5 => (any::<Index>(), code).prop_map(|(which, code)| Step::Greet(which, code)),
        4 => any_registered().prop_map(Step::Register),
        1 => (-day..day).prop_map(Step::Ahead),
        1 => any::<bool>().prop_map(Step::StoreFails),
        4 => (any_phase(), 0..=100_u8).prop_map(|(phase, percent)| Step::Update(phase, percent)),
        2 => prop::collection::vec((any::<bool>(), any::<bool>(), "[12]?"), 0..3).prop_map(Step::Subdevices),
        1 => prop::option::of(0..3_u64).prop_map(Step::LogsSent),
    ]
}

pub fn any_settings() -> impl Strategy<Value = Value> {
    (0..3_u8, prop::collection::vec(any::<bool>(), 8), 0..3_u8).prop_map(|(auth_level, flags, qos)| {
        let mut settings = level(auth_level);
        let common = json!({
            "mqtt_encrypt_data": flags[0], "strict_encryption": flags[1], "require_connect_ack": flags[2],
            "report_on_connect": flags[3], "unbind_clears_registration": flags[4], "will_enabled": flags[5],
            "timestamp_type": if flags[6] { "number" } else { "string" }, "qos": qos, "connect_attempts": 1 + qos,
            "ota_allowed_hosts": if flags[7] { json!(["h"]) } else { json!([]) }, "force_offline_hold_s": 20,
        });
        settings.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
        settings
    })
}
