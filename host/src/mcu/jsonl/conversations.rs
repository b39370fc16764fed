//! Whole conversations in virtual time: a scripted MCU on one side, the host's inputs on the other.

mod subdevices;

use std::sync::Arc;

use polylink_plugin_api::{ClockQuality, CommandBody, DatapointId, Now, Property, Value};
use proptest::prelude::*;

use super::JsonLines;
use crate::mcu::transfer::{FirmwareInput, Image, ImageFormat};
use crate::mcu::virtual_line::VirtualLine;
use crate::mcu::{LinkInput, ModuleState};
use crate::product::{self, Action, Class, Event, Field, History, Kind, Product};

type Line = VirtualLine<JsonLines>;

impl Line {
    /// The port was opened at 0; the link has asked who the MCU is.
    fn opened() -> (Self, Vec<String>) {
        let held = (JsonLines::queued_bytes as fn(&_) -> _, MOST_BYTES);
        let mut line = Self { link: JsonLines::new(), now: Now::default(), held, written };
        let said = line.input(LinkInput::Opened);
        (line, said)
    }

    /// The MCU said hello, and the product is known.
    fn online() -> Self {
        let (mut line, _) = Self::opened();
        line.mcu(r#"{"hello":{"product_key":"oven"}}"#);
        line.input(LinkInput::Product { product: Arc::new(oven()), layout: None });
        line
    }

    fn mcu(&mut self, text: &str) -> Vec<String> {
        self.input(LinkInput::Bytes(format!("{text}\n").as_bytes()))
    }

    fn set_power(&mut self, ticket: u64) -> Vec<String> {
        let power = Property { id: DatapointId(0), value: Value::Bool(true) };
        self.command(ticket, CommandBody::Set(vec![power].into()), false)
    }
}

fn written(bytes: &[u8]) -> String {
    let line = std::str::from_utf8(bytes).unwrap().strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'));
    let _: serde::de::IgnoredAny = serde_json::from_str(line).unwrap();
    line.to_owned()
}

/// The most a link holds: a line that comes, one that came, held ones, 36 commands, and short lines about subdevices.
const MOST_BYTES: usize = (3 + 36) * 65_536 + 8 * 1024;

fn field(name: &str, kind: Kind) -> Field {
    Field { name: name.into(), title: String::new(), unit: String::new(), kind }
}

/// power, target 16.0 to 300.0 in steps of 0.5, event overheat(level), action clean(minutes) returning dirt.
fn oven() -> Product {
    let property = |name, kind| product::Property {
        field: field(name, kind),
        writable: true,
        history: History::Latest,
        class: Class::Value,
    };
    let level = || Kind::Int { min: 0, max: 9, step: 1 };
    Product {
        key: "oven".into(),
        name: String::new(),
        properties: vec![
            property("power", Kind::Bool),
            property("target", Kind::Decimal { scale: 1, min: 160, max: 3000, step: 5 }),
        ],
        events: vec![Event { name: "overheat".into(), title: String::new(), params: vec![field("level", level())] }],
        actions: vec![Action {
            name: "clean".into(),
            title: String::new(),
            idempotent: false,
            params: vec![field("minutes", level())],
            returns: vec![field("dirt", level())],
        }],
        raw: true,
    }
}

#[test]
fn the_mcu_is_asked_who_it_is_until_it_says_hello() {
    let (mut line, said) = Line::opened();
    assert_eq!(said, [r#"{"who":1}"#]);
    let said = line.until(9000);
    let who = r#"{"who":1}"#;
    assert_eq!(said, [format!("1000 {who}"), "1000 online false".into(), format!("3000 {who}"), format!("7000 {who}")]);
    let said = line.mcu(r#"{"hello":{"product_key":"oven","serial":"7","software":"1.2"},"more":[1]}"#);
    assert_eq!(said[..2], ["online true", "identified oven 1.2"]);
    assert!(said[2].starts_with(r#"{"module":{"network":false,"#), "{said:?}");
    assert!(!line.until(60_000).iter().any(|said| said.contains("who")));
}

#[test]
fn a_hello_that_says_the_same_again_is_answered_with_the_module_state_only() {
    let mut line = Line::online();
    let said = line.mcu(r#"{"hello":{"product_key":"oven"}}"#);
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with(r#"{"module":"#));
    assert_eq!(line.mcu(r#"{"report":{"power":1}}"#), ["report 0=true"]);
    assert_eq!(line.mcu(r#"{"hello":{"product_key":"fan"}}"#)[0], "identified fan ");
    assert_eq!(line.mcu(r#"{"report":{"power":1}}"#), [""; 0], "held: its product is not known yet");
}

#[test]
fn a_report_is_handed_over_before_it_is_acknowledged() {
    let mut line = Line::online();
    let said = line.mcu(r#"{"report":{"target":21.5,"power":true},"id":7}"#);
    assert_eq!(said, ["report 0=true 1=21.5", r#"{"ack":7}"#]);
    assert_eq!(line.mcu(r#"{"report":{"power":false}}"#), ["report 0=false"], "without id nothing is acknowledged");
}

#[test]
fn the_same_news_with_the_same_id_are_acted_upon_once() {
    let mut line = Line::online();
    line.mcu(r#"{"event":"overheat","params":{"level":3},"id":8}"#);
    line.until(2000);
    let said = line.mcu(r#"{"event":"overheat","params":{"level":3},"id":8}"#);
    assert_eq!(said, ["fault duplicate", r#"{"ack":8}"#]);
    assert_eq!(line.mcu(r#"{"event":"overheat","params":{"level":4},"id":8}"#)[0], "report event 0 0=4");
}

#[test]
fn events_raw_bytes_and_what_the_user_did_are_told() {
    let mut line = Line::online();
    assert_eq!(line.mcu(r#"{"event":"overheat"}"#), ["report event 0 "]);
    assert_eq!(line.mcu(r#"{"raw":"FF00","id":1}"#), ["report raw [255, 0]", r#"{"ack":1}"#]);
    assert_eq!(line.mcu(r#"{"user":"reset"}"#), ["user Reset"]);
    assert_eq!(line.mcu(r#"{"user":"configure","mode":2,"id":3}"#), ["user Configure(2)", r#"{"ack":3}"#]);
    assert_eq!(line.mcu(r#"{"ping":1}"#), [r#"{"pong":1}"#]);
}

#[test]
fn what_does_not_fit_the_thing_model_is_counted_and_the_rest_used() {
    let mut line = Line::online();
    let said = line.mcu(r#"{"report":{"power":true,"target":21.3,"humidity":40},"id":7}"#);
    assert_eq!(said, ["fault report_value", "fault report_value", "report 0=true", r#"{"ack":7}"#]);
    assert_eq!(line.mcu(r#"{"report":{"target":1e999}}"#), ["fault report_value"]);
    assert_eq!(line.mcu(r#"{"event":"smoke"}"#), ["fault report_value"]);
}

#[test]
fn lines_that_are_no_messages_are_counted_by_kind() {
    let mut line = Line::online();
    for (text, counter) in [
        ("boot v1.2", "json"),
        ("{\"report\":[1]}", "json"),
        ("{\"report\":{\"power\":tru", "json"),
        ("{\"done\":1.5}", "json"),
        ("[1]", "json"),
        ("{}", "message"),
        (r#"{"ping":1,"pong":1}"#, "message"),
        (r#"{"raw":"0"}"#, "message"),
        (r#"{"user":"explode"}"#, "message"),
    ] {
        assert_eq!(line.mcu(text), [format!("fault {counter}")], "{text}");
    }
    let deep = "[".repeat(60_000);
    assert_eq!(line.mcu(&format!("{{\"x\":{deep}")), ["fault json"]);
    assert_eq!(line.mcu(&"x".repeat(70_000)), ["fault line_too_long"]);
    assert_eq!(line.mcu(r#"{"report":{"power":true}}"#), ["report 0=true"]);
}

#[test]
fn news_from_before_the_product_is_known_are_held_and_acknowledged_when_they_can_be_handed_over() {
    let (mut line, _) = Line::opened();
    line.mcu(r#"{"hello":{"product_key":"oven"}}"#);
    for id in 0..17 {
        let text = format!(r#"{{"report":{{"target":{}}},"id":{id}}}"#, 16 + id);
        assert_eq!(line.mcu(&text), if id == 16 { vec!["fault held_report_dropped"] } else { Vec::new() });
        if id < 16 {
            assert_eq!(line.mcu(&text), [""; 0], "repeated by the MCU, held once");
        }
    }
    let said = line.input(LinkInput::Product { product: Arc::new(oven()), layout: None });
    assert_eq!(said.len(), 32);
    assert_eq!(said[..2], ["report 1=16.0", r#"{"ack":0}"#]);
    assert_eq!(said[30..], ["report 1=31.0", r#"{"ack":15}"#]);
    let again = line.mcu(r#"{"report":{"target":31},"id":15}"#);
    assert_eq!(again, ["fault duplicate", r#"{"ack":15}"#]);
}

#[test]
fn each_command_is_one_line_and_its_answer_the_outcome() {
    let mut line = Line::online();
    let target = Property { id: DatapointId(1), value: Value::Decimal { mantissa: 215, scale: 1 } };
    let said = line.command(50, CommandBody::Set(vec![target].into()), false);
    assert_eq!(said, [r#"{"set":{"target":21.5},"id":1}"#]);
    assert_eq!(line.mcu(r#"{"done":1}"#), ["50 done"]);
    let said = line.command(51, CommandBody::Get(vec![DatapointId(1)].into()), false);
    assert_eq!(said, [r#"{"get":["target"],"id":2}"#]);
    assert_eq!(line.mcu(r#"{"done":2,"values":{"power":true,"target":21.5}}"#), ["51 done 1=21.5"]);
    let minutes = Property { id: DatapointId(0), value: Value::Int(5) };
    let clean = CommandBody::Invoke { action: DatapointId(0), params: vec![minutes].into() };
    assert_eq!(line.command(52, clean, false), [r#"{"invoke":"clean","params":{"minutes":5},"id":3}"#]);
    assert_eq!(line.mcu(r#"{"done":3,"values":{"dirt":2}}"#), ["52 done 0=2"]);
    assert_eq!(line.command(53, CommandBody::Raw(vec![0xCA, 0xFE].into()), false), [r#"{"raw":"cafe","id":4}"#]);
    assert_eq!(line.mcu(r#"{"refused":4,"reason":"door open"}"#), ["53 refused: door open"]);
    assert_eq!(line.mcu(r#"{"done":4}"#), ["fault ack_unmatched"]);
}

#[test]
fn a_report_may_name_the_command_that_caused_it() {
    let mut line = Line::online();
    line.set_power(50);
    assert_eq!(line.mcu(r#"{"report":{"power":true},"command":1}"#), ["report 0=true for 50"]);
    line.mcu(r#"{"done":1}"#);
    assert_eq!(line.mcu(r#"{"report":{"power":true},"command":1}"#), ["report 0=true for 50"]);
    assert_eq!(line.mcu(r#"{"report":{"power":true},"command":9}"#), ["report 0=true"]);
}

#[test]
fn only_a_command_that_may_be_carried_out_twice_is_repeated() {
    let mut line = Line::online();
    line.set_power(50);
    assert_eq!(line.until(5000), ["5000 50 TimedOut"]);
    line.command(51, CommandBody::Get(vec![].into()), false);
    let said = line.until(10_000);
    let get = r#"{"get":[],"id":2}"#;
    assert_eq!(said, [format!("6000 {get}"), format!("7000 {get}"), "10000 51 TimedOut".into()]);
    assert_eq!(line.mcu(r#"{"done":2,"values":{}}"#), ["fault ack_unmatched"]);
}

#[test]
fn four_commands_are_under_way_and_the_rest_waits() {
    let mut line = Line::online();
    let sent: Vec<_> = (0..36).map(|ticket| line.set_power(ticket).len()).collect();
    assert_eq!(sent.iter().sum::<usize>(), 4);
    assert_eq!(line.set_power(36), ["36 refused: too many commands wait for the MCU"]);
    assert_eq!(line.mcu(r#"{"done":2}"#), ["1 done", r#"{"set":{"power":true},"id":5}"#]);
    let said = line.input(LinkInput::Closed);
    let count = |what: &str| said.iter().filter(|said| said.ends_with(what)).count();
    assert_eq!((count("TimedOut"), count("Unreachable"), said.len()), (4, 31, 36));
}

#[test]
fn a_command_that_cannot_be_carried_is_refused_before_the_line() {
    let (mut line, _) = Line::opened();
    assert_eq!(line.set_power(1), ["1 Unreachable"]);
    line.mcu(r#"{"hello":{}}"#);
    assert_eq!(line.set_power(2), ["2 refused: the product is not known yet"]);
    let mut line = Line::online();
    let body = CommandBody::Get(vec![DatapointId(9)].into());
    assert_eq!(line.command(3, body, true), ["3 refused: the product has no such property"]);
    let body = CommandBody::Invoke { action: DatapointId(9), params: vec![].into() };
    assert_eq!(line.command(4, body, true), ["4 refused: the product has no such action"]);
    let body = CommandBody::Raw(vec![0; 40_000].into());
    assert_eq!(line.command(5, body, true), ["5 refused: the command is longer than a line may be"]);
}

#[test]
fn firmware_is_refused() {
    let mut line = Line::online();
    let image = Image { size: 1, md5: [0; 16], format: ImageFormat::Binary };
    let refused = [r#"firmware Refused("this line cannot carry firmware")"#];
    assert_eq!(line.input(LinkInput::Firmware(FirmwareInput::Begin(image))), refused);
    let bytes = FirmwareInput::Bytes { offset: 0, bytes: &[1] };
    assert_eq!(line.input(LinkInput::Firmware(bytes)), [""; 0]);
    assert_eq!(line.input(LinkInput::Firmware(FirmwareInput::Cancel)), [""; 0]);
}

#[test]
fn a_silent_mcu_is_pinged_and_after_60_seconds_lost() {
    let mut line = Line::online();
    assert_eq!(line.until(20_000), [r#"20000 {"ping":1}"#]);
    line.mcu(r#"{"pong":1}"#);
    assert_eq!(line.until(40_000), [r#"40000 {"ping":1}"#]);
    line.until(78_000);
    line.set_power(50);
    let said = line.until(80_000);
    assert_eq!(said, ["80000 fault silent", "80000 50 TimedOut", "80000 online false", r#"80000 {"who":1}"#]);
    assert_eq!(line.mcu(r#"{"report":{"power":true}}"#)[..2], ["online true", "report 0=true"]);
}

#[test]
fn the_module_state_goes_out_on_change_with_the_time_once_it_is_known() {
    let mut line = Line::online();
    let state = ModuleState { network: true, signal_percent: 50, ip: "10.0.0.2".into(), ..ModuleState::default() };
    let said = line.input(LinkInput::Module(state.clone()));
    assert!(said[0].contains(r#""network":true,"#) && said[0].contains(r#""ip":"10.0.0.2""#), "{said:?}");
    assert!(!said[0].contains("time"));
    let flicker = ModuleState { signal_percent: 59, ..state.clone() };
    assert_eq!(line.input(LinkInput::Module(flicker)), [""; 0]);
    line.now.wall.unix_ms = 1_795_213_043_000;
    line.now.wall.quality = ClockQuality::SECONDS;
    let moved = ModuleState { signal_percent: 60, ..state };
    let said = line.input(LinkInput::Module(moved));
    assert!(said[0].ends_with(r#""time":1795213043,"utc_offset":0}}"#), "{said:?}");
}

proptest! {
    #[test]
    fn no_bytes_can_panic_the_link_or_make_it_grow(
        pieces in prop::collection::vec(prop_oneof![
            any::<Vec<u8>>(),
            Just(b"{\"report\":{\"power\":true},\"id\":1}\n".to_vec()),
            Just(b"{\"hello\":{\"product_key\":\"oven\"}}\n".to_vec()),
            (0..9_u32).prop_map(|id| format!("{{\"done\":{id}}}\n").into_bytes()),
            Just(vec![b'{'; 30_000]),
        ], 0..30),
        passes in prop::collection::vec(1..30_000_u64, 30)
    ) {
        let (mut line, _) = Line::opened();
        let mut ended = 0;
        let mut count = |said: Vec<String>| {
            let outcome = |said: &&String| ["done", "Unreachable", "TimedOut", "refused"].iter().any(|end| said.contains(end));
            ended += said.iter().filter(|said| !said.starts_with('{')).filter(outcome).count();
        };
        let commands = pieces.len();
        for (ticket, (piece, pass)) in pieces.into_iter().zip(passes).enumerate() {
            count(line.input(LinkInput::Bytes(&piece)));
            count(line.set_power(ticket as u64));
            count(line.until(line.now.monotonic.0 + pass));
        }
        count(line.input(LinkInput::Closed));
        prop_assert_eq!(ended, commands);
    }
}
