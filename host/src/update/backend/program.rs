//! The product's own program.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Backend, ImageFile, blocking};
use crate::update::hook::{HookError, Installed, Order, Standing, UpdateHook};
use crate::update::manifest::Verified;

/// See the module.
#[derive(Debug)]
pub struct ProgramBackend(pub UpdateHook);

#[async_trait]
impl Backend for ProgramBackend {
    /// The file keeps only the image: installers know no manifest behind it.
    async fn install(
        &self,
        proof: Arc<Verified>,
        order: Order<'_>,
        image: &ImageFile,
        _progress: &(dyn Fn(u8) + Sync),
    ) -> Result<Installed, String> {
        let (bare, verified) = (image.clone(), Arc::clone(&proof));
        blocking(move || bare.bare(&verified)).await?.map_err(|error| error.to_string())?;
        self.0.check(&proof, order, image.path()).await.map_err(said)?;
        self.0.install(&proof, order, image.path()).await.map_err(said)
    }

    async fn standing(&self, order: Order<'_>) -> Result<Standing, String> {
        self.0.status(order).await.map_err(said)
    }

    async fn restart(&self, order: Order<'_>) -> Result<(), String> {
        self.0.restart(order).await.map_err(said)
    }

    async fn confirm(&self, order: Order<'_>) -> Result<(), String> {
        self.0.confirm(order).await.map_err(said)
    }

    async fn roll_back(&self, order: Order<'_>) -> Result<(), String> {
        self.0.roll_back(order).await.map_err(said)
    }
}

fn said(error: HookError) -> String {
    error.to_string()
}
