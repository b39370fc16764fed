//! Profiles (Clife access document 4.3.2.8, PROFILE): a small file that the plugin loads itself, because the host's updates
//! are for firmware, and hands to the device as the value of one of its properties.
//!
//! Nothing of it survives a restart but the order; then it is loaded again.

use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::services::{Failure, Reason, Tls, http};
use polylink_plugin_sdk::thing_model::Kind as ValueKind;
use polylink_plugin_sdk::{Command, CommandBody, DatapointId, Now, Outcome, OutcomeResult, Output, RequestId, Value};

use super::operations::Running;
use super::{ClifeSession, Timer};
use crate::files::{FileInfo, FileType, Happening, is_announced};

/// How far a profile is.
#[derive(Debug)]
pub enum Profile {
    /// Asked for.
    Loading(RequestId, Tries),
    /// Asked for again after a pause.
    Pausing(Tries),
    /// The device is told.
    HandedOver(RequestId),
}

/// Attempts to load one file.
#[derive(Debug)]
pub struct Tries {
    backoff: Backoff,
    failed: u32,
}

impl ClifeSession {
    /// The property that takes profiles, if the settings name one.
    pub(super) fn profile_property(&self) -> Option<(DatapointId, &ValueKind)> {
        let property = self.datapoints.property_named(self.settings.profile_property.as_deref()?)?;
        let (id, kind) = (property.field.id, &property.field.kind);
        let takes_files = matches!(kind, ValueKind::Text { .. } | ValueKind::Bytes { .. } | ValueKind::Json { .. });
        (property.writable && takes_files).then_some((id, kind))
    }

    /// True if the file that was handed over last is a profile.
    pub(super) fn is_at_profile(&self) -> bool {
        let running = self.files.running.as_ref().filter(|running| !running.operation.is_over());
        let file = running.and_then(|running| running.order.current());
        file.is_some_and(|(_, file)| file.file_type == FileType::Profile)
    }

    pub(super) fn profile_next(&mut self) {
        let Some(Running { order, .. }) = &mut self.files.running else { return };
        order.handed += 1;
        self.store_order();
        self.load_profile();
    }

    /// Loads the profile whose turn it is.
    pub(super) fn load_profile(&mut self) {
        let tries = match self.files.profile.take() {
            Some(Profile::Pausing(tries)) => tries,
            _ => Tries { backoff: Backoff::exponential(FIRST_PAUSE_MS, LONGEST_PAUSE_MS), failed: 0 },
        };
        let Some(url) = self.profile().map(|file| file.url.clone()) else { return };
        let request = http::Request {
            url,
            tls: Tls { ca_pem: self.settings.tls_ca.clone(), ..Tls::default() },
            timeout_ms: TIMEOUT_MS,
            max_body: LARGEST,
            redirects: REDIRECTS,
            ..http::Request::default()
        };
        let id = self.next_id();
        self.files.profile = Some(Profile::Loading(id, tries));
        self.outputs.push(Output::Http(id, request));
    }

    /// An answer to a request; true if it was for a profile.
    pub(super) fn take_profile(&mut self, now: Now, id: RequestId, result: &Result<http::Response, Failure>) -> bool {
        let Some(Profile::Loading(_, tries)) =
            self.files.profile.take_if(|profile| matches!(profile, Profile::Loading(asked, _) if *asked == id))
        else {
            return false;
        };
        match result {
            Ok(answer) if answer.status == 200 => self.hand_over(now, &answer.body),
            Ok(answer) if (400..500).contains(&answer.status) && !AGAIN.contains(&answer.status) => {
                self.happens(now, Happening::UrlRefused);
            }
            Err(Failure { reason: Reason::Quota, .. }) => {
                self.happens(now, Happening::GivenUp(TOO_LARGE.to_owned()));
            }
            Err(Failure { reason: Reason::Invalid, .. }) => self.happens(now, Happening::UrlRefused),
            Ok(_) | Err(_) => self.load_again(now, tries),
        }
        true
    }

    fn load_again(&mut self, now: Now, mut tries: Tries) {
        tries.failed += 1;
        if tries.failed >= ATTEMPTS {
            return self.happens(now, Happening::UrlRefused);
        }
        let pause = tries.backoff.failed(now.monotonic, &mut self.random);
        self.files.profile = Some(Profile::Pausing(tries));
        self.timers.set(Timer::Profile, now.monotonic.after(pause));
    }

