//! Firmware of the module, which the product's own program installs.

use polylink_testbed::file_server::Fault;
use polylink_testbed::installer::{NEEDS_RESTART, ON_TRIAL, RUNS, STEPPED_BACK, release};
use polylink_testbed::lan::udp::Asker;

use super::*;
use crate::set::{check, failed};

const NEW: &str = "04020007";

#[test]
fn firmware_is_loaded_with_the_digest_of_its_headers_and_the_cloud_hears_of_it_by_a_check() {
    check(async || {
        let home = Updatable::online().await?;
        home.installer.says("install", RUNS)?;
        let path = home.gizwits.publish(MODULE, NEW, &home.sign("module", NEW, 7, b"a module")?);
        assert_eq!(home.checks(MODULE, MODULE_VERSION), 1, "at the start");
        home.push(MODULE)?;
        home.checked(MODULE, MODULE_VERSION, 3).await?;
        assert_eq!(home.requests(&path), [("HEAD".to_owned(), false), ("GET".to_owned(), false)]);
        assert_eq!(home.installer.installed(), b"a module");
        // It calls itself what it did before, and is not installed for ever.
        home.is_quiet(&path).await?;
        home.finish().await
    });
}

#[test]
fn what_is_offered_at_the_start_is_installed_over_a_restart_that_tells_the_new_version() {
    check(async || {
        let mut home = Updatable::furnish()?;
        home.installer.says("install", NEEDS_RESTART)?;
        let path = home.gizwits.publish(MODULE, NEW, &home.sign("module", NEW, 7, &[7; 100_000])?);
        home.come_online().await?;
        home.installer.called(&home.rig, "restart", 1).await?;
        home.shown(MODULE, "being installed").await?;
        home.installer.says("status", ON_TRIAL)?;
        release(&home.rig, NEW)?;
        home.power_cut().await?;
        home.installer.called(&home.rig, "confirm", 1).await?;
        // One at the start, one when it is sure that the new firmware stays.
        home.checked(MODULE, NEW, 2).await?;
        home.nothing_shown(MODULE).await?;
        home.is_quiet(&path).await?;
        assert_eq!(home.requests(&path).len(), 2);
        home.finish().await
    });
}

#[test]
fn firmware_that_does_not_come_up_is_not_tried_again() {
    check(async || {
        let mut home = Updatable::online().await?;
        home.installer.says("install", NEEDS_RESTART)?;
        let path = home.gizwits.publish(MODULE, NEW, &home.sign("module", NEW, 7, b"broken")?);
        home.push(MODULE)?;
        home.installer.called(&home.rig, "restart", 1).await?;
        home.installer.says("status", STEPPED_BACK)?;
        home.power_cut().await?;
        home.shown(MODULE, "not installed, ").await?;
        home.is_quiet(&path).await?;
        assert_eq!(home.checks(MODULE, NEW), 0);
        home.finish().await
    });
}

#[test]
fn a_file_that_is_not_what_its_headers_promise_is_not_installed() {
    check(async || {
        let home = Updatable::online().await?;
        let path = home.gizwits.publish(MODULE, NEW, &home.sign("module", NEW, 7, b"a module")?);
        home.gizwits.promise_another(&path);
        home.push(MODULE)?;
        home.shown(MODULE, "not installed, ").await?;
        home.is_quiet(&path).await?;
        assert!(!home.installer.calls().iter().any(|call| call == "install"), "{:?}", home.installer.calls());
        home.finish().await
    });
}

#[test]
fn a_download_goes_on_where_the_power_was_cut() {
    check(async || {
        let mut home = Updatable::online().await?;
        home.installer.says("install", RUNS)?;
        let content: Vec<u8> = (0..1_000_000_u32).map(|at| (at * 7 % 251) as u8).collect();
        let path = home.gizwits.publish(MODULE, NEW, &home.sign("module", NEW, 7, &content)?);
        home.gizwits.files().hold_after(&path, 700_000);
        home.push(MODULE)?;
        home.rig.within(LIMIT, "the download", home.gizwits.files().until_held(&path, 700_000)).await?;
        home.shown(MODULE, "loading, ").await?;
        let directory = home.rig.dir().join("state/update");
        let is_checkpoint = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".checkpoint");
        let is_saved = || std::fs::read_dir(&directory).is_ok_and(|entries| entries.flatten().any(is_checkpoint));
        home.rig.until("what is there to be on the disk", |_| is_saved()).await?;
        home.rig.kill().await?;
        home.gizwits.files().release(&path);
        home.cloud("the device to be gone", |entries| !entries.online).await?;
        home.come_online().await?;
        home.checked(MODULE, MODULE_VERSION, 4).await?;
        assert_eq!(home.installer.installed(), content);
        let mut requests = home.requests(&path);
        requests.retain(|(method, _)| method == "GET");
        assert_eq!(requests, [("GET".to_owned(), false), ("GET".to_owned(), true)]);
        home.finish().await
    });
}

