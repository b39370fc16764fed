//! The Clife cloud.

mod any_broker;
mod enrolment;
mod hostile;
mod life;
mod logs;
mod profiles;
mod subdevices;
mod traffic;
mod updates;

use std::ops::{Deref, DerefMut};

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::clife::product::Product;
use polylink_testbed::clouds::clife::{Clife, Seen};
use polylink_testbed::clouds::ledger::Entries;
use polylink_testbed::demo::product;
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::Value as Json;

use crate::set::{CLIFE, Set, failed};

/// A host, an MCU on a pseudo-terminal, and the Clife cloud.
struct Room {
    set: Set,
    clife: Clife,
}

impl Room {
    /// Furnishes it for a product, with a change to the configuration; nothing runs yet.
    fn furnish_with(product: Product, change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let clife = Clife::start_with(product::COUNTER, product).map_err(failed)?;
        let set = Set::new(&clife.product_section(), CLIFE, change)?;
        Ok(Self { set, clife })
    }

    /// Furnishes it for a product.
    fn furnish(product: Product) -> Result<Self, RigError> {
        Self::furnish_with(product, |_| ())
    }

    /// Furnishes it, starts the host, and waits until the cloud sees the device.
    async fn online(product: Product) -> Result<Self, RigError> {
        let mut room = Self::furnish(product)?;
        room.set.online(&room.clife).await?;
        Ok(room)
    }

    /// Waits until the cloud's ledger fulfils a condition.
    async fn cloud(&self, what: &str, condition: impl Fn(&Entries) -> bool) -> Result<(), RigError> {
        self.heard(self.clife.ledger(), what, condition).await
    }

    /// Waits until the platform has seen something.
    async fn seen(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.clife.until(condition)).await
    }

    /// What the platform does that may fail.
    fn said<T>(&self, result: Result<T, String>) -> Result<T, RigError> {
        result.map_err(|why| self.rig.error(why))
    }

    /// Waits until what the plugin remembers under this key is on the disk.
    async fn stored(&self, key: &str) -> Result<(), RigError> {
        let file = self.rig.dir().join(format!("state/store/clife/{key}.value"));
        self.rig.until(&format!("{key} to be stored"), |_| file.exists()).await.map(drop)
    }

    /// Reports, and waits until all of them have arrived in order.
    async fn reports_arrive(&self, n: usize) -> Result<(), RigError> {
        self.report(n).await?;
        self.all_arrived_at(self.clife.ledger()).await?;
        self.nothing_lost();
        Ok(())
    }

    /// What the module acknowledged has arrived in order. After a connect the newest values come once more.
    #[track_caller]
    fn nothing_lost(&self) {
        let verdict = self.verdict(self.clife.ledger());
        assert_eq!((verdict.lost, verdict.out_of_order), (0, 0));
    }

    /// Ends the host in order. Nobody may have broken a protocol, and the end must be clean.
    async fn finish(mut self) -> Result<(), RigError> {
        self.set.finish(&self.clife, &[]).await
    }
}

impl Deref for Room {
    type Target = Set;

    fn deref(&self) -> &Set {
        &self.set
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut Set {
        &mut self.set
    }
}

/// The facts that the plugin shows of itself.
fn facts(status: &Json) -> &Json {
    let clouds = status["clouds"].as_array().map(Vec::as_slice).unwrap_or_default();
    clouds.iter().find(|cloud| cloud["name"] == "clife").map_or(&Json::Null, |cloud| &cloud["facts"])
}
