//! Reports of the MCU on the link's line: held until the product is known, decoded, and told with the control that caused
//! them.

use polylink_p0::{Packet, Raw};
use polylink_plugin_api::{Cause, ReportBody, Timestamp};

use super::super::frame::Frame;
use super::GizwitsUart;
use crate::mcu::LinkOutput;

impl GizwitsUart {
    /// Keeps a report until the product is known. It is acknowledged then: nobody could keep it safe before.
    pub(super) fn hold(&mut self, frame: Frame) {
        if self.held.contains(&frame) {
            // It comes again because it is not acknowledged.
        } else if self.held.len() < HELD_REPORTS {
            self.held.push_back(frame);
        } else {
            self.fault("held_report_dropped", "more reports came than are held until the product is known".into());
        }
    }

    pub(super) fn report(&mut self, now: Timestamp, payload: &[u8]) {
        let Some(profile) = &self.profile else { return };
        let mut problems = Vec::new();
        let report = match profile.decode(payload) {
            Ok(Packet::Report(values) | Packet::ReadAnswer(values)) => {
                let properties = profile.properties(&values, |problem| problems.push(problem));
                let (ticket, cause) = (self.echo_of(now, &values), self.repeats.cause(now, payload));
                (!properties.is_empty()).then(|| (ticket, cause, ReportBody::Properties(properties.into())))
            }
            Ok(Packet::TransparentUp(bytes)) if profile.is_raw() => {
                Some((None, Cause::CHANGE, ReportBody::Raw(bytes.into())))
            }
            Ok(Packet::TransparentUp(_)) => {
                self.fault("raw", "uninterpreted bytes of a product that declares none".into());
                None
            }
            Ok(_) => {
                self.fault("p0", "a payload that only goes towards the MCU".into());
                None
            }
            Err(error) => {
                self.fault("p0", error.to_string());
                None
            }
        };
        for problem in problems {
            self.fault("report_value", problem);
        }
        if let Some((ticket, cause, body)) = report {
            self.outputs.push_back(LinkOutput::Report { device: 0, cause, ticket, body });
        }
    }

    /// The control that this report answers, as far as one can tell: the protocol does not say. The newest control that
    /// was acknowledged within [`ECHO_MS`] and whose values are all in the report; each control has one such report.
    fn echo_of(&mut self, now: Timestamp, values: &[(u8, Raw)]) -> Option<u64> {
        self.echoes.retain(|echo| now < echo.until);
        let index = self.echoes.iter().rposition(|echo| echo.values.iter().all(|value| values.contains(value)))?;
        self.echoes.remove(index).map(|echo| echo.ticket)
    }
}

/// Reports held until the product is known. When full, further ones are not acknowledged, and counted as
/// `held_report_dropped`; the MCU repeats them.
const HELD_REPORTS: usize = 16;
