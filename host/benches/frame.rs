//! How much slower frame decode is than copying the same bytes one by one, in one run on one machine: absolute times
//! differ between machines, the ratio hardly does. Prints one line per kind of traffic.

use std::hint::black_box;
use std::time::{Duration, Instant};

use polylink::mcu::gizwits_uart::frame::{Decoder, Frame};

fn main() {
    let report = Frame::new(5, 1, b"\x04\x05\xFE\xFF\x01\x00\x02\x01\x26\x3C\x02\x04".to_vec()).encode();
    let long = Frame::new(5, 1, (0..1000_u32).map(|at| at as u8).collect()).encode();
    let noise: Vec<u8> = (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    println!("{:<24} {:>12} {:>12} {:>8}", "traffic", "decode ns/B", "copy ns/B", "ratio");
    for (name, piece) in [("reports of 22 bytes", report), ("reports of 1000 bytes", long), ("noise", noise)] {
        let wire: Vec<u8> = piece.iter().copied().cycle().take(64 * 1024 / piece.len() * piece.len()).collect();
        let decode = best(|| decode(black_box(&wire)));
        let copy = best(|| copy(black_box(&wire)));
        let per_byte = |time: Duration| time.as_nanos() as f64 / wire.len() as f64;
        let (decode, copy) = (per_byte(decode), per_byte(copy));
        println!("{name:<24} {decode:>12.2} {copy:>12.2} {:>8.1}", decode / copy);
    }
}

/// Decodes in pieces such as a tty gives.
fn decode(wire: &[u8]) -> usize {
    let (mut decoder, mut payload_bytes) = (Decoder::default(), 0);
    for piece in wire.chunks(64) {
        decoder.push(piece, |frame| payload_bytes += frame.map_or(0, |frame| frame.payload.len()));
    }
    payload_bytes
}

/// The baseline: each byte looked at and pushed once.
fn copy(wire: &[u8]) -> usize {
    let mut copied = Vec::new();
    for &byte in wire {
        copied.push(black_box(byte));
    }
    copied.len()
}

/// The fastest of some runs, least disturbed by other work on the machine.
fn best(run: impl Fn() -> usize) -> Duration {
    let timed = |_| {
        let start = Instant::now();
        black_box(run());
        start.elapsed()
    };
    (0..50).map(timed).min().unwrap_or_default()
}
