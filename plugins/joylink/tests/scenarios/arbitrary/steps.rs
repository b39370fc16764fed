//! What may happen to a session, and how likely.

use polylink_plugin_sdk::testing::Setup;
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{DatapointId, Value as Datum};
use proptest::prelude::*;
use serde_json::json;

use crate::packet::Kind;
use crate::scenarios::stage::{FEEDID, bond, bound, control, gateway, raw, scripted, unbound};
use crate::wire::{Code, CodeAnswer, FeedId, OtaAnswer, Script, SubScript, biz};

#[derive(Clone, Debug)]
pub enum Step {
    /// The cloud's stream brings these bytes.
    Tcp(Vec<u8>),
    /// The cloud says this under the session key.
    Cloud(Kind, Vec<u8>),
    /// As above, spoilt.
    SpoiltCloud(Kind, Vec<u8>, usize, u8),
    Datagram(usize, Vec<u8>),
    /// An app says this under a key.
    App(usize, Kind, Vec<u8>),
    SpoiltApp(usize, Kind, Vec<u8>, usize, u8),
    /// An app binds something: under an exchanged key.
    Bind(Kind, Vec<u8>),
    Discover,
    Opened,
    LetIn(bool),
    Cut,
    Full(bool),
    Sockets(bool),
    Outcome(usize, u8, Values, Option<Vec<u8>>),
    Report(u32, u8, Option<usize>, Body),
    Script(usize, u8, i64, Vec<u8>),
    Loaded,
    Module(u8),
    Network(bool),
    Subdevices(u8),
    /// The host's oldest update that is not over.
    Update(u8),
    StoreFails(bool),
    Clock(i64, u8),
    Advance(u64),
    Restart,
    /// What usually happens next.
    ComeIn,
    /// The cloud answers all uploads.
    Answer,
}

#[derive(Clone, Debug)]
pub enum Body {
    Values(Values),
    Event(u32, Values),
    Raw(Vec<u8>),
}

pub fn any_setup() -> impl Strategy<Value = Setup> {
    let changes = prop::sample::select(vec![
        json!({}),
        json!({"panel_results": false, "rebind": "allow", "snapshot_delay_s": 0}),
        json!({"lan_replay": "not_equal", "async_queue": 1, "wan_session_enctype": 4, "rebind": "allow"}),
        json!({"check_auth_random": false, "heartbeat_s": 1, "lost_replies": 1, "upload_timeout_s": 1}),
        json!({"max_tasks": 1, "max_subdevs": 1, "ota_report_s": 1}),
        json!({"lan_time_window_s": 60, "lan_enabled": false}),
    ]);
    (changes, 0_u8..7).prop_map(|(changes, which)| match which {
        0 => unbound(changes),
        1 => bound(changes),
        2 => scripted(changes),
        3 => raw(changes),
        4 => gateway(changes),
        5 => {
            let more = json!({"product_uuid": "", "product_uuid_property": "note"});
            unbound(crate::scenarios::stage::with(changes, more))
        }
        _ => {
            let more = json!({"information": ["weather"], "information_property": "note", "information_every_s": 60});
            bound(crate::scenarios::stage::with(changes, more))
        }
    })
}

fn any_values() -> impl Strategy<Value = Values> {
    let value = prop_oneof![
        any::<bool>().prop_map(Datum::Bool),
        any::<i64>().prop_map(Datum::Int),
        (any::<i64>(), 0_u8..19).prop_map(|(mantissa, scale)| Datum::Decimal { mantissa, scale }),
        (0_u32..4).prop_map(Datum::Enum),
        "[A-Z0-9]{6}".prop_map(Datum::Text),
        any::<Vec<u8>>().prop_map(Datum::Bytes),
        Just(Datum::Json("{}".to_owned())),
        Just(Datum::Json("no JSON".to_owned())),
    ];
    prop::collection::vec(((0_u32..9).prop_map(DatapointId), value), 0..4)
}

fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        any_values().prop_map(Body::Values),
        (0_u32..2, any_values()).prop_map(|(id, values)| Body::Event(id, values)),
        any::<Vec<u8>>().prop_map(Body::Raw),
    ]
}

fn any_content() -> impl Strategy<Value = Vec<u8>> {
    let recipe = json!({"at": 1, "code": 1050, "feed_id": 1, "task_id": 9, "subTask": [
        {"id": 1, "index": 1, "streams": [{"stream_id": "n", "current_value": 5}]},
        {"id": 2, "index": 2, "streams": [{"stream_id": "unknown", "current_value": 5}]}]});
    prop_oneof![
        any::<i64>().prop_map(|n| control(json!({"n": n}))),
        Just(control(json!({"clean": "{\"d\":1}"}))),
        Just(control(json!({"unknown": 1}))),
        Just(recipe.to_string().into_bytes()),
        any::<Vec<u8>>(),
    ]
}

fn any_script() -> impl Strategy<Value = Vec<u8>> {
    let code = prop::sample::select(vec![biz::CONTROL, biz::SNAPSHOT, biz::RECIPE, biz::UNBIND, biz::UNKNOWN]);
    (code, any::<u32>(), any_content())
        .prop_map(|(biz_code, serial, content)| Script { biz_code, serial, content }.encode())
}

fn any_sub_script() -> impl Strategy<Value = Vec<u8>> {
    let code = prop::sample::select(vec![biz::CONTROL, biz::SNAPSHOT, biz::RECIPE]);
    (code, any::<u32>(), any_content()).prop_map(|(biz_code, serial, content)| {
        let feedid = FeedId::new("3003").expect("an id");
        let key = crate::scenarios::stage::accesskey().cipher_key();
        SubScript::seal(biz_code, serial, feedid, &key, &content).encode()
    })
}

/// A request about timers, behind the time: task and number.
fn any_timers() -> impl Strategy<Value = Vec<u8>> {
    let numbers =
        prop::sample::select(vec![1089_u32, 1090, 1091, 1092, 1093, 1094, 1095, 1096, 1098, 1099, 1100, 1101]);
    (numbers, any::<u32>(), any::<Vec<u8>>()).prop_map(|(number, serial, rest)| {
        [&number.to_le_bytes()[..], &serial.to_le_bytes(), &FeedId::new(FEEDID).expect("an id").field()[..], &rest]
            .concat()
    })
}

/// Something that this type usually carries.
fn any_message() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let code = |code: i32| CodeAnswer(Code(code)).encode();
    let order = |version: i32| {
        json!({"cmd": "ota", "serial": 1, "data": {"feedid": FEEDID, "productuuid": "XDFSSD", "version": version,
            "versionname": "x", "crc32": 1, "url": "http://image.example/1"}})
    };
    let video = json!({"feed_id": 1, "control": [{"stream_id": "push_stream", "current_value": "{}"}]});
    let video = Script { biz_code: biz::CONTROL, serial: 1, content: video.to_string().into_bytes() };
    prop_oneof![
        6 => any_script().prop_map(|body| (Kind::Command, body)),
        3 => any_script().prop_map(|body| (Kind::Script, body)),
        2 => any_sub_script().prop_map(|body| (Kind::SubCommand, body)),
        2 => any_sub_script().prop_map(|body| (Kind::SubScript, body)),
        3 => any_timers().prop_map(|body| (Kind::Timers, body)),
        3 => (-1..2).prop_map(move |value| (Kind::Upload, code(value))),
        1 => (-1..2).prop_map(move |value| (Kind::Heartbeat, code(value))),
        2 => (1..12).prop_map(move |version| (Kind::OtaOrder, order(version).to_string().into_bytes())),
        1 => Just((Kind::OtaStatus, OtaAnswer::of(Code::SUCCESS, 1).encode())),
        1 => Just((Kind::VideoAddress, video.encode())),
        2 => any_content().prop_map(|content| (Kind::Json, [b"{\"cmd\":5,\"data\":", &content[..], b"}"].concat())),
        1 => Just((Kind::Json, b"{\"cmd\":4}".to_vec())),
        1 => Just((Kind::SubJson, b"{\"cmd\":4,\"feedid\":\"3003\"}".to_vec())),
        1 => Just((Kind::AddSubDevice, b"{\"cmd\":6,\"data\":{\"mac\":\"a1\",\"productuuid\":\"oven\",\"protocol\":1}}".to_vec())),
        2 => (prop::sample::select(Kind::ALL), any::<Vec<u8>>()),
    ]
}

