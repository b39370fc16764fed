//! Whole directories of configuration, and every word of what is said about the broken ones.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

pub(crate) const KEY: &str = "lamp-1";

pub(crate) const LAMP: &str = r#"[product]
key = "lamp-1"
name = "Lamp"

[[property]]
name = "power"
type = "bool"
writable = true

[[property]]
name = "target"
type = "decimal"
scale = 1
min = 16.0
max = "30.0"
step = 0.5

[[property]]
name = "mode"
type = "enum"
labels = ["auto", "cool"]
"#;

/// A directory of configuration that is gone when the test ends.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = Self(std::env::temp_dir().join(format!("polylink-config-{}-{number}", std::process::id())));
        std::fs::create_dir_all(&dir.0).expect("the temporary directory is writable");
        for (name, text) in files {
            let path = dir.0.join(name);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
            std::fs::write(&path, text).expect("writable");
            dir.allow(name, 0o600);
        }
        dir
    }

    pub(crate) fn allow(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.0.join(name), std::fs::Permissions::from_mode(mode)).expect("our own file");
    }

    fn host(&self, overrides: Overrides) -> Result<HostConfig, ConfigErrors> {
        Config::load_host(&self.0, overrides)
    }

    fn product(&self, overrides: Overrides) -> Result<LoadedProduct, ConfigErrors> {
        self.host(overrides)?.load_product(KEY)
    }

    /// A message with this directory written as `<dir>`.
    pub(crate) fn tidy(&self, message: &impl ToString) -> String {
        message.to_string().replace(&*self.0.to_string_lossy(), "<dir>")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn check_host(host_toml: &str, expected: &str) {
    let dir = Dir::of(&[("host.toml", host_toml)]);
    let message = dir.host(Overrides::default()).map(|_| "").map_err(|errors| dir.tidy(&errors));
    assert_eq!(message, if expected.is_empty() { Ok("") } else { Err(expected.to_owned()) });
}

#[track_caller]
fn check_product(product_toml: &str, expected: &str) {
    let dir = Dir::of(&[("products/lamp-1.toml", product_toml)]);
    let errors = dir.product(Overrides::default()).expect_err("this product file is wrong");
    assert_eq!(dir.tidy(&errors), expected);
}

/// The errors of the one cloud in `LAMP` plus `cloud_toml`, the product itself being right.
#[track_caller]
fn check_cloud(cloud_toml: &str, expected: &str) {
    let dir = Dir::of(&[("products/lamp-1.toml", &format!("{LAMP}{cloud_toml}"))]);
    let loaded = dir.product(Overrides::default()).expect("the product is right");
    let error = loaded.clouds.into_iter().find_map(Result::err).expect("the cloud is wrong");
    assert_eq!(dir.tidy(&error), expected);
}

fn only_cloud(loaded: LoadedProduct) -> CloudInstance {
    let [Ok(cloud)]: [_; 1] = loaded.clouds.try_into().expect("one cloud") else { panic!("the cloud is right") };
    cloud
}

#[test]
fn an_empty_directory_gives_the_defaults() {
    let dir = Dir::of(&[]);
    let expected = HostConfig { dir: dir.0.clone(), ..HostConfig::default() };
    assert_eq!(dir.host(Overrides::default()), Ok(expected));
}

#[test]
fn later_layers_win_over_earlier_ones() {
    let dir = Dir::of(&[
        (
            "host.toml",
            "[mcu]\nbaud = 1200\nport = \"/dev/a\"\n[store]\nmax_bytes = 5000\n[cloud.a]\nplugin = \"x\"\npriority = 1",
        ),
        ("products/lamp-1.toml", &format!("{LAMP}[cloud.a]\nplugin = \"y\"\npriority = 2\nplain_text = true")),
        ("conf.d/10.toml", "[mcu]\nbaud = 2400\n[cloud.a]\npriority = 3"),
        ("conf.d/20.toml", "[mcu]\nbaud = 4800"),
    ]);
    let environment = [("POLYLINK__MCU__BAUD", "19200"), ("POLYLINK__LOG__LEVEL", "debug")];
    let overrides = Overrides::new(
        environment.map(|(name, value)| (name.to_owned(), value.to_owned())),
        [("mcu.baud".to_owned(), "38400".to_owned())],
    );
    let host = dir.host(overrides).expect("right");
    assert_eq!((host.mcu.baud, host.log.level, host.store.max_bytes), (38_400, LogLevel::Debug, 5000));
    assert_eq!(host.mcu.port, Port::Tty("/dev/a".into()));
    let loaded = host.load_product(KEY).expect("right");
    let cloud = only_cloud(loaded);
    assert_eq!((cloud.plugin, cloud.priority, cloud.plain_text), (PluginChoice::Name("y".into()), 3, true));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    check_host(
        "[mcu]\nprot = \"/dev/ttyS2\"\n\n[jornal]\n",
        "<dir>/host.toml:2: mcu.prot: unknown key, did you mean `port`?; accepted here: link, port, baud, product_key\n\
         <dir>/host.toml:4: jornal: unknown key, did you mean `journal`?; accepted here: host, log, mcu, plugins, \
         journal, commands, store, script, control, time, module, network, update, product, property, event, action, cloud",
    );
}

#[test]
fn wrong_types_and_ranges_are_all_reported_at_once() {
    check_host(
        "log = 5\n[mcu]\nbaud = \"fast\"\nlink = \"spi\"\n[plugins]\nfaults_max = 0\ncall_warn_ms = 1.5\ndirectories = \"/x\"\n",
        "<dir>/host.toml:1: log: found a whole number, expected a table\n\
         <dir>/host.toml:3: mcu.baud: found \"fast\", expected a whole number of bits per second from 300 to 4000000\n\
         <dir>/host.toml:4: mcu.link: found \"spi\", expected \"gizwits-uart\" or \"jsonl\"\n\
         <dir>/host.toml:6: plugins.faults_max: found 0, expected a whole number of faults from 1 to 1000\n\
         <dir>/host.toml:7: plugins.call_warn_ms: found 1.5, expected a whole number of milliseconds from 1 to 60000\n\
         <dir>/host.toml:8: plugins.directories: found \"/x\", expected a list of absolute paths",
    );
}

#[test]
fn a_syntax_error_has_line_and_column_and_does_not_quote_the_line() {
    check_host(
        "[mcu]\nport = \"/dev/ttyS1\nbaud = 9600\n",
        "<dir>/host.toml:2:19: not valid TOML: invalid basic string",
    );
    check_host(
        "[mcu]\n[mcu]\n",
        "<dir>/host.toml:2:1: not valid TOML: invalid table header, duplicate key `\"mcu\"` in document root",
    );
}

#[test]
fn a_file_that_nests_too_deeply_is_refused_and_not_followed() {
    let deep = 50_000;
    for text in [
        format!("a = {}", "[".repeat(deep)),
        format!("{} = 1", vec!["a"; deep].join(".")),
        format!("[{}]", vec!["a"; deep].join(".")),
        format!("a = {}1{}", "{ a = ".repeat(deep), "}".repeat(deep)),
    ] {
        let dir = Dir::of(&[("host.toml", &text)]);
        let errors = dir.host(Overrides::default()).expect_err("too deep");
        assert!(matches!(errors.0[0].problem, Problem::Syntax(_)), "{:?}", errors.0[0]);
    }
}

#[test]
fn an_override_is_named_when_it_is_wrong() {
    let dir = Dir::of(&[]);
    let overrides = Overrides::new(
        [("POLYLINK__MCU__BAUD".to_owned(), "fast".to_owned())],
        [("mcu.prot".to_owned(), "x".to_owned()), ("port".to_owned(), "x".to_owned())],
    );
    assert_eq!(
        dir.host(overrides).expect_err("wrong").to_string(),
        "environment variable POLYLINK__MCU__BAUD: mcu.baud: found \"fast\", expected a whole number of bits per second \
         from 300 to 4000000\n\
         --set mcu.prot: mcu.prot: unknown key, did you mean `port`?; accepted here: link, port, baud, product_key\n\
         --set port: names no key; expected --set section.key=value, such as --set mcu.port=/dev/ttyS1"
    );
}

#[test]
fn every_form_of_port_and_zone_is_understood() {
    let port = |text: &str| {
        let dir = Dir::of(&[("host.toml", &format!("[mcu]\nport = \"{text}\""))]);
        dir.host(Overrides::default()).map(|host| host.mcu.port)
    };
    assert_eq!(port("unix:/run/mcu"), Ok(Port::Unix("/run/mcu".into())));
    assert_eq!(port("tcp:[::1]:9000"), Ok(Port::Tcp { host: "::1".into(), port: 9000 }));
    assert!(port("tcp:host:0").is_err() && port("ttyS1").is_err() && port("unix:mcu").is_err());
    let zone = |text: &str| {
        let dir = Dir::of(&[("host.toml", &format!("[time]\nzone = \"{text}\""))]);
        dir.host(Overrides::default()).map(|host| host.time.zone)
    };
    assert_eq!(zone("+08:00"), Ok(Zone::Fixed(28_800)));
    assert_eq!(zone("-03:30"), Ok(Zone::Fixed(-12_600)));
    assert!(zone("+15:00").is_err() && zone("8").is_err() && zone("").is_err());
}

#[test]
fn a_product_file_is_read_whole() {
    let dir = Dir::of(&[("products/lamp-1.toml", LAMP)]);
    let loaded = dir.product(Overrides::default()).expect("right");
    let kinds: Vec<String> = loaded.product.properties.iter().map(|property| property.field.kind.to_string()).collect();
    assert_eq!(kinds, ["true or false", "16.0 to 30.0 in steps of 0.5", "one of auto, cool"]);
    assert!(loaded.product.properties[0].writable && !loaded.product.properties[1].writable);
}

#[test]
fn a_missing_product_file_is_reported_with_those_that_exist() {
    let dir = Dir::of(&[("products/lamp-2.toml", LAMP), ("products/fan.toml", LAMP)]);
    let errors = dir.product(Overrides::default()).expect_err("there is none");
    assert_eq!(
        dir.tidy(&errors),
        "<dir>/products/lamp-1.toml: no such file for product key lamp-1; the directory holds fan.toml, lamp-2.toml; \
         did you mean `lamp-2`?"
    );
}

#[test]
fn a_hostile_product_key_never_becomes_a_path() {
    let host = Dir::of(&[]).host(Overrides::default()).expect("right");
    for key in ["../host", "a/b", "", ".", "\0", &"k".repeat(65), "schlüssel"] {
        let message = host.load_product(key).expect_err("hostile").to_string();
        assert!(
            message.ends_with("expected a product key: 1 to 64 characters of A-Z, a-z, 0-9, `_` and `-`"),
            "{message}"
        );
    }
}

#[test]
fn duplicate_names_and_inverted_limits_are_refused() {
    check_product(
        &format!(
            "{LAMP}[[property]]\nname = \"power\"\ntype = \"int\"\nmin = 10\nmax = 1\n[[property]]\nname = \"power\"\ntype = \"bool\"\n"
        ),
        "<dir>/products/lamp-1.toml:25: property[3].min: is 10, which is more than max, 1\n\
         <dir>/products/lamp-1.toml:28: property[4].name: `power` stands at <dir>/products/lamp-1.toml:5 already; names \
         must differ",
    );
}

#[test]
fn limits_keep_every_digit_and_refuse_those_that_do_not_fit() {
    check_product(
        "[product]\nkey = \"lamp-1\"\n[[property]]\nname = \"t\"\ntype = \"decimal\"\nscale = 1\nmin = 0.05\nmax = 1e3\n\
         [[property]]\nname = \"u\"\ntype = \"decimal\"\nmin = 1\n[[property]]\nname = \"v\"\ntype = \"float\"\n",
        "<dir>/products/lamp-1.toml:7: property[0].min: found 0.05, expected a number with at most 1 digit after the point\n\
         <dir>/products/lamp-1.toml:8: property[0].max: found 1e3, expected a number with at most 1 digit after the point\n\
         <dir>/products/lamp-1.toml:9: property[1].scale: missing, expected a whole number of digits after the point from \
         0 to 18\n\
         <dir>/products/lamp-1.toml:15: property[2].type: found \"float\", expected \"bool\", \"int\", \"decimal\", \
         \"enum\", \"text\", \"bytes\" or \"json\"",
    );
}

#[test]
fn a_product_file_cannot_change_the_hosts_own_sections() {
    check_product(
        &format!("{LAMP}[mcu]\nbaud = 1200\n"),
        "<dir>/products/lamp-1.toml:22: mcu: does not belong into a product file, which is read when the host runs \
         already; put it into host.toml or conf.d",
    );
}

#[test]
fn a_wrong_cloud_does_not_hinder_the_others() {
    let clouds = "[cloud.a]\nplugin = \"deli\"\n[cloud.b]\nplugn = \"deli\"\n";
    let dir = Dir::of(&[("products/lamp-1.toml", &format!("{LAMP}{clouds}"))]);
    let loaded = dir.product(Overrides::default()).expect("the product is right");
    let [Ok(first), Err(second)] = &loaded.clouds[..] else { panic!("a is right, b is not") };
    assert_eq!(first.name, "a");
    assert_eq!(
        dir.tidy(second),
        "cloud `b` does not run:\n\
         <dir>/products/lamp-1.toml:24: cloud.b.plugin: missing, expected a plugin's name such as \"deli\", or the \
         absolute path of its file\n\
         <dir>/products/lamp-1.toml:25: cloud.b.plugn: unknown key, did you mean `plugin`?; accepted here: plugin, \
         enabled, start_when, plain_text, priority, settings, map"
    );
}

#[test]
fn a_cloud_may_wait_to_be_named_by_another_one() {
    let cloud = "[cloud.a]\nplugin = \"deli\"\nstart_when = \"JD\"\n";
    let dir = Dir::of(&[("products/lamp-1.toml", &format!("{LAMP}{cloud}"))]);
    let loaded = dir.product(Overrides::default()).expect("right");
    assert_eq!(only_cloud(loaded).start_when.as_deref(), Some("JD"));
    check_cloud(
        "[cloud.a]\nplugin = \"deli\"\nstart_when = \"\"\n",
        "cloud `a` does not run:\n\
         <dir>/products/lamp-1.toml:24: cloud.a.start_when: found \"\", expected the name that another cloud gives to this \
         one: a text of 1 to 64 bytes such as \"jd\"",
    );
}

#[test]
fn the_program_for_the_network_is_named_by_an_absolute_path_or_not_at_all() {
    check_host("[network]\nhook = \"\"\n", "");
    check_host("[network]\nhook = \"/usr/lib/polylink/network\"\nhook_timeout_ms = 5000\n", "");
    check_host(
        "[network]\nhook = \"network.sh\"\n",
        "<dir>/host.toml:2: network.hook: found \"network.sh\", expected the absolute path of a program, or \"\" for none",
    );
}

#[test]
fn clouds_come_in_order_of_priority_and_then_as_they_are_written() {
    let clouds =
        "[cloud.z]\nplugin = \"deli\"\n[cloud.a]\nplugin = \"deli\"\n[cloud.m]\nplugin = \"deli\"\npriority = 1\n";
    let dir = Dir::of(&[("products/lamp-1.toml", &format!("{LAMP}{clouds}"))]);
    let loaded = dir.product(Overrides::default()).expect("right");
    let names: Vec<String> = loaded.clouds.into_iter().flatten().map(|cloud| cloud.name).collect();
    assert_eq!(names, ["m", "z", "a"]);
}

#[test]
fn a_control_character_in_a_key_is_escaped() {
    let cloud = "[cloud.\"\\u001b[2J\"]\nplugin = \"deli\"\n";
    let dir = Dir::of(&[("products/lamp-1.toml", &format!("{LAMP}{cloud}"))]);
    let loaded = dir.product(Overrides::default()).expect("the product is right");
    let error = loaded.clouds.into_iter().find_map(Result::err).expect("the cloud is wrong").to_string();
    assert!(!error.chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
}

#[test]
fn a_map_of_an_unknown_property_is_refused() {
    check_cloud(
        "[cloud.a]\nplugin = \"deli\"\n[cloud.a.map.powr]\nname = \"switch\"\n[cloud.a.map.mode]\nlabels = [\"0\"]\nscale = 1\n",
        "cloud `a` does not run:\n\
         <dir>/products/lamp-1.toml:24: cloud.a.map.powr: the product has no property, event or action of this name; did \
         you mean `power`?\n\
         <dir>/products/lamp-1.toml:27: cloud.a.map.mode.labels: found a list, expected a list of 2 different texts, one \
         for each label of the product\n\
         <dir>/products/lamp-1.toml:28: cloud.a.map.mode.scale: unknown key; accepted here: name, labels",
    );
}

#[test]
fn two_datapoints_of_one_cloud_cannot_share_a_name() {
    check_cloud(
        "[cloud.a]\nplugin = \"deli\"\n[cloud.a.map.power]\nname = \"mode\"\n",
        "cloud `a` does not run:\n\
         <dir>/products/lamp-1.toml:22: cloud.a.map: two datapoints are both called `mode` here; the second is `mode`",
    );
}

#[test]
fn a_secret_comes_from_its_file_or_variable_and_is_never_shown() {
    let cloud =
        "[cloud.a]\nplugin = \"deli\"\n[cloud.a.settings]\nsecret = { file = \"key\" }\nlist = [{ env = \"PIN\" }]\n";
    let dir = Dir::of(&[("products/lamp-1.toml", &format!("{LAMP}{cloud}")), ("products/key", "hunter2\n")]);
    let overrides = Overrides::new([("PIN".to_owned(), "4711".to_owned())], []);
    let loaded = dir.product(overrides).expect("right");
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("4711"), "{shown}");
    let cloud = only_cloud(loaded);
    assert_eq!(cloud.settings.expose(), r#"{"list":["4711"],"secret":"hunter2"}"#);
}

#[test]
fn missing_and_world_readable_secrets_are_refused() {
    let cloud = "[cloud.a]\nplugin = \"deli\"\n[cloud.a.settings]\none = { file = \"gone\" }\ntwo = { file = \"open\" }\n\
                 three = { env = \"GONE\" }\nfour = { file = \"open\", public = true }\n";
    let dir = Dir::of(&[("products/lamp-1.toml", &format!("{LAMP}{cloud}")), ("products/open", "hunter2")]);
    dir.allow("products/open", 0o644);
    let loaded = dir.product(Overrides::default()).expect("the product is right");
    assert_eq!(
        dir.tidy(&loaded.clouds.into_iter().find_map(Result::err).expect("wrong")),
        "cloud `a` does not run:\n\
         <dir>/products/lamp-1.toml:25: cloud.a.settings.one: refers to <dir>/products/gone: no such file\n\
         <dir>/products/lamp-1.toml:26: cloud.a.settings.two: refers to <dir>/products/open: every user of this machine \
         can read or write it (mode 0644); a secret needs `chmod 600`, and what is no secret needs `public = true` beside \
         `file`\n\
         <dir>/products/lamp-1.toml:27: cloud.a.settings.three: refers to the environment variable GONE, which is not set"
    );
}

#[test]
fn the_product_document_has_the_clouds_names_labels_and_shift() {
    let cloud = "[cloud.a]\nplugin = \"deli\"\n[cloud.a.map.target]\nname = \"temp\"\nscale = 1\n[cloud.a.map.mode]\nlabels = [\"0\", \"1\"]\n";
    let dir = Dir::of(&[("products/lamp-1.toml", &format!("{LAMP}{cloud}"))]);
    let document = only_cloud(dir.product(Overrides::default()).expect("right")).product_document;
    let document: serde_json::Value = serde_json::from_str(&document).expect("the document is JSON");
    assert_eq!(
        document["properties"][1],
        serde_json::json!({
            "id": 1, "name": "target", "cloud_name": "temp", "title": "", "unit": "", "type": "decimal", "scale": 1,
            "min": "16.0", "max": "30.0", "step": "0.5", "cloud_shift": 1, "writable": false, "history": "latest",
            "class": "value",
        })
    );
    assert_eq!(document["properties"][2]["cloud_labels"], serde_json::json!(["0", "1"]));
    assert_eq!(document["product_key"], "lamp-1");
}

pub(crate) const SCHEMA: &str = r#"{"type": "object", "required": ["serial"], "properties": {
    "serial": {"type": "string", "minLength": 1, "maxLength": 8},
    "secret": {"type": "string", "minLength": 8, "x-secret": true},
    "scheme": {"enum": ["direct", "preregistered"]},
    "keepalive_s": {"type": "integer", "minimum": 5, "maximum": 600},
    "pin": {"type": "integer"},
    "hosts": {"type": "array", "items": {"type": "string"}, "maxItems": 2}
}}"#;

