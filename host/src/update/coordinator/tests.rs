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
        let moment = Moment { now: Timestamp(0), unix_s: Some(1_000_000), utc_offset_s: 0 };
        Self {
            moment,
            record: None,
            slots: Device3::default(),
            running: Boot::Factory,
            files: Vec::new(),
            floor: 0,
            told: Vec::new(),
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
        let settings = Settings { health_ms: 300_000 };
        let mut coordinator = Coordinator::restore(settings, self.record.as_deref());
        coordinator.start(&self.moment);
        self.settle(&mut coordinator)?;
        // A cloud offers until it was told how it ended.
        if !self.told.iter().any(|(_, news)| matches!(news, News::Ended(_))) {
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
        assert_eq!(coordinator.active(), None);
        let id = self.told[0].0;
        coordinator.acknowledged("deli", id);
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
                let loaded = if self.is == Image::NeverLoads { Err("gone".to_owned()) } else { Ok(()) };
                self.files.push(id);
                self.step()?;
                coordinator.loading(id, Some(100));
                coordinator.loaded(&moment, id, loaded);
            }
            Output::Verify { id, target } => {
                assert!(self.files.contains(&id), "the file is still there");
                coordinator.verified(&moment, id, verify(self.is, target, self.floor).map_err(|why| why.to_string()));
            }
            Output::Install { id, proof, .. } => {
                let mut slots = self.slots.open();
                let installed = slots.install(&proof, &mut Cursor::new(image(self.is)), id, 2);
                self.step()?;
                let installed = installed.map(|_| Installed::NeedsRestart).map_err(|why| why.to_string());
                coordinator.installed(&moment, id, installed);
            }
            Output::Ask { id, .. } => {
                let state = self.slots.open().state().clone();
                let standing = match state.trial {
                    Some(trial) if trial.operation == id && self.running == Boot::Slot(trial.slot) => Standing::OnTrial,
                    Some(trial) if trial.operation == id => Standing::NotStarted,
                    _ if state.failed == Some(id) => Standing::SteppedBack,
                    _ => Standing::Settled,
                };
                coordinator.standing(&moment, id, Ok(standing));
            }
            Output::Restart { .. } => return Err(Gone),
            Output::Confirm { id, counter, on_trial, .. } => {
                let confirmed = if on_trial { self.slots.open().confirm() } else { Ok(()) };
                self.step()?;
                self.floor = self.floor.max(counter.unwrap_or(0));
                self.step()?;
                coordinator.confirmed(&moment, id, confirmed.map_err(|why| why.to_string()));
            }
            Output::RollBack { id } => {
                let back = self.slots.open().roll_back();
                self.step()?;
                coordinator.rolled_back(&moment, id, back.map(|_| ()).map_err(|why| why.to_string()));
            }
            Output::Tell { id, news, .. } => self.told.push((id, news)),
            Output::StopLoading { .. } | Output::StopInstalling { .. } => {}
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
        plain_text: false,
        size: None,
        digests: Vec::new(),
        schedule: Schedule::Now,
        load_by: None,
    }
}

fn image(is: Image) -> Vec<u8> {
    if is == Image::NoArchive { b"not an archive".to_vec() } else { archive(&[("polylink", b"program")]) }
}

fn verify(is: Image, target: Target, floor: u64) -> Result<Verified, super::super::manifest::Rejected> {
    let owner = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a seed");
    let key = PublicKey::of(owner.public_key().as_ref().try_into().expect("32 bytes")).expect("a key");
    let policy = Policy { require_manifest: true, keys: vec![key], allow_downgrade: false };
    let product = ProductKey::parse("lamp").expect("a key");
    let facts = facts(&image(is));
    let version = Version::parse("1.2").expect("a version");
    let manifest = Manifest { product: product.clone(), target, version, counter: 5, facts };
    let signed = manifest.sign(&owner);
    let manifest = if is == Image::Unsigned { None } else { Some(&signed[..]) };
    policy.verify(&Device { product: &product, target, floor }, manifest, &facts)
}

