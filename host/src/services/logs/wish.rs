//! From a [`LogUpload`] of a plugin to a [`Wish`] that can be carried out, or a refusal that names what is wrong, and not its
//! value: addresses, headers and fields may be secrets.

use polylink_plugin_api::services::logs::{HEADERS_MAX, LogUpload, Method, URL_MAX};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::form::{Form, is_name};
use super::ftp::Job;
use super::web::Request;
use crate::log::Redacted;
use crate::services::http::header;
use crate::services::registry::Refusal;

/// What is to be sent, and where to.
pub struct Wish {
    /// Name or address of the server.
    pub host: String,
    /// How it gets there.
    pub place: Place,
    /// Lines from here on, Unix milliseconds.
    pub from_ms: i64,
    /// Lines before this.
    pub to_ms: i64,
}

/// How the log gets there.
pub enum Place {
    /// By HTTP.
    Web(Box<Request>),
    /// By FTP.
    Ftp {
        /// Of the control connection.
        port: u16,
        /// What to do there.
        job: Job,
    },
}

impl Wish {
    /// Checks everything that can be wrong before a connection is made.
    pub fn read(upload: LogUpload) -> Result<Self, Refusal> {
        if upload.url.len() > URL_MAX {
            return Err(Refusal::invalid(format!("url: longer than {URL_MAX} bytes")));
        }
        let url = Url::parse(&upload.url).map_err(|error| Refusal::invalid(format!("url: {error}")))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| Refusal::invalid("url: no host"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::invalid("url: name and password do not belong there"));
        }
        if url.fragment().is_some() {
            return Err(Refusal::invalid("url: a fragment does not belong there"));
        }
        let host = host.to_owned();
        let (from_ms, to_ms) = (upload.from_ms, upload.to_ms);
        let place = match url.scheme() {
            "http" | "https" => Place::Web(Box::new(web(url, upload)?)),
            "ftp" => Place::Ftp { port: url.port().unwrap_or(FTP_PORT), job: ftp(&url, upload)? },
            _ => return Err(Refusal::invalid("url: only http, https and ftp are known")),
        };
        Ok(Self { host, place, from_ms, to_ms })
    }

    /// Does anybody between here and there read it?
    pub fn is_plain_text(&self) -> bool {
        match &self.place {
            Place::Web(request) => request.url.scheme() != "https",
            Place::Ftp { .. } => true,
        }
    }
}

fn web(url: Url, upload: LogUpload) -> Result<Request, Refusal> {
    let headers = headers(&upload)?;
    let (method, form) = match upload.method {
        Method::PUT => (reqwest::Method::PUT, None),
        Method::POST => (reqwest::Method::POST, None),
        Method::MULTIPART if headers.contains_key(CONTENT_TYPE) => {
            return Err(Refusal::invalid("headers: the kind of a form is the host's to say"));
        }
        Method::MULTIPART => (reqwest::Method::POST, Some(form(upload)?)),
        Method(other) => return Err(Refusal::invalid(format!("method: {other} is not known"))),
    };
    Ok(Request { url, method, headers, form })
}

