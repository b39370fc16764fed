//! Drives the [`Coordinator`]: carries out what it wants, in order, and tells it what came of that.
//!
//! One task, beside which at most one job runs: a download, a look at the file, an installation. Whatever blocks runs beside
//! the I/O thread. In the directory of updates: `updates` (the record), `floors`, and for each operation `<id>.part`,
//! `<id>.checkpoint` and `<id>.manifest`.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use polylink_plugin_api::ClockQuality;
use tokio::sync::{mpsc, oneshot};

use super::backend::{Backend, ImageFile};
use super::coordinator::{CancelRefused, Coordinator, News, OfferRefused, Output, Settings};
use super::download::fetch::{Fetch, Server, part};
use super::download::machine::percent;
use super::download::{Limits, Wish};
use super::floors::Floors;
use super::hook::{Installed, Order, Standing};
use super::manifest::{Device, MANIFEST_MAX, Policy, Target, Verified};
use super::offer::{Moment, Offer};
use super::slots::replace;
use super::trailer;
use crate::config::ProductKey;
use crate::disk::{Directory, Disk};
use crate::services::clock::Clock;

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
    /// How patient the coordinator is.
    pub settings: Settings,
    /// The product.
    pub product: ProductKey,
    /// What installs, by target. An offer for another target fails.
    pub backends: BTreeMap<Target, Arc<dyn Backend>>,
    /// The time.
    pub clock: Clock,
    /// Who hears news.
    pub listener: Arc<dyn Listener>,
}

/// Hears what askers are to be told. Called on the I/O thread; returns at once.
pub trait Listener: Send + Sync {
    /// News for an asker. What it misses while it does not run, but for the end, is lost.
    fn tell(&self, asker: &str, id: u64, reference: &str, news: &News);
}

/// What is asked of the engine.
pub enum Request {
    /// An image is offered.
    Offer {
        /// Which.
        offer: Box<Offer>,
        /// Its number, or why not.
        answer: oneshot::Sender<Result<u64, OfferRefused>>,
    },
    /// An offer is taken back.
    Cancel {
        /// By whom.
        asker: String,
        /// Which.
        id: u64,
        /// Whether that is possible.
        answer: oneshot::Sender<Result<(), CancelRefused>>,
    },
    /// An asker knows how its update ended.
    Acknowledged {
        /// Who.
        asker: String,
        /// Which.
        id: u64,
    },
    /// An asker has started.
    AskerStarted {
        /// Who.
        asker: String,
    },
    /// What runs does what it should.
    Healthy,
}

/// Runs until all senders of the mailbox are gone. What is under way goes on with the next start.
pub async fn run(parts: Parts, mut mailbox: mpsc::Receiver<Request>) {
    let parts = Arc::new(parts);
    let directory = parts.directory.clone();
    let saved = blocking(move || directory.read(RECORD, RECORD_MAX)).await;
    let saved = match saved {
        Ok(saved) => Some(saved),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::error!(%error, "what updates were under way cannot be read");
            None
        }
    };
    let (to_progress, progress) = mpsc::channel(1);
    let coordinator = Coordinator::restore(parts.settings, saved.as_deref());
    let mut engine = Engine { parts, coordinator, job: None, to_progress, progress };
    engine.coordinator.start(&engine.moment());
    loop {
        while let Some(output) = engine.coordinator.poll() {
            engine.carry_out(output).await;
        }
        let moment = engine.moment();
        let timeout = engine.coordinator.next_timeout(&moment);
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
            Some((id, told)) = engine.progress.recv() => match told {
                Progress::Loading(percent) => engine.coordinator.loading(id, percent),
                Progress::Installing(percent) => engine.coordinator.installing(id, Some(percent)),
            },
            (id, done) = job => {
                engine.job = None;
                engine.done(id, done);
            }
            request = mailbox.recv() => match request {
                Some(request) => engine.request(request),
                None => return,
            },
            () = timeout => {
                let moment = engine.moment();
                engine.coordinator.timeout(&moment);
            }
        }
    }
}

