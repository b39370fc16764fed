//! Clouds that go away, refuse, garble and come back.

use polylink_testbed::broker::Faults;
use polylink_testbed::clouds::SimCloud;
use polylink_testbed::faulty_net::{Direction, Weather};
use polylink_testbed::rig::RigError;
use serde_json::json;

use crate::set::check;
use crate::stage::Stage;

/// Something happens to an online device; afterwards, everything it has reported and reports must arrive.
fn survives(what: impl AsyncFnOnce(&Stage)) {
    survives_with("", async |stage| {
        what(stage).await;
        Ok(())
    });
}

/// The same with further settings of the cloud, where what happens is something that can be waited for.
fn survives_with(settings: &str, what: impl AsyncFnOnce(&Stage) -> Result<(), RigError>) {
    check(async || {
        let stage = Stage::online_with(|files| files.product += settings).await?;
        stage.report(20).await?;
        stage.all_arrived().await?;
        let sessions = stage.deli.ledger().with(|entries| entries.sessions);
        what(&stage).await?;
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
        let verdict = stage.deli_verdict();
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

/// From now on the broker answers new connections so; the log must say what is wrong with that.
fn answers(faults: Faults, says: &str) {
    survives_with("", async |stage| {
        stage.deli.broker().set_faults(faults);
        stage.net.reset_all();
        stage.rig.said(says).await.map(drop)
    });
}

#[test]
fn a_broker_that_swallows_connect_is_named_and_tried_again() {
    answers(Faults { black_hole: true, ..Faults::default() }, "did not answer CONNECT in time");
}

#[test]
fn a_broker_that_answers_connect_with_garbage_is_named_and_tried_again() {
    answers(Faults { garbage: true, ..Faults::default() }, "answered CONNECT with something else than CONNACK");
}

#[test]
fn a_broker_that_begins_with_a_huge_packet_is_named_and_tried_again() {
    answers(Faults { oversize: true, ..Faults::default() }, "the broker sent a packet of 268435455 bytes, at most");
}

#[test]
fn a_network_that_swallows_everything_is_noticed_by_the_keep_alive() {
    survives_with("keepalive_s = 2\n", async |stage| {
        stage.net.set_weather(Weather { black_hole: true, ..Weather::default() });
        // What the MCU says meanwhile is taken from it as ever.
        stage.report(40).await?;
        stage.rig.said("left a PINGREQ without an answer").await.map(drop)
    });
}

#[test]
fn a_packet_that_breaks_the_standard_ends_the_connection_and_is_named() {
    for (packet, says) in [
        // PUBLISH with QoS 3.
        (&b"\x36\x07\0\x01t\0\x01xx"[..], "malformed packet"),
        // PUBLISH whose topic is longer than the packet.
        (b"\x30\x04\0\xFFab", "malformed packet"),
        // PUBACK without a packet id.
        (b"\x40\x00", "malformed packet"),
        // A remaining length of five bytes.
        (b"\x30\x80\x80\x80\x80\x01", "malformed packet"),
        // What only clients send.
        (b"\x82\x06\0\x01\0\x01t\x00", "the broker sent a SUBSCRIBE"),
    ] {
        survives_with("", async |stage| {
            stage.net.inject(Direction::Down, packet);
            let line = stage.rig.said("connection lost").await?;
            assert!(line.contains(says), "{says:?} is not in: {line}");
            Ok(())
        });
    }
}
