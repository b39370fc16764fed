//! What the coordinator says to what, without anything that carries it out.

use super::*;
use crate::update::coordinator::asking::{HEADERS_MAX, LISTED_MAX, OUTPUTS_MAX, TEXT_MAX, WAITING_BYTES_MAX};
use crate::update::slots::tests::verified;

/// A coordinator and what it said.
struct Talk(Coordinator, Moment);

impl Talk {
    fn new() -> Self {
        let moment = Moment { now: Timestamp(0), unix_s: Some(1_000_000) };
        let mut talk = Self(Coordinator::restore(settings(1000), None), moment);
        talk.0.start(&moment, "lamp");
        talk.heard();
        talk
    }

    fn offer(&mut self, offer: Offer) -> Result<u64, OfferRefused> {
        self.0.offer(&self.1, offer, 100)
    }

    /// The file of this operation came, and is signed.
    fn is_here_and_right(&mut self, id: u64) {
        self.0.loaded(&self.1, id, Ok(()));
        self.0.verified(&self.1, id, verify(Image::Good, Target::Module, 0));
    }

    /// All but what is saved.
    fn heard(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        while let Some(output) = self.0.poll() {
            match output {
                Output::Save(_) => {}
                Output::Tell { asker, id, news, .. } => heard.push(format!("{asker} {id} {news:?}")),
                Output::Load { id, .. } => heard.push(format!("load {id}")),
                Output::StopLoading { id } => heard.push(format!("stop {id}")),
                Output::Clean { .. } => {}
                other => heard.push(format!("{other:?}")),
            }
        }
        heard
    }

    /// Until it wants nothing any more.
    fn settle(&mut self) {
        while self.0.poll().is_some() {}
    }

    fn pass(&mut self, s: i64) {
        self.1.unix_s = self.1.unix_s.map(|now| now + s);
        self.1.now = self.1.now.after(u64::try_from(s).unwrap() * 1000);
        self.0.timeout(&self.1);
    }
}

#[test]
fn one_update_at_a_time_over_all_clouds() {
    let mut talk = Talk::new();
    assert_eq!(talk.offer(offer("deli", "1")), Ok(1));
    assert_eq!(talk.offer(offer("deli", "1")), Ok(1));
    assert_eq!(talk.heard(), ["deli 1 Loading(None)", "load 1"]);
    assert_eq!(talk.offer(offer("joylink", "7")), Ok(2));
    assert_eq!(talk.offer(later("deli", "2")), Ok(3));
    assert_eq!(talk.heard(), ["joylink 2 Waiting(Some(1000000))", "deli 3 Waiting(Some(1000100))"]);
    talk.pass(200);
    assert_eq!(talk.heard(), [""; 0]);
    let end = "deli 1 Ended(Failed { at: Loading, why: \"gone\" })";
    talk.0.loaded(&talk.1.clone(), 1, Err(gone()));
    assert_eq!(talk.heard(), [end, "joylink 2 Loading(None)", "load 2"]);
    talk.0.loaded(&talk.1.clone(), 2, Err(gone()));
    assert_eq!(talk.heard().last().map(String::as_str), Some("load 3"));
}

#[test]
fn an_asker_sees_its_own_updates_in_the_order_of_the_offers() {
    let mut talk = Talk::new();
    talk.offer(offer("deli", "1")).expect("taken");
    talk.offer(Offer { target: Target::Mcu, device: 0, ..offer("deli", "2") }).expect("listed");
    talk.offer(later("deli", "3")).expect("taken");
    talk.offer(offer("joylink", "1")).expect("taken");
    talk.0.loading(&talk.1.clone(), 1, Some(40));
    let seen: Vec<_> = talk.0.list("deli").into_iter().map(|one| (one.reference, one.progress)).collect();
    let why = "nothing installs images for the mcu here".to_owned();
    let failed = Progress::Ended(Outcome::Failed { at: FailedAt::Target, why });
    let expected = [("1", Progress::Loading(40)), ("2", failed), ("3", Progress::Waiting)];
    assert_eq!(seen, expected.map(|(reference, progress)| (reference.to_owned(), progress)));
}

