//! Upgrades: each firmware of an operation goes to the host, the next one when the one before is installed, and what the host
//! says becomes the events of the whole.

use polylink_plugin_sdk::services::ota::{Failure, Phase as UpdatePhase, Request as OtaRequest, Update};
use polylink_plugin_sdk::{Now, Output};

use super::operations::Running;
use super::{ClifeSession, Timer};
use crate::files::{Happening, Order, Stage, same};

impl ClifeSession {
    pub(super) fn offer_next(&mut self, now: Now) {
        let next =
            self.files.running.as_ref().and_then(|Running { order, .. }| order.request.file_info.get(order.handed));
        if let Some(why) = next.and_then(|file| self.hindrance(file.dev_num)) {
            self.warn(format!("the next firmware of the upgrade cannot be installed: {why}"));
            return self.happens(now, Happening::GivenUp(why));
        }
        let Some(Running { order, .. }) = &mut self.files.running else { return };
        order.handed += 1;
        // Before the host has it: an update without an order would be a stray.
        self.store_order();
        self.offer(now);
    }

    fn offer(&mut self, now: Now) {
        let Some(Running { order, .. }) = &self.files.running else { return };
        let offer = order.offer(&self.settings.files);
        self.outputs.extend(offer.map(|offer| Output::Ota(OtaRequest::Offer(Box::new(offer)))));
        self.timers.set(Timer::Offer, now.monotonic.after(OFFER_MS));
    }

    /// Goes on with the firmware that was offered before a restart. The power may have failed before the host had noted it.
    pub(super) fn resume_update(&mut self, now: Now) {
        let Some(Running { order, operation, .. }) = &self.files.running else { return };
        let id = order.current().map(|(index, _)| order.update_id(index));
        let is_known = self.files.updates.iter().any(|update| Some(&update.id) == id.as_ref());
        if is_known || operation.stage() >= Stage::Installing {
            self.follow_updates(now);
        } else {
            self.offer(now);
        }
    }

    pub(super) fn take_updates(&mut self, now: Now, list: Vec<Update>) {
        self.files.updates = list;
        self.drop_strays();
        self.follow_updates(now);
    }

    /// Updates of this instance that belong to no order: nobody would ever hear of them.
    pub(super) fn drop_strays(&mut self) {
        let order = self.files.running.as_ref().map(|running| &running.order);
        let strays = self.files.updates.iter().filter(|update| order.is_none_or(|order| !order.owns(&update.id)));
        let requests = strays.filter_map(|update| match update.phase {
            phase if phase.is_over() => Some(OtaRequest::Acknowledge(update.id.clone())),
            UpdatePhase::Installing => None,
            _ => Some(OtaRequest::Cancel(update.id.clone())),
        });
        self.outputs.extend(requests.map(Output::Ota));
    }

    /// Draws the conclusions of how the update stands that was offered last.
    pub(super) fn follow_updates(&mut self, now: Now) {
        let Some(Running { order, operation, .. }) = &self.files.running else { return };
        let at_firmware = order.current().filter(|(_, file)| file.file_type.is_firmware() && !operation.is_over());
        let Some((index, _)) = at_firmware else { return };
        let count = order.request.file_info.len();
        let is_last = index + 1 == count;
        let id = order.update_id(index);
        let Some(update) = self.files.updates.iter().find(|update| update.id == id) else {
            if self.timers.at(&Timer::Offer).is_none() {
                self.timers.set(Timer::Offer, now.monotonic.after(OFFER_MS));
            }
            return;
        };
        self.timers.clear(&Timer::Offer);
        let progress = |percent: u8| Happening::Progress {
            done: (index * 100 + usize::from(percent)) as u64,
            total: (count * 100) as u64,
        };
        let phase = update.phase;
        let happenings = match phase {
            UpdatePhase::Waiting => vec![],
            // The first percent is the first sign that the server gives the file out.
            UpdatePhase::Downloading if update.percent == 0 && index == 0 => vec![],
            UpdatePhase::Downloading => vec![progress(update.percent)],
            UpdatePhase::Installing if is_last => {
                vec![Happening::Verified(true), Happening::InstallBegins, progress(update.percent)]
            }
            UpdatePhase::Installing => vec![progress(100)],
            UpdatePhase::Finished if is_last => vec![Happening::Verified(true), Happening::Installed],
            UpdatePhase::Finished => vec![progress(100)],
            UpdatePhase::Failed(failure) => {
                let why = format!("the firmware {} was not installed: {}", update.version, update.reason);
                self.warn(why);
                failed(failure, is_last)
            }
        };
        let goes_on = phase == UpdatePhase::Finished && !is_last;
        for happening in happenings {
            self.happens(now, happening);
        }
        if goes_on {
            self.begin_next(now);
        }
    }

