//! The pseudo-terminal under the simulated MCU: the test holds the master, the host opens the other end by its path.
//!
//! The other end is held open here as well, so that a host that goes and comes back finds the line alive.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;

/// Both ends of a line without echo, line editing or character translation.
#[derive(Debug)]
pub struct Pty {
    master: AsyncFd<OwnedFd>,
    path: PathBuf,
    _other_end: OwnedFd,
}

impl Pty {
    /// Opens a fresh line; needs a running tokio runtime.
    pub fn open() -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = PathBuf::from(ptsname(&master, Vec::new())?.into_string().map_err(io::Error::other)?);
        let other_end = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let mut raw = tcgetattr(&other_end)?;
        raw.make_raw();
        tcsetattr(&other_end, OptionalActions::Now, &raw)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        // The descriptor lives in the reactor's own wrapper until it is closed, which is what the safe constructor cannot
        // demand of every type.
        #[expect(deprecated, reason = "the replacement is unsafe, and an OwnedFd fulfils what it asks for")]
        let master = AsyncFd::new(master)?;
        Ok(Self { master, path, _other_end: other_end })
    }

    /// What the host opens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for bytes of the host.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.master.readable().await?;
            match ready.try_io(|fd| Ok(rustix::io::read(fd, &mut *buffer)?)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// Writes what fits, at least one byte.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.master.writable().await?;
            match ready.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }
}
