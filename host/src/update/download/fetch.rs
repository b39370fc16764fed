//! Carries a [`Download`] out: requests by a [`Server`], the file and its checkpoint on a [`Disk`].
//!
//! `<name>.part` is the file, `<name>.checkpoint` how far it is known to be on the disk. Bytes behind the checkpoint are
//! cut off when it goes on. Whoever wants a download no more drops the future, of which one write may still be under way,
//! for whose end the next one waits ([`Turns`]); [`discard`] removes what it left.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use polylink_plugin_api::Timestamp;

use super::machine::{Download, Output, Taken};
use super::{Checkpoint, Failure, Head, Wish};
use crate::disk::{Disk, DiskFile};
use crate::update::digest::Digests;
use crate::update::manifest::Facts;
use crate::update::turns::Turns;

/// Whoever makes requests.
#[async_trait]
pub trait Server: Send + Sync {
    /// The answer to one GET, with its head; redirects are answers.
    ///
    /// # Errors
    /// Why there is none, without the address.
    async fn get(&self, get: Get<'_>) -> Result<Answer, String>;
}

/// One GET.
#[derive(Clone, Copy)]
pub struct Get<'a> {
    /// Where.
    pub url: &'a str,
    /// Headers that the server wants.
    pub headers: &'a [(String, String)],
    /// The first byte that is wanted; 0: no `Range`.
    pub from: u64,
    /// Only if the file is still this one.
    pub if_range: Option<&'a str>,
}

/// An answer whose body is still to come.
pub struct Answer {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Box<dyn Body>,
}

/// A body on its way. Dropping it closes the connection.
#[async_trait]
pub trait Body: Send {
    /// The next bytes; none: the end. A call that was given up may be made again.
    ///
    /// # Errors
    /// The body broke off.
    async fn piece(&mut self) -> Result<Option<Bytes>, String>;
}

/// One download.
pub struct Fetch<'a> {
    /// Where to ask.
    pub server: &'a dyn Server,
    /// Where to put it.
    pub disk: Arc<dyn Disk>,
    /// What the files are called.
    pub name: &'a str,
    /// What to load.
    pub wish: Wish,
    /// Spreads the pauses.
    pub random: u64,
    /// The time.
    pub clock: &'a (dyn Fn() -> Timestamp + Sync),
    /// Those of all that write files of this name.
    pub turns: &'a Turns,
}

/// The name of the file itself, which is whole once [`Fetch::run`] says so.
#[must_use]
pub fn part(name: &str) -> String {
    format!("{name}.part")
}

/// Removes whatever a download left. Blocks.
///
/// # Errors
/// The disk's.
pub fn discard(disk: &dyn Disk, name: &str) -> io::Result<()> {
    for file in [checkpoint(name), new_checkpoint(name), part(name)] {
        disk.remove(&file)?;
    }
    disk.sync_directory()
}

impl Fetch<'_> {
    /// Loads the file, or what is missing of it.
    ///
    /// # Errors
    /// Why it will not come. What is there stays there.
    pub async fn run(self, on_progress: &mut (dyn FnMut(u64, Option<u64>) + Send)) -> Result<Facts, Failure> {
        let Self { server, disk, name, wish, random, clock, turns } = self;
        let (first, headers) = (wish.url.clone(), wish.headers.clone());
        let files = Files { disk, name: name.to_owned(), file: None, buffer: Vec::new() };
        let (mut files, resumed) = turns.work(move || files.open(wish, random)).await?;
        let mut download = resumed;
        download.start(clock());
        let mut wire = Wire::Idle;
        loop {
            while let Some(output) = download.poll() {
                match output {
                    Output::Get { url, from, if_range } => {
                        // They may carry a token; where a redirect leads is none of its business.
                        let headers = if origin(&url) == origin(&first) { headers.clone() } else { Vec::new() };
                        let asked = async move {
                            let if_range = if_range.as_deref();
                            server.get(Get { url: &url, headers: &headers, from, if_range }).await
                        };
                        wire = Wire::Asked(Box::pin(asked));
                    }
                    Output::Close => wire = Wire::Idle,
                    Output::Progress { have, total } => on_progress(have, total),
                    Output::Done(facts) => return Ok(facts),
                    Output::Failed(why) => return Err(why),
                    Output::Empty => {
                        files.buffer.clear();
                        files.work(turns, &mut download, |files| files.empty()).await?;
                    }
                    Output::Save(checkpoint) => {
                        files.work(turns, &mut download, move |files| files.save(&checkpoint)).await?;
                    }
                }
            }
            let now = clock();
            let wait = |until: Timestamp| tokio::time::sleep(Duration::from_millis(until.since(now)));
            let timeout = download.next_timeout().unwrap_or(now);
            let reads_from = download.reads_from();
            match &mut wire {
                Wire::Asked(asked) => tokio::select! {
                    answer = asked => match answer {
                        Ok(Answer { head, body }) => {
                            let disk = Arc::clone(&files.disk);
                            let free = turns.work(move || disk.space().ok().map(|space| space.free)).await;
                            wire = Wire::Body(body);
                            download.head(clock(), &head, free);
                        }
                        Err(why) => download.failed(clock(), why),
                    },
                    () = wait(timeout) => download.timeout(clock()),
                },
                Wire::Body(body) if reads_from <= now => tokio::select! {
                    piece = body.piece() => match piece {
                        Ok(Some(bytes)) => {
                            if let Taken::At(_) = download.body(clock(), &bytes) {
                                files.buffer.extend_from_slice(&bytes);
                            }
                            if files.buffer.len() >= BUFFER {
                                files.work(turns, &mut download, Files::flush).await?;
                            }
                        }
                        Ok(None) => download.end(clock()),
                        Err(why) => download.failed(clock(), why),
                    },
                    () = wait(timeout) => download.timeout(clock()),
                },
                Wire::Body(_) => {
                    wait(reads_from.min(timeout)).await;
                    download.timeout(clock());
                }
                Wire::Idle => {
                    wait(timeout).await;
                    download.timeout(clock());
                }
            }
        }
    }
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send + 'a>>;

