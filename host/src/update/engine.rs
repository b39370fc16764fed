//! Drives the [`Coordinator`]: carries out what it wants, in order, and tells it what came of that.
//!
//! One task, beside which at most one job runs: a download, a look at the file, an installation. Whatever blocks runs beside
//! the I/O thread. In the directory of updates: `updates` (the record), `floors`, and for each operation `<id>.part`,
//! `<id>.checkpoint` and `<id>.manifest`.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polylink_plugin_api::ClockQuality;
use tokio::sync::{Notify, watch};

use super::backend::{Backend, ImageFile};
use super::coordinator::{
    CancelRefused, Coordinator, Failed, FailedAt, Listed, OfferRefused, Output, Settings, Subject,
};
use super::download::fetch::{Fetch, Server, part};
use super::download::machine::percent;
use super::download::{Failure, Limits, Trouble, Wish};
use super::floors::Floors;
use super::hook::{Installed, Order, Standing};
use super::manifest::{Device, MANIFEST_MAX, Policy, Target, Verified};
use super::offer::{Moment, Offer};
use super::slots::replace;
use super::trailer;
use super::turns::Turns;
use crate::config::ProductKey;
use crate::disk::{Directory, Disk};
use crate::services::clock::{Clock, Zone};

/// What the engine works with.
pub struct Parts {
    /// Makes requests.
    pub server: Arc<dyn Server>,
    /// The directory of updates.
    pub directory: Directory,
    /// What may be installed.
    pub policy: Policy,
    /// What downloads may use; `plain_text` is as each offer says.
    pub limits: Limits,
    /// The product.
    pub product: ProductKey,
    /// What installs, by target.
    pub backends: BTreeMap<Target, Arc<dyn Backend>>,
    /// Who hears news.
    pub listener: Arc<dyn Listener>,
}

/// Hears that there are news. Called on the I/O thread; returns at once.
pub trait Listener: Send + Sync {
    /// The list of this asker has changed.
    fn changed(&self, asker: &str);
}

/// All updates of this device: what clouds ask of them on any thread, at once. [`Updates::run`] carries them out.
pub struct Updates {
    coordinator: Mutex<Coordinator>,
    clock: Clock,
    wake: Notify,
    /// Of who writes the record: what a run that was dropped still writes must not come after what the next one does.
    record: Turns,
    /// Of who works on the files of operations.
    files: Turns,
}

