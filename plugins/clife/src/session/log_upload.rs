//! Uploads: the host sends its log to each address of an operation, one after the other. Of a transfer the platform hears
//! when the server has it: the host does not say when one begins.

use polylink_plugin_sdk::services::Failure;
use polylink_plugin_sdk::url::http_host;
use polylink_plugin_sdk::{Now, Output, RequestId};

use super::ClifeSession;
use super::operations::Running;
use crate::files::{Happening, LONGEST_URL};

impl ClifeSession {
    pub(super) fn upload_next(&mut self) {
        let id = self.next_id();
        let dev_id = self.dev_id().to_owned();
        let Some(Running { order, .. }) = &mut self.files.running else { return };
        order.handed += 1;
        let Some(upload) = order.upload(self.settings.upload_method, &dev_id) else { return };
        self.store_order();
        // The rest of an address may be the right to use it.
        let host = http_host(&upload.url, LONGEST_URL).unwrap_or_default().to_owned();
        self.info(format!("the platform ordered the log, which goes to {host}"));
        self.files.upload = Some(id);
        self.outputs.push(Output::SendLogs(id, Box::new(upload)));
    }

    pub(super) fn take_logs_sent(&mut self, now: Now, id: RequestId, result: Result<u64, Failure>) {
        if self.files.upload.take_if(|upload| *upload == id).is_none() {
            return;
        }
        let going = self.files.running.as_ref().filter(|running| {
            // It may have been given up, and another operation have begun.
            !running.order.request.is_upgrade() && !running.operation.is_over()
        });
        let Some(Running { order, .. }) = going else { return };
        let (done, total) = (order.handed, order.request.file_info.len());
        match result {
            Ok(0) => self.happens(now, Happening::GivenUp(NO_FILE.to_owned())),
            Ok(_) if done < total => {
                self.happens(now, Happening::Progress { done: done as u64, total: total as u64 });
                self.upload_next();
            }
            Ok(_) => self.happens(now, Happening::Transferred),
            Err(failure) => {
                self.warn(format!("the log could not be sent: {}", failure.text));
                self.happens(now, Happening::TransferFailed);
            }
        }
    }
}

/// Nothing was logged in that time (not documented; chosen by us).
const NO_FILE: &str = "no file";
