//! Images on this device: verified by its policy, installed by its backend.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::{Done, device, image_of, read};
use crate::config::update::{Backend, directory, slots_directory};
use crate::config::{HostConfig, ProductKey};
use crate::disk::Directory;
use crate::plugins::installed::candidate::Candidate;
use crate::update::floors::Floors;
use crate::update::hook::{Installed, Order, UpdateHook};
use crate::update::manifest::{Target, Verified, hex};
use crate::update::slots::SlotError;
use crate::update::slots::directory::OpenSlots;
use crate::update::slots::state::{Boot, Slot};

/// The file, open, and the proof that it may be installed.
pub(super) fn verify(config: &HostConfig, file: &Path, product: Option<&str>) -> Result<(File, Verified), String> {
    let product = product_key(config, product)?;
    let mut floor = floors(config)?.of(Target::Module);
    if config.update.backend == Backend::Slots {
        floor = floor.max(slots(config)?.slots.state().floor());
    }
    let mut image = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let contents = read(&mut image, file)?;
    let policy = config.update.policy();
    let proof = policy.verify(&device(&product, floor), contents.manifest.as_deref(), &contents.image);
    Ok((image, proof.map_err(|why| format!("{}: {why}", file.display()))?))
}

/// Whether a plugin file may be installed, but for its counter: that is the plugin's own, and which plugin it is, is known
/// only to who loads it. None: it is signed as something else, or not at all.
pub(super) fn verify_plugin(
    config: &HostConfig,
    file: &Path,
    product: Option<&str>,
) -> Result<Option<Verified>, String> {
    let policy = config.update.policy();
    let candidate = Candidate::open(file, config.update.max_bytes as u64)?;
    if candidate.target(&policy) != Some(Target::Plugin) {
        return Ok(None);
    }
    candidate.verify(&policy, &product_key(config, product)?, 0).map(Some)
}

/// Installs it, to be started next.
pub(super) fn install(config: &HostConfig, file: &Path, product: Option<&str>) -> Done {
    let (mut image, proof) = verify(config, file, product)?;
    image.seek(SeekFrom::Start(0)).map_err(|error| format!("{}: {error}", file.display()))?;
    let counter = proof.manifest().map(|manifest| manifest.counter);
    let said = match config.update.backend {
        Backend::None => return Err(NO_BACKEND.to_owned()),
        Backend::Slots => {
            let mut open = slots(config)?;
            let installed = open.slots.install(&proof, &mut image, BY_HAND, config.update.tries);
            let slot = installed.map_err(|error| error.to_string())?;
            let tries = config.update.tries;
            format!(
                "installed in slot {}; it runs from the next `polylink launch` on, {tries} starts at most until it is \
                     confirmed",
                slot.as_str()
            )
        }
        Backend::Hook => {
            let product = product_key(config, product)?;
            let order = order(&product);
            let place = directory(&config.host.state_dir).join(BY_HAND_IMAGE);
            let installed = plain_copy(image, &proof, &place)
                .map_err(|error| format!("{}: {error}", place.display()))
                .and_then(|()| {
                    with_hook(config, async |hook| {
                        hook.check(&proof, order, &place).await?;
                        hook.install(&proof, order, &place).await
                    })
                });
            let _ = fs::remove_file(&place);
            match installed? {
                Installed::NeedsRestart => "installed; it runs after a restart of the device".to_owned(),
                Installed::Runs => "installed; it runs".to_owned(),
            }
        }
    };
    let remembered = floors(config)?.installed(Target::Module, counter);
    remembered.map_err(|error| format!("{said}; but its counter is not remembered: {error}"))?;
    Ok(said)
}

/// How the backend stands.
pub(super) fn status(config: &HostConfig) -> Done {
    let floor = floors(config)?.of(Target::Module);
    match config.update.backend {
        Backend::None => Ok("backend none: nothing is installed on this module".to_owned()),
        Backend::Hook => {
            let product = product_key(config, None)?;
            let standing = with_hook(config, async |hook| hook.status(order(&product)).await)?;
            Ok(format!("backend hook: {standing:?}\ncounter {floor} was confirmed"))
        }
        Backend::Slots => {
            let open = slots(config)?;
            let state = open.slots.state();
            let mut text = format!("backend slots: {} is good", state.good.as_str());
            if let Some(trial) = state.trial {
                text += &format!("\nslot {} is on trial, {} more starts", trial.slot.as_str(), trial.tries);
            } else if state.failed.is_some() {
                text += "\nthe last trial failed";
            }
            for slot in [Slot::A, Slot::B] {
                text += &match state.release(slot) {
                    None => format!("\nslot {}: empty", slot.as_str()),
                    Some(release) => {
                        let version = release.version.as_ref().map_or("without a manifest", |version| version.as_str());
                        format!("\nslot {}: {version}, sha256 {}", slot.as_str(), hex(&release.sha256))
                    }
                };
            }
            Ok(format!("{text}\ncounter {} was confirmed", floor.max(state.floor())))
        }
    }
}

