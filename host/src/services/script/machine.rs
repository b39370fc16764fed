//! One script with its state of Lua: loads it, calls its functions, holds it to its limits. Knows nothing of instances,
//! threads and events.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use mlua::chunk::ChunkMode;
use mlua::state::{GcIncParams, GcMode};
use mlua::{Function, HookTriggers, Lua, MultiValue, Value, VmState};
use polylink_plugin_api::HostRefusal;
use polylink_plugin_api::services::script::Value as Crossing;
use polylink_plugin_api::services::script::values::{self, INT_MAX, VALUES_MAX};

use super::super::ScriptLimits;
use super::super::registry::Refusal;
use super::meter::{Limit, Meter, is_memory};
use super::sandbox;

/// A script that answers calls.
pub struct Machine {
    lua: Lua,
    enter: Function,
    meter: Rc<Meter>,
}

/// A script as it was given.
pub struct Source {
    /// The instance, for the log.
    pub instance: String,
    /// Its name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why a call did not return.
#[derive(Debug, PartialEq, Eq)]
pub enum Failed {
    /// It cannot be done, or its results cannot cross.
    Invalid(String),
    /// The script raised an error.
    Raised(String),
    /// The script went beyond a limit, and is not to be called again.
    Reached(Limit),
}

impl Machine {
    /// Makes a state and runs the script in it, which must end by `deadline`.
    pub fn load(
        source: &Source,
        limits: &ScriptLimits,
        deadline: Instant,
        unwanted: &Arc<AtomicBool>,
    ) -> Result<Self, Failed> {
        let meter = Rc::new(Meter::new(limits, deadline, Arc::clone(unwanted)));
        let machine = Self::empty(source, limits, meter).map_err(|error| Failed::Invalid(sandbox::words(&error)))?;
        // A byte order mark is what editors leave behind, and Lua 5.1 would stumble over it.
        let text = source.text.trim_start_matches('\u{feff}');
        let chunk = machine.lua.load(text).set_name(format!("={}", source.name)).set_mode(ChunkMode::Text);
        let main = chunk.into_function().map_err(|error| match is_memory(&error) {
            true => Failed::Reached(Limit::Memory),
            false => Failed::Invalid(sandbox::words(&error)),
        })?;
        machine.run(main, MultiValue::new())?;
        Ok(machine)
    }

