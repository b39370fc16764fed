//! Updates and logs between a session and the host, through the real types of the ABI.

use super::{CONTEXT, Puppet, ask, check, host};
use crate::secret::Secret;
use crate::services::logs::{Method, Upload};
use crate::services::ota::{Digest, Event, Failure, Offer, Phase, Request, Target, URL_MAX, Update};
use crate::services::{self, Reason, id};
use crate::testing::{Setup, VirtualHost};
use crate::{Input, Output, RequestId};

#[test]
fn the_session_finds_its_updates_and_hears_of_their_changes_unchanged() {
    let phases = [
        Phase::Waiting,
        Phase::Downloading,
        Phase::Installing,
        Phase::Finished,
        Phase::Failed(Failure::Other),
        Phase::Failed(Failure::Unsupported),
        Phase::Failed(Failure::Policy),
        Phase::Failed(Failure::Download),
        Phase::Failed(Failure::Digest),
        Phase::Failed(Failure::Space),
        Phase::Failed(Failure::Install),
        Phase::Failed(Failure::Cancelled),
        Phase::Failed(Failure::TooLate),
    ];
    let targets = [Target::Module, Target::Mcu, Target::Subdevice(7)];
    let list: Vec<_> =
        phases.into_iter().zip(targets.into_iter().cycle()).map(|(phase, target)| update(phase, target)).collect();
    let setup = Setup { updates: list.clone(), services: vec![id::OTA], ..Setup::default() };
    let mut host = VirtualHost::through_abi::<Puppet>(setup);
    host.start();
    assert_eq!(CONTEXT.take().updates, list);
    host.updates_changed(list[3..].to_vec());
    check(&[Input::Ota(Event::Changed(list[3..].to_vec()))]);
}

#[test]
fn an_offer_arrives_as_it_was_made() {
    let mut host = host();
    host.updates_changed(vec![update(Phase::Finished, Target::Module)]);
    let requests = [
        Request::Offer(Box::new(offer())),
        Request::Cancel("42".to_owned()),
        Request::Acknowledge("42".to_owned()),
        Request::Acknowledge("nothing".to_owned()),
    ];
    ask(&mut host, requests.clone().map(Output::Ota));
    assert_eq!(requests.clone().map(|_| host.expect_ota()), requests);
    host.expect_silence();
    assert_eq!(host.logs(), []);
}

#[test]
fn an_offer_that_the_host_refuses_is_a_line_in_the_log() {
    let mut host = host();
    let bad = [
        Offer { id: String::new(), ..offer() },
        Offer { url: "ftp://images.example/1".to_owned(), ..offer() },
        Offer { url: format!("http://{}", "x".repeat(URL_MAX)), ..offer() },
        Offer { digests: vec![Digest::ByteSum(1); 6], ..offer() },
    ];
    ask(&mut host, bad.map(|offer| Output::Ota(Request::Offer(Box::new(offer)))));
    let lines: Vec<_> = host.logs().iter().map(|(_, text)| text.clone()).collect();
    let refused = "this host does not take the update `42`";
    assert_eq!(lines, ["this host does not take the update ``", refused, refused, refused]);
}

#[test]
fn a_part_of_the_log_is_asked_for_and_its_end_is_told() {
    let mut host = host();
    let upload = Upload {
        url: "ftp://logs.example/in/".to_owned(),
        method: Method::Multipart,
        headers: vec!["X-Token: 1".to_owned()],
        fields: vec![("devId".to_owned(), "7".to_owned())],
        file_field: "file".to_owned(),
        file_name: "log.txt".to_owned(),
        login: Some(("user".to_owned(), Secret::new("password".to_owned()))),
        from_ms: Some(-5),
        to_ms: None,
    };
    ask(&mut host, [5, 6].map(|id| Output::SendLogs(RequestId(id), Box::new(upload.clone()))));
    let (first, sent) = host.expect_logs();
    assert_eq!(sent, upload);
    let (second, _) = host.expect_logs();
    host.logs_sent(first, Ok(1_234));
    let failure = services::Failure { reason: Reason::Timeout, text: "silence".to_owned() };
    host.logs_sent(second, Err(failure.clone()));
    check(&[Input::LogsSent(RequestId(5), Ok(1_234)), Input::LogsSent(RequestId(6), Err(failure))]);
}

fn update(phase: Phase, target: Target) -> Update {
    let (id, version, reason) = ("42".to_owned(), "1.2.3".to_owned(), "because".to_owned());
    Update { id, target, version, phase, percent: 55, reason }
}

fn offer() -> Offer {
    Offer {
        id: "42".to_owned(),
        target: Target::Subdevice(3),
        version: "1.2.3".to_owned(),
        url: "https://images.example/1".to_owned(),
        headers: vec!["X-Token: 1".to_owned()],
        size: 1 << 40,
        digests: vec![
            Digest::Md5([1; 16]),
            Digest::Sha256([2; 32]),
            Digest::Crc32(0x0102_0304),
            Digest::Crc32Plain(0xF0E0_D0C0),
            Digest::ByteSum(5),
        ],
        not_before_ms: 1,
        spread_ms: 2,
        not_after_ms: 3,
    }
}
