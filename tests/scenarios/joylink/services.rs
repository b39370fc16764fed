//! What the cloud offers beside control and firmware: recipes, the weather, where a video goes.

use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::clouds::joylink::seen::Seen;
use polylink_testbed::mcu::jsonl::JsonLog;
use serde_json::{Value as Json, json};

use super::Site;
use super::json_lines::Bench;
use crate::set::check;

#[test]
fn a_recipe_is_cooked_step_by_step_and_its_progress_is_told() {
    check(async || {
        let site = Site::online(Product::default(), "mcu_timeout_ms = 10000\n").await?;
        // In the order of their index.
        let steps = json!([
            step(7, 2, "switch", &json!("0")),
            step(9, 1, "switch", &json!(1)),
            step(8, 3, "mode", &json!("dry")),
        ]);
        assert_eq!(site.answer(site.joylink.recipe(4_000_000_001, &steps)).await?.code, 0);
        site.seen("all of it", |seen| results(seen) == ["0", "0", "0"]).await?;
        let seen = site.joylink.seen();
        let last = &seen.progress[seen.progress.len() - 1];
        assert_eq!((&last["task_id"], &last["subTask"][0]["id"]), (&json!("4000000001"), &json!("9")));
        assert_eq!(site.mcu.log().commands.len(), 3);
        // What fails ends it: nobody wants the oven on after the door could not be closed.
        let steps = json!([step(1, 1, "nothing", &json!(1)), step(2, 2, "switch", &json!(1))]);
        assert_eq!(site.answer(site.joylink.recipe(5, &steps)).await?.code, 0);
        site.seen("its end", |seen| results(seen) == ["1", "-1"]).await?;
        assert_eq!(site.mcu.log().commands.len(), 3);
        for wrong in [json!([]), json!("x"), json!([{"id": 1}])] {
            let refused = site.answer(site.joylink.recipe(6, &wrong)).await?;
            assert_eq!(refused.code, 8, "{wrong}: {refused:?}");
        }
        site.finish().await
    });
}

#[test]
fn the_weather_is_asked_for_and_told_to_the_mcu() {
    check(async || {
        let wanted = "information = [\"weather\", \"air\"]\ninformation_every_s = 60\n";
        for property in ["note", "paper"] {
            let settings = format!("{wanted}information_property = \"{property}\"\n");
            let bench = Bench::online(Product::default(), &settings).await?;
            let is_told = |log: &JsonLog| log.commands.iter().any(|command| command["set"].get(property).is_some());
            bench.device("the weather", is_told).await?;
            let seen = bench.joylink.seen();
            assert_eq!(seen.fetches, [json!({"type": ["weather", "air"]})]);
            let commands = bench.mcu.log().commands;
            let told = commands.iter().find_map(|command| command["set"].get(property)).cloned().unwrap_or_default();
            let told = match &told {
                Json::String(text) => serde_json::from_str(text).map_err(|error| bench.rig.error(error.to_string()))?,
                other => other.clone(),
            };
            assert_eq!(
                (&told["result"][0]["type"], &told["result"][1]["value"]["pm25"]),
                (&json!("weather"), &json!("35"))
            );
            bench.finish().await?;
        }
        Ok(())
    });
}

#[test]
fn where_a_video_goes_is_told_to_the_mcu_or_refused_by_a_product_without_one() {
    check(async || {
        let bench = Bench::online(Product::default(), "").await?;
        let answer = bench.answer(bench.joylink.push_video(480, "rtsp://192.0.2.7/live")).await?;
        assert_eq!(answer.code, 0, "{answer:?}");
        assert!(answer.json["streams"].to_string().contains("rtsp://192.0.2.7/live"), "{answer:?}");
        let commands = bench.mcu.log().commands;
        let told = commands.iter().find_map(|command| command["set"].get("push_stream")).cloned().unwrap_or_default();
        assert_eq!(told, json!({"resolution": 480, "address": "rtsp://192.0.2.7/live"}));
        assert!(!bench.rig.log().contains(&bench.joylink.product().device.accesskey), "a key is in the log");
        bench.finish().await?;
        let site = Site::online(Product::default(), "").await?;
        assert_eq!(site.answer(site.joylink.push_video(240, "rtsp://192.0.2.7/live")).await?.code, -4);
        site.finish().await
    });
}

fn step(id: u32, index: u32, stream: &str, value: &Json) -> Json {
    json!({"id": id, "index": index, "streams": [{"stream_id": stream, "current_value": value}]})
}

/// Results of the steps of the recipe that was heard of last.
fn results(seen: &Seen) -> Vec<String> {
    let steps = seen.progress.last().and_then(|progress| progress["subTask"].as_array()).map(Vec::as_slice);
    steps.unwrap_or_default().iter().filter_map(|step| step["result"].as_str().map(str::to_owned)).collect()
}