enum Wire<'a> {
    Idle,
    Asked(Asked<'a>),
    Body(Box<dyn Body>),
}

/// The file and its checkpoint. Everything here blocks but for what says otherwise.
struct Files {
    disk: Arc<dyn Disk>,
    name: String,
    file: Option<Box<dyn DiskFile>>,
    /// Taken and not written yet.
    buffer: Vec<u8>,
}

impl Files {
    /// Goes on with what is there, if it is what the checkpoint says, or begins.
    fn open(mut self, wish: Wish, random: u64) -> Result<(Self, Download), Failure> {
        let resumed = self.resume(&wish, random).unwrap_or_else(|error| {
            let file = self.disk.shown(&part(&self.name));
            tracing::warn!(%file, %error, "a download begins anew, as what is there of it cannot be read");
            None
        });
        let download = match resumed {
            Some(download) => download,
            None => {
                self.empty().map_err(disk_failure)?;
                Download::new(wish, random)
            }
        };
        Ok((self, download))
    }

    fn resume(&mut self, wish: &Wish, random: u64) -> io::Result<Option<Download>> {
        let stored = match self.disk.read(&checkpoint(&self.name), CHECKPOINT_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            stored => stored?,
        };
        let stored = String::from_utf8(stored).ok().and_then(|text| Checkpoint::decode(&text));
        let Some(stored) = stored.filter(|stored| stored.identity == wish.identity()) else { return Ok(None) };
        let part = part(&self.name);
        let mut digests = Digests::new(&wish.digests);
        let mut buffer = vec![0; BUFFER];
        while digests.n_bytes() < stored.have {
            let rest = usize::try_from(stored.have - digests.n_bytes()).unwrap_or(BUFFER).min(BUFFER);
            match self.disk.read_at(&part, digests.n_bytes(), &mut buffer[..rest])? {
                0 => return Ok(None),
                n => digests.update(&buffer[..n]),
            }
        }
        let have = stored.have;
        let Some(download) = Download::resume(wish.clone(), stored, digests, random) else { return Ok(None) };
        let mut file = self.disk.append(&part)?;
        if self.disk.size(&part)? > have {
            self.disk.shorten(&part, have)?;
            // Otherwise what is added next could be taken for what was cut off.
            file.sync_data()?;
        }
        self.file = Some(file);
        Ok(Some(download))
    }

    fn empty(&mut self) -> io::Result<()> {
        self.file = None;
        self.disk.remove(&checkpoint(&self.name))?;
        self.file = Some(self.disk.create(&part(&self.name))?);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.write(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn save(&mut self, stored: &Checkpoint) -> io::Result<()> {
        self.flush()?;
        if let Some(file) = &mut self.file {
            file.sync_data()?;
        }
        let new = new_checkpoint(&self.name);
        let mut file = self.disk.create(&new)?;
        file.write(stored.encode().as_bytes())?;
        file.sync_data()?;
        self.disk.rename(&new, &checkpoint(&self.name))?;
        self.disk.sync_directory()
    }

    /// Does this where it may block; a failure of it is the download's.
    async fn work(
        &mut self,
        turns: &Turns,
        download: &mut Download,
        task: impl FnOnce(&mut Self) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Failure> {
        let mut files = Self {
            disk: Arc::clone(&self.disk),
            name: self.name.clone(),
            file: self.file.take(),
            buffer: std::mem::take(&mut self.buffer),
        };
        let done = turns.work(move || {
            let done = task(&mut files);
            let free = files.disk.space().ok().map(|space| space.free);
            (done, files, free)
        });
        let (done, files, free) = done.await;
        *self = files;
        match done {
            Ok(()) => {
                if let Some(free) = free {
                    download.space(free);
                }
                Ok(())
            }
            Err(error) => Err(disk_failure(error)),
        }
    }
}

/// Scheme, host and port of an address, as they are written.
fn origin(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#', '\\']).map_or(url.len(), |at| start + at);
    url[..end].to_ascii_lowercase()
}

fn disk_failure(error: io::Error) -> Failure {
    Failure::Disk(error.to_string())
}

fn checkpoint(name: &str) -> String {
    format!("{name}.checkpoint")
}

fn new_checkpoint(name: &str) -> String {
    format!("{name}.checkpoint.new")
}

/// Bytes that are written at once. Not documented; chosen by us.
const BUFFER: usize = 64 * 1024;

/// Longest checkpoint: its lines with the longest validator have some 500 bytes.
const CHECKPOINT_MAX: usize = 1024;

#[cfg(test)]
mod tests;
