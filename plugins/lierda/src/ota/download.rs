//! What the host is told to load: the address to ask, and what the right bytes are.

use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::services::ota::{Digest, ID_MAX, Offer, Target, URL_MAX};
use polylink_plugin_sdk::url::percent_encoded;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Order, OrderError};
use crate::frame::text;

/// Name of the query parameter and of the header that tell the server which order a download belongs to.
pub const DOWN_ID: &str = "DownID";

/// How the server learns which order a download belongs to. The chapter that says so is missing from the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DownIdIn {
    /// As a query parameter.
    #[default]
    Query,
    /// As a header.
    Header,
    /// Not at all.
    None,
}

impl Order {
    /// Id of the update that carries this out: module and DownID, so that nothing has to be stored to know whose it was.
    #[must_use]
    pub fn update_id(&self) -> String {
        format!("{}/{}", self.module, percent_encoded(&self.down_id))
    }

    /// What the host is to install.
    ///
    /// # Errors
    /// Address or names are too long for the host.
    pub fn offer(&self, target: Target, place: DownIdIn) -> Result<Offer, OrderError> {
        let id = self.update_id();
        if id.len() > ID_MAX {
            return Err(OrderError::Names);
        }
        let url = down_url(&self.url, &self.down_id, place);
        if url.len() > URL_MAX {
            return Err(OrderError::Address);
        }
        let headers = down_header(&self.down_id, place).map(|(name, value)| format!("{name}: {value}"));
        let md5 = self.md5.as_deref().and_then(hex::decode).and_then(|md5| md5.try_into().ok());
        Ok(Offer {
            id,
            target,
            version: self.version.clone(),
            url,
            headers: headers.into_iter().collect(),
            size: self.size,
            digests: md5.map(Digest::Md5).into_iter().collect(),
            ..Offer::default()
        })
    }
}

/// The module that an update is for, by its id; `None` if the id is none of ours.
#[must_use]
pub fn module_of(id: &str) -> Option<&str> {
    // A DownID in it has no slash, which is encoded; the name of a module may have some.
    Some(id.rsplit_once('/')?.0)
}

/// The digits of an `MD5` member in lower case; `None` if it is anything but a text of 32 hex digits.
#[must_use]
pub fn md5_digits(raw: &RawValue) -> Option<String> {
    text(raw).filter(|digits| is_md5(digits)).map(|digits| digits.to_ascii_lowercase())
}

/// The address to load from.
#[must_use]
pub fn down_url(url: &str, down_id: &str, place: DownIdIn) -> String {
    if place != DownIdIn::Query {
        return url.to_owned();
    }
    // A fragment is never sent; what comes after it would not be either.
    let url = url.split('#').next().unwrap_or_default();
    let joint = match url {
        url if url.ends_with(['?', '&']) => "",
        url if url.contains('?') => "&",
        _ => "?",
    };
    format!("{url}{joint}{DOWN_ID}={}", percent_encoded(down_id))
}

/// Name and value of the header to load with. The value is encoded as in a query, which changes no usual DownID but
/// keeps line ends out.
#[must_use]
pub fn down_header(down_id: &str, place: DownIdIn) -> Option<(&'static str, String)> {
    (place == DownIdIn::Header).then(|| (DOWN_ID, percent_encoded(down_id)))
}