#[test]
fn progress_is_told_once_a_second_and_listed_at_once() {
    let mut talk = Talk::new();
    talk.offer(offer("deli", "1")).expect("taken");
    talk.heard();
    for percent in 1..50 {
        talk.0.loading(&talk.1.clone(), 1, Some(percent));
        assert_eq!(talk.0.list("deli")[0].progress, Progress::Loading(percent));
    }
    talk.pass(1);
    talk.0.loading(&talk.1.clone(), 1, Some(50));
    talk.0.loading(&talk.1.clone(), 1, Some(50));
    assert_eq!(talk.heard(), ["deli 1 Loading(Some(1))", "deli 1 Loading(Some(49))"]);
}

#[test]
fn progress_that_stands_still_is_told_a_second_later() {
    let mut talk = Talk::new();
    talk.offer(offer("deli", "1")).expect("taken");
    talk.heard();
    for percent in [1, 2, 40] {
        talk.0.loading(&talk.1.clone(), 1, Some(percent));
    }
    assert_eq!(talk.0.next_timeout(&talk.1), Some(talk.1.now.after(told::PROGRESS_MS)));
    talk.pass(1);
    assert_eq!(talk.heard(), ["deli 1 Loading(Some(1))", "deli 1 Loading(Some(40))"]);
    // What is over is not told of any more.
    talk.0.loading(&talk.1.clone(), 1, Some(41));
    talk.0.loaded(&talk.1.clone(), 1, Ok(()));
    talk.pass(1);
    let verify = "Verify(Subject { id: 1, target: Module, device: 0 })".to_owned();
    assert_eq!((talk.heard(), talk.0.next_timeout(&talk.1)), (vec![verify], None));
}

#[test]
fn a_restart_that_is_refused_is_asked_for_again() {
    let mut talk = Talk::new();
    talk.offer(offer("deli", "1")).expect("taken");
    let moment = talk.1;
    talk.0.loaded(&moment, 1, Ok(()));
    talk.0.verified(&moment, 1, Ok(verified(b"image")));
    talk.0.installed(&moment, 1, Ok(Installed::NeedsRestart));
    let restart = "Restart(Subject { id: 1, target: Module, device: 0 })";
    assert_eq!(talk.heard().last().map(String::as_str), Some(restart));
    assert_eq!(talk.0.next_timeout(&talk.1), None);
    talk.0.not_restarted(&moment, 1);
    assert_eq!(talk.0.next_timeout(&talk.1), Some(moment.now.after(RESTART_AGAIN_MS)));
    talk.pass(59);
    assert_eq!(talk.heard(), [""; 0]);
    talk.pass(1);
    assert_eq!(talk.heard(), [restart]);
    assert_eq!(talk.0.next_timeout(&talk.1), None);
}

#[test]
fn what_is_kept_of_offers_has_a_limit() {
    let mut talk = Talk::new();
    let long = Offer { url: "x".repeat(TEXT_MAX + 1), ..offer("deli", "9") };
    assert_eq!(talk.offer(long), Err(OfferRefused::TooLong));
    let headers = vec![("a".to_owned(), "b".to_owned()); HEADERS_MAX + 1];
    assert_eq!(talk.offer(Offer { headers, ..offer("deli", "9") }), Err(OfferRefused::TooLong));
    for n in 0..LISTED_MAX {
        talk.offer(later("deli", &n.to_string())).expect("taken");
    }
    assert_eq!(talk.offer(later("deli", "more")), Err(OfferRefused::Full));
    let url = "x".repeat(TEXT_MAX);
    let offers = (0..100).map(|n| talk.offer(Offer { url: url.clone(), ..later(&n.to_string(), "1") }));
    assert_eq!(offers.filter(Result::is_ok).count(), WAITING_BYTES_MAX / TEXT_MAX - 1);
    talk.settle();
    for n in 0..2 * ENDED_MAX {
        talk.offer(Offer { target: Target::Mcu, ..offer(&format!("old {n}"), "1") }).expect("listed");
        talk.settle();
    }
    assert_eq!(talk.0.record.ended.len(), ENDED_MAX);
    let headers = vec![("a".to_owned(), "b".repeat(TEXT_MAX)); HEADERS_MAX];
    let renewed =
        (0..LISTED_MAX).map(|n| talk.offer(Offer { headers: headers.clone(), ..later("deli", &n.to_string()) }));
    assert!(renewed.filter(|renewed| *renewed == Err(OfferRefused::Full)).count() > LISTED_MAX / 2);
    assert!(talk.0.record.encode().len() < 1024 * 1024);
}

