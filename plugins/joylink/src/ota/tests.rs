use proptest::prelude::*;

use super::OtaPhase::{Downloading, Failed, Finished, Installing};
use super::*;
use crate::wire::ota::Firmware;

const OWN: &str = "1001";
const SUB: &str = "2002";
const PRODUCT: &str = "XDFSSD";
const REPORT_S: u32 = 30;

/// A gateway that runs version 5, with a sub-device that runs 7, and the time.
struct Unit {
    upgrades: Upgrades,
    own: Option<u16>,
    sub: Option<u16>,
    now: u64,
    /// Statuses are answered as soon as they are sent.
    answers: bool,
}

impl Unit {
    fn new() -> Self {
        let mut upgrades = Upgrades::new(REPORT_S);
        upgrades.authenticated(Timestamp(0));
        Self { upgrades, own: Some(5), sub: Some(7), now: 0, answers: true }
    }

    /// The code of the answer, and the image that the engine is to begin with.
    fn order(&mut self, firmware: Firmware) -> (i32, Option<Image>) {
        let (code, taken) = self.give(firmware);
        match taken {
            Some(Taken::New(image)) => (code, Some(image)),
            Some(Taken::Again(_)) | None => (code, None),
        }
    }

    fn give(&mut self, firmware: Firmware) -> (i32, Option<Taken>) {
        let devices = [
            Device { target: Target::Own(feed(OWN)), productuuid: PRODUCT, version: self.own },
            Device { target: Target::Sub(feed(SUB)), productuuid: "SUBSUB", version: self.sub },
        ];
        let order = OtaOrder { serial: 33, firmware };
        let (answer, taken) = self.upgrades.take_order(Timestamp(self.now), &order, devices);
        assert_eq!((answer.serial, answer.msg.as_str()), (33, answer.code.text()));
        assert_eq!(taken.is_some(), answer.code.is_success());
        (answer.code.0, taken)
    }

    /// All that is sent until then, with the time; polled only when it wants to be.
    fn until(&mut self, end: u64) -> Vec<(u64, OtaPhase, u8)> {
        let mut told = Vec::new();
        for _ in 0..1000 {
            while let Some(status) = self.upgrades.poll(Timestamp(self.now)) {
                told.push((self.now, status.status, status.progress));
                if self.answers {
                    assert!(self.answer());
                }
            }
            match self.upgrades.next_timeout() {
                Some(next) if next.0 <= end => {
                    assert!(next.0 > self.now, "a timeout that brings nothing");
                    self.now = next.0;
                }
                _ => break,
            }
        }
        self.now = end;
        told
    }

    fn progress(&mut self, stage: Stage, percent: u8) {
        assert!(self.upgrades.progress(Timestamp(self.now), stage, percent));
    }

    fn answer(&mut self) -> bool {
        self.upgrades.answered(Timestamp(self.now))
    }

    /// Only what was stored is left.
    fn restart(&mut self, running: u16, engine: Resumed) {
        assert!(self.upgrades.take_changed());
        let stored = self.upgrades.stored();
        self.upgrades = Upgrades::new(REPORT_S);
        assert_eq!(self.upgrades.restore(&stored), Ok(()));
        assert!(!self.upgrades.take_changed());
        (self.now, self.own) = (0, Some(running));
        self.upgrades.resumed(Timestamp(0), self.own, engine);
        assert_eq!(self.until(5_000), []);
        self.upgrades.authenticated(Timestamp(5_000));
    }
}

fn feed(text: &str) -> FeedId {
    FeedId::new(text).unwrap()
}

fn firmware(version: i64) -> Firmware {
    Firmware {
        feedid: feed(OWN),
        productuuid: PRODUCT.into(),
        version,
        versionname: "1.2.1.20151030_release".into(),
        crc32: 0x2DFD_2D88,
        url: "http://storage.example/6.bin".into(),
    }
}

#[test]
fn an_upgrade_with_a_reboot_is_told_from_the_order_to_the_new_version() {
    let mut unit = Unit::new();
    let (code, image) = unit.order(firmware(6));
    let image = image.unwrap();
    assert_eq!((code, image.target, image.version, image.crc32), (0, Target::Own(feed(OWN)), 6, 0x2DFD_2D88));
    assert_eq!(unit.until(1_000), [(0, Downloading, 0)]);
    // Progress alone waits for the next report.
    unit.progress(Stage::Downloading, 40);
    assert_eq!(unit.until(50_000), [(30_000, Downloading, 40)]);
    unit.progress(Stage::Installing, 0);
    unit.progress(Stage::Installing, 250);
    assert_eq!(unit.until(60_000), [(50_000, Installing, 100)]);
    unit.restart(6, Resumed::Idle);
    assert_eq!(unit.upgrades.current(), None);
    assert_eq!(unit.until(1_000_000), [(5_000, Finished, 100)]);
    assert!(unit.upgrades.take_changed());
    assert_eq!(unit.order(firmware(6)).0, 6);
}

