//! Firmware that the Deli platform brings out: 202, 102 and 103 name it, 101 with the new version is the success, alarm 105
//! with code 200 the failure.

use std::ops::{Deref, DerefMut};

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::deli::behaviour::Firmware;
use polylink_testbed::clouds::deli::upgrades::Upgrade;
use polylink_testbed::demo::product;
use polylink_testbed::file_server::{Fault, FileServer};
use polylink_testbed::installer::Installer;
use polylink_testbed::mcu::firmware::{Trouble, image};
use polylink_testbed::mcu::sim::FIRST_SOFTWARE;
use polylink_testbed::owner::Owner;
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::{Value as Json, json};

use crate::set::{binaries, check, failed};
use crate::stage::Stage;

/// A stage, an owner whom the device trusts, and the server that the platform names in its orders.
struct Storehouse {
    stage: Stage,
    files: FileServer,
    owner: Owner,
}

impl Storehouse {
    /// Builds it for a device whose MCU can be updated and whose module cannot, with these settings of the cloud; nothing
    /// runs yet.
    async fn build(settings: &str) -> Result<Self, RigError> {
        let owner = Owner::new(&binaries(&[])?)?;
        let change = |files: &mut Files| {
            // The section of the cloud is the last one, and its settings the last table there.
            files.product.push_str(settings);
            files.overlay =
                format!("[update]\nkeys = [\"{}\"]\nretry_s = 1\n\n[time]\nzone = \"+00:00\"\n", owner.public_key());
        };
        let stage = Stage::set_with(change).await?;
        Ok(Self { stage, files: FileServer::start().map_err(failed)?, owner })
    }

    /// The same, and the host runs and the platform knows what the device runs.
    async fn online(settings: &str) -> Result<Self, RigError> {
        let mut house = Self::build(settings).await?;
        house.rig.start()?;
        house.is_known().await?;
        Ok(house)
    }

    /// The same for a device whose module has an update program; a service manager keeps its host running.
    async fn with_installer() -> Result<(Self, Installer), RigError> {
        let mut house = Self::build("ota_target = \"module\"\nota_force_spread_s = 0\n").await?;
        let installer = Installer::put_acting(&house.rig, &house.owner)?;
        house.rig.start_service()?;
        house.is_known().await?;
        Ok((house, installer))
    }

    /// Waits until the platform knows what runs, and the device that it is bound: it sends messages then.
    async fn is_known(&self) -> Result<(), RigError> {
        let told = self.deli.until_heard(102, |heard| !heard.is_empty());
        self.rig.within(LIMIT, "the device to ask for its record", told).await
    }

    /// The image with the manifest of its owner behind it, on the server.
    fn store(&self, path: &str, image: &[u8], target: &str, version: &str) -> Result<Firmware, RigError> {
        let signed = self.owner.sign(image, &product::schema().product_key, target, version, 1)?;
        let url = self.files.serve(path, signed.clone());
        Ok(Firmware::of(version, "force", &url, &signed))
    }

    /// Waits until the platform knows how its last order ended.
    async fn outcome(&self) -> Result<Result<(), String>, RigError> {
        let is_over = |upgrades: &[Upgrade]| upgrades.last().is_some_and(|upgrade| upgrade.outcome.is_some());
        self.rig.within(LIMIT, "the upgrade to be over", self.deli.until_upgrades(is_over)).await?;
        let last = self.deli.upgrades().pop().and_then(|upgrade| upgrade.outcome);
        Ok(last.expect("it was there a moment ago"))
    }

    /// Waits until the host has nothing to say of updates any more: the platform knows all of it.
    async fn is_acknowledged(&self) -> Result<(), RigError> {
        let is_gone = |status: &Json| status["clouds"][0]["facts"]["update"].is_null();
        self.rig.until("the update to be acknowledged", is_gone).await.map(drop)
    }

    /// Waits until the plugin shows this of the update.
    async fn shows(&self, text: &str) -> Result<(), RigError> {
        let shown = |status: &Json| status["clouds"][0]["facts"]["update"] == json!(text);
        self.rig.until(&format!("the status to show {text:?}"), shown).await.map(drop)
    }

    /// Announces a version, and waits until the device has asked for it.
    async fn announce(&self, version: &str) -> Result<(), RigError> {
        let asked = self.deli.heard(103).len();
        self.deli.announce_upgrade(version);
        self.rig.within(LIMIT, "a question", self.deli.until_heard(103, |heard| heard.len() > asked)).await?;
        self.answers_in_turn().await
    }

