//! A microcontroller of the simple kind: JSON lines over a unix socket, a product written in TOML, an ordinary broker.

use std::sync::Arc;

use polylink_testbed::broker::Broker;
use polylink_testbed::broker::hooks::Open;
use polylink_testbed::mcu::jsonl::{JsonLog, JsonMcu};
use polylink_testbed::observer::Observer;
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};
use serde_json::{Value as Json, json};

use crate::set::{TEMPLATE, binaries, check};

/// An oven, its host, and somebody at the broker.
struct Kitchen {
    rig: Rig,
    oven: JsonMcu,
    broker: Broker,
    platform: Observer,
    commands: u64,
}

impl Kitchen {
    /// Everything runs, and the oven knows it.
    async fn open() -> Result<Self, RigError> {
        let failed = |error: std::io::Error| RigError::new(error.to_string());
        let oven = JsonMcu::start(KEY).map_err(failed)?;
        let broker = Broker::start(Arc::new(Open), None).map_err(failed)?;
        let platform = Observer::connect(broker.addr(), "platform", "polylink/oven/+").await.map_err(failed)?;
        let cloud = format!("host = \"{}\"\nport = {}\n", broker.addr().ip(), broker.addr().port());
        let files = Files {
            link: "jsonl".to_owned(),
            port: oven.port(),
            product_key: KEY.to_owned(),
            product: format!("{PRODUCT}{CLOUD}{cloud}"),
            plugins: vec![TEMPLATE.to_owned()],
            ..Files::default()
        };
        let mut rig = Rig::new(&binaries(&[])?, &files)?;
        rig.start()?;
        let mut kitchen = Self { rig, oven, broker, platform, commands: 0 };
        // A report from before would come twice: as one of the last values to start with, and by itself.
        let online = |log: &JsonLog| log.module.as_ref().is_some_and(|module| module["cloud"] == json!(true));
        kitchen.device("word that a cloud is online", online).await?;
        // The device subscribes to its commands before it publishes anything.
        kitchen.oven.report(&json!({"probe": 1}));
        assert_eq!(kitchen.report().await?, json!({"properties": {"probe": 1}}));
        Ok(kitchen)
    }

    /// The next message of the device of this kind, `report` or `result`.
    async fn heard(&mut self, kind: &str) -> Result<Json, RigError> {
        let what = format!("a {kind}");
        let next = async {
            loop {
                let message = self.platform.next().await?;
                if message.topic == format!("polylink/oven/{kind}") {
                    return Ok::<Json, std::io::Error>(serde_json::from_slice(&message.payload)?);
                }
            }
        };
        let message = self.rig.within(LIMIT, &what, next).await?;
        message.map_err(|error| self.rig.error(format!("{what}: {error}")))
    }

    /// What the next report says without its time.
    async fn report(&mut self) -> Result<Json, RigError> {
        let mut report = self.heard("report").await?;
        report.as_object_mut().and_then(|report| report.remove("time"));
        Ok(report)
    }

    /// Sends a command and waits for its result.
    async fn command(&mut self, mut command: Json) -> Result<Json, RigError> {
        self.commands += 1;
        command["id"] = json!(self.commands.to_string());
        let topic = "polylink/oven/command";
        let sent = self.platform.publish(topic, command.to_string().as_bytes()).await;
        sent.map_err(|error| self.rig.error(error.to_string()))?;
        let mut result = self.heard("result").await?;
        assert_eq!(result["id"], command["id"]);
        result.as_object_mut().and_then(|result| result.remove("id"));
        Ok(result)
    }

    async fn device(&self, what: &str, condition: impl Fn(&JsonLog) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.oven.until(condition)).await
    }

    async fn close(mut self) -> Result<(), RigError> {
        let status = self.rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        assert_eq!(self.oven.log().violations, Vec::<String>::new(), "seen by the MCU");
        assert_eq!(self.broker.log().violations, Vec::<String>::new(), "seen by the broker");
        Ok(())
    }
}

