//! Who is told what: answers to who asked, changes to all, offers to the operator.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::deli::Deli;
use polylink_testbed::clouds::gizwits::ApiCall;
use polylink_testbed::demo::product;
use polylink_testbed::lan::app::LanApp;
use polylink_testbed::mcu::jsonl::JsonMcu;
use polylink_testbed::mcu::p0::Raw;
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};
use serde_json::{Value as Json, json};

use super::{APP_BIT, CLOUD_BIT, Home, facts};
use crate::set::{DELI, GIZWITS, binaries, check};

fn failed(error: std::io::Error) -> RigError {
    RigError::new(error.to_string())
}

#[test]
fn a_command_from_either_of_two_clouds_reaches_the_mcu_once_and_both_see_its_result() {
    check(async || {
        let deli = Deli::start(product::COUNTER).map_err(failed)?;
        let mut home = Home::furnish(|files| {
            files.product += &format!("\n{}", deli.product_section());
            files.plugins.push(DELI.to_owned());
        })?;
        home.rig.start()?;
        home.cloud("Gizwits to see the device", |entries| entries.online).await?;
        home.heard(deli.ledger(), "Deli to see the device", |entries| entries.online).await?;
        home.report(50).await?;
        for n in 0..6 {
            let (property, value) = product::command(n);
            let asker: &dyn SimCloud = if n % 2 == 0 { &home.gizwits } else { &deli };
            let obeyed = home.command(asker, property, value).await?;
            assert_eq!(obeyed.len(), 1, "{obeyed:?}");
            // The report of the result is among these.
            home.all_arrived_at(home.gizwits.ledger()).await?;
            home.all_arrived_at(deli.ledger()).await?;
        }
        for ledger in [home.gizwits.ledger(), deli.ledger()] {
            let verdict = home.verdict(ledger);
            assert_eq!((verdict.lost, verdict.duplicates, verdict.out_of_order), (0, 0, 0));
            assert_eq!(ledger.with(|entries| (entries.commands_sent(), entries.commands_done())), (3, 3));
        }
        home.finish(&[&deli]).await
    });
}

#[test]
fn a_read_is_answered_to_who_asked_and_to_nobody_else() {
    check(async || {
        let home = Home::online().await?;
        let bystander = home.app().await?;
        let (tcp, _) = home.lan().await?;
        let mut reader = home.answer("a connection", LanApp::connect(tcp)).await?;
        assert!(home.answer("an app to log in", reader.login(&home.passcode())).await?);
        home.mcu.set("temperature", Raw::Number(615), &product::schema());
        home.device("the report", |log| !log.acknowledged.is_empty()).await?;
        home.rig.within(LIMIT, "the MCU to come to rest", home.mcu.at_rest()).await?;
        home.all_arrived_at(bystander.ledger()).await?;
        home.answer("the report", reader.next_report()).await?;

        let sn = home.gizwits.read("phone1").map_err(|error| home.rig.error(error))?;
        let answered = home.gizwits.until(|seen| !seen.answers_to("phone1").is_empty());
        home.rig.within(LIMIT, "the answer to the cloud's app", answered).await?;
        let at_lan = home.answer("the answer to the app on the LAN", reader.request(7, &[READ])).await?;
        let answers = home.gizwits.seen().answers;
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["phone1"]);
        assert_eq!(answers["phone1"].len(), 1);
        assert_eq!(answers["phone1"][0].sn, Some(sn));
        assert_eq!(answers["phone1"][0].p0, at_lan);
        let values = home.gizwits.decode(at_lan[0], &at_lan).map_err(|error| home.rig.error(error))?;
        assert_eq!(values.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), home.mcu.values());

        // What follows has overtaken nothing: had the answers gone to others, they would be there before it.
        assert_eq!(home.command(&home.gizwits, "switch", json!(true)).await?.len(), 1);
        home.all_arrived_at(bystander.ledger()).await?;
        home.answer("the report", reader.next_report()).await?;
        let reports = home.mcu.with_log(|log| log.acknowledged.len());
        for ledger in [home.gizwits.ledger(), bystander.ledger()] {
            assert_eq!(ledger.with(|entries| entries.arrivals.len()), reports, "an answer came as a report");
        }
        home.finish(&[&bystander]).await
    });
}

