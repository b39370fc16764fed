//! The device on a broker that knows nothing of its cloud: the testbed's own, or Mosquitto with
//! `POLYLINK_TEST_BROKER=mosquitto`.
//!
//! Such a broker delivers nothing without a subscription, so the platform speaks on the topic of the model.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use polylink_testbed::broker::Broker;
use polylink_testbed::broker::hooks::Open;
use polylink_testbed::clouds::deli::{DEVICE, MODEL, TYPE};
use polylink_testbed::demo::product;
use polylink_testbed::observer::Observer;
use polylink_testbed::rig::{LIMIT, RigError};
use serde_json::{Value as Json, json};

use crate::set::check;
use crate::stage::{Stage, section};

/// A broker of either make; dropping it ends it.
pub enum AnyBroker {
    Own(Broker),
    Mosquitto(Child, SocketAddr),
}

impl AnyBroker {
    pub fn start() -> Result<Self, RigError> {
        let failed = |error: std::io::Error| RigError::new(format!("broker: {error}"));
        match std::env::var("POLYLINK_TEST_BROKER").as_deref() {
            Err(_) | Ok("embedded") => Broker::start(Arc::new(Open), None).map(Self::Own).map_err(failed),
            Ok("mosquitto") => Self::mosquitto().map_err(failed),
            Ok(other) => Err(RigError::new(format!("POLYLINK_TEST_BROKER={other}: embedded or mosquitto expected"))),
        }
    }

    /// Mosquitto says on standard error when it runs; a port that was free a moment ago is the best it can be given.
    fn mosquitto() -> std::io::Result<Self> {
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = std::env::temp_dir().join(format!("polylink-mosquitto-{}.conf", addr.port()));
        std::fs::write(&config, format!("listener {} 127.0.0.1\nallow_anonymous true\n", addr.port()))?;
        let mut command = Command::new("mosquitto");
        let mut child = command.arg("-v").arg("-c").arg(&config).stderr(Stdio::piped()).spawn().map_err(|error| {
            std::io::Error::new(error.kind(), format!("mosquitto (Debian package `mosquitto`): {error}"))
        })?;
        let mut lines = BufReader::new(child.stderr.take().expect("it was piped")).lines();
        let runs = lines.by_ref().map_while(Result::ok).any(|line| line.contains("running"));
        // It blocks once its pipe is full, so somebody has to go on reading.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        std::fs::remove_file(&config)?;
        if runs { Ok(Self::Mosquitto(child, addr)) } else { Err(std::io::Error::other("mosquitto did not start")) }
    }

    pub fn addr(&self) -> SocketAddr {
        match self {
            Self::Own(broker) => broker.addr(),
            Self::Mosquitto(_, addr) => *addr,
        }
    }
}

impl Drop for AnyBroker {
    fn drop(&mut self) {
        if let Self::Mosquitto(child, _) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn reports_and_commands_pass_through_a_broker_that_knows_nothing_of_the_cloud() {
    check(async || {
        let broker = AnyBroker::start()?;
        let failed = |error: std::io::Error| RigError::new(format!("observer: {error}"));
        let mut observer = Observer::connect(broker.addr(), "platform", "device").await.map_err(failed)?;
        let addr = broker.addr();
        let mut stage = Stage::set_with(|_| ()).await?;
        let other = section(&stage.deli, addr);
        let own = section(&stage.deli, stage.net.address());
        let file = stage.rig.dir().join(format!("products/{}.toml", product::schema().product_key));
        let text = std::fs::read_to_string(&file).expect("the rig wrote it").replace(&own, &other);
        std::fs::write(&file, text).expect("our own file");
        stage.rig.start()?;
        stage.mcu.set_rate(50);
        let mut counters = Vec::new();
        let mut done = false;
        let platform = async {
            while counters.len() < 100 || !done {
                let message = observer.next().await?;
                let heard: Json = serde_json::from_slice(&message.payload)?;
                let reply = |action: Json, data: Json| {
                    json!({"mid": heard["mid"], "from": "system", "to": DEVICE, "time": 1_502_867_086, "action": action,
                        "data": data})
                };
                let answer = match heard["action"].as_i64() {
                    Some(100..=105) => {
                        let data = json!({"code": 0, "msg": "", "status": 1, "group_id": "1"});
                        Some(reply(heard["action"].clone(), data))
                    }
                    Some(300) if heard["mid"] == "c1" => {
                        done = heard["data"]["payload"]["code"] == 0;
                        None
                    }
                    Some(300) => {
                        counters.extend(heard["data"]["payload"][product::COUNTER].as_u64());
                        (counters.len() == 50).then(|| {
                            json!({"mid": "c1", "from": "7", "to": DEVICE, "time": 1_502_867_086, "action": 301,
                                "data": {"cmd": "set", "payload": {"switch": true}}})
                        })
                    }
                    _ => None,
                };
                if let Some(answer) = answer {
                    observer.publish(&format!("{TYPE}/{MODEL}"), answer.to_string().as_bytes()).await?;
                }
            }
            Ok(())
        };
        stage.rig.within(LIMIT, "100 reports and a command", platform).await?.map_err(failed)?;
        stage.mcu.set_rate(0);
        assert!(counters.is_sorted(), "out of order: {counters:?}");
        counters.dedup();
        assert_eq!(counters[..100], (1..=100).collect::<Vec<u64>>());
        assert_eq!(stage.mcu.log().commands.len(), 1);
        stage.finish().await
    });
}
