//! Tells the crate which compiler builds it, for [`Descriptor::build`].

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let version = Command::new(variable("RUSTC")).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let compiler = if version.is_empty() { "rustc of unknown version" } else { version.trim() };
    println!("cargo:rustc-env=POLYLINK_SDK_BUILD={compiler}, {}, {}", variable("TARGET"), variable("PROFILE"));
}
