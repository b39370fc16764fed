//! Log upload (action 201): what is asked for, where the file goes, what is answered.

use polylink_plugin_sdk::calendar::{DAY_S, Date, days_in_month};
use polylink_plugin_sdk::services::logs::Upload;
use polylink_plugin_sdk::url::percent_encoded;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::FtpSettings;
use crate::message::{integer, raw, text};

/// A request for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// FTP server: a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// First day; `None`: from the beginning.
    pub start: Option<Date>,
    /// Last day, included; `None`: to the end.
    pub end: Option<Date>,
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
        let host = members.ftp_host.and_then(text).filter(|host| is_host(host)).ok_or(BadLogRequest)?;
        let port = match members.ftp_port {
            None => FTP_PORT,
            Some(port) => integer(port)
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port != 0)
                .ok_or(BadLogRequest)?,
        };
        let (start, end) = (day(members.log_start)?, day(members.log_end)?);
        if let (Some(start), Some(end)) = (&start, &end)
            && start > end
        {
            return Err(BadLogRequest);
        }
        Ok(Self { host, port, start, end })
    }

    /// What the host is to send, and where. `unix_s` makes the file's name unique.
    #[must_use]
    pub fn upload(&self, ftp: &FtpSettings, device_id: &str, unix_s: i64, utc_offset_s: i32) -> Upload {
        // Days are local ones.
        let begins = |day: i64| day.saturating_mul(DAY_S).saturating_sub(i64::from(utc_offset_s)).saturating_mul(1000);
        // Only an IPv6 address has a colon, and needs brackets before a port.
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let (host, port) = (&self.host, self.port);
        let mut url = format!("ftp://{open}{host}{close}:{port}/");
        for part in ftp.dir.split('/').filter(|part| !part.is_empty()) {
            url += &percent_encoded(part);
            url.push('/');
        }
        Upload {
            url,
            file_name: self.file_name(device_id, unix_s),
            login: Some((ftp.user.clone(), ftp.password.clone())),
            from_ms: self.start.map(|day| begins(day.days())),
            to_ms: self.end.map(|day| begins(day.days() + 1)),
            ..Upload::default()
        }
    }

    /// Name of the file to upload (not documented; chosen by us).
    fn file_name(&self, device_id: &str, unix_s: i64) -> String {
        let or_all = |day: Option<Date>| {
            day.map_or_else(|| "all".into(), |Date { year, month, day }| format!("{year:04}-{month:02}-{day:02}"))
        };
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let device: String = device_id.chars().take(LONGEST_DEVICE).map(plain).collect();
        format!("{device}_{}_{}_{unix_s}.log", or_all(self.start), or_all(self.end))
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

/// Reason given where the host offers no upload.
pub const NOT_AVAILABLE: &str = "log upload is not available on this device";
/// Reason given if there is nothing to upload.
pub const NOTHING_LOGGED: &str = "nothing was logged in that time";

/// A host name, or an address: it becomes a part of a URL.
fn is_host(text: &str) -> bool {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    (1..=LONGEST_HOST).contains(&text.len()) && text.bytes().all(usable)
}

fn day(raw: Option<&RawValue>) -> Result<Option<Date>, BadLogRequest> {
    let Some(raw) = raw else { return Ok(None) };
    let day = text(raw).ok_or(BadLogRequest)?;
    if day.is_empty() {
        return Ok(None);
    }
    date(&day).map(Some).ok_or(BadLogRequest)
}

fn date(text: &str) -> Option<Date> {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(i, byte)| if i == 4 || i == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    if !shape {
        return None;
    }
    // Of two digits there are at most 99.
    let number = |range: std::ops::Range<usize>| text[range].parse::<u8>().unwrap_or(0);
    let (year, month, day) = (text[0..4].parse().unwrap_or(0), number(5..7), number(8..10));
    (1..=days_in_month(year, month)).contains(&day).then_some(Date { year, month, day })
}

/// "Device alarm: log upload failed" (Deli access document, error codes).
const UPLOAD_FAILED: i64 = 201;
/// Longest host name (RFC 1035).
const LONGEST_HOST: usize = 253;
/// Characters of the device's id in the name of a file, which the host limits to 128 (not documented; chosen by us).
const LONGEST_DEVICE: usize = 64;
/// Port of FTP where text 1.1 names none (RFC 959).
const FTP_PORT: u16 = 21;

#[cfg(test)]
mod tests {
    use polylink_plugin_sdk::secret::Secret;

    use super::*;

    fn upload(data: &str) -> Option<Upload> {
        let ftp = FtpSettings { user: "u".into(), password: Secret::new("p".into()), dir: "/in/日志".into() };
        let request = LogRequest::parse(&RawValue::from_string(data.to_owned()).unwrap()).ok()?;
        Some(request.upload(&ftp, "M_1/é", 9, 28_800))
    }

    fn check(data: &str, expected: Option<(&str, Option<i64>, Option<i64>)>) {
        let upload = upload(data);
        let got = upload.as_ref().map(|upload| (upload.file_name.as_str(), upload.from_ms, upload.to_ms));
        assert_eq!(got, expected, "{data}");
    }

    #[test]
    fn days_are_local_and_inclusive_and_may_be_open() {
        // 2017-08-09 and -10 16:00 UTC.
        let (from, to) = (Some(1_502_294_400_000), Some(1_502_380_800_000));
        check(
            r#"{"ftp_host":"h","log_start":"2017-08-10","log_end":"2017-08-10"}"#,
            Some(("M_1___2017-08-10_2017-08-10_9.log", from, to)),
        );
        check(r#"{"ftp_host":"h","log_end":"2017-08-10"}"#, Some(("M_1___all_2017-08-10_9.log", None, to)));
        check(r#"{"ftp_host":"h","log_start":"","log_end":null}"#, Some(("M_1___all_all_9.log", None, None)));
    }

    #[test]
    fn the_file_goes_to_the_server_that_is_named_and_the_directory_of_the_settings() {
        for (data, url) in [
            (r#"{"ftp_host":"ftp.delicloud.com"}"#, "ftp://ftp.delicloud.com:21/in/%E6%97%A5%E5%BF%97/"),
            (r#"{"ftp_host":"h","ftp_port":"2121"}"#, "ftp://h:2121/in/%E6%97%A5%E5%BF%97/"),
            (r#"{"ftp_host":"fe80::1"}"#, "ftp://[fe80::1]:21/in/%E6%97%A5%E5%BF%97/"),
        ] {
            let upload = upload(data).unwrap();
            assert_eq!(upload.url, url);
            assert_eq!(upload.login, Some(("u".to_owned(), Secret::new("p".to_owned()))));
        }
    }

    #[test]
    fn a_request_that_cannot_be_followed_is_a_bad_parameter() {
        for data in [
            "{}",
            "[]",
            r#"{"ftp_host":""}"#,
            r#"{"ftp_host":7}"#,
            r#"{"ftp_host":"h/x"}"#,
            r#"{"ftp_host":"u@h"}"#,
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
