//! A small MQTT client that watches a topic of any broker and talks on others, with QoS 0 both ways.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::broker::packet::{self, Packet, Publish};

/// A connected client that has subscribed to one filter.
#[derive(Debug)]
pub struct Observer {
    stream: TcpStream,
}

impl Observer {
    /// Connects (MQTT 3.1.1, clean session, no keep-alive) and subscribes.
    pub async fn connect(addr: SocketAddr, client_id: &str, filter: &str) -> io::Result<Self> {
        let mut observer = Self { stream: TcpStream::connect(addr).await? };
        let mut connect = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
        put_text(&mut connect, client_id);
        observer.send(0x10, &connect).await?;
        observer.expect(CONNACK, &[0, 0]).await?;
        let mut subscribe = vec![0, 1];
        put_text(&mut subscribe, filter);
        subscribe.push(0);
        observer.send(0x82, &subscribe).await?;
        observer.expect(SUBACK, &[0, 1, 0]).await?;
        Ok(observer)
    }

    /// The next message.
    pub async fn next(&mut self) -> io::Result<Publish> {
        loop {
            let (kind, whole) = self.read().await?;
            if kind == PUBLISH
                && let Ok(Some((Packet::Publish(message), _))) = packet::parse(&whole)
            {
                return Ok(message);
            }
        }
    }

    /// Publishes.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> io::Result<()> {
        let message = Publish { topic: topic.to_owned(), payload: payload.to_vec(), ..Publish::default() };
        self.stream.write_all(&packet::message(&message)).await
    }

    async fn send(&mut self, head: u8, body: &[u8]) -> io::Result<()> {
        let mut bytes = vec![head, u8::try_from(body.len()).map_err(io::Error::other)?];
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes).await
    }

    async fn expect(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let (found, whole) = self.read().await?;
        if found == kind && whole.ends_with(body) {
            return Ok(());
        }
        Err(io::Error::other(format!("packet {whole:02X?}, type {kind} with {body:02X?} expected")))
    }

    /// One packet: its type, and all its bytes.
    async fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut whole = vec![self.stream.read_u8().await?];
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = self.stream.read_u8().await?;
            whole.push(byte);
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return Err(io::Error::other("a remaining length of more than four bytes"));
            }
        }
        let start = whole.len();
        whole.resize(start + length, 0);
        self.stream.read_exact(&mut whole[start..]).await?;
        Ok((whole[0] >> 4, whole))
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Packet types (MQTT 3.1.1, 2.2.1).
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBACK: u8 = 9;
