//! [`Download`]: one file on its way here, pure. It knows HTTP's rules for continuing and trusts no server.
//!
//! Who drives it makes the request it asks for ([`Output::Get`]), tells head, body and end, appends what was taken, and
//! stores checkpoints. It reads no clock; time is an argument.
//!
//! Invariants: never more bytes are taken than were announced, wanted and allowed; the digests are those of the bytes in
//! the file; a file that ends well has every digest and the size that were asked for. Whatever a server does, it ends: what
//! is kept only grows, it is thrown away [`RESTARTS_MAX`] times at most, and attempts that bring nothing are counted.

use std::collections::VecDeque;

use polylink_plugin_api::Timestamp;

use super::head::{ContentRange, Head};
use super::trouble::{Failure, Trouble};
use super::wish::{Checkpoint, Wish};
use crate::update::digest::Digests;
use crate::update::manifest::Facts;

/// See the module.
#[derive(Debug)]
pub struct Download {
    wish: Wish,
    digests: Digests,
    total: Option<u64>,
    validator: Option<String>,
    phase: Phase,
    outputs: VecDeque<Output>,
    /// Bytes that the last checkpoint has.
    saved: u64,
    saved_at: Timestamp,
    /// Bytes at the last failure, and failures since more came.
    have_before: u64,
    n_failed: u32,
    n_restarts: u32,
    n_mismatches: u32,
    /// Until then nothing is read, for the rate.
    paid_until: Timestamp,
    /// State of the generator that spreads the pauses.
    random: u64,
    percent: Option<u8>,
}

#[derive(Debug)]
enum Phase {
    /// [`Download::start`] has not been called.
    New,
    Asked {
        until: Timestamp,
        url: String,
        from: u64,
        n_redirects: u32,
    },
    Receiving {
        /// Where in the file this body ends, if it is known.
        end: Option<u64>,
        /// Until then so many bytes more are wanted.
        window: Timestamp,
        window_have: u64,
    },
    Pausing {
        until: Timestamp,
    },
    Over,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make this request, with `Accept-Encoding: identity`, without following redirects.
    Get {
        /// Where.
        url: String,
        /// `Range: bytes=<from>-`; 0: no such header.
        from: u64,
        /// `If-Range`.
        if_range: Option<String>,
    },
    /// Close the connection; nothing more of that request is wanted.
    Close,
    /// Empty the file, and forget the checkpoint before that.
    Empty,
    /// Bring the file to the disk, then store this.
    Save(Checkpoint),
    /// So far. Said when the number of percents changes; where no size is known, with each checkpoint.
    Progress {
        /// Bytes.
        have: u64,
        /// Of so many.
        total: Option<u64>,
    },
    /// The file is there. Size and SHA-256 are of all of it.
    Done(Facts),
    /// It will not come.
    Failed(Failure),
}

/// Whether a piece of a body is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// Append it to the file, whose end is here, before anything else.
    At(u64),
    /// Drop it.
    No,
}

impl Download {
    /// A download from the beginning. `random` spreads its pauses.
    #[must_use]
    pub fn new(wish: Wish, random: u64) -> Self {
        let digests = Digests::new(&wish.digests);
        Self {
            wish,
            digests,
            total: None,
            validator: None,
            phase: Phase::New,
            outputs: VecDeque::new(),
            saved: 0,
            saved_at: Timestamp(0),
            have_before: 0,
            n_failed: 0,
            n_restarts: 0,
            n_mismatches: 0,
            paid_until: Timestamp(0),
            random: random | 1,
            percent: None,
        }
    }

    /// A download that goes on. `digests` are those of the first bytes in the file, as many as the checkpoint has, for the
    /// digests that the wish has. None: the checkpoint is another file's, or the file is not what it was.
    #[must_use]
    pub fn resume(wish: Wish, checkpoint: Checkpoint, digests: Digests, random: u64) -> Option<Self> {
        let fits = checkpoint.identity == wish.identity()
            && checkpoint.have == digests.n_bytes()
            && checkpoint.sha256 == digests.sha256()
            && checkpoint.have <= checkpoint.total.or(wish.size).unwrap_or(u64::MAX).min(wish.limits.max_bytes);
        let Checkpoint { have, total, validator, .. } = checkpoint;
        let new = Self::new(wish, random);
        fits.then(|| Self { digests, total, validator, saved: have, have_before: have, ..new })
    }

