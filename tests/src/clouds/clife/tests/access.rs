//! The broker: who may come, the will, the connection request and its answer.

use std::time::Duration;

use super::device::{Device, Hello, frame, is_online, message, register, secret};
use super::*;
use crate::broker::packet::Publish;
use crate::clouds::clife::behaviour::{Connecting, Registering};
use platform::{downward_topic, upward_topic};

#[test]
fn only_the_credentials_of_the_last_registration_are_let_in() {
    run(Product::default(), async |clife| {
        let stranger = Hello {
            client: "client-7001005".to_owned(),
            user: "user-7001005".to_owned(),
            password: "password-1".to_owned(),
            will: None,
            clean: false,
            keep_alive_s: 45,
        };
        assert_eq!(Device::connect(clife, &stranger, None).await.1, 5);
        let first = Hello::of(&register(clife).await);
        assert_eq!(Device::connect(clife, &first, None).await.1, 0);
        assert_eq!(Device::connect(clife, &Hello { client: "x".to_owned(), ..first.clone() }, None).await.1, 5);
        assert_eq!(Device::connect(clife, &Hello { user: "x".to_owned(), ..first.clone() }, None).await.1, 4);
        let second = Hello::of(&register(clife).await);
        assert_eq!(Device::connect(clife, &first, None).await.1, 4);
        clife.change(|behaviour| behaviour.refuse_connects.push_back(3));
        assert_eq!(Device::connect(clife, &second, None).await.1, 3);
        assert_eq!(Device::connect(clife, &second, None).await.1, 0);
        clife.forget_device();
        assert_eq!(Device::connect(clife, &second, None).await.1, 5);
        no_breach(clife);
    });
}

#[test]
fn a_clean_session_or_another_keep_alive_than_was_given_is_a_breach() {
    for (clean, keep_alive_s, fault) in [(true, 45, "clean true"), (false, 60, "keep 60 s")] {
        run(Product::default(), async |clife| {
            let hello = Hello { clean, keep_alive_s, ..Hello::of(&register(clife).await) };
            assert_eq!(Device::connect(clife, &hello, None).await.1, 0);
            breach(clife, fault).await;
        });
    }
    run(Product { clean_session: true, ..Product::default() }, async |clife| {
        let hello = Hello { clean: true, ..Hello::of(&register(clife).await) };
        assert_eq!(Device::connect(clife, &hello, None).await.1, 0);
        no_breach(clife);
    });
}

#[test]
fn a_will_is_published_unless_the_device_says_farewell() {
    run(Product::default(), async |clife| {
        let registered = register(clife).await;
        let key = secret(clife, &registered);
        let will = |id| frame(key.as_ref(), false, 2014, id, &json!({"devId": DEV_ID})).to_string();
        let hello = |id| Hello { will: Some(message(&will(id))), ..Hello::of(&registered) };
        Device::connect(clife, &hello(2), key.clone()).await.0.bye().await;
        assert_eq!((clife.seen().wills.len(), clife.seen().delivered_wills.len()), (1, 0));
        drop(Device::connect(clife, &hello(3), key.clone()).await);
        clife.until(|seen| !seen.delivered_wills.is_empty()).await;
        let seen = clife.seen();
        assert_eq!(seen.wills.iter().map(|will| will.id).collect::<Vec<_>>(), [2, 3]);
        assert_eq!((seen.delivered_wills[0].id, &seen.delivered_wills[0].body), (3, &json!({"devId": "7001005"})));
        no_breach(clife);
    });
}

#[test]
fn a_will_that_breaks_a_rule_is_a_breach() {
    for (change, fault) in [
        ((|will| will.qos = 0) as fn(&mut Publish), "QoS 0"),
        (|will| will.retain = true, "retain true"),
        (|will| will.topic = downward_topic(), "upward topic expected"),
        (|will| will.payload = br#"{"cmd":2014}"#.to_vec(), "ver is missing"),
        (
            |will| will.payload = String::from_utf8_lossy(&will.payload).replace("2014", "2006").into_bytes(),
            "2014 expected",
        ),
        (|will| will.payload = String::from_utf8_lossy(&will.payload).replace("\"03\"", "\"30\"").into_bytes(), "dir"),
    ] {
        run(Product::default(), async |clife| {
            let registered = register(clife).await;
            let key = secret(clife, &registered);
            let mut will = message(&frame(key.as_ref(), false, 2014, 2, &json!({"devId": DEV_ID})).to_string());
            change(&mut will);
            let hello = Hello { will: Some(will), ..Hello::of(&registered) };
            assert_eq!(Device::connect(clife, &hello, key).await.1, 0);
            breach(clife, fault).await;
        });
    }
}

#[test]
fn a_will_in_clear_is_a_breach_and_one_of_another_device_too() {
    for (clear, body, fault) in [
        (true, json!({"devId": DEV_ID}), "encrypted text expected"),
        (false, json!({"devId": "1"}), "another device"),
        (false, json!({}), "devId is missing"),
    ] {
        run(Product::default(), async |clife| {
            let registered = register(clife).await;
            let key = secret(clife, &registered).filter(|_| !clear);
            let will = message(&frame(key.as_ref(), false, 2014, 2, &body).to_string());
            let hello = Hello { will: Some(will), ..Hello::of(&registered) };
            assert_eq!(Device::connect(clife, &hello, key).await.1, 0);
            breach(clife, fault).await;
        });
    }
}

#[test]
fn only_its_two_topics_are_the_devices() {
    run(Product::default(), async |clife| {
        let mut device = Device::subscribed(clife).await;
        for filter in ["#", &upward_topic(), "/device/C11FE001/+/downward"] {
            assert_eq!(device.subscribe(filter, 1).await, 0x80, "{filter}");
        }
        breach(clife, "subscribed to \"#\"").await;
    });
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        device.publish(Publish { topic: downward_topic(), ..message("{}") }).await;
        device.gone().await;
        breach(clife, "published on \"/device/C11FE001/7001005/downward\"").await;
    });
    run(Product::default(), async |clife| {
        clife.change(|behaviour| behaviour.refuse_subscriptions = 1);
        let registered = register(clife).await;
        let mut device = Device::back(clife, &registered).await;
        assert_eq!(device.subscribe(&downward_topic(), 1).await, 0x80);
        assert_eq!(device.subscribe(&downward_topic(), 1).await, 1);
        no_breach(clife);
    });
}

