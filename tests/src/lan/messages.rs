//! What the module says outside P0: discover answers, announces, device information, hot-spots, log lines (4.3 to 4.7).

use super::frame::Frame;

/// A discover answer (0x04) or a power-on announce (0x05).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Device identity, empty before registration.
    pub did: String,
    /// Interface address.
    pub mac: [u8; 6],
    /// Release date of the firmware; empty until a firmware update told it.
    pub firmware: String,
    /// Product type.
    pub product_key: String,
    /// Missing in answers of the oldest devices.
    pub attributes: Option<u64>,
    /// API server and protocol version, which the newest devices append.
    pub strings: Option<(String, String)>,
}

/// A config-success announce (0x19), whose order of fields is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Interface address.
    pub mac: [u8; 6],
    /// Product type.
    pub product_key: String,
    /// Device identity, empty before registration.
    pub did: String,
}

/// Device information (0x14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Information {
    /// Hardware and software version of the module.
    pub module: (String, String),
    /// Hardware and software version of the MCU.
    pub mcu: (String, String),
    /// P0 protocol version.
    pub p0: String,
    /// Release date of the firmware, or empty.
    pub firmware: String,
    /// Product type.
    pub product_key: String,
}

/// A line of the module's log (0x12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// 0 critical to 4 debug.
    pub level: u8,
    /// Topic.
    pub tag: String,
    /// Where in the module it was written.
    pub source: String,
    /// The text.
    pub content: String,
}

impl Discovery {
    /// Reads the payload of 0x04 or 0x05.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        let mut fields = Fields(payload);
        let did = did(fields.text("did")?)?;
        let mac = mac(fields.bytes("mac")?)?;
        let firmware = firmware(fields.text("firmware version")?)?;
        let product_key = product_key(fields.text("product key")?)?;
        let mut found = Self { did, mac, firmware, product_key, attributes: None, strings: None };
        if !fields.0.is_empty() {
            let attributes = fields.0.split_first_chunk::<8>().ok_or("device attributes of less than 8 bytes")?;
            found.attributes = Some(u64::from_be_bytes(*attributes.0));
            fields.0 = attributes.1;
        }
        if !fields.0.is_empty() {
            found.strings = Some((fields.c_string("API server")?, fields.c_string("protocol version")?));
            // "and sometimes 8 further bytes"
            fields.0 = fields.0.get(8..).unwrap_or(fields.0);
        }
        fields.end(found)
    }

    /// The same of a module that knows the present document: with device attributes and nothing after them.
    pub fn parse_strictly(payload: &[u8]) -> Result<Self, String> {
        let found = Self::parse(payload)?;
        match (found.attributes, &found.strings) {
            (None, _) => Err("ends before the device attributes".to_owned()),
            (_, Some(strings)) => Err(format!("{strings:?} after the device attributes")),
            _ => Ok(found),
        }
    }
}

impl Joined {
    /// Reads the payload of 0x19.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        let mut fields = Fields(payload);
        let found = Self {
            mac: mac(fields.bytes("mac")?)?,
            product_key: product_key(fields.text("product key")?)?,
            did: did(fields.text("did")?)?,
        };
        fields.end(found)
    }
}

impl Information {
    /// Reads the payload of 0x14.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        let mut fields = Fields(payload);
        let module = (fields.fixed("module hardware")?, fields.fixed("module software")?);
        let mcu = (fields.fixed("MCU hardware")?, fields.fixed("MCU software")?);
        let p0 = fields.fixed("P0 version")?;
        let id = fields.take(8, "firmware id")?;
        if id != [0; 8] {
            return Err(format!("firmware id {id:02x?}, zeroes expected"));
        }
        let firmware = firmware(fields.text("firmware version")?)?;
        let product_key = product_key(fields.text("product key")?)?;
        fields.end(Self { module, mcu, p0, firmware, product_key })
    }
}

impl LogLine {
    /// Reads the payload of 0x12.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        let (&level, rest) = payload.split_first().ok_or("log line without a level")?;
        if level > 4 {
            return Err(format!("log level {level}, 0 to 4 expected"));
        }
        let mut fields = Fields(rest);
        let line =
            Self { level, tag: fields.text("tag")?, source: fields.text("source")?, content: fields.text("content")? };
        fields.end(line)
    }
}

