//! [`Happening`]: what may happen to a session, whatever its cloud is. [`Witness`]: who lets it happen, remembers what the
//! session asked for, and holds it to what holds for every session. For property tests: whatever comes, in whatever order,
//! each report is settled once.

use std::collections::BTreeMap;

use polylink_plugin_api::ClockQuality;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::VirtualHost;
use crate::services::{Reason, module, mqtt, network};
use crate::value::{Cause, DatapointId, Outcome, OutcomeResult, Report, ReportBody, Value};
use crate::{Input, Output, RequestId, WallTime};

/// One thing that may happen. An [`Index`] picks one of the latest that were asked for; nothing happens if there is none.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A publish is answered.
    Published(Index, Result<(), Reason>),
    /// A subscription is granted, or refused with 0x80.
    Subscribed(Index, u8),
    /// A command ends.
    Outcome(Index, OutcomeResult),
    /// The device, or a subdevice, reports this so often.
    Reports {
        /// How often.
        n: usize,
        /// The device.
        device: u32,
        /// Why.
        cause: Cause,
        /// What.
        body: ReportBody,
        /// Milliseconds ago; `None`: its time is not known.
        age_ms: Option<i64>,
    },
    /// So many milliseconds pass.
    Advance(u64),
    /// The wall clock is set forward or back by so many milliseconds.
    Wall(i64, ClockQuality),
    /// The broker accepts.
    Accept,
    /// The broker refuses.
    Refuse(u8),
    /// The connection breaks.
    Cut,
    /// Something happens at the module.
    Module(module::Event),
    /// The network comes or goes.
    Network(bool),
    /// The module restarts; what was not settled is reported again.
    Restart,
}

/// Anything that takes less than this time; no restart, which a test adds where its plugin is to survive one.
pub fn any_happening(longest_ms: u64) -> impl Strategy<Value = Happening> {
    let reason = select(vec![Reason::Quota, Reason::Invalid, Reason::Timeout, Reason::ConnectionLost, Reason::Closed]);
    let published = prop_oneof![4 => Just(Ok(())), 1 => reason.prop_map(Err)];
    let qos = select(vec![0_u8, 1, 1, 1, 1, 0x80]);
    let result = select(vec![
        OutcomeResult::Done,
        OutcomeResult::Done,
        OutcomeResult::Refused("out of range".to_owned()),
        OutcomeResult::Unreachable,
        OutcomeResult::TimedOut,
        OutcomeResult::Superseded,
    ]);
    let day = 86_400_000_i64;
    let quality = (0..4_u8).prop_map(ClockQuality);
    prop_oneof![
        5 => (any::<Index>(), published).prop_map(|(which, result)| Happening::Published(which, result)),
        4 => (any::<Index>(), qos).prop_map(|(which, qos)| Happening::Subscribed(which, qos)),
        5 => (any::<Index>(), result).prop_map(|(which, result)| Happening::Outcome(which, result)),
        6 => any_reports(),
        5 => prop_oneof![0..1_100_u64, 0..longest_ms].prop_map(Happening::Advance),
        1 => (-day..day, quality).prop_map(|(by_ms, quality)| Happening::Wall(by_ms, quality)),
        3 => Just(Happening::Accept),
        1 => prop_oneof![0..7_u8, any::<u8>()].prop_map(Happening::Refuse),
        1 => Just(Happening::Cut),
        1 => any_module_event().prop_map(Happening::Module),
        1 => any::<bool>().prop_map(Happening::Network),
    ]
}

fn any_reports() -> impl Strategy<Value = Happening> {
    let id = || (0..6_u32).prop_map(DatapointId);
    let value = || {
        prop_oneof![
            6 => (-5..5_i64).prop_map(Value::Int),
            2 => any::<bool>().prop_map(Value::Bool),
            1 => Just(Value::Text("x".repeat(200_000))),
        ]
    };
    let body = prop_oneof![
        6 => prop::collection::vec((id(), value()), 0..3).prop_map(ReportBody::Properties),
        1 => (id(), prop::collection::vec((id(), value()), 0..2))
            .prop_map(|(id, params)| ReportBody::Event { id, params }),
        2 => prop::collection::vec(any::<u8>(), 0..5).prop_map(ReportBody::Raw),
    ];
    let n = prop_oneof![20 => 1..4_usize, 1 => 100..300_usize];
    let device = prop_oneof![20 => Just(0_u32), 1 => Just(1)];
    let cause = select(vec![Cause::Change, Cause::Change, Cause::Change, Cause::Answer, Cause::Snapshot]);
    let age = prop_oneof![4 => 0..100_i64, 2 => 50_000..100_000_i64, 1 => any::<i32>().prop_map(i64::from)];
    (n, device, cause, body, prop::option::weighted(0.8, age))
        .prop_map(|(n, device, cause, body, age_ms)| Happening::Reports { n, device, cause, body, age_ms })
}