#[test]
fn a_version_that_does_not_start_is_told_as_failed_and_may_be_ordered_again() {
    let mut unit = Unit::new();
    unit.order(firmware(6));
    unit.progress(Stage::Installing, 10);
    unit.restart(5, Resumed::Idle);
    let status = unit.upgrades.poll(Timestamp(5_000)).unwrap();
    assert_eq!((status.status, status.status_desc.as_str()), (Failed, "the new version did not start"));
    assert_eq!((status.feedid, status.productuuid.as_str()), (feed(OWN), PRODUCT));
    assert!(unit.answer() && !unit.answer());
    let (code, image) = unit.order(firmware(6));
    assert!(code == 0 && image.is_some());
}

#[test]
fn after_a_restart_the_engine_decides_whether_it_goes_on() {
    let mut unit = Unit::new();
    unit.order(firmware(6));
    unit.restart(5, Resumed::Continues);
    assert_eq!(unit.upgrades.current().unwrap().version, 6);
    assert_eq!(unit.until(6_000), [(5_000, Downloading, 0)]);
    assert_eq!(unit.order(firmware(7)), (22, None));
    unit.progress(Stage::Installing, 0);
    // That the new version runs does not prove that it works.
    unit.restart(6, Resumed::Continues);
    assert_eq!(unit.until(6_000), [(5_000, Installing, 0)]);
    assert!(unit.upgrades.finished(Timestamp(6_000)));
    assert_eq!(unit.until(6_000), [(6_000, Finished, 100)]);

    let mut unit = Unit::new();
    unit.order(firmware(6));
    unit.restart(5, Resumed::Idle);
    assert_eq!(unit.until(6_000), [(5_000, Failed, 0)]);
}

#[test]
fn a_sub_device_is_upgraded_without_a_restart() {
    let mut unit = Unit::new();
    let of_sub = Firmware { feedid: feed(SUB), productuuid: "SUBSUB".into(), ..firmware(8) };
    assert_eq!(unit.order(of_sub).1.unwrap().target, Target::Sub(feed(SUB)));
    assert_eq!(unit.until(10), [(0, Downloading, 0)]);
    assert!(unit.upgrades.finished(Timestamp(10)));
    assert_eq!(unit.until(20), [(10, Finished, 100)]);
    assert!(!unit.upgrades.finished(Timestamp(20)) && !unit.upgrades.failed(Timestamp(20), "late"));
    assert!(!unit.upgrades.progress(Timestamp(20), Stage::Downloading, 1));
}

#[track_caller]
fn check_refused(firmware: Firmware) {
    let mut unit = Unit::new();
    assert_eq!(unit.order(firmware), (6, None));
    assert!(!unit.upgrades.take_changed());
    assert_eq!(unit.until(100_000), []);
}

#[test]
fn an_order_that_cannot_be_used_is_refused() {
    check_refused(Firmware { feedid: feed("3"), ..firmware(6) });
    check_refused(Firmware { feedid: FeedId::EMPTY, ..firmware(6) });
    check_refused(Firmware { productuuid: "OTHERS".into(), ..firmware(6) });
    for url in
        ["", "ftp://h/x", "file:///etc/passwd", "http://", "http://a@b/", &format!("http://h/{}", "x".repeat(2048))]
    {
        check_refused(Firmware { url: url.into(), ..firmware(6) });
    }
    for version in [-1, 0, 4, 5, 65_536, i64::MAX] {
        check_refused(firmware(version));
    }
    check_refused(Firmware { versionname: "x".repeat(65), ..firmware(6) });
    check_refused(Firmware { versionname: "a\nb".into(), ..firmware(6) });
}

#[test]
fn an_irregular_name_and_an_unknown_running_version_are_no_reason_to_refuse() {
    let mut unit = Unit::new();
    unit.own = None;
    let odd = Firmware { versionname: "newest!".into(), url: "HTTPS://h:8443/x?y".into(), ..firmware(0) };
    assert!(unit.order(odd).1.is_some());
    assert!(Unit::new().order(firmware(65_535)).1.is_some());
}

