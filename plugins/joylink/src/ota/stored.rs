//! What of upgrades survives a restart: which one is under way, and what the cloud has still to be told. Address, name and
//! progress are the engine's to keep. JSON behind a check sum.

use polylink_plugin_sdk::Timestamp;
use polylink_plugin_sdk::bytes::{Reader, Truncated, Writer};
use serde::{Deserialize, Serialize};

use super::{Build, FAILED_MAX, OUTCOMES_MAX, Outcome, Stage, Upgrade, Upgrades, described};
use crate::crypto::crc16;
use crate::wire::{FeedId, OtaPhase, OtaStatus};

/// What was stored of upgrades cannot be used, and counts as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was stored of firmware upgrades is damaged, or of an unknown form")]
pub struct Damaged;

impl From<Truncated> for Damaged {
    fn from(_: Truncated) -> Self {
        Self
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    current: Option<StoredUpgrade>,
    outcomes: Vec<StoredOutcome>,
    failed: Vec<(FeedId, u16)>,
}

#[derive(Serialize, Deserialize)]
struct StoredUpgrade {
    build: Build,
    productuuid: String,
    from: Option<u16>,
    installing: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredOutcome {
    build: Build,
    productuuid: String,
    status: OtaPhase,
    status_desc: String,
    progress: u8,
}

impl Upgrades {
    /// What to store.
    #[must_use]
    pub fn stored(&self) -> Vec<u8> {
        let stored = Stored {
            current: self.current.as_ref().map(|current| StoredUpgrade {
                build: current.build,
                productuuid: current.productuuid.clone(),
                from: current.from,
                installing: current.stage == Stage::Installing,
            }),
            outcomes: self.outcomes.iter().map(StoredOutcome::of).collect(),
            failed: self.failed.iter().copied().collect(),
        };
        let json = serde_json::to_vec(&stored).expect("structures with text keys always become JSON");
        let mut writer = Writer::new();
        writer.u8(FORM).u16_le(crc16(&[&json])).bytes(&json);
        writer.finish()
    }

    /// Takes what was stored in place of what is there. Then tell [`Upgrades::resumed`].
    ///
    /// # Errors
    /// It cannot be used; then there is nothing.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        *self = Self { changed: true, report_ms: self.report_ms, ..Self::new(0) };
        let mut reader = Reader::new(bytes);
        let (form, crc) = (reader.u8()?, reader.u16_le()?);
        let json = reader.rest();
        if form != FORM || crc16(&[json]) != crc {
            return Err(Damaged);
        }
        let Stored { current, outcomes, failed } = serde_json::from_slice(json).map_err(|_| Damaged)?;
        if outcomes.len() > OUTCOMES_MAX || failed.len() > FAILED_MAX {
            return Err(Damaged);
        }
        self.current = current.map(|StoredUpgrade { build, productuuid, from, installing }| {
            let stage = if installing { Stage::Installing } else { Stage::Downloading };
            Upgrade { stage, ..Upgrade::new(build, productuuid, from, Timestamp(0)) }
        });
        for outcome in outcomes {
            self.n_outcomes += 1;
            self.outcomes.push_back(outcome.into_outcome(self.n_outcomes));
        }
        self.failed = failed.into();
        self.changed = false;
        Ok(())
    }
}

impl StoredOutcome {
    fn of(outcome: &Outcome) -> Self {
        let OtaStatus { productuuid, status, status_desc, progress, .. } = outcome.status.clone();
        Self { build: outcome.build, productuuid, status, status_desc, progress }
    }

    fn into_outcome(self, number: u64) -> Outcome {
        let Self { build, productuuid, status, status_desc, progress } = self;
        let (feedid, status_desc) = (build.feedid, described(&status_desc));
        let status = OtaStatus { feedid, productuuid, status, status_desc, progress: progress.min(100) };
        Outcome::new(number, build, status, Timestamp(0))
    }
}

/// The first byte of what is stored. Another one is another form.
const FORM: u8 = 2;
