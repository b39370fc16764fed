//! Messages, by what is odd but accepted, what is refused, round trips, and arbitrary bytes.

use polylink_plugin_sdk::bytes::Reader;
use polylink_plugin_sdk::secret::Secret;
use proptest::prelude::*;

use super::authorization::Server;
use super::discovery::{Unwanted, Wanted};
use super::information::{InformationAnswer, InformationRequest};
use super::recipe::{Progress, Recipe};
use super::video::{VideoAnswer, VideoRequest};
use super::*;
use crate::crypto::Key32;

const KEY: &str = "25e35c9691ee91296facd5d28a4822bc";

fn feedid(text: &str) -> FeedId {
    FeedId::new(text).unwrap()
}

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(got: Result<T, WireError>, expected: Result<T, WireError>) {
    assert_eq!(got, expected);
}

#[test]
fn a_discovery_may_name_its_product_in_two_ways_or_not_at_all() {
    let any = |status| Ok(DiscoveryRequest { productuuid: None, status });
    let one = |status| Ok(DiscoveryRequest { productuuid: Some("XDFSSD".into()), status });
    check(DiscoveryRequest::decode(b"{}"), any(Wanted::All));
    check(DiscoveryRequest::decode(br#" {"cmd":"x","productuuid":"","status":null} "#), any(Wanted::All));
    check(DiscoveryRequest::decode(br#"{"uuid":"XDFSSD","status":2}"#), one(Wanted::Bound));
    check(DiscoveryRequest::decode(br#"{"status":1,"productuuid":"XDFSSD","uuid":"A"}"#), one(Wanted::Unbound));
    check(DiscoveryRequest::decode(br#"{"status":3}"#), Err(WireError::Members));
    check(DiscoveryRequest::decode(br#"{"status":"1"}"#), Err(WireError::Members));
    for none in [&b""[..], b"{", b"{}x", b"{\"a\":\"\xff\"}", b"\xef\xbb\xbf{}"] {
        check(DiscoveryRequest::decode(none), Err(WireError::Json));
    }
    check(DiscoveryRequest::decode(b"[]"), Err(WireError::Members));
}

#[test]
fn a_device_stays_silent_unless_product_and_state_are_wanted() {
    let request = |status| DiscoveryRequest { productuuid: Some("XDFSSD".into()), status };
    assert_eq!(request(Wanted::All).wants("XDFSSD", true), Ok(()));
    assert_eq!(request(Wanted::Unbound).wants("XDFSSD", false), Ok(()));
    assert_eq!(request(Wanted::Unbound).wants("XDFSSD", true), Err(Unwanted::Status));
    assert_eq!(request(Wanted::Bound).wants("XDFSSD", false), Err(Unwanted::Status));
    assert_eq!(request(Wanted::Bound).wants("A1B2C3", false), Err(Unwanted::ProductUuid));
    let any = DiscoveryRequest { productuuid: None, status: Wanted::Bound };
    assert_eq!(any.wants("A1B2C3", true), Ok(()));
}

#[test]
fn an_authorization_needs_an_identity_and_two_keys_and_no_error_or_log_shows_them() {
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json =
            serde_json::json!({ "data": { "feedid": "1234567890123456", "accesskey": KEY, "localkey": KEY } });
        change(&mut json["data"]);
        Authorization::decode(json.to_string().as_bytes())
    };
    let least = with(&|_| {}).unwrap();
    assert_eq!((least.lancon, least.opt.is_none(), least.joylink_server.len()), (None, true, 0));
    assert!(!format!("{least:?}").contains(KEY));
    check(with(&|data| data["feedid"] = "".into()), Err(WireError::Value("feedid")));
    check(with(&|data| data["feedid"] = "1".repeat(33).into()), Err(WireError::Members));
    check(with(&|data| data["feedid"] = 1_234_567_890_123_456_i64.into()), Err(WireError::Members));
    check(with(&|data| data["accesskey"] = KEY[1..].into()), Err(WireError::Members));
    check(with(&|data| data["localkey"] = serde_json::Value::Null), Err(WireError::Members));
    check(with(&|data| data["lancon"] = 2.into()), Err(WireError::Members));
    check(with(&|data| data["opt"] = 1.into()), Err(WireError::Value("opt")));
    check(
        with(&|data| *data = serde_json::json!(["1", KEY, KEY, null, [], null, null, null, null, null])),
        Err(WireError::Members),
    );
    assert!(with(&|data| (data["server"], data["tcpaes"]) = ("any".into(), 7.into())).is_ok());
    check(Authorization::decode_sub(least.encode().expose()), Err(WireError::Members));
}

#[test]
fn a_server_that_cannot_be_is_left_out() {
    let server = |host: &str, port| Some(Server { host: host.into(), port });
    assert_eq!(Server::parse("live.smart.jd.com:6001"), server("live.smart.jd.com", 6001));
    assert_eq!(Server::parse(" 10.0.0.1:1 "), server("10.0.0.1", 1));
    for none in ["", "host", "host:", ":6001", "host:0", "host:65536", "host:+1", "ho st:1", "höst:1"] {
        assert_eq!(Server::parse(none), None, "{none}");
    }
}

#[test]
fn values_keep_their_digits_and_their_kind() {
    let body = br#"{"data":{"streams":[{"current_value":1.50,"stream_id":"a"},{"stream_id":"b","current_value":"1"}]},"cmd":5}"#;
    let JsonCommand::Control { streams, snapshot } = JsonRequest::decode(body).unwrap().command else { panic!() };
    assert_eq!(streams.iter().map(|stream| stream.current_value.get()).collect::<Vec<_>>(), ["1.50", "\"1\""]);
    assert_eq!(snapshot, None);
    check(JsonRequest::decode(br#"{"cmd":6,"data":{}}"#), Err(WireError::Value("cmd")));
    check(JsonRequest::decode(br#"{"cmd":5,"data":{}}"#), Err(WireError::Members));
    check(JsonRequest::decode(br#"{"cmd":5,"data":{"streams":[["a","1"]]}}"#), Err(WireError::Members));
    check(JsonRequest::decode_sub(br#"{"cmd":4}"#), Err(WireError::Members));
}

#[test]
fn ids_above_what_floating_point_holds_keep_all_digits() {
    let json =
        br#"{"at":1441458319881,"code":1050,"feed_id":18446744073709551615,"subTask":[],"task_id":9007199254740993}"#;
    let recipe = Recipe::decode(json).unwrap();
    assert_eq!((recipe.feed_id, recipe.task_id), (u64::MAX, 9_007_199_254_740_993));
    assert_eq!(recipe.encode(), json);
    check(Recipe::decode(br#"{"at":1,"code":1050,"feed_id":1e3,"subTask":[],"task_id":1}"#), Err(WireError::Members));
    check(
        Recipe::decode(br#"{"at":1,"code":1002,"feed_id":1,"subTask":[],"task_id":1}"#),
        Err(WireError::Value("code")),
    );
}

#[test]
fn an_order_of_firmware_that_is_of_no_use_still_tells_its_number() {
    let json = |crc: &str| {
        format!(
            r#"{{"cmd":"ota","serial":9007199254740993,"data":{{"feedid":"1","productuuid":"A","version":4,"versionname":"v","crc32":{crc},"url":"u"}}}}"#
        )
    };
    assert_eq!(OtaOrder::decode(json("4042322160").as_bytes()).unwrap().firmware.crc32, 4_042_322_160);
    for crc in ["\"4042322160\"", "4294967296", "-1", "1.0"] {
        check(OtaOrder::decode(json(crc).as_bytes()), Err(WireError::Members));
        assert_eq!(OtaOrder::serial_of(json(crc).as_bytes()), Some(9_007_199_254_740_993));
    }
    assert_eq!(OtaOrder::serial_of(b"{}"), None);
    let status = |progress| {
        format!(
            r#"{{"cmd":"otastat","data":{{"feedid":"1","productuuid":"A","status":3,"status_desc":"","progress":{progress}}}}}"#
        )
    };
    assert_eq!(OtaStatus::decode(status(100).as_bytes()).unwrap().status, OtaPhase::Failed);
    check(OtaStatus::decode(status(101).as_bytes()), Err(WireError::Value("progress")));
}

#[test]
fn an_identity_ends_at_the_first_nul_or_with_its_field() {
    let read = |field: &[u8]| FeedId::read(&mut Reader::new(field)).map(|id| id.as_str().to_owned());
    assert_eq!(read(&[b'7'; 32]), Ok("7".repeat(32)));
    assert_eq!(read(&[&b"12\0\xff"[..], &[9; 28]].concat()), Ok("12".into()));
    assert_eq!(read(&[0; 32]), Ok(String::new()));
    assert_eq!(read(&[0xFF; 32]), Err(WireError::Text));
    assert!(matches!(read(&[0; 31]), Err(WireError::Truncated(_))));
    assert_eq!(FeedId::new(&"1".repeat(33)), None);
    assert_eq!(FeedId::new("1\0"), None);
}

#[test]
fn an_authentication_is_of_whom_opt_names_with_or_without_padding() {
    let request = AuthRequest::new(feedid("1234567890123456"), 7);
    let padded = [request.feedid.field(), &7_u32.to_le_bytes()[..]].concat();
    for opt in [request.encode_opt(), padded] {
        check(AuthRequest::decode(&opt, &request.encode()), Ok(request));
    }
    check(AuthRequest::decode(&[0; 4], &[0; 4]), Err(WireError::Count));
    check(AuthRequest::decode(&[], &[0; 4]), Err(WireError::Count));
    check(AuthRequest::decode(&[b'1'; 37], &[0; 4]), Err(WireError::Count));
    let answer = AuthAnswer { opt_random: Some(3), random: 3, session_key: Key32::new([1; 32]) };
    assert!(answer.randoms_agree());
    let without = AuthAnswer::decode(&[], &answer.encode()).unwrap();
    assert_eq!((without.opt_random, without.randoms_agree()), (None, false));
    assert!(AuthAnswer::decode(&[0; 4], &answer.encode()[..35]).is_err());
}

#[test]
fn counts_and_lengths_must_be_exact() {
    let beat = SubBeat { version: 1, rssi: SubBeat::NO_RSSI, feedid: feedid("2"), state: SubState::ONLINE };
    let heartbeat = SubHeartbeat { version: 3, rssi: 90, subs: vec![beat, beat] };
    let bytes = heartbeat.encode();
    assert_eq!(bytes.len() + crate::packet::STAMP, 10 + 2 * 37);
    check(SubHeartbeat::decode(&bytes[..bytes.len() - 1]), Err(WireError::Count));
    check(SubHeartbeat::decode(&[&bytes[..], &[0]].concat()), Err(WireError::Count));
    check(Information::decode(&[1, 0, 0, 0, 2, 0, 0, 0, b'{']), Err(WireError::Count));
    check(Information::decode(&[1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]), Err(WireError::Count));
    let with_stray_bytes = [0xFF, 0xFF, 0xFF, 0xFF, 1, 2];
    check(CodeAnswer::decode(&with_stray_bytes), Ok(CodeAnswer(Code::AUTHENTICATION_FAILED)));
}

#[test]
fn a_sub_devices_content_is_opened_with_its_own_key_and_a_missing_one_is_empty() {
    let (key, other) = (Key32::new([1; 32]).cipher_key(), Key32::new([2; 32]).cipher_key());
    let mut script = SubScript::seal(biz::SNAPSHOT, 5, feedid("9"), &key, b"");
    assert_eq!(script.sealed.len(), 16);
    assert_eq!(script.open(&key), Ok(Vec::new()));
    assert!(script.open(&other).is_err());
    script.sealed.clear();
    assert_eq!(SubScript::decode(&script.encode()).unwrap().open(&key), Ok(Vec::new()));
}

#[test]
fn only_requests_have_answers() {
    let script = |biz_code| Script { biz_code, serial: 8, content: vec![1] };
    let answered = [1002, 1004, 1050, 1060].map(|request| script(request).answer(vec![2]).unwrap().biz_code);
    assert_eq!(answered, [102, 104, 150, 160]);
    assert!([0, 102, 1003, u32::MAX].iter().all(|code| script(*code).answer(Vec::new()).is_none()));
}

#[test]
fn every_code_has_a_text_of_its_own() {
    let mut texts: Vec<&str> = Code::ALL.iter().map(|code| code.text()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), Code::ALL.len());
    assert_eq!(Code(-2001).text(), "unknown code");
    assert_eq!(Code::of_field(u32::MAX), Code::AUTHENTICATION_FAILED);
    assert_eq!(
        String::from_utf8(Answer::of(Code::MCU_TIMEOUT).encode()).unwrap(),
        r#"{"code":10,"msg":"main controller timeout"}"#
    );
    assert_eq!([0, 1, 2, 9].map(|code| Code::of_mcu(code).0), [0, 4, 2, 4]);
}

#[test]
fn an_answer_about_video_shows_no_key() {
    let answer = VideoAnswer {
        result: -5,
        control_resp: "no".into(),
        resolution: vec![240],
        attribute: Json::new(r#"{"serial":  87020}"#).unwrap(),
        feed_id: feedid("1"),
        access_key: Secret::new(KEY.into()),
        streams: None,
    };
    assert!(!format!("{answer:?}").contains(KEY));
    check(VideoAnswer::decode(answer.encode().expose()), Ok(answer));
}

#[test]
fn weather_may_leave_things_out() {
    let told = br#"{"result":[{"type":"weather","value":{"city_name":"Beijing","forecast":[{"day":"1"}]}},{"type":"air","value":[]}]}"#;
    let told = InformationAnswer::decode(told).unwrap();
    let weather = told.weather().unwrap();
    assert_eq!((&*weather.city_name, &*weather.forecast[0].day, &*weather.district), ("Beijing", "1", ""));
    assert_eq!(told.air(), None);
}

prop_compose! {
    fn any_id()(text in "[^\\x00]{0,8}") -> FeedId { feedid(&text) }
}

prop_compose! {
    fn any_sub()(version: u16, rssi: u16, feedid in any_id(), state: u8) -> SubBeat {
        SubBeat { version, rssi, feedid, state: SubState(state) }
    }
}

prop_compose! {
    fn any_streams()(list in prop::collection::vec(("\\PC{0,9}", "\\PC{0,9}", any::<i64>(), any::<bool>()), 0..5)) -> Vec<Stream> {
        list.into_iter().map(|(stream_id, text, number, is_text)| {
            Stream { stream_id, current_value: if is_text { Json::of(&text) } else { Json::of(&number) } }
        }).collect()
    }
}

proptest! {
    #[test]
    fn every_structure_survives_the_wire(
        (a, b, c) in any::<(u32, u32, u32)>(), (version, rssi) in any::<(u16, u16)>(), controltype: u8, feedid in any_id(), id in any_id(),
        content: Vec<u8>, key: [u8; 32], subs in prop::collection::vec(any_sub(), 0..6),
    ) {
        let script = Script { biz_code: a, serial: b, content: content.clone() };
        prop_assert_eq!(Script::decode(&script.encode()), Ok(script));
        let sub = SubScript { biz_code: a, serial: b, feedid, sealed: content.clone() };
        prop_assert_eq!(SubScript::decode(&sub.encode()), Ok(sub));
        let upload = SubUpload { feedid, sealed: content.clone() };
        prop_assert_eq!(SubUpload::decode(&upload.encode()), Ok(upload));
        let uploaded = SubUploadAnswer { feedid, code: Code::of_field(a) };
        prop_assert_eq!(SubUploadAnswer::decode(&uploaded.encode()), Ok(uploaded));
        let result = AsyncResult { biz_code: a, serial: b, feedid, controltype, executed_at: c, id, content: content.clone() };
        prop_assert_eq!(AsyncResult::decode(&result.encode()), Ok(result));
        let information = Information { serial: a, info: content.clone() };
        prop_assert_eq!(Information::decode(&information.encode()), Ok(information));
        let report = RecipeReport { serial: a, report: content };
        prop_assert_eq!(RecipeReport::decode(&report.encode()), Ok(report));
        let reported = SerialAnswer { serial: a, code: Code::of_field(b) };
        prop_assert_eq!(SerialAnswer::decode(&reported.encode()), Ok(reported));
        let beat = Heartbeat { version, rssi };
        prop_assert_eq!(Heartbeat::decode(&beat.encode()), Ok(beat));
        prop_assert_eq!(CodeAnswer::decode(&CodeAnswer(Code::of_field(a)).encode()).map(|code| code.0.field()), Ok(a));
        let unbind = Unbind { biz_code: a, serial: b, subs: subs.clone() };
        prop_assert_eq!(Unbind::decode(&unbind.encode()), Ok(unbind));
        let beats = SubHeartbeat { version, rssi, subs };
        prop_assert_eq!(SubHeartbeat::decode(&beats.encode()), Ok(beats));
        let answer = AuthAnswer { opt_random: Some(a), random: b, session_key: Key32::new(key) };
        prop_assert_eq!(AuthAnswer::decode(&answer.encode_opt(), &answer.encode()), Ok(answer));
    }

    #[test]
    fn every_json_message_survives_the_wire(
        feedid in any_id(), number: i64, code: i32, texts in prop::array::uniform4("\\PC{0,12}"), streams in any_streams(),
        key in "[!-~]{32}", flag: bool,
    ) {
        let [mac, productuuid, msg, url] = texts;
        let command = JsonCommand::Control { streams: streams.clone(), snapshot: Some(Json::of(&streams)) };
        let request = JsonRequest { feedid: Some(feedid), command };
        prop_assert_eq!(JsonRequest::decode_sub(&request.encode()), Ok(request));
        let answer = JsonAnswer { code: Code(code), feedid: flag.then_some(feedid), data: Some(streams), msg: Some(msg.clone()) };
        prop_assert_eq!(JsonAnswer::decode(&answer.encode()), Ok(answer));
        let sub = SubAnswer { code: Code(code), msg: msg.clone(), productuuid: productuuid.clone(), mac: mac.clone() };
        prop_assert_eq!(SubAnswer::decode(&sub.encode()), Ok(sub));
        let taken = OtaAnswer { code: Code(code), serial: number, msg: msg.clone() };
        prop_assert_eq!(OtaAnswer::decode(&taken.encode()), Ok(taken));
        let firmware = ota::Firmware { feedid, productuuid: productuuid.clone(), version: number, versionname: msg.clone(), crc32: code as u32, url: url.clone() };
        let order = OtaOrder { serial: number, firmware };
        prop_assert_eq!(OtaOrder::decode(&order.encode()), Ok(order));
        let feedid = if feedid.is_empty() { FeedId::new("1").unwrap() } else { feedid };
        let authorization = Authorization {
            feedid,
            accesskey: Key32::from_text(&key).unwrap(),
            localkey: Key32::from_text(&key).unwrap(),
            productuuid: Some(productuuid),
            joylink_server: vec![url],
            server: flag.then(|| Json::of(&msg)),
            tcpaes: None,
            lancon: flag.then_some(Flag(flag)),
            opt: Some(Json::empty_object()),
            mac: Some(mac),
        };
        prop_assert_eq!(Authorization::decode_sub(authorization.encode().expose()), Ok(authorization));
    }

    #[test]
    fn no_bytes_can_panic_a_decoder(bytes: Vec<u8>, text in "[\\[\\]{}\",:0-9eE.a-z_\\\\ -]{0,80}", opt: Vec<u8>) {
        for bytes in [&*bytes, text.as_bytes(), format!("{{\"cmd\":5,\"data\":{text}}}").as_bytes()] {
            let _ = (DiscoveryRequest::decode(bytes), DiscoveryAnswer::decode(bytes));
            let _ = (Authorization::decode(bytes), Authorization::decode_sub(bytes), AddSubDevice::decode(bytes));
            let _ = (SubAnswer::decode(bytes), Answer::decode(bytes), JsonRequest::decode(bytes), JsonAnswer::decode(bytes));
            let _ = (Script::decode(bytes), SubScript::decode(bytes), SubUpload::decode(bytes), SubUploadAnswer::decode(bytes));
            let _ = (AuthRequest::decode(&opt, bytes), AuthAnswer::decode(&opt, bytes), Heartbeat::decode(bytes));
            let _ = (CodeAnswer::decode(bytes), AsyncResult::decode(bytes), Information::decode(bytes));
            let _ = (RecipeReport::decode(bytes), SerialAnswer::decode(bytes), SubHeartbeat::decode(bytes));
            let _ = (Unbind::decode(bytes), OtaOrder::decode(bytes), OtaOrder::serial_of(bytes), OtaStatus::decode(bytes));
            let _ = (OtaAnswer::decode(bytes), Recipe::decode(bytes), Progress::decode(bytes), VideoAnswer::decode(bytes));
            let _ = VideoRequest::decode(bytes).map(|request| request.push_stream());
            let _ = (InformationRequest::decode(bytes), InformationAnswer::decode(bytes));
        }
        let _ = Server::parse(&text);
    }
}
