//! Telling the platform how file operations go (2018).
//!
//! Invariant: a required event goes again until the broker has it, in its order; additional progress is told to a device
//! that is online, or not at all.

use polylink_plugin_sdk::{Now, RequestId};

use super::connection::Phase;
use super::operations::{ProductVersion, Running};
use super::{ClifeSession, Timer, storage};
use crate::files::{Event, Happening, Stage};
use crate::frame::{MsgId, cmd};

/// An event that the broker does not have yet.
#[derive(Debug)]
pub struct Told {
    pub id: MsgId,
    pub event: Event,
    /// It is on its way.
    publish: Option<RequestId>,
    /// Whoever does not hear of it misses something.
    is_required: bool,
}

impl Told {
    /// One that has to arrive.
    pub const fn required(id: MsgId, event: Event) -> Self {
        Self { id, event, publish: None, is_required: true }
    }
}

impl ClifeSession {
    /// Something happened to the operation that goes on.
    pub(super) fn happens(&mut self, now: Now, happening: Happening) {
        let is_online = matches!(self.phase, Phase::Online { .. });
        let mut has_installed = false;
        let Some(Running { order, operation, .. }) = &mut self.files.running else { return };
        for event in operation.tell(now.monotonic, happening) {
            has_installed |= event == Event::installation(100);
            let is_required = has_installed || event.resp_code < 0 || Stage::told_by(&event).is_some();
            if is_required || is_online {
                self.files.told.push(Told { id: order.id.clone(), event, publish: None, is_required });
            }
        }
        let brings = order.request.product_ver.filter(|_| has_installed);
        if let Some(product_ver) = brings.filter(|brings| Some(*brings) != self.files.product_ver) {
            self.files.product_ver = Some(product_ver);
            self.put(storage::PRODUCT_VER, &ProductVersion { instead_of: self.settings.product_ver, product_ver });
        }
    }

    /// Tells the platform what runs, which it did not ask for (Clife access document 4.3.2.8: after an upgrade).
    pub(super) fn report_versions(&mut self) {
        let installed = self.installed();
        let (id, event) = (self.new_id(), Event::versions(&installed));
        // An older one that did not go is out of date.
        self.files.told.retain(|told| told.publish.is_some() || told.event.dev_ver.is_none());
        self.files.told.push(Told::required(id, event.clone()));
        self.files.reported = Some(event);
    }

    /// What runs is another thing than the platform was told: a part says so later than the host that installed it. One correction
    /// at a time is on its way, so that parts that talk much do not pile them up.
    pub(super) fn correct_versions(&mut self) {
        let is_on_its_way = self.files.told.iter().any(|told| told.publish.is_some() && told.event.dev_ver.is_some());
        let is_right = |reported: &Event| *reported == Event::versions(&self.installed());
        if !is_on_its_way && self.files.reported.as_ref().is_some_and(|reported| !is_right(reported)) {
            self.report_versions();
        }
    }

    pub(super) fn send_events(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Online { .. }) || self.timers.at(&Timer::Pause).is_some() {
            return;
        }
        for at in 0..self.files.told.len() {
            if self.files.told[at].publish.is_none() {
                let publish = self.next_id();
                let Told { id, event, .. } = &self.files.told[at];
                let (id, body) = (id.clone(), event.body());
                let timestamp = self.unix_ms(now);
                self.publish(publish, cmd::FILE_ANSWER, &id, timestamp, &body);
                self.files.told[at].publish = Some(publish);
            }
        }
    }

    /// The broker has it, or the host will never take it.
    pub(super) fn event_published(&mut self, publish: RequestId) {
        let Some(at) = self.files.told.iter().position(|told| told.publish == Some(publish)) else { return };
        let told = self.files.told.remove(at);
        let running = self.files.running.as_mut().filter(|running| running.order.id == told.id);
        if let (Some(running), Some(stage)) = (running, Stage::told_by(&told.event)) {
            running.order.stage = stage;
            self.store_order();
        }
        if told.event.dev_ver.is_some() {
            self.correct_versions();
        }
    }

    /// The publish failed on a live connection; everything that may not have arrived goes again after a pause.
    pub(super) fn event_failed(&mut self, now: Now, publish: RequestId) {
        if self.files.told.iter().any(|told| told.publish == Some(publish)) {
            self.events_lost();
            self.pause(now);
        }
    }

    /// The connection is gone, and with it what the broker did not acknowledge.
    pub(super) fn events_lost(&mut self) {
        self.files.told.retain(|told| told.is_required);
        for told in &mut self.files.told {
            told.publish = None;
        }
    }
}