#[test]
fn a_cloud_that_offers_and_takes_back_for_ever_fills_no_memory() {
    let mut talk = Talk::new();
    let moment = talk.1;
    let offered = (0..10 * OUTPUTS_MAX).take_while(|n| {
        let reference = n.to_string();
        let offered = talk.offer(later("deli", &reference));
        if offered.is_ok() {
            talk.0.cancel(&moment, "deli", &reference).expect("it waits");
            assert!(talk.0.acknowledge("deli", &reference));
        }
        offered.is_ok()
    });
    assert!(offered.count() <= OUTPUTS_MAX);
    let outputs: Vec<_> = std::iter::from_fn(|| talk.0.poll()).collect();
    assert_eq!(outputs.iter().filter(|output| matches!(output, Output::Save(_))).count(), 1);
    assert!(outputs.len() <= OUTPUTS_MAX + 4, "{}", outputs.len());
    talk.offer(later("deli", "another")).expect("there is room again");
}

#[test]
fn the_same_offer_again_renews_the_address_while_the_file_is_not_here() {
    let mut talk = Talk::new();
    let moved = |offer: Offer| Offer { url: "https://other/".to_owned(), ..offer };
    talk.offer(offer("deli", "1")).expect("taken");
    talk.offer(later("deli", "2")).expect("taken");
    talk.heard();
    assert_eq!(talk.offer(moved(later("deli", "2"))), Ok(2));
    assert_eq!(talk.0.record.waiting[0].offer.url, "https://other/");
    assert_eq!(talk.heard(), [""; 0]);
    let another = Offer { size: Some(1), ..moved(offer("deli", "1")) };
    assert_eq!(talk.offer(another), Ok(1));
    assert_eq!(talk.heard(), [""; 0]);
    assert_eq!(talk.offer(moved(offer("deli", "1"))), Ok(1));
    assert_eq!(talk.heard(), ["stop 1", "deli 1 Loading(None)", "load 1"]);
    talk.0.loaded(&talk.1.clone(), 1, Ok(()));
    talk.heard();
    assert_eq!(talk.offer(offer("deli", "1")), Ok(1));
    assert_eq!(talk.heard(), [""; 0]);
}

#[test]
fn a_start_is_drawn_once_and_survives_a_reboot() {
    let mut talk = Talk::new();
    let schedule = Schedule { not_before: Some(900), spread_s: 7200, not_after: None };
    talk.1.unix_s = None;
    talk.offer(Offer { schedule, ..offer("deli", "1") }).expect("taken");
    assert_eq!(talk.heard(), ["deli 1 Waiting(None)"]);
    talk.pass(1000);
    assert_eq!(talk.heard(), [""; 0]);
    talk.1.unix_s = Some(950);
    talk.pass(0);
    let saved = talk.0.record.encode();
    assert_eq!(talk.0.record.waiting[0].start, Some(1000));
    let mut again = Talk(Coordinator::restore(settings(1000), Some(&saved)), talk.1);
    again.0.start(&talk.1, "lamp");
    assert_eq!(again.heard(), [""; 0]);
    assert_eq!(again.0.next_timeout(&again.1), Some(again.1.now.after(50_000)));
    again.pass(49);
    assert_eq!(again.heard(), [""; 0]);
    again.pass(1);
    assert_eq!(again.heard(), ["deli 1 Loading(None)", "load 1"]);
}

