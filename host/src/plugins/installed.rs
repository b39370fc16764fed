//! Plugins that were installed on this device, beside those that it was made with.
//!
//! A file is named for its content and never changes; which one counts stands in one small file that is replaced as a
//! whole ([`state`]). So an installation happens or does not, wherever the power goes. A new file is on trial: a start of
//! the host with it is counted on the disk before its library is loaded, and when it was not confirmed in as many as it
//! has, what was good before is loaded again, for ever.
//!
//! An installed plugin stands in for the built-in file that it replaced. Where that is another one (a release, a package or
//! a system image brought it), the built-in one counts: it was made to go with the rest.
//!
//! Nothing gets here without [`Verified`], and every byte is hashed again on its way.

pub mod candidate;
pub mod directory;
pub mod state;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;

use self::state::{Entry, PluginName, Release, State, Trial, is_name};
use crate::disk::Disk;
use crate::update::digest::Digests;
use crate::update::intake;
use crate::update::manifest::{Facts, Verified, hex};
use crate::update::slots::replace;

/// See the module. All calls block.
pub struct Installed {
    disk: Arc<dyn Disk>,
    state: State,
    /// The record is there and cannot be understood: what is in it is not known, which is not the same as nothing.
    damaged: bool,
    /// Trials whose start in this process is counted.
    counted: BTreeSet<PluginName>,
}