#[test]
fn a_device_is_online_once_it_has_sent_its_connection_request() {
    run(Product::default(), async |clife| {
        let mut device = Device::subscribed(clife).await;
        assert!(!clife.ledger().with(|entries| entries.online));
        assert!(clife.query(&[]).unwrap_err().contains("connection request"));
        let id = device.greet().await;
        let answer = device.hear().await;
        assert_eq!((&answer["msgId"], &answer["cmd"], &answer["dir"]), (&json!(id), &json!(2005), &json!("30")));
        assert_eq!(answer["data"], json!({"respCode": 0, "respCont": "ok"}));
        is_online(clife).await;
        device.bye().await;
        clife.ledger().until(|entries| !entries.online).await;
        no_breach(clife);
    });
}

#[test]
fn nothing_comes_before_the_connection_request_but_what_was_under_way() {
    let report = json!({"params": [{"1": true}]});
    run(Product::default(), async |clife| {
        let mut device = Device::subscribed(clife).await;
        device.say(2006, &report).await;
        breach(clife, "sent 2006 before its connection request").await;
    });
    run(Product::default(), async |clife| {
        let mut device = Device::subscribed(clife).await;
        let late = device.frame(2006, 5, &report).to_string();
        device.publish(Publish { dup: true, ..message(&late) }).await;
        device.greet().await;
        is_online(clife).await;
        assert_eq!(clife.seen().of(2006).count(), 1);
        no_breach(clife);
    });
}

#[test]
fn a_connection_request_that_breaks_a_rule_is_a_breach() {
    let right = json!({"devId": DEV_ID, "devMac": DEV_MAC, "profileVer": "0"});
    for (name, value, fault) in [
        ("devId", json!("1"), "another device"),
        ("devId", json!(7_001_005), "devId must be a text"),
        ("devMac", json!("02005E000000"), "another device"),
        ("profileVer", json!(0), "profileVer must be a text"),
        ("more", json!(0), "unknown member"),
    ] {
        run(Product::default(), async |clife| {
            let mut device = Device::subscribed(clife).await;
            let mut body = right.clone();
            body[name] = value.clone();
            device.say(2004, &body).await;
            breach(clife, fault).await;
            assert!(!clife.ledger().with(|entries| entries.online));
        });
    }
    run(Product::default(), async |clife| {
        let registered = register(clife).await;
        Device::back(clife, &registered).await.greet().await;
        breach(clife, "before the subscription").await;
    });
}

#[test]
fn the_answer_to_a_connection_request_is_what_a_test_wants() {
    run(Product::default(), async |clife| {
        clife.change(|behaviour| {
            behaviour.connects.extend([Connecting::Silence, Connecting::WrongMsgId, Connecting::Code(2)]);
        });
        let mut device = Device::subscribed(clife).await;
        device.greet().await;
        is_online(clife).await;
        let id = device.greet().await;
        assert_eq!(device.hear().await["msgId"], json!(id + 1));
        device.greet().await;
        assert_eq!(device.hear().await["data"]["respCode"], 2);
        assert!(!clife.ledger().with(|entries| entries.online));
        no_breach(clife);
        device.say(2006, &json!({"params": [{"1": true}]})).await;
        breach(clife, "although its connection request was refused").await;
    });
    run(Product::default(), async |clife| {
        clife.change(|behaviour| behaviour.connect_delay = Duration::from_millis(1));
        let mut device = Device::online(clife).await;
        // A late refusal may cross what the device sends.
        clife.change(|behaviour| behaviour.connects.push_back(Connecting::Code(5)));
        device.greet().await;
        device.say(2006, &json!({"params": [{"1": true}]})).await;
        assert_eq!(device.hear().await["data"]["respCode"], 5);
        no_breach(clife);
    });
}

#[test]
fn without_a_secret_the_key_of_the_registration_is_used_on() {
    run(Product::default(), async |clife| {
        clife.change(|behaviour| behaviour.registrations.push_back(Registering::Without("deviceSecret")));
        Device::online(clife).await;
        no_breach(clife);
    });
}

#[test]
fn keys_ivs_and_timestamps_of_all_kinds_work_on_mqtt_and_so_does_clear_data() {
    for product in [
        Product { secret_len: 32, iv: [7; 16], ..Product::default() },
        Product { timestamp_as_text: true, auth_level: 0, ..Product::default() },
        Product { encrypted: false, ..Product::default() },
    ] {
        run(product, async |clife| {
            let mut device = Device::online(clife).await;
            device.say(2006, &json!({"params": [{"4": 11}]})).await;
            clife.ledger().until(|entries| !entries.arrivals.is_empty()).await;
            no_breach(clife);
        });
    }
}
