//! `cargo demo`: a simulated MCU and simulated clouds around the real program, live.

use std::process::ExitCode;

use polylink_testbed::demo::{self, arguments};

fn main() -> ExitCode {
    let options = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments::Parsed::Run(options)) => options,
        Ok(arguments::Parsed::Help) => {
            println!("{}", arguments::help());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("demo: {error}\nTry `cargo demo -- --help`.");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(demo::run(&options)) {
        Ok(summary) => {
            summary.show(options.json);
            if summary.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}
