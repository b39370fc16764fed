//! Reports to everybody, requests to the device, answers to who asked.

use polylink_plugin_sdk::services::{Reason, module};
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{
    Cause, Command, CommandBody, Input, Outcome, OutcomeResult, Report, ReportBody, RequestId, Value as Datum,
};

use super::stage::{DID, POWER, SPEED, Stage, TEMPERATURE, frame, state, with_sn};

/// The payload of a report of the state `power on, speed 30, temperature 15`.
const REPORT: [u8; 4] = [0x04, 0x01, 30, 25];

fn done(stage: &mut Stage, id: RequestId, values: Values) {
    stage.host.deliver(Input::Outcome(id, Outcome { result: OutcomeResult::Done, values, document: None }));
}

#[test]
fn a_report_goes_to_the_cloud_and_to_every_application_and_is_settled_when_sent() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    let apps = [stage.logged_in(&passcode, 1), stage.logged_in(&passcode, 2)];
    let seq = stage.host.report(state(true, 30, 15));
    assert_eq!(stage.report_at_cloud(), frame(0x91, &REPORT));
    assert_eq!(stage.host.expect_settle(), [seq]);
    let mut told = [stage.host.expect_tcp_send(), stage.host.expect_tcp_send()];
    told.sort();
    let mut expected = apps.map(|app| (app, frame(0x91, &REPORT)));
    expected.sort();
    assert_eq!(told, expected);
    stage.host.expect_silence();
}

#[test]
fn an_application_that_has_not_logged_in_hears_no_report() {
    let mut stage = Stage::online();
    stage.app();
    stage.host.report(state(true, 30, 15));
    stage.report_at_cloud();
    stage.host.expect_settle();
    stage.host.expect_silence();
}

#[test]
fn a_control_of_an_application_is_acknowledged_to_it_alone_and_the_new_state_goes_to_all() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    let (asker, other) = (stage.logged_in(&passcode, 1), stage.logged_in(&passcode, 2));
    // Flags: power and speed; the values of both.
    stage.host.tcp_received(asker, frame(0x93, &with_sn(0xFF, &[0x01, 0x03, 0x01, 30])));
    let (id, values) = stage.host.expect_set();
    assert_eq!(values, [(POWER, Datum::Bool(true)), (SPEED, Datum::Int(30))]);
    stage.host.expect_silence();
    stage.host.command_done(id);
    assert_eq!(stage.host.expect_tcp_send(), (asker, frame(0x94, &[0, 0, 0, 0xFF])));
    stage.host.expect_silence();
    stage.host.report_caused_by(id, state(true, 30, 15));
    assert_eq!(stage.report_at_cloud(), frame(0x91, &REPORT));
    let (first, second) = (stage.host.expect_tcp_send(), stage.host.expect_tcp_send());
    assert_eq!([first.0, second.0].into_iter().collect::<std::collections::BTreeSet<_>>(), [asker, other].into());
}

#[test]
fn a_control_without_a_number_is_acknowledged_by_an_empty_frame() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    let app = stage.logged_in(&passcode, 1);
    stage.host.tcp_received(app, frame(0x90, &[0x01, 0x02, 0x00, 7]));
    let (id, values) = stage.host.expect_set();
    assert_eq!(values, [(SPEED, Datum::Int(7))]);
    stage.host.command_done(id);
    assert_eq!(stage.host.expect_tcp_send(), (app, frame(0x91, &[])));
}

#[test]
fn a_read_is_answered_to_its_asker_alone() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    let (asker, _other) = (stage.logged_in(&passcode, 1), stage.logged_in(&passcode, 2));
    stage.host.tcp_received(asker, frame(0x93, &with_sn(5, &[0x02])));
    let (id, command) = stage.host.expect_submit();
    assert!(matches!(command.body, CommandBody::Get(_)), "{command:?}");
    done(&mut stage, id, state(true, 30, 15));
    assert_eq!(stage.host.expect_tcp_send(), (asker, frame(0x94, &with_sn(5, &[0x03, 0x01, 30, 25]))));
    stage.host.expect_silence();
    stage.host.tcp_received(asker, frame(0x90, &[0x02]));
    let (id, _) = stage.host.expect_submit();
    done(&mut stage, id, state(false, 0, -10));
    assert_eq!(stage.host.expect_tcp_send(), (asker, frame(0x91, &[0x03, 0, 0, 0])));
    stage.host.expect_silence();
}

