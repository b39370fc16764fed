//! Becoming one of the platform's devices: one HTTP request, one answer (Clife access document 4.3.1.1).

use polylink_plugin_sdk::backoff::Backoff;
use polylink_plugin_sdk::services::{Failure, Tls, http};
use polylink_plugin_sdk::{Now, Output, RequestId};

use super::connection::{Phase, Wait};
use super::{ClifeSession, Timer};
use crate::cipher;
use crate::config::{Identity, Register};
use crate::frame::{self, cmd, raw};
use crate::registration::{self, Applicant, RegistrationOutcome};

/// 5 s doubling to 300 s, 20 % jitter (not documented; chosen by us).
pub fn backoff() -> Backoff {
    Backoff::exponential(5_000, 300_000)
}

impl ClifeSession {
    pub(super) fn register(&mut self, now: Now) {
        let (hardware, software) = self.versions();
        let known = |text: &'_ str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (hardware, software) = (known(hardware), known(software));
        let id = self.new_id();
        let timestamp = self.unix_ms(now);
        let settings = &self.settings;
        let Identity { auth_level, product_code, dev_id, dev_mac } = &settings.identity;
        let product_code = Some(product_code.as_str()).filter(|code| !code.is_empty());
        let body = registration::request_body(
            *auth_level,
            &Applicant {
                product_code,
                dev_id: dev_id.as_deref(),
                dev_mac,
                product_ver: Some(i64::from(settings.product_ver)),
                software: software.as_deref(),
                hardware: hardware.as_deref(),
            },
        );
        let data = raw(&cipher::encrypt(&settings.dev_key, &settings.iv, body.get().as_bytes()));
        let Register { scheme, host, path } = &settings.register;
        let url = registration::url(scheme, host, path, *auth_level, product_code, dev_id.as_deref());
        let body = frame::encode(cmd::REGISTER, &settings.dir_up, &id, None, timestamp, settings.timestamp_type, &data);
        let request = http::Request {
            method: "POST".to_owned(),
            url,
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body,
            tls: Tls { ca_pem: settings.tls_ca.clone(), ..Tls::default() },
            timeout_ms: TIMEOUT_MS,
            ..http::Request::default()
        };
        let http = self.next_id();
        self.phase = Phase::Registering { request: http, id };
        self.outputs.push(Output::Http(http, request));
    }

    pub(super) fn take_registration(&mut self, now: Now, request: RequestId, result: Result<http::Response, Failure>) {
        let Phase::Registering { request: ours, id } = &self.phase else { return };
        if *ours != request {
            return;
        }
        let settings = &self.settings;
        let outcome = result.map_err(|failure| failure.text).map(|answer| {
            let strict = settings.strict_encryption;
            registration::parse_answer(answer.status, &answer.body, id, &settings.dev_key, &settings.iv, strict)
        });
        match outcome {
            Ok(RegistrationOutcome::Done(login)) => {
                let platform_time_ms = login.platform_time_ms;
                if let Err(why) = self.adopt(login) {
                    return self.registration_at_fault(now, why);
                }
                self.registration_backoff.reset();
                self.note.clear();
                self.take_time(now, platform_time_ms);
                self.store_login();
                self.info(format!("registered as device {}", self.dev_id()));
                self.connect(now);
            }
            Ok(RegistrationOutcome::Fault(why)) => self.registration_at_fault(now, format!("not registered: {why}")),
            Ok(RegistrationOutcome::Retry(why)) => self.registration_failed(now, &why.to_string()),
            Err(why) => self.registration_failed(now, &why),
        }
    }

    fn registration_failed(&mut self, now: Now, why: &str) {
        self.note = format!("not registered: {why}");
        self.warn(self.note.clone());
        let delay = self.registration_backoff.failed(now.monotonic, &mut self.random);
        self.wait(now, Wait::Attempt, delay);
    }

    fn registration_at_fault(&mut self, now: Now, why: String) {
        self.warn(why.clone());
        self.note = why;
        self.wait(now, Wait::Person, FAULT_RETRY_MS);
    }

    pub(super) fn wait(&mut self, now: Now, what: Wait, delay_ms: u64) {
        self.phase = Phase::Waiting(what);
        self.timers.set(Timer::Retry, now.monotonic.after(delay_ms));
    }

    /// What of the device's versions is known: hardware, software.
    pub(super) fn versions(&self) -> (&str, &str) {
        let facts = &self.facts;
        if facts.mcu_software.is_empty() {
            (&facts.module_hardware, &facts.module_software)
        } else {
            (&facts.mcu_hardware, &facts.mcu_software)
        }
    }
}

/// Not documented; chosen by us.
const TIMEOUT_MS: u32 = 10_000;
/// Pause while the configuration is at fault (not documented; chosen by us).
pub const FAULT_RETRY_MS: u64 = 3_600_000;
