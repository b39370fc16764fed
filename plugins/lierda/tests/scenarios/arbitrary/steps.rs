//! What may come: a grammar of steps, most of which make some sense.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::services::ota::{Failure, Phase, Update};
use polylink_plugin_sdk::testing::witness::{Happening, any_happening};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub enum Step {
    Happens(Happening),
    Bytes(usize, Vec<u8>),
    /// A message of the platform; no code: one that usually comes there.
    Say {
        topic: usize,
        code: Option<i64>,
        name: Value,
        payload: Payload,
    },
    /// The platform's answer to something the device sent, and whether it is encrypted.
    Answer(Index, Value, bool),
    Authentication {
        which: Index,
        code: i64,
        secret: bool,
        session: Option<usize>,
    },
    Returned(Index, Result<Option<Vec<u8>>, Reason>),
    /// The script is loaded, or there is no room for it now.
    Loaded(bool),
    /// The updates are now these: ids and phases.
    Updates(Vec<(u8, u8)>),
}

#[derive(Clone, Debug)]
pub enum Payload {
    Clear(Value),
    Sealed(usize, String),
}

/// What sessions are made of; payloads are encrypted by one of them.
pub const SESSIONS: [(&str, u64); 4] =
    [("4655434B", 128), ("5A5A0001", 4), ("zz", 0), ("0123456789ABCDEF0123", u64::MAX)];

/// Below the device's own.
pub const TOPICS: [&str; 26] = [
    "downlink",
    "downloadlink",
    "firmware_report_ack",
    "ask_firmware",
    "ota_notify",
    "ask_config",
    "down_config",
    "download_config",
    "update_time_ack",
    "uplink_ack",
    "model/property/ask",
    "model/property/set",
    "model/property/report_ack",
    "model/event/lowBattery/report_ack",
    "model/service/switch",
    "model/service/reset",
    "model/service/unknown",
    "model/history/data/report_ack",
    "model/hex/report_ack",
    "model/hex/downlink",
    "model/hex_ack",
    "uplink",
    "model/hex",
    "model/service/switch/ack",
    "nothing",
    "",
];

/// What usually comes on the first of [`TOPICS`].
pub const CODES: [&[i64]; 21] = [
    &[1, 3, 4, 7, 7, 7],
    &[4, 7],
    &[8],
    &[13],
    &[9],
    &[14],
    &[14],
    &[14],
    &[29],
    &[4],
    &[23],
    &[20],
    &[16],
    &[17],
    &[21],
    &[21],
    &[21],
    &[27],
    &[18, 19, 26],
    &[22, 24, 25],
    &[28],
];

fn any_json() -> impl Strategy<Value = Value> {
    let text = select(vec!["n", "switch", "temp", "on", "2.0", "http://h/f", "d1", "0A0B", "200", "other"]);
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9._/+#-]{0,12}".prop_map(Value::from),
        text.prop_map(Value::from),
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
        "Code",
        "Data",
        "params",
        "identify",
        "value",
        "servicIdentify",
        "serviceIdentify",
        "Settings",
        "Host",
        "Port",
        "SessionID",
        "Nonce",
        "DeviceSecret",
        "DownID",
        "SoftVer",
        "SoftSize",
        "Url",
        "MD5",
        "Type",
        "Module",
        "data",
        "n",
        "switch",
        "temp",
        "on",
        "reset",
        "timestamp",
        "timezone",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "[a-z]{0,6}"]
}

/// What the platform might say, more or less; much of it is right somewhere.
fn any_content() -> impl Strategy<Value = Value> {
    let right = select(vec![
        json!({"params": [{"identify": "n", "value": "5"}]}),
        json!({"params": ["n", "temp"]}),
        json!({"servicIdentify": "switch", "params": {"on": 1}}),
        json!({"data": "00"}),
        json!({"n": 5}),
        json!({"Settings": {"n": 5}}),
        json!({"Code": "200", "Data": {"timestamp": 1_704_067_200_000_i64, "timezone": "Asia/Shanghai"}}),
        json!("00"),
        json!("0102"),
        json!(""),
    ]);
    let value = prop_oneof![(-2..1_000_001_i64).prop_map(Value::from), any::<bool>().prop_map(Value::from), any_json()];
    let name = select(vec!["n", "switch", "temp", "on", "reset", "unknown"]);
    let other = (0..7_usize, name, value, any_json()).prop_map(|(form, name, value, any)| match form {
        0 => json!({"params": [{"identify": name, "value": value}]}),
        1 => json!({"servicIdentify": name, "params": {name: value}}),
        2 => json!({"params": [name, name]}),
        3 => json!({"Settings": {"Host": if value == true { json!("other") } else { any }, "Port": value, name: 1}}),
        4 => json!({"Type": 2, "Url": "http://h/f", "SoftVer": name, "SoftSize": value, "DownID": name,
            "MD5": "0CC175B9C0F1B6A831C399E269772661"}),
        5 => json!({"Code": "200", "Data": {"timestamp": value, "timezone": name}}),
        _ => any,
    });
    prop_oneof![2 => right, 1 => other]
}

