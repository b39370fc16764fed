//! What a file server answers: RFC 9110 where no fault is ordered, and exactly that fault where one is.

use super::{Fault, File};
use crate::http::Request;

/// An answer, ready to be written.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Status line and headers, with the empty line.
    pub(super) head: String,
    /// The part of the file that follows, after `fault` has had its way with it.
    pub(super) body: Vec<u8>,
    /// How the body is written.
    pub(super) pace: Pace,
    /// Nothing more is said on this connection.
    pub(super) close: bool,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As fast as the client reads.
    Fast,
    /// A byte, and a pause.
    Drip(std::time::Duration),
    /// The body again and again, in chunks.
    Endless,
}

/// Which part of a file a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// From the first byte to before the last.
    Some(usize, usize),
    Unsatisfiable,
}

pub(super) fn answer(request: &Request, file: Option<&File>, fault: Option<&Fault>) -> Answer {
    let Some(file) = file else { return plain(404, &[]) };
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return plain(405, &[("allow".to_owned(), "GET, HEAD".to_owned())]);
    }
    if !file.demands.iter().all(|(name, value)| request.headers.get(&name.to_ascii_lowercase()) == Some(value)) {
        return forbidden();
    }
    match fault {
        Some(Fault::Status { status, retry_after_s }) => {
            let retry = retry_after_s.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
            return plain(*status, retry.as_slice());
        }
        Some(Fault::Redirect(to)) => return plain(302, &[("location".to_owned(), to.clone())]),
        Some(Fault::RedirectLoop) => {
            let to = if request.target.contains('?') {
                format!("{}&again", request.target)
            } else {
                format!("{}?again", request.target)
            };
            // Of a bounded length, and never the same address, so that no client notices the loop by its address alone.
            let to = if to.len() > TARGET_MAX {
                request.target.split('?').next().unwrap_or_default().to_owned()
            } else {
                to
            };
            return plain(302, &[("location".to_owned(), to)]);
        }
        _ => {}
    }
    of_file(request, file, fault)
}

/// Whoever asked may not have it.
pub(super) fn forbidden() -> Answer {
    plain(403, &[])
}

fn of_file(request: &Request, file: &File, fault: Option<&Fault>) -> Answer {
    let total = file.bytes.len();
    let part = if fault == Some(&Fault::IgnoreRange) { Part::Whole } else { wanted(request, file) };
    let mut headers = file.headers.clone();
    headers.push(("accept-ranges".to_owned(), "bytes".to_owned()));
    headers.extend(file.etag.iter().map(|etag| ("etag".to_owned(), etag.clone())));
    let (status, from, end) = match part {
        Part::Whole => (200, 0, total),
        Part::Some(from, end) => (206, from, end),
        Part::Unsatisfiable => {
            headers.push(("content-range".to_owned(), format!("bytes */{total}")));
            return plain(416, &headers);
        }
    };
    // A server with the wrong offset says so and sends what it says: the client has to notice.
    let from = if status == 206 && fault == Some(&Fault::WrongOffset) { from.saturating_sub(1) } else { from };
    if status == 206 {
        headers.push(("content-range".to_owned(), format!("bytes {from}-{}/{total}", end - 1)));
    }
    let mut body = file.bytes[from..end].to_vec();
    let mut length = Some(body.len());
    let (mut pace, mut close) = (Pace::Fast, false);
    match fault {
        Some(Fault::Cut(n)) => {
            body.truncate(*n);
            close = true;
        }
        Some(Fault::SayShorter(n)) => (length, close) = (Some(body.len().saturating_sub(*n)), true),
        Some(Fault::SayLonger(n)) => (length, close) = (Some(body.len() + n), true),
        Some(Fault::Endless) => (length, pace) = (None, Pace::Endless),
        Some(Fault::Drip(pause)) => pace = Pace::Drip(*pause),
        Some(Fault::WrongBytes) => body.iter_mut().for_each(|byte| *byte ^= 0xFF),
        _ => {}
    }
    headers.push(match length {
        Some(length) => ("content-length".to_owned(), length.to_string()),
        None => ("transfer-encoding".to_owned(), "chunked".to_owned()),
    });
    if request.method == "HEAD" {
        (body, pace, close) = (Vec::new(), Pace::Fast, false);
    }
    Answer { status, head: head(status, &headers), body, pace, close }
}

