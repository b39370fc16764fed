//! A connection from its opening on: the authentication, the first packets, and what breaks it.

use polylink_plugin_sdk::services::subdevices::{Radio, Subdevice};
use polylink_plugin_sdk::services::{Reason, module};
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::{Cause, ClockQuality, CommandBody, Input, Outcome, OutcomeResult, ReportBody, RequestId};
use serde_json::json;

use crate::packet::Kind;
use crate::scenarios::stage::{
    App, SERVER, Stage, bond, bound, control, gateway, heat, interfaces, n, raw, scripted, unbound,
};
use crate::wire::{AuthAnswer, Code, CodeAnswer, Heartbeat, biz};

/// The device asks its MCU for all values.
#[track_caller]
fn expect_question(stage: &mut Stage) -> RequestId {
    let (id, command) = stage.host.expect_submit();
    assert_eq!(command.body, CommandBody::Get(Vec::new()));
    id
}

#[test]
fn the_mcu_is_asked_if_nothing_is_known_and_nothing_is_said_before_it_answers() {
    let mut stage = Stage::connected(bound(json!({})));
    let question = expect_question(&mut stage);
    stage.host.report([n(5)]);
    stage.host.expect_silence();
    let values = vec![n(5), heat(20)];
    stage.host.deliver(Input::Outcome(question, Outcome { result: OutcomeResult::Done, values, document: None }));
    assert_eq!(stage.expect_streams(), json!({"n": 5, "heat": 20}));
    stage.host.expect_silence();
}

#[test]
fn an_mcu_that_does_not_answer_does_not_keep_the_rest_back() {
    for result in [OutcomeResult::TimedOut, OutcomeResult::Unreachable, OutcomeResult::Refused("no".to_owned())] {
        let mut stage = Stage::connected(bound(json!({})));
        let question = expect_question(&mut stage);
        let seq = stage.host.report([n(5)]);
        stage.host.expect_silence();
        stage.host.command_ended(question, result);
        assert_eq!(stage.expect_streams(), json!({"n": 5}));
        stage.host.expect_silence();
        stage.accept_upload();
        assert_eq!(stage.host.expect_settle(), [seq]);
    }
}

#[test]
fn a_device_of_which_nothing_is_known_is_shown_when_it_says_something() {
    let mut stage = Stage::connected(bound(json!({})));
    let question = expect_question(&mut stage);
    stage.host.command_ended(question, OutcomeResult::TimedOut);
    stage.host.expect_silence();
    assert!(stage.logged("cannot be shown the device yet"));
    stage.host.report([heat(21)]);
    assert_eq!(stage.expect_streams(), json!({"heat": 21}));
}

#[test]
fn an_mcu_that_starts_late_is_asked_again() {
    let mut stage = Stage::connected(bound(json!({})));
    let question = expect_question(&mut stage);
    stage.host.command_ended(question, OutcomeResult::Unreachable);
    let online = |mcu_online| module::Facts { mcu_online, ..module::Facts::default() };
    stage.host.facts_changed(online(false));
    stage.host.expect_silence();
    stage.host.facts_changed(online(true));
    let question = expect_question(&mut stage);
    let values = vec![n(5)];
    stage.host.deliver(Input::Outcome(question, Outcome { result: OutcomeResult::Done, values, document: None }));
    assert_eq!(stage.expect_streams(), json!({"n": 5}));
    stage.host.facts_changed(online(true));
    stage.host.expect_silence();
}

#[test]
fn the_mcu_is_asked_once_though_the_connection_breaks_meanwhile() {
    let mut stage = Stage::connected(bound(json!({})));
    let question = expect_question(&mut stage);
    stage.cut();
    stage.reconnect();
    stage.host.expect_silence();
    let values = vec![n(5)];
    stage.host.deliver(Input::Outcome(question, Outcome { result: OutcomeResult::Done, values, document: None }));
    assert_eq!(stage.expect_streams(), json!({"n": 5}));
    stage.host.expect_silence();
}

#[test]
fn an_answer_of_the_mcu_that_comes_while_there_is_no_connection_is_shown_on_the_next() {
    let mut stage = Stage::connected(bound(json!({})));
    let question = expect_question(&mut stage);
    stage.cut();
    let values = vec![n(5)];
    stage.host.deliver(Input::Outcome(question, Outcome { result: OutcomeResult::Done, values, document: None }));
    stage.reconnect();
    assert_eq!(stage.expect_streams(), json!({"n": 5}));
    stage.host.expect_silence();
}