#[test]
fn values_of_every_type_arrive_as_they_were_said() {
    check(async || {
        let mut kitchen = Kitchen::open().await?;
        for (said, arrives) in [
            (json!({"power": true}), json!({"power": true})),
            (json!({"offset": -9_223_372_036_854_775_808_i64}), json!({"offset": -9_223_372_036_854_775_808_i64})),
            (json!({"offset": 9_007_199_254_740_993_i64}), json!({"offset": 9_007_199_254_740_993_i64})),
            // Rounded to the digits of the property.
            (json!({"target": 179.999_999}), json!({"target": 180.0})),
            (json!({"target": 30.5}), json!({"target": 30.5})),
            (json!({"mode": "grill"}), json!({"mode": "grill"})),
            (json!({"mode": 0}), json!({"mode": "off"})),
            (json!({"note": "Brot „hell“ \n\u{1F35E}"}), json!({"note": "Brot „hell“ \n\u{1F35E}"})),
            (json!({"tag": "00FF10"}), json!({"tag": "00ff10"})),
            (json!({"recipe": {"steps": [1, {"heat": null}]}}), json!({"recipe": {"steps": [1, {"heat": null}]}})),
            (json!({"power": false, "mode": "bake"}), json!({"power": false, "mode": "bake"})),
        ] {
            let id = kitchen.oven.report(&said);
            assert_eq!(kitchen.report().await?, json!({"properties": arrives}), "of {said}");
            kitchen.device("the acknowledgement", |log| log.acknowledged.contains(&id)).await?;
        }
        kitchen.close().await
    });
}

#[test]
fn an_event_and_bytes_without_a_meaning_arrive() {
    check(async || {
        let mut kitchen = Kitchen::open().await?;
        kitchen.oven.event("door", &json!({"open": true, "angle": 45.25}));
        assert_eq!(kitchen.report().await?, json!({"event": "door", "params": {"open": true, "angle": 45.25}}));
        kitchen.oven.tell(json!({"raw": "00ff"}));
        assert_eq!(kitchen.report().await?, json!({"raw": "00ff"}));
        kitchen.close().await
    });
}

#[test]
fn commands_of_every_kind_are_carried_out_and_answered() {
    check(async || {
        let mut kitchen = Kitchen::open().await?;
        let set = json!({"power": true, "offset": -7, "target": 181.5, "mode": "bake", "note": "\"", "tag": "0a0b"});
        assert_eq!(kitchen.command(json!({"set": set})).await?, json!({"ok": true}));
        assert_eq!(kitchen.oven.log().commands[0]["set"], set);
        let read = kitchen.command(json!({"get": ["target", "mode"]})).await?;
        assert_eq!(read, json!({"ok": true, "values": {"target": 181.5, "mode": "bake"}}));
        let returns = json!({"accepted": true, "rounds": 3});
        kitchen.oven.change(|manners| manners.actions.extend([("clean".to_owned(), returns.clone())]));
        let done = kitchen.command(json!({"action": "clean", "params": {"minutes": 5}})).await?;
        assert_eq!(done, json!({"ok": true, "values": returns}));
        assert_eq!(kitchen.oven.log().commands[2]["params"], json!({"minutes": 5}));
        kitchen.close().await
    });
}

#[test]
fn a_command_that_the_mcu_refuses_is_answered_with_its_reason_and_a_wrong_one_never_gets_there() {
    check(async || {
        let mut kitchen = Kitchen::open().await?;
        kitchen.oven.change(|manners| manners.refuses = Some("the door is open".to_owned()));
        let refused = kitchen.command(json!({"set": {"power": true}})).await?;
        assert_eq!(refused["ok"], json!(false));
        let why = refused["error"].as_str().unwrap_or_default();
        assert!(why.contains("the door is open"), "the MCU's reason is not told: {why}");
        for (command, names) in [
            (json!({"set": {"target": 400}}), "target"),
            (json!({"set": {"mode": "boil"}}), "mode"),
            (json!({"set": {"probe": 1}}), "probe"),
            (json!({"set": {"tag": "0g"}}), "tag"),
            (json!({"action": "fly"}), "fly"),
            (json!({"action": "clean", "params": {"minutes": 61}}), "minutes"),
        ] {
            let refused = kitchen.command(command.clone()).await?;
            let why = refused["error"].as_str().unwrap_or_default();
            assert!(refused["ok"] == json!(false) && why.contains(names), "{command}: {refused}");
        }
        assert_eq!(kitchen.oven.log().commands.len(), 1);
        kitchen.close().await
    });
}

