//! Frames of the Gizwits serial protocol: bytes to [`Frame`]s and back.
//!
//! `FF FF`, length, command, sequence number, flags, payload, checksum; every 0xFF after the two header bytes is
//! followed by 0x55 on the wire, which neither length nor checksum count. So two 0xFF in a row are always a header, and
//! the decoder finds the next frame after any noise. What the commands mean is left to the link.

use std::fmt;

/// One frame without header, stuffing and checksum.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub command: u8,
    /// Sequence number of the request, echoed by its acknowledgement.
    pub sn: u8,
    /// 0 unless the command says otherwise.
    pub flags: u16,
    /// The rest.
    pub payload: Vec<u8>,
}

/// Why bytes were no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A header came before the frame was complete.
    #[error("a new header came after {got} of {wanted} bytes of a frame")]
    Truncated {
        /// Bytes that came after the header.
        got: usize,
        /// Bytes that the length field announced; 2 while it is not known.
        wanted: usize,
    },
    /// 0xFF inside a frame without 0x55 behind it.
    #[error("byte {found:#04x} follows FF inside a frame; 55 stuffs it, FF begins a header")]
    Stuffing {
        /// What came.
        found: u8,
    },
    /// A length that no frame has.
    #[error("the length field says {found}; accepted: {MIN_LEN} to {MAX_LEN}")]
    Length {
        /// What it says.
        found: u16,
    },
    /// Bytes were changed on the way.
    #[error("checksum of command {command:#04x} is {found:#04x}, computed {computed:#04x}")]
    Checksum {
        /// The command, perhaps wrong as well.
        command: u8,
        /// The sequence number, perhaps wrong as well.
        sn: u8,
        /// What came.
        found: u8,
        /// What would be right.
        computed: u8,
    },
    /// No more bytes came.
    #[error("the line fell silent after {got} of {wanted} bytes of a frame")]
    Silence {
        /// Bytes that came after the header.
        got: usize,
        /// Bytes that the length field announced; 2 while it is not known.
        wanted: usize,
    },
}

impl FrameError {
    /// The counter that this error adds to.
    #[must_use]
    pub const fn counter(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Stuffing { .. } => "stuffing",
            Self::Length { .. } => "length",
            Self::Checksum { .. } => "checksum",
            Self::Silence { .. } => "incomplete",
        }
    }
}

impl Frame {
    /// A request or answer without flags.
    #[must_use]
    pub const fn new(command: u8, sn: u8, payload: Vec<u8>) -> Self {
        Self { command, sn, flags: 0, payload }
    }

    /// The bytes on the wire. A payload is at most [`MAX_PAYLOAD`] bytes, what is beyond is cut off.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let payload = &self.payload[..self.payload.len().min(MAX_PAYLOAD)];
        let [len_high, len_low] = ((payload.len() + usize::from(MIN_LEN)) as u16).to_be_bytes();
        let [flags_high, flags_low] = self.flags.to_be_bytes();
        let head = [len_high, len_low, self.command, self.sn, flags_high, flags_low];
        let checksum = head.iter().chain(payload).fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let mut wire = Vec::with_capacity(payload.len() + 12);
        wire.extend(HEADER);
        for &byte in head.iter().chain(payload).chain(&[checksum]) {
            wire.push(byte);
            if byte == HEADER[0] {
                wire.push(STUFFING);
            }
        }
        wire
    }
}

/// The payload is not shown: one that enters configuration may carry the user's network password.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, sn, flags, payload } = self;
        write!(f, "Frame {{ command: {command:#04x}, sn: {sn}, flags: {flags:#06x}, {} bytes }}", payload.len())
    }
}

/// Finds frames in a stream of bytes. Holds at most one incomplete frame.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    /// Plain bytes since the header.
    frame: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No header yet.
    #[default]
    Hunting,
    /// One 0xFF outside a frame.
    HalfHeader,
    /// Header complete, no byte of the frame yet.
    Start,
    /// Inside a frame.
    Body,
    /// 0xFF inside a frame.
    Escape,
}