#[test]
fn a_request_from_the_cloud_is_answered_on_its_askers_topic() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    stage.logged_in(&passcode, 1);
    stage.cloud_app("2kpp2d6hp2", frame(0x93, &with_sn(5, &[0x02])));
    let (id, _) = stage.host.expect_submit();
    done(&mut stage, id, state(true, 30, 15));
    let answer = stage.publish_on(&format!("dev2app/{DID}/2kpp2d6hp2"));
    assert_eq!(answer.message.payload, frame(0x94, &with_sn(5, &[0x03, 0x01, 30, 25])));
    stage.cloud_app("2kpp2d6hp2", frame(0x90, &[0x01, 0x01, 0x01, 0]));
    let (id, values) = stage.host.expect_set();
    assert_eq!(values, [(POWER, Datum::Bool(true))]);
    stage.host.command_done(id);
    let answer = stage.publish_on(&format!("dev2app/{DID}/2kpp2d6hp2"));
    assert_eq!(answer.message.payload, frame(0x91, &[]));
    stage.host.expect_silence();
}

#[test]
fn bytes_behind_the_frame_of_a_message_are_dropped() {
    let mut stage = Stage::online();
    let padded = [frame(0x90, &[0x01, 0x01, 0x01, 0]), vec![0xEE; 5]].concat();
    stage.cloud_app("a", padded);
    assert_eq!(stage.host.expect_set().1, [(POWER, Datum::Bool(true))]);
}

#[test]
fn an_asker_whose_name_cannot_be_answered_is_obeyed_and_not_answered() {
    let mut stage = Stage::online();
    for client in ["a-name-that-is-far-too-long", "a/b", ""] {
        stage.cloud_app(client, frame(0x90, &[0x01, 0x01, 0x01, 0]));
        let (id, _) = stage.host.expect_set();
        stage.host.command_done(id);
        stage.host.expect_silence();
    }
}

#[test]
fn without_an_acknowledgement_of_the_mcu_nobody_is_answered() {
    let mut stage = Stage::online();
    for result in [
        OutcomeResult::TimedOut,
        OutcomeResult::Unreachable,
        OutcomeResult::Superseded,
        OutcomeResult::Refused("speed takes 0 to 100, not 200".to_owned()),
    ] {
        stage.cloud_app("a", frame(0x93, &with_sn(1, &[0x01, 0x02, 0, 200])));
        let (id, values) = stage.host.expect_set();
        assert_eq!(values, [(SPEED, Datum::Int(200))]);
        stage.host.command_ended(id, result);
        stage.host.expect_silence();
    }
}

#[test]
fn an_application_that_has_gone_is_not_answered_and_its_number_serves_no_other() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    let app = stage.logged_in(&passcode, 1);
    stage.host.tcp_received(app, frame(0x93, &with_sn(5, &[0x01, 0x01, 0x01, 0])));
    let (id, _) = stage.host.expect_set();
    stage.host.tcp_closed(app, Reason::ConnectionLost);
    assert_eq!(stage.host.expect_module(), module::Request::Applications(0));
    stage.logged_in(&passcode, 1);
    stage.host.command_done(id);
    stage.host.expect_silence();
}

#[test]
fn bytes_that_nobody_interprets_pass_both_ways() {
    let mut stage = Stage::online();
    stage.cloud_app("a", frame(0x90, &[0x05, 0xDE, 0xAD, 0x00]));
    let (id, command) = stage.host.expect_submit();
    assert_eq!(command, Command::new(CommandBody::Raw(vec![0xDE, 0xAD, 0x00])));
    stage.host.command_done(id);
    assert_eq!(stage.publish_on(&format!("dev2app/{DID}/a")).message.payload, frame(0x91, &[]));
    stage.host.report_body(Cause::Change, None, ReportBody::Raw(vec![0xBE, 0xEF, 0x00]));
    assert_eq!(stage.report_at_cloud(), frame(0x91, &[0x06, 0xBE, 0xEF, 0x00]));
}

#[test]
fn reports_wait_for_the_cloud_and_arrive_in_order() {
    let mut stage = Stage::online();
    let connection = stage.connection;
    stage.host.mqtt_closed(connection, Reason::ConnectionLost);
    stage.host.advance(10_000);
    let seqs: Vec<u64> = (0..5).map(|speed| stage.host.report(state(true, speed, 0))).collect();
    stage.log_in();
    for (speed, seq) in (0..5).zip(seqs) {
        assert_eq!(stage.report_at_cloud(), frame(0x91, &[0x04, 1, speed, 10]));
        assert_eq!(stage.host.expect_settle(), [seq]);
    }
    stage.host.expect_silence();
}

