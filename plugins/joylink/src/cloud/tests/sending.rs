//! When the host has no room.

use super::*;
use crate::cloud::outgoing::MAX_PACKETS;

/// The host gives back all that it was asked to send.
fn refuse(rig: &mut Rig) {
    for request in rig.take_asked() {
        let tcp::Request::Send(id, bytes) = request else { panic!("{request:?}") };
        rig.tcp(tcp::Event::Overflow(id, bytes));
    }
}

fn upload(rig: &mut Rig, body: &[u8]) -> bool {
    rig.act(|cloud, now| cloud.send(now, Kind::Upload, body))
}

#[test]
fn nothing_is_taken_before_there_is_a_session_key() {
    let mut rig = Rig::opened(CloudSettings::default(), &["a:1"]);
    assert!(!upload(&mut rig, b"report") && !rig.cloud.has_room());
    rig.tcp(tcp::Event::Opened(rig.stream()));
    assert!(!upload(&mut rig, b"report") && !rig.cloud.has_room());
    rig.closed("reset");
    assert!(!upload(&mut rig, b"report") && !rig.cloud.has_room());
}

#[test]
fn what_the_host_gives_back_is_sent_in_order_when_it_has_room() {
    let mut rig = Rig::working(CloudSettings::default());
    assert!(upload(&mut rig, b"1") && upload(&mut rig, b"2"));
    refuse(&mut rig);
    assert!(upload(&mut rig, b"3"));
    rig.pass(HEARTBEAT_MS);
    assert_eq!(rig.take_asked(), []);
    rig.tcp(tcp::Event::Drained(FIRST));
    let bodies: Vec<_> = rig.take_sent().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, [&b"1"[..], b"2", b"3", HEARTBEAT]);
    assert!(upload(&mut rig, b"4"));
    assert_eq!(rig.take_sent().len(), 1);
}

#[test]
fn a_full_queue_takes_no_more_and_goes_with_its_connection() {
    let mut rig = Rig::working(CloudSettings::default());
    assert!(upload(&mut rig, b"first"));
    refuse(&mut rig);
    let mut n_taken = 1;
    while upload(&mut rig, b"report") {
        n_taken += 1;
    }
    assert_eq!((n_taken, rig.cloud.has_room(), rig.dropped()), (MAX_PACKETS, false, vec![]));
    // Heartbeats for which there is no room are not answered either.
    rig.pass(4 * HEARTBEAT_MS);
    rig.check_ended(Phase::Waiting, "not answered");
    assert_eq!(rig.cloud.n_waiting(), 0);
    rig.act(Cloud::network_up);
    rig.tcp(tcp::Event::Opened(rig.stream()));
    rig.take_asked();
    rig.receive(&answer());
    assert!(rig.cloud.has_room());
    rig.tcp(tcp::Event::Drained(rig.stream()));
    assert_eq!(rig.take_asked(), []);
}

#[test]
fn more_than_is_kept_is_lost_and_counted() {
    let mut rig = Rig::working(CloudSettings::default());
    for _ in 0..MAX_PACKETS + 3 {
        assert!(upload(&mut rig, b"in one go"));
    }
    refuse(&mut rig);
    assert_eq!(rig.dropped(), [("overflow", 3)]);
    rig.tcp(tcp::Event::Drained(FIRST));
    assert_eq!(rig.take_sent().len(), MAX_PACKETS);
}

#[test]
fn a_report_that_no_packet_can_hold_is_dropped_for_good() {
    let mut rig = Rig::working(CloudSettings::default());
    assert!(upload(&mut rig, &[0; 65_515]));
    assert_eq!(rig.take_sent()[0].1.len(), 65_515);
    assert!(upload(&mut rig, &[0; 65_516]));
    assert_eq!((rig.take_asked(), rig.dropped()), (vec![], vec![("too_long", 1)]));
    assert_eq!(rig.take_warnings().len(), 1);
}

#[test]
fn packets_count_on_from_the_time_of_the_cloud_whatever_the_hosts_clock_says() {
    let mut rig = Rig::working(CloudSettings::default());
    let stamp = |rig: &mut Rig| {
        assert!(upload(rig, b""));
        rig.take_packets()[0].open(&session_key()).unwrap().timestamp
    };
    rig.pass(2_000);
    assert_eq!(stamp(&mut rig), 1_446_192_003);
    rig.now.wall = wall();
    assert_eq!(stamp(&mut rig), 1_446_192_003);
}
