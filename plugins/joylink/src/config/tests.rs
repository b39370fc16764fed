use polylink_plugin_sdk::testing::schema;
use serde_json::{Value, json};

use super::*;

const KEY: &str = "8f14e45fceea167a5a36dedd4bea2543";
const OTHER_KEY: &str = "c9f0f895fb98ab9159f51fd0297e236d";

fn product(raw: bool, event: &str, action: &str) -> ThingModel {
    let product = json!({"product_key": "k", "name": "lamp", "raw": raw,
      "properties": [
        {"id": 0, "name": "power", "cloud_name": "switch", "type": "bool", "writable": true},
        {"id": 1, "name": "kind", "cloud_name": "uuid", "type": "text", "max_bytes": 6},
        {"id": 2, "name": "kind_bytes", "cloud_name": "uuid_bytes", "type": "bytes", "max_bytes": 6},
        {"id": 3, "name": "weather", "cloud_name": "sky", "type": "text", "max_bytes": 4096, "writable": true},
        {"id": 4, "name": "air", "cloud_name": "air_json", "type": "json", "max_bytes": 4096, "writable": true}],
      "events": [{"id": 0, "name": "event", "cloud_name": event, "params": []}],
      "actions": [{"id": 0, "name": "action", "cloud_name": action, "idempotent": true, "params": [], "returns": []}]});
    ThingModel::parse(&product.to_string()).unwrap()
}

fn empty(raw: bool) -> ThingModel {
    let product = json!({"product_key": "k", "name": "bytes", "raw": raw, "properties": []});
    ThingModel::parse(&product.to_string()).unwrap()
}

fn parse_for(model: &ThingModel, settings: &Value) -> Result<Settings, String> {
    Settings::parse(&settings.to_string(), model).map_err(|fault| fault.message.to_string())
}

/// For a product that fits every trantype without a script.
fn parse(settings: Value) -> Result<Settings, String> {
    parse_for(&product(true, "alarm", "reset"), &settings)
}

/// This value is refused, by an error that names the key and says this.
#[track_caller]
fn check(key: &str, value: Value, says: &str) {
    let error = parse(json!({ key: value })).unwrap_err();
    assert!(error.starts_with("settings") && error.contains(key) && error.contains(says), "{error}");
}

#[test]
fn the_schema_has_the_keys_and_the_defaults_of_the_code() {
    schema::has_the_keys_and_defaults_of_the_code(SCHEMA, &json!({}), |settings| parse(settings.clone()));
    let properties = &serde_json::from_str::<Value>(SCHEMA).unwrap()["properties"];
    let without_default =
        properties.as_object().unwrap().iter().find(|(_, property)| property.get("default").is_none());
    assert_eq!(without_default, None);
    let secret = |key: &str| properties[key]["x-secret"] == true;
    assert!(secret("accesskey") && secret("localkey"));
}

#[test]
fn the_schema_takes_the_values_that_the_code_takes() {
    let changed = |key: &str, value: &Value| {
        let mut settings = json!({ key: value });
        if key == "reconnect_min_s" {
            settings["reconnect_max_s"] = json!(86_400);
        }
        if key == "reconnect_max_s" {
            settings["reconnect_min_s"] = json!(1);
        }
        parse(settings)
    };
    assert_eq!(schema::takes_what_the_code_takes(SCHEMA, &[], changed), 7);
}

#[test]
fn the_defaults_are_those_of_the_documented_table() {
    let settings = parse(json!({})).unwrap();
    assert_eq!((settings.device_type, settings.trantype), (DeviceType::Normal, TransferType::Lua));
    assert_eq!((settings.lan_ports.as_slice(), settings.lan_address), ([80, 4320].as_slice(), None));
    assert_eq!((settings.lan_replay, settings.lan_time_window_s), (ReplayRule::Increasing, 0));
    assert_eq!((settings.rebind, settings.week_index0), (Rebind::Refuse, WeekIndex0::Monday));
    assert_eq!((settings.wan_session_enctype, settings.lost_replies), (3, 3));
    assert!(settings.check_auth_random && settings.lan_enabled && settings.panel_results);
    assert_eq!((settings.heartbeat_ms, settings.auth_timeout_ms, settings.upload_timeout_ms), (30_000, 5000, 10_000));
    assert_eq!((settings.reconnect_min_ms, settings.reconnect_max_ms), (2000, 60_000));
    assert_eq!((settings.mcu_timeout_ms, settings.snapshot_delay_ms, settings.ota_report_ms), (500, 3000, 30_000));
    assert_eq!((settings.max_tasks, settings.max_subdevs, settings.async_queue), (32, 50, 16));
    assert_eq!((settings.timezone_offset_s, settings.firmware_number), (28_800, 0));
    assert_eq!((settings.mac, settings.authorization, settings.information), (None, None, None));
}

