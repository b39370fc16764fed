//! Reports and commands.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::clife::product::{DevKey, Product};
use serde_json::json;

use super::Room;
use crate::set::check;

/// Reports arrive, and a command reaches the MCU once and is acknowledged.
#[track_caller]
fn both_ways(product: Product) {
    check(async || {
        let room = Room::online(product).await?;
        room.reports_arrive(300).await?;
        for (property, value) in [("switch", json!(true)), ("target", json!(23.5)), ("switch", json!(false))] {
            assert_eq!(room.command(&room.clife, property, value).await?.len(), 1, "{property}");
        }
        room.all_arrived_at(room.clife.ledger()).await?;
        room.finish().await
    });
}

#[test]
fn an_encrypted_product() {
    both_ways(Product::default());
}

#[test]
fn long_keys_given_as_text_and_timestamps_as_text() {
    both_ways(Product { dev_key: DevKey::Text(32), secret_len: 32, timestamp_as_text: true, ..Product::default() });
}

#[test]
fn a_product_that_speaks_in_clear() {
    both_ways(Product { encrypted: false, ..Product::default() });
}

#[test]
fn a_platform_with_another_hand_is_understood() {
    check(async || {
        let room = Room::online(Product::default()).await?;
        room.clife.change(|behaviour| {
            behaviour.plain_data = true;
            behaviour.timestamp_as_text = true;
            behaviour.blanks = true;
            behaviour.big_ids = true;
        });
        assert_eq!(room.command(&room.clife, "switch", json!(true)).await?.len(), 1);
        room.finish().await
    });
}

#[test]
fn a_query_is_answered_under_its_number_and_an_unfit_control_changes_nothing() {
    check(async || {
        let room = Room::online(Product::default()).await?;
        room.reports_arrive(5).await?;
        let query = room.said(room.clife.query(&["switch"]))?;
        room.seen("the answer to the query", |seen| seen.answers.contains_key(&query)).await?;
        let switch = room.clife.point("switch").expect("the model has it").to_string();
        let seen = room.clife.seen();
        let params = &seen.answers[&query].body["params"];
        assert!(params.as_array().is_some_and(|it| it.len() == 1) && params[0][&switch].is_boolean(), "{params}");

        let control = room.said(room.clife.control(&[("switch", json!(true)), ("target", json!(99.5))]))?;
        room.seen("the refusal", |seen| seen.answers.contains_key(&control)).await?;
        assert_eq!(room.clife.seen().answers[&control].body["respCode"], -1);
        assert_eq!(room.mcu.log().commands.len(), 0);
        room.finish().await
    });
}

#[test]
fn a_control_that_comes_twice_is_obeyed_once() {
    check(async || {
        let room = Room::online(Product::default()).await?;
        let id = room.said(room.clife.control(&[("switch", json!(true))]))?;
        room.seen("the answer", |seen| seen.answers.contains_key(&id)).await?;
        room.said(room.clife.repeat(id))?;
        room.seen("the answer again", |seen| seen.frames.iter().filter(|frame| frame.id == id).count() == 2).await?;
        assert_eq!(room.mcu.log().commands.len(), 1);
        room.finish().await
    });
}
