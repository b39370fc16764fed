//! An app binds the device (2): when that is allowed, when it counts, and how it ends.

use polylink_plugin_sdk::services::module::Event;
use polylink_plugin_sdk::services::{store, udp};
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::{Context, Input, Now, Output, RequestId, Session, Timestamp};
use serde_json::{Value, json};

use crate::packet::{Kind, Network};
use crate::scenarios::stage::{ACCESSKEY, App, FEEDID, LOCALKEY, SERVER, Stage, bond, bound, n, unbound};
use crate::session::JoylinkSession;

const OTHER_KEY: &str = "c9f0f895fb98ab9159f51fd0297e236d";

/// An app that has found the device.
#[track_caller]
fn app(stage: &mut Stage) -> App {
    let mut app = App::new();
    app.discover(stage);
    app
}

/// Binds the device with these members on top of the usual ones; the code of the answer.
#[track_caller]
fn bind(stage: &mut Stage, changes: Value) -> i64 {
    let mut app = app(stage);
    // No two apps of a test have the same time.
    app.clock += u32::try_from(stage.host.now().monotonic.0).unwrap();
    stage.host.advance(1_000);
    app.authorize(stage, &bond(changes));
    app.expect_code(stage, Kind::Authorization)
}

/// Another owner's identity and key.
fn other_owner() -> Value {
    json!({"feedid": "2002", "accesskey": OTHER_KEY})
}

#[test]
fn a_device_is_bound_when_the_bond_is_stored_and_connects() {
    let mut stage = Stage::started(unbound(json!({})));
    stage.host.snapshot([n(1)]);
    let mut app = app(&mut stage);
    app.authorize(&mut stage, &bond(json!({"opt": {"a": 1}})));
    let transcript = stage.host.transcript();
    let stored = transcript.find("Put bond").expect("it is stored");
    let answered = transcript.rfind("SendTo").expect("it is answered");
    assert!(stored < answered, "{transcript}");
    assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 0);
    stage.come_in();
    assert_eq!(stage.expect_streams(), json!({"n": 1}));
    stage.assert_phase(Phase::Online);
    let found = app.discover(&mut stage);
    assert_eq!((&found["feedid"], &found["opt"]), (&json!(FEEDID), &json!({"a": 1})));
    // The local key counts at once, and after a restart.
    app.control(&mut stage, json!({"n": 5}));
    stage.host.expect_set();
    stage.restart();
    stage.come_in();
    app.control(&mut stage, json!({"n": 5}));
    stage.host.expect_set();
}

#[test]
fn a_bond_that_cannot_be_stored_is_none() {
    let mut stage = Stage::started(unbound(json!({})));
    let mut app = app(&mut stage);
    stage.host.fail_store(true);
    app.authorize(&mut stage, &bond(json!({})));
    assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 24);
    assert_eq!(app.discover(&mut stage)["feedid"], "");
    stage.host.expect_silence();
    stage.assert_phase(Phase::Offline);
    assert_eq!(stage.host.stored("bond"), None);
    assert!(stage.logged("could not be stored"));

    stage.host.fail_store(false);
    app.authorize(&mut stage, &bond(json!({})));
    assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 0);
}

#[test]
fn an_owner_who_cannot_be_stored_leaves_the_one_before() {
    let mut stage = Stage::working(bound(json!({"rebind": "allow"})));
    stage.host.fail_store(true);
    assert_eq!(bind(&mut stage, other_owner()), 24);
    stage.host.expect_silence();
    stage.assert_phase(Phase::Online);
    assert_eq!(App::new().discover(&mut stage)["feedid"], FEEDID);
}

#[test]
fn a_bound_device_refuses_another_owner() {
    let mut stage = Stage::working(bound(json!({})));
    assert_eq!(bind(&mut stage, other_owner()), 16);
    assert_eq!(bind(&mut stage, json!({"accesskey": OTHER_KEY})), 16);
    assert_eq!(bind(&mut stage, json!({"localkey": OTHER_KEY})), 16);
    stage.host.expect_silence();
    stage.assert_phase(Phase::Online);
    stage.assert_count("bindings_refused", 3);
}

#[test]
fn the_same_owner_may_say_it_again() {
    let mut stage = Stage::working(bound(json!({})));
    assert_eq!(bind(&mut stage, json!({"joylink_server": ["other.example:1"]})), 0);
    assert_eq!(stage.host.expect_tcp_close(), stage.stream);
    let (_, host, port) = stage.host.expect_tcp_open();
    assert_eq!((host.as_str(), port), ("other.example", 1));
}

