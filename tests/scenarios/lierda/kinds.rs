//! Each kind of product, plain and encrypted, both ways.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::lierda::Downlink;
use polylink_testbed::clouds::lierda::product::{FullHex, Kind, Product};
use serde_json::json;

use super::Site;
use crate::set::check;

/// Reports arrive, and a command reaches the MCU once and is acknowledged.
#[track_caller]
fn both_ways(product: Product, settings: &str) {
    check(async || {
        let site = Site::online(product, settings).await?;
        site.reports_arrive(300).await?;
        for (property, value) in [("switch", json!(true)), ("target", json!(23.5)), ("mode", json!("heat"))] {
            assert_eq!(site.command(&site.lierda, property, value).await?.len(), 1, "{property}");
        }
        site.all_arrived_at(site.lierda.ledger()).await?;
        site.finish().await
    });
}

fn encrypted(product: Product) -> Product {
    Product { encrypted: true, ..product }
}

#[test]
fn a_json_product() {
    both_ways(Product::default(), "");
}

#[test]
fn an_encrypted_json_product() {
    both_ways(encrypted(Product::default()), "");
}

#[test]
fn a_passthrough_product() {
    both_ways(Product::new(Kind::Passthrough), "");
}

#[test]
fn an_encrypted_passthrough_product() {
    both_ways(encrypted(Product::new(Kind::Passthrough)), "");
}

#[test]
fn a_hex_product_with_a_script() {
    both_ways(Product::new(Kind::Hex), SCRIPT);
}

#[test]
fn an_encrypted_hex_product_with_a_script() {
    both_ways(encrypted(Product::new(Kind::Hex)), SCRIPT);
}

#[test]
fn a_hex_product_that_reports_without_an_envelope() {
    let product = Product { full_hex: Some(FullHex::BareText), ..Product::new(Kind::Hex) };
    both_ways(product, &format!("{SCRIPT}hex_uplink = \"full\"\n"));
}

#[test]
fn a_command_that_comes_by_both_names_of_a_topic_is_obeyed_once_and_acknowledged_on_both() {
    check(async || {
        let site = Site::online(Product::new(Kind::Passthrough), "").await?;
        // Versions are told as soon as everything is subscribed.
        site.seen("all to be subscribed", |seen| seen.versions.contains_key("default")).await?;
        let id =
            site.lierda.passthrough(&json!({"switch": true}), Downlink::Both).map_err(|why| site.rig.error(why))?;
        site.seen("both acknowledgements", |seen| {
            ["downlink_ack", "downloadlink_ack"]
                .iter()
                .all(|topic| seen.on(topic).any(|frame| frame.id == json_id(&id)))
        })
        .await?;
        site.lierda.repeat(&id).map_err(|why| site.rig.error(why))?;
        site.seen("the answer again", |seen| seen.frames.iter().filter(|frame| frame.id == json_id(&id)).count() >= 3)
            .await?;
        assert_eq!(site.mcu.log().commands.len(), 1);
        site.finish().await
    });
}

#[test]
fn a_query_is_answered_under_its_own_name_and_an_unfit_set_changes_nothing() {
    check(async || {
        let site = Site::online(Product::default(), "").await?;
        let said = |why| site.rig.error(why);
        let query = site.lierda.query(&["switch", "no_such_thing"]).map_err(said)?;
        let answered = |id: &str| site.lierda.answer_to(id);
        site.seen("the answer to the query", |seen| seen.answers.contains_key(&query)).await?;
        let answer = answered(&query).expect("it was waited for");
        assert!(answer.payload["switch"].is_boolean() && answer.payload.as_object().is_some_and(|it| it.len() == 1));

        let set = site.lierda.set(&[("switch", json!(true)), ("target", json!(99.5))]).map_err(said)?;
        site.seen("the refusal", |seen| seen.answers.contains_key(&set)).await?;
        assert_eq!(answered(&set).expect("it was waited for").payload, json!({"Code": "4001", "Msg": "Failed"}));
        assert_eq!(site.mcu.log().commands.len(), 0);
        site.finish().await
    });
}

/// MessageIds of the simulator are numbers unless told otherwise.
fn json_id(id: &str) -> serde_json::Value {
    json!(id.parse::<u64>().expect("a number"))
}

/// The HEX of the simulated product is the JSON text itself.
const SCRIPT: &str = r#"script = '''
function encode(code, json)
  assert(code == 18)
  return json
end
function decode(code, bytes)
  if code == 25 then return "[]" end
  assert(code == 22 and cjson.decode(bytes))
  return bytes
end
'''
"#;
