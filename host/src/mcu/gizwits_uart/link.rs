//! [`GizwitsUart`]: the conversation with the MCU, as a state machine.
//!
//! Closed → handshake (who are you?) → online, and back to the handshake when the MCU falls silent. One request of ours
//! is outstanding at a time; requests of the MCU are answered at once, also meanwhile. A report is acknowledged after it
//! was handed over; a request that the MCU repeats is acknowledged again and not acted upon twice. Firmware for the MCU
//! is the business of `firmware`, what the host says that of `from_host`, reports that of `reports`.

mod firmware;
mod from_host;
mod reports;

use std::collections::VecDeque;

use polylink_p0::Packet;
use polylink_plugin_api::{Now, Timestamp};

use super::commands::*;
use super::frame::{Decoder, Frame, FrameError};
use super::p0_profile::{Profile, Values};
use super::repeats::Repeats;
use super::requests::{ACK_MS, AskKind, Due, Purpose, Requests};
use super::transfer::Transfer;
use super::{answers, status};
use crate::mcu::transfer::TransferEnd;
use crate::mcu::{Identity, Link, LinkInput, LinkOutput, LinkResult, ModuleState, UserEvent};

/// A [`Link`] to an MCU that speaks the Gizwits serial protocol.
#[derive(Debug)]
pub struct GizwitsUart {
    decoder: Decoder,
    last_bytes: Timestamp,
    requests: Requests,
    transfer: Option<Transfer>,
    phase: Phase,
    /// What was last said by [`LinkOutput::Online`].
    said_online: Option<bool>,
    identity: Option<Identity>,
    /// Pauses before the MCU is asked once more who it is, because it was given firmware and says what it said before.
    asks_left: &'static [u64],
    profile: Option<Profile>,
    /// Reports that came before the product was known and are not acknowledged yet, see `reports`.
    held: VecDeque<Frame>,
    /// The MCU's last request, to recognise its repeats.
    last_request: Option<(Timestamp, Frame)>,
    repeats: Repeats,
    /// Controls that the MCU acknowledged lately, see [`ECHO_MS`].
    echoes: VecDeque<Echo>,
    module: ModuleState,
    signal: status::SignalLevel,
    word: u16,
    outputs: VecDeque<LinkOutput>,
}

#[derive(Debug)]
enum Phase {
    Closed,
    Handshaking { next_try: Timestamp, failures: u32 },
    Online(Online),
}

#[derive(Debug)]
struct Online {
    heard: Timestamp,
    beat: Timestamp,
    sent_word: Option<u16>,
    repeat_word: Timestamp,
    /// The last request was a command: a waiting status word or piece of firmware goes before the next one.
    after_command: bool,
    restart_wanted: bool,
    /// The MCU is to be told that no more firmware comes.
    abort_wanted: bool,
    /// The MCU is asked once more who it is.
    ask_again: Option<Timestamp>,
}

#[derive(Debug)]
struct Echo {
    ticket: u64,
    values: Values,
    until: Timestamp,
}

