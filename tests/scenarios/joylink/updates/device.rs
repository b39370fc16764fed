//! A device whose firmware the cloud replaces, in a network where power may go at any moment.

use polylink_testbed::clouds::joylink::Image;
use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::clouds::joylink::seen::{FAILED, FINISHED, Upgrade};
use polylink_testbed::demo::product;
use polylink_testbed::installer::Installer;
use polylink_testbed::owner::Owner;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::{Value as Json, json};

use super::super::Site;
use super::LOADING;
use crate::set::binaries;

/// A device with firmware 4, whose module is upgraded by a program that does as the test says.
pub struct Upgradable {
    pub site: Site,
    owner: Owner,
    pub installer: Installer,
}

impl Upgradable {
    /// Builds it with further settings of the plugin, starts the host, and waits until the cloud sees the device.
    pub async fn online(settings: &str) -> Result<Self, RigError> {
        let settings = format!("firmware_number = 4\nheartbeat_s = 1\nreconnect_min_s = 1\n{settings}");
        let mut site = Site::build(Product::default(), &settings)?;
        let owner = Owner::new(&binaries(&[])?)?;
        let installer = Installer::put(&site.rig, &owner)?;
        site.set.online(&site.joylink).await?;
        Ok(Self { site, owner, installer })
    }

    /// An image of the owner.
    pub fn image(&self, target: &str, version: u16, content: &[u8]) -> Result<Image, RigError> {
        let key = product::schema().product_key;
        let body = self.owner.sign(content, &key, target, &version.to_string(), version.into())?;
        Ok(Image { sub: None, version, name: format!("1.0.{version}.20260102_release"), body })
    }

    /// The cloud orders this, and the device takes it.
    pub async fn takes(&self, image: &Image) -> Result<(), RigError> {
        let answer = self.site.answer(self.site.joylink.order_upgrade(image)).await?;
        assert_eq!(answer.code, 0, "{answer:?}");
        Ok(())
    }

    /// The upgrade that was ordered last, as soon as it is as it should be.
    pub async fn upgrade(&self, what: &str, is_it: impl Fn(&Upgrade) -> bool) -> Result<Upgrade, RigError> {
        self.site.seen(what, |seen| seen.upgrades.last().is_some_and(&is_it)).await?;
        Ok(self.site.joylink.seen().upgrades.pop().expect("it was just seen"))
    }

    /// The upgrade that was ordered last, as soon as its end was told.
    async fn ended(&self) -> Result<Upgrade, RigError> {
        self.upgrade("the end of the upgrade", |upgrade| upgrade.end().is_some()).await
    }

    /// The end is told, and it is a failure for this reason.
    pub async fn fails(&self, reason: &str) -> Result<Upgrade, RigError> {
        let upgrade = self.ended().await?;
        let end = upgrade.end().expect("it has ended");
        assert_eq!((end.status, upgrade.running), (FAILED, false), "{upgrade:?}");
        assert!(end.description.starts_with(reason), "{end:?}");
        Ok(upgrade)
    }

    /// The end is told, and heartbeats carry the new number. What was quick, or while there was no connection, is not told
    /// on its own.
    pub async fn succeeds(&self) -> Result<Upgrade, RigError> {
        let upgrade = self.upgrade("the new number", |upgrade| upgrade.running && upgrade.end().is_some()).await?;
        assert_eq!((upgrade.statuses()[0], upgrade.end().map(|end| end.status)), (LOADING, Some(FINISHED)));
        Ok(upgrade)
    }

    /// Puts an image on the cloud's firmware server before it is ordered; its path there.
    pub fn published(&self, image: &Image) -> Result<String, RigError> {
        self.site.joylink.publish(image).map_err(|why| self.site.rig.error(why))
    }

    /// Waits until a download stands still there.
    pub async fn held(&self, path: &str, n_bytes: usize) -> Result<(), RigError> {
        self.site.rig.within(LIMIT, "a download", self.site.joylink.files().until_held(path, n_bytes)).await
    }

    /// The downloads of an image: from where, if not from the beginning, and the status of the answer.
    pub fn downloads(&self, image: &Image) -> Result<Vec<(Option<usize>, u16)>, RigError> {
        let downloads = self.site.joylink.files().requests(&self.published(image)?);
        let from = |range: &str| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
        Ok(downloads.iter().map(|seen| (seen.range.as_deref().and_then(from), seen.status)).collect())
    }

    /// Power is cut, and comes back.
    pub async fn power_cut(&mut self) -> Result<(), RigError> {
        self.site.rig.kill().await?;
        self.power_returns().await
    }

    /// Waits until power has gone, and it comes back.
    pub async fn power_returns(&mut self) -> Result<(), RigError> {
        if self.site.rig.starts() > 0 {
            self.site.rig.ended().await?;
        }
        self.site.cloud("the device to be gone", |entries| !entries.online).await?;
        self.site.set.online(&self.site.joylink).await
    }

    /// Waits until neither host nor plugin has anything to tell of an upgrade, also after a power cut.
    pub async fn forgotten(&self) -> Result<(), RigError> {
        let file = self.site.rig.dir().join("state/store/joylink/upgrade.value");
        let is_told =
            || std::fs::read(&file).is_ok_and(|text| String::from_utf8_lossy(&text).contains(NOTHING_TO_TELL));
        let is_it = |status: &Json| status["updates"] == json!([]) && is_told();
        self.site.rig.until("the upgrade to be forgotten", is_it).await.map(drop)
    }

    /// Ends the host in order. Nobody may have broken a protocol, and no address with its signature is in the log.
    pub async fn finish(self) -> Result<(), RigError> {
        self.site.reports_arrive(20).await?;
        assert_eq!(self.site.joylink.files().violations(), [""; 0]);
        assert!(!self.site.rig.log().contains("signature="), "{}", self.site.rig.log());
        self.site.finish().await
    }
}

/// Part of what the plugin stores where there is no end that the cloud has to hear of.
const NOTHING_TO_TELL: &str = r#""outcomes":[]"#;
