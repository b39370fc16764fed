//! How a device becomes one of the platform's, and how it stays one.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::lierda::PRODUCT_KEY;
use polylink_testbed::clouds::lierda::product::Product;
use serde_json::json;

use super::{Site, facts};
use crate::set::check;

#[test]
fn each_way_of_provisioning_leads_online() {
    check(async || {
        for auth_type in 0..=2 {
            let site = Site::online(Product { auth_type, ..Product::default() }, "").await?;
            site.reports_arrive(20).await?;
            let seen = site.lierda.seen().authentications;
            let authentications: Vec<_> = seen.iter().map(|one| (one.kind, one.code)).collect();
            let expected = if auth_type == 2 { vec![] } else { vec![(i64::from(auth_type), Some(0))] };
            assert_eq!(authentications, expected);
            site.finish().await?;
        }
        Ok(())
    });
}

#[test]
fn the_secret_of_the_platform_survives_a_kill_and_is_asked_for_again_when_it_is_dead() {
    check(async || {
        let mut site = Site::online(Product::default(), "").await?;
        site.stored("enrolment").await?;
        site.rig.kill().await?;
        site.cloud("the device to be gone", |entries| !entries.online).await?;
        site.rig.start()?;
        site.cloud("the device to be back", |entries| entries.online).await?;
        assert_eq!(site.lierda.seen().authentications.len(), 1, "it authenticated again without need");
        site.lierda.forget_device();
        site.lierda.kick();
        site.seen("another authentication", |seen| seen.authentications.len() == 2).await?;
        site.cloud("the device to be back", |entries| entries.online).await?;
        site.reports_arrive(20).await?;
        for secret in [PRODUCT_KEY.to_owned(), site.lierda.device_secret().unwrap_or_default()] {
            assert!(!secret.is_empty() && !site.rig.log().contains(&secret), "a secret is in the log");
        }
        site.finish().await
    });
}

#[test]
fn a_device_that_the_platform_does_not_know_asks_for_a_person() {
    check(async || {
        let mut site = Site::build(Product::default(), "")?;
        site.lierda.change(|behaviour| behaviour.auth_codes.push_back(4));
        site.rig.start()?;
        let status = site
            .rig
            .until("the device to ask for a person", |status| status["clouds"][0]["session"] == "attention")
            .await?;
        let text = status["clouds"][0].to_string();
        assert!(text.contains("code 4"), "{text}");
        Ok(())
    });
}

#[test]
fn a_checked_time_is_later_than_the_end_of_the_last_connection() {
    check(async || {
        let site = Site::online(Product { timestamp_checked: true, ..Product::default() }, "").await?;
        for n in 2..=3 {
            site.lierda.kick();
            site.cloud("the device to be back", |entries| entries.online && entries.sessions == n).await?;
        }
        site.reports_arrive(20).await?;
        site.finish().await
    });
}

#[test]
fn a_session_is_renewed_in_the_middle_of_the_traffic() {
    check(async || {
        let site = Site::online(Product { encrypted: true, ..Product::default() }, "").await?;
        site.lierda.change(|behaviour| behaviour.old_key_commands = true);
        site.report(50).await?;
        for value in [true, false] {
            site.lierda.renew_session().map_err(|why| site.rig.error(why))?;
            assert_eq!(site.command(&site.lierda, "switch", json!(value)).await?.len(), 1);
            site.report(100).await?;
        }
        site.all_arrived_at(site.lierda.ledger()).await?;
        // What comes by the new key ends the old one.
        assert_eq!(site.command(&site.lierda, "switch", json!(true)).await?.len(), 1);
        site.rig.until("the old key to be over", |status| facts(status)["encryption"] == "session key").await?;
        site.finish().await
    });
}
