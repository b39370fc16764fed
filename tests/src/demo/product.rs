//! The demo's product: its datapoints, its file for the host, and what the clouds ask of it.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::mcu::p0::{Raw, Schema};
use crate::rig::files::Files;

/// Attribute that carries the number of each report.
pub const COUNTER: &str = "counter";

/// Attribute that wanders by itself.
pub const SENSOR: &str = "temperature";

/// What the sensor shows after so long: up and down by five degrees around 20.0 within a minute.
pub fn sensor(after: Duration) -> Raw {
    let tenths = u64::try_from(after.as_millis() / 300 % 200).unwrap_or(0);
    // Transmitted: tenths of a degree above -40 (the demo's datapoint file).
    Raw::Number(550 + tenths.min(200 - tenths))
}

/// The datapoints as the MCU knows them.
pub fn schema() -> Schema {
    Schema::parse(DATAPOINTS).expect("the demo's own datapoint file is right")
}

/// The configuration of a host with this MCU and these clouds' sections.
pub fn files(port: &str, sections: &str, plugins: Vec<String>) -> Files {
    let key = schema().product_key;
    let product = format!(
        "[product]\nkey = \"{key}\"\nname = \"Demo\"\ngizwits_datapoints = \"{DATAPOINT_FILE}\"\n\n\
         [[property]]\nname = \"{COUNTER}\"\nhistory = \"all\"\n\n{sections}"
    );
    Files {
        link: "gizwits-uart".to_owned(),
        port: port.to_owned(),
        product_key: key,
        product,
        plugins,
        overlay: String::new(),
        others: vec![(format!("products/{DATAPOINT_FILE}"), DATAPOINTS.to_owned())],
    }
}

/// The n-th command of a run: a property and a value that it does not have before.
pub fn command(n: usize) -> (&'static str, Json) {
    match n % 6 {
        0 => ("switch", json!(true)),
        1 => ("mode", json!("cool")),
        2 => ("target", json!(21.5)),
        3 => ("switch", json!(false)),
        4 => ("mode", json!("heat")),
        _ => ("target", json!(24.0)),
    }
}

const DATAPOINTS: &str = include_str!("../../products/demo.datapoints.json");
const DATAPOINT_FILE: &str = "demo.datapoints.json";
