//! File operations: what the platform asks for, and what it is answered by a device whose host can neither install nor
//! upload, so that nothing is ever reported as begun.

use polylink_plugin_sdk::services::{id, module};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, merged, seal, setup};

/// Online, without the services for updates and logs.
fn online(settings: Value) -> Cloud {
    let mut setup = setup(settings);
    setup.services.retain(|service| ![id::OTA, id::LOGS].contains(service));
    Cloud::online(setup)
}

const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// A firmware of the module, with these changes; null removes a member.
fn firmware(changes: Value) -> Value {
    let file = json!({
        "fileType": "FIRM", "devNum": 0, "software": "3.0.0.2", "hardware": "1.0",
        "url": "http://open.clife.cn/f.bin", "md5": MD5, "checkSum": 34_458_424,
    });
    merged(file, changes)
}

/// Another file, which is neither compared nor installed.
fn file(file_type: &str) -> Value {
    json!({"fileType": file_type, "url": "https://open.clife.cn/f"})
}

/// An upgrade of the product by these files.
fn upgrade(files: &[Value]) -> Value {
    json!({"fileMode": "DOWN", "productVer": 2, "fileInfo": files})
}

/// Another operation with this file.
fn operation(mode: &str, file: Value) -> Value {
    json!({"fileMode": mode, "fileInfo": [file]})
}

fn failure(text: &str) -> Value {
    json!({"respCode": -1, "respCont": text})
}

/// What runs on the device.
fn versions() -> Value {
    json!({"respCode": 3, "respCont": "ver", "productVer": 1, "devVer": [
        {"software": "3.0.0.1", "hardware": "1.0", "devNum": 0},
        {"software": "1.0.2.0", "hardware": "2.1", "devNum": 1},
    ]})
}

/// With these settings the request is answered by this, at once, under its number, and by nothing else ever.
#[track_caller]
fn check_with(settings: &Value, request: &Value, expected: &Value) {
    let mut cloud = online(settings.clone());
    check_answer(&mut cloud, request, expected);
    cloud.host.advance(3_600_000);
    cloud.host.expect_silence();
    let is_refused = expected["respCode"] == -1;
    assert_eq!(cloud.fact("files_refused"), is_refused.then_some("1"), "{request}");
}

/// As [`check_with`], without any.
#[track_caller]
fn check(request: &Value, expected: &Value) {
    check_with(&json!({}), request, expected);
}

#[track_caller]
fn check_answer(cloud: &mut Cloud, request: &Value, expected: &Value) -> Value {
    let id = cloud.ask(2019, request.clone());
    let (answered, body) = cloud.expect_frame(2018);
    assert_eq!((&answered, &body), (&id, expected), "{request}");
    assert!(body["respCont"].is_string());
    cloud.host.expect_silence();
    id
}

/// An upgrade whose firmware has these changes is refused with this text.
#[track_caller]
fn check_firmware(changes: Value, text: &str) {
    check(&upgrade(&[firmware(changes)]), &failure(text));
}

const NOT_AVAILABLE: &str = "not available on this device";
const NO_PLACE: &str = "this device has no place for such a file";

#[test]
fn a_query_is_answered_at_once_with_every_version_the_module_first() {
    check(&json!({"fileMode": "QUERY"}), &versions());
    // All else that it may have is none of its affair.
    for file_info in [json!([]), json!(null), json!([{}]), json!("x"), json!([firmware(json!({}))])] {
        check(&json!({"fileMode": "QUERY", "fileInfo": file_info, "productVer": "x", "startTime": 9}), &versions());
    }
}

#[test]
fn versions_are_those_of_the_settings_and_of_the_moment() {
    let mut cloud = online(json!({"mcu_dev_num": 7, "product_ver": 12}));
    let mut facts = module::Facts {
        module_software: "3.0.0.9".to_owned(),
        module_hardware: "1.1".to_owned(),
        mcu_software: "01".to_owned(),
        mcu_hardware: "B".to_owned(),
        ..Default::default()
    };
    cloud.host.facts_changed(facts.clone());
    let module = json!({"software": "3.0.0.9", "hardware": "1.1", "devNum": 0});
    let mcu = json!({"software": "01", "hardware": "B", "devNum": 7});
    let told = |dev_ver: Value| json!({"respCode": 3, "respCont": "ver", "productVer": 12, "devVer": dev_ver});
    check_answer(&mut cloud, &json!({"fileMode": "QUERY"}), &told(json!([module, mcu])));
    // As long as the MCU has not said what it is, there is only the module.
    facts.mcu_software.clear();
    cloud.host.facts_changed(facts);
    check_answer(&mut cloud, &json!({"fileMode": "QUERY"}), &told(json!([module])));
}

