//! Commands to the device, and whether its answers fit them (Clife protocol, 7 and 8).

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::operations::{Event, Kind, Operation};
use super::platform::{Frame, Platform, keep};
use super::{frame, points};

/// A command that was sent.
#[derive(Debug)]
pub(super) struct Asked {
    /// None for bytes that a test made itself and that have none.
    cmd: Option<i64>,
    /// Body in clear.
    body: Json,
    /// Made by a test, perhaps wrong: answers are judged by their form, and not booked.
    raw: bool,
    n_sent: u32,
    n_answered: u32,
    /// Connection of the last answer.
    connection: u64,
    /// Of a file operation.
    operation: Operation,
    /// Its events, with the connection of each.
    told: Vec<(Event, u64)>,
}

impl Platform {
    /// Sends a command, and returns its msgId.
    pub fn ask(&self, cmd: i64, body: &Json) -> Result<i64, String> {
        self.reaches()?;
        let (id, bytes) = {
            let mut state = self.lock();
            if state.asked.len() >= MAX_ASKED {
                return Err(format!("more than {MAX_ASKED} commands"));
            }
            let id = state.next_id();
            let bytes = self.downward(&state, cmd, id, body)?;
            state.asked.insert(id, Asked::new(Some(cmd), body.clone(), false));
            (id, bytes)
        };
        self.ledger.command_sent(&id.to_string());
        self.publish(&bytes);
        Ok(id)
    }

    /// Sends a command a second time, under the same msgId.
    pub fn repeat(&self, id: i64) -> Result<(), String> {
        self.reaches()?;
        let bytes = {
            let mut state = self.lock();
            let asked = state.asked.get_mut(&id).ok_or_else(|| format!("there is no command {id}"))?;
            asked.n_sent += 1;
            asked.operation.repeat();
            let (cmd, body) = (asked.cmd.ok_or("bytes are not repeated")?, asked.body.clone());
            self.downward(&state, cmd, id, &body)?
        };
        self.publish(&bytes);
        Ok(())
    }

    /// Sends any body under any command code and msgId. If the device answers, that is judged by its form alone.
    pub fn send_as(&self, cmd: i64, id: i64, body: &Json) -> Result<(), String> {
        let bytes = self.downward(&self.lock(), cmd, id, body)?;
        self.deliver_raw(&bytes)
    }

    /// Sends bytes, right or wrong. If the device answers them, that is judged by its form alone.
    pub fn deliver_raw(&self, bytes: &[u8]) -> Result<(), String> {
        if !self.subscribed() {
            return Err("the device has not subscribed".to_owned());
        }
        if let Ok(Json::Object(members)) = serde_json::from_slice(bytes) {
            let member = |name: &str| members.iter().find(|(found, _)| found.trim() == name).map(|(_, value)| value);
            if let Some(id) = member("msgId").and_then(Json::as_i64) {
                let cmd = member("cmd").and_then(Json::as_i64);
                let mut state = self.lock();
                let asked = state.asked.entry(id).or_insert_with(|| Asked::new(cmd, Json::Null, true));
                if asked.n_sent > 0 {
                    asked.operation.repeat();
                }
                asked.n_sent += 1;
                // Bytes with the id of a real command count as its repetition.
                if asked.raw {
                    asked.cmd = cmd;
                }
            }
        }
        self.publish(bytes);
        Ok(())
    }

    /// Judges the answer to a query, a control or an unbinding, and books what it says.
    pub fn answered(&self, frame: &Frame, dup: bool) -> Result<(), String> {
        let id = frame.id;
        let mut guard = self.lock();
        let state = &mut *guard;
        let connection = state.n_connections;
        let asked = state.asked.get_mut(&id).ok_or_else(|| format!("answer to {id}, which was never sent"))?;
        let judged = asked.judge(frame, self)?;
        if asked.n_answered < asked.n_sent {
            asked.n_answered += 1;
        } else if !dup && asked.connection == connection {
            return Err(format!("{id} was answered {} times, and once more", asked.n_answered));
        } // Else the transport repeats what it never saw acknowledged.
        asked.connection = connection;
        let raw = asked.raw;
        if state.seen.answers.len() < MAX_ASKED {
            state.seen.answers.entry(id).or_insert_with(|| frame.clone());
        }
        drop(guard);
        self.changed();
        self.book(id, raw, judged);
        Ok(())
    }

