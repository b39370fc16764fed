use polylink_plugin_sdk::services::Tls;
use polylink_plugin_sdk::services::http::Request;
use proptest::prelude::*;

use super::*;
use crate::vectors::vector;

const PRODUCT_KEY: &str = "6f3074fe43894547a4f1314bd7e3ae0b";
const HOST: &str = "api.gizwits.com";

fn api() -> Api {
    Api { base_url: format!("http://{HOST}/"), tls: Tls::default() }
}

fn did() -> Did {
    Did::parse("AbCdEfGhIjKlMnOpQrStUv").unwrap()
}

fn passcode(text: &str) -> Passcode {
    Passcode::parse(text).unwrap()
}

/// The vector's request, without the two headers that the host adds.
fn recorded(id: &str) -> (String, Vec<(String, String)>, String) {
    let vector = vector(id);
    let (head, body) = vector["request"].as_str().unwrap().split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap().to_owned();
    let headers =
        lines.map(|line| line.split_once(':').unwrap()).map(|(name, value)| (name.into(), value.trim().into()));
    let ours = headers.filter(|(name, _): &(String, String)| name != "Host" && name != "Content-Length").collect();
    (first, ours, body.to_owned())
}

#[track_caller]
fn check_request(id: &str, request: &Request) {
    let path = request.url.strip_prefix(&format!("http://{HOST}")).unwrap();
    let line = format!("{} {path} HTTP/1.1", request.method);
    assert_eq!((line, request.headers.clone(), String::from_utf8(request.body.clone()).unwrap()), recorded(id), "{id}");
}

fn response(id: &str) -> (u16, String) {
    let response = &vector(id)["response"];
    (response["status"].as_u64().unwrap() as u16, response["body"].as_str().unwrap().to_owned())
}

#[test]
fn requests_are_those_of_the_vectors() {
    let mac = Mac::parse("02005E102030").unwrap();
    let module = Versions { hard: "000LINUX", soft: "04020006" };
    let mcu = Versions { hard: "00000003", soft: "03010101" };
    check_request("http-001", &api().register(&passcode("UFDGEMVYHT"), mac, PRODUCT_KEY));
    for id in ["http-002", "http-003", "http-009", "http-010", "http-011"] {
        check_request(id, &api().provision(&did()));
    }
    check_request("http-004", &api().unregister(&did(), &passcode("UFDGEMVYHT")));
    check_request("http-005", &api().check_v41(&did(), &passcode("UFDGEMVYHT"), Kind::Module, module));
    check_request("http-006", &api().check_v41(&did(), &passcode("OXNAEUSDFR"), Kind::Mcu, mcu));
    check_request("http-008", &api().check_fid(&did(), PRODUCT_KEY, Kind::Module, module, 0));
}

#[test]
fn firmware_is_checked_for_three_seconds_and_the_rest_is_given_longer() {
    let versions = Versions { hard: "h", soft: "s" };
    assert_eq!(api().check_fid(&did(), PRODUCT_KEY, Kind::Mcu, versions, 7).timeout_ms, 3_000);
    assert_eq!(api().check_v41(&did(), &passcode("UFDGEMVYHT"), Kind::Mcu, versions).timeout_ms, 3_000);
    assert_eq!(api().provision(&did()).timeout_ms, 15_000);
}

#[test]
fn a_known_firmware_id_is_sent_as_it_is() {
    let url = api().check_fid(&did(), PRODUCT_KEY, Kind::Mcu, Versions { hard: "h", soft: "s" }, 7).url;
    assert!(url.ends_with("&type=2&hard_version=h&soft_version=s&current_fid=7"), "{url}");
}

#[test]
fn what_a_form_cannot_hold_is_escaped() {
    let request = api().unregister(&did(), &passcode("a&b=c%d+e/f~"));
    assert_eq!(request.body, b"did=AbCdEfGhIjKlMnOpQrStUv&passcode=a%26b%3Dc%25d%2Be%2Ff%7E");
}

