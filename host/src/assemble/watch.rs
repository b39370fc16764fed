//! From the bus's events to what `polylink watch` shows: names instead of numbers, texts instead of values.

use std::sync::Arc;

use polylink_plugin_api::{Cause, CommandBody, DatapointId, Property as Valued, ReportBody};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::admin::value::show_value;
use crate::admin::{DatapointReport, WatchEvent};
use crate::bus::{self, Bus};
use crate::hub::Hub;
use crate::product::{Field, Product, Property};

/// Everything that happens from now on, for one watcher. Ends with its receiver.
pub fn watch(hub: &Arc<Hub>) -> broadcast::Receiver<WatchEvent> {
    let (sender, receiver) = broadcast::channel(BACKLOG);
    let (hub, mut events) = (Arc::clone(hub), hub.watch());
    tokio::spawn(async move {
        loop {
            let received = events.recv().await;
            let at_unix_ms = hub.now().wall.unix_ms;
            let event = match received {
                Ok(event) => {
                    let product = hub.look(|bus| bus.product().cloned());
                    shown(&event, product.as_deref(), at_unix_ms)
                }
                Err(RecvError::Lagged(lost)) => WatchEvent::Status {
                    at_unix_ms,
                    who: "host".to_owned(),
                    state: "busy".to_owned(),
                    text: format!("{lost} events are not shown"),
                },
                Err(RecvError::Closed) => return,
            };
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

fn shown(event: &bus::WatchEvent, product: Option<&Product>, at_unix_ms: i64) -> WatchEvent {
    match event {
        bus::WatchEvent::Online(online) => WatchEvent::Status {
            at_unix_ms,
            who: "mcu".to_owned(),
            state: if *online { "online" } else { "silent" }.to_owned(),
            text: String::new(),
        },
        bus::WatchEvent::Report { at, device, cause, origin, body } => {
            let (event, values) = report(product, body);
            WatchEvent::Report {
                at_unix_ms: at.unix_ms,
                device: *device,
                cause: cause_name(*cause).to_owned(),
                origin: origin.clone(),
                event,
                values,
            }
        }
        bus::WatchEvent::Command { ticket, from, body } => {
            let (what, values) = command(product, body);
            WatchEvent::Command { at_unix_ms, origin: from.clone(), ticket: *ticket, what, values }
        }
        bus::WatchEvent::Outcome { ticket, from, kind, reason, .. } => WatchEvent::Outcome {
            at_unix_ms,
            origin: from.clone(),
            ticket: *ticket,
            result: (*kind).to_owned(),
            reason: reason.clone(),
        },
    }
}

fn report(product: Option<&Product>, body: &ReportBody) -> (String, Vec<(String, String)>) {
    match body {
        ReportBody::Properties(values) => (String::new(), named(values, |at| property(product, at))),
        ReportBody::Event { id, params } => {
            let event = product.and_then(|product| product.events.get(id.0 as usize));
            let name = event.map_or_else(|| format!("event {}", id.0), |event| event.name.clone());
            (name, named(params, |at| event?.params.get(at)))
        }
        ReportBody::Raw(bytes) => ("raw".to_owned(), vec![raw(bytes)]),
    }
}

fn command(product: Option<&Product>, body: &CommandBody) -> (String, Vec<(String, String)>) {
    match body {
        CommandBody::Set(values) => ("set".to_owned(), named(values, |at| property(product, at))),
        CommandBody::Get(ids) => {
            let name = |at: usize| property(product, at).map_or_else(|| at.to_string(), |field| field.name.clone());
            ("get".to_owned(), ids.iter().map(|id| (name(id.0 as usize), String::new())).collect())
        }
        CommandBody::Invoke { action, params } => {
            let known = product.and_then(|product| product.actions.get(action.0 as usize));
            let name = known.map_or_else(|| format!("action {}", action.0), |known| known.name.clone());
            (name, named(params, |at| known?.params.get(at)))
        }
        CommandBody::Raw(bytes) => ("raw".to_owned(), vec![raw(bytes)]),
    }
}

fn named<'a>(values: &[Valued], field: impl Fn(usize) -> Option<&'a Field>) -> Vec<(String, String)> {
    let one = |property: &Valued| match field(property.id.0 as usize) {
        Some(field) => (field.name.clone(), show_value(field, &property.value)),
        None => (property.id.0.to_string(), property.value.to_string()),
    };
    values.iter().map(one).collect()
}

fn property(product: Option<&Product>, at: usize) -> Option<&Field> {
    product?.properties.get(at).map(|property| &property.field)
}

fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::PERIODIC => "periodic",
        Cause::ANSWER => "answer",
        _ => "change",
    }
}

fn raw(bytes: &[u8]) -> (String, String) {
    let text = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    ("bytes".to_owned(), text)
}

/// The last known values of the device itself, by datapoint.
pub fn datapoints(bus: &Bus) -> Vec<DatapointReport> {
    let Some(product) = bus.product() else { return Vec::new() };
    let describe = |(id, property): (u32, &Property)| {
        let known = bus.value(0, DatapointId(id));
        DatapointReport {
            name: property.field.name.clone(),
            value: known.map(|(value, _)| show_value(&property.field, value)),
            unit: property.field.unit.clone(),
            kind: property.field.kind.name().to_owned(),
            writable: property.writable,
            at_unix_ms: known.map(|(_, at)| at.unix_ms),
        }
    };
    (0..).zip(&product.properties).map(describe).collect()
}

/// Events kept for one watcher; beyond it the oldest are lost, and it is told how many. Chosen by us.
const BACKLOG: usize = 256;
