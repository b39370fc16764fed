//! From arguments to a [`Command`].

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use super::ota::OtaCommand;
use super::plugin_change::PluginCommand;
use crate::config::DEFAULT_DIR;
use crate::config::error::nearest;

/// A command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// With which configuration and host.
    pub options: Options,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Be the host.
    Run,
    /// Say all that is wrong with the configuration.
    Check {
        /// This product only.
        product: Option<String>,
    },
    /// Name the plugin files.
    PluginList,
    /// Say all about one plugin file.
    PluginInspect {
        /// Which.
        file: PathBuf,
    },
    /// Change which file a plugin is.
    PluginChange(PluginCommand),
    /// Write a product file for a Gizwits datapoint file.
    ProductImport {
        /// Which.
        file: PathBuf,
    },
    /// How does the running host stand?
    Status {
        /// Again and again.
        watch: bool,
        /// For programs.
        json: bool,
    },
    /// Values of datapoints.
    Get {
        /// Which; none: all.
        names: Vec<String>,
        /// For programs.
        json: bool,
    },
    /// Set datapoints.
    Set {
        /// Names and values.
        values: Vec<(String, String)>,
    },
    /// Show what happens.
    Watch {
        /// For programs.
        json: bool,
    },
    /// What the running host logged lately.
    Log,
    /// What holds.
    ConfigShow {
        /// And where it comes from.
        origin: bool,
        /// With this product's file.
        product: Option<String>,
    },
    /// Updates, by hand.
    Ota(OtaCommand),
    /// Become the release that is to run.
    Launch,
    /// Explain a command, or all of them.
    Help(Option<String>),
    /// Name the version.
    Version,
}

/// Options that every command takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// `--config-dir`.
    pub config_dir: PathBuf,
    /// `--set`, in order.
    pub set: Vec<(String, String)>,
    /// `--socket`.
    pub socket: Option<PathBuf>,
}

/// What is wrong with a command line.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// An option or its value.
    #[error(transparent)]
    Option(#[from] lexopt::Error),
    /// No such command.
    #[error("there is no command `{found}`{}", .near.as_ref().map_or(String::new(), |near| format!("; did you mean `{near}`?")))]
    Command {
        /// What was typed.
        found: String,
        /// The nearest one.
        near: Option<String>,
    },
    /// The first of two words.
    #[error("`polylink {first}` needs one more word: {}", .seconds.join(", "))]
    HalfCommand {
        /// What was typed.
        first: String,
        /// What may follow.
        seconds: Vec<&'static str>,
    },
    /// Something is missing or too much.
    #[error("{0}")]
    Shape(String),
}

/// Understands a command line, without the program's name.
///
/// # Errors
/// What is wrong with it.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut options = Options { config_dir: DEFAULT_DIR.into(), set: Vec::new(), socket: None };
    let mut flags = Flags::default();
    let mut words: Vec<String> = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("config-dir") => options.config_dir = parser.value()?.into(),
            Long("set") => options.set.push(pair(&parser.value()?.string()?, "--set section.key=value")?),
            Long("socket") => options.socket = Some(parser.value()?.into()),
            Long("product") => flags.product = Some(parser.value()?.string()?),
            Long("json") => flags.json = true,
            Long("watch") => flags.watch = true,
            Long("origin") => flags.origin = true,
            Long("help") | Short('h') => flags.help = true,
            Long("version") | Short('V') => flags.version = true,
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let command = command(&words, flags)?;
    Ok(Invocation { command, options })
}

/// The commands by their words, in the order of the help.
pub const COMMANDS: [&str; 21] = [
    "run",
    "launch",
    "check",
    "plugin list",
    "plugin inspect",
    "plugin install",
    "plugin rollback",
    "product import",
    "status",
    "get",
    "set",
    "watch",
    "log",
    "config show",
    "ota keygen",
    "ota sign",
    "ota verify",
    "ota install",
    "ota status",
    "ota confirm",
    "ota rollback",
];

/// Those that can be told which product is meant.
const TAKE_A_PRODUCT: [&str; 5] = ["check", "config show", "plugin install", "ota verify", "ota install"];

#[derive(Default)]
struct Flags {
    product: Option<String>,
    json: bool,
    watch: bool,
    origin: bool,
    help: bool,
    version: bool,
}

