//! `polylink.module/1`: facts of the module, and wishes of the clouds that the rest of the host decides on.

use polylink_plugin_api::InstanceId;
use polylink_plugin_api::abi_stable::std_types::RStr;
use polylink_plugin_api::services::Module;
use polylink_plugin_api::services::module::Facts;

use super::registry::with_instance;

/// The table.
pub(super) static TABLE: Module =
    Module { facts, request_restart, offer_time, applications, join_network, end_production_test, third_party_cloud };

extern "C" fn facts(id: InstanceId) -> Facts {
    with_instance(id, Facts::default(), |instance| instance.module.facts())
}

extern "C" fn request_restart(id: InstanceId, reason: RStr<'_>) -> bool {
    with_instance(id, false, |instance| instance.module.request_restart(&instance.name, reason.as_str()))
}

extern "C" fn offer_time(id: InstanceId, unix_ms: i64) {
    with_instance(id, (), |instance| instance.module.offer_time(&instance.name, unix_ms));
}

extern "C" fn applications(id: InstanceId, count: u32) {
    with_instance(id, (), |instance| instance.module.applications(&instance.name, count));
}

extern "C" fn join_network(id: InstanceId, ssid: RStr<'_>, password: RStr<'_>) -> bool {
    with_instance(id, false, |instance| instance.module.join_network(&instance.name, ssid.as_str(), password.as_str()))
}

extern "C" fn end_production_test(id: InstanceId) -> bool {
    with_instance(id, false, |instance| instance.module.end_production_test(&instance.name))
}

extern "C" fn third_party_cloud(id: InstanceId, name: RStr<'_>, parameters: RStr<'_>) {
    with_instance(id, (), |instance| {
        instance.module.third_party_cloud(&instance.name, name.as_str(), parameters.as_str());
    });
}
