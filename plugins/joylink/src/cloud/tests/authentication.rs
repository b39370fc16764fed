//! From the stream to the session key.

use super::*;

#[test]
fn the_device_connects_says_who_it_is_and_works_with_the_key_of_the_answer() {
    let mut rig = Rig::new(CloudSettings::default());
    assert_eq!((rig.cloud.phase().name(), rig.cloud.next_timeout()), ("not bound", None));
    let server = Server::parse("live.smart.jd.com:6001").unwrap();
    rig.act(|cloud, now| cloud.open(now, Account { servers: vec![server.clone()], ..account() }));
    let open = tcp::Request::Open {
        id: FIRST,
        host: "live.smart.jd.com".into(),
        port: 6001,
        tls: None,
        timeout_ms: CONNECT_TIMEOUT_MS,
    };
    assert_eq!(rig.take_asked(), [open]);
    assert_eq!((rig.cloud.phase().name(), rig.cloud.server()), ("connecting", Some(&server)));
    assert_eq!(rig.take_said().last(), Some(&CloudOutput::StatusChanged));

    rig.tcp(tcp::Event::Opened(FIRST));
    assert_eq!(rig.cloud.phase().name(), "authenticating");
    let packets = rig.take_packets();
    let [request] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!((request.kind, request.enctype), (Kind::CloudAuthentication, enctype::KEY32));
    let opened = request.open(&account().accesskey.cipher_key()).unwrap();
    let read = AuthRequest::decode(&request.opt, opened.body()).unwrap();
    assert_eq!((read.feedid, opened.timestamp, request.opt.len()), (account().feedid, 0, 16 + 4));
    assert!(read.randoms_agree());

    rig.receive(&answer());
    assert_eq!(rig.cloud.phase().name(), "working");
    let said = [CloudOutput::StatusChanged, CloudOutput::Authenticated { unix_s: 1_446_192_001 }];
    assert_eq!(rig.take_said(), [&said[..1], &said[1..], &said[..1]].concat());
    assert_eq!((rig.take_asked(), rig.dropped()), (vec![], vec![]));
}

#[test]
fn a_session_sends_exactly_the_heartbeat_of_the_vectors_under_either_label() {
    for (session_enctype, id) in [(3, "pkt-010-req"), (4, "pkt-010-req-enc4")] {
        let mut rig = Rig::working(CloudSettings { session_enctype, heartbeat_ms: 1_000, ..CloudSettings::default() });
        // The vector was sent a second after the answer, by the cloud's clock: ours was never set.
        rig.pass(1_000);
        assert_eq!(rig.take_asked(), [tcp::Request::Send(FIRST, vector_packet(id))]);
        rig.receive(&vector_packet("pkt-010-rsp"));
        assert_eq!(rig.take_said(), [CloudOutput::HeartbeatDue], "the answer is swallowed");
    }
}

#[test]
fn every_authentication_has_another_random_number_and_the_time_of_a_clock_that_is_set() {
    let mut rig = Rig::authenticating(CloudSettings::default());
    rig.now.wall = wall();
    let mut randoms = Vec::new();
    for _ in 0..3 {
        let packet = rig.take_packets().remove(0);
        let opened = packet.open(&account().accesskey.cipher_key()).unwrap();
        randoms.push(AuthRequest::decode(&packet.opt, opened.body()).unwrap().random);
        rig.closed("connection reset");
        rig.act(Cloud::network_up);
        rig.tcp(tcp::Event::Opened(rig.stream()));
    }
    let packet = rig.take_packets().remove(0);
    assert_eq!(packet.open(&account().accesskey.cipher_key()).unwrap().timestamp, 1_500_000_000);
    randoms.sort_unstable();
    randoms.dedup();
    assert_eq!(randoms.len(), 3);
}

