use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::frame::raw;

const MD5: &str = "ED6A354D63E6C2C3E78F05B70B7DC0B7";

fn upgrade() -> Value {
    json!({
        "fileMode": "DOWN", "productVer": 2, "startTime": 0, "stopTime": 600,
        "fileInfo": [{
            "fileType": "SUBFIRM", "devNum": 4, "software": "1.0.2.0", "hardware": "1.0",
            "url": "http://h/f", "md5": MD5, "checkSum": 34_458_424,
        }],
    })
}

fn other(mode: &str, file_type: &str) -> Value {
    json!({ "fileMode": mode, "fileInfo": [{ "fileType": file_type, "url": "http://h/f" }] })
}

#[track_caller]
fn check(request: &Value, expected: Result<(), BadRequest>) {
    assert_eq!(Request::parse(&raw(request)).map(drop), expected, "{request}");
}

/// The usual upgrade with one member of the request changed.
#[track_caller]
fn check_member(name: &str, value: Value, expected: Result<(), BadRequest>) {
    let mut request = upgrade();
    request[name] = value;
    check(&request, expected);
}

/// The usual upgrade with one member of its file changed.
#[track_caller]
fn check_file(name: &str, value: Value, expected: Result<(), BadRequest>) {
    let mut request = upgrade();
    request["fileInfo"][0][name] = value;
    check(&request, expected);
}

#[test]
fn an_upgrade_becomes_what_it_says() {
    let request = Request::parse(&raw(&upgrade())).unwrap();
    assert_eq!(
        request,
        Request {
            file_mode: FileMode::Down,
            product_ver: Some(2),
            file_info: vec![FileInfo {
                file_type: FileType::SubFirm,
                dev_num: 4,
                software: Some("1.0.2.0".into()),
                hardware: Some("1.0".into()),
                url: "http://h/f".into(),
                md5: Some(MD5.to_ascii_lowercase()),
                check_sum: Some(34_458_424),
            }],
            start_time: Some(0),
            stop_time: Some(600),
        }
    );
    assert_eq!(request.kind(), Some(Kind::Upgrade));
}

#[test]
fn names_between_blanks_are_read_as_the_protocol_s_sample_has_them() {
    let text = upgrade().to_string().replace("\"devNum\"", "\" devNum\"").replace("\"fileInfo\"", "\"fileInfo \"");
    let request = Request::parse(&RawValue::from_string(text).unwrap()).unwrap();
    assert_eq!(request.file_info[0].dev_num, 4);
}

#[test]
fn the_member_that_an_upgrade_misses_is_named() {
    for name in ["fileMode", "productVer", "fileInfo"] {
        check_member(name, Value::Null, Err(BadRequest::Missing(name)));
    }
    for name in ["fileType", "devNum", "software", "hardware", "url", "md5", "checkSum"] {
        check_file(name, Value::Null, Err(BadRequest::Missing(name)));
    }
    for name in ["software", "hardware", "md5"] {
        check_file(name, json!(""), Err(BadRequest::Missing(name)));
    }
    check_member("fileInfo", json!([]), Err(BadRequest::Missing("fileInfo")));
    check(&json!({}), Err(BadRequest::Missing("fileMode")));
    assert_eq!(BadRequest::Missing("md5").event(), Event::failure("missing md5".into()));
}

#[test]
fn only_firmware_of_subdevices_has_to_say_for_which_part_it_is() {
    let mut request = upgrade();
    request["fileInfo"][0]["fileType"] = json!("FIRM");
    request["fileInfo"][0]["devNum"] = Value::Null;
    assert_eq!(Request::parse(&raw(&request)).map(|request| request.file_info[0].dev_num), Ok(0));
}

#[test]
fn a_wrong_type_or_value_is_a_bad_parameter() {
    let bad = Err(BadRequest::Parameter);
    for data in [json!([]), json!("x"), json!(null)] {
        check(&data, bad);
    }
    for value in [json!("down"), json!("MOVE"), json!(1)] {
        check_member("fileMode", value, bad);
    }
    for value in [json!(0), json!(-1), json!(1.5), json!("2"), json!(u64::MAX)] {
        check_member("productVer", value, bad);
    }
    for name in ["startTime", "stopTime"] {
        for value in [json!("0"), json!(0.5), json!(true), json!(u64::MAX)] {
            check_member(name, value, bad);
        }
        check_member(name, json!(-7), Ok(()));
        check_member(name, Value::Null, Ok(()));
    }
    for value in [json!({}), json!("x"), json!([7]), json!([null])] {
        check_member("fileInfo", value, bad);
    }
    for value in [json!("firm"), json!("EXE"), json!(7)] {
        check_file("fileType", value, bad);
    }
    for value in [json!(-1), json!("4"), json!(1.0), json!(u64::from(u32::MAX) + 1)] {
        check_file("devNum", value, bad);
    }
    for name in ["software", "hardware"] {
        for value in [json!(1), json!("x".repeat(129))] {
            check_file(name, value, bad);
        }
    }
    for value in [json!(7), json!("0cc1"), json!("g".repeat(32)), json!(format!(" {MD5}"))] {
        check_file("md5", value, bad);
    }
    for value in [json!(-1), json!(1.0), json!("34458424")] {
        check_file("checkSum", value, bad);
    }
    check_file("checkSum", json!(u64::MAX), Ok(()));
    check_file("url", json!(7), bad);
    assert_eq!(BadRequest::Parameter.event(), Event::failure("bad parameter".into()));
}

