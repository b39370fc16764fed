//! Vectors of packets: header, cipher, and the message in it, both ways.

use polylink_joylink::crypto::{CipherKey, Key32, KeyPair, PublicKey};
use polylink_joylink::packet::{Kind, Packet, Route, enctype};
use polylink_joylink::wire::information::{InformationAnswer, InformationRequest};
use polylink_joylink::wire::recipe::{Progress, Recipe};
use polylink_joylink::wire::video::{VideoAnswer, VideoRequest};
use polylink_joylink::wire::{
    AddSubDevice, Answer, AsyncResult, AuthAnswer, AuthRequest, Authorization, CodeAnswer, DiscoveryAnswer,
    DiscoveryRequest, Heartbeat, Information, JsonAnswer, JsonRequest, OtaAnswer, OtaOrder, OtaStatus, RecipeReport,
    Script, SerialAnswer, SubAnswer, SubBeat, SubHeartbeat, SubScript, SubUpload, SubUploadAnswer, Unbind,
};
use polylink_plugin_sdk::hex;
use serde_json::{Value, json};

use super::{array, bytes, text};

pub fn check_packet(id: &str, input: &Value, expected: &Value) {
    let route = match text(&input["direction"]) {
        "app->device" | "app->gateway" => Route::AppToDevice,
        "device->app" | "gateway->app" => Route::DeviceToApp,
        "cloud->device" | "cloud->gateway" => Route::CloudToDevice,
        "device->cloud" | "gateway->cloud" => Route::DeviceToCloud,
        other => panic!("{id}: unknown direction {other}"),
    };
    let sent = bytes(&expected["packet_hex"]);
    let packet = Packet::decode_datagram(route, &sent).unwrap_or_else(|refused| panic!("{id}: {refused}"));
    check_header(id, &packet, input);
    assert_eq!(packet.opt, bytes(&input["opt_hex"]), "{id}");
    assert_eq!(packet.encode(route.network()).unwrap(), sent, "{id}");

    let plain = bytes(&input["plaintext_hex"]);
    let body = match key(id, &input["key"]) {
        None => {
            assert_eq!(packet.payload, plain, "{id}");
            packet.payload.clone()
        }
        Some(key) => {
            let opened = packet.open(&key).unwrap();
            assert_eq!(opened.plain(), plain, "{id}");
            assert_eq!(opened.timestamp, expected["fields"]["timestamp"], "{id}");
            let opt = packet.opt.clone();
            let sealed = Packet::seal(packet.kind, packet.enctype, opt, &key, opened.timestamp, opened.body());
            assert_eq!(sealed, packet, "{id}");
            opened.body().to_vec()
        }
    };
    if packet.enctype == enctype::EXCHANGED {
        let device = KeyPair::new(array(&input["key"]["receiver_private_hex"])).unwrap();
        assert_eq!(packet.open_exchanged(&device).unwrap().body(), body, "{id}");
    }

    let got = message(id, &packet, &body, id.contains("-rsp"), &input["inner"]);
    assert!(got.is_json || got.again == body, "{id}: {} is not {}", hex::lower(&got.again), hex::lower(&body));
    for (name, value) in expected["fields"].as_object().into_iter().flatten() {
        assert!(name == "timestamp" || got.fields[name] == *value, "{id}: {name} is {}, not {value}", got.fields[name]);
    }
    if expected["json"].is_object() {
        let json: Value = serde_json::from_slice(&got.json.unwrap()).unwrap();
        assert_eq!(json, expected["json"], "{id}");
    }
}

