//! The authentication exchange: the request, what its answer says, and the material of a session key.

use polylink_plugin_sdk::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{AuthType, Identity};
use crate::frame::{AUTH_DONE, code, integer, object, raw, text};

/// Payload of the authentication request.
#[must_use]
pub fn auth_request(identity: &Identity, auth_type: AuthType) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Request<'a> {
        #[serde(rename = "OpenID")]
        open_id: &'a str,
        #[serde(rename = "ProductID")]
        product_id: &'a str,
        #[serde(rename = "NodeEui")]
        node_eui: &'a str,
        #[serde(rename = "Type")]
        auth_type: u8,
    }
    let Identity { open_id, product_id, node_eui } = identity;
    raw(&Request { open_id, product_id, node_eui, auth_type: auth_type.number() })
}

/// What the platform said to an authentication request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthReply {
    /// The device may connect.
    Done {
        /// 32 hex digits, as they came.
        device_secret: Secret<String>,
        /// For an encrypted product; `None` if absent or of no use.
        session: Option<SessionMaterial>,
    },
    /// The platform is busy, or the code is not defined: try again after a backoff.
    Retry {
        /// The code.
        code: i64,
    },
    /// Somebody has to change the configuration, here or there.
    Fault(AuthFault),
    /// Not an answer that can be used: try again after a backoff.
    Unusable(UnusableReply),
}

/// A refusal that goes on until somebody changes something (Lierda MQTT access protocol, authentication codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFault {
    /// Code 2.
    #[error("the platform does not know the product: check open_id and product_id (code 2)")]
    UnknownProduct,
    /// Code 4.
    #[error("the platform has disabled the device, or node_eui is illegal (code 4)")]
    DeviceRefused,
    /// Code 5.
    #[error("auth_type does not match the product (code 5)")]
    WrongType,
    /// Code 6.
    #[error("the device is registered for another version of the protocol (code 6)")]
    WrongVersion,
}

/// Why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableReply {
    /// No object, or no code in it.
    #[error("the authentication reply has no `Code`")]
    NoCode,
    /// Success, but not the secret that belongs to it.
    #[error("the authentication reply has no `DeviceSecret` of 32 hex digits")]
    NoDeviceSecret,
}

/// Reads the payload of an authentication reply.
#[must_use]
pub fn parse_auth_reply(payload: &RawValue) -> AuthReply {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(rename = "DeviceSecret", borrow, default)]
        device_secret: Option<&'a RawValue>,
    }
    match code(payload) {
        Some(AUTH_DONE) => {
            let device_secret = object(payload).and_then(|members: Members<'_>| text(members.device_secret?));
            match device_secret.map(Secret::new).filter(|secret| Identity::key_ok(secret.expose())) {
                Some(device_secret) => AuthReply::Done { device_secret, session: SessionMaterial::parse(payload) },
                None => AuthReply::Unusable(UnusableReply::NoDeviceSecret),
            }
        }
        Some(2) => AuthReply::Fault(AuthFault::UnknownProduct),
        Some(4) => AuthReply::Fault(AuthFault::DeviceRefused),
        Some(5) => AuthReply::Fault(AuthFault::WrongType),
        Some(6) => AuthReply::Fault(AuthFault::WrongVersion),
        Some(code) => AuthReply::Retry { code },
        None => AuthReply::Unusable(UnusableReply::NoCode),
    }
}

/// What the session key is derived from; it comes with an authentication or as a new session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionMaterial {
    /// `SessionID`.
    pub session_id: String,
    /// `Nonce`.
    pub nonce: u64,
}

impl SessionMaterial {
    /// Reads `SessionID` and `Nonce` of a payload; `None` if one is missing or cannot be used.
    #[must_use]
    pub fn parse(payload: &RawValue) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(rename = "SessionID", borrow, default)]
            session_id: Option<&'a RawValue>,
            #[serde(rename = "Nonce", borrow, default)]
            nonce: Option<&'a RawValue>,
        }
        let members: Members<'_> = object(payload)?;
        let session_id = text(members.session_id?)?;
        let nonce = integer(members.nonce?)?;
        (!session_id.is_empty() && session_id.len() <= LONGEST_SESSION_ID).then_some(Self { session_id, nonce })
    }
}

