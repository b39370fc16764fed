//! Firmware that the platform orders, from the order to the version by which it knows the end, whatever comes between.
//! `module`: its own firmware, over restarts · `orders`: several, repeated, and for what cannot be installed.

mod module;
mod orders;

use polylink_testbed::clouds::lierda::Seen;
use polylink_testbed::clouds::lierda::firmware::{Image, Upgrade, path_of};
use polylink_testbed::clouds::lierda::product::{Choices, Product};
use polylink_testbed::demo::product;
use polylink_testbed::file_server::Fault;
use polylink_testbed::installer::Installer;
use polylink_testbed::mcu::firmware::{self, Trouble};
use polylink_testbed::owner::Owner;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::json;

use super::Site;
use crate::set::{binaries, check};

/// A device whose firmware its owner signs; that of the module, `wifi`, is installed by a program of the product.
struct Upgradable {
    site: Site,
    owner: Owner,
    installer: Installer,
}

impl Upgradable {
    /// Builds it, with further settings of the plugin; nothing runs yet.
    fn build(product: Product, settings: &str) -> Result<Self, RigError> {
        let settings = format!("modules = {{ default = \"mcu\", wifi = \"module\" }}\n{settings}");
        let site = Site::build(product, &settings)?;
        let owner = Owner::new(&binaries(&[])?)?;
        let installer = Installer::put(&site.rig, &owner)?;
        Ok(Self { site, owner, installer })
    }

    /// Builds it, starts the host, and waits until the platform knows what it runs.
    async fn online(settings: &str) -> Result<Self, RigError> {
        let mut device = Self::build(Product::default(), settings)?;
        device.site.set.online(&device.site.lierda).await?;
        device.knows("both versions", |seen| seen.versions.len() == 2).await?;
        Ok(device)
    }

    /// Firmware of the MCU that makes it this version, signed.
    fn for_mcu(&self, version: &str) -> Result<Image, RigError> {
        self.image(None, "mcu", version, &firmware::image(5_000, version))
    }

    /// A release of the module, signed.
    fn for_module(&self, version: &str, content: &[u8]) -> Result<Image, RigError> {
        self.image(Some("wifi"), "module", version, content)
    }

    fn image(&self, module: Option<&str>, target: &str, version: &str, content: &[u8]) -> Result<Image, RigError> {
        let body = self.owner.sign(content, &product::schema().product_key, target, version, 1)?;
        Ok(Image { module: module.map(str::to_owned), version: version.to_owned(), name: None, body })
    }

    /// The platform orders this; download id, once the order is acknowledged.
    async fn order(&self, image: &Image) -> Result<String, RigError> {
        let (_, down_id) = self.site.lierda.order_upgrade(image).map_err(|why| self.site.rig.error(why))?;
        self.upgrade(&down_id, "the acknowledgement", |upgrade| upgrade.acknowledged).await?;
        Ok(down_id)
    }

