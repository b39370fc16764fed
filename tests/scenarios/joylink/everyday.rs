//! Reports and commands, with the cloud and with an app in the same network.

use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::demo::product;
use polylink_testbed::mcu::p0::Raw;
use serde_json::json;

use super::{Site, count};
use crate::set::check;

#[test]
fn every_report_arrives_once_and_in_order_as_a_whole_snapshot() {
    check(async || {
        let product = Product {
            streams: ["counter", "switch", "mode", "target", "temperature"].map(str::to_owned).into(),
            ..Product::default()
        };
        let site = Site::online(product, "").await?;
        site.reports_arrive(300).await?;
        site.finish().await
    });
}

#[test]
fn the_cloud_sets_and_reads_values() {
    check(async || {
        let site = Site::online(Product::default(), "").await?;
        let obeyed = site.command(&site.joylink, "switch", json!(true)).await?;
        assert_eq!(obeyed.len(), 1);
        site.joylink.change(|behaviour| (behaviour.text_values, behaviour.repeat_serials) = (true, true));
        assert_eq!(site.command(&site.joylink, "target", json!(21.5)).await?.len(), 1);
        assert_eq!(site.command(&site.joylink, "target", json!(22.5)).await?.len(), 1);
        let shown = site.answer(site.joylink.snapshot()).await?;
        assert_eq!(shown.code, 0, "{shown:?}");
        let text = shown.json.to_string();
        assert!(text.contains("22.5") && text.contains("\"switch\""), "{text}");
        let refused = site.answer(site.joylink.control(&[("nothing", json!(1))])).await?;
        assert_eq!(refused.code, 4, "{refused:?}");
        site.finish().await
    });
}

#[test]
fn an_app_controls_the_device_and_the_cloud_hears_of_it() {
    check(async || {
        let site = Site::online(Product::default(), "").await?;
        let (mut app, _) = site.found().await?;
        let device = site.device_in_lan();
        let streams = site.app("to be controlled", app.control(&device, &[("switch", json!(1))])).await?;
        assert!(streams.contains(&("switch".to_owned(), json!(1))), "{streams:?}");
        let is_on = |seen: &polylink_testbed::clouds::joylink::seen::Seen| {
            seen.uploads.last().and_then(|upload| upload.value("switch").cloned()) == Some(json!(1))
        };
        site.seen("the switch to be on", is_on).await?;
        let shown = site.app("to be shown", app.snapshot(&device)).await?;
        assert!(shown.contains(&("switch".to_owned(), json!(1))), "{shown:?}");
        let answer = site.app("to be controlled by bytes", app.script(&device, 1004, b"")).await?;
        assert!(String::from_utf8_lossy(&answer).contains("switch"), "{answer:?}");
        site.rig.until("two requests to be counted", |status| count(status, "app_requests") >= 3).await?;
        site.finish().await
    });
}

#[test]
fn what_a_person_changes_at_the_device_is_told_as_a_result_too() {
    check(async || {
        let site = Site::online(Product::default(), "").await?;
        site.mcu.set("switch", Raw::Number(1), &product::schema());
        site.seen("a result", |seen| !seen.results.is_empty()).await?;
        let result = site.joylink.seen().results[0].clone();
        assert_eq!((result.control_type, result.id.as_str(), result.biz_code), (1, "0", 0));
        assert_eq!(result.json["code"], 0, "{result:?}");
        site.finish().await
    });
}
