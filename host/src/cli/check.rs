//! `polylink check`: everything that is wrong, at once, and what would be right.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::arguments::Options;
use super::plugin_files::{PluginFile, PluginFiles, directory_problem, find, in_use};
use super::table::printable;
use super::{Exit, overrides};
use crate::config::update::Backend;
use crate::config::{CloudInstance, Config, ConfigErrors, HostConfig, PluginChoice, ProductKey};
use crate::program;

pub(super) fn run(
    options: &Options,
    product: Option<&str>,
    plugins: &dyn PluginFiles,
    out: &mut dyn Write,
) -> io::Result<Exit> {
    let (config, errors) = Config::read_host(&options.config_dir, overrides(options));
    let mut report = Report::default();
    report.errors(&errors);
    if let Some(problem) = config.network.hook.as_deref().and_then(program::problem) {
        report.wrong(format!("network.hook: {problem}"));
    }
    if let Some(problem) = config.update.hook().and_then(|hook| program::problem(&hook.program)) {
        report.wrong(format!("update.hook: {problem}"));
    }
    if config.update.backend != Backend::None && config.update.require_manifest && config.update.keys.is_empty() {
        report.warning("update.keys: is empty, so every image is refused".to_owned());
    }
    let found = check_plugins(&config, plugins, &mut report);
    let keys: Vec<String> = match product {
        Some(key) => vec![key.to_owned()],
        None => {
            let named = config.mcu.product_key.iter().map(ProductKey::as_str).map(str::to_owned);
            named
                .chain(config.product_keys().iter().map(ToString::to_string))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        }
    };
    if keys.is_empty() {
        let place = config.dir.join("products");
        report.warning(format!("{}: holds no product file; the host will wait for one", place.display()));
    }
    for key in &keys {
        check_product(&config, key, &found, plugins, &mut report);
    }
    report.write(out)
}

/// What was found, each sentence once.
#[derive(Default)]
struct Report {
    said: BTreeSet<String>,
    right: Vec<String>,
    wrong: Vec<String>,
    warnings: Vec<String>,
}

impl Report {
    fn right(&mut self, line: String) {
        self.right.push(line);
    }

    fn wrong(&mut self, line: String) {
        // The host's sections are read again with every product.
        if self.said.insert(line.clone()) {
            self.wrong.push(line);
        }
    }

    fn warning(&mut self, line: String) {
        if self.said.insert(line.clone()) {
            self.warnings.push(line);
        }
    }

    fn errors(&mut self, errors: &ConfigErrors) {
        errors.0.iter().for_each(|error| self.wrong(error.to_string()));
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<Exit> {
        let groups = [("ok     ", &self.right), ("warning", &self.warnings), ("error  ", &self.wrong)];
        for (mark, lines) in groups {
            for line in lines {
                writeln!(out, "{mark}  {}", printable(line))?;
            }
        }
        let (wrong, warnings) = (self.wrong.len(), self.warnings.len());
        writeln!(out, "\n{}, {}", count(wrong, "error"), count(warnings, "warning"))?;
        Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
    }
}

fn check_plugins(config: &HostConfig, plugins: &dyn PluginFiles, report: &mut Report) -> Vec<PluginFile> {
    for dir in &config.plugins.directories {
        if let Some(problem) = directory_problem(dir) {
            report.wrong(format!("{}: plugin directory: {problem}", dir.display()));
        }
    }
    let found = in_use(config, plugins);
    for file in &found {
        match &file.outcome {
            Ok(facts) => {
                report.right(format!("{}: plugin {} {}", file.path.display(), facts.name, facts.version));
                if !facts.missing_services.is_empty() {
                    let missing = facts.missing_services.join(", ");
                    report.wrong(format!("{}: needs {missing}, which this host does not offer", file.path.display()));
                }
            }
            Err(reason) => report.wrong(format!("{}: {reason}", file.path.display())),
        }
    }
    found
}

fn check_product(config: &HostConfig, key: &str, found: &[PluginFile], plugins: &dyn PluginFiles, report: &mut Report) {
    let (loaded, errors) = config.read_product(key);
    let sound = errors.0.iter().all(|error| report.said.contains(&error.to_string()));
    report.errors(&errors);
    let Some(loaded) = loaded else { return };
    if sound {
        let product = &loaded.product;
        report.right(format!(
            "product {key}: {}, {}, {}",
            count(product.properties.len(), "property"),
            count(product.events.len(), "event"),
            count(product.actions.len(), "action")
        ));
    }
    for cloud in &loaded.clouds {
        match cloud {
            Ok(cloud) => check_cloud(config, key, cloud, found, plugins, report),
            Err(error) => report.errors(&error.errors),
        }
    }
    if loaded.clouds.is_empty() {
        report.warning(format!("product {key}: has no [cloud.<name>] section, so nothing leaves the device"));
    }
}

fn check_cloud(
    config: &HostConfig,
    key: &str,
    cloud: &CloudInstance,
    found: &[PluginFile],
    plugins: &dyn PluginFiles,
    report: &mut Report,
) {
    let own;
    let facts = match &cloud.plugin {
        PluginChoice::Name(_) => find(found, &cloud.plugin, &config.plugins.directories),
        PluginChoice::File(path) => {
            own = [plugins.inspect(path)];
            find(&own, &cloud.plugin, &[])
        }
    };
    let schema = match facts {
        Ok(facts) => &facts.settings_schema,
        Err(reason) => return report.wrong(format!("{}: cloud.{}.plugin: {reason}", cloud.place, cloud.name)),
    };
    for warning in cloud.secrets_in_clear(schema) {
        report.warning(warning.to_string());
    }
    match cloud.check_settings(schema) {
        Ok(()) => {
            let off = if cloud.enabled { "" } else { ", but not enabled" };
            report.right(format!("product {key}: cloud {} uses plugin {}{off}", cloud.name, cloud.plugin));
        }
        Err(errors) => report.errors(&errors),
    }
    if cloud.plain_text {
        report
            .warning(format!("{}: cloud.{}.plain_text: connections without TLS are allowed", cloud.place, cloud.name));
    }
}

fn count(number: usize, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plugin_files::tests::OnePlugin;
    use crate::config::tests::{Dir, LAMP};

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &str) {
        let dir = Dir::of(files);
        let plugins = dir.0.join("plugins");
        std::fs::create_dir(&plugins).expect("writable");
        dir.allow("plugins", 0o755);
        let set = vec![("plugins.directories".to_owned(), format!("[{:?}]", plugins.display().to_string()))];
        let options = Options { config_dir: dir.0.clone(), set, socket: None };
        let mut out = Vec::new();
        let exit = run(&options, None, &OnePlugin, &mut out).expect("memory takes everything");
        let text = dir.tidy(&String::from_utf8(out).expect("text"));
        assert_eq!(text, expected);
        assert_eq!(exit == Exit::Done, text.contains("\n0 errors"), "{text}");
    }

