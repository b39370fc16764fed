//! Log upload (action 201): the host sends the logs by FTP, the answer follows when it has. One upload at a time.

use polylink_plugin_sdk::services::Failure;
use polylink_plugin_sdk::{Now, Output, RequestId};
use serde_json::value::RawValue;

use super::business::message_id;
use super::{DeliSession, Timer, clock};
use crate::commands::{self, plain_answer};
use crate::logs::{self, LogRequest};
use crate::message::{Envelope, Mid};

/// An upload under way.
#[derive(Debug)]
pub struct LogUpload {
    /// The host's work, which may go on after the platform was answered.
    id: RequestId,
    /// Who waits for the answer.
    asker: Option<Asker>,
}

#[derive(Debug)]
struct Asker {
    mid: Option<Mid>,
    to: String,
    /// By what a repeated request is recognised.
    key: String,
}

impl DeliSession {
    pub(super) fn take_log_request(&mut self, now: Now, envelope: &Envelope) {
        let key = message_id(envelope);
        if let Some(answer) = self.answers.find(now.monotonic, &key).map(ToOwned::to_owned) {
            return self.answer_log_request(now, envelope, &answer);
        }
        let asker = self.log_upload.as_ref().and_then(|upload| upload.asker.as_ref());
        if asker.is_some_and(|asker| asker.key == key && !key.is_empty()) {
            return;
        }
        let Some(request) = envelope.data.as_deref().and_then(|data| LogRequest::parse(data).ok()) else {
            let answer = plain_answer(commands::BAD_PARAMETER, "bad parameter");
            return self.answer_log_request(now, envelope, &answer);
        };
        if !self.can_send_logs {
            self.info("the platform asked for the logs, which this host does not send".to_owned());
            return self.answer_log_request(now, envelope, &logs::answer(Err(logs::NOT_AVAILABLE)));
        }
        if self.log_upload.is_some() {
            return self.answer_log_request(now, envelope, &plain_answer(commands::FAILED, "busy"));
        }
        let unix_s = clock::stamp(&self.clock, now);
        let upload = request.upload(&self.settings.ftp, &self.identity.device_id, unix_s, now.utc_offset_s);
        self.info(format!("the platform asked for the logs, which go to {}", upload.url));
        let id = self.next_id();
        let asker = Asker { mid: envelope.mid.clone(), to: envelope.from.clone(), key };
        self.log_upload = Some(LogUpload { id, asker: Some(asker) });
        self.timers.set(Timer::Logs, now.monotonic.after(UPLOAD_MS));
        self.outputs.push(Output::SendLogs(id, Box::new(upload)));
    }

    pub(super) fn take_logs_sent(&mut self, now: Now, id: RequestId, result: Result<u64, Failure>) {
        let Some(upload) = self.log_upload.take_if(|upload| upload.id == id) else { return };
        self.timers.clear(&Timer::Logs);
        let answer = match &result {
            // A file that is not there must not be looked for.
            Ok(0) => logs::answer(Err(logs::NOTHING_LOGGED)),
            Ok(_) => logs::answer(Ok(())),
            Err(failure) => {
                self.warn(format!("the logs could not be sent: {}", failure.text));
                logs::answer(Err(&failure.text))
            }
        };
        self.end_log_upload(now, upload.asker, answer);
    }

    /// Answers an upload that takes too long. The host goes on; until it is done there is no other.
    pub(super) fn end_late_upload(&mut self, now: Now) {
        let asker = self.log_upload.as_mut().and_then(|upload| upload.asker.take());
        self.end_log_upload(now, asker, logs::answer(Err("timeout")));
    }

    fn end_log_upload(&mut self, now: Now, asker: Option<Asker>, answer: Box<RawValue>) {
        let Some(Asker { mid, to, key }) = asker else { return };
        self.reply(now, mid.as_ref(), &to, LOG_UPLOAD, &answer);
        if !key.is_empty() {
            self.answers.keep(now.monotonic, key, answer);
        }
    }

    fn answer_log_request(&mut self, now: Now, envelope: &Envelope, answer: &RawValue) {
        self.reply(now, envelope.mid.as_ref(), &envelope.from, LOG_UPLOAD, answer);
    }
}

/// Log upload; the answer to the misprinted 207 carries it too (Deli access document).
const LOG_UPLOAD: i64 = 201;
/// An upload takes at most so long (not documented; chosen by us).
const UPLOAD_MS: u64 = 600_000;
