//! Upgrades that the platform orders: what the host is offered, what the platform is told meanwhile and in the end, and how
//! that goes on over broken connections and restarts.

mod any_order;
mod subdevices;

use polylink_plugin_sdk::ClockQuality;
use polylink_plugin_sdk::services::ota::{Digest, Failure, Offer, Phase, Request, Target, Update};
use polylink_plugin_sdk::services::{Reason, id, module};
use polylink_plugin_sdk::testing::Setup;
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, merged, online, setup, setup_registered};

fn file(file_type: &str, dev_num: u32, software: &str) -> Value {
    json!({
        "fileType": file_type, "devNum": dev_num, "software": software,
        "hardware": if dev_num == 0 { "1.0" } else { "2.1" },
        "url": "http://open.clife.cn/f.bin", "md5": "d41d8cd98f00b204e9800998ecf8427e", "checkSum": 34_458_424,
    })
}

fn upgrade(files: &[Value]) -> Value {
    json!({"fileMode": "DOWN", "productVer": 2, "fileInfo": files})
}

fn module_upgrade() -> Value {
    upgrade(&[file("FIRM", 0, "3.0.0.2")])
}

/// Orders that come later and end sooner.
fn windowed(start: i64, stop: i64) -> Value {
    merged(module_upgrade(), json!({"startTime": start, "stopTime": stop}))
}

/// A device with an upgrade of its module, which its host has.
struct Going {
    cloud: Cloud,
    /// The number of the order.
    order: Value,
    update: Update,
}

#[track_caller]
fn expect_offer(cloud: &mut Cloud) -> Offer {
    match cloud.host.expect_ota() {
        Request::Offer(offer) => *offer,
        other => panic!("{other:?}"),
    }
}

fn update_of(offer: &Offer) -> Update {
    let Offer { id, target, version, .. } = offer.clone();
    Update { id, target, version, ..Update::default() }
}

/// The next thing that the platform is told, which the broker takes; it carries this number.
#[track_caller]
fn told(cloud: &mut Cloud, order: &Value) -> (i64, String) {
    let sent = cloud.expect(2018);
    assert_eq!(&sent.id, order, "{}", sent.body);
    cloud.host.published(sent.publish.id);
    (sent.body["respCode"].as_i64().unwrap(), sent.body["respCont"].as_str().unwrap().to_owned())
}

#[track_caller]
fn expect_told(cloud: &mut Cloud, order: &Value, expected: &[(i64, &str)]) {
    for (code, text) in expected {
        assert_eq!(told(cloud, order), (*code, (*text).to_owned()));
    }
}

/// The versions, which the platform did not ask for: under a number of the device.
#[track_caller]
fn expect_versions(cloud: &mut Cloud, product_ver: i64, module: &str) {
    let sent = cloud.expect(2018);
    assert_eq!((&sent.body["respCode"], &sent.body["productVer"]), (&json!(3), &json!(product_ver)));
    assert_eq!(sent.body["devVer"][0], json!({"software": module, "hardware": "1.0", "devNum": 0}));
    assert!(sent.id.as_i64().unwrap() < 900_000, "{}", sent.id);
    cloud.host.published(sent.publish.id);
}

fn going_with(request: Value) -> Going {
    let mut cloud = online(json!({}));
    let order = cloud.ask(2019, request);
    let update = update_of(&expect_offer(&mut cloud));
    cloud.host.updates_changed(vec![update.clone()]);
    cloud.host.expect_silence();
    Going { cloud, order, update }
}

fn going() -> Going {
    going_with(module_upgrade())
}

impl Going {
    fn becomes(&mut self, phase: Phase, percent: u8) {
        let update = Update { phase, percent, reason: "because".to_owned(), ..self.update.clone() };
        self.cloud.host.updates_changed(vec![update]);
    }

    #[track_caller]
    fn expect_told(&mut self, expected: &[(i64, &str)]) {
        expect_told(&mut self.cloud, &self.order, expected);
    }

    #[track_caller]
    fn expect_acknowledged(&mut self) {
        assert_eq!(self.cloud.host.expect_ota(), Request::Acknowledge(self.update.id.clone()));
    }

    /// The module was restarted, and the device comes back.
    #[track_caller]
    fn restart(&mut self) {
        self.cloud.host.restart();
        self.cloud.come_online();
    }

