//! Bytes with an id (mqtt-..., http-...) are recorded from the vendor's module, with addresses and keys of the recording.

use std::collections::VecDeque;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::behaviour::{Firmware, Refusal, Upgrade};
use super::*;
use crate::broker::packet::{self, Packet, Publish};
use crate::clouds::ledger::Entries;

/// mqtt-001 to mqtt-004: the device of the recording comes and subscribes.
const CONNECT: &str = "104800064d514973647003c2007800164162436445664768496a4b6c4d6e4f7051725374557600164162436445664768496a\
                       4b6c4d6e4f70517253745576000a55464447454d56594854";
const SUBSCRIBES: [&str; 3] = [
    "82320001002d73657232636c695f6e6f74692f366633303734666534333839343534376134663133313462643765336165306200",
    "82270002002273657232636c695f7265732f4162436445664768496a4b6c4d6e4f7051725374557600",
    "822500030020617070326465762f4162436445664768496a4b6c4d6e4f705172537455762f2300",
];
const DID: &str = "AbCdEfGhIjKlMnOpQrStUv";
const PASSCODE: &str = "UFDGEMVYHT";
const RECORDED_KEY: &str = "6f3074fe43894547a4f1314bd7e3ae0b";
const ALL: &str = "dev2app/AbCdEfGhIjKlMnOpQrStUv";
const ONE: &str = "dev2app/AbCdEfGhIjKlMnOpQrStUv/2kpp2d6hp2";
/// A report of the demo product: action, switch and mode, target, counter, temperature, tag, alert.
const REPORT: &str = "0000000311000091 04 01 17 00000007 0226 00000000 00";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

fn run(test: impl AsyncFnOnce(&Gizwits)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let gizwits = Gizwits::start("counter").unwrap();
        let product_key = RECORDED_KEY.to_owned();
        gizwits.adopt(DID, Registration { product_key, mac: MAC.to_owned(), passcode: PASSCODE.to_owned() });
        test(&gizwits).await;
    });
}

/// Waits for a breach, and finds it named.
async fn breach(gizwits: &Gizwits, fault: &str) {
    gizwits.ledger().until(|entries| !entries.violations.is_empty()).await;
    gizwits.ledger().with(|Entries { violations, .. }| {
        assert!(violations[0].contains(fault), "{violations:?} should name {fault:?}");
    });
}

fn no_breach(gizwits: &Gizwits) {
    gizwits.ledger().with(|entries| assert_eq!(entries.violations, Vec::<String>::new()));
}

/// A device in some lines: bytes out, messages in.
struct Device {
    stream: TcpStream,
    buffer: Vec<u8>,
    heard: VecDeque<Publish>,
}

impl Device {
    /// Comes with these bytes; the code of the answer.
    async fn connect(gizwits: &Gizwits, connect: &str) -> (Self, u8) {
        let stream = TcpStream::connect(gizwits.broker().addr()).await.unwrap();
        let mut device = Self { stream, buffer: Vec::new(), heard: VecDeque::new() };
        let connack = device.ask::<4>(connect).await;
        (device, connack[3])
    }

