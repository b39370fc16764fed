//! Input that makes no sense: each kind is dropped or refused, counted, and changes nothing else.

use polylink_plugin_sdk::session::Phase;
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, merged, online, seal};

/// A query in clear with these changes to its envelope; null removes a member.
fn query(changes: Value) -> Value {
    let query = json!({
        "cmd": 2009, "ver": "1.0", "dir": "30", "msgId": 7, "timestamp": 1_704_067_200_000_i64, "data": {"params": ["2"]},
    });
    merged(query, changes)
}

/// This message is dropped without a word, counted, and the session goes on.
#[track_caller]
fn check_dropped(message: impl AsRef<[u8]>) {
    let mut cloud = online(json!({}));
    cloud.say_bytes(&message);
    check_was_dropped(&mut cloud, 1);
}

#[track_caller]
fn check_was_dropped(cloud: &mut Cloud, times: usize) {
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    assert_eq!(cloud.fact("input_dropped"), Some(times.to_string().as_str()));
    check_goes_on(cloud);
}

#[track_caller]
fn check_goes_on(cloud: &mut Cloud) {
    cloud.report(1);
    let sent = cloud.expect(2006);
    cloud.host.published(sent.publish.id);
    cloud.host.expect_settle();
    cloud.say_bytes(query(json!({"msgId": 8})).to_string());
    cloud.host.expect_submit();
    cloud.host.expect_silence();
}

/// This message is taken, and counted under this name.
#[track_caller]
fn check_taken(changes: Value, counted: Option<&str>) {
    let mut cloud = online(json!({}));
    cloud.say_bytes(query(changes.clone()).to_string());
    cloud.host.expect_submit();
    cloud.host.advance(1_000);
    for name in ["odd_direction", "other_version", "input_dropped", "answers_unmatched"] {
        assert_eq!(cloud.fact(name), (counted == Some(name)).then_some("1"), "{changes}");
    }
}

#[test]
fn what_is_not_a_json_object_is_dropped() {
    let deep = "[".repeat(100_000);
    let members = format!("{{\"cmd\":2009,\"msgId\":7,\"data\":{deep}");
    for message in [
        "",
        "not json",
        "[]",
        "7",
        "null",
        "\"text\"",
        r#"{"cmd":2009,"#,
        r#"{"cmd":2009,"msgId":7}}"#,
        "\u{feff}{\"cmd\":2009}",
        &deep,
        &members,
    ] {
        check_dropped(message);
    }
    check_dropped(b"\xFF\xFE\x00");
    check_dropped(b"{\"cmd\":2009,\"msgId\":7,\"x\":\"\xFF\"}");
}

