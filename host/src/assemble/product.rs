//! From the product file to running plugins, and back when the product changes.

mod installation;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polylink_plugin_api::services::module::NETWORK_JOINED;
use polylink_plugin_api::{ExtensionRef, InstanceId, StatusPhase, Timestamp};
use tokio::runtime::Handle as Runtime;
use tokio::sync::{Notify, mpsc};

use self::installation::Installation;
use super::module::ModuleSide;
use super::module_event;
use super::subdevices::SubdeviceSide;
use super::updates::UpdateSide;
use crate::config::{CloudInstance, ConfigErrors, HostConfig, LoadedProduct, PluginChoice, ProductKey};
use crate::hub::Hub;
use crate::mcu::ModuleState;
use crate::mcu::port::PortMessage;
use crate::plugins::discover::discover;
use crate::plugins::{CloudSetup, InstanceStatus, Loader, Patience, PluginEvent, PluginSettings, Plugins, ServiceHost};
use crate::services::{EventSink, InstanceSetup, Services, has_radio, interfaces};

/// The product that runs now, with its plugins. Starts empty; a new product replaces the old one whole.
pub struct Clouds {
    config: HostConfig,
    hub: Arc<Hub>,
    services: Arc<HostServices>,
    module: Arc<ModuleSide>,
    to_port: mpsc::Sender<PortMessage>,
    loader: Loader,
    installation: Installation,
    running: Mutex<Running>,
    /// Some plugin's state changed.
    pub changed: Arc<Notify>,
}

#[derive(Default)]
struct Running {
    key: Option<String>,
    plugins: Option<Arc<Plugins>>,
    /// Clouds that do not run because their section is wrong, and why.
    refused: Vec<(String, String)>,
    /// Clouds that the bus keeps reports for.
    declared: Vec<String>,
    /// In one or two words.
    state: String,
    told: Option<ModuleState>,
    /// The key of another product that the MCU named; told once.
    contradicted: Option<String>,
    /// Some product ran already.
    ran_before: bool,
}

/// A product that was read, with its clouds; their libraries are in memory.
struct Prepared {
    loaded: LoadedProduct,
    setups: Vec<CloudSetup>,
    refused: Vec<(String, String)>,
    /// Files by plugin name that go before the built-in ones.
    installed: BTreeMap<String, PathBuf>,
}

impl Clouds {
    pub fn new(
        config: HostConfig,
        hub: Arc<Hub>,
        services: Services,
        module: Arc<ModuleSide>,
        subdevices: Arc<SubdeviceSide>,
        updates: Arc<UpdateSide>,
        to_port: mpsc::Sender<PortMessage>,
    ) -> Arc<Self> {
        let services = Arc::new(HostServices {
            services,
            runtime: Runtime::current(),
            module: Arc::clone(&module),
            subdevices,
            updates,
            store_dir: config.host.state_dir.join("store"),
            store_max_bytes: config.store.max_bytes,
            plain_text: Mutex::default(),
            joined: Mutex::default(),
        });
        let running = Running { state: "waiting for the MCU".to_owned(), ..Running::default() };
        let installation = Installation::new(&config);
        Arc::new(Self {
            installation,
            config,
            hub,
            services,
            module,
            to_port,
            loader: Loader::default(),
            running: Mutex::new(running),
            changed: Arc::new(Notify::new()),
        })
    }

    /// Begins with the product key of the configuration, if there is one.
    pub async fn start_with_set_key(self: &Arc<Self>) {
        if let Some(key) = self.config.mcu.product_key.clone() {
            self.start(key.as_str()).await;
        }
    }

