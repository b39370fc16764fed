//! The product's own program for updates (`docs/UPDATES.md`): it notes each call, keeps what it is to install, and answers as
//! the test says. One that acts does the rest by itself, as that of a device would.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::owner::Owner;
use crate::rig::{Rig, RigError};

/// Statuses of `install` and `status` (`docs/UPDATES.md`).
pub const NEEDS_RESTART: u8 = 0;
/// What was installed runs.
pub const RUNS: u8 = 20;
/// What runs is on trial.
pub const ON_TRIAL: u8 = 20;
/// What ran before runs again.
pub const STEPPED_BACK: u8 = 21;

/// The program in the directory of a rig.
#[derive(Debug)]
pub struct Installer {
    dir: PathBuf,
}

impl Installer {
    /// Puts it into the directory of a host that does not run yet, and lets that host install by it what this owner signed.
    pub fn put(rig: &Rig, owner: &Owner) -> Result<Self, RigError> {
        let dir = rig.dir().join("installer");
        let program = dir.join("update");
        let put = || {
            std::fs::create_dir(&dir)?;
            write(&program, PROGRAM, 0o700)?;
            let (hook, key) = (program.display(), owner.public_key());
            let section = format!("[update]\nbackend = \"hook\"\nhook = \"{hook}\"\nkeys = [\"{key}\"]\n");
            write(&rig.dir().join("conf.d/60-update.toml"), &section, 0o600)
        };
        put().map_err(failed)?;
        Ok(Self { dir })
    }

    /// The same with one that acts: where the test says nothing, it has the host tell the version of the image from its next
    /// start on, ends the host for a restart, so that somebody has to start it again ([`Rig::start_service`]), and knows how
    /// things stand.
    pub fn put_acting(rig: &Rig, owner: &Owner) -> Result<Self, RigError> {
        let installer = Self::put(rig, owner)?;
        installer.note("acts", "")?;
        Ok(installer)
    }

    /// The status with which it answers such calls from now on; 0 unless told otherwise.
    pub fn says(&self, phase: &str, status: u8) -> Result<(), RigError> {
        self.note(phase, &status.to_string())
    }

    /// What one that acts installs does not come up after the restart, and what ran before runs again.
    pub fn steps_back(&self) -> Result<(), RigError> {
        self.note("steps-back", "")
    }

    /// It ends the host without warning the next time that it is called with this.
    pub fn crashes_at(&self, phase: &str) -> Result<(), RigError> {
        self.note(&format!("crash-at-{phase}"), "")
    }

    /// From now on it waits in the middle of an installation for a line in this.
    pub fn waits(&self) -> Result<File, RigError> {
        let gate = self.dir.join("gate");
        let made = Command::new("mkfifo").arg(&gate).status().map_err(failed)?;
        if !made.success() {
            return Err(RigError::new(format!("installer: mkfifo: {made}")));
        }
        // Open at both ends, so that nobody waits for whoever opens the other one.
        File::options().read(true).write(true).open(gate).map_err(failed)
    }

    /// What it was called with so far, in order.
    pub fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// What it has installed last.
    pub fn installed(&self) -> Vec<u8> {
        std::fs::read(self.dir.join("installed")).unwrap_or_default()
    }

    /// Whose firmware it was told to install so far: the target, and the index of the subdevice or 0.
    pub fn targets(&self) -> Vec<String> {
        let targets = std::fs::read_to_string(self.dir.join("targets")).unwrap_or_default();
        targets.lines().map(str::to_owned).collect()
    }

    /// Waits until it was called with this so often.
    pub async fn called(&self, rig: &Rig, phase: &str, n: usize) -> Result<(), RigError> {
        let is_called = || self.calls().iter().filter(|call| *call == phase).count() >= n;
        rig.until(&format!("call {n} of {phase}"), |_| is_called()).await.map(drop)
    }

    fn note(&self, name: &str, text: &str) -> Result<(), RigError> {
        std::fs::write(self.dir.join(name), text).map_err(failed)
    }
}

/// The version that the module tells from the next start on, as that of another release would be.
pub fn release(rig: &Rig, software: &str) -> Result<(), RigError> {
    let section = format!("[module]\nsoftware = \"{software}\"\n");
    write(&rig.dir().join("conf.d/70-release.toml"), &section, 0o600).map_err(failed)
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn failed(error: io::Error) -> RigError {
    RigError::new(format!("installer: {error}"))
}

const PROGRAM: &str = r#"#!/bin/sh
umask 077
dir=${0%/*}
release=$dir/../conf.d/70-release.toml
echo "$1" >>"$dir/calls"
[ "$1" != install ] || [ ! -p "$dir/gate" ] || read -r _ <"$dir/gate"
[ ! -e "$dir/crash-at-$1" ] || { rm "$dir/crash-at-$1"; kill -9 "$PPID"; exit 1; }
[ "$1" != install ] || cat "$POLYLINK_IMAGE" >"$dir/installed"
[ "$1" != install ] || echo "$POLYLINK_TARGET $POLYLINK_DEVICE" >>"$dir/targets"
[ ! -e "$dir/$1" ] || exit "$(cat "$dir/$1")"
[ -e "$dir/acts" ] || exit 0
case "$1" in
install)
    printf '[module]\nsoftware = "%s"\n' "$POLYLINK_VERSION" >"$release" || exit 1
    echo 20 >"$dir/status"
    ;;
restart)
    [ ! -e "$dir/steps-back" ] || { rm "$release"; echo 21 >"$dir/status"; }
    kill "$PPID"
    ;;
confirm)
    rm -f "$dir/status"
    ;;
rollback)
    rm -f "$release"
    echo 21 >"$dir/status"
    ;;
esac
"#;
