//! `[script]`: what a product's scripts may use.

use std::time::Duration;

use serde::Serialize;

use super::read::{Section, millis, size};
use crate::services::ScriptLimits;

/// `[script]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct ScriptSection {
    /// Memory of one script, with garbage that is not collected yet. KiB.
    #[cfg_attr(test, schemars(range(min = 256, max = 65_536)))]
    pub memory_kib: usize,
    /// Instructions of Lua in one call; a call that needs more fails.
    #[cfg_attr(test, schemars(range(min = 10_000, max = 1_000_000_000)))]
    pub instructions: usize,
    /// A call that takes longer fails. Milliseconds.
    #[serde(rename = "timeout_ms", serialize_with = "super::host::as_millis")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 10, max = 60_000)))]
    pub timeout: Duration,
}

impl Default for ScriptSection {
    fn default() -> Self {
        let ScriptLimits { memory_bytes, instructions, timeout } = ScriptLimits::default();
        Self {
            memory_kib: memory_bytes / 1024,
            instructions: usize::try_from(instructions).unwrap_or(usize::MAX),
            timeout,
        }
    }
}

impl ScriptSection {
    pub(super) fn read(&mut self, mut section: Section<'_>) {
        section.read("memory_kib", &mut self.memory_kib, size("KiB", 256..=65_536));
        section.read("instructions", &mut self.instructions, size("instructions", 10_000..=1_000_000_000));
        section.read("timeout_ms", &mut self.timeout, millis(10..=60_000));
        section.finish();
    }

    /// The same, as the service takes it.
    #[must_use]
    pub fn limits(&self) -> ScriptLimits {
        let Self { memory_kib, instructions, timeout } = self;
        ScriptLimits {
            memory_bytes: memory_kib.saturating_mul(1024),
            instructions: u64::try_from(*instructions).unwrap_or(u64::MAX),
            timeout: *timeout,
        }
    }
}
