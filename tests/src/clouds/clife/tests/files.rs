//! File operations: requests, events, the file server and uploads.

use super::device::{Device, exchange, http, message};
use super::*;
use crate::broker::packet::Publish;
use crate::file_server::Fault;

fn image(dev_num: Option<i64>, body: &[u8]) -> Image {
    Image { dev_num, software: "1.0.2.0".to_owned(), hardware: "1.0".to_owned(), body: body.to_vec() }
}

fn event(code: i64, text: &str) -> Json {
    json!({"respCode": code, "respCont": text})
}

fn versions() -> Json {
    json!({"respCode": 3, "respCont": "ver", "productVer": 2, "devVer": [
        {"software": "1.0.2.0", "hardware": "1.0", "devNum": 0}, {"software": "01", "hardware": "02", "devNum": 1},
    ]})
}

/// Fetches a file of the file server.
async fn fetch(url: &str) -> String {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    exchange(address, &format!("GET /{path}"), "", "").await.1
}

#[test]
fn an_upgrade_request_says_all_that_the_document_asks_for() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = clife.order_upgrade(2, &[image(None, b"firmware"), image(Some(1), b"sub")], Some((0, 600))).unwrap();
        let request = device.hear().await;
        assert_eq!((&request["cmd"], &request["msgId"]), (&json!(2019), &json!(id)));
        let expected = json!({"fileMode": "DOWN", "productVer": 2, "startTime": 0, "stopTime": 600, "fileInfo": [
            // Sums and digests computed by other means: od and md5sum.
            {"fileType": "FIRM", "devNum": 0, "software": "1.0.2.0", "hardware": "1.0", "checkSum": 861,
             "md5": "74b5b5e9570efc5c0553bb327cd41940", "url": clife.files().url("/0.bin")},
            {"fileType": "SUBFIRM", "devNum": 1, "software": "1.0.2.0", "hardware": "1.0", "checkSum": 330,
             "md5": "8a68dc3e925eacf92633be230722a140", "url": clife.files().url("/1.bin")},
        ]});
        assert_eq!(request["data"], expected);
        no_breach(clife);
    });
}

#[test]
fn an_upgrade_that_tells_its_events_in_order_is_done_and_recorded() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = clife.order_upgrade(2, &[image(None, b"firmware")], None).unwrap();
        let request = device.hear().await;
        assert_eq!(fetch(request["data"]["fileInfo"][0]["url"].as_str().unwrap()).await, "firmware");
        for (code, text) in [(1, "1"), (1, "100"), (0, "1"), (0, "100")] {
            device.answer(2018, id, &event(code, text)).await;
        }
        assert_eq!(outcome(clife, id).await, Ok(()));
        device.say(2018, &versions()).await;
        clife.until(|seen| !seen.versions.is_empty()).await;
        let seen = clife.seen();
        let events: Vec<_> = seen.operations[&id].events.iter().map(|(code, text)| (*code, text.as_str())).collect();
        assert_eq!(events, [(1, "1"), (1, "100"), (0, "1"), (0, "100")]);
        assert_eq!((seen.versions[0].product, seen.versions[0].modules.len()), (2, 2));
        no_breach(clife);
        device.answer(2018, id, &event(0, "100")).await;
        breach(clife, "(0, \"100\") after").await;
    });
}

#[test]
fn an_upgrade_that_fails_has_the_reason_in_the_ledger() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = clife.order_upgrade(2, &[image(None, b"firmware")], None).unwrap();
        fetch(&clife.files().url("/0.bin")).await;
        for (code, text) in [(1, "1"), (1, "100"), (-1, "2")] {
            device.answer(2018, id, &event(code, text)).await;
        }
        assert_eq!(outcome(clife, id).await, Err("2".to_owned()));
        assert_eq!(clife.seen().operations[&id].outcome, Some(Err("2".to_owned())));
        no_breach(clife);
    });
}

