//! What a plugin hears when a task of the services panics.

use std::path::PathBuf;

use polylink_plugin_api::services::module::Facts;
use polylink_plugin_api::services::{Mqtt, mqtt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::super::mqtt::{Connection, Patience};
use super::super::tcp::{Listener, Stream};
use super::*;

/// Puts a task under this handle that works for a moment and panics: its end is told once, and nothing is left.
#[track_caller]
fn check(port: Port, source: &str, kind: u32) {
    let (instance, mut events) = instance();
    let left = in_runtime(&instance, port, async {
        tokio::task::yield_now().await;
        panic!("forced by the test");
    });
    let event = events.try_recv().expect("the end is told");
    assert_eq!((event.source, event.kind, event.token, event.code), (source, kind, TOKEN, HostRefusal::OTHER));
    assert!(events.try_recv().is_err(), "and told once");
    assert_eq!(left, 0, "the handle has left the table");
}

#[test]
fn a_panic_in_a_task_is_told_as_the_end_of_its_handle() {
    check(Port::Mqtt(Arc::new(Connection::new(Patience::new(0, 0, 0)))), Mqtt::ID, mqtt::CLOSED);
    check(Port::Stream(Arc::new(Stream::default())), Tcp::ID, tcp::CLOSED);
    check(Port::Listener(Arc::new(Listener::default())), Tcp::ID, tcp::CLOSED);
    check(Port::HttpRequest, Http::ID, FAILED);
    check(Port::Resolve, Network::ID, FAILED);
    check(Port::LogUpload, Logs::ID, FAILED);
}

#[test]
fn a_panic_after_the_end_was_told_is_not_told_again() {
    let (instance, mut events) = instance();
    let teller = Arc::clone(&instance);
    in_runtime(&instance, Port::Resolve, async move {
        assert!(teller.release(TOKEN));
        teller.complete(Network::ID, 1, TOKEN, 0, "");
        panic!("forced by the test");
    });
    assert_eq!(events.try_recv().expect("the end").kind, 1);
    assert!(events.try_recv().is_err());
}

/// Lets a task run to its end on a runtime of its own; the number of entries that are left.
fn in_runtime(instance: &Arc<Instance>, port: Port, task: impl Future<Output = ()> + Send + 'static) -> usize {
    instance.admit(TOKEN, port, task).expect("there is room");
    RUNTIME.with(|runtime| runtime.block_on(instance.until_nothing_is_open()));
    locked(&instance.open).entries.len()
}

fn instance() -> (Arc<Instance>, UnboundedReceiver<OwnedEvent>) {
    let (sender, events) = unbounded_channel();
    let setup = InstanceSetup {
        name: "a".to_owned(),
        sink: Arc::new(Inbox(sender)),
        store_dir: PathBuf::from("/nonexistent/polylink"),
        store_max_bytes: 0,
        plain_text: true,
        module: Arc::new(Hooks),
        subdevices: Arc::new(Hooks),
        updates: Arc::new(Updates::none()),
    };
    let runtime = RUNTIME.with(|runtime| runtime.handle().clone());
    let dialer = Arc::new(Dialer::new(Clock::new(Zone::Fixed(0))));
    let storage = Arc::new(Storage::open("a", &setup.store_dir));
    (Arc::new(Instance::new(InstanceId(0), setup, runtime, dialer, storage)), events)
}

struct Inbox(UnboundedSender<OwnedEvent>);

impl EventSink for Inbox {
    fn complete(&self, event: OwnedEvent) {
        let _ = self.0.send(event);
    }

    fn offer(&self, event: OwnedEvent) -> bool {
        self.0.send(event).is_ok()
    }

    fn deliver<'a>(&'a self, event: OwnedEvent) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.complete(event);
        Box::pin(std::future::ready(()))
    }
}

struct Hooks;

impl ModuleHooks for Hooks {
    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn request_restart(&self, _: &str, _: &str) -> bool {
        false
    }

    fn offer_time(&self, _: &str, _: i64) {}

    fn applications(&self, _: &str, _: u32) {}

    fn join_network(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }

    fn end_production_test(&self, _: &str) -> bool {
        false
    }

    fn third_party_cloud(&self, _: &str, _: &str, _: &str) {}
}

impl SubdeviceHooks for Hooks {
    fn list(&self) -> Vec<polylink_plugin_api::services::subdevices::Subdevice> {
        Vec::new()
    }

    fn admit(&self, _: &str, _: &str, _: &str, _: u16) -> bool {
        false
    }

    fn accept(&self, _: &str, _: u32) -> bool {
        false
    }

    fn remove(&self, _: &str, _: u32) -> bool {
        false
    }
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
}

const TOKEN: u64 = 7;
