//! Frames of the LAN protocol, and the messages of the cloud's server.

use polylink_gizwits::api::Kind;
use polylink_gizwits::packet::{
    ConfigSuccess, Decoder, DeviceInformation, Discovery, Frame, HotSpot, LogLine, LoginResult, Onboarding, P0Answer,
    P0Request, Passcode, ServerMessage, ask_applications, command,
};
use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::secret::Secret;
use serde_json::{Value, json};

use super::{Vector, unhex, vectors};

#[test]
fn every_lan_vector_holds() {
    let vectors = vectors("lan");
    for vector in &vectors {
        check(vector);
    }
    assert_eq!(vectors.len(), 37);
}

#[test]
fn every_server_message_holds() {
    let vectors = vectors("mqtt");
    for (id, expected) in [
        ("mqtt-011", ServerMessage::Applications(1)),
        ("mqtt-012", ServerMessage::FirmwareNews(Kind::Mcu)),
        (
            "mqtt-013",
            ServerMessage::FirmwareOffer {
                kind: Kind::Module,
                id: 9,
                url: "http://api.gizwits.com/dev/ota/download/9".to_owned(),
            },
        ),
    ] {
        let vector = vectors.iter().find(|vector| vector.id == id).unwrap();
        assert_eq!(ServerMessage::decode(&vector.bytes("payload_hex")), Ok(expected), "{id}");
    }
    let asked = vectors.iter().find(|vector| vector.id == "mqtt-010").unwrap();
    assert_eq!(ask_applications(), asked.bytes("payload_hex"));
}

fn check(vector: &Vector) {
    let id = &vector.id;
    let bytes = vector.bytes("hex");
    match vector.kind.as_str() {
        "frame" => {
            let frame = Frame::decode_datagram(&bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
            assert_eq!(json!(frame.command), vector.body["cmd"], "{id}");
            assert_eq!(frame.payload, vector.bytes("payload_hex"), "{id}");
            assert_eq!(frame.encode(), bytes, "{id}");
            let (fields, again) = fields(&frame);
            assert_eq!(again, frame, "{id}");
            for (name, value) in vector.body["fields"].as_object().into_iter().flatten() {
                assert_eq!(&fields[name], value, "{id}: {name}");
            }
        }
        "stream" => {
            for size in [1, bytes.len()] {
                let mut decoder = Decoder::new();
                let mut got = Vec::new();
                for chunk in bytes.chunks(size) {
                    decoder.push(chunk);
                    got.extend(std::iter::from_fn(|| decoder.next().unwrap()));
                }
                let expected: Vec<_> = vector.body["expect"].as_array().unwrap().iter().map(expected_frame).collect();
                assert_eq!(got, expected, "{id}");
            }
        }
        "reject" => {
            let error = Frame::decode_datagram(&bytes).unwrap_err();
            assert_eq!(error.reason(), vector.text("error"), "{id}");
        }
        // Both tell more bytes than there are: a reader waits for the rest, and takes nothing for a frame.
        "quirk" => {
            assert!(Frame::decode_datagram(&bytes).is_err(), "{id}");
            let mut decoder = Decoder::new();
            decoder.push(&bytes);
            assert_eq!(decoder.next(), Ok(None), "{id}");
            let payload = &bytes[8..];
            match payload.len() {
                2 => assert_eq!(Passcode::decode(payload), Ok(Passcode(Secret::new(Vec::new()))), "{id}"),
                _ => {
                    let information = DeviceInformation::decode(payload).unwrap();
                    let honest = information.frame();
                    assert_eq!(honest.payload, payload, "{id}");
                    assert_eq!(honest.encode()[4], 0x57, "{id}");
                }
            }
        }
        kind => panic!("{id}: unknown kind {kind}"),
    }
}

fn expected_frame(expected: &Value) -> Frame {
    let command = u16::try_from(expected["cmd"].as_u64().unwrap()).unwrap();
    Frame::new(command, unhex(expected["payload_hex"].as_str().unwrap()))
}

/// What is in a frame, in the words of the vectors; and the frame that is made of it again.
fn fields(frame: &Frame) -> (Value, Frame) {
    let payload = &frame.payload;
    match frame.command {
        command::DISCOVERED | command::ANNOUNCE => {
            let it = Discovery::decode(payload).unwrap();
            let (server, version) = it.server.clone().unwrap_or_default();
            let fields = json!({
                "did": it.did, "mac": hex::lower(&it.mac), "fw_ver": it.firmware_version, "product_key": it.product_key,
                "dev_attr_hex": format!("{:016x}", it.attributes.unwrap()), "api_server": server, "proto_ver": version,
            });
            (fields, it.frame(frame.command))
        }
        command::CONFIG_SUCCESS => {
            let it = ConfigSuccess::decode(payload).unwrap();
            (json!({ "mac": hex::lower(&it.mac), "product_key": it.product_key, "did": it.did }), it.frame())
        }
        command::ONBOARDING => {
            let it = Onboarding::decode(payload).unwrap();
            (json!({ "ssid": it.ssid, "password": it.password.expose() }), it.frame())
        }
        command::PASSCODE | command::LOGIN => {
            let it = Passcode::decode(payload).unwrap();
            let text = String::from_utf8(it.0.expose().clone()).unwrap();
            (json!({ "passcode": text }), it.frame(frame.command))
        }
        command::LOGIN_RESULT => {
            let it = LoginResult::decode(payload).unwrap();
            (json!({ "result": it as u8 }), it.frame())
        }
        command::DEVICE_INFORMATION_IS => {
            let it = DeviceInformation::decode(payload).unwrap();
            let fields = json!({
                "wifi_hard": it.module_hardware, "wifi_soft": it.module_software, "mcu_hard": it.mcu_hardware,
                "mcu_soft": it.mcu_software, "p0_ver": it.payload_version, "fw_id_hex": hex::lower(&it.firmware_id),
                "fw_ver": it.firmware_version, "product_key": it.product_key,
            });
            (fields, it.frame())
        }
        command::HOT_SPOTS_ARE => {
            let them = HotSpot::decode(payload).unwrap();
            let list: Vec<_> = them.iter().map(|it| json!({ "ssid": it.ssid, "power": it.power })).collect();
            (json!({ "hotspots": list }), HotSpot::frame(&them))
        }
        command::LOG_LINE => {
            let it = LogLine::decode(payload).unwrap();
            let fields = json!({ "level": it.level, "tag": it.tag, "source": it.source, "content": it.content });
            (fields, it.frame())
        }
        command::P0_REQUEST | command::NUMBERED_REQUEST => {
            let it = P0Request::decode(frame).unwrap().unwrap();
            (json!({ "sn": it.sn, "p0_hex": hex::lower(&it.p0) }), it.frame())
        }
        command::P0_REPORT | command::NUMBERED_ANSWER => {
            let it = P0Answer::decode(frame).unwrap().unwrap();
            let again = polylink_gizwits::packet::p0_answer(it.sn, &it.p0);
            (json!({ "sn": it.sn, "p0_hex": hex::lower(&it.p0) }), again)
        }
        _ => {
            assert!(payload.is_empty(), "a frame {:#x} has no payload", frame.command);
            (Value::Null, Frame::empty(frame.command))
        }
    }
}
