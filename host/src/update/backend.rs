//! What installs images, behind one trait: slots, the product's program, the line to the MCU.
//!
//! Every installation asks for a [`Verified`] and installs no byte that it does not cover.

mod line;
mod program;
mod slots;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::hook::{Installed, Order, Standing};
use super::manifest::Verified;
use super::trailer;

pub use line::LineBackend;
pub use program::ProgramBackend;
pub use slots::SlotsBackend;

/// Installs images of one target. One call at a time.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Installs the image. `progress` gets percents, where they are known.
    ///
    /// # Errors
    /// Why not, for people; what ran before runs on.
    async fn install(
        &self,
        proof: Arc<Verified>,
        order: Order<'_>,
        image: &ImageFile,
        progress: &(dyn Fn(u8) + Sync),
    ) -> Result<Installed, String>;

    /// Gives the installation of this operation up, if it can still be, also one that has yet to begin. `install` ends by it.
    fn stop(&self, _operation: u64) {}

    /// How things stand with this order, asked after a start of the host.
    ///
    /// # Errors
    /// It cannot be told.
    async fn standing(&self, order: Order<'_>) -> Result<Standing, String>;

    /// Restarts what must be restarted for the new version, or begins to.
    ///
    /// # Errors
    /// It cannot.
    async fn restart(&self, order: Order<'_>) -> Result<(), String>;

    /// What runs is good.
    ///
    /// # Errors
    /// It may be tried again.
    async fn confirm(&self, order: Order<'_>) -> Result<(), String>;

    /// What ran before is to run after the next restart.
    ///
    /// # Errors
    /// It cannot.
    async fn roll_back(&self, order: Order<'_>) -> Result<(), String>;
}

/// A file with an image at its beginning, in a directory of the host's own.
#[derive(Clone, Debug)]
pub struct ImageFile {
    path: PathBuf,
}

impl ImageFile {
    /// The file at this place.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// To read it. Blocks.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Cuts off what is behind the image, and makes sure that what is left is what was verified. Blocks.
    ///
    /// # Errors
    /// As the system says, or it is another image.
    pub fn bare(&self, proof: &Verified) -> io::Result<()> {
        let size = proof.facts().size;
        let file = File::options().read(true).write(true).open(&self.path)?;
        if file.metadata()?.len() > size {
            file.set_len(size)?;
            file.sync_all()?;
        }
        let mut file = file;
        let facts = trailer::read(&mut file)?.image;
        if facts == *proof.facts() {
            Ok(())
        } else {
            Err(io::Error::other("the image is not the one that was verified"))
        }
    }
}

/// Runs what blocks beside the I/O thread.
async fn blocking<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(task).await.map_err(|_| "the host failed at it; its log says how".to_owned())
}

#[cfg(test)]
mod tests;