    /// Begins.
    pub fn start(&mut self, now: Timestamp) {
        if matches!(self.phase, Phase::New) {
            if !self.is_allowed(&self.wish.url) {
                return self.fail(Failure::Address);
            }
            self.saved_at = now;
            self.ask(now);
        }
    }

    /// A head came. `free`: bytes on the file system.
    pub fn head(&mut self, now: Timestamp, head: &Head, free: Option<u64>) {
        let Phase::Asked { url, from, n_redirects, .. } = &self.phase else { return };
        let (from, n_redirects) = (*from, *n_redirects);
        match head.status {
            301 | 302 | 303 | 307 | 308 => {
                if n_redirects >= REDIRECTS_MAX {
                    return self.trouble(now, Trouble::Redirects, None);
                }
                let is_plain = !is_https(url);
                let target = head.location.clone().filter(|to| is_https(to) || is_plain && self.is_allowed(to));
                match target {
                    Some(url) => self.get(now, url, n_redirects + 1),
                    None => self.trouble(now, Trouble::Redirect, None),
                }
            }
            _ if matches!(head.status, 200 | 206) && head.is_encoded => self.trouble(now, Trouble::Encoded, None),
            200 => self.whole(now, head, free),
            206 => self.part(now, head, from, free),
            416 => self.beyond(now, head),
            // 408, 425 and 429 say themselves that one may come again.
            status @ 400..500 if !matches!(status, 408 | 425 | 429) => self.fail(Failure::Status(status)),
            status => self.trouble(now, Trouble::Status(status), head.retry_after_s),
        }
    }

    /// A piece of the body came.
    pub fn body(&mut self, now: Timestamp, bytes: &[u8]) -> Taken {
        let Phase::Receiving { end, .. } = self.phase else { return Taken::No };
        let offset = self.digests.n_bytes();
        let after = offset.saturating_add(bytes.len() as u64);
        let most = [end, self.total, self.wish.size].into_iter().flatten().min().unwrap_or(u64::MAX);
        if after > self.wish.limits.max_bytes {
            self.fail(Failure::TooLarge { max: self.wish.limits.max_bytes });
            return Taken::No;
        }
        if after > most {
            self.trouble(now, Trouble::TooLong(most), None);
            return Taken::No;
        }
        self.digests.update(bytes);
        if let Some(rate) = self.wish.limits.rate.filter(|rate| *rate > 0) {
            let earliest = Timestamp(now.0.saturating_sub(CREDIT_MS));
            let cost = (bytes.len() as u64).saturating_mul(1000) / u64::from(rate);
            self.paid_until = self.paid_until.max(earliest).after(cost);
            // While it is held back here, a server cannot be slow.
            if let Phase::Receiving { window, window_have, .. } = &mut self.phase
                && self.paid_until > now
            {
                (*window, *window_have) = (self.paid_until.after(WINDOW_MS), after);
            }
        }
        let is_due = now.since(self.saved_at) >= SAVE_MS && after > self.saved;
        let saves = after - self.saved >= SAVE_BYTES || is_due;
        if saves {
            self.save(now);
        }
        self.tell(saves);
        self.timeout(now);
        Taken::At(offset)
    }

    /// The body ended as HTTP says that it ends.
    pub fn end(&mut self, now: Timestamp) {
        let Phase::Receiving { end, .. } = self.phase else { return };
        let have = self.digests.n_bytes();
        if let Some(end) = end.filter(|end| have < *end) {
            return self.trouble(now, Trouble::Cut { have, end }, None);
        }
        match self.total.or(self.wish.size) {
            // A server may send less than was asked for, which is no fault as long as something comes.
            Some(total) if have < total => self.trouble(now, Trouble::Cut { have, end: total }, None),
            _ => self.finish(now),
        }
    }