#[test]
fn another_owner_is_taken_if_the_settings_say_so() {
    let mut stage = Stage::working(bound(json!({"rebind": "allow"})));
    stage.cut();
    stage.host.report([n(9)]);
    assert_eq!(bind(&mut stage, other_owner()), 0);
    assert!(stage.logged("another owner"));
    let (stream, ..) = stage.host.expect_tcp_open();
    stage.stream = stream;
    stage.host.tcp_opened(stream);
    let packet = stage.expect_packet(Kind::CloudAuthentication);
    assert!(packet.opt.starts_with(b"2002"));
    assert_eq!(App::new().discover(&mut stage)["feedid"], "2002");
}

#[test]
fn results_of_the_owner_before_are_not_told_to_the_next() {
    let mut stage = Stage::working(bound(json!({"rebind": "allow"})));
    stage.cut();
    stage.host.report([n(9)]);
    assert_eq!(bind(&mut stage, json!({"feedid": "2002"})), 0);
    stage.accept();
    stage.host.take_outputs();
    stage.let_in();
    assert_eq!(stage.expect_streams()["n"], 9);
    stage.host.expect_silence();
}

#[test]
fn another_owner_is_taken_while_a_person_at_the_device_says_so() {
    for (seconds, ms) in [(60, 60_000), (0, 3_600_000)] {
        let mut stage = Stage::started(bound(json!({})));
        stage.host.module_event(Event::BindWindow(seconds));
        stage.host.advance(ms - 1_001);
        stage.host.take_outputs();
        assert_eq!(bind(&mut stage, other_owner()), 0, "{seconds}");
        // One owner, who may repeat it.
        assert_eq!(bind(&mut stage, other_owner()), 0, "{seconds}");
        assert_eq!(bind(&mut stage, json!({})), 16, "{seconds}");

        let mut late = Stage::started(bound(json!({})));
        late.host.module_event(Event::BindWindow(seconds));
        late.host.advance(ms);
        assert_eq!(bind(&mut late, other_owner()), 16, "{seconds}");
    }
}

#[test]
fn a_bond_from_the_factory_gives_way_to_an_app_while_a_person_says_so() {
    let factory = json!({"feedid": "42", "accesskey": ACCESSKEY, "localkey": LOCALKEY, "joylink_servers": [SERVER]});
    let mut stage = Stage::started(unbound(factory));
    stage.host.take_outputs();
    assert_eq!(bind(&mut stage, json!({})), 16);
    stage.host.module_event(Event::BindWindow(60));
    assert_eq!(bind(&mut stage, json!({})), 0);
    stage.come_in();
    assert_eq!(stage.fact("feedid"), Some(FEEDID));
    // And counts again after a reset.
    stage.host.module_event(Event::Reset);
    assert_eq!(stage.fact("feedid"), Some("42"));
    stage.host.expect_tcp_open();
}

#[test]
fn an_authorization_that_cannot_be_used_is_refused() {
    for changes in [
        json!({"feedid": ""}),
        json!({"feedid": null}),
        json!({"accesskey": "short"}),
        json!({"localkey": null}),
        json!({"joylink_server": []}),
        json!({"joylink_server": null}),
        json!({"joylink_server": ["no port", ":1", "host:0", "host:65536"]}),
        json!({"opt": 7}),
        json!({"lancon": 2}),
        json!({"opt": {"a": "x".repeat(1_024)}}),
        json!({"server": "x".repeat(16_384)}),
        json!({"productuuid": "x".repeat(16_384)}),
    ] {
        let mut stage = Stage::started(unbound(json!({})));
        let mut app = app(&mut stage);
        app.authorize(&mut stage, &bond(changes.clone()));
        assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 5, "{changes}");
        stage.host.expect_silence();
        assert_eq!(stage.host.stored("bond"), None);
    }
}

#[test]
fn the_first_server_that_can_be_used_is_used() {
    let mut stage = Stage::started(unbound(json!({})));
    assert_eq!(bind(&mut stage, json!({"joylink_server": ["nonsense", SERVER, "other.example:1"]})), 0);
    stage.come_in();
}

#[test]
fn a_device_without_a_product_type_takes_the_app_s() {
    let mut stage = Stage::started(unbound(json!({"product_uuid": ""})));
    let mut app = App::new();
    app.look(&mut stage, json!({}));
    stage.host.expect_silence();
    app.know(&stage);
    app.authorize(&mut stage, &bond(json!({"productuuid": "ABC123"})));
    assert_eq!(app.expect_code(&mut stage, Kind::Authorization), 0);
    assert_eq!(App::new().discover(&mut stage)["productuuid"], "ABC123");
    stage.restart();
    assert_eq!(App::new().discover(&mut stage)["productuuid"], "ABC123");
    // One that has its own keeps it.
    let mut stage = Stage::started(unbound(json!({})));
    assert_eq!(bind(&mut stage, json!({"productuuid": "ABC123"})), 0);
    assert_eq!(App::new().discover(&mut stage)["productuuid"], "XDFSSD");
}

