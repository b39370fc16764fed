//! Backends on real files, and an MCU that is played.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::super::archive::tests::archive;
use super::super::hook::UpdateHook;
use super::super::slots::directory::OpenSlots;
use super::super::slots::tests::verified;
use super::*;
use crate::config::ProductKey;
use crate::mcu::port::PortMessage;
use crate::mcu::transfer::{FirmwareOutput, Image, ImageFormat, NOT_THERE, TransferEnd};
use crate::update::manifest::Target;

struct Place(PathBuf);

impl Place {
    /// A directory with a file that has this image and something behind it.
    fn new(name: &str, image: &[u8]) -> (Self, ImageFile) {
        let place = Self(std::env::temp_dir().join(format!("polylink-backend-{}-{name}", std::process::id())));
        let _ = fs::remove_dir_all(&place.0);
        fs::create_dir_all(&place.0).expect("writable");
        fs::write(place.0.join("7.part"), [image, b"manifest"].concat()).expect("writable");
        let file = ImageFile::new(place.0.join("7.part"));
        (place, file)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What an installation comes to, and which percents were told.
async fn install(backend: &dyn Backend, proof: Verified, image: &ImageFile) -> (Result<Installed, String>, Vec<u8>) {
    let product = ProductKey::parse("lamp").expect("a key");
    let told = Mutex::new(Vec::new());
    let tell = |percent| told.lock().expect("unpoisoned").push(percent);
    let installed = backend.install(Arc::new(proof), order(&product), image, &tell).await;
    (installed, told.into_inner().expect("unpoisoned"))
}

fn order(product: &ProductKey) -> Order<'_> {
    Order { operation: 7, product, target: Target::Module, device: 0 }
}

#[tokio::test]
async fn a_release_goes_into_a_slot_and_stands_as_the_launcher_leaves_it() {
    let image = archive(&[("polylink", b"x")]);
    let (place, file) = Place::new("slots", &image);
    let product = ProductKey::parse("lamp").expect("a key");
    let restart = Arc::new(Notify::new());
    let backend = |running: Option<&str>| {
        SlotsBackend::new(place.0.join("slots"), 2, running.map(str::to_owned), Arc::clone(&restart))
    };
    let standing = async |running| backend(running).standing(order(&product)).await;
    assert_eq!(standing(None).await, Ok(Standing::Settled));
    assert_eq!(install(&backend(None), verified(&image), &file).await.0, Ok(Installed::NeedsRestart));
    assert_eq!(standing(Some("factory")).await, Ok(Standing::NotStarted));
    assert_eq!(standing(Some("a")).await, Ok(Standing::OnTrial));
    backend(None).restart(order(&product)).await.expect("told");
    restart.notified().await;
    backend(Some("a")).roll_back(order(&product)).await.expect("on trial");
    assert_eq!(standing(Some("a")).await, Ok(Standing::SteppedBack));
    assert!(backend(None).confirm(order(&product)).await.is_err());
    // What a user confirmed meanwhile is confirmed, and is not taken back.
    assert_eq!(install(&backend(None), verified(&image), &file).await.0, Ok(Installed::NeedsRestart));
    OpenSlots::open(&place.0.join("slots")).expect("free").slots.confirm().expect("on trial");
    assert_eq!(backend(Some("a")).confirm(order(&product)).await, Ok(()));
    assert_eq!(backend(Some("a")).roll_back(order(&product)).await, Ok(()));
    assert_eq!(OpenSlots::open(&place.0.join("slots")).expect("free").slots.state().good.as_str(), "a");
    let other = install(&backend(None), verified(b"another"), &file).await.0;
    assert!(other.expect_err("another image").contains("not the one that was verified"));
}

#[tokio::test]
async fn who_looks_at_the_slots_meanwhile_is_waited_for() {
    let (place, _) = Place::new("looked-at", b"");
    let product = ProductKey::parse("lamp").expect("a key");
    let slots = place.0.join("slots");
    let backend = SlotsBackend::new(slots.clone(), 2, None, Arc::new(Notify::new()));
    let looked = OpenSlots::open(&slots).expect("free");
    let inode = format!(":{} ", fs::metadata(slots.join("lock")).expect("it is there").ino());
    let waits = async {
        let is_it = |line: &str| line.contains("->") && line.contains(&inode);
        while !fs::read_to_string("/proc/locks").expect("Linux has it").lines().any(is_it) {
            tokio::task::yield_now().await;
        }
    };
    let mut asked = backend.standing(order(&product));
    tokio::select! {
        said = &mut asked => panic!("{said:?}"),
        () = waits => {}
    }
    drop(looked);
    assert_eq!(asked.await, Ok(Standing::Settled));
}

#[tokio::test]
async fn the_products_program_gets_the_image_alone() {
    let (place, file) = Place::new("program", b"image");
    let draft = place.0.join("draft");
    fs::write(
        &draft,
        "#!/bin/sh\n[ \"$(cat $POLYLINK_IMAGE)\" = image ] || exit 1\n[ $1 = install ] && exit 20; exit 0\n",
    )
    .expect("writable");
    let program = place.0.join("hook");
    let copied = std::process::Command::new("install").arg("-m700").args([&draft, &program]).status();
    assert!(copied.expect("coreutils").success());
    let backend = ProgramBackend(UpdateHook { program, timeout: Duration::from_secs(30) });
    let wrong = install(&backend, verified(b"imago"), &file).await.0;
    assert!(wrong.expect_err("another image").contains("not the one that was verified"));
    assert_eq!(install(&backend, verified(b"image"), &file).await.0, Ok(Installed::Runs));
    // After a power cut the same once more.
    assert_eq!(install(&backend, verified(b"image"), &file).await.0, Ok(Installed::Runs));
    fs::set_permissions(place.0.join("hook"), fs::Permissions::from_mode(0o600)).expect("ours");
    assert!(install(&backend, verified(b"image"), &file).await.0.is_err());
}

/// An MCU that asks for the image in pieces of so many bytes and then ends like this.
async fn mcu(
    image: &'static [u8],
    piece: usize,
    end: TransferEnd,
) -> (Result<Installed, String>, Vec<u8>, Vec<u8>, Image) {
    let (_place, file) = Place::new(&format!("line-{piece}"), image);
    let (to_port, mut port) = mpsc::channel(4);
    let (link, said) = mpsc::channel(4);
    let backend = LineBackend::new(to_port, said);
    let played = async {
        let Some(PortMessage::BeginFirmware(begun)) = port.recv().await else { panic!("it begins") };
        let mut heard = Vec::new();
        while heard.len() < image.len() {
            let len = piece.min(image.len() - heard.len());
            let offset = u32::try_from(heard.len()).expect("small");
            link.send(FirmwareOutput::Wanted { offset, len }).await.expect("listens");
            let Some(PortMessage::FirmwareBytes { offset: at, bytes }) = port.recv().await else { panic!("bytes") };
            assert_eq!(at, offset);
            heard.extend(bytes);
            link.send(FirmwareOutput::Progress(u32::try_from(heard.len()).expect("small"))).await.expect("listens");
        }
        link.send(FirmwareOutput::Ended(end)).await.expect("listens");
        (heard, begun)
    };
    let ((installed, told), (heard, begun)) = tokio::join!(install(&backend, verified(image), &file), played);
    (installed, told, heard, begun)
}

#[tokio::test]
async fn an_mcu_gets_its_image_piece_by_piece_with_its_md5() {
    let (installed, told, heard, begun) = mcu(b"123456789", 4, TransferEnd::Done).await;
    assert_eq!((installed, told, heard), (Ok(Installed::Runs), vec![44, 88, 100], b"123456789".to_vec()));
    let md5 = hex_literal::hex!("25F9E794323B453885F5181F1B624D0B");
    assert_eq!(begun, Image { size: 9, md5, format: ImageFormat::Binary });
    let (installed, .., begun) = mcu(b":00000001FF\n", 100, TransferEnd::Lost).await;
    assert_eq!((installed, begun.format), (Err("the MCU was lost".to_owned()), ImageFormat::IntelHex));
}

/// An MCU that is not there for the first questions and takes the image then; whoever waits is told to stop at one of them.
/// What becomes of it, and how often the MCU was asked.
async fn absent(times: usize, stop_at: usize) -> (Result<Installed, String>, usize) {
    let (_place, file) = Place::new(&format!("absent-{times}-{stop_at}"), b"image");
    let (to_port, mut port) = mpsc::channel(4);
    let (link, said) = mpsc::channel(4);
    let backend = LineBackend::new(to_port, said);
    let asked = std::cell::Cell::new(0);
    let played = async {
        while let Some(PortMessage::BeginFirmware(_)) = port.recv().await {
            asked.set(asked.get() + 1);
            let is_there = asked.get() > times;
            let end = FirmwareOutput::Ended(TransferEnd::Done);
            link.send(if is_there { end } else { FirmwareOutput::Refused(NOT_THERE) }).await.expect("listens");
            if asked.get() == stop_at {
                backend.stop(7);
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        (installed, _) = install(&backend, verified(b"image"), &file) => (installed, asked.get()),
        () = played => unreachable!("it is pending"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_mcu_that_is_restarting_is_waited_for_but_not_for_ever() {
    assert_eq!(absent(5, usize::MAX).await, (Ok(Installed::Runs), 6));
    assert_eq!(absent(usize::MAX, usize::MAX).await, (Err(NOT_THERE.to_owned()), 61));
    assert_eq!(absent(5, 3).await, (Err("given up by the host".to_owned()), 3));
}

#[tokio::test]
async fn what_is_given_up_before_the_line_can_hear_it_is_given_up() {
    let (_place, file) = Place::new("stopped", b"image");
    let (to_port, mut port) = mpsc::channel(1);
    let (link, said) = mpsc::channel(4);
    let backend = LineBackend::new(to_port.clone(), said);
    let given_up = Err("given up by the host".to_owned());
    let played = async {
        assert!(matches!(port.recv().await, Some(PortMessage::BeginFirmware(_))));
        to_port.try_send(PortMessage::RestartMcu).expect("the mailbox is empty");
        backend.stop(7);
        port.recv().await.expect("it was full");
        link.send(FirmwareOutput::Wanted { offset: 0, len: 5 }).await.expect("listens");
        assert!(matches!(port.recv().await, Some(PortMessage::CancelFirmware)));
        link.send(FirmwareOutput::Ended(TransferEnd::Cancelled)).await.expect("listens");
    };
    let ((installed, _), ()) = tokio::join!(install(&backend, verified(b"image"), &file), played);
    assert_eq!(installed, given_up);
    // It may be known before the installation has even looked at the image.
    assert_eq!(install(&backend, verified(b"image"), &file).await.0, given_up);
    assert!(port.try_recv().is_err());
}

#[tokio::test]
async fn a_line_that_refuses_or_is_gone_ends_it() {
    let (_place, file) = Place::new("refused", b"image");
    let (to_port, mut port) = mpsc::channel(4);
    let (link, said) = mpsc::channel(4);
    let backend = LineBackend::new(to_port, said);
    // What an earlier transfer left is not this one's.
    link.send(FirmwareOutput::Ended(TransferEnd::Done)).await.expect("listens");
    let played = async {
        port.recv().await.expect("it begins");
        link.send(FirmwareOutput::Refused("not this line")).await.expect("listens");
    };
    let ((installed, _), ()) = tokio::join!(install(&backend, verified(b"image"), &file), played);
    assert_eq!(installed, Err("not this line".to_owned()));
    backend.stop(6);
    assert!(matches!(port.recv().await, Some(PortMessage::CancelFirmware)));
    let changed = install(&backend, verified(b"imago"), &file).await.0;
    assert!(changed.expect_err("another image").contains("not the one that was verified"));
    drop((port, link));
    assert_eq!(install(&backend, verified(b"image"), &file).await.0, Err("the line to the MCU is gone".to_owned()));
}
