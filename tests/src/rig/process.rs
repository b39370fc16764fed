//! The host as a child process, and what it says on standard error.
//!
//! Invariant: at most `LINES_KEPT` lines of at most `LINE_KEPT` bytes are kept; a host that floods its log costs no memory
//! here, and is never blocked by a full pipe.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

/// A running host, or the service that a manager keeps running; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    service: Arc<Service>,
    spoken: watch::Receiver<Spoken>,
}

/// What becomes of a host that ends without being told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    /// That is the end.
    Never,
    /// It is started again, as systemd does with `Restart=always`, at most [`STARTS_MAX`] times: then the service has
    /// failed, as it has after `StartLimitBurst`.
    Always,
}

/// How much the host has said, how often it was started, and whether more may come.
#[derive(Debug, Clone, Copy, Default)]
struct Spoken {
    lines: u64,
    starts: usize,
    ended: bool,
}

#[derive(Debug)]
struct Service {
    restart: Restart,
    running: Mutex<Running>,
    log: Log,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// It was told to end: it is not started again.
    stopping: bool,
}

#[derive(Debug, Default)]
struct Log {
    /// Each with the number of the start that said it.
    lines: Mutex<VecDeque<(usize, String)>>,
}

/// The same command, ended by the kernel when the thread that starts it is gone (PR_SET_PDEATHSIG): a host that outlived a
/// killed test would go on reading the number of a terminal that another test gets next. That thread must live as long as
/// the command may. Where `setpriv` (util-linux) is missing, as it is.
fn tied_to_us(command: &Command) -> Command {
    let mut tied = if Path::new(SETPRIV).exists() {
        let mut tied = Command::new(SETPRIV);
        tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        tied
    } else {
        Command::new(command.get_program())
    };
    tied.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    tied
}

impl Process {
    pub(super) fn spawn(command: Command, restart: Restart) -> io::Result<Self> {
        let mut command = tied_to_us(&command);
        // Of a group of its own: Ctrl-C is for the demo, which then ends the host in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let (speak, spoken) = watch::channel(Spoken { starts: 1, ..Spoken::default() });
        let (hand, started) = std::sync::mpsc::sync_channel(1);
        // It starts what it reads, because it is there until that is over; of the caller's thread nobody knows.
        std::thread::Builder::new().name("host-log".to_owned()).spawn(move || match start(&mut command) {
            Ok((child, stderr)) => {
                let running = Mutex::new(Running { child, stopping: false });
                let service = Arc::new(Service { restart, running, log: Log::default() });
                let _ = hand.send(Ok(Arc::clone(&service)));
                service.keep(&mut command, stderr, &speak);
            }
            Err(error) => drop(hand.send(Err(error))),
        })?;
        let service = started.recv().map_err(io::Error::other)??;
        Ok(Self { service, spoken })
    }

    /// The process id; of a service, that of its last start.
    pub fn id(&self) -> i32 {
        Pid::from_child(&self.service.running().child).as_raw_nonzero().get()
    }

    /// The last lines.
    pub fn log(&self) -> String {
        let lines = self.service.log.lock();
        let shown = lines.iter().skip(lines.len().saturating_sub(LINES_SHOWN));
        shown.fold(String::new(), |text, (_, line)| text + line + "\n")
    }

    /// How often it was started.
    pub fn starts(&self) -> usize {
        self.spoken.borrow().starts
    }

    /// Waits until it was started so often; false: it will not be.
    pub(super) async fn started(&self, n: usize) -> bool {
        let mut spoken = self.spoken.clone();
        let now = spoken.wait_for(|now| now.starts >= n || now.ended).await;
        now.is_ok_and(|now| now.starts >= n)
    }

    pub(super) fn terminate(&self) {
        self.service.signal(Signal::TERM, true);
    }

    pub(super) fn kill(&self) {
        self.service.signal(Signal::KILL, true);
    }

