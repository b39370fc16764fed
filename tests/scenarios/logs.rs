//! The Deli cloud asks for the log, and an FTP server gets it or does not.

use polylink_testbed::clouds::deli::{DEVICE, SECRET};
use polylink_testbed::ftp_server::{Behaviour, FtpServer, Stored};
use polylink_testbed::rig::RigError;
use polylink_testbed::rig::files::Files;
use serde_json::{Value as Json, json};

use crate::set::{check, failed};
use crate::stage::Stage;

/// A stage, and a server for logs that knows the device.
struct Archive {
    stage: Stage,
    ftp: FtpServer,
}

impl Archive {
    async fn online() -> Result<Self, RigError> {
        Self::online_with(PASSWORD, |_| ()).await
    }

    /// The same with another password on the device, and a change to the configuration.
    async fn online_with(password: &str, change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let ftp = FtpServer::start(&[(USER, PASSWORD)], &["logs", "logs/in"]).await.map_err(failed)?;
        let stage = Stage::online_with(|files| {
            files.product += &format!("ftp_user = \"{USER}\"\nftp_password = \"{password}\"\nftp_dir = \"logs/in\"\n");
            change(files);
        });
        Ok(Self { stage: stage.await?, ftp })
    }

    /// The platform asks for the log of these days; what it is answered.
    async fn ask(&self, days: (&str, &str)) -> Result<Json, RigError> {
        let deli = &self.stage.deli;
        let address = self.ftp.address();
        let mid = deli.upload_logs(&address.ip().to_string(), address.port(), days, false);
        let mid = mid.ok_or_else(|| self.stage.rig.error("the device is not connected"))?;
        self.stage.rig.until("an answer to the request for the log", |_| deli.answer_to(&mid).is_some()).await?;
        Ok(deli.answer_to(&mid).map(|answer| Json::Object(answer.data)).unwrap_or_default())
    }

    /// The one file that was stored, whole and by the rules.
    #[track_caller]
    fn stored(&self) -> Stored {
        let seen = self.ftp.seen();
        assert_eq!(seen.violations, Vec::<String>::new());
        assert_eq!(seen.files.len(), 1);
        seen.files.into_iter().next().expect("there is one")
    }

    /// Nothing was stored, and no rule broken.
    #[track_caller]
    fn nothing_stored(&self) {
        let seen = self.ftp.seen();
        assert_eq!((seen.violations.as_slice(), seen.files.as_slice()), (&[][..], &[][..]));
    }
}

/// Lines with time, level and target.
#[track_caller]
fn lines(file: &[u8]) -> String {
    let text = String::from_utf8(file.to_vec()).expect("a log is text");
    for line in text.lines() {
        let (time, rest) = line.split_once(' ').expect("a line has a time");
        assert!(
            time.len() == "2026-01-02T03:04:05.678Z".len() && time.starts_with("20") && time.ends_with('Z'),
            "{line}"
        );
        let level = rest.split(' ').next().unwrap_or_default();
        assert!(matches!(level, "INFO" | "WARN" | "ERROR"), "{line}");
        assert!(rest.contains(" polylink") || rest.contains(" plugin:"), "{line}");
        assert!(!line.contains('\x1b'), "{line}");
    }
    text
}

