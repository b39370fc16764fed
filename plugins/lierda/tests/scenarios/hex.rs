//! HEX model products: with a script that knows their HEX, and raw ones without.

mod full;
mod script;

use polylink_plugin_sdk::services::Reason;
use polylink_plugin_sdk::services::script::Value as ScriptValue;
use polylink_plugin_sdk::testing::ScriptCall;
use polylink_plugin_sdk::{
    Cause, CommandBody, DatapointId, Input, Outcome, OutcomeResult, ReportBody, RequestId, Value as Datum,
};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, online_hex};

const REPORT: &str = "model/hex/report";
const REPORT_ACK: &str = "model/hex/report_ack";
const DOWN: &str = "model/hex/downlink";
const DOWN_ACK: &str = "model/hex/downlink_ack";

fn with_script(changes: Value) -> Cloud {
    let mut settings = json!({"script": "function encode() end function decode() end"});
    settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    online_hex(settings)
}

fn done() -> Value {
    json!({"Code": "200", "Msg": "SUCCESS"})
}

fn failed() -> Value {
    json!({"Code": "4001", "Msg": "Failed"})
}

/// A call of `encode` for this code; its JSON.
#[track_caller]
fn expect_encode(cloud: &mut Cloud, code: i64) -> (RequestId, Value) {
    let ScriptCall { script, id, function, args } = cloud.host.expect_script_call();
    assert_eq!((Some(script), function.as_str()), (cloud.script, "encode"));
    let [ScriptValue::Int(called), ScriptValue::Bytes(json)] = &args[..] else { panic!("{args:?}") };
    assert_eq!(*called, code);
    (id, serde_json::from_slice(json).unwrap())
}

/// A call of `decode` for this code; its bytes.
#[track_caller]
fn expect_decode(cloud: &mut Cloud, code: i64) -> (RequestId, Vec<u8>) {
    let ScriptCall { id, function, args, .. } = cloud.host.expect_script_call();
    let [ScriptValue::Int(called), ScriptValue::Bytes(bytes)] = &args[..] else { panic!("{args:?}") };
    assert_eq!((function.as_str(), *called), ("decode", code));
    (id, bytes.clone())
}

#[track_caller]
fn returns(cloud: &mut Cloud, call: RequestId, bytes: impl AsRef<[u8]>) {
    cloud.host.script_returned(call, [ScriptValue::Bytes(bytes.as_ref().to_vec())]);
}

/// The platform sends a HEX command that the script reads as this JSON.
#[track_caller]
fn command_decoded_as(cloud: &mut Cloud, header_ctrl: i64, decoded: Value) -> Value {
    let id = cloud.say(DOWN, header_ctrl, json!("0aFF"));
    let (call, bytes) = expect_decode(cloud, header_ctrl);
    assert_eq!(bytes, [0x0A, 0xFF]);
    returns(cloud, call, decoded.to_string());
    id
}

#[track_caller]
fn carried_out(cloud: &mut Cloud, id: RequestId, values: &[(u32, i64)]) {
    let values = values.iter().map(|(id, value)| (DatapointId(*id), Datum::Int(*value))).collect();
    cloud.host.deliver(Input::Outcome(id, Outcome { result: OutcomeResult::Done, values, document: None }));
}

fn report_raw(cloud: &mut Cloud, bytes: &[u8]) -> u64 {
    cloud.host.report_body(Cause::Change, None, ReportBody::Raw(bytes.to_vec()))
}

