//! The CONNECT packet, written by us: MQTT 3.1 and 3.1.1 differ in its first bytes, and a password is bytes, not text.

use polylink_plugin_api::services::mqtt::{MqttConnect, MqttPublish};

use super::super::registry::Refusal;
use super::state::{check_publish, length_bytes};

/// CONNECT as it goes over the wire.
///
/// # Errors
/// [`polylink_plugin_api::HostRefusal::INVALID`] with a text that names the setting, never a secret.
pub(super) fn encode(wish: &MqttConnect<'_>) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    match wish.protocol_level {
        3 => text(&mut body, "protocol", b"MQIsdp")?,
        4 => text(&mut body, "protocol", b"MQTT")?,
        other => {
            let accepted = "accepted are 3 (MQTT 3.1) and 4 (MQTT 3.1.1)";
            return Err(Refusal::invalid(format!("protocol_level {other} is not known; {accepted}")));
        }
    }
    if wish.has_password && !wish.has_username {
        return Err(Refusal::invalid("a password needs a user name (MQTT 3.1.1, 3.1.2.9)"));
    }
    body.push(wish.protocol_level);
    body.push(flags(wish));
    body.extend(wish.keepalive_s.to_be_bytes());
    text(&mut body, "client_id", wish.client_id.as_bytes())?;
    if wish.has_will {
        check_will(&wish.will)?;
        text(&mut body, "will.topic", wish.will.topic.as_bytes())?;
        text(&mut body, "will.payload", &wish.will.payload)?;
    }
    if wish.has_username {
        text(&mut body, "username", wish.username.as_bytes())?;
    }
    if wish.has_password {
        text(&mut body, "password", &wish.password)?;
    }
    let mut packet = vec![CONNECT];
    packet.extend(length_bytes(body.len()));
    packet.append(&mut body);
    Ok(packet)
}

fn flags(wish: &MqttConnect<'_>) -> u8 {
    let will = if wish.has_will { 0x04 | wish.will.qos << 3 | u8::from(wish.will.retain) << 5 } else { 0 };
    u8::from(wish.has_username) << 7 | u8::from(wish.has_password) << 6 | will | u8::from(wish.clean_session) << 1
}

fn check_will(will: &MqttPublish<'_>) -> Result<(), Refusal> {
    check_publish(will).map_err(|refusal| Refusal::invalid(format!("the will: {}", refusal.text)))
}

/// A field with its length before it (MQTT 3.1.1, 1.5.3).
fn text(body: &mut Vec<u8>, name: &str, bytes: &[u8]) -> Result<(), Refusal> {
    let length = u16::try_from(bytes.len())
        .map_err(|_| Refusal::invalid(format!("{name} has {} bytes, at most 65535 can be sent", bytes.len())))?;
    body.extend(length.to_be_bytes());
    body.extend_from_slice(bytes);
    Ok(())
}

/// First byte of CONNECT (MQTT 3.1.1, 3.1.1).
const CONNECT: u8 = 0x10;

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use polylink_plugin_api::services::TlsOptions;

    use super::*;

    fn wish() -> MqttConnect<'static> {
        let tls = TlsOptions {
            enabled: true,
            server_name: "".into(),
            ca_pem: "".into(),
            client_cert_pem: "".into(),
            client_key_pem: "".into(),
        };
        let will = MqttPublish { topic: "".into(), payload: [].as_slice().into(), qos: 0, retain: false };
        MqttConnect {
            host: "broker".into(),
            port: 8883,
            tls,
            protocol_level: 4,
            client_id: "ab".into(),
            has_username: false,
            username: "".into(),
            has_password: false,
            password: [].as_slice().into(),
            clean_session: true,
            keepalive_s: 60,
            ping_after_s: 0,
            dead_after_s: 0,
            timeout_ms: 0,
            has_will: false,
            will,
        }
    }

    fn check(wish: &MqttConnect<'_>, bytes: &[u8]) {
        assert_eq!(encode(wish).unwrap(), bytes);
    }

    fn check_refused(wish: &MqttConnect<'_>, says: &str) {
        let refusal = encode(wish).unwrap_err();
        assert_eq!(refusal.code, polylink_plugin_api::HostRefusal::INVALID);
        assert!(refusal.text.contains(says), "{}", refusal.text);
    }

    #[test]
    fn level_4_says_mqtt() {
        check(&wish(), &hex!("10 0E 0004 4D515454 04 02 003C 0002 6162"));
    }

    #[test]
    fn level_3_says_mqisdp() {
        let wish = MqttConnect { protocol_level: 3, clean_session: false, keepalive_s: 0, ..wish() };
        check(&wish, &hex!("10 10 0006 4D5149736470 03 00 0000 0002 6162"));
    }

    /// Recorded from the vendor's open-source module (vector mqtt-001 of `plugins/gizwits`).
    #[test]
    fn the_recorded_connect_of_a_gizwits_module_is_ours() {
        let did = "AbCdEfGhIjKlMnOpQrStUv";
        let wish = MqttConnect {
            protocol_level: 3,
            keepalive_s: 120,
            client_id: did.into(),
            has_username: true,
            username: did.into(),
            has_password: true,
            password: b"UFDGEMVYHT".as_slice().into(),
            ..wish()
        };
        check(
            &wish,
            &hex!(
                "104800064d514973647003c200780016416243644566476849\
                 6a4b6c4d6e4f7051725374557600164162436445664768496a4b6c4d6e4f70517253745576000a55464447454d56594854"
            ),
        );
    }

    #[test]
    fn a_will_and_credentials_follow_the_client_id_in_order() {
        let will = MqttPublish { topic: "w".into(), payload: b"\x00x".as_slice().into(), qos: 2, retain: true };
        let wish = MqttConnect {
            has_username: true,
            username: "u".into(),
            has_password: true,
            password: b"\xFF\x00".as_slice().into(),
            has_will: true,
            will,
            ..wish()
        };
        check(&wish, &hex!("10 1C 0004 4D515454 04 F6 003C 0002 6162 0001 77 0002 0078 0001 75 0002 FF00"));
    }

    #[test]
    fn an_empty_password_is_sent_and_an_unwanted_one_is_not() {
        let wish = MqttConnect { has_username: true, username: "u".into(), has_password: true, ..wish() };
        check(&wish, &hex!("10 13 0004 4D515454 04 C2 003C 0002 6162 0001 75 0000"));
        let wish = MqttConnect { has_password: false, password: b"secret".as_slice().into(), ..wish };
        check(&wish, &hex!("10 11 0004 4D515454 04 82 003C 0002 6162 0001 75"));
    }

    #[test]
    fn what_the_protocol_cannot_say_is_refused_and_named() {
        let long = "x".repeat(65_536);
        check_refused(&MqttConnect { protocol_level: 5, ..wish() }, "protocol_level 5");
        check_refused(&MqttConnect { client_id: long.as_str().into(), ..wish() }, "client_id has 65536");
        check_refused(&MqttConnect { has_password: true, ..wish() }, "needs a user name");
        check_refused(&MqttConnect { has_will: true, ..wish() }, "the will: ");
    }
}
