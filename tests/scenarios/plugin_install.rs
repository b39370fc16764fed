//! Plugins that are installed while reports flow, and on a device that is off: what is refused is refused before anything
//! stops, what does not work is taken back, and nothing is lost.

use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use polylink_testbed::broker::Faults;
use polylink_testbed::clouds::SimCloud;
use polylink_testbed::demo::product;
use polylink_testbed::rig::RigError;
use serde_json::{Value as Json, json};

use crate::set::{DELI, MISBEHAVING, MISBEHAVING_NEWER, TEMPLATE, binaries, check};
use crate::stage::Stage;

/// The Deli cloud and a plugin that misbehaves as told, on a device whose owner may sign plugins.
struct Bench {
    stage: Stage,
}

impl Bench {
    /// Nothing runs yet. The cloud `other` has these settings.
    async fn set(settings: &str) -> Result<Self, RigError> {
        Self::set_with(settings, &format!("[update]\nkeys = [\"{OWNER}\"]\nhealth_s = 10\n")).await
    }

    /// The same with another policy.
    async fn set_with(settings: &str, policy: &str) -> Result<Self, RigError> {
        let section = format!("\n[cloud.other]\nplugin = \"fixture-misbehaving\"\nsettings = {settings}\n");
        let stage = Stage::set_with(|files| {
            files.plugins.push(MISBEHAVING.to_owned());
            files.product += &section;
            files.overlay = policy.to_owned();
            files.others.push(("owner.pem".to_owned(), OWNER_KEY.to_owned()));
        });
        Ok(Self { stage: stage.await? })
    }

    async fn online(settings: &str) -> Result<Self, RigError> {
        let mut bench = Self::set(settings).await?;
        bench.start().await?;
        Ok(bench)
    }

    async fn start(&mut self) -> Result<(), RigError> {
        self.stage.rig.start()?;
        self.cloud("the cloud to see the device", |entries| entries.online).await?;
        self.other("the other cloud to be online", |other| other["session"] == "online").await.map(drop)
    }

    /// The library of a package, signed by the owner; with other words than `product=` and `target=` where some are given.
    async fn signed(&self, package: &str, counter: u32, words: &str) -> Result<PathBuf, RigError> {
        let image = binaries(&[])?.plugin(package)?.to_owned();
        self.sign(&image, counter, words).await
    }

    async fn sign(&self, image: &Path, counter: u32, words: &str) -> Result<PathBuf, RigError> {
        let out = self.rig.dir().join(format!("{counter}.signed"));
        let (dir, key) = (self.rig.dir().display(), product::schema().product_key);
        let mut values = format!("product={key} target=plugin key={dir}/owner.pem");
        for word in words.split_whitespace() {
            let (name, _) = word.split_once('=').expect("a word is a pair");
            let kept: Vec<_> = values.split(' ').filter(|value| !value.starts_with(name)).collect();
            values = format!("{} {word}", kept.join(" "));
        }
        let (image, to) = (image.display(), out.display());
        let line = format!("ota sign {image} {to} version=test counter={counter} {values}");
        let done = self.rig.command_line(&line).await?;
        assert!(done.status.success(), "{done:?}");
        Ok(out)
    }

    /// Runs a command on a plugin; each of these must be in what it says, in this order.
    async fn plugin(&self, words: &str, exit: i32, says: &[&str]) -> Result<(), RigError> {
        let done = self.rig.command_line(&format!("plugin {words}")).await?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        let mut rest = said.as_str();
        for says in says {
            let at = rest
                .find(says)
                .unwrap_or_else(|| panic!("{says:?} is not in its place in:\n{said}\n{}", self.rig.log()));
            rest = &rest[at + says.len()..];
        }
        assert_eq!(done.status.code(), Some(exit), "{said}");
        Ok(())
    }

    async fn install(&self, file: &Path, exit: i32, says: &[&str]) -> Result<(), RigError> {
        self.plugin(&format!("install {}", file.display()), exit, says).await
    }

