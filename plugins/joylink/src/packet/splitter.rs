//! Packets out of the cloud's stream.

use std::fmt;

use super::{Header, MAX_PACKET, Packet, Refused, Route};

/// Cuts a stream of bytes into packets.
///
/// A stream whose framing is lost cannot be found again: after a refusal that [`Refused::is_fatal`] every further call
/// answers the same, and nothing is kept. Other refused packets are skipped, and the next call goes on behind them. Who
/// takes all packets after each push never has more than [`MAX_PACKET`] bytes and one push waiting.
pub struct Splitter {
    route: Route,
    bytes: Vec<u8>,
    /// So many bytes at the front were read already.
    n_read: usize,
    broken: Option<Refused>,
}

impl Splitter {
    /// Nothing received so far. One is needed for each connection.
    #[must_use]
    pub const fn new(route: Route) -> Self {
        Self { route, bytes: Vec::new(), n_read: 0, broken: None }
    }

    /// Takes in what came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_none() {
            self.bytes.drain(..self.n_read);
            self.n_read = 0;
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next whole packet; `None`: more bytes are needed.
    ///
    /// # Errors
    /// What came is refused; see above.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Packet>, Refused> {
        if let Some(refused) = self.broken {
            return Err(refused);
        }
        let cut = self.cut();
        if let Err(refused) = cut
            && refused.is_fatal()
        {
            (self.bytes, self.n_read) = (Vec::new(), 0);
            self.broken = Some(refused);
        }
        cut
    }

    /// How many bytes wait for the rest of their packet.
    #[must_use]
    pub const fn n_waiting(&self) -> usize {
        self.bytes.len() - self.n_read
    }

    fn cut(&mut self) -> Result<Option<Packet>, Refused> {
        let waiting = &self.bytes[self.n_read..];
        let Some(header) = Header::decode(self.route.network(), waiting)? else { return Ok(None) };
        let size = header.size();
        if size > MAX_PACKET {
            return Err(Refused::Length);
        }
        if waiting.len() < size {
            return Ok(None);
        }
        let packet = header.packet(self.route, waiting);
        self.n_read += size;
        packet.map(Some)
    }
}

/// Shows no bytes: they may be keys.
impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Splitter({:?}, {} bytes, {:?})", self.route, self.n_waiting(), self.broken)
    }
}
