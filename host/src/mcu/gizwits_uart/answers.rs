//! What the MCU tells about itself, and what it may ask of the module: payloads of 0x02, 0x09, 0x18 and 0x22.

use polylink_plugin_api::{ClockQuality, Now};

use crate::log::Redacted;
use crate::mcu::{Identity, ModuleState, UserEvent};

/// Reads the device information (payload of 0x02). Blocks after the bindable time are optional; those after the device's
/// attributes are not needed here.
///
/// # Errors
/// What is wrong with it.
pub(super) fn identity(payload: &[u8]) -> Result<Identity, String> {
    let (Some(version), Some(hardware), Some(software), Some(key), Some(bind)) =
        (payload.get(8..16), payload.get(16..24), payload.get(24..32), payload.get(32..64), payload.get(64..66))
    else {
        return Err(format!("device information of {} bytes; at least 66 are needed", payload.len()));
    };
    let product_key = text(key).ok_or("the product key of the device information is not ASCII text")?;
    if product_key.is_empty() {
        return Err("the product key of the device information is empty".into());
    }
    let seconds = u32::from(u16::from_be_bytes([bind[0], bind[1]]));
    Ok(Identity {
        product_key,
        serial: String::new(),
        hardware: text(hardware).unwrap_or_default(),
        software: text(software).unwrap_or_default(),
        bind_window_s: (seconds > 0).then_some(seconds),
        payload_version: text(version).unwrap_or_default(),
        device_attributes: payload
            .get(66..74)
            .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
            .map_or(0, u64::from_be_bytes),
    })
}

/// Reads a request for a configuration mode (payload of 0x09): the mode, or in mode 4 of newer MCUs the network itself,
/// `04 | length | name | length | password | length | BSSID`. The BSSID is not needed.
///
/// # Errors
/// What is wrong with it.
pub(super) fn configuration(payload: &[u8]) -> Result<UserEvent, &'static str> {
    match payload {
        [] => Err("a configuration request without its mode"),
        [MODE_NETWORK, rest @ ..] => {
            let network = prefixed(rest).and_then(|(ssid, rest)| Some((ssid, prefixed(rest)?.0)));
            let Some((ssid, password)) = network else {
                return Err("a configuration request whose network is cut short or no text");
            };
            Ok(UserEvent::Network { ssid: ssid.to_owned(), password: Redacted(password.to_owned()) })
        }
        [mode, ..] => Ok(UserEvent::Configure(*mode)),
    }
}

/// A text with its length before it, and what follows.
fn prefixed(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// The network time (payload of 0x18): local date and time, then Unix seconds; all zero while the clock is not set.
pub(super) fn network_time(now: Now) -> Vec<u8> {
    let unix = now.wall.unix_seconds();
    let local = unix.saturating_add(i64::from(now.utc_offset_s));
    let (year, month, day) = civil(local.div_euclid(DAY_S));
    let second = local.rem_euclid(DAY_S);
    let (Ok(year), Ok(unix)) = (u16::try_from(year), u32::try_from(unix)) else { return vec![0; TIME_BYTES] };
    if now.wall.quality == ClockQuality::UNSET {
        return vec![0; TIME_BYTES];
    }
    let clock = [month, day, (second / 3600) as u8, (second / 60 % 60) as u8, (second % 60) as u8];
    [year.to_be_bytes().as_slice(), &clock, &unix.to_be_bytes()].concat()
}

/// The module information, Wi-Fi form (payload of 0x22).
pub(super) fn module_information(state: &ModuleState) -> Vec<u8> {
    let mut payload = vec![WIFI_MODULE];
    payload.extend(SERIAL_VERSION);
    let fields = [(&state.hardware, 8), (&state.software, 8), (&state.mac, 16), (&state.ip, 16)];
    for (text, width) in fields {
        payload.extend(text.bytes().chain(std::iter::repeat(0)).take(width));
    }
    payload.extend([0; 8]);
    payload
}

/// Year, month and day of a day counted from 1970-01-01.
fn civil(day: i64) -> (i64, u8, u8) {
    // Years are counted from March, so that a leap day is the last day of its year; an era has 400 years.
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u8, day_of_month as u8)
}

fn text(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = std::str::from_utf8(&field[..end]).ok()?;
    text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ').then(|| text.trim().to_owned())
}

/// Version of the serial protocol that the module tells (Gizwits serial protocol, device information).
const SERIAL_VERSION: &[u8; 8] = b"00000004";

/// Type byte of the Wi-Fi form (Gizwits serial protocol, module information).
const WIFI_MODULE: u8 = 1;

/// Configuration mode that carries the network (newer code of the vendor's MCU generator).
const MODE_NETWORK: u8 = 4;

