//! Frames with an id (lan-...) are recorded from the vendor's module and from published captures.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::app::LanApp;
use super::companion::Companion;
use super::frame::Frame;
use super::messages::{Discovery, Information, Joined, LogLine, hotspots};
use super::udp::{Announce, Asker, Ear};
use super::*;
use crate::clouds::SimCloud;
use crate::demo::product;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn run(test: impl AsyncFnOnce()) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
}

/// The payload of a recorded frame, which must be written with the same bytes.
fn payload(cmd: u16, recorded: &str) -> Vec<u8> {
    let frame = Frame::exact(&hex(recorded)).unwrap();
    assert_eq!((frame.cmd, frame.encode()), (cmd, hex(recorded)));
    frame.payload
}

const DID: &str = "AbCdEfGhIjKlMnOpQrStUv";
const KEY: &str = "6f3074fe43894547a4f1314bd7e3ae0b";
/// lan-002 without its command.
const DISCOVERY: &str = "00164162436445664768496a4b6c4d6e4f70517253745576000602005e102030000000203666333037346665343338393\
                         435343761346631333134626437653361653062";

/// lan-017
const INFORMATION: &str = "00000003570000143030304c494e55583034303230303036303030303030303330333031303130313030303030303034000000000000000\
         0000000203666333037346665343338393435343761346631333134626437653361653062";

fn discovery(cmd: &str) -> Vec<u8> {
    hex(&format!("000000034f00{cmd}{DISCOVERY}0000000000000000"))
}

#[test]
fn recorded_messages_are_read() {
    let found = Discovery::parse_strictly(&Frame::exact(&discovery("0004")).unwrap().payload).unwrap();
    assert_eq!((found.did.as_str(), found.mac, found.product_key.as_str()), (DID, [2, 0, 0x5E, 0x10, 0x20, 0x30], KEY));

    // lan-004
    let newer = payload(
        0x04,
        "00000003680000040016434671704a5453796d434539504c6c703144706268590006483fda87dc47000000203264336439353464396262\
         3734316234613139626131313533313034393332620000000000000002\
         6170692e67697a776974732e636f6d3a383000342e302e3800",
    );
    let newer_found = Discovery::parse(&newer).unwrap();
    assert_eq!(newer_found.strings, Some(("api.gizwits.com:80".to_owned(), "4.0.8".to_owned())));
    assert!(Discovery::parse_strictly(&newer).is_err());

    // lan-007
    let joined = payload(
        0x19,
        "0000000345000019000602005e102030002036663330373466653433383934353437613466313331346264376533616530620016416243\
         6445664768496a4b6c4d6e4f70517253745576",
    );
    assert_eq!(Joined::parse(&joined).unwrap().did, DID);

    let information = payload(0x14, INFORMATION);
    let information = Information::parse(&information).unwrap();
    assert_eq!(information.module, ("000LINUX".to_owned(), "04020006".to_owned()));
    assert_eq!((information.mcu.1.as_str(), information.product_key.as_str()), ("03010101", KEY));

    // lan-026
    let seen = payload(0x0D, "000000031500000d0006486f6d654150500006e6b58be8af951e");
    assert_eq!(hotspots(&seen).unwrap(), [("HomeAP".to_owned(), 80), ("测试".to_owned(), 30)]);

    // lan-032
    let line = payload(0x12, "00000003250000120200036c616e00076c6f67696e2e630011636c69656e742031206c6f67696e206f6b");
    assert_eq!(LogLine::parse(&line).unwrap().content, "client 1 login ok");
}

#[test]
fn lengths_take_one_byte_up_to_127() {
    for (payload, head) in
        [(124, &[0, 0, 0, 3, 0x7F][..]), (125, &[0, 0, 0, 3, 0x80, 1]), (16_381, &[0, 0, 0, 3, 0x80, 0x80, 1])]
    {
        let frame = Frame::new(0x91, vec![0x22; payload]);
        assert!(frame.encode().starts_with(head));
        assert_eq!(Frame::exact(&frame.encode()), Ok(frame));
    }
}

