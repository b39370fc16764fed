//! What comes from the host: the product, and commands as frames.

use std::sync::Arc;

use polylink_p0::Schema;
use polylink_plugin_api::{CommandBody, Timestamp};

use super::super::commands::TRANSPARENT_DOWN;
use super::super::frame::MAX_PAYLOAD;
use super::super::p0_profile::Profile;
use super::super::requests::{Ask, AskKind};
use super::{GizwitsUart, Phase};
use crate::mcu::LinkResult;
use crate::product::Product;

impl GizwitsUart {
    pub(super) fn product(&mut self, now: Timestamp, product: Arc<Product>, layout: Option<Arc<Schema>>) {
        let mut problems = Vec::new();
        match Profile::new(product, layout, |problem| problems.push(problem)) {
            Ok(profile) => self.profile = Some(profile),
            Err(error) => problems.push(error.to_string()),
        }
        for problem in problems {
            self.fault("profile", problem);
        }
        if self.profile.is_none() {
            return;
        }
        for frame in std::mem::take(&mut self.held) {
            self.report(now, &frame.payload);
            self.acknowledge(&frame, Vec::new());
            self.last_request = Some((now, frame));
        }
    }

    pub(super) fn ask(
        &self,
        ticket: u64,
        device: u32,
        body: CommandBody,
        deadline: Timestamp,
    ) -> Result<Ask, LinkResult> {
        let refused = |why: &str| LinkResult::Refused(why.to_owned());
        if !matches!(self.phase, Phase::Online(_)) {
            return Err(LinkResult::Unreachable);
        }
        if device != 0 {
            return Err(refused("the Gizwits serial protocol knows no subdevices"));
        }
        let profile = self.profile.as_ref().ok_or_else(|| refused("the product is not known yet"))?;
        let (payload, kind) = match body {
            CommandBody::Set(properties) => {
                let (payload, values) = profile.control(&properties).map_err(LinkResult::Refused)?;
                (payload, AskKind::Control(values))
            }
            CommandBody::Get(ids) => {
                (profile.read(&ids).map_err(LinkResult::Refused)?, AskKind::Read(ids.into_iter().collect()))
            }
            CommandBody::Invoke { .. } => return Err(refused("the Gizwits serial protocol knows no actions")),
            CommandBody::Raw(_) if !profile.is_raw() => {
                return Err(refused("the product declares no uninterpreted bytes"));
            }
            CommandBody::Raw(bytes) if bytes.len() >= MAX_PAYLOAD => {
                return Err(refused("more bytes than a frame of the serial protocol holds"));
            }
            CommandBody::Raw(bytes) => ([&[TRANSPARENT_DOWN], bytes.as_slice()].concat(), AskKind::Raw),
        };
        Ok(Ask { ticket, deadline, payload, kind })
    }
}