#[test]
fn the_same_order_again_is_a_success_without_a_second_upgrade_and_another_one_has_to_wait() {
    let mut unit = Unit::new();
    assert!(unit.order(firmware(6)).1.is_some());
    assert_eq!(unit.order(firmware(6)), (0, None));
    let elsewhere = Firmware { url: "https://mirror.example/6.bin?signature=2".into(), ..firmware(6) };
    let Some(Taken::Again(image)) = unit.give(elsewhere.clone()).1 else { panic!("it is the same") };
    assert_eq!(image.url, elsewhere.url);
    assert_eq!(unit.order(firmware(7)), (22, None));
    assert_eq!(unit.order(Firmware { crc32: 1, ..firmware(6) }), (22, None));
    assert_eq!(unit.order(firmware(4)), (6, None));
    let of_sub = Firmware { feedid: feed(SUB), productuuid: "SUBSUB".into(), ..firmware(8) };
    assert_eq!(unit.order(of_sub), (22, None));
}

#[test]
fn the_version_that_runs_is_taken_only_as_a_repair() {
    let mut unit = Unit::new();
    unit.order(firmware(6));
    assert!(unit.upgrades.failed(Timestamp(0), "the file system is half written"));
    // It came up with the new version anyway.
    unit.own = Some(6);
    assert!(unit.order(firmware(6)).1.is_some());
    unit.progress(Stage::Installing, 0);
    // That version 6 runs says nothing here.
    unit.restart(6, Resumed::Continues);
    assert!(unit.upgrades.current().is_some());
    unit.progress(Stage::Downloading, 0);
    unit.progress(Stage::Installing, 0);
    unit.restart(6, Resumed::Idle);
    assert_eq!(unit.upgrades.current(), None);
    assert_eq!(unit.order(firmware(6)).0, 6);
}

#[test]
fn what_fails_each_time_is_ordered_in_vain_for_longer_and_longer() {
    let mut unit = Unit::new();
    let mut begun = Vec::new();
    for minute in 0..240 {
        unit.until(minute * 60_000);
        // The cloud hears the old number, and orders until it is refused.
        while unit.order(firmware(6)).1.is_some() {
            begun.push(minute);
            assert!(begun.len() < 20, "{begun:?}");
            assert!(unit.upgrades.failed(Timestamp(unit.now), "no signature"));
        }
        assert_eq!(unit.order(firmware(6)).0, 6);
    }
    assert_eq!(begun, [0, 0, 1, 3, 7, 15, 31, 63, 123, 183]);
    // Another one need not rest.
    assert!(unit.order(Firmware { crc32: 1, ..firmware(6) }).1.is_some());
}

#[test]
fn a_status_without_an_answer_is_said_again_and_an_unanswered_end_waits_for_the_next_connection() {
    let mut unit = Unit::new();
    unit.answers = false;
    unit.order(firmware(6));
    let times = |told: Vec<(u64, OtaPhase, u8)>| told.iter().map(|(at, ..)| at / 1000).collect::<Vec<_>>();
    assert_eq!(times(unit.until(50_000)), [0, 10, 30]);
    unit.upgrades.authenticated(Timestamp(50_000));
    assert_eq!(times(unit.until(100_000)), [50, 60, 80]);
    unit.upgrades.failed(Timestamp(100_000), "  the\nreason ");
    let status = unit.upgrades.poll(Timestamp(100_000)).unwrap();
    assert_eq!(status.status_desc, "the reason");
    unit.upgrades.disconnected();
    assert_eq!(unit.until(200_000), []);
    unit.upgrades.authenticated(Timestamp(200_000));
    assert_eq!(times(unit.until(230_000)), [200, 220]);
    unit.restart(5, Resumed::Idle);
    unit.answers = true;
    assert_eq!(unit.until(1_000_000), [(5_000, Failed, 0)]);
}

#[test]
fn a_cloud_that_never_answers_is_told_of_an_end_ten_times() {
    let mut unit = Unit::new();
    unit.answers = false;
    unit.order(firmware(6));
    unit.upgrades.failed(Timestamp(0), "");
    assert_eq!(unit.until(10_000_000).len(), 10);
    assert_eq!(unit.upgrades.n_lost(), 1);
    assert_eq!(unit.upgrades.next_timeout(), None);
}

#[test]
fn an_answer_to_an_earlier_status_is_not_taken_for_one_to_the_end() {
    let mut unit = Unit::new();
    unit.answers = false;
    unit.order(firmware(6));
    assert_eq!(unit.until(1_000).len(), 1);
    unit.upgrades.finished(Timestamp(1_000));
    assert_eq!(unit.until(2_000), [(1_000, Finished, 100)]);
    assert!(unit.answer());
    assert_eq!(unit.upgrades.outcomes.len(), 1);
    assert!(unit.answer());
    assert_eq!(unit.upgrades.outcomes.len(), 0);
    assert!(!unit.answer());
}

