//! Clouds that break the protocol, and neighbours in the local network that mean no good.

use std::time::{Duration, Instant};

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::joylink::behaviour::Faults;
use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::joylink_app::messages::Wanted;
use polylink_testbed::joylink_app::{self as lan, App, Device};
use polylink_testbed::joylink_wire::fragments::cut;
use polylink_testbed::joylink_wire::packet::{CLOUD, LAN, Packet};
use polylink_testbed::rig::RigError;
use serde_json::{Value as Json, json};

use super::{Site, count};
use crate::set::{check, failed};

#[test]
fn answers_with_a_wrong_crc_or_key_and_resets_in_their_place_lose_nothing() {
    check(async || {
        let site = Site::online(Product::default(), IMPATIENT).await?;
        let mut n = 0;
        let faults = [
            Faults { wrong_crc: 1, ..Faults::default() },
            Faults { wrong_key: 1, ..Faults::default() },
            Faults { reset: 1, ..Faults::default() },
            Faults { silent: 2, ..Faults::default() },
        ];
        for fault in faults {
            let before = site.joylink.seen().authentications.len();
            site.joylink.change(|behaviour| *behaviour.faults(UPLOAD) = fault.clone());
            n += 20;
            site.report(n).await?;
            site.seen("another authentication", |seen| seen.authentications.len() > before).await?;
            site.all_arrived_at(site.joylink.ledger()).await?;
            // The way back in has the same fault.
            let before = site.joylink.seen().authentications.len();
            site.joylink.change(|behaviour| *behaviour.faults(AUTHENTICATION) = fault.clone());
            site.joylink.reset();
            site.seen("two attempts", |seen| seen.authentications.len() >= before + 2).await?;
            site.cloud("the device to be back", |entries| entries.online).await?;
        }
        site.rig.until("nothing to wait", |status| status["clouds"][0]["journal"]["pending"] == 0).await?;
        assert_eq!(site.command(&site.joylink, "switch", json!(true)).await?.len(), 1);
        site.all_arrived_at(site.joylink.ledger()).await?;
        assert_eq!(site.verdict(site.joylink.ledger()).lost, 0);
        site.finish().await
    });
}

#[test]
fn bytes_that_are_no_packets_end_the_connection_and_another_one_is_made() {
    check(async || {
        let site = Site::online(Product::default(), IMPATIENT).await?;
        let good = Packet::new(CLOUD, UPLOAD, 3, &[], &[0x5A; 48]).encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let breaks = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            Packet::new(LAN, UPLOAD, 3, &[], &[0x5A; 48]).encode(),
            with(14, good[14] ^ 1),
            // Says more than it has: what follows is swallowed, and is no answer to a heartbeat.
            with(6, 0xFF),
            with(5, 0xFF),
        ];
        for (n, bytes) in breaks.iter().enumerate() {
            let before = site.joylink.seen().authentications.len();
            site.joylink.deliver_raw(bytes).map_err(|why| site.rig.error(why))?;
            site.seen("another authentication", |seen| seen.authentications.len() > before).await?;
            site.cloud("the device to be back", |entries| entries.online).await?;
            site.report(10 * (n + 1)).await?;
            site.all_arrived_at(site.joylink.ledger()).await?;
        }
        assert_eq!(site.verdict(site.joylink.ledger()).lost, 0);
        site.finish().await
    });
}

#[test]
fn what_is_authentic_and_makes_no_sense_is_counted_and_nothing_else_suffers() {
    check(async || {
        let site = Site::online(Product::default(), "heartbeat_s = 60\n").await?;
        site.reports_arrive(20).await?;
        let deep = [b"\0\0\0\0".as_slice(), &b"[".repeat(30_000)].concat();
        let payloads: [&[u8]; 8] =
            [b"", b"\x01", b"\0\0\0\0", &[0xFF; 8], &[0xFF; 12], &[0xFF; 16], &[0xFF; 300], &deep];
        let kinds =
            [1, 2, 3, 4, 7, 8, 11, 13, 14, 15, 16, 102, 103, 104, 105, 110, 111, 112, 113, 200, 201, 0, 77, 255];
        for kind in kinds {
            for payload in payloads {
                site.joylink.deliver(kind, payload).map_err(|why| site.rig.error(why))?;
            }
        }
        // Some of it passes for an answer to nothing.
        let dropped = ["input_dropped", "answers_unmatched", "cloud_structure", "cloud_type", "cloud_enctype"];
        let n_dropped = |status: &Json| dropped.iter().map(|name| count(status, name)).sum::<u64>();
        let status = site.rig.until("most of it to be counted", |status| n_dropped(status) >= 150).await?;
        assert_eq!(status["clouds"][0]["faults"]["count"], 0);
        site.reports_arrive(60).await?;
        assert_eq!(site.command(&site.joylink, "switch", json!(true)).await?.len(), 1);
        assert_eq!(site.joylink.ledger().with(|entries| entries.sessions), 1, "the connection was ended");
        site.finish().await
    });
}