/// What is on trial is good.
pub(super) fn confirm(config: &HostConfig) -> Done {
    match config.update.backend {
        Backend::None => return Err(NO_BACKEND.to_owned()),
        Backend::Slots => slots(config)?.slots.confirm().map_err(|error| error.to_string())?,
        Backend::Hook => {
            let product = product_key(config, None)?;
            with_hook(config, async |hook| hook.confirm(order(&product)).await)?;
        }
    }
    floors(config)?.confirmed(Target::Module).map_err(|error| format!("confirmed, but not its counter: {error}"))?;
    Ok("confirmed".to_owned())
}

/// What ran before is to run again.
pub(super) fn roll_back(config: &HostConfig) -> Done {
    let said = match config.update.backend {
        Backend::None => return Err(NO_BACKEND.to_owned()),
        Backend::Slots => match slots(config)?.slots.roll_back() {
            Ok(Boot::Factory) => "what the device was made with runs from the next `polylink launch` on".to_owned(),
            Ok(Boot::Slot(slot)) => format!("slot {} runs from the next `polylink launch` on", slot.as_str()),
            Err(error @ (SlotError::NoPrevious | SlotError::Io(_))) => return Err(error.to_string()),
            Err(error) => return Err(format!("nothing is changed: {error}")),
        },
        Backend::Hook => {
            let product = product_key(config, None)?;
            with_hook(config, async |hook| hook.roll_back(order(&product)).await)?;
            "what ran before runs after a restart of the device".to_owned()
        }
    };
    floors(config)?.installed(Target::Module, None).map_err(|error| error.to_string())?;
    Ok(said)
}

fn product_key(config: &HostConfig, product: Option<&str>) -> Result<ProductKey, String> {
    let named = match product {
        Some(key) => ProductKey::parse(key).ok_or_else(|| format!("--product: {}", ProductKey::EXPECTED))?,
        None => {
            config.mcu.product_key.clone().ok_or("which product? Name it with --product, or set mcu.product_key")?
        }
    };
    Ok(named)
}

fn floors(config: &HostConfig) -> Result<Floors, String> {
    let disk = Directory::new(directory(&config.host.state_dir));
    Floors::open(Arc::new(disk)).map_err(|error| format!("the counters that were confirmed cannot be read: {error}"))
}

fn slots(config: &HostConfig) -> Result<OpenSlots, String> {
    let place = slots_directory(&config.host.state_dir);
    OpenSlots::open(&place).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => "another polylink works on the slots".to_owned(),
        _ => format!("{}: {error}", place.display()),
    })
}

/// The image alone, as installers know it.
fn plain_copy(image: File, proof: &Verified, place: &Path) -> io::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(place)?;
    let size = io::copy(&mut image_of(image, proof.facts().size), &mut file)?;
    file.sync_all()?;
    // Somebody may have written to the file meanwhile; what is handed over is what was verified.
    let contents = crate::update::trailer::read(&mut File::open(place)?)?;
    if size != proof.facts().size || contents.image.sha256 != proof.facts().sha256 {
        return Err(io::Error::other("the image is not the one that was verified"));
    }
    Ok(())
}

fn with_hook<T>(
    config: &HostConfig,
    call: impl AsyncFnOnce(&UpdateHook) -> Result<T, crate::update::hook::HookError>,
) -> Result<T, String> {
    let hook = config.update.hook().ok_or("[update] hook names no program")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(call(&hook)).map_err(|error| error.to_string())
}

const fn order(product: &ProductKey) -> Order<'_> {
    Order { operation: BY_HAND, product, target: Target::Module, device: 0 }
}

/// The operation of what is installed by hand; those of clouds begin with 1.
const BY_HAND: u64 = 0;

/// What a program gets that installs. Chosen by us.
const BY_HAND_IMAGE: &str = "by-hand.image";

const NO_BACKEND: &str = "nothing installs images here: [update] backend is \"none\"";