#[test]
fn a_value_that_does_not_fit_names_its_key() {
    for uuid in ["XDFSS", "XDFSSDA", "XDF-SD", "XDFSSé"] {
        check("product_uuid", json!(uuid), "6 letters or digits");
    }
    for mac in [&*"a".repeat(33), "a b", "é", "a\n"] {
        check("mac", json!(mac), "at most 32 printable characters");
    }
    for cid in ["0102030", "010203040", "0102030g"] {
        check("cid", json!(cid), "8 hexadecimal digits");
    }
    for version in ["1234567", "123456789", "1.234567"] {
        check("firmware_version", json!(version), "8 characters");
    }
    check("firmware_number", json!(65_536), "u16");
    check("model_code", json!("x".repeat(65)), "at most 64 characters");
    check("device_type", json!(2), "1 (gateway)");
    check("trantype", json!(3), "2 (JavaScript)");
    check("wan_session_enctype", json!(2), "4 (as JD's SDKs)");
    check("lan_address", json!("eth0"), "an IPv4 address");
    for ports in [json!([]), json!([0]), json!([80, 80]), json!([1, 2, 3, 4, 5])] {
        check("lan_ports", ports, "1 to 4 different ports");
    }
    check("lan_ports", json!([65_536]), "u16");
    check("reconnect_max_s", json!(1), "not less than reconnect_min_s");
    check("timezone_offset_s", json!(50_401), "-43200 to 50400");
    check("rebind", json!("ask"), "`allow`");
    check("ota_target", json!("both"), "`mcu`");
    check("lan_replay", json!("none"), "`not_equal`");
}

#[test]
fn a_whole_configuration_is_understood() {
    let settings = parse(json!({
        "product_uuid": "XDFSSD", "mac": "AA:BB:CC:00:11:22", "cid": "0101000a", "firmware_version": "V1_00_03",
        "model_code": "型号一", "device_type": 1, "lan_address": "192.0.2.7", "lan_replay": "not_equal",
        "rebind": "allow", "week_index0": "sunday", "wan_session_enctype": 4}))
    .unwrap();
    assert_eq!((&*settings.product_uuid, settings.mac.as_deref()), ("XDFSSD", Some("AA:BB:CC:00:11:22")));
    assert_eq!(
        (&*settings.cid, &*settings.firmware_version, &*settings.model_code),
        ("0101000a", "V1_00_03", "型号一")
    );
    assert_eq!((settings.device_type, settings.lan_address), (DeviceType::Gateway, Some(Ipv4Addr::new(192, 0, 2, 7))));
    assert_eq!((settings.lan_replay, settings.rebind), (ReplayRule::NotEqual, Rebind::Allow));
    assert_eq!((settings.week_index0, settings.wan_session_enctype), (WeekIndex0::Sunday, 4));
}

#[test]
fn a_product_speaks_json_or_raw_bytes_or_has_a_script() {
    let (lamp, raw) = (product(false, "alarm", "reset"), product(true, "alarm", "reset"));
    let says = |model: &ThingModel, settings: Value| parse_for(model, &settings).map(|settings| settings.script);
    assert_eq!(says(&lamp, json!({"trantype": 0, "script": " \n"})), Ok(None));
    assert!(says(&empty(true), json!({"trantype": 0})).unwrap_err().contains("no properties"));
    assert!(says(&lamp, json!({"trantype": 0, "script": "x"})).unwrap_err().starts_with("settings.script"));
    for trantype in [1, 2] {
        assert_eq!(says(&raw, json!({"trantype": trantype})), Ok(None));
        assert_eq!(says(&empty(true), json!({"trantype": trantype})), Ok(None));
        assert_eq!(says(&lamp, json!({"trantype": trantype, "script": "x"})), Ok(Some("x".to_owned())));
        assert!(says(&lamp, json!({"trantype": trantype})).unwrap_err().contains("`raw`"));
        let error = says(&empty(false), json!({"trantype": trantype, "script": "x"})).unwrap_err();
        assert!(error.contains("no properties"), "{error}");
    }
}

#[test]
fn a_name_that_would_mean_two_things_in_one_message_is_a_fault_of_the_product() {
    let settings = json!({"trantype": 0});
    for (event, action) in [("switch", "reset"), ("alarm", "switch"), ("", "reset"), ("alarm", "")] {
        let fault = Settings::parse(&settings.to_string(), &product(false, event, action)).unwrap_err();
        assert!(fault.message.contains("taken twice"), "{fault:?}");
    }
    assert!(parse_for(&product(false, "same", "same"), &settings).is_ok());
    // Bytes have no names.
    assert!(parse(json!({})).is_ok() && parse_for(&product(true, "switch", "switch"), &json!({})).is_ok());
}