    /// Waits until the status of the cloud `other` fulfils a condition.
    async fn other(&self, what: &str, condition: impl Fn(&Json) -> bool) -> Result<Json, RigError> {
        let status = self.rig.until(what, |status| condition(&named(status, "other"))).await?;
        Ok(named(&status, "other"))
    }

    /// The cloud `other` is online with the plugin in this version.
    async fn runs(&self, version: &str) -> Result<(), RigError> {
        let is = |other: &Json| other["session"] == "online" && other["version"] == version;
        self.other(&format!("the other cloud to run {version}"), is).await.map(drop)
    }

    /// The clouds as they were never touched: one session each, online, no fault.
    async fn untouched(&self) -> Result<(), RigError> {
        let sessions = self.stage.deli.ledger().with(|entries| (entries.online, entries.sessions));
        assert_eq!(sessions, (true, 1));
        let status = self.rig.status().await?;
        for cloud in ["deli", "other"] {
            let cloud = named(&status, cloud);
            assert_eq!((&cloud["session"], &cloud["faults"]["count"]), (&json!("online"), &json!(0)), "{cloud:#}");
        }
        Ok(())
    }

    /// All that the MCU reported is there, once it had its time, and in order.
    async fn nothing_is_lost(&self) -> Result<(), RigError> {
        self.report_more(50).await?;
        self.all_arrived().await?;
        let verdict = self.deli_verdict();
        assert_eq!((verdict.lost, verdict.out_of_order), (0, 0));
        self.no_violations();
        Ok(())
    }
}

impl Deref for Bench {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }
}

#[test]
fn a_plugin_is_swapped_while_reports_flow_and_none_is_lost_or_out_of_order() {
    check(async || {
        let bench = Bench::online("{}").await?;
        bench.report(50).await?;
        let file = bench.signed(DELI, 5, "").await?;
        bench.mcu.set_rate(100);
        let steps =
            ["verified: ", "counter 5, signed", "staged: plugin deli", "swapped: deli runs", "healthy: plugin deli"];
        bench.install(&file, 0, &steps).await?;
        bench.cloud("a second session", |entries| entries.online && entries.sessions == 2).await?;
        bench.nothing_is_lost().await?;
        let status = bench.rig.status().await?;
        let loaded = named(&status, "deli")["file"].as_str().unwrap_or_default().to_owned();
        assert!(loaded.starts_with(&bench.rig.dir().join("state/plugins").display().to_string()), "{loaded}");
        bench.plugin("list", 0, &["deli", "built-in, replaced", "deli", " installed "]).await?;
        bench.install(&file, 0, &["verified: ", "staged: ", "is installed already"]).await?;
        assert_eq!(bench.command("switch", json!(true)).await?, Ok(()));
        let other = named(&bench.rig.status().await?, "other");
        assert_eq!(other["faults"]["count"], json!(0), "{other:#}");
        bench.stage.finish().await
    });
}

#[test]
fn a_plugin_that_does_not_come_online_is_stepped_back() {
    check(async || {
        let bench = Bench::online("{}").await?;
        let file = bench.signed(DELI, 5, "").await?;
        // Who is connected stays so; who comes is sent away.
        bench.stage.deli.broker().set_faults(Faults { refuse: Some(3), ..Faults::default() });
        bench.mcu.set_rate(20);
        bench.install(&file, 1, &["swapped: deli runs", "stepped back: cloud deli: ", "did not come online"]).await?;
        bench.stage.deli.broker().set_faults(Faults::default());
        bench.cloud("the former plugin to be online", |entries| entries.online).await?;
        bench.nothing_is_lost().await?;
        let status = bench.rig.status().await?;
        let built_in = bench.rig.dir().join("plugins/libpolylink_deli.so").display().to_string();
        assert_eq!(named(&status, "deli")["file"], json!(built_in));
        assert_eq!(plugin_files(&bench), 0, "nobody needs the file any more");
        // Its library is in memory still; that must not hinder a second attempt.
        bench.install(&file, 0, &["swapped: deli runs", "healthy: "]).await?;
        bench.nothing_is_lost().await?;
        bench.stage.finish().await
    });
}

