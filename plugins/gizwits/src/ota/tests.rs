use proptest::prelude::*;

use super::*;
use crate::api;

const MODULE: Check = Check { kind: Kind::Module, scheme: Scheme::V41 };
const MCU: Check = Check { kind: Kind::Mcu, scheme: Scheme::V41 };
const NOW: Option<u64> = Some(1_795_212_996);

const RUNNING: Running<'static> = Running { module: "04020006", mcu: "03010101", fids: Fids { module: 3, mcu: 0 } };

fn version(soft_ver: &str) -> Offer {
    Offer { target: Target::Version(soft_ver.into()), url: "http://h/x".into() }
}

fn fid(fid: u32) -> Offer {
    Offer { target: Target::Fid(fid), url: "http://h/x".into() }
}

/// The answer of a server without the path.
fn missing() -> Result<Offer, ApiError> {
    api::offered_v41(404, b"Not Found")
}

fn nothing() -> Result<Offer, ApiError> {
    api::offered_v41(404, br#"{"error_code":9034}"#)
}

fn planned(kind: Kind, offer: &Offer) -> Plan {
    Plan { kind, target: offer.target.clone(), url: offer.url.clone(), since: NOW, running: RUNNING.of(kind).into() }
}

/// One whose checks are outstanding from the start on.
fn started() -> Upgrades {
    let mut upgrades = Upgrades::default();
    upgrades.started();
    upgrades
}

#[test]
fn a_start_checks_the_module_and_then_the_mcu_once() {
    let mut upgrades = started();
    assert_eq!(upgrades.next_check(), Some(MODULE));
    assert_eq!(upgrades.next_check(), None);
    assert_eq!(upgrades.answered(nothing(), RUNNING, NOW), Ok(Some(Decision::UpToDate { withdrew: false })));
    assert!(!upgrades.is_done());
    assert_eq!(upgrades.next_check(), Some(MCU));
    upgrades.silent();
    assert!(upgrades.is_done());
    assert_eq!(upgrades.next_check(), None);
}

#[test]
fn any_other_error_is_not_asked_again() {
    let mut upgrades = started();
    for check in [MODULE, MCU] {
        assert_eq!(upgrades.next_check(), Some(check));
        assert_eq!(upgrades.answered(api::offered_v41(500, b""), RUNNING, NOW), Ok(None));
    }
    assert!(upgrades.is_done());
}

#[test]
fn a_server_that_does_not_know_the_path_is_asked_by_id_from_then_on() {
    let mut upgrades = started();
    upgrades.next_check();
    assert_eq!(upgrades.answered(missing(), RUNNING, NOW), Ok(None));
    for kind in Kind::ALL {
        assert_eq!(upgrades.next_check(), Some(Check { kind, scheme: Scheme::Fid }));
        let answer = api::offered_by_fid(404, b"Not Found");
        assert_eq!(upgrades.answered(answer, RUNNING, NOW), Ok(None));
    }
    assert!(upgrades.is_done());
}

#[test]
fn a_check_that_waits_is_not_wanted_twice() {
    let mut upgrades = started();
    upgrades.next_check();
    for _ in 0..100 {
        upgrades.want(Kind::Mcu);
        upgrades.want(Kind::Module);
    }
    for check in [MCU, MODULE] {
        upgrades.silent();
        assert_eq!(upgrades.next_check(), Some(check));
    }
    upgrades.silent();
    assert!(upgrades.is_done());
}

#[test]
fn an_answer_that_nobody_waits_for_is_passed_over() {
    let mut upgrades = Upgrades::default();
    assert_eq!(upgrades.answered(Ok(version("04020007")), RUNNING, NOW), Ok(None));
    assert_eq!(upgrades.offers().count(), 0);
}

#[track_caller]
fn check_offer(kind: Kind, offer: Offer, is_wanted: bool) {
    let expected =
        if is_wanted { Decision::Planned(planned(kind, &offer)) } else { Decision::UpToDate { withdrew: false } };
    assert_eq!(Upgrades::default().offered(kind, offer, RUNNING, NOW), Ok(expected));
}

#[test]
fn firmware_is_wanted_if_it_is_another_than_the_running_one() {
    check_offer(Kind::Module, version("04020007"), true);
    check_offer(Kind::Module, version("04020005"), true);
    check_offer(Kind::Module, version("04020006"), false);
    check_offer(Kind::Mcu, version("04020006"), true);
    check_offer(Kind::Module, fid(4), true);
    check_offer(Kind::Module, fid(2), true);
    check_offer(Kind::Module, fid(3), false);
    // Nothing is stored, which is another id than any.
    check_offer(Kind::Mcu, fid(1), true);
}

#[test]
fn an_answer_becomes_a_plan_of_its_kind() {
    let mut upgrades = started();
    upgrades.next_check();
    let decision = upgrades.answered(Ok(version("04020007")), RUNNING, NOW);
    assert_eq!(decision, Ok(Some(Decision::Planned(planned(Kind::Module, &version("04020007"))))));
    assert_eq!(upgrades.offers().collect::<Vec<_>>(), [&planned(Kind::Module, &version("04020007"))]);
}

#[test]
fn the_same_offer_keeps_its_age_and_takes_the_new_address() {
    let mut upgrades = Upgrades::default();
    upgrades.offered(Kind::Mcu, fid(7), RUNNING, None).unwrap();
    let again = upgrades.offered(Kind::Mcu, fid(7), RUNNING, NOW);
    assert_eq!(again, Ok(Decision::Planned(planned(Kind::Mcu, &fid(7)))));
    assert_eq!(upgrades.offered(Kind::Mcu, fid(7), RUNNING, Some(u64::MAX)), Ok(Decision::Known));
    let moved = Offer { url: "https://h/y".into(), ..fid(7) };
    let decision = upgrades.offered(Kind::Mcu, moved.clone(), RUNNING, Some(u64::MAX));
    assert_eq!(decision, Ok(Decision::Planned(planned(Kind::Mcu, &moved))));
}

#[test]
fn a_newer_offer_takes_the_place_of_an_older_one() {
    let mut upgrades = Upgrades::default();
    upgrades.offered(Kind::Mcu, fid(7), RUNNING, NOW).unwrap();
    upgrades.offered(Kind::Mcu, version("03010102"), RUNNING, NOW).unwrap();
    assert_eq!(upgrades.offers().collect::<Vec<_>>(), [&planned(Kind::Mcu, &version("03010102"))]);
}

#[test]
fn what_the_cloud_does_not_offer_any_more_is_not_planned_any_more() {
    let mut upgrades = started();
    upgrades.offered(Kind::Module, version("04020007"), RUNNING, NOW).unwrap();
    upgrades.offered(Kind::Mcu, fid(7), RUNNING, NOW).unwrap();
    upgrades.next_check();
    assert_eq!(upgrades.answered(nothing(), RUNNING, NOW), Ok(Some(Decision::UpToDate { withdrew: true })));
    // An offer by id was no answer to a check by version, so that says nothing about it.
    upgrades.next_check();
    assert_eq!(upgrades.answered(nothing(), RUNNING, NOW), Ok(Some(Decision::UpToDate { withdrew: false })));
    assert_eq!(upgrades.offers().collect::<Vec<_>>(), [&planned(Kind::Mcu, &fid(7))]);
}

#[test]
fn only_http_and_https_addresses_are_planned() {
    let offered = |url: &str| Upgrades::default().offered(Kind::Mcu, Offer { url: url.into(), ..fid(7) }, RUNNING, NOW);
    for url in ["http://h", "HTTPS://h:8443/x?a=1", "http://[2001:db8::1]/x"] {
        assert!(offered(url).is_ok(), "{url}");
    }
    for url in [
        "",
        "h/x",
        "ftp://h/x",
        "file:///etc/passwd",
        "http://",
        "http:///x",
        "http://:80/",
        "http://a@b/",
        "http://a b/",
        "http://[x",
    ] {
        assert_eq!(offered(url), Err(OfferError::Address), "{url}");
    }
    assert_eq!(offered(&format!("http://h/{}", "x".repeat(1024))), Err(OfferError::Address));
}

#[track_caller]
fn check_runs(offer: Offer, mcu: &str, expected: &[Reached]) {
    let mut upgrades = Upgrades::default();
    upgrades.offered(Kind::Mcu, offer, RUNNING, NOW).unwrap();
    assert_eq!(upgrades.runs(Running { mcu, ..RUNNING }), expected);
    assert_eq!(upgrades.offers().count(), usize::from(expected.is_empty()));
}

#[test]
fn a_plan_is_done_and_its_id_stored_only_when_another_version_runs() {
    let done = |fid| [Reached { kind: Kind::Mcu, fid }];
    check_runs(fid(7), "03010101", &[]);
    check_runs(fid(7), "", &[]);
    check_runs(fid(7), "03010102", &done(Some(7)));
    check_runs(version("03010102"), "03010101", &[]);
    check_runs(version("03010102"), "03010102", &done(None));
    check_runs(version("03010102"), "03010199", &done(None));
}

#[test]
fn an_mcu_that_tells_its_version_late_has_not_changed_it() {
    let mut upgrades = Upgrades::default();
    upgrades.offered(Kind::Mcu, fid(7), Running { mcu: "", ..RUNNING }, NOW).unwrap();
    assert_eq!(upgrades.runs(RUNNING), []);
    assert_eq!(upgrades.runs(Running { mcu: "", ..RUNNING }), []);
    assert_eq!(upgrades.runs(Running { mcu: "03010102", ..RUNNING }), [Reached { kind: Kind::Mcu, fid: Some(7) }]);
}

#[test]
fn plans_survive_a_restart_and_checks_do_not() {
    let mut upgrades = started();
    upgrades.offered(Kind::Module, version("04020007"), RUNNING, NOW).unwrap();
    upgrades.offered(Kind::Mcu, fid(7), RUNNING, None).unwrap();
    let restored = Upgrades::restore(&upgrades.to_stored());
    assert!(restored.is_done());
    assert_eq!(restored.offers().collect::<Vec<_>>(), upgrades.offers().collect::<Vec<_>>());
}

#[test]
fn damaged_plans_are_dropped() {
    assert_eq!(Upgrades::restore(b"[{"), Upgrades::default());
    let stored = br#"[{"kind":"mcu","target":{"fid":7},"url":"ftp://h","since":null,"running":"1"}]"#;
    assert_eq!(Upgrades::restore(stored), Upgrades::default());
    let stored = String::from_utf8(stored.to_vec()).unwrap().replace("ftp", "http");
    assert_eq!(Upgrades::restore(stored.as_bytes()).offers().count(), 1);
}

#[test]
fn another_product_has_no_plans() {
    let mut upgrades = started();
    upgrades.offered(Kind::Mcu, fid(7), RUNNING, NOW).unwrap();
    upgrades.clear();
    assert_eq!(upgrades, Upgrades::default());
}

proptest! {
    #[test]
    fn nothing_stored_or_offered_can_panic_the_decisions(stored: Vec<u8>, url in "\\PC{0,60}", soft_ver in "\\PC{0,12}") {
        let mut upgrades = Upgrades::restore(&stored);
        let offer = Offer { target: Target::Version(soft_ver.clone()), url };
        let _ = upgrades.offered(Kind::Mcu, offer, RUNNING, None);
        let _ = upgrades.runs(Running { mcu: &soft_ver, ..RUNNING });
    }
}
