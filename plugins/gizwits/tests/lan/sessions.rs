//! What an application may do on a connection, and what it is told.

use super::*;

#[test]
fn the_passcode_is_told_while_the_device_is_bindable_and_an_empty_one_otherwise() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.connect();
    let outputs = rig.say(stream, &Frame::empty(0x06));
    assert_eq!(sent(&outputs, stream), [Frame::new(0x07, *b"\0\x0aIPQRSTUVWX")]);
    rig.about.bindable = false;
    let outputs = rig.say(stream, &Frame::empty(0x06));
    assert_eq!(outputs, [LanOutput::Tcp(tcp::Request::Send(stream, b"\0\0\0\x03\x05\0\0\x07\0\0".to_vec()))]);
    assert!(!is_closed(&outputs, stream));
}

#[test]
fn who_tells_the_passcode_is_logged_in_and_may_say_so_again() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.connect();
    let outputs = rig.say(stream, &login(PASSCODE));
    assert_eq!(sent(&outputs, stream), [Frame::new(0x09, [0])]);
    assert!(outputs.contains(&LanOutput::LoggedIn(1)));
    assert!(outputs.contains(&LanOutput::StatusChanged));
    assert!(!format!("{outputs:?}").contains(PASSCODE));
    let outputs = rig.say(stream, &login(PASSCODE));
    assert_eq!(sent(&outputs, stream), [Frame::new(0x09, [0])]);
    assert_eq!(outputs.len(), 1);
}

#[test]
fn a_wrong_passcode_is_refused_and_the_connection_closed_after_the_answer() {
    for wrong in ["", "IPQRSTUVWY", "IPQRSTUVW", "IPQRSTUVWXY"] {
        let mut rig = Rig::open(LanSettings::default());
        let stream = rig.connect();
        let outputs = rig.say(stream, &login(wrong));
        let tcp: Vec<_> = outputs.iter().filter(|output| matches!(output, LanOutput::Tcp(_))).collect();
        let answer = tcp::Request::Send(stream, b"\0\0\0\x03\x04\0\0\x09\x01".to_vec());
        assert_eq!(tcp, [&LanOutput::Tcp(answer), &LanOutput::Tcp(tcp::Request::Close(stream))], "{wrong:?}");
        assert_eq!(rig.lan.counters().tcp("wrong_passcode"), 1);
        assert_eq!(rig.say(stream, &login(PASSCODE)), [], "nothing more is heard of it");
    }
}

#[test]
fn a_device_without_a_passcode_lets_nobody_in() {
    let mut rig = Rig::open(LanSettings::default());
    rig.about.passcode = Secret::new(String::new());
    let stream = rig.connect();
    assert_eq!(sent(&rig.say(stream, &Frame::empty(0x06)), stream), [Frame::new(0x07, [0, 0])]);
    let outputs = rig.say(stream, &login(""));
    assert_eq!(sent(&outputs, stream), [Frame::new(0x09, [1])]);
    assert!(is_closed(&outputs, stream));
}

#[test]
fn before_login_five_commands_are_allowed_and_any_other_cuts_the_client() {
    for command in 0..0x100 {
        let mut rig = Rig::open(LanSettings::default());
        let stream = rig.connect();
        let payload: &[u8] = if command == 0x08 { b"\0\x0aIPQRSTUVWX" } else { &[0, 1, 2, 3, 4] };
        let outputs = rig.say(stream, &Frame::new(command, payload));
        let allowed = [0x06, 0x08, 0x0C, 0x13, 0x17].contains(&command);
        assert_eq!(is_closed(&outputs, stream), !allowed, "{command:#x}");
        assert_eq!(sent(&outputs, stream).len(), usize::from(allowed), "{command:#x}");
        assert_eq!(rig.lan.counters().tcp("before_login"), u64::from(!allowed));
        assert!(!outputs.iter().any(|output| matches!(output, LanOutput::Request(..))));
    }
}

#[test]
fn small_questions_are_answered() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.client();
    let mut ask = |command: u16| sent(&rig.say(stream, &Frame::empty(command)), stream);
    assert_eq!(ask(0x15), [Frame::empty(0x16)]);
    assert_eq!(ask(0x0C), [Frame::empty(0x0D)]);
    assert_eq!(ask(0x0A), [Frame::new(0x0B, *b"\0\0\0\x03\0\x0804020006")]);
    assert_eq!(ask(0x17), [Frame::empty(0x18)]);
    let information = ask(0x13).remove(0);
    assert_eq!(information.encode()[4], 0x57, "the true length, unlike the vendor's module");
    assert_eq!(&information.payload[..40], b"000LINUX04020006000000030301010100000004");
    assert_eq!(&information.payload[40..], b"\0\0\0\0\0\0\0\0\0\0\0\x206f3074fe43894547a4f1314bd7e3ae0b");
}

