//! The subdevices as plugins and operators see them: fed by the port, asked by any thread.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polylink_plugin_api::Extension;
use polylink_plugin_api::services::Subdevices as Table;
use polylink_plugin_api::services::subdevices::{ADDRESS_MAX, ADMIT_SECONDS_MAX, CHANGED, PRODUCT_MAX, Subdevice};
use tokio::sync::{Notify, mpsc};

use crate::mcu::port::PortMessage;
use crate::mcu::subdevices::{SubdeviceNews, SubdeviceRequest};
use crate::module::subdevices::Subdevices;
use crate::services::{OwnedEvent, Services, SubdeviceHooks};

/// Shared by the port, the plugins and the control socket.
pub struct SubdeviceSide {
    /// The link can tell of subdevices at all.
    carried: bool,
    to_port: mpsc::Sender<PortMessage>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    subdevices: Subdevices,
    mcu_online: bool,
}

impl SubdeviceSide {
    /// None is known yet.
    pub fn new(carried: bool, to_port: mpsc::Sender<PortMessage>) -> Self {
        Self { carried, to_port, state: Mutex::default(), changed: Notify::new() }
    }

    /// The MCU said something of one.
    pub fn told(&self, news: SubdeviceNews) {
        if self.lock().subdevices.take(news) {
            self.changed.notify_one();
        }
    }

    /// The MCU answers, or has fallen silent.
    pub fn mcu_online(&self, online: bool) {
        let mut state = self.lock();
        state.mcu_online = online;
        if !online && state.subdevices.mcu_silent() {
            self.changed.notify_one();
        }
    }

    /// All that are known, for operators.
    pub fn known(&self) -> Vec<Subdevice> {
        self.lock().subdevices.list()
    }

    /// Tells all instances of changes, for ever; changes that follow each other closely are told as one, since an MCU may
    /// say as much as it likes. One task of the I/O runtime.
    pub async fn announce_changes(&self, services: Services) {
        loop {
            self.changed.notified().await;
            services.announce(&OwnedEvent { source: Table::ID, kind: CHANGED, ..OwnedEvent::default() });
            tokio::time::sleep(ANNOUNCED_EVERY).await;
        }
    }

    /// Hands it to the link, if that makes sense now.
    fn ask(&self, instance: &str, request: SubdeviceRequest, makes_sense: impl FnOnce(&Subdevices) -> bool) -> bool {
        let may = {
            let state = self.lock();
            self.carried && state.mcu_online && makes_sense(&state.subdevices)
        };
        // The rest of the mailbox is for commands.
        let has_room = self.to_port.capacity() > self.to_port.max_capacity() / 2;
        if !may || !has_room {
            tracing::debug!(cloud = instance, "cannot {request} now");
            return false;
        }
        tracing::info!(cloud = instance, "a cloud wants the MCU to {request}");
        self.to_port.try_send(PortMessage::Subdevice(request)).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SubdeviceHooks for SubdeviceSide {
    fn list(&self) -> Vec<Subdevice> {
        self.known()
    }

    fn admit(&self, instance: &str, product: &str, address: &str, seconds: u16) -> bool {
        let fits = (1..=PRODUCT_MAX).contains(&product.len())
            && address.len() <= ADDRESS_MAX
            && (1..=ADMIT_SECONDS_MAX).contains(&seconds);
        let (product, address) = (product.to_owned(), address.to_owned());
        fits && self.ask(instance, SubdeviceRequest::Admit { product, address, seconds }, |_| true)
    }

    fn accept(&self, instance: &str, index: u32) -> bool {
        self.ask(instance, SubdeviceRequest::Accept(index), |subdevices| subdevices.has(index))
    }

    fn remove(&self, instance: &str, index: u32) -> bool {
        self.ask(instance, SubdeviceRequest::Remove(index), |subdevices| subdevices.has(index))
    }
}

/// Least time between two announcements. Not documented; chosen by us: soon enough for a person who pairs a lamp.
const ANNOUNCED_EVERY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcu::subdevices::SubdeviceChange;

    fn side(carried: bool) -> (SubdeviceSide, mpsc::Receiver<PortMessage>) {
        let (to_port, mailbox) = mpsc::channel(8);
        let side = SubdeviceSide::new(carried, to_port);
        side.mcu_online(true);
        side.told(SubdeviceNews::Told(3, SubdeviceChange { online: Some(true), ..SubdeviceChange::default() }));
        (side, mailbox)
    }

    fn asked(mailbox: &mut mpsc::Receiver<PortMessage>) -> Option<SubdeviceRequest> {
        match mailbox.try_recv().ok()? {
            PortMessage::Subdevice(request) => Some(request),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_makes_sense_is_handed_to_the_link() {
        let (side, mut mailbox) = side(true);
        assert!(side.admit("jd", "ABCDEF", "", 600));
        assert!(side.accept("jd", 3));
        assert!(side.remove("ali", 3));
        let (product, address) = ("ABCDEF".to_owned(), String::new());
        assert_eq!(asked(&mut mailbox), Some(SubdeviceRequest::Admit { product, address, seconds: 600 }));
        assert_eq!(asked(&mut mailbox), Some(SubdeviceRequest::Accept(3)));
        assert_eq!(asked(&mut mailbox), Some(SubdeviceRequest::Remove(3)));
    }

    #[test]
    fn what_cannot_be_is_refused_at_once() {
        let (side, mut mailbox) = side(true);
        let long = "a".repeat(65);
        for (product, address, seconds) in
            [("", "", 60), (&long, "", 60), ("A", &long, 60), ("A", "", 0), ("A", "", 601)]
        {
            assert!(!side.admit("jd", product, address, seconds));
        }
        assert!(!side.accept("jd", 4) && !side.remove("jd", 0));
        side.mcu_online(false);
        assert!(!side.admit("jd", "A", "", 60) && !side.accept("jd", 3) && !side.remove("jd", 3));
        assert_eq!(asked(&mut mailbox), None);
    }

    #[test]
    fn a_link_without_subdevices_is_asked_nothing() {
        let (side, mut mailbox) = side(false);
        assert!(!side.admit("jd", "A", "", 60) && !side.accept("jd", 3) && !side.remove("jd", 3));
        assert_eq!(asked(&mut mailbox), None);
    }

    #[test]
    fn half_of_the_mailbox_is_left_to_commands() {
        let (side, mailbox) = side(true);
        assert_eq!((0..8).filter(|_| side.accept("jd", 3)).count(), 4);
        assert_eq!(mailbox.len(), 4);
    }

    #[test]
    fn a_silent_mcu_reaches_none_of_its_subdevices() {
        let (side, _mailbox) = side(true);
        assert!(side.list()[0].online);
        side.mcu_online(false);
        assert!(!side.list()[0].online);
    }
}
