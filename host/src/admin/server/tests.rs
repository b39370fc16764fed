//! The real socket with real clients.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::*;
use crate::admin::client::{Client, ClientError};
use crate::admin::{DatapointReport, HostStatus, PluginReport, SetOutcome, StatusReport, WatchEvent};

pub(crate) struct Lamp(broadcast::Sender<WatchEvent>);

#[async_trait]
impl Control for Lamp {
    fn status(&self) -> StatusReport {
        StatusReport { host: HostStatus { product: "lamp".into(), ..HostStatus::default() }, ..StatusReport::default() }
    }

    fn get(&self, names: &[String]) -> Result<Vec<DatapointReport>, String> {
        match names {
            [name] if name == "power" => {
                Ok(vec![DatapointReport { name: "power".into(), value: Some("true".into()), ..Default::default() }])
            }
            [name] if name == "mode" => Ok(vec![DatapointReport { name: "mode".into(), ..Default::default() }]),
            _ => Err("there is no such datapoint".into()),
        }
    }

    async fn set(&self, values: Vec<(String, String)>) -> Vec<SetOutcome> {
        values.into_iter().map(|(name, text)| SetOutcome { name, done: text == "on", text }).collect()
    }

    fn watch(&self) -> broadcast::Receiver<WatchEvent> {
        self.0.subscribe()
    }

    fn plugins(&self) -> Vec<PluginReport> {
        Vec::new()
    }

    async fn change_plugin(&self, change: PluginChange, steps: mpsc::Sender<String>) -> Result<String, String> {
        let _ = steps.try_send("verified: it is a lamp".to_owned());
        match change {
            PluginChange::Install { file } => Ok(format!("healthy: {}", file.display())),
            PluginChange::RollBack { plugin } => Err(format!("there is no plugin `{plugin}` to go back to")),
        }
    }

    fn log(&self) -> String {
        "one\ntwo\u{1b}[2J\n".to_owned()
    }
}

/// Runs `clients` against a served socket, on a thread of its own.
pub(crate) fn check(clients: impl FnOnce(&Path, &broadcast::Sender<WatchEvent>)) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("polylink-control-{}-{number}", std::process::id()));
    let path = dir.join("control.sock");
    let socket = ControlSocket::bind(&path).expect("nothing is in the way");
    let (events, _) = broadcast::channel(4);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let control = Arc::new(Lamp(events.clone()));
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            tokio::select! {
                ended = socket.serve(control) => panic!("the server ended: {ended:?}"),
                _ = stopped => {}
            }
        });
    });
    clients(&path, &events);
    drop(stop);
    server.join().expect("the server does not panic");
    assert!(!path.exists(), "the socket's file is removed");
    let _ = std::fs::remove_dir(dir);
}

#[test]
fn requests_are_answered_one_after_another() {
    check(|path, _| {
        let mut client = Client::connect(path).expect("it listens");
        let Ok(Answer::Status(status)) = client.ask(&Request::Status) else { panic!("a status") };
        assert_eq!(status.host.product, "lamp");
        let Ok(Answer::Values(values)) = client.ask(&Request::Get { names: vec!["power".into()] }) else {
            panic!("values")
        };
        assert_eq!(values[0].value.as_deref(), Some("true"));
        let set = Request::Set { values: vec![("power".into(), "on".into())] };
        let Ok(Answer::Outcomes(outcomes)) = client.ask(&set) else { panic!("outcomes") };
        assert!(outcomes[0].done);
    });
}

#[test]
fn steps_come_before_the_last_word() {
    check(|path, _| {
        let mut client = Client::connect(path).expect("it listens");
        let step = Answer::Step("verified: it is a lamp".to_owned());
        let install = Request::PluginInstall { file: "/x.so".into() };
        assert_eq!(client.ask(&install).expect("a step"), step);
        assert_eq!(client.next().expect("an end"), Answer::Done("healthy: /x.so".to_owned()));
        let back = Request::PluginRollback { plugin: "deli".to_owned() };
        assert_eq!(client.ask(&back).expect("a step"), step);
        assert!(matches!(client.next(), Err(ClientError::Refused(why)) if why.contains("`deli` to go back to")));
    });
}

