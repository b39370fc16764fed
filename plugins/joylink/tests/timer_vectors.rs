//! Runs the vectors of `vectors/joylink.json` that are about timers. Each names where it comes from; this file only says
//! how a kind is judged.

use serde_json::Value;

use crate::timers::expression::TimeExpression;
use crate::timers::period::{Period, WeekIndex0};
use crate::timers::wire::{Answer, Body, Listing, Message, Numbers, Operation, Request, StepResult, Task};
use crate::wire::Text;
use polylink_plugin_sdk::bytes::{Reader, Writer};
use polylink_plugin_sdk::hex;

#[derive(serde::Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    id: String,
    kind: String,
    input: Value,
    expected: Value,
}

#[track_caller]
fn check(kind: &str, n_expected: usize, judge: fn(&Vector)) {
    let file: Vectors = serde_json::from_str(include_str!("vectors/joylink.json")).unwrap();
    let vectors: Vec<_> = file.vectors.iter().filter(|vector| vector.kind == kind).collect();
    assert_eq!(vectors.len(), n_expected);
    for vector in vectors {
        judge(vector);
    }
}

#[test]
fn expressions_are_valid_or_not_and_fire_when_the_vectors_say() {
    check("time_expression", 39, |Vector { id, input, expected, .. }| {
        let parsed = input["expression"].as_str().unwrap().parse::<TimeExpression>();
        assert_eq!(parsed.is_ok(), expected["valid"].as_bool().unwrap(), "{id}");
        let Ok(expression) = parsed else { return };
        let now = integer(input, "now");
        let anchor = input["anchor"].as_i64().unwrap_or(now);
        let offset = integer(input, "tz_offset_seconds");
        let mut fires: Vec<_> = successors(now, |now| expression.next_after(anchor, now, offset), input);
        let exhausted = fires.pop_if(|fire| *fire == NEVER).is_some();
        assert_eq!(serde_json::json!(fires), expected["fires"], "{id}");
        assert_eq!(exhausted, expected["exhausted"].as_bool().unwrap(), "{id}");
    });
}

#[test]
fn spans_that_repeat_start_on_the_days_of_the_vectors() {
    check("period_schedule", 2, |Vector { id, input, expected, .. }| {
        let expression: TimeExpression = input["expression"].as_str().unwrap().parse().unwrap();
        let times = expression.times_of_day().unwrap();
        let period = Period::new(integer(input, "period_type"), &table(input), WeekIndex0::Monday).unwrap();
        let offset = integer(input, "tz_offset_seconds");
        let fires = successors(integer(input, "now"), |now| period.next_after(&times, 0, now, offset), input);
        assert_eq!(serde_json::json!(fires), expected["fires"], "{id}");
    });
}

#[test]
fn structures_have_the_bytes_of_the_vectors_and_are_read_back() {
    check("timer_struct", 29, |Vector { id, input, expected, .. }| {
        let bytes = hex::decode(expected["bytes_hex"].as_str().unwrap()).unwrap();
        let fields = &input["fields"];
        let name = input["struct"].as_str().unwrap();
        match name {
            "task_t" => {
                let mut writer = Writer::new();
                task(fields).encode(&mut writer);
                assert_eq!(hex::lower(writer.written()), hex::lower(&bytes), "{id}");
                assert_eq!(Task::decode(&mut Reader::new(&bytes)), Ok(task(fields)), "{id}");
            }
            // Alone it is in no packet: here it is, in one.
            "simplified_task_t" => {
                let content = Answer::Listing(Listing { feedid: Text::default(), tasks: vec![task(fields)] });
                let message = Message { timestamp: 0, serial: 0, numbers: Numbers::Document, content };
                let packet = message.encode();
                assert_eq!(hex::lower(&packet[12 + 4 + 32..]), hex::lower(&bytes), "{id}");
                assert_eq!(Answer::decode(&packet), Ok(message), "{id}");
            }
            _ => {
                let (timestamp, serial) = (integer(fields, "timestamp"), integer(fields, "serial"));
                let biz_code: u32 = integer(fields, "biz_code");
                // 1100 and 1101 are requests too, but not in the document's numbers.
                let request = Operation::of_request(biz_code).filter(|(_, numbers)| *numbers == Numbers::Document);
                if let Some((operation, numbers)) = request {
                    let message = Message { timestamp, serial, numbers, content: request_of(operation, fields) };
                    assert_eq!(hex::lower(&message.encode()), hex::lower(&bytes), "{id}");
                    assert_eq!(Request::decode(&bytes), Ok(message), "{id}");
                } else {
                    let (operation, numbers) = Operation::of_answer(biz_code).unwrap();
                    let message = Message { timestamp, serial, numbers, content: answer_of(operation, fields) };
                    assert_eq!(hex::lower(&message.encode()), hex::lower(&bytes), "{id}");
                    assert_eq!(Answer::decode(&bytes), Ok(message), "{id}");
                }
            }
        }
    });
}

