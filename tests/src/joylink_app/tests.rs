use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};
use tokio::net::UdpSocket;

use super::messages::{Found, Grant, SubGrant, Wanted};
use super::{App, AppError, Device, agreement, request, request_at, timestamp};
use crate::clouds::SimCloud;
use crate::clouds::joylink::JoyLink;
use crate::clouds::joylink::product::{Account, SubDevice};
use crate::clouds::joylink::timers::Operation;
use crate::joylink_wire::cipher::Secret;
use crate::joylink_wire::curve::KeyPair;
use crate::joylink_wire::fields::Writer;
use crate::joylink_wire::fragments::cut;
use crate::joylink_wire::packet::{LAN, Packet};

/// What a minimal device answers to a packet and its plain text, which is empty if it cannot be decrypted.
type Answering = Box<dyn FnMut(&Packet, &[u8]) -> Vec<Vec<u8>> + Send>;

/// Answers discoveries, and the rest by a closure.
async fn device(mut answering: Answering) -> SocketAddr {
    device_at(
        UdpSocket::bind(("127.0.0.1", 0)).await.unwrap(),
        move || json!({}),
        move |packet, plain| answering(packet, plain),
    )
}

fn device_at(
    socket: UdpSocket,
    more: impl Fn() -> Json + Send + 'static,
    mut answering: impl FnMut(&Packet, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 2000];
        let mut last = 0;
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            let Ok(packet) = Packet::exact(LAN, &buffer[..n]) else { continue };
            let answers = if packet.kind == 1 {
                discovery(&packet, &more())
            } else {
                let plain = match packet.enctype {
                    2 => keys().agree(&packet.opt).and_then(|secret| secret.decrypt(&packet.payload)),
                    _ => localkey().decrypt(&packet.payload),
                };
                let plain = plain.unwrap_or_default();
                let Some((at, body)) = plain.split_first_chunk::<4>() else { continue };
                let at = u32::from_le_bytes(*at);
                if at <= last {
                    continue;
                }
                last = at;
                answering(&packet, body)
            };
            for answer in answers {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

fn discovery(packet: &Packet, more: &Json) -> Vec<Vec<u8>> {
    let asked: Json = serde_json::from_slice(&packet.payload).unwrap();
    let wanted = asked.get("productuuid").or(asked.get("uuid")).and_then(Json::as_str).unwrap_or("SIMPLY");
    if wanted != "SIMPLY" || asked["status"] == 2 {
        return Vec::new();
    }
    let mut json = json!({
        "mac": "m", "productuuid": "SIMPLY", "CID": "", "firmwareVersion": "", "modelCode": "", "lancon": 1,
        "trantype": 0, "feedid": "", "devkey": hex(keys().public()), "dbg": {"ver": 3, "rssi": 50}, "opt": {},
        "devtype": 0,
    });
    for (name, value) in more.as_object().unwrap() {
        json[name] = value.clone();
    }
    let whole = Packet::new(LAN, 1, 0, &[], json.to_string().as_bytes());
    cut(&whole, 77).iter().rev().map(Packet::encode).collect()
}

fn answer(kind: u8, body: &[u8]) -> Vec<Vec<u8>> {
    let plain = Writer::at(1).bytes(body).done();
    vec![Packet::new(LAN, kind, 3, &[], &localkey().encrypt(&plain)).encode()]
}

fn clear(kind: u8, json: &Json) -> Vec<Vec<u8>> {
    vec![Packet::new(LAN, kind, 0, &[], json.to_string().as_bytes()).encode()]
}

fn account() -> Account {
    Account::new("1540000000000000001")
}

fn localkey() -> Secret {
    Secret::of_text(&account().localkey).unwrap()
}

fn keys() -> KeyPair {
    KeyPair::of(&[7; 20]).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs an app against a device that answers so.
fn check(
    answering: impl FnMut(&Packet, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
    act: impl AsyncFnOnce(&mut App, &Device),
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = device(Box::new(answering)).await;
        let mut app = App::bind().await.unwrap();
        act(&mut app, &Device { address, localkey: account().localkey }).await;
    });
}

#[test]
fn devices_are_found_by_unicast_and_broadcast_and_by_filters() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).await.unwrap();
        let port = device_at(socket, || json!({}), |_, _| Vec::new()).port();
        let app = App::bind_everywhere().await.unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let uuid = |uuid: &str| Wanted { product_uuid: Some(uuid.to_owned()), ..Wanted::default() };
        for silent in
            [uuid("OTHERS"), Wanted { as_uuid: true, ..uuid("OTHERS") }, Wanted { status: Some(2), ..uuid("SIMPLY") }]
        {
            app.ask_who(at, &silent).await.unwrap();
        }
        let found = app.discover(at, &Wanted { status: Some(1), opt: vec![2; 21], ..uuid("SIMPLY") }).await.unwrap();
        assert_eq!((found.mac.as_str(), found.feedid.as_str(), found.devtype), ("m", "", 0));
        app.ask_who(SocketAddr::from(([127, 255, 255, 255], port)), &Wanted { bare: true, ..Wanted::default() })
            .await
            .unwrap();
        let (from, again) = app.next_found().await.unwrap();
        assert_eq!((from.port(), again), (port, found), "one answer, so the filters were kept");
    });
}

