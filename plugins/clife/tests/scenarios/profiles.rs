//! Profiles, which the plugin loads itself and hands to the device as the value of a property.

use polylink_plugin_sdk::services::ota::{Phase, Request, Update};
use polylink_plugin_sdk::services::{Reason, http};
use polylink_plugin_sdk::{DatapointId, OutcomeResult, Output, RequestId, Value as Datum};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, merged, online};

/// A device that is told to take this profile.
struct Ordered {
    cloud: Cloud,
    order: Value,
}

fn file(changes: Value) -> Value {
    merged(json!({"fileType": "PROFILE", "url": "http://open.clife.cn/p?sign=s"}), changes)
}

fn ordered(files: &[Value], more: Value) -> Ordered {
    let mut cloud = online(json!({"profile_property": "note"}));
    let order = cloud.ask(2019, merged(json!({"fileMode": "DOWN", "fileInfo": files}), more));
    Ordered { cloud, order }
}

fn one() -> Ordered {
    ordered(&[file(json!({}))], json!({}))
}

impl Ordered {
    #[track_caller]
    fn expect_told(&mut self, expected: &[(i64, &str)]) {
        for (code, text) in expected {
            let sent = self.cloud.expect(2018);
            assert_eq!((&sent.id, &sent.body), (&self.order, &json!({"respCode": code, "respCont": text})));
            self.cloud.host.published(sent.publish.id);
        }
    }

    #[track_caller]
    fn expect_get(&mut self) -> RequestId {
        let (id, request) = self.cloud.host.expect_http();
        let expected = http::Request {
            url: "http://open.clife.cn/p?sign=s".to_owned(),
            timeout_ms: 30_000,
            max_body: 65_536,
            redirects: 5,
            ..http::Request::default()
        };
        assert_eq!(request, expected);
        id
    }

    /// The server has this; the command with which the device is told.
    #[track_caller]
    fn loads(&mut self, content: &str) -> RequestId {
        let get = self.expect_get();
        self.cloud.host.http_answer(get, 200, content);
        let (id, values) = self.cloud.host.expect_set();
        assert_eq!(values, vec![(DatapointId(4), Datum::Text(content.to_owned()))]);
        id
    }

    #[track_caller]
    fn expect_forgotten(&mut self) {
        self.cloud.host.take_outputs();
        assert!(self.cloud.host.stored("file_operation").is_none() && self.cloud.fact("file_operation").is_none());
    }
}

#[test]
fn a_profile_is_through_when_the_device_has_it() {
    let mut profile = one();
    let command = profile.loads("{}");
    profile.expect_told(&[(1, "1")]);
    profile.cloud.host.expect_silence();
    profile.cloud.host.command_done(command);
    profile.expect_told(&[(1, "100")]);
    profile.expect_forgotten();
}

#[test]
fn several_profiles_are_one_operation() {
    let mut profiles = ordered(&[file(json!({})), file(json!({}))], json!({}));
    let command = profiles.loads("first");
    profiles.expect_told(&[(1, "1")]);
    profiles.cloud.host.advance(1_000);
    profiles.cloud.host.command_done(command);
    profiles.expect_told(&[(1, "50")]);
    let command = profiles.loads("second");
    profiles.cloud.host.command_done(command);
    profiles.expect_told(&[(1, "100")]);
    profiles.expect_forgotten();
}

#[test]
fn a_profile_that_the_device_does_not_take_is_a_failure_with_its_reason() {
    for (result, why) in [
        (OutcomeResult::Refused("too long".to_owned()), "too long"),
        (OutcomeResult::Unreachable, "the device does not answer its module"),
        (OutcomeResult::TimedOut, "timeout"),
        (OutcomeResult::Superseded, "a later command took its place"),
    ] {
        let mut profile = one();
        let command = profile.loads("{}");
        profile.cloud.host.command_ended(command, result);
        profile.expect_told(&[(1, "1"), (-1, why)]);
        profile.expect_forgotten();
    }
}

#[test]
fn what_does_not_fit_the_property_never_reaches_the_device() {
    for content in [vec![b'x'; 65], vec![0xFF]] {
        let mut profile = one();
        let get = profile.expect_get();
        profile.cloud.host.http_answer(get, 200, content);
        profile.expect_told(&[(1, "1"), (-1, "the profile does not fit the device")]);
        profile.expect_forgotten();
    }
}

#[test]
fn digests_are_compared_where_they_are_told() {
    // Of `aaa`; computed with md5sum.
    let right = json!({"md5": "47BCE5C74F589F4867DBD57E9CA9F808", "checkSum": 291});
    for (changes, is_right) in [
        (json!({}), true),
        (json!({"md5": "57bce5c74f589f4867dbd57e9ca9f808"}), false),
        (json!({"checkSum": 290}), false),
    ] {
        let mut profile = ordered(&[file(merged(right.clone(), changes))], json!({}));
        if is_right {
            profile.loads("aaa");
            profile.expect_told(&[(1, "1")]);
        } else {
            let get = profile.expect_get();
            profile.cloud.host.http_answer(get, 200, "aaa");
            profile.expect_told(&[(1, "1"), (1, "100"), (-1, "2")]);
            profile.expect_forgotten();
        }
    }
}