impl GizwitsUart {
    /// A closed link over a line of so many bits per second.
    #[must_use]
    pub fn new(baud: u32) -> Self {
        Self {
            decoder: Decoder::default(),
            last_bytes: Timestamp::default(),
            requests: Requests::new(baud),
            transfer: None,
            phase: Phase::Closed,
            said_online: None,
            identity: None,
            asks_left: &[],
            profile: None,
            held: VecDeque::new(),
            last_request: None,
            repeats: Repeats::default(),
            echoes: VecDeque::new(),
            module: ModuleState::default(),
            signal: status::SignalLevel::default(),
            word: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Bytes held between inputs; bounded whatever the MCU sends.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let held: usize = self.held.iter().map(|frame| frame.payload.len()).sum();
        let last = self.last_request.as_ref().map_or(0, |(_, frame)| frame.payload.len());
        let transfer = self.transfer.as_ref().map_or(0, Transfer::queued_bytes);
        let repeats = self.repeats.queued_bytes();
        self.decoder.queued_bytes() + self.requests.queued_bytes() + transfer + held + last + repeats
    }
}

impl Link for GizwitsUart {
    fn handle(&mut self, now: Now, input: LinkInput<'_>) {
        let at = now.monotonic;
        match input {
            LinkInput::Opened => {
                self.forget();
                self.phase = Phase::Handshaking { next_try: at, failures: 0 };
            }
            LinkInput::Closed => {
                self.forget();
                self.say_online(false);
                self.phase = Phase::Closed;
            }
            LinkInput::Bytes(bytes) if !matches!(self.phase, Phase::Closed) => {
                self.give_up_half_frame(at);
                self.last_bytes = at;
                let mut found = Vec::new();
                self.decoder.push(bytes, |item| found.push(item));
                for item in found {
                    match item {
                        Ok(frame) => self.frame(now, frame),
                        Err(error) => self.bad_frame(&error),
                    }
                }
            }
            LinkInput::Bytes(_) | LinkInput::Timeout => {}
            LinkInput::Product { product, layout } => self.product(at, product, layout),
            LinkInput::Command { ticket, device, body, deadline, idempotent: _ } => {
                match self.ask(ticket, device, body, deadline) {
                    Ok(ask) => {
                        if self.requests.enqueue(ask).is_err() {
                            self.outcome(ticket, LinkResult::Refused("too many commands wait for the MCU".into()));
                        }
                    }
                    Err(result) => self.outcome(ticket, result),
                }
            }
            LinkInput::Module(module) => {
                self.word = status::word(&module, &mut self.signal);
                self.module = module;
            }
            LinkInput::RestartMcu => {
                if let Phase::Online(online) = &mut self.phase {
                    online.restart_wanted = true;
                }
            }
            // The protocol knows none.
            LinkInput::Subdevice(_) => {}
            LinkInput::Firmware(input) => self.firmware(at, input),
        }
        self.go_on(at);
    }

    fn poll(&mut self) -> Option<LinkOutput> {
        self.outputs.pop_front()
    }

    fn carries_firmware(&self) -> bool {
        true
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        let silence = self.decoder.is_inside().then(|| self.last_bytes.after(HALF_FRAME_MS));
        let next_send = match &self.phase {
            Phase::Closed => return None,
            Phase::Handshaking { next_try, .. } => self.requests.is_free().then_some(*next_try),
            Phase::Online(online) => {
                let dead = online.heard.after(DEAD_MS);
                // Not while it is given firmware: an MCU that prepares itself for that may be silent.
                let ask_again = online.ask_again.filter(|_| self.transfer.is_none()).unwrap_or(dead);
                let next = online.next_beat().min(online.repeat_word).min(ask_again);
                Some(if self.requests.is_free() { next.min(dead) } else { dead })
            }
        };
        let transfer = self.transfer.as_ref().and_then(Transfer::next_timeout);
        [silence, next_send, transfer, self.requests.next_timeout()].into_iter().flatten().min()
    }
}

/// What became due, and what is sent next.
impl GizwitsUart {
    fn go_on(&mut self, now: Timestamp) {
        self.give_up_half_frame(now);
        match self.requests.expire(now) {
            Some(Due::Repeat(wire)) => self.outputs.push_back(LinkOutput::Write(wire)),
            Some(Due::GaveUp(purpose)) => self.gave_up(now, purpose),
            None => {}
        }
        while let Some(ask) = self.requests.overdue(now) {
            self.outcome(ask.ticket, LinkResult::Unreachable);
        }
        if matches!(&self.phase, Phase::Online(online) if now >= online.heard.after(DEAD_MS)) {
            self.fault("silent", format!("nothing came from the MCU for {} s", DEAD_MS / 1000));
            self.shake_hands(now);
        }
        self.transfer_timeout(now);
        if self.requests.is_free() {
            self.send_next(now);
        }
    }

