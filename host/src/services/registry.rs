//! Which instances there are, what each has open, and how much it may have.
//!
//! One registry for the whole process: a table is static and knows its caller only by the id. Ids and tokens are never
//! used again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use polylink_plugin_api::services::FAILED;
use polylink_plugin_api::{HostRefusal, InstanceId};
use tokio::runtime::Handle as Runtime;
use tokio::sync::watch;

use super::dial::Dialer;
use super::store::Storage;
use super::{EventSink, InstanceSetup, ModuleHooks, OwnedEvent, mqtt, tcp, udp};

/// One registered plugin instance.
pub struct Instance {
    pub name: String,
    pub sink: Arc<dyn EventSink>,
    pub plain_text: bool,
    pub module: Arc<dyn ModuleHooks>,
    pub runtime: Runtime,
    pub dialer: Arc<Dialer>,
    pub storage: Arc<Storage>,
    open: Mutex<Open>,
    /// Counts what is open, for `drain`.
    n_open: watch::Sender<usize>,
}

struct Open {
    /// False once the instance is closed: nothing may be opened any more.
    living: bool,
    handles: HashMap<u64, Handle>,
}

/// What an instance has open or under way.
pub enum Handle {
    Mqtt(mqtt::Connection),
    Stream(tcp::Stream),
    Listener(tcp::Listener),
    Udp(udp::Socket),
    /// A request that ends by itself: HTTP, a look-up.
    Call(CallKind, tokio::task::AbortHandle),
}

/// What kind of request is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Http,
    Resolve,
}

/// What an instance uses, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Connections, streams, listeners, sockets and requests.
    pub handles: usize,
    /// Bytes in its store.
    pub store_bytes: usize,
}

impl Instance {
    pub fn new(setup: InstanceSetup, runtime: Runtime, dialer: Arc<Dialer>) -> Self {
        Self {
            storage: Arc::new(Storage::open(&setup.name, setup.store_dir, setup.store_max_bytes)),
            name: setup.name,
            sink: setup.sink,
            plain_text: setup.plain_text,
            module: setup.module,
            runtime,
            dialer,
            open: Mutex::new(Open { living: true, handles: HashMap::new() }),
            n_open: watch::Sender::new(0),
        }
    }

    /// Opens something under a token: `make` starts it. False: the instance is closed, or its quota is used up (which is
    /// told with an event of kind `kind`).
    pub fn insert(&self, source: &'static str, kind: u32, token: u64, make: impl FnOnce() -> Handle) -> bool {
        let mut open = self.lock();
        if !open.living {
            return false;
        }
        if open.handles.len() >= HANDLES_MAX {
            drop(open);
            let text = format!("this instance has {HANDLES_MAX} connections, sockets and requests open already");
            self.end(source, kind, token, HostRefusal::QUOTA, text);
            return false;
        }
        let handle = make();
        open.handles.insert(token, handle);
        self.n_open.send_replace(open.handles.len());
        true
    }

    /// Looks at what is open under a token.
    pub fn with<R>(&self, token: u64, look: impl FnOnce(&Handle) -> Option<R>) -> Option<R> {
        self.lock().handles.get(&token).and_then(look)
    }

    /// Forgets what was open under a token.
    pub fn remove(&self, token: u64) -> Option<Handle> {
        let mut open = self.lock();
        let removed = open.handles.remove(&token);
        self.n_open.send_replace(open.handles.len());
        removed
    }

    /// How many requests of a kind are under way.
    pub fn n_calls(&self, kind: CallKind) -> usize {
        self.lock().handles.values().filter(|handle| matches!(handle, Handle::Call(other, _) if *other == kind)).count()
    }

    /// Puts a completion with a code and a text.
    pub fn end(&self, source: &'static str, kind: u32, token: u64, code: i64, text: impl Into<String>) {
        self.sink.complete(OwnedEvent { source, kind, token, code, text: text.into(), body: Vec::new() });
    }

    /// Puts a [`FAILED`].
    pub fn fail(&self, source: &'static str, token: u64, code: i64, text: impl Into<String>) {
        self.end(source, FAILED, token, code, text);
    }

    pub fn usage(&self) -> Usage {
        Usage { handles: self.lock().handles.len(), store_bytes: self.storage.n_bytes() }
    }

    /// Waits until nothing is open any more, or `grace` is over, and the store is on the disk.
    pub async fn drain(&self, grace: Duration) {
        for handle in self.lock().handles.values() {
            match handle {
                Handle::Mqtt(connection) => connection.disconnect(),
                Handle::Stream(stream) => stream.close(),
                Handle::Listener(listener) => listener.close(),
                Handle::Udp(socket) => socket.close(),
                Handle::Call(_, task) => task.abort(),
            }
        }
        self.lock().handles.retain(|_, handle| matches!(handle, Handle::Mqtt(_) | Handle::Stream(_)));
        let mut n_open = self.n_open.subscribe();
        self.n_open.send_replace(self.lock().handles.len());
        let settled = async {
            let _ = n_open.wait_for(|n_open| *n_open == 0).await;
            self.storage.flush().await;
        };
        let _ = tokio::time::timeout(grace, settled).await;
    }

    fn close(&self) {
        let handles = {
            let mut open = self.lock();
            open.living = false;
            std::mem::take(&mut open.handles)
        };
        self.n_open.send_replace(0);
        // Dropping aborts the tasks, see each handle's `Drop`; requests have none of their own.
        for handle in handles.into_values() {
            if let Handle::Call(_, task) = handle {
                task.abort();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Aborts a task when dropped.
#[derive(Debug)]
pub struct AbortOnDrop(pub tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A fresh token.
pub fn token() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Registers an instance.
pub fn open(instance: Instance) -> InstanceId {
    let id = InstanceId(token());
    write().insert(id, Arc::new(instance));
    id
}

/// The instance of this id, if it lives.
pub fn find(id: InstanceId) -> Option<Arc<Instance>> {
    REGISTRY.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
}

/// Closes and forgets an instance.
pub fn close(id: InstanceId) {
    let closed = write().remove(&id);
    if let Some(instance) = closed {
        instance.close();
    }
}

/// Puts an event into every inbox.
pub fn announce(event: &OwnedEvent) {
    let all: Vec<_> = REGISTRY.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
    for instance in all {
        instance.sink.complete(event.clone());
    }
}

fn write() -> std::sync::RwLockWriteGuard<'static, BTreeMap<InstanceId, Arc<Instance>>> {
    REGISTRY.write().unwrap_or_else(PoisonError::into_inner)
}

static REGISTRY: RwLock<BTreeMap<InstanceId, Arc<Instance>>> = RwLock::new(BTreeMap::new());

/// Of instances, handles and calls alike; 0 is none of them.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Connections, streams, listeners, sockets and requests of one instance. One more fails with `QUOTA`. Not documented;
/// chosen by us: eight LAN clients, a few listeners and the cloud leave half of it free.
pub const HANDLES_MAX: usize = 32;

/// HTTP requests of one instance at once (contract of `polylink.http/1`). One more fails with `QUOTA`.
pub const HTTP_AT_ONCE_MAX: usize = 4;
