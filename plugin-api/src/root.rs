//! What the loader finds in a plugin's file.

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RString, RVec};

use crate::fault::Fault;
use crate::host::HostBox;
use crate::plugin::{PluginBox, PluginConfig};

/// Version of the core ABI: the number that host and plugin compare first. It is a number of its own, not the version
/// of this crate. While it is 0, every release may change it; 1 is frozen.
pub const ABI_VERSION: u32 = 0;

/// Name of the exported [`AbiMark`], which the loader reads before anything else.
pub const ABI_MARK_SYMBOL: &str = "POLYLINK_PLUGIN_ABI";

/// A plain C symbol in each plugin: enough to refuse it with one clear sentence. Its layout never changes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbiMark {
    /// [`AbiMark::MAGIC`].
    pub magic: [u8; 8],
    /// [`ABI_VERSION`] of the plugin.
    pub abi_version: u32,
    /// Bytes of a pointer on the plugin's machine.
    pub pointer_width: u32,
}

impl AbiMark {
    /// First bytes of the mark.
    pub const MAGIC: [u8; 8] = *b"POLYLINK";
    /// The mark of this build.
    pub const CURRENT: Self =
        Self { magic: Self::MAGIC, abi_version: ABI_VERSION, pointer_width: size_of::<*const ()>() as u32 };
}

/// What a plugin says of itself. Plain data; making it needs no configuration and has no side effect.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The plugin's name, as `[cloud.<name>] plugin = "…"` calls it: lower-case letters, digits, hyphens.
    pub name: RString,
    /// The plugin's version.
    pub version: RString,
    /// The cloud it speaks to, for people.
    pub cloud: RString,
    /// Which build this is (compiler, target, profile), for people.
    pub build: RString,
    /// JSON Schema of `[cloud.<name>.settings]` (subset in docs/ABI.md), with titles in English and Chinese.
    pub settings_schema: RString,
    /// Ids of the service tables without which it cannot start.
    pub services: RVec<RString>,
    /// What it asks for beyond those, as a JSON object: `hosts`, `listen`, `store_bytes`.
    pub capabilities: RString,
}

/// The root module. Frozen.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRootRef)))]
#[sabi(missing_field(panic))]
pub struct PluginRoot {
    /// `[any-thread]` What this plugin is.
    pub describe: extern "C" fn() -> Descriptor,
    /// `[any-thread]` Makes an instance. Does no I/O; asks nothing of the host yet but tables, log lines, and what the
    /// tables know at once (stored values, facts of the module, interfaces).
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(HostBox, PluginConfig) -> RResult<PluginBox, Fault>,
}

impl RootModule for PluginRootRef {
    abi_stable::declare_root_module_statics! {PluginRootRef}
    const BASE_NAME: &'static str = "polylink_plugin";
    const NAME: &'static str = "polylink_plugin";
    const VERSION_STRINGS: VersionStrings = VersionStrings::new("0.1.0");
}

/// Exports a [`PluginRoot`] made of two `extern "C"` functions. The SDK's `export_plugin!` calls it.
#[macro_export]
macro_rules! export_root {
    ($describe:path, $create:path) => {
        #[unsafe(no_mangle)]
        #[doc(hidden)]
        pub static POLYLINK_PLUGIN_ABI: $crate::AbiMark = $crate::AbiMark::CURRENT;

        /// Where abi_stable's loader looks; `loader_name_is_the_one_the_macro_exports` holds the name.
        #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
        #[doc(hidden)]
        pub static POLYLINK_PLUGIN_HEADER: $crate::abi_stable::library::LibHeader = {
            extern "C" fn module() -> $crate::abi_stable::library::RootModuleResult {
                $crate::abi_stable::library::__call_root_module_loader(root)
            }
            fn root() -> $crate::PluginRootRef {
                use $crate::abi_stable::prefix_type::PrefixTypeTrait;
                $crate::PluginRoot { describe: $describe, create: $create }.leak_into_prefix()
            }
            // SAFETY: `module` returns a `PluginRootRef`, the type named here.
            unsafe {
                $crate::abi_stable::library::LibHeader::from_constructor::<$crate::PluginRootRef>(
                    module,
                    $crate::abi_stable::library::CheckTypeLayout::Yes,
                )
            }
        };
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn loader_name_is_the_one_the_macro_exports() {
        assert_eq!(abi_stable::library::ROOT_MODULE_LOADER_NAME, "_1as_0lib_1header_0root_bmodule_bloader");
    }
}
