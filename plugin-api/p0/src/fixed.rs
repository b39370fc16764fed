//! Payloads of fixed length: every attribute at its place (Gizwits datapoint protocol 4.0.0).
//!
//! All bits with one byte offset form an area, one big-endian integer. A control holds flags for the writable ids and
//! the whole writable section, unflagged attributes zero.

use std::collections::BTreeMap;

use crate::packet::{P0Error, Raw, read_bits, write_bits};
use crate::schema::{Access, Attribute, Schema};

pub(crate) fn decode_status(schema: &Schema, status: &[u8]) -> Result<Vec<(u8, Raw)>, P0Error> {
    let wanted = end(schema.attributes());
    if status.len() < wanted {
        return Err(P0Error::Short { wanted, got: status.len() });
    }
    let areas = areas(schema.attributes());
    Ok(schema.attributes().iter().map(|attribute| (attribute.id, read(&areas, attribute, status))).collect())
}

pub(crate) fn encode_status(schema: &Schema, values: &[(u8, Raw)]) -> Result<Vec<u8>, P0Error> {
    let sorted = schema.sorted(values)?;
    let missing =
        schema.attributes().iter().find(|attribute| sorted.binary_search_by_key(&attribute.id, |(id, _)| *id).is_err());
    if let Some(attribute) = missing {
        return Err(P0Error::Incomplete(attribute.name.clone()));
    }
    let mut status = vec![0; end(schema.attributes())];
    write(schema, &sorted, &mut status);
    Ok(status)
}

pub(crate) fn decode_control(schema: &Schema, payload: &[u8]) -> Result<Vec<(u8, Raw)>, P0Error> {
    let flag_bytes = control_flag_bytes(schema);
    let wanted = flag_bytes + end(writable(schema));
    let (flags, values) = match payload.split_at_checked(flag_bytes) {
        Some(parts) if payload.len() >= wanted => parts,
        _ => return Err(P0Error::Short { wanted, got: payload.len() }),
    };
    let areas = areas(schema.attributes());
    let flagged = writable(schema).filter(|attribute| read_bits(flags, usize::from(attribute.id), 1) == 1);
    Ok(flagged.map(|attribute| (attribute.id, read(&areas, attribute, values))).collect())
}

pub(crate) fn encode_control(schema: &Schema, values: &[(u8, Raw)]) -> Result<Vec<u8>, P0Error> {
    let sorted = schema.sorted(values)?;
    let flag_bytes = control_flag_bytes(schema);
    let mut payload = vec![0; flag_bytes + end(writable(schema))];
    let (flags, section) = payload.split_at_mut(flag_bytes);
    for (id, _) in &sorted {
        match schema.attribute(*id) {
            Some(attribute) if attribute.access != Access::Writable => {
                return Err(P0Error::NotWritable(attribute.name.clone()));
            }
            _ => write_bits(flags, usize::from(*id), 1, 1),
        }
    }
    write(schema, &sorted, section);
    Ok(payload)
}

/// Where the last of these attributes ends, in bytes.
pub(crate) fn end<'a>(attributes: impl IntoIterator<Item = &'a Attribute>) -> usize {
    let ends = attributes.into_iter().map(|attribute| {
        let bits = attribute.bits().map_or(0, |bits| usize::from(attribute.position.bit) + bits);
        usize::from(attribute.position.byte) + bits.div_ceil(8).max(attribute.bytes())
    });
    ends.max().unwrap_or(0)
}

/// The bit areas: byte offset to length in bytes.
pub(crate) fn areas(attributes: &[Attribute]) -> BTreeMap<u16, usize> {
    let mut areas = BTreeMap::new();
    for attribute in attributes {
        if let Some(bits) = attribute.bits() {
            let length = (usize::from(attribute.position.bit) + bits).div_ceil(8);
            let area = areas.entry(attribute.position.byte).or_insert(length);
            *area = length.max(*area);
        }
    }
    areas
}

fn read(areas: &BTreeMap<u16, usize>, attribute: &Attribute, status: &[u8]) -> Raw {
    let from = &status[usize::from(attribute.position.byte)..];
    match attribute.bits() {
        Some(bits) => {
            let area = &from[..areas.get(&attribute.position.byte).copied().unwrap_or(0)];
            Raw::from_bits(&attribute.data_type, read_bits(area, usize::from(attribute.position.bit), bits))
        }
        None => Raw::from_bytes(&attribute.data_type, &from[..attribute.bytes()]),
    }
}

fn write(schema: &Schema, sorted: &[&(u8, Raw)], status: &mut [u8]) {
    let areas = areas(schema.attributes());
    for (id, value) in sorted {
        let Some(attribute) = schema.attribute(*id) else { continue };
        let into = &mut status[usize::from(attribute.position.byte)..];
        match attribute.bits() {
            Some(bits) => {
                let area = &mut into[..areas.get(&attribute.position.byte).copied().unwrap_or(0)];
                write_bits(area, usize::from(attribute.position.bit), bits, value.bits());
            }
            None => value.write(&mut into[..attribute.bytes()]),
        }
    }
}

fn writable(schema: &Schema) -> impl Iterator<Item = &Attribute> {
    schema.attributes().iter().filter(|attribute| attribute.access == Access::Writable)
}

fn control_flag_bytes(schema: &Schema) -> usize {
    writable(schema).map(|attribute| usize::from(attribute.id) + 1).max().unwrap_or(0).div_ceil(8)
}
