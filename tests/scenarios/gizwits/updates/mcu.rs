//! Firmware of the MCU, which goes over its serial line.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::installer::RUNS;
use polylink_testbed::mcu::firmware::{Trouble, image};

use super::*;
use crate::set::check;

const OLD: &str = "POLYSW01";
const NEW: &str = "POLYSW02";

impl Updatable {
    /// The cloud has firmware for the MCU; the path of the file.
    fn publish_mcu(&self, version: &str, counter: u64, content: &[u8]) -> Result<String, RigError> {
        Ok(self.gizwits.publish(MCU, version, &self.sign("mcu", version, counter, content)?))
    }

    /// What the MCU does with firmware from now on.
    fn trouble(&self, trouble: Option<Trouble>) {
        self.mcu.change_firmware(|firmware| firmware.trouble = trouble);
    }
}

#[test]
fn an_mcu_is_given_its_firmware_and_the_cloud_hears_the_version_that_it_tells() {
    check(async || {
        let home = Updatable::online().await?;
        let file = image(5_000, NEW);
        let path = home.publish_mcu(NEW, 1, &file)?;
        assert_eq!(home.checks(MCU, OLD), 1, "at the start");
        home.push(MCU)?;
        home.checked(MCU, NEW, 1).await?;
        let log = home.mcu.log();
        assert_eq!((log.firmware.runs, log.firmware.received), (vec![NEW.to_owned()], vec![file]));
        assert_eq!(home.requests(&path), [("HEAD".to_owned(), false), ("GET".to_owned(), false)]);
        home.nothing_shown(MCU).await?;
        assert_eq!((home.checks(MCU, OLD), home.checks(MCU, NEW)), (2, 1));
        home.report(20).await?;
        home.all_arrived_at(home.gizwits.ledger()).await?;
        home.is_quiet(&path).await?;
        home.finish().await
    });
}

#[test]
fn reports_and_commands_go_on_while_the_mcu_is_given_firmware() {
    check(async || {
        let home = Updatable::online().await?;
        home.mcu.change_firmware(|firmware| firmware.piece_len = 64);
        home.publish_mcu(NEW, 1, &image(20_000, NEW))?;
        home.mcu.set_rate(50);
        home.push(MCU)?;
        home.device("the first pieces", |log| log.firmware.pieces >= 20).await?;
        home.gizwits.control("phone1", "switch", &Json::Bool(true)).map_err(|error| home.rig.error(error))?;
        home.device("the command", |log| !log.commands.is_empty()).await?;
        home.device("the end", |log| !log.firmware.runs.is_empty()).await?;
        home.mcu.set_rate(0);
        home.checked(MCU, NEW, 1).await?;
        home.rig.within(LIMIT, "the MCU to come to rest", home.mcu.at_rest()).await?;
        home.all_arrived_at(home.gizwits.ledger()).await?;
        assert_eq!(home.mcu.log().commands.len(), 1);
        home.finish().await
    });
}

#[test]
fn an_mcu_that_gives_up_is_left_alone_until_there_is_other_firmware() {
    check(async || {
        let home = Updatable::online().await?;
        for (counter, version, trouble) in
            [(2, "POLYSW02", Trouble::Refuses), (3, "POLYSW03", Trouble::GivesUpAfter(3))]
        {
            home.trouble(Some(trouble));
            let path = home.publish_mcu(version, counter, &image(5_000, version))?;
            home.push(MCU)?;
            home.shown(MCU, &format!("version {version}: not installed, ")).await?;
            home.is_quiet(&path).await?;
        }
        // This one restarts, and takes all of it once more.
        home.trouble(Some(Trouble::RestartsAfter { pieces: 3, times: 2 }));
        home.publish_mcu("POLYSW04", 4, &image(5_000, "POLYSW04"))?;
        home.push(MCU)?;
        home.checked(MCU, "POLYSW04", 1).await?;
        let log = home.mcu.log().firmware;
        assert_eq!((log.announced.len(), log.restarts, log.received.len()), (3, 2, 1));
        home.finish().await
    });
}

#[test]
fn a_binary_for_an_mcu_that_wants_lines_is_not_sent() {
    check(async || {
        let home = Updatable::online().await?;
        home.mcu.change_firmware(|firmware| firmware.wants_lines = true);
        home.publish_mcu(NEW, 1, &image(5_000, NEW))?;
        home.push(MCU)?;
        home.shown(MCU, "not installed, ").await?;
        assert_eq!(home.mcu.log().firmware.refusals, [WRONG_FILE]);
        let lines = b":08000000504F4C5953573033A7\r\n:00000001FF\r\n";
        home.publish_mcu("POLYSW03", 2, lines)?;
        home.push(MCU)?;
        home.checked(MCU, "POLYSW03", 1).await?;
        assert_eq!(home.mcu.log().firmware.received, [b"POLYSW03"]);
        home.finish().await
    });
}

