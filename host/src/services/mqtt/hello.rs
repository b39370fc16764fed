//! CONNECT and CONNACK, byte by byte: the codec in use knows protocol level 4 only, and Gizwits speaks level 3.

use polylink_plugin_api::HostRefusal;
use polylink_plugin_api::services::mqtt::MqttConnect;

use crate::services::dial::Refusal;

/// The CONNECT packet (MQTT 3.1.1, 3.1; MQTT 3.1, 3.1 for level 3).
///
/// # Errors
/// An option that MQTT cannot carry.
pub fn connect_packet(options: &MqttConnect<'_>) -> Result<Vec<u8>, Refusal> {
    let invalid = |text: &str| Refusal::new(HostRefusal::INVALID, text);
    let name = match options.protocol_level {
        3 => "MQIsdp",
        4 => "MQTT",
        level => return Err(invalid(&format!("the protocol level is 3 or 4, not {level}"))),
    };
    if options.has_password && !options.has_username {
        return Err(invalid("a password needs a user name (MQTT 3.1.1, 3.1.2.9)"));
    }
    if options.has_will && options.will.qos > 2 {
        return Err(invalid("the will's QoS is 0, 1 or 2"));
    }
    let flags = u8::from(options.clean_session) << 1
        | if options.has_will { 0x04 | options.will.qos << 3 | u8::from(options.will.retain) << 5 } else { 0 }
        | u8::from(options.has_password) << 6
        | u8::from(options.has_username) << 7;
    let mut body = Vec::with_capacity(64);
    let string = |body: &mut Vec<u8>, bytes: &[u8], what: &str| {
        let length =
            u16::try_from(bytes.len()).map_err(|_| invalid(&format!("the {what} is longer than 65535 bytes")))?;
        body.extend(length.to_be_bytes());
        body.extend(bytes);
        Ok::<(), Refusal>(())
    };
    string(&mut body, name.as_bytes(), "protocol name")?;
    body.extend([options.protocol_level, flags]);
    body.extend(options.keepalive_s.to_be_bytes());
    string(&mut body, options.client_id.as_bytes(), "client id")?;
    if options.has_will {
        string(&mut body, options.will.topic.as_bytes(), "will's topic")?;
        string(&mut body, options.will.payload.as_slice(), "will's payload")?;
    }
    if options.has_username {
        string(&mut body, options.username.as_bytes(), "user name")?;
    }
    if options.has_password {
        string(&mut body, options.password.as_slice(), "password")?;
    }
    let mut packet = vec![CONNECT];
    let mut rest = body.len();
    loop {
        let low = (rest % 128) as u8;
        rest /= 128;
        packet.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    packet.extend(body);
    Ok(packet)
}

/// Reads a CONNACK packet: whether the broker kept a session, and the code.
///
/// # Errors
/// It is something else.
pub fn read_connack(packet: [u8; 4]) -> Result<(bool, u8), Refusal> {
    match packet {
        [0x20, 0x02, flags, code] => Ok((flags & 1 == 1 && code == 0, code)),
        other => {
            let text = format!("the broker began with {other:02x?}, which is no CONNACK");
            Err(Refusal::new(HostRefusal::PROTOCOL, text))
        }
    }
}

/// Packet type 1, no flags (MQTT 3.1.1, 2.2).
const CONNECT: u8 = 0x10;
