//! Releases that a person installs on a device whose service manager starts `polylink launch`.

use polylink_testbed::owner::Owner;
use polylink_testbed::release::Release;
use polylink_testbed::rig::RigError;

use super::{ota, slot, trust};
use crate::set::{DELI, binaries, check};
use crate::stage::Stage;

/// A device that runs what it was made with, and its owner.
async fn device() -> Result<(Stage, Owner), RigError> {
    let owner = Owner::new(&binaries(&[])?)?;
    let mut stage = Stage::set_with(|files| {
        trust(files, &owner);
        files.product += "ota_target = \"module\"\n";
    })
    .await?;
    stage.rig.start_service()?;
    stage.cloud("the device to be there", |entries| entries.online).await?;
    assert_eq!(slot(&stage)?, "factory");
    Ok((stage, owner))
}

/// Signs a release and installs it.
async fn install(stage: &Stage, owner: &Owner, release: &Release, counter: u64) -> Result<(), RigError> {
    let product = &polylink_testbed::demo::product::schema().product_key;
    let signed = owner.sign(&release.image()?, product, "module", &format!("1.{counter}"), counter)?;
    let file = stage.rig.dir().join("image.signed");
    std::fs::write(&file, signed).map_err(|error| RigError::new(format!("image: {error}")))?;
    ota(stage, &format!("install {} --product {product}", file.display())).await.map(drop)
}

#[test]
fn a_release_runs_with_its_own_plugins_from_the_next_start_on_and_stays_when_it_is_confirmed() {
    check(async || {
        let (stage, owner) = device().await?;
        let release = Release::of(&binaries(&[])?, &[DELI])?;
        install(&stage, &owner, &release, 1).await?;
        assert_eq!(slot(&stage)?, "factory", "nothing changes before the next start");
        stage.rig.crash()?;
        let loaded = stage.rig.said_since(2, "plugin loaded").await?;
        assert!(loaded.contains("/update/slots/a/libpolylink_deli.so"), "{loaded}");
        stage.rig.said_since(2, "connected to tcp:").await?;
        assert_eq!(slot(&stage)?, "a");
        stage.report(5).await?;
        stage.all_arrived().await?;
        let text = ota(&stage, "status").await?;
        assert!(text.contains("slot a is on trial") && text.contains("slot a: 1.1,"), "{text}");
        let told = stage.deli.heard(101).last().and_then(|told| told.data.get("product_version").cloned());
        assert_eq!(told, Some("1.1".into()), "what the cloud was told to run");
        ota(&stage, "confirm").await?;
        for start in 3..=5 {
            stage.rig.crash()?;
            stage.rig.said_since(start, "polylink runs").await?;
            assert_eq!(slot(&stage)?, "a");
        }
        stage.finish().await
    });
}

#[test]
fn a_release_that_does_not_come_up_gives_way_to_what_was_good() {
    check(async || {
        let (stage, owner) = device().await?;
        let good = Release::of(&binaries(&[])?, &[DELI])?;
        install(&stage, &owner, &good, 1).await?;
        stage.rig.crash()?;
        stage.rig.said_since(2, "connected to tcp:").await?;
        ota(&stage, "confirm").await?;
        let bad = Release::of_script("echo this release ends at once >&2; exit 1")?;
        install(&stage, &owner, &bad, 2).await?;
        stage.rig.crash()?;
        // Three tries, and then the one before.
        stage.rig.said_since(6, "connected to tcp:").await?;
        assert_eq!((slot(&stage)?, stage.rig.starts()), ("a", 6));
        stage.rig.said_since(5, "this release ends at once").await?;
        let text = ota(&stage, "status").await?;
        assert!(text.contains("a is good\nthe last trial failed"), "{text}");
        assert!(text.contains("counter 1 was confirmed"), "{text}");
        stage.report(5).await?;
        stage.all_arrived().await?;
        stage.finish().await
    });
}

#[test]
fn a_program_for_another_machine_gives_way_without_a_start() {
    check(async || {
        let (stage, owner) = device().await?;
        let program = std::fs::read(binaries(&[])?.polylink).map_err(|error| RigError::new(error.to_string()))?;
        // Of an ELF file, bytes 18 and 19 name the machine; 8 is MIPS (System V ABI, chapter 4, "ELF header").
        let other = [&program[..18], &[8, 0], &program[20..]].concat();
        for (start, program) in [(2, &b"touch spoiled; exit 0"[..]), (3, &other)] {
            let mut release = Release::new()?;
            release.put("polylink", program)?;
            install(&stage, &owner, &release, 1).await?;
            stage.rig.crash()?;
            stage.rig.said_since(start, "does not start").await?;
            stage.rig.said_since(start, "connected to tcp:").await?;
            assert_eq!((slot(&stage)?, stage.rig.starts()), ("factory", start));
        }
        stage.finish().await
    });
}

#[test]
fn a_good_release_that_is_lost_or_spoiled_leaves_what_the_device_was_made_with() {
    check(async || {
        let (mut stage, owner) = device().await?;
        install(&stage, &owner, &Release::of(&binaries(&[])?, &[DELI])?, 1).await?;
        stage.rig.crash()?;
        stage.rig.said_since(2, "connected to tcp:").await?;
        ota(&stage, "confirm").await?;
        stage.rig.kill().await?;
        let place = stage.rig.dir().join("state/update/slots/a");
        std::fs::remove_dir_all(&place).map_err(|error| RigError::new(error.to_string()))?;
        stage.rig.start_service()?;
        stage.rig.said("connected to tcp:").await?;
        assert_eq!(slot(&stage)?, "factory");
        stage.finish().await
    });
}
