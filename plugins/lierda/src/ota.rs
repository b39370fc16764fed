//! Firmware orders: what is taken, and what the host is told of it, which loads and installs. Pure functions.
//!
//! Invariant: an [`Order`] that exists passed every check. The acknowledgement comes before all of them and needs only
//! [`down_id`].

mod download;
mod settled;

use polylink_plugin_sdk::services::ota::ID_MAX;
use polylink_plugin_sdk::url::http_host;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::frame::{integer, object, text};

use download::is_md5;
pub use download::{DOWN_ID, DownIdIn, down_header, down_url, md5_digits, module_of};
pub use settled::Settled;

/// Name of the module that an order means when it names none (Lierda MQTT access protocol, version report).
pub const MAIN_MODULE: &str = "default";

/// From where firmware may come, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtaSettings {
    /// Hosts firmware may be loaded from; empty: any.
    pub allowed_hosts: Vec<String>,
    /// Largest firmware.
    pub max_bytes: u64,
    /// Refuse an order without a usable MD5.
    pub require_md5: bool,
}

/// An upgrade order that can be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// `SoftVer`: version of the firmware.
    pub version: String,
    /// `Url`: where it is.
    pub url: String,
    /// `SoftSize`: its bytes.
    pub size: u64,
    /// `MD5` in lower case; `None` only if the settings do not ask for one.
    pub md5: Option<String>,
    /// `DownID`: name of the order.
    pub down_id: String,
    /// `Module`: what it is for.
    pub module: String,
    /// `firmwareName`: only to be shown, never a path.
    pub file_name: Option<String>,
}

/// Why an order is acknowledged but not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No object, or nothing to acknowledge it with. Then nothing is sent at all.
    #[error("the order has no DownID")]
    NoDownId,
    /// Not over HTTP.
    #[error("the order is of another Type than 2 (HTTP)")]
    Type,
    /// No version.
    #[error("the order has no SoftVer of at most {LONGEST_NAME} bytes")]
    NoVersion,
    /// A module that cannot be one.
    #[error("the order has a Module that is no text of at most {LONGEST_NAME} bytes")]
    Module,
    /// Not an address that is loaded from.
    #[error("Url is not an http or https address of at most {LONGEST_URL} characters")]
    Address,
    /// Names that are too long for an update.
    #[error("Module and DownID have more than {ID_MAX} bytes together, as an address would write them")]
    Names,
    /// Not one of the hosts the settings allow.
    #[error("host `{0}` is not in ota_allowed_hosts")]
    Host(String),
    /// Nothing, or too much.
    #[error("SoftSize is not 1 to {most}, which is ota_max_bytes")]
    Size {
        /// The most that would be taken.
        most: u64,
    },
    /// No MD5 although the settings ask for one. The protocol's sample shows a number, which cannot hold one.
    #[error("MD5 is not a text of 32 hex digits, which ota_require_md5 asks for")]
    Md5,
}

/// What the acknowledgement of an order repeats; `None`: it cannot be acknowledged.
#[must_use]
pub fn down_id(payload: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(rename = "DownID", borrow, default)]
        down_id: Option<&'a RawValue>,
    }
    name(object::<Members<'_>>(payload)?.down_id)
}

