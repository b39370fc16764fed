//! What operators are told. Facts and texts only, never a secret. Unknown members are ignored when read, so that an
//! older command line can talk to a newer host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How everything stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusReport {
    /// The host itself.
    pub host: HostStatus,
    /// The configured clouds, in order of name.
    pub clouds: Vec<CloudStatus>,
    /// Devices behind this one, by their index.
    pub subdevices: Vec<SubdeviceReport>,
    /// Updates that clouds ask for: under way, waiting, or over and not acknowledged.
    pub updates: Vec<UpdateReport>,
    /// Last known values.
    pub datapoints: Vec<DatapointReport>,
    /// Counters of the bus and the services.
    pub counters: BTreeMap<String, u64>,
    /// How reports that wait are kept.
    pub journal: JournalReport,
}

/// How reports that wait are kept. Bytes and times count from the start of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JournalReport {
    /// Where new reports go: `memory`, `flash`, or `none` while no disk takes them; empty: nothing is told of it.
    pub tier: String,
    /// Bytes of the journal in memory (tmpfs).
    pub memory_bytes: u64,
    /// Bytes of the journal on flash.
    pub flash_bytes: u64,
    /// Bytes of reports, each once.
    pub report_bytes: u64,
    /// Bytes written to memory.
    pub memory_written: u64,
    /// Bytes written to flash.
    pub flash_written: u64,
    /// How often flash was made to write.
    pub flash_syncs: u64,
    /// Times that a disk failed.
    pub errors: u64,
    /// Reports that were taken up from the host's last run.
    pub restored: u64,
    /// Reports of the last run that nobody is there for any more.
    pub dropped: u64,
    /// Pieces of the last run's journal that could not be read.
    pub broken: u64,
}

/// The host itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostStatus {
    /// Version of Polylink.
    pub version: String,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// Its process.
    pub pid: u32,
    /// In one or two words, such as `running` or `waiting for the MCU`.
    pub state: String,
    /// The product key; empty while it is not known.
    pub product: String,
    /// The line to the MCU.
    pub mcu: McuStatus,
    /// The module itself.
    pub module: ModuleReport,
}

/// The module itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModuleReport {
    /// What it does, such as `work` or `onboarding by SoftAP`.
    pub mode: String,
    /// Whether a new owner may bind the device.
    pub bindable: bool,
    /// When that ends by itself; none: it does not, or it is not so.
    pub bindable_ms: Option<u64>,
    /// Other clouds that the product belongs to, as one of the configured ones said.
    pub named_clouds: BTreeMap<String, NamedCloud>,
}

/// A cloud that another one named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedCloud {
    /// Which of the configured clouds named it.
    pub by: String,
    /// What it said beyond the name, `key=value` separated by `&`.
    pub parameters: String,
}

/// The line to the MCU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct McuStatus {
    /// Which protocol.
    pub link: String,
    /// Which port.
    pub port: String,
    /// Whether the MCU answers.
    pub online: bool,
    /// What the MCU says it is, such as `hardware` and `software`.
    pub identity: BTreeMap<String, String>,
    /// Counters of the line, such as `checksum`.
    pub counters: BTreeMap<String, u64>,
}

/// One cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CloudStatus {
    /// Name of the section.
    pub name: String,
    /// Name of the plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// Its build: compiler, target, profile.
    pub build: String,
    /// The file it came from; empty: none was loaded.
    pub file: String,
    /// Where the instance is in its life, such as `started` or `faulted`.
    pub lifecycle: String,
    /// Where it stands with its cloud: `offline`, `connecting`, `online` or `attention`.
    pub session: String,
    /// Its own words.
    pub text: String,
    /// Its own named facts.
    pub facts: BTreeMap<String, String>,
    /// Reports for it.
    pub journal: JournalStatus,
    /// What waits for it.
    pub inbox: InboxStatus,
    /// What it uses of the host, such as `handles` or `store_bytes`.
    pub usage: BTreeMap<String, u64>,
    /// Its faults.
    pub faults: FaultCount,
    /// When the next instance is made, if one is to be.
    pub retry_in_ms: Option<u64>,
}

