//! What is handed out, what not, and why.

use polylink_joylink::packet::ReplayRule;
use polylink_joylink::wire::{
    AddSubDevice, Authorization, JsonCommand, JsonRequest, Script, SubScript, WireError, biz,
};
use polylink_plugin_sdk::bytes::Writer;

use super::*;

const SNAPSHOT: &[u8] = br#"{"cmd":4,"data":{}}"#;
const SUB_SNAPSHOT: &[u8] = br#"{"cmd":4,"feedid":"a1","data":{}}"#;
const SUB_BINDING: &str = r#","productuuid":"BBBBBB","mac":"b2""#;
const ADDING: &[u8] = br#"{"cmd":6,"data":{"mac":"c3","productuuid":"CCCCCC","protocol":3}}"#;

fn script(biz_code: u32) -> Vec<u8> {
    Script { biz_code, serial: 5, content: vec![1, 2] }.encode()
}

fn sub_script(biz_code: u32) -> Vec<u8> {
    SubScript { biz_code, serial: 5, feedid: feedid("a1"), sealed: vec![3; 16] }.encode()
}

/// What asks whether there are timers, without the time.
fn timers() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u32_le(1090).u32_le(5);
    writer.finish()
}

/// One good request of each type, with times that grow.
fn requests(rig: &Rig, first: u32) -> Vec<Packet> {
    vec![
        rig.exchanged(Kind::Authorization, first, &binding("")),
        rig.exchanged(Kind::SubAuthorization, first + 1, &binding(SUB_BINDING)),
        rig.sealed(Kind::Json, first + 2, SNAPSHOT),
        rig.sealed(Kind::Script, first + 3, &script(biz::CONTROL)),
        rig.sealed(Kind::Timers, first + 4, &timers()),
        rig.sealed(Kind::SubJson, first + 5, SUB_SNAPSHOT),
        rig.sealed(Kind::SubScript, first + 6, &sub_script(biz::SNAPSHOT)),
        rig.sealed(Kind::AddSubDevice, first + 7, ADDING),
    ]
}

/// What becomes of one good request of each type: handed out, or the reason for dropping it.
#[track_caller]
fn check_each(rig: &mut Rig, expected: &[(Kind, &str)]) {
    let mut got = Vec::new();
    for packet in requests(rig, 100) {
        let before = rig.lan.counters().clone();
        let outputs = rig.packet(&packet);
        let reason = rig.lan.counters().iter().find(|(reason, n)| before.dropped(reason) != *n);
        let handed_out = matches!(&outputs[..], [LanOutput::Request(asker, _)] if asker.kind() == packet.kind);
        assert_eq!(outputs.is_empty(), !handed_out, "{outputs:?}");
        got.push((packet.kind, reason.map_or("", |(reason, _)| reason)));
        assert_eq!(handed_out, reason.is_none(), "{packet:?}");
    }
    assert_eq!(got, expected);
}

#[test]
fn a_bound_gateway_gets_every_type() {
    let mut rig = Rig::gateway();
    let got: Vec<_> = requests(&rig, 100).iter().map(|packet| rig.request(packet).1).collect();
    let snapshot = |feedid| JsonRequest { feedid, command: JsonCommand::Snapshot };
    assert_eq!(
        got,
        [
            LanRequest::Authorize(Authorization::decode(&binding("")).unwrap()),
            LanRequest::SubAuthorize(Authorization::decode_sub(&binding(SUB_BINDING)).unwrap()),
            LanRequest::Json(snapshot(None)),
            LanRequest::Script(Script::decode(&script(1002)).unwrap()),
            LanRequest::Timers([&104_u32.to_le_bytes()[..], &timers()].concat()),
            LanRequest::SubJson(snapshot(Some(feedid("a1")))),
            LanRequest::SubScript(SubScript::decode(&sub_script(1004)).unwrap()),
            LanRequest::AddSubDevice(AddSubDevice::decode(ADDING).unwrap()),
        ]
    );
    let shown = format!("{got:?}");
    assert!(!shown.contains(LOCALKEY) && !shown.contains("00112233445566778899aabbccddeeff"), "{shown}");
}

#[test]
fn a_normal_device_ignores_what_is_for_gateways() {
    check_each(
        &mut Rig::open(),
        &[
            (Kind::Authorization, ""),
            (Kind::SubAuthorization, "not_gateway"),
            (Kind::Json, ""),
            (Kind::Script, ""),
            (Kind::Timers, ""),
            (Kind::SubJson, "not_gateway"),
            (Kind::SubScript, "not_gateway"),
            (Kind::AddSubDevice, "not_gateway"),
        ],
    );
}

