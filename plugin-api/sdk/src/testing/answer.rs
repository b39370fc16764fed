//! What a test lets happen: the services' answers and news, reports and outcomes of the device.

use super::VirtualHost;
use crate::services::{Failure, Reason, http, module, mqtt, network, ota, script, subdevices, tcp, udp};
use crate::value::{Cause, DatapointId, Outcome, OutcomeResult, Report, ReportBody, Value};
use crate::{Input, RequestId};

impl VirtualHost {
    /// The broker takes the connection; it kept no session.
    #[track_caller]
    pub fn mqtt_connected(&mut self, connection: RequestId) {
        self.deliver(Input::Mqtt(mqtt::Event::Connected { connection, session_present: false }));
    }

    /// The broker refuses the connection with this CONNACK code.
    #[track_caller]
    pub fn mqtt_refused(&mut self, connection: RequestId, code: u8) {
        self.deliver(Input::Mqtt(mqtt::Event::Refused(connection, code)));
    }

    /// The connection ends.
    #[track_caller]
    pub fn mqtt_closed(&mut self, connection: RequestId, reason: Reason) {
        self.deliver(Input::Mqtt(mqtt::Event::Closed(connection, failure(reason))));
    }

    /// A message arrives with QoS 1.
    #[track_caller]
    pub fn mqtt_message(&mut self, connection: RequestId, topic: &str, payload: impl AsRef<[u8]>) {
        self.deliver(Input::Mqtt(mqtt::Event::Message {
            connection,
            topic: topic.to_owned(),
            payload: payload.as_ref().to_vec(),
            qos: 1,
            retain: false,
            duplicate: false,
        }));
    }

    /// The broker acknowledges a publish.
    #[track_caller]
    pub fn published(&mut self, id: RequestId) {
        self.deliver(Input::Mqtt(mqtt::Event::Published(id, Ok(()))));
    }

    /// A publish fails.
    #[track_caller]
    pub fn publish_failed(&mut self, id: RequestId, reason: Reason) {
        self.deliver(Input::Mqtt(mqtt::Event::Published(id, Err(failure(reason)))));
    }

    /// The broker grants a subscription.
    #[track_caller]
    pub fn subscribed(&mut self, id: RequestId, qos: u8) {
        self.deliver(Input::Mqtt(mqtt::Event::Subscribed(id, Ok(qos))));
    }

    /// A stream is open.
    #[track_caller]
    pub fn tcp_opened(&mut self, id: RequestId) {
        self.deliver(Input::Tcp(tcp::Event::Opened(id)));
    }

    /// A listener waits.
    #[track_caller]
    pub fn tcp_listening(&mut self, id: RequestId, port: u16) {
        self.deliver(Input::Tcp(tcp::Event::Listening(id, port)));
    }

    /// A stream comes in; its id.
    #[track_caller]
    pub fn tcp_accepted(&mut self, listener: RequestId, peer: &str) -> RequestId {
        self.next_stream += 1;
        let first = self.subject.as_ref().map_or(0, |subject| subject.first_stream());
        let stream = RequestId(first + self.next_stream);
        self.deliver(Input::Tcp(tcp::Event::Accepted { listener, stream, peer: peer.to_owned() }));
        stream
    }

    /// Bytes come.
    #[track_caller]
    pub fn tcp_received(&mut self, id: RequestId, bytes: impl AsRef<[u8]>) {
        self.deliver(Input::Tcp(tcp::Event::Received(id, bytes.as_ref().to_vec())));
    }

    /// From now on a stream takes no bytes.
    pub fn tcp_full(&mut self, id: RequestId) {
        let answers_itself = self.subject.as_mut().is_some_and(|subject| subject.set_full(id, true));
        if !answers_itself {
            self.full.insert(id);
        }
    }

    /// A stream takes bytes again.
    #[track_caller]
    pub fn tcp_drained(&mut self, id: RequestId) {
        self.full.remove(&id);
        if let Some(subject) = self.subject.as_mut() {
            subject.set_full(id, false);
        }
        self.deliver(Input::Tcp(tcp::Event::Drained(id)));
    }

    /// A stream or listener ends.
    #[track_caller]
    pub fn tcp_closed(&mut self, id: RequestId, reason: Reason) {
        self.deliver(Input::Tcp(tcp::Event::Closed(id, failure(reason))));
    }

    /// A datagram socket is open.
    #[track_caller]
    pub fn udp_bound(&mut self, id: RequestId, port: u16) {
        self.deliver(Input::Udp(udp::Event::Bound(id, port)));
    }

    /// A datagram comes.
    #[track_caller]
    pub fn udp_received(&mut self, id: RequestId, from: &str, bytes: impl AsRef<[u8]>) {
        self.deliver(Input::Udp(udp::Event::Received(id, from.to_owned(), bytes.as_ref().to_vec())));
    }

    /// A datagram socket ends.
    #[track_caller]
    pub fn udp_closed(&mut self, id: RequestId, reason: Reason) {
        self.deliver(Input::Udp(udp::Event::Closed(id, failure(reason))));
    }

    /// An HTTP request is answered, without headers.
    #[track_caller]
    pub fn http_answer(&mut self, id: RequestId, status: u16, body: impl AsRef<[u8]>) {
        let response = http::Response { status, headers: Vec::new(), body: body.as_ref().to_vec() };
        self.deliver(Input::Http(id, Ok(response)));
    }

    /// An HTTP request fails.
    #[track_caller]
    pub fn http_failed(&mut self, id: RequestId, reason: Reason) {
        self.deliver(Input::Http(id, Err(failure(reason))));
    }

