//! Orders that come again, in place of others, and for what cannot be installed.

use polylink_testbed::clouds::lierda::firmware::{Image, path_of};
use polylink_testbed::clouds::lierda::product::Product;
use serde_json::json;

use super::super::{Site, facts};
use super::{Upgradable, n_told};
use crate::set::check;

#[test]
fn where_nothing_installs_releases_an_order_has_failed_at_once() {
    check(async || {
        let site = Site::online(Product::default(), "modules = { default = \"module\" }\n").await?;
        site.seen("the version", |seen| seen.versions.contains_key("default")).await?;
        let image = Image { module: None, version: "9".to_owned(), name: None, body: b"a release".to_vec() };
        let (_, down_id) = site.lierda.order_upgrade(&image).map_err(|why| site.rig.error(why))?;
        site.seen("the end", |seen| seen.upgrades[0].succeeded == Some(false)).await?;
        assert_eq!(site.lierda.files().requests(&path_of(&down_id)), []);
        site.rig.said("nothing installs images for the module here").await?;
        site.finish().await
    });
}

#[test]
fn an_order_that_makes_no_sense_is_acknowledged_and_answered_by_the_versions_that_run() {
    check(async || {
        let device = Upgradable::online("").await?;
        let right = json!({"Type": 2, "Url": "http://127.0.0.1:1/image", "SoftVer": "9", "SoftSize": 10,
            "MD5": "0cc175b9c0f1b6a831c399e269772661", "DownID": "D"});
        for (n, (member, wrong)) in
            [("Url", json!("ftp://h/x")), ("MD5", json!(1)), ("Module", json!("none"))].into_iter().enumerate()
        {
            let mut order = right.clone();
            order["DownID"] = json!(format!("D{n}"));
            order[member] = wrong;
            let [mcu, wifi] = n_told(&device.site.lierda.seen());
            let id = device.site.lierda.order(&order).map_err(|why| device.site.rig.error(why))?;
            device.knows("the acknowledgement", |seen| seen.answers.contains_key(&id)).await?;
            device.knows("the versions", |seen| n_told(seen) == [mcu + 1, wifi + 1]).await?;
        }
        device.finish().await
    });
}

#[test]
fn a_platform_that_orders_by_each_version_that_it_hears_is_not_answered_for_ever() {
    check(async || {
        let device = Upgradable::online("").await?;
        device.site.lierda.change(|behaviour| behaviour.insists = true);
        let unsigned = Image { body: b"nobody's".to_vec(), ..device.for_mcu("04020099")? };
        let down_id = device.site.lierda.plan_upgrade(&unsigned);
        device.site.lierda.ask_versions().map_err(|why| device.site.rig.error(why))?;
        // The end of the first, an answer to the second, and from the third on there are pauses.
        let upgrade = |n: u32| device.upgrade(&down_id, "the order again", move |upgrade| upgrade.n_orders >= n);
        upgrade(3).await?;
        device.forgotten().await?;
        device.site.reports_arrive(100).await?;
        let n_orders = upgrade(3).await?.n_orders;
        assert!(n_orders < 20, "ordered {n_orders} times");
        assert_eq!(device.downloads(&down_id), [(None, 200)]);
        device.finish().await
    });
}

#[test]
fn an_order_that_comes_again_while_it_is_carried_out_changes_nothing_but_the_address() {
    check(async || {
        let device = Upgradable::online("").await?;
        let image = device.for_mcu("04020099")?;
        let files = device.site.lierda.files();
        let (down_id, mut order) = device.site.lierda.publish_upgrade(&image);
        files.hold_after(&path_of(&down_id), 100);
        for _ in 0..3 {
            let id = device.site.lierda.order(&order).map_err(|why| device.site.rig.error(why))?;
            device.knows("the acknowledgement", |seen| seen.answers.contains_key(&id)).await?;
        }
        device.held(&down_id, 100).await?;
        order["Url"] = json!(files.serve("/mirror", image.body.clone()));
        device.site.lierda.order(&order).map_err(|why| device.site.rig.error(why))?;
        device.ends(&down_id, true).await?;
        assert_eq!((device.downloads(&down_id).len(), files.requests("/mirror").len()), (1, 1));
        assert_eq!(device.site.mcu.log().firmware.runs, ["04020099"]);
        device.finish().await
    });
}

#[test]
fn the_latest_of_several_orders_wins_and_all_of_them_end() {
    check(async || {
        let device = Upgradable::online("").await?;
        let (first, order) = device.site.lierda.publish_upgrade(&device.for_mcu("04020097")?);
        device.site.lierda.files().hold_after(&path_of(&first), 100);
        device.site.lierda.order(&order).map_err(|why| device.site.rig.error(why))?;
        device.held(&first, 100).await?;
        // The second waits until the first is over; the third takes its place.
        let second = device.order(&device.for_mcu("04020098")?).await?;
        let waits = |status: &serde_json::Value| {
            facts(status)["update"].as_str().is_some_and(|update| update.contains("04020098: waiting"))
        };
        device.site.rig.until("the second to wait", waits).await?;
        let third = device.order(&device.for_mcu("04020099")?).await?;
        device.site.lierda.files().release(&path_of(&first));
        device.ends(&third, true).await?;
        for other in [first, second.clone()] {
            device.ends(&other, false).await?;
        }
        assert_eq!(device.downloads(&second), []);
        assert_eq!(device.site.mcu.log().firmware.runs, ["04020097", "04020099"]);
        device.finish().await
    });
}

#[test]
fn modules_are_upgraded_one_after_the_other_and_told_each_for_itself() {
    check(async || {
        let device = Upgradable::online("").await?;
        let (mcu, order) = device.site.lierda.publish_upgrade(&device.for_mcu("04020099")?);
        device.site.lierda.files().hold_after(&path_of(&mcu), 100);
        device.site.lierda.order(&order).map_err(|why| device.site.rig.error(why))?;
        device.held(&mcu, 100).await?;
        device.installer.says("install", 1)?;
        let wifi = device.order(&device.for_module("04020007", b"a release")?).await?;
        assert_eq!(device.downloads(&wifi), [], "two at once");
        device.site.lierda.files().release(&path_of(&mcu));
        device.ends(&mcu, true).await?;
        device.ends(&wifi, false).await?;
        device.finish().await
    });
}
