//! [`ProductScript`]: a product's script, from its loading to its end, and the calls that wait for it.
//!
//! Calls keep their order, also over a script that had to be loaded again: a call that did not end by its own fault is made
//! again. The script is given no more at once than half of what the host lets wait, since what is beyond that is refused.
//! How many calls may wait is for the session to say; [`ProductScript::n_open`] counts them.

use std::collections::{BTreeMap, VecDeque};

use crate::services::script::{Event, Request, Value};
use crate::services::{Failure, Reason};
use crate::timers::Timers;
use crate::{RequestId, Timestamp};

/// A script, or none; `P` is what a call is for.
#[derive(Debug)]
pub struct ProductScript<P> {
    name: &'static str,
    source: Option<String>,
    script: Option<RequestId>,
    ready: bool,
    waiting: VecDeque<(RequestId, Call<P>)>,
    running: BTreeMap<RequestId, Call<P>>,
    reload: Timers<()>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call<P> {
    /// The global function.
    pub function: &'static str,
    /// Its arguments.
    pub args: Vec<Value>,
    /// What it is for.
    pub purpose: P,
}

/// What an event meant.
#[derive(Debug)]
pub enum News<P> {
    /// The script waits for calls.
    Loaded,
    /// The script is no script: only a person can help.
    Unusable(Failure),
    /// It could not be loaded now, or is gone; it is loaded again in a minute.
    Lost(Failure),
    /// A call returned.
    Returned(RequestId, Call<P>, Vec<Value>),
    /// A call failed, and would fail again.
    Failed(RequestId, Call<P>, Failure),
}

impl<P: Clone> ProductScript<P> {
    /// A script of this name for logs; `None`: the product has none, and nothing is to be called.
    #[must_use]
    pub fn new(name: &'static str, source: Option<String>) -> Self {
        Self {
            name,
            source,
            script: None,
            ready: false,
            waiting: VecDeque::new(),
            running: BTreeMap::new(),
            reload: Timers::new(),
        }
    }

    /// True if the product has one.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.source.is_some()
    }

    /// For operators; `None`: the product has no script.
    #[must_use]
    pub fn standing(&self) -> Option<&'static str> {
        self.source.as_ref().map(|_| if self.ready { "ready" } else { "loading" })
    }

    /// Calls without an answer yet.
    #[must_use]
    pub fn n_open(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    /// The request that loads it.
    pub fn load(&mut self, script: RequestId) -> Option<Request> {
        let source = self.source.clone()?;
        self.script = Some(script);
        self.ready = false;
        Some(Request::Load { script, name: self.name.to_owned(), source })
    }

    /// The request that unloads it; calls are forgotten.
    pub fn unload(&mut self) -> Option<Request> {
        self.waiting.clear();
        self.running.clear();
        self.reload.clear_all();
        self.ready = false;
        self.script.take().map(Request::Unload)
    }

    /// A call for the script. Ids must grow: they tell the order.
    pub fn call(&mut self, id: RequestId, call: Call<P>) {
        self.waiting.push_back((id, call));
    }

    /// Takes calls back that were not given to the script yet, and forgets who waits for the others, such as when nobody
    /// needs their results any more.
    pub fn forget(&mut self, mut is_of_no_use: impl FnMut(&P) -> bool) {
        self.waiting.retain(|(_, call)| !is_of_no_use(&call.purpose));
        self.running.retain(|_, call| !is_of_no_use(&call.purpose));
    }

    /// The next call that the script can take.
    pub fn poll(&mut self) -> Option<Request> {
        let script = self.script.filter(|_| self.ready && self.has_room())?;
        let (id, call) = self.waiting.pop_front()?;
        let request = Request::Call { script, id, function: call.function.to_owned(), args: call.args.clone() };
        self.running.insert(id, call);
        Some(request)
    }

    /// When it is to be loaded again.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.reload.earliest()
    }

    /// True if it is to be loaded again now.
    pub fn is_due(&mut self, now: Timestamp) -> bool {
        !self.reload.due(now).is_empty()
    }

    /// Takes an event; `None`: it says nothing new.
    pub fn take(&mut self, now: Timestamp, event: Event) -> Option<News<P>> {
        match event {
            Event::Loaded(script) if self.script == Some(script) => {
                self.ready = true;
                Some(News::Loaded)
            }
            Event::LoadFailed(script, failure) if self.script == Some(script) => {
                // The host has no room for it at present.
                if failure.reason == Reason::Quota {
                    self.reload.set((), now.after(RELOAD_MS));
                    return Some(News::Lost(failure));
                }
                Some(News::Unusable(failure))
            }
            Event::Returned(id, result) => {
                let call = self.running.remove(&id)?;
                match result {
                    Ok(values) => Some(News::Returned(id, call, values)),
                    Err(failure) => self.failed(now, id, call, failure),
                }
            }
            Event::Loaded(_) | Event::LoadFailed(..) => None,
        }
    }

    fn failed(&mut self, now: Timestamp, id: RequestId, call: Call<P>, failure: Failure) -> Option<News<P>> {
        // One that took too long has failed like any other. If it did not even stop then, the host has closed the script,
        // as the next call will say.
        if !matches!(failure.reason, Reason::UnknownHandle | Reason::Closed) {
            return Some(News::Failed(id, call, failure));
        }
        let is_news = self.ready;
        if is_news {
            self.ready = false;
            self.reload.set((), now.after(RELOAD_MS));
        }
        let place = self.waiting.partition_point(|(waiting, _)| *waiting < id);
        self.waiting.insert(place, (id, call));
        is_news.then_some(News::Lost(failure))
    }

    /// True if the script may be given the next call.
    fn has_room(&self) -> bool {
        let bytes = self.running.values().map(Call::size).sum::<usize>();
        let next = self.waiting.front().map_or(0, |(_, call)| call.size());
        self.running.len() < WINDOW && (self.running.is_empty() || bytes + next <= WINDOW_BYTES)
    }
}

impl<P> Call<P> {
    fn size(&self) -> usize {
        let size = |value: &Value| if let Value::Bytes(bytes) = value { bytes.len() } else { 8 };
        self.args.iter().map(size).sum()
    }
}

/// Calls that run at once: half of what the host lets wait.
const WINDOW: usize = 32;
/// Bytes for the script at once, roughly: half of what the host lets wait.
const WINDOW_BYTES: usize = 512 * 1024;
/// Pause before a script is loaded again (not documented; chosen by us).
const RELOAD_MS: u64 = 60_000;

#[cfg(test)]
mod tests;