#[test]
fn a_raw_product_shows_what_it_said_last_or_waits_until_it_says_something() {
    let mut stage = Stage::connected(raw(json!({})));
    stage.host.expect_silence();
    stage.say_raw(b"one");
    assert_eq!(stage.expect_upload(), b"one");
    stage.accept_upload();
    stage.settle_down();
    stage.cut();
    stage.reconnect();
    assert_eq!(stage.expect_upload(), b"one");
    stage.host.expect_silence();
}

#[test]
fn the_first_upload_shows_all_that_is_known_also_if_something_was_reported_meanwhile() {
    let mut stage = Stage::started(bound(json!({})));
    stage.host.snapshot([n(1), heat(20)]);
    stage.host.report([n(2)]);
    stage.come_in();
    assert_eq!(stage.expect_streams(), json!({"n": 2, "heat": 20}));
}

#[test]
fn a_script_that_is_not_loaded_yet_keeps_the_first_upload_back() {
    let mut stage = Stage::started_alone(scripted(json!({"panel_results": false})));
    let (script, ..) = stage.host.expect_script_load();
    stage.open_sockets();
    stage.host.snapshot([n(1)]);
    stage.host.report([n(2)]);
    stage.come_in();
    stage.host.expect_silence();
    stage.host.script_loaded(script);
    stage.script = Some(script);
    stage.convert_upload(b"2");
    assert_eq!(stage.expect_upload(), b"2");
}

#[test]
fn a_script_that_cannot_convert_the_first_upload_does_not_keep_the_rest_back() {
    let mut stage = Stage::started(scripted(json!({"panel_results": false})));
    stage.host.snapshot([n(1)]);
    stage.come_in();
    let call = stage.host.expect_script_call();
    stage.host.script_failed(call.id, Reason::Other);
    stage.assert_count("conversions_failed", 1);
    let seq = stage.host.report([n(2)]);
    let call = stage.host.expect_script_call();
    stage.host.script_failed(call.id, Reason::Other);
    assert_eq!(stage.host.expect_settle(), [seq], "it can never be sent");
    // What else is told waits for nothing any more.
    stage.host.report([n(3)]);
    stage.convert_upload(b"3");
    assert_eq!(stage.expect_upload(), b"3");
}

/// A gateway with a subdevice that is bound, shown to the cloud; its connection is cut.
fn gateway_without_cloud() -> Stage {
    let mut setup = gateway(json!({"panel_results": false}));
    setup.subdevices = vec![Subdevice {
        index: 3,
        product: "ABC123".to_owned(),
        address: "a1".to_owned(),
        radio: Radio::Zigbee,
        accepted: true,
        online: true,
        signal_percent: None,
        version: String::new(),
    }];
    let mut stage = Stage::working(setup);
    let mut app = App::new();
    app.know(&stage);
    app.exchange(
        &mut stage,
        Kind::SubAuthorization,
        &bond(json!({"feedid": "3003", "mac": "a1", "productuuid": "ABC123"})),
    );
    assert_eq!(app.expect_code(&mut stage, Kind::SubAuthorization), 0);
    stage.cut();
    stage.settle_down();
    stage
}

#[test]
fn a_snapshot_without_an_answer_does_not_run_ahead_of_what_was_reported_then() {
    let mut stage = Stage::started(bound(json!({"panel_results": false})));
    stage.host.snapshot([n(1)]);
    stage.come_in();
    stage.expect_upload();
    stage.cut();
    stage.host.report([n(5)]);
    stage.host.report([n(6)]);
    stage.reconnect();
    assert_eq!(stage.expect_streams(), json!({"n": 5}));
    assert_eq!(stage.expect_streams(), json!({"n": 6}));
    stage.host.expect_silence();
}

