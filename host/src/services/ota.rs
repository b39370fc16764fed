//! `polylink.ota/1`: what clouds offer goes to the update engine, whose list they see.

use polylink_plugin_api::abi_stable::std_types::{RStr, RVec};
use polylink_plugin_api::services::Ota;
use polylink_plugin_api::services::ota::{
    CHANGED, DIGESTS_MAX, Digest, DigestKind, Failure, HEADERS_MAX, ID_MAX, Offer, Phase, Target, URL_MAX, Update,
    VERSION_MAX,
};
use polylink_plugin_api::{Extension, InstanceId};
use reqwest::Url;
use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};

use super::OwnedEvent;
use super::http::{header, not_yours};
use super::registry::with_instance;
use crate::update::coordinator::{FailedAt, Listed, Outcome, Progress};
use crate::update::digest::Expected;
use crate::update::manifest;
use crate::update::offer::{self, Schedule};

/// The table.
pub(super) static TABLE: Ota = Ota { offer: take_offer, cancel, acknowledge, list };

extern "C" fn take_offer(id: InstanceId, offer: Offer) -> bool {
    with_instance(id, false, |instance| {
        let taken = checked(&instance.name, instance.allows_plain_text(), offer)
            .and_then(|offer| instance.updates.offer(offer).map_err(|refused| refused.to_string()));
        if let Err(why) = &taken {
            tracing::warn!(cloud = %instance.name, why, "an update that a plugin offers is not taken");
        }
        taken.is_ok()
    })
}

extern "C" fn cancel(id: InstanceId, update: RStr<'_>) -> bool {
    with_instance(id, false, |instance| instance.updates.cancel(&instance.name, &update).is_ok())
}

extern "C" fn acknowledge(id: InstanceId, update: RStr<'_>) -> bool {
    with_instance(id, false, |instance| instance.updates.acknowledge(&instance.name, &update))
}

extern "C" fn list(id: InstanceId) -> RVec<Update> {
    with_instance(id, RVec::new(), |instance| instance.updates.list(&instance.name).into_iter().map(told).collect())
}

/// The news that the list changed.
pub(super) fn changed() -> OwnedEvent {
    OwnedEvent { source: Ota::ID, kind: CHANGED, ..OwnedEvent::default() }
}

