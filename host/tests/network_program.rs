//! The product's program for its network, as it is really run: a shell script in a directory of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use polylink::log::Redacted;
use polylink::module::hook::{HookSettings, Job, call};
use polylink::module::modes::{Answer, Phase};

/// Written once and before anything is started: a program that is open for writing in some forked child cannot be run.
static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("network-program");
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, mode, text) in [
        ("accept", 0o755, "exit 0"),
        ("refuse", 0o755, "exit 1"),
        ("no-network", 0o755, "exit 10"),
        ("keep", 0o755, "cat > \"$KEEP\"; echo \"$1\" >> \"$KEEP\"; env | sort >> \"$KEEP\""),
        ("hang", 0o755, "sleep 600 & echo $! > \"$KEEP\"; wait"),
        ("daemon", 0o755, "sleep 600 & echo $! > \"$KEEP\"; exit 0"),
        ("talk", 0o755, "i=0; while [ $i -lt 20000 ]; do echo 'much ado about nothing'; i=$((i+1)); done"),
        ("deaf", 0o755, "exec 0<&-; exit 0"),
        ("no-right", 0o644, "exit 0"),
        ("anybodys", 0o777, "exit 0"),
    ] {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    directory
});

async fn run(program: &str, job: Job, timeout: Duration, environment: &[(&str, String)]) -> Answer {
    let settings = HookSettings { program: PROGRAMS.join(program), timeout };
    call(&settings, &job, environment).await
}

#[track_caller]
fn check(program: &str, phase: Phase, input: Option<&str>, expected: Answer) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let job = Job { phase, input: input.map(|text| Redacted(text.to_owned())) };
    let answer = runtime.block_on(run(program, job, PATIENCE, &[]));
    assert_eq!(answer, expected, "{program}");
}

#[test]
fn the_exit_status_is_the_answer() {
    check("accept", Phase::ConfigureSoftAp, None, Answer::Accepted);
    check("refuse", Phase::ConfigureSoftAp, None, Answer::Refused);
    check("no-network", Phase::Start, None, Answer::NoNetwork);
    check("no-network", Phase::Join, Some("{}"), Answer::Refused);
}

#[test]
fn a_program_that_cannot_or_must_not_be_run_refuses() {
    check("not-there", Phase::Reset, None, Answer::Refused);
    check("no-right", Phase::Reset, None, Answer::Refused);
    check("anybodys", Phase::Reset, None, Answer::Refused);
}

#[test]
fn a_program_may_write_much_and_read_nothing() {
    check("talk", Phase::Reset, None, Answer::Accepted);
    let long = "x".repeat(200_000);
    check("deaf", Phase::Join, Some(&long), Answer::Accepted);
}

#[tokio::test]
async fn the_network_comes_by_standard_input_alone_and_the_hosts_environment_stays_away() {
    let kept = PROGRAMS.join("kept-input");
    let input = r#"{"ssid":"Home","password":"hunter2"}"#;
    let job = Job { phase: Phase::Join, input: Some(Redacted(input.to_owned())) };
    let environment = [("KEEP", kept.display().to_string()), ("POLYLINK_MAC", "02005E102030".to_owned())];
    assert_eq!(run("keep", job, PATIENCE, &environment).await, Answer::Accepted);
    let seen = fs::read_to_string(kept).unwrap();
    let lines: Vec<&str> = seen.split('\n').collect();
    assert_eq!(lines[0], format!("{input}join"));
    let names: Vec<&str> = lines[1..].iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    // The shell adds some of its own.
    let ours: Vec<&str> = names.into_iter().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert_eq!(ours, ["KEEP", "PATH", "POLYLINK_MAC"]);
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_killed_with_what_it_started() {
    let kept = PROGRAMS.join("kept-hang");
    let job = Job { phase: Phase::ConfigureSoftAp, input: None };
    let environment = [("KEEP", kept.display().to_string())];
    // The script's first act is to say what it started, which takes a fraction of this.
    let answer = run("hang", job, Duration::from_secs(2), &environment).await;
    assert_eq!(answer, Answer::Refused);
    let limit = Instant::now() + PATIENCE;
    while !is_gone(&kept) {
        assert!(Instant::now() < limit, "the child of the program lives on");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn what_a_program_leaves_running_is_not_waited_for_and_not_killed() {
    let kept = PROGRAMS.join("kept-daemon");
    let job = Job { phase: Phase::ConfigureSoftAp, input: None };
    let environment = [("KEEP", kept.display().to_string())];
    assert_eq!(run("daemon", job, PATIENCE, &environment).await, Answer::Accepted);
    assert!(!is_gone(&kept));
    let number = fs::read_to_string(&kept).unwrap();
    let killed = std::process::Command::new("kill").arg(number.trim()).status().unwrap();
    assert!(killed.success());
}

/// Whether the process whose number stands in the file is over; one that nobody has waited for yet is, and one that was
/// never begun.
fn is_gone(file: &Path) -> bool {
    let Ok(number) = fs::read_to_string(file) else { return true };
    let state = fs::read_to_string(format!("/proc/{}/stat", number.trim()));
    state.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

/// Far more than any of these calls needs.
const PATIENCE: Duration = Duration::from_secs(60);
