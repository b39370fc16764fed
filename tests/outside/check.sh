#!/usr/bin/env bash
# Builds a plugin as a third party would: outside the workspace, from a copy of the template, with the pinned compiler and,
# where there is one, the nightly too; then runs each under the real host in the demo. Needs nothing but cargo.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" -p polylink

# The template's own manifest inherits from the workspace, so a copy needs one that stands alone. The lock file is taken
# along, and cargo takes out of it what is not used here: the same versions, without a look at the registry's newest.
mkdir "$work/plugin"
cp -r "$root/plugins/template/src" "$root/plugins/template/tests" "$root/plugins/template/settings.schema.json" "$work/plugin/"
cp "$root/Cargo.lock" "$root/rust-toolchain.toml" "$work/plugin/"
cat > "$work/plugin/Cargo.toml" <<TOML
[package]
name = "polylink-template"
version = "0.1.0"
edition = "2024"
autotests = false

[workspace]

[lib]
crate-type = ["cdylib"]

[dependencies]
polylink-plugin-sdk = { path = "$root/plugin-api/sdk" }
serde = { version = "1", default-features = false, features = ["std", "derive"] }
serde_json = { version = "1", default-features = false, features = ["std", "raw_value"] }

[dev-dependencies]
polylink-plugin-sdk = { path = "$root/plugin-api/sdk", features = ["testing"] }
proptest = { version = "1", default-features = false, features = ["std"] }
TOML

check() { # name, what the build says of its compiler, cargo command...
    local name=$1 compiler=$2 plugins="$work/plugins-$1"
    shift 2
    echo "== a plugin built outside the workspace by $name"
    (cd "$work/plugin" && CARGO_TARGET_DIR="$work/target-$name" "$@" build --quiet)
    mkdir "$plugins"
    cp "$work/target-$name/debug/libpolylink_template.so" "$plugins/"
    "$root/target/release/polylink" plugin inspect "$plugins/libpolylink_template.so" > "$work/inspected"
    cat "$work/inspected"
    grep -q "^build .*$compiler" "$work/inspected" || { echo "it is not built by $compiler"; return 1; }
    (cd "$root" && cargo demo --clouds template --plugins "$plugins" --seconds 5 --json)
}

pinned=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$root/rust-toolchain.toml")
check pinned "rustc $pinned" cargo
echo "== its tests, outside the workspace"
(cd "$work/plugin" && CARGO_TARGET_DIR="$work/target-pinned" cargo test --quiet)

toolchains=$(rustup toolchain list 2>/dev/null || true)
if grep -q '^nightly' <<< "$toolchains"; then
    check nightly nightly cargo +nightly
else
    echo "== no nightly toolchain here: not tried with another compiler"
fi
