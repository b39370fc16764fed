//! Commands on their way to the device: who may, in which order, how often, and what became of it. Pure.
//!
//! Invariants: each submitted command has a ticket and exactly one [`Conclusion`]; at most [`AT_LINK_MAX`] are at the
//! link and [`QUEUE_MAX`] wait; nothing reaches the link unchecked. Waking plugins and talking to the link is left to
//! the caller of the bus.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use polylink_plugin_api::{
    Command, CommandBody, CommandOutcome, DatapointId, InstanceId, OutcomeKind, Property, Timestamp,
};

use super::check::check_command;
use super::dedupe::{Fate, Seen};
use super::effect::LinkCommand;
use super::policy::Claims;
pub use super::policy::{Asker, Policy};
use super::rate::Rate;
use crate::mcu::LinkResult;
use crate::product::Product;

/// How commands are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArbiterSettings {
    /// Who wins.
    pub policy: Policy,
    /// For commands that name no deadline.
    pub deadline_ms: u32,
}

/// The end of one command.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// Who asked.
    pub asker: Asker,
    /// The incarnation of the plugin that asked; [`InstanceId`] 0 for a local asker.
    pub instance: InstanceId,
    /// What became of it.
    pub outcome: CommandOutcome,
}

/// What comes out of the arbiter.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling {
    /// Give this to the link.
    Send(LinkCommand),
    /// Tell the asker.
    Over(Conclusion),
}

/// See the module.
#[derive(Debug)]
pub struct Arbiter {
    settings: ArbiterSettings,
    online: bool,
    last_ticket: u64,
    queue: VecDeque<Pending>,
    at_link: BTreeMap<u64, Pending>,
    recent: VecDeque<(u64, Asker)>,
    claims: Claims,
    askers: HashMap<Asker, Account>,
}

#[derive(Debug)]
struct Pending {
    ticket: u64,
    asker: Asker,
    instance: InstanceId,
    device: u32,
    body: CommandBody,
    idempotent: bool,
    deadline: Timestamp,
    /// Tickets of the same message, delivered again, with the incarnations that want to know.
    followers: Vec<(u64, InstanceId)>,
}

#[derive(Debug)]
struct Account {
    rate: Rate,
    seen: Seen,
}

impl Arbiter {
    /// An arbiter without commands, for a device that is not reachable yet.
    #[must_use]
    pub fn new(settings: ArbiterSettings) -> Self {
        Self {
            settings,
            online: false,
            last_ticket: 0,
            queue: VecDeque::new(),
            at_link: BTreeMap::new(),
            recent: VecDeque::new(),
            claims: Claims::default(),
            askers: HashMap::new(),
        }
    }

    /// Takes a command. The ticket is returned, the ruling may come at once or later.
    pub fn submit(
        &mut self,
        now: Timestamp,
        asker: Asker,
        instance: InstanceId,
        product: Option<&Arc<Product>>,
        command: &Command,
        rulings: &mut Vec<Ruling>,
    ) -> u64 {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        match self.accept(now, asker, (ticket, instance), product, command, rulings) {
            Ok(()) => self.send_next(rulings),
            Err((kind, reason)) => {
                let outcome = outcome(ticket, kind, reason);
                rulings.push(Ruling::Over(Conclusion { asker, instance, outcome }));
            }
        }
        ticket
    }

    /// The link is done with a command. Unknown tickets are ignored.
    pub fn answered(&mut self, ticket: u64, result: LinkResult, rulings: &mut Vec<Ruling>) {
        let Some(pending) = self.at_link.remove(&ticket) else { return };
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((ticket, pending.asker));
        let outcome = match result {
            LinkResult::Done(values) => {
                CommandOutcome { values: values.into(), ..outcome(ticket, OutcomeKind::DONE, String::new()) }
            }
            LinkResult::Refused(reason) => outcome(ticket, OutcomeKind::REFUSED, reason),
            LinkResult::Unreachable => unreachable(ticket),
            LinkResult::TimedOut => timed_out(ticket, "the MCU did not answer in time"),
        };
        self.conclude(pending, &outcome, rulings);
        self.send_next(rulings);
    }

    /// The MCU answers, or has fallen silent: what was not sent ends, what was sent is up to the link.
    pub fn set_online(&mut self, online: bool, rulings: &mut Vec<Ruling>) {
        self.online = online;
        if !online {
            while let Some(pending) = self.queue.pop_front() {
                let outcome = unreachable(pending.ticket);
                self.conclude(pending, &outcome, rulings);
            }
        }
    }

    /// The device itself changed this property.
    pub fn changed_locally(&mut self, now: Timestamp, device: u32, id: DatapointId) {
        self.claims.note(self.settings.policy, now, Asker::Local, (device, id));
    }

    /// Whose command has this ticket, from when it went to the link until some time after its end: a device may
    /// acknowledge first and report the change then.
    #[must_use]
    pub fn asker_of(&self, ticket: u64) -> Option<Asker> {
        let recent = || self.recent.iter().rev().find(|(known, _)| *known == ticket).map(|&(_, asker)| asker);
        self.at_link.get(&ticket).map(|pending| pending.asker).or_else(recent)
    }

