//! What only the Deli cloud has.

mod beside_clife;
mod updates;
