//! Clouds that another cloud named: the product belongs to them too. An instance may wait to be named.

use std::collections::BTreeMap;

/// The clouds that were named, by their name in lower case.
#[derive(Debug, Default)]
pub struct Named {
    clouds: BTreeMap<String, Hint>,
}

/// What was said of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Which of our clouds named it.
    pub by: String,
    /// What it said beyond the name, on one line.
    pub parameters: String,
}

impl Named {
    /// A cloud was named. True: that is news.
    ///
    /// # Errors
    /// Why it is not remembered.
    pub fn add(&mut self, by: &str, name: &str, parameters: &str) -> Result<bool, &'static str> {
        let name = key(name);
        if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
            return Err("its name is empty, too long or no text");
        }
        if parameters.len() > PARAMETERS_MAX {
            return Err("its parameters are too long");
        }
        if self.clouds.len() >= CLOUDS_MAX && !self.clouds.contains_key(&name) {
            return Err("too many clouds are named already");
        }
        let parameters = parameters.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let hint = Hint { by: by.to_owned(), parameters };
        Ok(self.clouds.insert(name, hint.clone()).as_ref() != Some(&hint))
    }

    /// Whether this cloud was named, in whatever case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.clouds.contains_key(&key(name))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Hint)> {
        self.clouds.iter().map(|(name, hint)| (name.as_str(), hint))
    }

    /// Forgets all, at a factory reset.
    pub fn forget(&mut self) {
        self.clouds.clear();
    }
}

/// Names differ in case between clouds and configurations; that of ASCII letters does not count.
fn key(name: &str) -> String {
    name.trim().to_ascii_lowercase()
}

/// Clouds that are remembered; further ones are refused, and the log says so. Not documented; chosen by us: one is usual.
const CLOUDS_MAX: usize = 8;

/// Bytes of a name. Not documented; chosen by us.
const NAME_MAX: usize = 64;

/// Bytes of the parameters. Not documented; chosen by us.
const PARAMETERS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_is_known_by_its_name_in_any_case() {
        let mut named = Named::default();
        assert_eq!(named.add("gizwits", " JD ", "uuid=1\n&x=2"), Ok(true));
        assert!(named.has("jd") && named.has("Jd") && !named.has("ali"));
        let hint = Hint { by: "gizwits".into(), parameters: "uuid=1 &x=2".into() };
        assert_eq!(named.iter().collect::<Vec<_>>(), [("jd", &hint)]);
    }

    #[test]
    fn what_is_said_again_is_no_news() {
        let mut named = Named::default();
        let said = ["a=1", "a=1", "a=2"].map(|parameters| named.add("gizwits", "jd", parameters));
        assert_eq!(said, [Ok(true), Ok(false), Ok(true)]);
    }

    #[test]
    fn a_reset_forgets_all() {
        let mut named = Named::default();
        named.add("gizwits", "jd", "").unwrap();
        named.forget();
        assert!(!named.has("jd"));
    }

    #[test]
    fn no_cloud_can_fill_the_memory() {
        let mut named = Named::default();
        for number in 0..CLOUDS_MAX {
            named.add("gizwits", &number.to_string(), "").unwrap();
        }
        assert!(named.add("gizwits", "one-more", "").is_err());
        assert_eq!(named.add("gizwits", "0", "x=1"), Ok(true));
        assert!(named.add("gizwits", &"x".repeat(NAME_MAX + 1), "").is_err());
        assert!(named.add("gizwits", "0", &"x".repeat(PARAMETERS_MAX + 1)).is_err());
        assert!(named.add("gizwits", "", "").is_err());
    }
}
