//! The cloud is away while people at home go on.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::ledger::Entries;
use serde_json::json;

use super::{CLOUD_BIT, Home};
use crate::set::check;

#[test]
fn while_the_cloud_is_away_apps_see_and_control_the_present_and_afterwards_the_cloud_gets_all_of_the_past() {
    check(async || {
        let home = Home::online().await?;
        let app = home.app().await?;
        home.report(20).await?;
        home.all_arrived_at(home.gizwits.ledger()).await?;
        home.gizwits.go_away();
        home.cloud("the device to be gone", |entries| !entries.online).await?;
        home.status_bit("the MCU to know that the cloud is away", CLOUD_BIT, false).await?;
        // Far more than the host hands a plugin that settles none: beyond that, the app lives on the newest values.
        home.report(1000).await?;
        let newest = || home.mcu.with_log(|log| log.acknowledged.last().map(|report| report.counter));
        let is_told = |newest| move |entries: &Entries| entries.arrivals.last().map(|last| last.counter) == newest;
        home.heard(app.ledger(), "the app to see the newest state", is_told(newest())).await?;
        for value in [true, false] {
            assert_eq!(home.command(&app, "switch", json!(value)).await?.len(), 1);
            home.heard(app.ledger(), "the app to see what it did", is_told(newest())).await?;
        }
        home.gizwits.come_back().map_err(|error| home.rig.error(error.to_string()))?;
        home.cloud("the device to be back", |entries| entries.online).await?;
        home.all_arrived_at(home.gizwits.ledger()).await?;
        home.report(1100).await?;
        home.all_arrived_at(home.gizwits.ledger()).await?;
        home.heard(app.ledger(), "the app to see the newest state", is_told(newest())).await?;

        let verdict = home.verdict(home.gizwits.ledger());
        assert_eq!((verdict.lost, verdict.duplicates, verdict.out_of_order), (0, 0, 0));
        let seen: Vec<u32> = app.ledger().with(|entries| entries.arrivals.iter().map(|it| it.counter).collect());
        assert!(seen.is_sorted(), "the app was told the past after the present: {seen:?}");
        home.finish(&[&app]).await
    });
}
