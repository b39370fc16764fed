//! Bad input on both networks: the first check that fails drops it without an answer, and nothing else is lost by it.

use polylink_plugin_sdk::session::Phase;
use serde_json::{Value, json};

use crate::packet::{Kind, Network, Packet, enctype};
use crate::scenarios::stage::{App, Stage, bound, control, n};
use crate::wire::{Script, biz};

fn working() -> Stage {
    Stage::working(bound(json!({"panel_results": false})))
}

/// A good packet of an app.
fn app_packet(app: &mut App) -> Packet {
    app.clock += 1;
    let script = Script { biz_code: biz::CONTROL, serial: 1, content: control(json!({"n": 5})) };
    app.sealed(Kind::Script, app.clock, &script.encode())
}

/// A good packet of the cloud.
fn cloud_packet(stage: &Stage) -> Packet {
    let script = Script { biz_code: biz::CONTROL, serial: 1, content: control(json!({"n": 5})) };
    stage.sealed(Kind::Command, &script.encode())
}

/// This datagram is dropped, counted as this, and unheard; what comes after it is served.
#[track_caller]
fn check_datagram(reason: &str, spoil: impl FnOnce(&mut App, &mut Vec<u8>)) {
    let mut stage = working();
    let mut app = App::new();
    app.discover(&mut stage);
    let mut bytes = app_packet(&mut app).encode(Network::Lan).unwrap();
    spoil(&mut app, &mut bytes);
    app.send_bytes(&mut stage, &bytes);
    stage.host.expect_silence();
    stage.assert_count(&format!("lan_{reason}"), 1);
    app.control(&mut stage, json!({"n": 6}));
    assert_eq!(stage.host.expect_set().1, [n(6)], "{reason}");
    stage.assert_phase(Phase::Online);
}

fn lan(packet: &Packet) -> Vec<u8> {
    packet.encode(Network::Lan).unwrap()
}

#[test]
fn bad_datagrams_are_dropped_and_counted() {
    check_datagram("length", |_, bytes| bytes.truncate(15));
    check_datagram("magic", |_, bytes| bytes[0] ^= 1);
    check_datagram("magic", |_, bytes| bytes[0] = 0xCC);
    check_datagram("legacy", |_, bytes| bytes[..4].copy_from_slice(&[0xAA, 0x55, 0, 0]));
    check_datagram("length", |_, bytes| bytes.push(0));
    check_datagram("crc", |_, bytes| *bytes.last_mut().unwrap() ^= 1);
    check_datagram("version", |_, bytes| bytes[8] = 2);
    check_datagram("type", |_, bytes| bytes[9] = 17);
    // Types of the cloud.
    for kind in [Kind::OtaOrder, Kind::CloudAuthentication, Kind::Command, Kind::SubUnbind, Kind::VideoAddress] {
        check_datagram("type", |_, bytes| bytes[9] = kind as u8);
    }
    for wrong in [enctype::PLAIN, enctype::FIXED_KEY, enctype::EXCHANGED, enctype::SESSION_KEY, 255] {
        check_datagram("enctype", |_, bytes| bytes[12] = wrong);
    }
    check_datagram("fragment", |app, bytes| {
        let packet = Packet { total: 3, index: 4, ..app_packet(app) };
        *bytes = lan(&packet);
    });
    check_datagram("cipher_length", |app, bytes| {
        let mut packet = app_packet(app);
        packet.payload.pop();
        *bytes = lan(&packet);
    });
    check_datagram("cipher_length", |app, bytes| {
        let packet = Packet { payload: Vec::new(), ..app_packet(app) };
        *bytes = lan(&packet);
    });
    check_datagram("padding", |app, bytes| {
        let mut packet = app_packet(app);
        packet.payload.truncate(16);
        *bytes = lan(&packet);
    });
    check_datagram("public_key", |app, bytes| {
        let mut packet = app.exchanged(Kind::Authorization, b"{}");
        packet.opt[0] = 4;
        *bytes = lan(&packet);
    });
    check_datagram("structure", |app, bytes| {
        app.clock += 1;
        *bytes = lan(&app.sealed(Kind::Script, app.clock, &[0; 7]));
    });
    check_datagram("structure", |app, bytes| {
        app.clock += 1;
        *bytes = lan(&app.sealed(Kind::Json, app.clock, b"{\"cmd\":7}"));
    });
    check_datagram("structure", |app, bytes| *bytes = lan(&app.exchanged(Kind::Authorization, b"no JSON")));
    check_datagram("not_gateway", |app, bytes| {
        app.clock += 1;
        *bytes = lan(&app.sealed(Kind::AddSubDevice, app.clock, b"{}"));
    });
    check_datagram("biz_code", |app, bytes| {
        app.clock += 1;
        let script = Script { biz_code: 7, serial: 1, content: Vec::new() };
        *bytes = lan(&app.sealed(Kind::Script, app.clock, &script.encode()));
    });
}

