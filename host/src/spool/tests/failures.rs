//! Disks that fail, fill up, or hold what nobody wrote.

use proptest::prelude::*;
use rustix::io::Errno;

use super::*;
use crate::disk::simulated::Call;

/// A host goes through an outage of cloud b while a disk fails so; afterwards nothing is lost, in this process and, once the
/// disk is well and was tried again, in the next one.
fn survives(fail: impl Fn(&Simulated, &Simulated), heal: impl Fn(&Simulated, &Simulated)) {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::start(&memory, &flash);
    host.say(&[(COUNT, 0)]);
    host.keep_up(0);
    fail(&memory, &flash);
    for n in 1..40 {
        host.say(&[(COUNT, n)]);
        host.wait(500);
        host.keep_up(0);
    }
    assert!(host.spool.usage().errors > 0, "nothing failed");
    heal(&memory, &flash);
    host.wait(2 * RETRY_MS);
    host.say(&[(COUNT, 40)]);
    assert_eq!(host.tier(), "flash");
    host.wait(10_000);
    for memory in [memory, Simulated::new()] {
        let mut next = Host::start(&memory, &flash);
        assert_eq!(values(&next.take(1), COUNT), (0..=40).collect::<Vec<_>>());
        assert!(next.take(0).len() <= 1);
    }
    assert_eq!(values(&host.take(1), COUNT), (0..=40).collect::<Vec<_>>());
}

#[test]
fn a_flash_that_fails_is_left_alone_and_tried_again() {
    for (call, errno) in [(Call::Write, Errno::NOSPC), (Call::Sync, Errno::IO), (Call::Change, Errno::ROFS)] {
        for after in [0, 1, 2] {
            survives(|_, flash| flash.fail(call, errno, after, usize::MAX), |_, flash| flash.heal());
        }
    }
}

#[test]
fn a_full_flash_gets_its_room_back_and_is_tried_again() {
    survives(
        |_, flash| flash.limit(Some(256 * 1024 + 300)),
        |_, flash| {
            assert!(flash.files().values().map(Vec::len).sum::<usize>() < 50_000);
            flash.limit(None);
        },
    );
}

#[test]
fn memory_that_fails_is_tried_again_while_flash_goes_on() {
    survives(|memory, _| memory.fail(Call::Write, Errno::NOSPC, 3, usize::MAX), |memory, _| memory.heal());
    survives(
        |memory, flash| {
            memory.fail(Call::Change, Errno::ROFS, 0, usize::MAX);
            flash.fail(Call::Change, Errno::ROFS, 0, usize::MAX);
        },
        |memory, flash| {
            memory.heal();
            flash.heal();
        },
    );
}

#[test]
fn without_flash_a_killed_host_still_finds_everything() {
    let settings = SpoolSettings { flash: false, ..SETTINGS };
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::with(settings, product(), &CLOUDS, &memory, &flash);
    (0..3000).for_each(|n| {
        host.say(&[(COUNT, n)]);
        host.wait(10);
    });
    host.stop();
    assert_eq!(flash.n_operations(), 0);
    let mut host = Host::with(settings, product(), &CLOUDS, &memory, &flash);
    assert_eq!(host.keep_up(1).len(), 3000);
}

#[test]
fn what_lay_on_flash_moves_to_memory_when_flash_is_switched_off() {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::start(&memory, &flash);
    host.say(&[(COUNT, 1)]);
    host.stop();
    let memory = Simulated::new();
    let mut host = Host::with(SpoolSettings { flash: false, ..SETTINGS }, product(), &CLOUDS, &memory, &flash);
    host.wait(10_000);
    assert_eq!((n_segments(&flash), host.tier()), (0, "memory"));
    assert_eq!(values(&host.take(0), COUNT), [1]);
}

