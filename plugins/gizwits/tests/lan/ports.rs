//! Opening and closing.

use polylink_plugin_sdk::session::Level;

use super::*;

fn opens(outputs: &[LanOutput]) -> (bool, bool) {
    let tcp = |output: &LanOutput| matches!(output, LanOutput::Tcp(tcp::Request::Listen { id: LISTENER, .. }));
    let udp = |output: &LanOutput| matches!(output, LanOutput::Udp(udp::Request::Bind { id: SOCKET, .. }));
    (outputs.iter().any(tcp), outputs.iter().any(udp))
}

#[test]
fn both_ports_are_opened_at_the_start_and_known_then() {
    let mut rig = Rig::fresh(LanSettings { address: "192.0.2.1".to_owned(), ..Default::default() });
    rig.lan.start();
    let address = "192.0.2.1".to_owned();
    assert_eq!(
        rig.lan.take_outputs(),
        [
            LanOutput::Tcp(tcp::Request::Listen {
                id: LISTENER,
                address: address.clone(),
                port: 12_416,
                max_streams: 8
            }),
            LanOutput::Udp(udp::Request::Bind { id: SOCKET, address, port: 12_414, broadcast: true }),
        ]
    );
    assert_eq!(rig.lan.ports(), (None, None));
    assert!(rig.tcp(tcp::Event::Listening(LISTENER, 4001)).contains(&LanOutput::StatusChanged));
    assert!(rig.udp(udp::Event::Bound(SOCKET, 4002)).contains(&LanOutput::StatusChanged));
    assert_eq!(rig.lan.ports(), (Some(4001), Some(4002)));
}

#[test]
fn a_device_that_is_not_to_be_on_the_lan_opens_nothing() {
    let mut rig = Rig::fresh(LanSettings { enabled: false, ..Default::default() });
    rig.lan.start();
    rig.lan.network_up(rig.now);
    assert_eq!(rig.lan.take_outputs(), []);
    assert_eq!(rig.lan.next_timeout(), None);
}

#[test]
fn a_port_in_use_is_tried_again_after_ten_seconds_and_ever_more_rarely_up_to_five_minutes() {
    let mut rig = Rig::fresh(LanSettings::default());
    rig.lan.start();
    rig.lan.take_outputs();
    let mut delays = Vec::new();
    for _ in 0..9 {
        let outputs = rig.tcp(tcp::Event::Closed(LISTENER, failure("address in use")));
        let LanOutput::Log(Level::Warn, text) = &outputs[0] else { panic!("a warning, not {outputs:?}") };
        assert!(text.contains("address in use"), "{text}");
        delays.push(rig.lan.next_timeout().unwrap().since(rig.now));
        assert_eq!(opens(&rig.wait(*delays.last().unwrap())), (true, false));
    }
    let jitter = |delay: u64, middle: u64| (middle * 8 / 10..=middle * 12 / 10).contains(&delay);
    assert!(jitter(delays[0], 10_000) && jitter(delays[1], 20_000) && jitter(delays[2], 40_000), "{delays:?}");
    assert!(delays.iter().all(|delay| *delay <= 300_000), "{delays:?}");
    rig.tcp(tcp::Event::Listening(LISTENER, 12_416));
    rig.client();
}

#[test]
fn a_port_that_was_open_for_a_minute_is_tried_again_soon() {
    let mut rig = Rig::fresh(LanSettings::default());
    rig.lan.start();
    for _ in 0..5 {
        rig.tcp(tcp::Event::Closed(LISTENER, failure("address in use")));
        rig.wait(300_000);
    }
    rig.tcp(tcp::Event::Listening(LISTENER, 12_416));
    rig.wait(60_000);
    rig.tcp(tcp::Event::Closed(LISTENER, failure("interface gone")));
    assert!(opens(&rig.wait(12_000)).0);
}

#[test]
fn a_socket_that_breaks_is_opened_again() {
    let mut rig = Rig::open(LanSettings::default());
    rig.udp(udp::Event::Closed(SOCKET, failure("interface gone")));
    assert_eq!(rig.lan.ports(), (Some(12_416), None));
    assert_eq!(rig.datagram(&Frame::empty(0x03).encode()), []);
    assert_eq!(opens(&rig.wait(12_000)), (false, true));
    rig.udp(udp::Event::Bound(SOCKET, 12_414));
    assert_eq!(rig.datagram(&Frame::empty(0x03).encode()).len(), 1);
}

#[test]
fn clients_stay_when_the_listener_breaks() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.client();
    rig.tcp(tcp::Event::Closed(LISTENER, failure("gone")));
    assert_eq!(sent(&rig.say(stream, &Frame::empty(0x15)), stream), [Frame::empty(0x16)]);
}

#[test]
fn stopping_closes_everything_and_nothing_is_heard_after() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.client();
    rig.lan.network_up(rig.now);
    rig.lan.stop();
    assert_eq!(
        rig.lan.take_outputs(),
        [
            LanOutput::Tcp(tcp::Request::Close(stream)),
            LanOutput::Tcp(tcp::Request::Close(LISTENER)),
            LanOutput::Udp(udp::Request::Close(SOCKET)),
            LanOutput::LoggedIn(0),
            LanOutput::StatusChanged,
        ]
    );
    assert_eq!(rig.tcp(tcp::Event::Closed(stream, failure("closed"))), []);
    assert_eq!(rig.tcp(tcp::Event::Closed(LISTENER, failure("closed"))), []);
    assert_eq!(rig.udp(udp::Event::Closed(SOCKET, failure("closed"))), []);
    assert_eq!(rig.datagram(&Frame::empty(0x03).encode()), []);
    let (late, outputs) = rig.connect_from(PHONE);
    assert_eq!(outputs, [LanOutput::Tcp(tcp::Request::Close(late))]);
    assert_eq!(rig.lan.next_timeout(), None);
}

#[test]
fn news_of_the_ports_and_streams_of_others_are_ignored() {
    let mut rig = Rig::open(LanSettings::default());
    let other = RequestId(77);
    assert_eq!(rig.tcp(tcp::Event::Listening(other, 1)), []);
    assert_eq!(rig.tcp(tcp::Event::Closed(other, failure("gone"))), []);
    assert_eq!(rig.tcp(tcp::Event::Received(other, vec![1])), []);
    assert_eq!(rig.tcp(tcp::Event::Accepted { listener: other, stream: other, peer: PHONE.to_owned() }), []);
    assert_eq!(rig.udp(udp::Event::Received(other, PHONE.to_owned(), Frame::empty(0x03).encode())), []);
}
