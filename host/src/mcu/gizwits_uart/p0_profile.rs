//! Between P0 payloads and the product's values.
//!
//! Properties and attributes are matched by name. What does not match is named once, when the product becomes known,
//! and left out; what an MCU sends outside the thing model is named and left out, the rest of the report is used.

use std::sync::Arc;

use polylink_p0::{Attribute, DataType, Decimal, Format, P0Error, Packet, Raw, Schema};
use polylink_plugin_api::{DatapointId, Property, Value};

use crate::product::{Field, Kind, Product};

/// Attributes by id, with their values as they travel.
pub(super) type Values = Vec<(u8, Raw)>;

/// A product with the layout of its payloads.
#[derive(Debug)]
pub(super) struct Profile {
    product: Arc<Product>,
    layout: Arc<Schema>,
    /// For each property, the id of its attribute.
    attributes: Vec<Option<u8>>,
}

impl Profile {
    /// Matches the two; `problem` gets what could not be matched.
    pub(super) fn new(
        product: Arc<Product>,
        layout: Option<Arc<Schema>>,
        mut problem: impl FnMut(String),
    ) -> Result<Self, polylink_p0::SchemaError> {
        let layout = match layout {
            Some(layout) => layout,
            None => {
                problem(format!("product {} has no datapoint layout; only uninterpreted bytes pass", product.key));
                Arc::new(Schema::new(Format::Fixed, Vec::new())?)
            }
        };
        let known = |name: &str| product.property(name).is_some();
        for attribute in layout.attributes().iter().filter(|attribute| !known(&attribute.name)) {
            problem(format!("attribute {} of the layout is no property of product {}", attribute.name, product.key));
        }
        let matched = |field: &Field| match layout.named(&field.name) {
            Some(attribute) if fits(&field.kind, &attribute.data_type) => Some(attribute.id),
            _ => None,
        };
        let attributes: Vec<_> = product.properties.iter().map(|property| matched(&property.field)).collect();
        for (property, _) in product.properties.iter().zip(&attributes).filter(|(_, attribute)| attribute.is_none()) {
            let (name, kind) = (&property.field.name, property.field.kind.name());
            problem(format!("property {name} has no attribute in the layout that holds a value of type {kind}"));
        }
        Ok(Self { product, layout, attributes })
    }

    /// Whether uninterpreted bytes pass.
    pub(super) fn is_raw(&self) -> bool {
        self.product.raw
    }

    /// Reads a payload.
    pub(super) fn decode(&self, payload: &[u8]) -> Result<Packet, P0Error> {
        self.layout.decode(payload)
    }

    /// The values of the thing model, ascending by id; `problem` gets those that do not fit it.
    pub(super) fn properties(&self, raw: &[(u8, Raw)], mut problem: impl FnMut(String)) -> Vec<Property> {
        let mut properties = Vec::new();
        for ((id, property), attribute) in (0u32..).zip(&self.product.properties).zip(&self.attributes) {
            let Some(id_on_wire) = *attribute else { continue };
            let Some((_, raw)) = raw.iter().find(|(id, _)| *id == id_on_wire) else { continue };
            let Some(value) =
                self.layout.attribute(id_on_wire).and_then(|attribute| up(&property.field, attribute, raw))
            else {
                problem(format!("{} cannot hold {raw:?}", property.field.name));
                continue;
            };
            match property.field.check(&value) {
                Ok(()) => properties.push(Property { id: DatapointId(id), value }),
                Err(error) => problem(error.to_string()),
            }
        }
        properties
    }

    /// The payload that sets these, and the values as they travel.
    pub(super) fn control(&self, properties: &[Property]) -> Result<(Vec<u8>, Values), String> {
        let mut values = Vec::with_capacity(properties.len());
        for property in properties {
            let attribute = self.attribute(property.id)?;
            let raw = down(attribute, &property.value)?;
            values.push((attribute.id, raw));
        }
        if values.is_empty() {
            return Err("the command sets nothing".into());
        }
        let packet = Packet::Control(values);
        let payload = self.layout.encode(&packet).map_err(|error| error.to_string())?;
        let Packet::Control(values) = packet else { return Err("not a control".into()) };
        Ok((payload, values))
    }

    /// The payload that asks for these; none means all.
    pub(super) fn read(&self, wanted: &[DatapointId]) -> Result<Vec<u8>, String> {
        let ids = if wanted.is_empty() {
            self.attributes.iter().flatten().copied().collect()
        } else {
            wanted.iter().map(|id| Ok(self.attribute(*id)?.id)).collect::<Result<Vec<_>, String>>()?
        };
        self.layout.encode(&Packet::Read(ids)).map_err(|error| error.to_string())
    }

    fn attribute(&self, id: DatapointId) -> Result<&Attribute, String> {
        let on_wire = self.attributes.get(id.0 as usize).copied().flatten();
        let attribute = on_wire.and_then(|on_wire| self.layout.attribute(on_wire));
        attribute.ok_or_else(|| format!("property {} has no place in the MCU's payloads", id.0))
    }
}

