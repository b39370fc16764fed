//! [`Order`]: what the host is told to install. Its id carries what only this cloud needs when the update is over, so that
//! nothing of it has to be stored here.

use polylink_plugin_sdk::services::ota::{self, Digest};

use super::{FirmwareFile, Wanted};
use crate::api::{Kind, Target};
use crate::identity::is_firmware_version;

/// Which firmware an update is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whose.
    pub kind: Kind,
    /// Which.
    pub target: Target,
    /// Release date, `yymmddhh`, where a download by id tells one.
    pub release: Option<String>,
}

impl Order {
    /// `mcu/version/03010102`, `module/fid/9` or `module/fid/9/14112521`.
    #[must_use]
    pub fn id(&self) -> String {
        let kind = word(self.kind);
        match (&self.target, &self.release) {
            (Target::Version(version), _) => format!("{kind}/version/{version}"),
            (Target::Fid(fid), None) => format!("{kind}/fid/{fid}"),
            (Target::Fid(fid), Some(release)) => format!("{kind}/fid/{fid}/{release}"),
        }
    }

    /// Reads an id; `None` if it is none of ours.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let (kind, rest) = id.split_once('/')?;
        let kind = Kind::ALL.into_iter().find(|known| word(*known) == kind)?;
        match rest.split_once('/')? {
            ("version", version) => Some(Self { kind, target: Target::Version(version.to_owned()), release: None }),
            ("fid", rest) => {
                let (fid, release) = match rest.split_once('/') {
                    Some((fid, release)) => (fid, Some(release).filter(|release| is_firmware_version(release))),
                    None => (rest, None),
                };
                Some(Self { kind, target: Target::Fid(fid.parse().ok()?), release: release.map(str::to_owned) })
            }
            _ => None,
        }
    }
}

/// What the host is to install. `file` is what the server said of the file beforehand, if it did.
#[must_use]
pub fn offer(wanted: Wanted, file: Option<FirmwareFile>) -> ota::Offer {
    let Wanted { kind, target, url } = wanted;
    let (told, release) =
        file.as_ref().map(|file| (file.soft_version.clone(), file.firmware_version.clone())).unwrap_or_default();
    let version = match &target {
        Target::Version(version) => version.clone(),
        // An id says nothing about the version.
        Target::Fid(_) => told.unwrap_or_default(),
    };
    ota::Offer {
        id: Order { kind, target, release }.id(),
        target: match kind {
            Kind::Module => ota::Target::Module,
            Kind::Mcu => ota::Target::Mcu,
        },
        version,
        url,
        size: file.as_ref().map_or(0, |file| file.length),
        digests: file.iter().map(|file| Digest::Md5(file.md5)).collect(),
        ..ota::Offer::default()
    }
}

/// The word of this kind in ids, in the status and for people.
#[must_use]
pub const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Module => "module",
        Kind::Mcu => "mcu",
    }
}

#[cfg(test)]
mod tests {
    use polylink_plugin_sdk::services::ota::ID_MAX;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(id: &str, expected: Option<(Kind, Target, Option<&str>)>) {
        let order = Order::parse(id);
        let seen = order.as_ref().map(|order| (order.kind, order.target.clone(), order.release.as_deref()));
        assert_eq!(seen, expected, "{id}");
        if let Some(order) = order {
            assert!(order.id() == id && id.len() <= ID_MAX);
        }
    }

    #[test]
    fn an_id_carries_what_is_needed_when_the_update_is_over() {
        check("mcu/version/03010102", Some((Kind::Mcu, Target::Version("03010102".into()), None)));
        check("mcu/version/1/2", Some((Kind::Mcu, Target::Version("1/2".into()), None)));
        check("module/fid/9", Some((Kind::Module, Target::Fid(9), None)));
        check("module/fid/4294967295/14112521", Some((Kind::Module, Target::Fid(u32::MAX), Some("14112521"))));
        for id in ["", "module", "module/", "gateway/fid/9", "module/fid/", "module/fid/x", "module/date/9"] {
            check(id, None);
        }
    }

    #[test]
    fn what_the_server_said_of_the_file_is_promised_to_the_host() {
        let url = || "http://h/x".to_owned();
        let file = FirmwareFile {
            soft_version: Some("04020007".into()),
            firmware_version: Some("14112521".into()),
            md5: [7; 16],
            length: 5_000,
        };
        let by_fid = Wanted { kind: Kind::Module, target: Target::Fid(9), url: url() };
        let expected = ota::Offer {
            id: "module/fid/9/14112521".into(),
            target: ota::Target::Module,
            version: "04020007".into(),
            url: url(),
            size: 5_000,
            digests: vec![Digest::Md5([7; 16])],
            ..ota::Offer::default()
        };
        assert_eq!(offer(by_fid, Some(file)), expected);
        let by_version = Wanted { kind: Kind::Mcu, target: Target::Version("03010102".into()), url: url() };
        let expected = ota::Offer {
            id: "mcu/version/03010102".into(),
            target: ota::Target::Mcu,
            version: "03010102".into(),
            url: url(),
            ..ota::Offer::default()
        };
        assert_eq!(offer(by_version, None), expected);
    }

    proptest! {
        #[test]
        fn no_id_can_panic_the_reader(id in "(module|mcu)/(fid|version)/\\PC{0,20}|\\PC{0,40}") {
            let _ = Order::parse(&id);
        }
    }
}
