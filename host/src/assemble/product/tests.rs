//! Products that come, go and are wrong. Their plugins are not installed, which must not matter here.

use std::fs;
use std::pin::Pin;

use super::super::make_hub;
use super::*;
use crate::config::{Config, Overrides};
use crate::log::KeptLog;
use crate::mcu::Identity;
use crate::services::clock::{Clock, Zone};
use crate::services::{ModuleHooks, OwnedEvent, ScriptLimits, ServiceOptions};

const LAMP: &str = "
[product]
key = 'lamp'
name = 'Lamp'
[[property]]
name = 'power'
type = 'bool'
[cloud.one]
plugin = 'not-installed'
[cloud.off]
plugin = 'not-installed'
enabled = false
";

const PLUG: &str = "
[product]
key = 'plug'
name = 'Plug'
[[property]]
name = 'power'
type = 'bool'
[cloud.two]
plugin = 'not-installed'
";

/// The MCU names these products one after the other; so the host stands then: state, product, clouds that run or would
/// run, clouds that are refused.
async fn check(set: &str, said: &[&str], state: &str, product: &str, clouds: &[&str], refused: &[&str]) {
    let place = Place::new();
    place.write("host.toml", &format!("[mcu]\nport = '/dev/null'\nproduct_key = '{set}'\n"));
    place.write("products/lamp.toml", LAMP);
    place.write("products/plug.toml", PLUG);
    place.write("products/broken.toml", "[product]\nkey = 1");
    let (clouds_of, module, mut mailbox) = host(&place);
    clouds_of.start_with_set_key().await;
    for key in said {
        module.identified(Identity { product_key: (*key).to_owned(), ..Identity::default() });
        clouds_of.start(key).await;
    }
    assert_eq!(clouds_of.state(), (state.to_owned(), product.to_owned()));
    let (running, off) = clouds_of.status();
    assert_eq!(running.iter().map(|cloud| cloud.cloud.as_str()).collect::<Vec<_>>(), clouds);
    assert_eq!(off.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), refused);
    let told = std::iter::from_fn(|| mailbox.try_recv().ok());
    let last = told.filter_map(|message| match message {
        PortMessage::Product { product, .. } => Some(product.key.to_string()),
        _ => None,
    });
    assert_eq!(last.last().unwrap_or_default(), if product.is_empty() { "lamp" } else { product });
    let expected = if set.is_empty() { *said.last().expect("it says something") } else { set };
    assert_eq!(module.facts().product_key, expected, "what plugins are told");
}

#[tokio::test]
async fn a_product_replaces_the_one_before_whole() {
    check("", &["lamp"], "running", "lamp", &["one"], &["off"]).await;
    check("", &["lamp", "plug"], "running", "plug", &["two"], &[]).await;
    check("", &["lamp", "plug", "lamp"], "running", "lamp", &["one"], &["off"]).await;
}

#[tokio::test]
async fn a_product_that_cannot_be_read_leaves_nothing_of_the_one_before() {
    for wrong in ["broken", "unknown", "../lamp", ""] {
        check("", &["lamp", wrong], "the product file is wrong", "", &[], &[]).await;
    }
}

#[tokio::test]
async fn a_product_that_is_set_stays_whatever_the_mcu_says() {
    check("lamp", &["plug", "plug", ""], "running", "lamp", &["one"], &["off"]).await;
}

#[tokio::test]
async fn a_first_join_is_told_to_who_runs_and_to_who_begins_within_a_minute() {
    let place = Place::new();
    place.write("host.toml", "[mcu]\nport = '/dev/null'\n");
    let (clouds, _, _mailbox) = host(&place);
    let (early, late) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
    clouds.services.open("early", Arc::clone(&early) as _);
    clouds.announce_joined();
    clouds.services.open("late", Arc::clone(&late) as _);
    for heard in [early, late] {
        assert_eq!(*heard.0.lock().expect("no test panics with it"), [module_event(NETWORK_JOINED, 0)]);
    }
}

/// Writes down what a plugin would hear.
#[derive(Default)]
struct Heard(Mutex<Vec<OwnedEvent>>);

impl EventSink for Heard {
    fn complete(&self, event: OwnedEvent) {
        self.0.lock().expect("no test panics with it").push(event);
    }

    fn offer(&self, event: OwnedEvent) -> bool {
        self.complete(event);
        true
    }

    fn deliver<'a>(&'a self, event: OwnedEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.complete(event);
        Box::pin(std::future::ready(()))
    }
}

fn host(place: &Place) -> (Arc<Clouds>, Arc<ModuleSide>, mpsc::Receiver<PortMessage>) {
    let config = Config::load_host(&place.0, Overrides::default()).expect("the configuration is right");
    let clock = Clock::new(Zone::Fixed(0));
    let (to_port, mailbox) = mpsc::channel(64);
    let hub = make_hub(&config, &clock, to_port.clone());
    let services = Services::new(ServiceOptions {
        runtime: Runtime::current(),
        clock: clock.clone(),
        scripts: ScriptLimits::default(),
        log: KeptLog::default(),
    });
    let link = crate::mcu::jsonl::JsonLines::new();
    let (updates, _) = UpdateSide::open(&config, clock.clone(), &link, to_port.clone(), services.clone());
    let module = Arc::new(ModuleSide::new(&config, clock));
    let subdevices = Arc::new(SubdeviceSide::new(false, to_port.clone()));
    (Clouds::new(config, hub, services, Arc::clone(&module), subdevices, Arc::new(updates), to_port), module, mailbox)
}

/// A configuration directory of one test, gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("polylink-product-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("products")).expect("the temporary directory can be written");
        Self(path)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).expect("the temporary directory can be written");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
