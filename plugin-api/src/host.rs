//! [`Host`]: what the host implements for each plugin instance.

use abi_stable::std_types::{RBox, ROption, RSlice, RStr, RString, RVec, Tuple2};
use abi_stable::{StableAbi, sabi_trait};

use crate::extension::ExtensionRef;
use crate::report::Command;

/// Names a plugin instance in service calls. Unique within the process, never used again. 0: none.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u64);

/// How loud a log line is. Unknown values count as [`LogLevel::INFO`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogLevel(pub u8);

impl LogLevel {
    /// An operator should look at it.
    pub const ERROR: Self = Self(1);
    /// Odd, but handled.
    pub const WARN: Self = Self(2);
    /// A change of state.
    pub const INFO: Self = Self(3);
    /// For who debugs the plugin.
    pub const DEBUG: Self = Self(4);
    /// Every packet. Payloads are logged at this level only, secrets never.
    pub const TRACE: Self = Self(5);
}

/// Where an instance stands with its cloud. Unknown values count as [`StatusPhase::CONNECTING`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StatusPhase(pub u8);

impl StatusPhase {
    /// Not connected, and not trying at present.
    pub const OFFLINE: Self = Self(0);
    /// On the way.
    pub const CONNECTING: Self = Self(1);
    /// The cloud knows the device and can reach it.
    pub const ONLINE: Self = Self(2);
    /// Works no further until a person changes something; `text` says what.
    pub const ATTENTION: Self = Self(3);
}

/// What an operator is shown about an instance.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub phase: StatusPhase,
    /// One line for people; never a secret.
    pub text: RString,
    /// Named facts, such as `organization` or `qr`; never a secret. They replace those of the last status.
    pub facts: RVec<Tuple2<RString, RString>>,
}

/// Values of the `code` of service events that say no; each service's events use the same numbers.
pub struct HostRefusal;

impl HostRefusal {
    /// None of the others; the text says what.
    pub const OTHER: i64 = 0;
    /// The handle or token is not this instance's, or is closed.
    pub const UNKNOWN_HANDLE: i64 = 1;
    /// The instance has used up its quota of handles, requests or bytes.
    pub const QUOTA: i64 = 2;
    /// An argument is not acceptable; the text says which.
    pub const INVALID: i64 = 3;
    /// Host name not found, or no address for it.
    pub const RESOLVE: i64 = 4;
    /// Nobody answered in time.
    pub const TIMEOUT: i64 = 5;
    /// The other end refused the connection.
    pub const CONNECTION_REFUSED: i64 = 6;
    /// The connection broke.
    pub const CONNECTION_LOST: i64 = 7;
    /// TLS: no trust, or no common ground.
    pub const TLS: i64 = 8;
    /// The other end broke the protocol.
    pub const PROTOCOL: i64 = 9;
    /// The disk is full, read-only or broken.
    pub const STORAGE: i64 = 10;
    /// Closed at this instance's own request.
    pub const CLOSED: i64 = 11;
}

/// What the host does for one instance. Calls after the instance has ended do nothing.
#[sabi_trait]
pub trait Host: Send + Sync + Clone {
    /// `[any-thread]` Write a line to the host's log, under this instance's name.
    fn log(&self, level: LogLevel, message: RStr<'_>);

    /// `[any-thread]` Ask the device for something. Returns the ticket of the first command; the others have the
    /// following numbers. Each command has exactly one outcome, refused ones too.
    fn submit(&self, commands: RSlice<'_, Command>) -> u64;

    /// `[any-thread]` These reports are acknowledged by the cloud and need not come again. Unknown numbers are ignored.
    fn settle(&self, seqs: RSlice<'_, u64>);

    /// `[any-thread]` Tell operators where this instance stands.
    fn status(&self, status: Status);

    /// `[any-thread]` Ask for an event with source [`crate::event::WAKE`] and this token. Equal tokens that wait are
    /// delivered once.
    fn wake(&self, token: u64);

    /// `[any-thread]` A service table of the host; see [`crate::services`].
    #[sabi(last_prefix_field)]
    fn extension(&self, id: RStr<'_>) -> ROption<ExtensionRef>;
}

/// A host behind its table.
pub type HostBox = Host_TO<'static, RBox<()>>;

/// The same trait, for naming its methods.
pub use Host_trait as HostMethods;
