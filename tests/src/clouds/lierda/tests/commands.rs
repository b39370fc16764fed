//! Commands to the device, and what it answers.

use serde_json::json;

use super::device::{Device, done, frame};
use super::*;

const SET: &str = "model/property/set";
const SET_ACK: &str = "model/property/set_ack";

fn failed() -> Json {
    json!({"Code": "4001", "Msg": "Failed"})
}

#[test]
fn a_set_is_done_when_its_acknowledgement_says_so() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        lierda.send_command("target", &json!(21.5)).unwrap();
        let (topic, command) = device.hear().await;
        assert_eq!((topic.as_str(), &command["HeaderCtrl"], &command["Version"]), (SET, &json!(20), &json!("2.0")));
        assert_eq!(command["Payload"], json!({"params": [{"identify": "target", "value": 21.5}]}));
        let ack = json!({"Code": "200", "Msg": "SUCCESS", "Data": {"target": 21.5}});
        device.answer(SET_ACK, &command, &ack).await;
        lierda.ledger().until(|entries| entries.commands_done() == 1).await;
        // The new value is reported under an id of the device.
        device.report("model/property/report", 16, &json!({"target": 21.5, "counter": 8})).await;
        device.hear().await;
        assert_eq!(arrivals(lierda), [8]);

        let refused = lierda.set(&[("nonsense", json!(1)), ("target", json!(2))]).unwrap();
        let (_, command) = device.hear().await;
        device.answer(SET_ACK, &command, &failed()).await;
        assert_eq!(outcome(lierda, &refused).await, Err("Code 4001".to_owned()));
        assert_eq!(lierda.answer_to(&refused).unwrap().payload, failed());
        no_breach(lierda);
    });
}

#[test]
fn values_and_ids_come_as_texts_if_a_test_wants_it() {
    run(Product::default(), async |lierda| {
        lierda.change(|behaviour| (behaviour.text_values, behaviour.string_ids) = (true, true));
        let mut device = Device::online(lierda).await;
        let id = lierda.set(&[("target", json!(21.5)), ("mode", json!("cool"))]).unwrap();
        let (_, command) = device.hear().await;
        assert_eq!(command["MessageId"], json!(id));
        let params = json!([{"identify": "target", "value": "21.5"}, {"identify": "mode", "value": "cool"}]);
        assert_eq!(command["Payload"]["params"], params);
        let data = json!({"mode": "cool", "target": "21.5"});
        device.answer(SET_ACK, &command, &json!({"Code": "200", "Msg": "SUCCESS", "Data": data})).await;
        assert_eq!(outcome(lierda, &id).await, Ok(()));
        no_breach(lierda);
    });
}

#[test]
fn answers_that_do_not_fit_are_breaches() {
    let right = json!({"Code": "200", "Msg": "SUCCESS", "Data": {"target": 5}});
    let echoed = json!({"Code": "200", "Msg": "SUCCESS", "Data": {"target": "5"}});
    let integer = json!({"Code": 200, "Msg": "SUCCESS", "Data": {"target": 5}});
    let as_text = |id: &Json| json!(id.to_string());
    let same = |id: &Json| id.clone();
    let other = |_: &Json| json!(1);
    type Id = fn(&Json) -> Json;
    for (topic, id, code, payload, fault) in [
        (SET_ACK, as_text as Id, 20, &right, "another type of MessageId"),
        (SET_ACK, other, 20, &right, "never sent"),
        (SET_ACK, same, 20, &echoed, "not the values"),
        (SET_ACK, same, 20, &done(), "not the values"),
        (SET_ACK, same, 20, &integer, "Code must be a text"),
        (SET_ACK, same, 16, &right, "HeaderCtrl 16"),
        ("model/service/target/ack", same, 21, &right, "another topic"),
        ("model/property/report", same, 16, &json!({"target": 5}), "belongs to a command"),
    ] {
        run(Product::default(), async |lierda| {
            let mut device = Device::online(lierda).await;
            lierda.send_command("target", &json!(5)).unwrap();
            let (_, command) = device.hear().await;
            device.say(topic, &frame(&id(&command["MessageId"]), code, payload)).await;
            breach(lierda, fault).await;
            lierda.ledger().with(|entries| assert_eq!(entries.commands_done(), 0));
        });
    }
}

