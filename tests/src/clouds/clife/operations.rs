//! What a device says about file operations, 2018, and whether the events of one operation come in a right order, once
//! each (Clife protocol, 8.2). No I/O and no clock.

use serde_json::{Value as Json, json};

use super::frame;

/// One file operation, as its events tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// respCode and respCont of the right ones, oldest first.
    pub events: Vec<(i64, String)>,
    /// How it ended, with the text of the failure.
    pub outcome: Option<Result<(), String>>,
    kind: Kind,
    phase: Phase,
    /// How often it may begin anew.
    n_more: u32,
}

/// What the device says it is made of, respCode 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// productVer.
    pub product: i64,
    /// Modules; devNum 0, the communication module, is the first.
    pub modules: Vec<Module>,
}

/// One module of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// devNum.
    pub number: i64,
    /// Version of its software.
    pub software: String,
    /// Version of its hardware.
    pub hardware: String,
}

/// What an operation is for, which decides on its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// FIRM or SUBFIRM.
    Upgrade,
    Download,
    Upload,
    Query,
    /// Bytes that a test made: any order that one of the others may have.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    /// The last progress that was told.
    Transferring(u8),
    Installing(u8),
    Over,
}

/// A body of 2018 whose form was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// 1 or 0.
    Progress(i64, u8),
    /// 2.
    Request(String),
    /// 3.
    Versions(Versions),
    /// -1.
    Failure(String),
}

impl Kind {
    /// Of a request with this body.
    pub fn of(request: &Json) -> Self {
        let files = request["fileInfo"].as_array();
        let upgrades = |file: &Json| matches!(file["fileType"].as_str(), Some("FIRM" | "SUBFIRM"));
        match request["fileMode"].as_str() {
            Some("QUERY") => Self::Query,
            Some("UP") => Self::Upload,
            Some("DOWN") if files.is_some_and(|files| files.iter().any(upgrades)) => Self::Upgrade,
            Some("DOWN") => Self::Download,
            _ => Self::Unknown,
        }
    }
}

impl Event {
    /// Reads a body of 2018.
    pub fn parse(body: &Json) -> Result<Self, String> {
        let code = body["respCode"].as_i64();
        let more: &[&str] = if code == Some(VERSIONS) { &["productVer", "devVer"] } else { &[] };
        frame::members(body, &[&["respCode", "respCont"], more].concat(), &[])?;
        let code = code.ok_or_else(|| format!("respCode must be an integer: {body}"))?;
        let text = frame::text(body, "respCont")?.unwrap_or_default();
        match code {
            TRANSFER | INSTALLATION => {
                let percent = text.parse().ok().filter(|percent: &u8| (1..=100).contains(percent));
                let percent = percent.filter(|percent| percent.to_string() == text);
                let percent = percent.ok_or_else(|| format!("respCont {text:?}, 1 to 100 expected"))?;
                Ok(Self::Progress(code, percent))
            }
            REQUEST if matches!(text, "ALL" | "FIRM" | "SUBFIRM") => Ok(Self::Request(text.to_owned())),
            VERSIONS if text == "ver" => Ok(Self::Versions(Versions::parse(body)?)),
            FAILURE if !text.is_empty() => Ok(Self::Failure(text.to_owned())),
            _ => Err(format!("respCode {code} with respCont {text:?}")),
        }
    }

    /// The transfer is complete, it says.
    pub fn is_transferred(&self) -> bool {
        *self == Self::Progress(TRANSFER, 100)
    }

    fn pair(&self) -> (i64, String) {
        match self {
            Self::Progress(code, percent) => (*code, percent.to_string()),
            Self::Request(what) => (REQUEST, what.clone()),
            Self::Versions(_) => (VERSIONS, "ver".to_owned()),
            Self::Failure(reason) => (FAILURE, reason.clone()),
        }
    }
}

impl Versions {
    fn parse(body: &Json) -> Result<Self, String> {
        let product = body["productVer"].as_i64().filter(|&version| version >= 1);
        let product = product.ok_or_else(|| format!("productVer must be an integer from 1: {body}"))?;
        let list = body["devVer"].as_array().ok_or_else(|| format!("devVer must be a list: {body}"))?;
        let mut modules: Vec<Module> = Vec::new();
        for module in list {
            frame::members(module, &["software", "hardware", "devNum"], &[])?;
            let number = module["devNum"].as_i64().filter(|&number| number >= 0);
            let number = number.ok_or_else(|| format!("devNum must be an integer from 0: {module}"))?;
            if modules.iter().any(|before| before.number == number) {
                return Err(format!("devNum {number} twice in {body}"));
            }
            let text = |name| frame::text(module, name).map(|text| text.unwrap_or_default().to_owned());
            modules.push(Module { number, software: text("software")?, hardware: text("hardware")? });
        }
        if modules.first().is_none_or(|module| module.number != 0) {
            return Err(format!("devNum 0 must be the first: {body}"));
        }
        Ok(Self { product, modules })
    }

