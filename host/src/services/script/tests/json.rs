//! `cjson`, as scripts see it.

use super::*;

#[track_caller]
fn check_encodes(expression: &str, text: &str) {
    check(&format!("cjson.encode({expression})"), &[Value::text(text)]);
}

#[test]
fn tables_become_arrays_or_objects() {
    check_encodes("{1, 'a', true, cjson.null}", "[1,\"a\",true,null]");
    check_encodes("{}", "{}");
    check_encodes("{a = {b = {}}}", "{\"a\":{\"b\":{}}}");
    check_encodes("{[1] = 1, [3] = 3}", "[1,null,3]");
    check_encodes("{[7] = 'x', a = 1, nil} ~= nil", "true");
    check_encodes("{['1'] = 2}", "{\"1\":2}");
    check_encodes("{[0] = 2}", "{\"0\":2}");
    check_raises("cjson.encode({[1000] = 1})", "more holes than elements");
    check_raises("cjson.encode({print})", "a function cannot be JSON");
    check_raises("cjson.encode({[true] = 1})", "a boolean cannot be a key");
}

#[test]
fn whole_numbers_are_written_without_a_point_and_fractions_as_they_are_meant() {
    for (number, text) in [
        ("1", "1"),
        ("-0", "0"),
        ("2^53", "9007199254740992"),
        ("100 / 4", "25"),
        ("0.1 + 0.2", "0.3"),
        ("-2.5", "-2.5"),
        ("1e300", "1e300"),
        ("1.5e-10", "1.5e-10"),
        ("2 / 3", "0.66666666666667"),
    ] {
        check_encodes(number, text);
    }
    check_raises("cjson.encode(1/0)", "the number inf cannot be JSON");
    check_raises("cjson.encode(0/0)", "cannot be JSON");
}

#[test]
fn strings_are_written_so_that_they_can_be_read_again() {
    check_encodes("'\"\\\\ / \\n\\r\\t'", r#""\"\\ / \n\r\t""#);
    check_encodes("'a\\0b\\127'", r#""a\u0000b\u007f""#);
    check_encodes("'\u{fc}'", "\"\u{fc}\"");
    check(r#"#cjson.decode('"a\\u0000b"')"#, &[Value::Int(3)]);
    check(r#"cjson.decode('"\\u00fc\\ud83d\\ude00"')"#, &[Value::text("\u{fc}\u{1f600}")]);
}

#[test]
fn a_text_is_read_also_by_a_method() {
    check("cjson.decode('{\"a\":[1,2,{\"b\":true}]}').a[3].b", &[Value::Bool(true)]);
    check("cjson:decode('[5]')[1], cjson:encode({6})", &[Value::Int(5), Value::text("[6]")]);
    check("cjson.decode('[null]')[1] == cjson.null", &[Value::Bool(true)]);
    check("cjson.decode(' 1 '), cjson.decode('1.5') * 2, cjson.decode('-0')", &[1, 3, 0].map(Value::Int));
    check("cjson.decode('{\"a\":1,\"a\":2}').a", &[Value::Int(2)]);
    for wrong in ["", "{", "[1,]", "nul", "1 2", "'a'", "{1:2}"] {
        check_raises(&format!("cjson.decode([==[{wrong}]==])"), "not acceptable as JSON");
    }
    check_raises("cjson.decode('\"\\255\"')", "not acceptable as JSON");
    check_raises("cjson.decode()", "a JSON text was expected, not a nil");
    check_raises("cjson:decode({})", "not a table");
}

#[test]
fn a_number_that_would_become_another_one_is_an_error() {
    check("cjson.decode('9007199254740992')", &[Value::Int(1 << 53)]);
    for number in ["9007199254740993", "-9007199254740993", "18446744073709551615", "123456789012345678901234567890"] {
        check_raises(&format!("cjson.decode('[{number}]')"), "beyond ±2^53");
    }
    check("cjson.decode('0.1') == 0.1", &[Value::Bool(true)]);
}

#[test]
fn depth_is_bounded_in_both_directions() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    check(&format!("type(cjson.decode('{}'))", nested(127)), &[Value::text("table")]);
    check_raises(&format!("cjson.decode('{}')", nested(128)), "recursion limit");
    check_raises("(function() local t = {} t[1] = t return cjson.encode(t) end)()", "nested more than 100 deep");
}

#[test]
fn a_text_that_could_not_be_returned_is_not_written() {
    let shared = "(function() local t = {1} for i = 1, 60 do t = {t, t} end return cjson.encode(t) end)()";
    check_raises(shared, "the text is longer than");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_text_can_panic_the_reader(text in "[\\[\\]{}:,\"0-9eE.+a-z\\\\ -]{0,80}") {
        let machine = load("function f(s) return pcall(cjson.decode, s) and 1 end", &limits(1024, 2_000_000)).unwrap();
        prop_assert!(call(&machine, &[Value::text(text)]).is_ok());
    }

    #[test]
    fn every_string_survives(bytes in "\\PC{0,40}") {
        let machine = load("function f(s) return cjson.decode(cjson.encode(s)) end", &limits(1024, 2_000_000)).unwrap();
        prop_assert_eq!(call(&machine, &[Value::text(bytes.clone())]), Ok(vec![Value::text(bytes)]));
    }
}
