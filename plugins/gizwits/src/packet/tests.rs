//! The codec, by vectors of its own, corruptions, round trips and arbitrary bytes.

use hex_literal::hex;
use polylink_plugin_sdk::secret::Secret;
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check_datagram(bytes: &[u8], expected: Result<Frame, PacketError>) {
    assert_eq!(Frame::decode_datagram(bytes), expected);
}

#[test]
fn a_discovery_is_eight_bytes() {
    check_datagram(&hex!("00000003 03 00 0003"), Ok(Frame::empty(command::DISCOVER)));
}

#[test]
fn a_datagram_of_another_size_than_it_tells_is_refused() {
    check_datagram(&hex!("00000003 04 00 0003"), Err(PacketError::Length { told: 9, got: 8 }));
    check_datagram(&hex!("00000003 03 00 0003 00"), Err(PacketError::Length { told: 8, got: 9 }));
    check_datagram(&hex!("00000003 83"), Err(PacketError::Length { told: 8, got: 5 }));
    check_datagram(&[], Err(PacketError::Length { told: 8, got: 0 }));
}

#[test]
fn each_corruption_has_its_name() {
    check_datagram(&hex!("00000004 03 00 0003"), Err(PacketError::Version));
    check_datagram(&hex!("00000003 ffffffff7f 00 0003"), Err(PacketError::Varint));
    check_datagram(&hex!("00000003 02 00 00"), Err(PacketError::TooShort(2)));
    check_datagram(&hex!("00000003 00"), Err(PacketError::TooShort(0)));
    check_datagram(&hex!("00000003 03 01 0003"), Err(PacketError::Flag(1)));
    check_datagram(&hex!("00000003 ffffff7f"), Err(PacketError::TooLong(0x0FFF_FFFF + 8)));
}

#[test]
fn bytes_after_a_frame_in_a_payload_of_mqtt_are_dropped() {
    let frame = Frame::decode_prefix(&hex!("00000003 04 00 0090 02 deadbeef"));
    assert_eq!(frame, Ok(Frame::new(command::P0_REQUEST, [2])));
    assert!(Frame::decode_prefix(&hex!("00000003 05 00 0090 02")).is_err());
}

#[test]
fn a_stream_is_cut_wherever_its_segments_end() {
    let frames = [Frame::empty(0x15), Frame::new(0x91, vec![4; 300]), Frame::new(0x93, vec![7; 124])];
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
    for size in [1, 2, 3, 7, 200, bytes.len()] {
        let mut decoder = Decoder::new();
        let mut got = Vec::new();
        for segment in bytes.chunks(size) {
            decoder.push(segment);
            while let Some(frame) = decoder.next().unwrap() {
                got.push(frame);
            }
        }
        assert_eq!(got, frames, "in segments of {size}");
        assert_eq!(decoder.n_waiting(), 0);
    }
}

#[test]
fn a_frame_that_is_too_long_is_refused_before_its_payload_comes_and_nothing_is_kept_after() {
    let mut decoder = Decoder::new();
    decoder.push(&hex!("00000003 bf20"));
    assert_eq!(decoder.next(), Err(PacketError::TooLong(0x103F + 6)));
    decoder.push(&[0; 10_000]);
    assert_eq!(decoder.n_waiting(), 0);
    assert_eq!(decoder.next(), Err(PacketError::TooLong(0x103F + 6)));
}

#[test]
fn the_longest_frame_passes_and_one_byte_more_does_not() {
    let longest = Frame::new(0x91, vec![0; MAX_FRAME - 9]);
    assert_eq!(longest.encode().len(), MAX_FRAME);
    check_datagram(&longest.encode(), Ok(longest));
    let longer = Frame::new(0x91, vec![0; MAX_FRAME - 8]);
    check_datagram(&longer.encode(), Err(PacketError::TooLong(MAX_FRAME + 1)));
}

#[test]
fn a_stream_of_another_version_is_refused_at_its_first_wrong_byte() {
    let mut decoder = Decoder::new();
    decoder.push(b"G");
    assert_eq!(decoder.next(), Err(PacketError::Version));
}

#[test]
fn neither_a_frame_nor_its_errors_show_a_passcode() {
    let frame = Passcode(Secret::new(b"IPQRSTUVWX".to_vec())).frame(command::LOGIN);
    assert_eq!(format!("{frame:?}"), "Frame(0x0008, 12 bytes)");
    let error = Passcode::decode(&frame.payload[..11]).unwrap_err();
    assert_eq!(error.to_string(), "the payload is cut off: wanted 10 more bytes, got 9");
}

#[test]
fn a_network_is_named_with_one_to_32_bytes() {
    let named = |ssid: &str, password: &str| {
        let sent = Onboarding { ssid: ssid.to_owned(), password: Secret::new(password.to_owned()) };
        Onboarding::decode(&sent.frame().payload).is_ok_and(|got| got == sent)
    };
    assert!(named("a", ""));
    assert!(named(&"s".repeat(32), &"p".repeat(32)));
    assert!(!named("", "password"));
    assert!(!named(&"s".repeat(33), ""));
    assert!(!named("a", &"p".repeat(33)));
    assert!(Onboarding::decode(&hex!("0001 ff 0000")).is_err());
}

#[test]
fn discovery_answers_of_all_generations_are_read() {
    let mut device = Discovery { did: "d".to_owned(), mac: [1; 6], attributes: Some(2), ..Discovery::default() };
    let of = |device: &Discovery| Discovery::decode(&device.frame(command::DISCOVERED).payload);
    assert_eq!(of(&device), Ok(device.clone()));
    device.server = Some(("api.gizwits.com:80".to_owned(), "4.0.8".to_owned()));
    assert_eq!(of(&device), Ok(device.clone()));
    (device.server, device.attributes) = (None, None);
    assert_eq!(of(&device), Ok(device));
}

