//! Conversion scripts in Lua (JoyLink, 12), as the cloud and the app run them.

use mlua::{Lua, Table, Value};
use serde_json::{Map, Number, Value as Json};

/// A script that converts between the product's JSON and what its MCU speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    source: String,
}

/// Why a conversion came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The script does not load: code 12.
    #[error("the script does not load: {0}")]
    Load(String),
    /// It failed, or said that it cannot: code 14.
    #[error("the script failed: {0}")]
    Run(String),
}

impl Script {
    /// A script that loads and has both functions.
    pub fn load(source: &str) -> Result<Self, ScriptError> {
        let script = Self { source: source.to_owned() };
        let lua = script.machine().map_err(|error| ScriptError::Load(error.to_string()))?;
        for name in ["jds2pri", "pri2jds"] {
            lua.globals().get::<mlua::Function>(name).map_err(|error| ScriptError::Load(error.to_string()))?;
        }
        Ok(script)
    }

    /// jds2pri: JSON text to bytes.
    pub fn to_private(&self, bizcode: u32, command: &str) -> Result<Vec<u8>, ScriptError> {
        let run = || -> mlua::Result<(i64, i64, Vec<u8>)> {
            let lua = self.machine()?;
            let convert: mlua::Function = lua.globals().get("jds2pri")?;
            let (err, length, bytes): (i64, i64, Option<mlua::LuaString>) = convert.call((bizcode, command))?;
            // The machine ends here, and with it everything that lives in it.
            Ok((err, length, bytes.map(|bytes| bytes.as_bytes().to_vec()).unwrap_or_default()))
        };
        let (err, length, bytes) = run().map_err(|error| ScriptError::Run(error.to_string()))?;
        if err != 0 {
            return Err(ScriptError::Run(format!("jds2pri({bizcode}) returned {err}")));
        }
        if usize::try_from(length) != Ok(bytes.len()) {
            return Err(ScriptError::Run(format!("jds2pri says {length} bytes and returns {}", bytes.len())));
        }
        Ok(bytes)
    }

    /// pri2jds: bytes to JSON text, and the bizcode that the script makes of them.
    pub fn to_json(&self, bizcode: u32, bytes: &[u8]) -> Result<(String, u32), ScriptError> {
        let run = || -> mlua::Result<(i64, String, Option<u32>)> {
            let lua = self.machine()?;
            let convert: mlua::Function = lua.globals().get("pri2jds")?;
            let (err, json, bizcode): (i64, Option<mlua::LuaString>, Option<u32>) =
                convert.call((bizcode, bytes.len(), lua.create_string(bytes)?))?;
            Ok((err, json.map(|json| json.to_string_lossy()).unwrap_or_default(), bizcode))
        };
        let (err, json, bizcode_out) = run().map_err(|error| ScriptError::Run(error.to_string()))?;
        if err != 0 {
            return Err(ScriptError::Run(format!("pri2jds({bizcode}) returned {err}")));
        }
        Ok((json, bizcode_out.unwrap_or(bizcode)))
    }

    /// A fresh machine with the script in it: nothing that a script remembers may matter.
    fn machine(&self) -> mlua::Result<Lua> {
        let lua = Lua::new();
        let cjson = lua.create_table()?;
        cjson.set(
            "decode",
            lua.create_function(|lua, text: mlua::LuaString| {
                let json: Json = serde_json::from_slice(&text.as_bytes()).map_err(mlua::Error::external)?;
                to_lua(lua, &json)
            })?,
        )?;
        cjson.set("encode", lua.create_function(|_, value: Value| Ok(from_lua(&value, 0)?.to_string()))?)?;
        cjson.set("null", Value::NULL)?;
        lua.globals().set("cjson", cjson)?;
        lua.load(self.source.as_str()).exec()?;
        Ok(lua)
    }
}

fn to_lua(lua: &Lua, json: &Json) -> mlua::Result<Value> {
    Ok(match json {
        Json::Null => Value::NULL,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(value) => Value::Number(value.as_f64().unwrap_or_default()),
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(list) => {
            let items = list.iter().map(|item| to_lua(lua, item)).collect::<mlua::Result<Vec<_>>>()?;
            Value::Table(lua.create_sequence_from(items)?)
        }
        Json::Object(members) => {
            let table = lua.create_table()?;
            for (name, member) in members {
                table.set(name.as_str(), to_lua(lua, member)?)?;
            }
            Value::Table(table)
        }
    })
}

fn from_lua(value: &Value, depth: usize) -> mlua::Result<Json> {
    if depth > DEPTH {
        return Err(mlua::Error::runtime("a table that is nested too deeply"));
    }
    Ok(match value {
        Value::Nil => Json::Null,
        null if null.is_null() => Json::Null,
        Value::Boolean(value) => Json::Bool(*value),
        Value::Integer(value) => Json::from(*value),
        Value::Number(value) if value.fract() == 0.0 && value.abs() < WHOLE => Json::from(*value as i64),
        Value::Number(value) => Number::from_f64(*value)
            .map(Json::Number)
            .ok_or_else(|| mlua::Error::runtime("a number that JSON does not have"))?,
        Value::String(text) => Json::String(text.to_string_lossy()),
        Value::Table(table) => from_table(table, depth)?,
        other => return Err(mlua::Error::runtime(format!("a {} in JSON", other.type_name()))),
    })
}

fn from_table(table: &Table, depth: usize) -> mlua::Result<Json> {
    let n = table.raw_len();
    if n > 0 {
        let item = |index| from_lua(&table.raw_get::<Value>(index)?, depth + 1);
        return (1..=n).map(item).collect::<mlua::Result<Vec<_>>>().map(Json::Array);
    }
    let mut members = Map::new();
    for pair in table.pairs::<mlua::LuaString, Value>() {
        let (name, member) = pair?;
        members.insert(name.to_string_lossy(), from_lua(&member, depth + 1)?);
    }
    Ok(Json::Object(members))
}

/// Nesting of a table that is still encoded. Chosen by us.
const DEPTH: usize = 64;
/// Whole numbers below this are written without a fraction, as cjson does with its 14 digits.
const WHOLE: f64 = 1e14;
