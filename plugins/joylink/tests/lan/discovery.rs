//! Who is answered, and with what.

use polylink_joylink::wire::discovery::Debugging;
use polylink_joylink::wire::{DiscoveryAnswer, DiscoveryRequest};

use super::*;

fn answer(rig: &mut Rig, request: &str) -> Option<DiscoveryAnswer> {
    let outputs = rig.packet(&discovery(request));
    let messages = messages(&outputs);
    assert!(messages.len() <= 1, "{messages:?}");
    let (socket, to, packet) = messages.into_iter().next()?;
    assert_eq!((socket, &*to, packet.kind, packet.enctype), (FIRST, PHONE, Kind::Discovery, enctype::PLAIN));
    assert!(packet.opt.is_empty());
    Some(DiscoveryAnswer::decode(&packet.payload).unwrap())
}

/// Whether a device answers, and which sub-devices it tells; `None`: no list at all. Each case has time of its own.
#[track_caller]
fn check(rig: &mut Rig, request: &str, expected: Option<Option<&[&str]>>) {
    rig.wait(1000);
    let got = answer(rig, request);
    let list = |answer: DiscoveryAnswer| answer.subdev.map(|list| list.into_iter().map(|sub| sub.mac).collect());
    let got: Option<Option<Vec<String>>> = got.map(list);
    let expected = expected.map(|list| list.map(|list| list.iter().map(|mac| (*mac).to_owned()).collect()));
    assert_eq!(got, expected, "{request}");
}

#[test]
fn a_device_answers_who_asked_on_the_socket_that_was_asked() {
    let mut rig = Rig::open();
    let bytes = discovery("{}").encode(Network::Lan).unwrap();
    let outputs = rig.udp(udp::Event::Received(SECOND, "192.0.2.9:5".to_owned(), bytes));
    let [(socket, to, _)] = &messages(&outputs)[..] else { panic!("one answer, not {outputs:?}") };
    assert_eq!((*socket, &**to), (SECOND, "192.0.2.9:5"));
}