    /// What an order asks for that is not there already: the version of the product, or of one of its parts. Only where there
    /// is nothing are versions the answer to an order (Clife protocol, 8.4).
    pub fn lacks(&self, order: &Json) -> Option<String> {
        if order["productVer"].as_i64() != Some(self.product) {
            return Some(format!("productVer {}", order["productVer"]));
        }
        let files = order["fileInfo"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_there = |file: &&Json| {
            let number = file["devNum"].as_i64().unwrap_or(0);
            let module = self.modules.iter().find(|module| module.number == number);
            module.zip(file["software"].as_str()).is_some_and(|(module, wanted)| is_same(&module.software, wanted))
        };
        let missing = files.iter().find(|file| !is_there(file))?;
        Some(format!("software {} of devNum {}", missing["software"], missing["devNum"]))
    }
}

/// Whether two versions are one: numbers are compared level by level, where missing ones are 0 (Clife protocol, 8.8).
fn is_same(one: &str, other: &str) -> bool {
    let levels = |version: &str| {
        let levels: Result<Vec<u64>, _> = version.split('.').map(str::parse).collect();
        levels.ok().map(|mut levels| {
            levels.truncate(levels.iter().rposition(|&level| level != 0).map_or(0, |last| last + 1));
            levels
        })
    };
    one == other || levels(one).zip(levels(other)).is_some_and(|(one, other)| one == other)
}

impl Operation {
    pub(super) fn new(kind: Kind) -> Self {
        Self { events: Vec::new(), outcome: None, kind, phase: Phase::Waiting, n_more: 0 }
    }

    /// Its firmware runs, it was told.
    pub(super) fn is_installed(&self) -> bool {
        self.events.last().is_some_and(|(code, text)| *code == INSTALLATION && text == "100")
    }

    /// The request was sent again: a query is answered again, while an order is not carried out twice.
    pub(super) fn repeat(&mut self) {
        self.n_more += u32::from(matches!(self.kind, Kind::Query | Kind::Unknown));
    }

    /// Takes the next event, or says what is wrong with it here.
    pub(super) fn take(&mut self, event: &Event) -> Result<(), String> {
        let misfit = |this: &Self| Err(format!("{:?} after {:?} of a {:?}", event.pair(), this.events, this.kind));
        let upgrade = matches!(self.kind, Kind::Upgrade | Kind::Unknown);
        if self.phase == Phase::Over && self.n_more > 0 {
            self.n_more -= 1;
            self.phase = Phase::Waiting;
        }
        let (phase, outcome) =
            match (self.phase, event) {
                (Phase::Transferring(100), Event::Failure(reason)) if !upgrade && reason != VERIFICATION => {
                    return misfit(self);
                }
                (phase, Event::Failure(reason)) if phase != Phase::Over => {
                    let transferred = matches!(phase, Phase::Transferring(percent) if percent == 100 || !upgrade);
                    let fits = match reason.as_str() {
                        BUSY => phase == Phase::Waiting,
                        VERIFICATION => transferred && self.kind != Kind::Upload,
                        _ => true,
                    };
                    if !fits {
                        return misfit(self);
                    }
                    (Phase::Over, Some(Err(reason.clone())))
                }
                (Phase::Waiting, Event::Versions(_)) if !matches!(self.kind, Kind::Download | Kind::Upload) => {
                    (Phase::Over, Some(Ok(())))
                }
                (Phase::Waiting, Event::Progress(TRANSFER, 1)) if self.kind != Kind::Query => {
                    (Phase::Transferring(1), None)
                }
                (Phase::Transferring(before), &Event::Progress(TRANSFER, now)) if goes_on(before, now) => {
                    // What checks a file only then says so afterwards, and nothing else comes.
                    (Phase::Transferring(now), (now == 100 && !upgrade).then_some(Ok(())))
                }
                (Phase::Transferring(100), Event::Progress(INSTALLATION, 1)) if upgrade => (Phase::Installing(1), None),
                (Phase::Installing(before), &Event::Progress(INSTALLATION, now)) if goes_on(before, now) => {
                    if now == 100 { (Phase::Over, Some(Ok(()))) } else { (Phase::Installing(now), None) }
                }
                _ => return misfit(self),
            };
        self.phase = phase;
        self.outcome = outcome.or(self.outcome.take());
        self.events.push(event.pair());
        Ok(())
    }
}

/// Whether this progress may be told after that: steps of ten at least, the last one of any length.
fn goes_on(before: u8, now: u8) -> bool {
    // 1 only says that it has begun.
    let before = if before == 1 { 0 } else { before };
    before < 100 && (now == 100 || now >= before + STEP)
}

/// A body of 2019 that asks for the versions.
pub(super) fn version_query() -> Json {
    json!({"fileMode": "QUERY", "fileInfo": []})
}

/// Values of respCode (Clife protocol, 8.2).
const TRANSFER: i64 = 1;
const INSTALLATION: i64 = 0;
const REQUEST: i64 = 2;
const VERSIONS: i64 = 3;
const FAILURE: i64 = -1;
/// Reasons of failures (Clife protocol, 8.2): URL illegal or device busy; downloaded but not what was promised.
const BUSY: &str = "0";
const VERIFICATION: &str = "2";
/// Least step of the progress (Clife protocol, 8.2).
const STEP: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(code: i64, text: &str) -> Event {
        let mut body = json!({"respCode": code, "respCont": text});
        if code == VERSIONS {
            body["productVer"] = json!(1);
            body["devVer"] = json!([{"software": "1.0.0.0", "hardware": "1.0", "devNum": 0}]);
        }
        Event::parse(&body).unwrap()
    }

