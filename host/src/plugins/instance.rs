//! One configured cloud and its plugin, as the runner, the watchdog and operators share it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polylink_plugin_api::{Advice, InstanceId, WallTime};
use tracing::{error, info, warn};

use super::face::Desk;
use super::inbox::{Inbox, InboxUsage};
use super::lifecycle::{Lifecycle, Next, Phase};
use super::loader::Loaded;
use super::watchdog::{Call, CallBudget, Gauge, Ward, Watchdog};
use super::{CloudSetup, PluginEvent, PluginSettings, ServiceHost};
use crate::bus::CloudId;
use crate::hub::Hub;

/// What all instances share.
pub(super) struct Surroundings {
    pub hub: Arc<Hub>,
    pub services: Arc<dyn ServiceHost>,
    pub settings: PluginSettings,
    pub watchdog: Arc<Watchdog>,
    pub on_event: Box<dyn Fn(PluginEvent) + Send + Sync>,
}

/// See the module.
pub(super) struct Instance {
    pub name: Arc<str>,
    pub setup: CloudSetup,
    pub cloud: CloudId,
    pub loaded: Option<Loaded>,
    pub around: Arc<Surroundings>,
    pub gauge: Gauge,
    pub desk: Arc<Desk>,
    state: Mutex<State>,
    changed: Condvar,
    /// Another cloud has to name this one first.
    waits: AtomicBool,
}

struct State {
    life: Lifecycle,
    /// The incarnation that works now.
    current: Option<(InstanceId, Arc<Inbox>)>,
    /// Inbox figures of earlier incarnations.
    dropped_before: u64,
    stop: bool,
    /// A thread works for it, or is stuck in it.
    has_thread: bool,
    /// Its library may not stay.
    on_trial: bool,
    slow_calls: u64,
    last_fault_at: Option<WallTime>,
}

/// Figures for operators.
#[derive(Clone, Debug)]
pub(super) struct Vitals {
    pub phase: Phase,
    pub n_faults: u64,
    pub last_fault: String,
    pub last_fault_at: Option<WallTime>,
    pub slow_calls: u64,
    pub instance: Option<InstanceId>,
    pub inbox: InboxUsage,
}

