//! The greatest counter that was confirmed on each target: nothing with a smaller one is installed again.
//!
//! What was installed and is not confirmed yet is remembered too, so that whoever confirms need not know its manifest.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::manifest::Target;
use super::slots::replace;
use crate::disk::{Disk, sealed, unsealed};

/// See the module. All calls block.
pub struct Floors {
    disk: Arc<dyn Disk>,
    known: Known,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    floors: BTreeMap<Target, u64>,
    pending: BTreeMap<Target, u64>,
}

impl Floors {
    /// Reads them. A file that is not there has none.
    ///
    /// # Errors
    /// It cannot be read, or is damaged: then nothing is known, which is not the same as that everything is allowed.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let known = match disk.read(FILE, FILE_MAX) {
            Ok(bytes) => std::str::from_utf8(&bytes).ok().and_then(Known::decode).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", disk.shown(FILE)))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Known::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { disk, known })
    }

    /// The greatest counter so far; 0: none.
    #[must_use]
    pub fn of(&self, target: Target) -> u64 {
        self.known.floors.get(&target).copied().unwrap_or(0)
    }

    /// An image with this counter is installed, and not confirmed.
    ///
    /// # Errors
    /// It is not remembered.
    pub fn installed(&mut self, target: Target, counter: Option<u64>) -> io::Result<()> {
        let mut next = self.known.clone();
        match counter {
            Some(counter) => next.pending.insert(target, counter),
            None => next.pending.remove(&target),
        };
        self.change(next)
    }

    /// What was installed last is confirmed.
    ///
    /// # Errors
    /// It is not remembered.
    pub fn confirmed(&mut self, target: Target) -> io::Result<()> {
        let mut next = self.known.clone();
        if let Some(counter) = next.pending.remove(&target) {
            next.raise(target, counter);
        }
        self.change(next)
    }

    /// An image with this counter is confirmed.
    ///
    /// # Errors
    /// It is not remembered.
    pub fn raise(&mut self, target: Target, counter: u64) -> io::Result<()> {
        let mut next = self.known.clone();
        next.raise(target, counter);
        self.change(next)
    }

    fn change(&mut self, next: Known) -> io::Result<()> {
        if next != self.known {
            replace(&*self.disk, FILE, next.encode().as_bytes())?;
            self.known = next;
        }
        Ok(())
    }
}

impl Known {
    fn raise(&mut self, target: Target, counter: u64) {
        let floor = self.floors.entry(target).or_default();
        *floor = counter.max(*floor);
    }

    fn encode(&self) -> String {
        let mut text = FIRST.to_owned();
        for (word, counters) in [(FLOOR, &self.floors), (PENDING, &self.pending)] {
            counters.iter().for_each(|(target, counter)| text += &format!("{word} {target} {counter}\n"));
        }
        sealed(&text)
    }

    fn decode(text: &str) -> Option<Self> {
        let mut known = Self::default();
        for line in unsealed(text)?.strip_prefix(FIRST)?.split_terminator('\n') {
            let (word, rest) = line.split_once(' ')?;
            let (target, counter) = rest.split_once(' ')?;
            let counters = match word {
                FLOOR => &mut known.floors,
                PENDING => &mut known.pending,
                _ => return None,
            };
            counters.insert(Target::parse(target)?, counter.parse().ok()?);
        }
        Some(known)
    }
}

/// The file. Chosen by us.
const FILE: &str = "floors";

/// Longest file: its lines have some 200 bytes.
const FILE_MAX: usize = 1024;

/// First line; the digit is the version of the format. Chosen by us.
const FIRST: &str = "polylink-floors 1\n";

const FLOOR: &str = "floor";
const PENDING: &str = "pending";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::Simulated;

    #[track_caller]
    fn check(disk: &Simulated, module: u64, mcu: u64) {
        let floors = Floors::open(Arc::new(disk.clone())).expect("readable");
        assert_eq!((floors.of(Target::Module), floors.of(Target::Mcu)), (module, mcu));
    }

    #[test]
    fn a_floor_rises_when_what_was_installed_is_confirmed_and_never_falls() {
        let disk = Simulated::new();
        let mut floors = Floors::open(Arc::new(disk.clone())).expect("readable");
        floors.installed(Target::Module, Some(5)).expect("writable");
        check(&disk, 0, 0);
        floors.confirmed(Target::Module).expect("writable");
        check(&disk, 5, 0);
        floors.installed(Target::Module, Some(3)).expect("writable");
        floors.confirmed(Target::Module).expect("writable");
        floors.confirmed(Target::Module).expect("writable");
        floors.raise(Target::Mcu, 7).expect("writable");
        check(&disk, 5, 7);
        floors.installed(Target::Module, Some(9)).expect("writable");
        floors.installed(Target::Module, None).expect("writable");
        floors.confirmed(Target::Module).expect("writable");
        check(&disk, 5, 7);
        for cut in disk.power_cuts() {
            // The old one or the new one.
            assert!(Floors::open(Arc::new(disk.after(cut))).is_ok(), "{cut:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_way_back() {
        let damaged =
            Simulated::with_files([("floors", b"polylink-floors 1\nfloor module 5\ncrc 00000000\n".to_vec())]);
        assert!(Floors::open(Arc::new(damaged)).is_err());
    }
}
