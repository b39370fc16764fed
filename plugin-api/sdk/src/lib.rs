//! Safe, ordinary Rust for authors of Polylink plugins.
//!
//! A plugin is a [`Session`]: a state machine that gets an [`Input`] and the time, and answers with [`Output`]s. It
//! opens no socket, reads no clock, starts no thread and blocks on nothing; the [`driver`] carries its outputs out
//! through the host's services. [`export_plugin!`] makes a loadable library of it.
//!
//! Module map: [`session`] the trait and its vocabulary · [`value`] values, reports, commands · [`thing_model`] what the
//! product has, and its JSON · [`services`] what a session may ask of the host · [`driver`] what runs it · [`guard`] no
//! panic leaves · [`export`] what makes a library of it · [`status`] when operators are told · [`numbering`] numbers for
//! messages · [`answers`] what is said again to a command that comes again · [`cloud_clock`] the cloud's time ·
//! [`product_script`] a script and its calls · [`calendar`] dates · [`door`] ports that open again · [`timers`],
//! [`backoff`], [`bucket`], [`bytes`], [`hex`], [`raw_json`], [`secret`], [`random`], [`settings`], [`url`] small tools ·
//! [`straight`] `async` for those who prefer straight-line code · `testing` (feature) virtual time and scripted services.

pub mod answers;
pub mod backoff;
pub mod bucket;
pub mod bytes;
pub mod calendar;
pub mod cloud_clock;
pub mod door;
pub mod driver;
pub mod export;
pub mod guard;
pub mod hex;
pub mod numbering;
pub mod product_script;
pub mod random;
pub mod raw_json;
pub mod secret;
pub mod services;
pub mod session;
pub mod settings;
pub mod status;
pub mod straight;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod thing_model;
pub mod timers;
pub mod url;
pub mod value;

pub use polylink_plugin_api as api;

pub use export::PluginInfo;
pub use polylink_plugin_api::{Advice, ClockQuality, Fault, FaultCode, Now, Timestamp, WallTime};
pub use session::{Context, Input, Output, RequestId, Session};
pub use value::{Cause, Command, CommandBody, DatapointId, Outcome, OutcomeResult, Report, ReportBody, Value};

/// Keeps the example of the guide compiling.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/PLUGIN-GUIDE.md")]
struct Guide;