#[test]
fn events_that_break_a_rule_are_breaches() {
    for (events, fault) in [
        (vec![event(1, "100")], "(1, \"100\") after []"),
        (vec![event(1, "1"), event(0, "1")], "(0, \"1\") after"),
        (vec![event(1, "1"), event(1, "1")], "(1, \"1\") after"),
        (vec![json!({"respCode": 1, "respCont": 1})], "respCont must be a text"),
        (vec![event(2, "ALL")], "(2, \"ALL\") after"),
    ] {
        run(Product::default(), async |clife| {
            let mut device = Device::online(clife).await;
            let id = clife.order_upgrade(2, &[image(None, b"firmware")], None).unwrap();
            for event in &events {
                device.answer(2018, id, event).await;
            }
            breach(clife, fault).await;
        });
    }
    run(Product::default(), async |clife| {
        Device::online(clife).await.say(2018, &event(1, "1")).await;
        breach(clife, "which no request had").await;
    });
}

#[test]
fn nothing_is_through_that_was_never_fetched() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = clife.order_upgrade(2, &[image(None, b"firmware"), image(Some(1), b"sub")], None).unwrap();
        fetch(&clife.files().url("/0.bin")).await;
        clife.files().misbehave("/1.bin", Fault::Status { status: 404, retry_after_s: None });
        fetch(&clife.files().url("/1.bin")).await;
        device.answer(2018, id, &event(1, "1")).await;
        device.answer(2018, id, &event(1, "100")).await;
        breach(clife, "/1.bin was never fetched").await;
    });
}

#[test]
fn only_what_runs_already_is_answered_with_versions() {
    for (number, software, fault) in [
        (1, "1.0.0.0", None),
        (1, "02", Some("without software \"02\" of devNum 1")),
        (2, "01", Some("without software \"01\" of devNum 2")),
    ] {
        run(Product::default(), async |clife| {
            let mut device = Device::online(clife).await;
            let sub = Image { software: software.to_owned(), ..image(Some(number), b"sub") };
            let id = clife.order_upgrade(2, &[image(None, b"firmware"), sub], None).unwrap();
            device.answer(2018, id, &versions()).await;
            match fault {
                Some(fault) => breach(clife, fault).await,
                None => {
                    assert_eq!(outcome(clife, id).await, Ok(()));
                    no_breach(clife);
                }
            }
        });
    }
}

#[test]
fn after_an_upgrade_the_product_has_the_version_that_was_ordered() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = clife.order_upgrade(3, &[image(None, b"firmware")], None).unwrap();
        fetch(&clife.files().url("/0.bin")).await;
        for (code, text) in [(1, "1"), (1, "100"), (0, "1"), (0, "100")] {
            device.answer(2018, id, &event(code, text)).await;
        }
        let mut right = versions();
        right["productVer"] = json!(3);
        device.say(2018, &right).await;
        clife.until(|seen| seen.versions.len() == 1).await;
        no_breach(clife);
        device.say(2018, &versions()).await;
        breach(clife, "productVer 2 after the upgrade to 3").await;
    });
}

#[test]
fn an_order_that_comes_again_has_no_more_events_and_a_query_one_more() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let query = clife.query_versions().unwrap();
        clife.repeat(query).unwrap();
        for _ in 0..2 {
            assert_eq!(device.hear().await["data"], json!({"fileMode": "QUERY", "fileInfo": []}));
            device.answer(2018, query, &versions()).await;
        }
        clife.until(|seen| seen.versions.len() == 2).await;
        assert_eq!(outcome(clife, query).await, Ok(()));
        no_breach(clife);
        let order = clife.order_upgrade(2, &[image(None, b"x")], None).unwrap();
        device.answer(2018, order, &event(-1, "0")).await;
        clife.repeat(order).unwrap();
        device.answer(2018, order, &event(-1, "0")).await;
        breach(clife, "(-1, \"0\") after").await;
    });
}

#[test]
fn an_event_that_the_transport_repeats_counts_once() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = clife.order_upgrade(2, &[image(None, b"x")], None).unwrap();
        device.answer(2018, id, &event(1, "1")).await;
        let again = device.frame(2018, id, &event(1, "1")).to_string();
        device.publish(Publish { dup: true, ..message(&again) }).await;
        device.bye().await;
        let mut device = Device::online(clife).await;
        fetch(&clife.files().url("/0.bin")).await;
        for (code, text) in [(1, "1"), (1, "100")] {
            device.answer(2018, id, &event(code, text)).await;
        }
        clife.until(|seen| seen.operations.get(&id).is_some_and(|operation| operation.events.len() == 2)).await;
        no_breach(clife);
    });
}

