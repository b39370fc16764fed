//! Reads the datapoint JSON that the vendor's site offers per product ("Gizwits datapoint protocol 4.0.0").
//!
//! A byte order mark, unknown members and absent optional ones are tolerated; what would make a payload ambiguous is
//! not. Numbers are read from their text, so that a ratio of 0.1 is exactly 0.1.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decimal::Decimal;
use crate::scaling::Scaling;
use crate::schema::{Access, Attribute, DataType, Format, Position, Schema, SchemaError};

impl Schema {
    /// Reads a datapoint file.
    ///
    /// # Errors
    /// Names the attribute, the member, what was found and what would be accepted.
    pub fn parse(json: &str) -> Result<Self, SchemaError> {
        if json.len() > MAX_FILE_BYTES {
            return Err(SchemaError::FileTooLong { found: json.len(), accepted: MAX_FILE_BYTES });
        }
        let json = json.strip_prefix('\u{FEFF}').unwrap_or(json);
        let file: File = serde_json::from_str(json).map_err(|error| SchemaError::Json(error.to_string()))?;
        let format = match file.protocol_type.as_deref() {
            None | Some("" | "standard") => Format::Fixed,
            Some("var_len") => Format::VarLen,
            Some(other) => {
                return Err(SchemaError::Unknown {
                    place: "the file".into(),
                    what: "protocolType",
                    found: shorten(other),
                    accepted: "standard, var_len",
                });
            }
        };
        let mut entities = file.entities.into_iter().filter(|entity| !entity.attrs.is_empty());
        let entity = entities.next().unwrap_or_default();
        let others = entities.count();
        if others > 0 {
            return Err(SchemaError::Bounds {
                place: "the file".into(),
                what: "number of entities with attributes",
                found: (others + 1).to_string(),
                accepted: "1".into(),
            });
        }
        let attributes = entity.attrs.into_iter().map(attribute).collect::<Result<Vec<_>, _>>()?;
        let mut schema = Self::new(format, attributes)?;
        schema.product_key = file.product_key.unwrap_or_default();
        schema.name = file.name.unwrap_or_default();
        Ok(schema)
    }
}

fn attribute(attr: Attr<'_>) -> Result<Attribute, SchemaError> {
    let place = shorten(&attr.name);
    let name = place.as_str();
    let id = number(attr.id, name, "id", 0, 255)?;
    let access = match attr.access.as_str() {
        "status_writable" => Access::Writable,
        "status_readonly" => Access::ReadOnly,
        "alert" => Access::Alert,
        "fault" => Access::Fault,
        other => {
            let accepted = "status_writable, status_readonly, alert, fault";
            return Err(SchemaError::Unknown { place, what: "type", found: shorten(other), accepted });
        }
    };
    let position = attr.position;
    let (unit, width) = match attr.data_type.as_str() {
        "bool" => ("bit", Some(1)),
        "enum" => ("bit", None),
        "uint8" => ("byte", Some(1)),
        "uint16" => ("byte", Some(2)),
        "uint32" => ("byte", Some(4)),
        "binary" => ("byte", None),
        other => {
            let accepted = "bool, enum, uint8, uint16, uint32, binary";
            let found = shorten(other);
            return Err(SchemaError::Unknown { place, what: "data_type", found, accepted });
        }
    };
    if let Some(found) = position.unit.as_deref().filter(|found| *found != unit) {
        return Err(SchemaError::Unknown { place: name.into(), what: "unit", found: shorten(found), accepted: unit });
    }
    let (least, most) = match (width, unit) {
        (Some(width), _) => (width, width),
        (None, "bit") => (1, 32),
        (None, _) => (1, LAST_OFFSET),
    };
    let len = number(position.len, name, "len", least, most)?;
    let data_type = match attr.data_type.as_str() {
        "bool" => DataType::Bool,
        "enum" => DataType::Enum { labels: attr.labels.unwrap_or_default(), bits: len as u8 },
        "binary" => DataType::Binary { bytes: len as u16 },
        _ => DataType::Number { bytes: len as u8, scaling: scaling(name, len, attr.uint_spec.unwrap_or_default())? },
    };
    let byte = match position.byte_offset {
        Some(offset) => number(offset, name, "byte_offset", 0, LAST_OFFSET)? as u16,
        None => 0,
    };
    let bit = match position.bit_offset {
        // Whole bytes begin at bit 0, whatever the file says.
        Some(offset) if unit == "bit" => number(offset, name, "bit_offset", 0, LAST_OFFSET)? as u16,
        _ => 0,
    };
    Ok(Attribute {
        id: id as u8,
        title: attr.display_name.unwrap_or_default(),
        access,
        data_type,
        position: Position { byte, bit },
        name: attr.name,
    })
}

