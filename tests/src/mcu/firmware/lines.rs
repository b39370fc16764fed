//! The lines of an Intel HEX file as the simulated MCU takes them: each record is checked and put behind the last.

/// What has arrived so far.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
}

impl Lines {
    /// Takes one line without its end, or says what is wrong with it.
    pub fn take(&mut self, line: &[u8], is_last: bool) -> Result<(), String> {
        let record =
            record(line).ok_or_else(|| format!("no record of Intel HEX: {:?}", String::from_utf8_lossy(line)))?;
        let [len, _, _, kind, rest @ ..] = &record[..] else { return Err("a record without its fields".to_owned()) };
        let (_, data) = rest.split_last().ok_or("a record without a checksum")?;
        if usize::from(*len) != data.len() || record.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)) != 0 {
            return Err(format!("length or checksum of {:?}", String::from_utf8_lossy(line)));
        }
        if (*kind == END_OF_FILE) != is_last {
            return Err(format!("record of type {kind}, the last one: {is_last}"));
        }
        if *kind == DATA {
            self.bytes.extend_from_slice(data);
        }
        Ok(())
    }

    /// What the data records hold, in their order.
    pub fn bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn record(line: &[u8]) -> Option<Vec<u8>> {
    let (digits, rest) = line.strip_prefix(b":")?.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = digits.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

// Types of records (Intel Hexadecimal Object File Format Specification, revision A).
const DATA: u8 = 0;
const END_OF_FILE: u8 = 1;
