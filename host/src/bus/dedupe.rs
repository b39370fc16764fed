//! Recognises a cloud message that was delivered twice, by its id.

use std::collections::VecDeque;

use polylink_plugin_api::CommandOutcome;

/// The last message ids of one asker, with what became of their commands. When full, the oldest is forgotten.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    ring: VecDeque<(String, Fate)>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Not known yet; this ticket will tell.
    UnderWay(u64),
    /// Known.
    Over(CommandOutcome),
}

impl Seen {
    /// What became of the command with this message id; none: not seen, or forgotten.
    #[must_use]
    pub fn fate(&self, message_id: &str) -> Option<&Fate> {
        self.ring.iter().rev().find(|(id, _)| id == message_id).map(|(_, fate)| fate)
    }

    /// Remembers a command that was accepted.
    pub fn remember(&mut self, message_id: &str, ticket: u64) {
        if self.ring.len() >= SEEN_MAX {
            self.ring.pop_front();
        }
        self.ring.push_back((message_id.to_owned(), Fate::UnderWay(ticket)));
    }

    /// The command came to its end.
    pub fn conclude(&mut self, outcome: &CommandOutcome) {
        let under_way = Fate::UnderWay(outcome.ticket);
        if let Some((_, fate)) = self.ring.iter_mut().rev().find(|(_, fate)| *fate == under_way) {
            *fate = Fate::Over(outcome.clone());
        }
    }
}

/// Messages remembered for each asker. Not documented; chosen by us: far more than a broker keeps under way.
pub const SEEN_MAX: usize = 256;
