//! One set for most scenarios: a host, an MCU on a pseudo-terminal, and the Deli cloud behind a network that can be bad.
//! Others build theirs from the pieces at the end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Instant;

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::deli::Deli;
use polylink_testbed::clouds::ledger::{Entries, Ledger, Verdict};
use polylink_testbed::demo::product;
use polylink_testbed::faulty_net::FaultyNet;
use polylink_testbed::mcu::log::McuLog;
use polylink_testbed::mcu::sim::{McuOptions, McuSim};
use polylink_testbed::rig::binaries::{Binaries, Progress};
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};

/// The set of one scenario.
pub struct Stage {
    pub rig: Rig,
    pub mcu: McuSim,
    pub deli: Deli,
    pub net: FaultyNet,
}

/// Runs a scenario on a runtime of its own, from an empty directory to the end of the host.
#[track_caller]
pub fn check(scenario: impl AsyncFnOnce() -> Result<(), RigError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let Err(error) = runtime.block_on(scenario()) {
        panic!("{error}");
    }
}

impl Stage {
    /// Sets the stage; nothing runs yet.
    pub async fn set() -> Result<Self, RigError> {
        Self::set_with(|_| ()).await
    }

    /// The same, with a change to the configuration.
    pub async fn set_with(change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let deli = Deli::start(product::COUNTER).map_err(|error| RigError::new(error.to_string()))?;
        Self::set_before(deli, |files, _| change(files)).await
    }

    /// The same around a cloud of the scenario's own; the change is also told the address that leads to its broker.
    pub async fn set_before(deli: Deli, change: impl FnOnce(&mut Files, SocketAddr)) -> Result<Self, RigError> {
        let failed = |error: std::io::Error| RigError::new(error.to_string());
        let net = FaultyNet::before(deli.broker().addr()).await.map_err(failed)?;
        let mcu = McuSim::start(mcu_options()).map_err(failed)?;
        let sections = section(&deli, net.address());
        let mut files = product::files(&mcu.path().display().to_string(), &sections, vec![DELI.to_owned()]);
        change(&mut files, net.address());
        let packages: Vec<&str> = files.plugins.iter().map(String::as_str).collect();
        let rig = Rig::new(&binaries(&packages)?, &files)?;
        Ok(Self { rig, mcu, deli, net })
    }

    /// Sets the stage, starts the host, and waits until the cloud sees the device.
    pub async fn online() -> Result<Self, RigError> {
        Self::online_with(|_| ()).await
    }

    /// The same, with a change to the configuration.
    pub async fn online_with(change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let mut stage = Self::set_with(change).await?;
        stage.rig.start()?;
        stage.cloud("the cloud to see the device", |entries| entries.online).await?;
        Ok(stage)
    }

