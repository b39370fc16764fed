//! [`Form`] out, [`Fields`] in: the `name=value&name=value` of the API.

/// A form or query that is being written.
#[derive(Default)]
pub(super) struct Form(String);

impl Form {
    /// Adds a field, escaped.
    pub(super) fn field(&mut self, name: &str, value: &str) -> &mut Self {
        let text = &mut self.0;
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            // What a form need not escape (WHATWG URL, application/x-www-form-urlencoded); a space is `%20`, which is
            // right in a query, too.
            if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        self
    }

    /// What was written.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// The fields of an answer. Values are taken as they stand: the vendor's module does not unescape either, and the
/// addresses in them would not survive it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    /// Reads a body; `None` if it is no text or has no field at all. A final line end and empty pieces are dropped.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?.trim();
        let fields: Vec<_> = text.split('&').filter_map(|piece| piece.trim().split_once('=')).collect();
        (!fields.is_empty()).then_some(Self(fields))
    }

    /// The first field of this name, as the vendor's module reads it.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
    }

    /// All fields but these, in their order, as `name=value&name=value`.
    pub(super) fn others(&self, names: &[&str]) -> String {
        let others = self.0.iter().filter(|(name, _)| !names.contains(name));
        others.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    /// An address and, as it is not escaped, the fields after it that are none of `names`: they belong to its query.
    pub(super) fn address(&self, name: &str, names: &[&str]) -> Option<String> {
        let at = self.0.iter().position(|(field, _)| *field == name)?;
        let mut address = self.0[at].1.to_owned();
        if address.contains('?') {
            for (field, value) in self.0[at + 1..].iter().take_while(|(field, _)| !names.contains(field)) {
                address.push_str(&format!("&{field}={value}"));
            }
        }
        Some(address)
    }
}
