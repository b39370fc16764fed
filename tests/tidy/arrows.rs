//! Which package may know which.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value as Json;

use crate::sources::root;

/// The packages of the workspace, each with those it names: its own and others', build dependencies included.
fn named() -> BTreeMap<String, Named> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(root().join("Cargo.toml"));
    let output = command.output().expect("cargo runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Json = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("cargo metadata has packages");
    packages.iter().map(|package| (text(&package["name"]), Named::of(package))).collect()
}

#[derive(Debug, Default)]
struct Named {
    /// Packages of this workspace, for the built thing.
    own: BTreeSet<String>,
    /// Packages of this workspace, for its tests only.
    own_in_tests: BTreeSet<String>,
    /// Packages from elsewhere, for the built thing.
    foreign: BTreeSet<String>,
}

impl Named {
    fn of(package: &Json) -> Self {
        let mut named = Self::default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let own = dependency["path"].is_string();
            let in_tests = dependency["kind"] == "dev";
            let name = text(&dependency["name"]);
            match (own, in_tests) {
                (true, false) => named.own.insert(name),
                (true, true) => named.own_in_tests.insert(name),
                (false, false) => named.foreign.insert(name),
                (false, true) => false,
            };
        }
        named
    }
}

fn text(json: &Json) -> String {
    json.as_str().expect("names are texts").to_owned()
}

/// What a package of the workspace may name of the workspace.
fn allowed(package: &str) -> &'static [&'static str] {
    match package {
        "polylink-plugin-api" | "polylink-p0" | "polylink-testbed" => &[],
        "polylink-plugin-sdk" => &["polylink-plugin-api"],
        "polylink" => &["polylink-plugin-api", "polylink-p0"],
        // Fixtures misbehave below the SDK too, so they may go around it.
        fixture if fixture.starts_with("polylink-fixture-") => &["polylink-plugin-api", "polylink-plugin-sdk"],
        // Plugins.
        _ => &["polylink-plugin-sdk", "polylink-p0"],
    }
}

#[test]
fn packages_know_only_what_lies_below_them() {
    for (package, named) in named() {
        let both = named.own.iter().chain(&named.own_in_tests).filter(|name| **name != package);
        let forbidden: Vec<_> = both.filter(|name| !allowed(&package).contains(&name.as_str())).collect();
        assert!(forbidden.is_empty(), "{package} names {forbidden:?}, it may name {:?}", allowed(&package));
    }
}

#[test]
fn the_abi_stands_on_abi_stable_alone() {
    let named = named();
    let foreign: Vec<_> = named["polylink-plugin-api"].foreign.iter().map(String::as_str).collect();
    assert_eq!(foreign, ["abi_stable"]);
}

#[test]
fn a_plugin_brings_no_network_and_no_runtime() {
    for (package, named) in named() {
        if package.starts_with("polylink-") && allowed(&package) == ["polylink-plugin-sdk", "polylink-p0"] {
            let foreign = ["tokio", "rustls", "rumqttc", "reqwest", "socket2", "libloading", "abi_stable"];
            let forbidden: Vec<_> = foreign.iter().filter(|name| named.foreign.contains(**name)).collect();
            assert!(forbidden.is_empty(), "{package} names {forbidden:?}; the host does this for it");
        }
    }
}

#[test]
fn the_map_of_the_architecture_shows_every_package() {
    let map = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("the map is there");
    let fixtures = |package: &String| package.starts_with("polylink-fixture-");
    let missing: Vec<_> =
        named().into_keys().filter(|package| !fixtures(package) && !map.contains(&format!("`{package}`"))).collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md does not show {missing:?}");
}
