//! What the running host answers on its control socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use polylink_plugin_api::services::subdevices::Subdevice;
use polylink_plugin_api::{Command, CommandBody, DatapointId, Now, OutcomeKind, Property, StatusPhase, Timestamp};
use tokio::sync::{broadcast, mpsc};

use super::module::ModuleSide;
use super::product::Clouds;
use super::subdevices::SubdeviceSide;
use super::updates::UpdateSide;
use super::watch;
use crate::admin::{
    CloudStatus, Control, DatapointReport, FaultCount, HostStatus, InboxStatus, JournalReport, JournalStatus,
    McuStatus, ModuleReport, NamedCloud, PluginChange, PluginReport, SetOutcome, StatusReport, SubdeviceReport,
    UpdateReport, WatchEvent, parse_value,
};
use crate::config::{HostConfig, LinkKind};
use crate::hub::Hub;
use crate::log::KeptLog;
use crate::mcu::subdevices::radio_name;
use crate::plugins::{InstanceStatus, Phase};
use crate::spool::SpoolUsage;
use crate::update::coordinator::{Listed, Outcome, Progress};

/// See the module.
pub struct HostControl {
    hub: Arc<Hub>,
    module: Arc<ModuleSide>,
    subdevices: Arc<SubdeviceSide>,
    updates: Arc<UpdateSide>,
    clouds: Arc<Clouds>,
    log: KeptLog,
    link: &'static str,
    port: String,
    started: Timestamp,
}

/// What it tells of, beside the clouds.
pub struct Sides {
    pub hub: Arc<Hub>,
    pub module: Arc<ModuleSide>,
    pub subdevices: Arc<SubdeviceSide>,
    pub updates: Arc<UpdateSide>,
    pub log: KeptLog,
}

impl HostControl {
    pub fn new(config: &HostConfig, sides: Sides, clouds: Arc<Clouds>) -> Self {
        let Sides { hub, module, subdevices, updates, log } = sides;
        let link = match config.mcu.link {
            LinkKind::GizwitsUart => "gizwits-uart",
            LinkKind::Jsonl => "jsonl",
        };
        let started = hub.now().monotonic;
        Self {
            hub,
            module,
            subdevices,
            updates,
            log,
            clouds,
            link,
            port: super::port_address(config).to_string(),
            started,
        }
    }

    fn cloud(&self, status: InstanceStatus) -> CloudStatus {
        let usage = status.instance.map(|instance| self.clouds.usage(instance)).unwrap_or_default();
        let losses = status.usage.losses;
        let Now { monotonic: now, wall, .. } = self.hub.now();
        let wall_ms = wall.unix_ms;
        let waits = status.waits_for.map(|name| format!("waits until another cloud names `{name}`"));
        CloudStatus {
            name: status.cloud,
            plugin: status.plugin,
            version: status.version,
            build: status.build,
            file: status.file.map(|file| file.display().to_string()).unwrap_or_default(),
            lifecycle: phase(status.phase).to_owned(),
            session: session(status.said.phase).to_owned(),
            text: waits.unwrap_or_else(|| status.said.text.into()),
            facts: status.said.facts.into_iter().map(|fact| (fact.0.into(), fact.1.into())).collect(),
            journal: JournalStatus {
                pending: (status.usage.waiting + status.usage.unsettled) as u64,
                settled: status.usage.settled,
                lost: losses.values + losses.history + losses.alarms,
                oldest_ms: status.usage.oldest_at.and_then(|at| u64::try_from(wall_ms - at.unix_ms).ok()),
            },
            inbox: InboxStatus { queued: status.events_waiting as u64, dropped: status.events_dropped },
            usage: BTreeMap::from([
                ("handles".to_owned(), usage.handles as u64),
                ("refused_calls".to_owned(), usage.refused),
                ("store_bytes".to_owned(), usage.store_bytes as u64),
                ("store_unsaved".to_owned(), usage.store_unsaved as u64),
                ("slow_calls".to_owned(), status.slow_calls),
                ("log_lines_left_out".to_owned(), status.log_lines_left_out),
            ]),
            faults: FaultCount {
                count: status.faults,
                last: (!status.last_fault.is_empty()).then_some(status.last_fault),
                at_unix_ms: status.last_fault_at.map(|at| at.unix_ms),
            },
            retry_in_ms: match status.phase {
                Phase::Faulted { retry_at } => Some(retry_at.since(now)),
                _ => None,
            },
        }
    }
}