    /// As [`Self::restart`], and meanwhile this has changed.
    #[track_caller]
    fn restart_with(&mut self, change: impl FnOnce(&mut Setup)) {
        let mut setup = self.cloud.host.setup().clone();
        change(&mut setup);
        self.cloud = Cloud::started(setup);
        self.cloud.come_online();
    }
}

fn facts(module_software: &str) -> module::Facts {
    module::Facts { module_software: module_software.to_owned(), ..setup(json!({})).facts }
}

/// An upgrade that goes this far and fails so tells this and nothing else, and another one may come.
#[track_caller]
fn check_failure(reached: &[(Phase, u8)], failure: Failure, expected: &[(i64, &str)]) {
    let mut going = going();
    for (phase, percent) in reached {
        going.becomes(*phase, *percent);
    }
    going.becomes(Phase::Failed(failure), 0);
    going.expect_told(expected);
    going.expect_acknowledged();
    going.cloud.host.updates_changed(vec![]);
    going.cloud.host.expect_silence();
    going.cloud.ask(2019, module_upgrade());
    expect_offer(&mut going.cloud);
}

#[test]
fn the_host_is_offered_what_was_ordered_with_both_digests() {
    let mut cloud = online(json!({}));
    cloud.ask(2019, module_upgrade());
    let offer = expect_offer(&mut cloud);
    let md5 = *b"\xd4\x1d\x8c\xd9\x8f\x00\xb2\x04\xe9\x80\x09\x98\xec\xf8\x42\x7e";
    let expected = Offer {
        id: offer.id.clone(),
        target: Target::Module,
        version: "3.0.0.2".to_owned(),
        url: "http://open.clife.cn/f.bin".to_owned(),
        digests: vec![Digest::Md5(md5), Digest::ByteSum(34_458_424)],
        ..Offer::default()
    };
    assert_eq!(offer, expected);
    cloud.host.expect_silence();
    cloud.assert_fact("file_operation", "upgrade to version 2: waiting");
}

#[test]
fn a_subdevice_with_the_number_of_the_mcu_is_the_mcu() {
    for (settings, number) in [(json!({}), 1), (json!({"mcu_dev_num": 7}), 7)] {
        let mut cloud = online(settings);
        cloud.ask(2019, upgrade(&[file("SUBFIRM", number, "1.0.3")]));
        assert_eq!(expect_offer(&mut cloud).target, Target::Mcu);
    }
}

#[test]
fn a_success_tells_each_of_the_four_events_once_and_then_the_versions() {
    let mut going = going();
    going.becomes(Phase::Downloading, 0);
    going.cloud.host.expect_silence();
    going.becomes(Phase::Downloading, 1);
    going.expect_told(&[(1, "1")]);
    going.becomes(Phase::Downloading, 1);
    going.becomes(Phase::Installing, 0);
    going.becomes(Phase::Installing, 0);
    going.expect_told(&[(1, "100"), (0, "1")]);
    going.cloud.host.facts_changed(facts("3.0.0.2"));
    going.cloud.host.expect_silence();
    going.becomes(Phase::Finished, 100);
    going.expect_told(&[(0, "100")]);
    going.expect_acknowledged();
    expect_versions(&mut going.cloud, 2, "3.0.0.2");
    going.cloud.host.expect_silence();
    assert_eq!(going.cloud.fact("file_operation"), None);
    // The version of the product stays.
    going.cloud.host.updates_changed(vec![]);
    going.restart();
    going.cloud.ask(2019, json!({"fileMode": "QUERY"}));
    assert_eq!(going.cloud.expect_frame(2018).1["productVer"], 2);
}

#[test]
fn more_progress_is_told_in_steps_of_ten_at_most_once_a_second() {
    let mut going = going();
    for percent in 1..=99 {
        going.becomes(Phase::Downloading, percent);
        going.cloud.host.advance(100);
    }
    going.expect_told(&[(1, "1"), (1, "11"), (1, "21"), (1, "31")]);
}

