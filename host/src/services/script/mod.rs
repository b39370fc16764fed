//! `polylink.script/1`: Lua 5.1 scripts of a product, each in a state and on a thread of its own.
//!
//! Module map: [`queue`] the calls that wait · [`worker`] the thread · [`machine`] the state of Lua and its limits ·
//! [`meter`] what a call has used · [`sandbox`] what a script finds, with `prelude.lua`, [`json`] and [`bits`].
//!
//! Invariants: no Lua on the I/O runtime; a script has no way out of its state but the values it returns and bounded lines
//! of the debug log; each call has one answer.

mod bits;
mod json;
mod machine;
mod meter;
mod queue;
mod sandbox;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use polylink_plugin_api::abi_stable::std_types::{RSlice, RStr};
use polylink_plugin_api::services::Script;
use polylink_plugin_api::services::script::values::ENCODED_MAX;
use polylink_plugin_api::services::script::{LOADED, NAME_MAX, RETURNED, SOURCE_MAX};
use polylink_plugin_api::{Extension, HostRefusal, InstanceId};

use self::machine::Source;
use self::queue::{Call, gone};
use self::worker::Worker;
use super::OwnedEvent;
use super::registry::{Instance, Port, Refusal, with_instance, with_token};

pub(super) use self::queue::Queue;
pub(super) use self::worker::Workers;

/// The table.
pub(super) static TABLE: Script = Script { load, call, unload };

extern "C" fn load(id: InstanceId, name: RStr<'_>, source: RStr<'_>) -> u64 {
    with_token(id, |instance, token| {
        let admitted = check(name.as_str(), source.as_str()).and_then(|()| instance.workers.admit()).and_then(|()| {
            let (name, text) = (name.to_string(), source.to_string());
            let source = Source { instance: instance.name.clone(), name, text };
            let queue = Arc::new(Queue::default());
            let task = run(Arc::clone(instance), token, Arc::clone(&queue), source);
            instance.admit(token, Port::Script(queue), task)
        });
        if let Err(refusal) = admitted {
            instance.fail(Script::ID, token, refusal);
        }
    })
}

extern "C" fn call(id: InstanceId, script: u64, function: RStr<'_>, arguments: RSlice<'_, u8>) -> u64 {
    with_token(id, |instance, token| {
        let put = check_name(function.as_str()).and_then(|()| {
            let Some(Port::Script(queue)) = instance.port(script) else { return Err(gone()) };
            if arguments.len() > ENCODED_MAX {
                return Err(Refusal::invalid(format!("the arguments are longer than {ENCODED_MAX} bytes")));
            }
            queue.put(Call { token, function: function.to_string(), arguments: arguments.to_vec() })
        });
        if let Err(refusal) = put {
            instance.fail(Script::ID, token, refusal);
        }
    })
}

extern "C" fn unload(id: InstanceId, script: u64) {
    with_instance(id, (), |instance| {
        let Some(Port::Script(queue)) = instance.port(script) else { return };
        if instance.abort(script) {
            fail_calls(instance, &queue, &Refusal::new(HostRefusal::CLOSED, "the script was unloaded"));
        }
    });
}

fn check(name: &str, source: &str) -> Result<(), Refusal> {
    check_name(name)?;
    if source.len() > SOURCE_MAX {
        return Err(Refusal::invalid(format!("the script has {} bytes, at most {SOURCE_MAX} are taken", source.len())));
    }
    // LUA_SIGNATURE begins with it. Lua 5.1 does not verify bytecode, which could read and write all memory.
    if source.trim_start_matches('\u{feff}').starts_with('\u{1b}') {
        return Err(Refusal::invalid("the script is bytecode; only text is taken"));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > NAME_MAX || name.contains(char::is_control) {
        let shown: String = name.chars().take(NAME_MAX).collect();
        let text =
            format!("`{}` is no name; it has 1 to {NAME_MAX} bytes, no control characters", shown.escape_debug());
        return Err(Refusal::invalid(text));
    }
    Ok(())
}

/// The life of a script.
async fn run(instance: Arc<Instance>, token: u64, queue: Arc<Queue>, source: Source) {
    let started = Worker::start(&instance.workers, &instance.runtime, source).await;
    let worker = match started {
        Ok(worker) => worker,
        Err(refusal) => {
            if instance.release(token) {
                instance.fail(Script::ID, token, refusal);
                fail_calls(&instance, &queue, &gone());
            }
            return;
        }
    };
    if queue.loaded() {
        instance.complete(Script::ID, LOADED, token, 0, "");
    }
    loop {
        let Call { token: call, function, arguments } = queue.next().await;
        let answer = worker.call(function, arguments).await;
        let hangs = answer.is_none();
        // Out of the table first: who hears that it hangs may load it again at once.
        if hangs && !instance.release(token) {
            return;
        }
        if queue.finish(call) {
            match answer.unwrap_or_else(|| Err(worker::hangs())) {
                Ok(body) => instance.sink.complete(OwnedEvent {
                    source: Script::ID,
                    kind: RETURNED,
                    token: call,
                    body,
                    ..OwnedEvent::default()
                }),
                Err(refusal) => instance.fail(Script::ID, call, refusal),
            }
        }
        if hangs {
            fail_calls(&instance, &queue, &gone());
            return;
        }
    }
}

/// Tells the end of a script whose handle has left the table.
pub(super) fn end(instance: &Instance, token: u64, queue: &Queue, why: Refusal) {
    if !queue.is_loaded() {
        instance.fail(Script::ID, token, why.clone());
    }
    fail_calls(instance, queue, &why);
}

fn fail_calls(instance: &Instance, queue: &Queue, why: &Refusal) {
    for call in queue.close() {
        instance.fail(Script::ID, call, why.clone());
    }
}

/// The first line of what a script says, for people.
fn shown(text: &[u8]) -> String {
    let first = text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let first = String::from_utf8_lossy(&first[..first.len().min(SHOWN_MAX)]);
    first.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

/// Most bytes of it. Not documented; chosen by us: a sentence with a position.
const SHOWN_MAX: usize = 200;
