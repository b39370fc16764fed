use serde_json::{Value as Json, json};

use super::peer::{BEAT, Peer, RANDOM, answer, gateway, run, snapshot};
use crate::clouds::SimCloud;
use crate::clouds::joylink::product::{Account, Product};
use crate::joylink_wire::packet::{CLOUD, Packet};

/// One violation, with this in it, and the end of the connection.
#[track_caller]
fn closes(wanted: &str, act: impl AsyncFnOnce(&mut Peer)) {
    let violations = run(Product::default(), async |cloud| {
        let mut peer = Peer::connect(cloud).await;
        act(&mut peer).await;
        while let Ok(Some(_)) = peer.try_next().await {}
        cloud.until(|seen| seen.closed.len() == 1 && seen.ended == 1).await;
        assert!(!cloud.ledger().with(|entries| entries.online));
    });
    assert!(violations.len() == 1 && violations[0].contains(wanted), "{violations:?}");
}

/// One violation, with this in it, and the connection goes on.
#[track_caller]
fn records(wanted: &str, act: impl AsyncFnOnce(&mut Peer)) {
    let violations = run(gateway(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        act(&mut peer).await;
        peer.settle().await;
    });
    assert!(violations.len() == 1 && violations[0].contains(wanted), "{violations:?}");
}

/// The same for a packet with this body.
#[track_caller]
fn records_body(wanted: &str, kind: u8, body: &[u8]) {
    records(wanted, async |peer| peer.send(kind, body).await);
}

/// The same for an upload.
#[track_caller]
fn records_upload(wanted: &str, json: &Json) {
    records_body(wanted, 12, json.to_string().as_bytes());
}

#[test]
fn a_wrong_crc_a_wrong_magic_and_another_version_end_the_connection() {
    for (at, wanted) in [(15, "a crc of"), (0, "begins with"), (8, "version"), (30, "a crc of")] {
        closes(wanted, async |peer| {
            peer.authenticate().await;
            let mut bytes = peer.packet(12, &[b'x'; 40]).encode();
            bytes[at] ^= 0xFF;
            peer.send_raw(&bytes).await;
        });
    }
}

#[test]
fn who_cannot_authenticate_is_thrown_out() {
    closes("randoms", async |peer| peer.ask_in(RANDOM, RANDOM + 1).await);
    closes("unknown", async |peer| {
        peer.account.feedid += "0";
        peer.ask_in(RANDOM, RANDOM).await;
    });
    closes("padding", async |peer| {
        peer.account.accesskey = Account::new("5").accesskey;
        peer.ask_in(RANDOM, RANDOM).await;
    });
    closes("before authentication", async |peer| {
        peer.send_raw(&Packet::new(CLOUD, 10, 3, &[], &[0; 16]).encode()).await
    });
    closes("opt of 3 bytes", async |peer| peer.send_raw(&Packet::new(CLOUD, 9, 3, &[1; 3], &[0; 16]).encode()).await);
    closes("enctype 4", async |peer| {
        let opt = [peer.account.feedid.as_bytes(), &[0; 4]].concat();
        peer.send_raw(&Packet::new(CLOUD, 9, 4, &opt, &[0; 16]).encode()).await;
    });
}

#[test]
fn a_feedid_may_be_padded_with_zeros() {
    let violations = run(Product::default(), async |cloud| {
        let mut peer = Peer::connect(cloud).await;
        peer.account.feedid = format!("{:\0<32}", peer.account.feedid);
        peer.authenticate().await;
    });
    assert_eq!(violations, [""; 0]);
}

#[test]
fn a_device_that_does_not_beat_is_thrown_out() {
    let violations = run(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        cloud.change(|behaviour| behaviour.heartbeat_limit = std::time::Duration::from_millis(1));
        // The limit is looked at when a packet comes, and an upload is no heartbeat.
        peer.upload(&json!({"counter": 2})).await;
        assert!(peer.next().await.is_none());
        cloud.until(|seen| seen.ended == 1).await;
    });
    assert!(violations.len() == 1 && violations[0].contains("no heartbeat for"), "{violations:?}");
}

