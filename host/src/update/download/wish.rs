//! What is to be downloaded, within which limits, and how far it has come.

use std::fmt::Write as _;

use polylink_plugin_api::Timestamp;
use ring::digest::{SHA256, digest};

use crate::update::digest::Expected;
use crate::update::manifest::{hex, unhex};

/// What is to be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// An absolute `https` or `http` address.
    pub url: String,
    /// Headers of the request, for the server of `url` and no other.
    pub headers: Vec<(String, String)>,
    /// Bytes, if the cloud says so.
    pub size: Option<u64>,
    /// Digests, as the cloud says them; all are checked.
    pub digests: Vec<Expected>,
    /// See there.
    pub limits: Limits,
}

/// How much, how fast, how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest file.
    pub max_bytes: u64,
    /// Bytes that stay free on the file system.
    pub reserve_bytes: u64,
    /// Bytes a second; none: as fast as it goes.
    pub rate: Option<u32>,
    /// Attempts in a row that bring nothing.
    pub attempts: u32,
    /// Pause after the first of them; it doubles.
    pub pause_first_ms: u64,
    /// Longest pause.
    pub pause_max_ms: u64,
    /// When it is given up.
    pub deadline: Timestamp,
    /// `http` is allowed.
    pub plain_text: bool,
}

/// How far a download has come, as it is stored. The file has at least so many bytes on the disk before this is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// [`Wish::identity`].
    pub identity: [u8; 16],
    /// Bytes.
    pub have: u64,
    /// SHA-256 of these bytes: what a file system made of them in a power cut is noticed.
    pub sha256: [u8; 32],
    /// Bytes of the whole, if they are known.
    pub total: Option<u64>,
    /// What tells whether the server's file is still the same.
    pub validator: Option<String>,
}

impl Default for Limits {
    /// Those of [`crate::config::HostConfig`], without a deadline.
    fn default() -> Self {
        Self {
            max_bytes: 256 * 1024 * 1024,
            reserve_bytes: 1024 * 1024,
            rate: None,
            attempts: 10,
            pause_first_ms: 10_000,
            pause_max_ms: 600_000,
            deadline: Timestamp(u64::MAX),
            plain_text: false,
        }
    }
}

impl Wish {
    /// Tells downloads of the same file from others, across a changed address: a cloud that is asked again may give an
    /// address with another token. Without a digest the address is all there is.
    #[must_use]
    pub fn identity(&self) -> [u8; 16] {
        let mut text = format!("{:?}\n", self.size);
        for digest in &self.digests {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{digest}");
        }
        if self.digests.is_empty() {
            text.push_str(&self.url);
        }
        let mut identity = [0; 16];
        identity.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
        identity
    }
}

impl Checkpoint {
    /// As it is stored: one `name value` a line.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { identity, have, sha256, total, validator } = self;
        let mut text = format!("{FIRST}identity {}\nhave {have}\nsha256 {}\n", hex(identity), hex(sha256));
        if let Some(total) = total {
            let _ = writeln!(text, "total {total}");
        }
        if let Some(validator) = validator {
            let _ = writeln!(text, "validator {validator}");
        }
        text
    }

    /// None: it is damaged, which means the same as none at all.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut lines = text.strip_prefix(FIRST)?.split_terminator('\n').map(|line| line.split_once(' ')).peekable();
        let mut line = |name: &str| lines.next_if(|line| line.is_some_and(|(found, _)| found == name)).flatten();
        let checkpoint = Self {
            identity: unhex(line("identity")?.1)?,
            have: line("have")?.1.parse().ok()?,
            sha256: unhex(line("sha256")?.1)?,
            total: match line("total") {
                Some((_, total)) => Some(total.parse().ok()?),
                None => None,
            },
            validator: line("validator").map(|(_, validator)| validator.to_owned()),
        };
        (checkpoint.encode() == text).then_some(checkpoint)
    }
}

/// First line; the digit is the version of the format. Chosen by us.
const FIRST: &str = "polylink-download 1\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(one: &Wish, other: &Wish, same: bool) {
        assert_eq!(one.identity() == other.identity(), same);
    }

    #[test]
    fn a_file_is_known_by_its_digests_and_only_without_them_by_its_address() {
        let wish = |url: &str, size, digests| Wish {
            url: url.to_owned(),
            headers: Vec::new(),
            size,
            digests,
            limits: Limits::default(),
        };
        let md5 = || vec![Expected::Md5([1; 16])];
        check(&wish("http://a/", Some(1), md5()), &wish("http://b/", Some(1), md5()), true);
        check(&wish("http://a/", Some(1), md5()), &wish("http://a/", Some(2), md5()), false);
        check(&wish("http://a/", None, md5()), &wish("http://a/", None, vec![Expected::Md5([2; 16])]), false);
        check(&wish("http://a/", None, Vec::new()), &wish("http://b/", None, Vec::new()), false);
    }

    proptest! {
        #[test]
        fn a_checkpoint_survives_the_disk(identity: [u8; 16], have: u64, sha256: [u8; 32], total: Option<u64>, validator in proptest::option::of("[ -~]{0,40}")) {
            let checkpoint = Checkpoint { identity, have, sha256, total, validator };
            let text = checkpoint.encode();
            prop_assert_eq!(Checkpoint::decode(&text), Some(checkpoint));
            // A torn one is none, except for lines that may be missing.
            let torn = Checkpoint::decode(&text[..text.len() - 1]);
            prop_assert_eq!(torn, None);
        }

        #[test]
        fn no_text_can_panic_the_parser(text in "\\PC{0,100}") {
            let _ = (Checkpoint::decode(&text), Checkpoint::decode(&format!("{FIRST}{text}")));
        }
    }
}