    /// What this ticket, which is at the link, wants.
    #[must_use]
    pub fn body_of(&self, ticket: u64) -> Option<(u32, &CommandBody)> {
        self.at_link.get(&ticket).map(|pending| (pending.device, &pending.body))
    }

    /// When [`Arbiter::timeout`] is wanted.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let waiting = self.queue.iter().map(|pending| pending.deadline);
        waiting.chain(self.at_link.values().map(|pending| pending.deadline.after(LINK_GRACE_MS))).min()
    }

    /// Ends what is past its deadline.
    pub fn timeout(&mut self, now: Timestamp, rulings: &mut Vec<Ruling>) {
        let queue = std::mem::take(&mut self.queue);
        let (late, waiting): (VecDeque<_>, VecDeque<_>) = queue.into_iter().partition(|one| one.deadline <= now);
        self.queue = waiting;
        for pending in late {
            let outcome = timed_out(pending.ticket, "not sent to the MCU before its deadline");
            self.conclude(pending, &outcome, rulings);
        }
        let overdue = |one: &Pending| one.deadline.after(LINK_GRACE_MS) <= now;
        let lost: Vec<u64> = self.at_link.values().filter(|one| overdue(one)).map(|one| one.ticket).collect();
        for ticket in lost {
            self.answered(ticket, LinkResult::TimedOut, rulings);
        }
        self.send_next(rulings);
    }

    fn accept(
        &mut self,
        now: Timestamp,
        asker: Asker,
        (ticket, instance): (u64, InstanceId),
        product: Option<&Arc<Product>>,
        command: &Command,
        rulings: &mut Vec<Ruling>,
    ) -> Result<(), (OutcomeKind, String)> {
        let refuse = |reason: String| (OutcomeKind::REFUSED, reason);
        let message_id = command.message_id.as_str();
        if message_id.len() > MESSAGE_ID_MAX {
            return Err(refuse(format!(
                "message id of {} bytes; at most {MESSAGE_ID_MAX} are taken",
                message_id.len()
            )));
        }
        let account = self.askers.entry(asker).or_insert_with(Account::new);
        if !account.rate.allow(now) {
            return Err(refuse(format!("more than {RATE_PER_SECOND} commands a second; try again later")));
        }
        if !message_id.is_empty() {
            match account.seen.fate(message_id) {
                Some(Fate::Over(first)) => {
                    let outcome = CommandOutcome { ticket, ..first.clone() };
                    rulings.push(Ruling::Over(Conclusion { asker, instance, outcome }));
                    return Ok(());
                }
                Some(&Fate::UnderWay(first)) => return self.follow(first, ticket, instance),
                None => {}
            }
        }
        let product =
            product.ok_or((OutcomeKind::UNREACHABLE, "the MCU has not said which product it is".to_owned()))?;
        let idempotent = check_command(product, &command.body).map_err(|error| refuse(error.to_string()))?;
        if !self.online {
            return Err((OutcomeKind::UNREACHABLE, UNREACHABLE.to_owned()));
        }
        self.settle_conflicts(now, asker, command, product, rulings).map_err(refuse)?;
        if self.queue.len() >= QUEUE_MAX {
            return Err(refuse(format!("{QUEUE_MAX} commands wait for the MCU already; try again later")));
        }
        let wanted_ms = if command.deadline_ms == 0 { self.settings.deadline_ms } else { command.deadline_ms };
        if !message_id.is_empty() {
            self.askers.entry(asker).or_insert_with(Account::new).seen.remember(message_id, ticket);
        }
        self.queue.push_back(Pending {
            ticket,
            asker,
            instance,
            device: command.device,
            body: command.body.clone(),
            idempotent,
            deadline: now.after(u64::from(wanted_ms.min(DEADLINE_MAX_MS))),
            followers: Vec::new(),
        });
        Ok(())
    }

    /// A message came again while its command is under way: it gets the same outcome.
    fn follow(&mut self, first: u64, ticket: u64, instance: InstanceId) -> Result<(), (OutcomeKind, String)> {
        let waiting = self.queue.iter_mut().find(|pending| pending.ticket == first);
        if let Some(pending) = waiting.or_else(|| self.at_link.get_mut(&first))
            && pending.followers.len() < FOLLOWERS_MAX
        {
            pending.followers.push((ticket, instance));
            return Ok(());
        }
        Err((OutcomeKind::REFUSED, format!("the same message came more than {FOLLOWERS_MAX} times")))
    }

    /// Applies the policy: refuses this command, or takes earlier ones out of the queue that it makes pointless.
    fn settle_conflicts(
        &mut self,
        now: Timestamp,
        asker: Asker,
        command: &Command,
        product: &Product,
        rulings: &mut Vec<Ruling>,
    ) -> Result<(), String> {
        let CommandBody::Set(wanted) = &command.body else { return Ok(()) };
        let policy = self.settings.policy;
        let name = |id: DatapointId| product.properties[id.0 as usize].field.name.as_str();
        for property in wanted {
            let at = (command.device, property.id);
            if let Some(by) = self.claims.against(policy, now, asker, at) {
                return Err(format!("`{}` was just set by {}, who comes first", name(property.id), describe(by)));
            }
            if policy == Policy::LockOut && self.is_locked(asker, at) {
                return Err(format!("another command for `{}` is under way", name(property.id)));
            }
        }
        let superseded = |pending: &Pending| match &pending.body {
            CommandBody::Set(earlier) => {
                pending.device == command.device && earlier.iter().all(|one| has(wanted, one.id))
            }
            _ => false,
        };
        let (out, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.queue).into_iter().partition(superseded);
        self.queue = kept;
        for pending in out {
            let reason = "a later command for the same datapoints took its place".to_owned();
            let outcome = outcome(pending.ticket, OutcomeKind::SUPERSEDED, reason);
            self.conclude(pending, &outcome, rulings);
        }
        for property in wanted {
            self.claims.note(policy, now, asker, (command.device, property.id));
        }
        Ok(())
    }

    fn is_locked(&self, asker: Asker, (device, id): (u32, DatapointId)) -> bool {
        self.queue.iter().chain(self.at_link.values()).any(|pending| {
            let sets = matches!(&pending.body, CommandBody::Set(wanted) if has(wanted, id));
            pending.asker != asker && pending.device == device && sets
        })
    }

    fn send_next(&mut self, rulings: &mut Vec<Ruling>) {
        while self.at_link.len() < AT_LINK_MAX {
            let Some(pending) = self.queue.pop_front() else { return };
            rulings.push(Ruling::Send(LinkCommand {
                ticket: pending.ticket,
                device: pending.device,
                body: pending.body.clone(),
                idempotent: pending.idempotent,
                deadline: pending.deadline,
            }));
            self.at_link.insert(pending.ticket, pending);
        }
    }

    fn conclude(&mut self, pending: Pending, outcome: &CommandOutcome, rulings: &mut Vec<Ruling>) {
        let Pending { asker, ticket, instance, followers, .. } = pending;
        if let Some(account) = self.askers.get_mut(&asker) {
            account.seen.conclude(outcome);
        }
        for (ticket, instance) in std::iter::once((ticket, instance)).chain(followers) {
            let outcome = CommandOutcome { ticket, ..outcome.clone() };
            rulings.push(Ruling::Over(Conclusion { asker, instance, outcome }));
        }
    }
}

