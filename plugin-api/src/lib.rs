//! The binary interface between the Polylink host and its cloud plugins, and nothing else.
//!
//! Plugin authors use `polylink-plugin-sdk`, which wraps everything here in ordinary Rust; the host and the SDK are
//! the only users of this crate.
//!
//! # The contract
//!
//! * **Threads.** Functions marked `[plugin-thread]` are called by one thread at a time, never two at once, though not
//!   always by the same thread. They return promptly and never block. Functions marked `[any-thread]` may be called
//!   from any thread at any time, also from inside a `[plugin-thread]` call.
//! * **Time** is an argument: every call into a plugin carries [`Now`]. A plugin reads no clock.
//! * **Ownership.** Only values and ids cross. Borrowed arguments ([`abi_stable::std_types::RStr`], `RSlice`) live for
//!   the call. Who allocated memory frees it, which the `R*` types do by themselves.
//! * **Strings** are UTF-8. **Durations** are milliseconds. **Handles and tokens** are non-zero `u64`, unique within
//!   the process, and belong to the instance that got them; the host closes them when the instance stops or faults.
//! * **Panics** never cross: the SDK catches them in every entry and hands over a [`Fault`].
//! * **Growth.** [`PluginRoot`], [`Plugin`], [`Host`], [`Event`] and the types of [`value`] and [`report`] never change
//!   once released. New ability is a new table behind a new id, see [`extension`]. Integer kinds (`LogLevel`,
//!   `StatusPhase`, …) may gain constants; a receiver ignores what it does not know.
//!
//! Module map: [`root`] what the loader finds · [`plugin`] what a plugin implements · [`host`] what a host implements ·
//! [`value`], [`report`] what they exchange · [`event`] completions of services · [`services`] the tables · [`extension`]
//! how tables are found and checked.

// `#[sabi_trait]` of abi_stable 0.11 puts its impls into an anonymous const.
#![allow(non_local_definitions)]

pub mod event;
pub mod extension;
pub mod fault;
pub mod host;
pub mod plugin;
pub mod report;
pub mod root;
pub mod services;
pub mod time;
pub mod value;

pub use abi_stable;

pub use event::Event;
pub use extension::{Extension, ExtensionRef};
pub use fault::{Advice, Fault, FaultCode};
pub use host::{Host, HostBox, HostMethods, HostRefusal, InstanceId, LogLevel, Status, StatusPhase};
pub use plugin::{Plugin, PluginBox, PluginConfig, PluginMethods};
pub use report::{
    Cause, Command, CommandBody, CommandOutcome, DatapointId, Origin, OutcomeKind, Property, Report, ReportBody,
};
pub use root::{ABI_MARK_SYMBOL, ABI_VERSION, AbiMark, Descriptor, PluginRoot, PluginRootRef};
pub use time::{ClockQuality, Now, Timestamp, WallTime};
pub use value::Value;
