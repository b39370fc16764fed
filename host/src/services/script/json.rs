//! The global `cjson`, as far as conversion scripts use lua-cjson: `encode` and `decode`.
//!
//! A table whose keys are all whole numbers from 1 on is an array, every other one an object; an empty one is an object.
//! Whole numbers are written without a point. What would silently become another number is an error: whole numbers beyond
//! ±2^53 in a text, infinities and NaN in a table.

use std::fmt;

use mlua::{Lua, Table, Value};
use polylink_plugin_api::services::script::values::INT_MAX;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Why a text or a table could not be taken.
pub enum JsonError {
    /// It is the script's fault, in words.
    Wrong(String),
    /// Lua's own: no more memory.
    Lua(mlua::Error),
}

impl From<mlua::Error> for JsonError {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

/// The values of a JSON text.
pub fn decode(lua: &Lua, text: &[u8]) -> Result<Value, JsonError> {
    let seed = Seed { lua, failed: &std::cell::RefCell::new(None) };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let decoded = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    match (decoded, seed.failed.take()) {
        (Ok(value), _) => Ok(value),
        (Err(_), Some(failed)) => Err(failed.into()),
        (Err(error), None) => Err(JsonError::Wrong(format!("not acceptable as JSON: {error}"))),
    }
}

/// The JSON text of a value.
pub fn encode(value: &Value) -> Result<Vec<u8>, JsonError> {
    let mut text = Vec::new();
    write(&mut text, value, 0)?;
    Ok(text)
}

fn write(text: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), JsonError> {
    match value {
        Value::Nil => text.extend(b"null"),
        Value::LightUserData(pointer) if pointer.0.is_null() => text.extend(b"null"),
        Value::Boolean(on) => text.extend(if *on { &b"true"[..] } else { b"false" }),
        Value::Integer(number) => write_number(text, *number as f64)?,
        Value::Number(number) => write_number(text, *number)?,
        Value::String(string) => write_string(text, &string.as_bytes()),
        Value::Table(_) if depth == DEPTH_MAX => {
            return wrong(format!("tables are nested more than {DEPTH_MAX} deep"));
        }
        Value::Table(table) => match array_length(table)? {
            Some(length) => write_array(text, table, length, depth)?,
            None => write_object(text, table, depth)?,
        },
        other => return wrong(format!("a {} cannot be JSON", other.type_name())),
    }
    if text.len() > TEXT_MAX { wrong(format!("the text is longer than {TEXT_MAX} bytes")) } else { Ok(()) }
}

/// The number of elements, if this is an array.
fn array_length(table: &Table) -> Result<Option<i64>, JsonError> {
    let (mut length, mut n_elements) = (0, 0);
    for pair in table.pairs::<Value, Value>() {
        match pair?.0 {
            Value::Integer(index) if index >= 1 => {
                length = length.max(index);
                n_elements += 1;
            }
            _ => return Ok(None),
        }
    }
    if n_elements == 0 {
        return Ok(None);
    }
    if length > SPARSE_SAFE && length > n_elements * SPARSE_RATIO {
        return wrong("the array has far more holes than elements".to_owned());
    }
    Ok(Some(length))
}

fn write_array(text: &mut Vec<u8>, table: &Table, length: i64, depth: usize) -> Result<(), JsonError> {
    text.push(b'[');
    for index in 1..=length {
        if index > 1 {
            text.push(b',');
        }
        write(text, &table.raw_get(index)?, depth + 1)?;
    }
    text.push(b']');
    Ok(())
}

fn write_object(text: &mut Vec<u8>, table: &Table, depth: usize) -> Result<(), JsonError> {
    text.push(b'{');
    let mut is_first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if !std::mem::take(&mut is_first) {
            text.push(b',');
        }
        match key {
            Value::String(key) => write_string(text, &key.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                text.push(b'"');
                write(text, &key, depth)?;
                text.push(b'"');
            }
            other => return wrong(format!("a {} cannot be a key of JSON", other.type_name())),
        }
        text.push(b':');
        write(text, &value, depth + 1)?;
    }
    text.push(b'}');
    Ok(())
}