#[test]
fn an_engine_that_keeps_changing_its_mind_does_not_flood_the_cloud() {
    let mut unit = Unit::new();
    unit.answers = false;
    unit.order(firmware(6));
    let mut n_told = 0;
    for now in 0..1_000 {
        unit.progress(if now % 2 == 0 { Stage::Installing } else { Stage::Downloading }, 1);
        n_told += unit.until(now).len();
    }
    assert_eq!(n_told, SENT_MAX);
}

#[test]
fn who_is_unbound_is_not_told_of_any_more() {
    let mut unit = Unit::new();
    unit.order(firmware(6));
    unit.upgrades.failed(Timestamp(0), "no");
    unit.order(firmware(7));
    assert_eq!(unit.upgrades.forget(feed(SUB)), None);
    assert_eq!(unit.upgrades.forget(feed(OWN)).map(|build| build.version), Some(7));
    assert_eq!(unit.upgrades.forget(feed(OWN)), None);
    assert_eq!(unit.until(100_000), []);
}

#[test]
fn of_an_end_nothing_is_told_once_the_same_is_ordered_again() {
    let mut unit = Unit::new();
    let build = unit.order(firmware(6)).1.unwrap().build();
    unit.upgrades.failed(Timestamp(0), "no room");
    assert!(unit.upgrades.is_telling(&build));
    assert!(unit.order(firmware(6)).1.is_some());
    assert_eq!(unit.until(10), [(0, Downloading, 0)]);
    unit.upgrades.finished(Timestamp(10));
    assert!(unit.upgrades.is_telling(&build));
    assert_eq!(unit.until(20), [(10, Finished, 100)]);
    assert!(!unit.upgrades.is_telling(&build));
}

#[test]
fn ends_that_the_cloud_does_not_know_are_bounded() {
    let mut unit = Unit::new();
    unit.upgrades.disconnected();
    for version in 6..40 {
        unit.order(firmware(version));
        unit.upgrades.failed(Timestamp(0), &"é\n".repeat(1000));
    }
    assert_eq!((unit.upgrades.outcomes.len(), unit.upgrades.n_lost()), (4, 30));
    assert!(unit.upgrades.stored().len() < 4096);
}

#[test]
fn damaged_bytes_count_as_nothing() {
    let mut unit = Unit::new();
    unit.order(firmware(6));
    let stored = unit.upgrades.stored();
    for at in 0..stored.len() {
        let mut flipped = stored.clone();
        flipped[at] ^= 0x10;
        for bytes in [&flipped[..], &stored[..at]] {
            let mut upgrades = Upgrades::new(REPORT_S);
            assert_eq!(upgrades.restore(bytes), Err(Damaged));
            assert!(upgrades.take_changed() && upgrades.current().is_none());
        }
    }
}

proptest! {
    #[test]
    fn no_order_and_no_engine_can_panic_and_all_comes_back_from_the_store(
        steps in proptest::collection::vec((0..9_u8, any::<u8>(), 0..20_000_u64, "\\PC{0,9}"), 0..50),
        bytes: Vec<u8>,
    ) {
        let mut unit = Unit::new();
        unit.answers = false;
        let _ = Upgrades::new(0).restore(&bytes);
        let _ = Upgrades::new(0).restore(&[&[1, 0xFF, 0xFF][..], &bytes].concat());
        for (step, number, wait, text) in steps {
            unit.now += wait;
            let now = Timestamp(unit.now);
            match step {
                0 => { unit.order(firmware(i64::from(number))); }
                1 => { unit.order(Firmware { url: text.clone(), versionname: text, ..firmware(i64::from(number) * 300) }); }
                2 => { unit.upgrades.progress(now, Stage::Installing, number); }
                3 => { unit.upgrades.finished(now); }
                4 => { unit.upgrades.failed(now, &text); }
                5 => { unit.answer(); }
                6 => unit.upgrades.disconnected(),
                7 => unit.upgrades.authenticated(now),
                _ => unit.upgrades.resumed(now, Some(number.into()), Resumed::Idle),
            }
            let status = unit.upgrades.poll(now);
            prop_assert!(status.is_none_or(|status| status.progress <= 100));
            let stored = unit.upgrades.stored();
            let mut restored = Upgrades::new(REPORT_S);
            prop_assert_eq!(restored.restore(&stored), Ok(()));
            prop_assert_eq!(restored.stored(), stored);
        }
    }
}
