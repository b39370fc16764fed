//! Downloads from servers of every kind, in virtual time.

mod hostile;

use proptest::prelude::*;

use super::super::wish::Limits;
use super::*;
use crate::update::digest::Expected;

/// What a server does with one request.
#[derive(Clone, Debug, Default)]
struct Reply {
    head: Head,
    body: Vec<u8>,
    ending: Ending,
    /// Between pieces of [`PIECE`] bytes.
    piece_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Ending {
    #[default]
    Clean,
    Broken,
    /// Silence, without a head where there is no body.
    Never,
}

#[derive(Clone, Debug, PartialEq)]
struct Asked {
    url: String,
    from: u64,
    if_range: Option<String>,
}

/// Who drives a download, and what it has on its disk.
struct Rig {
    now: Timestamp,
    file: Vec<u8>,
    checkpoint: Option<Checkpoint>,
    asked: Vec<Asked>,
    free: u64,
    end: Option<Result<Facts, Failure>>,
}

impl Rig {
    fn new() -> Self {
        let now = Timestamp(1_000_000);
        Self { now, file: Vec::new(), checkpoint: None, asked: Vec::new(), free: u64::MAX, end: None }
    }

    /// To the end, or until the power goes before the request of this number.
    fn run(&mut self, download: &mut Download, dies_at: usize, mut server: impl FnMut(&Asked) -> Reply) {
        download.start(self.now);
        let mut reply = None;
        for _ in 0..1_000_000 {
            while let Some(output) = download.poll() {
                match output {
                    Output::Get { url, from, if_range } => {
                        if self.asked.len() == dies_at {
                            return;
                        }
                        let asked = Asked { url, from, if_range };
                        reply = Some(Step::Head(server(&asked)));
                        self.asked.push(asked);
                    }
                    Output::Close => reply = None,
                    Output::Empty => (self.file, self.checkpoint) = (Vec::new(), None),
                    Output::Save(checkpoint) => {
                        assert!(checkpoint.have <= self.file.len() as u64, "a checkpoint ahead of the file");
                        self.checkpoint = Some(checkpoint);
                    }
                    Output::Progress { have, total } => assert!(have <= total.unwrap_or(u64::MAX)),
                    Output::Done(facts) => self.end = Some(Ok(facts)),
                    Output::Failed(why) => self.end = Some(Err(why)),
                }
            }
            if self.end.is_some() {
                assert!(download.is_over() && download.next_timeout().is_none());
                return;
            }
            reply = self.step(download, reply);
        }
        panic!("it goes on for ever");
    }

    /// One thing happens.
    fn step(&mut self, download: &mut Download, step: Option<Step>) -> Option<Step> {
        match step {
            Some(Step::Head(reply)) if reply.ending != Ending::Never || !reply.body.is_empty() => {
                download.head(self.now, &reply.head, Some(self.free));
                return Some(Step::Body(reply, 0));
            }
            Some(Step::Body(reply, at)) if at < reply.body.len() => {
                self.now = self.now.after(reply.piece_ms).max(download.reads_from());
                let next = (at + PIECE).min(reply.body.len());
                if let Taken::At(offset) = download.body(self.now, &reply.body[at..next]) {
                    assert_eq!(offset, self.file.len() as u64);
                    self.file.extend_from_slice(&reply.body[at..next]);
                }
                return Some(Step::Body(reply, next));
            }
            Some(Step::Body(Reply { ending: Ending::Clean, .. }, _)) => download.end(self.now),
            Some(Step::Body(Reply { ending: Ending::Broken, .. }, _)) => download.failed(self.now, "cut".to_owned()),
            _ => {
                self.now = download.next_timeout().expect("it waits for something").max(self.now);
                download.timeout(self.now);
            }
        }
        None
    }
}

enum Step {
    Head(Reply),
    Body(Reply, usize),
}

const PIECE: usize = 1000;

fn content(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digests = Digests::new(&[]);
    digests.update(bytes);
    digests.sha256()
}

fn wish(file: &[u8]) -> Wish {
    let limits = Limits { max_bytes: 1_000_000, deadline: Timestamp(u64::MAX), ..Limits::default() };
    let digests = vec![Expected::Sha256(sha256(file))];
    Wish { url: "https://cloud/file".to_owned(), headers: Vec::new(), size: Some(file.len() as u64), digests, limits }
}

/// A server as RFC 9110 wants it, whose answers end after so many bytes.
fn honest(file: &[u8], etag: &str, cut: usize) -> impl FnMut(&Asked) -> Reply + use<> {
    let (file, etag) = (file.to_vec(), format!("\"{etag}\""));
    move |asked| {
        let continues = asked.from > 0 && asked.if_range.as_ref().is_none_or(|validator| *validator == etag);
        let from = if continues { usize::try_from(asked.from).unwrap() } else { 0 };
        let total = file.len();
        let mut head = Head { status: 200, etag: Some(etag.clone()), ..Head::default() };
        if from >= total && continues {
            head = Head { status: 416, content_range: Some(format!("bytes */{total}")), ..head };
            return Reply { head, ..Reply::default() };
        }
        if continues {
            (head.status, head.content_range) = (206, Some(format!("bytes {from}-{}/{total}", total - 1)));
        }
        head.length = Some((total - from) as u64);
        let body = file[from..].iter().copied().take(cut).collect::<Vec<_>>();
        let ending = if body.len() == total - from { Ending::Clean } else { Ending::Broken };
        Reply { head, body, ending, piece_ms: 1 }
    }
}

#[track_caller]
fn check(wish: Wish, expected: Result<&[u8], Failure>, n_asked: usize, server: impl FnMut(&Asked) -> Reply) -> Rig {
    let mut rig = Rig::new();
    rig.run(&mut Download::new(wish, 7), usize::MAX, server);
    let expected = expected.map(|file| Facts { size: file.len() as u64, sha256: sha256(file) });
    assert_eq!(rig.end, Some(expected.clone()));
    assert_eq!(rig.asked.len(), n_asked, "{:?}", rig.asked);
    if let Ok(facts) = expected {
        assert_eq!(sha256(&rig.file), facts.sha256);
    }
    rig
}

fn ok(file: &[u8]) -> Reply {
    let head = Head { status: 200, length: Some(file.len() as u64), ..Head::default() };
    Reply { head, body: file.to_vec(), ..Reply::default() }
}

fn status(status: u16) -> Reply {
    Reply { head: Head { status, ..Head::default() }, ..Reply::default() }
}

fn exhausted(trouble: Trouble) -> Result<&'static [u8], Failure> {
    Err(Failure::Attempts(trouble))
}

