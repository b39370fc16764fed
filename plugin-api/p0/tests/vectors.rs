//! Payloads from the vendor's generated code, from published captures and computed ones, both ways; round trips of
//! random products; arbitrary bytes.

use std::collections::BTreeMap;

use polylink_p0::{
    Access, Attribute, DataType, Decimal, Format, P0Error, Packet, Position, Raw, Scaling, Schema, SchemaError,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct File {
    schemas: BTreeMap<String, Box<RawValue>>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    kind: String,
    schema: Option<String>,
    p0_hex: Option<String>,
    #[serde(default)]
    values: BTreeMap<String, Box<RawValue>>,
    encode_exact: Option<bool>,
    #[serde(default)]
    attrs: Vec<String>,
    data_hex: Option<String>,
    #[serde(default)]
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    uint_spec: BTreeMap<String, Box<RawValue>>,
    x: u32,
    y: Box<RawValue>,
}

#[test]
fn every_vector_decodes_to_its_values_and_encodes_to_its_bytes() {
    let file: File = serde_json::from_str(include_str!("vectors/p0.json")).unwrap();
    let schemas: BTreeMap<_, _> =
        file.schemas.iter().map(|(name, text)| (name.as_str(), Schema::parse(text.get()).unwrap())).collect();
    for vector in &file.vectors {
        let schema = &schemas[vector.schema.as_deref().unwrap_or("gokit_std")];
        let bytes = vector.p0_hex.as_deref().map(unhex).unwrap_or_default();
        check(schema, vector, &bytes);
    }
    assert_eq!(file.vectors.len(), 24);
}

#[track_caller]
fn check(schema: &Schema, vector: &Vector, bytes: &[u8]) {
    let id = &vector.id;
    let decoded = schema.decode(bytes);
    match vector.kind.as_str() {
        "scaling" => {
            for case in &vector.cases {
                let member = |name: &str| Decimal::parse(case.uint_spec[name].get()).unwrap();
                let scaling = Scaling::new(member("ratio"), member("addition"), 0, u32::MAX).unwrap();
                let y = Decimal::parse(case.y.get()).unwrap();
                assert_eq!(scaling.to_x(y), Ok(case.x), "{id}");
                assert_eq!(scaling.to_y(case.x).shortest(), y.shortest(), "{id}");
            }
        }
        "reject" => assert!(matches!(decoded, Err(P0Error::Short { .. })), "{id}: {decoded:?}"),
        "transparent" => {
            let packet = Packet::TransparentDown(unhex(vector.data_hex.as_deref().unwrap()));
            assert_eq!(decoded.as_ref(), Ok(&packet), "{id}");
            assert_eq!(schema.encode(&packet).unwrap(), bytes, "{id}");
        }
        "standard-read" => assert_eq!(schema.encode(&decoded.unwrap()).unwrap(), bytes, "{id}"),
        "varlen-read" => {
            let ids = vector.attrs.iter().map(|name| schema.named(name).unwrap().id).collect();
            assert_eq!(decoded.as_ref(), Ok(&Packet::Read(ids)), "{id}");
            assert_eq!(schema.encode(&decoded.unwrap()).unwrap(), bytes, "{id}");
        }
        _ => {
            let packet = decoded.unwrap();
            let (Packet::Control(values) | Packet::Report(values) | Packet::ReadAnswer(values)) = &packet else {
                panic!("{id}: {packet:?}");
            };
            let found: BTreeMap<_, _> =
                values.iter().map(|(id, raw)| shown(schema.attribute(*id).unwrap(), raw)).collect();
            let expected: BTreeMap<_, _> =
                vector.values.iter().map(|(name, value)| (name.clone(), expected(value.get()))).collect();
            assert_eq!(found, expected, "{id}");
            if vector.encode_exact.unwrap_or(vector.kind == "standard-status") {
                assert_eq!(schema.encode(&packet).unwrap(), bytes, "{id}");
            }
        }
    }
}

fn shown(attribute: &Attribute, raw: &Raw) -> (String, String) {
    let text = match (&attribute.data_type, raw) {
        (DataType::Number { scaling, .. }, Raw::Number(x)) => scaling.to_y(*x).shortest().to_string(),
        (_, Raw::Bool(value)) => value.to_string(),
        (_, Raw::Enum(index)) => index.to_string(),
        (_, Raw::Bytes(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        other => panic!("{other:?}"),
    };
    (attribute.name.clone(), text)
}

fn expected(json: &str) -> String {
    match Decimal::parse(json) {
        Ok(number) => number.shortest().to_string(),
        Err(_) => json.trim_matches('"').to_owned(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn a_control_of_what_the_product_lacks_or_forbids_is_refused() {
    let file: File = serde_json::from_str(include_str!("vectors/p0.json")).unwrap();
    for name in ["gokit_std", "mixed_varlen"] {
        let schema = Schema::parse(file.schemas[name].get()).unwrap();
        let read_only = schema.attributes().iter().find(|a| a.access == Access::ReadOnly).unwrap();
        let refused = |values| schema.encode(&Packet::Control(values)).unwrap_err();
        assert_eq!(refused(vec![(200, Raw::Bool(true))]), P0Error::NoSuchAttribute(200));
        assert_eq!(refused(vec![(read_only.id, Raw::Bool(true))]), P0Error::NotWritable(read_only.name.clone()));
        assert!(matches!(refused(vec![(0, Raw::Number(1))]), P0Error::Type { .. }));
        assert!(matches!(refused(vec![(0, Raw::Bool(true)), (0, Raw::Bool(true))]), P0Error::Twice(_)));
    }
}

#[test]
fn a_value_wider_than_its_place_is_refused() {
    let file: File = serde_json::from_str(include_str!("vectors/p0.json")).unwrap();
    let schema = Schema::parse(file.schemas["wide_std"].get()).unwrap();
    for (name, raw) in [("Mode", Raw::Enum(8)), ("SetTemp", Raw::Number(256)), ("Label", Raw::Bytes(vec![0; 7]))] {
        let id = schema.named(name).unwrap().id;
        assert!(matches!(schema.encode(&Packet::Control(vec![(id, raw)])), Err(P0Error::TooWide { .. })), "{name}");
    }
}

#[test]
fn a_report_of_fixed_length_that_lacks_an_attribute_is_refused() {
    let file: File = serde_json::from_str(include_str!("vectors/p0.json")).unwrap();
    let schema = Schema::parse(file.schemas["gokit_std"].get()).unwrap();
    let error = schema.encode(&Packet::Report(vec![(0, Raw::Bool(true))])).unwrap_err();
    assert_eq!(error, P0Error::Incomplete("LED_Color".into()));
}

#[test]
fn a_payload_of_the_other_format_is_refused() {
    let file: File = serde_json::from_str(include_str!("vectors/p0.json")).unwrap();
    let fixed = Schema::parse(file.schemas["gokit_std"].get()).unwrap();
    assert_eq!(fixed.decode(&[0x14, 1, 1]), Err(P0Error::OtherFormat { action: 0x14, format: Format::Fixed }));
    assert_eq!(fixed.decode(&[0x71]), Err(P0Error::Action(0x71)));
    assert_eq!(fixed.decode(&[]), Err(P0Error::Empty));
}

/// What one attribute of a random product is: its type, and whether it may be written.
fn any_attribute() -> impl Strategy<Value = (u8, u8, bool)> {
    (0..6_u8, 1..=12_u8, any::<bool>())
}

/// A sound product: writable attributes first, bits of a section in one area, no gaps.
fn schema(mut kinds: Vec<(u8, u8, bool)>, format: Format) -> Result<Schema, SchemaError> {
    kinds.sort_by_key(|(kind, _, writable)| (!writable, *kind > 1));
    let scaling = Scaling::new(Decimal { mantissa: 5, scale: 1 }, Decimal::whole(-7), 0, u32::MAX).unwrap();
    let mut attributes = Vec::new();
    let (mut byte, mut bit, mut section) = (0_u16, 0_u16, (true, true));
    for (id, (kind, size, writable)) in kinds.into_iter().enumerate() {
        let data_type = match kind {
            0 => DataType::Bool,
            1 => DataType::Enum { labels: vec!["a".into()], bits: size },
            2..=4 => DataType::Number { bytes: 1 << (kind - 2), scaling },
            _ => DataType::Binary { bytes: size.into() },
        };
        let bits = if kind <= 1 { if kind == 0 { 1 } else { u16::from(size) } } else { 0 };
        if section != (writable, bits > 0) {
            byte += bit.div_ceil(8);
            (bit, section) = (0, (writable, bits > 0));
        }
        let access = if writable { Access::Writable } else { Access::ReadOnly };
        let position = Position { byte, bit };
        let attribute =
            Attribute { id: id as u8, name: format!("a{id}"), title: String::new(), access, data_type, position };
        byte += attribute.bytes() as u16;
        bit += bits;
        attributes.push(attribute);
    }
    Schema::new(format, attributes)
}

fn any_value(attribute: &Attribute, seed: &mut impl Iterator<Item = u32>) -> Raw {
    let number = seed.next().unwrap_or(1);
    match &attribute.data_type {
        DataType::Bool => Raw::Bool(number & 1 == 1),
        DataType::Enum { bits, .. } => Raw::Enum(number & ((1 << bits) - 1)),
        DataType::Number { bytes, .. } => Raw::Number(number & (u32::MAX >> (32 - 8 * u32::from(*bytes)))),
        DataType::Binary { bytes } => Raw::Bytes((0..*bytes).map(|at| (number >> (at % 25)) as u8).collect()),
    }
}

proptest! {
    #[test]
    fn every_packet_of_every_product_survives_the_wire(
        kinds in prop::collection::vec(any_attribute(), 1..40), fixed: bool, seed: Vec<u32>, chosen: u64
    ) {
        let schema = schema(kinds, if fixed { Format::Fixed } else { Format::VarLen }).unwrap();
        let mut seed = seed.into_iter().chain(1..);
        let all: Vec<_> = schema.attributes().iter().map(|a| (a.id, any_value(a, &mut seed))).collect();
        let some = |wanted: &dyn Fn(&Attribute) -> bool| -> Vec<_> {
            let chosen = schema.attributes().iter().zip(&all).filter(|(a, _)| chosen >> a.id & 1 == 1 && wanted(a));
            chosen.map(|(_, value)| value.clone()).collect()
        };
        let mut packets = vec![
            Packet::Report(all.clone()),
            Packet::ReadAnswer(all.clone()),
            Packet::Control(some(&|a| a.access == Access::Writable)),
            Packet::TransparentUp(vec![0xFF; 3]),
        ];
        if !fixed {
            packets.push(Packet::Report(some(&|_| true)));
            packets.push(Packet::Read(some(&|_| true).iter().map(|(id, _)| *id).collect()));
        }
        for packet in packets {
            let mut bytes = schema.encode(&packet).unwrap();
            prop_assert_eq!(schema.decode(&bytes), Ok(packet.clone()));
            if !matches!(packet, Packet::TransparentUp(_)) {
                bytes.extend([0xDE, 0xAD]);
                prop_assert_eq!(schema.decode(&bytes), Ok(packet), "with stale bytes behind");
            }
        }
    }

    #[test]
    fn no_bytes_can_panic_the_decoder(
        kinds in prop::collection::vec(any_attribute(), 0..40), fixed: bool, action in 0_u8..0x18, bytes: Vec<u8>
    ) {
        let schema = schema(kinds, if fixed { Format::Fixed } else { Format::VarLen }).unwrap();
        let _ = schema.decode(&bytes);
        let _ = schema.decode(&[&[action], bytes.as_slice()].concat());
    }
}