/// Longest SessionID taken (not documented; chosen by us: it is stored, and samples have 8 characters).
const LONGEST_SESSION_ID: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "326086233FAB8A96566796551EB1DFF8";

    fn payload(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    fn check(json: &str, expected: AuthReply) {
        assert_eq!(parse_auth_reply(&payload(json)), expected, "{json}");
    }

    fn done(session: Option<(&str, u64)>) -> AuthReply {
        let session = session.map(|(session_id, nonce)| SessionMaterial { session_id: session_id.into(), nonce });
        AuthReply::Done { device_secret: Secret::new(SECRET.into()), session }
    }

    #[test]
    fn success_brings_the_secret_and_for_encrypted_products_a_session() {
        check(&format!(r#"{{"Code":0,"DeviceSecret":"{SECRET}"}}"#), done(None));
        let with = |session: &str| format!(r#"{{"Code":"0","DeviceSecret":"{SECRET}",{session}}}"#);
        check(&with(r#""SessionID":"4655434B","Nonce":128"#), done(Some(("4655434B", 128))));
        check(&with(r#""SessionID":"3788433","Nonce":"18446744073709551615""#), done(Some(("3788433", u64::MAX))));
        for session in [
            r#""SessionID":"4655434B""#,
            r#""Nonce":1"#,
            r#""SessionID":"","Nonce":1"#,
            r#""SessionID":4655434,"Nonce":1"#,
            r#""SessionID":"a","Nonce":-1"#,
            r#""SessionID":"a","Nonce":1.0"#,
            r#""SessionID":"a","Nonce":18446744073709551616"#,
            r#""SessionID":null,"Nonce":null"#,
        ] {
            check(&with(session), done(None));
        }
    }

    #[test]
    fn a_session_id_is_taken_up_to_a_size_that_can_be_stored() {
        let parse = |length| {
            let session_id = "A".repeat(length);
            SessionMaterial::parse(&payload(&format!(r#"{{"SessionID":"{session_id}","Nonce":1}}"#)))
        };
        assert!(parse(LONGEST_SESSION_ID).is_some());
        assert_eq!(parse(LONGEST_SESSION_ID + 1), None);
    }

    #[test]
    fn success_without_a_usable_secret_is_no_success() {
        for secret in ["null", "7", "\"\"", "\"FE448731\"", "{}"] {
            let unusable = AuthReply::Unusable(UnusableReply::NoDeviceSecret);
            check(&format!(r#"{{"Code":0,"DeviceSecret":{secret}}}"#), unusable);
        }
        check(r#"{"Code":0}"#, AuthReply::Unusable(UnusableReply::NoDeviceSecret));
    }

    #[test]
    fn each_code_of_the_table_asks_for_its_reaction() {
        for code in [1, 3, 7, 200, -1] {
            check(&format!(r#"{{"Code":{code}}}"#), AuthReply::Retry { code });
        }
        check(r#"{"Code":2}"#, AuthReply::Fault(AuthFault::UnknownProduct));
        check(r#"{"Code":"4"}"#, AuthReply::Fault(AuthFault::DeviceRefused));
        check(r#"{"Code":5}"#, AuthReply::Fault(AuthFault::WrongType));
        check(r#"{"Code":6}"#, AuthReply::Fault(AuthFault::WrongVersion));
        for json in ["{}", "[0]", "\"\"", "0", r#"{"Code":"zero"}"#, r#"{"Code":0.0}"#, r#"{"Code":null}"#] {
            check(json, AuthReply::Unusable(UnusableReply::NoCode));
        }
    }

    #[test]
    fn the_request_is_as_the_protocol_prints_it() {
        let identity =
            Identity { open_id: "E0C040B1".into(), product_id: "A4BC6002".into(), node_eui: "SOM0001".into() };
        assert_eq!(
            auth_request(&identity, AuthType::SecretPerProduct).get(),
            r#"{"OpenID":"E0C040B1","ProductID":"A4BC6002","NodeEui":"SOM0001","Type":0}"#
        );
    }

    #[test]
    fn a_reply_does_not_show_its_secret() {
        assert!(!format!("{:?}", done(None)).contains(SECRET));
    }

    proptest! {
        #[test]
        fn nothing_can_panic_the_readers(bytes: Vec<u8>, member in "\\PC{0,20}", number: i128) {
            for text in [String::from_utf8_lossy(&bytes).into_owned(), member] {
                let reply = serde_json::json!({ "Code": 0, "DeviceSecret": text, "SessionID": text, "Nonce": text });
                let _ = parse_auth_reply(&raw(&reply));
                if let Ok(payload) = RawValue::from_string(text) {
                    let _ = (parse_auth_reply(&payload), SessionMaterial::parse(&payload));
                }
            }
            let numbers = payload(&format!(r#"{{"Code":{number},"SessionID":"a","Nonce":{number}}}"#));
            let _ = parse_auth_reply(&numbers);
            let nonce = SessionMaterial::parse(&numbers).map(|material| material.nonce);
            prop_assert_eq!(nonce, u64::try_from(number).ok());
        }
    }
}