#[test]
fn a_log_line_is_cut_between_characters() {
    let line = LogLine { level: 3, tag: "ä".repeat(40), source: String::new(), content: "x".repeat(9000) };
    let got = LogLine::decode(&line.frame().payload).unwrap();
    assert_eq!((got.tag, got.content), ("ä".repeat(32), "x".repeat(1024)));
}

#[test]
fn a_request_needs_a_payload_and_its_whole_number() {
    let of = |command, payload: &[u8]| P0Request::decode(&Frame::new(command, payload)).map_err(|error| error.reason());
    assert_eq!(of(0x90, &[2]), Ok(Some(P0Request { sn: None, p0: vec![2] })));
    assert_eq!(of(0x93, &[0, 0, 0, 9, 2]), Ok(Some(P0Request { sn: Some(9), p0: vec![2] })));
    assert_eq!(of(0x90, &[]), Err("payload"));
    assert_eq!(of(0x93, &[0, 0, 0]), Err("payload"));
    assert_eq!(of(0x93, &[0, 0, 0, 9]), Err("payload"));
    assert_eq!(of(0x15, &[]), Ok(None));
}

#[test]
fn a_version_in_the_device_information_takes_eight_bytes() {
    let sent = DeviceInformation { module_software: "1.2".to_owned(), ..DeviceInformation::default() };
    let got = DeviceInformation::decode(&sent.frame().payload);
    assert_eq!(got, Ok(sent));
    let long = DeviceInformation { module_software: "123456789".to_owned(), ..DeviceInformation::default() };
    assert_eq!(DeviceInformation::decode(&long.frame().payload).unwrap().module_software, "12345678");
}

#[test]
fn a_log_switch_is_off_or_on() {
    for on in [false, true] {
        assert_eq!(LogSwitch::decode(&LogSwitch(on).frame().payload), Ok(LogSwitch(on)));
    }
    assert!(LogSwitch::decode(&[0, 2]).is_err());
    assert!(LogSwitch::decode(&[1]).is_err());
}

#[test]
fn the_wifi_version_survives_the_wire() {
    let sent = WifiVersion("04020006".to_owned());
    assert_eq!(WifiVersion::decode(&sent.frame().payload), Ok(sent));
    assert_eq!(WifiVersion::decode(&hex!("00000004 0000")), Err(PacketError::Version));
}

#[test]
fn a_server_message_for_others_is_told_by_its_command() {
    assert_eq!(ServerMessage::decode(&hex!("00000003 0212 ff")), Ok(ServerMessage::Other(0x0212)));
    assert_eq!(ServerMessage::decode(&hex!("00000004 0210 0001")), Err(PacketError::Version));
    assert!(ServerMessage::decode(&hex!("00000003 0211 03")).is_err());
    assert!(ServerMessage::decode(&hex!("00000003 020e 01 00000009 0002 68")).is_err());
    assert!(ServerMessage::decode(&hex!("00000003 02")).is_err());
}

prop_compose! {
    fn any_frame()(command: u16, payload in prop::collection::vec(any::<u8>(), 0..600)) -> Frame {
        Frame { command, payload }
    }
}

proptest! {
    #[test]
    fn every_frame_survives_the_wire(frame in any_frame()) {
        prop_assert_eq!(Frame::decode_datagram(&frame.encode()), Ok(frame.clone()));
        prop_assert_eq!(Frame::decode_prefix(&[frame.encode(), vec![0xFF; 9]].concat()), Ok(frame));
    }

    #[test]
    fn every_request_survives_the_wire(sn: Option<u32>, p0 in prop::collection::vec(any::<u8>(), 1..50)) {
        let request = P0Request { sn, p0: p0.clone() };
        prop_assert_eq!(P0Request::decode(&request.frame()), Ok(Some(request)));
        prop_assert_eq!(P0Answer::decode(&p0_answer(sn, &p0)), Ok(Some(P0Answer { sn, p0 })));
    }

    #[test]
    fn no_bytes_can_panic_a_decoder(bytes: Vec<u8>, after_the_version: bool) {
        let bytes = if after_the_version { [&VERSION[..], &bytes].concat() } else { bytes };
        let _ = Frame::decode_datagram(&bytes);
        let _ = Frame::decode_prefix(&bytes);
        let _ = ServerMessage::decode(&bytes);
        let _ = Discovery::decode(&bytes);
        let _ = ConfigSuccess::decode(&bytes);
        let _ = Passcode::decode(&bytes);
        let _ = LoginResult::decode(&bytes);
        let _ = Onboarding::decode(&bytes);
        let _ = HotSpot::decode(&bytes);
        let _ = LogSwitch::decode(&bytes);
        let _ = LogLine::decode(&bytes);
        let _ = DeviceInformation::decode(&bytes);
        let _ = WifiVersion::decode(&bytes);
    }

    #[test]
    fn a_decoder_never_keeps_more_than_a_frame(chunks in prop::collection::vec(any::<Vec<u8>>(), 0..20), begin: bool) {
        let mut decoder = Decoder::new();
        if begin {
            decoder.push(&VERSION);
        }
        for chunk in chunks {
            decoder.push(&chunk);
            while let Ok(Some(_)) = decoder.next() {}
            prop_assert!(decoder.n_waiting() <= MAX_FRAME);
        }
    }
}
