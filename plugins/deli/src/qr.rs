//! Texts of the QR codes by which the Deli app activates a device.

use crate::config::Dialect;

/// State of the device as the dynamic code tells it (Deli access document, bind and activate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No network.
    NoNetwork,
    /// Connected to the platform.
    Connected,
    /// The platform refused it, or cannot be reached.
    Failed,
    /// Bound to an organisation.
    Bound,
}

impl Access {
    const fn code(self) -> &'static str {
        match self {
            Self::NoNetwork => "-1",
            Self::Connected => "0",
            Self::Failed => "1",
            Self::Bound => "2",
        }
    }
}

/// The printed code, the same for all devices of a model. `connection` is `auto`, `ble`, `wifi` or `none`.
#[must_use]
pub fn printed(model: &str, connection: &str) -> String {
    // Here the parameter has a capital letter, on the dynamic code it has none: as printed in the access document.
    activation(&[("product", model), ("connType", connection)])
}

/// The code for the device's own screen.
#[must_use]
pub fn dynamic(
    dialect: Dialect,
    model: &str,
    device_id: &str,
    access: Access,
    error: &str,
    organisation: &str,
) -> String {
    let mut parameters =
        vec![("product", model), ("device", device_id), ("conntype", "auto"), ("status", access.code())];
    if !error.is_empty() {
        parameters.push(("error", error));
    }
    if !organisation.is_empty() {
        let name = match dialect {
            Dialect::V1_0 => "group",
            Dialect::V1_1 => "org_id",
        };
        parameters.push((name, organisation));
    }
    activation(&parameters)
}

/// An activation address with these parameters, in this order; values are percent-encoded.
#[must_use]
pub fn activation(parameters: &[(&str, &str)]) -> String {
    let mut url = String::from(BASE);
    for (name, value) in parameters {
        url.push('&');
        url.push_str(name);
        url.push('=');
        percent_encode(value, &mut url);
    }
    url
}

/// Keeps the unreserved characters of RFC 3986 2.3, encodes every other byte.
fn percent_encode(value: &str, out: &mut String) {
    use std::fmt::Write;
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes everything");
        }
    }
}

/// Start of every activation code, without a slash before `?` (Deli access document).
const BASE: &str = "http://qr.delicloud.com?from=device&action=activate";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_device_shows_its_organisation_under_the_name_of_the_dialect() {
        for (dialect, end) in [(Dialect::V1_0, "&group=1000"), (Dialect::V1_1, "&org_id=1000")] {
            let url = dynamic(dialect, "DL3785W", "DL3785W_1", Access::Bound, "", "1000");
            assert_eq!(url, format!("{BASE}&product=DL3785W&device=DL3785W_1&conntype=auto&status=2{end}"));
        }
    }

    #[test]
    fn a_failed_device_says_why() {
        let url = dynamic(Dialect::V1_0, "M", "M_1", Access::Failed, "refused & lost", "");
        assert!(url.ends_with("&status=1&error=refused%20%26%20lost"), "{url}");
    }
}
