//! `polylink check`: everything that is wrong, at once, and what would be right.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::arguments::Options;
use super::plugin_files::{PluginFile, PluginFiles, directory_problem, find};
use super::table::printable;
use super::{Exit, overrides};
use crate::config::{CloudInstance, Config, ConfigErrors, HostConfig, PluginChoice, ProductKey};

pub(super) fn run(
    options: &Options,
    product: Option<&str>,
    plugins: &dyn PluginFiles,
    out: &mut dyn Write,
) -> io::Result<Exit> {
    let (config, errors) = Config::read_host(&options.config_dir, overrides(options));
    let mut report = Report::default();
    report.errors(&errors);
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
    let found = plugins.list(&config.plugins.directories);
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
    let loaded = match config.load_product(key) {
        Ok(loaded) => loaded,
        Err(errors) => return report.errors(&errors),
    };
    let product = &loaded.product;
    report.right(format!(
        "product {key}: {}, {}, {}",
        count(product.properties.len(), "property"),
        count(product.events.len(), "event"),
        count(product.actions.len(), "action")
    ));
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
