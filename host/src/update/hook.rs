//! The product's own program for updates: an installer such as RAUC or SWUpdate behind a few agreed phases.
//!
//! What it is called with is in `docs/UPDATES.md`. It gets a file that was verified, and may verify it once more in its own
//! way. The host waits for it, for a limited time, one call at a time.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::manifest::{Target, Verified, hex};
use crate::config::ProductKey;
use crate::program::{self, Call};

/// Which program, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateHook {
    /// An absolute path.
    pub program: PathBuf,
    /// A call that takes longer is killed with all that it started, and has failed.
    pub timeout: Duration,
}

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Number of the operation.
    pub operation: u64,
    /// The product.
    pub product: &'a ProductKey,
    /// What is updated.
    pub target: Target,
    /// Which subdevice; 0 for other targets.
    pub device: u32,
}

/// What an installation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The new version runs after a restart.
    NeedsRestart,
    /// It runs.
    Runs,
}

/// How the installer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What runs is confirmed; nothing is tried.
    Settled,
    /// What runs is tried, and waits to be confirmed.
    OnTrial,
    /// What was installed last did not come up, and what ran before runs again.
    SteppedBack,
    /// What was installed last waits for the restart with which it runs.
    NotStarted,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The program asks for another time.
    #[error("the update program says: not now")]
    NotNow,
    /// It said no.
    #[error("the update program refuses `{phase}` with {how}{words}")]
    Refused {
        /// What.
        phase: &'static str,
        /// Status or signal.
        how: String,
        /// The end of what it wrote, after `: `.
        words: String,
    },
    /// It took too long.
    #[error("the update program did not end `{phase}` within {s} s and was killed")]
    Late {
        /// What.
        phase: &'static str,
        /// How long it might have taken.
        s: u64,
    },
    /// It does not run.
    #[error("the update program does not run: {0}")]
    Io(#[from] std::io::Error),
}

impl UpdateHook {
    /// May this image be installed now?
    ///
    /// # Errors
    /// [`HookError::NotNow`] may be asked again later.
    pub async fn check(&self, proof: &Verified, order: Order<'_>, image: &Path) -> Result<(), HookError> {
        match self.call("check", order, Some((proof, image))).await? {
            (0, _) => Ok(()),
            (NOT_NOW, _) => Err(HookError::NotNow),
            other => Err(refused("check", other)),
        }
    }

    /// Installs it. No byte of the image may be installed without the proof.
    ///
    /// # Errors
    /// What ran before runs on.
    pub async fn install(&self, proof: &Verified, order: Order<'_>, image: &Path) -> Result<Installed, HookError> {
        match self.call("install", order, Some((proof, image))).await? {
            (0, _) => Ok(Installed::NeedsRestart),
            (RUNS, _) => Ok(Installed::Runs),
            other => Err(refused("install", other)),
        }
    }

    /// Restarts the device, soon, so that what was installed runs.
    ///
    /// # Errors
    /// It will not.
    pub async fn restart(&self, order: Order<'_>) -> Result<(), HookError> {
        self.plain("restart", order).await
    }

    /// What runs is good.
    ///
    /// # Errors
    /// It could not be confirmed, and may be tried again.
    pub async fn confirm(&self, order: Order<'_>) -> Result<(), HookError> {
        self.plain("confirm", order).await
    }

    /// What ran before is to run again, after the next restart.
    ///
    /// # Errors
    /// It cannot.
    pub async fn roll_back(&self, order: Order<'_>) -> Result<(), HookError> {
        self.plain("rollback", order).await
    }

    /// How the installer stands, asked after a start.
    ///
    /// # Errors
    /// It does not say.
    pub async fn status(&self, order: Order<'_>) -> Result<Standing, HookError> {
        match self.call("status", order, None).await? {
            (0, _) => Ok(Standing::Settled),
            (ON_TRIAL, _) => Ok(Standing::OnTrial),
            (STEPPED_BACK, _) => Ok(Standing::SteppedBack),
            (NOT_STARTED, _) => Ok(Standing::NotStarted),
            other => Err(refused("status", other)),
        }
    }

    async fn plain(&self, phase: &'static str, order: Order<'_>) -> Result<(), HookError> {
        match self.call(phase, order, None).await? {
            (0, _) => Ok(()),
            other => Err(refused(phase, other)),
        }
    }

    /// Exit status, negative for a signal, and the last words.
    async fn call(
        &self,
        phase: &'static str,
        order: Order<'_>,
        image: Option<(&Verified, &Path)>,
    ) -> Result<(i32, String), HookError> {
        let Order { operation, product, target, device } = order;
        let mut environment = vec![
            ("POLYLINK_OPERATION", operation.to_string()),
            ("POLYLINK_PRODUCT", product.to_string()),
            ("POLYLINK_TARGET", target.to_string()),
            ("POLYLINK_DEVICE", device.to_string()),
        ];
        if let Some((proof, image)) = image {
            let facts = proof.facts();
            environment.extend([
                ("POLYLINK_IMAGE", image.display().to_string()),
                ("POLYLINK_SIZE", facts.size.to_string()),
                ("POLYLINK_SHA256", hex(&facts.sha256)),
            ]);
            if let Some(manifest) = proof.manifest() {
                environment.push(("POLYLINK_VERSION", manifest.version.to_string()));
                environment.push(("POLYLINK_COUNTER", manifest.counter.to_string()));
            }
        }
        let call = Call {
            program: &self.program,
            argument: phase,
            environment: &environment,
            input: None,
            timeout: self.timeout,
        };
        let ended = program::run(call).await?;
        let mut last = String::new();
        for line in ended.lines() {
            tracing::debug!(phase, "update program: {line}");
            last = line;
        }
        let Some(status) = ended.status else {
            let s = self.timeout.as_secs();
            return Err(HookError::Late { phase, s });
        };
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(1));
        tracing::debug!(phase, code, "the update program has answered");
        Ok((code, last))
    }
}

