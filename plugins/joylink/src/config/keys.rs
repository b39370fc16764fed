//! The keys as they are written in a configuration, with their defaults (JoyLink V1.79 where it says something).

use polylink_plugin_sdk::secret::Secret;
use serde::Deserialize;

use super::{OtaTarget, Rebind};
use crate::packet::ReplayRule;
use crate::timers::period::WeekIndex0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    pub product_uuid: String,
    pub product_uuid_property: String,
    pub mac: Option<String>,
    pub cid: String,
    pub firmware_version: String,
    pub firmware_number: u16,
    pub model_code: String,
    pub device_type: u8,
    pub trantype: u8,
    pub script: Option<String>,
    pub lan_enabled: bool,
    pub lan_address: String,
    pub lan_ports: Vec<u16>,
    pub lan_replay: ReplayRule,
    pub lan_time_window_s: u32,
    pub rebind: Rebind,
    pub wan_session_enctype: u8,
    pub check_auth_random: bool,
    pub heartbeat_s: u32,
    pub lost_replies: u32,
    pub auth_timeout_s: u32,
    pub reconnect_min_s: u32,
    pub reconnect_max_s: u32,
    pub upload_timeout_s: u32,
    pub mcu_timeout_ms: u32,
    pub timezone_offset_s: i32,
    pub week_index0: WeekIndex0,
    pub snapshot_delay_s: u32,
    pub max_tasks: u32,
    pub max_subdevs: u32,
    pub async_queue: u32,
    pub ota_report_s: u32,
    pub ota_target: OtaTarget,
    pub information: Vec<String>,
    pub information_every_s: u32,
    pub information_property: String,
    pub panel_results: bool,
    pub feedid: String,
    pub accesskey: Option<Secret<String>>,
    pub localkey: Option<Secret<String>>,
    pub joylink_servers: Vec<String>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            product_uuid: String::new(),
            product_uuid_property: String::new(),
            mac: None,
            cid: String::new(),
            firmware_version: String::new(),
            // Not documented; chosen by us: older than every image, so that the cloud offers the newest.
            firmware_number: 0,
            model_code: String::new(),
            device_type: 0,
            trantype: 1,
            script: None,
            lan_enabled: true,
            lan_address: String::new(),
            // The port that apps send to, and the one for devices that may not listen there (discovery).
            lan_ports: vec![80, 4320],
            lan_replay: ReplayRule::default(),
            // The document suggests 60, but not what a device without a clock is to do; chosen by us.
            lan_time_window_s: 0,
            rebind: Rebind::default(),
            wan_session_enctype: 3,
            check_auth_random: true,
            // Not documented; chosen by us: half of the limit.
            heartbeat_s: 30,
            // JoyLink V1.79, heartbeat.
            lost_replies: 3,
            // Not documented; chosen by us, as the three that follow.
            auth_timeout_s: 5,
            reconnect_min_s: 2,
            reconnect_max_s: 60,
            upload_timeout_s: 10,
            // JoyLink V1.79, local control.
            mcu_timeout_ms: 500,
            // China has one time zone, and the document knows no other.
            timezone_offset_s: 28_800,
            week_index0: WeekIndex0::default(),
            // The document says a few seconds (timers).
            snapshot_delay_s: 3,
            // Not documented; chosen by us, as the two that follow.
            max_tasks: 32,
            max_subdevs: 50,
            async_queue: 16,
            // Not documented; chosen by us: far below the ten minutes after which the cloud gives up.
            ota_report_s: 30,
            ota_target: OtaTarget::default(),
            information: Vec::new(),
            // Not documented; chosen by us: forecasts change slowly.
            information_every_s: 3600,
            information_property: String::new(),
            panel_results: true,
            feedid: String::new(),
            accesskey: None,
            localkey: None,
            joylink_servers: Vec::new(),
        }
    }
}