/// How it ends, whatever the cuts; what runs then agrees with it, and the cloud was told so.
#[track_caller]
fn check(is: Image, cuts: Vec<usize>) -> usize {
    let mut world = World::new(is, cuts.clone());
    world.live();
    let World { slots, told, floor, files, n_steps, record, .. } = world;
    let mut ends: Vec<_> = told.into_iter().filter(|(_, news)| matches!(news, News::Ended(_))).collect();
    ends.dedup();
    let [(_, News::Ended(outcome))] = &ends[..] else { panic!("{is:?}, cuts {cuts:?}: {ends:?}") };
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
    let expected = [News::Loading(Some(100)), News::Verified, News::Restarting, News::Ended(Outcome::Succeeded)];
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
        let moment = Moment { now: Timestamp(0), unix_s: Some(1_000_000), utc_offset_s: 0 };
        let mut talk = Self(Coordinator::restore(Settings { health_ms: 1000 }, None), moment);
        talk.0.start(&moment);
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
    assert_eq!(talk.offer(offer("deli", "2")), Err(OfferRefused::Busy));
    assert_eq!(talk.offer(offer("joylink", "7")), Err(OfferRefused::Busy));
    assert_eq!(talk.heard(), ["load 1"]);
    let later = Offer { schedule: Schedule::Within { spread_s: 1000 }, ..offer("joylink", "7") };
    assert_eq!(talk.offer(later), Ok(2));
    assert_eq!(talk.heard(), ["joylink 2 Waiting(Some(1000100))"]);
    talk.pass(200);
    assert_eq!(talk.heard(), [""; 0]);
    talk.0.loaded(&talk.1.clone(), 1, Err("gone".to_owned()));
    assert_eq!(talk.heard(), ["deli 1 Ended(Failed { at: Loading, why: \"gone\" })", "load 2"]);
    let long = Offer { url: "x".repeat(TEXT_MAX + 1), ..offer("deli", "9") };
    assert_eq!(talk.offer(long), Err(OfferRefused::TooLong));
}

#[test]
fn a_start_is_drawn_once_and_survives_a_reboot() {
    let mut talk = Talk::new();
    let night = Schedule::Daily { start_s: 0, len_s: 7200 };
    talk.1.unix_s = None;
    talk.offer(Offer { schedule: night, ..offer("deli", "1") }).expect("taken");
    assert_eq!(talk.heard(), ["deli 1 Waiting(None)"]);
    talk.1.unix_s = Some(86_400 * 10 + 50);
    talk.pass(0);
    let saved = talk.0.record.encode();
    assert_eq!(talk.0.record.waiting[0].start, Some(86_400 * 10 + 100));
    let mut again = Talk(Coordinator::restore(Settings { health_ms: 1000 }, Some(&saved)), talk.1);
    again.0.start(&talk.1);
    assert_eq!(again.heard(), [""; 0]);
    assert_eq!(again.0.next_timeout(&again.1), Some(again.1.now.after(50_000)));
    again.pass(49);
    assert_eq!(again.heard(), [""; 0]);
    again.pass(1);
    assert_eq!(again.heard(), ["load 1"]);
}

#[test]
fn a_newer_offer_takes_the_place_of_one_that_waits() {
    let mut talk = Talk::new();
    let later = |reference| Offer { schedule: Schedule::Within { spread_s: 1000 }, ..offer("deli", reference) };
    talk.offer(later("1")).expect("taken");
    talk.offer(later("2")).expect("taken");
    let heard = ["deli 1 Waiting(Some(1000100))", "deli 1 Ended(Cancelled)", "deli 2 Waiting(Some(1000100))"];
    assert_eq!(talk.heard(), heard);
    for asker in 0..WAITING_MAX {
        let taken = talk.offer(Offer { asker: asker.to_string(), ..later("1") });
        assert_eq!(taken.is_ok(), asker + 1 < WAITING_MAX);
    }
}

#[test]
fn an_update_is_taken_back_until_it_is_installed_and_by_its_asker_only() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    assert_eq!(talk.0.cancel(&moment, "joylink", 1), Err(CancelRefused::Unknown));
    assert_eq!(talk.0.cancel(&moment, "deli", 1), Ok(()));
    assert_eq!(talk.heard(), ["load 1", "stop 1", "deli 1 Ended(Cancelled)"]);
    talk.offer(offer("deli", "2")).expect("taken");
    talk.0.loaded(&moment, 2, Ok(()));
    talk.0.verified(&moment, 2, verify(Image::Good, Target::Module, 0).map_err(|why| why.to_string()));
    assert_eq!(talk.0.cancel(&moment, "deli", 2), Err(CancelRefused::TooLate));
    let later = Offer { schedule: Schedule::Within { spread_s: 1000 }, ..offer("clife", "1") };
    let waiting = talk.offer(later).expect("taken");
    talk.heard();
    assert_eq!(talk.0.cancel(&moment, "clife", waiting), Ok(()));
    assert_eq!(talk.heard(), ["clife 3 Ended(Cancelled)"]);
}

#[test]
fn a_file_that_does_not_come_in_its_time_is_given_up() {
    let mut talk = Talk::new();
    talk.offer(Offer { load_by: Some(1_000_060), ..offer("clife", "1") }).expect("taken");
    assert_eq!(talk.0.next_timeout(&talk.1), Some(Timestamp(60_000)));
    talk.heard();
    talk.pass(60);
    let late = "clife 1 Ended(Failed { at: Deadline, why: \"the time to load it is over\" })";
    assert_eq!(talk.heard(), ["stop 1", late]);
    talk.offer(Offer { schedule: Schedule::At { unix_s: 1_000_500 }, load_by: Some(1_000_400), ..offer("clife", "2") })
        .expect("taken");
    talk.pass(400);
    assert!(talk.heard().last().expect("told").contains("its time was over before its turn came"));
}

