//! [`Plugin`]: what a plugin implements, and what it is given.

use abi_stable::std_types::{RBox, ROption, RResult, RSlice, RStr, RString};
use abi_stable::{StableAbi, sabi_trait};

use crate::event::Event;
use crate::extension::ExtensionRef;
use crate::fault::Fault;
use crate::host::InstanceId;
use crate::report::{CommandOutcome, Report};
use crate::time::{Now, Timestamp};

/// What one instance of a plugin is made of.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct PluginConfig {
    /// Names this instance in every service call.
    pub instance: InstanceId,
    /// The name of the `[cloud.<name>]` section, for messages.
    pub name: RString,
    /// The `[cloud.<name>.settings]` table as one JSON object; secrets are already resolved in it.
    pub settings: RString,
    /// The product's thing model, with this cloud's own names applied, as one JSON object (docs/ABI.md, "Product
    /// document").
    pub product: RString,
    /// Fresh bytes of the system's random source.
    pub seed: [u8; 32],
}

/// One running use of a cloud. Made by [`crate::PluginRoot::create`], dropped by the host on any thread.
///
/// Order of calls: `start` once; then any of the others; `stop` once, after which only the drop follows. After a
/// [`Fault`] only the drop follows. `next_timeout` is asked after each call; `timeout` is called at or soon after that
/// time, so a plugin needs no timer.
#[sabi_trait]
pub trait Plugin: Send {
    /// `[plugin-thread]` Begin to work.
    fn start(&mut self, now: Now) -> RResult<(), Fault>;

    /// `[plugin-thread]` What the device said, oldest first, at most 64 at a time. Reports that are not settled come again
    /// after a restart. While 256 are not settled no more come: they wait in the host's journal.
    fn reports(&mut self, now: Now, batch: RSlice<'_, Report>) -> RResult<(), Fault>;

    /// `[plugin-thread]` What became of submitted commands.
    fn outcomes(&mut self, now: Now, batch: RSlice<'_, CommandOutcome>) -> RResult<(), Fault>;

    /// `[plugin-thread]` A service completed a call, or has news.
    fn event(&mut self, now: Now, event: Event<'_>) -> RResult<(), Fault>;

    /// `[plugin-thread]` The time given by `next_timeout` has come. May be called a little early or without need.
    fn timeout(&mut self, now: Now) -> RResult<(), Fault>;

    /// `[plugin-thread]` When `timeout` is wanted next; none: never.
    fn next_timeout(&self) -> ROption<Timestamp>;

    /// `[plugin-thread]` Say good-bye to the cloud. What was asked of services here is carried out for a short while
    /// (host setting `stop_grace_ms`) before the handles are closed.
    fn stop(&mut self, now: Now) -> RResult<(), Fault>;

    /// `[plugin-thread]` What this plugin can do besides.
    #[sabi(last_prefix_field)]
    fn extension(&self, id: RStr<'_>) -> ROption<ExtensionRef>;
}

/// A plugin behind its table.
pub type PluginBox = Plugin_TO<'static, RBox<()>>;

/// The same trait, for naming its methods.
pub use Plugin_trait as PluginMethods;
