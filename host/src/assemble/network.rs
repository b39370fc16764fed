//! The user's wishes about the network, and the task that calls the product's program for them.

use std::sync::Arc;

use polylink_plugin_api::Timestamp;
use polylink_plugin_api::services::network::Interface;

use super::module::{ModuleSide, State, hex, is_network};
use crate::config::ProductKey;
use crate::log::Redacted;
use crate::mcu::UserEvent;
use crate::module::hook::{HookSettings, Job, call};
use crate::module::modes::{Answer, Phase, Wish};
use crate::services::hardware_address;

impl ModuleSide {
    /// The user did something at the device. What plugins are to hear of it is in the news.
    pub fn user(&self, event: UserEvent) {
        match event {
            UserEvent::Bind => self.open_binding(),
            UserEvent::Configure(mode) => {
                self.open_binding();
                if self.has_hook("a configuration mode") {
                    let phase = self.lock().modes.configure(mode);
                    match phase {
                        Ok(phase) => self.run(phase),
                        Err(error) => tracing::warn!(mode, "{error}"),
                    }
                }
            }
            UserEvent::Network { ssid, password } => {
                self.open_binding();
                self.join("mcu", &ssid, password.expose());
            }
            UserEvent::ProductionTest => {
                if self.has_hook("the production test") {
                    let now = self.now();
                    let phase = self.lock().modes.test(now);
                    phase.into_iter().for_each(|phase| self.run(phase));
                }
            }
            UserEvent::Reset => {
                self.forget_named();
                self.with_news(|state, now| {
                    state.binding.start_again(now);
                    state.news.changed = true;
                });
                if self.hook.is_some() {
                    self.run(Phase::Reset);
                }
            }
            // The host's loop does what there is to do.
            UserEvent::Unbind | UserEvent::Restart => {}
        }
    }

    /// Hands a network to the product's program. False: there is none, or the network cannot be one.
    pub(super) fn join(&self, who: &str, ssid: &str, password: &str) -> bool {
        if !self.has_hook("to join a network") {
            return false;
        }
        if !(1..=SSID_MAX).contains(&ssid.len()) || password.len() > PASSWORD_MAX || ssid.contains('\0') {
            tracing::warn!(who, "a Wi-Fi network of impossible length was told and is not joined");
            return false;
        }
        let told = Redacted(serde_json::json!({ "ssid": ssid, "password": password }).to_string());
        {
            let mut state = self.lock();
            if let Some(under_way) = &state.joining {
                // Applications say it again until they are heard.
                let is_repeat = *under_way == told;
                if !is_repeat {
                    tracing::warn!(who, "a Wi-Fi network was told while another one is being joined");
                }
                return is_repeat;
            }
            state.joining = Some(told.clone());
            state.modes.joins();
        }
        tracing::info!(who, "a Wi-Fi network was told; it is joined");
        self.calls.put(Job { phase: Phase::Join, input: Some(told) });
        self.changed.notify_one();
        true
    }

    /// Ends the production test. False: there is none, or no program for it.
    pub(super) fn end_test(&self, who: &str) -> bool {
        let phase = self.lock().modes.end_test().filter(|_| self.hook.is_some());
        match phase {
            Some(phase) => self.run(phase),
            None => tracing::warn!(who, "a plugin was asked to end the production test, but there is none"),
        }
        phase.is_some()
    }

    /// The interfaces stand so; `is_ready`: plugins run that can be told of a first join. On a module with a radio a
    /// cable is no network that an application could have told.
    pub fn network(&self, interfaces: &[Interface], has_radio: bool, is_ready: bool) {
        let counts = |interface: &&Interface| is_network(interface) && (interface.wireless || !has_radio);
        let connected = interfaces.iter().any(|interface| counts(&interface));
        let mut state = self.lock();
        let before = state.modes.bits();
        if state.modes.network(connected, is_ready) {
            state.news.joined = true;
            self.changed.notify_one();
        }
        if state.modes.bits() != before {
            state.news.changed = true;
            self.changed.notify_one();
        }
    }

    /// Lets the time pass.
    pub fn timeout(&self) {
        let phases = self.with_news(|state, now| {
            let before = state.modes.bits();
            let phases = state.modes.timeout(now);
            state.news.changed |= state.binding.timeout(now) | (state.modes.bits() != before);
            phases
        });
        phases.into_iter().for_each(|phase| self.run(phase));
    }

