//! What an HTTP server says before a body, as far as a download looks at it.

/// The head of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// `Content-Length`; none: absent, or no number.
    pub length: Option<u64>,
    /// `Content-Range`, as it is.
    pub content_range: Option<String>,
    /// `ETag`, as it is.
    pub etag: Option<String>,
    /// `Last-Modified`, as it is.
    pub last_modified: Option<String>,
    /// `Location`, made absolute; none: absent, or no address.
    pub location: Option<String>,
    /// `Retry-After` in seconds.
    pub retry_after_s: Option<u64>,
    /// The body is compressed, or else not as the file is.
    pub is_encoded: bool,
}

/// A `Content-Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// First and last byte; none: the range could not be served.
    pub range: Option<(u64, u64)>,
    /// Bytes of the whole; none: the server does not say.
    pub total: Option<u64>,
}

impl Head {
    /// What tells later whether the file is still the same: a strong `ETag`, else `Last-Modified` (RFC 9110 13.1.5: a weak
    /// one cannot be used to continue).
    #[must_use]
    pub fn validator(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|etag| etag.starts_with('"'));
        let date = self.last_modified.as_deref().filter(|_| self.etag.is_none());
        strong
            .or(date)
            .filter(|text| text.len() <= VALIDATOR_MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~')))
    }
}

impl ContentRange {
    /// From `bytes 1-2/3`, `bytes 1-2/*` or `bytes */3` (RFC 9110 14.4). None: nothing of that, or it contradicts itself.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let rest = value.trim();
        let unit = rest.get(..5).filter(|unit| unit.eq_ignore_ascii_case("bytes"))?;
        let (range, total) = rest[unit.len()..].trim_start().split_once('/')?;
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let total = if total.trim() == "*" { None } else { Some(number(total)?) };
        if range.trim() == "*" {
            return total.map(|total| Self { range: None, total: Some(total) });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let fits = first <= last && total.is_none_or(|total| last < total);
        fits.then_some(Self { range: Some((first, last)), total })
    }
}

/// Longest validator that is kept; a longer one counts as none. Not documented; chosen by us.
const VALIDATOR_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<ContentRange>) {
        assert_eq!(ContentRange::parse(value), expected, "{value}");
    }

    fn of(range: Option<(u64, u64)>, total: Option<u64>) -> Option<ContentRange> {
        Some(ContentRange { range, total })
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_writes_them() {
        check("bytes 42-1233/1234", of(Some((42, 1233)), Some(1234)));
        check("bytes 42-1233/*", of(Some((42, 1233)), None));
        check("Bytes */1234", of(None, Some(1234)));
        check(" bytes 0-0/1 ", of(Some((0, 0)), Some(1)));
    }

    #[test]
    fn ranges_that_contradict_themselves_are_none() {
        for value in
            ["", "bytes", "bytes 5-4/9", "bytes 0-9/9", "bytes */*", "bytes -5/9", "items 0-1/2", "bytes 0-1", "é"]
        {
            check(value, None);
        }
        check("bytes 0-99999999999999999999/*", None);
    }

    #[test]
    fn only_a_strong_tag_or_a_date_without_tag_can_continue() {
        let head = |etag: Option<&str>| Head {
            etag: etag.map(str::to_owned),
            last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            ..Head::default()
        };
        assert_eq!(head(Some("\"x\"")).validator(), Some("\"x\""));
        assert_eq!(head(Some("W/\"x\"")).validator(), None);
        assert_eq!(head(None).validator(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(head(Some(&format!("\"{}\"", "x".repeat(VALIDATOR_MAX)))).validator(), None);
        assert_eq!(head(Some("\"a\nb\"")).validator(), None);
    }

    proptest! {
        #[test]
        fn no_text_can_panic_the_parser(value in "\\PC{0,40}", tail in "[0-9*/ -]{0,30}") {
            let _ = (ContentRange::parse(&value), ContentRange::parse(&format!("bytes {tail}")));
        }
    }
}
