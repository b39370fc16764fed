//! Which file is loaded for a plugin: the one on trial, the good one, or the built-in one. All of it blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Clouds;
use crate::config::{CloudError, CloudInstance, PluginChoice};
use crate::plugins::Loaded;
use crate::plugins::discover::discover;
use crate::plugins::installed::directory::sha256_of;
use crate::plugins::installed::state::Source;
use crate::services::Services;

/// A cloud section as it was read.
type Section = Result<Arc<CloudInstance>, CloudError>;

impl Clouds {
    /// Which installed files go before the built-in ones, for a product that is about to run. Blocks, and loads them.
    pub(in crate::assemble::product) fn choose_installed(
        &self,
        clouds: &[Section],
        directories: &[PathBuf],
        files: &BTreeMap<String, PathBuf>,
    ) -> BTreeMap<String, PathBuf> {
        let clouds: Vec<_> = clouds.iter().flatten().filter(|cloud| cloud.enabled).cloned().collect();
        let names: BTreeSet<String> = clouds.iter().filter_map(|cloud| named(cloud)).map(str::to_owned).collect();
        {
            let mut current = self.installation.current();
            current.directories = directories.to_vec();
            current.clouds = clouds;
            current.trials.clear();
        }
        let chosen = names.into_iter().filter_map(|name| {
            let is_known = self.installation.with(false, |open| open.installed.entry(&name).is_some());
            match is_known {
                Ok(known) => known.filter(|known| *known)?,
                Err(error) => {
                    tracing::error!(%error, "installed plugins cannot be read; the built-in ones are used");
                    return None;
                }
            };
            let built_in = self.built_in(&name, files);
            let sha256 = built_in.as_deref().and_then(sha256_of);
            self.choose(&name, sha256).map(|loaded| (name, loaded.path))
        });
        chosen.collect()
    }

    /// Whether the settings of its clouds are ones that it takes.
    pub(super) fn suits(&self, loaded: &Loaded) -> Result<(), String> {
        let clouds = self.installation.current().clouds.clone();
        let users = clouds.iter().filter(|cloud| named(cloud) == Some(loaded.descriptor.name.as_str()));
        users.into_iter().try_for_each(|cloud| {
            cloud.check_settings(&loaded.descriptor.settings_schema).map_err(|errors| errors.to_string())
        })
    }

    /// The installed file that counts for this plugin, loaded; none: the built-in one does. A trial that cannot even be
    /// loaded is over.
    fn choose(&self, plugin: &str, built_in: Option<[u8; 32]>) -> Option<Loaded> {
        let chosen = self.installation.with(false, |open| {
            let chosen = open.installed.choose(plugin, built_in)?;
            Some((open.path(&chosen.release), chosen))
        });
        let (path, chosen) = chosen.ok().flatten().flatten()?;
        let loaded = self.loader.load(&path, Services::OFFERED).map_err(|error| error.to_string());
        let fits = loaded.and_then(|loaded| {
            let is_itself = loaded.descriptor.name == *plugin;
            let why = || format!("it calls itself `{}`", loaded.descriptor.name);
            if chosen.trial.is_none() { Ok(()) } else { self.suits(&loaded) }?;
            if is_itself { Ok(loaded) } else { Err(why()) }
        });
        match (fits, chosen.trial) {
            (Ok(loaded), trial) => {
                let on_trial = trial.map(|must_be_online| (plugin.to_owned(), must_be_online));
                self.installation.current().trials.extend(on_trial);
                Some(loaded)
            }
            (Err(why), None) => {
                tracing::error!(plugin, "the installed plugin does not fit, the built-in one is used: {why}");
                None
            }
            (Err(why), Some(_)) => {
                tracing::error!(plugin, "the plugin on trial does not fit, the one before is used: {why}");
                let back = self.installation.change(|open| open.installed.step_back(plugin));
                // Where the end of the trial cannot be written down, the built-in file is the one without doubt.
                back.ok().and_then(|()| self.choose(plugin, built_in))
            }
        }
    }

    /// What is good for this plugin.
    pub(super) fn good(&self, plugin: &str) -> Result<Loaded, String> {
        let files = discover(&self.installation.current().directories).files;
        let built_in = self.built_in(plugin, &files);
        if let Some(loaded) = self.choose(plugin, built_in.as_deref().and_then(sha256_of)) {
            return Ok(loaded);
        }
        let file = built_in.ok_or_else(|| format!("there is no built-in plugin `{plugin}`"))?;
        self.loader.load(&file, Services::OFFERED).map_err(|error| error.to_string())
    }

    /// What a rollback would lead to; it suits the clouds.
    pub(super) fn former(&self, plugin: &str) -> Result<Loaded, String> {
        let files = discover(&self.installation.current().directories).files;
        let built_in = self.built_in(plugin, &files);
        let sha256 = built_in.as_deref().and_then(sha256_of);
        let source = self.installation.with(false, |open| {
            let mut entry = open.installed.entry(plugin).filter(|entry| entry.built_in == sha256)?.clone();
            (entry.step_back() || entry.go_back()).then_some(entry.good)
        });
        let source = source.map_err(|error| error.to_string())?.flatten();
        let file = match source.ok_or_else(|| format!("there is no plugin `{plugin}` to go back to"))? {
            Source::Installed(release) => self.installation.change(|open| {
                let is_whole = open.installed.is_whole(&release.facts);
                if is_whole {
                    Ok(open.path(&release))
                } else {
                    Err(format!("the former file of `{plugin}` is damaged"))
                }
            })?,
            Source::BuiltIn => built_in.ok_or_else(|| format!("there is no built-in plugin `{plugin}`"))?,
        };
        let loaded = self.loader.load(&file, Services::OFFERED).map_err(|error| error.to_string())?;
        self.suits(&loaded).map(|()| loaded)
    }

    /// The file that this plugin was delivered with. Its name says so mostly; nothing is loaded then.
    pub(super) fn built_in(&self, plugin: &str, files: &BTreeMap<String, PathBuf>) -> Option<PathBuf> {
        files.get(plugin).map(PathBuf::as_path).or_else(|| self.loader.find(files, plugin)).map(Path::to_owned)
    }
}

fn named(cloud: &CloudInstance) -> Option<&str> {
    match &cloud.plugin {
        PluginChoice::Name(name) => Some(name),
        PluginChoice::File(_) => None,
    }
}