    /// Takes all these events, and none of those after them.
    #[track_caller]
    fn check(kind: Kind, events: &[(i64, &str)], outcome: Option<Result<(), &str>>, never: &[(i64, &str)]) {
        let mut operation = Operation::new(kind);
        for &(code, text) in events {
            operation.take(&event(code, text)).unwrap();
        }
        assert_eq!(operation.outcome, outcome.map(|outcome| outcome.map_err(str::to_owned)));
        for &(code, text) in never {
            let error = operation.clone().take(&event(code, text)).unwrap_err();
            assert!(error.contains(&format!("({code}, {text:?}) after")), "{error}");
        }
    }

    #[test]
    fn the_sequences_of_the_document_are_right_and_nothing_may_follow_them() {
        let all = [(1, "1"), (1, "100"), (0, "1"), (0, "100"), (-1, "0"), (-1, "1"), (-1, "x"), (3, "ver"), (2, "ALL")];
        for (kind, events, outcome) in [
            (Kind::Upgrade, &[(1, "1"), (1, "100"), (0, "1"), (0, "100")][..], Ok(())),
            (Kind::Upgrade, &[(-1, "0")], Err("0")),
            (Kind::Upgrade, &[(1, "1"), (-1, "1")], Err("1")),
            (Kind::Upgrade, &[(1, "1"), (1, "100"), (-1, "2")], Err("2")),
            (Kind::Upgrade, &[(1, "1"), (1, "100"), (0, "1"), (-1, "1")], Err("1")),
            (Kind::Upgrade, &[(3, "ver")], Ok(())),
            (Kind::Upgrade, &[(1, "1"), (1, "10"), (1, "95"), (1, "100"), (0, "1"), (0, "50"), (0, "100")], Ok(())),
            (Kind::Download, &[(1, "1"), (1, "100")], Ok(())),
            (Kind::Download, &[(1, "1"), (-1, "2")], Err("2")),
            (Kind::Download, &[(1, "1"), (1, "100"), (-1, "2")], Err("2")),
            (Kind::Upload, &[(1, "1"), (1, "100")], Ok(())),
            (Kind::Upload, &[(-1, "no file")], Err("no file")),
            (Kind::Query, &[(3, "ver")], Ok(())),
            (Kind::Unknown, &[(-1, "decrypt error")], Err("decrypt error")),
        ] {
            check(kind, events, Some(outcome), &all);
        }
    }

    #[test]
    fn an_event_out_of_its_place_is_a_breach() {
        check(Kind::Upgrade, &[], None, &[(1, "2"), (1, "100"), (0, "1"), (-1, "2"), (2, "FIRM")]);
        check(Kind::Upgrade, &[(1, "1")], None, &[(1, "1"), (1, "9"), (0, "1"), (-1, "2"), (-1, "0"), (3, "ver")]);
        check(Kind::Upgrade, &[(1, "1"), (1, "50")], None, &[(1, "50"), (1, "59"), (1, "40")]);
        check(Kind::Upgrade, &[(1, "1"), (1, "100")], None, &[(1, "100"), (0, "100"), (0, "2"), (-1, "0")]);
        check(Kind::Upgrade, &[(1, "1"), (1, "100"), (0, "1")], None, &[(0, "1"), (1, "100"), (-1, "2")]);
        check(Kind::Upload, &[(1, "1")], None, &[(-1, "2"), (0, "1")]);
        check(Kind::Download, &[], None, &[(3, "ver"), (0, "1")]);
        check(Kind::Query, &[], None, &[(1, "1"), (0, "1")]);
    }

