//! Firmware for the devices behind an MCU that is a gateway: the Clife platform orders it, a program of the product installs
//! it, and the MCU says what runs then.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::clife::files::Image;
use polylink_testbed::clouds::clife::product::Product;
use polylink_testbed::clouds::clife::{Clife, Seen};
use polylink_testbed::demo::product::COUNTER;
use polylink_testbed::installer::{Installer, RUNS};
use polylink_testbed::mcu::jsonl::JsonMcu;
use polylink_testbed::owner::Owner;
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};
use serde_json::{Value as Json, json};

use crate::set::{CLIFE, binaries, check, failed};

/// A host, such an MCU, the product's own program for updates, and the Clife cloud.
struct House {
    rig: Rig,
    mcu: JsonMcu,
    clife: Clife,
    owner: Owner,
    installer: Installer,
}

impl House {
    /// Builds it with these behind the MCU, and waits until the cloud sees the device and the host all of them.
    async fn online(behind: &[(u64, Json)]) -> Result<Self, RigError> {
        let product = Product { points: vec![("power".to_owned(), 1)], ..Product::default() };
        let clife = Clife::start_with(COUNTER, product).map_err(failed)?;
        let mcu = JsonMcu::start(KEY).map_err(failed)?;
        for (index, said) in behind {
            mcu.subdevice(*index, said);
        }
        let files = Files {
            link: "jsonl".to_owned(),
            port: mcu.port(),
            product_key: KEY.to_owned(),
            product: format!("{PRODUCT}{}", clife.product_section()),
            plugins: vec![CLIFE.to_owned()],
            ..Files::default()
        };
        let rig = Rig::new(&binaries(&[])?, &files)?;
        let owner = Owner::new(&binaries(&[])?)?;
        let installer = Installer::put(&rig, &owner)?;
        let mut house = Self { rig, mcu, clife, owner, installer };
        house.rig.start()?;
        let online = house.clife.ledger().until(|entries| entries.online);
        house.rig.within(LIMIT, "the cloud to see the device", online).await?;
        let all = |status: &Json| status["subdevices"].as_array().map_or(0, Vec::len) == behind.len();
        house.rig.until("all subdevices", all).await?;
        Ok(house)
    }

    /// Firmware with the manifest of its owner behind it.
    fn signed(&self, dev_num: i64, software: &str) -> Result<Image, RigError> {
        let body = self.owner.sign(software.as_bytes(), KEY, "subdevice", software, 1)?;
        Ok(Image { dev_num: Some(dev_num), software: software.to_owned(), hardware: "1.0".to_owned(), body })
    }

    fn order(&self, product: i64, images: &[Image]) -> Result<i64, RigError> {
        self.clife.order_upgrade(product, images, None).map_err(|why| self.rig.error(why))
    }

    async fn seen(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.clife.until(condition)).await
    }

    /// Waits until an operation is over, and expects these events but for additional progress.
    async fn tells(&self, id: i64, expected: &[(i64, &str)]) -> Result<(), RigError> {
        let is_over = |seen: &Seen| seen.operations.get(&id).is_some_and(|operation| operation.outcome.is_some());
        self.seen("the operation to be over", is_over).await?;
        let events = self.clife.seen().operations[&id].events.clone();
        let is_required = |(code, text): &&(i64, String)| !matches!(code, 0 | 1) || matches!(&**text, "1" | "100");
        let events: Vec<_> = events.iter().filter(is_required).map(|(code, text)| (*code, text.as_str())).collect();
        assert_eq!(events, expected);
        Ok(())
    }

    /// Waits until the device says that these are behind it, by their numbers, with their versions.
    async fn has_behind_it(&self, product: i64, parts: &[(i64, &str)]) -> Result<(), RigError> {
        let says = |seen: &Seen| {
            seen.versions.back().is_some_and(|versions| {
                // 0 and 1 are the module and the MCU.
                let subdevices = versions.modules.iter().filter(|module| module.number > 1);
                let told = subdevices.map(|module| (module.number, module.software.as_str()));
                versions.product == product && told.eq(parts.iter().copied())
            })
        };
        self.seen(&format!("version {product} of {parts:?}"), says).await
    }

    async fn finish(mut self) -> Result<(), RigError> {
        let status = self.rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        assert_eq!(self.mcu.log().violations, Vec::<String>::new(), "seen by the MCU");
        assert_eq!(self.clife.files().violations(), Vec::<String>::new(), "seen by the file server");
        let violations = self.clife.ledger().with(|entries| entries.violations.clone());
        assert_eq!(violations, Vec::<String>::new(), "seen by the cloud");
        Ok(())
    }
}

#[test]
fn firmware_of_subdevices_is_installed_by_the_products_program_and_told_when_the_mcu_says_so() {
    check(async || {
        let house = House::online(&[(1, lamp("1.0")), (3, lamp("1.0"))]).await?;
        house.installer.says("install", RUNS)?;
        let id = house.order(2, &[house.signed(4, "1.1")?, house.signed(2, "1.1")?])?;
        house.tells(id, &ALL).await?;
        assert_eq!(house.installer.targets(), ["subdevice 3", "subdevice 1"]);
        assert_eq!(house.installer.installed(), b"1.1");
        house.mcu.subdevice(1, &lamp("1.1"));
        house.mcu.subdevice(3, &lamp("1.1"));
        house.has_behind_it(2, &[(2, "1.1"), (4, "1.1")]).await?;
        // What runs is not loaded again.
        let id = house.order(2, &[house.signed(4, "1.1.0.0")?])?;
        house.tells(id, &[(3, "ver")]).await?;
        assert_eq!(house.installer.targets().len(), 2);
        house.finish().await
    });
}

#[test]
fn one_that_is_not_there_or_out_of_reach_or_whose_program_fails_is_told_with_the_reason() {
    check(async || {
        let mut away = lamp("1.0");
        away["online"] = json!(false);
        let mut asks = lamp("1.0");
        asks["accepted"] = json!(false);
        let house = House::online(&[(1, lamp("1.0")), (2, away), (3, asks)]).await?;
        for (dev_num, why) in [(3, "the subdevice is offline"), (4, "unknown devNum"), (5, "unknown devNum")] {
            let id = house.order(2, &[house.signed(dev_num, "1.1")?])?;
            house.tells(id, &[(-1, why)]).await?;
        }
        house.installer.says("install", 1)?;
        let id = house.order(2, &[house.signed(2, "1.1")?])?;
        house.tells(id, &[(1, "1"), (1, "100"), (0, "1"), (-1, "1")]).await?;
        assert_eq!(house.installer.targets(), ["subdevice 1"]);
        house.finish().await
    });
}

/// What the MCU says of a lamp that belongs to it.
fn lamp(version: &str) -> Json {
    json!({"product": "LAMP", "address": "001122", "accepted": true, "online": true, "version": version})
}

/// The events of an upgrade that succeeds (Clife protocol, 8.2).
const ALL: [(i64, &str); 4] = [(1, "1"), (1, "100"), (0, "1"), (0, "100")];

const KEY: &str = "house-1";

const PRODUCT: &str = r#"
[product]
key = "house-1"
name = "House"

[[property]]
name = "power"
type = "bool"
writable = true

"#;