    /// Waits until the cloud's ledger fulfils a condition.
    pub async fn cloud(&self, what: &str, condition: impl Fn(&Entries) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.deli.ledger().until(condition)).await
    }

    /// Waits until the MCU's log fulfils a condition.
    pub async fn device(&self, what: &str, condition: impl Fn(&McuLog) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.mcu.until(condition)).await
    }

    /// Lets the MCU report until the module has acknowledged so many reports altogether, and waits until it is quiet.
    pub async fn report(&self, n: usize) -> Result<(), RigError> {
        report(&self.rig, &self.mcu, n).await
    }

    /// Waits until every report that the module acknowledged has arrived at the cloud.
    pub async fn all_arrived(&self) -> Result<(), RigError> {
        all_arrived(&self.rig, &self.mcu, self.deli.ledger()).await
    }

    /// The cloud's arrivals held against these reports.
    pub fn deli_verdict(&self, expected: Vec<(u32, Instant)>) -> Verdict {
        self.deli.ledger().with(|entries| entries.judge(expected))
    }

    /// Sends a command and waits for the answer.
    pub async fn command(&self, property: &str, value: serde_json::Value) -> Result<Result<(), String>, RigError> {
        let known: Vec<String> = self.deli.ledger().with(|entries| entries.commands.keys().cloned().collect());
        self.deli.send_command(property, &value).map_err(|error| self.rig.error(error))?;
        let answer = |entries: &Entries| {
            let mut new = entries.commands.iter().filter(|(id, _)| !known.contains(id));
            new.find_map(|(_, command)| command.answer.clone())
        };
        self.cloud(&format!("an answer to {property} = {value}"), |entries| answer(entries).is_some()).await?;
        let (result, _) =
            self.deli.ledger().with(answer).expect("it was there a moment ago, and the ledger only grows");
        Ok(result)
    }

    /// Ends the host in order. Nobody may have broken a protocol, and the end must be clean.
    pub async fn finish(mut self) -> Result<(), RigError> {
        let status = self.rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        self.no_violations();
        Ok(())
    }

    /// Neither the MCU nor the cloud saw a breach of protocol.
    #[track_caller]
    pub fn no_violations(&self) {
        assert_eq!(self.mcu.log().violations, Vec::<String>::new(), "seen by the MCU");
        assert_eq!(
            self.deli.ledger().with(|entries| entries.violations.clone()),
            Vec::<String>::new(),
            "seen by the cloud"
        );
    }
}

/// Lets an MCU report until the module has acknowledged so many reports altogether, and waits until it is quiet.
pub async fn report(rig: &Rig, mcu: &McuSim, n: usize) -> Result<(), RigError> {
    mcu.set_rate(RATE);
    let enough = mcu.until(|log| log.acknowledged.len() >= n);
    rig.within(LIMIT, &format!("{n} acknowledged reports"), enough).await?;
    mcu.set_rate(0);
    rig.within(LIMIT, "the MCU to come to rest", mcu.at_rest()).await
}

/// Waits until every report that the module acknowledged is in a ledger.
pub async fn all_arrived(rig: &Rig, mcu: &McuSim, ledger: &Ledger) -> Result<(), RigError> {
    let acknowledged: HashSet<u32> = mcu.with_log(|log| log.acknowledged.iter().map(|report| report.counter).collect());
    let what = format!("{} reports to arrive", acknowledged.len());
    rig.within(LIMIT, &what, ledger.until(|entries| entries.has_all(&acknowledged))).await
}

/// The real binaries, built once for all scenarios.
pub fn binaries(packages: &[&str]) -> Result<Binaries, RigError> {
    // One set of packages for all, or each scenario would ask cargo for a set of its own.
    let mut all = ALL.to_vec();
    all.extend(packages.iter().filter(|package| !ALL.contains(package)));
    Binaries::of(&all, Progress::Kept)
}

/// The Deli section with another address in the place of the broker's.
pub fn section(deli: &Deli, address: SocketAddr) -> String {
    deli.product_section().replace(&deli.broker().addr().to_string(), &address.to_string())
}

/// The demo's MCU, silent until told otherwise.
pub fn mcu_options() -> McuOptions {
    McuOptions { schema: product::schema(), counter: product::COUNTER.to_owned(), rate: 0, baud: None, seed: 1 }
}

/// The plugin of the Deli cloud.
pub const DELI: &str = "polylink-deli";
/// The plugin of the Gizwits cloud.
pub const GIZWITS: &str = "polylink-gizwits";
/// The smallest plugin.
pub const TEMPLATE: &str = "polylink-template";
/// A plugin that misbehaves as its settings say.
pub const MISBEHAVING: &str = "polylink-fixture-misbehaving";
/// What the scenarios load, or try to.
const ALL: [&str; 7] = [
    DELI,
    GIZWITS,
    TEMPLATE,
    MISBEHAVING,
    "polylink-fixture-not-a-plugin",
    "polylink-fixture-wants-more",
    "polylink-fixture-wrong-abi",
];
/// Reports a second where a scenario wants many.
const RATE: u32 = 200;
