//! Timers: what the device does by itself at the times that the cloud, an app or its own panel asked for.
//!
//! Pure: no clock, no I/O. The time is an argument, and what is to be done or sent is a result.
//!
//! Module map: [`table`] the tasks, and what may be done to them · [`engine`] what of it is due · [`plan`] when the steps
//! of a task are due · [`run`] how far a running task has come · [`expression`] `sec_min_hour_day_month_week_year` ·
//! [`period`] the days of a time span · [`wire`] packets of type 13 · [`results`] what the cloud is told until it
//! knows.

pub mod engine;
pub mod expression;
pub mod period;
pub mod plan;
pub mod results;
pub mod run;
pub mod table;
pub mod wire;
