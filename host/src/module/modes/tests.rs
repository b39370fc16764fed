//! Modes in virtual time. Bits are shown as letters: A access point, S station, o onboarding, T production test.

use super::*;

const T0: Timestamp = Timestamp(5_000);

/// Runs a phase that the program accepts.
fn accepted(modes: &mut Modes, at: Timestamp, phase: Phase) -> Vec<Wish> {
    modes.answered(at, phase, Answer::Accepted)
}

fn in_soft_ap() -> Modes {
    let mut modes = Modes::default();
    accepted(&mut modes, T0, Phase::ConfigureSoftAp);
    modes
}

fn in_air_link() -> Modes {
    let mut modes = Modes::default();
    accepted(&mut modes, T0, Phase::ConfigureAirLink);
    modes
}

fn in_test() -> Modes {
    let mut modes = Modes::default();
    modes.test(T0);
    assert_eq!(accepted(&mut modes, T0, Phase::ProductionTest), [Wish::HoldBinding]);
    modes
}

#[track_caller]
fn check(modes: &Modes, bits: &str) {
    let ModeBits { access_point, station, onboarding, production_test } = modes.bits();
    let station = match station {
        Some(true) => "S",
        Some(false) => "-",
        None => "",
    };
    let letter = |set: bool, letter: &'static str| if set { letter } else { "" };
    let shown = [letter(access_point, "A"), station, letter(onboarding, "o"), letter(production_test, "T")].concat();
    assert_eq!(shown, bits, "{modes:?}");
}

#[test]
fn a_configuration_mode_begins_when_the_program_accepts_it() {
    let mut modes = Modes::default();
    assert_eq!(modes.configure(1), Ok(Phase::ConfigureSoftAp));
    assert_eq!(modes.answered(T0, Phase::ConfigureSoftAp, Answer::Refused), []);
    check(&modes, "");
    accepted(&mut modes, T0, Phase::ConfigureSoftAp);
    check(&modes, "Ao");
    check(&in_air_link(), "o");
}

#[test]
fn soft_ap_ends_after_ten_minutes_without_a_network() {
    let mut modes = in_soft_ap();
    assert_eq!(modes.next_timeout(), Some(T0.after(600_000)));
    assert_eq!(modes.timeout(T0.after(599_999)), []);
    assert_eq!(modes.timeout(T0.after(600_000)), [Phase::ConfigureEnd]);
    check(&modes, "");
    assert_eq!(modes.next_timeout(), None);
}

#[test]
fn air_link_ends_after_a_minute() {
    let mut modes = in_air_link();
    assert_eq!(modes.timeout(T0.after(60_000)), [Phase::ConfigureEnd]);
    check(&modes, "");
}

#[test]
fn air_link_goes_back_to_the_soft_ap_that_it_interrupted() {
    let mut modes = in_soft_ap();
    accepted(&mut modes, T0.after(1000), Phase::ConfigureAirLink);
    check(&modes, "o");
    assert_eq!(modes.timeout(T0.after(61_000)), [Phase::ConfigureEnd, Phase::ConfigureSoftAp]);
    check(&modes, "Ao");
    assert_eq!(modes.next_timeout(), Some(T0.after(600_000)));
}

#[test]
fn air_link_is_refused_while_connected_and_unknown_modes_always() {
    let mut modes = Modes::default();
    assert_eq!(modes.configure(2), Ok(Phase::ConfigureAirLink));
    modes.network(true, true);
    assert_eq!(modes.configure(2), Err(ModeError::Connected));
    assert_eq!(modes.configure(1), Ok(Phase::ConfigureSoftAp));
    for mode in [0, 3, 5, 255] {
        assert_eq!(modes.configure(mode), Err(ModeError::Unknown(mode)));
    }
}

#[test]
fn an_accepted_join_closes_onboarding_and_its_network_is_told_once() {
    let mut modes = in_soft_ap();
    modes.joins();
    assert!(!modes.network(true, true), "not before the program has answered");
    accepted(&mut modes, T0, Phase::Join);
    check(&modes, "S");
    assert!(!modes.network(false, true));
    assert!(!modes.network(true, false), "nobody is there to hear it yet");
    assert!(modes.network(true, true));
    assert!(!modes.network(false, true) && !modes.network(true, true));
    check(&modes, "");
}

#[test]
fn a_refused_join_leaves_onboarding_open() {
    let mut modes = in_soft_ap();
    modes.joins();
    modes.answered(T0, Phase::Join, Answer::Refused);
    check(&modes, "Ao");
    assert!(modes.is_onboarding());
}

