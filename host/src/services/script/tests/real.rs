//! Scripts as products have them. Both are ours: `jds2pri` and `pri2jds` have the form that JoyLink's scripts have.

use super::*;

#[track_caller]
fn check_call(machine: &Machine, function: &str, arguments: &[Value], expected: &[Value]) {
    let encoded = values::encode(arguments).unwrap();
    let returned = machine.call(function, &encoded, later()).expect("it returns");
    assert_eq!(values::decode(&returned).unwrap(), expected, "{function}");
}

#[test]
fn a_pass_through_script_returns_what_it_got() {
    let machine = load(include_str!("pass_through.lua"), &limits(1024, 2_000_000)).unwrap();
    let text = Value::text(r#"{"streams":[{"stream_id":"power","current_value":"1"}]}"#);
    let n = Value::Int(55);
    check_call(&machine, "jds2pri", &[Value::Int(1002), text.clone()], &[Value::Int(0), n.clone(), text.clone()]);
    check_call(&machine, "pri2jds", &[Value::Int(102), n, text.clone()], &[Value::Int(0), text, Value::Int(102)]);
    let payload = Value::Bytes((0..=255).cycle().take(65_536).collect());
    check_call(
        &machine,
        "pri2jds",
        &[Value::Int(104), Value::Int(65_536), payload.clone()],
        &[Value::Int(0), payload, Value::Int(104)],
    );
}

#[test]
fn a_script_converts_commands_to_a_frame_of_bytes() {
    let machine = load(include_str!("lamp.lua"), &limits(1024, 2_000_000)).unwrap();
    let command = |text: &str| [Value::Int(1002), Value::text(text)];
    check_call(
        &machine,
        "jds2pri",
        &command(r#"{"streams":[{"stream_id":"power","current_value":"1"},{"stream_id":"level","current_value":80}]}"#),
        &[Value::Int(0), Value::Int(8), Value::Bytes(vec![0xA5, 0x02, 0x01, 0x01, 0x02, 0x50, 0x00, 0xFB])],
    );
    check_call(
        &machine,
        "jds2pri",
        &[Value::Int(1004), Value::text("")],
        &[Value::Int(0), Value::Int(4), Value::Bytes(vec![0xA5, 0x04, 0x00, 0xA9])],
    );
    for wrong in ["{", "{}", r#"{"streams":[{"stream_id":"colour","current_value":1}]}"#] {
        check_call(&machine, "jds2pri", &command(wrong), &[Value::Int(-1), Value::Int(0), Value::text("")]);
    }
}

#[test]
fn a_script_converts_a_frame_of_bytes_to_json() {
    let machine = load(include_str!("lamp.lua"), &limits(1024, 2_000_000)).unwrap();
    let frame = Value::Bytes(vec![0xA5, 0x68, 0x01, 0x00, 0x02, 0x50, 0x00, 0x60]);
    let text = r#"{"code":0,"streams":[{"current_value":"0","stream_id":"power"},{"current_value":"80","stream_id":"level"}]}"#;
    let encoded = values::encode(&[Value::Int(0), Value::Int(8), frame]).unwrap();
    let returned = values::decode(&machine.call("pri2jds", &encoded, later()).unwrap()).unwrap();
    let [Value::Int(0), Value::Bytes(json), Value::Int(104)] = &returned[..] else { panic!("{returned:?}") };
    // The order of members is not said.
    let parsed = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(json), parsed(text.as_bytes()));
    let broken = Value::Bytes(vec![0xA5, 0x68, 0x01, 0x00, 0x02, 0x50, 0x00, 0x61]);
    check_call(
        &machine,
        "pri2jds",
        &[Value::Int(0), Value::Int(8), broken],
        &[Value::Int(-1), Value::text(""), Value::Int(0)],
    );
}

#[test]
fn a_payload_of_64_kib_is_converted_within_the_default_limits_and_one_of_256_kib_with_four_times_as_much() {
    let ScriptLimits { memory_bytes, instructions, .. } = ScriptLimits::default();
    let memory_kib = memory_bytes / 1024;
    for (n_bytes, limits) in
        [(64 * 1024, limits(memory_kib, instructions)), (256 * 1024, limits(4 * memory_kib, 4 * instructions))]
    {
        let machine = load(include_str!("hex.lua"), &limits).unwrap();
        let payload = Value::Bytes((0..=255).cycle().take(n_bytes).collect());
        for _ in 0..3 {
            let encoded = values::encode(std::slice::from_ref(&payload)).unwrap();
            let text = machine.call("encode", &encoded, later()).unwrap();
            let payload_again = machine.call("decode", &text, later()).unwrap();
            assert_eq!(values::decode(&payload_again), Ok(vec![payload.clone()]));
        }
    }
}
