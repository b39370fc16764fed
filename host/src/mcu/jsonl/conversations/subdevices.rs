//! Conversations about the devices behind the MCU.

use polylink_plugin_api::Timestamp;

use super::*;
use crate::mcu::subdevices::SubdeviceRequest;

impl Line {
    fn ask(&mut self, request: SubdeviceRequest) -> Vec<String> {
        self.input(LinkInput::Subdevice(request))
    }

    /// Online, with subdevice 3.
    fn gateway() -> Self {
        let mut line = Self::online();
        line.mcu(r#"{"subdevice":3}"#);
        line
    }
}

fn admit(product: &str, address: &str) -> SubdeviceRequest {
    SubdeviceRequest::Admit { product: product.into(), address: address.into(), seconds: 60 }
}

#[test]
fn what_the_mcu_says_of_a_subdevice_is_told_before_it_is_acknowledged() {
    let (mut line, _) = Line::opened();
    let said = line.mcu(
        r#"{"subdevice":3,"product":"ABCDEF","address":"0011","radio":"zigbee","accepted":true,"online":true,"signal":80,"version":"1.2","id":7}"#,
    );
    let told =
        "subdevice 3 product ABCDEF, address 0011, radio zigbee, accepted true, online true, signal 80, version 1.2";
    assert_eq!(said[1..3], [told, r#"{"ack":7}"#], "no product is needed for it");
    assert_eq!(line.mcu(r#"{"subdevice":3,"signal":20}"#), ["subdevice 3 signal 20"]);
    assert_eq!(line.mcu(r#"{"subdevice":3,"radio":"lora","more":1}"#), ["subdevice 3 radio other"]);
    assert_eq!(line.mcu(r#"{"subdevice":3,"gone":true}"#), ["subdevice 3 gone"]);
    assert_eq!(line.mcu(r#"{"subdevice":64,"gone":false}"#), ["subdevice 64 "]);
}

#[test]
fn what_is_beyond_the_bounds_is_counted_and_acknowledged() {
    let mut line = Line::online();
    let long = "a".repeat(65);
    for text in [
        r#"{"subdevice":0,"id":1}"#.to_owned(),
        r#"{"subdevice":65,"id":1,"gone":true}"#.to_owned(),
        format!(r#"{{"subdevice":3,"address":"{long}","id":1}}"#),
        format!(r#"{{"subdevice":3,"product":"{long}","id":1}}"#),
        format!(r#"{{"subdevice":3,"version":"{}","id":1}}"#, &long[..33]),
        r#"{"subdevice":3,"signal":101,"id":1}"#.to_owned(),
    ] {
        assert_eq!(line.mcu(&text), ["fault subdevice", r#"{"ack":1}"#], "{text}");
    }
    for text in [r#"{"subdevice":-1}"#, r#"{"subdevice":3,"signal":256}"#, r#"{"subdevice":3,"online":1}"#] {
        assert_eq!(line.mcu(text), ["fault json"], "{text}");
    }
    let other = r#"{"report":{"power":true},"version":7,"online":"yes"}"#;
    assert_eq!(line.mcu(other), ["report 0=true"], "these members mean nothing there");
}

#[test]
fn reports_events_and_bytes_of_a_subdevice_carry_its_number() {
    let mut line = Line::online();
    assert_eq!(line.mcu(r#"{"report":{"power":true},"device":3}"#), ["report of 3 0=true"]);
    assert_eq!(line.mcu(r#"{"report":{"power":true},"device":0}"#), ["report 0=true"]);
    assert_eq!(line.mcu(r#"{"event":"overheat","params":{"level":3},"device":255}"#), ["report of 255 event 0 0=3"]);
    assert_eq!(line.mcu(r#"{"raw":"ff","device":3}"#), ["report of 3 raw [255]"]);
    let (mut line, _) = Line::opened();
    line.mcu(r#"{"report":{"power":true},"device":3}"#);
    let held = line.input(LinkInput::Product { product: Arc::new(oven()), layout: None });
    assert_eq!(held, ["report of 3 0=true"]);
}

#[test]
fn a_command_goes_to_a_subdevice_that_the_mcu_has_told_of_and_to_no_other() {
    let mut line = Line::gateway();
    let get = || CommandBody::Get(vec![DatapointId(0)].into());
    assert_eq!(line.command_to(3, 50, get()), [r#"{"get":["power"],"device":3,"id":1}"#]);
    assert_eq!(line.mcu(r#"{"done":1,"values":{"power":true}}"#), ["50 done 0=true"]);
    assert_eq!(line.mcu(r#"{"report":{"power":true},"command":1,"device":3}"#), ["report of 3 0=true for 50"]);
    assert_eq!(line.command_to(4, 51, get()), ["51 refused: the MCU has told of no subdevice 4"]);
    assert_eq!(line.command_to(u32::MAX, 52, get()), ["52 refused: the MCU has told of no subdevice 4294967295"]);
    line.mcu(r#"{"subdevice":3,"gone":true}"#);
    assert_eq!(line.command_to(3, 53, get()), ["53 refused: the MCU has told of no subdevice 3"]);
}

#[test]
fn wishes_of_the_clouds_are_lines_that_are_repeated_until_they_are_answered() {
    let mut line = Line::gateway();
    let said = line.ask(admit("ABC\"DEF", ""));
    assert_eq!(said, [r#"{"admit":{"product":"ABC\"DEF","address":""},"seconds":60,"id":1}"#]);
    assert_eq!(line.mcu(r#"{"done":1}"#), [""; 0]);
    let accept = r#"{"accept":3,"id":2}"#;
    assert_eq!(line.ask(SubdeviceRequest::Accept(3)), [accept]);
    assert_eq!(line.until(2000), [format!("1000 {accept}"), format!("2000 {accept}")]);
    assert_eq!(line.mcu(r#"{"refused":2,"reason":"out of reach"}"#), ["fault subdevice_refused"]);
    line.ask(SubdeviceRequest::Remove(3));
    let remove = r#"{"remove":3,"id":3}"#;
    let said = line.until(7000);
    assert_eq!(said, [format!("3000 {remove}"), format!("4000 {remove}"), "7000 fault subdevice_unanswered".into()]);
}

#[test]
fn a_wish_that_cannot_be_told_is_counted_and_not_kept() {
    let (mut line, _) = Line::opened();
    assert_eq!(line.ask(SubdeviceRequest::Accept(3)), ["fault subdevice_unanswered"], "nobody is there");
    let mut line = Line::gateway();
    for _ in 0..8 {
        line.ask(SubdeviceRequest::Accept(3));
    }
    assert_eq!(line.ask(SubdeviceRequest::Accept(3)), ["fault subdevice_unanswered"], "too many are under way");
    let said = line.input(LinkInput::Closed);
    assert_eq!(said.iter().filter(|said| *said == "fault subdevice_unanswered").count(), 8);
}

#[test]
fn wishes_take_no_place_from_the_commands_that_wait() {
    let mut line = Line::gateway();
    for _ in 0..8 {
        line.ask(SubdeviceRequest::Accept(3));
    }
    assert!((0..32).all(|ticket| line.set_power(ticket).is_empty()));
    assert_eq!(line.set_power(32), ["32 refused: too many commands wait for the MCU"]);
}

#[test]
fn subdevices_that_are_not_said_again_after_a_hello_are_gone() {
    let mut line = Line::online();
    for index in [1, 3, 64] {
        line.mcu(&format!(r#"{{"subdevice":{index}}}"#));
    }
    line.mcu(r#"{"hello":{"product_key":"oven"}}"#);
    line.until(9999);
    line.mcu(r#"{"subdevice":3,"online":true}"#);
    assert_eq!(line.until(10_000), ["10000 subdevice 1 gone", "10000 subdevice 64 gone"]);
    line.mcu(r#"{"hello":{"product_key":"oven"}}"#);
    line.mcu(r#"{"subdevice":3}"#);
    assert_eq!(line.until(19_999), [""; 0]);
    line.input(LinkInput::Closed);
    line.now.monotonic = Timestamp(30_000);
    assert_eq!(line.input(LinkInput::Opened), [r#"{"who":1}"#], "no word is missed while there is no line");
    line.mcu(r#"{"hello":{"product_key":"oven"}}"#);
    assert_eq!(line.until(40_000), ["40000 subdevice 3 gone"]);
}

#[test]
fn an_mcu_that_restarts_and_says_the_same_line_has_said_it_again() {
    let mut line = Line::online();
    let lamp = r#"{"subdevice":3,"id":1}"#;
    line.mcu(lamp);
    line.mcu(r#"{"hello":{"product_key":"oven"}}"#);
    assert_eq!(line.mcu(lamp), ["subdevice 3 ", r#"{"ack":1}"#]);
    assert_eq!(line.until(15_000), [""; 0]);
}

proptest! {
    #[test]
    fn no_lines_about_subdevices_can_panic_the_link_or_make_it_grow(
        steps in prop::collection::vec((any_step(), 0..20_000_u64), 0..60)
    ) {
        let mut line = Line::online();
        let mut known = std::collections::BTreeSet::new();
        for (step, pass) in steps {
            let mut said = match step {
                Step::Mcu(text) => line.mcu(&text),
                Step::Ask(request) => line.ask(request),
                Step::Command(device) => {
                    let said = line.command_to(device, 1, CommandBody::Get(vec![].into()));
                    let was_sent = said.iter().any(|said| said.contains(r#""device":"#));
                    prop_assert!(!was_sent || known.contains(&device), "{:?}", said);
                    said
                }
            };
            said.extend(line.until(line.now.monotonic.0 + pass));
            for words in said.iter().map(|said| said.split_once("subdevice ").map_or("", |(_, words)| words)) {
                let Some((Ok(index), rest)) = words.split_once(' ').map(|(index, rest)| (index.parse(), rest)) else { continue };
                prop_assert!((1..=64_u32).contains(&index));
                let _ = if rest == "gone" { known.remove(&index) } else { known.insert(index) };
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Mcu(String),
    Ask(SubdeviceRequest),
    Command(u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    let member = prop_oneof![
        "\"(product|address|version|radio)\":\"[ -!#-\\[\\]-~]{0,70}\"",
        "\"(accepted|online|gone)\":(true|false)",
        (0..300_u32).prop_map(|signal| format!("\"signal\":{signal}")),
        "\"[a-z]{1,8}\":(null|1|\"x\"|\\[\\])",
    ];
    let subdevice = (0..70_u32, prop::collection::vec(member, 0..4)).prop_map(|(index, members)| {
        let members: String = members.iter().map(|member| format!(",{member}")).collect();
        Step::Mcu(format!("{{\"subdevice\":{index}{members}}}"))
    });
    let few = prop_oneof![4 => 0..70_u32, 1 => any::<u32>()];
    prop_oneof![
        6 => subdevice,
        1 => Just(Step::Mcu(r#"{"hello":{"product_key":"oven"}}"#.to_owned())),
        2 => (1..40_u32, prop::bool::ANY).prop_map(|(id, done)| {
            Step::Mcu(format!("{{\"{}\":{id}}}", if done { "done" } else { "refused" }))
        }),
        1 => few.clone().prop_map(|index| Step::Ask(SubdeviceRequest::Accept(index))),
        1 => few.clone().prop_map(|index| Step::Ask(SubdeviceRequest::Remove(index))),
        1 => (any::<String>(), any::<String>()).prop_map(|(product, address)| Step::Ask(admit(&product, &address))),
        2 => few.prop_map(Step::Command),
    ]
}
