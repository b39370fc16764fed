//! CRC-32 as in Ethernet and zlib (ISO 3309): what is read back from a disk is believed only with it.

/// A sum over pieces.
#[derive(Clone, Copy, Debug)]
pub struct Crc32(u32);

/// The sum of these bytes.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    Crc32::new().with(bytes).sum()
}

impl Crc32 {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(u32::MAX)
    }

    /// Begun with another register than the standard's, for checksums that differ in that only.
    #[must_use]
    pub const fn begun_with(register: u32) -> Self {
        Self(register)
    }

    /// With these bytes as well.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let step = |crc: u32, &byte: &u8| crc >> 8 ^ TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)];
        Self(bytes.iter().fold(self.0, step))
    }

    /// The sum.
    #[must_use]
    pub fn sum(self) -> u32 {
        !self.0
    }

    /// The sum before it is complemented.
    #[must_use]
    pub const fn register(self) -> u32 {
        self.0
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

/// What each byte does to the sum.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_usual_one() {
        // The check value of CRC-32/ISO-HDLC, and of "ab\0cd" by zlib.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(Crc32::new().with(b"ab").with(&[0]).with(b"cd").sum(), 0xF750_0B4D);
    }
}
