//! Files that the device is told to fetch or to send (Clife protocol, 8). Those to fetch are on a file server of their own.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use serde_json::{Value as Json, json};

use super::cipher::hex;
use super::platform::{Platform, keep};
use super::{DEV_ID, commands};
use crate::http::{Answer, Request, Site};

/// A firmware that devices are told to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Number of the sub-device; none for the device itself.
    pub dev_num: Option<i64>,
    /// Version it has.
    pub software: String,
    /// Hardware it is for.
    pub hardware: String,
    /// The file.
    pub body: Vec<u8>,
}

/// An upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Path, with its query.
    pub target: String,
    /// `POST` or `PUT`.
    pub method: String,
    /// fileType of the form, if it came as a form.
    pub file_type: Option<String>,
    /// The file.
    pub file: Vec<u8>,
    /// Status of the answer.
    pub status: u16,
}

impl Platform {
    /// Puts a file on the server; its URL.
    pub fn put_file(&self, body: &[u8]) -> String {
        let n = {
            let mut state = self.lock();
            state.n_files += 1;
            state.n_files - 1
        };
        self.files.serve(&format!("/{n}.bin"), body)
    }

    /// Orders an upgrade to all of these, as one operation; its msgId.
    pub fn order_upgrade(&self, product: i64, images: &[Image], window: Option<(i64, i64)>) -> Result<i64, String> {
        let urls: Vec<String> = images.iter().map(|image| self.put_file(&image.body)).collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        self.ask(commands::FILES, &upgrade(product, images, &urls, window))
    }

    /// Orders the download of a file that is no firmware; its msgId.
    pub fn order_download(&self, file_type: &str, body: &[u8], window: Option<(i64, i64)>) -> Result<i64, String> {
        let file = json!({"fileType": file_type, "url": self.put_file(body)});
        self.ask(commands::FILES, &with_window(json!({"fileMode": "DOWN", "fileInfo": [file]}), window))
    }

    /// Orders an upload; its msgId.
    pub fn order_upload(&self, file_type: &str, window: Option<(i64, i64)>) -> Result<i64, String> {
        let file = json!({"fileType": file_type, "url": self.uploads()?});
        self.ask(commands::FILES, &with_window(json!({"fileMode": "UP", "fileInfo": [file]}), window))
    }

    /// The first file of a request that the device says to have, although the file server never gave it out.
    pub fn never_fetched(&self, request: &Json) -> Option<String> {
        let prefix = self.files.url("");
        let files = request["fileInfo"].as_array().filter(|_| request["fileMode"] == "DOWN")?;
        let mut paths = files.iter().filter_map(|file| file["url"].as_str()?.strip_prefix(&prefix));
        let was_sent = |path: &str| self.files.requests(path).iter().any(|seen| matches!(seen.status, 200 | 206));
        paths.find(|path| !was_sent(path)).map(str::to_owned)
    }

    /// Where uploads go.
    fn uploads(&self) -> Result<String, String> {
        let address = self.uploads_at.get().ok_or("there is no server for uploads")?;
        Ok(format!("http://{address}{UPLOADS}"))
    }

    fn take_upload(&self, request: &Request) -> Answer {
        let mut state = self.lock();
        let scripted = state.behaviour.upload_statuses.pop_front();
        let (status, file_type, file) = match read_upload(request) {
            Ok((file_type, file)) => (scripted.unwrap_or(200), file_type, file),
            Err(fault) => {
                self.ledger.violation(format!("upload: {fault}"));
                (400, None, Vec::new())
            }
        };
        let (target, method) = (request.target.clone(), request.method.clone());
        keep(&mut state.seen.uploads, Upload { target, method, file_type, file, status });
        Answer::status(status, "")
    }
}

impl Site for Platform {
    fn answer(&self, request: &Request) -> Answer {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let answer = if path == REGISTER {
            return self.register(request, query);
        } else if path == UPLOADS {
            self.take_upload(request)
        } else {
            self.ledger.violation(format!("{} {}: there is no such path", request.method, request.target));
            Answer::status(404, "no such path")
        };
        self.changed();
        answer
    }

    fn violation(&self, text: &str) {
        self.ledger.violation(format!("HTTP: {text}"));
    }
}

/// Body of an order to install these files, each of which is at its address, within a time window in seconds from now.
pub fn upgrade(product: i64, images: &[Image], urls: &[&str], window: Option<(i64, i64)>) -> Json {
    let files = images.iter().zip(urls).map(|(image, url)| {
        json!({
            "fileType": if image.dev_num.is_some() { "SUBFIRM" } else { "FIRM" },
            // Number 0 is the communication module; the sample of the document names it (Clife protocol, 8.1).
            "devNum": image.dev_num.unwrap_or(0), "software": image.software, "hardware": image.hardware, "url": url,
            "md5": hex(&Md5::digest(&image.body)), "checkSum": check_sum(&image.body),
        })
    });
    let files: Vec<Json> = files.collect();
    with_window(json!({"fileMode": "DOWN", "productVer": product, "fileInfo": files}), window)
}

