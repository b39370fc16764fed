//! Opening and closing.

use polylink_plugin_sdk::session::Level;

use super::*;

fn bind(id: RequestId, address: &str, port: u16) -> LanOutput {
    LanOutput::Udp(udp::Request::Bind { id, address: address.to_owned(), port, broadcast: false })
}

fn level(outputs: &[LanOutput]) -> Level {
    let [LanOutput::Log(level, text), LanOutput::StatusChanged] = outputs else { panic!("a line, not {outputs:?}") };
    assert!(text.contains("port"), "{text}");
    *level
}

#[test]
fn both_ports_are_opened_at_the_start_without_leave_to_broadcast_and_known_then() {
    let mut rig = Rig::fresh(LanSettings { address: "192.0.2.1".to_owned(), ..Default::default() });
    rig.lan.start();
    assert_eq!(rig.lan.take_outputs(), [bind(FIRST, "192.0.2.1", 80), bind(SECOND, "192.0.2.1", 4320)]);
    assert!(rig.lan.ports().is_empty());
    assert_eq!(level(&rig.udp(udp::Event::Bound(SECOND, 4320))), Level::Info);
    assert_eq!(rig.lan.ports(), [4320]);
    assert_eq!(level(&rig.udp(udp::Event::Bound(FIRST, 80))), Level::Info);
    assert_eq!(rig.lan.ports(), [80, 4320]);
}

#[test]
fn a_device_that_is_not_to_be_on_the_lan_opens_nothing() {
    let mut rig = Rig::fresh(LanSettings { enabled: false, ..Default::default() });
    rig.lan.start();
    assert_eq!(rig.lan.take_outputs(), []);
    assert_eq!(rig.lan.next_timeout(), None);
}

#[test]
fn four_different_ports_at_most_are_opened_each_with_an_id_of_its_own() {
    let ports = vec![0, 9000, 9000, 0, 9001];
    let mut rig = Rig::fresh(LanSettings { ports, ..Default::default() });
    rig.lan.start();
    assert_eq!(rig.lan.take_outputs(), [bind(FIRST, "", 0), bind(SECOND, "", 9000), bind(RequestId(13), "", 0)]);
}

#[test]
fn a_port_without_privilege_is_a_warning_only_if_no_other_is_open_or_opening() {
    let mut rig = Rig::fresh(LanSettings::default());
    rig.lan.start();
    rig.lan.take_outputs();
    let denied = |rig: &mut Rig, id| level(&rig.udp(udp::Event::Closed(id, failure("permission denied"))));
    assert_eq!(denied(&mut rig, FIRST), Level::Info);
    assert_eq!(denied(&mut rig, SECOND), Level::Warn);
    assert_eq!(rig.wait(12_000).len(), 2);
    rig.udp(udp::Event::Bound(SECOND, 4320));
    for _ in 0..10 {
        assert_eq!(denied(&mut rig, FIRST), Level::Info);
        assert_eq!(rig.wait(300_000), [bind(FIRST, "", 80)]);
    }
    assert_eq!(rig.lan.ports(), [4320]);
}

#[test]
fn a_port_is_tried_again_after_ten_seconds_and_ever_more_rarely_and_says_so_once_each_time() {
    let mut rig = Rig::fresh(LanSettings { ports: vec![80], ..Default::default() });
    rig.lan.start();
    rig.lan.take_outputs();
    let mut delays = Vec::new();
    for _ in 0..9 {
        let outputs = rig.udp(udp::Event::Closed(FIRST, failure("permission denied")));
        let [LanOutput::Log(Level::Warn, text), LanOutput::StatusChanged] = &outputs[..] else { panic!("{outputs:?}") };
        assert!(text.contains("port 80") && text.contains("permission denied"), "{text}");
        assert_eq!(rig.udp(udp::Event::Closed(FIRST, failure("again"))), []);
        delays.push(rig.lan.next_timeout().unwrap().since(rig.now.monotonic));
        assert_eq!(rig.wait(*delays.last().unwrap()), [bind(FIRST, "", 80)]);
    }
    assert!((8000..=12_000).contains(&delays[0]) && delays[8] <= 300_000 && delays[8] > 200_000, "{delays:?}");
}

#[test]
fn nothing_is_heard_from_a_socket_that_broke_until_it_is_open_again() {
    let mut rig = Rig::open();
    let bytes = discovery("{}").encode(Network::Lan).unwrap();
    rig.udp(udp::Event::Closed(FIRST, failure("interface gone")));
    assert_eq!(rig.datagram(&bytes), []);
    assert_eq!(rig.wait(12_000), [bind(FIRST, "", 80)]);
    assert_eq!(rig.datagram(&bytes), []);
    rig.udp(udp::Event::Bound(FIRST, 80));
    assert_eq!(rig.datagram(&bytes).len(), 1);
}

#[test]
fn stopping_closes_all_ports_and_nothing_is_heard_after() {
    let mut rig = Rig::open();
    let part = fragments(discovery(&format!("{{{}}}", " ".repeat(2000))), 1).unwrap().remove(0);
    rig.packet(&part);
    rig.lan.stop();
    assert_eq!(
        rig.lan.take_outputs(),
        [
            LanOutput::Udp(udp::Request::Close(FIRST)),
            LanOutput::Udp(udp::Request::Close(SECOND)),
            LanOutput::StatusChanged,
        ]
    );
    assert!(rig.lan.ports().is_empty());
    assert_eq!(rig.udp(udp::Event::Closed(FIRST, failure("closed"))), []);
    assert_eq!(rig.packet(&discovery("{}")), []);
    assert_eq!(rig.lan.next_timeout(), None);
}

#[test]
fn news_of_the_sockets_of_others_are_ignored() {
    let mut rig = Rig::open();
    let other = RequestId(12);
    let bytes = discovery("{}").encode(Network::Lan).unwrap();
    assert_eq!(rig.udp(udp::Event::Bound(other, 1)), []);
    assert_eq!(rig.udp(udp::Event::Closed(other, failure("gone"))), []);
    assert_eq!(rig.udp(udp::Event::Received(other, PHONE.to_owned(), bytes)), []);
}
