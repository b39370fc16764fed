//! Which part of the device a number (`devNum`) is.
//!
//! The document has one number for each part, 0 for the module, and says no more of how they come about. Not documented; chosen
//! by us: one number for the MCU, and a row of them for the devices behind it, in the order in which the MCU numbers them.

use polylink_plugin_sdk::services::ota::Target;

/// The communication module (Clife access document 4.3.2.8).
pub const MODULE: u32 = 0;

/// The numbers of all parts but the module.
///
/// The MCU's is none of a subdevice's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevNums {
    mcu: u32,
    first_subdevice: u32,
}

impl DevNums {
    /// This one for the MCU; the subdevice with index 1 has that one, and the others follow. `None`: there is a number that
    /// two would have.
    #[must_use]
    pub fn new(mcu: u16, first_subdevice: u16) -> Option<Self> {
        let numbers = Self { mcu: mcu.into(), first_subdevice: first_subdevice.into() };
        let is_free = numbers.index_of(numbers.mcu).is_none();
        (mcu != 0 && first_subdevice != 0 && is_free).then_some(numbers)
    }

    /// This one for the MCU, which is not 0, and those after it for the subdevices.
    #[must_use]
    pub fn behind(mcu: u16) -> Option<Self> {
        let mcu = u32::from(mcu);
        (mcu != MODULE).then_some(Self { mcu, first_subdevice: mcu + 1 })
    }

    /// The MCU.
    #[must_use]
    pub const fn mcu(&self) -> u32 {
        self.mcu
    }

    /// The subdevice with this index, which is at least 1.
    #[must_use]
    pub const fn of_subdevice(&self, index: u32) -> u32 {
        self.first_subdevice.saturating_add(index.saturating_sub(1))
    }

    /// Whose firmware that is; `None`: there can be no such part.
    #[must_use]
    pub fn target(&self, dev_num: u32) -> Option<Target> {
        match dev_num {
            MODULE => Some(Target::Module),
            mcu if mcu == self.mcu => Some(Target::Mcu),
            other => self.index_of(other).map(Target::Subdevice),
        }
    }

    fn index_of(&self, dev_num: u32) -> Option<u32> {
        let index = dev_num.checked_sub(self.first_subdevice)? + 1;
        (index <= LAST_INDEX).then_some(index)
    }
}

impl Default for DevNums {
    fn default() -> Self {
        Self { mcu: 1, first_subdevice: 2 }
    }
}

/// The highest index of a subdevice (`polylink.subdevices/1`).
const LAST_INDEX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(numbers: Option<DevNums>, dev_num: u32, expected: Option<Target>) {
        let numbers = numbers.expect("these numbers are possible");
        assert_eq!(numbers.target(dev_num), expected, "{dev_num} of {numbers:?}");
        match expected {
            Some(Target::Subdevice(index)) => assert_eq!(numbers.of_subdevice(index), dev_num),
            Some(Target::Mcu) => assert_eq!(numbers.mcu(), dev_num),
            _ => {}
        }
    }

    #[test]
    fn each_number_is_one_part_or_none() {
        let sub = |index| Some(Target::Subdevice(index));
        let (next, apart) = (DevNums::behind(1), DevNums::new(200, 100));
        for (dev_num, behind_the_mcu, far_from_it) in [
            (0, Some(Target::Module), Some(Target::Module)),
            (1, Some(Target::Mcu), None),
            (2, sub(1), None),
            (65, sub(64), None),
            (66, None, None),
            (99, None, None),
            (100, None, sub(1)),
            (163, None, sub(64)),
            (164, None, None),
            (200, None, Some(Target::Mcu)),
            (u32::MAX, None, None),
        ] {
            check(next, dev_num, behind_the_mcu);
            check(apart, dev_num, far_from_it);
        }
        check(DevNums::behind(u16::MAX), 65_536, sub(1));
        check(DevNums::new(65, 1), 64, sub(64));
        assert_eq!(DevNums::behind(1), Some(DevNums::default()));
    }

    #[test]
    fn no_number_is_that_of_two_parts() {
        for (mcu, first_subdevice) in [(0, 1), (1, 0), (1, 1), (64, 1), (163, 100)] {
            assert_eq!(DevNums::new(mcu, first_subdevice), None, "{mcu} {first_subdevice}");
        }
        assert_eq!(DevNums::behind(0), None);
    }
}