#[test]
fn a_gateway_may_answer_a_discovery_in_fragments() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sub = |n: usize| {
            json!({"mac": format!("mac{n}"), "productuuid": "SUBONE", "lancon": 1, "trantype": 0, "feedid": "",
                   "state": 1, "protocol": 1})
        };
        let list: Vec<Json> = (0..20).map(sub).collect();
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let at = device_at(socket, move || json!({"devtype": 1, "subdev": list}), |_, _| Vec::new());
        let app = App::bind().await.unwrap();
        let found = app.discover(at, &Wanted::default()).await.unwrap();
        assert_eq!((found.subs.len(), found.subs[19].mac.as_str(), found.subs[0].state), (20, "mac19", 1));
    });
}

#[test]
fn a_discovery_answer_has_all_its_members() {
    let packet = Packet::new(LAN, 1, 0, &[], b"{}");
    let with = |name: &str, value: Json| {
        let bytes = discovery(&packet, &json!({name: value})).remove(0);
        Found::parse(&Packet::exact(LAN, &bytes).unwrap().payload)
    };
    with("code", json!(0)).unwrap();
    for (name, value) in [
        ("mac", json!(1)),
        ("CID", json!(null)),
        ("lancon", json!(2)),
        ("trantype", json!("0")),
        ("devkey", json!("02")),
        ("dbg", json!({"ver": 1})),
        ("opt", json!([])),
        ("devtype", json!(1)),
        ("subdev", json!([])),
    ] {
        assert!(with(name, value.clone()).is_err(), "{name} = {value}");
    }
}

#[test]
fn a_device_is_authorized_whether_it_answers_clear_or_encrypted() {
    for encrypted in [false, true] {
        check(
            move |packet, plain| {
                let request: Json = serde_json::from_slice(plain).unwrap();
                assert_eq!((packet.kind, packet.enctype), (2, 2));
                assert_eq!(request["data"]["accesskey"], account().accesskey);
                assert_eq!(request["data"]["joylink_server"], json!(["127.0.0.1:33"]));
                let done = json!({"code": 0, "msg": "success"});
                if encrypted {
                    let secret = keys().agree(&packet.opt).unwrap();
                    let plain = Writer::at(1).bytes(done.to_string().as_bytes()).done();
                    vec![Packet::new(LAN, 2, 2, &[], &secret.encrypt(&plain)).encode()]
                } else {
                    clear(2, &done)
                }
            },
            async |app, device| {
                let found = app.discover(device.address, &Wanted::default()).await.unwrap();
                let grant = Grant::new(&account(), "SIMPLY", "127.0.0.1:33");
                app.authorize(device.address, &found.devkey, &grant).await.unwrap();
            },
        );
    }
    check(
        |_, _| clear(2, &json!({"code": 16, "msg": "already bound"})),
        async |app, device| {
            let grant = Grant::new(&account(), "SIMPLY", "127.0.0.1:33");
            let refused = app.authorize(device.address, &hex(keys().public()), &grant).await;
            assert!(matches!(refused, Err(AppError::Refused(16, text)) if text == "already bound"));
        },
    );
}