#[test]
fn a_gateway_shows_itself_before_its_subdevices() {
    let mut stage = gateway_without_cloud();
    let of_sub = |value| ReportBody::Properties(vec![n(value)]);
    stage.host.report_of(3, Cause::Change, None, of_sub(1));
    stage.host.report_of(3, Cause::Change, None, of_sub(2));
    stage.reconnect();
    assert_eq!(stage.take_kinds(), [Kind::Upload, Kind::SubUpload, Kind::SubUpload]);
    stage.cut();
    stage.host.report([heat(22)]);
    stage.reconnect();
    assert_eq!(stage.expect_streams(), json!({"n": 1, "heat": 22}));
    assert_eq!(stage.take_kinds(), [Kind::SubUpload, Kind::SubUpload]);
}

#[test]
fn a_better_clock_is_offered_to_the_host() {
    let mut stage = Stage::started(bound(json!({})));
    stage.host.snapshot([n(1)]);
    stage.accept();
    stage.expect_authentication();
    let wall = stage.host.now().wall.unix_ms;
    stage.host.set_wall(wall, ClockQuality::UNSET);
    stage.let_in();
    assert_eq!(stage.host.expect_module(), module::Request::OfferTime(wall));
    stage.expect_upload();
    stage.host.expect_silence();
}

#[test]
fn a_clock_that_is_right_is_left_alone() {
    let mut stage = Stage::started(bound(json!({})));
    stage.host.snapshot([n(1)]);
    stage.come_in();
    stage.expect_upload();
    stage.host.expect_silence();
}

#[test]
fn a_cloud_whose_random_numbers_differ_is_left() {
    let mut stage = Stage::started(bound(json!({})));
    stage.accept();
    stage.expect_authentication();
    let session_key = stage.session_key();
    for opt_random in [Some(1), None] {
        stage.answer_authentication(&AuthAnswer { opt_random, random: 2, session_key: session_key.clone() });
        assert_eq!(stage.host.expect_tcp_close(), stage.stream);
        stage.assert_phase(Phase::Connecting);
        assert!(stage.host.status().text.contains("random numbers"), "{:?}", stage.host.status());
        stage.wait_for_attempt();
        stage.accept();
        stage.expect_authentication();
    }
    stage.assert_count("cloud_random", 2);
}

#[test]
fn the_random_numbers_may_differ_if_the_settings_say_so() {
    let mut stage = Stage::started(bound(json!({"check_auth_random": false})));
    stage.host.snapshot([n(1)]);
    stage.accept();
    stage.expect_authentication();
    let session_key = stage.session_key();
    stage.answer_authentication(&AuthAnswer { opt_random: None, random: 2, session_key });
    stage.assert_phase(Phase::Online);
}

#[test]
fn a_cloud_that_says_nothing_to_an_authentication_is_left() {
    let mut stage = Stage::started(bound(json!({})));
    stage.accept();
    stage.expect_authentication();
    stage.host.advance(4_999);
    stage.host.expect_silence();
    stage.host.advance(1);
    assert_eq!(stage.host.expect_tcp_close(), stage.stream);
    stage.host.expect_silence();
    assert!(stage.host.status().text.contains("no answer"), "{:?}", stage.host.status());
    assert!((1_000..=4_000).contains(&stage.wait_for_attempt()));
}

#[test]
fn a_server_that_cannot_be_reached_is_followed_by_the_next() {
    let mut with = unbound(json!({}));
    let servers = json!({"joylink_server": ["first.example:1", SERVER]});
    with.stored.insert("bond".to_owned(), bond(servers).to_string().into_bytes());
    let mut stage = Stage::started(with);
    stage.host.snapshot([n(1)]);
    let (stream, host, _) = stage.host.expect_tcp_open();
    assert_eq!(host, "first.example");
    stage.host.tcp_closed(stream, Reason::Timeout);
    stage.come_in();
    stage.expect_upload();
    assert_eq!(stage.fact("server"), Some(SERVER));
}

#[test]
fn a_cloud_that_says_nothing_for_a_day_but_answers_is_kept() {
    let mut stage = Stage::working(bound(json!({"heartbeat_s": 30})));
    for _ in 0..2_880 {
        stage.host.advance(30_000);
        if stage.take_kinds().contains(&Kind::Heartbeat) {
            stage.send(Kind::Heartbeat, &CodeAnswer(Code::SUCCESS).encode());
        }
    }
    stage.assert_phase(Phase::Online);
    stage.host.report([n(2)]);
    stage.expect_upload();
}

