//! The greeting 2004 and its answer, and the device that is sent away (2017).

use polylink_plugin_sdk::Output;
use polylink_plugin_sdk::services::{Reason, network};
use polylink_plugin_sdk::session::Phase;
use serde_json::{Value, json};

use super::connecting::{check_hangs_up, check_tries_again, check_waits};
use crate::scenarios::stage::{Cloud, DEV_MAC, online, seal, setup_registered};

/// Connected with a stored login, the subscription granted; the number of the greeting.
#[track_caller]
fn greeting(changes: Value) -> (Cloud, Value) {
    let mut cloud = Cloud::started(setup_registered(changes));
    cloud.accept();
    cloud.grant_subscription();
    let (id, _) = cloud.expect_frame(2004);
    (cloud, id)
}

#[test]
fn a_greeting_that_nobody_answers_is_sent_three_times_and_then_done_without() {
    let (mut cloud, first) = greeting(json!({}));
    let begun = cloud.host.now();
    for _ in 0..2 {
        cloud.host.advance(4_999);
        cloud.host.expect_silence();
        cloud.host.advance(1);
        let again = cloud.expect(2004);
        assert_eq!((&again.id, &again.body["devMac"]), (&first, &json!(DEV_MAC)));
        assert_eq!(again.frame["timestamp"], cloud.host.now().wall.unix_ms);
    }
    cloud.host.advance(4_999);
    assert_eq!(cloud.host.status().phase, Phase::Connecting);
    cloud.host.advance(1);
    assert_eq!(cloud.host.now().monotonic.since(begun.monotonic), 15_000);
    assert_eq!(cloud.host.status().phase, Phase::Online);
    cloud.host.expect_silence();
    assert!(cloud.logged("going on without"));
}

#[test]
fn an_answer_that_comes_after_the_device_has_gone_on_still_counts_once() {
    let late = || {
        let (mut cloud, id) = greeting(json!({"connect_attempts": 1}));
        cloud.host.advance(5_000);
        assert_eq!(cloud.host.status().phase, Phase::Online);
        (cloud, id)
    };
    let (mut cloud, id) = late();
    cloud.say(2005, &json!(id.as_i64().unwrap() + 1), json!({"respCode": 2}));
    cloud.say(2005, &id, json!({"respCode": 0}));
    cloud.host.expect_silence();
    cloud.say(2005, &id, json!({"respCode": 2}));
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, Phase::Online);
    let (mut cloud, id) = late();
    cloud.say(2005, &id, json!({"respCode": 2}));
    check_hangs_up(&mut cloud);
    cloud.wait_for_attempt();
    cloud.register();
    cloud.come_online();
}

#[test]
fn a_device_that_needs_the_answer_hangs_up_without_it() {
    let (mut cloud, first) =
        greeting(json!({"require_connect_ack": true, "connect_attempts": 2, "connect_ack_timeout_s": 9}));
    cloud.host.advance(9_000);
    assert_eq!(cloud.expect_frame(2004).0, first);
    cloud.host.advance(8_999);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    check_hangs_up(&mut cloud);
    check_tries_again(&mut cloud, 1_000, "does not answer the connection request");
}

#[test]
fn the_answer_to_a_greeting_may_be_late_but_has_to_be_an_answer_to_it() {
    let (mut cloud, id) = greeting(json!({}));
    let others = [json!(id.as_i64().unwrap() + 1), json!(null), json!(id.to_string()), json!([]), json!(1.5)];
    for other in &others {
        // Neither a success nor a refusal.
        cloud.say(2005, other, json!({"respCode": 0}));
        cloud.say(2005, other, json!({"respCode": 2}));
    }
    for data in [json!(null), json!("!"), json!({"respCont": "ok"}), seal(OTHER_KEY, r#"{"respCode":0}"#).into()] {
        cloud.say_data(2005, &id, data);
    }
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, Phase::Connecting);
    cloud.host.advance(14_000);
    cloud.say(2005, &id, json!({"respCode": 0}));
    assert_eq!(cloud.host.status().phase, Phase::Online);
    cloud.host.advance(1_000);
    cloud.assert_fact("answers_unmatched", &(2 * others.len()).to_string());
}