    /// The device answers a command; what it had to do before is done.
    async fn answers_in_turn(&self) -> Result<(), RigError> {
        let mid = self.deli.control("none", &json!({})).expect("the device is online");
        let answered = self.deli.until_heard(200, |heard| heard.iter().any(|heard| heard.mid == mid));
        self.rig.within(LIMIT, "an answer to a command", answered).await
    }

    /// Waits until a part of a download is on the disk, where a restart finds it.
    async fn is_saved(&self) -> Result<(), RigError> {
        let update = self.rig.dir().join("state/update");
        let is_checkpoint = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".checkpoint");
        let saved = |_: &Json| std::fs::read_dir(&update).is_ok_and(|entries| entries.flatten().any(is_checkpoint));
        self.rig.until("a checkpoint of the download", saved).await.map(drop)
    }

    /// Ends the host in order. Nobody may have broken a protocol.
    async fn finish(self) -> Result<(), RigError> {
        assert_eq!(self.files.violations(), Vec::<String>::new(), "seen by the file server");
        self.stage.finish().await
    }
}

impl Deref for Storehouse {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl DerefMut for Storehouse {
    fn deref_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }
}

#[test]
fn a_forced_upgrade_of_the_mcu_holds_messages_until_the_new_version_is_told() {
    check(async || {
        let house = Storehouse::online(AT_ONCE).await?;
        house.report(20).await?;
        house.all_arrived().await?;
        let file = image(20_000, MCU_VERSION);
        let firmware = house.store(MCU, &file, "mcu", MCU_VERSION)?;
        house.files.hold_after(MCU, 1000);
        house.deli.release(firmware);
        house.rig.within(LIMIT, "the download", house.files.until_held(MCU, 1000)).await?;
        let arrived = |house: &Storehouse| house.deli.ledger().with(|entries| entries.arrivals.len());
        let before = arrived(&house);
        house.report(40).await?;
        house.answers_in_turn().await?;
        assert_eq!(arrived(&house), before, "the device is not usable, and yet it reports");
        house.files.release(MCU);
        assert_eq!(house.outcome().await?, Ok(()));
        house.all_arrived().await?;
        let verdict = house.deli_verdict();
        assert_eq!((verdict.lost, verdict.out_of_order), (0, 0));
        house.mcu.with_log(|log| {
            assert_eq!(log.firmware.runs, [MCU_VERSION]);
            assert_eq!(log.firmware.received, std::slice::from_ref(&file), "the manifest is not for the MCU");
        });
        house.is_acknowledged().await?;
        assert_eq!((house.files.requests(MCU).len(), house.deli.upgrades().len()), (1, 1));
        house.finish().await
    });
}

#[test]
fn an_order_that_is_named_often_is_carried_out_once() {
    check(async || {
        let house = Storehouse::online(AT_ONCE).await?;
        let firmware = house.store(MCU, &image(5000, MCU_VERSION), "mcu", MCU_VERSION)?;
        house.files.hold_after(MCU, 1000);
        house.deli.release(firmware);
        house.rig.within(LIMIT, "the download", house.files.until_held(MCU, 1000)).await?;
        for _ in 0..3 {
            house.announce(MCU_VERSION).await?;
        }
        house.files.release(MCU);
        assert_eq!(house.outcome().await?, Ok(()));
        house.is_acknowledged().await?;
        // What runs is not asked for any more.
        let asked = house.deli.heard(103).len();
        house.deli.announce_upgrade(MCU_VERSION);
        house.answers_in_turn().await?;
        assert_eq!((house.deli.heard(103).len(), house.files.requests(MCU).len()), (asked, 1));
        house.finish().await
    });
}

#[test]
fn an_upgrade_of_the_module_goes_on_after_a_crash_and_is_told_after_the_restart() {
    check(async || {
        let (house, installer) = Storehouse::with_installer().await?;
        let file = image(400_000, MCU_VERSION);
        let firmware = house.store(MODULE, &file, "module", "1.1")?;
        house.files.hold_after(MODULE, 300_000);
        house.deli.release(firmware);
        house.rig.within(LIMIT, "the download", house.files.until_held(MODULE, 300_000)).await?;
        house.is_saved().await?;
        house.rig.crash()?;
        house.rig.started(2).await?;
        house.files.release(MODULE);
        assert_eq!(house.outcome().await?, Ok(()));
        house.is_acknowledged().await?;
        let requests = house.files.requests(MODULE);
        let ranges: Vec<bool> = requests.iter().map(|request| request.range.is_some()).collect();
        assert_eq!(ranges, [false, true], "what was here is not loaded again");
        assert_eq!(installer.calls(), ["check", "install", "restart", "status", "confirm"]);
        assert_eq!(installer.installed(), file);
        assert_eq!((house.rig.starts(), house.deli.heard(105).len()), (3, 0));
        house.finish().await
    });
}

