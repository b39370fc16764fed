//! What stands in frames: reports, checkpoints, and what clouds have settled.

use std::collections::BTreeMap;

use polylink_plugin_api::{Cause, ClockQuality, DatapointId, Property, ReportBody, Value, WallTime};

use super::bytes::{Reader, put, put_piece, put_runs, put_signed};
use crate::bus::Losses;
use crate::bus::journal::{Loss, Record};

/// A report as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    /// Its number.
    pub seq: u64,
    /// When it was said, in seconds of the journal's own time.
    pub said_s: u64,
    /// When it was said, for clouds.
    pub at: WallTime,
    /// 0: the device itself.
    pub device: u32,
    /// Why.
    pub cause: Cause,
    /// What.
    pub body: ReportBody,
}

/// Everything but the reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// See [`crate::product::Product::digest`].
    pub product: u64,
    /// The journal's own time, in seconds.
    pub time_s: u64,
    /// The number of the last report.
    pub last_seq: u64,
    /// See [`crate::bus::journal::Journal::newest`].
    pub newest: BTreeMap<(u32, DatapointId), u64>,
    /// The clouds that reports are kept for; [`Settled`] names them by their place here.
    pub clouds: Vec<CloudState>,
}

/// One cloud of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CloudState {
    /// Its name.
    pub name: String,
    /// What it had lost.
    pub losses: Losses,
    /// What it has not settled, ascending.
    pub held: Vec<u64>,
}

/// What one cloud has settled and lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Its place in the checkpoint of the segment.
    pub cloud: usize,
    /// What it has settled, ascending.
    pub settled: Vec<u64>,
    /// What it has lost.
    pub lost: Vec<(u64, Loss)>,
}

/// The bytes of a report.
pub(super) fn encode_report(seq: u64, said_s: u64, record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    put(&mut bytes, seq);
    put(&mut bytes, said_s);
    put_signed(&mut bytes, record.at.unix_ms);
    bytes.push(record.at.quality.0);
    put(&mut bytes, record.device.into());
    bytes.push(record.cause.0);
    match &record.body {
        ReportBody::Properties(list) => {
            bytes.push(0);
            put_properties(&mut bytes, list);
        }
        ReportBody::Event { id, params } => {
            bytes.push(1);
            put(&mut bytes, id.0.into());
            put_properties(&mut bytes, params);
        }
        ReportBody::Raw(raw) => {
            bytes.push(2);
            bytes.extend_from_slice(raw);
        }
    }
    bytes
}

fn put_properties(bytes: &mut Vec<u8>, list: &[Property]) {
    put(bytes, list.len() as u64);
    for property in list {
        put(bytes, property.id.0.into());
        match &property.value {
            Value::Bool(value) => bytes.push(u8::from(*value)),
            Value::Int(value) => {
                bytes.push(2);
                put_signed(bytes, *value);
            }
            Value::Decimal { mantissa, scale } => {
                bytes.extend([3, *scale]);
                put_signed(bytes, *mantissa);
            }
            Value::Enum(index) => {
                bytes.push(4);
                put(bytes, (*index).into());
            }
            Value::Text(text) => {
                bytes.push(5);
                put_piece(bytes, text.as_bytes());
            }
            Value::Bytes(piece) => {
                bytes.push(6);
                put_piece(bytes, piece);
            }
            Value::Json(text) => {
                bytes.push(7);
                put_piece(bytes, text.as_bytes());
            }
        }
    }
}

/// None: these are not the bytes of a report.
pub(super) fn decode_report(payload: &[u8]) -> Option<Stored> {
    let mut reader = Reader(payload);
    let (seq, said_s) = (reader.number()?, reader.number()?);
    let at = WallTime { unix_ms: reader.signed()?, quality: ClockQuality(reader.byte()?) };
    let (device, cause) = (reader.small()?, Cause(reader.byte()?));
    let body = match reader.byte()? {
        0 => ReportBody::Properties(reader.list(property)?.into()),
        1 => ReportBody::Event { id: DatapointId(reader.small()?), params: reader.list(property)?.into() },
        2 => ReportBody::Raw(std::mem::replace(&mut reader, Reader(&[])).0.to_vec().into()),
        _ => return None,
    };
    reader.is_empty().then_some(Stored { seq, said_s, at, device, cause, body })
}

fn property(reader: &mut Reader<'_>) -> Option<Property> {
    let id = DatapointId(reader.small()?);
    let value = match reader.byte()? {
        bit @ 0..=1 => Value::Bool(bit == 1),
        2 => Value::Int(reader.signed()?),
        3 => {
            let scale = reader.byte()?;
            Value::Decimal { mantissa: reader.signed()?, scale }
        }
        4 => Value::Enum(reader.small()?),
        5 => Value::text(reader.text()?),
        6 => Value::bytes(reader.piece()?),
        7 => Value::json(reader.text()?),
        _ => return None,
    };
    Some(Property { id, value })
}

/// The bytes of a checkpoint.
pub(super) fn encode_checkpoint(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut bytes = checkpoint.product.to_be_bytes().to_vec();
    put(&mut bytes, checkpoint.time_s);
    put(&mut bytes, checkpoint.last_seq);
    put(&mut bytes, checkpoint.newest.len() as u64);
    for (&(device, id), &seq) in &checkpoint.newest {
        put(&mut bytes, device.into());
        put(&mut bytes, id.0.into());
        put(&mut bytes, seq);
    }
    put(&mut bytes, checkpoint.clouds.len() as u64);
    for cloud in &checkpoint.clouds {
        put_piece(&mut bytes, cloud.name.as_bytes());
        let Losses { values, history, alarms, unconfirmed, replaced } = cloud.losses;
        [values, history, alarms, unconfirmed, replaced].into_iter().for_each(|number| put(&mut bytes, number));
        put_runs(&mut bytes, &cloud.held);
    }
    bytes
}

