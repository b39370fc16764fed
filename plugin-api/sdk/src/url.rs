//! Addresses that settings and clouds name: [`Endpoint`] of brokers, [`http_host`] of what is loaded by HTTP; and
//! [`percent_encoded`] values in them.

use std::fmt;

use crate::hex;

/// Where an MQTT broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS or plain text.
    pub tls: bool,
}

/// Why an address is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not tcp://host[:port], mqtt://, ssl://, tls:// or mqtts://")]
pub struct NoEndpoint(pub String);

impl Endpoint {
    /// Reads `scheme://host[:port]`; a trailing `/` is allowed. Without a port it is 8883 with TLS, else 1883.
    ///
    /// # Errors
    /// Another scheme, no host, or a port outside 1 to 65535.
    pub fn parse(address: &str) -> Result<Self, NoEndpoint> {
        Self::read(address.trim()).ok_or_else(|| {
            // What stands before an `@` may be a password.
            let shown = address.rsplit_once('@').map_or(address, |(_, shown)| shown);
            NoEndpoint(shown.chars().take(SHOWN_ADDRESS).collect())
        })
    }

    fn read(address: &str) -> Option<Self> {
        let (scheme, rest) = address.split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "tcp" | "mqtt" => false,
            "ssl" | "tls" | "mqtts" => true,
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = match port {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None if tls => PORT_TLS,
            None => PORT_PLAIN,
        };
        let unusable = |c: char| c.is_whitespace() || c.is_control() || "/?#@[]".contains(c);
        if host.is_empty() || host.len() > LONGEST_HOST || host.contains(unusable) || port == 0 {
            return None;
        }
        Some(Self { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "ssl" } else { "tcp" };
        // Only an IPv6 address has a colon, and needs brackets before a port.
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

/// Host of an http or https address of at most so many bytes, without port; an IPv6 address comes without its brackets.
///
/// `None` also if the address names a user or has a blank in it, since it would be read differently by different readers.
#[must_use]
pub fn http_host(url: &str, longest: usize) -> Option<&str> {
    let authority = http_authority(url, longest)?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

/// Host and port of such an address, as they are written; there is a host, but nobody has looked at its characters.
fn http_authority(url: &str, longest: usize) -> Option<&str> {
    if url.len() > longest || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    // `http://good@evil/` would be read differently by different readers.
    let is_plain = !authority.contains(['@', '\\']) && !authority.is_empty() && !authority.starts_with(':');
    is_plain.then_some(authority)
}

/// A text as one value of a query: everything but unreserved characters is encoded (RFC 3986 2.3).
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => {
                encoded.push('%');
                encoded.push_str(&hex::upper(&[byte]));
            }
        }
    }
    encoded
}

/// IANA service name registry: `mqtt`.
const PORT_PLAIN: u16 = 1883;
/// IANA service name registry: `secure-mqtt`.
const PORT_TLS: u16 = 8883;
/// Longest host name of DNS (RFC 1035 2.3.4).
const LONGEST_HOST: usize = 255;
/// How much of a bad address an error shows (chosen by us).
const SHOWN_ADDRESS: usize = 80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(address: &str, expected: Option<(&str, u16, bool)>) {
        let seen = Endpoint::parse(address).ok();
        let seen = seen.as_ref().map(|endpoint| (endpoint.host.as_str(), endpoint.port, endpoint.tls));
        assert_eq!(seen, expected, "{address}");
    }

    #[test]
    fn schemes_decide_about_tls_and_the_default_port() {
        check("tcp://d1.delicloud.com:1883", Some(("d1.delicloud.com", 1883, false)));
        check("mqtt://h", Some(("h", 1883, false)));
        check("SSL://h", Some(("h", 8883, true)));
        check("tls://h:443/", Some(("h", 443, true)));
        check("mqtts://h:1", Some(("h", 1, true)));
        check("tcp://[::1]:1883", Some(("::1", 1883, false)));
    }

    #[test]
    fn malformed_entries_are_no_endpoints() {
        for address in [
            "",
            "h:1883",
            "http://h",
            "tcp://",
            "tcp://:1",
            "tcp://h:0",
            "tcp://h:65536",
            "tcp://h:+1",
            "tcp://h:",
            "tcp://a b",
            "tcp://u@h",
            "tcp://[::1",
        ] {
            check(address, None);
        }
    }

    #[test]
    fn the_error_shows_the_address_and_what_would_be_one() {
        let error = Endpoint::parse("http://h").unwrap_err();
        let with_user = Endpoint::parse("tcp://me:hunter2@h").unwrap_err().to_string();
        assert!(!with_user.contains("hunter2"), "{with_user}");
        assert_eq!(error.to_string(), "`http://h` is not tcp://host[:port], mqtt://, ssl://, tls:// or mqtts://");
        assert_eq!(Endpoint::parse(&"é".repeat(81)), Err(NoEndpoint("é".repeat(80))));
    }

    #[track_caller]
    fn check_http(url: &str, expected: Option<&str>) {
        assert_eq!(http_host(url, 30), expected, "{url}");
    }

    #[test]
    fn the_host_of_an_http_address_has_no_port_and_no_brackets() {
        check_http("http://h", Some("h"));
        check_http("HTTPS://Host.example:8443/?a", Some("Host.example"));
        check_http("http://h?a@b", Some("h"));
        check_http("http://[2001:db8::1]:80/x", Some("2001:db8::1"));
    }

    #[test]
    fn what_readers_could_understand_differently_has_no_host() {
        for url in ["", "h/x", "ftp://h/x", "file:///etc/passwd", "http://", "http:///x", "http://:80/"] {
            check_http(url, None);
        }
        for url in
            ["http://good@evil/", "http://good\\evil", "http://a b/", "http://h/\t", "http://[]/", "http://[::1/"]
        {
            check_http(url, None);
        }
    }

    #[test]
    fn a_longer_address_than_wanted_has_no_host() {
        check_http(&format!("http://h/{}", "x".repeat(21)), Some("h"));
        check_http(&format!("http://h/{}", "x".repeat(22)), None);
    }

    #[test]
    fn an_encoded_value_is_one_plain_word() {
        assert_eq!(percent_encoded("aZ9-._~"), "aZ9-._~");
        assert_eq!(percent_encoded("a b&c=\r\n#+%é"), "a%20b%26c%3D%0D%0A%23%2B%25%C3%A9");
    }

    proptest! {
        #[test]
        fn no_address_can_panic_the_readers(address in "\\PC{0,40}", url in "(http://)?[\\[\\]:/@a-z]{0,12}") {
            let _ = (Endpoint::parse(&address), http_host(&address, 40), http_host(&url, 40));
        }

        #[test]
        fn every_endpoint_survives_its_text(host in "[a-z0-9.-]{1,40}|[0-9a-f:]{1,30}:", port in 1..=u16::MAX, tls: bool) {
            let endpoint = Endpoint { host, port, tls };
            prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
        }
    }
}
