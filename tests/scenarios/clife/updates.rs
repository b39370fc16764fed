//! Firmware that the Clife platform orders (2019): its events (2018), each once and under the number of the request, several
//! files, time windows, and how all of it goes on over a restart. The simulated platform judges the order of the events.

use std::ops::{Deref, DerefMut};

use polylink_testbed::clouds::clife::Seen;
use polylink_testbed::clouds::clife::files::{Image, upgrade};
use polylink_testbed::clouds::clife::product::Product;
use polylink_testbed::demo::product;
use polylink_testbed::file_server::Fault;
use polylink_testbed::installer::Installer;
use polylink_testbed::mcu::firmware::{Trouble, image};
use polylink_testbed::owner::Owner;
use polylink_testbed::rig::RigError;
use polylink_testbed::rig::files::Files;
use serde_json::{Value as Json, json};

use super::{Room, facts};
use crate::set::{binaries, check};

/// A room with an owner whom the device trusts.
struct Workshop {
    room: Room,
    owner: Owner,
}

impl Workshop {
    /// Furnishes it for a device whose MCU can be updated and whose module cannot; nothing runs yet.
    fn furnish(settings: &str) -> Result<Self, RigError> {
        let owner = Owner::new(&binaries(&[])?)?;
        let product = Product { more_settings: settings.to_owned(), ..Product::default() };
        let trust = |files: &mut Files| {
            files.overlay = format!("[update]\nkeys = [\"{}\"]\nretry_s = 1\n", owner.public_key());
        };
        Ok(Self { room: Room::furnish_with(product, trust)?, owner })
    }

    async fn online(settings: &str) -> Result<Self, RigError> {
        let mut shop = Self::furnish(settings)?;
        shop.rig.start()?;
        shop.is_there().await?;
        Ok(shop)
    }

    /// The same for a device whose module has an update program; a service manager keeps its host running.
    async fn with_installer() -> Result<(Self, Installer), RigError> {
        let mut shop = Self::furnish("")?;
        let installer = Installer::put_acting(&shop.rig, &shop.owner)?;
        shop.rig.start_service()?;
        shop.is_there().await?;
        Ok((shop, installer))
    }

    /// Waits until the cloud sees the device, and the MCU has told what it runs.
    async fn is_there(&self) -> Result<(), RigError> {
        self.cloud("the device", |entries| entries.online).await?;
        self.device("the MCU's version", |log| log.told_version.is_some()).await
    }

    /// The firmware with the manifest of its owner behind it.
    fn signed(&self, firmware: &[u8], dev_num: i64, software: &str) -> Result<Image, RigError> {
        let target = if dev_num == 0 { "module" } else { "mcu" };
        let body = self.owner.sign(firmware, &product::schema().product_key, target, software, 1)?;
        Ok(unsigned(&body, dev_num, software))
    }

    /// An order for the MCU, as the platform sends it; its file is at `/0.bin`.
    fn order_of_mcu(&self) -> Result<Json, RigError> {
        let image = self.signed(&image(20_000, MCU_VERSION), 1, MCU_VERSION)?;
        let url = self.clife.put_file(&image.body);
        Ok(upgrade(2, &[image], &[&url], None))
    }

    /// Waits until an operation is over; its events, but for additional progress.
    async fn over(&self, id: i64) -> Result<Vec<(i64, String)>, RigError> {
        let is_over = |seen: &Seen| seen.operations.get(&id).is_some_and(|operation| operation.outcome.is_some());
        self.seen("the operation to be over", is_over).await?;
        let events = self.clife.seen().operations[&id].events.clone();
        let is_required = |(code, text): &(i64, String)| !matches!(code, 0 | 1) || matches!(&**text, "1" | "100");
        Ok(events.into_iter().filter(is_required).collect())
    }

    /// Orders, waits for the end, and expects these events.
    async fn tells(&self, order: &Json, expected: &[(i64, &str)]) -> Result<(), RigError> {
        let id = self.said(self.clife.file_operation(order))?;
        assert_eq!(self.over(id).await?, events(expected));
        Ok(())
    }

    /// Waits until the device says that this runs: the version of the product, and of one of its parts.
    async fn runs(&self, product: i64, dev_num: i64, software: &str) -> Result<(), RigError> {
        let says = |seen: &Seen| {
            let versions = seen.versions.back();
            versions.is_some_and(|versions| {
                let mut modules = versions.modules.iter();
                versions.product == product
                    && modules.any(|module| module.number == dev_num && module.software == software)
            })
        };
        self.seen(&format!("version {software} of part {dev_num}"), says).await
    }

