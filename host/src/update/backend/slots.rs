//! Releases in two slots; `polylink launch` starts them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Backend, ImageFile, blocking};
use crate::update::hook::{Installed, Order, Standing};
use crate::update::manifest::Verified;
use crate::update::slots::directory::OpenSlots;
use crate::update::slots::state::Boot;

/// See the module.
#[derive(Debug)]
pub struct SlotsBackend {
    directory: PathBuf,
    tries: u8,
    /// The slot that this process was started from, by its name; none: the launcher did not start it.
    running: Option<String>,
    wants_restart: Arc<Notify>,
}

impl SlotsBackend {
    /// Slots in this directory. `running` is what `POLYLINK_SLOT` says; `wants_restart` is told when this process is to
    /// end, so that the service manager starts the launcher again.
    #[must_use]
    pub fn new(directory: PathBuf, tries: u8, running: Option<String>, wants_restart: Arc<Notify>) -> Self {
        Self { directory, tries, running, wants_restart }
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut OpenSlots) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let directory = self.directory.clone();
        blocking(move || work(&mut open(&directory)?)).await?
    }
}

/// Waits for who has them: somebody who looks at the slots must not make an update fail, and an installation that a change of
/// the product cut off from its operation ends first.
fn open(directory: &Path) -> Result<OpenSlots, String> {
    OpenSlots::wait(directory).map_err(|error| format!("the slots: {error}"))
}

#[async_trait]
impl Backend for SlotsBackend {
    async fn install(
        &self,
        proof: Arc<Verified>,
        order: Order<'_>,
        image: &ImageFile,
        _progress: &(dyn Fn(u8) + Sync),
    ) -> Result<Installed, String> {
        let (image, operation, tries) = (image.clone(), order.operation, self.tries);
        let install = self.with(move |open| {
            let mut file = image.open().map_err(|error| error.to_string())?;
            open.slots.install(&proof, &mut file, operation, tries).map_err(|error| error.to_string())
        });
        install.await.map(|_| Installed::NeedsRestart)
    }

    async fn standing(&self, order: Order<'_>) -> Result<Standing, String> {
        let (operation, running) = (order.operation, self.running.clone());
        self.with(move |open| {
            let state = open.slots.state();
            Ok(match state.trial {
                Some(trial) if trial.operation == operation => {
                    let runs = running.as_deref() == Some(Boot::Slot(trial.slot).as_str());
                    if runs { Standing::OnTrial } else { Standing::NotStarted }
                }
                _ if state.failed == Some(operation) => Standing::SteppedBack,
                _ => Standing::Settled,
            })
        })
        .await
    }

    async fn restart(&self, _order: Order<'_>) -> Result<(), String> {
        self.wants_restart.notify_one();
        Ok(())
    }

    /// A user may have done it already.
    async fn confirm(&self, order: Order<'_>) -> Result<(), String> {
        let operation = order.operation;
        self.with(move |open| {
            let state = open.slots.state();
            match state.trial {
                Some(trial) if trial.operation == operation => open.slots.confirm().map_err(|error| error.to_string()),
                None if state.failed != Some(operation) => Ok(()),
                _ => Err("it is not on trial any more".to_owned()),
            }
        })
        .await
    }

    /// Only a trial of this order ends: what was confirmed meanwhile, or took its place, stays.
    async fn roll_back(&self, order: Order<'_>) -> Result<(), String> {
        let operation = order.operation;
        self.with(move |open| match open.slots.state().trial {
            Some(trial) if trial.operation == operation => {
                open.slots.roll_back().map(drop).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        })
        .await
    }
}
