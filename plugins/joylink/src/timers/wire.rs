//! What packets of type 13 hold (JoyLink V1.79, chapter 10): requests and answers, all of them led by a time stamp, a
//! code of the operation and a serial number that the answer repeats. Little end first, no alignment.
//!
//! Two operations have other numbers in JD's SDK than in the document, and one number is a request in one of them and an
//! answer in the other; so who decodes has to know which of both it got.

mod task;

use polylink_plugin_sdk::bytes::{Reader, Truncated, Writer};

use crate::wire::{FeedId, Text};
pub use task::{Body, Commands, Task};

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Whether there are timers at all.
    Supported,
    /// Add tasks.
    Add,
    /// Change tasks.
    Modify,
    /// Delete tasks.
    Delete,
    /// List tasks.
    Query,
    /// Stop tasks.
    Stop,
    /// Start tasks again.
    Restart,
    /// The device tells what it did.
    Results,
    /// The device has a task of its own, and wants an id for it.
    New,
    /// The device deleted tasks by itself.
    Deleted,
    /// The device changed tasks by itself.
    Modified,
    /// The device lists all its tasks.
    Snapshot,
}

/// Which numbers the last two operations have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// Those of the document: 10100 and 1100, 10101 and 1101. What we send by ourselves.
    #[default]
    Document,
    /// Those of JD's SDK: 1100 and 200, 1101 and 201.
    Sdk,
}

/// A request or an answer with what leads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<T> {
    /// Unix seconds.
    pub timestamp: u32,
    /// The answer repeats that of the request.
    pub serial: u32,
    /// An answer uses those of the request.
    pub numbers: Numbers,
    /// What is asked or answered.
    pub content: T,
}

