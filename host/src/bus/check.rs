//! The one place where commands and reports are held against the thing model, for all clouds.

use std::collections::HashSet;

use polylink_plugin_api::{CommandBody, DatapointId, Property, ReportBody};

use crate::product::{Field, Product, ValueError};

/// Why a command or a part of a report is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// No such property, event, action or parameter.
    #[error("there is no {what} {id}; this product has {n}, counted from 0")]
    Unknown {
        /// `property`, `event`, `action` or `parameter`.
        what: &'static str,
        /// What came.
        id: u32,
        /// How many there are.
        n: usize,
    },
    /// It cannot be set.
    #[error("`{0}` can only be read")]
    ReadOnly(String),
    /// A list that names nothing.
    #[error("nothing to set")]
    Empty,
    /// Named twice.
    #[error("`{0}` is named twice")]
    Twice(String),
    /// An action lacks something.
    #[error("action `{action}` needs parameter `{param}`")]
    Missing {
        /// The action.
        action: String,
        /// What it lacks.
        param: String,
    },
    /// The product does not have raw bytes.
    #[error("this product takes no raw bytes")]
    Raw,
    /// Too many raw bytes.
    #[error("{0} raw bytes; at most {RAW_MAX} are taken")]
    RawTooLong(usize),
    /// A value does not fit.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// Whether the device may be asked this; and if so, whether it may be asked twice without harm.
///
/// # Errors
/// What is wrong with it.
pub fn check_command(product: &Product, body: &CommandBody) -> Result<bool, CheckError> {
    match body {
        CommandBody::Set(wanted) => {
            if wanted.is_empty() {
                return Err(CheckError::Empty);
            }
            let fields = |id: DatapointId| product.properties.get(id.0 as usize).map(|property| &property.field);
            check_list("property", wanted, product.properties.len(), fields)?;
            for property in wanted {
                let known = &product.properties[property.id.0 as usize];
                if !known.writable {
                    return Err(CheckError::ReadOnly(known.field.name.clone()));
                }
            }
            Ok(true)
        }
        CommandBody::Get(ids) => {
            let n = product.properties.len();
            match ids.iter().find(|id| id.0 as usize >= n) {
                Some(id) => Err(CheckError::Unknown { what: "property", id: id.0, n }),
                None => Ok(true),
            }
        }
        CommandBody::Invoke { action, params } => {
            let unknown = CheckError::Unknown { what: "action", id: action.0, n: product.actions.len() };
            let action = product.actions.get(action.0 as usize).ok_or(unknown)?;
            check_list("parameter", params, action.params.len(), |id| action.params.get(id.0 as usize))?;
            for (id, field) in (0u32..).zip(&action.params) {
                if !params.iter().any(|param| param.id.0 == id) {
                    return Err(CheckError::Missing { action: action.name.clone(), param: field.name.clone() });
                }
            }
            Ok(action.idempotent)
        }
        CommandBody::Raw(_) if !product.raw => Err(CheckError::Raw),
        CommandBody::Raw(bytes) if bytes.len() > RAW_MAX => Err(CheckError::RawTooLong(bytes.len())),
        CommandBody::Raw(_) => Ok(false),
    }
}

/// Makes a report of the device acceptable: properties in ascending order of id, each once (the last one counts), and
/// without those that do not fit. Returns what is left, if anything, and why the rest was left out.
pub fn check_report(product: &Product, body: ReportBody) -> (Option<ReportBody>, Vec<CheckError>) {
    match body {
        ReportBody::Properties(list) => {
            let (values, errors) = check_values(product, list.into());
            ((!values.is_empty()).then(|| ReportBody::Properties(values.into())), errors)
        }
        ReportBody::Event { id, params } => {
            let n = product.events.len();
            let Some(event) = product.events.get(id.0 as usize) else {
                return (None, vec![CheckError::Unknown { what: "event", id: id.0, n }]);
            };
            match check_list("parameter", &params, event.params.len(), |id| event.params.get(id.0 as usize)) {
                Ok(()) => (Some(ReportBody::Event { id, params }), Vec::new()),
                Err(error) => (None, vec![error]),
            }
        }
        ReportBody::Raw(_) if !product.raw => (None, vec![CheckError::Raw]),
        ReportBody::Raw(bytes) if bytes.len() > RAW_MAX => (None, vec![CheckError::RawTooLong(bytes.len())]),
        body @ ReportBody::Raw(_) => (Some(body), Vec::new()),
    }
}

/// The same for a bare list of property values.
pub fn check_values(product: &Product, list: Vec<Property>) -> (Vec<Property>, Vec<CheckError>) {
    let mut errors = Vec::new();
    let n = product.properties.len();
    let mut values: Vec<Property> = Vec::with_capacity(list.len().min(n));
    for value in list {
        let checked = match product.properties.get(value.id.0 as usize) {
            Some(property) => property.field.check(&value.value).map_err(CheckError::from),
            None => Err(CheckError::Unknown { what: "property", id: value.id.0, n }),
        };
        match checked {
            Ok(()) => match values.binary_search_by_key(&value.id, |one| one.id) {
                Ok(at) => values[at] = value,
                Err(at) => values.insert(at, value),
            },
            Err(error) if errors.len() < ERRORS_MAX => errors.push(error),
            Err(_) => {}
        }
    }
    (values, errors)
}

fn check_list<'a>(
    what: &'static str,
    list: &[Property],
    n: usize,
    field: impl Fn(DatapointId) -> Option<&'a Field>,
) -> Result<(), CheckError> {
    let mut named = HashSet::with_capacity(list.len().min(n));
    for one in list {
        let field = field(one.id).ok_or(CheckError::Unknown { what, id: one.id.0, n })?;
        field.check(&one.value)?;
        if !named.insert(one.id) {
            return Err(CheckError::Twice(field.name.clone()));
        }
    }
    Ok(())
}

/// Raw bytes in one report or command. Not documented; chosen by us: the longest frame of the Gizwits serial protocol
/// carries 65535 bytes less its header.
const RAW_MAX: usize = 65_535;

/// Errors that are described for one report; the rest is only left out. Not documented; chosen by us.
const ERRORS_MAX: usize = 8;

#[cfg(test)]
mod tests;
