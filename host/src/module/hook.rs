//! The product's own program for its network: called with the name of a phase, one call at a time.
//!
//! The host touches no radio, because every system does that in its own way. What it hands to the program and what it
//! expects of it is in `docs/OPERATIONS.md`, "The network program". A network's name and password go through standard
//! input only, and what the program writes during `join` is not logged.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::modes::{Answer, Phase};
use crate::log::Redacted;
use crate::plugins::discover::{check_parent, check_trust};

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
    let program = settings.program.clone();
    tokio::task::spawn_blocking(move || check(&program)).await.map_err(io::Error::other)??;
    let mut child = Command::new(&settings.program)
        .arg(job.phase.argument())
        .env_clear()
        .env("PATH", PATH)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(if job.input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let talk = async {
            let feed = async {
                if let (Some(mut stdin), Some(input)) = (stdin, &job.input) {
                    // A program that does not read what it is told says what it thinks of it by its exit status.
                    let _ = stdin.write_all(input.expose().as_bytes()).await;
                }
            };
            tokio::join!(feed, keep(stdout, &mut out), keep(stderr, &mut err));
        };
        let mut talk = std::pin::pin!(talk);
        let mut is_silent = false;
        let ended = timeout(settings.timeout, async {
            loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut talk, if !is_silent => is_silent = true,
                }
            }
        });
        let ended = ended.await;
        if ended.is_ok() && !is_silent {
            // What it left running may hold its output open for ever.
            let _ = timeout(LINGER, talk).await;
        }
        match ended {
            Ok(status) => Some(status?),
            Err(_) => None,
        }
    };
    if status.is_none() {
        kill(&mut child).await;
    }
    if job.phase == Phase::Join {
        // It may have said what it was told.
        tracing::debug!(bytes = out.len() + err.len(), "what the network program wrote during `join` is not shown");
    } else {
        for line in [&out, &err].into_iter().flat_map(|text| text.split(|byte| *byte == b'\n')) {
            if !line.is_empty() {
                tracing::debug!(phase = job.phase.argument(), "network program: {}", line.escape_ascii());
            }
        }
    }
    Ok(status)
}

/// Why this program is not run, as far as one can tell without running it.
#[must_use]
pub fn problem(program: &Path) -> Option<String> {
    check(program).err().map(|error| error.to_string())
}

/// Whoever may change the program may do what the host may.
fn check(program: &Path) -> io::Result<()> {
    check_trust(program).and_then(|()| check_parent(program)).map_err(io::Error::other)?;
    let metadata = std::fs::metadata(program)?;
    if metadata.is_file() && metadata.mode() & ANY_EXECUTE != 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("`{}` is no program that may be executed", program.display())))
}

/// Reads to the end and keeps the beginning: a program that writes much must not wait for its reader.
async fn keep(source: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut source) = source else { return };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = source.read(&mut buffer).await {
        let room = OUTPUT_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
}

/// It has not been waited for, so its number still belongs to it.
async fn kill(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait().await;
}

/// `S_IXUSR`, `S_IXGRP` and `S_IXOTH` (POSIX `sys/stat.h`).
const ANY_EXECUTE: u32 = 0o111;

/// Exit status that says to `start` that no network is stored. Chosen by us: what shells and their tools end with by
/// mistake (1, 2, 126 and more) must not open an access point.
const NO_NETWORK: i32 = 10;

/// Where the program finds its tools.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of each output that are logged; the rest is dropped. Not documented; chosen by us.
const OUTPUT_MAX: usize = 4096;

/// How long the last words of a program that has ended are waited for. Not documented; chosen by us.
const LINGER: Duration = Duration::from_millis(100);

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