#[test]
fn a_report_that_was_under_way_when_the_connection_broke_goes_out_again_first() {
    let mut stage = Stage::online();
    let first = stage.host.report(state(true, 1, 0));
    let under_way = stage.host.expect_publish();
    stage.host.publish_failed(under_way.id, Reason::ConnectionLost);
    // Still connected as far as the session knows: it is sent again, in its place.
    let again = stage.host.expect_publish();
    assert_eq!(again.message.payload, under_way.message.payload);
    let connection = stage.connection;
    stage.host.mqtt_closed(connection, Reason::ConnectionLost);
    let second = stage.host.report(state(true, 2, 0));
    stage.host.advance(10_000);
    stage.log_in();
    assert_eq!(stage.report_at_cloud(), frame(0x91, &[0x04, 1, 1, 10]));
    assert_eq!(stage.host.expect_settle(), [first]);
    assert_eq!(stage.report_at_cloud(), frame(0x91, &[0x04, 1, 2, 10]));
    assert_eq!(stage.host.expect_settle(), [second]);
}

#[test]
fn the_local_network_is_served_without_the_cloud() {
    let mut stage = Stage::started(super::stage::setup(serde_json::json!({})));
    let (id, _) = stage.http();
    stage.host.http_failed(id, Reason::Timeout);
    let passcode = stage.bind();
    let app = stage.logged_in(&passcode, 1);
    stage.host.tcp_received(app, frame(0x93, &with_sn(1, &[0x01, 0x01, 0x01, 0])));
    let (id, _) = stage.host.expect_set();
    stage.host.command_done(id);
    stage.host.report(state(true, 30, 15));
    assert_eq!(stage.sent_to(app), [frame(0x94, &[0, 0, 0, 1]), frame(0x91, &REPORT)]);
}

#[test]
fn what_the_host_tells_of_the_present_reaches_the_local_network_and_not_the_cloud() {
    let mut stage = Stage::online();
    let passcode = stage.bind();
    let app = stage.logged_in(&passcode, 1);
    let connection = stage.connection;
    stage.host.report(state(true, 1, 0));
    stage.report_at_cloud();
    stage.host.expect_settle();
    stage.sent_to(app);
    stage.host.mqtt_closed(connection, Reason::ConnectionLost);
    stage.host.advance(10_000);
    let (id, host) = stage.host.expect_resolve();
    assert_eq!(host, "m2m.test");
    // The window is full; the newest value comes out of turn.
    let at = stage.host.now().wall;
    let live = |speed| Report {
        seq: 0,
        at,
        device: 0,
        cause: Cause::Live,
        caused_by: None,
        body: ReportBody::Properties(vec![(SPEED, Datum::Int(speed))]),
    };
    stage.host.deliver(Input::Reports(vec![live(9)]));
    assert_eq!(stage.sent_to(app), [frame(0x91, &[0x04, 1, 9, 10])]);
    // The same value with its number, and an older one before it: history for the cloud, no news for applications.
    let old = stage.host.report(vec![(SPEED, Datum::Int(5))]);
    let new = stage.host.report(vec![(SPEED, Datum::Int(9))]);
    assert_eq!(stage.sent_to(app), Vec::<Vec<u8>>::new());
    stage.host.resolved(id, &["192.0.2.1"]);
    stage.accept();
    stage.subscribe();
    assert_eq!(stage.report_at_cloud(), frame(0x91, &[0x04, 1, 5, 10]));
    assert_eq!(stage.report_at_cloud(), frame(0x91, &[0x04, 1, 9, 10]));
    assert_eq!((stage.host.expect_settle(), stage.host.expect_settle()), (vec![old], vec![new]));
    // What comes later is news again.
    stage.host.advance(1);
    stage.host.report(vec![(TEMPERATURE, Datum::Int(20))]);
    assert_eq!(stage.host.expect_tcp_send(), (app, frame(0x91, &[0x04, 1, 9, 30])));
}

#[test]
fn a_partial_state_waits_for_the_rest_because_a_report_holds_every_attribute() {
    let mut stage = Stage::online();
    let seq = stage.host.report(vec![(POWER, Datum::Bool(true))]);
    assert_eq!(stage.host.expect_settle(), [seq]);
    stage.host.expect_silence();
    stage.host.report(vec![(SPEED, Datum::Int(30)), (TEMPERATURE, Datum::Int(15))]);
    assert_eq!(stage.report_at_cloud(), frame(0x91, &REPORT));
}

#[test]
fn the_last_known_values_complete_the_first_report_after_a_start() {
    let mut stage = Stage::online();
    stage.host.snapshot(state(false, 30, 15));
    stage.host.expect_silence();
    stage.host.report(vec![(POWER, Datum::Bool(true))]);
    assert_eq!(stage.report_at_cloud(), frame(0x91, &REPORT));
}
