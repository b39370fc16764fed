//! Discovery, onboarding, announces.

use hex_literal::hex;

use super::*;

const DISCOVERY: [u8; 8] = hex!("00000003 03 00 0003");
const ONBOARDING: [u8; 28] = hex!("00000003 17 00 0001 0006 6d7973736964 000a 6d7970617373776f7264");

fn join(outputs: &[LanOutput]) -> Vec<(&str, &str)> {
    let mut joins = Vec::new();
    for output in outputs {
        if let LanOutput::JoinNetwork { ssid, password } = output {
            joins.push((ssid.as_str(), password.expose().as_str()));
        }
    }
    joins
}

#[test]
fn a_discovery_is_answered_at_once_to_who_asked_as_the_vendors_module_does() {
    let mut rig = Rig::open(LanSettings::default());
    let outputs = rig.datagram(&DISCOVERY);
    let bytes = hex!(
        "00000003 4f 00 0004 0016 4162436445664768496a4b6c4d6e4f70517253745576 0006 02005e102030 0000
         0020 3666333037346665343338393435343761346631333134626437653361653062 0000000000000000"
    );
    assert_eq!(outputs, [LanOutput::Udp(udp::Request::SendTo(SOCKET, PHONE.to_owned(), bytes.to_vec()))]);
}

#[test]
fn a_device_without_a_did_is_found_too_and_while_it_announces() {
    let mut rig = Rig::open(LanSettings::default());
    rig.about.did.clear();
    rig.lan.network_up(rig.now);
    rig.wait(5500);
    let outputs = rig.datagram(&DISCOVERY);
    assert_eq!(&datagrams(&outputs)[0].1.payload[..4], hex!("0000 0006"));
}

#[test]
fn datagrams_that_are_not_for_us_are_ignored_and_counted() {
    let mut rig = Rig::open(LanSettings::default());
    for (bytes, reason) in [
        (&hex!("00000003 04 00 0003")[..], "length"),
        (&hex!("00000003 03 00 0003 00"), "length"),
        (&hex!("00000004 03 00 0003"), "version"),
        (&hex!("00000003 ffffffff7f 00 0003"), "varlen"),
        (&hex!("00000003 03 01 0003"), "flag"),
        (&hex!("00000003 ffff 7f"), "too_long"),
        (&hex!("00000003 03 00 0004"), "unknown_command"),
        (&hex!("00000003 03 00 0006"), "unknown_command"),
        (&hex!("00000003 04 00 0001 00"), "payload"),
    ] {
        let before = rig.lan.counters().udp(reason);
        assert_eq!(rig.datagram(bytes), [], "{reason}");
        assert_eq!(rig.lan.counters().udp(reason), before + 1, "{reason}");
    }
}

#[test]
fn ten_thousand_discoveries_are_not_ten_thousand_answers() {
    let mut rig = Rig::open(LanSettings::default());
    let flood = |rig: &mut Rig| (0..10_000).map(|_| rig.datagram(&DISCOVERY).len()).sum::<usize>();
    assert_eq!(flood(&mut rig), 100);
    assert_eq!(rig.lan.counters().udp("rate"), 9900);
    rig.wait(1000);
    assert_eq!(flood(&mut rig), 50);
}

#[test]
fn a_network_is_taken_while_the_device_waits_for_one_and_only_then() {
    let mut rig = Rig::open(LanSettings::default());
    assert_eq!(rig.datagram(&ONBOARDING), []);
    assert_eq!(rig.lan.counters().udp("not_onboarding"), 1);
    rig.about.onboarding = true;
    let outputs = rig.datagram(&ONBOARDING);
    assert_eq!(datagrams(&outputs), [(PHONE.to_owned(), Frame::empty(0x02))]);
    assert_eq!(join(&outputs), [("myssid", "mypassword")]);
    assert!(matches!(outputs[0], LanOutput::Udp(_)), "the answer comes before the network changes");
    let text = format!("{outputs:?}");
    assert!(!text.contains("mypassword"), "{text}");
}

