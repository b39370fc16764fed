//! The host's own sections: typed, with units and ranges applied, and each key's default.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::error::Errors;
use super::journal::JournalSection;
use super::network::NetworkSection;
use super::overrides::Overrides;
use super::read::{
    Expected, Section, absolute_path, absolute_paths, boolean, choice, millis, seconds, size, text, whole,
};
use super::script::ScriptSection;
use super::tree::Node;
use super::update::UpdateSection;

/// Everything the host must know before it knows the product. `Default` is what holds without any file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "host.toml", deny_unknown_fields))]
pub struct HostConfig {
    /// Where things are kept.
    pub host: HostSection,
    /// What is logged.
    pub log: LogSection,
    /// The line to the MCU.
    pub mcu: McuSection,
    /// Plugins and how they are watched.
    pub plugins: PluginsSection,
    /// Reports that wait for clouds.
    pub journal: JournalSection,
    /// Commands from clouds and users.
    pub commands: CommandsSection,
    /// What plugins may store.
    pub store: StoreSection,
    /// What scripts of products may use.
    pub script: ScriptSection,
    /// The control socket.
    pub control: ControlSection,
    /// Clock and time zone.
    pub time: TimeSection,
    /// What the module says of itself.
    pub module: ModuleSection,
    /// The product's program for its network.
    pub network: NetworkSection,
    /// What may be installed, and by what.
    pub update: UpdateSection,
    /// The directory this was read from.
    #[serde(skip)]
    pub dir: PathBuf,
    /// The layers above the files.
    #[serde(skip)]
    pub overrides: Overrides,
}

/// `[host]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct HostSection {
    /// Directory for what must survive a restart: plugin stores, the journal. Absolute.
    pub state_dir: PathBuf,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct LogSection {
    /// The most talkative level that is logged.
    pub level: LogLevel,
    /// For people, or for programs.
    pub format: LogFormat,
    /// The last lines are kept in RAM for clouds and people that ask for them: up to so many bytes, the oldest go first. 0: none.
    #[cfg_attr(test, schemars(range(max = 1_048_576)))]
    pub keep_bytes: usize,
}

/// `[mcu]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct McuSection {
    /// The protocol on the line.
    pub link: LinkKind,
    /// Where the MCU is: an absolute tty path, `unix:/path` or `tcp:host:port`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub port: Port,
    /// Bits per second of a tty.
    #[cfg_attr(test, schemars(range(min = 300, max = 4_000_000)))]
    pub baud: u32,
    /// The product key, for an MCU that does not say it. Empty: the MCU says it.
    #[serde(serialize_with = "key_or_empty")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub product_key: Option<ProductKey>,
}

/// `[plugins]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct PluginsSection {
    /// Absolute directories that are searched for plugins, in this order.
    pub directories: Vec<PathBuf>,
    /// A call into a plugin that takes longer is logged. Milliseconds.
    #[serde(rename = "call_warn_ms", serialize_with = "as_millis")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 1, max = 60_000)))]
    pub call_warn: Duration,
    /// A call into a plugin that takes longer puts the instance into quarantine. Milliseconds.
    #[serde(rename = "call_quarantine_ms", serialize_with = "as_millis")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 10, max = 600_000)))]
    pub call_quarantine: Duration,
    /// Pause before the first restart of a faulted instance; doubles from fault to fault. Milliseconds.
    #[serde(rename = "backoff_first_ms", serialize_with = "as_millis")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 10, max = 3_600_000)))]
    pub backoff_first: Duration,
    /// Longest pause before a restart. Milliseconds.
    #[serde(rename = "backoff_max_ms", serialize_with = "as_millis")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 10, max = 86_400_000)))]
    pub backoff_max: Duration,
    /// So many faults within the window stop an instance for good.
    #[cfg_attr(test, schemars(range(min = 1, max = 1000)))]
    pub faults_max: usize,
    /// The window in which faults are counted. Seconds.
    #[serde(rename = "faults_window_s", serialize_with = "as_seconds")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 1, max = 86_400)))]
    pub faults_window: Duration,
    /// How long a stopping instance may take to say good-bye to its cloud. Milliseconds.
    #[serde(rename = "stop_grace_ms", serialize_with = "as_millis")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 0, max = 60_000)))]
    pub stop_grace: Duration,
}

/// `[commands]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct CommandsSection {
    /// How long a command may take where its cloud does not say. Milliseconds.
    #[serde(rename = "deadline_ms", serialize_with = "as_millis")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 100, max = 600_000)))]
    pub deadline: Duration,
    /// Who wins when two clouds want different things.
    pub policy: CommandPolicy,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct StoreSection {
    /// Bytes that each cloud instance may store.
    #[cfg_attr(test, schemars(range(min = 4096, max = 67_108_864)))]
    pub max_bytes: usize,
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct ControlSection {
    /// The unix socket that `polylink status` and its siblings use. Absolute.
    pub socket: PathBuf,
}

/// `[time]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct TimeSection {
    /// `system`, or a fixed offset such as `+08:00`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub zone: Zone,
}