    fn send_next(&mut self, now: Timestamp) {
        let wire = match &mut self.phase {
            Phase::Handshaking { next_try, .. } if *next_try <= now => {
                self.requests.send(now, GET_DEVICE_INFORMATION, Vec::new(), Purpose::Identify)
            }
            Phase::Closed | Phase::Handshaking { .. } => return,
            Phase::Online(online) => {
                let has_piece = self.transfer.as_ref().is_some_and(Transfer::has_request);
                let status_due = online.sent_word != Some(self.word) || online.repeat_word <= now;
                if std::mem::take(&mut online.restart_wanted) {
                    self.requests.send(now, RESTART_MCU, Vec::new(), Purpose::RestartMcu)
                } else if std::mem::take(&mut online.abort_wanted) {
                    self.requests.send(now, SENDER_ABORTS, Vec::new(), Purpose::AbortTransfer)
                } else if status_due && (online.after_command || !self.requests.has_waiting()) {
                    online.sent_word = Some(self.word);
                    online.repeat_word = now.after(STATUS_REPEAT_MS);
                    online.after_command = false;
                    self.requests.send(now, MODULE_STATUS, self.word.to_be_bytes().to_vec(), Purpose::Status)
                } else if has_piece && (online.after_command || !self.requests.has_waiting()) {
                    online.after_command = false;
                    match self.send_transfer(now) {
                        Some(wire) => wire,
                        None => return,
                    }
                } else if let Some(mut ask) = self.requests.next_waiting() {
                    online.after_command = true;
                    let payload = std::mem::take(&mut ask.payload);
                    self.requests.send(now, P0_TO_MCU, payload, Purpose::Command(ask))
                } else if self.transfer.is_none() && online.ask_again.take_if(|at| *at <= now).is_some() {
                    self.requests.send(now, GET_DEVICE_INFORMATION, Vec::new(), Purpose::Identify)
                } else if online.next_beat() <= now {
                    online.beat = now;
                    self.requests.send(now, HEARTBEAT, Vec::new(), Purpose::Heartbeat)
                } else {
                    return;
                }
            }
        };
        self.outputs.push_back(LinkOutput::Write(wire));
    }

    fn gave_up(&mut self, now: Timestamp, purpose: Purpose) {
        let what = match purpose {
            Purpose::Command(ask) => {
                self.outcome(ask.ticket, LinkResult::TimedOut);
                "a command"
            }
            Purpose::Identify => {
                self.handshake_failed(now);
                "the handshake"
            }
            Purpose::Heartbeat => "a heartbeat",
            Purpose::Status => "the module status",
            Purpose::RestartMcu => "a restart",
            Purpose::Transfer => {
                self.transfer_gave_up();
                "firmware"
            }
            Purpose::AbortTransfer => "the end of a transfer",
        };
        self.fault("ack_timeout", format!("the MCU did not acknowledge {what}"));
    }

    fn handshake_failed(&mut self, now: Timestamp) {
        if matches!(self.phase, Phase::Online(_)) {
            return self.shake_hands(now.after(FIRST_PAUSE_MS));
        }
        if let Phase::Handshaking { next_try, failures } = &mut self.phase {
            *failures = failures.saturating_add(1);
            *next_try = now.after((FIRST_PAUSE_MS << (*failures - 1).min(8)).min(LONGEST_PAUSE_MS));
        }
        self.say_online(false);
    }

    /// Back to the handshake: the MCU is silent or restarts.
    fn shake_hands(&mut self, next_try: Timestamp) {
        self.forget();
        self.say_online(false);
        self.phase = Phase::Handshaking { next_try, failures: 0 };
    }

    /// Ends everything that was under way.
    fn forget(&mut self) {
        self.lose_transfer(TransferEnd::Lost);
        let (outstanding, waiting) = self.requests.clear();
        if let Some(Purpose::Command(ask)) = outstanding {
            self.outcome(ask.ticket, LinkResult::TimedOut);
        }
        for ask in waiting {
            self.outcome(ask.ticket, LinkResult::Unreachable);
        }
        self.decoder = Decoder::default();
        self.last_request = None;
        self.echoes.clear();
    }

    fn give_up_half_frame(&mut self, now: Timestamp) {
        if self.decoder.is_inside()
            && now >= self.last_bytes.after(HALF_FRAME_MS)
            && let Some(error) = self.decoder.abandon()
        {
            self.bad_frame(&error);
        }
    }

    fn say_online(&mut self, online: bool) {
        if self.said_online != Some(online) {
            self.said_online = Some(online);
            self.outputs.push_back(LinkOutput::Online(online));
        }
    }

    fn outcome(&mut self, ticket: u64, result: LinkResult) {
        self.outputs.push_back(LinkOutput::Outcome { ticket, result });
    }

