//! Too many applications, and some that mean no good.

use std::net::SocketAddr;

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::lan::app::LanApp;
use polylink_testbed::lan::frame::{Frame, VERSION};
use polylink_testbed::lan::udp::Asker;
use polylink_testbed::rig::RigError;
use polylink_testbed::rig::stats::Stats;
use serde_json::{Value as Json, json};

use super::{Home, facts};
use crate::set::check;

#[test]
fn eight_apps_are_served_a_ninth_is_shown_out_and_comes_in_when_one_has_left() {
    check(async || {
        let home = Home::online().await?;
        let (tcp, _) = home.lan().await?;
        let mut apps = Vec::new();
        for _ in 0..8 {
            apps.push(home.app().await?);
        }
        let mut ninth = home.answer("a connection", LanApp::connect(tcp)).await?;
        home.answer("the ninth to be shown out", ninth.closed()).await?;
        home.report(20).await?;
        for (n, app) in apps.iter().enumerate() {
            assert_eq!(home.command(app, "switch", json!(n % 2 == 0)).await?.len(), 1);
        }
        for app in &apps {
            home.all_arrived_at(app.ledger()).await?;
        }
        home.all_arrived_at(home.gizwits.ledger()).await?;
        drop(apps.pop());
        home.rig.until("a place to be free", |status| facts(status)["lan_applications"] == "7").await?;
        apps.push(home.app().await?);
        let apps: Vec<&dyn SimCloud> = apps.iter().map(|app| app as &dyn SimCloud).collect();
        home.finish(&apps).await
    });
}

/// What this does on the LAN must disturb neither an application that is there, nor the cloud, nor cost the host more
/// than it does while it lasts.
fn survives(attack: impl AsyncFnOnce(&Home, SocketAddr) -> Result<(), RigError>) {
    check(async || {
        let home = Home::online().await?;
        let app = home.app().await?;
        let (tcp, _) = home.lan().await?;
        home.report(20).await?;
        home.all_arrived_at(app.ledger()).await?;
        let before = home.rig.stats()?;
        attack(&home, tcp).await?;
        home.report(100).await?;
        assert_eq!(home.command(&home.gizwits, "switch", json!(true)).await?.len(), 1);
        assert_eq!(home.command(&app, "switch", json!(false)).await?.len(), 1);
        home.all_arrived_at(home.gizwits.ledger()).await?;
        home.all_arrived_at(app.ledger()).await?;
        assert_eq!(home.gizwits.ledger().with(|entries| entries.sessions), 1, "the cloud noticed");
        let as_before = |after: &Stats| {
            after.threads <= before.threads
                && after.sockets <= before.sockets
                && after.private_kb <= before.private_kb + GROWTH_KB
        };
        let rid_of_it = |_: &Json| home.rig.stats().is_ok_and(|after| as_before(&after));
        home.rig.until(&format!("the host to be about as it was: {before:?}"), rid_of_it).await?;
        home.finish(&[&app]).await
    });
}

/// Says these bytes and waits until it is shown out.
async fn shown_out(home: &Home, tcp: SocketAddr, bytes: &[u8]) -> Result<(), RigError> {
    let mut stranger = home.answer("a connection", LanApp::connect(tcp)).await?;
    // It may be cut off before it has said everything.
    match home.answer("to be heard", stranger.send_raw(bytes)).await {
        Ok(()) => home.answer("a stranger to be shown out", stranger.closed()).await,
        Err(_) => Ok(()),
    }
}

#[test]
fn lengths_without_an_end_huge_frames_and_garbage_end_their_own_connection_only() {
    survives(async |home, tcp| {
        let unending = [&VERSION[..], &[0xFF; 60_000]].concat();
        let huge = [&VERSION[..], &[0xFF, 0xFF, 0xFF, 0x7F], &[0; 60_000]].concat();
        let early = [&VERSION[..], &[0x03, 0x00, 0x00, 0x93]].concat();
        for _ in 0..10 {
            for bytes in [&unending[..], &huge, &[0xA5; 60_000], b"GET / HTTP/1.1\r\n\r\n", &early] {
                shown_out(home, tcp, bytes).await?;
            }
        }
        Ok(())
    });
}

