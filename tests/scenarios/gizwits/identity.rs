//! A device that is to be another one: by its user's wish, or because the cloud does not believe it.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::gizwits::behaviour::{Behaviour, Refusal};
use polylink_testbed::clouds::gizwits::{ApiCall, MAC};
use polylink_testbed::lan::app::LanApp;
use polylink_testbed::mcu::frame::RESET;
use polylink_testbed::rig::LIMIT;
use serde_json::json;

use super::Home;
use crate::set::check;

#[test]
fn a_reset_by_the_mcu_gives_the_old_did_back_and_makes_a_new_device() {
    check(async || {
        let home = Home::online().await?;
        let app = home.app().await?;
        let (old_did, old) = home.gizwits.device().expect("it is online");
        home.mcu.reset();
        home.device("the reset to be acknowledged", |log| log.pressed == [RESET]).await?;
        home.cloud("a new session", |entries| entries.online && entries.sessions == 2).await?;
        let (did, new) = home.gizwits.device().expect("it is online");
        assert_ne!(did, old_did);
        assert_ne!(new.passcode, old.passcode, "who knew the old passcode must be locked out");
        assert_eq!(new.mac, MAC);

        let gone = home.gizwits.until(|seen| seen.calls(ApiCall::Deregister).count() > 0);
        home.rig.within(LIMIT, "the old DID to be given back", gone).await?;
        let seen = home.gizwits.seen();
        let returned: Vec<_> = seen.calls(ApiCall::Deregister).collect();
        assert_eq!(returned.len(), 1);
        assert_eq!((&returned[0].fields["did"], &returned[0].fields["passcode"]), (&old_did, &old.passcode));

        home.heard(app.ledger(), "the old app to be shown out", |entries| !entries.online).await?;
        let (tcp, _) = home.lan().await?;
        let mut stranger = home.answer("a connection", LanApp::connect(tcp)).await?;
        assert!(!home.answer("an answer", stranger.login(&old.passcode)).await?, "the old passcode still opens");
        let again = home.app().await?;
        home.report(20).await?;
        home.all_arrived_at(home.gizwits.ledger()).await?;
        home.all_arrived_at(again.ledger()).await?;
        assert_eq!(home.command(&again, "switch", json!(true)).await?.len(), 1);
        home.finish(&[&app, &again]).await
    });
}

/// The cloud does not believe the first DID; the device must come as a new one without giving the old one back.
fn check_disbelieved(disbelieve: impl FnOnce(&mut Behaviour)) {
    check(async || {
        let mut home = Home::furnish(|_| ())?;
        home.gizwits.change(disbelieve);
        home.rig.start()?;
        home.cloud("the cloud to see the device", |entries| entries.online).await?;
        let seen = home.gizwits.seen();
        assert_eq!(seen.calls(ApiCall::Register).count(), 2);
        assert_eq!(seen.calls(ApiCall::Deregister).count(), 0, "that would need the right passcode");
        let subjects: Vec<_> = seen.calls(ApiCall::Provision).map(|request| request.subject.clone()).collect();
        assert_eq!(subjects.len(), 2);
        assert_ne!(subjects[0], subjects[1]);
        assert_eq!(home.gizwits.device().map(|(did, _)| did).as_ref(), subjects.last());
        home.report(10).await?;
        home.all_arrived_at(home.gizwits.ledger()).await?;
        assert_eq!(home.command(&home.gizwits, "switch", json!(true)).await?.len(), 1);
        home.finish(&[]).await
    });
}

#[test]
fn connack_4_makes_the_device_register_anew() {
    check_disbelieved(|behaviour| behaviour.refuse_connects.push_back(4));
}

#[test]
fn error_9016_at_provisioning_makes_the_device_register_anew() {
    check_disbelieved(|behaviour| behaviour.refuse_provisions.push_back(Refusal::new(400, 9016)));
}
