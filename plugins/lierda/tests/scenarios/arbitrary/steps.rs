//! What may come: a grammar of steps, most of which make some sense.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::services::ota::{Failure, Phase, Update};
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub enum Step {
    Bytes(usize, Vec<u8>),
    Message {
        topic: usize,
        header_ctrl: Option<i64>,
        id: usize,
        payload: Payload,
    },
    /// The acknowledgement of something the device said lately, with this code.
    Ack(usize, Value),
    Authentication {
        code: i64,
        secret: bool,
        session: Option<usize>,
    },
    Grant(u8),
    Publish(usize, Option<Reason>),
    Outcome(usize, u8, i64),
    Reports {
        n: usize,
        what: u8,
        value: i64,
        age_ms: i64,
    },
    Script(usize, u8),
    Advance(u64),
    Clock(i64, u8),
    Cut,
    Accept,
    Refuse(u8),
    Module(u8),
    Network(bool),
    /// The updates are now these: ids and phases.
    Updates(Vec<(u8, u8)>),
    Restart,
    /// What usually happens next, so that much of it happens while the device is online.
    ComeOnline,
}

#[derive(Clone, Debug)]
pub enum Payload {
    Clear(Value),
    Sealed(usize, Value),
    SealedText(usize, String),
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
    let text =
        prop::sample::select(vec!["n", "switch", "temp", "on", "2.0", "http://h/f", "d1", "0A0B", "200", "other"]);
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
    let known = prop::sample::select(vec![
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

/// What the platform might say, more or less.
fn any_content() -> impl Strategy<Value = Value> {
    let value = prop_oneof![(-2..1_000_001_i64).prop_map(Value::from), any::<bool>().prop_map(Value::from), any_json()];
    let name = prop::sample::select(vec!["n", "switch", "temp", "on", "reset", "unknown"]);
    (0..9_usize, name, value, any_json()).prop_map(|(form, name, value, any)| match form {
        0 => json!({"params": [{"identify": name, "value": value}]}),
        1 => json!({"servicIdentify": name, "params": {name: value}}),
        2 => json!({"params": [name, name]}),
        3 => json!({"Settings": {"Host": if value == true { json!("other") } else { any }, "Port": value, name: 1}}),
        4 => json!({"Type": 2, "Url": "http://h/f", "SoftVer": name, "SoftSize": value, "DownID": name,
            "MD5": "0CC175B9C0F1B6A831C399E269772661"}),
        5 => json!({name: value}),
        6 => json!({"Code": "200", "Data": {"timestamp": value, "timezone": name}}),
        7 => json!("0A0B"),
        _ => any,
    })
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        4 => any_content().prop_map(Payload::Clear),
        2 => (0..SESSIONS.len(), any_content()).prop_map(|(session, content)| Payload::Sealed(session, content)),
        1 => (0..SESSIONS.len(), "(0A|[0-9a-f]{0,8}|\\PC{0,8})")
            .prop_map(|(session, text)| Payload::SealedText(session, text)),
        1 => (0..SESSIONS.len()).prop_map(|session| {
            let (id, nonce) = SESSIONS[session];
            Payload::Clear(json!({"SessionID": id, "Nonce": nonce}))
        }),
    ]
}

pub fn any_step() -> impl Strategy<Value = Step> {
    let code = prop_oneof![
        4 => Just(json!("200")), 2 => Just(json!(200)), 2 => Just(json!("4001")), 1 => any_json()
    ];
    let reason = prop_oneof![
        3 => Just(None),
        1 => prop::sample::select(vec![Reason::Quota, Reason::Invalid, Reason::Closed, Reason::UnknownHandle]).prop_map(Some),
    ];
    let session = prop_oneof![Just(None), (0..SESSIONS.len()).prop_map(Some)];
    let ms = prop_oneof![4 => 0..1_100_u64, 3 => 0..20_000_u64, 1 => 0..4_000_000_u64];
    let clock =
        prop_oneof![1_600_000_000_000..1_800_000_000_000_i64, any::<i32>().prop_map(i64::from), Just(0), Just(-5)];
    let age = prop_oneof![4 => Just(0), 2 => 0..200_000_i64, 1 => any::<i32>().prop_map(i64::from)];
    let header_ctrl = prop_oneof![6 => Just(None), 1 => (0..31_i64).prop_map(Some), 1 => any::<i64>().prop_map(Some)];
    prop_oneof![
        1 => (0..TOPICS.len(), any::<Vec<u8>>()).prop_map(|(topic, bytes)| Step::Bytes(topic, bytes)),
        12 => (0..TOPICS.len(), header_ctrl, 0..12_usize, any_payload())
            .prop_map(|(topic, header_ctrl, id, payload)| Step::Message { topic, header_ctrl, id, payload }),
        6 => (0..64_usize, code).prop_map(|(which, code)| Step::Ack(which, code)),
        2 => (0..8_i64, any::<bool>(), session)
            .prop_map(|(code, secret, session)| Step::Authentication { code, secret, session }),
        1 => prop_oneof![Just(0x80_u8), 0..3_u8].prop_map(Step::Grant),
        3 => (0..64_usize, reason).prop_map(|(which, reason)| Step::Publish(which, reason)),
        4 => (0..16_usize, any::<u8>(), any::<i64>()).prop_map(|(which, how, value)| Step::Outcome(which, how, value)),
        5 => (prop_oneof![6 => 1..4_usize, 1 => 200..700_usize], any::<u8>(), any::<i64>(), age)
            .prop_map(|(n, what, value, age_ms)| Step::Reports { n, what, value, age_ms }),
        3 => (0..64_usize, any::<u8>()).prop_map(|(which, how)| Step::Script(which, how)),
        6 => ms.prop_map(Step::Advance),
        1 => (clock, 0..4_u8).prop_map(|(unix_ms, quality)| Step::Clock(unix_ms, quality)),
        1 => Just(Step::Cut),
        1 => Just(Step::Accept),
        1 => prop_oneof![Just(4_u8), Just(5), Just(3), any::<u8>()].prop_map(Step::Refuse),
        1 => any::<u8>().prop_map(Step::Module),
        1 => any::<bool>().prop_map(Step::Network),
        2 => prop::collection::vec(any::<(u8, u8)>(), 0..4).prop_map(Step::Updates),
        1 => Just(Step::Restart),
        4 => Just(Step::ComeOnline),
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
    let kind = prop::sample::select(vec!["json", "passthrough", "hex"]);
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
