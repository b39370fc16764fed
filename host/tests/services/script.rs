//! Scripts of a product, from the table to the answer.

use polylink_plugin_api::services::Script;
use polylink_plugin_api::services::script::values::{self, Value};
use polylink_plugin_api::services::script::{self, CALLS_MAX, SCRIPTS_MAX};

use super::*;

#[tokio::test]
async fn calls_made_before_a_script_is_loaded_are_answered_in_order() {
    let mut plugin = Plugin::new("script-order", true);
    let handle = load(&plugin, "n = 0 function f(text) n = n + 1 return n, text end");
    let calls: Vec<u64> = (0..10).map(|_| call(&plugin, handle, "f", &[Value::text("a\0b")])).collect();
    plugin.expect(Script::ID, script::LOADED, handle, 0).await;
    for (call, n) in calls.into_iter().zip(1..) {
        let event = plugin.expect(Script::ID, script::RETURNED, call, 0).await;
        assert_eq!(values::decode(&event.body), Ok(vec![Value::Int(n), Value::text("a\0b")]));
    }
    assert_eq!((plugin.usage().scripts, plugin.usage().calls, plugin.usage().handles), (1, 0, 0));
}

#[tokio::test]
async fn a_script_that_cannot_be_loaded_says_why_and_its_calls_fail() {
    let mut plugin = Plugin::new("script-broken", true);
    let handle = load(&plugin, "function (");
    let early = call(&plugin, handle, "f", &[]);
    let event = plugin.expect(Script::ID, FAILED, handle, HostRefusal::INVALID).await;
    assert_eq!(event.text, "product:1: '<name>' expected near '('");
    plugin.expect(Script::ID, FAILED, early, HostRefusal::UNKNOWN_HANDLE).await;
    let late = call(&plugin, handle, "f", &[]);
    plugin.expect(Script::ID, FAILED, late, HostRefusal::UNKNOWN_HANDLE).await;
    assert_eq!(plugin.usage().scripts, 0);
    for (name, source) in
        [("", "x = 1"), ("a\nb", "x = 1"), ("product", "\u{1b}Lua"), ("product", &" ".repeat(256 * 1024 + 1))]
    {
        let handle = (table::<Script>().load)(plugin.id, name.into(), source.into());
        plugin.expect(Script::ID, FAILED, handle, HostRefusal::INVALID).await;
    }
}

