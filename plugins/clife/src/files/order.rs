//! An operation that is under way, as it is stored, and what the host is asked for it.

use polylink_plugin_sdk::services::logs::{Method, Upload};
use polylink_plugin_sdk::services::ota::Offer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{FileInfo, FileSettings, Operation, Request, Stage, digests};
use crate::frame::MsgId;

/// What the host does not keep of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Whose it is; that of another device, or of another platform, is of no use.
    pub device: String,
    /// The number of its request, which all its events carry.
    pub id: MsgId,
    /// By what the host's updates for it are told from others.
    pub name: String,
    /// What is to be done.
    pub request: Request,
    /// When it came, by the host's clock; Unix milliseconds.
    pub received_ms: i64,
    /// When it begins; `None`: at once.
    pub begin_ms: Option<i64>,
    /// When its transfer must be complete.
    pub deadline_ms: Option<i64>,
    /// So many of its files were handed to the host.
    pub handed: usize,
    /// What the platform was told of it.
    pub stage: Stage,
}

impl Order {
    /// Reads a stored one, with all checks of a request.
    #[must_use]
    pub fn restore(stored: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Stored {
            device: String,
            id: MsgId,
            name: String,
            request: Box<RawValue>,
            received_ms: i64,
            begin_ms: Option<i64>,
            deadline_ms: Option<i64>,
            handed: usize,
            stage: Stage,
        }
        let stored: Stored = serde_json::from_slice(stored).ok()?;
        let request = Request::parse(&stored.request).ok()?;
        request.kind()?;
        // None is stored before its first file was handed over, but for one with which the host does not wait.
        let has_begun = stored.handed > 0;
        let is_possible = stored.handed <= request.file_info.len() && (has_begun || !request.begins_with_firmware());
        let Stored { device, id, name, received_ms, begin_ms, deadline_ms, handed, stage, .. } = stored;
        is_possible.then_some(Self { device, id, name, request, received_ms, begin_ms, deadline_ms, handed, stage })
    }

    /// The operation as the platform knows it.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        Some(Operation::resumed(self.request.kind()?, self.stage))
    }

    /// The host's name of the update for the file at this place.
    #[must_use]
    pub fn update_id(&self, index: usize) -> String {
        format!("{}/{index}", self.name)
    }

    /// True if this is the host's name of an update for this operation.
    #[must_use]
    pub fn owns(&self, update_id: &str) -> bool {
        update_id.split_once('/').is_some_and(|(name, _)| name == self.name)
    }

    /// The file that was handed over last.
    #[must_use]
    pub fn current(&self) -> Option<(usize, &FileInfo)> {
        let index = self.handed.checked_sub(1)?;
        Some((index, self.request.file_info.get(index)?))
    }

    /// What the host is to install, for the file that was handed over last. Only the first waits for its time; the others
    /// follow when the one before is installed. `None`: there is none, or the settings have another part for its number by now.
    #[must_use]
    pub fn offer(&self, settings: &FileSettings) -> Option<Offer> {
        let (index, file) = self.current()?;
        Some(Offer {
            id: self.update_id(index),
            target: settings.dev_nums.target(file.dev_num)?,
            version: file.software.clone().unwrap_or_default(),
            url: file.url.clone(),
            digests: digests(file, settings.check_sum_bits),
            not_before_ms: self.begin_ms.filter(|_| index == 0).unwrap_or(0),
            spread_ms: if index == 0 { settings.random_delay_ms } else { 0 },
            not_after_ms: self.deadline_ms.unwrap_or(0),
            ..Offer::default()
        })
    }

    /// What the host is to upload, for the file that was handed over last.
    #[must_use]
    pub fn upload(&self, method: Method, dev_id: &str) -> Option<Upload> {
        let (_, file) = self.current()?;
        let period = self.request.window().ok()?.log_period;
        let ms = |seconds: i64| self.received_ms.saturating_add(seconds.saturating_mul(1000));
        let upload = Upload {
            url: file.url.clone(),
            method,
            from_ms: period.map(|period| ms(period.from_s)),
            to_ms: period.map(|period| ms(period.to_s)),
            ..Upload::default()
        };
        // Names of the form (Clife access document, our reading: upload).
        Some(match method {
            Method::Multipart => {
                let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
                let name: String = dev_id.chars().take(LONGEST_DEVICE).map(plain).collect();
                Upload {
                    fields: [("devId", dev_id), ("fileType", "LOG")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
                    file_field: "file".to_owned(),
                    file_name: format!("{name}.log"),
                    ..upload
                }
            }
            Method::Put | Method::Post => {
                Upload { headers: vec!["Content-Type: application/octet-stream".to_owned()], ..upload }
            }
        })
    }
}

