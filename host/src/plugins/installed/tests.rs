//! Plugins that come, stay and go, and the power going at every step.

use std::io::Cursor;

use super::state::Source;
use super::*;
use crate::disk::simulated::{Call, Simulated};
use crate::update::manifest::Version;
use crate::update::slots::tests::{facts, verified};

/// The file that the plugins of these tests were made with.
const BUILT_IN: Option<[u8; 32]> = Some([7; 32]);

fn open(disk: &Simulated) -> Installed {
    Installed::open(Arc::new(disk.clone())).expect("readable")
}

fn release(content: &[u8], counter: u64) -> Release {
    let version = Version::parse(&format!("1.{counter}")).expect("a version");
    Release { facts: facts(content), version, counter: Some(counter) }
}

fn trial(content: &[u8], counter: u64) -> Trial {
    Trial { release: release(content, counter), tries: 3, must_be_online: true }
}

/// Puts a file on trial in a running host.
fn install(installed: &mut Installed, content: &[u8], counter: u64) -> Result<(), InstallError> {
    installed.stage(&verified(content), &mut Cursor::new(content), 0)?;
    installed.try_out("deli", BUILT_IN, trial(content, counter), true)
}

/// The content that a start of the host would load for `deli`; none: the built-in file.
fn loads(installed: &mut Installed, disk: &Simulated) -> Option<Vec<u8>> {
    let chosen = installed.choose("deli", BUILT_IN)?;
    disk.files().get(&file_name(&chosen.release.facts)).cloned()
}

/// A host starts so often, and finds each time what is expected.
#[track_caller]
fn check(disk: &Simulated, starts: &[Option<&[u8]>]) {
    for (at, expected) in starts.iter().enumerate() {
        assert_eq!(loads(&mut open(disk), disk).as_deref(), *expected, "start {at}");
    }
}

#[test]
fn a_file_is_tried_so_often_and_confirmed_or_given_up() {
    let disk = Simulated::new();
    install(&mut open(&disk), b"one", 1).expect("fits");
    check(&disk, &[Some(b"one"), Some(b"one"), None, None]);
    assert!(open(&disk).entry("deli").expect("remembered").failed);
    let mut host = open(&disk);
    install(&mut host, b"one", 1).expect("fits");
    host.confirm("deli").expect("on trial");
    check(&disk, &[Some(&b"one"[..]); 9]);
    assert_eq!(open(&disk).floor("deli"), 1);
    install(&mut open(&disk), b"two", 2).expect("fits");
    check(&disk, &[Some(b"two"), Some(b"two"), Some(b"one")]);
    assert_eq!(open(&disk).floor("deli"), 1, "what was not confirmed leaves no counter");
}

#[test]
fn a_process_that_loads_a_product_again_takes_no_further_try() {
    let disk = Simulated::new();
    install(&mut open(&disk), b"one", 1).expect("fits");
    let mut host = open(&disk);
    for _ in 0..9 {
        assert_eq!(loads(&mut host, &disk).as_deref(), Some(&b"one"[..]));
    }
    check(&disk, &[Some(b"one"), None]);
}

#[test]
fn one_goes_back_to_the_former_file_and_forward_again() {
    let disk = Simulated::new();
    let mut host = open(&disk);
    assert!(matches!(host.roll_back("deli"), Err(InstallError::NoFormer)));
    install(&mut host, b"one", 1).expect("fits");
    assert!(matches!(install(&mut host, b"two", 2), Err(InstallError::OnTrial)));
    host.roll_back("deli").expect("on trial");
    check(&disk, &[None]);
    assert!(disk.files().keys().all(|name| !name.ends_with(SUFFIX)), "nobody needs it any more");
    for content in [&b"one"[..], b"two"] {
        install(&mut host, content, 1).expect("fits");
        host.confirm("deli").expect("on trial");
    }
    for expected in [&b"one"[..], b"two", b"one"] {
        host.roll_back("deli").expect("there is a former one");
        check(&disk, &[Some(expected)]);
    }
}

