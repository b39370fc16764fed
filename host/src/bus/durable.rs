//! What the bus offers to who keeps its journal on disks ([`crate::spool`]).

use super::Bus;
use super::journal::{Change, CloudId, Journal, Restored};

impl Bus {
    /// The journal, for who keeps it on a disk.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// From now on [`Bus::take_changes`] tells what changes in the journal.
    pub fn record_changes(&mut self) {
        self.journal.record_changes();
    }

    /// Whether [`Bus::take_changes`] has something to tell.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.journal.has_changes()
    }

    /// What has changed in the journal since it was last asked for, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.journal.take_changes()
    }

    /// Takes back what an earlier process kept of this product, for the clouds that are declared; [`Restored::reports`]
    /// need no weight yet. Returns how many reports clouds held that nobody declared, or of which nothing could be read.
    pub fn restore(&mut self, mut restored: Restored) -> u64 {
        for record in restored.reports.values_mut() {
            (record.weight, record.latest) = self.weigh(&record.body);
        }
        let ids = self.clouds.iter().enumerate().map(|(at, cloud)| (cloud.name.as_str(), CloudId(at)));
        self.journal.restore(restored, &ids.collect())
    }

    /// Gives up what was said before this, by the monotonic clock.
    pub fn expire(&mut self, before_ms: i64) {
        self.journal.expire(before_ms);
    }

    /// The clouds that reports are kept for.
    pub fn kept_for(&self) -> impl Iterator<Item = (CloudId, &str)> {
        let clouds = self.clouds.iter().enumerate().map(|(at, cloud)| (CloudId(at), cloud.name.as_str()));
        clouds.filter(|(cloud, _)| self.journal.keeps_for(*cloud))
    }
}