#[test]
fn a_device_without_a_clock_counts_a_spread_from_the_offer() {
    let mut talk = Talk::new();
    talk.1.unix_s = None;
    talk.offer(later("deli", "1")).expect("taken");
    assert_eq!(talk.heard(), ["deli 1 Waiting(None)"]);
    talk.pass(99);
    assert_eq!(talk.heard(), [""; 0]);
    assert_eq!(talk.0.next_timeout(&talk.1), Some(talk.1.now.after(1000)));
    talk.pass(1);
    assert_eq!(talk.heard(), ["deli 1 Loading(None)", "load 1"]);
}

#[test]
fn what_was_not_installed_yet_is_forgotten_when_the_product_is_another_one() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    talk.offer(later("deli", "2")).expect("taken");
    talk.heard();
    talk.0.start(&moment, "lamp");
    assert_eq!(talk.heard(), ["deli 1 Loading(None)", "load 1"]);
    talk.0.start(&moment, "fan");
    assert_eq!((talk.heard(), talk.0.list("deli")), (Vec::new(), Vec::new()));
    assert_eq!(talk.offer(offer("deli", "1")), Ok(3));
    talk.is_here_and_right(3);
    talk.heard();
    talk.0.start(&moment, "lamp");
    assert_eq!(talk.heard(), [format!("{:?}", Output::Ask(MODULE_3))]);
}

const MODULE_3: Subject = Subject { id: 3, target: Target::Module, device: 0 };

#[test]
fn an_update_is_taken_back_until_it_is_installed_and_by_its_asker_only() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    assert_eq!(talk.0.cancel(&moment, "joylink", "1"), Err(CancelRefused::Unknown));
    assert_eq!(talk.0.cancel(&moment, "deli", "1"), Ok(()));
    assert_eq!(talk.heard(), ["deli 1 Loading(None)", "load 1", "stop 1", "deli 1 Ended(Cancelled)"]);
    talk.offer(offer("deli", "2")).expect("taken");
    talk.is_here_and_right(2);
    assert_eq!(talk.0.cancel(&moment, "deli", "2"), Err(CancelRefused::TooLate));
    talk.offer(later("clife", "1")).expect("taken");
    talk.heard();
    assert_eq!(talk.0.cancel(&moment, "clife", "1"), Ok(()));
    assert_eq!(talk.heard(), ["clife 3 Ended(Cancelled)"]);
}

#[test]
fn an_update_whose_time_is_over_before_its_turn_is_given_up() {
    let mut talk = Talk::new();
    let schedule = Schedule { not_before: Some(1_000_500), spread_s: 0, not_after: Some(1_000_400) };
    talk.offer(Offer { schedule, ..offer("clife", "2") }).expect("taken");
    talk.heard();
    talk.pass(400);
    assert_eq!(talk.heard(), [""; 0]);
    talk.pass(1);
    let late = "clife 1 Ended(Failed { at: Deadline, why: \"its time was over before its turn came\" })";
    assert_eq!(talk.heard(), [late]);
}

#[test]
fn an_end_is_listed_until_it_is_acknowledged() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    assert!(!talk.0.acknowledge("deli", "1"), "it is not over");
    talk.0.loaded(&moment, 1, Err(gone()));
    talk.heard();
    assert_eq!(talk.offer(offer("deli", "1")), Ok(1));
    assert_eq!((talk.heard(), talk.0.list("deli").len()), (Vec::new(), 1));
    assert!(!talk.0.acknowledge("joylink", "1"));
    assert!(talk.0.acknowledge("deli", "1"));
    assert_eq!(talk.0.list("deli"), []);
    assert_eq!(talk.offer(offer("deli", "1")), Ok(2));
}

