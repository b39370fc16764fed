//! The command line's end of the control socket. It blocks: a command has nothing else to do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::protocol::{Answer, MAX_ANSWER, Request};

/// A connection to the running host.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// Why the host gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no running polylink at {}: {source}", .path.display())]
    NotRunning {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the running polylink hung up: {0}")]
    Broken(#[from] io::Error),
    /// What came is no answer.
    #[error("the running polylink speaks another language: {0}")]
    Misunderstood(String),
    /// It said no.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens, or we may not.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream =
            UnixStream::connect(path).map_err(|source| ClientError::NotRunning { path: path.to_owned(), source })?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        // A refused client is closed at once; why, stands in the line that it can still read.
        let written = self.stream.get_mut().write_all(&line);
        match (self.next(), written) {
            (Err(ClientError::Broken(_)), Err(error)) => Err(error.into()),
            (answer, _) => answer,
        }
    }

    /// The next line of a watch.
    ///
    /// # Errors
    /// As for [`Client::ask`].
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Answer, ClientError> {
        let mut line = Vec::new();
        (&mut self.stream).take(MAX_ANSWER as u64).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match serde_json::from_slice(&line) {
            Ok(Answer::Error(sentence)) => Err(ClientError::Refused(sentence)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(ClientError::Misunderstood(error.to_string())),
        }
    }
}