#[test]
fn a_message_without_a_usable_command_is_dropped() {
    for cmd in [json!(null), json!("2009"), json!(2009.5), json!(true), json!({}), json!([2009]), json!(1e300)] {
        check_dropped(query(json!({ "cmd": cmd })).to_string());
    }
    check_dropped(r#"{"cmd":null,"msgId":7}"#);
    check_dropped(format!(r#"{{"cmd":{},"msgId":7}}"#, "9".repeat(400)));
}

#[test]
fn a_command_that_is_unknown_or_local_or_a_device_s_own_is_dropped() {
    let known = [2005, 2009, 2011, 2013, 2017, 2019];
    let local = [i64::MIN, -2009, -1, 0, 1, 1099, 1100, 1999];
    for cmd in (2000..2030).chain(local).chain([9999, i64::MAX]).filter(|cmd| !known.contains(cmd)) {
        check_dropped(query(json!({ "cmd": cmd })).to_string());
    }
}

#[test]
fn what_the_device_itself_has_said_is_dropped() {
    for cmd in [2005, 2009, 2011, 2013, 2017, 2019] {
        check_dropped(query(json!({"cmd": cmd, "dir": "03"})).to_string());
    }
    let mut cloud = online(json!({}));
    cloud.report(1);
    let own = cloud.expect(2006);
    cloud.say_bytes(&own.publish.message.payload);
    check_was_dropped(&mut cloud, 1);
}

#[test]
fn a_message_between_others_is_taken_and_counted() {
    for dir in [json!("13"), json!("31"), json!(""), json!("x"), json!(30), json!("030"), json!(null)] {
        check_taken(json!({ "dir": dir }), Some("odd_direction"));
    }
    check_taken(json!({}), None);
}

#[test]
fn a_message_of_another_major_version_is_taken_and_counted() {
    for ver in [json!("2.0"), json!("0.9"), json!("10.0"), json!(null), json!(1.0)] {
        check_taken(json!({ "ver": ver }), Some("other_version"));
    }
    for ver in ["1.0", "1.9", "1"] {
        check_taken(json!({ "ver": ver }), None);
    }
}

#[test]
fn members_that_nobody_knows_and_blanks_around_names_do_not_matter() {
    check_taken(json!({"more": {"x": [1]}, "prio": 2}), None);
    check_taken(json!({"prio": "high", "timestamp": "1704067200000"}), None);
    check_taken(json!({"cmd": null, " cmd": 2009, "msgId": null, "msgId ": 7}), None);
}

#[test]
fn a_command_without_a_number_cannot_be_answered_and_is_dropped() {
    let ids = [json!(null), json!("7"), json!(""), json!(true), json!({}), json!([7])];
    for cmd in [2009, 2011, 2013, 2019] {
        for id in &ids {
            check_dropped(query(json!({"cmd": cmd, "msgId": id})).to_string());
        }
        check_dropped(format!(r#"{{"cmd":{cmd},"dir":"30","msgId":{},"data":{{}}}}"#, "9".repeat(129)));
    }
}

#[test]
fn who_is_sent_away_goes_whatever_the_message_has_besides() {
    let sealed = |plain: &str| json!(seal(&online(json!({})).key, plain));
    for changes in [
        json!({"msgId": null}),
        json!({"msgId": "7"}),
        json!({"data": null}),
        json!({"data": "!!!!"}),
        json!({"data": []}),
        json!({"data": sealed("no object")}),
        json!({"data": {"respCont": 7}}),
        json!({"data": sealed(r#"{"respCont":"maintenance"}"#)}),
    ] {
        let mut cloud = online(json!({}));
        cloud.say_bytes(query(merged(json!({"cmd": 2017}), changes.clone())).to_string());
        assert_eq!(cloud.host.expect_mqtt_disconnect(), cloud.connection, "{changes}");
        cloud.host.expect_silence();
        assert_eq!(cloud.host.status().phase, Phase::Offline);
    }
}

#[test]
fn an_answer_to_a_greeting_that_was_not_said_is_ignored_and_counted() {
    let mut cloud = online(json!({}));
    for id in [json!(1), json!(2), json!(3), json!("3"), json!(null)] {
        for code in [0, 2, 7] {
            cloud.say_data(2005, &id, json!({"respCode": code}));
        }
    }
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    assert_eq!(cloud.fact("answers_unmatched"), Some("15"));
    assert_eq!(cloud.host.status().phase, Phase::Online);
    check_goes_on(&mut cloud);
}

#[test]
fn an_answer_to_a_registration_has_no_business_here() {
    check_dropped(query(json!({"cmd": 2001, "data": {"respCode": 0, "devId": "D2"}})).to_string());
}

#[test]
fn a_body_that_cannot_be_read_is_answered_where_an_answer_says_so() {
    for data in [json!("!!!!"), json!([]), json!(seal("00112233445566778899aabbccddeeff", "{}"))] {
        for cmd in [2009, 2013] {
            check_dropped(query(json!({"cmd": cmd, "data": data})).to_string());
        }
        for (cmd, answer, expected) in [
            (2011, 2006, json!({"params": [], "respCode": -1})),
            (2019, 2018, json!({"respCont": "decrypt error", "respCode": -1})),
        ] {
            let mut cloud = online(json!({}));
            cloud.say_bytes(query(json!({"cmd": cmd, "data": data})).to_string());
            let (id, body) = cloud.expect_frame(answer);
            assert_eq!(id, 7);
            for (name, value) in expected.as_object().unwrap() {
                assert_eq!(&body[name], value, "{data}");
            }
            check_was_dropped(&mut cloud, 1);
        }
    }
}

#[test]
fn a_query_of_another_form_is_dropped() {
    for data in [json!({"params": "2"}), json!({"params": {"2": 1}}), json!({"params": [["2"]]}), json!({"params": 2})]
    {
        check_dropped(query(json!({ "data": data })).to_string());
    }
}

#[test]
fn a_file_operation_with_wrong_types_is_refused() {
    for data in [json!({"fileMode": 1}), json!({"fileMode": "UP", "fileInfo": {}}), json!({"fileMode": ["QUERY"]})] {
        let mut cloud = online(json!({}));
        cloud.say_bytes(query(json!({"cmd": 2019, "data": data})).to_string());
        assert_eq!(cloud.expect_frame(2018), (json!(7), json!({"respCode": -1, "respCont": "bad parameter"})));
        check_goes_on(&mut cloud);
    }
}

#[test]
fn a_number_that_comes_again_is_not_obeyed_again() {
    let mut cloud = online(json!({}));
    for (cmd, data) in [(2011, json!({"params": [{"2": 1}]})), (2013, json!({})), (2019, json!({"fileMode": "QUERY"}))]
    {
        cloud.say_data(cmd, &json!(7), data.clone());
        if cmd == 2011 {
            let (command, _) = cloud.host.expect_set();
            cloud.host.command_done(command);
        }
        let first = cloud.host.expect_publish().json();
        cloud.say_data(cmd, &json!(7), data);
        let again = cloud.host.expect_publish().json();
        assert_eq!(again, first);
        cloud.host.expect_silence();
    }
}

#[test]
fn beyond_the_last_64_answers_a_number_counts_as_new() {
    let mut cloud = online(json!({}));
    let unbind = |cloud: &mut Cloud, id: i64| {
        cloud.say_data(2013, &json!(id), json!({}));
        cloud.expect(2012);
    };
    (0..65).for_each(|id| unbind(&mut cloud, id));
    // The last one first, so that none is displaced before it is looked for.
    (1..65).rev().for_each(|id| unbind(&mut cloud, id));
    unbind(&mut cloud, 0);
    cloud.host.advance(1_000);
    assert_eq!(cloud.fact("commands_repeated"), Some("64"));
}

#[test]
fn a_message_over_256_kib_is_dropped() {
    let message = |n| query(json!({"x": "x".repeat(n)})).to_string();
    let overhead = message(0).len();
    check_dropped(message(256 * 1024 - overhead + 1));
    let mut cloud = online(json!({}));
    cloud.say_bytes(message(256 * 1024 - overhead));
    cloud.host.expect_submit();
}

#[test]
fn directions_are_those_that_are_set() {
    let mut cloud = online(json!({"dir_down": "21"}));
    cloud.say_bytes(query(json!({"dir": "21"})).to_string());
    cloud.host.expect_submit();
    cloud.host.advance(1_000);
    // The stage greets in the usual one.
    cloud.assert_fact("odd_direction", "1");
}

/// What is of no use, or waited at the broker, does not tell the time; a usable message of the moment does.
#[test]
fn a_message_that_is_dropped_or_late_sets_no_clock() {
    let mut cloud = online(json!({}));
    let check_ahead = |cloud: &mut Cloud, ahead_ms: i64| {
        cloud.report(1);
        let now = cloud.host.now().wall.unix_ms;
        assert_eq!(cloud.expect(2006).frame["timestamp"], now + ahead_ms);
    };
    cloud.host.advance(25 * 3_600_000);
    for changes in [
        json!({"cmd": 2007}),
        json!({"cmd": 2006}),
        json!({"cmd": 2005}),
        json!({"cmd": 1003}),
        json!({"data": "!!!!"}),
        json!({"dir": "03"}),
    ] {
        cloud.say_bytes(query(changes).to_string());
        check_ahead(&mut cloud, 0);
    }
    cloud.cut();
    cloud.wait_for_attempt();
    cloud.accept();
    cloud.say_bytes(query(json!({"msgId": 70})).to_string());
    cloud.grant_subscription();
    cloud.say_bytes(query(json!({"msgId": 71})).to_string());
    let (id, _) = cloud.expect_frame(2004);
    // Without a time.
    cloud.say_bytes(query(json!({"cmd": 2005, "msgId": id, "timestamp": null, "data": {"respCode": 0}})).to_string());
    cloud.host.take_outputs();
    check_ahead(&mut cloud, 0);
    let unix_ms = cloud.host.now().wall.unix_ms + 60_000;
    cloud.say_bytes(query(json!({"msgId": 72, "timestamp": unix_ms})).to_string());
    check_ahead(&mut cloud, 60_000);
}
