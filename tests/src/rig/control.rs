//! The control socket as a client of the testbed's own sees it: one JSON object a line, both ways.

use std::io;
use std::path::Path;

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// An open connection to a host.
#[derive(Debug)]
pub struct Control {
    stream: BufReader<UnixStream>,
}

impl Control {
    /// Connects and says one line.
    pub async fn open(socket: &Path, request: &Json) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// The next line of the host.
    pub async fn next(&mut self) -> io::Result<Json> {
        let mut line = Vec::new();
        (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line).await?;
        if !line.ends_with(b"\n") {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the answer broke off after {} bytes", line.len()),
            ));
        }
        Ok(serde_json::from_slice(&line)?)
    }

    /// Asks once.
    pub async fn ask(socket: &Path, request: &Json) -> io::Result<Json> {
        Self::open(socket, request).await?.next().await
    }
}

/// Longest line of the host that the testbed takes, in bytes. Chosen by us: far above any status of the demo product.
const MAX_LINE: u64 = 8 << 20;