#[test]
fn what_may_not_be_installed_is_refused_before_anything_stops() {
    check(async || {
        let bench = Bench::online("{}").await?;
        let bare = binaries(&[])?.plugin(DELI)?.to_owned();
        bench.install(&bare, 1, &["has no manifest"]).await?;
        bench.install(Path::new("/nowhere/x.so"), 1, &["/nowhere/x.so: No such file"]).await?;
        bench.install(bench.rig.dir(), 1, &["it is no file"]).await?;
        for (package, words, says) in [
            (DELI, "product=fan", "the image is for product fan"),
            (DELI, "target=module", "the image is for module, it was offered for plugin"),
            ("polylink-fixture-crashes-at-load", "", "loading the plugin ends the process: signal: 6"),
            ("polylink-fixture-not-a-plugin", "", "is not a Polylink plugin"),
            ("polylink-fixture-wrong-abi", "", "is built for plugin ABI"),
            ("polylink-fixture-wants-more", "", "this host does not offer polylink.mqtt/99"),
            (TEMPLATE, "", "no cloud of this product uses the plugin `template`"),
        ] {
            let file = bench.signed(package, 5, words).await?;
            bench.install(&file, 1, &[says]).await?;
        }
        let stranger = bench.rig.dir().join("stranger.pem");
        assert!(bench.rig.command_line(&format!("ota keygen {}", stranger.display())).await?.status.success());
        let file = bench.signed(DELI, 5, &format!("key={}", stranger.display())).await?;
        bench.install(&file, 1, &["is not signed by any of the keys"]).await?;
        bench.untouched().await?;
        assert_eq!(plugin_files(&bench), 0, "what was refused is not kept");
        bench.stage.finish().await
    });
}

#[test]
fn a_plugin_that_does_not_take_the_settings_of_its_cloud_is_not_even_tried() {
    check(async || {
        let mut bench = Bench::online("{ n = 2000000 }").await?;
        let file = bench.signed(MISBEHAVING_NEWER, 5, "").await?;
        bench.install(&file, 1, &["verified: ", "cloud.other.settings.n: found 2000000, expected"]).await?;
        bench.untouched().await?;
        bench.stage.rig.stop().await?;
        // Who installs while nothing runs does not look at the product; the next start does.
        let product = product::schema().product_key;
        bench.plugin(&format!("install {} --product {product}", file.display()), 0, &["on trial"]).await?;
        assert_eq!(bench.rig.command_line("check").await?.status.code(), Some(1));
        bench.start().await?;
        bench.rig.said("the plugin on trial does not fit, the one before is used").await?;
        bench.runs(OLDER).await?;
        assert_eq!(plugin_files(&bench), 0);
        bench.stage.finish().await
    });
}

#[test]
fn libraries_that_cannot_leave_memory_are_counted() {
    check(async || {
        let bench = Bench::online("{}").await?;
        let file = bench.signed(TEMPLATE, 5, "").await?;
        for _ in 0..8 {
            bench.install(&file, 1, &["no cloud of this product uses the plugin"]).await?;
        }
        bench.install(&file, 1, &["8 plugins were installed since the start of the host", "restart it"]).await?;
        bench.untouched().await?;
        bench.stage.finish().await
    });
}

#[test]
fn where_no_manifest_is_required_a_bare_library_of_the_owner_is_taken() {
    check(async || {
        let mut bench = Bench::set_with("{}", "[update]\nrequire_manifest = false\n").await?;
        bench.start().await?;
        let file = bench.rig.dir().join("new.so");
        std::fs::copy(binaries(&[])?.plugin(MISBEHAVING_NEWER)?, &file).expect("writable");
        let allow = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("ours");
        allow(0o666);
        bench.install(&file, 1, &["is writable for everybody"]).await?;
        bench.untouched().await?;
        allow(0o600);
        bench.install(&file, 0, &["no manifest, and none is required", "healthy: "]).await?;
        bench.runs("9.0.0").await?;
        bench.stage.finish().await
    });
}

