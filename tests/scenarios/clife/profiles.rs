//! Profiles, for a device whose MCU takes one as a text.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::clife::product::Product;
use polylink_testbed::clouds::clife::{Clife, Seen};
use polylink_testbed::demo::product::COUNTER;
use polylink_testbed::file_server::Fault;
use polylink_testbed::mcu::jsonl::JsonMcu;
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};
use serde_json::json;

use crate::set::{CLIFE, binaries, check, failed};

/// A host, such an MCU, and the Clife cloud.
struct Desk {
    rig: Rig,
    mcu: JsonMcu,
    clife: Clife,
}

impl Desk {
    async fn online() -> Result<Self, RigError> {
        let points = vec![("profile".to_owned(), 1)];
        let product =
            Product { points, more_settings: "profile_property = \"profile\"\n".to_owned(), ..Product::default() };
        let clife = Clife::start_with(COUNTER, product).map_err(failed)?;
        let mcu = JsonMcu::start(KEY).map_err(failed)?;
        let files = Files {
            link: "jsonl".to_owned(),
            port: mcu.port(),
            product_key: KEY.to_owned(),
            product: format!("{PRODUCT}{}", clife.product_section()),
            plugins: vec![CLIFE.to_owned()],
            ..Files::default()
        };
        let mut rig = Rig::new(&binaries(&[])?, &files)?;
        rig.start()?;
        let desk = Self { rig, mcu, clife };
        let online = desk.clife.ledger().until(|entries| entries.online);
        desk.rig.within(LIMIT, "the cloud to see the device", online).await?;
        Ok(desk)
    }

    /// Orders a profile; how the operation ended, with its events.
    async fn order(&self, profile: &str) -> Result<(Result<(), String>, Vec<(i64, String)>), RigError> {
        self.ended(self.clife.order_download("PROFILE", profile.as_bytes(), None)).await
    }

    /// How the operation ended that was just ordered, with its events.
    async fn ended(&self, order: Result<i64, String>) -> Result<(Result<(), String>, Vec<(i64, String)>), RigError> {
        let id = order.map_err(|why| self.rig.error(why))?;
        let is_over = |seen: &Seen| seen.operations.get(&id).is_some_and(|operation| operation.outcome.is_some());
        self.rig.within(LIMIT, "the profile to be through", self.clife.until(is_over)).await?;
        let operation = self.clife.seen().operations[&id].clone();
        Ok((operation.outcome.expect("it is over"), operation.events))
    }

    async fn finish(mut self) -> Result<(), RigError> {
        let status = self.rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        assert_eq!(self.mcu.log().violations, Vec::<String>::new(), "seen by the MCU");
        let violations = self.clife.ledger().with(|entries| entries.violations.clone());
        assert_eq!(violations, Vec::<String>::new(), "seen by the cloud");
        Ok(())
    }
}

#[test]
fn a_profile_reaches_the_mcu_and_then_the_platform_hears_that_it_is_through() {
    check(async || {
        let desk = Desk::online().await?;
        let (outcome, events) = desk.order("{\"points\": [1, 2]}").await?;
        assert_eq!((outcome, events), (Ok(()), vec![(1, "1".to_owned()), (1, "100".to_owned())]));
        assert_eq!(desk.mcu.log().commands[0]["set"], json!({"profile": "{\"points\": [1, 2]}"}));
        desk.finish().await
    });
}

#[test]
fn a_profile_that_nobody_can_take_is_a_failure_with_its_reason() {
    check(async || {
        let desk = Desk::online().await?;
        let (outcome, _) = desk.order(&"x".repeat(101)).await?;
        assert_eq!(outcome, Err("the profile does not fit the device".to_owned()));
        desk.mcu.change(|manners| manners.refuses = Some("I am busy".to_owned()));
        let (outcome, _) = desk.order("second").await?;
        assert!(outcome.as_ref().is_err_and(|why| why.contains("I am busy")), "{outcome:?}");
        desk.clife.files().serve("/3.bin", "never read");
        let body = json!({"fileMode": "DOWN", "fileInfo": [{"fileType": "PROFILE", "url": desk.clife.files().url("/3.bin"),
            "md5": "0cc175b9c0f1b6a831c399e269772661"}]});
        assert_eq!(desk.ended(desk.clife.file_operation(&body)).await?.0, Err("2".to_owned()));
        desk.clife.files().misbehave("/3.bin", Fault::Status { status: 404, retry_after_s: None });
        assert_eq!(desk.ended(desk.clife.file_operation(&body)).await?.0, Err("0".to_owned()));
        desk.finish().await
    });
}

const KEY: &str = "desk-1";

const PRODUCT: &str = r#"
[product]
key = "desk-1"
name = "Desk"

[[property]]
name = "profile"
type = "text"
max_bytes = 100
writable = true

"#;
