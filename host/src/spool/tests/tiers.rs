//! Which tier is used when, and what survives an ordinary restart.

use super::*;

#[test]
fn flash_never_sees_what_the_clouds_take_in_time() {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::start(&memory, &flash);
    for n in 0..5000 {
        host.say(&[(COUNT, n), (LEVEL, n)]);
        host.wait(20);
        (0..2).for_each(|cloud| drop(host.keep_up(cloud)));
    }
    host.wait(60_000);
    assert_eq!((flash.n_operations(), host.tier()), (0, "memory"));
    assert_eq!(n_segments(&memory), 1, "what is settled is removed");
    assert_eq!(host.spool.next_timeout(&host.bus), None, "a host at rest is not woken");
}

#[test]
fn a_killed_host_goes_on_with_what_was_not_settled_and_with_new_numbers() {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::start(&memory, &flash);
    (0..10).for_each(|n| host.say(&[(COUNT, n)]));
    let given = host.keep_up(0);
    host.say(&[(COUNT, 10)]);
    drop(host);
    let mut host = Host::start(&memory, &flash);
    assert_eq!(values(&host.take(0), COUNT), [10]);
    host.say(&[(COUNT, 11)]);
    let all = host.take(1);
    assert_eq!(values(&all, COUNT), (0..=11).collect::<Vec<_>>());
    assert!(all[11].0 > given[9].0 + 1 && all.is_sorted_by_key(|(seq, _)| *seq));
    assert_eq!((host.spool.usage().restored, host.spool.usage().dropped), (11, 0));
}

#[test]
fn a_cloud_that_is_behind_brings_the_journal_to_flash_until_it_has_caught_up() {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::start(&memory, &flash);
    for n in 0..100 {
        host.say(&[(COUNT, n)]);
        host.keep_up(0);
        host.wait(100);
    }
    assert_eq!(host.tier(), "flash");
    host.wait(10_000);
    // The power goes: memory is gone.
    let memory = Simulated::new();
    let mut host = Host::start(&memory, &flash);
    assert_eq!(host.tier(), "flash");
    assert_eq!(host.keep_up(0), Given::new(), "what a cloud has settled does not come again");
    assert_eq!(values(&host.keep_up(1), COUNT), (0..100).collect::<Vec<_>>());
    host.wait(10_000);
    assert_eq!((host.tier(), n_segments(&flash)), ("memory", 0));
}

#[test]
fn an_alarm_is_on_flash_at_once_while_values_wait_for_the_interval() {
    let flash = Simulated::new();
    let mut host = Host::start(&Simulated::new(), &flash);
    host.say(&[(COUNT, 0)]);
    host.wait(6000);
    assert_eq!(host.tier(), "flash");
    let after = |host: &mut Host, said: (u32, i64)| {
        host.say(&[said]);
        host.tick();
        values(
            &Host::start(
                &Simulated::new(),
                &Simulated::with_files(host.flash.files().iter().map(|(a, b)| (a.as_str(), b.clone()))),
            )
            .take(0),
            said.0,
        )
    };
    assert_eq!(after(&mut host, (COUNT, 1)), [0]);
    assert_eq!(after(&mut host, (SMOKE, 7)), [7]);
    let syncs = host.spool.usage().flash_syncs;
    (2..50).for_each(|n| host.say(&[(COUNT, n)]));
    host.wait(5000);
    assert_eq!(host.spool.usage().flash_syncs, syncs + 1, "values go together");
}

#[test]
fn an_orderly_end_brings_to_flash_what_waits_and_leaves_nothing_else() {
    for waits in [true, false] {
        let (memory, flash) = (Simulated::new(), Simulated::new());
        let mut host = Host::start(&memory, &flash);
        host.say(&[(COUNT, 1)]);
        host.keep_up(0);
        if !waits {
            host.keep_up(1);
        }
        host.stop();
        assert_eq!(n_segments(&flash) > 0, waits);
        if !waits {
            assert_eq!(n_segments(&memory), 0);
        }
        let mut host = Host::start(&Simulated::new(), &flash);
        assert_eq!(host.take(0), Given::new());
        assert_eq!(values(&host.take(1), COUNT).len(), usize::from(waits));
    }
}