fn fits(kind: &Kind, data_type: &DataType) -> bool {
    matches!(
        (kind, data_type),
        (Kind::Bool, DataType::Bool)
            | (Kind::Enum { .. }, DataType::Enum { .. })
            | (Kind::Int { .. } | Kind::Decimal { .. }, DataType::Number { .. })
            | (Kind::Bytes { .. }, DataType::Binary { .. })
    )
}

fn up(field: &Field, attribute: &Attribute, raw: &Raw) -> Option<Value> {
    Some(match (raw, &attribute.data_type, &field.kind) {
        (Raw::Bool(value), _, _) => Value::Bool(*value),
        (Raw::Enum(index), _, _) => Value::Enum(*index),
        (Raw::Bytes(bytes), _, _) => Value::bytes(bytes.as_slice()),
        (Raw::Number(x), DataType::Number { scaling, .. }, Kind::Decimal { scale, .. }) => {
            let y = scaling.to_y(*x).exactly(*scale)?;
            Value::Decimal { mantissa: y.mantissa, scale: y.scale }
        }
        (Raw::Number(x), DataType::Number { scaling, .. }, _) => Value::Int(scaling.to_y(*x).exactly(0)?.mantissa),
        _ => return None,
    })
}

fn down(attribute: &Attribute, value: &Value) -> Result<Raw, String> {
    let y = match value {
        Value::Bool(value) => return Ok(Raw::Bool(*value)),
        Value::Enum(index) => return Ok(Raw::Enum(*index)),
        Value::Bytes(bytes) => return Ok(Raw::Bytes(bytes.to_vec())),
        Value::Int(value) => Decimal::whole(*value),
        Value::Decimal { mantissa, scale } => Decimal { mantissa: *mantissa, scale: *scale },
        other => return Err(format!("{}: payloads carry no {}", attribute.name, other.kind())),
    };
    match &attribute.data_type {
        DataType::Number { scaling, .. } => {
            scaling.to_x(y).map(Raw::Number).map_err(|error| format!("{}: {error}", attribute.name))
        }
        _ => Err(format!("{} takes no number", attribute.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::gizwits_import;

    const AIR: &str = r#"{"product_key":"air","entities":[{"attrs":[
        {"id":0,"name":"Power","data_type":"bool","type":"status_writable",
         "position":{"byte_offset":0,"bit_offset":0,"unit":"bit","len":1}},
        {"id":1,"name":"SetTemp","data_type":"uint8","type":"status_writable",
         "position":{"byte_offset":1,"bit_offset":0,"unit":"byte","len":1},
         "uint_spec":{"ratio":0.5,"addition":10,"min":0,"max":60}}]}]}"#;

    fn profile(edit: impl FnOnce(&mut Product)) -> (Profile, Vec<String>) {
        let gizwits_import::Imported { mut product, layout, .. } = gizwits_import::import(AIR).unwrap();
        edit(&mut product);
        let mut problems = Vec::new();
        let profile =
            Profile::new(Arc::new(product), Some(Arc::new(layout)), |problem| problems.push(problem)).unwrap();
        (profile, problems)
    }

    fn decimal(mantissa: i64, scale: u8) -> Value {
        Value::Decimal { mantissa, scale }
    }

    #[test]
    fn values_travel_in_both_directions() {
        let (profile, problems) = profile(|_| ());
        assert_eq!(problems, [""; 0]);
        let set = [Property { id: DatapointId(1), value: decimal(255, 1) }];
        let (payload, raw) = profile.control(&set).unwrap();
        assert_eq!(payload, [1, 0b10, 0, 31]);
        assert_eq!(profile.properties(&raw, |problem| panic!("{problem}")), set);
    }

    #[test]
    fn a_property_with_more_digits_than_the_wire_keeps_its_own_form() {
        let (profile, _) = profile(|product| {
            product.properties[1].field.kind = Kind::Decimal { scale: 2, min: 1000, max: 4000, step: 50 };
        });
        let values = profile.properties(&[(1, Raw::Number(31))], |problem| panic!("{problem}"));
        assert_eq!(values, [Property { id: DatapointId(1), value: decimal(2550, 2) }]);
    }

    #[test]
    fn a_value_outside_the_thing_model_is_left_out_and_named() {
        let (profile, mut problems) = profile(|_| ());
        let raw = [(0, Raw::Bool(true)), (1, Raw::Number(61))];
        let values = profile.properties(&raw, |problem| problems.push(problem));
        assert_eq!(values, [Property { id: DatapointId(0), value: Value::Bool(true) }]);
        assert_eq!(problems, ["`SetTemp` takes 10.0 to 40.0 in steps of 0.5, not 40.5"]);
    }

    #[test]
    fn what_does_not_match_is_named_when_the_product_becomes_known() {
        let (profile, problems) = profile(|product| {
            product.properties[0].field.name = "power".into();
            product.properties[1].field.kind = Kind::Text { max_bytes: 8 };
        });
        assert_eq!(
            problems,
            [
                "attribute Power of the layout is no property of product air",
                "property power has no attribute in the layout that holds a value of type bool",
                "property SetTemp has no attribute in the layout that holds a value of type text",
            ]
        );
        let set = [Property { id: DatapointId(0), value: Value::Bool(true) }];
        assert_eq!(profile.control(&set).unwrap_err(), "property 0 has no place in the MCU's payloads");
    }
}
