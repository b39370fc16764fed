//! Plugin files as the command line sees them: `plugin list`, `plugin inspect`, and what `check` asks.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::arguments::Options;
use super::table::{Table, printable};
use super::{Exit, overrides};
use crate::config::error::nearest;
use crate::config::update::plugins_directory;
use crate::config::{Config, HostConfig, PluginChoice};
use crate::plugins::discover::{DiscoverError, check_trust, discover};
use crate::plugins::installed::directory::{path as path_of, peek, sha256_of};
use crate::plugins::installed::state::{Release, Source};

/// Looks into plugin files. Implemented over the loader, or by a test.
pub trait PluginFiles {
    /// Every plugin file of these directories, in the order in which they are searched.
    fn list(&self, directories: &[PathBuf]) -> Vec<PluginFile>;

    /// One file.
    fn inspect(&self, file: &Path) -> PluginFile;
}

/// A plugin file, or one that should be.
#[derive(Clone, Debug)]
pub struct PluginFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself, or why it cannot be loaded.
    pub outcome: Result<PluginFacts, String>,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, Default)]
pub struct PluginFacts {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The cloud it speaks to.
    pub cloud: String,
    /// Its build.
    pub build: String,
    /// JSON Schema of its settings.
    pub settings_schema: String,
    /// Tables it needs.
    pub services: Vec<String>,
    /// Those of them that this host does not offer.
    pub missing_services: Vec<String>,
    /// What else it asks for, as JSON.
    pub capabilities: String,
}

/// The plugin that a cloud chose, among the files that were found.
///
/// # Errors
/// Why there is none, for people.
pub fn find<'a>(
    found: &'a [PluginFile],
    choice: &PluginChoice,
    directories: &[PathBuf],
) -> Result<&'a PluginFacts, String> {
    let names = || found.iter().filter_map(|file| Some(file.outcome.as_ref().ok()?.name.as_str()));
    let facts = found.iter().find_map(|file| match (choice, &file.outcome) {
        (PluginChoice::Name(name), Ok(facts)) if facts.name == *name => Some(Ok(facts)),
        (PluginChoice::File(path), outcome) if file.path == *path => Some(outcome.as_ref()),
        _ => None,
    });
    match (facts, choice) {
        (Some(facts), _) => facts.map_err(Clone::clone),
        (None, PluginChoice::File(path)) => Err(format!("no plugin file {}", path.display())),
        (None, PluginChoice::Name(name)) => {
            let searched: Vec<String> = directories.iter().map(|dir| dir.display().to_string()).collect();
            let present: Vec<&str> = names().collect();
            let present = if present.is_empty() { "no plugin that loads".to_owned() } else { present.join(", ") };
            let near = nearest(name, names()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            Err(format!("there is no plugin `{name}` in {}, which holds {present}{near}", searched.join(", ")))
        }
    }
}

/// Why a plugin directory is passed over: whoever can write there runs code in this process.
#[must_use]
pub fn directory_problem(dir: &Path) -> Option<String> {
    match check_trust(dir) {
        Ok(()) if dir.is_dir() => None,
        Ok(()) => Some("it is no directory".to_owned()),
        Err(DiscoverError::Unreadable { error, .. }) => Some(crate::config::source::reason(&error)),
        Err(DiscoverError::Untrusted { how, .. }) => {
            Some(format!("it is {how}, so others could run code in this process"))
        }
        Err(error) => Some(error.to_string()),
    }
}

