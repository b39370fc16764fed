//! The Gizwits cloud, written from sections 4 to 6 of its protocol document: the HTTP API that registers, provisions and
//! offers firmware, and the M2M broker that carries LAN frames.
//!
//! Any device may register; each registration gets a DID of its own. One device at a time is the one that the ledger and
//! the commands mean: the one that connected last. The app in the same room is [`crate::lan`]; what a module announces
//! arrives at [`Gizwits::announces`].

mod api;
pub mod behaviour;
mod m2m;
mod platform;
mod storage;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::Value as Json;

use self::behaviour::Behaviour;
use self::platform::Platform;
pub use self::platform::{ApiCall, ApiRequest, ClientAnswer, Registration, Seen};
use super::SimCloud;
use super::ledger::Ledger;
use crate::broker::Broker;
use crate::changes;
use crate::demo::product;
use crate::file_server::FileServer;
use crate::http::HttpServer;
use crate::lan::udp::{Announce, Ear};
use crate::mcu::p0::Raw;

/// A running Gizwits cloud.
pub struct Gizwits {
    platform: Arc<Platform>,
    broker: Arc<Broker>,
    http: HttpServer,
    files: FileServer,
    announces: Ear,
}

impl Gizwits {
    /// Starts it on free ports; reports are told apart by the datapoint `counter`. Needs a running tokio runtime.
    pub fn start(counter: &str) -> io::Result<Self> {
        let platform = Platform::new(counter, product::schema());
        let broker = Arc::new(Broker::start(platform.clone(), None)?);
        platform.attach(&broker);
        let http = HttpServer::start_site(platform.clone())?;
        let files = FileServer::start()?;
        let hears = platform.clone();
        let announces = Ear::listen(Box::new(move |announce| hears.announced(announce)))?;
        Ok(Self { platform, broker, http, files, announces })
    }

    /// Its broker, for faults.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Its API, for scripts: a scripted path is answered so and judged by nobody.
    pub fn http(&self) -> &HttpServer {
        &self.http
    }

    /// The app's ear for announces of the module.
    pub fn announces(&self) -> &Ear {
        &self.announces
    }

    /// Changes what the platform does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.platform.lock().behaviour);
    }

    /// What it has seen: API requests, registrations, answers by client.
    pub fn seen(&self) -> Seen {
        self.platform.lock().seen.clone()
    }

    /// Waits until what it has seen fulfils a condition.
    pub async fn until(&self, condition: impl Fn(&Seen) -> bool) {
        changes::until(&self.platform.changes, || condition(&self.platform.lock().seen)).await;
    }

    /// DID and passcode of the device that is connected and has subscribed.
    pub fn device(&self) -> Option<(String, Registration)> {
        self.platform.lock().device()
    }

    /// Takes a device on that registered before this cloud was started.
    pub fn adopt(&self, did: &str, registration: Registration) {
        self.platform.lock().adopt(did, registration);
    }

    /// Forgets a registration, as if it had never been: its DID is answered 9016 and its CONNECT with code 4.
    pub fn forget(&self, did: &str) {
        self.platform.lock().seen.registrations.remove(did);
    }

    /// Cuts the device's connection to the broker.
    pub fn kick(&self) {
        let did = self.platform.lock().session.as_ref().map(|session| session.did.clone());
        if let Some(did) = did {
            self.broker.kick(&did);
        }
    }

    /// A client sets one attribute, with a sequence number of its own; the ledger books it under that number.
    pub fn control(&self, client: &str, property: &str, value: &Json) -> Result<u32, String> {
        let p0 = self.platform.control(property, value)?;
        self.platform.request(client, None, &p0, true)
    }

    /// A client reads the status, with a sequence number of its own.
    pub fn read(&self, client: &str) -> Result<u32, String> {
        self.platform.request(client, None, &[platform::READ], false)
    }

    /// A client sends any P0 with any sequence number; not booked as a command.
    pub fn request(&self, client: &str, sn: u32, p0: &[u8]) -> Result<(), String> {
        self.platform.request(client, Some(sn), p0, false).map(drop)
    }

    /// A client sends P0 without a sequence number (0x90); not booked as a command.
    pub fn request_plain(&self, client: &str, p0: &[u8]) -> Result<(), String> {
        self.platform.request_plain(client, p0)
    }

    /// Sends bytes, right or wrong, to the device in the name of a client.
    pub fn deliver_raw(&self, client: &str, payload: &[u8]) -> Result<(), String> {
        self.platform.to_device(client, payload)
    }

    /// 0x0210: so many apps of the cloud are there now; also the answer to every later 0x020F.
    pub fn app_count(&self, count: u16) -> Result<(), String> {
        self.change(|behaviour| behaviour.app_count = count);
        self.push(0x0210, &count.to_be_bytes())
    }

    /// 0x0211: look for firmware of the module (1) or the MCU (2).
    pub fn push_upgrade(&self, kind: u8) -> Result<(), String> {
        self.push(0x0211, &[kind])
    }

    /// 0x020E: this is the firmware of the module (1) or the MCU (2).
    pub fn push_firmware(&self, kind: u8, fid: u32, url: &str) -> Result<(), String> {
        let mut data = vec![kind];
        data.extend_from_slice(&fid.to_be_bytes());
        data.extend_from_slice(&crate::lan::messages::string(url.as_bytes()));
        self.push(0x020E, &data)
    }

    /// Any command of the server to the device.
    pub fn push(&self, cmd: u16, data: &[u8]) -> Result<(), String> {
        self.platform.push(cmd, data)
    }

    /// Any command of the server to all devices of the product.
    pub fn push_to_product(&self, cmd: u16, data: &[u8]) {
        self.platform.push_to_product(cmd, data);
    }

    /// The values of a report or read answer, by attribute.
    pub fn decode(&self, action: u8, p0: &[u8]) -> Result<Vec<(String, Raw)>, String> {
        let values = self.platform.schema.read_status(action, p0)?;
        let names = self.platform.schema.attributes.iter().map(|attribute| attribute.name.clone());
        Ok(names.zip(values).collect())
    }
}