impl Decoder {
    /// Takes bytes; `found` gets the frames and errors in their order. Noise outside frames is passed over in silence.
    pub fn push(&mut self, mut bytes: &[u8], mut found: impl FnMut(Result<Frame, FrameError>)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            // Runs of ordinary bytes inside a frame are taken at once.
            if self.state == State::Body && self.frame.len() >= LENGTH_BYTES {
                let wanted = (self.wanted() - self.frame.len()).min(bytes.len());
                let run = bytes[..wanted].iter().position(|&byte| byte == HEADER[0]).unwrap_or(wanted);
                if run > 0 {
                    self.frame.extend_from_slice(&bytes[..run]);
                    bytes = &bytes[run..];
                    self.finish(&mut found);
                    continue;
                }
            }
            bytes = rest;
            self.state = match (self.state, byte) {
                (State::Hunting, 0xFF) => State::HalfHeader,
                (State::HalfHeader | State::Start, 0xFF) => State::Start,
                (State::Hunting | State::HalfHeader, _) => State::Hunting,
                (State::Body, 0xFF) => State::Escape,
                (State::Escape, 0xFF) => {
                    found(Err(FrameError::Truncated { got: self.frame.len(), wanted: self.wanted() }));
                    self.frame.clear();
                    State::Start
                }
                (State::Escape, STUFFING) => {
                    self.take(0xFF, &mut found);
                    continue;
                }
                (State::Escape, byte) => {
                    found(Err(FrameError::Stuffing { found: byte }));
                    self.frame.clear();
                    State::Hunting
                }
                (State::Start | State::Body, byte) => {
                    self.take(byte, &mut found);
                    continue;
                }
            };
        }
    }

    /// Whether a frame has begun and is not complete.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        matches!(self.state, State::Start | State::Body | State::Escape)
    }

    /// Gives up the incomplete frame, if there is one.
    pub fn abandon(&mut self) -> Option<FrameError> {
        let inside = self.is_inside();
        let error = FrameError::Silence { got: self.frame.len(), wanted: self.wanted() };
        *self = Self { state: State::Hunting, frame: std::mem::take(&mut self.frame) };
        self.frame.clear();
        inside.then_some(error)
    }

    /// Bytes held.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.frame.len()
    }

    fn take(&mut self, byte: u8, found: &mut impl FnMut(Result<Frame, FrameError>)) {
        self.state = State::Body;
        self.frame.push(byte);
        if self.frame.len() == LENGTH_BYTES {
            let len = u16::from_be_bytes([self.frame[0], self.frame[1]]);
            if !(MIN_LEN..=MAX_LEN).contains(&len) {
                found(Err(FrameError::Length { found: len }));
                self.frame.clear();
                self.state = State::Hunting;
            }
        } else {
            self.finish(found);
        }
    }

    /// Hands the frame over if it is complete.
    fn finish(&mut self, found: &mut impl FnMut(Result<Frame, FrameError>)) {
        if self.frame.len() < self.wanted() {
            return;
        }
        self.state = State::Hunting;
        if let [checked @ .., checksum] = self.frame.as_slice()
            && let [_, _, command, sn, flags_high, flags_low, payload @ ..] = checked
        {
            let computed = checked.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            let (command, sn) = (*command, *sn);
            found(if computed == *checksum {
                let flags = u16::from_be_bytes([*flags_high, *flags_low]);
                Ok(Frame { command, sn, flags, payload: payload.to_vec() })
            } else {
                Err(FrameError::Checksum { command, sn, found: *checksum, computed })
            });
        }
        self.frame.clear();
    }

    /// Bytes that the frame has when complete, as far as is known.
    fn wanted(&self) -> usize {
        match self.frame.as_slice() {
            [high, low, ..] => LENGTH_BYTES + usize::from(u16::from_be_bytes([*high, *low])),
            _ => LENGTH_BYTES,
        }
    }
}

/// Longest payload. Not documented; chosen by us: published products carry payloads of almost 1000 bytes, the vendor's
/// module has a buffer of 1024.
pub const MAX_PAYLOAD: usize = 4096;

/// First bytes of a frame (Gizwits serial protocol, frame format).
const HEADER: [u8; 2] = [0xFF, 0xFF];

/// Follows each 0xFF after the header (Gizwits serial protocol, frame format).
const STUFFING: u8 = 0x55;

/// Size of the length field.
const LENGTH_BYTES: usize = 2;

/// Command, sequence number, flags and checksum.
const MIN_LEN: u16 = 5;

/// The longest payload with its frame.
const MAX_LEN: u16 = MIN_LEN + MAX_PAYLOAD as u16;

#[cfg(test)]
mod tests {
    use super::super::vectors::{self, unhex};
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Vec<Result<Frame, FrameError>> {
        decode_in_pieces(bytes, bytes.len().max(1))
    }

    fn decode_in_pieces(bytes: &[u8], size: usize) -> Vec<Result<Frame, FrameError>> {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(size) {
            decoder.push(piece, |item| found.push(item));
            assert!(decoder.queued_bytes() <= MAX_PAYLOAD + 7);
        }
        found
    }