#[test]
fn a_bad_sector_costs_what_it_held() {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::start(&memory, &flash);
    (0..500).for_each(|n| host.say(&[(COUNT, n)]));
    let name = memory.files().into_keys().next().unwrap_or_default();
    memory.spoil(&name, 5000..5001);
    let mut host = Host::start(&memory, &flash);
    let left = values(&host.keep_up(0), COUNT);
    assert!((250..500).contains(&left.len()) && left.is_sorted() && left.ends_with(&[499]), "{} are left", left.len());
    assert_eq!(host.spool.usage().broken, 1);
}

#[test]
fn a_flash_that_is_too_small_for_what_was_written_holds_what_is_needed() {
    let settings = SpoolSettings { flash_max_bytes: 60_000, segment_bytes: 2000, ..SETTINGS };
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::with(settings, product(), &CLOUDS, &memory, &flash);
    host.say(&[(COUNT, 0)]);
    let mut most = 0;
    for n in 1..5000 {
        // One value in fifty matters for ever; the others replace each other.
        host.say(&[if n % 50 == 0 { (COUNT, n) } else { (LEVEL, n) }]);
        host.wait(100);
        most = most.max(flash.files().values().map(Vec::len).sum::<usize>());
    }
    assert!(most < 60_000, "{most} bytes were on flash");
    let usage = host.spool.usage();
    let written = usage.flash_written as f64 / usage.report_bytes as f64;
    assert!(written < 4.0, "{written} bytes were written for each byte of a report");
    let mut host = Host::with(settings, product(), &CLOUDS, &Simulated::new(), &flash);
    assert_eq!(values(&host.take(1), COUNT).len(), 100);
}

#[test]
fn a_writer_that_is_slower_than_the_reports_is_given_up_for_a_while() {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::start(&memory, &flash);
    host.say(&[(COUNT, 0)]);
    host.wait(6000);
    assert_eq!(host.tier(), "flash");
    // A job goes out and does not come back.
    host.say(&[(SMOKE, 1)]);
    let job = host.spool.tick(&mut host.bus, Timestamp(host.now)).unwrap_or_default();
    let mut n = 0;
    while host.tier() == "flash" && n < 100_000 {
        n += 1;
        host.say(&[(COUNT, n), (LEVEL, i64::MAX - n), (SMOKE, i64::MAX - n), (MODE, i64::MAX - n)]);
    }
    assert_eq!((host.tier(), host.spool.usage().errors), ("memory", 1));
    let done = job.carry_out(&flash);
    host.spool.done(done, Timestamp(host.now));
    let mut next = Host::start(&memory, &flash);
    assert_eq!(values(&next.keep_up(0), COUNT).last(), Some(&n));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_files_can_keep_a_host_from_starting(
        files in prop::collection::vec((0u64..6, any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 0..5),
        flips in prop::collection::vec((0usize..3000, any::<u8>()), 0..20),
    ) {
        let (memory, flash) = (Simulated::new(), Simulated::new());
        let mut host = Host::start(&memory, &flash);
        (0..30).for_each(|n| host.say(&[(COUNT, n), (LEVEL, n)]));
        host.stop();
        let spoil = |disk: &Simulated, on_flash: bool| {
            let mut left = disk.files();
            for bytes in left.values_mut() {
                for (at, byte) in &flips {
                    if let Some(found) = bytes.get_mut(*at) {
                        *found = *byte;
                    }
                }
            }
            for (number, of_flash, bytes) in &files {
                if *of_flash == on_flash {
                    left.insert(recover::name(*number), bytes.clone());
                }
            }
            Simulated::with_files(left.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())))
        };
        let (memory, flash) = (spoil(&memory, false), spoil(&flash, true));
        let mut host = Host::start(&memory, &flash);
        host.say(&[(COUNT, 1_000_000)]);
        host.wait(20_000);
        prop_assert!(values(&host.take(0), COUNT).contains(&1_000_000));
        let mut next = Host::start(&memory, &flash);
        prop_assert!(values(&next.take(1), COUNT).contains(&1_000_000));
    }
}