#[test]
fn halves_of_frames_hold_a_place_and_nothing_else() {
    survives(async |home, tcp| {
        let half = [&VERSION[..], &[0x0F, 0x00, 0x00]].concat();
        let mut strangers = Vec::new();
        for _ in 0..7 {
            let mut stranger = home.answer("a connection", LanApp::connect(tcp)).await?;
            home.answer("half a frame to be sent", stranger.send_raw(&half)).await?;
            strangers.push(stranger);
        }
        // All places are taken, and the one who holds the eighth is served.
        home.report(50).await?;
        assert_eq!(home.command(&home.gizwits, "switch", json!(false)).await?.len(), 1);
        for mut stranger in strangers {
            home.answer("the silent ones to be shown out", stranger.closed()).await?;
        }
        home.app().await.map(drop)
    });
}

#[test]
fn two_hundred_connections_are_shown_out() {
    survives(async |home, tcp| {
        let mut strangers = tokio::task::JoinSet::new();
        for _ in 0..200 {
            strangers.spawn(async move { LanApp::connect(tcp).await?.closed().await });
        }
        let all_out = async {
            while let Some(ended) = strangers.join_next().await {
                ended.map_err(std::io::Error::other)??;
            }
            Ok(())
        };
        home.answer("the strangers to be shown out", all_out).await
    });
}

#[test]
fn guessing_the_passcode_ends_in_a_lock_that_those_inside_do_not_notice() {
    survives(async |home, tcp| {
        for _ in 0..10 {
            let mut stranger = home.answer("a connection", LanApp::connect(tcp)).await?;
            assert!(!home.answer("an answer", stranger.login("0000000000")).await?);
            home.answer("the stranger to be shown out", stranger.closed()).await?;
        }
        let count = |status: &Json, reason: &str| {
            facts(status)[format!("lan_tcp_{reason}")].as_str().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0)
        };
        let locked = |status: &Json| count(status, "wrong_passcode") + count(status, "locked_out") == 10;
        let status = home.rig.until("ten refusals to be counted", locked).await?;
        assert!(count(&status, "locked_out") > 0, "{:#}", facts(&status));
        // Here everybody has one address, so even who knows the passcode has to wait.
        let mut late = home.answer("a connection", LanApp::connect(tcp)).await?;
        assert!(!home.answer("an answer", late.login(&home.passcode())).await?);
        Ok(())
    });
}

#[test]
fn datagrams_of_any_kind_and_number_do_not_disturb_those_inside() {
    survives(async |home, _| {
        let (_, udp) = home.lan().await?;
        let asker = Asker::bind().await.map_err(|error| home.rig.error(error.to_string()))?;
        let discover = Frame::new(0x03, []).encode();
        let onboarding = Frame::new(0x01, [0, 4, b'h', b'o', b'm', b'e', 0, 0]).encode();
        let unending = [&VERSION[..], &[0xFF; 1400]].concat();
        for _ in 0..1000 {
            for bytes in [&discover[..], &onboarding, &unending, &discover[..5], &[0xA5; 200], b""] {
                home.answer("a datagram to be sent", asker.send(udp, bytes)).await?;
            }
        }
        Ok(())
    });
}

#[test]
fn what_an_app_at_the_cloud_sends_and_is_no_request_is_dropped_and_its_next_command_obeyed() {
    survives(async |home, _| {
        let half = [&VERSION[..], &[0x0F, 0x00, 0x00]].concat();
        let unending = [&VERSION[..], &[0xFF; 100]].concat();
        let report = Frame::new(0x91, [4; 40]).encode();
        let unknown = Frame::new(0x93, [0, 0, 0, 1, 0x77, 1, 2, 3]).encode();
        let short = Frame::new(0x93, [0, 0, 0, 2, 1, 0xFF]).encode();
        let large = Frame::new(0x90, vec![5; 60_000]).encode();
        for bytes in [&half[..], &unending, &report, &unknown, &short, &large, b"", b"{}"] {
            home.gizwits.deliver_raw("phone1", bytes).map_err(|error| home.rig.error(error))?;
        }
        for cmd in [0x0210, 0x0211, 0x020E, 0xFFFF] {
            home.gizwits.push(cmd, &[]).map_err(|error| home.rig.error(error))?;
            home.gizwits.push_to_product(cmd, &[0xFF; 300]);
        }
        let dropped = |status: &Json| facts(status)["input_dropped"].is_string();
        home.rig.until("the useless input to be counted", dropped).await.map(drop)
    });
}

/// What an attack may leave in memory. Chosen by us: one frame of the largest size for each place, and what the
/// allocator keeps.
const GROWTH_KB: u64 = 8 << 10;