impl Order {
    /// Reads and checks an order.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub fn parse(payload: &RawValue, settings: &OtaSettings) -> Result<Self, OrderError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Members<'a> {
            #[serde(borrow, default)]
            r#type: Option<&'a RawValue>,
            #[serde(borrow, default)]
            url: Option<&'a RawValue>,
            #[serde(borrow, default)]
            soft_ver: Option<&'a RawValue>,
            #[serde(borrow, default)]
            soft_size: Option<&'a RawValue>,
            #[serde(rename = "MD5", borrow, default)]
            md5: Option<&'a RawValue>,
            #[serde(borrow, default)]
            module: Option<&'a RawValue>,
            #[serde(rename = "firmwareName", borrow, default)]
            file_name: Option<&'a RawValue>,
        }
        let down_id = down_id(payload).ok_or(OrderError::NoDownId)?;
        let members: Members<'_> = object(payload).ok_or(OrderError::NoDownId)?;
        if members.r#type.and_then(integer) != Some(TYPE_HTTP) {
            return Err(OrderError::Type);
        }
        let module = match members.module {
            None => MAIN_MODULE.to_owned(),
            Some(raw) if text(raw).is_some_and(|module| module.is_empty()) => MAIN_MODULE.to_owned(),
            some => name(some).ok_or(OrderError::Module)?,
        };
        let order = Self {
            version: name(members.soft_ver).ok_or(OrderError::NoVersion)?,
            url: members.url.and_then(text).ok_or(OrderError::Address)?,
            size: members.soft_size.and_then(integer).ok_or(OrderError::Size { most: settings.max_bytes })?,
            md5: members.md5.and_then(md5_digits),
            down_id,
            module,
            file_name: name(members.file_name),
        };
        order.check(settings)?;
        Ok(order)
    }

    /// Reads what was stored where the host could install nothing: it was acknowledged, so the platform will not repeat it.
    /// `None` if it is damaged, or no longer what the settings allow.
    #[must_use]
    pub fn restore(stored: &[u8], settings: &OtaSettings) -> Option<Self> {
        let order: Self = serde_json::from_slice(stored).ok()?;
        let names_ok = [&order.version, &order.down_id, &order.module].into_iter().all(|name| name_ok(name));
        let md5_ok = order.md5.as_deref().is_none_or(is_md5);
        (names_ok && md5_ok && order.check(settings).is_ok()).then_some(order)
    }

    /// What depends on the settings, which may have changed since the order was stored.
    fn check(&self, settings: &OtaSettings) -> Result<(), OrderError> {
        let host = host_of(&self.url).ok_or(OrderError::Address)?;
        if !settings.allowed_hosts.is_empty()
            && !settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
        {
            return Err(OrderError::Host(host.to_owned()));
        }
        if self.size == 0 || self.size > settings.max_bytes {
            return Err(OrderError::Size { most: settings.max_bytes });
        }
        if settings.require_md5 && self.md5.is_none() {
            return Err(OrderError::Md5);
        }
        Ok(())
    }
}

/// True if the order brings something other than what is installed. Versions are only compared byte by byte, so an older
/// one is wanted too (Lierda MQTT access protocol, our reading: upgrade order).
#[must_use]
pub fn wanted(installed: &str, order: &Order) -> bool {
    installed != order.version
}

/// A text that names something; `None` if it is anything else, empty or too long.
fn name(raw: Option<&RawValue>) -> Option<String> {
    raw.and_then(text).filter(|text| name_ok(text))
}

fn name_ok(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME
}

/// Host of an http or https address, without port.
fn host_of(url: &str) -> Option<&str> {
    http_host(url, LONGEST_URL)
}

