//! `polylink.module/1`: passes questions and wishes on to the host's [`ModuleHooks`](super::ModuleHooks).

use polylink_plugin_api::InstanceId;
use polylink_plugin_api::abi_stable::std_types::RStr;
use polylink_plugin_api::services::Module;
use polylink_plugin_api::services::module::Facts;

use super::registry;

/// The table.
pub static TABLE: Module = Module { facts, request_restart, offer_time, applications };

extern "C" fn facts(id: InstanceId) -> Facts {
    registry::find(id).map(|instance| instance.module.facts()).unwrap_or_default()
}

extern "C" fn request_restart(id: InstanceId, reason: RStr<'_>) -> bool {
    registry::find(id).is_some_and(|instance| instance.module.request_restart(&instance.name, reason.as_str()))
}

extern "C" fn offer_time(id: InstanceId, unix_ms: i64) {
    if let Some(instance) = registry::find(id) {
        instance.module.offer_time(&instance.name, unix_ms);
    }
}

extern "C" fn applications(id: InstanceId, count: u32) {
    if let Some(instance) = registry::find(id) {
        instance.module.applications(&instance.name, count);
    }
}
