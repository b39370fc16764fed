//! MQTT packets between device and cloud, as far as they are the plugin's: topics and payloads. The packets themselves are
//! made by the host.

use polylink_gizwits::auth::Did;
use polylink_gizwits::packet::{Frame, P0Request, p0_answer, p0_report};
use polylink_gizwits::topics::{self, Incoming};
use serde_json::Value;

use super::{Vector, unhex, vectors};

const KEY: &str = "6f3074fe43894547a4f1314bd7e3ae0b";

fn did() -> Did {
    Did::parse("AbCdEfGhIjKlMnOpQrStUv").expect("the DID of the vectors")
}

fn vector(id: &str) -> Vector {
    let found = vectors("mqtt").into_iter().chain(vectors("exchange")).find(|vector| vector.id == id);
    found.unwrap_or_else(|| panic!("no vector {id}"))
}

#[test]
fn the_recorded_subscriptions_are_ours_in_their_order() {
    let recorded = ["mqtt-002", "mqtt-003", "mqtt-004"].map(|id| vector(id).body["fields"]["topic"].clone());
    assert_eq!(topics::subscriptions(KEY, &did()).map(Value::from), recorded);
}

#[test]
fn the_recorded_report_has_our_topic_and_payload() {
    let fields = &vector("mqtt-006").body["fields"];
    assert_eq!(fields["topic"], topics::dev2app(&did()));
    let payload = unhex(fields["payload_hex"].as_str().expect("it has a payload"));
    // Behind version, length, flag and command stands what the MCU said.
    assert_eq!(p0_report(&payload[8..]).encode(), payload);
}

#[test]
fn the_recorded_acknowledgement_of_a_control_has_our_topic_and_payload() {
    let fields = &vector("mqtt-007").body["fields"];
    assert_eq!(fields["topic"], topics::dev2app_client(&did(), "2kpp2d6hp2"));
    assert_eq!(p0_answer(Some(6), &[]).encode(), unhex(fields["payload_hex"].as_str().expect("it has a payload")));
}

#[test]
fn a_control_of_the_cloud_is_read_with_its_asker() {
    let vector = vector("mqtt-008");
    let fields = &vector.body["fields"];
    let topic = fields["topic"].as_str().expect("it has a topic");
    let client = fields["client_id"].as_str().map(str::to_owned);
    assert_eq!(Incoming::parse(topic, &did(), KEY), Incoming::App { client });
    let packet = vector.bytes("hex");
    // Fixed header, length of the topic, topic, payload (MQTT 3.1.1, 3.3).
    let payload = &packet[4 + topic.len()..];
    let request = P0Request::decode(&Frame::decode_prefix(payload).expect("a frame")).expect("a request");
    let p0 = unhex(fields["p0_hex"].as_str().expect("it has a P0"));
    assert_eq!(request, Some(P0Request { sn: Some(6), p0 }));
}

#[test]
fn in_the_recorded_exchanges_every_answer_is_the_one_we_would_give() {
    let mut n_answers = 0;
    for id in ["ex-001", "ex-003"] {
        let vector = vector(id);
        let steps = vector.body["steps"].as_array().expect("it has steps").clone();
        let bytes = |step: &Value| unhex(step["hex"].as_str().expect("a step has bytes"));
        let asked = steps.iter().find(|step| step["ch"] != "uart").expect("somebody asks");
        let request = P0Request::decode(&Frame::decode_prefix(&bytes(asked)).expect("a frame")).expect("a request");
        let sn = request.expect("it is a request").sn;
        for step in steps.iter().filter(|step| step["ch"] != "uart" && step != &asked) {
            let frame = Frame::decode_datagram(&bytes(step)).expect("a frame");
            let ours = match frame.command {
                0x94 => p0_answer(sn, &frame.payload[4..]),
                0x91 => p0_report(&frame.payload),
                other => panic!("{id}: command {other:#04x}"),
            };
            assert_eq!(ours, frame, "{id}");
            n_answers += 1;
        }
    }
    assert_eq!(n_answers, 4);
}
