//! What a script finds in its globals, and nothing else: parts of Lua's base library, `string`, `table` and `math`, the
//! globals `cjson` and `bit`, a `print` that goes to the log and a `require` that knows those two.
//!
//! No coroutines: the hook that counts instructions does not follow into one. No `load` of any kind, no environments, no
//! collector, no files, no clock, no debug library.

use std::rc::Rc;

use mlua::{Function, Lua, LuaOptions, LuaString, Result, StdLib, Table, Value};
use tracing::debug;

use super::json::{self, JsonError};
use super::meter::Meter;
use super::{bits, shown};

/// A state with these globals, and the function that calls another one and tells how it ended: true and what it returned,
/// or false and the error.
pub fn build(meter: &Rc<Meter>, instance: &str, script: &str) -> Result<(Lua, Function)> {
    let lua = Lua::new_with(StdLib::STRING | StdLib::TABLE | StdLib::MATH, LuaOptions::default())?;
    let globals = lua.globals();
    keep(&globals, GLOBALS)?;
    keep(&globals.raw_get("string")?, STRINGS)?;
    let host = host(&lua, meter, instance, script)?;
    let enter = lua.load(PRELUDE).set_name("=prelude").call(host)?;
    Ok((lua, enter))
}

fn keep(table: &Table, names: &[&str]) -> Result<()> {
    let found: Vec<Value> =
        table.pairs::<Value, Value>().map(|pair| pair.map(|(key, _)| key)).collect::<Result<_>>()?;
    for key in found {
        let is_kept = matches!(&key, Value::String(name) if names.iter().any(|kept| name == *kept));
        if !is_kept {
            table.raw_set(key, Value::Nil)?;
        }
    }
    Ok(())
}

/// What the prelude needs of Rust.
fn host(lua: &Lua, meter: &Rc<Meter>, instance: &str, script: &str) -> Result<Table> {
    let host = lua.create_table()?;
    let of = Rc::clone(meter);
    host.raw_set("limited", lua.create_function(move |_, why: Value| Ok(of.notice(&why).is_some()))?)?;
    host.raw_set("describe", lua.create_function(|_, why: Value| Ok(describe(&why)))?)?;
    let (of, instance, script) = (Rc::clone(meter), instance.to_owned(), script.to_owned());
    let log = move |_: &Lua, line: LuaString| {
        match of.next_line() {
            ..=LINES_MAX => debug!(cloud = %instance, script, line = shown(&line.as_bytes()), "a script prints"),
            n if n == LINES_MAX + 1 => debug!(cloud = %instance, script, "a script prints more than is logged"),
            _ => {}
        }
        Ok(())
    };
    host.raw_set("log", lua.create_function(log)?)?;
    let encode = |lua: &Lua, value: Value| {
        let text = json::encode(&value).map(|text| lua.create_string(text));
        answer(lua, text.and_then(|text| Ok(Value::String(text?))))
    };
    host.raw_set("encode", lua.create_function(encode)?)?;
    let decode = |lua: &Lua, text: Value| match text {
        Value::String(text) => answer(lua, json::decode(lua, &text.as_bytes())),
        other => answer(lua, Err(JsonError::Wrong(format!("a JSON text was expected, not a {}", other.type_name())))),
    };
    host.raw_set("decode", lua.create_function(decode)?)?;
    host.raw_set("null", Value::NULL)?;
    host.raw_set("bit", bits::table(lua)?)?;
    host.raw_set("pattern_max", PATTERN_MAX)?;
    host.raw_set("unpack_max", UNPACK_MAX)?;
    Ok(host)
}

/// True and a value, or false and what is wrong; the prelude raises it as text, which scripts can look at.
fn answer(lua: &Lua, answer: std::result::Result<Value, JsonError>) -> Result<(bool, Value)> {
    match answer {
        Ok(value) => Ok((true, value)),
        Err(JsonError::Wrong(text)) => Ok((false, Value::String(lua.create_string(text)?))),
        Err(JsonError::Lua(error)) => Err(error),
    }
}

/// The words of an error, without asking a script's own `__tostring`.
pub fn describe(why: &Value) -> String {
    match why {
        Value::String(text) => shown(&text.as_bytes()),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Error(error) => words(error),
        other => format!("an error that is a {}", other.type_name()),
    }
}

/// The words of an error of mlua's, without what it puts around them.
pub fn words(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => words(cause),
        mlua::Error::RuntimeError(text)
        | mlua::Error::MemoryError(text)
        | mlua::Error::SyntaxError { message: text, .. } => shown(text.as_bytes()),
        mlua::Error::BadArgument { pos, cause, .. } => format!("bad argument #{pos}: {}", words(cause)),
        other => shown(other.to_string().as_bytes()),
    }
}

const PRELUDE: &str = include_str!("prelude.lua");

/// What stays of Lua's base library. `pcall` and `xpcall` are replaced by the prelude.
const GLOBALS: &[&str] = &[
    "_G",
    "_VERSION",
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "math",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawset",
    "select",
    "setmetatable",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    "unpack",
];

/// What stays of `string`: not `dump`, and not `gfind`, the old name of `gmatch`.
const STRINGS: &[&str] =
    &["byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep", "reverse", "sub", "upper"];

/// Longest pattern of `string.find` and its siblings. Not documented; chosen by us: each item of a pattern may take a level
/// of C's stack, and patterns of conversion scripts have a few dozen bytes.
const PATTERN_MAX: usize = 256;

/// Most elements that `unpack` gives; a call has no more stack than for some 8000 values (Lua 5.1, `LUAI_MAXCSTACK`).
const UNPACK_MAX: usize = 7000;

/// Most lines that one call may put into the log. Not documented; chosen by us.
const LINES_MAX: u32 = 20;
