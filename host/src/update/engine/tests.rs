//! The whole engine: a file from a server into a slot, across a restart, to the confirmed counter.

use std::collections::VecDeque;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use ring::signature::{Ed25519KeyPair, KeyPair};
use tokio::sync::Notify;

use super::super::archive::tests::archive;
use super::super::backend::SlotsBackend;
use super::super::coordinator::{FailedAt, Outcome};
use super::super::download::Head;
use super::super::download::fetch::{Answer, Body};
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
    async fn get(&self, _url: &str, _from: u64, _if_range: Option<&str>) -> Result<Answer, String> {
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

struct Ear(mpsc::UnboundedSender<News>);

impl Listener for Ear {
    fn tell(&self, _asker: &str, _id: u64, _reference: &str, news: &News) {
        let _ = self.0.send(news.clone());
    }
}

struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A host that runs: its mailbox, what it tells, and its wish to be restarted.
struct Host {
    mailbox: mpsc::Sender<Request>,
    news: mpsc::UnboundedReceiver<News>,
    restart: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Host {
    fn start(place: &Place, file: &[u8], slot: &str) -> Self {
        let (mailbox, requests) = mpsc::channel(4);
        let (ear, news) = mpsc::unbounded_channel();
        let restart = Arc::new(Notify::new());
        let slots = SlotsBackend::new(place.0.join("slots"), 2, Some(slot.to_owned()), Arc::clone(&restart));
        let owner = PublicKey::of(owner().public_key().as_ref().try_into().expect("32 bytes")).expect("a key");
        let parts = Parts {
            server: Arc::new(Shop(file.to_vec())),
            directory: Directory::new(&place.0),
            policy: Policy { require_manifest: true, keys: vec![owner], allow_downgrade: false },
            limits: Limits::default(),
            settings: Settings { health_ms: 60_000 },
            product: lamp(),
            backends: BTreeMap::from([(Target::Module, Arc::new(slots) as Arc<dyn Backend>)]),
            clock: Clock::new(Zone::Fixed(0)),
            listener: Arc::new(Ear(ear)),
        };
        let task = tokio::spawn(run(parts, requests));
        Self { mailbox, news, restart, task }
    }

    async fn offer(&self, offer: Offer) -> Result<u64, OfferRefused> {
        let (answer, answered) = oneshot::channel();
        let offer = Box::new(offer);
        assert!(self.mailbox.send(Request::Offer { offer, answer }).await.is_ok(), "it runs");
        answered.await.expect("it answers")
    }

    async fn end(&mut self) -> Outcome {
        loop {
            if let News::Ended(outcome) = self.news.recv().await.expect("it runs") {
                return outcome;
            }
        }
    }

    async fn stop(self) {
        drop(self.mailbox);
        self.task.await.expect("no panic");
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
        plain_text: false,
        size: None,
        digests: Vec::new(),
        schedule: Schedule::Now,
        load_by: None,
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
async fn an_offer_becomes_the_release_that_runs_and_its_cloud_is_told_after_the_restart() {
    let place = place("good");
    let host = Host::start(&place, &signed(5), "factory");
    assert_eq!(host.offer(offer("1.2")).await, Ok(1));
    host.restart.notified().await;
    host.stop().await;
    // The launcher starts what is on trial.
    assert_eq!(OpenSlots::open(&place.0.join("slots")).expect("free").slots.start().as_str(), "a");
    let mut host = Host::start(&place, &signed(5), "a");
    assert!(host.mailbox.send(Request::Healthy).await.is_ok(), "it runs");
    assert_eq!(host.end().await, Outcome::Succeeded);
    assert!(host.mailbox.send(Request::Acknowledged { asker: "deli".to_owned(), id: 1 }).await.is_ok(), "it runs");
    // An older one is refused from now on, whoever offers it.
    host.stop().await;
    let mut host = Host::start(&place, &signed(4), "a");
    assert_eq!(host.offer(offer("1.1")).await, Ok(2));
    let Outcome::Failed { at: FailedAt::Verifying, why } = host.end().await else { panic!("an older one") };
    assert_eq!(why, "the image has counter 4, and 5 was confirmed before");
    host.stop().await;
    let mut left: Vec<_> = Directory::new(&place.0).list().expect("readable");
    left.sort();
    assert_eq!(left, ["floors", "updates"]);
}

#[tokio::test]
async fn an_image_that_nobody_signed_or_nothing_installs_fails() {
    let place = place("bad");
    let unsigned = archive(&[("polylink", b"x")]);
    let mut host = Host::start(&place, &unsigned, "factory");
    assert_eq!(host.offer(offer("1.2")).await, Ok(1));
    assert!(matches!(host.end().await, Outcome::Failed { at: FailedAt::Verifying, .. }));
    assert_eq!(host.offer(Offer { target: Target::Mcu, ..offer("mcu") }).await, Ok(2));
    assert!(matches!(host.end().await, Outcome::Failed { at: FailedAt::Verifying, .. }));
    let later = Offer { schedule: Schedule::Within { spread_s: 0 }, load_by: Some(0), ..offer("late") };
    host.offer(later).await.expect("taken");
    assert!(matches!(host.end().await, Outcome::Failed { at: FailedAt::Deadline, .. }));
    host.stop().await;
}
