//! What the host does for plugins: sockets, HTTP, storage, facts. Each service is a table of functions (see
//! [`polylink_plugin_api::services`]) that find the calling instance by its id and return at once; completions go to the
//! instance's [`EventSink`].
//!
//! Invariants: a table function never blocks and never panics; the work runs on the one I/O runtime, save that of
//! scripts, each of which has a thread. Everything an instance opened is an entry of its handle table ([`registry`]), so
//! closing the instance closes all of it. Reconnect policy is left to the plugins, delivery across restarts to the bus.

pub mod clock;
mod dial;
mod http;
mod logs;
mod module;
mod mqtt;
mod network;
mod ota;
mod registry;
mod resolve;
#[cfg(feature = "script")]
mod script;
mod store;
mod subdevices;
mod tcp;
mod tls;
mod udp;
mod web;

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[cfg(feature = "script")]
use polylink_plugin_api::services::Script;
use polylink_plugin_api::services::module::Facts;
use polylink_plugin_api::services::subdevices::Subdevice;
use polylink_plugin_api::services::{Http, Logs, Module, Mqtt, Network, Ota, Store, Subdevices, Tcp, Udp};
use polylink_plugin_api::{Extension, ExtensionRef, InstanceId};

use self::clock::Clock;
use self::dial::Dialer;
use self::registry::{Instance, locked};
use self::store::Storage;
use crate::log::KeptLog;
use crate::update::engine::Updates;

pub use self::network::{hardware_address, has_radio, interfaces};
pub use self::registry::{HANDLES_MAX, HTTP_MAX, RESOLVES_MAX, Usage};
pub use self::resolve::LOOK_UPS_MAX;
pub use self::web::Web;

/// An event on its way to a plugin, owning what [`polylink_plugin_api::Event`] borrows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedEvent {
    /// Table id.
    pub source: &'static str,
    /// Kind within the table.
    pub kind: u32,
    /// Call or handle.
    pub token: u64,
    /// Number.
    pub code: i64,
    /// Text.
    pub text: String,
    /// Bytes.
    pub body: Vec<u8>,
}

/// Where services put events for one instance. Implemented by [`crate::plugins::inbox::Inbox`].
pub trait EventSink: Send + Sync {
    /// Puts a completion. Taken, since the quotas bound the calls under way; a sink may give up an instance that makes
    /// calls only to be refused, and then takes nothing of it any more.
    fn complete(&self, event: OwnedEvent);

    /// Puts news that may be lost, such as a datagram; false: no room, dropped, and counted by the inbox.
    fn offer(&self, event: OwnedEvent) -> bool;

    /// Puts news that must not be lost, such as stream bytes; waits for room, which stops the reading of the socket.
    fn deliver<'a>(&'a self, event: OwnedEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// What the `module` table asks of the rest of the host. Called on any thread; must not block.
pub trait ModuleHooks: Send + Sync {
    /// What is known of the module and the MCU.
    fn facts(&self) -> Facts;

    /// An instance asks for a restart of the module; false: not offered here.
    fn request_restart(&self, instance: &str, reason: &str) -> bool;

    /// An instance offers the time of its cloud.
    fn offer_time(&self, instance: &str, unix_ms: i64);

    /// So many applications watch the device through this instance.
    fn applications(&self, instance: &str, count: u32);

    /// An instance was told a Wi-Fi network by an application; false: it is not to be joined. The password is kept out
    /// of everything that is written or shown.
    fn join_network(&self, instance: &str, ssid: &str, password: &str) -> bool;

    /// An instance was asked to end the production test; false: not offered here.
    fn end_production_test(&self, instance: &str) -> bool;

    /// An instance's cloud says that the product belongs to this cloud too.
    fn third_party_cloud(&self, instance: &str, name: &str, parameters: &str);
}

/// What the `subdevices` table asks of the rest of the host. Called on any thread; must not block.
pub trait SubdeviceHooks: Send + Sync {
    /// Those that are known, by their index.
    fn list(&self) -> Vec<Subdevice>;