impl HostControl {
    fn module_report(&self) -> ModuleReport {
        let standing = self.module.standing();
        let named = standing.named.into_iter();
        ModuleReport {
            mode: standing.mode.to_owned(),
            bindable: standing.bindable,
            bindable_ms: standing.bindable_ms,
            named_clouds: named
                .map(|(name, hint)| (name, NamedCloud { by: hint.by, parameters: hint.parameters }))
                .collect(),
        }
    }
}

#[async_trait]
impl Control for HostControl {
    fn status(&self) -> StatusReport {
        let (running, refused) = self.clouds.status();
        let mut clouds: Vec<CloudStatus> = running.into_iter().map(|status| self.cloud(status)).collect();
        clouds.extend(refused.into_iter().map(|(name, why)| CloudStatus {
            name,
            lifecycle: "off".to_owned(),
            text: why,
            ..CloudStatus::default()
        }));
        clouds.sort_by(|a, b| a.name.cmp(&b.name));
        let (datapoints, counters, online, (reports, bytes)) =
            self.hub.look(|bus| (watch::datapoints(bus), bus.counters(), bus.is_online(), bus.journal_usage()));
        let (state, product) = self.clouds.state();
        let identity = self.module.identity().unwrap_or_default();
        let identity = [
            ("product_key", identity.product_key),
            ("serial", identity.serial),
            ("hardware", identity.hardware),
            ("software", identity.software),
        ];
        StatusReport {
            host: HostStatus {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                uptime_ms: self.hub.now().monotonic.since(self.started),
                pid: std::process::id(),
                state,
                product,
                mcu: McuStatus {
                    link: self.link.to_owned(),
                    port: self.port.clone(),
                    online,
                    identity: identity
                        .into_iter()
                        .filter(|(_, text)| !text.is_empty())
                        .map(|(name, text)| (name.to_owned(), text))
                        .collect(),
                    counters: self.module.counters(),
                },
                module: self.module_report(),
            },
            clouds,
            subdevices: self.subdevices.known().into_iter().map(subdevice).collect(),
            updates: self.updates.updates.all().into_iter().map(update).collect(),
            datapoints,
            counters: BTreeMap::from([
                ("reports".to_owned(), counters.reports),
                ("unchanged".to_owned(), counters.unchanged),
                ("misfits".to_owned(), counters.misfits),
                ("commands".to_owned(), counters.commands),
                ("commands_done".to_owned(), counters.commands_done),
                ("journal_reports".to_owned(), reports as u64),
                ("journal_bytes".to_owned(), bytes as u64),
            ]),
            journal: self.hub.spool_usage().map(journal).unwrap_or_default(),
        }
    }

    fn get(&self, names: &[String]) -> Result<Vec<DatapointReport>, String> {
        let all = self.hub.look(watch::datapoints);
        if names.is_empty() {
            return Ok(all);
        }
        let known = || all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
        let find = |name: &String| {
            let found = all.iter().find(|one| one.name == *name).cloned();
            found.ok_or_else(|| format!("there is no datapoint `{name}`; there are {}", known()))
        };
        names.iter().map(find).collect()
    }

    async fn set(&self, values: Vec<(String, String)>) -> Vec<SetOutcome> {
        let product = self.hub.look(|bus| bus.product().cloned());
        let refused = |name: &String, text: String| SetOutcome { name: name.clone(), done: false, text };
        let Some(product) = product else {
            let text = "the product is not known yet: the MCU has not said what it is";
            return values.iter().map(|(name, _)| refused(name, text.to_owned())).collect();
        };
        let mut properties = Vec::new();
        let mut outcomes = Vec::new();
        for (name, text) in &values {
            let parsed = match product.property(name) {
                None => Err(format!("there is no datapoint `{name}`")),
                Some((id, property)) => parse_value(&property.field, text)
                    .map(|value| Property { id: DatapointId(id), value })
                    .map_err(|error| error.to_string()),
            };
            match parsed {
                Ok(property) => properties.push(property),
                Err(text) => outcomes.push(refused(name, text)),
            }
        }
        if !outcomes.is_empty() {
            // All or none: a half-set device is not what was asked for.
            let fine = values.iter().filter(|(name, _)| !outcomes.iter().any(|outcome| outcome.name == *name));
            let left: Vec<_> =
                fine.map(|(name, _)| refused(name, "not set, because another one is wrong".into())).collect();
            outcomes.extend(left);
            return outcomes;
        }
        properties.sort_by_key(|property| property.id);
        let body = CommandBody::Set(properties.into());
        let command = Command { device: 0, body, deadline_ms: 0, message_id: "".into() };
        let outcome = self.hub.submit_locally(&command).await;
        let (done, text) = match outcome {
            Ok(outcome) if outcome.kind == OutcomeKind::DONE => (true, String::new()),
            Ok(outcome) => (false, reason(outcome.kind, outcome.reason.as_str())),
            Err(_) => (false, "the host stopped before the MCU answered".to_owned()),
        };
        values.into_iter().map(|(name, _)| SetOutcome { name, done, text: text.clone() }).collect()
    }