/// What is to be loaded for a plugin in place of its built-in file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub release: Release,
    /// It is on trial; whether its clouds have to come online.
    pub trial: Option<bool>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Nobody knows what counts.
    #[error("{0} is damaged; remove it to begin anew with the built-in plugins, and without the counters in it")]
    Damaged(String),
    /// What is tried may become the only one to fall back to.
    #[error("a file of this plugin is on trial; it must be confirmed or rolled back first")]
    OnTrial,
    /// There is nothing to confirm.
    #[error("no file of this plugin is on trial")]
    NoTrial,
    /// Nothing to go back to.
    #[error("there is no file of this plugin to go back to")]
    NoFormer,
    /// Its name or version.
    #[error("the plugin calls itself {0:?}, expected 1 to 64 visible ASCII characters")]
    Name(String),
    /// The record is bounded.
    #[error("{PLUGINS_MAX} plugins are installed, and no more can be")]
    TooMany,
    /// It changed after it was verified.
    #[error("the file is not the one that was verified")]
    NotVerified,
    /// Too large.
    #[error("{needed} bytes are needed, {free} are free")]
    Space {
        /// Of the file, and what stays free.
        needed: u64,
        /// On the file system.
        free: u64,
    },
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Installed {
    /// Reads what is remembered, and removes what an installation left that was cut short.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let state = read_record(&*disk)?;
        let damaged = state.is_none();
        if damaged {
            let file = disk.shown(RECORD);
            tracing::error!(%file, "the record of installed plugins is damaged; the built-in ones are used");
        }
        let state = state.unwrap_or_default();
        let installed = Self { disk, state, damaged, counted: BTreeSet::new() };
        installed.sweep();
        Ok(installed)
    }

    /// What is remembered.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What is remembered of one plugin.
    #[must_use]
    pub fn entry(&self, plugin: &str) -> Option<&Entry> {
        self.state.0.get(plugin)
    }

    /// The greatest counter of this plugin that was confirmed; 0: none.
    #[must_use]
    pub fn floor(&self, plugin: &str) -> u64 {
        self.entry(plugin).map_or(0, |entry| entry.floor)
    }

    /// Brings a verified file here, under the name of its content. It counts for nothing yet.
    ///
    /// # Errors
    /// Why not.
    pub fn stage(&self, proof: &Verified, image: &mut dyn Read, reserve: u64) -> Result<(), InstallError> {
        self.sound()?;
        let (facts, name) = (*proof.facts(), file_name(proof.facts()));
        if self.is_spoken_of(&facts) && self.is_whole(&facts) {
            // It is here, and may be in memory: it stays as it is.
            return Ok(());
        }
        let (needed, free) = (facts.size.saturating_add(reserve), self.disk.space()?.free);
        if free < needed {
            return Err(InstallError::Space { needed, free });
        }
        let staged = self.copy(&facts, image, &name);
        if staged.is_err() {
            // A full disk must get back what the attempt took.
            self.sweep();
        }
        staged
    }

    /// A staged file is of no use.
    pub fn unstage(&self) {
        self.sweep();
    }

    /// A staged file is tried from now on, in place of this built-in one. `running`: it is tried in this process first,
    /// which takes one of its tries.
    ///
    /// # Errors
    /// Why not.
    pub fn try_out(
        &mut self,
        plugin: &str,
        built_in: Option<[u8; 32]>,
        trial: Trial,
        running: bool,
    ) -> Result<(), InstallError> {
        self.sound()?;
        if !is_name(plugin) {
            return Err(InstallError::Name(plugin.chars().take(SHOWN_MAX).collect()));
        }
        let mut next = self.state.clone();
        if !next.0.contains_key(plugin) && next.0.len() >= PLUGINS_MAX {
            return Err(InstallError::TooMany);
        }
        let entry = next.0.entry(plugin.to_owned()).or_default();
        if entry.trial.is_some() && entry.built_in == built_in {
            return Err(InstallError::OnTrial);
        }
        let tries = trial.tries.max(1) - u8::from(running);
        entry.try_out(built_in, Trial { tries, ..trial });
        self.change(next)?;
        if running {
            self.counted.insert(plugin.to_owned());
        } else {
            self.counted.remove(plugin);
        }
        Ok(())
    }

    /// What is to be loaded for a plugin whose built-in file is this one; none: that. A trial's first choice in this
    /// process is counted on the disk.
    pub fn choose(&mut self, plugin: &str, built_in: Option<[u8; 32]>) -> Option<Chosen> {
        let entry = self.entry(plugin).filter(|entry| entry.built_in == built_in)?;
        let trial = entry.trial.clone();
        if let Some(Trial { release, tries, must_be_online }) = trial {
            let counted = self.counted.contains(plugin);
            if !self.is_whole(&release.facts) {
                tracing::error!(plugin, "the plugin file on trial is damaged");
                self.step_back_or_say(plugin);
            } else if !counted && tries == 0 {
                tracing::warn!(
                    plugin,
                    "the plugin on trial was not confirmed in all its starts; the former one is used"
                );
                self.step_back_or_say(plugin);
            } else if counted || self.count(plugin) {
                return Some(Chosen { release, trial: Some(must_be_online) });
            }
        }
        let release = self.entry(plugin)?.good.release()?.clone();
        if !self.is_whole(&release.facts) {
            tracing::error!(plugin, "the installed plugin file is damaged; the built-in one is used");
            return None;
        }
        Some(Chosen { release, trial: None })
    }

    /// What is tried is good from now on.
    ///
    /// # Errors
    /// [`InstallError::NoTrial`], [`InstallError::Io`].
    pub fn confirm(&mut self, plugin: &str) -> Result<(), InstallError> {
        self.edit(plugin, InstallError::NoTrial, Entry::confirm)
    }

    /// What is tried is not good; what was good before counts.
    ///
    /// # Errors
    /// [`InstallError::NoTrial`], [`InstallError::Io`].
    pub fn step_back(&mut self, plugin: &str) -> Result<(), InstallError> {
        self.edit(plugin, InstallError::NoTrial, Entry::step_back)
    }

    /// Ends a trial, or, where there is none, goes back to what was good before.
    ///
    /// # Errors
    /// [`InstallError::NoFormer`], [`InstallError::Io`].
    pub fn roll_back(&mut self, plugin: &str) -> Result<(), InstallError> {
        self.edit(plugin, InstallError::NoFormer, |entry| entry.step_back() || entry.go_back())
    }

    fn sound(&self) -> Result<(), InstallError> {
        if self.damaged { Err(InstallError::Damaged(self.disk.shown(RECORD))) } else { Ok(()) }
    }

    fn edit(
        &mut self,
        plugin: &str,
        otherwise: InstallError,
        edit: impl FnOnce(&mut Entry) -> bool,
    ) -> Result<(), InstallError> {
        self.sound()?;
        let mut next = self.state.clone();
        if !next.0.get_mut(plugin).is_some_and(edit) {
            return Err(otherwise);
        }
        Ok(self.change(next)?)
    }

    /// What cannot be counted could be tried for ever; so it is not tried.
    fn count(&mut self, plugin: &str) -> bool {
        let mut next = self.state.clone();
        let Some(trial) = next.0.get_mut(plugin).and_then(|entry| entry.trial.as_mut()) else { return false };
        trial.tries = trial.tries.saturating_sub(1);
        match self.change(next) {
            Ok(()) => self.counted.insert(plugin.to_owned()),
            Err(error) => {
                tracing::error!(plugin, %error, "a start of the plugin on trial cannot be counted; the former one is used");
                false
            }
        }
    }

    fn step_back_or_say(&mut self, plugin: &str) {
        if let Err(error) = self.step_back(plugin) {
            tracing::error!(plugin, %error, "the end of the plugin's trial cannot be written down");
        }
    }

    /// Memory follows only when the disk has it.
    fn change(&mut self, next: State) -> io::Result<()> {
        if let Err(error) = replace(&*self.disk, RECORD, next.encode().as_bytes()) {
            // It may be there all the same. What was told to have failed must not happen at the next start.
            if let Err(again) = replace(&*self.disk, RECORD, self.state.encode().as_bytes()) {
                tracing::error!(error = %again, "the record of installed plugins may be another one than before a failure");
            }
            return Err(error);
        }
        self.state = next;
        self.sweep();
        Ok(())
    }

    fn copy(&self, facts: &Facts, image: &mut dyn Read, name: &str) -> Result<(), InstallError> {
        let mut file = self.disk.create(INCOMING)?;
        if !intake::pass(facts, image, |bytes| file.write(bytes))? {
            return Err(InstallError::NotVerified);
        }
        file.sync_data()?;
        drop(file);
        self.disk.rename(INCOMING, name)?;
        Ok(self.disk.sync_directory()?)
    }

    /// Whether the file has the content that it is named for: flash forgets, and this is code.
    #[must_use]
    pub fn is_whole(&self, facts: &Facts) -> bool {
        let name = file_name(facts);
        let mut digests = Digests::new(&[]);
        let mut buffer = vec![0; BUFFER];
        loop {
            match self.disk.read_at(&name, digests.n_bytes(), &mut buffer) {
                Ok(0) => return digests.n_bytes() == facts.size && digests.sha256() == facts.sha256,
                Ok(n) => digests.update(&buffer[..n]),
                Err(_) => return false,
            }
        }
    }

    fn is_spoken_of(&self, facts: &Facts) -> bool {
        self.state.0.values().flat_map(Entry::releases).any(|release| release.facts == *facts)
    }

    /// Removes files that nothing speaks of. A record that cannot be understood may speak of any.
    fn sweep(&self) {
        if self.damaged {
            return;
        }
        let swept = self.disk.list().and_then(|names| {
            let spoken: BTreeSet<String> =
                self.state.0.values().flat_map(Entry::releases).map(|release| file_name(&release.facts)).collect();
            let is_ours = |name: &str| name == INCOMING || name.ends_with(SUFFIX);
            let gone: Vec<_> = names.iter().filter(|name| is_ours(name) && !spoken.contains(*name)).collect();
            gone.iter().try_for_each(|name| self.disk.remove(name))?;
            if gone.is_empty() { Ok(()) } else { self.disk.sync_directory() }
        });
        if let Err(error) = swept {
            tracing::warn!(%error, "plugin files that nobody needs cannot be removed");
        }
    }
}

/// None: it is damaged.
fn read_record(disk: &dyn Disk) -> io::Result<Option<State>> {
    match disk.read(RECORD, RECORD_MAX) {
        Ok(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(State::decode)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(State::default())),
        Err(error) => Err(error),
    }
}

/// What the file with this content is called.
#[must_use]
pub fn file_name(facts: &Facts) -> String {
    format!("{}{SUFFIX}", hex(&facts.sha256))
}

/// The file that says what counts. Chosen by us.
const RECORD: &str = "installed";

/// Longest record: three files of each of [`PLUGINS_MAX`] plugins, some 250 bytes each.
const RECORD_MAX: usize = 32 * 1024;

/// Plugins of which something is remembered. Not documented; chosen by us: a host has a handful.
pub const PLUGINS_MAX: usize = 32;

/// A file on its way here. Chosen by us.
const INCOMING: &str = "incoming";

/// End of the names of plugin files. Chosen by us.
const SUFFIX: &str = ".so";

/// Bytes hashed at once. Not documented; chosen by us.
const BUFFER: usize = 64 * 1024;

/// Characters of a wrong name in messages. Not documented; chosen by us.
const SHOWN_MAX: usize = 80;

#[cfg(test)]
mod tests;
