//! Upgrade orders, downloads, and what becomes of them.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::firmware::path_of;
use super::device::{Device, frame};
use super::*;

fn image() -> Image {
    Image {
        module: None, version: "v2.1.4".to_owned(), name: Some("固件.bin".to_owned()), body: b"firmware".to_vec()
    }
}

/// Head and body of the answer to a GET.
async fn get(url: &str, headers: &str) -> (String, String) {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that breaks off resets the connection.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Gives an order and has it acknowledged; its payload and download id.
async fn order(lierda: &Lierda, device: &mut Device, image: &Image) -> (Json, String) {
    let (id, down_id) = lierda.order_upgrade(image).unwrap();
    let order = device.hear_on("ota_notify").await;
    assert_eq!(order["HeaderCtrl"], 9);
    device.answer("ota_notify_ack", &order, &json!({"DownID": down_id})).await;
    assert_eq!(outcome(lierda, &id).await, Ok(()));
    (order["Payload"].clone(), down_id)
}

fn versions(module: Option<&str>, version: &str) -> Json {
    let mut payload = json!({"HardVer": "1", "SoftVer": version, "Type": 2});
    if let Some(module) = module {
        payload["Module"] = json!(module);
    }
    payload
}

#[test]
fn an_order_says_all_that_the_document_asks_for() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        let (payload, down_id) = order(lierda, &mut device, &image()).await;
        let expected = json!({
            "Type": 2, "Url": lierda.files().url(&path_of(&down_id)), "SoftVer": "v2.1.4", "SoftSize": 8,
            // Computed by md5sum.
            "MD5": "74b5b5e9570efc5c0553bb327cd41940", "DownID": down_id, "firmwareName": "固件.bin",
        });
        assert_eq!(payload, expected);
        no_breach(lierda);
    });
}

#[test]
fn the_next_version_of_the_module_decides_on_an_order() {
    for (module, reported, version, expected) in [
        (None, None, "v2.1.4", Some(true)),
        (None, Some("default"), "v2.1.4", Some(true)),
        (None, None, "V2.1.4", Some(false)),
        (None, Some("mcu"), "v2.1.4", None),
        (Some("mcu"), Some("mcu"), "v2.1.3", Some(false)),
    ] {
        run(Product::default(), async |lierda| {
            let mut device = Device::online(lierda).await;
            let image = Image { module: module.map(str::to_owned), ..image() };
            order(lierda, &mut device, &image).await;
            device.report("firmware_report", 8, &versions(reported, version)).await;
            lierda.until(|seen| !seen.versions.is_empty()).await;
            assert_eq!(lierda.seen().upgrades[0].succeeded, expected, "{module:?} {reported:?} {version}");
            // Later versions change nothing.
            device.report("firmware_report", 8, &versions(reported, "v9")).await;
            lierda.until(|seen| seen.versions.values().any(|version| version == "v9")).await;
            assert_eq!(lierda.seen().upgrades[0].succeeded, expected);
            no_breach(lierda);
        });
    }
}

#[test]
fn a_version_before_the_acknowledgement_says_nothing() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        lierda.order_upgrade(&image()).unwrap();
        device.report("firmware_report", 8, &versions(None, "v2.1.3")).await;
        lierda.until(|seen| !seen.versions.is_empty()).await;
        let upgrade = &lierda.seen().upgrades[0];
        assert_eq!((upgrade.acknowledged, upgrade.succeeded), (false, None));
    });
}

/// Says its version and has that acknowledged.
async fn say_version(device: &mut Device, version: &str) {
    let id = device.report("firmware_report", 8, &versions(None, version)).await;
    assert_eq!(device.hear_on("firmware_report_ack").await["MessageId"], id);
}

#[test]
fn a_planned_upgrade_is_ordered_by_each_version_until_its_order_is_acknowledged() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        let down_id = lierda.plan_upgrade(&image());
        for _ in 0..2 {
            say_version(&mut device, "v1").await;
            assert_eq!(device.hear_on("ota_notify").await["Payload"]["DownID"], json!(down_id));
        }
        say_version(&mut device, "v1").await;
        let order = device.hear_on("ota_notify").await;
        device.answer("ota_notify_ack", &order, &json!({"DownID": down_id})).await;
        lierda.until(|seen| seen.upgrades[0].acknowledged).await;
        say_version(&mut device, "v2.1.4").await;
        let upgrade = &lierda.seen().upgrades[0];
        assert_eq!((upgrade.n_orders, upgrade.succeeded), (3, Some(true)));
        no_breach(lierda);
    });
}