/// True for 32 hex digits.
pub(super) fn is_md5(text: &str) -> bool {
    hex::is_digits(text, 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(url: &str, down_id: &str, expected: &str) {
        assert_eq!(down_url(url, down_id, DownIdIn::Query), expected);
        assert_eq!(down_header(down_id, DownIdIn::Query), None);
        assert_eq!(down_url(url, down_id, DownIdIn::Header), url);
        assert_eq!(down_url(url, down_id, DownIdIn::None), url);
    }

    #[test]
    fn the_download_id_goes_where_the_settings_say() {
        check("http://h/f?", "a", "http://h/f?DownID=a");
        check("http://h/f?x=1&", "a", "http://h/f?x=1&DownID=a");
        check("http://h/f#part?", "a", "http://h/f?DownID=a");
        check("http://h/f", "a b&c=\r\né~", "http://h/f?DownID=a%20b%26c%3D%0D%0A%C3%A9~");
        assert_eq!(down_header("a\r\nb", DownIdIn::Header), Some(("DownID", "a%0D%0Ab".into())));
        assert_eq!(down_header("a", DownIdIn::None), None);
    }

    fn order(module: &str, down_id: &str) -> Order {
        Order {
            version: "v2".into(),
            url: "http://h/f".into(),
            size: 7,
            md5: Some("0cc175b9c0f1b6a831c399e269772661".into()),
            down_id: down_id.into(),
            module: module.into(),
            file_name: None,
        }
    }

    #[test]
    fn an_order_is_promised_to_the_host_as_it_was_given() {
        let md5 = [0x0C, 0xC1, 0x75, 0xB9, 0xC0, 0xF1, 0xB6, 0xA8, 0x31, 0xC3, 0x99, 0xE2, 0x69, 0x77, 0x26, 0x61];
        let expected = Offer {
            id: "default/E0C040B1".into(),
            target: Target::Mcu,
            version: "v2".into(),
            url: "http://h/f".into(),
            headers: vec!["DownID: E0C040B1".into()],
            size: 7,
            digests: vec![Digest::Md5(md5)],
            ..Offer::default()
        };
        let order = order("default", "E0C040B1");
        assert_eq!(order.offer(Target::Mcu, DownIdIn::Header), Ok(expected.clone()));
        let in_query = Offer { headers: vec![], url: "http://h/f?DownID=E0C040B1".into(), ..expected.clone() };
        assert_eq!(order.offer(Target::Mcu, DownIdIn::Query), Ok(in_query));
        let bare = Offer { headers: vec![], digests: vec![], ..expected };
        assert_eq!(Order { md5: None, ..order }.offer(Target::Mcu, DownIdIn::None), Ok(bare));
    }

    #[test]
    fn what_is_too_long_for_the_host_is_refused() {
        let offer = |order: &Order| order.offer(Target::Module, DownIdIn::Query).map(|_| ());
        assert_eq!(offer(&order("default", &"x".repeat(120))), Ok(()));
        assert_eq!(offer(&order("default", &"x".repeat(121))), Err(OrderError::Names));
        assert_eq!(offer(&order("default", &"/".repeat(41))), Err(OrderError::Names));
        let long = |room: usize| Order { url: format!("http://h/{}", "x".repeat(room)), ..order("default", "d") };
        assert_eq!(offer(&long(URL_MAX - 9 - 9)), Ok(()));
        assert_eq!(offer(&long(URL_MAX - 9 - 8)), Err(OrderError::Address));
    }

    #[test]
    fn an_id_says_which_module_it_is() {
        for (module, down_id) in [("default", "1"), ("a/b", "1"), ("a", "b/1"), ("模块", "é/")] {
            assert_eq!(module_of(&order(module, down_id).update_id()), Some(module));
        }
        assert_eq!(module_of("E0C040B1"), None);
    }

    proptest! {
        #[test]
        fn nothing_can_panic_an_offer(text in "\\PC{0,40}", url in "(https?://|[/?#&@]|\\PC){0,12}") {
            let order = Order { url, md5: Some(text.clone()), ..order(&text, &text) };
            for place in [DownIdIn::Query, DownIdIn::Header, DownIdIn::None] {
                let _ = (order.offer(Target::Module, place), module_of(&text));
            }
        }

        #[test]
        fn an_encoded_download_id_is_one_plain_word(down_id in "\\PC{0,20}") {
            let url = down_url("http://h/f", &down_id, DownIdIn::Query);
            let encoded = url.strip_prefix("http://h/f?DownID=").unwrap();
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
        }
    }
}