fn headers(upload: &LogUpload) -> Result<HeaderMap, Refusal> {
    if upload.headers.len() > HEADERS_MAX {
        return Err(Refusal::invalid(format!("headers: more than {HEADERS_MAX}")));
    }
    let mut headers = HeaderMap::new();
    for line in &upload.headers {
        let (name, value) = header(line)?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn form(upload: LogUpload) -> Result<Form, Refusal> {
    if upload.fields.len() > HEADERS_MAX {
        return Err(Refusal::invalid(format!("fields: more than {HEADERS_MAX}")));
    }
    let file_name = file_name(&upload)?;
    let fields: Vec<_> =
        upload.fields.into_iter().map(|field| (field.0.into_string(), field.1.into_string())).collect();
    if !fields.iter().all(|(name, value)| is_name(name) && value.len() <= TEXT_MAX) || !is_name(&upload.file_field) {
        let text = "fields: a name has no control characters, quotes or backslashes, and no value is longer than";
        return Err(Refusal::invalid(format!("{text} {TEXT_MAX} bytes")));
    }
    Ok(Form { fields, file_field: upload.file_field.into_string(), file_name })
}

fn ftp(url: &Url, upload: LogUpload) -> Result<Job, Refusal> {
    if url.query().is_some() {
        return Err(Refusal::invalid("url: an address of FTP has no query"));
    }
    let file_name = file_name(&upload)?;
    let mut directories = Vec::new();
    for part in url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()) {
        let directory = percent_decoded(part).filter(|directory| is_line(directory));
        directories.push(directory.ok_or_else(|| Refusal::invalid("url: a directory that FTP cannot name"))?);
    }
    if directories.len() > DIRECTORIES_MAX {
        return Err(Refusal::invalid(format!("url: more than {DIRECTORIES_MAX} directories")));
    }
    let (user, password) = if upload.user.is_empty() {
        (ANONYMOUS.to_owned(), ANONYMOUS_PASSWORD.to_owned())
    } else {
        (upload.user.into_string(), upload.password.into_string())
    };
    if !is_line(&user) || !is_line(&password) {
        return Err(Refusal::invalid(format!("user, password: at most {TEXT_MAX} bytes on one line")));
    }
    Ok(Job { user, password: Redacted(password), directories, file_name })
}

/// The name of the file, which becomes a part of a path on somebody's disk.
fn file_name(upload: &LogUpload) -> Result<String, Refusal> {
    let name = upload.file_name.as_str();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fits = (1..=128).contains(&name.len()) && name.bytes().all(is_plain) && name != "." && name != "..";
    if !fits {
        return Err(Refusal::invalid("file_name: 1 to 128 letters, digits, `.`, `_` and `-`, and no directory"));
    }
    Ok(name.to_owned())
}

/// Can this stand in a line of the control connection without ending it?
fn is_line(text: &str) -> bool {
    text.len() <= TEXT_MAX && !text.contains(['\r', '\n', '\0'])
}

/// What `%XX` stands for; none if that is no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).ok()?);
                rest = &after[2..];
            }
            (b'%', ..) => return None,
            (byte, ..) => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Bytes of one field's value, a user's name, a password and a directory at most. Not documented; chosen by us.
const TEXT_MAX: usize = 2_048;

/// Directories of one path at most. Not documented; chosen by us: each costs a round trip.
const DIRECTORIES_MAX: usize = 16;

/// RFC 959.
const FTP_PORT: u16 = 21;

/// Who nobody in particular is, and the password that is asked of him (RFC 1635, 4).
const ANONYMOUS: &str = "anonymous";
const ANONYMOUS_PASSWORD: &str = "anonymous@";

#[cfg(test)]
mod tests {
    use polylink_plugin_api::abi_stable::std_types::{RVec, Tuple2};

    use super::*;

    fn upload(url: &str) -> LogUpload {
        LogUpload { url: url.into(), file_name: "a.log".into(), file_field: "file".into(), ..LogUpload::default() }
    }

    fn form(url: &str) -> LogUpload {
        LogUpload { method: Method::MULTIPART, ..upload(url) }
    }

    /// It is refused with these words, and without its secrets.
    #[track_caller]
    fn check(upload: LogUpload, says: &str) {
        let refusal = Wish::read(upload).err().expect("it is not acceptable");
        assert!(refusal.text.contains(says) && !refusal.text.contains("hunter2"), "{}", refusal.text);
        assert_eq!(refusal.code, polylink_plugin_api::HostRefusal::INVALID);
    }

    fn job(url: &str) -> (u16, Job) {
        match Wish::read(upload(url)).unwrap_or_else(|refusal| panic!("{}", refusal.text)).place {
            Place::Ftp { port, job } => (port, job),
            Place::Web(_) => panic!("{url} is for FTP"),
        }
    }

