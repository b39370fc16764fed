//! What askers may do: offer, take back, look, and say that they know.

use super::record::{Operation, Record, Stage};
use super::{CancelRefused, Coordinator, FailedAt, Listed, News, OfferRefused, Outcome, Output, Progress, Step};
use crate::update::manifest::Target;
use crate::update::offer::{Moment, Offer};

impl Coordinator {
    /// An instance offers an image; it is in its list then. `random` is drawn for it.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn offer(&mut self, moment: &Moment, offer: Offer, random: u64) -> Result<u64, OfferRefused> {
        if is_too_long(&offer) {
            return Err(OfferRefused::TooLong);
        }
        if self.outputs.len() >= OUTPUTS_MAX {
            return Err(OfferRefused::Full);
        }
        let waiting_bytes: usize = self.record.waiting.iter().map(|waiting| waiting.offer.n_bytes()).sum();
        let (asker, reference) = (offer.asker.clone(), offer.reference.clone());
        let is_it = |of: &str, called: &str| asker == of && reference == called;
        let is_same = |operation: &Operation| is_it(&operation.offer.asker, &operation.offer.reference);
        if let Some(ended) = self.record.ended.iter().find(|ended| is_it(&ended.asker, &ended.reference)) {
            return Ok(ended.id);
        }
        if let Some(waiting) = self.record.waiting.iter_mut().find(|waiting| is_same(waiting)) {
            let id = waiting.id;
            if waiting_bytes - waiting.offer.n_bytes() + offer.n_bytes() > WAITING_BYTES_MAX {
                return Err(OfferRefused::Full);
            }
            if renew(&mut waiting.offer, offer) {
                self.save();
            }
            return Ok(id);
        }
        if let Some(active) = self.record.active.as_mut().filter(|active| is_same(active)) {
            let id = active.id;
            if self.step == Step::Loading && renew(&mut active.offer, offer) {
                self.save();
                self.outputs.push_back(Output::StopLoading { id });
                self.load();
            }
            return Ok(id);
        }
        if self.list(&offer.asker).len() >= LISTED_MAX || waiting_bytes + offer.n_bytes() > WAITING_BYTES_MAX {
            return Err(OfferRefused::Full);
        }
        let id = self.record.next_id.max(1);
        self.record.next_id = id + 1;
        let start = offer.schedule.start(moment, random);
        let operation = Operation { id, offer, drawn: random, start, stage: Stage::Waiting, since: moment.now };
        if !self.settings.targets.contains(&operation.offer.target) {
            let why = format!("nothing installs images for the {} here", operation.offer.target);
            self.ended(operation, Outcome::Failed { at: FailedAt::Target, why });
            return Ok(id);
        }
        let is_due = operation.is_due(moment);
        self.record.waiting.push(operation);
        self.save();
        if !is_due || self.record.active.is_some() {
            self.outputs.push_back(Output::Tell { asker, id, reference, news: News::Waiting(start) });
        }
        self.timeout(moment);
        Ok(id)
    }

    /// An instance takes its offer back.
    ///
    /// # Errors
    /// Why it goes on.
    pub fn cancel(&mut self, moment: &Moment, asker: &str, reference: &str) -> Result<(), CancelRefused> {
        let is_it = |operation: &Operation| operation.offer.asker == asker && operation.offer.reference == reference;
        if let Some(at) = self.record.waiting.iter().position(is_it) {
            let operation = self.record.waiting.remove(at);
            self.ended(operation, Outcome::Cancelled);
            return Ok(());
        }
        let active = self.record.active.as_ref().filter(|active| is_it(active)).ok_or(CancelRefused::Unknown)?;
        match self.step {
            Step::Loading | Step::Verifying => {
                self.outputs.push_back(Output::StopLoading { id: active.id });
                self.end(moment, Outcome::Cancelled);
                Ok(())
            }
            // An MCU can be told to forget what it has; whether it does, the end of the installation tells.
            Step::Installing if active.offer.target != Target::Module => {
                self.outputs.push_back(Output::StopInstalling(active.subject()));
                Ok(())
            }
            _ => Err(CancelRefused::TooLate),
        }
    }

    /// An asker knows how its update ended; it leaves the list. False: it has none of this name that is over.
    pub fn acknowledge(&mut self, asker: &str, reference: &str) -> bool {
        let before = self.record.ended.len();
        self.record.ended.retain(|ended| ended.asker != asker || ended.reference != reference);
        let is_known = self.record.ended.len() != before;
        if is_known {
            self.save();
        }
        is_known
    }

    /// The updates of an asker, in the order in which they were offered.
    #[must_use]
    pub fn list(&self, asker: &str) -> Vec<Listed> {
        let mut listed: Vec<_> = self.all().into_iter().filter(|(of, _)| *of == asker).map(|(_, one)| one).collect();
        listed.sort_by_key(|one| one.id);
        listed
    }

    /// The updates of all askers, with the asker.
    #[must_use]
    pub fn all(&self) -> Vec<(&str, Listed)> {
        let Record { active, waiting, ended, .. } = &self.record;
        let percent = self.told.percent();
        let progress = match active.as_ref().map(|active| active.stage) {
            Some(Stage::Waiting | Stage::Loading) => Progress::Loading(percent),
            _ => Progress::Installing(percent),
        };
        let active = active.iter().map(|active| (&*active.offer.asker, active.listed(progress.clone())));
        let waiting = waiting.iter().map(|waiting| (&*waiting.offer.asker, waiting.listed(Progress::Waiting)));
        let ended = ended.iter().map(|ended| (&*ended.asker, ended.listed()));
        active.chain(waiting).chain(ended).collect()
    }

    /// Whether something was installed, and has yet to prove itself or to be installed again.
    #[must_use]
    pub fn has_to_prove(&self) -> bool {
        let stage = self.record.active.as_ref().map(|active| active.stage);
        matches!(stage, Some(Stage::Installing { .. } | Stage::Restarting { .. }))
    }

    /// Who asked for what is on trial, if something is.
    #[must_use]
    pub fn on_trial(&self) -> Option<&str> {
        let active = self.record.active.as_ref().filter(|_| matches!(self.step, Step::Trial { .. }));
        active.map(|active| &*active.offer.asker)
    }
}

