//! What the simulated MCU runs: one turn after each thing that is heard, written, due or wanted of it.
//!
//! Invariant: at most one request of its own is under way; the next one waits for its acknowledgement or for the last
//! repetition, so a slow module slows the MCU down instead of flooding the line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{McuOptions, Shared};
use crate::mcu::faults::{Dice, Faults, spoil};
use crate::mcu::firmware::{Ask, Receiver, Step};
use crate::mcu::frame::{
    BIG_DATA, CONTROL, Found, Frame, GET_INFO, HEARTBEAT, ILLEGAL, OPEN_BINDING, PIECE, READY, RECEIVER_ABORTS, REPORT,
    RESET, RESTART, SENDER_ABORTS, STATUS, Splitter,
};
use crate::mcu::log::{AckedReport, ReceivedCommand};
use crate::mcu::p0::Raw;
use crate::mcu::pty::Pty;

/// See the module.
pub(super) struct Program {
    options: McuOptions,
    counter: usize,
    shared: Arc<Shared>,
    dice: Dice,
    greeted: bool,
    sn: u8,
    count: u32,
    under_way: Option<UnderWay>,
    next_report: Instant,
    last_control: Option<(Frame, Instant)>,
    /// Acknowledgements that may still come, by sequence number.
    ack_credit: [u8; 256],
    /// Frames spoiled in a row, by command.
    spoiled: [u8; 256],
    out: VecDeque<Segment>,
    receiver: Receiver,
    rest: Rest,
}

/// Whether the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rest {
    Runs,
    /// It restarts when what it has said is on the line, into this version or the one that it had.
    Ends(Option<String>),
    /// It runs again from then on.
    Until(Instant),
}

struct UnderWay {
    frame: Frame,
    /// Number of the report, if it is one.
    counter: Option<u32>,
    sends: u32,
    repeat_at: Instant,
    left: Option<Instant>,
}

struct Segment {
    bytes: Vec<u8>,
    written: usize,
    /// The counter of the report that leaves with the last byte, and whether it leaves whole.
    report: Option<(u32, bool)>,
}

impl Program {
    pub fn new(options: McuOptions, counter: usize, shared: Arc<Shared>) -> Self {
        Self {
            dice: Dice::new(options.seed),
            options,
            counter,
            shared,
            greeted: false,
            sn: 0,
            count: 0,
            under_way: None,
            next_report: Instant::now(),
            last_control: None,
            ack_credit: [0; 256],
            spoiled: [0; 256],
            out: VecDeque::new(),
            receiver: Receiver::default(),
            rest: Rest::Runs,
        }
    }