    fn fault(&mut self, counter: &'static str, detail: String) {
        self.outputs.push_back(LinkOutput::Fault { counter, detail });
    }
}

/// What comes from the MCU.
impl GizwitsUart {
    fn frame(&mut self, now: Now, frame: Frame) {
        let at = now.monotonic;
        match &mut self.phase {
            Phase::Online(online) => online.heard = at,
            // It lives, so it may answer soon.
            Phase::Handshaking { next_try, .. } => *next_try = (*next_try).min(at.after(ACK_MS)),
            Phase::Closed => return,
        }
        match frame.command {
            ILLEGAL | ILLEGAL_ACK => self.not_understood(at, &frame),
            P0_FROM_MCU if frame.flags & GATEWAY_FLAG != 0 => {
                self.fault("gateway", "a P0 frame for a device behind a gateway; this module is none".into());
                self.illegal(frame.sn, ERROR_OTHER);
            }
            ENTER_CONFIGURATION if let Err(problem) = answers::configuration(&frame.payload) => {
                self.fault("payload", problem.into());
                self.illegal(frame.sn, ERROR_OTHER);
            }
            P0_FROM_MCU | ENTER_CONFIGURATION | RESET | PRODUCTION_TEST | OPEN_BINDING | RESTART_MODULE => {
                self.request(at, frame);
            }
            BIG_DATA_READY | RECEIVER_ABORTS if self.transfer.is_some() || self.is_repeat(at, &frame) => {
                self.request(at, frame);
            }
            GET_TIME => self.acknowledge(&frame, answers::network_time(now)),
            GET_MODULE_INFORMATION => self.acknowledge(&frame, answers::module_information(&self.module)),
            command if is_ack(command) => self.acknowledged(at, &frame),
            command => {
                self.fault("unknown_command", format!("the MCU sent command {command:#04x}"));
                self.illegal(frame.sn, ERROR_COMMAND);
            }
        }
    }

    /// A request that must not be acted upon twice.
    fn request(&mut self, now: Timestamp, frame: Frame) {
        if self.is_repeat(now, &frame) {
            self.fault("duplicate", format!("command {:#04x} came again with number {}", frame.command, frame.sn));
            return self.acknowledge(&frame, Vec::new());
        }
        if frame.command == P0_FROM_MCU {
            if self.profile.is_none() {
                return self.hold(frame);
            }
            self.report(now, &frame.payload);
        }
        if frame.command == BIG_DATA_READY {
            if self.mcu_is_ready(now, &frame) {
                self.last_request = Some((now, frame));
            }
            return;
        }
        self.acknowledge(&frame, Vec::new());
        if frame.command == RECEIVER_ABORTS {
            self.lose_transfer(TransferEnd::CancelledByMcu);
        }
        let event = match frame.command {
            ENTER_CONFIGURATION => answers::configuration(&frame.payload).ok(),
            RESET => Some(UserEvent::Reset),
            PRODUCTION_TEST => Some(UserEvent::ProductionTest),
            OPEN_BINDING => Some(UserEvent::Bind),
            RESTART_MODULE => Some(UserEvent::Restart),
            _ => None,
        };
        self.outputs.extend(event.map(LinkOutput::User));
        self.last_request = Some((now, frame));
    }

    fn is_repeat(&self, now: Timestamp, frame: &Frame) -> bool {
        self.last_request.as_ref().is_some_and(|(at, last)| last == frame && now.since(*at) < REPEAT_MS)
    }

    fn acknowledged(&mut self, now: Timestamp, frame: &Frame) {
        let Some(purpose) = self.requests.acknowledge(frame.command, frame.sn) else {
            let detail = format!("acknowledgement {:#04x} with number {} of nothing", frame.command, frame.sn);
            return self.fault("ack_unmatched", detail);
        };
        match purpose {
            Purpose::Heartbeat | Purpose::Status | Purpose::AbortTransfer => {}
            Purpose::Transfer => self.transfer_acknowledged(now),
            Purpose::RestartMcu => self.shake_hands(now.after(RESTART_MS)),
            Purpose::Identify => match answers::identity(&frame.payload) {
                Ok(identity) => self.identified(now, identity),
                Err(problem) => {
                    self.fault("identity", problem);
                    self.handshake_failed(now);
                }
            },
            Purpose::Command(ask) => {
                let mut problems = Vec::new();
                let result = match ask.kind {
                    AskKind::Raw => LinkResult::Done(Vec::new()),
                    AskKind::Control(values) => {
                        if self.echoes.len() >= ECHOES {
                            self.echoes.pop_front();
                        }
                        self.echoes.push_back(Echo { ticket: ask.ticket, values, until: now.after(ECHO_MS) });
                        LinkResult::Done(Vec::new())
                    }
                    AskKind::Read(wanted) => {
                        let decoded = self.profile.as_ref().map(|profile| (profile, profile.decode(&frame.payload)));
                        match decoded {
                            Some((profile, Ok(Packet::ReadAnswer(values)))) => {
                                let mut properties = profile.properties(&values, |problem| problems.push(problem));
                                properties.retain(|property| wanted.is_empty() || wanted.contains(&property.id));
                                LinkResult::Done(properties)
                            }
                            Some((_, Err(error))) => LinkResult::Refused(format!("the MCU's answer: {error}")),
                            _ => LinkResult::Refused("the MCU's answer is no read answer".into()),
                        }
                    }
                };
                if let LinkResult::Refused(problem) = &result {
                    self.fault("p0", problem.clone());
                }
                for problem in problems {
                    self.fault("report_value", problem);
                }
                self.outcome(ask.ticket, result);
            }
        }
    }

