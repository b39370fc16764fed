//! Updates: images for this module, its MCU and what is behind it, from whichever cloud, one at a time.
//!
//! The way of one: [`offer`] → [`coordinator`] (pure; remembers each step) → [`download`] → [`trailer`] and [`manifest`] (the
//! owner's word, and the proof that it was heard) → [`backend`]: [`slots`], [`hook`] or the line → [`launch`] → confirmation or step back.
//! [`intake`] hashes what was verified once more on its way in. [`digest`] takes what clouds give to check a file by; [`floors`] has the counters against rollback; [`archive`] is what a
//! release is packed in.
//!
//! [`engine`] drives all of it, its work on files in [`turns`], and is what clouds are connected to; `polylink ota` uses the parts below it by hand.

pub mod archive;
pub mod backend;
pub mod coordinator;
pub mod digest;
pub mod download;
pub mod engine;
pub mod floors;
pub mod hook;
pub mod intake;
pub mod launch;
pub mod manifest;
pub mod offer;
pub mod slots;
pub mod trailer;
pub mod turns;
