//! A gateway whose MCU alone knows the product type.

use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::joylink_app::messages::Wanted;
use polylink_testbed::rig::RigError;
use serde_json::json;

use super::super::{count, facts};
use super::Home;
use crate::set::check;

/// Built so that the property `type` tells the product type; nobody binds it.
async fn untold() -> Result<Home, RigError> {
    let product = Product::default();
    let known = format!("product_uuid = \"{}\"", product.uuid);
    let asks = "product_uuid = \"\"\nproduct_uuid_property = \"type\"";
    let home =
        Home::build_for(product, |section| section.replace(&known, asks).replace("device_type = 0", "device_type = 1"));
    let home = home.await?;
    home.leave_alone();
    Ok(home)
}

#[test]
fn a_gateway_is_not_found_before_its_mcu_has_told_its_type() {
    check(async || {
        let mut home = untold().await?;
        home.rig.start()?;
        home.status("the port", |status| count(status, "lan_ports") > 0).await?;
        let at = home.joylink.device_address();
        home.app("to ask", async |app| app.ask_who(at, &Wanted::default()).await).await?;
        home.status("the question to be left open", |status| count(status, "lan_no_product") == 1).await?;
        let status = home.rig.status().await?;
        assert_eq!(facts(&status)["product_uuid"], "not known yet");

        home.mcu.report(&json!({"type": "no type"}));
        home.mcu.report(&json!({"type": "GATE01"}));
        home.status("the type", |status| facts(status)["product_uuid"] == "GATE01").await?;
        assert_eq!(home.found(&Wanted::default()).await?.product_uuid, "GATE01");
        home.joylink.change(|behaviour| behaviour.enrols = true);
        home.cloud("the gateway", |entries| entries.online).await?;
        home.close().await
    });
}

#[test]
fn a_type_that_was_told_survives_a_kill_and_is_forgotten_by_a_reset() {
    check(async || {
        let mut home = untold().await?;
        home.mcu.report(&json!({"type": "GATE01"}));
        home.joylink.change(|behaviour| behaviour.enrols = true);
        home.start().await?;
        assert_eq!(home.found(&Wanted::default()).await?.product_uuid, "GATE01");
        let file = home.rig.dir().join("state/store/joylink/product_uuid.value");
        home.status("it to be written down", |_| file.exists()).await?;
        home.kill().await?;

        // What is known counts, whatever the MCU says later.
        home.mcu.report(&json!({"type": "GATE02"}));
        home.start().await?;
        home.device("the MCU to be heard", |log| log.acknowledged.len() == 3).await?;
        assert_eq!(home.found(&Wanted::default()).await?.product_uuid, "GATE01");

        home.leave_alone();
        home.mcu.tell(json!({"user": "reset"}));
        home.status("the other type", |status| facts(status)["product_uuid"] == "GATE02").await?;
        let found = home.found(&Wanted::default()).await?;
        assert_eq!((found.product_uuid.as_str(), found.feedid.as_str()), ("GATE02", ""));
        home.close().await
    });
}
