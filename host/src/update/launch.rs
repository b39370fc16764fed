//! `polylink launch`: starts the release that is to run, and counts the starts of one that is on trial.
//!
//! It is a command of this program and not a script, because what reads the state of the slots must be the very code that
//! writes it and is proven with it; and because it ends by becoming the release (`exec`), so that the service manager sees
//! one process. The launcher itself is part of what the device was made with: no update replaces it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::slots::PROGRAM;
use super::slots::directory::OpenSlots;
use super::slots::state::{Boot, Slot};

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Variables beside those that are there.
    pub environment: Vec<(&'static str, OsString)>,
}

/// Becomes the release that is to run. Returns only when nothing could be started.
///
/// `factory` is run where no release is, and where none can be; `arguments` are for whichever it is.
pub fn launch(slots: &Path, factory: PathBuf, arguments: &[OsString]) -> io::Error {
    let become_it = |launch: &Launch| {
        let Launch { program, environment } = launch;
        if let Err(error) = is_for_this_machine(program) {
            return error;
        }
        Command::new(program).args(arguments).envs(environment.iter().map(|(name, value)| (name, value))).exec()
    };
    try_all(slots, factory, become_it)
}

fn try_all(slots: &Path, factory: PathBuf, mut start: impl FnMut(&Launch) -> io::Error) -> io::Error {
    let factory = Launch { program: factory, environment: vec![(SLOT, Boot::Factory.as_str().into())] };
    let mut open = match OpenSlots::wait(slots) {
        Ok(open) => open,
        Err(error) => {
            complain(&format!("the slots in {} cannot be read: {error}", slots.display()));
            return start(&factory);
        }
    };
    loop {
        let on_trial = open.slots.state().trial.is_some();
        let Boot::Slot(slot) = open.slots.start() else { return start(&factory) };
        let release = of_slot(&open, slot);
        // A release that is started holds the lock no more: its file is closed by then.
        let error = start(&release);
        complain(&format!("{} does not start: {error}", release.program.display()));
        if !on_trial {
            return start(&factory);
        }
    }
}

fn of_slot(open: &OpenSlots, slot: Slot) -> Launch {
    let directory = open.path(slot);
    let mut environment = vec![(SLOT, slot.as_str().into())];
    // A release that brings plugins is run with these and no others.
    let plugins = std::fs::read_dir(&directory).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry
                .is_ok_and(|entry| entry.file_name().to_str().and_then(crate::plugins::discover::plugin_name).is_some())
        })
    });
    if plugins && std::env::var_os(PLUGINS).is_none() {
        environment.push((PLUGINS, format!("[{:?}]", directory.display().to_string()).into()));
    }
    // What is configured is the version of what the device was made with, and clouds ask for what runs.
    let version = open.slots.state().release(slot).and_then(|release| release.version.as_ref());
    if let Some(version) = version.filter(|_| std::env::var_os(SOFTWARE).is_none()) {
        environment.push((SOFTWARE, format!("{:?}", version.as_str()).into()));
    }
    Launch { program: directory.join(PROGRAM), environment }
}

/// What the system cannot start, `exec` gives to a shell, which would take the bytes of a foreign program for commands.
fn is_for_this_machine(program: &Path) -> io::Result<()> {
    let start = |path: &Path| {
        let mut start = Vec::new();
        File::open(path)?.take(ELF_START as u64).read_to_end(&mut start)?;
        Ok::<_, io::Error>(start)
    };
    let found = start(program)?;
    if found.starts_with(b"#!") {
        return Ok(());
    }
    let own = start(Path::new("/proc/self/exe"))?;
    // What differs in between is the system that it was made for, which does not matter.
    let machine = |start: &[u8]| Some((start.get(..6)?.to_vec(), start.get(18..ELF_START)?.to_vec()));
    match (machine(&found), machine(&own)) {
        (Some(found), Some(own)) if found == own => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no program for this machine")),
    }
}

/// The launcher has no log: it becomes a program that has one.
fn complain(text: &str) {
    eprintln!("polylink launch: {text}");
}

/// Magic, class and order of bytes in the first six; the machine in the last two (System V ABI, chapter 4, "ELF header").
const ELF_START: usize = 20;

/// Tells a release where it is.
const SLOT: &str = "POLYLINK_SLOT";

/// The setting `plugins.directories`.
const PLUGINS: &str = "POLYLINK__PLUGINS__DIRECTORIES";

