//! One upload by FTP as a state machine: replies go in, the next step comes out. No socket and no clock.
//!
//! It logs in, sets binary mode, changes into directories that are there, opens a passive connection and stores one file. It
//! makes no directory and asks for nothing else. How often and how long is the caller's business.

use super::super::Trouble;
use super::reply::Reply;
use crate::log::Redacted;

/// What goes where on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Name to log in with.
    pub user: String,
    /// Its password.
    pub password: Redacted<String>,
    /// Directories to change into, one after the other.
    pub directories: Vec<String>,
    /// Name of the file.
    pub file_name: String,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this line, then wait for a reply. It may be the password.
    Say(Redacted<String>),
    /// Wait for another reply.
    Listen,
    /// Open a data connection to this port of the server, and say so.
    Connect(u16),
    /// Send the file and end the data connection, then wait for a reply.
    Send,
    /// The server has the file.
    Done,
}

/// An upload under way.
#[derive(Debug)]
pub struct Session<'a> {
    job: &'a Job,
    phase: Phase,
}

/// What the next reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    User,
    Password,
    Binary,
    /// The directory of this index.
    Directory(usize),
    Extended,
    Passive,
    Connecting,
    Store,
    Transfer,
    Over,
}

impl<'a> Session<'a> {
    /// Waits for the greeting of a server.
    #[must_use]
    pub const fn new(job: &'a Job) -> Self {
        Self { job, phase: Phase::Greeting }
    }

    /// Takes the next reply.
    ///
    /// # Errors
    /// The upload cannot go on; the server's own words are not shown, for they may repeat what it was told.
    pub fn handle_reply(&mut self, reply: &Reply) -> Result<Step, Trouble> {
        match (self.phase, reply.code) {
            (_, 421) => Err(Trouble::Busy("the FTP server closes the connection (421)".to_owned())),
            // "Service ready in nnn minutes": it greets again.
            (Phase::Greeting, 120) => Ok(Step::Listen),
            (Phase::Greeting, 220) => Ok(self.say(Phase::User, format!("USER {}", self.job.user))),
            (Phase::User, 331) => Ok(self.say(Phase::Password, format!("PASS {}", self.job.password.expose()))),
            (Phase::User, 230) | (Phase::Password, 230 | 202) => Ok(self.say(Phase::Binary, "TYPE I".to_owned())),
            (Phase::User | Phase::Password, 332) => {
                Err(Trouble::Refused("the FTP server wants an account (332), which nobody gave us".to_owned()))
            }
            (Phase::Binary, 200) => Ok(self.enter(0)),
            (Phase::Directory(index), 250 | 200) => Ok(self.enter(index + 1)),
            (Phase::Extended, 229) => self.connect(reply.extended_port()),
            // A server that does not know EPSV says 500 or 502; others refuse it in other words (RFC 2428, 4).
            (Phase::Extended, 500..=599) => Ok(self.say(Phase::Passive, "PASV".to_owned())),
            (Phase::Passive, 227) => self.connect(reply.passive_port()),
            (Phase::Store, 125 | 150) => {
                self.phase = Phase::Transfer;
                Ok(Step::Send)
            }
            (Phase::Transfer, 226 | 250) => {
                self.phase = Phase::Over;
                Ok(Step::Done)
            }
            (phase, code @ 400..=499) => Err(Trouble::Busy(refused(phase, code))),
            (phase, code @ 500..=599) => Err(Trouble::Refused(refused(phase, code))),
            (phase, code) => Err(Trouble::protocol(format!("the FTP server answered {} with {code}", subject(phase)))),
        }
    }

    /// The data connection is open.
    pub fn connected(&mut self) -> Step {
        self.say(Phase::Store, format!("STOR {}", self.job.file_name))
    }

    fn say(&mut self, phase: Phase, line: String) -> Step {
        self.phase = phase;
        Step::Say(Redacted(line))
    }

    fn enter(&mut self, index: usize) -> Step {
        match self.job.directories.get(index) {
            Some(directory) => self.say(Phase::Directory(index), format!("CWD {directory}")),
            None => self.say(Phase::Extended, "EPSV".to_owned()),
        }
    }

    fn connect(&mut self, port: Option<u16>) -> Result<Step, Trouble> {
        let port = port.ok_or_else(|| Trouble::protocol("the FTP server named no usable port"))?;
        self.phase = Phase::Connecting;
        Ok(Step::Connect(port))
    }
}

fn refused(phase: Phase, code: u16) -> String {
    format!("the FTP server refused {} ({code})", subject(phase))
}

