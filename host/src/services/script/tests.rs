//! What a script can do, and what it cannot, without threads and instances.

mod json;
mod limits;
mod real;

use std::sync::Arc;
use std::time::{Duration, Instant};

use polylink_plugin_api::services::script::{Value, values};
use proptest::prelude::*;

use super::super::ScriptLimits;
use super::machine::{Failed, Machine, Source};
use super::meter::Limit;

/// Runs `return <expression>` and holds what it returns against `expected`.
#[track_caller]
fn check(expression: &str, expected: &[Value]) {
    assert_eq!(run(&format!("function f() return {expression} end"), &[]), Ok(expected.to_vec()), "{expression}");
}

/// The expression raises an error with these words in it.
#[track_caller]
fn check_raises(expression: &str, words: &str) {
    match run(&format!("function f() return {expression} end"), &[]) {
        Err(Failed::Raised(text)) if text.contains(words) => {}
        other => panic!("{expression}: expected an error with `{words}`, not {other:?}"),
    }
}

/// The expression returns what cannot cross.
#[track_caller]
fn check_invalid(expression: &str, words: &str) {
    match run(&format!("function f() return {expression} end"), &[]) {
        Err(Failed::Invalid(text)) if text.contains(words) => {}
        other => panic!("{expression}: expected `{words}`, not {other:?}"),
    }
}

#[test]
fn every_kind_of_value_crosses_in_both_directions_unchanged() {
    let values = [Value::Nil, Value::Bool(false), Value::Int(-(1 << 53)), Value::Bytes(vec![0, 255, 0]), Value::Nil];
    assert_eq!(run("function f(...) return ... end", &values), Ok(values.to_vec()));
    check("select('#', f), #'a\\0b'", &[Value::Int(1), Value::Int(3)]);
    check("", &[]);
    check("-0", &[Value::Int(0)]);
}