#[test]
fn a_success_that_the_platform_did_not_acknowledge_is_told_after_the_next_start() {
    check(async || {
        let mut house = Storehouse::online(AT_ONCE).await?;
        let firmware = house.store(MCU, &image(5000, MCU_VERSION), "mcu", MCU_VERSION)?;
        house.files.hold_after(MCU, 1000);
        house.deli.release(firmware);
        house.rig.within(LIMIT, "the download", house.files.until_held(MCU, 1000)).await?;
        house.deli.change(|behaviour| behaviour.silent_requests = u32::MAX);
        house.files.release(MCU);
        assert_eq!(house.outcome().await?, Ok(()));
        house.rig.kill().await?;
        house.deli.change(|behaviour| behaviour.silent_requests = 0);
        let told = house.deli.heard(101).len();
        house.rig.start()?;
        let again = house.deli.until_heard(101, |heard| heard.len() > told);
        house.rig.within(LIMIT, "the version to be told again", again).await?;
        house.is_acknowledged().await?;
        assert_eq!(house.files.requests(MCU).len(), 1);
        house.finish().await
    });
}

/// The night itself is nothing to wait for here: that the moment lies in the window, and that the host begins then, is tried
/// in virtual time, and that it begins at a moment by the windows of Clife.
#[test]
fn a_normal_upgrade_waits_for_its_night_over_a_restart_and_a_forced_one_takes_its_place() {
    check(async || {
        let night = format!("ota_window_start = \"{:02}:00\"\nota_force_spread_s = 0\n", in_hours(12));
        let mut house = Storehouse::build(&night).await?;
        house.rig.start()?;
        house.is_known().await?;
        let forced = house.store(MCU, &image(5000, MCU_VERSION), "mcu", MCU_VERSION)?;
        let normal = Firmware { upgrade_type: "normal".to_owned(), ..forced.clone() };
        house.deli.release(normal.clone());
        let plan = house.rig.dir().join("state/store/deli/ota_plan.value");
        house.rig.until("the moment to be drawn and stored", |_| plan.exists()).await?;
        house.shows(&format!("{MCU_VERSION}: waiting")).await?;
        let drawn = std::fs::read(&plan).expect("it was there a moment ago");
        house.report(20).await?;
        house.all_arrived().await?;
        house.rig.kill().await?;
        let known = house.deli.heard(102).len();
        house.rig.start()?;
        let asked = house.deli.until_heard(103, |heard| heard.len() > 1);
        house.rig.within(LIMIT, "a question after the restart", asked).await?;
        assert!(house.deli.heard(102).len() > known, "it is the record that names the version");
        house.announce(MCU_VERSION).await?;
        house.shows(&format!("{MCU_VERSION}: waiting")).await?;
        assert_eq!(std::fs::read(&plan).expect("it was there before"), drawn, "the moment is drawn once");
        assert_eq!(house.rig.status().await?["updates"].as_array().map(Vec::len), Some(1));
        assert_eq!(house.files.requests(MCU).len(), 0);
        house.deli.release(forced);
        assert_eq!(house.outcome().await?, Ok(()));
        house.is_acknowledged().await?;
        assert_eq!((house.mcu.software(), house.files.requests(MCU).len()), (MCU_VERSION.to_owned(), 1));
        assert_eq!(house.deli.heard(105).len(), 0);
        house.finish().await
    });
}

