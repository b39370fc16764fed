//! `[network]`: the product's program for its network.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::read::{Expected, Section, absolute_path, millis, text};
use super::tree::Node;
use crate::module::hook::HookSettings;

/// `[network]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct NetworkSection {
    /// The product's program that opens access points and joins networks, see "The network program" in the manual.
    /// Absolute. Empty: there is none, and the network is not this host's task.
    #[serde(serialize_with = "path_or_empty")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub hook: Option<PathBuf>,
    /// A call of it that takes longer is killed and counts as refused. Milliseconds.
    #[serde(rename = "hook_timeout_ms", serialize_with = "super::host::as_millis")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 100, max = 120_000)))]
    pub hook_timeout: Duration,
}

impl Default for NetworkSection {
    fn default() -> Self {
        Self { hook: None, hook_timeout: Duration::from_secs(20) }
    }
}

impl NetworkSection {
    pub(super) fn read(&mut self, mut section: Section<'_>) {
        section.read("hook", &mut self.hook, program);
        section.read("hook_timeout_ms", &mut self.hook_timeout, millis(100..=120_000));
        section.finish();
    }

    /// The program, if there is one.
    #[must_use]
    pub fn hook(&self) -> Option<HookSettings> {
        let program = self.hook.clone()?;
        Some(HookSettings { program, timeout: self.hook_timeout })
    }
}

pub(super) fn program(node: &Node) -> Result<Option<PathBuf>, Expected> {
    let expected = || Expected::from("the absolute path of a program, or \"\" for none");
    let found = text(node).map_err(|_| expected())?;
    if found.is_empty() { Ok(None) } else { absolute_path(node).map(Some).map_err(|_| expected()) }
}

pub(super) fn path_or_empty<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.clone().unwrap_or_default().serialize(serializer)
}