#[test]
fn the_mcu_is_told_of_apps_wherever_they_are_and_when_the_last_has_left() {
    check(async || {
        let home = Home::online().await?;
        home.status_bit("the MCU to know of the cloud", CLOUD_BIT, true).await?;
        let told = |count| home.gizwits.app_count(count).map_err(|error| home.rig.error(error));
        told(2)?;
        home.status_bit("the MCU to know of the apps at the cloud", APP_BIT, true).await?;
        let app = home.app().await?;
        home.rig.until("the app on the LAN to be counted", |status| facts(status)["lan_applications"] == "1").await?;
        told(0)?;
        home.rig.until("the cloud's to have left", |status| facts(status)["cloud_applications"].is_null()).await?;
        let with_app = home.mcu.with_log(|log| log.status_words.last().copied());
        assert!(with_app.is_some_and(|word| word >> APP_BIT & 1 == 1), "{with_app:04X?}");
        drop(app);
        home.status_bit("the MCU to know that all have left", APP_BIT, false).await?;
        home.finish(&[]).await
    });
}

#[test]
fn firmware_that_nothing_here_installs_is_looked_at_and_shown_to_the_operator() {
    check(async || {
        let home = Home::online().await?;
        let asked = || home.gizwits.seen().calls(ApiCall::Check).count();
        let before = asked();
        let path = home.gizwits.publish(MODULE_FIRMWARE, "04020007", b"a module");
        home.gizwits.push_upgrade(MODULE_FIRMWARE).map_err(|error| home.rig.error(error))?;
        let refused = "version 04020007: not installed, nothing installs images for the module here";
        let shows = |status: &Json| facts(status)["module_update"].as_str().is_some_and(|shown| shown == refused);
        home.rig.until("the refusal to be shown", shows).await?;
        assert_eq!(asked(), before + 1);
        let check = home.gizwits.seen().calls(ApiCall::Check).last().cloned().expect("it was counted");
        assert_eq!((check.status, check.fields["type"].as_str()), (200, "1"));
        assert_eq!(check.fields["soft_version"], "04020006");
        let methods: Vec<_> = home.gizwits.files().requests(&path).into_iter().map(|seen| seen.method).collect();
        assert_eq!(methods, ["HEAD"], "nothing is loaded");
        let output = home.rig.command_line("status --json").await?;
        let shown: Json = serde_json::from_slice(&output.stdout).map_err(|error| home.rig.error(error.to_string()))?;
        assert!(shows(&shown), "{shown:#}");
        home.finish(&[]).await
    });
}

#[test]
fn a_product_without_datapoints_costs_the_gizwits_cloud_alone() {
    check(async || {
        let oven = JsonMcu::start("oven").map_err(failed)?;
        let deli = Deli::start(product::COUNTER).map_err(failed)?;
        let gizwits = "[cloud.gizwits]\nplugin = \"gizwits\"\nplain_text = true\n";
        let files = Files {
            link: "jsonl".to_owned(),
            port: oven.port(),
            product_key: "oven".to_owned(),
            product: format!(
                "[product]\nkey = \"oven\"\nname = \"Oven\"\n\n[[property]]\nname = \"{}\"\ntype = \"int\"\n\n{gizwits}\n{}",
                product::COUNTER,
                deli.product_section()
            ),
            plugins: vec![DELI.to_owned(), GIZWITS.to_owned()],
            ..Files::default()
        };
        let mut rig = Rig::new(&binaries(&[])?, &files)?;
        rig.start()?;
        rig.within(LIMIT, "Deli to see the device", deli.ledger().until(|entries| entries.online)).await?;
        let line = rig.said("the Gizwits cloud needs the product's datapoint file").await?;
        assert!(line.contains("gizwits_datapoints"), "what to do is not said: {line}");
        let explains = |status: &Json| {
            let clouds = status["clouds"].as_array().map(Vec::as_slice).unwrap_or_default();
            let gizwits = clouds.iter().find(|cloud| cloud["name"] == "gizwits");
            gizwits.is_some_and(|cloud| cloud.to_string().contains("needs the product's datapoint file"))
        };
        rig.until("the status to say so too", explains).await?;
        oven.report(&json!({product::COUNTER: 7}));
        let arrived = deli.ledger().until(|entries| entries.arrivals.iter().any(|arrival| arrival.counter == 7));
        rig.within(LIMIT, "a report at Deli", arrived).await?;
        let status = rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        assert_eq!(deli.ledger().with(|entries| entries.violations.clone()), Vec::<String>::new());
        assert_eq!(oven.log().violations, Vec::<String>::new(), "seen by the MCU");
        Ok(())
    });
}

/// First P0 byte of a read (Gizwits P0, 3.1).
const READ: u8 = 0x02;
/// Type of firmware (Gizwits protocol, 5.4).
const MODULE_FIRMWARE: u8 = 1;
