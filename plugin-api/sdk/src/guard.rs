//! No panic leaves a plugin: [`run`] stands round every entry and turns a panic into a [`Fault`].
//!
//! What it cannot hold: a second panic while the first unwinds, a stack overflow, an `abort`. A library has its own
//! standard library and so its own panic hook; [`install_hook`] puts one there that notes message and place for the
//! fault. Panics elsewhere (a thread of the plugin's own) go to the log of an instance that was [`adopt`]ed, and to the
//! hook that was there before otherwise.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use polylink_plugin_api::{Fault, FaultCode, HostBox, InstanceId, LogLevel};

/// Runs `body` and hands a panic over as a fault that names `entry`, the place and the message.
///
/// # Errors
/// `body` panicked.
pub fn run<R>(entry: &str, body: impl FnOnce() -> R) -> Result<R, Fault> {
    install_hook();
    let _inside = Inside::enter();
    take_note();
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let noted = take_note().unwrap_or_else(|| payload_text(&*payload).to_owned());
        discard(payload);
        Fault::new(FaultCode::PANIC, format!("panicked in `{entry}`, {noted}"))
    })
}

/// Sends panics outside of every entry to this instance's log, until it is released. The exported `create` calls it.
pub fn adopt(instance: InstanceId, host: &HostBox) {
    hosts().insert(instance, host.clone());
}

/// Lets the host of an instance go that has ended.
pub fn release(instance: InstanceId) {
    let released = hosts().remove(&instance);
    // Only now, with the lock free: the host's own drop is not ours to know.
    drop(released);
}

/// Installs the hook, once per library.
pub fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(|| "somewhere".to_owned(), ToString::to_string);
            let noted = format!("at {place}: {}", shortened(payload_text(info.payload())));
            if DEPTH.try_with(Cell::get).unwrap_or(0) > 0 {
                // The first panic is the cause; one while unwinding would hide it.
                let _ = NOTED.try_with(|slot| slot.borrow_mut().get_or_insert(noted).len());
            } else if !log_to_host(&noted) {
                previous(info);
            }
        }));
    });
}

/// Whether there was a host to tell. `try_lock`, because the panic may have struck inside [`adopt`].
fn log_to_host(noted: &str) -> bool {
    let Ok(hosts) = HOSTS.try_lock() else { return false };
    let Some((_, host)) = hosts.last_key_value() else { return false };
    host.log(LogLevel::ERROR, format!("a thread of the plugin panicked {noted}").as_str().into());
    true
}

/// What the hook noted on this thread.
fn take_note() -> Option<String> {
    NOTED.try_with(RefCell::take).ok().flatten()
}

fn payload_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// A payload of a foreign type is forgotten: its own drop could panic again, outside of the guard.
fn discard(payload: Box<dyn Any + Send>) {
    if !payload.is::<&str>() && !payload.is::<String>() {
        std::mem::forget(payload);
    }
}

fn shortened(text: &str) -> &str {
    let end = (0..=MESSAGE_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// Marks the thread as being inside an entry, until dropped.
struct Inside;

impl Inside {
    fn enter() -> Self {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get().saturating_sub(1)));
    }
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static NOTED: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn hosts() -> MutexGuard<'static, BTreeMap<InstanceId, HostBox>> {
    HOSTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The hosts of the instances that live; nobody can tell which of them a stray thread belongs to, so the youngest hears
/// of it.
static HOSTS: Mutex<BTreeMap<InstanceId, HostBox>> = Mutex::new(BTreeMap::new());

/// Bytes of a panic's message that are kept; the rest is cut off. Not documented; chosen by us: a sentence or two, so
/// that no payload gets into the log in full.
const MESSAGE_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: fn(), says: &[&str]) {
        let fault = run("timeout", body).expect_err("the body panics");
        assert_eq!(fault.code, FaultCode::PANIC);
        for part in says {
            assert!(fault.message.contains(part), "{} does not say {part}", fault.message);
        }
    }

    #[test]
    fn the_fault_names_the_entry_the_place_and_the_message() {
        check(|| panic!("valve {} stuck", 7), &["`timeout`", "guard.rs:", "valve 7 stuck"]);
        check(|| panic!("plain text"), &["plain text"]);
        check(|| std::panic::panic_any(5_u8), &["(no message)"]);
    }

    #[test]
    fn a_payload_that_panics_in_its_drop_is_held_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("second");
            }
        }
        check(|| std::panic::panic_any(Bomb), &["(no message)"]);
    }

    #[test]
    fn an_inner_panic_that_was_caught_is_not_blamed_on_the_entry() {
        let inner = run("event", || run("drop", || panic!("inner")).is_err());
        assert_eq!(inner, Ok(true));
        check(|| panic!("outer"), &["outer"]);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let long = "é".repeat(MESSAGE_MAX);
        assert_eq!(shortened(&long).len(), MESSAGE_MAX);
        assert_eq!(shortened(&format!("x{long}")).len(), MESSAGE_MAX - 1);
    }
}
