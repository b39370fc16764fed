//! What the module does beside carrying data: the binding window, configuration modes, the production test, restarts
//! that a cloud asks for, and clouds that another cloud names.
//!
//! The host touches no radio. What is to be done with the network is told to the product's own program, the [`hook`];
//! the rest here is pure and gets the time as an argument: [`binding`], [`modes`], [`restart`], [`third_party`], and
//! [`subdevices`], the devices behind this one.
//! [`crate::assemble`] puts them behind the MCU's requests and the table `polylink.module/1`.

pub mod binding;
pub mod hook;
pub mod join_marker;
pub mod modes;
pub mod restart;
pub mod subdevices;
pub mod third_party;
