//! Power cuts at every step of a download, and what is left of it afterwards.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::disk::simulated::{Call, Simulated};
use crate::update::digest::Expected;
use crate::update::download::machine::SAVE_BYTES;
use crate::update::download::{Limits, Trouble};

/// Serves one file with ranges; each answer breaks off after so many bytes.
struct Shop {
    file: Vec<u8>,
    cut: usize,
    n_asked: AtomicUsize,
    asked_from: Mutex<Vec<u64>>,
}

struct Rest(std::collections::VecDeque<Bytes>, bool);

#[async_trait]
impl Server for Shop {
    async fn get(&self, Get { from, .. }: Get<'_>) -> Result<Answer, String> {
        self.n_asked.fetch_add(1, Ordering::Relaxed);
        self.asked_from.lock().unwrap().push(from);
        let total = self.file.len();
        let from = usize::try_from(from).unwrap();
        let mut head = Head { status: 200, length: Some((total - from) as u64), ..Head::default() };
        if from > 0 {
            (head.status, head.content_range) = (206, Some(format!("bytes {from}-{}/{total}", total - 1)));
        }
        let sent = self.cut.min(total - from);
        let pieces = self.file[from..from + sent].chunks(30_000).map(Bytes::copy_from_slice).collect();
        Ok(Answer { head, body: Box::new(Rest(pieces, sent < total - from)) })
    }
}

#[async_trait]
impl Body for Rest {
    async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        match self.0.pop_front() {
            None if self.1 => Err("cut".to_owned()),
            piece => Ok(piece),
        }
    }
}

fn shop(cut: usize) -> Shop {
    let file = (0..700_000_u32).map(|i| (i % 253) as u8).collect();
    Shop { file, cut, n_asked: AtomicUsize::new(0), asked_from: Mutex::default() }
}

fn facts(file: &[u8]) -> Facts {
    let mut digests = Digests::new(&[]);
    digests.update(file);
    Facts { size: file.len() as u64, sha256: digests.sha256() }
}

async fn load(shop: &Shop, disk: &Simulated) -> Result<Facts, Failure> {
    let begun = tokio::time::Instant::now();
    let clock = move || Timestamp(u64::try_from(begun.elapsed().as_millis()).unwrap());
    let digests = vec![Expected::Sha256(facts(&shop.file).sha256)];
    let limits = Limits { attempts: 3, ..Limits::default() };
    let wish = Wish { url: "https://shop/".to_owned(), headers: Vec::new(), size: None, digests, limits };
    let (disk, turns) = (Arc::new(disk.clone()), Turns::default());
    let fetch = Fetch { server: shop, disk, name: "7", wish, random: 1, clock: &clock, turns: &turns };
    fetch.run(&mut |_, _| {}).await
}

/// What a run on this disk leads to, and what is on it then.
async fn check(shop: &Shop, disk: &Simulated, expected: Result<(), Failure>) {
    assert_eq!(load(shop, disk).await, expected.clone().map(|()| facts(&shop.file)));
    if expected.is_ok() {
        assert!(disk.files()["7.part"] == shop.file);
    }
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_step_costs_no_more_than_what_came_since_the_checkpoint() {
    let shop = shop(400_000);
    let disk = Simulated::new();
    check(&shop, &disk, Ok(())).await;
    let cuts = disk.power_cuts();
    assert!(cuts.len() > 100, "{}", cuts.len());
    for cut in cuts {
        let after = disk.after(cut);
        let kept = after.files().get("7.checkpoint").map(|text| Checkpoint::decode(std::str::from_utf8(text).unwrap()));
        let kept = kept.map_or(0, |checkpoint| checkpoint.expect("never torn").have);
        shop.asked_from.lock().unwrap().clear();
        check(&shop, &after, Ok(())).await;
        // What the checkpoint has is on the disk, so the next byte is asked for, or none.
        let first = shop.asked_from.lock().unwrap().first().copied();
        assert_eq!(first.unwrap_or(700_000), kept, "{cut:?}");
    }
    for kill in disk.kills() {
        check(&shop, &disk.after(kill), Ok(())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_there_already_asks_nobody() {
    let shop = shop(usize::MAX);
    let disk = Simulated::new();
    check(&shop, &disk, Ok(())).await;
    check(&shop, &disk, Ok(())).await;
    assert_eq!(shop.n_asked.load(Ordering::Relaxed), 1);
    discard(&disk, "7").unwrap();
    assert!(disk.files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_part_that_rots_on_the_disk_is_loaded_again() {
    let shop = shop(400_000);
    let whole = Simulated::new();
    check(&shop, &whole, Ok(())).await;
    let mut files = whole.files();
    files.get_mut("7.part").unwrap()[5] ^= 1;
    let rotten = Simulated::with_files(files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
    check(&shop, &rotten, Ok(())).await;
    let torn = Simulated::with_files([("7.checkpoint", b"polylink-download 1\nidentity".to_vec())]);
    check(&shop, &torn, Ok(())).await;
    let unreadable = Simulated::with_files(whole.files().iter().map(|(name, bytes)| (name.as_str(), bytes.clone())));
    unreadable.spoil("7.part", 0..512);
    assert_eq!(load(&shop, &unreadable).await, Ok(facts(&shop.file)));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_or_fails_ends_it_and_keeps_what_is_there() {
    let shop = shop(usize::MAX);
    let disk = Simulated::new();
    disk.limit(Some(1024 * 1024 + 600_000));
    let space = load(&shop, &disk).await;
    assert!(matches!(space, Err(Failure::Space { .. })), "{space:?}");
    let disk = Simulated::new();
    disk.fail(Call::Sync, rustix::io::Errno::IO, 2, usize::MAX);
    let broken = load(&shop, &disk).await;
    assert!(matches!(broken, Err(Failure::Disk(_))), "{broken:?}");
    disk.heal();
    check(&shop, &disk, Ok(())).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_gone_is_given_up() {
    let shop = shop(0);
    let disk = Simulated::new();
    check(&shop, &disk, Err(Failure::Attempts(Trouble::Connection("cut".to_owned())))).await;
}

#[test]
fn a_checkpoint_comes_often_enough_for_a_flaky_link() {
    // Several in an image of a megabyte, and none for each packet.
    assert!((64 * 1024..=512 * 1024).contains(&SAVE_BYTES));
}