#[test]
fn what_could_begin_is_refused_where_the_host_cannot() {
    check_firmware(json!({}), NOT_AVAILABLE);
    check_firmware(json!({"url": "HTTPS://open.clife.cn:8443/f?x=1", "md5": MD5.to_uppercase()}), NOT_AVAILABLE);
    let mcu = firmware(json!({"fileType": "SUBFIRM", "devNum": 1, "hardware": "2.1", "software": "0.9"}));
    check(&upgrade(std::slice::from_ref(&mcu)), &failure(NOT_AVAILABLE));
    check(&upgrade(&[firmware(json!({})), mcu, file("PHOTO")]), &failure(NO_PLACE));
    for file_type in ["PROFILE", "PHOTO", "VIDEO", "VOICE", "DATA"] {
        check(&operation("DOWN", file(file_type)), &failure(NO_PLACE));
    }
}

#[test]
fn an_upload_finds_no_file_where_the_host_gives_out_none() {
    for file_type in ["LOG", "PHOTO", "VIDEO", "VOICE", "DATA"] {
        check(&operation("UP", file(file_type)), &failure("no file"));
    }
    check(&merged(operation("UP", file("LOG")), json!({"startTime": -600, "stopTime": -10})), &failure("no file"));
}

#[test]
fn a_file_goes_only_in_the_directions_of_its_type() {
    for file_type in ["FIRM", "SUBFIRM", "PROFILE"] {
        check(&operation("UP", firmware(json!({ "fileType": file_type }))), &failure("bad parameter"));
    }
    check(&operation("DOWN", file("LOG")), &failure("bad parameter"));
    for file_type in ["firm", "FIRM ", "OTHER"] {
        check_firmware(json!({ "fileType": file_type }), "bad parameter");
    }
    for mode in ["down", "PUT", "UP "] {
        check(&operation(mode, file("DATA")), &failure("bad parameter"));
    }
}

#[test]
fn what_is_missing_is_named() {
    for (name, changes) in [
        ("fileType", json!({"fileType": null})),
        ("devNum", json!({"fileType": "SUBFIRM", "devNum": null})),
        ("software", json!({"software": null})),
        ("hardware", json!({"hardware": null})),
        ("url", json!({"url": null})),
        ("md5", json!({"md5": null})),
        ("checkSum", json!({"checkSum": null})),
        ("software", json!({"software": ""})),
        ("md5", json!({"md5": ""})),
    ] {
        check_firmware(changes, &format!("missing {name}"));
    }
    let whole = upgrade(&[firmware(json!({}))]);
    for (name, changes) in [
        ("fileMode", json!({"fileMode": null})),
        ("fileMode", json!({"fileMode": ""})),
        ("fileInfo", json!({"fileInfo": null})),
        ("fileInfo", json!({"fileInfo": []})),
        ("productVer", json!({"productVer": null})),
    ] {
        check(&merged(whole.clone(), changes), &failure(&format!("missing {name}")));
    }
    check(&json!({}), &failure("missing fileMode"));
    check(&operation("DOWN", json!({"fileType": "DATA"})), &failure("missing url"));
    // In a file behind others as well, and before addresses are looked at.
    let files = [firmware(json!({"url": "ftp://h"})), firmware(json!({"md5": null}))];
    check(&upgrade(&files), &failure("missing md5"));
}

#[test]
fn a_null_is_as_good_as_nothing() {
    let mut whole = upgrade(&[firmware(json!({}))]);
    whole["productVer"] = json!(null);
    check(&whole, &failure("missing productVer"));
}

