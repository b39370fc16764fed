//! [`Cloud`]: what a task asks and awaits.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::shared::SharedRef;
use crate::services::{Failure, Reason, http, mqtt, network, script, store, tcp};
use crate::session::{Level, Phase, Status};
use crate::{Command, Input, Now, Outcome, Output, RequestId, Timestamp};

/// A task's way to the host. Clones are the same way.
#[derive(Clone)]
pub struct Cloud {
    shared: SharedRef,
}

/// Why there is no MQTT connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The broker refused it with this CONNACK code.
    Refused(u8),
    /// It did not come to be.
    Failed(Failure),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(f, "the broker refused with code {code}"),
            Self::Failed(failure) => f.write_str(&failure.text),
        }
    }
}

impl Cloud {
    pub(super) fn new(shared: SharedRef) -> Self {
        Self { shared }
    }

    /// The time of the call that the task is polled in.
    #[must_use]
    pub fn now(&self) -> Now {
        self.shared.lock().now
    }

    /// Does something that has no answer, or whose answer comes with [`Self::next`].
    pub fn ask(&self, output: Output) {
        self.shared.lock().ask(output);
    }

    /// A number that no other request of this task has.
    #[must_use]
    pub fn fresh_id(&self) -> RequestId {
        self.shared.lock().fresh_id()
    }

    /// Writes a line to the log.
    pub fn log(&self, level: Level, text: impl Into<String>) {
        self.ask(Output::Log(level, text.into()));
    }

    /// Tells operators where the plugin stands.
    pub fn status(&self, phase: Phase, text: impl Into<String>) {
        self.ask(Output::Status(Status { phase, text: text.into(), facts: Vec::new() }));
    }

    /// These reports are acknowledged by the cloud.
    pub fn settle(&self, seqs: impl IntoIterator<Item = u64>) {
        let seqs: Vec<_> = seqs.into_iter().filter(|seq| *seq != 0).collect();
        if !seqs.is_empty() {
            self.ask(Output::Settle(seqs));
        }
    }

    /// The next input that nobody awaits in particular: reports, messages, ends of connections, [`Input::Stop`].
    pub async fn next(&self) -> Input {
        poll_fn(|context| {
            let mut shared = self.shared.lock();
            let Some(input) = shared.next_input() else {
                shared.wait(context.waker());
                return Poll::Pending;
            };
            Poll::Ready(input)
        })
        .await
    }

    /// Lets so many milliseconds pass.
    pub async fn sleep(&self, ms: u64) {
        self.sleep_until(self.now().monotonic.after(ms)).await;
    }

    /// Waits for this moment.
    pub async fn sleep_until(&self, at: Timestamp) {
        let sleep = Sleeping { shared: &self.shared, id: self.shared.lock().sleep_until(at) };
        poll_fn(|context| {
            let mut shared = sleep.shared.lock();
            if shared.now.monotonic >= at {
                return Poll::Ready(());
            }
            shared.wait(context.waker());
            Poll::Pending
        })
        .await;
    }

