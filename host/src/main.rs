//! The `polylink` program: see [`polylink::cli`] for what it can do.

use std::process::ExitCode;

use polylink::assemble::{RealPluginFiles, run};

fn main() -> ExitCode {
    polylink::cli::main(std::env::args_os().skip(1), &RealPluginFiles::default(), run)
}
