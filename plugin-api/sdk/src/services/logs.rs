//! The module's log, for clouds that ask for it; see [`polylink_plugin_api::services::logs`]. It is sent by
//! [`crate::Output::SendLogs`].

use crate::secret::Secret;

/// What goes where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upload {
    /// `http://`, `https://` or `ftp://` with host, port and path.
    pub url: String,
    /// How, for HTTP.
    pub method: Method,
    /// Headers, `Name: value`.
    pub headers: Vec<String>,
    /// Text fields beside the file, for [`Method::Multipart`].
    pub fields: Vec<(String, String)>,
    /// Name of the file's field, for [`Method::Multipart`].
    pub file_field: String,
    /// Name of the file, for multipart and FTP.
    pub file_name: String,
    /// Name and password for FTP; `None`: anonymous.
    pub login: Option<(String, Secret<String>)>,
    /// Lines from this moment on, Unix milliseconds; `None`: all.
    pub from_ms: Option<i64>,
    /// Lines before this moment.
    pub to_ms: Option<i64>,
}

/// How a file goes up by HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// `PUT` with the file as the body.
    #[default]
    Put,
    /// `POST` with the file as the body.
    Post,
    /// `POST` of a form.
    Multipart,
}
