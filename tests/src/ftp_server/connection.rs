//! One control connection, and the data connections that it opens.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Shared, Stored};
use crate::faulty_net::reset_on_close;

pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    let mut connection = Connection {
        stream: BufReader::new(stream),
        peer,
        shared,
        user: None,
        logged_in: false,
        binary: false,
        directory: Vec::new(),
        passive: None,
    };
    // A client that goes away is no fault of anybody.
    let _ = connection.converse().await;
}

struct Connection {
    stream: BufReader<TcpStream>,
    peer: SocketAddr,
    shared: Arc<Shared>,
    user: Option<String>,
    logged_in: bool,
    binary: bool,
    directory: Vec<String>,
    passive: Option<Passive>,
}

/// Where a data connection is waited for.
struct Passive {
    listener: TcpListener,
    /// The address that a wrong answer to PASV named; nobody may come here.
    elsewhere: Option<TcpListener>,
}

/// Whether the conversation goes on.
enum Next {
    More,
    End,
}

impl Connection {
    async fn converse(&mut self) -> io::Result<()> {
        // As long as RFC 959, 4.2 allows it, with a line that looks like a reply of its own.
        self.say("220-A server of the test bed\r\n 530 is not meant here").await?;
        self.say("220 ready").await?;
        loop {
            let mut line = Vec::new();
            if (&mut self.stream).take(LINE).read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let Some(line) = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok()) else {
                self.shared.violation(format!("a line that does not end with CR LF, or is no text: {line:?}"));
                return self.say("500 what?").await;
            };
            if line.contains(['\r', '\0']) {
                self.shared.violation("CR or NUL within a line");
            }
            // A client that does not wait for its answer has sent more already (RFC 959, 5.4).
            if !self.stream.buffer().is_empty() {
                self.shared.violation(format!("did not wait for the answer to {}", name(line)));
            }
            self.shared.command(&name(line));
            if let Next::End = self.obey(&name(line), line.split_once(' ').map(|(_, argument)| argument)).await? {
                return Ok(());
            }
        }
    }

    async fn obey(&mut self, name: &str, argument: Option<&str>) -> io::Result<Next> {
        let is_known = matches!(name, "USER" | "PASS" | "TYPE" | "CWD" | "EPSV" | "PASV" | "STOR" | "QUIT");
        if !is_known {
            self.shared.violation(format!("{name}, which no upload needs"));
            self.say("502 not here").await?;
        } else if name == "QUIT" {
            self.say("221 bye").await?;
            return Ok(Next::End);
        } else if !self.logged_in && !matches!(name, "USER" | "PASS") {
            self.shared.violation(format!("{name} before the login"));
            self.say("530 log in first").await?;
        } else {
            match (name, argument) {
                ("EPSV" | "PASV", None) => self.passive(name).await?,
                ("STOR", Some(file)) => return self.take(file).await,
                ("USER", Some(user)) => {
                    (self.user, self.logged_in) = (Some(user.to_owned()), false);
                    self.say("331 and the password?").await?;
                }
                ("PASS", Some(password)) => self.log_in(password).await?,
                ("TYPE", Some(kind)) => {
                    self.binary = kind.eq_ignore_ascii_case("I");
                    self.say("200 so be it").await?;
                }
                ("CWD", Some(directory)) => self.enter(directory).await?,
                _ => {
                    self.shared.violation(format!("{name} with {argument:?}"));
                    self.say("501 what of it?").await?;
                }
            }
        }
        Ok(Next::More)
    }

    async fn log_in(&mut self, password: &str) -> io::Result<()> {
        let Some(user) = &self.user else {
            self.shared.violation("PASS before USER");
            return self.say("503 who are you?").await;
        };
        self.logged_in = self.shared.users.get(user).is_some_and(|right| right == password);
        if self.logged_in {
            self.say("230 welcome").await
        } else {
            // Such servers exist; nobody is to repeat it.
            let echo = format!("530 {user} with {password} may not come in");
            self.say(&echo).await
        }
    }

    async fn enter(&mut self, to: &str) -> io::Result<()> {
        let mut directory = if to.starts_with('/') { Vec::new() } else { self.directory.clone() };
        for part in to.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                directory.pop();
            } else {
                directory.push(part.to_owned());
            }
        }
        if directory.is_empty() || self.shared.directories.contains(&directory.join("/")) {
            self.directory = directory;
            self.say("250 you are there").await
        } else {
            self.say("550 no such directory").await
        }
    }

    async fn passive(&mut self, name: &str) -> io::Result<()> {
        let behaviour = self.shared.behaviour();
        if name == "EPSV" && behaviour.without_epsv {
            return self.say("502 never heard of it").await;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (mut address, mut elsewhere) = (Ipv4Addr::LOCALHOST, None);
        if name == "PASV" && behaviour.pasv_elsewhere {
            address = ELSEWHERE;
            elsewhere = Some(TcpListener::bind((ELSEWHERE, port)).await?);
        }
        self.passive = Some(Passive { listener, elsewhere });
        if name == "EPSV" {
            self.say(&format!("229 Entering Extended Passive Mode (|||{port}|)")).await
        } else {
            let [a, b, c, d] = address.octets();
            let (high, low) = (port / 256, port % 256);
            self.say(&format!("227 Entering Passive Mode ({a},{b},{c},{d},{high},{low}).")).await
        }
    }

    async fn take(&mut self, file: &str) -> io::Result<Next> {
        if !self.binary {
            self.shared.violation("STOR without TYPE I");
        }
        let Some(passive) = self.passive.take() else {
            self.shared.violation("STOR without a passive connection");
            self.say("425 over which connection?").await?;
            return Ok(Next::More);
        };
        if file.is_empty() || file.contains('/') {
            self.shared.violation(format!("STOR {file:?}: a plain name was expected"));
        }
        if let Some(code) = self.shared.behaviour().refuse_file {
            self.say(&format!("{code} not this one")).await?;
            return Ok(Next::More);
        }
        let Some(mut data) = self.accept(passive).await else {
            self.say("425 nobody came").await?;
            return Ok(Next::More);
        };
        self.say("150 go on").await?;
        let cut = self.shared.take_cut();
        let mut body = Vec::new();
        let limit = cut.map_or(FILE_MAX + 1, |bytes| bytes as u64);
        (&mut data).take(limit).read_to_end(&mut body).await?;
        if cut.is_some() {
            reset_on_close(&data);
            reset_on_close(self.stream.get_ref());
            return Ok(Next::End);
        }
        let path = [&self.directory[..], &[file.to_owned()]].concat().join("/");
        let user = self.user.clone().unwrap_or_default();
        if body.len() as u64 > FILE_MAX || !self.shared.store(Stored { user, path, body }) {
            self.say("452 no room").await?;
        } else {
            self.say("226 it is here").await?;
        }
        Ok(Next::More)
    }

    /// The client's data connection; none: nobody came, or somebody else.
    async fn accept(&self, Passive { listener, elsewhere }: Passive) -> Option<TcpStream> {
        let decoy = async {
            match &elsewhere {
                Some(decoy) => decoy.accept().await,
                None => std::future::pending().await,
            }
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = decoy => {
                self.shared.violation("a data connection to an address that the answer to PASV named");
                return None;
            }
            () = tokio::time::sleep(PATIENCE) => return None,
        };
        let (data, from) = accepted.ok()?;
        if from.ip() != self.peer.ip() {
            self.shared.violation(format!("a data connection from {}", from.ip()));
        }
        Some(data)
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }
}

/// The command of a line. What follows may be a password.
fn name(line: &str) -> String {
    line.split(' ').next().unwrap_or_default().to_ascii_uppercase()
}

/// Another address of this machine (RFC 1122, 3.2.1.3: all of 127/8 is loopback).
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Bytes of a line. Chosen by us.
const LINE: u64 = 4096;
/// Bytes of a file; a longer one is refused (452). Chosen by us.
const FILE_MAX: u64 = 4 << 20;
/// How long a data connection is waited for. Chosen by us.
const PATIENCE: Duration = Duration::from_secs(20);
