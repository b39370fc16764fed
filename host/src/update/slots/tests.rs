//! Releases that come, stay and go, and the power going at every step.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Mutex;

use super::super::archive::tests::archive;
use super::super::manifest::{Device, Facts, Policy, Target};
use super::*;
use crate::config::ProductKey;
use crate::disk::Space;
use crate::disk::simulated::{Call, Cut, Simulated};
use crate::update::digest::Digests;

/// Three directories of one device, and in which order they were written to.
#[derive(Clone, Default)]
pub(crate) struct Device3 {
    disks: [Simulated; 3],
    /// Operations of each after every one of any.
    steps: Arc<Mutex<Vec<[usize; 3]>>>,
}

/// One of them.
struct Logged {
    device: Device3,
    at: usize,
}

struct LoggedFile(Box<dyn DiskFile>, Device3);

impl Device3 {
    pub(crate) fn open(&self) -> Slots {
        let disk = |at| -> Arc<dyn Disk> { Arc::new(Logged { device: self.clone(), at }) };
        Slots::open(disk(0), [disk(1), disk(2)]).expect("readable")
    }

    fn log(&self) {
        let counts = self.disks.each_ref().map(Simulated::n_operations);
        let mut steps = self.steps.lock().unwrap();
        if steps.last() != Some(&counts) {
            steps.push(counts);
        }
    }

    /// What a power cut can leave, at every moment.
    pub(crate) fn power_cuts(&self) -> Vec<Self> {
        let cuts = self.disks.each_ref().map(|disk| {
            let mut by_count: BTreeMap<usize, Vec<Cut>> = BTreeMap::new();
            disk.power_cuts().into_iter().for_each(|cut| by_count.entry(cut.operations).or_default().push(cut));
            by_count
        });
        let mut left = Vec::new();
        for [state, a, b] in self.steps.lock().unwrap().iter() {
            for state in &cuts[0][state] {
                for a in &cuts[1][a] {
                    for b in &cuts[2][b] {
                        let disks = [self.disks[0].after(*state), self.disks[1].after(*a), self.disks[2].after(*b)];
                        left.push(Self { disks, steps: Arc::default() });
                    }
                }
            }
        }
        left
    }

    fn files(&self, slot: Slot) -> BTreeMap<String, Vec<u8>> {
        self.disks[1 + slot.index()].files()
    }
}

impl Disk for Logged {
    fn list(&self) -> io::Result<Vec<String>> {
        self.device.disks[self.at].list()
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.device.disks[self.at].size(name)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.device.disks[self.at].read_at(name, offset, buffer)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.device.disks[self.at].create(name)?;
        self.device.log();
        Ok(Box::new(LoggedFile(file, self.device.clone())))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(LoggedFile(self.device.disks[self.at].append(name)?, self.device.clone())))
    }

    fn shorten(&self, name: &str, size: u64) -> io::Result<()> {
        let done = self.device.disks[self.at].shorten(name, size);
        self.device.log();
        done
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let done = self.device.disks[self.at].rename(from, to);
        self.device.log();
        done
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let done = self.device.disks[self.at].remove(name);
        self.device.log();
        done
    }

    fn sync_directory(&self) -> io::Result<()> {
        let done = self.device.disks[self.at].sync_directory();
        self.device.log();
        done
    }

    fn space(&self) -> io::Result<Space> {
        self.device.disks[self.at].space()
    }

    fn shown(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl DiskFile for LoggedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let done = self.0.write(bytes);
        self.1.log();
        done
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let done = self.0.sync_data();
        self.1.log();
        done
    }
}

pub(crate) fn facts(bytes: &[u8]) -> Facts {
    let mut digests = Digests::new(&[]);
    digests.update(bytes);
    Facts { size: bytes.len() as u64, sha256: digests.sha256() }
}

pub(crate) fn verified(bytes: &[u8]) -> Verified {
    let policy = Policy { require_manifest: false, keys: Vec::new(), allow_downgrade: false };
    let product = ProductKey::parse("lamp").expect("a key");
    let device = Device { product: &product, target: Target::Module, floor: 0 };
    policy.verify(&device, None, &facts(bytes)).expect("nothing is asked for")
}

/// The files of a release, and its image.
fn release(number: u8) -> (BTreeMap<String, Vec<u8>>, Vec<u8>) {
    let (program, plugin) = (vec![number; 700], vec![number; 3]);
    let image = archive(&[(PROGRAM, &program), ("libpolylink_deli.so", &plugin)]);
    ([(PROGRAM.to_owned(), program), ("libpolylink_deli.so".to_owned(), plugin)].into(), image)
}