    /// Waits until the plugin shows this of the operation; empty: none is under way.
    async fn shows(&self, text: &str) -> Result<(), RigError> {
        let shown = |status: &Json| facts(status)["file_operation"].as_str().unwrap_or_default() == text;
        self.rig.until(&format!("the status to show {text:?}"), shown).await.map(drop)
    }

    /// The file server holds a download after so many bytes.
    async fn is_held(&self, bytes: usize) -> Result<(), RigError> {
        let held = self.clife.files().until_held(FILE, bytes);
        self.rig.within(polylink_testbed::rig::LIMIT, "the download", held).await
    }

    fn fetched(&self) -> usize {
        self.clife.files().requests(FILE).len()
    }

    async fn finish(self) -> Result<(), RigError> {
        assert_eq!(self.clife.files().violations(), Vec::<String>::new(), "seen by the file server");
        self.room.finish().await
    }
}

impl Deref for Workshop {
    type Target = Room;

    fn deref(&self) -> &Room {
        &self.room
    }
}

impl DerefMut for Workshop {
    fn deref_mut(&mut self) -> &mut Room {
        &mut self.room
    }
}

fn unsigned(body: &[u8], dev_num: i64, software: &str) -> Image {
    let hardware = if dev_num == 0 { "00000001" } else { "POLYHW01" };
    let dev_num = (dev_num > 0).then_some(dev_num);
    Image { dev_num, software: software.to_owned(), hardware: hardware.to_owned(), body: body.to_vec() }
}

fn events(events: &[(i64, &str)]) -> Vec<(i64, String)> {
    events.iter().map(|(code, text)| (*code, (*text).to_owned())).collect()
}

#[test]
fn firmware_of_the_mcu_is_installed_and_its_version_told() {
    check(async || {
        let shop = Workshop::online("").await?;
        shop.tells(&shop.order_of_mcu()?, &ALL).await?;
        shop.runs(2, 1, MCU_VERSION).await?;
        shop.shows("").await?;
        // What runs is not loaded again; the versions are the answer.
        shop.tells(&shop.order_of_mcu()?, &[(3, "ver")]).await?;
        let query = shop.said(shop.clife.query_versions())?;
        assert_eq!(shop.over(query).await?, events(&[(3, "ver")]));
        let versions = shop.clife.seen().versions.pop_back().expect("it was just told");
        let modules: Vec<_> = versions.modules.iter().map(|module| (module.number, &*module.software)).collect();
        assert_eq!((versions.product, modules), (2, vec![(0, "04020006"), (1, MCU_VERSION)]));
        assert_eq!(shop.fetched(), 1);
        shop.reports_arrive(20).await?;
        shop.finish().await
    });
}

#[test]
fn several_firmwares_are_one_operation_that_goes_on_over_the_restart_of_the_module() {
    check(async || {
        let (shop, installer) = Workshop::with_installer().await?;
        let images =
            [shop.signed(b"a release", 0, "04020007")?, shop.signed(&image(20_000, MCU_VERSION), 1, MCU_VERSION)?];
        let id = shop.said(shop.clife.order_upgrade(2, &images, None))?;
        assert_eq!(shop.over(id).await?, events(&ALL));
        shop.runs(2, 0, "04020007").await?;
        shop.runs(2, 1, MCU_VERSION).await?;
        assert_eq!(installer.calls(), ["check", "install", "restart", "status", "confirm"]);
        assert_eq!((installer.installed(), shop.rig.starts()), (b"a release".to_vec(), 2));
        shop.finish().await
    });
}

#[test]
fn an_operation_goes_on_after_a_crash_and_tells_nothing_twice() {
    check(async || {
        let mut shop = Workshop::online("").await?;
        let order = shop.order_of_mcu()?;
        shop.clife.files().hold_after(FILE, 10_000);
        let id = shop.said(shop.clife.file_operation(&order))?;
        shop.is_held(10_000).await?;
        let has_begun = |seen: &Seen| seen.operations.get(&id).is_some_and(|operation| !operation.events.is_empty());
        shop.seen("the first event", has_begun).await?;
        shop.shows("upgrade to version 2: under way").await?;
        shop.stored("file_operation").await?;
        shop.rig.kill().await?;
        shop.rig.start()?;
        shop.cloud("the device to be back", |entries| entries.online && entries.sessions == 2).await?;
        // The platform repeats its order too, since the broker does.
        shop.said(shop.clife.repeat(id))?;
        shop.clife.files().release(FILE);
        assert_eq!(shop.over(id).await?, events(&ALL));
        shop.runs(2, 1, MCU_VERSION).await?;
        shop.finish().await
    });
}

