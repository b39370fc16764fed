//! `polylink plugin install` and `rollback`: by the running host, which swaps at once, or on the files that the next one
//! finds.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::arguments::Options;
use super::plugin_files::{PluginFiles, find_built_in};
use super::remote::{connect, sorry};
use super::table::printable;
use super::{Exit, load_host};
use crate::admin::client::{Client, ClientError};
use crate::admin::{Answer, Request};
use crate::config::update::plugins_directory;
use crate::config::{HostConfig, ProductKey};
use crate::plugins::discover::discover;
use crate::plugins::installed::candidate::{Candidate, described};
use crate::plugins::installed::directory::{OpenInstalled, check_owner, sha256_of};
use crate::plugins::installed::state::{Release, Source, Trial};
use crate::update::manifest::Version;

/// One of the commands.
#[derive(Debug, PartialEq, Eq)]
pub enum PluginCommand {
    /// Install a file.
    Install {
        /// Which.
        file: PathBuf,
        /// For this product, where no host runs that knows; none: the configured one.
        product: Option<String>,
    },
    /// Use the file before it again.
    RollBack {
        /// The plugin's name.
        plugin: String,
    },
}

pub(super) fn run(
    command: &PluginCommand,
    options: &Options,
    plugins: &dyn PluginFiles,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    match connect(options) {
        Ok(client) => by_the_host(client, &request(command), out, err),
        Err(ClientError::NotRunning { .. }) => {
            let done = match load_host(options, err) {
                Ok(config) => on_the_files(command, &config, plugins, out)?,
                Err(_) => Err("nothing is done with a wrong configuration".to_owned()),
            };
            match done {
                Ok(text) => writeln!(out, "{}", printable(&text)).map(|()| Exit::Done),
                Err(why) => writeln!(err, "polylink: {}", printable(&why)).map(|()| Exit::Failed),
            }
        }
        Err(error) => sorry(Err(error), err),
    }
}

fn request(command: &PluginCommand) -> Request {
    match command {
        PluginCommand::Install { file, .. } => {
            // The host has another working directory.
            Request::PluginInstall { file: std::path::absolute(file).unwrap_or_else(|_| file.clone()) }
        }
        PluginCommand::RollBack { plugin } => Request::PluginRollback { plugin: plugin.clone() },
    }
}

fn by_the_host(mut client: Client, request: &Request, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    let mut answer = client.ask(request);
    loop {
        match answer {
            Ok(Answer::Step(step)) => {
                writeln!(out, "{}", printable(&step))?;
                out.flush()?;
            }
            Ok(Answer::Done(text)) => return writeln!(out, "{}", printable(&text)).map(|()| Exit::Done),
            answer => return sorry(answer, err),
        }
        answer = client.next();
    }
}

fn on_the_files(
    command: &PluginCommand,
    config: &HostConfig,
    plugins: &dyn PluginFiles,
    out: &mut dyn Write,
) -> io::Result<Result<String, String>> {
    let done = match command {
        PluginCommand::Install { file, product } => install(config, file, product.as_deref(), plugins, out),
        PluginCommand::RollBack { plugin } => roll_back(config, plugin),
    };
    Ok(done)
}

fn install(
    config: &HostConfig,
    file: &Path,
    product: Option<&str>,
    plugins: &dyn PluginFiles,
    out: &mut dyn Write,
) -> Result<String, String> {
    let product = match product {
        Some(key) => ProductKey::parse(key).ok_or_else(|| format!("--product: {}", ProductKey::EXPECTED))?,
        None => {
            config.mcu.product_key.clone().ok_or("which product? Name it with --product, or set mcu.product_key")?
        }
    };
    let mut open = open(config)?;
    let done = install_in(&mut open, config, file, &product, plugins, out);
    if done.is_err() {
        open.installed.unstage();
    }
    done
}

fn install_in(
    open: &mut OpenInstalled,
    config: &HostConfig,
    file: &Path,
    product: &ProductKey,
    plugins: &dyn PluginFiles,
    out: &mut dyn Write,
) -> Result<String, String> {
    let update = &config.update;
    let mut candidate = Candidate::open(file, update.max_bytes as u64)?;
    let proof = candidate.verify(&update.policy(), product, 0)?;
    let staged = open.installed.stage(&proof, &mut candidate.file, update.reserve_bytes as u64);
    staged.map_err(|error| error.to_string())?;
    // Whether somebody reads it does not matter for what is done.
    let _ = writeln!(out, "{}", printable(&format!("verified: {}", described(&proof))));
    let facts = plugins.inspect(&plugins_directory(&config.host.state_dir).join(candidate.file_name())).outcome?;
    if !facts.missing_services.is_empty() {
        return Err(format!("this host does not offer {}", facts.missing_services.join(", ")));
    }
    let proof = candidate.verify(&update.policy(), product, open.installed.floor(&facts.name))?;
    let version = Version::parse(&facts.version).ok_or("its version is not 1 to 64 visible ASCII characters")?;
    let counter = proof.manifest().map(|manifest| manifest.counter);
    let release = Release { facts: *proof.facts(), version, counter };
    let directories = &config.plugins.directories;
    let built_in = discover(directories).files.remove(&facts.name);
    let built_in = built_in.or_else(|| Some(find_built_in(&plugins.list(directories), &facts.name)?.path.clone()));
    let built_in = built_in.as_deref().and_then(sha256_of);
    let entry = open.installed.entry(&facts.name).filter(|entry| entry.built_in == built_in);
    if entry.is_some_and(|entry| entry.trial.is_none() && entry.good == Source::Installed(release.clone())) {
        return Ok(format!("plugin {} {} is installed already", facts.name, facts.version));
    }
    // Nobody knows whether its clouds can be reached when the host starts next.
    let trial = Trial { release, tries: update.tries, must_be_online: false };
    open.installed.try_out(&facts.name, built_in, trial, false).map_err(|error| error.to_string())?;
    let (name, version, tries) = (facts.name, facts.version, update.tries);
    Ok(format!("staged: plugin {name} {version} is on trial from the next start of the host on, for {tries} starts"))
}

fn roll_back(config: &HostConfig, plugin: &str) -> Result<String, String> {
    let mut open = open(config)?;
    open.installed.roll_back(plugin).map_err(|error| error.to_string())?;
    let version = match open.installed.entry(plugin).and_then(|entry| entry.good.release()) {
        Some(release) => release.version.to_string(),
        None => "built-in".to_owned(),
    };
    Ok(format!("plugin {plugin} {version} is used from the next start of the host on"))
}

fn open(config: &HostConfig) -> Result<OpenInstalled, String> {
    check_owner(&config.host.state_dir)?;
    let directory = plugins_directory(&config.host.state_dir);
    OpenInstalled::open(&directory).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => "another polylink has the installed plugins, and does not answer".to_owned(),
        _ => format!("{}: {error}", directory.display()),
    })
}
