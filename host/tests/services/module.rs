//! The `module` table: what a plugin asks reaches the rest of the host under its cloud's name.

use std::sync::Mutex;

use polylink_plugin_api::services::Module;

use super::*;

#[tokio::test]
async fn facts_and_wishes_pass_under_the_name_of_the_cloud() {
    let ours = Arc::new(Recorder::default());
    let plugin = Plugin::with_hooks("module", false, Arc::clone(&ours) as _);
    let table = table::<Module>();
    assert_eq!((table.facts)(plugin.id), known());
    assert!((table.request_restart)(plugin.id, "new image".into()));
    (table.offer_time)(plugin.id, 1_700_000_000_000);
    (table.applications)(plugin.id, 3);
    assert!((table.join_network)(plugin.id, "Home".into(), "secret".into()));
    assert!((table.end_production_test)(plugin.id));
    (table.third_party_cloud)(plugin.id, "jd".into(), "uuid=1".into());
    let heard = ours.0.lock().unwrap().clone();
    let expected = [
        "module restarts: new image",
        "module says 1700000000000",
        "module has 3 applications",
        "module joins Home with 6 characters",
        "module ends the production test",
        "module names jd: uuid=1",
    ];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn nobody_speaks_for_an_instance_that_has_ended() {
    let ours = Arc::new(Recorder::default());
    let plugin = Plugin::with_hooks("module-end", false, Arc::clone(&ours) as _);
    let table = table::<Module>();
    plugin.services.close(plugin.id);
    assert_eq!((table.facts)(plugin.id), Facts::default());
    assert!(!(table.request_restart)(plugin.id, "late".into()));
    (table.offer_time)(plugin.id, 1);
    (table.applications)(plugin.id, 1);
    assert!(!(table.join_network)(plugin.id, "Home".into(), "".into()));
    assert!(!(table.end_production_test)(plugin.id));
    (table.third_party_cloud)(plugin.id, "jd".into(), "".into());
    assert!(ours.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_panic_behind_the_table_does_not_reach_the_plugin() {
    let plugin = Plugin::with_hooks("module-panic", false, Arc::new(Panics));
    assert_eq!((table::<Module>().facts)(plugin.id), Facts::default());
    assert!(!(table::<Module>().request_restart)(plugin.id, "x".into()));
    assert!(!(table::<Module>().join_network)(plugin.id, "x".into(), "y".into()));
    assert!(!(table::<Module>().end_production_test)(plugin.id));
}

/// Writes down what it hears.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }
}

impl ModuleHooks for Recorder {
    fn facts(&self) -> Facts {
        known()
    }

    fn request_restart(&self, instance: &str, reason: &str) -> bool {
        self.note(format!("{instance} restarts: {reason}"));
        true
    }

    fn offer_time(&self, instance: &str, unix_ms: i64) {
        self.note(format!("{instance} says {unix_ms}"));
    }

    fn applications(&self, instance: &str, count: u32) {
        self.note(format!("{instance} has {count} applications"));
    }

    fn join_network(&self, instance: &str, ssid: &str, password: &str) -> bool {
        self.note(format!("{instance} joins {ssid} with {} characters", password.len()));
        true
    }

    fn end_production_test(&self, instance: &str) -> bool {
        self.note(format!("{instance} ends the production test"));
        true
    }

    fn third_party_cloud(&self, instance: &str, name: &str, parameters: &str) {
        self.note(format!("{instance} names {name}: {parameters}"));
    }
}

struct Panics;

impl ModuleHooks for Panics {
    fn facts(&self) -> Facts {
        panic!("forced by the test")
    }

    fn request_restart(&self, _: &str, _: &str) -> bool {
        panic!("forced by the test")
    }

    fn offer_time(&self, _: &str, _: i64) {}

    fn applications(&self, _: &str, _: u32) {}

    fn join_network(&self, _: &str, _: &str, _: &str) -> bool {
        panic!("forced by the test")
    }

    fn end_production_test(&self, _: &str) -> bool {
        panic!("forced by the test")
    }

    fn third_party_cloud(&self, _: &str, _: &str, _: &str) {}
}

fn known() -> Facts {
    Facts { product_key: "pk".into(), mcu_online: true, ..Facts::default() }
}