#[test]
fn control_that_is_not_allowed_is_ignored_and_the_rest_is_not() {
    let mut rig = Rig::gateway();
    rig.about.lancon = false;
    check_each(
        &mut rig,
        &[
            (Kind::Authorization, ""),
            (Kind::SubAuthorization, ""),
            (Kind::Json, "lancon"),
            (Kind::Script, "lancon"),
            (Kind::Timers, "lancon"),
            (Kind::SubJson, "lancon"),
            (Kind::SubScript, "lancon"),
            (Kind::AddSubDevice, ""),
        ],
    );
}

#[test]
fn a_device_that_is_not_bound_can_only_be_found_and_bound() {
    let mut without_key = Rig::gateway();
    without_key.localkey = None;
    let mut without_identity = Rig::gateway();
    without_identity.about.feedid = FeedId::EMPTY;
    for mut rig in [without_key, without_identity] {
        let rest = requests(&rig, 0).into_iter().skip(1).map(|packet| (packet.kind, "unbound"));
        let expected: Vec<_> = std::iter::once((Kind::Authorization, "")).chain(rest).collect();
        check_each(&mut rig, &expected);
        assert_eq!(messages(&rig.packet(&discovery("{}"))).len(), 1);
    }
}

#[test]
fn an_authorization_without_what_it_needs_is_handed_out_as_such() {
    let mut rig = Rig::gateway();
    for (at, (kind, body, error)) in (1..).zip([
        (Kind::Authorization, &b"{}"[..], WireError::Members),
        (Kind::SubAuthorization, &binding(""), WireError::Members),
        (Kind::Authorization, &binding(r#","opt":[]"#), WireError::Value("opt")),
    ]) {
        let packet = rig.exchanged(kind, at, body);
        let (asker, request) = rig.request(&packet);
        assert_eq!((asker.kind(), request), (kind, LanRequest::Unusable(error)));
        rig.check_dropped(&packet.encode(Network::Lan).unwrap(), "replay");
    }
}

#[test]
fn each_bad_packet_is_ignored_and_counted_by_the_first_check_that_it_fails() {
    let mut rig = Rig::gateway();
    let good = rig.sealed(Kind::Json, 100, SNAPSHOT).encode(Network::Lan).unwrap();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let encoded = |packet: Packet| packet.encode(Network::Lan).unwrap();
    let sealed = |kind, body: &[u8]| encoded(rig.sealed(kind, 100, body));
    let exchanged = |opt: Vec<u8>| encoded(Packet { opt, ..rig.exchanged(Kind::Authorization, 100, &binding("")) });
    let other_key = Key32::new([b'0'; 32]).cipher_key();
    let rows = [
        (Vec::new(), "length"),
        (good[..15].to_vec(), "length"),
        (changed(&|bytes| bytes.push(0)), "length"),
        (changed(&|bytes| bytes.truncate(bytes.len() - 1)), "length"),
        (changed(&|bytes| bytes[0] = 0xCC), "magic"),
        (changed(&|bytes| bytes[..4].copy_from_slice(&[0xAA, 0x55, 0, 0])), "legacy"),
        (changed(&|bytes| bytes[16] ^= 1), "crc"),
        (changed(&|bytes| bytes[14] ^= 1), "crc"),
        (changed(&|bytes| bytes[8] = 2), "version"),
        (changed(&|bytes| bytes[9] = 17), "type"),
        (changed(&|bytes| bytes[9] = Kind::Heartbeat as u8), "type"),
        (changed(&|bytes| bytes[12] = enctype::PLAIN), "enctype"),
        (changed(&|bytes| bytes[12] = enctype::SESSION_KEY), "enctype"),
        (changed(&|bytes| bytes[12] = enctype::FIXED_KEY), "enctype"),
        (changed(&|bytes| bytes[10..12].copy_from_slice(&[2, 3])), "fragment"),
        (changed(&|bytes| bytes[10..12].copy_from_slice(&[2, 0])), "fragment"),
        (encoded(Packet { payload: vec![0; 17], ..rig.sealed(Kind::Json, 100, b"") }), "cipher_length"),
        (encoded(Packet { payload: Vec::new(), ..rig.sealed(Kind::Json, 100, b"") }), "cipher_length"),
        (encoded(Packet::seal(Kind::Json, enctype::KEY32, vec![], &other_key, 100, SNAPSHOT)), "padding"),
        (exchanged(Vec::new()), "public_key"),
        (exchanged(vec![2; 20]), "public_key"),
        (exchanged(vec![4; 21]), "public_key"),
        (exchanged([&[2; 1][..], &[0xFF; 20]].concat()), "public_key"),
        (exchanged(KeyPair::new([8; 20]).unwrap().public().as_bytes().to_vec()), "padding"),
        // With this key the padding is right by chance.
        (exchanged(rig.pair.public().as_bytes().to_vec()), "structure"),
        (encoded(rig.exchanged(Kind::Authorization, 100, b"")), "structure"),
        (encoded(rig.exchanged(Kind::SubAuthorization, 100, &binding("")[1..])), "structure"),
        (encoded(discovery("")), "structure"),
        (encoded(discovery("[]")), "structure"),
        (encoded(discovery(r#"{"status":3}"#)), "structure"),
        (sealed(Kind::Json, br#"{"cmd":7,"data":{}}"#), "structure"),
        (sealed(Kind::Json, br#"{"cmd":5,"data":{}}"#), "structure"),
        (sealed(Kind::SubJson, SNAPSHOT), "structure"),
        (sealed(Kind::Script, &script(1002)[..7]), "structure"),
        (sealed(Kind::SubScript, &sub_script(1002)[..39]), "structure"),
        (sealed(Kind::AddSubDevice, br#"{"cmd":6,"data":{"mac":"c3"}}"#), "structure"),
        (sealed(Kind::Timers, &timers()[..7]), "structure"),
    ];
    for (bytes, reason) in rows {
        rig.check_dropped(&bytes, reason);
    }
    assert_eq!(rig.datagram(&good).len(), 1, "none of them was remembered as sent before");
}

#[test]
fn a_payload_too_short_for_a_time_is_ignored() {
    let mut rig = Rig::open();
    let key = Key32::from_text(LOCALKEY).unwrap().cipher_key();
    let packet = Packet { payload: key.encrypt(&[1, 2, 3]), ..rig.sealed(Kind::Json, 1, b"") };
    rig.check_dropped(&packet.encode(Network::Lan).unwrap(), "structure");
}

#[test]
fn a_script_that_asks_what_nobody_knows_is_ignored_but_remembered_as_sent() {
    let mut rig = Rig::gateway();
    for (at, biz_code) in (100..).zip([0, 102, 104, 150, 1003, 1090, u32::MAX]) {
        for (at, kind, body) in
            [(2 * at, Kind::Script, script(biz_code)), (2 * at + 1, Kind::SubScript, sub_script(biz_code))]
        {
            let bytes = rig.sealed(kind, at, &body).encode(Network::Lan).unwrap();
            rig.check_dropped(&bytes, "biz_code");
            rig.check_dropped(&bytes, "replay");
        }
    }
}

/// Which of these requests are handed out: source, time.
#[track_caller]
fn check_replay(rig: &mut Rig, cases: &[(&str, u32, bool)]) {
    for (source, timestamp, expected) in cases {
        let bytes = rig.sealed(Kind::Json, *timestamp, SNAPSHOT).encode(Network::Lan).unwrap();
        let before = rig.lan.counters().dropped("replay");
        let outputs = rig.datagram_from(source, &bytes);
        assert_eq!(outputs.len(), usize::from(*expected), "{source} at {timestamp}");
        assert_eq!(rig.lan.counters().dropped("replay"), before + u64::from(!expected));
    }
}

#[test]
fn a_request_must_be_newer_than_the_one_before_from_the_same_address() {
    let cases = [
        ("192.0.2.7:1", 100, true),
        ("192.0.2.7:1", 100, false),
        ("192.0.2.7:2", 100, false),
        ("[::ffff:192.0.2.7]:3", 100, false),
        ("192.0.2.7:1", 99, false),
        ("192.0.2.8:1", 99, true),
        ("192.0.2.7:1", 101, true),
    ];
    check_replay(&mut Rig::open(), &cases);
}

#[test]
fn a_request_must_only_be_another_one_if_the_operator_says_so() {
    let settings = LanSettings { replay: ReplayRule::NotEqual, ..Default::default() };
    check_replay(&mut Rig::open_with(settings), &[(PHONE, 100, true), (PHONE, 100, false), (PHONE, 99, true)]);
}

#[test]
fn a_request_must_be_near_our_time_while_our_clock_is_set_if_the_operator_says_so() {
    let mut rig = Rig::open_with(LanSettings { window_s: 60, ..Default::default() });
    check_replay(&mut rig, &[(PHONE, 100, true)]);
    rig.set_clock(1_700_000_000);
    check_replay(
        &mut rig,
        &[
            (PHONE, 101, false),
            (PHONE, 1_699_999_939, false),
            (PHONE, 1_699_999_940, true),
            (PHONE, 1_700_000_061, false),
            (PHONE, 1_700_000_060, true),
        ],
    );
}

#[test]
fn a_forged_authorization_far_ahead_in_time_does_not_lock_the_app_out() {
    let mut rig = Rig::open();
    let forged = rig.exchanged(Kind::Authorization, u32::MAX, b"{}");
    assert_eq!(rig.request(&forged).1, LanRequest::Unusable(WireError::Members));
    check_replay(&mut rig, &[(PHONE, 100, true), (PHONE, 100, false)]);
}

#[test]
fn authorizations_from_everywhere_do_not_have_recorded_requests_forgotten() {
    let mut rig = Rig::open();
    check_replay(&mut rig, &[(PHONE, 100, true)]);
    for host in 0..100 {
        rig.wait(1000);
        let bytes = rig.exchanged(Kind::Authorization, 5, b"{}").encode(Network::Lan).unwrap();
        assert_eq!(rig.datagram_from(&format!("198.51.100.{host}:7"), &bytes).len(), 1);
    }
    check_replay(&mut rig, &[(PHONE, 100, false)]);
}

#[test]
fn a_request_in_fragments_is_put_together_by_sender_and_socket() {
    let mut rig = Rig::open();
    let script = Script { biz_code: biz::CONTROL, serial: 9, content: vec![7; 5000] };
    let parts = fragments(rig.sealed(Kind::Script, 100, &script.encode()), 77).unwrap();
    assert_eq!(parts.len(), 6);
    let encoded: Vec<_> = parts.iter().map(|part| part.encode(Network::Lan).unwrap()).collect();
    for bytes in &encoded[1..] {
        assert_eq!(rig.datagram(bytes), []);
        assert_eq!(rig.datagram_from("192.0.2.7:40001", bytes), []);
    }
    assert_eq!(rig.udp(udp::Event::Received(SECOND, PHONE.to_owned(), encoded[0].clone())), []);
    let outputs = rig.datagram(&encoded[0]);
    let [LanOutput::Request(_, LanRequest::Script(got))] = &outputs[..] else { panic!("one request, not {outputs:?}") };
    assert_eq!(*got, script);
}

#[test]
fn an_authorization_in_fragments_arrives() {
    let mut rig = Rig::unbound();
    let body = binding(&format!(r#","opt":{{"a":"{}"}}"#, "x".repeat(3000)));
    let parts = fragments(rig.exchanged(Kind::Authorization, 100, &body), 3).unwrap();
    let outputs: Vec<_> = parts.iter().flat_map(|part| rig.packet(part)).collect();
    assert!(matches!(&outputs[..], [LanOutput::Request(_, LanRequest::Authorize(_))]), "{outputs:?}");
}

#[test]
fn fragments_whose_siblings_do_not_come_are_given_up_after_five_seconds() {
    let mut rig = Rig::open();
    let parts = fragments(rig.sealed(Kind::Script, 100, &[0; 2000]), 1).unwrap();
    assert_eq!(rig.packet(&parts[0]), []);
    assert_eq!(rig.lan.next_timeout(), Some(rig.now.monotonic.after(5000)));
    rig.wait(5000);
    assert_eq!(rig.lan.counters().dropped("incomplete"), 1);
    assert_eq!(rig.lan.next_timeout(), None);
    assert_eq!(rig.packet(&parts[1]), []);
    assert_eq!(rig.packet(&parts[2]), []);
}

#[test]
fn fragments_that_the_device_would_ignore_take_no_memory() {
    let mut rig = Rig::unbound();
    for part in fragments(rig.sealed(Kind::Script, 100, &[0; 2000]), 1).unwrap() {
        rig.check_dropped(&part.encode(Network::Lan).unwrap(), "unbound");
    }
    assert_eq!(rig.lan.next_timeout(), None);
}
