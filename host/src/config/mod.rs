//! Configuration: TOML files, environment and command line become precise types here, once; inside, an invalid value
//! cannot be written down.
//!
//! Layers, the later over the earlier: defaults ← `host.toml` ← `products/<product_key>.toml` ← `conf.d/*.toml` in
//! order of name ← environment `POLYLINK__SECTION__KEY` ← `--set section.key=value`. `host.toml` is read before the MCU
//! has said which product it is, the product file after. An error in one `[cloud.<name>]` section stops that cloud only.
//!
//! Way through: [`source`] (one file) → [`tree`] (layers merged, places kept) → [`read`] (typed access, errors
//! collected) → [`host`], [`product`], [`cloud`]. [`document`] writes the product document that plugins get; [`schema`]
//! checks settings against a plugin's own schema; [`show`] prints what holds and where it comes from.

pub mod cloud;
pub mod decimal;
pub mod document;
pub mod error;
pub mod gizwits;
pub mod host;
pub mod journal;
pub mod network;
pub mod overrides;
pub mod product;
pub mod read;
pub mod schema;
pub mod script;
pub mod secrets;
pub mod show;

pub mod source;
pub mod tree;
pub mod update;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::value::{Dict, Value};

pub use cloud::{CloudError, CloudInstance, PluginChoice};
pub use error::{ConfigError, ConfigErrors, Place, Problem};
pub use host::{CommandPolicy, HostConfig, LinkKind, LogFormat, LogLevel, Port, ProductKey, Zone};
pub use overrides::Overrides;

use crate::product::Product;
use error::{Errors, nearest};
use source::SourceFile;
use tree::{Layer, Node};

/// Where configuration is looked for.
pub const DEFAULT_DIR: &str = "/etc/polylink";

/// The door to configuration.
#[derive(Debug)]
pub struct Config;

/// What is known once the product is.
#[derive(Debug)]
pub struct LoadedProduct {
    /// The host's sections again.
    pub host: HostConfig,
    /// The thing model.
    pub product: Arc<Product>,
    /// How values are packed on the line, if the product file names a Gizwits datapoint file.
    pub layout: Option<polylink_p0::Schema>,
    /// Every `[cloud.<name>]`, the smaller `priority` first, then in order of place; a wrong one, which stands last, does
    /// not hinder the others.
    pub clouds: Vec<Result<CloudInstance, CloudError>>,
}

impl Config {
    /// Reads what must be known before the product is: `host.toml` (which may be absent), `conf.d` and the overrides.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load_host(dir: &Path, overrides: Overrides) -> Result<HostConfig, ConfigErrors> {
        let (config, errors) = Self::read_host(dir, overrides);
        if errors.0.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// The same for who wants to look further in spite of errors: what is wrong has its default.
    #[must_use]
    pub fn read_host(dir: &Path, overrides: Overrides) -> (HostConfig, ConfigErrors) {
        let errors = Errors::default();
        let root = tree::merge(&layers(dir, &overrides, None, &errors), &errors);
        let config = HostConfig { dir: dir.to_owned(), overrides, ..HostConfig::read(&root, &errors) };
        (config, errors.into_errors())
    }
}

impl HostConfig {
    /// Reads the product file of this key, and the clouds. The key may come from the MCU: one that cannot be a file
    /// name is refused.
    ///
    /// # Errors
    /// Everything that is wrong beyond single clouds.
    pub fn load_product(&self, key: &str) -> Result<LoadedProduct, ConfigErrors> {
        match self.read_product(key) {
            (Some(loaded), errors) if errors.0.is_empty() => Ok(loaded),
            (_, errors) => Err(errors),
        }
    }

    /// The same for who wants to look further in spite of errors. None: there is no such file, or it is no TOML.
    #[must_use]
    pub fn read_product(&self, key: &str) -> (Option<LoadedProduct>, ConfigErrors) {
        let errors = Errors::default();
        let Some(root) = self.product_tree(key, &errors) else { return (None, errors.into_errors()) };
        let host =
            HostConfig { dir: self.dir.clone(), overrides: self.overrides.clone(), ..Self::read(&root, &errors) };
        let before = errors.len();
        let (product, layout) = product::read(&root, key, &errors);
        let context = cloud::Context {
            product: &product,
            product_is_sound: errors.len() == before,
            p0_layout: layout.as_ref().map(|layout| layout.text.as_str()),
            dir: &self.dir,
            overrides: &self.overrides,
        };
        let clouds = cloud::read_all(&root, &context, &errors);
        let layout = layout.map(|layout| layout.schema);
        let loaded = LoadedProduct { host, product: Arc::new(product), layout, clouds };
        (Some(loaded), errors.into_errors())
    }

    /// The keys of all product files.
    #[must_use]
    pub fn product_keys(&self) -> Vec<ProductKey> {
        let names = toml_files(&self.dir.join(PRODUCTS)).into_iter();
        names.filter_map(|path| ProductKey::parse(path.file_stem()?.to_str()?)).collect()
    }