#[test]
fn an_end_is_told_until_it_is_acknowledged() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    talk.0.loaded(&moment, 1, Err("gone".to_owned()));
    let end = "deli 1 Ended(Failed { at: Loading, why: \"gone\" })";
    assert_eq!(talk.heard(), ["load 1", end]);
    talk.0.asker_started("deli");
    assert_eq!(talk.offer(offer("deli", "1")), Ok(1));
    assert_eq!(talk.heard(), [end, end]);
    talk.0.acknowledged("joylink", 1);
    talk.0.acknowledged("deli", 1);
    talk.0.asker_started("deli");
    assert_eq!(talk.heard(), [""; 0]);
    assert_eq!(talk.offer(offer("deli", "1")), Ok(2));
}

#[test]
fn a_release_that_no_restart_brings_up_is_taken_back() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    talk.0.loaded(&moment, 1, Ok(()));
    talk.0.verified(&moment, 1, verify(Image::Good, Target::Module, 0).map_err(|why| why.to_string()));
    talk.0.installed(&moment, 1, Ok(Installed::NeedsRestart));
    for _ in 0..RESTARTS_MAX {
        assert_eq!(talk.heard().last().map(String::as_str), Some("Restart { id: 1 }"));
        talk.0 = Coordinator::restore(Settings { health_ms: 1000 }, Some(&talk.0.record.encode()));
        talk.0.start(&moment);
        talk.0.standing(&moment, 1, Ok(Standing::NotStarted));
    }
    assert_eq!(talk.heard(), ["Ask { id: 1, target: Module }", "RollBack { id: 1 }"]);
    talk.0.rolled_back(&moment, 1, Ok(()));
    let why = "3 restarts did not bring the new version up";
    let end = format!("deli 1 Ended(Failed {{ at: Trial, why: {why:?} }})");
    assert_eq!(talk.heard(), [end, "Restart { id: 1 }".to_owned()]);
}

#[test]
fn a_release_that_was_confirmed_just_before_a_power_cut_is_not_installed_again() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    talk.0.loaded(&moment, 1, Ok(()));
    talk.0.verified(&moment, 1, verify(Image::Good, Target::Module, 0).map_err(|why| why.to_string()));
    // The power goes when it is installed and not yet told so, and again when it is confirmed and not yet told so.
    for standing in [Standing::OnTrial, Standing::Settled] {
        talk.0 = Coordinator::restore(Settings { health_ms: 1000 }, Some(&talk.0.record.encode()));
        talk.0.start(&moment);
        talk.0.standing(&moment, 1, Ok(standing));
        talk.0.healthy();
    }
    let confirm = "Confirm { id: 1, target: Module, counter: Some(5), on_trial: false }";
    assert_eq!(talk.heard(), ["Ask { id: 1, target: Module }", confirm]);
}

#[test]
fn a_confirmation_that_fails_is_tried_again_until_the_trial_is_over() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    talk.0.loaded(&moment, 1, Ok(()));
    talk.0.verified(&moment, 1, verify(Image::Good, Target::Module, 0).map_err(|why| why.to_string()));
    talk.0.installed(&moment, 1, Ok(Installed::NeedsRestart));
    talk.0 = Coordinator::restore(Settings { health_ms: 15_000 }, Some(&talk.0.record.encode()));
    talk.0.start(&moment);
    talk.0.standing(&moment, 1, Ok(Standing::OnTrial));
    talk.0.healthy();
    let confirm = "Confirm { id: 1, target: Module, counter: Some(5), on_trial: true }";
    assert_eq!(talk.heard().last().map(String::as_str), Some(confirm));
    talk.0.confirmed(&moment, 1, Err("busy".to_owned()));
    assert_eq!(talk.heard(), [""; 0]);
    talk.pass(10);
    assert_eq!(talk.heard(), [confirm]);
    let later = talk.1;
    talk.0.confirmed(&later, 1, Err("busy".to_owned()));
    talk.pass(5);
    assert_eq!(talk.heard(), ["RollBack { id: 1 }"]);
}

#[test]
fn what_cannot_be_recorded_is_not_begun() {
    let mut talk = Talk::new();
    let moment = talk.1;
    talk.offer(offer("deli", "1")).expect("taken");
    talk.0.not_saved(&moment, "disk full");
    let end = "deli 1 Ended(Failed { at: Recording, why: \"it cannot be recorded: disk full\" })";
    assert_eq!(talk.heard(), [end]);
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
