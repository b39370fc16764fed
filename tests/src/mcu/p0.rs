//! Fixed-length P0 payloads as the simulated MCU writes and reads them, from the product's datapoint JSON.
//!
//! Values stay the transmitted unsigned numbers: an MCU knows no engineering units. [`Attribute::decimal`] says what
//! a number means, for those who judge what arrived elsewhere. Written from the document, shared with nobody.

mod app;

use serde_json::Value as Json;

/// The attributes of a product and where they lie in the status bytes.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Key of the product, from the datapoint file.
    pub product_key: String,
    /// All attributes, by ascending id.
    pub attributes: Vec<Attribute>,
}

/// One attribute.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Bit in the flags of a control.
    pub id: usize,
    /// Name in the datapoint file.
    pub name: String,
    /// Whether a control may carry it.
    pub writable: bool,
    /// Labels of an enum, empty for all others.
    pub labels: Vec<String>,
    /// Largest transmitted number.
    pub max: u64,
    place: Place,
    ratio: Decimal,
    addition: Decimal,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Bits { byte: usize, bit: usize, len: usize },
    Number { byte: usize, len: usize },
    Bytes { byte: usize, len: usize },
}

#[derive(Debug, Clone, Copy)]
struct Decimal {
    mantissa: i64,
    scale: u32,
}

/// A transmitted value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// Bool, enum index or number.
    Number(u64),
    /// Binary.
    Bytes(Vec<u8>),
}

impl Schema {
    /// Reads the text of a datapoint file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(text).map_err(|error| format!("datapoint file: {error}"))?;
        let product_key = json["product_key"].as_str().unwrap_or_default().to_owned();
        let list = json["entities"][0]["attrs"].as_array().ok_or("datapoint file: no entities[0].attrs")?;
        let mut attributes = list.iter().map(Attribute::parse).collect::<Result<Vec<_>, _>>()?;
        attributes.sort_by_key(|attribute| attribute.id);
        Ok(Self { product_key, attributes })
    }

    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// All values at zero, in the order of the attributes.
    pub fn zeroes(&self) -> Vec<Raw> {
        let zero = |attribute: &Attribute| match attribute.place {
            Place::Bytes { len, .. } => Raw::Bytes(vec![0; len]),
            _ => Raw::Number(0),
        };
        self.attributes.iter().map(zero).collect()
    }

    /// A report or read answer: the action, then all status bytes (Gizwits P0 3.3).
    pub fn status(&self, action: u8, values: &[Raw]) -> Vec<u8> {
        let len = self.attributes.iter().map(|attribute| self.end(attribute)).max().unwrap_or(0);
        let mut status = vec![0; len];
        for (attribute, value) in self.attributes.iter().zip(values) {
            self.put(attribute, value, &mut status);
        }
        status.insert(0, action);
        status
    }

    /// The flagged attributes of a control, in the order of their ids, or what is wrong with it.
    pub fn control(&self, p0: &[u8]) -> Result<Vec<(usize, Raw)>, String> {
        let writable: Vec<usize> = (0..self.attributes.len()).filter(|&at| self.attributes[at].writable).collect();
        let n_flags = writable.iter().map(|&at| self.attributes[at].id + 1).max().unwrap_or(0).div_ceil(8);
        let n_values = writable.iter().map(|&at| self.end(&self.attributes[at])).max().unwrap_or(0);
        if p0.len() != 1 + n_flags + n_values {
            return Err(format!("control of {} bytes, {} expected", p0.len(), 1 + n_flags + n_values));
        }
        let (flags, values) = p0[1..].split_at(n_flags);
        let flagged = |id: usize| flags[n_flags - 1 - id / 8] & (1 << (id % 8)) != 0;
        if let Some(id) =
            (0..n_flags * 8).find(|&id| flagged(id) && writable.iter().all(|&at| self.attributes[at].id != id))
        {
            return Err(format!("control flags attribute {id}, which is not writable"));
        }
        let mut set = Vec::new();
        for at in writable {
            let attribute = &self.attributes[at];
            let value = self.get(attribute, values);
            if flagged(attribute.id) {
                if let Raw::Number(x) = value
                    && x > attribute.max
                {
                    return Err(format!("{} = {x}, at most {} allowed", attribute.name, attribute.max));
                }
                set.push((at, value));
            } else if value != self.zeroes()[at] {
                return Err(format!("{} is not flagged and yet not zero", attribute.name));
            }
        }
        if set.is_empty() { Err("control without any flag".to_owned()) } else { Ok(set) }
    }

    fn end(&self, attribute: &Attribute) -> usize {
        match attribute.place {
            Place::Bits { byte, .. } => byte + self.area(byte),
            Place::Number { byte, len } | Place::Bytes { byte, len } => byte + len,
        }
    }

    /// Bytes of the bit area that begins at this offset.
    fn area(&self, at: usize) -> usize {
        let ends = self.attributes.iter().filter_map(|attribute| match attribute.place {
            Place::Bits { byte, bit, len } if byte == at => Some(bit + len),
            _ => None,
        });
        ends.max().unwrap_or(0).div_ceil(8)
    }

    fn put(&self, attribute: &Attribute, value: &Raw, status: &mut [u8]) {
        match (attribute.place, value) {
            (Place::Bits { byte, bit, len }, Raw::Number(x)) => {
                let area = self.area(byte);
                for n in 0..len {
                    let place = bit + n;
                    status[byte + area - 1 - place / 8] |= u8::from(x >> n & 1 == 1) << (place % 8);
                }
            }
            (Place::Number { byte, len }, Raw::Number(x)) => {
                status[byte..byte + len].copy_from_slice(&x.to_be_bytes()[8 - len..]);
            }
            (Place::Bytes { byte, len }, Raw::Bytes(bytes)) => status[byte..byte + len].copy_from_slice(&bytes[..len]),
            (place, value) => unreachable!("{} at {place:?} never holds {value:?}", attribute.name),
        }
    }

    fn get(&self, attribute: &Attribute, status: &[u8]) -> Raw {
        match attribute.place {
            Place::Bits { byte, bit, len } => {
                let area = self.area(byte);
                let one = |n: usize| u64::from(status[byte + area - 1 - (bit + n) / 8] >> ((bit + n) % 8) & 1);
                Raw::Number((0..len).map(|n| one(n) << n).sum())
            }
            Place::Number { byte, len } => {
                Raw::Number(status[byte..byte + len].iter().fold(0, |x, &byte| x << 8 | u64::from(byte)))
            }
            Place::Bytes { byte, len } => Raw::Bytes(status[byte..byte + len].to_vec()),
        }
    }
}

