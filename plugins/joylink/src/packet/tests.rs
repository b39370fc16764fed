//! Packets, by corruptions, round trips, arbitrary bytes and arbitrary cuts.

use hex_literal::hex;
use proptest::prelude::*;

use super::*;
use crate::crypto::PublicKeyError;

/// The request that JD's manual of the module SDK shows as a capture.
const CAPTURED: [u8; 32] = hex!("bb553412 0000 1000 01 04 00 00 03 00 4306 1d59dd4878e87958de1e00b67abc8f61");

#[track_caller]
fn check(bytes: &[u8], expected: Result<Kind, Refused>) {
    assert_eq!(Packet::decode_datagram(Route::AppToDevice, bytes).map(|packet| packet.kind), expected);
}

/// A request of an app with these header fields and a right check sum.
fn with(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = CAPTURED.to_vec();
    change(&mut bytes);
    bytes
}

fn whole(kind: Kind, payload: Vec<u8>) -> Packet {
    Packet { enctype: enctype::KEY32, ..Packet::plain(kind, payload) }
}

#[test]
fn decodes_the_packet_printed_in_the_sdk_manual() {
    let packet = Packet::decode_datagram(Route::AppToDevice, &CAPTURED).unwrap();
    assert_eq!(packet, whole(Kind::Script, CAPTURED[16..].to_vec()));
    assert_eq!(packet.encode(Network::Lan).unwrap(), CAPTURED);
    assert_eq!(format!("{packet:?}"), "Packet(Script, 0/0 of 0, encryption 3, 0 and 16 bytes)");
}

#[test]
fn each_corruption_has_its_name_and_the_first_check_counts() {
    check(&CAPTURED[..15], Err(Refused::Length));
    check(&[], Err(Refused::Length));
    check(b"GET /", Err(Refused::Length));
    check(&with(|bytes| bytes[0] = 0xCC), Err(Refused::Magic));
    check(&hex!("aa55000006000000000000009b010000004f4b"), Err(Refused::Legacy));
    check(&CAPTURED[..31], Err(Refused::Length));
    check(&[&CAPTURED[..], &[0]].concat(), Err(Refused::Length));
    check(&with(|bytes| bytes[31] ^= 1), Err(Refused::Crc));
    check(&with(|bytes| (bytes[31], bytes[8]) = (0, 2)), Err(Refused::Crc));
    check(&with(|bytes| (bytes[8], bytes[9]) = (2, 99)), Err(Refused::Version(2)));
    check(&with(|bytes| (bytes[9], bytes[12]) = (17, 9)), Err(Refused::Kind(17)));
    check(&with(|bytes| bytes[9] = 11), Err(Refused::Kind(11)));
    for other in [0, 1, 2, 4, 255] {
        let enctype = Refused::Enctype { kind: Kind::Script, enctype: other };
        check(&with(|bytes| bytes[12] = other), Err(enctype));
    }
}

#[test]
fn no_type_is_accepted_on_a_route_that_it_does_not_take_and_none_with_the_fixed_key() {
    for &kind in Kind::ALL {
        assert_eq!(Kind::of(kind as u8), Some(kind));
        let taken = |route| !kind.enctypes(route).is_empty();
        assert_eq!(taken(Route::AppToDevice), taken(Route::DeviceToApp), "{kind:?}");
        for route in [Route::AppToDevice, Route::DeviceToApp, Route::CloudToDevice, Route::DeviceToCloud] {
            assert!(!kind.enctypes(route).contains(&enctype::FIXED_KEY), "{kind:?}");
        }
    }
    let guarded: Vec<u8> = Kind::ALL.iter().filter(|kind| kind.needs_replay_check()).map(|kind| *kind as u8).collect();
    assert_eq!(guarded, [2, 3, 4, 13, 102, 103, 104, 105]);
    assert!(Kind::AsyncResult.enctypes(Route::CloudToDevice).is_empty(), "it has no answer");
}

#[test]
fn an_authorization_is_judged_by_cipher_length_then_public_key_then_padding() {
    let pair = |last| {
        let mut private = [0; 20];
        private[19] = last;
        KeyPair::new(private).unwrap()
    };
    let (device, app) = (pair(7), pair(9));
    let open = |opt: &[u8], payload: &[u8]| {
        let packet = Packet { opt: opt.to_vec(), ..Packet::plain(Kind::Authorization, payload.to_vec()) };
        packet.open_exchanged(&device).map(|opened| (opened.timestamp, opened.body().to_vec()))
    };
    let sealed = |body: &[u8]| {
        let key = app.agree(device.public()).cipher_key();
        Packet::seal(Kind::Authorization, enctype::EXCHANGED, app.public().as_bytes().to_vec(), &key, 77, body)
    };
    let right = sealed(b"{}");
    assert_eq!(open(&right.opt, &right.payload), Ok((77, b"{}".to_vec())));
    assert_eq!(open(&[], &right.payload[1..]), Err(Refused::CipherLength));
    assert_eq!(open(&right.opt, &[]), Err(Refused::CipherLength));
    assert_eq!(open(&right.opt[1..], &right.payload), Err(Refused::Point(PublicKeyError::Length(20))));
    assert_eq!(open(device.public().as_bytes(), &right.payload), Err(Refused::Padding));
    let three_bytes = app.agree(device.public()).cipher_key().encrypt(&[1, 2, 3]);
    assert_eq!(open(&right.opt, &three_bytes), Err(Refused::Structure), "too short for a time");
}

