//! Whether another library works as well as the one before: the same reach of the cloud, and not one fault.

use std::time::Duration;

use polylink_plugin_api::StatusPhase;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::plugins::{InstanceStatus, Phase};

/// A cloud that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub cloud: String,
    /// It has to come online; else it is enough that it works.
    pub must_be_online: bool,
}

/// Why it does not count as working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unhealthy {
    /// For a person.
    Broken(String),
    /// The plugins were stopped, or are others now; nothing was learned.
    Gone,
}

/// How one cloud stands.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Not yet, and what it says of itself.
    Wait(String),
    Broken(String),
}

/// Waits until all of these clouds work, and have for [`SETTLE`], or one of them does not. `look` says how they stand;
/// none: they are gone. `news` tells when something changed.
///
/// # Errors
/// See [`Unhealthy`].
pub async fn healthy(
    watched: &[Watched],
    at_most: Duration,
    mut news: watch::Receiver<u64>,
    look: impl Fn() -> Option<Vec<InstanceStatus>>,
) -> Result<(), Unhealthy> {
    let (settled, end) = (Instant::now() + SETTLE, Instant::now() + at_most.max(SETTLE));
    loop {
        news.borrow_and_update();
        let seen = look().ok_or(Unhealthy::Gone)?;
        let mut waits = None;
        for watched in watched {
            match judge(watched, seen.iter().find(|status| status.cloud == watched.cloud)) {
                Verdict::Good => {}
                Verdict::Wait(text) => waits = Some(format!("cloud {}: {text}", watched.cloud)),
                Verdict::Broken(why) => return Err(Unhealthy::Broken(format!("cloud {}: {why}", watched.cloud))),
            }
        }
        let next = match waits {
            None if Instant::now() >= settled => return Ok(()),
            None => settled,
            Some(text) if Instant::now() >= end => {
                let s = at_most.as_secs();
                return Err(Unhealthy::Broken(format!("{text}; it did not come online within {s} s")));
            }
            Some(_) => end,
        };
        tokio::select! {
            told = news.changed() => if told.is_err() { return Err(Unhealthy::Gone) },
            () = sleep_until(next) => {}
        }
    }
}

fn judge(watched: &Watched, status: Option<&InstanceStatus>) -> Verdict {
    let Some(status) = status else { return Verdict::Broken("it does not run".to_owned()) };
    if status.waits_for.is_some() {
        return Verdict::Good;
    }
    if status.faults > 0 || matches!(status.phase, Phase::Disabled | Phase::Quarantined) {
        return Verdict::Broken(status.last_fault.clone());
    }
    match status.phase {
        Phase::Started if status.said.phase == StatusPhase::ONLINE || !watched.must_be_online => Verdict::Good,
        Phase::Started => Verdict::Wait(format!("{:?}", status.said.text.as_str())),
        Phase::Stopped => Verdict::Broken("it was stopped".to_owned()),
        phase => Verdict::Wait(phase.name().to_owned()),
    }
}

/// So long it has to work before it counts as healthy. Not documented; chosen by us: longer than it takes to be given what
/// waited for it, at which a plugin breaks that breaks at reports.
const SETTLE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use polylink_plugin_api::{Status, Timestamp};

    use super::*;
    use crate::bus::CloudUsage;

    fn status(phase: Phase, online: bool, faults: u64) -> InstanceStatus {
        let said = if online { StatusPhase::ONLINE } else { StatusPhase::CONNECTING };
        InstanceStatus {
            cloud: "deli".into(),
            plugin: "deli".into(),
            version: String::new(),
            build: String::new(),
            file: None,
            phase,
            last_fault: if faults > 0 { "it broke" } else { "" }.into(),
            last_fault_at: None,
            faults,
            slow_calls: 0,
            log_lines_left_out: 0,
            events_dropped: 0,
            events_waiting: 0,
            usage: CloudUsage::default(),
            instance: None,
            said: Status { phase: said, text: "knocks".into(), ..Status::default() },
            waits_for: None,
        }
    }

    /// The cloud is seen so, one after the other a second apart, and as the last one from then on; within so many seconds
    /// it is known what to think of it.
    async fn check(
        must_be_online: bool,
        seen: &[Option<InstanceStatus>],
        expected: Result<(), Unhealthy>,
        after_s: u64,
    ) {
        let watched = [Watched { cloud: "deli".into(), must_be_online }];
        let (told, news) = watch::channel(0);
        let mut left: VecDeque<_> = seen.iter().cloned().collect();
        let now = Mutex::new(left.pop_front().expect("something is seen"));
        let begun = Instant::now();
        let changes = async {
            while let Some(next) = left.pop_front() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                *now.lock().expect("no test panics with it") = next;
                told.send_modify(|n| *n += 1);
            }
            std::future::pending::<()>().await;
        };
        let look = || now.lock().expect("no test panics with it").clone().map(|status| vec![status]);
        let found = tokio::select! {
            found = healthy(&watched, Duration::from_secs(60), news, look) => found,
            () = changes => unreachable!("it has no end"),
        };
        assert_eq!((found, begun.elapsed().as_secs()), (expected, after_s));
    }

    fn broken(text: &str) -> Result<(), Unhealthy> {
        Err(Unhealthy::Broken(format!("cloud deli: {text}")))
    }

    #[tokio::test(start_paused = true)]
    async fn a_cloud_that_was_online_has_to_come_online_and_stay_without_fault_for_a_while() {
        let (loaded, knocks) = (status(Phase::Loaded, false, 0), status(Phase::Started, false, 0));
        let online = status(Phase::Started, true, 0);
        check(true, &[Some(loaded.clone()), Some(knocks.clone()), Some(online.clone())], Ok(()), 3).await;
        check(true, &[Some(knocks.clone())], broken("\"knocks\"; it did not come online within 60 s"), 60).await;
        let faulted = status(Phase::Faulted { retry_at: Timestamp(0) }, false, 1);
        check(true, &[Some(online.clone()), Some(faulted.clone())], broken("it broke"), 1).await;
        check(true, &[Some(status(Phase::Started, true, 1))], broken("it broke"), 0).await;
        check(true, &[Some(online.clone()), Some(knocks), Some(online)], Ok(()), 3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_cloud_that_was_not_has_to_work() {
        let knocks = status(Phase::Started, false, 0);
        check(false, &[Some(knocks.clone())], Ok(()), 3).await;
        check(false, &[Some(knocks), Some(status(Phase::Disabled, false, 1))], broken("it broke"), 1).await;
        let stuck = InstanceStatus { last_fault: "stuck".into(), ..status(Phase::Quarantined, false, 0) };
        check(false, &[Some(stuck)], broken("stuck"), 0).await;
        let waits = InstanceStatus { waits_for: Some("JD".into()), ..status(Phase::Loaded, false, 0) };
        check(true, &[Some(waits)], Ok(()), 3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gone_teaches_nothing() {
        check(true, &[Some(status(Phase::Started, false, 0)), None], Err(Unhealthy::Gone), 1).await;
    }
}
