//! The device on a broker that knows nothing of its cloud; see `crate::any_broker`. The platform is only its API here.

use polylink_testbed::clouds::gizwits::Gizwits;
use polylink_testbed::demo::product;
use polylink_testbed::lan::frame::{self, Frame, PLAIN, REQUEST};
use polylink_testbed::mcu::p0::{Raw, Schema};
use polylink_testbed::observer::Observer;
use polylink_testbed::rig::{LIMIT, RigError};

use super::Home;
use crate::any_broker::AnyBroker;
use crate::set::check;

#[test]
fn reports_and_commands_pass_through_a_broker_that_knows_nothing_of_gizwits() {
    check(async || {
        let failed = |error: std::io::Error| RigError::new(format!("observer: {error}"));
        let broker = AnyBroker::start()?;
        let mut observer = Observer::connect(broker.addr(), "platform", "dev2app/#").await.map_err(failed)?;
        let mut home = Home::furnish(|_| ())?;
        home.gizwits.change(|behaviour| behaviour.m2m = Some(broker.addr()));
        home.rig.start()?;
        home.mcu.set_rate(50);
        let mut counters = Vec::new();
        let mut answers = Vec::new();
        let platform = async {
            while counters.len() < 100 || answers.is_empty() {
                let message = observer.next().await?;
                let frame = Frame::exact(&message.payload).map_err(std::io::Error::other)?;
                let levels: Vec<&str> = message.topic.split('/').collect();
                match levels[..] {
                    ["dev2app", did] => {
                        counters.push(counter(&product::schema(), &frame).map_err(std::io::Error::other)?);
                        if counters.len() == 50 {
                            let topic = format!("app2dev/{did}/phone1");
                            observer.publish(&topic, &control().encode()).await?;
                        }
                    }
                    _ => answers.push((levels[1..].join("/"), frame)),
                }
            }
            Ok(())
        };
        home.rig.within(LIMIT, "100 reports and a command", platform).await?.map_err(failed)?;
        home.mcu.set_rate(0);
        assert!(counters.is_sorted(), "out of order: {counters:?}");
        counters.dedup();
        assert_eq!(counters[..100], (1..=100).collect::<Vec<u64>>());
        let did = registered(&home.gizwits);
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(answers[0].0, format!("{did}/phone1"));
        assert_eq!(answers[0].1.answer(), Ok((SN, &[][..])));
        let commands = home.mcu.log().commands;
        assert_eq!(commands.len(), 1, "{commands:?}");
        assert_eq!((commands[0].name.as_str(), &commands[0].value), ("switch", &Raw::Number(1)));
        home.finish(&[]).await
    });
}

/// The number of a report.
fn counter(schema: &Schema, frame: &Frame) -> Result<u64, String> {
    if frame.cmd != PLAIN {
        return Err(format!("{frame:?} is no report"));
    }
    let values = schema.read_status(REPORT_ACTION, &frame.payload)?;
    schema.number(product::COUNTER, &values).ok_or_else(|| "no number".to_owned())
}

/// What an app sends to switch the device on.
fn control() -> Frame {
    let p0 = product::schema().write_control("switch", &Raw::Number(1)).expect("the product has a switch");
    frame::numbered(REQUEST, SN, &p0)
}

/// The only DID that the API knows.
fn registered(gizwits: &Gizwits) -> String {
    let dids: Vec<String> = gizwits.seen().registrations.into_keys().collect();
    assert_eq!(dids.len(), 1, "{dids:?}");
    dids.concat()
}

/// Number of the app's request. Chosen by us: four different bytes.
const SN: u32 = 0x0102_0304;
/// First P0 byte of a report (Gizwits P0, 3.1).
const REPORT_ACTION: u8 = 0x04;
