//! Firmware that the cloud orders, from the order to the heartbeat that carries its number, whatever comes between.

mod device;

use std::io::Write;

use polylink_testbed::clouds::joylink::Image;
use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::clouds::joylink::seen::{FAILED, FINISHED, Upgrade};
use polylink_testbed::file_server::Fault;
use polylink_testbed::installer::{NEEDS_RESTART, ON_TRIAL, RUNS, STEPPED_BACK};
use polylink_testbed::mcu::firmware;
use polylink_testbed::rig::LIMIT;
use serde_json::json;

use self::device::Upgradable;
use super::Site;
use crate::set::{check, failed};

#[test]
fn the_module_is_upgraded_and_its_number_goes_up() {
    check(async || {
        let device = Upgradable::online(MODULE).await?;
        device.installer.says("install", RUNS)?;
        let mut gate = device.installer.waits()?;
        let image = device.image("module", 5, IMAGE)?;
        device.takes(&image).await?;
        device.upgrade("the installation", |upgrade| upgrade.statuses() == [LOADING, INSTALLING]).await?;
        gate.write_all(b"\n\n").map_err(failed)?;
        let upgrade = device.succeeds().await?;
        assert_eq!(
            (device.installer.installed(), upgrade.statuses()),
            (IMAGE.to_vec(), vec![LOADING, INSTALLING, FINISHED])
        );
        assert_eq!(upgrade.end().map(|end| (end.description.as_str(), end.progress)), Some(("finished", 100)));
        assert_eq!(device.downloads(&image)?, [(None, 200)]);
        // What runs is not ordered again, and the next one is.
        let again = device.site.answer(device.site.joylink.order_upgrade(&image)).await?;
        assert_eq!(again.code, CANNOT_BE_USED);
        device.takes(&device.image("module", 6, b"the next release")?).await?;
        device.succeeds().await?;
        assert_eq!(device.installer.installed(), b"the next release");
        device.finish().await
    });
}

#[test]
fn an_upgrade_that_needs_a_restart_has_finished_when_the_new_version_works() {
    check(async || {
        let mut device = Upgradable::online(MODULE).await?;
        device.installer.says("install", NEEDS_RESTART)?;
        device.installer.says("status", ON_TRIAL)?;
        device.installer.crashes_at("restart")?;
        device.takes(&device.image("module", 5, IMAGE)?).await?;
        device.power_returns().await?;
        device.succeeds().await?;
        assert_eq!(device.installer.calls(), ["check", "install", "restart", "status", "confirm"]);
        device.finish().await
    });
}

#[test]
fn a_new_version_that_does_not_come_up_is_told_as_failed_and_may_be_ordered_again() {
    check(async || {
        let mut device = Upgradable::online(MODULE).await?;
        device.installer.says("install", NEEDS_RESTART)?;
        device.installer.says("status", STEPPED_BACK)?;
        device.installer.crashes_at("restart")?;
        let image = device.image("module", 5, IMAGE)?;
        device.takes(&image).await?;
        device.power_returns().await?;
        device.fails("firmware upgrade failed (6): the new version did not come up").await?;
        device.installer.says("install", RUNS)?;
        device.takes(&image).await?;
        device.succeeds().await?;
        device.finish().await
    });
}

#[test]
fn an_installation_that_a_power_cut_breaks_off_is_done_again() {
    check(async || {
        let mut device = Upgradable::online(MODULE).await?;
        device.installer.says("install", RUNS)?;
        device.installer.crashes_at("install")?;
        let image = device.image("module", 5, IMAGE)?;
        device.takes(&image).await?;
        device.power_returns().await?;
        device.succeeds().await?;
        assert_eq!(device.installer.calls(), ["check", "install", "status", "check", "install"]);
        assert_eq!((device.installer.installed(), device.downloads(&image)?.len()), (IMAGE.to_vec(), 1));
        device.finish().await
    });
}

