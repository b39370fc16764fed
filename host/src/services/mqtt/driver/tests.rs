//! The loop against a scripted broker, over a pipe in memory and in virtual time.

use std::sync::Mutex;

use hex_literal::hex;
use polylink_plugin_api::services::mqtt::MqttPublish;
use tokio::io::DuplexStream;

use super::super::watch::Patience;
use super::*;

/// An inbox that takes `room` deliveries and then blocks.
struct Inbox {
    events: Mutex<Vec<OwnedEvent>>,
    room: tokio::sync::Semaphore,
}

impl EventSink for Inbox {
    fn complete(&self, event: OwnedEvent) {
        locked(&self.events).push(event);
    }

    fn offer(&self, event: OwnedEvent) -> bool {
        self.complete(event);
        true
    }

    fn deliver<'a>(&'a self, event: OwnedEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            self.room.acquire().await.expect("never closed").forget();
            self.complete(event);
        })
    }
}

impl Inbox {
    fn with_room(room: usize) -> Self {
        Self { events: Mutex::default(), room: tokio::sync::Semaphore::new(room) }
    }

    fn kinds(&self) -> Vec<(u32, u64)> {
        locked(&self.events).iter().map(|event| (event.kind, event.token)).collect()
    }
}

struct Broker(DuplexStream);

impl Broker {
    async fn says(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn hears(&mut self, bytes: &[u8]) {
        let mut heard = vec![0; bytes.len()];
        self.0.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, bytes);
    }

    async fn accepts(&mut self) {
        self.hears(HELLO).await;
        self.says(&ACCEPTED).await;
    }
}

const HELLO: &[u8] = b"hello";
const ACCEPTED: [u8; 4] = hex!("20 02 00 00");
const HANDLE: u64 = 77;

/// Runs a connection against a script; how it ended, and what was told.
async fn play<F, Fut>(keepalive_s: u16, room: usize, script: F) -> (End, Vec<OwnedEvent>)
where
    F: FnOnce(Broker, std::sync::Arc<Connection>, std::sync::Arc<Inbox>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let connection = std::sync::Arc::new(Connection::new(Patience::new(keepalive_s, 0, 0)));
    let inbox = std::sync::Arc::new(Inbox::with_room(room));
    let script = tokio::spawn(script(Broker(theirs), connection.clone(), inbox.clone()));
    let by = Instant::now() + Duration::from_secs(10);
    let end = run(Outlet { sink: &*inbox, handle: HANDLE }, &connection, ours, HELLO, by).await;
    script.await.unwrap();
    let events = locked(&inbox.events).clone();
    (end, events)
}

/// Plays a broker that says these bytes and closes; the code of the end.
async fn check_end(says: Vec<u8>, code: i64) -> String {
    let (end, _) = play(0, 10, move |mut broker, _, _| async move {
        broker.hears(HELLO).await;
        broker.says(&says).await;
    })
    .await;
    let End::Closed(refusal) = end else { panic!("{end:?}") };
    assert_eq!(refusal.code, code, "{}", refusal.text);
    refusal.text
}

fn publish(connection: &Connection, token: u64, qos: u8) {
    let message = MqttPublish { topic: "t".into(), payload: b"x".as_slice().into(), qos, retain: false };
    locked(&connection.state).publish(token, &message).unwrap();
    connection.changed.notify_one();
}

#[tokio::test]
async fn a_refusal_keeps_its_code_also_an_unknown_one() {
    for code in [1, 5, 99] {
        let (end, events) = play(0, 0, move |mut broker, _, _| async move {
            broker.hears(HELLO).await;
            broker.says(&[0x20, 2, 0, code]).await;
        })
        .await;
        assert_eq!((end, events), (End::Refused(code), vec![]));
    }
}

#[tokio::test]
async fn a_kept_session_is_told() {
    let (_, events) = play(0, 0, |mut broker, _, _| async move {
        broker.hears(HELLO).await;
        broker.says(&hex!("20 02 01 00")).await;
    })
    .await;
    assert_eq!((events[0].kind, events[0].token, events[0].code), (CONNECTED, HANDLE, 1));
}

#[tokio::test]
async fn garbage_ends_the_connection_as_a_breach_of_the_protocol() {
    check_end(b"HTTP/1.1 400 Bad Request\r\n".to_vec(), HostRefusal::PROTOCOL).await;
    check_end(hex!("D0 00").to_vec(), HostRefusal::PROTOCOL).await;
    for garbage in
        [&hex!("00 00")[..], &hex!("36 05 0001 74 0001"), &hex!("90 FF FF FF FF"), &hex!("32 05 0001 74 0000")]
    {
        check_end([&ACCEPTED, garbage].concat(), HostRefusal::PROTOCOL).await;
    }
}

