//! A product's own update program for the module, as `docs/UPDATES.md` describes one: a shell script that keeps the image,
//! and has the host say the version of the image from its next start on. It restarts the host by ending it, so somebody has
//! to start it again, as [`crate::rig::Rig::start_service`] does.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::owner::Owner;
use crate::rig::{Rig, RigError};

/// An installed update program, and what it does to the host's configuration.
#[derive(Debug)]
pub struct Installer {
    dir: PathBuf,
}

/// How an installation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// It is there after a restart, and is good.
    Good,
    /// It fails before anything is changed.
    Fails,
    /// It does not come up after the restart, and what ran before runs again.
    StepsBack,
}

impl Installer {
    /// Puts the program beside a host that does not run, as the one for its module; images must be signed by this owner.
    pub fn beside(rig: &Rig, owner: &Owner) -> Result<Self, RigError> {
        let installer = Self { dir: rig.dir().join("installer") };
        let program = installer.dir.join("program");
        let section = format!(
            "[update]\nbackend = \"hook\"\nhook = {:?}\nkeys = [\"{}\"]\nhealth_s = 30\nretry_s = 1\n",
            program.display().to_string(),
            owner.public_key()
        );
        let write = || {
            std::fs::create_dir(&installer.dir)?;
            std::fs::write(&program, PROGRAM)?;
            std::fs::set_permissions(&program, Permissions::from_mode(0o700))?;
            let file = rig.dir().join("conf.d/60-update.toml");
            std::fs::write(&file, section)?;
            std::fs::set_permissions(&file, Permissions::from_mode(0o600))
        };
        write().map_err(|error: io::Error| RigError::new(format!("update program: {error}")))?;
        Ok(installer)
    }

    /// Decides how the next installations go.
    pub fn behave(&self, manners: Manners) -> Result<(), RigError> {
        let file = self.dir.join("manners");
        let done = std::fs::write(file, format!("{manners:?}\n"));
        done.map_err(|error| RigError::new(format!("update program: {error}")))
    }

    /// What it was called for so far, in order.
    pub fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// The image that was installed last.
    pub fn installed(&self) -> Option<Vec<u8>> {
        std::fs::read(self.dir.join("installed")).ok()
    }
}

const PROGRAM: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
umask 077
echo "$1" >> calls
manners=$(cat manners 2> /dev/null)
case "$1" in
install)
    if [ "$manners" = Fails ]; then
        echo "the flash is worn out"
        exit 1
    fi
    cp "$POLYLINK_IMAGE" installed || exit 1
    printf '[module]\nsoftware = "%s"\n' "$POLYLINK_VERSION" > ../conf.d/70-installed.toml || exit 1
    echo trial > standing
    ;;
restart)
    if [ "$manners" = StepsBack ]; then
        rm ../conf.d/70-installed.toml
        echo back > standing
    fi
    kill -TERM "$PPID"
    ;;
confirm)
    rm -f standing
    ;;
rollback)
    rm -f ../conf.d/70-installed.toml
    echo back > standing
    ;;
status)
    case "$(cat standing 2> /dev/null)" in
    trial) exit 20 ;;
    back) exit 21 ;;
    esac
    ;;
esac
exit 0
"#;
