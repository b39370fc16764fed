//! Another library in the place of one that runs. The library before stays in memory, as all do, so the way back is open.
//!
//! What the MCU reports meanwhile is kept for the cloud, as when a plugin begins anew after a fault: the cloud's place in
//! the journal does not belong to an instance.

use std::sync::Arc;
use std::time::Duration;

use polylink_plugin_api::StatusPhase;
use tracing::warn;

use super::instance::Instance;
use super::loader::Loaded;
use super::{Plugins, start, tell_loaded, watch};

/// One cloud of a plugin.
#[derive(Clone, Debug)]
pub struct User {
    /// The cloud's name.
    pub cloud: String,
    /// What it has; else why nothing.
    pub loaded: Result<Loaded, String>,
    /// It is online.
    pub online: bool,
}

impl Plugins {
    /// The clouds that name this plugin, as opposed to a file.
    #[must_use]
    pub fn users_of(&self, plugin: &str) -> Vec<User> {
        let instances = self.instances_of(plugin);
        let user = |instance: Arc<Instance>| User {
            cloud: instance.name.to_string(),
            loaded: instance.loaded.clone().ok_or_else(|| instance.vitals().last_fault),
            online: instance.desk.status().0.phase == StatusPhase::ONLINE,
        };
        instances.map(user).collect()
    }

    fn instances_of(&self, plugin: &str) -> impl Iterator<Item = Arc<Instance>> {
        self.instances().into_iter().filter(move |instance| instance.setup.plugin == plugin)
    }

    /// What runs of this plugin is on trial. Called before it starts.
    pub fn trial_begins(&self, plugin: &str) {
        self.instances_of(plugin).for_each(|instance| instance.trial_begins());
    }

    /// It stays.
    pub fn trial_is_over(&self, plugin: &str) {
        self.instances_of(plugin).for_each(|instance| instance.trial_is_over());
    }

    /// Ends a cloud's plugin in order and begins another one for it, on trial or not. Waits at most so long for the end; a
    /// plugin that is stuck is taken off everything and left behind. Its faults are forgiven: they were another library's.
    /// False: there is no such cloud, or all are stopping.
    pub fn replace(&self, cloud: &str, with: Result<Loaded, String>, on_trial: bool, grace: Duration) -> bool {
        let Some(before) = self.instance_of(cloud) else { return false };
        before.stop();
        if !before.wait_for_end(grace) {
            warn!(target: "plugin", cloud, "plugin did not stop in time and is left behind");
            before.take_off(false);
        }
        tell_loaded(&self.around, &before.setup, before.cloud, &with);
        let next = Instance::new(before.setup.clone(), before.cloud, with, Arc::clone(&self.around));
        if !before.waits() {
            next.wait_is_over();
        }
        if on_trial {
            next.trial_begins();
        }
        let next = Arc::new(next);
        watch(&self.around, &next);
        let mut roster = self.roster();
        let place = roster.instances.iter_mut().find(|instance| Arc::ptr_eq(instance, &before));
        let Some(place) = place else { return false };
        *place = Arc::clone(&next);
        if roster.stopped {
            return false;
        }
        // Not after the lock is given back: then all might have been asked to stop, and this one would begin.
        if !next.waits() {
            start(&next);
        }
        true
    }
}
