//! Which segment is still needed, and where it lies. Pure bookkeeping.

use std::collections::BTreeMap;

/// The segments of the log, and in which of them each report stands that somebody holds.
#[derive(Debug, Default)]
pub(super) struct Segments {
    all: BTreeMap<u64, Segment>,
    /// Segment and bytes of each report.
    homes: BTreeMap<u64, (u64, u64)>,
}

/// One segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its length.
    pub bytes: u64,
    /// Reports in it that somebody holds.
    pub live: usize,
    /// Bytes of these.
    pub live_bytes: u64,
    /// There is a copy in memory.
    pub memory: bool,
    /// What is under way to flash, or there.
    pub flash: Flash,
}

/// How far a segment is on flash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Flash {
    /// Not at all.
    #[default]
    Absent,
    /// All of it was handed over, so many bytes are safe.
    Carried {
        /// Bytes that last.
        safe: u64,
    },
}

impl Segment {
    /// Handed over to flash.
    pub fn is_carried(&self) -> bool {
        self.flash != Flash::Absent
    }

    /// Safe on flash to its last byte.
    pub fn is_safe(&self) -> bool {
        self.flash == Flash::Carried { safe: self.bytes }
    }

    /// Keeping it costs more than writing again what is needed of it.
    pub fn is_mostly_dead(&self) -> bool {
        self.live_bytes * 2 < self.bytes
    }
}

impl Segments {
    /// A segment that is there.
    pub fn add(&mut self, number: u64, segment: Segment) {
        self.all.insert(number, segment);
    }

    /// More was written into one.
    pub fn grow(&mut self, number: u64, bytes: u64) {
        if let Some(segment) = self.all.get_mut(&number) {
            segment.bytes += bytes;
        }
    }

    /// A report stands there from now on.
    pub fn house(&mut self, seq: u64, number: u64, bytes: u64) {
        self.gone(seq);
        if let Some(segment) = self.all.get_mut(&number) {
            segment.live += 1;
            segment.live_bytes += bytes;
            self.homes.insert(seq, (number, bytes));
        }
    }

    /// Nobody holds the report any more.
    pub fn gone(&mut self, seq: u64) {
        if let Some((number, bytes)) = self.homes.remove(&seq)
            && let Some(segment) = self.all.get_mut(&number)
        {
            segment.live -= 1;
            segment.live_bytes -= bytes;
        }
    }

    /// Nobody holds anything any more.
    pub fn all_gone(&mut self) {
        self.homes.clear();
        self.all.values_mut().for_each(|segment| (segment.live, segment.live_bytes) = (0, 0));
    }

    /// The segment that a report stands in.
    pub fn home(&self, seq: u64) -> Option<&Segment> {
        self.all.get(&self.homes.get(&seq)?.0)
    }

    /// Forgets a segment.
    pub fn remove(&mut self, number: u64) -> Option<Segment> {
        self.all.remove(&number)
    }

    /// One of them.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut Segment> {
        self.all.get_mut(&number)
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Segment)> {
        self.all.iter().map(|(&number, segment)| (number, segment))
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Segment)> {
        self.all.iter_mut().map(|(&number, segment)| (number, segment))
    }

    /// Segments that nobody needs, oldest first; `current` is needed to go on.
    pub fn dead(&self, current: Option<u64>) -> Vec<u64> {
        let dead = self.iter().filter(|(number, segment)| segment.live == 0 && Some(*number) != current);
        dead.map(|(number, _)| number).collect()
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.all.values().filter(|segment| segment.memory).map(|segment| segment.bytes).sum()
    }

    /// Bytes on flash or under way there.
    pub fn flash_bytes(&self) -> u64 {
        self.all.values().filter(|segment| segment.is_carried()).map(|segment| segment.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_needed_until_the_last_report_in_it_is_gone_or_has_moved() {
        let mut segments = Segments::default();
        for number in 1..=3 {
            segments.add(number, Segment { bytes: 100, ..Segment::default() });
        }
        segments.house(10, 1, 40);
        segments.house(11, 1, 20);
        segments.house(12, 2, 30);
        assert!(segments.dead(Some(3)).is_empty());
        assert!(segments.all[&2].is_mostly_dead() && !segments.all[&1].is_mostly_dead());
        segments.gone(10);
        segments.gone(10);
        segments.house(11, 3, 20);
        assert_eq!((segments.dead(Some(3)), segments.all[&3].live_bytes), (vec![1], 20));
        segments.all_gone();
        assert_eq!((segments.dead(None), segments.home(11)), (vec![1, 2, 3], None));
    }
}