    /// Until the line is gone.
    pub async fn run(mut self, pty: Pty) {
        let mut splitter = Splitter::default();
        let mut buffer = [0; 1024];
        let mut paced_until = Instant::now();
        loop {
            self.tick(Instant::now());
            self.shared.lock().under_way = self.under_way.is_some();
            self.shared.turns.send_modify(|turns| *turns += 1);
            let due = tokio::time::Instant::from_std(self.due());
            let shared = Arc::clone(&self.shared);
            let chunk = self.out.front().map(|segment| segment.bytes[segment.written..].to_vec());
            let limit = if self.options.baud.is_some() { PACED_BYTES } else { usize::MAX };
            let write = async {
                match &chunk {
                    Some(chunk) => {
                        tokio::time::sleep_until(paced_until.into()).await;
                        pty.write(&chunk[..chunk.len().min(limit)]).await
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = pty.read(&mut buffer) => match read {
                    Ok(n) => self.heard(&mut splitter, &buffer[..n]),
                    // The master of a terminal fails only when the line is gone for good.
                    Err(error) => return self.shared.lock().log.violation(format!("the line broke: {error}")),
                },
                written = write => match written {
                    Ok(n) => {
                        if let Some(baud) = self.options.baud {
                            let bits = u64::try_from(n * 10).unwrap_or(u64::MAX);
                            let took = Duration::from_micros(bits * 1_000_000 / u64::from(baud.max(1)));
                            paced_until = paced_until.max(Instant::now()) + took;
                        }
                        self.wrote(n);
                    }
                    Err(error) => return self.shared.lock().log.violation(format!("the line broke: {error}")),
                },
                () = tokio::time::sleep_until(due) => {}
                () = shared.changed.notified() => {}
            }
        }
    }

    /// When something is to be done although nothing is heard.
    fn due(&self) -> Instant {
        let state = self.shared.lock();
        let idle = Instant::now() + Duration::from_secs(3600);
        match self.rest {
            Rest::Until(at) => return at,
            Rest::Ends(_) => return idle,
            Rest::Runs => {}
        }
        match &self.under_way {
            Some(under_way) => under_way.repeat_at,
            None if self.greeted && state.rate > 0 => self.next_report,
            None => idle,
        }
    }

    fn tick(&mut self, now: Instant) {
        if !self.is_running(now) {
            return;
        }
        if let Some(under_way) = &mut self.under_way {
            if now < under_way.repeat_at {
                return;
            }
            if under_way.sends < SENDS {
                under_way.sends += 1;
                under_way.repeat_at = now + ACK_WAIT;
                let (frame, counter) = (under_way.frame.clone(), under_way.counter);
                self.shared.lock().log.repetitions += 1;
                self.send(&frame, counter);
                return;
            }
            let is_report = under_way.counter.is_some();
            self.under_way = None;
            let log = &mut self.shared.lock().log;
            *(if is_report { &mut log.reports_given_up } else { &mut log.presses_given_up }) += 1;
        }
        let manners = self.shared.lock().firmware.clone();
        if let Some(Ask { cmd, flags, payload }) = self.receiver.ask(&manners) {
            return self.begin(now, (cmd, flags), &payload, None);
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if self.greeted
            && let Some(command) = state.presses.pop_front()
        {
            drop(state);
            return self.begin(now, (command, 0), &[], None);
        }
        let by_itself = state.rate > 0 && now >= self.next_report;
        if !self.greeted || !(by_itself || state.report_wanted) {
            return;
        }
        state.report_wanted = false;
        if by_itself {
            // A line that stood still is not made up for in one burst.
            self.next_report = self.next_report.max(now - BURST) + Duration::from_secs(1) / state.rate;
        }
        self.count += 1;
        state.values[self.counter] = Raw::Number(u64::from(self.count));
        state.log.reports_sent += 1;
        let payload = self.options.schema.status(P0_REPORT, &state.values);
        drop(state);
        self.begin(now, (REPORT, 0), &payload, Some(self.count));
    }

    /// Ends and begins anew where that is due; false: nothing can be done now.
    fn is_running(&mut self, now: Instant) -> bool {
        match &self.rest {
            Rest::Runs => return true,
            Rest::Ends(_) if !self.out.is_empty() => {}
            Rest::Ends(version) => {
                let mut state = self.shared.lock();
                if let Some(version) = version.clone() {
                    state.log.firmware.runs.push(version.clone());
                    state.software = version;
                }
                // The sequence number goes on, as in memory that a warm start keeps: one that began anew within a second
                // would be taken for a repeat.
                if let Some(under_way) = self.under_way.take() {
                    let log = &mut state.log;
                    *(if under_way.counter.is_some() {
                        &mut log.reports_given_up
                    } else {
                        &mut log.presses_given_up
                    }) += 1;
                }
                self.last_control = None;
                self.rest = Rest::Until(now + RESTART_TAKES);
            }
            Rest::Until(at) if now < *at => {}
            Rest::Until(_) => {
                self.rest = Rest::Runs;
                return true;
            }
        }
        false
    }

    /// Sends a request of its own for the first time.
    fn begin(&mut self, now: Instant, (command, flags): (u8, u16), payload: &[u8], counter: Option<u32>) {
        self.sn = self.sn.wrapping_add(1);
        self.ack_credit[usize::from(self.sn)] = 0;
        let frame = Frame { flags, ..Frame::new(command, self.sn, payload) };
        self.under_way =
            Some(UnderWay { frame: frame.clone(), counter, sends: 1, repeat_at: now + ACK_WAIT, left: None });
        self.send(&frame, counter);
    }

    fn send(&mut self, frame: &Frame, report: Option<u32>) {
        let (faults, silent) = self.silence();
        let clean = frame.encode();
        let spoiled = &mut self.spoiled[usize::from(frame.cmd)];
        // A line that spoils every repetition loses commands by the protocol's own rules, and nobody could be blamed.
        let bytes = if faults.spare == 0 || *spoiled < faults.spare {
            spoil(&clean, &faults, &mut self.dice)
        } else {
            clean.clone()
        };
        if silent || self.out.len() >= MAX_SEGMENTS {
            return;
        }
        let copies = bytes.windows(clean.len()).filter(|window| *window == clean).count();
        *spoiled = if copies == 0 { spoiled.saturating_add(1) } else { 0 };
        if matches!(frame.cmd, REPORT | RESET | OPEN_BINDING | READY | RECEIVER_ABORTS) {
            let credit = &mut self.ack_credit[usize::from(frame.sn)];
            *credit = credit.saturating_add(u8::try_from(copies).unwrap_or(u8::MAX));
        }
        self.out.push_back(Segment { bytes, written: 0, report: report.map(|counter| (counter, copies > 0)) });
    }

    fn wrote(&mut self, n: usize) {
        let Some(segment) = self.out.front_mut() else { return };
        segment.written += n;
        if segment.written < segment.bytes.len() {
            return;
        }
        let report = segment.report;
        self.out.pop_front();
        if let Some(under_way) = &mut self.under_way
            && let Some((counter, whole)) = report
            && Some(counter) == under_way.counter
        {
            let now = Instant::now();
            under_way.repeat_at = now + ACK_WAIT;
            if whole {
                under_way.left.get_or_insert(now);
            }
        }
    }

    /// What goes wrong on the line, and whether nothing is heard and said.
    fn silence(&self) -> (Faults, bool) {
        let state = self.shared.lock();
        (state.faults, state.faults.silent || self.receiver.is_silent(&state.firmware))
    }

    fn heard(&mut self, splitter: &mut Splitter, bytes: &[u8]) {
        let mut found = Vec::new();
        splitter.feed(bytes, &mut found);
        for found in found {
            match found {
                Found::Frame(_) if self.rest != Rest::Runs || self.silence().1 => {}
                Found::Frame(frame) => self.frame(frame),
                Found::Violation(text) => self.shared.lock().log.violation(text),
            }
        }
    }

    fn frame(&mut self, frame: Frame) {
        let empty = frame.payload.is_empty();
        if frame.flags != 0 && frame.cmd != PIECE {
            self.violation(format!("flags are not zero: {frame:?}"));
        }
        if !self.greeted && matches!(frame.cmd, CONTROL | HEARTBEAT | STATUS | BIG_DATA | PIECE) {
            self.violation(format!("before the handshake was answered: {frame:?}"));
        }
        match frame.cmd {
            GET_INFO if empty => self.greet(&frame),
            HEARTBEAT if empty => {
                self.shared.lock().log.heartbeats += 1;
                self.answer(&frame, &[]);
            }
            RESTART if empty => {
                self.shared.lock().log.restarts += 1;
                self.answer(&frame, &[]);
            }
            STATUS if frame.payload.len() == 2 => {
                let word = u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
                if word & STATUS_RESERVED != 0 {
                    self.violation(format!("status word {word:04X} has reserved bits"));
                }
                self.shared.lock().log.note(|log| &mut log.status_words, word);
                self.answer(&frame, &[]);
            }
            ILLEGAL if frame.payload.len() == 1 => {
                self.shared.lock().log.note(|log| &mut log.notices, frame.payload[0]);
                self.refused(&frame);
                self.answer(&frame, &[]);
            }
            CONTROL => self.p0(&frame),
            BIG_DATA | PIECE | SENDER_ABORTS => self.firmware(&frame),
            ACK_OF_REPORT | ACK_OF_RESET | ACK_OF_BINDING | ACK_OF_READY | ACK_OF_ABORT if empty => {
                self.acknowledged(&frame);
            }
            _ => self.violation(format!("not a frame of a module: {frame:?}")),
        }
    }

    fn greet(&mut self, frame: &Frame) {
        let (software, bindable_s) = {
            let state = self.shared.lock();
            (state.software.clone(), state.bindable_s)
        };
        let mut info = b"0000000400000004POLYHW01".to_vec();
        info.extend_from_slice(software.as_bytes());
        info.extend_from_slice(self.options.schema.product_key.as_bytes());
        info.extend_from_slice(&bindable_s.to_be_bytes());
        self.answer(frame, &info);
        // Whoever asks who this is knows nothing of a transfer.
        self.receiver.forget();
        self.under_way.take_if(|under_way| is_about_firmware(under_way.frame.cmd));
        let now = Instant::now();
        if !self.greeted {
            self.greeted = true;
            self.next_report = now;
        }
        let mut state = self.shared.lock();
        state.log.handshakes += 1;
        state.log.last_handshake = Some(now);
        state.log.told_version = Some(software);
    }

    fn firmware(&mut self, frame: &Frame) {
        let step = {
            let mut state = self.shared.lock();
            let manners = state.firmware.clone();
            self.receiver.take(frame, &manners, &mut state.log.firmware)
        };
        match step {
            Ok(Step::Ignored) => return,
            Ok(Step::Acknowledged) => {}
            Ok(Step::Restarts) => self.rest = Rest::Ends(None),
            Ok(Step::Whole(version)) => self.rest = Rest::Ends(version),
            Err(breach) => return self.violation(breach),
        }
        if frame.cmd != PIECE {
            // It says no more of what it said of another transfer.
            self.under_way.take_if(|under_way| is_about_firmware(under_way.frame.cmd));
        }
        self.answer(frame, &[]);
    }

    /// The module refuses what was said about firmware: it knows of none, or has another kind of file.
    fn refused(&mut self, notice: &Frame) {
        let is_it = |under_way: &mut UnderWay| {
            under_way.frame.sn == notice.sn
                && is_about_firmware(under_way.frame.cmd)
                && notice.payload != [BAD_CHECKSUM]
        };
        if self.under_way.take_if(is_it).is_some() {
            self.receiver.forget();
            self.shared.lock().log.firmware.refusals.extend_from_slice(&notice.payload);
        }
    }

    fn p0(&mut self, frame: &Frame) {
        let now = Instant::now();
        let again = self.last_control.as_ref().is_some_and(|(last, at)| last == frame && now < *at + ACK_WAIT * SENDS);
        match frame.payload.first() {
            Some(&P0_READ) if frame.payload.len() == 1 => {
                let answer = self.options.schema.status(P0_ANSWER, &self.shared.lock().values);
                self.shared.lock().log.reads += 1;
                self.answer(frame, &answer);
            }
            Some(&P0_CONTROL) => match self.options.schema.control(&frame.payload) {
                Ok(_) if again => self.answer(frame, &[]),
                Ok(set) => {
                    self.answer(frame, &[]);
                    self.last_control = Some((frame.clone(), now));
                    let mut state = self.shared.lock();
                    for (at, value) in set {
                        let name = self.options.schema.attributes[at].name.clone();
                        state.values[at] = value.clone();
                        let reported_by = self.count.wrapping_add(1);
                        let command = ReceivedCommand { name, value, at: now, reported_by };
                        state.log.note(|log| &mut log.commands, command);
                    }
                    // A change by control is reported at once, after the acknowledgement (Gizwits 2.5).
                    state.report_wanted = true;
                }
                Err(fault) => self.violation(fault),
            },
            _ => self.violation(format!("P0 that this product does not know: {frame:?}")),
        }
    }

    fn acknowledged(&mut self, answer: &Frame) {
        let sn = answer.sn;
        let credit = &mut self.ack_credit[usize::from(sn)];
        if *credit == 0 {
            return self.violation(format!("acknowledged sn {sn}, which was not sent that often: {answer:?}"));
        }
        *credit -= 1;
        let Some(done) = self.under_way.take_if(|under_way| under_way.frame.sn == sn) else { return };
        if done.frame.cmd + 1 != answer.cmd {
            self.violation(format!("{:?} was answered by {answer:?}", done.frame));
        }
        if done.frame.cmd == READY {
            self.receiver.ready_acknowledged();
        }
        let log = &mut self.shared.lock().log;
        match done.counter {
            Some(counter) => {
                let report = AckedReport { counter, sent: done.left.unwrap_or_else(Instant::now) };
                log.note(|log| &mut log.acknowledged, report);
            }
            None if is_about_firmware(done.frame.cmd) => {}
            None => log.note(|log| &mut log.pressed, done.frame.cmd),
        }
    }

    fn answer(&mut self, request: &Frame, payload: &[u8]) {
        self.send(&Frame::new(request.cmd + 1, request.sn, payload), None);
    }

    fn violation(&self, text: String) {
        self.shared.lock().log.violation(text);
    }
}

/// Whether a request of the MCU belongs to a transfer.
fn is_about_firmware(command: u8) -> bool {
    matches!(command, READY | RECEIVER_ABORTS)
}

/// Answers to what the MCU sends by itself (Gizwits serial protocol 2.3).
const ACK_OF_REPORT: u8 = REPORT + 1;
const ACK_OF_RESET: u8 = RESET + 1;
const ACK_OF_BINDING: u8 = OPEN_BINDING + 1;
const ACK_OF_READY: u8 = READY + 1;
const ACK_OF_ABORT: u8 = RECEIVER_ABORTS + 1;
/// Error of a notice that a frame came spoiled, after which it is repeated (2.3.3).
const BAD_CHECKSUM: u8 = 1;
/// First P0 bytes of the fixed-length form (Gizwits P0 3.1).
const P0_CONTROL: u8 = 0x01;
const P0_READ: u8 = 0x02;
const P0_ANSWER: u8 = 0x03;
const P0_REPORT: u8 = 0x04;
/// Bits 6, 7 and 13 to 15 of the status word are zero (7.1).
const STATUS_RESERVED: u16 = 0xE0C0;
/// Wait for an acknowledgement, and sendings in total (2.2).
const ACK_WAIT: Duration = Duration::from_millis(200);
const SENDS: u32 = 3;
/// Not documented; chosen by us: long enough for a module to notice, and far shorter than a real one's.
const RESTART_TAKES: Duration = Duration::from_millis(100);
/// Not documented; chosen by us: what the MCU makes up for after a line that stood still.
const BURST: Duration = Duration::from_millis(100);
/// Not documented; chosen by us: bytes written at once on a paced line.
const PACED_BYTES: usize = 8;
/// Not documented; chosen by us: frames that wait for a host that does not read. Later ones are dropped, as a UART would.
const MAX_SEGMENTS: usize = 64;
