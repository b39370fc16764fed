//! Outages, being sent away, unbinding, file operations.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::clife::product::Product;
use serde_json::{Value as Json, json};

use super::Room;
use crate::set::check;

#[test]
fn what_was_missed_goes_up_with_its_own_times_and_nothing_is_lost() {
    check(async || {
        let room = Room::online(Product::default()).await?;
        room.reports_arrive(20).await?;
        room.clife.go_away();
        room.cloud("the device to be gone", |entries| !entries.online).await?;
        // More than the host hands over at once.
        room.report(600).await?;
        room.clife.come_back().map_err(|error| room.rig.error(error.to_string()))?;
        room.cloud("the device to be back", |entries| entries.online).await?;
        room.all_arrived_at(room.clife.ledger()).await?;
        room.nothing_lost();
        room.reports_arrive(700).await?;
        room.finish().await
    });
}

#[test]
fn a_device_that_is_sent_away_comes_back_after_a_while() {
    check(async || {
        let product = Product { more_settings: "force_offline_hold_s = 1\n".to_owned(), ..Product::default() };
        let room = Room::online(product).await?;
        room.said(room.clife.force_offline(Some("too loud")))?;
        room.cloud("the device to be gone", |entries| !entries.online).await?;
        room.cloud("the device to be back", |entries| entries.online).await?;
        assert!(room.clife.seen().delivered_wills.is_empty(), "it went with a farewell");
        room.reports_arrive(20).await?;
        room.finish().await
    });
}

#[test]
fn an_unbound_device_answers_and_stays() {
    check(async || {
        let room = Room::online(Product::default()).await?;
        let id = room.said(room.clife.unbind())?;
        room.seen("the answer", |seen| seen.answers.contains_key(&id)).await?;
        assert_eq!(room.clife.seen().answers[&id].body["respCode"], 0);
        room.reports_arrive(20).await?;
        room.finish().await
    });
}

#[test]
fn versions_are_told_and_an_upgrade_is_refused_where_nothing_installs_it() {
    check(async || {
        let room = Room::online(Product::default()).await?;
        let query = room.said(room.clife.query_versions())?;
        room.seen("the versions", |seen| seen.operations.contains_key(&query)).await?;
        let url = room.clife.put_file(b"an image");
        let order = json!({"fileMode": "DOWN", "productVer": 2, "fileInfo": [{"fileType": "FIRM", "devNum": 0,
            "software": "9.0.0.0", "hardware": HARDWARE, "url": url, "md5": "0cc175b9c0f1b6a831c399e269772661", "checkSum": 8}]});
        let order = room.said(room.clife.file_operation(&order))?;
        room.seen("the refusal", |seen| seen.operations.contains_key(&order)).await?;
        let answers: Vec<Json> =
            room.clife.seen().frames.iter().filter(|frame| frame.id == order).map(|frame| frame.body.clone()).collect();
        assert_eq!(answers, [json!({"respCode": -1, "respCont": "this device cannot install it"})]);
        assert!(room.clife.files().requests("/0.bin").is_empty());
        room.finish().await
    });
}

/// What the rig says of the module's hardware.
const HARDWARE: &str = "00000001";