    /// The request failed.
    pub fn failed(&mut self, now: Timestamp, why: String) {
        if matches!(self.phase, Phase::Asked { .. } | Phase::Receiving { .. }) {
            self.trouble(now, Trouble::Connection(why), None);
        }
    }

    /// So many bytes are free on the file system.
    pub fn space(&mut self, free: u64) {
        if matches!(self.phase, Phase::Receiving { .. }) {
            let rest = self.total.or(self.wish.size).map_or(0, |total| total.saturating_sub(self.digests.n_bytes()));
            let needed = rest.saturating_add(self.wish.limits.reserve_bytes);
            if free < needed {
                self.fail(Failure::Space { needed, free });
            }
        }
    }

    /// The file cannot be written.
    pub fn disk(&mut self, why: String) {
        self.fail(Failure::Disk(why));
    }

    /// It is not wanted any more. Nothing more comes but [`Output::Close`].
    pub fn cancel(&mut self) {
        self.close();
        self.phase = Phase::Over;
    }

    /// What is due.
    pub fn timeout(&mut self, now: Timestamp) {
        if !self.is_over() && self.wish.limits.deadline <= now {
            return self.fail(Failure::Deadline);
        }
        let have = self.digests.n_bytes();
        match &mut self.phase {
            Phase::Asked { until, .. } if *until <= now => self.trouble(now, Trouble::Silent, None),
            Phase::Receiving { window, window_have, .. } if *window <= now => {
                if have - *window_have < WINDOW_BYTES {
                    return self.trouble(now, Trouble::Slow, None);
                }
                (*window, *window_have) = (now.after(WINDOW_MS), have);
            }
            Phase::Pausing { until } if *until <= now => self.ask(now),
            _ => {}
        }
    }

