//! The thread of one plugin instance: makes it, feeds it from the bus and its inbox, keeps its timeouts, and begins anew
//! after a fault. It never calls a plugin that has faulted, but to drop it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use polylink_plugin_api::abi_stable::sabi_trait::TD_Opaque;
use polylink_plugin_api::abi_stable::std_types::{RResult, RSlice};
use polylink_plugin_api::{
    Advice, Event, Fault, FaultCode, HostBox, InstanceId, PluginBox, PluginConfig, Timestamp, event,
};
use tracing::warn;

use super::face::Face;
use super::inbox::{Inbox, Woken};
use super::instance::Instance;
use super::lifecycle::Next;
use super::loader::Loaded;
use super::watchdog::Call;
use crate::bus::Losses;
use crate::services::OwnedEvent;

/// Starts the thread.
///
/// # Errors
/// The system gives none.
pub(super) fn spawn(instance: Arc<Instance>) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(thread_name(&instance.name)).stack_size(STACK_BYTES);
    thread.spawn(move || {
        run(&instance);
        instance.thread_ended();
    })?;
    Ok(())
}

fn run(instance: &Instance) {
    let Some(loaded) = &instance.loaded else { return };
    loop {
        let lived = catch_unwind(AssertUnwindSafe(|| live(instance, loaded)));
        let lived =
            lived.unwrap_or_else(|_| Err(Fault::new(FaultCode::OTHER, "the host panicked while it ran this plugin")));
        instance.take_off(false);
        match lived {
            Ok(()) => {
                instance.stopped();
                return;
            }
            Err(fault) => match instance.faulted(fault.advice, &fault.message) {
                Next::StayOff => return,
                Next::RetryAt(at) => {
                    if !instance.sleep(at.since(instance.around.hub.now().monotonic)) {
                        instance.stopped();
                        return;
                    }
                }
            },
        }
    }
}

/// One incarnation, from `create` to the drop.
fn live(instance: &Instance, loaded: &Loaded) -> Result<(), Fault> {
    let inbox = Arc::new(Inbox::default());
    let (hub, services) = (&instance.around.hub, &instance.around.services);
    let id = services.open(&instance.name, Arc::clone(&inbox) as _);
    instance.desk.clear_status();
    if !instance.begins(id, &inbox) {
        services.close(id);
        return Ok(());
    }
    let face = Face {
        instance: id,
        name: Arc::clone(&instance.name),
        hub: Arc::clone(hub),
        services: Arc::clone(services),
        inbox: Arc::clone(&inbox),
        desk: Arc::clone(&instance.desk),
    };
    let config = PluginConfig {
        instance: id,
        name: (*instance.name).into(),
        settings: instance.setup.settings.as_str().into(),
        product: instance.setup.product.as_str().into(),
        seed: seed()?,
    };
    let host = HostBox::from_value(face, TD_Opaque);
    let plugin = instance.call(Call::Create, || loaded.create(host, config)).map_err(stuck)??;
    let mut run = Run { instance, id, inbox, plugin: Some(plugin), due: None, losses: Losses::default() };
    let worked = run.work();
    // A stuck call that came back has no right to another one, but the drop is owed to every instance.
    let plugin = run.plugin.take();
    let dropped = instance.call(Call::Drop, || drop(plugin)).map_err(stuck);
    worked.and(dropped)
}

/// An incarnation at work.
struct Run<'a> {
    instance: &'a Instance,
    id: InstanceId,
    inbox: Arc<Inbox>,
    plugin: Option<PluginBox>,
    due: Option<Timestamp>,
    losses: Losses,
}

