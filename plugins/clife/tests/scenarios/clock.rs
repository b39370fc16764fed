//! Whose time it is: the host's, until the platform says that it is another.

use polylink_plugin_sdk::services::module;
use polylink_plugin_sdk::testing::Setup;
use polylink_plugin_sdk::{ClockQuality, WallTime};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, DEV_KEY, merged, online, seal, setup, setup_registered};

const HOUR_MS: u64 = 3_600_000;

/// With a stored login. Nothing is reported but what a test reports.
#[track_caller]
fn registered(changes: Value) -> Setup {
    setup_registered(merged(json!({"report_on_connect": false}), changes))
}

/// With a stored login, greeting a platform whose clock is so far ahead; the number of the greeting.
#[track_caller]
fn greeting(setup: Setup, ahead_ms: i64) -> (Cloud, Value) {
    let mut cloud = Cloud::started(setup);
    cloud.ahead_ms = ahead_ms;
    cloud.accept();
    cloud.grant_subscription();
    let (id, _) = cloud.expect_frame(2004);
    (cloud, id)
}

/// Online with a stored login; the platform's clock was so far ahead when it answered the greeting.
#[track_caller]
fn online_ahead(ahead_ms: i64) -> Cloud {
    let (mut cloud, id) = greeting(registered(json!({})), ahead_ms);
    cloud.say(2005, &id, json!({"respCode": 0}));
    cloud
}

