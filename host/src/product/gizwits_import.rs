//! Takes a product over from a Gizwits datapoint file: the thing model for the host, and the layout of the payloads for
//! a link that speaks P0.
//!
//! Names are kept, so a product that is described in both ways is matched by name. A number becomes an `int` if ratio
//! and addition are whole, else a `decimal` with as many digits as they have. Nothing is guessed: what the thing model
//! cannot hold is refused with the attribute's name.

use polylink_p0::{Access, Attribute, DataType, Schema, SchemaError};

use super::{Class, Field, History, Kind, Product, Property};

/// A product from a datapoint file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The thing model; property ids are positions in the file's order of ids.
    pub product: Product,
    /// How its payloads are laid out.
    pub layout: Schema,
    /// The file's own text, for a plugin that speaks P0 to its cloud.
    pub text: String,
}

/// Why a datapoint file cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The file itself.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// An identifier that product files cannot hold.
    #[error("attribute {id} is named `{name}`; accepted: letters a-z and A-Z, digits and _")]
    Name {
        /// The attribute.
        id: u8,
        /// Its name.
        name: String,
    },
    /// Two enum labels are the same.
    #[error("{attribute} has the label `{label}` twice; labels must differ")]
    Label {
        /// The attribute.
        attribute: String,
        /// The label.
        label: String,
    },
}

/// Reads a datapoint file.
///
/// # Errors
/// Names the attribute, what was found and what would be accepted.
pub fn import(json: &str) -> Result<Imported, ImportError> {
    let layout = Schema::parse(json)?;
    let properties = layout.attributes().iter().map(property).collect::<Result<Vec<_>, _>>()?;
    let product = Product {
        key: layout.product_key.clone(),
        name: layout.name.clone(),
        properties,
        events: Vec::new(),
        actions: Vec::new(),
        raw: false,
    };
    // Some tools of the vendor's write a byte order mark, which no JSON reader of a plugin has to expect.
    let text = json.strip_prefix('\u{FEFF}').unwrap_or(json).to_owned();
    Ok(Imported { product, layout, text })
}

fn property(attribute: &Attribute) -> Result<Property, ImportError> {
    let named = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if !attribute.name.chars().all(named) {
        return Err(ImportError::Name { id: attribute.id, name: attribute.name.clone() });
    }
    let kind = match &attribute.data_type {
        DataType::Bool => Kind::Bool,
        DataType::Enum { labels, .. } => {
            if let Some(twice) = (1..labels.len()).find(|&index| labels[..index].contains(&labels[index])) {
                let label = labels[twice].clone();
                return Err(ImportError::Label { attribute: attribute.name.clone(), label });
            }
            Kind::Enum { labels: labels.clone() }
        }
        DataType::Number { scaling, .. } => {
            let ((least, greatest), step) = (scaling.limits(), scaling.step());
            let (min, max, step) = (least.mantissa, greatest.mantissa, step.mantissa);
            match scaling.scale() {
                0 => Kind::Int { min, max, step },
                scale => Kind::Decimal { scale, min, max, step },
            }
        }
        DataType::Binary { bytes } => Kind::Bytes { max_bytes: usize::from(*bytes) },
    };
    let class = match attribute.access {
        Access::Writable | Access::ReadOnly => Class::Value,
        Access::Alert => Class::Alarm,
        Access::Fault => Class::Fault,
    };
    let title = attribute.title.clone();
    Ok(Property {
        field: Field { name: attribute.name.clone(), title, unit: String::new(), kind },
        writable: attribute.access == Access::Writable,
        history: History::Latest,
        class,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIR: &str = r#"{"name":"Air","product_key":"ffeeddccbbaa99887766554433221100","entities":[{"attrs":[
        {"id":0,"name":"Power","display_name":"Ein","data_type":"bool","type":"status_writable",
         "position":{"byte_offset":0,"bit_offset":0,"unit":"bit","len":1}},
        {"id":1,"name":"Mode","data_type":"enum","type":"status_writable","enum":["auto","cool"],
         "position":{"byte_offset":0,"bit_offset":1,"unit":"bit","len":2}},
        {"id":2,"name":"SetTemp","data_type":"uint8","type":"status_writable",
         "position":{"byte_offset":1,"bit_offset":0,"unit":"byte","len":1},
         "uint_spec":{"ratio":0.5,"addition":10,"min":0,"max":60}},
        {"id":3,"name":"Room","data_type":"uint8","type":"status_readonly",
         "position":{"byte_offset":2,"bit_offset":0,"unit":"byte","len":1},
         "uint_spec":{"ratio":1,"addition":-13,"min":0,"max":200}},
        {"id":4,"name":"Serial","data_type":"binary","type":"status_readonly",
         "position":{"byte_offset":3,"bit_offset":0,"unit":"byte","len":4}},
        {"id":5,"name":"Filter","data_type":"bool","type":"alert",
         "position":{"byte_offset":7,"bit_offset":0,"unit":"bit","len":1}},
        {"id":6,"name":"Motor","data_type":"bool","type":"fault",
         "position":{"byte_offset":8,"bit_offset":0,"unit":"bit","len":1}}]}]}"#;

    #[track_caller]
    fn check(name: &str, kind: Kind, writable: bool, class: Class) {
        let product = import(AIR).unwrap().product;
        let (_, property) = product.property(name).unwrap();
        assert_eq!((&property.field.kind, property.writable, property.class), (&kind, writable, class));
    }

    #[test]
    fn each_type_of_attribute_becomes_the_kind_that_holds_its_engineering_values() {
        check("Power", Kind::Bool, true, Class::Value);
        check("Mode", Kind::Enum { labels: vec!["auto".into(), "cool".into()] }, true, Class::Value);
        check("SetTemp", Kind::Decimal { scale: 1, min: 100, max: 400, step: 5 }, true, Class::Value);
        check("Room", Kind::Int { min: -13, max: 187, step: 1 }, false, Class::Value);
        check("Serial", Kind::Bytes { max_bytes: 4 }, false, Class::Value);
        check("Filter", Kind::Bool, false, Class::Alarm);
        check("Motor", Kind::Bool, false, Class::Fault);
    }

    #[test]
    fn key_name_and_titles_come_along() {
        let imported = import(AIR).unwrap();
        assert_eq!(imported.product.key, "ffeeddccbbaa99887766554433221100");
        assert_eq!(
            (imported.product.name.as_str(), imported.product.properties[0].field.title.as_str()),
            ("Air", "Ein")
        );
        assert_eq!(imported.layout.attributes().len(), 7);
    }

    #[test]
    fn the_text_comes_along_without_a_byte_order_mark() {
        assert_eq!(import(&format!("\u{FEFF}{AIR}")).unwrap().text, AIR);
    }

    #[test]
    fn a_name_that_product_files_cannot_hold_is_refused() {
        let message = "attribute 3 is named `Room temp`; accepted: letters a-z and A-Z, digits and _";
        assert_eq!(import(&AIR.replace("Room", "Room temp")).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_label_that_stands_twice_is_refused() {
        let message = "Mode has the label `auto` twice; labels must differ";
        assert_eq!(import(&AIR.replace("cool", "auto")).unwrap_err().to_string(), message);
    }
}