#[test]
fn a_file_comes_at_once_from_a_good_server() {
    let file = content(300_000);
    let rig = check(wish(&file), Ok(&file), 1, honest(&file, "a", usize::MAX));
    assert_eq!(rig.asked[0], Asked { url: "https://cloud/file".to_owned(), from: 0, if_range: None });
    let nothing = content(0);
    check(wish(&nothing), Ok(&nothing), 1, honest(&nothing, "a", usize::MAX));
    // Chunks, so without a length, and a cloud that says nothing either.
    let unknown = Wish { size: None, digests: Vec::new(), ..wish(&file) };
    check(unknown, Ok(&file), 1, |_| Reply { head: Head { status: 200, ..Head::default() }, ..ok(&file) });
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let file = content(300_000);
    let rig = check(wish(&file), Ok(&file), 5, honest(&file, "a", 70_000));
    let from: Vec<_> = rig.asked.iter().map(|asked| asked.from).collect();
    assert_eq!(from, [0, 70_000, 140_000, 210_000, 280_000]);
    assert!(rig.asked[1..].iter().all(|asked| asked.if_range.as_deref() == Some("\"a\"")));
}

#[test]
fn a_download_goes_on_after_a_reboot_from_its_checkpoint() {
    let file = content(300_000);
    for dies_at in 1..5 {
        let mut rig = Rig::new();
        rig.run(&mut Download::new(wish(&file), 7), dies_at, honest(&file, "a", 70_000));
        let checkpoint = Checkpoint::decode(&rig.checkpoint.clone().expect("saved").encode()).expect("whole");
        rig.file.truncate(usize::try_from(checkpoint.have).unwrap());
        let mut digests = Digests::new(&wish(&file).digests);
        digests.update(&rig.file);
        let mut again = Download::resume(wish(&file), checkpoint, digests, 7).expect("the same file");
        rig.run(&mut again, usize::MAX, honest(&file, "a", usize::MAX));
        assert_eq!(rig.end, Some(Ok(Facts { size: 300_000, sha256: sha256(&file) })));
        assert_eq!((rig.asked[dies_at].from, &rig.file), (70_000 * dies_at as u64, &file));
    }
}

#[test]
fn a_checkpoint_of_another_file_or_of_other_bytes_is_none() {
    let file = content(1000);
    let digests = |bytes: &[u8]| {
        let mut digests = Digests::new(&wish(&file).digests);
        digests.update(bytes);
        digests
    };
    let good = Checkpoint {
        identity: wish(&file).identity(),
        have: 500,
        sha256: sha256(&file[..500]),
        total: Some(1000),
        validator: None,
    };
    let resumes = |wish: Wish, checkpoint: &Checkpoint, bytes: &[u8]| {
        Download::resume(wish, checkpoint.clone(), digests(bytes), 7).is_some()
    };
    assert!(resumes(wish(&file), &good, &file[..500]));
    assert!(!resumes(wish(&file[1..]), &good, &file[..500]));
    assert!(!resumes(wish(&file), &good, &file[..499]));
    assert!(!resumes(wish(&file), &good, &file[1..501]));
    assert!(!resumes(wish(&file), &Checkpoint { total: Some(499), ..good.clone() }, &file[..500]));
}