fn is_too_long(offer: &Offer) -> bool {
    let texts = [&offer.asker, &offer.reference, &offer.version, &offer.url].into_iter();
    let mut texts = texts.chain(offer.headers.iter().flat_map(|(name, value)| [name, value]));
    texts.any(|text| text.len() > TEXT_MAX) || offer.digests.len() > DIGESTS_MAX || offer.headers.len() > HEADERS_MAX
}

/// Takes over where the same file is now. True: that is another place.
fn renew(known: &mut Offer, offer: Offer) -> bool {
    let is_news = known.is_same_file(&offer) && (known.url != offer.url || known.headers != offer.headers);
    if is_news {
        (known.url, known.headers) = (offer.url, offer.headers);
    }
    is_news
}

/// Updates of one asker.
pub(super) const LISTED_MAX: usize = polylink_plugin_api::services::ota::UPDATES_MAX;

/// Bytes of texts of offers that wait, of all askers. Chosen by us: forty with the longest address and no header.
pub(super) const WAITING_BYTES_MAX: usize = 96 * 1024;

/// Outputs that nobody has carried out yet, beyond which nothing is offered: a cloud that offers and takes back in a loop
/// must not fill the memory while a program restarts the device. Chosen by us: more than all offers of five clouds need.
pub(super) const OUTPUTS_MAX: usize = 256;

/// Longest text of an offer. Chosen by us: the longest address that the clouds' plugins take.
pub(super) const TEXT_MAX: usize = 2048;

/// Digests of an offer. Chosen by us: more than there are kinds.
const DIGESTS_MAX: usize = 8;

/// Headers of an offer.
pub(super) const HEADERS_MAX: usize = polylink_plugin_api::services::ota::HEADERS_MAX;
