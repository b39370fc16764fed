//! What goes wrong on the simulated line from the MCU to the module.
//!
//! Invariant: a frame that is spoiled here cannot be taken for a whole one by any correct receiver. Eight bits of
//! checksum let one spoiled frame in 256 through; a test that judges losses needs to know the truth.

use super::frame::{Found, Splitter};

/// How often the line spoils what the MCU sends, in per cent of the frames; all zero is a clean line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Random bytes before a frame.
    pub noise: u8,
    /// A random byte inside a frame.
    pub noise_inside: u8,
    /// Only the first part of a frame.
    pub half_frames: u8,
    /// A wrong checksum.
    pub wrong_checksums: u8,
    /// The same frame twice.
    pub duplicates: u8,
    /// After so many spoiled frames of one command in a row the next one is sent clean; 0 = none is spared.
    pub spare: u8,
    /// Nothing is sent and nothing heard.
    pub silent: bool,
}

impl Faults {
    /// A bad cable: every kind of noise at once, yet one of three sendings always gets through.
    pub fn noisy() -> Self {
        Self { noise: 20, noise_inside: 5, half_frames: 5, wrong_checksums: 5, duplicates: 10, spare: 2, silent: false }
    }
}

/// Small reproducible random numbers (xorshift64).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same faults.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }

    fn hit(&mut self, per_cent: u8) -> bool {
        self.below(100) < usize::from(per_cent)
    }
}

/// The bytes that really go over the line for one frame.
pub fn spoil(frame: &[u8], faults: &Faults, dice: &mut Dice) -> Vec<u8> {
    let mut wire = Vec::new();
    if dice.hit(faults.noise) {
        wire = no_frame_in(dice, |dice| (0..dice.below(24)).map(|_| dice.below(256) as u8).collect());
    }
    if dice.hit(faults.noise_inside) {
        wire.extend(no_frame_in(dice, |dice| {
            let mut bytes = frame.to_vec();
            bytes.insert(2 + dice.below(frame.len() - 2), dice.below(256) as u8);
            bytes
        }));
    } else if dice.hit(faults.half_frames) {
        wire.extend_from_slice(&frame[..dice.below(frame.len() - 1) + 1]);
    } else if dice.hit(faults.wrong_checksums) {
        let (last, rest) = frame.split_last().expect("a frame is never empty");
        wire.extend_from_slice(rest);
        wire.push(last ^ 0x10);
    } else {
        wire.extend_from_slice(frame);
        if dice.hit(faults.duplicates) {
            wire.extend_from_slice(frame);
        }
    }
    wire
}

/// Draws until no receiver could find a frame in the bytes, whatever it heard before.
fn no_frame_in(dice: &mut Dice, mut draw: impl FnMut(&mut Dice) -> Vec<u8>) -> Vec<u8> {
    loop {
        let bytes = draw(dice);
        let mut found = Vec::new();
        Splitter::default().feed(&bytes, &mut found);
        if !found.iter().any(|found| matches!(found, Found::Frame(_))) {
            return bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Frame, REPORT};
    use super::*;

    #[test]
    fn a_spoiled_frame_is_never_taken_for_another_one() {
        let mut dice = Dice::new(7);
        let frame = Frame::new(REPORT, 9, &[4, 1, 2, 0xFF, 0xFF, 3]);
        let mut whole = 0;
        for _ in 0..20_000 {
            let wire = spoil(&frame.encode(), &Faults::noisy(), &mut dice);
            let mut found = Vec::new();
            Splitter::default().feed(&wire, &mut found);
            for found in found {
                if let Found::Frame(read) = found {
                    assert_eq!(read, frame);
                    whole += 1;
                }
            }
        }
        assert!(whole > 10_000, "most frames should get through, {whole} of 20000 did");
    }
}
