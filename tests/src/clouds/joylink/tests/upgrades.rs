use serde_json::{Value as Json, json};

use super::peer::{BEAT, Peer, check, run};
use crate::clouds::joylink::product::{FEEDID, Product};
use crate::clouds::joylink::seen::{FAILED, FINISHED, Upgrade};
use crate::clouds::joylink::{Image, JoyLink};
use crate::joylink_wire::checksum::crc32;

fn image() -> Image {
    Image { sub: None, version: 4, name: "1.2.3.20260102_release".to_owned(), body: vec![1; 100] }
}

/// A device that took an order for version 4.
async fn ordered(cloud: &JoyLink) -> Peer {
    let mut peer = Peer::working(cloud).await;
    accepts(cloud, &mut peer, cloud.order_upgrade(&image())).await;
    peer
}

/// The device takes the order that was just given.
async fn accepts(cloud: &JoyLink, peer: &mut Peer, ordered: Result<String, String>) -> Json {
    let id = ordered.unwrap();
    let (kind, order) = peer.hear().await;
    assert_eq!(kind, 7);
    accept(cloud, peer, &id, &order).await
}

async fn accept(cloud: &JoyLink, peer: &mut Peer, id: &str, order: &[u8]) -> Json {
    let order: Json = serde_json::from_slice(order).unwrap();
    assert_eq!(order["cmd"], "ota");
    let text = json!({"code": 0, "serial": order["serial"], "msg": "success"}).to_string();
    peer.send(7, text.as_bytes()).await;
    cloud.until(|seen| seen.answers.contains_key(id)).await;
    order
}

fn status(status: u8, progress: u8, description: &str) -> Json {
    let data = json!({
        "feedid": FEEDID, "productuuid": "SIMPLY", "status": status, "status_desc": description, "progress": progress,
    });
    json!({"cmd": "otastat", "data": data})
}

async fn tell(peer: &mut Peer, status: &Json) {
    peer.send(8, status.to_string().as_bytes()).await;
}

