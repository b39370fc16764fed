//! Logs that the platform orders.

use polylink_plugin_sdk::services::logs::{Method, Upload};
use polylink_plugin_sdk::services::{Failure, Reason};
use polylink_plugin_sdk::{ClockQuality, RequestId};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, DEV_ID, merged, online};

fn order(changes: Value) -> Value {
    let file = json!({"fileType": "LOG", "url": "http://open.clife.cn/device/storage"});
    merged(json!({"fileMode": "UP", "fileInfo": [file]}), changes)
}

fn failure() -> Result<u64, Failure> {
    Err(Failure { reason: Reason::Timeout, text: "no route".to_owned() })
}

/// A device whose host sends its log; the number of the order, and what is sent.
fn sending(changes: Value) -> (Cloud, Value, RequestId, Upload) {
    let mut cloud = online(json!({}));
    let id = cloud.ask(2019, order(changes));
    let (request, upload) = cloud.host.expect_logs();
    cloud.host.expect_silence();
    (cloud, id, request, upload)
}

/// The platform is told this and nothing else, under the number of the order.
#[track_caller]
fn check_told(cloud: &mut Cloud, order: &Value, expected: &[(i64, &str)]) {
    for (code, text) in expected {
        let sent = cloud.expect(2018);
        assert_eq!((&sent.id, sent.body), (order, json!({"respCode": code, "respCont": text})));
        cloud.host.published(sent.publish.id);
    }
    cloud.host.expect_silence();
}

#[test]
fn a_log_goes_up_as_the_settings_say() {
    let (.., upload) = sending(json!({}));
    let fields = vec![("devId".to_owned(), DEV_ID.to_owned()), ("fileType".to_owned(), "LOG".to_owned())];
    let form = Upload {
        url: "http://open.clife.cn/device/storage".to_owned(),
        method: Method::Multipart,
        fields,
        file_field: "file".to_owned(),
        file_name: format!("{DEV_ID}.log"),
        ..Upload::default()
    };
    assert_eq!(upload, form);
    for (set, method) in [("post", Method::Post), ("put", Method::Put)] {
        let mut cloud = online(json!({ "upload_method": set }));
        cloud.ask(2019, order(json!({})));
        let headers = vec!["Content-Type: application/octet-stream".to_owned()];
        assert_eq!(cloud.host.expect_logs().1, Upload { url: form.url.clone(), method, headers, ..Upload::default() });
    }
}

#[test]
fn an_upload_is_told_when_the_server_has_it_and_then_another_one_may_come() {
    let (mut cloud, id, request, _) = sending(json!({}));
    cloud.host.logs_sent(request, Ok(1_000));
    check_told(&mut cloud, &id, &[(1, "1"), (1, "100")]);
    cloud.ask(2019, order(json!({})));
    cloud.host.expect_logs();
}

#[test]
fn a_failure_and_an_empty_log_are_told() {
    for (result, expected) in [(failure(), "1"), (Ok(0), "no file")] {
        let (mut cloud, id, request, _) = sending(json!({}));
        cloud.host.logs_sent(request, result);
        check_told(&mut cloud, &id, &[(-1, expected)]);
    }
}

#[test]
fn a_start_in_the_past_selects_a_part_of_the_log() {
    let mut cloud = online(json!({}));
    let now = cloud.host.now().wall.unix_ms;
    cloud.ask(2019, order(json!({"startTime": -600, "stopTime": -10})));
    let (_, upload) = cloud.host.expect_logs();
    assert_eq!((upload.from_ms, upload.to_ms), (Some(now - 600_000), Some(now - 10_000)));
}

#[test]
fn an_upload_waits_for_its_time_over_a_restart() {
    let mut cloud = online(json!({}));
    let id = cloud.ask(2019, order(json!({"startTime": 600})));
    cloud.host.advance(300_000);
    cloud.host.expect_silence();
    cloud.host.restart();
    cloud.come_online();
    cloud.host.take_outputs();
    cloud.host.advance(299_000);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    let (request, upload) = cloud.host.expect_logs();
    assert_eq!(upload.from_ms, None);
    cloud.host.logs_sent(request, Ok(1));
    check_told(&mut cloud, &id, &[(1, "1"), (1, "100")]);
}

#[test]
fn a_device_without_a_clock_waits_as_long_as_it_runs() {
    let mut cloud = online(json!({}));
    cloud.host.set_wall(0, ClockQuality::UNSET);
    cloud.ask(2019, order(json!({"startTime": 60, "stopTime": 120})));
    cloud.host.advance(60_000);
    cloud.host.expect_logs();
}

#[test]
fn an_upload_that_is_too_late_is_given_up_and_blocks_others_until_the_host_is_done() {
    let (mut cloud, id, request, _) = sending(json!({"stopTime": 60}));
    cloud.host.advance(60_000);
    check_told(&mut cloud, &id, &[(-1, "1")]);
    let other = cloud.ask(2019, order(json!({})));
    check_told(&mut cloud, &other, &[(-1, "0")]);
    cloud.host.logs_sent(request, Ok(1));
    cloud.host.expect_silence();
    cloud.ask(2019, order(json!({})));
    cloud.host.expect_logs();
}

#[test]
fn an_upload_that_a_restart_broke_off_is_told_as_interrupted() {
    let (mut cloud, id, ..) = sending(json!({}));
    cloud.host.restart();
    cloud.come_online();
    let sent = cloud.expect(2018);
    assert_eq!((sent.id, sent.body), (id, json!({"respCode": -1, "respCont": "1"})));
}

#[test]
fn several_addresses_are_served_one_after_the_other() {
    let files = ["http://a/1", "http://b/2"].map(|url| json!({"fileType": "LOG", "url": url}));
    let (mut cloud, id, request, upload) = sending(json!({ "fileInfo": files }));
    assert_eq!(upload.url, "http://a/1");
    cloud.host.logs_sent(request, Ok(1));
    let (request, upload) = cloud.host.expect_logs();
    assert_eq!(upload.url, "http://b/2");
    cloud.host.logs_sent(request, failure());
    let mut last = json!(null);
    while last["respCode"] != -1 {
        let sent = cloud.expect(2018);
        assert_eq!(sent.id, id);
        cloud.host.published(sent.publish.id);
        last = sent.body;
    }
    assert_eq!(last["respCont"], "1");
}

#[test]
fn pictures_are_no_logs() {
    let mut cloud = online(json!({}));
    for file_type in ["PHOTO", "VIDEO", "VOICE", "DATA"] {
        let files =
            [json!({"fileType": "LOG", "url": "http://h/u"}), json!({"fileType": file_type, "url": "http://h/u"})];
        let id = cloud.ask(2019, order(json!({ "fileInfo": files })));
        check_told(&mut cloud, &id, &[(-1, "no file")]);
    }
}

#[test]
fn a_repeated_order_uploads_nothing_again() {
    let (mut cloud, id, request, _) = sending(json!({}));
    cloud.say(2019, &id, order(json!({})));
    cloud.host.expect_silence();
    cloud.host.logs_sent(request, Ok(1));
    check_told(&mut cloud, &id, &[(1, "1"), (1, "100")]);
    cloud.say(2019, &id, order(json!({})));
    cloud.host.expect_silence();
}