#[test]
fn each_failure_has_its_event() {
    let loading = (Phase::Downloading, 50);
    let installing = (Phase::Installing, 0);
    check_failure(&[], Failure::Download, &[(-1, "0")]);
    check_failure(&[(Phase::Downloading, 0)], Failure::Download, &[(-1, "0")]);
    check_failure(&[loading], Failure::Download, &[(1, "1"), (1, "50"), (-1, "1")]);
    check_failure(&[loading], Failure::Digest, &[(1, "1"), (1, "50"), (1, "100"), (-1, "2")]);
    check_failure(&[], Failure::Digest, &[(1, "1"), (1, "100"), (-1, "2")]);
    check_failure(&[installing], Failure::Install, &[(1, "1"), (1, "100"), (0, "1"), (-1, "1")]);
    check_failure(&[], Failure::Install, &[(1, "1"), (1, "100"), (0, "1"), (-1, "1")]);
    check_failure(&[installing], Failure::Digest, &[(1, "1"), (1, "100"), (0, "1"), (-1, "1")]);
    check_failure(&[], Failure::Unsupported, &[(-1, "this device cannot install it")]);
    check_failure(&[], Failure::Policy, &[(-1, "the rules of the owner forbid it")]);
    check_failure(&[loading], Failure::Space, &[(1, "1"), (1, "50"), (-1, "no space")]);
    check_failure(&[], Failure::TooLate, &[(-1, "1")]);
    check_failure(&[], Failure::Cancelled, &[(-1, "1")]);
    check_failure(&[loading], Failure::Other, &[(1, "1"), (1, "50"), (-1, "1")]);
}

#[test]
fn a_failed_upgrade_leaves_the_version_of_the_product() {
    let mut going = going();
    going.becomes(Phase::Failed(Failure::Install), 0);
    going.expect_told(&[(1, "1"), (1, "100"), (0, "1"), (-1, "1")]);
    going.cloud.ask(2019, json!({"fileMode": "QUERY"}));
    assert_eq!(going.cloud.expect_frame(2018).1["productVer"], 1);
}

#[test]
fn the_window_is_relative_to_the_request_and_its_end_is_the_end_of_the_transfer() {
    let mut cloud = online(json!({}));
    let now = cloud.host.now().wall.unix_ms;
    cloud.ask(2019, windowed(60, 600));
    let offer = expect_offer(&mut cloud);
    assert_eq!((offer.not_before_ms, offer.not_after_ms, offer.spread_ms), (now + 60_000, now + 600_000, 0));
    let update = update_of(&offer);
    cloud.host.updates_changed(vec![Update { phase: Phase::Downloading, percent: 1, ..update.clone() }]);
    cloud.host.take_outputs();
    cloud.host.advance(599_999);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    assert_eq!(cloud.host.expect_ota(), Request::Cancel(update.id));
    // An installation goes on, which the host knows.
    cloud.host.expect_silence();
}

#[test]
fn devices_begin_at_a_random_moment_if_the_settings_want_it() {
    let mut cloud = online(json!({"ota_random_delay_s": 300}));
    cloud.ask(2019, module_upgrade());
    let offer = expect_offer(&mut cloud);
    assert_eq!((offer.not_before_ms, offer.spread_ms), (0, 300_000));
}

#[test]
fn a_deadline_holds_over_a_restart() {
    let mut going = going_with(windowed(-5, 600));
    going.cloud.host.advance(400_000);
    going.restart();
    going.cloud.host.take_outputs();
    going.cloud.host.advance(199_000);
    going.cloud.host.expect_silence();
    going.cloud.host.advance(1_000);
    assert_eq!(going.cloud.host.expect_ota(), Request::Cancel(going.update.id.clone()));
    going.becomes(Phase::Failed(Failure::Cancelled), 0);
    going.expect_told(&[(-1, "1")]);
}

#[test]
fn a_device_that_does_not_know_the_time_cannot_wait_for_a_moment() {
    let mut unset = setup(json!({"require_connect_ack": false, "connect_attempts": 1}));
    unset.wall.quality = ClockQuality::UNSET;
    let mut cloud = Cloud::started(unset);
    cloud.ahead_ms = -cloud.host.now().wall.unix_ms;
    cloud.register();
    cloud.come_online();
    cloud.host.take_outputs();
    cloud.ask(2019, windowed(60, 600));
    let says = json!({"respCode": -1, "respCont": "the clock of this device is not set"});
    assert_eq!(cloud.expect_frame(2018).1, says);
    cloud.ask(2019, windowed(0, 600));
    assert_eq!(expect_offer(&mut cloud).not_before_ms, 0);
}