    #[test]
    fn a_body_of_the_wrong_form_is_refused_with_its_fault() {
        let module = json!({"software": "1.0", "hardware": "1.0", "devNum": 0});
        for (body, fault) in [
            (json!([]), "no object"),
            (json!({"respCode": 1}), "respCont is missing"),
            (json!({"respCode": 1, "respCont": 100}), "respCont must be a text"),
            (json!({"respCode": "1", "respCont": "1"}), "respCode must be"),
            (json!({"respCode": 1, "respCont": "0"}), "1 to 100"),
            (json!({"respCode": 0, "respCont": "101"}), "1 to 100"),
            (json!({"respCode": 1, "respCont": "01"}), "1 to 100"),
            (json!({"respCode": 2, "respCont": "MCU"}), "respCode 2 with"),
            (json!({"respCode": 4, "respCont": "1"}), "respCode 4 with"),
            (json!({"respCode": -1, "respCont": ""}), "respCode -1 with"),
            (json!({"respCode": 1, "respCont": "1", "productVer": 1}), "unknown member"),
            (json!({"respCode": 3, "respCont": "ver", "devVer": [module]}), "productVer is missing"),
            (json!({"respCode": 3, "respCont": "ver", "productVer": 0, "devVer": [module]}), "productVer must be"),
            (json!({"respCode": 3, "respCont": "ver", "productVer": 1, "devVer": []}), "devNum 0 must be"),
            (json!({"respCode": 3, "respCont": "ver", "productVer": 1, "devVer": [module, module]}), "twice"),
            (json!({"respCode": 3, "respCont": "ver", "productVer": 1, "devVer": [{"devNum": 0}]}), "software is"),
        ] {
            let error = Event::parse(&body).unwrap_err();
            assert!(error.contains(fault), "{error:?} should name {fault:?}");
        }
    }

    #[test]
    fn an_order_lacks_nothing_if_each_part_has_its_version() {
        let module = |number, software: &str| Module { number, software: software.to_owned(), hardware: String::new() };
        let versions = Versions { product: 2, modules: vec![module(0, "1.0.2.0"), module(4, "01"), module(9, "beta")] };
        let file = |number: i64, software: &str| json!({"fileType": "SUBFIRM", "devNum": number, "software": software});
        for (product, files, lacks) in [
            (2, vec![file(0, "1.0.2"), file(4, "1.0.0.0"), file(9, "beta")], None),
            (3, vec![file(0, "1.0.2.0")], Some("productVer 3")),
            (2, vec![file(0, "1.0.2.0"), file(4, "02")], Some("software \"02\" of devNum 4")),
            (2, vec![file(4, "10")], Some("software \"10\" of devNum 4")),
            (2, vec![file(5, "01")], Some("software \"01\" of devNum 5")),
            (2, vec![file(9, "beta.0")], Some("software \"beta.0\" of devNum 9")),
        ] {
            let order = json!({"fileMode": "DOWN", "productVer": product, "fileInfo": files});
            assert_eq!(versions.lacks(&order).as_deref(), lacks, "{order}");
        }
    }

    #[test]
    fn a_query_that_is_repeated_is_answered_again_and_an_order_is_not() {
        for (kind, last, again) in [(Kind::Query, (3, "ver"), true), (Kind::Upgrade, (-1, "0"), false)] {
            let mut operation = Operation::new(kind);
            operation.repeat();
            operation.take(&event(last.0, last.1)).unwrap();
            assert_eq!(operation.take(&event(last.0, last.1)).is_ok(), again, "{kind:?}");
            assert!(operation.take(&event(last.0, last.1)).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn a_request_tells_what_it_is_for() {
        for (request, expected) in [
            (json!({"fileMode": "QUERY"}), Kind::Query),
            (json!({"fileMode": "UP", "fileInfo": [{"fileType": "LOG"}]}), Kind::Upload),
            (json!({"fileMode": "DOWN", "fileInfo": [{"fileType": "PROFILE"}]}), Kind::Download),
            (json!({"fileMode": "DOWN", "fileInfo": [{"fileType": "DATA"}, {"fileType": "SUBFIRM"}]}), Kind::Upgrade),
            (json!({"fileMode": "COPY"}), Kind::Unknown),
        ] {
            assert_eq!(Kind::of(&request), expected, "{request}");
        }
    }
}