#[test]
fn settings_are_checked_against_the_plugins_schema_with_file_and_line() {
    let cloud = "[cloud.a]\nplugin = \"deli\"\n[cloud.a.settings]\nsecret = \"hunter2\"\nscheme = \"magic\"\n\
                 keepalive_s = 601\nhosts = [1]\nserail = \"1\"\npin = { env = \"PIN\" }\n";
    let dir = Dir::of(&[("products/lamp-1.toml", &format!("{LAMP}{cloud}"))]);
    let overrides = Overrides::new([("PIN".to_owned(), "4711".to_owned())], []);
    let cloud = only_cloud(dir.product(overrides).expect("right"));
    assert_eq!(
        dir.tidy(&cloud.check_settings(SCHEMA).expect_err("wrong")),
        "<dir>/products/lamp-1.toml:24: cloud.a.settings.serial: missing, expected a text of 1 to 8 characters\n\
         <dir>/products/lamp-1.toml:25: cloud.a.settings.secret: found <secret>, expected a text of at least 8 characters\n\
         <dir>/products/lamp-1.toml:26: cloud.a.settings.scheme: found \"magic\", expected \"direct\" or \"preregistered\"\n\
         <dir>/products/lamp-1.toml:27: cloud.a.settings.keepalive_s: found 601, expected a whole number from 5 to 600\n\
         <dir>/products/lamp-1.toml:28: cloud.a.settings.hosts.0: found 1, expected a text\n\
         <dir>/products/lamp-1.toml:29: cloud.a.settings.serail: unknown key, did you mean `serial`?; accepted here: \
         hosts, keepalive_s, pin, scheme, secret, serial\n\
         <dir>/products/lamp-1.toml:30: cloud.a.settings.pin: found <secret>, expected a whole number"
    );
    assert_eq!(
        cloud.secrets_in_clear(SCHEMA).iter().map(|warning| dir.tidy(warning)).collect::<Vec<_>>(),
        [
            "<dir>/products/lamp-1.toml:25: cloud.a.settings.secret: a secret written in clear; better { file = \"…\" } or \
          { env = \"…\" }"
        ]
    );
}

