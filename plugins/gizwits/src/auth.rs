//! Names and secrets of one device: [`Did`], [`Passcode`], [`Mac`]. What is kept of them, and when it is wiped, is
//! [`crate::identity`]'s affair.

use std::fmt;

use md5::{Digest, Md5};
use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::secret::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name that the cloud gave the device: 22 letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Did(String);

/// Why a text is no [`Did`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a DID has {LENGTH_OF_DID} letters and digits")]
pub struct NoDid;

impl Did {
    /// Reads it.
    ///
    /// # Errors
    /// It is not 22 ASCII letters and digits.
    pub fn parse(text: &str) -> Result<Self, NoDid> {
        let fits = text.len() == LENGTH_OF_DID && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if fits { Ok(Self(text.to_owned())) } else { Err(NoDid) }
    }

    /// Its characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Did {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The secret that the device shares with its cloud and its apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passcode(Secret<String>);

/// Why a text is no [`Passcode`]. It does not show the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a passcode has {SHORTEST_PASSCODE} to {LONGEST_PASSCODE} printable ASCII characters without spaces")]
pub struct NoPasscode;

impl Passcode {
    /// Makes one: base 62 of MD5 over a secret key and a counter. Who knows the key knows all passcodes; without it, one
    /// passcode tells nothing of another. Never use a counter twice with one key, or a wiped passcode comes back.
    ///
    /// The remainder of 128 bits divided by 62^10, which is below 2^60, prefers no passcode by more than 2^-68.
    #[must_use]
    pub fn generate(key: &Secret<[u8; 16]>, counter: u64) -> Self {
        let digest = Md5::new().chain_update(key.expose()).chain_update(counter.to_be_bytes()).finalize();
        let mut number = digest.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        let mut text = String::with_capacity(GENERATED_PASSCODE);
        for _ in 0..GENERATED_PASSCODE {
            text.push(char::from(DIGITS[(number % 62) as usize]));
            number /= 62;
        }
        Self(Secret::new(text))
    }

    /// Reads one that was stored.
    ///
    /// # Errors
    /// It cannot be a passcode.
    pub fn parse(text: &str) -> Result<Self, NoPasscode> {
        let fits = (SHORTEST_PASSCODE..=LONGEST_PASSCODE).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(Secret::new(text.to_owned())))
        } else {
            Err(NoPasscode)
        }
    }

    /// Shows it to who needs it: the cloud, and an app while the device may be bound.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether an app knows it. Takes the same time wherever the first difference is.
    #[must_use]
    pub fn matches(&self, offered: &[u8]) -> bool {
        let own = self.expose().as_bytes();
        let difference = own.iter().zip(offered).fold(0, |difference, (own, offered)| difference | (own ^ offered));
        own.len() == offered.len() && std::hint::black_box(difference) == 0
    }
}

impl Serialize for Passcode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Passcode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Secret::new(String::deserialize(deserializer)?);
        Self::parse(text.expose()).map_err(de::Error::custom)
    }
}

/// The address of the network interface; `Display` gives `02:00:5e:10:20:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

/// Why a text is no [`Mac`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a MAC address is 12 hex digits, or 6 pairs of them with `:` or `-` in between")]
pub struct NoMac;

