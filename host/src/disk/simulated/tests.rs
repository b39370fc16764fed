//! The simulated disk does what it says, or what is proved with it proves nothing.

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::*;

/// The states that power cuts leave, each as `name=content` joined by spaces, bytes as text.
fn states(disk: &Simulated) -> BTreeSet<String> {
    disk.power_cuts().into_iter().map(|cut| shown(&disk.after(cut))).collect()
}

fn shown(disk: &Simulated) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', "0").replace(['\u{fffd}'], "?");
    disk.files().iter().map(|(name, bytes)| format!("{name}={}", text(bytes))).collect::<Vec<_>>().join(" ")
}

fn check(disk: &Simulated, expected: &[&str]) {
    assert_eq!(states(disk), expected.iter().map(|&state| state.to_owned()).collect());
}

fn put(disk: &Simulated, name: &str, bytes: &[u8], sync: bool) {
    let mut file = disk.create(name).unwrap();
    file.write(bytes).unwrap();
    if sync {
        file.sync_data().unwrap();
    }
}

#[test]
fn what_was_not_synced_is_there_or_lost_or_torn() {
    let disk = Simulated::new();
    put(&disk, "a", b"abcd", false);
    check(&disk, &["", "a=", "a=abcd", "a=ab", "a=0000", "a=ab00", "a=00cd", "a=????"]);
}

#[test]
fn a_name_lasts_only_with_its_directory_and_data_only_with_its_file() {
    let disk = Simulated::new();
    put(&disk, "a", b"a", true);
    disk.sync_directory().unwrap();
    let from = disk.n_operations();
    put(&disk, "b", b"b", true);
    disk.rename("b", "a").unwrap();
    let at = |operations, names| Cut { operations, names, newest: Fate::Lost, others: Fate::Lost };
    let shown = |operations, names| shown(&disk.after(at(operations, names)));
    assert_eq!(shown(from, 0), "a=a");
    assert_eq!(
        (shown(from + 4, 0), shown(from + 4, 1), shown(from + 4, 2)),
        ("a=a".into(), "a=a b=b".into(), "a=b".into())
    );
    disk.sync_directory().unwrap();
    assert_eq!(super::tests::shown(&disk.after(at(from + 5, 0))), "a=b");
}

#[test]
fn an_unsynced_rename_over_a_file_may_leave_an_empty_one() {
    let disk = Simulated::with_files([("a", b"old".to_vec())]);
    put(&disk, "b", b"new", false);
    disk.rename("b", "a").unwrap();
    assert!(states(&disk).contains("a="), "which is what syncing before renaming is for");
}

#[test]
fn an_emptied_file_may_be_the_old_one() {
    let disk = Simulated::with_files([("a", b"old".to_vec())]);
    drop(disk.create("a").unwrap());
    check(&disk, &["a=old", "a="]);
}

#[test]
fn killing_the_process_loses_nothing_that_was_done() {
    let disk = Simulated::new();
    put(&disk, "a", b"ab", false);
    disk.rename("a", "b").unwrap();
    let states: Vec<String> = disk.kills().into_iter().map(|cut| shown(&disk.after(cut))).collect();
    let each_whole: Vec<&String> = states.iter().step_by(2).collect();
    assert_eq!(each_whole, ["", "a=", "a=ab", "b=ab"]);
    assert_eq!(states[5], "a=a", "it may be killed in the middle of a write");
}

#[test]
fn errors_come_on_demand() {
    let disk = Simulated::new();
    put(&disk, "a", b"ab", false);
    disk.fail(Call::Sync, Errno::IO, 1, 1);
    let codes = [(); 3].map(|()| disk.sync_directory().err().and_then(|error| error.raw_os_error()));
    assert_eq!(codes, [None, Some(Errno::IO.raw_os_error()), None]);
    disk.fail(Call::Change, Errno::ROFS, 0, usize::MAX);
    assert!(disk.create("b").is_err() && disk.remove("a").is_err() && disk.rename("a", "b").is_err());
    disk.heal();
    disk.limit(Some(3));
    let mut file = disk.append("a").unwrap();
    assert_eq!(file.write(b"cd").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!((disk.read("a", 9).unwrap(), disk.space().unwrap().free), (b"abc".to_vec(), 0));
    disk.spoil("a", 1..2);
    let mut buffer = [0; 1];
    assert!(disk.read_at("a", 0, &mut buffer).is_ok() && disk.read_at("a", 1, &mut buffer).is_err());
}
