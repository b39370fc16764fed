//! What every stage is built around, whichever clouds it has: a host and an MCU on a pseudo-terminal.
//!
//! A cloud's own stage holds a [`Set`] and its simulators, starts with [`Set::new`] and [`Set::online`], and adds what only
//! that cloud can do.

use std::collections::HashSet;

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::ledger::{Entries, Ledger, Verdict};
use polylink_testbed::demo::product;
use polylink_testbed::mcu::log::{McuLog, ReceivedCommand};
use polylink_testbed::mcu::sim::{McuOptions, McuSim};
use polylink_testbed::rig::binaries::{Binaries, Progress};
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};
use serde_json::Value as Json;

/// A host, and an MCU that is silent until told otherwise.
pub struct Set {
    pub rig: Rig,
    pub mcu: McuSim,
}

/// Runs a scenario on a runtime of its own, from an empty directory to the end of the host.
#[track_caller]
pub fn check(scenario: impl AsyncFnOnce() -> Result<(), RigError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let Err(error) = runtime.block_on(scenario()) {
        panic!("{error}");
    }
}

impl Set {
    /// Builds it around a cloud's section of the product file and the plugin of that cloud, with a change to the
    /// configuration; nothing runs yet.
    pub fn new(section: &str, plugin: &str, change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let mcu = McuSim::start(mcu_options()).map_err(failed)?;
        let mut files = product::files(&mcu.path().display().to_string(), section, vec![plugin.to_owned()]);
        change(&mut files);
        let packages: Vec<&str> = files.plugins.iter().map(String::as_str).collect();
        let rig = Rig::new(&binaries(&packages)?, &files)?;
        Ok(Self { rig, mcu })
    }

    /// Starts the host, and waits until a cloud sees the device.
    pub async fn online(&mut self, cloud: &dyn SimCloud) -> Result<(), RigError> {
        self.rig.start()?;
        self.heard(cloud.ledger(), "the cloud to see the device", |entries| entries.online).await
    }

    /// Waits until a ledger fulfils a condition.
    pub async fn heard(
        &self,
        ledger: &Ledger,
        what: &str,
        condition: impl Fn(&Entries) -> bool,
    ) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, ledger.until(condition)).await
    }

    /// Waits until the MCU's log fulfils a condition.
    pub async fn device(&self, what: &str, condition: impl Fn(&McuLog) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.mcu.until(condition)).await
    }

    /// Lets the MCU report until the module has acknowledged so many reports altogether, and waits until it is quiet.
    pub async fn report(&self, n: usize) -> Result<(), RigError> {
        self.mcu.set_rate(RATE);
        self.device(&format!("{n} acknowledged reports"), |log| log.acknowledged.len() >= n).await?;
        self.mcu.set_rate(0);
        self.rig.within(LIMIT, "the MCU to come to rest", self.mcu.at_rest()).await
    }

    /// The same with so many reports more than there are already.
    pub async fn report_more(&self, n: usize) -> Result<(), RigError> {
        let before = self.mcu.with_log(|log| log.acknowledged.len());
        self.report(before + n).await
    }

    /// Waits until every report that the module acknowledged is in a ledger.
    pub async fn all_arrived_at(&self, ledger: &Ledger) -> Result<(), RigError> {
        let acknowledged: HashSet<u32> =
            self.mcu.with_log(|log| log.acknowledged.iter().map(|report| report.counter).collect());
        let what = format!("{} reports to arrive", acknowledged.len());
        let arrived = self.heard(ledger, &what, |entries| entries.has_all(&acknowledged)).await;
        arrived.map_err(|error| {
            let seen: HashSet<u32> =
                ledger.with(|entries| entries.arrivals.iter().map(|arrival| arrival.counter).collect());
            let mut missing: Vec<&u32> = acknowledged.difference(&seen).collect();
            missing.sort_unstable();
            RigError::new(format!("missing {missing:?}: {error}"))
        })
    }

    /// The arrivals of a ledger held against every report that the module acknowledged.
    pub fn verdict(&self, ledger: &Ledger) -> Verdict {
        let expected: Vec<_> =
            self.mcu.with_log(|log| log.acknowledged.iter().map(|report| (report.counter, report.sent)).collect());
        ledger.with(|entries| entries.judge(expected))
    }

    /// Somebody sets a property; waits until it is acknowledged to whoever asked, and the MCU has made its report of it.
    /// What the MCU obeyed because of it.
    pub async fn command(
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

    /// Ends the host in order. Nobody may have broken a protocol, and the end must be clean. What others than the cloud
    /// think of the end itself is not asked.
    pub async fn finish(&mut self, cloud: &dyn SimCloud, others: &[&dyn SimCloud]) -> Result<(), RigError> {
        self.no_violations(others);
        let status = self.rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        self.no_violations(&[cloud]);
        Ok(())
    }

    /// Neither the MCU nor one of these clouds saw a breach of protocol.
    #[track_caller]
    pub fn no_violations(&self, clouds: &[&dyn SimCloud]) {
        assert_eq!(self.mcu.log().violations, Vec::<String>::new(), "seen by the MCU");
        for cloud in clouds {
            let seen = cloud.ledger().with(|entries| entries.violations.clone());
            assert_eq!(seen, Vec::<String>::new(), "seen by a cloud");
        }
    }
}

/// A simulator that does not start.
pub fn failed(error: std::io::Error) -> RigError {
    RigError::new(error.to_string())
}

/// The real binaries, built once for all scenarios.
pub fn binaries(packages: &[&str]) -> Result<Binaries, RigError> {
    // One set of packages for all, or each scenario would ask cargo for a set of its own.
    let mut all = ALL.to_vec();
    all.extend(packages.iter().filter(|package| !ALL.contains(package)));
    Binaries::of(&all, Progress::Kept)
}

/// The demo's MCU, silent until told otherwise.
fn mcu_options() -> McuOptions {
    McuOptions { schema: product::schema(), counter: product::COUNTER.to_owned(), rate: 0, baud: None, seed: 1 }
}

/// The plugin of the Clife cloud.
pub const CLIFE: &str = "polylink-clife";
/// The plugin of the Deli cloud.
pub const DELI: &str = "polylink-deli";
/// The plugin of the Gizwits cloud.
pub const GIZWITS: &str = "polylink-gizwits";
/// The plugin of the JoyLink cloud.
pub const JOYLINK: &str = "polylink-joylink";
/// The plugin of the Lierda cloud.
pub const LIERDA: &str = "polylink-lierda";
/// The smallest plugin.
pub const TEMPLATE: &str = "polylink-template";
/// A plugin that misbehaves as its settings say.
pub const MISBEHAVING: &str = "polylink-fixture-misbehaving";
/// The same plugin in version 9.0.0.
pub const MISBEHAVING_NEWER: &str = "polylink-fixture-misbehaving-newer";
/// A plugin that owns every subdevice.
pub const GATEWAY: &str = "polylink-fixture-gateway";
/// What the scenarios load, or try to.
const ALL: [&str; 13] = [
    CLIFE,
    DELI,
    GIZWITS,
    JOYLINK,
    LIERDA,
    TEMPLATE,
    MISBEHAVING,
    MISBEHAVING_NEWER,
    GATEWAY,
    "polylink-fixture-crashes-at-load",
    "polylink-fixture-not-a-plugin",
    "polylink-fixture-wants-more",
    "polylink-fixture-wrong-abi",
];
/// Reports a second where a scenario wants many.
const RATE: u32 = 200;