#[test]
fn a_device_without_a_snapshot_is_on_record_once_and_gets_no_commands() {
    let violations = run(Product::default(), async |cloud| {
        let mut peer = Peer::connect(cloud).await;
        peer.authenticate().await;
        assert!(cloud.control(&[("switch", json!(1))]).unwrap_err().contains("no snapshot"));
        peer.settle().await;
        peer.settle().await;
        assert!(!cloud.ledger().with(|entries| entries.online));
        peer.upload(&json!({"counter": 1})).await;
        assert!(cloud.ledger().with(|entries| entries.online));
        cloud.control(&[("switch", json!(1))]).unwrap();
    });
    assert!(violations.len() == 1 && violations[0].contains("before a snapshot"), "{violations:?}");
}

#[test]
fn a_packet_is_judged_by_its_head() {
    records("a fragment", async |peer| {
        let packet = Packet { total: 2, index: 1, ..peer.packet(10, &BEAT) };
        peer.send_raw(&packet.encode()).await;
    });
    records("1 bytes of opt", async |peer| {
        let packet = Packet { opt: vec![1], ..peer.packet(10, &BEAT) };
        peer.send_raw(&packet.encode()).await;
    });
    records("enctype 2", async |peer| {
        let packet = Packet { enctype: 2, ..peer.packet(10, &BEAT) };
        peer.send_raw(&packet.encode()).await;
    });
    records("whole number of blocks", async |peer| {
        let packet = Packet { payload: vec![1; 15], ..peer.packet(10, &BEAT) };
        peer.send_raw(&packet.encode()).await;
    });
    records("the padding is wrong", async |peer| {
        let packet = Packet { payload: vec![1; 16], ..peer.packet(10, &BEAT) };
        peer.send_raw(&packet.encode()).await;
    });
    records("its clock says", async |peer| {
        peer.ahead_s = -3600;
        peer.beat().await;
        assert_eq!(peer.hear().await.0, 10);
        peer.ahead_s = 0;
    });
    for kind in [1, 3, 17, 200, 255] {
        records_body("nobody sends this", kind, &[]);
    }
}

#[test]
fn heartbeats_are_judged() {
    records_body("1 bytes too many", 10, &[3, 0, 76, 0, 0]);
    records_body("2 bytes expected", 10, &[3, 0, 76]);
    records_body("101 per cent", 10, &[3, 0, 101, 0]);
    let list = |feedid: &str, state: u8| {
        let entry = [&[1, 0, 55, 0][..], format!("{feedid:\0<32}").as_bytes(), &[state]].concat();
        [&BEAT[..], &[1, 0], &entry].concat()
    };
    records_body("no sub-device", 110, &list("5", 0));
    records_body("state: 4", 110, &list(super::peer::SUB, 4));
    let twice = [&BEAT[..], &[2, 0], &list(super::peer::SUB, 0)[6..], &list(super::peer::SUB, 0)[6..]].concat();
    records_body("comes twice", 110, &twice);
    records_body("are left", 110, &[&BEAT[..], &[1, 0]].concat());
}

#[test]
fn uploads_are_judged() {
    records_body("no JSON object", 12, b"\x01\x18");
    records_upload("no streams", &json!({"code": 0}));
    records_upload("code 10", &json!({"code": 10, "streams": []}));
    records_upload("neither text nor number", &snapshot(&json!({"switch": true})));
    records_upload("without a name", &json!({"code": 0, "streams": [{"current_value": 1}]}));
    let stream = json!({"stream_id": "a", "current_value": 1});
    records_upload("comes twice", &json!({"code": 0, "streams": [stream, stream]}));
    records_upload("a counter of", &snapshot(&json!({"counter": -1})));
    let product = Product { streams: vec!["switch".to_owned()], ..Product::default() };
    let violations = run(product, async |cloud| {
        let mut peer = Peer::connect(cloud).await;
        peer.authenticate().await;
        peer.send(12, snapshot(&json!({"counter": 1})).to_string().as_bytes()).await;
        cloud.ledger().until(|entries| !entries.violations.is_empty()).await;
    });
    assert!(violations[0].contains("without \"switch\""), "{violations:?}");
}

