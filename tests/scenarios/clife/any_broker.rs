//! The device on a broker that knows nothing of its cloud; see `crate::any_broker`. The platform is only its registration
//! here.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::clife::product::Product;
use polylink_testbed::clouds::clife::{DEV_ID, PRODUCT_CODE};
use polylink_testbed::demo::product;
use polylink_testbed::mcu::p0::Raw;
use polylink_testbed::observer::Observer;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::{Value as Json, json};

use super::Room;
use crate::any_broker::AnyBroker;
use crate::set::check;

#[test]
fn reports_and_commands_pass_through_a_broker_that_knows_nothing_of_clife() {
    check(async || {
        let failed = |error: std::io::Error| RigError::new(format!("observer: {error}"));
        let broker = AnyBroker::start()?;
        let base = format!("/device/{PRODUCT_CODE}/{DEV_ID}");
        let mut observer =
            Observer::connect(broker.addr(), "platform", &format!("{base}/upward")).await.map_err(failed)?;
        // In clear, so that the observer needs no key.
        let product = Product { encrypted: false, ..Product::default() };
        let mut room = Room::furnish(product)?;
        let addr = broker.addr().to_string();
        room.clife.change(|behaviour| behaviour.mqtt_url = Some(format!("tcp://{addr}")));
        room.rig.start()?;
        room.mcu.set_rate(50);
        let counter = room.clife.point(product::COUNTER).expect("the model has it").to_string();
        let switch = room.clife.point("switch").expect("the model has it").to_string();
        let mut counters = Vec::new();
        let mut done = false;
        let platform = async {
            // What is known after the connect comes beside the reports.
            while counters.len() < 110 || !done {
                let message = observer.next().await?;
                let heard: Json = serde_json::from_slice(&message.payload)?;
                let answer = match heard["cmd"].as_i64() {
                    Some(2004) => Some((2005, heard["msgId"].clone(), json!({"respCode": 0, "respCont": "ok"}))),
                    Some(2006) if heard["msgId"] == 7_000_000_000_i64 => {
                        done = heard["data"]["respCode"].is_null();
                        None
                    }
                    Some(2006) => {
                        let params = heard["data"]["params"].as_array().cloned().unwrap_or_default();
                        counters.extend(params.iter().find_map(|param| param[&counter].as_u64()));
                        let control = json!({"params": [{&switch: true}]});
                        (counters.len() == 50).then(|| (2011, json!(7_000_000_000_i64), control))
                    }
                    _ => None,
                };
                if let Some((cmd, id, body)) = answer {
                    let frame = json!({"cmd": cmd, "ver": "1.0", "dir": "30", "msgId": id,
                        "timestamp": 1_800_000_000_000_i64, "data": body});
                    observer.publish(&format!("{base}/downward"), frame.to_string().as_bytes()).await?;
                }
            }
            Ok(())
        };
        room.rig.within(LIMIT, "100 reports and a command", platform).await?.map_err(failed)?;
        room.mcu.set_rate(0);
        assert!(counters.is_sorted(), "out of order: {counters:?}");
        counters.dedup();
        assert_eq!(counters[..100], (1..=100).collect::<Vec<u64>>());
        let commands = room.mcu.log().commands;
        assert_eq!(commands.len(), 1, "{commands:?}");
        assert_eq!((commands[0].name.as_str(), &commands[0].value), ("switch", &Raw::Number(1)));
        assert!(!room.clife.ledger().with(|entries| entries.online), "the platform's own broker saw the device");
        room.finish().await
    });
}