pub fn check_capture(id: &str, input: &Value, expected: &Value) {
    let sent = bytes(&input["packet_hex"]);
    let route = match (text(&expected["magic"]), id.ends_with("rsp"), id.contains("cloud")) {
        ("123455bb", false, _) => Route::AppToDevice,
        ("123455bb", true, _) => Route::DeviceToApp,
        (_, _, true) => Route::CloudToDevice,
        _ => Route::DeviceToCloud,
    };
    let packet = Packet::decode_datagram(route, &sent).unwrap_or_else(|refused| panic!("{id}: {refused}"));
    check_header(id, &packet, expected);
    assert_eq!(packet.encode(route.network()).unwrap(), sent, "{id}");
    let Some(plain) = expected["plaintext_hex"].as_str() else { return };
    let body = match key(id, &input["key"]) {
        None => packet.payload.clone(),
        Some(key) => {
            let opened = packet.open(&key).unwrap();
            assert_eq!(hex::lower(opened.plain()), plain, "{id}");
            opened.body().to_vec()
        }
    };
    match id {
        "cap-sdk-wan112-req" => {
            let key = Key32::from_text("cddf0000aaaabbbbccccddddeeeeffff").unwrap().cipher_key();
            let upload = SubUpload::decode(&body).unwrap();
            assert_eq!(upload.feedid.as_str(), "2540000000000000002", "{id}");
            let report = String::from_utf8(upload.open(&key).unwrap()).unwrap();
            let power = r#"{"code": 0,  "streams": [{ "current_value": 0, "stream_id": "power" }]}"#;
            assert_eq!(report, power, "{id}");
        }
        "cap-sdk-cloud9-rsp" => {
            let answer = AuthAnswer::decode(&packet.opt, &body).unwrap();
            assert_eq!((answer.opt_random, answer.random, answer.randoms_agree()), (Some(0), 3, false), "{id}");
        }
        "cap-sdk-wan110-req" => {
            let beat = SubHeartbeat::decode(&body).unwrap();
            assert_eq!((beat.subs.len(), beat.subs[0].feedid.as_str()), (4, "2540000000000000002"), "{id}");
        }
        _ => {
            let got = message(id, &packet, &body, id.ends_with("-rsp"), &Value::Null);
            assert!(got.is_json || got.again == body, "{id}");
        }
    }
}

fn check_header(id: &str, packet: &Packet, expected: &Value) {
    let got = json!([packet.kind as u8, packet.total, packet.index, packet.enctype, packet.reserved]);
    let wanted = ["type", "total", "index", "enctype", "reserved"].map(|name| expected[name].clone());
    assert_eq!(got, json!(wanted), "{id}");
}

fn key(id: &str, input: &Value) -> Option<CipherKey> {
    Some(match input["kind"].as_str() {
        None | Some("none") => return None,
        Some("key32") => Key32::new(array(&input["value_hex"])).cipher_key(),
        Some("ecdh") => {
            let app = KeyPair::new(array(&input["sender_private_hex"])).unwrap();
            let secret = app.agree(&PublicKey::from_text(text(&input["receiver_public_hex"])).unwrap());
            assert_eq!(hex::lower(secret.expose()), input["shared_secret_hex"], "{id}");
            secret.cipher_key()
        }
        Some(other) => panic!("{id}: unknown key {other}"),
    })
}

/// What was read of a message.
struct Message {
    /// The members of a structure.
    fields: Value,
    /// The JSON in it, read and written again.
    json: Option<Vec<u8>>,
    /// All of it, written again.
    again: Vec<u8>,
    /// Whether it is JSON, which may be written in several ways.
    is_json: bool,
}