#[test]
fn answers_of_the_vectors_are_read() {
    let (status, body) = response("http-001");
    assert_eq!(registered(status, body.as_bytes()), Ok(Registered { did: did() }));
    let (status, body) = response("http-004");
    assert_eq!(unregistered(status, body.as_bytes()), Ok(()));
    let (status, body) = response("http-006");
    let parsed = &vector("http-006")["parsed"];
    let offer = offered_v41(status, body.as_bytes()).unwrap();
    assert_eq!(offer.target, Target::Version(parsed["soft_ver"].as_str().unwrap().into()));
    assert_eq!(offer.url, parsed["download_url"].as_str().unwrap());
    let (status, body) = response("http-008");
    let parsed = &vector("http-008")["parsed"];
    let offer = offered_by_fid(status, body.as_bytes()).unwrap();
    assert_eq!((offer.target, offer.url.as_str()), (Target::Fid(7), parsed["download_url"].as_str().unwrap()));
}

#[test]
fn provisions_of_the_vectors_are_read_in_any_order_and_without_a_line_end() {
    for id in ["http-002", "http-003", "http-011"] {
        let (status, body) = response(id);
        let parsed = &vector(id)["parsed"];
        let got = provisioned(status, body.as_bytes()).unwrap();
        assert_eq!(got.host, parsed["host"].as_str().unwrap(), "{id}");
        assert_eq!(Some(u64::from(got.port)), parsed["port"].as_u64(), "{id}");
        assert_eq!(got.server_ts, parsed["server_ts"].as_u64(), "{id}");
        let third_party = parsed["third_cloud"].as_str().map(|name| ThirdParty {
            name: name.into(),
            parameters: format!("product_uuid={}", parsed["product_uuid"].as_str().unwrap()),
        });
        assert_eq!(got.third_party, third_party, "{id}");
    }
}

#[test]
fn errors_of_the_vectors_ask_for_what_the_vectors_say() {
    for (id, reaction) in [("http-009", Reaction::ForgetDid), ("http-010", Reaction::Backoff)] {
        let (status, body) = response(id);
        let error = provisioned(status, body.as_bytes()).unwrap_err();
        assert_eq!(error.code().map(u64::from), vector(id)["parsed"]["error_code"].as_u64(), "{id}");
        assert_eq!(error.reaction(), reaction, "{id}");
    }
    let (status, body) = response("http-005");
    assert_eq!(offered_v41(status, body.as_bytes()).unwrap_err().reaction(), Reaction::NoUpgrade);
}

#[test]
fn every_code_asks_for_its_reaction() {
    let slow = Reaction::SlowRetry(600_000);
    for (code, on_provision, otherwise) in [
        (9001, Reaction::Backoff, Reaction::Backoff),
        (9002, slow, slow),
        (9008, Reaction::Backoff, Reaction::Backoff),
        (9011, slow, slow),
        (9012, slow, slow),
        (9014, Reaction::ForgetDid, Reaction::Backoff),
        (9015, slow, slow),
        (9016, Reaction::ForgetDid, Reaction::Backoff),
        (9023, slow, slow),
        (9027, Reaction::NoUpgrade, Reaction::NoUpgrade),
        (9032, Reaction::NoUpgrade, Reaction::NoUpgrade),
        (9034, Reaction::NoUpgrade, Reaction::NoUpgrade),
        (9041, Reaction::Backoff, Reaction::Backoff),
        (9046, Reaction::RetryIn(10_000), Reaction::RetryIn(10_000)),
        (9048, slow, slow),
        (1, Reaction::Backoff, Reaction::Backoff),
    ] {
        let body = format!("{{\"detail_message\":null,\"error_code\":\"{code}\"}}");
        assert_eq!(provisioned(400, body.as_bytes()).unwrap_err().reaction(), on_provision, "{code}");
        for error in [
            registered(400, body.as_bytes()).unwrap_err(),
            unregistered(400, body.as_bytes()).unwrap_err(),
            offered_v41(404, body.as_bytes()).unwrap_err(),
            offered_by_fid(404, body.as_bytes()).unwrap_err(),
        ] {
            assert_eq!(error.reaction(), otherwise, "{code} {error}");
        }
    }
}

