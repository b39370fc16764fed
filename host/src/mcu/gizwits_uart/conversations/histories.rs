//! Arbitrary histories of a link: whatever bytes, commands, pauses and reopenings come, in whatever order.

use proptest::prelude::*;

use super::*;
use crate::mcu::transfer::{FirmwareInput, Image, ImageFormat};

/// The file that is sent.
const FILE: &[u8] = b":0102\r\n:030405\r\n:00000001FF\r\n";

/// An MCU that is ready for an image with this MD5.
const READY: &[u8] = b"\0\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

use super::firmware::wanted;

/// What may happen to a link, for the test of arbitrary histories.
#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    Frame(u8, u8, Vec<u8>),
    Pass(u64),
    Set(i64),
    Get,
    Reopen,
    Learn,
    Begin(ImageFormat),
    Ready(u16, u16),
    Give,
    Cancel,
}

fn any_step() -> impl Strategy<Value = Step> {
    let payload = prop::collection::vec(prop_oneof![Just(0xFF), Just(0x55), Just(0x04), any::<u8>()], 0..80);
    prop_oneof![
        payload.clone().prop_map(Step::Bytes),
        (0..0x30_u8, 0..6_u8, payload).prop_map(|(command, sn, payload)| Step::Frame(command, sn, payload)),
        (0..6_u8).prop_map(|sn| Step::Frame(0x02, sn, information('1'))),
        (1..200_000_u64).prop_map(Step::Pass),
        (100..400_i64).prop_map(Step::Set),
        Just(Step::Get),
        Just(Step::Reopen),
        Just(Step::Learn),
        Just(Step::Begin(ImageFormat::Binary)),
        Just(Step::Begin(ImageFormat::IntelHex)),
        (0..2_u16, 0..40_u16).prop_map(|(flags, max_len)| Step::Ready(flags, max_len)),
        Just(Step::Give),
        Just(Step::Cancel),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_each_command_and_transfer_has_one_end_and_memory_is_bounded(
        steps in prop::collection::vec(any_step(), 0..60)
    ) {
        let (mut line, _) = Line::opened();
        let (mut ticket, mut ended, mut begun, mut sn) = (0, Vec::new(), 0, 0_u8);
        let mut said = Vec::new();
        for step in steps {
            said.extend(match step {
                Step::Bytes(bytes) => line.bytes(&bytes),
                Step::Frame(command, sn, payload) => line.mcu(command, sn, &payload),
                Step::Pass(ms) => {
                    let said = line.until(line.now.monotonic.0 + ms);
                    said.into_iter().map(|said| said.split_once(' ').unwrap().1.to_owned()).collect()
                }
                Step::Set(mantissa) => { ticket += 1; line.set_target(ticket, mantissa) }
                Step::Get => { ticket += 1; line.command(ticket, CommandBody::Get(vec![].into()), false) }
                Step::Reopen => [line.input(LinkInput::Closed), line.input(LinkInput::Opened)].concat(),
                Step::Learn => line.learn(true),
                Step::Begin(format) => {
                    begun += 1;
                    let image = Image { size: FILE.len() as u32, md5: [0xAA; 16], format };
                    line.input(LinkInput::Firmware(FirmwareInput::Begin(image)))
                }
                Step::Ready(flags, max_len) => {
                    sn = sn.wrapping_add(1);
                    let frame = Frame::new(0x1B, sn, [READY, &max_len.to_be_bytes()].concat());
                    line.bytes(&Frame { flags, ..frame }.encode())
                }
                Step::Give => {
                    let want = said.iter().rev().find_map(|said: &String| wanted(said));
                    let (offset, len) = want.unwrap_or((3, 4));
                    let bytes = &FILE[offset..offset + len];
                    line.input(LinkInput::Firmware(FirmwareInput::Bytes { offset: offset as u32, bytes }))
                }
                Step::Cancel => line.input(LinkInput::Firmware(FirmwareInput::Cancel)),
            });
        }
        said.extend(line.input(LinkInput::Closed));
        let over = |said: &&String| said.starts_with("firmware ended") || said.starts_with("firmware Refused");
        prop_assert_eq!(said.iter().filter(over).count(), begun);
        for said in said {
            if let Some(Ok(ticket)) = said.split(' ').next().map(str::parse::<u64>) {
                ended.push(ticket);
            }
        }
        ended.sort_unstable();
        prop_assert_eq!(ended, (1..=ticket).collect::<Vec<_>>());
        prop_assert_eq!(line.link.next_timeout(), None);
    }
}