/// `[module]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct ModuleSection {
    /// Hardware version of this module, for clouds that ask.
    pub hardware: String,
    /// Software version of this module. Empty: the version of Polylink.
    pub software: String,
    /// The binding window opens at power-on, for the bindable time that the MCU tells.
    pub bindable_at_start: bool,
    /// A cloud that asks for a restart of the module may get it.
    pub restart_on_request: bool,
}

/// How talkative the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// An operator should look at it.
    Error,
    /// Odd, but handled.
    Warn,
    /// Changes of state.
    Info,
    /// For who debugs.
    Debug,
    /// Every packet, with its content.
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// The protocol on the line to the MCU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// The Gizwits serial protocol.
    GizwitsUart,
    /// One JSON object a line.
    Jsonl,
}

/// Who wins when two clouds want different things of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CommandPolicy {
    /// The later command.
    LastWriter,
    /// The cloud with the smaller `priority`, or the one that is written first.
    Priority,
    /// The local user, for a while.
    LocalFirst,
    /// Who came first, until its command is done.
    LockOut,
    /// Who came first, for a while.
    Lease,
}

/// Where the MCU is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// A serial line.
    Tty(PathBuf),
    /// A unix socket to connect to.
    Unix(PathBuf),
    /// A TCP address to connect to.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// The time zone of local times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// The system's.
    System,
    /// So many seconds ahead of UTC.
    Fixed(i32),
}

/// A product key. It is used as a file name, so it is made of `A-Z`, `a-z`, `0-9`, `_` and `-` only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProductKey(String);

impl ProductKey {
    /// What a product key may be, for messages.
    pub const EXPECTED: &str = "a product key: 1 to 64 characters of A-Z, a-z, 0-9, `_` and `-`";

    /// None if the text cannot be a product key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        fits.then(|| Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for HostConfig {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            host: HostSection { state_dir: "/var/lib/polylink".into() },
            log: LogSection { level: LogLevel::Info, format: LogFormat::Pretty, keep_bytes: 128 * 1024 },
            mcu: McuSection {
                link: LinkKind::GizwitsUart,
                port: Port::Tty("/dev/ttyS1".into()),
                baud: 9600,
                product_key: None,
            },
            plugins: PluginsSection {
                directories: vec!["/usr/lib/polylink/plugins".into()],
                call_warn: ms(200),
                call_quarantine: ms(2000),
                backoff_first: ms(1000),
                backoff_max: ms(300_000),
                faults_max: 5,
                faults_window: Duration::from_secs(600),
                stop_grace: ms(1000),
            },
            journal: JournalSection::default(),
            commands: CommandsSection { deadline: ms(5000), policy: CommandPolicy::LastWriter },
            store: StoreSection { max_bytes: 256 * 1024 },
            script: ScriptSection::default(),
            control: ControlSection { socket: "/run/polylink/control.sock".into() },
            time: TimeSection { zone: Zone::System },
            module: ModuleSection {
                hardware: String::new(),
                software: String::new(),
                bindable_at_start: true,
                restart_on_request: true,
            },
            network: NetworkSection::default(),
            update: UpdateSection::default(),
            dir: super::DEFAULT_DIR.into(),
            overrides: Overrides::default(),
        }
    }
}

impl HostConfig {
    /// The sections of this part of the configuration.
    pub const SECTIONS: [&str; 13] = [
        "host", "log", "mcu", "plugins", "journal", "commands", "store", "script", "control", "time", "module",
        "network", "update",
    ];

    /// Reads the host's sections of a merged tree; leaves the others alone.
    pub(super) fn read(root: &Node, errors: &Errors) -> Self {
        let mut config = Self::default();
        let mut root = Section::new("", root, errors);
        if let Some(mut section) = root.section("host") {
            section.read("state_dir", &mut config.host.state_dir, absolute_path);
            section.finish();
        }
        if let Some(mut section) = root.section("log") {
            section.read("level", &mut config.log.level, choice(&LEVELS));
            section.read("format", &mut config.log.format, choice(&FORMATS));
            section.read("keep_bytes", &mut config.log.keep_bytes, size("bytes", 0..=1_048_576));
            section.finish();
        }
        if let Some(mut section) = root.section("mcu") {
            let mut baud = i64::from(config.mcu.baud);
            section.read("link", &mut config.mcu.link, choice(&LINKS));
            section.read("port", &mut config.mcu.port, port);
            section.read("baud", &mut baud, whole("bits per second", 300..=4_000_000));
            section.read("product_key", &mut config.mcu.product_key, product_key);
            section.finish();
            config.mcu.baud = u32::try_from(baud).unwrap_or(config.mcu.baud);
        }
        if let Some(section) = root.section("plugins") {
            config.plugins.read(section);
        }
        if let Some(section) = root.section("journal") {
            config.journal.read(section);
        }
        if let Some(mut section) = root.section("commands") {
            section.read("deadline_ms", &mut config.commands.deadline, millis(100..=600_000));
            section.read("policy", &mut config.commands.policy, choice(&POLICIES));
            section.finish();
        }
        if let Some(mut section) = root.section("store") {
            section.read("max_bytes", &mut config.store.max_bytes, size("bytes", 4096..=67_108_864));
            section.finish();
        }
        if let Some(section) = root.section("script") {
            config.script.read(section);
        }
        if let Some(mut section) = root.section("control") {
            section.read("socket", &mut config.control.socket, absolute_path);
            section.finish();
        }
        if let Some(mut section) = root.section("time") {
            section.read("zone", &mut config.time.zone, zone);
            section.finish();
        }
        if let Some(mut section) = root.section("module") {
            section.read("hardware", &mut config.module.hardware, text);
            section.read("software", &mut config.module.software, text);
            section.read("bindable_at_start", &mut config.module.bindable_at_start, boolean);
            section.read("restart_on_request", &mut config.module.restart_on_request, boolean);
            section.finish();
        }
        if let Some(section) = root.section("network") {
            config.network.read(section);
        }
        if let Some(section) = root.section("update") {
            config.update.read(section);
        }
        for key in super::PRODUCT_SECTIONS {
            root.node(key);
        }
        root.finish();
        config
    }
}