    /// The product file of this key.
    #[must_use]
    pub fn product_file(&self, key: &ProductKey) -> PathBuf {
        self.dir.join(PRODUCTS).join(format!("{key}.toml"))
    }

    /// What holds and where it comes from, key by key: with a product, everything; without, what is known before it.
    /// `schema_of` finds a plugin's settings schema. Beside it, what hindered reading; wrong values are shown as they
    /// are.
    pub fn show(
        &self,
        product: Option<&str>,
        schema_of: &dyn Fn(&PluginChoice) -> Option<String>,
    ) -> (Vec<show::Shown>, ConfigErrors) {
        let errors = Errors::default();
        let root = match product {
            Some(key) => self.product_tree(key, &errors),
            None => Some(tree::merge(&layers(&self.dir, &self.overrides, None, &errors), &errors)),
        };
        let shown = root.map(|root| show::show(&root, &self.dir, &self.overrides, schema_of));
        (shown.unwrap_or_default(), errors.into_errors())
    }

    /// Everything merged for this product.
    fn product_tree(&self, key: &str, errors: &Errors) -> Option<Node> {
        let Some(parsed) = ProductKey::parse(key) else {
            let found = tree::quote(key);
            errors.add(
                &Place::file(self.dir.join(PRODUCTS)),
                "",
                Problem::Unacceptable { found, expected: ProductKey::EXPECTED.to_owned() },
            );
            return None;
        };
        let path = self.product_file(&parsed);
        if !path.exists() {
            errors.add(&Place::file(path), "", Problem::Other(no_such_product(&parsed, &self.product_keys())));
            return None;
        }
        match SourceFile::read(&path) {
            Ok(file) => {
                let layers = layers(&self.dir, &self.overrides, Some(file), errors);
                Some(tree::merge(&layers, errors))
            }
            Err(error) => {
                errors.extend([*error]);
                None
            }
        }
    }
}

fn no_such_product(key: &ProductKey, present: &[ProductKey]) -> String {
    let names: Vec<String> = present.iter().take(MAX_LISTED).map(|key| format!("{key}.toml")).collect();
    let hint = nearest(key.as_str(), present.iter().map(ProductKey::as_str));
    let hint = hint.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    let present = if names.is_empty() { "no product file at all".to_owned() } else { names.join(", ") };
    format!("no such file for product key {key}; the directory holds {present}{hint}")
}

/// All layers, weakest first. Files that cannot be read are errors and left out.
fn layers(dir: &Path, overrides: &Overrides, product: Option<SourceFile>, errors: &Errors) -> Vec<Layer> {
    let mut layers = vec![Layer::Defaults(defaults())];
    let read = |path: &Path, layers: &mut Vec<Layer>| match SourceFile::read(path) {
        Ok(file) => layers.push(Layer::File(file)),
        Err(error) => errors.extend([*error]),
    };
    if !dir.is_dir() {
        errors.add(&Place::file(dir), "", Problem::Other("no such directory; name it with --config-dir".to_owned()));
    }
    let host = dir.join(HOST_FILE);
    if host.symlink_metadata().is_ok() {
        read(&host, &mut layers);
    }
    if let Some(product) = product {
        forbid_host_sections(&product, errors);
        layers.push(Layer::File(product));
    }
    for path in toml_files(&dir.join(DROP_IN)) {
        read(&path, &mut layers);
    }
    layers.extend(overrides.layers(errors));
    layers
}

/// A product file speaks too late for the host, which runs already when its product is named.
fn forbid_host_sections(file: &SourceFile, errors: &Errors) {
    let present: BTreeSet<String> = file.values().into_keys().collect();
    for section in HostConfig::SECTIONS.iter().filter(|section| present.contains(**section)) {
        let problem = Problem::Other(format!(
            "does not belong into a product file, which is read when the host runs already; put it into {HOST_FILE} or \
             {DROP_IN}"
        ));
        errors.add(&file.place(&[source::Step::Key(section)]), *section, problem);
    }
}

fn defaults() -> Dict {
    Value::serialize(HostConfig::default()).ok().and_then(Value::into_dict).unwrap_or_default()
}

/// The `.toml` files of a directory in order of name; none if there is no such directory.
fn toml_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml") && !is_hidden(path))
        .take(MAX_DIRECTORY)
        .collect();
    files.sort();
    files
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

const HOST_FILE: &str = "host.toml";
const PRODUCTS: &str = "products";
const DROP_IN: &str = "conf.d";

/// Sections that describe a product and its clouds.
const PRODUCT_SECTIONS: [&str; 5] = ["product", "property", "event", "action", "cloud"];

/// Product files that an error message names.
const MAX_LISTED: usize = 20;

/// Files of one directory that are looked at; beyond it the rest is left out. Not documented; chosen by us.
const MAX_DIRECTORY: usize = 1000;

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
mod shipped;
