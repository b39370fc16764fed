//! What was missed while the cloud was away.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::lierda::behaviour::{Ack, Report};
use polylink_testbed::clouds::lierda::product::{Kind, Product};

use super::Site;
use crate::set::check;

#[test]
fn what_was_missed_goes_up_as_history_with_its_own_times() {
    check(async || {
        let site = Site::online(Product::default(), "history_after_s = 1\n").await?;
        site.reports_arrive(20).await?;
        site.lierda.go_away();
        site.cloud("the device to be gone", |entries| !entries.online).await?;
        // Long enough that most of them are history, and more than the host hands over at once.
        site.report(800).await?;
        site.lierda.come_back().map_err(|error| site.rig.error(error.to_string()))?;
        site.cloud("the device to be back", |entries| entries.online).await?;
        site.all_arrived_at(site.lierda.ledger()).await?;
        site.nothing_lost();
        let history = site.lierda.seen().history;
        assert!(history.len() >= 100, "only {} reports came as history", history.len());
        assert!(history.iter().is_sorted(), "numbers and times rise together: {history:?}");
        site.reports_arrive(900).await?;
        site.finish().await
    });
}

#[test]
fn a_passthrough_product_has_no_history_and_loses_nothing() {
    check(async || {
        let site = Site::online(Product::new(Kind::Passthrough), "").await?;
        site.lierda.go_away();
        site.cloud("the device to be gone", |entries| !entries.online).await?;
        site.report(600).await?;
        site.lierda.come_back().map_err(|error| site.rig.error(error.to_string()))?;
        site.cloud("the device to be back", |entries| entries.online).await?;
        site.all_arrived_at(site.lierda.ledger()).await?;
        site.nothing_lost();
        site.finish().await
    });
}

#[test]
fn a_report_that_the_platform_does_not_acknowledge_goes_again_under_its_name() {
    check(async || {
        let site = Site::online(Product::default(), "").await?;
        site.lierda.change(|behaviour| {
            behaviour
                .acks
                .insert(Report::Property, Ack { drop: 3, integer_code: true, string_id: true, ..Ack::default() });
        });
        site.report(5).await?;
        site.all_arrived_at(site.lierda.ledger()).await?;
        site.cloud("three reports again", |entries| entries.arrivals.len() >= 8).await?;
        let verdict = site.verdict(site.lierda.ledger());
        assert_eq!((verdict.lost, verdict.out_of_order), (0, 0));
        site.finish().await
    });
}