    /// Judges an event, 2018.
    pub fn told(&self, frame: &Frame, dup: bool) -> Result<(), String> {
        let event = Event::parse(&frame.body)?;
        let mut guard = self.lock();
        let state = &mut *guard;
        let connection = state.n_connections;
        if let (Event::Versions(versions), Some(product)) = (&event, state.product_ver)
            && versions.product != product
        {
            return Err(format!("productVer {} after the upgrade to {product}", versions.product));
        }
        let asked = state.asked.get(&frame.id).filter(|_| event.is_transferred());
        let missing = asked.and_then(|asked| self.never_fetched(&asked.body));
        let Some(asked) = state.asked.get_mut(&frame.id) else {
            state.own_ids.take(frame.id, frame.cmd, &frame.body)?;
            match event {
                Event::Request(what) => keep(&mut state.seen.upgrade_requests, what),
                Event::Versions(versions) => keep(&mut state.seen.versions, versions),
                Event::Progress(..) | Event::Failure(_) => {
                    return Err(format!("{} under msgId {}, which no request had", frame.body, frame.id));
                }
            }
            drop(guard);
            self.changed();
            return Ok(());
        };
        if asked.cmd != Some(FILES) {
            return Err(format!("2018 under msgId {}, which was no file operation", frame.id));
        }
        let before = asked.told.iter_mut().rev().find(|(told, _)| *told == event);
        if let Some((_, told_on)) = before.filter(|(_, told_on)| dup || *told_on != connection) {
            // The transport repeats what it never saw acknowledged.
            *told_on = connection;
            return Ok(());
        }
        asked.operation.take(&event).map_err(|fault| format!("operation {}: {fault}", frame.id))?;
        if let Some(path) = missing {
            return Err(format!("operation {} is through, and {path} was never fetched", frame.id));
        }
        if let Event::Versions(versions) = &event
            && !asked.raw
            && Kind::of(&asked.body) == Kind::Upgrade
            && let Some(what) = versions.lacks(&asked.body)
        {
            return Err(format!("operation {} was answered with versions, without {what}", frame.id));
        }
        asked.told.push((event.clone(), connection));
        let (raw, operation) = (asked.raw, asked.operation.clone());
        if let Event::Versions(versions) = event {
            keep(&mut state.seen.versions, versions);
        }
        if operation.is_installed() {
            state.product_ver = asked.body["productVer"].as_i64().or(state.product_ver);
        }
        let outcome = operation.outcome.clone();
        state.seen.operations.insert(frame.id, operation);
        drop(guard);
        self.changed();
        if let Some(outcome) = outcome {
            self.book(frame.id, raw, outcome);
        }
        Ok(())
    }

    /// Tells the ledger how a command ended, once.
    fn book(&self, id: i64, raw: bool, outcome: Result<(), String>) {
        let id = id.to_string();
        let open = |entries: &crate::clouds::ledger::Entries| {
            entries.commands.get(&id).is_some_and(|command| command.answer.is_none())
        };
        if !raw && self.ledger.with(open) {
            self.ledger.command_answered(&id, outcome);
        }
    }
}

impl Asked {
    fn new(cmd: Option<i64>, body: Json, raw: bool) -> Self {
        let kind = if raw { Kind::Unknown } else { Kind::of(&body) };
        let (n_sent, operation) = (u32::from(!raw), Operation::new(kind));
        Self { cmd, body, raw, n_sent, n_answered: 0, connection: 0, operation, told: Vec::new() }
    }

    /// Whether an answer is in order, and what it says.
    fn judge(&self, frame: &Frame, platform: &Platform) -> Result<Result<(), String>, String> {
        let body = &frame.body;
        match (self.cmd, frame.cmd) {
            (Some(QUERY), REPORT) => {
                frame::members(body, &["params"], &[])?;
                let values = points::parse(&body["params"], &platform.product)?;
                let asked = ids(&self.body["params"]);
                self.only(&values, &asked, asked.is_empty())?;
                Ok(Ok(()))
            }
            (Some(CONTROL), REPORT) => {
                frame::members(body, &["params"], &["respCode", "respCont"])?;
                let values = points::parse(&body["params"], &platform.product)?;
                let asked = ids(&self.body["params"]);
                self.only(&values, &asked, false)?;
                match (body.get("respCode"), frame::text(body, "respCont")?) {
                    (None, None) => match asked.iter().find(|id| !self.raw && !values.contains_key(*id)) {
                        Some(missing) => Err(format!("{missing:?} was set, but is not in the answer {body}")),
                        None => Ok(Ok(())),
                    },
                    (Some(code), Some(reason)) if *code == REFUSED => Ok(Err(reason.to_owned())),
                    _ => Err(format!("neither a resulting state nor a refusal with its reason: {body}")),
                }
            }
            (Some(UNBIND), UNBOUND) => {
                frame::members(body, &["respCode"], &["respCont"])?;
                let text = frame::text(body, "respCont")?.unwrap_or_default();
                match body["respCode"].as_i64() {
                    Some(0) => Ok(Ok(())),
                    Some(code) => Ok(Err(format!("respCode {code}: {text}"))),
                    None => Err(format!("respCode must be an integer: {body}")),
                }
            }
            (asked, found) => Err(format!("cmd {found} as the answer to {asked:?} with msgId {}", frame.id)),
        }
    }

    /// Whether an answer has only what was asked for.
    fn only(&self, values: &Map<String, Json>, asked: &BTreeSet<String>, everything: bool) -> Result<(), String> {
        let unasked = values.keys().find(|id| !everything && !self.raw && !asked.contains(*id));
        unasked.map_or(Ok(()), |id| Err(format!("data point {id} was not asked for")))
    }
}

/// Ids in the params of a query or a control.
fn ids(params: &Json) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for entry in params.as_array().into_iter().flatten() {
        match entry {
            Json::Object(members) => ids.extend(members.keys().cloned()),
            Json::String(id) => drop(ids.insert(id.clone())),
            other => drop(ids.insert(other.to_string())),
        }
    }
    ids
}

/// Command codes (Clife protocol, 6).
pub(super) const CONNECT: i64 = 2004;
pub(super) const CONNECTED: i64 = 2005;
pub(super) const REPORT: i64 = 2006;
pub(super) const QUERY: i64 = 2009;
pub(super) const CONTROL: i64 = 2011;
pub(super) const UNBOUND: i64 = 2012;
pub(super) const UNBIND: i64 = 2013;
pub(super) const WILL: i64 = 2014;
pub(super) const FORCE_OFFLINE: i64 = 2017;
pub(super) const EVENT: i64 = 2018;
pub(super) const FILES: i64 = 2019;
/// respCode of a control that was not done (Clife protocol, 7.4).
const REFUSED: i64 = -1;
/// Commands remembered, answered ones included; more are refused to the test. Chosen by us.
const MAX_ASKED: usize = 1_000_000;