    #[test]
    fn a_right_configuration_is_praised() {
        let cloud = "[cloud.a]\nplugin = \"deli\"\n[cloud.a.settings]\nserial = \"1\"\n";
        check(
            &[("products/lamp-1.toml", &format!("{LAMP}{cloud}"))],
            "ok       /plugins/libdeli.so: plugin deli 1.2.3
ok       product lamp-1: 3 properties, 0 events, 0 actions
ok       product lamp-1: cloud a uses plugin deli

0 errors, 0 warnings
",
        );
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_once() {
        let clouds = "[cloud.a]\nplugin = \"dely\"\nplain_text = true\n[cloud.b]\nplugin = \"deli\"\nplain_text = true\n\
                      [cloud.b.settings]\nserial = 1\nsecret = \"in-clear\"\n[cloud.c]\n";
        check(
            &[
                ("host.toml", "[mcu]\nbaud = 1\n[update]\nbackend = \"slots\"\nkeys = [\"00\"]\n"),
                ("products/lamp-1.toml", &LAMP.replace("\"bool\"", "\"boole\"")),
                ("conf.d/clouds.toml", "[cloud.d]\nplugn = \"deli\"\n[cloud.d.map.power]\n"),
            ],
            "ok       /plugins/libdeli.so: plugin deli 1.2.3
warning  update.keys: is empty, so every image is refused
error    <dir>/host.toml:2: mcu.baud: found 1, expected a whole number of bits per second from 300 to 4000000
error    <dir>/host.toml:5: update.keys: found a list, expected a list of at most 8, each a public key as 64 hex digits, as `polylink ota keygen` prints it
error    <dir>/products/lamp-1.toml:7: property[0].type: found \"boole\", expected \"bool\", \"int\", \"decimal\", \"enum\", \"text\", \"bytes\" or \"json\"
error    <dir>/conf.d/clouds.toml:1: cloud.d.plugin: missing, expected a plugin's name such as \"deli\", or the absolute path of its file
error    <dir>/conf.d/clouds.toml:2: cloud.d.plugn: unknown key, did you mean `plugin`?; accepted here: plugin, enabled, start_when, plain_text, priority, settings, map

5 errors, 1 warning
",
        );
        check(
            &[
                ("products/lamp-1.toml", &format!("{LAMP}{clouds}")),
                ("products/fan.toml", &LAMP.replace("lamp-1", "fan")),
                ("products/broken.toml", "["),
            ],
            "ok       /plugins/libdeli.so: plugin deli 1.2.3
ok       product fan: 3 properties, 0 events, 0 actions
ok       product lamp-1: 3 properties, 0 events, 0 actions
warning  product fan: has no [cloud.<name>] section, so nothing leaves the device
warning  <dir>/products/lamp-1.toml:30: cloud.b.settings.secret: a secret written in clear; better { file = \"…\" } or { env = \"…\" }
warning  <dir>/products/lamp-1.toml:25: cloud.b.plain_text: connections without TLS are allowed
error    <dir>/products/broken.toml:1:1: not valid TOML: invalid table header
error    <dir>/products/lamp-1.toml:22: cloud.a.plugin: there is no plugin `dely` in <dir>/plugins, which holds deli; did you mean `deli`?
error    <dir>/products/lamp-1.toml:29: cloud.b.settings.serial: found 1, expected a text of 1 to 8 characters
error    <dir>/products/lamp-1.toml:31: cloud.c.plugin: missing, expected a plugin's name such as \"deli\", or the absolute path of its file

4 errors, 3 warnings
",
        );
    }

    #[test]
    fn a_plugin_directory_that_others_can_write_is_an_error() {
        let dir = Dir::of(&[("plugins/x", "")]);
        dir.allow("plugins", 0o777);
        let problem = directory_problem(&dir.0.join("plugins"));
        assert_eq!(problem.as_deref(), Some("it is writable for everybody, so others could run code in this process"));
        assert_eq!(directory_problem(&dir.0.join("gone")).as_deref(), Some("no such file"));
        assert_eq!(directory_problem(&dir.0.join("plugins/x")).as_deref(), Some("it is no directory"));
    }
}
