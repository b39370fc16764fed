//! How a device becomes one of the platform's: one request by HTTP, whose answer brings what the MQTT connection needs.
//!
//! Pure functions; when to register, and when to try again, is the session's affair.

mod answer;
mod login;

use polylink_plugin_sdk::url::percent_encoded;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::frame::raw;

pub use answer::{FaultReason, RegistrationOutcome, RetryReason, parse_answer};
pub use login::{Connection, LoginData, MissingMembers, Overrides};

/// Where a device registers (Clife access document 4.3.1.1).
pub const PATH: &str = "/device/register";

/// How a device proves who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub enum AuthLevel {
    /// 0, high: the platform knows the device and its own key.
    High = 0,
    /// 1, middle: a key for the product.
    Middle = 1,
    /// 2, basic: a key for the product.
    #[default]
    Basic = 2,
}

impl AuthLevel {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl TryFrom<u8> for AuthLevel {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::High),
            1 => Ok(Self::Middle),
            2 => Ok(Self::Basic),
            _ => Err(
                "expected 0 (high: dev_id and a key for the device), 1 (middle) or 2 (basic: a key for the product)",
            ),
        }
    }
}

/// What a device says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applicant<'a> {
    /// The product; needed for all levels but the high one.
    pub product_code: Option<&'a str>,
    /// The device; needed for the high level, and told only there.
    pub dev_id: Option<&'a str>,
    /// 12 hex digits.
    pub dev_mac: &'a str,
    /// Version of the whole product.
    pub product_ver: Option<i64>,
    /// Version of the firmware.
    pub software: Option<&'a str>,
    /// Version of the hardware.
    pub hardware: Option<&'a str>,
}

/// Where the request goes. `host` may have a port (Clife access document 4.3.1.1).
#[must_use]
pub fn url(
    scheme: &str,
    host: &str,
    path: &str,
    level: AuthLevel,
    product_code: Option<&str>,
    dev_id: Option<&str>,
) -> String {
    let mut url = format!("{scheme}://{host}{path}?authLevel={}", level.number());
    let dev_id = dev_id.filter(|_| level == AuthLevel::High);
    for (name, value) in [("productCode", product_code), ("devId", dev_id)] {
        if let Some(value) = value {
            url.push_str(&format!("&{name}={}", percent_encoded(value)));
        }
    }
    url
}

/// The body of the request before it is encrypted. The protocol names only some of its members; the others are our choice.
#[must_use]
pub fn request_body(level: AuthLevel, applicant: &Applicant<'_>) -> Box<RawValue> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        product_code: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dev_id: Option<&'a str>,
        dev_mac: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        product_ver: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        software: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hardware: Option<&'a str>,
    }
    let Applicant { product_code, dev_id, dev_mac, product_ver, software, hardware } = *applicant;
    let dev_id = dev_id.filter(|_| level == AuthLevel::High);
    raw(&Body { product_code, dev_id, dev_mac, product_ver, software, hardware })
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLICANT: Applicant<'_> = Applicant {
        product_code: Some("P&1"),
        dev_id: Some("D/1"),
        dev_mac: "AABBCCDDEEFF",
        product_ver: None,
        software: None,
        hardware: None,
    };

    #[track_caller]
    fn check(level: u8, applicant: Applicant<'_>, expected_url: &str, expected_body: &str) {
        let level = AuthLevel::try_from(level).unwrap();
        let url = url("https", "h:81", PATH, level, applicant.product_code, applicant.dev_id);
        assert_eq!(url, format!("https://h:81/device/register?{expected_url}"));
        assert_eq!(request_body(level, &applicant).get(), expected_body);
    }

    #[test]
    fn the_device_id_is_told_only_where_the_platform_knows_the_device() {
        check(
            0,
            APPLICANT,
            "authLevel=0&productCode=P%261&devId=D%2F1",
            r#"{"productCode":"P&1","devId":"D/1","devMac":"AABBCCDDEEFF"}"#,
        );
        for level in [1, 2] {
            let url = format!("authLevel={level}&productCode=P%261");
            check(level, APPLICANT, &url, r#"{"productCode":"P&1","devMac":"AABBCCDDEEFF"}"#);
        }
    }

    #[test]
    fn what_is_known_of_the_device_is_told_too() {
        let (product_ver, software, hardware) = (Some(2), Some("1.0.2.0"), Some("1.0"));
        check(
            0,
            Applicant { product_code: None, product_ver, software, hardware, ..APPLICANT },
            "authLevel=0&devId=D%2F1",
            r#"{"devId":"D/1","devMac":"AABBCCDDEEFF","productVer":2,"software":"1.0.2.0","hardware":"1.0"}"#,
        );
    }

    #[test]
    fn the_numbers_of_the_setting_are_those_of_the_wire() {
        for number in 0..=255 {
            let level = AuthLevel::try_from(number).map(AuthLevel::number);
            assert_eq!(level.ok(), (number < 3).then_some(number));
        }
    }
}
