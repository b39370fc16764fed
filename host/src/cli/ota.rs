//! `polylink ota …`: keys, signatures, and images that are installed by hand.
//!
//! `keygen`, `sign` and `verify` work on files, on any machine. The others work on this device's backend and its files,
//! while no host needs to run.

pub mod device;
pub mod keys;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Exit;
use super::arguments::Options;
use super::table::printable;
use crate::config::{HostConfig, ProductKey};
use crate::update::manifest::{Device, Manifest, Target, Version, hex};
use crate::update::trailer::{self, Contents};

/// One of the commands.
#[derive(Debug, PartialEq, Eq)]
pub enum OtaCommand {
    /// Make a key.
    Keygen {
        /// Where the private one goes.
        file: PathBuf,
    },
    /// Sign an image.
    Sign {
        /// The image.
        file: PathBuf,
        /// The signed file.
        out: PathBuf,
        /// `key`, `product`, `target`, `version`, `counter`.
        values: Vec<(String, String)>,
    },
    /// Would it be installed here?
    Verify {
        /// The signed file.
        file: PathBuf,
        /// For this product; none: the configured one.
        product: Option<String>,
    },
    /// Install it.
    Install {
        /// The signed file.
        file: PathBuf,
        /// As for `Verify`.
        product: Option<String>,
    },
    /// How does the backend stand?
    Status,
    /// What runs is good.
    Confirm,
    /// What ran before is to run again.
    Rollback,
}

/// A sentence for people.
type Done = Result<String, String>;

pub(super) fn run(
    command: &OtaCommand,
    options: &Options,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    let done = match command {
        OtaCommand::Keygen { file } => keygen(file),
        OtaCommand::Sign { file, out, values } => sign(file, out, values),
        OtaCommand::Verify { file, product } => with_config(options, err, |config| {
            let plugin = device::verify_plugin(config, file, product.as_deref())?;
            let counted = if plugin.is_some() { "; its counter is looked at when it is installed" } else { "" };
            let proof = match plugin {
                Some(proof) => proof,
                None => device::verify(config, file, product.as_deref())?.1,
            };
            let facts = proof.facts();
            let by = proof.manifest().map_or_else(
                || "no manifest, and none is required".to_owned(),
                |manifest| format!("version {}, counter {}, signed", manifest.version, manifest.counter),
            );
            Ok(format!("good: {} bytes, sha256 {}, {by}{counted}", facts.size, hex(&facts.sha256)))
        })?,
        OtaCommand::Install { file, product } => {
            with_config(options, err, |config| device::install(config, file, product.as_deref()))?
        }
        OtaCommand::Status => with_config(options, err, device::status)?,
        OtaCommand::Confirm => with_config(options, err, device::confirm)?,
        OtaCommand::Rollback => with_config(options, err, device::roll_back)?,
    };
    match done {
        Ok(text) => {
            writeln!(out, "{}", text.lines().map(printable).collect::<Vec<_>>().join("\n"))?;
            Ok(Exit::Done)
        }
        Err(why) => {
            writeln!(err, "polylink: {}", printable(&why))?;
            Ok(Exit::Failed)
        }
    }
}

fn with_config(options: &Options, err: &mut dyn Write, work: impl FnOnce(&HostConfig) -> Done) -> io::Result<Done> {
    Ok(match super::load_host(options, err) {
        Ok(config) => work(&config),
        Err(_) => Err("nothing is done with a wrong configuration".to_owned()),
    })
}

fn keygen(file: &Path) -> Done {
    let key = keys::generate()?;
    // Never over another key, and never readable for others, not even for a moment.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    made.and_then(|mut made| made.write_all(key.pem().as_bytes()).and_then(|()| made.sync_all()))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(format!("{}", key.public()?))
}

fn sign(file: &Path, out: &Path, values: &[(String, String)]) -> Done {
    if let Some((name, _)) = values.iter().find(|(name, _)| !SIGN_VALUES.contains(&name.as_str())) {
        return Err(format!("there is no `{name}`; known are {}", SIGN_VALUES.join(", ")));
    }
    let value = |name: &str| {
        let mut found = values.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(format!("missing: {name}=…")),
            _ => Err(format!("{name} is given twice")),
        }
    };
    let key = keys::read(Path::new(value("key")?))?;
    let product = ProductKey::parse(value("product")?).ok_or_else(|| format!("product: {}", ProductKey::EXPECTED))?;
    let target = Target::parse(value("target")?).ok_or("target: module, mcu, subdevice or plugin")?;
    let version = Version::parse(value("version")?).ok_or("version: 1 to 64 visible ASCII characters")?;
    let counter = value("counter")?.parse().map_err(|_| "counter: a whole number".to_owned())?;
    let mut image = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let Contents { image: facts, manifest } = read(&mut image, file)?;
    if manifest.is_some() {
        return Err(format!("{} has a manifest already", file.display()));
    }
    let manifest = Manifest { product, target, version, counter, facts };
    let signed = manifest.sign(&key.pair()?);
    let copied = copy(file, out, &trailer::trailer(&signed));
    copied.map_err(|error| format!("{}: {error}", out.display()))?;
    Ok(format!("{}: {} bytes, sha256 {}, signed by {}", out.display(), facts.size, hex(&facts.sha256), key.public()?))
}

fn copy(from: &Path, to: &Path, trailer: &[u8]) -> io::Result<()> {
    let new = to.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.write_all(trailer)?;
    file.sync_all()?;
    fs::rename(new, to)
}

fn read(file: &mut File, name: &Path) -> Result<Contents, String> {
    trailer::read(file).map_err(|error| format!("{}: {error}", name.display()))
}

/// The image in the file, without what is behind it.
fn image_of(file: File, size: u64) -> io::Take<File> {
    file.take(size)
}

fn device<'a>(product: &'a ProductKey, floor: u64) -> Device<'a> {
    Device { product, target: Target::Module, floor }
}

const SIGN_VALUES: [&str; 5] = ["key", "product", "target", "version", "counter"];

#[cfg(test)]
mod tests;