#[test]
fn the_script_makes_the_hex_of_a_report() {
    let mut cloud = with_script(json!({}));
    let seq = cloud.report(7);
    let (call, json) = expect_encode(&mut cloud, 18);
    assert_eq!(json, json!({"n": 7}));
    cloud.host.expect_silence();
    returns(&mut cloud, call, [0xAB, 0x01, 0x00]);
    let sent = cloud.expect(REPORT, 18);
    assert_eq!(sent.payload, "AB0100");
    cloud.host.published(sent.publish.id);
    cloud.host.expect_silence();
    cloud.ack(REPORT_ACK, 18, &sent.id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn the_script_makes_the_hex_of_an_event() {
    let mut cloud = with_script(json!({}));
    let seq = cloud.host.report_event(DatapointId(0), [(DatapointId(0), Datum::Int(3))]);
    let (call, json) = expect_encode(&mut cloud, 19);
    assert_eq!(json, json!({"event": "lowBattery", "params": {"volt": 3}}));
    returns(&mut cloud, call, [1]);
    let (id, payload) = cloud.expect_frame(REPORT, 19);
    assert_eq!(payload, "01");
    cloud.ack(REPORT_ACK, 19, &id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn a_set_is_acknowledged_and_its_new_values_are_a_report_of_their_own() {
    let mut cloud = with_script(json!({}));
    let id = command_decoded_as(&mut cloud, 22, json!({"n": "5"}));
    let (command, values) = cloud.host.expect_set();
    assert_eq!(values, [(DatapointId(1), Datum::Int(5))]);
    cloud.host.command_done(command);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 22), (id.clone(), done()));
    cloud.host.report_caused_by(command, [(DatapointId(1), Datum::Int(5))]);
    let (call, _) = expect_encode(&mut cloud, 18);
    returns(&mut cloud, call, [5]);
    assert_ne!(cloud.expect(REPORT, 18).id, id);
    cloud.host.expect_silence();
}

#[test]
fn a_question_is_acknowledged_and_then_answered_by_a_report_under_its_own_name() {
    let mut cloud = with_script(json!({}));
    let id = command_decoded_as(&mut cloud, 25, json!(["n", "colour"]));
    let (command, submitted) = cloud.host.expect_submit();
    assert_eq!(submitted.body, CommandBody::Get(vec![DatapointId(1)]));
    cloud.host.expect_silence();
    carried_out(&mut cloud, command, &[(1, 7)]);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 25), (id.clone(), done()));
    let (call, json) = expect_encode(&mut cloud, 18);
    assert_eq!(json, json!({"n": 7}));
    returns(&mut cloud, call, [7]);
    let sent = cloud.expect(REPORT, 18);
    assert_eq!(sent.payload, "07");
    assert_ne!(sent.id, id);
    // It is repeated like any report until the platform has it; nobody waits for it.
    cloud.host.advance(10_000);
    assert_eq!(cloud.expect(REPORT, 18).id, sent.id);
    cloud.ack(REPORT_ACK, 18, &sent.id, 200);
    cloud.host.advance(60_000);
    cloud.host.expect_silence();
}

#[test]
fn a_service_is_acknowledged_and_then_its_result_goes_up() {
    let mut cloud = with_script(json!({}));
    let id = command_decoded_as(&mut cloud, 24, json!({"service": "switch", "params": {"on": 1}}));
    let (command, submitted) = cloud.host.expect_submit();
    let params = vec![(DatapointId(0), Datum::Int(1))];
    assert_eq!(submitted.body, CommandBody::Invoke { action: DatapointId(0), params });
    carried_out(&mut cloud, command, &[(0, 1)]);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 24), (id.clone(), done()));
    let (call, json) = expect_encode(&mut cloud, 26);
    assert_eq!(json, json!({"service": "switch", "data": {"state": 1}}));
    returns(&mut cloud, call, [0x26]);
    let sent = cloud.expect(REPORT, 26);
    assert_eq!(sent.payload, "26");
    assert_ne!(sent.id, id);
    cloud.ack(REPORT_ACK, 26, &sent.id, 200);
    cloud.host.expect_silence();
}

#[test]
fn what_the_device_does_not_carry_out_has_failed_and_nothing_follows() {
    let mut cloud = with_script(json!({}));
    for (header_ctrl, decoded) in [(22, json!({"n": 5})), (24, json!({"service": "reset"})), (25, json!([]))] {
        let id = command_decoded_as(&mut cloud, header_ctrl, decoded);
        let (command, _) = cloud.host.expect_submit();
        cloud.host.command_ended(command, OutcomeResult::TimedOut);
        assert_eq!(cloud.expect_frame(DOWN_ACK, header_ctrl), (id, failed()));
        cloud.host.expect_silence();
    }
}

