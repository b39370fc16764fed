//! The vectors of `tests/vectors/http.json`, by id, for the tests of each module. The file says where they come from.

use serde_json::Value;

/// The vector with this id.
#[track_caller]
pub(crate) fn vector(id: &str) -> Value {
    let file: Value = serde_json::from_str(include_str!("../tests/vectors/http.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    vectors.iter().find(|vector| vector["id"] == id).unwrap_or_else(|| panic!("no vector {id}")).clone()
}
