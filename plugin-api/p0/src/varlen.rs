//! Payloads of variable length: flags for all attributes of the product, then only the flagged ones: bits packed
//! without gaps, numbers, binaries, each in ascending order of id (Gizwits datapoint protocol, `var_len` products).

use crate::packet::{P0Error, Raw, read_bits, write_bits};
use crate::schema::{Access, Attribute, DataType, Schema};

/// Reads what is flagged. Flags without an attribute are ignored, as the vendor's MCU code does.
pub(crate) fn decode(schema: &Schema, payload: &[u8]) -> Result<Vec<(u8, Raw)>, P0Error> {
    let flagged: Vec<_> = decode_flags(schema, payload)?.into_iter().filter_map(|id| schema.attribute(id)).collect();
    let area_bytes = area_bytes(&flagged);
    let body: usize = flagged.iter().map(|attribute| attribute.bytes()).sum();
    let wanted = flag_bytes(schema) + area_bytes + body;
    if payload.len() < wanted {
        return Err(P0Error::Short { wanted, got: payload.len() });
    }
    let (area, mut rest) = payload[flag_bytes(schema)..].split_at(area_bytes);
    let mut bit = 0;
    let mut values = Vec::with_capacity(flagged.len());
    for attribute in in_wire_order(&flagged) {
        let value = match attribute.bits() {
            Some(bits) => {
                bit += bits;
                Raw::from_bits(&attribute.data_type, read_bits(area, bit - bits, bits))
            }
            None => {
                let (bytes, beyond) = rest.split_at(attribute.bytes());
                rest = beyond;
                Raw::from_bytes(&attribute.data_type, bytes)
            }
        };
        values.push((attribute.id, value));
    }
    values.sort_by_key(|(id, _)| *id);
    Ok(values)
}

pub(crate) fn decode_flags(schema: &Schema, payload: &[u8]) -> Result<Vec<u8>, P0Error> {
    let wanted = flag_bytes(schema);
    let flags = payload.get(..wanted).ok_or(P0Error::Short { wanted, got: payload.len() })?;
    let ids = schema.attributes().iter().map(|attribute| attribute.id);
    Ok(ids.filter(|id| read_bits(flags, usize::from(*id), 1) == 1).collect())
}

pub(crate) fn encode(schema: &Schema, values: &[(u8, Raw)], control: bool) -> Result<Vec<u8>, P0Error> {
    let sorted = schema.sorted(values)?;
    let ids: Vec<_> = sorted.iter().map(|(id, _)| *id).collect();
    let flagged: Vec<_> = ids.iter().filter_map(|id| schema.attribute(*id)).collect();
    if let Some(attribute) = flagged.iter().find(|attribute| control && attribute.access != Access::Writable) {
        return Err(P0Error::NotWritable(attribute.name.clone()));
    }
    let mut payload = encode_flags(schema, &ids)?;
    let mut area = vec![0; area_bytes(&flagged)];
    let mut body = Vec::new();
    let mut bit = 0;
    for attribute in in_wire_order(&flagged) {
        let Ok(index) = sorted.binary_search_by_key(&attribute.id, |(id, _)| *id) else { continue };
        let value = &sorted[index].1;
        match attribute.bits() {
            Some(bits) => {
                write_bits(&mut area, bit, bits, value.bits());
                bit += bits;
            }
            None => {
                let start = body.len();
                body.resize(start + attribute.bytes(), 0);
                value.write(&mut body[start..]);
            }
        }
    }
    payload.extend(area);
    payload.extend(body);
    Ok(payload)
}

pub(crate) fn encode_flags(schema: &Schema, ids: &[u8]) -> Result<Vec<u8>, P0Error> {
    let mut flags = vec![0; flag_bytes(schema)];
    for id in ids {
        schema.attribute(*id).ok_or(P0Error::NoSuchAttribute(*id))?;
        write_bits(&mut flags, usize::from(*id), 1, 1);
    }
    Ok(flags)
}

/// Bits, then numbers, then binaries; each in ascending order of id.
fn in_wire_order<'a>(flagged: &[&'a Attribute]) -> Vec<&'a Attribute> {
    let mut ordered = flagged.to_vec();
    ordered.sort_by_key(|attribute| match attribute.data_type {
        DataType::Bool | DataType::Enum { .. } => 0,
        DataType::Number { .. } => 1,
        DataType::Binary { .. } => 2,
    });
    ordered
}

fn area_bytes(flagged: &[&Attribute]) -> usize {
    flagged.iter().filter_map(|attribute| attribute.bits()).sum::<usize>().div_ceil(8)
}

fn flag_bytes(schema: &Schema) -> usize {
    schema.attributes().last().map_or(0, |attribute| usize::from(attribute.id) + 1).div_ceil(8)
}