#[test]
fn the_time_of_a_mode_does_not_end_under_a_join() {
    let mut modes = in_soft_ap();
    modes.joins();
    assert_eq!((modes.next_timeout(), modes.timeout(T0.after(700_000))), (None, vec![]));
    modes.answered(T0.after(700_000), Phase::Join, Answer::Refused);
    assert_eq!(modes.timeout(T0.after(700_000)), [Phase::ConfigureEnd]);
}

#[test]
fn a_join_of_an_earlier_life_is_told_in_this_one() {
    let mut modes = Modes::new(true);
    check(&modes, "S");
    assert!(modes.network(true, true) && !modes.network(true, true));
    assert!(!Modes::new(false).network(true, true));
}

#[test]
fn a_network_that_comes_up_during_onboarding_was_told_by_the_products_own_means() {
    let mut modes = in_air_link();
    assert!(modes.network(true, true));
    check(&modes, "");
    let mut modes = in_soft_ap();
    assert!(modes.network(true, true));
}

#[test]
fn a_network_that_was_there_all_the_time_does_not_end_the_soft_ap() {
    let mut modes = Modes::default();
    modes.network(true, true);
    accepted(&mut modes, T0, Phase::ConfigureSoftAp);
    assert!(!modes.network(true, true));
    check(&modes, "Ao");
    assert!(!modes.network(false, true) && modes.network(true, true));
}

#[test]
fn a_new_configuration_forgets_the_join_before() {
    let mut modes = Modes::new(true);
    assert_eq!(accepted(&mut modes, T0, Phase::ConfigureSoftAp), [Wish::ForgetJoin]);
    modes.timeout(T0.after(600_000));
    assert!(!modes.network(true, true));
}

#[test]
fn test_networks_are_looked_for_every_ten_seconds_for_three_minutes() {
    let mut modes = Modes::default();
    assert_eq!(modes.test(T0), Some(Phase::ProductionTest));
    assert_eq!(modes.test(T0), None, "it looks already");
    let (mut at, mut looks) = (T0, 1);
    loop {
        modes.answered(at, Phase::ProductionTest, Answer::Refused);
        check(&modes, "");
        let Some(next) = modes.next_timeout() else { break };
        at = next;
        assert_eq!(modes.timeout(at), [Phase::ProductionTest]);
        assert_eq!(modes.next_timeout(), None, "the program looks just now");
        looks += 1;
    }
    assert_eq!((looks, at), (18, T0.after(170_000)));
}

#[test]
fn the_search_does_not_touch_the_mode_before() {
    let mut modes = in_soft_ap();
    modes.test(T0);
    modes.answered(T0, Phase::ProductionTest, Answer::Refused);
    check(&modes, "Ao");
    modes.timeout(T0.after(10_000));
    accepted(&mut modes, T0.after(10_001), Phase::ProductionTest);
    check(&modes, "ST");
}

#[test]
fn the_test_ends_as_an_access_point_that_takes_no_network() {
    assert_eq!(Modes::default().end_test(), None);
    let mut modes = in_test();
    check(&modes, "ST");
    assert_eq!(modes.end_test(), Some(Phase::ProductionTestEnd));
    modes.answered(T0, Phase::ProductionTestEnd, Answer::Refused);
    check(&modes, "ST");
    assert_eq!(accepted(&mut modes, T0, Phase::ProductionTestEnd), [Wish::ShutBinding]);
    check(&modes, "A-");
    assert!(!modes.is_onboarding());
    assert_eq!(modes.next_timeout(), None);
}

#[test]
fn a_module_without_a_network_opens_its_soft_ap() {
    let mut modes = Modes::default();
    assert_eq!(modes.answered(T0, Phase::Start, Answer::NoNetwork), [Wish::Run(Phase::ConfigureSoftAp)]);
    assert_eq!(accepted(&mut modes, T0, Phase::Start), []);
    let reset = [Wish::ForgetJoin, Wish::Run(Phase::ConfigureSoftAp)];
    assert_eq!(accepted(&mut in_test(), T0, Phase::Reset), reset);
}

#[test]
fn a_reset_ends_the_search_for_a_test_network() {
    let mut modes = Modes::default();
    modes.test(T0);
    accepted(&mut modes, T0, Phase::Reset);
    assert_eq!(accepted(&mut modes, T0, Phase::ProductionTest), []);
    check(&modes, "");
}
