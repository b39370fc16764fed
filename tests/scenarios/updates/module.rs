//! Releases that a cloud offers to a device with slots: from the offer to what the cloud hears after the restart.

use polylink_testbed::clouds::deli::behaviour::Firmware;
use polylink_testbed::clouds::deli::upgrades::Upgrade;
use polylink_testbed::demo::product;
use polylink_testbed::file_server::{Fault, FileServer};
use polylink_testbed::owner::Owner;
use polylink_testbed::release::Release;
use polylink_testbed::rig::{LIMIT, RigError};

use super::{ota, slot, trust};
use crate::set::{DELI, binaries, check, failed};
use crate::stage::Stage;

/// A device that runs what it was made with, its owner, and what its cloud has to offer.
struct Device {
    stage: Stage,
    owner: Owner,
    files: FileServer,
}

impl Device {
    /// Online. A release has ten seconds to become healthy; a failed attempt to load is followed by the next after one.
    async fn online() -> Result<Self, RigError> {
        let owner = Owner::new(&binaries(&[])?)?;
        let mut stage = Stage::set_with(|files| {
            trust(files, &owner);
            files.overlay += "health_s = 10\nretry_s = 1\n";
            files.product += "ota_target = \"module\"\nota_force_spread_s = 0\n";
        })
        .await?;
        stage.rig.start_service()?;
        stage.cloud("the device to be there", |entries| entries.online).await?;
        Ok(Self { stage, owner, files: FileServer::start().map_err(failed)? })
    }

    /// The image as its owner signs it for this product, with its version for a name.
    fn signed(&self, image: &[u8], version: &str, counter: u64) -> Result<Vec<u8>, RigError> {
        self.owner.sign(image, &product::schema().product_key, "module", version, counter)
    }

    /// The cloud orders it at once.
    fn order(&self, version: &str, file: &[u8]) {
        let url = self.files.serve(&format!("/{version}"), file);
        self.stage.deli.release(Firmware::of(version, "force", &url, file));
    }

    /// What the cloud hears of the end of it.
    async fn end(&self, version: &str) -> Result<Result<(), String>, RigError> {
        let end = |upgrades: &[Upgrade]| {
            let ended = upgrades.iter().rfind(|upgrade| upgrade.firmware.version == version)?;
            ended.outcome.clone()
        };
        let told = self.stage.deli.until_upgrades(|upgrades| end(upgrades).is_some());
        self.stage.rig.within(LIMIT, "the cloud to hear of the end", told).await?;
        end(&self.stage.deli.upgrades()).ok_or_else(|| self.stage.rig.error("what the cloud had heard is gone"))
    }

    /// Reports pass, and nobody broke a rule.
    async fn finish(self) -> Result<(), RigError> {
        self.stage.report_more(5).await?;
        self.stage.all_arrived().await?;
        assert_eq!(self.files.violations(), Vec::<String>::new());
        self.stage.finish().await
    }
}

#[test]
fn a_good_release_is_tried_found_healthy_and_confirmed_and_the_cloud_hears_its_version() {
    check(async || {
        let device = Device::online().await?;
        let image = Release::of(&binaries(&[])?, &[DELI])?.image()?;
        device.order("1.4.2", &device.signed(&image, "1.4.2", 5)?);
        assert_eq!(device.end("1.4.2").await?, Ok(()));
        let (rig, files) = (&device.stage.rig, &device.files);
        // The cloud is told what runs, which is so before it is good.
        rig.said_since(2, "update: succeeded").await?;
        assert_eq!((slot(&device.stage)?, rig.starts()), ("a", 2));
        assert_eq!(files.requests("/1.4.2").len(), 1);
        let text = ota(&device.stage, "status").await?;
        assert!(text.contains("slots: a is good") && text.contains("counter 5 was confirmed"), "{text}");
        // It is good from now on, and its file is gone.
        rig.crash()?;
        rig.said_since(3, "connected to tcp:").await?;
        assert_eq!(slot(&device.stage)?, "a");
        assert!(!rig.dir().join("state/update/1.part").exists(), "the file is left behind");
        // What it repaired must not come back.
        device.order("1.4.1", &device.signed(&image, "1.4.1", 4)?);
        let why = device.end("1.4.1").await?.expect_err("an older one is refused");
        assert!(why.contains("counter"), "{why}");
        assert_eq!((slot(&device.stage)?, rig.starts()), ("a", 3));
        device.finish().await
    });
}

