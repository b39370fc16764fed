//! What a script may use, and that nothing it does lets it use more.

use super::*;

/// The script goes beyond this limit when `f` is called.
#[track_caller]
fn check_reaches(limit: Limit, body: &str) {
    let ended = run(&format!("function f() {body} end"), &[]);
    assert_eq!(ended, Err(Failed::Reached(limit)), "{body}");
}

#[test]
fn a_loop_without_end_is_ended() {
    check_reaches(Limit::Instructions, "while true do end");
    check_reaches(Limit::Instructions, "for i = 1, 1e12 do end");
    check_reaches(Limit::Instructions, "local function g() return g() end g()");
    check_reaches(Limit::Instructions, "repeat until false");
    check_reaches(
        Limit::Instructions,
        "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
    );
    check_reaches(Limit::Instructions, "table.sort({1,2,3}, function() while true do end end)");
    check_reaches(Limit::Instructions, "('x'):gsub('x', function() while true do end end)");
    assert_eq!(run("while true do end", &[]), Err(Failed::Reached(Limit::Instructions)), "also while it is loaded");
}

#[test]
fn no_pcall_lets_a_script_outlive_its_limit() {
    let spin = "function() while true do end end";
    for body in [
        format!("while true do pcall({spin}) end"),
        format!("while true do xpcall({spin}, print) end"),
        format!("pcall({spin}) return 1"),
        format!("xpcall({spin}, {spin})"),
        format!("xpcall({spin}, function() return 1 end) return 1"),
        format!("xpcall(function() error('x') end, {spin})"),
        format!("pcall(pcall, pcall, {spin}) return 1"),
        format!("while true do pcall(string.gsub, 'x', 'x', {spin}) end"),
        format!("while true do pcall(table.sort, {{3,2,1}}, {spin}) end"),
        format!("while true do xpcall({spin}, function() pcall({spin}) end) end"),
        format!("local pcall = pcall; pcall(function() _G.pcall = nil; ({spin})() end) return 1"),
        "local function g() pcall(g) while true do end end g()".to_owned(),
        format!("setmetatable(_G, {{__index = {spin}}}) while true do pcall(function() return nothing end) end"),
    ] {
        check_reaches(Limit::Instructions, &body);
    }
}

#[test]
fn no_pcall_lets_a_script_outlive_its_memory() {
    let eat = "local t = {} while true do t[#t+1] = ('x'):rep(10000) .. #t end";
    check_reaches(Limit::Memory, eat);
    check_reaches(Limit::Memory, &format!("pcall(function() {eat} end) return 1"));
    check_reaches(Limit::Memory, &format!("while true do pcall(function() {eat} end) end"));
    check_reaches(Limit::Memory, &format!("xpcall(function() {eat} end, function() return 1 end) return 1"));
    check_reaches(Limit::Memory, "pcall(string.rep, 'x', 2^30) return 1");
    check_reaches(Limit::Memory, "pcall(cjson.decode, '[' .. ('[],'):rep(100000) .. '[]]') return 1");
}

#[test]
fn bombs_of_every_kind_run_into_the_memory_limit() {
    check_reaches(Limit::Memory, "return ('x'):rep(2^31 - 1)");
    check_reaches(Limit::Memory, "return ('x'):rep(1e9)");
    check_reaches(Limit::Memory, "local s = 'x' while true do s = s .. s end");
    check_reaches(Limit::Memory, "local t = {} for i = 1, 1e7 do t[i] = {} end");
    check_reaches(Limit::Memory, "local t = {} for i = 1, 1e7 do t['k' .. i] = i end");
    check_reaches(Limit::Memory, "return table.concat({('x'):rep(4e5), ('y'):rep(4e5)})");
    check_reaches(Limit::Memory, "return (('x'):rep(1e5):gsub('x', '%0%0%0%0%0%0%0%0%0%0'))");
    check_reaches(Limit::Memory, "return cjson.decode('[' .. ('[],'):rep(100000) .. '[]]')");
    let deep = "local t = {} for i = 1, 1e6 do t = {t} end";
    check_reaches(Limit::Memory, deep);
    let small = limits(256, 2_000_000);
    let ended = run_with("function f(s) return s end", &[Value::Bytes(vec![0; 300_000])], &small);
    assert_eq!(ended, Err(Failed::Reached(Limit::Memory)), "arguments count too");
    let large = format!("t = {{ {} }}", "'some text', ".repeat(20_000));
    assert_eq!(load(&large, &small).err(), Some(Failed::Reached(Limit::Memory)), "and the script itself");
}

