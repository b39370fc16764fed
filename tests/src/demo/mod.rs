//! The demo: the real program between simulators, watched live and judged at the end.

pub mod options;
pub mod verdict;
