//! Who is answered when an app looks for devices, and with what.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::About;
use crate::crypto::PublicKey;
use crate::packet::fragment::MAX_MESSAGE;
use crate::wire::discovery::Enrolment;
use crate::wire::json::{Flag, Json};
use crate::wire::{DiscoveryAnswer, DiscoveryRequest, SubDevice};

/// What the device answers.
///
/// # Errors
/// Why it stays silent, as a reason of [`super::Counters`].
pub fn answer(payload: &[u8], about: &About, devkey: &PublicKey) -> Result<DiscoveryAnswer, &'static str> {
    let request = DiscoveryRequest::decode(payload).map_err(|_| crate::packet::Refused::Structure.name())?;
    if is_answer(payload) {
        return Err("answer");
    }
    if about.productuuid.is_empty() {
        return Err("no_product");
    }
    let wants = |sub: &&SubDevice| request.wants(&sub.productuuid, sub.state == Enrolment::Authorized).is_ok();
    let wanted_subs: Vec<_> = about.subdevices.iter().filter(|_| about.is_gateway()).filter(wants).collect();
    if let Err(unwanted) = request.wants(&about.productuuid, about.is_bound())
        && wanted_subs.is_empty()
    {
        return Err(unwanted.name());
    }
    let subdev = about.is_gateway().then(Vec::new);
    let mut answer = DiscoveryAnswer {
        mac: about.mac.clone(),
        productuuid: about.productuuid.clone(),
        cid: about.cid.clone(),
        firmware_version: about.firmware_version.clone(),
        model_code: about.model_code.clone(),
        lancon: Flag(about.lancon),
        trantype: about.trantype,
        feedid: about.feedid,
        devkey: devkey.to_text(),
        dbg: about.debug,
        opt: about.opt.clone(),
        devtype: about.devtype,
        subdev,
    };
    let mut room = MAX_MESSAGE.saturating_sub(answer.encode().len());
    let fits = |sub: &&SubDevice| {
        // With the comma.
        let left = room.checked_sub(Json::of(*sub).get().len() + 1);
        room = left.unwrap_or(room);
        left.is_some()
    };
    if let Some(list) = &mut answer.subdev {
        list.extend(wanted_subs.into_iter().take_while(fits).cloned());
    }
    Ok(answer)
}

/// Whether these are the words of a device and not of an app. An answer reads like a question for the answering device's
/// product. With a forged sender, one datagram would make two devices of the same product ask each other for ever.
fn is_answer(payload: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Members {
        #[serde(rename = "devkey")]
        _devkey: IgnoredAny,
    }
    serde_json::from_slice::<Members>(payload).is_ok()
}
