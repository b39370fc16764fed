//! What is wrong with a configuration, and where: each error names file, line, key, what was found and what would be
//! accepted. All of them are collected; nobody has to mend one to see the next.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere: it is a built-in default.
    Default,
    /// In a file.
    File {
        /// Which.
        path: PathBuf,
        /// From 1; 0 stands for the whole file.
        line: usize,
        /// From 1, where it helps: in syntax errors.
        column: Option<usize>,
    },
    /// In this environment variable.
    Environment(String),
    /// In `--set` with this key.
    CommandLine(String),
}

impl Place {
    /// A file as a whole.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File { path: path.into(), line: 0, column: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Self::File { path, line, column: None } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line, column: Some(column) } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::CommandLine(key) => write!(f, "--set {key}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}: {}{problem}", key_prefix(.key))]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// The dotted key, such as `mcu.baud`; empty where the whole file is meant.
    pub key: String,
    /// What.
    pub problem: Problem,
}

/// What is wrong. Texts from the configuration appear only where they cannot be secrets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// Not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Nobody reads this key.
    #[error("unknown key{}; accepted here: {}", did_you_mean(.suggestion), .known.join(", "))]
    UnknownKey {
        /// The nearest known key.
        suggestion: Option<String>,
        /// All of them.
        known: Vec<String>,
    },
    /// A wrong type, or a value out of range.
    #[error("found {found}, expected {expected}")]
    Unacceptable {
        /// What is there.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A key that must be there is not.
    #[error("missing, expected {expected}")]
    Missing {
        /// What would be accepted.
        expected: String,
    },
    /// Any other, as a whole sentence.
    #[error("{0}")]
    Other(String),
}

/// Everything that is wrong, in order of place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::error::Error for ConfigErrors {}

/// One line for each.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// Collects errors while a configuration is read.
#[derive(Debug, Default)]
pub struct Errors(std::cell::RefCell<Vec<ConfigError>>);

impl Errors {
    /// One more.
    pub fn add(&self, place: &Place, key: impl Into<String>, problem: Problem) {
        let mut errors = self.0.borrow_mut();
        // A hostile file could hold a million wrong keys.
        if errors.len() < MAX_ERRORS {
            errors.push(ConfigError { place: place.clone(), key: key.into(), problem });
        }
    }

    /// Several more.
    pub fn extend(&self, errors: impl IntoIterator<Item = ConfigError>) {
        self.0.borrow_mut().extend(errors);
    }

    /// How many there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether there are none so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `value` if nothing was wrong, else all errors, sorted, each once.
    ///
    /// # Errors
    /// All that were added.
    pub fn finish<T>(self, value: T) -> Result<T, ConfigErrors> {
        let errors = self.into_errors();
        if errors.0.is_empty() { Ok(value) } else { Err(errors) }
    }

    /// What was added, sorted, each once.
    #[must_use]
    pub fn into_errors(self) -> ConfigErrors {
        let mut errors = self.0.into_inner();
        errors.sort();
        errors.dedup();
        ConfigErrors(errors)
    }
}

/// The known word nearest to a mistyped one, if it is near enough to be meant.
#[must_use]
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Bounds the work on hostile keys: no known word is that long.
    if found.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|word| (edit_distance(&found.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= (word.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word.to_owned())
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or(String::new(), |word| format!(", did you mean `{word}`?"))
}

/// Control characters of hostile keys do not reach the terminal.
fn key_prefix(key: &str) -> String {
    match key {
        "" => String::new(),
        key if key.chars().any(char::is_control) => format!("{}: ", key.escape_debug()),
        key => format!("{key}: "),
    }
}

/// Levenshtein distance, with a swap of neighbours counted as one.
fn edit_distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

/// Errors kept of one configuration; more are not worth reading. Those beyond are dropped.
const MAX_ERRORS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: &str, suggestion: Option<&str>) {
        assert_eq!(nearest(found, ["port", "baud", "product_key"]).as_deref(), suggestion);
    }

    #[test]
    fn a_mistyped_key_is_recognised() {
        check("prot", Some("port"));
        check("Baud", Some("baud"));
        check("productkey", Some("product_key"));
    }

    #[test]
    fn a_key_unlike_any_other_gets_no_suggestion() {
        check("colour", None);
        check("", None);
        check(&"p".repeat(100_000), None);
    }
}
