use super::*;

/// The announcement printed in the document: 5000 bytes.
const ANNOUNCED: &str = "0000138800203263643862383834353461356662383935333063626164636338613438396661";
const MD5: &str = "2cd8b88454a5fb89530cbadcc8a489fa";

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// An MCU that is announced this file, with its log.
struct Mcu {
    receiver: Receiver,
    manners: FirmwareManners,
    log: FirmwareLog,
    sn: u8,
}

impl Mcu {
    fn with(manners: FirmwareManners) -> Self {
        Self { receiver: Receiver::default(), manners, log: FirmwareLog::default(), sn: 0 }
    }

    fn announced(file: &[u8], manners: FirmwareManners) -> Self {
        let mut mcu = Self::with(manners);
        assert_eq!(mcu.announce(file), Ok(Step::Acknowledged));
        mcu
    }

    /// The module has heard that it is ready.
    fn receiving(file: &[u8], manners: FirmwareManners) -> Self {
        let mut mcu = Self::announced(file, manners);
        assert_eq!(mcu.ask().map(|ask| ask.cmd), Some(READY));
        mcu.receiver.ready_acknowledged();
        mcu
    }

    fn announce(&mut self, file: &[u8]) -> Result<Step, String> {
        let size = u32::try_from(file.len()).unwrap().to_be_bytes();
        self.say(BIG_DATA, 0, &[&size[..], &[0, 32], hex(&Md5::digest(file)).as_bytes()].concat())
    }

    fn ask(&mut self) -> Option<Ask> {
        self.receiver.ask(&self.manners)
    }

    /// The module says something new.
    fn say(&mut self, cmd: u8, flags: u16, payload: &[u8]) -> Result<Step, String> {
        self.sn = self.sn.wrapping_add(1);
        let frame = Frame { flags, ..Frame::new(cmd, self.sn, payload) };
        self.receiver.take(&frame, &self.manners, &mut self.log)
    }

    fn piece(&mut self, no: u16, count: u16, data: &[u8]) -> Result<Step, String> {
        self.say(PIECE, 0, &[&no.to_be_bytes()[..], &count.to_be_bytes(), data].concat())
    }

    /// The module sends the pieces of a file from this number on; what became of the last one it sent.
    fn pieces(&mut self, file: &[u8], len: usize, from: usize, n: usize) -> Step {
        let count = u16::try_from(file.len().div_ceil(len)).unwrap();
        let mut last = Step::Ignored;
        for (at, data) in file.chunks(len).enumerate().skip(from).take(n) {
            last = self.piece(u16::try_from(at + 1).unwrap(), count, data).unwrap();
        }
        last
    }
}

fn manners(piece_len: u16, trouble: Option<Trouble>) -> FirmwareManners {
    FirmwareManners { piece_len, wants_lines: false, trouble }
}

#[test]
fn the_recorded_announcement_is_answered_by_the_recorded_readiness() {
    let mut mcu = Mcu::with(manners(128, None));
    assert_eq!(mcu.say(BIG_DATA, 0, &unhex(ANNOUNCED)), Ok(Step::Acknowledged));
    assert_eq!(mcu.log.announced, [Announced { size: 5000, md5: MD5.to_owned() }]);
    let payload = [&[0, 32][..], MD5.as_bytes(), &[0, 128]].concat();
    assert_eq!(mcu.ask(), Some(Ask { cmd: READY, flags: 0, payload }));
    assert_eq!(mcu.ask(), None, "once");
}

#[test]
fn a_file_that_arrives_whole_makes_the_version_at_its_end() {
    for (file, version) in [(image(1000, "POLYSW02"), Some("POLYSW02".to_owned())), (vec![0; 1000], None)] {
        let mut mcu = Mcu::receiving(&file, manners(0, None));
        assert_eq!(mcu.pieces(&file, 256, 0, 4), Step::Whole(version));
        assert_eq!((mcu.log.received, mcu.log.pieces), (vec![file], 4));
    }
}

