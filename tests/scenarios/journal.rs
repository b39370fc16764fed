//! What a host acknowledged to the MCU reaches the clouds, whatever becomes of the host and of its disks.

use std::path::{Path, PathBuf};

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::deli::Deli;
use polylink_testbed::clouds::lierda::Lierda;
use polylink_testbed::demo::product;
use polylink_testbed::rig::RigError;
use polylink_testbed::rig::files::Files;
use serde_json::Value as Json;

use crate::set::{DELI, LIERDA, Set, check, failed};
use crate::stage::Stage;

/// A host with two clouds.
struct Pair {
    set: Set,
    deli: Deli,
    lierda: Lierda,
}

impl Pair {
    async fn online() -> Result<Self, RigError> {
        let deli = Deli::start(product::COUNTER).map_err(failed)?;
        let lierda = Lierda::start(product::COUNTER).map_err(failed)?;
        let sections = format!("{}\n{}", deli.product_section(), lierda.product_section());
        let set = Set::new(&sections, DELI, |files| files.plugins.push(LIERDA.to_owned()))?;
        let mut pair = Self { set, deli, lierda };
        pair.set.online(&pair.deli).await?;
        pair.set.heard(pair.lierda.ledger(), "the other cloud to see the device", |entries| entries.online).await?;
        Ok(pair)
    }

    async fn start_again(&mut self) -> Result<(), RigError> {
        let sessions = self.lierda.ledger().with(|entries| entries.sessions);
        self.set.rig.start()?;
        let back = "the cloud that was there to see the device again";
        self.set.heard(self.lierda.ledger(), back, |entries| entries.online && entries.sessions > sessions).await
    }

    /// Everything has arrived at both clouds, in order.
    async fn all_arrived(&self) -> Result<(), RigError> {
        for cloud in [&self.deli as &dyn SimCloud, &self.lierda] {
            self.set.all_arrived_at(cloud.ledger()).await?;
            let verdict = self.set.verdict(cloud.ledger());
            assert_eq!((verdict.lost, verdict.out_of_order), (0, 0));
        }
        Ok(())
    }
}

#[test]
fn a_host_that_is_killed_while_one_cloud_is_away_and_once_more_after_it_has_lost_nothing() {
    check(async || {
        let mut pair = Pair::online().await?;
        pair.set.report_more(20).await?;
        pair.deli.go_away();
        pair.set.heard(pair.deli.ledger(), "the device to be gone", |entries| !entries.online).await?;
        pair.set.report_more(280).await?;
        pair.set.all_arrived_at(pair.lierda.ledger()).await?;
        pair.set.rig.kill().await?;
        pair.start_again().await?;
        pair.set.report_more(50).await?;
        pair.set.rig.kill().await?;
        pair.start_again().await?;
        pair.deli.come_back().map_err(failed)?;
        pair.set.report_more(50).await?;
        pair.all_arrived().await?;
        // Who kept up was given little again.
        let duplicates = pair.set.verdict(pair.lierda.ledger()).duplicates;
        assert!(duplicates < 150, "{duplicates} reports came twice to a cloud that had them");
        pair.set.finish(&pair.deli, &[]).await
    });
}

#[test]
fn a_host_that_is_killed_in_the_middle_of_everything_has_lost_nothing() {
    check(async || {
        let mut pair = Pair::online().await?;
        for n in [50, 100, 150] {
            pair.set.mcu.set_rate(200);
            pair.set.device("reports under way", |log| log.acknowledged.len() >= n).await?;
            pair.set.rig.kill().await?;
            pair.start_again().await?;
        }
        pair.set.mcu.set_rate(0);
        pair.set.report_more(50).await?;
        pair.all_arrived().await?;
        pair.set.finish(&pair.deli, &[]).await
    });
}

#[test]
fn what_waits_survives_a_restart_of_the_machine() {
    check(async || {
        let mut stage = away().await?;
        stage.report_more(150).await?;
        assert!(stage.rig.stop().await?.success());
        // What a restart of the machine does to tmpfs.
        std::fs::remove_dir_all(in_memory(&stage)).expect("our own directory");
        arrives(&mut stage).await?;
        let left = |directory: PathBuf| segments(&directory).len();
        assert_eq!((left(in_memory(&stage)), left(on_flash(&stage))), (0, 0), "nothing waits, so nothing is kept");
        Ok(())
    });
}

#[test]
fn a_cloud_that_stays_away_brings_the_journal_to_flash_and_one_that_is_back_takes_it_from_there() {
    check(async || {
        let stage = away().await?;
        stage.report_more(50).await?;
        let status = stage.rig.until("the journal to go to flash", |status| is_on(status, "flash")).await?;
        let number = |name: &str| status["journal"][name].as_u64().unwrap_or(0);
        assert!(number("report_bytes") > 0 && number("memory_written") > 0, "{}", status["journal"]);
        let written = |status: &Json| status["journal"]["flash_written"].as_u64() > Some(0);
        stage.rig.until("something to be written", written).await?;
        assert!(!segments(&on_flash(&stage)).is_empty());
        stage.deli.come_back().map_err(failed)?;
        stage.all_arrived().await?;
        stage.rig.until("the journal to leave flash", |status| is_on(status, "memory")).await?;
        let none = |_: &Json| segments(&on_flash(&stage)).is_empty();
        stage.rig.until("flash to be cleared", none).await?;
        let verdict = stage.deli_verdict();
        assert_eq!((verdict.lost, verdict.out_of_order), (0, 0));
        stage.finish().await
    });
}