/// What was asked of the server.
const fn subject(phase: Phase) -> &'static str {
    match phase {
        Phase::Greeting => "the connection",
        Phase::User | Phase::Password => "the login",
        Phase::Binary => "binary mode",
        Phase::Directory(_) => "the directory",
        Phase::Extended | Phase::Passive | Phase::Connecting => "passive mode",
        Phase::Store => "the file",
        Phase::Transfer | Phase::Over => "the transfer",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::services::registry::Refusal;

    fn job() -> Job {
        Job {
            user: "dev".to_owned(),
            password: Redacted("hunter2".to_owned()),
            directories: vec!["in".to_owned(), "日志".to_owned()],
            file_name: "a.log".to_owned(),
        }
    }

    /// What happens after these replies, as words, with `=` before steps that are no line; a trouble ends it.
    #[track_caller]
    fn check(replies: &[&str], expected: &[&str]) {
        let job = job();
        let mut session = Session::new(&job);
        let mut steps = Vec::new();
        for reply in replies {
            let reply = Reply { code: reply[..3].parse().expect("a code"), text: (*reply).to_owned() };
            let mut step = session.handle_reply(&reply);
            if let Ok(Step::Connect(port)) = step {
                steps.push(format!("={port}"));
                step = Ok(session.connected());
            }
            steps.push(match step {
                Ok(Step::Say(line)) => line.expose().clone(),
                Ok(step) => format!("={step:?}"),
                Err(Trouble::Failed(Refusal { text, .. })) => format!("=Failed({text:?})"),
                Err(trouble) => format!("={trouble:?}"),
            });
        }
        assert_eq!(steps, expected);
    }

    const IN: [&str; 6] = ["220", "331", "230", "200", "250", "250"];
    const SAID: [&str; 6] = ["USER dev", "PASS hunter2", "TYPE I", "CWD in", "CWD 日志", "EPSV"];

    #[track_caller]
    fn check_inside(replies: &[&str], expected: &[&str]) {
        check(&[&IN[..], replies].concat(), &[&SAID[..], expected].concat());
    }

    #[test]
    fn a_file_is_stored_by_extended_passive_mode() {
        check_inside(&["229 (|||6446|)", "150", "226"], &["=6446", "STOR a.log", "=Send", "=Done"]);
        check_inside(&["229 (|||6446|)", "125", "250"], &["=6446", "STOR a.log", "=Send", "=Done"]);
    }

    #[test]
    fn a_server_that_refuses_epsv_is_asked_for_pasv() {
        for code in ["500", "502", "522"] {
            let said = ["PASV", "=5001", "STOR a.log", "=Send", "=Done"];
            check_inside(&[code, "227 (10,0,0,1,19,137)", "150", "226"], &said);
        }
        check_inside(&["502", "502"], &["PASV", "=Refused(\"the FTP server refused passive mode (502)\")"]);
    }

    #[test]
    fn a_server_may_want_no_password_or_let_us_wait() {
        check(&["120", "220", "230"], &["=Listen", "USER dev", "TYPE I"]);
        check(&["220", "331", "202"], &["USER dev", "PASS hunter2", "TYPE I"]);
    }

    #[test]
    fn a_refusal_for_good_and_one_for_now_are_told_apart() {
        check(&["220", "530"], &["USER dev", "=Refused(\"the FTP server refused the login (530)\")"]);
        check(
            &["220", "332"],
            &["USER dev", "=Refused(\"the FTP server wants an account (332), which nobody gave us\")"],
        );
        check(&["421"], &["=Busy(\"the FTP server closes the connection (421)\")"]);
        check_inside(
            &["229 (|||9|)", "452"],
            &["=9", "STOR a.log", "=Busy(\"the FTP server refused the file (452)\")"],
        );
        check_inside(
            &["229 (|||9|)", "553"],
            &["=9", "STOR a.log", "=Refused(\"the FTP server refused the file (553)\")"],
        );
        let broken = ["=9", "STOR a.log", "=Send", "=Busy(\"the FTP server refused the transfer (426)\")"];
        check_inside(&["229 (|||9|)", "150", "426"], &broken);
    }

    #[test]
    fn an_answer_out_of_its_place_ends_the_attempt() {
        check(&["331"], &["=Failed(\"the FTP server answered the connection with 331\")"]);
        check_inside(&["229 x"], &["=Failed(\"the FTP server named no usable port\")"]);
        let early = ["=9", "STOR a.log", "=Failed(\"the FTP server answered the file with 226\")"];
        check_inside(&["229 (|||9|)", "226"], &early);
    }

    #[test]
    fn a_step_does_not_show_the_password() {
        let job = job();
        let mut session = Session::new(&job);
        for code in [220, 331] {
            let step = session.handle_reply(&Reply { code, text: String::new() });
            assert!(!format!("{step:?} {session:?}").contains("hunter2"));
        }
    }

    proptest! {
        #[test]
        fn no_order_of_replies_says_done_before_the_file_was_sent(replies: Vec<(u16, String)>) {
            let job = job();
            let mut session = Session::new(&job);
            let mut was_sent = false;
            for (code, text) in replies {
                match session.handle_reply(&Reply { code: 100 + code % 500, text }) {
                    Ok(Step::Connect(_)) => drop(session.connected()),
                    Ok(Step::Send) => was_sent = true,
                    Ok(Step::Done) => prop_assert!(was_sent),
                    Ok(Step::Say(_) | Step::Listen) => {}
                    Err(_) => break,
                }
            }
        }
    }
}
