//! Stories of commands in virtual time.

use polylink_plugin_api::Value;

use super::*;
use crate::bus::journal::CloudId;
use crate::bus::tests::product;

const FIRST: Asker = Asker::Cloud(CloudId(0));
const SECOND: Asker = Asker::Cloud(CloudId(1));

/// An arbiter with everything that came out of it.
struct Story {
    arbiter: Arbiter,
    now: u64,
    rulings: Vec<Ruling>,
}

impl Story {
    fn new(policy: Policy) -> Self {
        let mut arbiter = Arbiter::new(ArbiterSettings { policy, deadline_ms: 5000 });
        arbiter.set_online(true, &mut Vec::new());
        Self { arbiter, now: 0, rulings: Vec::new() }
    }

    /// The link is full, so that commands wait.
    fn behind_a_full_link(policy: Policy) -> Self {
        let mut story = Self::new(policy);
        for _ in 0..AT_LINK_MAX {
            story.ask(SECOND, get(), "");
        }
        story.rulings.clear();
        story
    }

    fn ask(&mut self, asker: Asker, body: CommandBody, message_id: &str) -> u64 {
        let command = Command { device: 0, body, deadline_ms: 0, message_id: message_id.into() };
        let now = Timestamp(self.now);
        self.arbiter.submit(now, asker, InstanceId(7), Some(&Arc::new(product())), &command, &mut self.rulings)
    }

    fn answer(&mut self, ticket: u64, result: LinkResult) {
        self.arbiter.answered(ticket, result, &mut self.rulings);
    }

    /// What came out since the last check: `send 1`, `1 done`, `2 refused: why`.
    #[track_caller]
    fn check(&mut self, expected: &[&str]) {
        let said = std::mem::take(&mut self.rulings).into_iter().map(|ruling| match ruling {
            Ruling::Send(command) => format!("send {}", command.ticket),
            Ruling::Over(Conclusion { outcome, .. }) => {
                let kind = crate::bus::kind_name(outcome.kind);
                let colon = if outcome.reason.is_empty() { "" } else { ": " };
                format!("{} {kind}{colon}{}", outcome.ticket, outcome.reason)
            }
        });
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }
}

fn set(id: u32, value: Value) -> CommandBody {
    CommandBody::Set(vec![Property { id: DatapointId(id), value }].into())
}

fn power(on: bool) -> CommandBody {
    set(0, Value::Bool(on))
}

fn get() -> CommandBody {
    CommandBody::Get(Vec::new().into())
}

#[test]
fn a_command_goes_to_the_link_and_its_answer_to_the_asker() {
    let mut story = Story::new(Policy::LastWriter);
    story.ask(FIRST, power(true), "");
    story.check(&["send 1"]);
    story.answer(1, LinkResult::Done(Vec::new()));
    story.answer(1, LinkResult::Done(Vec::new()));
    story.answer(99, LinkResult::TimedOut);
    story.check(&["1 done"]);
}

#[test]
fn a_command_for_a_read_only_datapoint_is_refused_before_the_link() {
    let mut story = Story::new(Policy::LastWriter);
    story.ask(FIRST, set(2, Value::Int(1)), "");
    story.check(&["1 refused: `count` can only be read"]);
}

#[test]
fn without_an_mcu_nothing_is_sent() {
    let mut story = Story::behind_a_full_link(Policy::LastWriter);
    let waiting = story.ask(FIRST, power(true), "");
    story.arbiter.set_online(false, &mut story.rulings);
    story.ask(FIRST, power(true), "");
    let why = "the MCU does not answer";
    story.check(&[&format!("{waiting} unreachable: {why}"), &format!("{} unreachable: {why}", waiting + 1)]);
}

#[test]
fn a_later_command_for_the_same_datapoints_replaces_one_that_waits() {
    let mut story = Story::behind_a_full_link(Policy::LastWriter);
    story.ask(FIRST, power(true), "");
    story.ask(FIRST, set(1, Value::Int(50)), "");
    story.ask(SECOND, power(false), "");
    story.check(&["33 superseded: a later command for the same datapoints took its place"]);
    story.answer(1, LinkResult::Done(Vec::new()));
    story.answer(2, LinkResult::Done(Vec::new()));
    story.check(&["1 done", "send 34", "2 done", "send 35"]);
}

#[test]
fn more_than_the_queue_holds_is_refused() {
    let mut story = Story::behind_a_full_link(Policy::LastWriter);
    for n in 0..QUEUE_MAX as u64 {
        story.now = n * 1000 / u64::from(RATE_PER_SECOND);
        story.ask(FIRST, get(), "");
    }
    story.check(&[]);
    story.ask(FIRST, get(), "");
    story.check(&["289 refused: 256 commands wait for the MCU already; try again later"]);
}

