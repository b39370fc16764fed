//! Timer tasks and the bodies of timer messages (JoyLink, 11.1 and 11.2). Strict: lengths must be those of our choice.

use super::fields::{Reader, Writer};

/// A task of the device's timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Version, one more with each modification.
    pub version: i32,
    /// Whose task it is; empty in a simplified form, where the message says it once.
    pub feedid: String,
    /// Name; empty in a simplified form.
    pub name: String,
    /// Its id; 0 while the cloud has given it none.
    pub id: i32,
    /// 0 stopped, 1 running.
    pub state: u8,
    /// Who set it: 0 user, 1 remote control, 2 panel.
    pub origin: u8,
    /// What it does when.
    pub plan: Plan,
}

/// What a task does, by mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// 0: at each instant of an expression.
    Expression {
        /// When.
        at: String,
        /// What is said to the MCU.
        commands: Vec<Vec<u8>>,
    },
    /// 1: from one instant to another.
    Span {
        /// When it begins.
        start: String,
        /// When it ends.
        stop: String,
        /// Whether the period says on which days.
        repeat: u8,
        /// 0 week, 1 month.
        period_type: u8,
        /// The days.
        period: [u8; PERIOD],
        /// What is said at the beginning.
        start_commands: Vec<Vec<u8>>,
        /// What is said at the end.
        stop_commands: Vec<Vec<u8>>,
    },
    /// 2: on and off in turns.
    Cycle {
        /// Seconds on.
        action_s: i32,
        /// Seconds off.
        sleep_s: i32,
        /// Rounds; 0 without end.
        times: i32,
        /// What is said when it is on.
        action_commands: Vec<Vec<u8>>,
        /// What is said when it is off.
        sleep_commands: Vec<Vec<u8>>,
    },
    /// 3: once, after some time.
    Countdown {
        /// Seconds.
        interval_s: i32,
        /// What is said at once.
        action_commands: Vec<Vec<u8>>,
        /// What is said then.
        stop_commands: Vec<Vec<u8>>,
    },
}

/// Whether a task carries its feedid and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It does.
    Full,
    /// It does not.
    Simplified,
}

impl Task {
    /// Writes it behind what is there.
    pub fn write(&self, form: Form, to: Writer) -> Writer {
        let to = to.int(self.plan.mode()).int(self.version);
        let to = match form {
            Form::Full => to.text(&self.feedid, FEEDID).text(&self.name, NAME),
            Form::Simplified => to,
        };
        let to = to.int(self.id).byte(self.state).byte(self.origin);
        match &self.plan {
            Plan::Expression { at, commands } => write_commands(write_expression(to, at), commands),
            Plan::Span { start, stop, repeat, period_type, period, start_commands, stop_commands } => {
                let to = write_expression(write_expression(to, start), stop);
                let to = to.byte(*repeat).byte(*period_type).bytes(period);
                write_commands(write_commands(to, start_commands), stop_commands)
            }
            Plan::Cycle { action_s, sleep_s, times, action_commands, sleep_commands } => {
                let to = to.int(*action_s).int(*sleep_s).int(*times);
                write_commands(write_commands(to, action_commands), sleep_commands)
            }
            Plan::Countdown { interval_s, action_commands, stop_commands } => {
                write_commands(write_commands(to.int(*interval_s), action_commands), stop_commands)
            }
        }
    }

    /// Reads one.
    pub fn read(form: Form, from: &mut Reader) -> Result<Self, String> {
        let (mode, version) = (from.int()?, from.int()?);
        let (feedid, name) = match form {
            Form::Full => (from.text(FEEDID)?, from.text(NAME)?),
            Form::Simplified => Default::default(),
        };
        let (id, state, origin) = (from.int()?, from.byte()?, from.byte()?);
        if state > 1 || origin > 2 {
            return Err(format!("task {id} with state {state} and type {origin}"));
        }
        let plan = Plan::read(mode, from).map_err(|fault| format!("task {id}: {fault}"))?;
        Ok(Self { version, feedid, name, id, state, origin, plan })
    }

    /// The task as a message in simplified form has it.
    pub fn simplified(&self) -> Self {
        Self { feedid: String::new(), name: String::new(), ..self.clone() }
    }

    /// What is left of this task after a modification: empty variable parts leave things as they are (11.4).
    pub fn modified_by(&self, change: &Self) -> Result<Self, String> {
        let mut plan = change.plan.clone();
        let keep_text = |new: &mut String, old: &String| {
            if new.is_empty() {
                new.clone_from(old);
            }
        };
        let keep_commands = |new: &mut Vec<Vec<u8>>, old: &Vec<Vec<u8>>| {
            if new.is_empty() {
                new.clone_from(old);
            }
        };
        match (&mut plan, &self.plan) {
            (Plan::Expression { at, commands }, Plan::Expression { at: old_at, commands: old }) => {
                keep_text(at, old_at);
                keep_commands(commands, old);
            }
            (
                Plan::Span { start, stop, start_commands, stop_commands, .. },
                Plan::Span { start: a, stop: b, start_commands: c, stop_commands: d, .. },
            ) => {
                keep_text(start, a);
                keep_text(stop, b);
                keep_commands(start_commands, c);
                keep_commands(stop_commands, d);
            }
            (
                Plan::Cycle { action_commands, sleep_commands, .. },
                Plan::Cycle { action_commands: a, sleep_commands: b, .. },
            ) => {
                keep_commands(action_commands, a);
                keep_commands(sleep_commands, b);
            }
            (
                Plan::Countdown { action_commands, stop_commands, .. },
                Plan::Countdown { action_commands: a, stop_commands: b, .. },
            ) => {
                keep_commands(action_commands, a);
                keep_commands(stop_commands, b);
            }
            // Another mode replaces everything.
            _ => {}
        }
        let mut name = change.name.clone();
        keep_text(&mut name, &self.name);
        if change.id != self.id {
            return Err(format!("task {} cannot become task {}", self.id, change.id));
        }
        Ok(Self { name, plan, ..change.clone() })
    }
}

