//! The cloud against hand-written devices: each rule is broken once, and each misbehaviour is seen from the other side.

mod gateway;
mod life;
mod misbehaviour;
mod peer;
mod strictness;
mod timers;
mod upgrades;