/// None: these are not the bytes of a checkpoint.
pub(super) fn decode_checkpoint(payload: &[u8]) -> Option<Checkpoint> {
    let (product, rest) = payload.split_first_chunk()?;
    let mut reader = Reader(rest);
    let checkpoint = Checkpoint {
        product: u64::from_be_bytes(*product),
        time_s: reader.number()?,
        last_seq: reader.number()?,
        newest: reader
            .list(|reader| Some(((reader.small()?, DatapointId(reader.small()?)), reader.number()?)))?
            .into_iter()
            .collect(),
        clouds: reader.list(|reader| {
            let name = reader.text()?.to_owned();
            let losses = Losses {
                values: reader.number()?,
                history: reader.number()?,
                alarms: reader.number()?,
                unconfirmed: reader.number()?,
                replaced: reader.number()?,
            };
            Some(CloudState { name, losses, held: reader.runs()? })
        })?,
    };
    reader.is_empty().then_some(checkpoint)
}

/// The bytes of what clouds have settled.
pub(super) fn encode_settled(clouds: &[Settled]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, clouds.len() as u64);
    for cloud in clouds {
        put(&mut bytes, cloud.cloud as u64);
        put_runs(&mut bytes, &cloud.settled);
        put(&mut bytes, cloud.lost.len() as u64);
        for (seq, loss) in &cloud.lost {
            put(&mut bytes, *seq);
            bytes.push(LOSSES.iter().position(|one| one == loss).unwrap_or(0) as u8);
        }
    }
    bytes
}

/// None: these are not the bytes of such a record.
pub(super) fn decode_settled(payload: &[u8]) -> Option<Vec<Settled>> {
    let mut reader = Reader(payload);
    let clouds = reader.list(|reader| {
        let cloud = usize::try_from(reader.number()?).ok()?;
        let settled = reader.runs()?;
        let lost = reader.list(|reader| Some((reader.number()?, *LOSSES.get(usize::from(reader.byte()?))?)))?;
        Some(Settled { cloud, settled, lost })
    })?;
    reader.is_empty().then_some(clouds)
}

/// Numbers of losses in files.
const LOSSES: [Loss; 4] = [Loss::Value, Loss::History, Loss::Alarm, Loss::Unconfirmed];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bus::journal::Weight;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (any::<i64>(), 0..=Value::MAX_SCALE).prop_map(|(mantissa, scale)| Value::Decimal { mantissa, scale }),
            any::<u32>().prop_map(Value::Enum),
            any::<String>().prop_map(Value::text),
            any::<Vec<u8>>().prop_map(Value::bytes),
            any::<String>().prop_map(Value::json),
        ]
    }

    fn list() -> impl Strategy<Value = Vec<Property>> {
        let property = (any::<u32>(), value()).prop_map(|(id, value)| Property { id: DatapointId(id), value });
        prop::collection::vec(property, 0..5)
    }

    fn body() -> impl Strategy<Value = ReportBody> {
        prop_oneof![
            list().prop_map(|list| ReportBody::Properties(list.into())),
            (any::<u32>(), list())
                .prop_map(|(id, params)| ReportBody::Event { id: DatapointId(id), params: params.into() }),
            any::<Vec<u8>>().prop_map(|raw| ReportBody::Raw(raw.into())),
        ]
    }

    proptest! {
        #[test]
        fn every_report_survives(seq: u64, said_s: u64, unix_ms: i64, device: u32, body in body()) {
            let at = WallTime { unix_ms, quality: ClockQuality::SYNCED };
            let record = Record {
                at, said_ms: 0, device, cause: Cause::PERIODIC, origin: None, body: body.clone(),
                weight: Weight::Alarm, latest: Box::default(),
            };
            let stored = Stored { seq, said_s, at, device, cause: Cause::PERIODIC, body };
            prop_assert_eq!(decode_report(&encode_report(seq, said_s, &record)), Some(stored));
        }

        #[test]
        fn no_bytes_can_panic_a_decoder(bytes: Vec<u8>) {
            let _ = (decode_report(&bytes), decode_checkpoint(&bytes), decode_settled(&bytes));
        }
    }

    #[test]
    fn checkpoints_and_settled_records_survive() {
        let losses = Losses { values: 1, history: 2, alarms: 3, unconfirmed: 4, replaced: 500 };
        let checkpoint = Checkpoint {
            product: u64::MAX - 5,
            time_s: 1_000_000,
            last_seq: 300,
            newest: [((0, DatapointId(3)), 299), ((7, DatapointId(1)), 4)].into(),
            clouds: vec![
                CloudState { name: "deli".into(), losses, held: vec![1, 2, 3, 7, 300] },
                CloudState { name: "gizwits".into(), ..CloudState::default() },
            ],
        };
        assert_eq!(decode_checkpoint(&encode_checkpoint(&checkpoint)), Some(checkpoint));
        let settled = vec![
            Settled { cloud: 1, settled: vec![5, 6, 9], lost: vec![(7, Loss::Alarm), (8, Loss::Unconfirmed)] },
            Settled { cloud: 0, ..Settled::default() },
        ];
        assert_eq!(decode_settled(&encode_settled(&settled)), Some(settled));
    }
}
