//! The JoyLink cloud and its local network.

mod clocks;
mod enrolment;
mod everyday;
mod gateway;
mod hostile;
mod json_lines;
mod outage;
mod schedules;
mod scripts;
mod services;
mod updates;

use std::ops::{Deref, DerefMut};

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::joylink::JoyLink;
use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::clouds::joylink::seen::{Answer, Seen};
use polylink_testbed::clouds::ledger::Entries;
use polylink_testbed::demo::product;
use polylink_testbed::joylink_app::messages::{Found, Wanted};
use polylink_testbed::joylink_app::{App, AppError, Device};
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::Value as Json;

use crate::set::{JOYLINK, Set, failed};

/// A host, an MCU on a pseudo-terminal, and the JoyLink cloud with an app in the same network.
struct Site {
    set: Set,
    joylink: JoyLink,
}

impl Site {
    /// Builds it for a product, with further settings of the plugin (TOML lines); nothing runs yet.
    fn build(product: Product, settings: &str) -> Result<Self, RigError> {
        Self::build_with(product, settings, |_| ())
    }

    /// The same with a change to the configuration.
    fn build_with(product: Product, settings: &str, change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let joylink = JoyLink::start_with(product::COUNTER, product).map_err(failed)?;
        let section = format!("{}{settings}", joylink.product_section());
        let set = Set::new(&section, JOYLINK, change)?;
        Ok(Self { set, joylink })
    }

    /// Builds it, starts the host, and waits until the cloud sees the device.
    async fn online(product: Product, settings: &str) -> Result<Self, RigError> {
        let mut site = Self::build(product, settings)?;
        site.set.online(&site.joylink).await?;
        Ok(site)
    }

    /// Waits until the cloud's ledger fulfils a condition.
    async fn cloud(&self, what: &str, condition: impl Fn(&Entries) -> bool) -> Result<(), RigError> {
        self.heard(self.joylink.ledger(), what, condition).await
    }

    /// Waits until the cloud has seen something.
    async fn seen(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.joylink.until(condition)).await
    }

    /// The device's answer to a question of the cloud, which was just asked.
    async fn answer(&self, asked: Result<String, String>) -> Result<Answer, RigError> {
        let id = asked.map_err(|why| self.rig.error(why))?;
        self.seen("an answer of the device", |seen| seen.answers.contains_key(&id)).await?;
        Ok(self.joylink.answer_to(&id).expect("it was just seen"))
    }

    /// What an app does; a device may owe it an answer for no longer than the limit of the rig.
    async fn app<T>(&self, what: &str, doing: impl Future<Output = Result<T, AppError>>) -> Result<T, RigError> {
        let done = self.rig.within(LIMIT, what, doing).await?;
        done.map_err(|error| self.rig.error(format!("{what}: {error}")))
    }

    /// An app of its own, and the device as it is found.
    async fn found(&self) -> Result<(App, Found), RigError> {
        let app = App::bind().await.map_err(failed)?;
        let found = self.app("to be found", app.discover(self.joylink.device_address(), &Wanted::default())).await?;
        Ok((app, found))
    }

    /// Where and how apps talk to the device.
    fn device_in_lan(&self) -> Device {
        let localkey = self.joylink.product().device.localkey.clone();
        Device { address: self.joylink.device_address(), localkey }
    }

    /// Waits until what the plugin remembers under this key is on the disk.
    async fn stored(&self, key: &str) -> Result<(), RigError> {
        let file = self.rig.dir().join(format!("state/store/joylink/{key}.value"));
        self.rig.until(&format!("{key} to be stored"), |_| file.exists()).await.map(drop)
    }

    /// Reports, and waits until all of them have arrived, none lost or out of order.
    async fn reports_arrive(&self, n: usize) -> Result<(), RigError> {
        self.report(n).await?;
        self.all_arrived_at(self.joylink.ledger()).await?;
        self.nothing_lost();
        Ok(())
    }

    /// What the module acknowledged has arrived in order. An upload is a whole snapshot, so one without news may repeat the
    /// last number.
    #[track_caller]
    fn nothing_lost(&self) {
        let verdict = self.verdict(self.joylink.ledger());
        assert_eq!((verdict.lost, verdict.out_of_order), (0, 0));
    }

    /// Ends the host in order. Nobody may have broken a protocol, and the end must be clean.
    async fn finish(mut self) -> Result<(), RigError> {
        self.set.finish(&self.joylink, &[]).await
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
    clouds.iter().find(|cloud| cloud["name"] == "joylink").map_or(&Json::Null, |cloud| &cloud["facts"])
}

/// A fact that is a number; 0 where it is not shown.
fn count(status: &Json, name: &str) -> u64 {
    facts(status)[name].as_str().and_then(|count| count.parse().ok()).unwrap_or(0)
}
