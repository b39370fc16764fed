//! Plugins that are installed while the host runs: verified, loaded beside what runs, swapped, watched, and taken back.
//!
//! Everything that can refuse a file does so before anything is stopped. From the swap on, the record on the disk says that
//! the file is on trial; so whatever ends this process, the next one knows.

mod choice;
mod gate;
mod look;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use self::gate::{Unhealthy, Watched, healthy};
use self::look::look;
use super::{Clouds, STOP_MARGIN};
use crate::admin::PluginChange;
use crate::config::update::plugins_directory;
use crate::config::{CloudInstance, HostConfig, ProductKey};
use crate::plugins::discover::discover;
use crate::plugins::installed::candidate::{Candidate, described};
use crate::plugins::installed::directory::{OpenInstalled, sha256_of};
use crate::plugins::installed::state::{Release, Source, Trial, is_name};
use crate::plugins::{Loaded, Plugins, User};
use crate::services::Services;
use crate::update::manifest::Version;

/// What the running host remembers for it.
pub struct Installation {
    directory: PathBuf,
    /// None until something is installed or is to be.
    open: Mutex<Option<OpenInstalled>>,
    /// Held by who changes which library runs.
    changing: tokio::sync::Mutex<()>,
    current: Mutex<Current>,
    /// Counts what becomes of plugins.
    news: Arc<watch::Sender<u64>>,
}

/// Of the product that runs.
#[derive(Default)]
struct Current {
    directories: Vec<PathBuf>,
    clouds: Vec<Arc<CloudInstance>>,
    /// Plugins on trial that were loaded with it, and whether their clouds have to come online.
    trials: Vec<(String, bool)>,
    /// Libraries that were loaded beside others since the start.
    n_loaded: usize,
}

/// A file that fits, in memory.
struct Fitting {
    loaded: Loaded,
    release: Release,
    built_in: Option<[u8; 32]>,
    /// It is what is good already.
    counts: bool,
}

impl Installation {
    pub fn new(config: &HostConfig) -> Self {
        Self {
            directory: plugins_directory(&config.host.state_dir),
            open: Mutex::new(None),
            changing: tokio::sync::Mutex::new(()),
            current: Mutex::default(),
            news: Arc::new(watch::Sender::new(0)),
        }
    }

    /// To be told of what becomes of plugins.
    pub fn news(&self) -> Arc<watch::Sender<u64>> {
        Arc::clone(&self.news)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is installed; with `make`, also where nothing is yet. Blocks.
    fn with<T>(&self, make: bool, work: impl FnOnce(&mut OpenInstalled) -> T) -> io::Result<Option<T>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() && (make || self.directory.is_dir()) {
            *open = Some(OpenInstalled::wait(&self.directory)?);
        }
        Ok(open.as_mut().map(work))
    }

    /// The same for who changes something.
    fn change<T, E: ToString>(&self, work: impl FnOnce(&mut OpenInstalled) -> Result<T, E>) -> Result<T, String> {
        let place = self.directory.display();
        let done = self.with(true, work).map_err(|error| format!("{place}: {error}"))?;
        done.ok_or_else(|| format!("{place}: cannot be opened"))?.map_err(|error| error.to_string())
    }
}

impl Clouds {
    /// Plugins on trial that were loaded with the product begin.
    pub(super) fn begin_trials(&self, plugins: &Plugins) {
        self.installation.current().trials.iter().for_each(|(plugin, _)| plugins.trial_begins(plugin));
    }

    /// Watches over the plugins on trial that run since the start of the product.
    pub(super) fn watch_trials(self: &Arc<Self>) {
        let trials = std::mem::take(&mut self.installation.current().trials);
        for (plugin, must_be_online) in trials {
            let clouds = Arc::clone(self);
            tokio::spawn(async move {
                let _changing = clouds.installation.changing.lock().await;
                let Some(plugins) = clouds.lock().plugins.clone() else { return };
                let users = plugins.users_of(&plugin).into_iter();
                let watched: Vec<_> = users.map(|user| Watched { cloud: user.cloud, must_be_online }).collect();
                if watched.is_empty() {
                    return;
                }
                if let Err(why) = clouds.settle(&plugin, &plugins, watched, None).await {
                    tracing::error!(plugin, "the plugin on trial: {why}");
                }
            });
        }
    }

    /// Changes which library a plugin's clouds have. Each step is told as it is done.
    ///
    /// # Errors
    /// For a person: why it was not done, or was taken back.
    pub async fn change_plugin(
        self: &Arc<Self>,
        change: PluginChange,
        steps: mpsc::Sender<String>,
    ) -> Result<String, String> {
        let Ok(_changing) = self.installation.changing.try_lock() else {
            return Err("another plugin is being changed, or is on trial since the start of the host".to_owned());
        };
        let tell = |step: String| {
            tracing::info!("plugins: {step}");
            // Who asked may have gone.
            let _ = steps.try_send(step);
        };
        match change {
            PluginChange::Install { file } => {
                let done = self.install(&file, tell).await;
                if done.is_err() {
                    let clouds = Arc::clone(self);
                    let unstaged = move || clouds.installation.with(false, |open| open.installed.unstage()).map(drop);
                    let _ = tokio::task::spawn_blocking(unstaged).await;
                }
                done
            }
            PluginChange::RollBack { plugin } => self.roll_back(&plugin, tell).await,
        }
    }