    /// Begins with this product, unless it runs already or the configuration sets another one. An error is logged and
    /// shown in the status; what ran before is stopped all the same, because it belongs to another device.
    pub async fn start(self: &Arc<Self>, key: &str) {
        if let Some(set) = &self.config.mcu.product_key
            && set.as_str() != key
        {
            if self.lock().contradicted.replace(key.to_owned()).as_deref() != Some(key) {
                tracing::warn!(
                    said = key,
                    set = set.as_str(),
                    "the MCU names another product than the configuration; the configuration counts"
                );
            }
            return;
        }
        if self.lock().key.as_deref() == Some(key) {
            return;
        }
        self.stop().await;
        if self.lock().ran_before {
            self.module.forget_named();
        }
        // Files are read, and loading a library runs code of the plugin: the MCU must not wait for either.
        let (clouds, wanted) = (Arc::clone(self), key.to_owned());
        let prepared = tokio::task::spawn_blocking(move || clouds.prepare(&wanted)).await;
        match prepared {
            Ok(Ok(prepared)) => {
                self.run(key, prepared);
                self.watch_trials();
            }
            Ok(Err(errors)) => {
                tracing::error!("product {key} does not run:\n{errors}");
                self.nothing_runs("the product file is wrong");
            }
            Err(error) => {
                tracing::error!(%error, "product {key} does not run: the host failed at loading it");
                self.nothing_runs("the host failed at loading the product");
            }
        }
    }

    /// Stops all plugins, orderly.
    pub async fn stop(&self) {
        let (plugins, grace) = {
            let mut running = self.lock();
            running.key = None;
            running.refused.clear();
            (running.plugins.take(), self.config.plugins.stop_grace + STOP_MARGIN)
        };
        if let Some(plugins) = plugins {
            // The plugins' threads need this one for their last words.
            let stopped = tokio::task::spawn_blocking(move || plugins.stop(grace)).await;
            if let Ok(late) = stopped
                && !late.is_empty()
            {
                tracing::warn!(clouds = late.join(", "), "some plugins were left behind");
            }
        }
    }

    /// How the clouds stand, and those that do not run at all with the reason.
    pub fn status(&self) -> (Vec<InstanceStatus>, Vec<(String, String)>) {
        let (plugins, refused) = {
            let running = self.lock();
            (running.plugins.clone(), running.refused.clone())
        };
        // Each plugin's locks are taken with none of ours held.
        (plugins.map(|plugins| plugins.status()).unwrap_or_default(), refused)
    }

    /// The host's state in one or two words, and the product key; empty while it is not known.
    pub fn state(&self) -> (String, String) {
        let running = self.lock();
        (running.state.clone(), running.key.clone().unwrap_or_default())
    }

    /// The services, for their figures.
    pub fn usage(&self, instance: InstanceId) -> crate::services::Usage {
        self.services.services.usage(instance)
    }

    /// Whether the MCU was told something else of the clouds than holds now. Cheap, since plugins may cause it at will.
    pub fn has_news(&self) -> bool {
        let online = self.note_online();
        self.lock().told.as_ref().is_none_or(|told| told.cloud != online)
    }

    /// Tells the MCU how the module stands, if that is news. True: it was.
    pub async fn tell_state(&self) -> bool {
        // A driver may take its time to tell the signal.
        let seen = tokio::task::spawn_blocking(|| (interfaces(), has_radio())).await;
        let (interfaces, has_radio) = seen.unwrap_or_default();
        let is_ready = self.lock().plugins.is_some();
        self.module.network(&interfaces, has_radio, is_ready);
        let state = self.module.state(self.note_online(), &interfaces);
        let mut running = self.lock();
        if running.told.as_ref() == Some(&state) || self.to_port.try_send(PortMessage::Module(state.clone())).is_err() {
            return false;
        }
        running.told = Some(state);
        true
    }

    /// Starts the clouds that another cloud has named.
    pub fn start_named(&self) {
        let plugins = self.lock().plugins.clone();
        if let Some(plugins) = plugins {
            plugins.start_named(|name| self.module.is_named(name));
        }
    }

    /// The network was joined for the first time: tells it to all instances, also to those that begin a little later.
    pub fn announce_joined(&self) {
        self.services.announce_joined();
    }

    /// Tells the module which clouds are online. True: some are.
    fn note_online(&self) -> bool {
        let online = self.status().0.into_iter().filter(|cloud| cloud.said.phase == StatusPhase::ONLINE);
        let online: Vec<String> = online.map(|cloud| cloud.cloud).collect();
        let some = !online.is_empty();
        self.module.online(online);
        some
    }