    /// When [`Download::timeout`] is wanted.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let own = match &self.phase {
            Phase::New | Phase::Over => return None,
            Phase::Asked { until, .. } | Phase::Pausing { until } => *until,
            Phase::Receiving { window, .. } => *window,
        };
        Some(own.min(self.wish.limits.deadline))
    }

    /// Until then no byte of the body is to be read, for the rate.
    #[must_use]
    pub const fn reads_from(&self) -> Timestamp {
        self.paid_until
    }

    /// What is to be done.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether nothing more comes.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Bytes so far, of how many.
    #[must_use]
    pub fn progress(&self) -> (u64, Option<u64>) {
        (self.digests.n_bytes(), self.total.or(self.wish.size))
    }

    /// 200: the whole file from the beginning.
    fn whole(&mut self, now: Timestamp, head: &Head, free: Option<u64>) {
        if self.digests.n_bytes() > 0 && !self.restart(&Trouble::Changed) {
            return;
        }
        (self.total, self.validator) = (head.length, head.validator().map(str::to_owned));
        if let Some(trouble) = self.wrong_size() {
            return self.trouble(now, trouble, None);
        }
        self.receive(now, head.length, free);
    }

    /// 206: a part of it.
    fn part(&mut self, now: Timestamp, head: &Head, from: u64, free: Option<u64>) {
        let have = self.digests.n_bytes();
        let content = head.content_range.as_deref().and_then(ContentRange::parse);
        let Some(ContentRange { range: Some((first, last)), total }) = content else {
            return self.wrong_part(now, Trouble::Part);
        };
        let length = last - first + 1;
        if first != have || have != from || head.length.is_some_and(|announced| announced != length) {
            return self.wrong_part(now, Trouble::Part);
        }
        let is_other =
            |before: Option<&str>, after: Option<&str>| before.is_some() && after.is_some() && before != after;
        if have > 0
            && (is_other(self.validator.as_deref(), head.validator())
                || total.is_some() && self.total.is_some() && total != self.total)
        {
            return self.wrong_part(now, Trouble::Changed);
        }
        self.total = total.or(self.total);
        if have == 0 {
            self.validator = head.validator().map(str::to_owned);
        }
        if let Some(trouble) = self.wrong_size() {
            return self.trouble(now, trouble, None);
        }
        self.receive(now, Some(last.saturating_add(1)), free);
    }

    /// 416: there is nothing behind what is here.
    fn beyond(&mut self, now: Timestamp, head: &Head) {
        let have = self.digests.n_bytes();
        let total = head.content_range.as_deref().and_then(ContentRange::parse).and_then(|content| content.total);
        let total = total.or(self.total).or(self.wish.size);
        if have > 0 && total == Some(have) {
            self.total = total;
            return self.finish(now);
        }
        self.wrong_part(now, Trouble::Part);
    }

    fn receive(&mut self, now: Timestamp, end: Option<u64>, free: Option<u64>) {
        if self.total.or(end).is_some_and(|total| total > self.wish.limits.max_bytes) {
            return self.fail(Failure::TooLarge { max: self.wish.limits.max_bytes });
        }
        self.phase = Phase::Receiving { end, window: now.after(WINDOW_MS), window_have: self.digests.n_bytes() };
        if let Some(free) = free {
            self.space(free);
        }
    }

    /// Everything is here.
    fn finish(&mut self, now: Timestamp) {
        let have = self.digests.n_bytes();
        if let Some(wanted) = self.wish.size.filter(|wanted| *wanted != have) {
            return self.wrong_part(now, Trouble::Size { found: have, wanted });
        }
        if let Err(mismatch) = self.digests.check(&self.wish.digests) {
            self.n_mismatches += 1;
            // Once may be the network's fault, or that of halves which do not belong together.
            if self.n_mismatches >= MISMATCHES_MAX {
                return self.fail(Failure::Digest(mismatch));
            }
            return self.wrong_part(now, Trouble::Changed);
        }
        self.close();
        self.phase = Phase::Over;
        self.total = Some(have);
        self.outputs.push_back(Output::Save(self.checkpoint()));
        self.tell(false);
        self.outputs.push_back(Output::Done(Facts { size: have, sha256: self.digests.sha256() }));
    }

    fn ask(&mut self, now: Timestamp) {
        let is_known = self.validator.is_some() || !self.wish.digests.is_empty();
        let have = self.digests.n_bytes();
        // Nothing could tell whether two halves belong together.
        if have > 0 && !is_known && !self.restart(&Trouble::Changed) {
            return;
        }
        // What was all here before a restart, and what never needs a byte.
        if have > 0 && self.total.or(self.wish.size) == Some(have) {
            return self.finish(now);
        }
        // Always the address that was given: where it leads to may be for one time only.
        self.get(now, self.wish.url.clone(), 0);
    }

    fn get(&mut self, now: Timestamp, url: String, n_redirects: u32) {
        self.close();
        let from = self.digests.n_bytes();
        let if_range = self.validator.clone().filter(|_| from > 0);
        self.phase = Phase::Asked { until: now.after(HEAD_MS), url: url.clone(), from, n_redirects };
        self.outputs.push_back(Output::Get { url, from, if_range });
    }

    /// What is here does not go on: it is thrown away, and asked for from the beginning.
    fn wrong_part(&mut self, now: Timestamp, trouble: Trouble) {
        if self.digests.n_bytes() == 0 || self.restart(&trouble) {
            self.trouble(now, trouble, None);
        }
    }

    /// Throws away what is here. False: it was done too often, and all is over.
    fn restart(&mut self, why: &Trouble) -> bool {
        self.n_restarts += 1;
        if self.n_restarts > RESTARTS_MAX {
            self.fail(Failure::Restless(why.clone()));
            return false;
        }
        self.digests = Digests::new(&self.wish.digests);
        (self.total, self.validator, self.saved, self.have_before) = (None, None, 0, 0);
        self.outputs.push_back(Output::Empty);
        true
    }

    /// This request comes to nothing: the next one follows after a pause.
    fn trouble(&mut self, now: Timestamp, trouble: Trouble, retry_after_s: Option<u64>) {
        self.close();
        let have = self.digests.n_bytes();
        if have - self.have_before >= PROGRESS_BYTES {
            self.n_failed = 0;
        }
        self.have_before = have;
        self.n_failed += 1;
        if self.n_failed >= self.wish.limits.attempts.max(1) {
            return self.fail(Failure::Attempts(trouble));
        }
        if have > self.saved {
            self.save(now);
        }
        let limits = &self.wish.limits;
        let doubled = limits.pause_first_ms.checked_shl(self.n_failed - 1).unwrap_or(u64::MAX);
        let asked = retry_after_s.unwrap_or(0).saturating_mul(1000);
        let pause = doubled.max(asked).min(limits.pause_max_ms);
        // A thousand devices that lost the same server must not come back at once.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let spread = self.random % (pause / 5).max(1);
        self.phase = Phase::Pausing { until: now.after(pause - spread) };
    }

    fn wrong_size(&self) -> Option<Trouble> {
        let (found, wanted) = (self.total?, self.wish.size?);
        (found != wanted).then_some(Trouble::Size { found, wanted })
    }

    fn save(&mut self, now: Timestamp) {
        (self.saved, self.saved_at) = (self.digests.n_bytes(), now);
        self.outputs.push_back(Output::Save(self.checkpoint()));
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            identity: self.wish.identity(),
            have: self.digests.n_bytes(),
            sha256: self.digests.sha256(),
            total: self.total,
            validator: self.validator.clone(),
        }
    }

    fn tell(&mut self, has_saved: bool) {
        let (have, total) = self.progress();
        let percent = total.map(|total| percent(have, total));
        if percent != self.percent || percent.is_none() && has_saved {
            self.percent = percent;
            self.outputs.push_back(Output::Progress { have, total });
        }
    }

    fn close(&mut self) {
        if matches!(self.phase, Phase::Asked { .. } | Phase::Receiving { .. }) {
            self.outputs.push_back(Output::Close);
        }
    }

    fn fail(&mut self, why: Failure) {
        if !self.is_over() {
            self.close();
            self.phase = Phase::Over;
            self.outputs.push_back(Output::Failed(why));
        }
    }

    fn is_allowed(&self, url: &str) -> bool {
        is_https(url) || self.wish.limits.plain_text && has_scheme(url, "http://")
    }
}

