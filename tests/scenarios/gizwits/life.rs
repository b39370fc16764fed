//! The first start, and starts after it.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::gizwits::{ApiCall, ApiRequest};
use polylink_testbed::lan::app::LanApp;
use polylink_testbed::lan::udp::Asker;
use polylink_testbed::mcu::frame::OPEN_BINDING;
use polylink_testbed::mcu::p0::Raw;
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::json;

use super::{APP_BIT, BINDABLE_BIT, CLOUD_BIT, Home};
use crate::set::check;

#[test]
fn a_new_device_registers_logs_in_announces_itself_and_serves_its_apps() {
    check(async || {
        let home = Home::online().await?;
        let calls: Vec<ApiCall> = home.gizwits.seen().requests.iter().map(|request| request.call).collect();
        assert_eq!(calls, [ApiCall::Register, ApiCall::Provision, ApiCall::Check, ApiCall::Check]);
        let (did, registration) = home.gizwits.device().expect("it is online");
        home.status_bit("the MCU to know of the cloud", CLOUD_BIT, true).await?;
        home.status_bit("no app to be there yet", APP_BIT, false).await?;

        let ear = home.gizwits.announces();
        while !ear.heard().iter().any(|announce| announce.identity().0 == did) {
            home.rig.within(LIMIT, "an announce with the DID", ear.until(ear.count() + 1)).await?;
        }
        let (_, udp) = home.lan().await?;
        let asker = Asker::bind().await.map_err(|error| home.rig.error(error.to_string()))?;
        assert_eq!(home.answer("an answer to discovery", asker.discover(udp)).await?.did, did);

        let app = home.newcomer().await?;
        home.status_bit("the MCU to know of the app", APP_BIT, true).await?;
        home.report(30).await?;
        home.all_arrived_at(home.gizwits.ledger()).await?;
        home.all_arrived_at(app.ledger()).await?;
        for (asker, target) in [(&home.gizwits as &dyn SimCloud, 21.5), (&app, 24.0)] {
            let obeyed = home.command(asker, "target", json!(target)).await?;
            assert_eq!(obeyed.len(), 1, "{obeyed:?}");
            // Transmitted: halves above 10 (the demo's datapoint file).
            assert_eq!(obeyed[0].value, Raw::Number(((target - 10.0) * 2.0) as u64));
            home.all_arrived_at(home.gizwits.ledger()).await?;
            home.all_arrived_at(app.ledger()).await?;
        }
        // A second answer, or one to who did not ask, would be a violation in their ledgers.
        assert_eq!(home.gizwits.device(), Some((did, registration)));
        home.finish(&[&app]).await
    });
}

#[test]
fn a_newcomer_is_told_the_passcode_only_while_the_binding_window_is_open() {
    check(async || {
        let closed = |files: &mut Files| files.overlay = "[module]\nbindable_at_start = false\n".to_owned();
        let mut home = Home::furnish(closed)?;
        home.mcu.set_bindable(300);
        home.rig.start()?;
        home.cloud("the cloud to see the device", |entries| entries.online).await?;
        home.status_bit("the MCU to know that nobody can bind", BINDABLE_BIT, false).await?;
        let (tcp, _) = home.lan().await?;
        let mut newcomer = home.answer("a connection", LanApp::connect(tcp)).await?;
        assert_eq!(home.answer("an answer", newcomer.bind()).await?, "");
        home.mcu.open_binding();
        home.device("the button to be acknowledged", |log| log.pressed == [OPEN_BINDING]).await?;
        home.status_bit("the MCU to know that one can bind", BINDABLE_BIT, true).await?;
        // The MCU may know a moment before the plugin does.
        let told = async {
            loop {
                let passcode = newcomer.bind().await?;
                if !passcode.is_empty() {
                    return Ok(passcode);
                }
            }
        };
        let passcode = home.answer("the passcode", told).await?;
        assert_eq!(passcode, home.passcode());
        assert!(home.answer("an answer", newcomer.login(&passcode)).await?);
        home.finish(&[]).await
    });
}

/// The host ends one way or another and starts again; what the device asked the API for since.
fn check_restart(end: impl AsyncFnOnce(&mut Home) -> Result<(), RigError>) {
    check(async || {
        let mut home = Home::online().await?;
        let before = home.gizwits.device();
        home.report(10).await?;
        home.all_arrived_at(home.gizwits.ledger()).await?;
        end(&mut home).await?;
        home.cloud("the device to be gone", |entries| !entries.online).await?;
        home.rig.start()?;
        home.cloud("the device to be back", |entries| entries.online).await?;
        assert_eq!(home.gizwits.device(), before, "DID and passcode are those of the first start");
        let seen = home.gizwits.seen();
        assert_eq!(seen.calls(ApiCall::Register).count(), 1);
        let provisioned: Vec<&ApiRequest> = seen.calls(ApiCall::Provision).collect();
        assert_eq!(provisioned.len(), 2);
        assert_eq!(provisioned[0].subject, provisioned[1].subject);
        home.report(20).await?;
        home.all_arrived_at(home.gizwits.ledger()).await?;
        assert_eq!(home.command(&home.gizwits, "switch", json!(true)).await?.len(), 1);
        home.finish(&[]).await
    });
}

#[test]
fn a_host_that_starts_again_is_the_same_device_and_asks_anew_where_to_log_in() {
    check_restart(async |home| home.rig.stop().await.map(drop));
}

#[test]
fn a_host_that_was_killed_is_the_same_device_too() {
    check_restart(async |home| home.rig.kill().await);
}
