use std::os::fd::OwnedFd;
use std::time::Duration;

use md5::{Digest, Md5};
use rustix::fs::{Mode, OFlags};

use super::super::firmware::{Trouble, image};
use super::super::frame::{
    BIG_DATA, CONTROL, Found, Frame, GET_INFO, HEARTBEAT, ILLEGAL, PIECE, READY, REPORT, RESET, Splitter,
};
use super::*;

const ACK: u8 = REPORT + 1;

fn demo(rate: u32) -> McuOptions {
    let schema = Schema::parse(include_str!("../../../products/demo.datapoints.json")).unwrap();
    McuOptions { schema, counter: "counter".into(), rate, baud: None, seed: 3 }
}

/// A module written here in ten lines, on the other end of the line.
struct Module {
    line: OwnedFd,
    splitter: Splitter,
}

impl Module {
    fn on(mcu: &McuSim) -> Self {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
        Self { line: rustix::fs::open(mcu.path(), flags, Mode::empty()).unwrap(), splitter: Splitter::default() }
    }

    fn say(&self, frame: &Frame) {
        rustix::io::write(&self.line, &frame.encode()).unwrap();
    }

    /// Yields to the simulator until it has said something.
    async fn hear(&mut self) -> Vec<Frame> {
        let mut buffer = [0; 512];
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if let Ok(n) = rustix::io::read(&self.line, &mut buffer) {
                let mut found = Vec::new();
                self.splitter.feed(&buffer[..n], &mut found);
                return found
                    .into_iter()
                    .map(|found| match found {
                        Found::Frame(frame) => frame,
                        Found::Violation(text) => panic!("{text}"),
                    })
                    .collect();
            }
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn the_mcu_reports_only_after_the_handshake_and_repeats_what_is_not_acknowledged() {
    run(async {
        let mcu = McuSim::start(demo(100)).unwrap();
        let mut module = Module::on(&mcu);
        module.say(&Frame::new(GET_INFO, 0, &[]));
        let mut frames = module.hear().await;
        assert_eq!((frames[0].cmd, frames[0].payload.len()), (GET_INFO + 1, 66));
        frames.remove(0);
        while frames.len() < 2 {
            frames.extend(module.hear().await);
        }
        assert_eq!(frames[0], frames[1], "the same report again, with the same number");
        module.say(&Frame::new(ACK, frames[0].sn, &[]));
        while module.hear().await[0] == frames[0] {}
        let log = mcu.log();
        assert_eq!(log.acknowledged[0].counter, 1);
        assert_eq!(log.violations, Vec::<String>::new());
    });
}

#[test]
fn a_control_is_acknowledged_obeyed_once_and_reported() {
    run(async {
        let mcu = McuSim::start(demo(0)).unwrap();
        let mut module = Module::on(&mcu);
        module.say(&Frame::new(GET_INFO, 0, &[]));
        module.hear().await;
        let control = Frame::new(CONTROL, 1, &[1, 0b100, 0, 23]);
        module.say(&control);
        module.say(&control);
        let mut frames = module.hear().await;
        while frames.len() < 3 {
            frames.extend(module.hear().await);
        }
        assert_eq!(frames.iter().filter(|frame| **frame == Frame::new(CONTROL + 1, 1, &[])).count(), 2);
        let report = frames.iter().find(|frame| frame.cmd == REPORT).expect("a report of the change");
        assert_eq!(report.payload[..3], [4, 0, 23]);
        assert_eq!(mcu.log().commands.len(), 1);
    });
}

#[test]
fn a_reset_is_asked_for_until_the_module_acknowledges_it() {
    run(async {
        let mcu = McuSim::start(demo(0)).unwrap();
        let mut module = Module::on(&mcu);
        mcu.reset();
        module.say(&Frame::new(GET_INFO, 0, &[]));
        let mut frames = module.hear().await;
        while frames.len() < 3 {
            frames.extend(module.hear().await);
        }
        assert_eq!((frames[1].cmd, frames[1].payload.len()), (RESET, 0));
        assert_eq!(frames[1], frames[2], "the same request again, with the same number");
        module.say(&Frame::new(RESET + 1, frames[1].sn, &[]));
        mcu.until(|log| !log.pressed.is_empty()).await;
        let log = mcu.log();
        assert_eq!((log.pressed, log.presses_given_up), (vec![RESET], 0));
        assert_eq!(log.violations, Vec::<String>::new());
    });
}

/// What the module hears until there is a frame with this command; that frame.
async fn heard(module: &mut Module, command: u8) -> Frame {
    loop {
        if let Some(frame) = module.hear().await.into_iter().find(|frame| frame.cmd == command) {
            return frame;
        }
    }
}

/// A module that has shaken hands and announced a file, with what the MCU says of its readiness, which it acknowledges.
async fn announces(mcu: &McuSim, file: &[u8]) -> Module {
    let mut module = Module::on(mcu);
    module.say(&Frame::new(GET_INFO, 0, &[]));
    module.hear().await;
    let md5: String = Md5::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    let size = u32::try_from(file.len()).unwrap().to_be_bytes();
    module.say(&Frame::new(BIG_DATA, 1, &[&size[..], &[0, 32], md5.as_bytes()].concat()));
    acknowledges_readiness(&mut module).await;
    module
}

async fn acknowledges_readiness(module: &mut Module) {
    let ready = heard(module, READY).await;
    assert_eq!(ready.payload[34..], [0, 100]);
    module.say(&Frame::new(READY + 1, ready.sn, &[]));
}

async fn sends(module: &mut Module, file: &[u8], pieces: usize) {
    for (at, data) in file.chunks(100).enumerate().take(pieces) {
        let no = u8::try_from(at + 1).unwrap();
        let count = u8::try_from(file.len().div_ceil(100)).unwrap();
        module.say(&Frame::new(PIECE, 10 + no, &[&[0, no, 0, count][..], data].concat()));
        assert_eq!(heard(module, PIECE + 1).await.sn, 10 + no);
    }
}

#[test]
fn firmware_is_taken_and_told_in_the_next_handshake() {
    run(async {
        let mcu = McuSim::start(demo(0)).unwrap();
        mcu.change_firmware(|firmware| firmware.piece_len = 100);
        let file = image(1050, "POLYSW02");
        let mut module = announces(&mcu, &file).await;
        sends(&mut module, &file, 11).await;
        mcu.until(|log| !log.firmware.runs.is_empty()).await;
        assert_eq!(mcu.software(), "POLYSW02");
        // It hears nothing as long as it restarts.
        while mcu.with_log(|log| log.told_version.as_deref() != Some("POLYSW02")) {
            module.say(&Frame::new(GET_INFO, 99, &[]));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let log = mcu.log();
        assert_eq!((log.firmware.received, log.violations), (vec![file], vec![]));
    });
}

#[test]
fn an_mcu_that_restarts_in_the_middle_is_ready_once_more() {
    run(async {
        let mcu = McuSim::start(demo(0)).unwrap();
        mcu.change_firmware(|firmware| {
            *firmware = FirmwareManners {
                piece_len: 100,
                trouble: Some(Trouble::RestartsAfter { pieces: 2, times: 1 }),
                ..FirmwareManners::default()
            };
        });
        let file = image(250, "POLYSW02");
        let mut module = announces(&mcu, &file).await;
        sends(&mut module, &file, 2).await;
        acknowledges_readiness(&mut module).await;
        sends(&mut module, &file, 3).await;
        mcu.until(|log| log.firmware.runs == ["POLYSW02"]).await;
        assert_eq!(mcu.log().violations, Vec::<String>::new());
    });
}

#[test]
fn an_mcu_whose_readiness_is_refused_says_it_no_more() {
    run(async {
        let mcu = McuSim::start(demo(0)).unwrap();
        let mut module = Module::on(&mcu);
        module.say(&Frame::new(GET_INFO, 0, &[]));
        module.hear().await;
        module.say(&Frame::new(BIG_DATA, 1, &[&[0, 0, 0, 9, 0, 32][..], &[b'a'; 32]].concat()));
        let ready = heard(&mut module, READY).await;
        module.say(&Frame::new(ILLEGAL, ready.sn, &[2]));
        mcu.until(|log| log.firmware.refusals == [2]).await;
        mcu.at_rest().await;
        assert_eq!(mcu.log().violations, Vec::<String>::new());
    });
}

#[test]
fn breaches_of_protocol_are_written_down() {
    for (frame, breach) in [
        (Frame::new(HEARTBEAT, 0, &[]), "before the handshake"),
        (Frame::new(CONTROL, 0, &[1, 8, 0, 0]), "not writable"),
        (Frame::new(ACK, 9, &[]), "not sent that often"),
        (Frame::new(0x33, 0, &[]), "not a frame of a module"),
        (Frame::new(PIECE, 0, &[0, 1, 0, 1, 7]), "nobody asked for"),
        (Frame { flags: 1, ..Frame::new(GET_INFO, 0, &[]) }, "flags"),
    ] {
        run(async {
            let mcu = McuSim::start(demo(0)).unwrap();
            Module::on(&mcu).say(&frame);
            while mcu.with_log(|log| log.violations.is_empty()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let violations = mcu.log().violations;
            assert!(violations.iter().any(|text| text.contains(breach)), "{violations:?} should name {breach:?}");
        });
    }
}