    async fn knows(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Result<(), RigError> {
        self.site.seen(what, condition).await
    }

    /// This upgrade, as soon as it is as it should be.
    async fn upgrade(
        &self,
        down_id: &str,
        what: &str,
        condition: impl Fn(&Upgrade) -> bool,
    ) -> Result<Upgrade, RigError> {
        let find = |seen: &Seen| seen.upgrades.iter().find(|upgrade| upgrade.down_id == down_id).cloned();
        self.knows(what, |seen| find(seen).is_some_and(|upgrade| condition(&upgrade))).await?;
        Ok(find(&self.site.lierda.seen()).expect("it was just seen"))
    }

    /// The first version that the platform heard after the order says that it succeeded, or failed.
    async fn ends(&self, down_id: &str, succeeded: bool) -> Result<(), RigError> {
        let what = format!("the end of {down_id}");
        let upgrade = self.upgrade(down_id, &what, |upgrade| upgrade.succeeded.is_some()).await?;
        if upgrade.succeeded == Some(succeeded) {
            return Ok(());
        }
        Err(self.site.rig.error(format!("another end: {upgrade:?}")))
    }

    /// Waits until the download of this order stands still.
    async fn held(&self, down_id: &str, n_bytes: usize) -> Result<(), RigError> {
        let path = path_of(down_id);
        self.site.rig.within(LIMIT, "a download", self.site.lierda.files().until_held(&path, n_bytes)).await
    }

    /// The downloads of this order: from where, if not from the beginning, and the status of the answer.
    fn downloads(&self, down_id: &str) -> Vec<(Option<usize>, u16)> {
        let from = |range: &str| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
        let downloads = self.site.lierda.files().requests(&path_of(down_id));
        downloads.iter().map(|seen| (seen.range.as_deref().and_then(from), seen.status)).collect()
    }

    /// Power is cut, and comes back.
    async fn power_cut(&mut self) -> Result<(), RigError> {
        self.site.rig.kill().await?;
        self.site.cloud("the device to be gone", |entries| !entries.online).await?;
        self.site.set.online(&self.site.lierda).await
    }

    /// The host knows that the platform knows: nothing is shown of any update any more.
    async fn forgotten(&self) -> Result<(), RigError> {
        let is_gone = |status: &serde_json::Value| super::facts(status)["update"].is_null();
        self.site.rig.until("the update to be over", is_gone).await.map(drop)
    }

    /// Ends the host in order. Nobody may have broken a protocol.
    async fn finish(self) -> Result<(), RigError> {
        self.forgotten().await?;
        self.site.reports_arrive(20).await?;
        assert_eq!(self.site.lierda.files().violations(), [""; 0]);
        self.site.finish().await
    }
}

/// How often the versions of the main module and of `wifi` were told.
fn n_told(seen: &Seen) -> [usize; 2] {
    [None, Some("wifi")]
        .map(|module| seen.on("firmware_report").filter(|frame| frame.payload["Module"].as_str() == module).count())
}

#[test]
fn the_mcu_is_upgraded_and_its_version_goes_up_once() {
    check(async || {
        for settings in ["", "down_id_in = \"header\"\n"] {
            let device = Upgradable::online(settings).await?;
            let [mcu, wifi] = n_told(&device.site.lierda.seen());
            let down_id = device.order(&device.for_mcu("04020099")?).await?;
            device.ends(&down_id, true).await?;
            let log = device.site.mcu.log().firmware;
            assert_eq!((log.received.len(), log.runs), (1, vec!["04020099".to_owned()]));
            assert_eq!(device.downloads(&down_id), [(None, 200)]);
            device.forgotten().await?;
            assert_eq!(n_told(&device.site.lierda.seen()), [mcu + 1, wifi]);
            device.finish().await?;
        }
        Ok(())
    });
}

#[test]
fn an_upgrade_that_is_planned_is_ordered_by_the_version_of_a_device_that_comes_online() {
    check(async || {
        let choices = Choices { everything_encrypted: true, ..Choices::default() };
        let mut device = Upgradable::build(Product { encrypted: true, choices, ..Product::default() }, "")?;
        device.site.lierda.change(|behaviour| behaviour.string_ids = true);
        let down_id = device.site.lierda.plan_upgrade(&device.for_mcu("04020099")?);
        device.site.set.online(&device.site.lierda).await?;
        device.ends(&down_id, true).await?;
        device.finish().await
    });
}

#[test]
fn a_transfer_to_the_mcu_that_a_power_cut_ends_begins_anew() {
    check(async || {
        let mut device = Upgradable::online("").await?;
        device.site.mcu.change_firmware(|manners| manners.trouble = Some(Trouble::FallsSilentAt(3)));
        let down_id = device.order(&device.for_mcu("04020099")?).await?;
        device.site.device("some pieces", |log| log.firmware.pieces >= 3).await?;
        device.site.rig.kill().await?;
        device.site.mcu.change_firmware(|manners| manners.trouble = None);
        device.site.set.online(&device.site.lierda).await?;
        device.ends(&down_id, true).await?;
        assert_eq!(device.site.mcu.log().firmware.announced.len(), 2);
        assert_eq!(device.downloads(&down_id).len(), 1, "it was loaded again");
        device.finish().await
    });
}

#[test]
fn each_failure_is_told_by_the_version_that_goes_on_to_run() {
    check(async || {
        let device = Upgradable::online("").await?;
        let unsigned = Image { body: firmware::image(5_000, "04020098"), ..device.for_mcu("04020098")? };
        let for_the_module = device.image(None, "module", "04020098", b"a release")?;
        for image in [unsigned, for_the_module] {
            let down_id = device.order(&image).await?;
            device.ends(&down_id, false).await?;
        }
        let image = device.for_mcu("04020097")?;
        let (down_id, order) = device.site.lierda.publish_upgrade(&image);
        let missing = Fault::Status { status: 404, retry_after_s: None };
        device.site.lierda.files().misbehave(&path_of(&down_id), missing);
        device.site.lierda.order(&order).map_err(|why| device.site.rig.error(why))?;
        device.ends(&down_id, false).await?;
        device.site.mcu.change_firmware(|manners| manners.trouble = Some(Trouble::GivesUpAfter(2)));
        let down_id = device.order(&device.for_mcu("04020096")?).await?;
        device.ends(&down_id, false).await?;
        assert_eq!(device.site.lierda.seen().versions["default"], device.site.mcu.software());
        assert_eq!(device.site.mcu.log().firmware.runs, [""; 0]);
        device.finish().await
    });
}

#[test]
fn an_image_with_another_md5_is_loaded_twice_and_never_installed() {
    check(async || {
        let device = Upgradable::online("").await?;
        let (down_id, mut order) = device.site.lierda.publish_upgrade(&device.for_mcu("04020099")?);
        order["MD5"] = json!("0cc175b9c0f1b6a831c399e269772661");
        device.site.lierda.order(&order).map_err(|why| device.site.rig.error(why))?;
        device.ends(&down_id, false).await?;
        assert_eq!(device.downloads(&down_id), [(None, 200); 2]);
        assert_eq!(device.site.mcu.log().firmware.announced, []);
        device.finish().await
    });
}
