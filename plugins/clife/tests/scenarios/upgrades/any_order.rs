//! Whatever the host says in whatever order, over broken connections and restarts: the platform is told each event once, in
//! its order, and of an end.

use polylink_plugin_sdk::Output;
use polylink_plugin_sdk::services::mqtt;
use polylink_plugin_sdk::services::ota::{Failure, Phase, Request};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::{Going, going};

#[derive(Clone, Debug)]
enum Step {
    /// The host says this of the update.
    Update(Phase, u8),
    /// The same while the device is away.
    Away(Vec<(Phase, u8)>),
    Restart,
    Wait(u64),
}

/// What the platform was told under the number of the order, and whether the host may forget the update.
#[derive(Default)]
struct Heard {
    events: Vec<(i64, String)>,
    is_acknowledged: bool,
}

impl Heard {
    /// The broker takes everything.
    fn listen(&mut self, going: &mut Going) {
        loop {
            let outputs = going.cloud.host.take_outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::Ota(Request::Acknowledge(id)) => self.is_acknowledged |= id == going.update.id,
                    Output::Mqtt(mqtt::Request::Publish { id, message, .. }) => {
                        let frame: Value = serde_json::from_slice(&message.payload).unwrap();
                        if frame["cmd"] == 2018 && frame["msgId"] == going.order {
                            let body = going.cloud.open(&frame);
                            let text = body["respCont"].as_str().unwrap().to_owned();
                            self.events.push((body["respCode"].as_i64().unwrap(), text));
                        }
                        going.cloud.host.published(id);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Where an event belongs in the whole of an operation.
fn rank((code, text): &(i64, String)) -> (u8, u8) {
    match (code, text.parse()) {
        (1, Ok(percent)) => (1, percent),
        (0, Ok(percent)) => (2, percent),
        _ => (3, 0),
    }
}

fn any_update() -> impl Strategy<Value = (Phase, u8)> {
    let failure = select(vec![Failure::Download, Failure::Digest, Failure::Install, Failure::Space]);
    let phase = prop_oneof![
        1 => Just(Phase::Waiting),
        8 => Just(Phase::Downloading),
        3 => Just(Phase::Installing),
        1 => failure.prop_map(Phase::Failed),
    ];
    (phase, 0..=100_u8)
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_update().prop_map(|(phase, percent)| Step::Update(phase, percent)),
        1 => prop::collection::vec(any_update(), 0..4).prop_map(Step::Away),
        1 => Just(Step::Restart),
        2 => (0..3_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_event_is_told_once_in_its_order(steps in prop::collection::vec(any_step(), 0..16)) {
        let (mut going, mut heard) = (going(), Heard::default());
        for step in steps {
            match step {
                Step::Update(phase, percent) => going.becomes(phase, percent),
                Step::Away(updates) => {
                    going.cloud.cut();
                    updates.into_iter().for_each(|(phase, percent)| going.becomes(phase, percent));
                    going.cloud.reconnect();
                }
                Step::Restart => going.restart(),
                Step::Wait(ms) => going.cloud.host.advance(ms),
            }
            heard.listen(&mut going);
        }
        going.becomes(Phase::Finished, 100);
        heard.listen(&mut going);
        let ranks: Vec<_> = heard.events.iter().map(rank).collect();
        prop_assert!(ranks.is_sorted_by(|a, b| a < b), "{:?}", heard.events);
        let last = ranks.last().copied();
        prop_assert!(last == Some((2, 100)) || last.is_some_and(|last| last.0 == 3), "{:?}", heard.events);
        prop_assert!(heard.is_acknowledged);
    }
}
