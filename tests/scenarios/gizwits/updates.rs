//! Firmware that the cloud offers, from the check to the check that tells what runs. The protocol has no words for progress
//! and failure: what the cloud hears is what is asked, and with which versions.

mod mcu;
mod module;

use std::ops::{Deref, DerefMut};

use polylink_testbed::clouds::gizwits::{ApiCall, ApiRequest};
use polylink_testbed::demo::product;
use polylink_testbed::installer::Installer;
use polylink_testbed::owner::Owner;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::Value as Json;

use super::{Home, facts};
use crate::set::binaries;

/// A home with an owner of the product, and a program that installs what that owner signed.
struct Updatable {
    home: Home,
    owner: Owner,
    installer: Installer,
}

impl Updatable {
    /// Nothing runs yet.
    fn furnish() -> Result<Self, RigError> {
        let home = Home::furnish(|_| ())?;
        let owner = Owner::new(&binaries(&[])?)?;
        let installer = Installer::put(&home.rig, &owner)?;
        Ok(Self { home, owner, installer })
    }

    /// The cloud sees the device, which has asked for firmware in vain.
    async fn online() -> Result<Self, RigError> {
        let mut home = Self::furnish()?;
        home.come_online().await?;
        Ok(home)
    }

    async fn come_online(&mut self) -> Result<(), RigError> {
        let home = &mut self.home;
        home.set.online(&home.gizwits).await
    }

    /// Power is cut and comes back.
    async fn power_cut(&mut self) -> Result<(), RigError> {
        self.home.rig.kill().await?;
        self.home.cloud("the device to be gone", |entries| !entries.online).await?;
        self.come_online().await
    }

    /// A file for this product, signed by its owner.
    fn sign(&self, target: &str, version: &str, counter: u64, content: &[u8]) -> Result<Vec<u8>, RigError> {
        self.owner.sign(content, &product::schema().product_key, target, version, counter)
    }

    /// The cloud says that there is firmware of this kind.
    fn push(&self, kind: u8) -> Result<(), RigError> {
        self.gizwits.push_upgrade(kind).map_err(|error| self.rig.error(error))
    }

    /// The checks for this kind so far that told this version.
    fn checks(&self, kind: u8, soft_version: &str) -> usize {
        let is_it = |request: &&ApiRequest| is_check(request, kind, soft_version);
        self.gizwits.seen().calls(ApiCall::Check).filter(is_it).count()
    }

    /// Waits until so many checks for this kind told this version.
    async fn checked(&self, kind: u8, soft_version: &str, n: usize) -> Result<(), RigError> {
        let what = format!("check {n} of kind {kind} by {soft_version}");
        let checked = self.gizwits.until(|seen| {
            seen.calls(ApiCall::Check).filter(|request| is_check(request, kind, soft_version)).count() >= n
        });
        self.rig.within(LIMIT, &what, checked).await
    }

    /// Waits until the status shows this of firmware of this kind.
    async fn shown(&self, kind: u8, text: &str) -> Result<(), RigError> {
        let holds = |status: &Json| fact(status, kind).is_some_and(|shown| shown.contains(text));
        self.rig.until(&format!("{text:?} to be shown"), holds).await.map(drop)
    }

    /// Waits until nothing is shown of firmware of this kind.
    async fn nothing_shown(&self, kind: u8) -> Result<(), RigError> {
        self.rig.until("nothing to be shown", |status| fact(status, kind).is_none()).await.map(drop)
    }

    /// Nobody asks for firmware any more: a push for the other kind is answered, and brings nothing about the first.
    async fn is_quiet(&self, path: &str) -> Result<(), RigError> {
        let requests = self.gizwits.files().requests(path).len();
        let asked = self.gizwits.seen().calls(ApiCall::Check).count() + 2;
        self.push(MODULE)?;
        self.push(MCU)?;
        let answered = self.gizwits.until(|seen| seen.calls(ApiCall::Check).count() >= asked);
        self.rig.within(LIMIT, "two checks", answered).await?;
        // What would be asked because of these answers comes before the answer to a command that follows them.
        self.command(&self.gizwits, "switch", Json::Bool(true)).await?;
        assert_eq!(self.gizwits.files().requests(path).len(), requests, "it is tried again");
        Ok(())
    }

    /// The requests for a file: method, and whether they are for a part.
    fn requests(&self, path: &str) -> Vec<(String, bool)> {
        let requests = self.gizwits.files().requests(path);
        requests.into_iter().map(|seen| (seen.method, seen.range.is_some())).collect()
    }

    async fn finish(self) -> Result<(), RigError> {
        assert_eq!(self.gizwits.files().violations(), [""; 0]);
        self.home.finish(&[]).await
    }
}

impl Deref for Updatable {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl DerefMut for Updatable {
    fn deref_mut(&mut self) -> &mut Home {
        &mut self.home
    }
}

fn is_check(request: &ApiRequest, kind: u8, soft_version: &str) -> bool {
    request.fields.get("type").is_some_and(|found| *found == kind.to_string())
        && request.fields.get("soft_version").is_some_and(|found| found == soft_version)
}

/// What the status shows of firmware of this kind.
fn fact(status: &Json, kind: u8) -> Option<&str> {
    facts(status)[if kind == MODULE { "module_update" } else { "mcu_update" }].as_str()
}

/// Types of firmware (Gizwits protocol, 5.4).
const MODULE: u8 = 1;
const MCU: u8 = 2;
/// What the module says of itself in the rig's configuration.
const MODULE_VERSION: &str = "04020006";