#[test]
fn a_stale_value_is_not_delivered_after_a_newer_one_was_settled() {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::start(&memory, &flash);
    host.say(&[(LEVEL, 1), (COUNT, 1)]);
    host.say(&[(LEVEL, 2)]);
    let given = host.take(0);
    host.settle(0, &[given[1].0]);
    host.wait(2000);
    // The newer report is gone from the log when its segment is.
    (0..3000).for_each(|n| {
        host.say(&[(MODE, n)]);
        let given = host.take(0);
        host.settle(0, &given.iter().map(|(seq, _)| *seq).filter(|seq| *seq > 2).collect::<Vec<_>>());
        host.keep_up(1);
    });
    drop(host);
    let mut host = Host::start(&memory, &flash);
    let given = host.take(0);
    assert_eq!((values(&given, LEVEL), values(&given, COUNT)), (vec![], vec![1]));
}

#[test]
fn clouds_are_known_by_name() {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::with(SETTINGS, product(), &["a", "b"], &memory, &flash);
    (0..3).for_each(|n| host.say(&[(COUNT, n)]));
    host.keep_up(0);
    host.wait(2000);
    drop(host);
    let mut host = Host::with(SETTINGS, product(), &["c", "a"], &memory, &flash);
    assert_eq!((host.take(0).len(), host.take(1).len(), host.spool.usage().dropped), (0, 0, 3));
    drop(host);
    let mut host = Host::with(SETTINGS, product(), &["a", "b"], &memory, &flash);
    assert_eq!((host.take(1).len(), host.spool.usage().dropped), (0, 0), "what was dropped stays dropped");
}

#[test]
fn the_journal_of_another_product_is_set_aside() {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::start(&memory, &flash);
    (0..3).for_each(|n| host.say(&[(COUNT, n)]));
    host.stop();
    drop(host);
    let other = || Product { key: "other".into(), ..product() };
    let mut host = Host::with(SETTINGS, other(), &CLOUDS, &Simulated::new(), &flash);
    assert_eq!((host.take(0).len(), host.spool.usage().dropped), (0, 6));
    host.say(&[(COUNT, 7)]);
    host.wait(10_000);
    assert!(flash.files().keys().any(|name| name.starts_with('~')));
    let mut host = Host::with(SETTINGS, other(), &CLOUDS, &Simulated::new(), &flash);
    assert_eq!(values(&host.take(0), COUNT), [7]);
}

#[test]
fn losses_are_remembered() {
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let mut host = Host::start(&memory, &flash);
    (0..10_003).for_each(|n| host.say(&[(COUNT, n)]));
    let cloud = host.bus.declare("a");
    let losses = host.bus.cloud_usage(cloud).losses;
    assert_eq!(losses.history, 3);
    drop(host);
    let host = Host::start(&memory, &flash);
    assert_eq!(host.bus.cloud_usage(cloud).losses, losses);
}

#[test]
fn what_is_too_old_is_given_up_and_counted_however_the_clock_jumps() {
    let settings = SpoolSettings { max_age_ms: 60_000, ..SETTINGS };
    let (memory, flash) = (Simulated::new(), Simulated::new());
    let start = || Host::with(settings, product(), &CLOUDS, &memory, &flash);
    let mut host = start();
    host.say(&[(COUNT, 1)]);
    host.wait(40_000);
    host.say(&[(COUNT, 2)]);
    host.wait(10_000);
    drop(host);
    // Each process has a monotonic clock of its own, and the wall clock of this one is always the same.
    let mut host = start();
    host.wait(5000);
    assert_eq!(values(&host.take(0), COUNT), [1, 2]);
    host.wait(20_000);
    drop(host);
    let mut host = start();
    assert_eq!(values(&host.take(0), COUNT), [2]);
    let cloud = host.bus.declare("b");
    assert_eq!(host.bus.cloud_usage(cloud).losses.history, 1);
}
