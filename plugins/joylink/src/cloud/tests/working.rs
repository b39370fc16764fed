//! What happens under the session key.

use super::*;

#[test]
fn commands_are_handed_out_under_either_label() {
    let mut rig = Rig::working(CloudSettings::default());
    rig.receive(&vector_packet("pkt-011-ctrl-req"));
    rig.receive(&from_cloud(Kind::OtaOrder, enctype::SESSION_KEY, &session_key(), b"order"));
    let said = rig.take_said();
    let [CloudOutput::Packet(Kind::Command, script), CloudOutput::Packet(Kind::OtaOrder, order)] = &said[..] else {
        panic!("{said:?}")
    };
    let vector = vector("pkt-011-ctrl-req");
    assert_eq!(script.plain(), bytes(&vector["input"]["plaintext_hex"]));
    assert_eq!((script.timestamp, order.body()), (1_446_192_003, &b"order"[..]));
}

#[test]
fn single_bytes_and_merged_segments_make_the_same_packets() {
    let stream = [answer(), command(b"one"), heartbeat_answer(0), command(b"two"), command(b"")].concat();
    for size in [1, 2, 15, 16, 17, 61, stream.len()] {
        let mut rig = Rig::authenticating(CloudSettings::default());
        stream.chunks(size).for_each(|chunk| rig.receive(chunk));
        let body = |said| if let CloudOutput::Packet(_, opened) = said { Some(opened.body().to_vec()) } else { None };
        let bodies: Vec<_> = rig.take_said().into_iter().filter_map(body).collect();
        assert_eq!(bodies, [&b"one"[..], b"two", b""], "{size}");
        assert_eq!((rig.dropped(), rig.cloud.n_waiting()), (vec![], 0));
    }
}

#[test]
fn packets_that_cannot_be_used_are_dropped_and_counted_and_the_connection_goes_on() {
    let mut rig = Rig::working(CloudSettings::default());
    let with = |at: usize, value: u8| {
        let mut bytes = command(b"order");
        bytes[at] = value;
        bytes
    };
    let mut cut = Packet::seal(Kind::Command, 3, Vec::new(), &session_key(), 1, b"");
    cut.payload.pop();
    let no_stamp = Packet { enctype: 3, ..Packet::plain(Kind::Command, session_key().encrypt(&[1, 2, 3])) };
    for (bytes, reason) in [
        (with(8, 2), "version"),
        (with(9, 99), "type"),
        (with(9, 1), "type"),
        (with(9, 14), "type"),
        (with(10, 2), "fragment"),
        (with(12, 0), "enctype"),
        (with(12, 2), "enctype"),
        (from_cloud(Kind::Command, 3, &Key32::new([9; 32]).cipher_key(), b"order"), "padding"),
        (cut.encode(Network::Wan).unwrap(), "cipher_length"),
        (no_stamp.encode(Network::Wan).unwrap(), "structure"),
        (from_cloud(Kind::Heartbeat, 3, &session_key(), &[0; 3]), "structure"),
        (answer(), "repeated"),
    ] {
        let before = rig.cloud.counters().dropped(reason);
        rig.receive(&bytes);
        assert_eq!(rig.cloud.counters().dropped(reason), before + 1, "{reason}");
    }
    assert_eq!((rig.cloud.phase(), rig.take_warnings().len()), (Phase::Working, 1));
    rig.receive(&command(b"order"));
    assert!(matches!(&rig.take_said()[..], [CloudOutput::Packet(..)]));
}

#[test]
fn a_stream_whose_framing_is_lost_is_closed() {
    let with = |at: usize| {
        let mut bytes = command(b"order");
        bytes[at] ^= 0xFF;
        bytes
    };
    let mut long = command(b"order");
    long[4..8].fill(0xFF);
    let mut lan = command(b"order");
    lan[0] = 0xBB;
    for (bytes, reason) in [
        (with(14), "crc"),
        (with(20), "crc"),
        (with(3), "magic"),
        (lan, "magic"),
        (vec![0xAA, 0x55, 0, 0], "legacy"),
        (long, "length"),
    ] {
        let mut rig = Rig::working(CloudSettings::default());
        rig.receive(&[bytes, command(b"behind it")].concat());
        assert_eq!(rig.take_asked(), [tcp::Request::Close(FIRST)], "{reason}");
        assert_eq!(rig.dropped(), [(reason, 1)]);
        assert!(!rig.said.iter().any(|said| matches!(said, CloudOutput::Packet(..))), "{reason}");
        rig.check_ended(Phase::Waiting, "no stream of packets");
    }
}

#[test]
fn heartbeats_come_every_30_seconds_from_the_authentication_on_whatever_else_is_said() {
    let mut rig = Rig::working(CloudSettings::default());
    for beat in 1..=1_000_u64 {
        rig.pass(HEARTBEAT_MS - 1);
        assert!(rig.act(|cloud, now| cloud.send(now, Kind::Upload, b"report")));
        assert_eq!(rig.take_sent(), [(Kind::Upload, b"report".to_vec())]);
        rig.pass(1);
        assert_eq!(rig.take_sent(), [(Kind::Heartbeat, HEARTBEAT.to_vec())]);
        rig.receive(&heartbeat_answer(0));
        assert_eq!((rig.take_said(), rig.now.monotonic), (vec![CloudOutput::HeartbeatDue], Timestamp(beat * 30_000)));
    }
}

