//! Queries and controls, as the platform asks for them and the device answers.

use polylink_plugin_sdk::value::CommandBody;
use polylink_plugin_sdk::{Command, DatapointId, Input, Outcome, OutcomeResult, Output, RequestId, Value as Datum};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, Sent, UPWARD, merged, online, seal};

type Datums = Vec<(DatapointId, Datum)>;

fn count(n: i64) -> (DatapointId, Datum) {
    (DatapointId(1), Datum::Int(n))
}

fn power(on: bool) -> (DatapointId, Datum) {
    (DatapointId(0), Datum::Bool(on))
}

/// A control for these datapoints.
fn params(members: &Value) -> Value {
    json!({ "params": members })
}

#[track_caller]
fn end(cloud: &mut Cloud, command: RequestId, result: OutcomeResult, values: Datums) {
    cloud.host.deliver(Input::Outcome(command, Outcome { result, values, document: None }));
}

/// The next message of the device answers this request, with this body.
#[track_caller]
fn check_answer(cloud: &mut Cloud, id: &Value, body: &Value) -> Sent {
    let sent = cloud.expect(2006);
    assert_eq!((&sent.id, &sent.body), (id, body));
    cloud.host.expect_silence();
    sent
}

/// A control with these `params` is refused without a word to the device; the answer tells this, and names the reason.
#[track_caller]
fn check_refused(members: &Value, told: &Value, why: &str) {
    let mut cloud = online(json!({}));
    cloud.host.snapshot([power(true), count(5)]);
    let id = cloud.ask(2011, params(members));
    let sent = cloud.expect(2006);
    assert_eq!((&sent.id, &sent.body["params"], &sent.body["respCode"]), (&id, told, &json!(-1)), "{members}");
    let text = sent.body["respCont"].as_str().expect("a text");
    assert!(text.contains(why), "{text}");
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    assert_eq!(cloud.fact("commands_refused"), Some("1"), "{members}");
}

/// A control that the device ends like this is refused with this reason and the values as they are.
#[track_caller]
fn check_ended(result: OutcomeResult, why: &str) {
    let mut cloud = online(json!({}));
    cloud.host.snapshot([power(true), count(5)]);
    let id = cloud.ask(2011, params(&json!([{"1": false}, {"3": 7}])));
    let (command, _) = cloud.host.expect_submit();
    end(&mut cloud, command, result, vec![]);
    check_answer(&mut cloud, &id, &json!({"params": [{"1": true}], "respCode": -1, "respCont": why}));
    cloud.host.advance(1_000);
    cloud.assert_fact("commands_refused", "1");
}

/// What a query with this body asks the device for.
#[track_caller]
fn check_query(body: Value, asked: &[u32]) {
    let mut cloud = online(json!({}));
    cloud.ask(2009, body.clone());
    let (_, command) = cloud.host.expect_submit();
    let expected = asked.iter().copied().map(DatapointId).collect();
    assert_eq!(command.body, CommandBody::Get(expected), "{body}");
    cloud.host.expect_silence();
}

/// What a control with this value of a datapoint sets.
#[track_caller]
fn check_set(number: &str, value: Value, id: u32, expected: Datum) {
    let mut cloud = online(json!({}));
    cloud.ask(2011, json!({"params": [{number: value}]}));
    assert_eq!(cloud.host.expect_set().1, [(DatapointId(id), expected)], "{number} {value}");
}

#[test]
fn a_query_asks_the_device_and_is_answered_under_its_number_by_a_report() {
    let mut cloud = online(json!({}));
    let id = cloud.ask(2009, json!({"params": ["1", "2"]}));
    let (command, asked) = cloud.host.expect_submit();
    assert_eq!(asked.body, CommandBody::Get(vec![DatapointId(0), DatapointId(1)]));
    assert_eq!((asked.device, asked.deadline_ms), (0, 5_000));
    cloud.host.expect_silence();
    end(&mut cloud, command, OutcomeResult::Done, vec![power(true), count(7)]);
    let sent = check_answer(&mut cloud, &id, &json!({"params": [{"1": true}, {"2": 7}]}));
    assert_eq!(sent.publish.message.topic, UPWARD);
    assert_eq!(sent.frame["timestamp"], cloud.host.now().wall.unix_ms);
}

