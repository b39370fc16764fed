//! Subdevices as tests speak for them: the host's list, an app that binds them, and their keys.

use polylink_plugin_sdk::services::subdevices::{Radio, Request, Subdevice};
use polylink_plugin_sdk::testing::Setup;
use polylink_plugin_sdk::{Cause, Output, ReportBody};
use serde_json::{Value, json};

use crate::crypto::Key32;
use crate::packet::Kind;
use crate::scenarios::life::feedid;
use crate::scenarios::stage::{App, SERVER, Stage, gateway, n};
use crate::wire::{SubBeat, SubHeartbeat, SubScript, SubUpload, SubUploadAnswer, Unbind};

pub const PRODUCT: &str = "SUBDEV";

/// One of the host's list, that asks to join.
pub fn asking(index: u32, mac: &str) -> Subdevice {
    Subdevice {
        index,
        product: PRODUCT.to_owned(),
        address: mac.to_owned(),
        radio: Radio::Zigbee,
        accepted: false,
        online: true,
        signal_percent: Some(70),
        version: "3".to_owned(),
    }
}

/// One that belongs to the gateway.
pub fn joined(index: u32, mac: &str) -> Subdevice {
    Subdevice { accepted: true, ..asking(index, mac) }
}

/// Identity of the subdevice with this address.
pub fn feedid_of(mac: &str) -> String {
    format!("9{mac}")
}

/// Keys of the subdevice with this address, as an app tells them: for the cloud and for the local network.
pub fn keys_of(mac: &str) -> [String; 2] {
    ["c", "f"].map(|kind| format!("{kind}{mac:0<31}"))
}

fn key(text: &str) -> Key32 {
    Key32::from_text(text).expect("32 characters")
}

pub fn accesskey_of(mac: &str) -> Key32 {
    key(&keys_of(mac)[0])
}

pub fn localkey_of(mac: &str) -> Key32 {
    key(&keys_of(mac)[1])
}

/// What an app says to bind it.
pub fn binding(mac: &str) -> Value {
    let [accesskey, localkey] = keys_of(mac);
    json!({"data": {
        "feedid": feedid_of(mac), "accesskey": accesskey, "localkey": localkey, "joylink_server": [SERVER], "lancon": 1,
        "opt": {"room": mac}, "productuuid": PRODUCT, "mac": mac,
    }})
}

/// A bound gateway with this list.
pub fn with_list(list: Vec<Subdevice>) -> Setup {
    let mut setup = gateway(json!({}));
    setup.subdevices = list;
    setup
}

/// A gateway that works, whose subdevices an app has bound; everything answered.
#[track_caller]
pub fn with_bound(macs: &[&str]) -> (Stage, App) {
    let list = (1..).zip(macs).map(|(index, mac)| joined(index, mac)).collect();
    let mut stage = Stage::working(with_list(list));
    let mut app = App::new();
    app.discover(&mut stage);
    for mac in macs {
        assert_eq!(bind(&mut stage, &mut app, mac), 0);
        stage.host.advance(1_000);
    }
    stage.settle_down();
    (stage, app)
}

/// An app binds it (102); the code of the answer.
#[track_caller]
pub fn bind(stage: &mut Stage, app: &mut App, mac: &str) -> i64 {
    app.exchange(stage, Kind::SubAuthorization, &binding(mac));
    app.expect_code(stage, Kind::SubAuthorization)
}

/// What discovery shows of subdevices: address, state (0 bound, 1 waiting).
#[track_caller]
pub fn shown(stage: &mut Stage, app: &mut App) -> Vec<(String, i64)> {
    stage.host.advance(1_000);
    let found = app.discover(stage);
    let list = found["subdev"].as_array().expect("a list");
    list.iter().map(|sub| (sub["mac"].as_str().unwrap().to_owned(), sub["state"].as_i64().unwrap())).collect()
}

/// What the host was asked about subdevices.
pub fn requests(stage: &mut Stage) -> Vec<Request> {
    let outputs = stage.host.take_outputs().into_iter();
    outputs.filter_map(|output| if let Output::Subdevices(request) = output { Some(request) } else { None }).collect()
}

/// A subdevice has this value of `n`; the report's number.
#[track_caller]
pub fn report(stage: &mut Stage, index: u32, value: i64) -> u64 {
    stage.host.report_of(index, Cause::Change, None, ReportBody::Properties(vec![n(value)]))
}

/// The next packet is an upload for this subdevice (112), under its key; what it says. It is answered.
#[track_caller]
pub fn expect_upload(stage: &mut Stage, mac: &str) -> Value {
    let upload = SubUpload::decode(&stage.expect(Kind::SubUpload)).expect("an upload");
    assert_eq!(upload.feedid.as_str(), feedid_of(mac));
    let content = upload.open(&accesskey_of(mac).cipher_key()).expect("under its key");
    let answer = SubUploadAnswer { feedid: upload.feedid, code: crate::wire::Code::SUCCESS };
    stage.send(Kind::SubUpload, &answer.encode());
    crate::scenarios::stage::streams(&content)
}

/// The cloud commands it (111).
#[track_caller]
pub fn command(stage: &mut Stage, mac: &str, biz: u32, content: &[u8]) {
    let key = accesskey_of(mac).cipher_key();
    let request = SubScript::seal(biz, 77, feedid(&feedid_of(mac)), &key, content);
    stage.send(Kind::SubCommand, &request.encode());
}

/// The answer to that, under its key.
#[track_caller]
pub fn expect_answer(stage: &mut Stage, mac: &str) -> (u32, Value) {
    let answer = SubScript::decode(&stage.expect(Kind::SubCommand)).expect("an answer");
    assert_eq!((answer.serial, answer.feedid.as_str()), (77, feedid_of(mac).as_str()));
    let content = answer.open(&accesskey_of(mac).cipher_key()).expect("under its key");
    (answer.biz_code, serde_json::from_slice(&content).expect("JSON"))
}

/// The next packet is a heartbeat with subdevices: address, state and signal of each.
#[track_caller]
pub fn expect_beat(stage: &mut Stage) -> Vec<(String, u8, u16)> {
    let beat = SubHeartbeat::decode(&stage.expect(Kind::SubHeartbeat)).expect("a heartbeat");
    beat.subs.iter().map(|sub| (sub.feedid.as_str()[1..].to_owned(), sub.state.0, sub.rssi)).collect()
}

/// The cloud unbinds these (113); their states in the answer.
#[track_caller]
pub fn unbind(stage: &mut Stage, macs: &[&str]) -> Vec<u8> {
    stage.send(Kind::SubUnbind, &unbinding(macs));
    let answer = Unbind::decode(&stage.expect(Kind::SubUnbind)).expect("an answer");
    assert_eq!((answer.biz_code, answer.serial), (160, 5));
    answer.subs.iter().map(|sub| sub.state.0).collect()
}

/// What [`unbind`] says.
pub fn unbinding(macs: &[&str]) -> Vec<u8> {
    let sub = |mac: &&str| SubBeat {
        version: 0,
        rssi: SubBeat::NO_RSSI,
        feedid: feedid(&feedid_of(mac)),
        state: crate::wire::SubState::ONLINE,
    };
    Unbind { biz_code: 1060, serial: 5, subs: macs.iter().map(sub).collect() }.encode()
}
