//! The rig: a directory with a configuration, the real `polylink` in a process of its own, and ways to watch it.
//!
//! Invariant: nothing waits for time to pass. Every wait ends with an event (a log line, a line of the control socket,
//! its answer, the end of the process) or with [`LIMIT`], and then the error shows what the host said last.

pub mod binaries;
pub mod control;
pub mod files;
pub mod process;
pub mod stats;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use serde_json::Value as Json;

use binaries::Binaries;
use control::Control;
use files::{Files, TempDir};
use process::{Process, Restart};
use stats::Stats;

/// How long any one wait may take before the rig gives up. Generous: it only ends runs that hang.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How often the status is asked for while nothing is heard. Decides how long a wait takes, never how it ends.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What went wrong, with the last words of the host.
#[derive(thiserror::Error)]
#[error("{what}{}", if .log.is_empty() { String::new() } else { format!("\n--- the host's last lines ---\n{log}") })]
pub struct RigError {
    what: String,
    log: String,
}

impl RigError {
    /// An error before there is a host to ask.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), log: String::new() }
    }
}

/// `unwrap` shows `Debug`, and a reader of a failed test wants lines, not escapes.
impl fmt::Debug for RigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A configured host, running or not. Dropping it kills the process and removes the directory.
#[derive(Debug)]
pub struct Rig {
    binaries: Binaries,
    process: Option<Process>,
    dir: TempDir,
    /// The directory's `run` leads there.
    _run: TempDir,
}

impl Rig {
    /// Writes the configuration; starts nothing.
    pub fn new(binaries: &Binaries, files: &Files) -> Result<Self, RigError> {
        let dir = TempDir::new().map_err(|error| RigError::new(format!("temporary directory: {error}")))?;
        let run = TempDir::in_memory().map_err(|error| RigError::new(format!("directory in memory: {error}")))?;
        std::os::unix::fs::symlink(run.path(), dir.path().join(files::RUN))
            .map_err(|error| RigError::new(format!("link to the directory in memory: {error}")))?;
        let rig = Self { binaries: binaries.clone(), process: None, dir, _run: run };
        files.write(rig.dir(), &rig.binaries).map_err(|error| RigError::new(format!("configuration: {error}")))?;
        Ok(rig)
    }

    /// The directory with `host.toml`, `products/`, `plugins/`, `state/`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The directory that a device has on tmpfs.
    pub fn run_dir(&self) -> PathBuf {
        self.dir().join(files::RUN)
    }

    /// Where the control socket is.
    pub fn socket(&self) -> PathBuf {
        self.dir().join(files::SOCKET)
    }

    /// Starts `polylink run`; returns at once.
    pub fn start(&mut self) -> Result<(), RigError> {
        self.spawn("run", Restart::Never)
    }

    /// Starts `polylink launch`, and again whenever it ends, as the service manager of a device with slots does; until
    /// [`Rig::stop`] or [`Rig::kill`].
    pub fn start_service(&mut self) -> Result<(), RigError> {
        self.spawn("launch", Restart::Always)
    }

    fn spawn(&mut self, words: &str, restart: Restart) -> Result<(), RigError> {
        let process = Process::spawn(self.command(words), restart)
            .map_err(|error| RigError::new(format!("{}: {error}", self.binaries.polylink.display())))?;
        self.process = Some(process);
        Ok(())
    }

    /// How often the service was started, the first time included; 0 if nothing runs.
    pub fn starts(&self) -> usize {
        self.process.as_ref().map_or(0, Process::starts)
    }

    /// Waits until the service was started so often altogether.
    pub async fn started(&self, n: usize) -> Result<(), RigError> {
        let process = self.running()?;
        let started = self.within(LIMIT, &format!("start {n} of the service"), process.started(n)).await?;
        if started { Ok(()) } else { Err(self.error(format!("the service ended for good before start {n}"))) }
    }

    /// The file whose program runs, as the kernel sees it: a launcher has become what it started.
    pub fn program(&self) -> Result<PathBuf, RigError> {
        let id = self.running()?.id();
        std::fs::read_link(format!("/proc/{id}/exe")).map_err(|error| self.error(format!("/proc/{id}/exe: {error}")))
    }

    /// Ends what runs without warning, and the service manager starts it again.
    pub fn crash(&self) -> Result<(), RigError> {
        self.running()?.crash();
        Ok(())
    }

    /// Asks for an orderly end (SIGTERM) and waits for it.
    pub async fn stop(&mut self) -> Result<ExitStatus, RigError> {
        self.running()?.terminate();
        self.ended().await
    }