/// Sum of all bytes, modulo 2^32 (Clife protocol, 8.4).
fn check_sum(body: &[u8]) -> u32 {
    body.iter().fold(0, |sum, &byte| sum.wrapping_add(u32::from(byte)))
}

fn with_window(mut request: Json, window: Option<(i64, i64)>) -> Json {
    if let Some((start, stop)) = window {
        request["startTime"] = json!(start);
        request["stopTime"] = json!(stop);
    }
    request
}

/// fileType, if there is a form, and the file of an upload (Clife protocol, 8.6).
fn read_upload(request: &Request) -> Result<(Option<String>, Vec<u8>), String> {
    let kind = request.headers.get("content-type").map_or("", String::as_str);
    let boundary = kind.strip_prefix("multipart/form-data;").and_then(|rest| rest.trim().strip_prefix("boundary="));
    match (request.method.as_str(), boundary) {
        ("POST", Some(boundary)) => {
            let mut form = form(&request.body, boundary.trim_matches('"'))?;
            let mut field = |name: &str| form.remove(name).ok_or_else(|| format!("field {name} is missing"));
            let (file, device, file_type) = (field("file")?, field("devId")?, field("fileType")?);
            if let Some(unknown) = form.keys().next() {
                return Err(format!("unknown field {unknown:?}"));
            }
            if device != DEV_ID.as_bytes() {
                return Err("devId of another device".to_owned());
            }
            Ok((Some(String::from_utf8_lossy(&file_type).into_owned()), file))
        }
        ("POST" | "PUT", None) if kind == "application/octet-stream" => Ok((None, request.body.clone())),
        (method, _) => Err(format!("{method} with Content-Type {kind:?}")),
    }
}

/// Fields of a form by their names (RFC 7578).
fn form(body: &[u8], boundary: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let first = format!("--{boundary}\r\n");
    let next = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(first.as_bytes()).ok_or("the form does not begin with its boundary")?;
    let mut fields = BTreeMap::new();
    loop {
        let (head, after) = split(rest, b"\r\n\r\n").ok_or("a part without the end of its head")?;
        let (content, after) = split(after, next.as_bytes()).ok_or("a part without a boundary after it")?;
        let head = std::str::from_utf8(head).map_err(|_| "the head of a part is no text")?;
        let disposition = head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-disposition").then(|| value.trim())
        });
        let parameters = disposition.and_then(|value| value.strip_prefix("form-data;"));
        let name = parameters
            .and_then(|list| list.split(';').find_map(|one| one.trim().strip_prefix("name=\"")?.strip_suffix('"')));
        let name = name.ok_or_else(|| format!("a part without a name: {head:?}"))?;
        if fields.insert(name.to_owned(), content.to_vec()).is_some() {
            return Err(format!("field {name} twice"));
        }
        match after {
            b"--" | b"--\r\n" => return Ok(fields),
            _ => rest = after.strip_prefix(b"\r\n").ok_or("something else than a line end after a boundary")?,
        }
    }
}

/// What is before and after the first mark.
fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

/// Path of the registration (Clife protocol, 5).
const REGISTER: &str = "/device/register";
/// Path of uploads: the sample of the vendor's text has no file name in it (Clife protocol, 8.6).
const UPLOADS: &str = "/device/storage";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_counts_bytes_as_positive_numbers_and_wraps() {
        // Vectors of the Clife protocol, C-dig.
        assert_eq!(check_sum(b""), 0);
        assert_eq!(check_sum(b"123456789"), 477);
        assert_eq!(check_sum(&[255; 1024]), 261_120);
        assert_eq!(check_sum(&vec![255; 16_843_010]), 254);
    }

    #[test]
    fn a_form_is_read_to_its_last_byte_or_refused() {
        let right = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"log\"\r\nContent-Type: x/y\r\n\r\na\r\nb\
                     \r\n--b\r\ncontent-disposition: form-data; name=\"devId\"\r\n\r\n7\r\n--b--\r\n";
        let fields = form(right.as_bytes(), "b").unwrap();
        assert_eq!((&fields["file"][..], &fields["devId"][..]), (&b"a\r\nb"[..], &b"7"[..]));
        for (from, to, fault) in [
            ("--b\r\nContent", "--c\r\nContent", "does not begin"),
            ("--b--\r\n", "", "without a boundary"),
            ("--b--", "--b-", "line end after a boundary"),
            ("name=\"devId\"", "name=\"file\"", "twice"),
            ("name=\"devId\"", "nom=\"devId\"", "without a name"),
        ] {
            let error = form(right.replace(from, to).as_bytes(), "b").unwrap_err();
            assert!(error.contains(fault), "{error:?} should name {fault:?}");
        }
    }
}
