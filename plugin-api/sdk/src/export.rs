//! [`export_plugin!`](crate::export_plugin): makes a loadable library of a session.

use polylink_plugin_api::abi_stable::std_types::RResult;
use polylink_plugin_api::{Descriptor, Fault, HostBox, PluginBox, PluginConfig};

use crate::{Session, driver, guard};

/// What a plugin says of itself; see [`Descriptor`].
#[derive(Clone, Copy, Debug, Default)]
pub struct PluginInfo {
    /// Its name, as `[cloud.<name>] plugin = "…"` calls it: lower-case letters, digits, hyphens. The host looks for it in
    /// `lib<name>.so`, with `_` for `-`, first; a crate named like the plugin, or `polylink-` and that, gives this file.
    pub name: &'static str,
    /// Its version; usually `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// The cloud it speaks to, for people.
    pub cloud: &'static str,
    /// JSON Schema of its settings, with titles in English and Chinese; usually `include_str!` of a file.
    pub settings_schema: &'static str,
    /// Ids of the service tables without which it cannot start; constants are in [`crate::services::id`].
    pub services: &'static [&'static str],
    /// What it asks for beyond those, as a JSON object: `hosts`, `listen`, `store_bytes`.
    pub capabilities: &'static str,
}

/// Makes a loadable plugin of a [`Session`] and a constant [`PluginInfo`]. Once per library, at the root of the crate.
///
/// ```text
/// polylink_plugin_sdk::export_plugin!(session::MySession, INFO);
///
/// const INFO: PluginInfo = PluginInfo { name: "my-cloud", version: env!("CARGO_PKG_VERSION"), .. };
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($session:ty, $info:expr) => {
        const _: () = {
            const INFO_OF_THIS_PLUGIN: $crate::PluginInfo = $info;

            extern "C" fn describe() -> $crate::api::Descriptor {
                $crate::export::describe(&INFO_OF_THIS_PLUGIN)
            }

            extern "C" fn create(
                host: $crate::api::HostBox,
                config: $crate::api::PluginConfig,
            ) -> $crate::export::CreateResult {
                $crate::export::create::<$session>(&INFO_OF_THIS_PLUGIN, host, config)
            }

            $crate::api::export_root!(describe, create);
        };
    };
}

/// What the exported `create` returns.
pub type CreateResult = RResult<PluginBox, Fault>;

/// The body of the exported `describe`.
#[must_use]
pub fn describe(info: &PluginInfo) -> Descriptor {
    Descriptor {
        name: info.name.into(),
        version: info.version.into(),
        cloud: info.cloud.into(),
        build: BUILD.into(),
        settings_schema: info.settings_schema.into(),
        services: info.services.iter().map(|&id| id.into()).collect(),
        capabilities: info.capabilities.into(),
    }
}

/// The body of the exported `create`.
pub fn create<S: Session>(info: &PluginInfo, host: HostBox, config: PluginConfig) -> CreateResult {
    let instance = config.instance;
    let created = guard::run("create", || {
        guard::adopt(instance, &host);
        driver::create::<S>(host, config, info.services)
    });
    created.and_then(|created| created).inspect_err(|_| guard::release(instance)).into()
}

/// Compiler, target and profile of this build.
const BUILD: &str = env!("POLYLINK_SDK_BUILD");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_says_what_the_plugin_says_and_which_build_it_is() {
        let info = PluginInfo { name: "lamp", services: &["a/1", "b/2"], ..PluginInfo::default() };
        let descriptor = describe(&info);
        assert_eq!(descriptor.name, "lamp");
        assert_eq!(descriptor.services.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["a/1", "b/2"]);
        assert_eq!(descriptor.build.split(", ").count(), 3, "{}", descriptor.build);
        assert!(descriptor.build.starts_with("rustc 1."), "{}", descriptor.build);
    }
}