impl Updates {
    /// Those that an earlier process left in the directory of updates. Blocks.
    #[must_use]
    pub fn open(settings: Settings, directory: &Directory, clock: Clock) -> Self {
        let saved = match directory.read(RECORD, RECORD_MAX) {
            Ok(saved) => Some(saved),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(%error, "what updates were under way cannot be read");
                None
            }
        };
        let coordinator = Coordinator::restore(settings, saved.as_deref());
        Self::new(coordinator, clock)
    }

    /// None, and nothing installs any: for hosts without a directory of updates.
    #[must_use]
    pub fn none() -> Self {
        let settings = Settings { targets: Vec::new(), health_ms: 0 };
        let coordinator = Coordinator::restore(settings, None);
        Self::new(coordinator, Clock::new(Zone::Fixed(0)))
    }

    fn new(coordinator: Coordinator, clock: Clock) -> Self {
        let (record, files) = (Turns::default(), Turns::default());
        Self { coordinator: Mutex::new(coordinator), clock, wake: Notify::new(), record, files }
    }

    /// An image is offered; it is in the list of its asker then, perhaps as one that has failed.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn offer(&self, offer: Offer) -> Result<u64, OfferRefused> {
        self.change(|coordinator, moment| coordinator.offer(moment, offer, random()))
    }

    /// An offer is taken back.
    ///
    /// # Errors
    /// Why it goes on.
    pub fn cancel(&self, asker: &str, reference: &str) -> Result<(), CancelRefused> {
        self.change(|coordinator, moment| coordinator.cancel(moment, asker, reference))
    }

    /// An asker knows how its update ended. False: it has none of this name that is over.
    pub fn acknowledge(&self, asker: &str, reference: &str) -> bool {
        self.change(|coordinator, _| coordinator.acknowledge(asker, reference))
    }

    /// The updates of an asker, in the order in which they were offered.
    #[must_use]
    pub fn list(&self, asker: &str) -> Vec<Listed> {
        self.lock().list(asker)
    }

    /// The updates of all askers, with the asker.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Listed)> {
        self.lock().all().into_iter().map(|(asker, listed)| (asker.to_owned(), listed)).collect()
    }

    /// Who asked for what is on trial, if something is.
    #[must_use]
    pub fn on_trial(&self) -> Option<String> {
        self.lock().on_trial().map(str::to_owned)
    }

    /// Whether something was installed, and has yet to prove itself or to be installed again.
    #[must_use]
    pub fn has_to_prove(&self) -> bool {
        self.lock().has_to_prove()
    }

    /// What runs does what it should.
    pub fn healthy(&self) {
        self.change(|coordinator, _| coordinator.healthy());
    }

    /// Updates are for this product from when this returns; the future carries them out, for ever. Once at a time. What is
    /// under way when it is dropped goes on when this is called again, perhaps in another process.
    pub fn run(self: Arc<Self>, parts: Parts) -> impl Future<Output = ()> + Send {
        self.change(|coordinator, moment| coordinator.start(moment, parts.product.as_str()));
        self.carry_out(parts)
    }

    async fn carry_out(self: Arc<Self>, parts: Parts) {
        let (to_progress, mut progress) = watch::channel(None);
        let mut engine = Engine { updates: self, parts: Arc::new(parts), job: None, to_progress };
        loop {
            while let Some(output) = engine.poll() {
                engine.carry_out(output).await;
            }
            let moment = engine.updates.moment();
            let timeout = engine.updates.lock().next_timeout(&moment);
            let timeout = async {
                match timeout {
                    Some(at) => tokio::time::sleep(Duration::from_millis(at.since(moment.now))).await,
                    None => pending().await,
                }
            };
            let job = async {
                match &mut engine.job {
                    Some(job) => job.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // What a job told comes before its end.
                biased;
                Ok(()) = progress.changed() => {
                    let told = *progress.borrow_and_update();
                    engine.updates.change(|coordinator, moment| match told {
                        Some((id, Progress::Loading(percent))) => coordinator.loading(moment, id, percent),
                        Some((id, Progress::Installing(percent))) => coordinator.installing(moment, id, Some(percent)),
                        None => {}
                    });
                }
                (id, done) = job => {
                    engine.job = None;
                    engine.done(id, done);
                }
                () = engine.updates.wake.notified() => {}
                () = timeout => engine.updates.change(Coordinator::timeout),
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Coordinator, &Moment) -> T) -> T {
        let moment = self.moment();
        let changed = change(&mut self.lock(), &moment);
        self.wake.notify_one();
        changed
    }

    fn moment(&self) -> Moment {
        let now = self.clock.now();
        let unix_s = (now.wall.quality > ClockQuality::UNSET).then(|| now.wall.unix_ms.div_euclid(1000));
        Moment { now: now.monotonic, unix_s }
    }

    fn lock(&self) -> MutexGuard<'_, Coordinator> {
        self.coordinator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Engine {
    updates: Arc<Updates>,
    parts: Arc<Parts>,
    job: Option<Job>,
    /// The last word of a job; only that counts.
    to_progress: watch::Sender<Option<(u64, Progress)>>,
}

type Job = Pin<Box<dyn Future<Output = (u64, Done)> + Send>>;

#[derive(Clone, Copy)]
enum Progress {
    Loading(Option<u8>),
    Installing(u8),
}

/// What a job came to.
enum Done {
    Loaded(Result<(), Failed>),
    Verified(Result<Verified, Failed>),
    Installed(Result<Installed, String>),
    Standing(Result<Standing, String>),
    Confirmed(Result<(), String>),
    RolledBack(Result<(), String>),
}

impl Engine {
    /// Not as a scrutinee: the lock would be held meanwhile.
    fn poll(&self) -> Option<Output> {
        self.updates.lock().poll()
    }

    fn done(&mut self, id: u64, done: Done) {
        self.updates.change(|coordinator, moment| match done {
            Done::Loaded(loaded) => coordinator.loaded(moment, id, loaded),
            Done::Verified(verified) => coordinator.verified(moment, id, verified),
            Done::Installed(installed) => coordinator.installed(moment, id, installed),
            Done::Standing(standing) => coordinator.standing(moment, id, standing),
            Done::Confirmed(confirmed) => coordinator.confirmed(moment, id, confirmed),
            Done::RolledBack(rolled_back) => coordinator.rolled_back(moment, id, rolled_back),
        });
    }

    async fn carry_out(&mut self, output: Output) {
        let parts = Arc::clone(&self.parts);
        match output {
            Output::Save(bytes) => {
                let saved = self.updates.record.work(move || replace(&parts.directory, RECORD, &bytes)).await;
                if let Err(error) = saved {
                    tracing::error!(%error, "the record of updates cannot be written");
                    self.updates.change(|coordinator, moment| coordinator.not_saved(moment, &error.to_string()));
                }
            }
            Output::Clean { keep } => {
                self.job = None;
                if let Err(error) = self.updates.files.work(move || clean(&parts.directory, keep)).await {
                    tracing::warn!(%error, "what downloads left cannot be removed");
                }
            }
            Output::Load { id, offer } => {
                let (told, updates) = (self.to_progress.clone(), Arc::clone(&self.updates));
                self.start(id, async move { Done::Loaded(load(&parts, &updates, id, offer, told).await) });
            }
            Output::StopLoading { .. } => self.job = None,
            Output::Verify(subject) => {
                let files = self.updates.files.clone();
                self.start(subject.id, async move { Done::Verified(files.work(move || verify(&parts, subject)).await) })
            }
            Output::Install { subject, proof } => {
                let told = self.to_progress.clone();
                self.start(subject.id, async move {
                    let image = ImageFile::new(parts.directory.path().join(part(&subject.id.to_string())));
                    let tell = |percent| {
                        told.send_replace(Some((subject.id, Progress::Installing(percent))));
                    };
                    Done::Installed(match parts.backend(subject) {
                        Ok(backend) => backend.install(Arc::new(proof), parts.order(subject), &image, &tell).await,
                        Err(why) => Err(why),
                    })
                });
            }
            Output::StopInstalling(subject) => {
                if let Ok(backend) = self.parts.backend(subject) {
                    backend.stop(subject.id);
                }
            }
            Output::Ask(subject) => self.start(subject.id, async move {
                Done::Standing(match parts.backend(subject) {
                    Ok(backend) => backend.standing(parts.order(subject)).await,
                    Err(why) => Err(why),
                })
            }),
            Output::Restart(subject) => {
                let restarted = match self.parts.backend(subject) {
                    Ok(backend) => backend.restart(self.parts.order(subject)).await,
                    Err(why) => Err(why),
                };
                if let Err(why) = restarted {
                    tracing::error!(id = subject.id, why, "the restart that an update needs does not happen yet");
                    self.updates.change(|coordinator, moment| coordinator.not_restarted(moment, subject.id));
                }
            }
            Output::Confirm { subject, counter, on_trial } => {
                let files = self.updates.files.clone();
                self.start(subject.id, async move {
                    Done::Confirmed(confirm(&parts, &files, subject, counter, on_trial).await)
                });
            }
            Output::RollBack(subject) => self.start(subject.id, async move {
                Done::RolledBack(match parts.backend(subject) {
                    Ok(backend) => backend.roll_back(parts.order(subject)).await,
                    Err(why) => Err(why),
                })
            }),
            Output::Tell { asker, id, reference, news } => {
                tracing::info!(cloud = asker, id, reference, "update: {news}");
                self.parts.listener.changed(&asker);
            }
        }
    }

    fn start(&mut self, id: u64, job: impl Future<Output = Done> + Send + 'static) {
        self.job = Some(Box::pin(async move { (id, job.await) }));
    }
}

impl Parts {
    fn backend(&self, subject: Subject) -> Result<&Arc<dyn Backend>, String> {
        let target = subject.target;
        self.backends.get(&target).ok_or_else(|| format!("nothing installs images for the {target} here"))
    }

    const fn order(&self, Subject { id, target, device }: Subject) -> Order<'_> {
        Order { operation: id, product: &self.product, target, device }
    }
}

async fn load(
    parts: &Parts,
    Updates { clock, files, .. }: &Updates,
    id: u64,
    offer: Offer,
    told: watch::Sender<Option<(u64, Progress)>>,
) -> Result<(), Failed> {
    let Offer { url, headers, size, digests, plain_text, .. } = offer;
    let deadline = clock.now().monotonic.after(LOAD_MS);
    let limits = Limits { plain_text, deadline, ..parts.limits.clone() };
    let now = || clock.now().monotonic;
    let fetch = Fetch {
        server: &*parts.server,
        disk: Arc::new(parts.directory.clone()),
        name: &id.to_string(),
        wish: Wish { url, headers, size, digests, limits },
        random: random(),
        clock: &now,
        turns: files,
    };
    let mut tell = |have, total: Option<u64>| {
        told.send_replace(Some((id, Progress::Loading(total.map(|total| percent(have, total))))));
    };
    fetch.run(&mut tell).await.map(drop).map_err(|why| Failed::new(failed_at(&why), why))
}

const fn failed_at(why: &Failure) -> FailedAt {
    match why {
        // A rule of the product file.
        Failure::Address => FailedAt::Verifying,
        Failure::Digest(_) | Failure::Attempts(Trouble::Size { .. }) | Failure::Restless(Trouble::Size { .. }) => {
            FailedAt::Digest
        }
        Failure::TooLarge { .. } | Failure::Space { .. } => FailedAt::Space,
        Failure::Status(_) | Failure::Attempts(_) | Failure::Restless(_) | Failure::Deadline | Failure::Disk(_) => {
            FailedAt::Loading
        }
    }
}

/// Blocks. The manifest is kept beside the file, because installers may want the image without it.
fn verify(parts: &Parts, Subject { id, target, .. }: Subject) -> Result<Verified, Failed> {
    let (disk, kept) = (&parts.directory, format!("{id}.manifest"));
    let work = || -> io::Result<_> {
        let floor = Floors::open(Arc::new(disk.clone()))?.of(target);
        let mut file = std::fs::File::open(disk.path().join(part(&id.to_string())))?;
        let contents = trailer::read(&mut file)?;
        let manifest = match contents.manifest {
            Some(manifest) => {
                replace(disk, &kept, &manifest)?;
                Some(manifest)
            }
            None => match disk.read(&kept, MANIFEST_MAX) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                kept => Some(kept?),
            },
        };
        Ok((floor, contents.image, manifest))
    };
    let (floor, facts, manifest) = work().map_err(|error| Failed::new(FailedAt::Installing, error))?;
    let device = Device { product: &parts.product, target, floor };
    let verified = parts.policy.verify(&device, manifest.as_deref(), &facts);
    verified.map_err(|why| Failed::new(FailedAt::Verifying, why))
}