    fn identified(&mut self, now: Timestamp, identity: Identity) {
        let ask_again = self.ask_again(now, &identity);
        if self.identity.as_ref() != Some(&identity) {
            if self.identity.as_ref().is_some_and(|last| last.product_key != identity.product_key) {
                self.profile = None;
                self.held.clear();
            }
            self.identity = Some(identity.clone());
            self.outputs.push_back(LinkOutput::Identified(identity));
        }
        // One that was asked once more, online, is still to hear what came up meanwhile.
        let (restart_wanted, abort_wanted) = match &self.phase {
            Phase::Online(online) => (online.restart_wanted, online.abort_wanted),
            _ => (false, false),
        };
        self.phase = Phase::Online(Online {
            heard: now,
            beat: now,
            sent_word: None,
            repeat_word: now.after(STATUS_REPEAT_MS),
            after_command: false,
            restart_wanted,
            abort_wanted,
            ask_again,
        });
        self.say_online(true);
    }

    fn bad_frame(&mut self, error: &FrameError) {
        self.fault(error.counter(), error.to_string());
        if let FrameError::Checksum { command, sn, .. } = error {
            match *command {
                command if ANSWERED.contains(&command) => self.illegal(*sn, ERROR_CHECKSUM),
                command if is_ack(command) || command == ILLEGAL => {}
                _ => self.illegal(*sn, ERROR_COMMAND),
            }
        }
    }

    /// The MCU complains about a frame of ours (it does so with either number); this is never answered.
    fn not_understood(&mut self, now: Timestamp, frame: &Frame) {
        let [error] = frame.payload.as_slice() else { return };
        self.fault("mcu_complains", format!("the MCU refuses frame {} with error {error}", frame.sn));
        self.outputs.extend(self.requests.not_understood(now, frame.sn).map(LinkOutput::Write));
    }

    fn acknowledge(&mut self, frame: &Frame, payload: Vec<u8>) {
        let wire = Frame::new(frame.command.wrapping_add(1), frame.sn, payload).encode();
        self.outputs.push_back(LinkOutput::Write(wire));
    }

    fn illegal(&mut self, sn: u8, error: u8) {
        self.outputs.push_back(LinkOutput::Write(Frame::new(ILLEGAL, sn, vec![error]).encode()));
    }
}

impl Online {
    fn next_beat(&self) -> Timestamp {
        self.heard.max(self.beat).after(BEAT_MS)
    }
}

/// A frame that stays incomplete for so long after its last byte is dropped. Not documented; chosen by us: a pause that
/// no sending MCU makes, short against the repeats of the MCU.
const HALF_FRAME_MS: u64 = 1000;

/// A heartbeat goes out after so much silence (GAgent product specification 7.6).
const BEAT_MS: u64 = 55_000;

/// After so much silence the MCU counts as lost (GAgent product specification 7.6).
const DEAD_MS: u64 = 180_000;

/// The module status goes out at least so often (GAgent product specification 4.4).
const STATUS_REPEAT_MS: u64 = 600_000;

/// Pauses between tries of the handshake, doubling. Not documented; chosen by us: an MCU that boots is found at once,
/// one that is absent costs little.
const FIRST_PAUSE_MS: u64 = 500;
const LONGEST_PAUSE_MS: u64 = 10_000;

/// Time that a restarting MCU is left alone: it restarts 600 ms after its acknowledgement (vendor's MCU code).
const RESTART_MS: u64 = 1000;

/// A request that comes again with the same number and payload within this time is a repeat. Not documented; chosen by
/// us: three transmissions with waits of 200 ms, and the time of a long frame.
const REPEAT_MS: u64 = 1000;

/// A report within this time after the acknowledgement of a control that shows the control's values counts as caused by
/// it. Not documented; chosen by us: MCU code reports such changes at once.
const ECHO_MS: u64 = 1000;

/// Controls remembered for that. When full, the oldest is forgotten: its report will count as the device's own.
const ECHOES: usize = 8;
