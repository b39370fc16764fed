//! Servers that lie, drip, lead astray or never end.

use super::*;

#[test]
fn an_endless_body_is_closed_at_the_limit() {
    let endless =
        || Reply { head: Head { status: 200, ..Head::default() }, body: vec![0; 2_000_000], ..Reply::default() };
    let unknown = Wish { size: None, digests: Vec::new(), ..wish(b"") };
    let rig = check(unknown, Err(Failure::TooLarge { max: 1_000_000 }), 1, |_| endless());
    assert!(rig.file.len() <= 1_000_000);
    // Where the cloud said a size, no byte more is taken, and other attempts follow.
    let known = wish(&content(5500));
    let rig = check(known, Err(Failure::Restless(Trouble::Changed)), 5, |_| endless());
    assert!(rig.file.len() <= 5500);
}

#[test]
fn a_size_that_is_too_large_or_not_the_clouds_is_refused_before_the_body() {
    let file = content(5000);
    let says = |length| Reply { head: Head { status: 200, length: Some(length), ..Head::default() }, ..ok(&file) };
    let unknown = Wish { size: None, ..wish(&file) };
    check(unknown, Err(Failure::TooLarge { max: 1_000_000 }), 1, |_| says(1_000_001));
    // Perhaps the page of a captive portal; it may be gone the next time.
    let rig = check(wish(&file), exhausted(Trouble::Size { found: 4999, wanted: 5000 }), 10, |_| says(4999));
    assert!(rig.file.is_empty());
}

#[test]
fn a_server_that_promises_more_than_it_sends_is_asked_for_the_rest_until_it_is_given_up() {
    let file = content(50_000);
    let lying = || Reply { ending: Ending::Clean, body: file[..100].to_vec(), ..ok(&file) };
    let cut = Trouble::Cut { have: 100, end: 50_000 };
    check(wish(&file), Err(Failure::Restless(Trouble::Changed)), 5, |_| lying());
    let mut n = 0;
    check(wish(&file), exhausted(cut), 10, |asked| {
        n += 1;
        if n == 1 { lying() } else { Reply { ending: Ending::Clean, ..part(&file, asked.from, 0) } }
    });
}

/// 206 for the rest, with so many bytes of it.
fn part(file: &[u8], from: u64, n: usize) -> Reply {
    let total = file.len();
    let head =
        Head { status: 206, content_range: Some(format!("bytes {from}-{}/{total}", total - 1)), ..Head::default() };
    let body = file[usize::try_from(from).unwrap()..].iter().copied().take(n).collect();
    Reply { head, body, ..Reply::default() }
}

#[test]
fn what_a_part_has_behind_the_whole_is_not_taken() {
    let file = content(50_000);
    let unknown = Wish { size: None, ..wish(&file) };
    let head = Head { status: 206, content_range: Some("bytes 20000-99999/*".to_owned()), ..Head::default() };
    check(unknown, Ok(&file), 2, |asked| match asked.from {
        0 => Reply { body: file[..20_000].to_vec(), ending: Ending::Broken, ..ok(&file) },
        _ => Reply { head: head.clone(), body: [&file[20_000..], &[7; 50_000]].concat(), ..Reply::default() },
    });
}

#[test]
fn one_byte_for_each_request_is_not_enough() {
    let file = content(50_000);
    let last = exhausted(Trouble::Cut { have: 10, end: 50_000 });
    check(wish(&file), last, 10, |asked| part(&file, asked.from, 1));
}

#[test]
fn a_server_that_drips_is_given_up() {
    let file = content(60_000);
    // 1000 bytes every 30 s.
    check(wish(&file), Ok(&file), 1, |_| Reply { piece_ms: 14_000, ..ok(&file) });
    let unknown = Wish { digests: Vec::new(), ..wish(&file) };
    check(unknown, Err(Failure::Restless(Trouble::Changed)), 4, |_| Reply { piece_ms: 30_000, ..ok(&file) });
}

#[test]
fn a_server_that_does_not_answer_is_asked_again_later_and_later() {
    let file = content(10);
    let rig =
        check(wish(&file), exhausted(Trouble::Silent), 10, |_| Reply { ending: Ending::Never, ..Reply::default() });
    let seconds = rig.now.since(Timestamp(1_000_000)) / 1000;
    // Ten times 30 s, and pauses of 10, 20, … 600 s, each up to a fifth shorter.
    assert!((2400..=300 + 2430 + 600).contains(&seconds), "{seconds}");
}

