//! The plugins: found, loaded, each running on a thread of its own, watched, and begun anew after a fault.
//!
//! Invariant: whatever one plugin does within its own code (panics, stalls, floods), the others, the MCU and the host
//! go on. What is not contained: memory errors, stack overflow, `abort`.
//!
//! [`discover`] which files · [`loader`] file to code · [`lifecycle`] when to try again · [`runner`] the thread ·
//! [`watchdog`] calls that do not return · [`inbox`] what waits · `face` the host as a plugin sees it · `instance` what
//! they share · [`installed`] files that came later · `swap` another library in the place of one that runs.

pub mod discover;
mod face;
pub mod inbox;
pub mod installed;
mod instance;
pub mod lifecycle;
pub mod loader;
mod runner;
mod swap;
pub mod watchdog;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use polylink_plugin_api::{ExtensionRef, InstanceId, Status, WallTime};
use tracing::{error, info, warn};

use self::discover::discover;
use self::instance::{Instance, Surroundings};
pub use self::lifecycle::{Patience, Phase};
pub use self::loader::{LoadError, Loaded, Loader};
pub use self::swap::User;
use self::watchdog::{Ward, Watchdog};
use crate::bus::{CloudId, CloudUsage};
use crate::hub::Hub;
use crate::services::EventSink;

/// Section `[plugins]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSettings {
    /// Absolute directories, searched in this order.
    pub directories: Vec<PathBuf>,
    /// Files by plugin name that go before those of the directories.
    pub installed: BTreeMap<String, PathBuf>,
    /// A call that takes longer is told in the log.
    pub call_warn_ms: u64,
    /// A call that takes longer puts its instance into quarantine.
    pub call_quarantine_ms: u64,
    /// Backoff and the number of faults.
    pub patience: Patience,
    /// How long what a plugin asked for in `stop` may take.
    pub stop_grace_ms: u64,
}

/// One enabled section `[cloud.<name>]` of the product file.
#[derive(Clone, PartialEq, Eq)]
pub struct CloudSetup {
    /// Its name.
    pub name: String,
    /// Its plugin: a name, or the absolute path of a file.
    pub plugin: String,
    /// Its settings as a JSON object, with the secrets in it.
    pub settings: String,
    /// The product document with this cloud's names applied.
    pub product: String,
    /// It starts only when this cloud was named, see [`Plugins::start_named`]; none: with the others.
    pub start_when: Option<String>,
}

/// The services, as far as running a plugin needs them.
pub trait ServiceHost: Send + Sync {
    /// Registers an incarnation of this cloud's plugin; its events go to `sink`.
    fn open(&self, name: &str, sink: Arc<dyn EventSink>) -> InstanceId;
    /// Closes everything it opened, at once.
    fn close(&self, instance: InstanceId);
    /// Lets what it asked for last go out, at most so long. Called on the instance's own thread, which may wait.
    fn drain(&self, instance: InstanceId, grace: Duration);
    /// A service table.
    fn table(&self, id: &str) -> Option<ExtensionRef>;
    /// The ids of all service tables.
    fn offered(&self) -> &'static [&'static str];
}

/// What happened to a plugin, for who decides about the whole process: after [`PluginEvent::Quarantined`] only a restart
/// of the process gets rid of the stuck thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginEvent {
    /// It works.
    Started {
        /// The cloud's name.
        cloud: String,
    },
    /// It stands otherwise with its cloud than before.
    Phase {
        /// The cloud's name.
        cloud: String,
    },
    /// It failed and will be tried again.
    Faulted {
        /// The cloud's name.
        cloud: String,
        /// Why.
        why: String,
    },
    /// It does not return from a call.
    Quarantined {
        /// The cloud's name.
        cloud: String,
        /// Which, and since when.
        why: String,
    },
    /// It failed and stays off.
    Disabled {
        /// The cloud's name.
        cloud: String,
        /// Why.
        why: String,
    },
}

