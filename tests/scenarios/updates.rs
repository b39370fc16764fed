//! Updates of the module: by hand, and by its clouds.

mod by_hand;
mod module;

use polylink_testbed::owner::Owner;
use polylink_testbed::rig::RigError;
use polylink_testbed::rig::files::Files;

use crate::set::{binaries, check};
use crate::stage::Stage;

#[test]
fn two_owners_sign_the_same_image_differently_and_leave_it_as_it_is() {
    check(async || {
        let sign = || {
            let owner = Owner::new(&binaries(&[])?)?;
            let signed = owner.sign(b"an image", "lamp-1", "module", "1.0", 3)?;
            Ok((owner.public_key().to_owned(), signed))
        };
        let (one, other) = (sign()?, sign()?);
        assert!(one.0.len() == 64 && one.0 != other.0, "{} {}", one.0, other.0);
        assert!(one.1.starts_with(b"an imagepolylink-manifest 1\nproduct lamp-1\n") && one.1.ends_with(b"PLMANIF1"));
        assert!(one.1 != other.1);
        Ok(())
    });
}

#[test]
fn a_service_that_crashes_is_started_again_and_one_that_is_stopped_is_not() {
    check(async || {
        let mut stage = Stage::set().await?;
        stage.rig.start_service()?;
        stage.cloud("the device to be there", |entries| entries.online).await?;
        assert_eq!(stage.rig.starts(), 1);
        stage.rig.crash()?;
        stage.rig.started(2).await?;
        stage.rig.said_since(2, "connected to tcp:").await?;
        stage.cloud("the device to be there again", |entries| entries.online).await?;
        stage.report(5).await?;
        stage.all_arrived().await?;
        let status = stage.rig.stop().await?;
        assert!(status.success() && stage.rig.starts() == 0, "{status}");
        stage.no_violations();
        Ok(())
    });
}

#[test]
fn a_service_that_never_comes_up_is_given_up() {
    check(async || {
        let mut stage = Stage::set_with(|files| files.overlay = "[mcu]\nlink = \"none such\"\n".to_owned()).await?;
        stage.rig.start_service()?;
        let error = stage.rig.started(1000).await.expect_err("it is not started so often");
        assert!(error.to_string().contains("ended for good"), "{error}");
        assert!(!stage.rig.ended().await?.success());
        Ok(())
    });
}

/// A device with slots that trusts this owner.
fn trust(files: &mut Files, owner: &Owner) {
    files.overlay += &format!("[update]\nbackend = \"slots\"\nkeys = [\"{}\"]\n", owner.public_key());
}

/// The slot whose program runs.
fn slot(stage: &Stage) -> Result<&'static str, RigError> {
    let program = stage.rig.program()?;
    let of_slot = |slot: &str| stage.rig.dir().join("state/update/slots").join(slot).join("polylink");
    Ok(["a", "b"].into_iter().find(|slot| program == of_slot(slot)).unwrap_or("factory"))
}

/// Says `polylink ota …`, which must succeed; what it prints.
async fn ota(stage: &Stage, words: &str) -> Result<String, RigError> {
    let output = stage.rig.command_line(&format!("ota {words}")).await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(stage.rig.error(format!("ota {words}: {}", String::from_utf8_lossy(&output.stderr))))
}
