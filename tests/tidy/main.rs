//! Rules of the tree that a program can check, so that nobody has to remember them.

mod arrows;
mod sources;
