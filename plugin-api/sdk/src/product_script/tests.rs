use super::*;

const SCRIPT: RequestId = RequestId(1);
const NOW: Timestamp = Timestamp(5_000);

fn script() -> ProductScript<u8> {
    let mut script = ProductScript::new("test", Some("-- nothing".to_owned()));
    assert!(matches!(script.load(SCRIPT), Some(Request::Load { script: SCRIPT, .. })));
    script
}

fn ready() -> ProductScript<u8> {
    let mut script = script();
    assert!(matches!(script.take(NOW, Event::Loaded(SCRIPT)), Some(News::Loaded)));
    script
}

fn call(script: &mut ProductScript<u8>, id: u64, bytes: usize) {
    let args = vec![Value::Bytes(vec![0; bytes])];
    script.call(RequestId(id), Call { function: "f", args, purpose: id as u8 });
}

/// The calls that the script is given now.
fn given(script: &mut ProductScript<u8>) -> Vec<u64> {
    std::iter::from_fn(|| script.poll())
        .map(|request| match request {
            Request::Call { id, .. } => id.0,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn fails(script: &mut ProductScript<u8>, id: u64, reason: Reason) -> Option<News<u8>> {
    let failure = Failure { reason, text: "why".to_owned() };
    script.take(NOW, Event::Returned(RequestId(id), Err(failure)))
}

#[test]
fn calls_wait_until_the_script_is_loaded_and_keep_their_order() {
    let mut script = script();
    [10, 11, 12].into_iter().for_each(|id| call(&mut script, id, 1));
    assert_eq!(given(&mut script), [] as [u64; 0]);
    assert_eq!(script.standing(), Some("loading"));
    assert!(matches!(script.take(NOW, Event::Loaded(SCRIPT)), Some(News::Loaded)));
    assert_eq!((given(&mut script), script.standing(), script.n_open()), (vec![10, 11, 12], Some("ready"), 3));
    let returned = script.take(NOW, Event::Returned(RequestId(11), Ok(vec![Value::Nil])));
    assert!(matches!(returned, Some(News::Returned(RequestId(11), Call { purpose: 11, .. }, _))), "{returned:?}");
    assert_eq!(script.n_open(), 2);
}

#[test]
fn no_more_is_given_at_once_than_the_host_takes() {
    let mut script = ready();
    (0..40).for_each(|id| call(&mut script, id, 1));
    assert_eq!(given(&mut script).len(), WINDOW);
    let mut script = ready();
    [1, 2, 3].into_iter().for_each(|id| call(&mut script, id, WINDOW_BYTES / 2));
    assert_eq!(given(&mut script), [1, 2]);
    let mut script = ready();
    call(&mut script, 1, 2 * WINDOW_BYTES);
    assert_eq!(given(&mut script), [1], "one that is too large for the window goes alone");
}

#[test]
fn a_script_that_is_gone_is_loaded_again_and_called_again_in_order() {
    let mut script = ready();
    [1, 2, 3].into_iter().for_each(|id| call(&mut script, id, 1));
    assert_eq!(given(&mut script), [1, 2, 3]);
    assert!(matches!(fails(&mut script, 2, Reason::UnknownHandle), Some(News::Lost(_))));
    assert!(fails(&mut script, 1, Reason::UnknownHandle).is_none(), "it is told once");
    assert!(fails(&mut script, 3, Reason::Closed).is_none());
    let due = script.next_timeout().unwrap();
    assert_eq!(due, NOW.after(RELOAD_MS));
    assert!(!script.is_due(NOW) && script.is_due(due));
    assert!(script.load(RequestId(9)).is_some());
    assert!(script.take(due, Event::Loaded(SCRIPT)).is_none(), "news of the one before");
    script.take(due, Event::Loaded(RequestId(9)));
    assert_eq!(given(&mut script), [1, 2, 3]);
}

#[test]
fn a_call_that_is_itself_at_fault_is_not_made_again() {
    let mut script = ready();
    for (id, reason) in [(1, Reason::Other), (2, Reason::Quota), (3, Reason::Timeout)] {
        call(&mut script, id, 1);
        assert_eq!(given(&mut script), [id], "it ends no script");
        let failed = fails(&mut script, id, reason);
        assert!(matches!(failed, Some(News::Failed(RequestId(failed), ..)) if failed == id), "{failed:?}");
    }
    assert_eq!((script.standing(), script.next_timeout()), (Some("ready"), None));
}

#[test]
fn a_script_that_finds_no_room_is_tried_again_and_one_that_is_none_is_not() {
    let failed = |reason| {
        let mut script = script();
        let failure = Failure { reason, text: "why".to_owned() };
        let news = script.take(NOW, Event::LoadFailed(SCRIPT, failure));
        (matches!(news, Some(News::Unusable(_))), script.next_timeout().is_some())
    };
    assert_eq!(failed(Reason::Quota), (false, true));
    assert_eq!(failed(Reason::Invalid), (true, false));
}

#[test]
fn what_nobody_waits_for_any_more_is_forgotten() {
    let mut script = ready();
    call(&mut script, 1, 1);
    given(&mut script);
    call(&mut script, 2, 1);
    script.forget(|purpose| *purpose < 2);
    assert!(fails(&mut script, 1, Reason::Other).is_none());
    assert_eq!(given(&mut script), [2]);
    assert!(matches!(script.unload(), Some(Request::Unload(SCRIPT))));
    assert_eq!((script.n_open(), script.next_timeout()), (0, None));
}

#[test]
fn a_product_without_a_script_has_nothing_to_load() {
    let mut script = ProductScript::<u8>::new("test", None);
    assert!(script.load(SCRIPT).is_none() && !script.exists());
    assert_eq!(script.standing(), None);
}
