//! When a connection says PINGREQ and when its broker is dead, pure.
//!
//! Two silences are watched. Ours: the broker closes after one and a half keep-alives without a packet from us (MQTT
//! 3.1.1, 3.1.2.10), so three quarters of one is the most we are silent. The broker's: it is asked once for a sign of
//! life, and is dead if it gives none.

use polylink_plugin_api::HostRefusal;
use polylink_plugin_api::services::mqtt::MqttConnect;

use super::super::registry::Refusal;

/// The times of one connection, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A PINGREQ after so long without a packet from us; 0: never.
    ours: u64,
    /// A PINGREQ after so long without a packet from the broker; 0: never.
    ping_after: u64,
    verdict: Verdict,
}

/// Dead after so long,
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// counted from the PINGREQ that has no answer.
    SincePing(u64),
    /// counted from the last packet of the broker, asked or not.
    SinceHeard(u64),
}

impl Patience {
    /// The times that a plugin wishes, in seconds; 0 stands for what `polylink.mqtt/1` says of each.
    pub fn new(keepalive_s: u16, ping_after_s: u16, dead_after_s: u16) -> Self {
        let [keepalive, ping_after, dead_after] =
            [keepalive_s, ping_after_s, dead_after_s].map(|s| u64::from(s) * 1000);
        let ours = keepalive / 4 * 3;
        Self {
            ours,
            ping_after: if ping_after > 0 { ping_after } else { ours },
            verdict: match dead_after {
                0 => Verdict::SincePing((keepalive / 2).max(ANSWER_TIME_MIN_MS)),
                dead_after => Verdict::SinceHeard(dead_after),
            },
        }
    }

    pub fn of(wish: &MqttConnect<'_>) -> Self {
        Self::new(wish.keepalive_s, wish.ping_after_s, wish.dead_after_s)
    }
}

/// The silences of one connection. Times are milliseconds since it was opened.
#[derive(Debug)]
pub(super) struct Watch {
    patience: Patience,
    last_sent: u64,
    last_received: u64,
    /// When the oldest PINGREQ without any later sign of life was written.
    pinged: Option<u64>,
}

impl Watch {
    pub fn new(patience: Patience) -> Self {
        Self { patience, last_sent: 0, last_received: 0, pinged: None }
    }

    /// The broker took the connection; both silences begin.
    pub fn opened(&mut self, now: u64) {
        (self.last_sent, self.last_received) = (now, now);
    }

    pub fn sent(&mut self, now: u64) {
        self.last_sent = now;
    }

    pub fn received(&mut self, now: u64) {
        self.last_received = now;
        self.pinged = None;
    }

    /// Reading goes on after a pause that was ours, so silence until now is not the broker's.
    pub fn resumed(&mut self, now: u64) {
        self.last_received = now;
        self.pinged = self.pinged.map(|_| now);
    }

    /// Is a PINGREQ to be written now? If so, it counts as written.
    ///
    /// # Errors
    /// The broker is dead.
    pub fn tick(&mut self, now: u64, is_reading: bool) -> Result<bool, Refusal> {
        if self.death(is_reading).is_some_and(|due| due <= now) {
            let text = match self.patience.verdict {
                Verdict::SincePing(time) => format!("the broker left a PINGREQ without an answer for {time} ms"),
                Verdict::SinceHeard(time) => format!("the broker said nothing for {time} ms"),
            };
            return Err(Refusal::new(HostRefusal::TIMEOUT, text));
        }
        let is_due = self.ping(is_reading).is_some_and(|due| due <= now);
        if is_due {
            self.last_sent = now;
            self.pinged.get_or_insert(now);
        }
        Ok(is_due)
    }

    /// When [`Watch::tick`] has something to do.
    pub fn next_tick(&self, is_reading: bool) -> Option<u64> {
        [self.ping(is_reading), self.death(is_reading)].into_iter().flatten().min()
    }

    /// The earlier of what our silence and the broker's demand. A broker that was asked already is not asked again for
    /// its own silence: over TCP a question is not lost, only unanswered.
    fn ping(&self, is_reading: bool) -> Option<u64> {
        let Patience { ours, ping_after, .. } = self.patience;
        let for_ours = (ours > 0).then(|| self.last_sent + ours);
        let asks = ping_after > 0 && is_reading && self.pinged.is_none();
        let for_theirs = asks.then(|| self.last_received + ping_after);
        [for_ours, for_theirs].into_iter().flatten().min()
    }

