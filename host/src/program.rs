//! Programs of the product that the host calls: only trusted ones, for a limited time, with nothing of the host's own
//! environment, and with bounded output. What a program is called with, and what its exit status means, is its caller's
//! business.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::plugins::discover::{check_parent, check_trust};

/// One call.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// An absolute path.
    pub program: &'a Path,
    /// Its one argument.
    pub argument: &'a str,
    /// What it sees beside a `PATH`.
    pub environment: &'a [(&'a str, String)],
    /// What it reads on standard input; none: nothing.
    pub input: Option<&'a str>,
    /// A call that takes longer is killed with all that it started.
    pub timeout: Duration,
}

/// What became of one.
#[derive(Debug)]
pub struct Ended {
    /// None: it did not end in time.
    pub status: Option<ExitStatus>,
    /// The beginning of what it wrote to standard output.
    pub out: Vec<u8>,
    /// And to standard error.
    pub err: Vec<u8>,
}

impl Ended {
    /// What it wrote, line by line, made printable.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let lines = [&self.out, &self.err].into_iter().flat_map(|text| text.split(|byte| *byte == b'\n'));
        lines.filter(|line| !line.is_empty()).map(|line| line.escape_ascii().to_string())
    }
}

/// Calls the program and waits for its end.
///
/// # Errors
/// It is not trusted, or cannot be run.
pub async fn run(call: Call<'_>) -> io::Result<Ended> {
    let program = call.program.to_owned();
    tokio::task::spawn_blocking(move || check(&program)).await.map_err(io::Error::other)??;
    let mut child = Command::new(call.program)
        .arg(call.argument)
        .env_clear()
        .env("PATH", PATH)
        .envs(call.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(if call.input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let talk = async {
            let feed = async {
                if let (Some(mut stdin), Some(input)) = (stdin, call.input) {
                    // A program that does not read what it is told says what it thinks of it by its exit status.
                    let _ = stdin.write_all(input.as_bytes()).await;
                }
            };
            tokio::join!(feed, keep(stdout, &mut out), keep(stderr, &mut err));
        };
        let mut talk = std::pin::pin!(talk);
        let mut is_silent = false;
        let ended = timeout(call.timeout, async {
            loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut talk, if !is_silent => is_silent = true,
                }
            }
        });
        let ended = ended.await;
        if ended.is_ok() && !is_silent {
            // What it left running may hold its output open for ever.
            let _ = timeout(LINGER, talk).await;
        }
        match ended {
            Ok(status) => Some(status?),
            Err(_) => None,
        }
    };
    if status.is_none() {
        kill(&mut child).await;
    }
    Ok(Ended { status, out, err })
}

/// Why this program is not run, as far as one can tell without running it.
#[must_use]
pub fn problem(program: &Path) -> Option<String> {
    check(program).err().map(|error| error.to_string())
}

/// Whoever may change the program may do what the host may.
fn check(program: &Path) -> io::Result<()> {
    check_trust(program).and_then(|()| check_parent(program)).map_err(io::Error::other)?;
    let metadata = std::fs::metadata(program)?;
    if metadata.is_file() && metadata.mode() & ANY_EXECUTE != 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("`{}` is no program that may be executed", program.display())))
}

/// Reads to the end and keeps the beginning: a program that writes much must not wait for its reader.
async fn keep(source: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut source) = source else { return };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = source.read(&mut buffer).await {
        let room = OUTPUT_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
}

/// It has not been waited for, so its number still belongs to it.
async fn kill(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait().await;
}

/// `S_IXUSR`, `S_IXGRP` and `S_IXOTH` (POSIX `sys/stat.h`).
const ANY_EXECUTE: u32 = 0o111;

/// Where the program finds its tools.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of each output that are kept; the rest is dropped. Not documented; chosen by us.
pub const OUTPUT_MAX: usize = 4096;

/// How long the last words of a program that has ended are waited for. Not documented; chosen by us.
const LINGER: Duration = Duration::from_millis(100);
