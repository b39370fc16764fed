//! `polylink.subdevices/1`: the devices behind this gateway, and wishes of the clouds that are passed on to the MCU.

use polylink_plugin_api::InstanceId;
use polylink_plugin_api::abi_stable::std_types::{RStr, RVec};
use polylink_plugin_api::services::Subdevices;
use polylink_plugin_api::services::subdevices::Subdevice;

use super::registry::with_instance;

/// The table.
pub(super) static TABLE: Subdevices = Subdevices { list, admit, accept, remove };

extern "C" fn list(id: InstanceId) -> RVec<Subdevice> {
    with_instance(id, RVec::new(), |instance| instance.subdevices.list().into())
}

extern "C" fn admit(id: InstanceId, product: RStr<'_>, address: RStr<'_>, seconds: u16) -> bool {
    with_instance(id, false, |instance| {
        instance.subdevices.admit(&instance.name, product.as_str(), address.as_str(), seconds)
    })
}

extern "C" fn accept(id: InstanceId, index: u32) -> bool {
    with_instance(id, false, |instance| instance.subdevices.accept(&instance.name, index))
}

extern "C" fn remove(id: InstanceId, index: u32) -> bool {
    with_instance(id, false, |instance| instance.subdevices.remove(&instance.name, index))
}
