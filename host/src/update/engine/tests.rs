//! The whole engine: a file from a server into a slot, across a restart, to the confirmed counter.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair};
use tokio::sync::Notify;

use super::super::archive::tests::archive;
use super::super::backend::SlotsBackend;
use super::super::coordinator::{self, FailedAt, Outcome};
use super::super::download::Head;
use super::super::download::fetch::{Answer, Body, Get};
use super::super::manifest::{Facts, Manifest, PublicKey, Version};
use super::super::offer::Schedule;
use super::super::slots::directory::OpenSlots;
use super::super::slots::tests::facts;
use super::*;
use crate::services::clock::Zone;

struct Shop(Vec<u8>);

struct Pieces(VecDeque<Bytes>);

#[async_trait]
impl Server for Shop {
    async fn get(&self, _get: Get<'_>) -> Result<Answer, String> {
        let head = Head { status: 200, length: Some(self.0.len() as u64), ..Head::default() };
        Ok(Answer { head, body: Box::new(Pieces(self.0.chunks(1000).map(Bytes::copy_from_slice).collect())) })
    }
}

#[async_trait]
impl Body for Pieces {
    async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        Ok(self.0.pop_front())
    }
}

/// Told whenever a list has changed.
struct Ear(Arc<Notify>);

impl Listener for Ear {
    fn changed(&self, _asker: &str) {
        self.0.notify_one();
    }
}

struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A host that runs.
struct Host {
    updates: Arc<Updates>,
    changed: Arc<Notify>,
    restart: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Host {
    fn start(place: &Place, file: &[u8], slot: &str) -> Self {
        let (changed, restart) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slots = SlotsBackend::new(place.0.join("slots"), 2, Some(slot.to_owned()), Arc::clone(&restart));
        let owner = PublicKey::of(owner().public_key().as_ref().try_into().expect("32 bytes")).expect("a key");
        let parts = Parts {
            server: Arc::new(Shop(file.to_vec())),
            directory: Directory::new(&place.0),
            policy: Policy { require_manifest: true, keys: vec![owner], allow_downgrade: false },
            limits: Limits::default(),
            product: lamp(),
            backends: BTreeMap::from([(Target::Module, Arc::new(slots) as Arc<dyn Backend>)]),
            listener: Arc::new(Ear(Arc::clone(&changed))),
        };
        let settings = Settings { targets: vec![Target::Module], health_ms: 60_000 };
        let updates = Arc::new(Updates::open(settings, &parts.directory, Clock::new(Zone::Fixed(0))));
        let task = tokio::spawn(Arc::clone(&updates).run(parts));
        Self { updates, changed, restart, task }
    }

    /// How the newest update of the cloud ends.
    async fn end(&self) -> Outcome {
        loop {
            let listed = self.updates.list("deli").pop().expect("one was offered");
            if let coordinator::Progress::Ended(outcome) = listed.progress {
                return outcome;
            }
            self.changed.notified().await;
        }
    }

    async fn stop(self) {
        self.task.abort();
        assert!(self.task.await.expect_err("it runs for ever").is_cancelled());
    }
}

fn owner() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a seed")
}

fn lamp() -> ProductKey {
    ProductKey::parse("lamp").expect("a key")
}

fn offer(reference: &str) -> Offer {
    Offer {
        asker: "deli".to_owned(),
        reference: reference.to_owned(),
        target: Target::Module,
        device: 0,
        version: reference.to_owned(),
        url: "https://shop/".to_owned(),
        headers: Vec::new(),
        plain_text: false,
        size: None,
        digests: Vec::new(),
        schedule: Schedule::default(),
    }
}

fn signed(counter: u64) -> Vec<u8> {
    let image = archive(&[("polylink", &[counter as u8; 5000])]);
    let (version, facts): (_, Facts) = (Version::parse("1.2").expect("a version"), facts(&image));
    let manifest = Manifest { product: lamp(), target: Target::Module, version, counter, facts };
    [&image[..], &trailer::trailer(&manifest.sign(&owner()))].concat()
}

fn place(name: &str) -> Place {
    let place = Place(std::env::temp_dir().join(format!("polylink-engine-{}-{name}", std::process::id())));
    let _ = std::fs::remove_dir_all(&place.0);
    place
}

#[tokio::test]
async fn an_offer_becomes_the_release_that_runs_and_its_cloud_sees_it_after_the_restart() {
    let place = place("good");
    let host = Host::start(&place, &signed(5), "factory");
    assert_eq!(host.updates.offer(offer("1.2")), Ok(1));
    host.restart.notified().await;
    host.stop().await;
    // The launcher starts what is on trial.
    assert_eq!(OpenSlots::open(&place.0.join("slots")).expect("free").slots.start().as_str(), "a");
    let host = Host::start(&place, &signed(5), "a");
    host.updates.healthy();
    assert_eq!(host.end().await, Outcome::Succeeded);
    assert!(host.updates.acknowledge("deli", "1.2") && !host.updates.acknowledge("deli", "1.2"));
    // Older ones are refused from now on, whoever offers them.
    host.stop().await;
    let host = Host::start(&place, &signed(4), "a");
    assert_eq!(host.updates.offer(offer("1.1")), Ok(2));
    let Outcome::Failed { at: FailedAt::Verifying, why } = host.end().await else { panic!("an older one") };
    assert_eq!(why, "the image has counter 4, and 5 was confirmed before");
    // The cloud hears of the end first.
    let left = || Directory::new(&place.0).list().expect("readable").into_iter().collect::<BTreeSet<_>>();
    while left() != BTreeSet::from(["floors".to_owned(), "updates".to_owned()]) {
        tokio::task::yield_now().await;
    }
    host.stop().await;
}

#[tokio::test]
async fn an_image_that_nobody_signed_or_nothing_installs_fails() {
    let place = place("bad");
    let unsigned = archive(&[("polylink", b"x")]);
    let host = Host::start(&place, &unsigned, "factory");
    let check = async |offer: Offer, expected: FailedAt| {
        host.updates.offer(offer).expect("taken");
        let Outcome::Failed { at, .. } = host.end().await else { panic!("it must fail") };
        assert_eq!(at, expected);
    };
    check(offer("1.2"), FailedAt::Verifying).await;
    check(Offer { target: Target::Mcu, ..offer("mcu") }, FailedAt::Target).await;
    check(Offer { url: "http://shop/".to_owned(), ..offer("plain") }, FailedAt::Verifying).await;
    let schedule = Schedule { not_after: Some(0), ..Schedule::default() };
    check(Offer { schedule, ..offer("late") }, FailedAt::Deadline).await;
    host.stop().await;
}