async fn confirm(
    parts: &Parts,
    files: &Turns,
    subject: Subject,
    counter: Option<u64>,
    on_trial: bool,
) -> Result<(), String> {
    if on_trial {
        parts.backend(subject)?.confirm(parts.order(subject)).await?;
    }
    let Some(counter) = counter else { return Ok(()) };
    let directory = parts.directory.clone();
    let raised = files.work(move || Floors::open(Arc::new(directory))?.raise(subject.target, counter)).await;
    if let Err(error) = raised {
        // It is confirmed and runs; to say otherwise would have it taken back.
        tracing::error!(id = subject.id, counter, %error, "the counter that was confirmed is not remembered");
    }
    Ok(())
}

/// Blocks.
fn clean(disk: &Directory, keep: Option<u64>) -> io::Result<()> {
    let keep = keep.map(|id| format!("{id}."));
    let mut removed = false;
    for name in disk.list()? {
        let is_of_operation = name.split_once('.').is_some_and(|(id, _)| id.parse::<u64>().is_ok());
        if is_of_operation && keep.as_ref().is_none_or(|keep| !name.starts_with(keep)) {
            disk.remove(&name)?;
            removed = true;
        }
    }
    if removed { disk.sync_directory() } else { Ok(()) }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness all devices start at once, which is worse than not at all only for the server.
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::warn!(%error, "there is no randomness");
    }
    u64::from_be_bytes(bytes)
}

/// The coordinator's record. Chosen by us.
const RECORD: &str = "updates";

/// Longest record: the texts of offers that wait, what is over, and what JSON makes of them.
const RECORD_MAX: usize = 1024 * 1024;

/// How long one life of the host tries to load a file. Not documented; chosen by us: the platform names another by then.
const LOAD_MS: u64 = 24 * 3_600_000;

#[cfg(test)]
mod tests;