fn scaling(name: &str, bytes: u32, spec: UintSpec<'_>) -> Result<Scaling, SchemaError> {
    let widest = u32::MAX >> (32 - 8 * bytes);
    let decimal = |raw: Option<&RawValue>, what, otherwise| match raw {
        None => Ok(otherwise),
        Some(raw) => Decimal::parse(unquoted(raw)).map_err(|error| SchemaError::Bounds {
            place: name.into(),
            what,
            found: shorten(raw.get()),
            accepted: format!("a number; this is {error}"),
        }),
    };
    let ratio = decimal(spec.ratio, "ratio", Decimal::whole(1))?;
    let addition = decimal(spec.addition, "addition", Decimal::whole(0))?;
    let min = spec.min.map_or(Ok(0), |raw| number(raw, name, "min", 0, u32::MAX))?;
    // Some files leave the site's default there, which is wider than the attribute.
    let max = spec.max.map_or(Ok(widest), |raw| number(raw, name, "max", 0, u32::MAX))?.min(widest);
    Scaling::new(ratio, addition, min, max).map_err(|error| SchemaError::Scaling { name: name.into(), error })
}

/// A whole number from its text; `3`, `3.0` and `"3"` are all three.
fn number(raw: &RawValue, place: &str, what: &'static str, least: u32, most: u32) -> Result<u32, SchemaError> {
    let whole = Decimal::parse(unquoted(raw)).ok().and_then(|decimal| decimal.exactly(0));
    match whole.and_then(|decimal| u32::try_from(decimal.mantissa).ok()) {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => {
            let accepted = if least == most { least.to_string() } else { format!("{least} to {most}") };
            Err(SchemaError::Bounds { place: place.into(), what, found: shorten(raw.get()), accepted })
        }
    }
}

fn unquoted(raw: &RawValue) -> &str {
    let text = raw.get();
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    product_key: Option<String>,
    #[serde(default, rename = "protocolType")]
    protocol_type: Option<String>,
    #[serde(borrow)]
    entities: Vec<Entity<'a>>,
}

#[derive(Deserialize, Default)]
struct Entity<'a> {
    #[serde(borrow, default)]
    attrs: Vec<Attr<'a>>,
}

#[derive(Deserialize)]
struct Attr<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    name: String,
    #[serde(default)]
    display_name: Option<String>,
    data_type: String,
    #[serde(rename = "type")]
    access: String,
    #[serde(default, rename = "enum")]
    labels: Option<Vec<String>>,
    #[serde(borrow)]
    position: Place<'a>,
    #[serde(borrow, default)]
    uint_spec: Option<UintSpec<'a>>,
}

#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow, default)]
    byte_offset: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bit_offset: Option<&'a RawValue>,
    #[serde(default)]
    unit: Option<String>,
    #[serde(borrow)]
    len: &'a RawValue,
}

#[derive(Deserialize, Default)]
struct UintSpec<'a> {
    #[serde(borrow, default)]
    ratio: Option<&'a RawValue>,
    #[serde(borrow, default)]
    addition: Option<&'a RawValue>,
    #[serde(borrow, default)]
    min: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max: Option<&'a RawValue>,
}

