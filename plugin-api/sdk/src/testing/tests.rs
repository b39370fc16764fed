use super::*;
use crate::services::store;

#[test]
fn timeouts_come_at_their_time_and_the_wall_clock_goes_along() {
    let mut host = VirtualHost::new::<Ticker>(Setup::default());
    host.start();
    let begin = host.now();
    host.advance(3500);
    assert_eq!(host.now().monotonic, begin.monotonic.after(3500));
    assert_eq!(host.now().wall.unix_ms, begin.wall.unix_ms + 3500);
    let ticks: Vec<_> = host.logs().iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(ticks, ["1001000", "1002000", "1003000"]);
    assert_eq!(host.advance_to_next_timeout(), 500);
}

#[test]
fn what_was_stored_survives_a_restart_also_through_the_abi() {
    for mut host in [VirtualHost::new::<Ticker>(Setup::default()), VirtualHost::through_abi::<Ticker>(Setup::default())]
    {
        host.start();
        assert_eq!(host.stored("starts"), Some(&[1][..]));
        host.restart();
        assert_eq!(host.stored("starts"), Some(&[2][..]));
    }
}

#[test]
fn a_store_that_fails_says_so_and_keeps_nothing() {
    let mut host = VirtualHost::new::<Ticker>(Setup::default());
    host.fail_store(true);
    host.start();
    assert_eq!(host.stored("starts"), None);
    assert!(host.logs()[0].1.contains("told to fail"));
}

#[test]
fn what_a_real_host_would_refuse_is_refused() {
    let put = |key: &str, n_bytes| limits::store(&store::Request::Put(key.to_owned(), vec![0; n_bytes])).is_ok();
    assert_eq!(
        [put("a-1", 65_536), put("a", 65_537), put("A", 0), put("", 0), put(".a", 0)],
        [true, false, false, false, false]
    );
    let publish = |topic: &str, qos, n_bytes| {
        let message = mqtt::Message { topic: topic.to_owned(), payload: vec![0; n_bytes], qos, retain: false };
        limits::publish(&message).is_ok()
    };
    assert_eq!(
        [publish("a", 2, 262_144), publish("a", 0, 262_145), publish("a/#", 0, 0), publish("a", 3, 0)],
        [true, false, false, false]
    );
    let load = |name: &str, n_bytes, n_scripts| limits::load(name, &" ".repeat(n_bytes), n_scripts).is_ok();
    assert_eq!(
        [load("a", 262_144, 3), load("a", 262_145, 0), load("", 0, 0), load("a\n", 0, 0), load("a", 0, 4)],
        [true, false, false, false, false]
    );
}

#[test]
#[should_panic(expected = "expected a publish on `t`; what was asked and not yet expected: []")]
fn an_expectation_that_is_not_met_says_what_was_asked_instead() {
    let mut host = VirtualHost::new::<Ticker>(Setup::default());
    host.start();
    host.expect_publish_on("t");
}

#[test]
#[should_panic(expected = "again and again without time passing")]
fn a_session_that_wants_timeouts_without_end_is_caught() {
    let mut host = VirtualHost::new::<Ticker>(Setup::new("0", ""));
    host.start();
    host.advance(1);
}

#[test]
fn the_transcript_shows_text_and_no_secrets() {
    let mut host = VirtualHost::new::<Ticker>(Setup::default());
    host.start();
    host.mqtt_message(RequestId(1), "a/b", "hello");
    host.mqtt_message(RequestId(1), "a/b", [0xFF, 0x00]);
    let transcript = host.transcript();
    assert!(transcript.contains("a/b, qos 1, `hello`"), "{transcript}");
    assert!(transcript.contains("a/b, qos 1, 0xff00"), "{transcript}");
    assert!(transcript.contains("Put starts, 1 bytes"), "{transcript}");
}

/// Logs the time every so many milliseconds, and counts its starts in the store.
struct Ticker {
    period_ms: u64,
    n_starts: u8,
    next: Timestamp,
}

impl Session for Ticker {
    fn new(context: Context) -> Result<Self, Fault> {
        let n_starts = context.stored.get("starts").map_or(0, |value| value[0]) + 1;
        Ok(Self { period_ms: context.settings.parse().unwrap_or(1000), n_starts, next: Timestamp(u64::MAX) })
    }

    fn handle_input(&mut self, now: Now, input: Input) -> Result<Vec<Output>, Fault> {
        Ok(match input {
            Input::Start => {
                self.next = now.monotonic.after(self.period_ms);
                vec![Output::Store(RequestId(1), store::Request::Put("starts".to_owned(), vec![self.n_starts]))]
            }
            Input::Timeout => {
                self.next = self.next.after(self.period_ms);
                vec![Output::Log(Level::Info, now.monotonic.0.to_string())]
            }
            Input::Stored(_, Err(failure)) => vec![Output::Log(Level::Warn, failure.text)],
            _ => Vec::new(),
        })
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        Some(self.next)
    }
}
