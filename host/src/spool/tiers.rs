//! When flash is used, when it is left, and what happens when a tier fails.

use polylink_plugin_api::Timestamp;
use tracing::{info, warn};

use super::frame::Kind;
use super::segments::Flash;
use super::writer::{FlashDone, FlashJob, Op};
use super::{RETRY_MS, Spool};
use crate::bus::Bus;

impl Spool {
    /// Does what is due; what flash has to do is returned, for who may block, and [`Spool::done`] is told of it. At most one
    /// job is out at a time.
    pub fn tick(&mut self, bus: &mut Bus, now: Timestamp) -> Option<FlashJob> {
        self.product?;
        if self.memory_retry.is_some_and(|retry| retry <= now) {
            self.memory_retry = None;
            self.move_out(bus, now, |segment| !segment.memory && !segment.is_carried());
            if self.memory_retry.is_none() && std::mem::take(&mut self.memory_failing) {
                info!("the journal in memory works again");
            }
        }
        bus.expire(ms(now).saturating_sub(i64::try_from(self.settings.max_age_ms).unwrap_or(i64::MAX)));
        self.follow(bus, now);
        if self.settled_since.is_some_and(|since| since.after(SETTLED_MS) <= now) {
            self.write(bus, now, &[], Kind::Report);
            self.remove_dead(now);
        }
        if self.flash_retry.is_some_and(|retry| retry <= now) {
            self.flash_retry = None;
            self.clear_litter(now);
        }
        if self.on_flash {
            if !self.busy && !self.is_behind(bus, now) && self.memory_retry.is_none() {
                self.leave_flash(bus, now);
            }
        } else if !self.busy
            && self.may_use_flash()
            && (self.is_behind(bus, now) || self.segments.memory_bytes() > MEMORY_MAX)
        {
            self.enter_flash(bus, now);
        }
        self.compact(bus, now);
        self.job(now)
    }

    /// What became of the job.
    pub fn done(&mut self, done: FlashDone, now: Timestamp) {
        self.busy = false;
        self.usage.flash_written += done.n_bytes;
        self.usage.flash_syncs += done.n_syncs;
        if let Err(error) = done.result {
            self.flash_failed(now, &error);
            return;
        }
        if std::mem::take(&mut self.flash_failing) {
            info!("the journal on flash works again");
        }
        self.litter.retain(|number| !done.removed.contains(number));
        for (number, bytes) in done.written {
            if let Some(segment) = self.segments.get_mut(number)
                && let Flash::Carried { safe } = &mut segment.flash
            {
                *safe += bytes;
            }
        }
        if self.on_flash {
            let current = self.current.as_ref().map(|current| current.number);
            let is_double =
                |number: u64, segment: &super::Segment| segment.memory && segment.is_safe() && Some(number) != current;
            let doubles: Vec<u64> = self
                .segments
                .iter()
                .filter(|(number, segment)| is_double(*number, segment))
                .map(|(number, _)| number)
                .collect();
            for number in doubles {
                self.remove_from_memory(number);
                self.segments.get_mut(number).into_iter().for_each(|segment| segment.memory = false);
            }
        }
    }

    /// When [`Spool::tick`] is wanted.
    #[must_use]
    pub fn next_timeout(&self, bus: &Bus) -> Option<Timestamp> {
        self.product?;
        let oldest = bus.journal().oldest_said_ms();
        let after_oldest = |wait_ms: u64| {
            let due = oldest?.saturating_add(i64::try_from(wait_ms).unwrap_or(i64::MAX));
            Some(Timestamp(u64::try_from(due).unwrap_or(0)))
        };
        let spill =
            if self.on_flash || !self.may_use_flash() { None } else { after_oldest(self.settings.spill_after_ms) };
        let send = match self.outgoing_since {
            Some(since) if !self.busy => {
                Some(if self.is_urgent() { since } else { since.after(self.settings.sync_interval_ms) })
            }
            _ => None,
        };
        let settled = self.settled_since.map(|since| since.after(SETTLED_MS));
        let expire = after_oldest(self.settings.max_age_ms.saturating_add(1));
        [spill, send, settled, expire, self.memory_retry, self.flash_retry].into_iter().flatten().min()
    }

    /// The host ends in order, and the machine perhaps with it: flash gets what waits, also without a need.
    pub fn finish(&mut self, bus: &mut Bus, now: Timestamp) -> Option<FlashJob> {
        self.product?;
        self.follow(bus, now);
        let waits = bus.journal().oldest_said_ms().is_some();
        if !waits {
            if self.on_flash {
                self.leave_flash(bus, now);
            }
            self.current = None;
            self.settled.clear();
            self.remove_dead(now);
        } else if self.settings.flash && !self.on_flash {
            self.enter_flash(bus, now);
        } else {
            self.write(bus, now, &[], Kind::Report);
        }
        self.urgent = true;
        self.job(now)
    }