    /// What `future` gives, if it does so within so many milliseconds; it is dropped otherwise.
    pub async fn within<T>(&self, ms: u64, future: impl Future<Output = T> + Send) -> Option<T> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep(ms));
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// Opens an MQTT connection. Its end comes with [`Self::next`]. Dropping the future before gives the attempt up.
    ///
    /// # Errors
    /// The broker refused it, or was not reached.
    pub async fn mqtt_connect(&self, connect: mqtt::Connect) -> Result<RequestId, ConnectError> {
        let request = |id| Output::Mqtt(mqtt::Request::Connect(id, Box::new(connect)));
        match self.answer(request).await {
            Input::Mqtt(mqtt::Event::Connected { connection, .. }) => Ok(connection),
            Input::Mqtt(mqtt::Event::Refused(_, code)) => Err(ConnectError::Refused(code)),
            Input::Mqtt(mqtt::Event::Closed(_, failure)) => Err(ConnectError::Failed(failure)),
            other => Err(ConnectError::Failed(stray(&other))),
        }
    }

    /// Publishes, and awaits what the QoS promises.
    ///
    /// # Errors
    /// It was not acknowledged.
    pub async fn publish(&self, connection: RequestId, message: mqtt::Message) -> Result<(), Failure> {
        let request = |id| Output::Mqtt(mqtt::Request::Publish { connection, id, message });
        match self.answer(request).await {
            Input::Mqtt(mqtt::Event::Published(_, answer)) => answer,
            other => Err(stray(&other)),
        }
    }

    /// Subscribes, and awaits the granted QoS (0x80: refused).
    ///
    /// # Errors
    /// There was no answer.
    pub async fn subscribe(&self, connection: RequestId, filter: &str, qos: u8) -> Result<u8, Failure> {
        let filter = filter.to_owned();
        let request = |id| Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, qos });
        match self.answer(request).await {
            Input::Mqtt(mqtt::Event::Subscribed(_, answer)) => answer,
            other => Err(stray(&other)),
        }
    }

    /// Sends what is queued and closes an MQTT connection.
    pub fn mqtt_disconnect(&self, connection: RequestId) {
        self.ask(Output::Mqtt(mqtt::Request::Disconnect(connection)));
    }

    /// Opens a TCP stream (with TLS if `tls` says so). Its bytes and its end come with [`Self::next`]. Dropping the
    /// future before gives the attempt up.
    ///
    /// # Errors
    /// It did not come to be.
    pub async fn tcp_open(
        &self,
        host: &str,
        port: u16,
        tls: Option<crate::services::Tls>,
    ) -> Result<RequestId, Failure> {
        let host = host.to_owned();
        let request = |id| Output::Tcp(tcp::Request::Open { id, host, port, tls, timeout_ms: 0 });
        match self.answer(request).await {
            Input::Tcp(tcp::Event::Opened(id)) => Ok(id),
            Input::Tcp(tcp::Event::Closed(_, failure)) => Err(failure),
            other => Err(stray(&other)),
        }
    }

    /// Sends bytes on a stream; those that find no room come back with [`Self::next`].
    pub fn tcp_send(&self, stream: RequestId, bytes: impl Into<Vec<u8>>) {
        self.ask(Output::Tcp(tcp::Request::Send(stream, bytes.into())));
    }

    /// Sends an HTTP request. Dropping the future gives the request up.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn http(&self, request: http::Request) -> Result<http::Response, Failure> {
        match self.answer(|id| Output::Http(id, request)).await {
            Input::Http(_, answer) => answer,
            other => Err(stray(&other)),
        }
    }

    /// Asks the device for something, and awaits what becomes of it.
    pub async fn submit(&self, command: Command) -> Outcome {
        match self.answer(|id| Output::Submit(id, command)).await {
            Input::Outcome(_, outcome) => outcome,
            other => {
                let result = crate::OutcomeResult::Refused(stray(&other).text);
                Outcome { result, values: Vec::new(), document: None }
            }
        }
    }

    /// Stores a value, and awaits the disk.
    ///
    /// # Errors
    /// It is not on the disk.
    pub async fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Result<(), Failure> {
        let request = store::Request::Put(key.to_owned(), value.into());
        match self.answer(|id| Output::Store(id, request)).await {
            Input::Stored(_, answer) => answer,
            other => Err(stray(&other)),
        }
    }

    /// Removes a value, and awaits the disk.
    ///
    /// # Errors
    /// It is still on the disk.
    pub async fn remove(&self, key: &str) -> Result<(), Failure> {
        let request = store::Request::Remove(key.to_owned());
        match self.answer(|id| Output::Store(id, request)).await {
            Input::Stored(_, answer) => answer,
            other => Err(stray(&other)),
        }
    }

    /// Looks up a host name: addresses, best first.
    ///
    /// # Errors
    /// There is none.
    pub async fn resolve(&self, host: &str) -> Result<Vec<String>, Failure> {
        let host = host.to_owned();
        match self.answer(|id| Output::Resolve(id, host)).await {
            Input::Network(network::Event::Resolved(_, answer)) => answer,
            other => Err(stray(&other)),
        }
    }

    /// Loads a script; it stays until it is unloaded. Dropping the future before unloads it.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub async fn load_script(&self, name: &str, source: impl Into<String>) -> Result<RequestId, Failure> {
        let (name, source) = (name.to_owned(), source.into());
        match self.answer(|script| Output::Script(script::Request::Load { script, name, source })).await {
            Input::Script(script::Event::Loaded(script)) => Ok(script),
            Input::Script(script::Event::LoadFailed(_, failure)) => Err(failure),
            other => Err(stray(&other)),
        }
    }

    /// Calls a global function of a script.
    ///
    /// # Errors
    /// It did not return.
    pub async fn call_script(
        &self,
        script: RequestId,
        function: &str,
        args: impl IntoIterator<Item = script::Value>,
    ) -> Result<Vec<script::Value>, Failure> {
        let (function, args) = (function.to_owned(), args.into_iter().collect());
        match self.answer(|id| Output::Script(script::Request::Call { script, id, function, args })).await {
            Input::Script(script::Event::Returned(_, answer)) => answer,
            other => Err(stray(&other)),
        }
    }

    /// Unloads a script.
    pub fn unload_script(&self, script: RequestId) {
        self.ask(Output::Script(script::Request::Unload(script)));
    }

    /// Asks, and awaits the input with the request's id.
    async fn answer(&self, output: impl FnOnce(RequestId) -> Output) -> Input {
        let mut give_up = None;
        let id = self.shared.lock().ask_and_await(|id| {
            let output = output(id);
            give_up = match output {
                Output::Http(..) => Some(Output::CancelHttp(id)),
                Output::Mqtt(mqtt::Request::Connect(..)) => Some(Output::Mqtt(mqtt::Request::Disconnect(id))),
                Output::Tcp(tcp::Request::Open { .. }) => Some(Output::Tcp(tcp::Request::Close(id))),
                Output::Script(script::Request::Load { .. }) => Some(Output::Script(script::Request::Unload(id))),
                _ => None,
            };
            output
        });
        let mut awaiting = Awaiting { shared: &self.shared, id, give_up };
        let input = poll_fn(|context| {
            let mut shared = self.shared.lock();
            let Some(input) = shared.take_answer(id) else {
                shared.wait(context.waker());
                return Poll::Pending;
            };
            Poll::Ready(input)
        })
        .await;
        awaiting.give_up = None;
        input
    }
}

/// A sleep under way, until dropped.
struct Sleeping<'a> {
    shared: &'a SharedRef,
    id: u64,
}

impl Drop for Sleeping<'_> {
    fn drop(&mut self) {
        self.shared.lock().stop_sleeping(self.id);
    }
}

/// An answer awaited, until dropped; a late one then comes with `next`.
struct Awaiting<'a> {
    shared: &'a SharedRef,
    id: RequestId,
    /// What ends the request if nobody awaits it any more.
    give_up: Option<Output>,
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        shared.stop_awaiting(self.id);
        if let Some(output) = self.give_up.take() {
            shared.ask(output);
        }
    }
}

/// Ids are fresh, so an answer of another kind would be a mistake of the driver's.
fn stray(input: &Input) -> Failure {
    let kind = match input {
        Input::Mqtt(_) => "MQTT",
        Input::Tcp(_) => "TCP",
        Input::Udp(_) => "UDP",
        _ => "another",
    };
    Failure { reason: Reason::Other, text: format!("the answer came from {kind} service") }
}