    /// When [`ModuleSide::timeout`] is wanted.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let state = self.lock();
        [state.binding.next_timeout(), state.modes.next_timeout()].into_iter().flatten().min()
    }

    fn open_binding(&self) {
        self.with_news(|state, now| {
            state.news.bind_window = Some(state.binding.open(now));
            state.news.changed = true;
        });
    }

    fn has_hook(&self, what: &str) -> bool {
        if self.hook.is_none() {
            tracing::warn!("{what} is asked for, but the network is not this host's task: `network.hook` is empty");
        }
        self.hook.is_some()
    }

    fn run(&self, phase: Phase) {
        self.calls.put(Job { phase, input: None });
    }

    /// The program said this to a phase.
    fn answered(&self, phase: Phase, answer: Answer) -> Vec<Wish> {
        let wishes = self.with_news(|state, now| {
            let before = state.modes.bits();
            let wishes = state.modes.answered(now, phase, answer);
            if phase == Phase::Join {
                state.joining = None;
            }
            for wish in &wishes {
                match wish {
                    Wish::HoldBinding => state.binding.hold_open(),
                    Wish::ShutBinding => state.binding.shut(),
                    Wish::Run(_) | Wish::ForgetJoin => {}
                }
            }
            state.news.changed |= state.modes.bits() != before || !wishes.is_empty();
            if state.modes.bits() != before {
                tracing::info!(mode = state.modes.name(), "the module changes its mode");
            }
            wishes
        });
        for wish in &wishes {
            if let Wish::Run(phase) = wish {
                self.run(*phase);
            }
        }
        wishes
    }

    fn with_news<T>(&self, change: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let now = self.now();
        let result = change(&mut self.lock(), now);
        self.changed.notify_one();
        result
    }

    /// What the program sees in its environment.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let key = self.lock().facts.product_key.to_string();
        let key = ProductKey::parse(&key).map(|key| key.as_str().to_owned()).unwrap_or_default();
        vec![
            ("POLYLINK_MAC", hardware_address().map(hex).unwrap_or_default()),
            ("POLYLINK_PRODUCT_KEY", key),
            ("POLYLINK_STATE_DIR", self.marker.directory().display().to_string()),
        ]
    }
}

/// Calls the program for one phase after the other, as long as the host runs.
pub async fn serve(module: Arc<ModuleSide>) {
    let Some(hook) = module.hook.clone() else { return };
    module.run(Phase::Start);
    loop {
        let job = module.calls.next().await;
        serve_one(&module, &hook, &job).await;
    }
}

/// One call, from its marker to what follows from its answer.
pub(super) async fn serve_one(module: &Arc<ModuleSide>, hook: &HookSettings, job: &Job) {
    let (ours, phase) = (Arc::clone(module), job.phase);
    // The program may restart the module before it answers.
    let environment = off_the_loop(move || {
        if phase == Phase::Join {
            keep_marker(&ours, true);
        }
        ours.environment()
    });
    let answer = call(hook, job, &environment.await.unwrap_or_default()).await;
    let wishes = module.answered(job.phase, answer);
    if wishes.contains(&Wish::ForgetJoin) || (job.phase == Phase::Join && answer != Answer::Accepted) {
        forget_join(Arc::clone(module)).await;
    }
}

/// What was handed over is not waited for any more, also not in the next life.
pub async fn forget_join(module: Arc<ModuleSide>) {
    off_the_loop(move || keep_marker(&module, false)).await;
}

fn keep_marker(module: &ModuleSide, set: bool) {
    let kept = if set { module.marker.set() } else { module.marker.clear() };
    if let Err(error) = kept {
        tracing::error!(%error, "that a network is to be joined cannot be kept for the next start");
    }
}

/// Work with files, which may take its time.
async fn off_the_loop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.inspect_err(|error| tracing::error!(%error, "the host failed at a file of the network")).ok()
}

/// Longest name of a Wi-Fi network in bytes (IEEE 802.11).
const SSID_MAX: usize = 32;

/// Longest password in bytes: a passphrase has 63 characters at most, a key written in hex 64 (IEEE 802.11i).
const PASSWORD_MAX: usize = 64;