#[test]
fn what_is_too_long_for_the_wire_is_not_sent() {
    let send = |opt: usize, payload: usize| {
        Packet { opt: vec![0; opt], ..whole(Kind::Upload, vec![0; payload]) }.encode(Network::Wan).map(|b| b.len())
    };
    assert_eq!(send(0, 65_535), Ok(65_551));
    assert_eq!(send(0, 65_536), Err(TooLong(65_552)));
    assert_eq!(send(65_536, 0), Err(TooLong(65_552)));
    assert_eq!(send(1009, 65_535), Ok(MAX_PACKET));
    assert_eq!(send(1010, 65_535), Err(TooLong(MAX_PACKET + 1)));
}

#[test]
fn a_stream_with_a_lost_framing_stays_lost_and_keeps_nothing() {
    let good = whole(Kind::Heartbeat, vec![0; 16]).encode(Network::Wan).unwrap();
    let mut bad_crc = good.clone();
    bad_crc[20] ^= 1;
    let too_long = hex!("cc553412 ffff ffff 01 0a 00 00 03 00 0000");
    for (bytes, refused) in [
        (&b"GET"[..], Refused::Magic),
        (&CAPTURED, Refused::Magic),
        (&bad_crc, Refused::Crc),
        (&too_long, Refused::Length),
    ] {
        let mut splitter = Splitter::new(Route::CloudToDevice);
        splitter.push(&[&good, bytes].concat());
        assert!(splitter.next().unwrap().is_some());
        assert_eq!(splitter.next(), Err(refused));
        splitter.push(&good);
        assert_eq!((splitter.next(), splitter.n_waiting()), (Err(refused), 0));
    }
}

#[test]
fn a_packet_of_no_use_is_skipped_in_a_stream() {
    let good = whole(Kind::Heartbeat, vec![0; 16]);
    let encoded = good.encode(Network::Wan).unwrap();
    let changed = |at: usize, value: u8| {
        let mut bytes = encoded.clone();
        bytes[at] = value;
        bytes
    };
    let mut splitter = Splitter::new(Route::CloudToDevice);
    splitter.push(&[changed(8, 2), changed(9, 220), changed(12, 0), changed(10, 2), encoded.clone()].concat());
    assert_eq!(splitter.next(), Err(Refused::Version(2)));
    assert_eq!(splitter.next(), Err(Refused::Kind(220)));
    assert_eq!(splitter.next(), Err(Refused::Enctype { kind: Kind::Heartbeat, enctype: 0 }));
    assert_eq!(splitter.next(), Err(Refused::Fragment));
    assert_eq!(splitter.next(), Ok(Some(good)));
    assert_eq!(splitter.next(), Ok(None));
}

fn any_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

prop_compose! {
    fn any_upload()(is_beat: bool, four: bool, reserved: u8, opt in any_bytes(40), payload in any_bytes(300)) -> Packet {
        let kind = if is_beat { Kind::Heartbeat } else { Kind::Upload };
        let enctype = if four { enctype::SESSION_KEY } else { enctype::KEY32 };
        Packet { reserved, opt, enctype, ..Packet::plain(kind, payload) }
    }
}

proptest! {
    #[test]
    fn every_packet_survives_the_wire(packet in any_upload()) {
        let bytes = packet.encode(Network::Wan).unwrap();
        prop_assert_eq!(Packet::decode_datagram(Route::DeviceToCloud, &bytes), Ok(packet));
    }

    #[test]
    fn what_is_sealed_is_opened(key: [u8; 32], timestamp: u32, body in any_bytes(300)) {
        let key = crate::crypto::Key32::new(key).cipher_key();
        let opened = Packet::seal(Kind::Upload, enctype::KEY32, Vec::new(), &key, timestamp, &body).open(&key).unwrap();
        prop_assert_eq!((opened.timestamp, opened.body()), (timestamp, &*body));
    }

    #[test]
    fn a_stream_yields_the_same_packets_however_it_is_cut(
        packets in prop::collection::vec(any_upload(), 0..8),
        cuts in prop::collection::vec(1_usize..200, 1..40),
    ) {
        let bytes: Vec<u8> = packets.iter().flat_map(|packet| packet.encode(Network::Wan).unwrap()).collect();
        let mut splitter = Splitter::new(Route::CloudToDevice);
        let (mut got, mut rest) = (Vec::new(), &*bytes);
        for size in cuts.into_iter().cycle() {
            let (segment, after) = rest.split_at(size.min(rest.len()));
            splitter.push(segment);
            while let Some(packet) = splitter.next().unwrap() {
                got.push(packet);
            }
            rest = after;
            if rest.is_empty() { break }
        }
        prop_assert_eq!(got, packets);
        prop_assert_eq!(splitter.n_waiting(), 0);
    }

    #[test]
    fn no_bytes_can_panic_a_decoder_or_fill_the_splitter(chunks in prop::collection::vec(any_bytes(100), 0..20), begin: bool) {
        let mut splitter = Splitter::new(Route::CloudToDevice);
        if begin {
            splitter.push(&Network::Wan.magic().to_le_bytes());
        }
        for chunk in &chunks {
            let _ = Packet::decode_datagram(Route::AppToDevice, chunk);
            let _ = Packet::decode_datagram(Route::AppToDevice, &[&CAPTURED[..4], chunk].concat());
            splitter.push(chunk);
            loop {
                match splitter.next() {
                    Ok(Some(_)) => {}
                    Err(refused) if !refused.is_fatal() => {}
                    _ => break,
                }
            }
            prop_assert!(splitter.n_waiting() <= MAX_PACKET);
        }
    }
}
