//! A gateway: an MCU of JSON lines with devices behind it, which the JoyLink cloud and apps know as sub-devices.

mod enrolment;
mod everyday;
mod life;
mod product_type;

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::joylink::JoyLink;
use polylink_testbed::clouds::joylink::product::{Account, Product, SubDevice};
use polylink_testbed::clouds::joylink::seen::{Answer, Seen, SubState, Upload};
use polylink_testbed::clouds::ledger::Entries;
use polylink_testbed::demo::product::COUNTER;
use polylink_testbed::joylink_app::messages::{Found, SubGrant, Wanted};
use polylink_testbed::joylink_app::{App, AppError, Device};
use polylink_testbed::mcu::jsonl::{JsonLog, JsonMcu};
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};
use serde_json::{Value as Json, json};

use super::{count, facts};
use crate::set::{JOYLINK, binaries, failed};

/// A host, its gateway of an MCU, the JoyLink cloud, and one app in the same network.
struct Home {
    rig: Rig,
    mcu: JsonMcu,
    joylink: JoyLink,
    app: App,
}

impl Home {
    /// Builds it for so many lamps, with further settings of the plugin (TOML lines); nothing runs yet. An app binds the
    /// gateway and what waits, until [`Home::leave_alone`].
    async fn build(n_lamps: usize, settings: &str) -> Result<Self, RigError> {
        let product = Product { subs: (1..=n_lamps).map(sub).collect(), ..Product::default() };
        Self::build_for(product, |section| format!("{section}{settings}")).await
    }

    /// The same for any product, with a change to the section of the product file.
    async fn build_for(product: Product, change: impl FnOnce(String) -> String) -> Result<Self, RigError> {
        let joylink = JoyLink::start_with(COUNTER, product).map_err(failed)?;
        let mcu = JsonMcu::start("gateway").map_err(failed)?;
        let files = Files {
            link: "jsonl".to_owned(),
            port: mcu.port(),
            product_key: "gateway".to_owned(),
            product: format!("{PRODUCT}\n{}heartbeat_s = 1\n", change(joylink.product_section())),
            plugins: vec![JOYLINK.to_owned()],
            ..Files::default()
        };
        let rig = Rig::new(&binaries(&[])?, &files)?;
        let app = App::bind().await.map_err(failed)?;
        mcu.report(&json!({"power": false}));
        Ok(Self { rig, mcu, joylink, app })
    }

    /// Builds it, starts the host, and waits until the cloud sees the gateway. Nobody binds anything by itself any more.
    async fn online(n_lamps: usize, settings: &str) -> Result<Self, RigError> {
        let mut home = Self::build(n_lamps, settings).await?;
        home.start().await?;
        home.leave_alone();
        Ok(home)
    }

    /// The same, and so many lamps are bound.
    async fn with_lamps(n_lamps: usize, settings: &str) -> Result<Self, RigError> {
        let mut home = Self::build(n_lamps, settings).await?;
        for n in 1..=n_lamps {
            home.mcu.subdevice(n as u64, &lamp(n));
        }
        home.start().await?;
        home.subdevices(&format!("{n_lamps} ({n_lamps} online)")).await?;
        home.device("all to be accepted", |log| (1..=n_lamps as u64).all(|n| log.accepted.contains(&n))).await?;
        // Until then an app has no answer, and would have to bind them again after a kill.
        home.written("with all", |bonds| (1..=n_lamps).all(|n| bonds.contains(&feedid(n)))).await?;
        home.leave_alone();
        Ok(home)
    }

    /// Starts the host, and waits until the cloud sees the gateway, and apps can.
    async fn start(&mut self) -> Result<(), RigError> {
        self.rig.start()?;
        self.cloud("the gateway", |entries| entries.online).await?;
        self.status("the port", |status| count(status, "lan_ports") > 0).await.map(drop)
    }

    /// Ends the host without warning.
    async fn kill(&mut self) -> Result<(), RigError> {
        self.rig.kill().await?;
        self.cloud("the gateway to be gone", |entries| !entries.online).await
    }

    /// From now on only the test binds anything.
    fn leave_alone(&self) {
        self.joylink.change(|behaviour| behaviour.enrols = false);
    }

