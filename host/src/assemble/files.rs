//! Plugin files for the command line, over the loader.

use std::path::{Path, PathBuf};

use crate::cli::plugin_files::{PluginFacts, PluginFile, PluginFiles};
use crate::plugins::discover::{self, DiscoverError};
use crate::plugins::loader::Loader;
use crate::services::Services;

/// Looks into real plugin files. What it loaded stays in memory until the process ends.
#[derive(Default)]
pub struct RealPluginFiles(Loader);

impl PluginFiles for RealPluginFiles {
    fn list(&self, directories: &[PathBuf]) -> Vec<PluginFile> {
        let found = discover::discover(directories);
        let files = found.files.values().map(|path| self.inspect(path));
        // A directory that cannot be used is told by the caller, who looks at each of them.
        let passed_over = found.passed_over.iter().filter_map(|error| match error {
            DiscoverError::Untrusted { path, .. } | DiscoverError::Unreadable { path, .. }
                if !directories.contains(path) =>
            {
                Some(PluginFile { path: path.clone(), outcome: Err(error.to_string()) })
            }
            _ => None,
        });
        let mut files: Vec<PluginFile> = files.collect();
        files.extend(passed_over);
        files
    }

    fn inspect(&self, file: &Path) -> PluginFile {
        // On the command line a file is mostly named by a relative path.
        let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let outcome = self.0.inspect(&path).map_err(|error| error.to_string()).map(|descriptor| {
            let services: Vec<String> = descriptor.services.iter().map(ToString::to_string).collect();
            let missing = services.iter().filter(|id| !Services::OFFERED.contains(&id.as_str())).cloned().collect();
            PluginFacts {
                name: descriptor.name.into(),
                version: descriptor.version.into(),
                cloud: descriptor.cloud.into(),
                build: descriptor.build.into(),
                settings_schema: descriptor.settings_schema.into(),
                services,
                missing_services: missing,
                capabilities: descriptor.capabilities.into(),
            }
        });
        PluginFile { path, outcome }
    }
}
