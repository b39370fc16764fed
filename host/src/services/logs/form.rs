//! A form with one file (`multipart/form-data`, RFC 7578).

/// A form; its names and values have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Text fields, in this order before the file.
    pub fields: Vec<(String, String)>,
    /// Name of the file's field.
    pub file_field: String,
    /// Name of the file.
    pub file_name: String,
}

impl Form {
    /// The whole body. The boundary must be in no part of it, which a random one never is.
    #[must_use]
    pub fn body(&self, boundary: &str, kind: &str, file: &[u8]) -> Vec<u8> {
        let mut head = String::new();
        for (name, value) in &self.fields {
            head += &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        let Self { file_field, file_name, .. } = self;
        head += &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{file_field}\"; filename=\"{file_name}\"\r\n\
             Content-Type: {kind}\r\n\r\n"
        );
        [head.as_bytes(), file, format!("\r\n--{boundary}--\r\n").as_bytes()].concat()
    }
}

/// Can this be the name of a field? It stands in quotes, and what would have to be escaped there is read differently by
/// different servers.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c == '"' || c == '\\')
}

/// Bytes of the name of a field at most. Not documented; chosen by us.
const NAME_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_its_fields_and_then_the_file() {
        let form = Form {
            fields: vec![("devId".to_owned(), "7".to_owned())],
            file_field: "file".to_owned(),
            file_name: "7.log".to_owned(),
        };
        let expected = "--b\r\nContent-Disposition: form-data; name=\"devId\"\r\n\r\n7\r\n\
                        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"7.log\"\r\n\
                        Content-Type: text/plain\r\n\r\na\nb\r\n--b--\r\n";
        assert_eq!(form.body("b", "text/plain", b"a\nb"), expected.as_bytes());
    }

    #[test]
    fn a_name_cannot_end_its_quotes() {
        for (name, fits) in
            [("file", true), ("日志", true), ("", false), ("a\"b", false), ("a\r\nb", false), ("a\\", false)]
        {
            assert_eq!(is_name(name), fits, "{name:?}");
        }
    }
}
