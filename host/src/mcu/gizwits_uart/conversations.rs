//! Whole conversations in virtual time: a scripted MCU on one side, the host's inputs on the other.

mod firmware;
mod histories;

use std::sync::Arc;

use polylink_plugin_api::{CommandBody, DatapointId, Now, Property, Timestamp, Value};

use super::GizwitsUart;
use super::frame::{Decoder, Frame};
use crate::mcu::virtual_line::VirtualLine;
use crate::mcu::{Link, LinkInput, ModuleState, UserEvent};
use crate::product::gizwits_import::{Imported, import};

/// An air conditioner with 2 writable attributes and a read-only one: status `04 | on | target | room`.
const AIR: &str = r#"{"product_key":"11111111111111111111111111111111","entities":[{"attrs":[
    {"id":0,"name":"on","data_type":"bool","type":"status_writable",
     "position":{"byte_offset":0,"bit_offset":0,"unit":"bit","len":1}},
    {"id":1,"name":"target","data_type":"uint8","type":"status_writable",
     "position":{"byte_offset":1,"bit_offset":0,"unit":"byte","len":1},
     "uint_spec":{"ratio":0.5,"addition":10,"min":0,"max":60}},
    {"id":2,"name":"room","data_type":"uint8","type":"status_readonly",
     "position":{"byte_offset":2,"bit_offset":0,"unit":"byte","len":1},
     "uint_spec":{"ratio":1,"addition":-13,"min":0,"max":200}}]}]}"#;

type Line = VirtualLine<GizwitsUart>;

impl Line {
    /// The port was opened at 0; the link has asked who the MCU is.
    fn opened() -> (Self, Vec<String>) {
        let link = GizwitsUart::new(9600);
        let held = (GizwitsUart::queued_bytes as fn(&_) -> _, MOST_BYTES);
        let mut line = Self { link, now: Now::default(), held, written };
        let said = line.input(LinkInput::Opened);
        (line, said)
    }

    /// The handshake is done, the product is known, the status word acknowledged.
    fn online() -> Self {
        let (mut line, _) = Self::opened();
        line.mcu(0x02, 0, &information('1'));
        line.mcu(0x0E, 1, &[]);
        line.learn(false);
        line
    }

    fn learn(&mut self, raw: bool) -> Vec<String> {
        let Imported { mut product, layout, .. } = import(AIR).unwrap();
        product.raw = raw;
        self.input(LinkInput::Product { product: Arc::new(product), layout: Some(Arc::new(layout)) })
    }

