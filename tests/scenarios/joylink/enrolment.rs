//! How a device becomes somebody's, and how it stays so.

use polylink_testbed::clouds::joylink::MAC;
use polylink_testbed::clouds::joylink::product::{Account, Product};
use polylink_testbed::joylink_app::messages::{Grant, Wanted};
use polylink_testbed::joylink_app::{App, AppError};
use polylink_testbed::rig::RigError;

use super::{Site, count};
use crate::set::check;

/// A device that nobody has bound yet, and that no app binds by itself.
fn unbound(settings: &str) -> Result<Site, RigError> {
    let site = Site::build(Product::default(), settings)?;
    site.joylink.change(|behaviour| behaviour.enrols = false);
    Ok(site)
}

fn grant(site: &Site, account: &Account) -> Grant {
    Grant::new(account, &site.joylink.product().uuid, &site.joylink.address().to_string())
}

#[test]
fn an_app_finds_and_binds_the_device_and_the_cloud_sees_it() {
    check(async || {
        let mut site = unbound("")?;
        site.rig.start()?;
        site.rig.until("the port", |status| count(status, "lan_ports") > 0).await?;
        let (mut app, found) = site.found().await?;
        assert_eq!((found.mac.as_str(), found.feedid.as_str(), found.devtype, found.trantype), (MAC, "", 0, 0));
        let account = site.joylink.product().device.clone();
        let at = site.joylink.device_address();
        site.app("to be bound", app.authorize(at, &found.devkey, &grant(&site, &account))).await?;
        site.cloud("the device", |entries| entries.online).await?;
        let (_, now) = site.found().await?;
        assert_eq!((now.feedid, now.devkey), (account.feedid.clone(), found.devkey));
        for secret in [&account.accesskey, &account.localkey] {
            assert!(!site.rig.log().contains(secret.as_str()), "a key is in the log");
        }
        site.finish().await
    });
}

#[test]
fn a_bond_survives_a_kill_and_nobody_else_may_bind_the_device() {
    check(async || {
        let mut site = Site::online(Product::default(), "").await?;
        site.stored("bond").await?;
        let (_, before) = site.found().await?;
        site.rig.kill().await?;
        site.cloud("the device to be gone", |entries| !entries.online).await?;
        site.joylink.change(|behaviour| behaviour.enrols = false);
        site.rig.start()?;
        site.cloud("the device to be back", |entries| entries.online).await?;
        let (mut app, found) = site.found().await?;
        assert_eq!((&found.feedid, &found.devkey), (&before.feedid, &before.devkey));
        let thief = Account::new("1540000000000000999");
        let (at, wanted) = (site.joylink.device_address(), grant(&site, &thief));
        let refused =
            site.rig.within(polylink_testbed::rig::LIMIT, "to be refused", app.authorize(at, &found.devkey, &wanted));
        match refused.await? {
            Err(AppError::Refused(16, _)) => {}
            other => panic!("{other:?}"),
        }
        // Who bound it may say so again: the first answer may have been lost.
        let owner = site.joylink.product().device.clone();
        site.app("to be bound again", app.authorize(at, &found.devkey, &grant(&site, &owner))).await?;
        site.reports_arrive(20).await?;
        site.finish().await
    });
}

#[test]
fn discovery_finds_only_what_it_looks_for() {
    check(async || {
        let site = Site::online(Product::default(), "").await?;
        let app = App::bind().await.map_err(crate::set::failed)?;
        let at = site.joylink.device_address();
        let uuid = site.joylink.product().uuid.clone();
        let matching = [
            Wanted::default(),
            Wanted { bare: true, ..Wanted::default() },
            Wanted { status: Some(2), product_uuid: Some(uuid.clone()), ..Wanted::default() },
            Wanted { as_uuid: true, product_uuid: Some(uuid), ..Wanted::default() },
        ];
        for wanted in &matching {
            site.app("to be found", app.discover(at, wanted)).await?;
        }
        let others = [
            Wanted { status: Some(1), ..Wanted::default() },
            Wanted { product_uuid: Some("OTHERS".to_owned()), ..Wanted::default() },
        ];
        for wanted in &others {
            site.app("to ask", app.ask_who(at, wanted)).await?;
        }
        let are_ignored = |status: &_| count(status, "lan_status") == 1 && count(status, "lan_productuuid") == 1;
        site.rig.until("both to be ignored", are_ignored).await?;
        site.finish().await
    });
}
