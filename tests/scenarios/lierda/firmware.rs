//! Versions, and orders that wait for an update engine.

use polylink_testbed::clouds::lierda::product::Product;
use serde_json::json;

use super::{Site, facts};
use crate::set::check;

#[test]
fn versions_are_told_and_an_order_is_acknowledged_kept_and_shown() {
    check(async || {
        let mut site = Site::online(Product::default(), "").await?;
        site.seen("the version", |seen| seen.versions.contains_key("default")).await?;
        let order = json!({"Type": 2, "Url": "http://127.0.0.1:1/image", "SoftVer": "v9", "SoftSize": 10,
            "MD5": "0cc175b9c0f1b6a831c399e269772661", "DownID": "D1"});
        let id = site.lierda.order(&order).map_err(|why| site.rig.error(why))?;
        site.seen("the acknowledgement", |seen| seen.answers.contains_key(&id)).await?;
        let is_shown =
            |status: &serde_json::Value| facts(status)["update"].as_str().is_some_and(|text| text.contains("v9"));
        site.rig.until("the order to be shown", is_shown).await?;
        site.stored("order").await?;
        site.rig.kill().await?;
        site.rig.start()?;
        site.rig.until("the order to be shown after a kill", is_shown).await?;
        site.cloud("the device to be back", |entries| entries.online).await?;

        let told = |seen: &polylink_testbed::clouds::lierda::Seen| seen.on("firmware_report").count();
        let before = told(&site.lierda.seen());
        let wrong = json!({"Type": 2, "Url": "ftp://h/x", "SoftVer": "v9", "SoftSize": 10, "MD5": "1", "DownID": "D2"});
        site.lierda.order(&wrong).map_err(|why| site.rig.error(why))?;
        site.seen("the version that goes on to run", |seen| told(seen) > before).await?;
        site.finish().await
    });
}