    /// The device is given what was loaded, if it is what was announced.
    fn hand_over(&mut self, now: Now, content: &[u8]) {
        let bits = self.settings.files.check_sum_bits;
        if !self.profile().is_some_and(|file| is_announced(file, content, bits)) {
            return self.happens(now, Happening::Verified(false));
        }
        self.happens(now, Happening::FirstByte);
        let value = self.profile_property().and_then(|(id, kind)| Some((id, value_of(kind, content)?)));
        let Some(value) = value else { return self.happens(now, Happening::GivenUp(NO_FIT.to_owned())) };
        let Some(Running { order, .. }) = &self.files.running else { return };
        let mut command = Command::new(CommandBody::Set([value].into()));
        command.deadline_ms = DEADLINE_MS;
        // Loaded again after a restart it is the same command.
        command.message_id = format!("{}/{}", order.name, order.handed);
        let id = self.next_id();
        self.files.profile = Some(Profile::HandedOver(id));
        self.outputs.push(Output::Submit(id, command));
    }

    /// What became of a command; true if it was to hand over a profile.
    pub(super) fn take_handed_over(&mut self, now: Now, id: RequestId, outcome: &Outcome) -> bool {
        let is_it = |profile: &mut Profile| matches!(profile, Profile::HandedOver(asked) if *asked == id);
        if self.files.profile.take_if(is_it).is_none() {
            return false;
        }
        let why = match &outcome.result {
            OutcomeResult::Done => {
                self.file_done(now);
                return true;
            }
            OutcomeResult::Refused(why) => why.as_str(),
            OutcomeResult::Unreachable => "the device does not answer its module",
            OutcomeResult::TimedOut => "timeout",
            OutcomeResult::Superseded => "a later command took its place",
        };
        self.happens(now, Happening::GivenUp(why.to_owned()));
        true
    }

    /// The file whose turn it was is where it belongs.
    fn file_done(&mut self, now: Now) {
        let Some(Running { order, .. }) = &self.files.running else { return };
        let (done, total) = (order.handed, order.request.file_info.len());
        if done < total {
            self.happens(now, Happening::Progress { done: done as u64, total: total as u64 });
            return self.begin_next(now);
        }
        // The latter is of an upgrade alone.
        self.happens(now, Happening::Verified(true));
        self.happens(now, Happening::Installed);
    }

    /// Gives up loading a profile. One that was handed over is not taken back. True if there was one to give up.
    pub(super) fn stop_loading_profile(&mut self) -> bool {
        match &self.files.profile {
            Some(Profile::Loading(id, _)) => self.outputs.push(Output::CancelHttp(*id)),
            Some(Profile::Pausing(_)) => {}
            Some(Profile::HandedOver(_)) | None => return false,
        }
        self.files.profile = None;
        self.timers.clear(&Timer::Profile);
        true
    }

    fn profile(&self) -> Option<&FileInfo> {
        let (_, file) = self.files.running.as_ref()?.order.current()?;
        (file.file_type == FileType::Profile).then_some(file)
    }
}

/// The content as a value of this kind.
fn value_of(kind: &ValueKind, content: &[u8]) -> Option<Value> {
    let text = || std::str::from_utf8(content).ok();
    match kind {
        ValueKind::Text { max_bytes } if content.len() <= *max_bytes => Some(Value::Text(text()?.to_owned())),
        ValueKind::Bytes { max_bytes } if content.len() <= *max_bytes => Some(Value::Bytes(content.to_vec())),
        ValueKind::Json { max_bytes } if content.len() <= *max_bytes => {
            serde_json::from_str::<&serde_json::value::RawValue>(text()?).ok()?;
            Some(Value::Json(text()?.to_owned()))
        }
        _ => None,
    }
}

/// Longest profile (not documented; chosen by us: it becomes one value).
const LARGEST: u32 = 64 * 1024;
/// Not documented; chosen by us.
const TIMEOUT_MS: u32 = 30_000;
/// Redirects followed (not documented; chosen by us).
const REDIRECTS: u8 = 5;
/// Attempts, and the pauses between them (Clife access document, our reading: download).
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE_MS: u64 = 2_000;
const LONGEST_PAUSE_MS: u64 = 60_000;
/// Statuses that may be others a moment later: timeout, too early, too many requests (RFC 9110, RFC 6585, RFC 8470).
const AGAIN: [u16; 3] = [408, 425, 429];
/// The application has so long (not documented; chosen by us, as for a control).
const DEADLINE_MS: u32 = 5_000;
/// Not documented; chosen by us.
const TOO_LARGE: &str = "the profile is too large";
/// Not documented; chosen by us.
const NO_FIT: &str = "the profile does not fit the device";