#[test]
fn a_repeated_network_is_answered_again_but_handed_over_once() {
    let mut rig = Rig::open(LanSettings::default());
    rig.about.onboarding = true;
    rig.datagram(&ONBOARDING);
    // Onboarding is over, but the application has not heard the answer.
    rig.about.onboarding = false;
    for _ in 0..3 {
        rig.wait(1000);
        let outputs = rig.datagram(&ONBOARDING);
        assert_eq!(datagrams(&outputs), [(PHONE.to_owned(), Frame::empty(0x02))]);
        assert!(join(&outputs).is_empty());
    }
    rig.wait(30_000);
    assert_eq!(rig.datagram(&ONBOARDING), []);
    rig.about.onboarding = true;
    assert_eq!(join(&rig.datagram(&ONBOARDING)).len(), 1);
}

#[test]
fn a_network_is_forgotten_in_time_even_if_the_timeout_comes_late() {
    let mut rig = Rig::open(LanSettings::default());
    rig.about.onboarding = true;
    rig.datagram(&ONBOARDING);
    rig.now = rig.now.after(30_000);
    assert_eq!(join(&rig.datagram(&ONBOARDING)).len(), 1);
}

#[test]
fn another_network_is_handed_over_too() {
    let mut rig = Rig::open(LanSettings::default());
    rig.about.onboarding = true;
    rig.datagram(&ONBOARDING);
    let outputs = rig.datagram(&hex!("00000003 08 00 0001 0001 61 0000"));
    assert_eq!(join(&outputs), [("a", "")]);
}

#[test]
fn thirty_announces_are_broadcast_one_a_second_once_the_network_is_up() {
    let mut rig = Rig::open(LanSettings { announce_to: vec!["198.51.100.1:2415".to_owned()], ..Default::default() });
    assert_eq!(rig.wait(10_000), []);
    rig.lan.network_up(rig.now);
    let first = datagrams(&rig.wait(0));
    let announce = rig.about_frame(0x05);
    assert_eq!(first, [("198.51.100.1:2415".to_owned(), announce.clone()), ("*:2415".to_owned(), announce)]);
    assert_eq!(datagrams(&rig.wait(999)).len(), 0);
    assert_eq!(datagrams(&rig.wait(1)).len(), 2);
    assert_eq!(datagrams(&rig.wait(3_600_000)).len(), 2 * 28);
}

#[test]
fn the_announce_is_not_repeated_when_the_network_comes_back() {
    let mut rig = Rig::open(LanSettings::default());
    rig.lan.network_up(rig.now);
    rig.wait(10_000);
    rig.lan.network_up(rig.now);
    assert_eq!(datagrams(&rig.wait(60_000)).len(), 30 - 11);
    rig.lan.network_up(rig.now);
    assert_eq!(rig.wait(60_000), []);
}

#[test]
fn after_a_configuration_its_success_is_told_in_place_of_the_announce() {
    let mut rig = Rig::open(LanSettings::default());
    rig.lan.network_up(rig.now);
    rig.wait(2500);
    rig.lan.network_joined(rig.now);
    rig.lan.network_up(rig.now);
    let told = datagrams(&rig.wait(60_000));
    assert_eq!(told.len(), 30);
    assert!(told.iter().all(|(to, frame)| to == "*:2415" && frame.command == command::CONFIG_SUCCESS));
    let expected = hex!(
        "0006 02005e102030 0020 3666333037346665343338393435343761346631333134626437653361653062
         0016 4162436445664768496a4b6c4d6e4f70517253745576"
    );
    assert_eq!(told[0].1.payload, expected);
}

#[test]
fn announces_wait_for_the_socket_and_are_complete_then() {
    let mut rig = Rig::fresh(LanSettings::default());
    rig.lan.start();
    rig.lan.network_up(rig.now);
    rig.lan.take_outputs();
    assert_eq!(rig.wait(100_000), []);
    rig.udp(udp::Event::Bound(SOCKET, 12_414));
    assert_eq!(datagrams(&rig.wait(60_000)).len(), 30);
}

impl Rig {
    fn about_frame(&mut self, command: u16) -> Frame {
        let outputs = self.datagram(&DISCOVERY);
        Frame { command, ..datagrams(&outputs).remove(0).1 }
    }
}
