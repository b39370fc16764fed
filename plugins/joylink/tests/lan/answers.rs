//! What goes back to apps.

use polylink_joylink::wire::{Answer, Authorization, Code, Script, biz};
use polylink_plugin_sdk::bytes::Reader;

use super::*;

const SNAPSHOT: &[u8] = br#"{"cmd":4,"data":{}}"#;

fn key() -> polylink_joylink::crypto::CipherKey {
    Key32::from_text(LOCALKEY).unwrap().cipher_key()
}

/// The one answer in these outputs.
#[track_caller]
fn one(outputs: &[LanOutput]) -> Packet {
    let messages = messages(outputs);
    let [(FIRST, to, packet)] = &messages[..] else { panic!("one answer, not {messages:?}") };
    assert_eq!(to, PHONE);
    assert!(packet.opt.is_empty());
    packet.clone()
}

/// The time in the answer to a request that was sent at 500.
#[track_caller]
fn check_time(rig: &mut Rig, answered: impl FnOnce(&mut Rig), expected: u32) {
    let (asker, _) = rig.request(&rig.sealed(Kind::Json, 500, SNAPSHOT));
    answered(rig);
    let packet = one(&rig.answer(&asker, b"{}"));
    assert_eq!(packet.open(&key()).unwrap().timestamp, expected);
}

#[test]
fn an_app_that_found_the_device_binds_it_and_controls_it_with_the_key_that_it_gave() {
    let mut rig = Rig::unbound();
    // Found.
    let found = one(&rig.packet(&discovery(r#"{"cmd":2,"productuuid":"XDFSSD","status":1}"#)));
    let found = polylink_joylink::wire::DiscoveryAnswer::decode(&found.payload).unwrap();
    // Bound, with what the app makes of the key in the answer alone.
    let app = KeyPair::new([42; 20]).unwrap();
    let secret = app.agree(&PublicKey::from_text(&found.devkey).unwrap()).cipher_key();
    let opt = app.public().as_bytes().to_vec();
    let packet = Packet::seal(Kind::Authorization, enctype::EXCHANGED, opt, &secret, 1000, &binding(""));
    let (asker, request) = rig.request(&packet);
    let LanRequest::Authorize(Authorization { feedid, localkey, .. }) = request else { panic!("{request:?}") };
    rig.about.feedid = feedid;
    rig.localkey = Some(localkey);
    let answer = one(&rig.answer(&asker, &Answer::of(Code::SUCCESS).encode()));
    assert_eq!((answer.kind, answer.enctype), (Kind::Authorization, enctype::PLAIN));
    assert_eq!(answer.payload, br#"{"code":0,"msg":"success"}"#);
    // Controlled.
    let script = Script { biz_code: biz::CONTROL, serial: 3, content: b"on".to_vec() };
    let (asker, request) = rig.request(&rig.sealed(Kind::Script, 1001, &script.encode()));
    assert_eq!(request, LanRequest::Script(script.clone()));
    let reply = script.answer(b"is on".to_vec()).unwrap();
    let answer = one(&rig.answer(&asker, &reply.encode()));
    assert_eq!((answer.kind, answer.enctype), (Kind::Script, enctype::KEY32));
    let opened = answer.open(&key()).unwrap();
    assert_eq!(Script::decode(opened.body()), Ok(reply));
    // And it is not found any more by who looks for devices to bind.
    assert_eq!(rig.packet(&discovery(r#"{"status":1}"#)), []);
}

#[test]
fn authorizations_are_answered_in_plain_text_and_all_else_encrypted_under_the_type_of_the_request() {
    let mut rig = Rig::gateway();
    let sub_binding = binding(r#","productuuid":"BBBBBB","mac":"b2""#);
    let mut sub_script = vec![0; 40];
    sub_script[..2].copy_from_slice(&1002_u16.to_le_bytes());
    for (packet, expected) in [
        (rig.exchanged(Kind::Authorization, 1, &binding("")), enctype::PLAIN),
        (rig.exchanged(Kind::SubAuthorization, 2, &sub_binding), enctype::PLAIN),
        (rig.sealed(Kind::Json, 1, SNAPSHOT), enctype::KEY32),
        (rig.sealed(Kind::Timers, 2, &[0; 8]), enctype::KEY32),
        (rig.sealed(Kind::SubScript, 3, &sub_script), enctype::KEY32),
    ] {
        let (asker, _) = rig.request(&packet);
        assert_eq!((asker.kind(), &*asker.peer().to_string()), (packet.kind, PHONE));
        let answer = one(&rig.answer(&asker, b"body"));
        assert_eq!((answer.kind, answer.enctype), (packet.kind, expected));
        if expected == enctype::PLAIN {
            assert_eq!(answer.payload, b"body");
        } else {
            assert_eq!(answer.open(&key()).unwrap().body(), b"body");
        }
    }
}

#[test]
fn an_answer_carries_our_time_if_our_clock_is_set_and_else_that_of_the_request() {
    check_time(&mut Rig::open(), |rig| rig.set_clock(1_700_000_000), 1_700_000_000);
    check_time(&mut Rig::open(), |rig| rig.now.wall.unix_ms = 1_700_000_000_000, 500);
    check_time(&mut Rig::open(), |rig| drop(rig.wait(3000)), 500);
    check_time(&mut Rig::open(), |rig| rig.set_clock(-1), 500);
    check_time(&mut Rig::open(), |rig| rig.set_clock(i64::from(u32::MAX) + 1), 500);
}

#[test]
fn a_long_answer_goes_in_fragments_and_one_that_nobody_puts_together_does_not_go() {
    let mut rig = Rig::open();
    let (asker, _) =
        rig.request(&rig.sealed(Kind::Script, 1, &Script { biz_code: 1004, serial: 1, content: vec![] }.encode()));
    for (length, n_datagrams) in [(0, 1), (987, 1), (988, 2), (5000, 6), (20_475, 21), (20_476, 0)] {
        let body: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let outputs = rig.answer(&asker, &body);
        assert_eq!(outputs.len(), n_datagrams, "{length}");
        if n_datagrams > 0 {
            let opened = one(&outputs).open(&key()).unwrap();
            assert_eq!(Reader::new(opened.body()).rest(), body);
        }
    }
    assert_eq!(rig.lan.counters().dropped("too_long"), 1);
}

#[test]
fn an_answer_is_dropped_if_its_socket_is_closed_or_there_is_no_key_any_more() {
    let mut rig = Rig::open();
    let (asker, _) = rig.request(&rig.sealed(Kind::Json, 1, SNAPSHOT));
    let (binder, _) = rig.request(&rig.exchanged(Kind::Authorization, 1, &binding("")));
    let localkey = rig.localkey.take();
    assert_eq!(rig.answer(&asker, b"{}"), []);
    assert_eq!(rig.lan.counters().dropped("no_key"), 1);
    assert_eq!(one(&rig.answer(&binder, b"{}")).payload, b"{}");
    rig.localkey = localkey;
    rig.udp(udp::Event::Closed(FIRST, failure("interface gone")));
    assert_eq!((rig.answer(&asker, b"{}"), rig.answer(&binder, b"{}")), (vec![], vec![]));
    assert_eq!(rig.lan.counters().dropped("closed"), 2);
    rig.wait(12_000);
    rig.udp(udp::Event::Bound(FIRST, 80));
    one(&rig.answer(&asker, b"{}"));
    rig.lan.stop();
    rig.lan.take_outputs();
    assert_eq!(rig.answer(&asker, b"{}"), []);
}