/// Bytes beyond ASCII go as they are, as lua-cjson has it.
fn write_string(text: &mut Vec<u8>, string: &[u8]) {
    text.push(b'"');
    for &byte in string {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', byte]),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            b'\t' => text.extend(b"\\t"),
            0..0x20 | 0x7F => text.extend(format!("\\u{byte:04x}").bytes()),
            _ => text.push(byte),
        }
    }
    text.push(b'"');
}

fn write_number(text: &mut Vec<u8>, number: f64) -> Result<(), JsonError> {
    if !number.is_finite() {
        return wrong(format!("the number {number} cannot be JSON"));
    }
    if number.fract() == 0.0 && number.abs() <= INT_MAX as f64 {
        text.extend((number as i64).to_string().bytes());
        return Ok(());
    }
    // Fourteen digits, as lua-cjson: what a script calculates is to look like what it means, 0.3 and not
    // 0.30000000000000004.
    let short: f64 = format!("{number:.13e}").parse().unwrap_or(number);
    let is_handy = (1e-5..1e15).contains(&short.abs());
    text.extend(if is_handy { short.to_string() } else { format!("{short:e}") }.bytes());
    Ok(())
}

fn wrong<T>(text: String) -> Result<T, JsonError> {
    Err(JsonError::Wrong(text))
}

/// Makes Lua's values while the text is read, so that they count as the script's memory from the first.
#[derive(Clone, Copy)]
struct Seed<'a> {
    lua: &'a Lua,
    /// What Lua itself said, which the error of the reader cannot carry.
    failed: &'a std::cell::RefCell<Option<mlua::Error>>,
}

impl Seed<'_> {
    fn made<T, E: serde::de::Error>(self, made: mlua::Result<T>) -> Result<T, E> {
        made.map_err(|error| {
            self.failed.replace(Some(error));
            E::custom("")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::NULL)
    }

    fn visit_bool<E>(self, on: bool) -> Result<Value, E> {
        Ok(Value::Boolean(on))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        self.visit_f64(exact(number)? as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// Also of whole numbers that no integer holds.
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        if number.abs() > INT_MAX as f64 { Err(too_large()) } else { Ok(Value::Number(number)) }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.made(self.lua.create_string(text)).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let table: Table = self.made(self.lua.create_table())?;
        let mut index = 0_i64;
        while let Some(element) = elements.next_element_seed(self)? {
            index += 1;
            self.made(table.raw_set(index, element))?;
        }
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let table: Table = self.made(self.lua.create_table())?;
        while let Some(key) = members.next_key_seed(self)? {
            let value = members.next_value_seed(self)?;
            self.made(table.raw_set(key, value))?;
        }
        Ok(Value::Table(table))
    }
}

fn exact<E: serde::de::Error>(number: i64) -> Result<i64, E> {
    if number.unsigned_abs() > INT_MAX.unsigned_abs() { Err(too_large()) } else { Ok(number) }
}

fn too_large<E: serde::de::Error>() -> E {
    E::custom("a number beyond ±2^53, which a number of Lua cannot be exactly")
}

/// Deepest nesting that is written. Reading has serde_json's own limit of 128. Not documented; chosen by us: lua-cjson
/// allows 1000, documents of clouds need less than ten.
const DEPTH_MAX: usize = 100;

/// Longest text that is written: no more can be returned (`polylink.script/1`).
const TEXT_MAX: usize = polylink_plugin_api::services::script::values::ENCODED_MAX;

/// An array up to this length may have any holes (lua-cjson, `encode_sparse_array`).
const SPARSE_SAFE: i64 = 10;

/// A longer one may be so many times longer than it has elements (the same).
const SPARSE_RATIO: i64 = 2;
