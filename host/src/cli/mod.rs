//! The command line: what is typed becomes a [`Command`], and every command but `run` is carried out here.
//!
//! Exit status: 0 done · 1 not done, or something is wrong (`check`, `set`) · 2 the command line itself is wrong · 3 no
//! running host answers · 4 the configuration is wrong, so the host cannot start. `run` has 75 besides, see
//! [`crate::assemble`].

pub mod arguments;
pub mod check;
pub mod help;
pub mod import;
pub mod ota;
pub mod plugin_change;
pub mod plugin_files;
pub mod remote;
pub mod show;
pub mod status;
pub mod table;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::update::slots_directory;
use crate::config::{Config, HostConfig, Overrides};
use arguments::{Command, Invocation, Options};
use plugin_files::PluginFiles;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0.
    Done = 0,
    /// 1.
    Failed = 1,
    /// 2.
    Usage = 2,
    /// 3.
    NoHost = 3,
    /// 4.
    BadConfig = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Carries out a command line. `run` is the host itself; `plugins` looks into plugin files.
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    plugins: &dyn PluginFiles,
    run: impl FnOnce(HostConfig) -> ExitCode,
) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    match arguments::parse(args) {
        Ok(Invocation { command: Command::Run, options }) => match load_host(&options, &mut err) {
            Ok(config) => run(config),
            Err(exit) => exit.into(),
        },
        Ok(invocation) => execute(&invocation, plugins, &mut out, &mut err).into(),
        Err(usage) => {
            let _ = writeln!(err, "polylink: {usage}\nTry `polylink --help`.");
            Exit::Usage.into()
        }
    }
}

/// Carries out every command but `run`. A reader of `out` who goes away ends the command quietly.
pub fn execute(invocation: &Invocation, plugins: &dyn PluginFiles, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let options = &invocation.options;
    let done = match &invocation.command {
        Command::Run => Ok(Exit::Usage),
        Command::Help(topic) => help::write(topic.as_deref(), out).map(|()| Exit::Done),
        Command::Version => writeln!(out, "polylink {}", env!("CARGO_PKG_VERSION")).map(|()| Exit::Done),
        Command::Check { product } => check::run(options, product.as_deref(), plugins, out),
        Command::ConfigShow { origin, product } => show::run(options, *origin, product.as_deref(), plugins, out, err),
        Command::PluginList => plugin_files::list(options, plugins, out, err),
        Command::PluginInspect { file } => plugin_files::inspect(file, plugins, out, err),
        Command::PluginChange(command) => plugin_change::run(command, options, plugins, out, err),
        Command::ProductImport { file } => import::run(file, out, err),
        Command::Status { watch, json } => remote::status(options, *watch, *json, out, err),
        Command::Get { names, json } => remote::get(options, names, *json, out, err),
        Command::Set { values } => remote::set(options, values, out, err),
        Command::Ota(command) => ota::run(command, options, out, err),
        Command::Launch => {
            let error = launch(options);
            writeln!(err, "polylink: nothing can be started: {error}").map(|()| Exit::Failed)
        }
        Command::Watch { json } => remote::watch(options, *json, out, err),
        Command::Log => remote::log(options, out, err),
    };
    done.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Exit::Done,
        _ => {
            let _ = writeln!(err, "polylink: cannot write: {error}");
            Exit::Failed
        }
    })
}

/// Becomes the release that is to run. A wrong configuration is that program's business to tell; of it, only where the
/// slots are is needed here.
fn launch(options: &Options) -> io::Error {
    let (config, _) = Config::read_host(&options.config_dir, overrides(options));
    let factory = match std::env::current_exe() {
        Ok(factory) => factory,
        Err(error) => return error,
    };
    let mut arguments: Vec<OsString> = vec!["run".into(), "--config-dir".into(), options.config_dir.clone().into()];
    for (key, value) in &options.set {
        arguments.extend(["--set".into(), format!("{key}={value}").into()]);
    }
    if let Some(socket) = &options.socket {
        arguments.extend(["--socket".into(), socket.into()]);
    }
    crate::update::launch::launch(&slots_directory(&config.host.state_dir), factory, &arguments)
}

/// The host's configuration, or every reason why not, written for people.
fn load_host(options: &Options, err: &mut dyn Write) -> Result<HostConfig, Exit> {
    Config::load_host(&options.config_dir, overrides(options)).map_err(|errors| {
        let _ = writeln!(err, "{errors}\npolylink: the configuration is wrong; `polylink check` says everything");
        Exit::BadConfig
    })
}

pub(crate) fn overrides(options: &Options) -> Overrides {
    Overrides::of_process(options.set.clone())
}
