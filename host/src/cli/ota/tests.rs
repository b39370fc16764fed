//! The commands on directories of their own.

use super::*;
use crate::config::tests::Dir;
use crate::update::archive::tests::archive;
use crate::update::slots::directory::OpenSlots;

struct Stand {
    dir: Dir,
}

impl Stand {
    /// A device with this configuration, whose owner has the key that `<key>` stands for.
    fn new(update: &str) -> Self {
        let stand = Self { dir: Dir::of(&[("image", ""), ("other", "")]) };
        let key = stand.ota(OtaCommand::Keygen { file: stand.path("owner.pem") }).expect("a key");
        stand.ota(OtaCommand::Keygen { file: stand.path("stranger.pem") }).expect("a key");
        let state = stand.path("state");
        let host = format!(
            "[host]\nstate_dir = {:?}\n[mcu]\nproduct_key = \"lamp\"\n[update]\n{}\n",
            state.display().to_string(),
            update.replace("<key>", &key).replace("<dir>", &stand.dir.0.display().to_string())
        );
        fs::write(stand.path("host.toml"), host).expect("writable");
        stand.dir.allow("host.toml", 0o600);
        fs::write(stand.path("image"), archive(&[("polylink", b"#!/bin/sh\n")])).expect("writable");
        stand
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.0.join(name)
    }