/// The only transport (Lierda MQTT access protocol, version report).
const TYPE_HTTP: u8 = 2;
/// Longest version, DownID, module and file name taken (not documented; chosen by us: they are stored).
const LONGEST_NAME: usize = 128;
/// Longest address taken (not documented; chosen by us).
const LONGEST_URL: usize = 2048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::frame::raw;

    const MD5: &str = "0CC175B9C0F1B6A831C399E269772661";

    fn settings() -> OtaSettings {
        OtaSettings { allowed_hosts: vec!["h".into()], max_bytes: 1000, require_md5: true }
    }

    fn order() -> Value {
        json!({ "Type": 2, "Url": "http://h/f", "SoftVer": "v2", "SoftSize": 1, "MD5": MD5, "DownID": "33367341" })
    }

    /// The usual order with one member changed, or left out if `Null`.
    fn check(member: &str, value: Value, expected: Result<(), OrderError>) {
        let mut order = order();
        match &value {
            Value::Null => drop(order.as_object_mut().unwrap().remove(member)),
            value => order[member] = value.clone(),
        }
        assert_eq!(Order::parse(&raw(&order), &settings()).map(|_| ()), expected, "{member} {value}");
    }

    #[test]
    fn an_order_becomes_what_it_says() {
        assert_eq!(
            Order::parse(&raw(&order()), &settings()),
            Ok(Order {
                version: "v2".into(),
                url: "http://h/f".into(),
                size: 1,
                md5: Some(MD5.to_ascii_lowercase()),
                down_id: "33367341".into(),
                module: "default".into(),
                file_name: None,
            })
        );
    }

    #[test]
    fn each_member_that_does_not_fit_is_named() {
        let size = || Err(OrderError::Size { most: 1000 });
        for value in [json!(null), json!(1), json!("http"), json!(2.5)] {
            check("Type", value, Err(OrderError::Type));
        }
        for value in [json!(null), json!(""), json!(2), json!("x".repeat(129))] {
            check("SoftVer", value, Err(OrderError::NoVersion));
        }
        for value in [json!(null), json!(""), json!("ftp://h/f"), json!("http://h@e/"), json!("http:///f"), json!(7)] {
            check("Url", value, Err(OrderError::Address));
        }
        check("Url", json!("https://E:1/f"), Err(OrderError::Host("E".into())));
        check("Url", json!("https://H:8443/f"), Ok(()));
        for value in [json!(null), json!(0), json!(-1), json!(1001), json!(1.0), json!("much"), json!(u64::MAX)] {
            check("SoftSize", value, size());
        }
        check("SoftSize", json!(1000), Ok(()));
        for value in [json!(null), json!(232_435_456), json!("0cc1"), json!("g".repeat(32)), json!(format!(" {MD5}"))] {
            check("MD5", value, Err(OrderError::Md5));
        }
        for value in [json!(1), json!([]), json!("x".repeat(129))] {
            check("Module", value, Err(OrderError::Module));
        }
        for value in [json!(""), json!("module1")] {
            check("Module", value, Ok(()));
        }
        for value in [json!("固件.bin"), json!("../../etc/passwd"), json!(1)] {
            check("firmwareName", value, Ok(()));
        }
    }

    #[test]
    fn an_order_that_is_refused_can_still_be_acknowledged() {
        assert_eq!(down_id(&raw(&json!({ "DownID": "33367341" }))), Some("33367341".into()));
        for payload in [json!(""), json!([]), json!({}), json!({ "DownID": "" }), json!({ "DownID": 7 })] {
            assert_eq!(down_id(&raw(&payload)), None, "{payload}");
            assert_eq!(Order::parse(&raw(&payload), &settings()), Err(OrderError::NoDownId), "{payload}");
        }
    }

    #[test]
    fn an_order_without_an_md5_is_taken_if_the_settings_allow_it() {
        let mut order = order();
        order["MD5"] = json!(232_435_456);
        let lax = OtaSettings { require_md5: false, ..settings() };
        assert_eq!(Order::parse(&raw(&order), &lax).map(|order| order.md5), Ok(None));
    }

    #[test]
    fn versions_are_compared_byte_by_byte() {
        let order = Order::parse(&raw(&order()), &settings()).unwrap();
        assert!(!wanted("v2", &order));
        for installed in ["v1", "v3", "V2", "v2 ", "v2.0", ""] {
            assert!(wanted(installed, &order), "{installed}");
        }
    }

    #[test]
    fn a_stored_order_comes_back_only_if_it_would_be_taken_today() {
        let order = Order::parse(&raw(&order()), &settings()).unwrap();
        let stored = |order: &Order| serde_json::to_vec(order).unwrap();
        assert_eq!(Order::restore(&stored(&order), &settings()), Some(order.clone()));
        let strict = OtaSettings { allowed_hosts: vec!["other".into()], ..settings() };
        assert_eq!(Order::restore(&stored(&order), &strict), None);
        for damage in [
            |order: &mut Order| order.version.clear(),
            |order: &mut Order| order.url.insert(0, ' '),
            |order: &mut Order| order.size = 0,
            |order: &mut Order| order.md5 = Some("0cc1".into()),
            |order: &mut Order| order.down_id = "x".repeat(129),
            |order: &mut Order| order.module.clear(),
        ] {
            let mut damaged = order.clone();
            damage(&mut damaged);
            assert_eq!(Order::restore(&stored(&damaged), &settings()), None, "{damaged:?}");
        }
    }

    proptest! {
        #[test]
        fn no_order_can_panic_its_reader(bytes: Vec<u8>, text in "\\PC{0,40}", url in "(https?://|[/?#&@:\\[\\]]|\\PC){0,12}") {
            let _ = (Order::restore(&bytes, &settings()), host_of(&url));
            for member in ["Type", "Url", "SoftVer", "SoftSize", "MD5", "DownID", "Module", "firmwareName"] {
                let mut order = order();
                order[member] = json!(text);
                let _ = Order::parse(&raw(&order), &settings());
            }
            if let Ok(payload) = RawValue::from_string(text) {
                let _ = (down_id(&payload), Order::parse(&payload, &settings()));
            }
        }
    }
}
