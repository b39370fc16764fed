//! The Gizwits cloud, and applications in the same room.

mod any_broker;
mod hostile;
mod identity;
mod life;
mod outage;
mod routes;

use std::net::SocketAddr;

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::gizwits::{Gizwits, lan_addresses};
use polylink_testbed::clouds::ledger::{Entries, Ledger};
use polylink_testbed::demo::product;
use polylink_testbed::lan::LanError;
use polylink_testbed::lan::companion::Companion;
use polylink_testbed::mcu::log::{McuLog, ReceivedCommand};
use polylink_testbed::mcu::sim::McuSim;
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};
use serde_json::Value as Json;

use crate::stage::{self, GIZWITS, binaries, mcu_options};

/// A host, an MCU on a pseudo-terminal, and the Gizwits cloud.
struct Home {
    rig: Rig,
    mcu: McuSim,
    gizwits: Gizwits,
}

impl Home {
    /// Furnishes it with a change to the configuration; nothing runs yet.
    fn furnish(change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let failed = |error: std::io::Error| RigError::new(error.to_string());
        let gizwits = Gizwits::start(product::COUNTER).map_err(failed)?;
        let mcu = McuSim::start(mcu_options()).map_err(failed)?;
        let port = mcu.path().display().to_string();
        let mut files = product::files(&port, &gizwits.product_section(), vec![GIZWITS.to_owned()]);
        change(&mut files);
        let packages: Vec<&str> = files.plugins.iter().map(String::as_str).collect();
        let rig = Rig::new(&binaries(&packages)?, &files)?;
        Ok(Self { rig, mcu, gizwits })
    }

    /// Furnishes it, starts the host, and waits until the cloud sees the device.
    async fn online() -> Result<Self, RigError> {
        let mut home = Self::furnish(|_| ())?;
        home.rig.start()?;
        home.cloud("the cloud to see the device", |entries| entries.online).await?;
        Ok(home)
    }

    /// Waits until the cloud's ledger fulfils a condition.
    async fn cloud(&self, what: &str, condition: impl Fn(&Entries) -> bool) -> Result<(), RigError> {
        self.heard(self.gizwits.ledger(), what, condition).await
    }

    /// Waits until any ledger fulfils a condition.
    async fn heard(&self, ledger: &Ledger, what: &str, condition: impl Fn(&Entries) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, ledger.until(condition)).await
    }

    /// Waits until the MCU's log fulfils a condition.
    async fn device(&self, what: &str, condition: impl Fn(&McuLog) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.mcu.until(condition)).await
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

    /// Lets the MCU report until the module has acknowledged so many reports altogether, and waits until it is quiet.
    async fn report(&self, n: usize) -> Result<(), RigError> {
        stage::report(&self.rig, &self.mcu, n).await
    }

    /// Waits until every report that the module acknowledged has arrived there.
    async fn all_arrived_at(&self, ledger: &Ledger) -> Result<(), RigError> {
        stage::all_arrived(&self.rig, &self.mcu, ledger).await
    }

    /// Somebody sets a property; waits until it is acknowledged to whoever asked, and the MCU has made its report of it.
    /// What the MCU obeyed because of it.
    async fn command(
        &self,
        asker: &dyn SimCloud,
        property: &str,
        value: Json,
    ) -> Result<Vec<ReceivedCommand>, RigError> {
        let obeyed = self.mcu.with_log(|log| log.commands.len());
        let done = asker.ledger().with(Entries::commands_done);
        asker.send_command(property, &value).map_err(|error| self.rig.error(error))?;
        let what = format!("an answer to {property} = {value}");
        self.heard(asker.ledger(), &what, |entries| entries.commands_done() > done).await?;
        self.rig.within(LIMIT, "the MCU to report what it did", self.mcu.at_rest()).await?;
        Ok(self.mcu.log().commands.split_off(obeyed))
    }

    /// Ends the host in order. Nobody may have broken a protocol, and the end must be clean.
    async fn finish(mut self, others: &[&dyn SimCloud]) -> Result<(), RigError> {
        for ledger in others.iter().map(|other| other.ledger()).chain([self.gizwits.ledger()]) {
            assert_eq!(ledger.with(|entries| entries.violations.clone()), Vec::<String>::new());
        }
        let status = self.rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        assert_eq!(self.mcu.log().violations, Vec::<String>::new(), "seen by the MCU");
        assert_eq!(self.gizwits.ledger().with(|entries| entries.violations.clone()), Vec::<String>::new());
        Ok(())
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
