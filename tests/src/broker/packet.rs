//! MQTT 3.1 and 3.1.1 packets as a server reads and writes them, refusing whatever the standard forbids.
//!
//! Written from the standard (OASIS MQTT 3.1.1; IBM MQTT 3.1 for `MQIsdp`), sharing nothing with the host's codec.

/// A packet from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// CONNECT.
    Connect(Connect),
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP with its packet id.
    Ack(Ack, u16),
    /// SUBSCRIBE: packet id, then filters with the wanted QoS.
    Subscribe(u16, Vec<(String, u8)>),
    /// UNSUBSCRIBE: packet id, then filters.
    Unsubscribe(u16, Vec<String>),
    /// PINGREQ.
    PingRequest,
    /// DISCONNECT.
    Disconnect,
}

/// The four acknowledgements with nothing but a packet id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// QoS 1.
    PubAck = 4,
    /// QoS 2, received.
    PubRec = 5,
    /// QoS 2, release.
    PubRel = 6,
    /// QoS 2, complete.
    PubComp = 7,
}

/// What a client says when it comes.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// 3 for MQTT 3.1, 4 for 3.1.1.
    pub level: u8,
    /// Client id.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
    /// Will.
    pub will: Option<Publish>,
    /// Clean session.
    pub clean_session: bool,
    /// Keep-alive in seconds, 0 = off.
    pub keep_alive_s: u16,
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { level, client_id, username, clean_session, keep_alive_s, .. } = self;
        write!(f, "CONNECT level {level} {client_id:?} as {username:?} clean {clean_session} keep {keep_alive_s} s")
    }
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publish {
    /// Sent before, says the sender.
    pub dup: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// To be kept for later subscribers.
    pub retain: bool,
    /// Topic name.
    pub topic: String,
    /// Packet id, 0 with QoS 0.
    pub packet_id: u16,
    /// Content.
    pub payload: Vec<u8>,
}

/// Reads one packet off the front: the packet and its length, `None` if it is not whole yet, or the breach.
pub fn parse(buffer: &[u8]) -> Result<Option<(Packet, usize)>, String> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    let (kind, flags) = (first >> 4, first & 0x0F);
    let expected_flags = match kind {
        3 => flags,
        6 | 8 | 10 => 0b0010,
        1 | 4 | 5 | 7 | 12 | 14 => 0,
        _ => return Err(format!("packet type {kind}, which no client sends")),
    };
    // MQTT 3.1 lets a client send SUBSCRIBE, UNSUBSCRIBE and PUBREL with the DUP bit.
    if flags & 0b0111 != expected_flags & 0b0111 || (flags != expected_flags && !matches!(kind, 6 | 8 | 10)) {
        return Err(format!("packet type {kind} with flags {flags:04b}, {expected_flags:04b} expected"));
    }
    let Some((len, header)) = remaining_length(&buffer[1..])? else { return Ok(None) };
    if len > MAX_PACKET {
        return Err(format!("packet of {len} bytes, at most {MAX_PACKET} accepted"));
    }
    let total = 1 + header + len;
    if buffer.len() < total {
        return Ok(None);
    }
    let mut reader = Reader(&buffer[1 + header..total]);
    let packet = match kind {
        1 => Packet::Connect(connect(&mut reader)?),
        3 => Packet::Publish(publish(flags, &mut reader)?),
        4 => Packet::Ack(Ack::PubAck, reader.packet_id()?),
        5 => Packet::Ack(Ack::PubRec, reader.packet_id()?),
        6 => Packet::Ack(Ack::PubRel, reader.packet_id()?),
        7 => Packet::Ack(Ack::PubComp, reader.packet_id()?),
        8 => {
            let id = reader.packet_id()?;
            let mut filters = Vec::new();
            while !reader.0.is_empty() {
                let filter = reader.filter()?;
                let qos = reader.u8()?;
                if qos > 2 {
                    return Err(format!("subscription with QoS {qos}"));
                }
                filters.push((filter, qos));
            }
            Packet::Subscribe(id, some(filters, "SUBSCRIBE")?)
        }
        10 => {
            let id = reader.packet_id()?;
            let mut filters = Vec::new();
            while !reader.0.is_empty() {
                filters.push(reader.filter()?);
            }
            Packet::Unsubscribe(id, some(filters, "UNSUBSCRIBE")?)
        }
        12 => Packet::PingRequest,
        _ => Packet::Disconnect,
    };
    if reader.0.is_empty() {
        Ok(Some((packet, total)))
    } else {
        Err(format!("{} bytes too many in packet type {kind}", reader.0.len()))
    }
}

