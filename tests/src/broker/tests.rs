use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::hooks::Open;
use super::*;

struct OnlyA;

impl Hooks for OnlyA {
    fn connect(&self, connect: &Connect) -> u8 {
        if connect.username.as_deref() == Some("a") { 0 } else { 4 }
    }

    fn subscribe(&self, _client: &str, filter: &str, qos: u8) -> Option<u8> {
        (filter == "ok").then_some(qos)
    }

    fn message(&self, _client: &str, message: &Publish) -> Result<(), String> {
        if message.topic == "device" { Ok(()) } else { Err(format!("published on {}", message.topic)) }
    }
}

const CONNECT_A: &[u8] = b"\x10\x10\0\x04MQTT\x04\x82\0\x3c\0\x01c\0\x01a";
const CONNECT_NOBODY: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c";
const SUBSCRIBE: &[u8] = b"\x82\x0c\0\x05\0\x02ok\x01\0\x02no\x01";

/// Talks to a broker from another thread: bytes out, then the bytes that are expected.
fn check(
    hooks: impl Hooks,
    before: impl FnOnce(&Broker),
    talk: &'static [(&'static [u8], &'static [u8])],
) -> BrokerLog {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::start(Arc::new(hooks), None).unwrap();
        before(&broker);
        let addr = broker.addr();
        let client = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            for (out, expected) in talk {
                stream.write_all(out).unwrap();
                let mut answer = vec![0; expected.len()];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, *expected);
            }
            // The broker closes once it has dealt with everything it was sent.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        });
        client.await.unwrap();
        broker.log()
    })
}

#[test]
fn a_client_is_let_in_subscribes_where_it_may_and_publishes() {
    let log = check(
        OnlyA,
        |_| {},
        &[
            (CONNECT_A, b"\x20\x02\0\0"),
            (SUBSCRIBE, b"\x90\x04\0\x05\x01\x80"),
            (b"\x32\x0b\0\x06device\0\x07x", b"\x40\x02\0\x07"),
            (b"\xC0\0", b"\xD0\0"),
        ],
    );
    assert_eq!((log.violations, log.messages), (vec![], 1));
}

#[test]
fn a_client_without_the_right_user_gets_code_4() {
    let log = check(OnlyA, |_| {}, &[(CONNECT_NOBODY, b"\x20\x02\0\x04")]);
    assert_eq!(log.connects[0].1, 4);
}

#[test]
fn a_message_where_it_is_not_allowed_cuts_the_client_off() {
    let log = check(OnlyA, |_| {}, &[(CONNECT_A, b"\x20\x02\0\0"), (b"\x30\x04\0\x01xy", b"")]);
    assert_eq!(log.violations, ["c: published on x"]);
}

#[test]
fn a_client_hears_what_it_published_when_it_subscribed_to_it() {
    check(
        Open,
        |_| {},
        &[
            (CONNECT_NOBODY, b"\x20\x02\0\0"),
            (b"\x82\x06\0\x01\0\x01#\x00", b"\x90\x03\0\x01\0"),
            (b"\x30\x04\0\x01ax", b"\x30\x04\0\x01ax"),
        ],
    );
}

#[test]
fn a_refusing_broker_answers_the_code_it_was_told() {
    let refuse = |broker: &Broker| broker.set_faults(Faults { refuse: Some(3), ..Faults::default() });
    check(Open, refuse, &[(CONNECT_NOBODY, b"\x20\x02\0\x03")]);
}

#[test]
fn a_broker_that_went_away_comes_back_on_the_same_port() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::start(Arc::new(Open), None).unwrap();
        broker.go_away();
        while tokio::net::TcpStream::connect(broker.addr()).await.is_ok() {}
        broker.come_back().unwrap();
        tokio::net::TcpStream::connect(broker.addr()).await.unwrap();
    });
}
