//! Log upload (201, misprinted as 207).

use polylink_plugin_sdk::RequestId;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::{Failure, Reason, id, logs};
use serde_json::{Value, json};

use crate::scenarios::cloud::{Cloud, setup};

const DAY_MS: i64 = 86_400_000;

fn request(action: i64, mid: &str) -> Value {
    let data = json!({"ftp_host": "ftp.delicloud.com", "ftp_port": 2121, "log_start": "2017-08-10", "log_end": ""});
    json!({"mid": mid, "from": "u77", "action": action, "data": data})
}

/// A device that sends its logs.
fn sending() -> (Cloud, RequestId, logs::Upload) {
    let mut cloud = Cloud::online(json!({"ftp_user": "device", "ftp_password": "swordfish", "ftp_dir": "in"}));
    cloud.say(request(201, "l"));
    let (id, upload) = cloud.host.expect_logs();
    cloud.host.expect_silence();
    (cloud, id, upload)
}

fn failed(text: &str) -> Result<u64, Failure> {
    Err(Failure { reason: Reason::Timeout, text: text.to_owned() })
}

#[test]
fn logs_go_to_the_server_that_the_platform_names_and_the_answer_follows_the_upload() {
    let (mut cloud, id, upload) = sending();
    assert_eq!(upload.url, "ftp://ftp.delicloud.com:2121/in/");
    assert_eq!(upload.login, Some(("device".to_owned(), Secret::new("swordfish".to_owned()))));
    let from = upload.from_ms.unwrap();
    assert!(from % DAY_MS == 0 && upload.to_ms.is_none(), "{upload:?}");
    let name = upload.file_name.strip_prefix("DL3785W_1234567890_2017-08-10_all_");
    assert!(name.is_some_and(|rest| rest.ends_with(".log")), "{}", upload.file_name);
    cloud.host.advance(599_000);
    cloud.host.logs_sent(id, Ok(1_000));
    let answer = cloud.expect(201);
    assert_eq!((&answer["mid"], &answer["to"]), (&json!("l"), &json!("u77")));
    assert_eq!(answer["data"], json!({"code": 0, "msg": ""}));
    assert!(!cloud.host.logs().iter().any(|(_, line)| line.contains("swordfish")));
}

#[test]
fn the_misprinted_207_is_answered_as_201_or_refused() {
    let mut cloud = Cloud::online(json!({}));
    cloud.say(request(207, "l"));
    let (id, _) = cloud.host.expect_logs();
    cloud.host.logs_sent(id, Ok(1));
    assert_eq!(cloud.expect(201)["data"]["code"], 0);
    let mut cloud = Cloud::online(json!({"accept_207_alias": false}));
    cloud.say(request(207, "l"));
    assert_eq!(cloud.expect(207)["data"]["code"], 106);
    cloud.host.expect_silence();
}

#[test]
fn an_upload_that_failed_or_had_nothing_to_send_is_answered_with_the_reason() {
    for (result, says) in [(failed("no route"), "no route"), (Ok(0), "nothing was logged in that time")] {
        let (mut cloud, id, _) = sending();
        cloud.host.logs_sent(id, result);
        assert_eq!(cloud.expect(201)["data"], json!({"code": 201, "msg": says}));
    }
}

#[test]
fn only_one_upload_runs_at_a_time() {
    let (mut cloud, id, _) = sending();
    cloud.say(request(201, "other"));
    let answer = cloud.expect(201);
    assert_eq!((&answer["mid"], &answer["data"]), (&json!("other"), &json!({"code": -1, "msg": "busy"})));
    cloud.host.logs_sent(id, Ok(1));
    cloud.expect(201);
    cloud.say(request(201, "third"));
    cloud.host.expect_logs();
}

#[test]
fn a_request_that_comes_again_starts_no_second_upload_and_gets_the_same_answer() {
    let (mut cloud, id, _) = sending();
    cloud.say(request(201, "l"));
    cloud.host.expect_silence();
    cloud.host.logs_sent(id, Ok(1));
    let answer = cloud.expect(201);
    cloud.say(request(201, "l"));
    assert_eq!(cloud.expect(201)["data"], answer["data"]);
    cloud.host.expect_silence();
}

#[test]
fn an_upload_that_takes_too_long_is_answered_and_blocks_others_until_it_ends() {
    let (mut cloud, id, _) = sending();
    cloud.host.advance(600_000);
    assert_eq!(cloud.expect(201)["data"], json!({"code": 201, "msg": "timeout"}));
    cloud.say(request(201, "other"));
    assert_eq!(cloud.expect(201)["data"]["msg"], "busy");
    cloud.host.logs_sent(id, Ok(1));
    cloud.host.expect_silence();
    cloud.say(request(201, "third"));
    cloud.host.expect_logs();
}

#[test]
fn a_host_that_sends_no_logs_is_no_fault() {
    let mut setup = setup(json!({}));
    setup.services.retain(|service| *service != id::LOGS);
    let mut cloud = Cloud::started(setup);
    cloud.accept();
    cloud.answer_start(json!({"group_id": 1000}));
    cloud.say(request(201, "l"));
    let says = json!({"code": 201, "msg": "log upload is not available on this device"});
    assert_eq!(cloud.expect(201)["data"], says);
}

#[test]
fn a_log_request_that_makes_no_sense_is_a_bad_parameter() {
    let mut cloud = Cloud::online(json!({}));
    let data = json!({"ftp_host": "h", "log_start": "2017-08-11", "log_end": "2017-08-10"});
    cloud.say(json!({"mid": "l", "from": "u77", "action": 201, "data": data}));
    assert_eq!(cloud.expect(201)["data"], json!({"code": 100, "msg": "bad parameter"}));
    cloud.host.expect_silence();
}