#[test]
fn an_acknowledgement_comes_as_often_as_its_command() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        let id = lierda.set(&[("target", json!(5))]).unwrap();
        lierda.repeat(&id).unwrap();
        let ack = json!({"Code": "200", "Msg": "SUCCESS", "Data": {"target": 5}});
        for _ in 0..2 {
            let (_, command) = device.hear().await;
            device.answer(SET_ACK, &command, &ack).await;
        }
        lierda.until(|seen| seen.on(SET_ACK).count() == 2).await;
        no_breach(lierda);
        device.say(SET_ACK, &frame(&json!(id.parse::<i64>().unwrap()), 20, &ack)).await;
        breach(lierda, "and once more").await;
    });
}

#[test]
fn a_transport_that_saw_no_acknowledgement_may_say_it_again() {
    let product = Product { auth_type: 2, ..Product::default() };
    run(product, async |lierda| {
        let mut device = Device::online(lierda).await;
        lierda.set(&[("target", json!(5))]).unwrap();
        let (_, command) = device.hear().await;
        let ack = json!({"Code": "200", "Msg": "SUCCESS", "Data": {"target": 5}});
        device.answer(SET_ACK, &command, &ack).await;
        lierda.until(|seen| seen.on(SET_ACK).count() == 1).await;
        let mut device = Device::online(lierda).await;
        device.answer(SET_ACK, &command, &ack).await;
        lierda.until(|seen| seen.on(SET_ACK).count() == 2).await;
        no_breach(lierda);
    });
}

#[test]
fn a_query_is_answered_by_a_report_with_its_id() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        for (names, payload) in [(&["counter"][..], json!({"counter": 3})), (&[], json!({"counter": 3, "target": 1}))] {
            let id = lierda.query(names).unwrap();
            let command = device.hear_on("model/property/ask").await;
            assert_eq!((&command["HeaderCtrl"], &command["Payload"]), (&json!(23), &json!({"params": names})));
            device.say("model/property/report", &frame(&command["MessageId"], 16, &payload)).await;
            assert_eq!(outcome(lierda, &id).await, Ok(()));
        }
        assert_eq!(arrivals(lierda), [0; 0], "an answer is no new report");
        no_breach(lierda);
        lierda.query(&["mode"]).unwrap();
        let command = device.hear_on("model/property/ask").await;
        device.say("model/property/report", &frame(&command["MessageId"], 16, &json!({"target": 1}))).await;
        breach(lierda, "\"target\", which was not asked for").await;
    });
}

#[test]
fn a_service_is_named_as_the_document_misspells_it_or_as_a_test_wants() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        for member in ["servicIdentify", "serviceIdentify"] {
            lierda.change(|behaviour| behaviour.service_member = member.to_owned());
            let id = lierda.call("switch", &json!({"on": 1})).unwrap();
            let (topic, command) = device.hear().await;
            assert_eq!((topic.as_str(), &command["HeaderCtrl"]), ("model/service/switch", &json!(21)));
            assert_eq!(command["Payload"], json!({member: "switch", "params": {"on": 1}}));
            let ack = json!({"Code": "200", "Msg": "SUCCESS", "Data": {"was": 0}});
            device.answer("model/service/switch/ack", &command, &ack).await;
            assert_eq!(outcome(lierda, &id).await, Ok(()));
        }
        let id = lierda.call_as("switch", "fan", &json!({})).unwrap();
        let (_, command) = device.hear().await;
        assert_eq!(command["Payload"]["serviceIdentify"], "fan");
        device.answer("model/service/switch/ack", &command, &failed()).await;
        assert!(outcome(lierda, &id).await.is_err());
        no_breach(lierda);
    });
}

#[test]
fn a_passthrough_command_comes_on_either_name_and_is_acknowledged_there() {
    let product = || Product::new(Kind::Passthrough);
    for (on, topics) in [
        (Downlink::Downlink, &["downlink"][..]),
        (Downlink::Downloadlink, &["downloadlink"]),
        (Downlink::Both, &["downlink", "downloadlink"]),
    ] {
        run(product(), async |lierda| {
            let mut device = Device::online(lierda).await;
            let id = lierda.passthrough(&json!({"data": "1323"}), on).unwrap();
            for topic in topics {
                let (heard, command) = device.hear().await;
                assert_eq!((heard.as_str(), &command["HeaderCtrl"]), (*topic, &json!(7)));
                assert_eq!(command["Payload"], json!({"data": "1323"}));
                device.answer(&format!("{topic}_ack"), &command, &done()).await;
            }
            lierda.until(|seen| seen.frames.len() == topics.len()).await;
            assert_eq!(outcome(lierda, &id).await, Ok(()));
            no_breach(lierda);
        });
    }
    run(product(), async |lierda| {
        let mut device = Device::online(lierda).await;
        lierda.send_command("target", &json!(5)).unwrap();
        let (_, command) = device.hear().await;
        assert_eq!(command["Payload"], json!({"target": 5}));
        device.answer("downloadlink_ack", &command, &done()).await;
        breach(lierda, "another topic").await;
    });
}