    /// The host does not show an update that it was offered: it did not take it, or forgot it.
    pub(super) fn offer_lost(&mut self, now: Now) {
        let Some(Running { order, operation, .. }) = &self.files.running else { return };
        let Some((index, file)) = order.current() else { return };
        let was_installing = operation.stage() == Stage::Installing;
        let (is_last, id) = (index + 1 == order.request.file_info.len(), order.update_id(index));
        if self.files.updates.iter().any(|update| update.id == id) {
            return;
        }
        // Where the power failed after the last acknowledgement, the firmware runs.
        let versions = self.installed().modules.remove(&file.dev_num).unwrap_or_default();
        let runs = file.software.as_deref().is_some_and(|software| same(software, &versions.software));
        if runs && is_last && was_installing {
            self.happens(now, Happening::Verified(true));
            return self.happens(now, Happening::Installed);
        }
        self.warn("the host does not know the firmware that it was offered".to_owned());
        self.happens(now, Happening::InstallFailed);
    }

    /// Takes back what is not being installed.
    pub(super) fn cancel_update(&mut self) {
        let going = self.files.running.as_ref().filter(|running| !running.operation.is_over());
        let current = going.and_then(|running| Some(running.order.update_id(running.order.current()?.0)));
        let Some(id) = current else { return };
        // What the host does then is in its list.
        self.outputs.push(Output::Ota(OtaRequest::Cancel(id)));
    }

    /// The platform knows how it ended. True if something else runs now.
    pub(super) fn forget_updates(&mut self, order: &Order) -> bool {
        let (own, others): (Vec<Update>, Vec<Update>) =
            std::mem::take(&mut self.files.updates).into_iter().partition(|update| order.owns(&update.id));
        self.files.updates = others;
        let any_installed = own.iter().any(|update| update.phase == UpdatePhase::Finished);
        self.outputs.extend(own.into_iter().map(|update| Output::Ota(OtaRequest::Acknowledge(update.id))));
        any_installed
    }
}

/// The platform's words for a failure (Clife access document 5.4, and our reading: texts).
fn failed(failure: Failure, is_last: bool) -> Vec<Happening> {
    let given_up = |text: &str| vec![Happening::GivenUp(text.to_owned())];
    match failure {
        // An illegal address, if nothing came from there; otherwise an interruption.
        Failure::Download => vec![Happening::UrlRefused],
        // Last, for a firmware that was right before: an interruption.
        Failure::Digest => vec![Happening::Verified(false), Happening::TransferFailed],
        Failure::Install if is_last => {
            vec![Happening::Verified(true), Happening::InstallBegins, Happening::InstallFailed]
        }
        Failure::Install => vec![Happening::FirstByte, Happening::InstallFailed],
        Failure::Space => given_up("no space"),
        Failure::Unsupported => given_up("this device cannot install it"),
        Failure::Policy => given_up("the rules of the owner forbid it"),
        Failure::Cancelled | Failure::TooLate | Failure::Other => vec![Happening::TransferFailed],
    }
}

/// The host shows an update that it was offered within this time (not documented; chosen by us).
const OFFER_MS: u64 = 10_000;
