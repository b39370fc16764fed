//! The MCU, over its line: the link carries the image piece by piece and asks for each ([`crate::mcu::transfer`]).
//!
//! An MCU has no slot to fall back to as far as the line knows: it acknowledged the last piece, or it did not. Whether the
//! firmware works, its next version number tells.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use md5::{Digest as _, Md5};
use tokio::sync::{Mutex, mpsc};

use super::{Backend, ImageFile, blocking};
use crate::mcu::port::PortMessage;
use crate::mcu::transfer::{FirmwareOutput, Image, ImageFormat, NOT_THERE, TransferEnd};
use crate::update::digest::Digests;
use crate::update::download::machine::percent;
use crate::update::hook::{Installed, Order, Standing};
use crate::update::manifest::Verified;

/// See the module.
pub struct LineBackend {
    to_port: mpsc::Sender<PortMessage>,
    said: Mutex<mpsc::Receiver<FirmwareOutput>>,
    /// The operation that was given up last; 0: none.
    stopped: AtomicU64,
}

impl LineBackend {
    /// `said` gets every [`crate::mcu::LinkOutput::Firmware`] of the link, which says at most one thing for each that it is
    /// told, and ends: a few places suffice.
    #[must_use]
    pub fn new(to_port: mpsc::Sender<PortMessage>, said: mpsc::Receiver<FirmwareOutput>) -> Self {
        Self { to_port, said: Mutex::new(said), stopped: AtomicU64::new(0) }
    }

    async fn tell(&self, message: PortMessage) -> Result<(), String> {
        self.to_port.send(message).await.map_err(|_| GONE.to_owned())
    }
}

#[async_trait]
impl Backend for LineBackend {
    async fn install(
        &self,
        proof: Arc<Verified>,
        order: Order<'_>,
        image: &ImageFile,
        progress: &(dyn Fn(u8) + Sync),
    ) -> Result<Installed, String> {
        let size = u32::try_from(proof.facts().size).map_err(|_| "the image is too large for the line".to_owned())?;
        let (looked_at, verified) = (image.clone(), Arc::clone(&proof));
        let looked = blocking(move || look(&looked_at, &verified)).await?;
        let (file, md5, format) = looked.map_err(|error| error.to_string())?;
        let file = Arc::new(file);
        let mut said = self.said.lock().await;
        // What an earlier transfer left.
        while said.try_recv().is_ok() {}
        let is_stopped = || self.stopped.load(Ordering::Relaxed) == order.operation;
        if is_stopped() {
            return Err(TransferEnd::Cancelled.to_string());
        }
        let image = Image { size, md5, format };
        self.tell(PortMessage::BeginFirmware(image)).await?;
        let mut asked = 0;
        loop {
            match said.recv().await.ok_or(GONE)? {
                // The word that it is given up did not reach the line, or too early.
                FirmwareOutput::Wanted { .. } if is_stopped() => self.tell(PortMessage::CancelFirmware).await?,
                FirmwareOutput::Wanted { offset, len } => {
                    let file = Arc::clone(&file);
                    let read = blocking(move || {
                        let mut bytes = vec![0; len];
                        file.read_exact_at(&mut bytes, offset.into()).map(|()| bytes)
                    });
                    match read.await? {
                        Ok(bytes) => self.tell(PortMessage::FirmwareBytes { offset, bytes }).await?,
                        Err(error) => {
                            self.tell(PortMessage::CancelFirmware).await?;
                            return Err(error.to_string());
                        }
                    }
                }
                FirmwareOutput::Progress(acknowledged) => progress(percent(acknowledged.into(), size.into())),
                FirmwareOutput::Ended(TransferEnd::Done) => return Ok(Installed::Runs),
                FirmwareOutput::Ended(end) => return Err(end.to_string()),
                // It may only be restarting, because of the firmware that it was given before.
                FirmwareOutput::Refused(NOT_THERE) if asked < ASKED_MAX => {
                    asked += 1;
                    tokio::time::sleep(ASK_AGAIN).await;
                    if is_stopped() {
                        return Err(TransferEnd::Cancelled.to_string());
                    }
                    self.tell(PortMessage::BeginFirmware(image)).await?;
                }
                FirmwareOutput::Refused(why) => return Err(why.to_owned()),
            }
        }
    }

    fn stop(&self, operation: u64) {
        self.stopped.store(operation, Ordering::Relaxed);
        // Where the mailbox is full, the next piece that is wanted is the time to say it.
        let _ = self.to_port.try_send(PortMessage::CancelFirmware);
    }

    /// Nothing of a transfer survives a restart of the host: it is begun anew.
    async fn standing(&self, _order: Order<'_>) -> Result<Standing, String> {
        Ok(Standing::Settled)
    }

    async fn restart(&self, _order: Order<'_>) -> Result<(), String> {
        self.tell(PortMessage::RestartMcu).await
    }

    async fn confirm(&self, _order: Order<'_>) -> Result<(), String> {
        Ok(())
    }

    async fn roll_back(&self, _order: Order<'_>) -> Result<(), String> {
        Err("an MCU cannot be taken back over its line".to_owned())
    }
}

/// What the line must know of the image, from the very file that it is read from.
fn look(image: &ImageFile, proof: &Verified) -> std::io::Result<(std::fs::File, [u8; 16], ImageFormat)> {
    let file = image.open()?;
    let (mut md5, mut digests) = (Md5::new(), Digests::new(&[]));
    let mut buffer = vec![0; BUFFER];
    let mut first = None;
    while digests.n_bytes() < proof.facts().size {
        let rest = usize::try_from(proof.facts().size - digests.n_bytes()).unwrap_or(BUFFER).min(BUFFER);
        file.read_exact_at(&mut buffer[..rest], digests.n_bytes())?;
        first = first.or(buffer.first().copied());
        md5.update(&buffer[..rest]);
        digests.update(&buffer[..rest]);
    }
    if digests.sha256() != proof.facts().sha256 {
        return Err(std::io::Error::other("the image is not the one that was verified"));
    }
    // Every record of an Intel HEX file begins with a colon, and no vector table does.
    let format = if first == Some(b':') { ImageFormat::IntelHex } else { ImageFormat::Binary };
    Ok((file, md5.finalize().into(), format))
}

/// How often an MCU that is not there is asked whether it takes the image, and the pause between. Not documented; chosen by us:
/// a minute, in which an MCU has checked and copied what it was given before.
const ASKED_MAX: u32 = 60;
const ASK_AGAIN: Duration = Duration::from_secs(1);

const GONE: &str = "the line to the MCU is gone";

/// Bytes read at once. Not documented; chosen by us.
const BUFFER: usize = 64 * 1024;
