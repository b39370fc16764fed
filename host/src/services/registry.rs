//! Who calls, what that instance has open, and how much it may have.
//!
//! One registry for the process, since a table function knows its caller only by id. Ids and tokens come from one
//! counter and are never used again. An instance's handle table is the one place that says what is open: an entry is
//! made before its task starts and leaves before its last event is put, so nothing can be asked of a handle that has
//! reported its end.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Poll;

use polylink_plugin_api::services::script::SCRIPTS_MAX;
use polylink_plugin_api::services::{FAILED, Http, Logs, Network, Tcp, Udp, tcp, udp};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};
use tokio::runtime::Handle as Runtime;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::{error, warn};

use super::clock::{Clock, Zone};
use super::dial::Dialer;
use super::store::Storage;
use super::{EventSink, InstanceSetup, ModuleHooks, OwnedEvent, SubdeviceHooks};
use crate::log::KeptLog;
use crate::update::engine::Updates;

/// What an instance uses, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Connections, streams, listeners and sockets.
    pub handles: usize,
    /// HTTP requests, look-ups and uploads of the log under way.
    pub calls: usize,
    /// Scripts that are loaded.
    pub scripts: usize,
    /// Bytes waiting to be sent, or for a script.
    pub queued_bytes: usize,
    /// Bytes of keys and values in the store.
    pub store_bytes: usize,
    /// Keys that could not be written to the disk yet.
    pub store_unsaved: usize,
    /// Calls that were refused since the instance was opened.
    pub refused: u64,
}

/// One living instance.
pub(super) struct Instance {
    pub id: InstanceId,
    pub name: String,
    pub sink: Arc<dyn EventSink>,
    pub runtime: Runtime,
    pub dialer: Arc<Dialer>,
    pub storage: Arc<Storage>,
    pub store_max_bytes: usize,
    pub module: Arc<dyn ModuleHooks>,
    pub subdevices: Arc<dyn SubdeviceHooks>,
    pub updates: Arc<Updates>,
    #[cfg(feature = "script")]
    pub workers: Arc<super::script::Workers>,
    pub log: KeptLog,
    pub clock: Clock,
    plain_text: bool,
    plain_text_told: AtomicBool,
    refused: AtomicU64,
    open: Mutex<Open>,
    /// Told whenever an entry leaves.
    left: Notify,
}

#[derive(Default)]
struct Open {
    closed: bool,
    entries: HashMap<u64, Entry>,
}

struct Entry {
    port: Port,
    task: Option<AbortHandle>,
}

/// What a handle stands for, as table functions reach it.
#[derive(Clone)]
pub(super) enum Port {
    Mqtt(Arc<super::mqtt::Connection>),
    Stream(Arc<super::tcp::Stream>),
    Listener(Arc<super::tcp::Listener>),
    Udp(Arc<super::udp::Socket>),
    HttpRequest,
    Resolve,
    LogUpload,
    #[cfg(feature = "script")]
    Script(Arc<super::script::Queue>),
}

/// Why nothing was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: i64,
    pub text: String,
}

impl Refusal {
    pub fn new(code: i64, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(HostRefusal::INVALID, text)
    }
}

impl Instance {
    pub fn new(
        id: InstanceId,
        setup: InstanceSetup,
        runtime: Runtime,
        dialer: Arc<Dialer>,
        storage: Arc<Storage>,
    ) -> Self {
        let InstanceSetup { name, sink, store_max_bytes, plain_text, module, subdevices, updates, store_dir: _ } =
            setup;
        Self {
            id,
            name,
            sink,
            runtime,
            dialer,
            storage,
            store_max_bytes,
            module,
            subdevices,
            updates,
            #[cfg(feature = "script")]
            workers: Arc::default(),
            log: KeptLog::default(),
            clock: Clock::new(Zone::Fixed(0)),
            plain_text,
            plain_text_told: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            open: Mutex::default(),
            left: Notify::new(),
        }
    }

    /// The same instance, with this log to send, and the clock that says when its lines were logged.
    pub fn with_log(self, log: KeptLog, clock: Clock) -> Self {
        Self { log, clock, ..self }
    }

    /// The same instance, with scripts under the limits of its host.
    #[cfg(feature = "script")]
    pub fn with_workers(self, workers: Arc<super::script::Workers>) -> Self {
        Self { workers, ..self }
    }