#[test]
fn a_server_without_ranges_gives_the_file_from_the_beginning() {
    let file = content(100_000);
    let mut n = 0;
    check(wish(&file), Ok(&file), 3, |_| {
        n += 1;
        let reply = ok(&file);
        if n == 3 { reply } else { Reply { body: file[..40_000].to_vec(), ending: Ending::Broken, ..reply } }
    });
}

#[test]
fn a_file_that_changes_on_the_server_is_begun_anew() {
    let (old, new) = (content(100_000), content(100_001));
    let mut servers = [honest(&old, "old", 40_000), honest(&new, "new", usize::MAX)];
    let mut n = 0;
    let anything = Wish { size: None, digests: Vec::new(), ..wish(&new) };
    check(anything, Ok(&new), 2, |asked| {
        n += 1;
        servers[usize::from(n > 1)](asked)
    });
}

#[test]
fn a_part_that_was_not_asked_for_is_not_put_behind_another() {
    let file = content(100_000);
    let wrong = |range: &str, length: Option<u64>| Head {
        status: 206,
        content_range: Some(range.to_owned()),
        length,
        etag: Some("\"a\"".to_owned()),
        ..Head::default()
    };
    for head in [
        wrong("bytes 39999-99999/100000", None),
        wrong("bytes 0-99999/100000", None),
        wrong("bytes 40000-99999/100001", None),
        wrong("bytes 40000-99999/100000", Some(59_999)),
        wrong("bytes */100000", None),
        wrong("nonsense", None),
        Head { content_range: None, ..wrong("", None) },
        Head { etag: Some("\"b\"".to_owned()), ..wrong("bytes 40000-99999/100000", None) },
    ] {
        let (mut first, mut last) = (honest(&file, "a", 40_000), honest(&file, "a", usize::MAX));
        let mut n = 0;
        let rig = check(wish(&file), Ok(&file), 3, |asked| {
            n += 1;
            match n {
                1 => first(asked),
                2 => Reply { head: head.clone(), body: vec![0xEE; 60_000], ..Reply::default() },
                _ => last(asked),
            }
        });
        assert_eq!(rig.asked[2].from, 0, "{head:?}");
    }
}

#[test]
fn a_server_that_always_sends_other_parts_is_given_up() {
    let file = content(100_000);
    let mut first = honest(&file, "a", 40_000);
    let restless = Failure::Restless(Trouble::Part);
    check(wish(&file), Err(restless), 8, |asked| {
        let head = Head { status: 206, content_range: Some("bytes 5-99999/100000".to_owned()), ..Head::default() };
        if asked.from == 0 { first(asked) } else { Reply { head, ..Reply::default() } }
    });
}

#[test]
fn what_is_all_here_is_not_asked_for_again() {
    let file = content(50_000);
    // Cut behind the last byte, of a body whose end was not announced.
    let unknown = Wish { size: None, ..wish(&file) };
    let rig = check(unknown, Ok(&file), 2, |asked| match asked.from {
        0 => Reply { head: Head { status: 200, ..Head::default() }, ending: Ending::Broken, ..ok(&file) },
        _ => {
            Reply { head: Head { content_range: Some("bytes */50000".to_owned()), ..status(416).head }, ..status(416) }
        }
    });
    assert_eq!(rig.asked[1].from, 50_000);
    // With a known size not even that is asked.
    check(wish(&file), Ok(&file), 1, |_| Reply { ending: Ending::Broken, ..ok(&file) });
}

#[test]
fn a_416_about_another_size_begins_anew() {
    let file = content(50_000);
    let mut n = 0;
    let rig = check(wish(&file), Ok(&file), 3, |_| {
        n += 1;
        match n {
            1 => Reply { body: file[..20_000].to_vec(), ending: Ending::Broken, ..ok(&file) },
            2 => {
                Reply { head: Head { content_range: Some("bytes */9".to_owned()), ..status(416).head }, ..status(416) }
            }
            _ => ok(&file),
        }
    });
    assert_eq!(rig.asked[2].from, 0);
}

#[test]
fn plain_http_is_asked_only_where_it_is_allowed() {
    let file = content(10);
    let plain = Wish { url: "http://cloud/".to_owned(), ..wish(&file) };
    check(plain.clone(), Err(Failure::Address), 0, |_| ok(&file));
    let limits = Limits { plain_text: true, ..plain.limits.clone() };
    check(Wish { limits, ..plain }, Ok(&file), 1, |_| ok(&file));
    check(Wish { url: "file:///etc/shadow".to_owned(), ..wish(&file) }, Err(Failure::Address), 0, |_| ok(&file));
}

