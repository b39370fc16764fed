//! Timers: what the cloud asks, what the device reports, and making the device's list that of the cloud (JoyLink, 11).

use serde_json::json;

use super::behaviour::counts_down;
use super::platform::{About, Asked, Platform, State, answer_code, clock};
use super::seen::{Answer, Seen, keep};
use super::server::Conversation;
use super::session::TIMERS;
use crate::joylink_wire::fields::{Reader, Writer};
use crate::joylink_wire::timers::{Task, read_ids, read_snapshot, read_tasks, write_ids, write_tasks};

/// Something that the cloud asks of the device's timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// 1090: are there timers at all?
    Supported,
    /// 1091.
    Add(Vec<Task>),
    /// 1092: empty texts and lists leave things as they are.
    Modify(Vec<Task>),
    /// 1093: these ids, or all.
    Delete(Vec<i32>),
    /// 1094: these ids, or all.
    Query(Vec<i32>),
    /// 1095: these ids, or all.
    Stop(Vec<i32>),
    /// 1096: these ids, or all.
    Restart(Vec<i32>),
}

impl Operation {
    fn biz_code(&self) -> u32 {
        match self {
            Self::Supported => 1090,
            Self::Add(_) => 1091,
            Self::Modify(_) => 1092,
            Self::Delete(_) => 1093,
            Self::Query(_) => 1094,
            Self::Stop(_) => 1095,
            Self::Restart(_) => 1096,
        }
    }

    /// The payload of a request.
    pub fn request(&self, now: u32, serial: u32) -> Vec<u8> {
        let to = Writer::at(now).word(self.biz_code()).word(serial);
        match self {
            Self::Supported => to,
            Self::Add(tasks) | Self::Modify(tasks) => write_tasks(to, tasks),
            Self::Delete(ids) | Self::Query(ids) | Self::Stop(ids) | Self::Restart(ids) => write_ids(to, ids),
        }
        .done()
    }

    /// Code, ids and tasks of an answer, after its head.
    pub fn answer(&self, fields: &mut Reader) -> Result<Answer, String> {
        match self {
            Self::Supported | Self::Add(_) | Self::Modify(_) => {
                let code = fields.int()?;
                fields.end()?;
                Ok(Answer { code: code.into(), json: json!({}) })
            }
            Self::Delete(_) | Self::Stop(_) | Self::Restart(_) => {
                let code = fields.int()?;
                let ids = read_ids(fields)?;
                if (code == 0) != ids.is_empty() {
                    return Err(format!("code {code} with the ids {ids:?}"));
                }
                Ok(Answer { code: code.into(), json: json!({"ids": ids}) })
            }
            Self::Query(wanted) => {
                let (feedid, tasks) = read_snapshot(fields)?;
                let ids: Vec<i32> = tasks.iter().map(|task| task.id).collect();
                let asked_for = |id: &i32| *id != 0 && (wanted.is_empty() || wanted.contains(id));
                if !ids.iter().all(asked_for) {
                    return Err(format!("tasks {ids:?}, {wanted:?} were asked for"));
                }
                let tasks: Vec<String> = tasks.iter().map(|task| format!("{task:?}")).collect();
                Ok(Answer { code: 0, json: json!({"feedid": feedid, "ids": ids, "tasks": tasks}) })
            }
        }
    }
}

impl Platform {
    /// Asks for an operation. What the device agrees to becomes part of the cloud's list.
    pub fn operate(&self, operation: Operation) -> Result<String, String> {
        self.operate_in(&mut self.lock(), operation)
    }

    fn operate_in(&self, state: &mut State, operation: Operation) -> Result<String, String> {
        let about = About::Timers(operation.clone());
        self.ask(state, (TIMERS, operation.biz_code()), about, false, |now, serial| operation.request(now, serial))
    }

    /// Takes a message of the device's timer.
    pub fn timers(&self, state: &mut State, from: &Conversation, mut fields: Reader) -> Result<(), String> {
        let (biz_code, serial) = (fields.word()?, fields.word()?);
        let head = |biz_code| Writer::at(clock(from.ahead_s)).word(biz_code).word(serial);
        let answer = match biz_code {
            1097 => take_steps(state, head(197), &mut fields)?,
            1098 => self.take_new(state, head(198), &mut fields)?,
            1099 => {
                let ids = read_ids(&mut fields)?;
                let unknown: Vec<i32> = ids.into_iter().filter(|id| state.timers.remove(id).is_none()).collect();
                write_ids(head(199).int(code(unknown.is_empty())), &unknown)
            }
            10100 | 1100 => {
                let done = take_modified(state, &mut fields)?;
                // The vendor's SDK has numbers of its own, and is answered with them (11.3).
                head(if biz_code == 1100 { 200 } else { answer_code(biz_code) }).int(code(done))
            }
            10101 | 1101 => {
                let (feedid, tasks) = self.read_timers(&mut fields)?;
                let mut ids: Vec<i32> = tasks.iter().map(|task| task.id).collect();
                if !ids.is_empty() && counts_down(&mut state.behaviour.forget_snapshot_ids) {
                    ids.pop();
                }
                let number = if biz_code == 1101 { 201 } else { answer_code(biz_code) };
                let answer = write_ids(head(number).int(0), &ids);
                self.reply(state, from, TIMERS, &answer.done());
                if !state.behaviour.keep_timers {
                    self.repair(state, &feedid, &tasks)?;
                }
                let Seen { snapshots, left_out, .. } = &mut state.seen;
                keep(snapshots, left_out, (feedid, tasks));
                return Ok(());
            }
            190..=196 => return self.take_answer(state, biz_code, serial, &mut fields),
            _ => return Err(format!("business code {biz_code}")),
        };
        self.reply(state, from, TIMERS, &answer.done());
        Ok(())
    }

