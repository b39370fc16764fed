use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::super::frame::{CONTROL, Found, Frame, GET_INFO, HEARTBEAT, REPORT, RESET, Splitter};
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

#[test]
fn breaches_of_protocol_are_written_down() {
    for (frame, breach) in [
        (Frame::new(HEARTBEAT, 0, &[]), "before the handshake"),
        (Frame::new(CONTROL, 0, &[1, 8, 0, 0]), "not writable"),
        (Frame::new(ACK, 9, &[]), "not sent that often"),
        (Frame::new(0x33, 0, &[]), "not a frame of a module"),
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
