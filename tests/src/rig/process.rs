//! The host as a child process, and what it says on standard error.
//!
//! Invariant: at most `LINES_KEPT` lines of at most `LINE_KEPT` bytes are kept; a host that floods its log costs no memory
//! here, and is never blocked by a full pipe.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

/// A running host; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    pid: Pid,
    log: Arc<Log>,
    spoken: watch::Receiver<Spoken>,
}

/// How much the host has said, and whether more may come.
#[derive(Debug, Clone, Copy, Default)]
struct Spoken {
    lines: u64,
    ended: bool,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<VecDeque<String>>,
}

impl Process {
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        // Of a group of its own: Ctrl-C is for the demo, which then ends the host in order.
        command.process_group(0);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
        let pid = Pid::from_child(&child);
        let log = Arc::new(Log::default());
        let (speak, spoken) = watch::channel(Spoken::default());
        let keeper = Arc::clone(&log);
        std::thread::Builder::new().name("host-log".to_owned()).spawn(move || keeper.keep(stderr, &speak))?;
        Ok(Self { child: Mutex::new(child), pid, log, spoken })
    }

    /// The process id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// The last lines.
    pub fn log(&self) -> String {
        let lines = self.log.lock();
        lines.iter().skip(lines.len().saturating_sub(LINES_SHOWN)).fold(String::new(), |text, line| text + line + "\n")
    }

    pub(super) fn terminate(&self) {
        // A process that is gone already has nothing left to end.
        let _ = kill_process(self.pid, Signal::TERM);
    }

    pub(super) fn kill(&self) {
        let _ = kill_process(self.pid, Signal::KILL);
    }

    /// Waits for the end: standard error closes with it.
    pub(super) async fn ended(&self) -> ExitStatus {
        self.silent().await;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.wait().expect("a child that was spawned can be waited for")
    }

    /// Waits until it can say nothing any more.
    pub(super) async fn silent(&self) {
        let mut spoken = self.spoken.clone();
        let _ = spoken.wait_for(|spoken| spoken.ended).await;
    }

    /// Waits until the host says something after now; false: it will say nothing more.
    pub(super) fn spoke(&self) -> impl Future<Output = bool> + use<> {
        let mut spoken = self.spoken.clone();
        let before = spoken.borrow_and_update().lines;
        async move {
            let now = spoken.wait_for(|now| now.lines > before || now.ended).await;
            now.is_ok_and(|now| now.lines > before)
        }
    }

    /// Waits for a line with this text; none: it never came.
    pub(super) async fn line_with(&self, text: &str) -> Option<String> {
        loop {
            let spoke = self.spoke();
            if let Some(line) = self.log.lock().iter().find(|line| line.contains(text)) {
                return Some(line.clone());
            }
            if !spoke.await {
                return None;
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // Only a child that was not yet waited for still owns its process id.
        if matches!(child.try_wait(), Ok(None)) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, stderr: ChildStderr, speak: &watch::Sender<Spoken>) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        while let Ok(1..) = stderr.by_ref().take(LINE_KEPT).read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            let mut lines = self.lock();
            if lines.len() == LINES_KEPT {
                lines.pop_front();
            }
            lines.push_back(text);
            drop(lines);
            speak.send_modify(|spoken| spoken.lines += 1);
        }
        speak.send_modify(|spoken| spoken.ended = true);
    }
}

/// Lines kept; the oldest go first.
const LINES_KEPT: usize = 4000;
/// Bytes of one line; a longer one is cut into several.
const LINE_KEPT: u64 = 4096;
/// Lines shown with an error.
const LINES_SHOWN: usize = 60;