/// What a cloud says of these statuses, all of which it answers, and of a heartbeat with this version after them.
#[track_caller]
fn judged(statuses: &[(u8, u8, &str)], version: u8) -> (Vec<String>, Upgrade) {
    let mut upgrade = None;
    let violations = run(Product::default(), async |cloud| {
        let mut peer = ordered(cloud).await;
        for (number, progress, description) in statuses {
            tell(&mut peer, &status(*number, *progress, description)).await;
            assert_eq!(peer.hear().await, (8, br#"{"code":0,"msg":"success"}"#.to_vec()));
        }
        peer.send(10, &[version, 0, 76, 0]).await;
        assert_eq!(peer.hear().await.0, 10);
        upgrade = cloud.seen().upgrades.pop();
    });
    (violations, upgrade.unwrap())
}

#[track_caller]
fn check_breach(statuses: &[(u8, u8, &str)], version: u8, breach: &str) {
    let (violations, _) = judged(statuses, version);
    assert!(violations.len() == 1 && violations[0].contains(breach), "{violations:?}");
}

#[test]
fn an_upgrade_is_followed_to_the_heartbeat_of_the_new_version() {
    let told = [(0, 0, ""), (0, 50, ""), (1, 0, "so far"), (1, 0, ""), (2, 100, "done")];
    let (violations, upgrade) = judged(&told, 4);
    assert_eq!(violations, [""; 0]);
    assert_eq!((upgrade.running, upgrade.statuses(), upgrade.reports.len()), (true, vec![0, 1, 2], 5));
    assert_eq!(upgrade.end().unwrap().description, "done");
    let (violations, upgrade) = judged(&told[..4], 3);
    assert_eq!((violations, upgrade.running, upgrade.end()), (vec![], false, None));
}

#[test]
fn an_end_may_be_told_again_and_nothing_else_after_it() {
    assert_eq!(judged(&[(2, 100, "done"), (2, 100, "done")], 4).0, [""; 0]);
    assert_eq!(judged(&[(0, 10, ""), (3, 10, "no room"), (3, 10, "no room")], 3).0, [""; 0]);
    check_breach(&[(2, 100, ""), (3, 0, "why")], 4, "status 3 after");
    check_breach(&[(3, 0, "why"), (2, 100, "")], 4, "status 2 after");
    check_breach(&[(2, 100, ""), (0, 0, "")], 4, "status 0 after");
    check_breach(&[(1, 0, ""), (0, 0, "")], 3, "status 0 after");
}

#[test]
fn a_failure_has_a_reason_and_what_has_finished_runs() {
    check_breach(&[(3, 0, "")], 3, "without saying why");
    check_breach(&[(2, 100, "")], 3, "runs 3 though its upgrade to 4 was finished");
    let (violations, upgrade) = judged(&[(3, 0, "no room")], 3);
    assert_eq!((violations, upgrade.end().map(|end| end.status)), (vec![], Some(FAILED)));
}

#[test]
fn a_status_that_is_none_or_of_nothing_is_not_answered() {
    let mut of_another = status(FINISHED, 100, "");
    of_another["data"]["productuuid"] = json!("OTHERS");
    let mut of_nobody = status(FINISHED, 100, "");
    of_nobody["data"]["feedid"] = json!("1540000000000000099");
    let mut without_text = status(FINISHED, 100, "");
    without_text["data"]["status_desc"] = json!(7);
    for wrong in [of_another, of_nobody, without_text, status(4, 0, ""), status(0, 101, ""), json!({})] {
        let violations = run(Product::default(), async |cloud| {
            let mut peer = ordered(cloud).await;
            tell(&mut peer, &wrong).await;
            peer.settle().await;
            assert_eq!(cloud.seen().upgrades[0].reports, []);
        });
        assert!(violations.len() == 1 && violations[0].starts_with("type 8"), "{wrong}: {violations:?}");
    }
}

#[test]
fn an_image_is_where_its_order_says_and_has_its_crc_unless_it_is_not_to() {
    for wrong in [false, true] {
        check(Product::default(), async |cloud| {
            let mut peer = Peer::working(cloud).await;
            cloud.change(|behaviour| behaviour.wrong_image_crc = wrong);
            let path = cloud.publish(&image()).unwrap();
            let mut addresses = Vec::new();
            for _ in 0..2 {
                let order = accepts(cloud, &mut peer, cloud.order_upgrade(&image())).await;
                assert_eq!(order["data"]["crc32"] == crc32(&image().body), !wrong);
                addresses.push(order["data"]["url"].as_str().unwrap().to_owned());
            }
            assert_ne!(addresses[0], addresses[1]);
            let (address, signature) = addresses[0].split_once('?').unwrap();
            assert!(address == cloud.files().url(&path) && signature.starts_with("signature="), "{addresses:?}");
            download(&addresses[0]).await;
            assert_eq!(cloud.files().requests(&path).len(), 1);
        });
    }
}

#[test]
fn an_image_that_is_loaded_before_its_order_is_answered_is_on_record() {
    let violations = run(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        let path = cloud.publish(&image()).unwrap();
        let id = cloud.order_upgrade(&image()).unwrap();
        let (kind, order) = peer.hear().await;
        assert_eq!(kind, 7);
        download(&cloud.files().url(&path)).await;
        accept(cloud, &mut peer, &id, &order).await;
    });
    assert!(violations.len() == 1 && violations[0].contains("before its order is answered"), "{violations:?}");
}

/// Asks for a file and does not look at what comes.
async fn download(url: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
}

#[test]
fn statuses_stay_without_an_answer_as_often_as_wanted_and_are_answered_with_any_code() {
    check(Product::default(), async |cloud| {
        let mut peer = ordered(cloud).await;
        cloud.change(|behaviour| {
            behaviour.faults(8).silent = 2;
            behaviour.faults(8).codes = [0, 0, 7].into();
        });
        for _ in 0..2 {
            tell(&mut peer, &status(FAILED, 0, "no room")).await;
            // The answer to a heartbeat is the next that comes.
            peer.send(10, &BEAT).await;
            assert_eq!(peer.hear().await.0, 10);
        }
        for code in [7, 0] {
            tell(&mut peer, &status(FAILED, 0, "no room")).await;
            let answer = json!({"code": code, "msg": "success"}).to_string();
            assert_eq!(peer.hear().await, (8, answer.into_bytes()));
        }
        assert_eq!(cloud.seen().upgrades[0].reports.len(), 4);
    });
}

#[test]
fn an_upgrade_nobody_speaks_of_has_failed() {
    let violations = run(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        cloud.change(|behaviour| behaviour.upgrade_limit = std::time::Duration::ZERO);
        accepts(cloud, &mut peer, cloud.order(&json!({"feedid": FEEDID, "version": 4}))).await;
        peer.settle().await;
    });
    assert!(violations.len() == 1 && violations[0].contains("no word of the upgrade"), "{violations:?}");
}