    async fn install(self: &Arc<Self>, file: &Path, tell: impl Fn(String)) -> Result<String, String> {
        if self.installation.current().n_loaded >= LOADED_MAX {
            return Err(format!(
                "{LOADED_MAX} plugins were installed since the start of the host, and each stays in memory; restart it"
            ));
        }
        let plugins = self.running_plugins()?;
        let product = self.product_key()?;
        let (clouds, file, of) = (Arc::clone(self), file.to_owned(), product.clone());
        let (candidate, path, words) = blocking(move || clouds.stage(&file, &of)).await?;
        tell(format!("verified: {words}"));
        look(&path).await?;
        let clouds = Arc::clone(self);
        let fitting = blocking(move || clouds.fit(&candidate, &path, &product)).await?;
        let name = fitting.loaded.descriptor.name.to_string();
        let users = plugins.users_of(&name);
        if users.is_empty() {
            return Err(format!("no cloud of this product uses the plugin `{name}`"));
        }
        tell(format!("staged: plugin {name} {}", fitting.release.version));
        let built_in = fitting.built_in;
        // Where the file was damaged and came again just now, it counts and another one runs.
        let runs = |user: &User| user.loaded.as_ref().is_ok_and(|loaded| loaded.path == fitting.loaded.path);
        if fitting.counts && users.iter().all(runs) {
            return Ok(format!("plugin {name} {} is installed already", fitting.release.version));
        }
        let watched = watched(&users);
        let trial = Trial {
            release: fitting.release.clone(),
            tries: self.config.update.tries,
            must_be_online: watched.iter().all(|watched| watched.must_be_online),
        };
        let (clouds, plugin) = (Arc::clone(self), name.clone());
        blocking(move || clouds.installation.change(|open| open.installed.try_out(&plugin, built_in, trial, true)))
            .await?;
        let version = &fitting.release.version;
        let with: Vec<_> = users.iter().map(|user| (user.cloud.clone(), Ok(fitting.loaded.clone()))).collect();
        self.swap(&plugins, with, true).await?;
        let names: Vec<&str> = users.iter().map(|user| user.cloud.as_str()).collect();
        tell(format!("swapped: {} runs with {name} {version}", names.join(", ")));
        self.settle(&name, &plugins, watched, Some(users)).await?;
        Ok(format!("healthy: plugin {name} {version} is installed"))
    }

    async fn roll_back(self: &Arc<Self>, plugin: &str, tell: impl Fn(String)) -> Result<String, String> {
        let plugins = self.running_plugins()?;
        let (clouds, name) = (Arc::clone(self), plugin.to_owned());
        let loaded = blocking(move || clouds.former(&name)).await?;
        let users = plugins.users_of(plugin);
        let watched = watched(&users);
        let (clouds, name) = (Arc::clone(self), plugin.to_owned());
        blocking(move || clouds.installation.change(|open| open.installed.roll_back(&name))).await?;
        let version = loaded.descriptor.version.to_string();
        let with = users.into_iter().map(|user| (user.cloud, Ok(loaded.clone()))).collect();
        self.swap(&plugins, with, false).await?;
        tell(format!("swapped: {plugin} {version} runs again"));
        match self.watch_over(&plugins, &watched).await {
            Ok(()) => Ok(format!("healthy: plugin {plugin} {version}")),
            Err(Unhealthy::Gone) => Err(format!("plugin {plugin} {version} counts; {GONE}")),
            Err(Unhealthy::Broken(why)) => Err(format!("plugin {plugin} {version} counts, but does not work: {why}")),
        }
    }