#[test]
fn a_release_that_ends_at_once_is_stepped_back_from_and_the_cloud_hears_so() {
    check(async || {
        let device = Device::online().await?;
        let image = Release::of_script("echo this release ends at once >&2; exit 1")?.image()?;
        device.order("2.0", &device.signed(&image, "2.0", 1)?);
        let why = device.end("2.0").await?.expect_err("it does not come up");
        assert!(why.contains("did not come up"), "{why}");
        // What the device was made with, three tries, and that again.
        assert_eq!((slot(&device.stage)?, device.stage.rig.starts()), ("factory", 5));
        device.stage.rig.said_since(4, "this release ends at once").await?;
        device.finish().await
    });
}

#[test]
fn a_release_without_the_plugin_of_its_cloud_is_not_healthy_and_goes() {
    check(async || {
        let device = Device::online().await?;
        let image = Release::of(&binaries(&[])?, &["polylink-template"])?.image()?;
        device.order("2.1", &device.signed(&image, "2.1", 1)?);
        let why = device.end("2.1").await?.expect_err("it never reaches the cloud");
        assert!(why.contains("not healthy within 10 s"), "{why}");
        assert_eq!((slot(&device.stage)?, device.stage.rig.starts()), ("factory", 3));
        device.finish().await
    });
}

/// An image that this turns into a file is not installed; why, in the words that the cloud hears.
fn refused(file: impl Fn(&Device, Vec<u8>) -> Result<Vec<u8>, RigError>, says: &str) {
    check(async || {
        let device = Device::online().await?;
        let image = Release::of_script("exec true")?.image()?;
        device.order("3.0", &file(&device, image)?);
        let why = device.end("3.0").await?.expect_err("it is refused");
        assert!(why.contains(says), "{why}");
        assert_eq!((slot(&device.stage)?, device.stage.rig.starts()), ("factory", 1));
        let text = ota(&device.stage, "status").await?;
        assert!(text.contains("slot a: empty") && text.contains("slot b: empty"), "{text}");
        device.finish().await
    });
}

#[test]
fn an_unsigned_release_is_refused() {
    refused(|_, image| Ok(image), "manifest");
}

#[test]
fn a_release_of_another_owner_is_refused() {
    let other = |_: &Device, image: Vec<u8>| {
        let other = Owner::new(&binaries(&[])?)?;
        other.sign(&image, &product::schema().product_key, "module", "3.0", 1)
    };
    refused(other, "not signed by any of the keys");
}

#[test]
fn a_release_for_another_product_is_refused() {
    refused(|device, image| device.owner.sign(&image, "lamp-1", "module", "3.0", 1), "product");
}

#[test]
fn what_is_for_the_mcu_is_no_release() {
    let for_mcu =
        |device: &Device, image: Vec<u8>| device.owner.sign(&image, &product::schema().product_key, "mcu", "3.0", 1);
    refused(for_mcu, "mcu");
}

#[test]
fn a_release_that_was_changed_on_its_way_is_refused() {
    let changed = |device: &Device, image: Vec<u8>| {
        let mut signed = device.signed(&image, "3.0", 1)?;
        signed[600] ^= 1;
        Ok(signed)
    };
    refused(changed, "SHA-256 differs");
}

#[test]
fn a_host_that_is_killed_in_the_middle_of_a_release_goes_on_where_it_was() {
    check(async || {
        let device = Device::online().await?;
        let image = Release::of(&binaries(&[])?, &[DELI])?.image()?;
        let file = device.signed(&image, "1.5", 1)?;
        device.files.serve("/1.5", file.as_slice());
        device.files.hold_after("/1.5", 20_000_000);
        let url = device.files.url("/1.5");
        device.stage.deli.release(Firmware::of("1.5", "force", &url, &file));
        let rig = &device.stage.rig;
        rig.within(LIMIT, "the download", device.files.until_held("/1.5", 20_000_000)).await?;
        let loading = |status: &serde_json::Value| status["updates"][0]["percent"].as_u64() > Some(10);
        rig.until("the download to be well under way", loading).await?;
        rig.crash()?;
        device.files.misbehave_once("/1.5", Fault::Status { status: 503, retry_after_s: None });
        device.files.release("/1.5");
        assert_eq!(device.end("1.5").await?, Ok(()));
        let asked = device.files.requests("/1.5");
        let from = asked.last().and_then(|last| last.range.clone()).unwrap_or_default();
        let from: usize = from.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap_or(0);
        assert!(asked.len() == 3 && from > 5_000_000, "{asked:?}");
        assert_eq!((slot(&device.stage)?, device.stage.rig.starts()), ("a", 3));
        device.finish().await
    });
}
