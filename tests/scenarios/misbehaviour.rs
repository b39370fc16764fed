//! A plugin that misbehaves beside one that works: the other one must not notice.

use serde_json::json;

use crate::stage::{MISBEHAVING, Stage, check};

/// Runs the Deli cloud beside a plugin with these settings: reports and commands pass, nothing is lost, and the status
/// says of the other one what is expected.
fn beside(settings: &str, expected: impl Fn(&serde_json::Value) -> bool) {
    check(async || {
        let section = format!("\n[cloud.other]\nplugin = \"fixture-misbehaving\"\nsettings = {settings}\n");
        let stage = Stage::online_with(|files| {
            files.plugins.push(MISBEHAVING.to_owned());
            files.product += &section;
            files.overlay = "[plugins]\nbackoff_first_ms = 10\nbackoff_max_ms = 20\nfaults_max = 5\n".to_owned();
        })
        .await?;
        stage.report(100).await?;
        stage.all_arrived().await?;
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        let other = |status: &serde_json::Value| {
            let clouds = status["clouds"].as_array().cloned().unwrap_or_default();
            clouds.into_iter().find(|cloud| cloud["name"] == "other").unwrap_or_default()
        };
        stage.rig.until(&format!("the consequence of {settings}"), |status| expected(&other(status))).await?;
        assert_eq!(stage.command("switch", json!(false)).await?, Ok(()));
        stage.report(150).await?;
        stage.all_arrived().await?;
        let reports: Vec<_> = stage.mcu.log().acknowledged.iter().map(|report| (report.counter, report.sent)).collect();
        let verdict = stage.deli_verdict(reports);
        assert_eq!((verdict.lost, verdict.duplicates, verdict.out_of_order), (0, 0, 0));
        stage.no_violations();
        Ok(())
    });
}

fn faults(cloud: &serde_json::Value) -> u64 {
    cloud["faults"]["count"].as_u64().unwrap_or(0)
}

#[test]
fn a_plugin_that_panics_with_every_report_is_switched_off_and_the_other_one_runs_on() {
    beside("{ do = \"panic\", in = \"reports\" }", |other| faults(other) >= 5);
}

#[test]
fn a_plugin_that_panics_in_its_start_is_switched_off_and_the_other_one_runs_on() {
    beside("{ do = \"panic\", in = \"start\" }", |other| faults(other) >= 5);
}

#[test]
fn a_plugin_that_panics_once_gets_every_report_afterwards() {
    beside("{ do = \"panic\", in = \"reports\", once = true }", |other| {
        faults(other) == 1 && other["journal"]["pending"] == json!(0)
    });
}

#[test]
fn a_plugin_that_stalls_delays_nobody_else() {
    beside("{ do = \"stall\", in = \"reports\", ms = 300 }", |other| other["lifecycle"] != json!(null));
}

#[test]
fn a_plugin_that_never_returns_is_put_under_quarantine() {
    beside("{ do = \"loop\", in = \"start\" }", |other| {
        other["lifecycle"]
            .as_str()
            .is_some_and(|lifecycle| lifecycle.contains("quarantine") || lifecycle.contains("stall"))
    });
}

#[test]
fn a_plugin_that_leaks_sockets_meets_its_quota() {
    beside("{ do = \"leak-sockets\", in = \"reports\", n = 1000 }", |other| other["lifecycle"] != json!(null));
}

#[test]
fn a_plugin_that_settles_nothing_holds_up_nobody_else() {
    beside("{ do = \"hoard\" }", |other| other["journal"]["pending"].as_u64() > Some(0));
}
