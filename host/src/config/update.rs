//! `[update]`: what may be installed, by what, and what downloads may use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::read::{Expected, Section, boolean, choice, seconds, size, texts, whole};
use super::tree::Node;
use crate::update::download::Limits;
use crate::update::hook::UpdateHook;
use crate::update::manifest::{Policy, PublicKey};

/// `[update]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct UpdateSection {
    /// An image without a manifest that its owner signed is refused, whichever cloud it comes from.
    pub require_manifest: bool,
    /// Public keys of owners, as `polylink ota keygen` prints them. None: no signature counts.
    #[serde(serialize_with = "as_texts")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub keys: Vec<PublicKey>,
    /// An image with a smaller counter than was confirmed before is taken.
    pub allow_downgrade: bool,
    /// What installs images for the module.
    pub backend: Backend,
    /// The product's program that installs, for the backend `hook`. Absolute.
    #[serde(serialize_with = "super::network::path_or_empty")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub hook: Option<PathBuf>,
    /// A call of it that takes longer is killed and has failed. Seconds.
    #[serde(rename = "hook_timeout_s", serialize_with = "super::host::as_seconds")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 1, max = 7200)))]
    pub hook_timeout: Duration,
    /// Starts that a new release (backend `slots`) or a new plugin has to be confirmed in.
    #[cfg_attr(test, schemars(range(min = 1, max = 20)))]
    pub tries: u8,
    /// How long a new release or a new plugin may take to become healthy. Seconds.
    #[serde(rename = "health_s", serialize_with = "super::host::as_seconds")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 10, max = 86_400)))]
    pub health: Duration,
    /// Longest image.
    #[cfg_attr(test, schemars(range(min = 1024, max = 4_294_967_296_u64)))]
    pub max_bytes: usize,
    /// Bytes that stay free on the file system.
    #[cfg_attr(test, schemars(range(min = 0, max = 1_073_741_824)))]
    pub reserve_bytes: usize,
    /// Pause after an attempt to load that brought nothing; it doubles up to ten minutes. Seconds.
    #[serde(rename = "retry_s", serialize_with = "super::host::as_seconds")]
    #[cfg_attr(test, schemars(with = "u64", range(min = 1, max = 600)))]
    pub retry: Duration,
    /// Bytes a second that downloads may use; 0: as many as there are.
    #[cfg_attr(test, schemars(range(min = 0, max = 1_000_000_000)))]
    pub rate: u32,
}

/// What installs images for the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Nothing does.
    None,
    /// Two slots and `polylink launch`.
    Slots,
    /// The product's own program.
    Hook,
}

impl Default for UpdateSection {
    fn default() -> Self {
        Self {
            require_manifest: true,
            keys: Vec::new(),
            allow_downgrade: false,
            backend: Backend::None,
            hook: None,
            hook_timeout: Duration::from_secs(600),
            tries: 3,
            health: Duration::from_secs(300),
            max_bytes: 256 * 1024 * 1024,
            reserve_bytes: 1024 * 1024,
            retry: Duration::from_secs(10),
            rate: 0,
        }
    }
}

impl UpdateSection {
    pub(super) fn read(&mut self, mut section: Section<'_>) {
        let (mut tries, mut rate) = (i64::from(self.tries), i64::from(self.rate));
        section.read("require_manifest", &mut self.require_manifest, boolean);
        section.read("keys", &mut self.keys, keys);
        section.read("allow_downgrade", &mut self.allow_downgrade, boolean);
        section.read("backend", &mut self.backend, choice(&BACKENDS));
        section.read("hook", &mut self.hook, super::network::program);
        section.read("hook_timeout_s", &mut self.hook_timeout, seconds(1..=7200));
        section.read("tries", &mut tries, whole("starts", 1..=20));
        section.read("health_s", &mut self.health, seconds(10..=86_400));
        section.read("max_bytes", &mut self.max_bytes, size("bytes", 1024..=4_294_967_296));
        section.read("reserve_bytes", &mut self.reserve_bytes, size("bytes", 0..=1_073_741_824));
        section.read("retry_s", &mut self.retry, seconds(1..=600));
        section.read("rate", &mut rate, whole("bytes a second", 0..=1_000_000_000));
        if self.backend == Backend::Hook && self.hook.is_none() {
            section.wrong("hook", "missing, expected the absolute path of a program, as backend is \"hook\"");
        }
        section.finish();
        self.tries = u8::try_from(tries).unwrap_or(self.tries);
        self.rate = u32::try_from(rate).unwrap_or(self.rate);
    }

    /// What may be installed.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let Self { require_manifest, keys, allow_downgrade, .. } = self;
        Policy { require_manifest: *require_manifest, keys: keys.clone(), allow_downgrade: *allow_downgrade }
    }

    /// The product's program, if it is what installs.
    #[must_use]
    pub fn hook(&self) -> Option<UpdateHook> {
        let program = self.hook.clone().filter(|_| self.backend == Backend::Hook)?;
        Some(UpdateHook { program, timeout: self.hook_timeout })
    }

    /// What downloads may use; without a deadline, and without plain text.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            max_bytes: self.max_bytes as u64,
            reserve_bytes: self.reserve_bytes as u64,
            pause_first_ms: u64::try_from(self.retry.as_millis()).unwrap_or(u64::MAX),
            rate: Some(self.rate).filter(|rate| *rate > 0),
            ..Limits::default()
        }
    }
}

/// Where updates keep what they need, below `host.state_dir`.
#[must_use]
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("update")
}

/// Where the slots are.
#[must_use]
pub fn slots_directory(state_dir: &Path) -> PathBuf {
    directory(state_dir).join("slots")
}

/// Where installed plugins are, beside `update`: they are code that runs, not something on its way.
#[must_use]
pub fn plugins_directory(state_dir: &Path) -> PathBuf {
    state_dir.join("plugins")
}

fn keys(node: &Node) -> Result<Vec<PublicKey>, Expected> {
    let found = texts(node).ok().filter(|keys| keys.len() <= KEYS_MAX);
    let keys: Option<Vec<_>> = found.and_then(|keys| keys.iter().map(|key| PublicKey::parse(key)).collect());
    keys.ok_or_else(|| Expected(format!("a list of at most {KEYS_MAX}, each {}", PublicKey::EXPECTED)))
}

fn as_texts<S: Serializer>(keys: &[PublicKey], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(ToString::to_string))
}

const BACKENDS: [(&str, Backend); 3] = [("none", Backend::None), ("slots", Backend::Slots), ("hook", Backend::Hook)];

/// Owners of one device. Not documented; chosen by us: an old key, a new one, and some to spare.
const KEYS_MAX: usize = 8;
