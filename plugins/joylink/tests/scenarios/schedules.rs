//! Schedules that run on the device: the four kinds of tasks, by the cloud and by an app, with a cloud and without one.

mod almanac;
mod by_calendar;
mod by_course;
mod clock;
mod in_bytes;
mod of_subdevices;
mod operations;
mod power_cuts;
mod steps;
mod synchronization;
pub mod tasks;
