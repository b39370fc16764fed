//! Who may come in, and what the two accounts may do.

use serde_json::json;

use super::device::{Device, auth_client, done, frame, password, request, user};
use super::*;
use crate::broker::packet::Publish;

fn checked() -> Product {
    Product { timestamp_checked: true, auth_type: 2, ..Product::default() }
}

/// Type 2 knows its secret from the factory.
const SECRET: &str = "0051A0517051A0517051A05170000001";
const WORKING: &str = "V2_51A0C1D1.SIMULATED0001_0_1700000000";

#[test]
fn credentials_are_held_against_ids_and_secrets() {
    let (auth, right) = (auth_client(), password(SECRET, None));
    let auth_user = "AUTH-51A0C1D0-51A0C1D1";
    for (client, user, password, code) in [
        (auth.as_str(), auth_user, PRODUCT_KEY, 0),
        (&auth, auth_user, &PRODUCT_KEY.to_lowercase(), 4),
        (&auth, &user(), PRODUCT_KEY, 4),
        (WORKING, &user(), &right, 0),
        (WORKING, &user(), &right.to_lowercase(), 4),
        (WORKING, &user(), &self::password(SECRET, Some("1700000000")), 4),
        (WORKING, auth_user, &right, 4),
        ("V2_51A0C1D1.SIMULATED0002_0_1700000000", &user(), &right, 5),
        ("51A0C1D1.SIMULATED0001_0_1700000000", &user(), &right, 5),
    ] {
        run(Product { auth_type: 2, ..Product::default() }, async |lierda| {
            assert_eq!(Device::connect(lierda, client, user, password).await.1, code, "{client} {user}");
            no_breach(lierda);
        });
    }
}

#[test]
fn a_client_id_that_no_device_may_have_is_a_breach() {
    for (client, fault) in [
        ("V2_51A0C1D1.SIMULATED0001_0", "type and timestamp"),
        ("V2_51A0C1D1.SIMULATED0001_2_1700000000", "type and timestamp"),
        ("V2_51A0C1D1.SIMULATED0001_0_17e8", "type and timestamp"),
        ("V2_51A0C1D1.SIMULATED0001_1_1700000000", "of the other type"),
    ] {
        run(Product::default(), async |lierda| {
            assert_eq!(Device::connect(lierda, client, &user(), "").await.1, 5);
            breach(lierda, fault).await;
        });
    }
}

#[test]
fn a_device_of_the_first_scheme_is_known_after_its_authentication() {
    run(Product::default(), async |lierda| {
        assert_eq!(Device::work(lierda, SECRET, false, 1_700_000_000).await.1, 5);
        let (secret, session) = Device::secret(lierda, 0).await;
        assert_eq!(session, None, "a clear product has no session");
        let (_working, code) = Device::work(lierda, &secret, false, 1_700_000_000).await;
        assert_eq!(code, 0);
        no_breach(lierda);

        lierda.forget_device();
        assert_eq!(Device::work(lierda, &secret, false, 1_700_000_000).await.1, 5);
        let (another, _) = Device::secret(lierda, 0).await;
        assert_eq!(Device::work(lierda, &secret, false, 1_700_000_000).await.1, 4);
        assert_eq!(Device::work(lierda, &another, false, 1_700_000_000).await.1, 0);
        let granted = Authentication { id: json!(1231), kind: 0, code: Some(0) };
        assert_eq!(lierda.seen().authentications, [granted.clone(), granted]);
        no_breach(lierda);
    });
}

#[test]
fn a_checked_timestamp_lies_after_the_last_goodbye_and_not_in_the_future() {
    run(checked(), async |lierda| {
        let now = lierda.platform.lock().now_ms() / 1000;
        lierda.set_last_offline(now - 100);
        for timestamp in [now - 100, now + 1000] {
            assert_eq!(Device::work(lierda, SECRET, true, timestamp).await.1, 5, "{}", timestamp - now);
        }
        let (_stays, code) = Device::work(lierda, SECRET, true, now - 99).await;
        assert_eq!(code, 0);
        lierda.change(|behaviour| behaviour.clock_ahead_ms = 2_000_000);
        assert_eq!(Device::work(lierda, SECRET, true, now + 1000).await.1, 0);
        no_breach(lierda);
    });
}

#[test]
fn a_timestamp_that_comes_again_is_a_breach() {
    run(checked(), async |lierda| {
        let now = lierda.platform.lock().now_ms() / 1000;
        let (device, code) = Device::work(lierda, SECRET, true, now).await;
        assert_eq!(code, 0);
        drop(device);
        Device::work(lierda, SECRET, true, now).await;
        breach(lierda, "was used before").await;
    });
}

