//! Replies of an FTP server (RFC 959, 4.2): three digits and text, on one line or on many.

/// One whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 100 to 599.
    pub code: u16,
    /// Text of all its lines. It is the server's: no log and no error shows it.
    pub text: String,
}

/// What no FTP server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// No number at its beginning.
    #[error("something that is no reply of FTP")]
    Shape,
    /// More than [`REPLY_MAX`].
    #[error("a reply of more than {REPLY_MAX} bytes")]
    TooLong,
}

/// Takes bytes as they come, and gives whole replies.
#[derive(Debug, Default)]
pub struct Replies {
    bytes: Vec<u8>,
}

impl Replies {
    /// Takes bytes of the stream.
    pub fn take_in(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole reply; none: more bytes are needed. Two replies may come at once.
    ///
    /// # Errors
    /// See [`BadReply`]; after one the stream means nothing any more.
    pub fn next(&mut self) -> Result<Option<Reply>, BadReply> {
        let mut text = String::new();
        let mut first: Option<&[u8]> = None;
        let mut at = 0;
        while let Some(end) = self.bytes[at..].iter().position(|byte| *byte == b'\n') {
            if at + end > REPLY_MAX {
                return Err(BadReply::TooLong);
            }
            // The rule is CR LF; some servers forget the CR.
            let line = &self.bytes[at..at + end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            at += end + 1;
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
            let is_last = match first {
                // The last line of many begins like the first one, but with a blank after the number.
                Some(digits) => line.starts_with(digits) && line.get(3).is_none_or(|byte| *byte == b' '),
                None => line.get(3) != Some(&b'-'),
            };
            let digits = match first {
                Some(digits) => digits,
                None => digits(line).ok_or(BadReply::Shape)?,
            };
            first = Some(digits);
            if is_last {
                let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
                self.bytes.drain(..at);
                return Ok(Some(Reply { code, text }));
            }
        }
        if self.bytes.len() > REPLY_MAX { Err(BadReply::TooLong) } else { Ok(None) }
    }
}

impl Reply {
    /// Port of an answer 229 to EPSV, `(|||6446|)` (RFC 2428, 3). It names no address.
    #[must_use]
    pub fn extended_port(&self) -> Option<u16> {
        let inside = self.text.split_once('(')?.1.split_once(')')?.0;
        let delimiter = inside.chars().next().filter(|c| ('!'..='~').contains(c) && !c.is_ascii_digit())?;
        let mut parts = inside.split(delimiter);
        let mut empty = || parts.next() == Some("");
        let port = (empty() && empty() && empty()).then(|| parts.next()).flatten()?;
        (parts.next() == Some("") && parts.next().is_none()).then(|| number(port)).flatten().filter(|port| *port != 0)
    }

    /// Port of an answer 227 to PASV, `h1,h2,h3,h4,p1,p2` with or without brackets (RFC 959, 4.1.2; RFC 1123, 4.1.2.6).
    ///
    /// The address is read over: a server that could choose it could have this module connect to anybody.
    #[must_use]
    pub fn passive_port(&self) -> Option<u16> {
        let text = self.text.get(3..)?;
        let text = &text[text.find(|c: char| c.is_ascii_digit())?..];
        let end = text.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(text.len());
        let numbers: Option<Vec<u8>> = text[..end].split(',').map(number).collect();
        let [_, _, _, _, high, low] = numbers?[..] else { return None };
        Some(u16::from_be_bytes([high, low])).filter(|port| *port != 0)
    }
}

/// The number at the beginning of a line, with nothing or a separator after it.
fn digits(line: &[u8]) -> Option<&[u8]> {
    let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let ends = line.get(3).is_none_or(|byte| matches!(byte, b' ' | b'-'));
    (ends && (b'1'..=b'5').contains(&digits[0])).then_some(digits)
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Bytes of one reply at most. Not documented; chosen by us: greetings of servers have some lines.
const REPLY_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The codes of the replies in these bytes, and what ends them.
    #[track_caller]
    fn check(bytes: &[u8], expected: &[u16], end: Result<(), BadReply>) {
        for size in [1, 7, bytes.len().max(1)] {
            let mut replies = Replies::default();
            let mut codes = Vec::new();
            let mut ended = Ok(());
            'all: for piece in bytes.chunks(size) {
                replies.take_in(piece);
                loop {
                    match replies.next() {
                        Ok(Some(reply)) => codes.push(reply.code),
                        Ok(None) => break,
                        Err(error) => {
                            ended = Err(error);
                            break 'all;
                        }
                    }
                }
            }
            assert_eq!((codes.as_slice(), ended), (expected, end), "in pieces of {size}");
        }
    }

    #[test]
    fn replies_are_read_however_they_are_cut() {
        check(b"220 Service ready.\r\n331 User name ok\r\n", &[220, 331], Ok(()));
        check(b"220\r\n200 \n", &[220, 200], Ok(()));
        // The sample of RFC 959, 4.2, with a line that looks like another reply.
        check(b"123-First line\r\n Second line\r\n  234 A line\r\n123 The last line\r\n", &[123], Ok(()));
        check(b"220-a\r\n220-b\r\n221 c\r\n220 d\r\n", &[220], Ok(()));
        check(b"220-a\r\n220", &[], Ok(()));
    }

    #[test]
    fn what_is_no_reply_is_told_apart() {
        for bytes in
            [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\r\n", b"22 x\r\n", b"2200 x\r\n", b"620 x\r\n", b"020 x\r\n"]
        {
            check(bytes, &[], Err(BadReply::Shape));
        }
        check(&[b'2'; 9000], &[], Err(BadReply::TooLong));
        check(&b"220-more\r\n".repeat(1000), &[], Err(BadReply::TooLong));
    }

    #[track_caller]
    fn check_ports(text: &str, extended: Option<u16>, passive: Option<u16>) {
        let reply = Reply { code: 0, text: text.to_owned() };
        assert_eq!((reply.extended_port(), reply.passive_port()), (extended, passive), "{text}");
    }

    #[test]
    fn ports_are_read_in_every_usual_form() {
        // The sample of RFC 2428, 3.
        check_ports("229 Entering Extended Passive Mode (|||6446|)\n", Some(6446), None);
        check_ports("229 (!!!65535!)\n", Some(65535), None);
        check_ports("227 Entering Passive Mode (10,0,0,1,19,137).\n", None, Some(5001));
        check_ports("227 =127,0,0,1,0,21\n", None, Some(21));
    }

    #[test]
    fn ports_that_make_no_sense_are_none() {
        for text in [
            "229 (|||0|)",
            "229 (|||65536|)",
            "229 (|||-1|)",
            "229 (|1|10.0.0.1|6446|)",
            "229 (|||6446|x)",
            "229 (|||6446)",
            "229 |||6446|",
            "229 (1116446 1)",
            "227 Entering",
            "227 (1,2,3,4,5)",
            "227 (1,2,3,4,5,6,7)",
            "227 (1,2,3,4,256,1)",
            "227 (1,2,3,4,0,0)",
            "227 (1,2,3,4,+5,6)",
            "é",
        ] {
            check_ports(text, None, None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_can_panic_the_reader(bytes: Vec<u8>, code in 100_u16..600, text: String) {
            let mut replies = Replies::default();
            replies.take_in(&bytes);
            while let Ok(Some(_)) = replies.next() {}
            let reply = Reply { code, text };
            let _ = (reply.extended_port(), reply.passive_port());
        }
    }
}