    /// Comes and subscribes as recorded.
    async fn online(gizwits: &Gizwits) -> Self {
        let (mut device, code) = Self::connect(gizwits, CONNECT).await;
        assert_eq!(code, 0);
        for (at, subscribe) in SUBSCRIBES.iter().enumerate() {
            assert!(!gizwits.ledger().with(|entries| entries.online), "online with {at} subscriptions");
            // mqtt-005
            assert_eq!(device.ask::<5>(subscribe).await, [0x90, 3, 0, at as u8 + 1, 0]);
        }
        assert!(gizwits.ledger().with(|entries| entries.online));
        device
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn ask<const N: usize>(&mut self, bytes: &str) -> [u8; N] {
        self.send(&hex(bytes)).await;
        let mut answer = [0; N];
        self.stream.read_exact(&mut answer).await.unwrap();
        answer
    }

    async fn publish(&mut self, topic: &str, payload: &str) {
        let publish = Publish { topic: topic.to_owned(), payload: hex(payload), ..Publish::default() };
        self.send(&packet::message(&publish)).await;
    }

    async fn hear(&mut self) -> Publish {
        loop {
            if let Some(publish) = self.heard.pop_front() {
                return publish;
            }
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the broker hung up");
            while let Some((packet, n)) = packet::parse(&self.buffer).unwrap() {
                self.buffer.drain(..n);
                if let Packet::Publish(publish) = packet {
                    self.heard.push_back(publish);
                }
            }
        }
    }

    async fn gone(&mut self) {
        while self.stream.read_buf(&mut self.buffer).await.is_ok_and(|n| n > 0) {}
    }
}

#[test]
fn the_recorded_conversation_passes_and_is_answered_as_recorded() {
    run(async |gizwits| {
        gizwits.change(|behaviour| behaviour.app_count = 1);
        let mut device = Device::online(gizwits).await;
        // mqtt-010, mqtt-011
        device.publish("cli2ser_req", "00000003020f").await;
        let count = device.hear().await;
        assert_eq!((count.topic, count.payload), (format!("ser2cli_res/{DID}"), hex("0000000302100001")));
        // mqtt-012, mqtt-013
        gizwits.push_upgrade(2).unwrap();
        assert_eq!(device.hear().await.payload, hex("00000003021102"));
        gizwits.push_firmware(1, 9, "http://api.gizwits.com/dev/ota/download/9").unwrap();
        let pushed = "00000003020e01000000090029687474703a2f2f6170692e67697a776974732e636f6d2f6465762f6f74612f646f776e6c6f\
                      61642f39";
        assert_eq!(device.hear().await.payload, hex(pushed));
        // mqtt-008, mqtt-007
        gizwits.request(CLIENT, 6, &[1, 1, 0, 5]).unwrap();
        let asked = device.hear().await;
        assert_eq!(asked.topic, format!("app2dev/{DID}/{CLIENT}"));
        assert_eq!(asked.payload, hex("000000030b0000930000000601010005"));
        device.publish(ONE, "000000030700009400000006").await;
        gizwits.until(|seen| !seen.answers_to(CLIENT).is_empty()).await;
        // mqtt-009
        assert_eq!(device.ask::<2>("c000").await, [0xD0, 0]);
        no_breach(gizwits);
    });
}

#[test]
fn reports_commands_and_reads_are_booked() {
    run(async |gizwits| {
        let mut device = Device::online(gizwits).await;
        device.publish(ALL, REPORT).await;
        gizwits.ledger().until(|entries| entries.arrivals.first().is_some_and(|arrival| arrival.counter == 7)).await;

        gizwits.send_command("target", &json!(21.5)).unwrap();
        let command = device.hear().await.payload;
        assert_eq!((&command[..8], &command[12..]), (&hex("000000030b000093")[..], &[1, 0b100, 0, 23][..]));
        let answer = |sn: &[u8], p0: &str| {
            let sn: String = sn.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("00000003{:02x}000094{sn}{p0}", 7 + p0.len() / 2)
        };
        device.publish(ONE, &answer(&command[8..12], "")).await;
        gizwits.ledger().until(|entries| entries.commands_done() == 1).await;

        let status = "03011700000007022600000000 00".replace(' ', "");
        let sn = gizwits.read("another").unwrap();
        let read = device.hear().await;
        assert_eq!((read.topic, read.payload.last()), (format!("app2dev/{DID}/another"), Some(&2)));
        device.publish(&format!("{ALL}/another"), &answer(&sn.to_be_bytes(), &status)).await;
        gizwits.until(|seen| seen.answers_to("another").len() == 1).await;

        // Without a sequence number the answer may come to the client or to all.
        for topic in [ONE, ALL] {
            gizwits.request_plain(CLIENT, &[2]).unwrap();
            assert_eq!(device.hear().await.payload, hex("000000030400009002"));
            device.publish(topic, &format!("0000000311000091{status}")).await;
        }
        gizwits.until(|seen| seen.answers_to(CLIENT).len() == 3).await;
        no_breach(gizwits);
    });
}

#[test]
fn a_stranger_is_refused_and_a_connect_against_the_rules_is_a_breach() {
    run(async |gizwits| {
        assert_eq!(Device::connect(gizwits, &CONNECT.replace("55464447", "55464448")).await.1, 4);
        gizwits.forget(DID);
        assert_eq!(Device::connect(gizwits, CONNECT).await.1, 4);
        no_breach(gizwits);
    });
    for (before, after, code, fault) in [
        ("c20078", "c2003c", 0, "120 s"),
        ("c20078", "c00078", 0, "clean session"),
        ("104800064d514973647003", "104600044d51545404", 1, "MQTT level 4"),
    ] {
        run(async |gizwits| {
            assert_eq!(Device::connect(gizwits, &CONNECT.replace(before, after)).await.1, code);
            breach(gizwits, fault).await;
        });
    }
}

#[test]
fn subscriptions_against_the_rules_are_breaches() {
    let [noti, res, app] = SUBSCRIBES;
    let together = format!("8257{}{}", &noti[4..], &res[8..]);
    for (subscribes, fault) in [
        (vec![res], "is next"),
        (vec![noti, app], "is next"),
        (vec![noti, res, app, app], "None is next"),
        (vec![&*noti.replace("306200", "306201")], "QoS 1"),
        (vec![&*together], "2 topics in one"),
    ] {
        run(async |gizwits| {
            let (mut device, _) = Device::connect(gizwits, CONNECT).await;
            for subscribe in &subscribes {
                device.send(&hex(subscribe)).await;
            }
            breach(gizwits, fault).await;
        });
    }
}

#[test]
fn a_kept_suback_is_waited_for() {
    run(async |gizwits| {
        gizwits.change(|behaviour| behaviour.silent_subacks = 1);
        let (mut device, _) = Device::connect(gizwits, CONNECT).await;
        device.send(&hex(SUBSCRIBES[0])).await;
        assert_eq!(device.ask::<2>("c000").await, [0xD0, 0], "nothing before the answer to the ping");
        no_breach(gizwits);
        device.send(&hex(SUBSCRIBES[1])).await;
        breach(gizwits, "before the last one was acknowledged").await;
    });
}

#[test]
fn messages_against_the_rules_are_breaches() {
    let report = "0411223344";
    for (topic, payload, fault) in [
        (ALL, format!("0000000308000091{report}"), "no P0 of 14 bytes"),
        (ALL, REPORT.replace("00000003", "00000004"), "version"),
        (ALL, format!("{REPORT}00"), "after the frame"),
        (ALL, "000000030700009400000006".to_owned(), "only 0x91"),
        (ALL, "0000000303000091".to_owned(), "nobody asked"),
        (ONE, "000000030700009400000006".to_owned(), "did not ask"),
        (ONE, "0000000303000016".to_owned(), "goes to a client"),
        (ONE, "00000003050000940000".to_owned(), "no 0x94"),
        ("cli2ser_req", "0000000303000210".to_owned(), "expected"),
    ] {
        run(async |gizwits| {
            let mut device = Device::online(gizwits).await;
            device.publish(topic, &payload).await;
            breach(gizwits, fault).await;
            assert!(gizwits.ledger().with(|entries| entries.online), "a wrong message does not end the connection");
        });
    }
    for topic in ["dev2app/GizwitsSim000000000001", "cli2ser", "dev2app/AbCdEfGhIjKlMnOpQrStUv/a/b"] {
        run(async |gizwits| {
            let mut device = Device::online(gizwits).await;
            device.publish(topic, REPORT).await;
            device.gone().await;
            breach(gizwits, "published on").await;
        });
    }
}

#[test]
fn quality_of_service_retain_and_haste_are_breaches() {
    for (publish, fault) in [
        (Publish { qos: 1, packet_id: 1, ..Publish::default() }, "QoS 1"),
        (Publish { retain: true, ..Publish::default() }, "retain true"),
    ] {
        run(async |gizwits| {
            let mut device = Device::online(gizwits).await;
            let publish = Publish { topic: ALL.to_owned(), payload: hex(REPORT), ..publish };
            device.send(&packet::message(&publish)).await;
            breach(gizwits, fault).await;
        });
    }
    run(async |gizwits| {
        let (mut device, _) = Device::connect(gizwits, CONNECT).await;
        device.publish(ALL, REPORT).await;
        breach(gizwits, "before all subscriptions").await;
    });
}

#[test]
fn a_second_answer_is_a_breach() {
    run(async |gizwits| {
        let mut device = Device::online(gizwits).await;
        gizwits.request(CLIENT, 6, &[1, 1, 0, 5]).unwrap();
        for _ in 0..2 {
            device.publish(ONE, "000000030700009400000006").await;
        }
        breach(gizwits, "a second time").await;
    });
}

#[test]
fn refusals_of_connect_come_as_told_and_code_4_forgets_the_device() {
    run(async |gizwits| {
        gizwits.change(|behaviour| behaviour.refuse_connects.extend([3, 4]));
        for code in [3, 4, 4] {
            assert_eq!(Device::connect(gizwits, CONNECT).await.1, code);
        }
        no_breach(gizwits);
    });
}

/// Says a request to the API, with the host's name and the product key of the recording replaced; status and body.
async fn call(gizwits: &Gizwits, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(gizwits.http().address()).await.unwrap();
    let key = product::schema().product_key;
    let request = request.replace(RECORDED_KEY, &key).replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn form(method: &str, path: &str, form: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost:api.gizwits.com\r\nContent-Length:{}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    )
}

/// http-001
const REGISTER: &str = "POST /dev/devices HTTP/1.1\r\nHost: api.gizwits.com\r\nContent-Length: 81\r\nContent-Type: \
                        application/x-www-form-urlencoded\r\n\r\npasscode=UFDGEMVYHT&mac=02005E102030&product_key=\
                        6f3074fe43894547a4f1314bd7e3ae0b";
/// http-002
const PROVISION: &str = "GET /dev/devices/AbCdEfGhIjKlMnOpQrStUv HTTP/1.1\r\nHost: api.gizwits.com\r\nCache-Control: \
                         no-cache\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n";
/// http-005
const CHECK: &str = "POST /dev/ota/v4.1/update_and_check/AbCdEfGhIjKlMnOpQrStUv HTTP/1.1\r\nHost:api.gizwits.com\r\n\
                     Content-Length:70\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\npasscode=UFDGEMVYHT&type=1\
                     &hard_version=000LINUX&soft_version=04020006";
/// http-008
const TARGET_FID: &str = "GET /dev/ota/target_fid?did=AbCdEfGhIjKlMnOpQrStUv&product_key=6f3074fe43894547a4f1314bd7e3ae0b\
                          &type=1&hard_version=000LINUX&soft_version=04020006&current_fid=1 HTTP/1.1\r\nHost: \
                          api.gizwits.com\r\nContent-Type: application/text\r\n\r\n";

#[test]
fn the_recorded_requests_are_answered_as_documented() {
    run(async |gizwits| {
        let (status, body) = call(gizwits, REGISTER).await;
        let did = body.strip_prefix("did=").unwrap().to_owned();
        assert_eq!((status, did.len()), (201, 22));
        assert_eq!(gizwits.seen().registrations[&did].passcode, PASSCODE);

        gizwits.change(|behaviour| {
            behaviour.server_ts = Some(1_795_212_996);
            behaviour.m2m = Some("127.0.0.2:1883".parse().unwrap());
        });
        let usual = "host=127.0.0.2&port=1883&server_ts=1795212996";
        assert_eq!(call(gizwits, PROVISION).await, (200, format!("{usual}\r\n")));
        gizwits.change(|behaviour| behaviour.third_party = Some("ABCDEF".to_owned()));
        assert_eq!(call(gizwits, PROVISION).await.1, format!("{usual}&3rd_cloud=jd&product_uuid=ABCDEF\r\n"));
        gizwits.change(|behaviour| behaviour.third_party = None);
        gizwits.change(|behaviour| behaviour.shuffled_provision = true);
        assert_eq!(call(gizwits, PROVISION).await.1, "server_ts=1795212996&port=1883&host=127.0.0.2");

        let (status, body) = call(gizwits, CHECK).await;
        assert!(status == 404 && body.contains(r#""error_code": 9034"#), "{body}");
        let upgrade = Upgrade { soft_version: "03010102".to_owned(), url: "http://here/42".to_owned() };
        gizwits.change(|behaviour| drop(behaviour.upgrades.insert(1, upgrade)));
        assert_eq!(call(gizwits, CHECK).await, (200, "soft_ver=03010102&download_url=http://here/42\r\n".to_owned()));
        let same = Upgrade { soft_version: "04020006".to_owned(), url: "http://here/42".to_owned() };
        gizwits.change(|behaviour| drop(behaviour.upgrades.insert(1, same)));
        assert!(call(gizwits, CHECK).await.1.contains(r#""error_code": 9034"#), "the device runs it");
        gizwits.change(|behaviour| behaviour.without_v4_1 = true);
        assert_eq!(call(gizwits, CHECK).await.0, 404);
        let firmware = Firmware { fid: 7, url: "http://here/7".to_owned() };
        gizwits.change(|behaviour| drop(behaviour.firmwares.insert(1, firmware)));
        assert_eq!(call(gizwits, TARGET_FID).await, (200, "target_fid=7&download_url=http://here/7&".to_owned()));

        // http-004
        let deregister = form("DELETE", "/dev/devices", "did=AbCdEfGhIjKlMnOpQrStUv&passcode=UFDGEMVYHT");
        assert_eq!(call(gizwits, &deregister).await.0, 200);
        assert_eq!(call(gizwits, &deregister).await.0, 400);
        let (status, body) = call(gizwits, PROVISION).await;
        assert!(status == 400 && body.contains("9016"), "{body}");
        let seen = gizwits.seen();
        assert_eq!((seen.calls(ApiCall::Deregister).count(), seen.calls(ApiCall::Check).count()), (2, 4));
        assert_eq!(seen.requests[0].fields["mac"], MAC);
        no_breach(gizwits);
    });
}

#[test]
fn firmware_is_offered_and_described_by_the_headers_of_its_download_alone() {
    run(async |gizwits| {
        let path = gizwits.publish(1, "03010102", b"abc");
        let url = gizwits.files().url(&path);
        assert_eq!(call(gizwits, CHECK).await.1, format!("soft_ver=03010102&download_url={url}\r\n"));
        let old = gizwits.publish_by_fid(1, 7, "14112521", b"abc");
        let url = gizwits.files().url(&old);
        assert_eq!(call(gizwits, TARGET_FID).await.1, format!("target_fid=7&download_url={url}&"));
        for (path, version) in [(&path, "Soft-Version: 03010102"), (&old, "Firmware-Version: 14112521")] {
            let url = gizwits.files().url(path);
            let (host, _) = url["http://".len()..].split_once('/').unwrap();
            let mut stream = TcpStream::connect(host).await.unwrap();
            let head = format!("HEAD {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            for line in [version, "Firmware-MD5: 900150983cd24fb0d6963f7d28e17f72", "content-length: 3"] {
                assert!(heard.contains(line), "{heard}");
            }
        }
        no_breach(gizwits);
    });
}

#[test]
fn registering_again_ends_the_old_did_unless_told_otherwise() {
    run(async |gizwits| {
        let first = call(gizwits, REGISTER).await.1;
        let second = call(gizwits, REGISTER).await.1;
        gizwits.change(|behaviour| behaviour.same_did = true);
        assert!(first != second && second == call(gizwits, REGISTER).await.1);
        let registrations = gizwits.seen().registrations;
        assert!(!registrations.contains_key(&first[4..]) && registrations.contains_key(&second[4..]));
    });
}

#[test]
fn refusals_of_the_api_come_as_told_and_9016_forgets_the_device() {
    run(async |gizwits| {
        let text = Refusal { as_text: true, ..Refusal::new(500, 9008) };
        gizwits.change(|behaviour| behaviour.refuse_provisions.extend([text, Refusal::new(400, 9016)]));
        for (status, code) in [(500, "\"9008\""), (400, "9016"), (400, "9016")] {
            let (found, body) = call(gizwits, PROVISION).await;
            assert!(found == status && body.contains(&format!(r#""error_code": {code}"#)), "{found} {body}");
        }
        assert!(!gizwits.seen().registrations.contains_key(DID));
        no_breach(gizwits);
    });
}

#[test]
fn a_silent_request_is_seen_and_never_answered() {
    run(async |gizwits| {
        gizwits.change(|behaviour| (behaviour.silent_requests, behaviour.chunked) = (1, true));
        let mut silent = TcpStream::connect(gizwits.http().address()).await.unwrap();
        silent.write_all(PROVISION.as_bytes()).await.unwrap();
        gizwits.until(|seen| seen.calls(ApiCall::Provision).count() == 1).await;
        let (status, body) = call(gizwits, PROVISION).await;
        assert!(status == 200 && body.ends_with("\r\n0\r\n\r\n"), "in chunks: {body}");
        assert!(silent.try_read(&mut [0]).is_err(), "nothing came meanwhile");
    });
}

#[test]
fn requests_against_the_rules_are_breaches() {
    for (request, fault) in [
        (REGISTER.replace("02005E102030", "02005e102030"), "upper-case"),
        (REGISTER.replace("UFDGEMVYHT", "UFDGEMVYH").replace("81", "80"), "passcode of 9"),
        (REGISTER.replace("x-www-form-urlencoded", "json"), "Content-Type"),
        (form("POST", "/dev/devices", "passcode=UFDGEMVYHT&mac=02005E102030"), "product_key"),
        (form("POST", "/dev/devices", "passcode=UFDGEMVYHT&passcode=UFDGEMVYHT"), "passcode"),
        (form("DELETE", "/dev/devices", "did=AbCdEfGhIjKlMnOpQrStUv&passcode=UFDGEMVYHT&x=1"), "\"x\""),
        (PROVISION.replace("no-cache", "x"), "Cache-Control"),
        (CHECK.replace("type=1", "type=3"), "1 or 2"),
        (CHECK.replace("000LINUX", "00LINUX").replace("70", "69"), "hard_version"),
        (TARGET_FID.replace("current_fid=1", "current_fid=0"), "current_fid"),
        (PROVISION.replace("/dev/devices/", "/dev/device/"), "no such path"),
        (PROVISION.replace("Host: api.gizwits.com\r\n", ""), "HTTP: no Host"),
    ] {
        run(async |gizwits| {
            let (status, _) = call(gizwits, &request).await;
            assert!(matches!(status, 400 | 404), "{fault}");
            breach(gizwits, fault).await;
        });
    }
}

#[test]
fn a_wrong_passcode_is_refused_without_blame() {
    run(async |gizwits| {
        let (status, body) = call(gizwits, &CHECK.replace("UFDGEMVYHT", "UFDGEMVYHU")).await;
        assert!(status == 400 && body.contains("9016"));
        no_breach(gizwits);
    });
}

#[test]
fn announces_of_another_device_are_breaches() {
    let announce = |key: &str| {
        let key: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
        hex(&format!("00000003390000050000000602005e10203000000020{key}0000000000000000"))
    };
    run(async |gizwits| {
        let module = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        module.send_to(&announce(&product::schema().product_key), gizwits.announces().address()).await.unwrap();
        gizwits.announces().until(1).await;
        no_breach(gizwits);
        module.send_to(&announce(RECORDED_KEY), gizwits.announces().address()).await.unwrap();
        breach(gizwits, "announce").await;
    });
}

#[test]
fn its_servers_go_away_and_come_back_on_the_same_ports() {
    run(async |gizwits| {
        let mut device = Device::online(gizwits).await;
        gizwits.go_away();
        device.gone().await;
        gizwits.ledger().until(|entries| !entries.online).await;
        while TcpStream::connect(gizwits.http().address()).await.is_ok() {}
        gizwits.come_back().unwrap();
        assert_eq!(call(gizwits, PROVISION).await.0, 200);
        Device::online(gizwits).await;
        no_breach(gizwits);
    });
}

#[test]
fn the_ports_of_the_module_are_read_from_its_status() {
    let status = json!({"clouds": [{"name": "gizwits", "facts": {"lan_tcp": "40001", "lan_udp": "40002"}}]});
    let (tcp, udp) = lan_addresses(&status).unwrap();
    assert_eq!((tcp.to_string().as_str(), udp.port()), ("127.0.0.1:40001", 40002));
    assert_eq!(lan_addresses(&json!({"clouds": [{"name": "gizwits", "facts": {}}]})), None);
}
