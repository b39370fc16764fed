//! What the host asks of the MCU: lines with a number, which are answered with it.

use polylink_plugin_api::{CommandBody, DatapointId, Timestamp};

use super::{JsonLines, fields, line_of};
use crate::mcu::jsonl::lines::MAX_LINE_BYTES;
use crate::mcu::jsonl::values::{self, Members};
use crate::mcu::subdevices::SubdeviceRequest;
use crate::mcu::{LinkOutput, LinkResult};
use crate::product::{Action, Field, Product};

/// A line that waits to be sent, or for its answer.
#[derive(Debug)]
pub(super) struct Job {
    asker: Asker,
    number: u64,
    pub(super) line: String,
    answer: Answer,
    pub(super) deadline: Timestamp,
    /// When to send it again; none: never.
    pub(super) repeat: Option<Timestamp>,
    idempotent: bool,
    sends: u8,
}

/// Who wants to know what became of it.
#[derive(Debug)]
enum Asker {
    /// The arbiter, by this ticket.
    Command(u64),
    /// Nobody; that it came to nothing is for the log.
    Subdevice(SubdeviceRequest),
}

#[derive(Debug)]
pub(super) enum Answer {
    Nothing,
    Properties(Vec<DatapointId>),
    Returns(DatapointId),
}

/// What is sent next, and what became of it.
impl JsonLines {
    pub(super) fn overdue(&mut self, at: Timestamp) {
        let mut outcomes = Vec::new();
        let late = |job: &mut Job| job.deadline <= at;
        outcomes.extend(self.under_way.extract_if(.., late).map(|job| (job.asker, LinkResult::TimedOut)));
        outcomes.extend(self.waiting.extract_if(.., late).map(|job| (job.asker, LinkResult::Unreachable)));
        for (asker, result) in outcomes {
            self.conclude(asker, result);
        }
    }

    pub(super) fn send_jobs(&mut self, at: Timestamp) {
        for job in self.under_way.iter_mut().filter(|job| job.repeat.is_some_and(|due| due <= at)) {
            self.outputs.push_back(LinkOutput::Write(line_of(&job.line)));
            job.sent(at);
        }
        let free = UNDER_WAY.saturating_sub(self.under_way.len()).min(self.waiting.len());
        for mut job in self.waiting.drain(..free) {
            self.outputs.push_back(LinkOutput::Write(line_of(&job.line)));
            job.sent(at);
            self.under_way.push(job);
        }
    }

    /// Commands that were sent may have been obeyed, those that wait were not.
    pub(super) fn end_commands(&mut self) {
        let sent = self.under_way.drain(..).map(|job| (job.asker, LinkResult::TimedOut));
        let waiting = self.waiting.drain(..).map(|job| (job.asker, LinkResult::Unreachable));
        for (asker, result) in sent.chain(waiting).collect::<Vec<_>>() {
            self.conclude(asker, result);
        }
        self.done.clear();
    }

    /// The ticket of the command with this number, also for a while after its end.
    pub(super) fn ticket(&self, number: u64) -> Option<u64> {
        let under_way = self.under_way.iter().filter_map(|job| Some((job.number, job.asker.ticket()?)));
        under_way.chain(self.done.iter().copied()).find(|(known, _)| *known == number).map(|(_, ticket)| ticket)
    }

    /// Ends the line with this number.
    pub(super) fn end(&mut self, number: u64, result: impl FnOnce(Option<&Product>, &Answer) -> LinkResult) {
        let Some(index) = self.under_way.iter().position(|job| job.number == number) else {
            return self.fault("ack_unmatched", format!("an answer to command {number}, which is not under way"));
        };
        let job = self.under_way.remove(index);
        if let Some(ticket) = job.asker.ticket() {
            if self.done.len() >= REMEMBERED {
                self.done.pop_front();
            }
            self.done.push_back((job.number, ticket));
        }
        let result = result(self.product.as_deref(), &job.answer);
        self.conclude(job.asker, result);
    }