/// Reports of one cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JournalStatus {
    /// Not yet settled.
    pub pending: u64,
    /// Settled since the start.
    pub settled: u64,
    /// Lost because the journal was full.
    pub lost: u64,
    /// Age of the oldest that is pending.
    pub oldest_ms: Option<u64>,
}

/// Events and outcomes that wait for one cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InboxStatus {
    /// Waiting.
    pub queued: u64,
    /// Dropped because there was no room.
    pub dropped: u64,
}

/// Faults of one cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultCount {
    /// Since the start.
    pub count: u64,
    /// The last one's message.
    pub last: Option<String>,
    /// When it was, as Unix milliseconds.
    pub at_unix_ms: Option<i64>,
}

/// A device without a network behind this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubdeviceReport {
    /// What reports and commands call it.
    pub index: u32,
    /// Its product, in the MCU's words.
    pub product: String,
    /// Its address.
    pub address: String,
    /// `wifi`, `zigbee`, `bluetooth`, `subghz` or `other`.
    pub radio: String,
    /// Whether it belongs to the gateway.
    pub accepted: bool,
    /// Whether the MCU can reach it.
    pub online: bool,
    /// Its signal, 0 to 100; none: unknown.
    pub signal_percent: Option<u8>,
    /// Version of its firmware; empty: unknown.
    pub version: String,
}

/// An update that a cloud asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateReport {
    /// Its number, as in the log and for the product's program.
    pub id: u64,
    /// Which cloud asks.
    pub cloud: String,
    /// As the cloud calls it.
    pub reference: String,
    /// `module`, `mcu` or `subdevice`.
    pub target: String,
    /// Which subdevice; 0 for other targets.
    pub device: u32,
    /// The version that it brings; empty: the cloud does not say.
    pub version: String,
    /// `waiting`, `loading`, `installing`, `succeeded`, `cancelled` or `failed`.
    pub state: String,
    /// Percent of loading or installing.
    pub percent: u8,
    /// Why it failed.
    pub why: String,
}

/// The value of one datapoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DatapointReport {
    /// Its name.
    pub name: String,
    /// Its value as text, an enum as its label; none while it is unknown.
    pub value: Option<String>,
    /// Its unit.
    pub unit: String,
    /// Its type.
    pub kind: String,
    /// Whether it can be set.
    pub writable: bool,
    /// When the MCU said it, as Unix milliseconds.
    pub at_unix_ms: Option<i64>,
}

/// What became of one `set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SetOutcome {
    /// The datapoint.
    pub name: String,
    /// Whether the MCU took it.
    pub done: bool,
    /// Why not.
    pub text: String,
}

/// A plugin file and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PluginReport {
    /// The file.
    pub file: String,
    /// The plugin's name; empty if the file was refused.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The cloud it speaks to.
    pub cloud: String,
    /// Its build.
    pub build: String,
    /// Why it was refused.
    pub refused: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WatchEvent {
    /// The device said something.
    Report {
        /// When, as Unix milliseconds.
        at_unix_ms: i64,
        /// 0: the device itself.
        device: u32,
        /// `change`, `periodic` or `answer`.
        cause: String,
        /// The cloud or `local` whose command set it off; empty: the device itself.
        origin: String,
        /// The event's name; empty for properties.
        event: String,
        /// Names and values.
        values: Vec<(String, String)>,
    },
    /// Somebody wants something.
    Command {
        /// When, as Unix milliseconds.
        at_unix_ms: i64,
        /// The cloud, or `local`.
        origin: String,
        /// Its number.
        ticket: u64,
        /// `set`, `get`, `raw`, or the action's name.
        what: String,
        /// Names and values.
        values: Vec<(String, String)>,
    },
    /// What became of it.
    Outcome {
        /// When, as Unix milliseconds.
        at_unix_ms: i64,
        /// The cloud, or `local`.
        origin: String,
        /// Number of the command.
        ticket: u64,
        /// `done`, `refused`, `unreachable`, `timed out` or `superseded`.
        result: String,
        /// Why.
        reason: String,
    },
    /// A cloud, the MCU or the host changed its state.
    Status {
        /// When, as Unix milliseconds.
        at_unix_ms: i64,
        /// The cloud's name, `mcu` or `host`.
        who: String,
        /// Its new state.
        state: String,
        /// More, for people.
        text: String,
    },
}