#[test]
fn lines_that_make_no_sense_are_counted_and_the_next_one_is_understood() {
    check(async || {
        let mut kitchen = Kitchen::open().await?;
        let long = "x".repeat(70_000) + "\n";
        let deep = "[".repeat(10_000) + "\n";
        for (line, counter) in [
            ("no json\n", "json"),
            ("\u{0}\u{7}\n", "json"),
            (deep.as_str(), "json"),
            (long.as_str(), "line_too_long"),
            ("{\"report\":{\"power\":true},\"event\":\"door\"}\n", "message"),
            ("{\"report\":{\"target\":1e400}}\n", "report_value"),
            ("{\"report\":{\"nothing\":1}}\n", "report_value"),
            ("{\"done\":77}\n", "ack_unmatched"),
        ] {
            let count = |status: &Json| status["host"]["mcu"]["counters"][counter].as_u64().unwrap_or(0);
            let before = count(&kitchen.rig.status().await?);
            kitchen.oven.say(line.as_bytes());
            // Lines are taken in their order, so the acknowledgement comes after the judgement.
            let id = kitchen.oven.report(&json!({"power": true}));
            kitchen.device("the acknowledgement", |log| log.acknowledged.contains(&id)).await?;
            let after = count(&kitchen.rig.status().await?);
            assert_eq!(after, before + 1, "{counter} after {line:.60}");
        }
        kitchen.oven.say(b"{\"report\":{\"mode\":\"gr");
        kitchen.oven.say(b"ill\"}}\n");
        let mut known = json!({});
        while known["mode"] != json!("grill") {
            known = kitchen.report().await?["properties"].take();
        }
        kitchen.close().await
    });
}

#[test]
fn a_line_that_breaks_is_made_again_and_news_from_meanwhile_arrive() {
    check(async || {
        let mut kitchen = Kitchen::open().await?;
        let connections = kitchen.oven.log().connections;
        kitchen.oven.hang_up();
        kitchen.device("the line to break", |log| !log.connected || log.connections > connections).await?;
        let id = kitchen.oven.report(&json!({"target": 200.0}));
        kitchen.device("the acknowledgement", |log| log.acknowledged.contains(&id)).await?;
        assert_eq!(kitchen.report().await?, json!({"properties": {"target": 200.0}}));
        assert_eq!(kitchen.command(json!({"set": {"power": true}})).await?, json!({"ok": true}));
        let status = kitchen.rig.status().await?;
        assert_eq!(status["host"]["mcu"]["online"], json!(true));
        assert!(status["host"]["mcu"]["counters"]["port_lost"].as_u64() >= Some(1), "{status:#}");
        kitchen.close().await
    });
}

#[test]
fn a_silent_mcu_that_speaks_again_is_served_as_before() {
    check(async || {
        let mut kitchen = Kitchen::open().await?;
        kitchen.oven.change(|manners| manners.silent = true);
        let late = kitchen.command(json!({"set": {"power": true}})).await?;
        assert_eq!((&late["ok"], &late["error"]), (&json!(false), &json!("the device did not answer in time")));
        let id = kitchen.oven.report(&json!({"target": 99.5}));
        kitchen.oven.change(|manners| manners.silent = false);
        kitchen.device("the acknowledgement", |log| log.acknowledged.contains(&id)).await?;
        assert_eq!(kitchen.report().await?, json!({"properties": {"target": 99.5}}));
        assert_eq!(kitchen.command(json!({"set": {"power": false}})).await?, json!({"ok": true}));
        kitchen.close().await
    });
}

const KEY: &str = "oven";

const PRODUCT: &str = r#"
[product]
key = "oven"
name = "Oven"
raw = true

[[property]]
name = "power"
type = "bool"
writable = true
[[property]]
name = "offset"
type = "int"
writable = true
[[property]]
name = "target"
type = "decimal"
scale = 1
min = 30
max = 250
step = 0.5
writable = true
[[property]]
name = "mode"
type = "enum"
labels = ["off", "bake", "grill"]
writable = true
[[property]]
name = "note"
type = "text"
writable = true
[[property]]
name = "tag"
type = "bytes"
max_bytes = 8
writable = true
[[property]]
name = "recipe"
type = "json"
[[property]]
name = "probe"
type = "int"

[[event]]
name = "door"
[[event.param]]
name = "open"
type = "bool"
[[event.param]]
name = "angle"
type = "decimal"
scale = 2

[[action]]
name = "clean"
[[action.param]]
name = "minutes"
type = "int"
min = 1
max = 60
[[action.returns]]
name = "accepted"
type = "bool"
[[action.returns]]
name = "rounds"
type = "int"
"#;

const CLOUD: &str = r#"
[cloud.broker]
plugin = "template"
plain_text = true

[cloud.broker.settings]
tls = false
client_id = "oven"
"#;
