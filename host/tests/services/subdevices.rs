//! The `subdevices` table: what a plugin asks reaches the rest of the host under its cloud's name.

use std::sync::Mutex;

use polylink_plugin_api::services::Subdevices;

use super::*;

#[tokio::test]
async fn the_list_and_wishes_pass_under_the_name_of_the_cloud() {
    let ours = Arc::new(Recorder::default());
    let plugin = open("subdevices", Arc::clone(&ours) as _);
    let table = table::<Subdevices>();
    assert_eq!((table.list)(plugin.id).into_vec(), [known()]);
    assert!((table.admit)(plugin.id, "ABCDEF".into(), "0011".into(), 60));
    assert!((table.accept)(plugin.id, 3));
    assert!((table.remove)(plugin.id, 3));
    let heard = ours.0.lock().unwrap().clone();
    let expected = ["subdevices admits 0011 of ABCDEF for 60", "subdevices accepts 3", "subdevices removes 3"];
    assert_eq!(heard, expected);
    plugin.services.close(plugin.id);
    assert!((table.list)(plugin.id).is_empty() && !(table.accept)(plugin.id, 3));
    assert_eq!(ours.0.lock().unwrap().len(), 3, "nobody speaks for an instance that has ended");
}

#[tokio::test]
async fn a_host_without_subdevices_refuses_every_wish() {
    let plugin = open("subdevices-none", Arc::new(Hooks));
    let table = table::<Subdevices>();
    assert!((table.list)(plugin.id).is_empty());
    assert!(!(table.admit)(plugin.id, "ABCDEF".into(), "".into(), 60));
    assert!(!(table.accept)(plugin.id, 3) && !(table.remove)(plugin.id, 3));
}

fn open(name: &str, subdevices: Arc<dyn SubdeviceHooks>) -> Plugin {
    Plugin::open(name, false, (Arc::new(Hooks), subdevices), ScriptLimits::default())
}

/// Writes down what it hears.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, text: String) -> bool {
        self.0.lock().unwrap().push(text);
        true
    }
}

impl SubdeviceHooks for Recorder {
    fn list(&self) -> Vec<Subdevice> {
        vec![known()]
    }

    fn admit(&self, instance: &str, product: &str, address: &str, seconds: u16) -> bool {
        self.note(format!("{instance} admits {address} of {product} for {seconds}"))
    }

    fn accept(&self, instance: &str, index: u32) -> bool {
        self.note(format!("{instance} accepts {index}"))
    }

    fn remove(&self, instance: &str, index: u32) -> bool {
        self.note(format!("{instance} removes {index}"))
    }
}

fn known() -> Subdevice {
    Subdevice { index: 3, product: "ABCDEF".into(), online: true, ..Subdevice::default() }
}
