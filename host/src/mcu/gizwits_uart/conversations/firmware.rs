//! Firmware for the MCU: the recorded transfer, and everything that can go wrong with one.

use std::collections::VecDeque;

use md5::{Digest, Md5};

use super::*;
use crate::mcu::gizwits_uart::vectors::{named, unhex};
use crate::mcu::transfer::{FirmwareInput, Image, ImageFormat};

/// The file of the recorded transfer: 5000 bytes, the first and the last piece as recorded.
fn recorded() -> Vec<u8> {
    // Its bytes grow by 7, with one run of FF 55 that tests the stuffing.
    let mut file: Vec<u8> = (0..5000_usize).map(|at| (at * 7 % 256) as u8).collect();
    let first = unhex(named("ser-038").payload_hex.as_ref().unwrap());
    file[..128].copy_from_slice(&first[4..]);
    file
}

fn image(file: &[u8], format: ImageFormat) -> Image {
    Image { size: file.len() as u32, md5: Md5::digest(file).into(), format }
}

/// A link that is online, with a transfer of this file, and the MCU that it goes to.
struct Rig {
    line: Line,
    file: Vec<u8>,
    /// Number of the next request of the MCU.
    sn: u8,
    said: Vec<String>,
}

impl Rig {
    fn new(file: &[u8], format: ImageFormat) -> Self {
        let mut rig = Self { line: Line::online(), file: file.to_vec(), sn: 100, said: Vec::new() };
        rig.said = rig.firmware(FirmwareInput::Begin(image(file, format)));
        rig
    }

    /// The announcement is acknowledged.
    fn announced() -> Self {
        let mut rig = Self::new(&recorded(), ImageFormat::Binary);
        assert_eq!(rig.line.mcu(0x1A, 2, &[]), [""; 0]);
        rig
    }

    /// The first piece, of 128 bytes, is on its way.
    fn sending() -> Self {
        let mut rig = Self::announced();
        rig.said = rig.ready(0, 128);
        rig.give();
        assert_eq!(rig.said.len(), 1, "{:?}", rig.said);
        rig
    }

    fn firmware(&mut self, input: FirmwareInput<'_>) -> Vec<String> {
        self.line.input(LinkInput::Firmware(input))
    }

    /// The MCU is ready for the file.
    fn ready(&mut self, flags: u16, max_len: u16) -> Vec<String> {
        let md5 = hex(&image(&self.file, ImageFormat::Binary).md5);
        self.ready_for(&md5, flags, max_len)
    }

    fn ready_for(&mut self, md5: &str, flags: u16, max_len: u16) -> Vec<String> {
        self.sn += 1;
        let payload = [&[0, 32][..], md5.as_bytes(), &max_len.to_be_bytes()].concat();
        let frame = Frame { flags, ..Frame::new(0x1B, self.sn, payload) };
        self.line.bytes(&frame.encode())
    }

    /// Gives the bytes that `said` wants, and leaves what follows in `said`.
    fn give(&mut self) {
        let (offset, len) = wanted(self.said.last().unwrap()).expect("bytes are wanted");
        let bytes = self.file[offset..offset + len].to_vec();
        self.said = self.firmware(FirmwareInput::Bytes { offset: offset as u32, bytes: &bytes });
    }