#[test]
fn another_operation_finds_the_device_busy_but_a_query_is_answered() {
    let mut going = going();
    for request in [
        module_upgrade(),
        json!({"fileMode": "UP", "fileInfo": [{"fileType": "LOG", "url": "http://h/up"}]}),
        merged(upgrade(&[file("FIRM", 0, "3.0.0.1")]), json!({"productVer": 1})),
    ] {
        let id = going.cloud.ask(2019, request);
        assert_eq!(going.cloud.expect_frame(2018), (id, json!({"respCode": -1, "respCont": "0"})));
    }
    going.cloud.ask(2019, json!({"fileMode": "QUERY"}));
    assert_eq!(going.cloud.expect_frame(2018).1["respCode"], 3);
    going.cloud.host.expect_silence();
}

#[test]
fn a_repeated_order_says_nothing_however_late_it_comes() {
    let mut going = going();
    for wait_ms in [0, 1_000, 600_000] {
        going.cloud.host.advance(wait_ms);
        let order = going.order.clone();
        going.cloud.say(2019, &order, module_upgrade());
        going.cloud.host.expect_silence();
    }
    going.restart();
    going.cloud.host.take_outputs();
    let order = going.order.clone();
    going.cloud.say(2019, &order, module_upgrade());
    going.cloud.host.expect_silence();
}

#[test]
fn several_firmwares_are_one_operation_installed_in_their_order() {
    let mut cloud = online(json!({}));
    let order = cloud.ask(2019, upgrade(&[file("FIRM", 0, "3.0.0.2"), file("SUBFIRM", 1, "1.0.3")]));
    let first = update_of(&expect_offer(&mut cloud));
    cloud.host.expect_silence();
    let with = |update: &Update, phase, percent| Update { phase, percent, ..update.clone() };
    let done = with(&first, Phase::Finished, 100);
    cloud.host.updates_changed(vec![with(&first, Phase::Downloading, 40)]);
    expect_told(&mut cloud, &order, &[(1, "1"), (1, "20")]);
    cloud.host.updates_changed(vec![with(&first, Phase::Installing, 50)]);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.host.updates_changed(vec![done.clone()]);
    let second = update_of(&expect_offer(&mut cloud));
    assert_eq!((second.target, second.id != first.id), (Target::Mcu, true));
    expect_told(&mut cloud, &order, &[(1, "50")]);
    cloud.host.updates_changed(vec![done.clone(), with(&second, Phase::Installing, 0)]);
    expect_told(&mut cloud, &order, &[(1, "100"), (0, "1")]);
    cloud.host.updates_changed(vec![done, with(&second, Phase::Finished, 100)]);
    expect_told(&mut cloud, &order, &[(0, "100")]);
    assert_eq!(cloud.host.expect_ota(), Request::Acknowledge(first.id));
    assert_eq!(cloud.host.expect_ota(), Request::Acknowledge(second.id));
    assert_eq!(cloud.expect(2018).body["respCode"], 3);
}

#[test]
fn a_second_firmware_that_fails_ends_the_operation_and_what_runs_is_told() {
    let mut cloud = online(json!({}));
    let order = cloud.ask(2019, upgrade(&[file("FIRM", 0, "3.0.0.2"), file("SUBFIRM", 1, "1.0.3")]));
    let done = Update { phase: Phase::Finished, ..update_of(&expect_offer(&mut cloud)) };
    cloud.host.facts_changed(facts("3.0.0.2"));
    cloud.host.updates_changed(vec![done.clone()]);
    let second = update_of(&expect_offer(&mut cloud));
    let failed = Update { phase: Phase::Failed(Failure::Download), ..second };
    cloud.host.updates_changed(vec![done, failed]);
    let mut events = vec![told(&mut cloud, &order)];
    while events.last().unwrap().0 != -1 {
        events.push(told(&mut cloud, &order));
    }
    assert_eq!((events[0].clone(), events.last().unwrap().1.as_str()), ((1, "1".to_owned()), "1"));
    cloud.host.expect_ota();
    cloud.host.expect_ota();
    expect_versions(&mut cloud, 1, "3.0.0.2");
}

