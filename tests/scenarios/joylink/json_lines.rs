//! A device whose MCU speaks JSON lines: texts, events, actions, and bytes that only the product's own script can read.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::joylink::JoyLink;
use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::clouds::joylink::seen::{Answer, Seen};
use polylink_testbed::demo::product::COUNTER;
use polylink_testbed::joylink_app::App;
use polylink_testbed::joylink_app::Device;
use polylink_testbed::joylink_app::messages::Wanted;
use polylink_testbed::mcu::jsonl::{JsonLog, JsonMcu};
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};
use serde_json::{Value as Json, json};

use super::scripts::{converted, script};
use crate::set::{JOYLINK, binaries, check, failed};

/// A host, such an MCU, and the JoyLink cloud.
pub struct Bench {
    pub rig: Rig,
    pub mcu: JsonMcu,
    pub joylink: JoyLink,
}

impl Bench {
    /// Builds it; nothing runs yet.
    pub fn build(product: Product, settings: &str) -> Result<Self, RigError> {
        let joylink = JoyLink::start_with(COUNTER, product).map_err(failed)?;
        let mcu = JsonMcu::start(KEY).map_err(failed)?;
        let files = Files {
            link: "jsonl".to_owned(),
            port: mcu.port(),
            product_key: KEY.to_owned(),
            product: format!("{PRODUCT}\n{}mcu_timeout_ms = 10000\n{settings}", joylink.product_section()),
            plugins: vec![JOYLINK.to_owned()],
            ..Files::default()
        };
        let rig = Rig::new(&binaries(&[])?, &files)?;
        Ok(Self { rig, mcu, joylink })
    }

    /// Builds it, starts the host, lets the MCU say something, and waits until the cloud sees the device.
    pub async fn online(product: Product, settings: &str) -> Result<Self, RigError> {
        let mut bench = Self::build(product, settings)?;
        bench.rig.start()?;
        bench.mcu.report(&json!({"power": false}));
        bench.seen("the device", |seen| !seen.uploads.is_empty()).await?;
        Ok(bench)
    }

    /// Waits until the cloud has seen something.
    pub async fn seen(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.joylink.until(condition)).await
    }

    /// Waits until the MCU's log fulfils a condition.
    pub async fn device(&self, what: &str, condition: impl Fn(&JsonLog) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.mcu.until(condition)).await
    }

    /// The device's answer to a question of the cloud, which was just asked.
    pub async fn answer(&self, asked: Result<String, String>) -> Result<Answer, RigError> {
        let id = asked.map_err(|why| self.rig.error(why))?;
        self.seen("an answer of the device", |seen| seen.answers.contains_key(&id)).await?;
        Ok(self.joylink.answer_to(&id).expect("it was just seen"))
    }

    /// Ends the host in order. Nobody may have broken a protocol.
    pub async fn finish(mut self) -> Result<(), RigError> {
        let status = self.rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        assert_eq!(self.mcu.log().violations, Vec::<String>::new(), "seen by the MCU");
        let violations = self.joylink.ledger().with(|entries| entries.violations.clone());
        assert_eq!(violations, Vec::<String>::new(), "seen by the cloud");
        Ok(())
    }
}

#[test]
fn events_and_actions_are_streams_of_their_names() {
    check(async || {
        let bench = Bench::online(Product::default(), "").await?;
        bench.mcu.event("door", &json!({"open": true, "angle": 45.25}));
        let told = |seen: &Seen| seen.uploads.iter().find_map(|upload| upload.value("door").cloned());
        bench.seen("the event", |seen| told(seen).is_some()).await?;
        let door = told(&bench.joylink.seen()).unwrap_or_default();
        assert_eq!(inside(&door), json!({"open": 1, "angle": 45.25}));
        let returns = json!({"accepted": true, "rounds": 3});
        bench.mcu.change(|manners| manners.actions.extend([("clean".to_owned(), returns)]));
        let done = bench.answer(bench.joylink.control(&[("clean", json!("{\"minutes\":5}"))])).await?;
        assert_eq!(done.code, 0, "{done:?}");
        let streams = done.json["streams"].as_array().cloned().unwrap_or_default();
        let returned = streams.iter().find(|stream| stream["stream_id"] == "clean").cloned().unwrap_or_default();
        assert_eq!(inside(&returned["current_value"]), json!({"accepted": 1, "rounds": 3}));
        assert_eq!(
            bench.mcu.log().commands.last().map(|command| command["params"].clone()),
            Some(json!({"minutes": 5}))
        );
        for (stream, value, code) in [
            ("clean", json!("{\"minutes\":61}"), 2),
            ("note", json!("x".repeat(2000)), 2),
            ("power", json!("perhaps"), 4),
        ] {
            let refused = bench.answer(bench.joylink.control(&[(stream, value)])).await?;
            assert_eq!(refused.code, code, "{stream}: {refused:?}");
        }
        bench.finish().await
    });
}