    /// Reads the product and loads the libraries of its clouds. Blocks; changes nothing that others see.
    fn prepare(&self, key: &str) -> Result<Prepared, ConfigErrors> {
        let mut loaded = self.config.load_product(key)?;
        let mut refused = Vec::new();
        let mut found = discover(&loaded.host.plugins.directories);
        let mut setups = Vec::new();
        let clouds: Vec<_> = std::mem::take(&mut loaded.clouds).into_iter().map(|cloud| cloud.map(Arc::new)).collect();
        let installed = self.choose_installed(&clouds, &loaded.host.plugins.directories, &found.files);
        found.files.extend(installed.clone());
        for cloud in clouds {
            match cloud {
                Ok(cloud) if !cloud.enabled => {
                    refused.push((cloud.name.clone(), "switched off by `enabled = false`".to_owned()))
                }
                Ok(cloud) => match self.checked(&cloud, &found.files) {
                    Ok(()) => {
                        self.services.allow_plain_text(&cloud.name, cloud.plain_text);
                        setups.push((cloud.priority, setup(&cloud)));
                    }
                    Err(why) => {
                        tracing::error!("cloud `{}` does not run:\n{why}", cloud.name);
                        refused.push((cloud.name.clone(), why));
                    }
                },
                Err(error) => {
                    tracing::error!("{error}");
                    refused.push((error.name.clone(), error.errors.to_string()));
                }
            }
        }
        // The order of declaration is that of the policy `priority`.
        setups.sort_by_key(|(priority, _)| *priority);
        Ok(Prepared { loaded, setups: setups.into_iter().map(|(_, setup)| setup).collect(), refused, installed })
    }

    /// Runs on the I/O thread in one piece, so that no report comes between the product and the clouds it is kept for.
    /// What it asks of the disk is small: [`Clouds::prepare`] has the libraries in memory.
    fn run(&self, key: &str, Prepared { loaded, setups, refused, installed }: Prepared) {
        self.hub.change(|bus, _| bus.set_product(Arc::clone(&loaded.product)));
        let names: Vec<String> = setups.iter().map(|setup| setup.name.clone()).collect();
        self.keep_reports_for(names.clone());
        // Before the first report of this product: what an earlier process kept comes first.
        self.hub.restore(&names);
        let layout = loaded.layout.map(Arc::new);
        let told = self.to_port.try_send(PortMessage::Product { product: loaded.product, layout });
        if told.is_err() {
            tracing::error!("the line to the MCU takes no product; its reports cannot be read");
        }
        // What was loaded has a key that is one.
        if let Some(key) = ProductKey::parse(key) {
            self.services.updates.product_is(key);
        }
        let (changed, news) = (Arc::clone(&self.changed), self.installation.news());
        let plugins = Plugins::load(
            PluginSettings { installed, ..settings(&loaded.host) },
            setups,
            &self.loader,
            Arc::clone(&self.hub),
            Arc::clone(&self.services) as Arc<dyn ServiceHost>,
            move |_event: PluginEvent| {
                changed.notify_one();
                news.send_modify(|n| *n = n.wrapping_add(1));
            },
        );
        let plugins = plugins.map(Arc::new);
        {
            let mut running = self.lock();
            running.key = Some(key.to_owned());
            running.refused = refused;
            running.state = if plugins.is_ok() { "running" } else { "no plugin runs" }.to_owned();
            running.plugins = plugins.as_ref().ok().map(Arc::clone);
            running.ran_before = true;
        }
        match plugins {
            Ok(plugins) => {
                self.begin_trials(&plugins);
                plugins.start_all();
                plugins.start_named(|name| self.module.is_named(name));
                tracing::info!(product = key, "the product runs");
            }
            Err(error) => tracing::error!(%error, "the plugins do not start"),
        }
    }

    fn nothing_runs(&self, why: &str) {
        self.keep_reports_for(Vec::new());
        self.lock().state = why.to_owned();
    }

    /// Nothing is kept any more for clouds of the product before that are not among these: nobody would ever settle it.
    fn keep_reports_for(&self, names: Vec<String>) {
        let before = std::mem::take(&mut self.lock().declared);
        for name in before.iter().filter(|name| !names.contains(name)) {
            self.hub.change(|bus, _| {
                let cloud = bus.declare(name);
                bus.retire(cloud);
            });
        }
        self.lock().declared = names;
    }

