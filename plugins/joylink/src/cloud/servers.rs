//! [`Servers`]: which server is tried when.
//!
//! The servers are tried in rounds (JoyLink V1.79: the first that works is used; the rest is chosen by us). A round goes
//! through the list once. Where there is no connection, the next server of the round follows at once, since nobody is
//! burdened by it; the delays are between rounds, and after every server that did answer. A round after a connection
//! that worked begins with its server: that it can be reached is known, which of the others can be is not. When a whole
//! round has failed, what was known is old, and the list counts again from its beginning.

use std::collections::VecDeque;

use crate::wire::authorization::Server;

/// A list of servers and where in it we are.
#[derive(Clone, Debug)]
pub struct Servers {
    list: Vec<Server>,
    /// What is left of the round, the server in use in front; only empty if the list is.
    round: VecDeque<usize>,
}

impl Servers {
    /// Takes the first [`MAX_SERVERS`] that differ.
    #[must_use]
    pub fn new(servers: Vec<Server>) -> Self {
        let mut list = Vec::new();
        for server in servers {
            if list.len() < MAX_SERVERS && !list.contains(&server) {
                list.push(server);
            }
        }
        Self { round: (0..list.len()).collect(), list }
    }

    /// The one that is in use, or is to be tried; `None`: there is none at all.
    #[must_use]
    pub fn current(&self) -> Option<&Server> {
        self.list.get(*self.round.front()?)
    }

    /// The current one is given up for the next. Whether that still belongs to the round.
    pub fn give_up(&mut self) -> bool {
        self.round.pop_front();
        let left = !self.round.is_empty();
        if !left {
            self.round = (0..self.list.len()).collect();
        }
        left
    }

    /// The current one had worked: a new round begins with it.
    pub fn begin_with_current(&mut self) {
        let current = self.round.front().copied();
        let others = (0..self.list.len()).filter(|at| Some(*at) != current);
        self.round = current.into_iter().chain(others).collect();
    }
}

/// Servers of an account that are used. Not documented; chosen by us: JD names one or two, and so many attempts without
/// a pause harm nobody.
pub const MAX_SERVERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(names: &str) -> Servers {
        Servers::new(names.chars().map(|name| Server { host: name.into(), port: 6001 }).collect())
    }

    /// The servers in the order in which they are tried, a `|` between rounds.
    fn tried(servers: &mut Servers, n: usize) -> String {
        let mut tried = String::new();
        for _ in 0..n {
            tried += &servers.current().unwrap().host;
            if !servers.give_up() {
                tried.push('|');
            }
        }
        tried
    }

    #[test]
    fn a_round_goes_through_the_list_in_order() {
        assert_eq!(tried(&mut servers("abc"), 6), "abc|abc|");
        assert_eq!(tried(&mut servers("a"), 2), "a|a|");
    }

    #[test]
    fn the_round_after_a_server_that_worked_begins_with_it_and_the_one_after_that_does_not() {
        let mut servers = servers("abcd");
        assert_eq!(tried(&mut servers, 2), "ab");
        servers.begin_with_current();
        assert_eq!(tried(&mut servers, 8), "cabd|abcd|");
    }

    #[test]
    fn no_server_twice_and_not_more_than_are_used() {
        assert_eq!(tried(&mut servers("abacbb"), 4), "abc|a");
        assert_eq!(tried(&mut servers("abcdefghijklm"), 9), "abcdefgh|a");
    }

    #[test]
    fn an_empty_list_has_no_server_and_stays_so() {
        let mut servers = servers("");
        assert_eq!(servers.current(), None);
        assert!(!servers.give_up());
        servers.begin_with_current();
        assert_eq!(servers.current(), None);
    }
}