#[test]
fn a_refusal_ends_it_and_a_busy_server_does_not() {
    let file = content(10);
    for code in [400, 401, 403, 404, 410] {
        check(wish(&file), Err(Failure::Status(code)), 1, |_| status(code));
    }
    for code in [408, 429, 500, 503] {
        let mut n = 0;
        check(wish(&file), Ok(&file), 2, |_| {
            n += 1;
            if n == 1 { status(code) } else { ok(&file) }
        });
    }
    let busy = Reply { head: Head { retry_after_s: Some(300), ..status(503).head }, ..status(503) };
    let mut n = 0;
    let rig = check(wish(&file), Ok(&file), 2, |_| {
        n += 1;
        if n == 1 { busy.clone() } else { ok(&file) }
    });
    assert!(rig.now.since(Timestamp(1_000_000)) >= 240_000);
}

#[test]
fn a_wrong_digest_is_loaded_once_more_and_then_refused() {
    let (file, other) = (content(5000), vec![9; 5000]);
    let mut n = 0;
    check(wish(&file), Ok(&file), 2, |_| {
        n += 1;
        ok(if n == 1 { &other } else { &file })
    });
    let expected = Expected::Sha256(sha256(&file));
    let found = Expected::Sha256(sha256(&other));
    check(wish(&file), Err(Failure::Digest(crate::update::digest::Mismatch { expected, found })), 2, |_| ok(&other));
}

#[test]
fn a_full_disk_is_noticed_before_and_while_it_comes() {
    let file = content(5000);
    let mut rig = Rig { free: 5000 + 1024 * 1024 - 1, ..Rig::new() };
    rig.run(&mut Download::new(wish(&file), 7), usize::MAX, |_| ok(&file));
    let needed = 5000 + 1024 * 1024;
    assert_eq!(rig.end, Some(Err(Failure::Space { needed, free: needed - 1 })));
    let mut download = Download::new(wish(&file), 7);
    download.start(Timestamp(0));
    download.head(Timestamp(0), &ok(&file).head, None);
    assert_eq!(download.body(Timestamp(0), &file[..1000]), Taken::At(0));
    download.space(4000 + 1024 * 1024);
    assert!(!download.is_over());
    download.space(1024 * 1024);
    assert!(download.is_over());
}

#[test]
fn a_rate_holds_back_and_forgives_no_standstill() {
    let file = content(100_000);
    let limits = Limits { rate: Some(10_000), ..wish(&file).limits };
    let rig = check(Wish { limits, ..wish(&file) }, Ok(&file), 1, |_| ok(&file));
    let ms = rig.now.since(Timestamp(1_000_000));
    assert!((8_900..=10_000).contains(&ms), "{ms}");
}

#[test]
fn a_server_is_not_slow_while_it_is_the_rate_that_holds_back() {
    let file = content(400_000);
    let limits = Limits { rate: Some(1000), ..wish(&file).limits };
    let mut download = Download::new(Wish { limits, ..wish(&file) }, 7);
    download.start(Timestamp(0));
    download.head(Timestamp(0), &ok(&file).head, None);
    // A piece as large as buffers of the client become.
    assert_eq!(download.body(Timestamp(0), &file[..300_000]), Taken::At(0));
    let reads_from = download.reads_from();
    assert!(reads_from >= Timestamp(299_000), "{reads_from:?}");
    while let Some(due) = download.next_timeout().filter(|due| *due <= reads_from) {
        download.timeout(due);
    }
    assert_eq!(download.body(reads_from, &file[300_000..]), Taken::At(300_000));
}

#[test]
fn a_download_that_takes_too_long_is_given_up() {
    let file = content(100_000);
    let limits = Limits { deadline: Timestamp(1_000_000 + 50_000), ..wish(&file).limits };
    let slow = Wish { limits, ..wish(&file) };
    check(slow.clone(), Err(Failure::Deadline), 1, |_| Reply { piece_ms: 1000, ..ok(&file) });
    check(slow, Err(Failure::Deadline), 2, |_| Reply { ending: Ending::Never, ..Reply::default() });
}

#[test]
fn a_cancelled_download_closes_its_connection_and_says_nothing_more() {
    let file = content(5000);
    let mut download = Download::new(wish(&file), 7);
    download.start(Timestamp(0));
    assert!(matches!(download.poll(), Some(Output::Get { .. })));
    download.cancel();
    assert_eq!((download.poll(), download.poll()), (Some(Output::Close), None));
    download.head(Timestamp(1), &ok(&file).head, None);
    assert_eq!((download.body(Timestamp(1), &file), download.poll()), (Taken::No, None));
}

#[test]
fn a_percent_is_whole_only_when_all_is_there() {
    assert_eq!((percent(0, 0), percent(0, 3), percent(2, 3), percent(3, 3)), (100, 0, 66, 100));
    assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
}
