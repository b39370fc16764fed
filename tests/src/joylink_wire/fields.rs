//! Fields of a packed little-endian structure (JoyLink, 3): a reader that says what is missing, and a writer.

/// Reads from the front. Every error says what was expected.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Over these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next bytes, so many.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| format!("{n} bytes expected where {} are left", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// An `u8`.
    pub fn byte(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    /// An `u16`.
    pub fn short(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    /// An `u32`.
    pub fn word(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    /// An `i32`.
    pub fn int(&mut self) -> Result<i32, String> {
        self.array().map(i32::from_le_bytes)
    }

    /// A number of things to come.
    pub fn count(&mut self) -> Result<usize, String> {
        let n = self.int()?;
        usize::try_from(n).map_err(|_| format!("a number of {n}"))
    }

    /// A text field of this width; zeros fill it up.
    pub fn text(&mut self, width: usize) -> Result<String, String> {
        let field = self.bytes(width)?;
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(width);
        if field[end..].iter().any(|&byte| byte != 0) {
            return Err(format!("a text field with something behind its zero: {field:02x?}"));
        }
        String::from_utf8(field[..end].to_vec()).map_err(|_| format!("a text field that is no UTF-8: {field:02x?}"))
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), String> {
        if self.rest.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", self.rest.len())) }
    }
}

/// Writes one field after the other.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins with a timestamp, as every encrypted payload does (4.5).
    pub fn at(timestamp: u32) -> Self {
        Self::default().word(timestamp)
    }

    /// Bytes as they are.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// An `u8`.
    pub fn byte(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    /// An `u16`.
    pub fn short(self, value: u16) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// An `u32`.
    pub fn word(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// An `i32`.
    pub fn int(self, value: i32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A length or a number of things.
    pub fn count(self, n: usize) -> Self {
        self.int(i32::try_from(n).unwrap_or(i32::MAX))
    }

    /// A text field of this width; what does not fit is cut off.
    pub fn text(mut self, text: &str, width: usize) -> Self {
        let end = self.bytes.len() + width;
        self.bytes.extend(text.bytes().take(width));
        self.bytes.resize(end, 0);
        self
    }

    /// What was written.
    pub fn done(self) -> Vec<u8> {
        self.bytes
    }
}