    fn ota(&self, command: OtaCommand) -> Result<String, String> {
        let options = Options { config_dir: self.dir.0.clone(), set: Vec::new(), socket: None };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(&command, &options, &mut out, &mut err).expect("memory takes everything");
        let (out, err) = (String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"));
        let text = if exit == Exit::Done { Ok(out) } else { Err(err) };
        text.map(|text| self.dir.tidy(&text.trim_end())).map_err(|text| self.dir.tidy(&text.trim_end()))
    }

    fn sign(&self, key: &str, counter: u32) -> Result<String, String> {
        self.sign_for("module", key, counter)
    }

    fn sign_for(&self, target: &str, key: &str, counter: u32) -> Result<String, String> {
        let target = format!("target={target}");
        let values = [("key", self.path(key).display().to_string()), ("counter", counter.to_string())];
        let values = values.into_iter().chain(["product=lamp", target.as_str(), "version=1.2"].map(|word| {
            let (name, value) = word.split_once('=').expect("a pair");
            (name, value.to_owned())
        }));
        let values = values.map(|(name, value)| (name.to_owned(), value)).collect();
        self.ota(OtaCommand::Sign { file: self.path("image"), out: self.path("signed"), values })
    }

    #[track_caller]
    fn check(&self, command: OtaCommand, expected: Result<&str, &str>) {
        let found = self.ota(command);
        let text = found.as_ref().map_or_else(|error| error.as_str(), |text| text.as_str());
        let wanted = expected.unwrap_or_else(|error| error);
        assert!(found.is_ok() == expected.is_ok() && text.contains(wanted), "{found:?}, expected {expected:?}");
    }

    fn install(&self) -> OtaCommand {
        OtaCommand::Install { file: self.path("signed"), product: None }
    }
}

const SLOTS: &str = "keys = [\"<key>\"]\nbackend = \"slots\"";

#[test]
fn a_release_is_signed_verified_installed_confirmed_and_taken_back() {
    let stand = Stand::new(SLOTS);
    let verify = || OtaCommand::Verify { file: stand.path("signed"), product: None };
    stand.sign("owner.pem", 5).expect("signed");
    stand.check(verify(), Ok("version 1.2, counter 5, signed"));
    stand.check(OtaCommand::Status, Ok("backend slots: factory is good\nslot a: empty\nslot b: empty\ncounter 0"));
    stand.check(OtaCommand::Confirm, Err("no release is on trial"));
    stand.check(stand.install(), Ok("installed in slot a"));
    stand.check(OtaCommand::Status, Ok("slot a is on trial, 3 more starts\nslot a: 1.2, sha256"));
    stand.check(stand.install(), Err("must be confirmed or rolled back first"));
    stand.check(OtaCommand::Confirm, Ok("confirmed"));
    stand.check(OtaCommand::Status, Ok("backend slots: a is good"));
    stand.check(OtaCommand::Rollback, Ok("what the device was made with runs"));
    stand.sign("owner.pem", 4).expect("signed");
    stand.check(stand.install(), Err("the image has counter 4, and 5 was confirmed before"));
    stand.sign("stranger.pem", 6).expect("signed");
    stand.check(stand.install(), Err("is not signed by any of the keys"));
    stand.check(
        OtaCommand::Install { file: stand.path("image"), product: None },
        Err("<dir>/image: the image has no manifest"),
    );
    let fan = OtaCommand::Install { file: stand.path("signed"), product: Some("fan".to_owned()) };
    stand.sign("owner.pem", 6).expect("signed");
    stand.check(fan, Err("the image is for product lamp, this is fan"));
}

#[test]
fn a_plugin_file_is_verified_as_one_and_is_no_release() {
    let stand = Stand::new(SLOTS);
    let verify = |product: &str| OtaCommand::Verify { file: stand.path("signed"), product: Some(product.to_owned()) };
    stand.sign_for("plugin", "owner.pem", 5).expect("signed");
    stand.check(verify("lamp"), Ok("version 1.2, counter 5, signed; its counter is looked at when it is installed"));
    stand.check(verify("fan"), Err("the image is for product lamp, this is fan"));
    stand.check(stand.install(), Err("the image is for plugin, it was offered for module"));
    stand.sign_for("plugin", "stranger.pem", 5).expect("signed");
    stand.check(verify("lamp"), Err("is not signed by any of the keys"));
}

#[test]
fn one_polylink_at_a_time_works_on_the_slots() {
    let stand = Stand::new(SLOTS);
    let _taken = OpenSlots::open(&stand.path("state/update/slots")).expect("free");
    stand.check(OtaCommand::Status, Err("another polylink works on the slots"));
}

#[test]
fn the_products_own_program_installs() {
    let stand = Stand::new("keys = [\"<key>\"]\nbackend = \"hook\"\nhook = \"<dir>/hook\"");
    let text = "#!/bin/sh\n[ $1 = check ] && exit 0\n[ $1 = install ] && cmp $POLYLINK_IMAGE <dir>/image && exit 20\n\
                [ $1 = confirm ] && exit 0\n[ $1 = status ] && exit 21\necho no; exit 1\n";
    fs::write(stand.path("draft"), text.replace("<dir>", &stand.dir.0.display().to_string())).expect("writable");
    let mut copy = std::process::Command::new("install");
    let copied = copy.arg("-m700").args([stand.path("draft"), stand.path("hook")]).status();
    assert!(copied.expect("coreutils").success());
    stand.sign("owner.pem", 5).expect("signed");
    stand.check(stand.install(), Ok("installed; it runs"));
    stand.check(OtaCommand::Status, Ok("backend hook: SteppedBack\ncounter 0 was confirmed"));
    stand.check(OtaCommand::Confirm, Ok("confirmed"));
    stand.check(OtaCommand::Status, Ok("counter 5 was confirmed"));
    stand.check(OtaCommand::Rollback, Err("refuses `rollback` with status 1: no"));
    assert!(!stand.path("state/update/by-hand.image").exists());
}

#[test]
fn what_cannot_be_done_is_said() {
    let stand = Stand::new("");
    stand.check(OtaCommand::Keygen { file: stand.path("owner.pem") }, Err("<dir>/owner.pem: File exists"));
    stand.sign("owner.pem", 5).expect("signed");
    stand.check(stand.install(), Err("[update] keys is empty, so no signature counts"));
    let sign = |values: &[(&str, &str)]| {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        OtaCommand::Sign { file: stand.path("signed"), out: stand.path("twice"), values }
    };
    stand.check(sign(&[("colour", "red")]), Err("there is no `colour`; known are key, product"));
    stand.check(sign(&[]), Err("missing: key=…"));
    stand.check(sign(&[("key", "/gone")]), Err("/gone: "));
    let key = stand.path("owner.pem").display().to_string();
    let all = [("product", "lamp"), ("target", "module"), ("version", "1"), ("counter", "1"), ("key", &*key)];
    stand.check(sign(&all), Err("<dir>/signed has a manifest already"));
    stand.check(sign(&[("key", &key), ("key", &key)]), Err("key is given twice"));
    let none = Stand::new("keys = [\"<key>\"]");
    none.sign("owner.pem", 5).expect("signed");
    none.check(none.install(), Err("[update] backend is \"none\""));
    none.check(OtaCommand::Status, Ok("backend none"));
}

#[test]
fn a_key_of_openssl_is_a_key() {
    let stand = Stand::new("");
    // `openssl genpkey -algorithm ed25519`, and the last 32 bytes of `openssl pkey -pubout -outform DER`.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
               -----END PRIVATE KEY-----\n";
    fs::write(stand.path("openssl.pem"), pem).expect("writable");
    let key = keys::read(&stand.path("openssl.pem")).expect("a key");
    assert_eq!(key.pem(), pem);
    // RFC 8032 7.1, test 1: the same secret, so the public key is known.
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(key.public().expect("good").to_string(), public);
}
