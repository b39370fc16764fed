//! Holds the files in `configs/` against the code: every key with its default, schemas up to date, products that load.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use super::tree::{Layer, Node, Shape};
use super::*;

/// A product file, as a schema for editors. The loader checks more than a schema can say.
#[derive(JsonSchema)]
#[schemars(rename = "product file", deny_unknown_fields)]
#[allow(dead_code)]
struct ProductFile {
    /// What the product is.
    product: Head,
    /// Datapoints with a current value; a property's id is its position.
    #[schemars(default)]
    property: Vec<PropertyEntry>,
    /// Things that happen.
    #[schemars(default)]
    event: Vec<EventEntry>,
    /// Things the device can be told to do.
    #[schemars(default)]
    action: Vec<ActionEntry>,
    /// Clouds, by a name of our own.
    #[schemars(default)]
    cloud: std::collections::BTreeMap<String, CloudEntry>,
}

/// `[product]`
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code)]
struct Head {
    /// The product key, as in the file's name.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
    key: String,
    /// For people.
    name: Option<String>,
    /// Uninterpreted bytes pass in both directions.
    #[schemars(default)]
    raw: bool,
    /// A Gizwits datapoint file, relative to this file; the properties come from there.
    gizwits_datapoints: Option<String>,
}

/// A type with its limits.
#[derive(JsonSchema)]
#[allow(dead_code)]
struct FieldEntry {
    /// Unique among its siblings.
    #[schemars(regex(pattern = "^[A-Za-z0-9_]{1,64}$"))]
    name: String,
    /// For people.
    title: Option<String>,
    /// Unit symbol.
    unit: Option<String>,
    /// Required, unless the properties come from a datapoint file.
    r#type: Option<FieldType>,
    /// Digits after the point, of a decimal.
    #[schemars(range(min = 0, max = 18))]
    scale: Option<u8>,
    /// Least value.
    min: Option<Limit>,
    /// Greatest value.
    max: Option<Limit>,
    /// Step from the least value.
    step: Option<Limit>,
    /// Labels of an enum; a value is an index.
    #[schemars(length(min = 1, max = 1024))]
    labels: Option<Vec<String>>,
    /// Longest text, bytes or document.
    #[schemars(range(min = 1, max = 65_536))]
    max_bytes: Option<u32>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum FieldType {
    Bool,
    Int,
    Decimal,
    Enum,
    Text,
    Bytes,
    Json,
}

/// A number, or its digits as a text.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code)]
enum Limit {
    Number(f64),
    Text(String),
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct PropertyEntry {
    #[serde(flatten)]
    field: FieldEntry,
    /// Clouds may set it.
    #[schemars(default)]
    writable: bool,
    /// What is kept for a cloud that is behind.
    history: Option<HistoryEntry>,
    /// How important a change is.
    class: Option<ClassEntry>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum HistoryEntry {
    Latest,
    All,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum ClassEntry {
    Value,
    Alarm,
    Fault,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code)]
struct EventEntry {
    name: String,
    title: Option<String>,
    #[schemars(default)]
    param: Vec<FieldEntry>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code)]
struct ActionEntry {
    name: String,
    title: Option<String>,
    /// May be carried out twice without harm.
    #[schemars(default)]
    idempotent: bool,
    #[schemars(default)]
    param: Vec<FieldEntry>,
    #[schemars(default)]
    returns: Vec<FieldEntry>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code)]
struct CloudEntry {
    /// A plugin's name, or the absolute path of its file.
    plugin: String,
    /// Whether it is to run; it is unless this says false.
    enabled: Option<bool>,
    /// The instance starts when another cloud names this cloud, in whatever case.
    #[schemars(length(min = 1, max = 64))]
    start_when: Option<String>,
    /// Connections without TLS are allowed.
    #[schemars(default)]
    plain_text: bool,
    /// Who goes first under the `priority` policy: the smaller number.
    #[schemars(range(min = 0, max = 1000))]
    priority: Option<u32>,
    /// See `polylink plugin inspect`. `{ file = "…" }` and `{ env = "…" }` refer to secrets.
    #[schemars(default)]
    settings: serde_json::Map<String, Value>,
    /// This cloud's own names.
    #[schemars(default)]
    map: std::collections::BTreeMap<String, MapEntry>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code)]
struct MapEntry {
    /// This cloud's identifier.
    name: Option<String>,
    /// This cloud's labels, in the order of the product's.
    labels: Option<Vec<String>>,
    /// This cloud's number is the value × 10^scale.
    #[schemars(range(min = -18, max = 18))]
    scale: Option<i8>,
}

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

/// Compares a generated schema with its file; with `POLYLINK_WRITE_SCHEMAS` set, writes it.
fn check_schema(name: &str, schema: Value) {
    let path = configs().join("schema").join(name);
    let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
    if std::env::var_os("POLYLINK_WRITE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).expect("the schema directory is writable");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{name} is stale; POLYLINK_WRITE_SCHEMAS=1 cargo test -p polylink shipped writes it anew");
}

/// Every key of the host's sections may be left out, and has its default then.
fn with_defaults(mut schema: Value) -> Value {
    let defaults = serde_json::to_value(HostConfig::default()).expect("it is JSON");
    if schema["title"] == "host.toml" {
        schema.as_object_mut().expect("a schema").remove("required");
    }
    for section in HostConfig::SECTIONS {
        let name = format!("{}{}Section", section[..1].to_uppercase(), &section[1..]);
        let Some(definition) = schema["$defs"].get_mut(&name).and_then(Value::as_object_mut) else { continue };
        definition.remove("required");
        for (key, property) in definition["properties"].as_object_mut().expect("keys") {
            property["default"] = defaults[section][key].clone();
        }
    }
    schema
}