fn any_bond() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    prop::sample::select(vec![
        (Kind::Authorization, bond(json!({}))),
        (Kind::Authorization, bond(json!({"feedid": "2002"}))),
        (Kind::Authorization, bond(json!({"lancon": 0}))),
        (Kind::Authorization, bond(json!({"feedid": ""}))),
        (Kind::SubAuthorization, bond(json!({"feedid": "3003", "mac": "a1", "productuuid": "oven"}))),
        (Kind::SubAuthorization, bond(json!({"feedid": FEEDID, "mac": "a1", "productuuid": "oven"}))),
    ])
    .prop_map(|(kind, bond)| (kind, bond.to_string().into_bytes()))
}

pub fn any_step() -> impl Strategy<Value = Step> {
    let few = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    let ms = prop::sample::select(vec![0_u64, 1, 500, 1_000, 5_000, 10_000, 61_000, 600_000]);
    prop_oneof![
        1 => any::<Vec<u8>>().prop_map(Step::Tcp),
        14 => any_message().prop_map(|(kind, body)| Step::Cloud(kind, body)),
        2 => (any_message(), few(), any::<u8>())
            .prop_map(|((kind, body), at, byte)| Step::SpoiltCloud(kind, body, at, byte)),
        1 => (0_usize..3, any::<Vec<u8>>()).prop_map(|(app, bytes)| Step::Datagram(app, bytes)),
        10 => (0_usize..3, any_message()).prop_map(|(app, (kind, body))| Step::App(app, kind, body)),
        2 => (0_usize..3, any_message(), few(), any::<u8>())
            .prop_map(|(app, (kind, body), at, byte)| Step::SpoiltApp(app, kind, body, at, byte)),
        3 => any_bond().prop_map(|(kind, body)| Step::Bind(kind, body)),
        1 => Just(Step::Discover),
        2 => Just(Step::Opened),
        2 => any::<bool>().prop_map(Step::LetIn),
        2 => Just(Step::Cut),
        2 => any::<bool>().prop_map(Step::Full),
        1 => any::<bool>().prop_map(Step::Sockets),
        10 => (few(), 0_u8..8, any_values(), any::<Option<Vec<u8>>>())
            .prop_map(|(which, result, values, document)| Step::Outcome(which, result, values, document)),
        10 => (0_u32..3, 0_u8..8, prop::option::of(few()), any_body())
            .prop_map(|(device, cause, because, body)| Step::Report(device, cause, because, body)),
        8 => (few(), 0_u8..12, -1_i64..40, any_content())
            .prop_map(|(which, result, length, bytes)| Step::Script(which, result, length, bytes)),
        2 => Just(Step::Loaded),
        1 => (0_u8..6).prop_map(Step::Module),
        1 => any::<bool>().prop_map(Step::Network),
        1 => (0_u8..8).prop_map(Step::Subdevices),
        2 => (0_u8..7).prop_map(Step::Update),
        1 => any::<bool>().prop_map(Step::StoreFails),
        1 => (any::<i64>(), 0_u8..4).prop_map(|(unix_ms, quality)| Step::Clock(unix_ms, quality)),
        6 => ms.prop_map(Step::Advance),
        1 => Just(Step::Restart),
        8 => Just(Step::ComeIn),
        4 => Just(Step::Answer),
    ]
}