#[test]
fn what_the_script_reads_has_to_be_a_command_of_the_product() {
    let mut cloud = with_script(json!({}));
    for (header_ctrl, decoded) in [
        (22, json!({"colour": 1})),
        (22, json!({"n": "many"})),
        (22, json!({})),
        (22, json!([])),
        (24, json!({"service": "explode"})),
        (24, json!({"params": {}})),
        (25, json!(["colour"])),
        (25, json!({"params": ["n"]})),
    ] {
        let id = command_decoded_as(&mut cloud, header_ctrl, decoded.clone());
        assert_eq!(cloud.expect_frame(DOWN_ACK, header_ctrl), (id, failed()), "{decoded}");
    }
    for results in [
        vec![],
        vec![ScriptValue::Int(1)],
        vec![ScriptValue::Bytes(b"{".to_vec())],
        vec![ScriptValue::Bytes(vec![0xFF])],
    ] {
        let id = cloud.say(DOWN, 22, json!("00"));
        let (call, _) = expect_decode(&mut cloud, 22);
        cloud.host.script_returned(call, results);
        assert_eq!(cloud.expect_frame(DOWN_ACK, 22), (id, failed()));
    }
    let id = cloud.say(DOWN, 22, json!("00"));
    let (call, _) = expect_decode(&mut cloud, 22);
    cloud.host.script_failed(call, Reason::Other);
    assert_eq!(cloud.expect_frame(DOWN_ACK, 22), (id, failed()));
    cloud.host.expect_silence();
}