impl Account {
    fn new() -> Self {
        Self { rate: Rate::new(RATE_PER_SECOND, RATE_BURST), seen: Seen::default() }
    }
}

fn has(properties: &[Property], id: DatapointId) -> bool {
    properties.iter().any(|property| property.id == id)
}

fn describe(asker: Asker) -> &'static str {
    match asker {
        Asker::Local => "a person at the device",
        Asker::Cloud(_) => "another cloud",
    }
}

fn outcome(ticket: u64, kind: OutcomeKind, reason: String) -> CommandOutcome {
    CommandOutcome { ticket, kind, reason: reason.into(), values: Vec::new().into(), document: None.into() }
}

fn unreachable(ticket: u64) -> CommandOutcome {
    outcome(ticket, OutcomeKind::UNREACHABLE, UNREACHABLE.to_owned())
}

fn timed_out(ticket: u64, reason: &str) -> CommandOutcome {
    outcome(ticket, OutcomeKind::TIMED_OUT, reason.to_owned())
}

const UNREACHABLE: &str = "the MCU does not answer";

/// Commands at the link at a time; the contract with [`crate::mcu::LinkInput::Command`].
pub const AT_LINK_MAX: usize = 32;

/// Commands that wait for the link; more are refused. Not documented; chosen by us: a minute of a slow serial line.
pub const QUEUE_MAX: usize = 256;

/// Commands of one asker a second on average, and at once. More are refused. Not documented; chosen by us: a person's
/// slider makes 20, and no serial line carries more than this.
pub const RATE_PER_SECOND: u32 = 50;
/// See [`RATE_PER_SECOND`].
pub const RATE_BURST: u32 = 100;

/// Longest deadline; longer ones are shortened. Not documented; chosen by us.
const DEADLINE_MAX_MS: u32 = 600_000;

/// Bytes of a message id. Not documented; chosen by us: clouds use UUIDs and short numbers.
const MESSAGE_ID_MAX: usize = 256;

/// How often one message may come again while its command is under way. Not documented; chosen by us.
const FOLLOWERS_MAX: usize = 16;

/// Commands whose asker is remembered after their end. Not documented; chosen by us: two rounds of what the link holds.
const RECENT_MAX: usize = 64;

/// The link keeps the deadline; if it says nothing for so long after it, the command ends without it. Not documented;
/// chosen by us.
const LINK_GRACE_MS: u64 = 1000;

#[cfg(test)]
mod tests;
