//! The layers above the files: environment and command line.

use std::collections::BTreeMap;
use std::fmt;

use super::error::{ConfigError, Errors, Place, Problem};
use super::tree::Layer;

/// What was given outside the files. `Debug` shows names only: values may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    environment: BTreeMap<String, String>,
    set: Vec<(String, String)>,
}

impl Overrides {
    /// From these environment variables and `--set` pairs.
    pub fn new(
        environment: impl IntoIterator<Item = (String, String)>,
        set: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self { environment: environment.into_iter().collect(), set: set.into_iter().collect() }
    }

    /// From this process's environment and these `--set` pairs. Variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process(set: Vec<(String, String)>) -> Self {
        let variables = std::env::vars_os();
        Self::new(
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
            set,
        )
    }

    /// A variable's value, for secrets that are kept in the environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    /// Their layers, weakest first. `POLYLINK__MCU__PORT` is `mcu.port`.
    pub(super) fn layers(&self, errors: &Errors) -> Vec<Layer> {
        let environment = self.environment.iter().filter_map(|(name, text)| {
            let keys = name.strip_prefix(PREFIX)?.split("__").map(str::to_lowercase).collect();
            Some((Place::Environment(name.clone()), keys, text))
        });
        let set = self.set.iter().map(|(key, text)| {
            (Place::CommandLine(key.clone()), key.split('.').map(str::to_owned).collect::<Vec<_>>(), text)
        });
        let mut layers = Vec::new();
        for (place, keys, text) in environment.chain(set) {
            if keys.len() < 2 || keys.len() > MAX_DEPTH || keys.iter().any(String::is_empty) {
                let problem = Problem::Other(format!("names no key; expected {}", expected(&place)));
                errors.extend([ConfigError { place, key: String::new(), problem }]);
                continue;
            }
            layers.push(Layer::Single { place, keys, text: text.clone() });
        }
        layers
    }
}

impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables = self.environment.keys().filter(|name| name.starts_with(PREFIX));
        f.debug_list().entries(variables.chain(self.set.iter().map(|(key, _)| key))).finish()
    }
}

const fn expected(place: &Place) -> &'static str {
    match place {
        Place::Environment(_) => "POLYLINK__SECTION__KEY, such as POLYLINK__MCU__PORT",
        _ => "--set section.key=value, such as --set mcu.port=/dev/ttyS1",
    }
}

/// What a variable that sets a key begins with.
const PREFIX: &str = "POLYLINK__";

/// Keys on the way to a value; deeper ones nothing reads.
const MAX_DEPTH: usize = 16;