#[test]
fn a_planned_upgrade_to_what_runs_is_not_ordered() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        lierda.plan_upgrade(&image());
        say_version(&mut device, "v2.1.4").await;
        say_version(&mut device, "v1").await;
        let upgrade = &lierda.seen().upgrades[0];
        assert_eq!((upgrade.n_orders, upgrade.succeeded), (0, Some(true)));
    });
}

#[test]
fn a_planned_upgrade_that_failed_is_over_unless_the_platform_insists() {
    for (insists, n_orders, succeeded) in [(false, 1, Some(false)), (true, 2, None)] {
        run(Product::default(), async |lierda| {
            lierda.change(|behaviour| behaviour.insists = insists);
            let mut device = Device::online(lierda).await;
            let down_id = lierda.plan_upgrade(&image());
            say_version(&mut device, "v1").await;
            let order = device.hear_on("ota_notify").await;
            device.answer("ota_notify_ack", &order, &json!({"DownID": down_id})).await;
            lierda.until(|seen| seen.upgrades[0].acknowledged).await;
            say_version(&mut device, "v1").await;
            let upgrade = &lierda.seen().upgrades[0];
            assert_eq!((upgrade.n_orders, upgrade.succeeded), (n_orders, succeeded), "{insists}");
        });
    }
}

#[test]
fn an_acknowledgement_has_the_download_id_and_no_code() {
    for (payload, fault) in
        [(json!({"DownID": "0"}), "another DownID"), (json!({"Code": "200", "Msg": "SUCCESS"}), "DownID is missing")]
    {
        run(Product::default(), async |lierda| {
            let mut device = Device::online(lierda).await;
            lierda.order(&json!({"DownID": "1", "SoftVer": "1"})).unwrap();
            let (_, order) = device.hear().await;
            device.answer("ota_notify_ack", &order, &payload).await;
            breach(lierda, fault).await;
        });
    }
}

#[test]
fn versions_of_all_modules_answer_one_query() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        let id = lierda.ask_versions().unwrap();
        let (topic, query) = device.hear().await;
        assert_eq!((topic.as_str(), &query["HeaderCtrl"]), ("ask_firmware", &json!(13)));
        for module in [None, Some("mcu")] {
            device.say("firmware_report", &frame(&query["MessageId"], 8, &versions(module, "v1"))).await;
            assert_eq!(device.hear_on("firmware_report_ack").await["MessageId"], query["MessageId"]);
        }
        assert_eq!(outcome(lierda, &id).await, Ok(()));
        assert_eq!(lierda.seen().versions.len(), 2);
        no_breach(lierda);
    });
}

#[test]
fn a_download_has_its_download_id_in_the_query_or_in_a_header() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        let (payload, down_id) = order(lierda, &mut device, &image()).await;
        let url = payload["Url"].as_str().unwrap();
        assert_eq!(get(&format!("{url}?DownID={down_id}"), "").await.1, "firmware");
        assert_eq!(get(url, &format!("DownID: {down_id}\r\n")).await.1, "firmware");
        no_breach(lierda);
        assert!(get(url, "").await.0.starts_with("HTTP/1.1 403"));
        breach(lierda, "None, which no order had").await;
    });
}

#[test]
fn a_download_before_the_acknowledgement_is_a_breach() {
    run(Product::default(), async |lierda| {
        let mut device = Device::online(lierda).await;
        let (_, down_id) = lierda.order_upgrade(&image()).unwrap();
        let url = device.hear().await.1["Payload"]["Url"].as_str().unwrap().to_owned();
        assert_eq!(get(&format!("{url}?DownID={down_id}"), "").await.1, "firmware");
        breach(lierda, "before its order was acknowledged").await;
    });
}