#[test]
fn a_download_goes_on_after_a_power_cut_where_it_was() {
    check(async || {
        let mut device = Upgradable::online(&format!("{MODULE}ota_report_s = 1\n")).await?;
        device.installer.says("install", RUNS)?;
        let image = device.image("module", 5, &long_image())?;
        let half = image.body.len() / 2;
        let path = device.published(&image)?;
        device.site.joylink.files().hold_after(&path, half);
        device.takes(&image).await?;
        // Progress is told without a change of status.
        device.upgrade("some progress", |upgrade| upgrade.reports.iter().any(|told| told.progress >= 40)).await?;
        device.power_cut().await?;
        device.site.joylink.files().release(&path);
        device.succeeds().await?;
        let downloads = device.downloads(&image)?;
        let [(None, 200), (Some(from), 206)] = &downloads[..] else { panic!("{downloads:?}") };
        assert!(*from > 0 && *from <= half, "{downloads:?}");
        assert_eq!(device.installer.installed(), long_image());
        device.finish().await
    });
}

#[test]
fn an_order_that_is_repeated_brings_another_address_and_nothing_else() {
    check(async || {
        let device = Upgradable::online(MODULE).await?;
        device.installer.says("install", RUNS)?;
        let image = device.image("module", 5, &long_image())?;
        let path = device.published(&image)?;
        let files = device.site.joylink.files();
        files.hold_after(&path, 1000);
        device.takes(&image).await?;
        device.held(&path, 1000).await?;
        let other = device.image("module", 6, IMAGE)?;
        let answer = device.site.answer(device.site.joylink.order_upgrade(&other)).await?;
        assert_eq!(answer.code, UNDER_WAY);
        device.takes(&image).await?;
        // The old address is left at once.
        device.site.rig.within(LIMIT, "another request", files.until(&path, |seen| seen.len() == 2)).await?;
        files.release(&path);
        device.upgrade("the new number", |upgrade| upgrade.running && upgrade.end().is_some()).await?;
        assert_eq!(device.installer.installed(), long_image());
        let installs = device.installer.calls().iter().filter(|call| *call == "install").count();
        assert_eq!((installs, device.downloads(&image)?.len()), (1, 2));
        device.finish().await
    });
}

#[test]
fn an_image_with_another_crc_is_told_as_damaged() {
    check(async || {
        let device = Upgradable::online(MODULE).await?;
        device.site.joylink.change(|behaviour| behaviour.wrong_image_crc = true);
        device.takes(&device.image("module", 5, IMAGE)?).await?;
        let upgrade = device.fails("file damaged (23): ").await?;
        assert_eq!(upgrade.statuses(), [LOADING, FAILED]);
        assert_eq!(device.installer.calls(), [""; 0]);
        device.finish().await
    });
}

#[test]
fn an_image_that_cannot_be_loaded_is_told_as_such() {
    check(async || {
        let device = Upgradable::online(MODULE).await?;
        let image = device.image("module", 5, IMAGE)?;
        let path = device.published(&image)?;
        device.site.joylink.files().misbehave(&path, Fault::Status { status: 404, retry_after_s: None });
        device.takes(&image).await?;
        let upgrade = device.fails("cannot reach server (1): ").await?;
        assert_eq!(upgrade.statuses(), [LOADING, FAILED]);
        device.finish().await
    });
}

#[test]
fn an_image_of_nobody_or_for_another_product_is_refused_by_the_device() {
    check(async || {
        let device = Upgradable::online(MODULE).await?;
        let name = "1.0.5.20260102_release".to_owned();
        device.takes(&Image { sub: None, version: 5, name, body: IMAGE.to_vec() }).await?;
        device.fails("refused by device (2): ").await?;
        device.takes(&device.image("mcu", 6, IMAGE)?).await?;
        device.fails("refused by device (2): ").await?;
        assert_eq!(device.installer.calls(), [""; 0]);
        device.finish().await
    });
}

