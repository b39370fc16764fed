//! [`JsonLines`]: the conversation with the MCU, as a state machine.
//!
//! Whatever the MCU says makes it online; 60 s of silence make it offline. The host asks who it is until it says hello.
//! News with an id are acknowledged after they were handed over, and the same news with the same id are not acted upon
//! twice. A command is sent once; only one that may be carried out twice is repeated.

mod commands;
mod subdevices;

use std::collections::VecDeque;
use std::sync::Arc;

use polylink_plugin_api::{Cause, DatapointId, Now, ReportBody, Timestamp};

use super::lines::{Lines, MAX_LINE_BYTES};
use super::message::{Message, MessageError, News, module_line, shorten};
use super::values;
use crate::mcu::subdevices::SubdeviceNews;
use crate::mcu::transfer::{FirmwareInput, FirmwareOutput};
use crate::mcu::{Identity, Link, LinkInput, LinkOutput, LinkResult, ModuleState};
use crate::product::{Event, Field, Product, Property};
use commands::Job;
use subdevices::Known;

/// A [`Link`] to an MCU that speaks JSON lines.
#[derive(Debug, Default)]
pub struct JsonLines {
    lines: Lines,
    open: Option<Open>,
    said_online: Option<bool>,
    identity: Option<Identity>,
    product: Option<Arc<Product>>,
    /// Lines with news that came before the product was known and are not acknowledged yet, see [`HELD_LINES`].
    held: VecDeque<Vec<u8>>,
    /// The last news that had an id, to recognise their repeat.
    last_news: Option<(Timestamp, Vec<u8>)>,
    /// Commands not yet sent, see [`WAITING`].
    waiting: Vec<Job>,
    /// Commands sent and not answered, see [`UNDER_WAY`].
    under_way: Vec<Job>,
    /// Numbers and tickets of commands done lately, see [`REMEMBERED`].
    done: VecDeque<(u64, u64)>,
    next_number: u32,
    subdevices: Known,
    module: ModuleState,
    module_due: bool,
    outputs: VecDeque<LinkOutput>,
}

#[derive(Debug)]
struct Open {
    heard: Option<Timestamp>,
    pinged: Timestamp,
    /// When to ask who it is; none: it said.
    next_who: Option<Timestamp>,
    who_pause_ms: u64,
    module_repeat: Timestamp,
}

impl JsonLines {
    /// A closed link.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes held between inputs; bounded whatever the MCU sends.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let held: usize = self.held.iter().map(Vec::len).sum();
        let last = self.last_news.as_ref().map_or(0, |(_, line)| line.len());
        let jobs: usize = self.waiting.iter().chain(&self.under_way).map(|job| job.line.len()).sum();
        self.lines.queued_bytes() + held + last + jobs
    }
}

