//! Full HEX: uplinks that are nothing but HEX, and whose acknowledgements have no name to go by.

use serde_json::json;

use super::{
    DOWN_ACK, REPORT, REPORT_ACK, carried_out, command_decoded_as, done, expect_encode, failed, report_raw, returns,
    with_script,
};
use crate::scenarios::stage::{below, online_hex};

const FULL: &str = "model/hex";
const FULL_ACK: &str = "model/hex_ack";

#[test]
fn full_hex_is_nothing_but_the_hex_in_one_of_three_forms() {
    for (format, expected) in
        [("json_string", &b"\"AB00\""[..]), ("bare_text", &b"AB00"[..]), ("binary", &[0xAB, 0x00][..])]
    {
        for encrypted in [false, true] {
            let settings = json!({"hex_uplink": "full", "full_hex_format": format, "encrypted": encrypted});
            let mut cloud = online_hex(settings);
            let seq = report_raw(&mut cloud, &[0xAB, 0]);
            let sent = cloud.host.expect_publish_on(&below(FULL));
            assert_eq!(sent.message.payload, expected, "{format}");
            cloud.say(FULL_ACK, 28, done());
            assert_eq!(cloud.host.expect_settle(), [seq]);
        }
    }
}

#[test]
fn full_hex_is_acknowledged_in_order_whatever_the_name() {
    let mut cloud = online_hex(json!({"hex_uplink": "full"}));
    let seqs = [1, 2, 3].map(|byte| report_raw(&mut cloud, &[byte]));
    for _ in 0..3 {
        cloud.host.expect_publish_on(&below(FULL));
    }
    cloud.say_as(FULL_ACK, &json!(4711), 28, done());
    assert_eq!(cloud.host.expect_settle(), [seqs[0]]);
    cloud.say_bytes(FULL_ACK, r#"{"HeaderCtrl":28,"Payload":{"Code":200}}"#);
    assert_eq!(cloud.host.expect_settle(), [seqs[1]]);
    cloud.say(FULL_ACK, 28, done());
    assert_eq!(cloud.host.expect_settle(), [seqs[2]]);
    cloud.say(FULL_ACK, 28, done());
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("answers_unmatched", "1");
}

#[test]
fn a_refused_full_hex_report_is_not_taken_for_the_next_one() {
    let mut cloud = online_hex(json!({"hex_uplink": "full"}));
    let seqs = [1, 2].map(|byte| report_raw(&mut cloud, &[byte]));
    for _ in 0..2 {
        cloud.host.expect_publish_on(&below(FULL));
    }
    cloud.say(FULL_ACK, 28, failed());
    cloud.say(FULL_ACK, 28, done());
    assert_eq!(cloud.host.expect_settle(), [seqs[1]]);
    cloud.host.advance(10_000);
    assert_eq!(cloud.host.expect_publish_on(&below(FULL)).text(), "\"01\"");
    cloud.say(FULL_ACK, 28, done());
    assert_eq!(cloud.host.expect_settle(), [seqs[0]]);
}

#[test]
fn a_script_makes_full_hex_too_and_answers_stay_in_their_envelope() {
    let mut cloud = with_script(json!({"hex_uplink": "full"}));
    let seq = cloud.report(7);
    let (call, _) = expect_encode(&mut cloud, 18);
    returns(&mut cloud, call, [7]);
    assert_eq!(cloud.host.expect_publish_on(&below(FULL)).text(), "\"07\"");
    command_decoded_as(&mut cloud, 25, json!(["n"]));
    let (command, _) = cloud.host.expect_submit();
    carried_out(&mut cloud, command, &[(1, 7)]);
    cloud.expect(DOWN_ACK, 25);
    let (call, _) = expect_encode(&mut cloud, 18);
    returns(&mut cloud, call, [7]);
    let (id, payload) = cloud.expect_frame(REPORT, 18);
    assert_eq!(payload, "07");
    // Each is acknowledged on its own topic.
    cloud.ack(REPORT_ACK, 18, &id, 200);
    cloud.host.expect_silence();
    cloud.say(FULL_ACK, 28, done());
    assert_eq!(cloud.host.expect_settle(), [seq]);
}
