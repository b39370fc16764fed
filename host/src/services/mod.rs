//! What the host does for plugins: sockets, HTTP, storage, facts. Each service is a table of functions (see
//! [`polylink_plugin_api::services`]) that find the calling instance by its id and return at once; completions go to the
//! instance's [`EventSink`].
//!
//! Table functions may be called from any thread; the work itself runs on the one I/O runtime. Everything an instance
//! opened belongs to it and is closed with it.

pub mod clock;
mod dial;
mod http;
mod module;
mod mqtt;
mod network;
mod registry;
mod store;
mod tcp;
mod tls;
mod udp;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use polylink_plugin_api::services::module::Facts;
use polylink_plugin_api::services::{Http, Module, Mqtt, Network, Store, Tcp, Udp};
use polylink_plugin_api::{Extension, ExtensionRef, InstanceId};

pub use network::interfaces;
use registry::Instance;
pub use registry::{HANDLES_MAX, HTTP_AT_ONCE_MAX, Usage};

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
    /// Puts a completion. Always taken: the number of calls under way is bounded by the quotas.
    fn complete(&self, event: OwnedEvent);

    /// Puts news that may be lost, such as a datagram; false: no room, dropped, and counted by the inbox.
    fn offer(&self, event: OwnedEvent) -> bool;

    /// Puts news that must not be lost, such as stream bytes; waits for room, which stops the reading of the socket.
    fn deliver<'a>(&'a self, event: OwnedEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// What services need to know of the module, and what they pass on. Called from any thread.
pub trait ModuleHooks: Send + Sync {
    /// What is known now.
    fn facts(&self) -> Facts;

    /// An instance asks for a restart of the module; false: not offered here.
    fn request_restart(&self, instance: &str, reason: &str) -> bool;

    /// An instance offers the time of its cloud.
    fn offer_time(&self, instance: &str, unix_ms: i64);

    /// So many applications watch the device through this instance.
    fn applications(&self, instance: &str, count: u32);
}

/// The services of one host.
#[derive(Clone)]
pub struct Services {
    runtime: tokio::runtime::Handle,
    dialer: Arc<dial::Dialer>,
}

/// What one instance may do, and where its events go.
pub struct InstanceSetup {
    /// Name of the cloud instance; names its log lines.
    pub name: String,
    /// Where its events go.
    pub sink: Arc<dyn EventSink>,
    /// The directory of its store; made when first needed, readable by this user only.
    pub store_dir: PathBuf,
    /// Most bytes in its store.
    pub store_max_bytes: usize,
    /// May it connect without TLS?
    pub plain_text: bool,
    /// The module.
    pub module: Arc<dyn ModuleHooks>,
}

impl Services {
    /// Ids of the tables that [`Services::table`] has.
    pub const OFFERED: &[&str] = &[Mqtt::ID, Tcp::ID, Udp::ID, Http::ID, Store::ID, Network::ID, Module::ID];

    /// Services whose work runs on this runtime.
    #[must_use]
    pub fn new(runtime: tokio::runtime::Handle) -> Self {
        Self { runtime, dialer: Arc::new(dial::Dialer::new()) }
    }

    /// Starts to watch the network; each change is announced to all instances. Runs until the runtime ends.
    pub fn watch_network(&self) {
        self.runtime.spawn(network::watch());
    }

    /// Registers an instance under a fresh id, and reads its store.
    #[must_use]
    pub fn open(&self, setup: InstanceSetup) -> InstanceId {
        registry::open(Instance::new(setup, self.runtime.clone(), Arc::clone(&self.dialer)))
    }

    /// Closes everything an instance has, at once, and forgets it. Its later calls do nothing.
    pub fn close(&self, id: InstanceId) {
        registry::close(id);
    }

    /// Lets what a stopping instance has queued go out, for `grace` at most, then closes it.
    pub async fn drain(&self, id: InstanceId, grace: Duration) {
        if let Some(instance) = registry::find(id) {
            instance.drain(grace).await;
        }
        registry::close(id);
    }

    /// What an instance uses; zeros for one that is gone.
    #[must_use]
    pub fn usage(&self, id: InstanceId) -> Usage {
        registry::find(id).map(|instance| instance.usage()).unwrap_or_default()
    }

    /// Puts an event into the inbox of every instance.
    pub fn announce(&self, event: &OwnedEvent) {
        registry::announce(event);
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
            _ => return None,
        })
    }
}