    fn watch(&self) -> broadcast::Receiver<WatchEvent> {
        watch::watch(&self.hub)
    }

    fn plugins(&self) -> Vec<PluginReport> {
        let (running, _) = self.clouds.status();
        running
            .into_iter()
            .map(|status| PluginReport {
                file: status.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default(),
                refused: status.file.is_none().then_some(status.last_fault),
                name: status.plugin,
                version: status.version,
                build: status.build,
                ..PluginReport::default()
            })
            .collect()
    }

    async fn change_plugin(&self, change: PluginChange, steps: mpsc::Sender<String>) -> Result<String, String> {
        let clouds = Arc::clone(&self.clouds);
        // A task of its own: a client that hangs up leaves nothing half done.
        let done = tokio::spawn(async move { clouds.change_plugin(change, steps).await });
        done.await.unwrap_or_else(|error| Err(format!("the host failed at it: {error}")))
    }

    fn log(&self) -> String {
        self.log.text(self.hub.now(), i64::MIN, i64::MAX)
    }
}

fn journal(usage: SpoolUsage) -> JournalReport {
    JournalReport {
        tier: usage.tier.to_owned(),
        memory_bytes: usage.memory_bytes,
        flash_bytes: usage.flash_bytes,
        report_bytes: usage.report_bytes,
        memory_written: usage.memory_written,
        flash_written: usage.flash_written,
        flash_syncs: usage.flash_syncs,
        errors: usage.errors,
        restored: usage.restored,
        dropped: usage.dropped,
        broken: usage.broken,
    }
}

fn update((cloud, listed): (String, Listed)) -> UpdateReport {
    let (state, percent, why) = match listed.progress {
        Progress::Waiting => ("waiting", 0, String::new()),
        Progress::Loading(percent) => ("loading", percent, String::new()),
        Progress::Installing(percent) => ("installing", percent, String::new()),
        Progress::Ended(Outcome::Succeeded) => ("succeeded", 100, String::new()),
        Progress::Ended(Outcome::Cancelled) => ("cancelled", 0, String::new()),
        Progress::Ended(Outcome::Failed { why, .. }) => ("failed", 0, why),
    };
    UpdateReport {
        id: listed.id,
        cloud,
        reference: listed.reference,
        target: listed.target.to_string(),
        device: listed.device,
        version: listed.version,
        state: state.to_owned(),
        percent,
        why,
    }
}

fn subdevice(subdevice: Subdevice) -> SubdeviceReport {
    SubdeviceReport {
        index: subdevice.index,
        product: subdevice.product.into(),
        address: subdevice.address.into(),
        radio: radio_name(subdevice.radio).to_owned(),
        accepted: subdevice.accepted,
        online: subdevice.online,
        signal_percent: subdevice.signal_percent.into_option(),
        version: subdevice.version.into(),
    }
}

fn reason(kind: OutcomeKind, reason: &str) -> String {
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match kind {
        OutcomeKind::UNREACHABLE => "the MCU does not answer; nothing was sent",
        OutcomeKind::TIMED_OUT => "the MCU did not answer in time; it may or may not have obeyed",
        OutcomeKind::SUPERSEDED => "a later command took its place",
        _ => "refused",
    }
    .to_owned()
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Declared => "declared",
        Phase::Loaded => "loaded",
        Phase::Started => "started",
        Phase::Faulted { .. } => "faulted",
        Phase::Quarantined => "quarantined",
        Phase::Disabled => "disabled",
        Phase::Stopped => "stopped",
    }
}

fn session(phase: StatusPhase) -> &'static str {
    match phase {
        StatusPhase::OFFLINE => "offline",
        StatusPhase::ONLINE => "online",
        StatusPhase::ATTENTION => "attention",
        _ => "connecting",
    }
}