    async fn cloud(&self, what: &str, condition: impl Fn(&Entries) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.joylink.ledger().until(condition)).await
    }

    async fn seen(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.joylink.until(condition)).await
    }

    async fn device(&self, what: &str, condition: impl Fn(&JsonLog) -> bool) -> Result<(), RigError> {
        self.rig.within(LIMIT, what, self.mcu.until(condition)).await
    }

    async fn status(&self, what: &str, condition: impl Fn(&Json) -> bool) -> Result<Json, RigError> {
        self.rig.until(what, condition).await
    }

    /// Waits until the plugin counts its sub-devices so.
    async fn subdevices(&self, count: &str) -> Result<(), RigError> {
        let what = format!("sub-devices to be {count}");
        self.status(&what, |status| facts(status)["subdevices"] == count).await.map(drop)
    }

    /// Waits until the bonds on the disk fulfil a condition.
    async fn written(&self, what: &str, condition: impl Fn(&str) -> bool) -> Result<(), RigError> {
        let file = self.rig.dir().join("state/store/joylink/subdevices.value");
        let fits = |bytes: Vec<u8>| condition(&String::from_utf8_lossy(&bytes));
        self.status(&format!("bonds on the disk {what}"), |_| std::fs::read(&file).is_ok_and(fits)).await.map(drop)
    }

    /// Waits until so many ask the plugin to be bound.
    async fn waiting(&self, n: usize) -> Result<(), RigError> {
        let what = format!("{n} to wait to be bound");
        let shown = if n == 0 { Json::Null } else { json!(n.to_string()) };
        self.status(&what, |status| facts(status)["subdevices_waiting"] == shown).await.map(drop)
    }

    /// The gateway's answer to a question of the cloud, which was just asked.
    async fn answer(&self, asked: Result<String, String>) -> Result<Answer, RigError> {
        let id = asked.map_err(|why| self.rig.error(why))?;
        self.seen("an answer", |seen| seen.answers.contains_key(&id)).await?;
        Ok(self.joylink.answer_to(&id).expect("it was just seen"))
    }

    /// Waits until the next heartbeat but one: the next may have been on its way.
    async fn beat(&self) -> Result<Option<Vec<SubState>>, RigError> {
        let n = self.joylink.seen().heartbeats.len();
        self.seen("two heartbeats", |seen| seen.heartbeats.len() >= n + 2).await?;
        Ok(self.joylink.seen().heartbeats[n + 1].subs.clone())
    }

    /// Waits until the last upload of a lamp has this value.
    async fn uploaded(&self, n: usize, stream: &str, value: Json) -> Result<(), RigError> {
        let what = format!("{stream} = {value} of lamp {n}");
        let feedid = feedid(n);
        self.seen(&what, |seen| of(seen, &feedid).last().and_then(|upload| upload.value(stream)) == Some(&value)).await
    }

    /// What the app does; a gateway may owe it an answer for no longer than the limit of the rig.
    async fn app<T>(
        &mut self,
        what: &str,
        doing: impl AsyncFnOnce(&mut App) -> Result<T, AppError>,
    ) -> Result<T, RigError> {
        let done = self.tries(what, doing).await?;
        done.map_err(|error| self.rig.error(format!("{what}: {error}")))
    }

    /// The same where it may be refused.
    async fn tries<T>(
        &mut self,
        what: &str,
        doing: impl AsyncFnOnce(&mut App) -> Result<T, AppError>,
    ) -> Result<Result<T, AppError>, RigError> {
        self.rig.within(LIMIT, what, doing(&mut self.app)).await
    }

    /// The gateway as it is found.
    async fn found(&mut self, wanted: &Wanted) -> Result<Found, RigError> {
        let at = self.joylink.device_address();
        self.app("to be found", async |app| app.discover(at, wanted).await).await
    }

    /// An app binds the lamp with this number, or is refused.
    async fn bind(&mut self, sub: &SubDevice) -> Result<Result<Json, AppError>, RigError> {
        let devkey = self.found(&Wanted::default()).await?.devkey;
        let (at, wanted) = (self.joylink.device_address(), SubGrant::new(sub, &self.joylink.address().to_string()));
        self.tries("to be bound", async |app| app.authorize_sub(at, &devkey, &wanted).await).await
    }

    /// Where and how apps talk to the gateway.
    fn gateway(&self) -> Device {
        let localkey = self.joylink.product().device.localkey.clone();
        Device { address: self.joylink.device_address(), localkey }
    }

    /// Ends the host in order. Nobody may have broken a protocol, and no key is in the log.
    async fn close(mut self) -> Result<(), RigError> {
        let log = self.rig.log();
        let subs = self.joylink.product().subs.iter().map(|sub| &sub.account);
        for account in subs.chain([&self.joylink.product().device]) {
            for secret in [&account.accesskey, &account.localkey] {
                assert!(!log.contains(secret.as_str()), "a key is in the log");
            }
        }
        let status = self.rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        assert_eq!(self.mcu.log().violations, Vec::<String>::new(), "seen by the MCU");
        let seen = self.joylink.ledger().with(|entries| entries.violations.clone());
        assert_eq!(seen, Vec::<String>::new(), "seen by the cloud");
        Ok(())
    }
}

/// The uploads of a lamp.
fn of<'a>(seen: &'a Seen, feedid: &str) -> impl DoubleEndedIterator<Item = &'a Upload> {
    seen.uploads.iter().filter(move |upload| upload.sub.as_deref() == Some(feedid))
}

/// The numbers in uploads, each once: an upload without news repeats the last one.
fn numbers<'a>(uploads: impl Iterator<Item = &'a Upload>) -> Vec<u64> {
    let mut numbers: Vec<u64> = uploads.filter_map(|upload| upload.value("n")?.as_u64()).collect();
    numbers.dedup();
    numbers
}

/// Number n as the cloud and apps know it.
fn sub(n: usize) -> SubDevice {
    SubDevice { account: Account::new(&feedid(n)), mac: mac(n), product_uuid: LAMP.to_owned() }
}

fn feedid(n: usize) -> String {
    format!("15400000000000002{n:02}")
}

fn mac(n: usize) -> String {
    format!("00124B00000000{n:02}")
}

/// Number n as the MCU tells of it: it asks to join.
fn lamp(n: usize) -> Json {
    json!({"product": LAMP, "address": mac(n), "radio": "zigbee", "accepted": false, "online": true, "signal": 80,
        "version": "7"})
}

/// The code of a refusal.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, AppError>) -> i64 {
    match answer {
        Err(AppError::Refused(code, _)) => code,
        other => panic!("{other:?}"),
    }
}

/// Product type of the lamps.
const LAMP: &str = "LAMP01";

const PRODUCT: &str = r#"
[product]
key = "gateway"
name = "Gateway"

[[property]]
name = "power"
type = "bool"
writable = true
[[property]]
name = "level"
type = "int"
writable = true
[[property]]
name = "n"
type = "int"
history = "all"
[[property]]
name = "type"
type = "text"
"#;