/// The device forgets its owner and waits for another.
#[track_caller]
fn check_forgotten(event: Event) {
    let mut stage = Stage::working(bound(json!({"product_uuid": "", "product_uuid_property": "note"})));
    let seq = stage.host.report([n(2)]);
    stage.host.take_outputs();
    stage.host.module_event(event);
    assert_eq!(stage.host.expect_settle(), [seq], "it is not the next owner's");
    assert_eq!(stage.host.expect_tcp_close(), stage.stream);
    assert_eq!(stage.host.stored("bond"), None);
    stage.assert_phase(Phase::Offline);
    assert_eq!(stage.fact("feedid"), Some("none yet"));
    let (id, _) = stage.host.expect_submit();
    stage.host.command_done(id);
    // The key of the owner before opens nothing.
    App::new().control(&mut stage, json!({"n": 5}));
    stage.host.advance(5_000);
    stage.expect_nothing_said();
    stage.restart();
    stage.host.expect_submit();
    stage.host.expect_silence();
}

#[test]
fn a_reset_forgets_the_owner() {
    check_forgotten(Event::Reset);
    check_forgotten(Event::Unbind);
}

#[test]
fn why_a_connection_was_lost_does_not_matter_to_one_without_an_owner() {
    let mut stage = Stage::working(bound(json!({})));
    stage.cut();
    assert!(stage.host.status().text.contains("live.example"), "{:?}", stage.host.status());
    stage.host.module_event(Event::Reset);
    assert_eq!(stage.host.status().text, "waiting for an app to bind it");
}

#[test]
fn a_reset_keeps_the_key_pair() {
    let mut stage = Stage::started(bound(json!({})));
    let before = App::new().discover(&mut stage)["devkey"].clone();
    stage.host.module_event(Event::Reset);
    assert_eq!(App::new().discover(&mut stage)["devkey"], before);
}

#[test]
fn a_device_can_be_bound_again_after_a_reset() {
    let mut stage = Stage::working(bound(json!({})));
    stage.host.module_event(Event::Reset);
    stage.host.take_outputs();
    let seq = stage.host.report([n(7)]);
    assert_eq!(bind(&mut stage, json!({})), 0);
    stage.come_in();
    assert_eq!(stage.expect_streams()["n"], 7);
    stage.accept_upload();
    assert_eq!(stage.host.expect_settle(), [seq]);
}

/// What the session asks for after this input, and the number of the bond that it stores.
#[track_caller]
fn ask(session: &mut JoylinkSession, input: Input) -> (Vec<Output>, Option<RequestId>) {
    let now = Now { monotonic: Timestamp(1_000), ..Now::default() };
    let outputs = session.handle_input(now, input).expect("no fault");
    let storing = outputs.iter().find_map(|output| match output {
        Output::Store(id, store::Request::Put(key, _)) if key == "bond" => Some(*id),
        _ => None,
    });
    (outputs, storing)
}

/// The virtual host stores at once, so the session is asked directly.
#[test]
fn nothing_is_answered_before_the_bond_is_on_the_disk() {
    let mut stage = Stage::started(unbound(json!({})));
    let packet = app(&mut stage).exchanged(Kind::Authorization, bond(json!({})).to_string().as_bytes());
    let datagram = packet.encode(Network::Lan).unwrap();
    let setup = stage.host.setup().clone();
    let services = setup.services;
    for is_reset in [false, true] {
        let (settings, product, stored) = (setup.settings.clone(), setup.product.clone(), setup.stored.clone());
        let context = Context { settings, product, stored, services: services.clone(), ..Context::default() };
        let mut session = JoylinkSession::new(context).expect("it starts");
        ask(&mut session, Input::Start);
        ask(&mut session, Input::Udp(udp::Event::Bound(RequestId(1), 80)));
        let received = udp::Event::Received(RequestId(1), "192.0.2.7:40000".to_owned(), datagram.clone());
        let (outputs, storing) = ask(&mut session, Input::Udp(received));
        assert!(!outputs.iter().any(|output| matches!(output, Output::Udp(_) | Output::Tcp(_))), "{outputs:?}");
        if is_reset {
            ask(&mut session, Input::Module(Event::Reset));
        }
        let (outputs, _) = ask(&mut session, Input::Stored(storing.expect("it is stored"), Ok(())));
        let n_said = outputs.iter().filter(|output| matches!(output, Output::Udp(_) | Output::Tcp(_))).count();
        // The answer and a connection; nothing for an owner who was forgotten meanwhile.
        assert_eq!(n_said, if is_reset { 0 } else { 2 }, "{outputs:?}");
    }
}
