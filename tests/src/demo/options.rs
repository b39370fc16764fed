//! The command line of the demo.

use std::path::PathBuf;
use std::time::Duration;

use crate::clouds::{self, Known};

/// What the demo was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the MCU reports.
    pub duration: Duration,
    /// Reports a second.
    pub rate: u32,
    /// Clouds, in the order they are shown.
    pub clouds: Vec<&'static Known>,
    /// What goes wrong on the way.
    pub fault: Option<Fault>,
    /// Plugins are taken from here where it has them.
    pub plugins: Option<PathBuf>,
    /// One JSON object at the end and nothing else on standard output.
    pub json: bool,
}

/// What goes wrong on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The clouds are away for the middle third of the time.
    CloudAway,
    /// The line from the MCU is noisy all the time.
    McuNoise,
    /// One more plugin panics again and again.
    PluginPanic,
}

/// What the command line asks for.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A run.
    Run(Options),
    /// The help.
    Help,
}

impl Fault {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::CloudAway => "cloud-away",
            Self::McuNoise => "mcu-noise",
            Self::PluginPanic => "plugin-panic",
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        let all = [Self::CloudAway, Self::McuNoise, Self::PluginPanic];
        all.into_iter()
            .find(|fault| fault.name() == name)
            .ok_or_else(|| format!("--fault {name}: one of {} expected", all.map(Self::name).join(", ")))
    }
}

/// Reads the words after the program's name.
pub fn parse(words: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Asked, String> {
    use lexopt::prelude::{Long, Short, ValueExt};
    let mut options = Options {
        duration: Duration::from_secs(20),
        rate: 10,
        clouds: clouds::KNOWN.iter().collect(),
        fault: None,
        plugins: None,
        json: false,
    };
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(word) = parser.next().map_err(|error| error.to_string())? {
        let name = match word {
            Short('h') | Long("help") => return Ok(Asked::Help),
            Long("json") => {
                options.json = true;
                continue;
            }
            Long(name) => name.to_owned(),
            other => return Err(format!("{}; see --help", other.unexpected())),
        };
        let mut text = || parser.value().and_then(|value| value.string()).map_err(|error| format!("--{name}: {error}"));
        match name.as_str() {
            "seconds" => options.duration = Duration::from_secs(u64::from(number("seconds", &text()?, 3600)?)),
            "rate" => options.rate = number("rate", &text()?, 5000)?,
            "clouds" => {
                let names = text()?;
                options.clouds = names.split(',').map(cloud).collect::<Result<_, _>>()?;
            }
            "fault" => options.fault = Some(Fault::parse(&text()?)?),
            "plugins" => options.plugins = Some(PathBuf::from(text()?)),
            other => return Err(format!("--{other} is unknown; see --help")),
        }
    }
    Ok(Asked::Run(options))
}

fn cloud(name: &str) -> Result<&'static Known, String> {
    let names: Vec<&str> = clouds::KNOWN.iter().map(|known| known.name).collect();
    clouds::known(name).ok_or_else(|| format!("--clouds {name}: some of {} expected", names.join(",")))
}

fn number(name: &str, text: &str, max: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("--{name} {text}: 1 to {max} expected"))
}

/// What `--help` prints.
pub fn help() -> String {
    let names: Vec<&str> = clouds::KNOWN.iter().map(|known| known.name).collect();
    format!(
        "\
Runs the real polylink between a simulated MCU and simulated clouds, and judges what arrives.

    cargo demo -- [--seconds N] [--rate N] [--clouds A,B] [--fault KIND] [--plugins DIR] [--json]

    --seconds N     how long the MCU reports (20)
    --rate N        reports a second (10)
    --clouds A,B    which clouds ({})
    --fault KIND    cloud-away    the clouds are away for the middle third
                    mcu-noise     the line from the MCU is noisy
                    plugin-panic  one more plugin panics again and again
    --plugins DIR   take the plugins (lib….so) from here where it has them, instead of building them
    --json          one JSON object at the end, nothing else on standard output

Exit status 0 only if nothing was lost and every command was done.
",
        names.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_word_is_answered_with_what_is_accepted() {
        for (words, says) in [
            (&["--seconds", "0"][..], "1 to 3600"),
            (&["--rate", "many"], "1 to 5000"),
            (&["--fault", "fire"], "cloud-away, mcu-noise, plugin-panic"),
            (&["--clouds", "moon"], "some of deli"),
            (&["--frob"], "--frob"),
            (&["stray"], "--help"),
        ] {
            let error = parse(words.iter().map(Into::into)).unwrap_err();
            assert!(error.contains(says), "{error:?} should say {says:?}");
        }
    }
}
