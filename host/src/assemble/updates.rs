//! Updates: what installs what on this device, and when something that is on trial is good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polylink_plugin_api::StatusPhase;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::module::ModuleSide;
use super::product::Clouds;
use crate::config::update::{self, UpdateSection};
use crate::config::{HostConfig, ProductKey};
use crate::disk::Directory;
use crate::mcu::Link;
use crate::mcu::port::PortMessage;
use crate::mcu::transfer::FirmwareOutput;
use crate::services::Services;
use crate::services::clock::Clock;
use crate::update::backend::{Backend, LineBackend, ProgramBackend, SlotsBackend};
use crate::update::coordinator::Settings;
use crate::update::engine::{Listener, Parts, Updates};
use crate::update::manifest::Target;

/// The engine for updates, put together for this device.
pub struct UpdateSide {
    /// All updates.
    pub updates: Arc<Updates>,
    config: UpdateSection,
    directory: Directory,
    backends: BTreeMap<Target, Arc<dyn Backend>>,
    services: Services,
    /// What was installed runs after a restart of this process.
    pub wants_restart: Arc<Notify>,
    engine: Mutex<Option<JoinHandle<()>>>,
}

impl UpdateSide {
    /// Reads what an earlier process left: a small file, for which nothing waits yet. The second is where everything goes that the link says of firmware.
    pub fn open(
        config: &HostConfig,
        clock: Clock,
        link: &dyn Link,
        to_port: mpsc::Sender<PortMessage>,
        services: Services,
    ) -> (Self, mpsc::Sender<FirmwareOutput>) {
        let (from_link, said) = mpsc::channel(SAID_MAX);
        let wants_restart = Arc::new(Notify::new());
        let mut backends: BTreeMap<Target, Arc<dyn Backend>> = BTreeMap::new();
        if let Some(hook) = config.update.hook() {
            let program: Arc<dyn Backend> = Arc::new(ProgramBackend(hook));
            for target in [Target::Module, Target::Mcu, Target::Subdevice] {
                backends.insert(target, Arc::clone(&program));
            }
        }
        if config.update.backend == update::Backend::Slots {
            let running = std::env::var("POLYLINK_SLOT").ok();
            let directory = update::slots_directory(&config.host.state_dir);
            let slots = SlotsBackend::new(directory, config.update.tries, running, Arc::clone(&wants_restart));
            backends.insert(Target::Module, Arc::new(slots));
        }
        if link.carries_firmware() {
            backends.insert(Target::Mcu, Arc::new(LineBackend::new(to_port, said)));
        }
        let directory = Directory::new(update::directory(&config.host.state_dir));
        let settings = Settings {
            targets: backends.keys().copied().collect(),
            health_ms: u64::try_from(config.update.health.as_millis()).unwrap_or(u64::MAX),
        };
        let updates = Arc::new(Updates::open(settings, &directory, clock));
        let config = config.update.clone();
        let engine = Mutex::default();
        (Self { updates, config, directory, backends, services, wants_restart, engine }, from_link)
    }

    /// Updates are for this product from now on. Called before its plugins start, and whenever it is another one.
    pub fn product_is(&self, product: ProductKey) {
        let parts = Parts {
            server: Arc::new(self.services.web("")),
            directory: self.directory.clone(),
            policy: self.config.policy(),
            limits: self.config.limits(),
            product,
            backends: self.backends.clone(),
            listener: Arc::new(Announcer(self.services.clone())),
        };
        let engine = tokio::spawn(Arc::clone(&self.updates).run(parts));
        let before = self.engine.lock().unwrap_or_else(PoisonError::into_inner).replace(engine);
        if let Some(before) = before {
            before.abort();
        }
    }

    /// While something is on trial, looks whether it does what it should: the MCU answers, and the cloud that asked for
    /// it is online, or any cloud if that one is not there any more. Ends when there is nothing to prove.
    pub async fn watch_health(self: Arc<Self>, module: Arc<ModuleSide>, clouds: Arc<Clouds>) {
        while self.updates.has_to_prove() {
            if let Some(asker) = self.updates.on_trial()
                && module.is_mcu_online()
                && is_online(&clouds, &asker)
            {
                tracing::info!(cloud = asker, "the MCU answers and the cloud is online: what is on trial is good");
                self.updates.healthy();
            }
            tokio::time::sleep(HEALTH_EVERY).await;
        }
    }
}

fn is_online(clouds: &Clouds, asker: &str) -> bool {
    let (running, _) = clouds.status();
    let is_there = running.iter().any(|cloud| cloud.cloud == asker);
    let mut asked = running.iter().filter(|cloud| !is_there || cloud.cloud == asker);
    asked.any(|cloud| cloud.said.phase == StatusPhase::ONLINE)
}

struct Announcer(Services);

impl Listener for Announcer {
    fn changed(&self, asker: &str) {
        self.0.announce_update(asker);
    }
}

/// What the link says of firmware, and nobody has heard yet. It says at most two things for each that it is told.
const SAID_MAX: usize = 16;

/// How often health is looked at while there is something to prove. Chosen by us.
const HEALTH_EVERY: Duration = Duration::from_secs(1);