#[test]
fn a_plugin_that_breaks_is_stepped_back_and_its_neighbour_does_not_notice() {
    check(async || {
        let bench = Bench::online("{ do = \"panic\", in = \"reports\", only = \"9.0.0\" }").await?;
        let file = bench.signed(MISBEHAVING_NEWER, 5, "").await?;
        bench.mcu.set_rate(20);
        let steps = ["staged: plugin fixture-misbehaving 9.0.0", "swapped: other runs", "stepped back: cloud other: "];
        bench.install(&file, 1, &steps).await?;
        let other = bench.other("the former one to be online", |other| other["session"] == "online").await?;
        assert_eq!((&other["version"], &other["faults"]["count"]), (&json!(OLDER), &json!(0)), "{other:#}");
        bench.nothing_is_lost().await?;
        bench.other("all reports to be taken", |other| other["journal"]["pending"] == 0).await?;
        bench.stage.finish().await
    });
}

#[test]
fn an_installed_plugin_stays_over_a_restart_until_it_is_rolled_back() {
    check(async || {
        let mut bench = Bench::online("{}").await?;
        let newer = bench.signed(MISBEHAVING_NEWER, 5, "").await?;
        bench.install(&newer, 0, &["healthy: plugin fixture-misbehaving 9.0.0 is installed"]).await?;
        bench.runs("9.0.0").await?;
        let older = bench.signed(MISBEHAVING, 4, "").await?;
        bench.install(&older, 1, &["the image has counter 4, and 5 was confirmed before"]).await?;
        bench.stage.rig.stop().await?;
        bench.start().await?;
        bench.runs("9.0.0").await?;
        assert!(bench.rig.command_line("check").await?.status.success());
        bench.plugin("rollback fixture-misbehaving", 0, &["swapped: ", "healthy: "]).await?;
        bench.runs(OLDER).await?;
        bench.plugin("list", 0, &["fixture-misbehaving", "9.0.0", " former "]).await?;
        bench.plugin("rollback fixture-misbehaving", 0, &["swapped: ", "healthy: "]).await?;
        bench.runs("9.0.0").await?;
        bench.plugin("rollback nothing", 1, &["there is no plugin `nothing` to go back to"]).await?;
        bench.stage.finish().await
    });
}

#[test]
fn a_plugin_that_ends_the_whole_process_is_given_up_after_its_tries() {
    check(async || {
        let mut bench = Bench::online("{ do = \"abort\", only = \"9.0.0\" }").await?;
        bench.report(20).await?;
        let file = bench.signed(MISBEHAVING_NEWER, 5, "").await?;
        bench.install(&file, 3, &["staged: ", "hung up"]).await?;
        assert!(!bench.stage.rig.ended().await?.success());
        // One try of three is used up.
        for left in ["1 starts left", "0 starts left"] {
            bench.stage.rig.start()?;
            assert!(!bench.stage.rig.ended().await?.success());
            bench.plugin("list", 0, &["9.0.0", &format!("on trial, {left}")]).await?;
        }
        bench.start().await?;
        bench.runs(OLDER).await?;
        bench.plugin("list", 0, &["fixture-misbehaving", "built-in"]).await?;
        assert_eq!(plugin_files(&bench), 0);
        bench.nothing_is_lost().await?;
        bench.stage.finish().await
    });
}