/// What the engine takes. Texts name no address and no header's value, since both carry tokens.
fn checked(asker: &str, plain_text: bool, offer: Offer) -> Result<offer::Offer, String> {
    let length = |what: &str, text: &str, range: std::ops::RangeInclusive<usize>| match range.contains(&text.len()) {
        true => Ok(()),
        false => Err(format!("its {what} has {} bytes, not {} to {}", text.len(), range.start(), range.end())),
    };
    length("id", &offer.id, 1..=ID_MAX)?;
    length("version", &offer.version, 0..=VERSION_MAX)?;
    length("address", &offer.url, 1..=URL_MAX)?;
    let url = Url::parse(&offer.url).map_err(|error| format!("its address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("its address begins with `{}:`; accepted are http and https", url.scheme()));
    }
    let target = match offer.target {
        Target::MODULE => manifest::Target::Module,
        Target::MCU => manifest::Target::Mcu,
        Target::SUBDEVICE => manifest::Target::Subdevice,
        Target(other) => return Err(format!("target {other} is not known")),
    };
    if offer.device != 0 && offer.target != Target::SUBDEVICE {
        return Err("it is for a subdevice by its index, and not by its target".to_owned());
    }
    if offer.headers.len() > HEADERS_MAX || offer.digests.len() > DIGESTS_MAX {
        return Err(format!("it has more than {HEADERS_MAX} headers or {DIGESTS_MAX} digests"));
    }
    Ok(offer::Offer {
        asker: asker.to_owned(),
        reference: offer.id.into(),
        target,
        device: offer.device,
        version: offer.version.into(),
        // As it is parsed: in lower case where that does not matter.
        url: url.into(),
        headers: offer.headers.iter().map(|header| pair(header)).collect::<Result<_, _>>()?,
        plain_text,
        size: (offer.size != 0).then_some(offer.size),
        digests: offer.digests.iter().map(digest).collect::<Result<_, _>>()?,
        schedule: Schedule {
            not_before: (offer.not_before_ms != 0).then(|| offer.not_before_ms.saturating_add(999).div_euclid(1000)),
            spread_s: offer.spread_ms / 1000,
            not_after: (offer.not_after_ms != 0).then(|| offer.not_after_ms.div_euclid(1000)),
        },
    })
}

fn pair(line: &str) -> Result<(String, String), String> {
    let (name, value) = header(line).map_err(|refusal| refusal.text)?;
    // These say how the file comes.
    if [ACCEPT_ENCODING, IF_RANGE, RANGE].contains(&name) {
        return Err(not_yours(&name).text);
    }
    let value = value.to_str().map_err(|_| format!("headers: the value of `{name}` is not ASCII"))?;
    Ok((name.as_str().to_owned(), value.to_owned()))
}

fn digest(digest: &Digest) -> Result<Expected, String> {
    fn bytes<const N: usize>(digest: &Digest) -> Result<[u8; N], String> {
        let value = digest.value.as_slice();
        value.try_into().map_err(|_| format!("a digest has {} bytes, not {N}", value.len()))
    }
    Ok(match digest.kind {
        DigestKind::MD5 => Expected::Md5(bytes(digest)?),
        DigestKind::SHA256 => Expected::Sha256(bytes(digest)?),
        DigestKind::CRC32 => Expected::Crc32(u32::from_be_bytes(bytes(digest)?)),
        DigestKind::CRC32_PLAIN => Expected::Crc32Init0(u32::from_be_bytes(bytes(digest)?)),
        DigestKind::BYTE_SUM => Expected::Sum { bits: 32, value: u32::from_be_bytes(bytes(digest)?).into() },
        DigestKind(other) => return Err(format!("digest {other} is not known")),
    })
}

fn told(listed: Listed) -> Update {
    let (phase, percent, failure, reason) = match listed.progress {
        Progress::Waiting => (Phase::WAITING, 0, Failure::NONE, String::new()),
        Progress::Loading(percent) => (Phase::DOWNLOADING, percent, Failure::NONE, String::new()),
        Progress::Installing(percent) => (Phase::INSTALLING, percent, Failure::NONE, String::new()),
        Progress::Ended(Outcome::Succeeded) => (Phase::FINISHED, 100, Failure::NONE, String::new()),
        Progress::Ended(Outcome::Cancelled) => (Phase::FAILED, 0, Failure::CANCELLED, "it was taken back".to_owned()),
        Progress::Ended(Outcome::Failed { at, why }) => (Phase::FAILED, 0, failure(at), why),
    };
    Update {
        id: listed.reference.into(),
        target: match listed.target {
            // No cloud can offer a plugin by itself; it would be a part of the module.
            manifest::Target::Module | manifest::Target::Plugin => Target::MODULE,
            manifest::Target::Mcu => Target::MCU,
            manifest::Target::Subdevice => Target::SUBDEVICE,
        },
        device: listed.device,
        version: listed.version.into(),
        phase,
        percent: percent.min(100),
        failure,
        reason: reason.into(),
    }
}

const fn failure(at: FailedAt) -> Failure {
    match at {
        FailedAt::Target => Failure::UNSUPPORTED,
        FailedAt::Loading => Failure::DOWNLOAD,
        FailedAt::Digest => Failure::DIGEST,
        FailedAt::Space => Failure::SPACE,
        FailedAt::Deadline => Failure::TOO_LATE,
        FailedAt::Verifying => Failure::POLICY,
        FailedAt::Installing | FailedAt::Trial => Failure::INSTALL,
        FailedAt::Recording => Failure::OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Offer {
        let md5 = Digest { kind: DigestKind::MD5, value: vec![7; 16].into() };
        let sum = Digest { kind: DigestKind::BYTE_SUM, value: vec![0, 0, 1, 2].into() };
        Offer {
            id: "7".into(),
            target: Target::MCU,
            version: "1.2".into(),
            url: "HTTPS://Cloud.example/Image?token=s".into(),
            headers: vec!["X-Token: abc".into()].into(),
            size: 9,
            digests: vec![md5, sum].into(),
            not_before_ms: 1_500,
            spread_ms: 60_000,
            not_after_ms: 9_999,
            ..Offer::default()
        }
    }

    #[test]
    fn an_offer_reaches_the_engine_as_it_was_meant() {
        let expected = offer::Offer {
            asker: "deli".to_owned(),
            reference: "7".to_owned(),
            target: manifest::Target::Mcu,
            device: 0,
            version: "1.2".to_owned(),
            url: "https://cloud.example/Image?token=s".to_owned(),
            headers: vec![("x-token".to_owned(), "abc".to_owned())],
            plain_text: true,
            size: Some(9),
            digests: vec![Expected::Md5([7; 16]), Expected::Sum { bits: 32, value: 258 }],
            schedule: Schedule { not_before: Some(2), spread_s: 60, not_after: Some(9) },
        };
        assert_eq!(checked("deli", true, good()), Ok(expected));
        let least = Offer { id: "1".into(), url: "http://a/".into(), ..Offer::default() };
        let taken = checked("deli", false, least).expect("an offer may say nothing else");
        assert_eq!((taken.size, taken.schedule), (None, Schedule::default()));
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Offer), why: &str) {
        let mut offer = good();
        change(&mut offer);
        let refused = checked("deli", true, offer).expect_err(why);
        assert!(refused.contains(why), "{refused}");
        assert!(!refused.contains("token=s") && !refused.contains("abc"), "{refused}");
    }

    #[test]
    fn what_cannot_be_an_offer_is_refused_with_the_reason_and_without_secrets() {
        check(|offer| offer.id = "".into(), "its id has 0 bytes");
        check(|offer| offer.id = "x".repeat(129).into(), "its id has 129 bytes");
        check(|offer| offer.version = "x".repeat(129).into(), "its version has 129 bytes");
        check(|offer| offer.url = "/image?token=s".into(), "its address: relative URL");
        check(|offer| offer.url = "ftp://cloud/?token=s".into(), "`ftp:`");
        check(|offer| offer.url = format!("http://a/{}", "x".repeat(URL_MAX)).into(), "its address has");
        check(|offer| offer.target = Target(9), "target 9");
        check(|offer| offer.device = 3, "subdevice");
        for own in ["Range", "If-Range", "Accept-Encoding", "Host", "Transfer-Encoding", "TE", "Upgrade", "Expect"] {
            let header = format!("{own}: abc");
            check(|offer| offer.headers = vec![header.into()].into(), "is the host's to say");
        }
        for line in ["abc", "X Y: abc", "abc d: x", "X: abc\r\nY: z", &format!("X: {}", "x".repeat(URL_MAX))] {
            check(|offer| offer.headers = vec![line.into()].into(), "each is `Name: value`");
        }
        check(|offer| offer.headers = vec!["X: abc".into(); HEADERS_MAX + 1].into(), "more than 8 headers");
        check(|offer| offer.digests[0].value = vec![1].into(), "1 bytes, not 16");
        check(|offer| offer.digests[0].kind = DigestKind(9), "digest 9");
    }

    #[test]
    fn each_end_has_its_word() {
        let listed = |progress| Listed {
            id: 1,
            reference: "7".to_owned(),
            target: manifest::Target::Subdevice,
            device: 3,
            version: "1.2".to_owned(),
            progress,
        };
        let seen = |progress| {
            let Update { phase, percent, failure, target, device, .. } = told(listed(progress));
            assert_eq!((target, device), (Target::SUBDEVICE, 3));
            (phase, percent, failure)
        };
        assert_eq!(seen(Progress::Waiting), (Phase::WAITING, 0, Failure::NONE));
        assert_eq!(seen(Progress::Loading(40)), (Phase::DOWNLOADING, 40, Failure::NONE));
        assert_eq!(seen(Progress::Installing(200)), (Phase::INSTALLING, 100, Failure::NONE));
        assert_eq!(seen(Progress::Ended(Outcome::Succeeded)), (Phase::FINISHED, 100, Failure::NONE));
        assert_eq!(seen(Progress::Ended(Outcome::Cancelled)), (Phase::FAILED, 0, Failure::CANCELLED));
        let failed = |at| seen(Progress::Ended(Outcome::Failed { at, why: String::new() })).2;
        let ends = [
            (FailedAt::Target, Failure::UNSUPPORTED),
            (FailedAt::Digest, Failure::DIGEST),
            (FailedAt::Verifying, Failure::POLICY),
            (FailedAt::Trial, Failure::INSTALL),
        ];
        for (at, failure) in ends {
            assert_eq!(failed(at), failure);
        }
    }
}