#[test]
fn heartbeats_say_how_the_device_is_and_three_without_an_answer_end_the_connection() {
    let mut stage = Stage::working(bound(json!({"heartbeat_s": 30, "firmware_number": 7})));
    stage.host.advance(29_000);
    let beat = Heartbeat::decode(&stage.expect(Kind::Heartbeat)).unwrap();
    assert_eq!((beat.version, beat.rssi), (7, 80));
    stage.send(Kind::Heartbeat, &CodeAnswer(Code::SUCCESS).encode());
    for _ in 0..3 {
        stage.host.advance(30_000);
        stage.expect(Kind::Heartbeat);
    }
    stage.host.expect_silence();
    stage.host.advance(30_000);
    assert_eq!(stage.host.expect_tcp_close(), stage.stream);
    stage.host.take_outputs();
    assert!(stage.host.status().text.contains("heartbeats"), "{:?}", stage.host.status());
}

#[test]
fn a_connection_that_breaks_is_made_again_and_shown_the_device_again() {
    let mut stage = Stage::working(bound(json!({})));
    for value in 2..5 {
        stage.cut();
        assert!(stage.host.status().text.starts_with("waiting to connect again"), "{:?}", stage.host.status());
        stage.host.live([n(value)]);
        stage.reconnect();
        assert_eq!(stage.expect_streams(), json!({"n": value, "heat": 20}));
        stage.host.expect_silence();
        stage.accept_upload();
        stage.settle_down();
    }
}

#[test]
fn a_network_that_returns_is_used_at_once() {
    let mut stage = Stage::working(bound(json!({})));
    stage.host.interfaces_changed(Vec::new());
    stage.cut();
    stage.host.expect_silence();
    stage.host.interfaces_changed(interfaces());
    stage.come_in();
    stage.expect_upload();
    // An address more is no return.
    stage.host.interfaces_changed([interfaces(), interfaces()].concat());
    stage.host.expect_silence();
}

#[test]
fn what_is_said_on_a_connection_that_is_over_is_nobody_s() {
    let mut stage = Stage::working(bound(json!({})));
    let old = stage.stream;
    let command = stage.sealed(Kind::Command, &[0; 8]).encode(crate::packet::Network::Wan).unwrap();
    stage.cut();
    stage.reconnect();
    stage.expect_upload();
    stage.host.tcp_received(old, &command);
    stage.host.tcp_closed(old, Reason::ConnectionLost);
    stage.host.expect_silence();
    stage.assert_phase(Phase::Online);
}

#[test]
fn a_packet_that_comes_in_pieces_or_with_others_is_read_all_the_same() {
    let mut stage = Stage::working(bound(json!({})));
    let script = crate::wire::Script { biz_code: biz::CONTROL, serial: 1, content: control(json!({"n": 3})) };
    let bytes = stage.sealed(Kind::Command, &script.encode()).encode(crate::packet::Network::Wan).unwrap();
    for byte in &bytes {
        stage.send_bytes(&[*byte]);
    }
    assert_eq!(stage.host.expect_set().1, [n(3)]);
    stage.send_bytes(&[bytes.clone(), bytes].concat());
    stage.host.expect_set();
    stage.host.expect_set();
    stage.host.expect_silence();
}

#[test]
fn the_cloud_s_label_of_the_session_key_may_be_that_of_jd_s_sdks() {
    let mut stage = Stage::working(bound(json!({})));
    let script = crate::wire::Script { biz_code: biz::CONTROL, serial: 1, content: control(json!({"n": 3})) };
    let mut packet = stage.sealed(Kind::Command, &script.encode());
    packet.enctype = crate::packet::enctype::SESSION_KEY;
    stage.send_packet(&packet);
    stage.host.expect_set();
}

#[test]
fn a_cloud_without_room_is_waited_for() {
    let mut stage = Stage::working(bound(json!({"panel_results": false})));
    stage.host.tcp_full(stage.stream);
    let seqs: Vec<u64> = (2..6).map(|value| stage.host.report([n(value)])).collect();
    stage.host.expect_silence();
    stage.host.tcp_drained(stage.stream);
    for (seq, value) in seqs.iter().zip(2..) {
        assert_eq!(stage.expect_streams(), json!({"n": value, "heat": 20}));
        stage.accept_upload();
        assert_eq!(stage.host.expect_settle(), [*seq]);
    }
}