#[test]
fn an_answer_repeats_every_digit_of_the_number_it_answers() {
    for digits in ["0", "9007199254740993", "340282366920938463463374607431768211457", "-1", "1.50"] {
        let mut cloud = online(json!({"mqtt_encrypt_data": false}));
        for (cmd, body) in [(2009, r#"{"params":["1"]}"#), (2011, r#"{"params":[{"1":true}]}"#), (2013, "{}")] {
            cloud.say_bytes(format!(r#"{{"cmd":{cmd},"dir":"30","msgId":{digits},"data":{body}}}"#));
            if cmd != 2013 {
                let (command, _) = cloud.host.expect_submit();
                end(&mut cloud, command, OutcomeResult::Done, vec![power(true)]);
            }
            let publish = cloud.host.expect_publish();
            assert!(publish.text().contains(&format!(r#""msgId":{digits},"#)), "{}", publish.text());
        }
    }
}

#[test]
fn a_query_names_numbers_in_either_type_and_nothing_means_everything() {
    check_query(json!({"params": ["1", "3"]}), &[0, 2]);
    check_query(json!({"params": [1, 3]}), &[0, 2]);
    for everything in [json!({}), json!({"params": []}), json!({"params": null})] {
        check_query(everything, &[]);
    }
    let mut cloud = online(json!({}));
    let frame = cloud.frame(2009, &json!(7), Value::Null);
    cloud.say_bytes(merged(frame, json!({"data": null})).to_string());
    assert_eq!(cloud.host.expect_submit().1.body, CommandBody::Get(vec![]));
}

#[test]
fn a_query_leaves_out_what_is_unknown() {
    check_query(json!({"params": ["99", "2", "01"]}), &[1]);
    let mut cloud = online(json!({}));
    let id = cloud.ask(2009, json!({"params": ["99"]}));
    check_answer(&mut cloud, &id, &json!({"params": []}));
}

#[test]
fn a_query_of_a_device_that_does_not_answer_is_answered_with_what_is_known() {
    for result in [OutcomeResult::Unreachable, OutcomeResult::TimedOut, OutcomeResult::Refused("busy".to_owned())] {
        let mut cloud = online(json!({}));
        cloud.host.snapshot([power(true), count(5)]);
        for (asked, told) in [
            (json!(["2", "3"]), json!([{"2": 5}])),
            (json!([]), json!([{"1": true}, {"2": 5}])),
            (json!(["3"]), json!([])),
        ] {
            let id = cloud.ask(2009, json!({ "params": asked }));
            let (command, _) = cloud.host.expect_submit();
            end(&mut cloud, command, result.clone(), vec![]);
            check_answer(&mut cloud, &id, &json!({ "params": told }));
        }
    }
}

#[test]
fn what_a_query_brought_is_known_afterwards() {
    let mut cloud = online(json!({}));
    cloud.ask(2009, json!({}));
    let (command, _) = cloud.host.expect_submit();
    end(&mut cloud, command, OutcomeResult::Done, vec![count(9)]);
    cloud.expect(2006);
    cloud.cut();
    cloud.reconnect();
    assert_eq!(cloud.expect(2006).body, json!({"params": [{"2": 9}]}));
}

#[test]
fn a_control_is_carried_out_and_answered_with_the_resulting_values() {
    let mut cloud = online(json!({}));
    let id = cloud.ask(2011, json!({"params": [{"1": false}, {"2": 30}]}));
    let (command, asked) = cloud.host.expect_submit();
    assert_eq!(asked.body, CommandBody::Set(vec![power(false), count(30)]));
    assert_eq!((asked.device, asked.deadline_ms), (0, 5_000));
    cloud.host.expect_silence();
    // The device has rounded.
    end(&mut cloud, command, OutcomeResult::Done, vec![count(25)]);
    check_answer(&mut cloud, &id, &json!({"params": [{"1": false}, {"2": 25}]}));
}

#[test]
fn a_value_may_come_as_boolean_number_or_text() {
    for on in [json!(true), json!(1), json!("1"), json!("true")] {
        check_set("1", on, 0, Datum::Bool(true));
    }
    for number in [json!(7), json!("7"), json!(7.0)] {
        check_set("2", number, 1, Datum::Int(7));
    }
    for label in [json!(1), json!("1")] {
        check_set("4", label, 3, Datum::Enum(1));
    }
    check_set("5", json!("7"), 4, Datum::Text("7".to_owned()));
}

#[test]
fn a_control_may_have_several_members_in_one_object_and_the_last_of_a_number_counts() {
    let mut cloud = online(json!({}));
    cloud.ask(2011, json!({"params": [{"1": true, "2": 1}, {}, {" 2": 2}]}));
    assert_eq!(cloud.host.expect_set().1, [power(true), count(2)]);
}

#[test]
fn a_control_that_cannot_be_carried_out_as_a_whole_is_not_at_all() {
    check_refused(&json!([{"1": false}, {"99": 1}]), &json!([{"1": true}]), "99");
    check_refused(&json!([{"2": "x"}, {"1": false}]), &json!([{"1": true}, {"2": 5}]), "2");
    check_refused(&json!([{"5": 7}]), &json!([]), "5");
    check_refused(&json!([{"01": true}]), &json!([]), "01");
    check_refused(&json!([]), &json!([]), "nothing to set");
    for form in [json!(null), json!({"1": true}), json!(["1"]), json!("1")] {
        check_refused(&form, &json!([]), "params");
    }
}

#[test]
fn a_control_that_the_host_or_the_device_refuses_is_answered_with_why_and_what_is() {
    // Range and access are the host's to judge.
    check_ended(OutcomeResult::Refused("`temperature` is read-only".to_owned()), "`temperature` is read-only");
    check_ended(OutcomeResult::TimedOut, "timeout");
    check_ended(OutcomeResult::Unreachable, "the device does not answer its module");
    check_ended(OutcomeResult::Superseded, "a later command took its place");
}

#[test]
fn a_command_that_comes_again_is_answered_as_before_and_not_carried_out_again() {
    let mut cloud = online(json!({}));
    let id = cloud.ask(2011, json!({"params": [{"2": 30}]}));
    let (command, _) = cloud.host.expect_submit();
    // Its answer is under way.
    cloud.say(2011, &id, json!({"params": [{"2": 30}]}));
    cloud.host.expect_silence();
    end(&mut cloud, command, OutcomeResult::Done, vec![]);
    let first = check_answer(&mut cloud, &id, &json!({"params": [{"2": 30}]}));
    cloud.report(31);
    cloud.host.take_outputs();
    for body in [json!({"params": [{"2": 30}]}), json!({"params": [{"2": 40}]})] {
        cloud.host.advance(60_000);
        cloud.say(2011, &id, body);
        check_answer(&mut cloud, &id, &first.body);
    }
    cloud.host.advance(1_000);
    cloud.assert_fact("commands_repeated", "3");
}

#[test]
fn a_repeated_refusal_and_a_repeated_query_are_answered_alike_too() {
    let mut cloud = online(json!({}));
    let id = cloud.ask(2011, json!({"params": [{"99": 1}]}));
    let refusal = cloud.expect(2006);
    cloud.say(2011, &id, json!({"params": [{"1": true}]}));
    check_answer(&mut cloud, &id, &refusal.body);
    // Another command under the same number is another one.
    cloud.say(2009, &id, json!({"params": ["2"]}));
    let (command, _) = cloud.host.expect_submit();
    end(&mut cloud, command, OutcomeResult::Done, vec![count(1)]);
    check_answer(&mut cloud, &id, &json!({"params": [{"2": 1}]}));
    cloud.say(2009, &id, json!({"params": ["2"]}));
    check_answer(&mut cloud, &id, &json!({"params": [{"2": 1}]}));
}

#[test]
fn an_answer_is_repeated_for_five_minutes_and_then_the_command_is_a_new_one() {
    let mut cloud = online(json!({}));
    let body = json!({"params": [{"2": 30}]});
    let id = cloud.ask(2011, body.clone());
    let (command, first) = cloud.host.expect_submit();
    end(&mut cloud, command, OutcomeResult::Done, vec![]);
    cloud.expect(2006);
    cloud.host.advance(299_999);
    cloud.say(2011, &id, body.clone());
    cloud.expect(2006);
    cloud.host.advance(1);
    cloud.say(2011, &id, body);
    let (_, again) = cloud.host.expect_submit();
    // The host, which remembers longer, can tell it from the first one.
    assert_ne!(again.message_id, first.message_id);
}

#[test]
fn a_command_that_the_broker_brings_to_the_next_session_is_recognised_by_the_host() {
    let mut cloud = online(json!({}));
    let frame = cloud.frame(2011, &json!(7), seal(&cloud.key, r#"{"params":[{"2":1}]}"#).into()).to_string();
    cloud.say_bytes(&frame);
    let (_, first) = cloud.host.expect_submit();
    cloud.host.restart();
    cloud.come_online();
    cloud.say_bytes(&frame);
    let (_, again) = cloud.host.expect_submit();
    assert_eq!((&again.message_id, &again.body), (&first.message_id, &first.body));
    assert!(!first.message_id.is_empty());
}

#[test]
fn the_answer_of_a_command_that_outlives_its_connection_is_given_when_it_comes_again() {
    let mut cloud = online(json!({}));
    let id = cloud.ask(2011, json!({"params": [{"2": 30}]}));
    let (command, _) = cloud.host.expect_submit();
    cloud.cut();
    end(&mut cloud, command, OutcomeResult::Done, vec![]);
    cloud.host.expect_silence();
    cloud.reconnect();
    cloud.host.take_outputs();
    cloud.say(2011, &id, json!({"params": [{"2": 30}]}));
    check_answer(&mut cloud, &id, &json!({"params": [{"2": 30}]}));
}

#[test]
fn beyond_64_commands_under_way_controls_are_refused_and_queries_dropped() {
    let mut cloud = online(json!({}));
    cloud.host.snapshot([power(true)]);
    let mut commands = Vec::new();
    for _ in 0..64 {
        cloud.ask(2009, json!({}));
        commands.push(cloud.host.expect_submit().0);
    }
    cloud.ask(2009, json!({}));
    cloud.host.expect_silence();
    let refused = json!({"params": [{"1": true}], "respCode": -1, "respCont": "too many commands are under way"});
    let id = cloud.ask(2011, json!({"params": [{"1": false}]}));
    check_answer(&mut cloud, &id, &refused);
    // As soon as there is room it is taken.
    end(&mut cloud, commands[0], OutcomeResult::Done, vec![]);
    cloud.expect(2006);
    cloud.say(2011, &id, json!({"params": [{"1": false}]}));
    assert_eq!(cloud.host.expect_set().1, [power(false)]);
    cloud.host.advance(1_000);
    cloud.assert_fact("input_dropped", "1");
    cloud.assert_fact("commands_refused", "1");
}

#[test]
fn answers_carry_the_commands_that_are_set() {
    let mut cloud = online(json!({"query_reply_cmd": 2010, "control_reply_cmd": 2012}));
    for _ in 0..2 {
        cloud.say(2009, &json!(7), json!({"params": ["99"]}));
        assert_eq!(cloud.expect_frame(2010), (json!(7), json!({"params": []})));
        cloud.say(2011, &json!(8), json!({"params": []}));
        assert_eq!(cloud.expect_frame(2012).0, 8);
        cloud.host.expect_silence();
    }
}

#[test]
fn an_answer_is_of_the_moment_it_is_given_and_settles_nothing() {
    let mut cloud = online(json!({}));
    cloud.ask(2011, json!({"params": [{"2": 30}]}));
    let (command, _) = cloud.host.expect_submit();
    cloud.host.advance(4_000);
    end(&mut cloud, command, OutcomeResult::Done, vec![]);
    let sent = cloud.expect(2006);
    assert_eq!(sent.frame["timestamp"], cloud.host.now().wall.unix_ms);
    cloud.host.published(sent.publish.id);
    cloud.host.expect_silence();
    // What the device says of it is news like any other.
    let seq = cloud.host.report_caused_by(command, [count(30)]);
    let sent = cloud.expect(2006);
    cloud.host.published(sent.publish.id);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn an_outcome_that_nobody_waits_for_changes_nothing() {
    let mut cloud = online(json!({}));
    end(&mut cloud, RequestId(4_711), OutcomeResult::Done, vec![count(1)]);
    cloud.host.expect_silence();
    cloud.ask(2009, json!({}));
    let (command, _) = cloud.host.expect_submit();
    cloud.host.stop();
    cloud.host.start();
    end(&mut cloud, command, OutcomeResult::Done, vec![count(1)]);
    let outputs = cloud.host.take_outputs();
    assert!(!outputs.iter().any(|output| matches!(output, Output::Submit(_, Command { .. }))), "{outputs:?}");
}

#[test]
fn a_command_that_comes_before_the_greeting_is_answered_is_carried_out() {
    let mut cloud = online(json!({}));
    cloud.cut();
    cloud.wait_for_attempt();
    cloud.accept();
    cloud.grant_subscription();
    cloud.expect(2004);
    let id = cloud.ask(2011, json!({"params": [{"2": 30}]}));
    let (command, _) = cloud.host.expect_submit();
    end(&mut cloud, command, OutcomeResult::Done, vec![]);
    check_answer(&mut cloud, &id, &json!({"params": [{"2": 30}]}));
}

#[test]
fn a_moment_that_is_no_number_does_not_hinder_a_command() {
    let mut cloud = online(json!({}));
    for timestamp in [json!(null), json!("now"), json!({}), json!("1704067200000"), json!(-5)] {
        let id = cloud.new_id();
        let frame = cloud.frame(2011, &id, json!({"params": [{"2": 30}]}));
        cloud.say_bytes(merged(frame, json!({"timestamp": timestamp})).to_string());
        let (_, command) = cloud.host.expect_submit();
        assert!(!command.message_id.is_empty());
    }
}