#[test]
fn when_three_heartbeats_went_unanswered_the_fourth_is_a_new_authentication() {
    let mut rig = Rig::working(CloudSettings::default());
    rig.pass(4 * HEARTBEAT_MS - 1);
    assert_eq!(rig.take_sent().len(), 3);
    assert!(rig.cloud.is_working());
    rig.pass(1);
    assert_eq!(rig.take_asked(), [tcp::Request::Close(FIRST)]);
    rig.check_ended(Phase::Waiting, "3 heartbeats in a row were not answered");
    rig.pass(RECONNECT_MIN_MS * 2);
    rig.tcp(tcp::Event::Opened(rig.stream()));
    assert_eq!(rig.take_packets()[0].kind, Kind::CloudAuthentication);
}

#[test]
fn a_late_answer_and_any_other_packet_count_for_all_heartbeats_before_it() {
    for proof in [
        heartbeat_answer(0),
        heartbeat_answer(-1),
        command(b""),
        from_cloud(Kind::SubHeartbeat, 4, &session_key(), &[0; 4]),
    ] {
        let mut rig = Rig::working(CloudSettings::default());
        for _ in 0..10 {
            rig.pass(3 * HEARTBEAT_MS);
            rig.receive(&proof);
        }
        assert!(rig.cloud.is_working());
    }
    // What cannot be decrypted, or needs no session key, proves nothing.
    for noise in [answer(), from_cloud(Kind::Heartbeat, 3, &Key32::new([9; 32]).cipher_key(), &[0; 4])] {
        let mut rig = Rig::working(CloudSettings::default());
        rig.pass(4 * HEARTBEAT_MS - 1);
        rig.receive(&noise);
        rig.pass(1);
        rig.check_ended(Phase::Waiting, "not answered");
    }
}

#[test]
fn a_code_in_the_answer_to_a_heartbeat_is_told_once_per_change_and_ends_nothing() {
    let mut rig = Rig::working(CloudSettings::default());
    for code in [0, -1, -1, -1, 12, 0, 0] {
        rig.receive(&heartbeat_answer(code));
    }
    let line = |level, text: &str| CloudOutput::Log(level, format!("the cloud answers heartbeats with code {text}"));
    let said = [
        line(Level::Warn, "-1: authentication failed"),
        line(Level::Warn, "12: script check error"),
        line(Level::Info, "0: success"),
    ];
    assert_eq!((rig.take_said(), rig.cloud.phase()), (said.to_vec(), Phase::Working));
}

#[test]
fn closing_hangs_up_without_a_word_and_forgets_the_account() {
    let mut rig = Rig::working(CloudSettings::default());
    rig.act(|cloud, _| cloud.close());
    assert_eq!(rig.take_asked(), [tcp::Request::Close(FIRST)]);
    assert_eq!(rig.take_said(), [CloudOutput::StatusChanged]);
    rig.act(|cloud, _| cloud.close());
    rig.act(Cloud::network_up);
    rig.pass(24 * 3_600_000);
    assert!(!rig.act(|cloud, now| cloud.send(now, Kind::Upload, b"")));
    rig.act(|cloud, now| cloud.beat(now, Kind::Heartbeat, HEARTBEAT));
    rig.act(|cloud, now| cloud.hang_up(now, "why"));
    assert_eq!((rig.take_said(), rig.take_asked(), rig.cloud.phase()), (vec![], vec![], Phase::Unbound));
}

#[test]
fn another_account_takes_the_place_of_the_first() {
    let mut rig = Rig::working(CloudSettings::default());
    let servers = vec![Server { host: "other".into(), port: 1 }];
    let feedid = FeedId::new("987").unwrap();
    rig.act(|cloud, now| cloud.open(now, Account { feedid, servers, ..account() }));
    assert_eq!(rig.asked[0], tcp::Request::Close(FIRST));
    assert_eq!(rig.stream(), RequestId(101));
    rig.tcp(tcp::Event::Opened(rig.stream()));
    assert_eq!(AuthRequest::feedid_in(&rig.take_packets()[0].opt), Ok(feedid));
    assert_eq!(rig.take_lost(), [""; 0]);
}

#[test]
fn what_a_former_stream_says_is_ignored() {
    let mut rig = Rig::working(CloudSettings::default());
    rig.act(|cloud, now| cloud.hang_up(now, "reports are not answered"));
    rig.check_ended(Phase::Waiting, "reports are not answered; trying again in ");
    rig.act(Cloud::network_up);
    rig.tcp(tcp::Event::Opened(rig.stream()));
    rig.take_asked();
    rig.take_said();
    for event in [
        tcp::Event::Opened(FIRST),
        tcp::Event::Received(FIRST, answer()),
        tcp::Event::Received(FIRST, vec![0; 99]),
        tcp::Event::Overflow(FIRST, vec![0; 99]),
        tcp::Event::Drained(FIRST),
        closed(FIRST, "late"),
        tcp::Event::Opened(rig.stream()),
        tcp::Event::Listening(rig.stream(), 1),
    ] {
        rig.tcp(event);
    }
    assert_eq!((rig.take_asked(), rig.take_said(), rig.cloud.phase()), (vec![], vec![], Phase::Authenticating));
    rig.receive(&answer());
    assert!(rig.cloud.is_working());
}