impl Plan {
    fn mode(&self) -> i32 {
        match self {
            Self::Expression { .. } => 0,
            Self::Span { .. } => 1,
            Self::Cycle { .. } => 2,
            Self::Countdown { .. } => 3,
        }
    }

    fn read(mode: i32, from: &mut Reader) -> Result<Self, String> {
        Ok(match mode {
            0 => Self::Expression { at: read_expression(from)?, commands: read_commands(from)? },
            1 => {
                let (start, stop) = (read_expression(from)?, read_expression(from)?);
                let (repeat, period_type) = (from.byte()?, from.byte()?);
                let mut period = [0; PERIOD];
                period.copy_from_slice(from.bytes(PERIOD)?);
                let (start_commands, stop_commands) = (read_commands(from)?, read_commands(from)?);
                Self::Span { start, stop, repeat, period_type, period, start_commands, stop_commands }
            }
            2 => Self::Cycle {
                action_s: from.int()?,
                sleep_s: from.int()?,
                times: from.int()?,
                action_commands: read_commands(from)?,
                sleep_commands: read_commands(from)?,
            },
            3 => Self::Countdown {
                interval_s: from.int()?,
                action_commands: read_commands(from)?,
                stop_commands: read_commands(from)?,
            },
            _ => return Err(format!("mode {mode}")),
        })
    }
}

/// The body of req_t.
pub fn write_tasks(to: Writer, tasks: &[Task]) -> Writer {
    tasks.iter().fold(to.count(tasks.len()), |to, task| task.write(Form::Full, to))
}

/// The same, read to its end.
pub fn read_tasks(from: &mut Reader) -> Result<Vec<Task>, String> {
    let n = from.count()?;
    let tasks = (0..n).map(|_| Task::read(Form::Full, from)).collect::<Result<_, _>>()?;
    from.end().map(|()| tasks)
}

/// The body of sreq_t.
pub fn write_snapshot(to: Writer, feedid: &str, tasks: &[Task]) -> Writer {
    let to = to.count(tasks.len()).text(feedid, FEEDID);
    tasks.iter().fold(to, |to, task| task.write(Form::Simplified, to))
}

/// The same, read to its end: whose tasks they are, and the tasks.
pub fn read_snapshot(from: &mut Reader) -> Result<(String, Vec<Task>), String> {
    let n = from.count()?;
    let feedid = from.text(FEEDID)?;
    let tasks = (0..n).map(|_| Task::read(Form::Simplified, from)).collect::<Result<_, _>>()?;
    from.end().map(|()| (feedid, tasks))
}

/// The body of ids_req_t.
pub fn write_ids(to: Writer, ids: &[i32]) -> Writer {
    ids.iter().fold(to.count(ids.len()), |to, &id| to.int(id))
}

/// The same, read to its end.
pub fn read_ids(from: &mut Reader) -> Result<Vec<i32>, String> {
    let n = from.count()?;
    let ids = (0..n).map(|_| from.int()).collect::<Result<_, _>>()?;
    from.end().map(|()| ids)
}

fn write_expression(to: Writer, expression: &str) -> Writer {
    let length = expression.len().min(usize::from(u8::MAX));
    to.byte(length as u8).bytes(&expression.as_bytes()[..length])
}

fn read_expression(from: &mut Reader) -> Result<String, String> {
    let length = from.byte()?;
    let text = from.bytes(usize::from(length))?;
    if text.is_ascii() && !text.contains(&0) {
        Ok(text.iter().map(|&byte| char::from(byte)).collect())
    } else {
        Err(format!("an expression of {text:02x?}"))
    }
}

fn write_commands(to: Writer, commands: &[Vec<u8>]) -> Writer {
    let length = 1 + commands.iter().map(|command| 4 + command.len()).sum::<usize>();
    let to = to.count(length).byte(commands.len().min(usize::from(u8::MAX)) as u8);
    commands.iter().fold(to, |to, command| to.count(command.len()).bytes(command))
}

fn read_commands(from: &mut Reader) -> Result<Vec<Vec<u8>>, String> {
    let length = from.count()?;
    let mut inside = Reader::new(from.bytes(length)?);
    let n = inside.byte()?;
    let mut commands = Vec::new();
    for _ in 0..n {
        let length = inside.count()?;
        commands.push(inside.bytes(length)?.to_vec());
    }
    inside.end().map(|()| commands).map_err(|fault| format!("commands: {fault}"))
}

/// Days of a period.
pub const PERIOD: usize = 31;
/// Width of a feedid.
pub const FEEDID: usize = 32;
/// Width of a name.
const NAME: usize = 128;
