//! Reports, and what every frame must be.

use super::device::{Device, message, register};
use super::*;
use crate::broker::packet::Publish;

#[test]
fn a_report_with_the_counter_is_an_arrival_once_for_each_time_it_comes() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = device.say(2006, &json!({"params": [{"1": true}, {"2": "cool"}, {"4": 7}]})).await;
        device.answer(2006, id, &json!({"params": [{"1": true}, {"2": "cool"}, {"4": 7}]})).await;
        device.say(2006, &json!({"params": [{"5": 20.5}]})).await;
        device.say(2006, &json!({"params": [{"4": 8}]})).await;
        clife.ledger().until(|entries| entries.arrivals.len() == 3).await;
        assert_eq!(arrivals(clife), [7, 7, 8]);
        assert_eq!(clife.seen().of(2006).count(), 4);
        assert_eq!(clife.seen().of(2006).next().unwrap().timestamp, 1_700_000_000_000);
        no_breach(clife);
    });
}

#[test]
fn a_report_that_breaks_a_rule_is_a_breach() {
    for (body, fault) in [
        (json!({"params": {"1": true}}), "must be a list"),
        (json!({"params": [{"1": true, "2": 1}]}), "one member"),
        (json!({"params": [{"switch": true}]}), "no data point"),
        (json!({"params": [{"1": null}]}), "a boolean"),
        (json!({"params": []}), "a report of nothing"),
        (json!({"params": [{"4": "7"}]}), "no 32-bit number"),
        (json!({"params": [{"1": true}], "respCode": 0}), "unknown member"),
        (json!({}), "params is missing"),
    ] {
        run(Product::default(), async |clife| {
            Device::online(clife).await.say(2006, &body).await;
            breach(clife, fault).await;
            assert_eq!(arrivals(clife), [0; 0]);
        });
    }
}

#[test]
fn a_frame_that_breaks_a_rule_is_a_breach() {
    for (from, to, fault) in [
        (r#""ver":"1.0""#, r#""ver":1.0"#, "ver must be"),
        (r#""dir":"03""#, r#""dir":"30""#, "dir must be"),
        ("1700000000000", r#""1700000000000""#, "timestamp must be a number"),
        (r#""msgId":5"#, r#""msgId":"5""#, "msgId must be"),
        (r#""msgId":5"#, r#""msgId":-5"#, "no request had"),
        (r#""msgId":5"#, r#""msgId":2147483648"#, "no request had"),
        ("2006", "2007", "2007, which no device sends"),
        ("2006", "2014", "for its will"),
        (r#""data":""#, r#""data":"A"#, "no standard base64"),
        (r#"{"cmd""#, r#"{ "cmd""#, "blanks"),
    ] {
        run(Product::default(), async |clife| {
            let mut device = Device::online(clife).await;
            let frame = device.frame(2006, 5, &json!({"params": [{"1": true}]})).to_string();
            device.say_raw(&frame.replace(from, to)).await;
            breach(clife, fault).await;
        });
    }
}

#[test]
fn data_is_encrypted_with_the_secret_or_clear_as_the_product_wants_it() {
    let body = json!({"params": [{"1": true}]});
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let mut frame = device.frame(2006, 5, &body);
        frame["data"] = body.clone();
        device.say_raw(&frame.to_string()).await;
        breach(clife, "an encrypted text expected").await;
    });
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let mut frame = device.frame(2006, 5, &body);
        frame["data"] = json!(clife.platform.product.dev_key().seal(body.to_string().as_bytes()));
        device.say_raw(&frame.to_string()).await;
        breach(clife, "not encrypted with the device secret").await;
    });
    run(Product { encrypted: false, ..Product::default() }, async |clife| {
        let mut device = Device::online(clife).await;
        let mut frame = device.frame(2006, 5, &body);
        frame["data"] = json!("AAAA");
        device.say_raw(&frame.to_string()).await;
        breach(clife, "an object expected").await;
    });
}

#[test]
fn a_msg_id_is_used_for_one_thing() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        device.answer(2006, 5, &json!({"params": [{"1": true}]})).await;
        device.answer(2006, 5, &json!({"params": [{"1": false}]})).await;
        breach(clife, "something else").await;
    });
    // Who registers again may have lost its counter.
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = device.say(2006, &json!({"params": [{"1": true}]})).await;
        register(clife).await;
        let mut device = Device::online(clife).await;
        device.answer(2006, id, &json!({"params": [{"1": false}]})).await;
        clife.until(|seen| seen.of(2006).count() == 2).await;
        no_breach(clife);
    });
}

#[test]
fn everything_is_published_with_qos_1_and_not_retained() {
    for (qos, retain) in [(0, false), (1, true)] {
        run(Product::default(), async |clife| {
            let mut device = Device::online(clife).await;
            let frame = device.frame(2006, 5, &json!({"params": [{"4": 1}]})).to_string();
            device.publish(Publish { qos, retain, ..message(&frame) }).await;
            breach(clife, &format!("QoS {qos}, retain {retain}")).await;
        });
    }
}