#[test]
fn the_mcu_tells_the_product_type_in_a_property_that_can_hold_it() {
    let told = |settings: Value| parse(settings).map(|settings| settings.product_uuid_property);
    assert_eq!(told(json!({"product_uuid_property": "uuid"})), Ok(Some(DatapointId(1))));
    assert_eq!(told(json!({"product_uuid_property": "uuid_bytes"})), Ok(Some(DatapointId(2))));
    for wrong in ["switch", "kind", "air_json"] {
        check("product_uuid_property", json!(wrong), "a text or bytes property");
    }
    let error = told(json!({"product_uuid": "XDFSSD", "product_uuid_property": "uuid"})).unwrap_err();
    assert!(error.contains("nothing, as product_uuid is set"), "{error}");
}

#[test]
fn what_the_cloud_is_asked_for_goes_to_a_property_that_can_take_it() {
    let asked = |settings: Value| parse(settings).map(|settings| settings.information);
    let expected = |kinds: &[&str], property| {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Ok(Some(Information { kinds, every_ms: 600_000, property: DatapointId(property) }))
    };
    let ask = |kinds: Value, property: &str| {
        asked(json!({"information": kinds, "information_property": property, "information_every_s": 600}))
    };
    assert_eq!(ask(json!(["air", "weather"]), "sky"), expected(&["air", "weather"], 3));
    assert_eq!(ask(json!(["weather"]), "air_json"), expected(&["weather"], 4));
    for wrong in ["", "switch", "uuid", "unknown"] {
        assert!(ask(json!(["air"]), wrong).unwrap_err().starts_with("settings.information_property"), "{wrong}");
    }
    for wrong in [json!([]), json!(["air", "air"]), json!(["news"])] {
        assert!(ask(wrong, "sky").unwrap_err().starts_with("settings.information:"));
    }
}

#[test]
fn identity_and_keys_from_the_factory_come_together_or_not_at_all() {
    let whole = json!({"feedid": "154000000001", "accesskey": KEY, "localkey": OTHER_KEY,
      "joylink_servers": ["live.example:2002", "192.0.2.1:2002"]});
    let settings = parse(whole.clone()).unwrap();
    let bound = settings.authorization.unwrap();
    assert_eq!((bound.feedid.as_str(), bound.servers().count()), ("154000000001", 2));
    assert_eq!((bound.accesskey.expose_text(), bound.localkey.expose_text()), (Some(KEY), Some(OTHER_KEY)));
    for key in ["feedid", "accesskey", "localkey", "joylink_servers"] {
        for missing in [None, Some(if key == "joylink_servers" { json!([]) } else { json!("") })] {
            let mut partial = whole.clone();
            match missing {
                None => drop(partial.as_object_mut().unwrap().remove(key)),
                Some(empty) => partial[key] = empty,
            }
            let error = parse(partial).unwrap_err();
            assert!(error.starts_with(&format!("settings.{key}: expected a value")), "{error}");
        }
    }
    for (key, wrong) in [
        ("feedid", json!("1".repeat(33))),
        ("feedid", json!("1 2")),
        ("accesskey", json!(KEY[1..])),
        ("localkey", json!(format!("{KEY}0"))),
        ("joylink_servers", json!(["live.example"])),
        ("joylink_servers", json!(["live.example:0"])),
        ("joylink_servers", json!(vec!["live.example:1"; 17])),
    ] {
        let mut settings = whole.clone();
        settings[key] = wrong;
        let error = parse(settings).unwrap_err();
        assert!(error.starts_with(&format!("settings.{key}: ")), "{error}");
    }
}

#[test]
fn no_error_and_no_debug_output_shows_a_secret() {
    for key in ["accesskey", "localkey"] {
        for value in [json!("hunter2hunter2"), json!(["hunter2"]), json!(12_345_678), json!("é".repeat(16))] {
            let mut settings = json!({"feedid": "1", "accesskey": KEY, "localkey": KEY, "joylink_servers": ["h:1"]});
            settings[key] = value;
            let error = parse(settings).unwrap_err();
            let shows = ["hunter2", "12345678", "éé", KEY].iter().any(|secret| error.contains(secret));
            assert!(error.contains(key) && !shows, "{error}");
        }
    }
    let settings = json!({"feedid": "1", "accesskey": KEY, "localkey": KEY, "joylink_servers": ["h:1"]});
    let shown = format!("{:?}", parse(settings).unwrap());
    assert!(!shown.contains(KEY), "{shown}");
}
