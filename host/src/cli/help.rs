//! What `--help` says.

use std::io::{self, Write};

/// Writes the help of a command, or of all.
///
/// # Errors
/// The writer's.
pub fn write(topic: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let topics: Vec<&(&str, &str)> = match topic {
        Some(topic) => {
            TOPICS.iter().filter(|(name, _)| *name == topic || name.starts_with(&format!("{topic} "))).collect()
        }
        None => Vec::new(),
    };
    if topics.is_empty() {
        return out.write_all(OVERVIEW.as_bytes());
    }
    for (i, (_, text)) in topics.into_iter().enumerate() {
        if i > 0 {
            out.write_all(b"\n")?;
        }
        out.write_all(text.as_bytes())?;
    }
    out.write_all(OPTIONS.as_bytes())
}

const OVERVIEW: &str = "\
polylink connects the MCU of a device to several IoT clouds at once.

Usage: polylink COMMAND [options]

  run                    be the host: talk to the MCU and the clouds until SIGTERM
  launch                 start the release that is to run, and count starts on trial
  check                  say everything that is wrong with the configuration
  config show            show what holds, and with --origin where it comes from
  plugin list            list the plugin files
  plugin inspect FILE    say all about one plugin file, its settings above all
  plugin install FILE    install a plugin, in the running host without a restart
  plugin rollback NAME   go back to the plugin file before
  product import FILE    write a product file for a Gizwits datapoint file
  status                 how the running host, its MCU and its clouds stand
  get [NAME...]          last known values
  set NAME=VALUE...      set datapoints, as the local user
  watch                  show reports, commands and outcomes as they happen
  log                    show the last lines of the running host's log
  ota keygen FILE        make a key that signs images
  ota sign FILE OUT ...  sign an image
  ota verify FILE        say whether this device would install an image
  ota install FILE       install an image by hand
  ota status             how slots or installer stand
  ota confirm            what runs is good
  ota rollback           go back to what ran before

Options:
  --config-dir DIR       where host.toml is (/etc/polylink)
  --set SECTION.KEY=V    override one setting; may be repeated
  --socket PATH          control socket of the running host
  -h, --help             this help, or that of a command: polylink status --help
  -V, --version          the version

Exit status: 0 done; 1 not done, or something is wrong; 2 wrong command line;
3 no running polylink answers; 4 the configuration is wrong; 75 the MCU, a
cloud or an update asks for a restart (`run` only).
";

const OPTIONS: &str = "\nOptions of every command: --config-dir DIR, --set SECTION.KEY=VALUE, --socket PATH\n";