#[test]
fn leaving_the_production_test_is_answered_first_and_handed_over_once() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.connect();
    let twice = [Frame::empty(0x17).encode(), Frame::empty(0x17).encode()].concat();
    let outputs = rig.tcp(tcp::Event::Received(stream, twice));
    let answer = LanOutput::Tcp(tcp::Request::Send(stream, Frame::empty(0x18).encode()));
    assert_eq!(outputs, [answer.clone(), answer, LanOutput::EndProductionTest]);
}

#[test]
fn a_command_of_newer_applications_is_ignored_after_login() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.client();
    assert_eq!(rig.say(stream, &Frame::new(0x1C, [1])), []);
    assert_eq!(rig.lan.counters().tcp("unknown_command"), 1);
}

#[test]
fn answers_go_to_who_asked_and_reports_to_all_who_are_logged_in() {
    let mut rig = Rig::open(LanSettings::default());
    let (asking, watching, stranger) = (rig.client(), rig.client(), rig.connect());
    let all = |outputs: &[LanOutput]| [asking, watching, stranger].map(|stream| sent(outputs, stream));

    let client = rig.request(asking, Some(255), &[1, 0xFF, 1, 0xFF]);
    rig.lan.answer(client, Some(255), &[]);
    assert_eq!(all(&rig.lan.take_outputs()), [vec![Frame::new(0x94, [0, 0, 0, 255])], vec![], vec![]]);

    let client = rig.request(asking, Some(1), &[2]);
    rig.lan.answer(client, Some(1), &[3, 9]);
    assert_eq!(all(&rig.lan.take_outputs()), [vec![Frame::new(0x94, [0, 0, 0, 1, 3, 9])], vec![], vec![]]);

    let client = rig.request(asking, None, &[1]);
    rig.lan.answer(client, None, &[]);
    assert_eq!(all(&rig.lan.take_outputs()), [vec![Frame::empty(0x91)], vec![], vec![]]);

    let client = rig.request(asking, None, &[2]);
    rig.lan.answer(client, None, &[3, 9]);
    assert_eq!(all(&rig.lan.take_outputs()), [vec![Frame::new(0x91, [3, 9])], vec![], vec![]]);

    rig.lan.report(&[4, 7]);
    let report = vec![Frame::new(0x91, [4, 7])];
    assert_eq!(all(&rig.lan.take_outputs()), [report.clone(), report, vec![]]);
}

#[test]
fn the_answer_for_a_client_that_left_is_dropped() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.client();
    let client = rig.request(stream, Some(1), &[2]);
    let outputs = rig.tcp(tcp::Event::Closed(stream, failure("left")));
    assert!(outputs.contains(&LanOutput::LoggedIn(0)));
    rig.lan.answer(client, Some(1), &[3]);
    rig.lan.report(&[4]);
    assert_eq!(rig.lan.take_outputs(), []);
}

#[test]
fn a_client_may_have_sixteen_requests_under_way_and_others_their_own() {
    let mut rig = Rig::open(LanSettings::default());
    let (greedy, modest) = (rig.client(), rig.client());
    let client = (0..16).map(|sn| rig.request(greedy, Some(sn), &[2])).last().unwrap();
    assert_eq!(rig.say(greedy, &P0Request { sn: None, p0: vec![2] }.frame()), []);
    assert_eq!(rig.lan.counters().tcp("too_many_requests"), 1);
    rig.request(modest, None, &[2]);
    rig.lan.forget(client);
    rig.request(greedy, None, &[2]);
    assert_eq!(rig.say(greedy, &P0Request { sn: None, p0: vec![2] }.frame()), []);
    rig.lan.answer(client, Some(0), &[]);
    rig.lan.take_outputs();
    rig.request(greedy, None, &[2]);
}

#[test]
fn a_client_that_says_nothing_for_twelve_seconds_is_cut() {
    for logged_in in [false, true] {
        let mut rig = Rig::open(LanSettings::default());
        let stream = if logged_in { rig.client() } else { rig.connect() };
        assert_eq!(rig.wait(11_999), []);
        let outputs = rig.wait(1);
        assert!(is_closed(&outputs, stream));
        assert_eq!(outputs.contains(&LanOutput::LoggedIn(0)), logged_in);
        assert_eq!(rig.lan.counters().tcp("silent"), 1);
    }
}

