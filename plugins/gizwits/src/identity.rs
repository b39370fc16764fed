//! [`Identity`]: what the device keeps over a restart, and the three ways in which parts of it are wiped.
//!
//! Pure; when it is stored, and whether the cloud is told about a wiped DID, is left to the session. Network name and
//! password are the host's: it forgets them itself on a reset.

use serde::{Deserialize, Serialize};

use crate::api::{Kind, ThirdParty};
use crate::auth::{Did, Mac, Passcode};

/// Under which key of the store it lies.
pub const STORE_KEY: &str = "identity";

/// What the device keeps over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name at the cloud; `None` before the registration.
    pub did: Option<Did>,
    /// The secret it shares with the cloud and its apps.
    pub passcode: Passcode,
    /// The product that it was registered as.
    pub product_key: String,
    /// The hardware address that it was registered with; `None`: no interface had one yet.
    pub mac: Option<Mac>,
    /// Ids of the firmware that was loaded, of both kinds.
    pub fids: Fids,
    /// Release date of the module's firmware as the cloud told it, `yymmddhh`; `None`: it never did.
    pub firmware_version: Option<String>,
    /// A further cloud that the product belongs to.
    pub third_party: Option<ThirdParty>,
}

/// Ids of firmware (OTA scheme 4.0). 0: never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fids {
    /// Of the module.
    pub module: u32,
    /// Of the MCU.
    pub mcu: u32,
}

/// What has to be given back to the cloud after a wipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// The DID that was wiped.
    pub did: Did,
    /// The passcode that belongs to it.
    pub passcode: Passcode,
}

/// Why what was stored is no identity. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Not our JSON.
    #[error("the stored identity is damaged near line {line}, column {column}; the device registers anew")]
    Json {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// Written by a later release.
    #[error("the stored identity has version {0}, and this release reads version {VERSION}; the device registers anew")]
    Version(u32),
    /// A member that no cloud would take.
    #[error("{0} in the stored identity is not usable; the device registers anew")]
    Member(&'static str),
}

impl Identity {
    /// The identity of a device that was never registered.
    #[must_use]
    pub fn new(product_key: &str, passcode: Passcode) -> Self {
        Self {
            did: None,
            passcode,
            product_key: product_key.to_owned(),
            mac: None,
            fids: Fids::default(),
            firmware_version: None,
            third_party: None,
        }
    }

    /// Reads what was stored. On an error the caller starts with a new identity.
    ///
    /// # Errors
    /// It is damaged, or of another release.
    pub fn restore(stored: &[u8]) -> Result<Self, Damaged> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        // The words of the parser may quote a passcode, so only the place is kept.
        let damaged = |error: serde_json::Error| Damaged::Json { line: error.line(), column: error.column() };
        let Version { version } = serde_json::from_slice(stored).map_err(damaged)?;
        if version != VERSION {
            return Err(Damaged::Version(version));
        }
        let identity: Self = serde_json::from_slice(stored).map_err(damaged)?;
        let key = &identity.product_key;
        if key.is_empty() || key.len() > LONGEST_PRODUCT_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Damaged::Member("product_key"));
        }
        if identity.firmware_version.as_deref().is_some_and(|version| !is_firmware_version(version)) {
            return Err(Damaged::Member("firmware_version"));
        }
        Ok(identity)
    }

    /// What is to be stored.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Stored<'a> {
            version: u32,
            #[serde(flatten)]
            identity: &'a Identity,
        }
        serde_json::to_vec(&Stored { version: VERSION, identity: self }).expect("it has text keys only")
    }

    /// The MCU asked for a reset (Gizwits GAgent product specification 0.9.5, 7.7): everything that ties the device to
    /// its user goes. The firmware ids stay, since the firmware does. Answers what is to be unregistered.
    pub fn reset(&mut self, passcode: Passcode) -> Option<Former> {
        self.third_party = None;
        self.replace_credentials(passcode)
    }

    /// The MCU names another product (the same, 7.8): what belongs to the former one goes. The same product changes
    /// nothing. Answers what is to be unregistered.
    pub fn product_key_changed(&mut self, product_key: &str, passcode: Passcode) -> Option<Former> {
        if product_key == self.product_key {
            return None;
        }
        product_key.clone_into(&mut self.product_key);
        self.fids = Fids::default();
        self.firmware_version = None;
        self.third_party = None;
        self.replace_credentials(passcode)
    }

    /// The cloud does not know the device any more (HTTP code 9016, CONNACK code 4; the same, 8.4 and 8.9): it registers
    /// anew and gives nothing back, which would fail with a wrong passcode. The passcode stays, since bound apps know it
    /// (not documented; chosen by us).
    pub fn forget_did(&mut self) {
        self.did = None;
    }

    fn replace_credentials(&mut self, passcode: Passcode) -> Option<Former> {
        let passcode = std::mem::replace(&mut self.passcode, passcode);
        self.did.take().map(|did| Former { did, passcode })
    }
}

impl Fids {
    /// The id of this kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Module => self.module,
            Kind::Mcu => self.mcu,
        }
    }

    /// Sets the id of this kind.
    pub const fn set(&mut self, kind: Kind, fid: u32) {
        match kind {
            Kind::Module => self.module = fid,
            Kind::Mcu => self.mcu = fid,
        }
    }
}

