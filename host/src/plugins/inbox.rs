//! What waits for one plugin instance, and how its thread sleeps until there is something.
//!
//! Reports and outcomes wait in the bus; here is only a flag that they do. Service events wait here. Invariant: news
//! never exceed [`EVENTS_MAX`] and [`BYTES_MAX`]; only completions, whose number the quotas of the services bound, and
//! a single large event go beyond. Calls that are refused have no quota: an instance that makes them faster than it
//! hears the answers overruns [`COMPLETIONS_MAX`] and is failed. After [`Inbox::close`] nothing is taken and nobody waits.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::hub::Waker;
use crate::services::{EventSink, OwnedEvent};

/// See the module. Every method may be called from any thread; one thread waits.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    ready: Condvar,
    room: Notify,
}

/// What the instance's thread is to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Service events, in order.
    pub events: Vec<OwnedEvent>,
    /// Wake-ups that the plugin asked for.
    pub tokens: Vec<u64>,
    /// The bus has reports or outcomes.
    pub bus: bool,
    /// The instance is to stop.
    pub stop: bool,
    /// More completions came than may wait, and some were dropped: the instance cannot go on.
    pub overrun: bool,
}

/// How full it is, and what was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxUsage {
    /// Events that wait.
    pub events: usize,
    /// Their bytes.
    pub bytes: usize,
    /// News that were dropped because there was no room.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<OwnedEvent>,
    bytes: usize,
    dropped: u64,
    tokens: Vec<u64>,
    bus: bool,
    stop: bool,
    overrun: bool,
    closed: bool,
}

impl Inbox {
    /// Sleeps until there is something to do or the time is over, and takes it: at most [`TAKEN_MAX`] events.
    pub fn wait(&self, at_most: Option<Duration>) -> Woken {
        let idle = |state: &mut State| {
            state.events.is_empty() && state.tokens.is_empty() && !state.bus && !state.stop && !state.closed
        };
        let state = self.lock();
        let mut state = match at_most {
            None => self.ready.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
            Some(at_most) => {
                self.ready.wait_timeout_while(state, at_most, idle).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        let n = state.events.len().min(TAKEN_MAX);
        let events: Vec<_> = state.events.drain(..n).collect();
        state.bytes -= events.iter().map(event_bytes).sum::<usize>();
        let woken = Woken {
            events,
            tokens: std::mem::take(&mut state.tokens),
            bus: std::mem::take(&mut state.bus),
            stop: state.stop || state.closed,
            overrun: state.overrun,
        };
        drop(state);
        if n > 0 {
            self.room.notify_waiters();
        }
        woken
    }

    /// The plugin asks to be woken. Equal tokens that wait are delivered once; of more than [`TOKENS_MAX`] different
    /// ones the newest are dropped and counted.
    pub fn wake_with(&self, token: u64) {
        let mut state = self.lock();
        if state.closed || state.tokens.contains(&token) {
            return;
        }
        if state.tokens.len() >= TOKENS_MAX {
            state.dropped += 1;
            return;
        }
        state.tokens.push(token);
        drop(state);
        self.ready.notify_one();
    }

    /// The instance is to stop.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.ready.notify_one();
    }

    /// Nothing is taken any more, and what waits is forgotten.
    pub fn close(&self) {
        let mut state = self.lock();
        let dropped = state.dropped;
        *state = State { closed: true, dropped, ..State::default() };
        drop(state);
        self.ready.notify_one();
        self.room.notify_waiters();
    }

    /// How full it is.
    #[must_use]
    pub fn usage(&self) -> InboxUsage {
        let state = self.lock();
        InboxUsage { events: state.events.len(), bytes: state.bytes, dropped: state.dropped }
    }

    /// Puts the event, if there is room; gives it back otherwise.
    fn put(&self, event: OwnedEvent, always: bool) -> Result<(), OwnedEvent> {
        let mut state = self.lock();
        if state.closed {
            return Ok(());
        }
        let bytes = event_bytes(&event);
        let fits = state.events.len() < EVENTS_MAX && state.bytes + bytes <= BYTES_MAX;
        if !always && !fits && !state.events.is_empty() {
            return Err(event);
        }
        if always && (state.events.len() >= COMPLETIONS_MAX || state.bytes + bytes > COMPLETION_BYTES_MAX) {
            state.overrun = true;
            state.dropped += 1;
            return Ok(());
        }
        state.bytes += bytes;
        state.events.push_back(event);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for Inbox {
    fn complete(&self, event: OwnedEvent) {
        // With `always` there is nothing to give back.
        let _ = self.put(event, true);
    }

    fn offer(&self, event: OwnedEvent) -> bool {
        let taken = self.put(event, false).is_ok();
        if !taken {
            self.lock().dropped += 1;
        }
        taken
    }

    fn deliver<'a>(&'a self, event: OwnedEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let mut event = event;
            loop {
                // Registered before the attempt, so that room made in between is not missed.
                let mut room = pin!(self.room.notified());
                room.as_mut().enable();
                match self.put(event, false) {
                    Ok(()) => return,
                    Err(back) => event = back,
                }
                room.await;
            }
        })
    }
}

impl Waker for Inbox {
    fn wake(&self) {
        let mut state = self.lock();
        if !state.closed {
            state.bus = true;
            drop(state);
            self.ready.notify_one();
        }
    }
}

fn event_bytes(event: &OwnedEvent) -> usize {
    size_of::<OwnedEvent>() + event.text.len() + event.body.len()
}