#[test]
fn an_address_needs_http_and_a_host_and_has_a_longest_length() {
    let long = |filling| json!(format!("http://h/{}", "x".repeat(filling)));
    for url in [json!(""), json!("ftp://h/f"), json!("/f"), json!("http:///f"), json!("http://a@h/"), long(2040)] {
        check_file("url", url, Err(BadRequest::Url));
    }
    for url in [json!("HTTPS://h"), json!("http://[::1]:80/f?x"), long(2039)] {
        check_file("url", url, Ok(()));
    }
    // What is missing can be told more exactly, so it is told first.
    let mut request = upgrade();
    request["fileInfo"][0] = json!({ "fileType": "FIRM", "url": "ftp://h/f" });
    check(&request, Err(BadRequest::Missing("software")));
    assert_eq!(BadRequest::Url.event(), Event::bad_url());
}

#[test]
fn each_type_of_file_has_its_directions() {
    for (file_type, down, up) in [
        ("PROFILE", true, false),
        ("LOG", false, true),
        ("PHOTO", true, true),
        ("VIDEO", true, true),
        ("VOICE", true, true),
        ("DATA", true, true),
        ("FIRM", true, false),
        ("SUBFIRM", true, false),
    ] {
        let seen = |mode| Request::parse(&raw(&other(mode, file_type))) != Err(BadRequest::Parameter);
        assert_eq!((seen("DOWN"), seen("UP")), (down, up), "{file_type}");
    }
    assert_eq!(Request::parse(&raw(&other("DOWN", "DATA"))).map(|request| request.kind()), Ok(Some(Kind::Download)));
    assert_eq!(Request::parse(&raw(&other("UP", "LOG"))).map(|request| request.kind()), Ok(Some(Kind::Upload)));
}

#[test]
fn a_query_is_taken_whatever_else_it_says() {
    for rest in [json!({}), json!({ "fileInfo": [] }), json!({ "fileInfo": 7, "productVer": "x", "startTime": [] })] {
        let mut request = rest;
        request["fileMode"] = json!("QUERY");
        let query = Request::parse(&raw(&request)).unwrap();
        assert_eq!((query.kind(), query.file_info.len()), (None, 0));
    }
}

#[test]
fn only_so_many_files_are_taken_at_once() {
    let mut request = other("UP", "DATA");
    request["fileInfo"] = json!(vec![request["fileInfo"][0].clone(); MOST_FILES]);
    check(&request, Ok(()));
    request["fileInfo"] = json!(vec![request["fileInfo"][0].clone(); MOST_FILES + 1]);
    check(&request, Err(BadRequest::Parameter));
}

#[test]
fn only_the_upload_of_a_log_has_a_period() {
    let window = |mut request: Value| {
        (request["startTime"], request["stopTime"]) = (json!(-600), json!(-10));
        Request::parse(&raw(&request)).unwrap().window().map(|window| window.log_period.is_some())
    };
    assert_eq!(window(other("UP", "LOG")), Ok(true));
    assert_eq!(window(other("UP", "DATA")), Err(WindowError::Expired));
    assert_eq!(window(upgrade()), Err(WindowError::Expired));
}

proptest! {
    #[test]
    fn every_request_survives_being_stored(
        file_type in "FIRM|SUBFIRM|PROFILE|PHOTO", dev_num: u32, check_sum: u64,
        software in "[0-9.]{1,8}", start: Option<i64>, stop: Option<i64>,
    ) {
        let mut request = upgrade();
        (request["startTime"], request["stopTime"]) = (json!(start), json!(stop));
        let file = &mut request["fileInfo"][0];
        (file["fileType"], file["devNum"], file["software"]) = (json!(file_type), json!(dev_num), json!(software));
        file["checkSum"] = json!(check_sum);
        let request = Request::parse(&raw(&request)).unwrap();
        prop_assert_eq!(Request::parse(&raw(&request)), Ok(request));
    }

    #[test]
    fn no_request_can_panic_its_reader(name in "fileMode|productVer|fileInfo|startTime|stopTime", of_file in "fileType|devNum|software|hardware|url|md5|checkSum", value in "[\\[\\]{}\",:0-9a.-]{0,20}|(https?://|[/?#&@:\\[\\]]|\\PC){0,12}") {
        if let Ok(data) = RawValue::from_string(value.clone()) {
            let _ = Request::parse(&data);
        }
        let value: Value = serde_json::from_str(&value).unwrap_or(Value::String(value));
        let (mut request, mut file) = (upgrade(), upgrade());
        request[name] = value.clone();
        file["fileInfo"][0][of_file] = value;
        for request in [request, file] {
            let _ = Request::parse(&raw(&request)).map(|request| request.window());
        }
    }
}
