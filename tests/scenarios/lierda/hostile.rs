//! What makes no sense, from the platform and from the product's own script.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::lierda::product::{Kind, Product};
use serde_json::json;

use super::{Site, facts};
use crate::set::check;

#[test]
fn garbage_on_every_topic_is_counted_and_nothing_else_suffers() {
    check(async || {
        let site = Site::online(Product { encrypted: true, ..Product::default() }, "").await?;
        site.seen("all to be subscribed", |seen| seen.versions.contains_key("default")).await?;
        let topics = [
            "downlink",
            "ask_firmware",
            "ota_notify",
            "ask_config",
            "down_config",
            "model/property/set",
            "model/property/report_ack",
            "model/history/data/report_ack",
        ];
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let no_frames: [&[u8]; 6] =
            [b"", b"\xff\xfe", b"{\"MessageId\":1", b"[1,16,{},\"2.0\"]", b"{\"HeaderCtrl\":999}", deep.as_bytes()];
        for topic in topics {
            for bytes in no_frames {
                site.lierda.deliver_raw(topic, bytes).map_err(|why| site.rig.error(why))?;
            }
        }
        let dropped = |status: &serde_json::Value| {
            facts(status)["input_dropped"].as_str().and_then(|count| count.parse::<usize>().ok()).unwrap_or(0)
        };
        site.rig.until("all of it to be counted", |status| dropped(status) >= topics.len() * no_frames.len()).await?;
        site.reports_arrive(50).await?;
        assert_eq!(site.command(&site.lierda, "switch", json!(true)).await?.len(), 1);
        site.finish().await
    });
}

#[test]
fn a_script_that_never_ends_costs_its_own_reports_and_nothing_else() {
    check(async || {
        let script = r#"script = '''
function encode(code, json)
  if cjson.decode(json).counter % 10 == 0 then while true do pcall(error) end end
  return json
end
function decode(code, bytes) return bytes end
'''
"#;
        let site = Site::online(Product::new(Kind::Hex), script).await?;
        site.report(40).await?;
        let status =
            site.rig.until("four reports without words", |status| facts(status)["conversions_failed"] == "4").await?;
        assert_eq!(status["clouds"][0]["faults"]["count"], 0);
        site.cloud("the others", |entries| entries.arrivals.len() >= 36).await?;
        assert_eq!(site.command(&site.lierda, "switch", json!(true)).await?.len(), 1);
        assert_eq!(site.lierda.ledger().with(|entries| entries.violations.len()), 0);
        site.rig.until("nothing to wait", |status| status["clouds"][0]["journal"]["pending"] == 0).await?;
        site.finish().await
    });
}

#[test]
fn a_script_that_does_not_load_is_a_fault_of_the_configuration_of_this_cloud() {
    check(async || {
        let mut site = Site::build(Product::new(Kind::Hex), "script = \"function encode(\"\n")?;
        site.rig.start()?;
        let is_told = |status: &serde_json::Value| status["clouds"][0]["faults"]["count"] == 1;
        let status = site.rig.until("the fault", is_told).await?;
        let fault = status["clouds"][0]["faults"]["last"].to_string();
        assert!(fault.contains("settings.script"), "{fault}");
        Ok(())
    });
}
