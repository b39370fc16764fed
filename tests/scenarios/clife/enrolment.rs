//! How a device becomes one of the platform's, and how it stays one.

use polylink_testbed::clouds::clife::behaviour::{Connecting, Registering};
use polylink_testbed::clouds::clife::product::Product;

use super::Room;
use crate::set::check;

#[test]
fn each_level_of_authentication_leads_online() {
    check(async || {
        for auth_level in 0..=2 {
            let room = Room::online(Product { auth_level, ..Product::default() }).await?;
            room.reports_arrive(20).await?;
            assert_eq!(room.clife.seen().registrations.len(), 1);
            room.finish().await?;
        }
        Ok(())
    });
}

#[test]
fn a_login_survives_a_kill_and_is_renewed_when_it_is_dead() {
    check(async || {
        let mut room = Room::online(Product::default()).await?;
        room.stored("login").await?;
        room.rig.kill().await?;
        room.cloud("the device to be gone", |entries| !entries.online).await?;
        room.seen("the will", |seen| seen.delivered_wills.len() == 1).await?;
        room.rig.start()?;
        room.cloud("the device to be back", |entries| entries.online).await?;
        assert_eq!(room.clife.seen().registrations.len(), 1, "it registered again without need");
        room.clife.kick();
        room.clife.forget_device();
        room.seen("another registration", |seen| seen.registrations.len() == 2).await?;
        room.cloud("the device to be back", |entries| entries.online && entries.sessions >= 3).await?;
        room.reports_arrive(20).await?;
        room.finish().await
    });
}

#[test]
fn a_device_that_the_platform_does_not_know_any_more_registers_again() {
    check(async || {
        let mut room = Room::furnish(Product::default())?;
        room.clife.change(|behaviour| behaviour.connects.push_back(Connecting::Code(2)));
        room.rig.start()?;
        room.seen("another registration", |seen| seen.registrations.len() == 2).await?;
        room.reports_arrive(20).await?;
        room.finish().await
    });
}

#[test]
fn a_platform_that_never_answers_the_connection_request_is_reported_to_nevertheless() {
    check(async || {
        let mut room = Room::furnish_with(Product::default(), |files| {
            let settings = "[cloud.clife.settings]\n";
            files.product = files.product.replace(settings, &format!("{settings}connect_ack_timeout_s = 1\n"));
        })?;
        room.clife.change(|behaviour| behaviour.connects.extend([Connecting::Silence; 3]));
        room.rig.start()?;
        room.reports_arrive(20).await?;
        room.finish().await
    });
}

#[test]
fn a_refused_registration_asks_for_a_person() {
    check(async || {
        let mut room = Room::furnish(Product::default())?;
        room.clife.change(|behaviour| behaviour.registrations.push_back(Registering::Code(2)));
        room.rig.start()?;
        let status = room.rig.until("attention", |status| status["clouds"][0]["session"] == "attention").await?;
        let text = status["clouds"][0].to_string();
        assert!(text.contains("respCode 2"), "{text}");
        Ok(())
    });
}