#[test]
fn an_installation_that_a_crash_interrupts_is_done_again_and_told_once() {
    check(async || {
        let mut shop = Workshop::online("").await?;
        shop.mcu.change_firmware(|manners| manners.trouble = Some(Trouble::NeverReady));
        let order = shop.order_of_mcu()?;
        let id = shop.said(shop.clife.file_operation(&order))?;
        let installs = |seen: &Seen| {
            seen.operations.get(&id).is_some_and(|operation| operation.events.contains(&(0, "1".to_owned())))
        };
        shop.seen("the installation to begin", installs).await?;
        shop.device("the announcement", |log| !log.firmware.announced.is_empty()).await?;
        shop.rig.kill().await?;
        shop.mcu.change_firmware(|manners| manners.trouble = None);
        shop.rig.start()?;
        assert_eq!(shop.over(id).await?, events(&ALL));
        shop.runs(2, 1, MCU_VERSION).await?;
        assert_eq!((shop.fetched(), shop.mcu.with_log(|log| log.firmware.received.len())), (1, 1));
        shop.finish().await
    });
}

#[test]
fn md5_and_sum_are_both_compared() {
    for (member, value) in [("md5", json!("0cc175b9c0f1b6a831c399e269772661")), ("checkSum", json!(4711))] {
        check(async || {
            let shop = Workshop::online("").await?;
            let mut order = shop.order_of_mcu()?;
            order["fileInfo"][0][member] = value.clone();
            shop.tells(&order, &[(1, "1"), (1, "100"), (-1, "2")]).await?;
            shop.shows("").await?;
            // Nothing is left of it: the right order is carried out.
            shop.tells(&shop.order_of_mcu()?, &ALL).await?;
            shop.finish().await
        });
    }
}

#[test]
fn a_file_that_is_not_there_or_another_order_meanwhile_is_told_as_a_wrong_address_or_a_busy_device() {
    check(async || {
        let shop = Workshop::online("").await?;
        let order = shop.order_of_mcu()?;
        shop.clife.files().misbehave_once(FILE, Fault::Status { status: 404, retry_after_s: None });
        shop.tells(&order, &[(-1, "0")]).await?;
        shop.shows("").await?;
        shop.clife.files().hold_after(FILE, 10_000);
        let id = shop.said(shop.clife.file_operation(&order))?;
        shop.is_held(10_000).await?;
        shop.tells(&order, &[(-1, "0")]).await?;
        let query = shop.said(shop.clife.query_versions())?;
        assert_eq!(shop.over(query).await?, events(&[(3, "ver")]));
        shop.clife.files().release(FILE);
        assert_eq!(shop.over(id).await?, events(&ALL));
        shop.finish().await
    });
}

#[test]
fn what_the_owner_forbids_or_nothing_installs_is_refused_with_the_reason() {
    check(async || {
        let shop = Workshop::online("").await?;
        let unsigned_mcu = unsigned(&image(20_000, MCU_VERSION), 1, MCU_VERSION);
        for (image, expected) in [
            (unsigned_mcu, &[(1, "1"), (-1, "the rules of the owner forbid it")][..]),
            (shop.signed(b"a release", 0, "04020007")?, &[(-1, "this device cannot install it")]),
            (unsigned(b"", 2, "1"), &[(-1, "unknown devNum")]),
            (Image { hardware: "OTHER".to_owned(), ..unsigned(b"", 1, "1") }, &[(-1, "hardware mismatch")]),
        ] {
            let id = shop.said(shop.clife.order_upgrade(2, &[image], None))?;
            assert_eq!(shop.over(id).await?, events(expected));
            shop.shows("").await?;
        }
        assert_eq!(shop.mcu.with_log(|log| log.firmware.announced.len()), 0);
        shop.finish().await
    });
}

#[test]
fn an_mcu_that_gives_up_interrupts_the_installation() {
    check(async || {
        let shop = Workshop::online("").await?;
        shop.mcu.change_firmware(|manners| manners.trouble = Some(Trouble::Refuses));
        shop.tells(&shop.order_of_mcu()?, &BROKEN_OFF).await?;
        shop.mcu.change_firmware(|manners| manners.trouble = None);
        shop.tells(&shop.order_of_mcu()?, &ALL).await?;
        shop.finish().await
    });
}

