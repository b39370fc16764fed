//! Reports from the UART to the clouds.

use polylink_testbed::demo::product;
use polylink_testbed::mcu::p0::Raw;
use polylink_testbed::rig::LIMIT;
use serde_json::json;

use crate::set::check;
use crate::stage::Stage;

#[test]
fn each_report_reaches_the_cloud_once_and_in_order() {
    check(async || {
        let stage = Stage::online().await?;
        stage.report(300).await?;
        stage.all_arrived().await?;
        let verdict = stage.deli_verdict();
        assert_eq!((verdict.lost, verdict.duplicates, verdict.out_of_order), (0, 0, 0));
        stage.finish().await
    });
}

#[test]
fn reports_from_before_the_cloud_was_online_arrive_too() {
    check(async || {
        let mut stage = Stage::set().await?;
        stage.net.cut().await.map_err(|error| stage.rig.error(error.to_string()))?;
        stage.rig.start()?;
        stage.report(50).await?;
        stage.net.restore().await.map_err(|error| stage.rig.error(error.to_string()))?;
        stage.all_arrived().await?;
        stage.finish().await
    });
}

#[test]
fn a_value_keeps_its_digits_from_the_mcu_to_the_cloud() {
    check(async || {
        let stage = Stage::online().await?;
        // 615 * 0.1 - 40 = 21.5; 23 * 0.5 + 10 = 21.5.
        stage.mcu.set("temperature", Raw::Number(615), &product::schema());
        stage.mcu.set("target", Raw::Number(23), &product::schema());
        stage.mcu.set("mode", Raw::Number(2), &product::schema());
        stage.mcu.set("tag", Raw::Bytes(vec![1, 0, 255, 0]), &product::schema());
        stage.mcu.set("overheat", Raw::Number(1), &product::schema());
        stage.device("the report", |log| !log.acknowledged.is_empty()).await?;
        stage.rig.within(LIMIT, "rest", stage.mcu.at_rest()).await?;
        stage.all_arrived().await?;
        let mut known = serde_json::Map::new();
        for message in stage.deli.heard(300) {
            known.extend(message.data["payload"].as_object().cloned().unwrap_or_default());
        }
        let seen = |name: &str| known.get(name).cloned().unwrap_or_default();
        assert_eq!(seen("temperature").to_string(), "21.5");
        assert_eq!(seen("target").to_string(), "21.5");
        assert_eq!((seen("mode"), seen("overheat")), (json!("heat"), json!(true)));
        // The last byte is a zero, and stays one.
        assert_eq!(seen("tag"), json!("0100ff00"));
        stage.finish().await
    });
}