#[test]
fn a_client_that_beats_stays_for_a_day_and_one_frame_of_any_kind_is_a_beat() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.client();
    for _ in 0..24 * 360 {
        assert_eq!(rig.wait(10_000), []);
        rig.say(stream, &Frame::empty(0x15));
    }
    rig.wait(10_000);
    rig.request(stream, None, &[2]);
    assert_eq!(rig.wait(11_000), []);
}

#[test]
fn who_does_not_log_in_within_a_minute_is_cut_whatever_it_asks() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.connect();
    for _ in 0..5 {
        assert_eq!(rig.wait(11_000), []);
        rig.say(stream, &Frame::empty(0x06));
    }
    assert_eq!(rig.wait(4999), []);
    assert!(is_closed(&rig.wait(1), stream));
    assert_eq!(rig.lan.counters().tcp("no_login"), 1);
}

#[test]
fn eight_clients_stay_and_the_ninth_is_closed_until_one_leaves() {
    let mut rig = Rig::open(LanSettings::default());
    let eight: Vec<_> = (0..8).map(|_| rig.client()).collect();
    let (ninth, outputs) = rig.connect_from(PHONE);
    assert_eq!(outputs, [LanOutput::Tcp(tcp::Request::Close(ninth))]);
    assert_eq!(rig.lan.counters().tcp("too_many_clients"), 1);
    assert_eq!(rig.say(ninth, &login(PASSCODE)), []);
    rig.lan.report(&[4]);
    let outputs = rig.lan.take_outputs();
    assert!(eight.iter().all(|stream| sent(&outputs, *stream).len() == 1));
    rig.tcp(tcp::Event::Closed(eight[3], failure("left")));
    rig.client();
    assert_eq!(rig.lan.n_clients(), 8);
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let mut rig = Rig::open(LanSettings::default());
    let (slow, other) = (rig.client(), rig.client());
    let outputs = rig.tcp(tcp::Event::Overflow(slow, vec![0]));
    assert!(is_closed(&outputs, slow));
    assert!(outputs.contains(&LanOutput::LoggedIn(1)));
    assert_eq!(rig.lan.counters().tcp("slow"), 1);
    assert_eq!(rig.tcp(tcp::Event::Overflow(slow, vec![0])), []);
    rig.lan.report(&[4]);
    assert_eq!(sent(&rig.lan.take_outputs(), other).len(), 1);
}

#[test]
fn the_log_goes_to_who_switched_it_on_if_the_settings_allow_it() {
    let mut rig = Rig::open(LanSettings { log: true, ..Default::default() });
    let (curious, other) = (rig.client(), rig.client());
    let line = |rig: &mut Rig| {
        rig.lan.log_line(polylink_plugin_sdk::session::Level::Warn, "lan", "login.c", "client 1 login ok");
        let outputs = rig.lan.take_outputs();
        assert_eq!(sent(&outputs, other), []);
        sent(&outputs, curious)
    };
    assert_eq!(line(&mut rig), []);
    assert_eq!(sent(&rig.say(curious, &Frame::new(0x10, [0, 1])), curious), [Frame::empty(0x11)]);
    assert_eq!(line(&mut rig), [Frame::new(0x12, *b"\x02\0\x03lan\0\x07login.c\0\x11client 1 login ok")]);
    assert_eq!(rig.say(curious, &Frame::new(0x10, [0])), [], "the width of the switch is a guess");
    assert_eq!(line(&mut rig).len(), 1);
    rig.say(curious, &Frame::new(0x10, [0, 0]));
    assert_eq!(line(&mut rig), []);
}

#[test]
fn the_log_is_off_unless_the_settings_allow_it() {
    let mut rig = Rig::open(LanSettings::default());
    let stream = rig.client();
    assert_eq!(rig.say(stream, &Frame::new(0x10, [0, 1])), []);
    rig.lan.log_line(polylink_plugin_sdk::session::Level::Info, "lan", "", "x");
    assert_eq!(rig.lan.take_outputs(), []);
    assert_eq!(rig.lan.counters().tcp("log_not_allowed"), 1);
}

#[test]
fn when_the_passcode_changes_all_clients_can_be_closed_and_come_back_with_the_new_one() {
    let mut rig = Rig::open(LanSettings::default());
    let streams = [rig.client(), rig.connect()];
    rig.lan.close_clients();
    let outputs = rig.lan.take_outputs();
    assert!(streams.iter().all(|stream| is_closed(&outputs, *stream)));
    assert!(outputs.contains(&LanOutput::LoggedIn(0)));
    rig.about.passcode = Secret::new("another".to_owned());
    let stream = rig.connect();
    assert_eq!(sent(&rig.say(stream, &login("another")), stream), [Frame::new(0x09, [0])]);
}
