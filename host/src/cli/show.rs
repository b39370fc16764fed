//! `polylink config show`.

use std::io::{self, Write};

use super::arguments::Options;
use super::plugin_files::{PluginFiles, find};
use super::table::printable;
use super::{Exit, overrides};
use crate::config::{Config, PluginChoice};

pub(super) fn run(
    options: &Options,
    origin: bool,
    product: Option<&str>,
    plugins: &dyn PluginFiles,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    // A wrong value is shown as well: this is where one looks for it.
    let (config, errors) = Config::read_host(&options.config_dir, overrides(options));
    let directories = config.plugins.directories.clone();
    let found = plugins.list(&directories);
    let schema_of = |choice: &PluginChoice| match choice {
        PluginChoice::Name(_) => Some(find(&found, choice, &directories).ok()?.settings_schema.clone()),
        PluginChoice::File(path) => Some(plugins.inspect(path).outcome.ok()?.settings_schema),
    };
    let product = product.or(config.mcu.product_key.as_ref().map(|key| key.as_str()));
    let shown = match config.show(product, &schema_of) {
        Ok(shown) => shown,
        Err(errors) => {
            writeln!(err, "{errors}")?;
            return Ok(Exit::BadConfig);
        }
    };
    let lines: Vec<String> = shown.iter().map(|shown| printable(&format!("{} = {}", shown.key, shown.value))).collect();
    let width = lines.iter().map(|line| line.chars().count()).filter(|width| *width <= 60).max().unwrap_or_default();
    for (line, shown) in lines.iter().zip(&shown) {
        if origin {
            writeln!(out, "{line:<width$}  # {}", shown.place)?;
        } else {
            writeln!(out, "{line}")?;
        }
    }
    if product.is_none() && !config.product_keys().is_empty() {
        writeln!(err, "Without the product file, which the MCU's product key chooses; name one with --product KEY.")?;
    }
    if errors.0.is_empty() {
        return Ok(Exit::Done);
    }
    writeln!(err, "{errors}")?;
    Ok(Exit::BadConfig)
}
