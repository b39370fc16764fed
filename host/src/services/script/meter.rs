//! How much a call of a script has used, and whether that was too much.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mlua::Value;

use super::super::ScriptLimits;

/// What a script may not go beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Memory,
    Instructions,
    Time,
    /// It was unloaded, or its instance has ended.
    Unwanted,
}

/// Counts one call at a time. Once a limit is reached, that stays said until the next call begins.
pub struct Meter {
    max_instructions: u64,
    instructions: Cell<u64>,
    deadline: Cell<Instant>,
    unwanted: Arc<AtomicBool>,
    lines: Cell<u32>,
    reached: Cell<Option<Limit>>,
}

impl Meter {
    /// A meter of these limits; `unwanted` ends a call at once.
    pub fn new(limits: &ScriptLimits, deadline: Instant, unwanted: Arc<AtomicBool>) -> Self {
        Self {
            max_instructions: limits.instructions,
            instructions: Cell::new(0),
            deadline: Cell::new(deadline),
            unwanted,
            lines: Cell::new(0),
            reached: Cell::new(None),
        }
    }

    /// A call begins, which must end by then.
    pub fn begin(&self, deadline: Instant) {
        self.instructions.set(0);
        self.deadline.set(deadline);
        self.lines.set(0);
        self.reached.set(None);
    }

    /// So many more instructions were carried out. The first limit that is reached.
    pub fn count(&self, instructions: u32) -> Option<Limit> {
        self.instructions.set(self.instructions.get().saturating_add(instructions.into()));
        if self.reached.get().is_none() {
            self.reached.set(self.exceeded());
        }
        self.reached.get()
    }

    fn exceeded(&self) -> Option<Limit> {
        if self.unwanted.load(Ordering::Relaxed) {
            return Some(Limit::Unwanted);
        }
        if self.instructions.get() > self.max_instructions {
            return Some(Limit::Instructions);
        }
        (Instant::now() >= self.deadline.get()).then_some(Limit::Time)
    }

    /// Looks at an error that went through the script, which may say that there was no more memory. The limit that is
    /// reached.
    pub fn notice(&self, error: &Value) -> Option<Limit> {
        let is_memory = match error {
            // What Lua itself raises. A script that raises the same words ends itself.
            Value::String(text) => &*text.as_bytes() == NO_MEMORY,
            Value::Error(error) => is_memory(error),
            _ => false,
        };
        if is_memory {
            self.note_memory();
        }
        self.reached.get()
    }

    /// There was no more memory.
    pub fn note_memory(&self) {
        if self.reached.get().is_none() {
            self.reached.set(Some(Limit::Memory));
        }
    }

    /// The limit that was reached.
    pub fn reached(&self) -> Option<Limit> {
        self.reached.get()
    }

    /// The number of this line, from 1, among those that the call printed.
    pub fn next_line(&self) -> u32 {
        self.lines.set(self.lines.get().saturating_add(1));
        self.lines.get()
    }
}

/// Whether there was no more memory, somewhere within.
pub fn is_memory(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. }
        | mlua::Error::BadArgument { cause, .. }
        | mlua::Error::WithContext { cause, .. } => is_memory(cause),
        _ => false,
    }
}

/// `MEMERRMSG` (Lua 5.1, `lmem.h`).
const NO_MEMORY: &[u8] = b"not enough memory";