fn refused(phase: &'static str, (code, last): (i32, String)) -> HookError {
    let how = if code < 0 { format!("signal {}", -code) } else { format!("status {code}") };
    let words: String = last.chars().take(WORDS_MAX).collect();
    let words = if words.is_empty() { words } else { format!(": {words}") };
    HookError::Refused { phase, how, words }
}

/// Status of `check`: to be asked again later. Those that follow are chosen by us, away from what shells and tools end with
/// by mistake (1, 2, 126 and more).
const NOT_NOW: i32 = 10;

/// Status of `install`: the new version runs already.
const RUNS: i32 = 20;

/// Status of `status`: what runs waits to be confirmed.
const ON_TRIAL: i32 = 20;

/// Status of `status`: what ran before runs again.
const STEPPED_BACK: i32 = 21;

/// Status of `status`: what was installed waits for a restart.
const NOT_STARTED: i32 = 22;

/// Characters of the program's last line in messages, which clouds may show. Not documented; chosen by us.
const WORDS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::slots::tests::verified;
    use super::*;

    struct Script(PathBuf);

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    impl Script {
        fn new(name: &str, text: &str) -> (Self, UpdateHook) {
            let place = Self(std::env::temp_dir().join(format!("polylink-update-hook-{}-{name}", std::process::id())));
            fs::create_dir_all(&place.0).expect("writable");
            let program = place.0.join("hook");
            let draft = place.0.join("draft");
            fs::write(&draft, format!("#!/bin/sh\n{text}\n")).expect("writable");
            // A child of another test could hold a file that was written here, and it could not be executed then.
            let copied = std::process::Command::new("install").arg("-m700").args([&draft, &program]).status();
            assert!(copied.expect("coreutils").success());
            let hook = UpdateHook { program, timeout: Duration::from_secs(30) };
            (place, hook)
        }
    }

    /// What a program that does this says to every phase.
    async fn check(name: &str, text: &str, expected: [&str; 6]) {
        let (_place, hook) = Script::new(name, text);
        let product = ProductKey::parse("lamp").expect("a key");
        let order = Order { operation: 7, product: &product, target: Target::Module, device: 3 };
        let (proof, image) = (verified(b"image"), Path::new("/x/7.part"));
        fn said<T: std::fmt::Debug>(result: Result<T, HookError>) -> String {
            result.map_or_else(|error| error.to_string(), |said| format!("{said:?}"))
        }
        let found = [
            said(hook.check(&proof, order, image).await),
            said(hook.install(&proof, order, image).await),
            said(hook.restart(order).await),
            said(hook.confirm(order).await),
            said(hook.roll_back(order).await),
            said(hook.status(order).await),
        ];
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn every_phase_has_its_answers() {
        check("good", "exit 0", ["()", "NeedsRestart", "()", "()", "()", "Settled"]).await;
        let twenty = |phase: &str| format!("the update program refuses `{phase}` with status 20");
        let texts = ["check", "restart", "confirm", "rollback"].map(twenty);
        let [checked, restarted, confirmed, back] = texts.each_ref().map(String::as_str);
        check("twenty", "exit 20", [checked, "Runs", restarted, confirmed, back, "OnTrial"]).await;
        let no = "echo first; echo broken >&2; [ $1 = check ] && exit 10; [ $1 = status ] && exit 21; exit 1";
        let refused = |phase: &str| format!("the update program refuses `{phase}` with status 1: broken");
        let texts = ["install", "restart", "confirm", "rollback"].map(refused);
        let [installed, restarted, confirmed, back] = texts.each_ref().map(String::as_str);
        let not_now = "the update program says: not now";
        check("no", no, [not_now, installed, restarted, confirmed, back, "SteppedBack"]).await;
    }

    #[tokio::test]
    async fn the_program_is_told_what_was_verified_and_nothing_of_the_hosts_environment() {
        let sha256 = hex(&verified(b"image").facts().sha256);
        let text = format!(
            "[ \"$1 $POLYLINK_OPERATION $POLYLINK_PRODUCT $POLYLINK_TARGET $POLYLINK_DEVICE $POLYLINK_SIZE $POLYLINK_SHA256\" = \
             \"install 7 lamp module 3 5 {sha256}\" ] && [ $POLYLINK_IMAGE = /x/7.part ] && [ -z \"$HOME\" ] && exit 20\n\
             [ $1 = status ] && [ -z \"$POLYLINK_IMAGE\" ] && exit 0; kill -9 $$"
        );
        let killed = |phase: &str| format!("the update program refuses `{phase}` with signal 9");
        let texts = ["check", "restart", "confirm", "rollback"].map(killed);
        let [checked, restarted, confirmed, back] = texts.each_ref().map(String::as_str);
        check("told", &text, [checked, "Runs", restarted, confirmed, back, "Settled"]).await;
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_and_one_that_others_may_write_is_not_run() {
        let (_place, hook) = Script::new("hangs", "exec sleep 1000");
        let product = ProductKey::parse("lamp").expect("a key");
        let order = Order { operation: 7, product: &product, target: Target::Module, device: 3 };
        let hook = UpdateHook { timeout: Duration::from_millis(50), ..hook };
        assert!(matches!(hook.confirm(order).await, Err(HookError::Late { phase: "confirm", .. })));
        fs::set_permissions(&hook.program, fs::Permissions::from_mode(0o777)).expect("ours");
        assert!(matches!(hook.confirm(order).await, Err(HookError::Io(_))));
    }
}
