//! The Lierda cloud, with products of all kinds.

mod any_broker;
mod enrolment;
mod hostile;
mod kinds;
mod outage;
mod updates;

use std::ops::{Deref, DerefMut};

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::ledger::Entries;
use polylink_testbed::clouds::lierda::product::Product;
use polylink_testbed::clouds::lierda::{Lierda, Seen};
use polylink_testbed::demo::product;
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::Value as Json;

use crate::set::{LIERDA, Set, failed};

/// A host, an MCU on a pseudo-terminal, and the Lierda cloud.
struct Site {
    set: Set,
    lierda: Lierda,
}

impl Site {
    /// Builds it for a product, with further settings of the plugin (TOML lines); nothing runs yet.
    fn build(product: Product, settings: &str) -> Result<Self, RigError> {
        Self::build_with(product, settings, |_| ())
    }

    /// The same with a change to the configuration.
    fn build_with(product: Product, settings: &str, change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let lierda = Lierda::start_with(product::COUNTER, product).map_err(failed)?;
        let section = format!("{}{settings}", lierda.product_section());
        let set = Set::new(&section, LIERDA, change)?;
        Ok(Self { set, lierda })
    }

    /// Builds it, starts the host, and waits until the cloud sees the device.
    async fn online(product: Product, settings: &str) -> Result<Self, RigError> {
        let mut site = Self::build(product, settings)?;
        site.set.online(&site.lierda).await?;
        Ok(site)
    }

    /// Waits until the cloud's ledger fulfils a condition.
    async fn cloud(&self, what: &str, condition: impl Fn(&Entries) -> bool) -> Result<(), RigError> {
        self.heard(self.lierda.ledger(), what, condition).await
    }

    /// Waits until the platform has seen something.
    async fn seen(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.lierda.until(condition)).await
    }

    /// Waits until what the plugin remembers under this key is on the disk.
    async fn stored(&self, key: &str) -> Result<(), RigError> {
        let file = self.rig.dir().join(format!("state/store/lierda/{key}.value"));
        self.rig.until(&format!("{key} to be stored"), |_| file.exists()).await.map(drop)
    }

    /// Reports, and waits until all of them have arrived, once each and in order.
    async fn reports_arrive(&self, n: usize) -> Result<(), RigError> {
        self.report(n).await?;
        self.all_arrived_at(self.lierda.ledger()).await?;
        self.nothing_lost();
        Ok(())
    }

    /// What the module acknowledged has arrived once each and in order.
    #[track_caller]
    fn nothing_lost(&self) {
        let verdict = self.verdict(self.lierda.ledger());
        assert_eq!((verdict.lost, verdict.duplicates, verdict.out_of_order), (0, 0, 0));
    }

    /// Ends the host in order. Nobody may have broken a protocol, and the end must be clean.
    async fn finish(mut self) -> Result<(), RigError> {
        self.set.finish(&self.lierda, &[]).await
    }
}

impl Deref for Site {
    type Target = Set;

    fn deref(&self) -> &Set {
        &self.set
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Set {
        &mut self.set
    }
}

/// The facts that the plugin shows of itself.
fn facts(status: &Json) -> &Json {
    let clouds = status["clouds"].as_array().map(Vec::as_slice).unwrap_or_default();
    clouds.iter().find(|cloud| cloud["name"] == "lierda").map_or(&Json::Null, |cloud| &cloud["facts"])
}
