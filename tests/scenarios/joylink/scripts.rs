//! Products whose own bytes are on the wire, which a script converts here, in the cloud and in the app.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::joylink::product::{Conversion, Product};
use polylink_testbed::clouds::joylink::timers::Operation;
use polylink_testbed::demo::product;
use polylink_testbed::joylink_wire::script::Script;
use polylink_testbed::joylink_wire::timers::{Plan, Task};
use polylink_testbed::mcu::p0::Raw;
use polylink_testbed::rig::RigError;
use polylink_testbed::rig::files::Files;
use serde_json::{Value as Json, json};

use super::{Site, count, facts};
use crate::set::check;

/// The product's script, as it is in the cloud and in the app.
pub fn script() -> Script {
    Script::load(CONVERSION).expect("the script is right")
}

/// The product of that script.
pub fn converted() -> Product {
    Product { conversion: Conversion::Script(script()), ..Product::default() }
}

/// Settings with the product's script, behind further lines of Lua that come first.
fn settings(before: &str) -> String {
    format!("mcu_timeout_ms = 10000\nscript = '''\n{before}\n{CONVERSION}'''\n")
}

#[test]
fn a_product_with_a_script_reports_and_obeys_in_its_own_bytes() {
    check(async || {
        let streams = ["switch", "mode", "target", "counter", "temperature"].map(str::to_owned).into();
        let site = Site::online(Product { streams, ..converted() }, &settings("")).await?;
        site.reports_arrive(300).await?;
        for (property, value) in [("switch", json!(true)), ("target", json!(21.5)), ("mode", json!("heat"))] {
            assert_eq!(site.command(&site.joylink, property, value).await?.len(), 1, "{property}");
        }
        let shown = site.answer(site.joylink.snapshot()).await?;
        assert_eq!((stream(&shown.json, "target"), stream(&shown.json, "mode")), (json!(21.5), json!("heat")));
        // What no script makes bytes of is answered in JSON.
        let refused = site.answer(site.joylink.command(None, 1002, b"\xA5?")).await?;
        assert_ne!(refused.code, 0, "{refused:?}");
        site.mcu.set("switch", Raw::Number(0), &product::schema());
        site.seen("a result", |seen| seen.results.iter().any(|result| stream(&result.json, "switch") == json!(0)))
            .await?;
        site.all_arrived_at(site.joylink.ledger()).await?;
        site.nothing_lost();
        site.finish().await
    });
}

#[test]
fn apps_schedules_and_recipes_speak_the_bytes_of_the_product_too() {
    check(async || {
        let site = Site::online(converted(), &format!("snapshot_delay_s = 0\n{}", settings(""))).await?;
        let (mut app, found) = site.found().await?;
        assert_eq!(found.trantype, 1);
        let device = site.device_in_lan();
        let wanted = private(&site, 1002, &control("switch", 1))?;
        let answer = site.app("to be controlled", app.script(&device, 1002, &wanted)).await?;
        let (told, made) = script().to_json(102, &answer).map_err(|error| site.rig.error(error.to_string()))?;
        let told: Json = serde_json::from_str(&told).map_err(|error| site.rig.error(error.to_string()))?;
        assert_eq!((made, stream(&told, "switch")), (102, json!(1)));
        // Standard JSON needs no script.
        let streams = site.app("to be shown", app.snapshot(&device)).await?;
        assert!(streams.contains(&("switch".to_owned(), json!(1))), "{streams:?}");
        let task = Task {
            version: 0,
            feedid: site.joylink.product().device.feedid.clone(),
            name: String::new(),
            id: 3,
            state: 1,
            origin: 0,
            plan: Plan::Countdown {
                interval_s: 1,
                action_commands: Vec::new(),
                stop_commands: vec![private(&site, 1002, &control("switch", 0))?, b"?".to_vec()],
            },
        };
        assert_eq!(site.answer(site.joylink.operate(Operation::Add(vec![task]))).await?.code, 0);
        site.seen("the step", |seen| !seen.steps.is_empty()).await?;
        assert_eq!(site.joylink.seen().steps, [(3, 2, 14)], "the second command is nothing for the script");
        assert_eq!(site.mcu.log().commands.len(), 2);
        let steps = json!([{"id": 1, "index": 1, "streams": [{"stream_id": "mode", "current_value": "dry"}]}]);
        assert_eq!(site.answer(site.joylink.recipe(77, &steps)).await?.code, 0);
        site.seen("the recipe to be done", |seen| {
            seen.progress.iter().any(|progress| progress["subTask"][0]["result"] == "0")
        })
        .await?;
        assert_eq!(site.mcu.log().commands.len(), 3);
        site.finish().await
    });
}

