//! The store against real directories. Waiters have no instance here, so writers are run by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

const NOBODY: InstanceId = InstanceId(0);
const MAX: usize = 1000;

/// A directory of one test, gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("polylink-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn store(&self) -> Storage {
        Storage::open("test", &self.0.join("deli"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("deli").join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Puts and writes; true: it is on the disk.
fn put(storage: &Storage, key: &str, value: &[u8]) -> bool {
    storage.change(key, Some(value), MAX, (NOBODY, 1)).unwrap();
    storage.write_all();
    storage.usage().1 == 0
}

fn check_refused(storage: &Storage, key: &str, value: &[u8], code: i64) {
    let refusal = storage.change(key, Some(value), MAX, (NOBODY, 1)).unwrap_err();
    assert_eq!(refusal.code, code, "{}", refusal.text);
}

#[test]
fn what_was_put_is_there_after_a_restart_and_what_was_removed_is_not() {
    let place = Place::new("restart");
    let storage = place.store();
    assert!(put(&storage, "token", b"a\0b") && put(&storage, "gone", b"x") && put(&storage, "empty", b""));
    storage.change("gone", None, MAX, (NOBODY, 1)).unwrap();
    storage.change("never-there", None, MAX, (NOBODY, 1)).unwrap();
    storage.write_all();
    let again = place.store();
    assert_eq!(again.keys(), ["empty", "token"]);
    assert_eq!(again.get("token").unwrap(), b"a\0b");
    assert_eq!(again.usage(), (5 + 5 + 3, 0));
}

#[test]
fn secrets_are_readable_by_their_owner_only() {
    let place = Place::new("modes");
    assert!(put(&place.store(), "token", b"secret"));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.file("token.value")), 0o600);
    assert_eq!(mode(place.file("")), 0o700);
}

#[test]
fn a_torn_or_garbled_file_counts_as_absent_and_the_last_one_is_kept_aside() {
    let place = Place::new("torn");
    assert!(put(&place.store(), "token", b"secret") && put(&place.store(), "other", b"well"));
    let whole = fs::read(place.file("token.value")).unwrap();
    let mut garbled = whole.clone();
    garbled[9] ^= 1;
    let long = vec![0; 70_000];
    for broken in [&whole[..0], &whole[..7], &whole[..whole.len() - 1], &garbled, b"not a stored value", &long] {
        fs::write(place.file("token.value"), broken).unwrap();
        assert_eq!(place.store().keys(), ["other"]);
        assert_eq!(fs::read(place.file("~corrupt")).unwrap(), broken);
    }
    assert!(put(&place.store(), "token", b"new"));
    assert_eq!(place.store().get("token").unwrap(), b"new");
}

#[test]
fn a_value_under_another_keys_name_is_not_believed() {
    let place = Place::new("renamed");
    assert!(put(&place.store(), "a", b"x"));
    fs::rename(place.file("a.value"), place.file("b.value")).unwrap();
    assert!(place.store().keys().is_empty());
}

#[test]
fn a_value_that_cannot_be_written_stays_in_memory_and_goes_out_with_the_next_one() {
    let place = Place::new("blocked");
    fs::create_dir_all(&place.0).unwrap();
    fs::write(place.0.join("deli"), "a file where the directory should be").unwrap();
    let storage = place.store();
    assert!(!put(&storage, "first", b"1"));
    assert_eq!(storage.get("first").unwrap(), b"1");
    fs::remove_file(place.0.join("deli")).unwrap();
    assert!(put(&storage, "second", b"2"));
    assert_eq!(place.store().keys(), ["first", "second"]);
}

#[test]
fn a_value_counts_as_unsaved_until_it_is_written_also_while_more_is_tried() {
    let place = Place::new("unsaved");
    fs::create_dir_all(&place.0).unwrap();
    fs::write(place.0.join("deli"), "in the way").unwrap();
    let storage = place.store();
    assert!(!put(&storage, "a", b"1"));
    storage.change("b", Some(b"2"), MAX, (NOBODY, 1)).unwrap();
    assert_eq!(storage.usage().1, 1);
    storage.write_all();
    assert_eq!(storage.usage().1, 2);
    fs::remove_file(place.0.join("deli")).unwrap();
    assert!(put(&storage, "c", b"3"));
    assert_eq!(place.store().keys(), ["a", "b", "c"]);
}

#[test]
fn quotas_hold_and_a_refused_value_changes_nothing() {
    let place = Place::new("quota");
    let storage = place.store();
    assert!(put(&storage, "a", &[0; 900]));
    check_refused(&storage, "b", &[0; 100], HostRefusal::QUOTA);
    check_refused(&storage, "a", &[0; 1000], HostRefusal::QUOTA);
    check_refused(&storage, "a", &[0; VALUE_MAX + 1], HostRefusal::INVALID);
    for key in ["", "A", "a/b", "ä", "~new", &"x".repeat(65)] {
        check_refused(&storage, key, b"", HostRefusal::INVALID);
    }
    assert_eq!((storage.keys(), storage.usage()), (vec!["a".to_owned()], (901, 0)));
    assert!(put(&storage, "a", &[0; 999]), "a value is counted without the one it replaces");
    check_refused(&storage, "..", b"", HostRefusal::QUOTA);
    let storage = Storage::open("test", &place.0.join("keys"));
    for number in 0..KEYS_MAX {
        storage.change(&number.to_string(), Some(b""), usize::MAX, (NOBODY, 1)).unwrap();
        locked(&storage.state).n_waiters = 0;
    }
    check_refused(&storage, "one-more", b"", HostRefusal::QUOTA);
}

#[test]
fn a_slow_disk_does_not_gather_calls_without_end() {
    let storage = Place::new("slow").store();
    for number in 0..WAITERS_MAX {
        let writer = storage.change("a", Some(b"x"), MAX, (NOBODY, 1)).unwrap();
        assert_eq!(writer == Writer::Wanted, number == 0, "one writer is enough");
    }
    check_refused(&storage, "a", b"y", HostRefusal::QUOTA);
}