pub(super) fn list(
    options: &Options,
    plugins: &dyn PluginFiles,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    // Which plugins there are can be told whatever else is wrong.
    let (config, _) = Config::read_host(&options.config_dir, overrides(options));
    let directories = &config.plugins.directories;
    let found = plugins.list(directories);
    let (installed, trouble) = installed(&config, plugins, &found);
    let mut table = Table::new(&["PLUGIN", "VERSION", "ORIGIN", "CLOUD", "FILE"]);
    for file in &found {
        if let Ok(facts) = &file.outcome {
            let replaced = installed.iter().any(|one| one.counts && one.plugin == facts.name);
            let origin = if replaced { "built-in, replaced" } else { "built-in" };
            table.row(row(&facts.name, &facts.version, origin, &facts.cloud, &file.path));
        }
    }
    for InstalledFile { plugin, version, origin, file, .. } in &installed {
        let cloud = file.outcome.as_ref().map_or("", |facts| facts.cloud.as_str());
        table.row(row(plugin, version, origin, cloud, &file.path));
    }
    table.write(out)?;
    let mut exit = Exit::Done;
    if let Some(trouble) = trouble {
        writeln!(err, "{trouble}")?;
        exit = Exit::Failed;
    }
    let found: Vec<_> = found.into_iter().chain(installed.into_iter().map(|one| one.file)).collect();
    for file in &found {
        if let Err(reason) = &file.outcome {
            writeln!(err, "{}: {}", file.path.display(), printable(reason))?;
            exit = Exit::Failed;
        }
    }
    for dir in directories {
        if let Some(problem) = directory_problem(dir) {
            writeln!(err, "{}: {problem}", dir.display())?;
            exit = Exit::Failed;
        }
    }
    if found.is_empty() {
        let searched: Vec<String> = directories.iter().map(|dir| dir.display().to_string()).collect();
        writeln!(err, "no plugin file in {}", searched.join(", "))?;
    }
    Ok(exit)
}

/// The plugin files that would be loaded, an installed one before the built-in one of the same name.
pub(super) fn in_use(config: &HostConfig, plugins: &dyn PluginFiles) -> Vec<PluginFile> {
    let found = plugins.list(&config.plugins.directories);
    let (installed, _) = installed(config, plugins, &found);
    installed.into_iter().filter(|one| one.counts).map(|one| one.file).chain(found).collect()
}

/// A file that was installed.
struct InstalledFile {
    plugin: String,
    version: String,
    origin: String,
    /// It is the one that is loaded.
    counts: bool,
    file: PluginFile,
}

/// What is installed, and what is wrong with it.
fn installed(
    config: &HostConfig,
    plugins: &dyn PluginFiles,
    found: &[PluginFile],
) -> (Vec<InstalledFile>, Option<String>) {
    let directory = plugins_directory(&config.host.state_dir);
    let state = match peek(&directory) {
        Ok(state) => state,
        Err(error) => return (Vec::new(), Some(format!("{}: {error}", directory.display()))),
    };
    let files = discover(&config.plugins.directories).files;
    let mut all = Vec::new();
    for (plugin, entry) in &state.0 {
        let built_in = files.get(plugin).or_else(|| Some(&find_built_in(found, plugin)?.path));
        let goes_with_it = entry.built_in == built_in.and_then(|path| sha256_of(path));
        let mut add = |release: &Release, origin: String, counts: bool| {
            let path = path_of(&directory, release);
            all.push(InstalledFile {
                plugin: plugin.clone(),
                version: release.version.to_string(),
                origin: if goes_with_it { origin } else { "installed, set aside".to_owned() },
                counts: counts && goes_with_it,
                file: plugins.inspect(&path),
            });
        };
        if let Some(trial) = &entry.trial {
            add(&trial.release, format!("on trial, {} starts left", trial.tries), true);
        }
        if let Source::Installed(release) = &entry.good {
            add(release, "installed".to_owned(), entry.trial.is_none());
        }
        if let Some(Source::Installed(release)) = &entry.former {
            add(release, "former".to_owned(), false);
        }
    }
    (all, None)
}

/// The built-in file that describes itself so.
pub(super) fn find_built_in<'a>(found: &'a [PluginFile], plugin: &str) -> Option<&'a PluginFile> {
    found.iter().find(|file| file.outcome.as_ref().is_ok_and(|facts| facts.name == plugin))
}

fn row(plugin: &str, version: &str, origin: &str, cloud: &str, file: &Path) -> [String; 5] {
    [plugin, version, origin, cloud, &file.display().to_string()].map(str::to_owned)
}