    fn empty(source: &Source, limits: &ScriptLimits, meter: Rc<Meter>) -> mlua::Result<Self> {
        let (lua, enter) = sandbox::build(&meter, &source.instance, &source.name)?;
        // Lua 5.1 does not collect when memory is short, so garbage counts against the limit: collect early, and all of
        // it at once, which a heap of this size takes well under a millisecond for.
        lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(COLLECT_AT_PERCENT).step_multiplier(0)));
        let counted = Rc::clone(&meter);
        lua.set_hook(HookTriggers::new().every_nth_instruction(COUNT_EVERY), move |_, _| {
            match counted.count(COUNT_EVERY) {
                None => Ok(VmState::Continue),
                Some(limit) => Err(mlua::Error::runtime(format!("limit reached: {limit:?}"))),
            }
        })?;
        lua.set_memory_limit(limits.memory_bytes)?;
        Ok(Self { lua, enter, meter })
    }

    /// Calls a global function with encoded arguments; its results, encoded. It must return by `deadline`.
    pub fn call(&self, function: &str, arguments: &[u8], deadline: Instant) -> Result<Vec<u8>, Failed> {
        self.meter.begin(deadline);
        let arguments = values::decode(arguments).map_err(|error| Failed::Invalid(format!("arguments: {error}")))?;
        let Ok(Value::Function(called)) = self.lua.globals().raw_get(function) else {
            return Err(Failed::Invalid(format!("the script has no function `{}`", function.escape_debug())));
        };
        // What the last call left behind is not to count for this one.
        self.lua.gc_collect().map_err(|error| self.failed(&error))?;
        let arguments = arguments.into_iter().map(|value| self.to_lua(value)).collect::<mlua::Result<_>>();
        let results = self.run(called, arguments.map_err(|error| self.failed(&error))?)?;
        let results = results.iter().enumerate().map(|(index, value)| from_lua(index + 1, value));
        if results.len() > VALUES_MAX {
            return Err(Failed::Invalid(format!(
                "`{function}` returned {} values, more than {VALUES_MAX}",
                results.len()
            )));
        }
        let results = results.collect::<Result<Vec<_>, _>>().map_err(Failed::Invalid)?;
        values::encode(&results).map_err(|error| Failed::Invalid(format!("results: {error}")))
    }

    /// The bytes that its state has.
    #[cfg(test)]
    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    fn run(&self, function: Function, mut arguments: MultiValue) -> Result<MultiValue, Failed> {
        arguments.push_front(Value::Function(function));
        let ended = self.enter.call::<MultiValue>(arguments);
        if let Some(limit) = self.meter.reached() {
            return Err(Failed::Reached(limit));
        }
        let mut ended = ended.map_err(|error| self.failed(&error))?;
        if let Some(Value::Boolean(true)) = ended.pop_front() {
            return Ok(ended);
        }
        let why = ended.pop_front().unwrap_or(Value::Nil);
        Err(match self.meter.notice(&why) {
            Some(limit) => Failed::Reached(limit),
            None => Failed::Raised(sandbox::describe(&why)),
        })
    }

    fn failed(&self, error: &mlua::Error) -> Failed {
        if is_memory(error) {
            self.meter.note_memory();
        }
        match self.meter.reached() {
            Some(limit) => Failed::Reached(limit),
            None => Failed::Raised(sandbox::words(error)),
        }
    }

    fn to_lua(&self, value: Crossing) -> mlua::Result<Value> {
        Ok(match value {
            Crossing::Nil => Value::Nil,
            Crossing::Bool(on) => Value::Boolean(on),
            // Up to ±2^53, so the double is the same number.
            Crossing::Int(number) => Value::Number(number as f64),
            Crossing::Bytes(bytes) => Value::String(self.lua.create_string(bytes)?),
        })
    }
}

impl Failed {
    /// What a plugin is told.
    pub fn refusal(self, limits: &ScriptLimits) -> Refusal {
        let ScriptLimits { memory_bytes, instructions, timeout } = limits;
        let limit = match self {
            Self::Invalid(text) => return Refusal::invalid(text),
            Self::Raised(text) => return Refusal::new(HostRefusal::OTHER, text),
            Self::Reached(limit) => limit,
        };
        let (code, what) = match limit {
            Limit::Unwanted => return Refusal::new(HostRefusal::CLOSED, "the script was unloaded"),
            Limit::Memory => (HostRefusal::QUOTA, format!("{} KiB of memory", memory_bytes / 1024)),
            Limit::Instructions => (HostRefusal::QUOTA, format!("{instructions} instructions")),
            Limit::Time => (HostRefusal::TIMEOUT, format!("{} ms", timeout.as_millis())),
        };
        Refusal::new(code, format!("the script needs more than its {what}"))
    }
}

fn from_lua(position: usize, value: &Value) -> Result<Crossing, String> {
    match value {
        Value::Nil => Ok(Crossing::Nil),
        Value::Boolean(on) => Ok(Crossing::Bool(*on)),
        Value::String(bytes) => Ok(Crossing::Bytes(bytes.as_bytes().to_vec())),
        Value::Integer(number) => whole(position, *number as f64),
        Value::Number(number) => whole(position, *number),
        other => Err(format!("result {position} is a {}, which cannot cross", other.type_name())),
    }
}

fn whole(position: usize, number: f64) -> Result<Crossing, String> {
    if number.fract() != 0.0 || !number.is_finite() {
        return Err(format!("result {position} is {number}, which is no whole number"));
    }
    if number.abs() > INT_MAX as f64 {
        return Err(format!("result {position} is {number}, beyond ±2^53"));
    }
    Ok(Crossing::Int(number as i64))
}

/// Instructions between two looks at the limits. Not documented; chosen by us: a look takes about as long as fifty
/// instructions.
const COUNT_EVERY: u32 = 250;

/// The collector runs when the heap has grown to so much of what was alive. Not documented; chosen by us: about three
/// quarters of the memory limit can be alive.
const COLLECT_AT_PERCENT: i32 = 130;
