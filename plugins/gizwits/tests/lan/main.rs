//! The device on the LAN, in virtual time: each rule as a sentence, and what a hostile neighbour may try.

mod discovery;
mod guessing;
mod hostile;
mod ports;
mod sessions;

use polylink_gizwits::lan::{About, Client, Lan, LanOutput, LanSettings};
use polylink_gizwits::packet::{Frame, P0Request, Passcode, command};
use polylink_plugin_sdk::random::Random;
use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::{Failure, Reason, tcp, udp};
use polylink_plugin_sdk::{RequestId, Timestamp};

const LISTENER: RequestId = RequestId(1);
const SOCKET: RequestId = RequestId(2);
const PHONE: &str = "192.0.2.7:40000";
const PASSCODE: &str = "IPQRSTUVWX";

/// A device on the LAN and the world around it.
struct Rig {
    lan: Lan,
    about: About,
    now: Timestamp,
    n_streams: u64,
}

impl Rig {
    /// Not started yet.
    fn fresh(settings: LanSettings) -> Self {
        let about = About {
            did: "AbCdEfGhIjKlMnOpQrStUv".to_owned(),
            mac: [0x02, 0x00, 0x5E, 0x10, 0x20, 0x30],
            product_key: "6f3074fe43894547a4f1314bd7e3ae0b".to_owned(),
            module_hardware: "000LINUX".to_owned(),
            module_software: "04020006".to_owned(),
            mcu_hardware: "00000003".to_owned(),
            mcu_software: "03010101".to_owned(),
            payload_version: "00000004".to_owned(),
            passcode: Secret::new(PASSCODE.to_owned()),
            bindable: true,
            ..About::default()
        };
        let lan = Lan::new(settings, LISTENER, SOCKET, Random::new([1; 32]));
        Self { lan, about, now: Timestamp(1_000_000), n_streams: 1 << 63 }
    }

    /// Both ports are open.
    fn open(settings: LanSettings) -> Self {
        let mut rig = Self::fresh(settings);
        rig.lan.start();
        rig.tcp(tcp::Event::Listening(LISTENER, 12_416));
        rig.udp(udp::Event::Bound(SOCKET, 12_414));
        rig
    }

    fn tcp(&mut self, event: tcp::Event) -> Vec<LanOutput> {
        self.lan.tcp(self.now, event, &self.about);
        self.lan.take_outputs()
    }

    fn udp(&mut self, event: udp::Event) -> Vec<LanOutput> {
        self.lan.udp(self.now, event, &self.about);
        self.lan.take_outputs()
    }

    fn datagram(&mut self, bytes: &[u8]) -> Vec<LanOutput> {
        self.udp(udp::Event::Received(SOCKET, PHONE.to_owned(), bytes.to_vec()))
    }

    fn connect_from(&mut self, peer: &str) -> (RequestId, Vec<LanOutput>) {
        self.n_streams += 1;
        let stream = RequestId(self.n_streams);
        let outputs = self.tcp(tcp::Event::Accepted { listener: LISTENER, stream, peer: peer.to_owned() });
        (stream, outputs)
    }

    fn connect(&mut self) -> RequestId {
        self.connect_from(PHONE).0
    }

    /// A client that has logged in.
    fn client(&mut self) -> RequestId {
        let stream = self.connect();
        assert_eq!(sent(&self.say(stream, &login(PASSCODE)), stream), [Frame::new(0x09, [0])]);
        stream
    }

    fn say(&mut self, stream: RequestId, frame: &Frame) -> Vec<LanOutput> {
        self.tcp(tcp::Event::Received(stream, frame.encode()))
    }

    /// Lets time pass, with all timeouts on the way.
    fn wait(&mut self, ms: u64) -> Vec<LanOutput> {
        let end = self.now.after(ms);
        let mut outputs = Vec::new();
        let mut n_timeouts = 0;
        while let Some(at) = self.lan.next_timeout().filter(|at| *at <= end) {
            n_timeouts += 1;
            assert!(n_timeouts < 1000, "a timeout at {at:?} does not go away");
            self.now = self.now.max(at);
            self.lan.timeout(self.now, &self.about);
            outputs.extend(self.lan.take_outputs());
        }
        self.now = end;
        outputs
    }

    /// The handle of a request that a client makes.
    fn request(&mut self, stream: RequestId, sn: Option<u32>, p0: &[u8]) -> Client {
        let request = P0Request { sn, p0: p0.to_vec() };
        let outputs = self.say(stream, &request.frame());
        let [LanOutput::Request(client, got)] = &outputs[..] else { panic!("one request, not {outputs:?}") };
        assert_eq!(*got, request);
        *client
    }
}

fn login(passcode: &str) -> Frame {
    Passcode(Secret::new(passcode.as_bytes().to_vec())).frame(command::LOGIN)
}

/// What was sent on a stream.
fn sent(outputs: &[LanOutput], to: RequestId) -> Vec<Frame> {
    let frame = |output: &LanOutput| match output {
        LanOutput::Tcp(tcp::Request::Send(stream, bytes)) if *stream == to => {
            Some(Frame::decode_datagram(bytes).unwrap())
        }
        _ => None,
    };
    outputs.iter().filter_map(frame).collect()
}

/// What was sent to an address, or to all.
fn datagrams(outputs: &[LanOutput]) -> Vec<(String, Frame)> {
    let datagram = |output: &LanOutput| match output {
        LanOutput::Udp(udp::Request::SendTo(SOCKET, to, bytes)) => Some((to.clone(), bytes.clone())),
        LanOutput::Udp(udp::Request::Broadcast(SOCKET, port, bytes)) => Some((format!("*:{port}"), bytes.clone())),
        _ => None,
    };
    let decoded = |(to, bytes): (String, Vec<u8>)| (to, Frame::decode_datagram(&bytes).unwrap());
    outputs.iter().filter_map(datagram).map(decoded).collect()
}

fn is_closed(outputs: &[LanOutput], stream: RequestId) -> bool {
    outputs.contains(&LanOutput::Tcp(tcp::Request::Close(stream)))
}

fn failure(text: &str) -> Failure {
    Failure { reason: Reason::Other, text: text.to_owned() }
}
