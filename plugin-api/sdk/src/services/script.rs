//! Lua scripts of a product; see [`polylink_plugin_api::services::script`].

use super::Failure;
use crate::RequestId;

pub use polylink_plugin_api::services::script::Value;

/// What a session asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Load a script, called by this id from now on; [`Event::Loaded`] or [`Event::LoadFailed`] follows. It may be called
    /// at once: the calls wait.
    Load {
        /// The script.
        script: RequestId,
        /// Its name in messages and logs.
        name: String,
        /// Its text.
        source: String,
    },
    /// Call a global function of a script; [`Event::Returned`] follows.
    Call {
        /// The script.
        script: RequestId,
        /// This call.
        id: RequestId,
        /// The function's name.
        function: String,
        /// Its arguments.
        args: Vec<Value>,
    },
    /// Unload a script. Calls without an answer yet fail with [`super::Reason::Closed`].
    Unload(RequestId),
}

/// What the service says.
///
/// The reason of a failure says whose fault it is: [`super::Reason::Invalid`] what was asked cannot be done (the text is no
/// Lua, no such function, a value that cannot cross), [`super::Reason::Other`] the script raised an error,
/// [`super::Reason::Quota`] it needs more memory or instructions than it may (or too much was asked at once),
/// [`super::Reason::Timeout`] more time, [`super::Reason::UnknownHandle`] the script is not there (any more): load it
/// again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The script waits for calls.
    Loaded(RequestId),
    /// It could not be loaded; its id means nothing now.
    LoadFailed(RequestId, Failure),
    /// What the call with this id returned.
    Returned(RequestId, Result<Vec<Value>, Failure>),
}
