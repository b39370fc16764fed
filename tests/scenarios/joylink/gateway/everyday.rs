//! Reports and commands of sub-devices, beside those of the gateway itself.

use polylink_testbed::clouds::joylink::seen::Seen;
use polylink_testbed::joylink_app::messages::Wanted;
use polylink_testbed::joylink_app::{App, AppError, Device, SUB_SCRIPT};
use polylink_testbed::joylink_wire::cipher::Secret;
use polylink_testbed::joylink_wire::fields::{Reader, Writer};
use polylink_testbed::rig::RigError;
use serde_json::{Value as Json, json};

use super::super::facts;
use super::{Home, feedid, numbers, of, refused, sub};
use crate::set::check;

#[test]
fn what_a_lamp_says_arrives_as_its_own_and_as_a_whole_snapshot() {
    check(async || {
        let home = Home::with_lamps(2, "").await?;
        home.mcu.report_of(1, &json!({"power": true, "level": 10}));
        home.mcu.report_of(2, &json!({"level": 20}));
        home.uploaded(1, "level", json!(10)).await?;
        home.uploaded(2, "level", json!(20)).await?;
        home.mcu.report_of(1, &json!({"level": 11}));
        home.uploaded(1, "level", json!(11)).await?;
        let seen = home.joylink.seen();
        let last = of(&seen, &feedid(1)).last().expect("it was seen");
        assert_eq!(last.value("power"), Some(&json!(1)), "{last:?}");
        let own = seen.uploads.iter().rfind(|upload| upload.sub.is_none()).expect("the gateway was seen");
        assert_eq!((own.value("power"), own.value("level")), (Some(&json!(0)), None));
        // Somebody has done that at the lamp.
        home.seen("a result", |seen| seen.results.iter().any(|result| result.feedid == feedid(1))).await?;
        home.close().await
    });
}

#[test]
fn the_cloud_sets_and_reads_a_lamp() {
    check(async || {
        let home = Home::with_lamps(2, "").await?;
        let set = home.answer(home.joylink.control_sub(&feedid(2), &[("power", json!(true)), ("level", json!(40))]));
        let set = set.await?;
        assert_eq!((set.code, stream(&set.json, "level")), (0, json!(40)));
        let (of_lamp, command) = last_command(&home);
        assert_eq!((of_lamp, command), (json!(2), json!({"power": true, "level": 40})));
        home.uploaded(2, "level", json!(40)).await?;
        let shown = home.answer(home.joylink.snapshot_sub(&feedid(2))).await?;
        assert_eq!((shown.code, stream(&shown.json, "power")), (0, json!(1)));
        // The gateway itself has the same streams and other values.
        let own = home.answer(home.joylink.snapshot()).await?;
        assert_eq!((own.code, stream(&own.json, "power")), (0, json!(0)));
        assert_eq!(home.answer(home.joylink.control_sub(&feedid(2), &[("colour", json!(1))])).await?.code, 4);
        home.close().await
    });
}

#[test]
fn an_app_sets_and_reads_a_lamp() {
    check(async || {
        let mut home = Home::with_lamps(1, "").await?;
        let (gateway, lamp) = (home.gateway(), feedid(1));
        let values = [("power", json!(1)), ("level", json!(55))];
        let shown = home.app("to set", async |app| app.control_sub(&gateway, &lamp, &values).await).await?;
        assert!(shown.contains(&("level".to_owned(), json!(55))), "{shown:?}");
        assert_eq!(last_command(&home), (json!(1), json!({"power": true, "level": 55})));
        home.uploaded(1, "level", json!(55)).await?;

        let account = sub(1).account;
        let key = (account.feedid.as_str(), account.localkey.as_str());
        let wanted = json!({"streams": [{"stream_id": "level", "current_value": 56}]}).to_string();
        let answer = async |app: &mut _| script(app, &gateway, key, 1002, wanted.as_bytes()).await;
        let answer = home.app("to set by bytes", answer).await?;
        assert_eq!((&answer["code"], stream(&answer, "level")), (&json!(0), json!(56)));
        assert_eq!(last_command(&home), (json!(1), json!({"level": 56})));
        home.uploaded(1, "level", json!(56)).await?;

        let shown = home.app("to read", async |app| app.snapshot_sub(&gateway, &lamp).await).await?;
        assert!(shown.contains(&("level".to_owned(), json!(56))), "{shown:?}");
        let read = home.app("to read bytes", async |app| script(app, &gateway, key, 1004, b"").await).await?;
        assert_eq!(stream(&read, "power"), json!(1));
        home.close().await
    });
}

