//! Updates: images for this module, its MCU and what is behind it, from whichever cloud, one at a time.
//!
//! [`manifest`] is the owner's word about an image, and the proof that it was heard. [`digest`] takes what clouds give to
//! check a file by, [`trailer`] finds the manifest in it.

pub mod archive;
pub mod coordinator;
pub mod digest;
pub mod download;
pub mod floors;
pub mod hook;
pub mod launch;
pub mod manifest;
pub mod offer;
pub mod slots;
pub mod trailer;
