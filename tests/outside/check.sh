#!/usr/bin/env bash
# Builds a plugin as a third party would: outside the workspace, from a copy of the template, with this machine's compiler
# and, where there is one, the nightly too; then runs each under the real host in the demo. Needs nothing but cargo.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" -p polylink

mkdir "$work/plugin"
cp -r "$root/plugins/template/src" "$root/plugins/template/settings.schema.json" "$work/plugin/"
cp "$root/Cargo.lock" "$work/plugin/"
cat > "$work/plugin/Cargo.toml" <<TOML
[package]
name = "polylink-template"
version = "0.1.0"
edition = "2024"

[workspace]

[lib]
crate-type = ["cdylib"]

[dependencies]
polylink-plugin-sdk = { path = "$root/plugin-api/sdk" }
serde = { version = "1", default-features = false, features = ["std", "derive"] }
serde_json = { version = "1", default-features = false, features = ["std", "raw_value"] }
TOML

check() { # toolchain name, cargo command
    echo "== a plugin built outside the workspace by $1"
    (cd "$work/plugin" && CARGO_TARGET_DIR="$work/target-$1" ${2} build --quiet)
    mkdir -p "$work/plugins-$1"
    cp "$work/target-$1/debug/libpolylink_template.so" "$work/plugins-$1/"
    "$root/target/release/polylink" plugin inspect "$work/plugins-$1/libpolylink_template.so"
    (cd "$root" && cargo demo --clouds template --plugins "$work/plugins-$1" --seconds 5 --json)
}

check stable cargo
if rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    check nightly "cargo +nightly"
else
    echo "== no nightly toolchain here: not tried with another compiler"
fi
