//! What is left of a store at every moment at which the power can go: each key has its last value that the plugin was told
//! is stored, or a newer one.

use rustix::io::Errno;

use super::*;
use crate::disk::simulated::{Call, Cut, Simulated};

/// A run of writes, and what the plugin knew at which operation of the disk.
struct Run {
    disk: Simulated,
    storage: Storage,
    /// What was asked for, in order, with the number of operations that were done before and when it was stored.
    writes: Vec<(&'static str, Option<&'static [u8]>, usize, usize)>,
}

impl Run {
    fn new(disk: Simulated) -> Self {
        Self { storage: Storage::on("test", Arc::new(disk.clone())), disk, writes: Vec::new() }
    }

    /// Asks for all of these, and lets the writer work.
    fn put(&mut self, changes: &[(&'static str, Option<&'static [u8]>)]) {
        let before = self.disk.n_operations();
        for &(key, value) in changes {
            self.storage.change(key, value, 1000, (InstanceId(0), 1)).unwrap();
        }
        self.storage.write_all();
        let stored = if self.storage.usage().1 == 0 { self.disk.n_operations() } else { usize::MAX };
        self.writes.extend(changes.iter().map(|&(key, value)| (key, value, before, stored)));
    }

    /// Holds the store that `cut` leaves against what was promised by then.
    fn check(&self, cut: Cut) {
        let left = self.disk.after(cut);
        let storage = Storage::on("test", Arc::new(left.clone()));
        for key in ["a", "b", "c"] {
            let of_key = || self.writes.iter().filter(|(of, ..)| *of == key);
            let promised =
                of_key().enumerate().filter(|(_, (.., stored))| *stored <= cut.operations).map(|(at, _)| at).last();
            let begun = of_key().filter(|(_, _, before, _)| *before < cut.operations).count();
            // Nothing before what was promised, nothing that was not asked for yet.
            let allowed = of_key().take(begun).skip(promised.unwrap_or(0)).map(|(_, value, ..)| *value);
            let mut allowed: Vec<_> = allowed.collect();
            if promised.is_none() {
                allowed.push(None);
            }
            let found = storage.get(key);
            assert!(allowed.contains(&found.as_deref()), "{key} is {found:?} instead of {allowed:?} after {cut:?}");
        }
        assert!(!left.files().contains_key("~corrupt"), "a power cut leaves no broken value: {cut:?}");
    }

    fn check_all(&self) {
        let cuts = self.disk.power_cuts();
        assert!(cuts.len() > 40, "{} states are too few to prove anything", cuts.len());
        for cut in cuts.into_iter().chain(self.disk.kills()) {
            self.check(cut);
        }
    }
}

#[test]
fn no_power_cut_takes_back_what_was_stored_or_tears_a_value() {
    let mut run = Run::new(Simulated::new());
    run.put(&[("a", Some(b"first")), ("b", Some(b""))]);
    run.put(&[("a", Some(b"second")), ("c", Some(b"third")), ("b", None)]);
    run.put(&[("a", None)]);
    run.put(&[("a", Some(b"fourth")), ("b", Some(b"fifth"))]);
    run.check_all();
}

#[test]
fn a_disk_that_fails_now_and_then_keeps_the_same_promise() {
    for (call, errno) in [(Call::Write, Errno::NOSPC), (Call::Sync, Errno::IO), (Call::Name, Errno::ROFS)] {
        for after in 0..12 {
            let mut run = Run::new(Simulated::new());
            run.disk.fail(call, errno, after, 2);
            run.put(&[("a", Some(b"first")), ("b", Some(b"second"))]);
            run.put(&[("a", Some(b"third")), ("b", None)]);
            run.put(&[("c", Some(b"fourth"))]);
            run.check_all();
        }
    }
}

#[test]
fn a_store_goes_on_after_any_power_cut() {
    let mut run = Run::new(Simulated::new());
    run.put(&[("a", Some(b"first")), ("b", Some(b"second"))]);
    run.put(&[("a", Some(b"third"))]);
    for cut in run.disk.power_cuts() {
        let left = run.disk.after(cut);
        let storage = Storage::on("test", Arc::new(left.clone()));
        storage.change("a", Some(b"new"), 1000, (InstanceId(0), 1)).unwrap();
        storage.write_all();
        assert_eq!(storage.usage().1, 0);
        assert_eq!(Storage::on("test", Arc::new(left)).get("a").as_deref(), Some(&b"new"[..]));
    }
}

#[test]
fn a_read_only_disk_is_read_and_a_full_one_gets_its_room_back() {
    let mut run = Run::new(Simulated::new());
    run.put(&[("a", Some(b"first"))]);
    run.disk.limit(Some(20));
    run.put(&[("b", Some(b"longer than there is room for"))]);
    assert_eq!(run.disk.files().keys().collect::<Vec<_>>(), ["a.value"]);
    run.disk.limit(None);
    run.disk.fail(Call::Change, Errno::ROFS, 0, usize::MAX);
    run.put(&[("c", Some(b"second"))]);
    let again = Storage::on("test", Arc::new(run.disk.clone()));
    assert_eq!((again.keys(), run.storage.keys().len()), (vec!["a".to_owned()], 3));
}
