//! Reports going up, from the device to the broker's acknowledgement.

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::{
    Cause, ClockQuality, DatapointId, Input, Output, Report, ReportBody, RequestId, Value as Datum, WallTime,
};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, Sent, merged, online, product, setup, setup_of};

/// The next report, which says this of `count`.
#[track_caller]
fn expect_count(cloud: &mut Cloud, count: i64) -> Sent {
    let sent = cloud.expect(2006);
    assert_eq!(sent.body, json!({"params": [{"2": count}]}));
    sent
}

/// The broker has it, and that settles this report.
#[track_caller]
fn check_settles(cloud: &mut Cloud, sent: &Sent, seq: u64) {
    cloud.host.published(sent.publish.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[track_caller]
fn check_unsettled(cloud: &mut Cloud) {
    let outputs = cloud.host.take_outputs();
    assert!(!outputs.iter().any(|output| matches!(output, Output::Settle(_))), "{outputs:?}");
}

/// A report from this moment.
fn report_of(seq: u64, at: WallTime, body: ReportBody) -> Input {
    Input::Reports(vec![Report { seq, at, device: 0, cause: Cause::Change, caused_by: None, body }])
}

fn count(n: i64) -> Vec<(DatapointId, Datum)> {
    vec![(DatapointId(1), Datum::Int(n))]
}

/// A report that the platform cannot be told is settled at once, and counted.
#[track_caller]
fn check_unsaid(report: Report) {
    let mut cloud = online(json!({}));
    let seq = report.seq;
    cloud.host.deliver(Input::Reports(vec![report]));
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    assert_eq!(cloud.fact("reports_without_words"), Some("1"));
}

#[test]
fn a_report_is_settled_when_the_broker_has_it_and_not_before() {
    let mut cloud = online(json!({}));
    let seq = cloud.host.report([
        (DatapointId(0), Datum::Bool(true)),
        (DatapointId(1), Datum::Int(25)),
        (DatapointId(3), Datum::Enum(1)),
        (DatapointId(4), Datum::Text("7".to_owned())),
    ]);
    let sent = cloud.expect(2006);
    assert_eq!(sent.body, json!({"params": [{"1": true}, {"2": 25}, {"4": 1}, {"5": "7"}]}));
    assert_eq!(sent.publish.message.qos, 1);
    cloud.host.advance(60_000);
    cloud.host.expect_silence();
    check_settles(&mut cloud, &sent, seq);
    cloud.host.published(sent.publish.id);
    cloud.host.expect_silence();
}

#[test]
fn nothing_that_the_platform_says_settles_a_report() {
    let mut cloud = online(json!({}));
    cloud.report(7);
    let sent = expect_count(&mut cloud, 7);
    for cmd in [2005, 2006, 2007] {
        cloud.say(cmd, &sent.id, json!({"respCode": 0}));
    }
    cloud.host.published(RequestId(sent.publish.id.0 + 1_000));
    cloud.host.expect_silence();
}

#[test]
fn each_report_has_a_number_of_its_own_that_only_grows() {
    let mut cloud = online(json!({}));
    let mut last = 0;
    for n in 0..10 {
        cloud.report(n);
        let id = expect_count(&mut cloud, n).id.as_i64().unwrap();
        assert!(id > last && id <= 2_147_483_647);
        last = id;
    }
}

#[test]
fn a_report_keeps_the_moment_it_is_of_over_an_outage() {
    let mut cloud = online(json!({"report_on_connect": false}));
    cloud.cut();
    let moment = cloud.host.now().wall.unix_ms;
    cloud.report(7);
    cloud.host.advance(120_000);
    cloud.come_online();
    assert_eq!(expect_count(&mut cloud, 7).frame["timestamp"], moment);
    cloud.cut();
    cloud.host.advance(120_000);
    cloud.come_online();
    assert_eq!(expect_count(&mut cloud, 7).frame["timestamp"], moment);
}

#[test]
fn a_report_shows_its_moment_by_the_clock_of_the_platform() {
    let mut cloud = Cloud::started(setup(json!({"report_on_connect": false})));
    cloud.ahead_ms = 3_600_000;
    cloud.register();
    cloud.come_online();
    cloud.host.take_outputs();
    let moment = cloud.host.now().wall.unix_ms;
    cloud.report(7);
    assert_eq!(expect_count(&mut cloud, 7).frame["timestamp"], moment + 3_600_000);
    cloud.cut();
    let moment = cloud.host.now().wall.unix_ms;
    cloud.host.advance(100);
    let earlier = WallTime { unix_ms: moment - 60_000, quality: ClockQuality::SYNCED };
    cloud.host.deliver(report_of(71, earlier, ReportBody::Properties(count(8))));
    cloud.reconnect();
    expect_count(&mut cloud, 7);
    assert_eq!(expect_count(&mut cloud, 8).frame["timestamp"], moment - 60_000 + 3_600_000);
}

#[test]
fn a_report_of_an_unknown_moment_is_of_the_one_it_came() {
    let mut cloud = online(json!({}));
    let moment = cloud.host.now().wall.unix_ms;
    cloud.cut();
    cloud.host.deliver(report_of(71, WallTime::default(), ReportBody::Properties(count(8))));
    cloud.reconnect();
    assert_eq!(expect_count(&mut cloud, 8).frame["timestamp"], moment);
}

#[test]
fn after_an_outage_reports_go_again_in_their_order_under_their_numbers() {
    let mut cloud = online(json!({"report_on_connect": false}));
    let seqs = [1, 2, 3].map(|n| cloud.report(n));
    let sent = [1, 2, 3].map(|n| expect_count(&mut cloud, n));
    check_settles(&mut cloud, &sent[1], seqs[1]);
    cloud.cut();
    cloud.report(4);
    cloud.host.expect_silence();
    cloud.reconnect();
    let again = [1, 3, 4].map(|n| expect_count(&mut cloud, n));
    cloud.host.expect_silence();
    assert_eq!(again[0].publish.message, sent[0].publish.message);
    assert_eq!(again[1].publish.message, sent[2].publish.message);
    assert!(again[2].id.as_i64() > sent[2].id.as_i64());
    // What the lost connection would have said comes too late.
    cloud.host.published(sent[0].publish.id);
    cloud.host.expect_silence();
    for (sent, seq) in again.iter().zip([seqs[0], seqs[2], seqs[2] + 1]) {
        check_settles(&mut cloud, sent, seq);
    }
}

#[test]
fn reports_wait_until_the_platform_has_answered_the_greeting() {
    let mut cloud = Cloud::started(setup(json!({"report_on_connect": false})));
    cloud.report(1);
    cloud.register();
    cloud.report(2);
    cloud.accept();
    cloud.report(3);
    cloud.grant_subscription();
    cloud.report(4);
    let (id, _) = cloud.expect_frame(2004);
    cloud.host.take_outputs();
    cloud.say(2005, &id, json!({"respCode": 0}));
    for n in 1..=4 {
        expect_count(&mut cloud, n);
    }
    cloud.host.expect_silence();
}

#[test]
fn at_most_32_reports_wait_for_the_broker_at_once() {
    let mut cloud = online(json!({}));
    for n in 0..40 {
        cloud.report(n);
    }
    let sent: Vec<Sent> = (0..32).map(|n| expect_count(&mut cloud, n)).collect();
    cloud.host.expect_silence();
    // In any order.
    check_settles(&mut cloud, &sent[9], 10);
    expect_count(&mut cloud, 32);
    check_settles(&mut cloud, &sent[0], 1);
    expect_count(&mut cloud, 33);
    cloud.host.expect_silence();
}

#[test]
fn a_publish_that_fails_on_a_live_connection_is_repeated_after_a_pause() {
    let mut cloud = online(json!({}));
    let seqs = [1, 2].map(|n| cloud.report(n));
    let sent = [1, 2].map(|n| expect_count(&mut cloud, n));
    cloud.host.publish_failed(sent[0].publish.id, Reason::Quota);
    cloud.report(3);
    cloud.host.advance(999);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    let again = [1, 2, 3].map(|n| expect_count(&mut cloud, n));
    cloud.host.expect_silence();
    assert_eq!(again[0].publish.message, sent[0].publish.message);
    assert_eq!(again[1].publish.message, sent[1].publish.message);
    for (sent, seq) in again.iter().zip([seqs[0], seqs[1], seqs[1] + 1]) {
        check_settles(&mut cloud, sent, seq);
    }
}

#[test]
fn a_pause_ends_with_its_connection() {
    let mut cloud = online(json!({}));
    cloud.report(1);
    let sent = expect_count(&mut cloud, 1);
    cloud.host.publish_failed(sent.publish.id, Reason::Timeout);
    cloud.cut();
    cloud.host.interfaces_changed(vec![]);
    cloud.host.interfaces_changed(vec![polylink_plugin_sdk::services::network::Interface::default()]);
    cloud.come_online();
    expect_count(&mut cloud, 1);
}

#[test]
fn a_report_that_the_host_never_takes_is_given_up_and_counted() {
    let mut cloud = online(json!({}));
    let seq = cloud.report(1);
    let sent = expect_count(&mut cloud, 1);
    cloud.host.publish_failed(sent.publish.id, Reason::Invalid);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.report(2);
    expect_count(&mut cloud, 2);
    cloud.host.advance(1_000);
    cloud.host.expect_silence();
    cloud.assert_fact("reports_refused", "1");
}

#[test]
fn a_report_that_is_too_large_is_given_up_and_counted_while_others_go() {
    for encrypt in [true, false] {
        let mut cloud = online(json!({"mqtt_encrypt_data": encrypt, "report_on_connect": false}));
        cloud.cut();
        let note = |n_bytes| vec![(DatapointId(4), Datum::Text("x".repeat(n_bytes)))];
        let seq = cloud.host.report(note(200_000));
        let large = cloud.host.report(note(190_000));
        let last = cloud.report(2);
        cloud.reconnect();
        assert_eq!(cloud.host.expect_settle(), [seq]);
        let sent = cloud.expect(2006);
        assert!(sent.publish.message.payload.len() <= 256 * 1024);
        check_settles(&mut cloud, &sent, large);
        let sent = expect_count(&mut cloud, 2);
        check_settles(&mut cloud, &sent, last);
        cloud.host.advance(1_000);
        cloud.assert_fact("reports_refused", "1");
    }
}

#[test]
fn events_raw_bytes_and_subdevices_have_no_words_and_are_counted() {
    let at = WallTime::default();
    let report = |device, body| Report { seq: 5, at, device, cause: Cause::Change, caused_by: None, body };
    check_unsaid(report(0, ReportBody::Event { id: DatapointId(0), params: count(1) }));
    check_unsaid(report(0, ReportBody::Raw(vec![1, 2])));
    check_unsaid(report(1, ReportBody::Properties(count(1))));
    check_unsaid(report(0, ReportBody::Properties(vec![(DatapointId(99), Datum::Int(1))])));
    check_unsaid(report(0, ReportBody::Properties(Vec::new())));
}

#[test]
fn a_property_without_a_number_is_named_and_left_out() {
    let mut product = product();
    product["properties"][0]["cloud_name"] = json!("power");
    let mut cloud = Cloud::online(setup_of(product, json!({})));
    assert_eq!(cloud.fact("without_number"), Some("power"));
    let power = (DatapointId(0), Datum::Bool(true));
    cloud.host.report([power.clone(), (DatapointId(1), Datum::Int(5))]);
    expect_count(&mut cloud, 5);
    let seq = cloud.host.report([power]);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.expect_silence();
}

#[test]
fn what_is_not_news_is_not_told_but_known_at_the_next_connect() {
    let mut cloud = online(json!({}));
    cloud.host.snapshot([(DatapointId(0), Datum::Bool(true)), (DatapointId(1), Datum::Int(1))]);
    cloud.host.live([(DatapointId(2), Datum::Int(-5))]);
    cloud.host.expect_silence();
    let seq = cloud.host.report_body(Cause::Answer, None, ReportBody::Properties(count(2)));
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.expect_silence();
    cloud.cut();
    cloud.reconnect();
    assert_eq!(cloud.expect(2006).body, json!({"params": [{"1": true}, {"2": 2}, {"3": -5}]}));
    cloud.host.expect_silence();
    assert_eq!(cloud.fact("reports_without_words"), None);
}

#[test]
fn a_state_that_the_device_repeats_is_told() {
    let mut cloud = online(json!({}));
    cloud.host.report_body(Cause::Periodic, None, ReportBody::Properties(count(2)));
    expect_count(&mut cloud, 2);
}

#[test]
fn after_each_connect_everything_known_goes_up_once_behind_what_waited() {
    let mut cloud = online(json!({}));
    cloud.host.snapshot([(DatapointId(0), Datum::Bool(true))]);
    for round in 1..=2 {
        cloud.cut();
        let seq = cloud.report(round);
        cloud.reconnect();
        let sent = expect_count(&mut cloud, round);
        let now = cloud.host.now().wall.unix_ms;
        let full = cloud.expect(2006);
        assert_eq!(full.body, json!({"params": [{"1": true}, {"2": round}]}));
        assert_eq!(full.frame["timestamp"], now);
        cloud.host.expect_silence();
        check_settles(&mut cloud, &sent, seq);
        cloud.host.published(full.publish.id);
        cloud.host.advance(3_600_000);
        cloud.host.expect_silence();
    }
}

#[test]
fn everything_is_told_once_however_often_the_connection_breaks() {
    let mut cloud = online(json!({}));
    cloud.host.snapshot(count(1));
    for round in 1..=5 {
        cloud.cut();
        cloud.host.snapshot(count(round));
        cloud.reconnect();
        expect_count(&mut cloud, round);
        cloud.host.expect_silence();
    }
}

#[test]
fn nothing_is_told_at_a_connect_if_nothing_is_known_or_it_is_not_wanted() {
    let check = |changes: Value, is_known: bool| {
        let mut cloud = Cloud::started(setup(merged(json!({}), changes)));
        if is_known {
            cloud.host.snapshot(count(1));
        }
        cloud.register();
        cloud.come_online();
        cloud.host.advance(60_000);
        cloud.host.expect_silence();
    };
    check(json!({}), false);
    check(json!({"report_on_connect": false}), true);
}

#[test]
fn reports_beyond_what_is_held_are_left_with_the_host_and_counted() {
    let mut cloud = online(json!({"report_on_connect": false}));
    cloud.cut();
    for n in 0..600 {
        cloud.report(n);
    }
    cloud.reconnect();
    for n in 0..512 {
        let sent = expect_count(&mut cloud, n);
        check_settles(&mut cloud, &sent, u64::try_from(n).unwrap() + 1);
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("reports_left_with_host", "88");
}

#[test]
fn reports_go_with_the_quality_of_service_that_is_set() {
    for qos in [0, 2] {
        let mut cloud = online(json!({"qos": qos}));
        let seq = cloud.report(1);
        let sent = expect_count(&mut cloud, 1);
        assert_eq!(sent.publish.message.qos, qos);
        check_settles(&mut cloud, &sent, seq);
    }
}

#[test]
fn a_session_that_ends_settles_nothing() {
    let mut cloud = online(json!({}));
    cloud.report(1);
    expect_count(&mut cloud, 1);
    cloud.report(2);
    cloud.host.stop();
    check_unsettled(&mut cloud);
}