fn command(words: &[String], flags: Flags) -> Result<Command, UsageError> {
    if flags.version {
        return Ok(Command::Version);
    }
    let Some(first) = words.first() else {
        return if flags.help { Ok(Command::Help(None)) } else { Err(shape("no command; the usual one is `run`")) };
    };
    // The commands of two words are told apart by the second.
    let two = words.get(1).map(|second| format!("{first} {second}"));
    let (name, rest) = match two.filter(|two| COMMANDS.contains(&two.as_str())) {
        Some(two) => (two, &words[2..]),
        None if COMMANDS.contains(&first.as_str()) || first == "help" => (first.clone(), &words[1..]),
        None if flags.help && !seconds(first).is_empty() => {
            return Ok(Command::Help(Some(first.clone())));
        }
        None if words.len() == 1 && !seconds(first).is_empty() => {
            return Err(UsageError::HalfCommand { first: first.clone(), seconds: seconds(first) });
        }
        None => {
            let found = words.iter().take(2).cloned().collect::<Vec<_>>().join(" ");
            let near = nearest(&found, COMMANDS).or_else(|| nearest(first, COMMANDS));
            return Err(UsageError::Command { found, near });
        }
    };
    if flags.help {
        return Ok(Command::Help(Some(name)));
    }
    flags.only_for(&name)?;
    let nothing_more = |command: Command| match rest.first() {
        None => Ok(command),
        Some(word) => Err(shape(format!("`polylink {name}` takes no `{word}`"))),
    };
    let Flags { product, json, watch, origin, .. } = flags;
    match name.as_str() {
        "help" => Ok(Command::Help((!rest.is_empty()).then(|| rest.join(" ")))),
        "run" => nothing_more(Command::Run),
        "launch" => nothing_more(Command::Launch),
        "check" => nothing_more(Command::Check { product }),
        "plugin list" => nothing_more(Command::PluginList),
        "plugin inspect" => match rest {
            [file] => Ok(Command::PluginInspect { file: file.into() }),
            _ => Err(shape("`polylink plugin inspect` takes one FILE")),
        },
        "plugin install" => match rest {
            [file] => Ok(Command::PluginChange(PluginCommand::Install { file: file.into(), product })),
            _ => Err(shape("`polylink plugin install` takes one FILE")),
        },
        "plugin rollback" => match rest {
            [plugin] => Ok(Command::PluginChange(PluginCommand::RollBack { plugin: plugin.clone() })),
            _ => Err(shape("`polylink plugin rollback` takes one NAME")),
        },
        "product import" => match rest {
            [file] => Ok(Command::ProductImport { file: file.into() }),
            _ => Err(shape("`polylink product import` takes one FILE")),
        },
        "status" => nothing_more(Command::Status { watch, json }),
        "get" => Ok(Command::Get { names: rest.to_vec(), json }),
        "set" if rest.is_empty() => Err(shape("`polylink set` takes at least one NAME=VALUE")),
        "set" => {
            let values: Result<_, _> = rest.iter().map(|word| pair(word, "NAME=VALUE")).collect();
            Ok(Command::Set { values: values? })
        }
        "watch" => nothing_more(Command::Watch { json }),
        "log" => nothing_more(Command::Log),
        "ota keygen" => match rest {
            [file] => Ok(Command::Ota(OtaCommand::Keygen { file: file.into() })),
            _ => Err(shape("`polylink ota keygen` takes one FILE")),
        },
        "ota sign" => match rest {
            [file, out, values @ ..] => {
                let values: Result<_, _> = values.iter().map(|word| pair(word, "NAME=VALUE")).collect();
                Ok(Command::Ota(OtaCommand::Sign { file: file.into(), out: out.into(), values: values? }))
            }
            _ => Err(shape("`polylink ota sign` takes a FILE, the signed FILE, and NAME=VALUE...")),
        },
        "ota verify" | "ota install" => match rest {
            [file] if name == "ota verify" => Ok(Command::Ota(OtaCommand::Verify { file: file.into(), product })),
            [file] => Ok(Command::Ota(OtaCommand::Install { file: file.into(), product })),
            _ => Err(shape(format!("`polylink {name}` takes one FILE"))),
        },
        "ota status" => nothing_more(Command::Ota(OtaCommand::Status)),
        "ota confirm" => nothing_more(Command::Ota(OtaCommand::Confirm)),
        "ota rollback" => nothing_more(Command::Ota(OtaCommand::Rollback)),
        _ => nothing_more(Command::ConfigShow { origin, product }),
    }
}

/// What may follow the first word of a command of two words.
fn seconds(first: &str) -> Vec<&'static str> {
    COMMANDS.iter().filter_map(|known| known.strip_prefix(first)?.strip_prefix(' ')).collect()
}

