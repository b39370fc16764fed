//! What becomes of sub-devices when something ends: the host, the line to the MCU, the owner's wish to have the gateway.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::joylink::Image;
use polylink_testbed::clouds::joylink::seen::FAILED;
use serde_json::json;

use super::super::facts;
use super::{Home, feedid, lamp, numbers, of};
use crate::set::check;

#[test]
fn lamps_survive_a_kill_and_are_shown_again() {
    check(async || {
        let mut home = Home::with_lamps(2, "").await?;
        home.mcu.report_of(1, &json!({"power": true, "level": 10}));
        home.uploaded(1, "level", json!(10)).await?;
        let accepted = home.mcu.log().accepted;
        home.kill().await?;
        let n_results = home.joylink.seen().results.len();
        let n_before = of(&home.joylink.seen(), &feedid(1)).count();
        home.start().await?;
        home.subdevices("2 (2 online)").await?;
        // Nobody has said anything since, and yet the cloud is shown the lamp.
        home.seen("the lamp", |seen| {
            let lamp = feedid(1);
            let mut shown = of(seen, &lamp).skip(n_before);
            shown.any(|upload| upload.value("level") == Some(&json!(10)) && upload.value("power") == Some(&json!(1)))
        })
        .await?;
        // A look at it is nobody's doing.
        assert_eq!(home.joylink.seen().results.len(), n_results);
        let states = home.beat().await?.expect("a heartbeat with lamps");
        let states: Vec<_> = states.iter().map(|sub| (&*sub.feedid, sub.state)).collect();
        assert_eq!(states, [(&*feedid(1), 0), (&*feedid(2), 0)]);
        let values = [("level", json!(77))];
        assert_eq!(home.answer(home.joylink.control_sub(&feedid(2), &values)).await?.code, 0);
        let gateway = home.gateway();
        let shown = home.app("to read", async |app| app.snapshot_sub(&gateway, &feedid(2)).await).await?;
        assert!(shown.contains(&("level".to_owned(), json!(77))), "{shown:?}");
        assert_eq!(home.mcu.log().accepted, accepted, "they were accepted before");
        home.close().await
    });
}

#[test]
fn what_lamps_said_while_the_cloud_was_away_arrives_after_the_gateway_has_shown_itself() {
    check(async || {
        let home = Home::with_lamps(2, "reconnect_min_s = 1\nreconnect_max_s = 1\n").await?;
        // Who has said something is not asked what it looks like: the answer could overtake the reports.
        for n in 1..=2 {
            home.mcu.report_of(n, &json!({"n": 0}));
            home.uploaded(n as usize, "n", json!(0)).await?;
        }
        home.joylink.go_away();
        home.cloud("the gateway to be gone", |entries| !entries.online).await?;
        let said: Vec<u64> = (1..=100).map(|n| home.mcu.report_of(1 + n % 2, &json!({"n": n}))).collect();
        home.device("all to be taken", |log| said.iter().all(|id| log.acknowledged.contains(id))).await?;
        home.joylink.come_back().map_err(|error| home.rig.error(error.to_string()))?;
        home.uploaded(1, "n", json!(100)).await?;
        home.uploaded(2, "n", json!(99)).await?;
        let seen = home.joylink.seen();
        for (n, rest) in [(1, 0), (2, 1)] {
            let said: Vec<u64> = (0..=100).filter(|said| *said == 0 || said % 2 == rest).collect();
            assert_eq!(numbers(of(&seen, &feedid(n))), said, "of lamp {n}");
        }
        home.close().await
    });
}

#[test]
fn a_lamp_that_was_unbound_before_a_kill_is_removed_after_it() {
    check(async || {
        let mut home = Home::with_lamps(2, "").await?;
        // It hears of nothing, as an MCU does that is busy with something else.
        home.mcu.change(|manners| manners.silent = true);
        home.answer(home.joylink.unbind(&[&feedid(1)])).await?;
        home.written("without it", |bonds| !bonds.contains(&feedid(1))).await?;
        home.kill().await?;
        assert_eq!(home.mcu.log().removed, Vec::<u64>::new());
        home.mcu.change(|manners| manners.silent = false);
        home.start().await?;
        home.device("it to be removed", |log| log.removed == [1]).await?;
        home.subdevices("1 (1 online)").await?;
        home.close().await
    });
}

#[test]
fn lamps_are_offline_while_the_line_is_broken_and_shown_as_they_are_after_it() {
    check(async || {
        let home = Home::with_lamps(2, "").await?;
        let greetings = home.mcu.log().greetings;
        home.mcu.hang_up();
        home.device("the line to be made again", |log| log.greetings > greetings).await?;
        home.subdevices("2 (2 online)").await?;
        home.mcu.report_of(2, &json!({"level": 3}));
        home.uploaded(2, "level", json!(3)).await?;
        assert_eq!(home.answer(home.joylink.control_sub(&feedid(1), &[("level", json!(4))])).await?.code, 0);
        home.close().await
    });
}

#[test]
fn a_factory_reset_gives_up_all_lamps() {
    check(async || {
        let home = Home::with_lamps(2, "").await?;
        home.mcu.tell(json!({"user": "reset"}));
        home.device("both to be removed", |log| log.removed.len() == 2).await?;
        home.cloud("the gateway to be gone", |entries| !entries.online).await?;
        home.status("nobody to own it", |status| facts(status)["feedid"] == "none yet").await?;
        home.subdevices("0 (0 online)").await?;
        // The next owner begins with nothing.
        home.joylink.change(|behaviour| behaviour.enrols = true);
        home.cloud("the gateway to be back", |entries| entries.online).await?;
        assert_eq!(home.beat().await?, None, "a heartbeat with lamps");
        home.mcu.subdevice(1, &lamp(1));
        home.device("it to be accepted", |log| log.accepted.len() == 3).await?;
        home.close().await
    });
}

#[test]
fn firmware_for_a_lamp_is_taken_and_has_failed_at_once_as_nothing_can_install_it() {
    check(async || {
        let home = Home::with_lamps(1, "").await?;
        let name = "1.0.8.20260102_release".to_owned();
        let image = Image { sub: Some(feedid(1)), version: 8, name, body: vec![7; 100] };
        assert_eq!(home.answer(home.joylink.order_upgrade(&image)).await?.code, 0);
        home.seen("the end of it", |seen| seen.upgrades[0].end().is_some()).await?;
        let upgrade = home.joylink.seen().upgrades.remove(0);
        let end = upgrade.end().expect("it was just seen");
        assert_eq!((&upgrade.feedid, end.status), (&feedid(1), FAILED));
        assert!(end.description.starts_with("operation not supported (100): "), "{end:?}");
        let path = upgrade.path.as_deref().expect("it is on the cloud's own server");
        assert_eq!(home.joylink.files().requests(path), []);
        home.close().await
    });
}