/// Where the module of a host listens on the LAN, TCP and UDP, as its `status` tells; `None` until it does.
pub fn lan_addresses(status: &Json) -> Option<(SocketAddr, SocketAddr)> {
    let clouds = status["clouds"].as_array()?;
    let facts = &clouds.iter().find(|cloud| cloud["name"] == NAME)?["facts"];
    let address = |key: &str| {
        let port: u16 = facts[key].as_str()?.parse().ok()?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    };
    Some((address("lan_tcp")?, address("lan_udp")?))
}

impl SimCloud for Gizwits {
    fn acknowledges(&self) -> bool {
        // Everything is QoS 0 here.
        false
    }

    fn product_section(&self) -> String {
        format!(
            "[cloud.{NAME}]\nplugin = \"gizwits\"\nplain_text = true\n\n[cloud.{NAME}.settings]\n\
             api_url = \"http://{}\"\nmac = \"{MAC}\"\n\n[cloud.{NAME}.settings.lan]\naddress = \"127.0.0.1\"\n\
             tcp_port = 0\nudp_port = 0\nannounce_to = [\"{}\"]\n",
            self.http.address(),
            self.announces.address()
        )
    }

    fn ledger(&self) -> &Ledger {
        &self.platform.ledger
    }

    fn send_command(&self, property: &str, value: &Json) -> Result<(), String> {
        self.control(CLIENT, property, value).map(drop)
    }

    fn go_away(&self) {
        self.http.go_away();
        self.broker.go_away();
    }

    fn come_back(&self) -> io::Result<()> {
        self.http.come_back()?;
        self.broker.come_back()
    }
}

impl Platform {
    /// Judges an announce: it must be the configured device of this product, with a DID that this cloud gave or none yet.
    fn announced(&self, announce: &Result<Announce, String>) {
        let fault = match announce {
            Err(fault) => fault.clone(),
            Ok(announce) => {
                let (did, mac, product_key) = announce.identity();
                let known = did.is_empty() || self.lock().given.iter().any(|given| given == did);
                let mac: String = mac.iter().map(|byte| format!("{byte:02X}")).collect();
                if known && mac == MAC && product_key == self.schema.product_key {
                    return;
                }
                format!("did {did:?}, mac {mac}, product key {product_key:?}")
            }
        };
        self.ledger.violation(format!("announce: {fault}"));
    }
}

/// Name in `--clouds`, and of its section in the product file.
const NAME: &str = "gizwits";
/// Address of the device in its settings.
pub const MAC: &str = "02005E102030";
/// Client id of the app that sends the demo's commands.
pub const CLIENT: &str = "2kpp2d6hp2";

#[cfg(test)]
mod tests;