#[test]
fn what_cannot_cross_fails_and_is_named() {
    check_invalid("1, 0.5", "result 2 is 0.5, which is no whole number");
    check_invalid("2^53 + 2", "beyond ±2^53");
    check_invalid("1/0", "no whole number");
    check_invalid("0/0", "no whole number");
    check_invalid("{}", "result 1 is a table");
    check_invalid("print", "result 1 is a function");
    check_invalid("cjson.null", "cannot cross");
    check_invalid("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "17 values, more than 16");
    check_invalid("unpack({}, 1, 500)", "500 values, more than 16");
    let many = "(function() local t = {} for i = 1, 7000 do t[i] = 's' .. i end return unpack(t) end)()";
    check_invalid(many, "7000 values, more than 16");
    let wide = limits(8 * 1024, 2_000_000);
    let long = run_with("function f() return ('x'):rep(600 * 1024) end", &[], &wide);
    assert!(matches!(&long, Err(Failed::Invalid(text)) if text.contains("bytes of values")), "{long:?}");
}

#[test]
fn the_globals_are_these_and_no_others() {
    let list = "function f(of) local t = {} for k in pairs(of and _G[of] or _G) do t[#t+1] = k end table.sort(t)
        return table.concat(t, ' ') end";
    let names = |of: Value| match run(list, &[of]).as_deref() {
        Ok([Value::Bytes(names)]) => String::from_utf8(names.clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        names(Value::Nil),
        "_G _VERSION assert bit cjson error f getmetatable ipairs math next pairs pcall print rawequal rawget rawset \
         require select setmetatable string table tonumber tostring type unpack xpcall"
    );
    assert_eq!(names(Value::text("string")), "byte char find format gmatch gsub len lower match rep reverse sub upper");
    assert_eq!(names(Value::text("cjson")), "decode encode null");
    assert!(names(Value::text("table")).contains("maxn"), "published scripts use it");
}

#[test]
fn there_is_no_way_to_files_processes_bytecode_or_other_code() {
    for gone in [
        "os",
        "io",
        "debug",
        "package",
        "coroutine",
        "load",
        "loadstring",
        "loadfile",
        "dofile",
        "getfenv",
        "setfenv",
        "collectgarbage",
        "newproxy",
        "module",
        "gcinfo",
        "string.dump",
    ] {
        check(&format!("{gone} == nil"), &[Value::Bool(true)]);
    }
    check_raises("require('os')", "there is no module 'os' here");
    check("require('cjson') == cjson and require 'bit' == bit", &[Value::Bool(true)]);
    check("getmetatable('').__index == string", &[Value::Bool(true)]);
}

#[test]
fn a_script_that_is_no_text_of_lua_is_not_loaded() {
    let failed = |source: &str| match load(source, &limits(1024, 2_000_000)) {
        Err(failed) => failed,
        Ok(_) => panic!("{source} was loaded"),
    };
    let Failed::Invalid(text) = failed("function f(\nreturn end") else {
        panic!("a syntax error is no error of the script")
    };
    assert_eq!(text, "product:2: <name> or '...' expected near 'return'");
    assert!(matches!(failed("\u{1b}Lua"), Failed::Invalid(_)));
    assert_eq!(failed("error('no device')"), Failed::Raised("product:1: no device".to_owned()));
    assert!(load("\u{feff}x = 1", &limits(1024, 2_000_000)).is_ok(), "a byte order mark is passed over");
}

#[test]
fn errors_are_told_in_one_line_without_asking_the_script_and_without_paths() {
    check_raises("error('first\\nsecond')", "first");
    let Err(Failed::Raised(text)) = run("function f() error('first\\nsecond') end", &[]) else {
        panic!("it must fail")
    };
    assert_eq!(text, "product:1: first");
    check_raises("error({code = 1})", "an error that is a table");
    check_raises(
        "error(setmetatable({}, {__tostring = function() while true do end end}))",
        "an error that is a table",
    );
    check_raises("error()", "an error that is a nil");
    check_raises("error(('x'):rep(1000), 0)", &"x".repeat(200));
    let Err(Failed::Raised(text)) = run("function f() error(('x'):rep(1000), 0) end", &[]) else {
        panic!("it must fail")
    };
    assert_eq!(text.len(), 200);
    check_raises("bit.band('no')", "bad argument");
    check_raises("nothing.at_all", "attempt to index global 'nothing'");
    assert_eq!(run("g = 1", &[]), Err(Failed::Invalid("the script has no function `f`".to_owned())));
}

#[test]
fn pcall_and_xpcall_catch_what_a_script_raises() {
    check("pcall(error, 'x')", &[Value::Bool(false), Value::text("x")]);
    check(
        "pcall(function(...) return ... end, 1, nil, 3)",
        &[Value::Bool(true), Value::Int(1), Value::Nil, Value::Int(3)],
    );
    check("xpcall(function() return 1, 2 end, print)", &[Value::Bool(true), Value::Int(1), Value::Int(2)]);
    check(
        "xpcall(function() error('x', 0) end, function(why) return why .. '!' end)",
        &[Value::Bool(false), Value::text("x!")],
    );
    check(
        "xpcall(function() error('x', 0) end, function() error('y', 0) end)",
        &[Value::Bool(false), Value::text("y")],
    );
    check("type(select(2, pcall(cjson.decode, '{')))", &[Value::text("string")]);
    check("type(select(2, pcall(bit.band, {})))", &[Value::text("string")]);
}

#[test]
fn strings_are_searched_as_lua_does_with_patterns_of_a_bounded_length() {
    check("('a.b'):find('.', 1, true)", &[Value::Int(2), Value::Int(2)]);
    check("('key=value'):match('(%w+)=(%w+)')", &[Value::text("key"), Value::text("value")]);
    check("(('a b c'):gsub('%s', '', 1))", &[Value::text("ab c")]);
    check("(('abc'):gsub('%w', '%0%0'))", &[Value::text("aabbcc")]);
    check("('a1b2'):gmatch('%d')()", &[Value::text("1")]);
    check("(''):rep(1e9), ('ab'):rep(2), ('x'):rep(-1)", &[Value::text(""), Value::text("abab"), Value::text("")]);
    for call in ["find", "match", "gmatch", "gsub"] {
        check_raises(&format!("('x'):{call}(('a?'):rep(200), '')"), "a pattern has at most 256 bytes here");
    }
    check("#('x'):rep(300):match(('x'):rep(256))", &[Value::Int(256)]);
    check("('x'):rep(300):find(('x'):rep(300), 1, true)", &[Value::Int(1), Value::Int(300)]);
}

#[test]
fn lists_are_unpacked_up_to_a_bound() {
    check("unpack({1, 2, 3})", &[1, 2, 3].map(Value::Int));
    check("unpack({1, 2, 3}, 2)", &[2, 3].map(Value::Int));
    check("unpack({1, 2, 3}, 3, 4)", &[Value::Int(3), Value::Nil]);
    check("unpack({1}, 5, 2)", &[]);
    check("select('#', unpack({}, 1, 7000))", &[Value::Int(7000)]);
    for range in ["1, 7001", "0, 2^31 - 1", "-2^31, 2^31 - 1", "1, 1/0", "-2^31, 0"] {
        check_raises(&format!("unpack({{}}, {range})"), "too many results to unpack");
    }
    check_raises("unpack()", "attempt to get length");
}

#[test]
fn bits_are_those_of_lua_bit_op() {
    // The examples of LuaBitOp's own page.
    for (expression, expected) in [
        ("bit.tobit(0xffffffff)", -1),
        ("bit.tobit(2^40 + 1234)", 1234),
        ("bit.bnot(0)", -1),
        ("bit.bnot(0x12345678)", 0xedcb_a987_u32.cast_signed()),
        ("bit.bor(1, 2, 4, 8)", 15),
        ("bit.band(0x12345678, 0xff)", 0x78),
        ("bit.bxor(0xa5a5f0f0, 0xaa55ff00)", 0x0ff0_0ff0),
        ("bit.lshift(1, 0)", 1),
        ("bit.lshift(1, 8)", 256),
        ("bit.lshift(1, 40)", 256),
        ("bit.rshift(256, 8)", 1),
        ("bit.rshift(-256, 8)", 16_777_215),
        ("bit.arshift(256, 8)", 1),
        ("bit.arshift(-256, 8)", -1),
        ("bit.rol(0x12345678, 12)", 0x4567_8123),
        ("bit.ror(0x12345678, 12)", 0x6781_2345),
        ("bit.bswap(0x12345678)", 0x7856_3412),
    ] {
        check(expression, &[Value::Int(i64::from(expected))]);
    }
    check("bit.tohex(1), bit.tohex(-1), bit.tohex(-1, -8)", &["00000001", "ffffffff", "FFFFFFFF"].map(Value::text));
    check(
        "bit.tohex(0x87654321, 4), bit.tohex(1, 99), bit.tohex(1, -2^40)",
        &["4321", "00000001", ""].map(Value::text),
    );
}

#[test]
fn globals_stay_between_calls() {
    let machine = load("n = 0 function f() n = n + 1 return n end", &limits(1024, 2_000_000)).unwrap();
    for n in 1..4 {
        assert_eq!(call(&machine, &[]), Ok(vec![Value::Int(n)]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_of_arguments_can_panic_a_script(bytes: Vec<u8>) {
        let machine = load("function f(...) return ... end", &limits(1024, 2_000_000)).unwrap();
        match (values::decode(&bytes), machine.call("f", &bytes, later())) {
            (Ok(_), Ok(returned)) => prop_assert_eq!(returned, bytes),
            (Err(_), Err(Failed::Invalid(_))) => {}
            (_, other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_text_can_panic_the_loader(text in ".{0,60}") {
        let _ = load(&text, &limits(256, 10_000));
    }
}

/// Loads a script and calls its `f`.
fn run(source: &str, arguments: &[Value]) -> Result<Vec<Value>, Failed> {
    run_with(source, arguments, &limits(1024, 2_000_000))
}

fn run_with(source: &str, arguments: &[Value], limits: &ScriptLimits) -> Result<Vec<Value>, Failed> {
    call(&load(source, limits)?, arguments)
}

fn load(source: &str, limits: &ScriptLimits) -> Result<Machine, Failed> {
    let text = source.to_owned();
    let source = Source { instance: "test".to_owned(), name: "product".to_owned(), text };
    Machine::load(&source, limits, Instant::now() + limits.timeout, &Arc::default())
}

fn call(machine: &Machine, arguments: &[Value]) -> Result<Vec<Value>, Failed> {
    let arguments = values::encode(arguments).expect("a test gives what can cross");
    let returned = machine.call("f", &arguments, later())?;
    Ok(values::decode(&returned).expect("what a script returned can be read"))
}

/// Limits of so many KiB and instructions; of time there is more than enough.
fn limits(memory_kib: usize, instructions: u64) -> ScriptLimits {
    ScriptLimits { memory_bytes: memory_kib * 1024, instructions, timeout: PATIENCE }
}

fn later() -> Instant {
    Instant::now() + PATIENCE
}

/// Only a limit against hanging; nothing is measured.
const PATIENCE: Duration = Duration::from_secs(60);
