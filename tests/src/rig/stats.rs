//! What a process costs, from `/proc`.

use std::io;
use std::time::Duration;

/// Memory, threads, sockets and processor time at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Proportional set size: private memory, and its share of what is shared.
    pub pss_kb: u64,
    /// Memory of its own that it has written to; unlike `pss_kb`, it does not depend on who else runs the same files.
    pub private_kb: u64,
    /// Threads.
    pub threads: u64,
    /// Open sockets.
    pub sockets: u64,
    /// Time on a processor, of the threads that are alive.
    pub cpu: Duration,
}

impl Stats {
    pub(super) fn read(pid: i32) -> io::Result<Self> {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread that ended between the two readings counts as ended before the first.
            if let Ok(schedule) = std::fs::read_to_string(task?.path().join("schedstat")) {
                nanoseconds += first_number(&schedule).unwrap_or(0);
            }
        }
        let mut sockets = 0;
        for descriptor in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
            // One that was closed between the two readings is none.
            let target = std::fs::read_link(descriptor?.path()).unwrap_or_default();
            sockets += u64::from(target.to_string_lossy().starts_with("socket:"));
        }
        Ok(Self {
            sockets,
            pss_kb: field(&rollup, "Pss:")?,
            private_kb: field(&rollup, "Private_Dirty:")?,
            threads: field(&status, "Threads:")?,
            cpu: Duration::from_nanos(nanoseconds),
        })
    }
}

fn field(text: &str, name: &str) -> io::Result<u64> {
    let value = text.lines().find_map(|line| first_number(line.strip_prefix(name)?));
    value.ok_or_else(|| io::Error::other(format!("no {name} in /proc")))
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_threads() {
        let stats = Stats::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(stats.pss_kb > 100 && stats.private_kb > 10 && stats.threads >= 1, "{stats:?}");
    }
}
