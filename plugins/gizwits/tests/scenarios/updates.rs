//! Firmware: asked for at each start, pushed by the cloud, done when the version has changed.

use polylink_plugin_sdk::services::{Reason, module};
use serde_json::json;

use super::stage::{DID, Stage, facts, field, setup};

const V41: &str = "http://api.gizwits.com/dev/ota/v4.1/update_and_check/";
const NOTHING: &str = r#"{"error_code": 9027, "error_message": "firmware not found"}"#;

fn provisioned() -> Stage {
    let mut stage = Stage::started(setup(json!({})));
    stage.register();
    stage.provision();
    stage
}

fn fact(stage: &Stage, name: &str) -> Option<String> {
    stage.host.status().facts.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
}

/// Answers a check of this type by the scheme of versions.
#[track_caller]
fn answer_check(stage: &mut Stage, kind: &str, status: u16, body: &str) {
    let (id, request) = stage.http();
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", format!("{V41}{DID}").as_str()));
    assert_eq!(field(&request.body, "type").as_deref(), Some(kind));
    assert_eq!(request.timeout_ms, 3_000);
    stage.host.http_answer(id, status, body);
}

#[test]
fn both_types_are_asked_for_before_the_log_in() {
    let mut stage = provisioned();
    answer_check(&mut stage, "1", 404, NOTHING);
    answer_check(&mut stage, "2", 404, NOTHING);
    stage.log_in();
    stage.host.expect_silence();
    assert_eq!((fact(&stage, "module_update"), fact(&stage, "mcu_update")), (None, None));
}

#[test]
fn a_check_without_an_answer_is_not_repeated() {
    let mut stage = provisioned();
    for _ in 0..2 {
        let (id, _) = stage.http();
        stage.host.http_failed(id, Reason::Timeout);
    }
    stage.log_in();
    stage.host.expect_silence();
}

#[test]
fn an_offer_is_kept_and_shown_until_the_version_changes() {
    let mut stage = provisioned();
    answer_check(&mut stage, "1", 404, NOTHING);
    answer_check(&mut stage, "2", 200, "soft_ver=03020000&download_url=http://dl.test/mcu.bin\r\n");
    stage.log_in();
    stage.host.expect_silence();
    assert!(fact(&stage, "mcu_update").expect("it is shown").contains("03020000"));
    stage.host.restart();
    stage.open_lan();
    assert!(fact(&stage, "mcu_update").is_some());
    stage.host.facts_changed(module::Facts { mcu_software: "03020000".to_owned(), ..facts() });
    assert_eq!(fact(&stage, "mcu_update"), None);
}

#[test]
fn where_the_path_is_not_known_the_older_scheme_is_used_and_fid_0_is_sent_as_1() {
    let mut stage = provisioned();
    answer_check(&mut stage, "1", 404, "<html>no such path</html>");
    let (id, request) = stage.http();
    assert_eq!(request.method, "GET");
    let (path, query) = request.url.split_once('?').expect("it has a query");
    assert_eq!(path, "http://api.gizwits.com/dev/ota/target_fid");
    assert_eq!(field(query.as_bytes(), "current_fid").as_deref(), Some("1"));
    assert_eq!(field(query.as_bytes(), "type").as_deref(), Some("1"));
    stage.host.http_answer(id, 200, "target_fid=9&download_url=http://dl.test/module.bin&");
    // The MCU too, whichever scheme the session tries first.
    while let Some(id) = stage.host.take_outputs().into_iter().find_map(|output| match output {
        polylink_plugin_sdk::Output::Http(id, _) => Some(id),
        polylink_plugin_sdk::Output::Resolve(id, _) => {
            assert_eq!(id, id);
            None
        }
        _ => None,
    }) {
        stage.host.http_answer(id, 404, NOTHING);
    }
    assert!(fact(&stage, "module_update").is_some());
    // The FID is stored when the new firmware runs, and not before.
    let fid = |stage: &Stage| {
        let stored: serde_json::Value =
            serde_json::from_slice(stage.host.stored("identity").expect("it is stored")).expect("it is JSON");
        stored["fids"]["module"].clone()
    };
    assert_eq!(fid(&stage), json!(0));
    stage.host.facts_changed(module::Facts { module_software: "04020007".to_owned(), ..facts() });
    assert_eq!(fid(&stage), json!(9));
    assert_eq!(fact(&stage, "module_update"), None);
}

#[test]
fn a_push_makes_the_device_ask_for_that_type() {
    let mut stage = Stage::online();
    stage.server(0x0211, &[2]);
    answer_check(&mut stage, "2", 200, "soft_ver=03020000&download_url=http://dl.test/mcu.bin");
    assert!(fact(&stage, "mcu_update").is_some());
    stage.host.expect_silence();
}

#[test]
fn a_push_of_the_older_scheme_is_an_offer_by_itself() {
    let mut stage = Stage::online();
    let url = b"http://dl.test/module.bin";
    let length = u16::try_from(url.len()).expect("it is short").to_be_bytes();
    stage.server(0x020E, &[&[1, 0, 0, 0, 9][..], &length, url].concat());
    assert!(fact(&stage, "module_update").is_some());
    stage.host.expect_silence();
}

#[test]
fn pushes_in_a_row_make_no_flood_of_requests() {
    let mut stage = Stage::online();
    for _ in 0..100 {
        stage.server(0x0211, &[2]);
        stage.server(0x0211, &[1]);
    }
    assert!(stage.host.take_outputs().len() <= 2);
}

#[test]
fn an_offer_that_makes_no_sense_is_refused() {
    let mut stage = Stage::online();
    for body in [
        "soft_ver=03020000",
        "soft_ver=&download_url=http://a/b",
        "soft_ver=03020000&download_url=ftp://a/b",
        "",
        "\u{0}",
    ] {
        stage.server(0x0211, &[2]);
        answer_check(&mut stage, "2", 200, body);
        assert_eq!(fact(&stage, "mcu_update"), None, "{body:?}");
        stage.host.take_outputs();
    }
}

#[test]
fn of_versions_that_the_cloud_cannot_take_nothing_is_asked() {
    for (hardware, software) in
        [("", "04020006"), ("00000001", "0.1.0"), ("0000 001", "04020006"), ("00000001", "0402000é")]
    {
        let mut setup = setup(json!({}));
        setup.facts.module_hardware = hardware.to_owned();
        setup.facts.module_software = software.to_owned();
        let mut stage = Stage::started(setup);
        stage.register();
        stage.provision();
        answer_check(&mut stage, "2", 404, NOTHING);
        stage.log_in();
        stage.host.expect_silence();
    }
}