#[test]
fn a_first_firmware_that_fails_keeps_the_second_from_the_host() {
    let mut cloud = online(json!({}));
    let order = cloud.ask(2019, upgrade(&[file("FIRM", 0, "3.0.0.2"), file("SUBFIRM", 1, "1.0.3")]));
    let first = update_of(&expect_offer(&mut cloud));
    cloud.host.updates_changed(vec![Update { phase: Phase::Failed(Failure::Install), ..first.clone() }]);
    expect_told(&mut cloud, &order, &[(1, "1"), (-1, "1")]);
    assert_eq!(cloud.host.expect_ota(), Request::Acknowledge(first.id));
    cloud.host.expect_silence();
}

#[test]
fn an_upgrade_goes_on_over_the_restart_that_it_needs() {
    let mut going = going();
    going.becomes(Phase::Downloading, 50);
    going.expect_told(&[(1, "1"), (1, "50")]);
    going.becomes(Phase::Installing, 0);
    going.expect_told(&[(1, "100"), (0, "1")]);
    let finished = Update { phase: Phase::Finished, percent: 100, ..going.update.clone() };
    going.restart_with(|setup| {
        setup.updates = vec![finished];
        setup.facts = facts("3.0.0.2");
    });
    going.expect_told(&[(0, "100")]);
    going.expect_acknowledged();
    expect_versions(&mut going.cloud, 2, "3.0.0.2");
}

#[test]
fn a_restart_in_a_download_tells_nothing_twice() {
    let mut going = going();
    going.becomes(Phase::Downloading, 50);
    going.expect_told(&[(1, "1"), (1, "50")]);
    going.restart();
    going.cloud.host.take_outputs();
    going.cloud.host.advance(5_000);
    going.becomes(Phase::Downloading, 80);
    going.cloud.host.expect_silence();
    going.becomes(Phase::Installing, 0);
    going.expect_told(&[(1, "100"), (0, "1")]);
    going.becomes(Phase::Failed(Failure::Install), 0);
    going.expect_told(&[(-1, "1")]);
}

#[test]
fn what_happens_while_the_device_is_away_is_told_when_it_is_back() {
    let mut going = going();
    going.cloud.cut();
    going.becomes(Phase::Downloading, 1);
    going.becomes(Phase::Downloading, 60);
    going.becomes(Phase::Installing, 0);
    going.becomes(Phase::Finished, 100);
    going.cloud.reconnect();
    going.expect_told(&[(1, "1"), (1, "100"), (0, "1"), (0, "100")]);
    going.expect_acknowledged();
}

#[test]
fn an_event_goes_again_until_the_broker_has_it() {
    let mut going = going();
    going.becomes(Phase::Downloading, 1);
    let first = going.cloud.expect(2018);
    going.cloud.host.publish_failed(first.publish.id, Reason::Quota);
    going.cloud.host.expect_silence();
    going.cloud.host.advance(1_000);
    assert_eq!(going.cloud.expect(2018).body, first.body);
    going.cloud.cut();
    going.cloud.reconnect();
    going.expect_told(&[(1, "1")]);
    going.cloud.cut();
    going.cloud.reconnect();
    going.becomes(Phase::Installing, 0);
    going.expect_told(&[(1, "100"), (0, "1")]);
}

#[test]
fn versions_that_become_known_after_the_upgrade_are_told_again() {
    let mut going = going();
    going.becomes(Phase::Finished, 100);
    going.expect_told(&[(1, "1"), (1, "100"), (0, "1"), (0, "100")]);
    expect_versions(&mut going.cloud, 2, "3.0.0.1");
    going.cloud.host.take_outputs();
    going.cloud.host.facts_changed(facts("3.0.0.2"));
    expect_versions(&mut going.cloud, 2, "3.0.0.2");
    going.cloud.host.facts_changed(facts("3.0.0.2"));
    going.cloud.host.expect_silence();
}

