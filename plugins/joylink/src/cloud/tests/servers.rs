//! Which server, and when again.

use super::*;

const DAY: u64 = 24 * 3_600_000;

/// The hosts that were connected to since the last call.
fn hosts(rig: &mut Rig) -> Vec<String> {
    let host = |request| if let tcp::Request::Open { host, .. } = request { Some(host) } else { None };
    rig.take_asked().into_iter().filter_map(host).collect()
}

/// Waits for the next attempt.
fn wait(rig: &mut Rig) {
    assert_eq!(rig.cloud.phase(), Phase::Waiting);
    let due = rig.cloud.next_timeout().unwrap();
    rig.pass(due.since(rig.now.monotonic));
}

#[test]
fn servers_that_cannot_be_reached_are_followed_by_the_next_at_once_and_a_round_by_a_delay() {
    let mut rig = Rig::opened(CloudSettings::default(), &["a:1", "b:2", "c:3"]);
    for _ in 0..3 {
        rig.closed("no route");
    }
    assert_eq!(hosts(&mut rig), ["a", "b", "c"]);
    let lost = rig.take_lost();
    assert_eq!(lost[..2], ["a:1: no route; trying the next server", "b:2: no route; trying the next server"]);
    assert!(lost[2].starts_with("c:3: no route; trying again in "), "{lost:?}");
    wait(&mut rig);
    assert_eq!(hosts(&mut rig), ["a"], "a round begins anew");
}

#[test]
fn the_server_that_worked_is_the_first_of_the_next_round_only() {
    let mut rig = Rig::opened(CloudSettings::default(), &["a:1", "b:2", "c:3"]);
    rig.closed("no route");
    rig.tcp(tcp::Event::Opened(rig.stream()));
    rig.receive(&answer());
    assert_eq!(rig.cloud.server(), Some(&Server { host: "b".into(), port: 2 }));
    rig.closed("reset");
    hosts(&mut rig);
    wait(&mut rig);
    for _ in 0..3 {
        rig.closed("no route");
    }
    assert_eq!(hosts(&mut rig), ["b", "a", "c"]);
    wait(&mut rig);
    assert_eq!(hosts(&mut rig), ["a"]);
}

#[test]
fn a_server_that_does_not_accept_the_device_is_followed_by_the_next_after_a_delay() {
    let mut rig = Rig::opened(CloudSettings::default(), &["a:1", "b:2"]);
    rig.tcp(tcp::Event::Opened(rig.stream()));
    rig.closed("closed by the peer");
    assert_eq!(hosts(&mut rig), ["a"]);
    wait(&mut rig);
    assert_eq!(hosts(&mut rig), ["b"]);
    rig.tcp(tcp::Event::Opened(rig.stream()));
    rig.pass(AUTH_TIMEOUT_MS);
    hosts(&mut rig);
    wait(&mut rig);
    assert_eq!(hosts(&mut rig), ["a"]);
}

#[test]
fn an_account_without_a_server_is_no_account() {
    let mut rig = Rig::opened(CloudSettings::default(), &[]);
    assert_eq!(rig.take_said(), [CloudOutput::Lost("the account names no server of the cloud".into())]);
    assert_eq!((rig.cloud.phase(), rig.cloud.next_timeout(), rig.take_asked()), (Phase::Unbound, None, vec![]));
}

#[test]
fn a_network_that_was_joined_ends_the_delay_and_nothing_else() {
    let mut rig = Rig::opened(CloudSettings::default(), &["a:1"]);
    rig.closed("no route");
    hosts(&mut rig);
    rig.act(Cloud::network_up);
    assert_eq!(hosts(&mut rig), ["a"]);
    rig.act(Cloud::network_up);
    rig.tcp(tcp::Event::Opened(rig.stream()));
    rig.act(Cloud::network_up);
    rig.receive(&answer());
    rig.act(Cloud::network_up);
    assert_eq!((hosts(&mut rig), rig.cloud.phase()), (vec![], Phase::Working));
}

/// The delays between the attempts of a day on which `fail` ends each of them.
fn delays(fail: impl Fn(&mut Rig)) -> Vec<u64> {
    let mut rig = Rig::opened(CloudSettings::default(), &["a:1"]);
    let mut delays = Vec::new();
    while rig.now.monotonic < Timestamp(DAY) {
        fail(&mut rig);
        delays.push(rig.cloud.next_timeout().unwrap().since(rig.now.monotonic));
        wait(&mut rig);
    }
    delays
}

#[track_caller]
fn check_delays(delays: &[u64]) {
    for (at, delay) in delays.iter().enumerate() {
        let middle = (2_000_u64 << at.min(5)).min(60_000);
        let bounds = middle * 8 / 10..=(middle * 12 / 10).min(60_000);
        assert!(bounds.contains(delay), "delay {at} is {delay} ms");
    }
    assert!(delays.len() > 1_000, "{}", delays.len());
    assert!(delays[10..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter");
}

#[test]
fn on_a_day_of_failures_the_delays_double_from_2_to_60_seconds_and_stay_there() {
    check_delays(&delays(|rig| rig.closed("no route")));
    check_delays(&delays(|rig| {
        rig.tcp(tcp::Event::Opened(rig.stream()));
        rig.closed("closed by the peer");
    }));
}

#[test]
fn connections_that_break_at_once_do_not_start_the_delays_over_and_one_that_held_does() {
    let works_for = |ms| {
        delays(move |rig| {
            rig.tcp(tcp::Event::Opened(rig.stream()));
            rig.receive(&answer());
            rig.pass(ms);
            rig.closed("reset");
        })
    };
    check_delays(&works_for(10_000));
    assert!(works_for(60_000).iter().all(|delay| *delay <= 2_400));
}
