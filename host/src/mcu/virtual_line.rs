//! A link in virtual time, for tests: inputs go in, what it says comes out as text.

use polylink_plugin_api::{Cause, CommandBody, Now, Property, ReportBody, Timestamp};

use super::subdevices::{SubdeviceChange, SubdeviceNews, radio_name};
use super::transfer::FirmwareOutput;
use super::{Link, LinkInput, LinkOutput, LinkResult};

/// A link and the time. After each input it holds that the memory of the link is bounded and no timeout is left over.
pub struct VirtualLine<L> {
    pub link: L,
    pub now: Now,
    /// Bytes that the link holds, and the most it may.
    pub held: (fn(&L) -> usize, usize),
    /// How written bytes are shown.
    pub written: fn(&[u8]) -> String,
}

impl<L: Link> VirtualLine<L> {
    /// A command with five seconds to be carried out.
    pub fn command(&mut self, ticket: u64, body: CommandBody, idempotent: bool) -> Vec<String> {
        let deadline = self.now.monotonic.after(5000);
        self.input(LinkInput::Command { ticket, device: 0, body, idempotent, deadline })
    }

    /// The same for a subdevice.
    pub fn command_to(&mut self, device: u32, ticket: u64, body: CommandBody) -> Vec<String> {
        let deadline = self.now.monotonic.after(5000);
        self.input(LinkInput::Command { ticket, device, body, idempotent: false, deadline })
    }

    /// Lets the time pass up to `ms`, waking the link when it asks for it.
    pub fn until(&mut self, ms: u64) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(due) = self.link.next_timeout().filter(|due| due.0 <= ms) {
            self.now.monotonic = due;
            said.extend(self.input(LinkInput::Timeout).into_iter().map(|said| format!("{} {said}", due.0)));
        }
        self.now.monotonic = Timestamp(ms);
        said
    }

    /// One input, and what the link has to say.
    pub fn input(&mut self, input: LinkInput<'_>) -> Vec<String> {
        self.link.handle(self.now, input);
        let said: Vec<_> = std::iter::from_fn(|| self.link.poll()).map(|output| shown(output, self.written)).collect();
        let (held, most) = self.held;
        assert!(held(&self.link) <= most, "{} bytes held", held(&self.link));
        let due = self.link.next_timeout();
        assert!(due.is_none_or(|due| due > self.now.monotonic), "{due:?} is due at {:?}", self.now.monotonic);
        said
    }
}

fn shown(output: LinkOutput, written: fn(&[u8]) -> String) -> String {
    match output {
        LinkOutput::Write(bytes) => written(&bytes),
        LinkOutput::Identified(identity) => format!("identified {:.4} {}", identity.product_key, identity.software),
        LinkOutput::Online(online) => format!("online {online}"),
        LinkOutput::Report { device, cause: cause @ (Cause::CHANGE | Cause::PERIODIC), ticket, body } => {
            let again = if cause == Cause::PERIODIC { "again " } else { "" };
            let body = match body {
                ReportBody::Properties(properties) => properties_shown(&properties),
                ReportBody::Event { id, params } => format!("event {} {}", id.0, properties_shown(&params)),
                ReportBody::Raw(bytes) => format!("raw {:?}", bytes.to_vec()),
            };
            let cause = ticket.map_or_else(String::new, |ticket| format!(" for {ticket}"));
            let of = if device == 0 { String::new() } else { format!("of {device} ") };
            format!("report {of}{again}{body}{cause}")
        }
        LinkOutput::Outcome { ticket, result } => match result {
            LinkResult::Done(values) => format!("{ticket} done {}", properties_shown(&values)).trim_end().into(),
            LinkResult::Refused(why) => format!("{ticket} refused: {why}"),
            result => format!("{ticket} {result:?}"),
        },
        LinkOutput::Subdevice(SubdeviceNews::Gone(index)) => format!("subdevice {index} gone"),
        LinkOutput::Subdevice(SubdeviceNews::Told(index, change)) => subdevice_shown(index, change),
        LinkOutput::User(event) => format!("user {event:?}"),
        LinkOutput::Firmware(FirmwareOutput::Ended(end)) => format!("firmware ended: {end}"),
        LinkOutput::Firmware(said) => format!("firmware {said:?}"),
        LinkOutput::Fault { counter, .. } => format!("fault {counter}"),
        report @ LinkOutput::Report { .. } => format!("{report:?}"),
    }
}

fn properties_shown(properties: &[Property]) -> String {
    let shown: Vec<_> = properties.iter().map(|property| format!("{}={}", property.id.0, property.value)).collect();
    shown.join(" ")
}

fn subdevice_shown(index: u32, change: SubdeviceChange) -> String {
    let said = [
        change.product.map(|product| format!("product {product}")),
        change.address.map(|address| format!("address {address}")),
        change.radio.map(|radio| format!("radio {}", radio_name(radio))),
        change.accepted.map(|accepted| format!("accepted {accepted}")),
        change.online.map(|online| format!("online {online}")),
        change.signal_percent.map(|percent| format!("signal {percent}")),
        change.version.map(|version| format!("version {version}")),
    ];
    let said: Vec<_> = said.into_iter().flatten().collect();
    format!("subdevice {index} {}", said.join(", "))
}
