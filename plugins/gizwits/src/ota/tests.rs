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

fn wanted(kind: Kind, offer: Offer) -> Wanted {
    Wanted { kind, target: offer.target, url: offer.url }
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
    assert_eq!(upgrades.answered(nothing(), RUNNING), Ok(Some(Decision::UpToDate(MODULE))));
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
        assert_eq!(upgrades.answered(api::offered_v41(500, b""), RUNNING), Ok(None));
    }
    assert!(upgrades.is_done());
}

#[test]
fn a_server_that_does_not_know_the_path_is_asked_by_id_from_then_on() {
    let mut upgrades = started();
    upgrades.next_check();
    assert_eq!(upgrades.answered(missing(), RUNNING), Ok(None));
    for kind in Kind::ALL {
        assert_eq!(upgrades.next_check(), Some(Check { kind, scheme: Scheme::Fid }));
        let answer = api::offered_by_fid(404, b"Not Found");
        assert_eq!(upgrades.answered(answer, RUNNING), Ok(None));
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
    assert_eq!(upgrades.answered(Ok(version("04020007")), RUNNING), Ok(None));
}

#[track_caller]
fn check_offer(kind: Kind, offer: Offer, is_wanted: bool) {
    let scheme = Scheme::of(&offer.target);
    let expected = if is_wanted {
        Decision::Wanted(wanted(kind, offer.clone()))
    } else {
        Decision::UpToDate(Check { kind, scheme })
    };
    assert_eq!(decide(kind, offer, RUNNING), Ok(expected));
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
fn an_answer_is_about_the_kind_that_was_asked_for() {
    let mut upgrades = started();
    upgrades.next_check();
    let decision = upgrades.answered(Ok(version("04020007")), RUNNING);
    assert_eq!(decision, Ok(Some(Decision::Wanted(wanted(Kind::Module, version("04020007"))))));
}

#[test]
fn only_http_and_https_addresses_are_wanted() {
    let offered = |url: &str| decide(Kind::Mcu, Offer { url: url.into(), ..fid(7) }, RUNNING);
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

#[test]
fn what_failed_rests_for_a_day_unless_another_firmware_of_its_kind_is_tried() {
    let (failed, other) = (wanted(Kind::Mcu, version("2")), wanted(Kind::Mcu, version("3")));
    let mut upgrades = Upgrades::default();
    assert!(upgrades.settle(Kind::Mcu, failed.target.clone(), NOW));
    assert!(!upgrades.settle(Kind::Mcu, failed.target.clone(), None));
    let rests = |upgrades: &Upgrades, wanted: &Wanted, s: u64| upgrades.rests(wanted, NOW.map(|now| now + s));
    assert!(rests(&upgrades, &failed, 86_399) && upgrades.rests(&failed, None));
    assert!(!rests(&upgrades, &failed, 86_400) && !upgrades.rests(&failed, Some(0)));
    assert!(!rests(&upgrades, &other, 0));
    assert!(!rests(&upgrades, &Wanted { kind: Kind::Module, ..failed.clone() }, 0));
    assert!(!upgrades.tried(Kind::Module) && upgrades.tried(Kind::Mcu));
    assert!(!rests(&upgrades, &failed, 0));
}

#[test]
fn what_failed_before_the_clock_was_set_rests_from_then_on() {
    let failed = wanted(Kind::Mcu, version("2"));
    let mut upgrades = Upgrades::default();
    upgrades.settle(Kind::Mcu, failed.target.clone(), None);
    assert!(!upgrades.date(None) && upgrades.rests(&failed, NOW));
    assert!(upgrades.date(NOW) && !upgrades.date(NOW.map(|now| now + 1)));
    assert!(!upgrades.rests(&failed, NOW.map(|now| now + 86_400)));
}

#[test]
fn what_rests_survives_a_restart_and_checks_do_not() {
    let mut upgrades = started();
    upgrades.settle(Kind::Module, fid(9).target, NOW);
    upgrades.settle(Kind::Mcu, version("2").target, None);
    let restored = Upgrades::restore(&upgrades.to_stored());
    assert!(restored.is_done());
    assert_eq!(restored.to_stored(), upgrades.to_stored());
    assert!(restored.rests(&wanted(Kind::Module, fid(9)), NOW));
    assert_eq!(Upgrades::restore(b"[{"), Upgrades::default());
}

#[test]
fn for_another_product_nothing_rests() {
    let mut upgrades = started();
    upgrades.settle(Kind::Mcu, fid(7).target, NOW);
    upgrades.clear();
    assert_eq!(upgrades, Upgrades::default());
}

proptest! {
    #[test]
    fn nothing_stored_or_offered_can_panic_the_decisions(stored: Vec<u8>, url in "\\PC{0,60}", soft_ver in "\\PC{0,12}", now: u64) {
        let mut upgrades = Upgrades::restore(&stored);
        upgrades.date(Some(now));
        let offer = Offer { target: Target::Version(soft_ver.clone()), url };
        if let Ok(Decision::Wanted(wanted)) = decide(Kind::Mcu, offer, RUNNING) {
            let _ = upgrades.rests(&wanted, Some(now));
        }
    }
}