#[test]
fn what_comes_again_is_acknowledged_again_and_not_taken_twice() {
    let file = image(300, "POLYSW02");
    let mut mcu = Mcu::receiving(&file, manners(100, None));
    let first = Frame::new(PIECE, 77, &[&[0, 1, 0, 3][..], &file[..100]].concat());
    for _ in 0..3 {
        assert_eq!(mcu.receiver.take(&first, &mcu.manners, &mut mcu.log), Ok(Step::Acknowledged));
    }
    assert_eq!((mcu.log.pieces, mcu.pieces(&file, 100, 1, 2)), (1, Step::Whole(Some("POLYSW02".to_owned()))));
}

#[test]
fn announcements_and_pieces_outside_the_rules_are_breaches() {
    let file = image(300, "POLYSW02");
    let idle = || Mcu::with(manners(100, None));
    let announced = || Mcu::announced(&file, manners(100, None));
    let receiving = || Mcu::receiving(&file, manners(100, None));
    let breach = |mut mcu: Mcu, say: &dyn Fn(&mut Mcu) -> Result<Step, String>, fault: &str| {
        let error = say(&mut mcu).unwrap_err();
        assert!(error.contains(fault), "{error:?} should name {fault:?}");
    };
    let recorded = unhex(ANNOUNCED);
    let upper = recorded.to_ascii_uppercase();
    let empty = [&[0; 4][..], &recorded[4..]].concat();
    for payload in [&recorded[..37], &[], &upper, &empty] {
        breach(idle(), &|mcu| mcu.say(BIG_DATA, 0, payload), "not the announcement");
    }
    breach(idle(), &|mcu| mcu.piece(1, 3, &file[..100]), "nobody asked for");
    breach(announced(), &|mcu| mcu.piece(1, 3, &file[..100]), "nobody asked for");
    breach(announced(), &|mcu| mcu.announce(&file), "another transfer is under way");
    breach(receiving(), &|mcu| mcu.piece(2, 3, &file[..100]), "piece 2, 1 is next");
    breach(receiving(), &|mcu| mcu.piece(1, 4, &file[..100]), "count 4");
    breach(receiving(), &|mcu| mcu.piece(1, 3, &file[..99]), "99 bytes");
    breach(receiving(), &|mcu| mcu.say(PIECE, 1, &[&[0, 1, 0, 3][..], &file[..100]].concat()), "flags 0001");
    breach(receiving(), &|mcu| mcu.say(PIECE, 0, &[0, 1]), "without number");
    breach(receiving(), &|mcu| mcu.say(SENDER_ABORTS, 0, &[1]), "not a frame of a transfer");
    let other = [&file[..299], b"!"].concat();
    let mut spoilt = receiving();
    spoilt.pieces(&other, 100, 0, 2);
    breach(spoilt, &|mcu| mcu.piece(3, 3, &other[200..]), "was announced");
}

#[test]
fn an_mcu_in_trouble_does_what_it_is_told() {
    let file = image(300, "POLYSW02");
    let announced = |trouble| Mcu::announced(&file, manners(100, Some(trouble)));
    assert_eq!(announced(Trouble::Refuses).ask().map(|ask| ask.cmd), Some(RECEIVER_ABORTS));

    let mut mcu = announced(Trouble::NeverReady);
    assert_eq!(mcu.ask(), None);
    mcu.manners.trouble = None;
    assert_eq!(mcu.ask().map(|ask| ask.cmd), Some(READY), "it came to its senses");

    let mut mcu = announced(Trouble::WantsAnother);
    let other = [&[0, 32][..], &[b'0'; 32], &[0, 100]].concat();
    assert_eq!(mcu.ask(), Some(Ask { cmd: READY, flags: 0, payload: other }));
    mcu.receiver.ready_acknowledged();
    assert!(mcu.piece(1, 3, &file[..100]).unwrap_err().contains("nobody asked for"));

    let mut mcu = Mcu::receiving(&file, manners(100, Some(Trouble::GivesUpAfter(2))));
    assert_eq!(mcu.pieces(&file, 100, 0, 2), Step::Acknowledged);
    assert_eq!(mcu.ask().map(|ask| ask.cmd), Some(RECEIVER_ABORTS));
    assert_eq!(mcu.announce(&file), Ok(Step::Acknowledged), "another one may come");

    let mut mcu = Mcu::receiving(&file, manners(100, Some(Trouble::FallsSilentAt(1))));
    assert!(!mcu.receiver.is_silent(&mcu.manners));
    assert_eq!(mcu.pieces(&file, 100, 0, 1), Step::Acknowledged);
    assert!(mcu.receiver.is_silent(&mcu.manners));
}

