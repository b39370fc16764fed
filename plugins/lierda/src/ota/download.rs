//! Loading what was ordered: the address to ask, and whether the right bytes came.

use md5::{Digest, Md5};
use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::url::percent_encoded;
use serde::Deserialize;
use serde_json::value::RawValue;

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

/// Why a loaded firmware is not the one that was ordered. Checked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There is nothing to compare it with.
    #[error("the order has no MD5 of 32 hex digits")]
    Md5Format,
    /// Another number of bytes.
    #[error("the firmware has another size than ordered")]
    Size,
    /// Other bytes.
    #[error("the firmware has another MD5 than ordered")]
    Md5,
}

/// Compares a loaded firmware with what was ordered. Without an MD5 only the size is left to compare, and that is enough
/// only if none is required.
///
/// # Errors
/// See [`ImageError`].
pub fn verify(content: &[u8], size: u64, md5: Option<&str>, require_md5: bool) -> Result<(), ImageError> {
    let md5 = md5.filter(|digits| is_md5(digits));
    if md5.is_none() && require_md5 {
        return Err(ImageError::Md5Format);
    }
    if u64::try_from(content.len()) != Ok(size) {
        return Err(ImageError::Size);
    }
    match md5 {
        Some(md5) if !hex::lower(&Md5::digest(content)).eq_ignore_ascii_case(md5) => Err(ImageError::Md5),
        _ => Ok(()),
    }
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

    /// MD5 of `a`.
    const MD5: &str = "0CC175B9C0F1B6A831C399E269772661";

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

    #[test]
    fn without_an_md5_only_the_size_is_compared_if_the_settings_allow_it() {
        assert_eq!(verify(b"b", 1, None, false), Ok(()));
        assert_eq!(verify(b"b", 2, None, false), Err(ImageError::Size));
        assert_eq!(verify(b"b", 2, None, true), Err(ImageError::Md5Format));
        assert_eq!(verify(b"b", 1, Some(MD5), false), Err(ImageError::Md5));
        assert_eq!(verify(b"a", 1, Some(MD5), true), Ok(()));
    }

    proptest! {
        #[test]
        fn nothing_can_panic_a_download(content: Vec<u8>, text in "\\PC{0,40}", url in "(https?://|[/?#&@]|\\PC){0,12}") {
            let _ = (verify(&content, 3, Some(&text), true), verify(&content, 3, Some(&text), false));
            for place in [DownIdIn::Query, DownIdIn::Header, DownIdIn::None] {
                let _ = (down_url(&url, &text, place), down_header(&text, place));
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
