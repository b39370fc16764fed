//! What the cloud is shown of subdevices: each one once on a connection, as the gateway is (JoyLink V1.79, cloud session).
//! One that has said nothing yet is asked what it looks like.

use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{CommandBody, Now};

use super::JoylinkSession;
use super::jobs::{MAX_OPEN, ReplyTo};
use crate::config::Form;
use crate::gateway::Record;
use crate::views::View;
use crate::wire::{Code, FeedId, biz};

/// How far that is. Holds no more than are bound.
#[derive(Debug, Default)]
pub struct Showing {
    /// Those that the cloud was shown, or that did not say what they look like.
    done: Vec<Subdevice>,
    /// The one that is being asked; one at a time, so that commands of people need not wait for many.
    asked: Option<Subdevice>,
}

/// What the host calls it, and the cloud.
type Subdevice = (u32, FeedId);

impl Showing {
    /// A connection begins.
    pub fn begin(&mut self) {
        self.done.clear();
    }
}

impl JoylinkSession {
    /// Shows those that the cloud has not been shown.
    pub(super) fn show_subdevices(&mut self, now: Now) {
        if !self.cloud.is_working() {
            return;
        }
        if !self.jobs.values().any(|job| matches!(job.to, ReplyTo::SubSnapshot)) {
            // The answer is nobody's any more: the gateway has another owner.
            self.showing.asked = None;
        }
        let is_known = |device| *self.present.of(device) != View::default();
        let called = |record: &Record| Some((record.device()?, record.feedid()));
        // One that comes back may have been exchanged, or may answer this time.
        let is_there = |record: &Record| record.is_online() || record.device().is_some_and(is_known);
        let there: Vec<Subdevice> = self.gateway.records().filter(|one| is_there(one)).filter_map(called).collect();
        self.showing.done.retain(|one| there.contains(one));
        for one in there {
            let (device, _) = one;
            if self.showing.done.contains(&one) || self.showing.asked == Some(one) {
                continue;
            }
            if *self.present.of(device) != View::default() {
                self.showing.done.push(one);
                if !self.uploads.has_any(device) {
                    self.show(device);
                }
            } else if self.showing.asked.is_none() && self.jobs.len() < MAX_OPEN && self.settings.form() != Form::Raw {
                // Nobody knows how to ask a product of bytes.
                self.showing.asked = Some(one);
                let body = CommandBody::Get(Vec::new());
                self.submit(now, device, biz::SNAPSHOT, ReplyTo::SubSnapshot, body, Values::new());
            }
        }
    }

    /// It was asked, and what it said, if anything, is known now.
    pub(super) fn subdevice_looked_at(&mut self, code: Code) {
        let Some(one) = self.showing.asked.take() else { return };
        // What is known will be shown; who said nothing is not asked again and again.
        if *self.present.of(one.0) == View::default() {
            self.showing.done.push(one);
            if !code.is_success() {
                self.info(format!("the cloud cannot be shown subdevice {} yet: {}", one.0, code.text()));
            }
        }
    }
}