    /// Holds the settings against the plugin's own schema. A plugin that is missing or does not load is left to
    /// [`Plugins::load`], which says so.
    fn checked(&self, cloud: &CloudInstance, files: &BTreeMap<String, PathBuf>) -> Result<(), String> {
        let file = match &cloud.plugin {
            PluginChoice::Name(name) => self.loader.find(files, name),
            PluginChoice::File(path) => Some(path.as_path()),
        };
        let Some(Ok(descriptor)) = file.map(|file| self.loader.inspect(file)) else { return Ok(()) };
        cloud.check_settings(&descriptor.settings_schema).map_err(|errors| errors.to_string())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn setup(cloud: &CloudInstance) -> CloudSetup {
    CloudSetup {
        name: cloud.name.clone(),
        plugin: cloud.plugin.to_string(),
        settings: cloud.settings.expose().clone(),
        product: cloud.product_document.clone(),
        start_when: cloud.start_when.clone(),
    }
}

fn settings(config: &HostConfig) -> PluginSettings {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let plugins = &config.plugins;
    PluginSettings {
        directories: plugins.directories.clone(),
        installed: BTreeMap::new(),
        call_warn_ms: ms(plugins.call_warn),
        call_quarantine_ms: ms(plugins.call_quarantine),
        patience: Patience {
            backoff_first_ms: ms(plugins.backoff_first),
            backoff_max_ms: ms(plugins.backoff_max),
            faults_max: u32::try_from(plugins.faults_max).unwrap_or(u32::MAX),
            faults_window_ms: ms(plugins.faults_window),
        },
        stop_grace_ms: ms(plugins.stop_grace),
    }
}

/// The services with what the configuration says of each cloud.
struct HostServices {
    services: Services,
    runtime: Runtime,
    module: Arc<ModuleSide>,
    subdevices: Arc<SubdeviceSide>,
    updates: Arc<UpdateSide>,
    store_dir: PathBuf,
    store_max_bytes: usize,
    plain_text: Mutex<HashMap<String, bool>>,
    /// When the network was joined for the first time.
    joined: Mutex<Option<Timestamp>>,
}

impl HostServices {
    fn announce_joined(&self) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        *joined = Some(self.module.now());
        self.services.announce(&module_event(NETWORK_JOINED, 0));
    }

    fn allow_plain_text(&self, cloud: &str, allowed: bool) {
        self.plain_text.lock().unwrap_or_else(PoisonError::into_inner).insert(cloud.to_owned(), allowed);
    }
}

impl ServiceHost for HostServices {
    fn open(&self, name: &str, sink: Arc<dyn EventSink>) -> InstanceId {
        let allowed = self.plain_text.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        let setup = InstanceSetup {
            name: name.to_owned(),
            sink: Arc::clone(&sink),
            store_dir: self.store_dir.join(name),
            store_max_bytes: self.store_max_bytes,
            plain_text: allowed.unwrap_or(false),
            module: Arc::clone(&self.module) as _,
            subdevices: Arc::clone(&self.subdevices) as _,
            updates: Arc::clone(&self.updates.updates),
        };
        // Held meanwhile, so that the instance hears of a join either here or with the others.
        let joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = self.services.open(setup);
        if joined.is_some_and(|at| self.module.now().since(at) < JOINED_FRESH_MS) {
            sink.complete(module_event(NETWORK_JOINED, 0));
        }
        instance
    }

    fn close(&self, instance: InstanceId) {
        self.services.close(instance);
    }

    fn drain(&self, instance: InstanceId, grace: Duration) {
        let services = self.services.clone();
        // The timers of a drain live on the I/O thread; this one only waits.
        let (done, wait) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            services.drain(instance, grace).await;
            let _ = done.send(());
        });
        let _ = wait.recv_timeout(grace + STOP_MARGIN);
    }

    fn table(&self, id: &str) -> Option<ExtensionRef> {
        Services::table(id)
    }

    fn offered(&self) -> &'static [&'static str] {
        Services::OFFERED
    }
}

/// Beyond the grace that the configuration gives, for the threads themselves. Chosen by us.
const STOP_MARGIN: Duration = Duration::from_millis(500);

/// An instance that begins so long after the first join of a network is told of it too. Not documented; chosen by us:
/// applications wait about half a minute for the announcement that follows.
const JOINED_FRESH_MS: u64 = 60_000;

#[cfg(test)]
mod tests;
