//! Lets a process of its own load a plugin first: one that crashes at being loaded crashes that.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

/// Whether this file is a plugin for this host. Must be called within the I/O runtime.
///
/// # Errors
/// For a person: why not.
pub async fn look(file: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the plugin cannot be looked at: {error}");
    // Of this program, wherever its file has gone meanwhile.
    let child = Command::new("/proc/self/exe")
        .args(["plugin", "inspect"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(failed)?;
    let mut said = Vec::new();
    let ended = timeout(LOOK_MAX, async {
        if let Some(err) = child.stderr.take() {
            err.take(SAID_MAX).read_to_end(&mut said).await?;
        }
        child.wait().await
    });
    let status = match ended.await {
        Ok(status) => status.map_err(failed)?,
        Err(_) => return Err(format!("the plugin is not loaded within {} s", LOOK_MAX.as_secs())),
    };
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    Err(match (status.code(), said.lines().rfind(|line| !line.trim().is_empty())) {
        (Some(_), Some(line)) => line.to_owned(),
        _ => format!("loading the plugin ends the process: {status}"),
    })
}

/// Loading takes milliseconds. Not documented; chosen by us: the slowest flash that is busy with something else.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// Bytes of the reason that are read. Not documented; chosen by us.
const SAID_MAX: u64 = 4096;