impl Link for JsonLines {
    fn handle(&mut self, now: Now, input: LinkInput<'_>) {
        let at = now.monotonic;
        match input {
            LinkInput::Opened => {
                self.end_commands();
                self.lines = Lines::default();
                self.last_news = None;
                self.open = Some(Open {
                    heard: None,
                    pinged: at,
                    next_who: Some(at),
                    who_pause_ms: FIRST_WHO_MS,
                    module_repeat: at,
                });
            }
            LinkInput::Closed => {
                self.end_commands();
                self.say_online(false);
                self.subdevices.closed();
                self.open = None;
            }
            LinkInput::Bytes(bytes) if self.open.is_some() => {
                let mut found = Vec::new();
                self.lines.push(bytes, |line| found.push(line));
                for line in found {
                    match line {
                        Ok(line) => self.line(at, line),
                        Err(error) => self.fault("line_too_long", error.to_string()),
                    }
                }
            }
            LinkInput::Bytes(_) | LinkInput::Timeout => {}
            LinkInput::Product { product, layout: _ } => {
                self.product = Some(product);
                for line in std::mem::take(&mut self.held) {
                    if let Ok(Message::News { id, command, device, news }) = Message::parse(&line) {
                        self.news(command, device, news);
                        if let Some(id) = id {
                            self.last_news = Some((at, line));
                            self.write(&format!(r#"{{"ack":{id}}}"#));
                        }
                    }
                }
            }
            LinkInput::Command { ticket, device, body, idempotent, deadline } => {
                match self.job(ticket, device, &body, idempotent, deadline) {
                    Ok(job) => self.waiting.push(job),
                    Err(result) => self.outputs.push_back(LinkOutput::Outcome { ticket, result }),
                }
            }
            LinkInput::Module(module) => {
                let steady = ModuleState { signal_percent: self.module.signal_percent, ..module.clone() };
                let signal_moved = module.signal_percent.abs_diff(self.module.signal_percent) >= SIGNAL_MOVE;
                if steady != self.module || signal_moved {
                    self.module = module;
                    self.module_due = true;
                }
            }
            LinkInput::Subdevice(request) => self.ask_gateway(at, request),
            LinkInput::RestartMcu if self.open.is_some() => self.write(r#"{"restart":1}"#),
            LinkInput::RestartMcu => {}
            LinkInput::Firmware(FirmwareInput::Begin(_)) => {
                self.outputs.push_back(LinkOutput::Firmware(FirmwareOutput::Refused(NO_FIRMWARE)));
            }
            LinkInput::Firmware(_) => {}
        }
        self.go_on(now);
    }

    fn poll(&mut self) -> Option<LinkOutput> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        let open = self.open.as_ref()?;
        let alive = open.heard.map(|heard| {
            let beat = heard.max(open.pinged).after(PING_MS);
            beat.min(heard.after(DEAD_MS)).min(open.module_repeat)
        });
        let jobs = self.waiting.iter().chain(&self.under_way);
        let jobs = jobs.flat_map(|job| [Some(job.deadline), job.repeat]).flatten();
        jobs.chain(alive).chain(open.next_who).chain(self.subdevices.next_timeout()).min()
    }

    fn has_subdevices(&self) -> bool {
        true
    }
}

/// What became due, and what is sent next.
impl JsonLines {
    fn go_on(&mut self, now: Now) {
        let at = now.monotonic;
        self.overdue(at);
        for index in self.subdevices.not_said_again(at) {
            self.outputs.push_back(LinkOutput::Subdevice(SubdeviceNews::Gone(index)));
        }
        let Some(open) = &mut self.open else { return };
        if open.heard.is_some_and(|heard| at >= heard.after(DEAD_MS)) {
            open.heard = None;
            open.next_who = Some(at);
            open.who_pause_ms = FIRST_WHO_MS;
            self.fault("silent", format!("nothing came from the MCU for {} s", DEAD_MS / 1000));
            self.end_commands();
            self.say_online(false);
        }
        let Some(open) = &mut self.open else { return };
        let mut lines = Vec::new();
        let mut silent = false;
        if open.next_who.is_some_and(|due| due <= at) {
            silent = open.heard.is_none() && open.who_pause_ms > FIRST_WHO_MS;
            open.next_who = Some(at.after(open.who_pause_ms));
            open.who_pause_ms = (2 * open.who_pause_ms).min(LONGEST_WHO_MS);
            lines.push(r#"{"who":1}"#.to_owned());
        }
        if let Some(heard) = open.heard {
            if self.module_due || open.module_repeat <= at {
                self.module_due = false;
                open.module_repeat = at.after(MODULE_REPEAT_MS);
                lines.push(module_line(&self.module, now));
            }
            if heard.max(open.pinged).after(PING_MS) <= at {
                open.pinged = at;
                lines.push(r#"{"ping":1}"#.to_owned());
            }
        }
        for line in lines {
            self.write(&line);
        }
        if silent {
            self.say_online(false);
        }
        self.send_jobs(at);
    }

    fn say_online(&mut self, online: bool) {
        if self.said_online != Some(online) {
            self.said_online = Some(online);
            self.outputs.push_back(LinkOutput::Online(online));
        }
    }

    fn write(&mut self, line: &str) {
        self.outputs.push_back(LinkOutput::Write(line_of(line)));
    }

    fn fault(&mut self, counter: &'static str, detail: String) {
        self.outputs.push_back(LinkOutput::Fault { counter, detail });
    }
}

/// What comes from the MCU.
impl JsonLines {
    fn line(&mut self, at: Timestamp, line: Vec<u8>) {
        let message = match Message::parse(&line) {
            Ok(message) => message,
            Err(error) => {
                let counter = if matches!(error, MessageError::Json(_)) { "json" } else { "message" };
                return self.fault(counter, error.to_string());
            }
        };
        if let Some(open) = &mut self.open {
            open.heard = Some(at);
        }
        self.say_online(true);
        match message {
            Message::Hello(identity) => self.hello(at, identity),
            Message::Ping => self.write(r#"{"pong":1}"#),
            Message::Pong => {}
            Message::Refused { command, reason } => self.end(command, |_, _| LinkResult::Refused(reason)),
            Message::Done { command, values } => {
                let mut problems = Vec::new();
                self.end(command, |product, answer| {
                    LinkResult::Done(answer.read(product, &values, |problem| problems.push(problem)))
                });
                for problem in problems {
                    self.fault("report_value", problem);
                }
            }
            Message::News { id, command, device, news } => {
                // What is said of a subdevice may be said twice, and counts as said again after a hello.
                let repeated = id.is_some()
                    && !matches!(news, News::Subdevice(_))
                    && self.last_news.as_ref().is_some_and(|(seen, last)| *last == line && at.since(*seen) < REPEAT_MS);
                if self.must_hold(&news) {
                    return self.hold(id, line);
                }
                if repeated {
                    self.fault("duplicate", format!("news {} came again", id.unwrap_or_default()));
                } else {
                    if id.is_some() {
                        self.last_news = Some((at, line.clone()));
                    }
                    self.news(command, device, news);
                }
                if let Some(id) = id {
                    self.write(&format!(r#"{{"ack":{id}}}"#));
                }
            }
        }
    }

    fn hello(&mut self, at: Timestamp, identity: Identity) {
        self.subdevices.begin_again(at);
        if let Some(open) = &mut self.open {
            open.next_who = None;
        }
        self.module_due = true;
        if self.identity.as_ref() != Some(&identity) {
            if self.identity.as_ref().is_some_and(|last| last.product_key != identity.product_key) {
                self.product = None;
                self.held.clear();
            }
            self.identity = Some(identity.clone());
            self.outputs.push_back(LinkOutput::Identified(identity));
        }
    }

    fn must_hold(&self, news: &News) -> bool {
        self.product.is_none() && !matches!(news, News::User(_) | News::Subdevice(_))
    }

    /// Keeps news until the product is known. They are acknowledged then: nobody could keep them safe before.
    fn hold(&mut self, id: Option<u64>, line: Vec<u8>) {
        if id.is_some() && self.held.contains(&line) {
            return;
        }
        let n_bytes = self.held.iter().map(Vec::len).sum::<usize>() + line.len();
        if self.held.len() < HELD_LINES && n_bytes <= MAX_LINE_BYTES {
            self.held.push_back(line);
        } else {
            self.fault("held_report_dropped", "more news came than are held until the product is known".into());
        }
    }

    fn news(&mut self, command: Option<u64>, device: u32, news: News) {
        let news = match news {
            News::User(event) => return self.outputs.push_back(LinkOutput::User(event)),
            News::Subdevice(news) => return self.subdevice(news),
            news => news,
        };
        let Some(product) = self.product.clone() else { return };
        let mut problems = Vec::new();
        let mut note = |problem| problems.push(problem);
        let body = match news {
            News::User(_) | News::Subdevice(_) => None,
            News::Report(members) => {
                let properties = values::read(&members, fields(&product), &mut note);
                (!properties.is_empty()).then(|| ReportBody::Properties(properties.into()))
            }
            News::Event(name, params) => match position(&product.events, |event: &Event| &event.name, &name) {
                Some((id, event)) => {
                    let params = values::read(&params, event.params.iter(), &mut note);
                    Some(ReportBody::Event { id, params: params.into() })
                }
                None => {
                    note(format!("the product has no event `{}`", shorten(&name, 40)));
                    None
                }
            },
            News::Raw(bytes) if product.raw => Some(ReportBody::Raw(bytes.into())),
            News::Raw(_) => {
                self.fault("raw", "uninterpreted bytes of a product that declares none".into());
                None
            }
        };
        for problem in problems {
            self.fault("report_value", problem);
        }
        if let Some(body) = body {
            let ticket = command.and_then(|number| self.ticket(number));
            self.outputs.push_back(LinkOutput::Report { device, cause: Cause::CHANGE, ticket, body });
        }
    }

    fn subdevice(&mut self, news: SubdeviceNews) {
        if let Err(error) = news.check() {
            return self.fault("subdevice", error.to_string());
        }
        self.subdevices.note(&news);
        self.outputs.push_back(LinkOutput::Subdevice(news));
    }
}

fn fields(product: &Product) -> impl Iterator<Item = &Field> {
    product.properties.iter().map(|property: &Property| &property.field)
}

fn position<'a, T>(items: &'a [T], name: impl Fn(&T) -> &String, wanted: &str) -> Option<(DatapointId, &'a T)> {
    let found = (0u32..).zip(items).find(|(_, item)| name(item) == wanted);
    found.map(|(id, item)| (DatapointId(id), item))
}

fn line_of(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\n"].concat()
}

/// Pauses between the questions who the MCU is, doubling. Not documented; chosen by us: a booting MCU is found soon.
const FIRST_WHO_MS: u64 = 1000;
const LONGEST_WHO_MS: u64 = 10_000;

/// A ping goes out after so much silence. Not documented; chosen by us.
const PING_MS: u64 = 20_000;

/// After so much silence the MCU counts as lost: three pings without an answer.
const DEAD_MS: u64 = 60_000;

/// The module's state goes out at least so often, as in the Gizwits serial protocol.
const MODULE_REPEAT_MS: u64 = 600_000;

/// A signal that moved by less, in percent, is not told, as in the Gizwits serial protocol.
const SIGNAL_MOVE: u8 = 10;

/// The same news with the same id within this time are a repeat. Not documented; chosen by us: twice the wait that the
/// protocol's document asks of an MCU.
const REPEAT_MS: u64 = 4000;

/// Lines held until the product is known, and together not longer than one line may be. When full, further ones are not
/// acknowledged, and counted as `held_report_dropped`; an MCU that gave them an id repeats them.
const HELD_LINES: usize = 16;

/// The answer to firmware (JSON lines over a serial line, version 1, has no message for it).
const NO_FIRMWARE: &str = "this line cannot carry firmware";
