use serde_json::{Value as Json, json};

use super::peer::{Peer, answer, check, snapshot};
use crate::clouds::SimCloud;
use crate::clouds::joylink::product::{Conversion, FEEDID, Product};
use crate::joylink_wire::fields::Writer;
use crate::joylink_wire::script::Script;

#[test]
fn a_device_reports_and_is_commanded() {
    check(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        assert_eq!(peer.upload(&json!({"counter": "2", "switch": 0})).await, 0);
        // Something else has changed, and the counter comes along.
        assert_eq!(peer.upload(&json!({"counter": 2, "switch": 1})).await, 0);
        let counters =
            |entries: &crate::clouds::ledger::Entries| entries.arrivals.iter().map(|a| a.counter).collect::<Vec<_>>();
        assert_eq!(cloud.ledger().with(counters), vec![1, 2]);

        cloud.send_command("switch", &json!(true)).unwrap();
        let (kind, biz_code, serial, body) = peer.command().await;
        assert_eq!((kind, biz_code), (11, 1002));
        let command: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!(command["streams"], json!([{"current_value": 1, "stream_id": "switch"}]));
        assert_eq!(command["snapshot"][1], json!({"current_value": 1, "stream_id": "switch"}));
        peer.send(11, &answer(102, serial, snapshot(&json!({"switch": 1})).to_string().as_bytes())).await;
        cloud.ledger().until(|entries| entries.commands_done() == 1).await;

        cloud.change(|behaviour| behaviour.text_values = true);
        let id = cloud.control(&[("target", json!(21.5))]).unwrap();
        let (_, _, serial, body) = peer.command().await;
        let command: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!(command["streams"][0]["current_value"], "21.5");
        peer.send(11, &answer(102, serial, br#"{"code":10,"msg":"the MCU is silent"}"#)).await;
        cloud.until(|seen| seen.answers.contains_key(&id)).await;
        assert_eq!(cloud.answer_to(&id).unwrap().code, 10);
        assert_eq!(cloud.ledger().with(|entries| (entries.commands_sent(), entries.commands_done())), (2, 1));

        let id = cloud.snapshot().unwrap();
        let (_, biz_code, serial, body) = peer.command().await;
        assert_eq!((biz_code, body), (1004, Vec::new()));
        peer.send(11, &answer(104, serial, snapshot(&json!({"switch": 1})).to_string().as_bytes())).await;
        cloud.until(|seen| seen.answers.contains_key(&id)).await;

        let id = cloud.recipe(7, &json!([{"id": "1", "index": 0, "streams": []}])).unwrap();
        let (_, biz_code, serial, _) = peer.command().await;
        assert_eq!(biz_code, 1050);
        peer.send(11, &answer(150, serial, br#"{"code":0,"msg":"ok"}"#)).await;
        cloud.until(|seen| seen.answers.contains_key(&id)).await;
    });
}

#[test]
fn a_script_stands_between_the_cloud_and_the_wire() {
    let source = "function jds2pri(b, c)
            if b == 1004 then return 0, 1, '\\2' end
            return 0, 2, '\\1' .. string.char(cjson.decode(c).streams[1].current_value)
        end
        function pri2jds(b, n, c)
            local value = string.byte(c, 1)
            return 0, cjson.encode({code = 0, streams = {{stream_id = 'counter', current_value = value}}}), b
        end";
    let conversion = Conversion::Script(Script::load(source).unwrap());
    check(Product { conversion, ..Product::default() }, async |cloud| {
        let mut peer = Peer::connect(cloud).await;
        peer.authenticate().await;
        peer.send(12, &[9]).await;
        assert_eq!(peer.hear().await, (12, vec![0; 4]));
        assert_eq!(cloud.ledger().with(|entries| entries.arrivals[0].counter), 9);
        cloud.send_command("counter", &json!(4)).unwrap();
        let (_, _, serial, body) = peer.command().await;
        assert_eq!(body, [1, 4]);
        peer.send(11, &answer(102, serial, &[4])).await;
        cloud.ledger().until(|entries| entries.commands_done() == 1).await;
        // A silent MCU is reported in JSON, whatever the product speaks.
        let id = cloud.snapshot().unwrap();
        let (_, _, serial, body) = peer.command().await;
        assert_eq!(body, [2]);
        peer.send(11, &answer(104, serial, br#"{"code":10,"msg":"silent"}"#)).await;
        cloud.until(|seen| seen.answers.contains_key(&id)).await;
        assert_eq!(cloud.answer_to(&id).unwrap().code, 10);
    });
}

#[test]
fn results_information_progress_and_video_have_their_answers() {
    check(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        let result = Writer::default().word(0).word(33).text(FEEDID, 32).byte(0).word(7).text("1001", 32);
        peer.send(14, &result.bytes(br#"{"code":0,"streams":[]}"#).done()).await;
        cloud.until(|seen| seen.results.len() == 1).await;
        assert_eq!(cloud.seen().results[0].id, "1001");

        let asked = br#"{"type":["weather","air"]}"#;
        peer.send(15, &Writer::default().word(32).count(asked.len()).bytes(asked).done()).await;
        let (kind, body) = peer.hear().await;
        let info: Json = serde_json::from_slice(&body[8..]).unwrap();
        assert_eq!((kind, body[0], info["result"][1]["type"].as_str()), (15, 32, Some("air")));

        let step = json!({"id": "1", "index": "0", "result": "0", "startTime": "a", "endTime": "b"});
        let report = json!({"task_id": "7", "subTask": [step]}).to_string();
        peer.send(16, &Writer::default().word(31).bytes(report.as_bytes()).done()).await;
        assert_eq!(peer.hear().await, (16, Writer::default().word(31).word(0).done()));

        let id = cloud.push_video(480, "rtsp://127.0.0.1/").unwrap();
        let (kind, _, serial, body) = peer.command().await;
        let command: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!((kind, command["control"][0]["stream_id"].as_str()), (200, Some("push_stream")));
        let resp = json!({
            "result": -4, "control_resp": "", "resolution": [], "attribute": command["attribute"],
            "device": {"feed_id": FEEDID, "access_key": cloud.product().device.accesskey},
        });
        peer.send(201, &answer(102, serial, resp.to_string().as_bytes())).await;
        cloud.until(|seen| seen.answers.contains_key(&id)).await;
        assert_eq!(cloud.answer_to(&id).unwrap().code, -4);
    });
}

#[test]
fn the_cloud_goes_away_and_comes_back_on_the_same_port() {
    check(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        cloud.go_away();
        assert!(peer.try_next().await.is_err(), "reset");
        assert!(!cloud.ledger().with(|entries| entries.online));
        cloud.come_back().unwrap();
        let mut peer = Peer::working(cloud).await;
        cloud.close();
        assert!(peer.next().await.is_none());
        let mut peer = Peer::working(cloud).await;
        cloud.reset();
        assert!(peer.try_next().await.is_err());
        assert_eq!(cloud.ledger().with(|entries| entries.sessions), 3);
    });
}