/// Brings out this firmware, whose alarm must say this; then the same again, which is not tried again.
#[track_caller]
fn check_failure(
    settings: &str,
    trouble: impl AsyncFnOnce(&Storehouse) -> Result<Firmware, RigError>,
    says: &str,
    n_requests: usize,
) {
    check(async || {
        let house = Storehouse::online(settings).await?;
        // Text 1.1 misprints the answer to the alarm as that to an unbinding, which it must not be taken for.
        house.deli.change(|behaviour| behaviour.answer_105_as_104 = true);
        let firmware = trouble(&house).await?;
        house.deli.release(firmware.clone());
        let reason = house.outcome().await?.expect_err("it cannot be done");
        assert!(reason.starts_with(&firmware.version) && reason.contains(says), "{reason}");
        house.is_acknowledged().await?;
        house.announce(&firmware.version).await?;
        house.report(5).await?;
        house.all_arrived().await?;
        assert_eq!((house.deli.heard(105).len(), house.deli.heard(104).len()), (1, 0));
        let path = if settings == AT_ONCE { MCU } else { MODULE };
        assert_eq!(house.files.requests(path).len(), n_requests);
        assert_eq!(house.mcu.software(), FIRST_SOFTWARE);
        house.finish().await
    });
}

#[test]
fn a_file_that_is_not_the_promised_one_is_a_failure_in_the_clouds_words() {
    let other = async |house: &Storehouse| {
        let firmware = house.store(MCU, &image(5000, MCU_VERSION), "mcu", MCU_VERSION)?;
        house.files.misbehave(MCU, Fault::WrongBytes);
        Ok(firmware)
    };
    // A wrong file may be the network's fault once.
    check_failure(AT_ONCE, other, "it is not what was promised", 2);
}

#[test]
fn a_file_that_is_not_there_is_a_failure_in_the_clouds_words() {
    let missing = async |house: &Storehouse| {
        let firmware = house.store(MCU, &image(5000, MCU_VERSION), "mcu", MCU_VERSION)?;
        house.files.misbehave(MCU, Fault::Status { status: 404, retry_after_s: None });
        Ok(firmware)
    };
    check_failure(AT_ONCE, missing, "it could not be loaded", 1);
}

#[test]
fn a_file_that_its_owner_did_not_sign_is_a_failure_in_the_clouds_words() {
    let unsigned = async |house: &Storehouse| {
        let file = image(5000, MCU_VERSION);
        let url = house.files.serve(MCU, file.clone());
        Ok(Firmware::of(MCU_VERSION, "force", &url, &file))
    };
    check_failure(AT_ONCE, unsigned, "the owner's rules forbid it", 1);
}

#[test]
fn an_mcu_that_refuses_is_a_failure_in_the_clouds_words() {
    let refused = async |house: &Storehouse| {
        house.mcu.change_firmware(|manners| manners.trouble = Some(Trouble::Refuses));
        house.store(MCU, &image(5000, MCU_VERSION), "mcu", MCU_VERSION)
    };
    check_failure(AT_ONCE, refused, "it could not be installed", 1);
}

#[test]
fn a_module_that_has_nothing_to_install_with_says_so_before_anything_is_loaded() {
    let module = async |house: &Storehouse| house.store(MODULE, b"a release", "module", "1.1");
    check_failure("ota_target = \"module\"\nota_force_spread_s = 0\n", module, "this device cannot install it", 0);
}

/// The module's update program does not succeed.
#[track_caller]
fn check_installer(told: fn(&Installer) -> Result<(), RigError>, calls: &[&str], starts: usize) {
    check(async || {
        let (house, installer) = Storehouse::with_installer().await?;
        told(&installer)?;
        house.deli.release(house.store(MODULE, b"a release", "module", "1.1")?);
        let reason = house.outcome().await?.expect_err("it is not to succeed");
        assert!(reason.starts_with("1.1: it could not be installed"), "{reason}");
        house.is_acknowledged().await?;
        assert_eq!(
            (installer.calls(), house.rig.starts()),
            (calls.iter().map(|&call| call.to_owned()).collect(), starts)
        );
        house.finish().await
    });
}

#[test]
fn an_update_program_that_fails_changes_nothing() {
    check_installer(|installer| installer.says("install", 1), &["check", "install"], 1);
}

#[test]
fn a_module_that_does_not_come_up_with_the_new_version_says_so_with_the_old_one() {
    check_installer(Installer::steps_back, &["check", "install", "restart", "status"], 2);
}

/// The hour of the day, by UTC, in so many hours.
fn in_hours(n: u64) -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() / 3600 + n) % 24
}

/// The settings of a device that begins with a forced upgrade at once.
const AT_ONCE: &str = "ota_force_spread_s = 0\n";
/// What the MCU does not run.
const MCU_VERSION: &str = "POLYSW02";
/// Path of the MCU's firmware.
const MCU: &str = "/mcu.bin";
/// Path of the module's.
const MODULE: &str = "/module.bin";
