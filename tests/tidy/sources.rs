//! Rules about the files themselves.

use std::path::{Path, PathBuf};

/// The top of the tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the tests lie in the tree")
}

/// A Rust file: its path from the top, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Numbered lines of code, without what stands in comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().map(|line| line.split("//").next().unwrap_or_default());
        lines.enumerate().map(|(at, line)| (at + 1, line))
    }

    /// The same, up to the file's tests.
    fn code_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
    }

    /// Whether the file belongs to a fixture, which breaks rules because that is its purpose.
    fn is_fixture(&self) -> bool {
        self.path.starts_with("tests/fixtures/")
    }

    /// Whether the file holds nothing but tests.
    fn is_tests(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs" || self.path.contains("/tests/") || self.path.starts_with("tests/")
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root(), &mut found);
    assert!(found.len() > 50, "the tree has more files than {}", found.len());
    found
}

fn walk(dir: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(dir).expect("the tree is readable").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                walk(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("sources are text");
            let path = path.strip_prefix(root()).expect("it lies below the top").display().to_string();
            found.push(Source { path, text });
        }
    }
}

/// Places where one of the words stands, as `path:line: word`.
fn places<'a>(
    sources: impl Iterator<Item = &'a Source>,
    words: &[&str],
    lines: impl Fn(&'a Source) -> Vec<(usize, &'a str)>,
) -> Vec<String> {
    let mut places = Vec::new();
    for source in sources {
        for (number, line) in lines(source) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                places.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    places
}

#[test]
fn unsafe_stands_in_the_loader_the_casts_and_the_export_macro_alone() {
    let mut files: Vec<_> = sources()
        .into_iter()
        .filter(|source| !source.is_fixture())
        .filter(|source| {
            let mut code = source.code();
            code.any(|(_, line)| {
                ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe("]
                    .iter()
                    .any(|word| line.contains(word))
            })
        })
        .map(|source| source.path)
        .filter(|path| path != file!())
        .collect();
    files.sort();
    assert_eq!(files, ["host/src/plugins/loader.rs", "plugin-api/src/extension.rs", "plugin-api/src/root.rs"]);
}

#[test]
fn files_are_named_for_what_they_hold() {
    let nothing = ["utils", "util", "helpers", "helper", "common", "misc", "stuff"];
    let stem = |source: &Source| Path::new(&source.path).file_stem().unwrap_or_default().display().to_string();
    let found: Vec<_> = sources()
        .iter()
        .filter(|source| nothing.contains(&stem(source).as_str()))
        .map(|source| source.path.clone())
        .collect();
    assert!(found.is_empty(), "these names say nothing: {found:?}");
}

#[test]
fn no_file_is_longer_than_six_hundred_lines() {
    let long = sources().into_iter().map(|source| (source.text.lines().count(), source.path)).filter(|(n, _)| *n > 600);
    let long: Vec<_> = long.collect();
    assert!(long.is_empty(), "split by idea: {long:?}");
}

#[test]
fn pure_modules_know_no_clock_no_runtime_and_no_system() {
    let outside = ["tokio::", "std::fs", "std::net", "std::thread", "Instant::now", "SystemTime", "std::env"];
    let pure = |source: &&Source| PURE.iter().any(|path| source.path.starts_with(path)) && !source.is_tests();
    let sources = sources();
    assert!(
        PURE.iter().all(|path| sources.iter().any(|source| source.path.starts_with(path))),
        "a pure module has moved"
    );
    let found = places(sources.iter().filter(pure), &outside, |source| source.code_before_tests().collect());
    assert!(found.is_empty(), "time and input are arguments here: {found:#?}");
}

#[test]
fn nothing_is_left_to_do_and_no_test_is_skipped() {
    let words = ["todo!(", "unimplemented!(", "#[ignore"];
    let sources = sources();
    let found =
        places(sources.iter().filter(|source| source.path != file!()), &words, |source| source.code().collect());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_test_sleeps() {
    let sources = sources();
    let tests = sources.iter().filter(|source| source.is_tests() && !source.is_fixture() && source.path != file!());
    let found = places(tests, &["thread::sleep"], |source| source.code().collect());
    assert!(found.is_empty(), "wait for an event instead: {found:#?}");
}

#[test]
fn the_top_level_holds_what_cargo_git_and_readers_need() {
    let folders = [".cargo", ".ci", "configs", "docs", "host", "plugin-api", "plugins", "tests"];
    let files = [
        ".git",
        ".gitignore",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "clippy.toml",
        "deny.toml",
        "rust-toolchain.toml",
        "rustfmt.toml",
        "target",
    ];
    let entries = std::fs::read_dir(root()).expect("the tree is readable").flatten();
    let names = entries.map(|entry| entry.file_name().display().to_string());
    let strange: Vec<_> =
        names.filter(|name| !folders.contains(&name.as_str()) && !files.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "these do not belong at the top: {strange:?}");
}

#[test]
fn every_module_opens_by_saying_what_it_is() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|source| !source.is_tests() && !source.text.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "no `//!` at the top of {silent:?}");
}

/// State machines, codecs and tables: input and time go in, wishes come out.
const PURE: &[&str] = &[
    "host/src/bus/",
    "host/src/log/censor.rs",
    "host/src/log/kept.rs",
    "host/src/mcu/gizwits_uart/",
    "host/src/mcu/jsonl/",
    "host/src/mcu/transfer.rs",
    "host/src/module/binding.rs",
    "host/src/module/modes",
    "host/src/module/restart.rs",
    "host/src/module/third_party.rs",
    "host/src/plugins/lifecycle.rs",
    "host/src/product/",
    "host/src/services/logs/form.rs",
    "host/src/services/logs/ftp/",
    "host/src/services/logs/wish.rs",
    "host/src/services/mqtt/state.rs",
    "host/src/services/mqtt/watch.rs",
    "host/src/update/archive.rs",
    "host/src/update/coordinator",
    "host/src/update/digest.rs",
    "host/src/update/download/head.rs",
    "host/src/update/download/machine",
    "host/src/update/download/wish.rs",
    "host/src/update/manifest.rs",
    "host/src/update/offer.rs",
    "host/src/update/slots/state.rs",
    "plugin-api/p0/src/",
    "plugin-api/sdk/src/calendar.rs",
    "plugin-api/sdk/src/answers.rs",
    "plugin-api/sdk/src/cloud_clock.rs",
    "plugin-api/sdk/src/numbering.rs",
    "plugin-api/sdk/src/raw_json.rs",
    "plugin-api/sdk/src/session",
    "plugin-api/sdk/src/status.rs",
    "plugin-api/sdk/src/url.rs",
    "plugins/clife/src/",
    "plugins/deli/src/",
    "plugins/gizwits/src/",
    "plugins/joylink/src/",
    "plugins/lierda/src/",
];