    /// Moves what was found into this process's first segment, or leaves it where it is safe.
    pub(super) fn move_in(&mut self, bus: &Bus, now: Timestamp) {
        if self.on_flash {
            self.urgent = true;
            self.move_out(bus, now, |segment| !segment.is_carried());
        } else {
            self.move_out(bus, now, |segment| !segment.memory);
            self.drop_flash(now);
        }
        self.clear_litter(now);
    }

    fn may_use_flash(&self) -> bool {
        self.settings.flash && self.flash_retry.is_none()
    }

    fn is_behind(&self, bus: &Bus, now: Timestamp) -> bool {
        let spill_after = i64::try_from(self.settings.spill_after_ms).unwrap_or(i64::MAX);
        bus.journal().oldest_said_ms().is_some_and(|said| said.saturating_add(spill_after) <= ms(now))
    }

    fn is_urgent(&self) -> bool {
        self.urgent || self.outgoing_bytes >= BATCH_BYTES
    }

    fn enter_flash(&mut self, bus: &Bus, now: Timestamp) {
        info!("some cloud is behind: the journal goes to flash");
        self.on_flash = true;
        self.urgent = true;
        self.move_out(bus, now, |segment| !segment.is_carried());
    }

    fn leave_flash(&mut self, bus: &Bus, now: Timestamp) {
        info!("all clouds have caught up: the journal leaves flash");
        self.on_flash = false;
        self.urgent = true;
        self.move_out(bus, now, |segment| !segment.memory);
        self.drop_flash(now);
    }

    /// Nothing is needed on flash any more.
    fn drop_flash(&mut self, now: Timestamp) {
        let carried: Vec<u64> =
            self.segments.iter().filter(|(_, segment)| segment.is_carried()).map(|(number, _)| number).collect();
        for number in carried {
            if let Some(segment) = self.segments.get_mut(number).filter(|segment| segment.memory) {
                segment.flash = Flash::Absent;
                self.remove_from_flash(number, now);
            }
        }
    }

    fn clear_litter(&mut self, now: Timestamp) {
        for number in self.litter.clone() {
            if !self.outgoing.contains(&Op::Remove(number)) {
                self.remove_from_flash(number, now);
            }
        }
    }

    /// What was not safe on flash yet stays in memory; what is, stays there.
    pub(super) fn flash_failed(&mut self, now: Timestamp, error: &dyn std::fmt::Display) {
        self.usage.errors += 1;
        self.flash_retry = Some(now.after(RETRY_MS));
        if !std::mem::replace(&mut self.flash_failing, true) {
            warn!(%error, "the journal on flash fails: what waits for clouds does not survive a power cut");
        }
        self.on_flash = false;
        self.outgoing.clear();
        (self.outgoing_bytes, self.outgoing_since, self.urgent) = (0, None, false);
        for (number, segment) in self.segments.iter_mut() {
            if segment.is_carried() && !segment.is_safe() {
                segment.flash = Flash::Absent;
                self.litter.insert(number);
            }
        }
        // It may be in no tier at all now.
        self.roll_due = true;
    }

    /// Writes again what is needed of segments that are mostly dead, when they take too much room.
    fn compact(&mut self, bus: &Bus, now: Timestamp) {
        if self.busy {
            return;
        }
        let (used, limit) = if self.on_flash {
            (self.segments.flash_bytes(), self.settings.flash_max_bytes / 2)
        } else {
            (self.segments.memory_bytes(), MEMORY_MAX)
        };
        let current = self.current.as_ref().map(|current| current.number);
        let may_go = |(number, segment): (u64, &super::Segment)| segment.is_mostly_dead() && Some(number) != current;
        if used > limit && self.segments.iter().any(may_go) {
            self.move_out(bus, now, |segment| segment.is_mostly_dead());
        }
    }

    fn job(&mut self, now: Timestamp) -> Option<FlashJob> {
        let since = self.outgoing_since?;
        let is_due = self.is_urgent() || since.after(self.settings.sync_interval_ms) <= now;
        if self.busy || !is_due {
            return None;
        }
        (self.outgoing_bytes, self.outgoing_since, self.urgent) = (0, None, false);
        self.busy = true;
        Some(FlashJob { ops: std::mem::take(&mut self.outgoing) })
    }
}

fn ms(now: Timestamp) -> i64 {
    i64::try_from(now.0).unwrap_or(i64::MAX)
}

/// What was settled is written so much later at the latest; a report takes it along sooner. A crash makes a cloud get again
/// what it settled within that time. Chosen by us.
const SETTLED_MS: u64 = 1000;

/// Bytes in memory beyond which flash is used, or what is mostly dead is written again. Chosen by us: little beside the
/// journal in RAM.
const MEMORY_MAX: u64 = 1024 * 1024;

/// Bytes that do not wait for the sync interval. Chosen by us: a whole segment.
const BATCH_BYTES: usize = 64 * 1024;
