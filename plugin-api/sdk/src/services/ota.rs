//! New firmware; see [`polylink_plugin_api::services::ota`].

pub use polylink_plugin_api::services::ota::{DIGESTS_MAX, HEADERS_MAX, ID_MAX, UPDATES_MAX, URL_MAX, VERSION_MAX};

/// What a session asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The cloud offers an update.
    Offer(Box<Offer>),
    /// The cloud takes this one back.
    Cancel(String),
    /// The cloud knows how this one ended.
    Acknowledge(String),
}

/// What the service says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The updates of this instance are now these, in the order in which they were offered.
    Changed(Vec<Update>),
}

/// What a cloud offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The cloud's own id of it, or what takes its place.
    pub id: String,
    /// Whose firmware it is.
    pub target: Target,
    /// The version that it brings.
    pub version: String,
    /// Where it is: `http://` or `https://`.
    pub url: String,
    /// Headers of the request, `Name: value`.
    pub headers: Vec<String>,
    /// Its size in bytes; 0: not told.
    pub size: u64,
    /// Digests, all of which must be right.
    pub digests: Vec<Digest>,
    /// Not to begin before this moment, Unix milliseconds; 0: at once.
    pub not_before_ms: i64,
    /// Begins at a random moment within so many milliseconds after that.
    pub spread_ms: u64,
    /// Not to begin after this moment, Unix milliseconds; 0: no limit.
    pub not_after_ms: i64,
}

/// Whose firmware it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// This module's.
    #[default]
    Module,
    /// The MCU's.
    Mcu,
    /// That of the subdevice with this index.
    Subdevice(u32),
}

/// A digest of the whole image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// MD5.
    Md5([u8; 16]),
    /// SHA-256.
    Sha256([u8; 32]),
    /// CRC-32 as in zip files (ISO HDLC).
    Crc32(u32),
    /// CRC-32 with the initial value 0 and without a final xor.
    Crc32Plain(u32),
    /// Sum of all bytes modulo 2^32.
    ByteSum(u32),
}

/// An update as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// As it was offered.
    pub id: String,
    /// As it was offered.
    pub target: Target,
    /// As it was offered.
    pub version: String,
    /// How far it is.
    pub phase: Phase,
    /// Percent of the phase, 0 to 100.
    pub percent: u8,
    /// Why it failed, for people; empty if it did not.
    pub reason: String,
}

/// How far an update is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Its time has not come, or another update is under way.
    #[default]
    Waiting,
    /// It is being loaded.
    Downloading,
    /// It is loaded and right, and is being installed; also while the module restarts and proves that it works.
    Installing,
    /// The new firmware runs.
    Finished,
    /// The old firmware goes on.
    Failed(Failure),
}

/// Why an update failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failure {
    /// For another reason.
    #[default]
    Other,
    /// This device cannot install such firmware at all.
    Unsupported,
    /// The owner's rules forbid it.
    Policy,
    /// It could not be loaded.
    Download,
    /// It is not what was promised.
    Digest,
    /// It is too large.
    Space,
    /// It could not be installed, or did not start.
    Install,
    /// The cloud took it back.
    Cancelled,
    /// Its time was over before it could begin.
    TooLate,
}

impl Failure {
    /// The same for people, where the host does not say more.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unsupported => "this device cannot install it",
            Self::Policy => "the owner's rules forbid it",
            Self::Download => "it could not be loaded",
            Self::Digest => "it is not what was promised",
            Self::Space => "it is too large",
            Self::Install => "it could not be installed",
            Self::TooLate => "its time was over",
            Self::Cancelled | Self::Other => "it failed",
        }
    }
}

impl Phase {
    /// True if nothing will change any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Failed(_))
    }
}