/// Reads and writes the message that a packet carries.
fn message(id: &str, packet: &Packet, body: &[u8], answer: bool, inner: &Value) -> Message {
    let json = |text: Vec<u8>| Message { fields: json!({}), json: Some(text.clone()), again: text, is_json: true };
    let plain = |fields, again| Message { fields, json: None, again, is_json: false };
    let with = |fields, json, again| Message { fields, json: Some(json), again, is_json: false };
    match (packet.kind, answer) {
        (Kind::Discovery, false) => json(DiscoveryRequest::decode(body).unwrap().encode()),
        (Kind::Discovery, true) => json(DiscoveryAnswer::decode(body).unwrap().encode()),
        (Kind::Authorization, false) => json(Authorization::decode(body).unwrap().encode().expose().clone()),
        (Kind::SubAuthorization, false) => json(Authorization::decode_sub(body).unwrap().encode().expose().clone()),
        (Kind::Authorization | Kind::OtaStatus, true) => json(Answer::decode(body).unwrap().encode()),
        (Kind::SubAuthorization | Kind::AddSubDevice, true) => json(SubAnswer::decode(body).unwrap().encode()),
        (Kind::AddSubDevice, false) => json(AddSubDevice::decode(body).unwrap().encode()),
        (Kind::Json, false) => json(JsonRequest::decode(body).unwrap().encode()),
        (Kind::SubJson, false) => json(JsonRequest::decode_sub(body).unwrap().encode()),
        (Kind::Json | Kind::SubJson, true) => json(JsonAnswer::decode(body).unwrap().encode()),
        (Kind::OtaOrder, false) => json(OtaOrder::decode(body).unwrap().encode()),
        (Kind::OtaOrder, true) => json(OtaAnswer::decode(body).unwrap().encode()),
        (Kind::OtaStatus, false) => json(OtaStatus::decode(body).unwrap().encode()),
        (Kind::Script | Kind::Command | Kind::VideoAddress | Kind::VideoAnswer | Kind::Timers, _) => {
            let script = Script::decode(body).unwrap();
            let name = if answer { "resp_hex" } else { "cmd_hex" };
            let mut fields = json!({ "biz_code": script.biz_code, "serial": script.serial });
            fields[name] = hex::lower(&script.content).into();
            if let (Kind::Timers, Some(code)) = (packet.kind, script.content.first_chunk()) {
                fields["code"] = i32::from_le_bytes(*code).into();
            }
            with(fields, content(id, packet.kind, &script), script.encode())
        }
        (Kind::SubScript | Kind::SubCommand, _) => {
            let script = SubScript::decode(body).unwrap();
            let SubScript { biz_code, serial, feedid, .. } = script;
            let (key, content) = (inner_key(inner), bytes(&inner["plaintext_hex"]));
            assert_eq!(script.open(&key), Ok(content.clone()), "{id}");
            let again = SubScript::seal(biz_code, serial, feedid, &key, &content).encode();
            plain(json!({ "biz_code": biz_code, "serial": serial, "feedid": feedid }), again)
        }
        (Kind::CloudAuthentication, false) => {
            let request = AuthRequest::decode(&packet.opt, body).unwrap();
            assert!(request.randoms_agree(), "{id}");
            assert_eq!(AuthRequest::new(request.feedid, request.random).encode_opt(), packet.opt, "{id}");
            let (feedid, opt_random, random) = (request.feedid, request.opt_random, request.random);
            plain(json!({ "opt_feedid": feedid, "opt_random": opt_random, "random": random }), request.encode())
        }
        (Kind::CloudAuthentication, true) => {
            let answer = AuthAnswer::decode(&packet.opt, body).unwrap();
            assert!(answer.randoms_agree(), "{id}");
            assert_eq!(answer.encode_opt(), packet.opt, "{id}");
            let session_key = hex::lower(answer.session_key.expose());
            let fields =
                json!({ "opt_random": answer.opt_random, "random": answer.random, "session_key_hex": session_key });
            plain(fields, answer.encode())
        }
        (Kind::Heartbeat, false) => {
            let beat = Heartbeat::decode(body).unwrap();
            plain(json!({ "version": beat.version, "rssi": beat.rssi }), beat.encode())
        }
        (Kind::Heartbeat | Kind::Upload | Kind::SubHeartbeat, true) => {
            let answer = CodeAnswer::decode(body).unwrap();
            plain(json!({ "code": answer.0 }), answer.encode())
        }
        (Kind::Upload, false) => plain(json!({ "data_hex": hex::lower(body) }), body.to_vec()),
        (Kind::AsyncResult, _) => {
            let result = AsyncResult::decode(body).unwrap();
            let fields = json!({
                "biz_code": result.biz_code,
                "serial": result.serial,
                "feedid": result.feedid,
                "controltype": result.controltype,
                "tasktimestamp": result.executed_at,
                "id": result.id,
                "resp_hex": hex::lower(&result.content),
            });
            plain(fields, result.encode())
        }
        (Kind::Information, _) => {
            let information = Information::decode(body).unwrap();
            let info = if answer {
                let told = InformationAnswer::decode(&information.info).unwrap();
                assert_eq!(told.air().unwrap().pm25, "6", "{id}");
                assert_eq!(told.weather(), None, "{id}");
                told.encode()
            } else {
                InformationRequest::decode(&information.info).unwrap().encode()
            };
            let fields = json!({ "serial": information.serial, "length": information.info.len() });
            with(fields, info, information.encode())
        }
        (Kind::RecipeProgress, false) => {
            let report = RecipeReport::decode(body).unwrap();
            let progress = Progress::decode(&report.report).unwrap();
            with(json!({ "serial": report.serial }), progress.encode(), report.encode())
        }
        (Kind::RecipeProgress, true) => {
            let answer = SerialAnswer::decode(body).unwrap();
            plain(json!({ "serial": answer.serial, "code": answer.code }), answer.encode())
        }
        (Kind::SubHeartbeat, false) => {
            let beat = SubHeartbeat::decode(body).unwrap();
            let (sub, num) = (subs(&beat.subs), beat.subs.len());
            plain(json!({ "version": beat.version, "rssi": beat.rssi, "num": num, "sub": sub }), beat.encode())
        }
        (Kind::SubUnbind, _) => {
            let unbind = Unbind::decode(body).unwrap();
            let (sub, num) = (subs(&unbind.subs), unbind.subs.len());
            let fields = json!({ "biz_code": unbind.biz_code, "serial": unbind.serial, "num": num, "sub": sub });
            plain(fields, unbind.encode())
        }
        (Kind::SubUpload, false) => {
            let upload = SubUpload::decode(body).unwrap();
            let (key, report) = (inner_key(inner), bytes(&inner["plaintext_hex"]));
            assert_eq!(upload.open(&key), Ok(report.clone()), "{id}");
            plain(json!({ "feedid": upload.feedid }), SubUpload::seal(upload.feedid, &key, &report).encode())
        }
        (Kind::SubUpload, true) => {
            let answer = SubUploadAnswer::decode(body).unwrap();
            plain(json!({ "feedid": answer.feedid, "code": answer.code }), answer.encode())
        }
    }
}

/// The JSON in a script structure, read and written again if we have a type for it.
fn content(id: &str, kind: Kind, script: &Script) -> Vec<u8> {
    match (kind, script.biz_code) {
        (Kind::VideoAddress, _) => {
            let request = VideoRequest::decode(&script.content).unwrap();
            let push = request.push_stream().unwrap();
            assert_eq!((push.resolution, &*push.address), (240, "rtsp://jdserver.com"), "{id}");
            request.encode()
        }
        (Kind::VideoAnswer, _) => VideoAnswer::decode(&script.content).unwrap().encode().expose().clone(),
        (Kind::Command, 1050) => Recipe::decode(&script.content).unwrap().encode(),
        (Kind::Command, 150) => Answer::decode(&script.content).unwrap().encode(),
        _ => script.content.clone(),
    }
}

fn inner_key(inner: &Value) -> CipherKey {
    Key32::new(array(&inner["key32_hex"])).cipher_key()
}

fn subs(subs: &[SubBeat]) -> Value {
    let one =
        |sub: &SubBeat| json!({ "version": sub.version, "rssi": sub.rssi, "feedid": sub.feedid, "state": sub.state.0 });
    subs.iter().map(one).collect()
}
