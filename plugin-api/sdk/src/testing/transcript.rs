//! The conversation of a test, for who reads its failure.

use std::collections::VecDeque;
use std::fmt;

use polylink_plugin_api::{Fault, Now, Timestamp};

use crate::services::{mqtt, script, store, tcp, udp};
use crate::{Input, Output};

/// What happened, a line each. The oldest lines are dropped when there are more than [`LINES_MAX`].
#[derive(Debug, Default)]
pub struct Transcript {
    lines: VecDeque<String>,
    begin: Option<Timestamp>,
}

impl Transcript {
    pub fn input(&mut self, now: Now, input: &Input) {
        let text = match input {
            Input::Mqtt(mqtt::Event::Message { connection, topic, payload, qos, .. }) => {
                format!("Mqtt(Message on {}, {topic}, qos {qos}, {})", connection.0, Shown(payload))
            }
            Input::Tcp(tcp::Event::Received(id, bytes)) => format!("Tcp(Received on {}, {})", id.0, Shown(bytes)),
            Input::Udp(udp::Event::Received(id, from, bytes)) => {
                format!("Udp(Received on {} from {from}, {})", id.0, Shown(bytes))
            }
            Input::Http(id, Ok(answer)) => format!("Http({}, {}, {})", id.0, answer.status, Shown(&answer.body)),
            Input::Script(script::Event::Returned(id, Ok(results))) => {
                format!("Script(Returned {}, {})", id.0, Listed(results))
            }
            input => format!("{input:?}"),
        };
        self.line(now, "-->", &text);
    }

    pub fn output(&mut self, now: Now, output: &Output) {
        let text = match output {
            Output::Mqtt(mqtt::Request::Publish { connection, id, message }) => {
                let mqtt::Message { topic, payload, qos, .. } = message;
                format!("Mqtt(Publish {} on {}, {topic}, qos {qos}, {})", id.0, connection.0, Shown(payload))
            }
            Output::Tcp(tcp::Request::Send(id, bytes)) => format!("Tcp(Send on {}, {})", id.0, Shown(bytes)),
            Output::Udp(udp::Request::SendTo(id, to, bytes)) => {
                format!("Udp(SendTo {to} on {}, {})", id.0, Shown(bytes))
            }
            Output::Udp(udp::Request::Broadcast(id, port, bytes)) => {
                format!("Udp(Broadcast to port {port} on {}, {})", id.0, Shown(bytes))
            }
            Output::Http(id, request) => {
                format!("Http({}, {} {}, {})", id.0, request.method, request.url, Shown(&request.body))
            }
            Output::Script(script::Request::Load { script, name, source }) => {
                format!("Script(Load {} {name}, {} bytes)", script.0, source.len())
            }
            Output::Script(script::Request::Call { script, id, function, args }) => {
                format!("Script(Call {} on {}, {function}({}))", id.0, script.0, Listed(args))
            }
            // What is stored may be a credential.
            Output::Store(id, store::Request::Put(key, value)) => {
                format!("Store({}, Put {key}, {} bytes)", id.0, value.len())
            }
            output => format!("{output:?}"),
        };
        self.line(now, "  <--", &text);
    }

    pub fn fault(&mut self, now: Now, fault: &Fault) {
        self.line(now, "  <-- FAULT", &fault.message);
    }

    fn line(&mut self, now: Now, arrow: &str, text: &str) {
        let ms = now.monotonic.since(*self.begin.get_or_insert(now.monotonic));
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:6}.{:03} s {arrow} {text}", ms / 1000, ms % 1000));
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Bytes as text if they are printable, as hex otherwise.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.chars().any(char::is_control) => write!(f, "`{text}`"),
            _ => {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Values of a script, separated by commas.
struct Listed<'a>(&'a [script::Value]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match value {
                script::Value::Nil => f.write_str("nil")?,
                script::Value::Bool(on) => write!(f, "{on}")?,
                script::Value::Int(number) => write!(f, "{number}")?,
                script::Value::Bytes(bytes) => write!(f, "{}", Shown(bytes))?,
            }
        }
        Ok(())
    }
}

/// Lines kept; enough for every failure that a person would read.
const LINES_MAX: usize = 2000;
