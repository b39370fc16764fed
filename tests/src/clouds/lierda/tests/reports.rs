//! What the device reports: how it is judged, booked and acknowledged.

use std::time::Duration;

use serde_json::json;

use super::super::behaviour::{Ack, Report};
use super::device::{Device, done, frame};
use super::*;
use crate::broker::packet::Publish;
use product::FullHex;

const PROPERTY: &str = "model/property/report";
const PROPERTY_ACK: &str = "model/property/report_ack";

fn with_full_hex(form: FullHex) -> Product {
    Product { full_hex: Some(form), ..Product::new(Kind::Hex) }
}

/// `{"counter":7}` as hexadecimal text.
const SEVEN: &str = "7B22636F756E746572223A377D";

#[test]
fn each_report_is_acknowledged_on_its_own_topic() {
    let time = 1_524_448_722_000_i64;
    let history = json!({"params": [
        {"properties": [{"counter": {"value": 5, "time": time}}], "events": [{"hot": {"value": {}, "time": time}}]},
        {"properties": [{"counter": {"value": 6, "time": time + 1}}]},
    ]});
    let firmware = json!({"HardVer": "1", "SoftVer": "v2", "Type": 2, "Module": "mcu"});
    for (kind, topic, code, payload, counters) in [
        (Kind::Json, "firmware_report", 8, firmware, &[][..]),
        (Kind::Json, PROPERTY, 16, json!({"counter": 7, "temp": 21.5}), &[7]),
        (Kind::Json, "model/event/overheat/report", 17, json!({}), &[]),
        (Kind::Json, "model/history/data/report", 27, history, &[5, 6]),
        (Kind::Hex, "model/hex/report", 18, json!(SEVEN), &[7]),
        (Kind::Hex, "model/hex/report", 19, json!("00f0ff013FA00000"), &[]),
        (Kind::Passthrough, "uplink", 4, json!({"counter": 7}), &[7]),
    ] {
        run(Product::new(kind), async |lierda| {
            let mut device = Device::online(lierda).await;
            let id = device.report(topic, code, &payload).await;
            let (heard, ack) = device.hear().await;
            assert_eq!((heard, ack), (format!("{topic}_ack"), frame(&json!(id), code, &done())));
            assert_eq!(arrivals(lierda), counters);
            assert_eq!(lierda.seen().on(topic).count(), 1);
            no_breach(lierda);
        });
    }
}

#[test]
fn history_and_versions_are_remembered() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        let timed = json!({"params": [{"properties": [{"counter": {"value": 5, "time": 1_524_448_722_001_i64}}]}]});
        device.report("model/history/data/report", 27, &timed).await;
        device.report("firmware_report", 8, &json!({"HardVer": "1", "SoftVer": "v2", "Type": 2})).await;
        lierda.until(|seen| !seen.versions.is_empty()).await;
        let seen = lierda.seen();
        assert_eq!(seen.history, [(5, 1_524_448_722_001)]);
        assert_eq!(seen.versions["default"], "v2");
    });
}

#[test]
fn full_hex_comes_in_the_form_of_the_product_and_is_acknowledged_with_an_unknown_id() {
    let bytes = br#"{"counter":7}"#.to_vec();
    for (form, payload) in [
        (FullHex::JsonString, format!("\"{SEVEN}\"").into_bytes()),
        (FullHex::BareText, SEVEN.as_bytes().to_vec()),
        (FullHex::Binary, bytes),
    ] {
        run(with_full_hex(form), async |lierda| {
            let mut device = Device::online(lierda).await;
            let topic = format!("{}model/hex", platform::base());
            device.publish(Publish { topic, payload: payload.clone(), ..Publish::default() }).await;
            let (topic, ack) = device.hear().await;
            assert_eq!((topic.as_str(), &ack["HeaderCtrl"], &ack["Payload"]), ("model/hex_ack", &json!(28), &done()));
            assert!(ack["MessageId"].is_i64());
            assert_eq!(arrivals(lierda), [7]);
            no_breach(lierda);
        });
    }
}

