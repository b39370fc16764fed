//! Firmware of the module, which the product's own program installs.

use std::path::Path;

use polylink_testbed::clouds::lierda::behaviour::{Ack, Report};
use polylink_testbed::clouds::lierda::firmware::path_of;
use polylink_testbed::installer::{self, NEEDS_RESTART, ON_TRIAL, RUNS, STEPPED_BACK};
use polylink_testbed::rig::RigError;
use serde_json::Value as Json;

use super::super::facts;
use super::{Upgradable, n_told};
use crate::set::check;

impl Upgradable {
    /// A release was installed, which runs after the next start; its download id.
    async fn installed(&self) -> Result<String, RigError> {
        self.installer.says("install", NEEDS_RESTART)?;
        let down_id = self.order(&self.for_module(NEW, IMAGE)?).await?;
        self.installer.called(&self.site.rig, "restart", 1).await?;
        assert_eq!(self.installer.installed(), IMAGE);
        Ok(down_id)
    }
}

#[test]
fn a_release_that_runs_after_a_restart_is_told_of_when_it_has_proved_itself() {
    check(async || {
        let mut device = Upgradable::online("").await?;
        let before = n_told(&device.site.lierda.seen());
        let down_id = device.installed().await?;
        assert_eq!(n_told(&device.site.lierda.seen()), before, "a version was told before the restart");
        device.installer.says("status", ON_TRIAL)?;
        installer::release(&device.site.rig, NEW)?;
        device.power_cut().await?;
        device.ends(&down_id, true).await?;
        device.installer.called(&device.site.rig, "confirm", 1).await?;
        assert_eq!(device.site.lierda.seen().versions["wifi"], NEW);
        device.finish().await
    });
}

#[test]
fn a_release_that_does_not_come_up_is_told_of_by_the_old_version() {
    check(async || {
        let mut device = Upgradable::online("").await?;
        let down_id = device.installed().await?;
        device.installer.says("status", STEPPED_BACK)?;
        device.power_cut().await?;
        device.ends(&down_id, false).await?;
        device.finish().await
    });
}

#[test]
fn a_program_that_cannot_install_leaves_what_runs() {
    check(async || {
        let device = Upgradable::online("").await?;
        device.installer.says("install", 1)?;
        let down_id = device.order(&device.for_module(NEW, IMAGE)?).await?;
        device.ends(&down_id, false).await?;
        assert_eq!(device.installer.calls().iter().filter(|call| *call == "restart").count(), 0);
        device.finish().await
    });
}

#[test]
fn a_download_goes_on_after_a_power_cut_where_it_was() {
    check(async || {
        let mut device = Upgradable::online("").await?;
        device.installer.says("install", RUNS)?;
        let release = long_release();
        let image = device.for_module(NEW, &release)?;
        let (down_id, order) = device.site.lierda.publish_upgrade(&image);
        let (path, half) = (path_of(&down_id), image.body.len() / 2);
        device.site.lierda.files().hold_after(&path, half);
        device.site.lierda.order(&order).map_err(|why| device.site.rig.error(why))?;
        device.held(&down_id, half).await?;
        let noted = device.site.rig.dir().join("state/update");
        device.site.rig.until("some of it to be on the disk", |_| has_checkpoint(&noted)).await?;
        device.site.rig.kill().await?;
        device.site.lierda.files().release(&path);
        installer::release(&device.site.rig, NEW)?;
        device.site.set.online(&device.site.lierda).await?;
        device.ends(&down_id, true).await?;
        let downloads = device.downloads(&down_id);
        let [(None, 200), (Some(from), 206)] = downloads[..] else { panic!("{downloads:?}") };
        assert!(from > 0 && from <= half, "{downloads:?}");
        assert_eq!(device.installer.installed(), release);
        device.finish().await
    });
}

#[test]
fn what_the_platform_did_not_answer_is_told_again_after_a_power_cut() {
    check(async || {
        let mut device = Upgradable::online("").await?;
        device.installer.says("install", 1)?;
        let silent = Ack { never: true, ..Ack::default() };
        device.site.lierda.change(|behaviour| behaviour.acks = [(Report::Firmware, silent)].into());
        let down_id = device.order(&device.for_module(NEW, IMAGE)?).await?;
        device.ends(&down_id, false).await?;
        let is_shown = |status: &Json| facts(status)["update"].is_string();
        device.power_cut().await?;
        device.site.rig.until("the end to be remembered", is_shown).await?;
        device.site.lierda.change(|behaviour| behaviour.acks.clear());
        device.power_cut().await?;
        device.finish().await
    });
}

/// Whether the host has noted how far a download is.
fn has_checkpoint(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|extension| extension == "checkpoint"))
}

/// A release that takes many pieces to load, and is noted on the disk meanwhile.
fn long_release() -> Vec<u8> {
    (0..1_000_000_u32).map(|at| (at * 7 % 251) as u8).collect()
}

const IMAGE: &[u8] = b"a release of this module";
/// What the module calls itself then.
const NEW: &str = "04020007";
