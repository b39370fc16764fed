//! Topics below `/sys/{OpenID}/{ProductID}/{NodeEui}/`: what the device may publish where, and where answers go
//! (Lierda protocol, 4).

use super::behaviour::Report;
use super::product::Kind;

/// Where the authentication account publishes.
pub(super) const AUTH: &str = "/sys/device/auth";

/// What a device publishes, by its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topic {
    FirmwareReport,
    OtaNotifyAck,
    ConfigReport,
    UpdateTime,
    Uplink,
    /// On either of its two names.
    DownlinkAck,
    PropertyReport,
    PropertySetAck,
    EventReport(String),
    ServiceAck(String),
    History,
    HexReport,
    HexDownlinkAck,
    FullHex,
}

impl Topic {
    /// Of a name below the device's own; `None` is nothing a device publishes.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "firmware_report" => Self::FirmwareReport,
            "ota_notify_ack" => Self::OtaNotifyAck,
            "config_report" => Self::ConfigReport,
            "update_time" => Self::UpdateTime,
            "uplink" => Self::Uplink,
            "downlink_ack" | "downloadlink_ack" => Self::DownlinkAck,
            "model/property/report" => Self::PropertyReport,
            "model/property/set_ack" => Self::PropertySetAck,
            "model/history/data/report" => Self::History,
            "model/hex/report" => Self::HexReport,
            "model/hex/downlink_ack" => Self::HexDownlinkAck,
            "model/hex" => Self::FullHex,
            _ => {
                let between = |front: &str, back: &str| {
                    let name = name.strip_prefix(front)?.strip_suffix(back)?;
                    (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
                };
                return between("model/event/", "/report")
                    .map(Self::EventReport)
                    .or_else(|| between("model/service/", "/ack").map(Self::ServiceAck));
            }
        })
    }

    /// Command codes that belong there.
    pub fn codes(&self) -> &'static [i64] {
        match self {
            Self::FirmwareReport => &[8],
            Self::OtaNotifyAck => &[9],
            Self::ConfigReport => &[14],
            Self::UpdateTime => &[29],
            Self::Uplink => &[4],
            Self::DownlinkAck => &[7],
            Self::PropertyReport => &[16],
            Self::PropertySetAck => &[20],
            Self::EventReport(_) => &[17],
            Self::ServiceAck(_) => &[21],
            Self::History => &[27],
            Self::HexReport => &[18, 19, 26],
            Self::HexDownlinkAck => &[22, 24, 25],
            // The frame is only hexadecimal text, without a code.
            Self::FullHex => &[],
        }
    }

    /// The only kind of product that uses it; `None` is for all.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::FirmwareReport | Self::OtaNotifyAck | Self::ConfigReport | Self::UpdateTime => None,
            Self::Uplink | Self::DownlinkAck => Some(Kind::Passthrough),
            Self::PropertyReport
            | Self::PropertySetAck
            | Self::EventReport(_)
            | Self::ServiceAck(_)
            | Self::History => Some(Kind::Json),
            Self::HexReport | Self::HexDownlinkAck | Self::FullHex => Some(Kind::Hex),
        }
    }

    /// What the platform acknowledges there; `None` are answers of the device.
    pub fn report(&self) -> Option<Report> {
        Some(match self {
            Self::FirmwareReport => Report::Firmware,
            Self::UpdateTime => Report::Time,
            Self::Uplink => Report::Passthrough,
            Self::PropertyReport => Report::Property,
            Self::EventReport(_) => Report::Event,
            Self::History => Report::History,
            Self::HexReport => Report::Hex,
            Self::FullHex => Report::FullHex,
            _ => return None,
        })
    }
}

/// Where a device answers what arrives under this name.
pub(super) fn answer(arrival: &str) -> String {
    match arrival {
        "ask_config" | "download_config" | "down_config" => "config_report".to_owned(),
        "ask_firmware" => "firmware_report".to_owned(),
        "model/property/ask" => "model/property/report".to_owned(),
        // The one that is spelt `/ack`, not `_ack`.
        service if service.starts_with("model/service/") => format!("{service}/ack"),
        other => format!("{other}_ack"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_where_the_document_says() {
        for (arrival, expected) in [
            ("downlink", "downlink_ack"),
            ("downloadlink", "downloadlink_ack"),
            ("model/property/set", "model/property/set_ack"),
            ("model/property/ask", "model/property/report"),
            ("model/service/switch", "model/service/switch/ack"),
            ("model/hex/downlink", "model/hex/downlink_ack"),
            ("ask_config", "config_report"),
            ("download_config", "config_report"),
            ("down_config", "config_report"),
            ("ask_firmware", "firmware_report"),
            ("ota_notify", "ota_notify_ack"),
        ] {
            assert_eq!(answer(arrival), expected);
            assert!(Topic::parse(expected).is_some(), "{expected}");
        }
    }

    #[test]
    fn names_that_no_device_publishes_are_unknown() {
        for name in
            ["downlink", "uplink_ack", "model/event//report", "model/event/a/b/report", "model/service/a_ack", ""]
        {
            assert_eq!(Topic::parse(name), None, "{name}");
        }
    }
}
