//! [`Views`]: what the device and its subdevices look like, as far as they have said.

use std::collections::BTreeMap;

use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{DatapointId, Value};

/// The device and its subdevices, by their index.
#[derive(Clone, Debug, Default)]
pub struct Views {
    devices: BTreeMap<u32, View>,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Values of its properties.
    pub values: BTreeMap<DatapointId, Value>,
    /// The last bytes of its own that it said.
    pub raw: Option<Vec<u8>>,
}

impl Views {
    /// What a device looks like; nothing is known of one that has not spoken.
    #[must_use]
    pub fn of(&self, device: u32) -> &View {
        self.devices.get(&device).unwrap_or(&UNKNOWN)
    }

    /// A device has these values now. The host bounds how many devices there are.
    pub fn merge(&mut self, device: u32, values: &Values) {
        let view = self.devices.entry(device).or_default();
        view.values.extend(values.iter().cloned());
    }

    /// A device said these bytes.
    pub fn said(&mut self, device: u32, bytes: &[u8]) {
        self.devices.entry(device).or_default().raw = Some(bytes.to_vec());
    }

    /// A device is to look as another set of views says.
    pub fn copy(&mut self, device: u32, from: &Self) {
        self.devices.insert(device, from.of(device).clone());
    }

    /// A device also has the values that another set of views knows and this one does not.
    pub fn fill(&mut self, device: u32, from: &Self) {
        let view = self.devices.entry(device).or_default();
        for (id, value) in &from.of(device).values {
            view.values.entry(*id).or_insert_with(|| value.clone());
        }
    }

    /// Another device may get this index.
    pub fn forget(&mut self, device: u32) {
        self.devices.remove(&device);
    }
}

static UNKNOWN: View = View { values: BTreeMap::new(), raw: None };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_keeps_what_it_said_last_of_each_datapoint() {
        let mut views = Views::default();
        let (a, b) = (DatapointId(0), DatapointId(1));
        views.merge(0, &vec![(a, Value::Int(1)), (b, Value::Int(2))]);
        views.merge(0, &vec![(a, Value::Int(3))]);
        views.merge(4, &vec![(a, Value::Int(9))]);
        assert_eq!(views.of(0).values, BTreeMap::from([(a, Value::Int(3)), (b, Value::Int(2))]));
        assert_eq!(views.of(4).values.len(), 1);
        let mut others = Views::default();
        others.merge(0, &vec![(a, Value::Int(7))]);
        others.fill(0, &views);
        assert_eq!(others.of(0).values, BTreeMap::from([(a, Value::Int(7)), (b, Value::Int(2))]));
        views.forget(4);
        assert_eq!(*views.of(4), View::default());
    }
}
