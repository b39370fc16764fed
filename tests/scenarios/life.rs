//! Start, stop and return of the host and of the MCU.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::mcu::faults::Faults;
use polylink_testbed::rig::files::Files;
use serde_json::json;

use crate::set::check;
use crate::stage::Stage;

#[test]
fn sigterm_ends_the_host_in_order_and_says_farewell_to_the_broker() {
    check(async || {
        let mut stage = Stage::online().await?;
        stage.report(20).await?;
        stage.all_arrived().await?;
        let status = stage.rig.stop().await?;
        assert_eq!(status.code(), Some(0));
        stage.cloud("the device to be gone", |entries| !entries.online).await?;
        assert_eq!(stage.deli.broker().log().disconnects, 1);
        assert!(!stage.rig.socket().exists(), "the control socket is left behind");
        stage.no_violations();
        Ok(())
    });
}

#[test]
fn a_killed_host_starts_again_where_it_stood() {
    check(async || {
        let mut stage = Stage::online().await?;
        stage.report(20).await?;
        stage.all_arrived().await?;
        stage.rig.kill().await?;
        stage.cloud("the device to be gone", |entries| !entries.online).await?;
        stage.rig.start()?;
        stage.cloud("the device to be back", |entries| entries.online).await?;
        stage.report(40).await?;
        stage.all_arrived().await?;
        stage.finish().await
    });
}

#[test]
fn a_silent_mcu_is_shown_as_offline_until_it_speaks_again() {
    check(async || {
        let mut stage = Stage::set().await?;
        stage.mcu.set_faults(Faults { silent: true, ..Faults::default() });
        stage.rig.start()?;
        stage.rig.until("the host to miss the MCU", |status| status["host"]["mcu"]["online"] == json!(false)).await?;
        assert!(!stage.deli.ledger().with(|entries| entries.online), "no product is known yet, so no cloud can run");
        stage.mcu.set_faults(Faults::default());
        stage.rig.until("the MCU to be back", |status| status["host"]["mcu"]["online"] == json!(true)).await?;
        stage.cloud("the device", |entries| entries.online).await?;
        stage.report(5).await?;
        stage.all_arrived().await?;
        stage.finish().await
    });
}

#[test]
fn a_command_to_a_silent_mcu_fails_with_a_reason_and_the_next_one_works() {
    check(async || {
        let stage = Stage::online().await?;
        stage.mcu.set_faults(Faults { silent: true, ..Faults::default() });
        assert!(stage.command("switch", json!(true)).await?.is_err());
        stage.mcu.set_faults(Faults::default());
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        stage.finish().await
    });
}

#[test]
fn a_stored_state_that_is_garbage_does_not_keep_the_device_offline() {
    check(async || {
        let mut stage = Stage::online().await?;
        // An answered command comes after the answers that the plugin stores.
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        stage.rig.stop().await?;
        let spoiled = spoil(&stage.rig.dir().join("state"));
        assert!(spoiled > 0, "the plugin has stored nothing, so nothing was tried");
        let sessions = stage.deli.ledger().with(|entries| entries.sessions);
        stage.rig.start()?;
        stage.cloud("the device", |entries| entries.online && entries.sessions > sessions).await?;
        stage.report(5).await?;
        stage.all_arrived().await?;
        stage.finish().await
    });
}

#[test]
fn a_store_that_cannot_be_written_is_named_and_everything_else_goes_on() {
    check(async || {
        // A file where the store wants its directory: not even root can write below it.
        let block = |files: &mut Files| files.others.push(("state/store".to_owned(), "in the way".to_owned()));
        let stage = Stage::online_with(block).await?;
        let line = stage.rig.said("the store cannot be written").await?;
        for part in ["ERROR", "cloud=deli", "state/store/deli", "values are kept in memory"] {
            assert!(line.contains(part), "{part:?} is not in: {line}");
        }
        stage.report(50).await?;
        stage.all_arrived().await?;
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        let unsaved = |status: &serde_json::Value| status["clouds"][0]["usage"]["store_unsaved"].as_u64();
        let status = stage.rig.status().await?;
        assert!(unsaved(&status) > Some(0), "the status does not tell: {status:#}");
        assert_eq!(status["clouds"][0]["faults"]["count"], json!(0));
        // Once there is room, the next write takes everything along.
        std::fs::remove_file(stage.rig.dir().join("state/store")).expect("our own file");
        assert!(stage.deli.bind(Some("9007199254740995")).is_some());
        stage.rig.said("the store can be written again").await?;
        assert_eq!(unsaved(&stage.rig.status().await?), Some(0));
        assert!(stage.rig.dir().join("state/store/deli").is_dir());
        stage.finish().await
    });
}

#[test]
fn a_state_directory_that_is_no_directory_costs_the_memory_and_nothing_else() {
    check(async || {
        let device = |files: &mut Files| files.overlay = "[host]\nstate_dir = \"/dev/null\"\n".to_owned();
        let stage = Stage::online_with(device).await?;
        let line = stage.rig.said("the store cannot be written").await?;
        assert!(line.contains("/dev/null/store/deli"), "where is not said: {line}");
        stage.report(50).await?;
        stage.all_arrived().await?;
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        stage.finish().await
    });
}

/// Overwrites every file below with garbage; how many there were.
fn spoil(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).expect("the state directory is there").flatten();
    entries
        .map(|entry| entry.path())
        .map(|path| {
            if path.is_dir() {
                spoil(&path)
            } else {
                std::fs::write(&path, [0xA5; 100]).expect("our own file");
                1
            }
        })
        .sum()
}