#[test]
fn a_file_that_was_damaged_is_as_new_when_it_comes_again() {
    let disk = Simulated::new();
    let mut host = open(&disk);
    install(&mut host, b"one", 1).expect("fits");
    host.confirm("deli").expect("on trial");
    disk.create(&file_name(&facts(b"one"))).expect("writable").write(b"ona").expect("writable");
    check(&disk, &[None]);
    host.stage(&verified(b"one"), &mut Cursor::new(b"one"), 0).expect("fits");
    check(&disk, &[Some(b"one")]);
    install(&mut host, b"one", 1).expect("fits");
    host.step_back("deli").expect("on trial");
    check(&disk, &[Some(b"one")]);
}

#[test]
fn where_the_built_in_file_is_another_one_it_counts() {
    let disk = Simulated::new();
    let mut host = open(&disk);
    install(&mut host, b"one", 5).expect("fits");
    host.confirm("deli").expect("on trial");
    assert_eq!(host.choose("deli", Some([8; 32])), None);
    assert_eq!(host.choose("deli", None), None);
    // The release before runs again: so does what went with it.
    check(&disk, &[Some(b"one")]);
    host.stage(&verified(b"two"), &mut Cursor::new(b"two"), 0).expect("fits");
    host.try_out("deli", Some([8; 32]), trial(b"two", 6), true).expect("fits");
    let entry = host.entry("deli").expect("remembered");
    assert_eq!((&entry.good, &entry.former, entry.floor), (&Source::BuiltIn, &None, 5));
}

#[test]
fn what_is_damaged_is_not_loaded() {
    let disk = Simulated::new();
    let mut host = open(&disk);
    install(&mut host, b"one", 1).expect("fits");
    host.confirm("deli").expect("on trial");
    install(&mut host, b"two", 2).expect("fits");
    let flip = |content: &[u8]| {
        let files = disk.files().into_iter().map(|(name, bytes)| {
            let bytes = if bytes == content { b"???".to_vec() } else { bytes };
            (name, bytes)
        });
        let files: Vec<_> = files.collect();
        Simulated::with_files(files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())))
    };
    check(&flip(b"two"), &[Some(b"one")]);
    let both = flip(b"two").files();
    let record = both.get(RECORD).expect("a record").clone();
    let good_too = Simulated::with_files([(RECORD, record)]);
    check(&good_too, &[None]);
    let damaged = Simulated::with_files([(RECORD, b"polylink-plugins 1\ncrc 00000000\n".to_vec()), ("x.so", vec![1])]);
    check(&damaged, &[None]);
    let refused = install(&mut open(&damaged), b"one", 1).expect_err("nobody knows the counters");
    assert!(refused.to_string().contains("is damaged; remove it"), "{refused}");
    assert!(damaged.files().contains_key("x.so"), "the record might have spoken of it");
}

#[test]
fn a_file_that_changes_on_its_way_is_refused_and_leaves_nothing() {
    let disk = Simulated::new();
    let host = open(&disk);
    for other in [&b"onE"[..], b"on", b"one and more"] {
        let staged = host.stage(&verified(b"one"), &mut Cursor::new(other), 0);
        assert_eq!(staged.is_ok(), other.starts_with(b"one"), "{staged:?}");
        host.unstage();
        assert_eq!(disk.files().len(), 0);
    }
}

#[test]
fn a_full_disk_and_a_failing_one_leave_what_is_good() {
    use rustix::io::Errno;
    let disk = Simulated::new();
    let mut host = open(&disk);
    install(&mut host, b"one", 1).expect("fits");
    host.confirm("deli").expect("on trial");
    let n = disk.n_operations();
    disk.limit(Some(600));
    assert!(install(&mut host, &[2; 1000], 2).is_err());
    disk.limit(None);
    check(&disk, &[Some(b"one")]);
    let whole = {
        install(&mut host, b"two", 2).expect("fits");
        disk.n_operations() - n
    };
    host.step_back("deli").expect("on trial");
    for call in [Call::Write, Call::Sync, Call::Name] {
        for after in 0..whole {
            disk.fail(call, Errno::IO, after, 1);
            let done = install(&mut host, b"two", 2);
            disk.heal();
            check(&disk, &[if done.is_ok() { Some(b"two") } else { Some(b"one") }]);
            host = open(&disk);
            if done.is_ok() {
                host.step_back("deli").expect("on trial");
            }
        }
    }
}