    /// Ends what runs without warning, and nobody wanted that: a service is started again.
    pub(super) fn crash(&self) {
        self.service.signal(Signal::KILL, false);
    }

    /// Waits for the end: standard error closes with it.
    pub(super) async fn ended(&self) -> ExitStatus {
        self.silent().await;
        self.service.running().child.wait().expect("a child that was spawned can be waited for")
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

    /// Waits for a line with this text, of this start or a later one; none: it never came.
    pub(super) async fn line_with(&self, from: usize, text: &str) -> Option<String> {
        loop {
            let spoke = self.spoke();
            let found =
                self.service.log.lock().iter().find(|(start, line)| *start >= from && line.contains(text)).cloned();
            if let Some((_, line)) = found {
                return Some(line);
            }
            if !spoke.await {
                return None;
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut running = self.service.running();
        running.stopping = true;
        // Only a child that was not yet waited for still owns its process id.
        if matches!(running.child.try_wait(), Ok(None)) {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

fn start(command: &mut Command) -> io::Result<(Child, ChildStderr)> {
    let mut child = command.spawn()?;
    let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
    Ok((child, stderr))
}

impl Service {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that is gone already has nothing left to end.
    fn signal(&self, signal: Signal, stopping: bool) {
        let mut running = self.running();
        running.stopping |= stopping;
        if matches!(running.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&running.child), signal);
        }
    }

    /// Keeps what is said until the end.
    fn keep(&self, command: &mut Command, stderr: ChildStderr, speak: &watch::Sender<Spoken>) {
        let mut next = Some(stderr);
        while let Some(stderr) = next {
            let starts = speak.borrow().starts;
            self.log.keep(stderr, starts, speak);
            next = self.again(command, starts);
            if next.is_some() {
                speak.send_modify(|spoken| spoken.starts += 1);
            }
        }
        speak.send_modify(|spoken| spoken.ended = true);
    }

    /// Starts it once more, if that is what is to be done.
    fn again(&self, command: &mut Command, starts: usize) -> Option<ChildStderr> {
        let mut running = self.running();
        let _ = running.child.wait();
        if running.stopping || self.restart == Restart::Never || starts == STARTS_MAX {
            return None;
        }
        let (child, stderr) = start(command).ok()?;
        running.child = child;
        Some(stderr)
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(usize, String)>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, stderr: ChildStderr, start: usize, speak: &watch::Sender<Spoken>) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        while let Ok(1..) = stderr.by_ref().take(LINE_KEPT).read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            let mut lines = self.lock();
            if lines.len() == LINES_KEPT {
                lines.pop_front();
            }
            lines.push_back((start, text));
            drop(lines);
            speak.send_modify(|spoken| spoken.lines += 1);
        }
    }
}

/// Where util-linux has it.
const SETPRIV: &str = "/usr/bin/setpriv";
/// Lines kept; the oldest go first.
const LINES_KEPT: usize = 4000;
/// Bytes of one line; a longer one is cut into several.
const LINE_KEPT: u64 = 4096;
/// Lines shown with an error.
const LINES_SHOWN: usize = 60;
/// Starts of one service. Chosen by us: a release that does not come up has a few tries, and a scenario a few releases.
const STARTS_MAX: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_outlives_the_thread_that_wanted_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "trap 'echo still here >&2; exit' TERM; echo up >&2; while :; do :; done"]);
        let (process, thread) = std::thread::spawn(move || {
            let process = Process::spawn(command, Restart::Never).expect("sh is there");
            (process, std::fs::read_link("/proc/thread-self").expect("Linux says who it is"))
        })
        .join()
        .expect("it ends");
        assert!(process.line_with(1, "up").await.is_some());
        // Who has left this list has sent the signal.
        let listed = Path::new("/proc").join(thread);
        while listed.exists() {
            std::thread::yield_now();
        }
        process.terminate();
        assert!(process.line_with(1, "still here").await.is_some(), "{}", process.log());
        assert!(process.ended().await.success());
    }
}