    fn death(&self, is_reading: bool) -> Option<u64> {
        if !is_reading {
            return None;
        }
        match self.patience.verdict {
            Verdict::SincePing(time) => self.pinged.map(|pinged| pinged + time),
            Verdict::SinceHeard(time) => Some(self.last_received + time),
        }
    }
}

/// A PINGREQ may be without an answer for so long at least (`polylink.mqtt/1`).
const ANSWER_TIME_MIN_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// One thing that happens, at a time in seconds.
    #[derive(Clone, Copy)]
    enum Happens {
        Sent(u64),
        Heard(u64),
        /// Nothing until then.
        Until(u64),
    }
    use Happens::*;

    /// Plays a connection in virtual time: the seconds at which it says PINGREQ, and at which its broker is dead.
    fn check(times: [u16; 3], story: &[Happens], pings: &[u64], dead: Option<u64>) {
        let mut watch = Watch::new(Patience::new(times[0], times[1], times[2]));
        watch.opened(0);
        let mut found = Vec::new();
        for happens in story {
            let (Sent(until) | Heard(until) | Until(until)) = *happens;
            while let Some(due) = watch.next_tick(true).filter(|due| *due <= until * 1000) {
                match watch.tick(due, true) {
                    Ok(is_due) => found.extend(is_due.then_some(due / 1000)),
                    Err(refusal) => {
                        assert_eq!((refusal.code, Some(due / 1000)), (HostRefusal::TIMEOUT, dead), "{}", refusal.text);
                        return assert_eq!(found, pings);
                    }
                }
            }
            match *happens {
                Sent(now) => watch.sent(now * 1000),
                Heard(now) => watch.received(now * 1000),
                Until(_) => {}
            }
        }
        assert_eq!((found, None), (pings.to_vec(), dead));
    }

    /// Keep-alive, PINGREQ and death of a Gizwits module (Gizwits MQTT protocol, keep-alive and reconnect).
    const GIZWITS: [u16; 3] = [120, 55, 120];

    #[test]
    fn a_silent_broker_is_asked_once_and_dead_by_its_own_silence() {
        check(GIZWITS, &[Until(200)], &[55], Some(120));
        check(GIZWITS, &[Heard(30), Until(200)], &[85], Some(150));
    }

    #[test]
    fn an_answer_begins_both_times_anew() {
        check(GIZWITS, &[Heard(56), Heard(112), Until(166)], &[55, 111], None);
    }

    #[test]
    fn what_we_send_does_not_spare_a_silent_broker_the_question() {
        check(GIZWITS, &[Sent(20), Sent(40), Sent(60), Sent(80), Until(200)], &[55], Some(120));
    }

    #[test]
    fn our_own_silence_is_ended_in_time_while_the_broker_talks() {
        check(GIZWITS, &[Heard(50), Heard(89), Until(143)], &[90], None);
        check([40, 55, 120], &[Until(200)], &[30, 60, 90], Some(120));
    }

    #[test]
    fn each_time_stands_alone() {
        check([0, 55, 0], &[Until(200)], &[55], Some(60));
        check([0, 0, 120], &[Until(200)], &[], Some(120));
        check([60, 10, 0], &[Until(200)], &[10], Some(40));
        check([60, 0, 200], &[Until(300)], &[45, 90, 135, 180], Some(200));
        check([60, 0, 0], &[Until(200)], &[45], Some(75));
        check([0, 0, 0], &[Until(10_000)], &[], None);
    }

    #[test]
    fn a_broker_that_is_not_read_is_not_dead_and_its_time_begins_when_it_is_read_again() {
        let mut watch = Watch::new(Patience::new(120, 55, 120));
        watch.opened(0);
        assert_eq!(watch.next_tick(false), Some(90_000), "only our own silence counts");
        assert_eq!(watch.tick(150_000, false).ok(), Some(true));
        watch.resumed(160_000);
        assert_eq!(watch.next_tick(true), Some(240_000), "asked already; the keep-alive is next");
        watch.received(161_000);
        assert_eq!(watch.next_tick(true), Some(216_000));
    }
}
