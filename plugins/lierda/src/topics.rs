//! MQTT topics of the Lierda cloud: what is subscribed to, what is sent where, and what a topic means.
//!
//! Invariant: what [`Topics::classify`] names is one of the protocol's topics of this device; everything else is `None`.

mod subscriptions;

use serde::Deserialize;

use crate::auth::Identity;

pub use subscriptions::ProductKind;

/// Where the authentication request goes; the only topic that is not below the device's own.
pub const AUTH: &str = "/sys/device/auth";

/// Where a passthrough downlink is acknowledged. The topic list and the chapter of the protocol disagree about the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassthroughAckTopic {
    /// On the topic it came on, with `_ack`.
    #[default]
    Auto,
    /// Always on `downlink_ack`.
    DownlinkAck,
    /// Always on `downloadlink_ack`.
    DownloadlinkAck,
}

/// What a message's topic says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `downlink`: authentication reply, new session, passthrough downlink.
    Downlink,
    /// `downloadlink`: the other name of a passthrough downlink.
    Downloadlink,
    /// `firmware_report_ack`.
    FirmwareReportAck,
    /// `ask_firmware`: query of firmware versions.
    AskFirmware,
    /// `ota_notify`: upgrade order.
    OtaNotify,
    /// `ask_config`: query of settings.
    AskConfig,
    /// `down_config`: new settings, by the name in the chapter.
    DownConfig,
    /// `download_config`: new settings, by the name in the topic list.
    DownloadConfig,
    /// `update_time_ack`: the time.
    UpdateTimeAck,
    /// `uplink_ack`.
    UplinkAck,
    /// `model/property/ask`: query of properties.
    PropertyAsk,
    /// `model/property/set`.
    PropertySet,
    /// `model/property/report_ack`.
    PropertyReportAck,
    /// `model/event/{event}/report_ack`, of this event.
    EventReportAck(String),
    /// `model/service/{service}`: a call of this service.
    Service(String),
    /// `model/history/data/report_ack`.
    HistoryReportAck,
    /// `model/hex/report_ack`.
    HexReportAck,
    /// `model/hex/downlink`.
    HexDownlink,
    /// `model/hex_ack`: acknowledgement of full HEX.
    HexAck,
    /// What the device itself sends, echoed by a wildcard: to be ignored in silence.
    Own,
}

/// The topics of one device.
#[derive(Clone, Debug)]
pub struct Topics {
    base: String,
}