#[test]
fn an_authentication_gets_the_code_it_deserves_or_the_one_a_test_wants() {
    let wrong = |member: &str, value: Json| {
        let mut request = request(0);
        request[member] = value;
        request
    };
    for (request, code) in [
        (request(0), 0),
        (request(1), 5),
        (wrong("OpenID", json!("51A0C1D9")), 2),
        (wrong("ProductID", json!("51A0C1D9")), 2),
        (wrong("NodeEui", json!("SOMEBODY")), 4),
    ] {
        run(Product::default(), async |lierda| {
            let mut device = Device::stranger(lierda).await;
            device.say_raw("/sys/device/auth", &frame(&json!(5), 1, &request)).await;
            let (_, reply) = device.hear().await;
            assert_eq!((&reply["MessageId"], &reply["Payload"]["Code"]), (&json!(5), &json!(code)));
            assert_eq!(reply["Payload"]["DeviceSecret"].is_string(), code == 0);
            no_breach(lierda);
        });
    }
    run(Product::default(), async |lierda| {
        lierda.change(|behaviour| {
            behaviour.silent_auths = 1;
            behaviour.auth_codes.extend(1..=6);
            behaviour.auth_secret = Some("FE448731".to_owned());
        });
        let mut device = Device::stranger(lierda).await;
        device.say_raw("/sys/device/auth", &frame(&json!(1231), 1, &request(0))).await;
        for code in 1..=6 {
            assert_eq!(device.authenticate(0).await, json!({"Code": code}));
        }
        // The same request is told the same, however often it comes.
        for _ in 0..2 {
            assert_eq!(device.authenticate(0).await, json!({"Code": 0, "DeviceSecret": "FE448731"}));
        }
        assert_eq!(lierda.seen().authentications[0].code, None);
        no_breach(lierda);
    });
}

#[test]
fn an_authentication_against_the_rules_is_a_breach() {
    let with = |member: &str, value: Json| {
        let mut frame = frame(&json!(1), 1, &request(0));
        frame[member] = value;
        frame
    };
    for (request, fault) in [
        (with("HeaderCtrl", json!(4)), "HeaderCtrl 4"),
        (with("Version", json!("1.0")), "Version"),
        (with("Payload", json!({"OpenID": OPEN_ID})), "ProductID is missing"),
        (with("MessageId", json!(0)), "MessageId 0"),
    ] {
        run(Product::default(), async |lierda| {
            let mut device = Device::stranger(lierda).await;
            device.say_raw("/sys/device/auth", &request).await;
            breach(lierda, fault).await;
        });
    }
    run(Product::default(), async |lierda| {
        let (mut device, _) = Device::connect(lierda, &auth_client(), "AUTH-51A0C1D0-51A0C1D1", PRODUCT_KEY).await;
        device.say_raw("/sys/device/auth", &frame(&json!(1), 1, &request(0))).await;
        breach(lierda, "before the subscription").await;
    });
}

#[test]
fn refusals_of_connect_come_as_told() {
    run(Product { auth_type: 2, ..Product::default() }, async |lierda| {
        lierda.change(|behaviour| {
            behaviour.refuse_connects.extend([3, 4, 5]);
            behaviour.refuse_auth_connects.push_back(4);
        });
        for code in [3, 4, 5, 0] {
            assert_eq!(Device::work(lierda, SECRET, false, 1_700_000_000).await.1, code);
        }
        let user = "AUTH-51A0C1D0-51A0C1D1";
        for code in [4, 0] {
            assert_eq!(Device::connect(lierda, &auth_client(), user, PRODUCT_KEY).await.1, code);
        }
        no_breach(lierda);
    });
}

#[test]
fn the_authentication_account_has_its_two_topics_and_no_others() {
    run(Product::default(), async |lierda| {
        let mut device = Device::stranger(lierda).await;
        device.say("update_time", &frame(&json!(1), 29, &json!(""))).await;
        device.gone().await;
        breach(lierda, "published on \"/sys/51A0C1D0/51A0C1D1/SIMULATED0001/update_time\"").await;
    });
    run(Product::default(), async |lierda| {
        let mut device = Device::stranger(lierda).await;
        assert_eq!(device.subscribe("/sys/51A0C1D0/51A0C1D1/SIMULATED0001/uplink_ack").await, 0x80);
        breach(lierda, "subscribed to").await;
    });
}

#[test]
fn the_working_account_keeps_to_its_own_topics() {
    let own = |name: &str| format!("/sys/51A0C1D0/51A0C1D1/SIMULATED0001/{name}");
    for topic in [
        "/sys/device/auth".to_owned(),
        "/sys/51A0C1D0/51A0C1D1/SIMULATED0002/update_time".to_owned(),
        own("downlink"),
        own("uplink_ack"),
        own("model/unheard/of"),
    ] {
        run(Product::default(), async |lierda| {
            let mut device = Device::online(lierda).await;
            device.say_raw(&topic, &frame(&json!(1), 29, &json!(""))).await;
            device.gone().await;
            breach(lierda, "published on").await;
            lierda.ledger().until(|entries| !entries.online).await;
        });
    }
    for filter in ["#", "/sys/51A0C1D0/51A0C1D1/+/downlink", "/sys/51A0C1D0/51A0C1D1/SIMULATED0002/downlink"] {
        run(Product::default(), async |lierda| {
            let mut device = Device::online(lierda).await;
            assert_eq!(device.subscribe(filter).await, 0x80);
            breach(lierda, "subscribed to").await;
        });
    }
}