/// The setting `module.software`.
const SOFTWARE: &str = "POLYLINK__MODULE__SOFTWARE";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Cursor;
    use std::os::unix::fs::PermissionsExt;

    use super::super::archive::tests::archive;
    use super::super::slots::tests::verified;
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("polylink-launch-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }

        fn install(&self, files: &[(&str, &[u8])]) {
            let image = archive(files);
            let mut open = OpenSlots::open(&self.0).expect("ours");
            open.slots.install(&verified(&image), &mut Cursor::new(&image), 1, 2).expect("fits");
        }

        /// What is tried in a row when nothing can be started.
        #[track_caller]
        fn check(&self, expected: &[&str]) {
            let mut tried = Vec::new();
            try_all(&self.0, "/usr/bin/polylink".into(), |launch| {
                let place = self.0.display().to_string();
                tried.push(format!("{} {:?}", launch.program.display(), launch.environment).replace(&place, ""));
                io::ErrorKind::PermissionDenied.into()
            });
            assert_eq!(tried, expected);
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const FACTORY: &str = "/usr/bin/polylink [(\"POLYLINK_SLOT\", \"factory\")]";

    #[test]
    fn without_a_release_the_device_runs_what_it_was_made_with() {
        Place::new("factory").check(&[FACTORY]);
    }

    #[test]
    fn a_release_that_does_not_start_uses_its_tries_up_and_gives_way() {
        let place = Place::new("tries");
        place.install(&[("polylink", b"x")]);
        let a = "/a/polylink [(\"POLYLINK_SLOT\", \"a\")]";
        place.check(&[a, a, FACTORY]);
        place.check(&[FACTORY]);
        place.install(&[("polylink", b"x")]);
        OpenSlots::open(&place.0).expect("free").slots.confirm().expect("on trial");
        place.check(&[a, FACTORY]);
    }

    #[test]
    fn a_release_runs_with_the_plugins_that_it_brings() {
        let place = Place::new("plugins");
        place.install(&[("polylink", b"x"), ("libpolylink_deli.so", b"y")]);
        let a = r#"/a/polylink [("POLYLINK_SLOT", "a"), ("POLYLINK__PLUGINS__DIRECTORIES", "[\"/a\"]")]"#;
        place.check(&[a, a, FACTORY]);
        let mode = |name: &str| fs::metadata(place.0.join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("a"), mode("lock")), (0o700, 0o600));
    }

    #[test]
    fn a_release_is_a_program_that_runs() {
        let place = Place::new("runs");
        let script = b"#!/bin/sh\necho slot $POLYLINK_SLOT, $1\n";
        place.install(&[("polylink", script)]);
        let open = OpenSlots::open(&place.0).expect("free");
        let Launch { program, environment } = of_slot(&open, Slot::A);
        let mut command = Command::new(program);
        command.arg("run").envs(environment);
        let ran = loop {
            match command.output() {
                // A child of another test holds the file that was written here, for the moment of its start.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                ran => break ran.expect("it runs"),
            }
        };
        assert_eq!(ran.stdout, b"slot a, run\n");
    }

    #[test]
    fn only_scripts_and_programs_for_this_machine_are_started() {
        let own = fs::read("/proc/self/exe").expect("it runs");
        let with = |at: usize, byte: u8| [&own[..at], &[byte], &own[at + 1..ELF_START]].concat();
        let place = Place::new("machine");
        fs::create_dir(&place.0).expect("it was not there");
        for (bytes, fits) in [
            (own.as_slice(), true),
            (&own[..ELF_START], true),
            (b"#!/bin/sh\n", true),
            (&with(7, !own[7]), true),
            (&with(4, !own[4]), false),
            (&with(18, !own[18]), false),
            (&own[..ELF_START - 1], false),
            (b"rm -r /", false),
            (b"", false),
        ] {
            let file = place.0.join("program");
            fs::write(&file, bytes).expect("a file can be made");
            assert_eq!(is_for_this_machine(&file).is_ok(), fits, "{:?}", &bytes[..bytes.len().min(ELF_START)]);
        }
        assert!(is_for_this_machine(&place.0.join("none such")).is_err());
    }

    #[test]
    fn slots_that_somebody_has_are_nobody_elses() {
        let place = Place::new("lock");
        let open = OpenSlots::open(&place.0).expect("free");
        let error = OpenSlots::open(&place.0).err().expect("taken");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(open);
        OpenSlots::open(&place.0).expect("free again");
    }
}
