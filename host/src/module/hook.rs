//! The product's own program for its network: called with the name of a phase, one call at a time.
//!
//! The host touches no radio, because every system does that in its own way. What it hands to the program and what it
//! expects of it is in `docs/OPERATIONS.md`, "The network program". A network's name and password go through standard
//! input only, and what the program writes during `join` is not logged.

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::modes::{Answer, Phase};
use crate::log::Redacted;
use crate::program::{self, Call};

/// Which program, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSettings {
    /// An absolute path.
    pub program: PathBuf,
    /// A call that takes longer is killed with all that it started, and counts as refused.
    pub timeout: Duration,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its argument.
    pub phase: Phase,
    /// What it reads on standard input; none: nothing.
    pub input: Option<Redacted<String>>,
}

/// Calls that wait. A phase waits once at most: one that comes again takes the place of the older one, at the end, so
/// the last wish counts and there are never more calls than phases.
#[derive(Debug, Default)]
pub struct HookQueue {
    jobs: Mutex<VecDeque<Job>>,
    came: Notify,
}

impl HookQueue {
    /// Puts a call at the end. Any thread.
    pub fn put(&self, job: Job) {
        let mut jobs = self.lock();
        jobs.retain(|waiting| waiting.phase != job.phase);
        jobs.push_back(job);
        self.came.notify_one();
    }

    /// Takes the first call, when there is one. For one task.
    pub async fn next(&self) -> Job {
        loop {
            let job = self.lock().pop_front();
            match job {
                Some(job) => return job,
                None => self.came.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls the program and waits for its answer. It sees `environment` and a `PATH`, and nothing of the host's own
/// environment, where secrets may be.
pub async fn call(settings: &HookSettings, job: &Job, environment: &[(&str, String)]) -> Answer {
    let phase = job.phase.argument();
    let program = settings.program.display();
    let answer = match run(settings, job, environment).await {
        Ok(Some(status)) => answer(job.phase, status),
        Ok(None) => {
            let ms = settings.timeout.as_millis();
            tracing::warn!(%program, phase, "the network program did not end within {ms} ms and was killed");
            Answer::Refused
        }
        Err(error) => {
            tracing::error!(%program, phase, %error, "the network program does not run");
            Answer::Refused
        }
    };
    tracing::debug!(%program, phase, ?answer, "the network program has answered");
    answer
}

fn answer(phase: Phase, status: ExitStatus) -> Answer {
    match (phase, status.code()) {
        (_, Some(0)) => Answer::Accepted,
        (Phase::Start, Some(NO_NETWORK)) => Answer::NoNetwork,
        // No test network in sight, as a rule.
        (Phase::ProductionTest, Some(_)) => Answer::Refused,
        (phase, code) => {
            let (phase, signal) = (phase.argument(), status.signal());
            tracing::warn!(phase, ?code, ?signal, "the network program refuses");
            Answer::Refused
        }
    }
}

/// None: it did not end in time.
async fn run(settings: &HookSettings, job: &Job, environment: &[(&str, String)]) -> io::Result<Option<ExitStatus>> {
    let ended = program::run(Call {
        program: &settings.program,
        argument: job.phase.argument(),
        environment,
        input: job.input.as_ref().map(|input| input.expose().as_str()),
        timeout: settings.timeout,
    });
    let ended = ended.await?;
    if job.phase == Phase::Join {
        // It may have said what it was told.
        let bytes = ended.out.len() + ended.err.len();
        tracing::debug!(bytes, "what the network program wrote during `join` is not shown");
    } else {
        for line in ended.lines() {
            tracing::debug!(phase = job.phase.argument(), "network program: {line}");
        }
    }
    Ok(ended.status)
}

/// Exit status that says to `start` that no network is stored. Chosen by us: what shells and their tools end with by
/// mistake (1, 2, 126 and more) must not open an access point.
const NO_NETWORK: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_phase_waits_once_and_the_last_wish_counts() {
        let queue = HookQueue::default();
        let job = |phase, input: &str| Job { phase, input: Some(Redacted(input.to_owned())) };
        queue.put(job(Phase::ConfigureSoftAp, ""));
        queue.put(job(Phase::Join, "old"));
        queue.put(job(Phase::ConfigureSoftAp, ""));
        queue.put(job(Phase::Join, "new"));
        assert_eq!(queue.next().await, job(Phase::ConfigureSoftAp, ""));
        assert_eq!(queue.next().await, job(Phase::Join, "new"));
        assert!(queue.lock().is_empty());
    }

    #[test]
    fn a_job_shows_no_password() {
        let job = Job { phase: Phase::Join, input: Some(Redacted("{\"password\":\"hunter2\"}".to_owned())) };
        assert!(!format!("{job:?}").contains("hunter2"));
    }

    #[test]
    fn only_the_agreed_status_says_that_no_network_is_stored() {
        let status = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(answer(Phase::Start, status(10)), Answer::NoNetwork);
        assert_eq!(answer(Phase::Start, status(1)), Answer::Refused);
        assert_eq!(answer(Phase::Join, status(10)), Answer::Refused);
        assert_eq!(answer(Phase::Reset, status(0)), Answer::Accepted);
        assert_eq!(answer(Phase::Reset, ExitStatus::from_raw(9)), Answer::Refused);
    }
}
