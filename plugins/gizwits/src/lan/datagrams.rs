//! [`Datagrams`]: answers discoveries, and takes the Wi-Fi network that an application tells during onboarding.
//!
//! A datagram that is not for us is ignored and counted. So is one above the limit of answers: an answer is ten times as
//! long as a discovery, and its address may be forged.

use polylink_plugin_sdk::bucket::Bucket;
use polylink_plugin_sdk::services::udp;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::{RequestId, Timestamp};

use super::{About, LanOutput, Outbox};
use crate::packet::{Frame, Onboarding, PacketError, command};

/// The socket's side of the device.
#[derive(Debug)]
pub struct Datagrams {
    answers: Bucket,
    /// The network that was handed over last, and until when its repetitions are recognised.
    handed_over: Option<(Onboarding, Timestamp)>,
}

impl Datagrams {
    /// Nothing received so far.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a sibling of the other parts, which have arguments")]
    pub const fn new() -> Self {
        Self { answers: Bucket::new(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE), handed_over: None }
    }

    /// When the network that was handed over is to be forgotten.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.handed_over.as_ref().map(|(_, until)| *until)
    }

    /// Forgets a password that is not needed any more.
    pub fn timeout(&mut self, now: Timestamp) {
        self.handed_over.take_if(|(_, until)| *until <= now);
    }

    pub(super) fn receive(
        &mut self,
        now: Timestamp,
        socket: RequestId,
        peer: &str,
        bytes: &[u8],
        about: &About,
        outbox: &mut Outbox,
    ) {
        self.timeout(now);
        let answer = match self.answer(now, bytes, about) {
            Ok(answer) => answer,
            Err(reason) => return outbox.counters.count_udp(reason),
        };
        outbox.udp(udp::Request::SendTo(socket, peer.to_owned(), answer.frame(about).encode()));
        if let Answer::Take(Onboarding { ssid, password }) = answer {
            outbox.log(Level::Info, format!("the application at {peer} told a network to join"));
            outbox.push(LanOutput::JoinNetwork { ssid, password });
        }
    }

    fn answer(&mut self, now: Timestamp, bytes: &[u8], about: &About) -> Result<Answer, &'static str> {
        let frame = Frame::decode_datagram(bytes).map_err(|error| error.reason())?;
        let answer = match frame.command {
            command::DISCOVER => Answer::Discovery,
            command::ONBOARDING => self.onboarding(&frame, about)?,
            _ => return Err("unknown_command"),
        };
        if !self.answers.take(now) {
            return Err("rate");
        }
        if let Answer::Take(network) = &answer {
            self.handed_over = Some((network.clone(), now.after(REPEATED_MS)));
        }
        Ok(answer)
    }

    fn onboarding(&self, frame: &Frame, about: &About) -> Result<Answer, &'static str> {
        let network = Onboarding::decode(&frame.payload).map_err(|error: PacketError| error.reason())?;
        // Onboarding is over as soon as the network was handed over, but the application has not necessarily heard of it.
        if self.handed_over.as_ref().is_some_and(|(last, _)| *last == network) {
            return Ok(Answer::Repeat);
        }
        if about.onboarding { Ok(Answer::Take(network)) } else { Err("not_onboarding") }
    }
}

enum Answer {
    Discovery,
    Take(Onboarding),
    Repeat,
}

impl Answer {
    fn frame(&self, about: &About) -> Frame {
        match self {
            Self::Discovery => about.discovery().frame(command::DISCOVERED),
            Self::Take(_) | Self::Repeat => Frame::empty(command::ONBOARDING_ACCEPTED),
        }
    }
}

/// Not documented; chosen by us: every phone of a house may search at once, and 5 kB/s harm nobody.
const ANSWERS_PER_SECOND: u32 = 50;

/// Not documented; chosen by us: applications send discoveries in bunches.
const ANSWERS_AT_ONCE: u32 = 100;

/// Not documented; chosen by us: applications repeat the network "typically", some for half a minute.
const REPEATED_MS: u64 = 30_000;
