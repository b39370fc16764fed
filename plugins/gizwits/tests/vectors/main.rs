//! Runs the vectors of `gizwits.json`. Each names where it comes from; this file only says how a kind is judged.

mod lan;
mod m2m;

use polylink_plugin_sdk::hex;
use serde::Deserialize;
use serde_json::Value;

/// All vectors of a layer.
fn vectors(layer: &str) -> Vec<Vector> {
    let file: File = serde_json::from_str(include_str!("gizwits.json")).unwrap();
    file.vectors.into_iter().filter(|vector| vector.layer == layer).collect()
}

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    layer: String,
    kind: String,
    /// The members that its kind has.
    #[serde(flatten)]
    body: Value,
}

impl Vector {
    fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_else(|| panic!("{}: {member} is a text", self.id))
    }

    fn bytes(&self, member: &str) -> Vec<u8> {
        unhex(self.text(member))
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    hex::decode(digits).unwrap_or_else(|| panic!("{digits}"))
}
