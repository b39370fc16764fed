//! When to try the MQTT broker again, and when to stop trying and ask for more (Gizwits GAgent product specification
//! 0.9.5, 8.8 and 8.9). Pure: time is an argument.

use polylink_plugin_sdk::Timestamp;

/// The attempts to reach the broker: at once, then after 10 s, 20 s, and so on to 90 s, then the cloud is asked again
/// where the broker is.
///
/// The delays have no jitter, as the specification gives them to the second.
#[derive(Clone, Debug)]
pub struct Reconnect {
    /// Attempts of this round, the one that runs included.
    attempts: u32,
    connected: Option<Timestamp>,
}

/// What to do after an attempt failed or a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Connect to the same broker after so many milliseconds.
    ConnectIn(u64),
    /// Ask the cloud where the broker is, and connect at once when it answers.
    Provision,
}

/// What a CONNACK code asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connack {
    /// Welcome: subscribe.
    Subscribe,
    /// Try again as [`Reconnect`] says; the registration stays.
    Reconnect,
    /// The cloud does not know the device any more: forget the DID without giving it back, and register anew.
    ForgetDid,
}

impl Reconnect {
    /// Nothing was tried yet. The first attempt follows the answer of the cloud and waits for nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { attempts: 1, connected: None }
    }

    /// The device is connected: everything is subscribed to.
    pub const fn connected(&mut self, now: Timestamp) {
        self.connected = Some(now);
    }

    /// An attempt failed, or the connection broke.
    pub fn failed(&mut self, now: Timestamp) -> Next {
        // A broker that hangs up on us again and again must not be called without any delay.
        if self.connected.take().is_some_and(|since| now.since(since) >= STABLE_AFTER_MS) {
            self.attempts = 0;
        }
        if self.attempts >= ATTEMPTS_PER_ROUND {
            self.attempts = 1;
            return Next::Provision;
        }
        let delay = u64::from(self.attempts) * STEP_MS;
        self.attempts += 1;
        Next::ConnectIn(delay)
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::new()
    }
}

impl Connack {
    /// What this code asks for. One that MQTT does not know is a broker out of order.
    #[must_use]
    pub const fn to(code: u8) -> Self {
        match code {
            0 => Self::Subscribe,
            4 => Self::ForgetDid,
            _ => Self::Reconnect,
        }
    }
}

/// How long to wait after so many failed requests of the HTTP API in a row: 5 s, 15 s, and so on to 95 s, then anew
/// (read in the vendor's open-source module).
#[must_use]
pub const fn api_delay_ms(n_failed: u32) -> u64 {
    API_FIRST_MS + STEP_MS * (n_failed.saturating_sub(1) % ATTEMPTS_PER_ROUND) as u64
}

/// Each failure adds so much (Gizwits GAgent product specification 0.9.5, 8.8).
const STEP_MS: u64 = 10_000;
/// Attempts before the cloud is asked again (the same).
const ATTEMPTS_PER_ROUND: u32 = 10;
/// Not documented; chosen by us: a connection that held for so long was none that breaks at once.
pub const STABLE_AFTER_MS: u64 = 60_000;
/// The first delay of the HTTP API (read in the vendor's open-source module).
const API_FIRST_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use polylink_plugin_sdk::hex;

    use super::*;
    use crate::vectors::vector;

    /// One that was connected for an hour.
    fn settled() -> Reconnect {
        let mut reconnect = Reconnect::new();
        reconnect.connected(Timestamp(0));
        reconnect
    }

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_broken_connection_is_tried_again_by_the_schedule_of_the_vector() {
        let vector = vector("rule-003");
        let delays = vector["delays"].as_array().unwrap().iter().map(|delay| delay.as_u64().unwrap());
        let mut reconnect = settled();
        for seconds in delays {
            assert_eq!(reconnect.failed(Timestamp(HOUR)), Next::ConnectIn(seconds * 1_000));
        }
        assert_eq!(vector["then"], "provision");
        assert_eq!(reconnect.failed(Timestamp(HOUR)), Next::Provision);
        // The attempt after the answer of the cloud is the first of ten again.
        assert_eq!(reconnect.failed(Timestamp(HOUR)), Next::ConnectIn(10_000));
    }

    #[test]
    fn the_first_attempt_of_all_is_followed_by_ten_seconds() {
        assert_eq!(Reconnect::new().failed(Timestamp(5)), Next::ConnectIn(10_000));
    }

    #[test]
    fn a_broker_that_hangs_up_at_once_is_called_with_growing_delays() {
        let mut reconnect = settled();
        assert_eq!(reconnect.failed(Timestamp(HOUR)), Next::ConnectIn(0));
        for seconds in [10_000, 20_000] {
            reconnect.connected(Timestamp(HOUR + 1));
            assert_eq!(reconnect.failed(Timestamp(HOUR + 2)), Next::ConnectIn(seconds));
        }
    }

    #[test]
    fn connack_codes_ask_for_what_the_vector_says() {
        for case in vector("mqtt-014")["cases"].as_array().unwrap() {
            let [_, _, _, code] = hex::decode(case["hex"].as_str().unwrap()).unwrap()[..] else { panic!("{case}") };
            let expected = match case["action"].as_str().unwrap() {
                "subscribe" => Connack::Subscribe,
                "reconnect_backoff" => Connack::Reconnect,
                "reregister_keep_no_delete" => Connack::ForgetDid,
                other => panic!("{other}"),
            };
            assert_eq!(Connack::to(code), expected, "{code}");
        }
        assert_eq!(Connack::to(200), Connack::Reconnect);
    }

    #[test]
    fn the_http_api_is_asked_again_after_5_seconds_and_10_more_each_time() {
        assert_eq!([1, 2, 10, 11, 12].map(api_delay_ms), [5_000, 15_000, 95_000, 5_000, 15_000]);
        let _ = (api_delay_ms(0), api_delay_ms(u32::MAX));
    }
}