#[test]
fn the_time_is_the_platforms_clock_in_milliseconds() {
    run(Product::default(), async |lierda| {
        lierda.change(|behaviour| {
            behaviour.clock_ahead_ms = 86_400_000;
            behaviour.timezone = "Europe/Berlin".to_owned();
        });
        let mut device = Device::online(lierda).await;
        let before = lierda.platform.lock().now_ms();
        device.report("update_time", 29, &json!("")).await;
        let (topic, reply) = device.hear().await;
        assert_eq!((topic.as_str(), &reply["HeaderCtrl"]), ("update_time_ack", &json!(29)));
        let data = &reply["Payload"]["Data"];
        assert_eq!((&reply["Payload"]["Code"], &data["timezone"]), (&json!("200"), &json!("Europe/Berlin")));
        assert!((before..=lierda.platform.lock().now_ms()).contains(&data["timestamp"].as_i64().unwrap()));
        no_breach(lierda);
    });
}

#[test]
fn frames_against_the_rules_are_breaches() {
    let hex = || with_full_hex(FullHex::JsonString);
    let report = |payload: Json| frame(&json!(1), 16, &payload);
    let without = |member: &str| {
        let mut frame = report(json!({"counter": 1}));
        frame.as_object_mut().unwrap().remove(member);
        frame
    };
    for (product, topic, breaches, fault) in [
        (Product::default(), PROPERTY, json!([]), "not an object"),
        (Product::default(), PROPERTY, without("MessageId"), "MessageId is missing"),
        (Product::default(), PROPERTY, without("HeaderCtrl"), "HeaderCtrl is missing"),
        (Product::default(), PROPERTY, without("Payload"), "Payload is missing"),
        (Product::default(), PROPERTY, without("Version"), "Version is missing"),
        (Product::default(), PROPERTY, frame(&json!(1), 4, &json!({"counter": 1})), "HeaderCtrl 4, [16] expected"),
        (Product::default(), PROPERTY, report(json!({})), "no properties"),
        (Product::default(), PROPERTY, report(json!("7B7D")), "no object"),
        (Product::default(), PROPERTY, report(json!({"counter": "1"})), "no 32-bit number"),
        (Product::default(), PROPERTY, frame(&json!(""), 16, &json!({"counter": 1})), "MessageId \"\""),
        (Product::default(), "uplink", frame(&json!(1), 4, &json!({})), "no topic of a Json product"),
        (Product::default(), "update_time", frame(&json!(1), 29, &json!({})), "an empty text expected"),
        (Product::default(), "config_report", frame(&json!(1), 14, &json!({"Host": ""})), "Settings is missing"),
        (Product::default(), "firmware_report", frame(&json!(1), 8, &json!({"SoftVer": "1"})), "HardVer is missing"),
        (Product::default(), "model/event/hot/report", frame(&json!(1), 17, &json!([])), "no object"),
        (Product::default(), "model/history/data/report", frame(&json!(1), 27, &json!({})), "params is missing"),
        (Product::default(), "model/property/set_ack", frame(&json!(1), 20, &done()), "never sent"),
        (Product::new(Kind::Passthrough), "uplink", frame(&json!(1), 4, &json!("00")), "no object"),
        (Product::new(Kind::Hex), "model/hex/report", frame(&json!(1), 18, &json!({})), "no hexadecimal text"),
        (Product::new(Kind::Hex), "model/hex/report", frame(&json!(1), 18, &json!("0")), "even length"),
        (Product::new(Kind::Hex), "model/hex/report", frame(&json!(1), 22, &json!("00")), "HeaderCtrl 22"),
        (Product::new(Kind::Hex), "model/hex/report", frame(&json!(1), 26, &json!("00")), "no service call"),
        (Product::new(Kind::Hex), "model/hex", json!(SEVEN), "no full HEX"),
        (hex(), "model/hex", frame(&json!(1), 28, &json!(SEVEN)), "no hexadecimal text"),
    ] {
        run(product, async |lierda| {
            let mut device = Device::online(lierda).await;
            device.say(topic, &breaches).await;
            breach(lierda, fault).await;
            assert!(lierda.ledger().with(|entries| entries.online), "a wrong frame does not end the connection");
            assert_eq!(arrivals(lierda), [0; 0]);
        });
    }
}