/// Characters of a device id in the name of a file.
const LONGEST_DEVICE: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::frame::raw;

    fn order(request: &serde_json::Value) -> Order {
        Order {
            device: "d".into(),
            id: MsgId::from(7),
            name: "9".into(),
            request: Request::parse(&raw(request)).unwrap(),
            received_ms: 1_000_000,
            begin_ms: Some(1_060_000),
            deadline_ms: None,
            handed: 1,
            stage: Stage::Transferring,
        }
    }

    fn upgrade() -> Order {
        let file = json!({"fileType": "FIRM", "software": "1", "hardware": "1", "url": "http://h/f",
            "md5": "47bce5c74f589f4867dbd57e9ca9f808", "checkSum": 291});
        order(&json!({"fileMode": "DOWN", "productVer": 2, "fileInfo": [file, file]}))
    }

    fn log(start: i64, stop: i64) -> Order {
        let file = json!({"fileType": "LOG", "url": "http://h/up"});
        order(&json!({"fileMode": "UP", "fileInfo": [file], "startTime": start, "stopTime": stop}))
    }

    #[test]
    fn a_stored_order_is_read_back_or_not_at_all() {
        for order in [upgrade(), log(-600, -10)] {
            let stored = serde_json::to_value(&order).unwrap();
            assert_eq!(Order::restore(stored.to_string().as_bytes()).as_ref(), Some(&order));
            for (member, value) in [
                ("handed", json!(3)),
                ("request", json!({"fileMode": "QUERY"})),
                ("request", json!({})),
                ("stage", json!("x")),
                ("id", json!("x")),
            ] {
                let mut damaged = stored.clone();
                damaged[member] = value;
                assert_eq!(Order::restore(damaged.to_string().as_bytes()), None, "{damaged}");
            }
        }
    }

    #[test]
    fn only_the_first_file_waits_for_its_time() {
        let mut order = upgrade();
        let offers = [1, 2].map(|handed| {
            order.handed = handed;
            order.offer(&FileSettings { random_delay_ms: 5, ..FileSettings::default() }).unwrap()
        });
        assert_eq!(offers.clone().map(|offer| (offer.not_before_ms, offer.spread_ms)), [(1_060_000, 5), (0, 0)]);
        assert_eq!(offers.clone().map(|offer| offer.id), ["9/0", "9/1"]);
        assert!(offers.iter().all(|offer| order.owns(&offer.id)) && !order.owns("99/0") && !order.owns("9"));
    }

    #[test]
    fn a_period_of_the_log_is_relative_to_the_request() {
        let upload = log(-600, -10).upload(Method::Put, "D").unwrap();
        assert_eq!((upload.from_ms, upload.to_ms), (Some(400_000), Some(990_000)));
        let upload = log(0, 60).upload(Method::Multipart, "D/ä").unwrap();
        assert_eq!((upload.from_ms, upload.to_ms, upload.file_name.as_str()), (None, None, "D__.log"));
    }

    proptest! {
        #[test]
        fn nothing_stored_can_panic_the_reader(stored: Vec<u8>, start: i64, stop: i64) {
            let _ = Order::restore(&stored);
            if start <= stop {
                let _ = log(start, stop).upload(Method::Post, "D");
            }
        }
    }
}
