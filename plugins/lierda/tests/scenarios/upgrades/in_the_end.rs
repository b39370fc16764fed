//! Whatever is ordered and becomes of it: no version is told unasked while an order is carried out, and in the end the
//! platform has heard of everything, and the host knows.

use polylink_plugin_sdk::Output;
use polylink_plugin_sdk::services::mqtt;
use polylink_plugin_sdk::services::ota::{Failure, Phase, Request, Update};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{VERSION_MS, order, update};
use crate::scenarios::firmware::facts;
use crate::scenarios::stage::{Cloud, below, online};

#[derive(Clone, Debug)]
enum Step {
    /// An order of this name, for this version.
    Order(u8, u8),
    /// One of the host's updates goes on.
    GoesOn(usize, u8),
    Runs(u8),
    Ask,
    Advance(u64),
    Reconnect,
    Restart,
}

/// A host with updates, and the platform that answers every version if it is in the mood.
struct World {
    cloud: Cloud,
    list: Vec<Update>,
    /// Names of the questions on this connection.
    asked: Vec<Value>,
    answers: bool,
}

impl World {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Order(name, version) => {
                let order = order(json!({"DownID": name.to_string(), "SoftVer": format!("{version}.0")}));
                self.cloud.say("ota_notify", 9, order);
            }
            Step::GoesOn(which, how) => {
                let count = self.list.len().max(1);
                if let Some(update) = self.list.get_mut(which % count).filter(|update| !update.phase.is_over()) {
                    update.phase = next(update.phase, how);
                    self.cloud.host.updates_changed(self.list.clone());
                }
            }
            Step::Runs(version) => self.cloud.host.facts_changed(facts(&format!("{version}.0"))),
            Step::Ask => {
                let id = self.cloud.say("ask_firmware", 13, json!(""));
                self.asked.push(id);
            }
            Step::Advance(ms) => self.cloud.host.advance(ms),
            Step::Reconnect => {
                self.cloud.cut();
                self.asked.clear();
                self.follow();
                self.cloud.reconnect();
            }
            Step::Restart => {
                self.asked.clear();
                self.cloud.host.restart();
                self.cloud.come_online();
            }
        }
        self.follow();
    }

    /// Does what the plugin asks for, until it asks for nothing.
    fn follow(&mut self) {
        loop {
            let outputs = self.cloud.host.take_outputs();
            let before = self.list.clone();
            for output in &outputs {
                match output {
                    Output::Ota(request) => self.update(request),
                    Output::Mqtt(mqtt::Request::Publish { message, .. })
                        if message.topic == below("firmware_report") =>
                    {
                        self.version(&message.payload, &before);
                    }
                    _ => {}
                }
            }
            if self.list != before {
                self.cloud.host.updates_changed(self.list.clone());
            } else if outputs.is_empty() {
                break;
            }
        }
    }

    fn update(&mut self, request: &Request) {
        match request {
            Request::Offer(offer) => {
                if self.list.iter().all(|update| update.id != offer.id) {
                    self.list.push(update(offer, Phase::Waiting));
                }
            }
            Request::Cancel(id) => {
                let early = |update: &&mut Update| matches!(update.phase, Phase::Waiting | Phase::Downloading);
                if let Some(update) = self.list.iter_mut().filter(early).find(|update| update.id == *id) {
                    update.phase = Phase::Failed(Failure::Cancelled);
                }
            }
            Request::Acknowledge(id) => {
                let at = self.list.iter().position(|update| update.id == *id).expect("acknowledged once");
                assert!(self.list.remove(at).phase.is_over(), "acknowledged too early");
            }
        }
    }

    fn version(&mut self, frame: &[u8], list: &[Update]) {
        let frame: Value = serde_json::from_slice(frame).unwrap();
        let is_asked = self.asked.contains(&frame["MessageId"]);
        assert!(is_asked || list.iter().all(|update| update.phase.is_over()), "told in the middle: {list:?}");
        if self.answers {
            self.cloud.ack("firmware_report_ack", 8, &frame["MessageId"], 200);
        }
    }
}

fn next(phase: Phase, how: u8) -> Phase {
    match (phase, how % 4) {
        (_, 0) => Phase::Failed(Failure::Install),
        (Phase::Waiting, _) => Phase::Downloading,
        (Phase::Downloading, _) => Phase::Installing,
        _ => Phase::Finished,
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, 1..4_u8).prop_map(|(name, version)| Step::Order(name, version)),
        6 => (0..4_usize, any::<u8>()).prop_map(|(which, how)| Step::GoesOn(which, how)),
        2 => (1..4_u8).prop_map(Step::Runs),
        1 => Just(Step::Ask),
        2 => (0..70_000_u64).prop_map(Step::Advance),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn the_platform_hears_how_every_order_ends(
        steps in prop::collection::vec((any_step(), any::<bool>()), 1..40), hows in prop::collection::vec(any::<u8>(), 8)
    ) {
        let mut world = World { cloud: online(json!({})), list: Vec::new(), asked: Vec::new(), answers: true };
        for (step, answers) in &steps {
            world.answers = *answers;
            world.take(step);
        }
        world.answers = true;
        for how in hows.iter().cycle().take(64) {
            let Some(going) = world.list.iter().position(|update| !update.phase.is_over()) else { break };
            world.take(&Step::GoesOn(going, *how));
        }
        world.take(&Step::Advance(VERSION_MS));
        world.take(&Step::Reconnect);
        world.take(&Step::Advance(VERSION_MS));
        prop_assert!(world.list.is_empty(), "{:?}", world.list);
    }
}