#[tokio::test]
async fn failures_say_whose_fault_they_are_and_the_script_goes_on() {
    let mut plugin = Plugin::with_scripts("script-failures", patient(60_000, 2_000_000));
    let handle = loaded(
        &mut plugin,
        "n = 0 function count() n = n + 1 return n end function raise() error('no such device', 0) end \
         function spin() n = 100 while true do pcall(spin) end end function fraction() return 0.5 end \
         function eat() local t = {} for i = 1, 1e9 do t[i] = {} end end",
    )
    .await;
    returns(&mut plugin, handle, "count", 1).await;
    let raised = call(&plugin, handle, "raise", &[]);
    let event = plugin.expect(Script::ID, FAILED, raised, HostRefusal::OTHER).await;
    assert_eq!(event.text, "no such device");
    for function in ["fraction", "nothing", "", "a\0"] {
        let refused = call(&plugin, handle, function, &[]);
        plugin.expect(Script::ID, FAILED, refused, HostRefusal::INVALID).await;
    }
    let no_values = (table::<Script>().call)(plugin.id, handle, "count".into(), [9_u8].as_slice().into());
    plugin.expect(Script::ID, FAILED, no_values, HostRefusal::INVALID).await;
    returns(&mut plugin, handle, "count", 2).await;
    for function in ["spin", "eat"] {
        let beyond = call(&plugin, handle, function, &[]);
        plugin.expect(Script::ID, FAILED, beyond, HostRefusal::QUOTA).await;
        returns(&mut plugin, handle, "count", 1).await;
    }
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_ended_and_the_script_run_anew() {
    let mut plugin = Plugin::with_scripts("script-slow", patient(100, u64::MAX));
    let handle = loaded(
        &mut plugin,
        "n = 0 function f() n = n + 1 return n end function spin() while true do n = n + 1 end end",
    )
    .await;
    returns(&mut plugin, handle, "f", 1).await;
    let slow = call(&plugin, handle, "spin", &[]);
    plugin.expect(Script::ID, FAILED, slow, HostRefusal::TIMEOUT).await;
    returns(&mut plugin, handle, "f", 1).await;
}

#[tokio::test]
async fn a_script_that_hangs_in_c_is_closed_and_the_host_goes_on() {
    let mut plugin = Plugin::with_scripts("script-hangs", patient(10, u64::MAX));
    let handle = loaded(&mut plugin, HANGS).await;
    let hanging = call(&plugin, handle, "f", &[]);
    let waiting = call(&plugin, handle, "f", &[]);
    let event = plugin.expect(Script::ID, FAILED, hanging, HostRefusal::TIMEOUT).await;
    assert!(event.text.contains("it is closed"), "{}", event.text);
    plugin.expect(Script::ID, FAILED, waiting, HostRefusal::UNKNOWN_HANDLE).await;
    let late = call(&plugin, handle, "f", &[]);
    plugin.expect(Script::ID, FAILED, late, HostRefusal::UNKNOWN_HANDLE).await;
    assert_eq!(plugin.usage().scripts, 0);
    // Three more, and there are as many as may be.
    let more = [(); 3].map(|()| load(&plugin, HANGS));
    for _ in more {
        plugin.expect_any(&more.map(|handle| (script::LOADED, handle))).await;
    }
    let calls = more.map(|handle| call(&plugin, handle, "f", &[]));
    for _ in calls {
        plugin.expect_any(&calls.map(|call| (FAILED, call))).await;
    }
    let refused = load(&plugin, "x = 1");
    let event = plugin.expect(Script::ID, FAILED, refused, HostRefusal::QUOTA).await;
    assert_eq!(event.text, "4 scripts hang in a call that cannot be interrupted; no more are loaded");
}

#[tokio::test]
async fn scripts_and_calls_beyond_the_quota_are_refused() {
    let mut plugin = Plugin::with_scripts("script-quota", patient(60_000, u64::MAX));
    let mut handles = Vec::new();
    for _ in 0..SCRIPTS_MAX {
        handles.push(loaded(&mut plugin, "function spin() while true do end end").await);
    }
    let refused = load(&plugin, "x = 1");
    plugin.expect(Script::ID, FAILED, refused, HostRefusal::QUOTA).await;
    // None of them runs before this test awaits something.
    let calls: Vec<u64> = (0..=CALLS_MAX).map(|_| call(&plugin, handles[0], "spin", &[])).collect();
    let event = plugin.expect(Script::ID, FAILED, calls[CALLS_MAX], HostRefusal::QUOTA).await;
    assert!(event.text.contains("64 calls wait"), "{}", event.text);
    (table::<Script>().unload)(plugin.id, handles[1]);
    let handle = loaded(&mut plugin, "x = 1").await;
    assert_eq!(plugin.usage().scripts, SCRIPTS_MAX);
    (table::<Script>().unload)(plugin.id, handle);
}

#[tokio::test]
async fn unloading_answers_every_call_and_says_nothing_of_the_script() {
    let mut plugin = Plugin::with_scripts("script-unload", patient(60_000, u64::MAX));
    let handle = loaded(&mut plugin, "function spin() while true do pcall(spin) end end").await;
    let calls = [(); 3].map(|()| call(&plugin, handle, "spin", &[]));
    (table::<Script>().unload)(plugin.id, handle);
    for call in calls {
        plugin.expect(Script::ID, FAILED, call, HostRefusal::CLOSED).await;
    }
    (table::<Script>().unload)(plugin.id, handle);
    let late = call(&plugin, handle, "spin", &[]);
    plugin.expect(Script::ID, FAILED, late, HostRefusal::UNKNOWN_HANDLE).await;
    assert_eq!(plugin.usage().scripts, 0);
}

#[tokio::test]
async fn the_end_of_an_instance_ends_its_scripts_silently() {
    for drained in [true, false] {
        let mut plugin = Plugin::with_scripts("script-end", patient(60_000, u64::MAX));
        let handle = loaded(&mut plugin, "function spin() while true do pcall(spin) end end").await;
        call(&plugin, handle, "spin", &[]);
        call(&plugin, handle, "spin", &[]);
        if drained {
            plugin.services.drain(plugin.id, PATIENCE).await;
        } else {
            plugin.services.close(plugin.id);
        }
        assert_eq!(plugin.usage(), Usage::default());
        assert!(plugin.events.try_recv().is_err(), "nobody is left to hear");
        let late = load(&plugin, "x = 1");
        assert!(late != 0 && plugin.events.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_script_of_another_instance_is_not_there() {
    let mut owner = Plugin::new("script-owner", true);
    let mut other = Plugin::new("script-other", true);
    let handle = loaded(&mut owner, "function f() return 1 end").await;
    let refused = call(&other, handle, "f", &[]);
    other.expect(Script::ID, FAILED, refused, HostRefusal::UNKNOWN_HANDLE).await;
    (table::<Script>().unload)(other.id, handle);
    returns(&mut owner, handle, "f", 1).await;
}

impl Plugin {
    fn with_scripts(name: &str, scripts: ScriptLimits) -> Self {
        Self::with(name, true, Arc::new(Hooks), scripts)
    }

    /// The next event must be one of these.
    async fn expect_any(&mut self, expected: &[(u32, u64)]) {
        let event = self.next().await;
        assert!(expected.contains(&(event.kind, event.token)), "{event:?}");
    }
}

async fn loaded(plugin: &mut Plugin, source: &str) -> u64 {
    let handle = load(plugin, source);
    plugin.expect(Script::ID, script::LOADED, handle, 0).await;
    handle
}

fn load(plugin: &Plugin, source: &str) -> u64 {
    (table::<Script>().load)(plugin.id, "product".into(), source.into())
}

fn call(plugin: &Plugin, script: u64, function: &str, arguments: &[Value]) -> u64 {
    let arguments = values::encode(arguments).unwrap();
    (table::<Script>().call)(plugin.id, script, function.into(), arguments.as_slice().into())
}

async fn returns(plugin: &mut Plugin, script: u64, function: &str, expected: i64) {
    let call = call(plugin, script, function, &[]);
    let event = plugin.expect(Script::ID, script::RETURNED, call, 0).await;
    assert_eq!(values::decode(&event.body), Ok(vec![Value::Int(expected)]));
}

fn patient(timeout_ms: u64, instructions: u64) -> ScriptLimits {
    ScriptLimits { instructions, timeout: Duration::from_millis(timeout_ms), ..ScriptLimits::default() }
}

/// Backtracks in C for a while: far longer than its limit, but not for ever.
const HANGS: &str = "function f() return (('a'):rep(88):find('^' .. ('a*'):rep(6) .. 'b')) end";
