//! The calls of one script that have no answer yet.

use std::collections::VecDeque;
use std::sync::Mutex;

use polylink_plugin_api::HostRefusal;
use polylink_plugin_api::services::script::{CALLS_MAX, WAITING_BYTES_MAX};
use tokio::sync::Notify;

use super::super::registry::{Refusal, locked};

/// A call on its way to the script.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    pub token: u64,
    pub function: String,
    pub arguments: Vec<u8>,
}

/// One after another. When it is full a further call is refused.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    /// Told when a call was put.
    put: Notify,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    is_loaded: bool,
    waiting: VecDeque<Call>,
    n_bytes: usize,
    running: Option<u64>,
}

impl Queue {
    /// Puts a call at the end.
    pub fn put(&self, call: Call) -> Result<(), Refusal> {
        let mut state = locked(&self.state);
        if state.is_closed {
            return Err(gone());
        }
        let n_bytes = state.n_bytes + call.arguments.len();
        if state.waiting.len() >= CALLS_MAX || n_bytes > WAITING_BYTES_MAX {
            let n = state.waiting.len();
            let text = format!(
                "{n} calls wait for the script, at most {CALLS_MAX} may, with {WAITING_BYTES_MAX} bytes of arguments"
            );
            return Err(Refusal::new(HostRefusal::QUOTA, text));
        }
        state.n_bytes = n_bytes;
        state.waiting.push_back(call);
        self.put.notify_one();
        Ok(())
    }

    /// The next call, which runs from now on.
    pub async fn next(&self) -> Call {
        loop {
            {
                let mut state = locked(&self.state);
                if let Some(call) = state.waiting.pop_front() {
                    state.n_bytes -= call.arguments.len();
                    state.running = Some(call.token);
                    return call;
                }
            }
            self.put.notified().await;
        }
    }

    /// The call that runs has its answer; false: it was told another one already.
    pub fn finish(&self, token: u64) -> bool {
        let running = &mut locked(&self.state).running;
        running.take_if(|running| *running == token).is_some()
    }

    /// The script waits for calls; false: it was unloaded meanwhile.
    pub fn loaded(&self) -> bool {
        let mut state = locked(&self.state);
        state.is_loaded = true;
        !state.is_closed
    }

    pub fn is_loaded(&self) -> bool {
        locked(&self.state).is_loaded
    }

    /// Takes no more calls; those without an answer yet, in order.
    pub fn close(&self) -> Vec<u64> {
        let mut state = locked(&self.state);
        state.is_closed = true;
        state.n_bytes = 0;
        let running = state.running.take();
        let waiting = std::mem::take(&mut state.waiting);
        running.into_iter().chain(waiting.into_iter().map(|call| call.token)).collect()
    }

    /// Bytes of arguments that wait.
    pub fn n_bytes(&self) -> usize {
        locked(&self.state).n_bytes
    }
}

/// What a call of a script that is not there is told.
pub fn gone() -> Refusal {
    Refusal::new(HostRefusal::UNKNOWN_HANDLE, "there is no such script, or no more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_beyond_the_limits_is_refused_and_the_others_stay() {
        let queue = Queue::default();
        for token in 0..CALLS_MAX as u64 {
            queue.put(call(token, 1)).unwrap();
        }
        assert_eq!(queue.put(call(99, 0)).unwrap_err().code, HostRefusal::QUOTA);
        assert_eq!(queue.close(), (0..CALLS_MAX as u64).collect::<Vec<_>>());
        let queue = Queue::default();
        queue.put(call(1, WAITING_BYTES_MAX)).unwrap();
        assert_eq!(queue.put(call(2, 1)).unwrap_err().code, HostRefusal::QUOTA);
        queue.put(call(3, 0)).unwrap();
        assert_eq!(queue.n_bytes(), WAITING_BYTES_MAX);
    }

    #[tokio::test]
    async fn each_call_is_answered_once_also_when_the_queue_closes_under_it() {
        let queue = Queue::default();
        queue.put(call(1, 3)).unwrap();
        queue.put(call(2, 3)).unwrap();
        assert_eq!(queue.next().await, call(1, 3));
        assert!(queue.finish(1) && !queue.finish(1));
        assert_eq!(queue.next().await.token, 2);
        queue.put(call(3, 3)).unwrap();
        assert_eq!(queue.close(), [2, 3]);
        assert!(!queue.finish(2));
        assert_eq!(queue.put(call(4, 0)).unwrap_err().code, HostRefusal::UNKNOWN_HANDLE);
        assert_eq!(queue.n_bytes(), 0);
    }

    fn call(token: u64, n_bytes: usize) -> Call {
        Call { token, function: "f".to_owned(), arguments: vec![0; n_bytes] }
    }
}