/// Largest datapoint file that is read. Not documented; chosen by us: the largest published one has 60 KB.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Largest offset or length in a file; the sums are checked by the schema.
const LAST_OFFSET: u32 = crate::schema::MAX_STATUS_BYTES as u32;

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this one attribute's members in place of the ordinary ones.
    fn file(attrs: &str) -> String {
        format!(r#"{{"protocolType":"standard","entities":[{{"id":0,"attrs":[{attrs}]}}]}}"#)
    }

    fn bit(id: u32, name: &str, byte: u32, bit: u32, access: &str) -> String {
        format!(
            r#"{{"id":{id},"name":"{name}","data_type":"bool","type":"{access}",
            "position":{{"byte_offset":{byte},"bit_offset":{bit},"unit":"bit","len":1}}}}"#
        )
    }

    fn number(name: &str, data_type: &str, byte: u32, len: &str, spec: &str) -> String {
        format!(
            r#"{{"id":9,"name":"{name}","data_type":"{data_type}","type":"status_writable",
            "position":{{"byte_offset":{byte},"bit_offset":0,"unit":"byte","len":{len}}},"uint_spec":{spec}}}"#
        )
    }

    #[track_caller]
    fn check(attrs: &[String], message: &str) {
        assert_eq!(Schema::parse(&file(&attrs.join(","))).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_byte_order_mark_unknown_members_and_missing_optional_ones_are_tolerated() {
        let text = format!("\u{FEFF}{}", file(&bit(0, "on", 0, 0, "status_writable")));
        let text = text.replacen('{', r#"{"ui":{"deep":[[[1]]]},"packetVersion":7,"#, 1);
        let schema = Schema::parse(&text).unwrap();
        assert_eq!((schema.attributes().len(), schema.format()), (1, Format::Fixed));
        assert_eq!(schema.named("on").unwrap().title, "");
    }

    #[test]
    fn attributes_that_share_bits_or_bytes_are_refused() {
        let on = bit(0, "on", 0, 0, "status_writable");
        let twin = bit(1, "twin", 0, 0, "status_writable");
        check(&[on.clone(), twin], "on and twin both lie on bit 0 of the area at byte 0");
        let far = bit(1, "far", 0, 12, "status_writable");
        let level = number("level", "uint8", 1, "1", "{}");
        check(&[on, far, level], "far and level both lie on byte 1");
    }

    #[test]
    fn ids_and_names_are_unique() {
        let on = bit(0, "on", 0, 0, "status_writable");
        let clone = bit(0, "clone", 0, 1, "status_writable");
        let message = "id `0` belongs to both on (id 0) and clone (id 0); each needs its own";
        check(&[on.clone(), clone], message);
        let namesake = bit(1, "on", 0, 1, "status_writable");
        check(&[on, namesake], "name `on` belongs to both on (id 0) and on (id 1); each needs its own");
    }

    #[test]
    fn numbers_out_of_bounds_are_named_with_what_would_be_accepted() {
        check(&[bit(256, "on", 0, 0, "alert")], "on: id is 256; accepted: 0 to 255");
        check(&[bit(0, "on", 1025, 0, "alert")], "on: byte_offset is 1025; accepted: 0 to 1024");
        check(&[bit(0, "on", 1024, 0, "alert")], "on: end is 1025; accepted: at most byte 1024");
        check(&[number("n", "uint8", 0, "0", "{}")], "n: len is 0; accepted: 1");
        check(&[number("n", "uint16", 0, "-2", "{}")], "n: len is -2; accepted: 2");
        check(&[number("n", "uint8", 0, "1", r#"{"min":-5}"#)], "n: min is -5; accepted: 0 to 4294967295");
        let message = "n: ratio is true; accepted: a number; this is not a number such as -3.25";
        check(&[number("n", "uint8", 0, "1", r#"{"ratio":true}"#)], message);
        check(&[number("n", "uint8", 0, "1", r#"{"ratio":0}"#)], "n: ratio is 0; it must be above 0");
        let wide = bit(0, "mode", 0, 0, "alert").replace("bool", "enum").replace(r#""len":1"#, r#""len":33"#);
        check(std::slice::from_ref(&wide), "mode: len is 33; accepted: 1 to 32");
        let bare = wide.replace(r#""len":33"#, r#""len":2"#);
        check(&[bare], "mode: number of enum labels is 0; accepted: 1 to 4 in 2 bits");
    }

    #[test]
    fn a_read_only_attribute_inside_the_writable_section_is_refused() {
        let (on, level) = (bit(0, "on", 0, 0, "status_readonly"), number("level", "uint8", 1, "1", "{}"));
        let message = "on is not writable but lies before byte 2, where the writable section ends";
        check(&[on, level], message);
    }

    #[test]
    fn limits_wider_than_the_attribute_end_where_it_ends() {
        let schema = Schema::parse(&file(&number("n", "uint8", 0, "1", r#"{"max":4294967295}"#))).unwrap();
        let DataType::Number { scaling, .. } = &schema.attributes()[0].data_type else { panic!("a number") };
        assert_eq!(scaling.limits(), (Decimal::whole(0), Decimal::whole(255)));
    }

    #[test]
    fn what_is_no_datapoint_file_says_so() {
        for text in ["", "[]", "{}", "nonsense", r#"{"entities":7}"#] {
            assert!(matches!(Schema::parse(text), Err(SchemaError::Json(_))), "{text}");
        }
        let text = " ".repeat(MAX_FILE_BYTES + 1);
        assert!(matches!(Schema::parse(&text), Err(SchemaError::FileTooLong { .. })));
        let text = file("").replace("standard", "quantum");
        let message = "the file: protocolType is `quantum`; accepted: standard, var_len";
        assert_eq!(Schema::parse(&text).unwrap_err().to_string(), message);
    }

    proptest::proptest! {
        #[test]
        fn no_file_can_panic_the_parser(id: i64, byte: i64, bit: i64, len: i64, ratio: f64, tail: String) {
            let position = format!(r#"{{"byte_offset":{byte},"bit_offset":{bit},"len":{len}}}"#);
            let _ = Schema::parse(&file(&format!(
                r#"{{"id":{id},"name":"n","data_type":"uint8","type":"alert","position":{position},
                "uint_spec":{{"ratio":{ratio}}}}}"#
            )));
            let _ = Schema::parse(&tail);
        }
    }
}
