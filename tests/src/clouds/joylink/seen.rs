//! What the simulated cloud has seen, in lists that have a limit.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::joylink_wire::timers::Task;

/// What the cloud has seen; a copy, taken at one moment.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Authentications that were right, with the random of the device and the label of the packet.
    pub authentications: Vec<Authentication>,
    /// Heartbeats.
    pub heartbeats: Vec<Heartbeat>,
    /// Uploads that were right, refused ones included.
    pub uploads: Vec<Upload>,
    /// Answers to what the cloud asked, by its id.
    pub answers: BTreeMap<String, Answer>,
    /// Asynchronous results (14).
    pub results: Vec<AsyncResult>,
    /// Fetched information (15): what was asked for.
    pub fetches: Vec<Json>,
    /// Recipe progress (16).
    pub progress: Vec<Json>,
    /// Steps of timer tasks: id, step, code.
    pub steps: Vec<(i32, u8, i32)>,
    /// Timer snapshots: whose, and the tasks.
    pub snapshots: Vec<(String, Vec<Task>)>,
    /// Upgrades that were ordered.
    pub upgrades: Vec<Upgrade>,
    /// Why the cloud ended connections.
    pub closed: Vec<String>,
    /// Connections that ended, for whatever reason.
    pub ended: u64,
    /// Entries of any list that found no room.
    pub left_out: u64,
}

/// An authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Random of the device.
    pub random: u32,
    /// Number of its connection.
    pub connection: u64,
}

/// A heartbeat, with or without sub-devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Number of the firmware.
    pub version: u16,
    /// Signal in per cent.
    pub rssi: u16,
    /// Label of the packet.
    pub enctype: u8,
    /// Sub-devices; `None` in a plain heartbeat.
    pub subs: Option<Vec<SubState>>,
}

/// A sub-device in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubState {
    /// Number of its firmware.
    pub version: u16,
    /// Signal; 0xFFFF says nothing.
    pub rssi: u16,
    /// Identity.
    pub feedid: String,
    /// 0 online, 1 offline, 2 unbound, 3 unknown.
    pub state: u8,
}

/// An upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The sub-device; `None` for the device itself.
    pub sub: Option<String>,
    /// Streams in their order.
    pub streams: Vec<(String, Json)>,
}

impl Upload {
    /// Value of a stream.
    pub fn value(&self, stream: &str) -> Option<&Json> {
        self.streams.iter().find(|(name, _)| name == stream).map(|(_, value)| value)
    }
}

/// The device's answer to something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its code: 0 is success.
    pub code: i64,
    /// The rest of it: standard JSON, or ids and tasks in the words of this simulator.
    pub json: Json,
}

/// An asynchronous result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsyncResult {
    /// Business code; not defined.
    pub biz_code: u32,
    /// Its serial.
    pub serial: u32,
    /// Whose.
    pub feedid: String,
    /// 0 timer task, 1 panel or remote control.
    pub control_type: u8,
    /// When it happened.
    pub happened: u32,
    /// Id of the timer task, or `0`.
    pub id: String,
    /// What came of it.
    pub json: Json,
}

/// An upgrade that was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Serial of the order.
    pub serial: u32,
    /// Whom it is for.
    pub feedid: String,
    /// Number of the new firmware.
    pub version: u16,
    /// Where the image is on the firmware server; `None` if it is elsewhere.
    pub path: Option<String>,
    /// Code of the answer.
    pub answer: Option<i64>,
    /// What the device has told of it.
    pub reports: Vec<Report>,
    /// A heartbeat has carried the new version.
    pub running: bool,
}

impl Upgrade {
    /// The statuses that were told, each once in a row: more of the same only tell of progress.
    pub fn statuses(&self) -> Vec<u8> {
        let mut statuses: Vec<u8> = self.reports.iter().map(|report| report.status).collect();
        statuses.dedup();
        statuses
    }

    /// The end that was told.
    pub fn end(&self) -> Option<&Report> {
        self.reports.last().filter(|report| report.is_end())
    }
}

/// What the device has told of an upgrade (8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// 0 loading, 1 installing, 2 finished, 3 failed.
    pub status: u8,
    /// The same for people.
    pub description: String,
    /// Percent of what it is at.
    pub progress: u8,
}

impl Report {
    /// Whether the upgrade is over.
    pub fn is_end(&self) -> bool {
        self.status >= FINISHED
    }
}

/// Puts something on a list, or counts it.
pub(super) fn keep<T>(list: &mut Vec<T>, left_out: &mut u64, entry: T) {
    if list.len() < MAX_SEEN {
        list.push(entry);
    } else {
        *left_out += 1;
    }
}

/// Status of an upgrade that has brought the new version (JoyLink, 10).
pub const FINISHED: u8 = 2;
/// Status of one that has left the old version.
pub const FAILED: u8 = 3;
/// Entries of each list; later ones are counted. Chosen by us.
pub(super) const MAX_SEEN: usize = 100_000;