#[test]
fn a_raw_product_speaks_with_the_cloud_and_apps_in_bytes_that_nobody_here_reads() {
    check(async || {
        let mut bench = Bench::build(converted(), "")?;
        // Nobody but the MCU knows what the device looks like, so it speaks before the cloud is there.
        bench.joylink.change(|behaviour| behaviour.enrols = false);
        bench.mcu.tell(json!({"raw": hex(&state(0, 1)?)}));
        bench.rig.start()?;
        bench.device("the MCU to be heard", |log| log.acknowledged == [1]).await?;
        bench.joylink.change(|behaviour| behaviour.enrols = true);
        bench
            .seen("what it said", |seen| {
                seen.uploads.last().is_some_and(|upload| upload.value(COUNTER) == Some(&json!(1)))
            })
            .await?;
        bench.mcu.tell(json!({"raw": hex(&state(0, 2)?)}));
        bench
            .seen("more of it", |seen| {
                seen.uploads.last().is_some_and(|upload| upload.value(COUNTER) == Some(&json!(2)))
            })
            .await?;
        // Who spoke is not known, so it may have been somebody at the device.
        bench
            .seen("it as a result too", |seen| seen.results.iter().any(|result| result.json.to_string().contains('2')))
            .await?;
        let answer = state(1, 3)?;
        bench.mcu.change(|manners| manners.answers_bytes_with = Some(hex(&answer)));
        let done = bench.answer(bench.joylink.control(&[("switch", json!(1))])).await?;
        assert_eq!(done.code, 0, "{done:?}");
        let wanted = script().to_private(1002, r#"{"streams":[{"stream_id":"switch","current_value":1}]}"#);
        let wanted = wanted.map_err(|error| bench.rig.error(error.to_string()))?;
        assert_eq!(bench.mcu.log().commands.last().map(|command| command["raw"].clone()), Some(json!(hex(&wanted))));
        let mut app = App::bind().await.map_err(failed)?;
        let device = Device {
            address: bench.joylink.device_address(),
            localkey: bench.joylink.product().device.localkey.clone(),
        };
        let heard = bench.rig.within(LIMIT, "an answer to the app", app.script(&device, 1002, &wanted)).await?;
        assert_eq!(heard.map_err(|error| bench.rig.error(error.to_string()))?, answer);
        // Standard JSON means nothing to it.
        match bench.rig.within(LIMIT, "a refusal", app.snapshot(&device)).await? {
            Err(polylink_testbed::joylink_app::AppError::Refused(..)) => {}
            other => panic!("{other:?}"),
        }
        let found = bench.rig.within(LIMIT, "to be found", app.discover(device.address, &Wanted::default())).await?;
        assert_eq!(found.map_err(|error| bench.rig.error(error.to_string()))?.trantype, 1);
        bench.finish().await
    });
}

/// What the product says of itself.
fn state(switch: u32, counter: u32) -> Result<Vec<u8>, RigError> {
    let json = json!({"streams": [{"stream_id": "switch", "current_value": switch}, {"stream_id": COUNTER, "current_value": counter}]});
    script().to_private(104, &json.to_string()).map_err(|error| RigError::new(error.to_string()))
}

/// JSON in a text.
fn inside(text: &Json) -> Json {
    text.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
name = "note"
type = "text"
max_bytes = 1500
writable = true
[[property]]
name = "paper"
type = "json"
writable = true
[[property]]
name = "push_stream"
type = "json"
writable = true

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
