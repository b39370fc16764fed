//! Queries, controls, unbinding, forced offline: how they are sent, and how their answers are judged.

use super::device::{Device, is_online, message};
use super::*;
use crate::broker::packet::Publish;

/// Sends a command, hears it, and answers with this body under its msgId.
async fn answered(clife: &Clife, device: &mut Device, id: i64, cmd: i64, body: &Json) {
    let command = device.hear().await;
    assert_eq!(command["msgId"], json!(id));
    device.answer(cmd, id, body).await;
    clife.until(|seen| seen.answers.contains_key(&id)).await;
}

#[test]
fn commands_look_as_in_the_document() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let sent = [
            (clife.control(&[("switch", json!(false)), ("target", json!(21.5))]).unwrap(), 2011),
            (clife.query(&["switch", "mode"]).unwrap(), 2009),
            (clife.query(&[]).unwrap(), 2009),
            (clife.query_ids(&Json::Null).unwrap(), 2009),
            (clife.unbind().unwrap(), 2013),
        ];
        let bodies = [
            json!({"params": [{"1": false}, {"3": 21.5}]}),
            json!({"params": ["1", "2"]}),
            json!({"params": []}),
            json!({}),
            json!({}),
        ];
        for ((id, cmd), body) in sent.into_iter().zip(bodies) {
            let frame = device.hear().await;
            assert_eq!((&frame["cmd"], &frame["msgId"], &frame["data"]), (&json!(cmd), &json!(id), &body));
            assert_eq!((&frame["ver"], &frame["dir"]), (&json!("1.0"), &json!("30")));
            assert!(frame["timestamp"].is_i64());
        }
        assert!(clife.control(&[("power", json!(1))]).unwrap_err().contains("no data point"));
        no_breach(clife);
    });
}

#[test]
fn a_control_is_done_when_its_answer_has_no_code_and_refused_when_it_has_one() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        clife.send_command("mode", &json!("cool")).unwrap();
        let command = device.hear().await;
        let id = command["msgId"].as_i64().unwrap();
        device.answer(2006, id, &json!({"params": [{"2": "cool"}]})).await;
        assert_eq!(outcome(clife, id).await, Ok(()));
        let refused = clife.control_ids(&json!([{"4": 7}, {"99": 1}])).unwrap();
        let body = json!({"params": [{"4": 1}], "respCode": -1, "respCont": "read only"});
        answered(clife, &mut device, refused, 2006, &body).await;
        assert_eq!(outcome(clife, refused).await, Err("read only".to_owned()));
        // The counter in them is no arrival.
        assert_eq!(arrivals(clife), [0; 0]);
        no_breach(clife);
    });
}

#[test]
fn queries_and_unbindings_are_done_when_answered() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = clife.query(&["switch", "counter"]).unwrap();
        answered(clife, &mut device, id, 2006, &json!({"params": [{"4": 5}]})).await;
        assert_eq!(outcome(clife, id).await, Ok(()));
        let id = clife.query(&[]).unwrap();
        answered(clife, &mut device, id, 2006, &json!({"params": [{"1": true}, {"4": 5}]})).await;
        let id = clife.query_ids(&json!([99])).unwrap();
        answered(clife, &mut device, id, 2006, &json!({"params": []})).await;
        let id = clife.unbind().unwrap();
        answered(clife, &mut device, id, 2012, &json!({"respCode": 0, "respCont": "ok"})).await;
        assert_eq!(outcome(clife, id).await, Ok(()));
        let id = clife.unbind().unwrap();
        answered(clife, &mut device, id, 2012, &json!({"respCode": 3})).await;
        assert!(outcome(clife, id).await.unwrap_err().contains("respCode 3"));
        assert_eq!(arrivals(clife), [0; 0]);
        no_breach(clife);
    });
}

#[test]
fn an_answer_that_does_not_fit_is_a_breach() {
    type Ask = fn(&Clife) -> Result<i64, String>;
    let control: Ask = |clife| clife.control(&[("switch", json!(true))]);
    let query: Ask = |clife| clife.query(&["switch"]);
    let unbind: Ask = |clife| clife.unbind();
    for (ask, cmd, body, fault) in [
        (control, 2006, json!({"params": []}), "was set, but is not in the answer"),
        (control, 2006, json!({"params": [{"1": true}, {"2": "cool"}]}), "was not asked for"),
        (control, 2006, json!({"params": [{"1": true}], "respCode": 0}), "neither"),
        (control, 2006, json!({"params": [{"1": true}], "respCode": -1}), "neither"),
        (control, 2006, json!({"params": [{"1": true}], "respCode": -1, "respCont": 1}), "respCont must be a text"),
        (control, 2012, json!({"respCode": 0}), "cmd 2012 as the answer"),
        (control, 2018, json!({"respCode": 1, "respCont": "1"}), "which was no file operation"),
        (query, 2006, json!({"params": [{"2": "cool"}]}), "was not asked for"),
        (query, 2006, json!({"params": [], "respCode": -1, "respCont": "x"}), "unknown member"),
        (unbind, 2012, json!({"respCode": "0"}), "respCode must be"),
        (unbind, 2006, json!({"params": [{"1": true}]}), "cmd 2006 as the answer"),
    ] {
        run(Product::default(), async |clife| {
            let mut device = Device::online(clife).await;
            let id = ask(clife).unwrap();
            device.hear().await;
            device.answer(cmd, id, &body).await;
            breach(clife, fault).await;
        });
    }
    run(Product::default(), async |clife| {
        Device::online(clife).await.answer(2012, 3_000_000_777, &json!({"respCode": 0})).await;
        breach(clife, "which was never sent").await;
    });
}