    /// Makes an entry, then starts its task; the quota decides. An instance that is closed takes nothing and says so by
    /// [`HostRefusal::CLOSED`], which nobody is left to hear.
    pub fn admit<F>(self: &Arc<Self>, token: u64, port: Port, task: F) -> Result<(), Refusal>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut open = locked(&self.open);
        if open.closed {
            return Err(Refusal::new(HostRefusal::CLOSED, "the instance has ended"));
        }
        let alike = open.entries.values().filter(|entry| entry.port.quota() == port.quota()).count();
        let (name, max) = port.quota();
        if alike >= max {
            return Err(Refusal::new(HostRefusal::QUOTA, format!("{alike} {name} are in use, at most {max} may be")));
        }
        // The task cannot end before its entry is there: ending takes the lock that is held here.
        let task = self.runtime.spawn(contained(Arc::clone(self), token, task)).abort_handle();
        open.entries.insert(token, Entry { port, task: Some(task) });
        Ok(())
    }

    /// What an open handle stands for.
    pub fn port(&self, token: u64) -> Option<Port> {
        locked(&self.open).entries.get(&token).map(|entry| entry.port.clone())
    }

    /// Takes a handle out of the table; false: it was not there, so its end was told already or nobody is left to hear.
    pub fn release(&self, token: u64) -> bool {
        let was_there = locked(&self.open).entries.remove(&token).is_some();
        self.left.notify_waiters();
        was_there
    }

    /// The task of a handle panicked: the plugin learns that it is gone, unless it was told so already.
    fn broke(&self, token: u64) {
        let entry = locked(&self.open).entries.remove(&token);
        self.left.notify_waiters();
        if let Some(entry) = entry {
            let refusal = Refusal::new(HostRefusal::OTHER, "the host failed at this; its log says how");
            entry.port.end(self, token, refusal);
        }
    }

    /// Takes a handle out of the table and stops its task where it stands.
    pub fn abort(&self, token: u64) -> bool {
        let entry = locked(&self.open).entries.remove(&token);
        self.left.notify_waiters();
        let task = entry.and_then(|entry| entry.task);
        task.map(|task| task.abort()).is_some()
    }

    /// Puts a completion.
    pub fn complete(&self, source: &'static str, kind: u32, token: u64, code: i64, text: impl Into<String>) {
        self.sink.complete(OwnedEvent { source, kind, token, code, text: text.into(), body: Vec::new() });
    }

    /// Puts the completion of a refused call.
    pub fn refuse(&self, source: &'static str, kind: u32, token: u64, refusal: Refusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.complete(source, kind, token, refusal.code, refusal.text);
    }

    /// Puts [`FAILED`] for a call.
    pub fn fail(&self, source: &'static str, token: u64, refusal: Refusal) {
        self.refuse(source, FAILED, token, refusal);
    }

    /// May this instance connect without TLS? Told to the log the first time it does.
    pub fn allow_plain_text(&self, host: &str) -> Result<(), Refusal> {
        if !self.plain_text {
            let text = format!(
                "a connection to `{host}` without TLS is not allowed; `plain_text = true` in [cloud.{}] of the product \
                 file would allow it",
                self.name
            );
            return Err(Refusal::invalid(text));
        }
        if !self.plain_text_told.swap(true, Ordering::Relaxed) {
            warn!(cloud = %self.name, host, "connects without TLS, as the product file allows");
        }
        Ok(())
    }

    /// The same question, without telling the log.
    pub fn allows_plain_text(&self) -> bool {
        self.plain_text
    }

    /// Asks everything that is open to send what is queued and to end.
    pub fn wind_down(&self) {
        let ports: Vec<_> =
            locked(&self.open).entries.iter().map(|(token, entry)| (*token, entry.port.clone())).collect();
        for (token, port) in ports {
            match port {
                Port::Mqtt(connection) => connection.disconnect(),
                Port::Stream(stream) => stream.close(),
                Port::Listener(listener) => listener.close(),
                // Whoever stops has no use for an answer any more, and a log is not worth waiting for.
                Port::Udp(_) | Port::Resolve | Port::LogUpload => {
                    self.abort(token);
                }
                #[cfg(feature = "script")]
                Port::Script(_) => {
                    self.abort(token);
                }
                Port::HttpRequest => {}
            }
        }
    }

    pub async fn until_nothing_is_open(&self) {
        loop {
            let left = self.left.notified();
            let mut left = std::pin::pin!(left);
            left.as_mut().enable();
            if locked(&self.open).entries.is_empty() {
                return;
            }
            left.await;
        }
    }

    pub fn usage(&self) -> Usage {
        let open = locked(&self.open);
        let n_of = |quota| open.entries.values().filter(|entry| entry.port.quota() == quota).count();
        let (handles, scripts) = (n_of(HANDLES), n_of(SCRIPTS));
        let (store_bytes, store_unsaved) = self.storage.usage();
        Usage {
            handles,
            calls: open.entries.len() - handles - scripts,
            scripts,
            queued_bytes: open.entries.values().map(|entry| entry.port.queued_bytes()).sum(),
            store_bytes,
            store_unsaved,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn close(&self) {
        let entries = {
            let mut open = locked(&self.open);
            open.closed = true;
            std::mem::take(&mut open.entries)
        };
        for task in entries.into_values().filter_map(|entry| entry.task) {
            task.abort();
        }
        self.left.notify_waiters();
    }
}

impl Port {
    /// The name and the size of the quota that counts this.
    fn quota(&self) -> (&'static str, usize) {
        match self {
            Self::Mqtt(_) | Self::Stream(_) | Self::Listener(_) | Self::Udp(_) => HANDLES,
            Self::HttpRequest => ("HTTP requests", HTTP_MAX),
            Self::Resolve => ("look-ups", RESOLVES_MAX),
            Self::LogUpload => ("log uploads", LOG_UPLOADS_MAX),
            #[cfg(feature = "script")]
            Self::Script(_) => SCRIPTS,
        }
    }

    /// Tells the end of a handle that has left the table.
    fn end(&self, instance: &Instance, token: u64, why: Refusal) {
        match self {
            Self::Mqtt(connection) => connection.end(instance, token, why),
            Self::Stream(stream) => stream.end(instance, token, why),
            Self::Listener(_) => instance.complete(Tcp::ID, tcp::CLOSED, token, why.code, why.text),
            Self::Udp(_) => instance.complete(Udp::ID, udp::CLOSED, token, why.code, why.text),
            Self::HttpRequest => instance.fail(Http::ID, token, why),
            Self::Resolve => instance.fail(Network::ID, token, why),
            Self::LogUpload => instance.fail(Logs::ID, token, why),
            #[cfg(feature = "script")]
            Self::Script(queue) => super::script::end(instance, token, queue, why),
        }
    }

    fn queued_bytes(&self) -> usize {
        match self {
            Self::Mqtt(connection) => connection.queued_bytes(),
            Self::Stream(stream) => stream.queued_bytes(),
            #[cfg(feature = "script")]
            Self::Script(queue) => queue.n_bytes(),
            Self::Listener(_) | Self::Udp(_) | Self::HttpRequest | Self::Resolve | Self::LogUpload => 0,
        }
    }
}

/// Registers what `make` makes under a fresh id.
pub(super) fn insert(make: impl FnOnce(InstanceId) -> Instance) -> InstanceId {
    let id = InstanceId(fresh());
    let instance = Arc::new(make(id));
    INSTANCES.write().unwrap_or_else(PoisonError::into_inner).insert(id, instance);
    id
}

/// The instance of this id, while it lives.
pub(super) fn find(id: InstanceId) -> Option<Arc<Instance>> {
    INSTANCES.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
}

/// Closes an instance and forgets it.
pub(super) fn remove(id: InstanceId) {
    let instance = INSTANCES.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    if let Some(instance) = instance {
        instance.close();
    }
}

/// The frame of every table function that returns a token: hands a fresh one to `call`, if the instance lives.
pub(super) fn with_token(id: InstanceId, call: impl FnOnce(&Arc<Instance>, u64)) -> u64 {
    let token = fresh();
    guarded((), || {
        if let Some(instance) = find(id) {
            call(&instance, token);
        }
    });
    token
}

/// The frame of every other table function: `otherwise` for an instance that has ended.
pub(super) fn with_instance<T>(id: InstanceId, otherwise: T, call: impl FnOnce(&Arc<Instance>) -> T) -> T {
    match find(id) {
        Some(instance) => guarded(otherwise, || call(&instance)),
        None => otherwise,
    }
}

/// Locks, also after a panic elsewhere: what the services guard is valid between any two statements.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A panic that crossed a table function would end the process.
fn guarded<T>(otherwise: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        error!(panic = message(&*panic), "a service call panicked and was dropped");
        otherwise
    })
}