#[test]
fn a_release_that_no_restart_brings_up_is_taken_back() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    talk.is_here_and_right(1);
    talk.0.installed(&moment, 1, Ok(Installed::NeedsRestart));
    for _ in 0..RESTARTS_MAX {
        assert_eq!(
            talk.heard().last().map(String::as_str),
            Some("Restart(Subject { id: 1, target: Module, device: 0 })")
        );
        talk.0 = Coordinator::restore(settings(1000), Some(&talk.0.record.encode()));
        talk.0.start(&moment, "lamp");
        talk.0.standing(&moment, 1, Ok(Standing::NotStarted));
    }
    assert_eq!(
        talk.heard(),
        ["Ask(Subject { id: 1, target: Module, device: 0 })", "RollBack(Subject { id: 1, target: Module, device: 0 })"]
    );
    talk.0.rolled_back(&moment, 1, Ok(()));
    let why = "3 restarts did not bring the new version up";
    let end = format!("deli 1 Ended(Failed {{ at: Trial, why: {why:?} }})");
    assert_eq!(talk.heard(), [end, "Restart(Subject { id: 1, target: Module, device: 0 })".to_owned()]);
}

#[test]
fn a_release_that_was_confirmed_just_before_a_power_cut_is_not_installed_again() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    talk.is_here_and_right(1);
    // The power goes when it is installed and not yet told so, and again when it is confirmed and not yet told so.
    for standing in [Standing::OnTrial, Standing::Settled] {
        talk.0 = Coordinator::restore(settings(1000), Some(&talk.0.record.encode()));
        talk.0.start(&moment, "lamp");
        talk.0.standing(&moment, 1, Ok(standing));
        talk.0.healthy();
    }
    let confirm =
        "Confirm { subject: Subject { id: 1, target: Module, device: 0 }, counter: Some(5), on_trial: false }";
    assert_eq!(talk.heard(), ["Ask(Subject { id: 1, target: Module, device: 0 })", confirm]);
}

#[test]
fn a_confirmation_that_fails_is_tried_again_until_the_trial_is_over() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    talk.is_here_and_right(1);
    talk.0.installed(&moment, 1, Ok(Installed::NeedsRestart));
    talk.0 = Coordinator::restore(settings(15_000), Some(&talk.0.record.encode()));
    talk.0.start(&moment, "lamp");
    talk.0.standing(&moment, 1, Ok(Standing::OnTrial));
    talk.0.healthy();
    let confirm = "Confirm { subject: Subject { id: 1, target: Module, device: 0 }, counter: Some(5), on_trial: true }";
    assert_eq!(talk.heard().last().map(String::as_str), Some(confirm));
    talk.0.confirmed(&moment, 1, Err("busy".to_owned()));
    assert_eq!(talk.heard(), [""; 0]);
    talk.pass(10);
    assert_eq!(talk.heard(), [confirm]);
    let later = talk.1;
    talk.0.confirmed(&later, 1, Err("busy".to_owned()));
    talk.pass(5);
    assert_eq!(talk.heard(), ["RollBack(Subject { id: 1, target: Module, device: 0 })"]);
}

#[test]
fn what_cannot_be_recorded_is_not_begun() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    talk.0.not_saved(&moment, "disk full");
    let end = "deli 1 Ended(Failed { at: Recording, why: \"it cannot be recorded: disk full\" })";
    assert_eq!(talk.heard(), ["deli 1 Loading(None)", end]);
    talk.0.not_saved(&moment, "disk full");
    assert_eq!(talk.heard(), [""; 0]);
}

proptest! {
    #[test]
    fn a_damaged_record_is_none(at: usize, bit in 0..8_u8) {
        let mut talk = Talk::new();
        talk.offer(offer("deli", "1")).expect("taken");
        let mut saved = talk.0.record.encode();
        let at = at % saved.len();
        saved[at] ^= 1 << bit;
        prop_assert_eq!(Record::decode(&saved), None);
    }
}
