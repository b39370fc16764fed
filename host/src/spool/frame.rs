//! How records lie in a segment: marked, measured and summed, so that one that is broken costs itself and not what
//! follows.
//!
//! A segment begins with `PLJ1`. A frame is the marker 0xA7, kind (one byte), length (three bytes, big endian), CRC-32 over the
//! segment's number, kind, length and payload, payload. The number is part of the sum, so that what stands in a file of the wrong name is not
//! believed.

use crate::disk::Crc32;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Everything but the reports themselves, as it is before what follows.
    Checkpoint = 1,
    /// A report, from now on held by each cloud of the checkpoint.
    Report = 2,
    /// A report that stood in an older segment; who holds it is in the checkpoint.
    Kept = 3,
    /// What clouds have settled and lost.
    Settled = 4,
}

/// Adds a frame; false: the payload is too long for one.
pub(super) fn put_frame(bytes: &mut Vec<u8>, segment: u64, kind: Kind, payload: &[u8]) -> bool {
    if payload.len() > PAYLOAD_MAX {
        return false;
    }
    let length = (payload.len() as u32).to_be_bytes();
    let head = [kind as u8, length[1], length[2], length[3]];
    bytes.push(MARKER);
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&sum(segment, &head, payload).to_be_bytes());
    bytes.extend_from_slice(payload);
    true
}

/// What can be read of a segment.
#[derive(Debug, Default)]
pub(super) struct Scan<'a> {
    /// The frames that are whole, in order.
    pub frames: Vec<(Kind, &'a [u8])>,
    /// Stretches that are not, with whole frames behind them. One at the end is what a power cut leaves and does not count.
    pub n_broken: u64,
}

/// Reads a segment; none: it does not begin like one.
pub(super) fn scan(segment: u64, bytes: &[u8]) -> Option<Scan<'_>> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut scan = Scan::default();
    let mut is_broken = false;
    let mut n_tries = 0;
    while !rest.is_empty() {
        if let Some((kind, payload, after)) = frame(segment, rest) {
            scan.n_broken += u64::from(std::mem::take(&mut is_broken));
            scan.frames.push((kind, payload));
            rest = after;
            continue;
        }
        is_broken = true;
        n_tries += 1;
        let next = rest[1..].iter().position(|&byte| byte == MARKER);
        match next.filter(|_| n_tries < TRIES_MAX) {
            Some(next) => rest = &rest[1 + next..],
            None => break,
        }
    }
    Some(scan)
}

fn frame(segment: u64, bytes: &[u8]) -> Option<(Kind, &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(FRAME_BYTES)?;
    let [MARKER, kind, a, b, c, sum_bytes @ ..] = head else { return None };
    let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
    let (payload, after) = rest.split_at_checked(length)?;
    if sum(segment, &[*kind, *a, *b, *c], payload).to_be_bytes() != sum_bytes {
        return None;
    }
    let kind =
        [Kind::Checkpoint, Kind::Report, Kind::Kept, Kind::Settled].into_iter().find(|one| *one as u8 == *kind)?;
    Some((kind, payload, after))
}

fn sum(segment: u64, head: &[u8; 4], payload: &[u8]) -> u32 {
    Crc32::new().with(&segment.to_be_bytes()).with(head).with(payload).sum()
}

/// First bytes of a segment; the digit is the version of the layout. Chosen by us.
pub(super) const MAGIC: &[u8] = b"PLJ1";

/// Bytes of a frame before its payload.
pub(super) const FRAME_BYTES: usize = 9;

/// First byte of a frame. Chosen by us: rare in text and in small numbers.
const MARKER: u8 = 0xA7;

/// What three bytes can measure.
const PAYLOAD_MAX: usize = 0xFF_FFFF;

/// Places in one segment at which a frame is looked for in vain. Chosen by us: far more than damage makes, and few enough for
/// a file that was made to be slow.
const TRIES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        payloads.iter().for_each(|payload| assert!(put_frame(&mut bytes, 7, Kind::Report, payload)));
        bytes
    }

    fn check(bytes: &[u8], expected: &[&[u8]], n_broken: u64) {
        let scan = scan(7, bytes).expect("it begins like a segment");
        assert_eq!(scan.frames.iter().map(|(_, payload)| *payload).collect::<Vec<_>>(), expected);
        assert_eq!(scan.n_broken, n_broken);
    }

    #[test]
    fn damage_costs_the_frame_it_hits() {
        let whole = segment(&[b"one", b"", b"three"]);
        check(&whole, &[b"one", b"", b"three"], 0);
        let mut broken = whole.clone();
        broken[MAGIC.len() + FRAME_BYTES] ^= 1;
        check(&broken, &[b"", b"three"], 1);
        let n = whole.len();
        check(&whole[..n - 1], &[b"one", b""], 0);
        check(&[&whole[..], &[0; 20]].concat(), &[b"one", b"", b"three"], 0);
        let second = MAGIC.len() + FRAME_BYTES + 3;
        check(&[&whole[..second], &[MARKER; 30], &whole[second..]].concat(), &[b"one", b"", b"three"], 1);
        assert!(scan(8, &whole).expect("it begins like a segment").frames.is_empty(), "the number belongs to the sum");
        assert!(scan(7, b"PLJ2").is_none() && scan(7, b"").is_none());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(!put_frame(&mut Vec::new(), 7, Kind::Report, &vec![0; PAYLOAD_MAX + 1]));
    }

    proptest! {
        #[test]
        fn no_bytes_can_panic_the_scan(bytes: Vec<u8>) {
            let _ = scan(7, &[MAGIC, &bytes].concat());
        }
    }
}