/// Length of the network time (Gizwits serial protocol, network time).
const TIME_BYTES: usize = 11;

const DAY_S: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::super::vectors::{named, unhex};
    use super::*;
    use polylink_plugin_api::WallTime;

    fn at(unix_ms: i64, quality: ClockQuality, utc_offset_s: i32) -> Now {
        Now { wall: WallTime { unix_ms, quality }, utc_offset_s, ..Now::default() }
    }

    fn payload(id: &str) -> Vec<u8> {
        unhex(named(id).payload_hex.as_deref().unwrap())
    }

    #[test]
    fn all_published_forms_of_the_device_information_are_read() {
        for (id, key, hardware, software, version, attributes) in [
            ("ser-004", "6f3074fe43894547a4f1314bd7e3ae0b", "00000003", "03010101", "00000004", 0),
            ("ser-005", "ede16da98b4d496b92312d75da74bf16", "03010100", "03010102", "00000002", 2),
            ("ser-006", "fcbd40f1aa04404eb193dc3f82125e7f", "00000000", "00000000", "00000002", 0),
        ] {
            let identity = identity(&payload(id)).unwrap();
            let texts = (identity.product_key.as_str(), identity.hardware.as_str(), identity.software.as_str());
            assert_eq!((texts, identity.bind_window_s), ((key, hardware, software), None), "{id}");
            assert_eq!((identity.payload_version.as_str(), identity.device_attributes), (version, attributes), "{id}");
        }
    }

    #[test]
    fn the_attributes_are_counted_only_when_all_eight_bytes_are_there() {
        let mut long = payload("ser-005");
        long[66..74].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(identity(&long).unwrap().device_attributes, 0x0102_0304_0506_0708);
        assert_eq!(identity(&long[..73]).unwrap().device_attributes, 0);
    }

    #[test]
    fn device_information_that_is_short_or_no_text_is_refused() {
        let good = payload("ser-004");
        assert!(identity(&good[..65]).is_err());
        let mut binary = good.clone();
        binary[40] = 0x80;
        assert!(identity(&binary).unwrap_err().contains("not ASCII"));
        let mut empty = good;
        empty[32..64].fill(0);
        assert!(identity(&empty).unwrap_err().contains("empty"));
    }

    #[test]
    fn a_configuration_request_has_a_mode_or_the_network_itself() {
        assert_eq!(configuration(&[1]), Ok(UserEvent::Configure(1)));
        assert_eq!(configuration(&[3, 9]), Ok(UserEvent::Configure(3)));
        let network = |ssid: &str, password: &str| {
            Ok(UserEvent::Network { ssid: ssid.into(), password: Redacted(password.into()) })
        };
        assert_eq!(configuration(b"\x04\x04Home\x06secret\x0C02005E102030"), network("Home", "secret"));
        assert_eq!(configuration(b"\x04\x04Home\x00\x00"), network("Home", ""));
        for broken in [&b""[..], b"\x04", b"\x04\x05Home", b"\x04\x04Home\x07secret", b"\x04\x01\xFF\x00"] {
            assert!(configuration(broken).is_err(), "{broken:?}");
        }
        assert!(!format!("{:?}", configuration(b"\x04\x04Home\x06secret\x00")).contains("secret\""));
    }

    #[test]
    fn the_network_time_is_local_and_carries_unix_seconds() {
        let now = at(1_795_213_043_999, ClockQuality::SECONDS, 8 * 3600);
        assert_eq!(network_time(now), payload("ser-027"));
        let leap_day = at(1_709_251_199_000, ClockQuality::SYNCED, 0);
        assert_eq!(network_time(leap_day)[..7], [0x07, 0xE8, 2, 29, 23, 59, 59]);
    }

    #[test]
    fn a_clock_that_is_not_set_or_out_of_range_is_all_zero() {
        assert_eq!(network_time(at(1_795_213_043_000, ClockQuality::UNSET, 0)), payload("ser-028"));
        assert_eq!(network_time(at(-1, ClockQuality::SYNCED, 0)), [0; 11]);
        assert_eq!(network_time(at(i64::MAX, ClockQuality::SYNCED, 86_400)), [0; 11]);
    }

    #[test]
    fn the_module_information_has_the_wifi_form() {
        let state = ModuleState {
            mac: "02005E102030".into(),
            ip: "192.168.1.50".into(),
            hardware: "00ABCDEF".into(),
            software: "04020006".into(),
            ..ModuleState::default()
        };
        assert_eq!(module_information(&state), payload("ser-030"));
        let long = ModuleState { hardware: "far too long".into(), ..ModuleState::default() };
        assert_eq!(module_information(&long).len(), 65);
    }
}