#[test]
fn a_request_that_is_repeated_is_dropped() {
    let mut stage = working();
    let mut app = App::new();
    let packet = app_packet(&mut app);
    app.send_packet(&mut stage, &packet);
    stage.host.expect_set();
    app.send_packet(&mut stage, &packet);
    let earlier = app.sealed(Kind::Script, app.clock - 1, &[0; 8]);
    app.send_packet(&mut stage, &earlier);
    stage.host.expect_silence();
    stage.assert_count("lan_replay", 2);
}

#[test]
fn a_sender_that_nobody_is_gets_no_answer() {
    let mut stage = working();
    for address in ["255.255.255.255:80", "224.0.0.1:80", "0.0.0.0:80", "192.0.2.7:0", "nonsense", ""] {
        App::at(address).look(&mut stage, json!({}));
    }
    stage.host.expect_silence();
    stage.assert_count("lan_peer", 6);
}

#[test]
fn a_storm_of_discoveries_is_answered_twenty_times_a_second() {
    let mut stage = working();
    let app = App::new();
    for _ in 0..100 {
        app.look(&mut stage, json!({}));
    }
    assert_eq!(stage.host.take_outputs().len(), 20);
    stage.host.advance(1_000);
    for _ in 0..100 {
        app.look(&mut stage, json!({}));
    }
    assert_eq!(stage.host.take_outputs().len(), 20);
}

/// The cloud sends these bytes: the connection is closed, the reason is counted, and what was not answered goes again.
#[track_caller]
fn check_fatal(reason: &str, spoil: impl FnOnce(&mut Vec<u8>)) {
    let mut stage = working();
    let seq = stage.host.report([n(2)]);
    stage.expect_upload();
    let mut bytes = cloud_packet(&stage).encode(Network::Wan).unwrap();
    spoil(&mut bytes);
    // What stands behind it is nobody's.
    bytes.extend(cloud_packet(&stage).encode(Network::Wan).unwrap());
    stage.send_bytes(&bytes);
    assert_eq!(stage.host.expect_tcp_close(), stage.stream);
    stage.host.expect_silence();
    stage.reconnect();
    assert_eq!(stage.expect_streams()["n"], 2, "{reason}");
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq]);
    stage.assert_count(&format!("cloud_{reason}"), 1);
}

#[test]
fn a_stream_that_is_none_of_packets_is_closed() {
    check_fatal("magic", |bytes| bytes[0] ^= 1);
    check_fatal("magic", |bytes| bytes[0] = 0xBB);
    check_fatal("legacy", |bytes| bytes[..4].copy_from_slice(&[0xAA, 0x55, 0, 0]));
    check_fatal("crc", |bytes| *bytes.last_mut().unwrap() ^= 1);
    check_fatal("length", |bytes| bytes[4..8].copy_from_slice(&[0xFF; 4]));
}

/// This packet of the cloud is dropped, counted as this, and what comes after it is served on the same connection.
#[track_caller]
fn check_dropped(reason: &str, packet: impl FnOnce(&Stage) -> Vec<u8>) {
    let mut stage = working();
    let seq = stage.host.report([n(2)]);
    stage.expect_upload();
    let bytes = packet(&stage);
    stage.send_bytes(&bytes);
    stage.host.expect_silence();
    stage.assert_count(reason, 1);
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq], "{reason}");
    stage.command(biz::CONTROL, control(json!({"n": 6})));
    stage.host.expect_set();
}

fn wan(packet: &Packet) -> Vec<u8> {
    packet.encode(Network::Wan).unwrap()
}