#[test]
fn wrong_types_are_bad_parameters() {
    for changes in [
        json!({"fileType": 1}),
        json!({"devNum": "0"}),
        json!({"devNum": -1}),
        json!({"devNum": 0.5}),
        json!({"software": 3}),
        json!({"hardware": ["1.0"]}),
        json!({"url": 1}),
        json!({"md5": 1}),
        json!({"md5": "d41d8cd98f00b204e9800998ecf8427"}),
        json!({"md5": "z41d8cd98f00b204e9800998ecf8427e"}),
        json!({"checkSum": "34458424"}),
        json!({"checkSum": -1}),
    ] {
        check_firmware(changes, "bad parameter");
    }
    let whole = upgrade(&[firmware(json!({}))]);
    for changes in [
        json!({"fileMode": 1}),
        json!({"productVer": "2"}),
        json!({"productVer": 0}),
        json!({"productVer": -1}),
        json!({"fileInfo": {}}),
        json!({"fileInfo": "x"}),
        json!({"fileInfo": ["x"]}),
        json!({"fileInfo": [[]]}),
        json!({"startTime": "0"}),
        json!({"stopTime": 1.5}),
    ] {
        check(&merged(whole.clone(), changes), &failure("bad parameter"));
    }
}

#[test]
fn an_address_has_to_be_one_of_http_with_a_host_of_a_bearable_length() {
    let long = |n| format!("http://h/{}", "x".repeat(n - "http://h/".len()));
    let too_long = long(2_049);
    for url in ["ftp://h/f", "f.bin", "//h/f", "http:///f", "http://", "file:///etc/passwd", &too_long] {
        check_firmware(json!({ "url": url }), "0");
        check(&operation("UP", json!({"fileType": "LOG", "url": url})), &failure("0"));
    }
    check_firmware(json!({"url": long(2_048)}), NOT_AVAILABLE);
    check(&upgrade(&[firmware(json!({})), firmware(json!({"url": "x"}))]), &failure("0"));
}

#[test]
fn only_hosts_that_the_settings_allow_are_dealt_with() {
    let settings = json!({"ota_allowed_hosts": ["open.clife.cn"]});
    check_with(&settings, &upgrade(&[firmware(json!({}))]), &failure(NOT_AVAILABLE));
    check_with(&settings, &upgrade(&[firmware(json!({"url": "http://OPEN.clife.cn:81/f"}))]), &failure(NOT_AVAILABLE));
    for url in
        ["http://evil/f", "http://open.clife.cn.evil/f", "http://open.clife.cn@evil/f", "http://evil/open.clife.cn"]
    {
        check_with(&settings, &upgrade(&[firmware(json!({ "url": url }))]), &failure("0"));
        check_with(&settings, &operation("UP", json!({"fileType": "LOG", "url": url})), &failure("0"));
    }
}

#[test]
fn a_firmware_for_other_hardware_is_refused_unless_the_settings_want_it() {
    let other = upgrade(&[firmware(json!({"hardware": "1.1"}))]);
    check(&other, &failure("hardware mismatch"));
    check_with(&json!({"ota_check_hardware": false}), &other, &failure(NOT_AVAILABLE));
    // Compared as numbers.
    check_firmware(json!({"hardware": "01"}), NOT_AVAILABLE);
    check_firmware(json!({"fileType": "SUBFIRM", "devNum": 1}), "hardware mismatch");
    check_firmware(json!({"fileType": "SUBFIRM", "devNum": 2}), "unknown devNum");
}

#[test]
fn what_runs_already_is_not_loaded_but_told_unless_the_settings_want_it() {
    let mcu = firmware(json!({"fileType": "SUBFIRM", "devNum": 1, "hardware": "2.1", "software": "1.0.2"}));
    let same = merged(upgrade(&[firmware(json!({"software": "3.0.0.1"})), mcu.clone()]), json!({"productVer": 1}));
    check(&same, &versions());
    check_with(&json!({"ota_skip_same": false}), &same, &failure(NOT_AVAILABLE));
    check(&merged(same.clone(), json!({"productVer": 2})), &failure(NOT_AVAILABLE));
    check(&merged(same, json!({"fileInfo": [firmware(json!({})), mcu]})), &failure(NOT_AVAILABLE));
}

#[test]
fn an_older_firmware_is_as_good_as_any_unless_the_settings_refuse_it() {
    let older = upgrade(&[firmware(json!({"software": "2.9.9.9"}))]);
    check(&older, &failure(NOT_AVAILABLE));
    check_with(&json!({"ota_allow_downgrade": false}), &older, &failure("downgrade refused"));
}

