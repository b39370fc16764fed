//! Which of the host's tickets is which of the session's [`RequestId`]s, while an outcome is awaited and, for
//! [`crate::Report::caused_by`], for a while after.

use std::collections::BTreeMap;

use crate::RequestId;

/// The two maps.
#[derive(Debug, Default)]
pub struct Tickets {
    awaited: BTreeMap<u64, RequestId>,
    ended: BTreeMap<u64, RequestId>,
}

impl Tickets {
    /// Whether one more command may be submitted.
    pub fn has_room(&self) -> bool {
        self.awaited.len() < AWAITED_MAX
    }

    /// A command was submitted.
    pub fn submitted(&mut self, ticket: u64, id: RequestId) {
        if ticket != 0 {
            self.awaited.insert(ticket, id);
        }
    }

    /// Its outcome came. `None`: it was not awaited, or came before.
    pub fn outcome(&mut self, ticket: u64) -> Option<RequestId> {
        let id = self.awaited.remove(&ticket)?;
        self.ended.insert(ticket, id);
        if self.ended.len() > ENDED_KEPT {
            self.ended.pop_first();
        }
        Some(id)
    }

    /// The request behind a ticket.
    pub fn find(&self, ticket: u64) -> Option<RequestId> {
        self.awaited.get(&ticket).or_else(|| self.ended.get(&ticket)).copied()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.awaited.len() + self.ended.len()
    }
}

/// Commands whose outcome is awaited. When full, a further one is refused without asking the host. Not documented;
/// chosen by us: far more than a serial line carries out within a deadline.
pub const AWAITED_MAX: usize = 256;

/// Commands with an outcome that a late report may still name. When full, the oldest is forgotten, and a report that it
/// caused is taken for the device's own. Not documented; chosen by us.
pub const ENDED_KEPT: usize = 256;
