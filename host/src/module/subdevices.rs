//! The subdevices of this gateway, as its MCU tells them. Pure, and in memory only: the MCU says them again when it is
//! asked who it is (docs/decisions/0015).

use std::collections::BTreeMap;

use polylink_plugin_api::services::subdevices::Subdevice;

use crate::mcu::subdevices::SubdeviceNews;

/// All that are known. At most [`polylink_plugin_api::services::subdevices::SUBDEVICES_MAX`], because indexes go no higher.
#[derive(Debug, Default)]
pub struct Subdevices {
    known: BTreeMap<u32, Subdevice>,
}

impl Subdevices {
    /// The MCU said something of one. True: something is different now.
    pub fn take(&mut self, news: SubdeviceNews) -> bool {
        if news.check().is_err() {
            return false;
        }
        let (index, change) = match news {
            SubdeviceNews::Gone(index) => return self.known.remove(&index).is_some(),
            SubdeviceNews::Told(index, change) => (index, change),
        };
        let before = self.known.get(&index);
        let mut now = before.cloned().unwrap_or_else(|| Subdevice { index, ..Subdevice::default() });
        put(&mut now.product, change.product.map(Into::into));
        put(&mut now.address, change.address.map(Into::into));
        put(&mut now.radio, change.radio);
        put(&mut now.accepted, change.accepted);
        put(&mut now.online, change.online);
        put(&mut now.signal_percent, change.signal_percent.map(|percent| Some(percent).into()));
        put(&mut now.version, change.version.map(Into::into));
        let is_different = before != Some(&now);
        self.known.insert(index, now);
        is_different
    }

    /// The MCU fell silent: whether it reaches any of them is not known. True: something is different now.
    pub fn mcu_silent(&mut self) -> bool {
        let reached = self.known.values_mut().filter(|subdevice| subdevice.online);
        reached.map(|subdevice| subdevice.online = false).count() > 0
    }

    /// Whether there is one with this index.
    #[must_use]
    pub fn has(&self, index: u32) -> bool {
        self.known.contains_key(&index)
    }

    /// All of them by their index. One that cannot be reached has no signal.
    #[must_use]
    pub fn list(&self) -> Vec<Subdevice> {
        let shown = |subdevice: &Subdevice| {
            let signal_percent = subdevice.signal_percent.into_option().filter(|_| subdevice.online).into();
            Subdevice { signal_percent, ..subdevice.clone() }
        };
        self.known.values().map(shown).collect()
    }
}

fn put<T>(place: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *place = said;
    }
}

#[cfg(test)]
mod tests {
    use polylink_plugin_api::services::subdevices::Radio;

    use super::*;
    use crate::mcu::subdevices::SubdeviceChange;

    fn told(index: u32, change: SubdeviceChange) -> SubdeviceNews {
        SubdeviceNews::Told(index, change)
    }

    fn online() -> SubdeviceChange {
        SubdeviceChange { online: Some(true), ..SubdeviceChange::default() }
    }

    #[test]
    fn what_is_said_later_replaces_what_is_given_and_the_rest_stays() {
        let mut subdevices = Subdevices::default();
        let first = SubdeviceChange {
            product: Some("ABCDEF".to_owned()),
            address: Some("0011".to_owned()),
            radio: Some(Radio::ZIGBEE),
            signal_percent: Some(80),
            version: Some("1.2".to_owned()),
            ..online()
        };
        assert!(subdevices.take(told(3, first.clone())));
        assert!(!subdevices.take(told(3, first)), "it was so already");
        let later =
            SubdeviceChange { accepted: Some(true), version: Some("1.3".to_owned()), ..SubdeviceChange::default() };
        assert!(subdevices.take(told(3, later)));
        let expected = Subdevice {
            index: 3,
            product: "ABCDEF".into(),
            address: "0011".into(),
            radio: Radio::ZIGBEE,
            accepted: true,
            online: true,
            signal_percent: Some(80).into(),
            version: "1.3".into(),
        };
        assert_eq!(subdevices.list(), [expected]);
    }

    #[test]
    fn one_that_is_gone_takes_with_it_what_was_known_of_it() {
        let mut subdevices = Subdevices::default();
        subdevices.take(told(3, SubdeviceChange { version: Some("1.2".to_owned()), ..online() }));
        assert!(subdevices.take(SubdeviceNews::Gone(3)));
        assert!(!subdevices.take(SubdeviceNews::Gone(3)));
        assert!(!subdevices.has(3));
        assert!(subdevices.take(told(3, SubdeviceChange::default())), "that it is there is news");
        assert_eq!(subdevices.list(), [Subdevice { index: 3, ..Subdevice::default() }]);
    }

    #[test]
    fn while_the_mcu_is_silent_it_reaches_none_of_them_and_none_has_a_signal() {
        let mut subdevices = Subdevices::default();
        subdevices.take(told(1, SubdeviceChange { signal_percent: Some(50), accepted: Some(true), ..online() }));
        assert!(subdevices.mcu_silent());
        assert!(!subdevices.mcu_silent());
        assert_eq!(subdevices.list(), [Subdevice { index: 1, accepted: true, ..Subdevice::default() }]);
        subdevices.take(told(1, online()));
        assert_eq!(subdevices.list()[0].signal_percent, Some(50).into());
    }

    #[test]
    fn no_more_are_kept_than_there_are_indexes() {
        let mut subdevices = Subdevices::default();
        let taken = (0..1000).filter(|index| subdevices.take(told(*index, online()))).count();
        assert_eq!((taken, subdevices.list().len(), subdevices.has(0)), (64, 64, false));
    }
}
