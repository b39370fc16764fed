use serde_json::json;

use super::peer::{BEAT, Peer, SUB, answer, check, gateway, run, snapshot};
use crate::clouds::SimCloud;
use crate::joylink_wire::cipher::Secret;
use crate::joylink_wire::fields::{Reader, Writer};
use crate::joylink_wire::timers::FEEDID;

fn inner() -> Secret {
    gateway().sub(SUB).unwrap().account.access().unwrap()
}

fn list(state: u8) -> Writer {
    Writer::default().short(1).short(1).short(0xFFFF).text(SUB, FEEDID).byte(state)
}

#[test]
fn a_gateway_beats_uploads_and_is_controlled_for_its_sub_devices() {
    check(gateway(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        peer.send(110, &[&BEAT[..], &list(0).done()].concat()).await;
        assert_eq!(peer.hear().await, (110, vec![0; 4]));
        assert_eq!(cloud.seen().heartbeats[0].subs.as_ref().unwrap()[0].feedid, SUB);

        let upload = inner().encrypt(snapshot(&json!({"level": "5"})).to_string().as_bytes());
        peer.send(112, &Writer::default().text(SUB, FEEDID).bytes(&upload).done()).await;
        assert_eq!(peer.hear().await, (112, Writer::default().text(SUB, FEEDID).word(0).done()));
        let seen = cloud.seen();
        let upload = seen.uploads.last().unwrap();
        assert_eq!((upload.sub.as_deref(), upload.value("level")), (Some(SUB), Some(&json!("5"))));

        let id = cloud.control_sub(SUB, &[("level", json!(7))]).unwrap();
        let (kind, biz_code, serial, body) = peer.command().await;
        assert_eq!((kind, biz_code), (111, 1002));
        let mut fields = Reader::new(&body);
        assert_eq!(fields.text(FEEDID).unwrap(), SUB);
        let command: serde_json::Value = serde_json::from_slice(&inner().decrypt(fields.rest()).unwrap()).unwrap();
        assert_eq!(command["streams"], json!([{"current_value": 7, "stream_id": "level"}]));
        let done = inner().encrypt(snapshot(&json!({"level": 7})).to_string().as_bytes());
        peer.send(111, &answer(102, serial, &Writer::default().text(SUB, FEEDID).bytes(&done).done())).await;
        cloud.ledger().until(|entries| entries.commands_done() == 1).await;
        assert_eq!(cloud.answer_to(&id).unwrap().code, 0);

        // A gateway that does not know the sub-device has no key, and says so in clear.
        let id = cloud.snapshot_sub(SUB).unwrap();
        let (_, biz_code, serial, body) = peer.command().await;
        assert_eq!((biz_code, inner().decrypt(&body[FEEDID..]).unwrap()), (1004, Vec::new()));
        let unknown = Writer::default().text(SUB, FEEDID).bytes(br#"{"code":19,"msg":"no such sub-device"}"#);
        peer.send(111, &answer(104, serial, &unknown.done())).await;
        cloud.until(|seen| seen.answers.contains_key(&id)).await;
        assert_eq!(cloud.answer_to(&id).unwrap().code, 19);
    });
}

#[test]
fn an_unbound_sub_device_is_to_be_gone() {
    let violations = run(gateway(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        let id = cloud.unbind(&[SUB]).unwrap();
        let (kind, biz_code, serial, body) = peer.command().await;
        assert_eq!((kind, biz_code, body.len()), (113, 1060, 2 + 37));
        peer.send(113, &answer(160, serial, &list(2).done())).await;
        cloud.until(|seen| seen.answers.contains_key(&id)).await;
        assert_eq!(cloud.answer_to(&id).unwrap().json, json!([{"feedid": SUB, "state": 2}]));
        peer.send(110, &[&BEAT[..], &list(0).done()].concat()).await;
        peer.settle().await;
    });
    assert!(violations.len() == 1 && violations[0].contains("was unbound and has state 0"), "{violations:?}");
}

#[test]
fn messages_of_sub_devices_are_judged() {
    let body =
        |key: Secret| Writer::default().text(SUB, FEEDID).bytes(&key.encrypt(b"{\"code\":0,\"streams\":[]}")).done();
    let localkey = Secret::of_text(&gateway().subs[0].account.localkey).unwrap();
    for (body, wanted) in [
        (body(localkey), "the padding is wrong"),
        (Writer::default().text("5", FEEDID).done(), "no sub-device"),
        (vec![1; 31], "are left"),
        (Writer::default().bytes(b"1\x002").bytes(&[0; 29]).done(), "behind its zero"),
    ] {
        let violations = run(gateway(), async |cloud| {
            let mut peer = Peer::working(cloud).await;
            peer.send(112, &body).await;
            peer.settle().await;
        });
        assert!(violations.len() == 1 && violations[0].contains(wanted), "{wanted}: {violations:?}");
    }
    let violations = run(gateway(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        cloud.unbind(&[SUB]).unwrap();
        let (_, _, serial, _) = peer.command().await;
        peer.send(113, &answer(160, serial, &list(0).done())).await;
        peer.settle().await;
    });
    assert!(violations.len() == 1 && violations[0].contains("answers"), "{violations:?}");
}