fn some<T>(list: Vec<T>, what: &str) -> Result<Vec<T>, String> {
    if list.is_empty() { Err(format!("{what} without a topic filter")) } else { Ok(list) }
}

fn connect(reader: &mut Reader<'_>) -> Result<Connect, String> {
    let name = reader.text()?;
    let level = reader.u8()?;
    if !matches!((name.as_str(), level), ("MQTT", 4) | ("MQIsdp", 3)) {
        return Err(format!("protocol {name:?} level {level}, \"MQTT\" 4 or \"MQIsdp\" 3 expected"));
    }
    let flags = reader.u8()?;
    let bit = |n: u8| flags >> n & 1 == 1;
    let (clean_session, has_will, will_qos) = (bit(1), bit(2), flags >> 3 & 3);
    if bit(0) || will_qos == 3 || (!has_will && flags & 0b0011_1000 != 0) || (bit(6) && !bit(7)) {
        return Err(format!("connect flags {flags:08b}"));
    }
    let keep_alive_s = reader.u16()?;
    let client_id = reader.text()?;
    let length = client_id.chars().count();
    if level == 3 && !(1..=23).contains(&length) {
        return Err(format!("client id of {length} characters, MQTT 3.1 wants 1 to 23"));
    }
    if client_id.is_empty() && !clean_session {
        return Err("empty client id without a clean session".to_owned());
    }
    let will = if has_will {
        let topic = reader.topic()?;
        let payload = reader.bytes()?.to_vec();
        Some(Publish { qos: will_qos, retain: bit(5), topic, payload, ..Publish::default() })
    } else {
        None
    };
    let username = if bit(7) { Some(reader.text()?) } else { None };
    let password = if bit(6) { Some(reader.bytes()?.to_vec()) } else { None };
    Ok(Connect { level, client_id, username, password, will, clean_session, keep_alive_s })
}

fn publish(flags: u8, reader: &mut Reader<'_>) -> Result<Publish, String> {
    let (dup, qos, retain) = (flags & 8 != 0, flags >> 1 & 3, flags & 1 != 0);
    if qos == 3 || (qos == 0 && dup) {
        return Err(format!("PUBLISH with flags {flags:04b}"));
    }
    let topic = reader.topic()?;
    let packet_id = if qos > 0 { reader.packet_id()? } else { 0 };
    let payload = std::mem::take(&mut reader.0).to_vec();
    Ok(Publish { dup, qos, retain, topic, packet_id, payload })
}

/// CONNACK.
pub fn connack(session_present: bool, code: u8) -> Vec<u8> {
    vec![0x20, 2, u8::from(session_present), code]
}

/// One of the four acknowledgements.
pub fn ack(kind: Ack, packet_id: u16) -> Vec<u8> {
    let [high, low] = packet_id.to_be_bytes();
    let flags = if kind == Ack::PubRel { 2 } else { 0 };
    vec![(kind as u8) << 4 | flags, 2, high, low]
}

/// SUBACK.
pub fn suback(packet_id: u16, codes: &[u8]) -> Vec<u8> {
    framed(0x90, &[&packet_id.to_be_bytes(), codes])
}

/// UNSUBACK.
pub fn unsuback(packet_id: u16) -> Vec<u8> {
    framed(0xB0, &[&packet_id.to_be_bytes()])
}

/// PINGRESP.
pub fn ping_response() -> Vec<u8> {
    vec![0xD0, 0]
}

/// PUBLISH.
pub fn message(publish: &Publish) -> Vec<u8> {
    let first = 0x30 | u8::from(publish.dup) << 3 | publish.qos << 1 | u8::from(publish.retain);
    let length = u16::try_from(publish.topic.len()).expect("the testbed uses short topics").to_be_bytes();
    let id = publish.packet_id.to_be_bytes();
    let id = if publish.qos > 0 { &id[..] } else { &[] };
    framed(first, &[&length, publish.topic.as_bytes(), id, &publish.payload])
}