#[test]
fn a_time_window_has_to_be_one_and_to_come() {
    let window = |start: Value, stop: Value| {
        merged(upgrade(&[firmware(json!({}))]), json!({"startTime": start, "stopTime": stop}))
    };
    for (start, stop) in [(json!(5), json!(4)), (json!(1), json!(0)), (json!(-1), json!(-2))] {
        check(&window(start, stop), &failure("bad time window"));
    }
    for start in [json!(null), json!(-9)] {
        check(&window(start, json!(-1)), &failure("time window expired"));
    }
    for (start, stop) in [(0, 0), (-5, 0), (60, 120), (60, 60), (-5, 5)] {
        check(&window(json!(start), json!(stop)), &failure(NOT_AVAILABLE));
    }
    let log =
        |start: i64, stop: i64| merged(operation("UP", file("LOG")), json!({"startTime": start, "stopTime": stop}));
    check(&log(-10, -20), &failure("bad time window"));
}

#[test]
fn names_may_stand_between_blanks_as_in_the_samples() {
    let mut sub = firmware(json!({"fileType": "SUBFIRM", "devNum": null, "hardware": "2.1"}));
    sub[" devNum"] = json!(1);
    check(&json!({" fileMode": "DOWN", "productVer ": 2, "fileInfo": [sub]}), &failure(NOT_AVAILABLE));
    check(&json!({"fileMode ": "QUERY"}), &versions());
}

#[test]
fn a_repeated_operation_says_nothing_again_and_a_repeated_query_is_answered() {
    let same = merged(upgrade(&[firmware(json!({"software": "3.0.0.1"}))]), json!({"productVer": 1}));
    for (request, expected) in [
        (upgrade(&[firmware(json!({}))]), failure(NOT_AVAILABLE)),
        (operation("UP", file("LOG")), failure("no file")),
        (upgrade(&[firmware(json!({"md5": null}))]), failure("missing md5")),
        (same, versions()),
    ] {
        let mut cloud = online(json!({}));
        let id = check_answer(&mut cloud, &request, &expected);
        for _ in 0..2 {
            cloud.host.advance(100_000);
            cloud.say(2019, &id, request.clone());
            cloud.host.expect_silence();
        }
        // Five minutes after the first it is a new one.
        cloud.host.advance(100_000);
        cloud.say(2019, &id, request);
        assert_eq!(cloud.expect_frame(2018), (id, expected));
    }
    let mut cloud = online(json!({}));
    let id = check_answer(&mut cloud, &json!({"fileMode": "QUERY"}), &versions());
    cloud.say(2019, &id, json!({"fileMode": "QUERY"}));
    assert_eq!(cloud.expect_frame(2018), (id, versions()));
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("commands_repeated", "1");
}

#[test]
fn a_query_is_answered_between_operations_and_each_under_its_own_number() {
    let mut cloud = online(json!({}));
    for _ in 0..3 {
        check_answer(&mut cloud, &upgrade(&[firmware(json!({}))]), &failure(NOT_AVAILABLE));
        check_answer(&mut cloud, &json!({"fileMode": "QUERY"}), &versions());
    }
    cloud.host.advance(1_000);
    cloud.assert_fact("files_refused", "3");
}

#[test]
fn an_answer_repeats_every_digit_of_the_number_it_answers() {
    let mut cloud = Cloud::online(setup(json!({"mqtt_encrypt_data": false})));
    cloud.say_bytes(r#"{"cmd":2019,"dir":"30","msgId":9007199254740993123,"data":{"fileMode":"QUERY"}}"#);
    let text = cloud.host.expect_publish().text().to_owned();
    assert!(text.contains(r#""msgId":9007199254740993123,"#), "{text}");
}

#[test]
fn a_request_that_cannot_be_decrypted_is_answered_so() {
    let sealed_otherwise = seal("00112233445566778899aabbccddeeff", r#"{"fileMode":"QUERY"}"#);
    for data in [json!("!!!!"), json!(""), json!("AAAA"), json!(sealed_otherwise), json!(7), json!([])] {
        let mut cloud = online(json!({}));
        let id = cloud.new_id();
        cloud.say_data(2019, &id, data.clone());
        assert_eq!(cloud.expect_frame(2018), (id, failure("decrypt error")), "{data}");
        cloud.host.expect_silence();
        cloud.host.advance(1_000);
        cloud.assert_fact("input_dropped", "1");
    }
}
