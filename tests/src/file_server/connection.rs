//! Connections of the file server: requests in, answers out, at the pace that was ordered.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, Pace, answer, forbidden};
use super::{SEEN_KEPT, Seen, Shared};
use crate::changes;
use crate::http::{Broken, Request, read_request};

pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let (tls, shared) = (tls.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    match tls {
                        None => converse(stream, shared).await,
                        // A client that does not trust the certificate leaves; that is its right.
                        Some(tls) => if let Ok(stream) = tls.accept(stream).await {
                            converse(stream, shared).await;
                        },
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    loop {
        match read_request(&mut stream).await {
            Ok(Some(request)) => {
                let reply = Reply::to(&request, &shared);
                let leaves = request.headers.get("connection").is_some_and(|value| value == "close");
                let close = reply.answer.close || leaves;
                if reply.write(&mut stream).await.is_err() || close {
                    break;
                }
            }
            Ok(None) | Err(Broken::Gone) => return,
            Err(Broken::Rule(text)) => {
                shared.violation(text);
                let head: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(head).await;
                break;
            }
        }
    }
    let _ = stream.shutdown().await;
}

/// One answer on its way, and its entry among what was seen; dropping it ends the entry.
struct Reply {
    shared: Arc<Shared>,
    path: String,
    /// Of the entry; none: there were too many to remember it.
    index: Option<usize>,
    answer: Answer,
}

impl Reply {
    fn to(request: &Request, shared: &Arc<Shared>) -> Self {
        let path = request.target.split('?').next().unwrap_or_default().to_owned();
        let is_admitted = shared.keeper.as_ref().is_none_or(|keeper| keeper.admits(request));
        let mut state = shared.lock();
        let answer = if is_admitted {
            let file = state.files.get_mut(&path);
            let fault = file.and_then(super::File::next_fault);
            answer(request, state.files.get(&path), fault.as_ref())
        } else {
            forbidden()
        };
        let index = (state.seen.len() < SEEN_KEPT).then_some(state.seen.len());
        if index.is_some() {
            state.seen.push(Seen {
                method: request.method.clone(),
                path: path.clone(),
                headers: request.headers.clone(),
                range: request.headers.get("range").cloned(),
                status: answer.status,
                sent: 0,
                over: false,
            });
        }
        drop(state);
        shared.tell();
        Self { shared: Arc::clone(shared), path, index, answer }
    }

    async fn write<S: AsyncBufRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<()> {
        stream.write_all(self.answer.head.as_bytes()).await?;
        stream.flush().await?;
        match self.answer.pace {
            Pace::Fast => self.pieces(stream).await,
            Pace::Drip(pause) => {
                for byte in &self.answer.body {
                    self.piece(stream, std::slice::from_ref(byte)).await?;
                    tokio::time::sleep(pause).await;
                }
                Ok(())
            }
            Pace::Endless => loop {
                let body = if self.answer.body.is_empty() { &[0] } else { self.answer.body.as_slice() };
                for chunk in body.chunks(PIECE) {
                    stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                    self.piece(stream, chunk).await?;
                    stream.write_all(b"\r\n").await?;
                }
            },
        }
    }

    async fn pieces<S: AsyncBufRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<()> {
        let mut rest = self.answer.body.as_slice();
        let mut sent = 0;
        while !rest.is_empty() {
            let free = self.free(stream, sent).await?;
            let (piece, later) = rest.split_at(rest.len().min(PIECE).min(free));
            self.piece(stream, piece).await?;
            sent += piece.len();
            rest = later;
        }
        Ok(())
    }

    /// How many more bytes may go out; waits while it is none, but not for a client that has left.
    async fn free<S: AsyncBufRead + Unpin>(&self, stream: &mut S, sent: usize) -> io::Result<usize> {
        let free = || {
            let state = self.shared.lock();
            let hold = state.files.get(&self.path).and_then(|file| file.hold_after);
            hold.map_or(usize::MAX, |hold| hold.saturating_sub(sent))
        };
        let mut released = pin!(changes::until(&self.shared.changes, || free() > 0));
        tokio::select! {
            biased;
            () = &mut released => {}
            heard = stream.fill_buf() => {
                if heard?.is_empty() {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                // It has asked for more already, and so is still there.
                released.await;
            }
        }
        // It may have been held anew in between; then the next piece waits.
        Ok(free().max(1))
    }

    async fn piece<S: AsyncBufRead + AsyncWrite + Unpin>(&self, stream: &mut S, piece: &[u8]) -> io::Result<()> {
        stream.write_all(piece).await?;
        stream.flush().await?;
        self.note(|seen| seen.sent += piece.len());
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        let mut state = self.shared.lock();
        if let Some(seen) = self.index.and_then(|index| state.seen.get_mut(index)) {
            change(seen);
        }
        drop(state);
        self.shared.tell();
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.note(|seen| seen.over = true);
    }
}

/// Bytes written at once.
const PIECE: usize = 16 * 1024;