    #[test]
    fn every_recorded_frame_decodes_to_its_fields_and_encodes_to_its_bytes() {
        let vectors = vectors::frames();
        for vector in &vectors {
            let frame = Frame {
                command: vector.cmd.unwrap(),
                sn: vector.sn.unwrap(),
                flags: vector.flags.unwrap(),
                payload: unhex(vector.payload_hex.as_deref().unwrap()),
            };
            let wire = unhex(&vector.wire_hex);
            assert_eq!(decode(&wire), [Ok(frame.clone())], "{}", vector.id);
            assert_eq!(frame.encode(), wire, "{}", vector.id);
        }
        assert_eq!(vectors.len(), 44);
    }

    #[test]
    fn every_recorded_stream_gives_its_frames_and_errors_in_order() {
        for vector in vectors::streams() {
            for size in [1, usize::MAX] {
                let shown: Vec<_> = decode_in_pieces(&unhex(&vector.wire_hex), size)
                    .into_iter()
                    .map(|item| match item {
                        Ok(frame) => {
                            let payload: String = frame.payload.iter().map(|byte| format!("{byte:02x}")).collect();
                            format!("frame {} {} {} {payload}", frame.command, frame.sn, frame.flags)
                        }
                        Err(error) => format!("error {}", error.counter()),
                    })
                    .collect();
                assert_eq!(shown, vector.expected(), "{}", vector.id);
            }
        }
    }

    #[test]
    fn noise_between_frames_is_passed_over_in_silence() {
        let good = Frame::new(5, 1, vec![4, 0xFF]);
        let mut wire = b"boot v1.2\xFF\x00\xFF\x55\r\n".to_vec();
        wire.extend(good.encode());
        wire.extend(b"\x00\x00");
        wire.extend(good.encode());
        assert_eq!(decode(&wire), [Ok(good.clone()), Ok(good)]);
    }

    #[test]
    fn a_frame_with_an_impossible_length_is_refused_before_its_bytes_are_kept() {
        assert_eq!(decode(&[0xFF, 0xFF, 0, 4, 1, 2]), [Err(FrameError::Length { found: 4 })]);
        assert_eq!(decode(&[0xFF, 0xFF, 0x10, 6, 1, 2]), [Err(FrameError::Length { found: 0x1006 })]);
        assert_eq!(decode(&[0xFF, 0xFF, 0xFE, 0xFF, 0x55, 2]), [Err(FrameError::Length { found: 0xFEFF })]);
    }

    #[test]
    fn an_unstuffed_ff_inside_a_frame_ends_it() {
        let mut wire = vec![0xFF, 0xFF, 0, 7, 5, 1, 0, 0, 4, 0xFF, 0x54];
        let good = Frame::new(7, 2, vec![]);
        wire.extend(good.encode());
        assert_eq!(decode(&wire), [Err(FrameError::Stuffing { found: 0x54 }), Ok(good)]);
    }

    #[test]
    fn a_half_frame_is_given_up_when_the_line_falls_silent() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xFF, 0xFF, 0, 7, 5], |_| panic!("nothing is complete"));
        assert!(decoder.is_inside());
        assert_eq!(decoder.abandon(), Some(FrameError::Silence { got: 3, wanted: 9 }));
        assert_eq!((decoder.abandon(), decoder.queued_bytes()), (None, 0));
    }

    /// Bytes with many header and stuffing bytes among them.
    fn any_wire() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            3 => any_frame().prop_map(|frame| frame.encode()),
            2 => prop::collection::vec(prop_oneof![Just(0xFF), Just(0x55), Just(0x00), any::<u8>()], 0..12),
            1 => any_frame().prop_map(|frame| { let mut wire = frame.encode(); wire.truncate(wire.len() - 3); wire }),
        ];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let payload = prop::collection::vec(prop_oneof![Just(0xFF), any::<u8>()], 0..40);
        (any::<u8>(), any::<u8>(), any::<u16>(), payload).prop_map(|(command, sn, flags, payload)| Frame {
            command,
            sn,
            flags,
            payload,
        })
    }

    proptest! {
        #[test]
        fn every_frame_survives_the_wire(frame in any_frame()) {
            prop_assert_eq!(decode(&frame.encode()), [Ok(frame)]);
        }

        #[test]
        fn pieces_of_any_size_decode_as_the_whole(wire in any_wire(), size in 1_usize..9) {
            prop_assert_eq!(decode_in_pieces(&wire, size), decode(&wire));
        }

        #[test]
        fn after_any_noise_the_second_frame_is_always_found(noise: Vec<u8>, frame in any_frame()) {
            let wire = [noise, frame.encode(), frame.encode()].concat();
            prop_assert_eq!(decode(&wire).pop(), Some(Ok(frame)));
        }
    }
}