struct Engine {
    parts: Arc<Parts>,
    coordinator: Coordinator,
    job: Option<Job>,
    to_progress: mpsc::Sender<(u64, Progress)>,
    progress: mpsc::Receiver<(u64, Progress)>,
}

type Job = Pin<Box<dyn Future<Output = (u64, Done)> + Send>>;

enum Progress {
    Loading(Option<u8>),
    Installing(u8),
}

/// What a job came to.
enum Done {
    Loaded(Result<(), String>),
    Verified(Result<Verified, String>),
    Installed(Result<Installed, String>),
    Standing(Result<Standing, String>),
    Confirmed(Result<(), String>),
    RolledBack(Result<(), String>),
}

impl Engine {
    fn request(&mut self, request: Request) {
        let moment = self.moment();
        match request {
            // Whoever asked may be gone by the time of the answer.
            Request::Offer { offer, answer } => drop(answer.send(self.coordinator.offer(&moment, *offer, random()))),
            Request::Cancel { asker, id, answer } => drop(answer.send(self.coordinator.cancel(&moment, &asker, id))),
            Request::Acknowledged { asker, id } => self.coordinator.acknowledged(&asker, id),
            Request::AskerStarted { asker } => self.coordinator.asker_started(&asker),
            Request::Healthy => self.coordinator.healthy(),
        }
    }

    fn done(&mut self, id: u64, done: Done) {
        let moment = self.moment();
        match done {
            Done::Loaded(loaded) => self.coordinator.loaded(&moment, id, loaded),
            Done::Verified(verified) => self.coordinator.verified(&moment, id, verified),
            Done::Installed(installed) => self.coordinator.installed(&moment, id, installed),
            Done::Standing(standing) => self.coordinator.standing(&moment, id, standing),
            Done::Confirmed(confirmed) => self.coordinator.confirmed(&moment, id, confirmed),
            Done::RolledBack(rolled_back) => self.coordinator.rolled_back(&moment, id, rolled_back),
        }
    }

    async fn carry_out(&mut self, output: Output) {
        let parts = Arc::clone(&self.parts);
        match output {
            Output::Save(bytes) => {
                let saved = blocking(move || replace(&parts.directory, RECORD, &bytes)).await;
                if let Err(error) = saved {
                    tracing::error!(%error, "the record of updates cannot be written");
                    self.coordinator.not_saved(&self.moment(), &error.to_string());
                }
            }
            Output::Clean { keep } => {
                self.job = None;
                if let Err(error) = blocking(move || clean(&parts.directory, keep)).await {
                    tracing::warn!(%error, "what downloads left cannot be removed");
                }
            }
            Output::Load { id, offer } => {
                let told = self.to_progress.clone();
                self.start(id, async move { Done::Loaded(load(&parts, id, offer, told).await) });
            }
            Output::StopLoading { .. } => self.job = None,
            Output::Verify { id, target } => {
                self.start(id, async move { Done::Verified(blocking(move || verify(&parts, id, target)).await) })
            }
            Output::Install { id, target, device: _, proof } => {
                let told = self.to_progress.clone();
                self.start(id, async move {
                    let image = ImageFile::new(parts.directory.path().join(part(&id.to_string())));
                    let tell = |percent| drop(told.try_send((id, Progress::Installing(percent))));
                    let Some(backend) = parts.backends.get(&target) else {
                        return Done::Installed(Err(format!("nothing installs images for the {target} here")));
                    };
                    Done::Installed(backend.install(Arc::new(proof), parts.order(id, target), &image, &tell).await)
                });
            }
            Output::StopInstalling { .. } => self.parts.backends.values().for_each(|backend| backend.stop()),
            Output::Ask { id, target } => self.start(id, async move {
                Done::Standing(match parts.backend(target) {
                    Ok(backend) => backend.standing(parts.order(id, target)).await,
                    Err(why) => Err(why),
                })
            }),
            Output::Restart { id } => {
                let restarted = match self.parts.backend(Target::Module) {
                    Ok(backend) => backend.restart(self.parts.order(id, Target::Module)).await,
                    Err(why) => Err(why),
                };
                if let Err(why) = restarted {
                    tracing::error!(id, why, "the restart that an update needs does not happen");
                }
            }
            Output::Confirm { id, target, counter, on_trial } => {
                self.start(id, async move { Done::Confirmed(confirm(&parts, id, target, counter, on_trial).await) })
            }
            Output::RollBack { id } => self.start(id, async move {
                Done::RolledBack(match parts.backend(Target::Module) {
                    Ok(backend) => backend.roll_back(parts.order(id, Target::Module)).await,
                    Err(why) => Err(why),
                })
            }),
            Output::Tell { asker, id, reference, news } => {
                tracing::info!(asker, id, ?news, "update");
                self.parts.listener.tell(&asker, id, &reference, &news);
            }
        }
    }

