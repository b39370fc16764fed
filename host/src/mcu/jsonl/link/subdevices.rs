//! Which subdevices the MCU has told of, and whether it told of them again since it last said who it is.

use polylink_plugin_api::Timestamp;
use polylink_plugin_api::services::subdevices::SUBDEVICES_MAX;

use crate::mcu::subdevices::SubdeviceNews;

/// A bit for each subdevice.
#[derive(Debug, Default)]
pub(super) struct Known {
    told: u64,
    /// Those of `told` that were told since the last `hello`.
    again: u64,
    /// When the others are gone; none: nothing is awaited.
    until: Option<Timestamp>,
}

impl Known {
    /// Whether the MCU has told of it.
    pub(super) const fn has(&self, index: u32) -> bool {
        self.told & bit(index) != 0
    }

    /// The MCU said something of one, within the bounds.
    pub(super) const fn note(&mut self, news: &SubdeviceNews) {
        match news {
            SubdeviceNews::Told(index, _) => {
                self.told |= bit(*index);
                self.again |= bit(*index);
            }
            SubdeviceNews::Gone(index) => self.told &= !bit(*index),
        }
    }

    /// The MCU said who it is, and has to tell of all of them again.
    pub(super) fn begin_again(&mut self, at: Timestamp) {
        self.again = 0;
        self.until = (self.told != 0).then(|| at.after(SAY_AGAIN_MS));
    }

    /// The line is gone: the MCU will be asked anew.
    pub(super) const fn closed(&mut self) {
        self.until = None;
    }

    /// When [`Known::not_said_again`] is wanted.
    pub(super) const fn next_timeout(&self) -> Option<Timestamp> {
        self.until
    }

    /// Those that were not told of again in time; they are forgotten.
    pub(super) fn not_said_again(&mut self, at: Timestamp) -> Vec<u32> {
        if self.until.is_none_or(|until| until > at) {
            return Vec::new();
        }
        self.until = None;
        let gone = self.told & !self.again;
        self.told &= self.again;
        (1..=SUBDEVICES_MAX).filter(|index| gone & bit(*index) != 0).collect()
    }
}

const fn bit(index: u32) -> u64 {
    match index {
        1..=SUBDEVICES_MAX => 1 << (index - 1),
        _ => 0,
    }
}

const _: () = assert!(SUBDEVICES_MAX <= u64::BITS, "one bit for each");

/// After `hello` an MCU has so long to tell of its subdevices again (JSON lines, "Subdevices").
const SAY_AGAIN_MS: u64 = 10_000;