    #[test]
    fn an_address_that_makes_no_sense_is_refused() {
        check(upload("hunter2"), "url: ");
        check(upload("sftp://h/hunter2"), "only http, https and ftp");
        check(upload("http://dev:hunter2@h/"), "name and password");
        check(upload("http://h/#hunter2"), "fragment");
        check(upload("ftp://h/in?hunter2"), "no query");
        check(upload("ftp://h/in%0D%0ADELE%20hunter2"), "a directory");
        check(upload("ftp://h/in%00"), "a directory");
        check(upload("ftp://h/%FF"), "a directory");
        check(upload("ftp://h/%zz"), "a directory");
        check(upload(&format!("ftp://h/{}", "a/".repeat(17))), "more than 16");
        check(upload(&format!("http://h/{}", "a".repeat(2048))), "longer than 2048");
    }

    #[test]
    fn directories_of_an_ftp_address_are_decoded_and_the_file_follows() {
        let (port, job) = job("ftp://h/in/%E6%97%A5%20x//%2Fabs/");
        assert_eq!((port, job.directories), (21, vec!["in".to_owned(), "日 x".to_owned(), "/abs".to_owned()]));
        assert_eq!(job.file_name, "a.log");
        assert_eq!(self::job("ftp://h:2121").0, 2121);
        assert_eq!(self::job("ftp://h").1.directories, Vec::<String>::new());
    }

    #[test]
    fn who_has_no_name_logs_in_as_nobody() {
        let Job { user, password, .. } = job("ftp://h/").1;
        assert_eq!((user.as_str(), password.expose().as_str()), ("anonymous", "anonymous@"));
        for (user, password) in [("a\r\nDELE x", "hunter2"), ("dev", "hunter2\r\nDELE x"), ("dev\0", "")] {
            let user = LogUpload { user: user.into(), password: password.into(), ..upload("ftp://h/") };
            check(user, "user, password");
        }
    }

    #[test]
    fn a_file_has_a_plain_name() {
        for name in ["", ".", "..", "a/b", "a b", "é", &"a".repeat(129)] {
            check(LogUpload { file_name: name.into(), ..upload("ftp://h/") }, "file_name");
            check(LogUpload { file_name: name.into(), ..form("http://h/") }, "file_name");
        }
        assert!(Wish::read(LogUpload { file_name: "".into(), ..upload("http://h/") }).is_ok(), "PUT has no use for it");
    }

    #[test]
    fn headers_say_nothing_of_the_hosts_own_affairs() {
        let with =
            |headers: &[&str], upload| LogUpload { headers: headers.iter().map(|h| (*h).into()).collect(), ..upload };
        for header in ["Content-Length: 1", "transfer-encoding: chunked", "Host: hunter2", "Connection: close"] {
            check(with(&[header], upload("http://h/")), "is the host's to say");
        }
        for header in ["hunter2", "a b: hunter2", "A: hunter2\r\nB: c"] {
            check(with(&[header], upload("http://h/")), "each is `Name: value`");
        }
        check(with(&["A: b"; 9], upload("http://h/")), "more than 8");
        check(with(&["Content-Type: a/b"], form("http://h/")), "the kind of a form");
        let Ok(Wish { place: Place::Web(request), .. }) = Wish::read(with(&["X-A:  b "], upload("https://h/"))) else {
            panic!("it is acceptable");
        };
        assert_eq!(request.headers["x-a"], "b");
    }

    #[test]
    fn forms_and_methods_are_checked() {
        let fields = |fields: &[(&str, &str)]| -> RVec<Tuple2<_, _>> {
            fields.iter().map(|(name, value)| Tuple2((*name).into(), (*value).into())).collect()
        };
        check(LogUpload { fields: fields(&[("a\"", "hunter2")]), ..form("http://h/") }, "fields: a name");
        check(LogUpload { fields: fields(&[("a", "b"); 9]), ..form("http://h/") }, "more than 8");
        check(LogUpload { file_field: "".into(), ..form("http://h/") }, "fields: a name");
        check(LogUpload { method: Method(3), ..upload("http://h/") }, "method: 3");
        assert!(Wish::read(LogUpload { fields: fields(&[("a", "b\r\nc")]), ..form("http://h/") }).is_ok());
    }

    #[test]
    fn only_https_is_no_plain_text() {
        for (url, plain) in [("http://h/", true), ("https://h/", false), ("ftp://h/", true)] {
            assert_eq!(Wish::read(upload(url)).map(|wish| wish.is_plain_text()).ok(), Some(plain), "{url}");
        }
    }
}
