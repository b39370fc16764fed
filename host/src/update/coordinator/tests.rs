//! Updates from the offer to the result, with real slots, and the power going between any two steps.

use std::io::Cursor;

use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::super::archive::tests::archive;
use super::super::manifest::{Device, Manifest, Policy, PublicKey, Version};
use super::super::offer::Schedule;
use super::super::slots::state::Boot;
use super::super::slots::tests::{Device3, facts};
use super::*;
use crate::config::ProductKey;

/// A device with slots, its flash and the cloud it belongs to.
struct World {
    moment: Moment,
    record: Option<Vec<u8>>,
    slots: Device3,
    running: Boot,
    /// Files of downloads.
    files: Vec<u64>,
    floor: u64,
    told: Vec<(u64, News)>,
    /// As the cloud saw it in its list.
    ended: Option<Outcome>,
    n_boots: u32,
    n_steps: usize,
    /// The power goes when so many steps were taken.
    cuts: Vec<usize>,
    is: Image,
}

/// What is wrong with the image.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Image {
    Good,
    NeverLoads,
    Unsigned,
    NoArchive,
    DoesNotStart,
    NeverHealthy,
}

/// The power is gone, or the device restarts.
struct Gone;

impl World {
    fn new(is: Image, cuts: Vec<usize>) -> Self {
        let moment = Moment { now: Timestamp(0), unix_s: Some(1_000_000) };
        Self {
            moment,
            record: None,
            slots: Device3::default(),
            running: Boot::Factory,
            files: Vec::new(),
            floor: 0,
            told: Vec::new(),
            ended: None,
            n_boots: 0,
            n_steps: 0,
            cuts,
            is,
        }
    }

    /// Until nothing happens any more.
    fn live(&mut self) {
        while self.boot().is_err() {
            assert!(self.n_boots < 50, "it restarts for ever");
        }
    }

    fn boot(&mut self) -> Result<(), Gone> {
        self.n_boots += 1;
        self.moment.now = Timestamp(0);
        self.running = self.slots.open().start();
        let comes_up = self.is != Image::DoesNotStart || self.running == Boot::Factory;
        if !comes_up {
            return Err(Gone);
        }
        let settings = settings(300_000);
        let mut coordinator = Coordinator::restore(settings, self.record.as_deref());
        coordinator.start(&self.moment, "lamp");
        self.settle(&mut coordinator)?;
        // A cloud offers until it saw how it ended.
        if self.ended.is_none() {
            coordinator.offer(&self.moment, offer("deli", "1.2"), 0).expect("nothing else is under way");
        }
        self.settle(&mut coordinator)?;
        if self.is != Image::NeverHealthy || self.running == Boot::Factory {
            coordinator.healthy();
        }
        loop {
            self.settle(&mut coordinator)?;
            let Some(next) = coordinator.next_timeout(&self.moment) else { break };
            let ms = next.since(self.moment.now);
            self.moment.now = next;
            self.moment.unix_s = self.moment.unix_s.map(|s| s + i64::try_from(ms / 1000).unwrap());
            coordinator.timeout(&self.moment);
        }
        match &coordinator.list("deli")[..] {
            // It was acknowledged just before the power went.
            [] => assert!(self.ended.is_some()),
            [Listed { progress: Progress::Ended(outcome), reference, .. }] => {
                assert!(self.ended.as_ref().is_none_or(|ended| ended == outcome));
                self.ended = Some(outcome.clone());
                let reference = reference.clone();
                assert!(coordinator.acknowledge("deli", &reference));
            }
            other => panic!("{other:?}"),
        }
        self.settle(&mut coordinator)
    }

