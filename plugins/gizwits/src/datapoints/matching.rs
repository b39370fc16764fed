//! Which attribute of the layout is which property of the product.

use std::collections::BTreeMap;

use polylink_p0::{Attribute, DataType, Raw, Schema, SchemaError};
use polylink_plugin_sdk::DatapointId;
use polylink_plugin_sdk::thing_model::{Field, Kind, ThingModel};

use super::down;

/// Why a layout does not go with the product.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The file itself.
    #[error("the datapoint layout: {0}")]
    File(#[from] SchemaError),
    /// The product does not have what the layout has.
    #[error(
        "attribute `{0}` of the datapoint layout is no property of the product; rename it, or map a property to it"
    )]
    NoProperty(String),
    /// Two attributes would be one property.
    #[error("attributes `{first}` and `{second}` of the datapoint layout are both the property `{property}`")]
    Shared {
        /// The property.
        property: String,
        /// One attribute.
        first: String,
        /// The other.
        second: String,
    },
    /// A property of another type.
    #[error("attribute `{attribute}` of the datapoint layout is {layout}, and the product has {product}")]
    Type {
        /// The attribute.
        attribute: String,
        /// What the layout says.
        layout: String,
        /// What the product says.
        product: String,
    },
}

/// The property of each attribute.
pub(super) fn fields(model: &ThingModel, layout: &Schema) -> Result<BTreeMap<u8, Field>, LayoutError> {
    let mut fields: BTreeMap<u8, Field> = BTreeMap::new();
    for attribute in layout.attributes() {
        // A layout that came with the product speaks the product's words, whatever is mapped for this cloud.
        let property = model.property_of_cloud(&attribute.name).or_else(|| model.property_named(&attribute.name));
        let property = property.ok_or_else(|| LayoutError::NoProperty(attribute.name.clone()))?;
        let shared = fields.iter().find(|(_, field)| field.id == property.field.id);
        if let Some(first) = shared.and_then(|(id, _)| layout.attribute(*id)) {
            return Err(LayoutError::Shared {
                property: property.field.name.clone(),
                first: first.name.clone(),
                second: attribute.name.clone(),
            });
        }
        check(&property.field, attribute)?;
        fields.insert(attribute.id, property.field.clone());
    }
    Ok(fields)
}

/// What apps will not see.
pub(super) fn notes(model: &ThingModel, layout: &Schema, attributes: &BTreeMap<DatapointId, u8>) -> Vec<String> {
    let left_out = model.properties.iter().filter(|property| !attributes.contains_key(&property.field.id));
    let mut notes: Vec<_> = left_out
        .map(|property| format!("property `{}` has no attribute in the datapoint layout", property.field.name))
        .collect();
    let (theirs, ours) = (&layout.product_key, &model.product_key);
    if !theirs.is_empty() && !theirs.eq_ignore_ascii_case(ours) {
        notes.push(format!("the datapoint layout is of product {theirs}, and the device is of product {ours}"));
    }
    notes
}

fn check(field: &Field, attribute: &Attribute) -> Result<(), LayoutError> {
    let wrong =
        |layout: String, product: String| Err(LayoutError::Type { attribute: attribute.name.clone(), layout, product });
    match (&attribute.data_type, &field.kind) {
        (DataType::Bool, Kind::Bool) => Ok(()),
        (DataType::Enum { labels, .. }, Kind::Enum { labels: ours }) if labels.len() == ours.len() => Ok(()),
        (DataType::Enum { labels, .. }, Kind::Enum { labels: ours }) => {
            wrong(format!("an enum of {} labels", labels.len()), format!("one of {}", ours.len()))
        }
        (DataType::Binary { bytes }, Kind::Bytes { max_bytes }) if usize::from(*bytes) == *max_bytes => Ok(()),
        (DataType::Binary { bytes }, Kind::Bytes { max_bytes }) => {
            wrong(format!("{bytes} bytes"), format!("{max_bytes}"))
        }
        (DataType::Number { scaling, .. }, Kind::Int { .. } | Kind::Decimal { .. }) => {
            // If the least two and the greatest can be told, so can all in between: they have the same digits.
            let (least, greatest) = scaling.limits();
            let neighbour = scaling.to_x(least).ok().and_then(|x| x.checked_add(1));
            let x = [scaling.to_x(least).ok(), neighbour, scaling.to_x(greatest).ok()];
            match x.into_iter().flatten().try_for_each(|x| down(field, attribute, &Raw::Number(x)).map(|_| ())) {
                Ok(()) => Ok(()),
                Err(error) => wrong(format!("a number from {least} in steps of {}", scaling.step()), error.to_string()),
            }
        }
        (data_type, kind) => wrong(name(data_type).to_owned(), format!("a property of type {}", kind.name())),
    }
}

const fn name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Bool => "a bool",
        DataType::Enum { .. } => "an enum",
        DataType::Number { .. } => "a number",
        DataType::Binary { .. } => "a binary",
    }
}
