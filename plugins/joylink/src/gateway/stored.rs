//! The sub-devices as they are stored: our own format. Each part has its length and check sum, so that a damaged one
//! costs no other, and no key is used that is not the one that was stored.

use polylink_plugin_sdk::bytes::{Reader, Truncated, Writer};
use polylink_plugin_sdk::secret::Secret;

use super::record::{Name, Record};
use super::{Asked, Gateway, LEAVING_MAX, Leaving, OPT_MAX};
use crate::crypto::{Key32, crc16};
use crate::wire::discovery::Protocol;
use crate::wire::{FeedId, Json};

/// What of the stored sub-devices was lost. What was not is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Not what a gateway stores, or from a later version: all is lost.
    #[error("the stored sub-devices are of an unknown form")]
    UnknownForm,
    /// It ends too early: what follows is lost.
    #[error("the stored sub-devices end too early")]
    Truncated,
    /// So many parts make no sense, or there is no room for them.
    #[error("{0} of the stored sub-devices are damaged")]
    Parts(usize),
}

impl From<Truncated> for Damage {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

impl Gateway {
    /// What to store, with the keys in it. Below 64 KiB whatever was authorized.
    #[must_use]
    pub fn stored(&self) -> Secret<Vec<u8>> {
        // Never grown, so that no copy of the keys is left behind.
        let n_parts = self.records.len() + self.leaving.len();
        let mut bytes = Vec::with_capacity(1 + n_parts * PART_MAX);
        bytes.push(FORM);
        for record in &self.records {
            part(&mut bytes, KIND_RECORD, |bytes| {
                bytes.extend_from_slice(record.feedid.field());
                bytes.extend_from_slice(record.accesskey.expose());
                bytes.extend_from_slice(record.localkey.expose());
                bytes.extend_from_slice(&[u8::from(record.lancon), record.protocol as u8]);
                name(bytes, &record.name);
                bytes.extend_from_slice(record.opt.as_ref().map_or("", Json::get).as_bytes());
            });
        }
        for leaving in &self.leaving {
            part(&mut bytes, KIND_LEAVING, |bytes| name(bytes, &leaving.name));
        }
        Secret::new(bytes)
    }

    /// Takes what was stored in place of what is there. What is damaged counts as absent.
    ///
    /// # Errors
    /// Something is damaged: what, and the rest is restored.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        *self = Self::new(self.max);
        let restored = self.read(&mut Reader::new(bytes));
        // What was lost must not be found damaged again.
        self.changed = restored.is_err();
        restored
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Damage> {
        if reader.u8()? != FORM {
            return Err(Damage::UnknownForm);
        }
        let mut n_damaged = 0;
        while !reader.is_empty() {
            let (kind, length, crc) = (reader.u8()?, reader.u16_le()?, reader.u16_le()?);
            let bytes = reader.take(length.into())?;
            if crc16(&[&[kind], bytes]) != crc || self.take(kind, bytes).is_none() {
                n_damaged += 1;
            }
        }
        if n_damaged == 0 { Ok(()) } else { Err(Damage::Parts(n_damaged)) }
    }

    fn take(&mut self, kind: u8, bytes: &[u8]) -> Option<()> {
        let mut reader = Reader::new(bytes);
        match kind {
            KIND_RECORD => {
                let record = read_record(&mut reader)?;
                let is_there = self.records.iter().any(|old| old.name == record.name || old.feedid == record.feedid);
                (!is_there && !self.is_full()).then(|| self.records.push(record))
            }
            KIND_LEAVING => {
                let name = read_name(&mut reader).filter(|_| reader.is_empty())?;
                let is_there = self.leaving.iter().any(|old| old.name == name);
                let room = self.leaving.len() < LEAVING_MAX;
                (!is_there && room).then(|| self.leaving.push(Leaving { name, asked: Asked::No }))
            }
            _ => None,
        }
    }
}

fn part(bytes: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; HEAD]);
    write(bytes);
    let content = &bytes[at + HEAD..];
    let mut head = Writer::new();
    // The bounds of all texts keep it far below.
    head.u8(kind).u16_le(content.len() as u16).u16_le(crc16(&[&[kind], content]));
    bytes[at..at + HEAD].copy_from_slice(head.written());
}

fn name(bytes: &mut Vec<u8>, name: &Name) {
    for text in [&name.productuuid, &name.mac] {
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text.as_bytes());
    }
}

fn read_record(reader: &mut Reader<'_>) -> Option<Record> {
    let feedid = FeedId::read(reader).ok().filter(|feedid| !feedid.is_empty())?;
    let (accesskey, localkey) = (Key32::new(reader.array().ok()?), Key32::new(reader.array().ok()?));
    let lancon = reader.u8().ok()? == 1;
    let protocol = Protocol::of(reader.u8().ok()?)?;
    let name = read_name(reader)?;
    let opt = match std::str::from_utf8(reader.rest()).ok()? {
        "" => None,
        text => Some(Json::new(text).filter(|opt| opt.is_object() && text.len() <= OPT_MAX)?),
    };
    Some(Record { name, protocol, feedid, accesskey, localkey, lancon, opt, listed: None })
}

fn read_name(reader: &mut Reader<'_>) -> Option<Name> {
    let mut text = || {
        let length = reader.u8().ok()?;
        std::str::from_utf8(reader.take(length.into()).ok()?).ok()
    };
    Name::new(text()?, text()?)
}

/// The first byte of what is stored. Another one is another form.
const FORM: u8 = 1;

const KIND_RECORD: u8 = 1;
const KIND_LEAVING: u8 = 2;

/// Kind, length and check sum of a part.
const HEAD: usize = 5;

/// Bytes of the longest part: three fields of 32 bytes, two flags, two texts with their lengths, and `opt`.
pub(super) const PART_MAX: usize =
    HEAD + 3 * 32 + 2 + 2 + super::record::PRODUCTUUID_MAX + super::record::MAC_MAX + OPT_MAX;