    /// A script waits for calls.
    #[track_caller]
    pub fn script_loaded(&mut self, script: RequestId) {
        self.deliver(Input::Script(script::Event::Loaded(script)));
    }

    /// A script cannot be loaded.
    #[track_caller]
    pub fn script_load_failed(&mut self, script: RequestId, reason: Reason) {
        self.deliver(Input::Script(script::Event::LoadFailed(script, failure(reason))));
    }

    /// A call of a script's function returns these values.
    #[track_caller]
    pub fn script_returned(&mut self, id: RequestId, results: impl IntoIterator<Item = script::Value>) {
        self.deliver(Input::Script(script::Event::Returned(id, Ok(results.into_iter().collect()))));
    }

    /// A call of a script's function fails.
    #[track_caller]
    pub fn script_failed(&mut self, id: RequestId, reason: Reason) {
        self.deliver(Input::Script(script::Event::Returned(id, Err(failure(reason)))));
    }

    /// A look-up is answered.
    #[track_caller]
    pub fn resolved(&mut self, id: RequestId, addresses: &[&str]) {
        let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        self.deliver(Input::Network(network::Event::Resolved(id, Ok(addresses))));
    }

    /// The interfaces change.
    #[track_caller]
    pub fn interfaces_changed(&mut self, interfaces: Vec<network::Interface>) {
        self.setup.interfaces.clone_from(&interfaces);
        self.deliver(Input::Network(network::Event::Changed(interfaces)));
    }

    /// The facts of the module change.
    #[track_caller]
    pub fn facts_changed(&mut self, facts: module::Facts) {
        self.setup.facts.clone_from(&facts);
        self.deliver(Input::Module(module::Event::Changed(facts)));
    }

    /// The updates of the instance change.
    #[track_caller]
    pub fn updates_changed(&mut self, list: Vec<ota::Update>) {
        self.setup.updates.clone_from(&list);
        self.deliver(Input::Ota(ota::Event::Changed(list)));
    }

    /// A part of the log was sent, or was not.
    #[track_caller]
    pub fn logs_sent(&mut self, id: RequestId, result: Result<u64, Failure>) {
        self.deliver(Input::LogsSent(id, result));
    }

    /// The subdevices change.
    #[track_caller]
    pub fn subdevices_changed(&mut self, list: Vec<subdevices::Subdevice>) {
        self.setup.subdevices.clone_from(&list);
        self.deliver(Input::Subdevices(subdevices::Event::Changed(list)));
    }

    /// Something happens at the module.
    #[track_caller]
    pub fn module_event(&mut self, event: module::Event) {
        self.deliver(Input::Module(event));
    }

    /// The device reports changed values; the report's number.
    #[track_caller]
    pub fn report(&mut self, values: impl IntoIterator<Item = (DatapointId, Value)>) -> u64 {
        self.report_body(Cause::Change, None, ReportBody::Properties(values.into_iter().collect()))
    }

    /// The device reports values because of this command; the report's number.
    #[track_caller]
    pub fn report_caused_by(
        &mut self,
        command: RequestId,
        values: impl IntoIterator<Item = (DatapointId, Value)>,
    ) -> u64 {
        self.report_body(Cause::Change, Some(command), ReportBody::Properties(values.into_iter().collect()))
    }

    /// Something happens at the device; the report's number.
    #[track_caller]
    pub fn report_event(&mut self, id: DatapointId, params: impl IntoIterator<Item = (DatapointId, Value)>) -> u64 {
        let params = params.into_iter().collect();
        self.report_body(Cause::Change, None, ReportBody::Event { id, params })
    }

    /// The last known values, as a session gets them after its start.
    #[track_caller]
    pub fn snapshot(&mut self, values: impl IntoIterator<Item = (DatapointId, Value)>) {
        self.unnumbered(Cause::Snapshot, values);
    }

    /// The newest values, as a session gets them while it has too many unsettled reports.
    #[track_caller]
    pub fn live(&mut self, values: impl IntoIterator<Item = (DatapointId, Value)>) {
        self.unnumbered(Cause::Live, values);
    }

    #[track_caller]
    fn unnumbered(&mut self, cause: Cause, values: impl IntoIterator<Item = (DatapointId, Value)>) {
        let body = ReportBody::Properties(values.into_iter().collect());
        let report = Report { seq: 0, at: self.now.wall, device: 0, cause, caused_by: None, body };
        self.deliver(Input::Reports(vec![report]));
    }

    /// The device reports; the report's number.
    #[track_caller]
    pub fn report_body(&mut self, cause: Cause, caused_by: Option<RequestId>, body: ReportBody) -> u64 {
        self.report_of(0, cause, caused_by, body)
    }

    /// The device (0) or a subdevice reports; the report's number.
    #[track_caller]
    pub fn report_of(&mut self, device: u32, cause: Cause, caused_by: Option<RequestId>, body: ReportBody) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        let at = self.now.wall;
        self.deliver(Input::Reports(vec![Report { seq, at, device, cause, caused_by, body }]));
        seq
    }

    /// A command is carried out.
    #[track_caller]
    pub fn command_done(&mut self, id: RequestId) {
        self.command_ended(id, OutcomeResult::Done);
    }

    /// A command ends like this, and returns nothing.
    #[track_caller]
    pub fn command_ended(&mut self, id: RequestId, result: OutcomeResult) {
        self.deliver(Input::Outcome(id, Outcome { result, values: Vec::new(), document: None }));
    }
}

fn failure(reason: Reason) -> Failure {
    Failure { reason, text: format!("the test says {reason:?}") }
}