const DATAPOINTS: &str = r#"{"name": "Lamp", "product_key": "lamp-1", "protocolType": "standard",
    "packetVersion": "0x00000004", "entities": [{"id": 0, "attrs": [
    {"id": 0, "name": "power", "display_name": "Power", "data_type": "bool", "type": "status_writable",
     "position": {"byte_offset": 0, "bit_offset": 0, "unit": "bit", "len": 1}}]}]}"#;

#[test]
fn a_datapoint_file_gives_the_properties_and_the_entries_describe_them() {
    let product = "[product]\nkey = \"lamp-1\"\ngizwits_datapoints = \"lamp.json\"\n\
                   [[property]]\nname = \"power\"\nunit = \"x\"\nhistory = \"all\"\nclass = \"alarm\"\n";
    let dir = Dir::of(&[("products/lamp-1.toml", product), ("products/lamp.json", DATAPOINTS)]);
    let loaded = dir.product(Overrides::default()).expect("right");
    let [property] = &loaded.product.properties[..] else { panic!("one property") };
    assert_eq!((property.field.title.as_str(), property.field.unit.as_str(), property.writable), ("Power", "x", true));
    assert_eq!((property.history, property.class), (crate::product::History::All, crate::product::Class::Alarm));
    assert_eq!(loaded.layout.map(|layout| layout.attributes().len()), Some(1));
}