fn install(slots: &mut Slots, number: u8) -> Result<Slot, SlotError> {
    let (_, image) = release(number);
    slots.install(&verified(&image), &mut Cursor::new(&image), number.into(), 2)
}

/// Which release would run: 0 is the factory's. It must be whole.
#[track_caller]
fn runs(device: &Device3, slots: &mut Slots) -> u8 {
    let Boot::Slot(slot) = slots.start() else { return 0 };
    let files = device.files(slot);
    let number = files[PROGRAM][0];
    assert!(files == release(number).0, "release {number} in {slot:?} is not whole");
    let known = slots.state().release(slot).map(|release| release.sha256);
    assert_eq!(known, Some(facts(&release(number).1).sha256));
    number
}

/// What ran at which start, from one installation to the next.
#[track_caller]
fn check(device: &Device3, slots: &mut Slots, expected: &[u8]) {
    let ran: Vec<_> = expected.iter().map(|_| runs(device, slots)).collect();
    assert_eq!(ran, expected);
}

#[test]
fn a_confirmed_release_stays_and_the_next_goes_into_the_other_slot() {
    let device = Device3::default();
    let mut slots = device.open();
    check(&device, &mut slots, &[0, 0]);
    assert_eq!(install(&mut slots, 1).expect("fits"), Slot::A);
    check(&device, &mut slots, &[1]);
    slots.confirm().expect("on trial");
    check(&device, &mut slots, &[1, 1, 1, 1]);
    assert_eq!(install(&mut slots, 2).expect("fits"), Slot::B);
    check(&device, &mut slots, &[2]);
    slots.confirm().expect("on trial");
    assert_eq!(install(&mut slots, 3).expect("fits"), Slot::A);
    check(&device, &mut slots, &[3, 3]);
    assert!(matches!(slots.confirm(), Ok(())) && matches!(slots.confirm(), Err(SlotError::NoTrial)));
}

#[test]
fn a_release_that_is_never_confirmed_gives_way_after_its_tries() {
    let device = Device3::default();
    let mut slots = device.open();
    install(&mut slots, 1).expect("fits");
    check(&device, &mut slots, &[1, 1, 0, 0]);
    assert_eq!(slots.state().failed, Some(1));
    // The same from a slot, and across restarts of the launcher.
    install(&mut slots, 2).expect("fits");
    slots.confirm().expect("on trial");
    install(&mut slots, 3).expect("fits");
    let ran: Vec<_> = (0..4).map(|_| runs(&device, &mut device.open())).collect();
    assert_eq!(ran, [3, 3, 2, 2]);
    assert_eq!(device.open().state().failed, Some(3));
}

#[test]
fn a_user_can_go_back_as_long_as_there_is_something_to_go_back_to() {
    let device = Device3::default();
    let mut slots = device.open();
    assert!(matches!(slots.roll_back(), Err(SlotError::NoPrevious)));
    install(&mut slots, 1).expect("fits");
    assert_eq!(slots.roll_back().expect("on trial"), Boot::Factory);
    check(&device, &mut slots, &[0]);
    install(&mut slots, 2).expect("fits");
    slots.confirm().expect("on trial");
    install(&mut slots, 3).expect("fits");
    slots.confirm().expect("on trial");
    assert_eq!(slots.roll_back().expect("there is one"), Boot::Slot(Slot::A));
    check(&device, &mut slots, &[2]);
    assert!(matches!(slots.roll_back(), Err(SlotError::NoPrevious)));
}

#[test]
fn nothing_is_installed_over_what_a_trial_would_fall_back_to() {
    let device = Device3::default();
    let mut slots = device.open();
    install(&mut slots, 1).expect("fits");
    assert!(matches!(install(&mut slots, 2), Err(SlotError::OnTrial)));
    check(&device, &mut slots, &[1]);
}

#[test]
fn an_image_that_changes_after_it_was_verified_is_not_installed() {
    let device = Device3::default();
    let mut slots = device.open();
    let (_, image) = release(1);
    let proof = verified(&image);
    let mut put = |image: &[u8]| slots.install(&proof, &mut Cursor::new(image), 1, 2);
    assert!(matches!(put(&release(2).1), Err(SlotError::NotVerified)));
    assert!(matches!(put(&image[..image.len() - 1]), Err(SlotError::NotVerified)));
    // Bytes behind the image, as a trailer has, are not looked at.
    assert!(put(&[&image[..], b"trailer"].concat()).is_ok());
    check(&device, &mut slots, &[1]);
}