#[test]
fn a_frame_that_breaks_the_document_is_refused_with_its_fault() {
    for (bytes, fault) in [
        ("0000000403000003", "version"),
        ("0000000304000003", "cut off"),
        ("000000030300000300", "1 bytes after"),
        ("0000000303010003", "flag"),
        ("00000003020000", "length 2"),
        ("00000003ffffffff7f000003", "more than four"),
        ("000000038300000003", "a byte too many"),
    ] {
        let error = Frame::exact(&hex(bytes)).unwrap_err();
        assert!(error.contains(fault), "{bytes}: {error:?} should name {fault:?}");
    }
}

#[test]
fn a_discovery_that_breaks_the_document_is_refused_with_its_fault() {
    let right = hex(&format!("{DISCOVERY}0000000000000000"));
    for (payload, fault) in [
        (right[..right.len() - 8].to_vec(), "before the device attributes"),
        (right[..right.len() - 1].to_vec(), "less than 8"),
        ([&right[..], &[0]].concat(), "protocol version"),
        ([&[0, 3, b'x', b'x', b'x'], &right[24..]].concat(), "did"),
    ] {
        let error = Discovery::parse_strictly(&payload).unwrap_err();
        assert!(error.contains(fault), "{error:?} should name {fault:?}");
    }
}

/// Lets an app talk to a module that hears these bytes and says those, one after the other, and then closes.
fn check<T>(talk: &'static [(&'static str, &'static str)], app: impl AsyncFnOnce(LanApp) -> T) {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let module = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            for (heard, said) in talk {
                let mut bytes = vec![0; heard.len() / 2];
                stream.read_exact(&mut bytes).await.unwrap();
                assert_eq!(bytes, hex(heard));
                stream.write_all(&hex(said)).await.unwrap();
            }
        };
        let app = async { app(LanApp::connect(address).await.unwrap()).await };
        tokio::join!(module, app);
    });
}

#[test]
fn an_app_binds_logs_in_and_asks() {
    check(
        &[
            ("0000000303000006", "000000030f000007000a49505152535455565758"), // lan-008, lan-009
            ("000000030f000008000a49505152535455565758", "000000030400000900"), // lan-012, lan-013
            ("0000000303000015", "0000000303000016"),                         // lan-015, lan-016
            // A report may overtake an answer (lan-020 to lan-023).
            ("000000030b000093000000ff01ff01ff", "000000030c00009104ffff0001020304050000000307000094000000ff"),
            ("000000030400009002", "000000030d000091030302dc089d00000000"), // lan-018, lan-019
            ("000000030400009001", "0000000303000091"),                     // lan-024
            ("00000003050000100001", "0000000303000011"),
            ("000000030300000c", "000000030300000d"), // lan-025, lan-027
            ("0000000303000013", INFORMATION),
            ("0000000303000017", "0000000303000018"), // lan-028, lan-029
        ],
        async |mut app| {
            let passcode = app.bind().await.unwrap();
            assert_eq!(passcode, "IPQRSTUVWX");
            assert!(app.login(&passcode).await.unwrap());
            app.heartbeat().await.unwrap();
            assert_eq!(app.request(0xFF, &[1, 0xFF, 1, 0xFF]).await.unwrap(), Vec::<u8>::new());
            assert_eq!(app.next_report().await.unwrap(), hex("04ffff000102030405"));
            assert_eq!(app.request_plain(&[2]).await.unwrap(), hex("030302dc089d00000000"));
            assert_eq!(app.request_plain(&[1]).await.unwrap(), Vec::<u8>::new());
            app.log_switch(true).await.unwrap();
            assert_eq!(app.hotspots().await.unwrap(), []);
            assert_eq!(app.information().await.unwrap().product_key, KEY);
            app.leave_test().await.unwrap();
            app.closed().await.unwrap();
        },
    );
}

#[test]
fn two_frames_in_one_segment_are_two_frames() {
    // lan-033
    check(&[("", "000000030400000900000000031100009412345678030302dc089d00000000")], async |mut app| {
        assert_eq!(app.next().await.unwrap(), Frame::new(0x09, [0]));
        assert_eq!(app.next().await.unwrap().answer().unwrap().0, 0x1234_5678);
        assert!(matches!(app.next().await, Err(LanError::Closed)));
    });
}