/// How far the device's messages are ahead of the host's clock.
#[track_caller]
fn sent_ahead(cloud: &mut Cloud) -> i64 {
    let seq = cloud.report(7);
    let report = cloud.expect(2006);
    cloud.host.published(report.publish.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    report.frame["timestamp"].as_i64().unwrap() - cloud.host.now().wall.unix_ms
}

/// The platform's time was offered to the host.
#[track_caller]
fn check_offered(cloud: &mut Cloud) {
    let platform_ms = cloud.host.now().wall.unix_ms + cloud.ahead_ms;
    assert_eq!(cloud.host.expect_module(), module::Request::OfferTime(platform_ms));
}

/// Says something else than an answer.
#[track_caller]
fn say_something(cloud: &mut Cloud) {
    cloud.ask(2013, json!({}));
    cloud.expect_frame(2012);
}

#[test]
fn the_answer_to_the_registration_sets_the_clock() {
    for (ahead_ms, taken) in
        [(0, false), (1_999, false), (-1_999, false), (2_000, true), (-2_000, true), (1 << 40, true)]
    {
        let mut cloud = Cloud::started(setup(json!({})));
        cloud.ahead_ms = ahead_ms;
        let application = cloud.expect_application();
        assert_eq!(application.frame["timestamp"], cloud.host.now().wall.unix_ms);
        cloud.answer_application(&application, cloud.login.clone());
        if taken {
            check_offered(&mut cloud);
        }
        let will: Value = serde_json::from_slice(&cloud.accept().will.unwrap().payload).unwrap();
        let expected = cloud.host.now().wall.unix_ms + if taken { ahead_ms } else { 0 };
        assert_eq!(will["timestamp"], expected);
        cloud.grant_subscription();
        assert_eq!(cloud.expect(2004).frame["timestamp"], expected);
        cloud.host.expect_silence();
    }
}

#[test]
fn a_registration_that_fails_sets_no_clock() {
    let mut cloud = Cloud::started(setup(json!({})));
    cloud.ahead_ms = 60_000;
    let application = cloud.expect_application();
    cloud.answer_application(&application, json!({"respCode": 5}));
    cloud.wait_for_attempt();
    let application = cloud.expect_application();
    let other = json!(application.id.as_i64().unwrap() - 1);
    let frame = cloud.frame(2001, &other, seal(DEV_KEY, cloud.login.to_string()).into());
    cloud.host.http_answer(application.http, 200, frame.to_string());
    cloud.wait_for_attempt();
    let application = cloud.expect_application();
    cloud.answer_application(&application, merged(cloud.login.clone(), json!({"mqttUrl": null})));
    cloud.wait_for_attempt();
    assert_eq!(cloud.expect_application().frame["timestamp"], cloud.host.now().wall.unix_ms);
    cloud.host.expect_silence();
}

#[test]
fn the_answer_to_the_greeting_sets_the_clock() {
    for (ahead_ms, taken) in [(1_999, false), (-1_999, false), (2_000, true), (-2_000, true), (86_400_000, true)] {
        let mut cloud = online_ahead(ahead_ms);
        if taken {
            check_offered(&mut cloud);
        }
        cloud.host.expect_silence();
        assert_eq!(sent_ahead(&mut cloud), if taken { ahead_ms } else { 0 });
        cloud.host.advance(HOUR_MS);
        assert_eq!(sent_ahead(&mut cloud), if taken { ahead_ms } else { 0 });
    }
}

#[test]
fn every_answer_to_a_greeting_sets_the_clock_anew() {
    let mut cloud = online_ahead(60_000);
    check_offered(&mut cloud);
    cloud.cut();
    cloud.ahead_ms = 90_000;
    cloud.reconnect();
    check_offered(&mut cloud);
    assert_eq!(sent_ahead(&mut cloud), 90_000);
    // And the host's counts again where it is right.
    cloud.cut();
    cloud.ahead_ms = 0;
    cloud.reconnect();
    assert_eq!(sent_ahead(&mut cloud), 0);
}

#[test]
fn an_answer_to_another_greeting_or_one_that_refuses_sets_no_clock() {
    let (mut cloud, id) = greeting(registered(json!({})), 60_000);
    cloud.say(2005, &json!(id.as_i64().unwrap() + 1), json!({"respCode": 0}));
    cloud.say(2005, &json!(null), json!({"respCode": 0}));
    cloud.say(2005, &id, json!({}));
    cloud.host.expect_silence();
    cloud.say(2005, &id, json!({"respCode": 1}));
    cloud.host.expect_mqtt_disconnect();
    cloud.host.expect_silence();
    cloud.wait_for_attempt();
    let will: Value = serde_json::from_slice(&cloud.accept().will.unwrap().payload).unwrap();
    assert_eq!(will["timestamp"], cloud.host.now().wall.unix_ms);
}

#[test]
fn without_an_answer_to_the_greeting_the_first_message_sets_the_clock() {
    let (mut cloud, _) = greeting(registered(json!({"connect_attempts": 1})), 60_000);
    cloud.host.advance(5_000);
    assert_eq!(sent_ahead(&mut cloud), 0);
    say_something(&mut cloud);
    check_offered(&mut cloud);
    assert_eq!(sent_ahead(&mut cloud), 60_000);
    cloud.ahead_ms = 90_000;
    say_something(&mut cloud);
    cloud.host.expect_silence();
    assert_eq!(sent_ahead(&mut cloud), 60_000);
}

#[test]
fn a_message_sets_the_clock_if_nothing_else_has_for_a_day() {
    let mut cloud = online(json!({}));
    // Set by the greeting, a second ago.
    cloud.ahead_ms = 60_000;
    cloud.host.advance(24 * HOUR_MS - 1_001);
    say_something(&mut cloud);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    say_something(&mut cloud);
    check_offered(&mut cloud);
    assert_eq!(sent_ahead(&mut cloud), 60_000);
    cloud.ahead_ms = 90_000;
    cloud.host.advance(24 * HOUR_MS - 1);
    say_something(&mut cloud);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    say_something(&mut cloud);
    check_offered(&mut cloud);
    assert_eq!(sent_ahead(&mut cloud), 90_000);
}

#[test]
fn what_is_no_time_sets_no_clock() {
    let senseless = [json!(null), json!(0), json!(-1), json!("soon"), json!(""), json!(1.5), json!([]), json!({})];
    for timestamp in senseless {
        let (mut cloud, id) = greeting(registered(json!({})), 60_000);
        let mut frame = cloud.frame(2005, &id, seal(&cloud.key.clone(), r#"{"respCode":0}"#).into());
        frame["timestamp"] = timestamp;
        cloud.say_bytes(frame.to_string());
        cloud.host.expect_silence();
        assert_eq!(sent_ahead(&mut cloud), 0);
        // So the next message counts.
        say_something(&mut cloud);
        check_offered(&mut cloud);
    }
}

#[test]
fn a_time_may_be_a_text() {
    let (mut cloud, id) = greeting(registered(json!({})), 60_000);
    let mut frame = cloud.frame(2005, &id, seal(&cloud.key.clone(), r#"{"respCode":0}"#).into());
    frame["timestamp"] = frame["timestamp"].to_string().into();
    cloud.say_bytes(frame.to_string());
    check_offered(&mut cloud);
    assert_eq!(sent_ahead(&mut cloud), 60_000);
}

#[test]
fn the_device_can_be_made_to_send_its_times_as_texts() {
    let mut cloud = Cloud::started(setup(json!({"timestamp_type": "string"})));
    let wall = cloud.host.now().wall.unix_ms.to_string();
    let application = cloud.expect_application();
    assert_eq!(application.frame["timestamp"], wall);
    cloud.answer_application(&application, cloud.login.clone());
    let will: Value = serde_json::from_slice(&cloud.accept().will.unwrap().payload).unwrap();
    assert_eq!(will["timestamp"], wall);
    cloud.grant_subscription();
    let greeting = cloud.expect(2004);
    assert_eq!(greeting.frame["timestamp"], wall);
    cloud.say(2005, &greeting.id, json!({"respCode": 0}));
    cloud.report(7);
    assert_eq!(cloud.expect(2006).frame["timestamp"], wall);
}

#[test]
fn a_host_whose_clock_was_never_set_is_offered_the_time_and_the_device_goes_by_it() {
    let mut with = registered(json!({}));
    with.wall = WallTime { unix_ms: 5_000, quality: ClockQuality::UNSET };
    // Also if the clock happens to be right.
    for ahead_ms in [1_700_000_000_000, 0] {
        let (mut cloud, id) = greeting(with.clone(), ahead_ms);
        cloud.say(2005, &id, json!({"respCode": 0}));
        check_offered(&mut cloud);
        cloud.host.advance(10_000);
        assert_eq!(sent_ahead(&mut cloud), ahead_ms);
    }
    // A host that has taken it is believed after the next answer.
    let (mut cloud, id) = greeting(with, 1_700_000_000_000);
    cloud.say(2005, &id, json!({"respCode": 0}));
    check_offered(&mut cloud);
    let platform_ms = cloud.host.now().wall.unix_ms + cloud.ahead_ms;
    cloud.host.set_wall(platform_ms, ClockQuality::SECONDS);
    cloud.ahead_ms = 0;
    assert_eq!(sent_ahead(&mut cloud), 0);
    cloud.cut();
    cloud.reconnect();
    assert_eq!(sent_ahead(&mut cloud), 0);
}
