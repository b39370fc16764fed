//! Commands from a cloud to the MCU, and from the command line.

use polylink_testbed::mcu::p0::Raw;
use serde_json::json;

use crate::set::check;
use crate::stage::Stage;

#[test]
fn a_command_reaches_the_mcu_and_its_cloud_hears_that_it_is_done() {
    check(async || {
        let stage = Stage::online().await?;
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        assert_eq!(stage.command("mode", json!("dry")).await?, Ok(()));
        assert_eq!(stage.command("target", json!(29.5)).await?, Ok(()));
        let obeyed: Vec<_> =
            stage.mcu.log().commands.into_iter().map(|command| (command.name, command.value)).collect();
        let number = |name: &str, x| (name.to_owned(), Raw::Number(x));
        assert_eq!(obeyed, [number("switch", 1), number("mode", 3), number("target", 39)]);
        stage.finish().await
    });
}

#[test]
fn a_command_that_cannot_be_right_is_refused_before_the_uart() {
    check(async || {
        let stage = Stage::online().await?;
        for (property, value) in [
            ("temperature", json!(20)),
            ("target", json!(30.5)),
            ("target", json!(20.25)),
            ("target", json!("warm")),
            ("mode", json!("boil")),
            ("nothing", json!(1)),
            ("switch", json!(2)),
        ] {
            let answer = stage.command(property, value.clone()).await?;
            assert!(answer.is_err(), "{property} = {value} was done");
        }
        // What follows shows that the line was free all the time.
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        assert_eq!(stage.mcu.log().commands.len(), 1);
        stage.finish().await
    });
}

#[test]
fn a_command_that_the_broker_delivers_again_is_obeyed_once() {
    check(async || {
        let stage = Stage::online().await?;
        let request = |mid: &str, value: bool| {
            json!({"mid": mid, "from": "7000000000000000001", "to": "", "time": 1_502_867_086, "action": 301,
                "data": {"cmd": "set", "payload": {"switch": value}}})
            .to_string()
        };
        for mid in ["same", "same", "same"] {
            assert!(stage.deli.deliver_raw(request(mid, true).as_bytes()));
        }
        // The line carries one command at a time, so the last one is obeyed after all others.
        assert!(stage.deli.deliver_raw(request("last", false).as_bytes()));
        let off = |command: &polylink_testbed::mcu::log::ReceivedCommand| command.value == Raw::Number(0);
        stage.device("the last command", |log| log.commands.last().is_some_and(off)).await?;
        assert_eq!(stage.mcu.log().commands.len(), 2);
        assert_eq!(stage.mcu.log().violations, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn the_command_line_reads_and_sets_what_the_mcu_has() {
    check(async || {
        let stage = Stage::online().await?;
        let set = stage.rig.command_line("set switch=true target=21.5").await?;
        assert_eq!(set.status.code(), Some(0), "{set:?}");
        let n = stage.mcu.log().acknowledged.len();
        stage.device("both to be obeyed", |log| log.commands.len() >= 2).await?;
        stage.device("a report of it", |log| log.acknowledged.len() > n || !log.acknowledged.is_empty()).await?;
        stage.all_arrived().await?;
        let get = stage.rig.command_line("get --json target").await?;
        assert!(String::from_utf8_lossy(&get.stdout).contains("21.5"), "{get:?}");
        let wrong = stage.rig.command_line("set target=99").await?;
        assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
        stage.finish().await
    });
}