#[test]
fn an_image_that_is_no_release_leaves_the_slot_empty() {
    let device = Device3::default();
    let mut slots = device.open();
    for image in [b"not an archive".to_vec(), archive(&[("other", b"")]), archive(&[("polylink", b""), ("a/b", b"")])] {
        slots.install(&verified(&image), &mut Cursor::new(&image), 1, 2).expect_err("no release");
        assert!(device.files(Slot::A).is_empty());
    }
    check(&device, &mut slots, &[0]);
}

#[test]
fn a_disk_that_is_full_or_fails_leaves_what_runs() {
    let device = Device3::default();
    let mut slots = device.open();
    install(&mut slots, 1).expect("fits");
    slots.confirm().expect("on trial");
    device.disks[2].limit(Some(RESERVE + 100));
    assert!(matches!(install(&mut slots, 2), Err(SlotError::Space { .. })));
    device.disks[2].limit(None);
    for (disk, call) in [(0, Call::Write), (0, Call::Sync), (0, Call::Name), (2, Call::Write), (2, Call::Sync)] {
        for after in 0..6 {
            device.disks[disk].fail(call, rustix::io::Errno::IO, after, 1);
            let failed = install(&mut slots, 2).is_err();
            device.disks[disk].heal();
            check(&device, &mut slots, if failed { &[1, 1] } else { &[2, 2, 1] });
            check(&device, &mut device.open(), &[1]);
        }
    }
    install(&mut slots, 3).expect("fits");
    // A start that cannot be counted is none of the release on trial.
    device.disks[0].fail(Call::Change, rustix::io::Errno::ROFS, 0, usize::MAX);
    check(&device, &mut slots, &[1, 1, 1]);
    device.disks[0].heal();
    check(&device, &mut slots, &[3]);
}

#[test]
fn a_damaged_state_runs_what_the_device_was_made_with() {
    let device = Device3::default();
    install(&mut device.open(), 1).expect("fits");
    let mut files = device.disks[0].files();
    files.get_mut(STATE).expect("written")[20] ^= 1;
    let damaged = Simulated::with_files(files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
    let device = Device3 { disks: [damaged, device.disks[1].clone(), device.disks[2].clone()], ..Device3::default() };
    check(&device, &mut device.open(), &[0]);
    install(&mut device.open(), 2).expect("fits");
    check(&device, &mut device.open(), &[2]);
}

#[test]
fn after_a_power_cut_at_any_step_there_is_something_whole_to_run() {
    let device = Device3::default();
    let mut slots = device.open();
    // One release that stays, one that fails, one that stays, and a step back by hand.
    install(&mut slots, 1).expect("fits");
    assert_eq!(runs(&device, &mut slots), 1);
    slots.confirm().expect("on trial");
    install(&mut slots, 2).expect("fits");
    let before_trial = device.steps.lock().unwrap().len();
    check(&device, &mut slots, &[2, 2, 1]);
    install(&mut slots, 3).expect("fits");
    check(&device, &mut slots, &[3]);
    slots.confirm().expect("on trial");
    slots.roll_back().expect("there is one");
    check(&device, &mut slots, &[1]);
    assert!(before_trial > 30);

    let left = device.power_cuts();
    assert!(left.len() > 400, "{}", left.len());
    for device in &left {
        let mut slots = device.open();
        let good = slots.state().good;
        let tries = slots.state().trial.map_or(0, |trial| trial.tries);
        // Whatever is tried is whole, and gives way after its tries to what is good, which is whole too.
        for _ in 0..tries {
            runs(device, &mut slots);
        }
        let after = runs(device, &mut slots);
        assert_eq!((slots.state().good, slots.state().trial), (good, None));
        assert_eq!(runs(device, &mut slots), after);
        // And the next release can come.
        install(&mut slots, 9).expect("fits");
        check(device, &mut device.open(), &[9]);
        device.open().confirm().expect("on trial");
        check(device, &mut device.open(), &[9, 9, 9, 9]);
    }
}

#[test]
fn a_start_is_on_the_disk_before_it_happens() {
    let device = Device3::default();
    let mut slots = device.open();
    install(&mut slots, 1).expect("fits");
    check(&device, &mut slots, &[1]);
    let counts = device.disks.each_ref().map(Simulated::n_operations);
    for cut in device.disks[0].power_cuts().into_iter().filter(|cut| cut.operations == counts[0]) {
        let text = device.disks[0].after(cut).files()[STATE].clone();
        let state = SlotState::decode(std::str::from_utf8(&text).expect("text")).expect("whole");
        assert_eq!(state.trial.map(|trial| trial.tries), Some(1));
    }
}