#[test]
fn a_spoiled_piece_of_the_journal_costs_itself_and_is_counted() {
    check(async || {
        let mut stage = away().await?;
        stage.report_more(150).await?;
        stage.rig.kill().await?;
        let files = segments(&in_memory(&stage));
        let longest = files.iter().max_by_key(|file| std::fs::metadata(file).map_or(0, |data| data.len()));
        let longest = longest.expect("something waits");
        let mut bytes = std::fs::read(longest).expect("our own file");
        let middle = bytes.len() / 2;
        bytes[middle..middle + 20].fill(0xA7);
        std::fs::write(longest, bytes).expect("our own file");
        std::fs::write(in_memory(&stage).join("00000000000000ff.plj"), "not a part of the journal").expect("our own");
        stage.rig.start()?;
        let status = stage.rig.until("what is left", |status| status["journal"]["restored"].as_u64() > Some(0)).await?;
        assert_eq!(status["journal"]["broken"], 1, "{}", status["journal"]);
        stage.deli.come_back().map_err(failed)?;
        stage.cloud("the device to be back", |entries| entries.online).await?;
        stage.report_more(10).await?;
        let last = stage.mcu.with_log(|log| log.acknowledged.last().map(|report| report.counter));
        stage.cloud("the last report", |entries| entries.arrivals.iter().any(|one| Some(one.counter) == last)).await?;
        let verdict = stage.deli_verdict();
        assert!((1..=3).contains(&verdict.lost), "{} reports are lost to 20 bytes", verdict.lost);
        stage.finish().await
    });
}

#[test]
fn disks_that_take_nothing_cost_safety_and_no_report() {
    check(async || {
        // Files where directories should be: not even root can write below them.
        let block = |files: &mut Files| {
            files.others.push(("run/journal-run".to_owned(), "in the way".to_owned()));
            files.others.push(("state/journal".to_owned(), "in the way".to_owned()));
            files.overlay = "[journal]\nspill_after_s = 1\n".to_owned();
        };
        let stage = Stage::online_with(block).await?;
        stage.report_more(20).await?;
        stage.rig.said("the journal in memory fails").await?;
        stage.deli.go_away();
        stage.cloud("the device to be gone", |entries| !entries.online).await?;
        stage.report_more(250).await?;
        stage.rig.said("the journal on flash fails").await?;
        let status = stage.rig.until("the status to tell", |status| is_on(status, "none")).await?;
        assert!(status["journal"]["errors"].as_u64() >= Some(2), "{}", status["journal"]);
        stage.deli.come_back().map_err(failed)?;
        stage.all_arrived().await?;
        assert_eq!(stage.deli_verdict().lost, 0);
        stage.finish().await
    });
}

#[test]
fn the_journal_of_garbage_does_not_keep_the_host_from_running() {
    check(async || {
        let garbage = |files: &mut Files| {
            for directory in ["run/journal-run", "state/journal"] {
                files
                    .others
                    .push((format!("{directory}/0000000000000001.plj"), "PLJ1 and then nothing of ours".into()));
                files.others.push((format!("{directory}/0000000000000002.plj"), String::new()));
                files.others.push((format!("{directory}/ffffffffffffffff.plj"), "PLJ1".into()));
                files.others.push((format!("{directory}/other.txt"), "somebody's".into()));
            }
        };
        let stage = Stage::online_with(garbage).await?;
        stage.report_more(50).await?;
        stage.all_arrived().await?;
        assert!(stage.rig.dir().join("state/journal/other.txt").exists(), "what is not ours stays");
        stage.finish().await
    });
}

/// A stage whose cloud has just gone away. Flash is used after a second.
async fn away() -> Result<Stage, RigError> {
    let soon = |files: &mut Files| files.overlay = "[journal]\nspill_after_s = 1\nsync_interval_s = 1\n".to_owned();
    let stage = Stage::online_with(soon).await?;
    stage.report_more(20).await?;
    stage.all_arrived().await?;
    stage.deli.go_away();
    stage.cloud("the device to be gone", |entries| !entries.online).await?;
    Ok(stage)
}

/// The host starts again, the cloud comes back, and gets everything in order.
async fn arrives(stage: &mut Stage) -> Result<(), RigError> {
    stage.rig.start()?;
    stage.deli.come_back().map_err(failed)?;
    stage.cloud("the device to be back", |entries| entries.online).await?;
    stage.report_more(50).await?;
    stage.all_arrived().await?;
    let verdict = stage.deli_verdict();
    assert_eq!((verdict.lost, verdict.out_of_order), (0, 0));
    stage.no_violations();
    let settled = |status: &Json| status["clouds"][0]["journal"]["pending"] == 0;
    stage.rig.until("the host to know", settled).await?;
    assert!(stage.rig.stop().await?.success());
    Ok(())
}

fn is_on(status: &Json, tier: &str) -> bool {
    status["journal"]["tier"] == tier
}

fn in_memory(stage: &Stage) -> PathBuf {
    stage.rig.run_dir().join("journal-run")
}

fn on_flash(stage: &Stage) -> PathBuf {
    stage.rig.dir().join("state/journal")
}

/// The segments in a directory; none if it is not there.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "plj")).collect()
}
