//! A plugin that misbehaves beside one that works: the other one must not notice.

use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::{Value as Json, json};

use crate::set::{MISBEHAVING, check};
use crate::stage::Stage;

/// Runs the Deli cloud beside a plugin with these settings: reports and commands pass, nothing is lost, the log says of
/// the other one what is expected, and so does the status.
fn beside(settings: &str, says: &[&str], expected: impl Fn(&Json) -> bool) {
    check(async || {
        let stage = online_beside(settings).await?;
        stage.report(100).await?;
        stage.all_arrived().await?;
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        for says in says {
            let line = stage.rig.said(says).await?;
            assert!(line.contains("cloud=\"other\""), "it is not said of whom: {line}");
        }
        stage.rig.until(&format!("the consequence of {settings}"), |status| expected(&other(status))).await?;
        assert_eq!(stage.command("switch", json!(false)).await?, Ok(()));
        stage.report(150).await?;
        stage.all_arrived().await?;
        let verdict = stage.deli_verdict();
        assert_eq!((verdict.lost, verdict.duplicates, verdict.out_of_order), (0, 0, 0));
        let status = stage.rig.status().await?;
        assert_eq!(faults(&named(&status, "deli")), 0, "{status:#}");
        stage.no_violations();
        Ok(())
    });
}

async fn online_beside(settings: &str) -> Result<Stage, RigError> {
    let section = format!("\n[cloud.other]\nplugin = \"fixture-misbehaving\"\nsettings = {settings}\n");
    Stage::online_with(|files| {
        files.plugins.push(MISBEHAVING.to_owned());
        files.product += &section;
        files.overlay = "[plugins]\nbackoff_first_ms = 10\nbackoff_max_ms = 20\nfaults_max = 5\n".to_owned();
    })
    .await
}

fn named(status: &Json, name: &str) -> Json {
    let clouds = status["clouds"].as_array().cloned().unwrap_or_default();
    clouds.into_iter().find(|cloud| cloud["name"] == name).unwrap_or_default()
}

fn other(status: &Json) -> Json {
    named(status, "other")
}

fn faults(cloud: &Json) -> u64 {
    cloud["faults"]["count"].as_u64().unwrap_or(0)
}

#[test]
fn a_plugin_that_panics_with_every_report_is_switched_off_and_the_other_one_runs_on() {
    beside("{ do = \"panic\", in = \"reports\" }", &["plugin failed and stays off"], |other| {
        faults(other) == 5 && other["lifecycle"] == "disabled"
    });
}

#[test]
fn a_plugin_that_panics_in_its_start_is_switched_off_and_the_other_one_runs_on() {
    beside("{ do = \"panic\", in = \"start\" }", &["plugin failed and stays off"], |other| {
        faults(other) == 5 && other["lifecycle"] == "disabled"
    });
}

#[test]
fn a_plugin_that_panics_once_gets_every_report_afterwards() {
    beside("{ do = \"panic\", in = \"reports\", once = true }", &["plugin failed and starts again later"], |other| {
        faults(other) == 1 && other["journal"]["pending"] == json!(0)
    });
}

#[test]
fn a_plugin_that_is_slow_is_named_and_delays_nobody_else() {
    beside("{ do = \"stall\", in = \"reports\", ms = 300 }", &["plugin is slow to return from a call"], |other| {
        other["usage"]["slow_calls"].as_u64() > Some(0) && faults(other) == 0
    });
}

#[test]
fn a_plugin_that_stalls_is_put_under_quarantine_and_replaced_when_it_returns() {
    let says = ["plugin is quarantined: `reports` has not returned", "returned after it was given up as stuck"];
    beside("{ do = \"stall\", in = \"reports\", ms = 4000, once = true }", &says, |other| {
        faults(other) == 1 && other["lifecycle"] == "started"
    });
}

#[test]
fn a_plugin_that_never_returns_is_put_under_quarantine() {
    let says = ["plugin is quarantined: `start` has not returned"];
    beside("{ do = \"loop\", in = \"start\" }", &says, |other| {
        other["lifecycle"] == "quarantined" && other["usage"]["handles"] == 0
    });
}

#[test]
fn a_plugin_that_leaks_sockets_meets_its_quota() {
    beside("{ do = \"leak-sockets\", in = \"reports\", n = 1000 }", &[], |other| {
        other["usage"]["handles"] == HANDLES_MAX && other["usage"]["refused_calls"].as_u64() > Some(0)
    });
}

#[test]
fn sockets_that_a_failed_plugin_leaves_behind_are_closed() {
    check(async || {
        let stage = online_beside("{ do = \"leak-and-fail\", in = \"reports\", n = 1000, once = true }").await?;
        let before = stage.rig.stats()?.sockets;
        stage.report(20).await?;
        stage.rig.said("failed as told, after a leak").await?;
        let replaced = |other: &Json| faults(other) == 1 && other["lifecycle"] == "started";
        let status = stage.rig.until("the next instance", |status| replaced(&other(status))).await?;
        assert_eq!(other(&status)["usage"]["handles"], json!(0));
        // The control connection of each question may be open still while the next one is asked.
        let closed = async {
            while stage.rig.stats()?.sockets > before + 2 {
                stage.rig.status().await?;
            }
            Ok(())
        };
        stage.rig.within(LIMIT, "the sockets to be closed", closed).await??;
        stage.all_arrived().await?;
        stage.finish().await
    });
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_reason_and_the_other_clouds_run() {
    check(async || {
        let refused = [
            ("none", "fixture-not-a-plugin", "is not a Polylink plugin"),
            ("newer", "fixture-wrong-abi", "update the host"),
            ("greedy", "fixture-wants-more", "wants polylink.mqtt/99, this host offers polylink.mqtt/1"),
        ];
        let stage = Stage::online_with(|files| {
            for (name, plugin, _) in refused {
                files.plugins.push(format!("polylink-{plugin}"));
                files.product += &format!("\n[cloud.{name}]\nplugin = \"{plugin}\"\n");
            }
        })
        .await?;
        let status = stage.rig.status().await?;
        let page = stage.rig.command_line("status").await?;
        let page = String::from_utf8_lossy(&page.stdout).into_owned();
        for (name, plugin, why) in refused {
            let cloud = named(&status, name);
            assert_ne!(cloud["lifecycle"], json!("started"), "{cloud:#}");
            let lines: Vec<&str> = page.lines().filter(|line| line.contains(&format!("{name}:"))).collect();
            let named =
                |line: &&str| line.contains(why) && (line.contains(plugin) || line.contains(&plugin.replace('-', "_")));
            assert!(lines.iter().any(named), "{why:?} of {plugin} is not in {lines:#?} of:\n{page}");
            stage.rig.said(why).await?;
        }
        stage.report(50).await?;
        stage.all_arrived().await?;
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        stage.finish().await
    });
}

#[test]
fn a_plugin_that_settles_nothing_holds_up_nobody_else() {
    beside("{ do = \"hoard\" }", &[], |other| other["journal"]["pending"].as_u64() > Some(0));
}

/// Handles that the host lets one plugin have at a time.
const HANDLES_MAX: u64 = 32;
