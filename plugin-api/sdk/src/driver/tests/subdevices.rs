//! Subdevices between a session and the host, through the real types of the ABI.

use super::{CONTEXT, Puppet, ask, check, host};
use crate::services::id;
use crate::services::subdevices::{Event, Radio, Request, Subdevice};
use crate::testing::{Setup, VirtualHost};
use crate::value::{Cause, CommandBody, ReportBody};
use crate::{Command, Input, Output, RequestId};

#[test]
fn the_session_finds_the_subdevices_and_hears_of_their_changes_unchanged() {
    let radios = [Radio::Other, Radio::Wifi, Radio::Zigbee, Radio::Bluetooth, Radio::SubGhz];
    let list: Vec<_> = (1..).zip(radios).map(|(index, radio)| Subdevice { radio, ..subdevice(index) }).collect();
    let setup = Setup { subdevices: list.clone(), services: vec![id::SUBDEVICES], ..Setup::default() };
    let mut host = VirtualHost::through_abi::<Puppet>(setup);
    host.start();
    assert_eq!(CONTEXT.take().subdevices, list);
    host.subdevices_changed(list[3..].to_vec());
    check(&[Input::Subdevices(Event::Changed(list[3..].to_vec()))]);
}

#[test]
fn a_request_that_the_host_takes_is_told_as_it_is_and_leaves_no_line_in_the_log() {
    let mut host = host();
    host.subdevices_changed(vec![subdevice(3)]);
    let requests = [admit("ABCDEF", 60), Request::Accept(3), Request::Remove(3)];
    ask(&mut host, requests.clone().map(Output::Subdevices));
    assert_eq!(requests.clone().map(|_| host.expect_subdevices()), requests);
    host.expect_silence();
    assert_eq!(host.logs(), []);
}

#[test]
fn a_request_that_the_host_refuses_is_a_line_in_the_log() {
    let mut host = host();
    ask(
        &mut host,
        [admit("", 60), admit("A", 0), admit("A", 601), Request::Accept(3), Request::Remove(4)].map(Output::Subdevices),
    );
    let lines: Vec<_> = host.logs().iter().map(|(_, text)| text.as_str()).collect();
    let no_join = "this host does not let a subdevice join now";
    let others = ["this host does not accept subdevice 3 now", "this host does not remove subdevice 4 now"];
    assert_eq!(lines, [no_join, no_join, no_join, others[0], others[1]]);
}

#[test]
fn reports_and_commands_name_a_subdevice_by_its_index() {
    let mut host = host();
    let body = ReportBody::Raw(vec![1]);
    host.report_of(3, Cause::Change, None, body);
    assert!(matches!(&super::seen()[..], [Input::Reports(reports)] if reports[0].device == 3));
    let command = Command { device: 3, ..Command::new(CommandBody::Raw(vec![2])) };
    ask(&mut host, [Output::Submit(RequestId(1), command)]);
    assert_eq!(host.expect_submit().1.device, 3);
}

fn subdevice(index: u32) -> Subdevice {
    Subdevice {
        index,
        product: "ABCDEF".to_owned(),
        address: "001122334455".to_owned(),
        radio: Radio::Zigbee,
        accepted: index.is_multiple_of(2),
        online: true,
        signal_percent: (index > 1).then_some(80),
        version: "1.2".to_owned(),
    }
}

fn admit(product: &str, seconds: u16) -> Request {
    Request::Admit { product: product.to_owned(), address: String::new(), seconds }
}