#[test]
fn an_event_that_the_model_lacks_is_a_breach() {
    let product = || Product { events: vec!["overheat".to_owned()], ..Product::default() };
    run(product(), async |lierda| {
        let mut device = Device::online(lierda).await;
        device.report("model/event/overheat/report", 17, &json!({"temp": 99})).await;
        assert_eq!(device.hear().await.0, "model/event/overheat/report_ack");
        no_breach(lierda);
        device.report("model/event/fire/report", 17, &json!({})).await;
        breach(lierda, "\"fire\"").await;
    });
}

#[test]
fn ids_have_one_type_and_one_purpose() {
    for (id, payload, fault) in [
        (json!("2"), json!({"counter": 2}), "another type"),
        (json!(1), json!({"counter": 2}), "something else"),
        (json!(0), json!({"counter": 2}), "1 to 2147483647"),
    ] {
        run(Product::default(), async |lierda| {
            let mut device = Device::online(lierda).await;
            device.say(PROPERTY, &frame(&json!(1), 16, &json!({"counter": 1}))).await;
            device.say(PROPERTY, &frame(&id, 16, &payload)).await;
            breach(lierda, fault).await;
        });
    }
}

#[test]
fn a_report_that_comes_again_is_a_duplicate_and_no_breach() {
    run(Product::default(), async |lierda| {
        lierda.change(|behaviour| behaviour.acks = [(Report::Property, Ack { drop: 1, ..Ack::default() })].into());
        let mut device = Device::online(lierda).await;
        for _ in 0..2 {
            device.say(PROPERTY, &frame(&json!(1), 16, &json!({"counter": 1}))).await;
        }
        let (_, ack) = device.hear().await;
        assert_eq!(ack["MessageId"], 1);
        assert_eq!(arrivals(lierda), [1, 1]);
        no_breach(lierda);
    });
}

#[test]
fn acknowledgements_are_what_a_test_wants() {
    let refused = json!({"Code": "4001", "Msg": "Failed"});
    for (ack, expected, n_arrived) in [
        (Ack { drop: 2, ..Ack::default() }, frame(&json!(3), 16, &done()), 3),
        (Ack { refuse: 1, ..Ack::default() }, frame(&json!(1), 16, &refused), 2),
        (
            Ack { integer_code: true, ..Ack::default() },
            frame(&json!(1), 16, &json!({"Code": 200, "Msg": "SUCCESS"})),
            3,
        ),
        (Ack { string_id: true, ..Ack::default() }, frame(&json!("1"), 16, &done()), 3),
        (Ack { delay: Duration::from_millis(1), ..Ack::default() }, frame(&json!(1), 16, &done()), 3),
    ] {
        run(Product::default(), async |lierda| {
            lierda.change(|behaviour| behaviour.acks = [(Report::Property, ack)].into());
            let mut device = Device::online(lierda).await;
            for counter in 1..=3 {
                device.report(PROPERTY, 16, &json!({"counter": counter})).await;
            }
            assert_eq!(device.hear_on(PROPERTY_ACK).await, expected, "{ack:?}");
            lierda.ledger().until(|entries| entries.arrivals.len() == n_arrived).await;
            no_breach(lierda);
        });
    }
    run(Product::default(), async |lierda| {
        lierda.change(|behaviour| behaviour.acks = [(Report::Property, Ack { never: true, ..Ack::default() })].into());
        let mut device = Device::online(lierda).await;
        device.report(PROPERTY, 16, &json!({"counter": 1})).await;
        device.report("update_time", 29, &json!("")).await;
        assert_eq!(device.hear().await.0, "update_time_ack", "nothing before the time");
        assert_eq!(arrivals(lierda), [1]);
    });
}
