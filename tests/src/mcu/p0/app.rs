//! P0 as an app sees it: status in, control out, and values in the words of the product.

use serde_json::Value as Json;

use super::{Attribute, Decimal, Place, Raw, Schema};

impl Schema {
    /// The values of a report or read answer with this action, in the order of the attributes (Gizwits P0 3.3).
    pub fn read_status(&self, action: u8, p0: &[u8]) -> Result<Vec<Raw>, String> {
        let len = 1 + self.attributes.iter().map(|attribute| self.end(attribute)).max().unwrap_or(0);
        // A module forwards P0 as it is, so there is no excess to be patient with.
        if p0.len() != len || p0[0] != action {
            return Err(format!("{p0:02x?} is no P0 of {len} bytes with action {action:#04x}"));
        }
        Ok(self.attributes.iter().map(|attribute| self.get(attribute, &p0[1..])).collect())
    }

    /// The number in a report's attribute, as `values` of [`Schema::read_status`] have it.
    pub fn number(&self, name: &str, values: &[Raw]) -> Option<u64> {
        let at = self.attributes.iter().position(|attribute| attribute.name == name)?;
        match values.get(at)? {
            Raw::Number(x) => Some(*x),
            Raw::Bytes(_) => None,
        }
    }

    /// A control that sets one writable attribute: action, flags, and the whole writable section (3.3).
    pub fn write_control(&self, name: &str, value: &Raw) -> Result<Vec<u8>, String> {
        let attribute = self.attribute(name).filter(|attribute| attribute.writable);
        let attribute = attribute.ok_or_else(|| format!("{name} is no writable attribute"))?;
        let writable = || self.attributes.iter().filter(|attribute| attribute.writable);
        let n_flags = writable().map(|attribute| attribute.id + 1).max().unwrap_or(0).div_ceil(8);
        let n_values = writable().map(|attribute| self.end(attribute)).max().unwrap_or(0);
        let mut values = vec![0; n_values];
        self.put(attribute, value, &mut values);
        let mut p0 = vec![1; 1];
        p0.resize(1 + n_flags, 0);
        p0[n_flags - attribute.id / 8] |= 1 << (attribute.id % 8);
        p0.extend_from_slice(&values);
        Ok(p0)
    }
}

impl Attribute {
    /// The transmitted value for a value in the product's words: bool, label, engineering number, or binary in hex.
    pub fn raw(&self, value: &Json) -> Result<Raw, String> {
        let raw = match (self.place, value) {
            (Place::Bits { len: 1, .. }, Json::Bool(on)) if self.labels.is_empty() => Some(Raw::Number(u64::from(*on))),
            (Place::Bits { .. }, Json::String(label)) => {
                self.labels.iter().position(|known| known == label).map(|at| Raw::Number(at as u64))
            }
            (Place::Number { .. }, Json::Number(_)) => self.number(value).map(Raw::Number),
            (Place::Bytes { len, .. }, Json::String(hex)) => {
                bytes(hex).filter(|bytes| bytes.len() == len).map(Raw::Bytes)
            }
            _ => None,
        };
        raw.ok_or_else(|| format!("{value} is no value of {}", self.name))
    }

    /// x = (y - addition) / ratio, if it is exact and in the range (3.2).
    fn number(&self, value: &Json) -> Option<u64> {
        let y = Decimal::parse(value)?;
        let scale = y.scale.max(self.ratio.scale).max(self.addition.scale);
        let raise = |number: Decimal| Some(i128::from(number.mantissa) * 10i128.checked_pow(scale - number.scale)?);
        let (part, ratio) = (raise(y)? - raise(self.addition)?, raise(self.ratio)?);
        if ratio == 0 || part % ratio != 0 {
            return None;
        }
        u64::try_from(part / ratio).ok().filter(|x| *x <= self.max)
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn demo() -> Schema {
        Schema::parse(include_str!("../../../products/demo.datapoints.json")).unwrap()
    }

    #[track_caller]
    fn check(name: &str, value: Json, expected: Option<&[u8]>) {
        let demo = demo();
        let control = demo.attribute(name).unwrap().raw(&value).and_then(|raw| demo.write_control(name, &raw));
        assert_eq!(control.as_deref().ok(), expected, "{name} = {value}: {control:?}");
        if let Ok(control) = control {
            assert_eq!(demo.control(&control).unwrap().len(), 1, "the MCU reads it as one attribute");
        }
    }

    #[test]
    fn a_control_carries_one_flag_and_the_whole_writable_section() {
        check("switch", json!(true), Some(&[1, 0b001, 1, 0]));
        check("mode", json!("heat"), Some(&[1, 0b010, 0b100, 0]));
        check("target", json!(21.5), Some(&[1, 0b100, 0, 23]));
        check("target", json!(24), Some(&[1, 0b100, 0, 28]));
    }

    #[test]
    fn a_value_the_product_does_not_know_is_refused() {
        check("switch", json!(1), None);
        check("mode", json!("hot"), None);
        check("target", json!(21.25), None);
        check("target", json!(30.5), None);
        check("target", json!(9), None);
        check("counter", json!(1), None);
    }

    #[test]
    fn a_report_is_read_as_the_mcu_wrote_it() {
        let demo = demo();
        let mut values = demo.zeroes();
        values[3] = Raw::Number(0x0102_0304);
        values[5] = Raw::Bytes(vec![1, 2, 3, 4]);
        let p0 = demo.status(4, &values);
        assert_eq!(demo.read_status(4, &p0).as_ref(), Ok(&values));
        assert_eq!(demo.number("counter", &values), Some(0x0102_0304));
        assert!(demo.read_status(3, &p0).is_err() && demo.read_status(4, &p0[1..]).is_err());
    }
}
