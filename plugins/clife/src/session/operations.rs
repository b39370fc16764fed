//! File operations (Clife access document 4.3.2.8). There is nothing in the host yet to load, install or upload files, so a
//! request is checked as a whole, and what could begin is refused: nothing is reported that did not happen.

use std::collections::BTreeMap;

use polylink_plugin_sdk::Now;
use polylink_plugin_sdk::session::Level;

use super::ClifeSession;
use crate::files::{Event, FileMode, Installed, Request, Verdict, Versions, judge};
use crate::frame::{Frame, MsgId, cmd, raw};

impl ClifeSession {
    /// A request for a file operation (2019).
    pub(super) fn take_file_request(&mut self, now: Now, frame: &Frame, id: &MsgId) {
        let key = format!("{}/{}", frame.cmd, id.as_str());
        if let Some(answer) = self.answers.find(now.monotonic, &key).map(ToOwned::to_owned) {
            self.told.counters.commands_repeated += 1;
            // A repeated operation says nothing again; a repeated question is answered.
            if answer.get() != NOTHING {
                self.send(now, cmd::FILE_ANSWER, id, &answer);
            }
            return;
        }
        let mut is_question = false;
        let event = match self.open_body(frame) {
            Err(why) => {
                self.drop_input(&why);
                Event::failure("decrypt error".to_owned())
            }
            Ok(body) => match Request::parse(&body) {
                Err(bad) => self.refuse_files(bad.event(), &bad),
                Ok(request) => {
                    is_question = request.file_mode == FileMode::Query;
                    self.judge_files(&request)
                }
            },
        };
        let body = event.body();
        self.send(now, cmd::FILE_ANSWER, id, &body);
        self.answers.keep(now.monotonic, key, if is_question { body } else { raw(&()) });
    }

    fn judge_files(&mut self, request: &Request) -> Event {
        let installed = self.installed();
        if request.file_mode == FileMode::Query {
            return Event::versions(&installed);
        }
        if let Err(why) = request.window() {
            return self.refuse_files(Event::failure(why.to_string()), &why);
        }
        match judge(request, &installed, &self.settings.files) {
            Verdict::TellVersions => Event::versions(&installed),
            Verdict::Refuse(refusal) => self.refuse_files(refusal.event(), &refusal),
            Verdict::Proceed => {
                let event = match request.file_mode {
                    FileMode::Up => Event::failure(NO_FILE.to_owned()),
                    _ => Event::failure(NOT_AVAILABLE.to_owned()),
                };
                self.refuse_files(event, &"files cannot be loaded, installed or uploaded yet")
            }
        }
    }

    fn refuse_files(&mut self, event: Event, why: &dyn std::fmt::Display) -> Event {
        self.told.counters.files_refused += 1;
        self.log(Level::Warn, format!("a file operation of the platform was refused: {why}"));
        event
    }

    /// What runs.
    fn installed(&self) -> Installed {
        let facts = &self.facts;
        let versions =
            |software: &String, hardware: &String| Versions { software: software.clone(), hardware: hardware.clone() };
        let mut modules = BTreeMap::from([(MODULE, versions(&facts.module_software, &facts.module_hardware))]);
        if !facts.mcu_software.is_empty() {
            let number = u32::from(self.settings.mcu_dev_num);
            modules.insert(number, versions(&facts.mcu_software, &facts.mcu_hardware));
        }
        Installed { product_ver: i64::from(self.settings.product_ver), modules }
    }
}

/// Number of the communication module (Clife access document 4.3.2.8).
const MODULE: u32 = 0;
/// What is kept of the answer to an operation, which is not to be given again.
const NOTHING: &str = "null";
/// There is nothing to upload (not documented; chosen by us).
const NO_FILE: &str = "no file";
/// Not documented; chosen by us.
const NOT_AVAILABLE: &str = "not available on this device yet";
