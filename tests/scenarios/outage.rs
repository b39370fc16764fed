//! Clouds that go away, refuse, garble and come back.

use polylink_testbed::broker::Faults;
use polylink_testbed::clouds::SimCloud;
use polylink_testbed::faulty_net::{Direction, Weather};
use serde_json::json;

use crate::stage::{Stage, check};

/// Something happens to an online device; afterwards, everything it has reported and reports must arrive.
fn survives(what: impl AsyncFnOnce(&Stage)) {
    check(async || {
        let stage = Stage::online().await?;
        stage.report(20).await?;
        stage.all_arrived().await?;
        let sessions = stage.deli.ledger().with(|entries| entries.sessions);
        what(&stage).await;
        stage.report(60).await?;
        stage.deli.broker().set_faults(Faults::default());
        stage.net.set_weather(Weather::default());
        stage.cloud("the device to come back", |entries| entries.online && entries.sessions > sessions).await?;
        stage.all_arrived().await?;
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        stage.finish().await
    });
}

#[test]
fn reports_of_an_outage_arrive_when_the_cloud_is_back() {
    check(async || {
        let stage = Stage::online().await?;
        stage.report(20).await?;
        stage.deli.go_away();
        stage.cloud("the device to be gone", |entries| !entries.online).await?;
        stage.report(1000).await?;
        stage.deli.come_back().map_err(|error| stage.rig.error(error.to_string()))?;
        stage.all_arrived().await?;
        let expected: Vec<_> =
            stage.mcu.log().acknowledged.iter().map(|report| (report.counter, report.sent)).collect();
        let verdict = stage.deli_verdict(expected);
        assert_eq!((verdict.lost, verdict.out_of_order), (0, 0));
        stage.finish().await
    });
}

#[test]
fn a_reset_connection_is_made_again() {
    survives(async |stage| stage.net.reset_all());
}

#[test]
fn bytes_that_are_no_mqtt_end_the_connection_and_nothing_else() {
    survives(async |stage| stage.net.inject(Direction::Down, &[0xF0; 64]));
}

#[test]
fn a_packet_larger_than_any_limit_ends_the_connection_and_nothing_else() {
    // PUBLISH with a remaining length of 268435455.
    survives(async |stage| stage.net.inject(Direction::Down, &[0x30, 0xFF, 0xFF, 0xFF, 0x7F]));
}

#[test]
fn a_broker_that_refuses_is_tried_again() {
    survives(async |stage| {
        stage.deli.broker().set_faults(Faults { refuse: Some(3), ..Faults::default() });
        stage.net.reset_all();
    });
}

#[test]
fn an_acknowledgement_that_never_comes_is_made_up_for_after_the_next_connect() {
    survives(async |stage| {
        stage.deli.broker().set_faults(Faults { drop_pubacks: 10, ..Faults::default() });
        stage.mcu.set_rate(100);
        let n = stage.deli.ledger().with(|entries| entries.arrivals.len());
        let _ = stage.cloud("reports without acknowledgement", |entries| entries.arrivals.len() >= n + 10).await;
        stage.net.reset_all();
    });
}

#[test]
fn packets_in_single_bytes_are_understood() {
    check(async || {
        let stage = Stage::set_with(|_| ()).await?;
        let mut stage = stage;
        stage.net.set_weather(Weather { bytewise: true, ..Weather::default() });
        stage.rig.start()?;
        stage.cloud("the cloud to see the device", |entries| entries.online).await?;
        stage.report(30).await?;
        stage.all_arrived().await?;
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        stage.finish().await
    });
}