#[test]
fn a_lamp_that_cannot_obey_has_a_code_for_everybody() {
    check(async || {
        let mut home = Home::with_lamps(2, "").await?;
        home.mcu.change(|manners| manners.refuses = Some("it is locked".to_owned()));
        all_refuse(&mut home, 1, 2).await?;
        home.mcu
            .change(|manners| *manners = polylink_testbed::mcu::jsonl::Manners { silent: true, ..Default::default() });
        all_refuse(&mut home, 1, 21).await?;
        home.mcu.change(|manners| manners.silent = false);
        home.mcu.subdevice(1, &json!({"online": false}));
        home.subdevices("2 (1 online)").await?;
        all_refuse(&mut home, 1, 20).await?;
        let states: Vec<_> = home.beat().await?.expect("a heartbeat with lamps").iter().map(|sub| sub.state).collect();
        assert_eq!(states, [1, 0]);
        home.mcu.subdevice_gone(1);
        home.status("it to be gone", |status| status["subdevices"].as_array().is_some_and(|list| list.len() == 1))
            .await?;
        all_refuse(&mut home, 1, 20).await?;
        home.answer(home.joylink.unbind(&[&feedid(1)])).await?;
        all_refuse(&mut home, 1, 19).await?;
        // The other one was never meant.
        let sets_other = |command: &Json| command["device"] == 2 && command["set"].is_object();
        assert!(!home.mcu.log().commands.iter().any(sets_other));
        assert_eq!(home.answer(home.joylink.snapshot_sub(&feedid(2))).await?.code, 0);
        home.close().await
    });
}

#[test]
fn a_heartbeat_tells_version_and_signal_of_each_lamp() {
    check(async || {
        let home = Home::with_lamps(2, "").await?;
        home.mcu.subdevice(2, &json!({"online": false, "version": "1.2"}));
        home.subdevices("2 (1 online)").await?;
        let subs = home.beat().await?.expect("a heartbeat with lamps");
        let told: Vec<_> = subs.iter().map(|sub| (&*sub.feedid, sub.version, sub.rssi, sub.state)).collect();
        assert_eq!(told, [(&*feedid(1), 7, 80, 0), (&*feedid(2), 0, 0xFFFF, 1)]);
        home.close().await
    });
}

#[test]
fn ten_lamps_speak_and_obey_at_once_beside_the_gateway() {
    check(async || {
        let mut home = Home::with_lamps(10, "").await?;
        // The answer does not fit into one datagram.
        assert_eq!(home.found(&Wanted::default()).await?.subs.len(), 10);
        for round in 1..=REPORTS {
            for n in 1..=10 {
                home.mcu.report_of(n, &json!({"n": 1000 * n + round}));
            }
            home.mcu.report(&json!({"n": round}));
        }
        for n in 1..=10 {
            home.uploaded(n, "n", json!(1000 * n as u64 + REPORTS)).await?;
        }
        home.seen("the gateway's last", |seen| own(seen).last() == Some(&REPORTS)).await?;
        let seen = home.joylink.seen();
        assert_eq!(own(&seen), (1..=REPORTS).collect::<Vec<_>>());
        for n in 1..=10 {
            let all: Vec<u64> = (1..=REPORTS).map(|round| 1000 * n as u64 + round).collect();
            assert_eq!(numbers(of(&seen, &feedid(n))), all, "of lamp {n}");
        }

        let wanted = |n: usize| [("level", json!(n))];
        let asked: Result<Vec<String>, String> =
            (1..=10).map(|n| home.joylink.control_sub(&feedid(n), &wanted(n))).collect();
        home.joylink.control(&[("level", json!(99))]).map_err(|why| home.rig.error(why))?;
        for id in asked.map_err(|why| home.rig.error(why))? {
            assert_eq!(home.answer(Ok(id)).await?.code, 0);
        }
        for n in 1..=10 {
            home.uploaded(n, "level", json!(n)).await?;
        }
        home.cloud("the gateway's answer", |entries| entries.commands_done() == 11).await?;
        let commands = home.mcu.log().commands;
        let level = |device: Json| commands.iter().filter(move |command| command["device"] == device);
        for n in 1..=10 {
            let set: Vec<_> = level(json!(n)).filter(|command| command["set"].is_object()).collect();
            assert!(set.len() == 1 && set[0]["set"] == json!({"level": n}), "of lamp {n}: {set:?}");
        }
        home.status("nothing to wait", |status| status["clouds"][0]["journal"]["pending"] == 0).await?;
        home.close().await
    });
}

