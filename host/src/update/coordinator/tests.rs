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

mod mcu;
mod talk;

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
