//! What is no longer news: told as history, with its own time.

use polylink_plugin_sdk::{ClockQuality, DatapointId, Input, Value as Datum};
use serde_json::json;

use crate::scenarios::reports::{
    HISTORY, HISTORY_ACK, REPORT, REPORT_ACK, check_ack_settles, check_unsettled, report_of, report_two_minutes_late,
};
use crate::scenarios::stage::online;

#[test]
fn a_value_that_waited_behind_a_newer_one_is_told_as_history() {
    let mut cloud = online(json!({}));
    let older = cloud.report(1);
    let refused = cloud.expect(REPORT, 16);
    let at = cloud.host.now().wall.unix_ms;
    cloud.host.advance(100);
    let newer = cloud.report(2);
    let sent = cloud.expect(REPORT, 16);
    check_ack_settles(&mut cloud, &sent, newer);
    cloud.ack(REPORT_ACK, 16, &refused.id, 4001);
    cloud.host.advance(10_000);
    let history = cloud.expect(HISTORY, 27);
    let expected = json!({"params": [{"properties": [{"n": {"value": 1, "time": at}}], "events": []}]});
    assert_eq!(history.payload, expected);
    cloud.ack(HISTORY_ACK, 27, &history.id, 200);
    assert_eq!(cloud.host.expect_settle(), [older]);
}

#[test]
fn after_a_day_offline_history_is_told_in_batches_and_each_is_settled_by_its_own_answer() {
    const ALL: u64 = 300;
    const WINDOW: u64 = 256;
    let mut cloud = online(json!({}));
    let start = cloud.host.now().wall.unix_ms;
    let moment = |seq: u64| start + i64::try_from(seq).unwrap() * 280_000;
    let report = |seq: u64| report_of(seq, moment(seq), i64::try_from(seq).unwrap());
    cloud.cut();
    cloud.host.deliver(Input::Reports((1..=WINDOW).map(report).collect()));
    cloud.host.set_wall(start + 86_400_000, ClockQuality::SYNCED);
    cloud.reconnect();
    let (mut told, mut settled, mut handed_over) = (Vec::new(), Vec::new(), WINDOW);
    while settled.len() < 300 {
        let history = cloud.expect(HISTORY, 27);
        let params = &history.payload["params"];
        assert_eq!(params.as_array().map(Vec::len), Some(1));
        assert_eq!(params[0]["events"], json!([]));
        let properties = params[0]["properties"].as_array().unwrap();
        assert!(!properties.is_empty() && properties.len() <= 100, "{}", properties.len());
        for property in properties {
            let seq = property["n"]["value"].as_u64().unwrap();
            assert_eq!(property["n"]["time"], moment(seq));
            told.push(seq);
        }
        cloud.ack(HISTORY_ACK, 27, &history.id, 200);
        let newly = cloud.host.expect_settle();
        assert_eq!(newly.len(), properties.len());
        settled.extend(newly);
        // The host hands over as many as it may.
        let window: Vec<u64> = (handed_over + 1..=ALL.min(settled.len() as u64 + WINDOW)).collect();
        handed_over += window.len() as u64;
        cloud.host.deliver(Input::Reports(window.into_iter().map(report).collect()));
    }
    let all: Vec<u64> = (1..=ALL).collect();
    assert!(told == all && settled == all);
    assert_eq!(cloud.count(HISTORY), 0);
}

#[test]
fn events_are_history_too_and_keep_their_parameters() {
    let mut cloud = online(json!({}));
    cloud.cut();
    let event = cloud.host.report_event(DatapointId(0), [(DatapointId(0), Datum::Int(3))]);
    let at = cloud.host.now().wall.unix_ms;
    cloud.host.set_wall(at + 3_600_000, ClockQuality::SYNCED);
    cloud.reconnect();
    let history = cloud.expect(HISTORY, 27);
    let expected =
        json!({"params": [{"properties": [], "events": [{"lowBattery": {"value": {"volt": 3}, "time": at}}]}]});
    assert_eq!(history.payload, expected);
    cloud.ack(HISTORY_ACK, 27, &history.id, 200);
    assert_eq!(cloud.host.expect_settle(), [event]);
}