fn framed(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut len: usize = parts.iter().map(|part| part.len()).sum();
    let mut packet = vec![first];
    loop {
        let digit = (len % 128) as u8;
        len /= 128;
        packet.push(if len > 0 { digit | 0x80 } else { digit });
        if len == 0 {
            break;
        }
    }
    for part in parts {
        packet.extend_from_slice(part);
    }
    packet
}

fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut len = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((len, at + 1)));
        }
    }
    if bytes.len() >= 4 { Err("remaining length of more than four bytes".to_owned()) } else { Ok(None) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (front, rest) =
            self.0.split_at_checked(n).ok_or_else(|| format!("{n} bytes expected, {} left", self.0.len()))?;
        self.0 = rest;
        Ok(front)
    }

    fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn packet_id(&mut self) -> Result<u16, String> {
        match self.u16()? {
            0 => Err("packet id 0".to_owned()),
            id => Ok(id),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    fn text(&mut self) -> Result<String, String> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|error| format!("text that is not UTF-8: {error}"))?;
        if text.contains('\0') { Err(format!("{text:?} contains NUL")) } else { Ok(text.to_owned()) }
    }

    fn topic(&mut self) -> Result<String, String> {
        let topic = self.text()?;
        if topic.is_empty() || topic.contains(['+', '#']) { Err(format!("topic name {topic:?}")) } else { Ok(topic) }
    }

    fn filter(&mut self) -> Result<String, String> {
        let filter = self.text()?;
        let levels: Vec<&str> = filter.split('/').collect();
        let wrong = |(at, level): (usize, &&str)| {
            level.len() > 1 && level.contains(['+', '#']) || *level == "#" && at + 1 < levels.len()
        };
        if filter.is_empty() || levels.iter().enumerate().any(wrong) {
            return Err(format!("topic filter {filter:?}"));
        }
        Ok(filter)
    }
}

/// Not documented; chosen by us: more than any cloud here accepts, little enough for a test machine.
const MAX_PACKET: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaches_of_the_standard_are_named() {
        for (bytes, breach) in [
            (&b"\x10\x0c\0\x04MQTT\x05\x02\0\x3c\0\0"[..], "level 5"),
            (b"\x10\x0c\0\x04MQTT\x04\x03\0\x3c\0\0", "connect flags"),
            (b"\x10\x0c\0\x04MQTT\x04\x42\0\x3c\0\0", "connect flags"),
            (b"\x10\x0c\0\x04MQTT\x04\x00\0\x3c\0\0", "empty client id"),
            (b"\x32\x05\0\x01a\0\0", "packet id 0"),
            (b"\x30\x03\0\x01#", "topic name"),
            (b"\x36\x05\0\x01a\0\x01", "PUBLISH with flags"),
            (b"\x38\x03\0\x01a", "PUBLISH with flags"),
            (b"\x80\x06\0\x01\0\x01a\0", "flags 0000"),
            (b"\x82\x02\0\x01", "without a topic filter"),
            (b"\x82\x08\0\x01\0\x03a#b\0", "topic filter"),
            (b"\xC0\x01\0", "too many"),
            (b"\xC0\x80\x80\x80\x80", "remaining length"),
            (b"\x30\x04\0\x02\xff\xff", "UTF-8"),
            (b"\xD0\0", "no client sends"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(error.contains(breach), "{error:?} should name {breach:?}");
        }
    }

    #[test]
    fn a_packet_that_is_not_whole_yet_is_waited_for() {
        let whole = message(&Publish {
            qos: 1,
            packet_id: 7,
            topic: "a/b".into(),
            payload: vec![1; 300],
            ..Publish::default()
        });
        for n in 0..whole.len() {
            assert_eq!(parse(&whole[..n]), Ok(None));
        }
        let (packet, n) = parse(&whole).unwrap().unwrap();
        assert_eq!(n, whole.len());
        assert!(matches!(packet, Packet::Publish(publish) if publish.packet_id == 7 && publish.payload.len() == 300));
    }
}
