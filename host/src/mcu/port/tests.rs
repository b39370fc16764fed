//! The port over real sockets and a pseudo-terminal, with a scripted MCU at the other end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::mcu::gizwits_uart::GizwitsUart;
use crate::mcu::gizwits_uart::frame::{Decoder, Frame};
use crate::mcu::jsonl::JsonLines;

/// Passes everything on to the test.
struct Said(mpsc::UnboundedSender<LinkOutput>);

impl McuHandler for Said {
    fn output(&self, _: Now, output: LinkOutput) {
        let _ = self.0.send(output);
    }
}

struct Rig {
    mailbox: mpsc::Sender<PortMessage>,
    said: mpsc::UnboundedReceiver<LinkOutput>,
    task: tokio::task::JoinHandle<()>,
}

impl Rig {
    fn start(address: PortAddress, link: Box<dyn Link>) -> Self {
        let (mailbox, messages) = mpsc::channel(64);
        let (sender, said) = mpsc::unbounded_channel();
        let start = Instant::now();
        let clock = move || Now { monotonic: Timestamp(start.elapsed().as_millis() as u64), ..Now::default() };
        let settings = PortSettings { address, baud: 115_200 };
        let task = tokio::spawn(run(settings, link, clock, messages, Arc::new(Said(sender))));
        Self { mailbox, said, task }
    }

    /// The next thing said that is no fault.
    async fn said(&mut self) -> LinkOutput {
        loop {
            match self.said.recv().await.unwrap() {
                LinkOutput::Fault { .. } => {}
                output => return output,
            }
        }
    }

    async fn fault(&mut self, wanted: &str) {
        loop {
            if let LinkOutput::Fault { counter, .. } = self.said.recv().await.unwrap()
                && counter == wanted
            {
                return;
            }
        }
    }

    async fn identified(&mut self) {
        while !matches!(self.said().await, LinkOutput::Identified(_)) {}
    }

    async fn end(self) {
        drop(self.mailbox);
        self.task.await.unwrap();
    }
}

/// A path of our own for a socket.
fn socket_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("polylink-port-{}-{number}", std::process::id()))
}

fn check<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Ends a test that would wait for ever; far longer than any of them takes.
    let limited = async { tokio::time::timeout(Duration::from_secs(60), test).await };
    runtime.block_on(limited).expect("what the test waits for never came");
}

/// The pseudo-terminals that this process has open.
fn open_ttys() -> Vec<PathBuf> {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    links.filter(|path| path.starts_with("/dev/pts")).collect()
}