/// Reads the payload of 0x0D: names and signal strengths from 0 to 100.
pub fn hotspots(payload: &[u8]) -> Result<Vec<(String, u8)>, String> {
    let mut fields = Fields(payload);
    let mut found = Vec::new();
    while !fields.0.is_empty() {
        let ssid = fields.text("ssid")?;
        let power = fields.take(1, "power")?[0];
        if ssid.len() > SSID || power > 100 {
            return Err(format!("hot-spot {ssid:?} with power {power}"));
        }
        found.push((ssid, power));
    }
    Ok(found)
}

/// Reads the payload of 0x07: the passcode, empty if the module does not give it away now.
pub fn passcode(payload: &[u8]) -> Result<String, String> {
    let mut fields = Fields(payload);
    let passcode = fields.text("passcode")?;
    if !passcode.is_empty() && !is_passcode(&passcode) {
        return Err(format!("passcode of {} bytes, 10 to 32 letters and digits expected", passcode.len()));
    }
    fields.end(passcode)
}

/// 10 to 32 letters and digits (Gizwits protocol, 9, line 7).
pub fn is_passcode(text: &str) -> bool {
    (10..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// 22 letters and digits (1).
pub fn is_did(text: &str) -> bool {
    text.len() == 22 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A string with its length before it (4.1).
pub fn string(text: &[u8]) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("the testbed sends short texts");
    [&len.to_be_bytes(), text].concat()
}

/// An on-boarding request (0x01).
pub fn onboarding(ssid: &[u8], password: &[u8]) -> Frame {
    Frame::new(0x01, [string(ssid), string(password)].concat())
}

fn did(text: String) -> Result<String, String> {
    if text.is_empty() || is_did(&text) {
        Ok(text)
    } else {
        Err(format!("did {text:?}, 22 letters and digits or nothing expected"))
    }
}

fn mac(bytes: &[u8]) -> Result<[u8; 6], String> {
    bytes.try_into().map_err(|_| format!("mac of {} bytes", bytes.len()))
}

fn firmware(text: String) -> Result<String, String> {
    if matches!(text.len(), 0 | 8) { Ok(text) } else { Err(format!("firmware version {text:?}, 0 or 8 characters")) }
}

fn product_key(text: String) -> Result<String, String> {
    if text.len() == 32 { Ok(text) } else { Err(format!("product key {text:?}, 32 characters expected")) }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8], String> {
        let (front, rest) =
            self.0.split_at_checked(n).ok_or_else(|| format!("{what}: {n} bytes expected, {} left", self.0.len()))?;
        self.0 = rest;
        Ok(front)
    }

    fn bytes(&mut self, what: &str) -> Result<&'a [u8], String> {
        let len = self.take(2, what)?;
        self.take(usize::from(u16::from_be_bytes([len[0], len[1]])), what)
    }

    fn text(&mut self, what: &str) -> Result<String, String> {
        let bytes = self.bytes(what)?;
        if bytes.contains(&0) {
            return Err(format!("{what} with a NUL"));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| format!("{what} is no text"))
    }

    /// Eight characters, padded with NUL (1).
    fn fixed(&mut self, what: &str) -> Result<String, String> {
        let bytes = self.take(8, what)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        if !bytes[..end].iter().all(u8::is_ascii_graphic) || bytes[end..].iter().any(|&byte| byte != 0) {
            return Err(format!("{what} is {bytes:02x?}, text padded with NUL expected"));
        }
        Ok(bytes[..end].iter().copied().map(char::from).collect())
    }

    fn c_string(&mut self, what: &str) -> Result<String, String> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or_else(|| format!("{what} without a NUL"))?;
        let text = String::from_utf8(self.0[..end].to_vec()).map_err(|_| format!("{what} is no text"))?;
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    fn end<T>(&self, found: T) -> Result<T, String> {
        if self.0.is_empty() { Ok(found) } else { Err(format!("{} bytes too many", self.0.len())) }
    }
}

/// Longest name of a network (4.2).
const SSID: usize = 32;
