//! One `[cloud.<name>]` section: which plugin, its settings, and this cloud's own names for the product's datapoints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{self, Mapping};
use super::error::{ConfigError, ConfigErrors, Errors, Place, Problem, nearest};
use super::overrides::Overrides;
use super::read::{Expected, Section, boolean, dotted, text, texts, whole};
use super::schema;
use super::secrets::Settings;
use super::tree::{Node, quote};
use crate::log::Redacted;
use crate::product::{Kind, Product};

/// A configured use of a plugin. Holds secrets; `Debug` shows none.
#[derive(Clone, Debug)]
pub struct CloudInstance {
    /// The section's name.
    pub name: String,
    /// Which plugin.
    pub plugin: PluginChoice,
    /// Whether it is to run.
    pub enabled: bool,
    /// It is to run only when another cloud has named this cloud.
    pub start_when: Option<String>,
    /// Connections without TLS are allowed.
    pub plain_text: bool,
    /// Who goes first under the `priority` policy: the smaller number.
    pub priority: u32,
    /// The settings as one JSON object, secrets resolved.
    pub settings: Redacted<String>,
    /// The product document, as plugins get it.
    pub product_document: String,
    /// Where the section is written.
    pub place: Place,
    checked: Settings,
}

/// Which plugin a cloud uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginChoice {
    /// The plugin of this name, from the plugin directories.
    Name(String),
    /// This file.
    File(PathBuf),
}

/// A `[cloud.<name>]` section that is wrong. The other clouds run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cloud `{}` does not run:\n{errors}", .name.escape_debug())]
pub struct CloudError {
    /// The section's name.
    pub name: String,
    /// All that is wrong.
    pub errors: ConfigErrors,
}

impl CloudInstance {
    /// Checks the settings against the plugin's schema.
    ///
    /// # Errors
    /// All that is wrong, with file, line and key.
    pub fn check_settings(&self, schema: &str) -> Result<(), ConfigErrors> {
        let errors = Errors::default();
        for finding in schema::check(self.checked.json.expose(), schema, &self.checked.secrets) {
            let key = format!("{}.{}", self.settings_key(), finding.key);
            errors.add(&self.checked.place(&finding.key), key.trim_end_matches('.'), finding.problem);
        }
        errors.finish(())
    }

    /// Settings that the schema calls secret, and that are written in clear.
    #[must_use]
    pub fn secrets_in_clear(&self, schema: &str) -> Vec<ConfigError> {
        let keys = schema::secret_keys(self.checked.json.expose(), schema).into_iter();
        keys.filter(|key| !self.checked.secrets.contains(key))
            .map(|key| ConfigError {
                place: self.checked.place(&key),
                key: format!("{}.{key}", self.settings_key()),
                problem: Problem::Other(
                    "a secret written in clear; better { file = \"…\" } or { env = \"…\" }".to_owned(),
                ),
            })
            .collect()
    }

    fn settings_key(&self) -> String {
        format!("cloud.{}.settings", self.name)
    }
}

impl std::fmt::Display for PluginChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What a cloud's section is read with.
pub(super) struct Context<'a> {
    /// The thing model.
    pub product: &'a Product,
    /// Nothing of it was left out because it was wrong.
    pub product_is_sound: bool,
    /// The datapoint file that the product is taken over from.
    pub p0_layout: Option<&'a str>,
    /// The configuration's directory.
    pub dir: &'a Path,
    /// For secrets in the environment.
    pub overrides: &'a Overrides,
}

/// Reads every cloud, those with the smaller priority first, then in order of place.
pub(super) fn read_all(root: &Node, context: &Context<'_>, errors: &Errors) -> Vec<Result<CloudInstance, CloudError>> {
    let Some(clouds) = root.get("cloud") else { return Vec::new() };
    let Some(table) = clouds.table() else {
        let expected = "tables: [cloud.<name>]".to_owned();
        errors.add(&clouds.place, "cloud", Problem::Unacceptable { found: clouds.describe(), expected });
        return Vec::new();
    };
    let mut read = Vec::new();
    for (name, node) in table {
        if read.len() == MAX_CLOUDS {
            errors.add(&node.place, "cloud", Problem::Other(format!("holds more than {MAX_CLOUDS} clouds")));
            break;
        }
        let own = Errors::default();
        let instance = read_one(name, node, context, &own);
        let outcome = own.finish(instance).and_then(|instance| instance.ok_or(ConfigErrors(Vec::new())));
        let outcome = outcome.map_err(|errors| CloudError { name: name.clone(), errors });
        let priority = outcome.as_ref().map_or(u32::MAX, |instance| instance.priority);
        read.push((priority, &node.place, outcome));
    }
    read.sort_by(|left, right| (left.0, left.1).cmp(&(right.0, right.1)));
    read.into_iter().map(|(_, _, outcome)| outcome).collect()
}

