//! What goes up: reports of the device, each until the broker has acknowledged it.
//!
//! Invariant: a report is settled exactly once, and goes again under its number with the time it is of. Everything is
//! bounded; what is lost is counted.

use std::collections::{BTreeMap, VecDeque};

use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{Cause, Now, Report, ReportBody, RequestId};
use serde_json::value::RawValue;

use super::connection::Phase;
use super::{ClifeSession, Timer, known_ms};
use crate::frame::cmd::REPORT;
use crate::frame::{MAX_MESSAGE, MsgId};

/// Reports on their way.
#[derive(Debug, Default)]
pub struct Uplink {
    waiting: VecDeque<Entry>,
    in_flight: BTreeMap<RequestId, Entry>,
}

/// One report.
#[derive(Debug)]
struct Entry {
    /// To be settled; 0: nobody waits for it.
    seq: u64,
    /// Its number; given when it is sent for the first time.
    id: Option<MsgId>,
    /// Unix milliseconds of what it says.
    timestamp: i64,
    body: Box<RawValue>,
}

impl Uplink {
    /// How many reports are on their way.
    pub fn unsettled(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }

    /// The connection is gone: whatever was not acknowledged goes again on the next one, in its order.
    pub fn disconnected(&mut self) {
        for entry in std::mem::take(&mut self.in_flight).into_values().rev() {
            self.waiting.push_front(entry);
        }
    }
}

impl ClifeSession {
    pub(super) fn take_reports(&mut self, now: Now, reports: Vec<Report>) {
        for report in reports {
            if let (0, ReportBody::Properties(values)) = (report.device, &report.body) {
                self.known.extend(values.iter().cloned());
                if !matches!(report.cause, Cause::Answer | Cause::Live) {
                    self.handed.extend(values.iter().cloned());
                }
            }
            // What was asked for goes to the asker with its outcome, the last known values are told after each connect,
            // and those of a full window come again.
            if matches!(report.cause, Cause::Answer | Cause::Snapshot | Cause::Live) {
                self.settle(report.seq);
                continue;
            }
            let body = match &report.body {
                ReportBody::Properties(values) if report.device == 0 => self.datapoints.body(values),
                // The platform knows datapoints only.
                _ => None,
            };
            let Some(body) = body else {
                self.told.counters.reports_unsaid += 1;
                self.settle(report.seq);
                continue;
            };
            // The platform's time, as far as it differs from ours.
            let ahead = self.unix_ms(now).saturating_sub(now.wall.unix_ms);
            let timestamp = known_ms(report.at).map_or_else(|| self.unix_ms(now), |at| at.saturating_add(ahead));
            self.enqueue(Entry { seq: report.seq, id: None, timestamp, body });
        }
    }

    /// Everything that is known, as the platform has it after each connect. While the cloud is behind it is what was known
    /// by the newest report on its way, or the platform would see the past after the present.
    pub(super) fn report_everything(&mut self, now: Now) {
        // That of an earlier connection, which broke before the broker had it, is out of date.
        self.uplink.waiting.retain(|entry| entry.seq != 0);
        let is_behind = self.uplink.unsettled() > 0;
        let known = if is_behind { &self.handed } else { &self.known };
        let values: Values = known.iter().map(|(id, value)| (*id, value.clone())).collect();
        if let Some(body) = self.datapoints.body(&values) {
            let timestamp = self.unix_ms(now);
            self.enqueue(Entry { seq: 0, id: None, timestamp, body });
        }
    }

    fn enqueue(&mut self, entry: Entry) {
        if self.uplink.unsettled() >= MOST {
            self.told.counters.reports_left += 1;
            return;
        }
        self.uplink.waiting.push_back(entry);
    }

    pub(super) fn send_reports(&mut self) {
        while matches!(self.phase, Phase::Online { .. })
            && self.timers.at(&Timer::Pause).is_none()
            && self.uplink.in_flight.len() < WINDOW
        {
            let Some(mut entry) = self.uplink.waiting.pop_front() else { return };
            let id = match entry.id.take() {
                Some(id) => id,
                None => self.new_id(),
            };
            if entry.body.get().len() > LARGEST_BODY {
                self.refused_report(entry.seq, "it is larger than the platform takes");
                continue;
            }
            let publish = self.next_id();
            self.publish(publish, REPORT, &id, entry.timestamp, &entry.body);
            entry.id = Some(id);
            self.uplink.in_flight.insert(publish, entry);
        }
    }

    /// The broker has it.
    pub(super) fn published(&mut self, publish: RequestId) {
        if let Some(entry) = self.uplink.in_flight.remove(&publish) {
            self.settle(entry.seq);
        }
    }

    /// The host will never take it.
    pub(super) fn unpublishable(&mut self, publish: RequestId, why: &str) {
        if let Some(entry) = self.uplink.in_flight.remove(&publish) {
            self.refused_report(entry.seq, why);
        }
    }

    /// The publish failed on a live connection: everything keeps its place, and nothing is sent for a moment.
    pub(super) fn publish_failed(&mut self, now: Now, publish: RequestId) {
        if self.uplink.in_flight.contains_key(&publish) {
            self.uplink.disconnected();
            self.pause(now);
        }
    }

    /// Nothing is sent for a moment.
    pub(super) fn pause(&mut self, now: Now) {
        self.timers.set(Timer::Pause, now.monotonic.after(PAUSE_MS));
    }

    fn refused_report(&mut self, seq: u64, why: &str) {
        self.told.counters.reports_refused += 1;
        self.warn(format!("a report cannot be sent: {why}"));
        self.settle(seq);
    }

    pub(super) fn settle(&mut self, seq: u64) {
        if seq != 0 {
            self.settled.push(seq);
        }
    }
}

/// Reports taken from the host, which stops at 256 unsettled ones; further ones are left with it and counted (not
/// documented; chosen by us).
pub const MOST: usize = 512;
/// Publishes that wait for PUBACK at once: half of what the host's MQTT service keeps in flight.
pub const WINDOW: usize = 32;
/// Encrypted, a body grows by a third and a block; the envelope is small.
const LARGEST_BODY: usize = MAX_MESSAGE / 4 * 3 - 1024;
/// Pause after a publish that failed on a live connection (not documented; chosen by us).
const PAUSE_MS: u64 = 1_000;
