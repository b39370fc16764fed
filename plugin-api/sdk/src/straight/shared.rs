//! What the task and the session that polls it have in common.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::services::{mqtt, network, script, tcp, udp};
use crate::{Input, Now, Output, RequestId, Timestamp};

/// A way to it. Locked for moments only, never while the task is polled.
#[derive(Clone, Default)]
pub struct SharedRef(Arc<Mutex<Shared>>);

impl SharedRef {
    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Inputs on their way to the task, outputs on their way from it.
#[derive(Default)]
pub struct Shared {
    pub now: Now,
    /// What nobody awaits in particular.
    inbox: VecDeque<Input>,
    inbox_bytes: usize,
    outputs: Vec<Output>,
    /// The requests whose answer is awaited; bounded by the awaits of the task.
    awaited: BTreeMap<RequestId, Option<Input>>,
    /// The sleeps under way; bounded by the awaits of the task.
    sleeps: BTreeMap<u64, Timestamp>,
    waiting: Vec<Waker>,
    n_ids: u64,
    ended: bool,
}

/// The inbox is full.
pub struct Full;

impl Shared {
    /// Puts an input where it is awaited, and gives the wakers of who waits.
    pub fn take_input(&mut self, now: Now, input: Input) -> Result<Vec<Waker>, Full> {
        self.now = now;
        if self.ended {
            return Ok(Vec::new());
        }
        let slot = answers(&input).and_then(|id| self.awaited.get_mut(&id));
        match (slot, input) {
            (_, Input::Start | Input::Timeout) => {}
            (Some(slot @ None), input) => *slot = Some(input),
            (_, input) => {
                let n_bytes = payload(&input);
                if self.inbox.len() >= INBOX_MAX || self.inbox_bytes + n_bytes > INBOX_BYTES_MAX {
                    return Err(Full);
                }
                self.inbox_bytes += n_bytes;
                self.inbox.push_back(input);
            }
        }
        Ok(std::mem::take(&mut self.waiting))
    }

    /// The task has ended: nobody takes inputs any more.
    pub fn end(&mut self) {
        self.ended = true;
        self.inbox.clear();
        self.inbox_bytes = 0;
    }

    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub fn earliest(&self) -> Option<Timestamp> {
        self.sleeps.values().min().copied()
    }

    pub fn ask(&mut self, output: Output) {
        self.outputs.push(output);
    }

    pub fn fresh_id(&mut self) -> RequestId {
        self.n_ids += 1;
        RequestId(self.n_ids)
    }

    /// Asks for something whose answer is awaited.
    pub fn ask_and_await(&mut self, output: impl FnOnce(RequestId) -> Output) -> RequestId {
        let id = self.fresh_id();
        self.outputs.push(output(id));
        self.awaited.insert(id, None);
        id
    }

    pub fn take_answer(&mut self, id: RequestId) -> Option<Input> {
        self.awaited.get_mut(&id).and_then(Option::take)
    }

    pub fn stop_awaiting(&mut self, id: RequestId) {
        self.awaited.remove(&id);
    }

    pub fn next_input(&mut self) -> Option<Input> {
        let input = self.inbox.pop_front()?;
        self.inbox_bytes -= payload(&input);
        Some(input)
    }

    pub fn sleep_until(&mut self, at: Timestamp) -> u64 {
        let id = self.fresh_id().0;
        self.sleeps.insert(id, at);
        id
    }

    pub fn stop_sleeping(&mut self, id: u64) {
        self.sleeps.remove(&id);
    }

    pub fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }
}

/// The request that an input answers.
fn answers(input: &Input) -> Option<RequestId> {
    match input {
        Input::Outcome(id, _) | Input::Http(id, _) | Input::Stored(id, _) => Some(*id),
        Input::Network(network::Event::Resolved(id, _)) => Some(*id),
        Input::Mqtt(
            mqtt::Event::Connected { connection: id, .. }
            | mqtt::Event::Refused(id, _)
            | mqtt::Event::Closed(id, _)
            | mqtt::Event::Published(id, _)
            | mqtt::Event::Subscribed(id, _),
        ) => Some(*id),
        Input::Tcp(tcp::Event::Opened(id) | tcp::Event::Listening(id, _) | tcp::Event::Closed(id, _)) => Some(*id),
        Input::Udp(udp::Event::Bound(id, _) | udp::Event::Closed(id, _)) => Some(*id),
        Input::Script(
            script::Event::Loaded(id) | script::Event::LoadFailed(id, _) | script::Event::Returned(id, _),
        ) => Some(*id),
        _ => None,
    }
}

/// Bytes that came with an input from where they are not ours to bound.
fn payload(input: &Input) -> usize {
    match input {
        Input::Mqtt(mqtt::Event::Message { topic, payload, .. }) => topic.len() + payload.len(),
        Input::Tcp(tcp::Event::Received(_, bytes) | tcp::Event::Overflow(_, bytes)) => bytes.len(),
        Input::Udp(udp::Event::Received(_, _, bytes)) => bytes.len(),
        Input::Http(_, Ok(response)) => response.body.len(),
        Input::Script(script::Event::Returned(_, Ok(results))) => results.iter().map(script_value).sum(),
        _ => 0,
    }
}

fn script_value(value: &script::Value) -> usize {
    match value {
        script::Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

/// Bytes from the network and from scripts that wait for [`super::Cloud::next`]; beyond it the plugin faults as with [`INBOX_MAX`]. Not
/// documented; chosen by us: sixteen of the largest MQTT messages.
pub const INBOX_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Inputs that wait for [`super::Cloud::next`]. When it is full the plugin faults: reports that were not settled come
/// again to its successor, whereas an input dropped here would be lost in silence. Not documented; chosen by us.
pub const INBOX_MAX: usize = 1024;
