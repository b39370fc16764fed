//! Firmware: asked for at each start, pushed by the cloud, offered to the host; what becomes of it.

use polylink_plugin_sdk::services::ota::{Digest, Failure, Offer, Phase, Request, Target, Update};
use polylink_plugin_sdk::services::{Reason, http, id, module};
use polylink_plugin_sdk::{ClockQuality, Input, Output};
use serde_json::json;

use super::stage::{DID, KEY, Stage, facts, field, product, setup};

const V41: &str = "http://api.gizwits.com/dev/ota/v4.1/update_and_check/";
const NOTHING: &str = r#"{"error_code": 9027, "error_message": "firmware not found"}"#;

fn provisioned() -> Stage {
    let mut stage = Stage::started(setup(json!({})));
    stage.register();
    stage.provision();
    stage
}

impl Stage {
    /// Online as devices are that ask for firmware by themselves.
    fn online_with_checks() -> Self {
        let mut stage = provisioned();
        answer_check(&mut stage, "1", 404, NOTHING);
        answer_check(&mut stage, "2", 404, NOTHING);
        stage.log_in();
        stage
    }
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
fn an_mcu_that_says_its_version_after_the_start_is_asked_for_then() {
    let mut setup = setup(json!({}));
    (setup.facts.mcu_software, setup.facts.mcu_hardware) = (String::new(), String::new());
    let mut stage = Stage::started(setup);
    stage.register();
    stage.provision();
    answer_check(&mut stage, "1", 404, NOTHING);
    stage.log_in();
    stage.host.expect_silence();
    for _ in 0..2 {
        stage.host.facts_changed(facts());
    }
    answer_check(&mut stage, "2", 404, NOTHING);
    stage.host.expect_silence();
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

/// Answers the question what the file is.
#[track_caller]
fn answer_file(stage: &mut Stage, url: &str, status: u16, headers: &[(&str, &str)]) {
    answer_look(stage, "HEAD", url, status, headers);
}

/// Answers the same question about the first byte.
#[track_caller]
fn answer_first_byte(stage: &mut Stage, url: &str, status: u16, headers: &[(&str, &str)]) {
    answer_look(stage, "GET", url, status, headers);
}

#[track_caller]
fn answer_look(stage: &mut Stage, method: &str, url: &str, status: u16, headers: &[(&str, &str)]) {
    let (id, request) = stage.http();
    assert_eq!((request.method.as_str(), request.url.as_str()), (method, url));
    let is_part = request.headers.contains(&("Range".to_owned(), "bytes=0-0".to_owned()));
    assert_eq!(is_part, method == "GET");
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    stage.host.deliver(Input::Http(id, Ok(http::Response { status, headers, body: Vec::new() })));
}

const FILE: &[(&str, &str)] =
    &[("content-length", "3"), ("firmware-md5", "900150983cd24fb0d6963f7d28e17f72"), ("firmware-version", "14112521")];
const MCU_URL: &str = "http://dl.test/mcu.bin";
const MCU_OFFER: &str = "soft_ver=03020000&download_url=http://dl.test/mcu.bin\r\n";
const MODULE_URL: &str = "http://dl.test/module.bin";

#[track_caller]
fn expect_offer(stage: &mut Stage) -> Offer {
    match stage.host.expect_ota() {
        Request::Offer(offer) => *offer,
        other => panic!("{other:?}"),
    }
}

/// A device that is online and pushed this version of the MCU's firmware, which its host has.
fn with_update(phase: Phase) -> (Stage, Update) {
    let mut stage = Stage::online_with(json!({"check_updates": false}));
    push_mcu(&mut stage, MCU_OFFER);
    answer_file(&mut stage, MCU_URL, 200, FILE);
    let offer = expect_offer(&mut stage);
    let update = Update { id: offer.id, target: offer.target, version: offer.version, phase, ..Update::default() };
    stage.host.updates_changed(vec![update.clone()]);
    (stage, update)
}

#[track_caller]
fn push_mcu(stage: &mut Stage, answer: &str) {
    stage.server(0x0211, &[2]);
    answer_check(stage, "2", if answer == NOTHING { 404 } else { 200 }, answer);
}

/// The older scheme's push for the module.
fn push_module(stage: &mut Stage, fid: u32) {
    let length = u16::try_from(MODULE_URL.len()).expect("it is short").to_be_bytes();
    stage.server(0x020E, &[&[1][..], &fid.to_be_bytes(), &length, MODULE_URL.as_bytes()].concat());
}

fn acknowledge(update: &Update) -> Request {
    Request::Acknowledge(update.id.clone())
}

fn becomes(stage: &mut Stage, update: &Update, phase: Phase) {
    stage.host.updates_changed(vec![Update { phase, percent: 50, reason: "because".to_owned(), ..update.clone() }]);
}

#[test]
fn an_offer_goes_to_the_host_with_what_the_server_says_of_the_file() {
    let mut stage = provisioned();
    answer_check(&mut stage, "1", 404, NOTHING);
    let (check, _) = stage.http();
    stage.host.http_answer(check, 200, MCU_OFFER);
    assert_eq!(fact(&stage, "mcu_update").as_deref(), Some("version 03020000: available"));
    answer_file(&mut stage, MCU_URL, 200, FILE);
    let md5 = [0x90, 0x01, 0x50, 0x98, 0x3C, 0xD2, 0x4F, 0xB0, 0xD6, 0x96, 0x3F, 0x7D, 0x28, 0xE1, 0x7F, 0x72];
    let expected = Offer {
        id: "mcu/version/03020000".to_owned(),
        target: Target::Mcu,
        version: "03020000".to_owned(),
        url: MCU_URL.to_owned(),
        size: 3,
        digests: vec![Digest::Md5(md5)],
        ..Offer::default()
    };
    assert_eq!(expect_offer(&mut stage), expected);
    // The log-in did not wait for it.
    stage.log_in();
    stage.host.expect_silence();
}

#[test]
fn a_server_that_says_nothing_of_the_file_beforehand_is_left_to_the_rules_of_the_host() {
    for (status, headers) in [(405, FILE), (404, &[]), (200, &FILE[..1])] {
        let mut stage = Stage::online();
        push_mcu(&mut stage, MCU_OFFER);
        answer_file(&mut stage, MCU_URL, status, headers);
        answer_first_byte(&mut stage, MCU_URL, status, headers);
        let offer = expect_offer(&mut stage);
        assert_eq!((offer.size, offer.digests.as_slice()), (0, &[][..]));
    }
    // One that sends the whole file.
    let mut stage = Stage::online();
    push_mcu(&mut stage, MCU_OFFER);
    answer_file(&mut stage, MCU_URL, 405, &[]);
    let (id, _) = stage.http();
    stage.host.http_failed(id, Reason::Protocol);
    assert_eq!(expect_offer(&mut stage).digests, []);
}

#[test]
fn a_server_that_knows_no_head_is_asked_for_the_first_byte() {
    let mut stage = Stage::online();
    push_mcu(&mut stage, MCU_OFFER);
    answer_file(&mut stage, MCU_URL, 405, &[]);
    let part = [("content-range", "bytes 0-0/5000"), FILE[1]];
    answer_first_byte(&mut stage, MCU_URL, 206, &part);
    let offer = expect_offer(&mut stage);
    assert_eq!((offer.size, offer.digests.len()), (5_000, 1));
}

#[test]
fn a_server_that_is_not_reached_is_asked_after_the_next_check() {
    let mut stage = Stage::online();
    push_mcu(&mut stage, MCU_OFFER);
    let (id, _) = stage.http();
    stage.host.http_failed(id, Reason::Timeout);
    stage.host.expect_silence();
    let shown = "version 03020000: available, but its server is not reached";
    assert_eq!(fact(&stage, "mcu_update").as_deref(), Some(shown));
    push_mcu(&mut stage, MCU_OFFER);
    answer_file(&mut stage, MCU_URL, 200, FILE);
    expect_offer(&mut stage);
}

#[test]
fn an_offer_that_comes_again_changes_nothing() {
    let mut stage = Stage::online();
    push_mcu(&mut stage, MCU_OFFER);
    let (file, _) = stage.http();
    push_mcu(&mut stage, MCU_OFFER);
    stage.host.expect_silence();
    stage.host.http_answer(file, 405, "");
    answer_first_byte(&mut stage, MCU_URL, 405, &[]);
    expect_offer(&mut stage);
    for phase in [Phase::Waiting, Phase::Downloading, Phase::Installing] {
        let (mut stage, _) = with_update(phase);
        push_mcu(&mut stage, MCU_OFFER);
        stage.host.expect_silence();
    }
}

#[test]
fn a_new_address_is_passed_on_as_long_as_the_file_is_not_there() {
    const ELSEWHERE: &str = "http://dl.test/again.bin";
    for phase in [Phase::Waiting, Phase::Downloading] {
        let (mut stage, update) = with_update(phase);
        push_mcu(&mut stage, &MCU_OFFER.replace(MCU_URL, ELSEWHERE));
        answer_file(&mut stage, ELSEWHERE, 200, FILE);
        let offer = expect_offer(&mut stage);
        assert_eq!((offer.id, offer.url.as_str()), (update.id, ELSEWHERE));
        push_mcu(&mut stage, &MCU_OFFER.replace(MCU_URL, ELSEWHERE));
        stage.host.expect_silence();
    }
    let (mut stage, _) = with_update(Phase::Installing);
    push_mcu(&mut stage, &MCU_OFFER.replace(MCU_URL, ELSEWHERE));
    stage.host.expect_silence();
}

#[test]
fn an_address_after_a_restart_is_passed_on_once() {
    let (mut stage, update) = with_update(Phase::Downloading);
    stage.host.setup().updates = vec![update.clone()];
    stage.host.restart();
    stage.open_lan();
    stage.provision();
    stage.log_in();
    push_mcu(&mut stage, MCU_OFFER);
    answer_file(&mut stage, MCU_URL, 200, FILE);
    assert_eq!(expect_offer(&mut stage).id, update.id);
    push_mcu(&mut stage, MCU_OFFER);
    stage.host.expect_silence();
}

#[test]
fn firmware_that_is_on_its_way_is_not_offered_under_a_second_id() {
    let mut stage = Stage::online();
    let update = Update { id: "module/fid/9".to_owned(), phase: Phase::Downloading, ..Update::default() };
    stage.host.updates_changed(vec![update]);
    push_module(&mut stage, 9);
    answer_file(&mut stage, MODULE_URL, 200, FILE);
    stage.host.expect_silence();
}

#[test]
fn another_offer_replaces_one_that_waits_and_follows_one_that_began() {
    for (phase, is_cancelled) in [(Phase::Waiting, true), (Phase::Downloading, false), (Phase::Installing, false)] {
        let (mut stage, update) = with_update(phase);
        push_mcu(&mut stage, "soft_ver=03030000&download_url=http://dl.test/mcu.bin");
        if is_cancelled {
            assert_eq!(stage.host.expect_ota(), Request::Cancel(update.id.clone()));
        }
        answer_file(&mut stage, MCU_URL, 200, FILE);
        assert_eq!(expect_offer(&mut stage).version, "03030000");
        becomes(&mut stage, &update, Phase::Failed(Failure::Cancelled));
        assert_eq!(stage.host.expect_ota(), acknowledge(&update));
        stage.host.expect_silence();
    }
}

#[test]
fn an_offer_that_was_replaced_before_its_file_was_known_is_not_passed_on() {
    let (mut stage, _) = with_update(Phase::Downloading);
    push_mcu(&mut stage, "soft_ver=03030000&download_url=http://dl.test/mcu.bin");
    let (file, _) = stage.http();
    push_mcu(&mut stage, MCU_OFFER);
    assert_eq!(stage.host.take_outputs(), [Output::CancelHttp(file)]);
}

#[test]
fn of_one_address_after_another_only_the_last_is_asked_for() {
    let mut stage = Stage::online();
    push_module(&mut stage, 9);
    for fid in 10..20 {
        let (former, _) = stage.http();
        push_module(&mut stage, fid);
        stage.host.expect_output("the end of the former question", |output| {
            (*output == Output::CancelHttp(former)).then_some(())
        });
    }
    answer_file(&mut stage, MODULE_URL, 200, FILE);
    assert_eq!(expect_offer(&mut stage).id, "module/fid/19/14112521");
    stage.host.expect_silence();
}

#[test]
fn what_the_cloud_does_not_offer_any_more_is_taken_back() {
    let (mut stage, update) = with_update(Phase::Waiting);
    push_module(&mut stage, 9);
    answer_file(&mut stage, MODULE_URL, 200, FILE);
    expect_offer(&mut stage);
    push_mcu(&mut stage, NOTHING);
    assert_eq!(stage.host.expect_ota(), Request::Cancel(update.id));
    stage.host.expect_silence();
}

#[test]
fn a_version_that_runs_by_now_is_not_waited_for() {
    let (mut stage, update) = with_update(Phase::Waiting);
    stage.host.facts_changed(module::Facts { mcu_software: "03020000".to_owned(), ..facts() });
    assert_eq!(stage.host.expect_ota(), Request::Cancel(update.id));
}

#[test]
fn progress_is_shown() {
    let (mut stage, update) = with_update(Phase::Waiting);
    assert_eq!(fact(&stage, "mcu_update").as_deref(), Some("version 03020000: waiting"));
    becomes(&mut stage, &update, Phase::Downloading);
    assert_eq!(fact(&stage, "mcu_update").as_deref(), Some("version 03020000: loading, 50 %"));
    becomes(&mut stage, &update, Phase::Installing);
    assert_eq!(fact(&stage, "mcu_update").as_deref(), Some("version 03020000: being installed"));
    stage.host.expect_silence();
}

#[test]
fn after_a_success_the_cloud_is_asked_again_so_that_it_hears_what_runs() {
    let mut stage = Stage::online_with_checks();
    push_mcu(&mut stage, MCU_OFFER);
    answer_file(&mut stage, MCU_URL, 200, FILE);
    let id = expect_offer(&mut stage).id;
    let update = Update { id, target: Target::Mcu, ..Update::default() };
    stage.host.facts_changed(module::Facts { mcu_software: "03020000".to_owned(), ..facts() });
    becomes(&mut stage, &update, Phase::Finished);
    assert_eq!(stage.host.expect_ota(), acknowledge(&update));
    let (check, request) = stage.http();
    assert_eq!(field(&request.body, "soft_version").as_deref(), Some("03020000"));
    stage.host.http_answer(check, 404, NOTHING);
    assert_eq!(fact(&stage, "mcu_update"), None);
    stage.host.expect_silence();
}

#[test]
fn after_a_restart_the_start_tells_of_the_success() {
    let (mut stage, update) = with_update(Phase::Installing);
    stage.host.setup().updates = vec![Update { phase: Phase::Finished, ..update.clone() }];
    stage.host.restart();
    assert_eq!(stage.host.expect_ota(), acknowledge(&update));
}

#[test]
fn an_update_that_goes_on_after_a_restart_is_not_offered_again() {
    let (mut stage, _) = with_update(Phase::Installing);
    stage.host.restart();
    stage.open_lan();
    assert_eq!(fact(&stage, "mcu_update").as_deref(), Some("version 03020000: being installed"));
    stage.provision();
    stage.log_in();
    push_mcu(&mut stage, MCU_OFFER);
    stage.host.expect_silence();
}

#[test]
fn a_fid_and_its_release_date_are_stored_when_the_new_firmware_runs_and_not_before() {
    let mut stage = Stage::online();
    push_module(&mut stage, 9);
    answer_file(&mut stage, MODULE_URL, 200, FILE);
    let offer = expect_offer(&mut stage);
    assert_eq!(
        (offer.id.as_str(), offer.target, offer.version.as_str()),
        ("module/fid/9/14112521", Target::Module, "")
    );
    let stored = |stage: &Stage| {
        let stored: serde_json::Value =
            serde_json::from_slice(stage.host.stored("identity").expect("it is stored")).expect("it is JSON");
        (stored["fids"]["module"].clone(), stored["firmware_version"].clone())
    };
    assert_eq!(stored(&stage), (json!(0), json!(null)));
    let update = Update { id: offer.id, phase: Phase::Installing, ..Update::default() };
    stage.host.updates_changed(vec![update.clone()]);
    assert_eq!(stored(&stage), (json!(0), json!(null)));
    becomes(&mut stage, &update, Phase::Finished);
    assert_eq!(stage.host.expect_ota(), acknowledge(&update));
    assert_eq!(stored(&stage), (json!(9), json!("14112521")));
    push_module(&mut stage, 9);
    stage.host.expect_silence();
}

#[test]
fn every_kind_of_failure_is_logged_and_that_firmware_rests_for_a_day() {
    for failure in [
        Failure::Other,
        Failure::Policy,
        Failure::Download,
        Failure::Digest,
        Failure::Space,
        Failure::Install,
        Failure::TooLate,
    ] {
        let (mut stage, update) = with_update(Phase::Installing);
        becomes(&mut stage, &update, Phase::Failed(failure));
        assert_eq!(stage.host.expect_ota(), acknowledge(&update));
        let line = "firmware for the mcu, version 03020000, was not installed: because";
        assert!(stage.host.logs().iter().any(|(_, text)| text == line));
        let shown = "version 03020000: not installed, because";
        assert_eq!(fact(&stage, "mcu_update").as_deref(), Some(shown));
        stage.host.updates_changed(Vec::new());
        push_mcu(&mut stage, MCU_OFFER);
        stage.host.expect_silence();
        assert_eq!(fact(&stage, "mcu_update").as_deref(), Some(shown));
        stage.host.restart();
        stage.open_lan();
        stage.provision();
        stage.log_in();
        push_mcu(&mut stage, MCU_OFFER);
        stage.host.expect_silence();
        let now = stage.host.now().wall.unix_ms;
        stage.host.set_wall(now + 86_400_000, ClockQuality::SYNCED);
        push_mcu(&mut stage, MCU_OFFER);
        answer_file(&mut stage, MCU_URL, 200, FILE);
        assert_eq!(expect_offer(&mut stage).id, update.id);
    }
}

#[test]
fn firmware_that_this_device_cannot_install_at_all_is_shown_and_offered_again_at_the_next_start() {
    let (mut stage, update) = with_update(Phase::Waiting);
    becomes(&mut stage, &update, Phase::Failed(Failure::Unsupported));
    assert_eq!(stage.host.expect_ota(), acknowledge(&update));
    stage.host.updates_changed(Vec::new());
    push_mcu(&mut stage, MCU_OFFER);
    stage.host.expect_silence();
    assert_eq!(fact(&stage, "mcu_update").as_deref(), Some("version 03020000: not installed, because"));
    stage.host.restart();
    stage.open_lan();
    stage.provision();
    stage.log_in();
    push_mcu(&mut stage, MCU_OFFER);
    answer_file(&mut stage, MCU_URL, 200, FILE);
    assert_eq!(expect_offer(&mut stage).id, update.id);
}

#[test]
fn of_an_mcu_that_restarts_the_cloud_hears_when_it_runs_the_new_version() {
    let mut stage = Stage::online_with_checks();
    push_mcu(&mut stage, MCU_OFFER);
    answer_file(&mut stage, MCU_URL, 200, FILE);
    let id = expect_offer(&mut stage).id;
    let update = Update { id, target: Target::Mcu, ..Update::default() };
    becomes(&mut stage, &update, Phase::Finished);
    assert_eq!(stage.host.expect_ota(), acknowledge(&update));
    stage.host.expect_silence();
    stage.host.facts_changed(module::Facts { bindable: true, ..facts() });
    stage.host.expect_silence();
    stage.host.facts_changed(module::Facts { mcu_software: "03020000".to_owned(), ..facts() });
    let (check, request) = stage.http();
    assert_eq!(field(&request.body, "soft_version").as_deref(), Some("03020000"));
    stage.host.http_answer(check, 404, NOTHING);
    stage.host.facts_changed(module::Facts { mcu_software: "03030000".to_owned(), ..facts() });
    stage.host.expect_silence();
}

#[test]
fn firmware_that_names_itself_otherwise_than_the_cloud_does_is_not_installed_for_ever() {
    let (mut stage, update) = with_update(Phase::Installing);
    becomes(&mut stage, &update, Phase::Finished);
    stage.host.expect_ota();
    push_mcu(&mut stage, MCU_OFFER);
    stage.host.expect_silence();
}

#[test]
fn another_product_has_no_updates() {
    let (mut stage, update) = with_update(Phase::Waiting);
    let other = "0123456789abcdef0123456789abcdef";
    stage.host.setup().product = product().to_string().replace(KEY, other);
    stage.host.restart();
    assert_eq!(stage.host.expect_ota(), Request::Cancel(update.id));
}

#[test]
fn a_host_that_installs_nothing_shows_what_there_is() {
    let mut setup = setup(json!({"check_updates": false}));
    setup.services.retain(|service| *service != id::OTA);
    let mut stage = Stage::started(setup);
    stage.register();
    stage.provision();
    stage.log_in();
    push_mcu(&mut stage, MCU_OFFER);
    assert_eq!(fact(&stage, "mcu_update").as_deref(), Some("version 03020000: this host installs none"));
    push_mcu(&mut stage, NOTHING);
    assert_eq!(fact(&stage, "mcu_update"), None);
    stage.host.expect_silence();
}

#[test]
fn where_the_path_is_not_known_the_older_scheme_is_used_and_fid_0_is_sent_as_1() {
    let mut stage = provisioned();
    answer_check(&mut stage, "1", 404, "<html>no such path</html>");
    for kind in ["1", "2"] {
        let (id, request) = stage.http();
        assert_eq!(request.method, "GET");
        let (path, query) = request.url.split_once('?').expect("it has a query");
        assert_eq!(path, "http://api.gizwits.com/dev/ota/target_fid");
        assert_eq!(field(query.as_bytes(), "current_fid").as_deref(), Some("1"));
        assert_eq!(field(query.as_bytes(), "type").as_deref(), Some(kind));
        if kind == "1" {
            stage.host.http_answer(id, 200, "target_fid=9&download_url=http://dl.test/module.bin&");
            answer_file(&mut stage, MODULE_URL, 200, FILE);
            assert_eq!(expect_offer(&mut stage).id, "module/fid/9/14112521");
        } else {
            stage.host.http_answer(id, 404, NOTHING);
        }
    }
    stage.log_in();
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
        stage.host.expect_silence();
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
