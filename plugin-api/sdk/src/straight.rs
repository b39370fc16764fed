//! Straight-line code: for authors who would rather write `connect().await?` than a state machine.
//!
//! [`StraightLine::run`] is one task that asks for things with a [`Cloud`] and awaits the answers. [`Straight`] makes a
//! [`Session`] of it, so driver, guard and virtual host serve it like any other: the task is polled only while the
//! session handles an input, there is no other thread, no runtime, and time is still an argument.
//!
//! What the task awaits is given to it there; everything else waits in order for [`Cloud::next`].
//!
//! ```text
//! #[async_trait]
//! impl StraightLine for MyCloud {
//!     fn new(context: Context) -> Result<Self, Fault> { … }
//!
//!     async fn run(self, cloud: Cloud) -> Result<(), Fault> {
//!         loop {
//!             match cloud.mqtt_connect(self.connect()).await {
//!                 Ok(connection) => self.serve(&cloud, connection).await?,
//!                 Err(why) => cloud.log(Level::Warn, format!("cannot connect: {why}")),
//!             }
//!             cloud.sleep(5_000).await;
//!         }
//!     }
//! }
//! export_plugin!(Straight<MyCloud>, INFO);
//! ```

mod cloud;
mod shared;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};

pub use async_trait::async_trait;
pub use cloud::{Cloud, ConnectError};

use crate::{Context, Fault, FaultCode, Input, Now, Output, Session, Timestamp};
use shared::SharedRef;

/// A plugin as one task.
#[async_trait]
pub trait StraightLine: Send + Sized + 'static {
    /// Makes a plugin that has not begun to work.
    ///
    /// # Errors
    /// The settings or the product do not fit.
    fn new(context: Context) -> Result<Self, Fault>;

    /// The plugin's work. It ends when it got [`Input::Stop`]; if it ends before, the plugin rests until the host stops
    /// it.
    ///
    /// # Errors
    /// It cannot go on; the host makes a new one, as the fault advises.
    async fn run(self, cloud: Cloud) -> Result<(), Fault>;
}

/// The session that runs a [`StraightLine`].
pub struct Straight<P: StraightLine> {
    plugin: Option<P>,
    task: Option<Task>,
    shared: SharedRef,
    woken: Arc<Woken>,
}

type Task = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

impl<P: StraightLine> Session for Straight<P> {
    fn new(context: Context) -> Result<Self, Fault> {
        let plugin = Some(P::new(context)?);
        Ok(Self { plugin, task: None, shared: SharedRef::default(), woken: Arc::default() })
    }

    fn handle_input(&mut self, now: Now, input: Input) -> Result<Vec<Output>, Fault> {
        let waiting = self.shared.lock().take_input(now, input);
        let Ok(waiting) = waiting else {
            let (inputs, bytes) = (shared::INBOX_MAX, shared::INBOX_BYTES_MAX);
            let text = format!("{inputs} inputs or {bytes} bytes wait and the plugin's task does not take them");
            return Err(Fault::new(FaultCode::OTHER, text));
        };
        waiting.into_iter().for_each(Waker::wake);
        if let Some(plugin) = self.plugin.take() {
            self.task = Some(plugin.run(Cloud::new(self.shared.clone())));
            self.woken.wake_by_ref();
        }
        let polled = self.poll();
        let mut shared = self.shared.lock();
        if self.task.is_none() {
            shared.end();
        }
        polled?;
        Ok(shared.take_outputs())
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        // A task that was still awake when its turn ended gets the next one at once.
        if self.woken.0.load(Ordering::Relaxed) && self.task.is_some() {
            return Some(Timestamp(0));
        }
        self.shared.lock().earliest()
    }
}

impl<P: StraightLine> Straight<P> {
    fn poll(&mut self) -> Result<(), Fault> {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut context = TaskContext::from_waker(&waker);
        for _ in 0..POLLS_MAX {
            let Some(task) = self.task.as_mut() else { return Ok(()) };
            if !self.woken.0.swap(false, Ordering::Relaxed) {
                return Ok(());
            }
            if let Poll::Ready(ended) = task.as_mut().poll(&mut context) {
                self.task = None;
                return ended;
            }
        }
        Ok(())
    }
}

/// The waker of the one task: a flag.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls in one call before the host gets its thread back. Not documented; chosen by us: far more than an answer sets
/// off.
const POLLS_MAX: usize = 256;