#[test]
fn a_host_that_is_killed_in_the_middle_goes_on_with_the_trial() {
    check(async || {
        let mut bench = Bench::online("{}").await?;
        let file = bench.signed(DELI, 5, "").await?;
        bench.report(50).await?;
        bench.stage.deli.broker().set_faults(Faults { refuse: Some(3), ..Faults::default() });
        let line = format!("plugin install {}", file.display());
        let (killed, installed) = {
            let command = bench.rig.command_line(&line);
            let kill = async {
                bench.rig.said("plugins: swapped: deli runs").await?;
                let pid = bench.rig.status().await?["host"]["pid"].as_u64().and_then(|pid| i32::try_from(pid).ok());
                Ok::<_, RigError>(
                    pid.and_then(rustix::process::Pid::from_raw)
                        .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL)),
                )
            };
            tokio::join!(kill, command)
        };
        assert_eq!(killed?, Some(Ok(())));
        assert_eq!(installed?.status.code(), Some(3), "the host hung up");
        bench.stage.rig.ended().await?;
        bench.stage.deli.broker().set_faults(Faults::default());
        bench.start().await?;
        bench.rig.said("the plugin on trial is confirmed").await?;
        bench.plugin("list", 0, &["deli", "built-in, replaced", "deli", " installed "]).await?;
        bench.nothing_is_lost().await?;
        bench.stage.finish().await
    });
}

#[test]
fn on_a_device_that_is_off_a_plugin_is_on_trial_from_the_next_start_on() {
    check(async || {
        let mut bench = Bench::set("{ do = \"fault\", only = \"9.0.0\" }").await?;
        let file = bench.signed(MISBEHAVING_NEWER, 5, "").await?;
        let product = format!("install {} --product {}", file.display(), product::schema().product_key);
        bench.plugin(&format!("install {}", file.display()), 1, &["which product?"]).await?;
        let wrong = format!("install {} --product fan", file.display());
        bench.plugin(&wrong, 1, &["the image is for product"]).await?;
        bench.plugin(&product, 0, &["verified: ", "9.0.0 is on trial from the next start of the host on"]).await?;
        bench.plugin("list", 0, &["fixture-misbehaving", "built-in, replaced", "on trial, 3 starts left"]).await?;
        bench.plugin(&product, 1, &["must be confirmed or rolled back first"]).await?;
        bench.plugin("rollback fixture-misbehaving", 0, &["built-in is used from the next start"]).await?;
        bench.plugin(&product, 0, &["is on trial"]).await?;
        bench.start().await?;
        bench.rig.said("the plugin on trial: stepped back: cloud other: ").await?;
        bench.runs(OLDER).await?;
        bench.nothing_is_lost().await?;
        bench.stage.finish().await
    });
}

#[test]
fn where_a_release_brings_another_built_in_plugin_that_one_runs() {
    check(async || {
        let mut bench = Bench::online("{}").await?;
        let file = bench.signed(MISBEHAVING_NEWER, 5, "").await?;
        bench.install(&file, 0, &["healthy: "]).await?;
        bench.stage.rig.stop().await?;
        let built_in = bench.rig.dir().join("plugins/libpolylink_fixture_misbehaving.so");
        let original = std::fs::read(&built_in).expect("it is there");
        // Behind what the loader looks at: the same plugin, and another file.
        std::fs::write(&built_in, [&original[..], b"another build"].concat()).expect("writable");
        bench.start().await?;
        bench.runs(OLDER).await?;
        bench.plugin("list", 0, &["9.0.0", "installed, set aside"]).await?;
        bench.plugin("rollback fixture-misbehaving", 1, &["to go back to"]).await?;
        bench.stage.rig.stop().await?;
        std::fs::write(&built_in, original).expect("writable");
        bench.start().await?;
        bench.runs("9.0.0").await?;
        bench.stage.finish().await
    });
}

fn named(status: &Json, name: &str) -> Json {
    let clouds = status["clouds"].as_array().cloned().unwrap_or_default();
    clouds.into_iter().find(|cloud| cloud["name"] == name).unwrap_or_default()
}

/// Libraries in the managed directory.
fn plugin_files(bench: &Bench) -> usize {
    let entries = std::fs::read_dir(bench.rig.dir().join("state/plugins")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".so")).count()
}

/// Version of the plugins in the workspace.
const OLDER: &str = env!("CARGO_PKG_VERSION");

/// The secret of RFC 8032 7.1, test 1, as `openssl genpkey` writes it, and its public key.
const OWNER_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                         -----END PRIVATE KEY-----\n";
const OWNER: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