/// Answers the handshake of the Gizwits protocol on a stream, then returns it.
async fn shake_hands(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> impl AsyncRead + AsyncWrite + Unpin {
    let (mut decoder, mut buffer, mut request) = (Decoder::default(), [0; 64], None);
    while request.is_none() {
        let read = stream.read(&mut buffer).await.unwrap();
        decoder.push(&buffer[..read], |frame| request = frame.ok());
    }
    let payload = [b"00000004000000040300000003000001".as_slice(), &[b'1'; 32], &[0, 0]].concat();
    let answer = Frame::new(2, request.unwrap().sn, payload).encode();
    stream.write_all(&answer).await.unwrap();
    stream
}

#[test]
fn a_unix_socket_is_opened_when_it_appears_and_opened_again_when_it_is_lost() {
    check(async {
        let path = socket_path();
        let mut rig = Rig::start(PortAddress::Unix(path.clone()), Box::new(GizwitsUart::new(9600)));
        rig.fault("port_open").await;
        let listener = UnixListener::bind(&path).unwrap();
        let stream = shake_hands(listener.accept().await.unwrap().0).await;
        rig.identified().await;
        assert_eq!(rig.said().await, LinkOutput::Online(true));
        drop(stream);
        assert_eq!(rig.said().await, LinkOutput::Online(false));
        rig.fault("port_lost").await;
        let stream = shake_hands(listener.accept().await.unwrap().0).await;
        assert_eq!(rig.said().await, LinkOutput::Online(true));
        drop(stream);
        rig.end().await;
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn a_tty_is_opened_raw_and_noticed_when_its_other_end_goes() {
    check(async {
        let before = open_ttys();
        let (mcu, module) = SerialPort::pair().unwrap();
        let path = open_ttys().into_iter().find(|path| !before.contains(path)).unwrap();
        let mut rig = Rig::start(PortAddress::Tty(path), Box::new(GizwitsUart::new(115_200)));
        let mut mcu = shake_hands(mcu).await;
        rig.identified().await;
        assert_eq!(rig.said().await, LinkOutput::Online(true));
        // Bytes that a terminal in its ordinary mode would swallow or change.
        let bytes = [0x03, 0x04, 0x0A, 0x0D, 0x11, 0x13, 0x1A, 0x7F, 0xFF];
        mcu.write_all(&Frame::new(0x09, 1, bytes.to_vec()).encode()).await.unwrap();
        let (mut decoder, mut buffer, mut answers) = (Decoder::default(), [0; 256], Vec::new());
        while !answers.iter().any(|frame: &Frame| frame.command == 0x0A) {
            let read = mcu.read(&mut buffer).await.unwrap();
            decoder.push(&buffer[..read], |frame| answers.extend(frame));
        }
        assert_eq!(rig.said().await, LinkOutput::User(crate::mcu::UserEvent::Configure(3)));
        drop((mcu, module));
        assert_eq!(rig.said().await, LinkOutput::Online(false));
        rig.fault("port_lost").await;
        rig.end().await;
    });
}

#[test]
fn a_tcp_connection_carries_json_lines() {
    check(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = PortAddress::Tcp(listener.local_addr().unwrap().to_string());
        let mut rig = Rig::start(address, Box::new(JsonLines::new()));
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"{\"hello\":{\"product_key\":\"oven\"}}\n").await.unwrap();
        assert_eq!(rig.said().await, LinkOutput::Online(true));
        rig.identified().await;
        rig.end().await;
    });
}

#[test]
fn a_command_without_a_line_is_unreachable_at_once() {
    check(async {
        let mut rig = Rig::start(PortAddress::Tty("/dev/polylink-absent".into()), Box::new(GizwitsUart::new(9600)));
        let body = CommandBody::Get(Vec::new().into());
        let message =
            PortMessage::Command { ticket: 7, device: 0, body, idempotent: true, deadline: Timestamp(u64::MAX) };
        rig.mailbox.send(message).await.unwrap();
        let result = crate::mcu::LinkResult::Unreachable;
        assert_eq!(rig.said().await, LinkOutput::Outcome { ticket: 7, result });
        rig.end().await;
    });
}

#[test]
fn commands_are_answered_while_the_line_floods() {
    check(async {
        let path = socket_path();
        let listener = UnixListener::bind(&path).unwrap();
        let mut rig = Rig::start(PortAddress::Unix(path.clone()), Box::new(GizwitsUart::new(9600)));
        let mut stream = shake_hands(listener.accept().await.unwrap().0).await;
        rig.identified().await;
        assert_eq!(rig.said().await, LinkOutput::Online(true));
        let flood = tokio::spawn(async move { while stream.write_all(&[0x55; 4096]).await.is_ok() {} });
        let body = CommandBody::Invoke { action: polylink_plugin_api::DatapointId(0), params: Vec::new().into() };
        let message =
            PortMessage::Command { ticket: 7, device: 0, body, idempotent: false, deadline: Timestamp(u64::MAX) };
        rig.mailbox.send(message).await.unwrap();
        assert!(matches!(rig.said().await, LinkOutput::Outcome { ticket: 7, .. }));
        rig.end().await;
        flood.await.unwrap();
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn a_line_that_takes_no_bytes_does_not_make_the_buffer_grow() {
    let (sender, mut said) = mpsc::unbounded_channel();
    let mut port = Port {
        link: Box::new(GizwitsUart::new(9600)),
        clock: Now::default,
        mailbox: mpsc::channel(1).1,
        handler: Arc::new(Said(sender)),
        faults: FaultLog { address: "test".into(), counters: HashMap::new() },
        outgoing: Vec::new(),
        was_read: false,
    };
    port.input(LinkInput::Opened);
    for sn in 0..=255 {
        let burst: Vec<_> = (0..200).flat_map(|_| Frame::new(0x17, sn, Vec::new()).encode()).collect();
        port.input(LinkInput::Bytes(&burst));
        assert!(port.outgoing.len() <= OUTGOING_BYTES);
    }
    let counters: Vec<_> = std::iter::from_fn(|| said.try_recv().ok()).collect();
    assert!(matches!(counters[..], [LinkOutput::Fault { counter: "port_full", .. }, ..]), "{:?}", counters.first());
}

#[test]
fn addresses_are_read_and_shown() {
    for text in ["/dev/ttyS1", "unix:/run/mcu.sock", "tcp:192.168.1.9:4001", "tcp:[::1]:4001"] {
        assert_eq!(text.parse::<PortAddress>().unwrap().to_string(), text);
    }
    for text in ["", "ttyS1", "unix:mcu", "tcp:host", "tcp::1", "tcp:host:99999"] {
        let error = text.parse::<PortAddress>().unwrap_err();
        let accepted = "accepted: a path such as /dev/ttyS1, unix:/path, tcp:host:port";
        assert_eq!(error.to_string(), format!("`{text}` is no port; {accepted}"));
    }
}