/// Gives these answers to an authentication; the phase after them, and what was dropped.
#[track_caller]
fn check(settings: CloudSettings, answer: &[u8], phase: Phase, dropped: &[(&'static str, u64)]) -> Rig {
    let mut rig = Rig::authenticating(settings);
    rig.receive(answer);
    assert_eq!((rig.cloud.phase(), rig.dropped()), (phase, dropped.to_vec()));
    rig
}

#[test]
fn both_random_numbers_must_agree_unless_an_operator_says_otherwise() {
    let key = &account().accesskey;
    let answer = |opt: &[u8], random| answer_with(opt.to_vec(), random, [7; 32], 3, key);
    let lax = || CloudSettings { check_random: false, ..CloudSettings::default() };
    let strict = CloudSettings::default;
    check(strict(), &answer(&[9, 0, 0, 0], 9), Phase::Working, &[]);
    check(strict(), &answer(&[0, 0, 0, 0], 0), Phase::Working, &[]);
    for opt in [&[8, 0, 0, 0][..], &[], &[9, 0, 0], &[9, 0, 0, 0, 0]] {
        let mut rig = check(strict(), &answer(opt, 9), Phase::Waiting, &[("random", 1)]);
        rig.check_ended(Phase::Waiting, "random numbers");
        assert_eq!(rig.asked.last(), Some(&tcp::Request::Close(FIRST)));
        check(lax(), &answer(opt, 9), Phase::Working, &[]);
    }
}

#[test]
fn the_captured_answer_of_jds_own_sdk_is_taken_if_random_numbers_are_not_compared() {
    let capture = vector("cap-sdk-cloud9-rsp");
    let accesskey = Key32::new(bytes(&capture["input"]["key"]["value_hex"]).try_into().unwrap());
    for (check_random, phase) in [(false, Phase::Working), (true, Phase::Waiting)] {
        let mut rig = Rig::new(CloudSettings { check_random, ..CloudSettings::default() });
        let servers = vec![Server { host: "192.168.0.9".into(), port: 33_000 }];
        let accesskey = accesskey.clone();
        rig.act(|cloud, now| cloud.open(now, Account { accesskey, servers, ..account() }));
        rig.tcp(tcp::Event::Opened(FIRST));
        rig.receive(&bytes(&capture["input"]["packet_hex"]));
        assert_eq!(rig.cloud.phase(), phase);
    }
}

#[test]
fn answers_that_cannot_be_read_are_dropped_and_the_right_one_is_still_taken() {
    let key = &account().accesskey;
    let good = |enctype| answer_with(vec![9, 0, 0, 0], 9, [7; 32], enctype, key);
    let wrong_key = answer_with(vec![9, 0, 0, 0], 9, [7; 32], 3, &Key32::new([1; 32]));
    let short = from_cloud(Kind::CloudAuthentication, 3, &key.cipher_key(), &[0; 35]);
    let settings = CloudSettings::default;
    check(settings(), &[wrong_key.clone(), good(3)].concat(), Phase::Working, &[("padding", 1)]);
    check(settings(), &[short, good(4)].concat(), Phase::Working, &[("structure", 1)]);
    check(settings(), &[command(b""), good(3)].concat(), Phase::Working, &[("early", 1)]);
    check(settings(), &[good(2), good(3)].concat(), Phase::Working, &[("enctype", 1)]);
    check(settings(), &[good(3), good(3)].concat(), Phase::Working, &[("repeated", 1)]);

    let mut rig = check(settings(), &[&wrong_key[..]; 3].concat(), Phase::Authenticating, &[("padding", 3)]);
    assert_eq!(rig.take_warnings().len(), 1, "one line for three packets");
    rig.pass(AUTH_TIMEOUT_MS);
    rig.check_ended(Phase::Waiting, "encrypted with another key");
}

#[test]
fn a_cloud_that_is_silent_is_left_after_the_timeout() {
    let mut rig = Rig::authenticating(CloudSettings::default());
    rig.take_asked();
    rig.pass(AUTH_TIMEOUT_MS - 1);
    assert_eq!((rig.cloud.phase(), rig.take_asked()), (Phase::Authenticating, vec![]));
    rig.pass(1);
    assert_eq!(rig.take_asked(), [tcp::Request::Close(FIRST)]);
    rig.check_ended(Phase::Waiting, "live.smart.jd.com:6001: no answer to the authentication within 5000 ms; trying");
    assert_eq!(rig.cloud.server(), None);
}

#[test]
fn a_cloud_that_hangs_up_in_place_of_an_answer_did_not_accept_the_device() {
    let mut rig = Rig::authenticating(CloudSettings::default());
    rig.take_asked();
    rig.closed("closed by the peer");
    assert_eq!(rig.take_asked(), [], "there is nothing left to close");
    let lost = rig.take_lost().remove(0);
    for part in ["did not accept the device", "feedid or accesskey", "closed by the peer", "trying again in "] {
        assert!(lost.contains(part), "{lost}");
    }
    assert!(!lost.contains(account().accesskey.expose_text().unwrap()));
    assert_eq!(rig.cloud.phase(), Phase::Waiting);
}

#[test]
fn a_session_key_is_32_bytes_of_any_value_also_nul() {
    let mut key = [0x6B; 32];
    key[16..].copy_from_slice(&[0x11, 0x22, 0, 0x44, 0, 0, 0x77, 0x88, 0x99, 0, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF, 0]);
    for key in [key, [0; 32]] {
        let mut rig = Rig::authenticating(CloudSettings::default());
        rig.receive(&answer_with(vec![9, 0, 0, 0], 9, key, 3, &account().accesskey));
        rig.take_packets();
        let cipher_key = Key32::new(key).cipher_key();
        assert!(rig.act(|cloud, now| cloud.send(now, Kind::Upload, b"report")));
        let packet = rig.take_packets().remove(0);
        assert_eq!(packet.open(&cipher_key).unwrap().body(), b"report");
        rig.take_said();
        rig.receive(&from_cloud(Kind::Command, 4, &cipher_key, b"order"));
        let said = rig.take_said();
        assert!(
            matches!(&said[..], [CloudOutput::Packet(Kind::Command, order)] if order.body() == b"order"),
            "{said:?}"
        );
    }
}
