//! Subdevices on the line: what an MCU tells of the devices behind it, and what it is asked. The MCU numbers them; a link
//! passes on what it hears piece by piece, and [`crate::module::subdevices`] puts it together.

use std::fmt;

use polylink_plugin_api::services::subdevices::{ADDRESS_MAX, PRODUCT_MAX, Radio, SUBDEVICES_MAX, VERSION_MAX};

/// What an MCU tells of one subdevice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubdeviceNews {
    /// It is there, and this of it is so.
    Told(u32, SubdeviceChange),
    /// It is no longer there.
    Gone(u32),
}

/// What was said of a subdevice; what was not said stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubdeviceChange {
    /// Its product.
    pub product: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// How it talks to the MCU.
    pub radio: Option<Radio>,
    /// Whether it belongs to the gateway.
    pub accepted: Option<bool>,
    /// Whether the MCU can reach it.
    pub online: Option<bool>,
    /// Its signal.
    pub signal_percent: Option<u8>,
    /// Version of its firmware.
    pub version: Option<String>,
}

/// What an MCU is asked of its subdevices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubdeviceRequest {
    /// Let one join.
    Admit {
        /// Its product.
        product: String,
        /// Its address; empty: any.
        address: String,
        /// For so long.
        seconds: u16,
    },
    /// This one belongs to the gateway.
    Accept(u32),
    /// This one no longer does.
    Remove(u32),
}

/// Why news of a subdevice are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubdeviceError {
    /// Its number is none.
    #[error("a subdevice has a number from 1 to {SUBDEVICES_MAX}, not {0}")]
    Index(u32),
    /// A text is longer than others are promised.
    #[error("{what} of subdevice {index} has {n} bytes, at most {most} are kept")]
    TooLong {
        /// Of which.
        index: u32,
        /// Which text.
        what: &'static str,
        /// How long it is.
        n: usize,
        /// How long it may be.
        most: usize,
    },
    /// The signal is no percentage.
    #[error("the signal of subdevice {0} is {1} percent")]
    Signal(u32, u8),
}

impl SubdeviceNews {
    /// Whether it keeps to the bounds of `polylink.subdevices/1`. A text that is too long is not cut: a part of an address
    /// would name another device.
    ///
    /// # Errors
    /// The first bound that it does not keep.
    pub fn check(&self) -> Result<(), SubdeviceError> {
        let (Self::Told(index, _) | Self::Gone(index)) = self;
        let index = *index;
        if !(1..=SUBDEVICES_MAX).contains(&index) {
            return Err(SubdeviceError::Index(index));
        }
        let Self::Told(_, change) = self else { return Ok(()) };
        let texts = [
            ("the product", &change.product, PRODUCT_MAX),
            ("the address", &change.address, ADDRESS_MAX),
            ("the version", &change.version, VERSION_MAX),
        ];
        for (what, text, most) in texts {
            let n = text.as_ref().map_or(0, String::len);
            if n > most {
                return Err(SubdeviceError::TooLong { index, what, n, most });
            }
        }
        match change.signal_percent {
            Some(percent) if percent > 100 => Err(SubdeviceError::Signal(index, percent)),
            _ => Ok(()),
        }
    }
}

/// The way to talk to a gateway that has this name; any other word is [`Radio::OTHER`].
#[must_use]
pub fn radio(name: &str) -> Radio {
    let known = RADIOS.iter().find(|(_, known)| *known == name);
    known.map_or(Radio::OTHER, |(radio, _)| *radio)
}

/// Its name.
#[must_use]
pub fn radio_name(radio: Radio) -> &'static str {
    RADIOS.iter().find(|(known, _)| *known == radio).map_or("other", |(_, name)| *name)
}

const RADIOS: [(Radio, &str); 4] =
    [(Radio::WIFI, "wifi"), (Radio::ZIGBEE, "zigbee"), (Radio::BLUETOOTH, "bluetooth"), (Radio::SUB_GHZ, "subghz")];

impl fmt::Display for SubdeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admit { product, address, .. } if address.is_empty() => {
                write!(f, "let one of `{}` join", product.escape_debug())
            }
            Self::Admit { product, address, .. } => {
                write!(f, "let `{}` of `{}` join", address.escape_debug(), product.escape_debug())
            }
            Self::Accept(index) => write!(f, "accept subdevice {index}"),
            Self::Remove(index) => write!(f, "remove subdevice {index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(index: u32, change: SubdeviceChange, refusal: Option<&str>) {
        let found = SubdeviceNews::Told(index, change).check().map_err(|error| error.to_string());
        assert_eq!(found.err().as_deref(), refusal);
    }

    #[test]
    fn news_within_the_bounds_are_taken_and_others_say_which_bound_it_is() {
        let text = |n| Some("a".repeat(n));
        let change = SubdeviceChange::default;
        let most = SubdeviceChange {
            product: text(64),
            address: text(64),
            signal_percent: Some(100),
            version: text(32),
            ..change()
        };
        check(64, most, None);
        check(0, change(), Some("a subdevice has a number from 1 to 64, not 0"));
        check(65, change(), Some("a subdevice has a number from 1 to 64, not 65"));
        let product = "the product of subdevice 3 has 65 bytes, at most 64 are kept";
        check(3, SubdeviceChange { product: text(65), ..change() }, Some(product));
        let address = "the address of subdevice 3 has 65 bytes, at most 64 are kept";
        check(3, SubdeviceChange { address: text(65), ..change() }, Some(address));
        let version = "the version of subdevice 3 has 33 bytes, at most 32 are kept";
        check(3, SubdeviceChange { version: text(33), ..change() }, Some(version));
        let signal = SubdeviceChange { signal_percent: Some(101), ..change() };
        check(3, signal, Some("the signal of subdevice 3 is 101 percent"));
        assert_eq!(SubdeviceNews::Gone(65).check(), Err(SubdeviceError::Index(65)));
    }
}