/// A panic that ended a task silently would leave a handle in the table of which nobody hears again.
async fn contained(instance: Arc<Instance>, token: u64, task: impl Future<Output = ()>) {
    let ended = {
        let mut task = pin!(task);
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            // Not polled again, which a future that panicked must not be.
            Err(panic) => Poll::Ready(Err(panic)),
        })
        .await
    };
    if let Err(panic) = ended {
        error!(cloud = %instance.name, token, panic = message(&*panic), "a service task panicked; its handle is closed");
        instance.broke(token);
    }
}

/// What a panic said.
pub(super) fn message(panic: &(dyn Any + Send)) -> &str {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    said.unwrap_or("without a message")
}

fn fresh() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A fresh token outside of a call, for a stream that came in.
pub(super) fn fresh_token() -> u64 {
    fresh()
}

/// Most connections, streams, listeners and sockets of an instance. Not documented; chosen by us: a LAN listener with 16
/// streams and a handful of clouds' connections fit.
pub const HANDLES_MAX: usize = 32;

/// Most HTTP requests of an instance at once (`polylink.http/1`).
pub const HTTP_MAX: usize = 4;

/// Most look-ups of an instance at once. Not documented; chosen by us.
pub const RESOLVES_MAX: usize = 8;

/// Uploads of the log by an instance at once (`polylink.logs/1`).
const LOG_UPLOADS_MAX: usize = 1;

const HANDLES: (&str, usize) = ("handles", HANDLES_MAX);

const SCRIPTS: (&str, usize) = ("scripts", SCRIPTS_MAX);

static NEXT: AtomicU64 = AtomicU64::new(1);
static INSTANCES: RwLock<BTreeMap<InstanceId, Arc<Instance>>> = RwLock::new(BTreeMap::new());

#[cfg(test)]
mod tests;