    fn settle(&mut self, coordinator: &mut Coordinator) -> Result<(), Gone> {
        while let Some(output) = coordinator.poll() {
            self.step()?;
            self.carry_out(coordinator, output)?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Gone> {
        self.n_steps += 1;
        if self.cuts.contains(&self.n_steps) { Err(Gone) } else { Ok(()) }
    }

    fn carry_out(&mut self, coordinator: &mut Coordinator, output: Output) -> Result<(), Gone> {
        let moment = self.moment;
        match output {
            Output::Save(bytes) => self.record = Some(bytes),
            Output::Clean { keep } => self.files.retain(|id| Some(*id) == keep),
            Output::Load { id, .. } => {
                let loaded = if self.is == Image::NeverLoads { Err(gone()) } else { Ok(()) };
                self.files.push(id);
                self.step()?;
                coordinator.loading(&moment, id, Some(100));
                coordinator.loaded(&moment, id, loaded);
            }
            Output::Verify(Subject { id, target, .. }) => {
                assert!(self.files.contains(&id), "the file is still there");
                coordinator.verified(&moment, id, verify(self.is, target, self.floor));
            }
            Output::Install { subject: Subject { id, .. }, proof } => {
                let mut slots = self.slots.open();
                let installed = slots.install(&proof, &mut Cursor::new(image(self.is)), id, 2);
                self.step()?;
                let installed = installed.map(|_| Installed::NeedsRestart).map_err(|why| why.to_string());
                coordinator.installed(&moment, id, installed);
            }
            Output::Ask(Subject { id, .. }) => {
                let state = self.slots.open().state().clone();
                let standing = match state.trial {
                    Some(trial) if trial.operation == id && self.running == Boot::Slot(trial.slot) => Standing::OnTrial,
                    Some(trial) if trial.operation == id => Standing::NotStarted,
                    _ if state.failed == Some(id) => Standing::SteppedBack,
                    _ => Standing::Settled,
                };
                coordinator.standing(&moment, id, Ok(standing));
            }
            Output::Restart(_) => return Err(Gone),
            Output::Confirm { subject: Subject { id, .. }, counter, on_trial } => {
                let confirmed = if on_trial { self.slots.open().confirm() } else { Ok(()) };
                self.step()?;
                self.floor = self.floor.max(counter.unwrap_or(0));
                self.step()?;
                coordinator.confirmed(&moment, id, confirmed.map_err(|why| why.to_string()));
            }
            Output::RollBack(Subject { id, .. }) => {
                let back = self.slots.open().roll_back();
                self.step()?;
                coordinator.rolled_back(&moment, id, back.map(|_| ()).map_err(|why| why.to_string()));
            }
            Output::Tell { id, news, .. } => self.told.push((id, news)),
            Output::StopLoading { .. } | Output::StopInstalling(_) => {}
        }
        Ok(())
    }
}

fn offer(asker: &str, reference: &str) -> Offer {
    Offer {
        asker: asker.to_owned(),
        reference: reference.to_owned(),
        target: Target::Module,
        device: 0,
        version: reference.to_owned(),
        url: "https://cloud/".to_owned(),
        headers: Vec::new(),
        plain_text: false,
        size: None,
        digests: Vec::new(),
        schedule: Schedule::default(),
    }
}

/// One that waits for a while.
fn later(asker: &str, reference: &str) -> Offer {
    let schedule = Schedule { spread_s: 1000, ..Schedule::default() };
    Offer { schedule, ..offer(asker, reference) }
}

fn settings(health_ms: u64) -> Settings {
    Settings { targets: vec![Target::Module], health_ms }
}

fn gone() -> Failed {
    Failed::new(FailedAt::Loading, "gone")
}

fn image(is: Image) -> Vec<u8> {
    if is == Image::NoArchive { b"not an archive".to_vec() } else { archive(&[("polylink", b"program")]) }
}

fn verify(is: Image, target: Target, floor: u64) -> Result<Verified, Failed> {
    let owner = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a seed");
    let key = PublicKey::of(owner.public_key().as_ref().try_into().expect("32 bytes")).expect("a key");
    let policy = Policy { require_manifest: true, keys: vec![key], allow_downgrade: false };
    let product = ProductKey::parse("lamp").expect("a key");
    let facts = facts(&image(is));
    let version = Version::parse("1.2").expect("a version");
    let manifest = Manifest { product: product.clone(), target, version, counter: 5, facts };
    let signed = manifest.sign(&owner);
    let manifest = if is == Image::Unsigned { None } else { Some(&signed[..]) };
    let verified = policy.verify(&Device { product: &product, target, floor }, manifest, &facts);
    verified.map_err(|why| Failed::new(FailedAt::Verifying, why))
}

/// How it ends, whatever the cuts; what runs then agrees with it, and the cloud was told so.
#[track_caller]
fn check(is: Image, cuts: Vec<usize>) -> usize {
    let mut world = World::new(is, cuts.clone());
    world.live();
    let World { slots, told, ended, floor, files, n_steps, record, .. } = world;
    let outcome = &ended.expect("it ended");
    for (_, news) in told {
        assert!(!matches!(&news, News::Ended(other) if other != outcome), "{is:?}, cuts {cuts:?}: {news:?}");
    }
    let state = slots.open().state().clone();
    assert_eq!((state.trial, files.len()), (None, 0), "{is:?}, cuts {cuts:?}");
    let runs = slots.open().start();
    if *outcome == Outcome::Succeeded {
        assert!(is == Image::Good || cuts.len() > 1, "{is:?}, cuts {cuts:?}");
        assert!(matches!(runs, Boot::Slot(_)) && floor == 5, "{is:?}, cuts {cuts:?}");
    } else {
        assert_eq!((runs, floor), (Boot::Factory, 0), "{is:?}, cuts {cuts:?}: {outcome:?}");
    }
    let expected = match is {
        Image::Good => None,
        Image::NeverLoads => Some(FailedAt::Loading),
        Image::Unsigned => Some(FailedAt::Verifying),
        Image::NoArchive => Some(FailedAt::Installing),
        Image::DoesNotStart | Image::NeverHealthy => Some(FailedAt::Trial),
    };
    if cuts.len() < 2 {
        let failed = match outcome {
            Outcome::Failed { at, .. } => Some(*at),
            _ => None,
        };
        assert_eq!(failed, expected, "{is:?}, cuts {cuts:?}: {outcome:?}");
    }
    let record = Record::decode(&record.expect("saved")).expect("whole");
    assert_eq!((record.active, record.waiting, record.ended), (None, Vec::new(), Vec::new()));
    n_steps
}

const IMAGES: [Image; 6] =
    [Image::Good, Image::NeverLoads, Image::Unsigned, Image::NoArchive, Image::DoesNotStart, Image::NeverHealthy];

#[test]
fn an_update_goes_from_the_offer_to_the_result_across_its_restart() {
    let mut world = World::new(Image::Good, Vec::new());
    world.live();
    let news: Vec<_> = world.told.iter().map(|(_, news)| news.clone()).collect();
    let (begun, loaded) = (News::Loading(None), News::Loading(Some(100)));
    let expected = [begun, loaded, News::Verified, News::Restarting, News::Ended(Outcome::Succeeded)];
    assert_eq!((news, world.n_boots), (expected.to_vec(), 2));
}

#[test]
fn whatever_is_wrong_with_an_image_the_device_runs_on_and_the_cloud_is_told() {
    for is in IMAGES {
        check(is, Vec::new());
    }
}

#[test]
fn the_power_may_go_between_any_two_steps() {
    for is in IMAGES {
        let n_steps = check(is, Vec::new());
        assert!(n_steps > 6, "{is:?}: {n_steps}");
        for cut in 1..=n_steps {
            check(is, vec![cut]);
        }
    }
}

#[test]
fn the_power_may_go_twice() {
    for is in IMAGES {
        for first in 1..=25 {
            for second in first + 1..=first + 10 {
                check(is, vec![first, second]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn the_power_may_go_again_and_again(cuts in proptest::collection::vec(1..80_usize, 0..8), is in 0..IMAGES.len()) {
        check(IMAGES[is], cuts);
    }
}

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
    assert_eq!(talk.heard(), ["deli 1 Loading(Some(1))", "deli 1 Loading(Some(50))"]);
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
    for n in 0..2 * ENDED_MAX {
        talk.offer(Offer { target: Target::Mcu, ..offer(&format!("old {n}"), "1") }).expect("listed");
    }
    assert_eq!(talk.0.record.ended.len(), ENDED_MAX);
    assert!(talk.0.record.encode().len() < 1024 * 1024);
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
    talk.0.loaded(&moment, 3, Ok(()));
    talk.0.verified(&moment, 3, verify(Image::Good, Target::Module, 0));
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
    talk.0.loaded(&moment, 2, Ok(()));
    talk.0.verified(&moment, 2, verify(Image::Good, Target::Module, 0));
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
    talk.0.loaded(&moment, 1, Ok(()));
    talk.0.verified(&moment, 1, verify(Image::Good, Target::Module, 0));
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
    talk.0.loaded(&moment, 1, Ok(()));
    talk.0.verified(&moment, 1, verify(Image::Good, Target::Module, 0));
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
    talk.0.loaded(&moment, 1, Ok(()));
    talk.0.verified(&moment, 1, verify(Image::Good, Target::Module, 0));
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
