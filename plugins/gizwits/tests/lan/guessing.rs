//! Who guesses passcodes.

use super::*;

const GUESSER: &str = "192.0.2.66";

/// Logs in from an address on a new connection; whether it was let in. Whoever is refused is closed too.
fn try_login(rig: &mut Rig, address: &str, passcode: &str) -> bool {
    let (stream, _) = rig.connect_from(&format!("{address}:5000"));
    let outputs = rig.say(stream, &login(passcode));
    let result = sent(&outputs, stream);
    let refused = result == [Frame::new(0x09, [1])];
    assert!(refused || result == [Frame::new(0x09, [0])], "{result:?}");
    assert_eq!(is_closed(&outputs, stream), refused);
    rig.tcp(tcp::Event::Closed(stream, failure("left")));
    !refused
}

#[test]
fn after_five_wrong_passcodes_even_the_right_one_is_refused_for_a_while_from_there_alone() {
    let mut rig = Rig::open(LanSettings::default());
    for _ in 0..5 {
        assert!(!try_login(&mut rig, GUESSER, "guess"));
    }
    assert!(!try_login(&mut rig, GUESSER, PASSCODE));
    assert_eq!(rig.lan.counters().tcp("wrong_passcode"), 5);
    assert_eq!(rig.lan.counters().tcp("locked_out"), 1);
    assert!(try_login(&mut rig, "192.0.2.7", PASSCODE));
    rig.wait(10_000);
    assert!(try_login(&mut rig, GUESSER, PASSCODE));
}

#[test]
fn four_wrong_passcodes_are_forgiven_by_a_right_one() {
    let mut rig = Rig::open(LanSettings::default());
    for _ in 0..10 {
        for _ in 0..4 {
            assert!(!try_login(&mut rig, GUESSER, "guess"));
        }
        assert!(try_login(&mut rig, GUESSER, PASSCODE));
    }
    assert_eq!(rig.lan.counters().tcp("locked_out"), 0);
}

#[test]
fn a_thousand_guesses_in_a_day_try_few_passcodes_and_keep_nobody_else_out() {
    let mut rig = Rig::open(LanSettings::default());
    for _ in 0..1000 {
        assert!(!try_login(&mut rig, GUESSER, "guess"));
        rig.wait(86_400);
        assert!(try_login(&mut rig, "[2001:db8::7]", PASSCODE));
    }
    assert!(rig.lan.counters().tcp("wrong_passcode") < 350, "{:?}", rig.lan.counters());
}

#[test]
fn a_thousand_wrong_passcodes_at_once_are_five_attempts_and_one_warning() {
    let mut rig = Rig::open(LanSettings::default());
    let mut warnings = 0;
    for _ in 0..1000 {
        let (stream, _) = rig.connect_from("192.0.2.66:5000");
        let outputs = rig.say(stream, &login("guess"));
        let is_warning =
            |output: &&LanOutput| matches!(output, LanOutput::Log(polylink_plugin_sdk::session::Level::Warn, _));
        warnings += outputs.iter().filter(is_warning).count();
        assert!(!format!("{outputs:?}").contains("guess"));
    }
    assert_eq!(warnings, 1);
    assert_eq!(rig.lan.counters().tcp("wrong_passcode"), 5);
    assert_eq!(rig.lan.counters().tcp("locked_out"), 995);
}

#[test]
fn an_address_is_the_same_in_both_of_its_forms() {
    let mut rig = Rig::open(LanSettings::default());
    for _ in 0..5 {
        try_login(&mut rig, GUESSER, "guess");
    }
    assert!(!try_login(&mut rig, "[::ffff:192.0.2.66]", PASSCODE));
}

#[test]
fn who_is_logged_in_already_stays_when_its_address_is_locked_out() {
    let mut rig = Rig::open(LanSettings::default());
    let (stream, _) = rig.connect_from("192.0.2.66:4000");
    rig.say(stream, &login(PASSCODE));
    for _ in 0..5 {
        try_login(&mut rig, GUESSER, "guess");
    }
    assert_eq!(sent(&rig.say(stream, &login(PASSCODE)), stream), [Frame::new(0x09, [0])]);
    assert_eq!(sent(&rig.say(stream, &Frame::empty(0x15)), stream), [Frame::empty(0x16)]);
}
