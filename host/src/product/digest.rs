//! A number that is the same as long as stored values mean the same.

use super::{Field, Kind, Product};

impl Product {
    /// Differs, but for chance, where a stored report would be read differently: other datapoints, other types or limits. Names for
    /// people, units, and how values are kept may change.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut digest = Digest(OFFSET);
        digest.text(&self.key);
        digest.number(i64::from(self.raw));
        digest.number(self.properties.len() as i64);
        self.properties.iter().for_each(|property| digest.field(&property.field));
        digest.number(self.events.len() as i64);
        for event in &self.events {
            digest.text(&event.name);
            digest.number(event.params.len() as i64);
            event.params.iter().for_each(|param| digest.field(param));
        }
        digest.0
    }
}

/// FNV-1a of 64 bits: nobody attacks it, since who can write the journal can write anything into it.
struct Digest(u64);

impl Digest {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(PRIME));
    }

    fn number(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as i64);
        self.bytes(text.as_bytes());
    }

    fn field(&mut self, field: &Field) {
        self.text(&field.name);
        self.text(field.kind.name());
        match &field.kind {
            Kind::Bool => {}
            Kind::Int { min, max, step } => [min, max, step].into_iter().for_each(|&number| self.number(number)),
            Kind::Decimal { scale, min, max, step } => {
                self.number(i64::from(*scale));
                [min, max, step].into_iter().for_each(|&number| self.number(number));
            }
            Kind::Enum { labels } => {
                self.number(labels.len() as i64);
                labels.iter().for_each(|label| self.text(label));
            }
            Kind::Text { max_bytes } | Kind::Bytes { max_bytes } | Kind::Json { max_bytes } => {
                self.number(i64::try_from(*max_bytes).unwrap_or(i64::MAX));
            }
        }
    }
}

/// FNV-1a, 64 bits (draft-eastlake-fnv).
const OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
/// See [`OFFSET`].
const PRIME: u64 = 0x0000_0100_0000_01B3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::{Class, History, Property};

    fn product(name: &str, unit: &str, max: i64, history: History) -> Product {
        let kind = Kind::Int { min: 0, max, step: 1 };
        let field = Field { name: name.into(), title: String::new(), unit: unit.into(), kind };
        Product {
            key: "k".into(),
            name: "n".into(),
            properties: vec![Property { field, writable: true, history, class: Class::Value }],
            events: Vec::new(),
            actions: Vec::new(),
            raw: false,
        }
    }

    #[test]
    fn it_changes_with_the_meaning_of_values_and_with_nothing_else() {
        let digest = product("a", "m", 9, History::All).digest();
        assert_eq!(digest, product("a", "km", 9, History::Latest).digest());
        assert_ne!(digest, product("b", "m", 9, History::All).digest());
        assert_ne!(digest, product("a", "m", 8, History::All).digest());
        assert_ne!(digest, Product { key: "l".into(), ..product("a", "m", 9, History::All) }.digest());
    }
}