impl Mac {
    /// Reads `02:00:5e:10:20:30`, the same with `-`, or `02005E102030`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Self, NoMac> {
        let pairs: Vec<&str> = match text.find([':', '-']) {
            Some(at) => text.split(&text[at..=at]).collect(),
            None if text.is_ascii() => (0..text.len()).step_by(2).filter_map(|at| text.get(at..at + 2)).collect(),
            None => return Err(NoMac),
        };
        if !matches!(text.len(), 12 | 17) || !pairs.iter().all(|pair| pair.len() == 2) {
            return Err(NoMac);
        }
        let bytes = hex::decode(&pairs.concat()).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(NoMac)
    }

    /// The form that the cloud takes: `02005E102030`.
    #[must_use]
    pub fn cloud_form(&self) -> String {
        hex::upper(&self.0)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Length of a DID (Gizwits GAgent product specification 0.9.5, chapter 8.1).
const LENGTH_OF_DID: usize = 22;
/// Length of the passcodes made here (the same, chapter 8.1).
const GENERATED_PASSCODE: usize = 10;
/// Shortest passcode (the same, chapter 7.2).
const SHORTEST_PASSCODE: usize = 10;
/// Longest passcode (the same, chapter 7.2).
const LONGEST_PASSCODE: usize = 32;
/// Characters of the passcodes made here. Not documented; chosen by us: no form or topic needs to escape them.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn generated(key: [u8; 16], counter: u64) -> Passcode {
        Passcode::generate(&Secret::new(key), counter)
    }

    #[test]
    fn a_did_has_22_letters_and_digits() {
        assert_eq!(Did::parse("AbCdEfGhIjKlMnOpQrStUv").unwrap().to_string(), "AbCdEfGhIjKlMnOpQrStUv");
        for text in
            ["", "AbCdEfGhIjKlMnOpQrStU", "AbCdEfGhIjKlMnOpQrStUvw", "AbCdEfGhIjKlMnOpQrStU/", "AbCdEfGhIjKlMnOpQrSté"]
        {
            assert_eq!(Did::parse(text), Err(NoDid), "{text}");
        }
    }

    #[test]
    fn key_and_counter_determine_the_passcode() {
        assert_eq!(generated([7; 16], 1), generated([7; 16], 1));
        assert_ne!(generated([7; 16], 1), generated([7; 16], 2));
        assert_ne!(generated([7; 16], 1), generated([8; 16], 1));
    }

    #[test]
    fn every_digit_turns_up_at_every_place_of_generated_passcodes() {
        let passcodes: Vec<_> = (0..2_000).map(|counter| generated([1; 16], counter)).collect();
        for place in 0..10 {
            let mut seen = [false; 128];
            passcodes.iter().for_each(|passcode| seen[usize::from(passcode.expose().as_bytes()[place])] = true);
            assert_eq!(seen.iter().filter(|seen| **seen).count(), 62, "place {place}");
        }
    }

    #[test]
    fn stored_passcodes_of_10_to_32_characters_are_taken() {
        for text in ["UFDGEMVYHT", "0123456789abcdefghijABCDEFGHIJ-_"] {
            assert_eq!(Passcode::parse(text).unwrap().expose(), text);
        }
        for text in ["", "UFDGEMVYH", "0123456789abcdefghijABCDEFGHIJ-_x", "UFDGE VYHT", "UFDGEMVYH\0", "UFDGEMVYHé"] {
            assert_eq!(Passcode::parse(text), Err(NoPasscode), "{text}");
        }
    }

    #[test]
    fn a_passcode_shows_itself_to_no_log() {
        assert_eq!(format!("{:?}", Passcode::parse("UFDGEMVYHT").unwrap()), "Passcode(<secret>)");
    }

    #[test]
    fn only_the_whole_passcode_matches() {
        let passcode = Passcode::parse("UFDGEMVYHT").unwrap();
        assert!(passcode.matches(b"UFDGEMVYHT"));
        for offered in [&b""[..], b"UFDGEMVYH", b"UFDGEMVYHTT", b"UFDGEMVYHt", b"ufdgemvyht"] {
            assert!(!passcode.matches(offered));
        }
    }

    #[test]
    fn a_mac_has_three_written_forms_and_two_that_we_write() {
        for text in ["02:00:5e:10:20:3F", "02-00-5E-10-20-3f", "02005e10203F"] {
            let mac = Mac::parse(text).unwrap();
            assert_eq!((mac.cloud_form().as_str(), mac.to_string().as_str()), ("02005E10203F", "02:00:5e:10:20:3f"));
        }
        for text in [
            "",
            "02:00:5e:10:20",
            "02:00:5e:10:20:3",
            "02:00-5e:10:20:3f",
            "02005e10203",
            "02005e10203F0",
            "+2005e10203F",
        ] {
            assert_eq!(Mac::parse(text), Err(NoMac), "{text}");
        }
    }

    proptest! {
        #[test]
        fn generated_passcodes_are_ten_letters_and_digits_and_can_be_stored(key: [u8; 16], counter: u64) {
            let passcode = generated(key, counter);
            prop_assert_eq!(passcode.expose().len(), 10);
            prop_assert!(passcode.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
            prop_assert_eq!(Passcode::parse(passcode.expose()), Ok(passcode));
        }

        #[test]
        fn no_text_can_panic_the_readers(text in "\\PC{0,40}") {
            let _ = (Did::parse(&text), Passcode::parse(&text), Mac::parse(&text));
        }

        #[test]
        fn every_mac_survives_both_forms(bytes: [u8; 6]) {
            let mac = Mac(bytes);
            prop_assert_eq!(Mac::parse(&mac.cloud_form()), Ok(mac));
            prop_assert_eq!(Mac::parse(&mac.to_string()), Ok(mac));
        }
    }
}