impl Instance {
    pub fn new(setup: CloudSetup, cloud: CloudId, loaded: Result<Loaded, String>, around: Arc<Surroundings>) -> Self {
        let mut life = Lifecycle::new(around.settings.patience);
        let loaded = match loaded {
            Ok(loaded) => {
                life.loaded();
                Some(loaded)
            }
            Err(why) => {
                life.refused(why);
                None
            }
        };
        let state = State {
            life,
            current: None,
            dropped_before: 0,
            stop: false,
            has_thread: false,
            on_trial: false,
            slow_calls: 0,
            last_fault_at: None,
        };
        let (name, told) = (setup.name.clone(), Arc::clone(&around));
        let on_phase = move || (told.on_event)(PluginEvent::Phase { cloud: name.clone() });
        Self {
            name: setup.name.as_str().into(),
            waits: AtomicBool::new(setup.start_when.is_some()),
            setup,
            cloud,
            loaded,
            around,
            gauge: Gauge::default(),
            desk: Arc::new(Desk::new(on_phase)),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Whether a thread is to be started for it; from then on it counts as having one.
    pub fn claim_thread(&self) -> bool {
        let mut state = self.lock();
        let wanted = self.loaded.is_some() && !state.has_thread && !state.stop && state.life.phase() != Phase::Disabled;
        state.has_thread |= wanted;
        wanted
    }

    /// Whether another cloud has to name this one before it starts.
    pub fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// It has to wait no longer. True: it did.
    pub fn wait_is_over(&self) -> bool {
        self.waits.swap(false, Ordering::Relaxed)
    }

    /// Its library is on trial: should it give up, another one takes its place, which gets what waits.
    pub fn trial_begins(&self) {
        self.lock().on_trial = true;
    }

    /// It stays, for better or worse.
    pub fn trial_is_over(&self) {
        let gave_up = {
            let mut state = self.lock();
            let was = std::mem::take(&mut state.on_trial);
            was && !state.stop && state.life.phase() == Phase::Disabled
        };
        if gave_up {
            self.take_off(true);
        }
    }

    /// The thread is over.
    pub fn thread_ended(&self) {
        self.lock().has_thread = false;
        self.changed.notify_all();
    }

    /// An operator wants a disabled one on again.
    pub fn enable(&self) {
        let mut state = self.lock();
        if self.loaded.is_some() && state.life.phase() == Phase::Disabled {
            state.life.enable();
        }
    }

    /// An incarnation is about to begin; false: it is not wanted any more.
    pub fn begins(&self, instance: InstanceId, inbox: &Arc<Inbox>) -> bool {
        let mut state = self.lock();
        if !state.stop {
            state.current = Some((instance, Arc::clone(inbox)));
        }
        !state.stop
    }

    /// Its incarnation gets reports from now on; false: it is not wanted any more, and another may have taken its place.
    pub fn attach(&self, instance: InstanceId, inbox: &Arc<Inbox>) -> bool {
        // Held meanwhile: who stops it and takes it off must find it either attached or never to be.
        let state = self.lock();
        if !state.stop {
            self.around.hub.attach(self.cloud, instance, Arc::clone(inbox) as _);
        }
        !state.stop
    }

    /// It works.
    pub fn started(&self, instance: InstanceId) {
        self.lock().life.started(self.around.hub.now().monotonic);
        info!(target: "plugin", cloud = &*self.name, instance = instance.0, "plugin started");
        (self.around.on_event)(PluginEvent::Started { cloud: self.name.to_string() });
    }

    /// Takes the incarnation off everything: no report, no event, no service any more. Does nothing if it is off.
    pub fn take_off(&self, for_good: bool) {
        let current = self.lock().current.take();
        if let Some((instance, inbox)) = current {
            inbox.close();
            self.lock().dropped_before += inbox.usage().dropped;
            self.around.hub.detach(self.cloud, instance, false);
            self.around.services.close(instance);
        }
        if for_good {
            self.around.hub.change(|bus, _| bus.retire(self.cloud));
        }
    }

    /// The incarnation failed, and is off. What is next?
    pub fn faulted(&self, advice: Advice, why: &str) -> Next {
        let now = self.around.hub.now();
        let next = {
            let mut state = self.lock();
            state.last_fault_at = Some(now.wall);
            state.life.faulted(now.monotonic, advice, why)
        };
        let cloud = self.name.to_string();
        match next {
            Next::RetryAt(at) => {
                let wait_ms = at.since(self.around.hub.now().monotonic);
                warn!(target: "plugin", cloud = &*self.name, wait_ms, "plugin failed and starts again later: {why}");
                (self.around.on_event)(PluginEvent::Faulted { cloud, why: why.to_owned() });
            }
            Next::StayOff => {
                error!(target: "plugin", cloud = &*self.name, "plugin failed and stays off: {why}");
                let is_for_good = {
                    let state = self.lock();
                    // One that was stopped may have a successor, which the cloud belongs to now; one on trial will have.
                    !state.stop && !state.on_trial
                };
                self.take_off(is_for_good);
                (self.around.on_event)(PluginEvent::Disabled { cloud, why: why.to_owned() });
            }
        }
        next
    }

    /// Sleeps for so long; false: it is to stop.
    pub fn sleep(&self, ms: u64) -> bool {
        let state = self.lock();
        let wait = Duration::from_millis(ms);
        let waited = self.changed.wait_timeout_while(state, wait, |state| !state.stop);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }

    /// Asks it to stop.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stop = true;
        if let Some((_, inbox)) = &state.current {
            inbox.stop();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until its thread is over; false: it is not, in this time.
    pub fn wait_for_end(&self, at_most: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), at_most, |state| state.has_thread);
        !waited.unwrap_or_else(PoisonError::into_inner).0.has_thread
    }

    /// It was stopped.
    pub fn stopped(&self) {
        self.lock().life.stopped();
        info!(target: "plugin", cloud = &*self.name, "plugin stopped");
    }

    pub fn vitals(&self) -> Vitals {
        let state = self.lock();
        let mut inbox = state.current.as_ref().map_or_else(InboxUsage::default, |(_, inbox)| inbox.usage());
        inbox.dropped += state.dropped_before;
        Vitals {
            phase: state.life.phase(),
            n_faults: state.life.n_faults(),
            last_fault: state.life.last_fault().to_owned(),
            last_fault_at: state.last_fault_at,
            slow_calls: state.slow_calls,
            instance: state.current.as_ref().map(|&(instance, _)| instance),
            inbox,
        }
    }

    /// Calls the plugin under the watchdog's eyes; `Err` if the call was given up as stuck before it returned.
    pub fn call<R>(&self, call: Call, body: impl FnOnce() -> R) -> Result<R, String> {
        self.gauge.enter(call, self.around.hub.now().monotonic);
        self.around.watchdog.call_begins();
        let result = body();
        if self.gauge.leave() {
            return Err(format!("`{}` returned after it was given up as stuck", call.name()));
        }
        Ok(result)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ward for Instance {
    fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    fn slow(&self, call: Call, ms: u64) {
        self.lock().slow_calls += 1;
        warn!(target: "plugin", cloud = &*self.name, call = call.name(), ms, "plugin is slow to return from a call");
    }

    fn stuck(&self, call: Call, ms: u64) {
        let why = format!(
            "`{}` has not returned for {ms} ms; its connections are closed, and its thread, which cannot be ended, is left \
             alone",
            call.name()
        );
        {
            let mut state = self.lock();
            state.last_fault_at = Some(self.around.hub.now().wall);
            state.life.quarantined(&why);
        }
        self.take_off(false);
        error!(target: "plugin", cloud = &*self.name, "plugin is quarantined: {why}");
        (self.around.on_event)(PluginEvent::Quarantined { cloud: self.name.to_string(), why });
    }
}

impl From<&PluginSettings> for CallBudget {
    fn from(settings: &PluginSettings) -> Self {
        Self { warn_ms: settings.call_warn_ms, quarantine_ms: settings.call_quarantine_ms }
    }
}