#[test]
fn json_is_answered_under_either_type() {
    for kind in [3, 4] {
        check(
            move |packet, plain| {
                let request: Json = serde_json::from_slice(plain).unwrap();
                assert_eq!(packet.kind, 3);
                let value = if request["cmd"] == 4 {
                    json!("0")
                } else {
                    request["data"]["streams"][0]["current_value"].clone()
                };
                let data = json!({"code": 0, "data": [{"stream_id": "switch", "current_value": value}]});
                answer(kind, data.to_string().as_bytes())
            },
            async |app, device| {
                assert_eq!(app.snapshot(device).await.unwrap(), [("switch".to_owned(), json!("0"))]);
                let after = app.control(device, &[("switch", json!(1))]).await.unwrap();
                assert_eq!(after, [("switch".to_owned(), json!(1))]);
            },
        );
    }
    check(|_, _| answer(12, b"{}"), async |app, device| assert!(app.snapshot(device).await.is_err()));
    check(
        |_, _| answer(3, br#"{"code":10,"msg":"silent"}"#),
        async |app, device| assert!(matches!(app.snapshot(device).await, Err(AppError::Refused(10, _)))),
    );
}

#[test]
fn scripts_and_timers_carry_business_code_and_serial() {
    check(
        |packet, plain| {
            let biz_code = u32::from_le_bytes(plain[..4].try_into().unwrap());
            let rest = if packet.kind == 13 { &[0; 4][..] } else { &plain[8..] };
            answer(packet.kind, &[&(biz_code - 900).to_le_bytes(), &plain[4..8], rest].concat())
        },
        async |app, device| {
            assert_eq!(app.script(device, 1002, b"\xaa\x01").await.unwrap(), b"\xaa\x01");
            assert_eq!(app.operate(device, &Operation::Supported).await.unwrap().code, 0);
        },
    );
    check(
        |_, plain| answer(4, &[&102_u32.to_le_bytes()[..], &[0; 4], &plain[8..]].concat()),
        async |app, device| {
            assert!(app.script(device, 1002, &[]).await.unwrap_err().to_string().contains("of serial 0"))
        },
    );
}

#[test]
fn sub_devices_are_added_authorized_and_controlled() {
    let sub = SubDevice { account: Account::new("2"), mac: "mac001".to_owned(), product_uuid: "SUBONE".to_owned() };
    check(
        |packet, plain| match packet.kind {
            105 => answer(105, br#"{"code":0,"msg":"success","productuuid":"SUBONE","mac":"mac001"}"#),
            102 => clear(102, &json!({"code": 0, "msg": "", "productuuid": "SUBONE", "mac": "mac001"})),
            103 => answer(103, br#"{"code":0,"feedid":"2","data":[{"stream_id":"level","current_value":"5"}]}"#),
            _ => {
                let inner = Secret::of_text(&Account::new("2").localkey).unwrap();
                let command = inner.decrypt(&plain[40..]).unwrap();
                let head = [&102_u32.to_le_bytes()[..], &plain[4..40]].concat();
                answer(104, &[head, inner.encrypt(&[&command[..], b"!"].concat())].concat())
            }
        },
        async |app, gateway| {
            app.add_sub(gateway, "mac001", "SUBONE", 1).await.unwrap();
            let grant = SubGrant::new(&sub, "127.0.0.1:33");
            app.authorize_sub(gateway.address, &hex(keys().public()), &grant).await.unwrap();
            assert_eq!(app.snapshot_sub(gateway, "2").await.unwrap(), [("level".to_owned(), json!("5"))]);
            assert!(app.control_sub(gateway, "3", &[("level", json!(1))]).await.is_err(), "another one answers");
            let answer = app.script_sub(gateway, ("2", &sub.account.localkey), 1002, b"on").await.unwrap();
            assert_eq!(answer, b"on!");
        },
    );
}

#[test]
fn hostile_packets_are_seen_to_be_ignored_or_not() {
    let heard = Arc::new(Mutex::new(0));
    let counts = heard.clone();
    check(
        move |_, _| {
            *counts.lock().unwrap() += 1;
            answer(3, br#"{"code":0,"data":[]}"#)
        },
        async |app, device| {
            let right = request(&device.localkey, 3, br#"{"cmd":4,"data":{}}"#).unwrap();
            let bytes = right.encode();
            for at in [0, 4, 5, 6, 7, 8, 14, 15, bytes.len() - 1] {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1;
                app.is_ignored(device.address, &wrong).await.unwrap();
            }
            assert_eq!(*heard.lock().unwrap(), 0);
            assert!(app.is_ignored(device.address, &bytes).await.is_err(), "a right one is answered");
            // The discovery's answer is still under way.
            app.next_found().await.unwrap();
            app.is_ignored(device.address, &bytes).await.unwrap();
            let old = request_at(timestamp() - 100, &device.localkey, 3, b"{}").unwrap();
            app.is_ignored(device.address, &old.encode()).await.unwrap();
            assert_eq!(*heard.lock().unwrap(), 1, "neither the repetition nor the old one was taken");
        },
    );
}

#[test]
fn a_long_request_goes_out_in_fragments() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let mut app = App::bind().await.unwrap();
        let packet = request(&account().localkey, 3, &[b' '; 1500]).unwrap();
        app.send(socket.local_addr().unwrap(), &packet).await.unwrap();
        let mut sizes = Vec::new();
        let mut buffer = [0; 2000];
        for _ in 0..2 {
            let (n, _) = socket.recv_from(&mut buffer).await.unwrap();
            let fragment = Packet::exact(LAN, &buffer[..n]).unwrap();
            sizes.push((fragment.index, fragment.total, fragment.payload.len()));
        }
        assert_eq!(sizes, [(1, 2, 1000), (2, 2, 520)]);
    });
}

#[test]
fn no_two_requests_have_the_same_time_and_no_agreement_has_a_zero() {
    let (one, other) = (timestamp(), timestamp());
    assert!(other > one);
    for _ in 0..4 {
        let (packet, secret) = agreement(2, &hex(keys().public()), &json!({})).unwrap();
        assert!(!secret.has_nul());
        assert_eq!(keys().agree(&packet.opt).unwrap(), secret);
    }
    assert!(agreement(2, "02", &json!({})).is_err());
}

#[test]
fn the_clouds_own_app_enrols_a_device_that_shows_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cloud = JoyLink::start("counter").unwrap();
        let port = format!("lan_ports = [{}]", cloud.device_address().port());
        assert!(cloud.product_section().contains(&port));
        let (bound, mut told) = tokio::sync::mpsc::unbounded_channel();
        let socket = UdpSocket::bind(cloud.device_address()).await.unwrap();
        device_at(
            socket,
            || json!({}),
            move |_, plain| {
                bound.send(serde_json::from_slice::<Json>(plain).unwrap()).unwrap();
                clear(2, &json!({"code": 0, "msg": "success"}))
            },
        );
        let request = told.recv().await.unwrap();
        assert_eq!(request["data"]["feedid"], cloud.product().device.feedid);
        assert_eq!(request["data"]["joylink_server"], json!([cloud.address().to_string()]));
    });
}