    fn mcu(&mut self, command: u8, sn: u8, payload: &[u8]) -> Vec<String> {
        self.bytes(&Frame::new(command, sn, payload.to_vec()).encode())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Vec<String> {
        self.input(LinkInput::Bytes(bytes))
    }

    fn set_target(&mut self, ticket: u64, mantissa: i64) -> Vec<String> {
        let value = Value::Decimal { mantissa, scale: 1 };
        self.command(ticket, CommandBody::Set(vec![Property { id: DatapointId(1), value }].into()), false)
    }
}

fn written(bytes: &[u8]) -> String {
    let mut shown = Vec::new();
    Decoder::default().push(bytes, |frame| {
        let frame = frame.unwrap();
        let payload: String = frame.payload.iter().map(|byte| format!("{byte:02x}")).collect();
        shown.push(format!("write {:02x} #{} {payload}", frame.command, frame.sn).trim_end().to_owned());
    });
    assert_eq!(shown.len(), 1, "one frame in each write");
    shown.remove(0)
}

/// The most a link holds: 16 reports, 32 waiting commands and the outstanding one (stuffed), a frame that comes, one that
/// came, the last report, a piece of firmware with what was read ahead for it.
const MOST_BYTES: usize = (16 + 32 + 2 + 2 + 1 + 1) * 4110;

/// Device information with a product key of this digit.
fn information(digit: char) -> Vec<u8> {
    let key = digit.to_string().repeat(32);
    [b"00000004000000040300000003000001".as_slice(), key.as_bytes(), &[0, 0]].concat()
}

/// A report: on, target (x), room (x).
const REPORT: [u8; 4] = [0x04, 1, 23, 38];

#[test]
fn the_handshake_makes_the_mcu_known_and_tells_it_the_module_status() {
    let (mut line, said) = Line::opened();
    assert_eq!(said, ["write 01 #0"]);
    let said = line.mcu(0x02, 0, &information('1'));
    assert_eq!(said, ["identified 1111 03000001", "online true", "write 0d #1 0000"]);
    assert_eq!(line.mcu(0x0E, 1, &[]), [""; 0]);
}

#[test]
fn a_silent_mcu_is_asked_three_times_per_try_with_growing_pauses() {
    let (mut line, _) = Line::opened();
    // A frame of 9 bytes leaves the line in 10 ms at 9600 bit/s.
    let expected = [
        "210 write 01 #0",
        "420 write 01 #0",
        "630 online false",
        "630 fault ack_timeout",
        "1130 write 01 #1",
        "1340 write 01 #1",
        "1550 write 01 #1",
        "1760 fault ack_timeout",
        "2760 write 01 #2",
    ];
    assert_eq!(line.until(2900), expected);
    let hour = line.until(3_600_000).len();
    assert!((1000..1500).contains(&hour), "{hour} events in an hour of silence");
    assert_eq!(line.mcu(0x02, 2, &information('1')), ["fault ack_unmatched"], "an answer to a question long given up");
}

#[test]
fn an_mcu_that_speaks_while_we_pause_is_asked_soon() {
    let (mut line, _) = Line::opened();
    line.until(3_600_000);
    assert_eq!(line.mcu(0x05, 9, &REPORT), [""; 0]);
    assert!(line.until(3_600_300).iter().any(|said| said.contains("write 01")));
}

#[test]
fn invalid_device_information_is_a_failed_try() {
    let (mut line, _) = Line::opened();
    assert_eq!(line.mcu(0x02, 0, b"00000004"), ["fault identity", "online false"]);
    assert_eq!(line.until(600), ["500 write 01 #1"]);
}

#[test]
fn reports_from_before_the_product_is_known_are_held_and_acknowledged_when_they_can_be_handed_over() {
    let (mut line, _) = Line::opened();
    line.mcu(0x02, 0, &information('1'));
    for sn in 0..17 {
        let said = line.mcu(0x05, sn, &[0x04, 1, sn, 38]);
        assert_eq!(said, if sn == 16 { vec!["fault held_report_dropped"] } else { Vec::new() });
        if sn < 16 {
            assert_eq!(line.mcu(0x05, sn, &[0x04, 1, sn, 38]), [""; 0], "repeated by the MCU, held once");
        }
    }
    let said = line.learn(false);
    assert_eq!(said.len(), 32);
    assert_eq!(said[..2], ["report 0=true 1=10.0 2=25", "write 06 #0"]);
    assert_eq!(said[30..], ["report 0=true 1=17.5 2=25", "write 06 #15"]);
    assert_eq!(line.mcu(0x05, 15, &[0x04, 1, 15, 38]), ["fault duplicate", "write 06 #15"]);
}

#[test]
fn a_report_is_handed_over_before_it_is_acknowledged() {
    let mut line = Line::online();
    assert_eq!(line.mcu(0x05, 7, &REPORT), ["report 0=true 1=21.5 2=25", "write 06 #7"]);
}

#[test]
fn a_repeated_request_is_acknowledged_again_and_not_acted_upon_twice() {
    let mut line = Line::online();
    line.mcu(0x05, 7, &REPORT);
    line.until(400);
    assert_eq!(line.mcu(0x05, 7, &REPORT), ["fault duplicate", "write 06 #7"]);
    assert_eq!(
        line.mcu(0x05, 8, &REPORT),
        ["report 0=true 1=21.5 2=25", "write 06 #8"],
        "a new number is a new report"
    );
    line.until(256_000);
    assert_eq!(line.mcu(0x05, 8, &REPORT)[0], "report again 0=true 1=21.5 2=25", "the number came round");
}

#[test]
fn a_value_outside_the_thing_model_is_counted_and_the_rest_of_the_report_used() {
    let mut line = Line::online();
    let said = line.mcu(0x05, 7, &[0x04, 1, 61, 38]);
    assert_eq!(said, ["fault report_value", "report 0=true 2=25", "write 06 #7"]);
}

#[test]
fn a_payload_that_does_not_fit_the_product_is_counted_and_acknowledged() {
    let mut line = Line::online();
    assert_eq!(line.mcu(0x05, 7, &REPORT[..3]), ["fault p0", "write 06 #7"]);
    assert_eq!(line.mcu(0x05, 8, &[]), ["fault p0", "write 06 #8"]);
    assert_eq!(line.mcu(0x05, 9, &[0x77]), ["fault p0", "write 06 #9"]);
    assert_eq!(line.mcu(0x05, 10, &[0x01, 1, 1, 1]), ["fault p0", "write 06 #10"]);
}

#[test]
fn a_command_is_done_when_the_mcu_acknowledges_it_and_the_next_report_is_its_effect() {
    let mut line = Line::online();
    assert_eq!(line.set_target(50, 215), ["write 03 #2 01020017"]);
    assert_eq!(line.mcu(0x04, 2, &[]), ["50 done"]);
    let said = line.mcu(0x05, 1, &REPORT);
    assert_eq!(said[0], "report 0=true 1=21.5 2=25 for 50");
    assert_eq!(line.mcu(0x05, 2, &REPORT)[0], "report 0=true 1=21.5 2=25", "the second is the device's own");
}

#[test]
fn a_report_long_after_a_control_or_with_other_values_is_the_devices_own() {
    let mut line = Line::online();
    line.set_target(50, 215);
    line.mcu(0x04, 2, &[]);
    assert_eq!(line.mcu(0x05, 1, &[0x04, 1, 24, 38])[0], "report 0=true 1=22.0 2=25");
    line.until(1000);
    assert_eq!(line.mcu(0x05, 2, &REPORT)[0], "report 0=true 1=21.5 2=25");
}

#[test]
fn an_unacknowledged_command_is_sent_three_times_with_one_number_and_times_out() {
    let mut line = Line::online();
    line.set_target(50, 215);
    let said = line.until(2000);
    let repeat = "write 03 #2 01020017";
    assert_eq!(
        said,
        [format!("214 {repeat}"), format!("428 {repeat}"), "642 50 TimedOut".into(), "642 fault ack_timeout".into()]
    );
    assert_eq!(line.mcu(0x04, 2, &[]), ["fault ack_unmatched"], "a late acknowledgement changes nothing");
    assert_eq!(line.set_target(51, 220), ["write 03 #3 01020018"]);
    assert_eq!(line.mcu(0x04, 3, &[]), ["51 done"]);
}

#[test]
fn an_acknowledgement_of_the_second_transmission_is_as_good() {
    let mut line = Line::online();
    line.set_target(50, 215);
    line.until(300);
    assert_eq!(line.mcu(0x04, 2, &[]), ["50 done"]);
}

#[test]
fn acknowledgements_with_a_wrong_number_or_command_do_not_count() {
    let mut line = Line::online();
    line.set_target(50, 215);
    assert_eq!(line.mcu(0x04, 3, &[]), ["fault ack_unmatched"]);
    assert_eq!(line.mcu(0x0E, 2, &[]), ["fault ack_unmatched"]);
    assert_eq!(line.mcu(0x04, 2, &[]), ["50 done"]);
}

#[test]
fn reports_are_served_while_a_command_waits_for_its_acknowledgement() {
    let mut line = Line::online();
    line.set_target(50, 215);
    assert_eq!(line.mcu(0x05, 3, &REPORT), ["report 0=true 1=21.5 2=25", "write 06 #3"]);
    assert_eq!(line.mcu(0x04, 2, &[]), ["50 done"]);
}

#[test]
fn one_request_is_outstanding_and_the_others_wait_their_turn() {
    let mut line = Line::online();
    line.set_target(50, 215);
    assert_eq!(line.set_target(51, 220), [""; 0]);
    let module = ModuleState { station: true, ..ModuleState::default() };
    assert_eq!(line.input(LinkInput::Module(module)), [""; 0]);
    assert_eq!(line.mcu(0x04, 2, &[]), ["50 done", "write 0d #3 0002"], "the status goes between two commands");
    assert_eq!(line.mcu(0x0E, 3, &[]), ["write 03 #4 01020018"]);
    assert_eq!(line.mcu(0x04, 4, &[]), ["51 done"]);
}

#[test]
fn more_commands_than_the_queue_holds_are_refused() {
    let mut line = Line::online();
    for ticket in 0..=32 {
        assert!(!line.set_target(ticket, 215).iter().any(|said| said.contains("refused")), "{ticket}");
    }
    assert_eq!(line.set_target(33, 215), ["33 refused: too many commands wait for the MCU"]);
}

#[test]
fn a_command_whose_deadline_passes_in_the_queue_was_never_sent() {
    let mut line = Line::online();
    for ticket in 50..60 {
        line.set_target(ticket, 215);
    }
    let said = line.until(6000);
    let count = |what: &str| said.iter().filter(|said| said.ends_with(what)).count();
    assert_eq!((count("TimedOut"), count("Unreachable")), (8, 2), "{said:?}");
}

#[test]
fn sequence_numbers_go_round() {
    let mut line = Line::online();
    for ticket in 0..600_u64 {
        let sn = (ticket + 2) as u8;
        assert_eq!(line.set_target(ticket, 215), [format!("write 03 #{sn} 01020017")]);
        assert_eq!(line.mcu(0x04, sn, &[]), [format!("{ticket} done")]);
    }
}

#[test]
fn what_the_protocol_or_the_product_cannot_carry_is_refused_before_the_line() {
    let mut line = Line::online();
    let set = |id, value| CommandBody::Set(vec![Property { id: DatapointId(id), value }].into());
    let cases = [
        (set(2, Value::Int(20)), "room is not writable"),
        (set(9, Value::Int(20)), "property 9 has no place in the MCU's payloads"),
        (set(1, Value::Int(41)), "target: 41 is outside 10.0 to 40.0"),
        (set(0, Value::Int(1)), "on takes no number"),
        (CommandBody::Set(vec![].into()), "the command sets nothing"),
        (CommandBody::Raw(vec![1].into()), "the product declares no uninterpreted bytes"),
        (
            CommandBody::Invoke { action: DatapointId(0), params: vec![].into() },
            "the Gizwits serial protocol knows no actions",
        ),
    ];
    for (body, why) in cases {
        assert_eq!(line.command(1, body, false), [format!("1 refused: {why}")]);
    }
    let get = CommandBody::Get(vec![].into());
    let deadline = Timestamp(5000);
    let input = LinkInput::Command { ticket: 1, device: 3, body: get, idempotent: true, deadline };
    assert_eq!(line.input(input), ["1 refused: the Gizwits serial protocol knows no subdevices"]);
    let wish = crate::mcu::subdevices::SubdeviceRequest::Accept(1);
    assert_eq!(line.input(LinkInput::Subdevice(wish)), [""; 0], "the host is told by `has_subdevices` not to ask");
    assert!(!line.link.has_subdevices());
}

#[test]
fn a_read_is_answered_with_what_was_asked_and_reports_nothing() {
    let mut line = Line::online();
    assert_eq!(line.command(50, CommandBody::Get(vec![DatapointId(2)].into()), false), ["write 03 #2 02"]);
    assert_eq!(line.mcu(0x04, 2, &[0x03, 1, 23, 38]), ["50 done 2=25"]);
    line.command(51, CommandBody::Get(vec![].into()), false);
    assert_eq!(line.mcu(0x04, 3, &[0x03, 1, 23, 38]), ["51 done 0=true 1=21.5 2=25"]);
    line.command(52, CommandBody::Get(vec![].into()), false);
    let why = "the MCU's answer: the payload is empty; it begins with an action code";
    assert_eq!(line.mcu(0x04, 4, &[]), ["fault p0".to_owned(), format!("52 refused: {why}")]);
}

#[test]
fn uninterpreted_bytes_pass_in_both_directions_if_the_product_declares_them() {
    let mut line = Line::online();
    assert_eq!(line.mcu(0x05, 1, &[0x06, 0xFF, 0]), ["fault raw", "write 06 #1"]);
    line.learn(true);
    assert_eq!(line.mcu(0x05, 2, &[0x06, 0xFF, 0]), ["report raw [255, 0]", "write 06 #2"]);
    assert_eq!(line.command(50, CommandBody::Raw(vec![0xFF, 0].into()), false), ["write 03 #2 05ff00"]);
    assert_eq!(line.mcu(0x04, 2, &[]), ["50 done"]);
    let long = CommandBody::Raw(vec![0; 4096].into());
    assert_eq!(line.command(51, long, false), ["51 refused: more bytes than a frame of the serial protocol holds"]);
}

#[test]
fn what_the_user_did_is_told_after_the_acknowledgement() {
    for (command, payload, event) in [
        (0x09, &[1][..], UserEvent::Configure(1)),
        (0x09, &[2], UserEvent::Configure(2)),
        (0x0B, &[], UserEvent::Reset),
        (0x13, &[], UserEvent::ProductionTest),
        (0x15, &[], UserEvent::Bind),
        (0x29, &[], UserEvent::Restart),
    ] {
        let mut line = Line::online();
        let said = line.mcu(command, 9, payload);
        assert_eq!(said, [format!("write {:02x} #9", command + 1), format!("user {event:?}")]);
    }
}

#[test]
fn unknown_commands_big_data_and_gateway_frames_are_refused() {
    let mut line = Line::online();
    for command in [0x19, 0x1B, 0x1D, 0x1F, 0x23, 0x27, 0x2D, 0x3C, 0x55, 0xFF, 0x01] {
        assert_eq!(line.mcu(command, 9, &[]), ["fault unknown_command", "write 11 #9 02"], "{command:#x}");
    }
    let gateway = Frame { flags: 1, ..Frame::new(0x05, 4, REPORT.to_vec()) };
    assert_eq!(line.bytes(&gateway.encode()), ["fault gateway", "write 11 #4 03"]);
    assert_eq!(line.mcu(0x09, 5, &[]), ["fault payload", "write 11 #5 03"]);
}

#[test]
fn a_wrong_checksum_is_told_for_requests_and_not_for_acknowledgements() {
    let mut line = Line::online();
    for (command, expected) in [
        (0x05, &["fault checksum", "write 11 #119 01"][..]),
        (0x21, &["fault checksum", "write 11 #119 01"]),
        (0x2D, &["fault checksum", "write 11 #119 02"]),
        (0x04, &["fault checksum"]),
        (0x11, &["fault checksum"]),
    ] {
        let mut wire = Frame::new(command, 0x77, REPORT.to_vec()).encode();
        wire[8] ^= 0x40;
        assert_eq!(line.bytes(&wire), expected, "{command:#x}");
    }
}

#[test]
fn a_complaint_of_the_mcu_repeats_the_request_at_once_and_is_never_answered() {
    let mut line = Line::online();
    line.set_target(50, 215);
    assert_eq!(line.mcu(0x12, 9, &[1]), ["fault mcu_complains"]);
    assert_eq!(line.mcu(0x12, 2, &[1]), ["fault mcu_complains", "write 03 #2 01020017"]);
    assert_eq!(line.mcu(0x11, 2, &[1]), ["fault mcu_complains", "write 03 #2 01020017"]);
    assert_eq!(line.mcu(0x12, 2, &[1]), ["fault mcu_complains"], "three transmissions are enough");
    assert_eq!(line.mcu(0x12, 2, &[]), [""; 0], "an empty one is the acknowledgement of our notice");
    assert_eq!(line.until(300), ["214 50 TimedOut", "214 fault ack_timeout"]);
}

#[test]
fn a_heartbeat_goes_out_after_55_seconds_of_silence_and_180_end_the_conversation() {
    let mut line = Line::online();
    assert_eq!(line.until(55_000), ["55000 write 07 #2"]);
    assert_eq!(line.mcu(0x08, 2, &[]), [""; 0]);
    assert_eq!(line.until(110_000), ["110000 write 07 #3"]);
    let said = line.until(236_000);
    assert!(said.contains(&"165000 write 07 #4".into()), "{said:?}");
    assert!(said.contains(&"235000 fault silent".into()), "{said:?}");
    assert_eq!(said.iter().filter(|said| said.contains("online")).collect::<Vec<_>>(), ["235000 online false"]);
    let asked: Vec<_> = said.iter().filter(|said| said.contains("write 01")).collect();
    assert_eq!(asked[0], "235000 write 01 #6");
    assert_eq!(line.mcu(0x02, 7, &information('1')), ["fault ack_unmatched"]);
}

#[test]
fn reports_keep_the_conversation_alive_without_heartbeats() {
    let mut line = Line::online();
    for second in 1..600 {
        let said = line.until(second * 1000);
        assert_eq!(said, [""; 0]);
        line.mcu(0x05, second as u8, &REPORT);
    }
}

#[test]
fn commands_under_way_end_when_the_mcu_is_lost_or_the_port_closes() {
    let mut line = Line::online();
    line.set_target(50, 215);
    line.set_target(51, 215);
    assert_eq!(line.input(LinkInput::Closed), ["50 TimedOut", "51 Unreachable", "online false"]);
    assert_eq!(line.set_target(52, 215), ["52 Unreachable"]);
    assert_eq!(line.link.next_timeout(), None);
    assert_eq!(line.mcu(0x05, 1, &REPORT), [""; 0], "bytes of a closed port");
}

#[test]
fn an_mcu_that_comes_back_is_told_again_only_if_it_is_another() {
    let mut line = Line::online();
    line.input(LinkInput::Closed);
    assert_eq!(line.input(LinkInput::Opened), ["write 01 #2"]);
    assert_eq!(line.mcu(0x02, 2, &information('1')), ["online true", "write 0d #3 0000"]);
    assert_eq!(line.mcu(0x05, 1, &REPORT)[0], "report 0=true 1=21.5 2=25", "the product is still known");
    line.input(LinkInput::Closed);
    line.input(LinkInput::Opened);
    assert_eq!(line.mcu(0x02, 4, &information('2'))[..2], ["identified 2222 03000001", "online true"]);
    assert_eq!(line.mcu(0x05, 1, &REPORT), [""; 0], "held: its product is not known yet");
    assert_eq!(line.set_target(50, 215), ["50 refused: the product is not known yet"]);
}

#[test]
fn the_module_status_goes_out_on_change_and_every_ten_minutes() {
    let mut line = Line::online();
    let online = ModuleState { network: true, station: true, signal_percent: 50, ..ModuleState::default() };
    assert_eq!(line.input(LinkInput::Module(online.clone())), ["write 0d #2 0312"]);
    line.mcu(0x0E, 2, &[]);
    let flicker = ModuleState { signal_percent: 59, ..online.clone() };
    assert_eq!(line.input(LinkInput::Module(flicker)), [""; 0]);
    let moved = ModuleState { signal_percent: 60, ..online };
    assert_eq!(line.input(LinkInput::Module(moved)), ["write 0d #3 0412"]);
    line.mcu(0x0E, 3, &[]);
    let mut words = Vec::new();
    for second in 1..=1300 {
        for said in line.until(second * 1000) {
            let (at, write) = said.split_once(' ').unwrap();
            let sn = write.split(['#', ' ']).nth(3).unwrap().parse().unwrap();
            words.push(at.parse::<u64>().unwrap());
            line.mcu(0x0E, sn, &[]);
        }
        line.mcu(0x05, second as u8, &REPORT);
    }
    assert_eq!(words, [600_000, 1_200_000]);
}

#[test]
fn network_time_and_module_information_are_answered_from_what_is_known() {
    let mut line = Line::online();
    assert_eq!(line.mcu(0x17, 7, &[]), [format!("write 18 #7 {}", "00".repeat(11))]);
    line.now.wall.unix_ms = 1_795_213_043_000;
    line.now.wall.quality = polylink_plugin_api::ClockQuality::SECONDS;
    line.now.utc_offset_s = 8 * 3600;
    assert_eq!(line.mcu(0x17, 7, &[]), ["write 18 #7 07ea0b150611176b00c6f3"]);
    let said = line.mcu(0x21, 8, &[0]);
    assert!(said[0].starts_with("write 22 #8 013030303030303034"), "{said:?}");
}

#[test]
fn a_restart_of_the_mcu_is_asked_for_and_followed_by_a_handshake() {
    let mut line = Line::online();
    assert_eq!(line.input(LinkInput::RestartMcu), ["write 0f #2"]);
    assert_eq!(line.mcu(0x10, 2, &[]), ["online false"]);
    assert_eq!(line.until(1000), ["1000 write 01 #3"]);
}

#[test]
fn a_half_frame_does_not_swallow_what_comes_after_a_pause() {
    let mut line = Line::online();
    let whole = Frame::new(0x05, 1, REPORT.to_vec()).encode();
    assert_eq!(line.bytes(&whole[..7]), [""; 0]);
    assert_eq!(line.until(1500), ["1000 fault incomplete"]);
    assert_eq!(line.bytes(&whole)[0], "report 0=true 1=21.5 2=25");
    line.bytes(&whole[..7]);
    line.now.monotonic = Timestamp(9000);
    let said = line.bytes(&Frame::new(0x05, 2, REPORT.to_vec()).encode());
    assert_eq!(said[..2], ["fault incomplete", "report 0=true 1=21.5 2=25"], "also if nobody woke the link");
}

#[test]
fn noise_inside_a_frame_costs_that_frame_only() {
    let mut line = Line::online();
    let mut wire = Frame::new(0x05, 1, REPORT.to_vec()).encode();
    wire[6] ^= 0x80;
    wire.extend(Frame::new(0x05, 2, REPORT.to_vec()).encode());
    let said = line.bytes(&wire);
    assert_eq!(said, ["fault checksum", "write 11 #1 01", "report 0=true 1=21.5 2=25", "write 06 #2"]);
}

#[test]
fn a_product_without_layout_is_named_and_passes_only_uninterpreted_bytes() {
    let mut line = Line::online();
    let mut product = import(AIR).unwrap().product;
    product.raw = true;
    let said = line.input(LinkInput::Product { product: Arc::new(product), layout: None });
    assert_eq!(said, ["fault profile"; 4]);
    assert_eq!(line.mcu(0x05, 1, &REPORT), ["write 06 #1"]);
    assert_eq!(line.mcu(0x05, 2, &[0x06, 7]), ["report raw [7]", "write 06 #2"]);
}
