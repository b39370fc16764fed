//! What only the Deli cloud has.

mod updates;