fn any_module_event() -> impl Strategy<Value = module::Event> {
    prop_oneof![
        Just(module::Event::Reset),
        Just(module::Event::Unbind),
        any::<u8>().prop_map(|s| module::Event::BindWindow(s.into())),
        any::<u8>().prop_map(|version| module::Event::Changed(module::Facts {
            mcu_software: version.to_string(),
            ..Default::default()
        })),
    ]
}

/// See the module.
#[derive(Debug, Default)]
pub struct Witness {
    connection: Option<RequestId>,
    /// The connection is open.
    is_open: bool,
    subscriptions: Vec<RequestId>,
    publishes: Vec<RequestId>,
    commands: Vec<RequestId>,
    unsettled: BTreeMap<u64, Report>,
    last_seq: u64,
}

impl Witness {
    /// Takes what the session asked for since, and looks at it; the test may look closer.
    ///
    /// # Panics
    /// The session asks for too much, or settles what is settled or was never reported.
    #[track_caller]
    pub fn listen(&mut self, host: &mut VirtualHost) -> Vec<Output> {
        let outputs = host.take_outputs();
        assert!(outputs.len() < ASKED_AT_ONCE_MAX, "{} things asked at once", outputs.len());
        for output in &outputs {
            match output {
                Output::Mqtt(mqtt::Request::Connect(id, _)) => {
                    let before = self.connection.replace(*id);
                    assert_eq!(before, None, "two connections at once");
                    self.is_open = false;
                    self.subscriptions.clear();
                }
                Output::Mqtt(mqtt::Request::Disconnect(id)) => drop(self.connection.take_if(|open| open == id)),
                Output::Mqtt(mqtt::Request::Subscribe { id, .. }) => self.subscriptions.push(*id),
                Output::Mqtt(mqtt::Request::Publish { id, .. }) => self.publishes.push(*id),
                Output::Submit(id, _) => {
                    self.commands.push(*id);
                    assert!(self.commands.len() <= COMMANDS_MAX, "too many commands at once");
                }
                Output::Settle(seqs) => {
                    for seq in seqs {
                        assert!(self.unsettled.remove(seq).is_some(), "{seq} is settled, and is not open");
                    }
                }
                _ => {}
            }
        }
        outputs
    }

    /// Lets it happen.
    #[track_caller]
    pub fn happen(&mut self, host: &mut VirtualHost, happening: Happening) {
        match happening {
            Happening::Published(which, result) => match (pick(&self.publishes, which), result) {
                (Some(id), Ok(())) => host.published(id),
                (Some(id), Err(reason)) => host.publish_failed(id, reason),
                (None, _) => {}
            },
            Happening::Subscribed(which, qos) => {
                if let Some(id) = pick(&self.subscriptions, which) {
                    host.subscribed(id, qos);
                }
            }
            Happening::Outcome(which, result) => {
                if let Some(id) = pick(&self.commands, which) {
                    self.commands.retain(|command| *command != id);
                    let values = vec![(DatapointId(1), Value::Int(1))];
                    host.deliver(Input::Outcome(id, Outcome { result, values, document: None }));
                }
            }
            Happening::Reports { n, device, cause, body, age_ms } => {
                let wall = host.now().wall;
                let at = age_ms.map_or_else(WallTime::default, |age| WallTime {
                    unix_ms: wall.unix_ms.saturating_sub(age),
                    quality: ClockQuality::SYNCED,
                });
                let free = REPORTS_MAX.saturating_sub(self.unsettled.len());
                let body = std::iter::repeat_n(body, n.min(free));
                let reports = body.map(|body| {
                    self.last_seq += 1;
                    Report { seq: self.last_seq, at, device, cause, caused_by: None, body }
                });
                let reports: Vec<Report> = reports.collect();
                self.unsettled.extend(reports.iter().map(|report| (report.seq, report.clone())));
                host.deliver(Input::Reports(reports));
            }
            Happening::Advance(ms) => host.advance(ms),
            Happening::Wall(by_ms, quality) => host.set_wall(host.now().wall.unix_ms.saturating_add(by_ms), quality),
            Happening::Accept => self.accept(host),
            Happening::Refuse(code) => {
                if let Some(id) = self.connection.take_if(|_| !self.is_open) {
                    host.mqtt_refused(id, code);
                }
            }
            Happening::Cut => {
                if let Some(id) = self.connection.take() {
                    host.mqtt_closed(id, Reason::ConnectionLost);
                }
            }
            Happening::Module(event) => host.module_event(event),
            Happening::Network(up) => {
                host.interfaces_changed(if up { vec![network::Interface::default()] } else { Vec::new() });
            }
            Happening::Restart => {
                let Self { unsettled, last_seq, .. } = std::mem::take(self);
                *self = Self { unsettled, last_seq, ..Self::default() };
                host.restart();
                host.deliver(Input::Reports(self.unsettled.values().cloned().collect()));
            }
        }
    }

