//! Recorded and computed bytes of the serial protocol, for the tests of this folder.

use serde::Deserialize;

/// One entry of `vectors/serial.json`.
#[derive(Deserialize)]
pub struct Vector {
    pub id: String,
    pub kind: String,
    #[serde(default)]
    pub wire_hex: String,
    pub cmd: Option<u8>,
    pub sn: Option<u8>,
    pub flags: Option<u16>,
    pub payload_hex: Option<String>,
    #[serde(default)]
    expect: Vec<Expected>,
    #[serde(default)]
    pub cases: Vec<SignalCase>,
}

/// A signal strength and the level to transmit.
#[derive(Deserialize)]
pub struct SignalCase {
    pub percent: u8,
    pub level: u8,
}

#[derive(Deserialize)]
struct Expected {
    kind: String,
    error: Option<String>,
    cmd: Option<u8>,
    sn: Option<u8>,
    flags: Option<u16>,
    payload: Option<String>,
}

impl Vector {
    /// What a stream gives, as text.
    pub fn expected(&self) -> Vec<String> {
        let shown = |item: &Expected| match &item.error {
            Some(error) => format!("{} {error}", item.kind),
            None => {
                let (cmd, sn, flags) = (item.cmd.unwrap(), item.sn.unwrap(), item.flags.unwrap());
                format!("{} {cmd} {sn} {flags} {}", item.kind, item.payload.as_deref().unwrap())
            }
        };
        self.expect.iter().map(shown).collect()
    }
}

/// The vectors of whole frames.
pub fn frames() -> Vec<Vector> {
    all().into_iter().filter(|vector| vector.kind == "frame").collect()
}

/// The vectors of streams.
pub fn streams() -> Vec<Vector> {
    all().into_iter().filter(|vector| vector.kind == "stream").collect()
}

/// The vector with this id.
pub fn named(id: &str) -> Vector {
    all().into_iter().find(|vector| vector.id == id).unwrap()
}

/// Bytes from hex, spaces allowed.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let text = |pair: &[u8]| String::from_utf8(pair.to_vec()).unwrap();
    digits.chunks(2).map(|pair| u8::from_str_radix(&text(pair), 16).unwrap()).collect()
}

fn all() -> Vec<Vector> {
    #[derive(Deserialize)]
    struct File {
        vectors: Vec<Vector>,
    }
    serde_json::from_str::<File>(include_str!("vectors/serial.json")).unwrap().vectors
}
