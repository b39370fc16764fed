//! What the cloud offers beside control: firmware, recipes, the weather and the like, and where a video goes.

mod firmware;
mod information;
mod recipes;
mod upgrade;
mod video;