/// News that wait at a time. When full, what may be lost is dropped and counted, and streams are not read on. Not
/// documented; chosen by us.
pub const EVENTS_MAX: usize = 256;

/// Their bytes. Not documented; chosen by us: several times the largest piece that a service hands over.
pub const BYTES_MAX: usize = 256 * 1024;

/// Completions that wait at a time; beyond it they are dropped and counted, and the instance is failed. Not documented;
/// chosen by us: more than 32 connections with full queues owe when all of them break at once.
pub const COMPLETIONS_MAX: usize = 16 * 1024;

/// Their bytes. Not documented; chosen by us: four answers of the `http` table at their longest, and as much again.
pub const COMPLETION_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Different wake-up tokens that wait at a time. Not documented; chosen by us.
const TOKENS_MAX: usize = 64;

/// Events taken at a time, so that reports and timeouts have their turn. Not documented; chosen by us.
const TAKEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(token: u64, bytes: usize) -> OwnedEvent {
        OwnedEvent { token, body: vec![0; bytes], ..OwnedEvent::default() }
    }

    /// Offers events of these sizes to an inbox; these tokens come out.
    #[track_caller]
    fn check(sizes: &[usize], taken: &[u64], dropped: u64) {
        let inbox = Inbox::default();
        for (token, &bytes) in (0u64..).zip(sizes) {
            inbox.offer(event(token, bytes));
        }
        let mut tokens = Vec::new();
        while inbox.usage().events > 0 {
            tokens.extend(inbox.wait(None).events.iter().map(|event| event.token));
        }
        assert_eq!((tokens.as_slice(), inbox.usage()), (taken, InboxUsage { dropped, ..InboxUsage::default() }));
    }

    #[test]
    fn news_beyond_the_bytes_are_dropped_and_counted() {
        check(&[10, 20, 30], &[0, 1, 2], 0);
        check(&[BYTES_MAX / 2, BYTES_MAX / 2, 10], &[0, 2], 1);
    }

    #[test]
    fn an_event_larger_than_the_inbox_passes_alone() {
        check(&[2 * BYTES_MAX, 1], &[0], 1);
    }

    #[test]
    fn news_beyond_the_count_are_dropped_and_completions_are_not() {
        check(&[0; EVENTS_MAX + 3], &(0..EVENTS_MAX as u64).collect::<Vec<_>>(), 3);
        let inbox = Inbox::default();
        for token in 0..2 * EVENTS_MAX as u64 {
            inbox.complete(event(token, 0));
        }
        assert_eq!(inbox.usage().events, 2 * EVENTS_MAX);
        assert!(!inbox.offer(event(0, 0)));
    }

    #[test]
    fn completions_without_end_are_dropped_and_fail_the_instance() {
        for (n, bytes) in [(COMPLETIONS_MAX, 0), (7, 1024 * 1024)] {
            let inbox = Inbox::default();
            (0..n as u64).for_each(|token| inbox.complete(event(token, bytes)));
            assert!(!inbox.wait(Some(Duration::ZERO)).overrun);
            for token in 0..2 * n as u64 {
                inbox.complete(event(token, bytes));
            }
            let usage = inbox.usage();
            assert!(usage.events <= COMPLETIONS_MAX && usage.bytes <= COMPLETION_BYTES_MAX, "{usage:?}");
            assert!(usage.dropped > 0 && inbox.wait(None).overrun);
        }
    }

    #[test]
    fn equal_wake_ups_that_wait_are_delivered_once() {
        let inbox = Inbox::default();
        for token in [7, 7, 3, 7] {
            inbox.wake_with(token);
        }
        assert_eq!(inbox.wait(None).tokens, [7, 3]);
        inbox.wake_with(7);
        assert_eq!(inbox.wait(None).tokens, [7]);
        (0..1000).for_each(|token| inbox.wake_with(token));
        assert_eq!(inbox.wait(None).tokens.len(), TOKENS_MAX);
        assert_eq!(inbox.usage().dropped, 1000 - TOKENS_MAX as u64);
    }

    #[test]
    fn a_closed_inbox_takes_nothing_and_says_stop() {
        let inbox = Inbox::default();
        inbox.complete(event(1, 10));
        inbox.close();
        inbox.complete(event(2, 10));
        inbox.wake_with(3);
        inbox.wake();
        assert_eq!(inbox.wait(None), Woken { stop: true, ..Woken::default() });
    }

    #[test]
    fn a_full_inbox_holds_a_stream_back_until_there_is_room() {
        let inbox = Inbox::default();
        (0..EVENTS_MAX as u64).for_each(|token| inbox.complete(event(token, 0)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
        runtime.block_on(async {
            let mut delivery = inbox.deliver(event(999, 0));
            let waits =
                std::future::poll_fn(|cx| std::task::Poll::Ready(delivery.as_mut().poll(cx).is_pending())).await;
            assert!(waits);
            inbox.wait(None);
            delivery.await;
        });
        assert_eq!(inbox.usage().events, EVENTS_MAX - TAKEN_MAX + 1);
    }

    #[test]
    fn a_closed_inbox_lets_a_waiting_stream_go() {
        let inbox = Inbox::default();
        (0..EVENTS_MAX as u64).for_each(|token| inbox.complete(event(token, 0)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
        runtime.block_on(async {
            let mut delivery = inbox.deliver(event(999, 0));
            let waits =
                std::future::poll_fn(|cx| std::task::Poll::Ready(delivery.as_mut().poll(cx).is_pending())).await;
            assert!(waits);
            inbox.close();
            delivery.await;
        });
        assert_eq!(inbox.usage().events, 0);
    }
}
