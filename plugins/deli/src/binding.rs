//! The bond between the device and an organisation: what of it is remembered, and when local data must go.
//!
//! Invariant: the platform wins. The device keeps only the organisation's id, and compares it with what the platform
//! says (action 102, notice 203); carrying out a wipe is left to the session.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::message::{identifier, integer, said};

/// What follows from comparing the remembered organisation with the reported one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// Local business data must be wiped.
    pub wipe: bool,
    /// What to remember from now on; empty: unbound.
    pub organisation: String,
}

/// The table of wipe rules; `cached` is `None` if the organisation was never known, an empty text means unbound
/// (Deli access document 102 and 203, the table is our reading of it).
#[must_use]
pub fn reconcile(cached: Option<&str>, reported: &str) -> Reconciled {
    let wipe = cached.is_some_and(|cached| cached != reported);
    Reconciled { wipe, organisation: reported.to_owned() }
}

/// The answer to 102, in both dialects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceRecord {
    /// False: the platform has locked the device.
    pub unlocked: bool,
    /// Organisation; empty: unbound.
    pub organisation: String,
    /// Newest firmware the platform knows for this model.
    pub product_version: Option<String>,
    /// Seconds of the last access; 0: none before.
    pub last_access: Option<i64>,
    /// Name by which the platform knows the device.
    pub name: Option<String>,
}

impl DeviceRecord {
    /// Reads the content of an answer to 102.
    #[must_use]
    pub fn parse(data: &RawValue) -> Option<Self> {
        let members: RecordMembers<'_> = serde_json::from_str(data.get()).ok()?;
        let of_object = members.organization.filter(|raw| raw.get().starts_with('{')).and_then(|raw| {
            let members: OrganisationMembers<'_> = serde_json::from_str(raw.get()).ok()?;
            Some(members.id())
        });
        let organisation = of_object.filter(|id| !id.is_empty()).unwrap_or_else(|| {
            [members.group_id, members.org_id].into_iter().map(identifier).find(|id| !id.is_empty()).unwrap_or_default()
        });
        Some(Self {
            unlocked: members.status.and_then(integer) != Some(LOCKED),
            organisation,
            product_version: said(members.product_version),
            last_access: members.last_access.and_then(integer),
            name: said(members.name),
        })
    }
}

/// A bind notice: of an organisation (203) or of an application (204).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindNotice {
    /// Organisation or application.
    pub id: String,
    /// True: bound; false: unbound.
    pub bound: bool,
}

impl BindNotice {
    /// Reads notice 203: `group_id` (text 1.0) or `org_id` (text 1.1). `None` if it cannot be used.
    #[must_use]
    pub fn of_organisation(data: &RawValue) -> Option<Self> {
        let members: NoticeMembers<'_> = serde_json::from_str(data.get()).ok()?;
        Self::new(&members, [members.org_id, members.group_id])
    }

    /// Reads notice 204: `service_id` (text 1.0) or `app_id` (text 1.1). `None` if it cannot be used.
    #[must_use]
    pub fn of_application(data: &RawValue) -> Option<Self> {
        let members: NoticeMembers<'_> = serde_json::from_str(data.get()).ok()?;
        Self::new(&members, [members.app_id, members.service_id]).filter(|notice| !notice.id.is_empty())
    }

    fn new(members: &NoticeMembers<'_>, ids: [Option<&RawValue>; 2]) -> Option<Self> {
        let id = ids.into_iter().map(identifier).find(|id| !id.is_empty()).unwrap_or_default();
        match members.status.and_then(integer)? {
            0 => Some(Self { id, bound: false }),
            1 if !id.is_empty() => Some(Self { id, bound: true }),
            _ => None,
        }
    }

    /// The organisation to compare with the remembered one; empty: unbound.
    #[must_use]
    pub fn reported(&self) -> &str {
        if self.bound { &self.id } else { "" }
    }
}

/// A login notice (205). Name, phone number and token are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: String,
    /// How it went.
    pub state: LoginState,
    /// Until when the authorisation holds, Unix milliseconds.
    pub expires_ms: Option<i64>,
}

/// How a login stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginState {
    /// Scanned, the user has not confirmed yet.
    Waiting,
    /// Confirmed.
    Authorised,
    /// Anything else.
    Failed,
}

