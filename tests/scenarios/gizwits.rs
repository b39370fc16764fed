//! The Gizwits cloud, and applications in the same room.

mod any_broker;
mod hostile;
mod identity;
mod life;
mod outage;
mod routes;
mod updates;

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::gizwits::{Gizwits, lan_addresses};
use polylink_testbed::clouds::ledger::Entries;
use polylink_testbed::demo::product;
use polylink_testbed::lan::LanError;
use polylink_testbed::lan::companion::Companion;
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::Value as Json;

use crate::set::{GIZWITS, Set, failed};

/// A host, an MCU on a pseudo-terminal, and the Gizwits cloud.
struct Home {
    set: Set,
    gizwits: Gizwits,
}

impl Home {
    /// Furnishes it with a change to the configuration; nothing runs yet.
    fn furnish(change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let gizwits = Gizwits::start(product::COUNTER).map_err(failed)?;
        let set = Set::new(&gizwits.product_section(), GIZWITS, change)?;
        Ok(Self { set, gizwits })
    }

    /// Furnishes it, starts the host, and waits until the cloud sees the device.
    async fn online() -> Result<Self, RigError> {
        let mut home = Self::furnish(|_| ())?;
        home.set.online(&home.gizwits).await?;
        Ok(home)
    }

    /// Waits until the cloud's ledger fulfils a condition.
    async fn cloud(&self, what: &str, condition: impl Fn(&Entries) -> bool) -> Result<(), RigError> {
        self.heard(self.gizwits.ledger(), what, condition).await
    }

    /// Waits until the MCU was told a status word with, or without, this bit.
    async fn status_bit(&self, what: &str, bit: u16, set: bool) -> Result<(), RigError> {
        self.device(what, |log| log.status_words.last().is_some_and(|word| (word >> bit & 1 == 1) == set)).await
    }

    /// Where the module listens on the LAN: TCP, UDP.
    async fn lan(&self) -> Result<(SocketAddr, SocketAddr), RigError> {
        let status =
            self.rig.until("the module to listen on the LAN", |status| lan_addresses(status).is_some()).await?;
        Ok(lan_addresses(&status).expect("that was waited for"))
    }

    /// An application that has bound the device before, at the cloud, logs in on the LAN and stays.
    async fn app(&self) -> Result<Companion, RigError> {
        let (tcp, _) = self.lan().await?;
        let passcode = self.passcode();
        let app = Companion::log_in(tcp, &passcode, product::schema(), product::COUNTER);
        self.answer("an app to log in", app).await
    }

    /// An application that knows nothing of the device binds it, logs in and stays.
    async fn newcomer(&self) -> Result<Companion, RigError> {
        let (tcp, _) = self.lan().await?;
        self.answer("an app to bind", Companion::enter(tcp, product::schema(), product::COUNTER)).await
    }

    /// What the device registered with.
    fn passcode(&self) -> String {
        self.gizwits.device().expect("the device is online").1.passcode
    }

    /// Waits for what an application on the LAN does.
    async fn answer<T>(&self, what: &str, wait: impl Future<Output = Result<T, LanError>>) -> Result<T, RigError> {
        let answer = self.rig.within(LIMIT, what, wait).await?;
        answer.map_err(|error| self.rig.error(format!("{what}: {error}")))
    }

    /// Ends the host in order. Nobody may have broken a protocol, and the end must be clean.
    async fn finish(mut self, others: &[&dyn SimCloud]) -> Result<(), RigError> {
        self.set.finish(&self.gizwits, others).await
    }
}

impl Deref for Home {
    type Target = Set;

    fn deref(&self) -> &Set {
        &self.set
    }
}

impl DerefMut for Home {
    fn deref_mut(&mut self) -> &mut Set {
        &mut self.set
    }
}

/// The facts that the plugin shows of itself.
fn facts(status: &Json) -> &Json {
    let clouds = status["clouds"].as_array().map(Vec::as_slice).unwrap_or_default();
    clouds.iter().find(|cloud| cloud["name"] == "gizwits").map_or(&Json::Null, |cloud| &cloud["facts"])
}

/// Bits of the status word: new owners may bind, connected to the cloud, an application is there (Gizwits serial
/// protocol, 7.1).
const BINDABLE_BIT: u16 = 3;
const CLOUD_BIT: u16 = 5;
const APP_BIT: u16 = 11;
