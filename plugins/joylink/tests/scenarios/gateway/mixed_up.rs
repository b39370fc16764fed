//! Whatever happens to the list, the bonds and the connection: what is said for a subdevice was said by it.

use polylink_plugin_sdk::Output;
use polylink_plugin_sdk::services::subdevices::{Request, Subdevice};
use proptest::prelude::*;
use serde_json::json;

use super::talk::{accesskey_of, asking, bind, binding, command, joined, report, unbind, with_list};
use crate::packet::Kind;
use crate::scenarios::life::Life;
use crate::scenarios::stage::{App, control, streams};
use crate::wire::{Code, SubUpload};

const MACS: [&str; 4] = ["a1", "b2", "c3", "d4"];

#[derive(Clone, Debug)]
enum Step {
    /// This one shows up with an index that is free, or goes away.
    ComeOrGo(usize),
    /// Two exchange their indices.
    Swap(usize, usize),
    /// It says something.
    Report(usize),
    /// The app binds it.
    Bind(usize),
    /// The cloud unbinds it.
    Unbind(usize),
    /// The cloud controls it; the MCU answers only later, if at all.
    Command(usize),
    /// The MCU answers the oldest command.
    Answer,
    /// The connection breaks.
    Cut,
    /// The session starts again.
    Restart,
    /// Time passes.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = || 0..MACS.len();
    let step = prop_oneof![
        2 => which().prop_map(Step::ComeOrGo),
        2 => (which(), which()).prop_map(|(one, other)| Step::Swap(one, other)),
        6 => which().prop_map(Step::Report),
        4 => which().prop_map(Step::Bind),
        1 => which().prop_map(Step::Unbind),
        3 => which().prop_map(Step::Command),
        2 => Just(Step::Answer),
        1 => Just(Step::Cut),
        1 => Just(Step::Restart),
        4 => (1..30_000_u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A gateway, its cloud, an app, and the host's list.
struct Home {
    life: Life,
    app: App,
    list: Vec<Subdevice>,
    n_said: i64,
}

impl Home {
    fn new() -> Self {
        let list: Vec<_> = (1..).zip(&MACS[..2]).map(|(index, mac)| joined(index, mac)).collect();
        let mut life = Life::online(with_list(list.clone()));
        life.mcu = Box::new(|_| None);
        let mut app = App::new();
        app.discover(&mut life.stage);
        for mac in &MACS[..2] {
            bind(&mut life.stage, &mut app, mac);
        }
        Self { life, app, list, n_said: 0 }
    }

    /// A value that tells which one said it.
    fn value(&mut self, which: usize) -> i64 {
        self.n_said += 1;
        (which as i64 + 1) * 1_000_000 + self.n_said
    }

    fn index_of(&self, which: usize) -> Option<u32> {
        self.list.iter().find(|sub| sub.address == MACS[which]).map(|sub| sub.index)
    }

    fn tell_list(&mut self) {
        self.life.stage.host.subdevices_changed(self.list.clone());
        self.life.answer();
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::ComeOrGo(which) => {
                if let Some(index) = self.index_of(which) {
                    self.list.retain(|sub| sub.index != index);
                } else if let Some(free) = (1..).find(|index| self.list.iter().all(|sub| sub.index != *index)) {
                    self.list.push(asking(free, MACS[which]));
                }
                self.tell_list();
            }
            Step::Swap(one, other) => {
                let indices = (self.index_of(one), self.index_of(other));
                for sub in &mut self.list {
                    if let (Some(one), Some(other)) = indices {
                        sub.index = if sub.index == one {
                            other
                        } else if sub.index == other {
                            one
                        } else {
                            sub.index
                        };
                    }
                }
                self.tell_list();
            }
            Step::Report(which) => {
                let value = self.value(which);
                if let Some(index) = self.index_of(which) {
                    report(&mut self.life.stage, index, value);
                }
            }
            Step::Bind(which) => {
                self.app.exchange(&mut self.life.stage, Kind::SubAuthorization, &binding(MACS[which]));
            }
            Step::Unbind(which) => {
                self.life.answer();
                if self.life.stage.fact("server").is_some() && self.life.stage.host.status().text == "working" {
                    unbind(&mut self.life.stage, &[MACS[which]]);
                }
            }
            Step::Command(which) => {
                let value = self.value(which);
                if self.life.stage.host.status().text == "working" {
                    command(&mut self.life.stage, MACS[which], 1002, &control(json!({"n": value})));
                }
            }
            Step::Answer => {
                if !self.life.open.is_empty() {
                    let id = self.life.open.remove(0);
                    self.life.stage.host.command_done(id);
                }
            }
            Step::Cut => self.life.stage.cut(),
            Step::Restart => {
                self.life.open.clear();
                self.life.cut_power(0);
            }
            Step::Pass(ms) => self.life.pass(ms),
        }
        self.life.answer();
        self.carry_out();
    }

    /// The host does what it is asked to.
    fn carry_out(&mut self) {
        let mut changed = false;
        for output in std::mem::take(&mut self.life.seen.others) {
            match output {
                Output::Subdevices(Request::Accept(index)) => {
                    self.list.iter_mut().filter(|sub| sub.index == index).for_each(|sub| sub.accepted = true);
                    changed = true;
                }
                Output::Subdevices(Request::Remove(index)) => {
                    self.list.retain(|sub| sub.index != index);
                    changed = true;
                }
                _ => {}
            }
        }
        if changed {
            self.tell_list();
        }
    }

    /// All that was said for subdevices was said by them.
    fn check(&self) -> Result<(), TestCaseError> {
        for (_, kind, body) in &self.life.seen.uploads {
            if *kind == Kind::SubUpload {
                let upload = SubUpload::decode(body).expect("an upload");
                let content = upload.open(&accesskey_of(&upload.feedid.as_str()[1..]).cipher_key());
                let said = streams(&content.expect("under its key"));
                self.check_value(&upload.feedid.as_str()[1..], &said["n"])?;
            }
        }
        for (_, result) in &self.life.seen.told {
            self.check_value(&result.feedid.as_str()[1..], &streams(&result.content)["n"])?;
        }
        for (_, answer) in &self.life.seen.answers {
            let mac = &answer.feedid.as_str()[1..];
            let Ok(content) = answer.open(&accesskey_of(mac).cipher_key()) else {
                // To one that is bound no longer, there is no key; then nothing is said of what it looks like.
                let said: serde_json::Value = serde_json::from_slice(&answer.sealed).expect("JSON");
                prop_assert_ne!(&said["code"], Code::SUCCESS.0);
                continue;
            };
            let said: serde_json::Value = serde_json::from_slice(&content).expect("JSON");
            if said["code"] == 0 {
                self.check_value(mac, &streams(&content)["n"])?;
            }
        }
        Ok(())
    }

    fn check_value(&self, mac: &str, value: &serde_json::Value) -> Result<(), TestCaseError> {
        let which = MACS.iter().position(|known| *known == mac).expect("one of them");
        let value = value.as_i64().expect("a number");
        prop_assert_eq!(value / 1_000_000, which as i64 + 1, "{} for {}", value, mac);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_said_for_a_subdevice_was_said_by_it(steps in steps()) {
        let mut home = Home::new();
        for step in &steps {
            home.take(step);
        }
        home.life.pass(120_000);
        home.check()?;
    }
}
