//! What a test wants the simulated Gizwits cloud to do differently.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Switches of the platform; the default is a well-behaved one without firmware and without third parties.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Lets a client in that speaks MQTT 3.1.1.
    pub accept_3_1_1: bool,
    /// CONNECTs to come with right credentials that are refused, with these codes. Code 4 forgets the registration.
    pub refuse_connects: VecDeque<u8>,
    /// Subscriptions to come that are never acknowledged.
    pub silent_subacks: u32,
    /// Registrations to come that are refused.
    pub refuse_registrations: VecDeque<Refusal>,
    /// Provisions to come that are refused. Code 9016 forgets the registration.
    pub refuse_provisions: VecDeque<Refusal>,
    /// Firmware checks to come that are refused, of either kind.
    pub refuse_checks: VecDeque<Refusal>,
    /// How long each API answer takes.
    pub http_delay: Duration,
    /// API requests to come that are never answered.
    pub silent_requests: u32,
    /// API answers come in chunks instead of with a length.
    pub chunked: bool,
    /// A device that registers again keeps its DID; if not, it gets a new one and the old one is dead.
    pub same_did: bool,
    /// The M2M address that provisioning names, instead of the broker's own.
    pub m2m: Option<SocketAddr>,
    /// Provisioning names timestamp, port, host, in this order and without a line end.
    pub shuffled_provision: bool,
    /// Provisioning answers exactly this.
    pub provision_body: Option<String>,
    /// Time that provisioning tells, in Unix seconds, instead of the present.
    pub server_ts: Option<i64>,
    /// Provisioning names JD and this product uuid.
    pub third_party: Option<String>,
    /// Firmware of the present scheme by type: 1 module, 2 MCU.
    pub upgrades: BTreeMap<u8, Upgrade>,
    /// The path of the present scheme does not exist, so that only the old one is left.
    pub without_v4_1: bool,
    /// Firmware of the old scheme by type.
    pub firmwares: BTreeMap<u8, Firmware>,
    /// Apps of the cloud that are there, as told when asked.
    pub app_count: u16,
    /// Questions for the number of apps get no answer.
    pub silent_count: bool,
}

/// An error of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `error_code`; `None` answers with a body that is no error object.
    pub code: Option<u16>,
    /// The code as JSON text instead of a number.
    pub as_text: bool,
}

impl Refusal {
    /// A status with an error code.
    pub fn new(status: u16, code: u16) -> Self {
        Self { status, code: Some(code), as_text: false }
    }

    /// The body, in the shape that the API documents.
    pub(super) fn body(&self) -> String {
        let detail = r#""error_message": "as the test wants it", "detail_message": null"#;
        match self.code {
            Some(code) if self.as_text => format!(r#"{{"error_code": "{code}", {detail}}}"#),
            Some(code) => format!(r#"{{"error_code": {code}, {detail}}}"#),
            None => "<html>no error object</html>".to_owned(),
        }
    }
}

/// A firmware of the present scheme (v4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Its version, 8 characters.
    pub soft_version: String,
    /// Where it is.
    pub url: String,
}

/// A firmware of the old scheme (v4.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// Its number.
    pub fid: u32,
    /// Where it is.
    pub url: String,
}
