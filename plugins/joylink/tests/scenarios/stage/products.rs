//! What stands on the stage: products and settings, and what a device has stored.

use polylink_plugin_sdk::services::network;
use polylink_plugin_sdk::testing::Setup;
use polylink_plugin_sdk::{DatapointId, Value as Datum};
use serde_json::{Value, json};

pub const PRODUCT_UUID: &str = "XDFSSD";
pub const MAC: &str = "02:00:5E:10:20:30";
pub const FEEDID: &str = "146192837465501234";
pub const ACCESSKEY: &str = "00112233445566778899aabbccddeeff";
pub const LOCALKEY: &str = "8f14e45fceea167a5a36dedd4bea2543";
pub const SERVER: &str = "live.example:2002";

/// An oven with a property of each kind: all can be set but `heat`; event `alarm`, actions `clean` and `beep`.
pub fn product() -> Value {
    json!({"product_key": "k", "name": "oven", "raw": false,
      "properties": [
        {"id": 0, "name": "power", "cloud_name": "switch", "type": "bool", "writable": true},
        {"id": 1, "name": "count", "cloud_name": "n", "type": "int", "writable": true},
        {"id": 2, "name": "heat", "cloud_name": "heat", "type": "int", "writable": false},
        {"id": 3, "name": "target", "cloud_name": "temp", "type": "decimal", "scale": 1, "writable": true},
        {"id": 4, "name": "mode", "cloud_name": "mode", "type": "enum", "labels": ["bake", "grill"], "writable": true},
        {"id": 5, "name": "note", "cloud_name": "note", "type": "text", "max_bytes": 100, "writable": true},
        {"id": 6, "name": "blob", "cloud_name": "blob", "type": "bytes", "max_bytes": 100, "writable": true},
        {"id": 7, "name": "extra", "cloud_name": "push_stream", "type": "json", "max_bytes": 100, "writable": true}],
      "events": [{"id": 0, "name": "hot", "cloud_name": "alarm",
        "params": [{"id": 0, "name": "level", "cloud_name": "lv", "type": "int"}]}],
      "actions": [
        {"id": 0, "name": "clean", "cloud_name": "clean", "idempotent": false,
         "params": [{"id": 0, "name": "depth", "cloud_name": "d", "type": "int"}],
         "returns": [{"id": 0, "name": "freed", "cloud_name": "f", "type": "int"}]},
        {"id": 1, "name": "beep", "cloud_name": "beep", "idempotent": true, "params": [], "returns": []}]})
}

/// A product whose MCU speaks the product's own bytes.
pub fn raw_product() -> Value {
    json!({"product_key": "k", "name": "bytes", "raw": true, "properties": []})
}

/// A setup of the oven without a script (trantype 0), that nobody has bound; settings on top, null removes a key.
pub fn unbound(changes: Value) -> Setup {
    setup_of(product(), with(json!({"trantype": 0}), changes))
}

/// As [`unbound`], but bound.
pub fn bound(changes: Value) -> Setup {
    bind(unbound(changes))
}

/// A bound oven whose script makes JSON of bytes (trantype 1).
pub fn scripted(changes: Value) -> Setup {
    bind(setup_of(product(), with(json!({"trantype": 1, "script": "-- the product's"}), changes)))
}

/// A bound device whose MCU speaks the product's own bytes (trantype 1).
pub fn raw(changes: Value) -> Setup {
    bind(setup_of(raw_product(), with(json!({"trantype": 1}), changes)))
}

/// A bound gateway of ovens.
pub fn gateway(changes: Value) -> Setup {
    bound(with(json!({"device_type": 1}), changes))
}

pub fn setup_of(product: Value, changes: Value) -> Setup {
    let mut setup = Setup::new(
        with(json!({"product_uuid": PRODUCT_UUID, "heartbeat_s": 60, "snapshot_delay_s": 3600}), changes),
        product,
    );
    setup.interfaces = interfaces();
    setup
}

/// What is stored of a bond.
pub fn bind(mut setup: Setup) -> Setup {
    setup.stored.insert("bond".to_owned(), bond(json!({})).to_string().into_bytes());
    setup
}

/// What an app tells when it binds a device, and what is stored of that; members on top, null removes one.
pub fn bond(changes: Value) -> Value {
    let data = json!({
        "feedid": FEEDID, "accesskey": ACCESSKEY, "localkey": LOCALKEY, "joylink_server": [SERVER], "lancon": 1,
    });
    json!({"data": with(data, changes)})
}

pub fn interfaces() -> Vec<network::Interface> {
    vec![network::Interface {
        name: "wlan0".to_owned(),
        mac: [2, 0, 0x5E, 0x10, 0x20, 0x30],
        wireless: true,
        signal_dbm: -60,
        ..network::Interface::default()
    }]
}

/// An object with these members on top; null removes one.
pub fn with(mut object: Value, changes: Value) -> Value {
    let members = object.as_object_mut().expect("an object");
    for (key, value) in changes.as_object().expect("changes are an object").clone() {
        if value.is_null() {
            members.remove(&key);
        } else {
            members.insert(key, value);
        }
    }
    object
}

/// A value of `n`, which can be set.
pub fn n(value: i64) -> (DatapointId, Datum) {
    (DatapointId(1), Datum::Int(value))
}

/// A value of `heat`, which cannot be set.
pub fn heat(value: i64) -> (DatapointId, Datum) {
    (DatapointId(2), Datum::Int(value))
}

/// A value of `switch`.
pub fn switch(on: bool) -> (DatapointId, Datum) {
    (DatapointId(0), Datum::Bool(on))
}