#[test]
fn a_flood_of_discoveries_is_answered_now_and_then_and_disturbs_nobody() {
    check(async || {
        let site = Site::online(Product::default(), "mcu_timeout_ms = 10000\n").await?;
        let at = site.joylink.device_address();
        let begun = Instant::now();
        let flood = App::bind().await.map_err(failed)?;
        let flooding = async {
            for n in 0..10_000_u32 {
                site.app("to ask", flood.ask_who(at, &Wanted::default())).await?;
                if n % 50 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Ok::<_, RigError>(())
        };
        let living = async {
            for on in [1, 0, 1] {
                controlled(&site, on).await?;
            }
            site.reports_arrive(40).await?;
            assert_eq!(site.command(&site.joylink, "mode", json!("dry")).await?.len(), 1);
            controlled(&site, 0).await
        };
        let (flooded, lived) = tokio::join!(flooding, living);
        flooded.and(lived)?;
        site.rig.until("most of them to be counted", |status| count(status, "lan_rate") >= 100).await?;
        let mut answers = 0;
        while let Ok(answer) = tokio::time::timeout(Duration::ZERO, flood.next_found()).await {
            site.app("an answer", std::future::ready(answer)).await?;
            answers += 1;
        }
        let limit = PER_SECOND * (begun.elapsed().as_secs() + 2);
        assert!((1..=limit).contains(&answers), "{answers} answers, {limit} at most");
        assert_eq!(site.joylink.ledger().with(|entries| entries.sessions), 1, "the cloud noticed");
        site.finish().await
    });
}

#[test]
fn garbage_in_the_local_network_is_counted_and_not_answered() {
    check(async || {
        let site = Site::online(Product::default(), "mcu_timeout_ms = 10000\n").await?;
        let device = site.device_in_lan();
        let mut app = App::bind().await.map_err(failed)?;
        let good = request(&device, &json!({"cmd": 4, "data": {}}))?.encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let stranger = Device { localkey: "x".repeat(32), ..device.clone() };
        let fragment = |index: u8, total: u8| {
            Packet { index, total, reserved: 9, ..Packet::new(LAN, lan::JSON, 3, &[], &[0x5A; 64]) }.encode()
        };
        let garbage: [(&str, Vec<u8>); 14] = [
            ("lan_length", Vec::new()),
            ("lan_length", good[..15].to_vec()),
            ("lan_length", good[..good.len() - 1].to_vec()),
            ("lan_length", [&good[..], b"x"].concat()),
            ("lan_length", with(4, 0xFF)),
            ("lan_length", with(7, 0xFF)),
            ("lan_magic", with(0, 0)),
            ("lan_crc", with(14, good[14] ^ 1)),
            ("lan_version", with(8, 7)),
            ("lan_type", with(9, 99)),
            ("lan_fragment", fragment(5, 3)),
            ("lan_padding", request(&stranger, &json!({"cmd": 4, "data": {}}))?.encode()),
            ("lan_structure", lan::request(&device.localkey, lan::JSON, b"[[[[").map_err(wrong)?.encode()),
            ("lan_not_gateway", lan::request(&device.localkey, lan::SUB_JSON, b"{}").map_err(wrong)?.encode()),
        ];
        for (reason, bytes) in &garbage {
            let before = count(&site.rig.status().await?, reason);
            site.app("to send garbage", app.send_raw(device.address, bytes)).await?;
            // The first answer is the one to what makes sense.
            site.app("to be shown", app.snapshot(&device)).await?;
            let what = format!("{reason} to be counted");
            site.rig.until(&what, |status| count(status, reason) > before).await?;
        }
        // Halves of messages take a bounded place, and a message of the largest datagrams is none.
        for n in 0..=255 {
            let half = Packet { reserved: n, ..Packet::new(LAN, lan::JSON, 3, &[], &[0x5A; 1024]) };
            let half = Packet { index: 1, total: 200, ..half };
            site.app("to send half a message", app.send_raw(device.address, &half.encode())).await?;
        }
        site.app("to send a lot", app.send_raw(device.address, &[0xBB; 60_000])).await?;
        site.app("to be shown", app.snapshot(&device)).await?;
        site.reports_arrive(20).await?;
        site.finish().await
    });
}

#[test]
fn what_was_sent_before_is_not_obeyed_again() {
    check(async || {
        let site = Site::online(Product::default(), "mcu_timeout_ms = 10000\n").await?;
        let device = site.device_in_lan();
        let mut app = App::bind().await.map_err(failed)?;
        let on = |on: u32| json!({"cmd": 5, "data": {"streams": [{"stream_id": "switch", "current_value": on}], "snapshot": []}});
        let early = request(&device, &on(0))?;
        let late = request(&device, &on(1))?;
        // The later one overtakes the earlier one, and both are recorded and sent again, by others as well.
        site.app("to control", app.send(device.address, &late)).await?;
        site.app("an answer", app.hear(Some(device.address))).await?;
        let thief = App::bind().await.map_err(failed)?;
        for packet in [&early, &late, &early] {
            site.app("to repeat", thief.send_raw(device.address, &packet.encode())).await?;
        }
        site.rig.until("all three to be counted", |status| count(status, "lan_replay") == 3).await?;
        site.app("to be shown", app.snapshot(&device)).await?;
        assert_eq!(site.mcu.log().commands.len(), 1);
        // A time of long ago is no better.
        let old = lan::request_at(1, &device.localkey, lan::JSON, on(0).to_string().as_bytes()).map_err(wrong)?;
        site.app("to control", thief.send_raw(device.address, &old.encode())).await?;
        site.rig.until("it to be counted", |status| count(status, "lan_replay") == 4).await?;
        assert_eq!(site.command(&site.joylink, "switch", json!(false)).await?.len(), 1);
        site.finish().await
    });
}

#[test]
fn a_request_in_fragments_that_come_in_any_order_and_twice_is_one_request() {
    check(async || {
        let site = Site::online(Product::default(), "mcu_timeout_ms = 10000\n").await?;
        let device = site.device_in_lan();
        let app = App::bind().await.map_err(failed)?;
        let filler: Vec<Json> =
            (0..100).map(|n| json!({"stream_id": format!("filler{n}"), "current_value": "x".repeat(20)})).collect();
        let wanted = json!({"cmd": 5, "data": {
            "streams": [{"stream_id": "switch", "current_value": 1}], "snapshot": filler,
        }});
        let mut fragments = cut(&request(&device, &wanted)?, 7);
        assert!(fragments.len() >= 4, "{} fragments", fragments.len());
        fragments.reverse();
        let twice: Vec<Packet> = fragments.iter().flat_map(|fragment| [fragment.clone(), fragment.clone()]).collect();
        // The last one, as it comes the second time, begins a message that never ends.
        for fragment in &twice {
            site.app("to send a fragment", app.send_raw(device.address, &fragment.encode())).await?;
        }
        site.app("an answer", app.hear(Some(device.address))).await?;
        assert_eq!(site.mcu.log().commands.len(), 1);
        assert_eq!(site.command(&site.joylink, "switch", json!(false)).await?.len(), 1);
        assert_eq!(site.mcu.log().commands.len(), 2);
        site.finish().await
    });
}

/// An app controls the device. It says so again and again, as the flood may have left its datagram no room.
async fn controlled(site: &Site, on: u32) -> Result<(), RigError> {
    let device = site.device_in_lan();
    let wanted = [("switch", json!(on))];
    let insisting = async {
        loop {
            // A new one each time, so that a late answer to the last one meets nobody.
            let mut app = App::bind().await?;
            if let Ok(answer) = tokio::time::timeout(PATIENCE, app.control(&device, &wanted)).await {
                return answer;
            }
        }
    };
    let streams = site.app("to be controlled", insisting).await?;
    assert!(streams.contains(&("switch".to_owned(), json!(on))), "{streams:?}");
    Ok(())
}

fn request(device: &Device, json: &Json) -> Result<Packet, RigError> {
    lan::request(&device.localkey, lan::JSON, json.to_string().as_bytes()).map_err(wrong)
}

fn wrong(why: String) -> RigError {
    RigError::new(why)
}

/// A cloud that is silent is left soon.
const IMPATIENT: &str =
    "auth_timeout_s = 2\nupload_timeout_s = 2\nreconnect_min_s = 1\nreconnect_max_s = 1\nheartbeat_s = 1\n";
/// Before an app repeats itself.
const PATIENCE: Duration = Duration::from_millis(500);
/// Types (JoyLink, 3.2).
const AUTHENTICATION: u8 = 9;
const UPLOAD: u8 = 12;
/// Discoveries that are answered (JoyLink, 14.1).
const PER_SECOND: u64 = 20;
