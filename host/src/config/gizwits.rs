//! `gizwits_datapoints`: the thing model comes from a Gizwits datapoint file beside the product file, and `[[property]]`
//! only adds what that file does not know.

use super::error::{Place, nearest};
use super::product::{CLASSES, HISTORIES, NAME, name, short_text};
use super::read::{Section, choice, text};
use super::source;
use crate::product::Property;
use crate::product::gizwits_import::{self, Imported};

/// Reads the file that the `[product]` section names. None: it names none. Some of none: it is wrong, and reported.
pub(super) fn import(section: &mut Section<'_>, key: &str) -> Option<Option<Imported>> {
    let node = section.node("gizwits_datapoints")?;
    let Ok(written) = text(node) else {
        section.wrong("gizwits_datapoints", "expected the name of a file, relative to this one");
        return Some(None);
    };
    let path = match &node.place {
        Place::File { path, .. } => path.parent().map_or_else(|| written.clone().into(), |dir| dir.join(&written)),
        _ => written.into(),
    };
    let imported = source::read_text(&path, source::MAX_FILE_BYTES)
        .and_then(|json| gizwits_import::import(&json).map_err(|error| error.to_string()));
    match imported {
        Ok(imported) if !imported.product.key.is_empty() && imported.product.key != key => {
            let found = super::tree::quote(&imported.product.key);
            section.wrong("gizwits_datapoints", format!("{} is of product {found}", path.display()));
            Some(None)
        }
        Ok(imported) => Some(Some(imported)),
        Err(reason) => {
            section.wrong("gizwits_datapoints", format!("{}: {reason}", path.display()));
            Some(None)
        }
    }
}

/// Adds what a `[[property]]` entry says to the imported property of its name.
pub(super) fn describe(mut section: Section<'_>, properties: &mut [Property]) {
    let Some(name) = section.required("name", NAME, name) else { return section.finish() };
    let near = nearest(&name, properties.iter().map(|property| property.field.name.as_str()));
    let Some(property) = properties.iter_mut().find(|property| property.field.name == name) else {
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return section.wrong("name", format!("the datapoint file has no `{name}`{near}"));
    };
    section.read("title", &mut property.field.title, short_text);
    section.read("unit", &mut property.field.unit, short_text);
    section.read("history", &mut property.history, choice(&HISTORIES));
    section.read("class", &mut property.class, choice(&CLASSES));
    section.finish();
}
