//! A Polylink plugin in straight-line style: one task that connects, publishes what the device reports and sets what the
//! cloud wants. `plugins/template` is the same idea as a state machine.

use std::collections::{BTreeMap, VecDeque};

use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::services::{self, mqtt};
use polylink_plugin_sdk::session::{Level, Phase};
use polylink_plugin_sdk::straight::{Cloud, Straight, StraightLine, async_trait};
use polylink_plugin_sdk::thing_model::ThingModel;
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{
    Cause, Command, CommandBody, Context, Fault, Input, OutcomeResult, PluginInfo, Report, ReportBody, RequestId,
    export_plugin, settings,
};
use serde::Deserialize;
use serde_json::value::RawValue;

export_plugin!(Straight<Simple>, INFO);

/// What this plugin says of itself.
pub const INFO: PluginInfo = PluginInfo {
    name: "template-async",
    version: env!("CARGO_PKG_VERSION"),
    cloud: "Any MQTT broker, plain",
    settings_schema: include_str!("../settings.schema.json"),
    services: &[services::id::MQTT],
    capabilities: "{}",
};

/// One connection to one broker.
pub struct Simple {
    settings: Settings,
    client_id: String,
    model: ThingModel,
    random: Random,
    /// Reports that the broker has not acknowledged, oldest first. At most [`PENDING_MAX`].
    pending: VecDeque<Report>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    host: String,
    topic: String,
}

/// Why something ended.
enum Ended {
    Broken,
    Stopped,
}

#[async_trait]
impl StraightLine for Simple {
    fn new(context: Context) -> Result<Self, Fault> {
        Ok(Self {
            settings: settings::parse(&context.settings)?,
            client_id: context.name,
            model: ThingModel::parse(&context.product)?,
            random: Random::new(context.seed),
            pending: VecDeque::new(),
        })
    }

    async fn run(mut self, cloud: Cloud) -> Result<(), Fault> {
        let mut backoff = Backoff::exponential(BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
        loop {
            cloud.status(Phase::Connecting, "");
            match cloud.mqtt_connect(self.connect()).await {
                Ok(connection) => {
                    backoff.connected(cloud.now().monotonic);
                    cloud.status(Phase::Online, "");
                    let ended = self.serve(&cloud, connection).await;
                    cloud.mqtt_disconnect(connection);
                    if let Ended::Stopped = ended {
                        return Ok(());
                    }
                }
                Err(why) => cloud.log(Level::Info, why.to_string()),
            }
            cloud.status(Phase::Offline, "");
            let delay = backoff.failed(cloud.now().monotonic, &mut self.random);
            if cloud.within(delay, self.collect(&cloud)).await.is_some() {
                return Ok(());
            }
        }
    }
}

impl Simple {
    fn connect(&self) -> mqtt::Connect {
        let (host, client_id) = (self.settings.host.clone(), self.client_id.clone());
        mqtt::Connect { host, client_id, ..mqtt::Connect::default() }
    }

    /// Works on a connection until it breaks or the plugin is stopped.
    async fn serve(&mut self, cloud: &Cloud, connection: RequestId) -> Ended {
        if cloud.subscribe(connection, &format!("{}/set", self.settings.topic), QOS).await.is_err() {
            return Ended::Broken;
        }
        loop {
            while let Some((seq, message)) = self.pending.front().map(|report| (report.seq, self.message(report))) {
                if let Some(message) = message
                    && cloud.publish(connection, message).await.is_err()
                {
                    return Ended::Broken;
                }
                cloud.settle([seq]);
                self.pending.pop_front();
            }
            match cloud.next().await {
                Input::Reports(reports) => self.keep(reports),
                Input::Mqtt(mqtt::Event::Message { payload, .. }) => self.set(cloud, &payload).await,
                Input::Mqtt(mqtt::Event::Closed(closed, _)) if closed == connection => return Ended::Broken,
                Input::Stop => return Ended::Stopped,
                _ => {}
            }
        }
    }

    /// Keeps reports while there is no connection; ends when the plugin is stopped.
    async fn collect(&mut self, cloud: &Cloud) {
        loop {
            match cloud.next().await {
                Input::Reports(reports) => self.keep(reports),
                Input::Stop => return,
                _ => {}
            }
        }
    }

    fn keep(&mut self, reports: Vec<Report>) {
        // What is live comes again with a number; only what shows the present needs it now.
        self.pending.extend(reports.into_iter().filter(|report| report.cause != Cause::Live));
        let surplus = self.pending.len().saturating_sub(PENDING_MAX);
        self.pending.drain(..surplus);
    }

    /// Properties as one JSON object; nothing else is published here.
    fn message(&self, report: &Report) -> Option<mqtt::Message> {
        let ReportBody::Properties(values) = &report.body else { return None };
        let member = |(id, value): &(_, _)| {
            let field = &self.model.property(*id)?.field;
            Some((field.cloud_name.as_str(), field.to_json(value).ok()?))
        };
        let members: BTreeMap<&str, Box<RawValue>> = values.iter().filter_map(member).collect();
        let payload = serde_json::to_vec(&members).ok()?;
        Some(mqtt::Message { topic: format!("{}/report", self.settings.topic), payload, qos: QOS, retain: false })
    }

    async fn set(&self, cloud: &Cloud, payload: &[u8]) {
        let values = match self.values(payload) {
            Ok(values) => values,
            Err(why) => return cloud.log(Level::Warn, format!("not set: {why}")),
        };
        let outcome = cloud.submit(Command::new(CommandBody::Set(values))).await;
        if outcome.result != OutcomeResult::Done {
            cloud.log(Level::Warn, format!("not set: {:?}", outcome.result));
        }
    }

    fn values(&self, payload: &[u8]) -> Result<Values, String> {
        let members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        let value = |name: &str, json: &RawValue| {
            let property = self.model.property_of_cloud(name).ok_or("no such property")?;
            Ok((property.field.id, property.field.from_json(json).map_err(|error| error.to_string())?))
        };
        members.iter().map(|(name, json)| value(name, json)).collect()
    }
}

/// At least once.
const QOS: u8 = 1;

/// Reports that wait. When full, the oldest is dropped; it comes again after a restart if the host still has it. Not
/// documented; chosen by us: the host hands over at most 256 unsettled ones.
const PENDING_MAX: usize = 512;

/// Not documented; chosen by us.
const BACKOFF_FIRST_MS: u64 = 1_000;

/// Not documented; chosen by us: a person waits no longer after the broker has come back.
const BACKOFF_MAX_MS: u64 = 60_000;

#[cfg(test)]
extern crate self as polylink_template_async;

#[cfg(test)]
#[path = "../tests/scenarios.rs"]
mod scenarios;