#[tokio::test]
async fn an_oversize_packet_ends_the_connection_and_the_text_says_so() {
    let text = check_end([&ACCEPTED[..], &hex!("30 FF FF FF 7F")].concat(), HostRefusal::PROTOCOL).await;
    assert!(text.contains("268435455 bytes"), "{text}");
}

#[tokio::test]
async fn half_a_packet_is_waited_for_and_a_cut_is_told() {
    check_end(hex!("20 02 00").to_vec(), HostRefusal::CONNECTION_LOST).await;
    check_end([&ACCEPTED[..], &hex!("30 10 00")].concat(), HostRefusal::CONNECTION_LOST).await;
    let (_, events) = play(0, 1, |mut broker, _, _| async move {
        broker.accepts().await;
        for byte in hex!("31 04 0001 74 78") {
            broker.says(&[byte]).await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    let expected =
        OwnedEvent { source: Mqtt::ID, kind: MESSAGE, token: HANDLE, code: 1, text: "t".into(), body: b"x".to_vec() };
    assert_eq!(events[1], expected);
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_is_given_up_in_time() {
    let started = Instant::now();
    let (end, _) = play(0, 0, |mut broker, _, _| async move {
        broker.hears(HELLO).await;
        // Holds the line until the host lets go.
        assert_eq!(broker.0.read(&mut [0]).await.unwrap(), 0);
    })
    .await;
    assert!(matches!(end, End::Closed(refusal) if refusal.code == HostRefusal::TIMEOUT));
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_answers_no_ping_is_dead() {
    let (end, _) = play(20, 0, |mut broker, _, _| async move {
        broker.accepts().await;
        broker.hears(&hex!("C0 00")).await;
        broker.says(&hex!("D0 00")).await;
        broker.hears(&hex!("C0 00")).await;
        assert_eq!(broker.0.read(&mut [0]).await.unwrap(), 0);
    })
    .await;
    let End::Closed(refusal) = end else { panic!("{end:?}") };
    assert_eq!(refusal.code, HostRefusal::TIMEOUT);
    assert!(refusal.text.contains("10000 ms"), "{}", refusal.text);
}

#[tokio::test]
async fn what_is_queued_goes_out_before_disconnect() {
    let (end, events) = play(0, 0, |mut broker, connection, inbox| async move {
        broker.accepts().await;
        while inbox.kinds().is_empty() {
            tokio::task::yield_now().await;
        }
        publish(&connection, 1, 0);
        publish(&connection, 2, 1);
        connection.disconnect();
        broker.hears(&hex!("30 04 0001 74 78  32 06 0001 74 0001 78  E0 00")).await;
        assert_eq!(broker.0.read(&mut [0]).await.unwrap(), 0);
    })
    .await;
    assert_eq!(end, End::Closed(closed_on_request()));
    assert_eq!((events[1].kind, events[1].token), (PUBLISHED, 1));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_reads_nothing_cannot_hold_up_the_end() {
    let (end, _) = play(0, 0, |mut broker, connection, _| async move {
        broker.accepts().await;
        let payload = vec![0; PAYLOAD_MAX];
        let message = MqttPublish { topic: "t".into(), payload: payload.as_slice().into(), qos: 0, retain: false };
        locked(&connection.state).publish(1, &message).unwrap();
        connection.disconnect();
        tokio::time::sleep(2 * LEAVE_TIME_MAX).await;
    })
    .await;
    assert_eq!(end, End::Closed(closed_on_request()));
}

#[tokio::test]
async fn while_the_inbox_is_full_nothing_is_acknowledged_and_publishing_goes_on() {
    let (_, events) = play(0, 0, |mut broker, connection, inbox| async move {
        broker.accepts().await;
        broker.says(&hex!("32 06 0001 74 0001 78  32 06 0001 74 0002 79")).await;
        publish(&connection, 5, 0);
        broker.hears(&hex!("30 04 0001 74 78")).await;
        assert_eq!(inbox.kinds().iter().filter(|(kind, _)| *kind == MESSAGE).count(), 0);
        inbox.room.add_permits(2);
        broker.hears(&hex!("40 02 0001 40 02 0002")).await;
    })
    .await;
    assert_eq!(events.iter().filter(|event| event.kind == MESSAGE).count(), 2);
}