#[test]
fn redirects_are_followed_but_not_for_ever_and_not_away_from_https() {
    let file = content(10);
    let to = |url: &str| Reply {
        head: Head { status: 302, location: Some(url.to_owned()), ..Head::default() },
        ..Reply::default()
    };
    let rig = check(wish(&file), Ok(&file), 3, |asked| match asked.url.as_str() {
        "https://cloud/file" => to("https://store/a"),
        "https://store/a" => to("https://store/b"),
        _ => ok(&file),
    });
    assert_eq!(rig.asked[2].url, "https://store/b");
    let rig = check(wish(&file), exhausted(Trouble::Redirects), 60, |_| to("https://cloud/file"));
    assert!(rig.file.is_empty());
    let plain = Limits { plain_text: true, ..wish(&file).limits };
    for (url, location) in
        [("https://cloud/file", "http://store/"), ("http://cloud/file", "ftp://store/"), ("https://cloud/file", "")]
    {
        let wish = Wish { url: url.to_owned(), limits: plain.clone(), ..wish(&file) };
        check(wish, exhausted(Trouble::Redirect), 10, |_| to(location));
    }
}

#[test]
fn a_compressed_body_is_not_the_file() {
    let file = content(10);
    let zipped = Reply { head: Head { is_encoded: true, ..ok(&file).head }, ..ok(&file) };
    check(wish(&file), exhausted(Trouble::Encoded), 10, |_| zipped.clone());
}

/// Anything that a server may do.
fn any_reply() -> impl Strategy<Value = Reply> {
    let range = proptest::option::of((0..3_u64, 0..60_000_u64, 0..60_000_u64, 0..60_000_u64));
    let status = prop_oneof![Just(200_u16), Just(206), Just(416), Just(302), Just(404), Just(503), any::<u16>()];
    let length = proptest::option::of(0..60_000_u64);
    let ending = prop_oneof![Just(Ending::Clean), Just(Ending::Broken), Just(Ending::Never)];
    let location = proptest::option::of(prop_oneof![Just("https://b/"), Just("http://b/"), Just("x")]);
    (status, length, range, location, 0..60_000_usize, ending, 0..40_000_u64, "[ab]{0,1}").prop_map(
        |(status, length, range, location, n, ending, piece_ms, etag)| {
            let content_range = range.map(|(kind, first, last, total)| match kind {
                0 => format!("bytes {first}-{last}/{total}"),
                1 => format!("bytes */{total}"),
                _ => format!("bytes {first}-{last}/*"),
            });
            let etag = Some(format!("\"{etag}\"")).filter(|etag| etag.len() > 2);
            let location = location.map(str::to_owned);
            let head = Head { status, length, content_range, etag, location, ..Head::default() };
            Reply { head, body: content(n), ending, piece_ms }
        },
    )
}

proptest! {
    #[test]
    fn whatever_servers_do_it_ends_and_what_ends_well_is_the_file(
        replies in proptest::collection::vec(any_reply(), 1..12), honest_rest: bool, known: bool, reboot in 0..6_usize,
    ) {
        let file = content(50_000);
        let wish = if known { wish(&file) } else { Wish { size: None, ..wish(&file) } };
        let mut rig = Rig::new();
        let mut replies = replies.into_iter();
        let mut good = honest(&file, "a", usize::MAX);
        let mut serve = |asked: &Asked| match replies.next() {
            Some(reply) => reply,
            None if honest_rest => good(asked),
            None => Reply { ending: Ending::Never, ..Reply::default() },
        };
        rig.run(&mut Download::new(wish.clone(), 7), reboot, &mut serve);
        if rig.end.is_none() {
            let mut again = None;
            if let Some(checkpoint) = rig.checkpoint.take() {
                rig.file.truncate(usize::try_from(checkpoint.have).unwrap());
                let mut digests = Digests::new(&wish.digests);
                digests.update(&rig.file);
                again = Download::resume(wish.clone(), checkpoint, digests, 7);
            }
            let mut again = again.unwrap_or_else(|| {
                rig.file.clear();
                Download::new(wish, 7)
            });
            rig.run(&mut again, usize::MAX, &mut serve);
        }
        prop_assert!(rig.file.len() <= 1_000_000);
        if let Some(Ok(facts)) = rig.end {
            prop_assert_eq!(facts, Facts { size: 50_000, sha256: sha256(&file) });
            prop_assert_eq!(rig.file, file);
        }
    }
}