#[test]
fn an_end_that_the_cloud_does_not_answer_is_told_again_after_the_next_start() {
    check(async || {
        let mut device = Upgradable::online(MODULE).await?;
        device.installer.says("install", RUNS)?;
        device.site.joylink.change(|behaviour| behaviour.faults(STATUS).silent = u32::MAX);
        device.takes(&device.image("module", 5, IMAGE)?).await?;
        device.succeeds().await?;
        device.site.stored("firmware_number").await?;
        device.power_cut().await?;
        let twice = |upgrade: &Upgrade| upgrade.reports.iter().filter(|report| report.is_end()).count() >= 2;
        device.upgrade("the end once more", twice).await?;
        device.site.joylink.change(|behaviour| behaviour.faults(STATUS).silent = 0);
        device.site.joylink.reset();
        device.site.cloud("the device to be back", |entries| entries.online && entries.sessions >= 3).await?;
        device.forgotten().await?;
        let n_told = device.site.joylink.seen().upgrades[0].reports.len();
        device.power_cut().await?;
        let n_beats = device.site.joylink.seen().heartbeats.len();
        device.site.seen("heartbeats", |seen| seen.heartbeats.len() > n_beats + 1).await?;
        assert_eq!(device.site.joylink.seen().upgrades[0].reports.len(), n_told);
        device.finish().await
    });
}

#[test]
fn the_mcu_is_upgraded_if_it_tells_a_version() {
    check(async || {
        let device = Upgradable::online("").await?;
        let content = firmware::image(5_000, "04020099");
        device.takes(&device.image("mcu", 5, &content)?).await?;
        device.succeeds().await?;
        let log = device.site.mcu.log();
        assert_eq!((log.firmware.received, log.firmware.runs), (vec![content], vec!["04020099".to_owned()]));
        device.finish().await
    });
}

#[test]
fn where_nothing_installs_an_order_is_taken_and_has_failed_at_once() {
    check(async || {
        let site = Site::online(Product::default(), &format!("firmware_number = 4\n{MODULE}")).await?;
        let image = Image { sub: None, version: 5, name: "1.0.0.20260102_release".to_owned(), body: IMAGE.to_vec() };
        assert_eq!(site.answer(site.joylink.order_upgrade(&image)).await?.code, 0);
        site.seen("the end of it", |seen| seen.upgrades[0].end().is_some()).await?;
        let upgrade = site.joylink.seen().upgrades.remove(0);
        let end = upgrade.end().expect("it was just seen");
        assert!(end.status == FAILED && end.description.starts_with("operation not supported (100): "), "{end:?}");
        let path = upgrade.path.expect("it is on the cloud's own server");
        assert_eq!((upgrade.running, site.joylink.files().requests(&path)), (false, vec![]));
        site.reports_arrive(20).await?;
        site.finish().await
    });
}

#[test]
fn an_order_that_cannot_be_used_is_refused() {
    check(async || {
        let site = Site::online(Product::default(), "firmware_number = 4\n").await?;
        let feedid = &site.joylink.product().device.feedid;
        let order = |version: u32| {
            json!({"feedid": feedid, "productuuid": site.joylink.product().uuid, "version": version,
                   "versionname": "x", "crc32": 1, "url": "http://127.0.0.1:9/1.bin"})
        };
        let mut for_another = order(6);
        for_another["feedid"] = json!("1540000000000000999");
        for wrong in [for_another, order(3), json!({}), json!({"feedid": feedid, "version": "six"})] {
            let refused = site.answer(site.joylink.order(&wrong)).await?;
            assert_eq!(refused.code, CANNOT_BE_USED, "{wrong}: {refused:?}");
        }
        site.finish().await
    });
}

/// An image of which half is worth to be kept over a power cut.
fn long_image() -> Vec<u8> {
    (0..1_000_000_u32).map(|at| (at * 7 % 251) as u8).collect()
}

/// The simulated MCU tells a version, so that the module's firmware must be asked for.
const MODULE: &str = "ota_target = \"module\"\n";
const IMAGE: &[u8] = b"a release of this module";
/// Statuses of an upgrade before its end (JoyLink, 10).
const LOADING: u8 = 0;
const INSTALLING: u8 = 1;
/// Type of the statuses.
const STATUS: u8 = 8;
/// Codes of answers to orders (JoyLink, 13).
const CANNOT_BE_USED: i64 = 6;
const UNDER_WAY: i64 = 22;