#[test]
fn a_path_that_the_server_does_not_know_is_told_from_a_device_it_does_not_know() {
    assert!(offered_v41(404, b"<html>Not Found</html>").unwrap_err().is_missing_path());
    assert!(offered_v41(404, b"").unwrap_err().is_missing_path());
    assert!(!offered_v41(404, br#"{"error_code":9027}"#).unwrap_err().is_missing_path());
    assert!(!offered_v41(500, b"").unwrap_err().is_missing_path());
}

#[test]
fn errors_are_clear_and_repeat_nothing_of_the_answer() {
    let text = |error: ApiError| error.to_string();
    let body = br#"{"error_code": 9016, "error_message": "passcode UFDGEMVYHT"}"#;
    assert_eq!(
        text(provisioned(400, body).unwrap_err()),
        "the cloud refused the question for the MQTT broker: HTTP status 400, code 9016 (DID or passcode is not valid)"
    );
    assert_eq!(
        text(registered(200, b"did=AbCdEfGhIjKlMnOpQrStUv").unwrap_err()),
        "the cloud refused the registration: HTTP status 200"
    );
    assert_eq!(
        text(registered(201, b"passcode=UFDGEMVYHT").unwrap_err()),
        "the cloud gave no usable answer to the registration: HTTP status 201, did is missing or not usable"
    );
    assert_eq!(
        text(offered_v41(200, b"\xFF\xFE").unwrap_err()),
        "the cloud gave no usable answer to the firmware check by version: HTTP status 200, the answer is no form"
    );
}

#[track_caller]
fn check_provision(body: &str, expected: Result<(&str, u16), &'static str>) {
    let got = provisioned(200, body.as_bytes()).map(|answer| (answer.host, answer.port)).map_err(|error| error.problem);
    assert_eq!(got, expected.map(|(host, port)| (host.to_owned(), port)).map_err(Problem::Field), "{body}");
}

#[test]
fn a_broker_needs_a_sane_host_and_port() {
    check_provision("port=1883&host=10.0.0.1", Ok(("10.0.0.1", 1883)));
    check_provision("port=65535&host=[2001:db8::1]&", Ok(("2001:db8::1", 65_535)));
    check_provision("host=m2m.gizwits.com.&port=1", Ok(("m2m.gizwits.com", 1)));
    for host in [
        "",
        "a b",
        "a/b",
        "user@host",
        "host:1883",
        "-a.b",
        "a..b",
        "999.999.1.1",
        "m2m\0.test",
        "[::1",
        &"a".repeat(64),
    ] {
        check_provision(&format!("host={host}&port=1883"), Err("host"));
    }
    for port in ["", "0", "65536", "-1", "+1", "1883x", "99999999999999999999"] {
        check_provision(&format!("host=a&port={port}"), Err("port"));
    }
    check_provision("port=1883", Err("host"));
    check_provision("host=a", Err("port"));
}

#[test]
fn an_impossible_time_is_dropped_and_the_broker_kept() {
    for ts in ["", "0", "1", "99999999999", "-5", "soon"] {
        let body = format!("host=a&port=1&server_ts={ts}");
        assert_eq!(provisioned(200, body.as_bytes()).unwrap().server_ts, None, "{ts}");
    }
}

#[test]
fn an_address_keeps_its_query() {
    let url = |body: &str| offered_v41(200, body.as_bytes()).unwrap().url;
    assert_eq!(url("soft_ver=1&download_url=http://h/p?a=1&b=2\r\n"), "http://h/p?a=1&b=2");
    assert_eq!(url("download_url=http://h/p?a=1&soft_ver=1"), "http://h/p?a=1");
    assert_eq!(url("download_url=http://h/p&b=2&soft_ver=1"), "http://h/p");
}

proptest! {
    #[test]
    fn no_answer_can_panic_the_readers(status: u16, body: Vec<u8>) {
        let _ = (registered(status, &body), unregistered(status, &body), provisioned(status, &body));
        let _ = (offered_v41(status, &body), offered_by_fid(status, &body));
    }

    #[test]
    fn no_field_can_panic_the_readers(name in "host|port|did|server_ts|3rd_cloud|soft_ver|target_fid|download_url", value in "\\PC{0,80}") {
        let body = format!("{name}={value}&soft_ver=1&target_fid=1&host=a&port=1");
        let body = body.as_bytes();
        let _ = (registered(201, body), provisioned(200, body), offered_v41(200, body), offered_by_fid(200, body));
    }
}