#[test]
fn an_mcu_that_restarts_wants_everything_again() {
    let file = image(300, "POLYSW02");
    let mut mcu = Mcu::receiving(&file, manners(100, Some(Trouble::RestartsAfter { pieces: 2, times: 1 })));
    assert_eq!(mcu.pieces(&file, 100, 0, 2), Step::Restarts);
    assert_eq!(mcu.piece(3, 3, &file[200..]), Ok(Step::Ignored), "it was on its way");
    assert_eq!(mcu.ask().map(|ask| ask.cmd), Some(READY));
    mcu.receiver.ready_acknowledged();
    assert_eq!(mcu.pieces(&file, 100, 0, 3), Step::Whole(Some("POLYSW02".to_owned())));
    assert_eq!((mcu.log.restarts, mcu.log.received), (1, vec![file]));
}

#[test]
fn the_module_may_give_up_at_any_time_and_begin_again() {
    let file = image(300, "POLYSW02");
    let mut mcu = Mcu::receiving(&file, manners(100, None));
    mcu.pieces(&file, 100, 0, 2);
    assert_eq!(mcu.say(SENDER_ABORTS, 0, &[]), Ok(Step::Acknowledged));
    assert_eq!(mcu.say(SENDER_ABORTS, 0, &[]), Ok(Step::Acknowledged));
    assert_eq!(mcu.log.given_up_by_module, 1);
    assert_eq!(mcu.announce(&file), Ok(Step::Acknowledged));
}

#[test]
fn lines_are_taken_one_by_one_and_checked_by_their_records() {
    let lines = FirmwareManners { wants_lines: true, ..FirmwareManners::default() };
    let (first, last) = (":08000000504F4C5953573032A8", ":00000001FF");
    let file = [first, last].join("\r\n").into_bytes();
    let line = |no: u8, flags: u16, line: &str| (flags, [&[0, no, 0, 0][..], line.as_bytes()].concat());
    let mut mcu = Mcu::announced(&file, lines.clone());
    assert_eq!(mcu.ask().map(|ask| (ask.cmd, ask.flags)), Some((READY, 1)));
    mcu.receiver.ready_acknowledged();
    let (flags, payload) = line(1, 1, first);
    assert_eq!(mcu.say(PIECE, flags, &payload), Ok(Step::Acknowledged));
    let (flags, payload) = line(2, 3, last);
    assert_eq!(mcu.say(PIECE, flags, &payload), Ok(Step::Whole(Some("POLYSW02".to_owned()))));
    assert_eq!(mcu.log.received, [b"POLYSW02"]);
    for ((flags, payload), fault) in [
        (line(1, 1, ":08000000504F4C5953573032A9"), "checksum"),
        (line(1, 1, "08000000504F4C595357303210"), "no record"),
        (line(1, 3, first), "the last one"),
        (line(1, 1, last), "the last one"),
        (line(1, 0, first), "flags 0000"),
    ] {
        let error = Mcu::receiving(&file, lines.clone()).say(PIECE, flags, &payload).unwrap_err();
        assert!(error.contains(fault), "{error:?} should name {fault:?}");
    }
}
