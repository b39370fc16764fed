//! The names of this plugin's topics.

/// One topic for each kind of message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Up: what the device says.
    pub report: String,
    /// Down: what somebody wants of it.
    pub command: String,
    /// Up: what became of a command.
    pub result: String,
}

impl Topics {
    /// `<prefix>/<client_id>/…`; both are single levels.
    #[must_use]
    pub fn new(prefix: &str, client_id: &str) -> Self {
        let topic = |kind| format!("{prefix}/{client_id}/{kind}");
        Self { report: topic("report"), command: topic("command"), result: topic("result") }
    }
}
