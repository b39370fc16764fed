//! What a test wants the simulated Deli platform to do differently.

use std::collections::BTreeMap;
use std::time::Duration;

/// Switches of the platform; the default is a well-behaved one that speaks text 1.0.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// A second live connection with the same client id: taken over, or refused with CONNACK 2.
    pub takeover: bool,
    /// Waits before each answer.
    pub delay: Duration,
    /// Requests to come that get no answer.
    pub silent_requests: u32,
    /// Error codes by action, instead of 0.
    pub codes: BTreeMap<i64, i64>,
    /// Shapes of text 1.1: `organization`, `org_id`, `app_id`.
    pub v1_1: bool,
    /// Organisation and application ids as JSON numbers.
    pub numeric_ids: bool,
    /// Answers 105 with action 104, as the sample of text 1.1 does.
    pub answer_105_as_104: bool,
    /// Organisation the device is bound to; `None` = unbound.
    pub organisation: Option<String>,
    /// Status of action 102: 0 locked, 1 normal.
    pub status: i64,
    /// Name the platform knows the device by.
    pub name: String,
    /// Newest firmware, for 102 and 103.
    pub firmware: Option<Firmware>,
}

/// A firmware the platform offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// Its version.
    pub version: String,
    /// `normal` or `force`.
    pub upgrade_type: String,
    /// Where it is.
    pub file_path: String,
    /// MD5, hex.
    pub checksum: String,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            takeover: true,
            delay: Duration::ZERO,
            silent_requests: 0,
            codes: BTreeMap::new(),
            v1_1: false,
            numeric_ids: false,
            answer_105_as_104: false,
            // Beyond 2^53: ids must not pass through floating point.
            organisation: Some("9007199254740993".to_owned()),
            status: 1,
            name: String::new(),
            firmware: None,
        }
    }
}