    /// Confirms a trial that runs, or takes it back. `before` is what its clouds had; none: what is good has to be loaded.
    async fn settle(
        self: &Arc<Self>,
        plugin: &str,
        plugins: &Arc<Plugins>,
        watched: Vec<Watched>,
        before: Option<Vec<User>>,
    ) -> Result<(), String> {
        let health = self.watch_over(plugins, &watched).await;
        let (clouds, name) = (Arc::clone(self), plugin.to_owned());
        match health {
            Ok(()) => {
                plugins.trial_is_over(plugin);
                let confirmed = move || clouds.installation.change(|open| open.installed.confirm(&name));
                blocking(confirmed).await.map_err(|why| format!("it works and stays on trial: {why}"))?;
                tracing::info!(plugin, "the plugin on trial is confirmed");
                Ok(())
            }
            Err(Unhealthy::Gone) => Err(format!("it stays on trial: {GONE}")),
            Err(Unhealthy::Broken(why)) => {
                // On the disk first: if this process ends meanwhile, the next one begins with what is good.
                let back = blocking(move || {
                    let written = clouds.installation.change(|open| open.installed.step_back(&name));
                    let with: Vec<_> = match before {
                        Some(users) => users.into_iter().map(|user| (user.cloud, user.loaded)).collect(),
                        None => {
                            let good = clouds.good(&name);
                            watched.into_iter().map(|watched| (watched.cloud, good.clone())).collect()
                        }
                    };
                    Ok((written, with))
                });
                let (written, with) = back.await?;
                self.swap(plugins, with, false).await?;
                let but =
                    written.err().map_or_else(String::new, |error| format!("; but it cannot be written: {error}"));
                Err(format!("stepped back: {why}{but}"))
            }
        }
    }

    async fn watch_over(&self, plugins: &Arc<Plugins>, watched: &[Watched]) -> Result<(), Unhealthy> {
        let look = || {
            let runs = self.lock().plugins.as_ref().is_some_and(|running| Arc::ptr_eq(running, plugins));
            runs.then(|| plugins.status())
        };
        healthy(watched, self.config.update.health, self.installation.news.subscribe(), look).await
    }

    async fn swap(
        &self,
        plugins: &Arc<Plugins>,
        with: Vec<(String, Result<Loaded, String>)>,
        on_trial: bool,
    ) -> Result<(), String> {
        let (plugins, grace) = (Arc::clone(plugins), self.config.plugins.stop_grace + STOP_MARGIN);
        // The plugins' threads need this one for their last words.
        blocking(move || {
            for (cloud, loaded) in with {
                plugins.replace(&cloud, loaded, on_trial, grace);
            }
            Ok(())
        })
        .await
    }

    /// Verifies a file and brings it here; where it is then.
    fn stage(&self, file: &Path, product: &ProductKey) -> Result<(Candidate, PathBuf, String), String> {
        let update = &self.config.update;
        let mut candidate = Candidate::open(file, update.max_bytes as u64)?;
        let proof = candidate.verify(&update.policy(), product, 0)?;
        let reserve = update.reserve_bytes as u64;
        self.installation.change(|open| open.installed.stage(&proof, &mut candidate.file, reserve))?;
        let path = self.installation.directory.join(candidate.file_name());
        Ok((candidate, path, described(&proof)))
    }

    /// Loads what was staged, and holds it against its counter and the settings of its clouds.
    fn fit(&self, candidate: &Candidate, path: &Path, product: &ProductKey) -> Result<Fitting, String> {
        let loaded = self.loader.load(path, Services::OFFERED).map_err(|error| error.to_string())?;
        self.installation.current().n_loaded += 1;
        let descriptor = &loaded.descriptor;
        let floor = self.installation.change(|open| Ok::<_, String>(open.installed.floor(&descriptor.name)))?;
        let proof = candidate.verify(&self.config.update.policy(), product, floor)?;
        let version = Version::parse(&descriptor.version).filter(|_| is_name(&descriptor.name));
        let version = version.ok_or("its name and version are not 1 to 64 visible ASCII characters each")?;
        self.suits(&loaded)?;
        let counter = proof.manifest().map(|manifest| manifest.counter);
        let release = Release { facts: *proof.facts(), version, counter };
        let files = discover(&self.installation.current().directories).files;
        let built_in = self.built_in(&descriptor.name, &files).as_deref().and_then(sha256_of);
        let counts = self.installation.change(|open| {
            let entry = open.installed.entry(&descriptor.name).filter(|entry| entry.built_in == built_in);
            let is_good = |good: &Source| good.release() == Some(&release);
            Ok::<_, String>(entry.is_some_and(|entry| entry.trial.is_none() && is_good(&entry.good)))
        })?;
        Ok(Fitting { loaded, release, built_in, counts })
    }

    fn running_plugins(&self) -> Result<Arc<Plugins>, String> {
        let running = self.lock();
        running.plugins.clone().ok_or_else(|| format!("no plugins run: {}", running.state))
    }

    fn product_key(&self) -> Result<ProductKey, String> {
        let key = self.lock().key.clone();
        key.and_then(|key| ProductKey::parse(&key)).ok_or_else(|| "no product runs".to_owned())
    }
}

fn watched(users: &[User]) -> Vec<Watched> {
    users.iter().map(|user| Watched { cloud: user.cloud.clone(), must_be_online: user.online }).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(format!("the host failed at it: {error}")))
}

/// Libraries that may be loaded beside others between two starts: none can be removed from memory. Not documented; chosen
/// by us: each costs about half a megabyte.
const LOADED_MAX: usize = 8;

const GONE: &str = "the plugins were stopped before it was known whether it works";
