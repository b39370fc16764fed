//! The start: settings that do not fit, and what of the product the platform cannot know.

use polylink_clife::session::ClifeSession;
use polylink_plugin_sdk::FaultCode;
use polylink_plugin_sdk::services::network::Interface;
use polylink_plugin_sdk::session::Phase;
use polylink_plugin_sdk::testing::{Setup, VirtualHost};
use serde_json::{Value, json};

use crate::scenarios::stage::{Cloud, DEV_KEY, DEV_MAC, product, setup, setup_of};

/// The session does not start, and says this.
#[track_caller]
fn check_refused(setup: Setup, code: FaultCode, says: &str) {
    let mut host = VirtualHost::new::<ClifeSession>(setup);
    let fault = host.try_start().unwrap_err();
    assert_eq!(fault.code, code);
    assert!(fault.message.contains(says) && !fault.message.contains(DEV_KEY), "{}", fault.message);
}

#[test]
fn settings_that_do_not_fit_keep_the_session_from_starting() {
    for (changes, says) in [
        (json!({"dev_key": null}), "dev_key"),
        (json!({"product_code": null}), "settings.product_code"),
        (json!({"auth_level": 0}), "settings.dev_id"),
        (json!({"dev_mac": "02005E10203"}), "settings.dev_mac"),
        (json!({"unknown": 1}), "unknown"),
    ] {
        check_refused(setup(changes), FaultCode::SETTINGS, says);
    }
    check_refused(setup_of(json!({"product_key": 7}), json!({})), FaultCode::PRODUCT, "");
}