#[test]
fn a_server_that_fails_is_asked_five_times_and_one_that_refuses_once() {
    let mut profile = one();
    let mut waited = Vec::new();
    for status in [500, 429, 503, 302, 500] {
        let get = profile.expect_get();
        profile.cloud.host.http_answer(get, status, "");
        if waited.len() < 4 {
            profile.cloud.host.expect_silence();
            waited.push(profile.cloud.host.advance_to_next_timeout());
        }
    }
    profile.expect_told(&[(-1, "0")]);
    profile.expect_forgotten();
    for (at, pause) in waited.iter().zip([2_000_u64, 4_000, 8_000, 16_000]) {
        assert!(at.abs_diff(pause) <= pause / 5, "{waited:?}");
    }
    for refuse in [
        |profile: &mut Ordered, get| profile.cloud.host.http_answer(get, 404, ""),
        |profile: &mut Ordered, get| profile.cloud.host.http_failed(get, Reason::Invalid),
    ] {
        let mut profile = one();
        let get = profile.expect_get();
        refuse(&mut profile, get);
        profile.expect_told(&[(-1, "0")]);
        profile.expect_forgotten();
    }
    let mut profile = one();
    let get = profile.expect_get();
    profile.cloud.host.http_failed(get, Reason::Quota);
    profile.expect_told(&[(-1, "the profile is too large")]);
}

#[test]
fn a_profile_waits_for_its_time_and_is_given_up_after_it() {
    let mut profile = ordered(&[file(json!({}))], json!({"startTime": 60, "stopTime": 90}));
    profile.cloud.host.expect_silence();
    profile.cloud.host.advance(59_000);
    profile.cloud.host.take_outputs();
    profile.cloud.host.restart();
    profile.cloud.come_online();
    profile.cloud.host.take_outputs();
    profile.cloud.host.advance(1_000);
    let get = profile.expect_get();
    profile.cloud.host.advance(30_000);
    assert_eq!(
        profile.cloud.host.expect_output("the end of it", |output| match output {
            Output::CancelHttp(id) => Some(*id),
            _ => None,
        }),
        get
    );
    profile.expect_told(&[(-1, "1")]);
    profile.expect_forgotten();
}

#[test]
fn a_profile_is_loaded_again_after_a_restart_and_told_on() {
    let mut profile = one();
    profile.loads("{}");
    profile.expect_told(&[(1, "1")]);
    profile.cloud.host.restart();
    let get = profile.expect_get();
    profile.cloud.come_online();
    profile.cloud.host.take_outputs();
    profile.cloud.host.http_answer(get, 200, "{}");
    let (command, _) = profile.cloud.host.expect_set();
    profile.cloud.host.command_done(command);
    profile.expect_told(&[(1, "100")]);
    profile.expect_forgotten();
}

#[test]
fn a_profile_and_a_firmware_are_one_upgrade_in_their_order() {
    let firmware = json!({"fileType": "FIRM", "software": "4", "hardware": "1.0", "checkSum": 1, "url": "http://h/f",
        "md5": "d41d8cd98f00b204e9800998ecf8427e"});
    for firmware_first in [true, false] {
        let mut files = [file(json!({})), firmware.clone()];
        if firmware_first {
            files.reverse();
        }
        let mut upgrade = ordered(&files, json!({"productVer": 2}));
        let mut update = Update::default();
        for is_firmware in [firmware_first, !firmware_first] {
            if is_firmware {
                let Request::Offer(offer) = upgrade.cloud.host.expect_ota() else { panic!("no offer") };
                update = Update { id: offer.id, version: offer.version, ..Update::default() };
                upgrade.cloud.host.updates_changed(vec![Update { phase: Phase::Finished, ..update.clone() }]);
            } else {
                let command = upgrade.loads("{}");
                upgrade.cloud.host.command_done(command);
            }
        }
        upgrade.expect_told(&[(1, "1")]);
        if firmware_first {
            upgrade.expect_told(&[(1, "50")]);
        }
        upgrade.expect_told(&[(1, "100"), (0, "1"), (0, "100")]);
        assert_eq!(upgrade.cloud.host.expect_ota(), Request::Acknowledge(update.id));
        assert_eq!(upgrade.cloud.expect(2018).body["productVer"], 2);
    }
}

#[test]
fn without_a_property_that_takes_it_a_profile_has_no_place() {
    for property in [json!(""), json!("count"), json!("temperature"), json!("other")] {
        let mut cloud = online(json!({"profile_property": property}));
        let order = cloud.ask(2019, json!({"fileMode": "DOWN", "fileInfo": [file(json!({}))]}));
        let sent = cloud.expect(2018);
        assert_eq!((sent.id, &sent.body["respCont"]), (order, &json!("this device has no place for such a file")));
        assert_eq!(cloud.logged("profile_property"), property != "", "{property}");
    }
}