const TOPICS: [(&str, &str); 21] = [
    (
        "run",
        "Usage: polylink run

Talks to the MCU and the clouds until SIGTERM or SIGINT. Logs to standard error.
Exit status 4 if the configuration is wrong, 75 if a restart is asked for: the service manager is to start it
again.

Examples:
  polylink run
  polylink run --config-dir ./configs --set mcu.port=/dev/ttyUSB0 --set log.level=debug
",
    ),
    (
        "launch",
        "Usage: polylink launch

Becomes `polylink run` of the release in the slot that is to run, or of this program where there is none. For service
managers, with [update] backend = \"slots\". A release on trial is started a limited number of times.

Example:
  polylink launch --config-dir /etc/polylink
",
    ),
    (
        "check",
        "Usage: polylink check [--product KEY]

Reads host.toml, conf.d and every product file (or the one named), looks into every plugin, compares
settings with the plugins' schemas, looks up secrets, and says everything that is wrong at once.
Exit status 1 if anything is.

Examples:
  polylink check
  polylink check --config-dir ./configs --product lamp-1
",
    ),
    (
        "plugin list",
        "Usage: polylink plugin list

Lists the plugin files of the configured directories and those that were installed, and says why others cannot be
loaded.

Example:
  polylink plugin list --set 'plugins.directories=[\"/opt/plugins\"]'
",
    ),
    (
        "plugin inspect",
        "Usage: polylink plugin inspect FILE

Says what a plugin is, what it needs of the host, and which settings it takes.

Example:
  polylink plugin inspect /usr/lib/polylink/plugins/libpolylink_deli.so
",
    ),
    (
        "plugin install",
        "Usage: polylink plugin install FILE [--product KEY]

Installs a plugin, by [update] and its counter. The running host reads FILE, loads it beside the one that runs, puts it in
its place, and steps back by itself unless it works as well within [update] health_s. Exit status 1 if it was refused or
taken back. With no running host it is on trial from the next start on, for [update] tries; the product is mcu.product_key
then, unless it is named.

Example:
  polylink plugin install libpolylink_deli.signed
",
    ),
    (
        "plugin rollback",
        "Usage: polylink plugin rollback NAME

Ends the trial of an installed plugin, or goes back to the file that was used before it.

Example:
  polylink plugin rollback deli
",
    ),
    (
        "product import",
        "Usage: polylink product import FILE

Writes to standard output a product file for a datapoint file in JSON, as the Gizwits console exports it.

Example:
  polylink product import lamp.datapoints.json > /etc/polylink/products/KEY.toml
",
    ),
    (
        "status",
        "Usage: polylink status [--watch] [--json]

How the running host, its MCU, its clouds and its datapoints stand. --watch shows it every second.

Examples:
  polylink status
  polylink status --json | jq '.clouds[] | {name, session}'
",
    ),
    (
        "get",
        "Usage: polylink get [NAME...] [--json]

The last known values. With one NAME, the value alone. Exit status 1 if a named value is not known.

Examples:
  polylink get
  polylink get power
",
    ),
    (
        "set",
        "Usage: polylink set NAME=VALUE...

Sets datapoints as the local user and waits for the MCU. Bytes are typed as hex, an enum as its label.
Exit status 1 unless all were set.

Example:
  polylink set power=on target=21.5
",
    ),
    (
        "watch",
        "Usage: polylink watch [--json]

Shows reports, commands and outcomes as they happen, until Ctrl-C.

Example:
  polylink watch --json
",
    ),
    (
        "log",
        "Usage: polylink log

Shows what the running host logged lately, from RAM: lines at info and above, whatever log.level is, up to
log.keep_bytes. It is what clouds are sent that ask for the log.

Example:
  polylink log | tail
",
    ),
    (
        "config show",
        "Usage: polylink config show [--origin] [--product KEY]

Shows every setting that holds, with --origin also the file and line, variable or option it comes from.
Secrets are shown as <secret>; texts that might be one, because their plugin is not there, as <hidden>.

Example:
  polylink config show --origin --product lamp-1
",
    ),
    (
        "ota keygen",
        "Usage: polylink ota keygen FILE

Writes a new private key to FILE (PKCS#8 in PEM, Ed25519), and the public key to standard output, for [update] keys.
Keep FILE away from devices.

Example:
  polylink ota keygen owner.pem
",
    ),
    (
        "ota sign",
        "Usage: polylink ota sign FILE OUT key=FILE product=KEY target=TARGET version=TEXT counter=NUMBER

Writes to OUT the image FILE with a signed manifest behind it. TARGET is module, mcu, subdevice or plugin. A device
refuses an image whose counter is smaller than one that it has confirmed; plugins are counted each for itself.

Example:
  polylink ota sign image.tar image.signed key=owner.pem product=lamp-1 target=module version=1.4.2 counter=17
",
    ),
    (
        "ota verify",
        "Usage: polylink ota verify FILE [--product KEY]

Says whether this device would install the image, by [update] and its counters. Exit status 1 if not.

Example:
  polylink ota verify image.signed --product lamp-1
",
    ),
    (
        "ota install",
        "Usage: polylink ota install FILE [--product KEY]

Installs an image for the module by [update] backend. The product is mcu.product_key unless it is named.

Example:
  polylink ota install image.signed
",
    ),
    (
        "ota status",
        "Usage: polylink ota status

What is good, what is on trial, what is in the slots, and which counter was confirmed.

Example:
  polylink ota status
",
    ),
    (
        "ota confirm",
        "Usage: polylink ota confirm

What is on trial is good from now on.

Example:
  polylink ota confirm
",
    ),
    (
        "ota rollback",
        "Usage: polylink ota rollback

Ends a trial, or goes back to what was good before. Takes effect with the next start.

Example:
  polylink ota rollback
",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::arguments::COMMANDS;
    use super::*;

    #[test]
    fn every_command_has_a_help_with_an_example() {
        for command in COMMANDS {
            let mut text = Vec::new();
            write(Some(command), &mut text).expect("memory takes everything");
            let text = String::from_utf8(text).expect("text");
            assert!(
                text.starts_with(&format!("Usage: polylink {command}")) && text.contains("Example"),
                "{command}: {text}"
            );
            assert!(OVERVIEW.contains(&format!("\n  {command} ")), "{command}");
        }
    }
}