    /// An instance wants one to join; false: not acceptable, or not possible now.
    fn admit(&self, instance: &str, product: &str, address: &str, seconds: u16) -> bool;

    /// The owner has accepted one, as an instance's cloud says; false: as for `admit`, or there is none.
    fn accept(&self, instance: &str, index: u32) -> bool;

    /// An instance's cloud says that one no longer belongs to the gateway; false: as for `accept`.
    fn remove(&self, instance: &str, index: u32) -> bool;
}

/// What all instances of one host share.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Where sockets and files are worked on; its I/O and time must be enabled. Its blocking threads look up names, never
    /// more than [`LOOK_UPS_MAX`] at once, and write stores: one or two more than that suffice, with a short keep-alive.
    pub runtime: tokio::runtime::Handle,
    /// Judges certificates, so that a module whose clock was never set can still use TLS once a cloud gave it the time.
    pub clock: Clock,
    /// What each script may use.
    pub scripts: ScriptLimits,
    /// What clouds are sent that ask for the log.
    pub log: KeptLog,
}

/// What a script may use (`polylink.script/1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptLimits {
    /// Bytes of its state, with garbage that is not collected yet.
    pub memory_bytes: usize,
    /// Instructions of Lua in one call.
    pub instructions: u64,
    /// Time of one call.
    pub timeout: Duration,
}

impl Default for ScriptLimits {
    /// Not documented; chosen by us: conversions of payloads of some 64 KiB fit, and a call that uses all of it is done
    /// before an application gives up.
    fn default() -> Self {
        Self { memory_bytes: 1024 * 1024, instructions: 2_000_000, timeout: Duration::from_secs(1) }
    }
}

/// One plugin instance, as services see it.
pub struct InstanceSetup {
    /// Name of the `[cloud.<name>]` section.
    pub name: String,
    /// Where its events go.
    pub sink: Arc<dyn EventSink>,
    /// The directory of its store; made when first written to.
    pub store_dir: PathBuf,
    /// Most bytes of keys and values in its store.
    pub store_max_bytes: usize,
    /// True: connections without TLS are allowed.
    pub plain_text: bool,
    /// The rest of the host.
    pub module: Arc<dyn ModuleHooks>,
    /// The subdevices.
    pub subdevices: Arc<dyn SubdeviceHooks>,
    /// Updates of this device.
    pub updates: Arc<Updates>,
}

/// The services of one host. Clones share everything.
#[derive(Clone)]
pub struct Services {
    shared: Arc<Shared>,
}

struct Shared {
    options: ServiceOptions,
    dialer: Arc<Dialer>,
    #[cfg(feature = "script")]
    workers: Arc<script::Workers>,
    instances: Mutex<Vec<InstanceId>>,
    /// Kept while the host runs, so that what could not be written yet outlives a restart of the instance, and so that
    /// two lives of an instance never write the same files. One for each configured cloud.
    stores: Mutex<HashMap<PathBuf, Arc<Storage>>>,
}

impl Services {
    /// Ids of the tables that [`Services::table`] has.
    pub const OFFERED: &[&str] = &[
        Mqtt::ID,
        Tcp::ID,
        Udp::ID,
        Http::ID,
        Store::ID,
        Network::ID,
        Module::ID,
        #[cfg(feature = "script")]
        Script::ID,
        Subdevices::ID,
        Ota::ID,
        Logs::ID,
    ];

