//! The global `bit`, as LuaBitOp 1.0 has it: 32-bit words, shown as signed numbers.

use mlua::{Lua, Result, Table, Variadic};

/// Makes the table.
pub fn table(lua: &Lua) -> Result<Table> {
    let bit = lua.create_table()?;
    bit.raw_set("tobit", lua.create_function(|_, n: f64| Ok(word(n)))?)?;
    bit.raw_set("bnot", lua.create_function(|_, n: f64| Ok(!word(n)))?)?;
    bit.raw_set("band", fold(lua, |all, next| all & next)?)?;
    bit.raw_set("bor", fold(lua, |all, next| all | next)?)?;
    bit.raw_set("bxor", fold(lua, |all, next| all ^ next)?)?;
    bit.raw_set("lshift", shift(lua, |word, n| word << n)?)?;
    bit.raw_set("rshift", shift(lua, |word, n| word.cast_unsigned().wrapping_shr(n).cast_signed())?)?;
    bit.raw_set("arshift", shift(lua, |word, n| word >> n)?)?;
    bit.raw_set("rol", shift(lua, |word, n| word.rotate_left(n))?)?;
    bit.raw_set("ror", shift(lua, |word, n| word.rotate_right(n))?)?;
    bit.raw_set("bswap", lua.create_function(|_, n: f64| Ok(word(n).swap_bytes()))?)?;
    bit.raw_set("tohex", lua.create_function(|_, (n, digits): (f64, Option<f64>)| Ok(hex(word(n), digits)))?)?;
    Ok(bit)
}

fn fold(lua: &Lua, with: impl Fn(i32, i32) -> i32 + 'static) -> Result<mlua::Function> {
    lua.create_function(move |_, (first, rest): (f64, Variadic<f64>)| {
        Ok(rest.iter().fold(word(first), |all, next| with(all, word(*next))))
    })
}

/// Only the lower five bits of the distance count.
fn shift(lua: &Lua, with: impl Fn(i32, u32) -> i32 + 'static) -> Result<mlua::Function> {
    lua.create_function(move |_, (n, distance): (f64, f64)| Ok(with(word(n), word(distance).cast_unsigned() & 31)))
}

/// So many of the lower digits, eight unless said otherwise; a negative number asks for capital letters.
fn hex(word: i32, digits: Option<f64>) -> String {
    let digits = digits.map_or(8, self::word);
    let (text, n) = match digits {
        ..0 => (format!("{word:08X}"), digits.unsigned_abs()),
        0.. => (format!("{word:08x}"), digits.unsigned_abs()),
    };
    text[8 - n.min(8) as usize..].to_owned()
}

/// The lower 32 bits of a number, rounded if it has a fraction: adding 2^52 + 2^51 brings them to the end of the
/// mantissa (LuaBitOp, "Semantics").
fn word(n: f64) -> i32 {
    ((n + 6_755_399_441_055_744.0).to_bits() as u32).cast_signed()
}
