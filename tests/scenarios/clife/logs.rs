//! The platform orders the log.

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::clife::files::Upload;
use polylink_testbed::clouds::clife::product::Product;
use polylink_testbed::rig::RigError;
use serde_json::Value as Json;

use super::Room;
use crate::set::check;

impl Room {
    /// Orders the log of this time, with these answers of the server before it is content, and waits for the end: what the
    /// platform was told, and what was uploaded.
    async fn order_log(
        &self,
        window: Option<(i64, i64)>,
        statuses: &[u16],
    ) -> Result<(Vec<(i64, String)>, Vec<Upload>), RigError> {
        self.clife.change(|behaviour| behaviour.upload_statuses = statuses.iter().copied().collect());
        let order = self.said(self.clife.order_upload("LOG", window))?;
        let over =
            |seen: &super::Seen| seen.operations.get(&order).is_some_and(|operation| operation.outcome.is_some());
        self.seen("the end of the upload", over).await?;
        let seen = self.clife.seen();
        Ok((seen.operations[&order].events.clone(), seen.uploads.into()))
    }

    /// What the device has to keep to itself: its key, and what the registration gave it.
    async fn secrets(&self) -> Result<Vec<String>, RigError> {
        let section = self.clife.product_section();
        let key = section.lines().find_map(|line| line.strip_prefix("dev_key = \"")?.strip_suffix('"'));
        self.stored("login").await?;
        let file = std::fs::read(self.rig.dir().join("state/store/clife/login.value"));
        let file = file.map_err(|error| self.rig.error(error.to_string()))?;
        // The host's frame is around it.
        let text = String::from_utf8_lossy(&file);
        let login = text.find("{\"").and_then(|at| serde_json::Deserializer::from_str(&text[at..]).into_iter().next());
        let login: Json = login.and_then(Result::ok).ok_or_else(|| self.rig.error("no login data are stored"))?;
        let given = ["device_secret", "password"].map(|name| login["login"][name].as_str().map(str::to_owned));
        let secrets: Vec<String> = given.into_iter().chain([key.map(str::to_owned)]).flatten().collect();
        assert!(secrets.len() == 3 && secrets.iter().all(|secret| secret.len() >= 8), "{login}");
        Ok(secrets)
    }
}

#[track_caller]
fn check_told(told: &[(i64, String)], expected: &[(i64, &str)]) {
    let told: Vec<_> = told.iter().map(|(code, text)| (*code, text.as_str())).collect();
    assert_eq!(told, expected);
}

#[test]
fn the_log_goes_up_in_all_three_ways() {
    check(async || {
        for (method, shown) in [("multipart", "POST"), ("post", "POST"), ("put", "PUT")] {
            let more_settings = format!("upload_method = \"{method}\"\n");
            let room = Room::online(Product { more_settings, ..Product::default() }).await?;
            room.reports_arrive(20).await?;
            let (told, uploads) = room.order_log(None, &[]).await?;
            check_told(&told, &[(1, "1"), (1, "100")]);
            let [upload] = &uploads[..] else { panic!("{} uploads", uploads.len()) };
            assert_eq!((upload.method.as_str(), upload.status), (shown, 200));
            assert_eq!(upload.file_type.as_deref(), (method == "multipart").then_some("LOG"));
            let text = String::from_utf8(upload.file.clone()).expect("a log is text");
            assert!(text.contains("polylink runs") && text.contains("cloud=\"clife\""), "{text}");
            for secret in room.secrets().await? {
                assert!(!text.contains(&secret), "{secret} in {text}");
            }
            room.finish().await?;
        }
        Ok(())
    });
}

#[test]
fn a_server_in_trouble_is_tried_three_times() {
    check(async || {
        let room = Room::online(Product::default()).await?;
        let (told, uploads) = room.order_log(None, &[503, 500]).await?;
        check_told(&told, &[(1, "1"), (1, "100")]);
        assert_eq!(uploads.iter().map(|upload| upload.status).collect::<Vec<_>>(), [503, 500, 200]);
        let (told, uploads) = room.order_log(None, &[503; 3]).await?;
        check_told(&told, &[(-1, "1")]);
        assert_eq!(uploads.len(), 6);
        let (told, uploads) = room.order_log(None, &[403]).await?;
        check_told(&told, &[(-1, "1")]);
        assert_eq!(uploads.len(), 7, "a refusal is no trouble");
        room.finish().await
    });
}

#[test]
fn a_time_in_the_past_selects_lines() {
    check(async || {
        let room = Room::online(Product::default()).await?;
        let (told, uploads) = room.order_log(Some((-3600, 0)), &[]).await?;
        check_told(&told, &[(1, "1"), (1, "100")]);
        assert_eq!(uploads.len(), 1);
        let (told, uploads) = room.order_log(Some((-7200, -3600)), &[]).await?;
        check_told(&told, &[(-1, "no file")]);
        assert_eq!(uploads.len(), 1);
        room.finish().await
    });
}