impl Attribute {
    /// What a transmitted number means, as decimal text: y = x * ratio + addition (Gizwits P0 3.2).
    pub fn decimal(&self, x: u64) -> String {
        let scale = self.ratio.scale.max(self.addition.scale);
        let raise = |number: Decimal| i128::from(number.mantissa) * 10i128.pow(scale - number.scale);
        let y = i128::from(x) * raise(self.ratio) + raise(self.addition);
        let digits = format!("{:0width$}", y.unsigned_abs(), width = scale as usize + 1);
        let (whole, part) = digits.split_at(digits.len() - scale as usize);
        let part = part.trim_end_matches('0');
        let sign = if y < 0 { "-" } else { "" };
        if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
    }

    /// A transmitted value for people: label, decimal text or hex.
    pub fn text(&self, value: &Raw) -> String {
        match value {
            Raw::Number(x) => {
                let label = usize::try_from(*x).ok().and_then(|at| self.labels.get(at));
                label.cloned().unwrap_or_else(|| self.decimal(*x))
            }
            Raw::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    fn parse(json: &Json) -> Result<Self, String> {
        let name = json["name"].as_str().ok_or("datapoint file: attribute without a name")?.to_owned();
        let number = |value: &Json, key: &str| {
            value[key].as_u64().map(|n| n as usize).ok_or_else(|| format!("datapoint file: {name}: no {key}"))
        };
        let position = &json["position"];
        let (byte, bit, len) =
            (number(position, "byte_offset")?, number(position, "bit_offset")?, number(position, "len")?);
        let place = match (position["unit"].as_str(), json["data_type"].as_str()) {
            (Some("bit"), _) => Place::Bits { byte, bit, len },
            (_, Some("binary")) => Place::Bytes { byte, len },
            _ if len <= 8 => Place::Number { byte, len },
            _ => return Err(format!("datapoint file: {name}: a number of {len} bytes")),
        };
        let spec = &json["uint_spec"];
        let labels: Vec<String> =
            json["enum"].as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect();
        let max = match place {
            Place::Bits { .. } if !labels.is_empty() => labels.len() as u64 - 1,
            Place::Bits { len, .. } => (1 << len) - 1,
            _ => spec["max"].as_u64().unwrap_or(u64::MAX),
        };
        Ok(Self {
            id: number(json, "id")?,
            writable: json["type"] == "status_writable",
            labels,
            max,
            place,
            ratio: Decimal::parse(&spec["ratio"]).unwrap_or(Decimal { mantissa: 1, scale: 0 }),
            addition: Decimal::parse(&spec["addition"]).unwrap_or(Decimal { mantissa: 0, scale: 0 }),
            name,
        })
    }
}

impl Decimal {
    fn parse(json: &Json) -> Option<Self> {
        let text = json.as_number()?.to_string();
        let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
        let mantissa = format!("{whole}{part}").parse().ok()?;
        Some(Self { mantissa, scale: u32::try_from(part.len()).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Schema {
        Schema::parse(include_str!("../../products/demo.datapoints.json")).unwrap()
    }

    #[test]
    fn a_report_puts_each_value_where_the_file_says() {
        let values = [
            Raw::Number(1),
            Raw::Number(2),
            Raw::Number(22),
            Raw::Number(0x0102_0304),
            Raw::Number(368),
            Raw::Bytes(vec![0xDE, 0xAD, 0, 0]),
            Raw::Number(1),
        ];
        assert_eq!(demo().status(4, &values), [4, 5, 22, 1, 2, 3, 4, 1, 0x70, 0xDE, 0xAD, 0, 0, 1]);
    }

    #[test]
    fn numbers_mean_what_ratio_and_addition_say() {
        let demo = demo();
        assert_eq!(demo.attribute("target").unwrap().decimal(22), "21");
        assert_eq!(demo.attribute("target").unwrap().decimal(23), "21.5");
        assert_eq!(demo.attribute("temperature").unwrap().decimal(368), "-3.2");
    }

    #[test]
    fn a_control_gives_the_flagged_attributes_only() {
        assert_eq!(demo().control(&[1, 0b100, 0, 23]), Ok(vec![(2, Raw::Number(23))]));
        assert_eq!(demo().control(&[1, 0b011, 0b111, 0]), Ok(vec![(0, Raw::Number(1)), (1, Raw::Number(3))]));
    }

    #[test]
    fn a_control_outside_the_rules_is_refused_with_its_fault() {
        for (p0, fault) in [
            (&[1, 0b100, 0][..], "3 bytes"),
            (&[1, 0b1000, 0, 0], "attribute 3"),
            (&[1, 0b100, 0, 41], "at most 40"),
            (&[1, 0b001, 1, 41], "not flagged"),
            (&[1, 0, 0, 0], "without any flag"),
        ] {
            let error = demo().control(p0).unwrap_err();
            assert!(error.contains(fault), "{error:?} should name {fault:?}");
        }
    }
}
