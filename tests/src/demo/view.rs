//! The live view: what the MCU and the clouds do, line by line, and counters that stay in place on a terminal.
//!
//! With `--json` nothing goes to standard output; steps are told on standard error in any case. Invariant: at most
//! `LINES_PER_TICK` lines of each party a tick, so that a fast run stays readable and the view never slows it down.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use super::product;
use crate::clouds::SimCloud;
use crate::mcu::p0::Schema;
use crate::mcu::sim::McuSim;

/// Draws a run.
pub struct View {
    started: Instant,
    live: bool,
    colour: bool,
    /// Lines of the counters now on the screen.
    drawn: usize,
    seen: Vec<Seen>,
    commands_seen: usize,
    ticks: u64,
    schema: Schema,
}

#[derive(Default, Clone)]
struct Seen {
    arrivals: usize,
    answered: usize,
    online: bool,
}

impl View {
    /// A view for so many clouds.
    pub fn new(json: bool, clouds: usize) -> Self {
        let colour = !json && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let seen = vec![Seen::default(); clouds];
        Self {
            started: Instant::now(),
            live: !json,
            colour,
            drawn: 0,
            seen,
            commands_seen: 0,
            ticks: 0,
            schema: product::schema(),
        }
    }

    /// Tells what happens now.
    pub fn step(&mut self, text: &str) {
        if self.live {
            self.erase();
            self.line("demo", text, GREY);
        } else {
            eprintln!("{:8.3}  {text}", self.started.elapsed().as_secs_f64());
        }
    }

    /// Shows what happened since the last call.
    pub fn tick(&mut self, mcu: &McuSim, clouds: &[(&str, Box<dyn SimCloud>)]) {
        if !self.live {
            return;
        }
        self.ticks += 1;
        self.erase();
        let commands = mcu.with_log(|log| log.commands[self.commands_seen.min(log.commands.len())..].to_vec());
        self.commands_seen += commands.len();
        for command in commands.iter().take(LINES_PER_TICK) {
            let text = self.schema.attribute(&command.name).map(|attribute| attribute.text(&command.value));
            self.line("mcu", &format!("obeys {} = {}", command.name, text.unwrap_or_default()), YELLOW);
        }
        for (at, (name, cloud)) in clouds.iter().enumerate() {
            self.cloud(at, name, cloud.as_ref());
        }
        if self.colour || self.ticks.is_multiple_of(PLAIN_TICKS) {
            self.counters(mcu, clouds);
        }
    }

    fn cloud(&mut self, at: usize, name: &str, cloud: &dyn SimCloud) {
        let seen = self.seen[at].clone();
        let (online, arrivals, n_arrivals, answered) = cloud.ledger().with(|entries| {
            let new = entries.arrivals.get(seen.arrivals..).unwrap_or_default();
            let shown: Vec<u32> = new.iter().take(LINES_PER_TICK).map(|arrival| arrival.counter).collect();
            let answered = entries.commands.values().filter(|command| command.answer.is_some()).count();
            (entries.online, shown, entries.arrivals.len(), answered)
        });
        if online != seen.online {
            self.line(name, if online { "the device is online" } else { "the device is offline" }, MAGENTA);
        }
        if self.colour {
            for counter in &arrivals {
                self.line(name, &format!("hears report {counter}"), CYAN);
            }
        }
        if answered > seen.answered {
            let noun = if answered == 1 { "command" } else { "commands" };
            self.line(name, &format!("{answered} {noun} done so far"), GREEN);
        }
        self.seen[at] = Seen { arrivals: n_arrivals, answered, online };
    }

    fn counters(&mut self, mcu: &McuSim, clouds: &[(&str, Box<dyn SimCloud>)]) {
        let (sent, acked, repeated, commands) =
            mcu.with_log(|log| (log.reports_sent, log.acknowledged.len(), log.repetitions, log.commands.len()));
        let values = self.schema.attributes.iter().zip(mcu.values());
        let says: Vec<_> =
            values.map(|(attribute, value)| format!("{} {}", attribute.name, attribute.text(&value))).collect();
        let mut lines: Vec<(String, String)> =
            in_lines(&says).into_iter().map(|line| ("mcu".to_owned(), line)).collect();
        lines.push((
            "mcu".to_owned(),
            format!("{sent} reports, {acked} acknowledged, {repeated} repeated; {commands} commands"),
        ));
        for (name, cloud) in clouds {
            let text = cloud.ledger().with(|entries| {
                let (sent, done) = (entries.commands_sent(), entries.commands_done());
                format!("{} reports arrived; {done} of {sent} commands done", entries.arrivals.len())
            });
            lines.push(((*name).to_owned(), text));
        }
        for (who, text) in &lines {
            // A line that wraps could not be taken off the screen again.
            self.line(who, &text.chars().take(COUNTER_CHARS).collect::<String>(), BOLD);
        }
        self.drawn = if self.colour { lines.len() } else { 0 };
    }

    /// Takes the counters off the screen, so that lines scroll above them.
    fn erase(&mut self) {
        if self.drawn > 0 {
            print!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn line(&self, who: &str, text: &str, colour: &str) {
        let at = self.started.elapsed().as_secs_f64();
        let mut out = std::io::stdout().lock();
        // Whoever closed our output does not want to read it; the run goes on.
        let _ = if self.colour {
            writeln!(out, "{GREY}{at:8.3}{PLAIN}  {colour}{who:<9}{text}{PLAIN}")
        } else {
            writeln!(out, "{at:8.3}  {who:<9}{text}")
        };
    }
}

/// As many to a line as there is room for, none of them in two: half a number would be another one.
fn in_lines(words: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut().filter(|line| line.chars().count() + word.chars().count() + 2 <= COUNTER_CHARS) {
            Some(line) => *line += &format!(", {word}"),
            None => lines.push(word.clone()),
        }
    }
    lines
}

const PLAIN: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const GREY: &str = "\x1b[90m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const MAGENTA: &str = "\x1b[35m";
const CYAN: &str = "\x1b[36m";
/// Room for a counter line on a terminal of 80 columns, after the time and the name.
const COUNTER_CHARS: usize = 60;
/// Lines of one party in one tick.
const LINES_PER_TICK: usize = 2;
/// Counters are printed every so many ticks where they cannot stay in place.
const PLAIN_TICKS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spread_over_lines_and_never_cut() {
        let words =
            ["switch 1", "mode cool", "target 21.5", "counter 1098", "temperature 18.3", "tag 00000000", "overheat 0"];
        let lines = in_lines(&words.map(str::to_owned));
        assert_eq!(
            lines,
            ["switch 1, mode cool, target 21.5, counter 1098", "temperature 18.3, tag 00000000, overheat 0"]
        );
        assert_eq!(in_lines(&[]), Vec::<String>::new());
    }
}
