//! Downloads that go on where they stopped: over reconnects, restarts and reboots, from servers that are not trusted.
//!
//! [`machine`] decides, [`fetch`] carries out; [`head`] reads what servers say, [`wish`] is what goes in and what is stored.

pub mod fetch;
pub mod head;
pub mod machine;
pub mod trouble;
pub mod wish;

pub use head::Head;
pub use machine::{Download, Output, Taken};
pub use trouble::{Failure, Trouble};
pub use wish::{Checkpoint, Limits, Wish};