/// The module's update program does not succeed.
#[track_caller]
fn check_installer(told: fn(&Installer) -> Result<(), RigError>) {
    check(async || {
        let (shop, installer) = Workshop::with_installer().await?;
        told(&installer)?;
        let image = shop.signed(b"a release", 0, "04020007")?;
        let id = shop.said(shop.clife.order_upgrade(2, &[image], None))?;
        assert_eq!(shop.over(id).await?, events(&BROKEN_OFF));
        shop.shows("").await?;
        let query = shop.said(shop.clife.query_versions())?;
        shop.over(query).await?;
        shop.runs(1, 0, "04020006").await?;
        shop.finish().await
    });
}

#[test]
fn an_update_program_that_fails_interrupts_the_installation() {
    check_installer(|installer| installer.says("install", 1));
}

#[test]
fn a_module_that_does_not_come_up_with_the_new_version_says_so_with_the_old_one() {
    check_installer(Installer::steps_back);
}

#[test]
fn a_window_that_is_over_or_turned_round_is_refused_and_one_that_opens_now_is_used() {
    check(async || {
        let shop = Workshop::online("").await?;
        let order = shop.order_of_mcu()?;
        let within = |start: i64, stop: i64| {
            let mut order = order.clone();
            order["startTime"] = json!(start);
            order["stopTime"] = json!(stop);
            order
        };
        shop.tells(&within(-600, -10), &[(-1, "time window expired")]).await?;
        shop.tells(&within(10, 5), &[(-1, "bad time window")]).await?;
        assert_eq!(shop.fetched(), 0);
        shop.tells(&within(-600, 600), &ALL).await?;
        shop.finish().await
    });
}

#[test]
fn an_upgrade_waits_for_its_window_also_over_a_restart() {
    check(async || {
        let mut shop = Workshop::online("").await?;
        let mut order = shop.order_of_mcu()?;
        (order["startTime"], order["stopTime"]) = (json!(4), json!(600));
        let id = shop.said(shop.clife.file_operation(&order))?;
        shop.shows("upgrade to version 2: waiting").await?;
        shop.stored("file_operation").await?;
        shop.rig.kill().await?;
        shop.rig.start()?;
        assert_eq!(shop.over(id).await?, events(&ALL));
        shop.runs(2, 1, MCU_VERSION).await?;
        shop.finish().await
    });
}

#[test]
fn a_transfer_that_is_not_complete_at_the_end_of_its_window_is_broken_off() {
    check(async || {
        let shop = Workshop::online("").await?;
        let mut order = shop.order_of_mcu()?;
        order["stopTime"] = json!(2);
        shop.clife.files().hold_after(FILE, 10_000);
        shop.tells(&order, &[(1, "1"), (-1, "1")]).await?;
        shop.shows("").await?;
        shop.clife.files().release(FILE);
        assert_eq!(shop.mcu.with_log(|log| log.firmware.announced.len()), 0);
        shop.finish().await
    });
}

#[test]
fn a_device_asks_for_an_upgrade_once_and_is_given_one() {
    check(async || {
        let mut shop = Workshop::online("ota_ask = \"all\"\n").await?;
        shop.seen("the question", |seen| seen.upgrade_requests == ["ALL"]).await?;
        shop.tells(&shop.order_of_mcu()?, &ALL).await?;
        shop.runs(2, 1, MCU_VERSION).await?;
        shop.stored("upgrade_asked").await?;
        shop.rig.kill().await?;
        shop.cloud("the device to be gone", |entries| !entries.online).await?;
        shop.rig.start()?;
        shop.cloud("the device to be back", |entries| entries.online).await?;
        shop.reports_arrive(20).await?;
        assert_eq!(shop.clife.seen().upgrade_requests.len(), 1);
        shop.finish().await
    });
}

/// The events of an upgrade that succeeds (Clife protocol, 8.2).
const ALL: [(i64, &str); 4] = [(1, "1"), (1, "100"), (0, "1"), (0, "100")];
/// Those of one whose installation fails.
const BROKEN_OFF: [(i64, &str); 4] = [(1, "1"), (1, "100"), (0, "1"), (-1, "1")];
/// What the MCU does not run.
const MCU_VERSION: &str = "POLYSW02";
/// The first file that the platform stores.
const FILE: &str = "/0.bin";
