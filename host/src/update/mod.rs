//! Updates: images for this module, its MCU and what is behind it, from whichever cloud, one at a time.
//!
//! [`manifest`] is the owner's word about an image, and the proof that it was heard.

pub mod manifest;