#[test]
fn other_bad_packets_of_the_cloud_are_dropped_and_counted() {
    let with = |at: usize, byte: u8| {
        move |stage: &Stage| {
            let mut bytes = wan(&cloud_packet(stage));
            bytes[at] = byte;
            bytes
        }
    };
    check_dropped("cloud_version", with(8, 2));
    check_dropped("cloud_type", with(9, 17));
    check_dropped("cloud_type", with(9, Kind::Json as u8));
    check_dropped("cloud_enctype", with(12, enctype::PLAIN));
    check_dropped("cloud_fragment", |stage| wan(&Packet { total: 2, index: 1, ..cloud_packet(stage) }));
    check_dropped("cloud_cipher_length", |stage| wan(&Packet { payload: vec![0; 17], ..cloud_packet(stage) }));
    check_dropped("cloud_padding", |stage| {
        let mut packet = cloud_packet(stage);
        packet.payload.truncate(16);
        wan(&packet)
    });
    check_dropped("cloud_repeated", |stage| {
        let packet = Packet { kind: Kind::CloudAuthentication, ..cloud_packet(stage) };
        wan(&packet)
    });
    check_dropped("cloud_structure", |stage| wan(&stage.sealed(Kind::Heartbeat, &[0; 3])));
}

#[test]
fn structures_of_the_cloud_that_are_cut_off_or_senseless_are_dropped_and_counted() {
    for (kind, body) in [
        (Kind::Command, &[0; 7][..]),
        (Kind::Upload, &[0; 3]),
        (Kind::SubUpload, &[0; 35]),
        (Kind::SubCommand, &[0; 39]),
        (Kind::SubUnbind, &[0; 7]),
        (Kind::OtaOrder, b"{}"),
        (Kind::OtaStatus, b"[]"),
        (Kind::Information, &[0; 7]),
        (Kind::RecipeProgress, &[0; 7]),
        (Kind::VideoAddress, &[0; 7]),
        (Kind::VideoAddress, &[0; 12]),
        (Kind::Timers, &[0; 3]),
        (Kind::AsyncResult, b"x"),
    ] {
        check_dropped_as(kind, body);
    }
}

#[track_caller]
fn check_dropped_as(kind: Kind, body: &[u8]) {
    let mut stage = working();
    let seq = stage.host.report([n(2)]);
    stage.expect_upload();
    stage.send(kind, body);
    stage.host.expect_silence();
    stage.host.advance(1_000);
    let n_dropped = stage.fact("input_dropped").or_else(|| stage.fact("cloud_type"));
    assert_eq!(n_dropped, Some("1"), "{kind:?}: {:?}", stage.host.status());
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq]);
}

#[test]
fn what_a_cloud_says_before_it_lets_the_device_in_is_dropped() {
    let mut stage = Stage::started(bound(json!({})));
    stage.host.snapshot([n(1)]);
    stage.accept();
    stage.expect_authentication();
    stage.command(biz::CONTROL, control(json!({"n": 6})));
    stage.accept_upload();
    stage.host.expect_silence();
    stage.let_in();
    assert_eq!(stage.expect_streams(), json!({"n": 1}));
    stage.assert_count("cloud_early", 2);
}

#[test]
fn an_answer_under_another_key_is_no_answer() {
    let mut stage = Stage::started(bound(json!({})));
    stage.accept();
    stage.expect_authentication();
    let packet = stage.sealed(Kind::CloudAuthentication, &[7; 36]);
    stage.send_packet(&packet);
    stage.host.expect_silence();
    stage.host.advance(5_000);
    assert_eq!(stage.host.expect_tcp_close(), stage.stream);
}

#[test]
fn long_numbers_and_texts_in_json_are_read_or_refused_but_never_rounded() {
    let mut stage = working();
    for (value, says) in [
        (json!(i64::MAX), Some(i64::MAX)),
        (json!(i64::MIN.to_string()), Some(i64::MIN)),
        (json!(u64::MAX), None),
        (json!("9223372036854775808"), None),
        (json!(1e300), None),
        (json!("x".repeat(60_000)), None),
        (Value::Null, None),
        (json!([[[[]]]]), None),
    ] {
        stage.command(biz::CONTROL, control(json!({"n": value})));
        match says {
            Some(value) => assert_eq!(stage.host.expect_set().1, [n(value)]),
            None => assert_eq!(stage.take_kinds(), [Kind::Command], "{value}"),
        }
    }
}