    /// Services that work on this runtime.
    #[must_use]
    pub fn new(options: ServiceOptions) -> Self {
        let dialer = Arc::new(Dialer::new(options.clock.clone()));
        let shared = Shared {
            #[cfg(feature = "script")]
            workers: Arc::new(script::Workers::new(options.scripts.clone())),
            options,
            dialer,
            instances: Mutex::default(),
            stores: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Watches the network and announces its changes to all instances and to `also`; ends with the last clone of these
    /// services.
    pub fn watch_network(&self, also: impl Fn() + Send + 'static) {
        let shared = Arc::downgrade(&self.shared);
        let announce = move || {
            also();
            shared.upgrade().map(|shared| Self { shared }.announce(&network::changed())).is_some()
        };
        self.shared.options.runtime.spawn(network::watch(announce));
    }

    /// Registers an instance under a fresh id and reads its store.
    #[must_use]
    pub fn open(&self, setup: InstanceSetup) -> InstanceId {
        let storage = self.storage(&setup);
        let runtime = self.shared.options.runtime.clone();
        let id = registry::insert(|id| {
            let options = &self.shared.options;
            let instance = Instance::new(id, setup, runtime, Arc::clone(&self.shared.dialer), storage)
                .with_log(options.log.clone(), options.clock.clone());
            #[cfg(feature = "script")]
            let instance = instance.with_workers(Arc::clone(&self.shared.workers));
            instance
        });
        locked(&self.shared.instances).push(id);
        id
    }

    /// Closes everything the instance has open, at once; no event follows. Writes of its store are still finished.
    pub fn close(&self, id: InstanceId) {
        locked(&self.shared.instances).retain(|known| *known != id);
        registry::remove(id);
    }

    /// Lets what the instance asked for go out, for `grace` at most, then closes it: queued messages and bytes are sent,
    /// connections end in good order, requests get their answers, the store is written.
    pub async fn drain(&self, id: InstanceId, grace: Duration) {
        if let Some(instance) = registry::find(id) {
            instance.wind_down();
            let quiet = async {
                instance.until_nothing_is_open().await;
                instance.storage.flushed().await;
            };
            let _ = tokio::time::timeout(grace, quiet).await;
        }
        self.close(id);
    }

    /// The table of this id.
    #[must_use]
    pub fn table(id: &str) -> Option<ExtensionRef> {
        Some(match id {
            Mqtt::ID => ExtensionRef::new(&mqtt::TABLE),
            Tcp::ID => ExtensionRef::new(&tcp::TABLE),
            Udp::ID => ExtensionRef::new(&udp::TABLE),
            Http::ID => ExtensionRef::new(&http::TABLE),
            Store::ID => ExtensionRef::new(&store::TABLE),
            Network::ID => ExtensionRef::new(&network::TABLE),
            Module::ID => ExtensionRef::new(&module::TABLE),
            #[cfg(feature = "script")]
            Script::ID => ExtensionRef::new(&script::TABLE),
            Subdevices::ID => ExtensionRef::new(&subdevices::TABLE),
            Ota::ID => ExtensionRef::new(&ota::TABLE),
            Logs::ID => ExtensionRef::new(&logs::TABLE),
            _ => return None,
        })
    }

    /// What files are loaded with. Trusts the roots in `ca_pem`; empty: the built-in ones.
    #[must_use]
    pub fn web(&self, ca_pem: &str) -> Web {
        Web::new(Arc::clone(&self.shared.dialer), ca_pem)
    }

    /// What an instance uses now; nothing for one that is closed.
    #[must_use]
    pub fn usage(&self, id: InstanceId) -> Usage {
        registry::find(id).map(|instance| instance.usage()).unwrap_or_default()
    }

    /// Puts an event into the inbox of every instance of this host.
    pub fn announce(&self, event: &OwnedEvent) {
        let instances = locked(&self.shared.instances).clone();
        for instance in instances.into_iter().filter_map(registry::find) {
            instance.sink.complete(event.clone());
        }
    }

    /// Tells the instance of this name, if there is one, that the list of its updates changed.
    pub fn announce_update(&self, name: &str) {
        let instances = locked(&self.shared.instances).clone();
        for instance in instances.into_iter().filter_map(registry::find).filter(|instance| instance.name == name) {
            instance.sink.complete(ota::changed());
        }
    }

    fn storage(&self, setup: &InstanceSetup) -> Arc<Storage> {
        let mut stores = locked(&self.shared.stores);
        let open = || Arc::new(Storage::open(&setup.name, &setup.store_dir));
        Arc::clone(stores.entry(setup.store_dir.clone()).or_insert_with(open))
    }
}