impl PluginsSection {
    fn read(&mut self, mut section: Section<'_>) {
        section.read("directories", &mut self.directories, absolute_paths);
        section.read("call_warn_ms", &mut self.call_warn, millis(1..=60_000));
        section.read("call_quarantine_ms", &mut self.call_quarantine, millis(10..=600_000));
        section.read("backoff_first_ms", &mut self.backoff_first, millis(10..=3_600_000));
        section.read("backoff_max_ms", &mut self.backoff_max, millis(10..=86_400_000));
        section.read("faults_max", &mut self.faults_max, size("faults", 1..=1000));
        section.read("faults_window_s", &mut self.faults_window, seconds(1..=86_400));
        section.read("stop_grace_ms", &mut self.stop_grace, millis(0..=60_000));
        if self.call_quarantine <= self.call_warn {
            let warn = self.call_warn.as_millis();
            section.wrong("call_quarantine_ms", format!("must be more than call_warn_ms, which is {warn}"));
        }
        if self.backoff_max < self.backoff_first {
            let first = self.backoff_first.as_millis();
            section.wrong("backoff_max_ms", format!("must be at least backoff_first_ms, which is {first}"));
        }
        section.finish();
    }
}

impl std::fmt::Display for ProductKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// As it is written in `mcu.port`.
impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tty(path) => write!(f, "{}", path.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// As it is written in `time.zone`.
impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Fixed(seconds) => {
                let minutes = seconds.unsigned_abs() / 60;
                let sign = if *seconds < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn port(node: &Node) -> Result<Port, Expected> {
    let expected = || Expected::from("a tty path such as \"/dev/ttyS1\", \"unix:/path\" or \"tcp:host:port\"");
    let found = text(node).map_err(|_| expected())?;
    if found.contains('\0') {
        return Err(expected());
    }
    let absolute = |path: &str| path.starts_with('/').then(|| PathBuf::from(path)).ok_or_else(expected);
    if let Some(path) = found.strip_prefix("unix:") {
        return absolute(path).map(Port::Unix);
    }
    if let Some(address) = found.strip_prefix("tcp:") {
        let (host, port) = address.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(expected)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(expected());
        }
        return Ok(Port::Tcp { host: host.to_owned(), port });
    }
    absolute(&found).map(Port::Tty)
}

fn product_key(node: &Node) -> Result<Option<ProductKey>, Expected> {
    let expected = || Expected(format!("{}, or \"\" to let the MCU say it", ProductKey::EXPECTED));
    let found = text(node).map_err(|_| expected())?;
    if found.is_empty() { Ok(None) } else { ProductKey::parse(&found).map(Some).ok_or_else(expected) }
}

fn zone(node: &Node) -> Result<Zone, Expected> {
    let expected = || Expected::from("\"system\" or an offset from \"-14:00\" to \"+14:00\" such as \"+08:00\"");
    let found = text(node).map_err(|_| expected())?;
    if found == "system" {
        return Ok(Zone::System);
    }
    let digits =
        |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i32>());
    let sign = match found.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(expected()),
    };
    let (hours, minutes) = found[1..].split_once(':').ok_or_else(expected)?;
    match (digits(hours), digits(minutes)) {
        (Some(Ok(hours)), Some(Ok(minutes))) if minutes < 60 && hours * 60 + minutes <= 14 * 60 => {
            Ok(Zone::Fixed(sign * (hours * 60 + minutes) * 60))
        }
        _ => Err(expected()),
    }
}

pub(super) fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn as_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

fn key_or_empty<S: Serializer>(key: &Option<ProductKey>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.as_ref().map_or("", ProductKey::as_str))
}

const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
const FORMATS: [(&str, LogFormat); 2] = [("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];
const LINKS: [(&str, LinkKind); 2] = [("gizwits-uart", LinkKind::GizwitsUart), ("jsonl", LinkKind::Jsonl)];
const POLICIES: [(&str, CommandPolicy); 5] = [
    ("last-writer", CommandPolicy::LastWriter),
    ("priority", CommandPolicy::Priority),
    ("local-first", CommandPolicy::LocalFirst),
    ("lock-out", CommandPolicy::LockOut),
    ("lease", CommandPolicy::Lease),
];
