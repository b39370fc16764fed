//! The two checksums, bit by bit (JoyLink, 3 and 10).

/// Over opt and payload of a packet: polynomial 0x1021, begins with 0xFFFF, most significant bit first.
pub fn crc16(parts: &[&[u8]]) -> u16 {
    let mut crc = 0xFFFF_u16;
    for byte in parts.iter().copied().flatten() {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc
}

/// Of a firmware image: the reflected polynomial 0xEDB88320, begins with 0, and nothing is done at the end.
pub fn crc32(image: &[u8]) -> u32 {
    let mut crc = 0_u32;
    for byte in image {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1 != 0;
            crc >>= 1;
            if carry {
                crc ^= 0xEDB8_8320;
            }
        }
    }
    crc
}