    /// Ends the host without warning (SIGKILL) and waits until it is gone.
    pub async fn kill(&mut self) -> Result<(), RigError> {
        self.running()?.kill();
        self.ended().await.map(drop)
    }

    /// Waits until the host has ended by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus, RigError> {
        let process = self.running()?;
        let status = self.within(LIMIT, "the host to end", process.ended()).await?;
        self.process = None;
        Ok(status)
    }

    /// Waits until the process has ended, and leaves it to [`Rig::ended`] to say how.
    pub async fn gone(&self) {
        if let Some(process) = &self.process {
            process.silent().await;
        }
    }

    /// Runs another command of the binary on this configuration, such as `status --json`, to its end.
    pub fn run(&self, words: &str) -> Result<Output, RigError> {
        self.command(words).output().map_err(|error| self.error(format!("polylink {words}: {error}")))
    }

    /// The same beside a running simulator, which this runtime has to keep alive meanwhile.
    pub async fn command_line(&self, words: &str) -> Result<Output, RigError> {
        let mut command = self.command(words);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = self.within(LIMIT, &format!("polylink {words}"), output).await?;
        let output = output.map_err(std::io::Error::other).and_then(|output| output);
        output.map_err(|error| self.error(format!("polylink {words}: {error}")))
    }

    /// The host's own account of itself.
    pub async fn status(&self) -> Result<Json, RigError> {
        let socket = self.socket();
        let request = serde_json::json!({"op": "status"});
        let answer = self.within(LIMIT, "an answer to status", Control::ask(&socket, &request)).await?;
        let mut answer = answer.map_err(|error| self.error(format!("control socket: {error}")))?;
        Ok(answer["status"].take())
    }

    /// Waits until the status fulfils a condition; it is asked again whenever the host says something, and every
    /// [`ASK_AGAIN`], because much of it changes without a word.
    pub async fn until(&self, what: &str, condition: impl Fn(&Json) -> bool) -> Result<Json, RigError> {
        let process = self.running()?;
        let waiting = async {
            loop {
                let spoke = process.spoke();
                if let Ok(mut answer) = Control::ask(&self.socket(), &serde_json::json!({"op": "status"})).await {
                    let status = answer["status"].take();
                    if condition(&status) {
                        return Some(status);
                    }
                }
                if tokio::time::timeout(ASK_AGAIN, spoke).await == Ok(false) {
                    return None;
                }
            }
        };
        match self.within(LIMIT, what, waiting).await {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(self.error(format!("the host ended while waiting for {what}"))),
            Err(error) => {
                let status = self.status().await.map_or_else(|error| error.what, |status| format!("{status:#}"));
                Err(RigError { what: format!("{}; status: {status}", error.what), log: error.log })
            }
        }
    }

    /// Waits until the host has said a line with this text; lines since its start count, of a service since its first.
    pub async fn said(&self, text: &str) -> Result<String, RigError> {
        self.said_since(1, text).await
    }

    /// The same, and only what start `n` of the service or a later one has said counts.
    pub async fn said_since(&self, n: usize, text: &str) -> Result<String, RigError> {
        let process = self.running()?;
        let line = self.within(LIMIT, &format!("the log to say {text:?}"), process.line_with(n, text)).await?;
        line.ok_or_else(|| self.error(format!("the host ended without saying {text:?}")))
    }

    /// What the host has said, the last lines of it.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Memory, threads and processor time of the host.
    pub fn stats(&self) -> Result<Stats, RigError> {
        let id = self.running()?.id();
        Stats::read(id).map_err(|error| self.error(format!("/proc/{id}: {error}")))
    }

    /// Puts [`LIMIT`], or another limit, around a wait of the caller's own.
    pub async fn within<T>(&self, limit: Duration, what: &str, wait: impl Future<Output = T>) -> Result<T, RigError> {
        let waited = tokio::time::timeout(limit, wait).await;
        waited.map_err(|_| self.error(format!("waited {} s in vain for {what}", limit.as_secs())))
    }

    /// An error with the host's last lines.
    pub fn error(&self, what: impl Into<String>) -> RigError {
        RigError { what: what.into(), log: self.log() }
    }

    fn running(&self) -> Result<&Process, RigError> {
        self.process.as_ref().ok_or_else(|| RigError::new("the host was not started"))
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(&self.binaries.polylink);
        command.args(words.split_whitespace()).arg("--config-dir").arg(self.dir());
        // What the developer has set for an own host must not change the rig's.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POLYLINK__")) {
            command.env_remove(name);
        }
        command
    }
}
