//! The device on a broker that knows nothing of its cloud; see `crate::any_broker`. The platform is an observer there.

use polylink_testbed::clouds::lierda::product::Product;
use polylink_testbed::clouds::lierda::{NODE_EUI, OPEN_ID, PRODUCT_ID};
use polylink_testbed::demo::product;
use polylink_testbed::mcu::p0::Raw;
use polylink_testbed::observer::Observer;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::{Value as Json, json};

use super::Site;
use crate::any_broker::AnyBroker;
use crate::set::check;

#[test]
fn reports_and_commands_pass_through_a_broker_that_knows_nothing_of_lierda() {
    check(async || {
        let failed = |error: std::io::Error| RigError::new(format!("observer: {error}"));
        let broker = AnyBroker::start()?;
        let mut observer = Observer::connect(broker.addr(), "platform", "/sys/#").await.map_err(failed)?;
        // The last of two keys of the same name would be an error, so the section is written anew.
        let mut site = Site::build_with(Product::default(), "", |files| {
            let line = files.product.lines().find(|line| line.starts_with("broker_url")).map(str::to_owned);
            let other = format!("broker_url = \"tcp://{}\"", broker.addr());
            files.product = files.product.replace(&line.expect("the section names a broker"), &other);
        })?;
        site.rig.start()?;
        site.mcu.set_rate(50);
        let mut counters = Vec::new();
        let mut done = false;
        let platform = async {
            while counters.len() < 100 || !done {
                let message = observer.next().await?;
                let heard: Json = serde_json::from_slice(&message.payload)?;
                let (base, name) = split(&message.topic);
                let ack = json!({"Code": "200", "Msg": "SUCCESS"});
                let (topic, payload) = match name {
                    "auth" => {
                        ("downlink".to_owned(), json!({"Code": 0, "DeviceSecret": "0123456789abcdef0123456789ABCDEF"}))
                    }
                    "update_time" => {
                        let data = json!({"timestamp": 1_800_000_000_000_i64, "timezone": "Asia/Shanghai"});
                        ("update_time_ack".to_owned(), json!({"Code": "200", "Msg": "SUCCESS", "Data": data}))
                    }
                    "firmware_report" => ("firmware_report_ack".to_owned(), ack),
                    "model/property/report" => {
                        counters.extend(heard["Payload"][product::COUNTER].as_u64());
                        if counters.len() == 50 {
                            let set = json!({"params": [{"identify": "switch", "value": "true"}]});
                            let message = frame(&json!(77), 20, &set);
                            observer.publish(&format!("{base}/model/property/set"), &message).await?;
                        }
                        ("model/property/report_ack".to_owned(), ack)
                    }
                    "model/property/set_ack" => {
                        done = heard["MessageId"] == 77 && heard["Payload"]["Code"] == "200";
                        continue;
                    }
                    _ => continue,
                };
                let code = heard["HeaderCtrl"].as_i64().unwrap_or_default();
                observer.publish(&format!("{base}/{topic}"), &frame(&heard["MessageId"], code, &payload)).await?;
            }
            Ok(())
        };
        site.rig.within(LIMIT, "100 reports and a command", platform).await?.map_err(failed)?;
        site.mcu.set_rate(0);
        assert!(counters.is_sorted(), "out of order: {counters:?}");
        counters.dedup();
        assert_eq!(counters[..100], (1..=100).collect::<Vec<u64>>());
        let commands = site.mcu.log().commands;
        assert_eq!(commands.len(), 1, "{commands:?}");
        assert_eq!((commands[0].name.as_str(), &commands[0].value), ("switch", &Raw::Number(1)));
        site.finish().await
    });
}

fn frame(id: &Json, code: i64, payload: &Json) -> Vec<u8> {
    json!({"MessageId": id, "HeaderCtrl": code, "Payload": payload, "Version": "2.0"}).to_string().into_bytes()
}

/// The device's own part of a topic, and the name below it.
fn split(topic: &str) -> (String, &str) {
    let base = format!("/sys/{OPEN_ID}/{PRODUCT_ID}/{NODE_EUI}");
    let name = topic.strip_prefix(&format!("{base}/")).or_else(|| topic.strip_prefix("/sys/device/"));
    (base, name.unwrap_or_default())
}