#[test]
fn no_negative_vector_is_about_timers() {
    check("negative", 16, |Vector { id, input, .. }| {
        let packet = hex::decode(input["packet_hex"].as_str().unwrap()).unwrap();
        assert_ne!(packet.get(9), Some(&13), "{id}");
    });
}

fn request_of(operation: Operation, fields: &Value) -> Request {
    if let Some(ids) = fields.get("ids") {
        Request::Ids(operation, ids_of(ids))
    } else if operation == Operation::Snapshot {
        Request::Snapshot(listing(fields))
    } else if let Some(results) = fields.get("results") {
        let result =
            |r: &Value| StepResult { id: integer(r, "id"), step: integer(r, "step"), code: integer(r, "code") };
        Request::Results(list(results, result))
    } else if fields.get("tasks").is_some() {
        Request::Tasks(operation, list(&fields["tasks"], task))
    } else {
        Request::Supported
    }
}

fn answer_of(operation: Operation, fields: &Value) -> Answer {
    if let Some(ids) = fields.get("ids") {
        Answer::Ids(operation, integer(fields, "code"), ids_of(ids))
    } else if let Some(received) = fields.get("received") {
        Answer::Received(list(received, |r| (integer(r, "id"), integer(r, "step"))))
    } else if fields.get("tasks").is_some() {
        Answer::Listing(listing(fields))
    } else if fields.get("id").is_some() {
        Answer::New { code: integer(fields, "code"), id: integer(fields, "id") }
    } else {
        Answer::Code(operation, integer(fields, "code"))
    }
}

fn listing(fields: &Value) -> Listing {
    let feedid = Text::new(fields["feedid"].as_str().unwrap()).unwrap();
    let tasks = list(&fields["tasks"], |fields| Task { feedid, ..task(fields) });
    Listing { feedid, tasks }
}

/// A simplified one has no feedid and no name.
fn task(fields: &Value) -> Task {
    let commands = |name: &str| list(&fields[name], |command| hex::decode(command.as_str().unwrap()).unwrap());
    let text = |name: &str| fields[name].as_str().unwrap().to_owned();
    let body = match fields["mode"].as_u64().unwrap() {
        0 => Body::Expression { expression: text("exp"), commands: commands("cmds_hex") },
        1 => Body::Span {
            start: text("start_exp"),
            stop: text("stop_exp"),
            repeat: integer(fields, "repeat_flag"),
            period_type: integer(fields, "period_type"),
            period: table(fields),
            start_commands: commands("start_cmds_hex"),
            stop_commands: commands("stop_cmds_hex"),
        },
        2 => Body::Cycle {
            action_s: integer(fields, "action_interval"),
            sleep_s: integer(fields, "sleep_interval"),
            times: integer(fields, "times"),
            action_commands: commands("action_cmds_hex"),
            sleep_commands: commands("sleep_cmds_hex"),
        },
        _ => Body::Countdown {
            interval_s: integer(fields, "interval"),
            action_commands: commands("action_cmds_hex"),
            stop_commands: commands("stop_cmds_hex"),
        },
    };
    Task {
        feedid: Text::new(fields["feedid"].as_str().unwrap_or_default()).unwrap(),
        name: Text::new(fields["name"].as_str().unwrap_or_default()).unwrap(),
        id: integer(fields, "id"),
        state: integer(fields, "state"),
        origin: integer(fields, "type"),
        version: integer(fields, "version"),
        body,
    }
}

fn table(fields: &Value) -> [u8; 31] {
    list(&fields["period"], |day| day.as_u64().unwrap() as u8).try_into().unwrap()
}

fn ids_of(ids: &Value) -> Vec<i32> {
    list(ids, |id| id.as_i64().unwrap() as i32)
}

fn list<T>(items: &Value, item: impl Fn(&Value) -> T) -> Vec<T> {
    items.as_array().unwrap().iter().map(item).collect()
}

fn integer<T: TryFrom<i64, Error: std::fmt::Debug>>(fields: &Value, name: &str) -> T {
    T::try_from(fields[name].as_i64().unwrap()).unwrap()
}

/// Up to `count` instants, each the next after the one before; at the end `NEVER` if there is none.
fn successors(now: i64, next: impl Fn(i64) -> Option<i64>, input: &Value) -> Vec<i64> {
    let mut fires = Vec::new();
    let mut at = now;
    while fires.len() < input["count"].as_u64().unwrap() as usize && at != NEVER {
        at = next(at).unwrap_or(NEVER);
        fires.push(at);
    }
    fires
}

const NEVER: i64 = i64::MAX;
