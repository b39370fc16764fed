//! The flags of the demo.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::*;

use crate::clouds::{KNOWN, Known, known};

/// What the demo is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long reports and commands flow.
    pub length: Duration,
    /// Reports a second.
    pub rate: u32,
    /// Clouds at the other end.
    pub clouds: Vec<&'static Known>,
    /// An app on the LAN beside the clouds.
    pub lan_app: bool,
    /// What goes wrong on the way.
    pub fault: Option<Fault>,
    /// Plugins are taken from here where it has them.
    pub plugins: Option<PathBuf>,
    /// One object at the end, and nothing else on standard output.
    pub json: bool,
}

/// What goes wrong on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The clouds' servers are gone for the second third of the time.
    CloudAway,
    /// The serial line garbles frames for the whole time.
    McuNoise,
    /// One more plugin panics every second.
    PluginPanic,
    /// The host is killed half-way, and started again.
    KillHost,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// Run.
    Run(Options),
    /// Explain the flags.
    Help,
}

/// Reads the flags; the error is for people.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, String> {
    // `cargo demo -- --seconds 5` hands the separator on, because the alias ends with one of its own.
    let mut args = args.into_iter().peekable();
    args.next_if(|first| first == "--");
    let mut parser = lexopt::Parser::from_args(args);
    let mut options = Options {
        length: Duration::from_secs(20),
        rate: 10,
        clouds: KNOWN.iter().collect(),
        lan_app: false,
        fault: None,
        plugins: None,
        json: false,
    };
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Long("seconds") => {
                options.length = Duration::from_secs(number(&mut parser, "--seconds", 1, MAX_SECONDS)?);
            }
            Long("rate") => {
                let rate = number(&mut parser, "--rate", 1, MAX_RATE)?;
                options.rate = u32::try_from(rate).unwrap_or(u32::MAX);
            }
            Long("clouds") => options.clouds = clouds(&text(&mut parser)?)?,
            Long("lan-app") => options.lan_app = true,
            Long("fault") => options.fault = Some(fault(&text(&mut parser)?)?),
            Long("plugins") => options.plugins = Some(directory(text(&mut parser)?)?),
            Long("json") => options.json = true,
            Long("help") | Short('h') => return Ok(Parsed::Help),
            other => return Err(format!("{}; the flags are {FLAGS}", other.unexpected())),
        }
    }
    if options.lan_app && options.clouds.iter().all(|cloud| cloud.name != "gizwits") {
        return Err("--lan-app: the module listens on the LAN only with gizwits among --clouds".to_owned());
    }
    if options.lan_app && options.fault == Some(Fault::KillHost) {
        return Err("--lan-app: the app does not log in again after --fault kill-host".to_owned());
    }
    Ok(Parsed::Run(options))
}

/// The flags, explained.
pub fn help() -> String {
    let clouds = names(KNOWN.iter().map(|known| known.name));
    let faults = names(FAULTS.iter().map(|(name, _)| *name));
    format!(
        "cargo demo: a simulated MCU and simulated clouds around the real polylink and its plugins

  --seconds N     how long reports and commands flow, 1 to {MAX_SECONDS}; 20 if not given
  --rate N        reports a second, 1 to {MAX_RATE}; 10 if not given
  --clouds a,b    of {clouds}; all of them if none are named
  --lan-app       an app on the LAN takes part like a cloud; needs gizwits
  --fault KIND    {faults}
  --plugins DIR   take plugins (libpolylink_….so) from here where it has them
  --json          one object at the end and nothing else on standard output

The exit status is 0 only if nothing was lost and every command was done. Ctrl-C ends early, with the summary."
    )
}

fn text(parser: &mut lexopt::Parser) -> Result<String, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    value.into_string().map_err(|value| format!("{value:?} is not text"))
}

/// Looked at here, because everything else takes minutes to build first.
fn directory(path: String) -> Result<PathBuf, String> {
    let is_there = Path::new(&path).is_dir();
    if is_there { Ok(path.into()) } else { Err(format!("--plugins {path}: there is no such directory")) }
}

fn number(parser: &mut lexopt::Parser, flag: &str, min: u64, max: u64) -> Result<u64, String> {
    let value = text(parser)?;
    let number = value.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("{flag} {value}: a whole number from {min} to {max} is expected"))
}

fn clouds(list: &str) -> Result<Vec<&'static Known>, String> {
    let mut found: Vec<&'static Known> = Vec::new();
    for name in list.split(',') {
        let cloud = known(name);
        let cloud = cloud.ok_or_else(|| {
            format!("--clouds {list}: there is no cloud {name:?}, only {}", names(KNOWN.iter().map(|known| known.name)))
        })?;
        if found.iter().any(|other| other.name == cloud.name) {
            return Err(format!("--clouds {list}: {name} is named twice"));
        }
        found.push(cloud);
    }
    Ok(found)
}

fn fault(name: &str) -> Result<Fault, String> {
    let found = FAULTS.iter().find(|(known, _)| *known == name).map(|(_, fault)| *fault);
    found.ok_or_else(|| format!("--fault {name}: one of {} is expected", names(FAULTS.iter().map(|(name, _)| *name))))
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

const FAULTS: [(&str, Fault); 4] = [
    ("cloud-away", Fault::CloudAway),
    ("mcu-noise", Fault::McuNoise),
    ("plugin-panic", Fault::PluginPanic),
    ("kill-host", Fault::KillHost),
];
const FLAGS: &str = "--seconds, --rate, --clouds, --lan-app, --fault, --plugins, --json, --help";
/// A week. Chosen by us.
const MAX_SECONDS: u64 = 604_800;
/// One report is under way at a time, so a faster MCU would not be faithful. Chosen by us.
const MAX_RATE: u64 = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<(u64, u32, Option<Fault>, bool), &str>) {
        let parsed = parse(line.split_whitespace().map(OsString::from));
        match (parsed, expected) {
            (Ok(Parsed::Run(found)), Ok(expected)) => {
                assert_eq!((found.length.as_secs(), found.rate, found.fault, found.json), expected, "{line}");
            }
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{line}: {found}"),
            (found, _) => panic!("{line}: {found:?}"),
        }
    }

    #[test]
    fn flags_are_taken_with_and_without_the_separator_of_cargo() {
        check("", Ok((20, 10, None, false)));
        check("--seconds 5 --rate 250 --json", Ok((5, 250, None, true)));
        check("-- --seconds 5 --fault mcu-noise", Ok((5, 10, Some(Fault::McuNoise), false)));
    }

    #[test]
    fn clouds_are_taken_as_named_or_all() {
        let all: Vec<_> = KNOWN.iter().map(|known| known.name).collect();
        for (line, expected) in [("", &all[..]), ("--clouds gizwits,deli", &["gizwits", "deli"])] {
            let Ok(Parsed::Run(found)) = parse(line.split_whitespace().map(OsString::from)) else { panic!("{line}") };
            assert_eq!(found.clouds.iter().map(|cloud| cloud.name).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_wrong_flag_is_answered_with_what_would_be_right() {
        check("--second 5", Err("--seconds"));
        check("--seconds 0", Err("1 to 604800"));
        check("--rate many", Err("1 to 2000"));
        check("--fault fire", Err("cloud-away, mcu-noise, plugin-panic, kill-host"));
        check("--lan-app --fault kill-host", Err("does not log in again"));
        check("--clouds nowhere", Err("there is no cloud \"nowhere\""));
        check("--clouds deli --lan-app", Err("gizwits among --clouds"));
        check("--seconds", Err("missing argument"));
        check("--plugins /nowhere", Err("--plugins /nowhere: there is no such directory"));
    }
}
