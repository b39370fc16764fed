//! The connection before the working one: how the device gets its secret.

use serde_json::json;

use crate::scenarios::stage::online;

#[test]
fn online_smoke() {
    let cloud = online(json!({}));
    cloud.host.expect_silence();
}