fn leaves(path: &str, node: &Node, found: &mut Vec<String>) {
    match &node.shape {
        Shape::Table(table) => table.iter().for_each(|(key, node)| leaves(&format!("{path}.{key}"), node, found)),
        _ => found.push(path.to_owned()),
    }
}

fn all_leaves(layer: Layer) -> Vec<String> {
    let mut found = Vec::new();
    leaves("", &tree::merge(&[layer], &Errors::default()), &mut found);
    found
}

#[test]
fn host_toml_shows_every_key_with_its_default() {
    let dir = configs();
    let file = SourceFile::read(&dir.join("host.toml")).expect("it is TOML");
    assert_eq!(all_leaves(Layer::File(file)), all_leaves(Layer::Defaults(defaults())));
    let shipped = Config::load_host(&dir, Overrides::default()).expect("it is right");
    assert_eq!(HostConfig { dir: DEFAULT_DIR.into(), ..shipped }, HostConfig::default());
}

#[test]
fn every_key_of_host_toml_has_a_comment() {
    let text = std::fs::read_to_string(configs().join("host.toml")).expect("it is there");
    let bare: Vec<&str> = text.lines().filter(|line| line.contains(" = ") && !line.contains('#')).collect();
    assert_eq!(bare, Vec::<&str>::new());
}

#[test]
fn the_shipped_products_load_with_their_clouds() {
    let secrets =
        ["CLIFE_DEV_KEY", "DELI_PRODUCT_SECRET", "LIERDA_PRODUCT_KEY"].map(|name| (name.to_owned(), "s".repeat(16)));
    let host = Config::load_host(&configs(), Overrides::new(secrets, [])).expect("it is right");
    let keys = host.product_keys();
    assert_eq!(
        keys.iter().map(ProductKey::as_str).collect::<Vec<_>>(),
        ["air-conditioner", "ede16da98b4d496b92312d75da74bf16", "tank"]
    );
    for key in keys {
        let loaded = host.load_product(key.as_str()).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(!loaded.clouds.is_empty());
        for cloud in &loaded.clouds {
            let cloud = cloud.as_ref().unwrap_or_else(|error| panic!("{error}"));
            let document: Value = serde_json::from_str(&cloud.product_document).expect("the document is JSON");
            assert_eq!(document["properties"].as_array().map(Vec::len), Some(loaded.product.properties.len()));
            let layout = document["p0_layout"].is_string();
            assert_eq!(layout, loaded.layout.is_some(), "plugins get the layout as the link does");
        }
        assert_eq!(loaded.layout.is_some(), key.as_str() == "ede16da98b4d496b92312d75da74bf16");
    }
}

#[test]
fn the_schemas_are_those_of_the_types() {
    check_schema("host.schema.json", with_defaults(schema_for!(HostConfig).to_value()));
    check_schema("product.schema.json", with_defaults(schema_for!(ProductFile).to_value()));
}

#[test]
fn the_ranges_in_the_schema_are_those_of_the_loader() {
    let schema = schema_for!(HostConfig).to_value();
    let definitions = schema["$defs"].as_object().expect("sections are definitions");
    let mut checked = 0;
    for (section, reference) in schema["properties"].as_object().expect("sections") {
        let name = reference["$ref"].as_str().and_then(|name| name.rsplit('/').next()).expect("a definition");
        for (key, property) in definitions[name]["properties"].as_object().expect("keys") {
            let bounds = (property["minimum"].as_i64(), property["maximum"].as_i64());
            let (Some(min), Some(max)) = bounds else { continue };
            checked += 1;
            for (value, accepted) in [(min - 1, false), (min, true), (max, true), (max + 1, false)] {
                let set = [(format!("{section}.{key}"), value.to_string())];
                let (_, errors) = Config::read_host(&configs(), Overrides::new([], set));
                let out_of_range = errors.0.iter().any(|error| matches!(error.problem, Problem::Unacceptable { .. }));
                assert_eq!(out_of_range, !accepted, "{section}.{key} = {value}: {errors}");
            }
        }
    }
    assert_eq!(checked, 28, "every number of host.toml has a range in the schema");
}

#[test]
fn the_service_files_use_the_commands_and_keys_that_exist() {
    let unit = std::fs::read_to_string(configs().join("dist/systemd/polylink.service")).expect("it is there");
    assert!(unit.contains("Type=notify") && unit.contains("ExecStart=/usr/bin/polylink run"));
    let script = std::fs::read_to_string(configs().join("dist/procd/polylink")).expect("it is there");
    let set = script.split_whitespace().filter_map(|word| word.split_once('=')).filter(|(key, _)| key.contains('.'));
    let set: Vec<_> = set.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    assert_eq!(set.len(), 2);
    Config::load_host(&configs(), Overrides::new([], set)).expect("the keys exist");
}

#[test]
fn the_example_installers_have_an_answer_to_every_phase_and_are_scripts() {
    for name in ["rauc", "swupdate"] {
        let path = configs().join("dist/update").join(name);
        let script = std::fs::read_to_string(&path).expect("it is there");
        for phase in ["check", "install", "restart", "confirm", "rollback", "status"] {
            assert!(
                script.contains(&format!("\n{phase}) ")) || script.contains(&format!("\n{phase})\n")),
                "{name}: {phase}"
            );
        }
        let parsed = std::process::Command::new("sh").arg("-n").arg(&path).status().expect("there is a shell");
        assert!(parsed.success(), "{name}");
    }
}
