//! Timers: what the device does by itself at the times that the cloud, an app or its own panel asked for.
//!
//! Pure: no clock, no I/O. The time is an argument, and what is to be done or sent is a result.
//!
//! Module map: [`expression`] `sec_min_hour_day_month_week_year` · [`period`] the days of a time span · [`wire`] packets
//! of type 13 · [`text`] fields of fixed size.

pub mod expression;
pub mod period;
pub mod text;
pub mod wire;