/// A script that is at fault for some reports loses them, and nothing else; `limits` are what a script may use.
#[track_caller]
fn costs_its_own_messages(fault: &str, limits: &str) {
    check(async || {
        let before = format!(
            "local function at_fault(cmd) {fault} end\n\
             local guarded\n\
             setmetatable(_G, {{ __newindex = function(t, name, value)\n\
               if name == 'jds2pri' then guarded = value\n\
                 value = function(biz, cmd)\n\
                   local n = tonumber(string.match(cmd, '\"counter\",\"current_value\":(%d+)') or string.match(cmd, '\"current_value\":(%d+),\"stream_id\":\"counter\"'))\n\
                   if biz == 104 and n and n > 0 and n % 10 == 0 then return at_fault(cmd) end\n\
                   return guarded(biz, cmd)\n\
                 end\n\
               end\n\
               rawset(t, name, value)\n\
             end }})"
        );
        let limits = |files: &mut Files| files.overlay = format!("[script]\n{limits}");
        let mut site = Site::build_with(converted(), &settings(&before), limits)?;
        site.set.online(&site.joylink).await?;
        site.report(40).await?;
        let status =
            site.rig.until("four reports without words", |status| count(status, "conversions_failed") >= 4).await?;
        assert_eq!((&status["clouds"][0]["faults"]["count"], &facts(&status)["script"]), (&json!(0), &json!("ready")));
        site.cloud("the others", |entries| entries.arrivals.len() >= 36).await?;
        assert_eq!(site.command(&site.joylink, "switch", json!(true)).await?.len(), 1);
        site.rig.until("nothing to wait", |status| status["clouds"][0]["journal"]["pending"] == 0).await?;
        site.finish().await
    });
}

#[test]
fn a_script_that_never_ends_costs_its_own_reports_and_nothing_else() {
    costs_its_own_messages("while true do pcall(error) end", "");
}

#[test]
fn a_script_that_takes_too_long_costs_its_own_reports_and_nothing_else() {
    costs_its_own_messages("while true do end", "instructions = 1_000_000_000\ntimeout_ms = 300\n");
}

#[test]
fn a_script_that_eats_memory_costs_its_own_reports_and_nothing_else() {
    costs_its_own_messages("local eaten = {} while true do eaten[#eaten + 1] = string.rep(cmd, 100) .. #eaten end", "");
}

#[test]
fn a_script_that_fails_or_returns_nonsense_costs_its_own_reports_and_nothing_else() {
    costs_its_own_messages(
        "at = (at or 0) + 1; if at % 4 == 1 then error({}) elseif at % 4 == 2 then return -1 \
         elseif at % 4 == 3 then return 0, 1000000, 'short' else return 'all', 'well', {} end",
        "",
    );
}

#[test]
fn a_script_that_fails_at_a_command_fails_the_command() {
    check(async || {
        let before = "setmetatable(_G, { __newindex = function(t, name, value)\n\
                      if name == 'pri2jds' then value = function() error('no') end end rawset(t, name, value) end })";
        let site = Site::online(converted(), &settings(before)).await?;
        let refused = site.answer(site.joylink.control(&[("switch", json!(1))])).await?;
        assert_eq!(refused.code, 14, "{refused:?}");
        assert_eq!(site.mcu.log().commands, []);
        site.reports_arrive(20).await?;
        site.finish().await
    });
}

#[test]
fn a_script_that_does_not_load_is_a_fault_of_the_configuration_of_this_cloud() {
    check(async || {
        let mut site = Site::build(converted(), "script = \"function jds2pri(\"\n")?;
        site.rig.start()?;
        let is_told = |status: &Json| status["clouds"][0]["faults"]["count"] == 1;
        let status = site.rig.until("the fault", is_told).await?;
        let fault = status["clouds"][0]["faults"]["last"].to_string();
        assert!(fault.contains("settings.script"), "{fault}");
        Ok(())
    });
}

/// What the app's script makes of JSON.
fn private(site: &Site, biz_code: u32, json: &Json) -> Result<Vec<u8>, RigError> {
    script().to_private(biz_code, &json.to_string()).map_err(|error| site.rig.error(error.to_string()))
}

fn control(stream: &str, value: u32) -> Json {
    json!({"streams": [{"stream_id": stream, "current_value": value}], "snapshot": []})
}

/// Value of a stream in standard JSON.
fn stream(json: &Json, name: &str) -> Json {
    let streams = json["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    streams
        .iter()
        .find(|stream| stream["stream_id"] == name)
        .map_or(Json::Null, |stream| stream["current_value"].clone())
}

const CONVERSION: &str = include_str!("conversion.lua");