#[test]
fn a_host_that_does_not_know_the_update_is_not_waited_for() {
    let mut cloud = online(json!({}));
    let order = cloud.ask(2019, module_upgrade());
    expect_offer(&mut cloud);
    cloud.host.advance(9_999);
    cloud.host.expect_silence();
    cloud.host.advance(1);
    expect_told(&mut cloud, &order, &[(-1, "1")]);
    cloud.host.expect_silence();
    // Nor taken at its word because the version runs anyway.
    let mut cloud = online(json!({"ota_skip_same": false}));
    let order = cloud.ask(2019, upgrade(&[file("FIRM", 0, "3.0.0.1")]));
    expect_offer(&mut cloud);
    cloud.host.advance(10_000);
    expect_told(&mut cloud, &order, &[(-1, "1")]);
    // The power failed after the host had forgotten it, before the order was.
    let mut going = going();
    going.becomes(Phase::Installing, 0);
    going.expect_told(&[(1, "1"), (1, "100"), (0, "1")]);
    going.restart_with(|setup| {
        setup.updates.clear();
        setup.facts = facts("3.0.0.2");
    });
    going.cloud.host.take_outputs();
    going.cloud.host.advance(10_000);
    going.expect_told(&[(0, "100")]);
}

#[test]
fn what_a_host_had_not_noted_when_the_power_failed_is_offered_again() {
    let mut cloud = online(json!({}));
    let order = cloud.ask(2019, windowed(60, 600));
    let offer = expect_offer(&mut cloud);
    cloud.host.advance(5_000);
    cloud.host.restart();
    assert_eq!(expect_offer(&mut cloud), offer);
    cloud.come_online();
    cloud.host.take_outputs();
    cloud.host.updates_changed(vec![update_of(&offer)]);
    cloud.host.advance(20_000);
    cloud.host.expect_silence();
    cloud.host.updates_changed(vec![Update { phase: Phase::Finished, ..update_of(&offer) }]);
    expect_told(&mut cloud, &order, &[(1, "1"), (1, "100"), (0, "1"), (0, "100")]);
}

#[test]
fn updates_without_an_order_are_taken_back_or_forgotten() {
    let mut lost = setup_registered(json!({}));
    let update = |id: &str, phase| Update { id: id.to_owned(), phase, ..Update::default() };
    lost.updates = vec![
        update("1/0", Phase::Waiting),
        update("2/0", Phase::Installing),
        update("3/0", Phase::Failed(Failure::Other)),
        update("odd", Phase::Finished),
    ];
    let mut cloud = Cloud::started(lost);
    for expected in
        [Request::Cancel("1/0".into()), Request::Acknowledge("3/0".into()), Request::Acknowledge("odd".into())]
    {
        assert_eq!(cloud.host.expect_ota(), expected);
    }
    cloud.come_online();
    cloud.host.updates_changed(vec![update("2/0", Phase::Finished)]);
    assert_eq!(cloud.host.expect_ota(), Request::Acknowledge("2/0".into()));
}

#[test]
fn a_host_that_installs_no_longer_ends_the_operation() {
    let mut going = going_with(windowed(0, 600));
    going.restart_with(|setup| {
        setup.services.retain(|service| *service != id::OTA);
        setup.updates.clear();
    });
    going.expect_told(&[(-1, "1")]);
    going.cloud.host.advance(600_000);
}

#[test]
fn another_version_in_the_settings_counts_more_than_that_of_a_former_upgrade() {
    let mut going = going();
    going.becomes(Phase::Finished, 100);
    going.expect_told(&[(1, "1"), (1, "100"), (0, "1"), (0, "100")]);
    going.restart_with(|setup| {
        let settings: Value = serde_json::from_str(&setup.settings).unwrap();
        setup.settings = merged(settings, json!({"product_ver": 5})).to_string();
        setup.updates.clear();
    });
    let cloud = &mut going.cloud;
    cloud.ask(2019, json!({"fileMode": "QUERY"}));
    assert_eq!(cloud.expect_frame(2018).1["productVer"], 5);
}

#[test]
fn an_upgrade_behind_the_abi_ends_well() {
    let mut cloud = Cloud::started_behind_the_abi(setup(json!({})));
    cloud.register();
    cloud.come_online();
    let order = cloud.ask(2019, module_upgrade());
    let update = update_of(&expect_offer(&mut cloud));
    cloud.host.updates_changed(vec![Update { phase: Phase::Finished, ..update }]);
    expect_told(&mut cloud, &order, &[(1, "1"), (1, "100"), (0, "1"), (0, "100")]);
}
