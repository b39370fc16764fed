//! `polylink config show`.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::arguments::Options;
use super::plugin_files::{PluginFiles, find, in_use};
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
    let found = in_use(&config, plugins);
    let schema_of = |choice: &PluginChoice| match choice {
        PluginChoice::Name(_) => Some(find(&found, choice, &directories).ok()?.settings_schema.clone()),
        PluginChoice::File(path) => Some(plugins.inspect(path).outcome.ok()?.settings_schema),
    };
    let product = product.or(config.mcu.product_key.as_ref().map(|key| key.as_str()));
    let (shown, hindered) = config.show(product, &schema_of);
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
    let wrong: BTreeSet<String> = errors.0.iter().chain(&hindered.0).map(ToString::to_string).collect();
    for error in &wrong {
        writeln!(err, "{error}")?;
    }
    Ok(if wrong.is_empty() { Exit::Done } else { Exit::BadConfig })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plugin_files::tests::OnePlugin;
    use crate::config::tests::{Dir, KEY, LAMP};

    fn shown(plugin: &str, origin: bool) -> String {
        let cloud = format!(
            "[cloud.a]\nplugin = \"{plugin}\"\nsecret = \"misplaced\"\n[cloud.a.settings]\nserial = \"1\"\n\
             secret = \"in-clear\"\nscheme = {{ file = \"gone\" }}\n"
        );
        let dir = Dir::of(&[("products/lamp-1.toml", &format!("{LAMP}{cloud}"))]);
        let options =
            Options { config_dir: dir.0.clone(), set: vec![("mcu.baud".into(), "1200".into())], socket: None };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(&options, origin, Some(KEY), &OnePlugin, &mut out, &mut err).expect("memory takes everything");
        assert_eq!(exit, Exit::Done, "{}", String::from_utf8_lossy(&err));
        dir.tidy(&String::from_utf8(out).expect("text"))
    }

    #[test]
    fn secrets_are_not_shown_wherever_they_stand() {
        let text = shown("deli", false);
        let cloud: Vec<&str> = text.lines().filter(|line| line.starts_with("cloud.")).collect();
        assert_eq!(
            cloud,
            [
                "cloud.a.plugin = \"deli\"",
                "cloud.a.secret = <hidden>",
                "cloud.a.settings.scheme = <secret>",
                "cloud.a.settings.secret = <secret>",
                "cloud.a.settings.serial = \"1\"",
            ]
        );
    }

    #[test]
    fn without_the_plugin_every_text_of_the_settings_is_hidden() {
        let text = shown("other", false);
        assert!(text.contains("cloud.a.settings.serial = <hidden>\n"), "{text}");
        assert!(!text.contains("in-clear") && !text.contains("misplaced"), "{text}");
    }

    #[test]
    fn what_holds_is_shown_even_if_something_is_wrong() {
        let dir = Dir::of(&[("host.toml", "[mcu]\nbaud = 1\n"), ("conf.d/a.toml", "[")]);
        let options = Options { config_dir: dir.0.clone(), set: Vec::new(), socket: None };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(&options, false, None, &OnePlugin, &mut out, &mut err).expect("memory takes everything");
        assert_eq!(exit, Exit::BadConfig);
        assert!(String::from_utf8_lossy(&out).contains("mcu.baud = 1\n"));
        let sentences = "<dir>/conf.d/a.toml:1:1: not valid TOML: invalid table header\n<dir>/host.toml:2: mcu.baud: found 1, \
                         expected a whole number of bits per second from 300 to 4000000\n";
        assert_eq!(dir.tidy(&String::from_utf8_lossy(&err)), sentences);
    }

    #[test]
    fn each_value_says_where_it_comes_from() {
        let text = shown("deli", true);
        let origin = |key: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{key} = "))).expect("it is shown");
            line.split_once("# ").map_or("", |(_, origin)| origin).to_owned()
        };
        assert_eq!(origin("mcu.baud"), "--set mcu.baud");
        assert_eq!(origin("mcu.port"), "built-in default");
        assert_eq!(origin("product.name"), "<dir>/products/lamp-1.toml:3");
        assert_eq!(origin("property[1].min"), "<dir>/products/lamp-1.toml:14");
    }
}
