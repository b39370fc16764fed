//! Simulated clouds, each written from its protocol document and strict about it.
//!
//! To add one: write its module, implement [`SimCloud`], and add a line to [`start`] and its name to [`KNOWN`]; the rig,
//! the demo and the scenarios ask for nothing else.

pub mod deli;
pub mod ledger;

use std::io;
use std::sync::Arc;

use serde_json::Value as Json;

use self::ledger::Ledger;

/// What the demo and the scenarios need of a cloud.
pub trait SimCloud: Send + Sync {
    /// Its name, which is also the name of its instance in the configuration.
    fn name(&self) -> &'static str;

    /// The cargo package of its plugin.
    fn package(&self) -> &'static str;

    /// The sections `[cloud.<name>]` of the product file, with the settings that lead to this simulator.
    fn config(&self) -> String;

    /// What arrived and what was sent.
    fn ledger(&self) -> &Ledger;

    /// Whether the device is connected and this cloud would let it work.
    fn online(&self) -> bool;

    /// Sends a command that sets a datapoint; false if the device cannot be reached now.
    fn set(&self, datapoint: &str, value: &Json) -> bool;

    /// Cuts all connections and takes no new ones.
    fn go_away(&self);

    /// Takes connections again, at the same address.
    fn come_back(&self) -> io::Result<()>;

    /// Breaches of the transport's and of the cloud's own protocol, in words.
    fn violations(&self) -> Vec<String>;
}

/// Names of the clouds that can be started.
pub const KNOWN: &[&str] = &["deli"];

/// Starts a cloud by its name, knowing the datapoint that counts the reports; needs a running tokio runtime.
pub fn start(name: &str, counter: &str) -> io::Result<Arc<dyn SimCloud>> {
    match name {
        "deli" => Ok(deli::Deli::start(counter)?),
        other => Err(io::Error::other(format!("no simulated cloud {other:?}; known: {}", KNOWN.join(", ")))),
    }
}