#[test]
fn a_refused_batch_is_told_again_one_by_one() {
    let mut cloud = online(json!({}));
    let at = report_two_minutes_late(&mut cloud);
    let batch = cloud.expect(HISTORY, 27);
    assert_eq!(batch.payload["params"][0]["properties"].as_array().unwrap().len(), 2);
    cloud.ack(HISTORY_ACK, 27, &batch.id, 4001);
    let singles = [cloud.expect(HISTORY, 27), cloud.expect(HISTORY, 27)];
    for (at, single) in at.iter().zip(&singles) {
        assert_ne!(single.id, batch.id);
        let properties = single.payload["params"][0]["properties"].as_array().unwrap();
        assert_eq!((properties.len(), &properties[0]["n"]["time"]), (1, &json!(at)));
    }
    cloud.ack(HISTORY_ACK, 27, &singles[0].id, 4001);
    cloud.ack(HISTORY_ACK, 27, &singles[1].id, 200);
    assert_eq!(cloud.host.expect_settle(), [72]);
    for _ in 0..2 {
        cloud.host.advance(10_000);
        let again = cloud.expect(HISTORY, 27);
        cloud.ack(HISTORY_ACK, 27, &again.id, 4001);
    }
    assert_eq!(cloud.host.expect_settle(), [71]);
}

#[test]
fn a_report_of_a_device_whose_clock_was_not_set_is_never_history() {
    let mut cloud = online(json!({}));
    cloud.cut();
    cloud.host.set_wall(0, ClockQuality::UNSET);
    let seqs = [cloud.report(1), cloud.report(2)];
    cloud.host.set_wall(1_704_153_600_000, ClockQuality::SYNCED);
    cloud.reconnect();
    for (seq, n) in seqs.into_iter().zip(1..) {
        let sent = cloud.expect(REPORT, 16);
        assert_eq!(sent.payload, json!({"n": n}));
        check_ack_settles(&mut cloud, &sent, seq);
    }
}

#[test]
fn a_lost_connection_loses_no_report_and_no_value_steps_back() {
    let mut cloud = online(json!({}));
    let seqs = [cloud.report(1), cloud.report(2)];
    let at = cloud.host.now().wall.unix_ms;
    let before = [cloud.expect(REPORT, 16), cloud.expect(REPORT, 16)];
    cloud.cut();
    let offline = cloud.report(3);
    cloud.host.advance(100);
    check_unsettled(&mut cloud);
    cloud.reconnect();
    // An answer of the lost connection comes late, by a name that means nothing any more.
    cloud.ack(REPORT_ACK, 16, &before[0].id, 200);
    let history = cloud.expect(HISTORY, 27);
    assert_eq!(history.payload["params"][0]["properties"], json!([{"n": {"value": 1, "time": at}}]));
    cloud.ack(HISTORY_ACK, 27, &history.id, 200);
    assert_eq!(cloud.host.expect_settle(), [seqs[0]]);
    for (seq, n) in [(seqs[1], 2), (offline, 3)] {
        let news = cloud.expect(REPORT, 16);
        assert_eq!(news.payload, json!({"n": n}));
        check_ack_settles(&mut cloud, &news, seq);
    }
}

#[test]
fn after_how_long_a_report_is_history_can_be_set() {
    for (settings, is_history) in [(json!({"history_after_s": 121}), false), (json!({"history_after_s": 120}), true)] {
        let mut cloud = online(settings);
        let at = cloud.host.now().wall.unix_ms - 120_000;
        cloud.host.deliver(Input::Reports(vec![report_of(71, at, 1)]));
        assert_eq!(cloud.count(HISTORY), usize::from(is_history));
    }
}

#[test]
fn while_the_clock_tells_no_time_nothing_is_history() {
    let mut cloud = online(json!({}));
    let now = cloud.host.now().wall.unix_ms;
    cloud.host.set_wall(now, ClockQuality::UNSET);
    report_two_minutes_late(&mut cloud);
    assert_eq!(cloud.count(REPORT), 2);
}