impl Flags {
    /// A flag that a command does not know is a mistake, not a detail.
    fn only_for(&self, name: &str) -> Result<(), UsageError> {
        let given = [
            ("--product", self.product.is_some(), &TAKE_A_PRODUCT[..]),
            ("--json", self.json, &["status", "get", "watch"]),
            ("--watch", self.watch, &["status"]),
            ("--origin", self.origin, &["config show"]),
        ];
        match given.iter().find(|(_, given, commands)| *given && !commands.contains(&name)) {
            Some((flag, ..)) => Err(shape(format!("`polylink {name}` takes no {flag}"))),
            None => Ok(()),
        }
    }
}

fn pair(word: &str, form: &str) -> Result<(String, String), UsageError> {
    match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        // The word itself may be a secret that lost its key.
        _ => Err(shape(format!("expected {form}"))),
    }
}

fn shape(sentence: impl Into<String>) -> UsageError {
    UsageError::Shape(sentence.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<Command, &str>) {
        let found = parse(line.split_whitespace().map(OsString::from));
        let found = found.map(|invocation| invocation.command).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn every_command_is_understood() {
        check("run", Ok(Command::Run));
        check("check --product lamp", Ok(Command::Check { product: Some("lamp".into()) }));
        check("plugin list", Ok(Command::PluginList));
        check("plugin inspect a.so", Ok(Command::PluginInspect { file: "a.so".into() }));
        let install = PluginCommand::Install { file: "a.so".into(), product: Some("lamp".into()) };
        check("plugin install a.so --product lamp", Ok(Command::PluginChange(install)));
        let back = PluginCommand::RollBack { plugin: "deli".into() };
        check("plugin rollback deli", Ok(Command::PluginChange(back)));
        check("product import a.json", Ok(Command::ProductImport { file: "a.json".into() }));
        check("--json status --watch", Ok(Command::Status { watch: true, json: true }));
        check("get power", Ok(Command::Get { names: vec!["power".into()], json: false }));
        check(
            "set power=on text=a=b",
            Ok(Command::Set { values: vec![("power".into(), "on".into()), ("text".into(), "a=b".into())] }),
        );
        check("log", Ok(Command::Log));
        check("launch", Ok(Command::Launch));
        check("ota keygen a.pem", Ok(Command::Ota(OtaCommand::Keygen { file: "a.pem".into() })));
        let values = vec![("key".into(), "a.pem".into())];
        let sign = OtaCommand::Sign { file: "in".into(), out: "out".into(), values };
        check("ota sign in out key=a.pem", Ok(Command::Ota(sign)));
        let product = Some("lamp".to_owned());
        check("ota install out --product lamp", Ok(Command::Ota(OtaCommand::Install { file: "out".into(), product })));
        check("ota verify out", Ok(Command::Ota(OtaCommand::Verify { file: "out".into(), product: None })));
        check("ota status", Ok(Command::Ota(OtaCommand::Status)));
        check("ota confirm", Ok(Command::Ota(OtaCommand::Confirm)));
        check("ota rollback", Ok(Command::Ota(OtaCommand::Rollback)));
        check("config show --origin", Ok(Command::ConfigShow { origin: true, product: None }));
        check("set --help", Ok(Command::Help(Some("set".into()))));
        check("plugin --help", Ok(Command::Help(Some("plugin".into()))));
        check("--help", Ok(Command::Help(None)));
        check("--version", Ok(Command::Version));
    }

    #[test]
    fn options_are_understood_anywhere() {
        let line = ["run", "--set", "mcu.port=/dev/x", "--config-dir=/x", "--socket", "/y"];
        let options = parse(line.map(OsString::from)).expect("right").options;
        let set = vec![("mcu.port".to_owned(), "/dev/x".to_owned())];
        assert_eq!(options, Options { config_dir: "/x".into(), set, socket: Some("/y".into()) });
    }

    #[test]
    fn a_wrong_line_is_answered_with_what_is_wrong() {
        check("", Err("no command; the usual one is `run`"));
        check("stauts", Err("there is no command `stauts`; did you mean `status`?"));
        check("config shwo", Err("there is no command `config shwo`; did you mean `config show`?"));
        check("plugin", Err("`polylink plugin` needs one more word: list, inspect, install, rollback"));
        check("run fast", Err("`polylink run` takes no `fast`"));
        check("run --json", Err("`polylink run` takes no --json"));
        check("set power", Err("expected NAME=VALUE"));
        check("ota sign in", Err("`polylink ota sign` takes a FILE, the signed FILE, and NAME=VALUE..."));
        check("set", Err("`polylink set` takes at least one NAME=VALUE"));
        check("run --bogus", Err("invalid option '--bogus'"));
    }
}