#[test]
fn nonsense_is_answered_and_the_connection_goes_on() {
    check(|path, _| {
        let mut stream = StdStream::connect(path).expect("it listens");
        stream.write_all(b"hello\n{\"op\":\"dance\"}\n\xff\xfe\n{\"op\":\"plugins\"}\n").expect("open");
        let lines: Vec<String> = BufReader::new(stream).lines().take(4).map(|line| line.expect("text")).collect();
        assert!(
            lines[..3].iter().all(|line| line.starts_with("{\"error\":\"the request is not understood")),
            "{lines:?}"
        );
        assert_eq!(lines[3], "{\"plugins\":[]}");
    });
}

#[test]
fn a_request_without_end_is_cut_off() {
    check(|path, _| {
        let mut stream = StdStream::connect(path).expect("it listens");
        // The host may hang up while we still write.
        let _ = stream.write_all(&vec![b'x'; 2 * MAX_REQUEST]);
        let mut line = String::new();
        match BufReader::new(stream).read_line(&mut line) {
            Ok(_) => assert_eq!(line, "{\"error\":\"a request has at most 65536 bytes\"}\n"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    });
}

#[test]
fn a_ninth_client_is_told_that_there_is_no_seat() {
    check(|path, _| {
        let mut clients: Vec<Client> = (0..MAX_CLIENTS).map(|_| Client::connect(path).expect("it listens")).collect();
        for client in &mut clients {
            client.ask(&Request::Plugins).expect("it has a seat");
        }
        let refused = Client::connect(path).expect("it listens").ask(&Request::Status);
        assert!(matches!(&refused, Err(ClientError::Refused(text)) if text.contains("8 are connected")), "{refused:?}");
    });
}

#[test]
fn a_watcher_sees_what_happens_and_how_much_it_missed() {
    check(|path, events| {
        let mut client = Client::connect(path).expect("it listens");
        assert_eq!(client.ask(&Request::Watch).expect("watching"), Answer::Watching);
        let status = |at_unix_ms| WatchEvent::Status {
            at_unix_ms,
            who: "mcu".into(),
            state: "online".into(),
            text: String::new(),
        };
        events.send(status(1)).expect("somebody watches");
        assert_eq!(client.next().expect("an event"), Answer::Event(status(1)));
        // Far more than the channel and the socket's buffer hold: whatever is missing must be counted.
        let sent = 20_000;
        for number in 0..sent {
            events.send(status(number)).expect("somebody watches");
        }
        let mut seen = 0;
        while seen < sent {
            match client.next().expect("an answer") {
                Answer::Event(_) => seen += 1,
                Answer::Lost(lost) => seen += i64::try_from(lost).expect("small"),
                answer => panic!("not {answer:?}"),
            }
        }
        assert_eq!(seen, sent);
    });
}

#[test]
fn a_second_host_is_refused_and_a_dead_ones_socket_replaced() {
    check(|path, _| {
        assert!(matches!(ControlSocket::bind(path), Err(BindError::Taken(_))));
    });
    let dir = std::env::temp_dir().join(format!("polylink-stale-{}", std::process::id()));
    let path = dir.join("control.sock");
    std::fs::create_dir_all(&dir).expect("writable");
    drop(StdListener::bind(&path).expect("free"));
    let socket = ControlSocket::bind(&path).expect("the old socket is dead");
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    drop(socket);
    std::fs::write(&path, "").expect("writable");
    assert!(matches!(ControlSocket::bind(&path), Err(BindError::InTheWay(_))));
    let _ = std::fs::remove_dir_all(dir);
}