#[test]
fn hex_commands_are_acknowledged_first_and_then_answered_by_reports() {
    run(Product::new(Kind::Hex), async |lierda| {
        let mut device = Device::online(lierda).await;
        lierda.send_command("target", &json!(5)).unwrap();
        let (topic, command) = device.hear().await;
        assert_eq!((topic.as_str(), &command["HeaderCtrl"]), ("model/hex/downlink", &json!(22)));
        assert_eq!(command["Payload"], "7B22746172676574223A357D");
        device.answer("model/hex/downlink_ack", &command, &done()).await;
        lierda.ledger().until(|entries| entries.commands_done() == 1).await;
        for (command, code) in [(HexCommand::Call, 24), (HexCommand::Query, 25)] {
            let id = lierda.hex(command, "0101002d0142f6e76d").unwrap();
            let command = device.hear_on("model/hex/downlink").await;
            assert_eq!(command["HeaderCtrl"], code);
            device.answer("model/hex/downlink_ack", &command, &done()).await;
            assert_eq!(outcome(lierda, &id).await, Ok(()));
        }
        device.report("model/hex/report", 26, &json!("00")).await;
        device.hear_on("model/hex/report_ack").await;
        no_breach(lierda);
        device.report("model/hex/report", 26, &json!("00")).await;
        breach(lierda, "no service call").await;
    });
}

#[test]
fn settings_are_read_and_written_on_any_of_their_names() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        let id = lierda.read_settings().unwrap();
        let (topic, command) = device.hear().await;
        assert_eq!((topic.as_str(), &command["Payload"]), ("ask_config", &json!({})));
        device.answer("config_report", &command, &json!({"Settings": {"Port": 7200}})).await;
        assert_eq!(outcome(lierda, &id).await, Ok(()));
        for (topic, port, expected) in
            [("download_config", 1, Ok(())), ("down_config", 2, Err("Port was not written".to_owned()))]
        {
            let id = lierda.write_settings(topic, &json!({"Port": port})).unwrap();
            let (heard, command) = device.hear().await;
            assert_eq!((heard.as_str(), &command["Payload"]), (topic, &json!({"Settings": {"Port": port}})));
            device.answer("config_report", &command, &json!({"Settings": {"Port": 1, "Host": "h"}})).await;
            assert_eq!(outcome(lierda, &id).await, expected);
        }
        // Settings that nobody asked for are not acknowledged.
        device.report("config_report", 14, &json!({"Settings": {}})).await;
        device.report("update_time", 29, &json!("")).await;
        assert_eq!(device.hear().await.0, "update_time_ack");
        no_breach(lierda);
    });
}

#[test]
fn bytes_of_a_test_may_be_answered_in_good_form() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        lierda.deliver_raw("downlink", b"\xff no JSON").unwrap();
        lierda.deliver_raw(SET, br#"{"HeaderCtrl":"20","Payload":{"params":[{"identify":"a","value":1}]}}"#).unwrap();
        let command = device.hear_on(SET).await;
        assert_eq!(command["HeaderCtrl"], "20");
        device.say(SET_ACK, &frame(&json!(""), 20, &failed())).await;
        lierda.until(|seen| seen.answers.contains_key("")).await;
        no_breach(lierda);
        device.say(SET_ACK, &frame(&json!(""), 20, &json!({"Code": 4001}))).await;
        breach(lierda, "Msg is missing").await;
    });
}

#[test]
fn an_uplink_code_that_comes_down_is_acknowledged_as_a_downlink() {
    run(Product::new(Kind::Passthrough), async |lierda| {
        let mut device = Device::online(lierda).await;
        let command = frame(&json!(77), 4, &json!({"data": "1"}));
        lierda.deliver_raw("downlink", command.to_string().as_bytes()).unwrap();
        assert_eq!(device.hear().await.1, command);
        device.say("downlink_ack", &frame(&json!(77), 7, &done())).await;
        lierda.until(|seen| seen.answers.contains_key("77")).await;
        no_breach(lierda);
    });
}

#[test]
fn nothing_is_sent_to_a_device_that_is_not_there() {
    run(Product::default(), async |lierda| {
        assert!(lierda.send_command("target", &json!(1)).unwrap_err().contains("not connected"));
        lierda.ledger().with(|entries| assert_eq!(entries.commands_sent(), 0));
    });
}
