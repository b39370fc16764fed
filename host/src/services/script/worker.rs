//! The thread of one script.
//!
//! Lua holds its thread while it works, so it never works on the I/O runtime. A limit ends a call from within, by the hook
//! of [`super::machine`]; what runs in C (the match of a pattern) calls no hook. Such a call is given up from outside: the
//! thread is left to itself until it ends, and counted, and with [`HUNG_MAX`] of them no script is loaded any more.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use polylink_plugin_api::HostRefusal;
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::super::ScriptLimits;
use super::super::registry::{self, Refusal};
use super::machine::{Failed, Machine, Source};

/// What all scripts of a host have in common.
#[derive(Default)]
pub struct Workers {
    pub limits: ScriptLimits,
    n_hung: AtomicUsize,
}

impl Workers {
    pub fn new(limits: ScriptLimits) -> Self {
        Self { limits, n_hung: AtomicUsize::new(0) }
    }

    /// Whether one more script may be loaded.
    pub fn admit(&self) -> Result<(), Refusal> {
        let n_hung = self.n_hung.load(Ordering::Relaxed);
        if n_hung < HUNG_MAX {
            return Ok(());
        }
        let text = format!("{n_hung} scripts hang in a call that cannot be interrupted; no more are loaded");
        Err(Refusal::new(HostRefusal::QUOTA, text))
    }
}

/// What a job came to; `None`: the thread hangs, and is left to itself.
pub type Answer<T> = Option<Result<T, Refusal>>;

/// A thread with a script. Dropping it ends the thread, at the next look at its limits if it is at work.
pub struct Worker {
    jobs: mpsc::Sender<Job>,
    thread: Arc<Thread>,
    patience: Duration,
    runtime: Runtime,
}

struct Job {
    function: String,
    arguments: Vec<u8>,
    answer: oneshot::Sender<Result<Vec<u8>, Refusal>>,
}

impl Worker {
    /// Starts a thread and loads a script in it.
    pub async fn start(workers: &Arc<Workers>, runtime: &Runtime, source: Source) -> Result<Self, Refusal> {
        let thread = Arc::new(Thread::new(workers, &source));
        let (jobs, work) = mpsc::channel();
        let (loaded, answer) = oneshot::channel();
        let (of_thread, limits) = (Arc::clone(&thread), workers.limits.clone());
        let spawned = std::thread::Builder::new()
            .name("script".to_owned())
            .stack_size(STACK)
            .spawn(move || serve(&of_thread, source, limits, loaded, &work));
        spawned.map_err(no_thread)?;
        let worker = Self { jobs, thread, patience: workers.limits.timeout + GRACE, runtime: runtime.clone() };
        match worker.wait(answer).await {
            Some(loaded) => loaded.map(|()| worker),
            None => Err(hangs()),
        }
    }

    /// Calls a function, one at a time.
    pub async fn call(&self, function: String, arguments: Vec<u8>) -> Answer<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        // A thread that is gone drops the sender, which is an answer too.
        let _ = self.jobs.send(Job { function, arguments, answer });
        self.wait(answered).await
    }

    async fn wait<T: Send + 'static>(&self, answer: oneshot::Receiver<Result<T, Refusal>>) -> Answer<T> {
        let mut awaited = Awaited { answer: Some(answer), worker: self };
        let answered = match &mut awaited.answer {
            Some(answer) => tokio::time::timeout(self.patience, answer).await,
            None => return None,
        };
        awaited.answer = None;
        match answered {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(_)) => {
                Some(Err(Refusal::new(HostRefusal::OTHER, "the script's thread has ended; the log says how")))
            }
            Err(_) => {
                self.thread.give_up();
                None
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.thread.unwanted.store(true, Ordering::Relaxed);
    }
}

/// An answer that is awaited. If nobody awaits it any more, somebody must still see to it that the thread ends.
struct Awaited<'a, T: Send + 'static> {
    answer: Option<oneshot::Receiver<Result<T, Refusal>>>,
    worker: &'a Worker,
}

impl<T: Send + 'static> Drop for Awaited<'_, T> {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            let thread = Arc::clone(&self.worker.thread);
            thread.unwanted.store(true, Ordering::Relaxed);
            self.worker.runtime.spawn(async move {
                if tokio::time::timeout(GRACE, answer).await.is_err() {
                    thread.give_up();
                }
            });
        }
    }
}

/// What a thread and those who wait for it know of each other.
struct Thread {
    instance: String,
    script: String,
    workers: Arc<Workers>,
    unwanted: Arc<AtomicBool>,
    state: AtomicU8,
}

impl Thread {
    fn new(workers: &Arc<Workers>, source: &Source) -> Self {
        Self {
            instance: source.instance.clone(),
            script: source.name.clone(),
            workers: Arc::clone(workers),
            unwanted: Arc::default(),
            state: AtomicU8::new(AT_WORK),
        }
    }

