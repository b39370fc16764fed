//! Simulated clouds, written from the documents of their vendors. A cloud is one file here and one line in [`KNOWN`].

pub mod clife;
pub mod deli;
pub mod gizwits;
pub mod joylink;
pub mod ledger;
pub mod lierda;
pub mod template;

use std::io;
use std::pin::Pin;

use ledger::Ledger;

/// A cloud as the demo and the scenarios see it. Dropping it ends it.
pub trait SimCloud {
    /// Its section of the product file: `[cloud.<name>]` and everything below, with addresses of this run.
    fn product_section(&self) -> String;

    /// What arrived, what was commanded, who is online, what was against the protocol.
    fn ledger(&self) -> &Ledger;

    /// Tells the device to set a property to a value, given in the cloud's own words as JSON. The ledger then has a
    /// command sent, and a command done as soon as the device says so.
    fn send_command(&self, property: &str, value: &serde_json::Value) -> Result<(), String>;

    /// Resets all connections and closes the port.
    fn go_away(&self);

    /// Opens the same port again.
    fn come_back(&self) -> io::Result<()>;

    /// Whether it acknowledges reports. One that does not loses what is on its way when the host is killed, and nobody can
    /// know.
    fn acknowledges(&self) -> bool {
        true
    }

    /// Whether there is anything that [`SimCloud::go_away`] takes away.
    fn has_servers(&self) -> bool {
        true
    }
}

/// A cloud on its way to run: starting needs a tokio runtime.
pub type Starting = Pin<Box<dyn Future<Output = io::Result<Box<dyn SimCloud>>>>>;

/// How a cloud is made.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Name in `--clouds` and in the product file.
    pub name: &'static str,
    /// Package of its plugin.
    pub package: &'static str,
    /// Starts it; the datapoint of this name tells reports apart.
    pub start: fn(&'static str) -> Starting,
}

/// The cloud of this name.
pub fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// All clouds there are.
pub const KNOWN: &[Known] = &[
    Known {
        name: "clife",
        package: "polylink-clife",
        start: |counter| Box::pin(async move { Ok(Box::new(clife::Clife::start(counter)?) as Box<dyn SimCloud>) }),
    },
    Known {
        name: "deli",
        package: "polylink-deli",
        start: |counter| Box::pin(async move { Ok(Box::new(deli::Deli::start(counter)?) as Box<dyn SimCloud>) }),
    },
    Known {
        name: "gizwits",
        package: "polylink-gizwits",
        start: |counter| Box::pin(async move { Ok(Box::new(gizwits::Gizwits::start(counter)?) as Box<dyn SimCloud>) }),
    },
    Known {
        name: "joylink",
        package: "polylink-joylink",
        start: |counter| Box::pin(async move { Ok(Box::new(joylink::JoyLink::start(counter)?) as Box<dyn SimCloud>) }),
    },
    Known {
        name: "lierda",
        package: "polylink-lierda",
        start: |counter| Box::pin(async move { Ok(Box::new(lierda::Lierda::start(counter)?) as Box<dyn SimCloud>) }),
    },
    Known {
        name: "template",
        package: "polylink-template",
        start: |counter| {
            Box::pin(async move { Ok(Box::new(template::Template::start(counter)?) as Box<dyn SimCloud>) })
        },
    },
];
