//! Log upload (action 201): what is asked for, what the file is called, what is answered.
//!
//! The upload itself needs a service of the host that does not exist yet, so every well-formed request is answered with
//! [`NOT_AVAILABLE`].

use polylink_plugin_sdk::calendar::days_in_month;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::message::{integer, raw, text};

/// A request for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// FTP server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// First day, `yyyy-MM-dd`; `None`: from the beginning.
    pub start: Option<String>,
    /// Last day, included; `None`: to the end.
    pub end: Option<String>,
}

/// Why a request for logs cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad parameter")]
pub struct BadLogRequest;

impl LogRequest {
    /// Reads the content of action 201.
    ///
    /// # Errors
    /// No server, a port outside 1 to 65535, a day that does not exist, or the start after the end.
    pub fn parse(data: &RawValue) -> Result<Self, BadLogRequest> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow, default)]
            ftp_host: Option<&'a RawValue>,
            #[serde(borrow, default)]
            ftp_port: Option<&'a RawValue>,
            #[serde(borrow, default)]
            log_start: Option<&'a RawValue>,
            #[serde(borrow, default)]
            log_end: Option<&'a RawValue>,
        }
        let object = Some(data.get()).filter(|text| text.starts_with('{')).ok_or(BadLogRequest)?;
        let members: Members<'_> = serde_json::from_str(object).map_err(|_| BadLogRequest)?;
        let host = members.ftp_host.and_then(text).filter(|host| !host.is_empty()).ok_or(BadLogRequest)?;
        let port = match members.ftp_port {
            None => FTP_PORT,
            Some(port) => integer(port)
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port != 0)
                .ok_or(BadLogRequest)?,
        };
        let (start, end) = (day(members.log_start)?, day(members.log_end)?);
        // Days of this form compare as texts.
        if let (Some(start), Some(end)) = (&start, &end)
            && start > end
        {
            return Err(BadLogRequest);
        }
        Ok(Self { host, port, start, end })
    }

    /// Name of the file to upload (not documented; chosen by us).
    #[must_use]
    pub fn file_name(&self, device_id: &str, unix_s: i64) -> String {
        let or_all = |day: &Option<String>| day.clone().unwrap_or_else(|| "all".into());
        format!("{device_id}_{}_{}_{unix_s}.tar.gz", or_all(&self.start), or_all(&self.end))
    }
}

/// Content of the answer, sent when the upload is over.
#[must_use]
pub fn answer(result: Result<(), &str>) -> Box<RawValue> {
    let (code, msg) = match result {
        Ok(()) => (0, ""),
        Err(reason) => (UPLOAD_FAILED, reason),
    };
    raw(&serde_json::json!({ "code": code, "msg": msg }))
}

/// Reason given as long as the host offers no upload.
pub const NOT_AVAILABLE: &str = "log upload is not available on this device yet";

fn day(raw: Option<&RawValue>) -> Result<Option<String>, BadLogRequest> {
    let Some(raw) = raw else { return Ok(None) };
    let day = text(raw).ok_or(BadLogRequest)?;
    if day.is_empty() {
        return Ok(None);
    }
    if is_day(&day) { Ok(Some(day)) } else { Err(BadLogRequest) }
}

fn is_day(text: &str) -> bool {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(i, byte)| if i == 4 || i == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    if !shape {
        return false;
    }
    // Of two digits there are at most 99.
    let number = |range: std::ops::Range<usize>| text[range].parse::<u8>().unwrap_or(0);
    let (year, month, day) = (text[0..4].parse().unwrap_or(0), number(5..7), number(8..10));
    (1..=days_in_month(year, month)).contains(&day)
}

/// "Device alarm: log upload failed" (Deli access document, error codes).
const UPLOAD_FAILED: i64 = 201;
/// Port of FTP where text 1.1 names none (RFC 959).
const FTP_PORT: u16 = 21;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &str, file_name: Option<&str>) {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        let name = LogRequest::parse(&data).ok().map(|request| request.file_name("M_1", 9));
        assert_eq!(name.as_deref(), file_name, "{data}");
    }

    #[test]
    fn days_are_inclusive_and_may_be_open() {
        check(
            r#"{"ftp_host":"h","log_start":"2017-08-10","log_end":"2017-08-10"}"#,
            Some("M_1_2017-08-10_2017-08-10_9.tar.gz"),
        );
        check(r#"{"ftp_host":"h","log_start":"","log_end":null}"#, Some("M_1_all_all_9.tar.gz"));
        check(r#"{"ftp_host":"h","ftp_port":"2121"}"#, Some("M_1_all_all_9.tar.gz"));
    }

    #[test]
    fn a_request_that_cannot_be_followed_is_a_bad_parameter() {
        for data in [
            "{}",
            "[]",
            r#"{"ftp_host":""}"#,
            r#"{"ftp_host":7}"#,
            r#"{"ftp_host":"h","ftp_port":0}"#,
            r#"{"ftp_host":"h","ftp_port":65536}"#,
            r#"{"ftp_host":"h","log_start":"2017-02-29"}"#,
            r#"{"ftp_host":"h","log_start":"2017-8-1"}"#,
            r#"{"ftp_host":"h","log_start":20170801}"#,
            r#"{"ftp_host":"h","log_end":"十十十a"}"#,
            r#"{"ftp_host":"h","log_start":"2017-08-11","log_end":"2017-08-10"}"#,
        ] {
            check(data, None);
        }
    }
}