#[test]
fn a_command_is_answered_as_often_as_it_was_sent() {
    let state = json!({"params": [{"1": true}]});
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = clife.control(&[("switch", json!(true))]).unwrap();
        clife.repeat(id).unwrap();
        for _ in 0..2 {
            assert_eq!(device.hear().await["msgId"], json!(id));
            device.answer(2006, id, &state).await;
        }
        let again = device.frame(2006, id, &state).to_string();
        device.publish(Publish { dup: true, ..message(&again) }).await;
        clife.until(|seen| seen.of(2006).count() == 3).await;
        no_breach(clife);
        device.say_raw(&again).await;
        breach(clife, "answered 2 times, and once more").await;
    });
}

#[test]
fn frames_of_the_platform_are_odd_as_a_test_wants_them() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        clife.change(|behaviour| {
            behaviour.timestamp_as_text = true;
            behaviour.dir = Some("32".to_owned());
            behaviour.big_ids = true;
        });
        let id = clife.query(&[]).unwrap();
        assert!(id > 1 << 53);
        let frame = device.hear().await;
        assert_eq!((&frame["msgId"], &frame["dir"]), (&json!(id), &json!("32")));
        assert!(frame["timestamp"].is_string());
        answered_later(clife, &mut device, id).await;
        clife.change(|behaviour| behaviour.blanks = true);
        clife.control(&[("switch", json!(true))]).unwrap();
        let frame = device.hear().await;
        assert_eq!(frame[" cmd "], json!(2011));
        let key = clife.platform.lock().credentials.as_ref().unwrap().key.clone();
        let data = key.open(frame[" data "].as_str().unwrap()).unwrap();
        assert_eq!(data, br#"{" params ":[{" 1 ":true}]}"#);
        no_breach(clife);
    });
}

async fn answered_later(clife: &Clife, device: &mut Device, id: i64) {
    device.answer(2006, id, &json!({"params": [{"1": true}]})).await;
    assert_eq!(outcome(clife, id).await, Ok(()));
}

#[test]
fn data_of_the_platform_comes_in_clear_or_under_another_key_as_a_test_wants_it() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        clife.change(|behaviour| behaviour.plain_data = true);
        clife.query(&["switch"]).unwrap();
        assert_eq!(device.hear().await["data"], json!({"params": ["1"]}));
        clife.change(|behaviour| (behaviour.plain_data, behaviour.wrong_key) = (false, true));
        let id = clife.control(&[("switch", json!(true))]).unwrap();
        // The answer that the document wants where data cannot be read.
        device.answer(2006, id, &json!({"params": [], "respCode": -1, "respCont": "decrypt error"})).await;
        assert_eq!(outcome(clife, id).await, Err("decrypt error".to_owned()));
        no_breach(clife);
    });
}

#[test]
fn a_device_is_forced_offline_with_or_without_a_reason_and_may_come_back() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        clife.force_offline(Some("maintenance")).unwrap();
        clife.force_offline(None).unwrap();
        let frame = device.hear().await;
        assert_eq!((&frame["cmd"], &frame["data"]), (&json!(2017), &json!({"respCont": "maintenance"})));
        assert_eq!(device.hear().await["data"], json!({}));
        device.bye().await;
        clife.ledger().until(|entries| !entries.online).await;
        assert!(clife.force_offline(None).unwrap_err().contains("not connected"));
        Device::online(clife).await;
        is_online(clife).await;
        clife.ledger().with(|entries| assert_eq!((entries.sessions, entries.commands_sent()), (2, 0)));
        no_breach(clife);
    });
}

#[test]
fn raw_bytes_are_sent_as_they_are_and_answers_to_them_judged_by_their_form() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        clife.deliver_raw(b"garbage").unwrap();
        assert_eq!(device.hear().await, Json::Null);
        clife.send_as(2011, 5, &json!({"params": 1})).unwrap();
        let frame = device.hear().await;
        assert_eq!((&frame["msgId"], &frame["data"]), (&json!(5), &json!({"params": 1})));
        device.answer(2006, 5, &json!({"params": [], "respCode": -1, "respCont": "bad parameter"})).await;
        clife.until(|seen| seen.answers.contains_key(&5)).await;
        clife.deliver_raw(br#"{" cmd":2019,"msgId":6,"data":"!"}"#).unwrap();
        device.hear().await;
        device.answer(2018, 6, &json!({"respCode": -1, "respCont": "decrypt error"})).await;
        clife.until(|seen| seen.operations.contains_key(&6)).await;
        clife.ledger().with(|entries| assert_eq!(entries.commands_sent(), 0));
        no_breach(clife);
    });
}

#[test]
fn a_cloud_that_goes_away_and_comes_back_still_knows_its_device() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        clife.go_away();
        device.gone().await;
        clife.ledger().until(|entries| !entries.online).await;
        clife.come_back().unwrap();
        let mut device = Device::online(clife).await;
        clife.kick();
        device.gone().await;
        clife.ledger().with(|entries| assert_eq!(entries.sessions, 2));
        no_breach(clife);
    });
}