#[test]
fn a_transfer_that_the_power_cut_ends_begins_anew() {
    check(async || {
        let mut home = Updatable::online().await?;
        home.trouble(Some(Trouble::FallsSilentAt(3)));
        let file = image(5_000, NEW);
        let path = home.publish_mcu(NEW, 1, &file)?;
        home.push(MCU)?;
        home.device("three pieces", |log| log.firmware.pieces >= 3).await?;
        home.rig.kill().await?;
        home.cloud("the device to be gone", |entries| !entries.online).await?;
        home.trouble(None);
        home.come_online().await?;
        home.checked(MCU, NEW, 1).await?;
        let log = home.mcu.log().firmware;
        assert_eq!((log.announced.len(), log.received, log.runs), (2, vec![file], vec![NEW.to_owned()]));
        assert_eq!(home.requests(&path).len(), 2, "the file is still there");
        home.finish().await
    });
}

#[test]
fn a_silent_mcu_costs_its_firmware_and_nothing_else() {
    check(async || {
        let home = Updatable::online().await?;
        home.trouble(Some(Trouble::FallsSilentAt(3)));
        home.publish_mcu(NEW, 1, &image(5_000, NEW))?;
        home.push(MCU)?;
        home.shown(MCU, "not installed, ").await?;
        home.trouble(None);
        assert_eq!(home.command(&home.gizwits, "switch", Json::Bool(true)).await?.len(), 1);
        home.all_arrived_at(home.gizwits.ledger()).await?;
        home.finish().await
    });
}

#[test]
fn an_mcu_that_is_ready_only_after_a_restart_of_the_module_gets_its_firmware_then() {
    check(async || {
        for trouble in [Trouble::NeverReady, Trouble::WantsAnother] {
            let mut home = Updatable::online().await?;
            home.trouble(Some(trouble));
            home.publish_mcu(NEW, 1, &image(5_000, NEW))?;
            home.push(MCU)?;
            home.device("the announcement", |log| log.firmware.announced.len() == 1).await?;
            home.rig.kill().await?;
            home.cloud("the device to be gone", |entries| !entries.online).await?;
            home.trouble(None);
            home.come_online().await?;
            home.checked(MCU, NEW, 1).await?;
            home.finish().await?;
        }
        Ok(())
    });
}

#[test]
fn what_is_offered_for_both_is_installed_one_after_the_other() {
    check(async || {
        let home = Updatable::online().await?;
        home.installer.says("install", RUNS)?;
        let module = home.gizwits.publish(MODULE, "04020007", &home.sign("module", "04020007", 7, b"a module")?);
        let mcu = home.publish_mcu(NEW, 1, &image(5_000, NEW))?;
        home.gizwits.files().hold_after(&module, 4);
        home.push(MODULE)?;
        home.rig.within(LIMIT, "the download", home.gizwits.files().until_held(&module, 4)).await?;
        home.push(MCU)?;
        home.shown(MCU, "waiting").await?;
        assert_eq!(home.requests(&mcu).len(), 1, "only what it is was asked");
        home.gizwits.files().release(&module);
        home.checked(MCU, NEW, 1).await?;
        assert_eq!(home.installer.installed(), b"a module");
        home.finish().await
    });
}

#[test]
fn what_waits_is_taken_back_when_the_cloud_offers_it_no_more() {
    check(async || {
        let home = Updatable::online().await?;
        home.installer.says("install", RUNS)?;
        let module = home.gizwits.publish(MODULE, "04020007", &home.sign("module", "04020007", 7, b"a module")?);
        home.gizwits.files().hold_after(&module, 4);
        home.push(MODULE)?;
        home.rig.within(LIMIT, "the download", home.gizwits.files().until_held(&module, 4)).await?;
        home.publish_mcu(NEW, 1, &image(5_000, NEW))?;
        home.push(MCU)?;
        home.shown(MCU, "version POLYSW02: waiting").await?;
        // Another one takes its place, and is taken back as well.
        home.publish_mcu("POLYSW03", 2, &image(5_000, "POLYSW03"))?;
        home.push(MCU)?;
        home.shown(MCU, "version POLYSW03: waiting").await?;
        home.gizwits.change(|behaviour| drop(behaviour.upgrades.remove(&MCU)));
        home.push(MCU)?;
        home.nothing_shown(MCU).await?;
        // Of what is being loaded the cloud says nothing new.
        home.push(MODULE)?;
        home.checked(MODULE, MODULE_VERSION, 3).await?;
        home.gizwits.files().release(&module);
        home.installer.called(&home.rig, "install", 1).await?;
        home.nothing_shown(MODULE).await?;
        assert_eq!(home.requests(&module).len(), 2);
        assert_eq!(home.mcu.log().firmware.announced, []);
        home.finish().await
    });
}

/// Error of a notice: wrong type of file (Gizwits serial protocol, 2.3.3).
const WRONG_FILE: u8 = 4;
