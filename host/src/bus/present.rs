//! The present: the last value of each datapoint, and which of them an instance has not been given yet.
//!
//! A cloud that is away settles nothing, so its window fills and what the device says waits in the journal; but the same
//! plugin may show the present to somebody else, such as an application on the local network. [`Unseen`] is what it
//! lacks for that. Invariant: a datapoint is unseen exactly while the value that its instance was given last is not
//! [`Present`]'s. It holds ids and no values, so it never exceeds the number of datapoints.

use std::collections::{BTreeMap, BTreeSet};

use polylink_plugin_api::{Cause, DatapointId, Now, Origin, Property, Report, ReportBody, Value, WallTime};

/// The last values of the device and its subdevices.
#[derive(Debug, Default)]
pub(super) struct Present(BTreeMap<Key, (Value, WallTime)>);

/// The datapoints of which one instance does not know the last value.
#[derive(Debug, Default)]
pub(super) struct Unseen(BTreeSet<Key>);

/// Device and datapoint.
type Key = (u32, DatapointId);

impl Present {
    pub fn get(&self, device: u32, id: DatapointId) -> Option<(&Value, WallTime)> {
        self.0.get(&(device, id)).map(|(value, at)| (value, *at))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, DatapointId, &Value)> {
        self.0.iter().map(|(&(device, id), (value, _))| (device, id, value))
    }

    pub fn differs(&self, device: u32, one: &Property) -> bool {
        self.0.get(&(device, one.id)).is_none_or(|(value, _)| *value != one.value)
    }

    pub fn set(&mut self, device: u32, one: &Property, at: WallTime) {
        self.0.insert((device, one.id), (one.value.clone(), at));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Everything, a report for each device, as of now.
    pub fn snapshot(&self, now: Now) -> Vec<Report> {
        self.report(self.0.keys(), Cause::SNAPSHOT, |_| now.wall)
    }

    /// These datapoints, a report for each device, as of when the newest of them was said.
    fn report<'a>(
        &self,
        keys: impl Iterator<Item = &'a Key>,
        cause: Cause,
        at: impl Fn(WallTime) -> WallTime,
    ) -> Vec<Report> {
        let mut by_device: BTreeMap<u32, (WallTime, Vec<Property>)> = BTreeMap::new();
        for &(device, id) in keys {
            let Some((value, said_at)) = self.get(device, id) else { continue };
            let (newest, values) = by_device.entry(device).or_default();
            if newest.unix_ms < said_at.unix_ms {
                *newest = said_at;
            }
            values.push(Property { id, value: value.clone() });
        }
        let report = |(device, (newest, values)): (u32, (WallTime, Vec<Property>))| Report {
            seq: 0,
            at: at(newest),
            device,
            cause,
            origin: Origin::default(),
            body: ReportBody::Properties(values.into()),
        };
        by_device.into_iter().map(report).collect()
    }
}

impl Unseen {
    /// The device said a new value.
    pub fn said(&mut self, device: u32, id: DatapointId) {
        self.0.insert((device, id));
    }

    /// The instance was given this report: the present, or, if it waited, the past.
    pub fn given(&mut self, report: &Report, present: &Present) {
        let ReportBody::Properties(values) = &report.body else { return };
        for one in values {
            let key = (report.device, one.id);
            if present.differs(report.device, one) {
                self.0.insert(key);
            } else {
                self.0.remove(&key);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The instance is given all of it now.
    pub fn take(&mut self, present: &Present) -> Vec<Report> {
        let keys = std::mem::take(&mut self.0);
        present.report(keys.iter(), Cause::LIVE, |newest| newest)
    }
}
