//! The two check sums: one of packets, one of firmware images. Both take their bytes in any number of pieces.

/// Check sum of a packet: CRC-16/IBM-3740, also called CCITT-FALSE (JoyLink V1.79, packet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc16(u16);

impl Crc16 {
    /// Over nothing so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(0xFFFF)
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |crc, byte| crc << 8 ^ TABLE_16[usize::from((crc >> 8) as u8 ^ byte)]);
    }

    /// The check sum of all that came.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }
}

impl Default for Crc16 {
    fn default() -> Self {
        Self::new()
    }
}

/// The check sum of a packet whose parts stand one after the other.
#[must_use]
pub fn crc16(parts: &[&[u8]]) -> u16 {
    let mut crc = Crc16::new();
    for part in parts {
        crc.update(part);
    }
    crc.value()
}

/// Check sum of a firmware image: reflected polynomial 0xEDB88320, but from 0 and without a final inversion, so another
/// one than zlib's (JD device SDKs 1.3 and 2.0, `joylink_auth_crc.c`). Zeros in front of an image do not change it: who
/// checks an image also compares its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crc32(u32);

impl Crc32 {
    /// Over nothing so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |crc, byte| crc >> 8 ^ TABLE_32[usize::from(crc as u8 ^ byte)]);
    }

    /// The check sum of all that came.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

/// The check sum of a whole firmware image.
#[must_use]
pub fn crc32(image: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    crc.update(image);
    crc.value()
}

const TABLE_16: [u16; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

const TABLE_32: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xEDB8_8320 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_have_the_check_values_of_the_catalogue() {
        assert_eq!(crc16(&[b"123456789"]), 0x29B1);
        assert_eq!(crc16(&[]), 0xFFFF);
        assert_eq!(crc32(b"123456789"), 0x2DFD_2D88);
        assert_eq!(crc32(b""), 0);
    }

    proptest! {
        #[test]
        fn pieces_make_the_sum_of_the_whole(pieces: Vec<Vec<u8>>) {
            let whole = pieces.concat();
            let parts: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(crc16(&parts), crc16(&[&whole]));
            let mut crc = Crc32::new();
            pieces.iter().for_each(|piece| crc.update(piece));
            prop_assert_eq!(crc.value(), crc32(&whole));
        }
    }
}