#[test]
fn the_log_arrives_whole_and_without_anything_secret() {
    check(async || {
        let chatty = |files: &mut Files| files.overlay += "[log]\nlevel = \"trace\"\n";
        let archive = Archive::online_with(PASSWORD, chatty).await?;
        let stage = &archive.stage;
        // What passes through the host meanwhile must not stay in it.
        stage.deli.login(1);
        stage.report(20).await?;
        stage.command("target", json!(21.5)).await?.expect("the command is done");
        assert_eq!(archive.ask(("", "")).await?, json!({"code": 0, "msg": ""}));
        let Stored { user, path, body } = archive.stored();
        assert_eq!(user, USER);
        let name = path.strip_prefix("logs/in/").expect("the directory of the settings");
        let seconds = name.strip_prefix(&format!("{DEVICE}_all_all_")).and_then(|rest| rest.strip_suffix(".log"));
        assert!(seconds.is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{name}");
        let text = lines(&body);
        assert!(text.contains("polylink runs") && text.contains("cloud=\"deli\""), "{text}");
        for secret in [SECRET, MQTT_PASSWORD, PASSWORD, "a-token-that-no-log-may-show", "13800000000"] {
            assert!(!text.to_ascii_lowercase().contains(secret), "{secret} in {text}");
        }
        // People are shown what clouds are sent.
        let shown = stage.rig.command_line("log").await?;
        assert!(shown.status.success() && shown.stdout.starts_with(&body));
        archive.stage.finish().await
    });
}

#[test]
fn an_older_server_and_one_that_points_elsewhere_get_it_too() {
    check(async || {
        let archive = Archive::online().await?;
        archive.ftp.change(|now| *now = Behaviour { without_epsv: true, pasv_elsewhere: true, ..Behaviour::default() });
        assert_eq!(archive.ask(("2017-08-10", "")).await?["code"], 0);
        assert!(archive.stored().path.contains("_2017-08-10_all_"));
        archive.stage.finish().await
    });
}

#[test]
fn an_upload_that_is_cut_is_made_again() {
    check(async || {
        let archive = Archive::online().await?;
        archive.ftp.change(|now| now.cut = Some((2, 100)));
        assert_eq!(archive.ask(("", "")).await?["code"], 0);
        lines(&archive.stored().body);
        assert_eq!(archive.ftp.seen().connections, 3);
        archive.stage.finish().await
    });
}

#[test]
fn a_login_that_is_refused_is_told_at_once_and_without_the_password() {
    check(async || {
        let archive = Archive::online_with("swordfish", |_| ()).await?;
        let expected = json!({"code": 201, "msg": "the FTP server refused the login (530)"});
        assert_eq!(archive.ask(("", "")).await?, expected);
        archive.nothing_stored();
        assert_eq!(archive.ftp.seen().connections, 1);
        assert!(!archive.stage.rig.log().contains("swordfish"));
        archive.stage.finish().await
    });
}

#[test]
fn a_file_that_is_refused_is_told_with_the_code_of_the_server() {
    check(async || {
        let archive = Archive::online().await?;
        archive.ftp.change(|now| now.refuse_file = Some(553));
        let expected = json!({"code": 201, "msg": "the FTP server refused the file (553)"});
        assert_eq!(archive.ask(("", "")).await?, expected);
        archive.ftp.change(|now| now.refuse_file = Some(452));
        assert_eq!(archive.ask(("", "")).await?["msg"], "the FTP server refused the file (452)");
        assert_eq!(archive.ftp.seen().connections, 1 + 3, "only what may pass is tried again");
        archive.nothing_stored();
        archive.stage.finish().await
    });
}

#[test]
fn a_server_that_is_not_there_holds_nothing_up() {
    check(async || {
        let Archive { stage, ftp } = Archive::online().await?;
        let port = ftp.address().port();
        drop(ftp);
        let mid = stage.deli.upload_logs("127.0.0.1", port, ("", ""), false);
        let mid = mid.ok_or_else(|| stage.rig.error("the device is not connected"))?;
        stage.report(20).await?;
        stage.all_arrived().await?;
        stage.rig.until("the answer", |_| stage.deli.answer_to(&mid).is_some()).await?;
        let answer = stage.deli.answer_to(&mid).expect("it was just seen");
        let reason = answer.data["msg"].as_str().unwrap_or_default();
        assert!(answer.data["code"] == 201 && reason.contains("refused"), "{answer:?}");
        stage.finish().await
    });
}

#[test]
fn days_without_a_line_are_told_and_nobody_is_called() {
    check(async || {
        let archive = Archive::online().await?;
        let expected = json!({"code": 201, "msg": "nothing was logged in that time"});
        assert_eq!(archive.ask(("", "2017-08-10")).await?, expected);
        assert_eq!(archive.ftp.seen().connections, 0);
        archive.stage.finish().await
    });
}

#[test]
fn a_host_that_keeps_nothing_has_nothing_to_send() {
    check(async || {
        let archive = Archive::online_with(PASSWORD, |files| files.overlay += "[log]\nkeep_bytes = 0\n").await?;
        assert_eq!(archive.ask(("", "")).await?["msg"], "nothing was logged in that time");
        archive.nothing_stored();
        archive.stage.finish().await
    });
}

/// The device's account on the server.
const USER: &str = "device";
const PASSWORD: &str = "hunter2-of-the-archive";
/// What the device shows the broker: MD5 of "DL3785W_1234567890-DL3785W-a-secret-of-the-simulator", computed by md5sum.
const MQTT_PASSWORD: &str = "87675b7a2c0676c46e7f36e086018ef8";
