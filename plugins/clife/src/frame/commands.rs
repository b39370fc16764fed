//! The commands of the protocol and who sends them.

/// Command codes (Clife access document 5.3, command list).
pub mod cmd {
    /// Registration request, by HTTP.
    pub const REGISTER: i64 = 2000;
    /// Answer to a registration request, by HTTP.
    pub const REGISTERED: i64 = 2001;
    /// Connection request.
    pub const CONNECT: i64 = 2004;
    /// Answer to a connection request.
    pub const CONNECTED: i64 = 2005;
    /// Data report.
    pub const REPORT: i64 = 2006;
    /// Data query.
    pub const QUERY: i64 = 2009;
    /// Data control.
    pub const CONTROL: i64 = 2011;
    /// Answer to an unbind.
    pub const UNBOUND: i64 = 2012;
    /// Unbind.
    pub const UNBIND: i64 = 2013;
    /// The will that the broker sends for a device that is gone.
    pub const WILL: i64 = 2014;
    /// Forced offline.
    pub const FORCE_OFFLINE: i64 = 2017;
    /// Answer to a file operation, and the events of one.
    pub const FILE_ANSWER: i64 = 2018;
    /// File operation.
    pub const FILE: i64 = 2019;
}

/// Who sends a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The device.
    Device,
    /// The platform.
    Platform,
}

/// Who sends a command between device and platform; `None` for one of local traffic. In the list every code of a device
/// is even and every code of the platform odd; codes below 2000 are local (Clife access document 5.3). A code that is not
/// in the list has a sender too, so this does not say that it is known.
#[must_use]
pub const fn sender(cmd: i64) -> Option<Sender> {
    match cmd {
        ..2000 => None,
        _ if cmd % 2 == 0 => Some(Sender::Device),
        _ => Some(Sender::Platform),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_traffic_has_no_sender_here() {
        for local in [i64::MIN, -1, 0, 1099, 1100, 1999] {
            assert_eq!(sender(local), None, "{local}");
        }
        assert_eq!(sender(i64::MAX), Some(Sender::Platform));
    }
}