#[test]
fn deep_recursion_is_an_error_or_a_limit_and_never_the_end_of_the_thread() {
    let wide = limits(65_536, 50_000_000);
    for (body, words) in [
        ("local function g() return 1 + g() end g()", "stack overflow"),
        ("local function g() return pcall(g) end return select('#', g())", ""),
        ("local function g() return (('x'):gsub('x', g)) end g()", "C stack overflow"),
        ("local function g() return (('x'):rep(500):gsub(('x?'):rep(100), g)) end g()", "C stack overflow"),
        ("local function g() table.sort({3, 2, 1}, g) end g()", "C stack overflow"),
        ("local t = {} setmetatable(t, {__index = t}) return t.x", "loop in gettable"),
        ("local t = {} setmetatable(t, {__index = function(t, k) return t[k] end}) return t.x", "C stack overflow"),
    ] {
        // With the stack that scripts have, and not with that of a test's thread.
        let body = body.to_owned();
        let thread = std::thread::Builder::new().stack_size(super::super::worker::STACK);
        let (source, wide) = (format!("function f() {body} end"), wide.clone());
        let ended = thread.spawn(move || run_with(&source, &[], &wide)).unwrap().join().unwrap();
        match ended {
            Err(Failed::Raised(text)) if text.contains(words) => {}
            Ok(_) if words.is_empty() => {}
            other => panic!("{body}: {other:?}"),
        }
    }
    let deep = format!("function f() return {}1{} end", "(".repeat(5000), ")".repeat(5000));
    assert!(matches!(run(&deep, &[]), Err(Failed::Invalid(text)) if text.contains("too many syntax levels")));
}

#[test]
fn a_call_that_takes_too_long_is_ended() {
    let soon = ScriptLimits { memory_bytes: 1024 * 1024, instructions: u64::MAX, timeout: Duration::from_millis(20) };
    assert_eq!(load("while true do end", &soon).err(), Some(Failed::Reached(Limit::Time)));
    let machine = load("function f() while true do pcall(f) end end", &limits(1024, u64::MAX)).unwrap();
    let ended = machine.call("f", &[], Instant::now() + Duration::from_millis(20));
    assert_eq!(ended, Err(Failed::Reached(Limit::Time)));
}

#[test]
fn a_script_that_nobody_wants_any_more_ends_at_once() {
    let unwanted = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let text = "while true do pcall(function() while true do end end) end".to_owned();
    let source = Source { instance: "test".to_owned(), name: "product".to_owned(), text };
    let ended = Machine::load(&source, &limits(1024, u64::MAX), later(), &unwanted);
    assert_eq!(ended.err(), Some(Failed::Reached(Limit::Unwanted)));
}

#[test]
fn what_a_call_leaves_behind_as_garbage_does_not_count_for_the_next() {
    let source = "function f(s) local t = {} for i = 1, 20 do t[i] = s .. i end return #t end";
    let machine = load(source, &limits(1024, 2_000_000)).unwrap();
    let before = machine.used_memory();
    for _ in 0..50 {
        assert_eq!(call(&machine, &[Value::Bytes(vec![1; 20_000])]), Ok(vec![Value::Int(20)]));
    }
    assert!(before < 128 * 1024, "an empty script has {before} bytes");
}

#[test]
fn the_limits_are_told_in_words() {
    let limits = ScriptLimits::default();
    let told = |limit| Failed::Reached(limit).refusal(&limits).text;
    assert_eq!(told(Limit::Memory), "the script needs more than its 1024 KiB of memory");
    assert_eq!(told(Limit::Instructions), "the script needs more than its 2000000 instructions");
    assert_eq!(told(Limit::Time), "the script needs more than its 1000 ms");
}

#[test]
fn wherever_memory_runs_out_the_answer_is_the_same() {
    let (mut n_short, mut n_enough) = (0, 0);
    for memory_bytes in (30 * 1024..260 * 1024).step_by(499) {
        let limits = ScriptLimits { memory_bytes, ..limits(0, 2_000_000) };
        match run_with(include_str!("everything.lua"), &[Value::Bytes(vec![7; 500])], &limits) {
            Ok(_) => n_enough += 1,
            Err(Failed::Reached(Limit::Memory)) => n_short += 1,
            other => panic!("with {memory_bytes} bytes: {other:?}"),
        }
    }
    assert!(n_short > 0 && n_enough > 0);
}
