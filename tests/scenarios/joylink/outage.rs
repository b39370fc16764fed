//! Connections that break, and clouds that do not answer.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::joylink::behaviour::Segments;
use polylink_testbed::clouds::joylink::product::Product;
use serde_json::json;

use super::Site;
use crate::set::check;

#[test]
fn what_was_said_while_the_cloud_was_away_arrives_in_order() {
    check(async || {
        let site = Site::online(Product::default(), "reconnect_max_s = 2\n").await?;
        site.reports_arrive(20).await?;
        site.joylink.go_away();
        site.cloud("the device to be gone", |entries| !entries.online).await?;
        site.report(800).await?;
        site.joylink.come_back().map_err(|error| site.rig.error(error.to_string()))?;
        site.cloud("the device to be back", |entries| entries.online).await?;
        site.all_arrived_at(site.joylink.ledger()).await?;
        let verdict = site.verdict(site.joylink.ledger());
        assert_eq!(verdict.lost, 0);
        site.reports_arrive(900).await?;
        site.finish().await
    });
}

#[test]
fn three_lost_heartbeats_lead_to_another_authentication() {
    check(async || {
        let site =
            Site::online(Product::default(), "heartbeat_s = 1\nsnapshot_delay_s = 0\nreconnect_min_s = 1\n").await?;
        // Whatever the cloud says meanwhile proves that it lives, such as its answer about timers.
        site.joylink.change(|behaviour| behaviour.faults(10).silent = 5);
        site.seen("another authentication", |seen| seen.authentications.len() == 2).await?;
        site.cloud("the device to be back", |entries| entries.online).await?;
        site.reports_arrive(20).await?;
        site.finish().await
    });
}

#[test]
fn an_upload_without_an_answer_goes_again_on_another_connection() {
    check(async || {
        let site = Site::online(Product::default(), "upload_timeout_s = 1\nreconnect_min_s = 1\n").await?;
        site.joylink.change(|behaviour| behaviour.faults(12).silent = 1);
        site.report(10).await?;
        site.seen("another authentication", |seen| seen.authentications.len() == 2).await?;
        site.all_arrived_at(site.joylink.ledger()).await?;
        site.rig.until("nothing to wait", |status| status["clouds"][0]["journal"]["pending"] == 0).await?;
        site.finish().await
    });
}

#[test]
fn bytes_that_come_one_by_one_or_all_at_once_are_the_same_packets() {
    check(async || {
        for segments in [Segments::Pieces(1), Segments::Pairs] {
            let site = Site::online(Product::default(), "").await?;
            site.joylink.change(|behaviour| behaviour.segments = segments);
            site.report(40).await?;
            site.all_arrived_at(site.joylink.ledger()).await?;
            site.joylink.change(|behaviour| behaviour.segments = Segments::Whole);
            assert_eq!(site.command(&site.joylink, "switch", json!(true)).await?.len(), 1);
            site.finish().await?;
        }
        Ok(())
    });
}

#[test]
fn a_cloud_that_cannot_prove_itself_is_left_and_another_session_key_works_as_well() {
    check(async || {
        let mut site = Site::build(Product::default(), "reconnect_min_s = 1\n")?;
        site.joylink.change(|behaviour| {
            (behaviour.wrong_randoms, behaviour.nul_session_key, behaviour.enctype) = (1, true, 4);
        });
        site.rig.start()?;
        site.cloud("the device", |entries| entries.online).await?;
        assert_eq!(site.joylink.seen().authentications.len(), 2);
        site.reports_arrive(20).await?;
        site.finish().await
    });
}

#[test]
fn resets_in_the_middle_of_the_traffic_lose_nothing() {
    check(async || {
        let site = Site::online(Product::default(), "reconnect_min_s = 1\n").await?;
        for n in 2..=3_u32 {
            site.report(n as usize * 60).await?;
            site.joylink.reset();
            site.cloud("the device to be back", |entries| entries.online && entries.sessions >= u64::from(n)).await?;
        }
        site.all_arrived_at(site.joylink.ledger()).await?;
        assert_eq!(site.verdict(site.joylink.ledger()).lost, 0);
        site.finish().await
    });
}