pub(super) fn inspect(
    file: &Path,
    plugins: &dyn PluginFiles,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    let facts = match plugins.inspect(file).outcome {
        Ok(facts) => facts,
        Err(reason) => {
            writeln!(err, "{}: {}", file.display(), printable(&reason))?;
            return Ok(Exit::Failed);
        }
    };
    let lines = [
        ("plugin", format!("{} {}", facts.name, facts.version)),
        ("cloud", facts.cloud.clone()),
        ("build", facts.build.clone()),
        ("services", facts.services.join(", ")),
        ("capabilities", facts.capabilities.clone()),
    ];
    for (name, text) in lines {
        writeln!(out, "{name:<14}{}", printable(&text))?;
    }
    writeln!(out)?;
    write_settings(&facts.settings_schema, out)?;
    if facts.missing_services.is_empty() {
        return Ok(Exit::Done);
    }
    writeln!(err, "this host does not offer {}: the plugin would not start", facts.missing_services.join(", "))?;
    Ok(Exit::Failed)
}

/// The settings, one a line, as the schema tells them.
fn write_settings(schema: &str, out: &mut dyn Write) -> io::Result<()> {
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap_or_default();
    let mut table = Table::new(&["SETTING", "ACCEPTS", "DEFAULT", "MEANING"]);
    list_settings(&schema, "", &mut table);
    table.write(out)
}

/// The settings of a table of settings; those of a table in it are named `table.setting`.
fn list_settings(schema: &serde_json::Value, table_name: &str, table: &mut Table) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
    for (name, setting) in schema["properties"].as_object().into_iter().flatten() {
        let default = match setting.get("default") {
            Some(default) => default.to_string(),
            None if required.contains(&name.as_str()) => "(required)".to_owned(),
            None => String::new(),
        };
        let secret = if setting["x-secret"] == true { ", secret" } else { "" };
        let accepts = format!("{}{secret}", crate::config::schema::expected(setting));
        let meaning = setting["title"].as_str().or(setting["description"].as_str()).unwrap_or_default().to_owned();
        table.row([format!("{table_name}{name}"), accepts, default, meaning]);
        list_settings(setting, &format!("{table_name}{name}."), table);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::tests::SCHEMA;

    /// One plugin called `deli`, wherever one looks.
    pub(crate) struct OnePlugin;

    impl PluginFiles for OnePlugin {
        fn list(&self, _directories: &[PathBuf]) -> Vec<PluginFile> {
            vec![self.inspect(Path::new("/plugins/libdeli.so"))]
        }

        fn inspect(&self, file: &Path) -> PluginFile {
            let outcome = match file.extension() {
                Some(_) => Ok(PluginFacts {
                    name: "deli".into(),
                    version: "1.2.3".into(),
                    cloud: "Deli".into(),
                    build: "rustc".into(),
                    settings_schema: SCHEMA.into(),
                    services: vec!["polylink.mqtt/1".into()],
                    missing_services: Vec::new(),
                    capabilities: "{}".into(),
                }),
                None => Err("it is no plugin".to_owned()),
            };
            PluginFile { path: file.to_owned(), outcome }
        }
    }

    #[test]
    fn inspect_says_which_settings_a_plugin_takes() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = inspect(Path::new("libdeli.so"), &OnePlugin, &mut out, &mut err).expect("memory takes everything");
        assert_eq!(exit, Exit::Done);
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("plugin        deli 1.2.3\ncloud         Deli\n"), "{text}");
        assert!(text.contains("\nsecret       a text of at least 8 characters, secret"), "{text}");
        assert!(text.contains("\nserial       a text of 1 to 8 characters              (required)"), "{text}");
        let schema = r#"{"properties":{"lan":{"type":"object","title":"LAN","required":["port"],"properties":{"port":{"type":"integer"}}}}}"#;
        let mut out = Vec::new();
        write_settings(schema, &mut out).expect("memory takes everything");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("\nlan.port  a whole number  (required)"), "{text}");
        let exit =
            inspect(Path::new("readme"), &OnePlugin, &mut Vec::new(), &mut err).expect("memory takes everything");
        assert_eq!((exit, String::from_utf8_lossy(&err).as_ref()), (Exit::Failed, "readme: it is no plugin\n"));
    }
}