#[test]
fn a_command_that_comes_again_is_not_read_again() {
    let mut cloud = with_script(json!({}));
    let id = cloud.say(DOWN, 22, json!("00"));
    let (call, _) = expect_decode(&mut cloud, 22);
    cloud.say_as(DOWN, &id, 22, json!("00"));
    cloud.host.expect_silence();
    returns(&mut cloud, call, r#"{"n":5}"#);
    let (command, _) = cloud.host.expect_set();
    cloud.say_as(DOWN, &id, 22, json!("00"));
    cloud.host.expect_silence();
    cloud.host.command_done(command);
    cloud.expect(DOWN_ACK, 22);
    cloud.say_as(DOWN, &id, 22, json!("00"));
    assert_eq!(cloud.expect_frame(DOWN_ACK, 22), (id.clone(), done()));
    // Another code under the same name is another command.
    cloud.say_as(DOWN, &id, 25, json!("00"));
    expect_decode(&mut cloud, 25);
}

#[test]
fn at_most_64_commands_are_under_way() {
    let mut cloud = with_script(json!({}));
    for _ in 0..64 {
        cloud.say(DOWN, 22, json!("00"));
    }
    let id = cloud.say(DOWN, 22, json!("00"));
    assert_eq!(cloud.expect_frame(DOWN_ACK, 22), (id, failed()));
}

#[test]
fn a_payload_that_is_no_hex_has_failed() {
    let script = || with_script(json!({}));
    let raw = || online_hex(json!({}));
    for mut cloud in [script(), raw()] {
        for payload in
            [json!("0"), json!("0g"), json!("0x00"), json!(" 00"), json!(""), json!({}), json!(7), json!(null)]
        {
            for header_ctrl in [22, 24, 25] {
                let id = cloud.say(DOWN, header_ctrl, payload.clone());
                assert_eq!(cloud.expect_frame(DOWN_ACK, header_ctrl), (id, failed()), "{payload}");
            }
        }
        cloud.host.expect_silence();
        cloud.host.advance(1_000);
        cloud.assert_fact("input_dropped", "24");
    }
}

#[test]
fn a_raw_product_passes_its_bytes_both_ways() {
    let mut cloud = online_hex(json!({}));
    let seq = report_raw(&mut cloud, &[0xAB, 0]);
    let (id, payload) = cloud.expect_frame(REPORT, 18);
    assert_eq!(payload, "AB00");
    cloud.ack(REPORT_ACK, 18, &id, 200);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    for header_ctrl in [22, 24, 25] {
        let id = cloud.say(DOWN, header_ctrl, json!("00aB"));
        let (command, submitted) = cloud.host.expect_submit();
        assert_eq!(submitted.body, CommandBody::Raw(vec![0, 0xAB]));
        cloud.host.expect_silence();
        cloud.host.command_done(command);
        assert_eq!(cloud.expect_frame(DOWN_ACK, header_ctrl), (id, done()));
        cloud.host.expect_silence();
    }
}

#[test]
fn without_a_script_nobody_knows_the_hex_of_a_property() {
    let mut cloud = online_hex(json!({}));
    let seq = cloud.report(7);
    assert_eq!(cloud.host.expect_settle(), [seq]);
    cloud.host.expect_silence();
    cloud.host.advance(1_000);
    cloud.assert_fact("reports_without_words", "1");
}

#[test]
fn a_hex_report_is_repeated_and_refused_like_any_other_and_is_never_history() {
    let mut cloud = online_hex(json!({}));
    let seq = report_raw(&mut cloud, &[1]);
    cloud.expect(REPORT, 18);
    cloud.cut();
    cloud.host.advance_to_next_timeout();
    cloud.host.advance(200_000);
    cloud.come_online();
    let sent = cloud.expect(REPORT, 18);
    assert_eq!(sent.payload, "01");
    for _ in 0..2 {
        cloud.ack(REPORT_ACK, 18, &sent.id, 4001);
        cloud.host.advance(10_000);
        assert_eq!(cloud.expect(REPORT, 18).id, sent.id);
    }
    cloud.ack(REPORT_ACK, 18, &sent.id, 4001);
    assert_eq!(cloud.host.expect_settle(), [seq]);
}

#[test]
fn encrypted_hex_is_the_text_of_its_digits_or_the_bytes_they_mean() {
    for (input, plain) in [("utf8_text", "4142"), ("raw_bytes", "AB")] {
        let mut cloud = online_hex(json!({"encrypted": true, "hex_encrypt_input": input}));
        report_raw(&mut cloud, b"AB");
        let sent = cloud.expect(REPORT, 18);
        assert_eq!(cloud.open(&sent.payload), plain);
        let id = cloud.say_sealed_text(DOWN, 22, plain);
        let (command, submitted) = cloud.host.expect_submit();
        assert_eq!(submitted.body, CommandBody::Raw(b"AB".to_vec()));
        cloud.host.command_done(command);
        assert_eq!(cloud.expect_frame(DOWN_ACK, 22), (id, done()));
    }
}

#[test]
fn an_encrypted_product_never_takes_clear_hex() {
    for input in ["utf8_text", "raw_bytes"] {
        let mut cloud = online_hex(json!({"encrypted": true, "hex_encrypt_input": input}));
        let nothing = cloud.seal("");
        let clear = ["00", "0", "zz", "00000000000000000000000000000000"].map(|digits| json!(digits));
        for payload in clear.into_iter().chain([json!({}), json!(""), nothing]) {
            for header_ctrl in [22, 24, 25] {
                let id = cloud.say(DOWN, header_ctrl, payload.clone());
                assert_eq!(cloud.expect_frame(DOWN_ACK, header_ctrl), (id, failed()), "{payload}");
            }
        }
        cloud.host.expect_silence();
    }
    let mut cloud = online_hex(json!({"encrypted": true}));
    for plain in ["0", "no digits"] {
        let id = cloud.say_sealed_text(DOWN, 22, plain);
        assert_eq!(cloud.expect_frame(DOWN_ACK, 22), (id, failed()));
    }
}

#[test]
fn what_the_script_makes_of_an_encrypted_product_is_encrypted() {
    let mut cloud = with_script(json!({"encrypted": true}));
    cloud.report(7);
    let (call, _) = expect_encode(&mut cloud, 18);
    returns(&mut cloud, call, [0xAB]);
    let sent = cloud.expect(REPORT, 18);
    assert_eq!(cloud.open(&sent.payload), "AB");
    cloud.say_sealed_text(DOWN, 24, "0A");
    let (call, bytes) = expect_decode(&mut cloud, 24);
    assert_eq!(bytes, [0x0A]);
    returns(&mut cloud, call, r#"{"service":"reset"}"#);
    let (command, _) = cloud.host.expect_submit();
    cloud.host.command_done(command);
    let (call, json) = expect_encode(&mut cloud, 26);
    assert_eq!(json, json!({"service": "reset", "data": {}}));
    returns(&mut cloud, call, [0x26]);
    let sent = cloud.expect(REPORT, 26);
    assert_eq!(cloud.open(&sent.payload), "26");
}