impl Login {
    /// Reads notice 205. `None` if it cannot be used.
    #[must_use]
    pub fn parse(data: &RawValue) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow, default)]
            status: Option<&'a RawValue>,
            #[serde(borrow, default)]
            user_id: Option<&'a RawValue>,
            #[serde(borrow, default)]
            expire: Option<&'a RawValue>,
        }
        if !data.get().starts_with('{') {
            return None;
        }
        let members: Members<'_> = serde_json::from_str(data.get()).ok()?;
        let state = match members.status.and_then(integer)? {
            0 => LoginState::Waiting,
            1 => LoginState::Authorised,
            _ => LoginState::Failed,
        };
        let expires_ms = members
            .expire
            .and_then(integer)
            .map(|expire| if expire > LARGEST_SECONDS { expire } else { expire.saturating_mul(1000) });
        Some(Self { user: identifier(members.user_id), state, expires_ms })
    }
}

#[derive(Deserialize)]
struct RecordMembers<'a> {
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    group_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    org_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    organization: Option<&'a RawValue>,
    #[serde(borrow, default)]
    product_version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    last_access: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OrganisationMembers<'a> {
    #[serde(borrow, default)]
    org_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    group_id: Option<&'a RawValue>,
}

impl OrganisationMembers<'_> {
    fn id(&self) -> String {
        [self.org_id, self.group_id].into_iter().map(identifier).find(|id| !id.is_empty()).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct NoticeMembers<'a> {
    #[serde(borrow, default)]
    group_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    org_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    app_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

/// `status` of a locked device (Deli access document, 102).
const LOCKED: i64 = 0;
/// `expire` above this is in milliseconds: text 1.1 says seconds, the vendor's PPT document milliseconds (not
/// documented; chosen by us).
const LARGEST_SECONDS: i64 = 100_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn check(record: &str, organisation: &str) {
        assert_eq!(DeviceRecord::parse(&raw(record)).unwrap().organisation, organisation, "{record}");
    }

    #[test]
    fn both_dialects_name_the_organisation() {
        check(r#"{"code":0,"status":1,"group_id":512345678901234567}"#, "512345678901234567");
        check(r#"{"code":0,"group_id":"1000"}"#, "1000");
        check(r#"{"code":0,"organization":{"org_id":"77","name":"n","admin":{"user_id":"1"}}}"#, "77");
        check(r#"{"code":0,"group_id":"","organization":{}}"#, "");
        check(r#"{"code":0,"group_id":null}"#, "");
        check(r#"{"code":0}"#, "");
    }

    #[test]
    fn only_status_0_locks() {
        for (status, unlocked) in [("0", false), ("\"0\"", false), ("1", true), ("null", true), ("\"?\"", true)] {
            let record = DeviceRecord::parse(&raw(&format!(r#"{{"status":{status}}}"#))).unwrap();
            assert_eq!(record.unlocked, unlocked, "{status}");
        }
    }

    #[test]
    fn a_bind_notice_without_an_organisation_or_status_is_of_no_use() {
        for notice in [r#"{"status":1}"#, r#"{"group_id":5}"#, r#"{"group_id":5,"status":2}"#, "[]", "7"] {
            assert_eq!(BindNotice::of_organisation(&raw(notice)), None, "{notice}");
        }
        assert_eq!(BindNotice::of_organisation(&raw(r#"{"status":"0"}"#)).unwrap().reported(), "");
        assert_eq!(BindNotice::of_application(&raw(r#"{"status":0}"#)), None);
    }

    #[test]
    fn a_login_tells_seconds_from_milliseconds_by_size() {
        for (expire, expires_ms) in [("1502867086", 1_502_867_086_000), ("\"1502867086000\"", 1_502_867_086_000)] {
            let login = Login::parse(&raw(&format!(r#"{{"status":1,"user_id":9,"expire":{expire}}}"#))).unwrap();
            assert_eq!((login.user.as_str(), login.expires_ms), ("9", Some(expires_ms)));
        }
    }

    proptest! {
        #[test]
        fn no_json_can_panic_the_readers(text in "[\\[\\]{}:,\"a-z0-9_]{0,60}") {
            if let Ok(raw) = RawValue::from_string(text) {
                let _ = (DeviceRecord::parse(&raw), BindNotice::of_organisation(&raw), BindNotice::of_application(&raw), Login::parse(&raw));
            }
        }
    }
}
