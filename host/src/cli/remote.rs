//! Commands that ask the running host: `status`, `get`, `set`, `watch`, `log`.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;

use super::arguments::Options;
use super::table::{Table, printable};
use super::{Exit, overrides, status as page};
use crate::admin::client::{Client, ClientError};
use crate::admin::{Answer, DatapointReport, Request, WatchEvent};
use crate::config::Config;

pub(super) fn status(
    options: &Options,
    watch: bool,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    loop {
        let status = match ask(options, &Request::Status) {
            Ok(Answer::Status(status)) => *status,
            answer => return sorry(answer, err),
        };
        if json {
            write_json(out, &status)?;
        } else {
            if watch && io::stdout().is_terminal() {
                // Home, and clear what is below.
                write!(out, "\x1b[H\x1b[J")?;
            }
            page::write(&status, out)?;
        }
        if !watch {
            return Ok(Exit::Done);
        }
        out.flush()?;
        std::thread::sleep(REFRESH);
    }
}

pub(super) fn get(
    options: &Options,
    names: &[String],
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    let values = match ask(options, &Request::Get { names: names.to_vec() }) {
        Ok(Answer::Values(values)) => values,
        answer => return sorry(answer, err),
    };
    match (json, &values[..], names) {
        (true, ..) => write_json(out, &values)?,
        // One name, one value: what a script wants.
        (false, [DatapointReport { value: Some(value), .. }], [_]) => writeln!(out, "{}", printable(value))?,
        (false, [DatapointReport { value: None, name, .. }], [_]) => {
            writeln!(err, "polylink: the value of {} is not known yet", printable(name))?;
        }
        _ => page::write_datapoints(&values, out)?,
    }
    let unknown = !names.is_empty() && values.iter().any(|value| value.value.is_none());
    Ok(if unknown { Exit::Failed } else { Exit::Done })
}

pub(super) fn set(
    options: &Options,
    values: &[(String, String)],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Exit> {
    let outcomes = match ask(options, &Request::Set { values: values.to_vec() }) {
        Ok(Answer::Outcomes(outcomes)) => outcomes,
        answer => return sorry(answer, err),
    };
    let mut table = Table::new(&["DATAPOINT", "OUTCOME"]);
    for outcome in &outcomes {
        let text = if outcome.done { "done".to_owned() } else { outcome.text.clone() };
        table.row([outcome.name.clone(), text]);
    }
    table.write(out)?;
    Ok(if outcomes.iter().all(|outcome| outcome.done) { Exit::Done } else { Exit::Failed })
}

pub(super) fn watch(options: &Options, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    let begun = connect(options).and_then(|mut client| client.ask(&Request::Watch).map(|_| client));
    let mut client = match begun {
        Ok(client) => client,
        Err(error) => return sorry(Err(error), err),
    };
    loop {
        match client.next() {
            Ok(answer @ (Answer::Event(_) | Answer::Lost(_))) if json => write_json(out, &answer)?,
            Ok(Answer::Event(event)) => writeln!(out, "{}", printable(&event_line(&event)))?,
            Ok(Answer::Lost(count)) => writeln!(out, "({count} events lost: too slow)")?,
            answer => return sorry(answer, err),
        }
        out.flush()?;
    }
}

pub(super) fn log(options: &Options, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    match ask(options, &Request::Log) {
        Ok(Answer::Log(text)) => {
            for line in text.lines() {
                writeln!(out, "{}", printable(line))?;
            }
            Ok(Exit::Done)
        }
        answer => sorry(answer, err),
    }
}

fn event_line(event: &WatchEvent) -> String {
    let pairs = |values: &[(String, String)]| -> String {
        values.iter().map(|(name, value)| format!(" {name}={value}")).collect()
    };
    let from = |origin: &str| if origin.is_empty() { String::new() } else { format!(" (by {origin})") };
    match event {
        WatchEvent::Report { at_unix_ms, device, cause, origin, event, values } => {
            let device = if *device == 0 { String::new() } else { format!(" device {device}") };
            let event = if event.is_empty() { String::new() } else { format!(" event {event}") };
            format!("{} report  {cause}{device}{event}{}{}", page::clock(*at_unix_ms), pairs(values), from(origin))
        }
        WatchEvent::Command { at_unix_ms, origin, ticket, what, values } => {
            format!("{} command #{ticket} {origin}: {what}{}", page::clock(*at_unix_ms), pairs(values))
        }
        WatchEvent::Outcome { at_unix_ms, origin, ticket, result, reason } => {
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            format!("{} outcome #{ticket} {origin}: {result}{reason}", page::clock(*at_unix_ms))
        }
        WatchEvent::Status { at_unix_ms, who, state, text } => {
            format!("{} status  {who}: {state} {text}", page::clock(*at_unix_ms))
        }
    }
}

pub(super) fn connect(options: &Options) -> Result<Client, ClientError> {
    let socket = match &options.socket {
        Some(socket) => socket.clone(),
        // Even a wrong configuration names a socket, and the host may be running on an older one.
        None => Config::read_host(&options.config_dir, overrides(options)).0.control.socket,
    };
    Client::connect(&socket)
}

fn ask(options: &Options, request: &Request) -> Result<Answer, ClientError> {
    connect(options)?.ask(request)
}

pub(super) fn sorry(answer: Result<Answer, ClientError>, err: &mut dyn Write) -> io::Result<Exit> {
    let (exit, sentence) = match answer {
        Err(error @ ClientError::Refused(_)) => (Exit::Failed, error.to_string()),
        Err(error) => (Exit::NoHost, error.to_string()),
        Ok(_) => (Exit::NoHost, "the running polylink gave an answer to another question".to_owned()),
    };
    writeln!(err, "polylink: {}", printable(&sentence))?;
    Ok(exit)
}

fn write_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value).map_err(io::Error::from)?;
    writeln!(out, "{text}")
}

