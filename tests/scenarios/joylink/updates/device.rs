//! A device whose firmware the cloud replaces, in a network where power may go at any moment.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use polylink_testbed::clouds::joylink::Image;
use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::clouds::joylink::seen::{FAILED, FINISHED, Upgrade};
use polylink_testbed::demo::product;
use polylink_testbed::owner::Owner;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::{Value as Json, json};

use super::super::Site;
use super::LOADING;
use crate::set::{binaries, failed};

/// A device with firmware 4, whose module is upgraded by a program that does as the test says.
pub struct Upgradable {
    pub site: Site,
    owner: Owner,
}

impl Upgradable {
    /// Builds it with further settings of the plugin, starts the host, and waits until the cloud sees the device.
    pub async fn online(settings: &str) -> Result<Self, RigError> {
        let settings = format!("firmware_number = 4\nheartbeat_s = 1\nreconnect_min_s = 1\n{settings}");
        let mut site = Site::build(Product::default(), &settings)?;
        let owner = Owner::new(&binaries(&[])?)?;
        let installer = site.rig.dir().join(INSTALLER);
        std::fs::create_dir(site.rig.dir().join("installer")).map_err(failed)?;
        std::fs::write(&installer, INSTALLS).map_err(failed)?;
        std::fs::set_permissions(&installer, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let section = format!(
            "[update]\nbackend = \"hook\"\nhook = \"{}\"\nkeys = [\"{}\"]\n",
            installer.display(),
            owner.public_key()
        );
        let overlay = site.rig.dir().join("conf.d/60-update.toml");
        std::fs::write(&overlay, section).map_err(failed)?;
        std::fs::set_permissions(&overlay, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        site.set.online(&site.joylink).await?;
        Ok(Self { site, owner })
    }

    /// An image of the owner.
    pub fn image(&self, target: &str, version: u16, content: &[u8]) -> Result<Image, RigError> {
        let key = product::schema().product_key;
        let body = self.owner.sign(content, &key, target, &version.to_string(), version.into())?;
        Ok(Image { sub: None, version, name: format!("1.0.{version}.20260102_release"), body })
    }

    /// The status with which the installer answers from now on.
    pub fn installer_says(&self, phase: &str, status: u8) -> Result<(), RigError> {
        std::fs::write(self.file(phase), status.to_string()).map_err(failed)
    }

    /// From now on the installer waits in the middle of an installation for a line in this.
    pub fn installer_waits(&self) -> Result<File, RigError> {
        let gate = self.file("gate");
        let made = Command::new("mkfifo").arg(&gate).status().map_err(failed)?;
        assert!(made.success(), "mkfifo ended with {made}");
        // Open at both ends, so that nobody waits for whoever opens the other one.
        File::options().read(true).write(true).open(gate).map_err(failed)
    }

    /// What the installer was called with, in order.
    pub fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.file("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// What the installer has installed.
    pub fn installed(&self) -> Vec<u8> {
        std::fs::read(self.file("installed")).unwrap_or_default()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.site.rig.dir().join("installer").join(name)
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

    /// Power goes as soon as the installer is called with this.
    pub fn power_goes_at(&self, phase: &str) -> Result<(), RigError> {
        std::fs::write(self.file(&format!("cut-at-{phase}")), "").map_err(failed)
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

/// What the installer may say of an installation (`docs/UPDATES.md`).
pub const NEEDS_RESTART: u8 = 0;
pub const RUNS: u8 = 20;
/// What it may say of how things stand.
pub const ON_TRIAL: u8 = 20;
pub const STEPPED_BACK: u8 = 21;
/// A program that notes each call, keeps what it is to install, ends its caller without warning or answers, as the test has
/// written beside it.
const INSTALLS: &str = r#"#!/bin/sh
dir=${0%/*}
echo "$1" >>"$dir/calls"
[ "$1" != install ] || [ ! -p "$dir/gate" ] || read -r _ <"$dir/gate"
[ ! -e "$dir/cut-at-$1" ] || { rm "$dir/cut-at-$1"; kill -9 "$PPID"; exit 1; }
[ "$1" != install ] || cat "$POLYLINK_IMAGE" >"$dir/installed"
[ ! -e "$dir/$1" ] || exit "$(cat "$dir/$1")"
"#;
/// Where it is in the rig's directory.
const INSTALLER: &str = "installer/update";
/// Part of what the plugin stores where there is no end that the cloud has to hear of.
const NOTHING_TO_TELL: &str = r#""outcomes":[]"#;