    fn conclude(&mut self, asker: Asker, result: LinkResult) {
        let request = match asker {
            Asker::Command(ticket) => return self.outputs.push_back(LinkOutput::Outcome { ticket, result }),
            Asker::Subdevice(request) => request,
        };
        match result {
            LinkResult::Done(_) => {}
            LinkResult::Refused(why) => self.fault("subdevice_refused", format!("the MCU does not {request}: {why}")),
            LinkResult::Unreachable | LinkResult::TimedOut => {
                self.fault("subdevice_unanswered", format!("no answer to the wish to {request}"));
            }
        }
    }
}

/// What comes from the host.
impl JsonLines {
    /// The line of a command.
    pub(super) fn job(
        &mut self,
        ticket: u64,
        device: u32,
        body: &CommandBody,
        idempotent: bool,
        deadline: Timestamp,
    ) -> Result<Job, LinkResult> {
        let refused = |why: &str| LinkResult::Refused(why.to_owned());
        if self.said_online != Some(true) {
            return Err(LinkResult::Unreachable);
        }
        // An MCU that has told of none would do to itself what is meant for another.
        if device != 0 && !self.subdevices.has(device) {
            return Err(LinkResult::Refused(format!("the MCU has told of no subdevice {device}")));
        }
        let waiting = self.waiting.iter().filter(|job| job.asker.ticket().is_some()).count();
        if waiting >= WAITING {
            return Err(refused("too many commands wait for the MCU"));
        }
        let product = self.product.as_ref().ok_or_else(|| refused("the product is not known yet"))?;
        let (wish, answer) = match body {
            CommandBody::Set(properties) => {
                let members =
                    members(fields(product), properties.iter().map(|property| (property.id, &property.value)));
                (format!(r#""set":{}"#, members.map_err(LinkResult::Refused)?), Answer::Nothing)
            }
            CommandBody::Get(ids) => {
                let named = |id: &DatapointId| product.properties.get(id.0 as usize);
                let names: Option<Vec<_>> = ids.iter().map(|id| Some(values::quoted(&named(id)?.field.name))).collect();
                let names = names.ok_or_else(|| refused("the product has no such property"))?;
                (format!(r#""get":[{}]"#, names.join(",")), Answer::Properties(ids.to_vec()))
            }
            CommandBody::Invoke { action, params } => {
                let known = product.actions.get(action.0 as usize);
                let known = known.ok_or_else(|| refused("the product has no such action"))?;
                let members = members(known.params.iter(), params.iter().map(|param| (param.id, &param.value)));
                let (name, members) = (values::quoted(&known.name), members.map_err(LinkResult::Refused)?);
                (format!(r#""invoke":{name},"params":{members}"#), Answer::Returns(*action))
            }
            CommandBody::Raw(_) if !product.raw => {
                return Err(refused("the product declares no uninterpreted bytes"));
            }
            CommandBody::Raw(bytes) => (format!(r#""raw":"{}""#, values::hex(bytes)), Answer::Nothing),
        };
        let to = if device == 0 { String::new() } else { format!(r#""device":{device},"#) };
        let number = self.number();
        let line = format!(r#"{{{wish},{to}"id":{number}}}"#);
        if line.len() > MAX_LINE_BYTES {
            return Err(refused("the command is longer than a line may be"));
        }
        let idempotent = idempotent || matches!(body, CommandBody::Get(_));
        Ok(Job { asker: Asker::Command(ticket), number, line, answer, deadline, repeat: None, idempotent, sends: 0 })
    }

    /// Queues a wish for the gateway of the subdevices. Each may be carried out twice.
    pub(super) fn ask_gateway(&mut self, at: Timestamp, request: SubdeviceRequest) {
        let jobs = self.waiting.iter().chain(&self.under_way);
        let n_wishes = jobs.filter(|job| job.asker.ticket().is_none()).count();
        if self.said_online != Some(true) || n_wishes >= WISHES {
            return self.conclude(Asker::Subdevice(request), LinkResult::Unreachable);
        }
        let wish = match &request {
            SubdeviceRequest::Admit { product, address, seconds } => {
                let (product, address) = (values::quoted(product), values::quoted(address));
                format!(r#""admit":{{"product":{product},"address":{address}}},"seconds":{seconds}"#)
            }
            SubdeviceRequest::Accept(index) => format!(r#""accept":{index}"#),
            SubdeviceRequest::Remove(index) => format!(r#""remove":{index}"#),
        };
        let number = self.number();
        self.waiting.push(Job {
            asker: Asker::Subdevice(request),
            number,
            line: format!(r#"{{{wish},"id":{number}}}"#),
            answer: Answer::Nothing,
            deadline: at.after(WISH_MS),
            repeat: None,
            idempotent: true,
            sends: 0,
        });
    }

    fn number(&mut self) -> u64 {
        self.next_number = self.next_number % LAST_NUMBER + 1;
        u64::from(self.next_number)
    }
}

impl Asker {
    const fn ticket(&self) -> Option<u64> {
        match self {
            Self::Command(ticket) => Some(*ticket),
            Self::Subdevice(_) => None,
        }
    }
}

impl Job {
    fn sent(&mut self, at: Timestamp) {
        self.sends += 1;
        self.repeat = (self.idempotent && self.sends < SENDS).then(|| at.after(ANSWER_MS));
    }
}

impl Answer {
    /// What the MCU said in answer.
    pub(super) fn read(
        &self,
        product: Option<&Product>,
        members: &Members,
        problem: impl FnMut(String),
    ) -> Vec<polylink_plugin_api::Property> {
        match (self, product) {
            (Self::Properties(wanted), Some(product)) => {
                let mut properties = values::read(members, fields(product), problem);
                properties.retain(|property| wanted.is_empty() || wanted.contains(&property.id));
                properties
            }
            (Self::Returns(action), Some(product)) => {
                let returns = product.actions.get(action.0 as usize).map_or(&[][..], |action: &Action| &action.returns);
                values::read(members, returns.iter(), problem)
            }
            _ => Vec::new(),
        }
    }
}

/// A JSON object of these values; their ids are positions among the fields.
fn members<'a>(
    fields: impl Iterator<Item = &'a Field>,
    values: impl Iterator<Item = (DatapointId, &'a polylink_plugin_api::Value)>,
) -> Result<String, String> {
    let fields: Vec<_> = fields.collect();
    let member = |(id, value): (DatapointId, _)| {
        let field = fields.get(id.0 as usize).ok_or_else(|| format!("the product has no datum {}", id.0))?;
        Ok(format!("{}:{}", values::quoted(&field.name), values::text(field, value)))
    };
    Ok(format!("{{{}}}", values.map(member).collect::<Result<Vec<_>, String>>()?.join(",")))
}

/// Wait for the answer to a command before it is repeated, if it may be. Not documented; chosen by us.
const ANSWER_MS: u64 = 1000;

/// Transmissions of a command that may be repeated, in total.
const SENDS: u8 = 3;

/// Commands that wait for that; the arbiter has at most so many. One more is refused.
const WAITING: usize = 32;

/// Command numbers run from 1 to this, so that they fit a signed 32-bit integer.
const LAST_NUMBER: u32 = i32::MAX as u32;

/// Commands sent and not answered. Not documented; chosen by us: their lines fit the input buffer of a small MCU.
const UNDER_WAY: usize = 4;

/// Commands done lately whose number a report may still name. When full, the oldest is forgotten.
const REMEMBERED: usize = 8;

/// Wishes for the gateway of the subdevices that wait or have no answer yet; a further one is dropped and counted as
/// `subdevice_unanswered`. Not documented; chosen by us: people make them.
const WISHES: usize = 8;

/// A wish without an answer for so long has come to nothing. Not documented; chosen by us.
const WISH_MS: u64 = 5000;