#[test]
fn an_answer_needs_a_question() {
    records_body("which nothing had", 11, &answer(102, 7, b"{\"code\":0}"));
    for (biz_code, text, wanted) in [
        (104, json!({"code": 0, "streams": []}), "business code 104"),
        (102, json!({"streams": []}), "without a code"),
        (102, json!({"code": 0}), "no streams"),
    ] {
        let violations = run(Product::default(), async |cloud| {
            let mut peer = Peer::working(cloud).await;
            cloud.control(&[("switch", json!(1))]).unwrap();
            let (_, _, serial, _) = peer.command().await;
            peer.send(11, &answer(biz_code, serial, text.to_string().as_bytes())).await;
            peer.settle().await;
            assert_eq!(cloud.ledger().with(|entries| entries.commands_done()), 0);
        });
        assert!(violations.len() == 1 && violations[0].contains(wanted), "{violations:?}");
    }
    let violations = run(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        cloud.control(&[("switch", json!(1))]).unwrap();
        let (_, _, serial, _) = peer.command().await;
        for _ in 0..2 {
            peer.send(11, &answer(102, serial, snapshot(&json!({"switch": 1})).to_string().as_bytes())).await;
        }
        peer.settle().await;
        assert_eq!(cloud.ledger().with(|entries| entries.commands_done()), 1);
    });
    assert!(violations.len() == 1 && violations[0].contains("which nothing had"), "{violations:?}");
}

#[test]
fn other_reports_are_judged() {
    let result = |control_type: u8, id: &str| {
        let feedid = format!("{:\0<32}", crate::clouds::joylink::product::FEEDID);
        [&[0; 8][..], feedid.as_bytes(), &[control_type], &[0; 4], format!("{id:\0<32}").as_bytes(), b"{\"code\":0}"]
            .concat()
    };
    records_body("control type 2", 14, &result(2, "0"));
    records_body("id \"x\"", 14, &result(1, "x"));
    records_body("id \"\"", 14, &result(1, ""));
    records_body("asks for", 15, b"\x01\0\0\0\x0b\0\0\0{\"type\":[]}");
    records_body("too many", 15, b"\x01\0\0\0\x01\0\0\0{}");
    records_body("progress of", 16, b"\x01\0\0\0{\"task_id\":1}");
    records_body("a step of", 16, b"\x01\0\0\0{\"task_id\":\"1\",\"subTask\":[{\"id\":\"1\"}]}");
    records_body(
        "the status of no upgrade",
        8,
        br#"{"cmd":"otastat","data":{"feedid":"1","status":0,"status_desc":"","progress":0}}"#,
    );
    records_body("a status of", 8, br#"{"cmd":"otastat","data":{"status":4}}"#);
    records_body("business code 1050", 13, &answer(1050, 1, &[]));
    records_body("results []", 13, &answer(1097, 1, &[0; 4]));
}

#[test]
fn a_connection_that_ends_within_a_packet_is_on_record() {
    let violations = run(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        let bytes = peer.packet(10, &BEAT).encode();
        peer.send_raw(&bytes[..20]).await;
        drop(peer);
        cloud.until(|seen| seen.ended == 1).await;
    });
    assert!(violations.len() == 1 && violations[0].contains("within a packet, after 20"), "{violations:?}");
}

#[test]
fn only_the_last_connection_counts() {
    let violations = run(Product::default(), async |cloud| {
        let mut old = Peer::working(cloud).await;
        let _new = Peer::working(cloud).await;
        assert!(old.next().await.is_none(), "the old one is closed");
        cloud.until(|seen| seen.ended == 1).await;
        assert!(cloud.ledger().with(|entries| entries.online && entries.sessions == 2));
    });
    assert_eq!(violations, [""; 0]);
}
