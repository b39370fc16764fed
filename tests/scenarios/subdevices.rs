//! A gateway: an MCU with devices behind it that have no network, and a plugin that owns them.

use polylink_testbed::mcu::jsonl::{JsonLog, JsonMcu};
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};
use serde_json::{Value as Json, json};

use crate::set::{GATEWAY, binaries, check, failed};

struct House {
    rig: Rig,
    gateway: JsonMcu,
}

impl House {
    async fn open(behind: &[(u64, Json)]) -> Result<Self, RigError> {
        let gateway = JsonMcu::start("gateway").map_err(failed)?;
        for (index, said) in behind {
            gateway.subdevice(*index, said);
        }
        let files = Files {
            link: "jsonl".to_owned(),
            port: gateway.port(),
            product_key: "gateway".to_owned(),
            product: PRODUCT.to_owned(),
            plugins: vec![GATEWAY.to_owned()],
            ..Files::default()
        };
        let mut rig = Rig::new(&binaries(&[])?, &files)?;
        rig.start()?;
        Ok(Self { rig, gateway })
    }

    async fn device(&self, what: &str, condition: impl Fn(&JsonLog) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.gateway.until(condition)).await
    }

    async fn status(&self, what: &str, condition: impl Fn(&Json) -> bool) -> Result<Json, RigError> {
        self.rig.until(what, condition).await
    }

    async fn close(mut self) -> Result<(), RigError> {
        let status = self.rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        assert_eq!(self.gateway.log().violations, Vec::<String>::new(), "seen by the MCU");
        Ok(())
    }
}

#[test]
fn a_subdevice_joins_is_accepted_obeys_and_reports() {
    check(async || {
        let house = House::open(&[]).await?;
        house.device("leave to join", |log| !log.admitted.is_empty()).await?;
        assert_eq!(house.gateway.log().admitted[0]["admit"], json!({"product": "LAMP", "address": ""}));
        house.gateway.subdevice(3, &lamp());
        house.device("the lamp to be accepted", |log| log.accepted == [3]).await?;
        house.device("a command", |log| !log.commands.is_empty()).await?;
        let command = &house.gateway.log().commands[0];
        assert_eq!((&command["set"], &command["device"]), (&json!({"power": true}), &json!(3)));
        let reported = |n: &'static str| move |status: &Json| facts(status)["of 3"] == json!(n);
        house.status("the report that follows", reported("1")).await?;
        house.gateway.report_of(3, &json!({"power": false}));
        house.status("one of the lamp's own accord", reported("2")).await?;
        let done = |status: &Json| facts(status)["done"] == json!("1");
        let status = house.status("the outcome of the command", done).await?;
        assert_eq!(status["subdevices"], json!([shown(true)]));
        assert_eq!(facts(&status)["known"], json!("1"));
        let page = house.rig.command_line("status").await?;
        let page = String::from_utf8_lossy(&page.stdout);
        assert!(page.contains("SUBDEVICE") && page.contains("001122334455"), "{page}");
        house.close().await
    });
}

#[test]
fn a_subdevice_that_its_owner_gave_up_is_removed() {
    check(async || {
        let house = House::open(&[(3, lamp()), (5, json!({"product": "LAMP", "version": "old"}))]).await?;
        house.device("one to be removed", |log| log.removed == [5]).await?;
        house.device("the other to be accepted", |log| log.accepted == [3]).await?;
        let accepted = |status: &Json| status["subdevices"] == json!([shown(true)]);
        house.status("the list without the one that was removed", accepted).await?;
        house.close().await
    });
}

#[test]
fn a_gateway_that_comes_back_says_again_what_it_has() {
    check(async || {
        let house = House::open(&[(3, lamp()), (4, lamp())]).await?;
        house.device("both to be accepted", |log| log.accepted.len() == 2).await?;
        let both = |status: &Json| {
            let list = status["subdevices"].as_array();
            list.is_some_and(|list| list.len() == 2 && list.iter().all(|one| one["online"] == json!(true)))
        };
        house.status("both in the list", both).await?;
        let greetings = house.gateway.log().greetings;
        house.gateway.hang_up();
        // While there is no line none of them counts as online.
        house.device("the line to be made again", |log| log.greetings > greetings).await?;
        house.status("both online again", both).await?;
        assert_eq!(house.gateway.log().accepted.len(), 2, "neither was taken for a new one");
        house.close().await
    });
}

#[test]
fn what_no_subdevice_can_be_is_counted() {
    check(async || {
        let house = House::open(&[]).await?;
        house.gateway.tell(json!({"subdevice": 65, "product": "LAMP"}));
        house.gateway.tell(json!({"subdevice": 3, "address": "a".repeat(65)}));
        let counted = |status: &Json| status["host"]["mcu"]["counters"]["subdevice"] == json!(2);
        let status = house.status("both to be counted", counted).await?;
        assert_eq!(status["subdevices"], json!([]));
        house.close().await
    });
}

/// A lamp that asks to join.
fn lamp() -> Json {
    json!({"product": "LAMP", "address": "001122334455", "radio": "zigbee", "accepted": false, "online": true,
        "signal": 80, "version": "1.2"})
}

/// Lamp 3 in the status.
fn shown(accepted: bool) -> Json {
    json!({"index": 3, "product": "LAMP", "address": "001122334455", "radio": "zigbee", "accepted": accepted,
        "online": true, "signal_percent": 80, "version": "1.2"})
}

fn facts(status: &Json) -> &Json {
    &status["clouds"][0]["facts"]
}

const PRODUCT: &str = r#"
[product]
key = "gateway"
name = "Gateway"

[[property]]
name = "power"
type = "bool"
writable = true

[cloud.owner]
plugin = "fixture-gateway"
"#;