#[test]
fn a_subscription_is_refused_where_a_test_wants_it() {
    run(Product { auth_type: 2, ..Product::default() }, async |lierda| {
        lierda.change(|behaviour| behaviour.refuse_subscriptions = ["downloadlink".to_owned()].into());
        let (mut device, _) = Device::work(lierda, SECRET, false, 1_700_000_000).await;
        assert_eq!(device.subscribe(&format!("{}downloadlink", platform::base())).await, 0x80);
        assert_eq!(device.subscribe(&format!("{}downlink", platform::base())).await, 0);
        no_breach(lierda);
    });
}

#[test]
fn a_device_is_online_once_its_commands_would_reach_it() {
    for (kind, topic) in [(Kind::Json, "model/property/set"), (Kind::Hex, "model/hex/downlink")] {
        run(Product { auth_type: 2, ..Product::new(kind) }, async |lierda| {
            let (mut device, _) = Device::work(lierda, SECRET, false, 1_700_000_000).await;
            device.subscribe(&format!("{}downlink", platform::base())).await;
            assert!(!lierda.ledger().with(|entries| entries.online));
            let error = lierda.send_command("target", &json!(1)).unwrap_err();
            assert!(error.contains(topic), "{error}");
            device.subscribe(&format!("{}{topic}", platform::base())).await;
            assert!(lierda.ledger().with(|entries| entries.online));
            lierda.send_command("target", &json!(1)).unwrap();
            lierda.kick();
            lierda.ledger().until(|entries| !entries.online).await;
            assert!(lierda.platform.lock().last_offline > 1_700_000_000);
        });
    }
}

#[test]
fn a_device_that_comes_again_takes_its_own_place() {
    run(Product { auth_type: 2, ..Product::default() }, async |lierda| {
        let mut first = Device::online(lierda).await;
        let (mut second, code) = Device::work(lierda, SECRET, false, 1_700_000_001).await;
        assert_eq!(code, 0);
        first.gone().await;
        second.subscribe_all().await;
        lierda.ledger().until(|entries| entries.online && entries.sessions == 2).await;
        assert_eq!(lierda.client().as_deref(), Some("V2_51A0C1D1.SIMULATED0001_0_1700000001"));
    });
}

#[test]
fn work_beside_an_open_authentication_is_a_breach() {
    run(Product::default(), async |lierda| {
        let mut auth = Device::stranger(lierda).await;
        let secret = auth.authenticate(0).await["DeviceSecret"].as_str().unwrap().to_owned();
        let (mut device, _) = Device::work(lierda, &secret, false, 1_700_000_000).await;
        device.report("update_time", 29, &json!("")).await;
        breach(lierda, "still open").await;
    });
}

#[test]
fn a_retained_message_is_a_breach() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        let payload = frame(&json!(1), 29, &json!("")).to_string().into_bytes();
        let topic = format!("{}update_time", platform::base());
        device.publish(Publish { retain: true, topic, payload, ..Publish::default() }).await;
        breach(lierda, "with retain").await;
    });
}

#[test]
fn a_device_that_subscribes_to_all_of_its_own_hears_itself() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        device.report("firmware_report", 8, &json!({"HardVer": "1", "SoftVer": "1", "Type": 2})).await;
        assert_eq!(device.hear_on("firmware_report_ack").await["Payload"], done());
        assert_eq!(device.hear_on("firmware_report").await["Payload"]["HardVer"], "1");
    });
}

#[test]
fn a_reply_to_an_authentication_may_be_made_by_a_test() {
    run(Product::default(), async |lierda| {
        lierda.change(|behaviour| behaviour.silent_auths = 1);
        assert!(lierda.deliver_raw("downlink", b"{}").is_err(), "nobody is there");
        let mut device = Device::stranger(lierda).await;
        device.say_raw("/sys/device/auth", &frame(&json!(5), 1, &request(0))).await;
        lierda.until(|seen| seen.authentications.len() == 1).await;
        let reply = frame(&lierda.seen().authentications[0].id, 1, &json!({"Code": "0"}));
        lierda.deliver_raw("downlink", reply.to_string().as_bytes()).unwrap();
        assert_eq!(device.hear().await, ("downlink".to_owned(), reply));
        assert!(lierda.deliver_raw("uplink_ack", b"{}").is_err(), "it may subscribe to downlink alone");
    });
}