    #[track_caller]
    fn accept(&mut self, host: &mut VirtualHost) {
        if let Some(id) = self.connection.filter(|_| !self.is_open) {
            self.is_open = true;
            host.mqtt_connected(id);
        }
    }

    /// Everything works: each wish for a connection, a subscription or a publish is granted. What the cloud says to it is the
    /// test's business.
    #[track_caller]
    pub fn serve(&mut self, host: &mut VirtualHost) {
        self.accept(host);
        for id in std::mem::take(&mut self.subscriptions) {
            host.subscribed(id, 1);
        }
        for id in std::mem::take(&mut self.publishes) {
            host.published(id);
        }
    }

    /// The connection that is asked for or open.
    #[must_use]
    pub const fn connection(&self) -> Option<RequestId> {
        self.connection
    }

    /// Reports that are not settled.
    #[must_use]
    pub fn unsettled(&self) -> Vec<u64> {
        self.unsettled.keys().copied().collect()
    }
}

/// One of the latest, which are the interesting ones.
#[must_use]
pub fn pick<T: Clone>(list: &[T], which: Index) -> Option<T> {
    let list = &list[list.len().saturating_sub(LATEST)..];
    (!list.is_empty()).then(|| which.get(list).clone())
}

/// Not documented; chosen by us: more than an hour of repetitions without an answer takes.
const ASKED_AT_ONCE_MAX: usize = 10_000;
/// Not documented; chosen by us: as many as a plugin should have open.
const COMMANDS_MAX: usize = 64;
/// As many as the host gives to an instance before some are settled.
const REPORTS_MAX: usize = 256;
/// Not documented; chosen by us.
const LATEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Setup;
    use crate::{Context, Fault, Now, Session, Timestamp};

    /// Settles each report when it is connected, and once more if its settings say so.
    struct Settler {
        again: bool,
        seqs: Vec<u64>,
    }

    impl Session for Settler {
        fn new(context: Context) -> Result<Self, Fault> {
            Ok(Self { again: context.settings == "again", seqs: Vec::new() })
        }

        fn handle_input(&mut self, _now: Now, input: Input) -> Result<Vec<Output>, Fault> {
            Ok(match input {
                Input::Reports(reports) => {
                    self.seqs.extend(reports.iter().map(|report| report.seq));
                    vec![Output::Mqtt(mqtt::Request::Connect(RequestId(1), Box::default()))]
                }
                Input::Mqtt(mqtt::Event::Connected { .. }) => {
                    let settled = Output::Settle(self.seqs.clone());
                    if self.again { vec![settled.clone(), settled] } else { vec![settled] }
                }
                _ => Vec::new(),
            })
        }

        fn next_timeout(&self) -> Option<Timestamp> {
            None
        }
    }

    /// A session of which three reports are settled, over a restart.
    fn settled(settings: &str) -> Witness {
        let mut host = VirtualHost::new::<Settler>(Setup::new(settings, ""));
        host.start();
        let mut witness = Witness::default();
        let body = ReportBody::Raw(Vec::new());
        let reports = Happening::Reports { n: 3, device: 0, cause: Cause::Change, body, age_ms: None };
        for happening in [reports, Happening::Restart] {
            witness.happen(&mut host, happening);
            witness.listen(&mut host);
            assert_eq!(witness.unsettled(), [1, 2, 3]);
        }
        witness.serve(&mut host);
        witness.listen(&mut host);
        witness
    }

    #[test]
    fn what_is_not_settled_is_reported_again_after_a_restart() {
        assert_eq!(settled("once").unsettled(), [0; 0]);
    }

    #[test]
    #[should_panic(expected = "1 is settled, and is not open")]
    fn what_is_settled_twice_is_noticed() {
        settled("again");
    }
}
