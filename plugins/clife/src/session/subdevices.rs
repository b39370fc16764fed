//! The devices behind the MCU, as far as they are parts of this one: their versions, and whether an upgrade of theirs can
//! begin or go on.
//!
//! The platform has no words for one that joins or leaves (Clife access document, as far as it is known), so what the MCU
//! says of that is all there is: the ones that belong to it are parts, others are not.

use polylink_plugin_sdk::services::ota::Target;
use polylink_plugin_sdk::services::subdevices::Subdevice;

use super::ClifeSession;
use super::operations::Running;
use crate::files::{Order, Refusal, Versions};

impl ClifeSession {
    pub(super) fn take_subdevices(&mut self, list: Vec<Subdevice>) {
        let before = std::mem::replace(&mut self.subdevices, list);
        let is_here = |old: &Subdevice| self.subdevices.iter().any(|new| is_the_same(old, new));
        let left = before.iter().filter(|old| old.accepted && !is_here(old));
        let left: Vec<u32> = left.map(|old| self.settings.files.dev_nums.of_subdevice(old.index)).collect();
        let Some(running) = &mut self.files.running else { return self.correct_versions() };
        let Running { order, operation, gone } = running;
        gone.extend(left.iter().filter(|number| order.request.upgrades().any(|file| file.dev_num == **number)));
        let is_at_it = current(order).is_some_and(|number| left.contains(&number)) && !operation.is_over();
        if is_at_it {
            self.warn("a subdevice has left whose firmware was ordered".to_owned());
            // Its number may be another one's before the firmware is here. What is being installed goes on.
            self.cancel_update();
        }
        self.correct_versions();
    }

    /// Versions of the subdevices by their numbers. Nobody knows their hardware.
    pub(super) fn subdevice_versions(&self) -> impl Iterator<Item = (u32, Versions)> {
        let numbers = self.settings.files.dev_nums;
        let parts = self.subdevices.iter().filter(|subdevice| subdevice.accepted);
        parts.map(move |subdevice| {
            let versions = Versions { software: subdevice.version.clone(), hardware: String::new() };
            (numbers.of_subdevice(subdevice.index), versions)
        })
    }

    /// Why the firmware of this part cannot have its turn now. One that is not known may be unknown only because the MCU has not
    /// spoken since a restart.
    pub(super) fn hindrance(&self, dev_num: u32) -> Option<String> {
        let running = self.files.running.as_ref();
        if running.is_some_and(|running| running.gone.contains(&dev_num)) {
            return Some(Refusal::UnknownModule.to_string());
        }
        self.is_away(dev_num).then(|| AWAY.to_owned())
    }

    /// True if this is a subdevice that its gateway does not reach.
    pub(super) fn is_away(&self, dev_num: u32) -> bool {
        let Some(Target::Subdevice(index)) = self.settings.files.dev_nums.target(dev_num) else { return false };
        self.subdevices.iter().any(|subdevice| subdevice.index == index && !subdevice.online)
    }
}

/// The number of the part whose firmware was handed over last.
fn current(order: &Order) -> Option<u32> {
    order.current().filter(|(_, file)| file.file_type.is_firmware()).map(|(_, file)| file.dev_num)
}

/// True if the gateway still has this one, and not another one in its place.
fn is_the_same(old: &Subdevice, new: &Subdevice) -> bool {
    let agree = |old: &str, new: &str| old.is_empty() || new.is_empty() || old == new;
    old.index == new.index && new.accepted && agree(&old.address, &new.address) && agree(&old.product, &new.product)
}

/// Not documented; chosen by us.
pub const AWAY: &str = "the subdevice is offline";