fn any_payload() -> impl Strategy<Value = Payload> {
    // Mostly of the session that the device has.
    let session = || prop_oneof![4 => Just(0), 1 => 0..SESSIONS.len()];
    let text =
        prop_oneof![4 => any_content().prop_map(|content| content.to_string()), 1 => "(0A|[0-9a-f]{0,8}|\\PC{0,8})"];
    prop_oneof![
        4 => any_content().prop_map(Payload::Clear),
        3 => (session(), text).prop_map(|(session, text)| Payload::Sealed(session, text)),
        1 => (0..SESSIONS.len()).prop_map(|session| {
            let (id, nonce) = SESSIONS[session];
            Payload::Clear(json!({"SessionID": id, "Nonce": nonce}))
        }),
    ]
}

/// A few names, so that they come again.
fn any_name() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (0..4_i64).prop_map(Value::from),
        1 => (0..4_i64).prop_map(|number| Value::from(number.to_string())),
        1 => any_json(),
    ]
}

/// One thing, that takes less than this time.
pub fn any_step(longest_ms: u64) -> impl Strategy<Value = Step> {
    let answer = prop_oneof![4 => select(vec![json!("200"), json!(200), json!("4001")]), 1 => any_json()];
    let session = prop_oneof![Just(None), (0..SESSIONS.len()).prop_map(Some)];
    // Mostly where commands come.
    let topic = prop_oneof![
        4 => select(vec!["downlink", "downloadlink", "model/property/set", "model/service/switch", "model/hex/downlink"])
            .prop_map(|name| TOPICS.iter().position(|topic| *topic == name).expect("it is one of them")),
        3 => 0..TOPICS.len(),
    ];
    let code = prop_oneof![6 => Just(None), 1 => (-1..32_i64).prop_map(Some), 1 => any::<i64>().prop_map(Some)];
    let decoded = select(vec![r#"{"n":5}"#, r#"["n"]"#, r#"{"service":"switch","params":{"on":1}}"#, "{}", "no", ""]);
    let reason = select(vec![Reason::Other, Reason::Timeout, Reason::UnknownHandle, Reason::Closed, Reason::Quota]);
    let returned = prop_oneof![
        6 => decoded.prop_map(|text| Ok(Some(text.as_bytes().to_vec()))),
        1 => Just(Ok(None)),
        1 => reason.prop_map(Err),
    ];
    prop_oneof![
        30 => any_happening(longest_ms).prop_map(Step::Happens),
        24 => (topic, code, any_name(), any_payload())
            .prop_map(|(topic, code, name, payload)| Step::Say { topic, code, name, payload }),
        1 => (0..TOPICS.len(), any::<Vec<u8>>()).prop_map(|(topic, bytes)| Step::Bytes(topic, bytes)),
        8 => (any::<Index>(), answer, any::<bool>()).prop_map(|(which, code, sealed)| Step::Answer(which, code, sealed)),
        2 => (any::<Index>(), 0..8_i64, any::<bool>(), session)
            .prop_map(|(which, code, secret, session)| Step::Authentication { which, code, secret, session }),
        5 => (any::<Index>(), returned).prop_map(|(which, result)| Step::Returned(which, result)),
        1 => any::<bool>().prop_map(Step::Loaded),
        2 => prop::collection::vec(any::<(u8, u8)>(), 0..4).prop_map(Step::Updates),
    ]
}

/// One of a few updates, in any phase.
pub fn update((id, phase): (u8, u8)) -> Update {
    let ids = ["default/n", "default/switch", "default/temp", "other/n", "nonsense"];
    let phase = match phase % 8 {
        0 => Phase::Waiting,
        1 => Phase::Downloading,
        2 => Phase::Installing,
        3 => Phase::Failed(Failure::Download),
        4 => Phase::Failed(Failure::Cancelled),
        _ => Phase::Finished,
    };
    Update { id: ids[usize::from(id) % ids.len()].into(), version: "n".into(), phase, ..Update::default() }
}

/// Whether the device speaks raw, and the settings.
pub fn any_setup() -> impl Strategy<Value = (bool, Value)> {
    let kind = select(vec!["json", "passthrough", "hex"]);
    let flags = prop::collection::vec(any::<bool>(), 10);
    (kind, flags).prop_map(|(kind, flags)| {
        let raw = kind != "json" && flags[0];
        let pick = |flag: bool, yes: &str, no: &str| if flag { yes.to_owned() } else { no.to_owned() };
        let mut settings = json!({
            "product_kind": kind, "encrypted": flags[1], "encrypt_scope": pick(flags[2], "all", "app_data"),
            "connect_type": u8::from(flags[3]), "use_plus_wildcard": flags[4], "allow_broker_change": flags[5],
            "uplink_acks": pick(flags[6], "broker", "platform"), "hex_uplink": pick(flags[7], "full", "framed"),
            "auth_every_start": flags[8], "session_content": pick(flags[9], "bytes", "text"),
            "config_properties": ["n", "temp"], "fatal_retry_s": 60,
        });
        if kind == "hex" && !raw {
            settings["script"] = json!("the product's own");
        }
        (raw, settings)
    })
}