#[test]
fn the_answer_tells_all_of_the_device() {
    let mut rig = Rig::open();
    rig.about.debug = Some(Debugging { ver: 7, rssi: 90 });
    rig.about.opt = Json::new(r#"{"a":9007199254740993}"#).unwrap();
    let outputs = rig.packet(&discovery(r#"{"cmd":2,"productuuid":"","status":0}"#));
    let expected = format!(
        concat!(
            r#"{{"mac":"02005e102030","productuuid":"XDFSSD","CID":"00010002","firmwareVersion":"1_0_0_01","#,
            r#""modelCode":"polylink","lancon":1,"trantype":1,"feedid":"1001","devkey":"{}","#,
            r#""dbg":{{"ver":7,"rssi":90}},"opt":{{"a":9007199254740993}},"devtype":0}}"#
        ),
        rig.pair.public().to_text()
    );
    assert_eq!(String::from_utf8(messages(&outputs).remove(0).2.payload).unwrap(), expected);
}

#[test]
fn a_device_answers_for_its_product_and_its_state_only() {
    for (mut rig, own, other) in [(Rig::open(), 2, 1), (Rig::unbound(), 1, 2)] {
        for product in [r#""productuuid":"XDFSSD""#, r#""uuid":"XDFSSD""#, r#""productuuid":"""#, r#""cmd":2"#] {
            check(&mut rig, &format!("{{{product}}}"), Some(None));
            check(&mut rig, &format!(r#"{{{product},"status":0}}"#), Some(None));
            check(&mut rig, &format!(r#"{{{product},"status":{own}}}"#), Some(None));
            check(&mut rig, &format!(r#"{{{product},"status":{other}}}"#), None);
        }
        for status in 0..=2 {
            check(&mut rig, &format!(r#"{{"productuuid":"OTHERS","status":{status}}}"#), None);
        }
        assert_eq!(rig.lan.counters().dropped("status"), 4);
        assert_eq!(rig.lan.counters().dropped("productuuid"), 3);
    }
}

#[test]
fn a_gateway_answers_for_its_sub_devices_too_and_lists_those_that_are_looked_for() {
    for bound in [true, false] {
        let mut rig = Rig::gateway();
        if !bound {
            rig.about.feedid = FeedId::EMPTY;
        }
        check(&mut rig, "{}", Some(Some(&["a1", "b2"])));
        // It waits, or is bound, itself, or one of its sub-devices does or is.
        check(&mut rig, r#"{"status":1}"#, Some(Some(&["b2"])));
        check(&mut rig, r#"{"status":2}"#, Some(Some(&["a1"])));
        check(&mut rig, r#"{"productuuid":"AAAAAA"}"#, Some(Some(&["a1"])));
        check(&mut rig, r#"{"productuuid":"AAAAAA","status":2}"#, Some(Some(&["a1"])));
        check(&mut rig, r#"{"productuuid":"AAAAAA","status":1}"#, None);
        check(&mut rig, r#"{"productuuid":"BBBBBB","status":1}"#, Some(Some(&["b2"])));
        check(&mut rig, r#"{"productuuid":"BBBBBB","status":2}"#, None);
        check(&mut rig, r#"{"productuuid":"CCCCCC"}"#, None);
        check(&mut rig, r#"{"productuuid":"XDFSSD"}"#, Some(Some(&[])));
        check(&mut rig, r#"{"productuuid":"XDFSSD","status":1}"#, (!bound).then_some(Some(&[])));
        check(&mut rig, r#"{"productuuid":"XDFSSD","status":2}"#, bound.then_some(Some(&[])));
    }
}

#[test]
fn a_gateway_without_sub_devices_shows_an_empty_list_and_a_normal_device_none_even_if_it_is_given_some() {
    let mut rig = Rig::gateway();
    rig.about.devtype = DeviceType::Normal;
    check(&mut rig, "{}", Some(None));
    check(&mut rig, r#"{"productuuid":"AAAAAA"}"#, None);
    rig.about.devtype = DeviceType::Gateway;
    rig.about.subdevices.clear();
    check(&mut rig, "{}", Some(Some(&[])));
}

#[test]
fn a_device_that_does_not_know_its_product_yet_stays_silent() {
    let mut rig = Rig::gateway();
    rig.about.productuuid.clear();
    check(&mut rig, "{}", None);
    check(&mut rig, r#"{"productuuid":"AAAAAA"}"#, None);
    assert_eq!(rig.lan.counters().dropped("no_product"), 2);
}

#[test]
fn the_key_in_opt_does_not_matter() {
    let mut rig = Rig::open();
    for opt in [vec![], vec![0; 21], vec![1; 3]] {
        let packet = Packet { opt, ..discovery("{}") };
        assert_eq!(messages(&rig.packet(&packet)).len(), 1);
    }
}

#[test]
fn a_discovery_in_fragments_is_answered_once() {
    let mut rig = Rig::open();
    let padding = "x".repeat(3000);
    let parts = fragments(discovery(&format!(r#"{{"padding":"{padding}"}}"#)), 5).unwrap();
    assert_eq!(parts.len(), 4);
    let outputs: Vec<_> = parts.iter().rev().flat_map(|part| rig.packet(part)).collect();
    assert_eq!(messages(&outputs).len(), 1);
}

#[test]
fn a_gateway_tells_as_many_sub_devices_as_fit_into_a_message() {
    let mut rig = Rig::gateway();
    rig.about.subdevices = (0..50).map(|n| sub(&format!("{n:012}"), "AAAAAA", true)).collect();
    let all = answer(&mut rig, "{}").unwrap();
    assert_eq!(all.subdev.unwrap(), rig.about.subdevices);
    rig.about.subdevices = (0..1000).map(|n| sub(&format!("{n:012}"), "AAAAAA", true)).collect();
    let some = answer(&mut rig, "{}").unwrap();
    let length = some.encode().len();
    assert!((20_000..=20_480).contains(&length), "{length}");
    let told = some.subdev.unwrap();
    assert_eq!(told[..], rig.about.subdevices[..told.len()]);
}

#[test]
fn an_answer_that_no_app_could_put_together_is_not_sent() {
    let mut rig = Rig::open();
    rig.about.opt = Json::of(&std::collections::BTreeMap::from([("a", "x".repeat(20_480))]));
    check(&mut rig, "{}", None);
    assert_eq!(rig.lan.counters().dropped("too_long"), 1);
}

#[test]
fn ten_thousand_discoveries_at_once_are_twenty_answers_and_a_second_later_there_are_twenty_more() {
    let mut rig = Rig::open();
    let bytes = discovery("{}").encode(Network::Lan).unwrap();
    let flood = |rig: &mut Rig| {
        let from = |n: u16| format!("192.0.2.{}:{}", n % 256, 1 + n);
        (0..10_000).map(|n| rig.datagram_from(&from(n), &bytes).len()).sum::<usize>()
    };
    assert_eq!(flood(&mut rig), 20);
    rig.wait(1000);
    assert_eq!(flood(&mut rig), 20);
    assert_eq!(rig.lan.counters().dropped("rate"), 2 * 9980);
}

#[test]
fn discoveries_for_others_do_not_use_up_the_answers() {
    let mut rig = Rig::open();
    for _ in 0..1000 {
        assert_eq!(rig.packet(&discovery(r#"{"productuuid":"OTHERS"}"#)), []);
    }
    assert!(answer(&mut rig, "{}").is_some());
}

#[test]
fn the_answer_of_another_device_is_not_answered_so_that_two_of_them_do_not_talk_for_ever() {
    let mut rig = Rig::open();
    let outputs = rig.packet(&discovery("{}"));
    let answer = messages(&outputs).remove(0).2;
    assert!(DiscoveryRequest::decode(&answer.payload).unwrap().wants("XDFSSD", true).is_ok());
    rig.check_dropped(&answer.encode(Network::Lan).unwrap(), "answer");
}