impl Topics {
    /// The topics below `/sys/{OpenID}/{ProductID}/{NodeEui}`.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        let Identity { open_id, product_id, node_eui } = identity;
        Self { base: format!("/sys/{open_id}/{product_id}/{node_eui}") }
    }

    /// What this topic says; `None` if it is none of this device's.
    #[must_use]
    pub fn classify(&self, topic: &str) -> Option<Topic> {
        Some(match topic.strip_prefix(self.base.as_str())?.strip_prefix('/')? {
            "downlink" => Topic::Downlink,
            "downloadlink" => Topic::Downloadlink,
            "firmware_report_ack" => Topic::FirmwareReportAck,
            "ask_firmware" => Topic::AskFirmware,
            "ota_notify" => Topic::OtaNotify,
            "ask_config" => Topic::AskConfig,
            "down_config" => Topic::DownConfig,
            "download_config" => Topic::DownloadConfig,
            "update_time_ack" => Topic::UpdateTimeAck,
            "uplink_ack" => Topic::UplinkAck,
            "model/property/ask" => Topic::PropertyAsk,
            "model/property/set" => Topic::PropertySet,
            "model/property/report_ack" => Topic::PropertyReportAck,
            "model/history/data/report_ack" => Topic::HistoryReportAck,
            "model/hex/report_ack" => Topic::HexReportAck,
            "model/hex/downlink" => Topic::HexDownlink,
            "model/hex_ack" => Topic::HexAck,
            "uplink"
            | "firmware_report"
            | "config_report"
            | "update_time"
            | "ota_notify_ack"
            | "downlink_ack"
            | "downloadlink_ack"
            | "model/property/report"
            | "model/property/set_ack"
            | "model/history/data/report"
            | "model/hex/report"
            | "model/hex/downlink_ack"
            | "model/hex" => Topic::Own,
            below => return with_identifier(below),
        })
    }

    /// Where a message that came on `topic` is answered; `None`: nothing there is answered because of its topic.
    ///
    /// On [`Topic::Downlink`] only passthrough downlinks are answered; that is for the caller to tell from the
    /// `HeaderCtrl`.
    #[must_use]
    pub fn ack_topic(&self, topic: &Topic, passthrough: PassthroughAckTopic) -> Option<String> {
        Some(match (topic, passthrough) {
            (Topic::Downlink, PassthroughAckTopic::Auto | PassthroughAckTopic::DownlinkAck)
            | (Topic::Downloadlink, PassthroughAckTopic::DownlinkAck) => self.downlink_ack(),
            (Topic::Downloadlink, PassthroughAckTopic::Auto | PassthroughAckTopic::DownloadlinkAck)
            | (Topic::Downlink, PassthroughAckTopic::DownloadlinkAck) => self.downloadlink_ack(),
            (Topic::AskFirmware, _) => self.firmware_report(),
            (Topic::OtaNotify, _) => self.ota_notify_ack(),
            (Topic::AskConfig | Topic::DownConfig | Topic::DownloadConfig, _) => self.config_report(),
            (Topic::PropertyAsk, _) => self.property_report(),
            (Topic::PropertySet, _) => self.property_set_ack(),
            (Topic::Service(service), _) => self.service_ack(service),
            (Topic::HexDownlink, _) => self.hex_downlink_ack(),
            (
                Topic::FirmwareReportAck
                | Topic::UpdateTimeAck
                | Topic::UplinkAck
                | Topic::PropertyReportAck
                | Topic::EventReportAck(_)
                | Topic::HistoryReportAck
                | Topic::HexReportAck
                | Topic::HexAck
                | Topic::Own,
                _,
            ) => return None,
        })
    }

    fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }
}