impl Run<'_> {
    fn work(&mut self) -> Result<(), Fault> {
        let around = Arc::clone(&self.instance.around);
        self.losses = around.hub.look(|bus| bus.cloud_usage(self.instance.cloud).losses);
        if !self.instance.attach(self.id, &self.inbox) {
            return Ok(());
        }
        self.call(Call::Start, |plugin, now| plugin.start(now))?;
        self.instance.started(self.id);
        // Before any event: the last values are those from before the plugin could have told anybody that it is there, so a
        // report that is made because of that does not come twice.
        let mut more = self.hand_over()?;
        loop {
            self.ask_when()?;
            let now = around.hub.now().monotonic;
            let wait =
                if more { Some(Duration::ZERO) } else { self.due.map(|due| Duration::from_millis(due.since(now))) };
            let woken = self.inbox.wait(wait);
            if woken.stop {
                break;
            }
            if woken.overrun {
                return Err(Fault::new(FaultCode::OTHER, OVERRUN));
            }
            let from_bus = woken.bus || more;
            self.hand_events(woken)?;
            more = from_bus && self.hand_over()?;
            let now = around.hub.now().monotonic;
            if self.due.is_some_and(|due| due <= now) {
                self.due = None;
                self.call(Call::Timeout, |plugin, now| plugin.timeout(now))?;
            }
        }
        self.call(Call::Stop, |plugin, now| plugin.stop(now))?;
        around.services.drain(self.id, Duration::from_millis(around.settings.stop_grace_ms));
        Ok(())
    }

    fn ask_when(&mut self) -> Result<(), Fault> {
        let asked = self.call_plain(Call::NextTimeout, |plugin| plugin.next_timeout().into_option())?;
        let soonest = self.instance.around.hub.now().monotonic.after(TIMEOUT_SPACING_MS);
        self.due = due(self.due, asked, soonest);
        Ok(())
    }

    fn hand_events(&mut self, woken: Woken) -> Result<(), Fault> {
        for event in woken.events {
            self.call(Call::Event, |plugin, now| plugin.event(now, view(&event)))?;
        }
        for token in woken.tokens {
            let event = OwnedEvent { source: event::WAKE, token, ..OwnedEvent::default() };
            self.call(Call::Event, |plugin, now| plugin.event(now, view(&event)))?;
        }
        Ok(())
    }

    /// Whether there is more.
    fn hand_over(&mut self) -> Result<bool, Fault> {
        let handover = self.instance.around.hub.take(self.id);
        if handover.losses != self.losses {
            self.tell_losses(handover.losses);
        }
        if !handover.outcomes.is_empty() {
            self.call(Call::Outcomes, |plugin, now| plugin.outcomes(now, RSlice::from_slice(&handover.outcomes)))?;
        }
        if !handover.reports.is_empty() {
            self.call(Call::Reports, |plugin, now| plugin.reports(now, RSlice::from_slice(&handover.reports)))?;
        }
        Ok(handover.more)
    }

    fn tell_losses(&mut self, losses: Losses) {
        let before = std::mem::replace(&mut self.losses, losses);
        let (values, history, alarms, unconfirmed) = (
            losses.values - before.values,
            losses.history - before.history,
            losses.alarms - before.alarms,
            losses.unconfirmed - before.unconfirmed,
        );
        if values + history + alarms + unconfirmed > 0 {
            let cloud = &*self.instance.name;
            warn!(target: "plugin", cloud, values, history, alarms, unconfirmed, "reports were lost: the journal was full");
        }
    }

    fn call(
        &mut self,
        call: Call,
        body: impl FnOnce(&mut PluginBox, polylink_plugin_api::Now) -> RResult<(), Fault>,
    ) -> Result<(), Fault> {
        let now = self.instance.around.hub.now();
        self.call_plain(call, |plugin| body(plugin, now)).and_then(RResult::into_result)
    }

    fn call_plain<R>(&mut self, call: Call, body: impl FnOnce(&mut PluginBox) -> R) -> Result<R, Fault> {
        let plugin = self.plugin.as_mut().expect("the plugin is there until it is dropped");
        self.instance.call(call, || body(plugin)).map_err(stuck)
    }
}

/// When a plugin that asks for this time gets its timeout, after one was due before. A plugin that always wants a timeout
/// now gets one, since what was due does not move away from it, but not the whole processor.
fn due(before: Option<Timestamp>, asked: Option<Timestamp>, soonest: Timestamp) -> Option<Timestamp> {
    let asked = asked?;
    let possible = asked.max(soonest);
    Some(before.filter(|before| asked <= *before).map_or(possible, |before| before.min(possible)))
}

fn stuck(why: String) -> Fault {
    Fault { code: FaultCode::OTHER, advice: Advice::RETRY, message: why.into() }
}

fn view(event: &OwnedEvent) -> Event<'_> {
    Event {
        source: event.source.into(),
        kind: event.kind,
        token: event.token,
        code: event.code,
        text: event.text.as_str().into(),
        body: RSlice::from_slice(&event.body),
    }
}

fn seed() -> Result<[u8; 32], Fault> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Fault::new(FaultCode::OTHER, format!("the system gives no random bytes: {error}")))?;
    Ok(seed)
}

/// Linux keeps 15 bytes of a thread's name (`pthread_setname_np(3)`).
fn thread_name(name: &str) -> String {
    format!("pl-{name}").chars().take(15).collect()
}

/// Stack of a plugin's thread. Not documented; chosen by us: only touched pages cost memory, and a plugin may nest as deep
/// as a JSON document does.
const STACK_BYTES: usize = 512 * 1024;

const OVERRUN: &str = "it calls services faster than it hears their answers, and too many of these wait";

/// Shortest time to the next timeout. Not documented; chosen by us.
const TIMEOUT_SPACING_MS: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: Option<u64>, asked: Option<u64>, expected: Option<u64>) {
        // It is 1000 now.
        let soonest = Timestamp(1000 + TIMEOUT_SPACING_MS);
        assert_eq!(due(before.map(Timestamp), asked.map(Timestamp), soonest), expected.map(Timestamp));
    }

    #[test]
    fn a_timeout_moves_both_ways_as_the_plugin_asks() {
        check(None, Some(5000), Some(5000));
        check(Some(5000), Some(9000), Some(9000));
        check(Some(7_200_000), Some(2000), Some(2000));
        check(Some(5000), None, None);
    }

    #[test]
    fn a_plugin_that_always_wants_a_timeout_now_gets_one_a_little_later() {
        let soonest = 1000 + TIMEOUT_SPACING_MS;
        check(None, Some(0), Some(soonest));
        check(Some(7_200_000), Some(0), Some(soonest));
        // Events in between, however many, do not push it away.
        check(Some(1001), Some(1000), Some(1001));
    }
}
