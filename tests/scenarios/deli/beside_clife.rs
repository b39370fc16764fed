//! Two clouds that order firmware at the same time: the device has one update after the other, and each cloud hears of its own.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::clife::files::Image;
use polylink_testbed::clouds::clife::{Clife, Seen};
use polylink_testbed::clouds::deli::Deli;
use polylink_testbed::clouds::deli::behaviour::Firmware;
use polylink_testbed::clouds::deli::upgrades::Upgrade;
use polylink_testbed::demo::product;
use polylink_testbed::file_server::FileServer;
use polylink_testbed::mcu::firmware::image;
use polylink_testbed::owner::Owner;
use polylink_testbed::rig::LIMIT;
use serde_json::{Value as Json, json};

use crate::set::{CLIFE, DELI, Set, binaries, check, failed};

#[test]
fn of_two_clouds_that_order_at_once_one_waits_for_the_other() {
    check(async || {
        let deli = Deli::start(product::COUNTER).map_err(failed)?;
        let clife = Clife::start(product::COUNTER).map_err(failed)?;
        let files = FileServer::start().map_err(failed)?;
        let owner = Owner::new(&binaries(&[])?)?;
        let sections = format!("{}ota_force_spread_s = 0\n\n{}", deli.product_section(), clife.product_section());
        let mut set = Set::new(&sections, DELI, |files| {
            files.plugins.push(CLIFE.to_owned());
            files.overlay = format!("[update]\nkeys = [\"{}\"]\n", owner.public_key());
        })?;
        set.online(&deli).await?;
        set.heard(clife.ledger(), "Clife to see the device", |entries| entries.online).await?;
        set.rig.within(LIMIT, "the record", deli.until_heard(102, |heard| !heard.is_empty())).await?;

        let key = &product::schema().product_key;
        let first = owner.sign(&image(20_000, "POLYSW02"), key, "mcu", "POLYSW02", 1)?;
        let second = owner.sign(&image(20_000, "POLYSW03"), key, "mcu", "POLYSW03", 2)?;
        let url = files.serve("/first.bin", first.clone());
        files.hold_after("/first.bin", 10_000);
        deli.release(Firmware::of("POLYSW02", "force", &url, &first));
        set.rig.within(LIMIT, "the first download", files.until_held("/first.bin", 10_000)).await?;
        let (software, hardware) = ("POLYSW03".to_owned(), "POLYHW01".to_owned());
        let order = clife.order_upgrade(2, &[Image { dev_num: Some(1), software, hardware, body: second }], None);
        let order = order.map_err(|why| set.rig.error(why))?;
        let states = |status: &Json| {
            let updates = status["updates"].as_array().cloned().unwrap_or_default();
            updates.iter().map(|update| (update["cloud"].clone(), update["state"].clone())).collect::<Vec<_>>()
        };
        let both = |status: &Json| {
            let mut states = states(status);
            states.sort_by_key(|(cloud, _)| cloud.to_string());
            states == [(json!("clife"), json!("waiting")), (json!("deli"), json!("loading"))]
        };
        set.rig.until("one to be loaded and the other to wait", both).await?;
        assert!(clife.files().requests("/0.bin").is_empty());
        assert!(!clife.seen().operations.contains_key(&order), "nothing has begun that could be told");

        files.release("/first.bin");
        let is_over = |upgrades: &[Upgrade]| upgrades.iter().any(|upgrade| upgrade.outcome == Some(Ok(())));
        set.rig.within(LIMIT, "Deli's upgrade to be over", deli.until_upgrades(is_over)).await?;
        let is_done = |seen: &Seen| seen.operations.get(&order).is_some_and(|order| order.outcome == Some(Ok(())));
        set.rig.within(LIMIT, "Clife's upgrade to be over", clife.until(is_done)).await?;
        set.rig.until("both to be acknowledged", |status| states(status).is_empty()).await?;
        assert_eq!(set.mcu.with_log(|log| log.firmware.runs.clone()), ["POLYSW02", "POLYSW03"]);
        set.finish(&deli, &[&clife]).await
    });
}