    /// Plays the MCU until the transfer ends: each piece is acknowledged. The pieces' payloads, and the end.
    fn finish(&mut self) -> (Vec<Vec<u8>>, String) {
        let mut pieces = Vec::new();
        loop {
            if let Some(end) = self.said.iter().find(|said| said.starts_with("firmware ended")) {
                return (pieces, end.clone());
            }
            let last = self.said.last().unwrap().clone();
            if wanted(&last).is_some() {
                self.give();
            } else if let Some(piece) = last.strip_prefix("write 1d #") {
                let (sn, payload) = piece.split_once(' ').unwrap();
                pieces.push(unhex(payload));
                self.said = self.line.mcu(0x1E, sn.parse().unwrap(), &[]);
            } else {
                panic!("neither bytes nor a piece nor the end: {last}");
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Offset and length of `Wanted`.
pub(super) fn wanted(said: &str) -> Option<(usize, usize)> {
    let numbers = said.strip_prefix("firmware Wanted { offset: ")?.strip_suffix(" }")?;
    let (offset, len) = numbers.split_once(", len: ")?;
    Some((offset.parse().unwrap(), len.parse().unwrap()))
}

/// What is said with the payloads of announcement and pieces left out.
fn short(said: &[String]) -> Vec<String> {
    let cut = |said: &String| match said.find("write 1d").or_else(|| said.find("write 19")) {
        Some(at) => said[at..].split(' ').take(3).fold(said[..at].to_owned(), |text, word| text + word + " "),
        None => said.clone(),
    };
    said.iter().map(|said| cut(said).trim_end().to_owned()).collect()
}

#[track_caller]
fn check(said: &[String], expected: &[&str]) {
    assert_eq!(short(said), expected);
}

#[test]
fn the_recorded_transfer_gives_the_recorded_frames() {
    let md5 = named("ser-036").payload_hex.unwrap()[12..].to_owned();
    let md5: String = unhex(&md5).into_iter().map(char::from).collect();
    let file = recorded();
    assert_eq!(hex(&Md5::digest(&file)), md5, "the recorded file");
    let mut rig = Rig::new(&file, ImageFormat::Binary);
    let announced = named("ser-036").payload_hex.unwrap();
    assert_eq!(rig.said, [format!("write 19 #2 {announced}")]);
    rig.line.mcu(0x1A, 2, &[]);
    rig.said = rig.line.bytes(&unhex(&named("ser-037").wire_hex));
    assert_eq!(rig.said, ["write 1c #2", "firmware Wanted { offset: 0, len: 128 }"]);
    let (pieces, end) = rig.finish();
    assert_eq!(end, "firmware ended: the MCU has all of it");
    assert_eq!((pieces.len(), pieces[39].len()), (40, 4 + 8));
    assert_eq!(hex(&pieces[0]), named("ser-038").payload_hex.unwrap());
    assert_eq!(hex(&pieces[39]), named("ser-039").payload_hex.unwrap());
    let data: Vec<u8> = pieces.iter().flat_map(|piece| piece[4..].to_vec()).collect();
    assert_eq!(hex(&Md5::digest(&data)), md5);
}

#[test]
fn an_mcu_that_names_no_length_gets_256_bytes_a_piece() {
    let mut rig = Rig::announced();
    rig.said = rig.ready(0, 0);
    let (pieces, _) = rig.finish();
    assert_eq!(pieces.len(), 20);
    assert_eq!(pieces.iter().map(|piece| piece.len() - 4).max(), Some(256));
}

/// A link whose transfer is over, with the number of its last piece.
fn given() -> (Rig, u8) {
    let mut rig = Rig::sending();
    rig.said = rig.line.mcu(0x1E, 3, &[]);
    assert_eq!(rig.finish().0.len(), 39);
    check(&rig.said, &["firmware Progress(5000)", "firmware ended: the MCU has all of it", "online false"]);
    (rig, 42)
}

#[test]
fn an_mcu_that_was_given_firmware_is_asked_who_it_is() {
    let (mut rig, last) = given();
    check(&rig.line.until(1_100), &[&format!("1000 write 01 #{}", last + 1)]);
    let mut other = information('1');
    other[24..32].copy_from_slice(b"03000002");
    check(&rig.line.mcu(0x02, last + 1, &other), &["identified 1111 03000002", "online true", "write 0d #44 0000"]);
    rig.line.mcu(0x0E, last + 2, &[]);
    assert_eq!(rig.line.until(50_000), [""; 0], "it is known now");
}

#[test]
fn an_mcu_that_is_slow_to_become_another_is_asked_again_a_few_times() {
    let (mut rig, _) = given();
    let mut asked = Vec::new();
    for second in 1..400 {
        let mut said: VecDeque<_> = rig.line.until(second * 1000).into();
        while let Some(request) = said.pop_front() {
            let Some((_, frame)) = request.split_once("write ") else { continue };
            let sn = frame[4..].split(' ').next().unwrap().parse().unwrap();
            let payload = if frame.starts_with("01") { information('1') } else { Vec::new() };
            asked.extend(frame.starts_with("01").then_some(second));
            let command = u8::from_str_radix(&frame[..2], 16).unwrap();
            said.extend(rig.line.mcu(command + 1, sn, &payload));
        }
    }
    assert_eq!(asked, [1, 6, 36, 156]);
}

#[test]
fn an_mcu_that_is_lost_while_it_becomes_another_is_waited_for() {
    let (mut rig, last) = given();
    rig.line.until(1_000);
    rig.line.mcu(0x02, last + 1, &information('1'));
    rig.line.mcu(0x0E, last + 2, &[]);
    let said = rig.line.until(6_700);
    check(&said[said.len() - 2..], &["6630 online false", "6630 fault ack_timeout"]);
    assert!(rig.line.until(8_000)[0].contains("write 01"));
}

/// A link whose MCU was given firmware and says what it said before; with the number of the next request.
fn unchanged() -> (Rig, u8) {
    let (mut rig, last) = given();
    rig.line.until(1_000);
    rig.line.mcu(0x02, last + 1, &information('1'));
    rig.line.mcu(0x0E, last + 2, &[]);
    (rig, last + 3)
}

#[test]
fn an_mcu_that_prepares_itself_for_the_next_firmware_is_not_asked_meanwhile() {
    let (mut rig, next) = unchanged();
    let image = image(&rig.file, ImageFormat::Binary);
    check(&rig.firmware(FirmwareInput::Begin(image)), &[&format!("write 19 #{next}")]);
    rig.line.mcu(0x1A, next, &[]);
    // It erases its flash, and answers nothing: not even a heartbeat.
    assert_eq!(rig.line.until(50_000), [""; 0]);
    rig.said = rig.ready(0, 128);
    rig.said.remove(0);
    assert_eq!(rig.finish().1, "firmware ended: the MCU has all of it");
}

#[test]
fn what_an_mcu_is_to_hear_while_it_is_asked_once_more_is_not_forgotten() {
    let (mut rig, next) = unchanged();
    check(&rig.line.until(6_000), &[&format!("6000 write 01 #{next}")]);
    assert_eq!(rig.line.input(LinkInput::RestartMcu), [""; 0], "the line is taken");
    check(&rig.line.mcu(0x02, next, &information('1')), &[&format!("write 0f #{}", next + 1)]);
}

#[test]
fn progress_is_told_with_each_acknowledgement() {
    let mut rig = Rig::sending();
    check(&rig.line.mcu(0x1E, 3, &[]), &["firmware Progress(128)", "firmware Wanted { offset: 128, len: 128 }"]);
}

#[test]
fn an_mcu_that_wants_lines_gets_them() {
    let text = b":1000\r\n:2000\r\n:00000001FF\r\n";
    let mut rig = Rig::new(text, ImageFormat::IntelHex);
    rig.line.mcu(0x1A, 2, &[]);
    rig.said = rig.ready(1, 64);
    let (pieces, end) = rig.finish();
    let lines: Vec<_> = pieces.iter().map(|piece| std::str::from_utf8(&piece[4..]).unwrap()).collect();
    assert_eq!((lines, end.as_str()), (vec![":1000", ":2000", ":00000001FF"], "firmware ended: the MCU has all of it"));
    assert_eq!((&pieces[0][..4], &pieces[2][..4]), (&[0, 1, 0, 0][..], &[0, 3, 0, 0][..]));
}

#[test]
fn an_mcu_that_wants_no_lines_gets_the_file_as_it_is() {
    let text = b":1000\r\n:00000001FF\r\n";
    let mut rig = Rig::new(text, ImageFormat::IntelHex);
    rig.line.mcu(0x1A, 2, &[]);
    rig.said = rig.ready(0, 64);
    assert_eq!(rig.finish().0, [[&[0, 1, 0, 1][..], text].concat()]);
}

#[test]
fn lines_of_a_binary_file_are_refused_with_error_4() {
    let mut rig = Rig::announced();
    let end = "firmware ended: the MCU wants Intel HEX, the file is binary";
    check(&rig.ready(1, 128), &["write 11 #101 04", end]);
    check(&rig.ready(0, 128), &["fault unknown_command", "write 11 #102 02"]);
}

#[test]
fn a_file_that_is_no_intel_hex_is_not_sent() {
    let mut rig = Rig::new(b"hello", ImageFormat::IntelHex);
    rig.line.mcu(0x1A, 2, &[]);
    rig.said = rig.ready(1, 0);
    rig.give();
    let end = "firmware ended: the file cannot be sent: what ends at byte 5 is no record of Intel HEX";
    check(&rig.said, &[end, "write 1f #3"]);
}

#[test]
fn an_announcement_that_is_not_acknowledged_is_sent_three_times_and_given_up() {
    let mut rig = Rig::new(&recorded(), ImageFormat::Binary);
    // 47 bytes on the wire, 49 ms at 9600 bit/s.
    let end = "firmware ended: the MCU did not acknowledge the announcement";
    let expected =
        ["249 write 19 #2", "498 write 19 #2", &format!("747 {end}"), "747 fault ack_timeout", "747 write 1f #3"];
    check(&rig.line.until(900), &expected);
    assert_eq!(rig.line.mcu(0x20, 3, &[]), [""; 0]);
}

#[test]
fn a_piece_that_is_not_acknowledged_is_sent_three_times_in_nine_seconds_and_then_the_transfer_ends() {
    let mut rig = Rig::sending();
    // 144 bytes on the wire, 150 ms at 9600 bit/s.
    let end = "firmware ended: the MCU did not acknowledge a piece";
    let said = rig.line.until(10_000);
    let expected = [
        "3150 write 1d #3",
        "6300 write 1d #3",
        &format!("9450 {end}"),
        "9450 fault ack_timeout",
        "9450 write 1f #4",
        "9660 write 1f #4",
        "9870 write 1f #4",
    ];
    check(&said, &expected);
    check(&rig.line.mcu(0x1E, 3, &[]), &["fault ack_unmatched"]);
}

#[test]
fn a_piece_that_was_lost_once_comes_again_and_the_transfer_goes_on() {
    let mut rig = Rig::sending();
    assert_eq!(rig.line.until(4000).len(), 1);
    rig.said = rig.line.mcu(0x1E, 3, &[]);
    let (pieces, end) = rig.finish();
    assert_eq!((pieces.len(), end.as_str()), (39, "firmware ended: the MCU has all of it"));
}

#[test]
fn an_acknowledgement_with_another_number_moves_nothing() {
    let mut rig = Rig::sending();
    check(&rig.line.mcu(0x1E, 9, &[]), &["fault ack_unmatched"]);
    check(&rig.line.mcu(0x1A, 3, &[]), &["fault ack_unmatched"]);
}

#[test]
fn an_mcu_has_three_minutes_to_be_ready_and_hears_heartbeats_meanwhile() {
    let mut rig = Rig::announced();
    let mut said = Vec::new();
    for beat in 0..3_u8 {
        said.extend(rig.line.until(55_000 * (u64::from(beat) + 1)));
        rig.line.mcu(0x08, 3 + beat, &[]);
    }
    said.extend(rig.line.until(180_000));
    let end = "180000 firmware ended: the MCU was not ready within 180 s";
    check(&said, &["55000 write 07 #3", "110000 write 07 #4", "165000 write 07 #5", end, "180000 write 1f #6"]);
}

#[test]
fn an_mcu_that_is_ready_before_its_acknowledgement_arrives_has_acknowledged() {
    let mut rig = Rig::new(&recorded(), ImageFormat::Binary);
    rig.said = rig.ready(0, 128);
    check(&rig.said, &["write 1c #101", "firmware Wanted { offset: 0, len: 128 }"]);
    check(&rig.line.mcu(0x1A, 2, &[]), &["fault ack_unmatched"]);
    assert_eq!(rig.finish().0.len(), 40);
}

#[test]
fn an_mcu_that_wants_another_file_is_acknowledged_and_sent_nothing() {
    let mut rig = Rig::announced();
    check(&rig.ready_for(&"0".repeat(32), 0, 128), &["write 1c #101"]);
    check(&rig.line.until(100), &[]);
    rig.said = rig.ready(0, 128);
    check(&rig.said, &["write 1c #102", "firmware Wanted { offset: 0, len: 128 }"]);
    // In the midst of it: whatever it was sent, it wants it no more.
    rig.give();
    check(&rig.ready_for(&"0".repeat(32), 0, 128), &["write 1c #103"]);
    rig.line.until(100_000);
    rig.line.mcu(0x05, 9, &REPORT);
    let said = rig.line.until(181_000);
    let end = "180100 firmware ended: the MCU wants a file with another MD5".to_owned();
    assert!(said.contains(&end), "{said:?}");
}

#[test]
fn upper_case_is_the_same_md5() {
    let mut rig = Rig::announced();
    let md5 = hex(&image(&rig.file, ImageFormat::Binary).md5).to_uppercase();
    assert_eq!(rig.ready_for(&md5, 0, 128).len(), 2);
}

#[test]
fn a_word_of_readiness_without_its_fields_is_refused() {
    let mut rig = Rig::announced();
    for payload in [&[][..], &[0, 32], &[0, 16, 1, 2], &[b'0'; 40], &[&[0, 32][..], &[b'0'; 33]].concat()] {
        check(&rig.line.mcu(0x1B, 7, payload), &["fault payload", "write 11 #7 03"]);
    }
    rig.said = rig.ready(0, 128);
    assert_eq!(rig.finish().0.len(), 40);
}

#[test]
fn a_repeated_word_of_readiness_is_acknowledged_and_begins_nothing() {
    let mut rig = Rig::sending();
    rig.sn -= 1;
    check(&rig.ready(0, 128), &["fault duplicate", "write 1c #101"]);
}

#[test]
fn an_mcu_that_restarts_gets_everything_again_and_may_want_other_pieces() {
    let mut rig = Rig::sending();
    rig.said = rig.line.mcu(0x1E, 3, &[]);
    rig.give();
    rig.said = rig.ready(0, 500);
    check(&rig.said, &["write 1c #102", "firmware Progress(0)", "firmware Wanted { offset: 0, len: 500 }"]);
    check(&rig.line.mcu(0x1E, 4, &[]), &["fault ack_unmatched"]);
    let (pieces, end) = rig.finish();
    assert_eq!((pieces.len(), end.as_str()), (10, "firmware ended: the MCU has all of it"));
}

#[test]
fn an_mcu_that_restarts_for_ever_is_given_up() {
    let mut rig = Rig::sending();
    let ends: Vec<_> = (0..6).flat_map(|_| rig.ready(0, 128)).filter(|said| said.contains("ended")).collect();
    assert_eq!(ends, ["firmware ended: the MCU began anew more than 5 times"]);
    check(&rig.ready(0, 128), &["fault unknown_command", "write 11 #108 02"]);
}

#[test]
fn an_mcu_may_abort_at_any_time_and_says_so_twice() {
    for mut rig in [Rig::new(&recorded(), ImageFormat::Binary), Rig::announced(), Rig::sending()] {
        check(&rig.line.mcu(0x27, 7, &[]), &["write 28 #7", "firmware ended: given up by the MCU"]);
        check(&rig.line.mcu(0x27, 7, &[]), &["fault duplicate", "write 28 #7"]);
        check(&rig.line.mcu(0x27, 8, &[]), &["fault unknown_command", "write 11 #8 02"]);
        check(&rig.line.until(20_000), &[]);
    }
}

#[test]
fn the_host_may_give_up_at_any_time_and_the_mcu_hears_of_it() {
    for mut rig in [Rig::new(&recorded(), ImageFormat::Binary), Rig::announced(), Rig::sending()] {
        let said = rig.firmware(FirmwareInput::Cancel);
        assert_eq!(said[0], "firmware ended: given up by the host");
        assert!(said[1].starts_with("write 1f #"), "{said:?}");
        check(&rig.firmware(FirmwareInput::Cancel), &[]);
    }
}

#[test]
fn a_transfer_that_was_not_announced_yet_is_given_up_without_a_word() {
    let mut rig = Rig { line: Line::online(), file: recorded(), sn: 100, said: Vec::new() };
    rig.line.set_target(1, 200);
    check(&rig.firmware(FirmwareInput::Begin(image(&recorded(), ImageFormat::Binary))), &[]);
    check(&rig.firmware(FirmwareInput::Cancel), &["firmware ended: given up by the host"]);
    check(&rig.line.mcu(0x04, 2, &[]), &["1 done"]);
}

#[test]
fn bytes_that_do_not_come_end_the_transfer() {
    let mut rig = Rig::announced();
    rig.ready(0, 128);
    let end = "10000 firmware ended: the bytes of the file did not come within 10 s";
    check(&rig.line.until(10_100), &[end, "10000 write 1f #3"]);
}

#[test]
fn bytes_that_nobody_wants_are_ignored_and_too_few_end_the_transfer() {
    let mut rig = Rig::announced();
    check(&rig.firmware(FirmwareInput::Bytes { offset: 0, bytes: &[1] }), &[]);
    rig.ready(0, 128);
    check(&rig.firmware(FirmwareInput::Bytes { offset: 128, bytes: &[1; 128] }), &[]);
    let said = rig.firmware(FirmwareInput::Bytes { offset: 0, bytes: &[1; 127] });
    let end = "firmware ended: the file cannot be sent: 127 bytes from offset 0 were given, 128 were wanted";
    check(&said, &[end, "write 1f #3"]);
}

#[test]
fn a_second_transfer_an_empty_file_and_an_absent_mcu_are_refused() {
    let mut rig = Rig::sending();
    let begin = |file: &[u8]| FirmwareInput::Begin(image(file, ImageFormat::Binary));
    check(&rig.firmware(begin(b"x")), &[r#"firmware Refused("a transfer to the MCU is under way")"#]);
    rig.firmware(FirmwareInput::Cancel);
    check(&rig.firmware(begin(b"")), &[r#"firmware Refused("the file is empty")"#]);
    let (mut line, _) = Line::opened();
    let said = line.input(LinkInput::Firmware(begin(b"x")));
    check(&said, &[r#"firmware Refused("the MCU does not answer")"#]);
}

#[test]
fn a_transfer_ends_with_the_line_with_the_mcu_and_with_its_restart() {
    let lost = "firmware ended: the MCU was lost".to_owned();
    assert!(Rig::sending().line.input(LinkInput::Closed).contains(&lost));
    assert!(Rig::sending().line.input(LinkInput::Opened).contains(&lost));
    let mut rig = Rig::announced();
    assert_eq!(rig.line.input(LinkInput::RestartMcu), ["write 0f #3"]);
    assert!(rig.line.mcu(0x10, 3, &[]).contains(&lost));
}

#[test]
fn commands_and_pieces_take_turns() {
    let mut rig = Rig::sending();
    for ticket in 0..3 {
        check(&rig.line.set_target(ticket, 200), &[]);
    }
    let mut order = Vec::new();
    let mut said = rig.line.mcu(0x1E, 3, &[]);
    for sn in 4..10_u8 {
        rig.said = said.clone();
        if said.last().is_some_and(|said| wanted(said).is_some()) {
            rig.give();
            said.append(&mut rig.said);
        }
        let sent = said.iter().find(|said| said.starts_with("write")).expect("the line is in use").clone();
        order.push(sent[6..8].to_owned());
        // The bytes of the next piece come while the command is under way.
        if let Some(want) = said.iter().find(|said| wanted(said).is_some()) {
            rig.said = vec![want.clone()];
            rig.give();
        }
        said = rig.line.mcu(if sent[6..8] == *"1d" { 0x1E } else { 0x04 }, sn, &[]);
    }
    assert_eq!(order, ["03", "1d", "03", "1d", "03", "1d"]);
}

#[test]
fn what_the_mcu_reports_and_asks_meanwhile_is_answered_at_once() {
    let mut rig = Rig::sending();
    check(&rig.line.mcu(0x05, 9, &REPORT), &["report 0=true 1=21.5 2=25", "write 06 #9"]);
    assert_eq!(rig.line.mcu(0x17, 10, &[]).len(), 1);
    rig.said = rig.line.mcu(0x1E, 3, &[]);
    assert_eq!(rig.finish().0.len(), 39);
}

#[test]
fn a_piece_that_the_mcu_did_not_understand_is_sent_again_at_once() {
    let mut rig = Rig::sending();
    check(&rig.line.mcu(0x12, 3, &[1]), &["fault mcu_complains", "write 1d #3"]);
}

#[test]
fn without_a_transfer_its_frames_are_answered_as_unknown() {
    let mut line = Line::online();
    let payload = [&[0, 32][..], &[b'0'; 32], &[0, 128]].concat();
    check(&line.mcu(0x1B, 7, &payload), &["fault unknown_command", "write 11 #7 02"]);
    check(&line.mcu(0x27, 8, &[]), &["fault unknown_command", "write 11 #8 02"]);
    check(&line.mcu(0x1E, 9, &[]), &["fault ack_unmatched"]);
    for command in [0x19, 0x1D, 0x1F] {
        check(&line.mcu(command, 9, &[]), &["fault unknown_command", "write 11 #9 02"]);
    }
}