/// Percents of a whole; 100 only when all is there.
#[must_use]
pub fn percent(have: u64, total: u64) -> u8 {
    if have >= total {
        return 100;
    }
    u8::try_from(u128::from(have) * 100 / u128::from(total)).unwrap_or(99)
}

fn is_https(url: &str) -> bool {
    has_scheme(url, "https://")
}

fn has_scheme(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// How long a server may think. Not documented; chosen by us.
pub(super) const HEAD_MS: u64 = 30_000;

/// A body that brings less than [`WINDOW_BYTES`] in this time is given up: a server that drips holds the download for
/// ever. Not documented; chosen by us: 68 bytes a second, below any link that updates are loaded over.
pub(super) const WINDOW_MS: u64 = 60_000;

/// See [`WINDOW_MS`].
pub const WINDOW_BYTES: u64 = 4096;

/// Redirects of one request. Not documented; chosen by us: a cloud, its storage, and some to spare.
pub(super) const REDIRECTS_MAX: u32 = 5;

/// How often what is here is thrown away. Not documented; chosen by us.
pub const RESTARTS_MAX: u32 = 3;

/// How often a whole file may have a wrong digest (Deli access document 103: one more download).
const MISMATCHES_MAX: u32 = 2;

/// So many bytes make an attempt one that brought something. Not documented; chosen by us: a server that gives one byte
/// for each request is not worth them.
pub const PROGRESS_BYTES: u64 = 16 * 1024;

/// A checkpoint after so many bytes, or after [`SAVE_MS`]. Not documented; chosen by us: half a second of a good link, and
/// some thousand writes to flash for the largest image.
pub const SAVE_BYTES: u64 = 256 * 1024;

/// See [`SAVE_BYTES`]; for links that need minutes for as much.
const SAVE_MS: u64 = 10_000;

/// A link that stood still may catch up so long. Not documented; chosen by us.
const CREDIT_MS: u64 = 1000;

#[cfg(test)]
mod tests;