#[test]
fn a_device_may_ask_for_an_upgrade() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        device.say(2018, &event(2, "SUBFIRM")).await;
        clife.until(|seen| seen.upgrade_requests == ["SUBFIRM"]).await;
        no_breach(clife);
    });
}

#[test]
fn a_file_that_is_no_firmware_is_through_when_it_was_fetched() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = clife.order_download("PROFILE", b"{} profile", None).unwrap();
        let file = device.hear().await["data"]["fileInfo"][0].clone();
        assert_eq!(file["fileType"], "PROFILE");
        assert_eq!(fetch(file["url"].as_str().unwrap()).await, "{} profile");
        for (code, text) in [(1, "1"), (1, "100")] {
            device.answer(2018, id, &event(code, text)).await;
        }
        assert_eq!(outcome(clife, id).await, Ok(()));
        no_breach(clife);
    });
}

#[test]
fn an_upload_is_taken_in_all_three_ways() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"devId\"\r\n\r\n7001005\r\n--b\r\n\
                Content-Disposition: form-data; name=\"fileType\"\r\n\r\nLOG\r\n--b\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"log\"\r\n\r\nlines\r\n--b--\r\n";
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let id = clife.order_upload("LOG", Some((-60, 0))).unwrap();
        let request = device.hear().await["data"].clone();
        let url = clife.http().url("/device/storage");
        assert_eq!(
            request,
            json!({"fileMode": "UP", "fileInfo": [{"fileType": "LOG", "url": url}], "startTime": -60, "stopTime": 0})
        );
        let upload = async |method: &str, kind: &str, body: &str| {
            let headers = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
            http(clife, &format!("{method} /device/storage"), &headers, body).await.0
        };
        clife.change(|behaviour| behaviour.upload_statuses.push_back(503));
        assert!(upload("PUT", "application/octet-stream", "lines").await.starts_with("HTTP/1.1 503"));
        for (method, kind, body) in [
            ("PUT", "application/octet-stream", "lines"),
            ("POST", "application/octet-stream", "lines"),
            ("POST", "multipart/form-data; boundary=b", form),
        ] {
            assert!(upload(method, kind, body).await.starts_with("HTTP/1.1 200"), "{method} {kind}");
        }
        let uploads = clife.seen().uploads;
        assert_eq!(uploads.iter().map(|upload| upload.status).collect::<Vec<_>>(), [503, 200, 200, 200]);
        assert!(uploads.iter().all(|upload| upload.file == b"lines"));
        assert_eq!(uploads[3].file_type.as_deref(), Some("LOG"));
        for (code, text) in [(1, "1"), (1, "100")] {
            device.answer(2018, id, &event(code, text)).await;
        }
        assert_eq!(outcome(clife, id).await, Ok(()));
        no_breach(clife);
        for (method, kind, body, fault) in [
            ("PUT", "text/plain", "", "PUT with Content-Type"),
            ("POST", "multipart/form-data; boundary=c", form, "does not begin"),
            ("POST", "multipart/form-data; boundary=b", &form.replace("7001005", "1"), "another device"),
            ("POST", "multipart/form-data; boundary=b", &form.replace("\"fileType\"", "\"type\""), "is missing"),
        ] {
            assert!(upload(method, kind, body).await.starts_with("HTTP/1.1 400"), "{fault}");
            let found = clife.ledger().with(|entries| entries.violations.last().cloned().unwrap());
            assert!(found.contains(fault), "{found:?} should name {fault:?}");
        }
    });
}

#[test]
fn any_body_can_be_sent_as_a_file_operation() {
    run(Product::default(), async |clife| {
        let mut device = Device::online(clife).await;
        let body = json!({"fileMode": "COPY", "fileInfo": 1});
        let id = clife.file_operation(&body).unwrap();
        assert_eq!(device.hear().await["data"], body);
        device.answer(2018, id, &event(-1, "bad parameter")).await;
        assert_eq!(outcome(clife, id).await, Err("bad parameter".to_owned()));
        no_breach(clife);
    });
}
