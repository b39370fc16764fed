//! No panic of a session leaves its plugin, wherever it strikes.

use std::cell::Cell;

use polylink_plugin_api::{Fault, FaultCode, Now, Timestamp};

use crate::session::Level;
use crate::testing::{Setup, VirtualHost};
use crate::value::{Outcome, OutcomeResult};
use crate::{Context, DatapointId, Input, Output, RequestId, Session, Value};

#[test]
fn a_panic_in_each_entry_is_a_fault_that_names_it() {
    for (entry, input) in [
        ("start", Input::Start),
        ("timeout", Input::Timeout),
        ("stop", Input::Stop),
        ("reports", Input::Reports(vec![report()])),
        ("outcomes", outcome()),
        ("event", Input::Module(crate::services::module::Event::Reset)),
    ] {
        check(Place::Input, entry, input);
    }
}

#[test]
fn a_panic_while_it_says_when_to_call_next_is_a_fault_of_the_call_before() {
    check(Place::NextTimeout, "timeout", Input::Timeout);
}

#[test]
fn a_panic_while_the_session_is_made_is_a_fault_of_create() {
    PLACE.set(Place::New);
    let fault = host().try_start().expect_err("the session panics");
    assert!(fault.message.starts_with("panicked in `create`, at "), "{}", fault.message);
}

#[test]
fn a_panic_in_the_drop_is_logged_and_goes_no_further() {
    PLACE.set(Place::Nowhere);
    let mut host = host();
    host.start();
    PLACE.set(Place::Drop);
    host.deliver(Input::Stop);
    let (level, text) = host.logs().last().expect("the panic was logged");
    assert_eq!(*level, Level::Error);
    assert!(text.contains("panicked in `drop`") && text.contains("no drop today"), "{text}");
    assert_eq!(N_DROPPED.get(), 1);
}

#[test]
fn a_drop_by_the_host_without_a_stop_is_held_too() {
    PLACE.set(Place::Nowhere);
    let mut host = host();
    host.start();
    PLACE.set(Place::Drop);
    drop(host);
    assert_eq!(N_DROPPED.get(), 1);
}

#[test]
fn after_a_panic_the_session_is_not_called_again() {
    PLACE.set(Place::Nowhere);
    let registered = crate::testing::tables::Registered::new(&Context::default());
    let mut plugin = super::arbitrary::plugin::<Clumsy>(&registered);
    PLACE.set(Place::Input);
    assert!(plugin.timeout(Now::default()).is_err());
    PLACE.set(Place::Nowhere);
    assert!(plugin.timeout(Now::default()).is_ok());
    assert_eq!(plugin.next_timeout().into_option(), None);
    assert_eq!((N_CALLED.get(), N_DROPPED.get()), (1, 1));
}

#[track_caller]
fn check(place: Place, entry: &str, input: Input) {
    PLACE.set(Place::Nowhere);
    let mut host = host();
    if input != Input::Start {
        host.start();
    }
    PLACE.set(place);
    let called = match input {
        Input::Start => host.try_start(),
        Input::Outcome(_, outcome) => {
            let (ticket, _) = host.expect_submit();
            host.try_deliver(Input::Outcome(ticket, outcome))
        }
        input => host.try_deliver(input),
    };
    let fault = called.expect_err("the session panics");
    assert_eq!(fault.code, FaultCode::PANIC);
    let begins = format!("panicked in `{entry}`, at plugin-api/sdk/src/driver/tests/panics.rs:");
    assert!(fault.message.starts_with(&begins), "{}", fault.message);
    assert!(fault.message.ends_with(": not today"), "{}", fault.message);
}

fn host() -> VirtualHost {
    VirtualHost::through_abi::<Clumsy>(Setup::default())
}

fn report() -> crate::Report {
    crate::Report {
        seq: 1,
        at: Default::default(),
        device: 0,
        cause: crate::Cause::Change,
        caused_by: None,
        body: crate::ReportBody::Properties(vec![(DatapointId(0), Value::Bool(true))]),
    }
}

fn outcome() -> Input {
    let outcome = Outcome { result: OutcomeResult::Done, values: Vec::new(), document: None };
    Input::Outcome(RequestId(0), outcome)
}

/// A session that panics where the test says.
struct Clumsy;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    New,
    Input,
    NextTimeout,
    Drop,
}

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place::Nowhere) };
    static N_CALLED: Cell<u32> = const { Cell::new(0) };
    static N_DROPPED: Cell<u32> = const { Cell::new(0) };
}

fn panic_at(place: Place) {
    assert!(PLACE.get() != place, "not today");
}

impl Session for Clumsy {
    fn new(_context: Context) -> Result<Self, Fault> {
        panic_at(Place::New);
        Ok(Self)
    }

    fn handle_input(&mut self, _now: Now, input: Input) -> Result<Vec<Output>, Fault> {
        N_CALLED.set(N_CALLED.get() + 1);
        panic_at(Place::Input);
        let get = crate::Command::new(crate::CommandBody::Get(Vec::new()));
        Ok(if input == Input::Start { vec![Output::Submit(RequestId(1), get)] } else { Vec::new() })
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        panic_at(Place::NextTimeout);
        Some(Timestamp(5))
    }
}

impl Drop for Clumsy {
    fn drop(&mut self) {
        N_DROPPED.set(N_DROPPED.get() + 1);
        assert!(PLACE.get() != Place::Drop, "no drop today");
    }
}
