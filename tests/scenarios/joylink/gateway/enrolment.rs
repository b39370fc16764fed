//! How sub-devices become somebody's, and how they are given up.

use polylink_testbed::clouds::joylink::product::{Product, SubDevice};
use polylink_testbed::joylink_app::messages::{FoundSub, SubGrant, Wanted};
use polylink_testbed::joylink_app::{SUB_AUTHORIZATION, agreement};
use serde_json::json;

use super::super::count;
use super::{Home, LAMP, feedid, lamp, mac, refused, sub};
use crate::set::check;

#[test]
fn a_lamp_that_asks_to_join_is_found_bound_and_accepted() {
    check(async || {
        let mut home = Home::online(2, "").await?;
        assert_eq!(home.found(&Wanted::default()).await?.subs, []);
        home.mcu.subdevice(3, &lamp(1));
        home.waiting(1).await?;
        // The gateway itself waits for nobody: it answers for its lamp.
        let waiting = Wanted { status: Some(1), product_uuid: Some(LAMP.to_owned()), ..Wanted::default() };
        let found = home.found(&waiting).await?;
        let shown =
            FoundSub { mac: mac(1), product_uuid: LAMP.to_owned(), feedid: String::new(), state: 1, protocol: 1 };
        assert_eq!((found.devtype, &found.subs), (1, &vec![shown.clone()]));
        assert_eq!(home.mcu.log().accepted, Vec::<u64>::new());

        home.bind(&sub(1)).await?.expect("it may be bound");
        home.device("it to be accepted", |log| log.accepted == [3]).await?;
        home.subdevices("1 (1 online)").await?;
        home.waiting(0).await?;
        let found = home.found(&Wanted::default()).await?;
        assert_eq!(found.subs, [FoundSub { feedid: feedid(1), state: 0, ..shown }]);

        // Whoever bound it may say so again; nobody knows the other one.
        home.bind(&sub(1)).await?.expect("it is bound already");
        assert_eq!(refused(home.bind(&sub(2)).await?), 19);
        let states = home.beat().await?.expect("a heartbeat with the lamp");
        assert_eq!(states.iter().map(|sub| (sub.feedid.as_str(), sub.state)).collect::<Vec<_>>(), [(&*feedid(1), 0)]);
        home.close().await
    });
}

#[test]
fn a_lamp_is_let_in_by_its_code() {
    check(async || {
        let mut home = Home::online(2, "").await?;
        let gateway = home.gateway();
        for n in 1..=2 {
            home.app("to let it in", async |app| app.add_sub(&gateway, &mac(n), LAMP, 1).await).await?;
            home.device("leave to join", |log| log.admitted.len() == n).await?;
            assert_eq!(home.mcu.log().admitted[n - 1]["admit"], json!({"product": LAMP, "address": mac(n)}));
        }
        // One joins and is bound then, as most do.
        home.mcu.subdevice(3, &lamp(1));
        home.waiting(1).await?;
        home.bind(&sub(1)).await?.expect("it may be bound");
        home.device("it to be accepted", |log| log.accepted == [3]).await?;
        // The other is bound first, as those have to be that only transmit.
        home.bind(&sub(2)).await?.expect("it was announced");
        home.device("leave to join", |log| log.admitted.len() == 3).await?;
        home.subdevices("2 (1 online)").await?;
        home.mcu.subdevice(4, &lamp(2));
        home.device("it to be accepted", |log| log.accepted == [3, 4]).await?;
        home.subdevices("2 (2 online)").await?;
        home.close().await
    });
}

#[test]
fn a_gateway_that_nobody_has_bound_binds_no_lamp() {
    check(async || {
        let mut home = Home::build(1, "").await?;
        home.leave_alone();
        home.mcu.subdevice(3, &lamp(1));
        home.rig.start()?;
        home.waiting(1).await?;
        let devkey = home.found(&Wanted::default()).await?.devkey;
        let grant = SubGrant::new(&sub(1), &home.joylink.address().to_string()).json();
        let (packet, _) = agreement(SUB_AUTHORIZATION, &devkey, &json!({"data": grant})).expect("a key");
        let at = home.joylink.device_address();
        home.app("to be ignored", async |app| app.is_ignored(at, &packet.encode()).await).await?;
        home.status("it to be counted", |status| count(status, "lan_unbound") == 1).await?;
        home.subdevices("0 (0 online)").await?;
        home.joylink.change(|behaviour| behaviour.enrols = true);
        home.device("it to be accepted", |log| log.accepted == [3]).await?;
        home.cloud("the gateway", |entries| entries.online).await?;
        home.close().await
    });
}

#[test]
fn the_cloud_unbinds_a_lamp_and_another_owner_may_bind_it() {
    check(async || {
        // A new owner has a new identity from the cloud; the lamp is the same.
        let again = SubDevice { mac: mac(1), ..sub(3) };
        let product = Product { subs: vec![sub(1), sub(2), again.clone()], ..Product::default() };
        let mut home = Home::build_for(product, |section| section).await?;
        home.start().await?;
        home.leave_alone();
        for n in 1..=2 {
            home.mcu.subdevice(n as u64, &lamp(n));
            home.waiting(1).await?;
            home.bind(&sub(n)).await?.expect("it may be bound");
            home.device("it to be accepted", |log| log.accepted.len() == n).await?;
            home.waiting(0).await?;
        }
        let given_up = home.answer(home.joylink.unbind(&[&feedid(1), NOBODY])).await?;
        assert_eq!(given_up.json, json!([{"feedid": feedid(1), "state": 2}, {"feedid": NOBODY, "state": 3}]));
        home.device("it to be removed", |log| log.removed == [1]).await?;
        let left = home.beat().await?.expect("a heartbeat with the other lamp");
        assert_eq!(left.iter().map(|sub| sub.feedid.clone()).collect::<Vec<_>>(), [feedid(2)]);
        // What it still says is nobody's, and nobody knows it any more.
        home.mcu.report_of(1, &json!({"level": 9}));
        home.status("a report of nobody's", |status| count(status, "reports_without_owner") == 1).await?;
        assert_eq!(home.answer(home.joylink.snapshot_sub(&feedid(1))).await?.code, 19);

        home.answer(home.joylink.unbind(&[&feedid(2)])).await?;
        home.device("both to be removed", |log| log.removed == [1, 2]).await?;
        assert_eq!(home.beat().await?, None, "a heartbeat with lamps");

        home.mcu.subdevice(7, &lamp(1));
        home.waiting(1).await?;
        home.bind(&again).await?.expect("it may be bound again");
        home.device("it to be accepted", |log| log.accepted.last() == Some(&7)).await?;
        let bound = home.beat().await?.expect("a heartbeat with the lamp");
        assert_eq!(bound.iter().map(|sub| sub.feedid.clone()).collect::<Vec<_>>(), [feedid(3)]);
        home.close().await
    });
}

/// An identity that no lamp has.
const NOBODY: &str = "1540000000000000999";