#[test]
fn a_wrong_datapoint_file_is_one_error_and_a_wrong_entry_another() {
    let product = "[product]\nkey = \"lamp-1\"\ngizwits_datapoints = \"lamp.json\"\n\
                   [[property]]\nname = \"powr\"\n[[property]]\nname = \"power\"\ntype = \"int\"\n";
    check_product(
        product,
        "<dir>/products/lamp-1.toml:3: product.gizwits_datapoints: <dir>/products/lamp.json: no such file",
    );
    let dir = Dir::of(&[("products/lamp-1.toml", product), ("products/lamp.json", DATAPOINTS)]);
    assert_eq!(
        dir.tidy(&dir.product(Overrides::default()).expect_err("wrong")),
        "<dir>/products/lamp-1.toml:5: property[0].name: the datapoint file has no `powr`; did you mean `power`?\n\
         <dir>/products/lamp-1.toml:8: property[1].type: unknown key; accepted here: name, title, unit, history, class"
    );
    let dir =
        Dir::of(&[("products/lamp-1.toml", product), ("products/lamp.json", &DATAPOINTS.replace("lamp-1", "fan"))]);
    assert_eq!(
        dir.tidy(&dir.product(Overrides::default()).expect_err("wrong")),
        "<dir>/products/lamp-1.toml:3: product.gizwits_datapoints: <dir>/products/lamp.json is of product \"fan\""
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_text_can_panic_the_reader(text in "(\\[\\[?|\\]\\]?|=|\"|\\n|\\.|,|\\{|\\}|-?[0-9]{1,3}|property|product|cloud|name|type|settings|map|file|mcu|a|[^a-z]){0,40}") {
        let dir = Dir::of(&[("host.toml", &text), ("products/lamp-1.toml", &text)]);
        let _ = dir.host(Overrides::default());
        let host = HostConfig { dir: dir.0.clone(), ..HostConfig::default() };
        let _ = host.load_product(KEY);
    }
}

#[test]
fn units_become_durations() {
    let dir = Dir::of(&[("host.toml", "[plugins]\nfaults_window_s = 60\nstop_grace_ms = 0\n")]);
    let plugins = dir.host(Overrides::default()).expect("right").plugins;
    assert_eq!((plugins.faults_window, plugins.stop_grace), (Duration::from_secs(60), Duration::ZERO));
}
