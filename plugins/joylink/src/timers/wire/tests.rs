use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn any_commands() -> impl Strategy<Value = Commands> {
    vec(vec(any::<u8>(), 0..6), 0..4)
}

pub(in crate::timers) fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        ("[0-9_*]{0,30}", any_commands()).prop_map(|(expression, commands)| Body::Expression { expression, commands }),
        ("[0-9_]{0,9}", "[0-9_]{0,9}", any::<(u8, u8, [u8; 31])>(), any_commands(), any_commands()).prop_map(
            |(start, stop, (repeat, period_type, period), start_commands, stop_commands)| Body::Span {
                start,
                stop,
                repeat,
                period_type,
                period,
                start_commands,
                stop_commands,
            }
        ),
        (any::<(i32, i32, i32)>(), any_commands(), any_commands()).prop_map(
            |((action_s, sleep_s, times), action_commands, sleep_commands)| Body::Cycle {
                action_s,
                sleep_s,
                times,
                action_commands,
                sleep_commands,
            }
        ),
        (any::<i32>(), any_commands(), any_commands()).prop_map(|(interval_s, action_commands, stop_commands)| {
            Body::Countdown { interval_s, action_commands, stop_commands }
        }),
    ]
}

fn any_task() -> impl Strategy<Value = Task> {
    ("[a-z0-9]{0,32}", "[a-z灯]{0,40}", any::<(i32, u8, u8, i32)>(), any_body()).prop_map(
        |(feedid, name, (id, state, origin, version), body)| Task {
            feedid: Text::new(&feedid).unwrap(),
            name: Text::new(&name).unwrap(),
            id,
            state,
            origin,
            version,
            body,
        },
    )
}

fn any_listing() -> impl Strategy<Value = Listing> {
    vec(any_task(), 0..4).prop_map(|mut tasks| {
        for task in &mut tasks {
            (task.feedid, task.name) = (Text::new("feed").unwrap(), Text::default());
        }
        Listing { feedid: Text::new("feed").unwrap(), tasks }
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    use Operation::{Add, Delete, Deleted, Modified, Modify, New, Query, Restart, Stop};
    let result = any::<(i32, u8, i32)>().prop_map(|(id, step, code)| StepResult { id, step, code });
    prop_oneof![
        Just(Request::Supported),
        (select(vec![Add, Modify, New, Modified]), vec(any_task(), 0..4)).prop_map(|(o, t)| Request::Tasks(o, t)),
        (select(vec![Delete, Query, Stop, Restart, Deleted]), any::<Vec<i32>>()).prop_map(|(o, i)| Request::Ids(o, i)),
        vec(result, 0..5).prop_map(Request::Results),
        any_listing().prop_map(Request::Snapshot),
    ]
}

fn any_answer() -> impl Strategy<Value = Answer> {
    use Operation::{Add, Delete, Deleted, Modified, Modify, Restart, Snapshot, Stop, Supported};
    prop_oneof![
        (select(vec![Supported, Add, Modify, Modified]), any::<i32>()).prop_map(|(o, code)| Answer::Code(o, code)),
        (select(vec![Delete, Stop, Restart, Deleted, Snapshot]), any::<i32>(), any::<Vec<i32>>())
            .prop_map(|(o, code, ids)| Answer::Ids(o, code, ids)),
        any_listing().prop_map(Answer::Listing),
        any::<Vec<(i32, u8)>>().prop_map(Answer::Received),
        any::<(i32, i32)>().prop_map(|(code, id)| Answer::New { code, id }),
    ]
}

/// A list with one command of two bytes that says this length.
#[track_caller]
fn check_length(said: i32, expected: Result<(), WireError>) {
    let mut writer = Writer::new();
    writer.u32_le(0).u32_le(1098).u32_le(0).i32_le(1).i32_le(3).bytes(&[0; 4 + 32 + 128 + 4 + 2]).i32_le(60);
    writer.i32_le(1).u8(0).i32_le(said).u8(1).i32_le(2).bytes(&[7, 8]);
    let decoded = Request::decode(&writer.finish());
    assert_eq!(decoded.map(|_| ()), expected, "{said}");
}

#[test]
fn the_length_of_a_command_list_may_count_in_three_ways() {
    for said in [7, 6, 11] {
        check_length(said, Ok(()));
    }
    for said in [-1, 0, 1, 5, 8, 10, 12, i32::MIN, i32::MAX] {
        check_length(said, Err(WireError::CommandLength { said, got: 6 }));
    }
}

#[test]
fn a_number_of_the_sdk_is_a_request_or_an_answer_by_its_direction() {
    let codes = |find: fn(u32) -> Option<(Operation, Numbers)>| {
        [200, 201, 1100, 1101, 10_100, 10_101].map(|code| find(code).map(|(operation, _)| operation))
    };
    let (modified, snapshot) = (Some(Operation::Modified), Some(Operation::Snapshot));
    assert_eq!(codes(Operation::of_request), [None, None, modified, snapshot, modified, snapshot]);
    assert_eq!(codes(Operation::of_answer), [modified, snapshot, modified, snapshot, None, None]);
}

#[test]
fn misprinted_numbers_are_never_understood() {
    for code in 1902..=1909 {
        assert_eq!((Operation::of_request(code), Operation::of_answer(code)), (None, None));
    }
}

#[test]
fn a_count_that_is_not_that_of_the_bytes_is_an_error() {
    let message = Message {
        timestamp: 1,
        serial: 2,
        numbers: Numbers::Document,
        content: Request::Ids(Operation::Stop, vec![5]),
    };
    let with_count = |count: i32| {
        let mut bytes = message.encode();
        bytes[12..16].copy_from_slice(&count.to_le_bytes());
        Request::decode(&bytes).map(|message| message.content)
    };
    assert_eq!(with_count(1), Ok(message.content.clone()));
    assert_eq!(with_count(0), Err(WireError::Trailing(4)));
    assert_eq!(with_count(-1), Err(WireError::Count(-1)));
    assert_eq!(with_count(i32::MAX), Err(WireError::Truncated(Truncated { wanted: 4, got: 0 })));
}

proptest! {
    #[test]
    fn every_request_survives_the_wire(content in any_request(), timestamp: u32, serial: u32) {
        let message = Message { timestamp, serial, numbers: Numbers::Document, content };
        prop_assert_eq!(Request::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn every_answer_survives_the_wire(content in any_answer(), timestamp: u32, serial: u32) {
        let message = Message { timestamp, serial, numbers: Numbers::Document, content };
        prop_assert_eq!(Answer::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn no_bytes_panic_the_decoders(bytes: Vec<u8>, code in 1090_u32..1102, at: prop::sample::Index, byte: u8, request in any_request()) {
        let _ = (Request::decode(&bytes), Answer::decode(&bytes), head(&bytes));
        let led = [&[0; 4][..], &code.to_le_bytes(), &bytes].concat();
        let _ = (Request::decode(&led), Answer::decode(&led));
        let mut damaged = Message { timestamp: 0, serial: 0, numbers: Numbers::Sdk, content: request }.encode();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        let _ = Request::decode(&damaged);
        let _ = Request::decode(&damaged[..at]);
    }
}
