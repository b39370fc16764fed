//! The app's part of a run without a test at hand: it authorizes the device as soon as that shows up unbound.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::platform::Platform;
use crate::joylink_app::messages::{Grant, SubGrant, Wanted};
use crate::joylink_app::{App, AppError};

/// Asks again and again until it is dropped.
#[derive(Debug)]
pub(super) struct Enrolment {
    device: SocketAddr,
    task: JoinHandle<()>,
}

impl Enrolment {
    /// Of a device that is to listen on a port that is free now, for a cloud at this address.
    pub fn start(platform: Arc<Platform>, cloud: SocketAddr) -> io::Result<Self> {
        let device = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let task = tokio::spawn(async move {
            loop {
                // A new one each time, so that a late answer to the last one meets nobody. Loopback always has a free port.
                let Ok(mut app) = App::bind().await else { return };
                if platform.lock().behaviour.enrols
                    && let Ok(Err(fault)) = timeout(PATIENCE, enrol(&mut app, device, cloud, &platform)).await
                {
                    platform.ledger.violation(format!("enrolment: {fault}"));
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(Self { device, task })
    }

    /// Where the device is to listen.
    pub fn device(&self) -> SocketAddr {
        self.device
    }
}

impl Drop for Enrolment {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn enrol(app: &mut App, device: SocketAddr, cloud: SocketAddr, platform: &Platform) -> Result<(), AppError> {
    let product = &platform.product;
    let found = app.discover(device, &Wanted::default()).await?;
    if found.feedid.is_empty() {
        let grant = Grant::new(&product.device, &product.uuid, &cloud.to_string());
        app.authorize(device, &found.devkey, &grant).await?;
    }
    for sub in &product.subs {
        if found.subs.iter().any(|known| known.state == 1 && known.mac == sub.mac) {
            app.authorize_sub(device, &found.devkey, &SubGrant::new(sub, &cloud.to_string())).await?;
        }
    }
    Ok(())
}

/// How long a device may take to answer all. Chosen by us: nobody may be there yet.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks. Chosen by us.
const PAUSE: Duration = Duration::from_millis(300);
