//! Hands each message of the platform to who knows it.

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::session::Level;
use serde_json::value::RawValue;

use super::ClifeSession;
use super::connection::Phase;
use crate::cipher;
use crate::frame::cmd::{CONNECTED, CONTROL, FILE, FORCE_OFFLINE, QUERY, UNBIND};
use crate::frame::{Direction, Frame, MsgId, Sender, members, raw, sender, text};

impl ClifeSession {
    pub(super) fn take_message(&mut self, now: Now, payload: &[u8]) {
        let frame = match Frame::decode(payload) {
            Ok(frame) => frame,
            Err(error) => return self.drop_input(&error.to_string()),
        };
        match frame.direction(&self.settings.dir_up, &self.settings.dir_down) {
            Direction::Own => return self.drop_input("it is a message of the device itself"),
            Direction::Other => {
                self.log(Level::Debug, format!("a message has the direction `{}`", frame.dir.escape_debug()));
                self.told.counters.odd_direction += 1;
            }
            Direction::Down => {}
        }
        if !frame.version_ok() {
            self.told.counters.other_version += 1;
        }
        if sender(frame.cmd) != Some(Sender::Platform) {
            return self.drop_input(&format!("command {} is none of the platform's", frame.cmd));
        }
        if self.tells_time(now, &frame) {
            self.take_time(now, frame.timestamp);
        }
        match (frame.cmd, frame.id.clone()) {
            (CONNECTED, _) => self.take_greeting_answer(now, &frame),
            (FORCE_OFFLINE, _) => {
                // Obeyed also if its body cannot be read.
                let body = self.open_body(&frame).ok();
                let reason = body.and_then(|body| text(members(&body)?.get("respCont")?)).unwrap_or_default();
                let reason: String = reason.chars().take(LONGEST_REASON).collect();
                self.sent_away(now, &reason);
            }
            (QUERY | CONTROL | UNBIND | FILE, None) => self.drop_input("a command without a number cannot be answered"),
            (FILE, Some(id)) => self.take_file_request(now, &frame, &id),
            (cmd @ (QUERY | CONTROL | UNBIND), Some(id)) => {
                if !self.is_repeated(now, &frame, &id) {
                    self.carry_out(now, cmd, &frame, &id);
                }
            }
            _ => self.drop_input(&format!("command {} asks for nothing here", frame.cmd)),
        }
    }

    /// True if the clock is to be set by this message, of which 2005 is none. One that waited at the broker while the
    /// device was away says a time long past, so it has to come to a device that is online.
    fn tells_time(&self, now: Now, frame: &Frame) -> bool {
        self.clock_set.is_none_or(|set| now.monotonic.since(set) >= CLOCK_GOOD_FOR_MS)
            && matches!(self.phase, Phase::Online { .. })
            && matches!(frame.cmd, QUERY | CONTROL | UNBIND | FORCE_OFFLINE | FILE)
            && self.open_body(frame).is_ok()
    }

    fn carry_out(&mut self, now: Now, cmd: i64, frame: &Frame, id: &MsgId) {
        match cmd {
            QUERY => self.take_query(now, frame, id),
            CONTROL => self.take_control(now, frame, id),
            _ => self.take_unbinding(now, frame, id),
        }
    }

    /// The body of a message, decrypted if need be. An absent one says nothing.
    pub(super) fn open_body(&self, frame: &Frame) -> Result<Box<RawValue>, String> {
        let Some(data) = frame.data.as_deref() else { return Ok(raw(&EMPTY)) };
        cipher::open(self.mqtt_key(), &self.settings.iv, data, self.settings.strict_encryption)
            .map_err(|error| error.to_string())
    }

    /// Counts an answer to nothing we asked.
    pub(super) fn unmatched(&mut self) {
        self.told.counters.unmatched += 1;
    }

    /// Counts what came in and is of no use.
    pub(super) fn drop_input(&mut self, why: &str) {
        self.told.counters.dropped_input += 1;
        self.log(Level::Debug, format!("a message was dropped: {why}"));
    }
}

/// An empty object.
const EMPTY: std::collections::BTreeMap<&str, &str> = std::collections::BTreeMap::new();
/// After so long any usable message of the platform tells the time (not documented; chosen by us).
const CLOCK_GOOD_FOR_MS: u64 = 86_400_000;
/// Characters of a reason that are shown.
const LONGEST_REASON: usize = 120;