/// Defines what the device subscribes to or sends on, by its name below the device's own topic.
macro_rules! named {
    ($($(#[$doc:meta])* $function:ident => $name:literal;)*) => {
        impl Topics {
            $($(#[$doc])* #[must_use] pub fn $function(&self) -> String { self.below($name) })*
        }
    };
}

named! {
    /// The one subscription of the authentication connection, and the one that a working connection cannot do without.
    downlink => "downlink";
    /// Passthrough uplinks.
    uplink => "uplink";
    /// Version reports.
    firmware_report => "firmware_report";
    /// Settings reports, which also answer new settings.
    config_report => "config_report";
    /// Time requests.
    update_time => "update_time";
    /// Acknowledgements of upgrade orders.
    ota_notify_ack => "ota_notify_ack";
    /// Acknowledgements of passthrough downlinks.
    downlink_ack => "downlink_ack";
    /// Acknowledgements of passthrough downlinks, by the other name.
    downloadlink_ack => "downloadlink_ack";
    /// Property reports.
    property_report => "model/property/report";
    /// Acknowledgements of new property values.
    property_set_ack => "model/property/set_ack";
    /// Reports of what happened while the device was offline.
    history_report => "model/history/data/report";
    /// HEX uplinks.
    hex_report => "model/hex/report";
    /// Acknowledgements of HEX downlinks.
    hex_downlink_ack => "model/hex/downlink_ack";
    /// Full HEX uplinks.
    hex_full => "model/hex";
}

impl Topics {
    /// Reports of this event.
    #[must_use]
    pub fn event_report(&self, event: &str) -> String {
        self.below(&format!("model/event/{event}/report"))
    }

    /// Acknowledgements of calls of this service.
    #[must_use]
    pub fn service_ack(&self, service: &str) -> String {
        self.below(&format!("model/service/{service}/ack"))
    }
}

/// True if a message with this `HeaderCtrl` may come on this topic; others are dropped.
///
/// A 4 on a downlink topic is an acknowledgement if it has a `Code`, else it is handled like 7: the protocol's chapter
/// and its table disagree.
#[must_use]
pub fn allowed(topic: &Topic, header_ctrl: i64) -> bool {
    let allowed: &[i64] = match topic {
        Topic::Downlink => &[1, 3, 4, 7],
        Topic::Downloadlink => &[4, 7],
        Topic::FirmwareReportAck => &[8],
        Topic::AskFirmware => &[13],
        Topic::OtaNotify => &[9],
        Topic::AskConfig | Topic::DownConfig | Topic::DownloadConfig => &[14],
        Topic::UpdateTimeAck => &[29],
        Topic::UplinkAck => &[4],
        Topic::PropertyAsk => &[23],
        Topic::PropertySet => &[20],
        Topic::PropertyReportAck => &[16],
        Topic::EventReportAck(_) => &[17],
        Topic::Service(_) => &[21],
        Topic::HistoryReportAck => &[27],
        Topic::HexReportAck => &[18, 19, 26],
        Topic::HexDownlink => &[22, 24, 25],
        Topic::HexAck => &[28],
        Topic::Own => &[],
    };
    allowed.contains(&header_ctrl)
}

/// True if this can be one level of a topic, as a service or an event has to be.
#[must_use]
pub fn identifier_ok(identifier: &str) -> bool {
    let unusable = |c: char| matches!(c, '/' | '+' | '#') || c.is_control();
    !identifier.is_empty() && identifier.len() <= LONGEST_IDENTIFIER && !identifier.contains(unusable)
}

/// What stands below the device's own topic and has a service or an event in its name.
fn with_identifier(below: &str) -> Option<Topic> {
    let topic = if let Some(rest) = below.strip_prefix("model/service/") {
        match rest.strip_suffix("/ack") {
            Some(service) if identifier_ok(service) => Topic::Own,
            _ if identifier_ok(rest) => Topic::Service(rest.to_owned()),
            _ => return None,
        }
    } else {
        let rest = below.strip_prefix("model/event/")?;
        match (rest.strip_suffix("/report_ack"), rest.strip_suffix("/report")) {
            (Some(event), _) if identifier_ok(event) => Topic::EventReportAck(event.to_owned()),
            (_, Some(event)) if identifier_ok(event) => Topic::Own,
            _ => return None,
        }
    };
    Some(topic)
}

/// Longest service or event identifier (not documented; chosen by us).
const LONGEST_IDENTIFIER: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "/sys/7ED01E2A/AA30C505/20MQTTJ000121";

    fn topics() -> Topics {
        Topics::new(&Identity {
            open_id: "7ED01E2A".into(),
            product_id: "AA30C505".into(),
            node_eui: "20MQTTJ000121".into(),
        })
    }

    fn check(below: &str, expected: Option<Topic>) {
        assert_eq!(topics().classify(&format!("{BASE}/{below}")), expected, "{below}");
    }

    #[test]
    fn services_and_events_are_named_by_their_topic() {
        check("model/service/switch", Some(Topic::Service("switch".into())));
        check("model/service/ack", Some(Topic::Service("ack".into())));
        check("model/event/alarm/report_ack", Some(Topic::EventReportAck("alarm".into())));
        for below in [
            "model/service/",
            "model/service/a/b",
            "model/service//ack",
            "model/event//report_ack",
            "model/event/a/b/report_ack",
            "model/event/a",
        ] {
            check(below, None);
        }
    }

    #[test]
    fn everything_the_device_sends_is_its_own() {
        let topics = topics();
        for topic in [
            topics.uplink(),
            topics.firmware_report(),
            topics.config_report(),
            topics.update_time(),
            topics.ota_notify_ack(),
            topics.downlink_ack(),
            topics.downloadlink_ack(),
            topics.property_report(),
            topics.property_set_ack(),
            topics.history_report(),
            topics.hex_report(),
            topics.hex_downlink_ack(),
            topics.hex_full(),
            topics.event_report("alarm"),
            topics.service_ack("switch"),
        ] {
            assert_eq!(topics.classify(&topic), Some(Topic::Own), "{topic}");
        }
    }

    #[test]
    fn topics_of_others_are_nobodys() {
        for topic in [
            "",
            "/",
            AUTH,
            BASE,
            "/sys/7ED01E2A/AA30C505/20MQTTJ0001212/downlink",
            "/sys/x/AA30C505/20MQTTJ000121/downlink",
        ] {
            assert_eq!(topics().classify(topic), None, "{topic}");
        }
        check("", None);
        check("downlink/", None);
        check("Downlink", None);
    }

    #[test]
    fn the_setting_can_fix_where_passthrough_downlinks_are_acknowledged() {
        for (setting, on_downlink, on_downloadlink) in [
            (PassthroughAckTopic::Auto, "downlink_ack", "downloadlink_ack"),
            (PassthroughAckTopic::DownlinkAck, "downlink_ack", "downlink_ack"),
            (PassthroughAckTopic::DownloadlinkAck, "downloadlink_ack", "downloadlink_ack"),
        ] {
            let answer = |topic| topics().ack_topic(&topic, setting);
            assert_eq!(answer(Topic::Downlink), Some(format!("{BASE}/{on_downlink}")));
            assert_eq!(answer(Topic::Downloadlink), Some(format!("{BASE}/{on_downloadlink}")));
        }
    }

    #[test]
    fn a_command_counts_only_on_its_own_topic() {
        let service = Topic::Service("switch".into());
        assert!(allowed(&service, 21) && !allowed(&service, 20));
        assert!(allowed(&Topic::PropertySet, 20) && !allowed(&Topic::PropertySet, 21));
        assert!([1, 3, 4, 7].iter().all(|&header| allowed(&Topic::Downlink, header)));
        assert!([1, 3].iter().all(|&header| !allowed(&Topic::Downloadlink, header)));
        assert!((-1..40).all(|header| !allowed(&Topic::Own, header)));
        for undefined in [i64::MIN, 0, 2, 5, 6, 10, 11, 12, 15, 30] {
            assert!(!allowed(&Topic::Downlink, undefined) && !allowed(&Topic::HexDownlink, undefined));
        }
    }

    #[test]
    fn everything_the_platform_sends_has_one_topic_or_one_more_name() {
        let names = "downlink downloadlink firmware_report_ack ask_firmware ota_notify ask_config down_config \
            download_config update_time_ack uplink_ack model/property/ask model/property/set \
            model/property/report_ack model/event/e/report_ack model/service/s model/history/data/report_ack \
            model/hex/report_ack model/hex/downlink model/hex_ack";
        let on = |header_ctrl| {
            let topics = names.split(' ').map(|name| topics().classify(&format!("{BASE}/{name}")).unwrap());
            topics.filter(|topic| allowed(topic, header_ctrl)).count()
        };
        for header_ctrl in [1, 3, 8, 9, 13].into_iter().chain(16..=29) {
            assert_eq!(on(header_ctrl), 1, "{header_ctrl}");
        }
        // A 4 is also taken where a 7 comes; settings are asked for on one topic and written on two.
        assert_eq!([on(4), on(7), on(14)], [3, 2, 3]);
    }

    #[test]
    fn an_identifier_that_would_change_the_topic_is_refused() {
        for identifier in ["", "a/b", "+", "a#", "a\n", "a\0", &"x".repeat(65)] {
            assert!(!identifier_ok(identifier), "{identifier}");
        }
        assert!(identifier_ok("lowBattery_1"));
    }

    proptest! {
        #[test]
        fn no_topic_can_panic_the_reader(topic in "\\PC{0,60}", below in "(model|service|event|report|_ack|/|\\PC){0,8}") {
            let _ = (topics().classify(&topic), topics().classify(&format!("{BASE}/{below}")));
        }

        #[test]
        fn the_topics_of_a_service_and_an_event_lead_back(name in "[A-Za-z0-9_]{1,32}") {
            let topics = topics();
            prop_assert_eq!(topics.classify(&topics.below(&format!("model/service/{name}"))), Some(Topic::Service(name.clone())));
            prop_assert_eq!(topics.classify(&format!("{}_ack", topics.event_report(&name))), Some(Topic::EventReportAck(name)));
        }
    }
}