/// Something asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Whether there are timers.
    Supported,
    /// [`Operation::Add`], [`Operation::Modify`], [`Operation::New`] or [`Operation::Modified`].
    Tasks(Operation, Vec<Task>),
    /// [`Operation::Delete`], [`Operation::Query`], [`Operation::Stop`], [`Operation::Restart`] or
    /// [`Operation::Deleted`]. None means all.
    Ids(Operation, Vec<i32>),
    /// What was done.
    Results(Vec<StepResult>),
    /// All tasks.
    Snapshot(Listing),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Operation::Supported`], [`Operation::Add`], [`Operation::Modify`] and [`Operation::Modified`].
    Code(Operation, i32),
    /// To [`Operation::Delete`], [`Operation::Stop`], [`Operation::Restart`] and [`Operation::Deleted`]: the code, and the
    /// tasks that failed. To [`Operation::Snapshot`]: the code, and the tasks that arrived.
    Ids(Operation, i32, Vec<i32>),
    /// To [`Operation::Query`].
    Listing(Listing),
    /// To [`Operation::Results`]: tasks and steps whose results arrived.
    Received(Vec<(i32, u8)>),
    /// To [`Operation::New`].
    New {
        /// 0: done.
        code: i32,
        /// The id that the task has from now on.
        id: i32,
    },
}

/// What became of a step of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// The task.
    pub id: i32,
    /// Which of its command lists, from 1.
    pub step: u8,
    /// 0: done.
    pub code: i32,
}

/// Tasks of one device or sub-device. On the wire they have no names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Whose tasks they are.
    pub feedid: FeedId,
    /// The tasks.
    pub tasks: Vec<Task>,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It ends too early.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// There are bytes after its end.
    #[error("{0} bytes after the end of the message")]
    Trailing(usize),
    /// A code that no such message has.
    #[error("unknown biz_code {0}")]
    BizCode(u32),
    /// A count or length below 0.
    #[error("a count of {0}")]
    Count(i32),
    /// A kind of task that does not exist; what follows cannot be read.
    #[error("unknown mode {0}")]
    Mode(i32),
    /// An expression that is not ASCII.
    #[error("an expression is not ASCII")]
    NotAscii,
    /// The length of a command list is not that of its commands, in any reading.
    #[error("a command list says {said} bytes and has {got}")]
    CommandLength {
        /// What it says.
        said: i32,
        /// What its commands amount to.
        got: usize,
    },
}

/// Time stamp, code and serial number of a message, however damaged the rest is.
#[must_use]
pub fn head(bytes: &[u8]) -> Option<(u32, u32, u32)> {
    let mut reader = Reader::new(bytes);
    Some((reader.u32_le().ok()?, reader.u32_le().ok()?, reader.u32_le().ok()?))
}

impl Operation {
    /// What the code of a request means.
    #[must_use]
    pub fn of_request(biz_code: u32) -> Option<(Self, Numbers)> {
        find(biz_code, |numbers| numbers.0)
    }

    /// What the code of an answer means.
    #[must_use]
    pub fn of_answer(biz_code: u32) -> Option<(Self, Numbers)> {
        find(biz_code, |numbers| numbers.1)
    }

    const fn numbers(self, numbers: Numbers) -> (u32, u32) {
        match (self, numbers) {
            (Self::Supported, _) => (1090, 190),
            (Self::Add, _) => (1091, 191),
            (Self::Modify, _) => (1092, 192),
            (Self::Delete, _) => (1093, 193),
            (Self::Query, _) => (1094, 194),
            (Self::Stop, _) => (1095, 195),
            (Self::Restart, _) => (1096, 196),
            (Self::Results, _) => (1097, 197),
            (Self::New, _) => (1098, 198),
            (Self::Deleted, _) => (1099, 199),
            (Self::Modified, Numbers::Document) => (10_100, 1100),
            (Self::Modified, Numbers::Sdk) => (1100, 200),
            (Self::Snapshot, Numbers::Document) => (10_101, 1101),
            (Self::Snapshot, Numbers::Sdk) => (1101, 201),
        }
    }
}

fn find(biz_code: u32, number: impl Fn((u32, u32)) -> u32) -> Option<(Operation, Numbers)> {
    let pairs = OPERATIONS.into_iter().flat_map(|op| [Numbers::Document, Numbers::Sdk].map(|numbers| (op, numbers)));
    pairs.into_iter().find(|(operation, numbers)| number(operation.numbers(*numbers)) == biz_code)
}

impl Request {
    /// What is asked.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Supported => Operation::Supported,
            Self::Tasks(operation, _) | Self::Ids(operation, _) => *operation,
            Self::Results(_) => Operation::Results,
            Self::Snapshot(_) => Operation::Snapshot,
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// The bytes are no request. [`head`] and [`Answer::refusing`] still allow an answer.
    pub fn decode(bytes: &[u8]) -> Result<Message<Self>, WireError> {
        decode(bytes, Operation::of_request, |operation, reader| {
            Ok(match operation {
                Operation::Supported => Self::Supported,
                Operation::Add | Operation::Modify | Operation::New | Operation::Modified => {
                    let n_tasks = count(reader)?;
                    Self::Tasks(operation, many(n_tasks, || Task::decode(reader))?)
                }
                Operation::Delete | Operation::Query | Operation::Stop | Operation::Restart | Operation::Deleted => {
                    Self::Ids(operation, ids(reader)?)
                }
                Operation::Results => {
                    let n_results = count(reader)?;
                    Self::Results(many(n_results, || {
                        Ok(StepResult { id: reader.i32_le()?, step: reader.u8()?, code: reader.i32_le()? })
                    })?)
                }
                Operation::Snapshot => Self::Snapshot(Listing::decode(reader)?),
            })
        })
    }
}

impl Answer {
    /// What was asked.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Code(operation, _) | Self::Ids(operation, ..) => *operation,
            Self::Listing(_) => Operation::Query,
            Self::Received(_) => Operation::Results,
            Self::New { .. } => Operation::New,
        }
    }

    /// How to say no to an operation, such as when its request cannot be read.
    #[must_use]
    pub fn refusing(operation: Operation, code: i32) -> Self {
        match operation {
            Operation::Supported | Operation::Add | Operation::Modify | Operation::Modified => {
                Self::Code(operation, code)
            }
            Operation::Delete | Operation::Stop | Operation::Restart | Operation::Deleted | Operation::Snapshot => {
                Self::Ids(operation, code, Vec::new())
            }
            Operation::Query => Self::Listing(Listing::default()),
            Operation::Results => Self::Received(Vec::new()),
            Operation::New => Self::New { code, id: 0 },
        }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// The bytes are no answer.
    pub fn decode(bytes: &[u8]) -> Result<Message<Self>, WireError> {
        decode(bytes, Operation::of_answer, |operation, reader| {
            Ok(match operation {
                Operation::Supported | Operation::Add | Operation::Modify | Operation::Modified => {
                    Self::Code(operation, reader.i32_le()?)
                }
                Operation::Delete | Operation::Stop | Operation::Restart | Operation::Deleted | Operation::Snapshot => {
                    Self::Ids(operation, reader.i32_le()?, ids(reader)?)
                }
                Operation::Query => Self::Listing(Listing::decode(reader)?),
                Operation::Results => {
                    let n_received = count(reader)?;
                    Self::Received(many(n_received, || Ok((reader.i32_le()?, reader.u8()?)))?)
                }
                Operation::New => Self::New { code: reader.i32_le()?, id: reader.i32_le()? },
            })
        })
    }
}

impl Message<Request> {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.led_by(self.content.operation().numbers(self.numbers).0, |writer| match &self.content {
            Request::Supported => {}
            Request::Tasks(_, tasks) => {
                writer.i32_le(length(tasks.len()));
                tasks.iter().for_each(|task| task.encode(writer));
            }
            Request::Ids(_, ids) => write_ids(ids, writer),
            Request::Results(results) => {
                writer.i32_le(length(results.len()));
                for StepResult { id, step, code } in results {
                    writer.i32_le(*id).u8(*step).i32_le(*code);
                }
            }
            Request::Snapshot(listing) => listing.encode(writer),
        })
    }

    /// The answer to this request.
    #[must_use]
    pub const fn answered(&self, timestamp: u32, content: Answer) -> Message<Answer> {
        Message { timestamp, serial: self.serial, numbers: self.numbers, content }
    }
}

impl Message<Answer> {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.led_by(self.content.operation().numbers(self.numbers).1, |writer| match &self.content {
            Answer::Code(_, code) => {
                writer.i32_le(*code);
            }
            Answer::Ids(_, code, ids) => {
                writer.i32_le(*code);
                write_ids(ids, writer);
            }
            Answer::Listing(listing) => listing.encode(writer),
            Answer::Received(received) => {
                writer.i32_le(length(received.len()));
                for (id, step) in received {
                    writer.i32_le(*id).u8(*step);
                }
            }
            Answer::New { code, id } => {
                writer.i32_le(*code).i32_le(*id);
            }
        })
    }
}

impl<T> Message<T> {
    fn led_by(&self, biz_code: u32, content: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32_le(self.timestamp).u32_le(biz_code).u32_le(self.serial);
        content(&mut writer);
        writer.finish()
    }
}

impl Listing {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let n_tasks = count(reader)?;
        let feedid = Text::from_field(reader.array()?);
        let tasks = many(n_tasks, || Task::decode_simplified(reader, feedid))?;
        Ok(Self { feedid, tasks })
    }

    fn encode(&self, writer: &mut Writer) {
        writer.i32_le(length(self.tasks.len())).bytes(self.feedid.field());
        self.tasks.iter().for_each(|task| task.encode_simplified(writer));
    }
}

fn decode<T>(
    bytes: &[u8],
    operation: impl FnOnce(u32) -> Option<(Operation, Numbers)>,
    content: impl FnOnce(Operation, &mut Reader<'_>) -> Result<T, WireError>,
) -> Result<Message<T>, WireError> {
    let mut reader = Reader::new(bytes);
    let (timestamp, biz_code, serial) = (reader.u32_le()?, reader.u32_le()?, reader.u32_le()?);
    let (operation, numbers) = operation(biz_code).ok_or(WireError::BizCode(biz_code))?;
    let content = content(operation, &mut reader)?;
    if !reader.is_empty() {
        return Err(WireError::Trailing(reader.len()));
    }
    Ok(Message { timestamp, serial, numbers, content })
}

fn ids(reader: &mut Reader<'_>) -> Result<Vec<i32>, WireError> {
    let n_ids = count(reader)?;
    many(n_ids, || Ok(reader.i32_le()?))
}

fn write_ids(ids: &[i32], writer: &mut Writer) {
    writer.i32_le(length(ids.len()));
    for id in ids {
        writer.i32_le(*id);
    }
}

/// Grows with what is really there: each item takes bytes, so a count that lies ends early.
fn many<T>(n: usize, mut item: impl FnMut() -> Result<T, WireError>) -> Result<Vec<T>, WireError> {
    let mut items = Vec::new();
    for _ in 0..n {
        items.push(item()?);
    }
    Ok(items)
}

fn count(reader: &mut Reader<'_>) -> Result<usize, WireError> {
    let count = reader.i32_le()?;
    usize::try_from(count).map_err(|_| WireError::Count(count))
}

fn length(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

const OPERATIONS: [Operation; 12] = [
    Operation::Supported,
    Operation::Add,
    Operation::Modify,
    Operation::Delete,
    Operation::Query,
    Operation::Stop,
    Operation::Restart,
    Operation::Results,
    Operation::New,
    Operation::Deleted,
    Operation::Modified,
    Operation::Snapshot,
];

#[cfg(test)]
pub(in crate::timers) mod tests;