    fn start(&mut self, id: u64, job: impl Future<Output = Done> + Send + 'static) {
        self.job = Some(Box::pin(async move { (id, job.await) }));
    }

    fn moment(&self) -> Moment {
        let now = self.parts.clock.now();
        let unix_s = (now.wall.quality > ClockQuality::UNSET).then(|| now.wall.unix_ms.div_euclid(1000));
        Moment { now: now.monotonic, unix_s, utc_offset_s: now.utc_offset_s }
    }
}

impl Parts {
    fn backend(&self, target: Target) -> Result<&Arc<dyn Backend>, String> {
        self.backends.get(&target).ok_or_else(|| format!("nothing installs images for the {target} here"))
    }

    const fn order(&self, operation: u64, target: Target) -> Order<'_> {
        Order { operation, product: &self.product, target }
    }
}

async fn load(parts: &Parts, id: u64, offer: Offer, told: mpsc::Sender<(u64, Progress)>) -> Result<(), String> {
    let Offer { url, size, digests, plain_text, .. } = offer;
    let deadline = parts.clock.now().monotonic.after(LOAD_MS);
    let limits = Limits { plain_text, deadline, ..parts.limits.clone() };
    let clock = || parts.clock.now().monotonic;
    let fetch = Fetch {
        server: &*parts.server,
        disk: Arc::new(parts.directory.clone()),
        name: &id.to_string(),
        wish: Wish { url, size, digests, limits },
        random: random(),
        clock: &clock,
    };
    // One that is not heard is made good by the next.
    let mut tell = |have, total: Option<u64>| {
        let _ = told.try_send((id, Progress::Loading(total.map(|total| percent(have, total)))));
    };
    fetch.run(&mut tell).await.map(drop).map_err(|why| why.to_string())
}

/// Blocks. The manifest is kept beside the file, because installers may want the image without it.
fn verify(parts: &Parts, id: u64, target: Target) -> Result<Verified, String> {
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
    let (floor, facts, manifest) = work().map_err(|error| error.to_string())?;
    let device = Device { product: &parts.product, target, floor };
    parts.policy.verify(&device, manifest.as_deref(), &facts).map_err(|why| why.to_string())
}

async fn confirm(
    parts: &Arc<Parts>,
    id: u64,
    target: Target,
    counter: Option<u64>,
    on_trial: bool,
) -> Result<(), String> {
    if on_trial {
        parts.backend(target)?.confirm(parts.order(id, target)).await?;
    }
    let Some(counter) = counter else { return Ok(()) };
    let directory = parts.directory.clone();
    let raised = blocking(move || Floors::open(Arc::new(directory))?.raise(target, counter)).await;
    if let Err(error) = raised {
        // It is confirmed and runs; to say otherwise would have it taken back.
        tracing::error!(id, counter, %error, "the counter that was confirmed is not remembered");
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

/// Runs what blocks beside the I/O thread.
async fn blocking<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(task).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The coordinator's record. Chosen by us.
const RECORD: &str = "updates";

/// Longest record: nine offers with texts of 2 KiB each, and what is over.
const RECORD_MAX: usize = 256 * 1024;

/// How long one life of the host tries to load a file. Not documented; chosen by us: the platform names another by then.
const LOAD_MS: u64 = 24 * 3_600_000;

#[cfg(test)]
mod tests;