/// The cloud and the app, with JSON and with bytes, are refused with this code.
async fn all_refuse(home: &mut Home, n: usize, code: i64) -> Result<(), RigError> {
    let account = sub(n).account;
    let (gateway, lamp) = (home.gateway(), account.feedid.as_str());
    let values = [("power", json!(true))];
    assert_eq!(home.answer(home.joylink.control_sub(lamp, &values)).await?.code, code, "to the cloud");
    assert_eq!(home.answer(home.joylink.snapshot_sub(lamp)).await?.code, code, "to the cloud");
    let values = [("power", json!(1))];
    let refusal = home.tries("to be refused", async |app| app.control_sub(&gateway, lamp, &values).await).await?;
    assert_eq!(refused(refusal), code, "to an app");
    let refusal = home.tries("to be refused", async |app| app.snapshot_sub(&gateway, lamp).await).await?;
    assert_eq!(refused(refusal), code, "to an app");
    let key = (lamp, account.localkey.as_str());
    let refusal = async |app: &mut _| script(app, &gateway, key, 1004, b"").await;
    assert_eq!(home.app("to be refused", refusal).await?["code"], code, "to an app, in bytes");
    assert_eq!(facts(&home.rig.status().await?)["lan_structure"], Json::Null);
    Ok(())
}

/// 104: what a lamp answers to bytes. A gateway that does not know it has no key of it, and says so in clear, as to the
/// cloud.
async fn script(
    app: &mut App,
    to: &Device,
    (feedid, localkey): (&str, &str),
    biz_code: u32,
    command: &[u8],
) -> Result<Json, AppError> {
    let key = Secret::of_text(localkey)?;
    let body = Writer::default().word(biz_code).word(SERIAL).text(feedid, FEEDID).bytes(&key.encrypt(command)).done();
    let answer = app.talk(to, SUB_SCRIPT, &body).await?;
    let mut fields = Reader::new(&answer);
    let head = (fields.word()?, fields.word()?, fields.text(FEEDID)?);
    if head != (biz_code - 900, SERIAL, feedid.to_owned()) {
        return Err(AppError::Breach(format!("{head:?} answers {biz_code} for {feedid}")));
    }
    let rest = fields.rest();
    let clear = serde_json::from_slice::<Json>(rest).ok().filter(|json| json["code"] == 19);
    let json = match clear {
        Some(json) => json,
        None => serde_json::from_slice(&key.decrypt(rest)?).map_err(|error| error.to_string())?,
    };
    Ok(json)
}

/// The last command that set something: for whom, and what.
fn last_command(home: &Home) -> (Json, Json) {
    let commands = home.mcu.log().commands;
    let last = commands.iter().rfind(|command| command["set"].is_object()).expect("something was set");
    (last["device"].clone(), last["set"].clone())
}

/// A stream of an answer.
#[track_caller]
fn stream(answer: &Json, name: &str) -> Json {
    let streams = answer["streams"].as_array().expect("an answer with streams");
    let found = streams.iter().find(|stream| stream["stream_id"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {answer}"))["current_value"].clone()
}

/// Those of the gateway itself.
fn own(seen: &Seen) -> Vec<u64> {
    numbers(seen.uploads.iter().filter(|upload| upload.sub.is_none()))
}

/// Reports of each device.
const REPORTS: u64 = 15;
/// Serial of requests in bytes; chosen by us.
const SERIAL: u32 = 0x0301_0204;
/// Bytes of an identity (JoyLink, 3).
const FEEDID: usize = 32;