/// Whether this is a release date: 8 characters (Gizwits GAgent product specification 0.9.5, 2.2.3).
#[must_use]
pub fn is_firmware_version(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Form of the stored JSON; another number is another form.
const VERSION: u32 = 1;
/// Product keys have 32 characters; ones that are made up for tests may have others.
const LONGEST_PRODUCT_KEY: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn did() -> Did {
        Did::parse("AbCdEfGhIjKlMnOpQrStUv").unwrap()
    }

    fn passcode(text: &str) -> Passcode {
        Passcode::parse(text).unwrap()
    }

    /// Every member differs from that of a new identity.
    fn full() -> Identity {
        Identity {
            did: Some(did()),
            passcode: passcode("UFDGEMVYHT"),
            product_key: "6f3074fe43894547a4f1314bd7e3ae0b".into(),
            mac: Some(Mac([2, 0, 0x5E, 0x10, 0x20, 0x30])),
            fids: Fids { module: 3, mcu: 4 },
            firmware_version: Some("14112521".into()),
            third_party: Some(ThirdParty { name: "jd".into(), parameters: "product_uuid=ABCDEF".into() }),
        }
    }

    fn former() -> Option<Former> {
        Some(Former { did: did(), passcode: passcode("UFDGEMVYHT") })
    }

    #[test]
    fn a_reset_wipes_all_but_the_device_its_product_and_its_firmware() {
        let mut identity = full();
        assert_eq!(identity.reset(passcode("0123456789")), former());
        let expected = Identity {
            did: None,
            passcode: passcode("0123456789"),
            product_key: full().product_key,
            mac: full().mac,
            fids: full().fids,
            firmware_version: full().firmware_version,
            third_party: None,
        };
        assert_eq!(identity, expected);
    }

    #[test]
    fn another_product_wipes_credentials_firmware_and_the_third_party() {
        let mut identity = full();
        assert_eq!(identity.product_key_changed("other", passcode("0123456789")), former());
        let expected = Identity {
            did: None,
            passcode: passcode("0123456789"),
            product_key: "other".into(),
            mac: full().mac,
            fids: Fids::default(),
            firmware_version: None,
            third_party: None,
        };
        assert_eq!(identity, expected);
    }

    #[test]
    fn the_same_product_wipes_nothing() {
        let mut identity = full();
        assert_eq!(identity.product_key_changed(&full().product_key, passcode("0123456789")), None);
        assert_eq!(identity, full());
    }

    #[test]
    fn a_device_that_the_cloud_does_not_know_loses_its_did_and_nothing_else() {
        let mut identity = full();
        identity.forget_did();
        assert_eq!(identity, Identity { did: None, ..full() });
    }

    #[test]
    fn a_device_that_was_never_registered_has_nothing_to_give_back() {
        let mut identity = Identity { did: None, ..full() };
        assert_eq!(identity.reset(passcode("0123456789")), None);
        assert_eq!(identity.product_key_changed("other", passcode("9876543210")), None);
    }

    #[test]
    fn what_is_stored_comes_back() {
        for identity in [full(), Identity::new("pk", passcode("0123456789"))] {
            assert_eq!(Identity::restore(&identity.to_stored()), Ok(identity));
        }
    }

    #[test]
    fn what_was_stored_before_can_be_read_for_ever() {
        let stored = br#"{"version":1,"did":"AbCdEfGhIjKlMnOpQrStUv","passcode":"UFDGEMVYHT",
            "product_key":"6f3074fe43894547a4f1314bd7e3ae0b","mac":"02:00:5e:10:20:30","fids":{"module":3,"mcu":4},
            "firmware_version":"14112521","third_party":{"name":"jd","parameters":"product_uuid=ABCDEF"}}"#;
        assert_eq!(Identity::restore(stored), Ok(full()));
    }

    #[track_caller]
    fn check_damaged(from: &str, to: &str, expected: &str) {
        let stored = String::from_utf8(full().to_stored()).unwrap();
        assert!(stored.contains(from), "{stored}");
        let error = Identity::restore(stored.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("UFDG"), "{error}");
    }

    #[test]
    fn what_is_damaged_is_refused_without_showing_secrets() {
        check_damaged(r#""version":1"#, r#""version":2"#, "has version 2, and this release reads version 1");
        check_damaged(r#""version":1,"#, "", "is damaged near line 1");
        check_damaged("AbCdEf", "", "is damaged near line 1");
        check_damaged(r#""UFDGEMVYHT""#, r#"["UFDGEMVYHT"]"#, "is damaged near line 1");
        check_damaged(r#""module":3"#, r#""module":"UFDGEMVYHT""#, "is damaged near line 1");
        check_damaged("EMVYHT", "", "is damaged near line 1");
        check_damaged("14112521", "1411", "firmware_version in the stored identity is not usable");
        check_damaged("6f3074fe43894547a4f1314bd7e3ae0b", "", "product_key in the stored identity is not usable");
        check_damaged("}", "", "is damaged near line 1");
    }

    proptest! {
        #[test]
        fn no_stored_bytes_can_panic_the_reader(stored: Vec<u8>, at in 0..400_usize, byte: u8) {
            let _ = Identity::restore(&stored);
            let mut stored = full().to_stored();
            if let Some(place) = stored.get_mut(at) {
                *place = byte;
            }
            let _ = Identity::restore(&stored);
        }
    }
}