#[test]
fn what_the_owners_rules_forbid_is_not_installed() {
    check(async || {
        let home = Updatable::online().await?;
        home.installer.says("install", RUNS)?;
        let stranger = Owner::new(&binaries(&[])?)?;
        let key = product::schema().product_key;
        for (version, file) in [
            ("04020011", b"unsigned".to_vec()),
            ("04020012", stranger.sign(b"a stranger's", &key, "module", "04020012", 7)?),
            ("04020013", home.owner.sign(b"another product's", "lamp-1", "module", "04020013", 7)?),
            ("04020014", home.sign("mcu", "04020014", 7, b"for the MCU")?),
        ] {
            home.gizwits.publish(MODULE, version, &file);
            home.push(MODULE)?;
            home.shown(MODULE, &format!("version {version}: not installed, ")).await?;
        }
        let later = home.sign("module", "04020020", 20, b"later")?;
        home.gizwits.publish(MODULE, "04020020", &later);
        home.push(MODULE)?;
        home.installer.called(&home.rig, "install", 1).await?;
        home.nothing_shown(MODULE).await?;
        home.gizwits.publish(MODULE, "04020019", &home.sign("module", "04020019", 19, b"earlier")?);
        home.push(MODULE)?;
        home.shown(MODULE, "version 04020019: not installed, ").await?;
        assert_eq!(home.installer.installed(), b"later");
        home.finish().await
    });
}

#[test]
fn a_server_that_knows_no_head_tells_the_digest_with_the_first_byte() {
    check(async || {
        let home = Updatable::online().await?;
        let path = home.gizwits.publish(MODULE, NEW, &home.sign("module", NEW, 7, b"a module")?);
        home.gizwits.promise_another(&path);
        home.gizwits.files().misbehave_once(&path, Fault::Status { status: 405, retry_after_s: None });
        home.push(MODULE)?;
        // Without the digest of the first byte's headers it would be installed.
        home.shown(MODULE, "not installed, ").await?;
        let methods: Vec<_> =
            home.gizwits.files().requests(&path).into_iter().map(|seen| (seen.method, seen.range)).collect();
        assert_eq!(methods[..2], [("HEAD".to_owned(), None), ("GET".to_owned(), Some("bytes=0-0".to_owned()))]);
        assert_eq!(home.installer.installed(), b"");
        home.finish().await
    });
}

#[test]
fn a_fid_is_told_to_the_cloud_and_its_date_to_apps_once_the_firmware_runs() {
    check(async || {
        let mut home = Updatable::furnish()?;
        home.gizwits.change(|behaviour| behaviour.without_v4_1 = true);
        home.installer.says("install", NEEDS_RESTART)?;
        home.come_online().await?;
        let fids = |home: &Updatable| -> Vec<String> {
            let seen = home.gizwits.seen();
            let of_module = seen.calls(ApiCall::TargetFid).filter(|request| request.fields["type"] == "1");
            of_module.map(|request| request.fields["current_fid"].clone()).collect()
        };
        let path = home.gizwits.publish_by_fid(MODULE, 9, "14112521", &home.sign("module", "1.9", 7, b"a module")?);
        let url = home.gizwits.files().url(&path);
        home.gizwits.push_firmware(MODULE, 9, &url).map_err(|error| home.rig.error(error))?;
        home.installer.called(&home.rig, "restart", 1).await?;
        home.installer.says("status", ON_TRIAL)?;
        home.power_cut().await?;
        home.installer.called(&home.rig, "confirm", 1).await?;
        let told = home
            .gizwits
            .until(|seen| seen.calls(ApiCall::TargetFid).any(|request| request.fields["current_fid"] == "9"));
        home.rig.within(LIMIT, "the new FID", told).await?;
        assert_eq!(fids(&home), ["1", "1", "9"], "0 is sent as 1, and the new one when it runs");
        let (_, udp) = home.lan().await?;
        let asker = Asker::bind().await.map_err(failed)?;
        let found = home.answer("discovery", asker.discover(udp)).await?;
        assert_eq!(found.firmware, "14112521");
        assert_eq!(home.requests(&path).len(), 2);
        home.finish().await
    });
}