    /// Leaves the thread to itself, unless it has ended.
    fn give_up(&self) {
        self.unwanted.store(true, Ordering::Relaxed);
        let n_hung = &self.workers.n_hung;
        // Counted before, since the thread counts down as soon as it sees that it was given up.
        let n = n_hung.fetch_add(1, Ordering::Relaxed) + 1;
        if self.state.compare_exchange(AT_WORK, GIVEN_UP, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            n_hung.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (cloud, script) = (&self.instance, &self.script);
        warn!(%cloud, script, hung = n, "a script does not stop at its limit; its thread is left to itself");
    }
}

/// Ends with the thread, however that ends.
struct Ending<'a>(&'a Thread);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if self.0.state.swap(ENDED, Ordering::AcqRel) == GIVEN_UP {
            self.0.workers.n_hung.fetch_sub(1, Ordering::Relaxed);
            info!(cloud = %self.0.instance, script = self.0.script, "the thread of a script that hung has ended");
        }
    }
}

/// The work of the thread.
fn serve(
    thread: &Thread,
    source: Source,
    limits: ScriptLimits,
    loaded: oneshot::Sender<Result<(), Refusal>>,
    work: &mpsc::Receiver<Job>,
) {
    let _ending = Ending(thread);
    let mut server = Server { source, limits, unwanted: &thread.unwanted, machine: None };
    let outcome = contained(thread, || server.load(Instant::now() + server.limits.timeout));
    let is_loaded = outcome.is_ok();
    let _ = loaded.send(outcome);
    while let (true, Ok(job)) = (is_loaded, work.recv()) {
        let outcome = contained(thread, || server.call(&job.function, &job.arguments));
        let _ = job.answer.send(outcome);
    }
}

/// A panic is an answer, so that nobody waits for one.
fn contained<T>(thread: &Thread, work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let panic = registry::message(&*panic);
        error!(cloud = %thread.instance, script = thread.script, panic, "a script's thread panicked");
        Err(Refusal::new(HostRefusal::OTHER, "the host failed at this; its log says how"))
    })
}

/// A script on its thread; without a machine after a call that went beyond a limit, so that nothing of it is left.
struct Server<'a> {
    source: Source,
    limits: ScriptLimits,
    unwanted: &'a Arc<AtomicBool>,
    machine: Option<Machine>,
}

impl Server<'_> {
    fn load(&mut self, deadline: Instant) -> Result<(), Refusal> {
        let loaded = Machine::load(&self.source, &self.limits, deadline, self.unwanted);
        self.machine = Some(loaded.map_err(|failed| failed.refusal(&self.limits))?);
        Ok(())
    }

    fn call(&mut self, function: &str, arguments: &[u8]) -> Result<Vec<u8>, Refusal> {
        let deadline = Instant::now() + self.limits.timeout;
        if self.machine.is_none() {
            self.load(deadline).map_err(|refusal| Refusal {
                text: format!("the script cannot be run anew: {}", refusal.text),
                ..refusal
            })?;
        }
        // Taken out, so that a machine in which something panicked is not used again either.
        let Some(machine) = self.machine.take() else {
            return Err(Refusal::new(HostRefusal::OTHER, "the script is not there"));
        };
        let called = machine.call(function, arguments, deadline);
        if !matches!(called, Err(Failed::Reached(_))) {
            self.machine = Some(machine);
        }
        called.map_err(|failed| failed.refusal(&self.limits))
    }
}

pub fn hangs() -> Refusal {
    Refusal::new(HostRefusal::TIMEOUT, "the script does not stop at its limit; it is closed")
}

fn no_thread(error: io::Error) -> Refusal {
    Refusal::new(HostRefusal::OTHER, format!("no thread for the script: {error}"))
}

/// Most threads of a host that hang; while there are so many no script is loaded. Not documented; chosen by us: each may
/// take a whole core.
pub const HUNG_MAX: usize = 4;

/// Beyond its time limit a script has so long to notice that. Not documented; chosen by us: a call is held up for this
/// long at most, and a busy machine is not a hanging script.
const GRACE: Duration = Duration::from_secs(1);

/// Lua allows 200 calls between C and Lua within each other, and `string.gsub` has a buffer of 8 KiB on C's stack (Lua
/// 5.1, `LUAI_MAXCCALLS` and `LUAL_BUFFERSIZE`). Only what is touched takes memory.
pub const STACK: usize = 4 * 1024 * 1024;

const AT_WORK: u8 = 0;
const GIVEN_UP: u8 = 1;
const ENDED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_counts_as_hanging_from_when_it_is_given_up_until_it_ends() {
        let workers = Arc::new(Workers::default());
        let threads = [(); HUNG_MAX].map(|()| thread(&workers));
        for thread in &threads {
            assert_eq!(workers.admit(), Ok(()));
            thread.give_up();
            thread.give_up();
            assert!(thread.unwanted.load(Ordering::Relaxed));
        }
        assert_eq!(workers.admit().map_err(|refusal| refusal.code), Err(HostRefusal::QUOTA));
        drop(Ending(&threads[0]));
        assert_eq!(workers.admit(), Ok(()));
    }

    #[test]
    fn a_thread_that_ended_in_time_does_not_count() {
        let workers = Arc::new(Workers::default());
        for _ in 0..HUNG_MAX {
            let thread = thread(&workers);
            drop(Ending(&thread));
            thread.give_up();
        }
        assert_eq!(workers.admit(), Ok(()));
    }

    fn thread(workers: &Arc<Workers>) -> Thread {
        let text = String::new();
        Thread::new(workers, &Source { instance: "test".to_owned(), name: "product".to_owned(), text })
    }
}