#[test]
fn a_start_that_cannot_be_counted_is_no_try() {
    use rustix::io::Errno;
    let disk = Simulated::new();
    install(&mut open(&disk), b"one", 1).expect("fits");
    let mut host = open(&disk);
    disk.fail(Call::Change, Errno::ROFS, 0, usize::MAX);
    assert_eq!(loads(&mut host, &disk), None);
    disk.heal();
    check(&disk, &[Some(b"one"), Some(b"one"), None]);
}

#[test]
fn names_that_do_not_fit_into_a_line_are_refused_and_the_record_is_bounded() {
    let disk = Simulated::new();
    let mut host = open(&disk);
    host.stage(&verified(b"one"), &mut Cursor::new(b"one"), 0).expect("fits");
    for name in ["", "two words", "line\n", "größer", &"x".repeat(65)] {
        let refused = host.try_out(name, None, trial(b"one", 1), true);
        assert!(matches!(refused, Err(InstallError::Name(_))), "{name:?}");
    }
    for n in 0..PLUGINS_MAX {
        host.try_out(&format!("{:x<64}", n), None, trial(b"one", u64::MAX), true).expect("room");
    }
    assert!(matches!(host.try_out("more", None, trial(b"one", 1), true), Err(InstallError::TooMany)));
    assert_eq!(open(&disk).state(), host.state());
}

/// The power goes at every moment of this: what is found then is what was there before a step or after it, every file that
/// is spoken of is whole, and a host that starts again and again ends with what is good.
#[test]
fn the_power_may_go_at_every_step() {
    let disk = Simulated::new();
    let mut host = open(&disk);
    let mut moments = vec![(0, host.state().clone())];
    let restart = |host: &mut Installed| {
        host.counted.clear();
        host.choose("deli", BUILT_IN);
    };
    let steps: [&dyn Fn(&mut Installed); 13] = [
        &|host| install(host, b"one", 1).expect("fits"),
        &restart,
        &|host| host.confirm("deli").expect("on trial"),
        &|host| install(host, b"two", 2).expect("fits"),
        &|host| host.step_back("deli").expect("on trial"),
        &|host| install(host, b"three", 3).expect("fits"),
        &restart,
        &restart,
        // It was not confirmed in three tries.
        &restart,
        &|host| install(host, b"three", 3).expect("fits"),
        &|host| host.confirm("deli").expect("on trial"),
        &|host| host.roll_back("deli").expect("there is a former one"),
        &|host| install(host, b"three", 3).expect("fits"),
    ];
    for step in steps {
        step(&mut host);
        moments.push((disk.n_operations(), host.state().clone()));
    }
    let cuts = disk.power_cuts();
    assert!(cuts.len() > 200, "{}", cuts.len());
    for cut in cuts {
        let left = disk.after(cut);
        let mut found = open(&left);
        assert!(!found.damaged, "{cut:?}");
        let after = moments.iter().position(|(n, _)| *n >= cut.operations).expect("the last one is the end");
        let around = &moments[after.saturating_sub(1)..=after];
        assert!(around.iter().any(|(_, state)| state == found.state()), "{cut:?}: {:?}", found.state());
        for release in found.state().0.values().flat_map(Entry::releases) {
            assert!(found.is_whole(&release.facts), "{cut:?}: {release:?}");
        }
        let good = found.entry("deli").and_then(|entry| entry.good.release()).map(|release| release.facts);
        let on_trial = found.entry("deli").and_then(|entry| entry.trial.as_ref());
        let tries = on_trial.map_or(0, |trial| usize::from(trial.tries));
        let trial = on_trial.map(|trial| trial.release.facts);
        for start in 0..tries + 2 {
            let expected = if start < tries { trial } else { good };
            let chosen = found.choose("deli", BUILT_IN).map(|chosen| chosen.release.facts);
            assert_eq!(chosen, expected, "{cut:?}, start {start}");
            found = open(&left);
        }
    }
}