/// How one cloud's plugin stands, for operators.
#[derive(Clone, Debug)]
pub struct InstanceStatus {
    /// The cloud's name.
    pub cloud: String,
    /// The plugin's name.
    pub plugin: String,
    /// Version of the plugin; empty: not loaded.
    pub version: String,
    /// Its compiler, target and profile; empty: not loaded.
    pub build: String,
    /// The file it came from; none: not loaded.
    pub file: Option<PathBuf>,
    /// Where its life stands.
    pub phase: Phase,
    /// Why it failed last; empty: it never did.
    pub last_fault: String,
    /// When that was.
    pub last_fault_at: Option<WallTime>,
    /// Faults since the start.
    pub faults: u64,
    /// Calls that took longer than they should.
    pub slow_calls: u64,
    /// Log lines that were left out because there were too many.
    pub log_lines_left_out: u64,
    /// Service events that were dropped because its inbox was full.
    pub events_dropped: u64,
    /// Service events that wait.
    pub events_waiting: usize,
    /// Reports that wait, and losses.
    pub usage: CloudUsage,
    /// The incarnation that works now, for the services' own figures.
    pub instance: Option<InstanceId>,
    /// What the plugin says of itself.
    pub said: Status,
    /// The cloud that another one has to name before it starts.
    pub waits_for: Option<String>,
}

/// All configured clouds with their plugins.
pub struct Plugins {
    around: Arc<Surroundings>,
    roster: Mutex<Roster>,
}

/// Who works for which cloud now.
struct Roster {
    /// In the order of the configuration.
    instances: Vec<Arc<Instance>>,
    /// They were asked to stop, and no further one begins.
    stopped: bool,
}

impl Plugins {
    /// Finds and loads the plugins of these clouds and declares the clouds to the bus, in order. A plugin that cannot be
    /// used stops only its own clouds. Nothing runs yet.
    ///
    /// # Errors
    /// The system gives no thread for the watchdog.
    pub fn load(
        settings: PluginSettings,
        clouds: Vec<CloudSetup>,
        loader: &Loader,
        hub: Arc<Hub>,
        services: Arc<dyn ServiceHost>,
        on_event: impl Fn(PluginEvent) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let mut found = discover(&settings.directories);
        found.files.extend(settings.installed.clone());
        for passed_over in &found.passed_over {
            warn!("{passed_over}");
        }
        let clock = Arc::clone(&hub);
        let watchdog = Watchdog::start((&settings).into(), move || clock.now().monotonic)?;
        let on_event = Box::new(on_event);
        let around = Arc::new(Surroundings { hub, services, settings, watchdog, on_event });
        let instances = clouds.into_iter().map(|setup| {
            let cloud = around.hub.change(|bus, _| bus.declare(&setup.name));
            let file = Path::new(&setup.plugin);
            let path = if file.is_absolute() { Some(file) } else { loader.find(&found.files, &setup.plugin) };
            let loaded = match path {
                Some(path) => loader.load(path, around.services.offered()).map_err(|error| error.to_string()),
                None => Err(not_found(&setup.plugin, &found, &around.settings.directories)),
            };
            tell_loaded(&around, &setup, cloud, &loaded);
            if setup.start_when.is_some() {
                // Nothing is kept for a cloud that may never start.
                around.hub.change(|bus, _| bus.retire(cloud));
            }
            Arc::new(Instance::new(setup, cloud, loaded, Arc::clone(&around)))
        });
        let instances: Vec<_> = instances.collect();
        instances.iter().for_each(|instance| watch(&around, instance));
        Ok(Self { around, roster: Mutex::new(Roster { instances, stopped: false }) })
    }

    /// Starts every cloud that can be, save those that wait to be named.
    pub fn start_all(&self) {
        self.instances().iter().filter(|instance| !instance.waits()).for_each(start);
    }

    /// Starts the clouds that waited to be named and are now. Those that run already are left alone.
    pub fn start_named(&self, is_named: impl Fn(&str) -> bool) {
        let wanted = |instance: &&Arc<Instance>| instance.setup.start_when.as_deref().is_some_and(&is_named);
        for instance in self.instances().iter().filter(wanted) {
            if instance.wait_is_over() {
                info!(target: "plugin", cloud = &*instance.name, "another cloud named this one; it starts");
                start(instance);
            }
        }
    }

    /// Switches a disabled cloud on again; false: there is no such cloud, or its plugin cannot be used.
    pub fn enable(&self, cloud: &str) -> bool {
        let Some(instance) = self.instance_of(cloud) else { return false };
        instance.enable();
        instance.wait_is_over();
        start(&instance);
        instance.loaded.is_some()
    }