/// Between two pages of `status --watch`.
const REFRESH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::admin::server::tests::check as with_host;
    use crate::cli::arguments::{Command, Invocation};
    use crate::cli::plugin_change::PluginCommand;
    use crate::cli::plugin_files::tests::OnePlugin;

    #[track_caller]
    fn check(socket: &Path, command: Command, exit: Exit, out: &str, err: &str) {
        let options = Options { config_dir: "/nowhere".into(), set: Vec::new(), socket: Some(socket.to_owned()) };
        let (mut found_out, mut found_err) = (Vec::new(), Vec::new());
        let invocation = Invocation { command, options };
        let found = crate::cli::execute(&invocation, &OnePlugin, &mut found_out, &mut found_err);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        assert_eq!((found, text(found_out).as_str(), text(found_err).as_str()), (exit, out, err));
    }

    fn get(name: &str) -> Command {
        Command::Get { names: vec![name.to_owned()], json: false }
    }

    fn set(name: &str, value: &str) -> Command {
        Command::Set { values: vec![(name.to_owned(), value.to_owned())] }
    }

    #[test]
    fn a_script_gets_the_bare_value_and_an_exit_status() {
        with_host(|socket, _| {
            check(socket, get("power"), Exit::Done, "true\n", "");
            let unknown = "polylink: the value of mode is not known yet\n";
            check(socket, get("mode"), Exit::Failed, "", unknown);
            check(socket, get("colour"), Exit::Failed, "", "polylink: there is no such datapoint\n");
            check(socket, set("power", "on"), Exit::Done, "DATAPOINT  OUTCOME\npower      done\n", "");
            check(socket, set("power", "no"), Exit::Failed, "DATAPOINT  OUTCOME\npower      no\n", "");
        });
    }

    #[test]
    fn the_steps_of_a_change_are_shown_and_the_exit_status_says_how_it_ended() {
        with_host(|socket, _| {
            let install = PluginCommand::Install { file: "/x.so".into(), product: None };
            let steps = "verified: it is a lamp\n";
            let command = Command::PluginChange(install);
            check(socket, command, Exit::Done, &format!("{steps}healthy: /x.so\n"), "");
            let command = Command::PluginChange(PluginCommand::RollBack { plugin: "deli".into() });
            check(socket, command, Exit::Failed, steps, "polylink: there is no plugin `deli` to go back to\n");
        });
    }

    #[test]
    fn the_log_is_shown_line_by_line_without_what_a_terminal_would_obey() {
        with_host(|socket, _| check(socket, Command::Log, Exit::Done, "one\ntwo\\u{1b}[2J\n", ""));
    }

    #[test]
    fn without_a_running_host_the_exit_status_is_three() {
        let message = "polylink: no running polylink at /nowhere/socket: No such file or directory (os error 2)\n";
        check(Path::new("/nowhere/socket"), get("power"), Exit::NoHost, "", message);
    }

    #[test]
    fn foreign_control_characters_do_not_reach_the_terminal() {
        let event =
            WatchEvent::Status { at_unix_ms: 0, who: "mcu".into(), state: "on\u{1b}[2J".into(), text: String::new() };
        assert_eq!(printable(&event_line(&event)), "1970-01-01 00:00:00.000Z status  mcu: on\\u{1b}[2J ");
    }
}
