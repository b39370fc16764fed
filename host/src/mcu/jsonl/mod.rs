//! One JSON object a line: the link for any microcontroller that can print ([`JsonLines`]). The protocol is ours and
//! described in `docs/protocols/mcu-jsonl.md`.
//!
//! `lines` splits bytes, `message` knows the objects, `values` the product's values in JSON; `link` is the conversation.

mod lines;
mod link;
mod message;
mod values;

#[cfg(test)]
mod conversations;

pub use link::JsonLines;
