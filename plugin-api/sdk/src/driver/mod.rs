//! The one driver: makes a [`Plugin`] of any [`Session`]. Calls of the ABI become [`Input`]s, [`crate::Output`]s become
//! calls of the host's services.
//!
//! Invariants: no panic leaves (see [`crate::guard`]); the session's [`crate::RequestId`]s and the host's tokens never
//! mix; whatever was asked gets its answer, also when the driver already knows that it is no; nothing here grows with
//! the number of events. Answers that the driver gives itself are delivered in the next call, which it asks for with
//! `Host::wake`: a session is never called while it is being called.

pub(crate) mod convert;
mod handles;
mod inputs;
mod outputs;
mod tables;
mod tickets;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use polylink_plugin_api::abi_stable::sabi_trait::TD_Opaque;
use polylink_plugin_api::abi_stable::std_types::{ROption, RResult, RSlice, RStr};
use polylink_plugin_api::{
    CommandOutcome, Event, ExtensionRef, Fault, HostBox, InstanceId, LogLevel, Now, Plugin, PluginBox, PluginConfig,
    Report, Timestamp,
};

use crate::{Context, Input, Session, guard};
use handles::Handles;
use tables::Tables;
use tickets::Tickets;

/// Makes an instance of a plugin: the session, behind the ABI.
///
/// # Errors
/// A table in `required` is missing, or the session refuses its settings or product.
pub fn create<S: Session>(host: HostBox, config: PluginConfig, required: &[&str]) -> Result<PluginBox, Fault> {
    assemble::<S>(host, config, required).map(|driver| PluginBox::from_value(driver, TD_Opaque))
}

fn assemble<S: Session>(host: HostBox, config: PluginConfig, required: &[&str]) -> Result<Driver<S>, Fault> {
    let tables = Tables::find(&host);
    tables.require(&host, required)?;
    let port = Port {
        instance: config.instance,
        tables,
        host,
        handles: Handles::default(),
        tickets: Tickets::default(),
        answers: VecDeque::new(),
    };
    let context = port.context(config);
    let session = guard::run("create", || S::new(context))??;
    Ok(Driver { session: Some(session), port, next_timeout: None })
}

/// A session with its way to the host.
struct Driver<S: Session> {
    /// `None` once it has ended: after `stop`, or after a fault.
    session: Option<S>,
    port: Port,
    /// Asked for within each call, so that a panic there is that call's fault.
    next_timeout: Option<Timestamp>,
}

/// What does not depend on the kind of session.
struct Port {
    instance: InstanceId,
    host: HostBox,
    tables: Tables,
    handles: Handles,
    tickets: Tickets,
    /// What the driver has to say to the session itself, in order. At most [`ANSWERS_WAITING_MAX`].
    answers: VecDeque<Input>,
}

impl Port {
    fn context(&self, config: PluginConfig) -> Context {
        let stored = |store: &polylink_plugin_api::services::Store| -> BTreeMap<String, Vec<u8>> {
            let keys = (store.keys)(self.instance).into_iter();
            keys.filter_map(|key| {
                let value = (store.get)(self.instance, key.as_rstr()).into_option()?;
                Some((key.into(), value.into()))
            })
            .collect()
        };
        Context {
            name: config.name.into(),
            settings: config.settings.into(),
            product: config.product.into(),
            seed: config.seed,
            stored: self.tables.store.as_ref().map(|store| stored(store)).unwrap_or_default(),
            facts: match &self.tables.module {
                Ok(module) => convert::facts((module.facts)(self.instance)),
                Err(_) => Default::default(),
            },
            interfaces: match &self.tables.network {
                Ok(network) => convert::interfaces((network.interfaces)(self.instance)),
                Err(_) => Vec::new(),
            },
            subdevices: match &self.tables.subdevices {
                Ok(table) => convert::subdevices((table.list)(self.instance)),
                Err(_) => Vec::new(),
            },
            updates: match &self.tables.ota {
                Ok(table) => convert::updates((table.list)(self.instance)),
                Err(_) => Vec::new(),
            },
            services: self.tables.usable(),
        }
    }
}

impl<S: Session> Driver<S> {
    /// One call of the host. `inputs` makes the session's inputs of it.
    fn entry<I>(&mut self, entry: &str, now: Now, inputs: impl FnOnce(&mut Port) -> I) -> RResult<(), Fault>
    where
        I: IntoIterator<Item = Input>,
    {
        let Some(session) = &mut self.session else { return RResult::ROk(()) };
        let port = &mut self.port;
        let called = guard::run(entry, || {
            for _ in 0..port.answers.len() {
                if let Some(answer) = port.answers.pop_front() {
                    step(session, port, now, answer)?;
                }
            }
            for input in inputs(port) {
                step(session, port, now, input)?;
            }
            if !port.answers.is_empty() {
                port.host.wake(WAKE_TOKEN);
            }
            Ok(session.next_timeout())
        });
        match called.and_then(|called| called) {
            Ok(next_timeout) => {
                self.next_timeout = next_timeout;
                RResult::ROk(())
            }
            Err(fault) => {
                self.end();
                RResult::RErr(fault)
            }
        }
    }

    /// Lets the session go. It may be in pieces after a panic, so its drop is an entry too.
    fn end(&mut self) {
        self.next_timeout = None;
        let session = self.session.take();
        if let Err(fault) = guard::run("drop", move || drop(session)) {
            self.port.host.log(LogLevel::ERROR, fault.message.as_rstr());
        }
    }
}

fn step<S: Session>(session: &mut S, port: &mut Port, now: Now, input: Input) -> Result<(), Fault> {
    for output in session.handle_input(now, input)? {
        port.carry_out(output)?;
    }
    Ok(())
}

impl<S: Session> Plugin for Driver<S> {
    fn start(&mut self, now: Now) -> RResult<(), Fault> {
        self.entry("start", now, |_| [Input::Start])
    }

    fn reports(&mut self, now: Now, batch: RSlice<'_, Report>) -> RResult<(), Fault> {
        self.entry("reports", now, |port| (!batch.is_empty()).then(|| port.reports(&batch)))
    }

    fn outcomes(&mut self, now: Now, batch: RSlice<'_, CommandOutcome>) -> RResult<(), Fault> {
        self.entry("outcomes", now, |port| port.outcomes(&batch))
    }

    fn event(&mut self, now: Now, event: Event<'_>) -> RResult<(), Fault> {
        self.entry("event", now, |port| port.event(&event))
    }

    fn timeout(&mut self, now: Now) -> RResult<(), Fault> {
        self.entry("timeout", now, |_| [Input::Timeout])
    }

    fn next_timeout(&self) -> ROption<Timestamp> {
        self.next_timeout.into()
    }

    fn stop(&mut self, now: Now) -> RResult<(), Fault> {
        let stopped = self.entry("stop", now, |_| [Input::Stop]);
        self.end();
        stopped
    }

    fn extension(&self, _id: RStr<'_>) -> ROption<ExtensionRef> {
        ROption::RNone
    }
}

impl<S: Session> Drop for Driver<S> {
    fn drop(&mut self) {
        self.end();
        guard::release(self.port.instance);
    }
}

/// The token of the driver's own wake-ups.
const WAKE_TOKEN: u64 = 1;

/// Answers that wait for the next call. More is a fault: a session that asks for so much that cannot be done, in one
/// call, is beyond helping, and an answer that is silently lost would leave it waiting for ever. Not documented; chosen
/// by us.
const ANSWERS_WAITING_MAX: usize = 1024;