#[test]
fn an_answer_in_clear_counts_unless_everything_has_to_be_encrypted() {
    for strict in [false, true] {
        let (mut cloud, id) = greeting(json!({ "strict_encryption": strict }));
        cloud.say_data(2005, &id, json!({"respCode": 0}));
        assert_eq!(cloud.host.status().phase == Phase::Online, !strict);
    }
}

#[test]
fn a_device_that_the_platform_does_not_know_registers_again() {
    let (mut cloud, id) = greeting(json!({}));
    cloud.say(2005, &id, json!({"respCode": 2, "respCont": "unknown device"}));
    check_hangs_up(&mut cloud);
    cloud.host.expect_silence();
    // Also if it starts anew before.
    let mut restarted = Cloud::started(cloud.host.setup().clone());
    restarted.register();
    check_waits(&mut cloud, 1_000);
    cloud.register();
    cloud.come_online();
}

#[test]
fn any_other_refusal_of_the_greeting_ends_the_connection() {
    for code in [1, 3, 99, -1] {
        let (mut cloud, id) = greeting(json!({}));
        cloud.say(2005, &id, json!({ "respCode": code }));
        check_hangs_up(&mut cloud);
        check_tries_again(&mut cloud, 1_000, &format!("code {code}"));
    }
}

#[test]
fn a_device_that_is_sent_away_stays_away_for_five_minutes() {
    let mut cloud = online(json!({}));
    let id = cloud.new_id();
    cloud.say(2017, &id, json!({"respCont": "logged in elsewhere"}));
    check_hangs_up(&mut cloud);
    let seq = cloud.report(1);
    // No answer, and nothing more is published.
    cloud.host.expect_silence();
    assert_eq!(cloud.host.status().phase, Phase::Offline);
    assert!(cloud.host.status().text.contains("logged in elsewhere"), "{}", cloud.host.status().text);
    // The network does not change that.
    cloud.host.interfaces_changed(Vec::new());
    cloud.host.interfaces_changed(vec![network::Interface::default()]);
    cloud.host.mqtt_closed(cloud.connection, Reason::Closed);
    cloud.host.advance(299_000 - 1);
    cloud.host.expect_silence();
    cloud.host.advance(1_001);
    cloud.come_online();
    let publish = cloud.expect(2006).publish;
    cloud.host.published(publish.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn a_device_is_sent_away_also_by_a_message_that_cannot_be_read() {
    let unreadable: [(Value, Value); 5] = [
        (json!(1), json!("!")),
        (json!(1), seal(OTHER_KEY, "{}").into()),
        (json!(1), json!(null)),
        (json!(null), json!({})),
        (json!("x"), json!([7])),
    ];
    for (id, data) in unreadable {
        let mut cloud = online(json!({"force_offline_hold_s": 20}));
        cloud.say_data(2017, &id, data);
        check_hangs_up(&mut cloud);
        cloud.host.expect_silence();
        check_waits(&mut cloud, 20_000);
        cloud.come_online();
    }
}

#[test]
fn a_device_can_be_sent_away_before_it_is_online() {
    let (mut cloud, id) = greeting(json!({}));
    cloud.ask(2017, json!({}));
    check_hangs_up(&mut cloud);
    cloud.say(2005, &id, json!({"respCode": 0}));
    cloud.host.expect_silence();
    assert_eq!(cloud.wait_for_attempt(), 300_000);
    cloud.come_online();
}

#[test]
fn a_message_that_waited_at_the_broker_is_taken_before_the_greeting_is_answered() {
    let (mut cloud, id) = greeting(json!({}));
    cloud.ask(2011, json!({"params": [{"1": true}]}));
    let is_command = |output: &Output| matches!(output, Output::Submit(..)).then_some(());
    cloud.host.expect_output("a command", is_command);
    cloud.say(2005, &id, json!({"respCode": 0}));
    assert_eq!(cloud.host.status().phase, Phase::Online);
}

/// Not the device's key.
const OTHER_KEY: &str = "00000000000000000000000000000000";