#[test]
fn a_flood_is_refused_and_the_other_cloud_is_not() {
    let mut story = Story::new(Policy::LastWriter);
    for _ in 0..RATE_BURST {
        let ticket = story.ask(FIRST, power(true), "");
        story.answer(ticket, LinkResult::Done(Vec::new()));
    }
    story.rulings.clear();
    story.ask(FIRST, power(true), "");
    story.ask(SECOND, power(true), "");
    story.check(&["101 refused: more than 50 commands a second; try again later", "send 102"]);
    story.now = 20;
    story.ask(FIRST, power(true), "");
    story.check(&["send 103"]);
}

#[test]
fn a_message_that_comes_again_is_answered_and_not_obeyed_again() {
    let mut story = Story::new(Policy::LastWriter);
    story.ask(FIRST, power(true), "m-1");
    story.ask(FIRST, power(true), "m-1");
    story.check(&["send 1"]);
    story.answer(1, LinkResult::Refused("door open".to_owned()));
    story.check(&["1 refused: door open", "2 refused: door open"]);
    story.ask(FIRST, power(true), "m-1");
    story.check(&["3 refused: door open"]);
    story.ask(SECOND, power(true), "m-1");
    story.check(&["send 4"]);
}

#[test]
fn after_256_other_messages_one_is_forgotten() {
    let mut story = Story::new(Policy::LastWriter);
    for n in 0..=super::super::dedupe::SEEN_MAX {
        story.now += 20;
        let ticket = story.ask(FIRST, power(true), &format!("m-{n}"));
        story.answer(ticket, LinkResult::Done(Vec::new()));
    }
    story.rulings.clear();
    story.ask(FIRST, power(true), "m-1");
    story.ask(FIRST, power(true), "m-0");
    story.check(&["258 done", "send 259"]);
}

#[test]
fn a_command_that_waits_too_long_or_whose_link_is_silent_times_out() {
    let mut story = Story::behind_a_full_link(Policy::LastWriter);
    story.now = 10;
    story.ask(FIRST, power(true), "");
    assert_eq!(story.arbiter.next_timeout(), Some(Timestamp(5010)));
    story.arbiter.timeout(Timestamp(5010), &mut story.rulings);
    story.check(&["33 timed out: not sent to the MCU before its deadline"]);
    assert_eq!(story.arbiter.next_timeout(), Some(Timestamp(5000 + LINK_GRACE_MS)));
    story.arbiter.timeout(Timestamp(5000 + LINK_GRACE_MS), &mut story.rulings);
    let all: Vec<String> = (1..=32).map(|n| format!("{n} timed out: the MCU did not answer in time")).collect();
    story.check(&all.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(story.arbiter.next_timeout(), None);
}

#[test]
fn with_lock_out_a_datapoint_under_way_is_closed_to_others() {
    let mut story = Story::new(Policy::LockOut);
    story.ask(FIRST, power(true), "");
    story.ask(SECOND, power(false), "");
    story.ask(SECOND, set(1, Value::Int(10)), "");
    story.check(&["send 1", "2 refused: another command for `power` is under way", "send 3"]);
    story.answer(1, LinkResult::Done(Vec::new()));
    story.ask(SECOND, power(false), "");
    story.check(&["1 done", "send 4"]);
}

#[test]
fn with_local_first_a_change_at_the_device_holds_clouds_off() {
    let mut story = Story::new(Policy::LocalFirst);
    story.arbiter.changed_locally(Timestamp(0), 0, DatapointId(0));
    story.ask(FIRST, power(true), "");
    story.check(&["1 refused: `power` was just set by a person at the device, who comes first"]);
}

#[test]
fn with_priority_a_later_cloud_yields_to_an_earlier_one() {
    let mut story = Story::new(Policy::Priority);
    story.ask(FIRST, power(true), "");
    story.ask(SECOND, power(false), "");
    story.check(&["send 1", "2 refused: `power` was just set by another cloud, who comes first"]);
    story.ask(FIRST, power(false), "");
    story.check(&["send 3"]);
}

#[test]
fn a_ticket_keeps_its_asker_for_the_report_that_follows_the_answer() {
    let mut story = Story::new(Policy::LastWriter);
    let ticket = story.ask(FIRST, power(true), "");
    story.answer(ticket, LinkResult::Done(Vec::new()));
    assert_eq!(story.arbiter.asker_of(ticket), Some(FIRST));
    assert_eq!(story.arbiter.asker_of(ticket + 1), None);
}