    fn take_answer(&self, state: &mut State, biz_code: u32, serial: u32, fields: &mut Reader) -> Result<(), String> {
        let asked = self.answered(state, TIMERS, biz_code, serial)?;
        let Asked { about: About::Timers(operation), .. } = &asked else {
            return Err(format!("answers serial {serial}"));
        };
        let operation = operation.clone();
        let answer = operation.answer(fields);
        if let Ok(Answer { code: 0, .. }) = &answer {
            agreed(state, operation);
        }
        self.book(state, asked, answer)
    }

    /// One task with no id yet; it gets one.
    fn take_new(&self, state: &mut State, head: Writer, fields: &mut Reader) -> Result<Writer, String> {
        let tasks = read_tasks(fields)?;
        let [task] = &tasks[..] else { return Err(format!("{} new tasks in one message", tasks.len())) };
        self.owner(&task.feedid)?;
        if task.id != 0 || state.timers.len() >= MAX_TIMERS {
            return Err(format!("a new task that has id {}, beside {}", task.id, state.timers.len()));
        }
        state.last_timer += 1;
        let id = state.last_timer;
        state.timers.insert(id, Task { id, ..task.clone() });
        Ok(head.int(0).int(id))
    }

    fn read_timers(&self, fields: &mut Reader) -> Result<(String, Vec<Task>), String> {
        let (feedid, tasks) = read_snapshot(fields)?;
        self.owner(&feedid)?;
        let mut ids: Vec<i32> = tasks.iter().map(|task| task.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() < tasks.len() || ids.contains(&0) {
            return Err(format!("a timer snapshot of {} tasks with the ids {ids:?}", tasks.len()));
        }
        Ok((feedid, tasks))
    }

    fn owner(&self, feedid: &str) -> Result<(), String> {
        if feedid == self.product.device.feedid { Ok(()) } else { self.product.sub(feedid).map(drop) }
    }

    /// Makes the device's list that of the cloud. Whether a task runs is the device's to know, so it is taken over.
    fn repair(&self, state: &mut State, feedid: &str, tasks: &[Task]) -> Result<(), String> {
        let mut surplus = Vec::new();
        let mut changed = Vec::new();
        for task in tasks {
            match state.timers.get_mut(&task.id).filter(|truth| truth.feedid == feedid) {
                None => surplus.push(task.id),
                Some(truth) if (Task { state: task.state, ..truth.simplified() }) == *task => truth.state = task.state,
                Some(truth) => changed.push(truth.clone()),
            }
        }
        let known = |truth: &&Task| truth.feedid == feedid && tasks.iter().all(|task| task.id != truth.id);
        let missing: Vec<Task> = state.timers.values().filter(known).cloned().collect();
        if !surplus.is_empty() {
            self.operate_in(state, Operation::Delete(surplus))?;
        }
        if !missing.is_empty() {
            self.operate_in(state, Operation::Add(missing))?;
        }
        if !changed.is_empty() {
            self.operate_in(state, Operation::Modify(changed))?;
        }
        Ok(())
    }
}

fn take_steps(state: &mut State, head: Writer, fields: &mut Reader) -> Result<Writer, String> {
    let n = fields.count()?;
    let mut steps = Vec::new();
    for _ in 0..n {
        steps.push((fields.int()?, fields.byte()?, fields.int()?));
    }
    fields.end()?;
    if steps.is_empty() || steps.iter().any(|&(_, step, _)| !(1..=3).contains(&step)) {
        return Err(format!("results {steps:?}"));
    }
    let answer = steps.iter().fold(head.count(n), |to, &(id, step, _)| to.int(id).byte(step));
    for step in steps {
        let Seen { steps, left_out, .. } = &mut state.seen;
        keep(steps, left_out, step);
    }
    Ok(answer)
}

/// Whether all tasks that the device has changed are known.
fn take_modified(state: &mut State, fields: &mut Reader) -> Result<bool, String> {
    let tasks = read_tasks(fields)?;
    if tasks.is_empty() {
        return Err("a modification of no task".to_owned());
    }
    let mut known = true;
    for change in tasks {
        let Some(task) = state.timers.get_mut(&change.id) else {
            known = false;
            continue;
        };
        if change.version != task.version.wrapping_add(1) {
            return Err(format!("task {} goes from version {} to {}", task.id, task.version, change.version));
        }
        *task = task.modified_by(&change)?;
    }
    Ok(known)
}

/// What the device has done is true from now on.
fn agreed(state: &mut State, operation: Operation) {
    match operation {
        Operation::Supported | Operation::Query(_) => {}
        Operation::Add(tasks) => state.timers.extend(tasks.into_iter().map(|task| (task.id, task))),
        Operation::Modify(tasks) => {
            for change in tasks {
                if let Some(task) = state.timers.get_mut(&change.id)
                    && let Ok(modified) = task.modified_by(&change)
                {
                    *task = modified;
                }
            }
        }
        Operation::Delete(ids) => state.timers.retain(|id, _| !meant(&ids, *id)),
        Operation::Stop(ids) => set_state(state, &ids, 0),
        Operation::Restart(ids) => set_state(state, &ids, 1),
    }
}

fn set_state(state: &mut State, ids: &[i32], to: u8) {
    state.timers.values_mut().filter(|task| meant(ids, task.id)).for_each(|task| task.state = to);
}

fn meant(ids: &[i32], id: i32) -> bool {
    ids.is_empty() || ids.contains(&id)
}

/// 0, or that a timer operation failed (JoyLink, 13).
fn code(done: bool) -> i32 {
    if done { 0 } else { 3 }
}

/// Tasks that devices may add. Chosen by us.
const MAX_TIMERS: usize = 10_000;