fn plain(status: u16, headers: &[(String, String)]) -> Answer {
    let mut headers = headers.to_vec();
    headers.push(("content-length".to_owned(), "0".to_owned()));
    Answer { status, head: head(status, &headers), body: Vec::new(), pace: Pace::Fast, close: false }
}

fn head(status: u16, headers: &[(String, String)]) -> String {
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("HTTP/1.1 {status} Served\r\n{}\r\n", lines.collect::<String>())
}

/// `Range` and `If-Range` (RFC 9110, 13.1.5 and 14.2). Several ranges are answered with the whole, as a server may.
fn wanted(request: &Request, file: &File) -> Part {
    let range = request.headers.get("range").filter(|_| request.method == "GET");
    let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else { return Part::Whole };
    // A weak tag never counts here (RFC 9110, 13.1.5); a date does not either, for these files have none.
    let same = |tag: &String| !tag.starts_with("W/") && Some(tag) == file.etag.as_ref();
    if request.headers.get("if-range").is_some_and(|tag| !same(tag)) {
        return Part::Whole;
    }
    let total = file.bytes.len();
    let (from, end) = match range.split_once('-') {
        Some(("", last)) => match last.parse::<usize>() {
            Ok(n) => (if n == 0 { total } else { total.saturating_sub(n) }, total),
            Err(_) => return Part::Whole,
        },
        Some((first, last)) => match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(from), Ok(last)) if last < from => return Part::Whole,
            (Ok(from), Ok(last)) => (from, last.saturating_add(1).min(total)),
            (Ok(from), Err(_)) if last.is_empty() => (from, total),
            _ => return Part::Whole,
        },
        None => return Part::Whole,
    };
    if from >= total { Part::Unsatisfiable } else { Part::Some(from, end) }
}

/// Longest address of a redirect loop. Chosen by us: the request reader takes lines of 8 KiB.
const TARGET_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(headers: &[(&str, &str)], status: u16, body: &str, line: &str) {
        let file = File { etag: Some("\"one\"".to_owned()), ..File::of(b"0123456789".to_vec()) };
        let headers: BTreeMap<_, _> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = Request { method: "GET".to_owned(), target: "/a".to_owned(), headers, body: Vec::new() };
        let answer = answer(&request, Some(&file), None);
        assert_eq!((answer.status, String::from_utf8(answer.body).unwrap().as_str()), (status, body));
        assert!(answer.head.contains(line), "{}", answer.head);
    }

    #[test]
    fn parts_are_answered_as_rfc_9110_has_them() {
        check(&[], 200, "0123456789", "content-length: 10\r\n");
        check(&[("range", "bytes=3-")], 206, "3456789", "content-range: bytes 3-9/10\r\n");
        check(&[("range", "bytes=3-4")], 206, "34", "content-range: bytes 3-4/10\r\n");
        check(&[("range", "bytes=8-99")], 206, "89", "content-range: bytes 8-9/10\r\n");
        check(&[("range", "bytes=-2")], 206, "89", "content-range: bytes 8-9/10\r\n");
        check(&[("range", "bytes=10-")], 416, "", "content-range: bytes */10\r\n");
        check(&[("range", "bytes=-0")], 416, "", "content-range: bytes */10\r\n");
    }

    #[test]
    fn a_range_that_is_none_is_as_if_it_were_not_there() {
        for range in ["bytes=4-3", "bytes=x-", "bytes=1-x", "lines=1-2", "bytes=1-2,4-5", "bytes=5"] {
            check(&[("range", range)], 200, "0123456789", "content-length: 10\r\n");
        }
    }

    #[test]
    fn another_tag_brings_the_whole_file() {
        check(&[("range", "bytes=3-"), ("if-range", "\"one\"")], 206, "3456789", "etag: \"one\"\r\n");
        check(&[("range", "bytes=3-"), ("if-range", "\"two\"")], 200, "0123456789", "etag: \"one\"\r\n");
        check(&[("range", "bytes=3-"), ("if-range", "W/\"one\"")], 200, "0123456789", "etag: \"one\"\r\n");
    }
}