    /// Asks every plugin to stop and waits until they have, at most so long together. Stuck ones are left behind.
    /// Returns the clouds whose plugins did not stop.
    pub fn stop(&self, grace: Duration) -> Vec<String> {
        let instances = self.close();
        let end = Instant::now() + grace;
        let late = instances.iter().filter(|instance| {
            let left = end.saturating_duration_since(Instant::now());
            !instance.wait_for_end(left)
        });
        let late: Vec<String> = late.map(|instance| instance.name.to_string()).collect();
        for cloud in &late {
            warn!(target: "plugin", cloud, "plugin did not stop in time and is left behind");
        }
        late
    }

    /// How every cloud stands, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<InstanceStatus> {
        self.instances().iter().map(|instance| self.status_of(instance)).collect()
    }

    /// Nobody begins any more, and who works is asked to stop.
    fn close(&self) -> Vec<Arc<Instance>> {
        let mut roster = self.roster();
        roster.stopped = true;
        let instances = roster.instances.clone();
        drop(roster);
        instances.iter().for_each(|instance| instance.stop());
        instances
    }

    fn instances(&self) -> Vec<Arc<Instance>> {
        self.roster().instances.clone()
    }

    fn instance_of(&self, cloud: &str) -> Option<Arc<Instance>> {
        self.instances().into_iter().find(|instance| &*instance.name == cloud)
    }

    fn roster(&self) -> std::sync::MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status_of(&self, instance: &Instance) -> InstanceStatus {
        let vitals = instance.vitals();
        let (said, log_lines_left_out) = instance.desk.status();
        let descriptor = instance.loaded.as_ref().map(|loaded| &loaded.descriptor);
        InstanceStatus {
            cloud: instance.name.to_string(),
            plugin: instance.setup.plugin.clone(),
            version: descriptor.map(|descriptor| descriptor.version.to_string()).unwrap_or_default(),
            build: descriptor.map(|descriptor| descriptor.build.to_string()).unwrap_or_default(),
            file: instance.loaded.as_ref().map(|loaded| loaded.path.clone()),
            phase: vitals.phase,
            last_fault: vitals.last_fault,
            last_fault_at: vitals.last_fault_at,
            faults: vitals.n_faults,
            slow_calls: vitals.slow_calls,
            log_lines_left_out,
            events_dropped: vitals.inbox.dropped,
            events_waiting: vitals.inbox.events,
            usage: self.around.hub.look(|bus| bus.cloud_usage(instance.cloud)),
            instance: vitals.instance,
            said,
            waits_for: instance.setup.start_when.clone().filter(|_| instance.waits()),
        }
    }
}

impl Drop for Plugins {
    fn drop(&mut self) {
        self.close();
        self.around.watchdog.end();
    }
}

/// Secrets are in the settings.
impl std::fmt::Debug for CloudSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, plugin, .. } = self;
        f.debug_struct("CloudSetup").field("name", name).field("plugin", plugin).finish_non_exhaustive()
    }
}

/// Says which library a cloud has; one without is kept no reports for.
fn tell_loaded(around: &Surroundings, setup: &CloudSetup, cloud: CloudId, loaded: &Result<Loaded, String>) {
    match loaded {
        Ok(loaded) => {
            let (version, build) = (loaded.descriptor.version.as_str(), loaded.descriptor.build.as_str());
            info!(target: "plugin", cloud = setup.name, version, build, file = %loaded.path.display(), "plugin loaded");
        }
        Err(why) => {
            error!(target: "plugin", cloud = setup.name, "cloud stays off: {why}");
            around.hub.change(|bus, _| bus.retire(cloud));
            let (cloud, why) = (setup.name.clone(), why.clone());
            (around.on_event)(PluginEvent::Disabled { cloud, why });
        }
    }
}

fn watch(around: &Surroundings, instance: &Arc<Instance>) {
    let ward: Weak<Instance> = Arc::downgrade(instance);
    around.watchdog.watch(ward as Weak<dyn Ward>);
}

fn start(instance: &Arc<Instance>) {
    if instance.claim_thread()
        && let Err(error) = runner::spawn(Arc::clone(instance))
    {
        error!(target: "plugin", cloud = &*instance.name, "the system gives no thread for this plugin: {error}");
        instance.thread_ended();
    }
}

fn not_found(plugin: &str, found: &discover::Found, directories: &[PathBuf]) -> String {
    let places: Vec<String> = directories.iter().map(|path| path.display().to_string()).collect();
    let names: Vec<&str> = found.files.keys().map(String::as_str).collect();
    let there = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    format!("no plugin `{plugin}` in {}; there is {there}", places.join(", "))
}