#[test]
fn what_a_module_may_not_say_is_an_error_that_names_it() {
    // lan-011: the official module declares 15 bytes, sends 5 and closes.
    check(&[("0000000303000006", "000000030f0000070000")], async |mut app| {
        assert!(app.bind().await.unwrap_err().to_string().contains("closed within a frame"));
    });
    check(&[("", "000000030c00009104ffff000102030405")], async |mut app| {
        assert!(app.next_report().await.unwrap_err().to_string().contains("not asked for"), "before the login");
    });
    check(&[("00000003080000930000000102", "0000000307000094000000ff")], async |mut app| {
        assert!(app.request(1, &[2]).await.unwrap_err().to_string().contains("sn 255"));
    });
    check(&[("0000000303000015", "000000030400001600")], async |mut app| {
        assert!(app.heartbeat().await.unwrap_err().to_string().contains("0x16 with"));
    });
}

/// A report of the demo product, number 7.
const REPORT: &str = "000000031100009104011700000007022600000000 00";

#[test]
fn a_companion_books_reports_and_commands_and_shows_that_it_is_there() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = LanApp::connect(listener.local_addr().unwrap()).await.unwrap();
        let companion = Companion::stay(app, product::schema(), product::COUNTER, Duration::from_millis(1));
        let (mut module, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 8];
        module.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes[..], hex("0000000303000015"));
        module.write_all(&hex("0000000303000016")).await.unwrap();
        module.write_all(&hex(&REPORT.replace(' ', ""))).await.unwrap();
        companion.ledger().until(|entries| entries.arrivals.len() == 1).await;
        companion.send_command("target", &serde_json::json!(21.5)).unwrap();
        // The heartbeats go on meanwhile; the command is what is longer.
        let mut heard = Vec::new();
        while !heard.windows(16).any(|window| window == hex("000000030b0000930000000101040017")) {
            assert!(module.read_buf(&mut heard).await.unwrap() > 0);
            module.write_all(&hex("0000000303000016")).await.unwrap();
        }
        module.write_all(&hex("000000030700009400000001")).await.unwrap();
        companion.ledger().until(|entries| entries.commands_done() == 1).await;
        companion.ledger().with(|entries| {
            assert!(entries.online && entries.arrivals[0].counter == 7 && entries.violations.is_empty(), "{entries:?}");
        });
        module.write_all(&hex("0000000303000099")).await.unwrap();
        companion.ledger().until(|entries| !entries.violations.is_empty()).await;
        drop(module);
        companion.ledger().until(|entries| !entries.online).await;
    });
}

async fn answer_once(socket: &UdpSocket, expected: &str, answer: &[u8]) {
    let mut buffer = [0; 1000];
    let (n, from) = socket.recv_from(&mut buffer).await.unwrap();
    assert_eq!(buffer[..n], hex(expected));
    socket.send_to(answer, from).await.unwrap();
}

#[test]
fn an_app_finds_a_module_and_hands_it_a_network() {
    run(async || {
        let module = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, app): (SocketAddr, _) = (module.local_addr().unwrap(), Asker::bind().await.unwrap());
        let right = discovery("0004");
        let (_, found) = tokio::join!(answer_once(&module, "0000000303000003", &right), app.discover(address));
        assert_eq!(found.unwrap().did, DID);
        // ex-004
        let (request, accepted) = ("000000031700000100066d7973736964000a6d7970617373776f7264", hex("0000000303000002"));
        let (_, done) =
            tokio::join!(answer_once(&module, request, &accepted), app.onboard(address, b"myssid", b"mypassword"));
        done.unwrap();
        let announce = discovery("0005");
        let (_, wrong) = tokio::join!(answer_once(&module, "0000000303000003", &announce), app.discover(address));
        assert!(wrong.unwrap_err().to_string().contains("0x04 expected"));
    });
}

#[test]
fn announces_are_heard_and_wrong_ones_reported() {
    run(async || {
        let (faults, mut reported) = tokio::sync::mpsc::unbounded_channel();
        let ear = Ear::listen(Box::new(move |announce| {
            if let Err(fault) = announce {
                faults.send(fault.clone()).unwrap();
            }
        }))
        .unwrap();
        let module = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        module.send_to(&discovery("0004"), ear.address()).await.unwrap();
        module.send_to(&discovery("0005"), ear.address()).await.unwrap();
        ear.until(1).await;
        assert!(matches!(&ear.heard()[..], [Announce::PowerOn(found)] if found.did == DID));
        assert!(reported.recv().await.unwrap().contains("nobody announces"));
    });
}
