//! What comes from the wire and makes no sense.

use polylink_testbed::mcu::faults::Faults;
use serde_json::json;

use crate::set::check;
use crate::stage::Stage;

#[test]
fn noise_on_the_line_costs_repetitions_and_no_report() {
    check(async || {
        let stage = Stage::online().await?;
        stage.mcu.set_faults(Faults::noisy());
        stage.report(200).await?;
        stage.mcu.set_faults(Faults::default());
        stage.all_arrived().await?;
        assert!(stage.mcu.log().repetitions > 0, "the line was not bad at all");
        let status = stage.rig.status().await?;
        let counters = status["host"]["mcu"]["counters"].as_object().cloned().unwrap_or_default();
        assert!(counters.values().any(|n| n.as_u64() > Some(0)), "the noise is not counted: {counters:?}");
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        stage.no_violations();
        Ok(())
    });
}

#[test]
fn messages_of_the_wrong_shape_are_dropped_and_the_next_one_understood() {
    check(async || {
        let stage = Stage::online().await?;
        let deep = "[".repeat(5000);
        let long = format!("{{\"action\":301,\"data\":{{\"cmd\":\"{}\"}}}}", "x".repeat(200_000));
        for text in [
            "",
            "no json",
            "[]",
            "null",
            "{}",
            "{\"action\":null}",
            "{\"action\":\"three\"}",
            "{\"action\":1e400}",
            "{\"action\":99999999999999999999}",
            "{\"action\":301}",
            "{\"action\":301,\"mid\":1,\"data\":[]}",
            "{\"action\":203,\"mid\":\"a\",\"data\":{\"status\":\"maybe\"}}",
            "{\"action\":101,\"mid\":\"unknown\",\"data\":{\"code\":0}}",
            "{\"action\":301,\"mid\":\"m\",\"from\":\"1\",\"data\":{\"cmd\":\"set\",\"payload\":\"x\"}}",
            "{\"action\":405}",
            &deep,
            &long,
        ] {
            assert!(stage.deli.deliver_raw(text.as_bytes()), "the device is gone after the message before {text:.60}");
        }
        assert!(stage.deli.deliver_raw(&[0xFF, 0xFE, 0x00]));
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        assert_eq!(stage.mcu.log().commands.len(), 1);
        let status = stage.rig.status().await?;
        assert_eq!(status["clouds"][0]["faults"]["count"], json!(0), "{status:#}");
        Ok(())
    });
}

#[test]
fn ids_above_2_to_the_53_and_numbers_as_texts_come_through() {
    check(async || {
        let stage = Stage::online().await?;
        let request = json!({"mid": "m1", "from": 9_007_199_254_740_993_u64, "to": "", "time": "1502867086",
            "action": "301", "data": {"cmd": "set", "payload": {"switch": true}}});
        assert!(stage.deli.deliver_raw(request.to_string().as_bytes()));
        stage.device("the command", |log| log.commands.len() == 1).await?;
        // The next answer comes after the one to this message.
        assert_eq!(stage.command("mode", json!("cool")).await?, Ok(()));
        let answers = stage.deli.heard(300);
        let answer = answers.iter().find(|message| message.mid == "m1").expect("the command was answered");
        assert_eq!(answer.to, "9007199254740993");
        Ok(())
    });
}