fn read_one(name: &str, node: &Node, context: &Context<'_>, errors: &Errors) -> Option<CloudInstance> {
    let product = context.product;
    if !is_instance_name(name) {
        let expected = "a name of 1 to 32 characters a-z, 0-9, - and _".to_owned();
        errors.add(&node.place, "cloud", Problem::Unacceptable { found: quote(name), expected });
    }
    let path = dotted("cloud", name);
    let mut section = Section::new(path.clone(), node, errors);
    let (mut enabled, mut plain_text, mut priority) = (true, false, DEFAULT_PRIORITY);
    let plugin = section.required("plugin", PLUGIN, plugin);
    section.read("enabled", &mut enabled, boolean);
    let start_when = section.optional("start_when", named_cloud);
    section.read("plain_text", &mut plain_text, boolean);
    section.read("priority", &mut priority, whole("(smaller goes first)", 0..=1000));
    let nothing = Node::empty();
    let settings = section.node("settings").unwrap_or(&nothing);
    let settings = Settings::read(&format!("{path}.settings"), settings, context.dir, context.overrides, errors);
    let mapping = section.node("map").map(|node| mappings(&format!("{path}.map"), node, context, errors));
    let mapping = mapping.unwrap_or_default();
    section.finish();
    for problem in document::collisions(product, &mapping) {
        errors.add(&node.place, format!("{path}.map"), Problem::Other(problem));
    }
    Some(CloudInstance {
        name: name.to_owned(),
        plugin: plugin?,
        enabled,
        start_when,
        plain_text,
        priority: u32::try_from(priority).unwrap_or_default(),
        settings: Redacted(settings.json.expose().to_string()),
        product_document: document::write(product, &mapping, context.p0_layout),
        place: node.place.clone(),
        checked: settings,
    })
}

/// `[cloud.<name>.map.<datapoint>]`; a parameter is `"<event or action>.<parameter>"` in quotes.
fn mappings(path: &str, node: &Node, context: &Context<'_>, errors: &Errors) -> BTreeMap<String, Mapping> {
    let Some(table) = node.table() else {
        let problem =
            Problem::Unacceptable { found: node.describe(), expected: "tables, one per datapoint".to_owned() };
        errors.add(&node.place, path, problem);
        return BTreeMap::new();
    };
    let known = document::mappable(context.product);
    let mut mappings = BTreeMap::new();
    for (name, node) in table {
        let Some(kind) = known.get(name) else {
            // It may be there and wrong, which has been said.
            if !context.product_is_sound {
                continue;
            }
            let near = nearest(name, known.keys().map(String::as_str));
            let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let sentence = format!("the product has no property, event or action of this name{near}");
            errors.add(&node.place, dotted(path, name), Problem::Other(sentence));
            continue;
        };
        let mut section = Section::new(dotted(path, name), node, errors);
        let mut mapping = Mapping { name: section.optional("name", cloud_name), ..Mapping::default() };
        match kind {
            Some(Kind::Enum { labels }) => mapping.labels = section.optional("labels", cloud_labels(labels.len())),
            Some(Kind::Bool) => mapping.labels = section.optional("labels", cloud_labels(2)),
            Some(Kind::Int { .. } | Kind::Decimal { .. }) => {
                mapping.shift = section.optional("scale", whole("decimal digits", -18..=18));
            }
            _ => {}
        }
        section.finish();
        mappings.insert(name.clone(), mapping);
    }
    mappings
}

pub(super) fn plugin(node: &Node) -> Result<PluginChoice, Expected> {
    let found = text(node).map_err(|_| Expected::from(PLUGIN))?;
    if found.starts_with('/') && !found.contains('\0') {
        return Ok(PluginChoice::File(found.into()));
    }
    if is_instance_name(&found) { Ok(PluginChoice::Name(found)) } else { Err(PLUGIN.into()) }
}

fn cloud_name(node: &Node) -> Result<String, Expected> {
    let found = text(node).ok().filter(|name| (1..=128).contains(&name.len()));
    found.ok_or("this cloud's identifier: a text of 1 to 128 bytes".into())
}

fn named_cloud(node: &Node) -> Result<String, Expected> {
    let found = text(node).ok().filter(|name| (1..=64).contains(&name.len()) && !name.chars().any(char::is_control));
    found.ok_or("the name that another cloud gives to this one: a text of 1 to 64 bytes such as \"jd\"".into())
}

fn cloud_labels(wanted: usize) -> impl Fn(&Node) -> Result<Vec<String>, Expected> {
    move |node| {
        let expected = || Expected(format!("a list of {wanted} different texts, one for each label of the product"));
        let labels = texts(node).map_err(|_| expected())?;
        let unique: std::collections::BTreeSet<&String> = labels.iter().collect();
        if labels.len() == wanted && unique.len() == wanted { Ok(labels) } else { Err(expected()) }
    }
}

/// The name becomes a directory of the store, so it is a plain one.
fn is_instance_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

const PLUGIN: &str = "a plugin's name such as \"deli\", or the absolute path of its file";

/// Not documented; chosen by us: one thread each.
const MAX_CLOUDS: usize = 32;

const DEFAULT_PRIORITY: i64 = 100;
